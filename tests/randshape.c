/* randshape.c - the shapes of a random spec, computed without the front end, and what is counted on the way
 * (randspec.h). */
#include "randspec.h"

#include <math.h>
#include <string.h>

/* A tensor: its shape, how many norms it went through since weights mixed its channels, and how many of 1 x 1 images at
 * all. Norm after norm makes of a channel without variance, or of few images, nothing but float32's noise. */
typedef struct Flow {
    int c, h, w;
    int norms, single;
} Flow;

/* How many windows stand along n elements: one after the other, as long as they fit; with `ceil` until one reaches the
 * padded end, or the next would begin after the last element. */
static int windows(int n, int k, int stride, int before, int after, bool ceil)
{
    for (int count = 0;; count++) {
        const int begin = count * stride - before, reached = begin - stride + k;
        if (ceil ? reached >= n + after || begin >= n : begin + k > n + after)
            return count;
    }
}

static bool window(Flow *s, const int k[2], const int stride[2], const int padding[2], const RsEnds *ends, bool ceil)
{
    int *side[2] = {&s->h, &s->w};
    for (int d = 0; d < 2; d++)
        *side[d] = ends->same ? (*side[d] + stride[d] - 1) / stride[d]
                              : windows(*side[d], k[d], stride[d], padding[d], padding[d] + ends->more[d], ceil);
    return s->h > 0 && s->w > 0;
}

/* A pool's padding is at most half its window, on either side. */
static bool pool_shape(const RsStage *t, Flow *s)
{
    for (int d = 0; d < 2 && !t->ends.same; d++) {
        const int after = t->padding[d] + t->ends.more[d];
        if (t->padding[d] > t->k[d] / 2 || after < 0 || after > t->k[d] / 2)
            return false;
    }
    return !(t->ends.same && t->ceil) && window(s, t->k, t->stride, t->padding, &t->ends, t->ceil);
}

static bool stage_shape(const RsStage *t, Flow *s, bool *single)
{
    if (op_is_norm(t->op) && t->op != OP_BN) {
        int groups = t->op == OP_GN ? t->arg[ARG_NORM_GROUPS].count : t->op == OP_IN ? s->c : 1;
        s->norms++;
        s->single += s->h * s->w == 1;
        return s->c % groups == 0 && s->c / groups * s->h * s->w > 1;
    }
    switch (t->op) {
    case OP_BN:
        *single |= s->h * s->w == 1;
        s->single += s->h * s->w == 1;
        s->norms++;
        return true;
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        return pool_shape(t, s);
    case OP_GLOBAL_AVG_POOL:
        s->h = s->w = 1;
        return true;
    case OP_FLATTEN:
        s->c *= s->h * s->w;
        s->h = s->w = 1;
        return true;
    default:
        return true;
    }
}

/* What is counted on the way through a network. */
typedef struct Walk {
    const RandSpec *s;
    /* Stages of gn, whose groups are not known yet (0), get a number that divides the channels which they meet first.
     */
    bool choose;
    double work;
    int stages;
    bool single, weights;
    RsCount count;
} Walk;

static bool walk_chain(Walk *w, int parent, int branch, const int *stride, Flow *a);

int rs_next(const RandSpec *s, int i, int parent, int branch)
{
    while (i < s->nlayer && (s->layer[i].parent != parent || s->layer[i].branch != branch))
        i++;
    return i;
}

static int out_of(const RandSpec *s, const RsLayer *l, int in)
{
    if (l->out || l->groups < 0)
        return l->out ? l->out : in;
    for (int p = l->parent; p; p = s->layer[p - 1].parent)
        if (s->layer[p - 1].out)
            return s->layer[p - 1].out;
    return 0;
}

bool rs_has_stride(const RsLayer *l)
{
    return l->says_stride || l->stride[0] != 1 || l->stride[1] != 1;
}

