/* twin.c - the network as a PyTorch module.
 *
 * needs: a checked Graph; sets: Python source in a Buf.
 *
 * One module per stage, named as convoy names it, so that the keys of state_dict() are the names of Graph.param and a
 * checkpoint loads strictly in both directions. Layers with several stages, groups and their repeats are ModuleDicts.
 * forward() has one stage per line, in the order in which the spec wrote them. Every stage being a module, joins too,
 * its output can be read (and a dropout mask put in) by forward hooks; the source needs nothing for it.
 *
 * What goes from one line to the next is called x; what is read again later has the name of the stage that made it.
 *
 * Tensors are 4-D (N, C, H, W), or 3-D (N, C, L), up to the first flatten or linear and 2-D (N, C) from there on, as a
 * person would have it; where an op wants the other rank, forward() changes it. */
#include "places.h"
#include "twin.h"
#include "graph.h"

#include <math.h>
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
    bool taken = strcmp(name, "Add") == 0 || strcmp(name, "Concat") == 0 || strcmp(name, "Pad") == 0 ||
                 strcmp(name, "Parts") == 0 || strncmp(name, "Before", 6) == 0 || strncmp(name, "Normed", 6) == 0 ||
                 strncmp(name, "Sequence", 8) == 0 || strcmp(name, "RmsNorm") == 0 ||
                 strcmp(name, "GeneralRelu") == 0 || strncmp(name, "Padded", 6) == 0;
    taken |= strcmp(name, "None") == 0 || strcmp(name, "True") == 0 || strcmp(name, "False") == 0;
    return taken || !(*name >= 'A' && *name <= 'Z') ? xprintf("Net%s", name) : name;
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

/* One number per dimension of an image: (3, 3), or 3 where there is a length only. */
static const char *sides(const Graph *g, const int v[2])
{
    return g->dims == 1 ? xprintf("%d", v[1]) : xprintf("(%d, %d)", v[0], v[1]);
}

/* Whether the op pads its two ends differently, which no module of PyTorch does by itself. */
static bool by_side(const Op *op)
{
    return (op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL) &&
           !sides_even(op->arg[ARG_PADDING].sides);
}

static void put_window(const Graph *g, const Op *op, Buf *to)
{
    buf_printf(to, "kernel_size=%s, stride=%s, ", sides(g, op->kernel), sides(g, op->stride));
    if (!by_side(op)) {
        buf_printf(to, "padding=%s", sides(g, op->padding));
        return;
    }
    /* as nn.functional.pad has it: the last direction first */
    const Sides halo = graph_halo(g, op);
    const int hang[2] = {halo.after[0] - op->after[0], halo.after[1] - op->after[1]};
    buf_printf(to, "sides=(%d, %d", op->padding[1], op->after[1]);
    buf_printf(to, g->dims == 1 ? ")" : ", %d, %d)", op->padding[0], op->after[0]);
    if (hang[0] || hang[1])
        buf_printf(to, g->dims == 1 ? ", hang=(0, %d)" : ", hang=(0, %d, 0, %d)", hang[1], hang[0]);
}

/* What a pool says besides: of a padding by side, hang says it all. */
static void put_flags(const Op *op, Buf *to)
{
    if (op->arg[ARG_CEIL].count && !by_side(op))
        buf_puts(to, ", ceil_mode=True");
    if (op->kind == OP_AVGPOOL && !op->counted)
        buf_puts(to, ", count_include_pad=False");
}

static int image_rank(const Graph *g)
{
    return g->dims == 1 ? 3 : 4;
}

/* What an op wants the rank of its input to be. */
typedef enum Want { WANT_ANY, WANT_IMAGE, WANT_FEATURES } Want;

static Want wanted(OpKind kind)
{
    switch (kind) {
    case OP_CONV:
    case OP_MAXPOOL:
    case OP_AVGPOOL:
    case OP_GLOBAL_AVG_POOL:
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
    case OP_EMBED:
        return WANT_IMAGE;
    case OP_LINEAR:
    case OP_LOSS:
        return WANT_FEATURES;
    default:
        return WANT_ANY;
    }
}

/* The rank in which op reads: for a join, that of the inputs with most dimensions. */
static int rank_read(const Graph *g, const Op *op, const int *rank)
{
    Want want = wanted(op->kind);
    int most = 2;
    for (int k = 0; k < op->nin; k++)
        most = rank[op->ins[k]] > most ? rank[op->ins[k]] : most;
    return want == WANT_IMAGE ? image_rank(g) : want == WANT_FEATURES ? 2 : most;
}

/* pad: as many strides as the tensor has sides */
static const char *pad_stride(const Graph *g, const Op *op, int rank)
{
    return rank == 2 ? "()" : g->dims == 1 ? xprintf("(%d,)", op->stride[1]) : sides(g, op->stride);
}

/* What {name} of a row's text stands for: a real argument of the op, or, of a norm, {d}, {c}, {groups}. */
static const char *filled_in(const Op *op, const char *name, int rank, const char *channels)
{
    const ArgInfo *arg = op_info[op->kind].arg;
    for (int i = 0; i < OP_ARGS; i++)
        if (arg[i].name && arg[i].kind == ARG_REAL && strcmp(arg[i].name, name) == 0)
            return isinf(op->arg[i].real) ? "None" : number(op->arg[i].real);
    if (strcmp(name, "d") == 0)
        return rank == 4 ? "2" : "1";
    if (strcmp(name, "c") == 0)
        return channels;
    if (strcmp(name, "groups") == 0)
        return xprintf("%d", op->groups);
    BUG("%s has no {%s}", op_info[op->kind].name, name);
}

