/* plain.c - a network for reading: the functions of the ops that it has, and the list of their calls, forward and
 * backward.
 *
 * needs: a plain plan. sets: the files of the emitted folder. */
#include "emit.h"
#include "expr.h"
#include "places.h"

#include "template.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct PlainNet {
    const Plain *p;
    const Graph *g;
    bool train, grouped, dilated; /* the latter: some conv is */
    bool cell_norms;              /* inside the steps of some recurrent op */
    bool reverse_cells;           /* some walk from the last step */
    bool resets;                  /* some gru applies r before its product */
    Rec *rec;
    bool backward_reads_x; /* its calls name the network's input */
} PlainNet;

/* ---- words of a call ---- */

static const char *value(const PlainNet *n, int op)
{
    const int t = n->p->op[op].tensor;

    return t == 0 ? "x" : xprintf("v->%s", n->p->op[t].name);
}

/* The gradient of what an op has made, or NULL where nobody wants it. */
static const char *gradient(const PlainNet *n, int op)
{
    return n->p->op[op].learns ? xprintf("d->%s", n->p->op[n->p->op[op].tensor].name) : "NULL";
}

/* "n * INT64_C(12544)": elements of n images of an op's output */
static const char *count(const PlainNet *n, int op)
{
    return xprintf("n * INT64_C(%lld)", (long long)n->p->op[op].floats);
}

static int area(const PlainNet *n, int op)
{
    return n->g->op[op].shape.h * n->g->op[op].shape.w;
}

static int features(const PlainNet *n, int op)
{
    return (int)n->p->op[op].floats;
}

/* A number of the spec as a float constant with as few digits as that takes; general_relu may have no most. */
static const char *number(double v)
{
    const char *text = "";

    for (int digits = 1; digits <= 9; digits++)
        if (strtof(text = xprintf("%.*g", digits, v), NULL) == (float)v)
            break;
    return isinf(v) ? "INFINITY" : xprintf("%s%sf", text, strpbrk(text, ".e") ? "" : ".0");
}

static const char *below(const Op *o)
{
    return xprintf("%luu", (unsigned long)(o->value * 4294967296.0));
}

/* A double constant that reads back as the same double, with as few digits as that takes. */
static const char *short_double(double v)
{
    const char *text = "";

    for (int digits = 1; digits <= 17; digits++)
        if (strtod(text = xprintf("%.*g", digits, v), NULL) == v)
            break;
    return text;
}

/* What an activation's functions are given after the tensors' size: "0.01f, " or nothing. */
static const char *act_args(const Op *o)
{
    Buf b = {0};

    buf_puts(&b, "");
    for (int k = 0; k < op_may_args(o->kind); k++)
        buf_printf(&b, "%s, ", number(o->arg[op_arg_at(o->kind, k)].real));
    return b.text;
}

/* ---- the calls ---- */

static void forward(PlainNet *n, const char *text)
{
    rec_str(rec_add(n->rec, "forward"), "line", text);
}

static void backward(PlainNet *n, const char *text)
{
    rec_str(rec_add(n->rec, "backward"), "line", text);
}

/* A value that a call of backward names. */
static const char *value_back(PlainNet *n, int op)
{
    n->backward_reads_x |= n->p->op[op].tensor == 0;
    return value(n, op);
}

static void forward_add(PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];

    for (int k = 1; k < o->nin; k++)
        forward(n, xprintf("add_forward(%s, %s, %s, %s);", count(n, i), value(n, k == 1 ? o->ins[0] : i),
                           value(n, o->ins[k]), value(n, i)));
}

static void backward_add(PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];

    for (int k = 0; k < o->nin; k++)
        if (n->p->op[o->ins[k]].learns)
            backward(n, xprintf("add_backward(%s, %s, %s);", count(n, i), gradient(n, i), gradient(n, o->ins[k])));
}

static void call_concat(PlainNet *n, int i, bool back)
{
    const Op *o = &n->g->op[i];

    for (int k = 0, first = 0; k < o->nin; k++) {
        const int c = n->g->op[o->ins[k]].shape.c;
        const char *sizes = xprintf("n, %d, %d, %d, %d", area(n, i), c, first, o->shape.c);
        if (!back)
            forward(n, xprintf("concat_forward(%s, %s, %s);", sizes, value(n, o->ins[k]), value(n, i)));
        else if (n->p->op[o->ins[k]].learns)
            backward(n, xprintf("concat_backward(%s, %s, %s);", sizes, gradient(n, i), gradient(n, o->ins[k])));
        first += c;
    }
}

