/* test_front.c - the passes from YAML to Graph, the files they write, and the commands new and check.
 *
 *   test_front TESTS_DIR CONVOY [rewrite]
 *
 * errors/<case>/      spec.yaml, and args where there are any: what `convoy check` prints, and its status, stand in
 * `expected` golden/<net>.yaml   and beside it, a file a view (see `views`)
 *
 * With `rewrite` as the last argument, expected and golden files are written anew: look at the diff before you commit
 * it. */
#define _GNU_SOURCE
#include "files.h"
#include "graph.h"
#include "made.h"
#include "read.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *tests, *convoy;
static bool rewrite;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

static Node *tree_of(const char *text)
{
    static Source src;
    src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    return yaml_parse(text, strlen(text), (Mark){1, 1, 1});
}

static Spec *spec_of(const char *text)
{
    Node *t = tree_of(text);
    Spec *s = t ? spec_read(t) : NULL;
    if (diag_flush(stderr))
        ck_abort_msg("the spec has errors: %s", text);
    return s;
}

static Graph *graph_of(const char *text)
{
    Graph *g = graph_build(spec_of(text));
    if (diag_flush(stderr))
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    return g;
}

/* Layers of a net whose input and classes do not matter. */
static Graph *chain(const char *input, const char *layers)
{
    return graph_of(
        xprintf("{name: n1, input: %s, classes: 10, layers: [%s, global_avg_pool, linear: classes]}", input, layers));
}

static const Op *op_at(const Graph *g, const char *path)
{
    for (int i = 0; i < g->nop; i++)
        if (strcmp(g->op[i].path, path) == 0)
            return &g->op[i];
    ck_abort_msg("no op %s", path);
    return NULL;
}

static const Param *param_at(const Graph *g, const char *name)
{
    for (int i = 0; i < g->nparam; i++)
        if (strcmp(g->param[i].name, name) == 0)
            return &g->param[i];
    return NULL;
}

/* What a command prints, and its status as a last line. */
static const char *output_of(const char *command)
{
    Buf b = {0};
    char part[4096];
    size_t n;
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(&b, part, n);
    int status = pclose(f);
    buf_printf(&b, "status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return b.text;
}

/* The same of a command that succeeds, without its status. */
static const char *printed_by(const char *command)
{
    const char *text = output_of(command), *end = strstr(text, "status 0\n");
    ck_assert_msg(end != NULL, "%s: %s", command, text);
    return xstrndup(text, (size_t)(end - text));
}

/* 0 where `got`, which `command` prints, is what the file holds. */
static int compare_with_file(const char *path, const char *command, const char *got)
{
    size_t len;
    if (rewrite)
        return file_write(path, got, strlen(got)) ? 0 : 1;
    char *expected = file_read(path, 1 << 24, &len);
    if (expected && strcmp(expected, got) == 0)
        return 0;
    fprintf(stderr, "--- %s differs. expected:\n%s--- got:\n%s  repeat: (%s); cat '%s'\n", path,
            expected ? expected : "(no such file)\n", got, command, path);
    return 1;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a folder that end so, sorted, without what they end with. */
static const char **names_in(const char *dir, const char *end, int *n)
{
    const char **names = NULL;
    DIR *d = opendir(dir);
    ck_assert_msg(d != NULL, "no folder %s", dir);
    *n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name), m = strlen(end);
        if (e->d_name[0] != '.' && len > m && strcmp(e->d_name + len - m, end) == 0)
            *PUSH(names, *n) = xstrndup(e->d_name, len - m);
    }
    closedir(d);
    ck_assert_int_gt(*n, 0);
    qsort(names, (size_t)*n, sizeof *names, by_string);
    return names;
}