void twin_text(const char *text, const Op *op, int rank, const char *channels, Buf *to)
{
    for (const char *s = text; *s;) {
        const size_t n = strcspn(s, "{"), name = s[n] ? strcspn(s + n, "}") : 0;
        buf_add(to, s, n);
        if (name)
            buf_puts(to, filled_in(op, xstrndup(s + n + 1, name - 1), rank, channels));
        s += n + name + (s[n] != '\0');
    }
}

void twin_row(const Op *op, int rank, const char *channels, Buf *to)
{
    const OpInfo *info = &op_info[op->kind];
    const char *text =
        info->norm ? (rank == 2 && info->norm->torch_1 ? info->norm->torch_1 : info->norm->torch) : info->torch;
    if (!text)
        BUG("op '%s' has no module", op->path);
    twin_text(text, op, rank, channels, to);
}

/* The norms inside a recurrent op's steps. */
static void put_places(const Graph *g, const Op *op, Buf *to)
{
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
        const PlaceNorm *n = op_place(op->kind, op->arg, p);
        const int gates = place_gates(op->kind, p);
        if (!n)
            continue;
        if (n->step) {
            buf_printf(to, ", %s=StepNorm(%d, %d, %s, %s%s)%s", place_info[p].param, gates * op->shape.c,
                       place_table_rows(n, g->op[op->in].shape.w), number(n->eps), number(n->momentum),
                       n->beta ? "" : ", beta=False", n->carried ? ", carried=True" : "");
            continue;
        }
        if (op_is_batch_norm(n->op)) {
            buf_printf(to, ", %s=nn.BatchNorm1d(%d, eps=%s, momentum=%s)", place_info[p].param, gates * op->shape.c,
                       number(n->eps), number(n->momentum));
            continue;
        }
        buf_printf(to, ", %s=CellNorm(%d, %s", place_info[p].param, gates * op->shape.c, number(n->eps));
        if (n->each)
            buf_printf(to, ", groups=%d", gates);
        if (!op_info[n->op].norm->centred)
            buf_puts(to, ", centred=False");
        buf_printf(to, "%s)%s", place_has(n, PARAM_BETA) ? "" : ", beta=False", n->carried ? ", carried=True" : "");
    }
}

/* Whether its step is no module of PyTorch's. */
static bool is_written_out(const Op *op)
{
    return op_has_places(op->kind, op->arg) || op_resets_before(op->kind, op->arg);
}

/* A recurrent module, of one direction or of both. */
static void put_cell(const Graph *g, const Op *op, Buf *to)
{
    buf_printf(to, "%s%s%s(%d, %d, returns=\"%s\"",
               op_resets_before(op->kind, op->arg) ? "Before"
               : is_written_out(op)                ? "Normed"
                                                   : "Sequence",
               op_is_one_way(op) ? "Both" : "", op_info[op->kind].cell->torch, g->op[op->in].shape.c, op->shape.c,
               op_info[op->kind].arg[ARG_RETURN].words[op->arg[ARG_RETURN].count]);
    if (op->kind == OP_RNN)
        buf_printf(to, ", nonlinearity=\"%s\"", op_info[OP_RNN].arg[ARG_CELL_ACT].words[op->arg[ARG_CELL_ACT].count]);
    buf_printf(to, ", bias=%s", op->bias ? "True" : "False");
    put_places(g, op, to);
    buf_puts(to, ")");
}

/* The constructor of the op's module. `rank` is that of what it reads. */
static void put_module(const Graph *g, int i, int rank, Buf *to)
{
    const Op *op = &g->op[i], *both = graph_both_ways(g, i);
    Shape in = g->op[op->in].shape;
    switch (op->kind) {
    case OP_CONV:
        buf_printf(to, "%s%dd(%d, %d, ", by_side(op) ? "PaddedConv" : "nn.Conv", g->dims, in.c, op->shape.c);
        put_window(g, op, to);
        if (op->dilation[0] > 1 || op->dilation[1] > 1)
            buf_printf(to, ", dilation=%s", sides(g, op->dilation));
        if (op->groups > 1)
            buf_printf(to, ", groups=%d", op->groups);
        buf_printf(to, ", bias=%s)", op->bias ? "True" : "False");
        return;
    case OP_LINEAR:
        buf_printf(to, "nn.Linear(%d, %d, bias=%s)", in.c, op->shape.c, op->bias ? "True" : "False");
        return;
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
        put_cell(g, op, to);
        return;
    case OP_EMBED:
        buf_printf(to, "TokenEmbedding(%d, %d)", g->spec->tokens, op->shape.c);
        return;
    case OP_DROP:
        buf_printf(to, "nn.Dropout(p=%s)", number(op->value));
        return;
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        buf_printf(to, "%s%sPool%dd(", by_side(op) ? "Padded" : "nn.", op->kind == OP_MAXPOOL ? "Max" : "Avg", g->dims);
        put_window(g, op, to);
        put_flags(op, to);
        buf_puts(to, ")");
        return;
    case OP_GLOBAL_AVG_POOL:
        buf_printf(to, "nn.AdaptiveAvgPool%dd(1)", g->dims);
        return;
    case OP_FLATTEN:
        buf_puts(to, "nn.Flatten()");
        return;
    case OP_PAD:
        buf_printf(to, "Pad(before=%d, after=%d, stride=%s)", op->before, op->shape.c - op->before - in.c,
                   pad_stride(g, op, rank));
        return;
    case OP_ADD:
        buf_puts(to, "Add()");
        return;
    case OP_CONCAT:
        if (both)
            put_cell(g, both, to);
        else
            buf_puts(to, "Concat()");
        return;
    default:
        twin_row(op, rank, xprintf("%d", in.c), to);
    }
}

