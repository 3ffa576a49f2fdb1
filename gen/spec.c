/* spec.c - tree -> Spec.
 *
 * needs: a tree (yaml.c), overrides applied.  sets: a Spec whose every value is in range, names and defaults filled in,
 * orders spelled out into stages; or collected errors and NULL. Knows keys, types, ranges, defaults and places in the
 * file; knows no shapes. docs/spec.md is its manual. */
#include "spec.h"

#include <math.h>
#include <string.h>

const char *const order_default = "conv-norm-act";
static const char later_grammar[] = "docs/spec.md says what it will do; leave it out for now";

static bool is_in(const char *const *names, const char *w)
{
    for (; *names; names++)
        if (strcmp(*names, w) == 0)
            return true;
    return false;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

bool layer_kind(const Node *item, const char **kind, Node **value, const Node **word)
{
    const char *w;
    *value = NULL;
    if (item->kind == NODE_SCALAR) {
        *word = item;
        w = order_word(item->text);
    } else if (item->kind == NODE_MAP && item->n == 1) {
        *word = item->key[0];
        *value = item->item[0];
        w = item->key[0]->text;
    } else {
        return false;
    }
    OpKind op = op_find(w);
    *kind = strcmp(w, "act") == 0 ? "act" : op != OP_KINDS ? op_info[op].stage : w;
    return true;
}

const char *layer_name(const char *kind, const Node *value, KindCount *counts, int ncounts)
{
    int i = 0;
    while (i < ncounts - 1 && counts[i].kind && strcmp(counts[i].kind, kind) != 0)
        i++;
    counts[i].kind = kind;
    int ordinal = ++counts[i].n;
    const Node *name = value ? keys_get(value, "name") : NULL;
    return name && name->kind == NODE_SCALAR ? name->text : xprintf("%s%d", kind, ordinal);
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

static bool has_stage(const SpecLayer *l, bool (*fits)(OpKind))
{
    for (int i = 0; i < l->nstage; i++)
        if (fits(l->stage[i].op))
            return true;
    return false;
}

static bool is_bn(OpKind op)
{
    return op == OP_BN;
}

const SpecStage *layer_weight(const SpecLayer *l)
{
    for (int i = 0; i < l->nstage; i++)
        if (op_info[l->stage[i].op].cls == CLASS_WEIGHT)
            return &l->stage[i];
    return NULL;
}

void read_norms(const Node *map, SpecLayer *l)
{
    double eps, momentum;
    const bool has_eps = map && key_real(conv_keys, map, NULL, "eps", &eps);
    const bool has_momentum = map && key_real(conv_keys, map, NULL, "momentum", &momentum);
    for (int i = 0; i < l->nstage; i++) {
        if (has_eps && op_is_norm(l->stage[i].op))
            l->stage[i].arg[ARG_EPS].real = eps;
        if (has_momentum && l->stage[i].op == OP_BN)
            l->stage[i].arg[ARG_MOMENTUM].real = momentum;
    }
}

/* The same, of a layer's own map and what it takes over; `own` is without the latter, and alone warned about. */
static void read_norm_keys(const Node *map, const Node *own, SpecLayer *l)
{
    read_norms(map, l);
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "momentum" : "eps";
        if (own && l->nstage && !has_stage(l, i ? is_bn : op_is_norm) && keys_get(own, key) && !keys_get(own, key)->implied)
            diag_warn(keys_get_key(own, key)->mark, NULL, "%s has no %s: '%s' does nothing", l->name, i ? "bn" : "norm", key);
    }
}

static void read_out(const Node *n, const char *kind, int classes, SpecLayer *l)
{
    l->out_mark = n->mark;
    if (n->kind == NODE_SCALAR && strcmp(n->text, "classes") == 0)
        l->out = classes;
    else if (n->kind == NODE_SCALAR && diag_nearest(n->text, classes_word))
        diag_error(n->mark, "did you mean 'classes'?", "%s.out must be a whole number or the word classes, not '%s'", kind, n->text);
    else
        want_int32(n, xprintf("%s.out", kind), 1, MAX_OUT, &l->out);
}

/* auto, full, none, or how many statements a function may hold */
static void read_unroll(const Node *n, Spec *s)
{
    static const int meaning[] = {UNROLL_AUTO, UNROLL_FULL, UNROLL_NONE};
    int64_t number;
    int word;
    s->unroll_mark = n->mark;
    if (n->kind == NODE_SCALAR && !n->quoted && text_int(n->text, &number))
        want_int32(n, "unroll", 50, 100000, &s->unroll);
    else if (want_word(n, "unroll", unroll_names, &word))
        s->unroll = meaning[word];
}

void read_bias(const Node *n, bool has_norm, Bias *to)
{
    int b;
    if (want_word(n, "bias", bias_names, &b))
        *to = b != BIAS_UNLESS_NORM ? (Bias)b : has_norm ? BIAS_FALSE : BIAS_TRUE;
}

static bool is_word(const Node *n, const char *word)
{
    return n && n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, word) == 0;
}

