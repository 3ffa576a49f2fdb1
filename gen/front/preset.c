/* preset.c - names that people know: sets of keys under one name, and other libraries' spellings of an order.
 *
 * needs: a tree, overrides applied.  sets: in each map with a `preset`, the keys that the preset stands for and that
 * the map does not say itself; `order` in place of `bn_1st` and `adn`. No `preset`, `bn_1st`, `adn` or `drop` is left
 * beside them, so that no later pass knows of any. docs/presets.md tells what each stands for, and what it leaves open.
 */
#include "read.h"

#include <string.h>

/* Sizes are in none of them: kernel, stride and padding are convoy's own defaults where the spec says nothing. */
const Preset presets[] = {
    /* conv_layer and init_cnn of fast.ai's course v3, part 2, notebook 07_batchnorm: Conv2d(bias=not bn), GeneralRelu,
     * BatchNorm2d(eps=1e-5, momentum=0.1); kaiming_normal_(a=0.1) for convolutions, PyTorch's own for the rest. */
    {"fastai-conv_layer",
     "the course's notebook: norm after the activation, no bias beside a norm",
     "{order: conv-act-norm, act: general_relu, bias: unless_norm, eps: 1e-5, momentum: 0.1,"
     " init: {conv: kaiming_normal(0.1), linear: pytorch}}",
     NULL,
     {NULL}},
    /* fastai.layers.ConvLayer, version 2: bias=None is `not (bn or inn)`, bn_1st=True, act_cls=nn.ReLU, init='auto',
     * which for a relu is kaiming_uniform_. */
    {"fastai-ConvLayer",
     "fastai v2: norm before the activation, with bn_1st: false after it",
     "{bn_1st: true, act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1,"
     " init: {conv: kaiming_uniform, linear: pytorch}}",
     NULL,
     {NULL}},
    /* Ioffe and Szegedy 2015, section 3.2: z = g(BN(W u)), the bias left out since the mean takes it away: what `auto`
     * finds by itself. */
    {"batch-norm-paper",
     "Ioffe and Szegedy 2015: norm between the conv and the activation",
     "{order: conv-norm-act, bias: auto, eps: 1e-5, momentum: 0.1}",
     NULL,
     {NULL}},
    /* He et al. 2016, Identity mappings in deep residual networks, figure 4 (a) and (e). */
    {"post-activation",
     "He et al. 2016, the original unit: activation after the sum",
     "{order: conv-norm-act, bias: auto, eps: 1e-5, momentum: 0.1}",
     "{residual: [conv, conv: {order: conv-norm}], post: act, shortcut: conv-norm}",
     {NULL}},
    {"pre-activation",
     "He et al. 2016, full pre-activation: norm and activation before the conv",
     "{order: norm-act-conv, bias: auto, eps: 1e-5, momentum: 0.1}",
     "{residual: [conv, conv], shortcut: conv-norm}",
     {NULL}},
    /* mmcv.cnn.ConvModule: bias='auto' is `not with_norm`, order=('conv', 'norm', 'act'), act_cfg ReLU; init_weights is
     * kaiming_init, normal by fan_out. */
    {"mmcv-ConvModule",
     "mmcv: order [conv, norm, act], no bias beside a norm",
     "{order: [conv, norm, act], act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1,"
     " init: {conv: kaiming_normal_fan_out, linear: pytorch}}",
     NULL,
     {NULL}},
    /* monai.networks.blocks.Convolution with norm="batch", act="relu": adn_ordering="NDA", bias=True, dropout=None. */
    {"monai-Convolution",
     "MONAI: adn NDA after the conv, D with drop: RATE, and a bias",
     "{adn: NDA, act: relu, bias: true, eps: 1e-5, momentum: 0.1, init: pytorch}",
     NULL,
     {NULL}},
    /* torchvision.ops.Conv2dNormActivation: bias=None is `norm_layer is None`; Conv2d, BatchNorm2d, ReLU. */
    {"torchvision-Conv2dNormActivation",
     "torchvision: conv, norm, activation, no bias beside a norm",
     "{order: conv-norm-act, act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1, init: pytorch}",
     NULL,
     {NULL}},
    /* torchvision.models.resnet: BasicBlock, whose convs have no bias; kaiming_normal_(mode='fan_out') for convs. */
    {"torchvision-BasicBlock",
     "torchvision's ResNet: its residual block in a group",
     "{order: conv-norm-act, act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1,"
     " init: {conv: kaiming_normal_fan_out, linear: pytorch}}",
     "{residual: [conv, conv: {order: conv-norm}], post: act, bias: false, shortcut: {order: conv-norm, bias: false}}",
     {NULL}},
    /* timm.layers.ConvNormAct: bias=False, BatchNorm2d with the activation in it (BatchNormAct2d). */
    {"timm-ConvNormAct",
     "timm: conv, norm, activation, no bias beside a norm",
     "{order: conv-norm-act, act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1, init: pytorch}",
     NULL,
     {NULL}},
    /* timm.models.resnetv2: PreActBasic with BatchNormAct2d and plain convs without bias: the projection reads what
     * norm1 gives, where shapes differ; kaiming_normal_(mode='fan_out') for convs. */
    {"timm-PreActBasic",
     "timm's ResNetV2: its pre-activation block in a group, projections after the first norm",
     "{order: norm-act-conv, act: relu, bias: unless_norm, eps: 1e-5, momentum: 0.1,"
     " init: {conv: kaiming_normal_fan_out, linear: pytorch}}",
     "{pre: norm-act, order: conv-norm-act, residual: [conv, conv: {order: conv}], bias: false, shortcut_from: pre,"
     " shortcut: {order: conv, bias: false}}",
     {NULL}},
    /* Ba, Kiros and Hinton 2016, equation 4, whose b is the norm's beta; and supplementary equations 20 to 22: the b of
     * the gates is PyTorch's two. Its gru has statistics of r and z together, of n alone, which there is no word for.
     */
    {.name = "ba-2016",
     .summary = "Ba et al. 2016, Layer normalization: of the sum of an rnn; of W x, of U h and of c of an lstm",
     .cell = {"{norm: {sum: {kind: ln, eps: 1e-5}}, bias: false}", NULL,
              "{norm: {input: {kind: ln, eps: 1e-5}, recurrent: {kind: ln, eps: 1e-5}, cell: {kind: ln, eps: 1e-5}}, "
              "bias: true}"}},
    /* pytorch/benchmarks/fastrnns/custom_lstms.py, LayerNormLSTMCell: nn.LayerNorm of both products, no biases beside
     * them; the next step has c as its norm makes it. Weights are drawn there by randn, here as nn.LSTM's. */
    {.name = "pytorch-custom_lstms",
     .summary = "PyTorch's benchmark LayerNormLSTMCell: of W x, of U h, and of c, which is carried so",
     .cell = {NULL, NULL,
              "{norm: {input: {kind: ln, eps: 1e-5}, recurrent: {kind: ln, eps: 1e-5},"
              " cell: {kind: ln, eps: 1e-5, carried: true}}, bias: false}"}},
    /* Cooijmans et al. 2016, equations 6 to 8: no beta beside b but c's, gamma begins with 0.1 (section 4), statistics
     * of each step by itself (section 3); eps as in sequential_mnist.py of their code. b is PyTorch's two. */
    {.name = "cooijmans-2016",
     .summary = "Cooijmans et al. 2016, Recurrent batch normalization: of W x, of U h and of c, by step",
     .cell = {NULL, NULL,
              "{norm: {input: {kind: bn, statistics: step, eps: 1e-5, momentum: 0.1, gamma: 0.1, beta: false},"
              " recurrent: {kind: bn, statistics: step, eps: 1e-5, momentum: 0.1, gamma: 0.1, beta: false},"
              " cell: {kind: bn, statistics: step, eps: 1e-5, momentum: 0.1, gamma: 0.1}}, bias: true}"}},
    /* Laurent et al. 2015: h = phi(W_h h + BN(W_x x)), BN over the time and the batch; its beta is the bias. Which eps
     * and momentum it has is not said. */
    {.name = "laurent-2015",
     .summary = "Laurent et al. 2015: batch norm of W x alone, over all steps of the batch",
     .cell = {"{norm: {input: {kind: bn, statistics: sequence, eps: 1e-5, momentum: 0.1}}, bias: false, act: tanh}"}},
    /* Amodei et al. 2016, section 3.2: h = f(B(W h of the layer below) + U h), statistics over the length of the
     * sequence and the batch; f is a relu that is clipped at 20, which there is no word for here. */
    {.name = "deepspeech2",
     .summary = "Amodei et al. 2016, Deep Speech 2: the same with a relu, without its clipping at 20",
     .cell = {"{norm: {input: {kind: bn, statistics: sequence, eps: 1e-5, momentum: 0.1}}, bias: false, act: relu}"}},
    {NULL}};

