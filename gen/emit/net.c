/* net.c - what ties the layers together: NAME.h, the layout, NAME_net.c, the program, build files, the runtime's copy.
 *
 * needs: a complete plan. sets: the files of the emitted folder. */
#include "cost.h"
#include "emit.h"

#include "cvy_kernels.h"
#include "embedded.h"
#include "names.h"

#include <stdlib.h>
#include <string.h>

typedef struct Net {
    const Plan *p;
    const Graph *g;
    Parts parts;
    const char *name, *NAME;
    Rec *rec;
    int64_t *fields; /* of all kernels' structs, so far */
} Net;

static int64_t floats64(int64_t floats) /* whole lines of 64 bytes */
{
    return (floats + 15) / 16 * 16;
}

static void add_offset(Rec *to, const char *list, const char *name, int64_t at, const char *doc)
{
    Rec *r = rec_add(to, list);

    rec_str(r, "name", name);
    rec_int(r, "at", at);
    if (doc)
        rec_str(r, "doc", doc);
}

static void line(Rec *to, const char *list, const char *text)
{
    rec_str(rec_add(to, list), "line", text);
}

static const char *c_name(const char *path)
{
    char *s = xstrdup(path);

    for (char *c = s; *c; c++)
        if (*c == '.')
            *c = '_';
    return s;
}

static const char *norm_name(const Net *n, int op)
{
    return xprintf("norm_%s", c_name(n->g->op[op].path));
}

static const char *stats_name(const Net *n, const Tensor *nd)
{
    return xprintf("stats_%s", c_name(n->g->op[nd->op].path));
}

/* "SMALL_CONV1_CONV_STORED", "SMALL_CONV1_CONV_ROUTE0" */
static const char *slot(const Net *n, const Tensor *nd, int index, const char *what)
{
    return xprintf("%s_%s_%s%s", n->NAME, upper(n->g->op[nd->op].path), what, index < 0 ? "" : xprintf("%d", index));
}

/* Where an image norm's statistics of each image lie. */
static const char *kept_slot(const Net *n, int op)
{
    return xprintf("%s_%s_KEPT", n->NAME, upper(n->g->op[op].path));
}

static const char *stored_slot(const Net *n, const Tensor *nd)
{
    return slot(n, nd, -1, "STORED");
}

/* ---- layout ---- */

static void params(const Net *n)
{
    for (int i = 0; i < n->g->nparam; i++) {
        const Param *q = &n->g->param[i];
        if (q->role != PARAM_COUNT)
            add_offset(n->rec, "params", xprintf("%s_%s", n->NAME, upper(q->name)), n->p->param_at[i], NULL);
    }
    for (int i = 0; i < n->p->ninfer; i++) {
        const Kernel *k = &n->p->infer[i];
        if (!k->w)
            continue;
        add_offset(n->rec, "folded", xprintf("%s_%s_FOLDED", n->NAME, upper(k->name)), k->w->fold_w, NULL);
        add_offset(n->rec, "folded", xprintf("%s_%s_FOLDED_BIAS", n->NAME, upper(k->name)), k->w->fold_b, NULL);
    }
    for (int i = 0; i < n->p->naffine; i++)
        add_offset(n->rec, "folded", affine_macro(n->p, n->p->affine[i].op), n->p->affine[i].at, NULL);
}

static void slots(const Net *n)
{
    for (int i = 0; i < n->p->nnode; i++) {
        const Tensor *nd = &n->p->node[i];
        if (nd->op == 0)
            continue;
        if (nd->stored)
            add_offset(n->rec, "slots", stored_slot(n, nd), nd->slot,
                       xprintf("%s, %s%s", n->g->op[nd->stored_op].path, describe_shape(nd->shape[0]),
                               nd->kept ? ", kept for backward" : ""));
        for (int r = 0; r < nd->nroute; r++)
            add_offset(n->rec, "slots", slot(n, nd, r, "ROUTE"), nd->route_slot[r],
                       "which element of each window won, a byte");
        if (nd->grad)
            add_offset(n->rec, "slots", slot(n, nd, -1, "GRADIENT"), nd->grad_slot,
                       xprintf("gradient of %s, %s", n->g->op[nd->op].path, describe_shape(nd->shape[nd->nlink])));
    }
    for (int i = 0; i < n->p->nnorm; i++)
        if (op_is_image_norm(n->g->op[n->p->norm[i].op].kind))
            add_offset(n->rec, "slots", kept_slot(n, n->p->norm[i].op), n->p->norm[i].slot,
                       xprintf("%s: an image's means and so on, of %d groups", n->g->op[n->p->norm[i].op].path,
                               n->g->op[n->p->norm[i].op].groups));
    for (int i = 0; i < n->p->nkernel; i++) {
        const Kernel *k = &n->p->kernel[i];
        const LinearPart *l = k->linear;
        if (!l)
            continue;
        const int64_t at[] = {l->mat_x, l->mat_y, l->mat_back_x, l->mat_dz, l->mat_dx};
        static const char *const name[] = {"X", "Y", "BACK_X", "DZ", "DX"};
        for (int j = 0; j < (l->dx >= 0 ? 5 : 4); j++)
            add_offset(n->rec, "slots", xprintf("%s_%s_%s", n->NAME, upper(k->name), name[j]), at[j],
                       "a row of a matrix for the product");
    }
}

/* ---- kernels' structs and their place ---- */

