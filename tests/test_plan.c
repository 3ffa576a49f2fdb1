/* test_plan.c - the passes from Graph to C: what is stored and fused, tiles, memory, templates, the emitted text.
 *
 *   test_plan TESTS_DIR [rewrite]
 *
 * golden/<net>.emitted holds every file that convoy writes for golden/<net>.yaml, the runtime aside, for target
 * portable. With `rewrite` as the last argument they are written anew: look at the diff before you commit it. */
#define _GNU_SOURCE
#include "cost.h"
#include "emit.h"
#include "graph.h"
#include "read.h"
#include "why.h"

#include <check.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *tests;
static bool rewrite;

static Plan *plan_of_text(const char *text, const char *target)
{
    static Source src;

    src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    Node *t = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    Spec *s = t ? spec_read(t) : NULL;
    Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    Plan *p = plan_build(g, target_find(target));
    if (diag_flush(stderr) || !p)
        ck_abort_msg("no plan: %s", text);
    return p;
}

static Plan *plan_of(const char *input, const char *layers, const char *target)
{
    return plan_of_text(
        xprintf("{name: n1, input: %s, classes: 10, layers: [%s, global_avg_pool, linear: classes], train: {batch: 8}}",
                input, layers),
        target);
}

/* ---- fuse ---- */

/* A training kernel, a node, an op by its name. */
static const Kernel *kernel_of(const Plan *p, const char *name)
{
    for (int i = 0; i < p->nkernel; i++)
        if (strcmp(p->kernel[i].name, name) == 0)
            return &p->kernel[i];
    return NULL;
}

static const Kernel *infer_of(const Plan *p, const char *name)
{
    for (int i = 0; i < p->ninfer; i++)
        if (strcmp(p->infer[i].name, name) == 0)
            return &p->infer[i];
    return NULL;
}

static const Tensor *node_of(const Plan *p, const char *path)
{
    for (int i = 0; i < p->nnode; i++)
        if (strcmp(p->g->op[p->node[i].op].path, path) == 0)
            return &p->node[i];
    return NULL;
}

/* The node that a kernel makes. */
static const Tensor *made_by(const Plan *p, const char *kernel)
{
    const Kernel *k = kernel_of(p, kernel);

    ck_assert_msg(k && k->node >= 0, "there is no kernel %s that makes a node", kernel);
    return &p->node[k->node];
}

/* Path of the op whose output a node stores; "z": it is its own weight op's. */
static const char *stored_by(const Plan *p, const Tensor *nd)
{
    return nd->stored_op == nd->key ? "z" : p->g->op[nd->stored_op].path;
}

