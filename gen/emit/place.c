/* place.c - the structs of kernels and norms, the lines that set them, and folding.
 *
 * needs: a complete plan. sets: records for NAME.h and NAME_net.c. */
#include "net.h"

#include "expr.h"
#include "numbers.h"

void net_line(Rec *to, const char *list, const char *text)
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

/* Members beside those that are called as layers: no layer's name has two underscores in a row. */
const char *norm_name(const Net *n, int op)
{
    return xprintf("norm__%s", c_name(n->g->op[op].path));
}

const char *stats_name(const Net *n, const Tensor *nd)
{
    return xprintf("stats__%s", c_name(n->g->op[nd->op].path));
}

/* ---- structs and what stands in them ---- */

enum { PLACE_STRUCTS = 24 };

void net_decl(Rec *k, const char *list, const char *text)
{
    rec_str(rec_add(k, list), "decl", text);
}

/* What field `name` of net's struct is set to, field by field. */
static Rec *placed(const Net *n, const char *name, const char *type)
{
    NetPlace *at = n->placing;

    if (!at->part || at->structs == PLACE_STRUCTS) {
        at->part = rec_add(n->rec, "places");
        rec_int(at->part, "number", ++at->parts);
        at->structs = 0;
    }
    at->structs++;
    Rec *r = rec_add(at->part, "structs");

    rec_str(r, "name", name);
    rec_str(r, "type", type);
    return r;
}

static void set(Rec *placed, const char *field, const char *value)
{
    net_line(placed, "fields", xprintf(".%s = %s", field, value));
}

static const char *in_images(const char *slot_name)
{
    return xprintf("at->images + %s * at->batch", slot_name);
}

static const char *in_param(const Net *n, int param)
{
    return xprintf("at->param + %s_%s", n->NAME, upper(n->g->param[param].name));
}

/* ---- kernels ---- */

/* A field of a kernel's struct: "float *" and "dw", and what it is set to; NULL: by each call. */
typedef struct Given {
    const char *type, *name, *value;
} Given;

/* A field of a port's tensor. */
static Given port_field(const Net *n, const Kernel *k, const Field *f)
{
    const Port *port = &k->port[f->which];
    const Tensor *nd = &n->p->tensor[port->tensor], *root = &n->p->tensor[nd->root];

    switch (f->kind) {
    case FIELD_OUT:
        return (Given){"float *", port->name, in_images(stored_slot(n, nd))};
    case FIELD_IN:
        return (Given){"const float *", port->name, root->op == 0 ? NULL : in_images(stored_slot(n, root))};
    case FIELD_GRADIENT:
        return (Given){port->tensor == k->tensor ? "const float *" : "float *", xprintf("%s_g", port->name),
                       in_images(slot_name(n, nd, -1, "GRADIENT"))};
    default:
        return (Given){"struct cvy_stats *", xprintf("%s_stats", port->name), xprintf("&net->%s", stats_name(n, nd))};
    }
}

static Given alias_field(const Net *n, const Kernel *k, const Field *f)
{
    const Alias *a = &k->alias[f->which];

    if (f->kind == FIELD_DROP)
        return (Given){"uint64_t ", a->name, xprintf("cvy_stage(\"%s\")", n->g->op[a->op].path)};
    return (Given){f->kind == FIELD_BN ? "struct cvy_bn *" : "const struct cvy_gn *", a->name,
                   xprintf("&net->%s", norm_name(n, a->op))};
}

static Given matrix_field(const Net *n, const Kernel *k, Matrix which)
{
    static const char *const name[] = {"mat_x", "mat_y", "mat_back_x", "mat_dz", "mat_dx", "mat_steps", "mat_work"};

    return (Given){"float *", name[which], in_images(matrix_slot(n, k, which))};
}

/* Of a norm inside a recurrent op's steps. */
static Given cell_norm_field(const Net *n, int param)
{
    const Param *q = &n->g->param[param];
    const char *name = emit_cell_param(q);

    if (q->role == PARAM_COUNT)
        return (Given){"int64_t *", name, expr("net->net.batches + %lld", (long long)n->p->param_at[param])};
    if (q->role >= PARAM_MEAN)
        return (Given){"float *", name, xprintf("at->running + %s_%s", n->NAME, upper(q->name))};
    return (Given){"const float *", name, in_param(n, param)};
}

