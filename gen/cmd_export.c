/* cmd_export.c - `convoy export`: spec and checkpoint -> C for inference alone, weights inside. */
#include "commands.h"
#include "emit.h"
#include "weights.h"

int cmd_export(const Options *o)
{
    int status;

    if (for_reading(o)) {
        fputs("convoy: export: --for reading has no export: what is read is the network with its training\n"
              "  hint: convoy gen SPEC -o DIR --for reading [--parts infer]; or export --for size\n", stderr);
        return EXIT_USAGE;
    }
    Plan *p = load_plan(o, o->target ? o->target : "portable", &status);
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
    if (!outdir_commit(&out, o->out, NULL))
        return EXIT_FAILED;
    printf("%s: %d files for %s in %s. How to use them: %s/%s.h\n", p->g->spec->name, out.n, p->target->name, o->out, o->out, p->g->spec->name);
    return EXIT_OK;
}