/* What the node that the first conv makes stores, how many kernels there are, routes. */
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
    {"conv-maxpool(3,1,1)-bn-relu", "conv-relu", "z", 4, 0}, /* as large as z, and a byte a window more */
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
        const Tensor *m = &a->node[x->node], *n = &b->node[y->node];
        ck_assert_str_eq(stored_by(a, m), stored_by(b, n));
        ck_assert_int_eq(m->nlink, n->nlink);
        ck_assert_int_eq(m->nnorm, n->nnorm);
        ck_assert_int_eq(x2->nin, 1);
        ck_assert_int_eq(y2->nin, 1);
        ck_assert_int_eq(x->w->out.grad, y->w->out.grad);
        ck_assert_int_eq(x2->in[0].grad, y2->in[0].grad);
        const Way *way[2][2] = {{&x->w->out, &y->w->out}, {&x2->in[0], &y2->in[0]}};
        for (int w = 0; w < 2; w++) {
            ck_assert_int_eq(way[w][0]->n, way[w][1]->n);
            for (int l = 0; l < way[w][0]->n; l++)
                ck_assert_int_eq(a->g->op[way[w][0]->link[l].op].kind, b->g->op[way[w][1]->link[l].op].kind);
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

START_TEST(one_layer_in_words)
{
    Plan *p = plan_of("[4, 12, 12]", "conv: 8, conv: {out: 8, order: conv-act-bn}, conv: 8", "portable");
    char *text = NULL;
    size_t len = 0;
    int *ops;
    const int n = why_find(p->g, "conv2", &ops);

    ck_assert_int_eq(n, 3);
    FILE *f = open_memstream(&text, &len);
    why_print(p, "conv2", ops, n, f);
    fclose(f);
    ck_assert(strstr(text, "\nconv1.") == NULL);
    ck_assert(strstr(text, "\nconv2.conv (conv): 8x12x12 -> 8x12x12\n") != NULL);
    ck_assert(
        strstr(text, "  applied     prologue of kernel conv3, on registers, from what is stored of conv2.act\n") !=
        NULL); /* its norm is applied there */
    ck_assert(strstr(text, "  inference   a multiply-add in the epilogue of conv2") != NULL);
    free(text);
    ck_assert_int_eq(why_find(p->g, "conv", &ops), 0); /* no prefix of a word */
    ck_assert_str_eq(why_nearest(p->g, "covn2"), "conv2");
}
END_TEST

START_TEST(bytes_stored) /* chains with one norm a block, channels multiples of 16: half of what autograd keeps, less a
                            little */
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

/* "conv1.conv* conv1.act<conv1.conv": a node a word. = and what it stores, where that is another op's output; < and
 * what its readers recompute it from; * where backward reads what is stored; and how many norms read it. */
static const char *nodes_in_words(const Plan *p)
{
    Buf b = {0};

    for (int i = 1; i < p->nnode; i++) {
        const Tensor *nd = &p->node[i];
        buf_printf(&b, "%s%s", i > 1 ? " " : "", p->g->op[nd->op].path);
        if (!nd->stored)
            buf_printf(&b, "<%s", p->g->op[p->node[nd->root].op].path);
        else if (nd->stored_op != nd->op)
            buf_printf(&b, "=%s", p->g->op[nd->stored_op].path);
        if (nd->kept)
            buf_puts(&b, "*");
        if (nd->nnorm)
            buf_printf(&b, "%d", nd->nnorm);
    }
    return b.text;
}

/* Training kernels; + before those whose out way does a sum. A pass that nothing of runs forward stands in brackets. */
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

/* A residual net: `stem`, stages of `repeat` blocks with 16, 32, ... channels, `tail`. */
static Plan *residual_net(const char *order, const char *keys, const char *stem, int stages, int repeat,
                          const char *tail)
{
    Buf b = {0};

    buf_printf(&b, "{name: n1, input: [3, 32, 32], classes: 10, order: %s, layers: [conv: {out: 16, order: %s}", order,
               stem);
    for (int i = 0; i < stages; i++)
        buf_printf(&b, ", stage: {name: s%d, repeat: %d, out: %d, stride: %d, %s}", i + 1, repeat, 16 << i, i ? 2 : 1,
                   keys);
    buf_printf(&b, "%s, global_avg_pool, linear: classes], train: {batch: 8}}", tail);
    return plan_of_text(b.text, "avx2");
}

/* The five arrangements of He et al. 2016, figure 4, and two of them with other shortcuts. */
static const struct Arrangement {
    const char *name, *order, *keys, *stem, *tail;
    double most;                             /* of what autograd keeps */
    const char *nodes, *kernels, *inference; /* of one block of 16 channels, and one of 32 behind it */
} arrangements[] = {
    {"original", "conv-bn-act", "residual: [conv, conv: {order: conv-bn}], post: act, shortcut: conv-bn", "conv-bn-act",
     "", 0.78,
     "conv1.conv*1 conv1.act<conv1.conv s1.conv1.conv*1 s1.conv2.conv*1 s1.post.act* s2.shortcut.conv*1 "
     "s2.conv1.conv*1 s2.conv2.conv*1 linear1.linear",
     "conv1 (pass_conv1_act) s1_conv1 s1_conv2 pass_s1_post_act s2_shortcut s2_conv1 s2_conv2 linear1 loss",
     "conv11 s1_conv1!1 +s1_conv2!1 s2_shortcut!1 s2_conv11 +s2_conv2!1 linear1!"},
    {"norm after addition", "conv-bn-act", "residual: [conv, conv: {order: conv}], post: bn-act, shortcut: conv",
     "conv-bn-act", "", 0.78,
     "conv1.conv*1 conv1.act<conv1.conv s1.conv1.conv*1 s1.add*1 s1.post.act<s1.add s2.shortcut.conv s2.conv1.conv*1 "
     "s2.add*1 linear1.linear",
     "conv1 (pass_conv1_act) s1_conv1 +s1_conv2 (pass_s1_post_act) s2_shortcut s2_conv1 +s2_conv2 linear1 loss",
     "conv11 s1_conv1!1 +s1_conv2! s2_shortcut! s2_conv11 +s2_conv2! linear1!"},
    {"relu before addition", "conv-bn-act", "residual: [conv, conv], shortcut: conv-bn-act", "conv-bn-act", "", 0.78,
     "conv1.conv*1 conv1.act<conv1.conv s1.conv1.conv*1 s1.conv2.conv*1 s1.add* s2.shortcut.conv*1 s2.conv1.conv*1 "
     "s2.conv2.conv*1 linear1.linear",
     "conv1 (pass_conv1_act) s1_conv1 s1_conv2 pass_s1_add s2_shortcut s2_conv1 s2_conv2 linear1 loss",
     "conv11 s1_conv1!1 +s1_conv2!1 s2_shortcut!1 s2_conv11 +s2_conv2!1 linear1!"},
    {"relu-only pre-activation", "act-conv-bn", "residual: [conv, conv], shortcut: conv-bn", "conv-bn", ", act", 0.78,
     "conv1.conv*1 conv1.bn<conv1.conv s1.conv1.conv*1 s1.conv2.conv*1 s1.add* s2.shortcut.conv*1 s2.conv1.conv*1 "
     "s2.conv2.conv*1 linear1.linear",
     "conv1 (pass_conv1_bn) s1_conv1 s1_conv2 pass_s1_add s2_shortcut s2_conv1 s2_conv2 linear1 loss",
     "conv11 s1_conv11 +s1_conv2!1 s2_shortcut!1 s2_conv11 +s2_conv2!1 linear1!"},
    {"full pre-activation", "bn-act-conv", "residual: [conv, conv], shortcut: conv", "conv", ", bn, act", 0.55,
     "conv1.conv*1 s1.conv1.conv*1 s1.add*1 s2.shortcut.conv s2.conv1.conv*1 s2.add*1 linear1.linear",
     "conv1 s1_conv1 +s1_conv2 s2_shortcut s2_conv1 +s2_conv2 linear1 loss",
     "conv1 s1_conv11 +s1_conv2! s2_shortcut! s2_conv11 +s2_conv2! linear1!"},
    {"original, option A", "conv-bn-act", "residual: [conv, conv: {order: conv-bn}], post: act, shortcut: pad",
     "conv-bn-act", "", 0.78,
     "conv1.conv*1 conv1.act<conv1.conv s1.conv1.conv*1 s1.conv2.conv*1 s1.post.act* s2.conv1.conv*1 s2.conv2.conv*1 "
     "linear1.linear",
     "conv1 (pass_conv1_act) s1_conv1 s1_conv2 pass_s1_post_act s2_conv1 s2_conv2 linear1 loss",
     "conv11 s1_conv1!1 +s1_conv2!1 s2_conv1!1 +s2_conv2!1 linear1!"},
    {"full pre-activation, option A", "bn-act-conv", "residual: [conv, conv], shortcut: pad", "conv", ", bn, act", 0.55,
     "conv1.conv*1 s1.conv1.conv*1 s1.add*1 s2.conv1.conv*1 s2.add*1 linear1.linear",
     "conv1 s1_conv1 +s1_conv2 s2_conv1 +s2_conv2 linear1 loss",
     "conv1 s1_conv11 +s1_conv2! s2_conv11 +s2_conv2! linear1!"},
    {"full pre-activation, projections behind it", "conv-bn-act",
     "pre: bn-act, residual: [conv, conv: {order: conv}], shortcut: conv, shortcut_from: pre", "conv", ", bn, act",
     0.55,
     "conv1.conv*1 s1.conv1.conv*1 s1.add*1 s2.pre.act<s1.add s2.shortcut.conv s2.conv1.conv*1 s2.add*1 linear1.linear",
     "conv1 s1_conv1 +s1_conv2 (pass_s2_pre_act) s2_shortcut s2_conv1 +s2_conv2 linear1 loss",
     "conv1 s1_conv11 +s1_conv2! s2_shortcut! s2_conv11 +s2_conv2! linear1!"},
};

/* Gradients: one tensor a node. The first in backward that gives to it writes, all others add, all before its maker
 * runs. */
static void check_gradients(const Plan *p)
{
    bool *given = xalloc((size_t)p->nnode);

    for (int i = p->nkernel - 1; i >= 0; i--) {
        const Kernel *k = &p->kernel[i];
        for (int c = -1; c < k->nin; c++) {
            const Chain *chain = c < 0 ? kernel_chain(k, CHAIN_DOUT) : &k->din[c];
            for (int r = 0; r < chain->n; r++) {
                const Run *run = &chain->run[r];
                for (int s = 0; s <= run->nstep; s++) { /* behind the last step, what the run itself gives */
                    const bool own = s == run->nstep;
                    if (own ? run->to.where != AT_SLOT : run->step[s].kind != STEP_GIVE)
                        continue;
                    const Port *port = &k->port[own ? run->to.port : run->step[s].in2];
                    const char *path = p->g->op[p->node[port->node].op].path;
                    ck_assert_msg(port->grad && p->node[port->node].grad, "%s gives to %s, which wants nothing",
                                  k->name, path);
                    ck_assert_msg((own ? run->adds : run->step[s].adds) == given[port->node], "%s, %s: %s", k->name,
                                  path, given[port->node] ? "writes over what is there" : "adds to what is not there");
                    ck_assert_msg(p->node[port->node].maker < i, "%s gives to %s too late", k->name, path);
                    given[port->node] = true;
                }
            }
        }
    }
    for (int i = 1; i < p->nnode; i++) {
        ck_assert_int_eq(given[i], p->node[i].grad);
        ck_assert(p->node[i].grad);
        for (int j = 0; j < i; j++)
            ck_assert_msg(p->node[i].op != p->node[j].op, "%s is two nodes", p->g->op[p->node[i].op].path);
    }
}

/* Statistics are taken of each channel of a node that norms read once, and of no other. */
static void check_statistics(const Plan *p)
{
    for (int i = 0; i < p->nnode; i++) {
        const Tensor *nd = &p->node[i];
        int channels = 0;
        for (int j = 0; j < p->nkernel; j++) {
            const Kernel *k = &p->kernel[j];
            for (int c = -1; c < k->nin && k->node == i; c++) {
                const Chain *chain = c < 0 ? kernel_chain(k, CHAIN_AFTER) : &k->before[c];
                for (int r = 0; r < chain->n; r++)
                    for (int s = 0; s < chain->run[r].nstep; s++)
                        channels += chain->run[r].step[s].kind == STEP_STATS ? chain->run[r].shape.c : 0;
            }
        }
        ck_assert_msg(channels == (nd->nnorm ? nd->shape[nd->nlink].c : 0), "%s: statistics of %d channels",
                      p->g->op[nd->op].path, channels);
    }
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
    ck_assert_msg(strcmp(nodes_in_words(p), a->nodes) == 0, "%s: nodes\n%s\n%s", a->name, nodes_in_words(p), a->nodes);
}
END_TEST

static const char *const concat_net = /* branches of 24, 16 and 9 channels, then a dense block on them */
    "{name: n1, input: [3, 32, 32], classes: 10, order: bn-act-conv, layers: [conv: {out: 24, order: conv}, stage: "
    "{name: d1, repeat: 2, only: {2.b2.conv1: {out: 9}}, "
    "concat: [[], [conv: 16]], transition: [conv: {kernel: 1, out: 32}, avgpool(2)]}, bn, act, global_avg_pool, "
    "linear: classes]}";

START_TEST(concat_is_a_list_of_ways)
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
        const Way *w = &k->in[i];
        ck_assert_ptr_eq(&p->node[w->node], made_by(p, maker[i]));
        ck_assert_int_eq(w->n, 2);
        ck_assert_int_eq(w->grad, 0); /* the node is what is stored: its gradient is taken there */
        ck_assert_int_eq(w->first, first[i]);
        ck_assert_int_eq(w->total, 49);
        ck_assert_int_eq(w->shape[2].c, channels[i]);
        ck_assert_int_eq(infer->in[i].first, first[i]);
        for (int l = 0; l < 2; l++)
            ck_assert_int_eq(w->link[l].first, first[i]);
        /* forward it goes to its channels of the packed input; backward it comes from these */
        const Run *run = &k->before[i].run[k->before[i].n - 1], *back = &k->din[i].run[k->din[i].n - 1];
        ck_assert_int_eq(run->to.image, k->w->x);
        ck_assert_int_eq(run->to.first, first[i]);
        ck_assert_int_eq(run->to.total, 49);
        ck_assert_int_eq(back->from.image, k->conv->dx);
        ck_assert_int_eq(back->from.first, first[i]);
        ck_assert_int_eq(back->to.where, AT_SLOT);
        ck_assert_int_eq(k->port[back->to.port].node, w->node);
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
        const char *node;
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
        const Tensor *nd = node_of(p, want[i].node);
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
    ck_assert(p->node[k->node].stored && p->node[k->node].kept);
    for (int i = 0; i < 2; i++) {
        const Run *r = &k->before[i].run[0];
        ck_assert_int_eq(k->before[i].n, 1);
        ck_assert_int_eq(r->store_first, i ? 5 : 0);
        ck_assert_int_eq(r->store_total, 16);
        ck_assert_int_eq(k->din[i].run[0].from.first, i ? 5 : 0);
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
    ck_assert_int_eq(add->nside, 1);
    ck_assert_ptr_eq(&p->node[add->side[0].way.node], made_by(p, "s2_1_shortcut"));
    ck_assert_int_eq(add->side[0].way.n, 1);
    ck_assert_str_eq(p->g->op[add->side[0].way.link[0].op].path, "s2.1.shortcut.bn");
    /* the pass takes the backward sums of both norms */
    NormSum *sum;
    ck_assert_int_eq(plan_sums(p, k, &sum), 2);
    /* the second block's identity reads what the pass before stored, unchanged */
    const Kernel *next = kernel_of(p, "pass_s1_2_post_act");
    ck_assert_ptr_nonnull(next);
    ck_assert_ptr_eq(&p->node[next->in[0].link[1].side[0].way.node], made_by(p, "pass_s1_1_post_act"));
    ck_assert_int_eq(next->in[0].link[1].side[0].way.n, 0);
}
END_TEST

START_TEST(padded_shortcut) /* is read by the side, through the pad */
{
    const struct Arrangement *a = &arrangements[6];
    Plan *p = residual_net(a->order, a->keys, a->stem, 2, 1, a->tail);
    const Kernel *k = kernel_of(p, "s2_conv2"), *infer = infer_of(p, "s2_conv2");

    for (int i = 0; i < 2; i++) {
        const Way *w = i ? &infer->w->out : &k->w->out;
        ck_assert_int_eq(w->n, i ? 4 : 1); /* at inference, what stands behind the sum too */
        const Side *side = &w->link[0].side[0];
        ck_assert_int_eq(w->link[0].nside, 1);
        ck_assert_int_eq(side->pad >= 0 ? (int)p->g->op[side->pad].kind : -1, OP_PAD);
        ck_assert_int_eq(p->g->op[side->pad].before, 8);
        ck_assert_int_eq(side->way.shape[0].c, 32);
    }
    ck_assert_ptr_eq(&p->node[k->w->out.link[0].side[0].way.node], node_of(p, "s1.add"));
}
END_TEST

START_TEST(input_with_a_norm) /* a pass takes the statistics, and gives no gradient on */
{
    Plan *p =
        plan_of("[4, 12, 12]", "conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}", "portable");
    const Kernel *k = kernel_of(p, "pass_input");

    ck_assert_ptr_nonnull(k);
    ck_assert_ptr_eq(k, &p->kernel[0]);
    ck_assert_int_eq(k->node, 0);
    ck_assert(k->has_forward && !k->back_data);
    ck_assert_int_eq(p->node[0].nnorm, 1);
    ck_assert(!p->node[0].grad);
    /* gamma and beta want sums all the same: conv1's backward goes back to them, and no further */
    const Kernel *conv = kernel_of(p, "conv1");
    NormSum *sum;
    ck_assert(conv->back_data);
    ck_assert_int_eq(plan_sums(p, conv, &sum), 1);
    ck_assert_int_eq(conv->din[0].run[conv->din[0].n - 1].to.where, NOWHERE);
}
END_TEST

START_TEST(
    input_beside_others) /* way 0 of a concat is the input, whose gradient nobody wants: the core runs for the second */
{
    Plan *p = plan_of_text("{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[], [conv: 16]]}, "
                           "conv: 16, global_avg_pool, linear: classes]}",
                           "avx2");
    const Kernel *k = kernel_of(p, "conv1");
    bool core = false;

    ck_assert(k->back_data);
    for (int i = 0; i < k->nin; i++)
        core |= k->din[i].n && k->din[i].run[0].from.where == AT_CORE;
    ck_assert(core);
    OutDir out = {0};
    emit_network(p, PART_ALL, &out);
}
END_TEST

START_TEST(direct_kernels) /* read a node as it lies: with their halo, unless others ask for another */
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
            ck_assert(q->nin == 1 && q->in[0].n == 0 && q->in[0].node > 0 && q->image[q->w->x].given);
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

/* ---- tile ---- */

static const char *const shapes[] = {"[1, 28, 28]", "[3, 7, 5]", "[17, 1, 1]", "[40, 13, 3]", "[5, 33, 2]"};

/* Every output pixel is in one tile, and what a tile leaves out is padding alone. */
static void check_core(const Target *t, const Core *c)
{
    int *times = xalloc(sizeof *times * (size_t)(c->h * c->w));

    ck_assert_int_eq(c->out_blocks % c->vectors, 0);
    for (int i = 0; i < c->nband; i++)
        for (int y = c->band[i].from; y < c->band[i].to; y += c->band[i].rows)
            for (int j = 0; j < c->band[i].nspan; j++) {
                const Span *s = &c->band[i].span[j];
                const Tile *tile = &c->tile[s->tile];
                ck_assert_int_eq(tile->rows, c->band[i].rows);
                ck_assert_int_le(tile->rows * tile->cols * c->vectors + c->vectors, t->registers);
                for (int x = s->from; x < s->to; x += tile->cols)
                    for (int p = 0; p < tile->rows * tile->cols; p++) {
                        const int py = p / tile->cols, px = p % tile->cols;
                        ck_assert(y + py < c->h && x + px < c->w);
                        times[(y + py) * c->w + x + px]++;
                        for (int k = 0; k < c->ntap; k++)
                            ck_assert_int_eq(tile_meets_x(c, &c->tap[k], x + px),
                                             tile_meets_x(c, &c->tap[k], tile->x + px));
                        for (int k = 0; k < c->ntap * c->rows && !tile_loops(c, tile->rows); k++)
                            ck_assert_int_eq(tile_meets_y(c, &c->tap[k % c->ntap], k / c->ntap, y + py),
                                             tile_meets_y(c, &c->tap[k % c->ntap], k / c->ntap, tile->y + py));
                    }
            }
    for (int i = 0; i < c->h * c->w; i++)
        ck_assert_int_eq(times[i], 1);
}

START_TEST(tiles_cover_the_image)
{
    const char *const conv[] = {"conv: 20", "conv: {out: 64, stride: 2}",
                                "conv: {out: 3, kernel: [1, 4], stride: [1, 3], padding: [2, 2]}",
                                "conv: {out: 96, kernel: 5}"};

    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        for (const Target *t = targets; t->name; t++) {
            Plan *p = plan_of(shapes[_i], xprintf("%s, %s", conv[i], conv[(i + 1) % 2]), t->name);
            for (int k = 0; k < p->nkernel; k++) {
                const Kernel *kernel = &p->kernel[k];
                if (!kernel->conv)
                    continue;
                check_core(t, &kernel->w->forward);
                int pixels = 0;
                for (int d = 0; d < kernel->conv->ndata; d++) {
                    check_core(t, &kernel->conv->data[d]);
                    pixels += kernel->conv->data[d].h * kernel->conv->data[d].w;
                }
                const Shape in = p->g->op[p->g->op[kernel->op].in].shape;
                if (kernel->back_data) /* the classes of backward-data cover each input pixel once */
                    ck_assert_int_eq(pixels, in.h * in.w);
            }
        }
}
END_TEST

/* ---- dilation, groups ---- */

typedef struct Conv {
    int in, out, groups;
    Shape image; /* c is not read */
    int kernel[2], stride[2], padding[2], dilation[2];
} Conv;

/* The plan of `first` (a conv that gives c->in channels on the image) and c; its kernel 1 is c's. */
static Plan *plan_of_conv(const Conv *c, const char *target)
{
    static Source src;
    const char *text =
        xprintf("{name: n1, input: [%d, %d, %d], classes: 10, winograd: off, layers: [conv: {out: %d, kernel: 1, "
                "padding: 0}, conv: %d, global_avg_pool, linear: classes], train: {batch: 8}}",
                c->in, c->image.h, c->image.w, c->in, c->out);

    src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    Spec *s = spec_read(yaml_parse(text, strlen(text), (Mark){1, 1, 1}));
    ck_assert(s != NULL);
    for (int k = 0; k < s->layer[1].nstage; k++) {
        SpecStage *st = &s->layer[1].stage[k];
        for (int d = 0; d < 2 && st->op == OP_CONV; d++) {
            st->arg[ARG_KERNEL].size[d] = c->kernel[d];
            st->arg[ARG_STRIDE].size[d] = c->stride[d];
            st->arg[ARG_PADDING].sides.before[d] = st->arg[ARG_PADDING].sides.after[d] = c->padding[d];
            st->arg[ARG_DILATION].size[d] = c->dilation[d];
            st->arg[ARG_GROUPS].count = c->groups;
        }
    }
    Graph *g = graph_build(s);
    if (diag_flush(stderr) || !g)
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    Plan *p = plan_build(g, target_find(target));
    if (diag_flush(stderr) || !p)
        ck_abort_msg("no plan: %s", text);
    return p;
}

static const struct {
    int in, out, groups;
    bool lanewise, gathered, back_gathered;
    int64_t w, wt; /* floats, of 3 x 3 taps */
    const char *name;
} group_cases[] = {
    {32, 48, 1, false, false, false, 9 * 32 * 48, 9 * 32 * 48, "conv_32x6x6_48_k3x3_s1x1_p1x1"},
    {32, 96, 2, false, false, false, 9 * 16 * 96, 9 * 32 * 48, "conv_32x6x6_96_k3x3_s1x1_p1x1_g2"}, /* whole blocks */
    {96, 64, 2, false, false, false, 9 * 48 * 64, 9 * 96 * 32, "conv_96x6x6_64_k3x3_s1x1_p1x1_g2"},
    {40, 40, 40, true, false, false, 9 * 48, 9 * 48,
     "conv_40x6x6_40_k3x3_s1x1_p1x1_g40"}, /* depthwise: nothing to gather */
    {3, 3, 3, true, false, false, 9 * 16, 9 * 16, "conv_3x6x6_3_k3x3_s1x1_p1x1_g3"},
    {20, 40, 20, true, true, true, 9 * 48, 9 * 32 * 2, "conv_20x6x6_40_k3x3_s1x1_p1x1_g20"}, /* a multiplier */
    {9, 15, 3, true, true, true, 9 * 16 * 3, 9 * 16 * 5, "conv_9x6x6_15_k3x3_s1x1_p1x1_g3"},
    {64, 96, 4, true, true, true, 9 * 96 * 16, 9 * 64 * 24,
     "conv_64x6x6_96_k3x3_s1x1_p1x1_g4"}, /* 24 are no whole blocks */
};

START_TEST(forms_of_groups)
{
    Plan *p = plan_of_conv(
        &(Conv){
            group_cases[_i].in, group_cases[_i].out, group_cases[_i].groups, {0, 6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        "avx2");
    const Kernel *k = &p->kernel[1];

    ck_assert_str_eq(k->w->core_name, group_cases[_i].name);
    ck_assert_str_eq(p->infer[1].w->core_name, group_cases[_i].name);
    ck_assert_int_eq(k->conv->lanewise, group_cases[_i].lanewise);
    ck_assert_int_eq(k->conv->xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(p->infer[1].op, k->op);
    ck_assert_int_eq(p->infer[1].conv->xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(k->conv->zg >= 0, group_cases[_i].back_gathered);
    ck_assert_int_eq(k->w->w_floats, group_cases[_i].w);
    ck_assert_int_eq(k->conv->wt_floats, group_cases[_i].wt);
    ck_assert(!k->conv->plain || group_cases[_i].groups == 1);
    if (k->conv->lanewise)
        ck_assert_int_eq(k->w->forward.vectors, 1);
    if (k->conv->xg >= 0)
        ck_assert_int_eq(k->conv->weight.images, 1);
}
END_TEST

/* Whatever a core reads lies in its image and in its weights, and it reads all of these. */
static void check_reach(const Core *c, const Image *x, int64_t w_floats)
{
    int64_t low = 0, high = 0, w_high = 0;

    if (c->ntap == 0)
        return; /* a class that no tap reaches */
    for (int i = 0; i < c->ntap; i++)
        for (int r = 0; r<c->rows; r += c->rows> 1 ? c->rows - 1 : 1)
            for (int y = 0; y<c->h; y += c->h> 1 ? c->h - 1 : 1)
                for (int q = 0; q<c->w; q += c->w> 1 ? c->w - 1 : 1) {
                    const int64_t at = c->x_origin + c->tap[i].x + r * c->x_row + y * c->x_y + q * c->x_x;
                    low = at < low ? at : low;
                    high = at > high ? at : high;
                    if (c->tap[i].w + r * c->w_row > w_high)
                        w_high = c->tap[i].w + r * c->w_row;
                }
    const int groups = c->share ? c->out_blocks / c->share : 1;
    ck_assert_int_ge(low, 0);
    ck_assert_int_lt(high, c->x_block);
    ck_assert_int_eq((groups - 1) * c->x_group + c->blocks * c->x_block, x->floats);
    ck_assert_int_eq(c->w_out * c->out_blocks, w_floats);
    ck_assert_int_lt(w_high, c->w_block);
}

START_TEST(cores_stay_in_their_images)
{
    static const int channels[][3] = {{20, 17, 1}, {32, 64, 2}, {12, 12, 12}, {6, 18, 6}, {12, 8, 4}};

    for (int kernel = 1; kernel <= 5; kernel += 2)
        for (int stride = 1; stride <= 4; stride++)
            for (int dilation = 1; dilation <= 4; dilation++)
                for (int padding = 0; padding <= 6; padding += 3) {
                    const Conv c = {channels[_i][0], channels[_i][1],      channels[_i][2], {0, 17, 19},
                                    {kernel, 3},     {stride, 5 - stride}, {padding, 2},    {dilation, 5 - dilation}};
                    const Plan *p = plan_of_conv(&c, "avx2");
                    const Kernel *k = &p->kernel[1], *infer = &p->infer[1];
                    int pixels = 0;
                    check_reach(&infer->w->forward, &infer->image[infer->conv->xg >= 0 ? infer->conv->xg : infer->w->x],
                                infer->w->w_floats);
                    check_reach(&k->w->forward, &k->image[k->conv->xg >= 0 ? k->conv->xg : k->w->x], k->w->w_floats);
                    for (int d = 0; d < k->conv->ndata; d++) {
                        check_reach(&k->conv->data[d], &k->image[k->conv->zg >= 0 ? k->conv->zg : k->w->dz],
                                    k->conv->wt_floats);
                        pixels += k->conv->data[d].h * k->conv->data[d].w;
                    }
                    ck_assert_int_eq(pixels, 17 * 19);
                }
}
END_TEST

START_TEST(
    classes_of_a_dilated_conv) /* stride 2: with a dilation of 2 one class has every tap, with 3 they alternate */
{
    static const struct {
        int dilation, taps[2]; /* along one axis, of the even and the odd pixels */
    } want[] = {{1, {2, 1}}, {2, {3, 0}}, {3, {2, 1}}, {4, {3, 0}}};

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const int d = want[i].dilation;
        const Kernel *k =
            &plan_of_conv(&(Conv){16, 16, 1, {0, 1, 20}, {1, 3}, {1, 2}, {0, 2 * d}, {1, d}}, "portable")->kernel[1];
        ck_assert_int_eq(k->conv->ndata, 2);
        ck_assert_int_eq(k->conv->data[0].ntap, want[i].taps[0]);
        ck_assert_int_eq(k->conv->data[1].ntap, want[i].taps[1]);
    }
    const char *name =
        plan_of_conv(&(Conv){16, 16, 1, {0, 9, 9}, {3, 3}, {1, 1}, {2, 3}, {2, 3}}, "portable")->kernel[1].w->core_name;
    ck_assert_str_eq(name, "conv_16x9x9_16_k3x3_s1x1_p2x3_d2x3");
}
END_TEST

START_TEST(weights_of_one_dimension) /* O, I / groups, K stands where O, I / groups, 1, K would */
{
    static const int channels[][3] = {{2, 20, 1}, {20, 17, 1}, {32, 64, 2}, {12, 12, 12}, {12, 8, 4}};

    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        Plan *p = plan_of_conv(
            &(Conv){channels[i][0], channels[i][1], channels[i][2], {0, 1, 20}, {1, 5}, {1, 1}, {0, 2}, {1, 1}},
            "portable");
        const Kernel *k = &p->kernel[1];
        int64_t block[2][4], outer[2][4], inner[2][4];
        emit_param_layout(p, k->w->wparam, block[0], outer[0], inner[0]);
        Param *q = &p->g->param[k->w->wparam];
        ck_assert_int_eq(q->ndim, 4);
        q->ndim = 3, q->dim[2] = q->dim[3], q->dim[3] = 0;
        emit_param_layout(p, k->w->wparam, block[1], outer[1], inner[1]);
        for (int d = 0; d < 3; d++) {
            const int two = d == 2 ? 3 : d;
            ck_assert_int_eq(block[0][two], block[1][d]);
            ck_assert_int_eq(outer[0][two], outer[1][d]);
            ck_assert_int_eq(inner[0][two], inner[1][d]);
        }
    }
}
END_TEST

/* ---- Winograd ---- */

/* The register tiles of `tiles` tiles are `rows` or one less. */
static void check_split(int rows, int full, int tiles)
{
    ck_assert_int_ge(rows, 1);
    ck_assert_int_eq(full % rows, 0);
    ck_assert_int_le(full, tiles);
    if (full < tiles)
        ck_assert(rows > 1 && (tiles - full) % (rows - 1) == 0);
}

/* What the tiles read, from `origin` on with `border` pixels past them, lies in their image, and they cover h x w
 * outputs. */
static void check_tiles(const Winograd *w, const Image *m, int64_t origin, int64_t row, int64_t block, int border,
                        int blocks)
{
    const int down = w->tiles / w->across;
    const int64_t last = origin + (4 * down - 1 + border) * row + (4 * w->across - 1 + border) * LANES;

    ck_assert_int_eq(w->tiles % w->across, 0);
    ck_assert_int_ge(4 * down, w->h);
    ck_assert_int_ge(4 * w->across, w->w);
    ck_assert_int_ge(origin, 0);
    ck_assert_int_lt(last, block);
    ck_assert_int_lt(origin % row / LANES + 4 * w->across - 1 + border, m->cols);
    ck_assert_int_eq(blocks * block, m->floats);
}

START_TEST(winograd_stays_in_its_images)
{
    static const int channels[][2] = {{4, 16}, {20, 33}, {64, 64}, {256, 128}},
                     sizes[][2] = {{3, 4}, {8, 8}, {7, 14}, {33, 30}};

    const Target *t = &targets[_i / 4];
    const size_t i = _i % 4;
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
        for (int padding = 0; padding < 5; padding += 1 + padding) {
            const Plan *p =
                plan_of_text(xprintf("{name: n1, input: [%d, %d, %d], classes: 10, winograd: on, layers: [conv: {out: "
                                     "%d, kernel: 1}, conv: {out: %d, padding: "
                                     "%d}, global_avg_pool, linear: classes], train: {batch: 32}}",
                                     channels[i][0], sizes[j][0], sizes[j][1], channels[i][0], channels[i][1], padding),
                             t->name);
            const Kernel *k = &p->kernel[1], *infer = &p->infer[1];
            const Image *x = &k->image[k->w->x], *dz = &k->image[k->w->dz], *xi = &infer->image[infer->w->x];
            const Winograd *w = k->conv->winograd, *alone = infer->conv->winograd;
            ck_assert(w[PASS_FORWARD].on && w[PASS_DATA].on && w[PASS_WEIGHTS].on && alone[PASS_FORWARD].on);
            ck_assert_int_eq(alone[PASS_FORWARD].images, 1);
            check_tiles(&alone[PASS_FORWARD], xi, alone[PASS_FORWARD].x_origin, alone[PASS_FORWARD].x_row,
                        alone[PASS_FORWARD].x_block, 2, w[PASS_FORWARD].blocks);
            check_tiles(&w[PASS_WEIGHTS], dz, w[PASS_WEIGHTS].z_origin, w[PASS_WEIGHTS].z_row, w[PASS_WEIGHTS].z_block,
                        0, w[PASS_WEIGHTS].out_blocks);
            for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass++) {
                const Winograd *v = &w[pass];
                check_tiles(v, pass == PASS_DATA ? dz : x, v->x_origin, v->x_row, v->x_block, 2, v->blocks);
                check_split(v->rows, v->full, pass == PASS_WEIGHTS ? LANES : v->block);
                if (v->rows_alone)
                    check_split(v->rows_alone, v->full_alone, v->tiles);
                ck_assert_int_eq(v->out_blocks % v->vectors, 0);
                ck_assert_int_le(v->images, x->copies);
                ck_assert_int_le(v->work, k->image[k->conv->work].floats);
            }
            ck_assert_int_le(w[PASS_DATA].images, dz->copies);
            const int64_t taps = (int64_t)9 * blocks_of(channels[i][0]) * blocks_of(channels[i][1]) * 256;
            ck_assert_int_eq(k->conv->wu_floats, w[PASS_FORWARD].made ? 0 : 4 * taps);
            ck_assert_int_eq(k->conv->wt_floats, w[PASS_DATA].made ? taps : 4 * taps);
            ck_assert_int_eq(infer->w->fold_floats, alone[PASS_FORWARD].made ? taps : 4 * taps);
        }
}
END_TEST

/* Weights are transformed on the way where few tiles meet many channels, in training and at inference apart. */
START_TEST(winograd_weights_from_taps)
{
    static const struct {
        int channels, size, batch;
        bool made[3]; /* forward, backward-data, inference */
    } want[] = {
        {64, 32, 64, {false, false, false}},
        {512, 8, 8, {true, true, true}},
        {128, 8, 128, {false, false, false}},
        {64, 8, 1, {true, true, false}},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Plan *p =
            plan_of_text(xprintf("{name: n1, input: [16, %d, %d], classes: 10, layers: [conv: {out: %d, kernel: 1}, "
                                 "conv: %d, global_avg_pool, linear: classes], "
                                 "train: {batch: %d}}",
                                 want[i].size, want[i].size, want[i].channels, want[i].channels, want[i].batch),
                         "avx2");
        const Winograd *w[] = {&p->kernel[1].conv->winograd[PASS_FORWARD], &p->kernel[1].conv->winograd[PASS_DATA],
                               &p->infer[1].conv->winograd[PASS_FORWARD]};
        for (int j = 0; j < 3; j++) {
            ck_assert(w[j]->on);
            ck_assert_msg((w[j]->made > 0) == want[i].made[j], "%d channels at %d, %d: %d a time", want[i].channels,
                          want[i].size, j, w[j]->made);
            ck_assert_int_eq(w[j]->made ? w[j]->blocks % w[j]->made : 0, 0);
        }
    }
}
END_TEST

START_TEST(winograd_where_it_gains)
{
    static const struct {
        const char *conv, *use;
        bool on;
    } want[] = {
        {"conv: 64", "auto", true},
        {"conv: 64", "off", false},
        {"conv: {out: 64, stride: 2}", "on", false},
        {"conv: {out: 64, dilation: 2, padding: 2}", "on", false},
        {"conv: {out: 64, groups: 2}", "on", false},
        {"conv: {out: 64, kernel: 5}", "on", false},
        {"conv: {out: 64, kernel: [3, 1]}", "on", false},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Plan *p = plan_of_text(xprintf("{name: n1, input: [64, 16, 16], classes: 10, winograd: %s, layers: "
                                             "[conv: {out: 64, kernel: 1}, %s, global_avg_pool, "
                                             "linear: classes]}",
                                             want[i].use, want[i].conv),
                                     "avx2");
        const Kernel *k = &p->kernel[1];
        for (int pass = 0; pass < 3; pass++)
            ck_assert_int_eq(k->conv->winograd[pass].on, want[i].on);
    }
    /* a pixel a tile is sixteen times the work: not here; a first layer's image is plain */
    const Kernel *few = &plan_of_text("{name: n1, input: [16, 1, 1], classes: 10, layers: [conv: {out: 16, kernel: 1}, "
                                      "conv: 16, global_avg_pool, linear: classes]}",
                                      "avx2")
                             ->kernel[1];
    ck_assert(!few->conv->winograd[PASS_FORWARD].on && !few->conv->winograd[PASS_DATA].on &&
              !few->conv->winograd[PASS_WEIGHTS].on);
    const Kernel *first = &plan_of_text("{name: n1, input: [3, 32, 32], classes: 10, winograd: on, layers: [conv: 16, "
                                        "global_avg_pool, linear: classes]}",
                                        "avx2")
                               ->kernel[0];
    ck_assert(!first->conv->winograd[PASS_FORWARD].on && !first->conv->winograd[PASS_WEIGHTS].on);
}
END_TEST

/* Multiply-adds of a step of the largest tile, its taps unrolled. */
static int largest_tile(const Core *c)
{
    int n = 0;

    for (int i = 0; i < c->ntile; i++) {
        const int one =
            c->tile[i].rows * c->tile[i].cols * c->vectors * c->ntap * (tile_loops(c, c->tile[i].rows) ? 1 : c->rows);
        n = one > n ? one : n;
    }
    return n;
}

START_TEST(unroll_budget)
{
    static const char *const form = "{name: n1, input: [16, 8, 8], classes: 4, unroll: %s, layers: [conv: {out: 32, "
                                    "kernel: 5}, conv: 32, global_avg_pool, linear: classes]}";
    const Core *automatic = &plan_of_text(xprintf(form, "auto"), "avx512")->kernel[0].w->forward;
    const Core *small = &plan_of_text(xprintf(form, "60"), "avx512")->kernel[0].w->forward;
    const Core *full = &plan_of_text(xprintf(form, "full"), "portable")->kernel[1].w->forward;

    ck_assert_int_eq(automatic->ntap * automatic->rows, 25);
    ck_assert_int_gt(largest_tile(automatic), 60);
    ck_assert_int_le(largest_tile(small), 60);
    ck_assert_int_eq(full->ntap, 9 * 16);
    ck_assert_int_eq(full->rows, 1);
    ck_assert_int_eq(full->lanes, 1);
}
END_TEST

START_TEST(unroll_none) /* one register, one row of taps, loops around */
{
    static const char *const form =
        "{name: n1, input: [3, 8, 8], classes: 4, unroll: %s, layers: [conv: 32, conv: {out: 32, stride: 2}, conv: "
        "{out: 32, groups: 32}, global_avg_pool, linear: classes]}";
    Plan *p = plan_of_text(xprintf(form, "none"), "avx2"), *large = plan_of_text(xprintf(form, "auto"), "avx2");

    for (int i = 0; i < 3; i++) {
        const Core *c = &p->kernel[i].w->forward;
        ck_assert_int_eq(c->tile[0].rows * c->tile[0].cols * c->vectors, 1);
        ck_assert_int_eq(c->ntap, 3);
        ck_assert_int_eq(c->rows, 3);
        ck_assert_int_eq(c->ntile, 1); /* no edges */
        ck_assert_int_eq(p->kernel[i].conv->weight.vectors, 1);
        ck_assert_int_le(p->kernel[i].conv->weight.nacc, 3);
        ck_assert_int_gt(largest_tile(&large->kernel[i].w->forward), largest_tile(c));
        for (int d = 0; d < p->kernel[i].conv->ndata; d++)
            ck_assert_int_le(p->kernel[i].conv->data[d].ntap, 3);
    }
    ck_assert_int_eq(p->stored_bytes, large->stored_bytes); /* what is fused and stored is the same */
}
END_TEST

START_TEST(unroll_full_is_refused) /* 49 taps x 16 channels x 28 registers */
{
    Source src = {.path = "spec.yaml",
                  .text = "{name: n1, input: [16, 28, 28], classes: 16, unroll: full, layers: [conv: {out: 32, kernel: "
                          "7}, global_avg_pool, linear: classes]}"};
    char *text = NULL;
    size_t len = 0;

    src.len = strlen(src.text);
    diag_source(&src);
    Graph *g = graph_build(spec_read(yaml_parse(src.text, src.len, (Mark){1, 1, 1})));
    grad_build(g);
    plan_build(g, target_find("avx512"));
    FILE *f = open_memstream(&text, &len);
    ck_assert(diag_flush(f));
    fclose(f);
    ck_assert_msg(strstr(text, "spec.yaml:1:54: error: unroll: full makes 21952 statements of one function of conv1; "
                               "at most 20000 are made") != NULL,
                  "%s", text);
    free(text);
}
END_TEST

/* ---- memory ---- */

START_TEST(stored_tensors_do_not_overlap)
{
    Plan *p = plan_of("[3, 16, 16]",
                      "conv: {out: 20, order: conv-maxpool(2)-bn-act}, conv: {out: 7, order: conv-bn-act-bn}, conv: "
                      "33, drop(0.2), bn",
                      "avx512");
    struct {
        int64_t at, end;
    } slot[64];
    int n = 0;

    for (int i = 0; i < p->nnode; i++) {
        const Tensor *s = &p->node[i];
        if (s->op == 0 || !s->stored)
            continue;
        const Shape t = s->shape[0];
        slot[n].at = s->slot;
        slot[n].end = slot[n].at + (int64_t)blocks_of(t.c) * LANES * t.h * t.w;
        n++;
        for (int r = 0; r < s->nroute; r++, n++) {
            const Shape w = p->g->op[s->route[r]].shape;
            slot[n].at = s->route_slot[r];
            slot[n].end = slot[n].at + (int64_t)blocks_of(w.c) * LANES * w.h * w.w / 4;
        }
    }
    ck_assert_int_eq(n, 5);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(slot[i].at % LANES, 0);
        ck_assert(slot[i].end <= p->image_floats);
        for (int j = 0; j < i; j++)
            ck_assert_msg(slot[i].end <= slot[j].at || slot[j].end <= slot[i].at, "slots %d and %d overlap", i, j);
    }
}
END_TEST

/* ---- memory: lifetimes, by what the kernels' runs read and write ---- */

typedef struct Life {
    const char *what;
    int64_t at, floats;
    int from, to, read; /* steps: the first and the last that touch it, the last that reads a value */
} Life;

typedef struct Lives {
    const Plan *p;
    Life *part;
    int n;
    int *value, *grad, *route; /* of a node: its part; route: of the first */
    int *kept;                 /* of an image norm, by op */
} Lives;

static int add_part(Lives *l, const char *what, int64_t at, int64_t floats)
{
    *PUSH(l->part, l->n) = (Life){what, at, floats, INT32_MAX, -1, -1};
    return l->n - 1;
}

static void touch(Lives *l, int part, int step, bool read)
{
    Life *t = &l->part[part];

    t->from = step < t->from ? step : t->from;
    t->to = step > t->to ? step : t->to;
    if (read)
        t->read = step > t->read ? step : t->read;
}

static void touch_value(Lives *l, int node, int step, bool read)
{
    const Tensor *root = &l->p->node[l->p->node[node].root];

    if (root->op != 0)
        touch(l, l->value[l->p->node[node].root], step, read);
}

/* Statistics of images: those that a step takes or gives back are of all image norms over the node. */
static void touch_image_norms(Lives *l, const Tensor *nd, int step)
{
    for (int i = 0; i < nd->nimage_norm; i++)
        touch(l, l->kept[nd->image_norm[i]], step, false);
}

static void add_image_norms(Lives *l, bool infer)
{
    const Plan *p = l->p;

    l->kept = xalloc(sizeof(int) * (size_t)p->g->nop);
    for (int i = 0; i < p->nnorm; i++) {
        const Op *o = &p->g->op[p->norm[i].op];
        if (op_is_image_norm(o->kind))
            l->kept[p->norm[i].op] =
                add_part(l, xprintf("statistics of %s", o->path), infer ? p->norm[i].infer_slot : p->norm[i].slot,
                         (infer ? 3 : 5) * (int64_t)o->groups);
    }
}

static void visit(Lives *l, const Kernel *k, const Chain *c, int step)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        if (r->from.where == AT_SLOT && r->back)
            touch(l, l->grad[k->port[r->from.port].node], step, false);
        else if (r->from.where == AT_SLOT)
            touch_value(l, k->port[r->from.port].node, step, true);
        if (r->value.where == AT_SLOT)
            touch_value(l, k->port[r->value.port].node, step, true);
        if (r->to.where == AT_SLOT)
            touch(l, l->grad[k->port[r->to.port].node], step, false);
        for (int s = 0; s < r->nstep; s++) {
            const Step *st = &r->step[s];
            if (st->kind == STEP_SIDE)
                touch_value(l, r->side[st->side].side->way.node, step, true);
            else if (st->kind == STEP_GIVE)
                touch(l, l->grad[k->port[st->in2].node], step, false);
            else if (st->kind == STEP_STORE)
                touch_value(l, k->node, step, false);
            else if (st->kind == STEP_IMAGE_STATS || st->kind == STEP_CORRECT_IMAGE)
                touch_image_norms(l, &l->p->node[k->node], step);
            if (st->op >= 0 && op_is_image_norm(l->p->g->op[st->op].kind))
                touch(l, l->kept[st->op], step, false);
        }
        for (int w = 0; r->route && w < l->p->node[k->node].nroute; w++)
            if (l->p->node[k->node].route[w] == r->window)
                touch(l, l->route[k->node] + w, step, false);
    }
}

