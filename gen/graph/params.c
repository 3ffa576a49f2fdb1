/* params.c - biases and parameters: which bias is needed, names, shapes, how they are drawn.
 *
 * needs: all ops with their shapes.  sets: Op.bias, .bias_why; Graph.param, .weights, .flops; or collected errors. */
#include "parts.h"
#include "places.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- biases ---------------------------------------------------------------------------------------------------- */

/* Whether an op passes a constant added to a channel on unchanged. */
static bool passes_shift(const Op *op)
{
    if (op->kind == OP_AVGPOOL && op->counted && !sides_zero(op->arg[ARG_PADDING].sides))
        return false; /* windows that hold padding take less of it */
    return op_info[op->kind].linear_shift_safe;
}

/* What becomes of a constant that is added to a channel of an op's output. */
typedef struct Fate {
    bool gone;   /* every path reaches a norm that takes it away */
    bool norm;   /* some path reaches such a norm before the next weights */
    int decided; /* the op that decided: the norm, or what does not pass it on; 0: none */
} Fate;

/* Whether it takes each channel's mean away. */
static bool takes_mean(const Op *op)
{
    const NormInfo *norm = op_info[op->kind].norm;
    return norm && norm->centred && (norm->over == OVER_BATCH || op->groups == op->shape.c);
}

/* What an op that reads the constant does with it. */
static Fate fate_at(const Graph *g, const Fate *fate, int i)
{
    const Op *op = &g->op[i];
    OpClass cls = op_info[op->kind].cls;
    Fate f = {.norm = cls != CLASS_WEIGHT && cls != CLASS_LOSS && fate[i].norm, .decided = i};
    if (takes_mean(op))
        return (Fate){true, true, i};
    if (op->kind == OP_LOSS || !passes_shift(op))
        return f;
    return fate[i];
}

/* The fates of all ops' outputs, from the last to the first: each follows from those of its readers. */
static Fate *fates(const Graph *g)
{
    Fate *fate = xalloc((size_t)g->nop * sizeof *fate);
    bool *read = xalloc((size_t)g->nop * sizeof *read);
    for (int i = g->nop - 1; i > 0; i--) {
        Fate f = fate_at(g, fate, i);
        for (int k = 0; k < g->op[i].nin; k++) {
            Fate *in = &fate[g->op[i].ins[k]];
            bool first = !read[g->op[i].ins[k]], was = in->gone;
            read[g->op[i].ins[k]] = true;
            in->norm = in->norm || f.norm;
            in->gone = (first || was) && f.gone;
            if (first || was || !f.gone) /* of several, the nearest that decides */
                in->decided = f.decided;
        }
    }
    return fate;
}

static const char *fate_text(const Graph *g, Fate f)
{
    const Op *op = &g->op[f.decided];
    if (f.gone)
        return xprintf("dropped: %s subtracts the mean, and the bias with it", op->path);
    if (op_is_image_norm(op->kind))
        return xprintf(op_info[op->kind].norm->centred ? "kept: %s subtracts the mean of several channels"
                                                       : "kept: %s subtracts no mean",
                       op->path);
    if (!f.norm)
        return "kept: no bn follows before the next weights";
    return op->kind == OP_LOSS ? "kept: no bn follows" : xprintf("kept: %s stands before the next bn", op->path);
}

