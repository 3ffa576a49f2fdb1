/* spec.c - tree -> Spec.
 *
 * needs: a tree (yaml.c), overrides applied.  sets: a Spec whose every value is in range, names and defaults filled in,
 * orders spelled out into stages; or collected errors and NULL. Knows keys, types, ranges, defaults and places in the
 * file; knows no shapes. docs/spec.md is its manual. */
#include "read.h"

#include <math.h>
#include <string.h>

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

/* ---- training -------------------------------------------------------------------------------------------------- */

/* mean: 0.5, or one number for each channel, or class: `of`. */
static void read_numbers(const Node *n, const char *what, const char *of, int channels, double lo, double *to)
{
    if (n->kind != NODE_SEQ) {
        double v;
        if (want_real(n, what, lo, 1e6, &v))
            for (int c = 0; c < channels; c++)
                to[c] = v;
        return;
    }
    if (n->n != channels) {
        diag_error(n->mark, xprintf("one number for all, or one per %s", of), "%s has %d numbers for %d %s", what, n->n,
                   channels, strcmp(of, "class") == 0 ? "classes" : "channels");
        return;
    }
    for (int c = 0; c < channels; c++)
        want_real(n->item[c], what, lo, 1e6, &to[c]);
}

/* The keys of the optimiser's numbers: "beta1, beta2, eps". */
static const char *hyper_names(const struct cvy_optimiser *o)
{
    Buf b = {0};

    for (int k = 0; k < cvy_hypers(o); k++)
        buf_printf(&b, "%s%s", k ? ", " : "", o->hyper[k].name);
    return b.text;
}

/* Numbers of other optimisers. */
static void refuse_others(const Node *map, const struct cvy_optimiser *o)
{
    for (int i = 0; cvy_optimisers[i]; i++)
        for (int k = 0; k < cvy_hypers(cvy_optimisers[i]); k++) {
            const char *name = cvy_optimisers[i]->hyper[k].name;
            bool said = cvy_hyper_find(o, name) >= 0;
            for (int j = 0; j < i; j++)
                said |= cvy_hyper_find(cvy_optimisers[j], name) >= 0;
            if (!said && keys_get(map, name))
                diag_error(keys_get_key(map, name)->mark,
                           xprintf("%s has lr, %s, weight_decay", o->name, hyper_names(o)), "%s has no %s", o->name,
                           name);
        }
}

/* The optimiser and its numbers: given, or as its row has them. */
static void read_optimiser(const Node *map, SpecTrain *t)
{
    int which = 0;

    if (map)
        key_word(train_keys(), map, "optimizer", &which);
    const struct cvy_optimiser *o = t->optimiser = cvy_optimisers[which];
    t->lr = o->lr;
    t->weight_decay = o->weight_decay;
    for (int k = 0; k < cvy_hypers(o); k++)
        t->hyper[k] = o->hyper[k].usual;
    if (!map)
        return;
    refuse_others(map, o);
    key_real(train_keys(), map, "train", "lr", &t->lr);
    key_real(train_keys(), map, "train", "weight_decay", &t->weight_decay);
    for (int k = 0; k < cvy_hypers(o); k++) {
        const struct cvy_hyper *h = &o->hyper[k];
        const Node *n = keys_get(map, h->name);
        bool on;
        if (!h->off)
            key_real(train_keys(), map, "train", h->name, &t->hyper[k]);
        else if (n && want_bool(n, xprintf("train.%s", h->name), &on))
            t->hyper[k] = on;
    }
    for (int k = 0; k < cvy_hypers(o); k++) {
        const char *needs = o->hyper[k].needs;
        if (needs && t->hyper[k] != 0 && t->hyper[cvy_hyper_find(o, needs)] == 0)
            diag_error(keys_get(map, o->hyper[k].name)->mark,
                       xprintf("give train.%s, or leave %s out", needs, o->hyper[k].name), "%s needs a %s",
                       o->hyper[k].name, needs);
    }
}