void read_recompute(const Node *n, int *to)
{
    int64_t number;
    if (is_word(n, "none"))
        *to = 0;
    else if (n->kind != NODE_SCALAR || n->quoted || !text_int(n->text, &number))
        diag_error(n->mark, "how many blocks or repeats are run again together: 1 keeps the least",
                   "recompute must be none or a whole number");
    else
        want_int32(n, "recompute", 1, MAX_LAYERS, to);
}

static void read_conv_keys(const Node *map, const Node *stride, SpecLayer *l, Arg arg[OP_ARGS])
{
    const Node *n;
    int *kernel = arg[ARG_KERNEL].size, *padding = arg[ARG_PADDING].size, *dilation = arg[ARG_DILATION].size;
    if (size_dims == 1)
        kernel[0] = 1;
    if ((n = keys_get(map, "kernel"))) {
        want_pair(n, "conv.kernel", 1, MAX_KERNEL, kernel);
        l->kernel_mark = n->mark;
    }
    if (stride)
        want_pair(stride, "conv.stride", 1, MAX_KERNEL, arg[ARG_STRIDE].size);
    if ((n = keys_get(map, "dilation")))
        want_pair(n, "conv.dilation", 1, MAX_KERNEL, dilation);
    if ((n = keys_get(map, "groups"))) {
        l->groups_mark = n->mark;
        if (is_word(n, "depthwise"))
            arg[ARG_GROUPS].count = 0;
        else
            want_int32(n, "conv.groups", 1, MAX_OUT, &arg[ARG_GROUPS].count);
    }
    int most = MAX_KERNEL;
    for (int d = 0; d < 2; d++) {
        padding[d] = dilation[d] * (kernel[d] / 2); /* "same", for odd kernels at stride 1 */
        most = padding[d] > most ? padding[d] : most;
    }
    if ((n = keys_get(map, "padding")))
        want_pair(n, "conv.padding", 0, most, padding);
}

/* A block's keys: its own, and those that it takes over. */
static Node *block_keys(OpKind weight, const Node *value, const Node *own, const Defaults *def)
{
    Node *map = node_new(NODE_MAP, "", value ? value->mark : (Mark){0});
    for (int i = 0; own && i < own->n; i++)
        node_put(map, own->key[i], own->item[i]);
    if (value && !own && !text_is_null(value))
        node_put(map, node_new(NODE_SCALAR, "out", value->mark), (Node *)value);
    bool depthwise = own && is_word(keys_get(own, "groups"), "depthwise");
    for (int i = 0; def->keys && i < def->keys->n; i++) {
        const char *key = def->keys->key[i]->text;
        bool conv_only = strcmp(key, "kernel") == 0 || strcmp(key, "groups") == 0;
        if (!keys_get(map, key) && !(conv_only && weight != OP_CONV) && !(depthwise && strcmp(key, "out") == 0))
            node_put(map, def->keys->key[i], def->keys->item[i]);
    }
    return map;
}

/* Whether an order has a stage of that very word. */
static bool has_word(const Node *order, const char *word)
{
    const size_t n = strlen(word);
    for (const char *s = order_source(order); *s; s += strcspn(s, "-"), s += *s == '-') {
        const char *at = s + strspn(s, " ");
        if (strncmp(at, word, n) == 0 && (!at[n] || strchr(" -", at[n])))
            return true;
    }
    return false;
}

