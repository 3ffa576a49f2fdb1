/* test_stored.c - what a plan stores and fuses: chains, sums and concats, norms at inference, bytes beside autograd. */
#include "graph.h"
#include "plan_help.h"

#include <string.h>

/* What the tensor that the first conv makes stores, how many kernels there are, routes. */
static const struct Case {
    const char *first, *second; /* orders of two convs */
    const char *stored;         /* path of the stage whose output is stored; "z" */
    int kernels, routes;
} stored_cases[] = {
    {"conv-bn-relu", "conv-bn-relu", "z", 4, 0},
    {"bn-relu-conv", "bn-relu-conv", "z", 5, 0}, /* the first norm's statistics are a pass over the input */
    {"conv-relu-bn", "conv-relu-bn", "conv1.act", 4, 0},
    {"conv-silu-bn", "conv-relu-bn", "z", 4, 0}, /* silu cannot be inverted */
    {"conv-tanh-bn", "conv-relu-bn", "conv1.act", 4, 0},
    {"conv-relu", "conv-relu", "conv1.act", 4, 0},
    {"conv-silu", "conv-relu", "z", 4, 0},
    {"conv", "conv", "z", 4, 0},
    {"conv-maxpool(2)-bn-relu", "conv-relu", "conv1.maxpool", 4, 1},
    {"conv-relu-maxpool(2)-bn", "conv-relu", "conv1.maxpool", 4, 1},
    {"conv-maxpool(3,1,1)-bn-relu", "conv-relu", "z", 4, 0}, /* as large as z, and one byte per window more */
    {"conv-avgpool(2)-relu-bn", "conv-relu", "conv1.act", 4, 0},
    {"conv-relu-avgpool(2)-bn", "conv-relu", "conv1.act", 4, 0}, /* the average hides signs */
    {"conv-drop(0.5)-bn-relu", "conv-relu", "conv1.drop", 4, 0},
    {"conv-relu-drop(0.5)-bn", "conv-relu", "conv1.drop", 4, 0},
    {"conv-bn-relu-bn", "conv-relu", "z", 5, 0},
    {"conv-relu-bn-tanh-bn", "conv-relu", "conv1.act", 5, 0},
    {"conv-bn", "bn-conv", "z", 5, 0},
    {"conv-relu-tanh-bn", "conv-relu", "conv1.act2", 4, 0},
    {"conv-gn(2)-relu", "conv-gn(2)-relu", "z", 4, 0}, /* norms of an image stand where those of a batch do */
    {"conv-relu-ln", "conv-relu-in", "conv1.act", 4, 0},
    {"conv-gelu-in", "conv-relu", "z", 4, 0},
    {"conv-in-relu-gn(2)", "conv-relu", "z", 5, 0},
    {"ln-conv-relu", "conv-relu", "conv1.act", 5, 0},
    {"conv-elu-relu6-gn(2)", "conv-relu", "conv1.act", 4, 0},  /* elu needs its own output; relu6 is recomputed */
    {"conv-relu-softplus-bn", "conv-relu", "conv1.act", 4, 0}, /* softplus hides signs */
    {"conv-relu-elu-bn", "conv-relu", "conv1.act2", 4, 0},
    {"conv-sigmoid-relu-bn", "conv-relu", "conv1.act", 4, 0}, /* sigmoid's backward needs its own output */
};

START_TEST(stored_tensor)
{
    const struct Case *c = &stored_cases[_i];
    Plan *p =
        plan_of("[4, 12, 12]", xprintf("conv: {out: 8, order: '%s'}, conv: {out: 8, order: '%s'}", c->first, c->second),
                "portable");
    const Tensor *nd = made_by(p, "conv1");
    const char *stored = stored_by(p, nd);

    ck_assert_msg(strcmp(stored, c->stored) == 0, "%s then %s stores %s, not %s", c->first, c->second, stored,
                  c->stored);
    ck_assert_msg(p->nkernel == c->kernels, "%s then %s: %d kernels, not %d", c->first, c->second, p->nkernel,
                  c->kernels);
    ck_assert_int_eq(nd->nroute, c->routes);
    ck_assert(nd->stored && nd->kept && nd->grad); /* one gradient, whatever is read of it */
}
END_TEST

