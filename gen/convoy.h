/* convoy.h - what the passes share.
 *
 *   YAML --yaml--> Node --spec--> Spec --graph--> Graph --grad--> Graph --fuse,tile,memory--> Plan --emit--> C
 *
 * One file a pass; main.c is the table of contents. Everything a pass allocates comes from one pool that lives as long
 * as the program (util.c), so nothing here is ever freed. */
#ifndef CONVOY_H
#define CONVOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONVOY_VERSION "0.1.0"

/* Caps on what a spec may hold: enough for any network that one would unroll, small enough that hostile input ends soon. */
enum {
    MAX_SPEC_BYTES = 1 << 20, /* a spec's size */
    MAX_DEPTH = 64,           /* nesting of YAML */
    MAX_LAYERS = 4096,        /* layers after repeats are spelled out */
    MAX_BRANCHES = 64,        /* of a concat */
    MAX_PATH_NAME = 120,      /* a layer's name with those of its groups before it */
};

/* ---- util.c ------------------------------------------------------------------------------------------------------- */

/* Zeroed memory from the pool; ends the program with a message when there is none. Never returns NULL. */
void *xalloc(size_t bytes);
/* What a part of the work takes of the pool can be given back: all that was allocated since the mark, and nothing of it may be used after.
 * Marks nest. */
typedef struct PoolMark {
    void *pool;
    char *rest;
    size_t rest_bytes;
} PoolMark;
PoolMark pool_mark(void);
void pool_release(PoolMark m);
void *xmalloc(size_t bytes); /* as malloc, for libraries that free it; never NULL either */
extern int trouble_status;   /* with which it ends then: 1, but for commands whose 1 means something else */
void out_of_memory(size_t bytes) __attribute__((noreturn));
void *xgrow(void *old, size_t old_bytes, size_t new_bytes); /* a larger copy of `old`, the rest zeroed */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for one more element at the end of v.item[v.n]. Doubles at powers of two. */
#define PUSH(v, n) (((n) & ((n) - 1)) == 0 ? ((v) = xgrow((v), (size_t)(n) * sizeof *(v), ((n) ? 2 * (size_t)(n) : 1) * sizeof *(v))) : (v), &(v)[(n)++])

/* A stream whose text is in *text, to be freed, once text_end was called. */
FILE *text_begin(char **text, size_t *len);
void text_end(FILE *to, char *const *text);