static void decl(Rec *k, const char *list, const char *text)
{
    rec_str(rec_add(k, list), "decl", text);
}

/* A field of a kernel's struct: a pointer, or 64 bits (struct_bytes). */
static void field(const Net *n, Rec *k, const char *text)
{
    decl(k, "fields", text);
    ++*n->fields;
}

/* A field of a kernel's struct, and the line that sets it. */
static void given(const Net *n, Rec *k, const Kernel *kernel, const char *declaration, const char *name,
                  const char *value)
{
    field(n, k, declaration);
    if (value)
        line(n->rec, "place", xprintf("net->%s.%s = %s", kernel->name, name, value));
}

static char *in_images(const Net *n, const char *slot_name)
{
    (void)n;
    return xprintf("images + %s * net->net.batch", slot_name);
}

/* The port's node, as the kernel is given it. */
static void port_fields(const Net *n, const Kernel *k, Rec *r, const Port *port)
{
    const Tensor *nd = &n->p->node[port->node], *root = &n->p->node[nd->root];
    const bool own = port->node == k->node;

    if (own && nd->op > 0 && nd->stored)
        given(n, r, k, "float *out", port->name, in_images(n, stored_slot(n, nd)));
    else if (port->value)
        given(n, r, k, xprintf("const float *%s", port->name), port->name,
              root->op == 0 ? NULL : in_images(n, stored_slot(n, root)));
    if (port->grad && nd->grad)
        given(n, r, k, xprintf("%sfloat *%s_g", own ? "const " : "", port->name), xprintf("%s_g", port->name),
              in_images(n, slot(n, nd, -1, "GRADIENT")));
}

static void kernel_fields(const Net *n, const Kernel *k, Rec *r)
{
    const Plan *p = n->p;
    const Tensor *node = k->node >= 0 ? &p->node[k->node] : NULL;
    NormSum *sum;
    const int nsum = plan_sums(p, k, &sum);

    given(n, r, k, "const struct cvy_net *net", "net", "&net->net");
    given(n, r, k, "float *scratch", "scratch", "net->scratch");
    for (int i = 0; i < k->nport; i++)
        port_fields(n, k, r, &k->port[i]);
    for (int i = 0; node && i < node->nroute; i++)
        given(n, r, k, xprintf("uint8_t *route%d", i), xprintf("route%d", i),
              xprintf("(uint8_t *)(void *)(%s)", in_images(n, slot(n, node, i, "ROUTE"))));
    if (node && node->nnorm)
        given(n, r, k, "struct cvy_stats *stats", "stats", xprintf("&net->%s", stats_name(n, node)));
    for (int i = 0; i < k->nport; i++) { /* of what norms' sums are taken here: where they add what they take away */
        bool adds = false;
        for (int j = 0; j < nsum; j++)
            adds |= sum[j].node == k->port[i].node && op_is_batch_norm(n->g->op[sum[j].op].kind) &&
                    p->node[sum[j].node].grad;
        if (adds)
            given(n, r, k, xprintf("struct cvy_stats *%s_stats", k->port[i].name), xprintf("%s_stats", k->port[i].name),
                  xprintf("&net->%s", stats_name(n, &p->node[k->port[i].node])));
    }
    for (int i = 0; i < k->nalias; i++) {
        const Op *o = &n->g->op[k->alias[i].op];
        const char *alias = k->alias[i].name;
        if (op_is_batch_norm(o->kind))
            given(n, r, k, xprintf("struct cvy_bn *%s", alias), alias,
                  xprintf("&net->%s", norm_name(n, k->alias[i].op)));
        else if (op_is_image_norm(o->kind))
            given(n, r, k, xprintf("const struct cvy_gn *%s", alias), alias,
                  xprintf("&net->%s", norm_name(n, k->alias[i].op)));
        else if (o->kind == OP_DROP)
            given(n, r, k, xprintf("uint64_t %s", alias), alias, xprintf("cvy_stage(\"%s\")", o->path));
    }
    if (k->w) {
        const char *w = upper(n->g->param[k->w->wparam].name);
        given(n, r, k, "const float *w", "w", xprintf("net->net.param + %s_%s", n->NAME, w));
        if (k->conv && k->conv->wt_floats + k->conv->wu_floats)
            given(n, r, k, "float *copy", "copy", "copy");
        given(n, r, k, "float *dw", "dw", "dw");
        if (k->w->bparam >= 0) {
            given(n, r, k, "const float *bias", "bias",
                  xprintf("net->net.param + %s_%s", n->NAME, upper(n->g->param[k->w->bparam].name)));
            given(n, r, k, "double *db", "db", "db");
        }
    }
    if (k->linear) {
        const char *NAME = upper(k->name);
        given(n, r, k, "float *mat_x", "mat_x", in_images(n, xprintf("%s_%s_X", n->NAME, NAME)));
        given(n, r, k, "float *mat_y", "mat_y", in_images(n, xprintf("%s_%s_Y", n->NAME, NAME)));
        given(n, r, k, "float *mat_back_x", "mat_back_x", in_images(n, xprintf("%s_%s_BACK_X", n->NAME, NAME)));
        given(n, r, k, "float *mat_dz", "mat_dz", in_images(n, xprintf("%s_%s_DZ", n->NAME, NAME)));
        if (k->linear->dx >= 0)
            given(n, r, k, "float *mat_dx", "mat_dx", in_images(n, xprintf("%s_%s_DX", n->NAME, NAME)));
    }
    if (k->loss) {
        field(n, r, "const int *labels");
        given(n, r, k, "double *loss", "loss", "net->piece_loss");
        given(n, r, k, "double *score", "score", "net->piece_score");
    }
}