/* Whether a part of a path, below the top, is called like a method of ModuleDict, which then refuses it. */
static bool like_method(const Graph *g)
{
    static const char *const methods[] = {".clear", ".items", ".keys", ".pop", ".update", ".values"};
    for (int i = 1; i < g->nop - 1; i++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
            for (const char *s = g->op[i].path; (s = strstr(s, methods[m])); s++)
                if (strchr(".", s[strlen(methods[m])]))
                    return true;
    return false;
}

static bool has_kind(const Graph *g, OpKind kind)
{
    for (int i = 1; i < g->nop; i++)
        if (g->op[i].kind == kind)
            return true;
    return false;
}

/* Subclasses of PyTorch's modules that pad by side first, those that are used; #d stands for 1d or 2d. */
static void put_padded(const Graph *g, Buf *to)
{
    static const struct {
        OpKind kind;
        const char *text;
    } own[] = {
        {OP_CONV, "class PaddedConv#d(nn.Conv#d):\n"
                  "    # a conv that is padded by sides: left, right, top, bottom\n"
                  "    def __init__(self, channels, out, sides, **keys):\n"
                  "        super().__init__(channels, out, **keys)\n"
                  "        self.sides = sides\n"
                  "\n"
                  "    def forward(self, x):\n"
                  "        return super().forward(nn.functional.pad(x, self.sides))\n\n\n"},
        {OP_MAXPOOL, "class PaddedMaxPool#d(nn.MaxPool#d):\n"
                     "    # a max pool that is padded by sides, and by what its last windows hang over\n"
                     "    def __init__(self, kernel_size, stride, sides, hang=(0, 0)):\n"
                     "        super().__init__(kernel_size, stride)\n"
                     "        self.sides, self.hang = sides, hang\n"
                     "\n"
                     "    def forward(self, x):\n"
                     "        for sides in self.sides, self.hang:\n"
                     "            x = nn.functional.pad(x, sides, value=float(\"-inf\"))\n"
                     "        return super().forward(x)\n\n\n"},
        {OP_AVGPOOL,
         "class PaddedAvgPool#d(nn.AvgPool#d):\n"
         "    # the same of an average, which is over what counts of a window\n"
         "    def __init__(self, kernel_size, stride, sides, hang=(0, 0), count_include_pad=True):\n"
         "        super().__init__(kernel_size, stride)\n"
         "        self.sides, self.hang, self.counts = sides, hang, float(count_include_pad)\n"
         "\n"
         "    def forward(self, x):\n"
         "        pad = nn.functional.pad\n"
         "        count = pad(pad(torch.ones_like(x), self.sides, value=self.counts), self.hang)\n"
         "        return super().forward(pad(pad(x, self.sides), self.hang)) / super().forward(count)\n\n\n"},
    };
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        for (int i = 1; i < g->nop; i++)
            if (g->op[i].kind == own[k].kind && by_side(&g->op[i])) {
                for (const char *s = own[k].text; *s; s++)
                    buf_printf(to, "%c", *s == '#' && s[1] == 'd' ? '0' + g->dims : *s); /* then the d */
                break;
            }
}

#define RETURNED                                                                                                       \
    "        if self.returns == \"last\":\n"                                                                           \
    "            return y[:, :, -1:]\n"                                                                                \
    "        if self.returns == \"mean\":\n"                                                                           \
    "            return y.mean(2, keepdim=True)\n"                                                                     \
    "        return y.max(2, keepdim=True).values if self.returns == \"max\" else y\n\n\n"

/* The same where samples have lengths. What stands behind one moves no step before it. */
#define RETURNED_OF_LENGTHS                                                                                            \
    "        if self.returns == \"last\":\n"                                                                           \
    "            return y.gather(2, (length - 1)[:, None, None].expand(-1, y.shape[1], 1))\n"                          \
    "        pad = torch.arange(y.shape[2], device=y.device) >= length[:, None, None]\n"                               \
    "        if self.returns == \"max\":\n"                                                                            \
    "            return y.masked_fill(pad, -torch.inf).max(2, keepdim=True).values\n"                                  \
    "        y = y.masked_fill(pad, 0)\n"                                                                              \
    "        return y.sum(2, keepdim=True) / length[:, None, None] if self.returns == \"mean\" else y\n\n\n"

/* A recurrent module's text as it stands, or with lengths: the last forward in it, and what is returned. */
static const char *with_lengths(const Graph *g, const char *text)
{
    static const char takes[] = "def forward(self, x";
    const char *const end = strstr(text, RETURNED), *forward = NULL;

    if (!g->spec->lengths || !end)
        return text;
    for (const char *at = text; (at = strstr(at, takes)) && at < end; at++)
        forward = at + strlen(takes);
    if (!forward)
        BUG("a recurrent module without forward");
    return xprintf("%.*s, length%.*s%s%s", (int)(forward - text), text, (int)(end - forward), forward,
                   RETURNED_OF_LENGTHS, end + strlen(RETURNED));
}

/* Whether there is a recurrent op of that kind (OP_KINDS: of any) whose step is written out, or is not, and of both
 * directions or of one. */
static bool has_cell(const Graph *g, OpKind kind, bool normed, bool both)
{
    for (int i = 1; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (op_is_recurrent(op->kind) && (op->kind == kind || kind == OP_KINDS) && is_written_out(op) == normed &&
            op_is_one_way(op) == both)
            return true;
    }
    return false;
}

static bool has_step_norm(const Graph *g)
{
    for (int i = 1; i < g->nop; i++)
        for (CellPlace p = PLACE_INPUT; p < PLACES; p++) {
            const PlaceNorm *n = op_place(g->op[i].kind, g->op[i].arg, p);
            if (n && n->step)
                return true;
        }
    return false;
}

/* Recurrent modules with norms inside their steps: the step is written out, PyTorch's has no place for them. */
static void put_normed(const Graph *g, Buf *to)
{
    static const char text[] =
        "class CellNorm(nn.Module):\n"
        "    # layer norm of what each image has in a step, in groups; not centred: its mean is not taken away\n"
        "    def __init__(self, channels, eps, groups=1, centred=True, beta=True):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(channels))\n"
        "        self.bias = nn.Parameter(torch.zeros(channels)) if beta else None\n"
        "        self.eps, self.groups, self.centred = eps, groups, centred\n"
        "\n"
        "    def forward(self, x, t):\n"
        "        v = x.reshape(len(x), self.groups, -1)\n"
        "        v = v - v.mean(2, keepdim=True) if self.centred else v\n"
        "        v = v * (v.square().mean(2, keepdim=True) + self.eps).rsqrt()\n"
        "        v = v.reshape(x.shape) * self.weight\n"
        "        return v if self.bias is None else v + self.bias\n\n\n"
        "class NormedCell(nn.Module):\n"
        "    # a recurrent module whose step is written out, with norms in it: of W x, of U h, of their sum, of c on "
        "its\n"
        "    # way to h (carried: before the next step has it, too), of the new h\n"
        "    def __init__(self, channels, hidden, returns, norm_input=None, norm_recurrent=None, norm_sum=None,\n"
        "                 norm_cell=None, norm_hidden=None, carried=False, **keys):\n"
        "        super().__init__(channels, hidden, batch_first=True, **keys)\n"
        "        self.returns, self.carried = returns, carried\n"
        "        self.norm_input, self.norm_recurrent, self.norm_sum = norm_input, norm_recurrent, norm_sum\n"
        "        self.norm_cell, self.norm_hidden = norm_cell, norm_hidden\n"
        "\n"
        "    def products(self, x):\n"
        "        # W x of all steps: batch norm of a sequence has the statistics of all of them\n"
        "        y = x.transpose(1, 2) @ self.weight_ih_l0.T\n"
        "        if isinstance(self.norm_input, nn.BatchNorm1d):\n"
        "            return self.norm_input(y.flatten(0, 1)).reshape(y.shape)\n"
        "        norm = self.norm_input or (lambda v, t: v)\n"
        "        return torch.stack([norm(v, t) for t, v in enumerate(y.unbind(1))], 1)\n"
        "\n"
        "    def sums(self, x, h, t):\n"
        "        u = h @ self.weight_hh_l0.T\n"
        "        u = self.norm_recurrent(u, t) if self.norm_recurrent else u\n"
        "        if self.norm_sum:\n"
        "            x, u = self.norm_sum(x + u, t), torch.zeros_like(u)\n"
        "        return (x + self.bias_ih_l0, u + self.bias_hh_l0) if self.bias else (x, u)\n"
        "\n"
        "    def step(self, x, h, c, t):\n"
        "        x, u = self.sums(x, h, t)\n"
        "        if self.mode == \"LSTM\":\n"
        "            i, f, g, o = (x + u).chunk(4, 1)\n"
        "            c = f.sigmoid() * c + i.sigmoid() * g.tanh()\n"
        "            y = self.norm_cell(c, t) if self.norm_cell else c\n"
        "            h, c = o.sigmoid() * y.tanh(), y if self.carried else c\n"
        "        elif self.mode == \"GRU\":\n"
        "            (xr, xz, xn), (r, z, n) = x.chunk(3, 1), u.chunk(3, 1)\n"
        "            z = (xz + z).sigmoid()\n"
        "            h = (1 - z) * (xn + (xr + r).sigmoid() * n).tanh() + z * h\n"
        "        else:\n"
        "            h = (x + u).relu() if self.mode == \"RNN_RELU\" else (x + u).tanh()\n"
        "        return self.norm_hidden(h, t) if self.norm_hidden else h, c\n"
        "\n"
        "    def forward(self, x):\n"
        "        h = c = x.new_zeros(len(x), self.hidden_size)\n"
        "        steps = []\n"
        "        for t, x in enumerate(self.products(x).unbind(1)):\n"
        "            h, c = self.step(x, h, c, t)\n"
        "            steps.append(h)\n"
        "        y = torch.stack(steps, 2)\n" RETURNED;
    static const char by_step[] =
        "class StepNorm(nn.Module):\n"
        "    # batch norm with statistics of each step; of the running ones, a table, the last row holds for what "
        "follows\n"
        "    def __init__(self, channels, rows, eps, momentum, beta=True):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(channels))\n"
        "        self.bias = nn.Parameter(torch.zeros(channels)) if beta else None\n"
        "        self.register_buffer(\"running_mean\", torch.zeros(rows, channels))\n"
        "        self.register_buffer(\"running_var\", torch.ones(rows, channels))\n"
        "        self.register_buffer(\"num_batches_tracked\", torch.tensor(0))\n"
        "        self.eps, self.momentum = eps, momentum\n"
        "\n"
        "    def forward(self, x, t):\n"
        "        row = min(t, len(self.running_mean) - 1)\n"
        "        self.num_batches_tracked += self.training and t == 0\n"
        "        return nn.functional.batch_norm(x, self.running_mean[row], self.running_var[row], self.weight, "
        "self.bias,\n"
        "                                        self.training, self.momentum, self.eps)\n\n\n";
    static const char both[] =
        "class NormedBoth(NormedCell):\n"
        "    # the same of both directions, one after the other: while the second walks, the names of weights and "
        "norms "
        "are\n"
        "    # those of its own, which end in _reverse\n"
        "    def __init__(self, *args, **keys):\n"
        "        super().__init__(*args, bidirectional=True, **keys)\n"
        "        for name, norm in list(self.named_children()):\n"
        "            setattr(self, f\"{name}_reverse\", copy.deepcopy(norm))\n"
        "        self.l0, self.l0_reverse, self.turned = nn.Identity(), nn.Identity(), False\n"
        "\n"
        "    def __getattr__(self, name):\n"
        "        own = self.__dict__.get(\"turned\") and name.startswith((\"weight_\", \"bias_\", \"norm_\"))\n"
        "        return super().__getattr__(f\"{name}_reverse\" if own else name)\n"
        "\n"
        "    def forward(self, x):\n"
        "        ahead = super().forward(x)\n"
        "        self.turned = True\n"
        "        back = super().forward(x.flip(2)).flip(2)\n"
        "        self.turned = False\n"
        "        return torch.cat((self.l0(ahead), self.l0_reverse(back)), 1)\n\n\n";
    const bool normed[] = {has_cell(g, OP_KINDS, true, false), has_cell(g, OP_KINDS, true, true)};
    if (has_step_norm(g))
        buf_puts(to, by_step);
    if (normed[0] || normed[1])
        buf_puts(to, with_lengths(g, text));
    if (normed[1])
        buf_puts(to, both);
    for (OpKind k = 0; k < OP_KINDS; k++)
        for (int b = 0; b < 2; b++)
            if (has_cell(g, k, true, b))
                buf_printf(to, "class Normed%s%s(Normed%s, nn.%s):\n    pass\n\n\n", b ? "Both" : "",
                           op_info[k].cell->torch, b ? "Both" : "Cell", op_info[k].cell->torch);
    bool before[2] = {false};
    for (int i = 1; i < g->nop; i++)
        if (op_resets_before(g->op[i].kind, g->op[i].arg))
            before[op_is_one_way(&g->op[i])] = true;
    if (before[0] || before[1])
        buf_puts(to, "class Before(nn.Module):\n"
                     "    # the step of a gru that applies r to h, before the product\n"
                     "    def step(self, x, h, c, t):\n"
                     "        x = x + self.bias_ih_l0 + self.bias_hh_l0 if self.bias else x\n"
                     "        (xr, xz, xn), (ur, uz, un) = x.chunk(3, 1), self.weight_hh_l0.chunk(3)\n"
                     "        r, z = (xr + h @ ur.T).sigmoid(), (xz + h @ uz.T).sigmoid()\n"
                     "        h = (1 - z) * (xn + (r * h) @ un.T).tanh() + z * h\n"
                     "        return self.norm_hidden(h, t) if self.norm_hidden else h, c\n\n\n");
    for (int b = 0; b < 2; b++)
        if (before[b])
            buf_printf(to, "class Before%sGRU(Before, Normed%sGRU):\n    pass\n\n\n", b ? "Both" : "", b ? "Both" : "");
}

/* Recurrent modules that read (N, C, L) as convs do, and return what they are asked for. */
static void put_recurrent(const Graph *g, Buf *to)
{
    static const char text[] =
        "class Sequence#(nn.#):\n"
        "    # reads (N, C, L) and returns the last step's output, all, their mean or the largest\n"
        "    def __init__(self, channels, hidden, returns, **keys):\n"
        "        super().__init__(channels, hidden, batch_first=True, **keys)\n"
        "        self.returns = returns\n"
        "\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x.transpose(1, 2))[0].transpose(1, 2)\n" RETURNED;
    static const char both[] =
        "class SequenceBoth#(nn.#):\n"
        "    # the same of both directions, one after the other; of the second the last step is the sequence's first\n"
        "    def __init__(self, channels, hidden, returns, **keys):\n"
        "        super().__init__(channels, hidden, batch_first=True, bidirectional=True, **keys)\n"
        "        self.returns, self.l0, self.l0_reverse = returns, nn.Identity(), nn.Identity()\n"
        "\n"
        "    def forward(self, x):\n"
        "        ahead, back = super().forward(x.transpose(1, 2))[0].transpose(1, 2).chunk(2, 1)\n"
        "        ahead, back = self.returned(ahead), self.returned(back.flip(2)).flip(2)\n"
        "        return torch.cat((self.l0(ahead), self.l0_reverse(back)), 1)\n"
        "\n"
        "    def returned(self, y):\n" RETURNED;
    for (OpKind k = 0; k < OP_KINDS; k++)
        for (int b = 0; b < 2; b++)
            for (const char *s = !has_cell(g, k, false, b) ? "" : b ? both : with_lengths(g, text); *s; s++)
                buf_puts(to, *s == '#' && s[-1] != ' ' ? op_info[k].cell->torch : xprintf("%c", *s));
}

/* The modules that PyTorch does not have, those that are used. */
static void put_classes(const Graph *g, Buf *to)
{
    static const struct {
        OpKind kind;
        const char *text;
    } own[] = {
        {OP_ADD, "class Add(nn.Module):\n"
                 "    # the sum of two tensors or more\n"
                 "    def forward(self, *values):\n"
                 "        return sum(values[1:], values[0])\n\n\n"},
        {OP_CONCAT, "class Concat(nn.Module):\n"
                    "    # one after the other by channels\n"
                    "    def forward(self, *values):\n"
                    "        return torch.cat(values, 1)\n\n\n"},
        {OP_EMBED, "class TokenEmbedding(nn.Embedding):\n"
                   "    # reads tokens, (N, 1, L) as convs read, whole numbers; gives (N, C, L)\n"
                   "    def forward(self, x):\n"
                   "        return super().forward(x[:, 0].long()).transpose(1, 2)\n\n\n"},
        {OP_GENERAL_RELU, "class GeneralRelu(nn.Module):\n"
                          "    # a leaky relu, minus sub, at most maxv\n"
                          "    def __init__(self, leak, sub, maxv):\n"
                          "        super().__init__()\n"
                          "        self.leak, self.sub, self.maxv = leak, sub, maxv\n"
                          "\n"
                          "    def forward(self, x):\n"
                          "        x = nn.functional.leaky_relu(x, self.leak) - self.sub\n"
                          "        return x if self.maxv is None else x.clamp(max=self.maxv)\n\n\n"},
        {OP_PAD, "class Pad(nn.Module):\n"
                 "    # every stride-th pixel, with channels of zeros before and after\n"
                 "    def __init__(self, before, after, stride):\n"
                 "        super().__init__()\n"
                 "        self.steps = (slice(None), slice(None), *(slice(None, None, s) for s in stride))\n"
                 "        self.zeros = (*(0, 0) * len(stride), before, after)\n"
                 "\n"
                 "    def forward(self, x):\n"
                 "        return nn.functional.pad(x[self.steps], self.zeros)\n\n\n"},
    };
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        for (int i = 1; i < g->nop; i++)
            if (g->op[i].kind == own[k].kind && !graph_both_ways(g, i)) {
                buf_puts(to, own[k].text);
                break;
            }
    for (OpKind k = 0; k < OP_KINDS; k++)
        if (op_info[k].norm && op_info[k].norm->own && has_kind(g, k))
            buf_puts(to, op_info[k].norm->own);
    put_recurrent(g, to);
    put_normed(g, to);
    put_padded(g, to);
    if (like_method(g))
        buf_puts(to, "class Parts(nn.Module):\n"
                     "    # a ModuleDict in which names like keys and items are free\n"
                     "    def __init__(self, parts):\n"
                     "        super().__init__()\n"
                     "        for name, part in parts.items():\n"
                     "            self.add_module(name, part)\n"
                     "\n"
                     "    def __getitem__(self, name):\n"
                     "        return self._modules[name]\n\n\n");
}

/* The rank of each op's output, and the checks that make the rest of this file simple. */
static int *ranks(const Graph *g)
{
    int *rank = xalloc((size_t)g->nop * sizeof *rank);
    if (g->nop < 2 || g->op[0].kind != OP_INPUT || g->op[g->nop - 1].kind != OP_LOSS)
        BUG("a graph without input or loss");
    rank[0] = image_rank(g);
    for (int i = 1; i < g->nop; i++) {
        const Op *op = &g->op[i];
        for (int k = 0; k < op->nin; k++)
            if (op->ins[k] >= i)
                BUG("op '%s' reads one that comes later", op->path);
        rank[i] = op->kind == OP_FLATTEN ? 2 : rank_read(g, op, rank);
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

static void indent(int depth, Buf *to)
{
    for (int i = 0; i < depth; i++)
        buf_puts(to, "    ");
}

/* How many parts of a path both have in common at their beginning, the last part of either left out. */
static int common(const char *a, const char *b)
{
    int n = 0;
    for (int i = 0; a[i] && b[i] && a[i] == b[i]; i++)
        n += a[i] == '.';
    return n;
}

static int depth(const char *path)
{
    int n = 0;
    for (; *path; path++)
        n += *path == '.';
    return n;
}

/* The part of a path that stands after n dots, without what follows. */
static const char *part(const char *path, int n)
{
    for (; n > 0; n--)
        path = strchr(path, '.') + 1;
    return xprintf("%.*s", (int)strcspn(path, "."), path);
}

/* What stands before the value of a part: self.NAME = at the top, "NAME": in a ModuleDict. */
static void put_key(const char *path, int level, Buf *to)
{
    indent(level + 2, to);
    buf_printf(to, level ? "\"%s\": " : "self.%s = ", part(path, level));
}

/* The modules, as the tree that their paths spell: what a path shares with the one before it is open already. */
static void put_modules(const Graph *g, const int *rank, Buf *to)
{
    const char *before = "", *dict = like_method(g) ? "Parts({\n" : "nn.ModuleDict({\n";
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        if (op_is_one_way(op))
            continue; /* a part of the module of both */
        int level = common(before, op->path);
        for (int d = depth(before); d > level; d--) {
            indent(d + 1, to);
            buf_puts(to, d > 1 ? "}),\n" : "})\n");
        }
        for (; level < depth(op->path); level++) {
            put_key(op->path, level, to);
            buf_puts(to, dict);
        }
        put_key(op->path, level, to);
        put_module(g, i, rank_read(g, op, rank), to);
        buf_puts(to, level ? ",\n" : "\n");
        before = op->path;
    }
    for (int d = depth(before); d > 0; d--) {
        indent(d + 1, to);
        buf_puts(to, d > 1 ? "}),\n" : "})\n");
    }
}

/* Where a module is found: self.s1["2"].conv1.bn */
static const char *place(const char *path)
{
    Buf b = {0};
    buf_puts(&b, "self");
    for (int level = 0; level <= depth(path); level++) {
        const char *name = part(path, level);
        buf_printf(&b, *name >= '0' && *name <= '9' ? "[\"%s\"]" : ".%s", name);
    }
    return b.text;
}

/* Norms that do not begin with gamma 1 and beta 0. */
static void put_norms(const Graph *g, Buf *to)
{
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        if ((p->role != PARAM_GAMMA && p->role != PARAM_BETA) || p->draw_value == (p->role == PARAM_GAMMA))
            continue;
        buf_printf(to, "        nn.init.constant_(%s, %s)\n", place(p->name), number(p->draw_value));
    }
}

/* Rows that begin with a value of their own. */
static void put_fixed(const Graph *g, Buf *to)
{
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        if (p->fixed_to)
            buf_printf(to, "        nn.init.constant_(%s[%d:%d], %s)\n", place(p->name), p->fixed_from, p->fixed_to,
                       number(p->fixed));
    }
}

