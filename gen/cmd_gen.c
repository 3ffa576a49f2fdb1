/* cmd_gen.c - `convoy gen`: spec -> plan -> a folder of C. */
#include "commands.h"
#include "emit.h"

#include <string.h>

Plan *load_plan(const Options *o, const char *target, bool compact, int *status)
{
    *status = EXIT_FAILED;
    const Target *t = target_find(target);
    if (!t) {
        fprintf(stderr, "convoy: unknown target '%s' (native", target);
        for (const Target *k = targets; k->name; k++)
            fprintf(stderr, ", %s", k->name);
        fputs(")\n", stderr);
        *status = EXIT_USAGE;
        return NULL;
    }
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    *status = EXIT_FAILED;
    Plan *p = plan_build_as(g, t, !o->fold || strcmp(o->fold, "on") == 0, compact);
    if (diag_flush(stderr) || !p)
        return NULL;
    if (o->dump && strcmp(o->dump, "plan") == 0) {
        plan_dump(p, stdout);
        *status = EXIT_OK;
        return NULL;
    }
    return p;
}

bool dumps_plan(const Options *o, int *status)
{
    if (!o->dump || strcmp(o->dump, "plan") != 0)
        return false;
    load_plan(o, o->target ? o->target : "native", false, status);
    return true;
}

static bool parts_of(const char *word, Parts *parts)
{
    if (!word || strcmp(word, "all") == 0)
        *parts = PART_ALL;
    else if (strcmp(word, "train") == 0)
        *parts = PART_ALL; /* training evaluates with the inference code */
    else if (strcmp(word, "infer") == 0)
        *parts = PART_INFER;
    else
        return false;
    return true;
}

bool for_reading(const Options *o)
{
    return o->purpose && strcmp(o->purpose, "reading") == 0;
}

/* What has no meaning for reading; NULL: nothing was asked for. */
static const char *not_for_reading(const Options *o, const char **hint)
{
    if (o->target && strcmp(o->target, "portable") != 0) {
        *hint = "leave --target out";
        return xprintf("--target %s goes with --for speed or size: for reading, the code is plain C99, which every processor runs", o->target);
    }
    if (o->fold && strcmp(o->fold, "off") != 0) {
        *hint = "leave --fold out; 'convoy plan SPEC --why LAYER --worked' shows the folding of a norm with numbers";
        return "--fold on goes with --for speed or size: for reading, norms are applied where they stand at inference, too";
    }
    return NULL;
}

Plain *load_plain(const Options *o, int *status)
{
    const char *hint, *wrong = not_for_reading(o, &hint);

    if (wrong) {
        fprintf(stderr, "convoy: %s\n  hint: %s\n", wrong, hint);
        *status = EXIT_USAGE;
        return NULL;
    }
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    Plain *p = plain_build(g);
    *status = EXIT_FAILED;
    if (diag_flush(stderr) || !p)
        return NULL;
    if (o->dump && strcmp(o->dump, "plan") == 0) {
        plain_dump(p, stdout);
        *status = EXIT_OK;
        return NULL;
    }
    return p;
}

/* NAME.yaml: how the folder is made again; `convoy diff` of two folders reads it. */
static void add_spec(OutDir *out, const Options *o, const Spec *s, const char *target)
{
    Buf b = {0};

    buf_printf(&b, "# What this folder was emitted from, spelled out. It is made again by:\n# convoy gen %s.yaml -o DIR --target %s%s%s%s%s%s%s\n", s->name, target,
               o->parts ? " --parts " : "", o->parts ? o->parts : "", o->purpose ? " --for " : "", o->purpose ? o->purpose : "", o->fold ? " --fold " : "",
               o->fold ? o->fold : "");
    buf_puts(&b, spec_text(s));
    outdir_add(out, xprintf("%s.yaml", s->name), b.text, b.len);
}

/* Emits from whichever plan is there. */
static int write_folder(const Options *o, const Plan *p, const Plain *plain, Parts parts)
{
    OutDir out = {0};
    const Spec *const s = p ? p->g->spec : plain->g->spec;
    const char *name = s->name;

    if (p && !emit_fits(p, parts)) {
        diag_flush(stderr);
        return EXIT_FAILED;
    }
    if (p)
        emit_network(p, parts, &out);
    else
        emit_plain(plain, parts, &out);
    add_spec(&out, o, s, p ? p->target->name : "portable");
    if (!outdir_commit(&out, o->out, NULL))
        return EXIT_FAILED;
    if (p)
        printf("%s: %d files for %s in %s. Next: make -C %s\n", name, out.n, p->target->name, o->out, o->out);
    else
        printf("%s: %d files for reading in %s. Begin with %s/%s_net.c. Next: make -C %s\n", name, out.n, o->out, o->out, name, o->out);
    return EXIT_OK;
}

int cmd_gen(const Options *o)
{
    Parts parts;
    int status;

    if (!parts_of(o->parts, &parts)) {
        fprintf(stderr, "convoy: unknown parts '%s' (all, infer, train)\n", o->parts);
        return EXIT_USAGE;
    }
    if (o->fold && strcmp(o->fold, "on") != 0 && strcmp(o->fold, "off") != 0) {
        fprintf(stderr, "convoy: unknown value '%s' of --fold (on, off)\n", o->fold);
        return EXIT_USAGE;
    }
    if (!o->out && !o->dump) {
        fputs("convoy: gen: -o DIR is missing: the folder that the C goes to\n", stderr);
        return EXIT_USAGE;
    }
    Plan *p = for_reading(o) ? NULL : load_plan(o, o->target ? o->target : "native", false, &status);
    Plain *plain = for_reading(o) ? load_plain(o, &status) : NULL;
    return p || plain ? write_folder(o, p, plain, parts) : status;
}
