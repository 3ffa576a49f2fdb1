/* op.c - the op table: one row an op, with all that the passes need to know about it in general. */
#include "convoy.h"

#include <string.h>

/* clang-format off */
const OpInfo op_info[OP_KINDS] = {
    /*                      name               stage              class          backward      keeps  shift  keeps  args, and of an */
    /*                                                                           needs         sign   safe   zero   optional one its default and range */
    [OP_INPUT]           = {"input",           "input",           CLASS_INPUT,   NEED_NOTHING, false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_CONV]            = {"conv",            "conv",            CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_LINEAR]          = {"linear",          "linear",          CLASS_WEIGHT,  NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_BN]              = {"bn",              "bn",              CLASS_BARRIER, NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_GN]              = {"gn",              "gn",              CLASS_IMAGE,   NEED_INPUT,   false, false, true,  0, 1, "groups", 32, 1, 1 << 20},
    [OP_LN]              = {"ln",              "ln",              CLASS_IMAGE,   NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_IN]              = {"in",              "in",              CLASS_IMAGE,   NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
    [OP_RELU]            = {"relu",            "act",             CLASS_POINT,   NEED_SIGN,    true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_LEAKY_RELU]      = {"leaky_relu",      "act",             CLASS_POINT,   NEED_SIGN,    true,  false, true,  0, 1, "slope", 0.01, 0, 1},
    [OP_TANH]            = {"tanh",            "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_SIGMOID]         = {"sigmoid",         "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, 0, 0, NULL, 0, 0, 0},
    [OP_SILU]            = {"silu",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_ELU]             = {"elu",             "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  0, 1, "alpha", 1, 0, 100},
    [OP_SELU]            = {"selu",            "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_GELU]            = {"gelu",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_MISH]            = {"mish",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_SOFTPLUS]        = {"softplus",        "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, 0, 0, NULL, 0, 0, 0},
    [OP_RELU6]           = {"relu6",           "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_HARD_SIGMOID]    = {"hard_sigmoid",    "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, false, 0, 0, NULL, 0, 0, 0},
    [OP_HARD_SWISH]      = {"hard_swish",      "act",             CLASS_POINT,   NEED_INPUT,   true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_DROP]            = {"drop",            "drop",            CLASS_POINT,   NEED_NOTHING, true,  false, true,  1, 1, "p", 0, 0, 0},
    [OP_MAXPOOL]         = {"maxpool",         "maxpool",         CLASS_WINDOW,  NEED_ROUTE,   true,  true,  true,  1, 3, "k[, stride[, padding]]", 0, 0, 0},
    [OP_AVGPOOL]         = {"avgpool",         "avgpool",         CLASS_WINDOW,  NEED_NOTHING, false, true,  true,  1, 3, "k[, stride[, padding]]", 0, 0, 0},
    [OP_GLOBAL_AVG_POOL] = {"global_avg_pool", "global_avg_pool", CLASS_WINDOW,  NEED_NOTHING, false, true,  true,  0, 0, NULL, 0, 0, 0},
    [OP_FLATTEN]         = {"flatten",         "flatten",         CLASS_WINDOW,  NEED_NOTHING, true,  false, true,  0, 0, NULL, 0, 0, 0},
    [OP_PAD]             = {"pad",             "pad",             CLASS_WINDOW,  NEED_NOTHING, true,  true,  true,  0, 0, NULL, 0, 0, 0},
    [OP_ADD]             = {"add",             "add",             CLASS_JOIN,    NEED_NOTHING, false, true,  true,  0, 0, NULL, 0, 0, 0},
    [OP_CONCAT]          = {"concat",          "concat",          CLASS_JOIN,    NEED_NOTHING, false, true,  true,  0, 0, NULL, 0, 0, 0},
    [OP_LOSS]            = {"loss",            "loss",            CLASS_LOSS,    NEED_INPUT,   false, false, true,  0, 0, NULL, 0, 0, 0},
};
/* clang-format on */

OpKind op_find(const char *name)
{
    for (int k = 0; k < OP_KINDS; k++)
        if (k != OP_INPUT && k != OP_LOSS && k != OP_PAD && op_info[k].cls != CLASS_JOIN && strcmp(op_info[k].name, name) == 0)
            return (OpKind)k;
    return OP_KINDS;
}

bool op_is_act(OpKind kind)
{
    return strcmp(op_info[kind].stage, "act") == 0;
}

bool op_is_norm(OpKind kind)
{
    return kind == OP_BN || op_is_image_norm(kind);
}

bool op_is_image_norm(OpKind kind)
{
    return op_info[kind].cls == CLASS_IMAGE;
}

bool op_takes_arg(OpKind kind)
{
    return op_info[kind].arg_most > 0;
}