/* How the weights of modules of a type, or of types, begin. PyTorch's own way needs no line. */
static void put_draw(InitRule init, const char *types, Buf *to)
{
    static const char *const draw[] = {
        [INIT_KAIMING_NORMAL] = "kaiming_normal_(module.weight",
        [INIT_KAIMING_UNIFORM] = "kaiming_uniform_(module.weight",
        [INIT_KAIMING_NORMAL_FAN_OUT] = "kaiming_normal_(module.weight, mode=\"fan_out\"",
        [INIT_KAIMING_UNIFORM_FAN_OUT] = "kaiming_uniform_(module.weight, mode=\"fan_out\"",
        [INIT_XAVIER_NORMAL] = "xavier_normal_(module.weight",
        [INIT_XAVIER_UNIFORM] = "xavier_uniform_(module.weight"};
    if (init.kind == INIT_PYTORCH)
        return;
    if ((size_t)init.kind >= sizeof draw / sizeof *draw || !draw[init.kind])
        BUG("init %d has no draw", (int)init.kind);
    bool kaiming = init.kind <= INIT_KAIMING_UNIFORM_FAN_OUT;
    buf_printf(to,
               "        for module in self.modules():  # init: %s\n"
               "            if isinstance(module, %s):\n"
               "                nn.init.%s%s)\n"
               "                if module.bias is not None:\n"
               "                    nn.init.zeros_(module.bias)\n",
               init_names[init.kind], types, draw[init.kind],
               !kaiming          ? ""
               : init.slope != 0 ? xprintf(", a=%s, nonlinearity=\"leaky_relu\"", number(init.slope))
                                 : ", nonlinearity=\"relu\"");
}

