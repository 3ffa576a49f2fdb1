/* write.c - Spec -> YAML with names, orders and defaults filled in (check --write), and the dump of -d spec.
 *
 * needs: a Spec.  sets: nothing. What spec_write writes, spec_read reads back to the same Spec. */
#include "places.h"
#include "read.h"

#include <stdlib.h>
#include <string.h>

static const char *pair(const int v[2], int dims)
{
    return dims == 1 || v[0] == v[1] ? xprintf("%d", v[1]) : xprintf("[%d, %d]", v[0], v[1]);
}

/* Padding as a key's value. */
static const char *sides(Sides s, int dims)
{
    if (sides_are_same(s))
        return "same";
    if (dims == 1 ? s.before[1] == s.after[1] : sides_even(s))
        return pair(s.before, dims);
    return dims == 1 ? xprintf("[%d, %d]", s.before[1], s.after[1])
                     : xprintf("[%d, %d, %d, %d]", s.before[0], s.after[0], s.before[1], s.after[1]);
}

/* An order inside { }, where a comma would end it. */
static const char *quoted(const char *order)
{
    return strchr(order, ',') ? xprintf("\"%s\"", order) : order;
}

/* eps and momentum, where some stage reads them, each between `before` and `between`: ", eps: 1e-5, momentum: 0.1". A
 * layer's keys fill in those of all its norms, so that the first one's are everyone's. */
static const char *norm_keys(const SpecLayer *l, const char *before, const char *between)
{
    static const int which[] = {ARG_EPS, ARG_MOMENTUM};
    Buf b = {0};
    buf_puts(&b, "");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < l->nstage; i++)
            if (k ? op_is_batch_norm(l->stage[i].op) : op_is_norm(l->stage[i].op)) {
                buf_printf(&b, "%s%s%s%s", before, k ? "momentum" : "eps", between,
                           real_text(l->stage[i].arg[which[k]].real));
                break;
            }
    return b.text;
}

static const char *groups_text(const SpecStage *conv)
{
    return conv->arg[ARG_GROUPS].count ? xprintf("%d", conv->arg[ARG_GROUPS].count) : "depthwise";
}

/* A bare stage's arguments, under the names of their keys. */
static const char *arg_keys(const SpecStage *st, int dims)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int i = 0; i < OP_ARGS; i++) {
        const ArgInfo *info = &op_info[st->op].arg[i];
        const Arg *arg = &st->arg[i];
        const bool usual = info->kind == ARG_PLACES ? !arg->places
                           : info->kind == ARG_REAL
                               ? info->given == ARG_KEY && arg->real == info->usual
                               : (info->kind == ARG_FLAG || info->kind == ARG_CHOICE) && arg->count == (int)info->usual;
        if (!info->name || (info->given == ARG_KEY && !op_is_alone(st->op)) || usual)
            continue;
        buf_printf(&b, ", %s: %s", info->name,
                   info->kind == ARG_REAL     ? real_text(arg->real)
                   : info->kind == ARG_COUNT  ? xprintf("%d", arg->count)
                   : info->kind == ARG_FLAG   ? (arg->count ? "true" : "false")
                   : info->kind == ARG_SIDES  ? sides(arg->sides, dims)
                   : info->kind == ARG_CHOICE ? info->words[arg->count]
                   : info->kind == ARG_PLACES ? places_text(arg->places, true, true)
                                              : pair(arg->size, dims));
    }
    return b.text;
}

static void write_layer(const Spec *s, const SpecLayer *l, FILE *to)
{
    const SpecStage *st = &l->stage[0], *weight = l->bare ? NULL : layer_weight(l);
    if (!weight && op_is_act(st->op)) {
        fprintf(to, "  - act: {name: %s, kind: %s", l->name, quoted(stage_text(st, s->dims)));
    } else if (!weight) {
        fprintf(to, "  - %s: {name: %s%s", op_info[st->op].name, l->name, arg_keys(st, s->dims));
    } else {
        fprintf(to, "  - %s: {name: %s", op_info[weight->op].name, l->name);
        if (l->out)
            fprintf(to, ", out: %d", l->out);
        if (weight->op == OP_CONV) {
            const Arg *arg = weight->arg;
            fprintf(to, ", kernel: %s, stride: %s, padding: %s", pair(arg[ARG_KERNEL].size, s->dims),
                    pair(arg[ARG_STRIDE].size, s->dims), sides(arg[ARG_PADDING].sides, s->dims));
            if (arg[ARG_DILATION].size[0] > 1 || arg[ARG_DILATION].size[1] > 1)
                fprintf(to, ", dilation: %s", pair(arg[ARG_DILATION].size, s->dims));
            if (arg[ARG_GROUPS].count != 1)
                fprintf(to, ", groups: %s", groups_text(weight));
        }
        fprintf(to, ", bias: %s, order: %s", bias_names[l->bias], quoted(order_text(l->stage, l->nstage, s->dims)));
    }
    fprintf(to, "%s}\n", norm_keys(l, ", ", ": "));
}

