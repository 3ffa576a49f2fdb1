/* randwords.c - what words and names stand for, in random specs: `act`, `norm`, and presets, as docs/presets.md and
 * docs/spec.md have them; and how they come into a spec that was made without them. See randspec.h. */
#include "randspec.h"

#include <math.h>
#include <string.h>

static const RsPreset presets[] = {
    {.name = "fastai-conv_layer", .order = "can", .relu = true},
    {.name = "fastai-ConvLayer", .order = "cna", .relu = true},
    {.name = "batch-norm-paper", .order = "cna"},
    {"post-activation", "cna", false, {"cna", "cn"}, "", "a", "cn", "cna", false},
    {"pre-activation", "nac", false, {"nac", "nac"}, "", "", "cn", "nac", false},
    {.name = "mmcv-ConvModule", .order = "cna", .relu = true},
    {.name = "monai-Convolution", .order = "cna", .relu = true},
    {.name = "torchvision-Conv2dNormActivation", .order = "cna", .relu = true},
    {"torchvision-BasicBlock", "cna", true, {"cna", "cn"}, "", "a", "cn", "cna", false},
    {.name = "timm-ConvNormAct", .order = "cna", .relu = true},
    {"timm-PreActBasic", "nac", true, {"cna", "c"}, "na", "", "c", "cna", true},
};
enum { PRESETS = sizeof presets / sizeof *presets };

/* ---- presets ---- */

static int stages_of(const char *letters, RsStage *t)
{
    for (int j = 0; letters[j]; j++)
        t[j] = (RsStage){.op = letters[j] == 'c'   ? OP_CONV
                               : letters[j] == 'n' ? OP_BN
                                                   : OP_RELU,
                         .as_norm = letters[j] == 'n',
                         .as_act = letters[j] == 'a',
                         .k = {1, 1},
                         .stride = {1, 1}};
    return (int)strlen(letters);
}

static bool reads(const RsStage *t, int n, const char *letters)
{
    bool same = n == (int)strlen(letters);
    for (int j = 0; j < n && same; j++)
        same = letters[j] == 'n'   ? t[j].as_norm
               : letters[j] == 'a' ? t[j].as_act
                                   : t[j].op == OP_CONV && !t[j].as_norm && !t[j].as_act;
    return same;
}

static RsLayer plain_conv(int parent, const char *letters)
{
    RsLayer l = {.parent = parent, .block = OP_CONV, .kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}};
    l.nstage = stages_of(letters, l.stage);
    return l;
}

static bool is_plain_conv(const RsLayer *l, const char *letters)
{
    bool plain = l->block == OP_CONV && !l->out && !l->groups && !l->says_stride && !l->bias && !l->own_act &&
                 !l->norm.op && !l->preset && !l->named && l->eps == 0 && l->momentum == 0;
    for (int d = 0; d < 2; d++)
        plain = plain && l->kernel[d] == 3 && l->stride[d] == 1 && l->padding[d] == 1 && !l->dilation[d];
    return plain && reads(l->stage, l->nstage, letters);
}

bool rs_body_is_presets(const RandSpec *s, int i)
{
    const RsLayer *l = &s->layer[i];
    const RsGroup *g = &l->group;
    const RsPreset *p = l->preset ? &presets[l->preset - 1] : NULL;
    if (!p || !p->body[0] || g->body != RS_RESIDUAL || g->kind != RS_CONV || g->from_pre != p->from_pre ||
        !reads(g->pre, g->npre, p->pre) || !reads(g->post, g->npost, p->post) ||
        !reads(g->shortcut, g->nshortcut, p->shortcut))
        return false;
    int a = rs_next(s, 0, i + 1, 0), b = rs_next(s, a + 1, i + 1, 0);
    return b < s->nlayer && rs_next(s, b + 1, i + 1, 0) == s->nlayer && is_plain_conv(&s->layer[a], p->body[0]) &&
           is_plain_conv(&s->layer[b], p->body[1]);
}

const RsPreset *rs_preset_of(const RandSpec *s, int i)
{
    const RsLayer *l = &s->layer[i];
    if (!l->preset || (l->block != OP_CONV && !l->group.body))
        return NULL;
    const RsPreset *p = &presets[l->preset - 1];
    return l->group.body == RS_RESIDUAL && p->body[0] && !rs_body_is_presets(s, i) ? NULL : p;
}

const RsPreset *rs_top_preset(const RandSpec *s)
{
    return s->preset ? &presets[s->preset - 1] : NULL;
}

