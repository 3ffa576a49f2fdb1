/* kernel.c - a kernel's file: the functions that call its passes over pixels and its core in order.
 *
 * needs: a complete plan. sets: the text of NAME_<layer>.c. */
#include "layer.h"

#include <string.h>

static Rec *piece_function(const File *f, const char *name, const bool *used, bool backward)
{
    Rec *fn = line_function(f, "functions", "piece", xprintf("%s_%s", f->k->name, name));

    rec_int(fn, "pieces", f->p->pieces);
    if (used)
        images_declare(f->k, fn, f->k->image, f->k->nimage, used, backward);
    return fn;
}

/* ---- conv ---- */

static void conv_forward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = images_none(k);

    images_mark_before(used, k);
    images_mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    images_mark(used, k->conv->xg);
    images_mark_work(used, k);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    norms_begin_stats(f, fn);
    calls_before(f, fn);
    const char *x = calls_gather_x(f, fn);
    calls_forward(f, fn, &k->w->after.pass[0], k->image, x, "k->w", "k->copy", calls_bias(f), true);
    calls_chain(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 1);
    norms_end_image(f, fn);
    norms_move_stats(f, fn);

    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text",
            "forward: what is read, through the stages before the core; the core; the stages after it");
    calls_copy_weights(f, kernel, "body", PASS_FORWARD);
    line_over_pieces(f, kernel, fn);
    norms_forward(f, kernel);
    *f->forward = fn;
}

static void update_lines(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;

    if (!k->learns)
        return;
    if (k->recurrent) {
        recurrent_update(f, kernel);
        return;
    }
    const int blocks = blocks_of(f->p->g->op[k->op].shape.c);
    const char *name = upper(f->p->g->spec->name);

    Rec *s = line_add(kernel, "body", "update_weights");
    rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->w->wparam].name));
    rec_int(s, "floats", k->w->w_floats);
    rec_int(s, "blocks", blocks);
    rec_int(s, "block", k->w->w_floats / blocks);
    rec_int(s, "pieces", k->conv ? f->p->pieces : 1); /* a product's is whole */
    if (k->w->bparam >= 0) {
        s = line_add(kernel, "body", "update_bias");
        rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->w->bparam].name));
        rec_int(s, "padded", (int64_t)blocks * LANES);
        rec_int(s, "pieces", f->p->pieces);
    }
}

static void begin_weights(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    if (!k->learns)
        return;
    if (k->conv)
        rec_int(line_add(fn, "begin", "begin_piece_weights"), "floats", k->w->w_floats);
    if (k->w->bparam >= 0 && !kernel_is_apart(k))
        rec_int(line_add(fn, "begin", "begin_piece_bias"), "padded",
                (int64_t)blocks_of(f->p->g->op[k->op].shape.c) * LANES);
}

static void backward_docs(const File *f, Rec *kernel)
{
    rec_fmt(rec_add(kernel, "docs"), "text", "backward: dz, through the stages after the core; %s%s%s",
            f->k->learns ? "dw; " : "", f->k->back_data ? "dx, through the stages before it" : "dx is not needed",
            f->k->learns ? "; update" : "; the weights are frozen");
}

/* What windows on the paths read, once more. */
static void call_windows(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++) {
        const Chain *c = &f->k->before[i];
        const Chain but_last = {c->pass, c->n - 1}; /* its result is stored already, or packed elsewhere */
        calls_chain(f, fn, &but_last, f->k->image, 0);
    }
}

static void mark_windows(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++) {
        const Chain but_last = {k->before[i].pass, k->before[i].n - 1};
        images_mark_chain(used, &but_last);
    }
}

/* The gradient of a conv's weights, of what is packed once more. */
static void call_weights(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    calls_before(f, fn);
    const char *x = calls_gather_x(f, fn);
    const char *next =
        kernel_winograd(k, PASS_WEIGHTS) ? calls_next(f, fn, PASS_WEIGHTS, k->conv->weight.images) : NULL;
    Rec *s = line_add(fn, "body", "call_weights");
    rec_str(s, "core", calls_core_name(k, "weights"));
    rec_str(s, "x", x);
    rec_str(s, "dz", k->image[k->w->dz].name);
    rec_str(s, "work", next ? xprintf(", work, %s", next) : "");
    if (k->conv->weight.images > 1) {
        rec_int(s, "group", k->conv->weight.images);
        rec_fmt(s, "x_group", "%s_group", k->image[k->w->x].name);
        rec_fmt(s, "dz_group", "%s_group", k->image[k->w->dz].name);
    }
}

