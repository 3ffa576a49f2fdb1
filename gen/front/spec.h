/* spec.h - what a spec says, with every default filled in. */
#ifndef CONVOY_SPEC_H
#define CONVOY_SPEC_H

#include "op.h"
#include "runtime.h"
#include "tree.h"

/* Caps on what a spec may hold: enough for any network that one would unroll, small enough that hostile input ends
 * soon. */
enum {
    MAX_SPEC_BYTES = 1 << 20, /* a spec's size */
    MAX_DEPTH = 64,           /* nesting of YAML */
    MAX_LAYERS = 4096,        /* layers after repeats are spelled out */
    MAX_BRANCHES = 64,        /* of a concat */
    MAX_PATH_NAME = 120,      /* a layer's name with those of its groups before it */
};

/* A stage of an order, or a bare stage: an op with its arguments, filled in with defaults. */
typedef struct SpecStage {
    OpKind op;
    Arg arg[OP_ARGS]; /* by the op's row */
    Mark mark;
} SpecStage;

typedef enum Bias {
    BIAS_AUTO,
    BIAS_TRUE,
    BIAS_FALSE,
    BIAS_UNLESS_NORM
} Bias; /* the last becomes one of those before it when a block is read */

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

typedef enum OrderFrom {
    ORDER_OWN,
    ORDER_TAKEN,
    ORDER_DEFAULT
} OrderFrom; /* the block's own; the spec's or a group's; nobody said one */

typedef struct SpecLayer {
    const char *name; /* unique, a C identifier; dotted with its group's where groups are */
    Mark name_mark;   /* where the name, or else the layer, stands */
    Mark mark;
    LayerForm form;
    bool bare;        /* a bare stage or a join: its parameters are <layer>.weight, not <layer>.<stage>.weight */
    SpecStage *stage; /* the order spelled out; one for a bare stage; none for a join */
    int nstage;
    int from;   /* the layer whose output it reads; -1: the input */
    int *froms; /* a join's, all of them, from first. Of an add: the branch, the shortcut */
    int nfrom;
    int unit;         /* layers at the top, and repeats of groups at the top, in order: what `recompute` counts */
    int segment;      /* see Op */
    bool segment_set; /* a group said so itself */
    bool zero_gamma;  /* its last bn begins with gamma 0 */
    bool frozen;      /* train.freeze names it, or a group that it is in: its weights and statistics stay */
    bool in_group;
    OrderFrom order_from;
    /* shortcut */
    Shortcut shortcut;
    int else_from; /* what it reads where it is not the identity */
    int stride[2]; /* of pad */
    /* conv, linear */
    int out; /* 0: of a conv whose groups are 0 too, as many as its input has channels */
    Bias bias;
    Mark out_mark, kernel_mark, groups_mark;
} SpecLayer;

typedef enum Init {
    INIT_PYTORCH,
    INIT_KAIMING_NORMAL,
    INIT_KAIMING_UNIFORM,
    INIT_KAIMING_NORMAL_FAN_OUT,
    INIT_KAIMING_UNIFORM_FAN_OUT,
    INIT_XAVIER_NORMAL,
    INIT_XAVIER_UNIFORM
} Init;
extern const char *const winograd_names[]; /* by WinogradUse, NULL-terminated */
extern const char *const init_names[];     /* by Init, NULL-terminated */
typedef struct InitRule {
    Init kind;
    double slope; /* kaiming: of the leaky relu that the gain is for; PyTorch's a */
} InitRule;
enum { UNROLL_AUTO = 0, UNROLL_FULL = -1, UNROLL_NONE = -2 };

typedef enum WinogradUse {
    WINOGRAD_AUTO,
    WINOGRAD_OFF,
    WINOGRAD_ON
} WinogradUse; /* where it is faster; nowhere; wherever it can be */

