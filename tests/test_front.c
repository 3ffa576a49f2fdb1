/* test_front.c - what the commands check, new, help and schema print, and their files.
 *
 *   test_front TESTS_DIR CONVOY [rewrite]
 *
 * errors/<case>/      spec.yaml, and args where there are any: what `convoy check` prints, and its status, stand in
 * `expected` golden/<net>.yaml   and beside it one file per view (see `views`)
 *
 * With `rewrite` as the last argument, expected and golden files are written anew: look at the diff before you commit
 * it. */
#define _GNU_SOURCE
#include "files.h"
#include "graph.h"
#include "made.h"
#include "test_help.h"

#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *tests, *convoy;
static bool rewrite;

/* ---- helpers --------------------------------------------------------------------------------------------------- */

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
    static const char *const folders[] = {"golden", "twin"};
    char *dir = scratch_dir();
    for (int f = 0; f < 2; f++) {
        int nets;
        const char **net = names_in(xprintf("%s/%s", tests, folders[f]), ".yaml", &nets);
        ck_assert_int_ge(nets, 3);
        for (int i = 0; i < nets; i++) {
            const char *spec = xprintf("%s/%s/%s.yaml", tests, folders[f], net[i]), *copy = xprintf("%s/w.yaml", dir);
            output_of(xprintf("'%s' check '%s' --write -o '%s'", convoy, spec, copy));
            const char *a = output_of(xprintf("'%s' check '%s' -d graph 2>/dev/null", convoy, spec));
            const char *b = output_of(xprintf("'%s' check '%s' -d graph 2>/dev/null", convoy, copy));
            ck_assert_str_eq(a, b);
            a = output_of(xprintf("'%s' check '%s' -d spec 2>/dev/null", convoy, spec));
            b = output_of(xprintf("'%s' check '%s' -d spec 2>/dev/null", convoy, copy));
            ck_assert_str_eq(a, b);
        }
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
        {"hlp", "did you mean 'help'?", 2},
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
        {"train a --epoch 2", "did you mean '--epochs'?", 2},
        {"train a --weights w", "unknown option '--weights'", 2}, /* of other commands alone */
        {"train a --epochs 0", "--epochs: '0' is not a whole number", 2},
        {"train a --seed", "--seed needs a value", 2},
        {"train a -- --epoch 2", "did you mean '--epochs'?", 2},
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
    ck_assert_ptr_nonnull(
        strstr(output_of(xprintf("'%s' --help 2>&1 > /dev/full", convoy)), "cannot write to standard output"));
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
    static const char *const pages[] = {"help",         "help new",   "help presets", "help schema", "help check",
                                        "help gen",     "help train", "help plan",    "help diff",   "help draw",
                                        "help predict", "help plot",  "help twin",    "help export", "help asm",
                                        "help acts",    "help norms", "help layers",  "help orders", "help keys"};
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
    TCase *t = tcase_create("front");
    tcase_set_timeout(t, 300);
    const TTest *all[] = {errors_as_expected,    golden_views,          parts_are_made,         write_reads_back,
                          hostile_files,         missing_files,         locale_does_not_matter, command_line,
                          output_fits_the_width, new_makes_a_valid_spec};
    for (size_t i = 0; i < (rewrite ? 3 : sizeof all / sizeof *all); i++)
        tcase_add_test(t, all[i]);
    return run_tests("front", (TCase *[]){t, NULL});
}
