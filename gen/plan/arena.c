/* arena.c - what stands in the emitted structs of kernels, and what the caller's memory is divided into.
 *
 * needs: every size. sets: Kernel.field of training's kernels, Plan.arena. */
#include "passes.h"

static int64_t whole_lines(int64_t floats) /* whole lines of 64 bytes */
{
    return (floats + 15) / 16 * 16;
}

static void add(Kernel *k, FieldKind kind, int which)
{
    *PUSH(k->field, k->nfield) = (Field){kind, which};
}

/* The port's tensor: what is read or made of it, and its gradient. */
static void port_fields(const Plan *p, Kernel *k, int i)
{
    const Port *port = &k->port[i];
    const Tensor *nd = &p->tensor[port->tensor];

    if (port->tensor == k->tensor && nd->op > 0 && nd->stored)
        add(k, FIELD_OUT, i);
    else if (port->value)
        add(k, FIELD_IN, i);
    if (port->grad && nd->grad)
        add(k, FIELD_GRADIENT, i);
}

/* Of what norms' sums are taken here: where they add what they take away. */
static void sums_fields(const Plan *p, Kernel *k)
{
    NormSum *sum;
    const int nsum = plan_sums(p, k, &sum);

    for (int i = 0; i < k->nport; i++) {
        bool adds = false;
        for (int j = 0; j < nsum; j++)
            adds |= sum[j].tensor == k->port[i].tensor && op_is_batch_norm(p->g->op[sum[j].op].kind) &&
                    p->tensor[sum[j].tensor].grad;
        if (adds)
            add(k, FIELD_PORT_STATS, i);
    }
}

static void alias_fields(const Plan *p, Kernel *k)
{
    for (int i = 0; i < k->nalias; i++) {
        const OpKind kind = p->g->op[k->alias[i].op].kind;
        if (op_is_norm(kind) || kind == OP_DROP)
            add(k, op_is_batch_norm(kind) ? FIELD_BN : kind == OP_DROP ? FIELD_DROP : FIELD_IMAGE_NORM, i);
    }
}

static void weight_fields(const Plan *p, Kernel *k)
{
    add(k, FIELD_WEIGHT, k->w->wparam);
    if (k->recurrent)
        add(k, FIELD_WEIGHT, graph_param(p->g, k->op, PARAM_HIDDEN_WEIGHT));
    if (k->recurrent || (k->conv && k->conv->wt_floats + k->conv->wu_floats))
        add(k, FIELD_COPY, 0);
    if (k->learns)
        add(k, FIELD_DW, 0);
    if (k->w->bparam >= 0)
        add(k, FIELD_BIAS, k->w->bparam);
    if (k->w->bparam >= 0 && k->recurrent)
        add(k, FIELD_BIAS, graph_param(p->g, k->op, PARAM_HIDDEN_BIAS));
    for (int i = 0; k->recurrent && i < k->recurrent->nnorm; i++) {
        add(k, FIELD_CELL_NORM, k->recurrent->norm[i].gamma);
        if (k->recurrent->norm[i].beta >= 0)
            add(k, FIELD_CELL_NORM, k->recurrent->norm[i].beta);
        if (!place_is_bn(k->recurrent->norm[i].norm))
            continue;
        for (ParamRole role = PARAM_MEAN; role <= PARAM_COUNT; role++)
            add(k, FIELD_CELL_NORM, graph_place_param(p->g, k->op, k->recurrent->norm[i].place, role));
        add(k, FIELD_CELL_STATS, i);
        add(k, FIELD_CELL_SUMS, i);
    }
    if (k->w->bparam >= 0 && k->learns && !kernel_is_apart(k))
        add(k, FIELD_DB, 0);
    if (!k->rows)
        return;
    const bool has[MATRICES] = {[MAT_X] = true,
                                [MAT_Y] = true,
                                [MAT_BACK_X] = k->learns,
                                [MAT_DZ] = k->w->dz >= 0,
                                [MAT_DX] = k->rows->dx >= 0,
                                [MAT_STEPS] = k->recurrent != NULL,
                                [MAT_WORK] = k->recurrent && k->w->dz >= 0};
    for (int i = 0; i < MATRICES; i++)
        if (has[i])
            add(k, FIELD_MATRIX, i);
}