/* ---- groups, as they stand in the tree ----------------------------------------------------------------------------
 */

static const char *items_text(const Node *list);

static bool is_list(const char *key)
{
    return strcmp(key, "layers") == 0 || strcmp(key, "residual") == 0 || strcmp(key, "transition") == 0;
}

/* The value of a group's key, with the names of the layers that it holds. */
static const char *group_value(const char *key, const Node *value)
{
    if (is_list(key))
        return items_text(value);
    if (strcmp(key, "order") == 0)
        return quoted(order_source(value));
    if (strcmp(key, "concat") != 0)
        return node_text(value);
    Buf b = {0};
    for (int i = 0; i < value->n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "[", items_text(value->item[i]));
    buf_puts(&b, "]");
    return b.text;
}

/* Keys in one sequence, however they stand in the file: what is written is the same for the same network. */
static const char *const key_sequence[] = {
    "repeat",   "out",           "kernel",     "k",         "stride", "padding", "dilation", "groups", "bias",
    "order",    "act",           "norm",       "kind",      "p",      "eps",     "momentum", "pre",    "post",
    "shortcut", "shortcut_from", "zero_gamma", "recompute", "only",   "layers",  "residual", "concat", "transition"};

static bool in_sequence(const char *key)
{
    for (size_t k = 0; k < sizeof key_sequence / sizeof *key_sequence; k++)
        if (strcmp(key_sequence[k], key) == 0)
            return true;
    return false;
}

/* "conv: {name: conv1, out: 8}"; a word with arguments as it is. */
static const char *item_text(const Node *item, KindCount *counts)
{
    const char *kind;
    Node *value;
    const Node *word;
    if (!layer_kind(item, &kind, &value, &word))
        BUG("an item without a kind was read");
    const char *name = layer_name(kind, value, counts, 64);
    const Node *map = item_keys(value, word);
    if (!map)
        return scalar_text(word);
    Buf b = {0};
    buf_printf(&b, "%s: {name: %s", word->text, name);
    for (size_t k = 0; k < sizeof key_sequence / sizeof *key_sequence; k++) {
        const Node *n = keys_get(map, key_sequence[k]);
        if (n)
            buf_printf(&b, ", %s: %s", key_sequence[k], group_value(key_sequence[k], n));
    }
    const StageKeys *row = stage_keys_of(word->text);
    for (const KeyInfo *key = row ? row->keys : NULL; key && key->name; key++) /* those of a bare stage alone */
        if (keys_get(map, key->name) && !in_sequence(key->name) && strcmp(key->name, "name") != 0)
            buf_printf(&b, ", %s: %s", key->name, node_text(keys_get(map, key->name)));
    buf_puts(&b, "}");
    return b.text;
}

static const char *items_text(const Node *list)
{
    KindCount counts[64] = {{0}};
    Buf b = {0};
    buf_puts(&b, "[");
    for (int i = 0; i < list->n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", item_text(list->item[i], counts));
    buf_puts(&b, "]");
    return b.text;
}

/* What a group at the top has where it says nothing; NULL: no default, or what the top says. */
static const char *group_default(const Spec *s, const Node *map, const char *key)
{
    static const char *const defaults[][2] = {{"repeat", "1"},  {"kernel", "3"}, {"stride", "1"},     {"groups", "1"},
                                              {"bias", "auto"}, {"eps", "1e-5"}, {"momentum", "0.1"}, {"pre", "none"},
                                              {"post", "none"}, {"act", "relu"}, {"norm", "bn"}};
    static const char *const residual[][2] = {
        {"shortcut", "conv-norm"}, {"shortcut_from", "input"}, {"zero_gamma", "false"}};
    static const char *const of_top[] = {"order", "act", "norm", "bias", "eps", "momentum"};
    for (size_t i = 0; i < sizeof of_top / sizeof *of_top; i++)
        if (strcmp(key, of_top[i]) == 0 && keys_get(s->tree, key))
            return group_value(key, keys_get(s->tree, key));
    if (strcmp(key, "order") == 0)
        return order_default;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strcmp(defaults[i][0], key) == 0)
            return defaults[i][1];
    for (size_t i = 0; keys_get(map, "residual") && i < sizeof residual / sizeof *residual; i++)
        if (strcmp(residual[i][0], key) == 0)
            return residual[i][1];
    return NULL;
}