static void conv_backward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = images_none(k);

    if (k->learns)
        images_mark_before(used, k);
    else
        mark_windows(used, k);
    images_mark_chain(used, kernel_chain(k, CHAIN_AGAIN));
    images_mark_chain(used, kernel_chain(k, CHAIN_DOUT));
    images_mark_din(used, k);
    images_mark(used, k->learns ? k->conv->xg : -1);
    images_mark(used, k->conv->zg);
    if (kernel_winograd(k, PASS_DATA) || kernel_winograd(k, PASS_WEIGHTS))
        images_mark(used, k->conv->work);
    Rec *fn = piece_function(f, "backward_piece", used, true);
    norms_begin_sums(f, fn);
    begin_weights(f, fn);
    calls_chain(f, fn, kernel_chain(k, CHAIN_AGAIN), k->image, 0);
    calls_chain(f, fn, kernel_chain(k, CHAIN_DOUT), k->image, 0);
    if (k->learns)
        call_weights(f, fn);
    else
        call_windows(f, fn);
    if (k->back_data) {
        const char *z =
            calls_gather(f, fn, k->image[k->w->dz].name, k->conv->zg >= 0 ? &k->image[k->conv->zg] : NULL, true);
        Rec *s = NULL;
        bool core = false;
        for (int i = 0; i < k->nin; i++) {
            const Chain *c = &k->din[i];
            const bool from_core = c->n && c->pass[0].from.where == AT_CORE;
            if (from_core) {
                const bool winograd = kernel_winograd(k, PASS_DATA) != NULL;
                const char *init = calls_init(f, &c->pass[0], k->image, winograd && c->pass[0].several);
                if (winograd)
                    calls_winograd(f, fn, &c->pass[0], init, PASS_DATA, z, "k->copy", "NULL", true);
                else
                    s = calls_core(f, fn, &c->pass[0], init);
                for (int j = 0; !winograd && j < k->conv->ndata; j++)
                    calls_of_core(s, calls_core_name(k, k->conv->data[j].name), z, "k->copy", "NULL", "");
                core = true;
            }
            calls_chain(f, fn, c, k->image, from_core);
        }
        if (!core)
            BUG("%s does not run its core", k->name);
    }
    norms_end_image(f, fn);

    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "backward"));
    backward_docs(f, kernel);
    calls_copy_weights(f, kernel, "body", PASS_DATA);
    line_over_pieces(f, kernel, fn);
    norms_backward(f, kernel);
    update_lines(f, kernel);
}

/* ---- linear, recurrent, embed: the whole batch at once, between what is done to its rows ---- */

/* A product with so many columns, `work` multiply-adds of a batch. Threads share its columns where that is worth more
 * than waking them; each number is the same sum in any part. */
static void gemm_line(Rec *kernel, const char *args, long long columns, double work)
{
    enum { PARTS = 16, LEAST = 64, WORTH = 1000000 };
    const long long even = (columns + PARTS - 1) / PARTS, part = even > LEAST ? (even + 31) / 32 * 32 : LEAST;
    Rec *s = line_add(kernel, "body", "gemm");

    rec_str(s, "args", args);
    rec_int(s, "columns", columns);
    if (columns <= part || work < WORTH)
        rec_int(s, "alone", 1);
    rec_int(s, "part", part);
    if (columns % part)
        rec_fmt(s, "end", "j + %lld < %lld ? j + %lld : %lld", part, columns, part, columns);
    else
        rec_fmt(s, "end", "j + %lld", part);
}

/* What a product sums over: an image's channels without those that fill up its last block. Their weights are zero, but
 * what they hold may be NaN, where a NaN met such weights before. */
static int channels(const Kernel *k, int image)
{
    return k->image[image].shape.c;
}