void graph_decide_biases(Graph *g)
{
    const Fate *fate = fates(g);
    for (int i = 0; i < g->nop; i++) {
        Op *op = &g->op[i];
        if (!op_has_param(op->kind, PARAM_BIAS))
            continue;
        if (op_is_recurrent(op->kind)) { /* it stands inside each step, where no norm takes it away */
            op->bias = op->arg[ARG_CELL_BIAS].count;
            continue;
        }
        Bias b = g->spec->layer[op->layer_index].bias;
        op->bias = b == BIAS_TRUE;
        if (b == BIAS_AUTO) {
            op->bias = !fate[i].gone;
            op->bias_why = fate_text(g, fate[i]);
        }
    }
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static Param *add_param(Graph *g, int i, const char *name, ParamRole role, int ndim, int c)
{
    Param *p = PUSH(g->param, g->nparam);
    *p = (Param){.name = xprintf("%s.%s", g->op[i].path, name), .role = role, .op = i, .ndim = ndim, .dim = {c}};
    p->draw = DRAW_CONST;
    return p;
}

/* Whether its gamma begins with 0: in a layer that says so, the last norm's does. */
static bool begins_with_zero(const Graph *g, int i)
{
    bool zero = g->spec->layer[g->op[i].layer_index].zero_gamma;
    for (int j = i + 1; zero && g->op[j].layer_index == g->op[i].layer_index; j++)
        zero = !op_is_norm(g->op[j].kind);
    return zero;
}

/* How weights begin. fan_in: inputs of one output; fan_out: outputs that one input reaches. The formulas are those of
 * torch.nn.init: Kaiming with gain sqrt(2 / (1 + slope^2)), He et al. 2015; Xavier, Glorot and Bengio 2010; "pytorch"
 * is what its layers do by themselves, kaiming_uniform(a = sqrt(5)), which is U(-1/sqrt(fan_in), 1/sqrt(fan_in)),
 * biases alike. */
static void draw_weights(Param *p, InitRule init, double fan_in, double fan_out)
{
    bool bias = p->role == PARAM_BIAS;
    const double gain2 = 2 / (1 + init.slope * init.slope);
    if (bias && init.kind != INIT_PYTORCH)
        return; /* zero */
    switch (init.kind) {
    case INIT_PYTORCH:
        p->draw = DRAW_UNIFORM;
        p->draw_value = 1 / sqrt(fan_in);
        break;
    case INIT_KAIMING_NORMAL:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(gain2 / fan_in);
        break;
    case INIT_KAIMING_UNIFORM:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(3 * gain2 / fan_in);
        break;
    case INIT_KAIMING_NORMAL_FAN_OUT:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(gain2 / fan_out);
        break;
    case INIT_KAIMING_UNIFORM_FAN_OUT:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(3 * gain2 / fan_out);
        break;
    case INIT_XAVIER_NORMAL:
        p->draw = DRAW_NORMAL;
        p->draw_value = sqrt(2 / (fan_in + fan_out));
        break;
    case INIT_XAVIER_UNIFORM:
        p->draw = DRAW_UNIFORM;
        p->draw_value = sqrt(6 / (fan_in + fan_out));
        break;
    }
}

/* Counts a weight op's work, and refuses more weights than an index holds. */
static bool count_weight_op(Graph *g, int i)
{
    const Op *op = &g->op[i];
    const CellInfo *cell = op_info[op->kind].cell;
    /* a cell's outputs are its gates, and it reads its own last step beside its input, at each step */
    int in = g->op[op->in].shape.c / op->groups + (cell ? op->shape.c : 0),
        out = op->shape.c * (cell ? cell->gates : 1);
    const int64_t outputs = cell                   ? g->op[op->in].shape.w
                            : op->kind == OP_EMBED ? 0 /* it looks up, and multiplies nothing */
                                                   : (int64_t)op->shape.h * op->shape.w;
    if (op->kind == OP_EMBED)
        in = g->spec->tokens;
    int64_t taps = op->kind == OP_CONV ? (int64_t)op->kernel[0] * op->kernel[1] : 1, n, work;
    if (!mul_fits(in, taps, &n) || !mul_fits(n, out, &n) || n > INT32_MAX || g->weights + n > INT32_MAX) {
        diag_error(op->mark, NULL, "%s: with its weights, %d x %d x %lld, the network has more than 2^31 - 1", op->path,
                   out, in, (long long)taps);
        return false;
    }
    if (!mul_fits(n, 2 * outputs, &work) || __builtin_add_overflow(g->flops, work, &g->flops)) {
        diag_error(op->mark, NULL, "%s: the network's operations do not fit 63 bits", op->path);
        return false;
    }
    return true;
}

/* Both directions of a layer have their parameters under its name: "lstm1.weight_ih_l0", "lstm1.weight_ih_l0_reverse".
 */
static const char *cell_name(const Op *op, const char *name, const char *part)
{
    return xprintf("%s.%s%s%s", op->layer, name, op->reverse ? "_reverse" : "", part);
}

/* A recurrent op's parameter: rows of each gate one after the other, and drawn as PyTorch's are, whatever `init` says.
 */
static void add_cell_slot(Graph *g, int i, const ParamSlot *slot)
{
    const Op *op = &g->op[i];
    const bool bias = slot->role == PARAM_BIAS || slot->role == PARAM_HIDDEN_BIAS;
    if (bias && !op->bias)
        return;
    const int rows = op_info[op->kind].cell->gates * op->shape.c;
    const int columns = bias ? 1 : slot->role == PARAM_WEIGHT ? g->op[op->in].shape.c : op->shape.c;
    Param *p = add_param(g, i, slot->name, slot->role, bias ? 1 : 2, rows);
    p->name = cell_name(op, slot->name, "");
    p->dim[1] = bias ? 0 : columns;
    p->draw = DRAW_UNIFORM;
    p->draw_value = 1 / sqrt(op->shape.c);
    if (bias && op_has_forget_bias(op->kind, op->arg)) { /* the two are added up: one of them is zero */
        const char *gates = op_info[op->kind].cell->gate;
        p->fixed_from = (int)(strchr(gates, 'f') - gates) * op->shape.c;
        p->fixed_to = p->fixed_from + op->shape.c;
        p->fixed = slot->role == PARAM_BIAS ? op->arg[ARG_FORGET].real : 0;
    }
    g->weights += (int64_t)rows * columns;
}

/* The parameters of the norms inside a recurrent op's steps. */
static void add_places(Graph *g, int i)
{
    const Op *op = &g->op[i];
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *n = op_place(op->kind, op->arg, p);
        const int channels = place_gates(op->kind, p) * op->shape.c,
                  rows = place_table_rows(n, g->spec->whole ? g->spec->whole : g->op[op->in].shape.w);
        for (const ParamSlot *slot = n ? op_info[n->op].param : NULL; slot && slot->name; slot++) {
            if (!place_has(n, slot->role))
                continue;
            const bool count = slot->role == PARAM_COUNT;
            Param *q = add_param(g, i, slot->name, slot->role, !count, count ? 0 : channels);
            q->name = cell_name(op, place_info[p].param, xprintf(".%s", slot->name));
            q->place = p;
            q->draw_value = slot->role == PARAM_GAMMA ? n->gamma : slot->role == PARAM_VAR;
            if (rows && (slot->role == PARAM_MEAN || slot->role == PARAM_VAR)) { /* of each step */
                q->ndim = 2;
                q->dim[0] = rows;
                q->dim[1] = channels;
            }
            g->weights += slot->role <= PARAM_BETA ? channels : 0;
        }
    }
}