/* The first arguments of both of an op's functions: sizes, and whatever else the op is told. */
static const char *sizes(const PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];

    switch (o->kind) {
    case OP_LINEAR:
        return xprintf("n, %d, %d", features(n, o->in), o->shape.c);
    case OP_EMBED:
        return xprintf("n, %d, %d, %d", n->g->spec->tokens, o->shape.c, o->shape.w);
    case OP_GLOBAL_AVG_POOL:
        return xprintf("n, %d, %d", o->shape.c, area(n, o->in));
    case OP_DROP:
        if (!n->train)
            return xprintf("n, %d", features(n, i));
        return xprintf("n, %d, \"%s\", %s, %s, step", features(n, i), o->path, below(o), number(1 / (1 - o->value)));
    default:
        return xprintf("&size.%s, n", n->p->op[i].name);
    }
}

static void forward_op(PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];
    const char *name = op_is_image_norm(o->kind) ? "gn" : op_info[o->kind].name, *x = value(n, o->in), *y = value(n, i),
               *own = n->p->op[i].name;

    switch (o->kind) {
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        forward(n, xprintf("%s_forward(%s, %s, &p->%s, v->%s__steps, %s);", name, sizes(n, i), x, own, own, y));
        break;
    case OP_ADD:
        forward_add(n, i);
        break;
    case OP_CONCAT:
        call_concat(n, i, false);
        break;
    case OP_FLATTEN:
        if (plain_stores(n->p, i))
            forward(n, xprintf("memcpy(%s, %s, sizeof(float) * (size_t)n * %d);", y, x, features(n, i)));
        else
            forward(n, "/* flatten: nothing moves, an image's numbers stand in that order already */");
        break;
    case OP_BN:
        forward(n, xprintf("bn_forward(&size.%s%s, n, %s, &p->%s, %s);", own,
                           !n->train        ? ""
                           : op_is_still(o) ? ", 0 /* frozen: by its running statistics */"
                                            : ", step != NULL",
                           x, own, y));
        break;
    default:
        if (op_info[o->kind].param)
            forward(n, xprintf("%s_forward(%s, %s, &p->%s, %s);", name, sizes(n, i), x, own, y));
        else if (op_is_act(o->kind))
            forward(n, xprintf("%s_forward(%s, %s%s, %s);", name, count(n, i), act_args(o), x, y));
        else
            forward(n, xprintf("%s_forward(%s, %s, %s);", name, sizes(n, i), x, y));
    }
}

static void backward_op(PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];
    const char *name = op_is_image_norm(o->kind) ? "gn" : op_info[o->kind].name, *own = n->p->op[i].name;
    const char *dy = gradient(n, i), *dx = gradient(n, o->in);

    switch (o->kind) {
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        backward(n, xprintf("%s_backward(%s, %s, &p->%s, v->%s__steps, %s, d->%s__steps, %s, %s);", name, sizes(n, i),
                            value_back(n, o->in), own, own, dy, own, dx,
                            o->frozen ? "&(struct gates){0}" : xprintf("&g->%s", own)));
        break;
    case OP_ADD:
        backward_add(n, i);
        break;
    case OP_CONCAT:
        call_concat(n, i, true);
        break;
    case OP_FLATTEN:
        backward(n, "/* flatten: its gradient is that of what it reads */");
        break;
    case OP_MAXPOOL:
        backward(n, xprintf("%s_backward(%s, %s, %s, %s);", name, sizes(n, i), value_back(n, o->in), dy, dx));
        break;
    default:
        if (op_is_still(o))
            backward(n, xprintf("bn_frozen_backward(%s, &p->%s, %s, %s);", sizes(n, i), own, dy, dx));
        else if (op_info[o->kind].param)
            backward(n, xprintf("%s_backward(%s, %s, &p->%s, %s, %s, %s);", name, sizes(n, i), value_back(n, o->in),
                                own, dy, dx,
                                !o->frozen            ? xprintf("&g->%s", own)
                                : op_is_norm(o->kind) ? "&(struct norm){0}"
                                                      : "&(struct weights){0}"));
        else if (op_is_act(o->kind))
            backward(n, xprintf("%s_backward(%s, %s%s, %s, %s);", name, count(n, i), act_args(o),
                                value_back(n, op_info[o->kind].need == NEED_INPUT ? o->in : i), dy, dx));
        else
            backward(n, xprintf("%s_backward(%s, %s, %s);", name, sizes(n, i), dy, dx));
    }
}