static char *scratch_dir(void)
{
    char *dir = xstrdup("/tmp/convoy-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

static void remove_dir(const char *dir)
{
    ck_assert_int_eq(system(xprintf("chmod -R u+w '%s'; rm -rf '%s'", dir, dir)), 0);
}

/* ---- error messages and goldens -------------------------------------------------------------------------------- */

START_TEST(errors_as_expected)
{
    int cases, wrong = 0;
    const char **name = names_in(xprintf("%s/errors", tests), "", &cases);
    for (int i = 0; i < cases; i++) {
        const char *dir = xprintf("%s/errors/%s", tests, name[i]);
        const bool args = access(xprintf("%s/args", dir), F_OK) == 0;
        const char *command = xprintf("cd '%s' && %s '%s' check spec.yaml%s", dir, args ? "xargs -d '\\n'" : "", convoy,
                                      args ? " <args || exit 1" : ""); /* xargs has statuses of its own */
        const char *got = output_of(xprintf("{ %s\n} 2>&1", command));
        wrong += compare_with_file(xprintf("%s/expected", dir), command, got);
        wrong += strstr(got, "bug in convoy") != NULL;
    }
    printf("%d error cases, %d wrong\n", cases, wrong);
    ck_assert_int_ge(cases, 70);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* A file beside golden/<net>.yaml, by what it ends with: what the command prints of the net, and its status. A view
 * without a file is not tested; an empty file asks for one, which `rewrite` fills. <net>.why.<layer> is `plan --why` of
 * that layer. */
static const struct {
    const char *end, *command;
} views[] = {
    {"tree", "check %s -d yaml"},
    {"spec", "check %s -d spec"},
    {"graph", "check %s -d graph"},
    {"check", "check %s"},
    {"json", "check %s --json"},
    {"write", "check %s --write"},
    {"twin", "twin %s"},
    {"plan", "gen %s -o unused -d plan --target portable"},
    {"words", "plan %s --target portable"},
    {"plan.json", "plan %s --target portable --json"},
    {"draw", "draw %s --target portable"},
};

/* Where a net has no view at all, `rewrite` makes these. */
static bool first_view(const char *end)
{
    return is_in((const char *const[]){"spec", "graph", "check", "json", "write", NULL}, end);
}

static bool has_views(const char *net)
{
    for (size_t v = 0; v < sizeof views / sizeof *views; v++)
        if (access(xprintf("%s/golden/%s.%s", tests, net, views[v].end), F_OK) == 0)
            return true;
    return false;
}

/* 0 where golden/<file> is what `convoy <args>` prints there. */
static int compare_view(const char *file, const char *args)
{
    const char *command = xprintf("cd '%s/golden' && '%s' %s", tests, convoy, args);
    return compare_with_file(xprintf("%s/golden/%s", tests, file), command, output_of(xprintf("%s 2>&1", command)));
}

START_TEST(golden_views)
{
    int nets, all, files = 0, wrong = 0;
    const char **net = names_in(xprintf("%s/golden", tests), ".yaml", &nets),
               **name = names_in(xprintf("%s/golden", tests), "", &all);
    for (int i = 0; i < nets; i++) {
        const bool fresh = !has_views(net[i]);
        if (fresh && !rewrite) {
            fprintf(stderr, "--- golden/%s.yaml has no view beside it. repeat: test_front TESTS_DIR CONVOY rewrite\n",
                    net[i]);
            wrong++;
        }
        for (size_t v = 0; v < sizeof views / sizeof *views; v++) {
            const char *file = xprintf("%s.%s", net[i], views[v].end);
            if (access(xprintf("%s/golden/%s", tests, file), F_OK) != 0 &&
                !(rewrite && fresh && first_view(views[v].end)))
                continue;
            wrong += compare_view(file, xprintf(views[v].command, xprintf("%s.yaml", net[i])));
            files++;
        }
        const char *why = xprintf("%s.why.", net[i]);
        for (int k = 0; k < all; k++)
            if (strncmp(name[k], why, strlen(why)) == 0) {
                wrong += compare_view(
                    name[k], xprintf("plan %s.yaml --why '%s' --target portable", net[i], name[k] + strlen(why)));
                files++;
            }
    }
    printf("%d golden nets, %d files, %d wrong\n", nets, files, wrong);
    ck_assert_int_ge(nets, 3);
    ck_assert_int_ge(files, 40);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* What --write writes is a spec, and the same one. */
START_TEST(write_reads_back)
{
    int nets;
    const char **net = names_in(xprintf("%s/golden", tests), ".yaml", &nets);
    char *dir = scratch_dir();
    for (int i = 0; i < nets; i++) {
        const char *spec = xprintf("%s/golden/%s.yaml", tests, net[i]), *copy = xprintf("%s/w.yaml", dir);
        output_of(xprintf("'%s' check '%s' --write -o '%s'", convoy, spec, copy));
        const char *a = output_of(xprintf("'%s' check '%s' -d graph 2>&1", convoy, spec));
        const char *b = output_of(xprintf("'%s' check '%s' -d graph 2>&1", convoy, copy));
        ck_assert_str_eq(a, b);
        a = output_of(xprintf("'%s' check '%s' -d spec 2>/dev/null", convoy, spec));
        b = output_of(xprintf("'%s' check '%s' -d spec 2>/dev/null", convoy, copy));
        ck_assert_str_eq(a, b);
    }
    remove_dir(dir);
}
END_TEST

/* ---- hostile files --------------------------------------------------------------------------------------------- */

/* `check` of a file of these bytes must fail with these words, and without a bug. */
static void check_bytes(const char *bytes, size_t len, const char *words)
{
    char *dir = scratch_dir();
    const char *path = xprintf("%s/spec.yaml", dir);
    ck_assert(file_write(path, bytes, len));
    const char *got = output_of(xprintf("cd '%s' && '%s' check spec.yaml 2>&1", dir, convoy));
    if (!strstr(got, words) || !strstr(got, "status 1\n"))
        ck_abort_msg("expected '%s', got:\n%s", words, got);
    remove_dir(dir);
}

static const char *repeated(const char *s, int n, size_t *len)
{
    Buf b = {0};
    for (int i = 0; i < n; i++)
        buf_puts(&b, s);
    *len = b.len;
    return b.text;
}

START_TEST(hostile_files)
{
    size_t n;
    const char *s;
    check_bytes("name: a\0b\n", 10, "spec.yaml:1:8: error: the file holds a NUL byte");
    check_bytes("n\0a\0m\0", 6, "the file holds a NUL byte");
    check_bytes("name: \xff\xfe\n", 9, "spec.yaml:1:7: error: not valid YAML: invalid leading UTF-8 octet");
    check_bytes("name: \"a\\0b\"\n", 13, "a value holds a NUL character");
    check_bytes("\x7f"
                "ELF\x01\x01",
                6, "not valid YAML");
    s = repeated("[", 100000, &n);
    check_bytes(s, n, "nested more than 64 levels deep");
    s = repeated("{a: ", 100000, &n);
    check_bytes(s, n, "nested more than 64 levels deep");
    s = repeated("- ", 100000, &n);
    check_bytes(s, n, "nested more than 64 levels deep");
    s = repeated("? ", 100000, &n);
    check_bytes(s, n, "error");
    s = repeated("# much to say\n", 300000, &n);
    check_bytes(s, n, "larger than 1048576 bytes");
    s = repeated("a,", 400000, &n);
    check_bytes(xprintf("name: [%s]\n", s), n + 9, "must be a word, not a list");
    Buf b = {0};
    for (int i = 0; i < 60000; i++)
        buf_printf(&b, "k%d: 1\n", i);
    check_bytes(b.text, b.len, "unknown key 'k0'");
    b = (Buf){0};
    buf_puts(&b, "name: n1\ninput: [1, 8, 8]\nclasses: 10\nlayers:\n");
    for (int i = 0; i < 4097; i++)
        buf_puts(&b, "  - relu\n");
    check_bytes(b.text, b.len, "4097 layers, more than 4096");
    b = (Buf){0};
    buf_puts(&b, "name: n1\ninput: [1, 8, 8]\nclasses: 10\nlayers:\n  - stage:\n      layers: [relu]\n      only:\n");
    for (int i = 0; i < 4097; i++)
        buf_printf(&b, "        %d.act1: {}\n", i);
    check_bytes(b.text, b.len, "only: more than 4096 layers");
    b = (Buf){0};
    buf_puts(&b, "name: n1\ninput: [1, 8, 8]\nclasses: 10\nlayers:\n  - ");
    for (int i = 0; i < 18; i++)
        buf_puts(&b, "stage: {repeat: 4096, layers: [");
    buf_puts(&b, "relu");
    for (int i = 0; i < 18; i++)
        buf_puts(&b, "]}");
    check_bytes(b.text, b.len, "characters long, more than 120");
}
END_TEST

START_TEST(missing_files)
{
    char *dir = scratch_dir();
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("cd '%s' && '%s' check no.yaml 2>&1", dir, convoy)),
                                 "no.yaml: error: cannot be read: No such file or directory"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("cd '%s' && '%s' check . 2>&1", dir, convoy)), "Is a directory"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("'%s' check /dev/zero 2>&1", convoy)), "larger than"));
    remove_dir(dir);
}
END_TEST

/* A comma is a decimal point in many places; a spec reads the same everywhere. */
START_TEST(locale_does_not_matter)
{
    const char *spec = xprintf("%s/golden/everything.yaml", tests);
    const char *a = output_of(xprintf("LC_ALL=C '%s' check '%s' --write 2>&1", convoy, spec));
    const char *b = output_of(
        xprintf("LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 TZ=Asia/Tokyo '%s' check '%s' --write 2>&1", convoy, spec));
    ck_assert_str_eq(a, b);
    ck_assert_ptr_nonnull(strstr(a, "lr: 0.05"));
}
END_TEST

/* ---- values ---------------------------------------------------------------------------------------------------- */

