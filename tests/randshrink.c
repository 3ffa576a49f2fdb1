/* randshrink.c - a random spec made smaller, one cut at a time (randspec.h). */
#include "randspec.h"

#include <string.h>

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
    if (i % 7 == 0 && l->stage[0].op == OP_EMBED)
        return &l->stage[0].arg[ARG_OUT].count;
    if (i % 7 == 0 && op_is_recurrent(l->stage[0].op))
        return &l->stage[0].arg[ARG_HIDDEN].count;
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
        s.act = rs_act_stage(NULL, OP_RELU, true);
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