static bool conv_shape(Walk *w, const RsLayer *l, const int *stride, Flow *a)
{
    int in = a->c, out = out_of(w->s, l, in), groups = l->groups < 0 ? in : l->groups ? l->groups : 1, span[2];
    for (int d = 0; d < 2; d++) {
        const int dilation = l->dilation[d] ? l->dilation[d] : 1;
        span[d] = (l->kernel[d] - 1) * dilation + 1;
        if (l->ends.same ? dilation > 1 && stride[d] > 1 : l->padding[d] + l->ends.more[d] < 0)
            return false;
    }
    if (out < 1 || in % groups || out % groups || !window(a, span, stride, l->padding, &l->ends, false))
        return false;
    a->c = out;
    a->norms = in > groups ? 0 : a->norms;
    w->work += (double)in / groups * a->c * a->h * a->w * l->kernel[0] * l->kernel[1];
    w->weights = true;
    return true;
}

/* Groups that divide c, and hold two channels: few, or half of the channels; `any` picks. For the word as many as there
 * can be, since it gets what all its stages have in common. */
static void choose_groups(RsStage *t, int c, bool pixels, int any)
{
    int groups = t->as_norm && pixels ? c : t->as_norm || any % 3 == 0 ? c / 2 : 1 + any % 5;
    groups = groups < 1 ? 1 : groups;
    while (c % groups)
        groups--;
    t->arg[ARG_NORM_GROUPS].count = groups;
}

double rs_sum_args(OpKind op, const Arg *arg)
{
    double sum = 0;
    for (int k = 0; k < op_may_args(op); k++) {
        const int i = op_arg_at(op, k);
        const ArgKind kind = op_info[op].arg[i].kind;
        const double v = kind == ARG_REAL    ? arg[i].real
                         : kind == ARG_COUNT ? arg[i].count
                         : kind == ARG_SIDES ? 0 /* what `same` comes to depends on the shape */
                                             : arg[i].size[0] + 0.5 * arg[i].size[1];
        sum += (2 * k + 1) * (v == INFINITY ? 0 : v);
    }
    return sum;
}

/* A general_relu without sub and maxv is a relu or a leaky one. */
static void count_stage(RsCount *c, const RsStage *t)
{
    const bool plain = t->op == OP_GENERAL_RELU && t->arg[ARG_SUB].real == 0 && t->arg[ARG_MAXV].real == INFINITY;
    const OpKind op = !plain ? t->op : t->arg[ARG_LEAK].real == 0 ? OP_RELU : OP_LEAKY_RELU;
    c->op[op]++;
    c->args += rs_sum_args(op, t->arg);
}

static bool walk_stage(Walk *w, const RsLayer *l, const RsStage *t, const int *stride, Flow *a)
{
    if (t->op == OP_KINDS) /* norm: none */
        return true;
    w->stages++;
    if (t->op == OP_CONV) {
        if (!conv_shape(w, l, stride, a))
            return false;
    } else if (t->op == OP_EMBED) {
        if (!w->s->tokens || l != &w->s->layer[0])
            return false;
        a->c = t->arg[ARG_OUT].count;
        a->norms = 0;
        w->weights = true;
    } else if (w->s->tokens && l == &w->s->layer[0]) {
        return false;
    } else if (op_is_recurrent(t->op)) {
        const int hidden = t->arg[ARG_HIDDEN].count, ways = 1 + t->arg[ARG_BOTH_WAYS].count;
        if (w->s->dims != 1 || (hidden == 1 && t->arg[ARG_CELL_NORM].places))
            return false;
        w->work += 4.0 * ways * (a->c + hidden) * hidden * a->w;
        w->stages += 2 * (ways - 1); /* the other direction, and what joins the two */
        a->c = ways * hidden;
        a->w = t->arg[ARG_RETURN].count == RETURN_ALL ? a->w : 1;
        a->norms = 0;
        w->weights = true;
    } else if (t->op == OP_LINEAR) {
        if (a->h != 1 || a->w != 1 || out_of(w->s, l, 0) < 1)
            return false;
        w->work += (double)a->c * out_of(w->s, l, 0);
        a->c = out_of(w->s, l, 0);
        a->norms = 0;
        w->weights = true;
    } else {
        if (w->choose && t->op == OP_GN && t->arg[ARG_NORM_GROUPS].count == 0)
            choose_groups((RsStage *)t, a->c, a->h * a->w > 1, w->stages);
        if (!stage_shape(t, a, &w->single))
            return false;
    }
    for (int way = 0; way < (op_is_recurrent(t->op) ? 1 + t->arg[ARG_BOTH_WAYS].count : 1); way++)
        count_stage(&w->count, t);
    return (int64_t)a->c * a->h * a->w <= 20000 && (!w->s->dims || (a->norms <= 2 && a->single <= 3));
}

