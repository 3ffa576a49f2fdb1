/* args.c - arguments of ops: their usual values, ranges, and texts. */
#include "places.h"

#include <string.h>

int op_must_args(OpKind kind)
{
    int n = 0;
    for (int i = 0; i < OP_ARGS; i++)
        n += op_info[kind].arg[i].name && op_info[kind].arg[i].given == ARG_MUST;
    return n;
}

int op_may_args(OpKind kind)
{
    int n = 0;
    for (int i = 0; i < OP_ARGS; i++)
        n += op_info[kind].arg[i].name && op_info[kind].arg[i].given < ARG_WORD;
    return n;
}

int op_arg_at(OpKind kind, int nth)
{
    for (int i = 0; i < OP_ARGS; i++)
        if (op_info[kind].arg[i].name && op_info[kind].arg[i].given < ARG_WORD && nth-- == 0)
            return i;
    BUG("%s has no such argument", op_info[kind].name);
}

const char *op_usage(OpKind kind)
{
    const int n = op_may_args(kind);
    Buf b = {0};
    if (!n)
        return NULL;
    buf_printf(&b, "%s(", op_info[kind].name);
    for (int k = 0; k < n; k++)
        buf_printf(&b, "%s%s", k ? "[, " : "", op_info[kind].arg[op_arg_at(kind, k)].name);
    for (int k = 1; k < n; k++)
        buf_puts(&b, "]");
    for (int i = 0; i < OP_ARGS; i++)
        if (op_info[kind].arg[i].word)
            buf_printf(&b, "[, %s]", op_info[kind].arg[i].word);
    buf_puts(&b, ")");
    return b.text;
}

Arg op_usual(OpKind kind, int i, const Arg *arg)
{
    const ArgInfo *info = &op_info[kind].arg[i];
    switch (info->kind) {
    case ARG_REAL:
        return (Arg){.real = info->usual};
    case ARG_COUNT:
    case ARG_FLAG:
    case ARG_CHOICE:
        return (Arg){.count = (int)info->usual};
    case ARG_SIZE:
        return info->like ? arg[info->like - 1] : (Arg){.size = {(int)info->usual, (int)info->usual}};
    case ARG_SIDES: {
        const int n = (int)info->usual;
        return (Arg){.sides = {{n, n}, {n, n}}};
    }
    case ARG_PLACES:
        return (Arg){.places = NULL};
    }
    BUG("an argument of no kind");
}

void op_usual_args(OpKind kind, Arg arg[OP_ARGS])
{
    for (int i = 0; i < OP_ARGS; i++)
        arg[i] = op_info[kind].arg[i].name ? op_usual(kind, i, arg) : (Arg){0};
}

static bool same_arg(ArgKind kind, Arg a, Arg b)
{
    switch (kind) {
    case ARG_REAL:
        return a.real == b.real;
    case ARG_SIZE:
        return a.size[0] == b.size[0] && a.size[1] == b.size[1];
    case ARG_SIDES:
        return memcmp(&a.sides, &b.sides, sizeof a.sides) == 0;
    case ARG_COUNT:
    case ARG_FLAG:
    case ARG_CHOICE:
        return a.count == b.count;
    case ARG_PLACES:
        return places_same(a.places, b.places);
    }
    BUG("an argument of no kind");
}

bool op_same_args(OpKind kind, const Arg *a, const Arg *b)
{
    for (int i = 0; i < OP_ARGS; i++)
        if (op_info[kind].arg[i].name && !same_arg(op_info[kind].arg[i].kind, a[i], b[i]))
            return false;
    return true;
}

/* The numbers of an argument; how many. */
static int arg_numbers(ArgKind kind, Arg a, double v[4])
{
    switch (kind) {
    case ARG_REAL:
        v[0] = a.real;
        return 1;
    case ARG_SIZE:
        v[0] = a.size[0], v[1] = a.size[1];
        return 2;
    case ARG_SIDES:
        for (int d = 0; d < 2; d++)
            v[d] = a.sides.before[d], v[2 + d] = a.sides.after[d];
        return 4;
    case ARG_COUNT:
    case ARG_FLAG:
    case ARG_CHOICE:
        v[0] = a.count;
        return 1;
    case ARG_PLACES:
        return 0;
    }
    BUG("an argument of no kind");
}

