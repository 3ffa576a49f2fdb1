/* known.c - words that people know from elsewhere, and what they are called here; words that are yet to come; `convoy
 * help TOPIC`.
 *
 * PyTorch's and Keras's names are looked up without case, '_' and a 2d at the end: MaxPool2d, MaxPooling2D, max_pool.
 */
#include "read.h"
#include "term.h"

#include <ctype.h>
#include <string.h>

static const struct {
    const char *word; /* as simple() leaves it */
    const char *ours; /* NULL: there is none, `how` says what to do */
    const char *how;  /* an example, or what to do; NULL: the word says all */
} known[] = {
    {"convolution", "conv", NULL},
    {"pointwiseconv", "conv", "conv: {out: 32, kernel: 1}"},
    {"depthwiseconv", "conv", "conv: {groups: depthwise}"},
    {"separableconv", "conv", "two of them, conv: {groups: depthwise} and conv: {out: 32, kernel: 1}"},
    {"dense", "linear", NULL},
    {"fc", "linear", NULL},
    {"fullyconnected", "linear", NULL},
    {"innerproduct", "linear", NULL},
    {"batchnorm", "bn", NULL},
    {"batchnormalization", "bn", NULL},
    {"syncbatchnorm", "bn", NULL},
    {"groupnorm", "gn", "gn(8)"},
    {"groupnormalization", "gn", "gn(8)"},
    {"layernorm", "ln", NULL},
    {"layernormalization", "ln", NULL},
    {"instancenorm", "in", NULL},
    {"instancenormalization", "in", NULL},
    {"rmsnorm", "rms", NULL},
    {"rmsnormalization", "rms", NULL},
    {"localresponsenorm", "lrn", NULL},
    {"dropout", "drop", "drop(0.5)"},
    {"spatialdropout", NULL, "convoy drops single values: drop(0.5)"},
    {"pool", "maxpool", "maxpool(2)"},
    {"maxpooling", "maxpool", "maxpool(2)"},
    {"averagepool", "avgpool", "avgpool(2)"},
    {"averagepooling", "avgpool", "avgpool(2)"},
    {"gap", "global_avg_pool", NULL},
    {"globalaverage", "global_avg_pool", NULL},
    {"globalavgpooling", "global_avg_pool", NULL},
    {"globalaveragepool", "global_avg_pool", NULL},
    {"globalaveragepooling", "global_avg_pool", NULL},
    {"adaptiveavgpool", "global_avg_pool", NULL},
    {"activation", "act", "act: relu"},
    {"swish", "silu", NULL},
    {"hswish", "hard_swish", NULL},
    {"hsigmoid", "hard_sigmoid", NULL},
    {"lrelu", "leaky_relu", NULL},
    {"upsampling", "upsample", NULL},
    {"sequential", "stage", "stage: {layers: [...]}"},
    {"residual", "stage", "stage: {residual: [...]}"},
    {"add", "stage", "stage: {residual: [...]}"},
    {"concatenate", "stage", "stage: {concat: [...]}"},
    {"identity", NULL, "it does nothing: leave it out"},
    {"softmax", NULL, "softmax cross-entropy of the last layer's output is the loss; it is not named"},
    {"logsoftmax", NULL, "softmax cross-entropy of the last layer's output is the loss; it is not named"},
    {"loss", NULL, "softmax cross-entropy of the last layer's output is the loss; it is not named"},
    {"crossentropy", NULL, "softmax cross-entropy of the last layer's output is the loss; it is not named"},
    {"crossentropyloss", NULL, "softmax cross-entropy of the last layer's output is the loss; it is not named"},
    {"inputlayer", NULL, "input: [1, 28, 28] stands at the top of the spec"},
    {"zeropadding", NULL, "a conv pads itself: conv: {out: 16, padding: [top, bottom, left, right]}"},
    {"zeropad", NULL, "a conv pads itself: conv: {out: 16, padding: [top, bottom, left, right]}"},
};