static Lives parts_of(const Plan *p)
{
    const int last = p->nkernel - 1;
    Lives l = {.p = p};

    l.value = xalloc(sizeof(int) * (size_t)p->nnode);
    l.grad = xalloc(sizeof(int) * (size_t)p->nnode);
    l.route = xalloc(sizeof(int) * (size_t)p->nnode);
    for (int i = 1; i < p->nnode; i++) {
        const Tensor *nd = &p->node[i];
        const char *path = p->g->op[nd->op].path;
        l.value[i] = nd->stored ? add_part(&l, path, nd->slot, blocked_floats(nd->shape[0])) : -1;
        l.grad[i] = add_part(&l, xprintf("gradient of %s", path), nd->grad_slot, blocked_floats(nd->shape[nd->nlink]));
        l.route[i] = l.n;
        for (int r = 0; r < nd->nroute; r++)
            add_part(&l, xprintf("routes of %s", path), nd->route_slot[r],
                     (blocked_floats(p->g->op[nd->route[r]].shape) + 3) / 4);
    }
    add_image_norms(&l, false);
    for (int i = 0; i <= last; i++) {
        const Kernel *k = &p->kernel[i];
        const int back = 2 * last - i;
        const bool weights = k->w != NULL;
        visit(&l, k, kernel_chain(k, CHAIN_AFTER), i);
        visit(&l, k, kernel_chain(k, CHAIN_AGAIN), back);
        visit(&l, k, kernel_chain(k, CHAIN_DOUT), back);
        for (int w = 0; w < k->nin; w++) {
            if (k->has_forward)
                visit(&l, k, &k->before[w], i);
            const Chain windows = {k->before[w].run, k->before[w].n - 1};
            if (weights)
                visit(&l, k, &k->before[w], back);
            else if (k->back_data && k->kind == KERNEL_PASS)
                visit(&l, k, &windows, back);
            visit(&l, k, &k->din[w], back);
        }
        if (k->linear) {
            const struct {
                const char *what;
                int64_t at;
                int image, step;
            } mat[] = {{"x", k->linear->mat_x, k->w->x, i},
                       {"y", k->linear->mat_y, k->linear->y, i},
                       {"x again", k->linear->mat_back_x, k->w->x, back},
                       {"dz", k->linear->mat_dz, k->w->dz, back},
                       {"dx", k->linear->mat_dx, k->linear->dx, back}};
            for (size_t m = 0; m < sizeof mat / sizeof *mat; m++)
                if (mat[m].image >= 0)
                    touch(&l,
                          add_part(&l, xprintf("%s of %s", mat[m].what, k->name), mat[m].at,
                                   k->image[mat[m].image].floats),
                          mat[m].step, false);
        }
    }
    return l;
}