START_TEST(numbers)
{
    static const struct {
        const char *s;
        bool is_int, is_real;
        double v;
    } cases[] = {
        {"0", true, true, 0},
        {"-1", true, true, -1},
        {"+7", true, true, 7},
        {"1.5", false, true, 1.5},
        {".5", false, true, .5},
        {"5.", false, true, 5},
        {"5e-4", false, true, 5e-4},
        {"1E3", false, true, 1000},
        {"", false, false, 0},
        {"-", false, false, 0},
        {".", false, false, 0},
        {"1e", false, false, 0},
        {"e5", false, false, 0},
        {"010", false, false, 0},
        {"0x10", false, false, 0},
        {"1,5", false, false, 0},
        {"nan", false, false, 0},
        {".nan", false, false, 0},
        {"inf", false, false, 0},
        {"infinity", false, false, 0},
        {"1e999", false, false, 0},
        {"1_000", false, false, 0},
        {" 1", false, false, 0},
        {"1 ", false, false, 0},
        {"0.0", false, true, 0},
        {"-.5e+2", false, true, -50},
        {"9223372036854775807", true, true, 9223372036854775807.0},
        {"9223372036854775808", false, true, 9223372036854775808.0},
        {"0x1p3", false, false, 0},
        {"--1", false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t n = 0;
        double v = 0;
        ck_assert_msg(text_int(cases[i].s, &n) == cases[i].is_int, "int '%s'", cases[i].s);
        ck_assert_msg(text_real(cases[i].s, &v) == cases[i].is_real, "real '%s'", cases[i].s);
        if (cases[i].is_real)
            ck_assert_double_eq(v, cases[i].v);
        if (cases[i].is_int)
            ck_assert_double_eq((double)n, cases[i].v);
    }
    ck_assert_str_eq(real_text(1e-5), "1e-5");
    ck_assert_str_eq(real_text(0.1), "0.1");
    ck_assert_str_eq(real_text(1e6), "1e6");
    ck_assert_str_eq(real_text(-1e-10), "-1e-10");
    ck_assert_double_eq(strtod(real_text(1.0 / 3), NULL), 1.0 / 3);
}
END_TEST

START_TEST(nearest)
{
    static const char *const names[] = {"relu", "leaky_relu", "tanh", "bn", NULL};
    ck_assert_str_eq(diag_nearest("rellu", names), "relu");
    ck_assert_str_eq(diag_nearest("RELU", names), "relu");
    ck_assert_str_eq(diag_nearest("leakyrelu", names), "leaky_relu");
    ck_assert_str_eq(diag_nearest("tahn", names), "tanh");
    ck_assert_ptr_null(diag_nearest("convolution", names));
    ck_assert_ptr_null(diag_nearest("", names));
    ck_assert_ptr_null(diag_nearest(xprintf("%01000d", 0), names));
}
END_TEST

START_TEST(arithmetic)
{
    int64_t v;
    ck_assert(mul_fits(1 << 30, 1 << 30, &v));
    ck_assert_int_eq(v, (int64_t)1 << 60);
    ck_assert(!mul_fits((int64_t)1 << 32, (int64_t)1 << 31, &v));
    Buf b = {0};
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%d,", i % 10);
    buf_printf(&b, "%02000d", 7);
    ck_assert_uint_eq(b.len, 22000);
    ck_assert_uint_eq(strlen(b.text), 22000);
    int *list = NULL, n = 0;
    for (int i = 0; i < 1000; i++)
        *PUSH(list, n) = i;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(list[i], i);
}
END_TEST

/* ---- orders ---------------------------------------------------------------------------------------------------- */

START_TEST(orders_read_back)
{
    static const char *const orders[][2] = {
        {"conv", "conv"},
        {"conv-bn-act", "conv-bn-tanh"},
        {" conv - bn - act ", "conv-bn-tanh"},
        {"bn-act-conv", "bn-tanh-conv"},
        {"drop(0.1)-bn-conv-act", "drop(0.1)-bn-conv-tanh"},
        {"conv-bn-act-bn", "conv-bn-tanh-bn"},
        {"conv-maxpool(3,2,1)-bn-act", "conv-maxpool(3,2,1)-bn-tanh"},
        {"conv-maxpool( 3 , 3 )-relu", "conv-maxpool(3)-relu"},
        {"conv-avgpool(1x2)-silu", "conv-avgpool(1x2)-silu"},
        {"conv-maxpool(3x1,1,1x0)", "conv-maxpool(3x1,1,1x0)"},
        {"leaky_relu-conv-leaky_relu(0.2)", "leaky_relu(0.01)-conv-leaky_relu(0.2)"},
        {"general_relu-conv-general_relu(0.1)", "relu-conv-leaky_relu(0.1)"},
        {"conv-general_relu(0.1, 0.4)-norm-general_relu(0,0,6)", "conv-general_relu(0.1,0.4)-bn-general_relu(0,0,6)"},
        {"conv-drop(1e-3)-sigmoid-flatten", "conv-drop(0.001)-sigmoid-flatten"},
    };
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        SpecStage *st;
        int n;
        Node node = {.kind = NODE_SCALAR, .text = orders[i][0], .mark = {1, 1, 1}};
        ck_assert(order_read(&node, OP_CONV, (Words){stage_usual(OP_TANH), stage_usual(OP_BN)}, &st, &n));
        ck_assert_str_eq(order_text(st, n, 2), orders[i][1]);
        node.text = orders[i][1];
        ck_assert(order_read(&node, OP_CONV, words_usual(), &st, &n));
        ck_assert_str_eq(order_text(st, n, 2), orders[i][1]);
    }
    ck_assert(!diag_flush(stderr));
}
END_TEST

START_TEST(names_and_paths)
{
    Graph *g = chain("[3, 16, 16]",
                     "bn, conv: {out: 8, order: conv-bn-act-bn-tanh-bn}, conv: {out: 8, name: mid, order: conv}, "
                     "conv: {out: 8, order: drop(0.1)-conv-drop(0.2)}, act, maxpool(2), tanh");
    static const char *const paths[] = {
        "input",      "bn1",       "conv1.conv", "conv1.bn",         "conv1.act",      "conv1.bn2",
        "conv1.act2", "conv1.bn3", "mid.conv",   "conv3.drop",       "conv3.conv",     "conv3.drop2",
        "act1",       "maxpool1",  "act2",       "global_avg_pool1", "linear1.linear", "loss"};
    ck_assert_int_eq(g->nop, sizeof paths / sizeof *paths);
    for (int i = 0; i < g->nop; i++)
        ck_assert_str_eq(g->op[i].path, paths[i]);
    ck_assert_ptr_null(g->op[1].stage);
    ck_assert_str_eq(g->op[5].stage, "bn2");
    ck_assert_ptr_nonnull(param_at(g, "bn1.running_var"));
    ck_assert_ptr_nonnull(param_at(g, "conv1.bn3.num_batches_tracked"));
    ck_assert_ptr_nonnull(param_at(g, "mid.conv.bias"));
    ck_assert(g->op[1].input_grad == false); /* bn1 reads the input, which learns nothing */
    ck_assert(g->op[2].input_grad == true);  /* but bn1 does */
}
END_TEST

/* ---- the graph ------------------------------------------------------------------------------------------------- */