/* Whether a call of forward is told the step: dropout draws by it, a batch norm whether there is one. */
static bool forward_takes_step(const PlainNet *n)
{
    bool any = false;

    for (int i = 1; i < n->g->nop && n->train; i++) {
        const Op *o = &n->g->op[i];
        any |= o->kind == OP_DROP || (op_is_batch_norm(o->kind) && !op_is_still(o));
    }
    return any;
}

/* A line above a layer's calls: its name, and what becomes of a shape. */
static const char *layer_title(const PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];
    const char *from = "";
    int last = i;

    while (last + 1 < n->g->nop && strcmp(n->g->op[last + 1].layer, o->layer) == 0)
        last++;
    for (int k = 0; k < o->nin; k++)
        from = xprintf("%s%s%s", from, k ? ", " : "", describe_shape(n->g->op[o->ins[k]].shape));
    return xprintf("/* %s: %s -> %s */", o->layer, from, describe_shape(n->g->op[last].shape));
}

static void calls(PlainNet *n)
{
    const Graph *g = n->g;
    const int last = g->nop - 1;

    for (int i = 1; i < last; i++) {
        if (i == 1 || strcmp(g->op[i].layer, g->op[i - 1].layer) != 0)
            forward(n, layer_title(n, i));
        forward_op(n, i);
    }
    if (!n->train)
        return;
    backward(n, xprintf("%s_backward(n, %d, %s, %s, step, %s);", g->spec->train.loss->code, g->spec->classes,
                        value_back(n, g->op[last].in), emit_target[g->spec->train.loss->target].name,
                        gradient(n, g->op[last].in)));
    for (int i = last - 1; i > 0; i--) {
        if (i == last - 1 || strcmp(g->op[i].layer, g->op[i + 1].layer) != 0)
            backward(n, xprintf("/* %s */", g->op[i].layer));
        if (n->p->op[i].learns)
            backward_op(n, i);
    }
}

/* ---- the ops and their sizes ---- */

/* The template of a kind's functions, "plain_bn"; NULL: it has none. */
static const char *template_of(OpKind kind)
{
    if (kind == OP_INPUT || kind == OP_FLATTEN || kind == OP_LOSS)
        return NULL;
    return op_is_image_norm(kind) ? "plain_gn" : xprintf("plain_%s", op_info[kind].name);
}

static bool has_kind(const PlainNet *n, OpKind kind)
{
    for (int i = 1; i < n->g->nop; i++)
        if (n->g->op[i].kind == kind)
            return true;
    return false;
}

static bool has_param(const PlainNet *n, ParamRole role)
{
    for (int i = 0; i < n->g->nparam; i++)
        if (n->g->param[i].role == role && op_is_block(n->g->op[n->g->param[i].op].kind))
            return true;
    return false;
}

static void add_template(const PlainNet *n, const char *template)
{
    rec_str(rec_add(n->rec, "ops"), "template", template);
}

/* A conv's functions have what the network's convs need, and no more. */
static void add_conv(const PlainNet *n)
{
    Rec *r = rec_add(n->rec, "ops");
    const bool groups = n->grouped, dilation = n->dilated;

    rec_str(r, "template", "plain_conv");
    rec_int(r, "groups", groups);
    rec_str(r, "c", groups ? "k->C / k->groups" : "k->C");
    rec_str(r, "at", groups ? "first + c" : "c");
    rec_fmt(r, "more", "%s%s", dilation ? ", dilation[2]" : "", groups ? ", groups" : "");
    rec_str(r, "row", dilation ? "i stride + u dilation - padding" : "i stride + u - padding");
    for (int d = 0; d < 2; d++)
        rec_fmt(r, d ? "s" : "r", "%s * k->stride[%d] + %s%s - k->padding[%d]", d ? "j" : "i", d, d ? "v" : "u",
                dilation ? xprintf(" * k->dilation[%d]", d) : "", d);
}