/* What a tensor went through is what its parts did. */
static void join_history(Flow *a, const Flow *b)
{
    a->norms = b->norms > a->norms ? b->norms : a->norms;
    a->single = b->single > a->single ? b->single : a->single;
}

static bool same_shape(Flow a, Flow b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

static bool has_bn(const RsStage *t, int n)
{
    for (int j = 0; j < n; j++)
        if (op_is_norm(t[j].op))
            return true;
    return false;
}

bool rs_body_has_bn(const RandSpec *s, int group)
{
    for (int i = 0; i < s->nlayer; i++) {
        const RsLayer *l = &s->layer[i];
        if (l->parent == group + 1 && (has_bn(l->stage, l->nstage) || has_bn(l->group.pre, l->group.npre) ||
                                       has_bn(l->group.post, l->group.npost) || rs_body_has_bn(s, i)))
            return true;
    }
    return false;
}

static bool walk_stages(Walk *w, const RsStage *t, int n, Flow *a)
{
    for (int j = 0; j < n; j++)
        if (!walk_stage(w, NULL, &t[j], NULL, a))
            return false;
    return true;
}

/* The other side of a sum, where the branch gave shape `to`. */
static bool walk_shortcut(Walk *w, const RsGroup *g, Flow input, Flow pre, const int *stride, Flow *to)
{
    Flow a = g->from_pre ? pre : input;
    bool same = same_shape(input, *to);
    if (g->kind == RS_IDENTITY || (same && g->kind != RS_ALWAYS)) {
        join_history(to, &input);
        return same;
    }
    if (g->kind == RS_PAD) {
        w->stages++;
        join_history(to, &a);
        return to->c >= a.c && to->h == (a.h - 1) / stride[0] + 1 && to->w == (a.w - 1) / stride[1] + 1;
    }
    RsLayer l = {.out = to->c, .kernel = {1, 1}};
    for (int j = 0; j < g->nshortcut; j++)
        if (!walk_stage(w, &l, &g->shortcut[j], stride, &a))
            return false;
    join_history(to, &a);
    return same_shape(a, *to);
}

static bool walk_concat(Walk *w, int i, const int *stride, Flow *a)
{
    Flow sum = {0};
    for (int b = 0; b < w->s->layer[i].group.branches; b++) {
        Flow end = *a;
        if (!walk_chain(w, i + 1, b, stride, &end) || (b && (end.h != sum.h || end.w != sum.w)))
            return false;
        join_history(&end, &sum);
        end.c += sum.c;
        sum = end;
    }
    *a = sum;
    return (int64_t)a->c * a->h * a->w <= 20000;
}

static bool walk_repeat(Walk *w, int i, const int *stride, Flow *a)
{
    static const int one[2] = {1, 1};
    const RsGroup *g = &w->s->layer[i].group;
    Flow input = *a;
    if (!walk_stages(w, g->pre, g->npre, a))
        return false;
    Flow pre = *a;
    bool ok = g->body == RS_CONCAT ? walk_concat(w, i, stride, a) : walk_chain(w, i + 1, 0, stride, a);
    if (ok && g->body == RS_RESIDUAL)
        ok = walk_shortcut(w, g, input, pre, stride ? stride : one, a);
    w->stages++;
    return ok && walk_stages(w, g->post, g->npost, a);
}

/* Whether anything is left of these: a norm of `norm: none` is not. */
static bool any_left(const RsStage *t, int n)
{
    for (int j = 0; j < n; j++)
        if (t[j].op != OP_KINDS)
            return true;
    return false;
}

/* `stride`: what the group around it hands down, or NULL. */
static bool walk_group(Walk *w, int i, const int *stride, Flow *a)
{
    const RsLayer *l = &w->s->layer[i];
    const RsGroup *g = &l->group;
    bool empty = g->body != RS_CONCAT && rs_next(w->s, 0, i + 1, 0) == w->s->nlayer;
    if (rs_has_stride(l))
        stride = l->stride;
    if (empty || g->repeat < 1 || (g->body == RS_CONCAT && g->branches < 2) ||
        (g->from_pre && !any_left(g->pre, g->npre)) || (g->zero_gamma && !rs_body_has_bn(w->s, i)))
        return false;
    for (int n = 0; n < g->repeat; n++)
        if (!walk_repeat(w, i, n ? NULL : stride, a))
            return false;
    return walk_chain(w, i + 1, RS_TRANSITION, NULL, a);
}

/* The layers of a group's branch; the first conv or group takes its stride. */
static bool walk_chain(Walk *w, int parent, int branch, const int *stride, Flow *a)
{
    const RandSpec *s = w->s;
    for (int i = rs_next(s, 0, parent, branch); i < s->nlayer; i = rs_next(s, i + 1, parent, branch)) {
        const RsLayer *l = &s->layer[i];
        const int *taken = l->block == OP_CONV || l->group.body ? stride : NULL;
        if (taken)
            stride = NULL;
        if (l->group.body && !walk_group(w, i, taken, a))
            return false;
        for (int j = 0; j < l->nstage; j++)
            if (!walk_stage(w, l, &l->stage[j], rs_has_stride(l) || !taken ? l->stride : taken, a))
                return false;
    }
    return true;
}

static bool valid(const RandSpec *s, bool choose, Shape *out, RsCount *count)
{
    Walk w = {.s = s, .choose = choose};
    Flow a = {s->input[0], s->input[1], s->input[2], 0, 0};
    if (a.c < 1 || a.h < 1 || a.w < 1 || s->nlayer < 1 || s->batch < 1 || s->n < 1 || s->n_predict < 1)
        return false;
    if (!walk_chain(&w, 0, 0, NULL, &a))
        return false;
    *out = (Shape){a.c, a.h, a.w};
    *count = w.count;
    bool graph = s->dims != 0;
    return w.weights && a.h == 1 && a.w == 1 && a.c >= 2 && w.work < 1.5e6 && w.work * s->n < 1.5e7 &&
           (!w.single || (s->n >= 2 && (!graph || s->batch >= 2))) && (!graph || w.stages <= 70);
}

bool rs_valid(const RandSpec *s, Shape *out)
{
    RandSpec t = *s;
    RsCount count;
    rs_settle(&t);
    return valid(&t, false, out, &count);
}

RsCount rs_count(const RandSpec *s)
{
    RandSpec t = *s;
    RsCount count = {0};
    Shape end;
    rs_settle(&t);
    valid(&t, false, &end, &count);
    return count;
}

bool rs_finish(RandSpec *s, Shape *out)
{
    RsCount count;
    rs_settle(s);
    const bool ok = valid(s, true, out, &count);
    rs_agree(s);
    rs_settle(s);
    for (int i = 0; i < s->nlayer; i++) /* of shortcuts that no shape asks for */
        for (int j = 0; j < s->layer[i].group.nshortcut; j++)
            if (s->layer[i].group.shortcut[j].op == OP_GN &&
                s->layer[i].group.shortcut[j].arg[ARG_NORM_GROUPS].count == 0)
                s->layer[i].group.shortcut[j].arg[ARG_NORM_GROUPS].count = 1;
    return ok;
}

bool rs_is_pool(const RsStage *t)
{
    return t->op == OP_MAXPOOL || t->op == OP_AVGPOOL;
}