START_TEST(rotations_share_the_middle) /* conv-bn-relu and bn-relu-conv differ at the ends alone */
{
    Plan *a = plan_of(
        "[4, 9, 9]",
        "conv: {out: 8, order: conv-bn-relu}, conv: {out: 8, order: conv-bn-relu}, conv: {out: 8, order: conv-bn-relu}",
        "portable");
    Plan *b = plan_of(
        "[4, 9, 9]",
        "conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}",
        "portable");

    for (int i = 1; i < 3; i++) {
        const Kernel *x = kernel_of(a, xprintf("conv%d", i)), *y = kernel_of(b, xprintf("conv%d", i));
        const Kernel *x2 = kernel_of(a, xprintf("conv%d", i + 1)), *y2 = kernel_of(b, xprintf("conv%d", i + 1));
        const Tensor *m = &a->tensor[x->tensor], *n = &b->tensor[y->tensor];
        ck_assert_str_eq(stored_by(a, m), stored_by(b, n));
        ck_assert_int_eq(m->nlink, n->nlink);
        ck_assert_int_eq(m->nnorm, n->nnorm);
        ck_assert_int_eq(x2->nin, 1);
        ck_assert_int_eq(y2->nin, 1);
        ck_assert_int_eq(x->w->out.grad, y->w->out.grad);
        ck_assert_int_eq(x2->in[0].grad, y2->in[0].grad);
        const Path *path[2][2] = {{&x->w->out, &y->w->out}, {&x2->in[0], &y2->in[0]}};
        for (int w = 0; w < 2; w++) {
            ck_assert_int_eq(path[w][0]->n, path[w][1]->n);
            for (int l = 0; l < path[w][0]->n; l++)
                ck_assert_int_eq(a->g->op[path[w][0]->link[l].op].kind, b->g->op[path[w][1]->link[l].op].kind);
        }
        ck_assert_int_eq(x->w->out.n + x2->in[0].n, 2); /* bn and relu, once */
    }
}
END_TEST

/* What happens to a norm at inference. */
static const struct {
    const char *order, *starts;
} inference_cases[] = {
    {"conv-bn-relu", "folded into the weights"},
    {"conv-drop(0.1)-bn", "folded into the weights"},
    {"conv-relu-bn", "a multiply-add in the epilogue"},
    {"conv-maxpool(2)-bn", "a multiply-add in the epilogue"},
    {"bn-conv-relu", "a multiply-add in the prologue"},
    {"conv-gn(2)-relu", "applied in the prologue of linear1 with the statistics of the image"},
    {"in-conv-relu", "applied in the prologue of conv1 with the statistics of the image"},
};

START_TEST(norms_at_inference)
{
    Plan *p = plan_of("[4, 12, 12]", xprintf("conv: {out: 8, order: '%s'}", inference_cases[_i].order), "portable");

    ck_assert_int_eq(p->nnorm, 1);
    ck_assert_msg(strncmp(p->norm[0].inference, inference_cases[_i].starts, strlen(inference_cases[_i].starts)) == 0,
                  "%s: %s", inference_cases[_i].order, p->norm[0].inference);
}
END_TEST

/* Chains with one norm a block, channels multiples of 16: half of what autograd keeps, less a little. */
START_TEST(bytes_stored)
{
    static const char *const order[] = {"conv-bn-relu", "conv-relu-bn"};
    Plan *p = plan_of(
        "[3, 32, 32]",
        xprintf("conv: {out: 16, order: %s}, conv: {out: 32, stride: 2, order: %s}", order[_i], order[_i]), "avx512");

    /* 16x32x32 and 32x16x16 floats; the loss reads the logits once, forward and backward at a time */
    ck_assert_int_eq(p->stored_bytes, 4 * (16 * 32 * 32 + 32 * 16 * 16));
}
END_TEST

/* ---- graphs ---- */

/* "conv1.conv* conv1.act<conv1.conv": a tensor a word. = and what it stores, where that is another op's output; < and
 * what its readers recompute it from; * where backward reads what is stored; and how many norms read it. */