static void kernel_fields(const Plan *p, Kernel *k)
{
    const Tensor *made = k->tensor >= 0 ? &p->tensor[k->tensor] : NULL;

    add(k, FIELD_NET, 0);
    add(k, FIELD_SCRATCH, 0);
    for (int i = 0; i < k->nport; i++)
        port_fields(p, k, i);
    for (int i = 0; made && i < made->nroute; i++)
        add(k, FIELD_ROUTE, i);
    if (made && made->nnorm)
        add(k, FIELD_STATS, 0);
    sums_fields(p, k);
    alias_fields(p, k);
    if (k->w)
        weight_fields(p, k);
    if (k->loss) {
        add(k, FIELD_TARGET, 0);
        add(k, FIELD_LOSS, 0);
        add(k, FIELD_SCORE, 0);
    }
}

/* The size of the network's struct, as templates/net.c declares it, or a little more: on a processor whose pointers are
 * shorter it is smaller. A field is a pointer or has 64 bits. */
static int64_t struct_bytes(const Plan *p, bool train)
{
    const int64_t wide = 8 / (int64_t)sizeof(void *); /* this program's own pointers may be the shorter ones */
    int64_t fields = 2;                               /* folded, scratch */
    int64_t bytes = wide * (int64_t)sizeof(struct cvy_net);

    if (train) {
        fields += 1 + 2 * (int64_t)p->pieces; /* forwarded; of each piece its loss and score */
        for (int i = 0; i < p->nkernel; i++)
            fields += p->kernel[i].nfield;
        for (int i = 0; i < p->nnorm; i++)
            bytes += wide * (int64_t)(op_is_image_norm(p->g->op[p->norm[i].op].kind) ? sizeof(struct cvy_gn)
                                                                                     : sizeof(struct cvy_bn));
        for (int i = 0; i < p->ntensor; i++)
            bytes += p->tensor[i].nnorm ? wide * (int64_t)sizeof(struct cvy_stats) : 0;
    }
    return whole_lines((bytes + 8 * fields) / 4) * 4;
}

void arena_build(Plan *p)
{
    Arena *a = &p->arena;

    for (int i = 0; i < p->nkernel; i++)
        kernel_fields(p, &p->kernel[i]);
    for (int i = 0; i < p->g->nparam; i++)
        a->nbatches += p->g->param[i].role == PARAM_COUNT;
    a->struct_bytes[false] = struct_bytes(p, false);
    a->struct_bytes[true] = struct_bytes(p, true);
    a->param = whole_lines(p->param_floats);
    a->running = whole_lines(p->running_floats);
    a->batches = whole_lines(2 * a->nbatches);
    a->folded = whole_lines(p->fold_floats);
    a->learning = whole_lines(p->learning_floats);
    a->state = cvy_buffers(p->g->spec->train.optimiser) * a->learning;
    a->norm = whole_lines(p->norm_floats);
    a->sums = whole_lines(2 * p->norm_doubles);
    a->copy = whole_lines(p->copy_floats);
    a->dw = whole_lines(p->partial_floats * p->pieces);
    a->db = whole_lines(2 * p->partial_bias * p->pieces);
    a->image = whole_lines(p->image_floats);
    a->thread = whole_lines(p->scratch > p->scratch_infer ? p->scratch : p->scratch_infer);
}

int64_t arena_fixed_bytes(const Arena *a, bool train)
{
    return a->struct_bytes[train] + 4 * (a->param + a->running + a->batches + a->folded);
}

int64_t arena_train_bytes(const Arena *a)
{
    return 4 * (a->state + a->norm + a->sums + a->copy + a->dw + a->db);
}