/* A conv or linear block. `value` is its map, or the number of its outputs. */
static void read_block(OpKind weight, Node *value, const Defaults *def, const Node *stride, bool takes, SpecLayer *l)
{
    const char *kind = op_info[weight].name;
    bool conv = weight == OP_CONV;
    const Node *n, *own = value && value->kind == NODE_MAP ? value : NULL;
    SpecStage weights = stage_usual(weight);
    l->kernel_mark = l->out_mark = l->groups_mark = l->mark;
    if (own && !keys_check(own, kind, conv ? conv_keys : linear_keys))
        return;
    const Node *map = block_keys(weight, value, own, def);

    if ((n = keys_get(map, "out"))) {
        read_out(n, kind, def->classes, l);
    } else if (!is_word(keys_get(map, "groups"), "depthwise")) {
        diag_error(l->mark, xprintf("- %s: 16, or - %s: {out: 16, ...}", kind, kind),
                   "%s needs 'out', its number of %s", kind, conv ? "output channels" : "outputs");
    }
    if (conv) {
        n = keys_get(map, "stride");
        if (def->in_group && is_word(n, "group"))
            n = stride;
        else if (!n && takes)
            n = stride;
        read_conv_keys(map, n, l, weights.arg);
    }

    Words words = def->words;
    const Node *act_node = own ? keys_get(own, "act") : NULL, *norm_node = own ? keys_get(own, "norm") : NULL;
    if (act_node)
        act_read(act_node, &words.act);
    if (norm_node)
        norm_read(norm_node, &words.norm);
    Node plain = {.kind = NODE_SCALAR, .text = conv ? order_default : "linear", .mark = l->mark};
    const Node *order = own && (n = keys_get(own, "order")) ? n : conv && def->order ? def->order : &plain;
    l->order_from = order == &plain ? ORDER_DEFAULT : order == def->order ? ORDER_TAKEN : ORDER_OWN;
    if (order == def->order && def->order_bad)
        l->nstage = 0; /* said already, at the top */
    else if (order_read(order, weight, words, &l->stage, &l->nstage) && order == &plain)
        for (int i = 0; i < l->nstage; i++)
            l->stage[i].mark = l->mark;
    for (int i = 0; i < l->nstage; i++)
        if (l->stage[i].op == weight)
            memcpy(l->stage[i].arg, weights.arg, sizeof weights.arg);
    if ((n = keys_get(map, "bias")))
        read_bias(n, has_stage(l, op_is_norm), &l->bias);
    read_norm_keys(map, own, l);
    const Node *said[] = {act_node, norm_node};
    for (int i = 0; i < 2; i++)
        if (said[i] && !said[i]->implied && l->nstage && !has_word(order, i ? "norm" : "act"))
            diag_warn(said[i]->mark, i ? "put 'norm' into the order" : "put 'act' into the order",
                      "%s has no '%s' in its order: this does nothing", l->name, i ? "norm" : "act");
}

/* Argument i of a bare stage from the key of its name, or from the value that stands for the whole map. */
static void read_arg_key(SpecStage *st, int i, const KeyInfo *keys, const char *single_key, const Node *single, const Node *map)
{
    const OpInfo *info = &op_info[st->op];
    const ArgInfo *arg = &info->arg[i];
    const bool stands = single && strcmp(single_key, arg->name) == 0;
    const Node *n = stands ? single : map ? keys_get(map, arg->name) : NULL;
    KeyValue v;
    const KeyInfo *key = keys_find(keys, arg->name);
    if (!n && arg->given == ARG_MUST)
        diag_error(st->mark, info->hint ? info->hint : xprintf("- %s(2)", info->name), "%s needs '%s' (%s)", info->name, arg->name, key->help);
    st->arg[i] = op_usual(st->op, i, st->arg);
    if (!n || !key_want(key, n, xprintf("%s.%s", info->name, arg->name), &v))
        return;
    if (arg->kind == ARG_REAL)
        st->arg[i].real = v.real;
    else if (arg->kind == ARG_COUNT)
        st->arg[i].count = (int)v.i;
    else
        st->arg[i] = (Arg){.size = {v.size[0], v.size[1]}};
}

