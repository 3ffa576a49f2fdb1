/* asm.c - `convoy asm SPEC LAYER.PASS`: the inner loop that a compiler made of a layer, with its counts. */
#include "json.h"
#include "asm.h"
#include "commands.h"
#include "emit.h"
#include "process.h"
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ASSEMBLY = 1 << 28 };

/* The passes: which of the core's functions they run, and how the functions are called that run it. */
static const struct What {
    const char *name, *core;
    const char *functions[4];
} passes[] = {
    {"forward", "forward", {"_forward", "_forward_piece", NULL}},
    {"data", "data", {"_backward", "_backward_piece", NULL}},
    {"weights", "weights", {"_backward", "_backward_piece", NULL}},
    {"infer", "forward", {"_infer", NULL}},
};
enum { NPASSES = sizeof passes / sizeof *passes };

static int wrong(const char *hint, const char *text)
{
    fprintf(stderr, "convoy: asm: %s\n", text);
    if (hint)
        fprintf(stderr, "  hint: %s\n", hint);
    return EXIT_FAILED;
}

static bool is_layer(const Plan *p, const Kernel *k, const char *layer)
{
    return k->w && (strcmp(p->g->op[k->op].layer, layer) == 0 || strcmp(k->name, layer) == 0);
}

static const Kernel *find_kernel(const Plan *p, const char *layer)
{
    const char **names = xalloc(sizeof *names * (size_t)(p->nkernel + 1));
    int n = 0;

    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        if (is_layer(p, k, layer))
            return k;
        if (k->w)
            names[n++] = p->g->op[k->op].layer;
    }
    wrong(n ? diag_choices(layer, names, "convoy check SPEC") : NULL,
          xprintf("no conv or linear layer is called '%.60s'", layer));
    return NULL;
}

/* Why a kernel has no such pass; NULL: it has. */
static const char *missing(const Kernel *k, const struct What *what)
{
    if (k->recurrent)
        return "the steps of a recurrent layer are several loops, none of which is its core alone";
    if (k->kind == KERNEL_EMBED)
        return "it looks rows up, and multiplies nothing";
    if (k->rows && strcmp(what->name, "infer") != 0)
        return "it is a matrix product, cvy_product of runtime/cvy_product.h; infer is "
               "code of its own";
    if (strcmp(what->name, "data") == 0 && !k->back_data)
        return "nobody needs the gradient of what it reads";
    return NULL;
}

/* The words of CC. */
static void add_compiler(const char ***argv, int *n)
{
    const char *cc = getenv("CC");

    for (cc = cc && cc[strspn(cc, " \t")] ? cc : "cc"; *(cc += strspn(cc, " \t"));) {
        const size_t len = strcspn(cc, " \t");
        *PUSH(*argv, *n) = xstrndup(cc, len);
        cc += len;
    }
}

static const char *compiler_version(void)
{
    const char **argv = NULL;
    int n = 0;
    Buf output = {0};

    add_compiler(&argv, &n);
    *PUSH(argv, n) = "--version";
    *PUSH(argv, n) = NULL;
    if (process_run((char *const *)argv, &output) != 0 || !output.len)
        return "an unknown compiler";
    char *plain = xalloc(256);
    return cvy_plain(xstrndup(output.text, strcspn(output.text, "\n")), plain, 256);
}

