/* op.c - the op table: one row an op, with all that the passes need to know about it in general. */
#include "convoy.h"

#include <string.h>

/* clang-format off */
const OpInfo op_info[OP_KINDS] = {
    /*                      name               stage              class          backward     keeps  shift  args */
    /*                                                                           needs        sign   safe          */
    [OP_INPUT]           = {"input",           "input",           CLASS_INPUT,   NEED_NOTHING, false, false, 0, 0, NULL},
    [OP_CONV]            = {"conv",            "conv",            CLASS_WEIGHT,  NEED_INPUT,   false, false, 0, 0, NULL},
    [OP_LINEAR]          = {"linear",          "linear",          CLASS_WEIGHT,  NEED_INPUT,   false, false, 0, 0, NULL},
    [OP_BN]              = {"bn",              "bn",              CLASS_BARRIER, NEED_INPUT,   false, false, 0, 0, NULL},
    [OP_RELU]            = {"relu",            "act",             CLASS_POINT,   NEED_SIGN,    true,  false, 0, 0, NULL},
    [OP_LEAKY_RELU]      = {"leaky_relu",      "act",             CLASS_POINT,   NEED_SIGN,    true,  false, 0, 1, "slope"},
    [OP_TANH]            = {"tanh",            "act",             CLASS_POINT,   NEED_OUTPUT,  true,  false, 0, 0, NULL},
    [OP_SIGMOID]         = {"sigmoid",         "act",             CLASS_POINT,   NEED_OUTPUT,  false, false, 0, 0, NULL},
    [OP_SILU]            = {"silu",            "act",             CLASS_POINT,   NEED_INPUT,   true,  false, 0, 0, NULL},
    [OP_DROP]            = {"drop",            "drop",            CLASS_POINT,   NEED_NOTHING, true,  false, 1, 1, "p"},
    [OP_MAXPOOL]         = {"maxpool",         "maxpool",         CLASS_WINDOW,  NEED_ROUTE,   true,  true,  1, 3, "k[, stride[, padding]]"},
    [OP_AVGPOOL]         = {"avgpool",         "avgpool",         CLASS_WINDOW,  NEED_NOTHING, false, true,  1, 3, "k[, stride[, padding]]"},
    [OP_GLOBAL_AVG_POOL] = {"global_avg_pool", "global_avg_pool", CLASS_WINDOW,  NEED_NOTHING, false, true,  0, 0, NULL},
    [OP_FLATTEN]         = {"flatten",         "flatten",         CLASS_WINDOW,  NEED_NOTHING, true,  false, 0, 0, NULL},
    [OP_PAD]             = {"pad",             "pad",             CLASS_WINDOW,  NEED_NOTHING, true,  true,  0, 0, NULL},
    [OP_ADD]             = {"add",             "add",             CLASS_JOIN,    NEED_NOTHING, false, true,  0, 0, NULL},
    [OP_CONCAT]          = {"concat",          "concat",          CLASS_JOIN,    NEED_NOTHING, false, true,  0, 0, NULL},
    [OP_LOSS]            = {"loss",            "loss",            CLASS_LOSS,    NEED_INPUT,   false, false, 0, 0, NULL},
};
/* clang-format on */

OpKind op_find(const char *name)
{
    for (int k = 0; k < OP_KINDS; k++)
        if (k != OP_INPUT && k != OP_LOSS && k != OP_PAD && op_info[k].cls != CLASS_JOIN && strcmp(op_info[k].name, name) == 0)
            return (OpKind)k;
    return OP_KINDS;
}
