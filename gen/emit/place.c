/* place.c - the structs of kernels and norms, the lines that set them, and folding.
 *
 * needs: a complete plan. sets: records for NAME.h and NAME_net.c. */
#include "net.h"

void net_line(Rec *to, const char *list, const char *text)
{
    rec_str(rec_add(to, list), "line", text);
}

enum { PLACE_LINES = 256 };

void net_place(const Net *n, const char *text)
{
    NetPlace *at = n->placing;

    if (!at->part || at->lines == PLACE_LINES) {
        at->part = rec_add(n->rec, "places");
        rec_int(at->part, "number", ++at->parts);
        at->lines = 0;
    }
    net_line(at->part, "lines", text);
    at->lines++;
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

/* ---- kernels ---- */

void net_decl(Rec *k, const char *list, const char *text)
{
    rec_str(rec_add(k, list), "decl", text);
}

/* A field of a kernel's struct: a pointer, or 64 bits (struct_bytes). */
static void field(const Net *n, Rec *k, const char *text)
{
    net_decl(k, "fields", text);
    ++*n->fields;
}

/* A field of a kernel's struct, and the line that sets it. */
static void given(const Net *n, Rec *k, const Kernel *kernel, const char *declaration, const char *name,
                  const char *value)
{
    field(n, k, declaration);
    if (value)
        net_place(n, xprintf("net->%s.%s = %s", kernel->name, name, value));
}

static char *in_images(const Net *n, const char *slot_name)
{
    (void)n;
    return xprintf("images + %s * net->net.batch", slot_name);
}

/* The port's tensor, as the kernel is given it. */
static void port_fields(const Net *n, const Kernel *k, Rec *r, const Port *port)
{
    const Tensor *nd = &n->p->tensor[port->tensor], *root = &n->p->tensor[nd->root];
    const bool own = port->tensor == k->tensor;

    if (own && nd->op > 0 && nd->stored)
        given(n, r, k, "float *out", port->name, in_images(n, stored_slot(n, nd)));
    else if (port->value)
        given(n, r, k, xprintf("const float *%s", port->name), port->name,
              root->op == 0 ? NULL : in_images(n, stored_slot(n, root)));
    if (port->grad && nd->grad)
        given(n, r, k, xprintf("%sfloat *%s_g", own ? "const " : "", port->name), xprintf("%s_g", port->name),
              in_images(n, slot_name(n, nd, -1, "GRADIENT")));
}

void place_kernel(const Net *n, const Kernel *k, Rec *r)
{
    const Plan *p = n->p;
    const Tensor *tensor = k->tensor >= 0 ? &p->tensor[k->tensor] : NULL;
    NormSum *sum;
    const int nsum = plan_sums(p, k, &sum);

    given(n, r, k, "const struct cvy_net *net", "net", "&net->net");
    given(n, r, k, "float *scratch", "scratch", "net->scratch");
    for (int i = 0; i < k->nport; i++)
        port_fields(n, k, r, &k->port[i]);
    for (int i = 0; tensor && i < tensor->nroute; i++)
        given(n, r, k, xprintf("uint8_t *route%d", i), xprintf("route%d", i),
              xprintf("(uint8_t *)(void *)(%s)", in_images(n, slot_name(n, tensor, i, "ROUTE"))));
    if (tensor && tensor->nnorm)
        given(n, r, k, "struct cvy_stats *stats", "stats", xprintf("&net->%s", stats_name(n, tensor)));
    for (int i = 0; i < k->nport; i++) { /* of what norms' sums are taken here: where they add what they take away */
        bool adds = false;
        for (int j = 0; j < nsum; j++)
            adds |= sum[j].tensor == k->port[i].tensor && op_is_batch_norm(n->g->op[sum[j].op].kind) &&
                    p->tensor[sum[j].tensor].grad;
        if (adds)
            given(n, r, k, xprintf("struct cvy_stats *%s_stats", k->port[i].name), xprintf("%s_stats", k->port[i].name),
                  xprintf("&net->%s", stats_name(n, &p->tensor[k->port[i].tensor])));
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

/* ---- norms ---- */

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

void place_norms(const Net *n)
{
    for (int i = 0; i < n->p->nnorm && (n->parts & PART_TRAIN); i++) {
        const Norm *m = &n->p->norm[i];
        const Op *o = &n->g->op[m->op];
        const bool image = op_is_image_norm(o->kind);
        const char *name = norm_name(n, m->op), *at = image ? xprintf("%s.norm", name) : name;
        rec_str(rec_add(n->rec, image ? "image_norms" : "norms"), "name", name);
        net_place(
            n,
            xprintf("net->%s = (struct cvy_bn){.channels = %d, .padded = %d, .pieces = %d, .eps = %.17g, .momentum = "
                    "%.17g}",
                    at, o->shape.c, m->padded, n->p->pieces, o->eps, image ? 0 : o->momentum));
        net_place(n, xprintf("net->%s.gamma = net->net.param + %s", at, param_macro(n, m->op, PARAM_GAMMA)));
        if (op_has_param(o->kind, PARAM_BETA))
            net_place(n, xprintf("net->%s.beta = net->net.param + %s", at, param_macro(n, m->op, PARAM_BETA)));
        if (image && !op_info[o->kind].norm->centred)
            net_place(n, xprintf("net->%s.not_centred = 1", name));
        if (image) {
            net_place(n, xprintf("net->%s.groups = %d", name, o->groups));
            net_place(n, xprintf("net->%s.kept = %s", name, in_images(n, kept_slot(n, m->op))));
        } else {
            net_place(n,
                      xprintf("net->%s.running_mean = net->net.running + %s", name, param_macro(n, m->op, PARAM_MEAN)));
            net_place(n,
                      xprintf("net->%s.running_var = net->net.running + %s", name, param_macro(n, m->op, PARAM_VAR)));
            net_place(n, xprintf("net->%s.batches = net->net.batches + %lld", name,
                                 (long long)param_offset(n, m->op, PARAM_COUNT)));
        }
        net_place(n, xprintf("cvy_bn_place(&net->%s, norms + %lld, sums + %lld)", at, (long long)m->floats,
                             (long long)m->doubles));
    }
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
        rec_str(rec_add(n->rec, "stats"), "name", name);
        net_place(n, xprintf("net->%s = (struct cvy_stats){.channels = %d, .padded = %d, .pieces = %d}", name, channels,
                             blocks_of(channels) * LANES + LANES, n->p->pieces));
        net_place(n, xprintf("cvy_stats_place(&net->%s, norms + %lld, sums + %lld)", name, (long long)nd->stats_floats,
                             (long long)nd->stats_at));
    }
}

/* ---- folding ---- */

static char *fold_list(const Net *n, const int *op, int count)
{
    Buf b = {0};

    for (int i = 0; i < count; i++)
        buf_printf(&b, "%s{p + %s, p + %s, r + %s, r + %s, %.17g}", i ? ", " : "", param_macro(n, op[i], PARAM_GAMMA),
                   param_macro(n, op[i], PARAM_BETA), param_macro(n, op[i], PARAM_MEAN),
                   param_macro(n, op[i], PARAM_VAR), n->g->op[op[i]].eps);
    return b.text;
}

void place_folds(const Net *n)
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
            net_line(n->rec, "folds",
                     xprintf("const struct cvy_fold %s[] = {%s}", list, fold_list(n, k->w->fold, k->w->nfold)));
        }
        const char *tail = xprintf("f + %s_%s_FOLDED, f + %s_%s_FOLDED_BIAS", n->NAME, K, n->NAME, K);
        if (winograd_transformed(kernel_winograd(k, PASS_FORWARD)))
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_winograd(p + %s, %s, %s, %d, %d, %d, %s)", param_macro(n, k->op, PARAM_WEIGHT),
                             bias, list, k->w->nfold, o->shape.c, blocks_of(n->g->op[o->in].shape.c), tail));
        else if (k->conv)
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_conv(p + %s, %s, %s, %d, %d, %lld, %s)", param_macro(n, k->op, PARAM_WEIGHT),
                             bias, list, k->w->nfold, o->shape.c,
                             (long long)(k->w->w_floats / (blocks_of(o->shape.c) * LANES)), tail));
        else
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_linear(p + %s, %s, %s, %d, %d, %d, %s)", param_macro(n, k->op, PARAM_WEIGHT),
                             bias, list, k->w->nfold, o->shape.c, n->g->op[o->in].shape.c, tail));
    }
    for (int i = 0; i < n->p->naffine; i++) {
        const Affine *a = &n->p->affine[i];
        const int padded = plan_norm(n->p, a->op)->padded;
        if (op_is_image_norm(n->g->op[a->op].kind)) {
            const bool beta = op_has_param(n->g->op[a->op].kind, PARAM_BETA);
            net_line(n->rec, "folds",
                     xprintf("cvy_fold_image(p + %s, %s, %d, f + %s, f + %s + %d)", param_macro(n, a->op, PARAM_GAMMA),
                             beta ? xprintf("p + %s", param_macro(n, a->op, PARAM_BETA)) : "NULL",
                             n->g->op[a->op].shape.c, affine_macro(n->p, a->op), affine_macro(n->p, a->op), padded));
            continue;
        }
        net_line(n->rec, "folds", xprintf("const struct cvy_fold affine%d = %s", i, fold_list(n, &a->op, 1)));
        net_line(n->rec, "folds",
                 xprintf("cvy_fold_affine(&affine%d, %d, f + %s, %d)", i, n->g->op[a->op].shape.c,
                         affine_macro(n->p, a->op), padded));
    }
}