/* Whether op i's module is listed: of both directions of a recurrent layer, which are one, the first stands for it. */
static bool is_listed(const Op *op, bool norms)
{
    return norms ? op_is_still(op) || (op->frozen && op_has_place_bn(op->kind, op->arg)) : op->frozen && !op->reverse;
}

/* FROZEN = ("conv1.conv", "conv1.bn"), of all that is, or of batch norms alone: of a recurrent op those in its places,
 * which are parts of its module. */
static int put_frozen(const Graph *g, const char *name, bool norms, Buf *to)
{
    Buf list = {0};
    int n = 0;
    for (int i = 0; i < g->nop; i++) {
        const Op *op = &g->op[i];
        if (!is_listed(op, norms))
            continue;
        if (!op_is_recurrent(op->kind) || !norms)
            buf_printf(&list, "%s\"%s\"", n++ ? ", " : "", op_is_recurrent(op->kind) ? op->layer : op->path);
        for (CellPlace p = PLACE_INPUT; p < PLACES && norms; p++)
            if (place_is_bn(op_place(op->kind, op->arg, p)))
                buf_printf(&list, "%s\"%s.%s%s\"", n++ ? ", " : "", op->layer, place_info[p].param,
                           op->reverse ? "_reverse" : "");
    }
    if (n)
        buf_printf(to, "%s = (%s%s)\n", name, list.text, n == 1 ? "," : "");
    return n;
}

