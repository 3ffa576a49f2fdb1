/* layout.c - NAME_layout.h and the table of tensors: where everything lies, and how much there is of it.
 *
 * needs: a complete plan. sets: records for the network's files. */
#include "net.h"
#include "runtime.h"

#include <string.h>

void net_offset(Rec *to, const char *list, const char *name, int64_t at, const char *doc)
{
    Rec *r = rec_add(to, list);

    rec_str(r, "name", name);
    rec_int(r, "at", at);
    if (doc)
        rec_str(r, "doc", doc);
}

/* ---- names of slots ---- */

/* "SMALL_CONV1_CONV_STORED", "SMALL_CONV1_CONV_ROUTE0" */
const char *slot_name(const Net *n, const Tensor *nd, int index, const char *what)
{
    return xprintf("%s_%s_%s%s", n->NAME, upper(n->g->op[nd->op].path), what, index < 0 ? "" : xprintf("%d", index));
}

/* Where an image norm's statistics of each image lie. */
const char *kept_slot(const Net *n, int op)
{
    return xprintf("%s_%s_KEPT", n->NAME, upper(n->g->op[op].path));
}

const char *stored_slot(const Net *n, const Tensor *nd)
{
    return slot_name(n, nd, -1, "STORED");
}

const char *matrix_slot(const Net *n, const Kernel *k, Matrix which)
{
    static const char *const name[] = {"X", "Y", "BACK_X", "DZ", "DX", "STEPS", "WORK"};

    return xprintf("%s_%s_%s", n->NAME, upper(k->name), name[which]);
}

/* ---- offsets ---- */

void layout_params(const Net *n)
{
    for (int i = 0; i < n->g->nparam; i++) {
        const Param *q = &n->g->param[i];
        if (q->role != PARAM_COUNT)
            net_offset(n->rec, "params", xprintf("%s_%s", n->NAME, upper(q->name)), n->p->param_at[i], NULL);
    }
    for (int i = 0; i < n->p->ninfer; i++) {
        const Kernel *k = &n->p->infer[i];
        if (!k->w)
            continue;
        net_offset(n->rec, "folded", xprintf("%s_%s_FOLDED", n->NAME, upper(k->name)), k->w->fold_w, NULL);
        if (!kernel_is_apart(k))
            net_offset(n->rec, "folded", xprintf("%s_%s_FOLDED_BIAS", n->NAME, upper(k->name)), k->w->fold_b, NULL);
    }
    for (int i = 0; i < n->p->naffine; i++)
        net_offset(n->rec, "folded", affine_macro(n->p, n->p->affine[i].op), n->p->affine[i].at, NULL);
}

void layout_slots(const Net *n)
{
    for (int i = 0; i < n->p->ntensor; i++) {
        const Tensor *nd = &n->p->tensor[i];
        if (nd->op == 0)
            continue;
        if (nd->stored)
            net_offset(n->rec, "slots", stored_slot(n, nd), nd->slot,
                       xprintf("%s, %s%s", n->g->op[nd->stored_op].path, describe_shape(nd->shape[0]),
                               nd->kept ? ", kept for backward" : ""));
        for (int r = 0; r < nd->nroute; r++)
            net_offset(n->rec, "slots", slot_name(n, nd, r, "ROUTE"), nd->route_slot[r],
                       "which element of each window won, a byte");
        if (nd->grad)
            net_offset(n->rec, "slots", slot_name(n, nd, -1, "GRADIENT"), nd->grad_slot,
                       xprintf("gradient of %s, %s", n->g->op[nd->op].path, describe_shape(nd->shape[nd->nlink])));
    }
    for (int i = 0; i < n->p->nnorm; i++)
        if (op_is_image_norm(n->g->op[n->p->norm[i].op].kind))
            net_offset(n->rec, "slots", kept_slot(n, n->p->norm[i].op), n->p->norm[i].slot,
                       xprintf("%s: an image's means and so on, of %d groups", n->g->op[n->p->norm[i].op].path,
                               n->g->op[n->p->norm[i].op].groups));
    for (int i = 0; i < n->p->nkernel; i++) {
        const Kernel *k = &n->p->kernel[i];
        for (int j = 0; j < k->nfield; j++)
            if (k->field[j].kind == FIELD_MATRIX) {
                const Matrix which = (Matrix)k->field[j].which;
                net_offset(n->rec, "slots", matrix_slot(n, k, which), k->rows->mat[which],
                           which == MAT_STEPS  ? "what the steps leave"
                           : which == MAT_WORK ? "room for the steps of backward"
                                               : "a row of a matrix for the product");
            }
    }
}

/* ---- sizes ---- */

struct Size {
    const char *name;
    int64_t at;
};

