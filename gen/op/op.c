/* op.c - the op table: one row per op, with all that the passes need to know about it in general. */
#include "op.h"

#include <math.h>
#include <string.h>

/* clang-format off */

/* Arguments that several ops have. */
#define EPS [ARG_EPS] = {"eps", ARG_REAL, ARG_KEY, .usual = EPS_USUAL, EPS_IS}
#define MOMENTUM [ARG_MOMENTUM] = {"momentum", ARG_REAL, ARG_KEY, .usual = MOMENTUM_USUAL, .training = true, MOMENTUM_IS}
#define NORM_GROUPS [ARG_NORM_GROUPS] = {"groups", ARG_COUNT, ARG_MAY, .usual = 32, .lo = 1, .hi = MAX_OUT, \
                                 .help = "a divisor of the channels"}
#define SLOPE {"slope", ARG_REAL, ARG_MAY, .usual = 0.01, .hi = 1, .help = "of what is below zero"}
#define ALPHA {"alpha", ARG_REAL, ARG_MAY, .usual = 1, .hi = 100, .help = "how far below zero it reaches"}
#define RATE {"p", ARG_REAL, ARG_MUST, .hi = 1, .below_hi = true, .help = "the share that is dropped"}
#define BETWEEN \
    {"min", ARG_REAL, ARG_MAY, .usual = -1, .lo = -1e6, .hi = 1e6, .help = "the least that comes out"}, \
    {"max", ARG_REAL, ARG_MAY, .usual = 1, .lo = -1e6, .hi = 1e6, .above = 1, .help = "the most that comes out"}
#define GENERAL \
    [ARG_LEAK] = {"leak", ARG_REAL, ARG_MAY, .hi = 1, .help = "the slope of what is below zero"}, \
    [ARG_SUB] = {"sub", ARG_REAL, ARG_MAY, .lo = -1e6, .hi = 1e6, .help = "what is taken away"}, \
    [ARG_MAXV] = {"maxv", ARG_REAL, ARG_MAY, .usual = INFINITY, .lo = -1e6, .hi = 1e6, .quiet = true, .help = "the most that is left"}
#define PAD \
    [ARG_BEFORE] = {"before", ARG_COUNT, ARG_KEY, .hi = INT32_MAX}, \
    [ARG_STRIDE] = {"stride", ARG_SIZE, ARG_KEY, .usual = 1, .lo = 1, .hi = MAX_KERNEL}
#define POOL \
    [ARG_KERNEL] = {"k", ARG_SIZE, ARG_MUST, .lo = 1, .hi = MAX_WINDOW, .help = "the window: a number, or [height, width]"}, \
    [ARG_STRIDE] = {"stride", ARG_SIZE, ARG_MAY, .lo = 1, .hi = MAX_WINDOW, .like = ARG_KERNEL + 1, .quiet = true, \
                    .help = "else the window"}, \
    [ARG_PADDING] = {"padding", ARG_SIDES, ARG_MAY, .hi = MAX_WINDOW, .quiet = true, \
                     .help = "at most half the window: a number, [height, width], [top, bottom, left, right], or same"}, \
    [ARG_CEIL] = {"ceil_mode", ARG_FLAG, ARG_WORD, .hi = 1, .word = "ceil", \
                  .help = "a last window may hang over the edge, as in PyTorch"}
#define COUNTED [ARG_COUNTED] = {"count_include_pad", ARG_FLAG, ARG_WORD, .usual = 1, .hi = 1, .word = "inside", \
                                 .help = "false: an average is over what lies inside the image; so it is with padding: same"}
#define CONV \
    [ARG_KERNEL] = {"kernel", ARG_SIZE, ARG_KEY, .usual = KERNEL_USUAL, CONV_SIZE_IS}, \
    [ARG_STRIDE] = {"stride", ARG_SIZE, ARG_KEY, .usual = STRIDE_USUAL, CONV_SIZE_IS}, \
    [ARG_PADDING] = {"padding", ARG_SIDES, ARG_KEY, .usual = 1, .hi = MAX_KERNEL * MAX_KERNEL}, \
    [ARG_DILATION] = {"dilation", ARG_SIZE, ARG_KEY, .usual = DILATION_USUAL, CONV_SIZE_IS}, \
    [ARG_GROUPS] = {"groups", ARG_COUNT, ARG_KEY, .usual = GROUPS_USUAL, .hi = MAX_OUT}