/* Multiply-adds of a batch. */
static double products(const Plan *p, const Kernel *k)
{
    return (double)p->g->spec->train.batch * (double)k->w->w_floats;
}

static void rows_forward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->w->x].floats, out = k->image[k->rows->y].floats;
    const double work = products(f->p, k);
    bool *used = images_none(k);

    images_mark_before(used, k);
    Rec *pack = piece_function(f, "pack_piece", used, false);
    calls_before(f, pack);
    memset(used, 0, (size_t)k->nimage);
    images_mark(used, k->rows->y);
    images_mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    Rec *fn = piece_function(f, "forward_piece", used, false);
    norms_begin_stats(f, fn);
    calls_chain(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 0);
    norms_end_image(f, fn);
    norms_move_stats(f, fn);

    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text",
            k->recurrent
                ? "forward: what is read, through the stages before the steps; the steps; the stages after them"
            : k->kind == KERNEL_EMBED
                ? "forward: the tokens; their rows of the table; the stages after them"
                : "forward: what is read, through the stages before the product; the product; the stages after it");
    line_over_pieces(f, kernel, pack);
    if (k->recurrent)
        recurrent_forward(f, kernel);
    else if (k->kind == KERNEL_EMBED)
        embed_forward(f, kernel);
    else
        gemm_line(kernel,
                  xprintf("0, 1, n, %d, k->mat_x, %lld, k->w, %lld, k->mat_y, %lld", channels(k, k->w->x), in, in, out),
                  out, work);
    line_over_pieces(f, kernel, fn);
    norms_forward(f, kernel);
    *f->forward = fn;
}

static void call_din(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++)
        calls_chain(f, fn, &f->k->din[i], f->k->image, 0);
}

static void rows_backward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->w->x].floats, out = k->image[k->w->dz].floats;
    const double work = products(f->p, k);
    bool *used = images_none(k);

    if (k->learns)
        images_mark_before(used, k);
    images_mark_chain(used, kernel_chain(k, CHAIN_AGAIN));
    images_mark_chain(used, kernel_chain(k, CHAIN_DOUT));
    Rec *unpack = piece_function(f, "unpack_piece", used, true), *fn = NULL;
    begin_weights(f, unpack);
    norms_begin_sums(f, unpack); /* sides of the out way give here already */
    calls_chain(f, unpack, kernel_chain(k, CHAIN_AGAIN), k->image, 0);
    calls_chain(f, unpack, kernel_chain(k, CHAIN_DOUT), k->image, 0);
    if (k->learns)
        calls_before(f, unpack);
    norms_end_image(f, unpack);
    if (k->back_data) {
        memset(used, 0, (size_t)k->nimage);
        images_mark_din(used, k);
        mark_windows(used, k);
        fn = piece_function(f, "backward_piece", used, true);
        call_windows(f, fn);
        call_din(f, fn);
        norms_end_image(f, fn);
    }

    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "backward"));
    backward_docs(f, kernel);
    line_over_pieces(f, kernel, unpack);
    if (k->recurrent)
        recurrent_backward(f, kernel);
    if (k->kind == KERNEL_EMBED)
        embed_backward(f, kernel);
    if (k->learns && !kernel_is_apart(k))
        gemm_line(kernel, xprintf("1, 0, %lld, n, k->mat_dz, %lld, k->mat_back_x, %lld, k->dw, %lld", out, out, in, in),
                  in, work);
    if (k->back_data && !kernel_is_apart(k))
        gemm_line(
            kernel,
            xprintf("0, 0, n, %d, k->mat_dz, %lld, k->w, %lld, k->mat_dx, %lld", channels(k, k->rows->y), out, in, in),
            in, work);
    if (k->back_data)
        line_over_pieces(f, kernel, fn);
    norms_backward(f, kernel);
    update_lines(f, kernel);
}

/* ---- pass, loss ---- */