/* Compiles dir/NAME_<kernel>.c; its assembly, or NULL and a message. */
static char *compile(const Plan *p, const Kernel *k, const char *dir)
{
    const char **argv = NULL, *out = xprintf("%s/layer.s", dir);
    int n = 0;
    Buf output = {0};
    size_t len;

    if (!process_exists(process_compiler())) {
        wrong("install gcc or clang, or name one that is there: CC=clang convoy asm ...",
              xprintf("there is no C compiler '%.200s'", process_compiler()));
        return NULL;
    }
    add_compiler(&argv, &n);
    const char *const words[] = {xprintf("-std=%s", p->target->standard), "-O2", "-g", "-S", "-I", dir, "-o", out};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        *PUSH(argv, n) = words[i];
    if (!strstr(compiler_version(), "clang")) /* gcc makes one function of two passes whose loops are the same */
        *PUSH(argv, n) = "-fno-ipa-icf";
    for (const char *f = p->target->flags; *(f += strspn(f, " ")); f += strcspn(f, " "))
        *PUSH(argv, n) = xstrndup(f, strcspn(f, " "));
    *PUSH(argv, n) = xprintf("%s/%s_%s.c", dir, p->g->spec->name, k->name);
    *PUSH(argv, n) = NULL;
    const int status = process_run((char *const *)argv, &output);
    if (status == 0) {
        char *text = file_read(out, MAX_ASSEMBLY, &len);
        if (!text)
            wrong(NULL, xprintf("cannot read %s: %s", out, strerror(errno)));
        return text;
    }
    if (output.len)
        fwrite(output.text, 1, output.len, stderr);
    wrong(NULL, status == -1 ? xprintf("cannot run %s: %s", argv[0], strerror(errno))
                             : "the compiler failed; what it said stands above");
    return NULL;
}

/* ---- what is said ---- */

/* The loop as the compiler wrote it, without what is for debuggers. */
static void print_loop(const AsmText *t, const AsmLoop *l)
{
    for (int i = l->from; i <= l->to; i++) {
        const char *s = t->line[i];
        const bool label = *s != '\t' && *s != ' ' && (strncmp(s, ".L", 2) == 0) && i == l->from;
        const size_t blank = strspn(s, " \t");
        if (label)
            printf("  %s\n", s);
        else if (blank && s[blank] >= 'a' && s[blank] <= 'z')
            printf("      %.*s %s\n", (int)strcspn(s + blank, " \t"), s + blank,
                   s + blank + strcspn(s + blank, " \t") + strspn(s + blank + strcspn(s + blank, " \t"), " \t"));
    }
}

static double density(const AsmLoop *l)
{
    return (double)l->fma / l->instructions;
}

/* "forward_tile" of conv_..._forward_tile. */
static const char *short_name(const Kernel *k, const AsmLoop *l)
{
    return l->core + strlen(k->w->core_name) + 1;
}

static const char *const nothing_left =
    "the compiler left no loop with multiply-adds of this pass (a short one may be unrolled whole)";

static void print_text(const AsmText *t, const Kernel *k, const char *layer, const struct What *what)
{
    const AsmLoop *hot = &t->loop[0];

    if (t->nloop == 0) {
        printf("\n%s.%s: %s\n", layer, what->name, nothing_left);
        return;
    }
    printf("\n%s.%s: %s, in %s\n\n", layer, what->name, hot->core, hot->function);
    print_loop(t, hot);
    printf("\n  %d multiply-adds of %d instructions (density %.2f), %d loads, %d stores, %d spills\n", hot->fma,
           hot->instructions, density(hot), hot->loads, hot->stores, hot->spills);
    printf("\n  all innermost loops, by their line in core_%s.h; in C: in its text\n\n", k->w->core_name);
    printf("  %-20s %6s %5s %6s %6s %6s %6s %6s %6s %6s %8s\n", "in", "line", "loops", "instr.", "m.-adds", "in C",
           "loads", "in C", "stores", "spills", "density");
    for (int i = 0; i < t->nloop; i++) {
        const AsmLoop *l = &t->loop[i];
        printf("  %-20s %6d %5d %6d %7d %6d %6d %6d %6d %6d %8.2f\n", short_name(k, l), l->line, l->alike,
               l->instructions, l->fma, l->want_fma, l->loads, l->want_loads, l->stores, l->spills, density(l));
    }
}

static json_t *json_pass(const AsmText *t, const struct What *what)
{
    json_t *loops = json_array();
    bool ok = loops != NULL;

    for (int i = 0; i < t->nloop; i++) {
        const AsmLoop *l = &t->loop[i];
        ok &= json_array_append_new(
                  loops, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f}", "core", l->core,
                                   "function", l->function, "line", l->line, "alike", l->alike, "instructions",
                                   l->instructions, "fma", l->fma, "fma_in_c", l->want_fma, "loads", l->loads,
                                   "loads_in_c", l->want_loads, "stores", l->stores, "spills", l->spills, "stack",
                                   l->stack, "density", density(l))) == 0;
    }
    return ok ? json_pack("{s:s, s:o}", "pass", what->name, "loops", loops) : NULL;
}