#define CELL \
    [ARG_HIDDEN] = {"hidden", ARG_COUNT, ARG_MUST, .lo = 1, .hi = MAX_HIDDEN, .help = "hidden units: channels of what it returns"}, \
    [ARG_RETURN] = {"return", ARG_CHOICE, ARG_KEY, .hi = RETURNS - 1, .words = returns, \
                    .help = "which steps' h it returns: the last one's, all, their mean, or the largest of each unit"}, \
    [ARG_CELL_BIAS] = {"bias", ARG_FLAG, ARG_KEY, .usual = 1, .hi = 1, .help = "whether gates have biases, two each, as in PyTorch"}, \
    [ARG_CELL_NORM] = {"norm", ARG_PLACES, ARG_KEY, .help = "norms inside a step, by their places: {input: ln, recurrent: ln}"}, \
    [ARG_BOTH_WAYS] = {"bidirectional", ARG_FLAG, ARG_KEY, .hi = 1, .quiet = true, \
                       .help = "two of them: one walks from the first step, one from the last, and what they return is joined by channels"}

static const char *const returns[] = {"last", "all", "mean", "max", NULL};
static const char *const resets[] = {"after", "before", NULL};
static const char *const cell_acts[] = {"tanh", "relu", NULL};

static const ParamSlot recurrent[] = {{"weight_ih_l0", PARAM_WEIGHT}, {"weight_hh_l0", PARAM_HIDDEN_WEIGHT},
                                      {"bias_ih_l0", PARAM_BIAS}, {"bias_hh_l0", PARAM_HIDDEN_BIAS}, {NULL, 0}};

#define GATE_PLACES (IN_PLACE(PLACE_INPUT) | IN_PLACE(PLACE_RECURRENT))
static const CellInfo rnn_cell = {1, "h", 1, "RNN", "h = act(W x + b + U h + b')",
                                  GATE_PLACES | IN_PLACE(PLACE_SUM) | IN_PLACE(PLACE_HIDDEN), .mixes = false};
static const CellInfo gru_cell = {3, "rzn", 5, "GRU", "r, z = sigmoid(W x + b + U h + b'), n = tanh(W x + b + r (U h + b')), h = (1 - z) n + z h",
                                  GATE_PLACES | IN_PLACE(PLACE_HIDDEN), .mixes = true}; /* of n r stands between the two products: they have no sum */
static const CellInfo lstm_cell = {4, "ifgo", 6, "LSTM", "i, f, o = sigmoid(W x + b + U h + b'), g = tanh(the same), c = f c + i g, h = o tanh(c)",
                                   GATE_PLACES | IN_PLACE(PLACE_SUM) | IN_PLACE(PLACE_CELL) | IN_PLACE(PLACE_HIDDEN), .mixes = false};

static const ParamSlot table[] = {{"weight", PARAM_WEIGHT}, {NULL, 0}};
static const ParamSlot weighted[] = {{"weight", PARAM_WEIGHT}, {"bias", PARAM_BIAS}, {NULL, 0}};
static const ParamSlot affine[] = {{"weight", PARAM_GAMMA}, {"bias", PARAM_BETA}, {NULL, 0}};
static const ParamSlot scaled[] = {{"weight", PARAM_GAMMA}, {NULL, 0}};
static const ParamSlot running[] = {{"weight", PARAM_GAMMA}, {"bias", PARAM_BETA}, {"running_mean", PARAM_MEAN},
                                    {"running_var", PARAM_VAR}, {"num_batches_tracked", PARAM_COUNT}, {NULL, 0}};

static const NormInfo batch_norm = {OVER_BATCH, true, "a channel, over the batch; at inference running ones",
                                    "nn.BatchNorm{d}d({c}, eps={eps}, momentum={momentum})", NULL, NULL};