/* Keys, and what a map calls them; the first row counts whose key the map has. */
static const struct {
    const char *word, *ours, *how; /* as above, but the word is whole */
} known_keys[] = {
    {"in_channels", NULL, "the layer before says how many there are: leave it out"},
    {"in_features", NULL, "the layer before says how many there are: leave it out"},
    {"num_features", NULL, "the layer before says how many there are: leave it out"},
    {"num_channels", NULL, "the layer before says how many there are: leave it out"},
    {"normalized_shape", NULL, "the layer before says it: leave it out"},
    {"out_channels", "out", NULL},
    {"out_features", "out", NULL},
    {"num_outputs", "out", NULL},
    {"filters", "out", NULL},
    {"units", "out", NULL},
    {"channels", "out", NULL},
    {"kernel_size", "kernel", NULL},
    {"kernel_size", "k", NULL},
    {"pool_size", "k", NULL},
    {"kernel", "k", NULL},
    {"size", "k", NULL},
    {"strides", "stride", NULL},
    {"pad", "padding", NULL},
    {"pads", "padding", NULL},
    {"auto_pad", "padding", NULL},
    {"ceil", "ceil_mode", NULL},
    {"dilation_rate", "dilation", NULL},
    {"dilations", "dilation", NULL},
    {"num_groups", "groups", NULL},
    {"use_bias", "bias", NULL},
    {"activation", "act", NULL},
    {"nonlinearity", "act", NULL},
    {"normalization", "norm", NULL},
    {"negative_slope", "slope", NULL},
    {"alpha", "slope", NULL},
    {"epsilon", "eps", NULL},
    {"rate", "p", NULL},
    {"dropout", "drop", NULL},
    {"kernel_initializer", NULL, "init: kaiming_normal, at the top of the spec, says how weights begin"},
    {"initializer", "init", NULL},
    {"inplace", NULL, "the plan decides what is overwritten: leave it out"},
    {"data_format", NULL, "channels stand first in a spec: leave it out"},
    {"num_classes", "classes", NULL},
    {"n_classes", "classes", NULL},
    {"input_shape", "input", NULL},
    {"model", "name", NULL},
    {"training", "train", NULL},
    {"learning_rate", "lr", NULL},
    {"batch_size", "batch", NULL},
    {"num_epochs", "epochs", NULL},
    {"max_epochs", "epochs", NULL},
    {"dataset", "data", NULL},
    {"wd", "weight_decay", NULL},
    {"optim", "optimizer", NULL},
    {"betas", NULL, "they are two keys here: beta1: 0.9, beta2: 0.999"},
    {"beta_1", "beta1", NULL},
    {"beta_2", "beta2", NULL},
    {"scheduler", "schedule", NULL},
    {"lr_scheduler", "schedule", NULL},
};

/* Stages of the language that are yet to come. */
static const char *const later[] = {"prelu", "upsample", "lrn", "add", "concat", NULL};

/* Characters that look like those of a spec. */
static const struct {
    const char *text, *name, *ours;
} alike[] = {
    {"\u2010", "U+2010 hyphen", "-"},
    {"\u2011", "U+2011 non-breaking hyphen", "-"},
    {"\u2012", "U+2012 figure dash", "-"},
    {"\u2013", "U+2013 en dash", "-"},
    {"\u2014", "U+2014 em dash", "-"},
    {"\u2212", "U+2212 minus sign", "-"},
    {"\u00d7", "U+00D7 multiplication sign", "x"},
    {"\u2018", "U+2018 left single quotation mark", "'"},
    {"\u2019", "U+2019 right single quotation mark", "'"},
    {"\u201c", "U+201C left double quotation mark", "\""},
    {"\u201d", "U+201D right double quotation mark", "\""},
    {"\uff08", "U+FF08 full-width left parenthesis", "("},
    {"\uff09", "U+FF09 full-width right parenthesis", ")"},
    {"\uff0c", "U+FF0C full-width comma", ","},
    {"\uff1a", "U+FF1A full-width colon", ":"},
};

enum {
    COUNT = sizeof known / sizeof *known,
    NKEYS = sizeof known_keys / sizeof *known_keys,
    NALIKE = sizeof alike / sizeof *alike
};