/* What differs in the functions of recurrent ops where some have norms inside their steps. */
static void cell_words(const PlainNet *n)
{
    static const char *const word[][3] = {
        {"kept_more", "", "; last of all what norms read"},
        {"sums_more", "", ", the norms in them; kept: what those read"},
        {"sums_used", "", ", and are changed"},
        {"sums_const", "const ", ""},
        {"kept_to", "", "float *kept, "},
        {"kept_from", "", "const float *kept, "},
        {"kept_arg", "", "kept[m][t][0], "},
        {"db", "g->b", "NULL"},
        {"dc", "g->hidden_b", "NULL"},
        {"dus", "", ", dus[k->H]"},
        {"dus_4", "", ", dus[4 * k->H]"},
        {"same", "dxs", "dus"},
        {"behind", "", ", behind[k->H]"},
        {"raw_h", "0", "k->hidden.groups ? k->hidden.at : 0"},
    };

    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        rec_str(n->rec, word[i][0], word[i][1 + n->cell_norms]);
    rec_int(n->rec, "reverse_cells", n->reverse_cells);
    rec_int(n->rec, "resets", n->resets);
    rec_str(n->rec, "at", n->reverse_cells ? "element(k, t)" : "t");
    for (OpKind k = 0; k < OP_KINDS; k++)
        if (op_is_recurrent(k))
            rec_str(n->rec, xprintf("rows_%s", op_info[k].name),
                    n->cell_norms ? "k->rows" : xprintf("%d", op_info[k].cell->kept));
}

/* Whether an average pool's windows divide by different numbers. */
static bool uneven_averages(const Graph *g)
{
    int from, to;

    for (int i = 1; i < g->nop; i++)
        if (g->op[i].kind == OP_AVGPOOL &&
            (graph_counted(g, &g->op[i], 0, &from, &to) || graph_counted(g, &g->op[i], 1, &from, &to)))
            return true;
    return false;
}

static void ops(const PlainNet *n)
{
    const char *last = "";
    bool cells = false;
    const bool uneven = uneven_averages(n->g);

    if (uneven)
        rec_int(n->rec, "uneven_averages", 1);
    rec_str(n->rec, "pool_more", uneven ? ", after[2], inside" : "");
    rec_str(n->rec, "pool_counted", uneven ? "avgpool_counted(k, 0, i) * avgpool_counted(k, 1, j)" : "k->K * k->L");
    rec_str(n->rec, "pool_divisor", uneven ? "how many elements count" : "(K L)");

    if (n->train && has_param(n, PARAM_BIAS)) {
        rec_int(n->rec, "bias", 1);
        add_template(n, "plain_bias");
    }
    if (has_kind(n, OP_DROP))
        rec_int(n->rec, "drops", 1);
    for (OpKind k = 0; k < OP_KINDS; k++) {
        const char *name = template_of(k);
        if (!name || !has_kind(n, k) || strcmp(name, last) == 0)
            continue;
        last = name;
        if (k == OP_MAXPOOL || (k == OP_AVGPOOL && !has_kind(n, OP_MAXPOOL)))
            add_template(n, "plain_pool");  /* what both are told */
        if (op_is_recurrent(k) && !cells) { /* what they share */
            cell_words(n);
            add_template(n, "plain_recurrent");
            rec_int(n->rec, "cells", 1);
            cells = true;
        }
        if (k == OP_CONV)
            add_conv(n);
        else
            add_template(n, last);
    }
    if (n->train) {
        add_template(n, xprintf("plain_%s", n->g->spec->train.loss->code));
        add_template(n, xprintf("plain_%s", n->g->spec->train.optimiser->name));
    }
}

static const char *pair(const char *name, const int v[2])
{
    return xprintf(", .%s = {%d, %d}", name, v[0], v[1]);
}

static const char *frame(const PlainNet *n, const Op *o, bool outputs)
{
    const Shape a = n->g->op[o->in].shape;

    return xprintf(".C = %d, .H = %d, .W = %d, %s.P = %d, .Q = %d", a.c, a.h, a.w,
                   outputs ? xprintf(".O = %d, ", o->shape.c) : "", o->shape.h, o->shape.w);
}

/* ", .rows = 10, .input = {1, 0, 6, 1e-05f}": the norms inside a recurrent op's steps. */
static const char *norm_sizes(const Op *o)
{
    int at = op_info[o->kind].cell->kept;
    Buf b = {0};

    buf_printf(&b, ", .rows = %d", op_cell_kept(o->kind, o->arg));
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *n = op_place(o->kind, o->arg, p);
        if (!n)
            continue;
        buf_printf(&b, ", .%s = {%d, %d, %d, %s}%s", place_info[p].name, n->each ? place_gates(o->kind, p) : 1,
                   !op_info[n->op].norm->centred, at, number(n->eps), n->carried ? ", .carried = 1" : "");
        at += place_gates(o->kind, p);
    }
    return b.text;
}