static bool overlap(const Life *a, const Life *b)
{
    return a->at < b->at + b->floats && b->at < a->at + a->floats;
}

/* No two parts that are alive at once share memory; all lie within `top`; `bound` is no less than what is alive at
 * once. */
static void check_parts(const Lives *l, int64_t top, int64_t bound)
{
    for (int i = 0; i < l->n; i++) {
        const Life *a = &l->part[i];
        int64_t alive = 0;
        ck_assert_msg(a->to >= 0, "%s is there for nothing", a->what);
        ck_assert_msg(a->at >= 0 && a->at % LANES == 0 && a->at + a->floats <= top, "%s lies at %lld", a->what,
                      (long long)a->at);
        for (int j = 0; j < l->n; j++) {
            const Life *b = &l->part[j];
            if (j < i && a->from <= b->to && b->from <= a->to)
                ck_assert_msg(!overlap(a, b), "%s (steps %d to %d) and %s (%d to %d) share memory", a->what, a->from,
                              a->to, b->what, b->from, b->to);
            if (b->from <= a->from && b->to >= a->from)
                alive += b->floats;
        }
        ck_assert_int_le(alive, bound);
    }
    ck_assert_int_le(bound, top);
}

static Lives infer_parts_of(const Plan *p)
{
    Lives l = {.p = p};

    l.value = xalloc(sizeof(int) * (size_t)p->ninfer_node);
    for (int i = 1; i < p->ninfer_node; i++)
        l.value[i] = add_part(&l, p->g->op[p->infer_node[i].op].path, p->infer_node[i].slot,
                              p->infer_image[p->infer_node[i].image].floats);
    add_image_norms(&l, true);
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        if (k->node > 0)
            touch(&l, l.value[k->node], i, false);
        touch_image_norms(&l, &p->infer_node[k->node], i);
        for (int j = 0; j < k->nimage_norm; j++)
            touch(&l, l.kept[k->image_norm[j].op], i, false);
        for (int w = -1; w < k->nin; w++) {
            const Way *way = w < 0 ? kernel_out(k) : &k->in[w];
            if (way->node > 0)
                touch(&l, l.value[way->node], i, true);
            for (int j = 0; j < way->n; j++)
                for (int s = 0; s < way->link[j].nside; s++)
                    if (way->link[j].side[s].way.node > 0)
                        touch(&l, l.value[way->link[j].side[s].way.node], i, true);
        }
        if (k->scratch)
            touch(&l, add_part(&l, xprintf("scratch of %s", k->name), k->scratch_at, k->scratch), i, false);
    }
    touch(&l, l.value[p->logits], p->ninfer, true);
    return l;
}

