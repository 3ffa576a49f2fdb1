/* group.c - the items of `layers`, groups among them -> SpecLayers in a row, each with the layers that it reads.
 *
 * needs: a list of items.  sets: s->layer: repeats spelled out, names whole, what blocks take over from their groups
 * put in; joins, shortcuts, pre and post as layers of their own. What a shortcut is, the shapes decide: graph.c.
 *
 * A group is read anew for each of its repeats, with the repeat's prefix before its names; so `only` and the stride,
 * which are of one repeat, need nothing special, and what is wrong in a body is collected once (diag.c drops
 * repetitions). */
#include "read.h"

#include <stdlib.h>
#include <string.h>

/* What `only` says of one layer of one repeat. */
typedef struct Only {
    const char *path; /* the layer's full name */
    const Node *key, *keys;
    bool used;
} Only;

typedef struct Named {
    const char *name;
    Mark mark;
    int seq;
} Named;

typedef struct Reader {
    Spec *s;
    Only *only;
    int nonly;
    Named *named; /* layers and groups */
    int nnamed;
    int unit, segment, nsegment;
    bool segment_set, full;
} Reader;

/* Where a chain of items stands. */
typedef struct Place {
    const char *prefix; /* of names: "s2.1." */
    const Defaults *def;
    const Node *stride; /* the group's, NULL: 1 */
} Place;

/* A group's keys, read. */
typedef struct Group {
    const Node *map, *layers, *residual, *concat;
    Mark mark;
    const char *name;
    Defaults def;
    const Node *stride;
    int repeat, recompute;
    SpecLayer pre, post, shortcut;
    bool from_pre, zero_gamma;
} Group;

/* What blocks inside take over as it stands; order, act and norm go by Defaults, stride to one block. */
static const char *const taken_over[] = {"out", "kernel", "groups", "bias", "eps", "momentum", NULL};

static int read_chain(Reader *r, const Node *list, const Place *p, int at);

static bool stopped(const Reader *r)
{
    return r->full || diag_errors() >= 50;
}

/* ---- layers in a row ------------------------------------------------------------------------------------------- */

static void note_name(Reader *r, const char *name, Mark mark)
{
    int n = r->nnamed;
    *PUSH(r->named, r->nnamed) = (Named){name, mark, n};
}

/* Puts a layer that reads those of `from` at the end; its index. */
static int push_layer(Reader *r, SpecLayer l, const int *from, int nfrom)
{
    if (r->s->nlayer == MAX_LAYERS) {
        if (!r->full)
            diag_error(l.mark, NULL, "with repeats spelled out there are more than %d layers", MAX_LAYERS);
        r->full = true;
        return MAX_LAYERS - 1;
    }
    l.froms = xalloc((size_t)nfrom * sizeof *l.froms);
    memcpy(l.froms, from, (size_t)nfrom * sizeof *from);
    l.from = from[0];
    l.nfrom = nfrom;
    l.unit = r->unit;
    l.segment = r->segment;
    l.segment_set = r->segment_set;
    l.in_group = strchr(l.name, '.') != NULL;
    note_name(r, l.name, l.name_mark);
    *PUSH(r->s->layer, r->s->nlayer) = l;
    return r->s->nlayer - 1;
}

/* A bare stage behind a layer, as if it stood there as a layer of its own. */
static int push_behind(Reader *r, const SpecLayer *l, SpecStage stage, int at)
{
    SpecLayer own = {.mark = stage.mark, .name_mark = l->name_mark, .form = FORM_BARE, .bare = true, .nstage = 1};
    own.name = xprintf("%s_between", l->name);
    own.stage = xalloc(sizeof *own.stage);
    own.stage[0] = stage;
    return push_layer(r, own, &at, 1);
}

/* A layer that stands in no list: a join, a shortcut, pre, post. */
static int push_own(Reader *r, SpecLayer l, LayerForm form, const char *name, const int *from, int nfrom)
{
    l.form = form;
    l.name = name;
    return push_layer(r, l, from, nfrom);
}

