/* test_base.c - values, memory, files and folders, templates. */
#define _GNU_SOURCE
#include "base.h"
#include "diag.h"
#include "files.h"
#include "numbers.h"
#include "expr.h"
#include "template.h"
#include "test_help.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- files ----------------------------------------------------------------------------------------------------- */

static bool commit(const char *dir, const char *const *names, const char *text)
{
    OutDir o = {0};
    for (; *names; names++)
        outdir_add(&o, *names, text, strlen(text));
    return outdir_commit(&o, dir, NULL);
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

/* ---- expressions ---- */

static const struct {
    const char *text, *folded;
} expressions[] = {
    {"x + 0", "x"},
    {"0 + x", "x"},
    {"y * 1 + x * 0", "y"},
    {"((y + 0) * 14 + (x + 0)) * 16", "(y * 14 + x) * 16"},
    {"((y + 1) * 30 + (x + 1)) * 16", "((y + 1) * 30 + (x + 1)) * 16"},
    {"(y * 1 + x) * 1", "y + x"},
    {"p + 2 * 480 + 3 * 16 + l", "p + 1008 + l"},
    {"xr + 32 + l * 16", "xr + 32 + l * 16"},
    {"y * 2 + -1", "y * 2 - 1"},
    {"y - -3", "y + 3"},
    {"16 - q->c", "16 - q->c"},
    {"0 - x", "-x"},
    {"-x * 1 + 0", "-x"},
    {"a - (b + 0 - c)", "a - (b - c)"},
    {"a - (b + 0)", "a - b"},
    {"5 - 5", "0"},
    {"3 - 5", "-2"},
    {"x - 5 + 5", "x"},
    {"x * (3 - 5)", "x * (-2)"},
    {"k->out + (int64_t)at.image * 1 + c * 1", "k->out + (int64_t)at.image + c"},
    {"w + b * (int64_t)2304", "w + b * (int64_t)2304"},
    {"w + 0 * (int64_t)2304", "w"},
    {"(int64_t)0 * x", "0"},
    {"f(y * 1, 0 + 2, a[i + 0])", "f(y, 2, a[i])"},
    {"t / 1 * 5 + t % 1 * 16", "t * 5"},
    {"a / 16 * 3 * 1", "a / 16 * 3"},
    {"7 / 2 + 7 % 4", "6"},
    {"&s->x[0 + 1].y", "&s->x[1].y"},
    {"g(\"a + 0\") + 0", "g(\"a + 0\")"},
    {"f() + 1.0f * UINT64_C(1)", "f() + 1.0f * UINT64_C(1)"},
    {"2147483647 * 4", "8589934588"},
    {"9223372036854775807 * 4", "9223372036854775807 * 4"},
};

START_TEST(expression)
{
    ck_assert_str_eq(expr_fold(expressions[_i].text, NULL), expressions[_i].folded);
    ck_assert_str_eq(expr_fold(expressions[_i].folded, NULL), expressions[_i].folded);
}
END_TEST

START_TEST(known_values)
{
    const Known y = {"y", 1, 2, NULL}, x = {"x", 1, 0, &y};

    ck_assert_str_eq(expr_fold("p + y * 480 + x * 16 + 5", &x), "p + 965");
    ck_assert_str_eq(expr_fold("q->y + yy + a.x + x", &x), "q->y + yy + a.x");
    ck_assert_str_eq(expr("%s + %d", "c", 0), "c");
}
END_TEST

/* ---- templates ---- */

START_TEST(template_language)
{
    Rec *r = rec_new(), *inner = rec_new();
    Buf b = {0};

    template_read("t.c", "//$ define t_all\n"
                         "a ${x.n} ${x.name}of${x.n} $x.n $${x.n} ${x.inner.w}$\n"
                         "    //$ for i in x.list\n"
                         "    [${i.v}_${x.n}]\n"
                         "    //$ if i.last\n"
                         "    last\n"
                         "    //$ else\n"
                         "    more\n"
                         "    //$ end\n"
                         "    //$ end\n"
                         "//$ if x.none\n"
                         "never\n"
                         "//$ end\n"
                         "  //$ emit x.inner\n"
                         "//$ end\n"
                         "//$ define t_inner\n"
                         "one ${inner.w}\n"
                         "\n"
                         "  two\n"
                         "//$ end\n");
    rec_int(r, "n", 5);
    rec_str(r, "name", "N");
    rec_int(r, "none", 0);
    for (int i = 0; i < 2; i++) {
        Rec *e = rec_add(r, "list");
        rec_int(e, "v", i);
        rec_int(e, "v_5", 9); /* a field is what stands between the braces, whatever follows */
        rec_int(e, "last", i);
    }
    rec_str(inner, "template", "t_inner");
    rec_str(inner, "w", "W");
    rec_rec(r, "inner", inner);
    template_expand("t_all", "x", r, &b);
    ck_assert_str_eq(b.text, "a 5 Nof5 $x.n ${x.n} W$\n    [0_5]\n    more\n    [1_5]\n    last\n  one W\n\n    two\n");
}
END_TEST

/* Loops of one turn are their body; of several statements, or with names of its own, a body has braces. */
START_TEST(template_loops)
{
    static const struct {
        const char *head, *body, *expanded;
    } loops[] = {
        {"i 0 ${x.n} 1", "f($[a + i]);", "for (int i = 0; i < 5; i++)\n    f(a + i);\n"},
        {"i 0 ${x.n} 2 also p += ${x.n}", "f($[a + i]);", "for (int i = 0; i < 5; i += 2, p += 5)\n    f(a + i);\n"},
        {"i 0 ${x.n} 5 also p += ${x.n}", "f($[a + i]);", "f(a);\n"},
        {"i 3 ${x.n} 2", "f($[a + i]);", "f(a + 3);\n"},
        {"i 0 1 1 own", "int b = $[i];", "{\n    int b = 0;\n}\n"},
        {"i from ${x.n} 1", "f($[i]);", "for (int i = from; i < 5; i++)\n    f(i);\n"},
        {"i 0 2 1", "f($[i]);\n    g();", "for (int i = 0; i < 2; i++) {\n    f(i);\n    g();\n}\n"},
        {"i 0 2 1", "int a;\n    {\n    }", "for (int i = 0; i < 2; i++) {\n    int a;\n    {\n    }\n}\n"},
        {"i 0 2 1 parallel k->n", "f($[i + CVY_THREAD * 8]);",
         "CVY_PARALLEL(k->n)\nfor (int i = 0; i < 2; i++)\n    f(i + CVY_THREAD * 8);\n"},
        {"i 0 1 1 parallel k->n", "f($[i + CVY_THREAD * 8]);", "f(0);\n"},
        {"i 0 2 1", "//$ loop j 0 1 1\n        f($[j + i]);\n    //$ end", "for (int i = 0; i < 2; i++)\n    f(i);\n"},
    };
    Rec *r = rec_new();

    rec_int(r, "n", 5);
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        const char *name = xprintf("t_loop%zu", i);
        Buf b = {0};
        template_read("l.c", xprintf("//$ define %s\n//$ loop %s\n    %s\n//$ end\n//$ end\n", name, loops[i].head,
                                     loops[i].body));
        template_expand(name, "x", r, &b);
        ck_assert_str_eq(b.text, loops[i].expanded);
    }
}
END_TEST