static bool any_still(const Graph *g)
{
    bool any = false;
    for (int i = 0; i < g->nop; i++)
        any |= is_listed(&g->op[i], true);
    return any;
}

/* What train.freeze says, as PyTorch has it. */
static void put_frozen_parts(const Graph *g, Buf *to)
{
    if (g->spec->train.nfreeze)
        buf_puts(to, "        for path in FROZEN:\n"
                     "            self.get_submodule(path).requires_grad_(False)\n");
    if (any_still(g))
        buf_puts(to, "\n    def train(self, mode=True):\n"
                     "        super().train(mode)\n"
                     "        for path in FROZEN_NORMS:\n"
                     "            self.get_submodule(path).eval()  # running statistics, which stay as they are\n"
                     "        return self\n");
}

static void put_init(const Graph *g, const int *rank, Buf *to)
{
    buf_puts(to, "    def __init__(self):\n        super().__init__()\n");
    put_modules(g, rank, to);
    put_norms(g, to);
    put_fixed(g, to);

    const Spec *spec = g->spec;
    const InitRule conv = spec->init_conv, linear = spec->init_linear;
    const char *type = xprintf("nn.Conv%dd", g->dims);
    if (conv.kind == linear.kind && conv.slope == linear.slope) {
        put_draw(conv, xprintf("(%s, nn.Linear)", type), to);
    } else {
        put_draw(conv, type, to);
        put_draw(linear, "nn.Linear", to);
    }
    put_frozen_parts(g, to);
}