/* A stage that is a layer: "- bn", "- maxpool(2)", "- maxpool: {k: 2}", "- drop: 0.5", "- act: tanh". */
static void read_bare(const Node *word, Node *value, const Defaults *def, SpecLayer *l)
{
    const Node *map = value && value->kind == NODE_MAP ? value : NULL, *n;
    const Node *single = value && !map && !text_is_null(value) ? value : NULL;
    l->bare = true;
    l->form = FORM_BARE;
    l->stage = xalloc(sizeof *l->stage);
    l->nstage = 1;
    SpecStage *st = &l->stage[0];

    if (!value) {
        SpecStage *read;
        int nread;
        l->nstage = 0;
        if (!order_read(word, OP_KINDS, def->words, &read, &nread))
            return;
        l->stage = read;
        l->nstage = nread;
        return;
    }
    bool act = strcmp(word->text, "act") == 0, norm = strcmp(word->text, "norm") == 0;
    *st = act ? def->words.act : norm ? def->words.norm : stage_usual(op_find(word->text));
    st->mark = l->mark;
    const StageKeys *row = stage_keys_of(word->text);
    const KeyInfo *keys = row->keys;
    if (!single && map && !keys_check(map, word->text, keys))
        return;
    if (!single && !map && !text_is_null(value)) {
        diag_error(value->mark, NULL, "%s must be a map of keys and values", word->text);
        return;
    }
    if (act || norm) {
        if ((n = single ? single : map ? keys_get(map, "kind") : NULL) && (act ? act_read : norm_read)(n, st))
            st->mark = l->mark;
        l->nstage = st->op != OP_KINDS; /* norm: none */
        if (norm)
            read_norm_keys(map, map, l);
        return;
    }
    if (op_is_norm(st->op))
        read_norm_keys(map, map, l);
    if (single && !row->single) {
        const int args = op_may_args(st->op);
        Buf hint = {0};
        buf_printf(&hint, args ? "- %s: {" : "write - %s", word->text);
        for (int k = 0; k < args; k++)
            buf_printf(&hint, "%s: ...%s", op_info[st->op].arg[op_arg_at(st->op, k)].name, k < args - 1 ? ", " : "}");
        if (args)
            diag_error(single->mark, hint.text, "%s has %d arguments, not one value", word->text, args);
        else
            diag_error(single->mark, hint.text, "%s takes no value", word->text);
        return;
    }
    const int errors = diag_errors();
    for (int k = 0; k < op_may_args(st->op); k++)
        read_arg_key(st, op_arg_at(st->op, k), keys, row->single, single, map);
    if (diag_errors() == errors)
        stage_check(st);
}

void layer_bad_item(const Node *item)
{
    if (item->kind == NODE_MAP && item->n > 1) {
        OpKind op = op_find(item->key[0]->text);
        if (op != OP_KINDS && text_is_null(item->item[0]))
            diag_error(item->key[1]->mark,
                       xprintf("indent it below '%s', or write - %s: {%s: ...}", item->key[0]->text, item->key[0]->text,
                               item->key[1]->text),
                       "'%.60s' stands beside '%s', not inside it", item->key[1]->text, item->key[0]->text);
        else
            diag_error(item->key[1]->mark, "begin each layer with a dash of its own",
                       "a layer is one key, and this is a second: '%.60s'", item->key[1]->text);
    } else {
        diag_error(item->mark, "- conv: 16, - bn, - maxpool(2)", "a layer must be a word or a map of one key");
    }
}