static const struct {
    const char *text, *says;
} broken_templates[] = {
    {"\n//$ define t_broken\n\n${x.m}\n//$ end\n", "template t_broken (b.c:4): there is no field 'x.m'\n"},
    {"//$ define t_broken\n${x.nm}\n//$ end\n", "template t_broken (b.c:2): there is no field 'x.nm'\n"},
    {"//$ define t_broken\n${x.list}\n//$ end\n",
     "template t_broken (b.c:2): there is no field 'x.list' that is text\n"},
    {"//$ define t_broken\n${x}\n//$ end\n", "template t_broken (b.c:2): there is no field 'x'\n"},
    {"//$ define t_broken\n${y.n}\n//$ end\n", "template t_broken (b.c:2): 'y.n': nothing is called 'y'\n"},
    {"//$ define t_broken\n${x.n.m}\n//$ end\n", "template t_broken (b.c:2): 'x.n.m': 'x.n' is no record\n"},
    {"//$ define t_broken\n a ${x.n\n//$ end\n", "template t_broken (b.c:2): '${x.n' is never closed\n"},
    {"//$ define t_broken\n//$ if y.n\n//$ end\n//$ end\n",
     "template t_broken (b.c:2): 'y.n': nothing is called 'y'\n"},
    {"//$ define t_broken\n//$ loop i 0 1\n//$ end\n//$ end\n",
     "template t_broken (b.c:2): a loop has a variable, a beginning, an end and a step\n"},
    {"//$ define t_broken\n//$ loop i 0 1 1 once\n//$ end\n//$ end\n",
     "template t_broken (b.c:2): 'once' says nothing of a loop\n"},
    {"//$ define t_broken\n a $[x + y\n//$ end\n", "template t_broken (b.c:2): '[x + y' is never closed\n"},
    {"//$ define t_broken\n//$ place x.n\n//$ end\n", "template t_broken (b.c:2): '//$ place x.n' is no directive\n"},
    {"//$ define t_other\n//$ end\nstray\n//$ if x.n\n", "b.c:4: '//$ if x.n' outside a definition\n"},
};

/* What is wrong with a template is a bug of convoy, said with the template, the field and the line. */
START_TEST(broken_template)
{
    char said[1024] = "";
    int ends[2], status = 0;

    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        Rec *r = rec_new();
        Buf b = {0};
        rec_int(r, "n", 5);
        rec_add(r, "list");
        template_read("b.c", broken_templates[_i].text);
        template_expand("t_broken", "x", r, &b);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof said - 1 && (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(strstr(said, broken_templates[_i].says) != NULL, "%s", said);
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("base");

    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_test(c, numbers);
    tcase_add_test(c, nearest);
    tcase_add_test(c, arithmetic);
    tcase_add_test(c, folders);
    tcase_add_test(c, same_bytes_keep_their_time);
    tcase_add_test(c, full_disk);
    tcase_add_test(c, through_a_link);
    tcase_add_loop_test(c, expression, 0, sizeof expressions / sizeof *expressions);
    tcase_add_test(c, known_values);
    tcase_add_test(c, template_language);
    tcase_add_test(c, template_loops);
    tcase_add_loop_test(c, broken_template, 0, sizeof broken_templates / sizeof *broken_templates);
    return run_tests("base", (TCase *[]){c, NULL});
}
