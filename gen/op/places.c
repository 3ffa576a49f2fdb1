/* places.c - the table of places inside a recurrent op's steps, and what the norms in them say of themselves. */
#include "places.h"

#include "numbers.h"

#include <string.h>

const PlaceInfo place_info[PLACES] = {
    [PLACE_NONE] = {"", "", "", false},
    [PLACE_INPUT] = {"input", "norm_input", "W x", true},
    [PLACE_RECURRENT] = {"recurrent", "norm_recurrent", "U h", true},
    [PLACE_SUM] = {"sum", "norm_sum", "W x + U h", true},
    [PLACE_CELL] = {"cell", "norm_cell", "c on its way to h", false},
    [PLACE_HIDDEN] = {"hidden", "norm_hidden", "the new h", false},
};

CellPlace place_find(const char *name)
{
    for (int p = PLACE_INPUT; p < PLACES; p++)
        if (strcmp(place_info[p].name, name) == 0)
            return (CellPlace)p;
    return PLACE_NONE;
}

const PlaceNorm *op_place(OpKind kind, const Arg *arg, CellPlace place)
{
    const struct Places *p = op_is_recurrent(kind) ? arg[ARG_CELL_NORM].places : NULL;

    return p && p->of[place].op != OP_INPUT ? &p->of[place] : NULL;
}

const PlaceNorm *op_input_bn(OpKind kind, const Arg *arg)
{
    const PlaceNorm *n = op_place(kind, arg, PLACE_INPUT);

    return place_is_bn(n) && !n->step ? n : NULL;
}

bool place_is_bn(const PlaceNorm *n)
{
    return n && op_is_batch_norm(n->op);
}

bool op_has_place_bn(OpKind kind, const Arg *arg)
{
    bool any = false;

    for (int p = PLACE_INPUT; p < PLACES; p++)
        any |= place_is_bn(op_place(kind, arg, (CellPlace)p));
    return any;
}

int place_table_rows(const PlaceNorm *n, int length)
{
    return !place_is_bn(n) || !n->step ? 0 : n->steps ? n->steps : length;
}

bool op_has_places(OpKind kind, const Arg *arg)
{
    return op_is_recurrent(kind) && arg[ARG_CELL_NORM].places;
}

int place_gates(OpKind kind, CellPlace place)
{
    return place_info[place].of_gates ? op_info[kind].cell->gates : 1;
}

bool place_has(const PlaceNorm *n, ParamRole role)
{
    return op_has_param(n->op, role) && (n->beta || role != PARAM_BETA);
}

int op_cell_kept(OpKind kind, const Arg *arg)
{
    int n = op_info[kind].cell->kept;

    for (int p = PLACE_INPUT; p < PLACES; p++)
        n += op_place(kind, arg, (CellPlace)p) ? place_gates(kind, (CellPlace)p) : 0;
    return n;
}

static bool same_norm(const PlaceNorm *a, const PlaceNorm *b)
{
    return a->op == b->op && a->step == b->step && a->steps == b->steps && a->eps == b->eps &&
           a->momentum == b->momentum && a->gamma == b->gamma && a->each == b->each && a->beta == b->beta &&
           a->carried == b->carried;
}

bool places_same(const struct Places *a, const struct Places *b)
{
    if (!a || !b)
        return a == b;
    for (int p = PLACE_INPUT; p < PLACES; p++)
        if (!same_norm(&a->of[p], &b->of[p]))
            return false;
    return true;
}

/* What is said of a norm besides its kind. lasting, training: see places_text. */
static const char *keys_text(const PlaceNorm *n, bool lasting, bool training, const char *between)
{
    Buf b = {0};

    buf_puts(&b, "");
    if (lasting)
        buf_printf(&b, ", eps%s%s%s%s%s%s%s", between, real_text(n->eps),
                   place_is_bn(n) ? xprintf(", statistics%s%s", between, n->step ? "step" : "sequence") : "",
                   n->steps ? xprintf(", steps%s%d", between, n->steps) : "",
                   n->each ? xprintf(", gates%seach", between) : "",
                   n->beta || !op_has_param(n->op, PARAM_BETA) ? "" : xprintf(", beta%sfalse", between),
                   n->carried ? xprintf(", carried%strue", between) : "");
    if (training && place_is_bn(n))
        buf_printf(&b, ", momentum%s%s", between, real_text(n->momentum));
    if (training && n->gamma != 1)
        buf_printf(&b, ", gamma%s%s", between, real_text(n->gamma));
    return b.text;
}

const char *places_text(const struct Places *p, bool lasting, bool training)
{
    Buf b = {0};

    for (int i = PLACE_INPUT; p && i < PLACES; i++) {
        const PlaceNorm *n = &p->of[i];
        const char *keys = n->op == OP_INPUT ? "" : keys_text(n, lasting, training, ": ");
        if (*keys)
            buf_printf(&b, "%s%s: {%s%s}", b.len ? ", " : "", place_info[i].name,
                       lasting ? xprintf("kind: %s", op_info[n->op].name) : "", lasting ? keys : keys + 2);
    }
    return b.len ? xprintf("{%s}", b.text) : "";
}

const char *place_norm_text(OpKind kind, const Arg *arg, CellPlace place)
{
    const PlaceNorm *n = op_place(kind, arg, place);

    return xprintf("%s(%s)", op_info[n->op].name, keys_text(n, true, true, "=") + 2);
}
