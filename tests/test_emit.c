/* test_emit.c - the emitted text of tiny networks.
 *
 *   test_emit TESTS_DIR [rewrite]
 *
 * golden/<net>.emitted holds every file that convoy writes for golden/<net>.yaml, the runtime aside, for target
 * portable. With `rewrite` as the last argument they are written anew: look at the diff before you commit it. */
#define _GNU_SOURCE
#include "emit.h"
#include "graph.h"
#include "plan_help.h"
#include "test_help.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

const char *tests;
static bool rewrite;

START_TEST(floats_read_back)
{
    const double v[] = {0, 1, -2, 0.1, 1.0 / 3, 1e-30, 3.4e38, 16777217};

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        const char *s = emit_float(v[i]);
        ck_assert_msg((float)v[i] == strtof(s, NULL), "%s", s);
        ck_assert_msg(strpbrk(s, ".e") && s[strlen(s) - 1] == 'f', "%s is no float constant", s);
    }
}
END_TEST

START_TEST(weights_of_one_dimension) /* O, I / groups, K stands where O, I / groups, 1, K would */
{
    static const int channels[][3] = {{2, 20, 1}, {20, 17, 1}, {32, 64, 2}, {12, 12, 12}, {12, 8, 4}};

    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        Plan *p = plan_of_conv(
            &(Conv){channels[i][0], channels[i][1], channels[i][2], {0, 1, 20}, {1, 5}, {1, 1}, {0, 2}, {1, 1}},
            "portable");
        const Kernel *k = &p->kernel[1];
        int64_t block[2][4], outer[2][4], inner[2][4];
        emit_param_layout(p, k->w->wparam, block[0], outer[0], inner[0]);
        Param *q = &p->g->param[k->w->wparam];
        ck_assert_int_eq(q->ndim, 4);
        q->ndim = 3, q->dim[2] = q->dim[3], q->dim[3] = 0;
        emit_param_layout(p, k->w->wparam, block[1], outer[1], inner[1]);
        for (int d = 0; d < 3; d++) {
            const int two = d == 2 ? 3 : d;
            ck_assert_int_eq(block[0][two], block[1][d]);
            ck_assert_int_eq(outer[0][two], outer[1][d]);
            ck_assert_int_eq(inner[0][two], inner[1][d]);
        }
    }
}
END_TEST

/* The first operand of a concat is the input, whose gradient nobody wants. */
START_TEST(input_beside_others)
{
    OutDir out = {0};

    emit_network(plan_of_text("{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[], [conv: 16]]}, "
                              "conv: 16, global_avg_pool, linear: classes]}",
                              "avx2"),
                 PART_ALL, &out);
    ck_assert_int_gt(out.n, 0);
}
END_TEST

/* How much C a plan becomes is told before it is printed, within a fifth, however long names are. */
static void check_size(const char *text, const char *what)
{
    const Plan *p = plan_of_text(text, "avx2");
    const EmitSize told = emit_size(p, PART_ALL);
    OutDir out = {0};
    double bytes = 0;

    emit_network(p, PART_ALL, &out);
    for (int i = 0; i < out.n; i++)
        bytes += strncmp(out.file[i].name, "runtime/", 8) != 0 ? (double)out.file[i].len : 0;
    const double ratio = (double)(told.layers + told.cores) / bytes;
    ck_assert_msg(ratio > 0.8 && ratio < 1.25, "%s: %.2f of the %.0f bytes that are emitted", what, ratio, bytes);
}

START_TEST(sizes_are_told)
{
    static const char form[] = "{name: %s, input: [16, 8, 8], classes: 10, order: conv-bn-act, layers: [%s, "
                               "global_avg_pool, linear: classes]}";
    const char *deep = "conv: 16", *dots[] = {"x", "a_network_of_twenty", NULL};

    for (int i = 0; dots[i]; i++)
        for (int length = 4; length <= 48; length *= 2) {
            Buf b = {0};
            for (int n = 0; n < 20; n++)
                buf_printf(&b, "%sconv: {name: %.*s%02d, out: 16}", n ? ", " : "", length - 2,
                           "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", n);
            check_size(xprintf(form, dots[i], b.text), xprintf("names of %d letters in %s", length, dots[i]));
        }
    for (int levels = 0; levels < 12; levels++) {
        if (levels)
            deep = xprintf("stage: {name: level%d, repeat: 1, layers: [%s]}", levels, deep);
        check_size(xprintf(form, "x", xprintf("conv: {name: first, out: 16}, %s", deep)),
                   xprintf("%d groups deep", levels));
        check_size(
            xprintf(form, "x", xprintf("conv: {name: first, out: 16}, stage: {repeat: 12, residual: [%s]}", deep)),
            xprintf("12 of %d groups deep", levels));
    }
}
END_TEST

/* The nets that have a file golden/<net>.emitted; an empty one is filled by `rewrite`. */
static const char **nets;

static int find_nets(void)
{
    glob_t found;
    int n = 0;

    if (glob(xprintf("%s/golden/*.emitted", tests), 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *base = strrchr(found.gl_pathv[i], '/') + 1;
        *PUSH(nets, n) = xstrndup(base, strlen(base) - strlen(".emitted"));
    }
    globfree(&found);
    return n;
}

static void emitted(const char *net, Buf *to)
{
    size_t len;
    const char *path = xprintf("%s/golden/%s.yaml", tests, net), *text = file_read(path, 1 << 20, &len);
    OutDir out = {0};

    ck_assert_msg(text != NULL, "%s cannot be read", path);
    emit_network(plan_of_text(text, "portable"), PART_ALL, &out);
    for (int i = 0; i < out.n; i++)
        if (strncmp(out.file[i].name, "runtime/", 8) != 0) {
            buf_printf(to, "======== %s\n", out.file[i].name);
            buf_add(to, out.file[i].text, out.file[i].len);
        }
}

START_TEST(golden_text)
{
    const char *path = xprintf("%s/golden/%s.emitted", tests, nets[_i]);
    Buf b = {0};
    size_t len = 0;

    emitted(nets[_i], &b);
    if (rewrite) {
        ck_assert(file_write(path, b.text, b.len));
        return;
    }
    const char *want = file_read(path, 1 << 24, &len);
    ck_assert_msg(want != NULL, "%s cannot be read", path);
    if (len == b.len && memcmp(want, b.text, len) == 0)
        return;
    int line = 1;
    for (size_t i = 0; i < len && i < b.len && want[i] == b.text[i]; i++)
        line += want[i] == '\n';
    ck_abort_msg("%s: line %d differs from what is emitted now", path, line);
}
END_TEST

START_TEST(same_spec_same_bytes)
{
    Buf a = {0}, b = {0};

    emitted(nets[_i], &a);
    emitted(nets[_i], &b);
    ck_assert_uint_eq(a.len, b.len);
    ck_assert(memcmp(a.text, b.text, a.len) == 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tests = argv[1];
    rewrite = argc > 2 && strcmp(argv[2], "rewrite") == 0;
    const int nnets = find_nets();
    if (nnets < 3) {
        fprintf(stderr, "test_emit: %s/golden has only %d .emitted files\n", tests, nnets);
        return 1;
    }
    TCase *c = tcase_create("emitted");
    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_test(c, floats_read_back);
    tcase_add_test(c, weights_of_one_dimension);
    tcase_add_test(c, input_beside_others);
    tcase_add_test(c, sizes_are_told);
    tcase_add_loop_test(c, golden_text, 0, nnets);
    tcase_add_loop_test(c, same_spec_same_bytes, 0, nnets);
    return run_tests("emit", (TCase *[]){c, NULL});
}