/* A row for each token, drawn as PyTorch's are, whatever `init` says. */
static void add_table(Graph *g, int i, const ParamSlot *slot)
{
    const int tokens = g->spec->tokens, columns = g->op[i].shape.c;
    Param *p = add_param(g, i, slot->name, slot->role, 2, tokens);
    p->dim[1] = columns;
    p->draw = DRAW_NORMAL;
    p->draw_value = 1;
    g->weights += (int64_t)tokens * columns;
}

/* One parameter of an op, by its role: its shape, and how it begins. */
static void add_slot(Graph *g, int i, const ParamSlot *slot)
{
    const Op *op = &g->op[i];
    const bool conv = op->kind == OP_CONV;
    const int in = op->nin ? g->op[op->in].shape.c / op->groups : 0;
    const double taps = conv ? (double)op->kernel[0] * op->kernel[1] : 1;
    const InitRule init = conv ? g->spec->init_conv : g->spec->init_linear;
    Param *p;
    switch (slot->role) {
    case PARAM_WEIGHT:
        p = add_param(g, i, slot->name, slot->role, conv ? 2 + g->dims : 2, op->shape.c);
        p->dim[1] = in;
        for (int d = 0; conv && d < g->dims; d++)
            p->dim[2 + d] = op->kernel[2 - g->dims + d];
        draw_weights(p, init, in * taps, op->shape.c * taps);
        g->weights += (int64_t)op->shape.c * in * (int64_t)taps;
        return;
    case PARAM_BIAS:
        if (!op->bias)
            return;
        draw_weights(add_param(g, i, slot->name, slot->role, 1, op->shape.c), init, in * taps, op->shape.c * taps);
        g->weights += op->shape.c;
        return;
    case PARAM_HIDDEN_WEIGHT:
    case PARAM_HIDDEN_BIAS:
        BUG("%s is no recurrent op", op->path);
    case PARAM_GAMMA:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c)->draw_value = !begins_with_zero(g, i);
        g->weights += op->shape.c;
        return;
    case PARAM_BETA:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c);
        g->weights += op->shape.c;
        return;
    case PARAM_MEAN:
    case PARAM_VAR:
        add_param(g, i, slot->name, slot->role, 1, op->shape.c)->draw_value = slot->role == PARAM_VAR;
        return;
    case PARAM_COUNT:
        add_param(g, i, slot->name, slot->role, 0, 0);
        return;
    }
}

bool graph_add_params(Graph *g)
{
    for (int i = 0; i < g->nop; i++) {
        if (op_info[g->op[i].kind].cls == CLASS_WEIGHT && !count_weight_op(g, i))
            return false;
        for (const ParamSlot *slot = op_info[g->op[i].kind].param; slot && slot->name; slot++)
            (op_is_recurrent(g->op[i].kind) ? add_cell_slot
             : g->op[i].kind == OP_EMBED    ? add_table
                                            : add_slot)(g, i, slot);
        if (op_has_places(g->op[i].kind, g->op[i].arg))
            add_places(g, i);
    }
    return true;
}

int graph_place_param(const Graph *g, int op, CellPlace place, ParamRole role)
{
    int low = 0, high = g->nparam; /* the first of the op's: parameters stand in the order of ops */

    while (low < high) {
        const int mid = (low + high) / 2;
        if (g->param[mid].op < op)
            low = mid + 1;
        else
            high = mid;
    }
    for (int i = low; i < g->nparam && g->param[i].op == op; i++)
        if (g->param[i].role == role && g->param[i].place == place)
            return i;
    return -1;
}

int graph_param(const Graph *g, int op, ParamRole role)
{
    return graph_place_param(g, op, PLACE_NONE, role);
}