static const char *const cells[] = {"rnn", "gru", "lstm"}; /* in the order of Preset.cell */
static const char *const block_defaults[] = {"order", "bn_1st", "adn", "act", "bias", "eps", "momentum", NULL};
static const char *const residual_defaults[] = {"residual", "pre", "post", "shortcut", "shortcut_from", NULL};

typedef enum Scope { SCOPE_SPEC, SCOPE_GROUP, SCOPE_BLOCK } Scope;

/* ---- presets --------------------------------------------------------------------------------------------------- */

const Preset *preset_find(const Node *n)
{
    const char *names[64];
    int count = 0;
    for (const Preset *p = presets; p->name && count < 63; p++)
        names[count++] = p->name;
    names[count] = NULL;
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, diag_choices(NULL, names, "convoy presets"), "a preset must be a name");
        return NULL;
    }
    for (const Preset *p = presets; p->name; p++)
        if (strcmp(p->name, n->text) == 0)
            return p;
    diag_error(n->mark, diag_choices(n->text, names, "convoy presets"), "unknown preset '%.60s'", n->text);
    return NULL;
}

/* What a preset stands for stands where its name does. */
static void stand_at(Node *n, Mark mark)
{
    n->mark = mark;
    n->implied = true;
    for (int i = 0; i < n->n; i++) {
        if (n->kind == NODE_MAP)
            stand_at(n->key[i], mark);
        stand_at(n->item[i], mark);
    }
}