START_TEST(shapes)
{
    static const struct {
        const char *input, *layer, *path;
        Shape out;
    } cases[] = {
        {"[3, 17, 32]", "conv: {out: 5}", "conv1.conv", {5, 17, 32}},
        {"[3, 17, 32]", "conv: {out: 5, stride: 2}", "conv1.conv", {5, 9, 16}},
        {"[3, 17, 32]", "conv: {out: 5, kernel: [3, 5], stride: [2, 3]}", "conv1.conv", {5, 9, 11}},
        {"[3, 17, 32]", "conv: {out: 5, kernel: 4}", "conv1.conv", {5, 18, 33}}, /* padding 2 */
        {"[3, 17, 32]", "conv: {out: 5, kernel: 4, padding: 0, stride: 5}", "conv1.conv", {5, 3, 6}},
        {"[3, 1, 1]", "conv: {out: 5, kernel: 1, padding: 0}", "conv1.conv", {5, 1, 1}},
        {"[3, 2, 2]", "conv: {out: 5, kernel: 7, padding: 5, stride: 9}", "conv1.conv", {5, 1, 1}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, maxpool(2)", "maxpool1", {5, 8, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, maxpool: {k: 3, stride: 2, padding: 1}", "maxpool1", {5, 9, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, avgpool: {k: [3, 1], stride: [1, 2]}", "avgpool1", {5, 15, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: \"conv-maxpool(3,2,1)-bn\"}", "conv1.bn", {5, 9, 16}},
        {"[3, 4, 5]", "flatten", "flatten1", {60, 1, 1}},
        {"[3, 4, 5]", "flatten, linear: {out: 7, order: linear-bn-act}", "linear1.act", {7, 1, 1}},
        {"[3, 4, 5]", "global_avg_pool", "global_avg_pool1", {3, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Shape s = op_at(chain(cases[i].input, cases[i].layer), cases[i].path)->shape;
        ck_assert_msg(s.c == cases[i].out.c && s.h == cases[i].out.h && s.w == cases[i].out.w,
                      "%s on %s gives %d x %d x %d", cases[i].layer, cases[i].input, s.c, s.h, s.w);
    }
}
END_TEST

START_TEST(biases)
{
    static const struct {
        const char *layers;
        bool bias; /* of conv1 */
        const char *why;
    } cases[] = {
        {"conv: {out: 4, order: conv-bn-act}", false, "dropped: conv1.bn subtracts the mean, and the bias with it"},
        {"conv: {out: 4, order: conv-act-bn}", true, "kept: conv1.act stands before the next bn"},
        {"conv: {out: 4, order: bn-act-conv}", true, NULL},
        {"conv: {out: 4, order: conv-maxpool(2)-bn}", false, NULL},
        {"conv: {out: 4, order: \"conv-maxpool(3,2,1)-bn\"}", false, NULL},
        {"conv: {out: 4, order: conv-avgpool(2)-bn}", false, NULL},
        {"conv: {out: 4, order: \"conv-avgpool(3,2,1)-bn\"}", true, "kept: conv1.avgpool stands before the next bn"},
        {"conv: {out: 4, order: conv-drop(0.5)-bn}", true, NULL},
        {"conv: {out: 4, order: conv-global_avg_pool-bn}", false, NULL},
        {"conv: {out: 4, order: conv}, conv: {out: 4, order: bn-act-conv}", false, NULL},
        {"conv: {out: 4, order: conv}, bn", false, NULL},
        {"conv: {out: 4, order: conv}, maxpool(2), bn", false, NULL},
        {"conv: {out: 4, order: conv}, conv: {out: 4, order: conv-bn}", true,
         "kept: no bn follows before the next weights"},
        {"conv: {out: 4, order: conv-flatten-bn}", true, NULL},
        {"conv: {out: 4, order: conv-bn, bias: true}", true, NULL},
        {"conv: {out: 4, order: conv-act-bn, bias: false}", false, NULL},
        {"conv: {out: 4, order: conv, bias: auto}", true, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(chain("[3, 9, 9]", cases[i].layers), "conv1.conv");
        ck_assert_msg(op->bias == cases[i].bias, "%s: bias %d", cases[i].layers, op->bias);
        if (cases[i].why)
            ck_assert_str_eq(op->bias_why, cases[i].why);
        if (strstr(cases[i].layers, "bias: true") || strstr(cases[i].layers, "bias: false"))
            ck_assert_ptr_null(op->bias_why);
    }
}
END_TEST

START_TEST(parameters)
{
    static const char *const inits[] = {"pytorch", "kaiming_normal", "kaiming_uniform", "xavier_normal",
                                        "xavier_uniform"};
    const double fan_in = 3 * 3 * 5, fan_out = 8 * 3 * 5;
    const double value[] = {1 / sqrt(fan_in), sqrt(2 / fan_in), sqrt(6 / fan_in), sqrt(2 / (fan_in + fan_out)),
                            sqrt(6 / (fan_in + fan_out))};
    const int draw[] = {DRAW_UNIFORM, DRAW_NORMAL, DRAW_UNIFORM, DRAW_NORMAL, DRAW_UNIFORM};
    for (int i = 0; i < 5; i++) {
        Graph *g = graph_of(
            xprintf("{name: n1, input: [3, 8, 8], classes: 4, init: %s, layers: [conv: {out: 8, kernel: [3, 5], order: "
                    "conv-act-bn}, flatten, linear: classes]}",
                    inits[i]));
        const Param *w = param_at(g, "conv1.conv.weight"), *b = param_at(g, "conv1.conv.bias");
        ck_assert_int_eq(w->ndim, 4);
        ck_assert(w->dim[0] == 8 && w->dim[1] == 3 && w->dim[2] == 3 && w->dim[3] == 5);
        ck_assert_int_eq(w->draw, draw[i]);
        ck_assert_double_eq_tol(w->draw_value, value[i], 1e-15);
        ck_assert_int_eq(b->draw, i ? DRAW_CONST : DRAW_UNIFORM);
        ck_assert_double_eq_tol(b->draw_value, i ? 0 : value[0], 1e-15);
        const Param *l = param_at(g, "linear1.linear.weight");
        ck_assert(l->ndim == 2 && l->dim[0] == 4 && l->dim[1] == 8 * 8 * 8);
        ck_assert_double_eq(param_at(g, "conv1.bn.weight")->draw_value, 1);
        ck_assert_double_eq(param_at(g, "conv1.bn.bias")->draw_value, 0);
        ck_assert_double_eq(param_at(g, "conv1.bn.running_var")->draw_value, 1);
        ck_assert_int_eq(param_at(g, "conv1.bn.num_batches_tracked")->ndim, 0);
        ck_assert_int_eq(g->weights, 8 * 45 + 8 + 16 + 4 * 512 + 4);
        ck_assert_int_eq(g->flops, 2 * (8 * 45 * 64 + 4 * 512));
    }
}
END_TEST

START_TEST(train_defaults)
{
    Spec *s = spec_of("{name: n1, input: [2, 4, 4], classes: 4, layers: [flatten, linear: 4]}");
    ck_assert_str_eq(s->train.data, "idx");
    ck_assert(s->train.epochs == 5 && s->train.batch == 64 && s->train.lr == 0.1 && s->train.momentum == 0.9);
    ck_assert(s->train.weight_decay == 5e-4 && s->train.schedule == SCHEDULE_ONE_CYCLE && !s->train.decay_all);
    ck_assert(s->train.mean[1] == 0.5 && s->train.std[1] == 0.25 && !s->train.nesterov &&
              s->init_conv.kind == INIT_PYTORCH && s->init_linear.kind == INIT_PYTORCH);
    s = spec_of("{name: n1, input: [2, 4, 4], classes: 4, layers: [flatten, linear: 4], train: {data: mnist, mean: [1, "
                "2], nesterov: true, "
                "decay: all, schedule: constant}}");
    ck_assert(s->train.mean[0] == 1 && s->train.mean[1] == 2 && s->train.std[0] == 0.3081 && s->train.nesterov &&
              s->train.decay_all);
    ck_assert_int_eq(s->train.schedule, SCHEDULE_CONSTANT);
}
END_TEST

/* ---- groups ---------------------------------------------------------------------------------------------------- */

/* The paths of all ops, those that an op reads behind it: "a b(a) c.add(b,a)". */
static const char *wiring(const Graph *g)
{
    Buf b = {0};
    for (int i = 1; i < g->nop - 1; i++) {
        buf_printf(&b, "%s%s", i > 1 ? " " : "", g->op[i].path);
        for (int k = 0; k < g->op[i].nin && (g->op[i].nin > 1 || g->op[i].in != i - 1); k++)
            buf_printf(&b, "%s%s", k ? "," : "<", g->op[g->op[i].ins[k]].path);
    }
    return b.text;
}

START_TEST(groups)
{
    static const struct {
        const char *stage, *wiring;
    } cases[] = {
        {"layers: [conv: {out: 4, order: conv}, relu]", "s.conv1.conv s.act1"},
        {"repeat: 2, layers: [relu]", "s.1.act1 s.2.act1"},
        {"residual: [relu]", "s.act1 s.add<s.act1,input"},
        {"residual: [relu], pre: bn, post: tanh-bn", "s.pre.bn s.act1 s.add<s.act1,input s.post.act s.post.bn"},
        {"residual: [relu], pre: bn, shortcut_from: pre", "s.pre.bn s.act1 s.add<s.act1,input"},
        {"residual: [relu], shortcut: {order: conv, always: true}",
         "s.shortcut.conv s.act1<input s.add<s.act1,s.shortcut.conv"},
        {"residual: [relu], pre: bn, shortcut_from: pre, shortcut: {order: conv, always: true}",
         "s.pre.bn s.shortcut.conv s.act1<s.pre.bn s.add<s.act1,s.shortcut.conv"},
        {"residual: [conv: {out: 5, order: conv}], shortcut: pad",
         "s.shortcut s.conv1.conv<input s.add<s.conv1.conv,s.shortcut"},
        {"concat: [[], [relu], [tanh, bn]]", "s.b2.act1 s.b3.act1<input s.b3.bn1 s.concat<input,s.b2.act1,s.b3.bn1"},
        {"concat: [[], []], transition: [relu]", "s.concat<input,input s.transition.act1"},
        {"residual: [stage: {repeat: 2, residual: [relu], shortcut: {order: conv, always: true}}], shortcut: {order: "
         "conv, always: true}",
         "s.shortcut.conv s.stage1.1.shortcut.conv<input s.stage1.1.act1<input "
         "s.stage1.1.add<s.stage1.1.act1,s.stage1.1.shortcut.conv "
         "s.stage1.2.shortcut.conv s.stage1.2.act1<s.stage1.1.add "
         "s.stage1.2.add<s.stage1.2.act1,s.stage1.2.shortcut.conv "
         "s.add<s.stage1.2.add,s.shortcut.conv"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = wiring(chain("[3, 8, 8]", xprintf("stage: {name: s, %s}", cases[i].stage)));
        ck_assert_str_eq(got, xprintf("%s global_avg_pool1 linear1.linear", cases[i].wiring));
    }
}
END_TEST

START_TEST(keys_of_groups)
{
    Graph *g =
        chain("[3, 16, 16]", "stage: {name: s, repeat: 2, out: 8, kernel: 5, stride: 2, shortcut: pad, residual: "
                             "[conv, conv: {kernel: 1, order: conv-bn}], zero_gamma: true}, stage: {name: m, "
                             "stride: 2, residual: [conv: {kernel: 1, out: 16}, conv: {groups: depthwise, stride: "
                             "group}, conv: {out: 8, kernel: 1, order: conv-bn}]}");
    const Op *pad = op_at(g, "s.1.shortcut");
    ck_assert(pad->kind == OP_PAD && pad->before == 2 && pad->stride[0] == 2 && pad->shape.c == 8 && pad->shape.h == 8);
    const Op *a = op_at(g, "s.1.conv1.conv"), *b = op_at(g, "s.2.conv1.conv"), *c = op_at(g, "s.1.conv2.conv");
    ck_assert(a->stride[0] == 2 && b->stride[0] == 1 && c->stride[0] == 1);
    ck_assert(a->kernel[0] == 5 && a->padding[0] == 2 && c->kernel[0] == 1 && c->shape.c == 8);
    ck_assert_double_eq(param_at(g, "s.1.conv1.bn.weight")->draw_value, 1);
    ck_assert_double_eq(param_at(g, "s.1.conv2.bn.weight")->draw_value, 0);
    ck_assert_double_eq(param_at(g, "s.2.conv2.bn.weight")->draw_value, 0);
    ck_assert_double_eq(param_at(g, "m.conv3.bn.weight")->draw_value, 1);
    const Op *d = op_at(g, "m.conv2.conv");
    ck_assert(op_at(g, "m.conv1.conv")->stride[0] == 1 && d->stride[0] == 2 && d->groups == 16 && d->shape.c == 16);
    const Param *w = param_at(g, "m.conv2.conv.weight");
    ck_assert(w->ndim == 4 && w->dim[0] == 16 && w->dim[1] == 1 && w->dim[2] == 3);
    ck_assert_double_eq_tol(w->draw_value, 1.0 / 3, 1e-12); /* fan_in: 1 x 3 x 3 */
    const Op *sc = op_at(g, "m.shortcut.conv");
    ck_assert(sc->kernel[0] == 1 && sc->padding[0] == 0 && sc->stride[0] == 2 && !sc->bias);
}
END_TEST

/* A shortcut whose pool strides already, as ResNet-D's, has a conv of stride 1; one whose pool does not, the stage's.
 */
START_TEST(pools_in_shortcuts)
{
    static const struct {
        const char *stage, *shortcut;
        int stride;
    } cases[] = {
        {"stride: 2, residual: [conv]", "avgpool(2)-conv-norm", 1},
        {"stride: 2, residual: [conv]", "'conv-maxpool(3,2,1)-norm'", 1},
        {"stride: 2, residual: [conv]", "'maxpool(3,1,1)-conv-norm'", 2},
        {"stride: 2, residual: [conv]", "conv-norm", 2},
        {"stride: [2, 1], residual: [conv]", "'avgpool(2x1)-conv'", 1},
        {"stride: 2, residual: [conv: {order: conv-maxpool(2)}]", "avgpool(2)-conv-norm", 2},
        {"residual: [conv: {order: conv-maxpool(2)}]", "avgpool(2)-conv-norm", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g = chain("[3, 16, 16]",
                         xprintf("stage: {name: s, out: 8, %s, shortcut: %s}", cases[i].stage, cases[i].shortcut));
        const Op *conv = op_at(g, "s.shortcut.conv"), *add = op_at(g, "s.add");
        ck_assert_msg(conv->stride[0] == cases[i].stride, "%s: %d", cases[i].shortcut, conv->stride[0]);
        ck_assert_int_eq(add->shape.c, 8);
    }
}
END_TEST

START_TEST(biases_through_joins)
{
    static const struct {
        const char *layers;
        bool bias; /* of s.conv1 */
        const char *why;
    } cases[] = {
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}], post: bn}", false,
         "dropped: s.post.bn subtracts the mean, and the bias with it"},
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}], post: act-bn}", true,
         "kept: s.post.act stands before the next bn"},
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}]}", true,
         "kept: no bn follows before the next weights"},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {residual: [bn]}, bn", false, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {residual: [bn]}, act", true, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {concat: [[], [bn]]}, bn", false, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {out: 5, shortcut: pad, residual: [conv: "
         "{order: bn-conv}]}, bn",
         false, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(chain("[3, 9, 9]", cases[i].layers), "s.conv1.conv");
        ck_assert_msg(op->bias == cases[i].bias, "%s: bias %d", cases[i].layers, op->bias);
        if (cases[i].why)
            ck_assert_str_eq(op->bias_why, cases[i].why);
    }
}
END_TEST