static const NormInfo group_norm = {OVER_GROUPS, true, "a group of channels, of one image", "nn.GroupNorm({groups}, {c}, eps={eps})", NULL, NULL};
static const NormInfo layer_norm = {OVER_IMAGE, true, "all of one image", /* with one gamma and one beta per channel: of an image GroupNorm does that */
                                    "nn.GroupNorm(1, {c}, eps={eps})", "nn.LayerNorm({c}, eps={eps})", NULL};
static const NormInfo instance_norm = {OVER_CHANNEL, true, "a channel of one image", "nn.InstanceNorm{d}d({c}, eps={eps}, affine=True)", NULL, NULL};
static const NormInfo rms_norm = {OVER_IMAGE, false, "all of one image, and its mean is not taken away", "RmsNorm({c}, eps={eps})", NULL,
                                  "class RmsNorm(nn.Module):\n"
                                  "    # PyTorch's RMSNorm, over all of an image, with one gamma per channel\n"
                                  "    def __init__(self, channels, eps):\n"
                                  "        super().__init__()\n"
                                  "        self.weight, self.eps = nn.Parameter(torch.ones(channels)), eps\n"
                                  "\n"
                                  "    def forward(self, x):\n"
                                  "        square = (x * x).mean(tuple(range(1, x.dim())), keepdim=True)\n"
                                  "        return x * (square + self.eps).rsqrt() * self.weight.reshape(-1, *(1,) * (x.dim() - 2))\n\n\n"};