/* Whether what op i gives is read by the next op alone, so that it can be called x. */
static bool *passing(const Graph *g)
{
    bool *pass = xalloc((size_t)g->nop * sizeof *pass);
    memset(pass, true, (size_t)g->nop * sizeof *pass);
    for (int i = 1; i < g->nop; i++) {
        if (g->op[i].reverse)
            continue; /* its module has read that already */
        for (int k = 0; k < g->op[i].nin; k++)
            if (g->op[i].ins[k] != i - 1)
                pass[g->op[i].ins[k]] = false;
    }
    return pass;
}

/* What the output of op i is called in forward(): x, or for what is read later its path, dots being underscores. No
 * name ends in an underscore by itself. */
static const char *variable(const Graph *g, int i, const bool *pass)
{
    static const char *const taken[] = {"x", "image", "length", "self", "torch", "nn"};
    if (pass[i])
        return "x";
    if (i == 0)
        return "image";
    char *name = xstrdup(g->op[i].path);
    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : *c;
    for (size_t t = 0; t < sizeof taken / sizeof *taken; t++)
        if (strcmp(name, taken[t]) == 0)
            return xprintf("%s_", name);
    return name;
}

/* A tensor's shape: (N, 16, 28, 28) */
static const char *dimensions(Shape s, int rank)
{
    return rank == 2   ? xprintf("(N, %d)", s.c)
           : rank == 3 ? xprintf("(N, %d, %d)", s.c, s.w)
                       : xprintf("(N, %d, %d, %d)", s.c, s.h, s.w);
}

