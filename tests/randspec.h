/* randspec.h - random valid specs for the campaign, chains and graphs: made from a seed, printed, and made smaller step
 * by step when one of them fails. It knows the shape rules itself, so that what it makes is valid by its own rules,
 * and what words and presets stand for (randwords.c).
 */
#ifndef RANDSPEC_H
#define RANDSPEC_H

#include "graph.h"

enum {
    RS_MOST_STAGES = 9,
    RS_MOST_CHAIN = 16,  /* layers of a chain */
    RS_MOST_LAYERS = 40, /* of a graph, groups counted, repeats not */
    RS_MOST_AROUND = 4,  /* stages of pre, post and a shortcut */
    RS_MOST_BRANCHES = 5,
    RS_TRANSITION = 100, /* instead of a branch's number */
};

/* How much more padding there is after the last row and column than before the first; or it is written as `same`. */
typedef struct RsEnds {
    int more[2];
    bool same;
} RsEnds;

typedef struct RsStage {
    OpKind op;
    bool as_act;  /* written as "act": the block's or the network's activation, which is `op` */
    bool as_norm; /* written as "norm": what the block's, a group's or the network's `norm` says; op OP_KINDS: none */
    union {
        Arg arg[OP_ARGS]; /* by the op's row; eps and momentum stand in RsLayer */
        struct {          /* of pools, each as large as an Arg */
            int k[2], : 32, : 32;
            int stride[2], : 32, : 32;
            int padding[2];
        };
    };
    RsEnds ends; /* of pools */
    bool ceil, inside;
} RsStage;
double
rs_sum_args(OpKind op,
            const Arg *arg); /* of the numbers in a stage's parentheses, each of the places with a weight of its own */

typedef enum RsBody { RS_NO_GROUP, RS_LAYERS, RS_RESIDUAL, RS_CONCAT } RsBody;
typedef enum RsShortcut {
    RS_PLAIN,
    RS_IDENTITY,
    RS_PAD,
    RS_CONV,
    RS_ALWAYS
} RsShortcut; /* plain: not written, conv-bn */

/* What a group has besides a layer's `out` (for those inside; 0: not written), `stride` and `named`. */
typedef struct RsGroup {
    RsBody body;
    int branches, repeat;
    RsStage pre[RS_MOST_AROUND], post[RS_MOST_AROUND], shortcut[RS_MOST_AROUND];
    int npre, npost, nshortcut;
    RsShortcut kind;
    bool from_pre, zero_gamma, own_order; /* own_order: its first conv block's order is written here */
} RsGroup;

typedef struct RsLayer {
    int parent; /* the group that it is in: its index + 1; 0: none */
    int branch; /* of that group, if it is a concat; RS_TRANSITION */
    RsGroup group;
    OpKind block; /* OP_CONV, OP_LINEAR, or OP_KINDS for a bare stage and a group */
    int out;      /* 0: not written, so the group's; depthwise: as many as the input has */
    int kernel[2], stride[2], padding[2], dilation[2]; /* dilation 0: not written */
    RsEnds ends;
    int groups;       /* 0: not written; -1: depthwise */
    bool says_stride; /* a stride of 1 is written, too: the group's is not taken over */
    int bias;         /* 0: not written, 1: auto, 2: true, 3: false */
    bool own_act;     /* writes act: itself */
    RsStage act;      /* what "act" means here, if so */
    RsStage norm;     /* what "norm" means here; op 0: not written, so what it means around */
    int preset;       /* of a conv block or a group: which of rs_preset it names, from 1 on; 0: none */
    bool named;
    double eps, momentum; /* 0: not written */
    RsStage stage[RS_MOST_STAGES];
    int nstage;
} RsLayer;

typedef struct RandSpec {
    int tokens;                /* the input's; 0: it has numbers */
    int input[3], batch, dims; /* dims: 1 where the input is written as channels and length; the height is 1 then */
    int recompute;             /* 0: the spec does not say it */
    int optimiser;             /* sgd, adam, adamw */
    int n, n_predict;          /* images in the trace and in the prediction */
    RsStage act, norm;         /* norm: op 0: not written */
    int preset;                /* from 1 on; 0: none */
    bool top_order;            /* the first conv block's order is written once, for the network */
    RsLayer layer[RS_MOST_LAYERS];
    int nlayer;
} RandSpec;

/* A random number generator of the tests' own. */
typedef struct Rng {
    uint64_t s;
} Rng;
uint64_t rng_next(Rng *r);
int rng_int(Rng *r, int lo, int hi); /* both included */
double rng_real(Rng *r, double lo, double hi);
double rng_normal(Rng *r);
bool rng_chance(Rng *r, double p);
OpKind rs_random_image_norm(Rng *r); /* each of them as often */
OpKind rs_random_act(Rng *r);        /* relu more often than the others */

/* How often each kind of op stands in the network, joins and pads aside, and the sum of all arguments. */
typedef struct RsCount {
    int op[OP_KINDS];
    double args;
} RsCount;

/* A valid random chain, graph, or chain with recurrent layers; the same for the same seed. */
RandSpec rs_random(uint64_t seed);
RandSpec rs_graph(uint64_t seed);
RandSpec rs_sequence(uint64_t seed);
/* Whether every shape fits, no norm sees a single value, the work stays small; *out: the last shape. */
bool rs_valid(const RandSpec *s, Shape *out);
RsCount rs_count(const RandSpec *s); /* of a valid one */
void rs_print(const RandSpec *s, FILE *to);
/* The move-th way to make s smaller, from the largest cut to the smallest; false in *any where there are no more moves.
 * The result may be invalid or equal to s: the caller looks. */
RandSpec rs_shrink(const RandSpec *s, int move, bool *any);

/* ---- what the files of randspec share ---- */

/* An activation with its usual arguments, or others that acts.c has. */
RsStage rs_act_stage(Rng *r, OpKind op, bool usual);
bool rs_is_pool(const RsStage *t);
bool rs_has_stride(const RsLayer *l);
bool rs_body_has_bn(const RandSpec *s, int group); /* shortcuts do not count */
/* As rs_valid, for a spec in the making: also chooses the numbers of groups of its norms. */
bool rs_finish(RandSpec *s, Shape *out);

/* The next layer of that group and branch, from index i on; nlayer: none. */
int rs_next(const RandSpec *s, int i, int parent, int branch);
void rs_drop_layer(RandSpec *s, int i); /* and all that is in it */

/* A preset as docs/presets.md has it. Orders are letters: c conv, n norm, a act. */
typedef struct RsPreset {
    const char *name, *order;
    bool relu;           /* says act: relu */
    const char *body[2]; /* the orders of the two convs of a residual group's body; NULL: it has none */
    const char *pre, *post, *shortcut, *in_group; /* in_group: the order in such a group; stages around its body */
    bool from_pre;
} RsPreset;
/* The one that layer i names, as far as it can: what a preset says of a residual group counts only where the group is
 * just that. */
const RsPreset *rs_preset_of(const RandSpec *s, int i);
const RsPreset *rs_top_preset(const RandSpec *s);
const RsLayer *rs_preset_block(const RsPreset *p, bool in_group); /* a block with its order */
bool rs_body_is_presets(const RandSpec *s, int i);
/* Sets the op and arguments of every stage that is written as a word. */
void rs_settle(RandSpec *s);
/* The word's gn gets groups that divide all channels it meets: after a walk that chose them one by one. */
void rs_agree(RandSpec *s);
/* Puts words, presets and general_relu into a spec; what comes out may be invalid. */
void rs_use_words(Rng *r, RandSpec *s);

#endif