static bool has_norm(const SpecLayer *l)
{
    for (int i = 0; i < l->nstage; i++)
        if (op_is_norm(l->stage[i].op))
            return true;
    return false;
}

/* ---- only ------------------------------------------------------------------------------------------------------ */

static void read_only(Reader *r, const Node *n, const char *group)
{
    if (n->kind != NODE_MAP) {
        diag_error(n->mark, "only: {2.conv1: {order: conv-act-bn}}", "only must be a map of layers and their keys");
        return;
    }
    for (int i = 0; i < n->n && diag_errors() < 50; i++) {
        if (r->nonly == MAX_LAYERS) {
            diag_error(n->key[i]->mark, NULL, "only: more than %d layers", MAX_LAYERS);
            return;
        }
        if (n->item[i]->kind != NODE_MAP) {
            diag_error(n->item[i]->mark, "only: {2.conv1: {order: conv-act-bn}}",
                       "what only says of '%.60s' must be a map of keys and values", n->key[i]->text);
            continue;
        }
        if (keys_get(n->item[i], "name")) {
            diag_error(keys_get_key(n->item[i], "name")->mark, "give the name where the layer stands",
                       "only cannot give a layer another name");
            continue;
        }
        *PUSH(r->only, r->nonly) = (Only){xprintf("%s.%.200s", group, n->key[i]->text), n->key[i], n->item[i], false};
    }
}

static void put_all(Node *map, const Node *keys)
{
    for (int i = 0; i < keys->n; i++)
        node_put(map, keys->key[i], keys->item[i]);
}

static Node *copy_of(const Node *map)
{
    Node *copy = node_new(NODE_MAP, "", map->mark);
    put_all(copy, map);
    return copy;
}

/* The item with what `only` says of it; outer groups have the last word. */
static Node *with_only(Reader *r, Node *item, Node *value, const Node *word, const char *full)
{
    Node *map = NULL;
    for (int k = r->nonly - 1; k >= 0; k--) {
        Only *o = &r->only[k];
        if (strcmp(o->path, full) != 0)
            continue;
        o->used = true;
        const Node *had = map ? NULL : item_keys(value, word);
        if (!map && !had) {
            diag_error2(o->key->mark, word->mark, "the layer stands here",
                        "write it there with keys: - maxpool: {k: 2}",
                        "'%.60s' has its arguments in the word, and takes no keys", word->text);
            return item;
        }
        map = map ? map : copy_of(had);
        put_all(map, o->keys);
    }
    if (!map)
        return item;
    Node *outer = node_new(NODE_MAP, "", item->mark);
    node_put(outer, node_new(NODE_SCALAR, word->text, word->mark), map);
    return outer;
}

static bool is_named(const Reader *r, const char *name)
{
    for (int i = 0; i < r->nnamed; i++)
        if (strcmp(r->named[i].name, name) == 0)
            return true;
    return false;
}

static void check_only(const Reader *r)
{
    const char **names = xalloc(((size_t)r->nnamed + 1) * sizeof *names);
    for (int i = 0; i < r->nnamed; i++)
        names[i] = r->named[i].name;
    for (int k = 0; k < r->nonly; k++)
        if (!r->only[k].used && is_named(r, r->only[k].path)) {
            diag_error(r->only[k].key->mark, "it follows from keys of its group: shortcut, pre, post",
                       "'%.100s' has no keys of its own", r->only[k].path);
        } else if (!r->only[k].used) {
            const char *near = diag_nearest(r->only[k].path, names);
            diag_error(r->only[k].key->mark,
                       near ? xprintf("did you mean '%s'?", near) : "'convoy check SPEC' lists the layers' names",
                       "no layer is called '%.100s'", r->only[k].path);
        }
}

/* ---- a group's keys -------------------------------------------------------------------------------------------- */

void check_taken_over(const Node *map)
{
    static const char *const names[] = {"out", "kernel", "stride", "groups", "bias", "eps", "momentum"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const KeyInfo *key = keys_find(group_keys, names[k]);
        const Node *n = keys_get(map, names[k]);
        KeyValue v;
        if (n && !(key->type != KEY_WORD && is_one_of(n, key->words)))
            key_want(key, n, key->type == KEY_INT || key->type == KEY_SIZE ? xprintf("conv.%s", names[k]) : names[k],
                     &v);
    }
}

