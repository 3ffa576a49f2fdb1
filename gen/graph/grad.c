/* grad.c - what the backward pass needs of the graph.
 *
 * needs: a Graph.  sets: input_grad and output_grad of every op: whether the gradient of its input is wanted, because
 * something before it learns; that of its output, because it learns itself, too. What an op's backward reads of its
 * forward stands in its row of the op table (op.c). */
#include "graph.h"
#include "places.h"

bool op_learns(const Op *op)
{
    return op_info[op->kind].param && !op->frozen;
}

bool op_is_still(const Op *op)
{
    return op->frozen && op_is_batch_norm(op->kind);
}

Need op_need(const Op *op)
{
    const bool through = op->input_grad && !op_is_still(op) && op_info[op->kind].cls != CLASS_WEIGHT;

    return op_learns(op) || through ? op_info[op->kind].need : NEED_NOTHING;
}

bool grad_build(Graph *g)
{
    bool any = false, frozen = false;

    for (int i = 0; i < g->nop; i++) {
        Op *op = &g->op[i];
        for (int k = 0; k < op->nin; k++)
            op->input_grad |= g->op[op->ins[k]].output_grad;
        op->output_grad = op->input_grad || op_learns(op);
        any |= op_learns(op);
        frozen |= op->frozen;
    }
    if (frozen && !any)
        diag_error(g->spec->train.freeze_mark, "leave a layer out of it",
                   "train.freeze: every layer with weights is frozen, and nothing is left to train");
    return any || !frozen;
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
        const Need need = op_need(op);
        const bool cell = op_is_recurrent(op->kind) && op->output_grad;
        own[i] = cell ? 4 * (int64_t)op_cell_kept(op->kind, op->arg) * op->arg[ARG_HIDDEN].count * g->op[op->in].shape.w
                 : op->kind == OP_DROP && op->input_grad ? elements(op)
                 : need == NEED_ROUTE                    ? 8 * elements(op)
                                                         : 0;
        if (op->kind == OP_LOSS)
            continue;
        if ((need == NEED_INPUT || need == NEED_ROUTE) && op->in > 0)
            kept[op->in] = true;
        if (need == NEED_OUTPUT || need == NEED_SIGN)
            kept[i] = true;
    }
    for (int i = 0; i < g->nop; i++) {
        if (op_is_recurrent(g->op[i].kind) && g->op[i].arg[ARG_RETURN].count == RETURN_ALL && own[i])
            kept[i] = false; /* it is the h of all steps, which is counted */
        own[i] += kept[i] && i > 0 && i < g->nop - 1 ? 4 * elements(&g->op[i]) : 0;
        bytes += own[i];
    }
    return bytes;
}
