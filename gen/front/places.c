/* places.c - the key `norm` of a recurrent layer: which norm stands in which place of a step, and which behind it all.
 */
#include "places.h"
#include "read.h"

#include <string.h>

/* "input, recurrent, sum" of those that a cell has. */
static const char *places_of(OpKind cell)
{
    Buf b = {0};

    for (int p = PLACE_INPUT; p < PLACES; p++)
        if (op_info[cell].cell->places & IN_PLACE(p))
            buf_printf(&b, "%s, ", place_info[p].name);
    buf_puts(&b, "between");
    return b.text;
}

static bool check_place(const Node *key, OpKind cell, CellPlace place)
{
    if (op_info[cell].cell->places & IN_PLACE(place))
        return true;
    diag_error(key->mark, xprintf("one of %s", places_of(cell)),
               place == PLACE_SUM ? "'%s' of %s: r stands between the two products, which are not added as they are"
                                  : "'%s' of %s: it has no c beside its h",
               place_info[place].name, op_info[cell].name);
    return false;
}

static bool check_kind(const Node *n, OpKind kind, CellPlace place)
{
    switch (op_info[kind].norm->over) {
    case OVER_IMAGE:
    case OVER_BATCH:
        return true;
    case OVER_GROUPS:
        diag_error(n->mark, "ln, with gates: each where each gate is a group", "%s cannot stand inside a step, in '%s'",
                   op_info[kind].name, place_info[place].name);
        return false;
    case OVER_CHANNEL:
        diag_error(n->mark, "ln, rms", "%s cannot stand inside a step, in '%s': a unit has a single number there",
                   op_info[kind].name, place_info[place].name);
        return false;
    }
    BUG("a norm over nothing");
}

/* A norm's word: "ln", or "norm", which is what it stands for here. False after an error. */
static bool read_word(const Node *n, const Words *words, SpecStage *out)
{
    if (!node_says(n, "norm"))
        return norm_read(n, out);
    *out = words->norm;
    return true;
}

/* A place's map, or word, that says which norm. */
static const Node *kind_of(const Node *n, const char *what, const KeyInfo *keys, bool *ok)
{
    if (n->kind != NODE_MAP)
        return n;
    const int errors = diag_errors();
    *ok = keys_check(n, what, keys) && diag_errors() == errors;
    return keys_get(n, "kind");
}

/* momentum, statistics and steps, which bn alone has. */
static void read_running(const Node *m, const char *what, CellPlace place, PlaceNorm *to)
{
    static const char *const own[] = {"momentum", "statistics", "steps"};
    int word = 0;

    if (!op_is_batch_norm(to->op)) {
        for (int i = 0; i < 3; i++)
            if (keys_get(m, own[i]))
                diag_error(keys_get_key(m, own[i])->mark, "leave it out", "%s.%s: %s has none", what, own[i],
                           op_info[to->op].name);
        return;
    }
    key_real(place_keys, m, what, "momentum", &to->momentum);
    if (key_word(place_keys, m, "statistics", &word)) {
        to->step = word == 0;
        if (!to->step && place != PLACE_INPUT)
            diag_error(keys_get(m, "statistics")->mark, "statistics: step",
                       "%s: a step needs what the step before left, so that '%s' of all steps is never there at once",
                       what, place_info[place].name);
    }
    if (key_int(place_keys, m, what, "steps", &to->steps) && !to->step)
        diag_error(keys_get_key(m, "steps")->mark, "statistics: step", "%s.steps: all steps have the same statistics",
                   what);
}

static void read_gates(const Node *m, const char *what, OpKind cell, CellPlace place, PlaceNorm *to)
{
    int word = 0;

    if (!key_word(place_keys, m, "gates", &word))
        return;
    if (op_is_batch_norm(to->op))
        diag_error(keys_get(m, "gates")->mark, "leave it out", "'gates' of %s: bn's statistics are of one number each",
                   what);
    else if (word && !place_info[place].of_gates)
        diag_error(keys_get(m, "gates")->mark, "leave it out", "'gates' of %s: it is no gate's", what);
    else if (word && op_info[cell].cell->gates == 1)
        diag_error(keys_get(m, "gates")->mark, "leave it out", "'gates' of %s: %s has a single gate", what,
                   op_info[cell].name);
    else
        to->each = word;
}