static bool has_trace(const Kernel *k)
{
    bool any = false;

    for (int i = 0; i < k->ntrace_image; i++)
        any |= k->trace_image[i].name != NULL;
    return any;
}

static const char *infer_prototype(const Net *n, const Kernel *k)
{
    return xprintf("void %s_infer(const float *f%s, float *out, float *scratch)", kernel_struct(n->p, k),
                   emit_infer_args(n->p, k));
}

/* A row of what `NAME bench` measures: a kernel's call and what it costs. */
static void bench_row(const Net *n, const char *list, const Kernel *k, Phase phase, const char *verb, const char *call)
{
    const Cost c = plan_cost(n->p, k, phase);
    Rec *r = rec_add(n->rec, list);

    rec_fmt(r, "name", "%s.%s", k->name, verb);
    rec_fmt(r, "function", "%s_%s", k->name, verb);
    rec_fmt(r, "costs", "%.1f, %.1f, %.1f, %.1f", c.useful, c.executed, c.image_bytes, c.step_bytes);
    rec_str(r, "call", call);
}

static void bench_training(const Net *n, const Kernel *k, Phase phase, const char *verb)
{
    bench_row(
        n, "bench_training", k, phase, verb,
        xprintf("%s_%s(&((struct %s *)(void *)net)->%s, n, step)", kernel_struct(n->p, k), verb, n->name, k->name));
}

static void train_kernel(const Net *n, int i, bool backward)
{
    const Plan *p = n->p;
    const Kernel *k = &p->kernel[i];
    Rec *r = rec_add(n->rec, "kernels");
    const char *s = kernel_struct(p, k);

    rec_str(r, "name", k->name);
    rec_int(r, "train", 1);
    kernel_fields(n, k, r);
    if (k->has_forward) {
        rec_int(r, "forward", 1);
        bench_training(n, k, PHASE_FORWARD, "forward");
        decl(r, "prototypes", xprintf("void %s_forward(const struct %s *k, int n, const struct cvy_step *step)", s, s));
    }
    if (backward)
        decl(r, "prototypes",
             xprintf("void %s_backward(const struct %s *k, int n, const struct cvy_step *step)", s, s));
    if (k->runs_again)
        decl(r, "prototypes", xprintf("void %s_again(const struct %s *k, int n, const struct cvy_step *step)", s, s));
    if (has_trace(k)) {
        rec_int(r, "traced", 1);
        decl(r, "prototypes",
             xprintf("void %s_trace(const struct %s *k, int n, const struct cvy_step *step, float *out, cvy_sink sink, "
                     "void *user)",
                     s, s));
    }
    for (int j = 0; j < k->nport; j++)
        if (k->port[j].value && p->node[p->node[k->port[j].node].root].op == 0)
            rec_str(rec_add(r, "inputs"), "name", k->port[j].name);
}

static void kernels(const Net *n)
{
    const Plan *p = n->p;
    const bool train = n->parts & PART_TRAIN;

    bool *backward = xalloc(sizeof *backward * (size_t)(p->nkernel + 1)); /* by kernel: it has such a function */

    for (int i = 0; train && i < p->nstep; i++)
        backward[p->step[i].kernel] |= p->step[i].phase == PHASE_BACKWARD && p->step[i].runs;
    for (int i = 0; train && i < p->nkernel; i++)
        train_kernel(n, i, backward[i]);
    for (int i = 0; i < p->ninfer; i++)
        rec_str(rec_add(n->rec, "infer_prototypes"), "decl", infer_prototype(n, &p->infer[i]));
    for (int i = p->nkernel; train && i < p->nstep; i++) {
        const TrainStep *s = &p->step[i];
        const char *verb = s->phase == PHASE_AGAIN ? "again" : "backward";
        if (!s->runs)
            continue;
        Rec *r = rec_add(n->rec, "backward");
        rec_str(r, "name", p->kernel[s->kernel].name);
        rec_str(r, "verb", verb);
        bench_training(n, &p->kernel[s->kernel], s->phase, verb);
    }
}

static int param_of(const Net *n, int op, ParamRole role)
{
    const int i = graph_param(n->g, op, role);

    if (i < 0)
        BUG("op %d has no such parameter", op);
    return i;
}

static const char *param_macro(const Net *n, int op, ParamRole role)
{
    return xprintf("%s_%s", n->NAME, upper(n->g->param[param_of(n, op, role)].name));
}

static int64_t param_offset(const Net *n, int op, ParamRole role)
{
    return n->p->param_at[param_of(n, op, role)];
}