static void read_defaults(const Node *map, const Defaults *outer, Defaults *d)
{
    const Node *n;
    Node *keys = node_new(NODE_MAP, "", map->mark);
    SpecStage *stage;
    int nstage;
    *d = *outer;
    d->in_group = true;
    for (int k = 0; taken_over[k]; k++) {
        const Node *from = keys_get(map, taken_over[k]) ? map : outer->keys;
        if (from && keys_get(from, taken_over[k]))
            node_put(keys, keys_get_key(from, taken_over[k]), keys_get(from, taken_over[k]));
    }
    d->keys = keys;
    if ((n = keys_get(map, "act")))
        act_read(n, &d->words.act);
    if ((n = keys_get(map, "norm")))
        norm_read(n, &d->words.norm);
    if ((n = keys_get(map, "order"))) {
        d->order = n;
        d->order_bad = !order_read(n, OP_CONV, d->words, &stage, &nstage);
    }
}

/* A layer of the group's own, without stages as yet. */
static SpecLayer own_layer(Mark mark)
{
    return (SpecLayer){
        .mark = mark, .name_mark = mark, .out_mark = mark, .kernel_mark = mark, .groups_mark = mark, .stride = {1, 1}};
}

/* pre, post: stages around the body, without weights. */
static SpecLayer read_stages(const Group *g, const char *key)
{
    const Node *n = keys_get(g->map, key);
    SpecLayer l = own_layer(n ? n->mark : g->mark);
    if (!n || node_says(n, "none") || !order_read(n, OP_KINDS, g->def.words, &l.stage, &l.nstage))
        return l;
    for (int i = 0; i < l.nstage; i++)
        if (op_info[l.stage[i].op].cls == CLASS_WEIGHT) {
            diag_error(l.stage[i].mark, "put it into the body, as a block",
                       "'%s' has weights, and cannot stand in '%s'", op_info[l.stage[i].op].name, key);
            break;
        }
    read_norms(g->def.keys, &l);
    return l;
}

static void read_shortcut(Group *g)
{
    const Node *n = keys_get(g->map, "shortcut"), *order = n, *always = NULL, *bias = NULL;
    Node plain = {.kind = NODE_SCALAR, .text = "conv-norm", .mark = g->mark};
    SpecLayer *l = &g->shortcut;
    int from;
    *l = own_layer(n ? n->mark : g->mark);
    l->shortcut = SHORTCUT_CONV;
    if (node_says(n, "identity") || node_says(n, "pad")) {
        l->shortcut = node_says(n, "pad") ? SHORTCUT_PAD : SHORTCUT_IDENTITY;
        order = NULL;
    } else if (!n) {
        order = &plain;
    } else if (n->kind == NODE_MAP) {
        if (!keys_check(n, "shortcut", shortcut_keys))
            order = NULL;
        bool yes = false;
        if ((always = keys_get(n, "always")) && want_bool(always, "shortcut.always", &yes) && yes)
            l->shortcut = SHORTCUT_ALWAYS;
        bias = keys_get(n, "bias");
        if (!(order = keys_get(n, "order")))
            order = &plain;
    }
    if (order && order_read(order, OP_CONV, g->def.words, &l->stage, &l->nstage) && order == &plain)
        for (int i = 0; i < l->nstage; i++)
            l->stage[i].mark = l->mark;
    for (int i = 0; i < l->nstage; i++)
        if (l->stage[i].op == OP_CONV) { /* 1 x 1 */
            l->stage[i].arg[ARG_KERNEL] = (Arg){.size = {1, 1}};
            l->stage[i].arg[ARG_PADDING].sides = (Sides){{0, 0}, {0, 0}};
        }
    read_norms(g->def.keys, l);
    if (bias)
        read_bias(bias, has_norm(l), &l->bias);
    if ((n = keys_get(g->map, "shortcut_from")) && want_word(n, "shortcut_from", from_names, &from)) {
        g->from_pre = from == 1;
        if (from == 1 && !g->pre.nstage && !diag_errors())
            diag_error(n->mark, "pre: bn-act, for instance", "the group has no 'pre' that the shortcut could read");
    }
    if ((n = keys_get(g->map, "zero_gamma")))
        want_bool(n, "zero_gamma", &g->zero_gamma);
}