const char *op_bad_args(OpKind kind, const Arg *arg)
{
    for (int i = 0; i < OP_ARGS; i++) {
        const ArgInfo *info = &op_info[kind].arg[i];
        if (!info->name)
            continue;
        double v[4];
        const int n = info->kind == ARG_SIDES && sides_are_same(arg[i].sides) ? 0 : arg_numbers(info->kind, arg[i], v);
        for (int d = 0; d < n; d++)
            if (!(v[d] >= info->lo && (v[d] <= info->hi || v[d] == info->usual) &&
                  !(info->below_hi && v[d] == info->hi)))
                return info->name;
        if (info->above && !(arg[i].real > arg[info->above - 1].real))
            return info->name;
    }
    return NULL;
}

const char *size_text(const int v[2], int dims)
{
    return dims == 1 || v[0] == v[1] ? xprintf("%d", v[1]) : xprintf("%dx%d", v[0], v[1]);
}

bool sides_are_same(Sides s)
{
    return s.before[0] == PADDING_SAME;
}

bool sides_even(Sides s)
{
    return s.before[0] == s.after[0] && s.before[1] == s.after[1];
}

bool sides_zero(Sides s)
{
    return !s.before[0] && !s.before[1] && !s.after[0] && !s.after[1];
}

static const char *side_text(int before, int after)
{
    return before == after ? xprintf("%d", before) : xprintf("%d:%d", before, after);
}

const char *sides_text(Sides s, int dims)
{
    const char *height = side_text(s.before[0], s.after[0]), *width = side_text(s.before[1], s.after[1]);

    if (sides_are_same(s))
        return "same";
    return dims == 1 || strcmp(height, width) == 0 ? width : xprintf("%sx%s", height, width);
}

const char *sides_whole(Sides s)
{
    return sides_are_same(s) ? "same"
                             : xprintf("%sx%s", side_text(s.before[0], s.after[0]), side_text(s.before[1], s.after[1]));
}

static const char *arg_text(const ArgInfo *info, Arg a, int dims)
{
    switch (info->kind) {
    case ARG_REAL:
        return real_text(a.real);
    case ARG_SIZE:
        return size_text(a.size, dims);
    case ARG_SIDES:
        return sides_text(a.sides, dims);
    case ARG_COUNT:
        return xprintf("%d", a.count);
    case ARG_FLAG:
        return a.count ? "true" : "false";
    case ARG_CHOICE:
        return info->words[a.count];
    case ARG_PLACES:
        return places_text(a.places, true, true);
    }
    BUG("an argument of no kind");
}

/* Arguments by key, after those in the text. */
static void add_keys(Buf *b, OpKind kind, const Arg *arg, int dims, bool lasting, bool training)
{
    const ArgInfo *info = op_info[kind].arg;

    for (int i = 0; i < OP_ARGS; i++) {
        if (!info[i].name || info[i].given != ARG_KEY ||
            (info[i].quiet && same_arg(info[i].kind, arg[i], op_usual(kind, i, arg))))
            continue;
        const bool places = info[i].kind == ARG_PLACES; /* of which some of both */
        const char *text = places ? places_text(arg[i].places, lasting, training) : arg_text(&info[i], arg[i], dims);
        if (places ? *text : info[i].training ? training : lasting)
            buf_printf(b, "%s%s=%s", b->len ? "," : "", info[i].name, text);
    }
}

static const char *text_of(OpKind kind, const Arg *arg, int dims, bool lasting, bool training)
{
    const ArgInfo *info = op_info[kind].arg;
    int n = op_may_args(kind);
    Buf b = {0};
    while (n > 0) { /* the last ones that are as usual */
        const int i = op_arg_at(kind, n - 1);
        if (!info[i].quiet || !same_arg(info[i].kind, arg[i], op_usual(kind, i, arg)))
            break;
        n--;
    }
    for (int k = 0; k < n; k++) {
        const int i = op_arg_at(kind, k);
        buf_printf(&b, "%s%s", b.len ? "," : "", arg_text(&info[i], arg[i], dims));
    }
    for (int i = 0; i < OP_ARGS; i++)
        if (info[i].word && arg[i].count != (int)info[i].usual)
            buf_printf(&b, "%s%s", b.len ? "," : "", info[i].word);
    add_keys(&b, kind, arg, dims, lasting, training);
    return b.len ? xprintf("%s(%s)", op_info[kind].name, b.text) : op_info[kind].name;
}

const char *op_text(OpKind kind, const Arg *arg, int dims, bool whole)
{
    return text_of(kind, arg, dims, whole, whole);
}

const char *op_lasting_text(OpKind kind, const Arg *arg, int dims)
{
    return text_of(kind, arg, dims, true, false);
}

const char *op_training_text(OpKind kind, const Arg *arg)
{
    Buf b = {0};

    add_keys(&b, kind, arg, 2, false, true);
    return b.text;
}
