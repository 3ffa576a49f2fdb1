/* recurrent.c - kernels of recurrent ops: their cells in panels, register tiles, and how much room their steps take.
 *
 * needs: packed images. sets: Kernel.recurrent, the sizes of its weights.
 *
 * The products of all steps with the input are one; a step has one with the h before it, and then what the cell makes
 * of the sums, row by row. Forward keeps of each step its slots, c and h. Backward makes of the slots the gradients of
 * their sums, so that the gradients of weights, and that of the input, are products over all steps again. */
#include "passes.h"

#include <string.h>

enum { MOST_ROWS = 8 }; /* of a register tile */

/* A unit's numbers in a step, and which of PyTorch's gates its weights are (gru's n reads U h + b' by itself). */
typedef struct CellSlots {
    int slots, nx, nh, first, state, x_gate[CVY_GATES], h_gate[CVY_GATES];
} CellSlots;
static const CellSlots cells[OP_KINDS] = {
    [OP_RNN] = {1, 1, 1, 0, 0, {0}, {0}},
    [OP_GRU] = {4, 3, 3, 1, 0, {2, 0, 1}, {0, 1, 2}},
    [OP_LSTM] = {4, 4, 4, 0, 1, {0, 1, 2, 3}, {0, 1, 2, 3}},
};
static const CellSlots gru_before = {3, 3, 3, 0, 0, {2, 0, 1}, {2, 0, 1}}; /* n reads U (r h), in its own sum */

int recurrent_rows(const Target *t, int vectors)
{
    const int registers = t->lanes == LANES ? t->registers : t->registers * t->parts;
    int rows = 1;

    /* sums, the smaller side's operands, one of the larger side */
    while (rows < MOST_ROWS && (rows + 1) * vectors + (rows + 1 < vectors ? rows + 1 : vectors) + 1 <= registers)
        rows++;
    return rows;
}

/* Two panels side by side, where that divides them. */
static int panels_together(int blocks, int lanes)
{
    return blocks * LANES / lanes % 2 == 0 ? 2 : 1;
}

static int64_t whole_blocks(int64_t floats)
{
    return (floats + LANES - 1) / LANES * LANES;
}

/* "_input_ln_1e_05_each": what of norms is in a core, as a part of a C name. */
static const char *norms_name(const Op *o, int length)
{
    Buf b = {0};

    buf_puts(&b, "");
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *n = op_place(o->kind, o->arg, p);
        if (n)
            buf_printf(&b, "_%s_%s_%s%s%s%s", place_info[p].name, op_info[n->op].name, real_text(n->eps),
                       n->step ? xprintf("_step%d", place_table_rows(n, length)) : "", n->each ? "_each" : "",
                       n->carried ? "_carried" : "");
    }
    for (char *c = b.text; *c; c++)
        *c = strchr("-+.", *c) ? '_' : *c;
    return b.text;
}

const char *recurrent_name(const Op *o, const Op *from)
{
    const OpInfo *info = &op_info[o->kind];
    const bool relu = op_cell_is_relu(o->kind, o->arg);
    const Shape in = from->shape;

    return xprintf("%s%s%s%s_%dx%d_%d_%s%s%s", info->name, relu ? "_relu" : "",
                   op_resets_before(o->kind, o->arg) ? "_before" : "", o->reverse ? "_reverse" : "", in.c, in.w,
                   o->shape.c, info->arg[ARG_RETURN].words[o->arg[ARG_RETURN].count], norms_name(o, in.w),
                   from->lengths ? "_lengths" : "");
}

static void place_norm(const Plan *p, const Kernel *k, CellPlace place)
{
    const Op *o = &p->g->op[k->op];
    const PlaceNorm *n = op_place(o->kind, o->arg, place);
    RecurrentPart *r = k->recurrent;
    const int64_t units = (int64_t)blocks_of(r->cell.hidden) * LANES;
    CellNorm *m = &r->norm[r->nnorm++];
    const bool of_gates = place_info[place].of_gates, batch = place_is_bn(n);

    m->place = place;
    m->norm = n;
    m->vectors = !of_gates ? 1 : place == PLACE_RECURRENT ? r->cell.nh : r->cell.nx;
    m->first = place == PLACE_RECURRENT ? r->cell.first : 0;
    m->groups = batch ? 0 : n->each ? m->vectors : 1;
    m->rows = place_table_rows(n, p->g->spec->whole ? p->g->spec->whole : r->steps);
    m->hat_at = r->kept;
    r->kept += units * m->vectors * r->steps;
    if (m->rows) {
        m->packed_at = r->table_row;
        r->table_row += 2 * units * m->vectors;
        r->table_rows = m->rows > r->table_rows ? m->rows : r->table_rows;
    } else {
        m->packed_at = r->packed;
        r->packed += 2 * units * m->vectors;
    }
    m->turned_at = r->turned;
    r->turned += 2 * units * m->vectors;
    m->sums_at = r->work;
    m->sums = batch ? 0 : units * (of_gates ? m->vectors : 2);
    r->work += m->sums;
    m->gamma = graph_place_param(p->g, k->op, place, PARAM_GAMMA);
    m->beta = graph_place_param(p->g, k->op, place, PARAM_BETA);
}