/* The constants of an op whose functions take a struct; NULL: they take none. */
static const char *size_of(const PlainNet *n, const Op *o, const char **kind)
{
    *kind = op_is_image_norm(o->kind)                        ? "gn"
            : o->kind == OP_MAXPOOL || o->kind == OP_AVGPOOL ? "pool"
            : op_is_recurrent(o->kind)                       ? "recurrent"
                                                             : op_info[o->kind].name;
    switch (o->kind) {
    case OP_CONV:
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        return xprintf("%s, .K = %d, .L = %d%s%s%s", frame(n, o, o->kind == OP_CONV), o->kernel[0], o->kernel[1],
                       pair("stride", o->stride), pair("padding", o->padding),
                       o->kind == OP_AVGPOOL && uneven_averages(n->g)
                           ? xprintf("%s%s", pair("after", o->after), o->counted ? "" : ", .inside = 1")
                           : "");
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        return xprintf(".C = %d, .L = %d, .H = %d, .gives = %s%s%s%s%s", n->g->op[o->in].shape.c,
                       n->g->op[o->in].shape.w, o->shape.c,
                       upper(op_info[o->kind].arg[ARG_RETURN].words[o->arg[ARG_RETURN].count]),
                       op_cell_is_relu(o->kind, o->arg) ? ", .relu = 1" : "", o->reverse ? ", .reverse = 1" : "",
                       op_resets_before(o->kind, o->arg) ? ", .before = 1" : "", n->cell_norms ? norm_sizes(o) : "");
    case OP_PAD:
        return xprintf("%s, .before = %d%s", frame(n, o, true), o->before, pair("stride", o->stride));
    case OP_BN:
        return xprintf(".C = %d, .A = %d, .eps = %s, .momentum = %s", o->shape.c, o->shape.h * o->shape.w,
                       short_double(o->eps), short_double(o->momentum));
    default:
        if (!op_is_image_norm(o->kind))
            return NULL;
        return xprintf(".C = %d, .A = %d, .groups = %d, %s.eps = %s", o->shape.c, o->shape.h * o->shape.w, o->groups,
                       op_info[o->kind].norm->centred ? "" : ".raw = 1, ", short_double(o->eps));
    }
}

/* "a, b", on lines that are not too long. */
static const char *add_name(const char *names, const char *name)
{
    const char *line = strrchr(names, '\n');

    return *names == '\0'
               ? name
               : xprintf("%s,%s%s", names, strlen(line ? line : names) + strlen(name) > 120 ? "\n        " : " ", name);
}

/* "conv1_conv, conv2_conv" are convs. */
static void size_kinds(const PlainNet *n)
{
    static const char *const all[] = {"conv", "recurrent", "bn", "gn", "pool", "pad"};

    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        const char *kind, *names = "";
        for (int i = 1; i < n->g->nop; i++)
            if (size_of(n, &n->g->op[i], &kind) && strcmp(kind, all[k]) == 0)
                names = add_name(names, n->p->op[i].name);
        if (!*names)
            continue;
        Rec *r = rec_add(n->rec, "size_kinds");
        rec_str(r, "kind", all[k]);
        rec_str(r, "names", names);
    }
}

static void op_sizes(const PlainNet *n)
{
    size_kinds(n);
    for (int i = 1; i < n->g->nop; i++) {
        const Op *o = &n->g->op[i];
        const char *kind, *values = size_of(n, o, &kind);
        if (!values)
            continue;
        if (o->kind == OP_CONV)
            values = xprintf("%s%s%s", values, n->dilated ? pair("dilation", o->dilation) : "",
                             n->grouped ? xprintf(", .groups = %d", o->groups) : "");
        Rec *r = rec_add(n->rec, "sizes");
        rec_str(r, "kind", kind);
        rec_str(r, "name", n->p->op[i].name);
        rec_str(r, "values", values);
    }
}

/* ---- tensors and parameters ---- */

