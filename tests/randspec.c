/* randspec.c - random numbers, and specs made of them: chains and graphs (randspec.h). */
#include "places.h"
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

/* Puts words into a spec, where one of a few places for them fits. */
static void with_words(RandSpec *s, uint64_t seed, bool (*fits)(const RandSpec *s, uint64_t seed))
{
    Rng own = {seed ^ 0x5ea1edu}; /* other draws stay as they are */
    Shape end;
    for (int i = 0; i < 8; i++) {
        RandSpec t = *s;
        rs_use_words(&own, &t);
        if (rs_finish(&t, &end) && fits(&t, seed)) {
            *s = t;
            return;
        }
    }
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

RsStage rs_act_stage(Rng *r, OpKind op, bool usual)
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
        t = as_act ? act : rs_act_stage(r, rs_random_act(r), false);
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
        l.act = rs_act_stage(r, rs_random_act(r), false);
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
    RandSpec s = {.act = rs_act_stage(r, rs_random_act(r), false), .batch = rng_int(r, 1, 9)};
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
    g->zero_gamma = rs_body_has_bn(s, i) && rng_chance(r, 0.3);
    if (g->kind != RS_IDENTITY && !in->features && !in->keep && rng_chance(r, 0.5))
        for (int d = 0; d < 2; d++)
            s->layer[i].stride[d] = d && rng_chance(r, 0.7) ? s->layer[i].stride[0] : rng_int(r, 1, 3);
    if (rs_has_stride(&s->layer[i]) && rng_chance(r, 0.25))
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
            if (!rs_is_pool(&list[k][j]))
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
        .act = rs_act_stage(r, rs_random_act(r), false), .batch = rng_int(r, 1, 7), .dims = rng_chance(r, 0.2) ? 1 : 2};
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

/* ---- making sequences ---- */

/* Norms inside a step, in one place or two. several: bn of a batch's steps has more than one number. */
static const struct Places *random_places(Rng *r, const RsStage *t, bool several)
{
    const bool relu = op_cell_is_relu(t->op, t->arg); /* whose kinks are looked at in h */
    struct Places *p = xalloc(sizeof *p);
    bool any = false;
    for (int n = rng_int(r, 1, 2); n > 0; n--) {
        const CellPlace place = (CellPlace)rng_int(r, PLACE_INPUT, PLACES - 1);
        const bool sum = place == PLACE_SUM, term = place == PLACE_INPUT || place == PLACE_RECURRENT;
        if (!(op_info[t->op].cell->places & IN_PLACE(place)) ||
            (place == PLACE_RECURRENT && op_resets_before(t->op, t->arg)) || (relu && place == PLACE_HIDDEN) ||
            (term && p->of[PLACE_SUM].op != OP_INPUT) ||
            (sum && (p->of[PLACE_INPUT].op != OP_INPUT || p->of[PLACE_RECURRENT].op != OP_INPUT)))
            continue;
        p->of[place] = (PlaceNorm){.op = rng_chance(r, 0.7) ? OP_LN : OP_RMS,
                                   .eps = rng_chance(r, 0.6) ? EPS_USUAL : 0.01,
                                   .gamma = rng_chance(r, 0.7) ? 1 : 0.5,
                                   .each = place_info[place].of_gates && t->op != OP_RNN && rng_chance(r, 0.3),
                                   .carried = place == PLACE_CELL && rng_chance(r, 0.4)};
        p->of[place].beta = p->of[place].op == OP_LN && rng_chance(r, 0.8);
        if (several && rng_chance(r, 0.4)) {
            PlaceNorm *bn = &p->of[place];
            const bool carried = bn->carried;
            *bn = (PlaceNorm){.op = OP_BN, .eps = EPS_USUAL, .momentum = 0.2, .gamma = 1, .beta = true};
            bn->step = place != PLACE_INPUT || rng_chance(r, 0.4);
            bn->steps = bn->step && rng_chance(r, 0.4) ? rng_int(r, 1, 20) : 0;
            bn->beta = !bn->step || rng_chance(r, 0.8);
            bn->carried = carried;
        }
        any = true;
    }
    return any ? p : NULL;
}

/* A recurrent layer. relu makes h of the sum only where all steps are returned: its kinks can be looked at there. */
static RsLayer random_recurrent(Rng *r, const RandSpec *s, bool last)
{
    RsStage t = {.op = (OpKind[]){OP_RNN, OP_GRU, OP_LSTM}[rng_int(r, 0, 2)]};
    op_usual_args(t.op, t.arg);
    t.arg[ARG_HIDDEN].count = random_channels(r);
    t.arg[ARG_RETURN].count = rng_chance(r, last ? 0.2 : 0.85) ? RETURN_ALL : rng_int(r, 0, RETURNS - 1);
    t.arg[ARG_CELL_BIAS].count = rng_chance(r, 0.7);
    if (t.op == OP_RNN && t.arg[ARG_RETURN].count == RETURN_ALL && rng_chance(r, 0.4))
        t.arg[ARG_CELL_ACT].count = CELL_RELU;
    if (t.op == OP_GRU)
        t.arg[ARG_RESET].count = rng_chance(r, 0.35);
    t.arg[ARG_BOTH_WAYS].count = rng_chance(r, 0.3);
    if (t.arg[ARG_HIDDEN].count > 1 && rng_chance(r, 0.5))
        t.arg[ARG_CELL_NORM].places = random_places(r, &t, s->n > 1 && s->batch > 1);
    return (RsLayer){.block = OP_KINDS, .act = s->act, .stage = {t}, .nstage = 1};
}

