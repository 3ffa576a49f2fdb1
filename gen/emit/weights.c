/* weights.c - a checkpoint's numbers, read with the runtime's own reader and folded with the runtime's own arithmetic,
 * so that what export writes is what an emitted network would have made of the same file.
 *
 * needs: a complete plan. sets: Weights. */
#include "weights.h"
#include "runtime.h"

#include "emit.h"

#include <inttypes.h>
#include <math.h>

/* The tensors that the network has, without numbers. */
static bool wanted(const Plan *p, struct cvy_tensors *want)
{
    for (int i = 0; i < p->g->nparam; i++) {
        const Param *q = &p->g->param[i];
        if (q->role == PARAM_COUNT ? !cvy_put_i64(want, q->name) : !cvy_put_f32(want, q->name, q->ndim, q->dim))
            return false;
    }
    return true;
}

static int64_t elements(const Param *q)
{
    int64_t n = 1;

    for (int d = 0; d < q->ndim; d++)
        n *= q->dim[d];
    return n;
}

/* Where the plan has a parameter. */
static float *base_of(const Plan *p, const Weights *w, int param)
{
    const ParamRole role = p->g->param[param].role;

    return (role == PARAM_MEAN || role == PARAM_VAR ? w->running : w->param) + p->param_at[param];
}

/* From C order to where the plan has them. */
static void place(const Plan *p, int param, const float *from, float *to)
{
    const Param *q = &p->g->param[param];
    int64_t block[4], outer[4], inner[4], n = elements(q);
    int at[4] = {0};

    emit_param_layout(p, param, block, outer, inner);
    for (int64_t i = 0; i < n; i++) {
        int64_t offset = 0;
        for (int d = 0; d < q->ndim; d++)
            offset += at[d] / block[d] * outer[d] + at[d] % block[d] * inner[d];
        to[offset] = from[i];
        for (int d = q->ndim - 1; d >= 0 && ++at[d] == q->dim[d]; d--)
            at[d] = 0;
    }
}

float weights_at(const Plan *p, const Weights *w, int param, int64_t i)
{
    const Param *q = &p->g->param[param];
    int64_t block[4], outer[4], inner[4], offset = 0;

    emit_param_layout(p, param, block, outer, inner);
    for (int d = q->ndim - 1; d >= 0; i /= q->dim[d], d--) {
        const int64_t at = i % q->dim[d];
        offset += at / block[d] * outer[d] + at % block[d] * inner[d];
    }
    return base_of(p, w, param)[offset];
}

static int64_t largest_param(const Plan *p)
{
    int64_t largest = 1;

    for (int i = 0; i < p->g->nparam; i++)
        largest = elements(&p->g->param[i]) > largest ? elements(&p->g->param[i]) : largest;
    return largest;
}

static void make_room(const Plan *p, Weights *w)
{
    w->param = xalloc((size_t)p->param_floats * sizeof(float) + 64);
    w->running = xalloc((size_t)p->running_floats * sizeof(float) + 64);
}

/* The same numbers as the runtime's cvy_draw. */
void weights_draw(const Plan *p, Weights *w)
{
    const uint64_t seed = (uint64_t)p->g->spec->train.seed;
    float *numbers = xalloc((size_t)largest_param(p) * sizeof *numbers);

    make_room(p, w);
    for (int i = 0; i < p->g->nparam; i++) {
        const Param *q = &p->g->param[i];
        const uint64_t stream = cvy_name_hash(q->name);
        const float value = (float)q->draw_value;
        if (q->role == PARAM_COUNT)
            continue;
        for (int64_t k = 0; k < elements(q); k++) {
            uint32_t draw[4];
            cvy_draw4(seed, stream, (uint64_t)k, draw);
            numbers[k] = q->draw == DRAW_NORMAL    ? (float)(value * cvy_normal(seed, stream, (uint64_t)k))
                         : q->draw == DRAW_UNIFORM ? (float)(value * (2.0 * cvy_unit(draw[0], draw[1]) - 1.0))
                                                   : value;
            if (k >= q->fixed_from && k < q->fixed_to)
                numbers[k] = (float)q->fixed;
        }
        place(p, i, numbers, base_of(p, w, i));
    }
}

static bool read_all(const Plan *p, const struct cvy_tensors *file, Weights *w)
{
    float *numbers = xalloc((size_t)largest_param(p) * sizeof *numbers);

    for (int i = 0; i < p->g->nparam; i++) {
        const Param *q = &p->g->param[i];
        const int64_t n = elements(q);
        if (q->role == PARAM_COUNT)
            continue;
        if (!cvy_read_f32(file, q->name, numbers, (size_t)n))
            return false;
        for (int64_t k = 0; q->role == PARAM_VAR && k < n; k++)
            if (numbers[k] < 0) {
                cvy_error(NULL, "'%s': variance '%s' is below zero (element %" PRId64 ": %g)", file->path, q->name, k,
                          (double)numbers[k]);
                return false;
            }
        place(p, i, numbers, base_of(p, w, i));
    }
    return true;
}

bool weights_read(const Plan *p, const char *path, bool force, Weights *w)
{
    struct cvy_tensors want = {0}, file = {0};

    make_room(p, w);
    const bool ok = wanted(p, &want) && cvy_tensors_open(&file, path) &&
                    cvy_identity_accept(&file, &want, identity_lines(p->g), force ? CVY_FORCED : CVY_CHECKED) &&
                    read_all(p, &file, w);
    cvy_tensors_free(&want);
    cvy_tensors_free(&file);
    return ok;
}