/* "nn.MaxPool2d" -> "maxpool" */
static const char *simple(const char *word)
{
    const char *dot = strrchr(word, '.');
    Buf b = {0};
    buf_puts(&b, "");
    for (const char *s = dot ? dot + 1 : word; *s; s++) {
        const char c = (char)tolower((unsigned char)*s);
        if (c != '_')
            buf_add(&b, &c, 1);
    }
    if (b.len > 2 && b.text[b.len - 1] == 'd' && strchr("123", b.text[b.len - 2]))
        b.text[b.len - 2] = '\0';
    return b.text;
}

/* "conv_bn_relu", "conv, bn, relu" -> "conv-bn-relu"; NULL where one of the parts is no stage. */
static const char *with_dashes(const char *word)
{
    static const char joints[] = "_ ,+>";
    Buf b = {0};
    for (const char *s = word; *s;) {
        const size_t n = strcspn(s, joints);
        const char *part = xstrndup(s, n);
        if (op_find(part) == OP_KINDS && strcmp(part, "act") != 0 && strcmp(part, "norm") != 0)
            return NULL;
        buf_printf(&b, "%s%s", b.len ? "-" : "", part);
        s += n + strspn(s + n, joints);
    }
    return strpbrk(word, joints) ? b.text : NULL;
}

bool known_later(const char *word)
{
    return is_in(later, word);
}

static const char *called(const char *word, const char *ours, const char *how)
{
    if (!ours)
        return how;
    if (known_later(ours))
        return xprintf("here it is '%s', which is not built yet", ours);
    if (strcmp(word, ours) == 0)
        return how;
    return xprintf("here it is called '%s'%s%s", ours, how ? ": " : "", how ? how : "");
}

/* A hint for a word that is nearly one of another library's, and none of ours nearly. */
static const char *misspelt(const char *word, const char *s)
{
    const char *names[COUNT + 1] = {NULL}, *near;
    for (int i = 0; i < COUNT; i++)
        names[i] = known[i].word;
    if (diag_nearest(word, layer_kinds()) || !(near = diag_nearest(s, names)))
        return NULL;
    int i = 0;
    while (names[i] != near)
        i++;
    return xprintf("did you mean '%s'? %s", near, called(word, known[i].ours, known[i].how));
}

const char *known_word(const char *word)
{
    const char *s = simple(word), *order = with_dashes(word);
    if (order)
        return xprintf("stages are joined by dashes: %s", order);
    for (int i = 0; i < NALIKE; i++)
        if (strstr(word, alike[i].text))
            return xprintf("it holds %s, which is no '%s'", alike[i].name, alike[i].ours);
    for (const char *const *kind = layer_kinds(); *kind; kind++)
        if (strcmp(simple(*kind), s) == 0)
            return strcmp(word, *kind) != 0 ? xprintf("here it is called '%s'", *kind) : NULL;
    for (int i = 0; i < COUNT; i++)
        if (strcmp(known[i].word, s) == 0)
            return called(word, known[i].ours, known[i].how);
    for (int i = 0; later[i]; i++)
        if (strcmp(later[i], s) == 0 && strcmp(word, s) != 0)
            return called(word, later[i], NULL);
    return misspelt(word, s);
}

const char *known_key(const char *word, const char *const *keys)
{
    for (int i = 0; i < NKEYS; i++)
        if (strcmp(known_keys[i].word, word) == 0 && (!known_keys[i].ours || is_in(keys, known_keys[i].ours)))
            return called(word, known_keys[i].ours, known_keys[i].how);
    for (int i = 0; i < NKEYS && !diag_nearest(word, keys); i++)
        if (known_keys[i].ours && is_in(keys, known_keys[i].ours) &&
            diag_nearest(word, (const char *const[]){known_keys[i].word, NULL}))
            return xprintf("did you mean '%s'? %s", known_keys[i].word,
                           called(word, known_keys[i].ours, known_keys[i].how));
    if (!is_in(keys, "train"))
        return NULL;
    for (int i = 0; i < NKEYS; i++) /* learning_rate: at the top */
        for (const KeyInfo *k = train_keys(); k->name && known_keys[i].ours; k++)
            if (strcmp(known_keys[i].word, word) == 0 && strcmp(known_keys[i].ours, k->name) == 0)
                return xprintf("it is a key of train: train: {%s: ...}", k->name);
    for (const KeyInfo *k = train_keys(); k->name; k++) /* lr: at the top */
        if (strcmp(k->name, word) == 0)
            return xprintf("it is a key of train: train: {%s: ...}", word);
    return NULL;
}

