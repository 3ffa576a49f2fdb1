/* infer.c - kernels of inference: how their tensors lie, what is folded, what stays a multiply-add.
 *
 * needs: flow of inference, Plan.norm. sets: Plan.infer_image, .affine, chains and images of Plan.infer,
 * Norm.inference. */
#include "fuse.h"

/* How the tensors of inference lie: as the first conv that reads one unchanged packs it, else without a halo. */
void infer_images(Plan *p)
{
    const Graph *g = p->g;

    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        Tensor *nd = &p->infer_tensor[k->in[0].tensor];
        if (k->kind == KERNEL_PASS || k->nin != 1 || k->in[0].n || nd->image >= 0 || k->in[0].tensor == 0)
            continue;
        const Image m = packed_image(p, k->op);
        if (m.plain && nd->readers > 1)
            continue;
        if (m.shape.c != nd->shape[0].c || m.shape.h != nd->shape[0].h || m.shape.w != nd->shape[0].w)
            BUG("%s does not read what is there", g->op[k->op].path);
        nd->image = image_add(&p->infer_image, &p->ninfer_image, m);
    }
    for (int i = 1; i < p->ninfer_tensor; i++)
        if (p->infer_tensor[i].image < 0)
            p->infer_tensor[i].image = image_add(&p->infer_image, &p->ninfer_image,
                                                 image_make(p->infer_tensor[i].shape[0], false, 0, 0, 0, 0, "out"));
}

static bool same_place(const Image *a, const Image *b)
{
    return a->plain == b->plain && a->rows == b->rows && a->cols == b->cols && a->top == b->top && a->left == b->left;
}

static void infer_norms(Fuse *f, const Chain *c, bool after)
{
    for (int i = 0; i < c->n; i++)
        for (int s = 0; s < c->pass[i].nstep; s++) {
            const Step *st = &c->pass[i].step[s];
            const bool image = st->kind == STEP_FORWARD && op_is_image_norm(f->g->op[st->op].kind);
            if (st->kind != STEP_AFFINE && !image)
                continue;
            Norm *n = plan_norm(f->p, st->op);
            n->place = after ? NORM_EPILOGUE : NORM_PROLOGUE;
            n->kernel = (int)(f->k - f->p->infer);
            n->stopped_by = after ? f->k->w->fold_stop : -1;
            n->inference =
                image ? xprintf("applied in the %s of %s with the statistics of the image at hand",
                                after ? "epilogue" : "prologue", f->k->name)
                      : xprintf("a multiply-add in the %s of %s: %s", after ? "epilogue" : "prologue", f->k->name,
                                !f->p->fold                      ? "folding is off"
                                : after && f->k->recurrent       ? "into the gates of steps nothing is folded"
                                : after && kernel_is_apart(f->k) ? "into a table of rows nothing is folded"
                                : after
                                    ? xprintf("it cannot be folded: %s lies between",
                                              f->k->w->fold_stop >= 0 ? op_info[f->g->op[f->k->w->fold_stop].kind].name
                                                                      : "a stage")
                                : f->k->in[0].tensor == 0
                                    ? "folding it forward into weights is wrong at a zero-padded border"
                                    : "what it normalises is read by others too");
            if (!n->applied) /* it may be already, on another path after a concat */
                *PUSH(f->p->affine, f->p->naffine) = (Affine){.op = st->op};
            n->applied = true;
        }
}

void infer_kernel(Fuse *f)
{
    Kernel *k = f->k;
    const bool pass = k->kind == KERNEL_PASS;

    fuse_name(f);
    if (k->tensor > 0) { /* of the input nothing is made, but its statistics are taken */
        Image out = f->p->infer_image[f->tensor[k->tensor].image];
        out.name = "out";
        out.given = true;
        if (pass)
            packed_shared(k, &out);
        k->result = image_add(&k->image, &k->nimage, out);
        fuse_port(f, k->tensor, "out");
    }
    if (!pass) {
        Image xs = packed_image(f->p, k->op);
        packed_shared(k, &xs);
        const Tensor *nd = &f->tensor[k->in[0].tensor];
        k->w->direct =
            k->nin == 1 && k->in[0].n == 0 && k->in[0].tensor > 0 && same_place(&xs, &f->p->infer_image[nd->image]);
        if (k->w->direct)
            k->w->x = fuse_value(f, k->in[0].tensor, "in").image;
        else
            k->w->x = image_add(&k->image, &k->nimage, xs);
        if (k->conv)
            k->conv->plain = xs.plain;
        if (kernel_is_apart(k))
            k->rows->y = image_add(&k->image, &k->nimage, image_make(f->g->op[k->op].shape, false, 0, 0, 0, 0, "y"));
        if (k->recurrent) {
            Image steps = image_make((Shape){1, 1, 1}, false, 0, 0, 0, 0, "steps");
            steps.floats = 0; /* recurrent.c says how many */
            k->recurrent->scratch = image_add(&k->image, &k->nimage, steps);
        }
    }
    k->before = xalloc(sizeof *k->before * (size_t)k->nin);
    const bool direct = !pass && k->w->direct;
    if (!direct)
        chain_before(f);
    for (int i = 0; i < k->nin && !direct; i++)
        infer_norms(f, &k->before[i], false);
    if (!pass) {
        Forward fw = {.name = "post",
                      .path = &k->w->out,
                      .b = k->w->out.n,
                      .from = {.where = AT_CORE},
                      .store = -1,
                      .ends = true,
                      .to = image_place(k->result, k->image[k->result].shape)};
        if (kernel_is_apart(k))
            fw.from = image_place(k->rows->y, f->g->op[k->op].shape);
        pass_forward(f, &k->w->after, &k->image, &k->nimage, &fw);
        infer_norms(f, &k->w->after, true);
        for (int i = 0; i < k->w->nfold; i++) {
            Norm *n = plan_norm(f->p, k->w->fold[i]);
            n->kernel = (int)(k - f->p->infer);
            n->inference = xprintf(
                "folded into the weights and bias of %s: nothing but a scale and a shift a channel stands between",
                f->g->op[k->op].path);
        }
    }
    fuse_aliases(f);
}