/* The numbers of cvy_settings. */
static void read_settings(const Node *map, SpecTrain *t)
{
    for (int k = 0; k < CVY_SETTINGS; k++) {
        const struct cvy_setting *s = &cvy_settings[k];
        int whole;
        if (s->kind == CVY_WHOLE_NUMBER && key_int(train_keys(), map, "train", s->name, &whole))
            t->setting[k] = whole;
        else if (s->kind != CVY_WHOLE_NUMBER && key_real(train_keys(), map, "train", s->name, &t->setting[k]) &&
                 !cvy_setting_is(s, t->setting[k]))
            diag_error(keys_get(map, s->name)->mark, NULL, "train.%s is a share below 1 or a whole number", s->name);
    }
}

/* [crop(4), flip], or none. */
static void read_augment(const Node *n, Spec *s)
{
    struct cvy_augment *all = &s->train.augment, one;
    char why[200];

    if (node_says(n, "none"))
        return;
    if (n->kind != NODE_SEQ) {
        diag_error(n->mark, "augment: [crop(4), flip]", "train.augment must be a list of words, or none");
        return;
    }
    for (int i = 0; i < n->n; i++) {
        const Node *word = n->item[i];
        if (word->kind != NODE_SCALAR || !*word->text || strchr(word->text, ',')) {
            diag_error(word->mark, "augment: [crop(4), flip]", "train.augment must be a list of words, or none");
            continue;
        }
        if (!cvy_augment_read(&one, word->text, why, sizeof why)) {
            diag_error(word->mark, NULL, "%s", why);
            continue;
        }
        for (int k = 0; k < CVY_AUGMENTS; k++) {
            if (one.by[k] != 0 && all->by[k] != 0)
                diag_error(word->mark, NULL, "%s stands there twice", cvy_augment_words[k].name);
            all->by[k] += one.by[k];
        }
    }
    if (cvy_augments_pixels(all) && s->input[2] == 1)
        diag_error(n->mark, "leave it out, but for mixup", "train.augment is for images, and the input has %d numbers",
                   s->input[0]);
    else if (s->lengths && cvy_augments(all))
        diag_error(n->mark, "leave it out", "train.augment moves what pads a sample; the input has lengths");
    else if (s->tokens && cvy_augments(all))
        diag_error(n->mark, "leave it out", "train.augment is for numbers, and the input has tokens");
}

static bool has_key(const struct cvy_loss *loss, const char *key)
{
    for (int k = 0; loss->key[k]; k++)
        if (strcmp(loss->key[k], key) == 0)
            return true;
    return false;
}

bool loss_takes(const struct cvy_loss *loss, const char *key)
{
    bool others = false;
    for (int i = 0; cvy_losses[i]; i++)
        others |= has_key(cvy_losses[i], key);
    return has_key(loss, key) || !others;
}

/* Keys of other losses. */
static void refuse_of_losses(const Node *map, const struct cvy_loss *own)
{
    for (int i = 0; cvy_losses[i]; i++)
        for (int k = 0; cvy_losses[i] != own && cvy_losses[i]->key[k]; k++) {
            const char *name = cvy_losses[i]->key[k];
            if (!loss_takes(own, name) && keys_get(map, name))
                diag_error(keys_get_key(map, name)->mark, NULL, "%s has no %s", own->name, name);
        }
}

/* Whether `name` is the layer, or a group around it: "s1" of "s1.2.conv1". */
static bool is_within(const char *layer, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(layer, name, n) == 0 && (layer[n] == '\0' || layer[n] == '.');
}

/* Names of layers, and of the groups around them. */
static const char *const *freezable(const Spec *s)
{
    const char **names = NULL;
    int n = 0;
    for (int i = 0; i < s->nlayer; i++)
        for (const char *end = s->layer[i].name; end; end = strchr(end + 1, '.')) {
            const char *dot = *end ? strchr(end + 1, '.') : NULL; /* a layer whose name is in error has none */
            const char *name = dot ? xstrndup(s->layer[i].name, (size_t)(dot - s->layer[i].name)) : s->layer[i].name;
            if (!n || !is_within(names[n - 1], name)) /* a group's layers stand together */
                *PUSH(names, n) = name;
            if (!dot)
                break;
        }
    *PUSH(names, n) = NULL;
    return names;
}