static const char *tensors_in_words(const Plan *p)
{
    Buf b = {0};

    for (int i = 1; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        buf_printf(&b, "%s%s", i > 1 ? " " : "", p->g->op[nd->op].path);
        if (!nd->stored)
            buf_printf(&b, "<%s", p->g->op[p->tensor[nd->root].op].path);
        else if (nd->stored_op != nd->op)
            buf_printf(&b, "=%s", p->g->op[nd->stored_op].path);
        if (nd->kept)
            buf_puts(&b, "*");
        if (nd->nnorm)
            buf_printf(&b, "%d", nd->nnorm);
    }
    return b.text;
}

/* Training kernels; + before those whose out path does a sum. A pass of which nothing runs forward is in brackets. */
static const char *kernels_in_words(const Plan *p)
{
    Buf b = {0};

    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        bool sum = false;
        for (int j = 0; j < kernel_out(k)->n; j++)
            sum |= p->g->op[kernel_out(k)->link[j].op].kind == OP_ADD;
        buf_printf(&b, k->has_forward ? "%s%s%s" : "%s%s(%s)", i ? " " : "", sum ? "+" : "", k->name);
    }
    return b.text;
}

/* Inference kernels: + as above, ! where one reads what is there, and how many norms it folds. */
static const char *inference_in_words(const Plan *p)
{
    Buf b = {0};

    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        bool sum = false;
        for (int j = 0; j < kernel_out(k)->n; j++)
            sum |= p->g->op[kernel_out(k)->link[j].op].kind == OP_ADD;
        buf_printf(&b, "%s%s%s%s", i ? " " : "", sum ? "+" : "", k->name, k->w && k->w->direct ? "!" : "");
        if (k->w && k->w->nfold)
            buf_printf(&b, "%d", k->w->nfold);
    }
    return b.text;
}

START_TEST(arrangement)
{
    const struct Arrangement *a = &arrangements[_i];
    Plan *p = residual_net(a->order, a->keys, a->stem, 2, 1, a->tail);

    ck_assert_msg(strcmp(kernels_in_words(p), a->kernels) == 0, "%s: kernels\n%s\n%s", a->name, kernels_in_words(p),
                  a->kernels);
    ck_assert_msg(strcmp(inference_in_words(p), a->inference) == 0, "%s: inference\n%s\n%s", a->name,
                  inference_in_words(p), a->inference);
    check_gradients(p);
    check_statistics(p);
    ck_assert_msg(strcmp(tensors_in_words(p), a->tensors) == 0, "%s: nodes\n%s\n%s", a->name, tensors_in_words(p),
                  a->tensors);
}
END_TEST

static const char *const concat_net = /* branches of 24, 16 and 9 channels, then a dense block on them */
    "{name: n1, input: [3, 32, 32], classes: 10, order: bn-act-conv, layers: [conv: {out: 24, order: conv}, stage: "
    "{name: d1, repeat: 2, only: {2.b2.conv1: {out: 9}}, "
    "concat: [[], [conv: 16]], transition: [conv: {kernel: 1, out: 32}, avgpool(2)]}, bn, act, global_avg_pool, "
    "linear: classes]}";