/* Networks for what holds of every plan; the first few are files. */
static const char *const memory_nets[] = {
    "../specs/conv_layer.yaml",
    "../specs/fashion.yaml",
    "../specs/lenet5.yaml",
    "../specs/vgg.yaml",
    "golden/groups.yaml",
    "golden/length.yaml",
    "golden/everything.yaml",
    /* DenseNet, Inception, a sum of concats, groups in groups, pools that several ops read */
    "{name: n1, input: [3, 32, 32], classes: 10, order: bn-act-conv, layers: [conv: {out: 16, order: conv}, stage: "
    "{name: d1, repeat: 6, concat: [[], [conv: 12]], "
    "transition: [conv: {kernel: 1, out: 40}, avgpool(2)]}, stage: {name: d2, repeat: 6, concat: [[], [conv: 12]]}, "
    "bn, act, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 32, 32], classes: 10, layers: [conv: 16, stage: {name: mix, repeat: 2, concat: [[conv: "
    "{kernel: 1, out: 16}], [conv: {kernel: 1, out: 24}, conv: 32], "
    "['maxpool(3,1,1)', conv: {kernel: 1, out: 8}]]}, conv: 32, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: 16, stage: {shortcut: identity, residual: [stage: "
    "{concat: [[conv: 5], [conv: 11]]}]}, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {concat: [[conv: 5], [conv: 11]]}, stage: {out: 16, "
    "repeat: 2, shortcut: identity, residual: [conv, conv]}, global_avg_pool, linear: classes]}",
    "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: {out: 16, order: 'conv-bn-act-maxpool(2)'}, stage: "
    "{out: 24, repeat: 3, post: 'drop(0.2)', residual: [conv: {order: conv-silu}, conv: {order: 'conv-bn-sigmoid'}]}, "
    "flatten, linear: {out: 32, order: linear-bn-act}, linear: classes]}",
    "{name: n1, input: [3, 12, 12], classes: 10, norm: gn(4), layers: [ln, conv: {out: 36, order: "
    "'conv-norm-act-gn(2)'}, stage: {out: 24, repeat: 3, post: 'in-act', residual: [conv, conv: {order: conv-norm}]}, "
    "stage: {concat: [[bn], [ln], [conv: 8]], post: 'norm-maxpool(2)'}, flatten, linear: {out: 32, order: "
    "'linear-norm-act-ln'}, linear: classes]}",
};
enum {
    MEMORY_NETS = sizeof memory_nets / sizeof *memory_nets,
    ARRANGEMENTS = sizeof arrangements / sizeof *arrangements
};

