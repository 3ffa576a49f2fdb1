/* keytables.c - every key of a spec: its type and range, its default, a line about it.
 *
 * The parser takes ranges and words from here (keys.c, key_want), and `convoy schema` writes the whole as a JSON
 * schema; docs/spec.md is the manual. A key that is `not_built` yet gives an error that says so, and is not in the
 * schema. */
#include "read.h"

#include <math.h>
#include <string.h>

static const char later_grammar[] = "docs/spec.md says what it will do; leave it out for now";

const char *const bias_names[] = {"auto", "true", "false", "unless_norm", NULL};
const char *const init_names[] = {"pytorch",
                                  "kaiming_normal",
                                  "kaiming_uniform",
                                  "kaiming_normal_fan_out",
                                  "kaiming_uniform_fan_out",
                                  "xavier_normal",
                                  "xavier_uniform",
                                  NULL};
const char *const decay_names[] = {"weights", "all", NULL};
const char *const unroll_names[] = {"auto", "full", "none", NULL};
const char *const winograd_names[] = {"auto", "off", "on", NULL};
const char *const from_names[] = {"input", "pre", NULL};
const char *const none_word[] = {"none", NULL};
const char *const classes_word[] = {"classes", "outputs", NULL};
const char *const group_word[] = {"group", NULL};
static const char *const depthwise_word[] = {"depthwise", NULL};

/* clang-format off */
#define LATER(key) {.name = key, .not_built = later_grammar}
#define NAME_KEY {.name = "name", .type = KEY_DEF, .def = "name", .help = "what the layer is called; else its kind and number: conv1"}
#define ORDER_KEYS \
    {.name = "order", .type = KEY_DEF, .def = "convOrder", \
         .help = "the stages from left to right, one of them conv: conv-bn-act, bn-act-conv, conv-maxpool(2)-bn-act; or a list of them"}, \
    {.name = "bn_1st", .type = KEY_BOOL, .help = "fastai's way to say an order: true is conv-norm-act, false is conv-act-norm"}, \
    {.name = "adn", .type = KEY_DEF, .def = "adn", \
         .help = "MONAI's way to say an order: activation, dropout (its rate in drop), norm, as they follow the conv: NDA"}, \
    {.name = "drop", .type = KEY_REAL, .lo = 0, .hi = 1, .below_hi = true, .help = "the rate of adn's D"}
#define PRESET_KEY {.name = "preset", .type = KEY_DEF, .def = "preset", \
     .help = "blocks as a library or a paper has them: sets keys that are not given here (convoy presets lists them)"}
#define NORM_KEY {.name = "norm", .type = KEY_DEF, .def = "normKind", \
     .help = "the norm that the word norm stands for: bn, gn(8), ln, in, rms; none leaves it out"}
#define ACT_KEY {.name = "act", .type = KEY_DEF, .def = "activation", .help = "the activation that the word act stands for"}
#define BIAS_KEY {.name = "bias", .type = KEY_WORD, .words = bias_names, .fallback = "auto", \
     .help = "auto: dropped where a norm takes it away; unless_norm: dropped where the block has a norm, as many libraries do"}
#define EPS_KEY {.name = "eps", .type = KEY_REAL, .fallback = USUAL_TEXT(EPS_USUAL), EPS_IS}
#define NORM_KEYS \
    EPS_KEY, \
    {.name = "momentum", .type = KEY_REAL, .fallback = USUAL_TEXT(MOMENTUM_USUAL), MOMENTUM_IS}
#define RECOMPUTE_KEY(what) {.name = "recompute", .type = KEY_INT, .lo = 1, .hi = MAX_LAYERS, .words = none_word, .help = what}
#define OUT_KEY {.name = "out", .type = KEY_INT, .lo = 1, .hi = MAX_OUT, .words = classes_word, .help = "output channels, or the word classes, or outputs"}
#define CONV_SIZE_KEYS \
    {.name = "kernel", .type = KEY_SIZE, CONV_SIZE_IS, .fallback = USUAL_TEXT(KERNEL_USUAL), .help = "a number, or [height, width]"}, \
    {.name = "stride", .type = KEY_SIZE, CONV_SIZE_IS, .words = group_word, .fallback = USUAL_TEXT(STRIDE_USUAL), \
         .help = "a number, or [height, width]; in a group, the word group: the group's"}