static bool says_order(const Node *map)
{
    for (int i = 0; i < map->n; i++)
        if (spells_order(map->key[i]->text))
            return true;
    return false;
}

static bool has_body(const Node *map)
{
    return keys_get(map, "layers") || keys_get(map, "residual") || keys_get(map, "concat");
}

static Node *keys_of(const char *text)
{
    Node *keys = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    if (!keys || keys->kind != NODE_MAP)
        BUG("a preset's keys are no map: %s", text);
    return keys;
}

void preset_keys(const char *text, const char *indent, FILE *to)
{
    const Node *keys = keys_of(text);
    for (int i = 0; i < keys->n; i++)
        fprintf(to, "%s%s: %s\n", indent, keys->key[i]->text, node_text(keys->item[i]));
}

static void put_keys(Node *map, const char *text, Mark mark, Scope scope, bool residual)
{
    Node *keys = keys_of(text);
    stand_at(keys, mark);
    for (int i = 0; i < keys->n; i++) {
        const char *key = keys->key[i]->text;
        bool takes = is_in(block_defaults, key) || (scope == SCOPE_SPEC && strcmp(key, "init") == 0) ||
                     (residual && is_in(residual_defaults, key));
        if (takes && !keys_get(map, key) && !(spells_order(key) && says_order(map)))
            node_put(map, keys->key[i], keys->item[i]);
    }
}

static bool of_cells(const Preset *p)
{
    return p->cell[0] || p->cell[1] || p->cell[2];
}

