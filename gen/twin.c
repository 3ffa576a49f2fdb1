/* twin.c - the network as a PyTorch module.
 *
 * needs: a checked Graph (a chain); sets: Python source in a Buf.
 *
 * A module a stage, named as convoy names it, so that the keys of state_dict() are the names of Graph.param and a
 * checkpoint loads strictly in both directions. A layer with several stages is a ModuleDict of them. forward() has a
 * stage a line, in the order in which the spec wrote them. Every stage being a module, its output can be read (and a
 * dropout mask put in) by forward hooks; the source needs nothing for it.
 *
 * Tensors are 4-D (N, C, H, W) up to the first flatten or linear and 2-D (N, C) from there on, as a person would have
 * it; where an op wants the other rank, a line of forward() changes it. */
#include "convoy.h"

#include <stdlib.h>
#include <string.h>

/* my_net -> MyNet */
static const char *class_name(const char *net)
{
    char *name = xalloc(strlen(net) + 1), *to = name;
    bool start = true;
    for (const char *s = net; *s; s++) {
        if (*s == '_') {
            start = true;
            continue;
        }
        *to++ = start && *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
        start = false;
    }
    *to = '\0';
    bool python_word = strcmp(name, "None") == 0 || strcmp(name, "True") == 0 || strcmp(name, "False") == 0;
    return python_word || !(*name >= 'A' && *name <= 'Z') ? xprintf("Net%s", name) : name;
}

/* The shortest decimal that reads back as the same double; Python reads it as a float. */
static const char *number(double v)
{
    for (int digits = 1; digits <= 17; digits++) {
        const char *s = xprintf("%.*g", digits, v);
        if (strtod(s, NULL) == v)
            return strpbrk(s, ".e") ? s : xprintf("%s.0", s);
    }
    BUG("number %g does not print", v);
}

static void put_window(const Op *op, Buf *to)
{
    buf_printf(to, "kernel_size=(%d, %d), stride=(%d, %d), padding=(%d, %d)", op->kernel[0], op->kernel[1],
               op->stride[0], op->stride[1], op->padding[0], op->padding[1]);
}

/* The rank of the tensor that op wants: 4, 2, or 0 for whatever it is given. */
static int rank_wanted(OpKind kind)
{
    switch (kind) {
    case OP_CONV:
    case OP_MAXPOOL:
    case OP_AVGPOOL:
    case OP_GLOBAL_AVG_POOL:
        return 4;
    case OP_LINEAR:
    case OP_LOSS:
        return 2;
    default:
        return 0;
    }
}

/* The constructor of the op's module. `in` is the shape and `rank` the rank of what it reads. */
static void put_module(const Op *op, Shape in, int rank, Buf *to)
{
    switch (op->kind) {
    case OP_CONV:
        buf_printf(to, "nn.Conv2d(%d, %d, ", in.c, op->shape.c);
        put_window(op, to);
        if (op->dilation[0] > 1 || op->dilation[1] > 1)
            buf_printf(to, ", dilation=(%d, %d)", op->dilation[0], op->dilation[1]);
        if (op->groups > 1)
            buf_printf(to, ", groups=%d", op->groups);
        buf_printf(to, ", bias=%s)", op->bias ? "True" : "False");
        return;
    case OP_LINEAR:
        buf_printf(to, "nn.Linear(%d, %d, bias=%s)", in.c, op->shape.c, op->bias ? "True" : "False");
        return;
    case OP_BN:
        buf_printf(to, "nn.BatchNorm%dd(%d, eps=%s, momentum=%s)", rank == 2 ? 1 : 2, in.c, number(op->eps),
                   number(op->momentum));
        return;
    case OP_RELU:
        buf_puts(to, "nn.ReLU()");
        return;
    case OP_LEAKY_RELU:
        buf_printf(to, "nn.LeakyReLU(negative_slope=%s)", number(op->arg));
        return;
    case OP_TANH:
        buf_puts(to, "nn.Tanh()");
        return;
    case OP_SIGMOID:
        buf_puts(to, "nn.Sigmoid()");
        return;
    case OP_SILU:
        buf_puts(to, "nn.SiLU()");
        return;
    case OP_DROP:
        buf_printf(to, "nn.Dropout(p=%s)", number(op->arg));
        return;
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        buf_printf(to, "nn.%sPool2d(", op->kind == OP_MAXPOOL ? "Max" : "Avg");
        put_window(op, to);
        buf_puts(to, ")");
        return;
    case OP_GLOBAL_AVG_POOL:
        buf_puts(to, "nn.AdaptiveAvgPool2d(1)");
        return;
    case OP_FLATTEN:
        buf_puts(to, "nn.Flatten()");
        return;
    case OP_INPUT:
    case OP_LOSS:
    case OP_KINDS:
        break;
    }
    BUG("op '%s' has no module", op->path);
}

/* The rank of each op's output, and the checks that make the rest of this file simple. */
static int *ranks(const Graph *g)
{
    int *rank = xalloc((size_t)g->nop * sizeof *rank);
    if (g->nop < 2 || g->op[0].kind != OP_INPUT || g->op[g->nop - 1].kind != OP_LOSS)
        BUG("a graph without input or loss");
    rank[0] = 4;
    for (int i = 1; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (op->in != i - 1)
            BUG("op '%s' does not read the op before it: the twin knows chains only", op->path);
        int want = rank_wanted(op->kind);
        rank[i] = op->kind == OP_FLATTEN ? 2 : want ? want : rank[i - 1];
    }
    return rank;
}

