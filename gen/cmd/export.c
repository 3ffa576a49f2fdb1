/* export.c - `convoy export`: spec and checkpoint -> C for inference alone, weights inside. */
#include "commands.h"
#include "emit.h"
#include "weights.h"

#include <string.h>

enum { FLOAT_TEXT = 16 }; /* characters of a weight in C, about */

static bool ends_in(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static const char *folder_of(const char *path)
{
    const size_t n = (size_t)(base_of(path) - path);

    return n == 0 ? "." : n == 1 ? "/" : xstrndup(path, n - 1);
}

/* Each by itself, into a folder that is somebody else's: a build folder. */
static bool write_files(const OutDir *out, const char *dir)
{
    bool ok = true;

    for (int i = 0; i < out->n && ok; i++)
        ok = file_write(xprintf("%s/%s", dir, out->file[i].name), out->file[i].text, out->file[i].len);
    return ok;
}

int cmd_export(const Options *o)
{
    int status;

    if (for_reading(o)) {
        fputs("convoy: export: --for reading has no export: what is read is the network with its training\n"
              "  hint: convoy gen SPEC -o DIR --for reading [--parts infer]; or export --for size\n",
              stderr);
        return EXIT_USAGE;
    }
    Plan *p = load_plan(o, o->target ? o->target : "portable", true, &status);
    Weights w;
    OutDir out = {0};

    if (!p)
        return status;
    const char *file = xprintf("%s.c", p->g->spec->name);
    const bool as_file = o->single_file && ends_in(o->out, ".c");
    if (as_file && strcmp(base_of(o->out), file) != 0) {
        fprintf(stderr,
                "convoy: export: -o %s: the single file of this network is called %s\n  hint: -o %s/%s, or -o DIR\n",
                o->out, file, folder_of(o->out), file);
        return EXIT_USAGE;
    }
    if (!emit_fits(p, PART_INFER)) {
        diag_flush(stderr);
        return EXIT_FAILED;
    }
    if (!weights_read(p, o->weights, o->force, &w))
        return EXIT_FAILED;
    const float *folded = weights_fold(p, &w, o->weights);
    if (!folded)
        return EXIT_FAILED;
    emit_export(p, folded, o->single_file, &out);
    const char *name = p->g->spec->name;
    const double bytes = outdir_bytes(&out), spared = FLOAT_TEXT * (double)p->spared;
    outdir_warn_size(&out, name,
                     p->g->spec->winograd == WINOGRAD_ON ? "--set winograd=off makes less"
                     : p->g->spec->unroll == UNROLL_NONE
                         ? "convoy gen keeps weights out of the C"
                         : "--for size makes code less; convoy gen keeps weights out of the C");
    const char *const from[] = {o->spec, o->weights, NULL}, *const dir = as_file ? folder_of(o->out) : o->out;
    if (!(as_file ? write_files(&out, dir) : outdir_commit(&out, dir, NULL)) ||
        !write_depfile(o, as_file ? o->out : xprintf("%s/.convoy-manifest", dir), from))
        return EXIT_FAILED;
    if (o->quiet)
        return EXIT_OK;
    printf("%s: %d files for %s in %s, %.1f MB of C", name, out.n, p->target->name, dir, bytes / 1e6);
    if (p->spared)
        printf(" (about %.1f MB with --set winograd=on, which may be faster)", (bytes + spared) / 1e6);
    printf(". How to use them: %s/%s.h\n", dir, name);
    return EXIT_OK;
}
