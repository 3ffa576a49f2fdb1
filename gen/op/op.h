/* op.h - the op table: what everybody knows of an op, from the parser to the twin. */
#ifndef CONVOY_OP_H
#define CONVOY_OP_H

#include "numbers.h"

enum { MAX_OUT = 1 << 20, MAX_TOKENS = 1 << 20, MAX_KERNEL = 255, MAX_WINDOW = 4096, MAX_HIDDEN = 4096 };

/* What an argument and the key of a block that sets it have in common: the range, and what it is. */
/* The usual values of keys of blocks: their numbers, and (USUAL_TEXT) as people are told them. */
#define EPS_USUAL 1e-5
#define MOMENTUM_USUAL 0.1
#define KERNEL_USUAL 3
#define STRIDE_USUAL 1
#define DILATION_USUAL 1
#define GROUPS_USUAL 1
#define USUAL_TEXT(value) USUAL_TEXT_OF(value)
#define USUAL_TEXT_OF(value) #value
#define EPS_IS .lo = 1e-12, .hi = 1, .help = "what a norm adds to the variance"
#define MOMENTUM_IS .lo = 0, .hi = 1, .help = "the weight of the new batch in batch norm's running statistics"
#define CONV_SIZE_IS .lo = 1, .hi = MAX_KERNEL

/* clang-format off */
typedef enum OpKind {
    OP_INPUT,
    OP_CONV, OP_LINEAR,                                             /* weight ops */
    OP_RNN, OP_GRU, OP_LSTM,                                        /* and recurrent ones: each has a cell */
    OP_EMBED,                                                       /* and a table of rows, one a token */
    OP_BN,                                                          /* batch barriers */
    OP_GN, OP_LN, OP_IN, OP_RMS,                                    /* image barriers: gn over groups of channels, ln and rms over all, in over each */
    OP_RELU, OP_LEAKY_RELU, OP_TANH, OP_SIGMOID, OP_SILU,           /* point: activations */
    OP_ELU, OP_SELU, OP_GELU, OP_MISH, OP_SOFTPLUS, OP_RELU6, OP_HARD_SIGMOID, OP_HARD_SWISH, OP_HARD_TANH,
    OP_GENERAL_RELU,
    OP_DROP,
    OP_MAXPOOL, OP_AVGPOOL, OP_GLOBAL_AVG_POOL, OP_FLATTEN,         /* window: one image in scratch */
    OP_PAD,                                                         /* window: every stride-th pixel, zero channels around */
    OP_ADD, OP_CONCAT,                                              /* joins: of two tensors or more */
    OP_LOSS,                                                        /* softmax cross-entropy on the logits */
    OP_KINDS
} OpKind;
/* clang-format on */

typedef enum OpClass {
    CLASS_INPUT,
    CLASS_WEIGHT,
    CLASS_BARRIER,
    CLASS_IMAGE,
    CLASS_POINT,
    CLASS_WINDOW,
    CLASS_JOIN,
    CLASS_LOSS
} OpClass;

/* What an op's backward reads of its forward, besides the gradient of its output. */
typedef enum Need {
    NEED_NOTHING,
    NEED_SIGN,   /* whether its output is above zero, at places where the gradient is not zero */
    NEED_OUTPUT, /* its output */
    NEED_INPUT,  /* its input */
    NEED_ROUTE,  /* which element of its window won: a byte an output */
} Need;

/* Padding by side: before the first row and column, and after the last. PADDING_SAME in all four: as much as makes
 * the output 1 / stride of the input, rounded up, as Keras has it; the graph, which knows shapes, says how much. */
typedef struct Sides {
    int before[2], after[2]; /* along the height and along the width */
} Sides;
enum { PADDING_SAME = -1 };

/* An argument of a stage; its row says of what kind it is. */
typedef union Arg {
    double real;
    /* Along the height and along the width; where the input is [channels, length] the second alone is written. */
    int size[2];
    Sides sides;
    int count;                   /* of a flag 0 or 1, of a choice the number of its word */
    const struct Places *places; /* places.h; NULL: none */
} Arg;
typedef enum ArgKind { ARG_REAL, ARG_SIZE, ARG_SIDES, ARG_COUNT, ARG_FLAG, ARG_CHOICE, ARG_PLACES } ArgKind;