static const char *memory_net_name(int i)
{
    return i < MEMORY_NETS ? memory_nets[i] : arrangements[i - MEMORY_NETS].name;
}

static Plan *memory_net(int i)
{
    size_t len;

    if (i >= MEMORY_NETS) {
        const struct Arrangement *a = &arrangements[i - MEMORY_NETS];
        return residual_net(a->order, a->keys, a->stem, 3, 3, a->tail);
    }
    if (memory_nets[i][0] == '{')
        return plan_of_text(memory_nets[i], "avx2");
    const char *path = xprintf("%s/%s", tests, memory_nets[i]), *text = file_read(path, 1 << 20, &len);
    ck_assert_msg(text != NULL, "%s cannot be read", path);
    return plan_of_text(text, "avx2");
}

/* Whether tensors are made again in backward: their lives have a gap, which the reckoning here does not know. */
static bool recomputes(const Plan *p)
{
    for (int i = 0; i < p->nnode; i++)
        if (p->node[i].recomputed)
            return true;
    return false;
}

START_TEST(slots_alive_at_once_share_nothing)
{
    Plan *p = memory_net(_i);
    const Lives infer = infer_parts_of(p);

    check_parts(&infer, p->scratch_infer, p->infer_bound);
    check_gradients(p);
    check_statistics(p);
    if (recomputes(p))
        return;
    const Lives l = parts_of(p);
    check_parts(&l, p->image_floats, p->image_bound);
}
END_TEST

/* What is placed over something that is needed is found: of every tensor that backward reads, put where the next such
 * lies, or its own gradient; of what inference reads, put where it is written to; of a scratch image, put into the one
 * before. */
START_TEST(overlaps_are_found)
{
    Plan *p = memory_net(_i);
    Tensor *before = NULL;
    int tried = 0;

    ck_assert_msg(plan_overlap(p) == NULL, "%s: %s", memory_net_name(_i), plan_overlap(p));
    for (int i = 1; i < p->nnode; i++) {
        Tensor *nd = &p->node[i];
        const int64_t slot = nd->slot;
        if (!nd->kept)
            continue;
        if (before) {
            nd->slot = before->slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d over the one before", memory_net_name(_i), i);
            nd->slot = slot;
            tried++;
        }
        if (nd->grad) {
            nd->slot = nd->grad_slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d over its gradient", memory_net_name(_i), i);
            nd->slot = p->image_floats;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: node %d outside", memory_net_name(_i), i);
            nd->slot = slot;
            tried += 2;
        }
        before = nd;
    }
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        for (int j = 0; j < k->nport; j++) {
            Tensor *in = &p->infer_node[k->port[j].node];
            const int64_t slot = in->slot;
            if (k->port[j].node == k->node || in->op == 0 || k->node < 0)
                continue;
            in->slot = p->infer_node[k->node].slot;
            ck_assert_msg(plan_overlap(p) != NULL, "%s: %s writes over what it reads", memory_net_name(_i), k->name);
            in->slot = slot;
            tried++;
        }
    }
    for (int i = 0; i < p->nkernel; i++) {
        Kernel *k = &p->kernel[i];
        for (int j = 0; j < k->nimage; j++)
            if (!k->image[j].row && !k->image[j].given && k->image[j].at > 0) {
                k->image[j].at -= LANES;
                ck_assert_msg(plan_overlap(p) != NULL, "%s: image %d of %s over the one before", memory_net_name(_i), j,
                              k->name);
                k->image[j].at += LANES;
                tried++;
            }
    }
    ck_assert(tried > 0);
    ck_assert(plan_overlap(p) == NULL);
}
END_TEST