void layer_read(Node *item, const Defaults *def, const char *name, const Node *stride, bool takes, SpecLayer *l)
{
    const char *kind;
    Node *value;
    const Node *word;
    if (!layer_kind(item, &kind, &value, &word))
        BUG("an item without a kind");
    l->name = name;
    l->mark = word->mark;
    const Node *given = value ? keys_get(value, "name") : NULL;
    l->name_mark = given ? given->mark : l->mark;
    const char *w = value ? word->text : order_word(word->text);
    if (known_later(w) && strcmp(w, "add") != 0 && strcmp(w, "concat") != 0) {
        diag_error(word->mark, later_grammar, "layers of the kind '%s' are not built yet", w);
    } else if (strcmp(w, "residual") == 0 || strcmp(w, "concat") == 0) {
        diag_error(word->mark, xprintf("- stage: {%s: [...]}", w), "'%s' is the body of a stage, not a layer", w);
    } else if (!is_in(layer_kinds(), w)) {
        if (!value && strchr(word->text, '-') && (strstr(word->text, "conv") || strstr(word->text, "linear")))
            diag_error(word->mark, xprintf("- conv: {out: 16, order: %.60s}", word->text),
                       "an order is not a layer: say which block it is of");
        else
            diag_error(word->mark, known_word(w) ? known_word(w) : diag_choices(w, layer_kinds(), "convoy help layers"),
                       "unknown layer '%.60s'", w);
    } else if (strcmp(w, "conv") == 0 || strcmp(w, "linear") == 0) {
        read_block(op_find(w), value, def, stride, takes, l);
    } else {
        read_bare(word, value, def, l);
        if (l->nstage > 1)
            diag_error(l->mark, "write each with a dash of its own", "a layer without a weight op is a single stage");
    }
}

/* ---- training -------------------------------------------------------------------------------------------------- */

/* mean: 0.5, or one number a channel. */
static void read_channels(const Node *n, const char *what, int channels, double lo, double *to)
{
    if (n->kind != NODE_SEQ) {
        double v;
        if (want_real(n, what, lo, 1e6, &v))
            for (int c = 0; c < channels; c++)
                to[c] = v;
        return;
    }
    if (n->n != channels) {
        diag_error(n->mark, "one number for all, or one per channel", "%s has %d numbers for %d channels", what, n->n,
                   channels);
        return;
    }
    for (int c = 0; c < channels; c++)
        want_real(n->item[c], what, lo, 1e6, &to[c]);
}

static void read_train(const Node *map, Spec *s)
{
    SpecTrain *t = &s->train;
    *t = (SpecTrain){.data = "idx",
                     .epochs = 5,
                     .batch = 64,
                     .lr = 0.1,
                     .momentum = 0.9,
                     .weight_decay = 5e-4,
                     .schedule = SCHEDULE_ONE_CYCLE,
                     .warmup = 0.3,
                     .seed = 1};
    const Node *n;
    int i;
    if (map && !keys_check(map, "train", train_keys))
        map = NULL;
    if (map && (n = keys_get(map, "data")) && want_word(n, "data", data_names, &i))
        t->data = data_names[i];
    bool clothes_or_digits = strcmp(t->data, "fashion-mnist") == 0 || strcmp(t->data, "mnist") == 0;
    if (map && clothes_or_digits && !diag_errors() &&
        (s->input[0] != 1 || s->input[1] != 28 || s->input[2] != 28 || s->classes < 10))
        diag_warn(keys_get(map, "data")->mark, "data: idx reads files of your own, whatever their shape",
                  "the images of %s are 1 x 28 x 28, in ten classes: this network cannot train on them", t->data);
    if (strcmp(t->data, "shapes") != 0 && s->classes > 256 && !diag_errors())
        diag_warn(s->classes_mark, "a program of your own can train more: NAME_forward takes labels as int",
                  "the labels of IDX files are bytes: the emitted program knows classes 0 to 255 of %d", s->classes);
    double mean = 0.5, std = 0.25;
    if (strcmp(t->data, "fashion-mnist") == 0) {
        mean = 0.2860;
        std = 0.3530;
    } else if (strcmp(t->data, "mnist") == 0) {
        mean = 0.1307;
        std = 0.3081;
    }
    const int channels = s->input[0] > 0 ? s->input[0] : 1; /* 0: there is no input, an error */
    t->mean = xalloc((size_t)channels * sizeof *t->mean);
    t->std = xalloc((size_t)channels * sizeof *t->std);
    for (int c = 0; c < channels; c++) {
        t->mean[c] = mean;
        t->std[c] = std;
    }
    if (!map)
        return;
    key_int(train_keys, map, "train", "epochs", &t->epochs);
    key_int(train_keys, map, "train", "batch", &t->batch);
    key_word(train_keys, map, "optimizer", &i);
    key_real(train_keys, map, "train", "lr", &t->lr);
    key_real(train_keys, map, "train", "momentum", &t->momentum);
    key_real(train_keys, map, "train", "weight_decay", &t->weight_decay);
    if ((n = keys_get(map, "nesterov")) && want_bool(n, "train.nesterov", &t->nesterov) && t->nesterov && t->momentum == 0)
        diag_error(n->mark, "give train.momentum, or leave nesterov out", "nesterov needs a momentum");
    if (key_word(train_keys, map, "decay", &i))
        t->decay_all = i == 1;
    if (key_word(train_keys, map, "schedule", &i))
        t->schedule = (Schedule)i;
    key_real(train_keys, map, "train", "warmup", &t->warmup);
    if ((n = keys_get(map, "mean")))
        read_channels(n, "train.mean", channels, -1e6, t->mean);
    if ((n = keys_get(map, "std")))
        read_channels(n, "train.std", channels, 1e-6, t->std);
    if ((n = keys_get(map, "seed")))
        want_int(n, "train.seed", 0, INT64_MAX, &t->seed);
}