/* Where an op has its arguments: places in arg[]. Conv and pools have as many of the first four as their rows say. */
enum { ARG_KERNEL, ARG_STRIDE, ARG_PADDING, ARG_DILATION, ARG_GROUPS, OP_ARGS = 8 };
enum { ARG_CEIL = ARG_GROUPS, ARG_COUNTED };                    /* of pools; counted: of avgpool */
enum { ARG_EPS, ARG_MOMENTUM, ARG_NORM_GROUPS = ARG_MOMENTUM }; /* of norms; momentum: of bn, groups: of gn */
enum { ARG_LEAK, ARG_SUB, ARG_MAXV }; /* of general_relu; the other points have one: ARG_LEAK */
enum { ARG_BEFORE };                  /* of pad, besides ARG_STRIDE */
enum { ARG_OUT };                     /* of embed */
enum {
    ARG_HIDDEN,
    ARG_RETURN,
    ARG_CELL_BIAS,
    ARG_CELL_NORM,
    ARG_CELL_ACT,
    ARG_BOTH_WAYS
};                                                                  /* of recurrent ops; ACT of rnn */
enum { ARG_RESET = ARG_CELL_ACT };                                  /* of gru */
enum { RESET_AFTER, RESET_BEFORE };                                 /* what ARG_RESET counts */
enum { ARG_FORGET = ARG_CELL_ACT };                                 /* of lstm */
enum { RETURN_LAST, RETURN_ALL, RETURN_MEAN, RETURN_MAX, RETURNS }; /* what ARG_RETURN counts */
enum { CELL_TANH, CELL_RELU };                                      /* what ARG_CELL_ACT counts */

typedef struct ArgInfo {
    const char *name; /* as a key or a message calls it: "slope" */
    ArgKind kind;
    enum {
        ARG_MUST, /* always in the word's parentheses */
        ARG_MAY,  /* after those before it */
        ARG_WORD, /* as a word after all of them */
        ARG_KEY   /* by a key alone */
    } given;
    const char *word;         /* of a flag: what stands in the parentheses where it is not as usual */
    const char *const *words; /* of a choice, NULL-terminated */
    double usual;             /* what it is where it is not given */
    double lo, hi;            /* its range, of both sides of a size */
    bool below_hi;            /* hi itself is too much */
    int above;                /* a real: it is greater than argument above - 1; 0: than none */
    int like;                 /* it is as argument like - 1 where it is not given; 0: usual */
    bool quiet;               /* not written where it is as usual, nor those after it */
    const char *help;         /* a line about it, in the schema and in help */
    bool training;            /* what the trained network computes does not depend on it */
} ArgInfo;

typedef enum ParamRole {
    PARAM_WEIGHT,
    PARAM_BIAS,
    PARAM_HIDDEN_WEIGHT, /* of a recurrent op: of its own last step; those before are its input's */
    PARAM_HIDDEN_BIAS,
    PARAM_GAMMA,
    PARAM_BETA,
    PARAM_MEAN,
    PARAM_VAR,
    PARAM_COUNT
} ParamRole;

/* A parameter or a buffer that an op has, under PyTorch's name: "running_mean". */
typedef struct ParamSlot {
    const char *name; /* NULL: after the last */
    ParamRole role;
} ParamSlot;

/* What a norm normalises with: y = gamma (x - mean) / sqrt(mean of (x - mean)^2 + eps) + beta, as far as its row has
 * them. */
typedef enum NormOver {
    /* A channel of all images of a batch; at inference it has running statistics, so that it can be folded. */
    OVER_BATCH,
    OVER_GROUPS,  /* a group of an image's channels: as many as ARG_NORM_GROUPS says */
    OVER_IMAGE,   /* all of an image */
    OVER_CHANNEL, /* a channel of an image */
} NormOver;
typedef struct NormInfo {
    NormOver over;
    bool centred;   /* the mean is taken away; else it stands as 0 in the line above */
    const char *of; /* what its statistics are of, for people */
    const char
        *torch; /* its module in PyTorch: {d} dimensions, {c} channels, {groups}, and its real arguments by name */
    const char *torch_1; /* the same of features; NULL: no other */
    const char *own;     /* the class that the twin brings along for it; NULL: PyTorch has it */
} NormInfo;

/* Where a norm may stand in a recurrent op's step. */
typedef enum CellPlace {
    PLACE_NONE,
    PLACE_INPUT,     /* W x */
    PLACE_RECURRENT, /* U h */
    PLACE_SUM,       /* both together, before the biases */
    PLACE_CELL,      /* c, on its way to h */
    PLACE_HIDDEN,    /* the new h, before it is carried and returned */
    PLACES
} CellPlace;
/* A set of them. */
#define IN_PLACE(place) (1u << (place))

/* What a recurrent op does in a step: of its input x and of what the step before left, h (and c), each gate is W x + b
 * + U h + b', and from the gates come the new h (and c). */
typedef struct CellInfo {
    int gates;         /* of as many rows of W and of U as the op has hidden units each, in PyTorch's order */
    const char *gate;  /* their letters in that order */
    int kept;          /* numbers a unit that backward reads of a step: gates, or what comes of them; c; h */
    const char *torch; /* its module in PyTorch: LSTM, of nn */
    const char *does;  /* for people */
    unsigned places;   /* where a norm may stand, IN_PLACE each */
    bool mixes;        /* h goes into the next h by itself, too, beside U h: a part of its gradient is carried */
} CellInfo;