/* ---- the command ---- */

/* Emits and compiles into `dir`. The assembly and the core's header; NULL and a message. */
static char *make_assembly(const Plan *p, const Kernel *k, const char *dir, const char **header)
{
    OutDir out = {0};
    const char *name = xprintf("core_%s.h", k->w->core_name);

    if (!emit_fits(p, PART_ALL)) {
        diag_flush(stderr);
        return NULL;
    }
    emit_network(p, PART_ALL, &out);
    for (int i = 0; i < out.n; i++)
        if (strcmp(out.file[i].name, name) == 0)
            *header = out.file[i].text;
    if (!*header)
        BUG("%s has no %s", k->name, name);
    return outdir_commit(&out, dir, NULL) ? compile(p, k, dir) : NULL;
}

static int show(const Options *o, const Plan *p, const Kernel *k, const char *layer, const struct What *only,
                const char *assembly, const char *header)
{
    const char *compiler = compiler_version();
    json_t *list = json_array();
    bool ok = list != NULL;

    if (!o->json)
        printf("%s: %s for %s by %s\n", p->g->spec->name, layer, p->target->name, compiler);
    for (int i = 0; i < NPASSES; i++) {
        const struct What *what = &passes[i];
        const char *why = missing(k, what);
        if (only && only != what)
            continue;
        if (why && !o->json)
            printf("\n%s.%s: none: %s\n", layer, what->name, why);
        if (why)
            continue;
        const AsmText t = asm_read(assembly, xprintf("core_%s.h", k->w->core_name), header,
                                   xprintf("%s_%s", k->w->core_name, what->core), what->functions, p->target->asm_parts,
                                   p->target->asm_fused);
        if (!o->json)
            print_text(&t, k, layer, what);
        else
            ok &= json_array_append_new(list, json_pass(&t, what)) == 0;
    }
    if (!o->json)
        return EXIT_OK;
    json_t *all = json_pack("{s:s, s:s, s:s, s:s, s:o}", "network", p->g->spec->name, "layer", layer, "target",
                            p->target->name, "compiler", compiler, "passes", list);
    if (!ok || !json_print(all, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(4), stdout))
        return wrong(NULL, "out of memory");
    return EXIT_OK;
}

int cmd_asm(const Options *o)
{
    const char *const dot = o->spec2 ? strrchr(o->spec2, '.') : NULL, *header = NULL;
    const struct What *only = NULL;
    int status;

    if (!o->spec2) {
        wrong("convoy asm SPEC conv2.forward, for one; convoy check SPEC lists layers", "LAYER.PASS is missing");
        return EXIT_USAGE;
    }
    for (int i = 0; dot && i < NPASSES; i++)
        only = strcmp(dot + 1, passes[i].name) == 0 ? &passes[i] : only;
    Plan *p = load_plan(o, o->target ? o->target : "native", false, &status);
    if (!p)
        return status;
    if (!p->target->asm_parts)
        return wrong("--target avx2, avx512 or portable, with a compiler for x86", "only x86 assembly is read");
    const char *layer = only ? xstrndup(o->spec2, (size_t)(dot - o->spec2)) : o->spec2;
    const Kernel *k = find_kernel(p, layer);
    if (!k)
        return EXIT_FAILED;
    if (only && missing(k, only))
        return wrong(NULL, xprintf("%s has no pass '%s': %s", layer, only->name, missing(k, only)));
    const char *dir = process_folder("asm");
    if (!dir)
        return EXIT_FAILED;
    const char *assembly = make_assembly(p, k, dir, &header);
    process_folder_remove();
    return assembly ? show(o, p, k, layer, only, assembly, header) : EXIT_FAILED;
}