/* ---- how weights begin ----------------------------------------------------------------------------------------- */

static bool takes_slope(Init kind)
{
    return kind >= INIT_KAIMING_NORMAL && kind <= INIT_KAIMING_UNIFORM_FAN_OUT;
}

/* "kaiming_normal", "kaiming_normal(0.1)" */
static void read_rule(const Node *n, InitRule *to)
{
    const Node word = {.kind = n->kind, .text = n->kind == NODE_SCALAR ? order_word(n->text) : NULL, .mark = n->mark, .quoted = n->quoted};
    const char *open = n->kind == NODE_SCALAR ? strchr(n->text, '(') : NULL, *close = open ? strchr(open, ')') : NULL;
    int kind;
    if (!want_word(&word, "init", init_names, &kind))
        return;
    *to = (InitRule){.kind = (Init)kind};
    if (!open)
        return;
    if (!takes_slope(to->kind))
        diag_error(n->mark, "only kaiming inits have an argument, a leaky relu's slope", "init %s takes no argument", word.text);
    else if (!close || close[1] || !text_real(xstrndup(open + 1, (size_t)(close - open - 1)), &to->slope) || to->slope < 0 || to->slope > 1)
        diag_error(n->mark, xprintf("%s(0.1)", word.text), "the slope of init %s must be a number from 0 to 1", word.text);
}