static bool same_layer(const Graph *g, int a, int b)
{
    return strcmp(g->op[a].layer, g->op[b].layer) == 0;
}

/* conv-bn-relu: the layer's order, from the ops' own words */
static void put_order(const Graph *g, int first, Buf *to)
{
    for (int i = first; i < g->nop - 1 && same_layer(g, first, i); i++)
        buf_printf(to, "%s%s", i > first ? "-" : "", op_info[g->op[i].kind].name);
}

static void put_init(const Graph *g, const int *rank, Buf *to)
{
    buf_puts(to, "    def __init__(self):\n        super().__init__()\n");
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        bool first = !same_layer(g, i - 1, i), last = !same_layer(g, i, i + 1);
        if (!op->stage) {
            buf_printf(to, "        self.%s = ", op->layer);
            put_module(op, g->op[i - 1].shape, rank[i - 1], to);
            buf_puts(to, "\n");
            continue;
        }
        if (first)
            buf_printf(to, "        self.%s = nn.ModuleDict({\n", op->layer);
        buf_printf(to, "            \"%s\": ", op->stage);
        put_module(op, g->op[i - 1].shape, rank[i - 1], to);
        buf_puts(to, ",\n");
        if (last)
            buf_puts(to, "        })\n");
    }

    static const char *const draw[] = {
        [INIT_KAIMING_NORMAL] = "nn.init.kaiming_normal_(module.weight, nonlinearity=\"relu\")",
        [INIT_KAIMING_UNIFORM] = "nn.init.kaiming_uniform_(module.weight, nonlinearity=\"relu\")",
        [INIT_XAVIER_NORMAL] = "nn.init.xavier_normal_(module.weight)",
        [INIT_XAVIER_UNIFORM] = "nn.init.xavier_uniform_(module.weight)",
    };
    if (g->spec->init == INIT_PYTORCH)
        return;
    if ((size_t)g->spec->init >= sizeof draw / sizeof *draw || !draw[g->spec->init])
        BUG("init %d has no draw", (int)g->spec->init);
    buf_printf(to,
               "        for module in self.modules():  # init: %s\n"
               "            if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
               "                %s\n"
               "                if module.bias is not None:\n"
               "                    nn.init.zeros_(module.bias)\n",
               init_names[g->spec->init], draw[g->spec->init]);
}

static void put_forward(const Graph *g, const int *rank, Buf *to)
{
    Shape in = g->op[0].shape;
    buf_printf(to, "    def forward(self, x):\n        # input: (N, %d, %d, %d)\n", in.c, in.h, in.w);
    for (int i = 1; i < g->nop; i++) {
        const Op *op = &g->op[i];
        bool first = !same_layer(g, i - 1, i);
        if (op->stage && first) {
            buf_printf(to, "\n        # %s: ", op->layer);
            put_order(g, i, to);
            buf_puts(to, "\n");
        } else if (!op->stage && i < g->nop - 1 && i > 1 && g->op[i - 1].stage) {
            buf_puts(to, "\n");
        }
        int want = rank_wanted(op->kind);
        Shape s = op->shape;
        if (op->kind == OP_LOSS) {
            buf_printf(to, "        return %s  # logits\n", rank[i - 1] == 4 ? "torch.flatten(x, 1)" : "x");
            return;
        }
        if (want == 2 && rank[i - 1] == 4)
            buf_printf(to, "        x = torch.flatten(x, 1)  # (N, %d)\n", g->op[i - 1].shape.c);
        if (want == 4 && rank[i - 1] == 2)
            buf_printf(to, "        x = x[:, :, None, None]  # (N, %d, 1, 1)\n", g->op[i - 1].shape.c);
        buf_printf(to, "        x = self.%s(x)  # ", op->path);
        if (rank[i] == 2)
            buf_printf(to, "(N, %d)\n", s.c);
        else
            buf_printf(to, "(N, %d, %d, %d)\n", s.c, s.h, s.w);
    }
}

void twin_write(const Graph *g, Buf *to)
{
    const char *net = g->spec->name, *class = class_name(net);
    const int *rank = ranks(g);
    Shape in = g->op[0].shape;
    buf_printf(to,
               "# SPDX-License-Identifier: 0BSD\n"
               "\"\"\"%s as a PyTorch module, written by convoy twin.\n"
               "\n"
               "The keys of its state_dict are the names in convoy's checkpoints; either side loads the other's:\n"
               "\n"
               "    net = %s()\n"
               "    net.load_state_dict(safetensors.torch.load_file(\"%s.safetensors\"))\n"
               "\n"
               "It returns logits; convoy's loss is torch.nn.functional.cross_entropy(net(x), labels).\n"
               "\"\"\"\n",
               net, class, net);
    bool flattens = false;
    for (int i = 1; i < g->nop; i++)
        flattens |= rank_wanted(g->op[i].kind) == 2 && rank[i - 1] == 4;
    buf_printf(to, "%sfrom torch import nn\n\n\n", flattens ? "import torch\n" : "");
    buf_printf(to, "class %s(nn.Module):\n    # (N, %d, %d, %d) -> (N, %d); %lld trained numbers\n\n", class, in.c,
               in.h, in.w, g->spec->classes, (long long)g->weights);
    put_init(g, rank, to);
    buf_puts(to, "\n");
    put_forward(g, rank, to);
}