typedef struct OpInfo {
    const char *name;  /* the word in an order: "conv", "bn", "relu", "maxpool" */
    const char *stage; /* the stage's name in parameters and traces: "act" for every activation, "inorm" for in, which
                          Python keeps for itself */
    OpClass cls;
    Need need;
    bool keeps_sign; /* wherever its output's gradient reaches its input, the output is above zero iff the input was */
    /* Adding a constant to a channel of the input adds the same constant to the output's channel. */
    bool linear_shift_safe;
    bool keeps_zero;        /* of a point: 0 becomes 0, so that padding channels stay zero */
    const ParamSlot *param; /* in the order of Graph.param; NULL: none */
    ArgInfo arg[OP_ARGS];   /* those with a name */
    const char *hint;       /* what a good one looks like, for messages; NULL: its usage is */
    const char *torch;      /* of an activation: the module in PyTorch, {NAME} its argument of that name */
    const char *keras;      /* the same in Keras, version 3; NULL: it has none that computes the same */
    const NormInfo *norm;   /* of a norm; NULL: it is none */
    const char *does;       /* of an activation: what it makes of x, for people */
    const CellInfo *cell;   /* of a recurrent op; NULL: it is none */
} OpInfo;
extern const OpInfo op_info[OP_KINDS];
/* The op of that name, or OP_KINDS. "act" is not an op: the spec resolves it first. */
OpKind op_find(const char *name);
bool op_is_act(OpKind kind);
bool op_is_norm(OpKind kind);       /* of a batch or an image */
bool op_is_batch_norm(OpKind kind); /* its statistics are of a batch, and run */
bool op_is_image_norm(OpKind kind);
int op_norm_groups(OpKind kind, const Arg *arg,
                   int channels); /* of an image norm: how many groups of channels it makes */
bool op_is_recurrent(OpKind kind);
bool op_cell_is_relu(OpKind kind, const Arg *arg);    /* h is relu of the sum, where a cell has the choice; else tanh */
bool op_has_forget_bias(OpKind kind, const Arg *arg); /* the forget gate's bias begins with ARG_FORGET, not drawn */
bool op_resets_before(OpKind kind, const Arg *arg);   /* a gru whose n reads U (r h), not r (U h + b') */
const char *op_cell_does(OpKind kind, const Arg *arg); /* a recurrent op's step, for people */
bool op_is_block(OpKind kind);                         /* a weight op that is a block with an order: conv, linear */
bool op_is_alone(OpKind kind); /* one that is a layer by itself, in no order: a recurrent one, embed */
bool op_has_param(OpKind kind, ParamRole role);

/* How many arguments the op's word must have, and may have, in parentheses; flags, which are words there, aside. */
int op_must_args(OpKind kind);
int op_may_args(OpKind kind);
int op_arg_at(OpKind kind, int nth); /* where in arg[] the nth one in parentheses is */
const char *op_usage(OpKind kind);   /* "maxpool(k[, stride[, padding]])"; NULL where it has none */
/* What argument i is where it is not given; of a size that is as another's, arg[] has that one. What must be given is
 * 0. */
Arg op_usual(OpKind kind, int i, const Arg *arg);
void op_usual_args(OpKind kind, Arg arg[OP_ARGS]);
bool op_same_args(OpKind kind, const Arg *a, const Arg *b);
const char *op_bad_args(OpKind kind,
                        const Arg *arg); /* the checker's: which argument is out of its range; NULL: none */
/* "1", "1x2"; "0:1", "0:1x2:3" where the sides differ; "same". */
const char *sides_text(Sides s, int dims);
const char *sides_whole(Sides s); /* of both directions in any case: "1x1", "0:1x2:3" */
bool sides_are_same(Sides s);     /* PADDING_SAME */
bool sides_even(Sides s);         /* as much after as before */
bool sides_zero(Sides s);
/* A size: "3", "3x1"; dims, of the network's input, is 2, or 1 where only the length counts. */
const char *size_text(const int v[2], int dims);
/* A stage as an order has it: "maxpool(3,2,1)", "bn", "conv". `whole`: with what keys give, too, and so two stages (in
 * networks of the same dims) have one text iff they do the same: "gn(8,eps=1e-5)",
 * "conv(kernel=3,stride=1,padding=1,dilation=1,groups=1)". */
const char *op_text(OpKind kind, const Arg *arg, int dims, bool whole);
/* The whole in two parts: what stays when training is over, "bn(eps=1e-05)", and what does not, "momentum=0.1" (NULL:
 * nothing). */
const char *op_lasting_text(OpKind kind, const Arg *arg, int dims);
const char *op_training_text(OpKind kind, const Arg *arg);

#endif