#define GROUPS_KEY {.name = "groups", .type = KEY_INT, .lo = 1, .hi = MAX_OUT, .words = depthwise_word, .fallback = USUAL_TEXT(GROUPS_USUAL), \
     .help = "into how many parts channels are split; or depthwise"}
#define RESIDUAL_KEYS \
    {.name = "pre", .type = KEY_DEF, .def = "stagesOrNone", .fallback = "none", .help = "stages before the body, in every repeat: bn-act"}, \
    {.name = "post", .type = KEY_DEF, .def = "stagesOrNone", .fallback = "none", .help = "stages after the body, in every repeat: act"}, \
    {.name = "shortcut", .type = KEY_DEF, .def = "shortcut", \
         .help = "of a residual: identity, pad, an order with one conv, or {order: conv-bn, always: true}"}, \
    {.name = "shortcut_from", .type = KEY_WORD, .words = from_names, .fallback = "input", \
         .help = "of a residual: whether a shortcut that is no identity reads what is before pre, or after it"}, \
    {.name = "zero_gamma", .type = KEY_BOOL, .fallback = "false", .help = "of a residual: the last norm of each branch begins with gamma 0"}

const KeyInfo top_keys[] = {
    {.name = "name", .type = KEY_DEF, .def = "name", .help = "the network's name: the C prefix, the program, the header"},
    {.name = "input", .type = KEY_DEF, .def = "input", .help = "[channels, height, width]; [channels, length]; [features]; {tokens: ..., length: ...}; {features: ..., length: ...}"},
    {.name = "classes", .type = KEY_INT, .lo = 2, .hi = MAX_CLASSES, .help = "how many logits the last layer gives"},
    {.name = "outputs", .type = KEY_INT, .lo = 1, .hi = MAX_CLASSES, .help = "instead of classes: how many numbers the last layer gives, for loss: mse"},
    ORDER_KEYS, ACT_KEY, NORM_KEY, PRESET_KEY, BIAS_KEY, NORM_KEYS,
    {.name = "layers", .type = KEY_DEF, .def = "layers", .help = "the layers and groups, in order"},
    {.name = "init", .type = KEY_DEF, .def = "init", .fallback = "pytorch", .help = "how weights begin; {conv: ..., linear: ...} for each kind"},
    {.name = "train", .type = KEY_DEF, .def = "train", .help = "the defaults of the emitted program's options"},
    LATER("presets"),
    {.name = "unroll", .type = KEY_INT, .lo = 50, .hi = 100000, .words = unroll_names, .fallback = "auto",
         .help = "how much is unrolled: auto, full, none (loops, for small memories), or how many multiply-adds a function may hold"},
    {.name = "winograd", .type = KEY_WORD, .words = winograd_names, .fallback = "auto",
         .help = "3x3 convs of stride 1 and 2 by Winograd: where the cost model says so (auto), nowhere (off), wherever they can (on)"},
    RECOMPUTE_KEY("so many layers in a row keep their input alone, and are run again for backward"),
    {.name = NULL}};

const KeyInfo input_keys[] = {
    {.name = "tokens", .type = KEY_INT, .lo = 1, .hi = MAX_TOKENS, .help = "how many different tokens there are: whole numbers from 0 to below it, which embed reads"},
    {.name = "features", .type = KEY_INT, .lo = 1, .hi = MAX_SIDE, .help = "instead of tokens: how many numbers a step has"},
    {.name = "length", .type = KEY_INT, .lo = 1, .hi = MAX_SIDE, .help = "how many steps a row has: tokens, or times so many features"},
    {.name = "lengths", .type = KEY_BOOL, .fallback = "false",
         .help = "each sample has a length of its own, up to that; what stands behind it changes nothing"},
    {.name = NULL}};

const KeyInfo conv_keys[] = {
    OUT_KEY, CONV_SIZE_KEYS,
    {.name = "padding", .type = KEY_SIDES, .lo = 0, .hi = MAX_KERNEL,
         .help = "a number, [height, width], [top, bottom, left, right], or same, as Keras pads; else kernel / 2, rounded down, times the dilation"},
    {.name = "dilation", .type = KEY_SIZE, CONV_SIZE_IS, .fallback = USUAL_TEXT(DILATION_USUAL), .help = "how far apart the taps stand"},
    GROUPS_KEY, BIAS_KEY, ORDER_KEYS, ACT_KEY, NORM_KEY, NAME_KEY, NORM_KEYS, PRESET_KEY,
    LATER("use"), LATER("unroll"), LATER("winograd"), LATER("recompute"),
    {.name = NULL}};