static void values(const PlainNet *n)
{
    for (int i = 1; i < n->g->nop; i++) {
        const Op *o = &n->g->op[i];
        if (o->kind == OP_LOSS)
            continue;
        if (plain_stores(n->p, i)) {
            Rec *r = rec_add(n->rec, "values");
            rec_str(r, "name", n->p->op[i].name);
            rec_int(r, "floats", n->p->op[i].floats);
            rec_fmt(r, "doc", "%s: %s", op_info[o->kind].name, describe_shape(o->shape));
        }
        if (n->p->op[i].steps) {
            Rec *r = rec_add(n->rec, "values");
            rec_fmt(r, "name", "%s__steps", n->p->op[i].name);
            rec_int(r, "floats", n->p->op[i].steps);
            rec_fmt(r, "doc", "what each step of %s leaves", n->p->op[i].name);
        }
        Rec *t = rec_add(n->rec, "traces");
        rec_str(t, "path", o->path);
        rec_str(t, "value", value(n, i));
        rec_int(t, "mask", o->kind == OP_DROP);
        rec_int(t, "floats", n->p->op[i].floats);
        rec_str(t, "below", o->kind == OP_DROP ? below(o) : "0");
        rec_int(t, "c", o->shape.c);
        rec_int(t, "h", o->shape.h);
        rec_int(t, "w", o->shape.w);
    }
}

/* Where the parameter of that role of an op begins: "param + 144", or NULL where it has none. */
static const char *at(const PlainNet *n, int op, ParamRole role, const char *base)
{
    const int i = graph_param(n->g, op, role);

    return i < 0 ? "NULL" : expr("%s + %lld", base, (long long)n->p->param_at[i]);
}

/* The same of the norms inside a recurrent op's steps: ", {param + 144, param + 160}, {NULL, NULL}". */
static const char *norm_params(const PlainNet *n, int op)
{
    Buf b = {0};

    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const char *of[2];
        for (int i = 0; i < 2; i++) {
            const int q = graph_place_param(n->g, op, p, i ? PARAM_BETA : PARAM_GAMMA);
            of[i] = q < 0 ? "NULL" : expr("param + %lld", (long long)n->p->param_at[q]);
        }
        buf_printf(&b, ", {%s, %s}", of[0], of[1]);
    }
    return b.text;
}

static void params(const PlainNet *n)
{
    bool norms = false;

    for (int i = 1; i < n->g->nop; i++) {
        const OpKind kind = n->g->op[i].kind;
        if (op_info[kind].cls != CLASS_WEIGHT && !op_is_norm(kind))
            continue;
        Rec *r = rec_add(n->rec, "params");
        rec_str(r, "name", n->p->op[i].name);
        rec_str(r, "kind", op_is_norm(kind) ? "norm" : op_is_recurrent(kind) ? "gates" : "weights");
        norms |= op_is_batch_norm(kind);
        if (op_is_norm(kind))
            rec_fmt(r, "place", "%s, %s, %s, %s, %s", at(n, i, PARAM_GAMMA, "param"), at(n, i, PARAM_BETA, "param"),
                    at(n, i, PARAM_MEAN, "running"), at(n, i, PARAM_VAR, "running"), at(n, i, PARAM_COUNT, "batches"));
        else if (op_is_recurrent(kind))
            rec_fmt(r, "place", "%s, %s, %s, %s%s", at(n, i, PARAM_WEIGHT, "param"),
                    at(n, i, PARAM_HIDDEN_WEIGHT, "param"), at(n, i, PARAM_BIAS, "param"),
                    at(n, i, PARAM_HIDDEN_BIAS, "param"), n->cell_norms ? norm_params(n, i) : "");
        else
            rec_fmt(r, "place", "%s, %s", at(n, i, PARAM_WEIGHT, "param"), at(n, i, PARAM_BIAS, "param"));
    }
    rec_int(n->rec, "norms", norms);
    rec_str(n->rec, "place_norms", norms ? ", net->net.running, batches" : "");
    for (int i = 0; i < n->g->nparam; i++) {
        const Param *q = &n->g->param[i];
        int64_t block[4] = {1, 1, 1, 1}, outer[4] = {1, 1, 1, 1}, inner[4] = {0};
        for (int d = q->ndim - 2; d >= 0; d--)
            outer[d] = outer[d + 1] * q->dim[d + 1];
        emit_tensor(n->rec, q, n->train && n->g->op[q->op].frozen, block, outer, inner,
                    xprintf("%lld", (long long)n->p->param_at[i]));
    }
    emit_fixed(n->rec, n->g);
}

/* ---- sizes and costs ---- */