static void norms(const Net *n)
{
    for (int i = 0; i < n->p->nnorm && (n->parts & PART_TRAIN); i++) {
        const Norm *m = &n->p->norm[i];
        const Op *o = &n->g->op[m->op];
        const bool image = op_is_image_norm(o->kind);
        const char *name = norm_name(n, m->op), *at = image ? xprintf("%s.norm", name) : name;
        rec_str(rec_add(n->rec, image ? "image_norms" : "norms"), "name", name);
        line(n->rec, "place",
             xprintf("net->%s = (struct cvy_bn){.channels = %d, .padded = %d, .pieces = %d, .eps = %.17g, .momentum = "
                     "%.17g}",
                     at, o->shape.c, m->padded, n->p->pieces, o->eps, image ? 0 : o->momentum));
        line(n->rec, "place", xprintf("net->%s.gamma = net->net.param + %s", at, param_macro(n, m->op, PARAM_GAMMA)));
        if (op_has_param(o->kind, PARAM_BETA))
            line(n->rec, "place", xprintf("net->%s.beta = net->net.param + %s", at, param_macro(n, m->op, PARAM_BETA)));
        if (image && !op_info[o->kind].norm->centred)
            line(n->rec, "place", xprintf("net->%s.not_centred = 1", name));
        if (image) {
            line(n->rec, "place", xprintf("net->%s.groups = %d", name, o->groups));
            line(n->rec, "place", xprintf("net->%s.kept = %s", name, in_images(n, kept_slot(n, m->op))));
        } else {
            line(n->rec, "place",
                 xprintf("net->%s.running_mean = net->net.running + %s", name, param_macro(n, m->op, PARAM_MEAN)));
            line(n->rec, "place",
                 xprintf("net->%s.running_var = net->net.running + %s", name, param_macro(n, m->op, PARAM_VAR)));
            line(n->rec, "place",
                 xprintf("net->%s.batches = net->net.batches + %lld", name,
                         (long long)param_offset(n, m->op, PARAM_COUNT)));
        }
        line(n->rec, "place",
             xprintf("cvy_bn_place(&net->%s, norms + %lld, sums + %lld)", at, (long long)m->floats,
                     (long long)m->doubles));
    }
}

/* Statistics of the nodes that norms read. */
static void statistics(const Net *n)
{
    for (int i = 0; i < n->p->nnode; i++) {
        const Tensor *nd = &n->p->node[i];
        if (nd->nnorm == 0)
            continue;
        const char *name = stats_name(n, nd);
        const int channels = nd->shape[nd->nlink].c;
        rec_str(rec_add(n->rec, "stats"), "name", name);
        line(n->rec, "place",
             xprintf("net->%s = (struct cvy_stats){.channels = %d, .padded = %d, .pieces = %d}", name, channels,
                     blocks_of(channels) * LANES + LANES, n->p->pieces));
        line(n->rec, "place",
             xprintf("cvy_stats_place(&net->%s, norms + %lld, sums + %lld)", name, (long long)nd->stats_floats,
                     (long long)nd->stats_at));
    }
}

static char *fold_list(const Net *n, const int *op, int count)
{
    Buf b = {0};

    for (int i = 0; i < count; i++)
        buf_printf(&b, "%s{p + %s, p + %s, r + %s, r + %s, %.17g}", i ? ", " : "", param_macro(n, op[i], PARAM_GAMMA),
                   param_macro(n, op[i], PARAM_BETA), param_macro(n, op[i], PARAM_MEAN),
                   param_macro(n, op[i], PARAM_VAR), n->g->op[op[i]].eps);
    return b.text;
}

static void folds(const Net *n)
{
    for (int i = 0; i < n->p->ninfer; i++) {
        const Kernel *k = &n->p->infer[i];
        if (!k->w)
            continue;
        const Op *o = &n->g->op[k->op];
        const char *bias = k->w->bparam >= 0 ? xprintf("p + %s", param_macro(n, k->op, PARAM_BIAS)) : "NULL",
                   *list = "NULL", *K = upper(k->name);
        if (k->w->nfold) {
            list = xprintf("fold_%s", k->name);
            line(n->rec, "folds",
                 xprintf("const struct cvy_fold %s[] = {%s}", list, fold_list(n, k->w->fold, k->w->nfold)));
        }
        const char *tail = xprintf("f + %s_%s_FOLDED, f + %s_%s_FOLDED_BIAS", n->NAME, K, n->NAME, K);
        if (winograd_transformed(kernel_winograd(k, PASS_FORWARD)))
            line(n->rec, "folds",
                 xprintf("cvy_fold_winograd(p + %s, %s, %s, %d, %d, %d, %s)", param_macro(n, k->op, PARAM_WEIGHT), bias,
                         list, k->w->nfold, o->shape.c, blocks_of(n->g->op[o->in].shape.c), tail));
        else if (k->conv)
            line(n->rec, "folds",
                 xprintf("cvy_fold_conv(p + %s, %s, %s, %d, %d, %lld, %s)", param_macro(n, k->op, PARAM_WEIGHT), bias,
                         list, k->w->nfold, o->shape.c, (long long)(k->w->w_floats / (blocks_of(o->shape.c) * LANES)),
                         tail));
        else
            line(n->rec, "folds",
                 xprintf("cvy_fold_linear(p + %s, %s, %s, %d, %d, %d, %s)", param_macro(n, k->op, PARAM_WEIGHT), bias,
                         list, k->w->nfold, o->shape.c, n->g->op[o->in].shape.c, tail));
    }
    for (int i = 0; i < n->p->naffine; i++) {
        const Affine *a = &n->p->affine[i];
        const int padded = plan_norm(n->p, a->op)->padded;
        if (op_is_image_norm(n->g->op[a->op].kind)) {
            const bool beta = op_has_param(n->g->op[a->op].kind, PARAM_BETA);
            line(n->rec, "folds",
                 xprintf("cvy_fold_image(p + %s, %s, %d, f + %s, f + %s + %d)", param_macro(n, a->op, PARAM_GAMMA),
                         beta ? xprintf("p + %s", param_macro(n, a->op, PARAM_BETA)) : "NULL", n->g->op[a->op].shape.c,
                         affine_macro(n->p, a->op), affine_macro(n->p, a->op), padded));
            continue;
        }
        line(n->rec, "folds", xprintf("const struct cvy_fold affine%d = %s", i, fold_list(n, &a->op, 1)));
        line(n->rec, "folds",
             xprintf("cvy_fold_affine(&affine%d, %d, f + %s, %d)", i, n->g->op[a->op].shape.c,
                     affine_macro(n->p, a->op), padded));
    }
}

