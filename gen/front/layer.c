/* layer.c - one layer out of the tree: a block with its order, or a bare stage. */
#include "places.h"
#include "read.h"

#include <ctype.h>
#include <string.h>

static const char later_grammar[] = "docs/spec.md says what it will do; leave it out for now";

static bool has_stage(const SpecLayer *l, bool (*fits)(OpKind))
{
    for (int i = 0; i < l->nstage; i++)
        if (fits(l->stage[i].op))
            return true;
    return false;
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
        if (has_momentum && op_is_batch_norm(l->stage[i].op))
            l->stage[i].arg[ARG_MOMENTUM].real = momentum;
    }
}

/* The same, of a layer's own map and what it takes over; `own` is without the latter, and alone warned about. */
static void read_norm_keys(const Node *map, const Node *own, SpecLayer *l)
{
    read_norms(map, l);
    for (int i = 0; i < 2; i++) {
        const char *key = i ? "momentum" : "eps";
        if (own && l->nstage && !has_stage(l, i ? op_is_batch_norm : op_is_norm) && keys_get(own, key) &&
            !keys_get(own, key)->implied)
            diag_warn(keys_get_key(own, key)->mark, NULL, "%s has no %s: '%s' does nothing", l->name, i ? "bn" : "norm",
                      key);
    }
}

static void read_out(const Node *n, const char *kind, int classes, SpecLayer *l)
{
    l->out_mark = n->mark;
    if (n->kind == NODE_SCALAR && is_one_of(n, classes_word))
        l->out = classes;
    else if (n->kind == NODE_SCALAR && (isalpha((unsigned char)n->text[0]) || n->text[0] == '_') && !text_is_null(n))
        diag_error(n->mark,
                   strstr(n->text, "class") || diag_nearest(n->text, classes_word) ? "did you mean 'classes'?" : NULL,
                   "%s.out must be a whole number or the word classes, not '%s'", kind, n->text);
    else
        want_int32(n, xprintf("%s.out", kind), 1, MAX_OUT, &l->out);
}

void read_bias(const Node *n, bool has_norm, Bias *to)
{
    int b;
    if (want_word(n, "bias", bias_names, &b))
        *to = b != BIAS_UNLESS_NORM ? (Bias)b : has_norm ? BIAS_FALSE : BIAS_TRUE;
}

void read_recompute(const Node *n, int *to)
{
    int64_t number;
    if (node_says(n, "none"))
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
    int *kernel = arg[ARG_KERNEL].size, *dilation = arg[ARG_DILATION].size;
    Sides *padding = &arg[ARG_PADDING].sides;
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
        if (node_says(n, "depthwise"))
            arg[ARG_GROUPS].count = 0;
        else
            want_int32(n, "conv.groups", 1, MAX_OUT, &arg[ARG_GROUPS].count);
    }
    int most = MAX_KERNEL;
    for (int d = 0; d < 2; d++) {
        /* at stride 1 an odd kernel keeps the size */
        padding->before[d] = padding->after[d] = dilation[d] * (kernel[d] / 2);
        most = padding->before[d] > most ? padding->before[d] : most;
    }
    if (!(n = keys_get(map, "padding")) || !want_sides(n, "conv.padding", most, padding) || !sides_are_same(*padding))
        return;
    for (int d = 0; d < 2; d++)
        if (dilation[d] > 1 && arg[ARG_STRIDE].size[d] > 1) {
            diag_error(n->mark, "a stride of 1, a dilation of 1, or the padding by side: [top, bottom, left, right]",
                       "padding: same is Keras's, which has no conv with a stride and a dilation above 1");
            return;
        }
}