static void read_init(const Node *n, Spec *s)
{
    const Node *part;
    if (n->kind != NODE_MAP) {
        read_rule(n, &s->init_conv);
        s->init_linear = s->init_conv;
        return;
    }
    if (!keys_check(n, "init", init_keys))
        return;
    if ((part = keys_get(n, "conv")))
        read_rule(part, &s->init_conv);
    if ((part = keys_get(n, "linear")))
        read_rule(part, &s->init_linear);
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

/* ---- said twice ------------------------------------------------------------------------------------------------ */

/* What a bare stage may repeat of a block: 'n' a norm, 'a' an activation, 0 else. */
static char repeated_kind(const SpecStage *st)
{
    return op_is_norm(st->op) ? 'n' : op_is_act(st->op) ? 'a' : '\0';
}

/* The norms and activations that end a block: of conv-maxpool(2)-bn-act the last two. */
static int block_tail(const SpecLayer *l)
{
    int first = l->nstage;
    while (first > 0 && repeated_kind(&l->stage[first - 1]))
        first--;
    return first;
}

/* Whether the bare stages behind a block, `run` of them, do again what its order has done at its end: the last stage again, or
 * the end from its beginning. A block with an order of its own repeats by the very same stage alone. */
static bool repeats(const SpecLayer *block, const SpecLayer *bare, int run)
{
    const int tail = block_tail(block), n = block->nstage - tail;
    const SpecStage *last = &block->stage[block->nstage - 1], *st = &bare->stage[0];
    bool again = n > 0 && run > 0;
    if (!again)
        return false;
    if (block->order_from == ORDER_OWN)
        return last->op == st->op && op_same_args(st->op, last->arg, st->arg);
    for (int k = 0; k < n && k < run; k++)
        again = again && repeated_kind(&block->stage[tail + k]) == repeated_kind(&bare[k].stage[0]);
    return again || repeated_kind(last) == repeated_kind(st);
}

/* Warns of "- conv: 16", "- bn", "- relu", as PyTorch and Keras list them, where the order gives the conv a bn and a relu already.
 * The first such place is shown, the others are counted. */
static void warn_repeats(const Spec *s)
{
    int places = 0, first = 0, first_run = 0;
    for (int i = 0; i + 1 < s->nlayer; i++) {
        int run = 0;
        while (s->layer[i].form == FORM_BLOCK && i + 1 + run < s->nlayer) {
            const SpecLayer *next = &s->layer[i + 1 + run];
            if (next->form != FORM_BARE || next->from != i + run || !repeated_kind(&next->stage[0]))
                break;
            run++;
        }
        if (run && repeats(&s->layer[i], &s->layer[i + 1], run) && !places++) {
            first = i;
            first_run = run;
        }
    }
    if (!places)
        return;
    static const char *const otherwise[] = {
        [ORDER_OWN] = "end the block's order without what follows it",
        [ORDER_TAKEN] = "write 'order: conv' where the order is said now and list every layer yourself",
        [ORDER_DEFAULT] = "write 'order: conv' at the top and list every layer yourself",
    };
    const SpecLayer *block = &s->layer[first], *bare = block + 1;
    const char *order = order_text(block->stage, block->nstage, s->dims);
    Buf all = {0};
    buf_puts(&all, order);
    for (int k = 0; k < first_run; k++)
        buf_printf(&all, "-%s", stage_text(&bare[k].stage[0], s->dims));
    diag_warn(bare->mark,
              xprintf("leave %s out, or %s%s", first_run > 1 ? "these layers" : "this layer", otherwise[block->order_from],
                      places > 1 ? xprintf(" (%d places like this one)", places) : ""),
              "%s is %s already%s; with %s it is %s", block->name, order,
              block->order_from == ORDER_DEFAULT ? ", the order of blocks where a spec says none" : "",
              first_run > 1 ? "these layers" : "this layer", all.text);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void read_input(const Node *n, Spec *s)
{
    static const char *const what[] = {"the channels of input", "the height of input", "the width of input"};
    s->input_mark = n->mark;
    if (n->kind != NODE_SEQ || n->n < 1 || n->n > 3) {
        diag_error(n->mark, "input: [1, 28, 28]; [channels, length] and [features] will do too",
                   "input must be a list of three: channels, height, width");
        return;
    }
    s->input[0] = s->input[1] = s->input[2] = 1;
    s->dims = size_dims = n->n == 2 ? 1 : 2;
    if (n->n == 2)
        want_int32(n->item[1], "the length of input", 1, MAX_SIDE, &s->input[2]);
    for (int i = 0; i < n->n; i++)
        if (n->n != 2 || i == 0)
            want_int32(n->item[i], what[i], 1, MAX_SIDE, &s->input[i]);
}

static const Node *required(const Node *tree, const char *key, const char *hint)
{
    const Node *n = keys_get(tree, key);
    if (!n) {
        diag_error((Mark){0}, hint, "the key '%s' is missing", key);
        return NULL;
    }
    if (text_is_null(n)) {
        diag_error(keys_get_key(tree, key)->mark, hint, "'%s' has no value", key);
        return NULL;
    }
    return n;
}

/* What the spec says at the top for all blocks. */
static const Node *block_defaults(const Node *tree)
{
    static const char *const names[] = {"bias", "eps", "momentum"};
    Node *keys = node_new(NODE_MAP, "", tree->mark);
    for (int i = 0; i < 3; i++)
        if (keys_get(tree, names[i]))
            node_put(keys, keys_get_key(tree, names[i]), keys_get(tree, names[i]));
    return keys;
}

Spec *spec_read(Node *tree)
{
    Spec *s = xalloc(sizeof *s);
    const Node *n;
    s->tree = tree;
    s->dims = size_dims = 2;
    if (!keys_check(tree, "the spec", top_keys))
        return NULL;
    presets_expand(tree);
    if ((n = required(tree, "name", "name: mynet")))
        want_name(n, NAME_NET, &s->name);
    if ((n = required(tree, "input", "input: [1, 28, 28]    # channels, height, width")))
        read_input(n, s);
    if ((n = required(tree, "classes", "classes: 10"))) {
        s->classes_mark = n->mark;
        want_int32(n, "classes", 2, MAX_CLASSES, &s->classes);
    }
    Defaults def = {.words = words_usual(), .classes = s->classes, .keys = block_defaults(tree)};
    check_taken_over(def.keys);
    if ((n = keys_get(tree, "act")))
        act_read(n, &def.words.act);
    if ((n = keys_get(tree, "norm")))
        norm_read(n, &def.words.norm);
    Node plain = {.kind = NODE_SCALAR, .text = order_default};
    SpecStage *stage;
    int nstage;
    if ((def.order = keys_get(tree, "order")))
        def.order_bad = !order_read(def.order, OP_CONV, def.words, &stage, &nstage);
    if ((n = keys_get(tree, "recompute")))
        read_recompute(n, &s->recompute);
    if ((n = required(tree, "layers", "below 'layers:', one line per layer: - conv: 16")))
        layers_read(n, &def, s);
    if ((n = keys_get(tree, "unroll")))
        read_unroll(n, s);
    int use;
    if ((n = keys_get(tree, "winograd")) && want_word(n, "winograd", winograd_names, &use))
        s->winograd = (WinogradUse)use;
    if ((n = keys_get(tree, "init")))
        read_init(n, s);
    read_train(keys_get(tree, "train"), s);
    const Node *order = def.order ? def.order : &plain;
    s->head = xprintf("order: %s\nact: %s\nnorm: %s\n", order_source(order), stage_text(&def.words.act, 2), norm_text(&def.words.norm));
    if (diag_errors())
        return NULL;
    warn_repeats(s);
    spec_check(s);
    return s;
}

/* ---- the checker ----------------------------------------------------------------------------------------------- */

void spec_check(const Spec *s)
{
    if (!s->name || !*s->name || s->classes < 2 || s->nlayer < 1 || s->nlayer > MAX_LAYERS)
        BUG("spec: name, classes or layers");
    for (int i = 0; i < 3; i++)
        if (s->input[i] < 1)
            BUG("spec: input[%d] = %d", i, s->input[i]);
    for (int i = 0; i < s->nlayer; i++) {
        const SpecLayer *l = &s->layer[i];
        int weights = 0;
        bool joins = l->form == FORM_ADD || l->form == FORM_CONCAT;
        bool weighty = l->form == FORM_BLOCK || (l->form == FORM_SHORTCUT && l->shortcut >= SHORTCUT_CONV);
        if (!l->name || !*l->name || (l->form == FORM_BARE && l->nstage != 1) ||
            (l->form <= FORM_STAGES && l->nstage < 1))
            BUG("spec: layer %d has no name or no stages", i);
        if (l->from < -1 || l->from >= i || (joins ? l->nfrom < 2 : l->nfrom != 1) || l->froms[0] != l->from)
            BUG("spec: %s reads layer %d", l->name, l->from);
        for (int k = 0; k < l->nfrom; k++)
            if (l->froms[k] < -1 || l->froms[k] >= i)
                BUG("spec: %s reads layer %d", l->name, l->froms[k]);
        for (int k = 0; k < l->nstage; k++) {
            const SpecStage *st = &l->stage[k];
            const OpInfo *info = &op_info[st->op];
            weights += info->cls == CLASS_WEIGHT;
            if (st->op <= OP_INPUT || st->op >= OP_LOSS || st->op == OP_PAD || info->cls == CLASS_JOIN)
                BUG("spec: %s has a stage that is none", l->name);
            if (op_bad_args(st->op, st->arg))
                BUG("spec: the %s of %s in %s", op_bad_args(st->op, st->arg), stage_text(st, s->dims), l->name);
        }
        if (weights != weighty)
            BUG("spec: %s has %d weight ops", l->name, weights);
        const SpecStage *weight = layer_weight(l);
        if (l->form == FORM_BLOCK && l->out < (weight->op == OP_CONV && !weight->arg[ARG_GROUPS].count ? 0 : 1))
            BUG("spec: %s has no outputs", l->name);
        if (l->form == FORM_SHORTCUT && (l->stride[0] < 1 || l->stride[1] < 1))
            BUG("spec: %s has no stride", l->name);
        if (l->segment < 0)
            BUG("spec: %s is of segment %d", l->name, l->segment);
    }
}
