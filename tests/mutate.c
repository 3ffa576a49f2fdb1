/* mutate.c - see mutate.h. */
#include "mutate.h"

#include <math.h>
#include <string.h>

/* The stages of a spec, each where it stands. */
typedef struct Places {
    RsStage *stage[RS_MOST_LAYERS * (RS_MOST_STAGES + 3 * RS_MOST_AROUND) + 2];
    int n;
} Places;

static void add_places(Places *p, RsStage *t, int n)
{
    for (int i = 0; i < n; i++)
        p->stage[p->n++] = &t[i];
}

static Places places(RandSpec *s)
{
    Places p = {.n = 0};
    add_places(&p, &s->act, 1);
    if (s->norm.op)
        add_places(&p, &s->norm, 1);
    for (int i = 0; i < s->nlayer; i++) {
        RsLayer *l = &s->layer[i];
        add_places(&p, l->stage, l->nstage);
        add_places(&p, l->group.pre, l->group.npre);
        add_places(&p, l->group.post, l->group.npost);
        add_places(&p, l->group.shortcut, l->group.nshortcut);
    }
    return p;
}

static bool is_weight(const RsStage *t)
{
    return t->op == OP_CONV || t->op == OP_LINEAR;
}

static RsStage *any_stage(Rng *r, RandSpec *s, bool (*fits)(OpKind))
{
    const Places p = places(s);
    for (int tries = 0; tries < 30; tries++) {
        RsStage *t = p.stage[rng_int(r, 0, p.n - 1)];
        if (t->op < OP_KINDS && fits(t->op))
            return t;
    }
    return NULL;
}

static bool has_args(OpKind op)
{
    return op_may_args(op) > 0;
}

static bool is_pool(OpKind op)
{
    return op == OP_MAXPOOL || op == OP_AVGPOOL;
}

static bool is_point_or_norm(OpKind op)
{
    return op_info[op].cls == CLASS_POINT || op_is_norm(op);
}

static RsLayer *any_layer(Rng *r, RandSpec *s, OpKind block)
{
    for (int tries = 0; tries < 30; tries++) {
        RsLayer *l = &s->layer[rng_int(r, 0, s->nlayer - 1)];
        if (l->block == block)
            return l;
    }
    return NULL;
}

static void other_argument(Rng *r, RandSpec *s)
{
    RsStage *t = any_stage(r, s, has_args);
    if (!t)
        return;
    t->as_act = t->as_norm = false;
    if (is_pool(t->op) && rng_chance(r, 0.4)) {
        t->ceil = rng_chance(r, 0.5) ? !t->ceil : t->ceil;
        t->inside = t->op == OP_AVGPOOL && rng_chance(r, 0.5) ? !t->inside : t->inside;
        return;
    }
    const int i = op_arg_at(t->op, rng_int(r, 0, op_may_args(t->op) - 1));
    const ArgInfo *info = &op_info[t->op].arg[i];
    if (info->kind == ARG_REAL)
        t->arg[i].real = rng_chance(r, 0.3) && isfinite(info->usual) ? info->usual
                         : info->lo == 0                             ? 0.05 * rng_int(r, 0, 10)
                                                                     : 0.25 * rng_int(r, -1, 6);
    else if (info->kind == ARG_COUNT)
        t->arg[i].count = rng_int(r, 1, 4);
    else
        t->arg[i].size[0] = t->arg[i].size[1] = rng_int(r, (int)info->lo, 3);
}

static void other_op(Rng *r, RandSpec *s)
{
    RsStage *t = any_stage(r, s, rng_chance(r, 0.15) ? is_pool : is_point_or_norm);
    if (!t)
        return;
    const OpKind was = t->op;
    Arg args[OP_ARGS];
    memcpy(args, t->arg, sizeof args);
    t->as_act = t->as_norm = false;
    t->op = is_pool(was)         ? (was == OP_MAXPOOL ? OP_AVGPOOL : OP_MAXPOOL)
            : op_is_norm(was)    ? rng_chance(r, 0.25) ? OP_BN : rs_random_image_norm(r)
               : rng_chance(r, 0.1) ? OP_DROP
                                 : rs_random_act(r);
    op_usual_args(t->op, t->arg);
    if (is_pool(was))
        memcpy(t->arg, args, sizeof args);
    if (t->op == OP_GN)
        t->arg[ARG_NORM_GROUPS].count = rng_int(r, 1, 3);
    if (t->op == OP_DROP)
        t->arg[0].real = 0.25;
}