static void write_group(const Spec *s, const Node *map, const char *name, FILE *to)
{
    fprintf(to, "  - stage:\n      name: %s\n", name);
    for (size_t k = 0; k < sizeof key_sequence / sizeof *key_sequence; k++) {
        const char *key = key_sequence[k];
        const Node *n = keys_get(map, key);
        const char *text = n && !is_list(key) ? group_value(key, n) : NULL;
        if (!n)
            text = group_default(s, map, key);
        if (text)
            fprintf(to, "      %s: %s\n", key, text);
        if (!n || !is_list(key))
            continue;
        KindCount counts[64] = {{0}};
        fprintf(to, "      %s:\n", key);
        for (int i = 0; i < n->n; i++)
            fprintf(to, "        - %s\n", item_text(n->item[i], counts));
    }
}

/* Layers at the top from the Spec, groups from the tree. */
static void write_items(const Spec *s, FILE *to)
{
    const Node *list = keys_get(s->tree, "layers");
    KindCount counts[64] = {{0}};
    for (int i = 0, l = 0; i < list->n; i++) {
        const char *kind;
        Node *value;
        const Node *word;
        if (!layer_kind(list->item[i], &kind, &value, &word))
            BUG("an item without a kind was read");
        const char *name = layer_name(kind, value, counts, 64);
        if (strcmp(kind, "stage") == 0) {
            write_group(s, value, name, to);
            continue;
        }
        while (l < s->nlayer && s->layer[l].in_group)
            l++;
        if (l < s->nlayer && strcmp(s->layer[l].name, name) == 0) /* else norm: none left nothing of it */
            write_layer(s, &s->layer[l++], to);
        if (l < s->nlayer && strcmp(s->layer[l].name, xprintf("%s_between", name)) == 0) /* the norm behind it */
            write_layer(s, &s->layer[l++], to);
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------------------
 */

static const char *channels(const double *v, int n)
{
    bool same = true;
    Buf b = {0};
    for (int c = 1; c < n; c++)
        same = same && v[c] == v[0];
    if (same)
        return real_text(v[0]);
    for (int c = 0; c < n; c++)
        buf_printf(&b, "%s%s", c ? ", " : "[", real_text(v[c]));
    buf_puts(&b, "]");
    return b.text;
}

const char *unroll_text(const Spec *s)
{
    return s->unroll == UNROLL_AUTO   ? "auto"
           : s->unroll == UNROLL_FULL ? "full"
           : s->unroll == UNROLL_NONE ? "none"
                                      : xprintf("%d", s->unroll);
}

const char *weights_kept_text(const struct cvy_optimiser *o)
{
    const int n = cvy_buffers(o);
    Buf b = {0};

    buf_puts(&b, "weights");
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i + 1 < n ? ", " : " and ", o->buffer[i]);
    return b.text;
}

int64_t weights_kept_bytes(const struct cvy_optimiser *o, int64_t weights, int64_t learning)
{
    return (int64_t)sizeof(float) * (weights + cvy_buffers(o) * learning);
}

const char *hyper_text(const SpecTrain *t, int k)
{
    return !t->optimiser->hyper[k].off ? real_text(t->hyper[k]) : t->hyper[k] != 0 ? "true" : "false";
}

const char *augment_text(const SpecTrain *t)
{
    char text[CVY_AUGMENT_TEXT];

    cvy_augment_write(&t->augment, text);
    return xprintf("%s", text);
}

const char *freeze_text(const SpecTrain *t)
{
    Buf b = {0};

    for (int i = 0; i < t->nfreeze; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", t->freeze[i]);
    return b.text ? b.text : "";
}

const char *spec_input_text(const Spec *s)
{
    const char *lengths = s->lengths ? ", lengths: true" : "";

    return s->tokens      ? xprintf("{tokens: %d, length: %d%s}", s->tokens, s->input[2], lengths)
           : s->lengths   ? xprintf("{features: %d, length: %d%s}", s->input[0], s->input[2], lengths)
           : s->dims == 1 ? xprintf("[%d, %d]", s->input[0], s->input[2])
                          : xprintf("[%d, %d, %d]", s->input[0], s->input[1], s->input[2]);
}

void spec_write(const Spec *s, FILE *to)
{
    const SpecTrain *t = &s->train;
    fprintf(to, "name: %s\ninput: %s\n%s: %d\n%slayers:\n", s->name, spec_input_text(s),
            t->loss->target == CVY_CLASS ? "classes" : "outputs", s->classes, s->head);
    write_items(s, to);
    fprintf(to, "init: %s\n", init_text(s));
    fprintf(to, "unroll: %s\n", unroll_text(s));
    fprintf(to, "winograd: %s\n", winograd_names[s->winograd]);
    if (s->recompute)
        fprintf(to, "recompute: %d\n", s->recompute);
    fprintf(to, "train:\n  data: %s\n  epochs: %d\n  batch: %d\n  optimizer: %s\n", t->data, t->epochs, t->batch,
            t->optimiser->name);
    if (t->loss->target != CVY_CLASS)
        fprintf(to, "  loss: %s\n  target: %s\n", t->loss->code, t->loss->target == CVY_INPUT ? "input" : "labels");
    fprintf(to, "  lr: %s\n", real_text(t->lr));
    for (int k = 0; k < cvy_hypers(t->optimiser); k++)
        fprintf(to, "  %s: %s\n", t->optimiser->hyper[k].name, hyper_text(t, k));
    fprintf(to, "  weight_decay: %s\n  decay: %s\n", real_text(t->weight_decay), t->decay_all ? "all" : "weights");
    fprintf(to, "  schedule: %s\n", cvy_schedules[t->schedule].name);
    for (int k = 0; k < CVY_SETTINGS; k++)
        if (loss_takes(t->loss, cvy_settings[k].name))
            fprintf(to, "  %s: %s\n", cvy_settings[k].name, setting_text(k, t->setting[k]));
    fprintf(to, "  augment: [%s]\n", augment_text(t));
    if (t->class_weight || t->balanced)
        fprintf(to, "  class_weights: %s\n", t->balanced ? "balanced" : channels(t->class_weight, s->classes));
    if (t->nfreeze)
        fprintf(to, "  freeze: [%s]\n", freeze_text(t));
    fprintf(to, "  mean: %s\n  std: %s\n  seed: %lld\n", channels(t->mean, s->input[0]), channels(t->std, s->input[0]),
            (long long)t->seed);
}

/* What a linear layer is as a conv. */
static SpecStage one_by_one(void)
{
    SpecStage st = stage_usual(OP_CONV);
    st.arg[ARG_KERNEL] = (Arg){.size = {1, 1}};
    st.arg[ARG_PADDING].sides = (Sides){{0, 0}, {0, 0}};
    return st;
}

static void dump_layer(const Spec *s, int i, FILE *to)
{
    static const char *const shortcuts[] = {"identity", "pad", "where shapes differ", "always"};
    const SpecLayer *l = &s->layer[i];
    fprintf(to, "%-16s %s", l->name,
            l->form == FORM_ADD                                 ? "add"
            : l->form == FORM_CONCAT                            ? "concat"
            : l->bare && l->nstage && op_is_alone(l->stage->op) ? op_text(l->stage->op, l->stage->arg, s->dims, true)
                                                                : order_text(l->stage, l->nstage, s->dims));
    if (l->form == FORM_SHORTCUT)
        fprintf(to, "%s%s stride %dx%d", l->nstage ? " " : "", shortcuts[l->shortcut], l->stride[0], l->stride[1]);
    if (l->form == FORM_BLOCK) {
        const SpecStage *weight = layer_weight(l), conv = weight->op == OP_CONV ? *weight : one_by_one();
        const int *kernel = conv.arg[ARG_KERNEL].size, *stride = conv.arg[ARG_STRIDE].size,
                  *dilation = conv.arg[ARG_DILATION].size;
        fprintf(to, " out %d kernel %dx%d stride %dx%d padding %s bias %s", l->out, kernel[0], kernel[1], stride[0],
                stride[1], sides_whole(conv.arg[ARG_PADDING].sides), bias_names[l->bias]);
        if (dilation[0] > 1 || dilation[1] > 1)
            fprintf(to, " dilation %dx%d", dilation[0], dilation[1]);
        if (conv.arg[ARG_GROUPS].count != 1)
            fprintf(to, " groups %s", groups_text(&conv));
    }
    fputs(norm_keys(l, " ", " "), to);
    if (l->zero_gamma)
        fprintf(to, " zero_gamma");
    if (l->segment)
        fprintf(to, " segment %d", l->segment);
    for (int k = 0; k < l->nfrom && (l->nfrom > 1 || l->from != i - 1); k++)
        fprintf(to, "%s%s", k ? ", " : " <- ", l->froms[k] < 0 ? "input" : s->layer[l->froms[k]].name);
    if (l->form == FORM_SHORTCUT && l->else_from != l->from)
        fprintf(to, ", or %s", s->layer[l->else_from].name);
    fprintf(to, "%s\n", l->form == FORM_BARE ? " (bare)" : "");
}

void spec_dump(const Spec *s, FILE *to)
{
    const SpecTrain *t = &s->train;
    const char *input = s->tokens ? xprintf("%d of %d tokens", s->input[2], s->tokens)
                                  : xprintf("%d x %d x %d", s->input[0], s->input[1], s->input[2]);
    if (s->lengths)
        input = xprintf("%s, lengths a sample", input);
    fprintf(to, "spec %s: input %s, classes %d, init %s, unroll %s\n", s->name, input, s->classes, init_text(s),
            unroll_text(s));
    for (int i = 0; i < s->nlayer; i++)
        dump_layer(s, i, to);
    fprintf(to, "train: data %s epochs %d batch %d %s lr %s", t->data, t->epochs, t->batch, t->optimiser->name,
            real_text(t->lr));
    for (int k = 0; k < cvy_hypers(t->optimiser); k++)
        if (!t->optimiser->hyper[k].off)
            fprintf(to, " %s %s", t->optimiser->hyper[k].name, hyper_text(t, k));
        else if (t->hyper[k] != 0)
            fprintf(to, " %s", t->optimiser->hyper[k].name);
    fprintf(to, " weight_decay %s of %s schedule %s\n", real_text(t->weight_decay), t->decay_all ? "all" : "weights",
            cvy_schedules[t->schedule].name);
    for (int k = 0; k < CVY_SETTINGS; k++)
        if (t->setting[k] != cvy_settings[k].usual)
            fprintf(to, "       %s %s\n", cvy_settings[k].name, setting_text(k, t->setting[k]));
    if (t->loss->target != CVY_CLASS)
        fprintf(to, "       loss %s\n", t->loss->name);
    if (cvy_augments(&t->augment))
        fprintf(to, "       augment %s\n", augment_text(t));
    if (t->class_weight || t->balanced)
        fprintf(to, "       class_weights %s\n", t->balanced ? "balanced" : channels(t->class_weight, s->classes));
    if (t->nfreeze)
        fprintf(to, "       freeze %s\n", freeze_text(t));
    fprintf(to, "       mean %s std %s seed %lld\n", channels(t->mean, s->input[0]), channels(t->std, s->input[0]),
            (long long)t->seed);
}

const char *spec_text(const Spec *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = text_begin(&text, &len);

    spec_write(s, f);
    text_end(f, &text);
    const char *copy = xstrndup(text, len);
    free(text);
    return copy;
}

static const char *rule_text(InitRule r)
{
    return r.slope != 0 ? xprintf("%s(%s)", init_names[r.kind], real_text(r.slope)) : init_names[r.kind];
}

const char *init_text(const Spec *s)
{
    const char *conv = rule_text(s->init_conv), *linear = rule_text(s->init_linear);
    return strcmp(conv, linear) == 0 ? conv : xprintf("{conv: %s, linear: %s}", conv, linear);
}