/* ---- tensors ---- */

static const char *four(const int64_t v[4], int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%lld", i ? ", " : "", (long long)v[i]);
    if (n == 0)
        buf_puts(&b, "0");
    return b.text;
}

void emit_param_layout(const Plan *p, int param, int64_t block[4], int64_t outer[4], int64_t inner[4])
{
    const Param *q = &p->g->param[param];

    for (int d = 0; d < 4; d++)
        block[d] = 1, outer[d] = inner[d] = 0;
    outer[0] = 1;
    if (q->role == PARAM_WEIGHT) {
        const Kernel *k = plan_kernel(p->kernel, p->nkernel, q->op);
        const int64_t across = q->ndim == 4 ? q->dim[3] : 1; /* taps of a row; of one dimension, a tap is a row */
        const int64_t taps = q->ndim > 2 ? q->dim[2] * across : 1;
        if (k->linear) {
            outer[0] = blocks_of(q->dim[1]) * LANES;
            outer[1] = 1;
        } else if (k->conv->plain || k->conv->lanewise) {
            block[0] = LANES, inner[0] = 1;
            outer[0] = q->dim[1] * taps * LANES, outer[1] = taps * LANES, outer[2] = across * LANES, outer[3] = LANES;
        } else {
            block[0] = block[1] = LANES, inner[0] = 1, inner[1] = LANES;
            outer[1] = taps * LANES * LANES, outer[0] = blocks_of(q->dim[1]) * outer[1];
            outer[2] = across * LANES * LANES, outer[3] = LANES * LANES;
        }
    }
}

void emit_tensor(Rec *to, const Param *q, const int64_t block[4], const int64_t outer[4], const int64_t inner[4],
                 const char *at)
{
    static const char *const role[] = {"CVY_WEIGHT",       "CVY_BIAS",        "CVY_GAMMA",  "CVY_BETA",
                                       "CVY_RUNNING_MEAN", "CVY_RUNNING_VAR", "CVY_BATCHES"};
    static const char *const draw[] = {
        [DRAW_CONST] = "CVY_CONST", [DRAW_NORMAL] = "CVY_NORMAL", [DRAW_UNIFORM] = "CVY_UNIFORM"};
    Rec *r = rec_add(to, "tensors");
    int64_t dim[4] = {0};

    for (int d = 0; d < q->ndim; d++)
        dim[d] = q->dim[d];
    rec_str(r, "name", q->name);
    rec_str(r, "role", role[q->role]);
    rec_int(r, "ndim", q->ndim);
    rec_str(r, "dim", four(dim, q->ndim));
    rec_str(r, "block", four(block, q->ndim));
    rec_str(r, "outer", four(outer, q->ndim));
    rec_str(r, "inner", four(inner, q->ndim));
    rec_str(r, "at", at);
    rec_str(r, "draw", draw[q->draw]);
    rec_str(r, "value", emit_float(q->draw_value));
}

static void tensors(const Net *n)
{
    for (int i = 0; i < n->g->nparam; i++) {
        const Param *q = &n->g->param[i];
        int64_t block[4], outer[4], inner[4];
        emit_param_layout(n->p, i, block, outer, inner);
        emit_tensor(n->rec, q, block, outer, inner,
                    q->role == PARAM_COUNT ? xprintf("%lld", (long long)n->p->param_at[i])
                                           : xprintf("%s_%s", n->NAME, upper(q->name)));
    }
}

/* ---- inference ---- */

/* A node's place in a thread's part, under its maker's name: which of the maker's stages is its last may change. */
static const char *infer_slot(const Net *n, int node)
{
    return xprintf("%s_%s_INFER", n->NAME, upper(n->p->infer[n->p->infer_node[node].maker].name));
}

/* An image norm's statistics of the image at hand. */
static const char *infer_stats(const Net *n, int op)
{
    return xprintf("%s_%s_INFER_STATS", n->NAME, upper(n->g->op[op].path));
}

static const char *infer_scratch(const Net *n, const Kernel *k)
{
    return xprintf("%s_%s_INFER_SCRATCH", n->NAME, upper(k->name));
}

/* "x + ..., s + SMALL_CONV1_ACT_INFER, s + SMALL_CONV2_ACT_INFER, s + SMALL_CONV2_INFER_SCRATCH" */
const char *emit_infer_call(const Plan *p, const Kernel *k, const char *folded)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)}, *n = &net;
    const Shape in = p->g->op[0].shape;
    Buf b = {0};

    buf_printf(&b, "%s_infer(%s", kernel_struct(p, k), folded);
    for (int i = 0; i < k->nport; i++)
        if (k->port[i].node == 0)
            buf_printf(&b, ", x + (ptrdiff_t)i * %lld", (long long)in.c * in.h * in.w);
        else if (k->port[i].node != k->node)
            buf_printf(&b, ", s + %s", infer_slot(n, k->port[i].node));
    for (int i = 0; i < k->nalias; i++)
        if (op_is_image_norm(p->g->op[k->alias[i].op].kind))
            buf_printf(&b, ", s + %s", infer_stats(n, k->alias[i].op));
    buf_printf(&b, ", s%s, %s)", k->node ? xprintf(" + %s", infer_slot(n, k->node)) : "",
               k->scratch ? xprintf("s + %s", infer_scratch(n, k)) : "s");
    return b.text;
}

