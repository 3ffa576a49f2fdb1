/* export.c - `convoy export`: spec and checkpoint -> C for inference alone, weights inside. */
#include "commands.h"
#include "emit.h"
#include "places.h"
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

/* Why an op cannot do its work a step at a time, of what it reads; NULL: it can. `still`: what it reads has no steps.
 */
static const char *not_a_step(const Op *op, bool still)
{
    const OpInfo *info = &op_info[op->kind];
    const int returns = op->arg[ARG_RETURN].count;

    if (op->reverse)
        return "bidirectional: its second direction begins with the last step, and a stream has that last";
    if (still && op_has_place_bn(op->kind, op->arg))
        return "what it reads has no steps, and its bn the statistics of one";
    if (op_is_recurrent(op->kind))
        return returns == RETURN_MEAN || returns == RETURN_MAX
                   ? xprintf("return: %s is of all steps, and a stream has none of those to come",
                             info->arg[ARG_RETURN].words[returns])
                   : NULL;
    if (still || info->cls == CLASS_POINT || info->cls == CLASS_JOIN || op->kind == OP_EMBED ||
        op_is_batch_norm(op->kind))
        return NULL;
    if (op->kind == OP_CONV && op->kernel[1] == 1 && op->stride[1] == 1 && op->padding[1] == 0 && op->after[1] == 0)
        return NULL;
    return op_is_image_norm(op->kind)
               ? xprintf("%s takes its statistics over all steps, those to come with them", info->name)
               : xprintf("%s reads several steps at once, and a stream has one at a time", info->name);
}

/* Whether the network can be run a step at a time; else an error. */
static bool streams(const Graph *g)
{
    bool *still = xalloc((size_t)g->nop * sizeof *still), any = false; /* by op: its output has no steps */

    still[0] = g->op[0].shape.w == 1;
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        still[i] = true;
        for (int k = 0; k < op->nin; k++)
            still[i] &= still[op->ins[k]];
        const char *why = not_a_step(op, still[i]);
        if (why) {
            diag_error(op->mark, "export without --stream runs whole sequences", "%s: %s", op->path, why);
            return false;
        }
        any |= op_is_recurrent(op->kind);
        still[i] |= op_is_recurrent(op->kind) && op->arg[ARG_RETURN].count == RETURN_LAST;
    }
    if (!any)
        diag_error(g->spec->input_mark, "export without --stream",
                   "a stream is of recurrent layers, and the network has none");
    return any;
}

/* The plan of one step: that of the same network with an input of one step. */
static Plan *load_step(const Options *o, const char *target, int *status)
{
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    *status = EXIT_FAILED;
    if (!streams(g)) {
        diag_flush(stderr);
        return NULL;
    }
    const Spec *s = g->spec;
    const char **set = xalloc((size_t)(o->nset + 2) * sizeof *set);
    for (int i = 0; i < o->nset; i++)
        set[i] = o->set[i];
    set[o->nset] =
        s->tokens ? xprintf("input={tokens: %d, length: 1}", s->tokens) : xprintf("input=[%d, 1]", s->input[0]);
    set[o->nset + 1] = "train.data=idx"; /* what it is trained with has other shapes */
    Options own = *o;
    own.set = set;
    own.nset = o->nset + 2;
    own.whole = g->op[0].shape.w;
    Plan *p = load_plan(&own, target, true, status);
    if (p)
        p->stream = true;
    return p;
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
    const char *target = o->target ? o->target : "portable";
    Plan *p = o->stream ? load_step(o, target, &status) : load_plan(o, target, true, &status);
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
