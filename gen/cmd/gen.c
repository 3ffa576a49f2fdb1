/* gen.c - `convoy gen`: spec -> plan -> a folder of C. */
#include "commands.h"
#include "emit.h"

#include <string.h>

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

/* NAME.yaml: how the folder is made again; `convoy diff` of two folders reads it. */
static void add_spec(OutDir *out, const Options *o, const Spec *s, const char *target)
{
    Buf b = {0};

    buf_printf(&b,
               "# What this folder was emitted from, spelled out. It is made again by:\n# convoy gen %s.yaml -o DIR "
               "--target %s%s%s%s%s%s%s\n",
               s->name, target, o->parts ? " --parts " : "", o->parts ? o->parts : "", o->purpose ? " --for " : "",
               o->purpose ? o->purpose : "", o->fold ? " --fold " : "", o->fold ? o->fold : "");
    buf_puts(&b, spec_text(s));
    outdir_add(out, xprintf("%s.yaml", s->name), b.text, b.len);
}

/* A path in a makefile. */
static void put_path(Buf *to, const char *path)
{
    for (; *path; path++)
        buf_printf(to, *path == '$' ? "$$" : strchr(" #\\", *path) ? "\\%c" : "%c", *path);
}

bool write_depfile(const Options *o, const char *target, const char *const *from)
{
    Buf b = {0};

    if (!o->depfile)
        return true;
    put_path(&b, target);
    buf_puts(&b, ":");
    for (; *from; from++) {
        buf_puts(&b, " ");
        put_path(&b, *from);
    }
    buf_puts(&b, "\n");
    return file_write(o->depfile, b.text, b.len);
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
    const char *const from[] = {o->spec, NULL};
    if (!outdir_commit(&out, o->out, NULL) || !write_depfile(o, xprintf("%s/.convoy-manifest", o->out), from))
        return EXIT_FAILED;
    if (o->quiet)
        return EXIT_OK;
    if (p)
        printf("%s: %d files for %s in %s. Next: make -C %s\n", name, out.n, p->target->name, o->out, o->out);
    else
        printf("%s: %d files for reading in %s. Begin with %s/%s_net.c. Next: make -C %s\n", name, out.n, o->out,
               o->out, name, o->out);
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