static Given field(const Net *n, const Kernel *k, const Field *f)
{
    const Tensor *made = k->tensor >= 0 ? &n->p->tensor[k->tensor] : NULL;
    const TargetWords *target = &emit_target[n->g->spec->train.loss->target];

    switch (f->kind) {
    case FIELD_NET:
        return (Given){"const struct cvy_net *", "net", "&net->net"};
    case FIELD_SCRATCH:
        return (Given){"float *", "scratch", "net->scratch"};
    case FIELD_OUT:
    case FIELD_IN:
    case FIELD_GRADIENT:
    case FIELD_PORT_STATS:
        return port_field(n, k, f);
    case FIELD_ROUTE:
        return (Given){"uint8_t *", xprintf("route%d", f->which),
                       xprintf("(uint8_t *)(void *)(%s)", in_images(slot_name(n, made, f->which, "ROUTE")))};
    case FIELD_STATS:
        return (Given){"struct cvy_stats *", "stats", xprintf("&net->%s", stats_name(n, made))};
    case FIELD_BN:
    case FIELD_IMAGE_NORM:
    case FIELD_DROP:
        return alias_field(n, k, f);
    case FIELD_WEIGHT:
        return (Given){"const float *", n->g->param[f->which].role == PARAM_WEIGHT ? "w" : "u", in_param(n, f->which)};
    case FIELD_BIAS:
        return (Given){"const float *", n->g->param[f->which].role == PARAM_BIAS ? "bias" : "hidden_bias",
                       in_param(n, f->which)};
    case FIELD_CELL_NORM:
        return cell_norm_field(n, f->which);
    case FIELD_CELL_STATS:
        return (Given){"float *", xprintf("%s_istd", place_info[k->recurrent->norm[f->which].place].param),
                       expr("at->norms + %lld", (long long)k->recurrent->norm[f->which].stats_at)};
    case FIELD_CELL_SUMS:
        return (Given){"double *", xprintf("%s_sums", place_info[k->recurrent->norm[f->which].place].param),
                       expr("at->sums + %lld", (long long)k->recurrent->norm[f->which].both_at)};
    case FIELD_COPY:
        return (Given){"float *", "copy", "at->copy"};
    case FIELD_DW:
        return (Given){"float *", "dw", "at->dw"};
    case FIELD_DB:
        return (Given){"double *", "db", "at->db"};
    case FIELD_MATRIX:
        return matrix_field(n, k, (Matrix)f->which);
    case FIELD_TARGET:
        return (Given){target->type, target->name, NULL};
    case FIELD_LOSS:
        return (Given){"double *", "loss", "net->piece_loss"};
    case FIELD_SCORE:
        return (Given){"double *", "score", "net->piece_score"};
    }
    BUG("kernel %s has a field of no kind", k->name);
}

void place_kernel(const Net *n, const Kernel *k, Rec *r)
{
    Rec *at = placed(n, k->name, kernel_struct(n->p, k));

    for (int i = 0; i < k->nfield; i++) {
        const Given g = field(n, k, &k->field[i]);
        net_decl(r, "fields", xprintf("%s%s", g.type, g.name));
        if (g.value)
            set(at, g.name, g.value);
    }
}

/* ---- norms ---- */

static int param_of(const Net *n, int op, ParamRole role)
{
    const int i = graph_param(n->g, op, role);

    if (i < 0)
        BUG("op %d has no such parameter", op);
    return i;
}

static const char *param_name(const Net *n, int op, ParamRole role)
{
    return xprintf("%s_%s", n->NAME, upper(n->g->param[param_of(n, op, role)].name));
}

/* Where its constants and sums are: cvy_bn_place, cvy_stats_place. */
static void place_call(Rec *placed, const char *function, const char *name, int64_t floats, int64_t doubles)
{
    rec_fmt(placed, "call", "%s(&net->%s, %s, %s)", function, name, expr("at->norms + %lld", (long long)floats),
            expr("at->sums + %lld", (long long)doubles));
}

static void place_norm(const Net *n, const Norm *m)
{
    const Op *o = &n->g->op[m->op];
    const bool image = op_is_image_norm(o->kind);
    const char *name = norm_name(n, m->op), *of = image ? "norm." : "";
    Rec *r = placed(n, name, image ? "cvy_gn" : "cvy_bn");

    rec_str(rec_add(n->rec, image ? "image_norms" : "norms"), "name", name);
    set(r, xprintf("%schannels", of), xprintf("%d", o->shape.c));
    set(r, xprintf("%spadded", of), xprintf("%d", m->padded));
    set(r, xprintf("%spieces", of), xprintf("%d", n->p->pieces));
    set(r, xprintf("%seps", of), real_text(o->eps));
    set(r, xprintf("%sgamma", of), in_param(n, param_of(n, m->op, PARAM_GAMMA)));
    if (op_has_param(o->kind, PARAM_BETA))
        set(r, xprintf("%sbeta", of), in_param(n, param_of(n, m->op, PARAM_BETA)));
    if (image) {
        if (!op_info[o->kind].norm->centred)
            set(r, "not_centred", "1");
        set(r, "groups", xprintf("%d", o->groups));
        set(r, "kept", in_images(kept_slot(n, m->op)));
    } else {
        set(r, "momentum", real_text(o->momentum));
        set(r, "running_mean", xprintf("at->running + %s", param_name(n, m->op, PARAM_MEAN)));
        set(r, "running_var", xprintf("at->running + %s", param_name(n, m->op, PARAM_VAR)));
        set(r, "batches", expr("net->net.batches + %lld", (long long)n->p->param_at[param_of(n, m->op, PARAM_COUNT)]));
    }
    if (op_is_still(o))
        rec_str(rec_add(n->rec, "still"), "name", name);
    place_call(r, "cvy_bn_place", image ? xprintf("%s.norm", name) : name, m->floats, m->doubles);
}

