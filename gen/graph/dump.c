/* dump.c - a graph's checker and its dump.
 *
 * needs: a complete graph.  sets: nothing; the checker aborts where the graph contradicts itself. */
#include "parts.h"

#include <string.h>

void graph_check(const Graph *g)
{
    if (g->nop < 3 || g->op[0].kind != OP_INPUT || g->op[g->nop - 1].kind != OP_LOSS)
        BUG("graph: %d ops, from input to loss", g->nop);
    bool *read = xalloc((size_t)g->nop * sizeof *read);
    for (int i = 0, segment = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (op->segment && (op->segment < segment || (op->segment == segment && g->op[i - 1].segment != segment)))
            BUG("graph: segment %d at %s", op->segment, op->path);
        segment = op->segment ? op->segment : segment;
        bool join = op_info[op->kind].cls == CLASS_JOIN;
        if (op->in >= i || op->in < (i ? 0 : -1) || !op->path || !op->layer)
            BUG("graph: op %d reads op %d", i, op->in);
        if ((join ? op->nin < 2 : op->nin != (i > 0)) || (op->nin && op->ins[0] != op->in))
            BUG("graph: %s reads %d ops", op->path, op->nin);
        for (int k = 0; k < op->nin; k++) {
            if (op->ins[k] < 0 || op->ins[k] >= i)
                BUG("graph: %s reads op %d", op->path, op->ins[k]);
            read[op->ins[k]] = true;
            if (op->kind == OP_ADD && !graph_same_shape(op->shape, g->op[op->ins[k]].shape))
                BUG("graph: %s adds another shape", op->path);
        }
        if (op->shape.c < 1 || op->shape.h < 1 || op->shape.w < 1)
            BUG("graph: %s has shape %s", op->path, graph_shape_text(op->shape));
        if (i && (op->kind == OP_INPUT || (op->kind == OP_LOSS) != (i == g->nop - 1)))
            BUG("graph: %s stands at %d", op->path, i);
        if ((op_info[op->kind].cls == CLASS_POINT || op_is_norm(op->kind)) &&
            memcmp(&op->shape, &g->op[op->in].shape, sizeof op->shape) != 0)
            BUG("graph: %s changes its shape", op->path);
        if (i && op->kind != OP_LOSS && (op->layer_index < 0 || op->layer_index >= g->spec->nlayer))
            BUG("graph: %s is of layer %d", op->path, op->layer_index);
    }
    for (int i = 0; i < g->nop - 1; i++)
        if (!read[i])
            BUG("graph: nothing reads %s", g->op[i].path);
    int last = 0;
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        if (p->op < last || p->op >= g->nop || p->ndim > 4)
            BUG("graph: %s belongs to op %d", p->name, p->op);
        for (int d = 0; d < p->ndim; d++)
            if (p->dim[d] < 1)
                BUG("graph: dimension %d of %s is %d", d, p->name, p->dim[d]);
        last = p->op;
    }
}

/* "3,7" */
static const char *ins_text(const Op *op)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, k ? ",%d" : "%d", op->ins[k]);
    return b.text;
}

void graph_dump(const Graph *g, FILE *to)
{
    static const char *const draws[] = {"const", "normal", "uniform"};
    fprintf(to, "graph %s: %d ops, %lld weights, %lld flops per image\n", g->spec->name, g->nop, (long long)g->weights,
            (long long)g->flops);
    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        fprintf(to, "%3d  %-20s", i, op->path);
        fprintf(to, op->nin ? " <- %-3s" : "       ", ins_text(op));
        fprintf(to, " %-14s %s", graph_shape_text(op->shape), op_info[op->kind].name);
        if (op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL)
            fprintf(to, " kernel %dx%d stride %dx%d padding %s", op->kernel[0], op->kernel[1], op->stride[0],
                    op->stride[1], sides_whole(op->arg[ARG_PADDING].sides));
        for (int a = 0; a < OP_ARGS; a++)
            if (op_info[op->kind].arg[a].word && op->arg[a].count != (int)op_info[op->kind].arg[a].usual)
                fprintf(to, " %s", op_info[op->kind].arg[a].word);
        if (op->kind == OP_CONV && (op->dilation[0] > 1 || op->dilation[1] > 1))
            fprintf(to, " dilation %dx%d", op->dilation[0], op->dilation[1]);
        if (op->groups > 1)
            fprintf(to, " groups %d", op->groups);
        if (op->kind == OP_PAD)
            fprintf(to, " stride %dx%d before %d", op->stride[0], op->stride[1], op->before);
        if (op_has_param(op->kind, PARAM_BIAS))
            fprintf(to, " bias %s%s%s%s", op->bias ? "yes" : "no", op->bias_why ? " (" : "",
                    op->bias_why ? op->bias_why : "", op->bias_why ? ")" : "");
        if (op_info[op->kind].cls == CLASS_POINT)
            for (int k = 0; k < op_may_args(op->kind); k++) {
                const int at = op_arg_at(op->kind, k);
                fprintf(to, " %s%s%.9g", k ? op_info[op->kind].arg[at].name : "", k ? " " : "", op->arg[at].real);
            }
        if (op_is_norm(op->kind))
            fprintf(to, " eps %.9g", op->eps);
        if (op_is_batch_norm(op->kind))
            fprintf(to, " momentum %.9g", op->momentum);
        if (op->reverse)
            fprintf(to, " reverse");
        if (op->segment)
            fprintf(to, "  segment %d", op->segment);
        if (op->input_grad)
            fprintf(to, "  input_grad");
        if (op->frozen)
            fprintf(to, "  frozen");
        fprintf(to, "\n");
    }
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        fprintf(to, "param %-36s [", p->name);
        for (int d = 0; d < p->ndim; d++)
            fprintf(to, "%s%d", d ? ", " : "", p->dim[d]);
        fprintf(to, "] %s %.9g\n", draws[p->draw], p->draw_value);
        if (p->fixed_to)
            fprintf(to, "fixed %-36s rows %d to %d begin with %.9g\n", p->name, p->fixed_from, p->fixed_to - 1,
                    p->fixed);
    }
}