/* The table of norms by step stands behind the others' weights; of training it is one row, gamma and beta. */
static void place_table(RecurrentPart *r, bool infer)
{
    for (int i = 0; i < r->nnorm; i++)
        r->norm[i].packed_at += r->norm[i].rows ? r->packed : 0;
    r->packed += r->table_row * (infer ? r->table_rows : 1);
}

/* The norms in places; room for what they keep, and for their sums, behind what is there. bn of a sequence comes last:
 * inference, in whose weights it is folded, is without it, and finds all others where training does. */
static void place_norms(const Plan *p, const Kernel *k)
{
    const Op *o = &p->g->op[k->op];
    RecurrentPart *r = k->recurrent;
    const bool infer = k >= p->infer && k < p->infer + p->ninfer;
    int64_t scales = 0;

    for (int batch = 0; batch < 2 - infer; batch++) {
        for (CellPlace place = PLACE_INPUT; place < PLACES; place++) {
            const PlaceNorm *n = op_place(o->kind, o->arg, place);
            if (n && (n == op_input_bn(o->kind, o->arg)) == batch)
                place_norm(p, k, place);
        }
        if (batch)
            break;
        for (int i = 0; i < r->nnorm; i++) {
            r->norm[i].scale_at = r->kept + scales;
            scales += (int64_t)r->norm[i].groups * r->steps;
        }
        r->kept += whole_blocks(scales);
        place_table(r, infer);
    }
}

const CellNorm *recurrent_batch(const Kernel *k)
{
    const CellNorm *m = recurrent_norm(k, PLACE_INPUT);

    return m && place_is_bn(m->norm) && !m->norm->step ? m : NULL;
}

bool recurrent_meets(const Kernel *k)
{
    bool any = false;

    for (int i = 0; i < k->recurrent->nnorm; i++)
        any |= k->recurrent->norm[i].rows && k->recurrent->norm[i].place != PLACE_INPUT;
    return any;
}

/* Adds a part to a step: to the pass before, if both may be shared alike. */
static void add_part(StepPass *pass, int *n, bool *free, StepPartKind kind, const CellNorm *norm, bool images, bool any)
{
    if (*n == 0 || (!any && !*free && pass[*n - 1].by_images != images)) {
        pass[(*n)++] = (StepPass){.by_images = false};
        *free = true;
    }
    StepPass *p = &pass[*n - 1];
    if (!any) {
        p->by_images = images;
        *free = false;
    }
    p->part[p->npart].kind = kind;
    p->part[p->npart++].norm = norm;
}

static void add_norm(StepPass *pass, int *n, bool *free, const CellNorm *m)
{
    if (m)
        add_part(pass, n, free, PART_NORM, m, m->rows == 0, false);
}

int recurrent_passes(const Kernel *k, bool back, StepPass pass[STEP_PASSES])
{
    const CellNorm *cell = recurrent_norm(k, PLACE_CELL), *hidden = recurrent_norm(k, PLACE_HIDDEN),
                   *sum = recurrent_norm(k, PLACE_SUM);
    const bool resets = k->recurrent->resets;
    bool free = true;
    int n = 0;

    if (!sum)
        sum = recurrent_norm(k, PLACE_RECURRENT);
    if (!back) {
        add_part(pass, &n, &free, PART_PRODUCT, NULL, true, !resets);
        add_norm(pass, &n, &free, sum);
        if (cell)
            add_part(pass, &n, &free, PART_GATES, NULL, false, true);
        add_norm(pass, &n, &free, cell);
        add_part(pass, &n, &free, PART_UNITS, NULL, false, true);
        add_norm(pass, &n, &free, hidden);
        if (hidden)
            add_part(pass, &n, &free, PART_HIDDEN, NULL, false, true);
        return n;
    }
    add_part(pass, &n, &free, PART_BEGIN, NULL, false, true);
    add_norm(pass, &n, &free, hidden);
    if (cell)
        add_part(pass, &n, &free, PART_CELL, NULL, false, true);
    add_norm(pass, &n, &free, cell);
    add_part(pass, &n, &free, PART_UNITS, NULL, false, true);
    if (resets)
        add_part(pass, &n, &free, PART_RESET, NULL, true, false);
    add_norm(pass, &n, &free, sum);
    return n;
}

