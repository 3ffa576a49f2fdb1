/* grad.c - what the backward pass needs of the graph.
 *
 * needs: a Graph.  sets: input_grad of every op: whether the gradient of its input is wanted, because something before
 * it has parameters. What an op's backward reads of its forward stands in its row of the op table (op.c). */
#include "graph.h"

void grad_build(Graph *g)
{
    bool *learns = xalloc((size_t)g->nop * sizeof *learns); /* the op, or one before it, has parameters */
    for (int i = 0; i < g->nop; i++) {
        Op *op = &g->op[i];
        for (int k = 0; k < op->nin; k++)
            op->input_grad |= learns[op->ins[k]];
        learns[i] = op->input_grad || op_info[op->kind].cls == CLASS_WEIGHT || op_is_norm(op->kind);
    }
}

static int64_t elements(const Op *op)
{
    return (int64_t)op->shape.c * op->shape.h * op->shape.w;
}

int64_t grad_autograd(const Graph *g, int64_t *by_op)
{
    bool *kept = xalloc((size_t)g->nop * sizeof *kept);
    int64_t *own = by_op ? by_op : xalloc((size_t)g->nop * sizeof *own), bytes = 0;

    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        const Need need = op_info[op->kind].need;
        own[i] = op->kind == OP_DROP ? elements(op) : need == NEED_ROUTE ? 8 * elements(op) : 0;
        if (op->kind == OP_LOSS)
            continue;
        if ((need == NEED_INPUT || need == NEED_ROUTE) && op->in > 0)
            kept[op->in] = true;
        if (need == NEED_OUTPUT || need == NEED_SIGN)
            kept[i] = true;
    }
    for (int i = 0; i < g->nop; i++) {
        own[i] += kept[i] && i > 0 && i < g->nop - 1 ? 4 * elements(&g->op[i]) : 0;
        bytes += own[i];
    }
    return bytes;
}