const KeyInfo linear_keys[] = {
    OUT_KEY, BIAS_KEY,
    {.name = "order", .type = KEY_DEF, .def = "linearOrder", .fallback = "linear",
         .help = "the stages from left to right, one of them linear: linear-bn-act; or a list of them"},
    ACT_KEY, NORM_KEY, NAME_KEY, NORM_KEYS, LATER("use"), LATER("unroll"),
    {.name = NULL}};

const KeyInfo group_keys[] = {
    {.name = "name", .type = KEY_DEF, .def = "name", .help = "what the group is called; else stage and its number"},
    {.name = "layers", .type = KEY_DEF, .def = "layers", .help = "the body: a chain"},
    {.name = "residual", .type = KEY_DEF, .def = "layers", .help = "the body: a chain whose output is added to the shortcut"},
    {.name = "concat", .type = KEY_DEF, .def = "branches",
         .help = "the body: branches that read the same and are joined by channels; [] is the input itself"},
    {.name = "repeat", .type = KEY_INT, .lo = 1, .hi = MAX_LAYERS, .fallback = "1", .help = "the body, so many times"},
    OUT_KEY, CONV_SIZE_KEYS, GROUPS_KEY, BIAS_KEY, ORDER_KEYS, ACT_KEY, NORM_KEY, NORM_KEYS, RESIDUAL_KEYS,
    {.name = "transition", .type = KEY_DEF, .def = "layers", .help = "a chain after the last repeat"},
    RECOMPUTE_KEY("so many repeats keep their input alone, and are run again for backward"),
    {.name = "only", .type = KEY_DEF, .def = "only",
         .help = "keys of one repeat or of a layer in it: {2: {order: conv-act-bn}, 2.conv1: {kernel: 5}}"},
    PRESET_KEY, LATER("use"), LATER("unroll"), LATER("winograd"),
    {.name = NULL}};

/* What `only` may say of a whole repeat. */
const KeyInfo repeat_keys[] = {OUT_KEY, CONV_SIZE_KEYS, GROUPS_KEY, BIAS_KEY, ORDER_KEYS, ACT_KEY, NORM_KEY, NORM_KEYS, RESIDUAL_KEYS, {.name = NULL}};

const KeyInfo shortcut_keys[] = {
    {.name = "order", .type = KEY_DEF, .def = "convOrder", .fallback = "conv-bn", .help = "its stages, one of them a conv, which is 1 x 1"},
    {.name = "always", .type = KEY_BOOL, .fallback = "false", .help = "also where shapes agree"},
    BIAS_KEY,
    {.name = NULL}};

const KeyInfo init_keys[] = {
    {.name = "conv", .type = KEY_DEF, .def = "initRule", .fallback = "pytorch", .help = "of convs"},
    {.name = "linear", .type = KEY_DEF, .def = "initRule", .fallback = "pytorch", .help = "of linear layers"},
    {.name = NULL}};

static const KeyInfo norm_keys[] = {{.name = "kind", .type = KEY_DEF, .def = "normKind", .help = "which norm"}, NORM_KEYS, NAME_KEY, {.name = NULL}};
const KeyInfo between_keys[] = {{.name = "kind", .type = KEY_DEF, .def = "placeKind", .help = "which norm"}, NORM_KEYS, {.name = NULL}};
static const char *const gates_names[] = {"together", "each", NULL};
static const char *const statistics_names[] = {"step", "sequence", NULL};
const KeyInfo place_keys[] = {
    {.name = "kind", .type = KEY_DEF, .def = "placeKind", .help = "which norm: ln, rms, bn, or the word norm"},
    NORM_KEYS,
    {.name = "statistics", .type = KEY_WORD, .words = statistics_names, .help = "of bn: whether mean and variance are of a step, or, in the input, of all steps of the batch's sequences"},
    {.name = "steps", .type = KEY_INT, .lo = 1, .hi = 1 << 16, .help = "of bn by step: so many steps have running statistics of their own, those behind them the last one's"},
    {.name = "gamma", .type = KEY_REAL, .lo = -100, .hi = 100, .fallback = "1", .help = "what its gamma begins with"},
    {.name = "gates", .type = KEY_WORD, .words = gates_names, .fallback = "together", .help = "whether all gates of a step have statistics together, or each its own"},
    {.name = "beta", .type = KEY_BOOL, .fallback = "true", .help = "whether it adds a beta"},
    {.name = "carried", .type = KEY_BOOL, .fallback = "false", .help = "of the cell: c is carried to the next step as it is behind the norm"},
    {.name = NULL}};