START_TEST(concat_is_a_list_of_paths)
{
    static const int first[] = {0, 24, 40}, channels[] = {24, 16, 9};
    static const char *const maker[] = {"conv1", "d1_1_b2_conv1", "d1_2_b2_conv1"};
    Plan *p = plan_of_text(concat_net, "avx2");
    const Kernel *k = kernel_of(p, "d1_transition_conv1"), *infer = infer_of(p, "d1_transition_conv1");

    ck_assert_str_eq(kernels_in_words(p), "conv1 d1_1_b2_conv1 d1_2_b2_conv1 d1_transition_conv1 linear1 loss");
    ck_assert_int_eq(k->nin, 3);
    ck_assert_int_eq(infer->nin, 3);
    ck_assert(!infer->w->direct);
    for (int i = 0; i < 3; i++) {
        const Path *w = &k->in[i];
        ck_assert_ptr_eq(&p->tensor[w->tensor], made_by(p, maker[i]));
        ck_assert_int_eq(w->n, 2);
        ck_assert_int_eq(w->grad, 0); /* the tensor is what is stored: its gradient is taken there */
        ck_assert_int_eq(w->first, first[i]);
        ck_assert_int_eq(w->total, 49);
        ck_assert_int_eq(w->shape[2].c, channels[i]);
        ck_assert_int_eq(infer->in[i].first, first[i]);
        for (int l = 0; l < 2; l++)
            ck_assert_int_eq(w->link[l].first, first[i]);
        /* forward it goes to its channels of the packed input; backward it comes from these */
        const PixelPass *pass = &k->before[i].pass[k->before[i].n - 1], *back = &k->din[i].pass[k->din[i].n - 1];
        ck_assert_int_eq(pass->to.image, k->w->x);
        ck_assert_int_eq(pass->to.first, first[i]);
        ck_assert_int_eq(pass->to.total, 49);
        ck_assert_int_eq(back->from.image, k->conv->dx);
        ck_assert_int_eq(back->from.first, first[i]);
        ck_assert_int_eq(back->to.where, AT_SLOT);
        ck_assert_int_eq(k->port[back->to.port].tensor, w->tensor);
        for (int s = 0; s < back->nstep; s++)
            if (back->step[s].kind == STEP_SUMS || back->step[s].kind == STEP_SCALE)
                ck_assert_int_eq(back->step[s].first, first[i]);
    }
    ck_assert(k->image[k->w->x].shared);
    check_gradients(p);
    check_statistics(p);
}
END_TEST

START_TEST(one_tensor_several_norms) /* its statistics are taken once, by whom it is made */
{
    static const struct {
        const char *tensor;
        int n;
        const char *norm[4];
        int first[4];
    } want[] = {
        {"conv1.conv", 3, {"d1.1.b2.conv1.bn", "d1.2.b2.conv1.bn", "d1.transition.conv1.bn"}, {0, 0, 0}},
        {"d1.1.b2.conv1.conv", 2, {"d1.2.b2.conv1.bn", "d1.transition.conv1.bn"}, {24, 24}},
        {"d1.2.b2.conv1.conv", 1, {"d1.transition.conv1.bn"}, {40}},
    };
    Plan *p = plan_of_text(concat_net, "avx2");

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Tensor *nd = tensor_of(p, want[i].tensor);
        ck_assert(nd != NULL);
        ck_assert_int_eq(nd->nnorm, want[i].n);
        for (int j = 0; j < nd->nnorm; j++) {
            ck_assert_str_eq(p->g->op[nd->norm[j]].path, want[i].norm[j]);
            ck_assert_int_eq(nd->norm_first[j], want[i].first[j]);
            ck_assert_int_eq(plan_norm(p, nd->norm[j])->shifted,
                             strcmp(want[i].norm[j], "d1.1.b2.conv1.bn") != 0); /* 24 begins no block */
        }
    }
}
END_TEST

START_TEST(concat_that_a_sum_reads) /* is one tensor, which a pass stores */
{
    Plan *p = plan_of_text(
        "{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[conv: 5], [conv: 11]]}, "
        "stage: {out: 16, shortcut: identity, residual: [conv, conv]}, conv: 16, global_avg_pool, linear: classes]}",
        "avx2");
    const Kernel *k = kernel_of(p, "pass_stage1_concat");

    ck_assert_ptr_nonnull(k);
    ck_assert_int_eq(k->nin, 2);
    ck_assert(p->tensor[k->tensor].stored && p->tensor[k->tensor].kept);
    for (int i = 0; i < 2; i++) {
        const PixelPass *r = &k->before[i].pass[0];
        ck_assert_int_eq(k->before[i].n, 1);
        ck_assert_int_eq(r->store_first, i ? 5 : 0);
        ck_assert_int_eq(r->store_total, 16);
        ck_assert_int_eq(k->din[i].pass[0].from.first, i ? 5 : 0);
    }
    ck_assert_str_eq(
        inference_in_words(p),
        "stage1_b1_conv11 stage1_b2_conv11 pass_stage1_concat stage2_conv1!1 +stage2_conv2!1 conv1!1 linear1!");
}
END_TEST