void layout_totals(const Net *n)
{
    const Plan *p = n->p;
    Rec *r = n->rec;
    const bool train = n->parts & PART_TRAIN;
    const Arena *a = &p->arena;
    const int64_t fixed = arena_fixed_bytes(a, train), trained = arena_train_bytes(a);

    emit_spec_fields(r, n->g, p->target);
    rec_str(r, "of_input", n->g->spec->name);
    emit_identity(r, n->g);
    rec_str(r, "first_tensor", n->g->nparam ? n->g->param[0].name : "");
    rec_str(r, "optimise", n->g->spec->unroll == UNROLL_NONE ? "s" : "2");
    rec_fmt(r, "totals", "%lld parameters, %lld FLOPs per image forward, %lld bytes per image stored for backward",
            (long long)n->g->weights, (long long)n->g->flops, (long long)p->stored_bytes);
    if (train)
        rec_int(r, "train", 1);
    emit_arena(r, fixed, train ? trained : 0, train ? 4 * a->image : 0, 4 * a->thread);
    rec_int(r, "scratch", a->thread);
    rec_int(r, "fold_floats", p->fold_floats);
    rec_int(r, "pieces", p->pieces);
    const struct Size bytes[] = {{"STRUCT_BYTES", a->struct_bytes[train]},
                                 {"FIXED_BYTES", fixed},
                                 {"TRAIN_BYTES", trained},
                                 {"IMAGE_BYTES", 4 * a->image},
                                 {"THREAD_BYTES", 4 * a->thread}};
    const struct Size floats[] = {
        {"PARAM_FLOATS", a->param},   {"RUNNING_FLOATS", a->running}, {"BATCHES_FLOATS", a->batches},
        {"FOLDED_FLOATS", a->folded}, {"STATE_FLOATS", a->state},     {"NORM_FLOATS", a->norm},
        {"SUMS_FLOATS", a->sums},     {"COPY_FLOATS", a->copy},       {"DW_FLOATS", a->dw},
        {"DB_FLOATS", a->db},         {"IMAGE_FLOATS", a->image},     {"TRACE_FLOATS", p->trace_floats}};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        if (train || (i != 2 && i != 3))
            net_offset(r, "bytes", bytes[i].name, bytes[i].at, NULL);
    for (size_t i = 0; i < (train ? sizeof floats / sizeof *floats : 4); i++)
        net_offset(r, "sizes", floats[i].name, floats[i].at, NULL);
    const bool frozen = train && p->learning_floats < p->param_floats;
    rec_str(r, "learning", frozen ? "LEARNING" : "PARAM");
    if (frozen)
        net_offset(r, "sizes", "LEARNING_FLOATS", a->learning, "of PARAM_FLOATS; the others are frozen");
    rec_int(r, "nbatches", a->nbatches);
    rec_int(r, "stored_bytes", p->stored_bytes);
    rec_int(r, "min_batch", p->min_batch ? p->min_batch : 1);
    rec_int(r, "flops", n->g->flops);
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
    if (q->role == PARAM_HIDDEN_WEIGHT || (q->role == PARAM_WEIGHT && op_is_recurrent(p->g->op[q->op].kind))) {
        outer[0] = q->dim[1]; /* as PyTorch has it */
        outer[1] = 1;
    } else if (q->place && q->ndim == 2) { /* running statistics, a row for each step */
        outer[0] = q->dim[1];
        outer[1] = 1;
    } else if (q->role == PARAM_WEIGHT) {
        const Kernel *k = plan_kernel(p->kernel, p->nkernel, q->op);
        const int64_t across = q->ndim == 4 ? q->dim[3] : 1; /* taps of a row; of one dimension, a tap is a row */
        const int64_t taps = q->ndim > 2 ? q->dim[2] * across : 1;
        if (k->rows) {
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

void emit_tensor(Rec *to, const Param *q, bool frozen, const int64_t block[4], const int64_t outer[4],
                 const int64_t inner[4], const char *at)
{
    static const char *const role[] = {"CVY_WEIGHT", "CVY_BIAS",         "CVY_WEIGHT",      "CVY_BIAS",   "CVY_GAMMA",
                                       "CVY_BETA",   "CVY_RUNNING_MEAN", "CVY_RUNNING_VAR", "CVY_BATCHES"};
    static const char *const draw[] = {
        [DRAW_CONST] = "CVY_CONST", [DRAW_NORMAL] = "CVY_NORMAL", [DRAW_UNIFORM] = "CVY_UNIFORM"};
    Rec *r = rec_add(to, "tensors");
    int64_t dim[4] = {0};

    for (int d = 0; d < q->ndim; d++)
        dim[d] = q->dim[d];
    rec_str(r, "name", q->name);
    rec_fmt(r, "role", "%s%s", role[q->role], frozen && q->role <= PARAM_BETA ? " | CVY_FROZEN" : "");
    rec_int(r, "ndim", q->ndim);
    rec_str(r, "dim", four(dim, q->ndim));
    rec_str(r, "block", four(block, q->ndim));
    rec_str(r, "outer", four(outer, q->ndim));
    rec_str(r, "inner", four(inner, q->ndim));
    rec_str(r, "at", at);
    rec_str(r, "draw", draw[q->draw]);
    rec_str(r, "value", emit_float(q->draw_value));
}

void emit_fixed(Rec *to, const Graph *g)
{
    bool any = false;

    for (int i = 0; i < g->nparam; i++) {
        const Param *q = &g->param[i];
        if (q->fixed_to == 0)
            continue;
        any = true;
        rec_fmt(rec_add(to, "fixed"), "values", "%d, %d, %d, %s", i, q->fixed_from, q->fixed_to, emit_float(q->fixed));
    }
    if (any)
        rec_int(to, "has_fixed", 1);
}

void layout_tensors(const Net *n)
{
    for (int i = 0; i < n->g->nparam; i++) {
        const Param *q = &n->g->param[i];
        int64_t block[4], outer[4], inner[4];
        emit_param_layout(n->p, i, block, outer, inner);
        emit_tensor(n->rec, q, (n->parts & PART_TRAIN) && n->g->op[q->op].frozen, block, outer, inner,
                    q->role == PARAM_COUNT ? xprintf("%lld", (long long)n->p->param_at[i])
                                           : xprintf("%s_%s", n->NAME, upper(q->name)));
    }
    emit_fixed(n->rec, n->g);
}