void emit_infer_places(const Plan *p, Rec *rec, const char *list)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)}, *n = &net;

    for (int i = 1; i < p->ninfer_node; i++)
        add_offset(rec, list, infer_slot(n, i), p->infer_node[i].slot, NULL);
    for (int i = 0; i < p->nnorm; i++)
        if (op_is_image_norm(p->g->op[p->norm[i].op].kind))
            add_offset(rec, list, infer_stats(n, p->norm[i].op), p->norm[i].infer_slot, NULL);
    for (int i = 0; i < p->ninfer; i++)
        if (p->infer[i].scratch)
            add_offset(rec, list, infer_scratch(n, &p->infer[i]), p->infer[i].scratch_at, NULL);
}

const char *emit_infer_result(const Plan *p)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)};

    return xprintf("s + %s", infer_slot(&net, p->logits));
}

static void inference(const Net *n)
{
    emit_infer_places(n->p, n->rec, "infer_slots");
    for (int i = 0; i < n->p->ninfer; i++) {
        const char *call = emit_infer_call(n->p, &n->p->infer[i], "f");
        line(n->rec, "infer", call);
        bench_row(n, "bench_inference", &n->p->infer[i], PHASE_INFER, "infer", call);
    }
    rec_str(n->rec, "infer_result", emit_infer_result(n->p));
}

/* ---- totals ---- */

const char *emit_orders(const Graph *g)
{
    Buf b = {0};
    const char *layer = NULL;

    for (int i = 1; i + 1 < g->nop; i++) {
        const Op *o = &g->op[i];
        const bool same = layer && strcmp(layer, o->layer) == 0;
        buf_printf(&b, "%s%s", same ? "-" : layer ? " " : "", op_info[o->kind].name);
        layer = o->layer;
    }
    return b.text ? b.text : "";
}

const char *emit_hash(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return xprintf("%016llx", (unsigned long long)h);
}

const char *emit_spec_hash(const Spec *s)
{
    return emit_hash(spec_text(s));
}

char *emit_channel_list(const double *v, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", emit_float(v[i]));
    return b.text;
}

void emit_part(Rec *r, const char *name, const char *template)
{
    Rec *part = rec_new();

    rec_str(part, "template", template);
    rec_rec(r, name, part);
}

void emit_spec_fields(Rec *r, const Graph *g, const Target *t)
{
    const Spec *s = g->spec;
    const SpecTrain *train = &s->train;
    const Shape in = g->op[0].shape;

    rec_str(r, "name", s->name);
    rec_str(r, "NAME", upper(s->name));
    rec_str(r, "licence", EMITTED_LICENCE);
    emit_part(r, "part_api", "api");
    rec_str(r, "version", CONVOY_VERSION);
    rec_str(r, "hash", emit_spec_hash(s));
    rec_str(r, "order", emit_orders(g));
    rec_str(r, "target", t->name);
    rec_str(r, "flags", *t->flags ? xprintf(" (%s)", t->flags) : "");
    rec_str(r, "make_flags", t->flags);
    rec_str(r, "macro", t->macro);
    rec_str(r, "standard", t->kind == TARGET_PORTABLE ? "-std=c99" : "-std=c11");
    rec_str(r, "c_std", t->kind == TARGET_PORTABLE ? "c99" : "c11");
    rec_str(r, "cmake_std", t->kind == TARGET_PORTABLE ? "99" : "11");
    rec_fmt(r, "title", "a network for training and inference: %s -> %d classes", describe_shape(in), s->classes);
    rec_str(r, "shape", describe_shape(in));
    rec_int(r, "c", in.c);
    rec_int(r, "h", in.h);
    rec_int(r, "w", in.w);
    rec_int(r, "classes", s->classes);
    rec_str(r, "mean", emit_channel_list(train->mean, in.c));
    rec_str(r, "std", emit_channel_list(train->std, in.c));
    rec_str(r, "data", train->data);
    rec_int(r, "epochs", train->epochs);
    rec_int(r, "batch", train->batch);
    rec_fmt(r, "lr", "%.17g", train->lr);
    rec_fmt(r, "momentum", "%.17g", train->momentum);
    rec_fmt(r, "weight_decay", "%.17g", train->weight_decay);
    rec_int(r, "nesterov", train->nesterov);
    rec_int(r, "decay_all", train->decay_all);
    rec_str(r, "schedule", schedule_names[train->schedule]);
    rec_fmt(r, "warmup", "%.17g", train->warmup);
    rec_int(r, "seed", train->seed);
}

/* The size of the network's struct, as templates/net.c declares it, or a little more: on a processor whose pointers are
 * shorter it is smaller. */
