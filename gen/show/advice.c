/* advice.c - the block that a network is made of, in a line for PyTorch, fastai and Keras.
 *
 * needs: a checked Graph; sets: text. What a library's default already says is left out, the rest stands there:
 *
 *            eps    momentum       beta begins at   padding            bias beside a norm
 *   PyTorch  1e-5   .1             0                a number           as it is asked for
 *   fastai   1e-5   .1             1e-3             (ks - 1) / 2       none, unless asked for
 *   Keras    1e-3   1 - .99        0                none, or uneven    as it is asked for
 *
 * (torch.nn.BatchNorm2d; fastai.layers.ConvLayer and BatchNorm, version 2; keras.layers.BatchNormalization, version 3.)
 */
#include "advice.h"
#include "numbers.h"
#include "twin.h"

#include <math.h>
#include <string.h>

#define USUAL_EPS 1e-5
#define USUAL_MOMENTUM .1
#define KERAS_EPS 1e-3
#define KERAS_MOMENTUM .99 /* the weight of the old average: 1 - PyTorch's */

/* A layer's ops, as they stand in the graph. */
typedef struct Block {
    const Op *op;
    int n;
    const Op *conv, *norm, *act; /* the first of each; NULL: none */
    bool plain;                  /* these, once each, and nothing else */
} Block;

static Block block_at(const Graph *g, int from)
{
    Block b = {.op = &g->op[from]};
    while (from + b.n < g->nop && g->op[from + b.n].layer_index == b.op->layer_index) {
        const Op *op = &b.op[b.n++];
        const OpInfo *info = &op_info[op->kind];
        const Op **to = op->kind == OP_CONV ? &b.conv : info->norm ? &b.norm : op_is_act(op->kind) ? &b.act : NULL;
        b.plain = (b.n == 1 || b.plain) && to && !*to;
        if (to && !*to)
            *to = op;
    }
    return b;
}

static bool is_square(const Op *conv)
{
    return conv->kernel[0] == conv->kernel[1] && conv->stride[0] == conv->stride[1] &&
           conv->padding[0] == conv->padding[1] && conv->padding[0] == conv->after[0] &&
           conv->padding[1] == conv->after[1] && conv->dilation[0] == 1 && conv->dilation[1] == 1 && conv->groups == 1;
}

/* ---- PyTorch ---- */

static const char *torch_line(const Block *b)
{
    Buf to = {0};
    const char *channels = "i";
    buf_puts(&to, "nn.Sequential(");
    for (int i = 0; i < b->n; i++) {
        const Op *op = &b->op[i];
        buf_puts(&to, i ? ", " : "");
        if (op->kind == OP_CONV) {
            buf_printf(&to, "nn.Conv2d(i, o, %d, stride=s, padding=%d, bias=%s)", op->kernel[0], op->padding[0],
                       op->bias ? "True" : "False");
            channels = "o";
        } else {
            twin_row(op, 4, channels, &to);
        }
    }
    buf_puts(&to, ")");
    return to.text;
}

/* ---- fastai ---- */

static const char *fastai_line(const Block *b)
{
    const bool first = b->norm < b->act;
    if (b->op != b->conv || b->norm->kind != OP_BN || b->norm->eps != USUAL_EPS || b->norm->momentum != USUAL_MOMENTUM)
        return NULL;
    Buf to = {0}, act = {0};
    twin_row(b->act, 4, "o", &act);
    if (strstr(act.text, "GeneralRelu"))
        return NULL;
    buf_printf(&to, "ConvLayer(i, o, ks=%d, stride=s, padding=%d, bias=%s, bn_1st=%s, act_cls=", b->conv->kernel[0],
               b->conv->padding[0], b->conv->bias ? "True" : "False", first ? "True" : "False");
    const size_t name = strcspn(act.text, "(");
    if (strcmp(act.text + name, "()") == 0)
        buf_printf(&to, "%.*s)", (int)name, act.text);
    else
        buf_printf(&to, "partial(%.*s, %s)", (int)name, act.text, act.text + name + 1);
    return to.text;
}

/* ---- Keras ---- */

static const char *keras_line(const Block *b)
{
    const Op *conv = b->conv, *norm = b->norm;
    const char *act = op_info[b->act->kind].keras;
    if (norm->kind != OP_BN || !act)
        return NULL;
    Buf to = {0};
    buf_puts(&to, "Sequential([");
    for (int i = 0; i < b->n; i++) {
        const Op *op = &b->op[i];
        buf_puts(&to, i ? ", " : "");
        if (op == conv && conv->padding[0] > 0)
            buf_printf(&to, "ZeroPadding2D(%d), ", conv->padding[0]);
        if (op == conv)
            buf_printf(&to, "Conv2D(o, %d, strides=s, use_bias=%s)", conv->kernel[0], conv->bias ? "True" : "False");
        else if (op == b->act)
            twin_text(act, b->act, 4, "o", &to);
        else {
            const double momentum = 1 - norm->momentum;
            Buf said = {0};
            buf_puts(&said, "");
            if (fabs(momentum - KERAS_MOMENTUM) > 1e-12)
                buf_printf(&said, "momentum=%.10g", momentum);
            if (norm->eps != KERAS_EPS)
                buf_printf(&said, "%sepsilon=%s", said.len ? ", " : "", real_text(norm->eps));
            buf_printf(&to, "BatchNormalization(%s)", said.text);
        }
    }
    buf_puts(&to, "])");
    return to.text;
}

/* ---- all ---- */

Advice advice(const Graph *g)
{
    for (int i = 0; i < g->nop && g->dims == 2; i++) {
        if (i && g->op[i].layer_index == g->op[i - 1].layer_index)
            continue;
        const Block b = block_at(g, i);
        if (b.plain && b.conv && b.norm && b.act && is_square(b.conv))
            return (Advice){b.op->layer, torch_line(&b), fastai_line(&b), keras_line(&b)};
    }
    return (Advice){0};
}