#define PLACE_KEY(place, what) {.name = place, .type = KEY_DEF, .def = "placeNorm", .help = what}
const KeyInfo norm_places_keys[] = {
    PLACE_KEY("input", "of W x"), PLACE_KEY("recurrent", "of U h"), PLACE_KEY("sum", "of both together"),
    PLACE_KEY("cell", "of c, on its way to h"), PLACE_KEY("hidden", "of the new h, before it is carried"),
    {.name = "between", .type = KEY_DEF, .def = "betweenNorm", .help = "behind the layer: what the next one reads"},
    {.name = NULL}};
static const KeyInfo act_keys[] = {{.name = "kind", .type = KEY_DEF, .def = "activation", .help = "which activation"}, NAME_KEY, {.name = NULL}};

static const KeyInfo first_train_keys[] = {
    {.name = "epochs", .type = KEY_INT, .lo = 1, .hi = 1000000, .fallback = "5", .help = "how often all images are seen"},
    {.name = "batch", .type = KEY_INT, .lo = 1, .hi = 1 << 20, .fallback = "64", .help = "images per step"},
    {.name = NULL}};
static const char *const loss_names[] = {"cross_entropy", "mse", NULL};
static const char *const balanced_word[] = {"balanced", NULL};
static const char *const target_names[] = {"labels", "input", NULL};
/* The optimiser's keys stand between. */
static const KeyInfo last_train_keys[] = {
    {.name = "loss", .type = KEY_WORD, .words = loss_names, .help = "cross_entropy: softmax cross-entropy, of classes; mse: mean squared error, of outputs"},
    {.name = "target", .type = KEY_WORD, .words = target_names, .fallback = "labels",
         .help = "of mse: what the outputs should be: labels, the numbers of the data; input, what the network reads (an autoencoder)"},
    {.name = "decay", .type = KEY_WORD, .words = decay_names, .fallback = "weights", .help = "weights: weight decay spares norms and biases"},
    {.name = "mean", .type = KEY_CHANNELS, .lo = -1e6, .hi = 1e6, .help = "x = (byte / 255 - mean) / std; a number, or one per channel"},
    {.name = "std", .type = KEY_CHANNELS, .lo = 1e-6, .hi = 1e6, .help = "x = (byte / 255 - mean) / std; a number, or one per channel"},
    {.name = "augment", .type = KEY_DEF, .def = "augment", .help = "what is done to training images: a list of crop(4), shift(0.1), flip, cutout(8), mixup(0.2); or none"},
    {.name = "class_weights", .type = KEY_CHANNELS, .lo = 0, .hi = 1e6, .words = balanced_word, .help = "what each class counts in the loss: one number per class, or balanced: the rarer the more; else 1"},
    {.name = "freeze", .type = KEY_DEF, .def = "freeze", .help = "a list of layers and groups whose weights stay as they are; their batch norms use running statistics; or none"},
    {.name = "seed", .type = KEY_INT, .lo = 0, .hi = 0x1p63, .fallback = "1", .help = "of all draws"},
    {.name = NULL}};
/* clang-format on */

/* "0.1 (sgd), 0.001 (adam, adamw)" */
static const char *usual_of(double (*value)(const struct cvy_optimiser *))
{
    Buf b = {0};

    for (int i = 0; cvy_optimisers[i]; i++) {
        const double v = value(cvy_optimisers[i]);
        bool said = false;
        for (int j = 0; j < i; j++)
            said |= value(cvy_optimisers[j]) == v;
        if (said)
            continue;
        buf_printf(&b, "%s%s (%s", b.len ? ", " : "", real_text(v), cvy_optimisers[i]->name);
        for (int j = i + 1; cvy_optimisers[j]; j++)
            if (value(cvy_optimisers[j]) == v)
                buf_printf(&b, ", %s", cvy_optimisers[j]->name);
        buf_puts(&b, ")");
    }
    return b.text;
}

