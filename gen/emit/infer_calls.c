/* infer_calls.c - the calls of inference, in order, and the places in a thread's part that they are given.
 *
 * needs: a complete plan. sets: records for NAME_net.c; the same for exported networks. */
#include "net.h"

#include "expr.h"

/* A tensor's place in a thread's part, under its maker's name: which of the maker's stages is its last may change. */
static const char *infer_slot(const Net *n, int tensor)
{
    return xprintf("%s_%s_INFER", n->NAME, upper(n->p->infer[n->p->infer_tensor[tensor].maker].name));
}

/* An image norm's statistics of the image at hand. */
static const char *infer_stats(const Net *n, int op)
{
    return xprintf("%s_%s_INFER_STATS", n->NAME, upper(n->g->op[op].path));
}

static const char *infer_scratch(const Net *n, const Kernel *k)
{
    return xprintf("%s_%s_INFER_SCRATCH", n->NAME, upper(k->name));
}

/* "x + ..., s + SMALL_CONV1_ACT_INFER, s + SMALL_CONV2_ACT_INFER, s + SMALL_CONV2_INFER_SCRATCH" */
const char *emit_infer_call(const Plan *p, const Kernel *k, InferArgs args)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)}, *n = &net;
    const Shape in = p->g->op[0].shape;
    Buf b = {0};

    if (emit_infer_folded(p, k))
        buf_printf(&b, ", %s", args.folded);
    for (int i = 0; i < k->nport; i++)
        if (k->port[i].tensor == 0)
            buf_printf(&b, ", %s",
                       expr("%s + (ptrdiff_t)%s * %lld", args.x, args.image, (long long)in.c * in.h * in.w));
        else if (k->port[i].tensor != k->tensor)
            buf_printf(&b, ", %s + %s", args.scratch, infer_slot(n, k->port[i].tensor));
    for (int i = 0; i < k->nalias; i++)
        if (op_is_image_norm(p->g->op[k->alias[i].op].kind))
            buf_printf(&b, ", %s + %s", args.scratch, infer_stats(n, k->alias[i].op));
    if (k->tensor)
        buf_printf(&b, ", %s + %s", args.scratch, infer_slot(n, k->tensor));
    if (p->stream && k->recurrent)
        buf_printf(&b, ", state + %lld", (long long)args.state);
    if (k->scratch)
        buf_printf(&b, ", %s + %s", args.own ? args.own : args.scratch, infer_scratch(n, k));
    if (emit_infer_lengths(p, k))
        buf_printf(&b, ", %s", args.length);
    if (k->split)
        buf_puts(&b, args.own ? ", part, parts" : ", 0, 1");
    return xprintf("%s_infer(%s)", kernel_struct(p, k), b.text + 2);
}

/* A kernel's line in NAME_image: what is not split is the first thread's, and all wait for it. */
void emit_infer_line(const Plan *p, int kernel, const char *folded, Rec *line)
{
    const Kernel *k = &p->infer[kernel];
    const InferArgs args = {.folded = folded, .x = "x", .image = "0", .scratch = "s", .length = "NULL", .own = "own"};

    rec_str(line, "line", emit_infer_call(p, k, args));
    rec_int(line, "alone", k->split == SPLIT_NONE);
    rec_int(line, "meets", k->split || (kernel + 1 < p->ninfer && k[1].split));
}

void emit_infer_places(const Plan *p, Rec *rec, const char *list)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)}, *n = &net;

    for (int i = 1; i < p->ninfer_tensor; i++)
        net_offset(rec, list, infer_slot(n, i), p->infer_tensor[i].slot, NULL);
    for (int i = 0; i < p->nnorm; i++)
        if (op_is_image_norm(p->g->op[p->norm[i].op].kind))
            net_offset(rec, list, infer_stats(n, p->norm[i].op), p->norm[i].infer_slot, NULL);
    for (int i = 0; i < p->ninfer; i++)
        if (p->infer[i].scratch)
            net_offset(rec, list, infer_scratch(n, &p->infer[i]), p->infer[i].scratch_at, NULL);
}

const char *emit_infer_result(const Plan *p)
{
    const Net net = {.p = p, .g = p->g, .NAME = upper(p->g->spec->name)};

    return xprintf("s + %s", infer_slot(&net, p->logits));
}