const OpInfo op_info[OP_KINDS] = {
    /*                      name               stage              class          backward      keeps  shift  keeps  parameters  arguments */
    /*                                                                           needs         sign   safe   zero */
    [OP_INPUT]           = {"input",           "input",           CLASS_INPUT,   NEED_NOTHING, false, false, true,  NULL,       {{0}}},
    [OP_CONV]            = {"conv",            "conv",            CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  weighted,   {CONV}},
    [OP_LINEAR]          = {"linear",          "linear",          CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  weighted,   {{0}}},
    [OP_RNN]             = {"rnn",             "rnn",             CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  recurrent,
                           {CELL, [ARG_CELL_ACT] = {"act", ARG_CHOICE, ARG_KEY, .hi = CELL_RELU, .words = cell_acts, .help = "what makes h of the sum"}},
                           "- rnn: 32", .cell = &rnn_cell},
    [OP_GRU]             = {"gru",             "gru",             CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  recurrent,
                           {CELL, [ARG_RESET] = {"reset", ARG_CHOICE, ARG_KEY, .hi = RESET_BEFORE, .words = resets, .quiet = true,
                                                 .help = "whether r is applied to the product, r (U h + b'), as PyTorch has it, or before it, U (r h) + b'"}},
                           "- gru: 32", .cell = &gru_cell},
    [OP_LSTM]            = {"lstm",            "lstm",            CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  recurrent,
                           {CELL, [ARG_FORGET] = {"forget_bias", ARG_REAL, ARG_KEY, .usual = INFINITY, .lo = -100, .hi = 100, .quiet = true, .training = true,
                                                 .help = "what the forget gate's biases begin with, both together; else they are drawn as the others"}},
                           "- lstm: 32", .cell = &lstm_cell},
    [OP_EMBED]           = {"embed",           "embed",           CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  table,
                           {[ARG_OUT] = {"out", ARG_COUNT, ARG_MUST, .lo = 1, .hi = MAX_OUT, .help = "numbers that each token becomes: channels of what it returns"}},
                           "- embed: 32"},
    [OP_BN]              = {"bn",              "bn",              CLASS_BARRIER, NEED_INPUT,   false, false, true,  running,    {EPS, MOMENTUM}, .norm = &batch_norm},
    [OP_GN]              = {"gn",              "gn",              CLASS_IMAGE,   NEED_INPUT,   false, false, true,  affine,     {EPS, NORM_GROUPS}, "gn(32) is the usual one", .norm = &group_norm},
    [OP_LN]              = {"ln",              "ln",              CLASS_IMAGE,   NEED_INPUT,   false, false, true,  affine,     {EPS}, .norm = &layer_norm},
    [OP_IN]              = {"in",              "inorm",           CLASS_IMAGE,   NEED_INPUT,   false, false, true,  affine,     {EPS}, .norm = &instance_norm},
    [OP_RMS]             = {"rms",             "rms",             CLASS_IMAGE,   NEED_INPUT,   false, false, true,  scaled,     {EPS}, .norm = &rms_norm},
    [OP_RELU]            = {"relu",            "act",             CLASS_POINT,   NEED_SIGN,    true,  false, true,  NULL,       {{0}},
                           .torch = "nn.ReLU()", .keras = "ReLU()", .does = "x above zero, 0 below"},
    [OP_LEAKY_RELU]      = {"leaky_relu",      "act",             CLASS_POINT,   NEED_SIGN,    true,  false, true,  NULL,       {SLOPE}, "leaky_relu(0.01) is the usual one",
                           .torch = "nn.LeakyReLU(negative_slope={slope})", .keras = "LeakyReLU(negative_slope={slope})", .does = "x above zero, slope x below"},
    [OP_TANH]            = {"tanh",            "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  NULL,       {{0}},
                           .torch = "nn.Tanh()", .keras = "Activation(\"tanh\")", .does = "tanh(x)"},
    [OP_SIGMOID]         = {"sigmoid",         "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, NULL,       {{0}},
                           .torch = "nn.Sigmoid()", .keras = "Activation(\"sigmoid\")", .does = "1 / (1 + e^-x)"},
    [OP_SILU]            = {"silu",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  NULL,       {{0}},
                           .torch = "nn.SiLU()", .keras = "Activation(\"silu\")", .does = "x sigmoid(x)"},
    [OP_ELU]             = {"elu",             "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  NULL,       {ALPHA}, "elu(1) is the usual one",
                           .torch = "nn.ELU(alpha={alpha})", .keras = "ELU(alpha={alpha})", .does = "x above zero, alpha (e^x - 1) below"},
    [OP_SELU]            = {"selu",            "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  NULL,       {{0}},
                           .torch = "nn.SELU()", .keras = "Activation(\"selu\")", .does = "Klambauer et al. 2017: 1.0507 elu(x), alpha 1.6733"},
    [OP_GELU]            = {"gelu",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  NULL,       {{0}},
                           .torch = "nn.GELU()", .keras = "Activation(\"gelu\")", .does = "x times the normal distribution's integral up to x; exactly, not by its tanh approximation"},
    [OP_MISH]            = {"mish",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  NULL,       {{0}},
                           .torch = "nn.Mish()", .keras = "Activation(\"mish\")", .does = "x tanh(softplus(x))"},
    [OP_SOFTPLUS]        = {"softplus",        "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, NULL,       {{0}},
                           .torch = "nn.Softplus()", .keras = "Activation(\"softplus\")", .does = "ln(1 + e^x)"},
    [OP_RELU6]           = {"relu6",           "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  NULL,       {{0}},
                           .torch = "nn.ReLU6()", .keras = "Activation(\"relu6\")", .does = "relu, at most 6"},
    [OP_HARD_SIGMOID]    = {"hard_sigmoid",    "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, NULL,       {{0}},
                           .torch = "nn.Hardsigmoid()", .keras = "Activation(\"hard_sigmoid\")", .does = "(x + 3) / 6, at least 0, at most 1"},
    [OP_HARD_SWISH]      = {"hard_swish",      "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  NULL,       {{0}},
                           .torch = "nn.Hardswish()", .keras = "Activation(\"hard_silu\")", .does = "x hard_sigmoid(x)"},
    [OP_HARD_TANH]       = {"hard_tanh",       "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, false, NULL,       {BETWEEN}, "hard_tanh(-1,1) is the usual one",
                           .torch = "nn.Hardtanh(min_val={min}, max_val={max})", .does = "x, at least min, at most max"},
    [OP_GENERAL_RELU]    = {"general_relu",    "act",             CLASS_POINT,   NEED_INPUT,   false, false, false, NULL,       {GENERAL}, "general_relu(0.1,0.4,6) is fast.ai's",
                           .torch = "GeneralRelu(leak={leak}, sub={sub}, maxv={maxv})", .does = "fast.ai's: a leaky relu, minus sub, at most maxv; where x reaches maxv, the gradient still passes"},
    [OP_DROP]            = {"drop",            "drop",            CLASS_POINT,   NEED_NOTHING, true,  false, true,  NULL,       {RATE}, "drop(0.5) drops half"},
    [OP_MAXPOOL]         = {"maxpool",         "maxpool",         CLASS_WINDOW,  NEED_ROUTE,   true,  true,  true,  NULL,       {POOL}},
    [OP_AVGPOOL]         = {"avgpool",         "avgpool",         CLASS_WINDOW,  NEED_NOTHING, false, true,  true,  NULL,       {POOL, COUNTED}},
    [OP_GLOBAL_AVG_POOL] = {"global_avg_pool", "global_avg_pool", CLASS_WINDOW,  NEED_NOTHING, false, true,  true,  NULL,       {{0}}},
    [OP_FLATTEN]         = {"flatten",         "flatten",         CLASS_WINDOW,  NEED_NOTHING, true,  false, true,  NULL,       {{0}}},
    [OP_PAD]             = {"pad",             "pad",             CLASS_WINDOW,  NEED_NOTHING, true,  true,  true,  NULL,       {PAD}},
    [OP_ADD]             = {"add",             "add",             CLASS_JOIN,    NEED_NOTHING, false, true,  true,  NULL,       {{0}}},
    [OP_CONCAT]          = {"concat",          "concat",          CLASS_JOIN,    NEED_NOTHING, false, true,  true,  NULL,       {{0}}},
    [OP_LOSS]            = {"loss",            "loss",            CLASS_LOSS,    NEED_INPUT,   false, false, true,  NULL,       {{0}}},
};
/* clang-format on */