/* Sums of sums: as many paths as 2^1000. */
START_TEST(many_paths)
{
    Graph *g =
        chain("[3, 4, 4]", "conv: {out: 3, order: conv}, stage: {repeat: 1000, residual: [maxpool: {k: 3, stride: 1, "
                           "padding: 1}]}, bn");
    ck_assert(!op_at(g, "conv1.conv")->bias);
}
END_TEST

START_TEST(one_dimension)
{
    Graph *g =
        chain("[2, 100]", "conv: {out: 8, kernel: 5, stride: 2, order: \"conv-maxpool(3,2,1)-bn\"}, conv: {out: 8, "
                          "groups: 4, dilation: 3}, avgpool: {k: 4, stride: 2, padding: 1}, stage: {out: 16, stride: "
                          "2, shortcut: pad, residual: [conv]}");
    const Param *w = param_at(g, "conv1.conv.weight"), *v = param_at(g, "conv2.conv.weight");
    ck_assert_int_eq(g->dims, 1);
    ck_assert(w->ndim == 3 && w->dim[0] == 8 && w->dim[1] == 2 && w->dim[2] == 5);
    ck_assert(v->ndim == 3 && v->dim[0] == 8 && v->dim[1] == 2 && v->dim[2] == 3);
    static const struct {
        const char *path;
        int w;
    } cases[] = {{"conv1.conv", 50}, {"conv1.maxpool", 25},  {"conv2.conv", 25},
                 {"avgpool1", 12},   {"stage1.shortcut", 6}, {"stage1.add", 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(g, cases[i].path);
        ck_assert_msg(op->shape.h == 1 && op->shape.w == cases[i].w, "%s has a width of %d", op->path, op->shape.w);
    }
    g = graph_of("{name: n1, input: [7], classes: 3, layers: [linear: classes]}");
    ck_assert(g->dims == 2 && g->op[0].shape.c == 7 && g->op[0].shape.h == 1 && g->op[0].shape.w == 1);
}
END_TEST

START_TEST(recompute_segments)
{
    static const struct {
        const char *top, *layers, *segments; /* a digit an op, from the input to the loss */
    } cases[] = {
        {"none", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0000000"
         "0"},
        {"1", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0123000"
         "0"},
        {"2", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0112000"
         "0"},
        {"none", "stage: {repeat: 3, recompute: 2, layers: [conv: {out: 3, order: conv}, relu]}",
         "01111220"
         "00"},
        {"2", "stage: {repeat: 3, layers: [conv: {out: 3, order: conv}, relu]}",
         "01111220"
         "00"},
        {"2", "conv: {out: 3, order: conv}, stage: {recompute: none, layers: [relu]}, conv: {out: 3, order: conv}",
         "010200"
         "0"},
        {"1", "stage: {layers: [conv: {out: 3, order: conv}, flatten, linear: 3]}",
         "000000"
         "0"},
        {"none", "stage: {recompute: 1, residual: [conv: {out: 5, order: conv}], shortcut: conv}, relu",
         "011100"
         "00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g =
            graph_of(xprintf("{name: n1, input: [3, 8, 8], classes: 10, recompute: %s, layers: [%s, global_avg_pool, "
                             "linear: classes]}",
                             cases[i].top, cases[i].layers));
        Buf b = {0};
        for (int k = 0; k < g->nop; k++)
            buf_printf(&b, "%d", g->op[k].segment);
        ck_assert_str_eq(b.text, cases[i].segments);
    }
}
END_TEST

/* ---- --set ----------------------------------------------------------------------------------------------------- */

START_TEST(overrides)
{
    const char *text = "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: 4, conv: {out: 4, name: mid}, conv: "
                       "6, bn, drop: 0.5, "
                       "global_avg_pool, linear: classes]}";
    static const char *const sets[] = {"conv1.order=conv-maxpool(3,2,1)-bn-act",
                                       "mid.out=9",
                                       "conv3.stride=[1, 2]",
                                       "train.lr=0.5",
                                       "act=leaky_relu(0.3)",
                                       "bn1.eps=1e-3",
                                       "drop1.p=0.25",
                                       "conv1.out=7"};
    Node *t = tree_of(text);
    for (int i = 0; i < 8; i++)
        ck_assert(yaml_override(t, sets[i], i));
    Spec *s = spec_read(t);
    ck_assert(!diag_flush(stderr));
    ck_assert_str_eq(order_text(s->layer[0].stage, s->layer[0].nstage, 2), "conv-maxpool(3,2,1)-bn-leaky_relu(0.3)");
    ck_assert_int_eq(s->layer[0].out, 7);
    ck_assert_int_eq(s->layer[1].out, 9);
    ck_assert(layer_weight(&s->layer[2])->arg[ARG_STRIDE].size[0] == 1 &&
              layer_weight(&s->layer[2])->arg[ARG_STRIDE].size[1] == 2);
    ck_assert_double_eq(s->layer[3].stage[0].arg[ARG_EPS].real, 1e-3);
    ck_assert_double_eq(s->layer[4].stage[0].arg[0].real, 0.25);
    ck_assert_double_eq(s->train.lr, 0.5);
}
END_TEST

START_TEST(overrides_in_groups)
{
    const char *text =
        "{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {name: s, repeat: 3, out: 4, residual: "
        "[conv, conv: 4]}, stage: {name: m, concat: [[relu], [conv: 3, stage: {layers: [conv: 5]}]], "
        "transition: [conv: 2]}, global_avg_pool, linear: classes]}";
    static const char *const sets[][3] = {
        {"s.2.conv1.order=conv-act-bn", "s.2.conv1", "conv-relu-bn"},
        {"s.3.order=bn-act-conv", "s.3.conv2", "bn-tanh-conv"},
        {"s.conv2.act=tanh", "s.1.conv2", "conv-bn-tanh"},
        {"m.b2.conv1.order=conv", "m.b2.conv1", "conv"},
        {"m.b2.stage1.conv1.order=conv-silu", "m.b2.stage1.conv1", "conv-silu"},
        {"m.transition.conv1.order=conv-sigmoid", "m.transition.conv1", "conv-sigmoid"},
        {"s.2.conv2.act=silu", "s.2.conv2", "conv-bn-silu"},
        {"m.b1.act1.name=r", "m.b1.r", "relu"},
    };
    Node *t = tree_of(text);
    for (int i = 0; i < 8; i++)
        ck_assert(yaml_override(t, sets[i][0], i));
    Spec *s = spec_read(t);
    ck_assert(!diag_flush(stderr));
    for (int i = 0; i < 8; i++)
        for (int k = 0; k <= s->nlayer; k++) {
            ck_assert_msg(k < s->nlayer, "no layer %s", sets[i][1]);
            if (strcmp(s->layer[k].name, sets[i][1]) != 0)
                continue;
            ck_assert_str_eq(order_text(s->layer[k].stage, s->layer[k].nstage, s->dims), sets[i][2]);
            break;
        }
}
END_TEST

/* ---- files ----------------------------------------------------------------------------------------------------- */

static bool commit(const char *dir, const char *const *names, const char *text)
{
    OutDir o = {0};
    for (; *names; names++)
        outdir_add(&o, *names, text, strlen(text));
    return outdir_commit(&o, dir, NULL);
}

static const char *listing(const char *dir)
{
    return output_of(xprintf("cd '%s' && find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '", dir));
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(folders)
{
    char *top = scratch_dir();
    const char *dir = xprintf("%s/a/b", top);
    size_t len;
    ck_assert(commit(dir, NAMES("x.c", "runtime/r.h", "old/o.c"), "1"));
    ck_assert_str_eq(listing(dir), "./.convoy-manifest ./old ./old/o.c ./runtime ./runtime/r.h ./x.c status 0\n");
    ck_assert(file_write(xprintf("%s/x.o", dir), "mine", 4)); /* a build's leavings stay */
    ck_assert(commit(dir, NAMES("x.c", "runtime/r.h", "y.c"), "2"));
    ck_assert_str_eq(listing(dir), "./.convoy-manifest ./runtime ./runtime/r.h ./x.c ./x.o ./y.c status 0\n");
    ck_assert_str_eq(file_read(xprintf("%s/x.c", dir), 100, &len), "2");

    /* what is not ours stays as it is, and nothing is written */
    ck_assert(file_write(xprintf("%s/z.c", dir), "mine", 4));
    ck_assert(!commit(dir, NAMES("x.c", "z.c"), "3"));
    ck_assert_str_eq(file_read(xprintf("%s/z.c", dir), 100, &len), "mine");
    ck_assert_str_eq(file_read(xprintf("%s/x.c", dir), 100, &len), "2");
    ck_assert_str_eq(listing(dir), "./.convoy-manifest ./runtime ./runtime/r.h ./x.c ./x.o ./y.c ./z.c status 0\n");

    const char *foreign = xprintf("%s/f", top);
    ck_assert_int_eq(mkdir(foreign, 0777), 0);
    ck_assert(file_write(xprintf("%s/thesis.tex", foreign), "mine", 4));
    ck_assert(!commit(foreign, NAMES("x.c"), "3"));
    ck_assert_str_eq(listing(foreign), "./thesis.tex status 0\n");
    ck_assert(!commit(xprintf("%s/f/thesis.tex", top), NAMES("x.c"), "3"));
    ck_assert(!commit(xprintf("%s/f/thesis.tex/deeper", top), NAMES("x.c"), "3"));
    ck_assert(!commit("", NAMES("x.c"), "3"));

    /* a manifest that points outside is not believed */
    ck_assert(file_write(xprintf("%s/.convoy-manifest", dir), "../../f/thesis.tex\n", 19));
    ck_assert(!commit(dir, NAMES("x.c"), "3"));
    ck_assert_str_eq(listing(foreign), "./thesis.tex status 0\n");

    /* a link in place of a folder of ours does not lead outside */
    const char *linked = xprintf("%s/l", top);
    ck_assert_int_eq(mkdir(linked, 0777), 0);
    ck_assert_int_eq(symlink(foreign, xprintf("%s/runtime", linked)), 0);
    ck_assert(file_write(xprintf("%s/.convoy-manifest", linked), "runtime/thesis.tex\n", 19));
    ck_assert(!commit(linked, NAMES("runtime/thesis.tex"), "3"));
    ck_assert_str_eq(file_read(xprintf("%s/thesis.tex", foreign), 100, &len), "mine");
    remove_dir(top);
}
END_TEST

START_TEST(same_bytes_keep_their_time)
{
    char *dir = scratch_dir();
    struct stat a, b;
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    ck_assert(commit(dir, NAMES("x.c", "y.c"), "1"));
    ck_assert_int_eq(utimensat(-1, xprintf("%s/x.c", dir), old, 0), 0);
    ck_assert_int_eq(stat(xprintf("%s/x.c", dir), &a), 0);
    ck_assert(commit(dir, NAMES("x.c", "y.c"), "1"));
    ck_assert_int_eq(stat(xprintf("%s/x.c", dir), &b), 0);
    ck_assert_int_eq(a.st_mtime, b.st_mtime);
    ck_assert(commit(dir, NAMES("x.c", "y.c"), "2"));
    ck_assert_int_eq(stat(xprintf("%s/x.c", dir), &b), 0);
    ck_assert_int_ne(a.st_mtime, b.st_mtime);
    remove_dir(dir);
}
END_TEST

/* A disk that fills up, as far as a process can be shown one: writes past a limit fail. */
START_TEST(full_disk)
{
    char *top = scratch_dir();
    const char *dir = xprintf("%s/d", top), *file = xprintf("%s/file", top);
    char *big = xalloc(100001);
    size_t len;
    memset(big, 'x', 100000);
    ck_assert(commit(dir, NAMES("a.c", "b.c"), "old"));
    ck_assert(file_write(file, "old", 3));
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit lim = {50000, RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &lim), 0);
    ck_assert(!commit(dir, NAMES("a.c", "c/d.c"), big));
    ck_assert(!commit(xprintf("%s/new/er", top), NAMES("a.c"), big));
    ck_assert(!file_write(file, big, 100000));
    ck_assert(!file_write("/dev/full", "x", 1));
    lim.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &lim);
    ck_assert_str_eq(listing(top), "./d ./d/.convoy-manifest ./d/a.c ./d/b.c ./file status 0\n");
    ck_assert_str_eq(file_read(file, 100, &len), "old");
    ck_assert_str_eq(file_read(xprintf("%s/a.c", dir), 100, &len), "old");
    ck_assert_ptr_nonnull(
        strstr(output_of(xprintf("'%s' --help 2>&1 > /dev/full", convoy)), "cannot write to standard output"));
    remove_dir(top);
}
END_TEST

START_TEST(through_a_link)
{
    char *dir = scratch_dir();
    size_t len;
    ck_assert(file_write(xprintf("%s/real", dir), "1", 1));
    ck_assert_int_eq(symlink("real", xprintf("%s/link", dir)), 0);
    ck_assert(file_write(xprintf("%s/link", dir), "2", 1));
    ck_assert_str_eq(file_read(xprintf("%s/real", dir), 10, &len), "2");
    ck_assert_str_eq(listing(dir), "./link ./real status 0\n");
    errno = 0;
    ck_assert_ptr_null(file_read(xprintf("%s/real", dir), 0, &len));
    ck_assert_int_eq(errno, EFBIG);
    remove_dir(dir);
}
END_TEST

/* ---- the command line ------------------------------------------------------------------------------------------ */

START_TEST(command_line)
{
    static const struct {
        const char *args, *says;
        int status;
    } cases[] = {
        {"", "convoy new ", 2},
        {"--version", "convoy " CONVOY_VERSION, 0},
        {"--help", "Begin with:", 0},
        {"help", "Begin with:", 0},
        {"help gen", "convoy gen  SPEC -o DIR", 0},
        {"help acts", "  leaky_relu[(slope)]                 lrelu\n", 0},
        {"help norms", "  gn[(groups)]                        groupnorm", 0},
        {"help layers", "  linear                              dense, fc", 0},
        {"help orders", "  maxpool(k[, stride[, padding]][, ceil])  pool, maxpooling\n", 0},
        {"help keys", "  batch             images per step [64]\n", 0},
        {"help layrs", "did you mean 'layers'?", 2},
        {"gen --help", "--set KEY=VALUE", 0},
        {"help nothing", "unknown topic 'nothing'", 2},
        {"chek x.yaml", "did you mean 'check'?", 2},
        {"check", "SPEC is missing", 2},
        {"check a b", "one word too many: 'b'", 2},
        {"check a --jsn", "did you mean '--json'?", 2},
        {"check a --json=1", "--json takes no value", 2},
        {"check a --set", "--set needs a value", 2},
        {"check a --target avx2", "unknown option '--target'", 2},
        {"check a -d grph", "did you mean 'graph'?", 2},
        {"check a -- b", "nothing can stand after '--' here", 2},
        {"check a -d plan", "a: error: cannot be read", 1},
        {"check a -o b", "-o goes with --write", 2},
        {"gen a -o b --target sse", "unknown value 'sse' of --target", 2},
        {"export a -o b", "--weights is missing", 2},
        {"train --epochs 2", "SPEC is missing", 2},
        {"train --epochs a", "it stands before the options of the program", 2},
        {"train a --epochs 2 -o", "--output needs a value", 2},
        {"train --trget avx2 a", "did you mean '--target'?", 2},
        {"train a --epohs 2", "did you mean '--epochs'?", 2},
        {"train a --weights w", "unknown option '--weights'", 2}, /* of other commands alone */
        {"train a --epochs 0", "--epochs: '0' is not a whole number", 2},
        {"train a --seed", "--seed needs a value", 2},
        {"train a -- --epohs 2", "did you mean '--epochs'?", 2},
        {"train --force a", "a: error: cannot be read", 1}, /* --force takes no value, and a is SPEC */
        {"train --lr=1 a --log -", "a: error: cannot be read", 1},
        {"train --help", "  --epochs N             passes over the training images\n", 0},
        {"check a --color never", "a: error: cannot be read", 1},
        {"check a --color always", "\033[1;31merror:\033[0m cannot be read", 1},
        {"check a --color sometimes", "unknown value 'sometimes' of --color", 2},
        {"check a%n%s --set=x", "a%n%s: error: cannot be read", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = output_of(xprintf("'%s' %s 2>&1", convoy, cases[i].args));
        if (!strstr(got, cases[i].says) || !strstr(got, xprintf("status %d\n", cases[i].status)))
            ck_abort_msg("convoy %s: expected '%s' and status %d, got:\n%s", cases[i].args, cases[i].says,
                         cases[i].status, got);
    }
}
END_TEST

/* The widest line of a text, in characters. */
static int widest(const char *text)
{
    int most = 0, n = 0;
    for (; *text; text++) {
        n = *text == '\n' ? 0 : n + (((unsigned char)*text & 0xc0) != 0x80);
        most = n > most ? n : most;
    }
    return most;
}

/* What check and help print fits the width that COLUMNS says, 80 where nothing does; names lose their middle, nothing
 * is lost that --json does not have. */
START_TEST(output_fits_the_width)
{
    static const char *const pages[] = {"help",        "help new",    "help presets", "help schema", "help check",
                                        "help gen",    "help train",  "help plan",    "help diff",   "help draw",
                                        "help twin",   "help export", "help asm",     "help acts",   "help norms",
                                        "help layers", "help orders", "help keys"};
    static const int widths[] = {0, 50, 72, 80, 160};
    char *dir = scratch_dir();
    const char *spec =
        "{name: wide, input: [3, 64, 64], classes: 10, layers: [\n"
        "conv: {out: 16, name: a_name_of_many_words_that_goes_on_and_on_to_its_end},\n"
        "conv: {out: 16, order: 'drop(0.125)-bn-leaky_relu(0.125)-conv-maxpool(3,2,1)-bn-leaky_relu(0.125)'},\n"
        "global_avg_pool, linear: classes]}\n";
    ck_assert(file_write(xprintf("%s/wide.yaml", dir), spec, strlen(spec)));
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        const char *env = widths[w] ? xprintf("COLUMNS=%d ", widths[w]) : "";
        for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
            const char *got = output_of(xprintf("%s'%s' %s 2>&1", env, convoy, pages[i]));
            if (widest(got) > (widths[w] ? widths[w] : 80) || !strstr(got, "status 0\n"))
                ck_abort_msg("convoy %s is %d wide at %s\n%s", pages[i], widest(got), env, got);
        }
        const char *got = output_of(xprintf("cd '%s' && %s'%s' check wide.yaml 2>&1", dir, env, convoy));
        if (widest(got) > (widths[w] ? widths[w] : 80) || !strstr(got, "status 0\n"))
            ck_abort_msg("convoy check is %d wide at %s\n%s", widest(got), env, got);
        ck_assert_int_eq(strstr(got, "a_name_of_many_words_that_goes_on_and_on_to_its_end") != NULL, widths[w] == 160);
        ck_assert_ptr_nonnull(strstr(got, "  a_na"));
    }
    remove_dir(dir);
}
END_TEST