/* Whether it has exactly one body, and that is a list of the right kind. */
static bool read_body(Group *g)
{
    static const char *const bodies[] = {"layers", "residual", "concat"};
    static const char *const residual_only[] = {"shortcut", "shortcut_from", "zero_gamma"};
    const Node *found = NULL;
    for (int i = 0; i < 3; i++) {
        const Node *n = keys_get(g->map, bodies[i]);
        if (n && found) {
            diag_error2(keys_get_key(g->map, bodies[i])->mark, found->mark, "the first stands here",
                        "one of layers, residual, concat; groups nest", "a stage has one body, and this is a second");
            return false;
        }
        found = n ? n : found;
    }
    if (!found) {
        diag_error(g->mark, "layers: [conv, conv], residual: [conv, conv], or concat: [[], [conv]]",
                   "the stage has no body");
        return false;
    }
    g->layers = keys_get(g->map, "layers");
    g->residual = keys_get(g->map, "residual");
    g->concat = keys_get(g->map, "concat");
    for (int i = 0; !g->residual && i < 3; i++)
        if (keys_get(g->map, residual_only[i])) {
            diag_error(keys_get_key(g->map, residual_only[i])->mark, NULL,
                       "'%s' belongs to a residual stage: this one has no sum", residual_only[i]);
            return false;
        }
    if (found->kind != NODE_SEQ || found->n == 0) {
        diag_error(found->mark, g->concat ? "concat: [[], [conv]]" : "- conv, a line per layer; or [conv, conv]",
                   g->concat ? "a stage's body must be a list of branches" : "a stage's body must be a list of layers");
        return false;
    }
    if (g->concat && (found->n < 2 || found->n > MAX_BRANCHES)) {
        diag_error(found->mark, "[] is the input itself", "a concat has 2 to %d branches, not %d", MAX_BRANCHES,
                   found->n);
        return false;
    }
    for (int i = 0; g->concat && i < found->n; i++)
        if (found->item[i]->kind != NODE_SEQ) {
            diag_error(found->item[i]->mark, "concat: [[conv: 8], [conv: 8, conv: 8]]",
                       "a branch of a concat must be a list of layers");
            return false;
        }
    return true;
}

static bool read_group_keys(Reader *r, const Node *value, Mark mark, const char *full, const Place *p, Group *g)
{
    const Node *n;
    int errors = diag_errors();
    *g = (Group){.map = value, .mark = mark, .name = full, .repeat = 1};
    if (!value || value->kind != NODE_MAP) {
        diag_error(mark, "- stage: {repeat: 2, residual: [conv, conv]}", "a stage must be a map of keys and values");
        return false;
    }
    if (!keys_check(value, "stage", group_keys) || !read_body(g))
        return false;
    if ((n = keys_get(value, "repeat")))
        want_int32(n, "repeat", 1, MAX_LAYERS, &g->repeat);
    if ((n = keys_get(value, "recompute")))
        read_recompute(n, &g->recompute);
    if ((n = keys_get(value, "transition")) && (n->kind != NODE_SEQ || n->n == 0))
        diag_error(n->mark, "transition: [conv: {kernel: 1, out: 64}, avgpool(2)]",
                   "transition must be a list of layers");
    g->stride = keys_get(value, "stride");
    if (!g->stride || node_says(g->stride, "group"))
        g->stride = p->stride;
    check_taken_over(value);
    read_defaults(value, p->def, &g->def);
    g->pre = read_stages(g, "pre");
    g->post = read_stages(g, "post");
    read_shortcut(g);
    if ((n = keys_get(value, "only")))
        read_only(r, n, full);
    return diag_errors() == errors;
}

