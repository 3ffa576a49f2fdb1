/* read.h - what the files of the front end share, under the name of the file that defines it. */
#ifndef CONVOY_READ_H
#define CONVOY_READ_H

#include "spec.h"

/* ---- yaml.c */

/* Parses a text. Marks are placed from `base` on: {1, 1} for a file; an override's own line and column otherwise. */
Node *yaml_parse(const char *text, size_t len, Mark base);
void yaml_dump(const Node *n, FILE *to); /* -d yaml */

/* ---- unseen.c */

/* The text as libyaml is to read it, marks from `base` on; NULL and an error for each character that one does not see.
 */
const char *unseen_check(const char *text, size_t len, Mark base);

/* ---- keys.c: typed values out of a tree. Each reports what does not fit and returns false; `what` names the value. */

typedef enum KeyType {
    KEY_DEF, /* a form of its own: what `def` calls it in the schema */
    KEY_INT, /* a whole number, or one of `words` */
    KEY_REAL,
    KEY_BOOL,
    KEY_WORD,     /* one of `words` */
    KEY_SIZE,     /* a whole number or a pair of them, or one of `words` */
    KEY_SIDES,    /* the same, or four of them, or the word same */
    KEY_CHANNELS, /* a real, or a list of them */
} KeyType;
typedef struct KeyInfo {
    const char *name;
    const char *not_built; /* NULL, or what to say instead of reading the key */
    KeyType type;
    double lo, hi;           /* of numbers, both included */
    bool above_lo, below_hi; /* but for these */
    const char *const *words;
    const char *def;
    const char *fallback; /* what it is where it is not given, if that is a word */
    const char *help;
} KeyInfo;

typedef union KeyValue { /* by type */
    int64_t i;
    double real;
    bool truth;
    int word, size[2];
    Sides sides;
} KeyValue;

/* ---- keytables.c */

extern const KeyInfo top_keys[], conv_keys[], linear_keys[], group_keys[], repeat_keys[], shortcut_keys[], init_keys[];
extern const KeyInfo norm_places_keys[], place_keys[],
    between_keys[];              /* `norm` of a recurrent layer, and what its places take */
const KeyInfo *train_keys(void); /* with the numbers of all optimisers */
typedef struct StageKeys {
    const char *stage;
    const KeyInfo *keys;
    const char *single; /* the key that "- drop: 0.5" stands for; NULL: it has no such form */
} StageKeys;
const StageKeys *stage_keys(void); /* of bare stages and of the words act and norm; ends with a NULL stage */
const StageKeys *stage_keys_of(const char *word); /* NULL: it is none of them */
extern const char *const bias_names[], *const decay_names[], *const unroll_names[], *const from_names[],
                                                                                        *const classes_word[];
extern const char *const order_default;
const char *const *layer_kinds(void); /* words that a layer begins with, NULL-terminated */

extern const KeyInfo input_keys[]; /* of an input that is a map: a sequence */

enum {
    MAX_SIDE = 1 << 20,
    MAX_CLASSES = 1 << 16,
};

/* ---- keys.c, continued */

/* Checks that `map` is a map that holds keys of `keys` alone (ends with a NULL name). False if it is no map. */
bool keys_check(const Node *map, const char *what, const KeyInfo *keys);
const KeyInfo *keys_find(const KeyInfo *keys, const char *name); /* BUG() where there is none */
/* Reads a value of that type and range; its words are the caller's. */
bool key_want(const KeyInfo *key, const Node *n, const char *what, KeyValue *out);
/* The same into a variable of the type; the key's name within `of`, "train.epochs", names it. False where it is not
 * given. */
bool key_int(const KeyInfo *keys, const Node *map, const char *of, const char *name, int *out);
bool key_real(const KeyInfo *keys, const Node *map, const char *of, const char *name, double *out);
bool key_word(const KeyInfo *keys, const Node *map, const char *name, int *out);
bool node_says(const Node *n, const char *word);         /* an unquoted word, that one */
bool is_one_of(const Node *n, const char *const *words); /* an unquoted word that is one of them; words may be NULL */
Node *keys_get(const Node *map, const char *key);        /* the value, NULL where the key is missing */
Node *keys_get_key(const Node *map, const char *key);    /* the key itself, for its mark */

bool want_int(const Node *n, const char *what, int64_t lo, int64_t hi, int64_t *out);
bool want_int32(const Node *n, const char *what, int lo, int hi, int *out);
bool want_real(const Node *n, const char *what, double lo, double hi, double *out);
bool want_bool(const Node *n, const char *what, bool *out);
bool want_word(const Node *n, const char *what, const char *const *words, int *out);
bool want_pair(const Node *n, const char *what, int lo, int hi, int out[2]); /* 3 or [3, 5] */
/* Padding, each side up to `hi`: 1, [1, 2], [top, bottom, left, right], same; where the input is [channels, length] 1,
 * [left, right], same. */
bool want_sides(const Node *n, const char *what, int hi, Sides *out);
/* How many directions a size has in the spec that is read now: 2, or 1 where its input is [channels, length] and a size
 * is one number. Set by spec_read(), and of the parser alone: who writes a spec asks Spec.dims. */
extern int size_dims;

typedef enum NameUse { NAME_NET, NAME_LAYER } NameUse;
bool want_name(const Node *n, NameUse use, const char **out);

bool text_is_null(const Node *n); /* empty, ~ or null, not quoted */

/* ---- order.c */