START_TEST(sum_of_norms) /* its operands are computed where it is: no tensor between */
{
    const struct Arrangement *a = &arrangements[0];
    Plan *p = residual_net(a->order, a->keys, a->stem, 2, 2, a->tail);
    const Kernel *k = kernel_of(p, "pass_s2_1_post_act");

    ck_assert_ptr_nonnull(k);
    ck_assert_int_eq(k->in[0].n, 3); /* bn, add, act */
    const Link *add = &k->in[0].link[1];
    ck_assert_int_eq(p->g->op[add->op].kind, OP_ADD);
    ck_assert_int_eq(add->nskip, 1);
    ck_assert_ptr_eq(&p->tensor[add->skip[0].path.tensor], made_by(p, "s2_1_shortcut"));
    ck_assert_int_eq(add->skip[0].path.n, 1);
    ck_assert_str_eq(p->g->op[add->skip[0].path.link[0].op].path, "s2.1.shortcut.bn");
    /* the pass takes the backward sums of both norms */
    NormSum *sum;
    ck_assert_int_eq(plan_sums(p, k, &sum), 2);
    /* the second block's identity reads what the pass before stored, unchanged */
    const Kernel *next = kernel_of(p, "pass_s1_2_post_act");
    ck_assert_ptr_nonnull(next);
    ck_assert_ptr_eq(&p->tensor[next->in[0].link[1].skip[0].path.tensor], made_by(p, "pass_s1_1_post_act"));
    ck_assert_int_eq(next->in[0].link[1].skip[0].path.n, 0);
}
END_TEST

START_TEST(padded_shortcut) /* is a skip operand, read through the pad */
{
    const struct Arrangement *a = &arrangements[6];
    Plan *p = residual_net(a->order, a->keys, a->stem, 2, 1, a->tail);
    const Kernel *k = kernel_of(p, "s2_conv2"), *infer = infer_of(p, "s2_conv2");

    for (int i = 0; i < 2; i++) {
        const Path *w = i ? &infer->w->out : &k->w->out;
        ck_assert_int_eq(w->n, i ? 4 : 1); /* at inference, what stands after the sum too */
        const Skip *skip = &w->link[0].skip[0];
        ck_assert_int_eq(w->link[0].nskip, 1);
        ck_assert_int_eq(skip->pad >= 0 ? (int)p->g->op[skip->pad].kind : -1, OP_PAD);
        ck_assert_int_eq(p->g->op[skip->pad].before, 8);
        ck_assert_int_eq(skip->path.shape[0].c, 32);
    }
    ck_assert_ptr_eq(&p->tensor[k->w->out.link[0].skip[0].path.tensor], tensor_of(p, "s1.add"));
}
END_TEST

START_TEST(input_with_a_norm) /* a pass takes the statistics, and gives no gradient on */
{
    Plan *p =
        plan_of("[4, 12, 12]", "conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}", "portable");
    const Kernel *k = kernel_of(p, "pass_input");

    ck_assert_ptr_nonnull(k);
    ck_assert_ptr_eq(k, &p->kernel[0]);
    ck_assert_int_eq(k->tensor, 0);
    ck_assert(k->has_forward && !k->back_data);
    ck_assert_int_eq(p->tensor[0].nnorm, 1);
    ck_assert(!p->tensor[0].grad);
    /* gamma and beta want sums all the same: conv1's backward goes back to them, and no further */
    const Kernel *conv = kernel_of(p, "conv1");
    NormSum *sum;
    ck_assert(conv->back_data);
    ck_assert_int_eq(plan_sums(p, conv, &sum), 1);
    ck_assert_int_eq(conv->din[0].pass[conv->din[0].n - 1].to.where, NOWHERE);
}
END_TEST