/* ---- a group ---------------------------------------------------------------------------------------------------- */

/* The branch, from layer `first` on, begins with nothing: its last norm multiplies by zero. */
static void zero_last_gamma(Reader *r, const Group *g, int first)
{
    for (int i = r->s->nlayer - 1; i >= first; i--)
        if (r->s->layer[i].form != FORM_SHORTCUT && has_norm(&r->s->layer[i])) {
            r->s->layer[i].zero_gamma = true;
            return;
        }
    if (!stopped(r))
        diag_error(keys_get(g->map, "zero_gamma")->mark, "end the branch with order: conv-bn, or leave zero_gamma out",
                   "the branch has no norm whose gamma could begin with 0");
}

static int read_residual(Reader *r, const Group *g, const Place *p, int input, int at)
{
    SpecLayer l = g->shortcut;
    if (p->stride)
        want_pair(p->stride, "conv.stride", 1, MAX_KERNEL, l.stride);
    l.stage = xalloc((size_t)(l.nstage + 1) * sizeof *l.stage); /* this repeat's, whose stride is its own */
    for (int i = 0; i < l.nstage; i++) {
        l.stage[i] = g->shortcut.stage[i];
        if (l.stage[i].op == OP_CONV)
            memcpy(l.stage[i].arg[ARG_STRIDE].size, l.stride, sizeof l.stride);
    }
    l.else_from = g->from_pre ? at : input;
    int shortcut = push_own(r, l, FORM_SHORTCUT, xprintf("%sshortcut", p->prefix), &input, 1);
    int branch = read_chain(r, g->residual, p, at);
    if (g->zero_gamma)
        zero_last_gamma(r, g, shortcut + 1);
    SpecLayer add = own_layer(g->mark);
    add.bare = true;
    return push_own(r, add, FORM_ADD, xprintf("%sadd", p->prefix), (int[]){branch, shortcut}, 2);
}

static int read_concat(Reader *r, const Group *g, const Place *p, int at)
{
    int ends[MAX_BRANCHES], n = g->concat->n;
    for (int b = 0; b < n && !stopped(r); b++) {
        Place branch = {xprintf("%sb%d.", p->prefix, b + 1), p->def, p->stride};
        ends[b] = read_chain(r, g->concat->item[b], &branch, at);
    }
    if (stopped(r))
        return at;
    SpecLayer l = own_layer(g->mark);
    l.bare = true;
    return push_own(r, l, FORM_CONCAT, xprintf("%sconcat", p->prefix), ends, n);
}

static int read_repeat(Reader *r, const Group *g, int n, bool strided, int at)
{
    Place p = {g->repeat > 1 ? xprintf("%s.%d.", g->name, n) : xprintf("%s.", g->name), &g->def,
               strided ? g->stride : NULL};
    int input = at;
    if (g->pre.nstage)
        at = push_own(r, g->pre, FORM_STAGES, xprintf("%spre", p.prefix), &at, 1);
    at = g->residual ? read_residual(r, g, &p, input, at)
         : g->concat ? read_concat(r, g, &p, at)
                     : read_chain(r, g->layers, &p, at);
    if (g->post.nstage)
        at = push_own(r, g->post, FORM_STAGES, xprintf("%spost", p.prefix), &at, 1);
    return at;
}

/* The group's keys with what `only` says of its repeat n; NULL where it says nothing. */
static Node *with_repeat(Reader *r, const Group *g, int n)
{
    const char *path = xprintf("%s.%d", g->name, n);
    Node *map = NULL;
    for (int k = r->nonly - 1; k >= 0 && g->repeat > 1; k--) {
        if (strcmp(r->only[k].path, path) != 0)
            continue;
        r->only[k].used = true;
        keys_check(r->only[k].keys, "a repeat", repeat_keys);
        map = map ? map : copy_of(g->map);
        put_all(map, r->only[k].keys);
    }
    return map;
}