/* What the words `act` and `norm` stand for: a norm of OP_KINDS is none, and `norm` is left out. */
typedef struct Words {
    SpecStage act, norm;
} Words;
SpecStage stage_usual(OpKind op); /* with the arguments that it has where none are given */
Words words_usual(void);          /* relu and bn */

/* Reads an activation: "relu", "leaky_relu(0.1)". */
bool act_read(const Node *n, SpecStage *out);
/* Reads a norm: "bn", "gn(8)", "none". */
bool norm_read(const Node *n, SpecStage *out);
const char *norm_text(const SpecStage *norm);
/* Reads an order into stages: a word, or a list of words. `weight` is the weight op that it must hold once, or
 * OP_KINDS: a bare stage, of which nothing is left where it is `norm` and that is none. */
bool order_read(const Node *n, OpKind weight, Words words, SpecStage **stage, int *nstage);
/* The word before a parenthesis: "maxpool" of "maxpool(3,2,1)". */
const char *order_word(const char *text);
/* What has to hold between a stage's arguments; a general_relu that is a relu or a leaky one becomes that. */
bool stage_check(SpecStage *st);
const char *order_source(const Node *n); /* an order as it is written, a list joined by dashes */

/* ---- known.c */

bool known_later(const char *word); /* a stage of the language that is yet to come */
/* A hint for a word of other libraries, or one that looks like ours: "here it is called 'drop'"; NULL: none. */
const char *known_word(const char *word);
/* The same for a key of a map that has `keys`. */
const char *known_key(const char *word, const char *const *keys);
/* `convoy help TOPIC`: lists the words of a spec. False where it is no topic. */
bool help_topic(const char *topic);
extern const char *const help_topics[]; /* NULL-terminated */

/* ---- tree.c */

Node *node_new(NodeKind kind, const char *text, Mark mark);
void node_put(Node *map, Node *key, Node *value); /* in place of a value of that key, or after the others */
void node_drop(Node *map, const char *key);       /* takes the key out, if it is there */
const char *scalar_text(const Node *n);           /* a scalar as YAML, in quotes where it needs them */
const char *node_text(const Node *n);             /* a part of a tree as YAML, on one line */

/* ---- item.c: an item of `layers` */

/* The kind by which a layer item is called and numbered ("conv", "act"), its value (NULL for a bare word), and its key
 * or word. False where the item has no such form. */
bool layer_kind(const Node *item, const char **kind, Node **value, const Node **word);
/* The layer's name: its own, or kind and ordinal. `counts` holds a count a kind, kept by the caller across items. */
typedef struct KindCount {
    const char *kind;
    int n;
} KindCount;
const char *layer_name(const char *kind, const Node *value, KindCount *counts, int ncounts);
void layer_bad_item(const Node *item);         /* says what is wrong with an item that layer_kind() does not know */
const char *layer_short_key(const char *word); /* "out" of conv: what "- conv: 16" stands for; or NULL */
/* The map of an item's keys: its own, or a new one of what its short form says. NULL where the word has arguments. */
Node *item_keys(Node *value, const Node *word);
/* Whether the key is one of those that say an order: order, bn_1st, adn. */
bool spells_order(const char *key);

/* ---- layer.c */

/* What blocks take over from the top of the spec and from the groups around them. */
typedef struct Defaults {
    const Node *order; /* NULL where it is bad, or not given */
    bool order_bad;
    Words words;
    int classes;
    const Node *keys; /* a map of keys for the blocks that do not say them; NULL: none */
    bool in_group;
} Defaults;

/* A layer that is no group, under its full name; *between: the norm that stands behind it, OP_KINDS: none. `stride` is
 * its group's, NULL: 1; `takes`: it is the one that has it without saying so. */
void layer_read(Node *item, const Defaults *def, const char *name, const Node *stride, bool takes, SpecLayer *l,
                SpecStage *between);
void read_recompute(const Node *n, int *to);
/* eps and momentum that a map gives, into all norms of a layer. */
void read_norms(const Node *map, SpecLayer *l);
/* The bias that a key asks for; `has_norm`: whether the block's order has a norm. */
void read_bias(const Node *n, bool has_norm, Bias *to);

/* ---- places.c */

/* The key `norm` of a recurrent layer. *to: the norms inside its steps, NULL where there are none; *between: the norm
 * behind it, OP_KINDS: none, both untouched where nothing is said. Collects errors. */
void places_read(const Node *n, OpKind cell, const Words *words, const struct Places **to, SpecStage *between);

/* ---- preset.c */

typedef struct Preset {
    const char *name, *summary;
    const char *keys;  /* YAML: a map of keys of the spec, a group and a block; each takes those that it has */
    const char *group; /* the same, for a residual group alone, before `keys`; NULL: nothing */
    const char
        *cell[3]; /* of one for recurrent layers, which has no other: for rnn, gru, lstm; NULL: not for that one */
} Preset;
extern const Preset presets[];             /* ends with a NULL name */
const char *preset_cells(const Preset *p); /* how one for recurrent layers is written; NULL: it is for blocks */

/* The preset of that name; NULL and an error where there is none. */
const Preset *preset_find(const Node *name);
/* Prints such a map, a line a key. */
void preset_keys(const char *text, const char *indent, FILE *to);
/* Puts what presets stand for into the tree, wherever a `preset` stands, and an `order` in place of bn_1st and adn. */
void presets_expand(Node *tree);

/* ---- group.c */

/* The values that blocks take over are checked here too: there may be no block that reads them. */
void check_taken_over(const Node *map);

/* The items of `layers`, groups spelled out, into s->layer. */
void layers_read(const Node *list, const Defaults *def, Spec *s);

#endif