/* Two steps in each other's place, a step missing, a step twice: each is found, wherever it stands. */
START_TEST(order_of_steps_is_proved)
{
    Plan *p = memory_net(_i);
    int found = 0;

    ck_assert_msg(plan_misordered(p) == NULL, "%s: %s", memory_net_name(_i), plan_misordered(p));
    ck_assert_int_ge(p->nstep, 2 * p->nkernel);
    TrainStep *right = p->step, *step = xalloc(sizeof *step * (size_t)(p->nstep + 1));
    const int n = p->nstep;
    p->step = step;
    for (int i = 0; i < n; i++, found++) {
        memcpy(step, right, sizeof *step * (size_t)i);
        memcpy(step + i, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        p->nstep = n - 1;
        ck_assert_msg(plan_misordered(p) != NULL, "%s: without step %d", memory_net_name(_i), i);
        memcpy(step, right, sizeof *step * (size_t)n);
        step[n] = right[i];
        p->nstep = n + 1;
        ck_assert_msg(plan_misordered(p) != NULL, "%s: step %d twice", memory_net_name(_i), i);
    }
    p->nstep = n;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) {
            if (right[i].kernel != right[j].kernel) /* kernels that do not touch each other may change places */
                continue;
            memcpy(step, right, sizeof *step * (size_t)n);
            step[i] = right[j];
            step[j] = right[i];
            ck_assert_msg(plan_misordered(p) != NULL, "%s: steps %d and %d change places", memory_net_name(_i), i, j);
        }
    for (int i = 0; i < n; i++) { /* a backward step at the end: what it gives its gradient to was before it */
        const Kernel *k = &p->kernel[right[i].kernel];
        bool gives = false;
        for (int j = 0; j < k->nport; j++)
            gives |= k->port[j].grad && k->port[j].node != k->node && p->node[k->port[j].node].maker >= 0;
        if (right[i].phase != PHASE_BACKWARD || !gives)
            continue;
        memcpy(step, right, sizeof *step * (size_t)i);
        memcpy(step + i, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        step[n - 1] = right[i];
        ck_assert_msg(plan_misordered(p) != NULL, "%s: %s backward last", memory_net_name(_i), k->name);
    }
    for (int i = 1; i < p->nkernel; i++) { /* a forward step first */
        bool reads = false;
        const Kernel *k = &p->kernel[i];
        for (int j = 0; j < k->nport; j++)
            reads |=
                k->port[j].value && k->port[j].node != k->node && p->node[p->node[k->port[j].node].root].maker >= 0;
        if (!reads)
            continue;
        memcpy(step + 1, right, sizeof *step * (size_t)i);
        memcpy(step + i + 1, right + i + 1, sizeof *step * (size_t)(n - i - 1));
        step[0] = right[i];
        ck_assert_msg(plan_misordered(p) != NULL, "%s: %s forward first", memory_net_name(_i), k->name);
    }
    p->step = right;
    ck_assert(plan_misordered(p) == NULL);
}
END_TEST

START_TEST(little_more_memory_than_is_alive)
{
    Plan *p = memory_net(_i);

    ck_assert_msg((double)p->image_floats <= 1.1 * (double)p->image_bound,
                  "%s: an image takes %lld floats, at least %lld are needed", memory_net_name(_i),
                  (long long)p->image_floats, (long long)p->image_bound);
    ck_assert_msg((double)p->scratch_infer <= 1.1 * (double)p->infer_bound,
                  "%s: inference takes %lld floats, at least %lld are needed", memory_net_name(_i),
                  (long long)p->scratch_infer, (long long)p->infer_bound);
}
END_TEST

START_TEST(kept_is_what_backward_reads)
{
    Plan *p = memory_net(_i);
    if (recomputes(p))
        return;
    const Lives l = parts_of(p);
    int64_t bytes = 0;

    for (int i = 1; i < p->nnode; i++) {
        const Tensor *nd = &p->node[i];
        if (!nd->stored)
            continue;
        const bool read = l.part[l.value[i]].read > p->nkernel - 1;
        ck_assert_msg(nd->kept == read, "%s: %s is %skept, and backward reads it %s", memory_net_name(_i),
                      p->g->op[nd->op].path, nd->kept ? "" : "not ", read ? "" : "never");
        bytes += nd->kept ? 4 * blocked_floats(nd->shape[0]) : 0;
        for (int r = 0; r < nd->nroute; r++)
            bytes += blocked_floats(p->g->op[nd->route[r]].shape);
    }
    for (int i = 0; i < p->nnode; i++) /* of image norms a mean in two floats, and 1 / sd, a group */
        for (int j = 0; j < p->node[i].nimage_norm; j++)
            bytes += 4 * 3 * p->g->op[p->node[i].image_norm[j]].groups;
    ck_assert_int_eq(p->stored_bytes, bytes);
}
END_TEST

/* What a kernel's trace reads, right behind its forward, nothing has been written over yet. */
static void check_traced(const char *net, const Lives *l, const Kernel *k, int node)
{
    const int root = l->p->node[node].root;

    if (l->p->node[root].op == 0)
        return;
    const Life *a = &l->part[l->value[root]];
    for (int i = 0; i < l->n; i++)
        ck_assert_msg(&l->part[i] == a || !overlap(a, &l->part[i]) || l->part[i].from <= a->from ||
                          l->part[i].from > (int)(k - l->p->kernel),
                      "%s: the trace of %s reads %s, over which %s was written", net, k->name, a->what,
                      l->part[i].what);
}

START_TEST(traced_values_are_there)
{
    Plan *p = memory_net(_i);
    const Lives l = parts_of(p);

    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        for (int r = 0; r < k->trace.n; r++) {
            const Run *run = &k->trace.run[r];
            if (run->from.where == AT_SLOT)
                check_traced(memory_net_name(_i), &l, k, k->port[run->from.port].node);
            for (int s = 0; s < run->nstep; s++)
                if (run->step[s].kind == STEP_SIDE)
                    check_traced(memory_net_name(_i), &l, k, run->side[run->step[s].side].side->way.node);
        }
    }
}
END_TEST

#define DEEP(recompute)                                                                                                \
    "{name: deep, input: [3, 16, 16], classes: 10, " recompute                                                         \
    "layers: [conv: 16, stage: {name: s1, repeat: 8, out: 16, order: bn-act-conv, residual: [conv, conv]}, "           \
    "global_avg_pool, linear: classes]}"

/* Of a segment's tensors only those that others read are kept; the rest is made again by kernels that run once more. */
START_TEST(recompute_keeps_borders)
{
    const Plan *all = plan_of_text(DEEP(""), "avx2"), *some = plan_of_text(DEEP("recompute: 3, "), "avx2");

    int again = 0;
    ck_assert(!recomputes(all) && recomputes(some));
    for (int i = 0; i < some->nkernel; i++) {
        const Kernel *k = &some->kernel[i];
        again += k->runs_again;
        ck_assert_int_eq(k->runs_again, k->node > 0 && some->node[k->node].recomputed);
        for (int j = 0; j < k->nport; j++) { /* what another segment reads is kept */
            const Tensor *root = &some->node[some->node[k->port[j].node].root];
            if (k->port[j].value && root->maker >= 0 &&
                some->g->op[some->kernel[root->maker].op].segment != some->g->op[k->op].segment)
                ck_assert_msg(!root->recomputed, "%s reads %s", k->name, some->g->op[root->op].path);
        }
    }
    ck_assert_int_gt(again, 8);
    ck_assert_msg(some->stored_bytes * 2 < all->stored_bytes, "%lld bytes kept of %lld", (long long)some->stored_bytes,
                  (long long)all->stored_bytes);
    ck_assert_msg(some->image_floats * 10 < all->image_floats * 8, "%lld floats of %lld", (long long)some->image_floats,
                  (long long)all->image_floats);
}
END_TEST

/* ---- templates ---- */

START_TEST(template_language)
{
    Rec *r = rec_new(), *inner = rec_new();
    Buf b = {0};

    template_read("t.c", "//$ define t_all\n"
                         "a ${x.n} ${x.name}of${x.n} $x.n $${x.n} ${x.inner.w}$\n"
                         "    //$ for i in x.list\n"
                         "    [${i.v}_${x.n}]\n"
                         "    //$ if i.last\n"
                         "    last\n"
                         "    //$ else\n"
                         "    more\n"
                         "    //$ end\n"
                         "    //$ end\n"
                         "//$ if x.none\n"
                         "never\n"
                         "//$ end\n"
                         "  //$ emit x.inner\n"
                         "//$ end\n"
                         "//$ define t_inner\n"
                         "one ${inner.w}\n"
                         "\n"
                         "  two\n"
                         "//$ end\n");
    rec_int(r, "n", 5);
    rec_str(r, "name", "N");
    rec_int(r, "none", 0);
    for (int i = 0; i < 2; i++) {
        Rec *e = rec_add(r, "list");
        rec_int(e, "v", i);
        rec_int(e, "v_5", 9); /* a field is what stands between the braces, whatever follows */
        rec_int(e, "last", i);
    }
    rec_str(inner, "template", "t_inner");
    rec_str(inner, "w", "W");
    rec_rec(r, "inner", inner);
    template_expand("t_all", "x", r, &b);
    ck_assert_str_eq(b.text, "a 5 Nof5 $x.n ${x.n} W$\n    [0_5]\n    more\n    [1_5]\n    last\n  one W\n\n    two\n");
}
END_TEST

static const struct {
    const char *text, *says;
} broken_templates[] = {
    {"\n//$ define t_broken\n\n${x.m}\n//$ end\n", "template t_broken (b.c:4): there is no field 'x.m'\n"},
    {"//$ define t_broken\n${x.nm}\n//$ end\n", "template t_broken (b.c:2): there is no field 'x.nm'\n"},
    {"//$ define t_broken\n${x.list}\n//$ end\n",
     "template t_broken (b.c:2): there is no field 'x.list' that is text\n"},
    {"//$ define t_broken\n${x}\n//$ end\n", "template t_broken (b.c:2): there is no field 'x'\n"},
    {"//$ define t_broken\n${y.n}\n//$ end\n", "template t_broken (b.c:2): 'y.n': nothing is called 'y'\n"},
    {"//$ define t_broken\n${x.n.m}\n//$ end\n", "template t_broken (b.c:2): 'x.n.m': 'x.n' is no record\n"},
    {"//$ define t_broken\n a ${x.n\n//$ end\n", "template t_broken (b.c:2): '${x.n' is never closed\n"},
    {"//$ define t_broken\n//$ if y.n\n//$ end\n//$ end\n",
     "template t_broken (b.c:2): 'y.n': nothing is called 'y'\n"},
    {"//$ define t_broken\n//$ place x.n\n//$ end\n", "template t_broken (b.c:2): '//$ place x.n' is no directive\n"},
    {"//$ define t_other\n//$ end\nstray\n//$ if x.n\n", "b.c:4: '//$ if x.n' outside a definition\n"},
};