static const float *numbers_of(const Plan *p, const Weights *w, int op, ParamRole role)
{
    const int i = graph_param(p->g, op, role);

    if (i < 0)
        BUG("op %d has no such parameter", op);
    return base_of(p, w, i);
}

static struct cvy_fold norm_of(const Plan *p, const Weights *w, int op)
{
    return (struct cvy_fold){numbers_of(p, w, op, PARAM_GAMMA), numbers_of(p, w, op, PARAM_BETA),
                             numbers_of(p, w, op, PARAM_MEAN), numbers_of(p, w, op, PARAM_VAR), p->g->op[op].eps};
}

static const float *running_of(const Plan *p, const Weights *w, int op, CellPlace place, ParamRole role)
{
    return base_of(p, w, graph_place_param(p->g, op, place, role));
}

float *weights_fold(const Plan *p, const Weights *w, const char *path)
{
    float *f = xalloc((size_t)p->fold_floats * sizeof *f + 64);

    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        if (!k->w)
            continue;
        const Op *o = &p->g->op[k->op];
        const float *weight = w->param + p->param_at[k->w->wparam],
                    *bias = k->w->bparam >= 0 ? w->param + p->param_at[k->w->bparam] : NULL;
        if (k->recurrent) {
            const float *u = numbers_of(p, w, k->op, PARAM_HIDDEN_WEIGHT),
                        *c = bias ? numbers_of(p, w, k->op, PARAM_HIDDEN_BIAS) : NULL;
            for (int panel = 0; panel * k->recurrent->cell.lanes < blocks_of(o->shape.c) * LANES; panel++)
                cvy_cell_pack(&k->recurrent->cell, panel, weight, u, bias, c, f + k->w->fold_w);
            const PlaceNorm *input = op_input_bn(o->kind, o->arg);
            if (input) {
                static const ParamRole role[] = {PARAM_GAMMA, PARAM_BETA, PARAM_MEAN, PARAM_VAR};
                const float *v[4];
                for (int j = 0; j < 4; j++)
                    v[j] = base_of(p, w, graph_place_param(p->g, k->op, PLACE_INPUT, role[j]));
                cvy_cell_fold(&k->recurrent->cell, v[0], v[1], v[2], v[3], input->eps, f + k->w->fold_w);
            }
            for (int j = 0; j < k->recurrent->nnorm; j++) {
                const CellNorm *m = &k->recurrent->norm[j];
                const struct cvy_cell *cell = &k->recurrent->cell;
                const int *gates = recurrent_norm_gates(m, cell);
                const float *gamma = base_of(p, w, m->gamma), *beta = m->beta < 0 ? NULL : base_of(p, w, m->beta);
                float *const to = f + k->w->fold_w + m->packed_at;
                if (m->rows)
                    cvy_cell_table(cell, m->vectors, gates, gamma, beta, running_of(p, w, k->op, m->place, PARAM_MEAN),
                                   running_of(p, w, k->op, m->place, PARAM_VAR), m->norm->eps, m->rows,
                                   k->recurrent->table_rows, to, k->recurrent->table_row);
                else
                    cvy_cell_norm(cell, m->vectors, gates, gamma, beta, to);
            }
            continue;
        }
        if (k->kind == KERNEL_EMBED) {
            memcpy(f + k->w->fold_w, weight, (size_t)k->w->w_floats * sizeof *f);
            continue;
        }
        struct cvy_fold *norm = xalloc((size_t)(k->w->nfold + 1) * sizeof *norm);
        for (int n = 0; n < k->w->nfold; n++)
            norm[n] = norm_of(p, w, k->w->fold[n]);
        if (winograd_transformed(kernel_winograd(k, PASS_FORWARD)))
            (kernel_winograd(k, PASS_FORWARD)->phases ? cvy_fold_phases : cvy_fold_winograd)(
                weight, bias, norm, k->w->nfold, o->shape.c, blocks_of(p->g->op[o->in].shape.c), f + k->w->fold_w,
                f + k->w->fold_b);
        else if (k->conv)
            cvy_fold_conv(weight, bias, norm, k->w->nfold, o->shape.c, k->w->w_floats / (blocks_of(o->shape.c) * LANES),
                          f + k->w->fold_w, f + k->w->fold_b);
        else
            cvy_fold_linear(weight, bias, norm, k->w->nfold, o->shape.c, p->g->op[o->in].shape.c, f + k->w->fold_w,
                            f + k->w->fold_b);
    }
    for (int i = 0; i < p->naffine; i++) {
        const int op = p->affine[i].op, channels = p->g->op[op].shape.c;
        float *to = f + p->affine[i].at;
        if (op_is_image_norm(p->g->op[op].kind)) {
            const float *beta = op_has_param(p->g->op[op].kind, PARAM_BETA) ? numbers_of(p, w, op, PARAM_BETA) : NULL;
            cvy_fold_image(numbers_of(p, w, op, PARAM_GAMMA), beta, channels, to, to + plan_norm(p, op)->padded);
            continue;
        }
        const struct cvy_fold norm = norm_of(p, w, op);
        cvy_fold_affine(&norm, channels, to, plan_norm(p, op)->padded);
    }
    for (int64_t i = 0; i < p->fold_floats; i++)
        if (!cvy_finite(f[i])) {
            cvy_error("a norm's variance is very small, or its gamma very large",
                      "'%s': folded, a weight is not finite", path);
            return NULL;
        }
    return f;
}