const RsLayer *rs_preset_block(const RsPreset *p, bool in_group)
{
    static RsLayer block[2][PRESETS];
    RsLayer *l = &block[in_group][p - presets];
    *l = plain_conv(0, in_group && p->in_group ? p->in_group : p->order);
    return l;
}

/* ---- words ---- */

/* Where it is said what "norm" means in layer i, or at the top for -1; NULL: nowhere, so it is bn. */
static RsStage *norm_at(RandSpec *s, int i)
{
    for (; i >= 0; i = s->layer[i].parent - 1)
        if (s->layer[i].norm.op)
            return &s->layer[i].norm;
    return s->norm.op ? &s->norm : NULL;
}

/* What "act" means in layer i. */
static RsStage act_at(const RandSpec *s, int i)
{
    static const RsStage relu = {.op = OP_RELU, .k = {1, 1}, .stride = {1, 1}};
    for (; i >= 0; i = s->layer[i].parent - 1) {
        const RsPreset *p = rs_preset_of(s, i);
        if (s->layer[i].own_act)
            return s->layer[i].act;
        if (p && p->relu)
            return relu;
    }
    return s->act;
}

/* A list of stages of layer i. */
typedef struct List {
    RsStage *t;
    int n;
} List;
enum { LISTS = 4 };

static void lists_of(RsLayer *l, List list[LISTS])
{
    RsGroup *g = &l->group;
    List all[LISTS] = {{l->stage, l->nstage}, {g->pre, g->npre}, {g->post, g->npost}, {g->shortcut, g->nshortcut}};
    memcpy(list, all, sizeof all);
}

/* A word gets what it stands for. */
static void become(RsStage *t, const RsStage *stands)
{
    t->op = stands->op;
    memcpy(t->arg, stands->arg, sizeof t->arg);
}

void rs_settle(RandSpec *s)
{
    for (int i = 0; i < s->nlayer; i++) {
        List list[LISTS];
        lists_of(&s->layer[i], list);
        const RsStage act = act_at(s, i), *norm = norm_at(s, i);
        if (s->layer[i].group.kind == RS_PLAIN && list[3].n == 2) /* conv-norm, as it is where nothing is said */
            list[3].t[1].as_norm = true;
        for (int k = 0; k < LISTS; k++)
            for (RsStage *t = list[k].t; t < list[k].t + list[k].n; t++) {
                if (t->as_act)
                    become(t, &act);
                if (t->as_norm)
                    become(t, norm ? norm : &(RsStage){.op = OP_BN});
            }
    }
}

static int divisor(int a, int b)
{
    return b ? divisor(b, a % b) : a;
}

void rs_agree(RandSpec *s)
{
    RsStage *open[RS_MOST_LAYERS + 1]; /* gn, whose groups are chosen here */
    int n = 0;
    for (int i = -1; i < s->nlayer; i++) {
        RsStage *t = i < 0 ? &s->norm : &s->layer[i].norm;
        if (t->op == OP_GN && t->arg[ARG_NORM_GROUPS].count == 0)
            open[n++] = t;
    }
    for (int i = 0; i < s->nlayer; i++) {
        List list[LISTS];
        lists_of(&s->layer[i], list);
        RsStage *norm = norm_at(s, i);
        for (int k = 0; k < n; k++)
            for (int j = 0; open[k] == norm && j < LISTS; j++)
                for (RsStage *t = list[j].t; t < list[j].t + list[j].n; t++)
                    if (t->as_norm)
                        norm->arg[ARG_NORM_GROUPS].count =
                            divisor(norm->arg[ARG_NORM_GROUPS].count, t->arg[ARG_NORM_GROUPS].count);
    }
    for (int k = 0; k < n; k++) {
        const int groups = open[k]->arg[ARG_NORM_GROUPS].count;
        open[k]->arg[ARG_NORM_GROUPS].count = groups == 0 ? 1 : groups > 4 && groups % 2 == 0 ? groups / 2 : groups;
    }
}

/* ---- putting them in ---- */

static RsStage random_general(Rng *r)
{
    return (RsStage){.op = OP_GENERAL_RELU,
                     .arg = {{.real = (double[]){0, 0.1, 0.25}[rng_int(r, 0, 2)]},
                             {.real = (double[]){0, 0.4, 0.4, -0.25}[rng_int(r, 0, 3)]},
                             {.real = (double[]){INFINITY, 6, 1.5}[rng_int(r, 0, 2)]}}};
}

static RsStage random_norm(Rng *r)
{
    const int pick = rng_int(r, 0, 7);
    return (RsStage){.op = pick == 0 ? OP_BN : pick == 1 ? OP_KINDS : pick < 4 ? OP_GN : rs_random_image_norm(r)};
}