OpKind op_find(const char *name)
{
    for (int k = 0; k < OP_KINDS; k++)
        if (k != OP_INPUT && k != OP_LOSS && k != OP_PAD && op_info[k].cls != CLASS_JOIN &&
            strcmp(op_info[k].name, name) == 0)
            return (OpKind)k;
    return OP_KINDS;
}

bool op_is_act(OpKind kind)
{
    return kind < OP_KINDS && strcmp(op_info[kind].stage, "act") == 0;
}

bool op_is_norm(OpKind kind)
{
    return kind < OP_KINDS && op_info[kind].norm != NULL; /* OP_KINDS: norm: none */
}

bool op_is_batch_norm(OpKind kind)
{
    return op_is_norm(kind) && op_info[kind].norm->over == OVER_BATCH;
}

bool op_is_image_norm(OpKind kind)
{
    return op_is_norm(kind) && op_info[kind].norm->over != OVER_BATCH;
}

int op_norm_groups(OpKind kind, const Arg *arg, int channels)
{
    const NormOver over = op_info[kind].norm->over;
    return over == OVER_GROUPS ? arg[ARG_NORM_GROUPS].count : over == OVER_IMAGE ? 1 : channels;
}

bool op_is_recurrent(OpKind kind)
{
    return kind < OP_KINDS && op_info[kind].cell != NULL;
}

bool op_cell_is_relu(OpKind kind, const Arg *arg)
{
    return kind == OP_RNN && arg[ARG_CELL_ACT].count == CELL_RELU;
}

bool op_has_forget_bias(OpKind kind, const Arg *arg)
{
    return kind == OP_LSTM && isfinite(arg[ARG_FORGET].real);
}

bool op_resets_before(OpKind kind, const Arg *arg)
{
    return kind == OP_GRU && arg[ARG_RESET].count == RESET_BEFORE;
}

const char *op_cell_does(OpKind kind, const Arg *arg)
{
    return op_resets_before(kind, arg)
               ? "r, z = sigmoid(W x + b + U h + b'), n = tanh(W x + b + U (r h) + b'), h = (1 - z) n + z h"
               : op_info[kind].cell->does;
}

bool op_is_block(OpKind kind)
{
    return kind == OP_CONV || kind == OP_LINEAR;
}

bool op_is_alone(OpKind kind)
{
    return kind < OP_KINDS && op_info[kind].cls == CLASS_WEIGHT && !op_is_block(kind);
}

bool op_has_param(OpKind kind, ParamRole role)
{
    for (const ParamSlot *slot = op_info[kind].param; slot && slot->name; slot++)
        if (slot->role == role)
            return true;
    return false;
}