const char *preset_cells(const Preset *p)
{
    Buf b = {0};
    for (int k = 0; k < 3; k++)
        if (p->cell[k])
            buf_printf(&b, "%s- %s: {hidden: 64, preset: %s}", b.len ? " or " : "", cells[k], p->name);
    return b.text;
}

/* The same of a recurrent layer, which takes the presets of its cell. */
static void expand_cell_preset(Node *map, int cell)
{
    const Node *name = keys_get(map, "preset");
    const Preset *p = name ? preset_find(name) : NULL;
    node_drop(map, "preset");
    if (p && !p->cell[cell])
        diag_error(name->mark, of_cells(p) ? preset_cells(p) : "convoy presets lists those of recurrent layers, too",
                   of_cells(p) ? "preset '%s' has no %s" : "preset '%s' is of convs, not of %s", p->name, cells[cell]);
    Node *keys = p && p->cell[cell] ? keys_of(p->cell[cell]) : NULL;
    if (keys)
        stand_at(keys, name->mark);
    for (int i = 0; keys && i < keys->n; i++)
        if (!keys_get(map, keys->key[i]->text))
            node_put(map, keys->key[i], keys->item[i]);
}

static void expand_preset(Node *map, Scope scope)
{
    const Node *name = keys_get(map, "preset");
    const Preset *p = name ? preset_find(name) : NULL;
    node_drop(map, "preset");
    if (p && of_cells(p))
        diag_error(name->mark, preset_cells(p), "preset '%s' is of recurrent layers, and stands in one", p->name);
    if (!p || of_cells(p))
        return;
    bool residual = scope == SCOPE_GROUP && (keys_get(map, "residual") || (p->group && !has_body(map)));
    if (residual && p->group)
        put_keys(map, p->group, name->mark, scope, residual);
    put_keys(map, p->keys, name->mark, scope, residual);
}

/* ---- spellings of an order -------------------------------------------------------------------------------------- */

/* Whether the map says its order in one way alone. */
static bool said_once(const Node *map)
{
    int first = -1;
    for (int i = 0; i < map->n; i++) {
        if (!spells_order(map->key[i]->text))
            continue;
        if (first >= 0) {
            diag_error2(map->key[i]->mark, map->key[first]->mark, "the first stands here",
                        "order, bn_1st and adn are three ways to say it: leave one",
                        "this says the order a second time");
            return false;
        }
        first = i;
    }
    return true;
}

/* fastai's bn_1st: which of norm and activation comes first, after the conv. */
static const char *from_bn_1st(const Node *n)
{
    bool first;
    return !want_bool(n, "bn_1st", &first) ? NULL : first ? "conv-norm-act" : "conv-act-norm";
}

/* MONAI's letters: activation, dropout, norm, as they follow the conv. A D without a rate is no stage, as there.
 * needs_d: the rate was given for these letters. */
static const char *from_adn(const Node *n, const Node *drop, bool needs_d)
{
    double rate = 0;
    if (drop && want_real(drop, "drop", 0, 1, &rate) && rate == 1)
        diag_error(drop->mark, op_info[OP_DROP].hint, "the p of drop must be at least 0 and below 1, not 1");
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, "adn: NDA", "adn must be a word of the letters A, D and N");
        return NULL;
    }
    bool seen[3] = {false};
    Buf b = {0};
    buf_puts(&b, "conv");
    for (const char *c = n->text; *c; c++) {
        const char *const letters = "ADNadn", *at = strchr(letters, *c);
        int k = at ? (int)(at - letters) % 3 : 0;
        if (!at || seen[k]) {
            diag_error(
                n->mark, "A: activation, D: dropout, N: norm, in the order in which they follow the conv: adn: NDA",
                at ? "adn has a letter twice: '%.60s'" : "adn must be of the letters A, D and N, not '%.60s'", n->text);
            return NULL;
        }
        seen[k] = true;
        if (k == 1 && drop)
            buf_printf(&b, "-drop(%s)", real_text(rate));
        else if (k != 1)
            buf_printf(&b, "-%s", k == 0 ? "act" : "norm");
    }
    if (needs_d && !seen[1])
        diag_error(drop->mark, xprintf("adn: %sD", n->text),
                   "'drop' is the rate of adn's D, and there is none in '%.60s'", n->text);
    return b.text;
}