static int64_t struct_bytes(const Net *n)
{
    const int64_t wide = 8 / (int64_t)sizeof(void *); /* this program's own pointers may be the shorter ones */
    int64_t bytes = wide * (int64_t)sizeof(struct cvy_net) + 8 * 2; /* folded, scratch */

    if (!(n->parts & PART_TRAIN))
        return floats64(bytes / 4) * 4;
    bytes += 8 + 2 * 8 * (int64_t)n->p->pieces; /* forwarded, piece_loss, piece_score */
    for (int i = 0; i < n->p->nnorm; i++)
        bytes += wide * (int64_t)(op_is_image_norm(n->g->op[n->p->norm[i].op].kind) ? sizeof(struct cvy_gn)
                                                                                    : sizeof(struct cvy_bn));
    for (int i = 0; i < n->p->nnode; i++)
        bytes += n->p->node[i].nnorm ? wide * (int64_t)sizeof(struct cvy_stats) : 0;
    return floats64((bytes + 8 * *n->fields) / 4) * 4;
}

/* After kernels(), which counts the fields. */
static void totals(const Net *n)
{
    const Plan *p = n->p;
    Rec *r = n->rec;
    const bool train = n->parts & PART_TRAIN;
    int nbatches = 0;

    for (int i = 0; i < n->g->nparam; i++)
        nbatches += n->g->param[i].role == PARAM_COUNT;
    const int64_t place = struct_bytes(n);
    const int64_t param = floats64(p->param_floats), running = floats64(p->running_floats),
                  batches = floats64(2 * nbatches), folded = floats64(p->fold_floats);
    const int64_t norm = floats64(p->norm_floats), sums = floats64(2 * p->norm_doubles),
                  copy = floats64(p->copy_floats), dw = floats64(p->partial_floats * p->pieces),
                  db = floats64(2 * p->partial_bias * p->pieces);
    const int64_t scratch = floats64(p->scratch > p->scratch_infer ? p->scratch : p->scratch_infer);

    emit_spec_fields(r, n->g, p->target);
    emit_identity(r, n->g);
    rec_str(r, "first_tensor", n->g->nparam ? n->g->param[0].name : "");
    rec_str(r, "optimise", n->g->spec->unroll == UNROLL_NONE ? "s" : "2");
    rec_fmt(r, "totals", "%lld parameters, %lld FLOPs per image forward, %lld bytes per image stored for backward",
            (long long)n->g->weights, (long long)n->g->flops, (long long)p->stored_bytes);
    if (train)
        rec_int(r, "train", 1);
    rec_int(r, "fixed_bytes", place + 4 * (param + running + batches + folded));
    rec_int(r, "train_bytes", train ? 4 * (param + norm + sums + copy + dw + db) : 0);
    rec_int(r, "image_bytes", train ? 4 * floats64(p->image_floats) : 0);
    rec_int(r, "thread_bytes", 4 * scratch);
    rec_int(r, "scratch", scratch);
    rec_int(r, "fold_floats", p->fold_floats);
    rec_int(r, "pieces", p->pieces);
    const struct {
        const char *name;
        int64_t at;
    } size[] = {{"STRUCT_BYTES", place},
                {"FIXED_BYTES", place + 4 * (param + running + batches + folded)},
                {"TRAIN_BYTES", train ? 4 * (param + norm + sums + copy + dw + db) : 0},
                {"IMAGE_BYTES", train ? 4 * floats64(p->image_floats) : 0},
                {"THREAD_BYTES", 4 * scratch},
                {"PARAM_FLOATS", param},
                {"RUNNING_FLOATS", running},
                {"BATCHES_FLOATS", batches},
                {"FOLDED_PADDED", folded},
                {"NORM_FLOATS", norm},
                {"SUMS_FLOATS", sums},
                {"COPY_FLOATS", copy},
                {"DW_FLOATS", dw},
                {"DB_FLOATS", db},
                {"IMAGE_FLOATS", floats64(p->image_floats)},
                {"TRACE_FLOATS", p->trace_floats},
                {"BATCHES", nbatches},
                {"STORED_BYTES", p->stored_bytes},
                {"MIN_BATCH", p->min_batch ? p->min_batch : 1}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        add_offset(r, "sizes", size[i].name, size[i].at, NULL);
    Rec *flops = rec_add(r, "sizes");
    rec_str(flops, "name", "FLOPS");
    rec_fmt(flops, "at", "INT64_C(%lld)", (long long)n->g->flops);
}

/* ---- the folder ---- */

static void add_file(OutDir *out, const char *name, const Buf *b)
{
    outdir_add(out, name, b->text, b->len);
}

static void expand_file(const Net *n, OutDir *out, const char *name, const char *template)
{
    Buf b = {0};

    template_expand(template, "n", n->rec, &b);
    add_file(out, name, &b);
}

void emit_source(Rec *r, const char *list, const char *name)
{
    rec_str(rec_add(r, list), "source", name);
    rec_fmt(rec_add(r, "sources"), "object", "%.*s.o", (int)(strlen(name) - 2), name);
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

/* The runtime's list of its names, begun with the network's. */
static void names_file(const char *net, const struct Embedded *list, OutDir *out)
{
    const char *NET = upper(net);
    Buf b = {0};

    buf_printf(&b, "/* The runtime's names in %s. */\n", net);
    buf_printf(&b, "#if defined CVY_NAMES_H && !defined CVY_NAMES_OF_%s\n", NET);
    buf_printf(&b, "#error \"two networks' folders in one translation unit: compile each network's files by "
                   "themselves\"\n#endif\n");
    buf_printf(&b, "#define CVY_NAMES_OF_%s\n#define CVY_NETWORK %s\n\n", NET, net);
    buf_add(&b, list->text, list->len);
    add_file(out, list->name, &b);
}

void emit_runtime(Rec *r, const char *net, OutDir *out)
{
    emit_source(r, "network", "runtime/cvy_kernels.c");
    emit_source(r, "program", "main.c");
    emit_source(r, "measured", xprintf("%s_bench.c", net));
    for (size_t i = 0; i < nembedded; i++) {
        const char *name = embedded[i].name;
        if (strncmp(name, "runtime/", 8) != 0)
            continue;
        if (strcmp(name, "runtime/cvy_names.h") == 0)
            names_file(net, &embedded[i], out);
        else
            outdir_add(out, name, embedded[i].text, embedded[i].len);
        if (ends_with(name, ".c") && strcmp(name, "runtime/cvy_kernels.c") != 0)
            emit_source(r, "program", name);
    }
}

/* Whether training has a kernel of that name, whose file holds inference's too. */
static bool trained(const Plan *p, const Kernel *infer)
{
    const Kernel *k = plan_kernel(p->kernel, p->nkernel, infer->op);

    return k && strcmp(k->name, infer->name) == 0;
}

/* What emits a file needs memory for its records many times the file's size: it is given back, and the text alone
 * stays. */
static void keep_file(OutDir *out, const char *name, const Buf *b, PoolMark mark)
{
    char *text = xmalloc(b->len), *path = xmalloc(strlen(name) + 1);
    const size_t len = b->len;

    memcpy(text, b->text, len);
    strcpy(path, name);
    pool_release(mark);
    outdir_add(out, xstrdup(path), xstrndup(text, len), len);
    free(text);
    free(path);
}

static void layer_file(const Net *n, OutDir *out, const Kernel *k, const Kernel *infer, Names *cores)
{
    const Kernel *any = k ? k : infer;
    const char *name = xprintf("%s_%s.c", n->name, any->name),
               *core = any->w ? xprintf("core_%s.h", any->w->core_name) : NULL;
    Buf b = {0}, header = {0};

    emit_source(n->rec, "network", name);
    PoolMark mark = pool_mark();
    emit_layer_file(n->p, k, infer, &b);
    keep_file(out, name, &b, mark);
    if (!core || (any->linear && !infer) || (*names_at(cores, core))++)
        return;
    mark = pool_mark();
    emit_core_file(n->p, any, infer, k != NULL, &header);
    keep_file(out, core, &header, mark);
}

void emit_network(const Plan *p, Parts parts, OutDir *out)
{
    int64_t fields = 0;
    Net net = {.p = p,
               .g = p->g,
               .parts = parts,
               .name = p->g->spec->name,
               .NAME = upper(p->g->spec->name),
               .rec = rec_new(),
               .fields = &fields},
        *n = &net;
    Names cores = {0};

    template_load();
    params(n);
    if (parts & PART_TRAIN) {
        slots(n);
        norms(n);
        statistics(n);
    }
    kernels(n);
    totals(n);
    if (parts & PART_TRAIN) {
        static const char *const arg[] = {"images", "copy", "dw", "db", "norms", "sums"};
        for (int i = 0; i < 6; i++)
            rec_str(rec_add(n->rec, "place_unused"), "name", arg[i]);
    }
    folds(n);
    tensors(n);
    inference(n);

    emit_source(n->rec, "network", xprintf("%s_net.c", n->name));
    for (int i = 0; i < p->nkernel && (parts & PART_TRAIN); i++)
        layer_file(n, out, &p->kernel[i], parts & PART_INFER ? emit_infer_kernel(p, &p->kernel[i]) : NULL, &cores);
    for (int i = 0; i < p->ninfer && (parts & PART_INFER); i++)
        if (!(parts & PART_TRAIN) || !trained(p, &p->infer[i]))
            layer_file(n, out, NULL, &p->infer[i], &cores);
    if (parts & PART_TRAIN) {
        Buf b = {0};
        const PoolMark mark = pool_mark();
        emit_trace_file(p, &b);
        buf_puts(&b, "\n");
        template_expand("tracer", "n", n->rec, &b);
        keep_file(out, xprintf("%s_trace.c", n->name), &b, mark);
        emit_source(n->rec, "network", xprintf("%s_trace.c", n->name));
    }
    emit_source(n->rec, "network", xprintf("%s_weights.c", n->name));
    emit_runtime(n->rec, n->name, out);
    expand_file(n, out, xprintf("%s.h", n->name), "header");
    expand_file(n, out, xprintf("%s_weights.c", n->name), "weights_file");
    expand_file(n, out, xprintf("%s_layout.h", n->name), "layout");
    expand_file(n, out, xprintf("%s_net.c", n->name), "net");
    expand_file(n, out, xprintf("%s_bench.c", n->name), "bench");
    expand_file(n, out, "main.c", "main");
    expand_file(n, out, "Makefile", "makefile");
    expand_file(n, out, "meson.build", "meson");
    expand_file(n, out, "CMakeLists.txt", "cmake");
}

void emit_identity(Rec *r, const Graph *g)
{
    const char *const *lines = identity_lines(g);

    for (int i = 0; lines[i]; i++)
        rec_str(rec_add(r, "identity"), "line", lines[i]);
}