/* Where paths share blocks of what a pass stores, padding channels are nobody's: they are cleared. */
static void clear_stored(const File *f, Rec *fn)
{
    const Kernel *k = f->k;
    const Tensor *nd = &f->p->tensor[k->tensor];
    bool shared = false;

    for (int i = 0; i < k->nin && nd->stored && k->op > 0; i++) {
        const PixelPass *r = &k->before[i].pass[k->before[i].n - 1];
        const Place p = {.first = r->store_first, .total = r->store_total};
        shared |= plan_shifted(&p, r->shape.c);
    }
    if (shared)
        line_clear(fn, "body", xprintf("k->out + (int64_t)i * %lld", (long long)blocked_floats(nd->shape[0])),
                   blocked_floats(nd->shape[0]));
}

static void pass_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = images_none(k);
    Rec *fn, *kernel;

    if (k->has_forward) {
        images_mark_before(used, k);
        fn = piece_function(f, "forward_piece", used, false);
        norms_begin_stats(f, fn);
        clear_stored(f, fn);
        calls_before(f, fn);
        norms_end_image(f, fn);
        norms_move_stats(f, fn);
        kernel = line_function(f, "functions", "kernel", line_symbol(f, "forward"));
        rec_str(rec_add(kernel, "docs"), "text", "forward");
        line_over_pieces(f, kernel, fn);
        norms_forward(f, kernel);
        *f->forward = fn;
    }
    if (!k->has_backward)
        return;
    memset(used, 0, (size_t)k->nimage);
    images_mark_din(used, k);
    mark_windows(used, k);
    fn = piece_function(f, "backward_piece", used, true);
    norms_begin_sums(f, fn);
    call_windows(f, fn);
    call_din(f, fn);
    norms_end_image(f, fn);
    kernel = line_function(f, "functions", "kernel", line_symbol(f, "backward"));
    rec_str(rec_add(kernel, "docs"), "text", "backward");
    line_over_pieces(f, kernel, fn);
    norms_backward(f, kernel);
}

bool emit_takes_n(const Kernel *k, Phase phase)
{
    return !(k->loss && phase == PHASE_BACKWARD);
}

static void loss_fields(const File *f, Rec *to)
{
    const struct cvy_loss *loss = f->p->g->spec->train.loss;

    rec_str(to, "loss", loss->code);
    rec_str(to, "target_name", emit_target[loss->target].name);
}

static void loss_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = images_none(k);
    const int classes = k->image[k->loss->x].shape.c;

    images_mark_before(used, k);
    images_mark_din(used, k);
    images_mark(used, k->loss->dx);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    loss_fields(f, fn);
    norms_begin_sums(f, fn);
    calls_before(f, fn);
    Rec *s = line_add(fn, "body", "loss_image");
    loss_fields(f, s);
    rec_int(s, "classes", classes);
    rec_int(s, "padded", (int64_t)blocks_of(classes) * LANES);
    call_din(f, fn);
    norms_end_image(f, fn);

    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text", "the loss and its gradient");
    line_over_pieces(f, kernel, fn);
    if (!norms_has_sums(f))
        return;
    kernel = line_function(f, "functions", "kernel", line_symbol(f, "backward"));
    rec_str(rec_add(kernel, "docs"), "text",
            "the barrier of the norm before the loss, once the loss's own kernel has its sums");
    rec_int(kernel, "ignores_n", !emit_takes_n(k, PHASE_BACKWARD));
    norms_backward(f, kernel);
}

/* ---- the file ---- */

static const char *stored_name(const File *f, const Tensor *nd)
{
    return nd->op == 0 ? "the input" : f->p->g->op[nd->stored_op].path;
}

static void notes(const File *f)
{
    const Kernel *k = f->k;

    for (int i = 0; i < k->nport; i++) {
        const Tensor *root = &f->p->tensor[f->p->tensor[k->port[i].tensor].root];
        if (k->port[i].value)
            rec_fmt(rec_add(f->rec, "notes"), "text", "%s: %s, %s", k->port[i].name,
                    root->op == 0 ? "the input" : "stored by another kernel", describe_shape(root->shape[0]));
    }
    if (k->tensor >= 0 && f->p->tensor[k->tensor].stored) {
        const Tensor *nd = &f->p->tensor[k->tensor];
        rec_fmt(rec_add(f->rec, "notes"), "text", "stores: %s, %s: %s", stored_name(f, nd),
                describe_shape(nd->shape[0]), nd->why);
    }
}