/* One repeat, with keys of its own where it has some. */
static int read_own_repeat(Reader *r, const Group *g, const Place *p, int n, int at)
{
    Group own;
    int nonly = r->nonly, errors = diag_errors();
    Node *map = r->nonly ? with_repeat(r, g, n) : NULL;
    if (!map)
        return read_repeat(r, g, n, n == 1, at);
    if (diag_errors() > errors || !read_group_keys(r, map, g->mark, g->name, p, &own))
        return at;
    r->nonly = nonly; /* they stand there already */
    return read_repeat(r, &own, n, n == 1 || keys_get(map, "stride") != keys_get(g->map, "stride"), at);
}

static int read_group(Reader *r, const Node *value, Mark mark, const char *full, const Place *p, int at)
{
    Group g;
    bool top = !*p->prefix;
    int segment = r->segment, base = r->nsegment, errors = diag_errors();
    bool set = r->segment_set, sets = false;
    r->unit += top;
    if (!read_group_keys(r, value, mark, full, p, &g))
        return at;
    if (!set && keys_get(g.map, "recompute")) {
        r->segment_set = sets = true;
        r->nsegment += g.recompute ? (g.repeat - 1) / g.recompute + 1 : 0;
    }
    for (int n = 1; n <= g.repeat && !stopped(r) && diag_errors() == errors; n++) {
        r->unit += top && n > 1;
        if (sets)
            r->segment = g.recompute ? base + 1 + (n - 1) / g.recompute : 0;
        at = read_own_repeat(r, &g, p, n, at);
    }
    const Node *transition = keys_get(g.map, "transition");
    if (transition && !stopped(r)) {
        Place t = {xprintf("%s.transition.", full), &g.def, NULL};
        r->unit += top;
        r->segment = sets ? 0 : segment;
        note_name(r, xprintf("%s.transition", full), transition->mark);
        at = read_chain(r, transition, &t, at);
    }
    r->segment = segment;
    r->segment_set = set;
    return at;
}

/* ---- a list of items --------------------------------------------------------------------------------------------- */

/* Which item of a list takes the group's stride: the first conv or group, or those that ask for it: -1. */
static int stride_item(const Node *list)
{
    int first = -1;
    for (int i = 0; i < list->n; i++) {
        const char *kind;
        Node *value;
        const Node *word;
        if (!layer_kind(list->item[i], &kind, &value, &word) ||
            (strcmp(kind, "conv") != 0 && strcmp(kind, "stage") != 0))
            continue;
        if (value && node_says(keys_get(value, "stride"), "group"))
            return -1;
        first = first < 0 ? i : first;
    }
    return first;
}

static int read_item(Reader *r, Node *item, KindCount *counts, const Place *p, bool takes, int at)
{
    const char *kind;
    Node *value;
    const Node *word;
    if (!layer_kind(item, &kind, &value, &word)) {
        layer_bad_item(item);
        return at;
    }
    const char *name = layer_name(kind, value, counts, 64);
    const Node *given = value ? keys_get(value, "name") : NULL;
    Mark mark = given ? given->mark : word->mark;
    bool named = !given || want_name(given, NAME_LAYER, &name);
    const char *full = named ? xprintf("%s%s", p->prefix, name) : "";
    if (strlen(full) > MAX_PATH_NAME) {
        diag_error(mark, "shorter names, or fewer groups in groups",
                   "a layer's name with those of its groups is %zu characters long, more than %d", strlen(full),
                   MAX_PATH_NAME);
        return at;
    }
    item = with_only(r, item, value, word, full);
    if (!layer_kind(item, &kind, &value, &word))
        BUG("an item lost its kind");
    if (strcmp(kind, "stage") == 0) {
        Place in = *p;
        in.stride = takes || (value && node_says(keys_get(value, "stride"), "group")) ? p->stride : NULL;
        note_name(r, full, mark);
        return read_group(r, value, word->mark, full, &in, at);
    }
    SpecLayer l = {.mark = word->mark, .name_mark = mark, .name = full};
    r->unit += !*p->prefix;
    int errors = diag_errors();
    SpecStage between;
    layer_read(item, p->def, full, p->stride, takes, &l, &between);
    if (l.form == FORM_BARE && l.nstage == 0 && diag_errors() == errors)
        return at; /* norm: none */
    at = push_layer(r, l, &at, 1);
    return between.op == OP_KINDS ? at : push_behind(r, &l, between, at);
}

