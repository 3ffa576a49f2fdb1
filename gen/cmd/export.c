/* export.c - `convoy export`: spec and checkpoint -> C for inference alone, weights inside. */
#include "commands.h"
#include "emit.h"
#include "weights.h"

enum { FLOAT_TEXT = 16 }; /* characters of a weight in C, about */

int cmd_export(const Options *o)
{
    int status;

    if (for_reading(o)) {
        fputs("convoy: export: --for reading has no export: what is read is the network with its training\n"
              "  hint: convoy gen SPEC -o DIR --for reading [--parts infer]; or export --for size\n", stderr);
        return EXIT_USAGE;
    }
    Plan *p = load_plan(o, o->target ? o->target : "portable", true, &status);
    Weights w;
    OutDir out = {0};

    if (!p)
        return status;
    if (!weights_read(p, o->weights, o->force, &w))
        return EXIT_FAILED;
    const float *folded = weights_fold(p, &w, o->weights);
    if (!folded)
        return EXIT_FAILED;
    emit_export(p, folded, o->single_file, &out);
    const char *name = p->g->spec->name;
    const double bytes = outdir_bytes(&out), spared = FLOAT_TEXT * (double)p->spared;
    outdir_warn_size(&out, name, p->g->spec->winograd == WINOGRAD_ON   ? "--set winograd=off makes less"
                                 : p->g->spec->unroll == UNROLL_NONE ? "convoy gen keeps weights out of the C"
                                                                     : "--for size makes code less; convoy gen keeps weights out of the C");
    if (!outdir_commit(&out, o->out, NULL))
        return EXIT_FAILED;
    printf("%s: %d files for %s in %s, %.1f MB of C", name, out.n, p->target->name, o->out, bytes / 1e6);
    if (p->spared)
        printf(" (about %.1f MB with --set winograd=on, which may be faster)", (bytes + spared) / 1e6);
    printf(". How to use them: %s/%s.h\n", o->out, name);
    return EXIT_OK;
}