static void read_beta(const Node *m, const char *what, PlaceNorm *to)
{
    const Node *key = keys_get(m, "beta");
    const bool has = op_has_param(to->op, PARAM_BETA);

    if (!key || !want_bool(key, xprintf("%s.beta", what), &to->beta))
        return;
    if (to->beta && !has)
        diag_error(key->mark, "leave it out", "%s.beta: %s has none", what, op_info[to->op].name);
    else if (!to->beta && place_is_bn(to) && !to->step)
        diag_error(key->mark, "leave it out: 'bias: false' leaves one of them",
                   "%s.beta: bn with the statistics of a sequence has one", what);
    to->beta &= has;
}

static void read_carried(const Node *m, const char *what, CellPlace place, PlaceNorm *to)
{
    const Node *key = keys_get(m, "carried");

    if (key && want_bool(key, xprintf("%s.carried", what), &to->carried) && place != PLACE_CELL && to->carried)
        diag_error(key->mark, place == PLACE_HIDDEN ? "hidden is before h is carried already" : "leave it out",
                   "%s.carried: it is c alone that is carried before its norm, or behind it", what);
}

static void read_place(const Node *n, OpKind cell, CellPlace place, const Words *words, PlaceNorm *to)
{
    const char *what = xprintf("norm.%s", place_info[place].name);
    bool ok = true;
    const Node *kind = kind_of(n, what, place_keys, &ok), *m = n->kind == NODE_MAP ? n : NULL;
    SpecStage norm = words->norm;

    if (!ok || (kind && !read_word(kind, words, &norm)) || norm.op == OP_KINDS ||
        !check_kind(kind ? kind : n, norm.op, place))
        return;
    *to = (PlaceNorm){.op = norm.op,
                      .step = op_is_batch_norm(norm.op) && place != PLACE_INPUT,
                      .momentum = op_is_batch_norm(norm.op) ? norm.arg[ARG_MOMENTUM].real : 0,
                      .eps = norm.arg[ARG_EPS].real,
                      .gamma = 1,
                      .beta = op_has_param(norm.op, PARAM_BETA)};
    if (!m)
        return;
    key_real(place_keys, m, what, "eps", &to->eps);
    key_real(place_keys, m, what, "gamma", &to->gamma);
    read_running(m, what, place, to);
    read_gates(m, what, cell, place, to);
    read_beta(m, what, to);
    read_carried(m, what, place, to);
}

static void read_between(const Node *n, const Words *words, SpecStage *to)
{
    bool ok = true;
    const Node *kind = kind_of(n, "norm.between", between_keys, &ok), *m = n->kind == NODE_MAP ? n : NULL;

    *to = words->norm;
    if (!ok || (kind && !read_word(kind, words, to)))
        *to = (SpecStage){.op = OP_KINDS};
    to->mark = n->mark;
    if (!m || to->op == OP_KINDS)
        return;
    key_real(between_keys, m, "norm.between", "eps", &to->arg[ARG_EPS].real);
    if (op_is_batch_norm(to->op))
        key_real(between_keys, m, "norm.between", "momentum", &to->arg[ARG_MOMENTUM].real);
    else if (keys_get(m, "momentum"))
        diag_error(keys_get_key(m, "momentum")->mark, "leave it out", "norm.between.momentum: %s has none",
                   op_info[to->op].name);
}

void places_read(const Node *n, OpKind cell, const Words *words, const struct Places **to, SpecStage *between)
{
    struct Places *p = xalloc(sizeof *p);
    const int errors = diag_errors();
    bool any = false;

    if (n->kind != NODE_MAP) {
        read_between(n, words, between);
        return;
    }
    if (!keys_check(n, "norm", norm_places_keys))
        return;
    for (int i = 0; i < n->n; i++) {
        const CellPlace place = place_find(n->key[i]->text);
        if (strcmp(n->key[i]->text, "between") == 0)
            read_between(n->item[i], words, between);
        else if (place && check_place(n->key[i], cell, place))
            read_place(n->item[i], cell, place, words, &p->of[place]);
    }
    for (int i = PLACE_INPUT; i < PLACES; i++)
        any |= p->of[i].op != OP_INPUT;
    if (p->of[PLACE_SUM].op != OP_INPUT)
        for (int i = PLACE_INPUT; i <= PLACE_RECURRENT; i++)
            if (p->of[i].op != OP_INPUT && diag_errors() == errors)
                diag_error(keys_get_key(n, place_info[i].name)->mark, "one of the two",
                           "a norm of the sum and one of its terms, '%s': a step has the one or the other",
                           place_info[i].name);
    *to = any ? p : NULL;
}