START_TEST(new_makes_a_valid_spec)
{
    char *dir = scratch_dir();
    const char *in = xprintf("cd '%s' && '%s'", dir, convoy);
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s new mynet 2>&1", in)), "wrote mynet.yaml"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s check mynet.yaml 2>&1", in)), "status 0"));
    /* One order for all, so that the first diff shows it in every block. */
    ck_assert_str_eq(
        output_of(xprintf(
            "%s diff mynet.yaml --order conv-act-bn --level spec 2>&1 | grep -c 'order (conv1, conv2, conv3)'", in)),
        "1\nstatus 0\n");
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s check mynet.yaml -d plan 2>&1", in)), "status 0"));
    ck_assert_str_eq(
        output_of(
            xprintf("%s check mynet.yaml -d plan >a && %s plan mynet.yaml -d plan >b && cmp a b && rm a b", in, in)),
        "status 0\n");
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s new mynet 2>&1", in)), "mynet.yaml is there already"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s new ../x 2>&1", in)), "lower-case letters"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s new int 2>&1", in)), "'int_net' would do"));
    ck_assert_ptr_nonnull(strstr(output_of(xprintf("%s new other -o mynet.yaml 2>&1", in)), "is there already"));
    ck_assert_str_eq(listing(dir), "./mynet.yaml status 0\n");
    remove_dir(dir);
}
END_TEST