static double usual_rate(const struct cvy_optimiser *o)
{
    return o->lr;
}

static double usual_decay(const struct cvy_optimiser *o)
{
    return o->weight_decay;
}

static KeyInfo key_of_schedules(void)
{
    static const char *names[CVY_SCHEDULES + 1];
    Buf what = {0};

    for (int i = 0; i < CVY_SCHEDULES; i++) {
        names[i] = cvy_schedules[i].name;
        buf_printf(&what, "%s%s: %s", i ? "; " : "of the learning rate; ", names[i], cvy_schedules[i].help);
    }
    return (KeyInfo){
        .name = "schedule", .type = KEY_WORD, .words = names, .fallback = names[CVY_ONE_CYCLE], .help = what.text};
}

const char *setting_text(int k, double v)
{
    return cvy_settings[k].kind == CVY_WHOLE_NUMBER ? xprintf("%.0f", v) : real_text(v);
}

static KeyInfo key_of_setting(int k)
{
    const struct cvy_setting *s = &cvy_settings[k];

    return (KeyInfo){.name = s->name,
                     .type = s->kind == CVY_WHOLE_NUMBER ? KEY_INT : KEY_REAL,
                     .lo = s->lo,
                     .hi = s->hi,
                     .fallback = setting_text(k, s->usual),
                     .help = s->help};
}

static KeyInfo key_of_hyper(const struct cvy_hyper *h, const char *of)
{
    return (KeyInfo){.name = h->name,
                     .type = h->off ? KEY_BOOL : KEY_REAL,
                     .lo = h->lo,
                     .hi = h->hi,
                     .below_hi = true,
                     .fallback = h->off ? h->usual != 0 ? "true" : "false" : real_text(h->usual),
                     .help = xprintf("of %s: %s", of, h->help)};
}

/* Who has a number called so: "adam, adamw". */
static const char *whose(const char *hyper)
{
    Buf b = {0};

    for (int i = 0; cvy_optimisers[i]; i++)
        if (cvy_hyper_find(cvy_optimisers[i], hyper) >= 0)
            buf_printf(&b, "%s%s", b.len ? ", " : "", cvy_optimisers[i]->name);
    return b.text;
}

const KeyInfo *train_keys(void)
{
    enum { ROOM = 64 };
    static KeyInfo keys[ROOM];
    static const char *names[ROOM], *data[ROOM];
    int n = 0;

    if (keys[0].name)
        return keys;
    Buf of = {0};
    for (int i = 0; cvy_data_words[i].name; i++) {
        data[i] = cvy_data_words[i].name;
        buf_printf(&of, "%s%s: %s", i ? "; " : "", data[i], cvy_data_words[i].help);
    }
    keys[n++] = (KeyInfo){.name = "data", .type = KEY_WORD, .words = data, .fallback = "idx", .help = of.text};
    for (const KeyInfo *k = first_train_keys; k->name; k++)
        keys[n++] = *k;
    Buf what = {0};
    for (int i = 0; cvy_optimisers[i]; i++) {
        names[i] = cvy_optimisers[i]->name;
        buf_printf(&what, "%s%s: %s", i ? "; " : "", names[i], cvy_optimisers[i]->help);
    }
    keys[n++] =
        (KeyInfo){.name = "optimizer", .type = KEY_WORD, .words = names, .fallback = names[0], .help = what.text};
    keys[n++] = (KeyInfo){.name = "lr",
                          .type = KEY_REAL,
                          .lo = 0,
                          .hi = 1e6,
                          .help = xprintf("the learning rate; of one-cycle, the highest: %s", usual_of(usual_rate))};
    for (int i = 0; cvy_optimisers[i]; i++)
        for (int k = 0; k < cvy_hypers(cvy_optimisers[i]); k++) {
            const struct cvy_hyper *h = &cvy_optimisers[i]->hyper[k];
            bool there = false;
            for (int j = 0; j < n; j++)
                there |= strcmp(keys[j].name, h->name) == 0;
            if (!there)
                keys[n++] = key_of_hyper(h, whose(h->name));
        }
    keys[n++] = (KeyInfo){.name = "weight_decay",
                          .type = KEY_REAL,
                          .lo = 0,
                          .hi = 1,
                          .help = xprintf("of the weights: %s", usual_of(usual_decay))};
    for (const KeyInfo *k = last_train_keys; k->name; k++)
        keys[n++] = *k;
    keys[n++] = key_of_schedules();
    for (int k = 0; k < CVY_SETTINGS; k++)
        keys[n++] = key_of_setting(k);
    if (n >= ROOM)
        BUG("too many keys of train");
    return keys;
}

