/* query.c - what several passes ask of a plan. */
#include "plan.h"

Norm *plan_norm(const Plan *p, int op)
{
    int low = 0, high = p->nnorm; /* they stand in the order of ops */

    while (low < high) {
        const int mid = (low + high) / 2;
        if (p->norm[mid].op < op)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == p->nnorm || p->norm[low].op != op)
        BUG("op %d is no norm", op);
    return &p->norm[low];
}

bool plan_shifted(const Place *p, int channels)
{
    return p->first % LANES != 0 || (channels % LANES != 0 && p->first + channels != p->total);
}

/* Enough for the cores that people have, few enough that their partial sums stay small. */
int plan_pieces(int batch)
{
    const int pieces = batch / 8 < 16 ? batch / 8 : 16;

    return pieces >= 4 ? pieces : batch < 4 ? batch : 4;
}

int blocks_of(int channels)
{
    return (channels + LANES - 1) / LANES;
}

int64_t blocked_floats(Shape s)
{
    return (int64_t)blocks_of(s.c) * LANES * s.h * s.w;
}

/* Three forms: of one group; of groups of whole blocks, in which a group's output blocks share an x; lanewise, in which
 * each output block has an x of its own: an image for each channel of a group. */
bool plan_lanewise(const Graph *g, const Op *o)
{
    return o->groups > 1 && (g->op[o->in].shape.c / o->groups % LANES != 0 || o->shape.c / o->groups % LANES != 0);
}

const Kernel *plan_kernel(const Kernel *list, int n, int op)
{
    int low = 0, high = n;

    while (low < high) {
        const int mid = (low + high) / 2;
        if (list[mid].op < op)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && list[low].op == op ? &list[low] : NULL;
}

bool kernel_is_apart(const Kernel *k)
{
    return k->kind == KERNEL_RECURRENT || k->kind == KERNEL_EMBED;
}

const Path *kernel_out(const Kernel *k)
{
    static const Path none = {.tensor = -1};

    return k->w ? &k->w->out : &none;
}

const Chain *kernel_chain(const Kernel *k, ChainOf which)
{
    static const Chain none;

    if (!k->w)
        return &none;
    return which == CHAIN_AFTER ? &k->w->after : which == CHAIN_AGAIN ? &k->w->again : &k->w->dout;
}

const Winograd *kernel_winograd(const Kernel *k, Pass pass)
{
    return k->conv && k->conv->winograd[pass].on ? &k->conv->winograd[pass] : NULL;
}

int kernel_vectors(const Kernel *k)
{
    const Winograd *w = kernel_winograd(k, PASS_FORWARD);

    return w ? w->vectors : k->w->forward.vectors;
}

int kernel_out_blocks(const Kernel *k)
{
    const Winograd *w = kernel_winograd(k, PASS_FORWARD);

    return w ? w->out_blocks : k->w->forward.out_blocks;
}

double kernel_direct_cycles(const Kernel *k, Pass pass)
{
    double cycles = 0;

    if (!k->conv || pass == PASS_FORWARD)
        return k->conv ? k->w->forward.cycles : 0;
    if (pass == PASS_WEIGHTS)
        return k->learns ? k->conv->weight.cycles : 0;
    for (int i = 0; i < k->conv->ndata; i++)
        cycles += k->conv->data[i].cycles;
    return cycles;
}

double kernel_winograd_cycles(const Kernel *k, Pass pass)
{
    return k->conv ? k->conv->winograd[pass].cycles : 0;
}

int kernel_input(const Kernel *k)
{
    return k->w ? k->w->x : k->loss ? k->loss->x : k->result;
}

const char *plan_alias(const Kernel *k, int op)
{
    int low = 0, high = k->nalias;

    while (low < high) {
        const int mid = (low + high) / 2;
        if (k->alias_by_op[mid]->op < op)
            low = mid + 1;
        else
            high = mid;
    }
    return low < k->nalias && k->alias_by_op[low]->op == op ? k->alias_by_op[low]->name : NULL;
}

static void path_sums(const Plan *p, const Path *w, NormSum **list, int *n)
{
    const Op *first = w->tensor >= 0 && w->n > w->grad ? &p->g->op[w->link[w->grad].op] : NULL;

    if (first && op_is_norm(first->kind) && !op_is_still(first) && first->output_grad)
        *PUSH(*list, *n) = (NormSum){w->link[w->grad].op, w->tensor, w->link[w->grad].first};
    for (int i = w->tensor < 0 ? 0 : w->grad; i < w->n; i++)
        for (int s = 0; s < w->link[i].nskip; s++)
            path_sums(p, &w->link[i].skip[s].path, list, n);
}

int plan_sums(const Plan *p, const Kernel *k, NormSum **list)
{
    int n = 0;

    *list = NULL;
    path_sums(p, kernel_out(k), list, &n);
    for (int i = 0; i < k->nin; i++)
        path_sums(p, &k->in[i], list, &n);
    return n;
}

const OpInfo *op_row(const Graph *g, int op)
{
    return &op_info[g->op[op].kind];
}

bool op_is_window(const Graph *g, int op)
{
    return op_row(g, op)->cls == CLASS_WINDOW;
}
