/* randspec.c - see randspec.h. */
#include "randspec.h"
#include "acts.h"

#include <math.h>
#include <string.h>

uint64_t rng_next(Rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int rng_int(Rng *r, int lo, int hi)
{
    return lo + (int)(rng_next(r) % (uint64_t)(hi - lo + 1));
}

double rng_real(Rng *r, double lo, double hi)
{
    return lo + (hi - lo) * (double)(rng_next(r) >> 11) / 9007199254740992.0;
}

double rng_normal(Rng *r)
{
    double u = rng_real(r, 1e-12, 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * rng_real(r, 0, 1));
}

bool rng_chance(Rng *r, double p)
{
    return rng_real(r, 0, 1) < p;
}

/* ---- shapes ---- */

/* A tensor: its shape, how many norms it went through since weights mixed its channels, and how many of 1 x 1 images at
 * all. Norm after norm makes of a channel without variance, or of few images, nothing but float32's noise. */
typedef struct Flow {
    int c, h, w;
    int norms, single;
} Flow;

/* How many windows stand along n elements: one behind the other, as long as they fit; with `ceil` until one reaches the
 * padded end, or the next would begin behind the last element. */
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
    bool choose; /* gn stages, whose groups are not known yet (0), get a number that divides the channels which they
                    meet first */
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

static bool has_stride(const RsLayer *l)
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
                         : kind == ARG_SIDES ? 0 /* what `same` comes to hangs on the shape */
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

/* Whether some layer in a group has a norm; shortcuts do not count. */
static bool body_has_bn(const RandSpec *s, int group)
{
    for (int i = 0; i < s->nlayer; i++) {
        const RsLayer *l = &s->layer[i];
        if (l->parent == group + 1 && (has_bn(l->stage, l->nstage) || has_bn(l->group.pre, l->group.npre) ||
                                       has_bn(l->group.post, l->group.npost) || body_has_bn(s, i)))
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
    if (has_stride(l))
        stride = l->stride;
    if (empty || g->repeat < 1 || (g->body == RS_CONCAT && g->branches < 2) ||
        (g->from_pre && !any_left(g->pre, g->npre)) || (g->zero_gamma && !body_has_bn(w->s, i)))
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
            if (!walk_stage(w, l, &l->stage[j], has_stride(l) || !taken ? l->stride : taken, a))
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

/* The same of a network as it is made: numbers of groups are chosen. */
static bool finish(RandSpec *s, Shape *out)
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

/* The same with words in it, where one of a few ways to put them fits. */
static void with_words(RandSpec *s, uint64_t seed, bool (*fits)(const RandSpec *s, uint64_t seed))
{
    Rng own = {seed ^ 0x5ea1edu}; /* other draws stay as they are */
    Shape end;
    for (int i = 0; i < 8; i++) {
        RandSpec t = *s;
        rs_use_words(&own, &t);
        if (finish(&t, &end) && fits(&t, seed)) {
            *s = t;
            return;
        }
    }
}

/* ---- printing ---- */

static const char *word(OpKind op)
{
    return op_info[op].name;
}

static bool square(const int v[2])
{
    return v[0] == v[1];
}

static bool uneven(const RsEnds *e)
{
    return e->same || e->more[0] || e->more[1];
}

/* Padding in an order: 1, 0:1, 0:1x1:1, same. */
static void print_sides(const int padding[2], const RsEnds *e, FILE *to)
{
    if (e->same) {
        fputs(", same", to);
        return;
    }
    const bool alike = padding[0] == padding[1] && e->more[0] == e->more[1];
    for (int d = 0; d < (alike ? 1 : 2); d++) {
        fprintf(to, "%s%d", d ? "x" : ", ", padding[d]);
        if (e->more[d])
            fprintf(to, ":%d", padding[d] + e->more[d]);
    }
}

static void print_stage(const RsStage *t, FILE *to)
{
    if (t->as_act || t->as_norm) {
        fputs(t->as_act ? "act" : "norm", to);
        return;
    }
    fputs(t->op == OP_KINDS ? "none" : word(t->op), to);
    if (t->op == OP_KINDS)
        return;
    Arg usual[OP_ARGS];
    op_usual_args(t->op, usual);
    if (op_info[t->op].cls == CLASS_POINT && (op_must_args(t->op) || !op_same_args(t->op, t->arg, usual))) {
        for (int k = 0; k < op_may_args(t->op) && t->arg[op_arg_at(t->op, k)].real != INFINITY; k++)
            fprintf(to, "%s%g", k ? ", " : "(", t->arg[op_arg_at(t->op, k)].real);
        fputs(")", to);
    }
    if (t->op == OP_GN && t->arg[ARG_NORM_GROUPS].count != usual[ARG_NORM_GROUPS].count)
        fprintf(to, "(%d)", t->arg[ARG_NORM_GROUPS].count);
    if (t->op != OP_MAXPOOL && t->op != OP_AVGPOOL)
        return;
    const bool padded = t->padding[0] || t->padding[1] || uneven(&t->ends);
    fprintf(to, "(%d", t->k[0]);
    if (t->stride[0] != t->k[0] || padded)
        fprintf(to, ", %d", t->stride[0]);
    if (padded)
        print_sides(t->padding, &t->ends, to);
    fprintf(to, "%s%s)", t->inside && t->op == OP_AVGPOOL ? ", inside" : "", t->ceil ? ", ceil" : "");
}

static void print_pair(const char *key, const int v[2], FILE *to)
{
    if (square(v))
        fprintf(to, ", %s: %d", key, v[0]);
    else
        fprintf(to, ", %s: [%d, %d]", key, v[0], v[1]);
}

/* Padding by side, as a key; of a length two numbers. */
static void print_ends(const int v[2], const RsEnds *e, int dims, FILE *to)
{
    if (e->same)
        fputs(", padding: same", to);
    else if (!uneven(e))
        print_pair("padding", v, to);
    else if (dims == 1)
        fprintf(to, ", padding: [%d, %d]", v[1], v[1] + e->more[1]);
    else
        fprintf(to, ", padding: [%d, %d, %d, %d]", v[0], v[0] + e->more[0], v[1], v[1] + e->more[1]);
}

/* An activation or a norm as the value of a key; a comma needs quotes. */
static void print_word(const char *before, const RsStage *t, const char *behind, FILE *to)
{
    const char *quote = t->op != OP_KINDS && op_may_args(t->op) > 1 ? "\"" : "";
    fprintf(to, "%s%s", before, quote);
    print_stage(t, to);
    fprintf(to, "%s%s", quote, behind);
}

static void print_bare(const RsLayer *l, int indent, FILE *to)
{
    const RsStage *t = &l->stage[0];
    fprintf(to, "%*s- ", indent, "");
    if (t->as_norm && l->norm.op) {
        print_word("norm: ", &l->norm, "\n", to);
        return;
    }
    if ((t->op == OP_MAXPOOL || t->op == OP_AVGPOOL) && !(square(t->k) && square(t->stride) && square(t->padding))) {
        fprintf(to, "%s: {k: [%d, %d], stride: [%d, %d]", word(t->op), t->k[0], t->k[1], t->stride[0], t->stride[1]);
        print_ends(t->padding, &t->ends, 2, to);
        fprintf(to, "%s%s}\n", t->inside && t->op == OP_AVGPOOL ? ", count_include_pad: false" : "",
                t->ceil ? ", ceil_mode: true" : "");
        return;
    }
    print_stage(t, to);
    fputs("\n", to);
}

static void print_stages(const RsStage *t, int n, FILE *to)
{
    for (int j = 0; j < n; j++) {
        fputs(j ? "-" : "", to);
        print_stage(&t[j], to);
    }
}

static void print_order(const RsLayer *l, FILE *to)
{
    print_stages(l->stage, l->nstage, to);
}

/* Whether both orders read the same; "act" may mean different things in them. */
static bool same_order(const RsLayer *a, const RsLayer *b)
{
    if (a->nstage != b->nstage || a->block != b->block)
        return false;
    for (int j = 0; j < a->nstage; j++) {
        const RsStage *s = &a->stage[j], *t = &b->stage[j];
        bool words = s->as_act || s->as_norm;
        if (s->as_act != t->as_act || s->as_norm != t->as_norm ||
            (!words && (s->op != t->op || (s->op != OP_KINDS && !op_same_args(s->op, s->arg, t->arg)))) ||
            memcmp(&s->ends, &t->ends, sizeof s->ends) != 0 || s->ceil != t->ceil || s->inside != t->inside)
            return false;
    }
    return true;
}

/* `usual`: the block whose order the network, the group or the block's preset has, or NULL. */
static void print_block(const RandSpec *s, int index, bool last, const RsLayer *usual, int indent, FILE *to)
{
    static const char *const bias[] = {NULL, "auto", "true", "false"};
    const RsLayer *l = &s->layer[index];
    const RsPreset *preset = rs_preset_of(s, index);
    fprintf(to, "%*s- %s: ", indent, "", word(l->block));
    if (l->block == OP_LINEAR && l->nstage == 1 && !l->bias && !l->own_act && !l->named && l->out) {
        if (last)
            fputs("classes\n", to);
        else
            fprintf(to, "%d\n", l->out);
        return;
    }
    if (l->out)
        fprintf(to, "{out: %d", l->out);
    else
        fprintf(to, "{bias: %s", bias[l->bias ? l->bias : 1]); /* so that a comma may follow */
    if (l->block == OP_CONV) {
        int same[2] = {l->kernel[0] / 2, l->kernel[1] / 2};
        print_pair("kernel", l->kernel, to);
        if (has_stride(l))
            print_pair("stride", l->stride, to);
        if (l->padding[0] != same[0] || l->padding[1] != same[1] || l->dilation[0] || uneven(&l->ends))
            print_ends(l->padding, &l->ends, s->dims, to);
        if (l->dilation[0])
            print_pair("dilation", l->dilation, to);
        if (l->groups > 0)
            fprintf(to, ", groups: %d", l->groups);
        if (l->groups < 0)
            fputs(", groups: depthwise", to);
    }
    if (l->bias && l->out)
        fprintf(to, ", bias: %s", bias[l->bias]);
    bool acts = false, words = false, norms = false, bns = false; /* what does nothing is warned about */
    for (int j = 0; j < l->nstage; j++) {
        acts |= l->stage[j].as_act;
        words |= l->stage[j].as_norm;
        norms |= op_is_norm(l->stage[j].op);
        bns |= l->stage[j].op == OP_BN;
    }
    if (preset)
        fprintf(to, ", preset: %s", preset->name);
    if (l->own_act && acts)
        print_word(", act: ", &l->act, "", to);
    if (l->norm.op && words)
        print_word(", norm: ", &l->norm, "", to);
    if (l->eps > 0 && norms)
        fprintf(to, ", eps: %g", l->eps);
    if (l->momentum > 0 && bns)
        fprintf(to, ", momentum: %g", l->momentum);
    if (l->named)
        fprintf(to, ", name: layer_%d", index);
    usual = preset ? rs_preset_block(preset, false) : usual;
    if (!usual || !same_order(l, usual)) {
        fputs(", order: \"", to);
        print_order(l, to);
        fputs("\"", to);
    }
    fputs("}\n", to);
}

static void print_around(const char *key, const RsStage *t, int n, int indent, FILE *to)
{
    if (!n)
        return;
    fprintf(to, "%*s%s: \"", indent, "", key);
    print_stages(t, n, to);
    fputs("\"\n", to);
}

static void print_shortcut(const RsGroup *g, int indent, FILE *to)
{
    if (g->kind == RS_IDENTITY || g->kind == RS_PAD)
        fprintf(to, "%*sshortcut: %s\n", indent, "", g->kind == RS_PAD ? "pad" : "identity");
    if (g->kind == RS_CONV)
        print_around("shortcut", g->shortcut, g->nshortcut, indent, to);
    if (g->kind == RS_ALWAYS) {
        fprintf(to, "%*sshortcut: {always: true, order: \"", indent, "");
        print_stages(g->shortcut, g->nshortcut, to);
        fputs("\"}\n", to);
    }
    if (g->from_pre)
        fprintf(to, "%*sshortcut_from: pre\n", indent, "");
    if (g->zero_gamma)
        fprintf(to, "%*szero_gamma: true\n", indent, "");
}

/* The conv block whose order those inside a group need not write, since the group writes it; NULL: none. */
static const RsLayer *group_order(const RandSpec *s, int group)
{
    for (int i = 0; s->layer[group].group.own_order && i < s->nlayer; i++)
        if (s->layer[i].parent == group + 1 && s->layer[i].block == OP_CONV)
            return &s->layer[i];
    return NULL;
}

static void print_chain(const RandSpec *s, int parent, int branch, const RsLayer *usual, int indent, FILE *to);

/* The values of a group's own keys, then its body. */
static void print_group(const RandSpec *s, int i, const RsLayer *outer, int indent, FILE *to)
{
    static const char *const bodies[] = {[RS_LAYERS] = "layers", [RS_RESIDUAL] = "residual", [RS_CONCAT] = "concat"};
    const RsLayer *l = &s->layer[i], *own = group_order(s, i), *usual = own ? own : outer;
    const RsGroup *g = &l->group;
    const RsPreset *preset = rs_preset_of(s, i);
    bool whole = preset && rs_body_is_presets(s, i);
    if (preset && (whole || !own))
        usual = rs_preset_block(preset, g->body == RS_RESIDUAL);
    fprintf(to, "%*s- stage:\n", indent, "");
    indent += 4;
    if (l->named)
        fprintf(to, "%*sname: group_%d\n", indent, "", i);
    fprintf(to, "%*srepeat: %d\n", indent, "", g->repeat);
    if (l->out)
        fprintf(to, "%*sout: %d\n", indent, "", l->out);
    if (has_stride(l))
        fprintf(to, l->stride[0] == l->stride[1] ? "%*sstride: %d\n" : "%*sstride: [%d, %d]\n", indent, "",
                l->stride[0], l->stride[1]);
    if (preset)
        fprintf(to, "%*spreset: %s\n", indent, "", preset->name);
    if (l->norm.op) {
        fprintf(to, "%*s", indent, "");
        print_word("norm: ", &l->norm, "\n", to);
    }
    if (whole) {
        if (g->zero_gamma)
            fprintf(to, "%*szero_gamma: true\n", indent, "");
        return;
    }
    if (own)
        print_around("order", own->stage, own->nstage, indent, to);
    print_around("pre", g->pre, g->npre, indent, to);
    print_around("post", g->post, g->npost, indent, to);
    if (g->body == RS_RESIDUAL)
        print_shortcut(g, indent, to);
    fprintf(to, "%*s%s:\n", indent, "", bodies[g->body]);
    for (int b = 0; b < g->branches && g->body == RS_CONCAT; b++) {
        bool empty = rs_next(s, 0, i + 1, b) == s->nlayer;
        fprintf(to, "%*s-%s\n", indent + 2, "", empty ? " []" : "");
        print_chain(s, i + 1, b, usual, indent + 4, to);
    }
    if (g->body != RS_CONCAT)
        print_chain(s, i + 1, 0, usual, indent + 2, to);
    if (rs_next(s, 0, i + 1, RS_TRANSITION) < s->nlayer)
        fprintf(to, "%*stransition:\n", indent, "");
    print_chain(s, i + 1, RS_TRANSITION, usual, indent + 2, to);
}

static void print_chain(const RandSpec *s, int parent, int branch, const RsLayer *usual, int indent, FILE *to)
{
    for (int i = rs_next(s, 0, parent, branch); i < s->nlayer; i = rs_next(s, i + 1, parent, branch))
        if (s->layer[i].group.body)
            print_group(s, i, usual, indent, to);
        else if (s->layer[i].block == OP_KINDS)
            print_bare(&s->layer[i], indent, to);
        else
            print_block(s, i, i == s->nlayer - 1 && !parent, usual, indent, to);
}

static void copy_side(int v[2])
{
    v[0] = v[1];
}

static bool is_pool(const RsStage *t)
{
    return t->op == OP_MAXPOOL || t->op == OP_AVGPOOL;
}

/* Where there is a length only, sizes are one number: the same in both directions is printed so. */
static void copy_sides(RandSpec *s)
{
    for (int i = 0; i < s->nlayer; i++) {
        RsLayer *l = &s->layer[i];
        copy_side(l->kernel), copy_side(l->stride), copy_side(l->padding), copy_side(l->dilation);
        copy_side(l->ends.more);
        RsStage *list[] = {l->stage, l->group.pre, l->group.post};
        int n[] = {l->nstage, l->group.npre, l->group.npost};
        for (int k = 0; k < 3; k++)
            for (int j = 0; j < n[k]; j++)
                if (is_pool(&list[k][j])) {
                    copy_side(list[k][j].k), copy_side(list[k][j].stride), copy_side(list[k][j].padding);
                    copy_side(list[k][j].ends.more);
                }
    }
}

void rs_print(const RandSpec *given, FILE *to)
{
    RandSpec copy = *given, *s = &copy;
    Shape end = {0};
    rs_settle(s);
    rs_valid(s, &end);
    if (s->dims == 1)
        copy_sides(s);
    const RsPreset *preset = rs_top_preset(s);
    const RsLayer *usual = NULL;
    for (int i = s->nlayer - 1; i >= 0 && s->top_order; i--)
        usual = s->layer[i].block == OP_CONV ? &s->layer[i] : usual;
    fprintf(to, s->dims == 1 ? "name: chain\ninput: [%d, %d]\n" : "name: chain\ninput: [%d, %d, %d]\n", s->input[0],
            s->input[s->dims == 1 ? 2 : 1], s->input[2]);
    fprintf(to, "classes: %d\n", end.c);
    if (!preset || !preset->relu || s->act.op != OP_RELU)
        print_word("act: ", &s->act, "\n", to);
    if (preset)
        fprintf(to, "preset: %s\n", preset->name);
    if (s->norm.op)
        print_word("norm: ", &s->norm, "\n", to);
    if (usual) {
        fputs("order: \"", to);
        print_order(usual, to);
        fputs("\"\n", to);
    }
    if (!usual && preset)
        usual = rs_preset_block(preset, false);
    if (s->recompute)
        fprintf(to, "recompute: %d\n", s->recompute);
    fputs("layers:\n", to);
    print_chain(s, 0, 0, usual, 2, to);
    fprintf(to, "train: {data: shapes, batch: %d}\n", s->batch);
}

/* ---- making ---- */

OpKind rs_random_act(Rng *r)
{
    int n = 0, pick;
    for (OpKind k = 0; k < OP_KINDS; k++)
        n += op_is_act(k);
    if (rng_chance(r, 0.2))
        return OP_RELU;
    pick = rng_int(r, 0, n - 1);
    for (OpKind k = 0; k < OP_KINDS; k++)
        if (op_is_act(k) && pick-- == 0)
            return k;
    return OP_RELU;
}

OpKind rs_random_image_norm(Rng *r)
{
    int n = 0, pick;
    for (OpKind k = 0; k < OP_KINDS; k++)
        n += op_is_norm(k) && k != OP_BN;
    pick = rng_int(r, 0, n - 1);
    for (OpKind k = 0; k < OP_KINDS; k++)
        if (op_is_norm(k) && k != OP_BN && pick-- == 0)
            return k;
    return OP_GN;
}

/* With its usual arguments, or others that acts.c has. */
static RsStage act_stage(Rng *r, OpKind op, bool usual)
{
    RsStage t = {.op = op};
    int nth = usual ? 0 : rng_int(r, 0, 2);
    while (!act_args(op, nth, t.arg))
        nth--;
    return t;
}

static RsStage random_stage(Rng *r, OpKind op, RsStage act, bool bare)
{
    RsStage t = {.op = op};
    if (op == OP_RELU) { /* stands for any activation */
        bool as_act = rng_chance(r, 0.6);
        t = as_act ? act : act_stage(r, rs_random_act(r), false);
        t.as_act = as_act;
    }
    if (op == OP_BN && rng_chance(r, 0.4)) /* stands for any norm */
        t.op = rs_random_image_norm(r);
    if (op == OP_DROP)
        t.arg[0].real = (double[]){0, 0.1, 0.25, 0.5, 0.8}[rng_int(r, 0, 4)];
    if (op == OP_MAXPOOL || op == OP_AVGPOOL)
        for (int d = 0; d < 2; d++) {
            bool copy = d && !(bare && rng_chance(r, 0.4));
            t.k[d] = copy ? t.k[0] : rng_int(r, rng_chance(r, 0.1) ? 1 : 2, 3);
            t.stride[d] = copy ? t.stride[0] : rng_chance(r, 0.6) ? t.k[d] : rng_int(r, 1, 3);
            t.padding[d] = copy ? t.padding[0] : rng_chance(r, 0.3) ? t.k[d] / 2 : 0;
        }
    return t;
}

/* An order: the weight op with stages around it in any sequence. */
static void random_order(Rng *r, RsLayer *l, bool windows)
{
    RsStage pick[RS_MOST_STAGES] = {{.op = l->block}};
    int n = 1;
    static const struct {
        OpKind op;
        double p;
    } menu[] = {{OP_BN, 0.65},   {OP_BN, 0.22},      {OP_RELU, 0.75},  {OP_RELU, 0.12},
                {OP_DROP, 0.15}, {OP_MAXPOOL, 0.16}, {OP_AVGPOOL, 0.1}};
    for (size_t i = 0; i < sizeof menu / sizeof *menu; i++)
        if (rng_chance(r, menu[i].p) && (windows || (menu[i].op != OP_MAXPOOL && menu[i].op != OP_AVGPOOL)))
            pick[n++] = random_stage(r, menu[i].op, l->act, false);
    bool usual = rng_chance(r, 0.35); /* the weight op first */
    for (int i = n - 1; i > (usual ? 1 : 0); i--) {
        int j = rng_int(r, usual ? 1 : 0, i);
        RsStage t = pick[i];
        pick[i] = pick[j];
        pick[j] = t;
    }
    memcpy(l->stage, pick, sizeof pick);
    l->nstage = n;
}

static int random_channels(Rng *r)
{
    static const int odd[] = {1, 2, 3, 5, 7, 8, 13, 15, 16, 17, 20, 31, 32, 33, 40};
    return rng_chance(r, 0.5) ? odd[rng_int(r, 0, 14)] : rng_int(r, 1, 24);
}

static RsLayer random_block(Rng *r, const RandSpec *s, OpKind kind, int out)
{
    RsLayer l = {
        .block = kind, .out = out, .kernel = {1, 1}, .stride = {1, 1}, .act = s->act, .named = rng_chance(r, 0.2)};
    l.bias = rng_int(r, 0, 3);
    if (rng_chance(r, 0.3)) {
        l.own_act = true;
        l.act = act_stage(r, rs_random_act(r), false);
    }
    if (rng_chance(r, 0.1))
        l.eps = 1e-3;
    if (rng_chance(r, 0.1))
        l.momentum = 0.3;
    for (int d = 0; d < 2 && kind == OP_CONV; d++) {
        bool copy = d && !rng_chance(r, 0.25);
        l.kernel[d] = copy ? l.kernel[0] : (int[]){1, 2, 3, 3, 3, 3, 3, 4, 5}[rng_int(r, 0, 8)];
        l.stride[d] = copy ? l.stride[0] : (int[]){1, 1, 1, 1, 2, 2, 3}[rng_int(r, 0, 6)];
        l.padding[d] = copy ? l.padding[0] : rng_chance(r, 0.7) ? l.kernel[d] / 2 : rng_int(r, 0, l.kernel[d] - 1);
    }
    random_order(r, &l, kind == OP_CONV);
    return l;
}

static RsLayer random_bare(Rng *r, const RandSpec *s, OpKind op)
{
    return (RsLayer){.block = OP_KINDS, .act = s->act, .stage = {random_stage(r, op, s->act, true)}, .nstage = 1};
}

static void add(Rng *r, RandSpec *s, RsLayer l)
{
    if (s->nlayer == RS_MOST_CHAIN)
        return;
    if (l.block == OP_CONV && s->top_order && s->nlayer && rng_chance(r, 0.5)) /* the order of an earlier block */
        for (int i = 0; i < s->nlayer; i++)
            if (s->layer[i].block == OP_CONV && !s->layer[i].own_act && !l.own_act) {
                memcpy(l.stage, s->layer[i].stage, sizeof l.stage);
                l.nstage = s->layer[i].nstage;
                break;
            }
    s->layer[s->nlayer++] = l;
}

static void maybe_bare(Rng *r, RandSpec *s, double p, bool windows)
{
    static const OpKind kinds[] = {OP_BN, OP_BN, OP_RELU, OP_DROP, OP_MAXPOOL, OP_AVGPOOL};
    while (rng_chance(r, p))
        add(r, s, random_bare(r, s, kinds[rng_int(r, 0, windows ? 5 : 3)]));
}

static RandSpec attempt(Rng *r)
{
    RandSpec s = {.act = act_stage(r, rs_random_act(r), false), .batch = rng_int(r, 1, 9)};
    s.n = rng_chance(r, 0.5) ? s.batch : rng_int(r, 1, s.batch);
    s.n_predict = rng_int(r, 1, 11);
    s.top_order = rng_chance(r, 0.4);
    s.input[0] = rng_chance(r, 0.5) ? rng_int(r, 1, 4) : random_channels(r);
    s.input[1] = rng_int(r, 1, 14);
    s.input[2] = rng_chance(r, 0.5) ? s.input[1] : rng_int(r, 1, 14);
    bool flat = rng_chance(r, 0.1); /* no image at all */
    if (flat)
        s.input[1] = s.input[2] = 1;
    maybe_bare(r, &s, 0.25, !flat);
    for (int i = flat ? 0 : rng_int(r, 0, 3); i > 0; i--) {
        add(r, &s, random_block(r, &s, OP_CONV, random_channels(r)));
        maybe_bare(r, &s, 0.12, true);
    }
    int classes = rng_chance(r, 0.7) ? rng_int(r, 2, 10) : rng_int(r, 2, 35);
    if (!flat && rng_chance(r, 0.2)) { /* ends without a linear layer */
        RsLayer l = random_block(r, &s, OP_CONV, classes);
        if (rng_chance(r, 0.5)) {
            l.stage[l.nstage < RS_MOST_STAGES ? l.nstage++ : l.nstage - 1] = (RsStage){.op = OP_GLOBAL_AVG_POOL};
            add(r, &s, l);
        } else {
            add(r, &s, l);
            add(r, &s, random_bare(r, &s, OP_GLOBAL_AVG_POOL));
        }
    } else {
        if (!flat)
            add(r, &s, random_bare(r, &s, rng_chance(r, 0.5) ? OP_FLATTEN : OP_GLOBAL_AVG_POOL));
        maybe_bare(r, &s, 0.1, false);
        for (int i = rng_chance(r, 0.4) ? rng_int(r, 1, 2) : 0; i > 0; i--)
            add(r, &s, random_block(r, &s, OP_LINEAR, random_channels(r)));
        RsLayer l = random_block(r, &s, OP_LINEAR, classes);
        if (rng_chance(r, 0.6)) {
            l.stage[0] = (RsStage){.op = OP_LINEAR};
            l.nstage = 1;
        }
        add(r, &s, l);
    }
    maybe_bare(r, &s, 0.12, false);
    return s;
}

/* ---- making graphs ---- */

/* Where a graph's layers are made. `keep`: heights and widths must stay, since a join follows; `c`: the channels there,
 * 0 where only the shape rules know. */
typedef struct Spot {
    int parent, branch, depth, c;
    bool keep, features; /* features: 1 x 1, so that blocks are linear */
} Spot;

static int few_channels(Rng *r)
{
    static const int some[] = {1, 2, 3, 3, 5, 6, 7, 8, 9, 12, 13, 15, 16, 17, 20, 24};
    return some[rng_int(r, 0, 15)];
}

/* A window of three, one pixel apart: what it gives is as large as what it reads. */
static void keep_stage(RsStage *t)
{
    for (int d = 0; d < 2 && (t->op == OP_MAXPOOL || t->op == OP_AVGPOOL); d++) {
        t->k[d] = 3;
        t->stride[d] = t->padding[d] = 1;
    }
}

static RsLayer *put(RandSpec *s, const Spot *p, RsLayer l)
{
    if (s->nlayer == RS_MOST_LAYERS)
        return NULL;
    l.parent = p->parent;
    l.branch = p->branch;
    s->layer[s->nlayer] = l;
    return &s->layer[s->nlayer++];
}

/* Groups of channels, and taps that stand apart. */
static void conv_form(Rng *r, RsLayer *l, Spot *p)
{
    int in = p->c;
    if (rng_chance(r, 0.15) && in) {
        l->groups = -1;
        l->out = rng_chance(r, 0.6) ? 0 : in * rng_int(r, 1, 2);
        p->c = l->out ? l->out : in;
    } else if (rng_chance(r, 0.35) && in > 1 && l->out) {
        l->groups = rng_int(r, 2, in > 6 ? 6 : in);
        while (in % l->groups)
            l->groups--;
        l->out = p->c = l->groups * rng_int(r, 1, 1 + 12 / l->groups);
    }
    if (rng_chance(r, 0.15)) {
        int by = rng_int(r, 2, 3);
        for (int d = 0; d < 2; d++)
            l->dilation[d] = rng_chance(r, 0.85) ? by : 1;
    }
    for (int d = 0; d < 2 && p->keep; d++) {
        l->kernel[d] = d && rng_chance(r, 0.8) ? l->kernel[0] : (int[]){1, 1, 3, 3, 3, 5}[rng_int(r, 0, 5)];
        l->padding[d] = (l->dilation[d] ? l->dilation[d] : 1) * (l->kernel[d] / 2);
        l->stride[d] = 1;
    }
}

/* A block; out 0: the group's. */
static void put_block(Rng *r, RandSpec *s, Spot *p, int out, bool plain)
{
    RsLayer l = random_block(r, s, p->features ? OP_LINEAR : OP_CONV, out);
    for (int j = 0; j < l.nstage && p->keep; j++)
        keep_stage(&l.stage[j]);
    p->c = out ? out : p->c; /* a group's out is told by the caller */
    if (!p->features && !plain)
        conv_form(r, &l, p);
    else if (!p->features && p->keep)
        for (int d = 0; d < 2; d++) {
            l.kernel[d] = (int[]){1, 3}[rng_int(r, 0, 1)];
            l.padding[d] = l.kernel[d] / 2;
            l.stride[d] = 1;
        }
    put(s, p, l);
}

static void put_bare(Rng *r, RandSpec *s, const Spot *p)
{
    static const OpKind kinds[] = {OP_BN, OP_RELU, OP_BN, OP_RELU, OP_DROP, OP_MAXPOOL, OP_AVGPOOL};
    RsLayer l = random_bare(r, s, kinds[rng_int(r, 0, p->features ? 4 : 6)]);
    if (p->keep)
        keep_stage(&l.stage[0]);
    put(s, p, l);
}

static void put_group(Rng *r, RandSpec *s, Spot *p);

/* One to three layers, groups among them. */
static void put_chain(Rng *r, RandSpec *s, Spot *p, int out)
{
    for (int i = rng_int(r, 1, p->depth > 1 ? 2 : 3); i > 0; i--) {
        if (p->depth < 3 && rng_chance(r, 0.22)) {
            put_group(r, s, p);
        } else if (rng_chance(r, 0.25)) {
            put_bare(r, s, p);
        } else {
            bool inherit = out && rng_chance(r, 0.7);
            put_block(r, s, p, inherit ? 0 : few_channels(r), false);
            if (inherit && s->layer[s->nlayer - 1].groups >= 0)
                p->c = out;
        }
    }
}

/* Stages without weights around a group's body. */
static int around(Rng *r, const RandSpec *s, const Spot *p, double chance, RsStage *t)
{
    static const OpKind kinds[] = {OP_RELU, OP_BN, OP_RELU, OP_RELU, OP_DROP, OP_MAXPOOL, OP_AVGPOOL};
    int n = rng_chance(r, chance) ? rng_int(r, 1, 3) : 0;
    for (int j = 0; j < n; j++) {
        t[j] = random_stage(r, kinds[rng_int(r, 0, p->features || rng_chance(r, 0.6) ? 4 : 6)], s->act, false);
        keep_stage(&t[j]);
    }
    return n;
}

static void shortcut_order(Rng *r, const RandSpec *s, RsGroup *g)
{
    static const OpKind orders[][3] = {
        {OP_CONV, OP_BN}, {OP_CONV}, {OP_BN, OP_CONV}, {OP_CONV, OP_BN, OP_RELU}, {OP_RELU, OP_CONV}};
    int k = g->kind == RS_PLAIN ? 0 : rng_int(r, 0, 4);
    g->nshortcut = 0;
    for (int j = 0; j < 3 && orders[k][j]; j++)
        g->shortcut[g->nshortcut++] = random_stage(r, orders[k][j], s->act, false);
}

/* A pool at the end of a residual's branch that reduces the image instead of its first conv. */
static void pool_strides(RandSpec *s, int i, Spot *p)
{
    int first = rs_next(s, 0, i + 1, 0);
    while (first < s->nlayer && s->layer[first].block != OP_CONV && !s->layer[first].group.body)
        first = rs_next(s, first + 1, i + 1, 0);
    if (first == s->nlayer || s->layer[first].group.body)
        return;
    RsLayer pool = {.block = OP_KINDS, .kernel = {1, 1}, .stride = {1, 1}, .nstage = 1};
    pool.act = s->act;
    pool.stage[0] = (RsStage){.op = OP_MAXPOOL, .k = {3, 3}, .padding = {1, 1}};
    memcpy(pool.stage[0].stride, s->layer[i].stride, sizeof pool.stage[0].stride);
    s->layer[first].says_stride = true;
    put(s, p, pool);
}

static void residual_body(Rng *r, RandSpec *s, int i, Spot *in)
{
    RsGroup *g = &s->layer[i].group;
    Spot p = {.parent = i + 1, .depth = in->depth + 1, .c = in->c, .keep = true, .features = in->features};
    put_chain(r, s, &p, s->layer[i].out);
    g->kind = (RsShortcut)rng_int(r, RS_PLAIN, RS_ALWAYS);
    if (in->c && (g->kind == RS_IDENTITY || g->kind == RS_PAD || rng_chance(r, 0.2))) {
        int more = g->kind == RS_PAD ? rng_int(r, 0, 5) : 0;
        if (g->kind == RS_IDENTITY || p.c < in->c || p.c == 0)
            put_block(r, s, &p, in->c + more, true);
    }
    shortcut_order(r, s, g);
    g->from_pre = g->npre && rng_chance(r, 0.5);
    g->zero_gamma = body_has_bn(s, i) && rng_chance(r, 0.3);
    if (g->kind != RS_IDENTITY && !in->features && !in->keep && rng_chance(r, 0.5))
        for (int d = 0; d < 2; d++)
            s->layer[i].stride[d] = d && rng_chance(r, 0.7) ? s->layer[i].stride[0] : rng_int(r, 1, 3);
    if (has_stride(&s->layer[i]) && rng_chance(r, 0.25))
        pool_strides(s, i, &p);
    in->c = p.c;
}

/* Where a group's branches reduce the image, each does it in its first layer: convs with the group's stride, or each
 * with its own, pools too. */
static void concat_strides(RandSpec *s, int i)
{
    RsLayer *l = &s->layer[i];
    int convs = 0;
    for (int b = 0; b < l->group.branches; b++) {
        int first = rs_next(s, 0, i + 1, b);
        OpKind op = first == s->nlayer                 ? OP_KINDS
                    : s->layer[first].block == OP_CONV ? OP_CONV
                                                       : s->layer[first].stage[0].op;
        if (op != OP_CONV && op != OP_MAXPOOL && op != OP_AVGPOOL)
            return;
        convs += op == OP_CONV;
    }
    for (int b = 0; b < l->group.branches && convs < l->group.branches; b++) {
        RsLayer *first = &s->layer[rs_next(s, 0, i + 1, b)];
        int *stride = first->block == OP_CONV ? first->stride : first->stage[0].stride;
        stride[0] = stride[1] = 2;
    }
    if (convs == l->group.branches)
        l->stride[0] = l->stride[1] = 2;
}

static void concat_body(Rng *r, RandSpec *s, int i, Spot *in)
{
    RsGroup *g = &s->layer[i].group;
    int sum = 0;
    g->branches = rng_int(r, 2, rng_chance(r, 0.2) ? RS_MOST_BRANCHES : 3);
    for (int b = 0; b < g->branches; b++) {
        Spot p = {
            .parent = i + 1, .branch = b, .depth = in->depth + 1, .c = in->c, .keep = true, .features = in->features};
        if (!rng_chance(r, 0.3))
            put_chain(r, s, &p, s->layer[i].out);
        sum += p.c;
    }
    if (!in->keep && !in->features && rng_chance(r, 0.4))
        concat_strides(s, i);
    in->c = sum;
    if (rng_chance(r, 0.25)) {
        Spot p = {.parent = i + 1,
                  .branch = RS_TRANSITION,
                  .depth = in->depth + 1,
                  .keep = in->keep,
                  .features = in->features};
        put_block(r, s, &p, few_channels(r), true);
        in->c = p.c;
        if (!in->features)
            put_bare(r, s, &p);
    }
}

static void put_group(Rng *r, RandSpec *s, Spot *p)
{
    RsLayer l = {.block = OP_KINDS, .kernel = {1, 1}, .stride = {1, 1}, .act = s->act, .named = rng_chance(r, 0.2)};
    int i = s->nlayer;
    l.group.body = (RsBody[]){RS_RESIDUAL, RS_RESIDUAL, RS_RESIDUAL, RS_CONCAT, RS_CONCAT, RS_LAYERS}[rng_int(r, 0, 5)];
    l.group.repeat = rng_chance(r, 0.7) ? 1 : rng_int(r, 2, 3);
    l.group.own_order = rng_chance(r, 0.3);
    l.out = rng_chance(r, 0.3) ? few_channels(r) : 0;
    l.group.npre = around(r, s, p, 0.4, l.group.pre);
    l.group.npost = around(r, s, p, 0.5, l.group.post);
    if (!put(s, p, l))
        return;
    if (l.group.body == RS_RESIDUAL) {
        residual_body(r, s, i, p);
    } else if (l.group.body == RS_CONCAT) {
        concat_body(r, s, i, p);
    } else {
        Spot in = {.parent = i + 1, .depth = p->depth + 1, .c = p->c, .keep = p->keep, .features = p->features};
        put_chain(r, s, &in, l.out);
        p->c = in.c;
    }
    if (l.group.repeat > 1 && l.group.body == RS_CONCAT)
        p->c = 0; /* each repeat reads more */
}

/* The image's end: features, by pooling, by flatten, or by both beside each other. */
static void put_end(Rng *r, RandSpec *s, Spot *p)
{
    RsLayer l = {.block = OP_KINDS, .kernel = {1, 1}, .stride = {1, 1}, .act = s->act};
    OpKind ends[] = {OP_GLOBAL_AVG_POOL, OP_FLATTEN};
    if (!rng_chance(r, 0.25)) {
        put(s, p, random_bare(r, s, ends[rng_int(r, 0, 1)]));
        return;
    }
    int i = s->nlayer;
    l.group = (RsGroup){.body = RS_CONCAT, .branches = rng_int(r, 2, 3), .repeat = 1};
    if (!put(s, p, l))
        return; /* no room: thrown away */
    for (int b = 0; b < s->layer[i].group.branches; b++) {
        Spot in = {.parent = i + 1, .branch = b, .depth = p->depth + 1, .c = p->c};
        if (rng_chance(r, 0.4))
            put_block(r, s, &in, few_channels(r), true);
        put(s, &in, random_bare(r, s, ends[rng_int(r, 0, 1)]));
        in.features = true;
        if (rng_chance(r, 0.4))
            put_block(r, s, &in, few_channels(r), true);
    }
}

/* One dimension: heights of 1. */
static void flatten_layer(RsLayer *l)
{
    RsStage *list[] = {l->stage, l->group.pre, l->group.post};
    int n[] = {l->nstage, l->group.npre, l->group.npost};
    l->kernel[0] = l->stride[0] = 1;
    l->padding[0] = l->ends.more[0] = 0;
    l->dilation[0] = l->dilation[1] ? 1 : 0;
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < n[k]; j++) {
            if (!is_pool(&list[k][j]))
                continue;
            list[k][j].k[0] = list[k][j].stride[0] = 1;
            list[k][j].padding[0] = list[k][j].ends.more[0] = 0;
        }
}

static void flatten_height(RandSpec *s)
{
    for (int i = 0; i < s->nlayer; i++)
        flatten_layer(&s->layer[i]);
}

/* In an order a window is square; a bare one need not be. */
static RandSpec attempt_graph(Rng *r)
{
    RandSpec s = {
        .act = act_stage(r, rs_random_act(r), false), .batch = rng_int(r, 1, 7), .dims = rng_chance(r, 0.2) ? 1 : 2};
    s.n = rng_chance(r, 0.5) ? s.batch : rng_int(r, 1, s.batch);
    s.n_predict = rng_int(r, 1, 9);
    s.top_order = rng_chance(r, 0.4);
    s.input[0] = rng_chance(r, 0.5) ? rng_int(r, 1, 4) : few_channels(r);
    s.input[1] = s.dims == 1 ? 1 : rng_int(r, 1, 12);
    s.input[2] = s.dims == 1 ? rng_int(r, 1, 40) : rng_chance(r, 0.5) ? s.input[1] : rng_int(r, 1, 12);
    Spot p = {.c = s.input[0]};
    for (int i = rng_int(r, 0, 2); i > 0; i--) {
        if (rng_chance(r, 0.3))
            put_bare(r, &s, &p);
        else
            put_block(r, &s, &p, few_channels(r), rng_chance(r, 0.5));
    }
    for (int i = rng_int(r, 1, 2); i > 0; i--) {
        put_group(r, &s, &p);
        if (rng_chance(r, 0.25))
            put_bare(r, &s, &p);
    }
    put_end(r, &s, &p);
    p.features = true;
    p.c = 0;
    if (rng_chance(r, 0.3)) {
        put_block(r, &s, &p, few_channels(r), true);
        put_group(r, &s, &p);
    }
    put_block(r, &s, &p, rng_chance(r, 0.8) ? rng_int(r, 2, 10) : rng_int(r, 2, 33), true);
    if (s.dims == 1)
        flatten_height(&s);
    return s;
}

/* Whether there are so many groups, and room was left for all that was made. */
static bool graph_like(const RandSpec *s, int groups)
{
    for (int i = 0; i < s->nlayer; i++)
        groups -= s->layer[i].group.body != RS_NO_GROUP;
    return groups <= 0 && s->nlayer < RS_MOST_LAYERS;
}

/* Sometimes a batch that is worth splitting into pieces of many images, or more images than the spec's batch. */
static void large_batch(RandSpec *s, uint64_t seed)
{
    Rng r = {seed ^ 0xba7c4u};
    RandSpec t = *s;
    Shape end;
    if (rng_chance(&r, 0.15)) {
        t.batch = rng_int(&r, 10, 140);
        t.n = rng_chance(&r, 0.5) ? t.batch : rng_int(&r, 2, t.batch);
        t.n_predict = rng_int(&r, 10, 90);
    } else if (rng_chance(&r, 0.06)) {
        t.n = t.batch + rng_int(&r, 1, 12);
    }
    if (rs_valid(&t, &end))
        *s = t;
}

static void insert_layer(RandSpec *s, int at, RsLayer l)
{
    memmove(&s->layer[at + 1], &s->layer[at], (size_t)(s->nlayer - at) * sizeof s->layer[0]);
    s->layer[at] = l;
    s->nlayer++;
    for (int i = 0; i < s->nlayer; i++)
        s->layer[i].parent += s->layer[i].parent > at;
}

/* A conv whose groups have whole blocks of 16 channels, in and out, behind one that makes them: somewhere among the
 * outermost layers. */
static void whole_blocks(Rng *r, RandSpec *s, int most)
{
    const int groups = rng_int(r, 2, 4), from = 16 * groups * (rng_chance(r, 0.7) ? 1 : 2),
              to = 16 * groups * (rng_chance(r, 0.7) ? 1 : 2);
    RsLayer first = random_block(r, s, OP_CONV, from), grouped = random_block(r, s, OP_CONV, to);
    int at = rng_int(r, 0, s->nlayer - 1);

    while (at > 0 && (s->layer[at].parent || s->layer[at].branch))
        at--;
    if (s->nlayer + 2 > most || s->top_order) /* the first conv would give the network its order */
        return;
    for (int d = 0; d < 2; d++)
        first.kernel[d] = first.stride[d] = 1, first.padding[d] = 0;
    grouped.groups = groups;
    if (rng_chance(r, 0.3))
        for (int d = 0; d < 2; d++)
            grouped.kernel[d] = 1, grouped.padding[d] = 0;
    if (s->dims == 1)
        flatten_layer(&first), flatten_layer(&grouped);
    insert_layer(s, at, grouped);
    insert_layer(s, at, first);
}

/* Sometimes what is larger than the others: groups of whole blocks, an input of more than 64 channels, a concat or a
 * stage that repeats. */
static void larger(RandSpec *s, uint64_t seed, int most)
{
    Rng r = {seed ^ 0x1a59e5u}; /* other draws stay as they are */
    const bool wide = rng_chance(&r, 0.1), deep = rng_chance(&r, 0.15);

    for (int i = 0; i < 16; i++) { /* where one of a few ways to do it fits */
        RandSpec t = *s;
        Shape end;
        if (wide) {
            t.input[0] = rng_int(&r, 65, 130);
            t.input[1] = t.dims == 1 ? 1 : rng_int(&r, 1, 5);
            t.input[2] = rng_int(&r, 1, 5);
        } else if (deep) {
            RsLayer *l = &t.layer[rng_int(&r, 0, t.nlayer - 1)];
            if (!l->group.body)
                continue;
            l->group.repeat = 2 + rng_int(&r, 1, 10 - i / 2); /* fewer, where many do not fit */
        } else if (seed % 5 == 3) {
            whole_blocks(&r, &t, most);
        }
        if (finish(&t, &end) && rs_valid(&t, &end)) {
            *s = t;
            return;
        }
    }
}

/* Other padding at either end, of the same sum most often, so that shapes stay as they are. */
static void other_ends(Rng *r, int padding[2], RsEnds *ends, int dims)
{
    const int most = rng_int(r, 1, 2);

    if (rng_chance(r, 0.3)) {
        ends->same = true;
        return;
    }
    for (int d = dims == 1 ? 1 : 0; d < 2; d++) {
        const int by = rng_int(r, -most, most);
        if (padding[d] + by < 0)
            continue;
        padding[d] += by;
        ends->more[d] = rng_chance(r, 0.7) ? -2 * by : rng_int(r, -padding[d], most);
    }
}

/* In some specs convs and pools are padded by side, and pools' last windows hang over the edge; where that fits. */
static void with_ends(RandSpec *s, uint64_t seed)
{
    Rng r = {seed ^ 0xe4d5u}; /* other draws stay as they are */

    if (!rng_chance(&r, 0.35))
        return;
    for (int i = 0; i < s->nlayer; i++)
        for (int j = 0; j < s->layer[i].nstage; j++) {
            RandSpec t = *s;
            RsLayer *l = &t.layer[i];
            RsStage *st = &l->stage[j];
            Shape end;
            if (st->op == OP_CONV && rng_chance(&r, 0.5)) {
                other_ends(&r, l->padding, &l->ends, t.dims);
            } else if (is_pool(st) && rng_chance(&r, 0.7)) {
                if (rng_chance(&r, 0.5))
                    st->ceil = true;
                else
                    other_ends(&r, st->padding, &st->ends, t.dims);
                st->inside = st->op == OP_AVGPOOL && (st->ends.same || rng_chance(&r, 0.4));
            }
            if (finish(&t, &end) && rs_valid(&t, &end))
                *s = t;
        }
}

static bool any_chain(const RandSpec *s, uint64_t seed)
{
    (void)seed;
    return s->nlayer <= RS_MOST_CHAIN;
}

static bool any_graph(const RandSpec *s, uint64_t seed)
{
    return graph_like(s, 1 + (int)(seed % 3));
}

RandSpec rs_random(uint64_t seed)
{
    Rng r = {seed * 0x2545f4914f6cdd1du + 1};
    for (;;) {
        RandSpec s = attempt(&r);
        Shape end;
        if (finish(&s, &end)) {
            with_words(&s, seed, any_chain);
            larger(&s, seed, RS_MOST_CHAIN);
            with_ends(&s, seed);
            large_batch(&s, seed);
            return s;
        }
    }
}

RandSpec rs_graph(uint64_t seed)
{
    Rng r = {seed * 0x2545f4914f6cdd1du + 77};
    for (;;) {
        RandSpec s = attempt_graph(&r);
        Shape end;
        if (finish(&s, &end) && any_graph(&s, seed)) {
            with_words(&s, seed, any_graph);
            larger(&s, seed, RS_MOST_LAYERS);
            with_ends(&s, seed);
            large_batch(&s, seed);
            Rng own = {seed ^ 0x5e97u}; /* other draws stay as they are */
            s.recompute = rng_chance(&own, 0.3) ? rng_int(&own, 1, 3) : 0;
            return s;
        }
    }
}

/* ---- making smaller ---- */

void rs_drop_layer(RandSpec *s, int i)
{
    for (int k = s->nlayer - 1; k > i; k--)
        if (s->layer[k].parent == i + 1)
            rs_drop_layer(s, k);
    memmove(&s->layer[i], &s->layer[i + 1], (size_t)(s->nlayer - i - 1) * sizeof s->layer[0]);
    s->nlayer--;
    for (int k = 0; k < s->nlayer; k++)
        s->layer[k].parent -= s->layer[k].parent > i + 1;
}

static void drop_branch(RandSpec *s, int group, int branch)
{
    for (int k = s->nlayer - 1; k > group; k--)
        if (s->layer[k].parent == group + 1 && s->layer[k].branch == branch)
            rs_drop_layer(s, k);
    if (branch == RS_TRANSITION)
        return;
    for (int k = group + 1; k < s->nlayer; k++)
        s->layer[k].branch -=
            s->layer[k].parent == group + 1 && s->layer[k].branch != RS_TRANSITION && s->layer[k].branch > branch;
    s->layer[group].group.branches--;
}

/* Puts a branch of a group in the group's place. */
static void ungroup(RandSpec *s, int group, int branch)
{
    const RsLayer was = s->layer[group];
    for (int k = group + 1; k < s->nlayer; k++)
        if (s->layer[k].parent == group + 1 && s->layer[k].branch == branch) {
            s->layer[k].parent = was.parent;
            s->layer[k].branch = was.branch;
            if (!s->layer[k].out && s->layer[k].groups >= 0 && s->layer[k].block != OP_KINDS)
                s->layer[k].out = was.out;
        }
    rs_drop_layer(s, group);
}

enum { GROUP_MOVES = 2 * RS_MOST_BRANCHES + 8 };

/* The move-th way to make a group smaller. */
static void shrink_group(RandSpec *s, int i, int move)
{
    RsGroup *g = &s->layer[i].group;
    if (move < RS_MOST_BRANCHES) {
        if (move < (g->body == RS_CONCAT ? g->branches : 1))
            ungroup(s, i, move);
        return;
    }
    move -= RS_MOST_BRANCHES;
    if (move < RS_MOST_BRANCHES) {
        if (g->body == RS_CONCAT && move < g->branches && g->branches > 2)
            drop_branch(s, i, move);
        return;
    }
    switch (move - RS_MOST_BRANCHES) {
    case 0:
        drop_branch(s, i, RS_TRANSITION);
        break;
    case 1:
        g->repeat = 1;
        break;
    case 2:
        g->npre = 0;
        g->from_pre = false;
        break;
    case 3:
        g->npost = 0;
        break;
    case 4:
        g->zero_gamma = g->from_pre = g->own_order = s->layer[i].named = false;
        break;
    case 5:
        g->kind = RS_IDENTITY;
        break;
    case 6:
        s->layer[i].stride[0] = s->layer[i].stride[1] = 1;
        break;
    case 7: /* a shortcut's conv alone */
        g->kind = g->kind == RS_PLAIN || g->kind == RS_ALWAYS ? RS_CONV : g->kind;
        g->shortcut[0] = (RsStage){.op = OP_CONV};
        g->nshortcut = 1;
        break;
    }
}

/* Sizes that a spec has, so that one loop can make each of them smaller. */
static int *size_at(RandSpec *s, int i, int *least)
{
    *least = 1;
    switch (i) {
    case 0:
        return &s->input[1];
    case 1:
        return &s->input[2];
    case 2:
        return &s->input[0];
    case 3:
        return &s->batch;
    case 4:
        return &s->n;
    case 5:
        return &s->n_predict;
    }
    i -= 6;
    if (i >= s->nlayer * 7)
        return NULL;
    RsLayer *l = &s->layer[i / 7];
    *least = i % 7 >= 5 ? 0 : 1;
    return (int *[]){&l->out,       &l->kernel[0],  &l->kernel[1], &l->stride[0],
                     &l->stride[1], &l->padding[0], &l->padding[1]}[i % 7];
}

RandSpec rs_shrink(const RandSpec *from, int move, bool *any)
{
    RandSpec s = *from;
    *any = true;
    if (move < s.nlayer) { /* without one layer, the last first */
        rs_drop_layer(&s, s.nlayer - 1 - move);
        return s;
    }
    move -= s.nlayer;
    for (int i = 0; i < s.nlayer; i++)
        if (s.layer[i].group.body) {
            if (move < GROUP_MOVES) {
                shrink_group(&s, i, move);
                return s;
            }
            move -= GROUP_MOVES;
        }
    for (int i = 0; i < s.nlayer; i++) /* without one stage, or with a simple one */
        for (int j = 0; j < s.layer[i].nstage; j++) {
            RsLayer *l = &s.layer[i];
            if (move-- == 0) {
                if (l->stage[j].op != l->block && l->nstage > 1) {
                    memmove(&l->stage[j], &l->stage[j + 1], (size_t)(l->nstage - j - 1) * sizeof l->stage[0]);
                    l->nstage--;
                }
                return s;
            }
        }
    if (move-- == 0) { /* words and names: written out */
        for (int i = s.preset = 0; i < s.nlayer; i++)
            s.layer[i].preset = 0;
        return s;
    }
    if (move-- == 0) {
        for (int i = s.norm.op = 0; i < s.nlayer; i++)
            s.layer[i].norm.op = 0;
        return s;
    }
    if (move-- == 0) {
        s.act = act_stage(NULL, OP_RELU, true);
        return s;
    }
    for (int i = 0; i < s.nlayer; i++) { /* plain settings */
        RsLayer *l = &s.layer[i];
        if (move-- == 0) {
            l->bias = 0;
            return s;
        }
        if (move-- == 0) {
            l->ends = (RsEnds){0};
            for (int j = 0; j < l->nstage; j++) {
                l->stage[j].ends = (RsEnds){0};
                l->stage[j].ceil = l->stage[j].inside = false;
            }
            return s;
        }
        if (move-- == 0) {
            l->eps = l->momentum = 0;
            l->named = false;
            return s;
        }
        if (s.dims && move-- == 0) {
            l->groups = l->dilation[0] = l->dilation[1] = 0;
            return s;
        }
        if (move-- == 0) {
            for (int j = 0; j < l->nstage; j++)
                if (!l->stage[j].as_norm && op_is_act(l->stage[j].op))
                    l->stage[j] = (RsStage){.op = OP_RELU};
            return s;
        }
        if (move-- == 0) {
            for (int j = 0; j < l->nstage; j++)
                if (l->stage[j].op == OP_MAXPOOL || l->stage[j].op == OP_AVGPOOL)
                    l->stage[j] = (RsStage){.op = l->stage[j].op, .k = {2, 2}, .stride = {2, 2}};
            return s;
        }
    }
    int least, *v;
    for (int cut = 0; cut < 3; cut++) /* sizes: to the least, to a half, by one */
        for (int i = 0; size_at(&s, i, &least); i++)
            if (move-- == 0) {
                v = size_at(&s, i, &least);
                if (*v == 0) /* least already, or not written */
                    return s;
                *v = cut == 0 ? least : cut == 1 ? (*v + 1) / 2 : *v - 1;
                if (*v < least)
                    *v = least;
                if (s.n > s.batch && from->n <= from->batch)
                    s.n = s.batch;
                return s;
            }
    *any = false;
    return s;
}