/* Two stages of an order, beside each other, the other way round. */
static void swap_stages(Rng *r, RandSpec *s)
{
    RsLayer *l = &s->layer[rng_int(r, 0, s->nlayer - 1)];
    if (l->nstage < 2)
        return;
    const int i = rng_int(r, 0, l->nstage - 2);
    const RsStage t = l->stage[i];
    l->stage[i] = l->stage[i + 1];
    l->stage[i + 1] = t;
}

static void drop_stage(Rng *r, RandSpec *s)
{
    RsLayer *l = &s->layer[rng_int(r, 0, s->nlayer - 1)];
    const int i = rng_int(r, 0, RS_MOST_STAGES - 1);
    if (i >= l->nstage || l->nstage < 2 || is_weight(&l->stage[i]))
        return;
    memmove(&l->stage[i], &l->stage[i + 1], (size_t)(l->nstage - i - 1) * sizeof l->stage[0]);
    l->nstage--;
}

static bool insert(RsLayer *l, int at, RsStage t)
{
    if (l->nstage == RS_MOST_STAGES)
        return false;
    memmove(&l->stage[at + 1], &l->stage[at], (size_t)(l->nstage - at) * sizeof l->stage[0]);
    l->stage[at] = t;
    l->nstage++;
    return true;
}

static void add_stage(Rng *r, RandSpec *s)
{
    static const OpKind ops[] = {OP_BN, OP_RELU, OP_TANH, OP_LN, OP_IN, OP_LEAKY_RELU};
    RsLayer *l = any_layer(r, s, rng_chance(r, 0.5) ? OP_CONV : OP_LINEAR);
    if (!l)
        return;
    RsStage t = {.op = ops[rng_int(r, 0, 5)]};
    op_usual_args(t.op, t.arg);
    insert(l, rng_int(r, 0, l->nstage), t);
}

static void other_norm_keys(Rng *r, RandSpec *s)
{
    RsLayer *l = any_layer(r, s, rng_chance(r, 0.7) ? OP_CONV : OP_LINEAR);
    if (l && rng_chance(r, 0.5))
        l->eps = l->eps > 0 ? 0 : 1e-2;
    else if (l)
        l->momentum = l->momentum > 0 ? 0 : 0.5;
}

static void other_bias(Rng *r, RandSpec *s)
{
    RsLayer *l = any_layer(r, s, rng_chance(r, 0.7) ? OP_CONV : OP_LINEAR);
    if (l)
        l->bias = l->bias == 2 ? rng_int(r, 0, 3) : 2; /* true, most often: where auto drops it, it is redundant */
}

static void other_window(Rng *r, RandSpec *s)
{
    RsLayer *l = any_layer(r, s, OP_CONV);
    if (!l)
        return;
    int *const of[] = {l->kernel, l->padding, l->dilation, l->stride};
    const int which = rng_int(r, 0, 5), v = rng_int(r, 1, 3);
    if (which == 5) /* more, or less, padding after than before */
        l->ends =
            rng_chance(r, 0.3) ? (RsEnds){.same = true} : (RsEnds){.more = {rng_int(r, -1, 1), rng_int(r, -1, 1)}};
    else if (which == 4)
        l->groups = rng_int(r, 1, 4);
    else
        of[which][0] = of[which][1] = v;
    if (which == 2 && rng_chance(r, 0.7)) /* of the same size */
        for (int d = 0; d < 2; d++)
            l->padding[d] = v * (l->kernel[d] / 2);
}

static void other_group(Rng *r, RandSpec *s)
{
    RsLayer *l = &s->layer[rng_int(r, 0, s->nlayer - 1)];
    if (l->group.body != RS_RESIDUAL)
        return;
    switch (rng_int(r, 0, 3)) {
    case 0:
        l->group.kind = (RsShortcut)rng_int(r, RS_PLAIN, RS_PAD);
        break;
    case 1:
        l->group.from_pre = !l->group.from_pre;
        break;
    case 2:
        l->group.zero_gamma = !l->group.zero_gamma;
        break;
    default:
        l->group.repeat = 1 + l->group.repeat % 2;
    }
}