void place_norms(const Net *n)
{
    for (int i = 0; i < n->p->nnorm; i++)
        place_norm(n, &n->p->norm[i]);
}

/* Statistics of the tensors that norms read. */
void place_statistics(const Net *n)
{
    for (int i = 0; i < n->p->ntensor; i++) {
        const Tensor *nd = &n->p->tensor[i];
        if (nd->nnorm == 0)
            continue;
        const char *name = stats_name(n, nd);
        const int channels = nd->shape[nd->nlink].c;
        Rec *r = placed(n, name, "cvy_stats");
        rec_str(rec_add(n->rec, "stats"), "name", name);
        set(r, "channels", xprintf("%d", channels));
        set(r, "padded", xprintf("%d", blocks_of(channels) * LANES + LANES));
        set(r, "pieces", xprintf("%d", n->p->pieces));
        place_call(r, "cvy_stats_place", name, nd->stats_floats, nd->stats_at);
    }
}

/* ---- folding ---- */

static char *fold_list(const Net *n, const int *op, int count)
{
    Buf b = {0};

    for (int i = 0; i < count; i++)
        buf_printf(&b, "%s{p + %s, p + %s, r + %s, r + %s, %s}", i ? ", " : "", param_name(n, op[i], PARAM_GAMMA),
                   param_name(n, op[i], PARAM_BETA), param_name(n, op[i], PARAM_MEAN), param_name(n, op[i], PARAM_VAR),
                   real_text(n->g->op[op[i]].eps));
    return b.text;
}

/* What a norm by step is at inference: a scale and a shift for each step. */
static void place_table(const Net *n, const Kernel *k, const CellNorm *m, const char *beta)
{
    const RecurrentPart *r = k->recurrent;
    const char *of[2], *K = upper(k->name);

    for (int i = 0; i < 2; i++)
        of[i] = upper(n->g->param[graph_place_param(n->g, k->op, m->place, i ? PARAM_VAR : PARAM_MEAN)].name);
    net_line(
        n->rec, "folds",
        xprintf("cvy_cell_table(&%s_cell, %d, %s, p + %s_%s, %s, r + %s_%s, r + %s_%s, %s, %d, %d, f + %s_%s_FOLDED "
                "+ %lld, %lld)",
                k->name, m->vectors, emit_cell_gates(k, m), n->NAME, upper(n->g->param[m->gamma].name), beta, n->NAME,
                of[0], n->NAME, of[1], real_text(m->norm->eps), m->rows, r->table_rows, n->NAME, K,
                (long long)m->packed_at, (long long)r->table_row));
}

/* A recurrent op's weights, packed; nothing is folded into them. */
static void place_cell(const Net *n, const Kernel *k)
{
    const char *bias = k->w->bparam < 0 ? "NULL, NULL"
                                        : xprintf("p + %s, p + %s", param_name(n, k->op, PARAM_BIAS),
                                                  param_name(n, k->op, PARAM_HIDDEN_BIAS));

    net_line(n->rec, "folds", xprintf("const struct cvy_cell %s_cell = %s", k->name, emit_cell(&k->recurrent->cell)));
    net_line(
        n->rec, "folds",
        xprintf(
            "for (int i = 0; i < %d; i++)\n        cvy_cell_pack(&%s_cell, i, p + %s, p + %s, %s, f + %s_%s_FOLDED)",
            blocks_of(k->recurrent->cell.hidden) * LANES / k->recurrent->cell.lanes, k->name,
            param_name(n, k->op, PARAM_WEIGHT), param_name(n, k->op, PARAM_HIDDEN_WEIGHT), bias, n->NAME,
            upper(k->name)));
    const PlaceNorm *input = op_input_bn(n->g->op[k->op].kind, n->g->op[k->op].arg);
    if (input) {
        static const ParamRole role[] = {PARAM_GAMMA, PARAM_BETA, PARAM_MEAN, PARAM_VAR};
        Buf b = {0};
        for (int i = 0; i < 4; i++)
            buf_printf(&b, "%c + %s_%s, ", i < 2 ? 'p' : 'r', n->NAME,
                       upper(n->g->param[graph_place_param(n->g, k->op, PLACE_INPUT, role[i])].name));
        net_line(n->rec, "folds",
                 xprintf("cvy_cell_fold(&%s_cell, %s%s, f + %s_%s_FOLDED)", k->name, b.text, real_text(input->eps),
                         n->NAME, upper(k->name)));
    }
    for (int i = 0; i < k->recurrent->nnorm; i++) {
        const CellNorm *m = &k->recurrent->norm[i];
        const char *beta = m->beta < 0 ? "NULL" : xprintf("p + %s_%s", n->NAME, upper(n->g->param[m->beta].name));
        if (m->rows) {
            place_table(n, k, m, beta);
            continue;
        }
        net_line(n->rec, "folds",
                 xprintf("cvy_cell_norm(&%s_cell, %d, %s, p + %s_%s, %s, f + %s_%s_FOLDED + %lld)", k->name, m->vectors,
                         emit_cell_gates(k, m), n->NAME, upper(n->g->param[m->gamma].name), beta, n->NAME,
                         upper(k->name), (long long)m->packed_at));
    }
}