/* [conv1, s1], or none. */
static void read_freeze(const Node *n, Spec *s)
{
    static const char how[] = "freeze: [conv1, s1]";
    SpecTrain *t = &s->train;

    t->freeze_mark = n->mark;
    if (node_says(n, "none"))
        return;
    if (n->kind != NODE_SEQ) {
        diag_error(n->mark, how, "train.freeze must be a list of layers and groups, or none");
        return;
    }
    for (int k = 0; k < n->n; k++) {
        const Node *word = n->item[k];
        bool found = false;
        if (word->kind != NODE_SCALAR || !*word->text) {
            diag_error(word->mark, how, "train.freeze must be a list of layers and groups, or none");
            continue;
        }
        for (int i = 0; i < s->nlayer; i++)
            if (is_within(s->layer[i].name, word->text))
                found = s->layer[i].frozen = true;
        if (!found && s->nlayer)
            diag_error(word->mark, diag_choices(word->text, freezable(s), "convoy check SPEC"),
                       "train.freeze: no layer or group is called '%.100s'", word->text);
        *PUSH(t->freeze, t->nfreeze) = word->text;
    }
}

/* cross_entropy of classes, mse of outputs. */
static void read_loss(const Node *map, const Node *outputs, Spec *s)
{
    const Node *loss = map ? keys_get(map, "loss") : NULL, *target = map ? keys_get(map, "target") : NULL;
    int which = outputs != NULL, from = 0;

    if (loss && !key_word(train_keys(), map, "loss", &which))
        return;
    if (target && !key_word(train_keys(), map, "target", &from))
        return;
    s->train.loss = which ? from ? &cvy_mse_of_input : &cvy_mse : &cvy_cross_entropy;
    if (loss && which && !outputs)
        diag_error(loss->mark, xprintf("outputs: %d, instead of classes", s->classes),
                   "loss: mse is of numbers, and the spec has classes");
    else if (loss && !which && outputs)
        diag_error(loss->mark, "classes, instead of outputs",
                   "loss: cross_entropy is of classes, and the spec has outputs");
    else if (target && from && !which)
        diag_error(target->mark, "loss: mse, and outputs instead of classes", "target: input goes with loss: mse");
    else if (target && from && s->tokens)
        diag_error(target->mark, "target: labels", "target: input is for numbers, and the input has tokens");
    const int64_t numbers = (int64_t)s->input[0] * s->input[1] * s->input[2];
    if (which && from && outputs && s->classes > 0 && numbers > 0 && numbers != s->classes)
        diag_error2(s->classes_mark, s->input_mark, xprintf("the input: %lld numbers", (long long)numbers),
                    xprintf("outputs: %lld, and - linear: outputs as the last layer", (long long)numbers),
                    "target: input wants as many outputs as the input has numbers, %d x %d x %d, and not %d",
                    s->input[0], s->input[1], s->input[2], s->classes);
}

