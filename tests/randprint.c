/* randprint.c - a random spec as YAML (randspec.h). */
#include "places.h"
#include "randspec.h"

#include <math.h>
#include <string.h>

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
static void print_word(const char *before, const RsStage *t, const char *after, FILE *to)
{
    const char *quote = t->op != OP_KINDS && op_may_args(t->op) > 1 ? "\"" : "";
    fprintf(to, "%s%s", before, quote);
    print_stage(t, to);
    fprintf(to, "%s%s", quote, after);
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
    if (op_is_recurrent(t->op)) {
        const ArgInfo *info = op_info[t->op].arg;
        fprintf(to, "%s: {hidden: %d, return: %s%s", word(t->op), t->arg[ARG_HIDDEN].count,
                info[ARG_RETURN].words[t->arg[ARG_RETURN].count], t->arg[ARG_CELL_BIAS].count ? "" : ", bias: false");
        if (t->arg[ARG_CELL_NORM].places)
            fprintf(to, ", norm: %s", places_text(t->arg[ARG_CELL_NORM].places, true, true));
        if (op_resets_before(t->op, t->arg))
            fputs(", reset: before", to);
        if (t->arg[ARG_BOTH_WAYS].count)
            fputs(", bidirectional: true", to);
        fprintf(to, "%s}\n", t->op == OP_RNN && t->arg[ARG_CELL_ACT].count == CELL_RELU ? ", act: relu" : "");
        return;
    }
    if (t->op == OP_EMBED) {
        fprintf(to, "embed: %d\n", t->arg[ARG_OUT].count);
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
        if (rs_has_stride(l))
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
    if (rs_has_stride(l))
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
                if (rs_is_pool(&list[k][j])) {
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
    if (s->tokens)
        fprintf(to, "name: chain\ninput: {tokens: %d, length: %d}\n", s->tokens, s->input[2]);
    else
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
    static const char *const optimiser[] = {"", ", optimizer: adam", ", optimizer: adamw"};
    fprintf(to, "train: {data: shapes, batch: %d%s}\n", s->batch, optimiser[s->optimiser]);
}