/* Recurrent layers, with others before, between and behind them. */
static RandSpec attempt_sequence(Rng *r)
{
    RandSpec s = {.act = rs_act_stage(r, rs_random_act(r), false), .batch = rng_int(r, 1, 9), .dims = 1};
    s.n = rng_chance(r, 0.5) ? s.batch : rng_int(r, 1, s.batch);
    s.n_predict = rng_int(r, 1, 9);
    s.input[0] = rng_chance(r, 0.5) ? rng_int(r, 1, 4) : random_channels(r);
    s.input[1] = 1;
    s.input[2] = rng_int(r, 1, 40);
    if (rng_chance(r, 0.3)) {
        s.tokens = rng_int(r, 1, 40);
        s.input[0] = 1;
        RsStage t = {.op = OP_EMBED};
        t.arg[ARG_OUT].count = random_channels(r);
        add(r, &s, (RsLayer){.block = OP_KINDS, .act = s.act, .stage = {t}, .nstage = 1});
    }
    for (int i = rng_chance(r, 0.4) ? rng_int(r, 1, 2) : 0; i > 0; i--)
        add(r, &s, random_block(r, &s, OP_CONV, few_channels(r)));
    maybe_bare(r, &s, 0.15, true);
    for (int i = rng_int(r, 1, 3); i > 0; i--) {
        add(r, &s, random_recurrent(r, &s, i == 1));
        maybe_bare(r, &s, 0.2, true);
        if (i > 1 && rng_chance(r, 0.2))
            add(r, &s, random_block(r, &s, OP_CONV, few_channels(r)));
    }
    const bool ends = s.layer[s.nlayer - 1].stage[0].arg[ARG_RETURN].count != RETURN_ALL && rng_chance(r, 0.5);
    if (!ends)
        add(r, &s, random_bare(r, &s, rng_chance(r, 0.5) ? OP_FLATTEN : OP_GLOBAL_AVG_POOL));
    if (!ends || rng_chance(r, 0.8)) {
        RsLayer l = random_block(r, &s, OP_LINEAR, rng_int(r, 2, 10));
        if (rng_chance(r, 0.6)) {
            l.stage[0] = (RsStage){.op = OP_LINEAR};
            l.nstage = 1;
        }
        add(r, &s, l);
    }
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

/* A conv whose groups have whole blocks of 16 channels, in and out, after one that makes them: somewhere among the
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
        if (rs_finish(&t, &end) && rs_valid(&t, &end)) {
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
            } else if (rs_is_pool(st) && rng_chance(&r, 0.7)) {
                if (rng_chance(&r, 0.5))
                    st->ceil = true;
                else
                    other_ends(&r, st->padding, &st->ends, t.dims);
                st->inside = st->op == OP_AVGPOOL && (st->ends.same || rng_chance(&r, 0.4));
            }
            if (rs_finish(&t, &end) && rs_valid(&t, &end))
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

/* Half of the specs have sgd; other draws stay as they are. */
static int any_optimiser(uint64_t seed)
{
    Rng own = {seed ^ 0xada3u};
    return rng_chance(&own, 0.5) ? 0 : rng_int(&own, 1, 2);
}

RandSpec rs_random(uint64_t seed)
{
    Rng r = {seed * 0x2545f4914f6cdd1du + 1};
    for (;;) {
        RandSpec s = attempt(&r);
        Shape end;
        if (rs_finish(&s, &end)) {
            with_words(&s, seed, any_chain);
            larger(&s, seed, RS_MOST_CHAIN);
            with_ends(&s, seed);
            large_batch(&s, seed);
            s.optimiser = any_optimiser(seed);
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
        if (rs_finish(&s, &end) && any_graph(&s, seed)) {
            with_words(&s, seed, any_graph);
            larger(&s, seed, RS_MOST_LAYERS);
            with_ends(&s, seed);
            large_batch(&s, seed);
            Rng own = {seed ^ 0x5e97u}; /* other draws stay as they are */
            s.recompute = rng_chance(&own, 0.3) ? rng_int(&own, 1, 3) : 0;
            s.optimiser = any_optimiser(seed);
            return s;
        }
    }
}

RandSpec rs_sequence(uint64_t seed)
{
    Rng r = {seed * 0x2545f4914f6cdd1du + 1234};
    for (;;) {
        RandSpec s = attempt_sequence(&r);
        Shape end;
        if (rs_finish(&s, &end)) {
            large_batch(&s, seed);
            s.recompute = seed % 5 == 1 ? 2 : 0;
            s.optimiser = any_optimiser(seed);
            return s;
        }
    }
}