static void read_train(const Node *map, Spec *s)
{
    SpecTrain *t = &s->train;
    *t = (SpecTrain){
        .data = "idx", .loss = cvy_losses[0], .epochs = 5, .batch = 64, .schedule = CVY_ONE_CYCLE, .seed = 1};
    for (int k = 0; k < CVY_SETTINGS; k++)
        t->setting[k] = cvy_settings[k].usual;
    const Node *n;
    int i;
    if (map && !keys_check(map, "train", train_keys()))
        map = NULL;
    read_loss(map, keys_get(s->tree, "outputs"), s);
    read_optimiser(map, t);
    if (map && key_word(train_keys(), map, "data", &i))
        t->data = cvy_data_words[i].name;
    const struct cvy_data_word *data = cvy_data_word(t->data);
    const bool rows = s->dims == 1 && data->channels == 1 && s->input[0] == data->height && s->input[2] == data->width;
    if (map && data->channels && !diag_errors() &&
        ((!rows && (s->input[0] != data->channels || s->input[1] != data->height || s->input[2] != data->width)) ||
         (t->loss->target == CVY_CLASS && s->classes < data->classes)))
        diag_warn(keys_get(map, "data")->mark, "data: idx reads files of your own, whatever their shape",
                  "the images of %s are %d x %d x %d, in %d classes: this network cannot train on them", t->data,
                  data->channels, data->height, data->width, data->classes);
    if (t->loss->target == CVY_CLASS && data->from != CVY_DRAWN && s->classes > 256 && !diag_errors())
        diag_warn(s->classes_mark, "a set of 'convoy data' has no such limit",
                  "the labels of IDX files are bytes: they know classes 0 to 255 of %d", s->classes);
    const int channels = s->input[0] > 0 ? s->input[0] : 1; /* 0: there is no input, an error */
    t->mean = xalloc((size_t)channels * sizeof *t->mean);
    t->std = xalloc((size_t)channels * sizeof *t->std);
    for (int c = 0; c < channels; c++) {
        t->mean[c] = s->tokens ? 0 : data->mean;
        t->std[c] = s->tokens ? 1 : data->std;
    }
    if (!map)
        return;
    refuse_of_losses(map, t->loss);
    key_int(train_keys(), map, "train", "epochs", &t->epochs);
    key_int(train_keys(), map, "train", "batch", &t->batch);
    if (key_word(train_keys(), map, "decay", &i))
        t->decay_all = i == 1;
    if (key_word(train_keys(), map, "schedule", &i))
        t->schedule = i;
    read_settings(map, t);
    if ((n = keys_get(map, "mean")))
        read_numbers(n, "train.mean", "channel", channels, -1e6, t->mean);
    if ((n = keys_get(map, "std")))
        read_numbers(n, "train.std", "channel", channels, 1e-6, t->std);
    if (s->tokens && (t->mean[0] != 0 || t->std[0] != 1))
        diag_error(keys_get(map, t->mean[0] != 0 ? "mean" : "std")->mark, "leave it out",
                   "tokens are read as they are: mean is 0 and std 1");
    if ((n = keys_get(map, "augment")))
        read_augment(n, s);
    n = keys_get(map, "class_weights");
    if (n && node_says(n, "balanced")) {
        t->balanced = true;
    } else if (n && s->classes > 1 && t->loss->target == CVY_CLASS) {
        t->class_weight = xalloc((size_t)s->classes * sizeof *t->class_weight);
        read_numbers(n, "train.class_weights", "class", s->classes, 0, t->class_weight);
    }
    if ((n = keys_get(map, "freeze")))
        read_freeze(n, s);
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
    const Node word = {.kind = n->kind,
                       .text = n->kind == NODE_SCALAR ? order_word(n->text) : NULL,
                       .mark = n->mark,
                       .quoted = n->quoted};
    const char *open = n->kind == NODE_SCALAR ? strchr(n->text, '(') : NULL, *close = open ? strchr(open, ')') : NULL;
    int kind;
    if (!want_word(&word, "init", init_names, &kind))
        return;
    *to = (InitRule){.kind = (Init)kind};
    if (!open)
        return;
    if (!takes_slope(to->kind))
        diag_error(n->mark, "only kaiming inits have an argument, a leaky relu's slope", "init %s takes no argument",
                   word.text);
    else if (!close || close[1] || !text_real(xstrndup(open + 1, (size_t)(close - open - 1)), &to->slope) ||
             to->slope < 0 || to->slope > 1)
        diag_error(n->mark, xprintf("%s(0.1)", word.text), "the slope of init %s must be a number from 0 to 1",
                   word.text);
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

/* Whether the bare stages after a block, `run` of them, do again what its order has done at its end: the last stage
 * again, or the end from its beginning. A block with an order of its own repeats by the very same stage alone. */
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

/* Warns of "- conv: 16", "- bn", "- relu", as PyTorch and Keras list them, where the order gives the conv a bn and a
 * relu already. The first such place is shown, the others are counted. */
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
    enum { SHOWN = 8 }; /* stages of many */
    Buf all = {0};
    buf_puts(&all, order);
    for (int k = 0; k < first_run && k < SHOWN; k++)
        buf_printf(&all, "-%s", stage_text(&bare[k].stage[0], s->dims));
    if (first_run > SHOWN)
        buf_printf(&all, "-... (%d stages in all)", block->nstage + first_run);
    diag_warn(bare->mark,
              xprintf("leave %s out, or %s%s", first_run > 1 ? "these layers" : "this layer",
                      otherwise[block->order_from], places > 1 ? xprintf(" (%d places like this one)", places) : ""),
              "%s is %s already%s; with %s it is %s", block->name, order,
              block->order_from == ORDER_DEFAULT ? ", the order of blocks where a spec says none" : "",
              first_run > 1 ? "these layers" : "this layer", all.text);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* {tokens: 27, length: 16}, {features: 13, length: 100, lengths: true} */
static void read_sequence(const Node *n, Spec *s)
{
    const bool features = keys_get(n, "features") != NULL;
    const struct {
        const char *key, *what, *hint;
        int most, *to;
    } part[] = {{"tokens", "the tokens of input", "how many different tokens there are: they are 0 to 26 of 27",
                 MAX_TOKENS, &s->tokens},
                {"length", "the length of input", features ? "how many steps a row has" : "how many tokens a row has",
                 MAX_SIDE, &s->input[2]},
                {"features", "the features of input", "", MAX_SIDE, &s->input[0]}};
    s->dims = size_dims = 1;
    s->input[0] = s->input[1] = s->input[2] = 1;
    if (!keys_check(n, "input", input_keys))
        return;
    if (features && keys_get(n, "tokens"))
        diag_error(keys_get_key(n, "features")->mark, "embed makes features of tokens", "input has tokens or features");
    for (int i = 0; i < 3; i++) {
        const Node *value = keys_get(n, part[i].key);
        if (value)
            want_int32(value, part[i].what, 1, part[i].most, part[i].to);
        else if (i == 1 || !features != (i == 2))
            diag_error(n->mark, xprintf("input: {tokens: 27, length: 16}: %s", part[i].hint), "input has no %s",
                       part[i].key);
    }
    if (keys_get(n, "lengths"))
        want_bool(keys_get(n, "lengths"), "the lengths of input", &s->lengths);
}

static void read_input(const Node *n, Spec *s)
{
    static const char *const what[] = {"the channels of input", "the height of input", "the width of input"};
    s->input_mark = n->mark;
    if (n->kind == NODE_MAP) {
        read_sequence(n, s);
        return;
    }
    if (n->kind != NODE_SEQ || n->n < 1 || n->n > 3) {
        diag_error(n->mark,
                   "input: [1, 28, 28]; [channels, length], [features] and {tokens: 27, length: 16} will do too",
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
    const Node *outputs = keys_get(tree, "outputs");
    if (outputs && keys_get(tree, "classes")) {
        diag_error(keys_get_key(tree, "outputs")->mark,
                   "classes to tell apart, or outputs: numbers to learn (loss: mse)",
                   "the spec has classes and outputs");
    } else if ((n = outputs ? required(tree, "outputs", "outputs: 1") : required(tree, "classes", "classes: 10"))) {
        s->classes_mark = n->mark;
        want_int32(n, outputs ? "outputs" : "classes", outputs ? 1 : 2, MAX_CLASSES, &s->classes);
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
    s->head = xprintf("order: %s\nact: %s\nnorm: %s\n", order_source(order), stage_text(&def.words.act, 2),
                      norm_text(&def.words.norm));
    if (diag_errors())
        return NULL;
    warn_repeats(s);
    spec_check(s);
    return s;
}

/* ---- the checker ----------------------------------------------------------------------------------------------- */

void spec_check(const Spec *s)
{
    if (!s->name || !*s->name || s->classes < (s->train.loss->target == CVY_CLASS ? 2 : 1) || s->nlayer < 1 ||
        s->nlayer > MAX_LAYERS)
        BUG("spec: name, classes or layers");
    for (int i = 0; i < 3; i++)
        if (s->input[i] < 1)
            BUG("spec: input[%d] = %d", i, s->input[i]);
    for (int i = 0; i < s->nlayer; i++) {
        const SpecLayer *l = &s->layer[i];
        int weights = 0;
        bool joins = l->form == FORM_ADD || l->form == FORM_CONCAT;
        bool weighty = l->form == FORM_BLOCK || (l->form == FORM_SHORTCUT && l->shortcut >= SHORTCUT_CONV) ||
                       (l->form == FORM_BARE && l->nstage && op_is_alone(l->stage[0].op));
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