/* A variable in another rank. */
static const char *in_rank(const char *name, int from, int to)
{
    if (from == to)
        return name;
    return to == 2 ? xprintf("torch.flatten(%s, 1)", name)
                   : xprintf("%s[:, :%s]", name, to == 3 ? ", None" : ", None, None");
}

/* A stage: a line, and before it one that changes the rank of x. */
static void put_stage(const Graph *g, int i, const int *rank, const bool *pass, Buf *to)
{
    const Op *both = graph_both_ways(g, i), *op = both ? both : &g->op[i];
    int want = rank_read(g, op, rank);
    bool change = op->nin == 1 && pass[op->in] && rank[op->in] != want;
    if (change)
        buf_printf(to, "        x = %s  # %s\n", in_rank("x", rank[op->in], want),
                   dimensions(g->op[op->in].shape, want));
    buf_printf(to, "        %s = %s(", variable(g, i, pass), place(g->op[i].path));
    for (int k = 0; k < op->nin; k++) {
        int in = op->ins[k];
        buf_printf(to, "%s%s", k ? ", " : "", in_rank(variable(g, in, pass), change ? want : rank[in], want));
    }
    if (op_is_recurrent(op->kind) && g->op[op->in].lengths)
        buf_puts(to, ", length");
    buf_printf(to, ")  # %s\n", dimensions(g->op[i].shape, rank[i]));
}

static void put_forward(const Graph *g, const int *rank, Buf *to)
{
    const bool *pass = passing(g);
    const char *const x = variable(g, 0, pass);
    buf_printf(to, "    def forward(self, %s%s):\n        # input: %s\n", x, g->spec->lengths ? ", length=None" : "",
               dimensions(g->op[0].shape, rank[0]));
    if (g->spec->lengths)
        buf_printf(
            to,
            "        # length: (N), whole numbers from 1 to %d; what stands behind changes nothing. None: all are %d\n"
            "        length = torch.full((len(%s),), %d, device=%s.device) if length is None else length\n"
            "        %s = %s.masked_fill(torch.arange(%d, device=%s.device) >= length[:, None, None], 0)\n",
            g->spec->input[2], g->spec->input[2], x, g->spec->input[2], x, x, x, g->spec->input[2], x);
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        if (op_is_one_way(op))
            continue;
        if (op->stage && !same_layer(g, i - 1, i)) {
            buf_printf(to, "\n        # %s: ", op->layer);
            put_order(g, i, to);
            buf_puts(to, "\n");
        } else if (!op->stage && i > 1 && g->op[i - 1].stage && !op_is_one_way(&g->op[i - 1])) {
            buf_puts(to, "\n");
        }
        put_stage(g, i, rank, pass, to);
    }
    int last = g->op[g->nop - 1].in;
    buf_printf(to, "        return %s  # logits\n", in_rank(variable(g, last, pass), rank[last], 2));
}

void twin_write(const Graph *g, Buf *to)
{
    const char *net = g->spec->name, *class = class_name(net);
    const int *rank = ranks(g);
    buf_printf(to,
               "# SPDX-License-Identifier: 0BSD\n"
               "\"\"\"%s as a PyTorch module, written by convoy twin.\n"
               "\n"
               "The keys of its state_dict are the names in convoy's checkpoints; either side loads the other's:\n"
               "\n"
               "    net = %s()\n"
               "    net.load_state_dict(safetensors.torch.load_file(\"%s.safetensors\"))\n"
               "\n"
               "It returns logits; convoy's loss is %s.\n"
               "\"\"\"\n",
               net, class, net, g->spec->train.loss->torch);
    bool torch = false;
    for (int i = 1; i < g->nop; i++) {
        torch |= g->op[i].kind == OP_CONCAT || (g->op[i].kind == OP_AVGPOOL && by_side(&g->op[i])) ||
                 (op_is_norm(g->op[i].kind) && op_info[g->op[i].kind].norm->own);
        for (int k = 0; k < g->op[i].nin; k++)
            torch |= rank[g->op[i].ins[k]] > rank_read(g, &g->op[i], rank);
    }
    buf_printf(to, "%s%sfrom torch import nn\n\n\n", has_cell(g, OP_KINDS, true, true) ? "import copy\n\n" : "",
               torch ? "import torch\n" : "");
    put_classes(g, to);
    if (put_frozen(g, "FROZEN", false, to)) {
        put_frozen(g, "FROZEN_NORMS", true, to);
        buf_puts(to, "\n\n");
    }
    buf_printf(to, "class %s(nn.Module):\n    # %s -> (N, %d); %lld trained numbers\n\n", class,
               dimensions(g->op[0].shape, rank[0]), g->spec->classes, (long long)g->weights);
    put_init(g, rank, to);
    buf_puts(to, "\n");
    put_forward(g, rank, to);
}