/* Path 0 of a concat is the input, whose gradient nobody wants: the core runs for the second. */
START_TEST(input_beside_others)
{
    Plan *p = plan_of_text("{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[], [conv: 16]]}, "
                           "conv: 16, global_avg_pool, linear: classes]}",
                           "avx2");
    const Kernel *k = kernel_of(p, "conv1");
    bool core = false;

    ck_assert(k->back_data);
    for (int i = 0; i < k->nin; i++)
        core |= k->din[i].n && k->din[i].pass[0].from.where == AT_CORE;
    ck_assert(core);
}
END_TEST

START_TEST(direct_kernels) /* read a tensor as it lies: with their halo, unless others ask for another */
{
    static const struct {
        const char *layers, *words;
    } want[] = {
        {"conv: 16, conv: {out: 16, kernel: 1}, conv: 16", "conv11 conv2!1 conv3!1 linear1!"},
        {"conv: {out: 16, kernel: 5}, conv: {out: 16, kernel: 5, order: conv-act-bn}", "conv11 conv2! linear1!"},
        {"conv: {out: 16, order: bn-act-conv}, conv: {out: 16, order: bn-act-conv}",
         "conv11 conv2! linear1!"},                       /* conv2's bn is folded back */
        {"conv: 2, conv: 16", "conv11 conv2!1 linear1!"}, /* plain, and nobody else reads it */
        {"conv: 2, stage: {concat: [[conv: 8], [conv: 8]]}", "conv11 stage1_b1_conv11 stage1_b2_conv11 linear1"},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        Plan *p = plan_of("[3, 12, 12]", want[i].layers, "avx2");
        ck_assert_msg(strcmp(inference_in_words(p), want[i].words) == 0, "%s:\n%s\n%s", want[i].layers,
                      inference_in_words(p), want[i].words);
        for (int k = 0; k < p->ninfer; k++) {
            const Kernel *q = &p->infer[k];
            if (!q->w || !q->w->direct)
                continue;
            ck_assert(q->nin == 1 && q->in[0].n == 0 && q->in[0].tensor > 0 && q->image[q->w->x].given);
        }
    }
}
END_TEST

/* What happens to norms of graphs at inference. */
static const struct {
    const char *layers, *norm, *starts;
} graph_norms[] = {
    {"conv: 16, stage: {out: 16, post: bn-act, residual: [conv, conv: {order: conv}]}", "stage1.post.bn",
     "a multiply-add in the epilogue of stage1_conv2"},
    {"conv: 16, stage: {out: 16, post: act, residual: [conv, conv: {order: conv-bn}]}", "stage1.conv2.bn",
     "folded into the weights and bias of stage1.conv2.conv"},
    {"conv: 16, stage: {out: 16, shortcut: {order: conv-bn, always: true}, residual: [conv, conv: {order: conv-bn}]}",
     "stage1.shortcut.bn", "folded into the weights"},
    {"conv: {out: 16, order: conv}, stage: {out: 16, order: bn-act-conv, residual: [conv, conv]}, bn, act",
     "stage1.conv1.bn", "a multiply-add in the prologue of stage1_conv1"},
    {"conv: {out: 16, order: conv}, stage: {out: 16, order: bn-act-conv, residual: [conv, conv]}, bn, act",
     "stage1.conv2.bn", "folded into the weights"},
    {"conv: {out: 16, order: conv}, stage: {out: 16, order: bn-act-conv, concat: [[], [conv]]}, bn, act", "bn1",
     "a multiply-add in the prologue of linear1"},
};

START_TEST(norms_of_graphs_at_inference)
{
    Plan *p = plan_of("[4, 12, 12]", graph_norms[_i].layers, "portable");

    for (int i = 0; i < p->nnorm; i++)
        if (strcmp(p->g->op[p->norm[i].op].path, graph_norms[_i].norm) == 0) {
            ck_assert_msg(strncmp(p->norm[i].inference, graph_norms[_i].starts, strlen(graph_norms[_i].starts)) == 0,
                          "%s", p->norm[i].inference);
            return;
        }
    ck_abort_msg("there is no norm %s", graph_norms[_i].norm);
}
END_TEST

/* ---- what autograd would keep ---- */

/* A tensor's storage: flatten is a view. */
static int storage(const Graph *g, int v)
{
    while (g->op[v].kind == OP_FLATTEN)
        v = g->op[v].in;
    return v;
}