/* ---- convoy help TOPIC ----------------------------------------------------------------------------------------- */

const char *const help_topics[] = {"acts", "norms", "layers", "orders", "keys", NULL};

static const char *usage(const char *word)
{
    const OpKind op = op_find(word);
    const char *text = op != OP_KINDS ? op_usage(op) : NULL;
    return !text ? word : op_must_args(op) ? text : xprintf("%s[%s]", word, text + strlen(word));
}

/* The word, and what it is called elsewhere. */
static void put_word(Buf *b, const char *word)
{
    int n = 0;
    buf_printf(b, "  %-34s  ", usage(word));
    for (int i = 0; i < COUNT; i++)
        if (known[i].ours && strcmp(known[i].ours, word) == 0 && strcmp(known[i].word, word) != 0)
            buf_printf(b, "%s%s", n++ ? ", " : "", known[i].word);
    while (b->text[b->len - 1] == ' ')
        b->text[--b->len] = '\0';
    buf_puts(b, "\n");
}

static void put_ops(Buf *b, bool (*fits)(OpKind))
{
    for (int k = 0; k < OP_KINDS; k++)
        if (fits((OpKind)k) && op_find(op_info[k].name) == (OpKind)k)
            put_word(b, op_info[k].name);
}

static bool any_stage(OpKind k)
{
    return !op_is_act(k);
}

static void put_keys(Buf *b, const char *where, const KeyInfo *keys)
{
    buf_printf(b, "\n%s\n", where);
    for (; keys->name; keys++)
        if (!keys->not_built)
            buf_printf(b, "  %-16s  %s%s%s%s\n", keys->name, keys->help, keys->fallback ? " [" : "",
                       keys->fallback ? keys->fallback : "", keys->fallback ? "]" : "");
}

bool help_topic(const char *topic)
{
    Buf b = {0};
    if (strcmp(topic, "acts") == 0) {
        buf_puts(&b, "Activations: act: WORD, as a stage of an order, or as a layer, - WORD. On the right, other names "
                     "for them.\n\n");
        put_ops(&b, op_is_act);
    } else if (strcmp(topic, "norms") == 0) {
        buf_puts(&b, "Norms: norm: WORD (or none), as a stage of an order, or as a layer, - WORD. On the right, other "
                     "names for them.\n\n");
        put_ops(&b, op_is_norm);
    } else if (strcmp(topic, "layers") == 0) {
        buf_puts(&b, "Layers: - WORD, or - WORD: {KEY: VALUE}. On the right, other names for them.\n\n");
        for (const char *const *kind = layer_kinds(); *kind; kind++)
            put_word(&b, *kind);
        buf_puts(&b, "\nA conv or linear block brings the stages of its order along: with order: conv-bn-act, - conv: "
                     "16 is a conv, a bn and an "
                     "activation.\n");
    } else if (strcmp(topic, "orders") == 0) {
        buf_puts(
            &b,
            "An order is stages joined by dashes, one of them conv: conv-bn-act, bn-act-conv, conv-maxpool(2)-bn-act. "
            "Of a linear block "
            "it is linear. act and norm are what the keys act and norm say, relu and bn where they say nothing.\n\n");
        put_word(&b, "act");
        put_word(&b, "norm");
        put_ops(&b, any_stage);
        buf_puts(&b, "\nand each activation by its name ('convoy help acts').\n");
    } else if (strcmp(topic, "keys") == 0) {
        buf_puts(&b, "The keys of a spec, with what they are where they are not given [in brackets]. docs/spec.md "
                     "tells more.\n");
        put_keys(&b, "at the top", top_keys);
        put_keys(&b, "train", train_keys());
        put_keys(&b, "- conv", conv_keys);
        put_keys(&b, "- linear", linear_keys);
        put_keys(&b, "- stage", group_keys);
        for (const StageKeys *row = stage_keys(); row->stage; row++)
            if (row->keys[1].name) /* more than a name */
                put_keys(&b, xprintf("- %s", row->stage), row->keys);
    } else {
        return false;
    }
    term_help(stdout, b.text);
    return true;
}