/* What docs, the schema and tests' specs say of the op table is what it says. */
START_TEST(parts_are_made)
{
    int wrong = 0, n = 0;
    size_t len;
    for (; made_parts[n].file; n++) {
        const char *path = xprintf("%s/../%s", tests, made_parts[n].file);
        const char *text = file_read(path, 1 << 24, &len), *want = text ? made_text(&made_parts[n], text) : NULL;
        ck_assert_msg(want != NULL, "%s has no part 'made: %s'", path, made_parts[n].name);
        if (strcmp(text, want) != 0)
            wrong += compare_with_file(path, "test_front TESTS_DIR CONVOY rewrite", want);
    }
    wrong += compare_with_file(xprintf("%s/../specs/spec.schema.json", tests), "convoy schema",
                               printed_by(xprintf("'%s' schema", convoy)));
    printf("%d parts and the schema, %d wrong\n", n, wrong);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "rewrite") != 0)) {
        fprintf(stderr, "usage: test_front TESTS_DIR CONVOY [rewrite]\n");
        return 2;
    }
    tests = realpath(argv[1], NULL);
    convoy = realpath(argv[2], NULL);
    rewrite = argc == 4;
    unsetenv("COLUMNS"); /* what is shown fits 80 columns, wherever the test runs */
    unsetenv("NO_COLOR");
    if (!tests || !convoy) {
        fprintf(stderr, "test_front: no %s\n", tests ? argv[2] : argv[1]);
        return 2;
    }
    Suite *s = suite_create("front");
    TCase *t = tcase_create("front");
    tcase_set_timeout(t, 300);
    const TTest *all[] = {errors_as_expected,
                          golden_views,
                          parts_are_made,
                          write_reads_back,
                          hostile_files,
                          missing_files,
                          locale_does_not_matter,
                          numbers,
                          nearest,
                          arithmetic,
                          orders_read_back,
                          names_and_paths,
                          shapes,
                          biases,
                          parameters,
                          train_defaults,
                          groups,
                          keys_of_groups,
                          pools_in_shortcuts,
                          biases_through_joins,
                          many_paths,
                          one_dimension,
                          recompute_segments,
                          overrides,
                          overrides_in_groups,
                          folders,
                          same_bytes_keep_their_time,
                          full_disk,
                          through_a_link,
                          command_line,
                          output_fits_the_width,
                          new_makes_a_valid_spec};
    for (size_t i = 0; i < (rewrite ? 3 : sizeof all / sizeof *all); i++)
        tcase_add_test(t, all[i]);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r), ran = srunner_ntests_run(r);
    srunner_free(r);
    printf("%d passed, %d failed\n", ran - failed, failed);
    return failed != 0;
}