/* ---- keys of bare stages: what the op table says of their arguments, and a name --------------------------------- */

static KeyInfo key_of(const ArgInfo *arg)
{
    static const KeyType types[] = {
        [ARG_REAL] = KEY_REAL, [ARG_SIZE] = KEY_SIZE,   [ARG_SIDES] = KEY_SIDES, [ARG_COUNT] = KEY_INT,
        [ARG_FLAG] = KEY_BOOL, [ARG_CHOICE] = KEY_WORD, [ARG_PLACES] = KEY_DEF};
    const bool usual = arg->given != ARG_MUST && !arg->like && isfinite(arg->usual) && arg->kind != ARG_PLACES;
    const char *fallback = arg->kind == ARG_FLAG     ? (arg->usual != 0 ? "true" : "false")
                           : arg->kind == ARG_CHOICE ? arg->words[(int)arg->usual]
                                                     : real_text(arg->usual);

    return (KeyInfo){.name = arg->name,
                     .type = types[arg->kind],
                     .lo = arg->lo,
                     .hi = arg->hi,
                     .below_hi = arg->below_hi,
                     .words = arg->words,
                     .def = arg->kind == ARG_PLACES ? "cellNorm" : NULL,
                     .fallback = usual ? fallback : NULL,
                     .help = arg->help};
}

static StageKeys keys_of(OpKind op)
{
    static const KeyInfo name = NAME_KEY, preset = PRESET_KEY;
    const ArgInfo *arg = op_info[op].arg;
    KeyInfo *keys = xalloc((OP_ARGS + 3) * sizeof *keys);
    int n = 0;

    for (int by_key = 0; by_key < 2; by_key++) /* those of the parentheses first */
        for (int i = 0; i < OP_ARGS; i++)
            if (arg[i].name && (arg[i].given == ARG_KEY) == by_key)
                keys[n++] = key_of(&arg[i]);
    if (op_is_recurrent(op))
        keys[n++] = preset;
    keys[n] = name;
    return (StageKeys){op_info[op].name, keys,
                       op_must_args(op) || op_may_args(op) == 1 ? arg[op_arg_at(op, 0)].name : NULL};
}

const StageKeys *stage_keys(void)
{
    static StageKeys rows[OP_KINDS + 3];
    const bool made = rows[0].stage != NULL;
    int n = 0;

    for (int k = 0; k < OP_KINDS && !made; k++) {
        const OpKind op = (OpKind)k;
        if (op_find(op_info[k].name) != op || op_is_block(op))
            continue;
        if (op == OP_RELU) { /* the words stand before the first of what they stand for */
            rows[n++] = (StageKeys){"norm", norm_keys, "kind"};
            rows[n++] = (StageKeys){"act", act_keys, "kind"};
        }
        rows[n++] = keys_of(op);
    }
    return rows;
}

const StageKeys *stage_keys_of(const char *word)
{
    for (const StageKeys *row = stage_keys(); row->stage; row++)
        if (strcmp(row->stage, word) == 0)
            return row;
    return NULL;
}

const char *const *layer_kinds(void)
{
    static const char *names[OP_KINDS + 4];
    const bool made = names[0] != NULL;
    int n = 0;

    for (int k = 0; k < OP_KINDS && !made; k++) {
        if (k == OP_BN || k == OP_RELU)
            names[n++] = k == OP_BN ? "norm" : "act";
        if (op_find(op_info[k].name) == (OpKind)k)
            names[n++] = op_info[k].name;
    }
    if (!made)
        names[n] = "stage";
    return names;
}

const char *const order_default = "conv-norm-act";