typedef struct SpecTrain {
    const char *data; /* "fashion-mnist", "mnist", "shapes", or "idx" (four files in --data) */
    int epochs, batch;
    const struct cvy_loss *loss;
    const struct cvy_optimiser *optimiser;
    double lr, hyper[CVY_HYPERS], weight_decay; /* hyper: by the optimiser's row */
    bool decay_all;                             /* weight decay reaches norms and biases too */
    int schedule;                               /* of cvy_schedules */
    double setting[CVY_SETTINGS];
    struct cvy_augment augment;
    double *class_weight; /* one per class; NULL: all count the same */
    bool balanced;        /* the classes count by how rare they are */
    const char **freeze;  /* layers and groups that do not learn, as the spec names them; see SpecLayer.frozen */
    int nfreeze;
    Mark freeze_mark;
    double *mean, *std; /* x = (byte / 255 - mean) / std: one number per channel, Spec.input[0] of them */
    int64_t seed;
} SpecTrain;

typedef struct Spec {
    const char *name; /* a C identifier, no keyword */
    int input[3];     /* C, H, W */
    int dims;         /* 2; 1: written as [channels, length], H is 1 and sizes are the ones along the length */
    int tokens;   /* what it reads are whole numbers from 0 to below this, `length` of them: input is 1 x 1 x length. 0:
                     numbers */
    bool lengths; /* samples have lengths of their own, from 1 to input[2]: what stands behind one is padding */
    int whole;    /* of one step of a stream: the steps of the sequences that its network is trained with; else 0 */
    Mark input_mark;
    int classes;
    Mark classes_mark;
    SpecLayer *layer;
    int nlayer;
    InitRule init_conv, init_linear; /* how their weights begin */
    int unroll;                      /* UNROLL_AUTO, UNROLL_FULL, UNROLL_NONE, or a budget of statements a function */
    Mark unroll_mark;
    WinogradUse winograd;
    int recompute; /* so many items at the top are one segment; 0: none */
    SpecTrain train;
    const char *head; /* for `check --write`: opaque to later passes */
    Node *tree;
} Spec;

/* needs: a tree; sets: a Spec whose every value is in range, or collected errors and NULL. Knows no shapes. */
Spec *spec_read(Node *tree);
void spec_check(const Spec *s);           /* the checker: BUG() where an invariant above does not hold */
void spec_dump(const Spec *s, FILE *to);  /* -d spec */
void spec_write(const Spec *s, FILE *to); /* check --write: a valid spec with names, orders and defaults filled in */
bool loss_takes(const struct cvy_loss *loss,
                const char *key);           /* of train: false where it is a key of other losses alone */
const char *spec_text(const Spec *s);       /* the same, as a text */
const char *spec_input_text(const Spec *s); /* as `input:` has it: "[1, 28, 28]" */
const char *unroll_text(const Spec *s);
/* What a training keeps of each weight, "weights and momentum", and how many bytes that is of so many of them, of which
 * `learning` are not frozen. */
const char *weights_kept_text(const struct cvy_optimiser *o);
int64_t weights_kept_bytes(const struct cvy_optimiser *o, int64_t weights, int64_t learning);
const char *setting_text(int k, double v);                   /* a value of cvy_settings[k], as a spec has it */
const char *augment_text(const SpecTrain *t);                /* "crop(4), flip"; "" where there is nothing */
const char *freeze_text(const SpecTrain *t);                 /* "conv1, s1"; "" where all learns */
const char *hyper_text(const SpecTrain *t, int k);           /* the value of the optimiser's number k: "0.9", "true" */
const SpecStage *layer_weight(const SpecLayer *l);           /* the stage that is its weight op; NULL: it has none */
const char *stage_text(const SpecStage *s, int dims);        /* "maxpool(3,2,1)", as order_read reads it */
const char *order_text(const SpecStage *s, int n, int dims); /* "conv-bn-relu" */
const char *init_text(
    const Spec *s); /* how weights begin, as `init:` has it: kaiming_normal, {conv: kaiming_normal, linear: pytorch} */

#endif