/* Forward once more, before the backward pass of its segment: what it stores is made again, norms stay as they are. */
static void again_function(const File *f)
{
    if (!f->k->runs_again)
        return;
    Rec *kernel = line_function(f, "functions", "kernel", line_symbol(f, "again"));

    rec_str(rec_add(kernel, "docs"), "text",
            "forward again, for backward: the same tensor, without the barriers of norms");
    if (f->k->conv)
        calls_copy_weights(f, kernel, "body", PASS_FORWARD);
    line_over_pieces(f, kernel, *f->forward);
}

static void training_part(const File *f)
{
    const Kernel *k = f->k;

    notes(f);
    for (int i = 0; i < k->nin; i++) { /* a pass that stores nothing only walks windows again, in backward */
        const Chain c = {k->before[i].pass, k->has_forward ? k->before[i].n : k->back_data ? k->before[i].n - 1 : 0};
        layer_passes(f, "passes", &c, k->image);
    }
    layer_passes(f, "passes", kernel_chain(k, CHAIN_AFTER), k->image);
    layer_passes(f, "passes", kernel_chain(k, CHAIN_AGAIN), k->image);
    layer_passes(f, "passes", kernel_chain(k, CHAIN_DOUT), k->image);
    for (int i = 0; i < k->nin; i++)
        layer_passes(f, "passes", &k->din[i], k->image);
    switch (k->kind) {
    case KERNEL_CONV:
        conv_forward(f);
        if (k->has_backward)
            conv_backward(f);
        break;
    case KERNEL_RECURRENT:
        recurrent_cell(f);
        rows_forward(f);
        if (k->has_backward)
            rows_backward(f);
        break;
    case KERNEL_LINEAR:
    case KERNEL_EMBED:
        rows_forward(f);
        if (k->has_backward)
            rows_backward(f);
        break;
    case KERNEL_PASS:
        pass_kernel(f);
        break;
    case KERNEL_LOSS:
        loss_kernel(f);
        break;
    }
    again_function(f);
}

void emit_layer_file(const Plan *p, const Kernel *k, const Kernel *infer, Buf *to)
{
    const Kernel *any = k ? k : infer;
    const Op *o = &p->g->op[any->op];
    Names done = {0};
    Rec *forward = NULL;
    UsesTable uses = {0};
    File file = {p, any, rec_new(), false, &done, &uses, &forward}, *f = &file;

    rec_str(f->rec, "net", p->g->spec->name);
    rec_str(f->rec, "licence", EMITTED_LICENCE);
    rec_fmt(f->rec, "file", "%s_%s.c", p->g->spec->name, any->name);
    if (any->conv)
        rec_str(f->rec, "doc", describe_conv(p, o));
    else if (any->recurrent)
        rec_fmt(f->rec, "doc", "%s: %s -> %s", op_info[o->kind].name, describe_shape(p->g->op[o->in].shape),
                describe_shape(o->shape));
    else if (any->kind == KERNEL_EMBED)
        rec_fmt(f->rec, "doc", "embed: tokens 0 to %d -> %s", p->g->spec->tokens - 1, describe_shape(o->shape));
    else if (any->rows)
        rec_fmt(f->rec, "doc", "linear: %d -> %d", p->g->op[o->in].shape.c, o->shape.c);
    else if (any->kind == KERNEL_PASS)
        rec_fmt(f->rec, "doc", "a pass: %s, %s, which no weight op makes as it stores", op_info[o->kind].name,
                describe_shape(o->shape));
    else
        rec_fmt(f->rec, "doc", "%s of %d %s", p->g->spec->train.loss->help, any->image[any->loss->x].shape.c,
                emit_target[p->g->spec->train.loss->target].outputs);
    if (any->conv || (any->w && kernel_is_apart(any)) || (any->rows && infer))
        rec_str(f->rec, "core", any->w->core_name);
    if (k && k->rows && !kernel_is_apart(k))
        rec_int(f->rec, "product", 1);
    if (k)
        training_part(f);
    if (infer) {
        Kernel alone = *infer;
        alone.shares = k != NULL; /* training's passes stand in the same file */
        f->k = &alone;
        f->infer = true;
        layer_infer(f);
    }
    template_expand("layer_file", "k", f->rec, to);
}