/* Bytes of an image that PyTorch keeps for backward: each op by its rule, a storage once, the input and the logits
 * aside. */
static int64_t autograd_bytes(const Graph *g)
{
    bool *saved = xalloc((size_t)g->nop);
    int64_t bytes = 0;

    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        const int64_t floats = (int64_t)op->shape.c * op->shape.h * op->shape.w;
        switch (op->kind) {
        case OP_CONV:
        case OP_LINEAR:
        case OP_BN:
        case OP_AVGPOOL:
            saved[storage(g, op->in)] = true;
            break;
        case OP_RELU:
        case OP_TANH:
        case OP_SIGMOID:
        case OP_ELU:
        case OP_SELU:
            saved[storage(g, i)] = true;
            break;
        case OP_MAXPOOL:
            saved[storage(g, op->in)] = true;
            bytes += 8 * floats;
            break;
        case OP_DROP:
            bytes += floats;
            break;
        default:
            if (op_is_act(op->kind))
                saved[storage(g, op->in)] = true;
            break; /* sums, concats, pads and means keep shapes alone */
        }
    }
    for (int i = 1; i < g->nop; i++)
        if (saved[i] && i != storage(g, g->op[g->nop - 1].in))
            bytes += (int64_t)4 * g->op[i].shape.c * g->op[i].shape.h * g->op[i].shape.w;
    return bytes;
}

static void check_bytes(const char *name, const Plan *p, double most)
{
    const double share = (double)p->stored_bytes / (double)autograd_bytes(p->g);

    ck_assert_msg(share <= most, "%s stores %lld bytes per image, %.4f of autograd's %lld; at most %.2f", name,
                  (long long)p->stored_bytes, share, (long long)autograd_bytes(p->g), most);
}

START_TEST(bytes_beside_autograd)
{
    const struct Arrangement *a = &arrangements[_i];

    for (int repeat = 1; repeat <= 3; repeat++)
        check_bytes(a->name, residual_net(a->order, a->keys, a->stem, 3, repeat, a->tail), a->most);
}
END_TEST

START_TEST(bytes_of_chains_beside_autograd)
{
    static const char *const order[] = {"conv-bn-relu", "conv-relu-bn", "conv-bn-tanh", "conv-tanh-bn", "conv-bn-silu"};
    Buf b = {0};
    for (int i = 0; i < 6;
         i++) /* the last block is a small part: of a bn whose output a mean reads, PyTorch keeps one tensor too */
        buf_printf(&b, "%sconv: {out: %d, stride: %d, order: %s}", i ? ", " : "", 16 << i / 2, i && i % 2 == 0 ? 2 : 1,
                   order[_i]);
    check_bytes(order[_i], plan_of("[3, 32, 32]", b.text, "avx2"), 0.52);
}
END_TEST

TCase *stored_tests(void)
{
    TCase *c = tcase_create("stored");

    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_loop_test(c, stored_tensor, 0, sizeof stored_cases / sizeof *stored_cases);
    tcase_add_test(c, rotations_share_the_middle);
    tcase_add_loop_test(c, norms_at_inference, 0, sizeof inference_cases / sizeof *inference_cases);
    tcase_add_loop_test(c, bytes_stored, 0, 2);
    tcase_add_loop_test(c, arrangement, 0, narrangement);
    tcase_add_test(c, concat_is_a_list_of_paths);
    tcase_add_test(c, one_tensor_several_norms);
    tcase_add_test(c, concat_that_a_sum_reads);
    tcase_add_test(c, sum_of_norms);
    tcase_add_test(c, padded_shortcut);
    tcase_add_test(c, input_with_a_norm);
    tcase_add_test(c, input_beside_others);
    tcase_add_test(c, direct_kernels);
    tcase_add_loop_test(c, norms_of_graphs_at_inference, 0, sizeof graph_norms / sizeof *graph_norms);
    tcase_add_loop_test(c, bytes_beside_autograd, 0, narrangement);
    tcase_add_loop_test(c, bytes_of_chains_beside_autograd, 0, 5);
    return c;
}