static int read_chain(Reader *r, const Node *list, const Place *p, int at)
{
    KindCount counts[64] = {{0}};
    int strided = stride_item(list);
    for (int i = 0; i < list->n && !stopped(r); i++)
        at = read_item(r, list->item[i], counts, p, i == strided, at);
    return at;
}

/* ---- recompute --------------------------------------------------------------------------------------------------- */

static bool has_weight(const SpecLayer *l, OpKind op)
{
    for (int i = 0; i < l->nstage; i++)
        if (l->stage[i].op == op)
            return true;
    return false;
}

/* Gives the units at the top their segments, so many in a row each; those that a group set itself, units with a linear
 * layer, and what stands after the last conv are left out. Then numbers all in order, without gaps. */
static void set_segments(Reader *r)
{
    Spec *s = r->s;
    int last_conv = 0, next = 0, in_row = 0, number = r->nsegment;
    bool *linear = xalloc((size_t)(r->unit + 1) * sizeof *linear);
    bool *bad = xalloc((size_t)(r->nsegment + s->nlayer + 2) * sizeof *bad);
    for (int i = 0; i < s->nlayer; i++) {
        last_conv = has_weight(&s->layer[i], OP_CONV) ? s->layer[i].unit : last_conv;
        linear[s->layer[i].unit] |= has_weight(&s->layer[i], OP_LINEAR);
        bad[s->layer[i].segment] |= has_weight(&s->layer[i], OP_LINEAR);
    }
    for (int i = 0, unit = -1; i < s->nlayer; i++) {
        SpecLayer *l = &s->layer[i];
        bool in = s->recompute && !l->segment_set && !linear[l->unit] && l->unit <= last_conv;
        if (in && l->unit != unit && in_row++ % s->recompute == 0)
            number++;
        unit = l->unit;
        if (!in)
            in_row = 0;
        if (in)
            l->segment = number;
        else if (bad[l->segment])
            l->segment = 0;
    }
    for (int i = 0, was = 0; i < s->nlayer; i++) {
        int now = s->layer[i].segment;
        next += now && now != was;
        was = now;
        s->layer[i].segment = now ? next : 0;
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const Named *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c ? c : x->seq - y->seq;
}

static void check_names(Reader *r)
{
    qsort(r->named, (size_t)r->nnamed, sizeof *r->named, by_name);
    for (int i = 1, first = 0; i < r->nnamed; i++) {
        if (strcmp(r->named[i].name, r->named[first].name) != 0)
            first = i;
        else
            diag_error2(r->named[i].mark, r->named[first].mark,
                        xprintf("the other '%s' is this layer", r->named[i].name),
                        "a layer without a name is called by its kind and its number among all of that kind",
                        "two layers are called '%s'", r->named[i].name);
    }
}

void layers_read(const Node *list, const Defaults *def, Spec *s)
{
    Reader r = {.s = s};
    Place top = {"", def, NULL};
    if (list->kind != NODE_SEQ || list->n == 0) {
        diag_error(list->mark, "below 'layers:', one line per layer: - conv: 16", "layers must be a list of layers");
        return;
    }
    if (list->n > MAX_LAYERS) {
        diag_error(list->item[MAX_LAYERS]->mark, NULL, "%d layers, more than %d", list->n, MAX_LAYERS);
        return;
    }
    read_chain(&r, list, &top, -1);
    bool weights = false;
    for (int i = 0; i < s->nlayer; i++)
        weights = weights || layer_weight(&s->layer[i]);
    if (!weights && !diag_errors())
        diag_error(list->mark, "add - linear: classes, at least",
                   "the network has no conv, linear, recurrent or embed layer: nothing to learn");
    if (!diag_errors())
        check_only(&r);
    if (!diag_errors())
        check_names(&r);
    if (!diag_errors())
        set_segments(&r);
}