/* adn and drop, as the maps around say them; adn NULL where they say the order otherwise. */
typedef struct Adn {
    const Node *adn, *drop;
} Adn;

/* What holds inside the map, `outer` holding around it. */
static Adn expand_order(Node *map, Adn outer)
{
    const Node *bn_1st = keys_get(map, "bn_1st"), *drop = keys_get(map, "drop"), *from = bn_1st;
    Adn in = {says_order(map) ? keys_get(map, "adn") : outer.adn, drop ? drop : outer.drop};
    if (drop && !in.adn)
        diag_error(keys_get_key(map, "drop")->mark, "in an order the rate stands in the word: conv-bn-drop(0.2)-act",
                   "'drop' is the rate of adn's D, and there is no adn");
    if (drop || keys_get(map, "adn"))
        from = in.adn;
    if (said_once(map) && from) {
        const char *text = from == bn_1st ? from_bn_1st(bn_1st) : from_adn(in.adn, in.drop, drop != NULL);
        Mark mark = drop ? drop->mark : from->mark;
        if (text) {
            Node *order = node_new(NODE_SCALAR, text, mark);
            order->implied = true;
            node_put(map, node_new(NODE_SCALAR, "order", mark), order);
        }
    }
    node_drop(map, "bn_1st");
    node_drop(map, "adn");
    node_drop(map, "drop");
    return in;
}

/* ---- the tree --------------------------------------------------------------------------------------------------- */

static Adn expand_map(Node *map, Scope scope, Adn outer)
{
    expand_preset(map, scope);
    return expand_order(map, outer);
}

/* What one repeat, or a layer of it, has of its own: another order, but no preset, which would have to say whether what
 * it stands for goes before what the layer says. */
static void expand_only(Node *only, Adn outer)
{
    for (int i = 0; only && only->kind == NODE_MAP && i < only->n; i++) {
        Node *map = only->item[i];
        if (map->kind != NODE_MAP)
            continue;
        if (keys_get(map, "preset"))
            diag_error(keys_get_key(map, "preset")->mark,
                       "give it to the layer or the group itself, or write its keys here", "only takes no preset");
        node_drop(map, "preset");
        expand_order(map, outer);
    }
}

static void expand_items(Node *list, Adn outer)
{
    static const char *const lists[] = {"layers", "residual", "transition"};
    for (int i = 0; list && list->kind == NODE_SEQ && i < list->n; i++) {
        const Node *item = list->item[i];
        Node *map = item->kind == NODE_MAP && item->n == 1 ? item->item[0] : NULL, *concat;
        if (!map || map->kind != NODE_MAP)
            continue;
        if (strcmp(item->key[0]->text, "conv") == 0)
            expand_map(map, SCOPE_BLOCK, outer);
        for (int k = 0; k < 3; k++)
            if (strcmp(item->key[0]->text, cells[k]) == 0)
                expand_cell_preset(map, k);
        if (strcmp(item->key[0]->text, "stage") != 0)
            continue;
        Adn in = expand_map(map, SCOPE_GROUP, outer);
        expand_only(keys_get(map, "only"), in);
        for (int k = 0; k < 3; k++)
            expand_items(keys_get(map, lists[k]), in);
        if ((concat = keys_get(map, "concat")) && concat->kind == NODE_SEQ)
            for (int b = 0; b < concat->n; b++)
                expand_items(concat->item[b], in);
    }
}

void presets_expand(Node *tree)
{
    expand_items(keys_get(tree, "layers"), expand_map(tree, SCOPE_SPEC, (Adn){NULL, NULL}));
}