/* A block's keys: its own, and those that it takes over. */
static Node *block_keys(OpKind weight, const Node *value, const Node *own, const Defaults *def)
{
    Node *map = node_new(NODE_MAP, "", value ? value->mark : (Mark){0});
    for (int i = 0; own && i < own->n; i++)
        node_put(map, own->key[i], own->item[i]);
    if (value && !own && !text_is_null(value))
        node_put(map, node_new(NODE_SCALAR, "out", value->mark), (Node *)value);
    bool depthwise = own && node_says(keys_get(own, "groups"), "depthwise");
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
    } else if (!node_says(keys_get(map, "groups"), "depthwise")) {
        diag_error(l->mark, xprintf("- %s: 16, or - %s: {out: 16, ...}", kind, kind),
                   "%s needs 'out', its number of %s", kind, conv ? "output channels" : "outputs");
    }
    if (conv) {
        n = keys_get(map, "stride");
        if (def->in_group && node_says(n, "group"))
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
static void read_arg_key(SpecStage *st, int i, const KeyInfo *keys, const char *single_key, const Node *single,
                         const Node *map)
{
    const OpInfo *info = &op_info[st->op];
    const ArgInfo *arg = &info->arg[i];
    const bool stands = single && strcmp(single_key, arg->name) == 0;
    const Node *n = stands ? single : map ? keys_get(map, arg->name) : NULL;
    KeyValue v;
    const KeyInfo *key = keys_find(keys, arg->name);
    if (!n && arg->given == ARG_MUST)
        diag_error(st->mark, info->hint ? info->hint : xprintf("- %s(2)", info->name), "%s needs '%s' (%s)", info->name,
                   arg->name, key->help);
    st->arg[i] = op_usual(st->op, i, st->arg);
    if (arg->kind == ARG_PLACES || !n || !key_want(key, n, xprintf("%s.%s", info->name, arg->name), &v))
        return;
    if (arg->kind == ARG_REAL)
        st->arg[i].real = v.real;
    else if (arg->kind == ARG_COUNT)
        st->arg[i].count = (int)v.i;
    else if (arg->kind == ARG_FLAG)
        st->arg[i].count = v.truth;
    else if (arg->kind == ARG_CHOICE)
        st->arg[i].count = v.word;
    else if (arg->kind == ARG_SIDES)
        st->arg[i].sides = v.sides;
    else
        st->arg[i] = (Arg){.size = {v.size[0], v.size[1]}};
}

/* A stage that is a layer: "- bn", "- maxpool(2)", "- maxpool: {k: 2}", "- drop: 0.5", "- act: tanh". */
static void read_bare(const Node *word, Node *value, const Defaults *def, SpecLayer *l, SpecStage *between)
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
    for (int i = 0; i < OP_ARGS; i++)
        if (op_info[st->op].arg[i].name && (op_info[st->op].arg[i].given != ARG_KEY || op_is_alone(st->op)))
            read_arg_key(st, i, keys, row->single, single, map);
    if (op_is_recurrent(st->op) && map && (n = keys_get(map, "norm")))
        places_read(n, st->op, &def->words, &st->arg[ARG_CELL_NORM].places, between);
    if (op_resets_before(st->op, st->arg) && op_place(st->op, st->arg, PLACE_RECURRENT))
        diag_error(keys_get(map, "norm")->mark, "norm: {input: ln}, or reset: after",
                   "'recurrent' of a gru with reset: before: its U h is two products, the second of which needs r");
    if (op_has_forget_bias(st->op, st->arg) && !st->arg[ARG_CELL_BIAS].count)
        diag_error(keys_get(map, "forget_bias")->mark, "leave bias: false out",
                   "forget_bias is of a bias, and this lstm has none");
    if (st->op == OP_AVGPOOL && sides_are_same(st->arg[ARG_PADDING].sides) && map && st->arg[ARG_COUNTED].count &&
        (n = keys_get(map, "count_include_pad")))
        diag_error(n->mark, "leave it out, or give the padding by side: [top, bottom, left, right]",
                   "padding: same is Keras's, whose averages do not count padding");
    if (diag_errors() == errors)
        stage_check(st);
}

void layer_read(Node *item, const Defaults *def, const char *name, const Node *stride, bool takes, SpecLayer *l,
                SpecStage *between)
{
    const char *kind;
    Node *value;
    const Node *word;
    if (!layer_kind(item, &kind, &value, &word))
        BUG("an item without a kind");
    *between = (SpecStage){.op = OP_KINDS};
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
        read_bare(word, value, def, l, between);
        if (l->nstage > 1)
            diag_error(l->mark, "write each with a dash of its own", "a layer without a weight op is a single stage");
    }
}