/* What is wrong with a template is a bug of convoy, said with the template, the field and the line. */
START_TEST(broken_template)
{
    char said[1024] = "";
    int ends[2], status = 0;

    ck_assert_int_eq(pipe(ends), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        Rec *r = rec_new();
        Buf b = {0};
        rec_int(r, "n", 5);
        rec_add(r, "list");
        template_read("b.c", broken_templates[_i].text);
        template_expand("t_broken", "x", r, &b);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < sizeof said - 1 && (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_msg(strstr(said, broken_templates[_i].says) != NULL, "%s", said);
}
END_TEST

START_TEST(floats_read_back)
{
    const double v[] = {0, 1, -2, 0.1, 1.0 / 3, 1e-30, 3.4e38, 16777217};

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        const char *s = emit_float(v[i]);
        ck_assert_msg((float)v[i] == strtof(s, NULL), "%s", s);
        ck_assert_msg(strpbrk(s, ".e") && s[strlen(s) - 1] == 'f', "%s is no float constant", s);
    }
}
END_TEST

/* ---- costs ---- */

START_TEST(costs)
{
    static const char *const text = "{name: n1, input: [3, 8, 8], classes: 10, winograd: %s, layers: [conv: 16, conv: "
                                    "32, global_avg_pool, linear: classes], train: {batch: 8}}";
    const Plan *p = plan_of_text(xprintf(text, "off"), "portable"), *w = plan_of_text(xprintf(text, "on"), "portable");
    enum { X = 4 * 3 * 64, Z1 = 4 * 16 * 64, Z2 = 4 * 32 * 64, W1 = 4 * 27 * 16, W2 = 4 * 144 * 32 }; /* bytes */
    const double f1 = 2 * 27 * 16 * 64, f2 = 2 * 144 * 32 * 64, pieces = p->pieces;
    const struct {
        const char *kernel;
        Phase phase;
        double flops, image, step;
    } want[] = {
        {"conv1", PHASE_FORWARD, f1, X + Z1, W1},
        {"conv2", PHASE_FORWARD, f2, Z1 + Z2, W2},
        {"conv2", PHASE_BACKWARD, 2 * f2, 2 * Z2 + 2 * Z1,
         (2 * pieces + 4 + 2) * W2}, /* z2, g2, z1; gives g1; dw, w, momentum, wt */
        {"conv1", PHASE_BACKWARD, f1, 2 * Z1 + X, (2 * pieces + 4) * W1},
    };
    double forward = 0, inference = 0;

    ck_assert_double_eq_tol(plan_cost(w, kernel_of(w, "conv2"), PHASE_FORWARD).executed, f2 * 4 * 36 / (9 * 64),
                            0.5); /* 4 tiles of 36 products */
    ck_assert_double_eq_tol(plan_cost(w, kernel_of(w, "conv2"), PHASE_BACKWARD).executed, 2 * f2 * 4 * 36 / (9 * 64),
                            0.5);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Cost c = plan_cost(p, kernel_of(p, want[i].kernel), want[i].phase);
        ck_assert_double_eq_tol(c.useful, want[i].flops, 0.5);
        ck_assert_double_le(c.executed, want[i].flops); /* whole blocks, stride 1: nothing is added */
        ck_assert_double_ge(c.executed,
                            want[i].flops * 22 * 22 / (24 * 24)); /* at most the taps that meet padding are left out */
        ck_assert_double_eq_tol(c.image_bytes, want[i].image, 0.5);
        ck_assert_double_eq_tol(c.step_bytes, want[i].step, 0.5);
    }
    for (int i = 0; i < p->nkernel; i++)
        forward += plan_cost(p, &p->kernel[i], PHASE_FORWARD).useful;
    for (int i = 0; i < p->ninfer; i++)
        inference += plan_cost(p, &p->infer[i], PHASE_INFER).useful;
    ck_assert_double_eq_tol(forward, (double)p->g->flops, 0.5);
    ck_assert_double_eq_tol(inference, (double)p->g->flops, 0.5);
    const Cost head = plan_cost(p, kernel_of(p, "linear1"), PHASE_FORWARD);
    ck_assert_double_eq_tol(head.useful, 2 * 32 * 10, 0.5);
    ck_assert_double_eq_tol(head.executed, 2 * 32 * 16, 0.5); /* ten classes in a block of sixteen */
    ck_assert_double_eq_tol(head.image_bytes, Z2 + 4 * 2 * (32 + 16) + 4 * 16,
                            0.5); /* and the logits, which the loss reads */
}
END_TEST

/* ---- emitted text ---- */

/* The nets that have a file golden/<net>.emitted; an empty one is filled by `rewrite`. */
static const char **nets;

static int find_nets(void)
{
    glob_t found;
    int n = 0;

    if (glob(xprintf("%s/golden/*.emitted", tests), 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *base = strrchr(found.gl_pathv[i], '/') + 1;
        *PUSH(nets, n) = xstrndup(base, strlen(base) - strlen(".emitted"));
    }
    globfree(&found);
    return n;
}

static void emitted(const char *net, Buf *to)
{
    size_t len;
    const char *path = xprintf("%s/golden/%s.yaml", tests, net), *text = file_read(path, 1 << 20, &len);
    OutDir out = {0};

    ck_assert_msg(text != NULL, "%s cannot be read", path);
    emit_network(plan_of_text(text, "portable"), PART_ALL, &out);
    for (int i = 0; i < out.n; i++)
        if (strncmp(out.file[i].name, "runtime/", 8) != 0) {
            buf_printf(to, "======== %s\n", out.file[i].name);
            buf_add(to, out.file[i].text, out.file[i].len);
        }
}

START_TEST(golden_text)
{
    const char *path = xprintf("%s/golden/%s.emitted", tests, nets[_i]);
    Buf b = {0};
    size_t len = 0;

    emitted(nets[_i], &b);
    if (rewrite) {
        ck_assert(file_write(path, b.text, b.len));
        return;
    }
    const char *want = file_read(path, 1 << 24, &len);
    ck_assert_msg(want != NULL, "%s cannot be read", path);
    if (len == b.len && memcmp(want, b.text, len) == 0)
        return;
    int line = 1;
    for (size_t i = 0; i < len && i < b.len && want[i] == b.text[i]; i++)
        line += want[i] == '\n';
    ck_abort_msg("%s: line %d differs from what is emitted now", path, line);
}
END_TEST

START_TEST(same_spec_same_bytes)
{
    Buf a = {0}, b = {0};

    emitted(nets[_i], &a);
    emitted(nets[_i], &b);
    ck_assert_uint_eq(a.len, b.len);
    ck_assert(memcmp(a.text, b.text, a.len) == 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tests = argv[1];
    rewrite = argc > 2 && strcmp(argv[2], "rewrite") == 0;
    Suite *s = suite_create("plan");
    TCase *c = tcase_create("all");
    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_loop_test(c, stored_tensor, 0, sizeof stored_cases / sizeof *stored_cases);
    tcase_add_test(c, rotations_share_the_middle);
    tcase_add_loop_test(c, norms_at_inference, 0, sizeof inference_cases / sizeof *inference_cases);
    tcase_add_test(c, one_layer_in_words);
    tcase_add_loop_test(c, bytes_stored, 0, 2);
    tcase_add_loop_test(c, arrangement, 0, ARRANGEMENTS);
    tcase_add_test(c, concat_is_a_list_of_ways);
    tcase_add_test(c, one_tensor_several_norms);
    tcase_add_test(c, concat_that_a_sum_reads);
    tcase_add_test(c, sum_of_norms);
    tcase_add_test(c, padded_shortcut);
    tcase_add_test(c, input_with_a_norm);
    tcase_add_test(c, input_beside_others);
    tcase_add_test(c, direct_kernels);
    tcase_add_loop_test(c, norms_of_graphs_at_inference, 0, sizeof graph_norms / sizeof *graph_norms);
    tcase_add_loop_test(c, bytes_beside_autograd, 0, ARRANGEMENTS);
    tcase_add_loop_test(c, bytes_of_chains_beside_autograd, 0, 5);
    tcase_add_loop_test(c, tiles_cover_the_image, 0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(c, forms_of_groups, 0, sizeof group_cases / sizeof *group_cases);
    tcase_add_loop_test(c, cores_stay_in_their_images, 0, 5);
    tcase_add_test(c, classes_of_a_dilated_conv);
    tcase_add_test(c, weights_of_one_dimension);
    tcase_add_loop_test(c, winograd_stays_in_its_images, 0, 4 * (TARGET_PORTABLE + 1));
    tcase_add_test(c, winograd_where_it_gains);
    tcase_add_test(c, winograd_weights_from_taps);
    tcase_add_test(c, unroll_budget);
    tcase_add_test(c, unroll_none);
    tcase_add_test(c, unroll_full_is_refused);
    tcase_add_test(c, stored_tensors_do_not_overlap);
    tcase_add_loop_test(c, slots_alive_at_once_share_nothing, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_loop_test(c, overlaps_are_found, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_loop_test(c, order_of_steps_is_proved, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_loop_test(c, little_more_memory_than_is_alive, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_loop_test(c, kept_is_what_backward_reads, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_loop_test(c, traced_values_are_there, 0, MEMORY_NETS + ARRANGEMENTS);
    tcase_add_test(c, recompute_keeps_borders);
    tcase_add_test(c, template_language);
    tcase_add_loop_test(c, broken_template, 0, sizeof broken_templates / sizeof *broken_templates);
    tcase_add_test(c, floats_read_back);
    tcase_add_test(c, costs);
    const int nnets = find_nets();
    if (nnets < 3) {
        fprintf(stderr, "test_plan: %s/golden has only %d .emitted files\n", tests, nnets);
        return 1;
    }
    tcase_add_loop_test(c, golden_text, 0, nnets);
    tcase_add_loop_test(c, same_spec_same_bytes, 0, nnets);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
