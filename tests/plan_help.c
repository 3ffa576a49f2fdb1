/* plan_help.c - plans of small networks, and what stands in a plan by its name. */
#include "plan_help.h"

#include "graph.h"
#include "read.h"

#include <check.h>
#include <string.h>

static Plan *plan_of_spec(const Spec *s, const char *text, const char *target)
{
    Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    Plan *p = plan_build(g, target_find(target));
    if (diag_flush(stderr) || !p)
        ck_abort_msg("no plan: %s", text);
    return p;
}

Plan *plan_of_text(const char *text, const char *target)
{
    static Source src;

    src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    Node *t = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    Spec *s = t ? spec_read(t) : NULL;
    return plan_of_spec(s, text, target);
}

Plan *plan_of(const char *input, const char *layers, const char *target)
{
    return plan_of_text(
        xprintf("{name: n1, input: %s, classes: 10, layers: [%s, global_avg_pool, linear: classes], train: {batch: 8}}",
                input, layers),
        target);
}

/* A training kernel, a tensor, an op by its name. */
const Kernel *kernel_of(const Plan *p, const char *name)
{
    for (int i = 0; i < p->nkernel; i++)
        if (strcmp(p->kernel[i].name, name) == 0)
            return &p->kernel[i];
    return NULL;
}

const Kernel *infer_of(const Plan *p, const char *name)
{
    for (int i = 0; i < p->ninfer; i++)
        if (strcmp(p->infer[i].name, name) == 0)
            return &p->infer[i];
    return NULL;
}

const Tensor *tensor_of(const Plan *p, const char *path)
{
    for (int i = 0; i < p->ntensor; i++)
        if (strcmp(p->g->op[p->tensor[i].op].path, path) == 0)
            return &p->tensor[i];
    return NULL;
}

/* The tensor that a kernel makes. */
const Tensor *made_by(const Plan *p, const char *kernel)
{
    const Kernel *k = kernel_of(p, kernel);

    ck_assert_msg(k && k->tensor >= 0, "there is no kernel %s that makes a node", kernel);
    return &p->tensor[k->tensor];
}

/* Path of the op whose output a tensor stores; "z": it is its own weight op's. */
const char *stored_by(const Plan *p, const Tensor *nd)
{
    return nd->stored_op == nd->key ? "z" : p->g->op[nd->stored_op].path;
}

/* A residual net: `stem`, stages of `repeat` blocks with 16, 32, ... channels, `tail`. */
Plan *residual_net(const char *order, const char *keys, const char *stem, int stages, int repeat, const char *tail)
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

Plan *plan_of_conv(const Conv *c, const char *target)
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
    return plan_of_spec(s, text, target);
}

/* Gradients: one a tensor. The first in backward that gives to it writes, all others add, all before its maker
 * runs. */
void check_gradients(const Plan *p)
{
    bool *given = xalloc((size_t)p->ntensor);

    for (int i = p->nkernel - 1; i >= 0; i--) {
        const Kernel *k = &p->kernel[i];
        for (int c = -1; c < k->nin; c++) {
            const Chain *chain = c < 0 ? kernel_chain(k, CHAIN_DOUT) : &k->din[c];
            for (int r = 0; r < chain->n; r++) {
                const PixelPass *pass = &chain->pass[r];
                for (int s = 0; s <= pass->nstep; s++) { /* after the last step, what the pass itself gives */
                    const bool own = s == pass->nstep;
                    if (own ? pass->to.where != AT_SLOT : pass->step[s].kind != STEP_GIVE)
                        continue;
                    const Port *port = &k->port[own ? pass->to.port : pass->step[s].in2];
                    const char *path = p->g->op[p->tensor[port->tensor].op].path;
                    ck_assert_msg(port->grad && p->tensor[port->tensor].grad, "%s gives to %s, which wants nothing",
                                  k->name, path);
                    ck_assert_msg((own ? pass->adds : pass->step[s].adds) == given[port->tensor], "%s, %s: %s", k->name,
                                  path,
                                  given[port->tensor] ? "writes over what is there" : "adds to what is not there");
                    ck_assert_msg(p->tensor[port->tensor].maker < i, "%s gives to %s too late", k->name, path);
                    given[port->tensor] = true;
                }
            }
        }
    }
    for (int i = 1; i < p->ntensor; i++) {
        ck_assert_int_eq(given[i], p->tensor[i].grad);
        ck_assert(p->tensor[i].grad);
        for (int j = 0; j < i; j++)
            ck_assert_msg(p->tensor[i].op != p->tensor[j].op, "%s is two nodes", p->g->op[p->tensor[i].op].path);
    }
}

/* Statistics are taken of each channel of a tensor that norms read once, and of no other. */
void check_statistics(const Plan *p)
{
    for (int i = 0; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        int channels = 0;
        for (int j = 0; j < p->nkernel; j++) {
            const Kernel *k = &p->kernel[j];
            for (int c = -1; c < k->nin && k->tensor == i; c++) {
                const Chain *chain = c < 0 ? kernel_chain(k, CHAIN_AFTER) : &k->before[c];
                for (int r = 0; r < chain->n; r++)
                    for (int s = 0; s < chain->pass[r].nstep; s++)
                        channels += chain->pass[r].step[s].kind == STEP_STATS ? chain->pass[r].shape.c : 0;
            }
        }
        ck_assert_msg(channels == (nd->nnorm ? nd->shape[nd->nlink].c : 0), "%s: statistics of %d channels",
                      p->g->op[nd->op].path, channels);
    }
}

/* The five arrangements of He et al. 2016, figure 4, and two of them with other shortcuts. */
const struct Arrangement arrangements[] = {
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
const int narrangement = sizeof arrangements / sizeof *arrangements;