static int64_t lines64(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Along one axis, how many pairs of an output and a tap meet a pixel, no padding. */
static double pairs(const Op *o, int d, int in, int out)
{
    int met = 0;

    for (int i = 0; i < out; i++)
        for (int u = 0; u < o->kernel[d]; u++) {
            const int r = i * o->stride[d] + u * o->dilation[d] - o->padding[d];
            met += r >= 0 && r < in;
        }
    return met;
}

/* Multiply-adds of an image that a weight op's forward does. */
static double products(const PlainNet *n, int i)
{
    const Op *o = &n->g->op[i];
    const Shape in = n->g->op[o->in].shape;

    if (op_is_recurrent(o->kind))
        return (double)in.w * op_info[o->kind].cell->gates * o->shape.c * ((double)in.c + o->shape.c);
    if (o->kind == OP_LINEAR)
        return (double)features(n, o->in) * o->shape.c;
    if (o->kind == OP_EMBED)
        return 0; /* it looks up */
    return pairs(o, 0, in.h, o->shape.h) * pairs(o, 1, in.w, o->shape.w) * (in.c / o->groups) * o->shape.c;
}

/* Those of the way that has the fewest, were it emitted for speed. */
static double fewest_products(const PlainNet *n, int i, Pass pass)
{
    const double direct = products(n, i), other = (double)winograd_products_of(n->g, &n->g->op[i], pass);

    return other > 0 && other < direct ? other : direct;
}

/* Useful FLOPs are counted as the graph counts them, taps in the padding with them. Bytes of an image: each op reads
 * and writes its tensors once; of a step: parameters, which the update reads and writes with gradient and momentum. */
static void costs(const PlainNet *n)
{
    double forward = 0, backward = 4.0 * (double)n->p->value_floats, done = 0, useful_back = 0, done_back = 0;
    double fewest = 0, fewest_back = 0;
    const double param = 4.0 * (double)(n->p->param_floats + n->p->running_floats), useful = (double)n->g->flops;

    for (int i = 1; i < n->g->nop; i++) {
        const Op *o = &n->g->op[i];
        const double y = 4.0 * (double)n->p->op[i].floats;
        if (!plain_stores(n->p, i))
            continue;
        forward += y;
        backward += n->p->op[i].learns ? y : 0;
        for (int k = 0; k < o->nin; k++) {
            const PlainOp *x = &n->p->op[o->ins[k]];
            forward += 4.0 * (double)x->floats;
            backward += 4.0 * (double)x->floats * ((n->p->op[i].learns && op_need(o) != NEED_NOTHING) + 2 * x->learns);
        }
        if (op_info[o->kind].cls != CLASS_WEIGHT)
            continue;
        const double all = o->kind == OP_LINEAR || op_is_alone(o->kind)
                               ? products(n, i)
                               : (double)o->kernel[0] * o->kernel[1] * (n->g->op[o->in].shape.c / o->groups) *
                                     (double)n->p->op[i].floats;
        const int passes = op_learns(o) + n->p->op[o->in].learns; /* dw and dx, where they are wanted */
        done += 2 * products(n, i);
        done_back += 2 * passes * products(n, i);
        fewest += 2 * fewest_products(n, i, PASS_FORWARD);
        fewest_back += 2 * (op_learns(o) ? fewest_products(n, i, PASS_WEIGHTS) : 0);
        fewest_back += 2 * (n->p->op[o->in].learns ? fewest_products(n, i, PASS_DATA) : 0);
        useful_back += 2 * passes * all;
    }
    rec_fmt(n->rec, "forward_costs", "%.1f, %.1f, %.1f, %.1f, %.1f", useful, done, fewest, forward, param);
    rec_fmt(n->rec, "backward_costs", "%.1f, %.1f, %.1f, %.1f, %.1f", useful_back, done_back, fewest_back, backward,
            (6 + 2 * cvy_buffers(n->g->spec->train.optimiser)) * 4.0 * (double)n->p->param_floats);
    rec_fmt(n->rec, "infer_costs", "%.1f, %.1f, %.1f, %.1f, %.1f", useful, done, fewest, forward, param);
}

static void totals(const PlainNet *n)
{
    const Plain *p = n->p;
    const Graph *g = n->g;
    Rec *r = n->rec;
    const int64_t place = lines64(1024 + 256 * (int64_t)g->nop);
    const struct cvy_optimiser *optimiser = g->spec->train.optimiser;

    emit_spec_fields(r, g, target_find("portable"));
    rec_str(r, "of_input", "input");
    emit_identity(r, g);
    rec_str(r, "optimise", "3"); /* compilers then copy a function for the constants that it is called with */
    rec_int(r, "plain", 1);
    if (n->train)
        rec_int(r, "train", 1);
    rec_fmt(r, "totals",
            "%lld parameters, %lld FLOPs per image forward, %lld bytes per image stored for backward; for reading",
            (long long)g->weights, (long long)g->flops, (long long)plain_stored_bytes(p));
    rec_int(r, "struct_bytes", place);
    emit_arena(r, lines64(place + 8 * p->batches + 4 * (p->param_floats + p->running_floats + p->value_floats)),
               n->train ? lines64(4 * (p->param_floats + cvy_buffers(optimiser) * p->learning_floats)) : 0,
               n->train ? lines64(8 * p->value_floats) : 0, 0);
    Buf buffers = {0};
    for (int k = 0; k < cvy_buffers(optimiser); k++)
        buf_printf(&buffers, "%s%s", k ? ", " : "",
                   expr("net->net.state + %lld + t->at.offset", (long long)(k * p->learning_floats)));
    rec_str(r, "buffers", buffers.text);
    rec_int(r, "state_floats", cvy_buffers(optimiser) * p->learning_floats);
    rec_int(r, "learning_floats", p->learning_floats);
    rec_int(r, "frozen", p->learning_floats < p->param_floats);
    rec_int(r, "value_floats", p->value_floats);
    rec_int(r, "param_floats", p->param_floats);
    rec_int(r, "running_floats", p->running_floats);
    rec_int(r, "batches", p->batches);
    rec_int(r, "trace_floats", p->trace_floats ? p->trace_floats : 1);
    rec_int(r, "stored_bytes", plain_stored_bytes(p));
    rec_int(r, "flops", g->flops);
    rec_int(r, "min_batch", p->min_batch);
    rec_int(r, "input_floats", p->op[0].floats);
    rec_str(r, "logits", p->op[p->logits].name);
    rec_str(r, "first_tensor", g->nparam ? g->param[0].name : "");
}

/* ---- the folder ---- */

static void add_file(const PlainNet *n, OutDir *out, const char *name, const char *template)
{
    Buf b = {0};

    template_expand(template, "n", n->rec, &b);
    outdir_add(out, name, b.text, b.len);
}

void emit_plain(const Plain *p, Parts parts, OutDir *out)
{
    PlainNet net = {.p = p, .g = p->g, .train = parts & PART_TRAIN, .rec = rec_new()}, *n = &net;
    const char *name = p->g->spec->name;
    static const char *const file[][2] = {
        {"net", "plain_net"}, {"model", "plain_model"}, {"weights", "weights_file"}, {"trace", "plain_trace"}};
    const int nfile = n->train ? 4 : 3;

    for (int i = 1; i < p->g->nop; i++) {
        const Op *o = &p->g->op[i];
        n->grouped |= o->kind == OP_CONV && o->groups > 1;
        n->cell_norms |= op_has_places(o->kind, o->arg);
        n->reverse_cells |= o->reverse;
        n->resets |= op_resets_before(o->kind, o->arg);
        n->dilated |= o->kind == OP_CONV && (o->dilation[0] > 1 || o->dilation[1] > 1);
    }
    template_load();
    rec_int(n->rec, "cell_norms", n->cell_norms);
    totals(n);
    calls(n);
    const bool steps = forward_takes_step(n);
    rec_str(n->rec, "step_parameter", steps ? ", const struct cvy_step *step" : "");
    rec_str(n->rec, "step_argument", steps ? ", step" : "");
    rec_str(n->rec, "no_step", steps ? ", NULL" : "");
    rec_int(n->rec, "backward_reads_x", n->backward_reads_x);
    ops(n);
    op_sizes(n);
    values(n);
    params(n);
    costs(n);
    for (int i = 0; i < nfile; i++)
        emit_source(n->rec, "network", xprintf("%s_%s.c", name, file[i][0]));
    emit_runtime(n->rec, name, false, target_find("portable"), out);
    for (int i = 0; i < nfile; i++)
        add_file(n, out, xprintf("%s_%s.c", name, file[i][0]), file[i][1]);
    add_file(n, out, xprintf("%s.h", name), "header");
    add_file(n, out, xprintf("%s_layout.h", name), "plain_layout");
    add_file(n, out, xprintf("%s_bench.c", name), "plain_bench");
    add_file(n, out, "main.c", "main");
    add_file(n, out, "Makefile", "makefile");
    add_file(n, out, "meson.build", "meson");
    add_file(n, out, "CMakeLists.txt", "cmake");
}
