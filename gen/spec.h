/* spec.h - what the files of the front end share: yaml.c, override.c, keys.c, order.c, spec.c, group.c, write.c. */
#ifndef CONVOY_SPEC_H
#define CONVOY_SPEC_H

#include "convoy.h"

/* ---- yaml.c */

/* Parses a text. Marks are placed from `base` on: {1, 1} for a file; an override's own line and column otherwise. */
Node *yaml_parse(const char *text, size_t len, Mark base);
void yaml_dump(const Node *n, FILE *to); /* -d yaml */

/* ---- keys.c: typed values out of a tree. Each reports what does not fit and returns false; `what` names the value. */

typedef struct KeyInfo {
    const char *name;
    const char *not_built; /* NULL, or what to say instead of reading the key */
} KeyInfo;

/* Checks that `map` is a map that holds keys of `keys` alone (ends with a NULL name). False if it is no map. */
bool keys_check(const Node *map, const char *what, const KeyInfo *keys);
Node *keys_get(const Node *map, const char *key);     /* the value, NULL where the key is missing */
Node *keys_get_key(const Node *map, const char *key); /* the key itself, for its mark */

bool want_int(const Node *n, const char *what, int64_t lo, int64_t hi, int64_t *out);
bool want_int32(const Node *n, const char *what, int lo, int hi, int *out);
bool want_real(const Node *n, const char *what, double lo, double hi, double *out);
bool want_bool(const Node *n, const char *what, bool *out);
bool want_word(const Node *n, const char *what, const char *const *words, int *out);
bool want_pair(const Node *n, const char *what, int lo, int hi, int out[2]); /* 3 or [3, 5] */
/* How many directions a size has: 2, or 1 in a spec whose input is [channels, length], where a size is one number. */
extern int size_dims;

typedef enum NameUse {
    NAME_NET,
    NAME_LAYER
} NameUse;
bool want_name(const Node *n, NameUse use, const char **out);

bool text_is_null(const Node *n); /* empty, ~ or null, not quoted */
/* Whole numbers and reals as YAML 1.2 writes them, decimal only, in any locale. False where s is none or overflows. */
bool text_int(const char *s, int64_t *out);
bool text_real(const char *s, double *out);
/* A number in the fewest digits that read back the same. */
const char *real_text(double v);

/* ---- order.c */

typedef struct Act { /* what the word `act` stands for */
    OpKind op;
    double arg;
} Act;

/* What the words `act` and `norm` stand for: a norm of OP_KINDS is none, and `norm` is left out. */
typedef struct Words {
    Act act, norm;
} Words;

/* Reads an activation: "relu", "leaky_relu(0.1)". */
bool act_read(const Node *n, Act *out);
/* Reads a norm: "bn", "gn(8)", "none". */
bool norm_read(const Node *n, Act *out);
const char *norm_text(Act norm);
/* Reads an order into stages. `weight` is the weight op that it must hold once, or OP_KINDS: a bare stage, of which nothing is left
 * where it is `norm` and that is none. */
bool order_read(const Node *n, OpKind weight, Words words, SpecStage **stage, int *nstage);
/* The word before a parenthesis: "maxpool" of "maxpool(3,2,1)". */
const char *order_word(const char *text);
bool pool_check(const SpecStage *s);          /* padding against the window */
const char *order_known_as(const char *word); /* a hint for a word that people know from elsewhere, or NULL */
const char *stage_text(const SpecStage *s);   /* "maxpool(3,2,1)", as order_read reads it */
const char *order_text(const SpecStage *s, int n);

/* ---- spec.c */

enum {
    MAX_OUT = 1 << 20,
    MAX_SIDE = 1 << 20,
    MAX_KERNEL = 255,
    MAX_CLASSES = 1 << 16
};

/* The kind by which a layer item is called and numbered ("conv", "act"), its value (NULL for a bare word), and its key
 * or word. False where the item has no such form. */
bool layer_kind(const Node *item, const char **kind, Node **value, const Node **word);
/* The layer's name: its own, or kind and ordinal. `counts` holds a count a kind, kept by the caller across items. */
typedef struct KindCount {
    const char *kind;
    int n;
} KindCount;
const char *layer_name(const char *kind, const Node *value, KindCount *counts, int ncounts);

/* What blocks take over from the top of the spec and from the groups around them. */
typedef struct Defaults {
    const Node *order; /* NULL where it is bad, or not given */
    bool order_bad;
    Words words;
    int classes;
    const Node *keys; /* a map of keys for the blocks that do not say them; NULL: none */
} Defaults;

/* A layer that is no group, under its full name. `stride` is its group's, NULL: 1; `takes`: it is the one that has it
 * without saying so. */
void layer_read(Node *item, const Defaults *def, const char *name, const Node *stride, bool takes, SpecLayer *l);
void layer_bad_item(const Node *item); /* says what is wrong with an item that layer_kind() does not know */
void read_recompute(const Node *n, int *to);
Node *node_new(NodeKind kind, const char *text, Mark mark);
void node_put(Node *map, Node *key, Node *value); /* in place of a value of that key, or behind the others */
const char *layer_short_key(const char *word);    /* "out" of conv: what "- conv: 16" stands for; or NULL */
/* The map of an item's keys: its own, or a new one of what its short form says. NULL where the word has arguments. */
Node *item_keys(Node *value, const Node *word);

/* ---- group.c */

/* The items of `layers`, groups spelled out, into s->layer. */
void layers_read(const Node *list, const Defaults *def, Spec *s);

extern const char *const order_default;
extern const char *const bias_names[];
extern const char *const data_names[];

#endif