int recurrent_group(const Kernel *k)
{
    const int wide = k->recurrent->cell.back_h * k->recurrent->cell.lanes;

    return wide > LANES ? wide / LANES : 1;
}

const CellNorm *recurrent_norm(const Kernel *k, CellPlace place)
{
    for (int i = 0; i < k->recurrent->nnorm; i++)
        if (k->recurrent->norm[i].place == place)
            return &k->recurrent->norm[i];
    return NULL;
}

const int *recurrent_norm_gates(const CellNorm *m, const struct cvy_cell *cell)
{
    return !place_info[m->place].of_gates ? NULL : m->place == PLACE_RECURRENT ? cell->h_gate : cell->x_gate;
}

/* Where each parameter's gradient lies, whole blocks each, and behind them the panels'. */
static void place_gradients(RecurrentPart *r, int gates, bool bias)
{
    const struct cvy_cell *c = &r->cell;
    const int64_t rows = (int64_t)gates * c->hidden,
                  floats[] = {rows * c->in, rows * c->hidden, bias ? rows : 0, bias ? rows : 0},
                  units = (int64_t)blocks_of(c->hidden) * LANES;
    int64_t at = 0;

    for (int i = 0; i < 4; i++) {
        r->grad_at[i] = at;
        at += whole_blocks(floats[i]);
    }
    for (int i = 0; i < r->nnorm; i++) {
        CellNorm *m = &r->norm[i];
        const int64_t numbers = whole_blocks((int64_t)m->vectors * c->hidden);
        m->gamma_at = at;
        m->beta_at = at + numbers;
        at += numbers * (m->beta >= 0 ? 2 : 1);
    }
    r->panels_at = at;
    r->grads = at + units * ((int64_t)c->in * c->nx + (int64_t)c->hidden * c->nh);
}

void recurrent_build(const Plan *p, Kernel *k)
{
    const Op *o = &p->g->op[k->op];
    const Shape in = p->g->op[o->in].shape;
    RecurrentPart *r = k->recurrent;
    struct cvy_cell *c = &r->cell;
    const int blocks = blocks_of(o->shape.c);
    const int64_t units = (int64_t)blocks * LANES;
    const CellSlots *own = op_resets_before(o->kind, o->arg) ? &gru_before : &cells[o->kind];

    *c = (struct cvy_cell){.in = in.c,
                           .hidden = o->shape.c,
                           .slots = own->slots,
                           .nx = own->nx,
                           .nh = own->nh,
                           .first = own->first,
                           .lanes = p->target->lanes,
                           .back_h = panels_together(blocks, p->target->lanes),
                           .back_x = panels_together(blocks_of(in.c), p->target->lanes)};
    memcpy(c->x_gate, own->x_gate, sizeof c->x_gate);
    memcpy(c->h_gate, own->h_gate, sizeof c->h_gate);
    r->steps = in.w;
    r->state = own->state;
    r->resets = own == &gru_before;
    r->packed = units * ((int64_t)c->in * c->nx + (int64_t)c->hidden * c->nh + c->slots);
    r->turned = units * (units * c->nh + (int64_t)blocks_of(in.c) * LANES * c->nx);
    r->kept = units * r->steps * (c->slots + r->state + 1 + r->resets);
    r->work = units * ((o->arg[ARG_RETURN].count == RETURN_MAX ? 3 : 2) + r->resets);
    place_norms(p, k);
    place_gradients(r, op_info[o->kind].cell->gates, o->bias);
    k->w->w_floats = r->grad_at[1];
    k->w->fold_floats = r->packed;
    if (r->scratch)
        k->image[r->scratch].floats = r->kept;
}

int recurrent_kept_numbers(const Kernel *k)
{
    int n = k->recurrent->cell.slots + k->recurrent->state + 1 + k->recurrent->resets;

    for (int i = 0; i < k->recurrent->nnorm; i++)
        n += k->recurrent->norm[i].vectors;
    return n;
}

int64_t recurrent_kept_bytes(const Kernel *k)
{
    return k->recurrent && k->w->dz >= 0 ? (int64_t)sizeof(float) * k->recurrent->kept : 0;
}