/* Some activations become general_relus; in some specs, some norms are written as the word. */
static void use_in_list(Rng *r, List list, double word)
{
    for (RsStage *t = list.t; t < list.t + list.n; t++) {
        if (op_is_norm(t->op) && rng_chance(r, word))
            t->as_norm = true;
        else if (op_is_act(t->op) && !t->as_act && rng_chance(r, 0.12))
            *t = random_general(r);
    }
}

static int random_preset(Rng *r)
{
    return rng_int(r, 1, PRESETS);
}

static void take_order(RsLayer *l, const RsLayer *from)
{
    memcpy(l->stage, from->stage, sizeof l->stage);
    l->nstage = from->nstage;
}

static void preset_of_block(Rng *r, RandSpec *s, int i)
{
    RsLayer *l = &s->layer[i];
    const RsPreset *around = l->parent ? rs_preset_of(s, l->parent - 1) : rs_top_preset(s);
    if (rng_chance(r, 0.25)) {
        l->preset = random_preset(r);
        around = rs_preset_of(s, i);
    }
    if (around && rng_chance(r, 0.7))
        take_order(
            l, rs_preset_block(around, l->parent && s->layer[l->parent - 1].group.body == RS_RESIDUAL && !l->preset));
}

/* A residual group becomes what a preset makes of it, with the preset's own body in place of its layers. */
static void use_body(RandSpec *s, int i)
{
    const RsPreset *p = &presets[s->layer[i].preset - 1];
    for (int k = s->nlayer - 1; k > i; k--)
        if (k < s->nlayer && s->layer[k].parent == i + 1)
            rs_drop_layer(s, k);
    RsGroup *g = &s->layer[i].group;
    g->npre = stages_of(p->pre, g->pre);
    g->npost = stages_of(p->post, g->post);
    g->nshortcut = stages_of(p->shortcut, g->shortcut);
    g->kind = RS_CONV;
    g->from_pre = p->from_pre;
    for (int k = 0; k < 2; k++)
        s->layer[s->nlayer++] = plain_conv(i + 1, p->body[k]);
}

static void preset_of_group(Rng *r, RandSpec *s, int i)
{
    int first = rs_next(s, 0, i + 1, 0);
    RsLayer *l = &s->layer[i];
    if (!rng_chance(r, 0.6))
        return;
    do
        l->preset = random_preset(r);
    while (l->group.body == RS_RESIDUAL && !presets[l->preset - 1].body[0] && rng_chance(r, 0.7));
    if (l->group.body != RS_RESIDUAL || !presets[l->preset - 1].body[0])
        return;
    bool room = s->nlayer + 2 <= RS_MOST_LAYERS && first < s->nlayer && s->layer[first].block == OP_CONV;
    if (!room) {
        l->preset = 0;
        return;
    }
    if (!l->out)
        l->out = s->layer[first].out ? s->layer[first].out : rng_int(r, 1, 12);
    use_body(s, i);
}

/* Numbers of channels that a number of groups divides: one word for them all would be gn(1) otherwise. */
static void round_channels(RandSpec *s, int groups)
{
    for (int i = 0; i < s->nlayer; i++)
        if (s->layer[i].out && !s->layer[i].groups)
            s->layer[i].out += (groups - s->layer[i].out % groups) % groups;
}

void rs_use_words(Rng *r, RandSpec *s)
{
    double word = rng_chance(r, 0.5) ? 0.7 : 0;
    bool names = rng_chance(r, 0.4);
    if (word > 0 && rng_chance(r, 0.7))
        s->norm = random_norm(r);
    if (s->norm.op == OP_GN)
        round_channels(s, rng_int(r, 1, 4));
    if (rng_chance(r, 0.12))
        s->act = random_general(r);
    if (names && rng_chance(r, 0.4))
        s->preset = random_preset(r);
    for (int i = 0; i < s->nlayer; i++) {
        List list[LISTS];
        lists_of(&s->layer[i], list);
        for (int k = 0; k < LISTS; k++)
            use_in_list(r, list[k], word);
        if (s->layer[i].own_act && rng_chance(r, 0.12))
            s->layer[i].act = random_general(r);
        if (word > 0 && rng_chance(r, 0.15))
            s->layer[i].norm = random_norm(r);
    }
    for (int i = 0; names && i < s->nlayer; i++) {
        if (s->layer[i].block == OP_CONV && !(s->layer[i].parent && rs_body_is_presets(s, s->layer[i].parent - 1)))
            preset_of_block(r, s, i);
        else if (s->layer[i].group.body)
            preset_of_group(r, s, i);
    }
}
