/* grad.c - what the backward pass needs of the graph.
 *
 * needs: a Graph.  sets: input_grad of every op: whether the gradient of its input is wanted, because something before
 * it has parameters. What an op's backward reads of its forward stands in its row of the op table (op.c). */
#include "convoy.h"

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