/* A block's last stage becomes a layer of its own, or the first of the next block's. */
static void cut_elsewhere(Rng *r, RandSpec *s)
{
    for (int tries = 0; tries < 10; tries++) {
        const int i = rng_int(r, 0, s->nlayer - 1);
        RsLayer *l = &s->layer[i];
        if (l->nstage < 2 || is_weight(&l->stage[l->nstage - 1]) || s->nlayer == RS_MOST_LAYERS)
            continue;
        const RsStage t = l->stage[l->nstage - 1];
        const int next = rs_next(s, i + 1, l->parent, l->branch);
        if (next == i + 1 && next < s->nlayer && s->layer[next].block != OP_KINDS && rng_chance(r, 0.5)) {
            if (!insert(&s->layer[next], 0, t))
                continue;
        } else if (l->parent == 0) {
            memmove(l + 2, l + 1, (size_t)(s->nlayer - i - 1) * sizeof *l);
            s->nlayer++;
            for (int k = 0; k < s->nlayer; k++)
                s->layer[k].parent += s->layer[k].parent > i + 1;
            l[1] = (RsLayer){
                .block = OP_KINDS, .kernel = {1, 1}, .stride = {1, 1}, .act = s->act, .nstage = 1, .stage = {t}};
        } else {
            continue;
        }
        l->nstage--;
        return;
    }
}

/* Stages leave the beginning for another place, or come there from one: a rotation where it is the end. */
void rs_carry(Rng *r, RandSpec *s)
{
    int blocks[RS_MOST_LAYERS], n = 0;
    for (int i = 0; i < s->nlayer; i++)
        if (s->layer[i].block != OP_KINDS && s->layer[i].parent == 0)
            blocks[n++] = i;
    if (n < 2)
        return;
    RsLayer *first = &s->layer[blocks[0]], *other = &s->layer[blocks[rng_int(r, n / 2, n - 1)]];
    const bool to_front = rng_chance(r, 0.6);
    RsLayer *from = to_front ? other : first, *to = to_front ? first : other;
    int weight = 0;
    while (!is_weight(&from->stage[weight]))
        weight++;
    const int begin = to_front && rng_chance(r, 0.5) ? weight + 1 : 0, room = begin ? from->nstage - begin : weight;
    const int many = room ? rng_int(r, 1, room) : 0;
    weight = 0;
    while (!is_weight(&to->stage[weight]))
        weight++;
    const int at = to_front ? rng_int(r, 0, weight) : rng_chance(r, 0.5) ? to->nstage : 0;
    if (to->nstage + many > RS_MOST_STAGES || from == to)
        return;
    for (int k = 0; k < many; k++) {
        const RsStage t = from->stage[begin];
        memmove(&from->stage[begin], &from->stage[begin + 1], (size_t)(from->nstage - begin - 1) * sizeof t);
        from->nstage--;
        insert(to, at + k, t);
    }
}

static void drop_layer(Rng *r, RandSpec *s)
{
    if (s->nlayer > 2)
        rs_drop_layer(s, rng_int(r, 0, s->nlayer - 2));
}

static void other_name(Rng *r, RandSpec *s)
{
    RsLayer *l = &s->layer[rng_int(r, 0, s->nlayer - 1)];
    l->named = !l->named;
}

static void other_dims(Rng *r, RandSpec *s)
{
    (void)r;
    s->dims = s->input[1] == 1 ? 3 - s->dims : s->dims;
}

static void other_input(Rng *r, RandSpec *s)
{
    s->input[rng_int(r, 0, 2)]++;
}

static const struct {
    void (*apply)(Rng *, RandSpec *);
    int weight;
} mutations[] = {{other_argument, 5},  {other_op, 5},   {swap_stages, 4},  {drop_stage, 2},  {add_stage, 2},
                 {other_norm_keys, 4}, {other_bias, 5}, {other_window, 4}, {other_group, 3}, {cut_elsewhere, 6},
                 {rs_carry, 6},        {drop_layer, 1}, {other_name, 2},   {other_dims, 2},  {other_input, 1}};

void rs_mutate(Rng *r, RandSpec *s)
{
    int all = 0, at = 0;
    for (size_t i = 0; i < sizeof mutations / sizeof *mutations; i++)
        all += mutations[i].weight;
    int pick = rng_int(r, 0, all - 1);
    while (pick >= mutations[at].weight)
        pick -= mutations[at++].weight;
    mutations[at].apply(r, s);
}