void place_folds(const Net *n)
{
    bool running = false; /* whether statistics are read */

    for (int i = 0; i < n->p->ninfer; i++) {
        const Kernel *k = &n->p->infer[i];
        if (!k->w)
            continue;
        const Op *o = &n->g->op[k->op];
        const char *bias = k->w->bparam >= 0 ? xprintf("p + %s", param_name(n, k->op, PARAM_BIAS)) : "NULL",
                   *list = "NULL", *K = upper(k->name);
        if (k->recurrent) {
            place_cell(n, k);
            running |= op_has_place_bn(o->kind, o->arg);
            continue;
        }
        if (k->kind == KERNEL_EMBED) {
            net_line(n->rec, "folds",
                     xprintf("memcpy(f + %s_%s_FOLDED, p + %s, sizeof(float) * %lld)", n->NAME, K,
                             param_name(n, k->op, PARAM_WEIGHT), (long long)k->w->w_floats));
            continue;
        }
        if (k->w->nfold) {
            list = xprintf("fold_%s", k->name);
            running = true;
            net_line(n->rec, "folds",
                     xprintf("const struct cvy_fold %s[] = {%s}", list, fold_list(n, k->w->fold, k->w->nfold)));
        }
        const char *tail = xprintf("f + %s_%s_FOLDED, f + %s_%s_FOLDED_BIAS", n->NAME, K, n->NAME, K);
        if (winograd_transformed(kernel_winograd(k, PASS_FORWARD)))
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_%s(p + %s, %s, %s, %d, %d, %d, %s)",
                             kernel_winograd(k, PASS_FORWARD)->phases ? "phases" : "winograd",
                             param_name(n, k->op, PARAM_WEIGHT), bias, list, k->w->nfold, o->shape.c,
                             blocks_of(n->g->op[o->in].shape.c), tail));
        else if (k->conv)
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_conv(p + %s, %s, %s, %d, %d, %lld, %s)", param_name(n, k->op, PARAM_WEIGHT),
                             bias, list, k->w->nfold, o->shape.c,
                             (long long)(k->w->w_floats / (blocks_of(o->shape.c) * LANES)), tail));
        else
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_linear(p + %s, %s, %s, %d, %d, %d, %s)", param_name(n, k->op, PARAM_WEIGHT),
                             bias, list, k->w->nfold, o->shape.c, n->g->op[o->in].shape.c, tail));
    }
    for (int i = 0; i < n->p->naffine; i++) {
        const Affine *a = &n->p->affine[i];
        const int padded = plan_norm(n->p, a->op)->padded;
        if (op_is_image_norm(n->g->op[a->op].kind)) {
            const bool beta = op_has_param(n->g->op[a->op].kind, PARAM_BETA);
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_image(p + %s, %s, %d, f + %s, f + %s + %d)", param_name(n, a->op, PARAM_GAMMA),
                             beta ? xprintf("p + %s", param_name(n, a->op, PARAM_BETA)) : "NULL",
                             n->g->op[a->op].shape.c, affine_macro(n->p, a->op), affine_macro(n->p, a->op), padded));
            continue;
        }
        running = true;
        net_line(n->rec, "folds", xprintf("const struct cvy_fold affine%d = %s", i, fold_list(n, &a->op, 1)));
        net_line(n->rec, "folds",
                 xprintf("cvy_fold_affine(&affine%d, %d, f + %s, %d)", i, n->g->op[a->op].shape.c,
                         affine_macro(n->p, a->op), padded));
    }
    rec_int(n->rec, "folds_norms", running);
}