/* Text under construction. `text` is always NUL-terminated once something was added. */
typedef struct Buf {
    char *text;
    size_t len, cap;
} Buf;
void buf_add(Buf *b, const char *s, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_printf(Buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

bool mul_fits(int64_t a, int64_t b, int64_t *out); /* *out = a * b; false where it overflows int64 */

/* A bug of convoy itself: says so and aborts. */
#define BUG(...) bug(__FILE__, __LINE__, __VA_ARGS__)
void bug(const char *file, int line, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

/* ---- diag.c: errors that point at the user's line ------------------------------------------------------------------ */

/* Where something stands in a spec: 1-based line and column, and how many characters to underline. line 0: nowhere. */
typedef struct Mark {
    int line, col, len;
} Mark;

typedef struct Source {
    const char *path; /* as the user typed it */
    const char *text; /* whole file, NUL-terminated, without other NULs */
    size_t len;
} Source;

/* Collects an error; nothing is printed yet. `hint` may be NULL. Overrides given by --set have marks with line -1 - i. */
void diag_error(Mark at, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As diag_error, with a second place shown below the first ("the other side stands here"). */
void diag_error2(Mark at, Mark other, const char *what_other, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void diag_warn(Mark at, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void diag_source(const Source *s);   /* the file that marks refer to from now on */
bool diag_flush(FILE *to);           /* prints what was collected in order of place; true if there was an error */
/* The name in `names` (NULL-terminated) that is nearest to `word`, or NULL when none is near. */
const char *diag_nearest(const char *word, const char *const *names);
/* A hint: the names where they are few, or `all` is NULL ("did you mean 'sgd'? (sgd, adam)", "one of ..."); else the three
 * nearest to `word` and `all`, the command that lists them: "did you mean 'relu' or 'selu'? 'convoy help acts' lists them all". */
const char *diag_choices(const char *word, const char *const *names, const char *all);
void diag_override(int index, const char *text); /* the text of the --set that marks with line -1 - index refer to */
int diag_errors(void);                           /* how many errors are collected now */
void diag_drop(void);                            /* forgets what is collected */
/* The code point at s and the number of its bytes; a byte that is no UTF-8 counts as U+FFFD. s < end. */
unsigned utf8_next(const char *s, const char *end, int *bytes);
/* The line after the one that s is in, lines ending with LF, CR or CR LF; NULL where it is the last. */
const char *line_after(const char *s);

/* ---- op.c: the op table -------------------------------------------------------------------------------------------- */

typedef enum OpKind {
    OP_INPUT,
    OP_CONV, OP_LINEAR,                                             /* weight ops */
    OP_BN,                                                          /* batch barriers */
    OP_GN, OP_LN, OP_IN,                                            /* image barriers: gn over groups of channels, ln over all, in over each */
    OP_RELU, OP_LEAKY_RELU, OP_TANH, OP_SIGMOID, OP_SILU,           /* point: activations */
    OP_ELU, OP_SELU, OP_GELU, OP_MISH, OP_SOFTPLUS, OP_RELU6, OP_HARD_SIGMOID, OP_HARD_SWISH, OP_GENERAL_RELU,
    OP_DROP,
    OP_MAXPOOL, OP_AVGPOOL, OP_GLOBAL_AVG_POOL, OP_FLATTEN,         /* window: one image in scratch */
    OP_PAD,                                                         /* window: every stride-th pixel, zero channels around */
    OP_ADD, OP_CONCAT,                                              /* joins: of two tensors or more */
    OP_LOSS,                                                        /* softmax cross-entropy on the logits */
    OP_KINDS
} OpKind;

typedef enum OpClass { CLASS_INPUT, CLASS_WEIGHT, CLASS_BARRIER, CLASS_IMAGE, CLASS_POINT, CLASS_WINDOW, CLASS_JOIN, CLASS_LOSS } OpClass;

/* What an op's backward reads of its forward, besides the gradient of its output. */
typedef enum Need {
    NEED_NOTHING,
    NEED_SIGN,   /* whether its output is above zero, at places where the gradient is not zero */
    NEED_OUTPUT, /* its output */
    NEED_INPUT,  /* its input */
    NEED_ROUTE,  /* which element of its window won: a byte an output */
} Need;

/* An argument of a stage; its row says of what kind it is. */
typedef union Arg {
    double real;
    int size[2]; /* along the height and along the width; where the input is [channels, length] the second alone is written */
    int count;
} Arg;
typedef enum ArgKind { ARG_REAL, ARG_SIZE, ARG_COUNT } ArgKind;

/* Where an op has its arguments: places in arg[]. Conv and pools have as many of the first four as their rows say. */
enum { ARG_KERNEL, ARG_STRIDE, ARG_PADDING, ARG_DILATION, ARG_GROUPS, OP_ARGS };
enum { ARG_EPS, ARG_MOMENTUM, ARG_NORM_GROUPS = ARG_MOMENTUM }; /* of norms; momentum: of bn, groups: of gn */
enum { ARG_LEAK, ARG_SUB, ARG_MAXV };                           /* of general_relu; the other points have one: ARG_LEAK */
enum { ARG_BEFORE };                                            /* of pad, besides ARG_STRIDE */

typedef struct ArgInfo {
    const char *name; /* as a key or a message calls it: "slope" */
    ArgKind kind;
    enum { ARG_MUST, ARG_MAY, ARG_KEY } given; /* in the word's parentheses: always, or behind those before it; by a key alone */
    double usual;  /* what it is where it is not given */
    double lo, hi; /* its range, of both sides of a size */
    bool below_hi; /* hi itself is too much */
    int like;      /* it is as argument like - 1 where it is not given; 0: usual */
    bool quiet;    /* not written where it is as usual, nor those behind it */
    const char *help; /* a line about it, in the schema and in help */
    bool training; /* what the trained network computes does not hang on it */
} ArgInfo;

typedef enum ParamRole { PARAM_WEIGHT, PARAM_BIAS, PARAM_GAMMA, PARAM_BETA, PARAM_MEAN, PARAM_VAR, PARAM_COUNT } ParamRole;

/* A parameter or a buffer that an op has, under PyTorch's name: "running_mean". */
typedef struct ParamSlot {
    const char *name; /* NULL: behind the last */
    ParamRole role;
} ParamSlot;

typedef struct OpInfo {
    const char *name;  /* the word in an order: "conv", "bn", "relu", "maxpool" */
    const char *stage; /* the stage's name in parameters and traces: "act" for every activation, "inorm" for in, which Python keeps for itself */
    OpClass cls;
    Need need;
    bool keeps_sign; /* wherever its output's gradient reaches its input, the output is above zero iff the input was */
    bool linear_shift_safe; /* adding a constant to a channel of the input adds the same constant to the output's channel */
    bool keeps_zero;        /* of a point: 0 becomes 0, so that padding channels stay zero */
    const ParamSlot *param; /* in the order of Graph.param; NULL: none */
    ArgInfo arg[OP_ARGS];   /* those with a name */
    const char *hint;       /* what a good one looks like, for messages; NULL: its usage is */
} OpInfo;
extern const OpInfo op_info[OP_KINDS];
/* The op of that name, or OP_KINDS. "act" is not an op: the spec resolves it first. */
OpKind op_find(const char *name);
bool op_is_act(OpKind kind);
bool op_is_norm(OpKind kind);       /* of a batch or an image */
bool op_is_image_norm(OpKind kind); /* gn, ln, in */

/* How many arguments the op's word must have, and may have, in parentheses. */
int op_must_args(OpKind kind);
int op_may_args(OpKind kind);
int op_arg_at(OpKind kind, int nth);    /* where in arg[] the nth one in parentheses is */
const char *op_usage(OpKind kind);      /* "maxpool(k[, stride[, padding]])"; NULL where it has none */
/* What argument i is where it is not given; of a size that is as another's, arg[] has that one. What must be given is 0. */
Arg op_usual(OpKind kind, int i, const Arg *arg);
void op_usual_args(OpKind kind, Arg arg[OP_ARGS]);
bool op_same_args(OpKind kind, const Arg *a, const Arg *b);
const char *op_bad_args(OpKind kind, const Arg *arg); /* the checker's: which argument is out of its range; NULL: none */
/* A size: "3", "3x1"; dims, of the network's input, is 2, or 1 where only the length counts. */
const char *size_text(const int v[2], int dims);
/* A stage as an order has it: "maxpool(3,2,1)", "bn", "conv". `whole`: with what keys give, too, and so two stages (in networks of
 * the same dims) have one text iff they do the same: "gn(8,eps=1e-5)", "conv(kernel=3,stride=1,padding=1,dilation=1,groups=1)". */
const char *op_text(OpKind kind, const Arg *arg, int dims, bool whole);
/* The whole in two parts: what stays when training is over, "bn(eps=1e-05)", and what does not, "momentum=0.1" (NULL: nothing). */
const char *op_lasting_text(OpKind kind, const Arg *arg, int dims);
const char *op_training_text(OpKind kind, const Arg *arg);

/* ---- yaml.c: file -> tree ------------------------------------------------------------------------------------------ */

typedef enum NodeKind { NODE_SCALAR, NODE_SEQ, NODE_MAP } NodeKind;
typedef struct Node Node;
struct Node {
    NodeKind kind;
    Mark mark;
    const char *text; /* scalar: its value */
    bool quoted;      /* scalar: written in quotes, so never a number, null or true/false */
    bool implied;     /* it does not stand in the file: a preset, or another spelling, stands for it, at its mark */
    int n;            /* items of a sequence, or pairs of a map */
    Node **key;       /* map: scalars */
    Node **item;      /* sequence: items; map: values */
};
/* Reads a file (at most MAX_SPEC_BYTES). NULL and a collected error where it cannot. needs: nothing; sets: a tree without
 * aliases, anchors, tags, duplicate keys, several documents; no deeper than MAX_DEPTH. */
Node *yaml_read(const char *path, Source *src);
/* Puts the value of an override "a.b=v" (from --set) where it belongs in the tree. layers are addressed by name. */
bool yaml_override(Node *root, const char *assignment, int index);

/* ---- spec.c: tree -> Spec ------------------------------------------------------------------------------------------ */

/* A stage of an order, or a bare stage: an op with its arguments, filled in with defaults. */
typedef struct SpecStage {
    OpKind op;
    Arg arg[OP_ARGS]; /* by the op's row */
    Mark mark;
} SpecStage;

typedef enum Bias { BIAS_AUTO, BIAS_TRUE, BIAS_FALSE, BIAS_UNLESS_NORM } Bias; /* the last becomes one of those before it when a block is read */

/* What stands between a group's layers: where its shape decides, graph.c does. */
typedef enum LayerForm {
    FORM_BLOCK,    /* conv, linear: an order with one weight op */
    FORM_BARE,     /* a bare stage */
    FORM_STAGES,   /* pre, post: stages without a weight op */
    FORM_SHORTCUT, /* the other side of a sum; stages: what it is where shapes differ, none for identity and pad */
    FORM_ADD,
    FORM_CONCAT
} LayerForm;
typedef enum Shortcut { SHORTCUT_IDENTITY, SHORTCUT_PAD, SHORTCUT_CONV, SHORTCUT_ALWAYS } Shortcut;

typedef enum OrderFrom { ORDER_OWN, ORDER_TAKEN, ORDER_DEFAULT } OrderFrom; /* the block's own; the spec's or a group's; nobody said one */

typedef struct SpecLayer {
    const char *name; /* unique, a C identifier; dotted with its group's where groups are */
    Mark name_mark;   /* where the name, or else the layer, stands */
    Mark mark;
    LayerForm form;
    bool bare;        /* a bare stage or a join: its parameters are <layer>.weight, not <layer>.<stage>.weight */
    SpecStage *stage; /* the order spelled out; one for a bare stage; none for a join */
    int nstage;
    int from;         /* the layer whose output it reads; -1: the input */
    int *froms;       /* a join's, all of them, from first. Of an add: the branch, the shortcut */
    int nfrom;
    int unit;         /* layers at the top, and repeats of groups at the top, in order: what `recompute` counts */
    int segment;      /* see Op */
    bool segment_set; /* a group said so itself */
    bool zero_gamma;  /* its last bn begins with gamma 0 */
    bool in_group;
    OrderFrom order_from;
    /* shortcut */
    Shortcut shortcut;
    int else_from;    /* what it reads where it is not the identity */
    int stride[2];    /* of pad */
    /* conv, linear */
    int out;          /* 0: of a conv whose groups are 0 too, as many as its input has channels */
    Bias bias;
    Mark out_mark, kernel_mark, groups_mark;
} SpecLayer;

typedef enum Init {
    INIT_PYTORCH,
    INIT_KAIMING_NORMAL, INIT_KAIMING_UNIFORM, INIT_KAIMING_NORMAL_FAN_OUT, INIT_KAIMING_UNIFORM_FAN_OUT,
    INIT_XAVIER_NORMAL, INIT_XAVIER_UNIFORM
} Init;
extern const char *const winograd_names[]; /* by WinogradUse, NULL-terminated */
extern const char *const init_names[]; /* by Init, NULL-terminated */
typedef struct InitRule {
    Init kind;
    double slope; /* kaiming: of the leaky relu that the gain is for; PyTorch's a */
} InitRule;
enum { UNROLL_AUTO = 0, UNROLL_FULL = -1, UNROLL_NONE = -2 };
typedef enum Schedule { SCHEDULE_CONSTANT, SCHEDULE_ONE_CYCLE } Schedule;
extern const char *const schedule_names[];

typedef enum WinogradUse { WINOGRAD_AUTO, WINOGRAD_OFF, WINOGRAD_ON } WinogradUse; /* where it is faster; nowhere; wherever it can be */

typedef struct SpecTrain {
    const char *data;      /* "fashion-mnist", "mnist", "shapes", or "idx" (four files in --data) */
    int epochs, batch;
    double lr, momentum, weight_decay;
    bool nesterov, decay_all; /* decay_all: weight decay reaches norms and biases too */
    Schedule schedule;
    double warmup;            /* one-cycle: the share of steps in which the rate rises (PyTorch's pct_start), 0.3 */
    double *mean, *std;       /* x = (byte / 255 - mean) / std: a number a channel, Spec.input[0] of them */
    int64_t seed;
} SpecTrain;

typedef struct Spec {
    const char *name; /* a C identifier, no keyword */
    int input[3];     /* C, H, W */
    int dims;         /* 2; 1: written as [channels, length], H is 1 and sizes are the ones along the length */
    Mark input_mark;
    int classes;
    Mark classes_mark;
    SpecLayer *layer;
    int nlayer;
    InitRule init_conv, init_linear; /* how their weights begin */
    int unroll; /* UNROLL_AUTO, UNROLL_FULL, UNROLL_NONE, or a budget of statements a function */
    Mark unroll_mark;
    WinogradUse winograd;
    int recompute; /* so many items at the top are one segment; 0: none */
    SpecTrain train;
    const char *head; /* for `check --write`: opaque to later passes */
    Node *tree;
} Spec;

/* needs: a tree; sets: a Spec whose every value is in range, or collected errors and NULL. Knows no shapes. */
Spec *spec_read(Node *tree);
void spec_check(const Spec *s);          /* the checker: BUG() where an invariant above does not hold */
void spec_dump(const Spec *s, FILE *to); /* -d spec */
void spec_write(const Spec *s, FILE *to); /* check --write: a valid spec with names, orders and defaults filled in */
const char *spec_text(const Spec *s);     /* the same, as a text */
const char *unroll_text(const Spec *s);
const SpecStage *layer_weight(const SpecLayer *l); /* the stage that is its weight op; NULL: it has none */
const char *stage_text(const SpecStage *s, int dims); /* "maxpool(3,2,1)", as order_read reads it */
const char *order_text(const SpecStage *s, int n, int dims); /* "conv-bn-relu" */
const char *init_text(const Spec *s); /* how weights begin, as `init:` has it: kaiming_normal, {conv: kaiming_normal, linear: pytorch} */

/* ---- graph.c: Spec -> Graph ----------------------------------------------------------------------------------------- */

typedef struct Shape {
    int c, h, w;
} Shape;

typedef struct Op {
    OpKind kind;
    int in;            /* index of the op whose output it reads, of several the first; -1 for the input. Smaller than its own index. */
    int nin;           /* how many outputs it reads: 0 for the input, 1, or for a join 2 and more */
    const int *ins;    /* all of them, in the order of the spec; ins[0] == in. One op may stand there more than once. */
    Shape shape;       /* of its output. linear, flatten: c features, 1 x 1 */
    const char *layer; /* "conv1"; "input" and "loss" for those */
    const char *stage; /* "conv", "bn2"; NULL where the layer is bare */
    const char *path;  /* "conv1.bn2", or "bn1" for a bare layer: the prefix of its parameters and traces */
    int layer_index;   /* in Spec.layer; -1 for input and loss */
    int segment;       /* ops of one recompute segment share a number, from 1 on and rising; 0: of none */
    Mark mark;
    union {
        Arg arg[OP_ARGS]; /* as in SpecStage, but a depthwise conv's groups are counted; and under their names, by the kind of op: */
        struct {
            int kernel[2], stride[2], padding[2], dilation[2]; /* of conv and pools; 1, 1, 0, 1 where an op has no arguments */
        };
        struct {
            double eps, momentum; /* of norms; momentum: of bn */
        };
        struct {
            double leak, sub, maxv; /* of general_relu; maxv INFINITY: no most */
        };
        double value; /* of an op with one real: slope, alpha, p */
        int before;   /* of pad: how many channels of zeros stand before the input's own */
    };
    int groups; /* of channels: of a conv, of an image norm; else 1 */
    bool bias;
    const char *bias_why; /* why `auto` dropped or kept it, for people; NULL where the spec said it itself */
    /* set by grad */
    bool input_grad; /* the gradient of its input is needed: something before it has parameters */
} Op;

/* A parameter, or (MEAN, VAR, COUNT) a buffer of a norm, under PyTorch's name and shape. */
typedef struct Param {
    const char *name; /* "conv1.conv.weight" */
    ParamRole role;
    int op;
    int ndim, dim[4]; /* conv weight O,I/groups,KH,KW (1-D: O,I/groups,K); linear O,I; the rest C; COUNT: ndim 0 */
    enum { DRAW_CONST, DRAW_NORMAL, DRAW_UNIFORM } draw;
    double draw_value; /* the constant, the standard deviation, or the bound of a uniform draw on +-bound */
} Param;

typedef struct Graph {
    const Spec *spec;
    Op *op; /* topological: input first, loss last */
    int nop;
    Param *param; /* in op order: weight, bias; gamma (weight), beta (bias), running_mean, running_var, num_batches_tracked */
    int nparam;
    int64_t flops; /* of the forward pass of one image: 2 x multiply-adds of conv and linear, padding taps counted */
    int64_t weights; /* trained numbers */
    int dims;        /* of an image: 2; 1 where the spec's input is C x L, whose ops have a height of 1 */
} Graph;

/* needs: a Spec; sets: ops in order with shapes and parameters; collected errors and NULL where shapes do not fit. */
Graph *graph_build(const Spec *s);
int graph_param(const Graph *g, int op, ParamRole role); /* the index of an op's parameter; -1: it has none such */
void graph_check(const Graph *g);
void graph_dump(const Graph *g, FILE *to); /* -d graph: one line an op; stable, golden in tests */
/* needs: a Graph; sets: input_grad of every op. */
void grad_build(Graph *g);
/* What automatic differentiation keeps an image when every op keeps what its own backward reads: the measure that the plan
 * has to beat. The input and the logits aside. by_op, if not NULL: g->nop numbers, the bytes of each op's output, and
 * of what it keeps besides (masks, indices of winners). */
int64_t grad_autograd(const Graph *g, int64_t *by_op);

/* ---- twin.c --------------------------------------------------------------------------------------------------------- */

/* The network as a PyTorch module with the same parameter names (Python source). */
void twin_write(const Graph *g, Buf *to);

/* ---- files.c: output that is whole or not there --------------------------------------------------------------------- */

/* A folder under construction: files are collected in memory and written by outdir_commit, each to a temporary and renamed. */
typedef struct OutFile {
    const char *name; /* relative, may hold "runtime/..." */
    const char *text;
    size_t len;
} OutFile;
typedef struct OutDir {
    OutFile *file;
    int n;
} OutDir;
void outdir_add(OutDir *o, const char *name, const char *text, size_t len);
/* Writes all files and a manifest; removes files that an earlier manifest lists and this one does not. Refuses a folder that
 * is not empty and has no manifest. Waits while another convoy works in the folder; lock, where not NULL, receives a descriptor
 * that keeps others waiting until it is closed. false and a message on stderr where something fails. */
bool outdir_commit(const OutDir *o, const char *dir, int *lock);
double outdir_bytes(const OutDir *o);
/* Before it is written: where it is more than 64 MB, a warning that says how it becomes less ("--set winograd=off makes less"). */
void outdir_warn_size(const OutDir *o, const char *name, const char *less);
/* Reads the files that a folder's manifest lists. false and a message where convoy did not write it, or a file is not there. */
bool outdir_read(OutDir *o, const char *dir);
/* Writes one file atomically (a temporary beside it, fsync, rename); through links, or into a pipe. False after a message. */
bool file_write(const char *path, const char *text, size_t len);
char *file_read(const char *path, size_t max, size_t *len); /* NULL and errno where it cannot; EFBIG past max */
const char *file_read_once(const char *path, size_t max, size_t *len); /* the same; what comes from a pipe is kept */

#endif
