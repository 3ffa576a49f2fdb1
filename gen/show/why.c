/* why.c - what the plan made of a layer, stage by stage, with the reasons.
 *
 * needs: a complete plan. sets: nothing; it decides nothing either: every reason was left by the pass that decided
 * (Tensor.anchor, .choice, .why, Plan.sum_why, Norm.inference, Op.bias_why, Core.tiles_refused), and what is fused with
 * what is read off the paths. */
#include "json.h"
#include "why.h"
#include "words.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* Whether `path` is `name`, or inside the group that is called so. */
static bool inside(const char *path, const char *name)
{
    const size_t n = strlen(name);

    return strncmp(path, name, n) == 0 && (!path[n] || path[n] == '.');
}

int why_find(const Graph *g, const char *name, int **ops)
{
    int n = 0;

    *ops = NULL;
    for (int i = 0; i < g->nop; i++)
        if (inside(g->op[i].layer, name) || strcmp(g->op[i].path, name) == 0)
            *PUSH(*ops, n) = i;
    return n;
}

const char *why_nearest(const Graph *g, const char *name)
{
    const char **names = NULL;
    int n = 0;

    for (int i = 0; i < g->nop; i++) {
        *PUSH(names, n) = g->op[i].layer;
        *PUSH(names, n) = g->op[i].path;
        for (const char *dot = strchr(g->op[i].layer, '.'); dot; dot = strchr(dot + 1, '.'))
            *PUSH(names, n) = xstrndup(g->op[i].layer, (size_t)(dot - g->op[i].layer));
    }
    *PUSH(names, n) = NULL;
    return diag_nearest(name, names);
}

/* ---- words ---- */

const char *grouped(int64_t v)
{
    const char *s = xprintf("%lld", (long long)v);
    const size_t n = strlen(s);
    Buf b = {0};

    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%c", i && (n - i) % 3 == 0 && s[i - 1] != '-' ? "," : "", s[i]);
    return b.text;
}

static const char *shape_text(Shape s)
{
    return xprintf("%dx%dx%d", s.c, s.h, s.w);
}

static void say(Story *s, const char *about, int64_t bytes, const char *text)
{
    *PUSH(s->fact, s->n) = (Fact){about, text, bytes};
}

static const char *op_path(const Plan *p, int op)
{
    return op == 0 ? "the input" : p->g->op[op].path;
}

static const char *join(const char *a, const char *between, const char *b)
{
    return a ? xprintf("%s%s%s", a, between, b) : b;
}

/* "conv1.bn, conv1.act": links [a, b) of a path; NULL where there are none. */
static const char *links(const Plan *p, const Link *link, int a, int b)
{
    const char *text = NULL;

    for (int i = a; i < b; i++)
        text = join(text, ", ", op_path(p, link[i].op));
    return text;
}

/* "conv1.conv, through conv1.bn, conv1.act": how one gets at value i of a path. */
static const char *value_text(const Plan *p, const Tensor *list, const Path *w, int i)
{
    const Tensor *root = &list[list[w->tensor].root];
    const char *through = links(p, w->link, 0, i);
    const char *stored = root->op == 0                                      ? "the input"
                         : root->stored_op == root->op || list == p->tensor ? op_path(p, root->stored_op)
                                                                            : op_path(p, root->op);

    return through ? xprintf("%s, through %s", stored, through) : stored;
}

/* ---- what stands where ---- */

typedef enum Part { PART_NONE, PART_CORE, PART_OUT, PART_IN, PART_SKIP } Part;

/* Where kernel k runs an op: at which link of which path. */
typedef struct Spot {
    Part part;
    const Path *path;
    int link;
    int sum; /* PART_SIDE: the join */
} Spot;

static bool on_path(const Path *w, int op, Spot *s)
{
    for (int i = 0; i < w->n; i++) {
        if (w->link[i].op == op) {
            s->path = w;
            s->link = i;
            return true;
        }
        for (int j = 0; j < w->link[i].nskip; j++) {
            const Skip *skip = &w->link[i].skip[j];
            if (skip->pad == op || on_path(&skip->path, op, s)) {
                if (skip->pad == op)
                    s->path = &skip->path, s->link = 0;
                s->part = PART_SKIP;
                s->sum = w->link[i].op;
                return true;
            }
        }
    }
    return false;
}

static Spot find_spot(const Kernel *k, int op)
{
    Spot s = {0};

    if (k->op == op && k->kind != KERNEL_PASS) {
        s.part = PART_CORE;
        return s;
    }
    if (on_path(kernel_out(k), op, &s)) {
        s.part = s.part ? s.part : PART_OUT;
        return s;
    }
    for (int i = 0; i < k->nin; i++)
        if (on_path(&k->in[i], op, &s)) {
            s.part = s.part ? s.part : PART_IN;
            return s;
        }
    return s;
}

static bool is_point(const Plan *p, int op)
{
    return op_info[p->g->op[op].kind].cls == CLASS_POINT || op_is_batch_norm(p->g->op[op].kind);
}

static bool is_window(const Plan *p, int op)
{
    return op_info[p->g->op[op].kind].cls == CLASS_WINDOW;
}

/* Why a stored tensor stands where it does: what made flow end a path there. */
static const char *anchor_text(const Plan *p, const Tensor *nd)
{
    const char *text = NULL;

    if (nd->anchor & ANCHOR_STATS) {
        const char *norms = NULL;
        for (int i = 0; i < nd->nnorm; i++)
            norms = join(norms, ", ", op_path(p, nd->norm[i]));
        text =
            xprintf("%s need%s the mean and variance of it over the whole batch, known only when all images have run",
                    norms ? norms : "norms", nd->nnorm == 1 ? "s" : "");
    }
    if (nd->anchor & ANCHOR_MANY)
        text = join(text, "; ", "several ops read it");
    if (nd->anchor & ANCHOR_SKIP)
        text = join(text, "; ", "a sum reads it by the side, and can go only point stages by itself");
    if (nd->anchor & ANCHOR_TENSOR)
        text = join(text, "; ", "a sum or a pad reads it as one tensor after a concat");
    if (nd->anchor & ANCHOR_CUT)
        text = join(text, "; ", "stages before it need more in backward than what others read would tell");
    if (nd->anchor & ANCHOR_STORED)
        text = join(text, "; ", "it is the cheapest tensor that backward can work from");
    return text ? text : "it is the input";
}

static int op_readers(const Plan *p, int op)
{
    int n = 0;

    for (int i = op + 1; i < p->g->nop; i++)
        for (int k = 0; k < p->g->op[i].nin; k++)
            n += p->g->op[i].ins[k] == op;
    return n;
}

/* What follows from its place: at what moment it is computed, and on what. */
static const char *spot_text(const Plan *p, const Tensor *list, const Kernel *k, const Spot *s, int op)
{
    const bool window = is_window(p, op), first = s->path && s->link == 0;
    const char *before = s->path ? links(p, s->path->link, 0, s->link) : NULL;
    const char *on = window ? "one image at a time, in scratch that stays in cache" : "on registers";

    switch (s->part) {
    case PART_CORE:
        return k->kind == KERNEL_LOSS
                   ? xprintf("kernel loss: %s and its gradient, one image at a time", p->g->spec->train.loss->help)
                   : xprintf("the core of kernel %s", k->name);
    case PART_OUT:
        return xprintf(
            "epilogue of kernel %s, %s%s%s, before anything is stored: nothing after %s has to wait for other images",
            k->name, on, before ? ", after " : "", before ? before : "",
            op_path(p, first ? k->op : s->path->link[s->link - 1].op));
    case PART_SKIP:
        return xprintf("by the side of %s in kernel %s: %s is read where the sum is, %s", op_path(p, s->sum), k->name,
                       value_text(p, list, s->path, s->link), window ? "only the pixels that the pad takes" : on);
    case PART_IN:
        return xprintf("%s%s kernel %s, %s, from what is stored of %s", s->link < s->path->grad ? "again: " : "",
                       k->kind == KERNEL_PASS ? "a pass of its own," : "prologue of", k->name, on,
                       value_text(p, list, s->path, s->link));
    default:
        return "";
    }
}

/* ---- training: forward ---- */

static bool normalises(const Tensor *nd, int norm)
{
    for (int i = 0; i < nd->nnorm; i++)
        if (nd->norm[i] == norm)
            return true;
    return false;
}

/* Where a norm's statistics are taken: after a concat, of several tensors. */
static void say_statistics(const Plan *p, Story *s)
{
    for (int i = 0; i < p->ntensor; i++) {
        const Tensor *nd = &p->tensor[i];
        if (!normalises(nd, s->op))
            continue;
        if (nd->op == 0)
            say(s, "statistics", -1, "of the input, in a pass");
        else
            say(s, "statistics", -1,
                xprintf("of %s, in the %s of kernel %s, as it is made: sums about a pivot in registers, no walk of "
                        "their own%s",
                        op_path(p, nd->op), p->kernel[nd->maker].kind == KERNEL_PASS ? "pass" : "epilogue",
                        p->kernel[nd->maker].name,
                        nd->nnorm > 1 ? xprintf("; taken once for the %d norms over it", nd->nnorm) : ""));
    }
}

/* On how many paths a kernel goes through an op: after a concat, on one for each tensor that is joined. */
static int paths_through(const Kernel *k, int op)
{
    int n = 0;

    for (int i = 0; i < k->nin; i++) {
        Spot s = {0};
        n += on_path(&k->in[i], op, &s);
    }
    return n;
}

/* Why an op that stands in prologues does not stand in the epilogue before: the stored tensor between. */
static void say_barrier(const Plan *p, Story *s, const Spot *spot)
{
    if (spot->path->tensor < 0)
        return;
    const Tensor *nd = &p->tensor[spot->path->tensor];
    say(s, "not before", -1,
        nd->op == 0 ? "there is no kernel before it: it begins at the input"
                    : xprintf("%s is where kernels meet: %s", op_path(p, nd->op), anchor_text(p, nd)));
}

static void tell_forward(const Plan *p, Story *s)
{
    const int op = s->op;
    const bool norm = op_is_batch_norm(p->g->op[op].kind);
    bool barrier = false;

    if (norm)
        say_statistics(p, s);
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        const Spot spot = find_spot(k, op);
        if (!spot.part)
            continue;
        const char *text = spot_text(p, p->tensor, k, &spot, op);
        if (!k->has_forward)
            text = xprintf(
                "in no kernel by itself; %s runs in backward alone, where the gradients of several readers meet",
                k->name);
        if (paths_through(k, op) > 1)
            text = xprintf(
                "%s; likewise on the other %d of the %d ways that a concat joins, each with its channels' constants",
                text, paths_through(k, op) - 1, k->nin);
        say(s, norm ? "applied" : "forward", -1, text);
        if (p->sum_why[op] && spot.part != PART_SKIP)
            say(s, "sum there", -1, p->sum_why[op]);
        if (k->kind == KERNEL_PASS && k->has_forward && k->op == op)
            say(s, "why a pass", -1, anchor_text(p, &p->tensor[k->tensor]));
        if ((spot.part == PART_IN || spot.part == PART_SKIP) && !barrier && k->has_forward) {
            say_barrier(p, s, &spot);
            barrier = true;
        }
    }
    if (p->g->op[op].kind == OP_CONCAT && s->n == 0)
        say(s, "forward", -1,
            "no code at all: who reads it reads the tensors that are joined, each its own way, into its packed input");
}

/* ---- training: memory ---- */

/* The stored tensor that holds the op's output, or whose value it is. */
static const Tensor *tensor_storing(const Plan *p, int op)
{
    for (int i = 1; i < p->ntensor; i++)
        if (p->tensor[i].stored && p->tensor[i].stored_op == op)
            return &p->tensor[i];
    return NULL;
}

static int64_t route_bytes(const Plan *p, const Tensor *nd)
{
    int64_t bytes = 0;

    for (int i = 0; i < nd->nroute; i++)
        bytes += blocked_floats(p->g->op[nd->route[i]].shape);
    return bytes;
}

static void say_choices(const Plan *p, Story *s, const Tensor *nd)
{
    const int64_t chosen = 4 * blocked_floats(nd->shape[0]) + route_bytes(p, nd);

    for (int i = 0; i < nd->nchoice && nd->nchoice > 1; i++) {
        const Choice *c = &nd->choice[i];
        if (c->op == nd->stored_op)
            continue;
        const char *why =
            c->early ? xprintf("not: %s", nd->least_why)
            : c->refused >= 0
                ? xprintf("not: %s needs its %s in backward, and cannot have it from there", op_path(p, c->refused),
                          op_info[p->g->op[c->refused].kind].need == NEED_INPUT ? "input"
                          : op_info[p->g->op[c->refused].kind].need == NEED_ROUTE
                              ? "winners (more than 255 to a window)"
                          : op_info[p->g->op[c->refused].kind].need == NEED_SIGN ? "output's sign"
                                                                                 : "output")
            : c->bytes > chosen ? "it would serve, but is larger"
                                : "it would serve as well; of equals the latest is stored, so that least is recomputed";
        say(s, "or instead", c->bytes,
            xprintf("%s, %s bytes per image; %s", op_path(p, c->op), grouped(c->bytes), why));
    }
}

static const char *kept_text(const Tensor *nd)
{
    return nd->kept         ? "until backward has read it"
           : nd->recomputed ? "not kept: it is made again for backward (its recompute segment runs forward once more)"
                            : "forward only: backward does not read it, and its memory is free again";
}

/* Whose backward reads op's output, as autograd counts: "its own and conv3.conv's". */
static const char *autograd_readers(const Graph *g, int op)
{
    const Need own = op_need(&g->op[op]);
    const char *text = own == NEED_OUTPUT || own == NEED_SIGN ? "its own" : NULL;

    for (int i = op + 1; i < g->nop; i++) {
        const Need need = op_need(&g->op[i]);
        if (g->op[i].kind != OP_LOSS && g->op[i].in == op && (need == NEED_INPUT || need == NEED_ROUTE))
            text = join(text, " and ", xprintf("%s's", g->op[i].path));
    }
    return text;
}

static const char *own_bytes_text(OpKind kind)
{
    return kind == OP_DROP                    ? ": one byte of mask per element"
           : op_info[kind].need == NEED_ROUTE ? ": the winner's index a window, 8 bytes"
                                              : "";
}

static void tell_memory(const Plan *p, Story *s, int64_t autograd)
{
    const int op = s->op;
    const Tensor *nd = tensor_storing(p, op);
    const char *readers = autograd_readers(p->g, op);

    if (nd) {
        const int64_t bytes = 4 * blocked_floats(nd->shape[0]);
        say(s, "stored", bytes,
            xprintf("%s bytes per image (%s in blocks of 16 channels), %s", grouped(bytes), shape_text(nd->shape[0]),
                    kept_text(nd)));
        if (nd->nroute)
            say(s, "stored", route_bytes(p, nd),
                xprintf("%s more bytes per image: one byte per window says which element won",
                        grouped(route_bytes(p, nd))));
        say(s, "why this", -1, nd->why);
        say_choices(p, s, nd);
    } else {
        for (int i = 1; i < p->ntensor; i++)
            for (int j = 0; j < p->tensor[i].nchoice; j++)
                if (p->tensor[i].choice[j].op == op && p->tensor[i].nchoice > 1)
                    nd = &p->tensor[i];
        say(s, "not stored", 0,
            nd                ? xprintf("%s is stored instead, %s bytes per image: %s", op_path(p, nd->stored_op),
                                        grouped(4 * blocked_floats(nd->shape[0]) + route_bytes(p, nd)), nd->why)
            : is_point(p, op) ? "who reads it computes it: that costs less than to write and read a tensor"
                              : "who reads it computes it");
    }
    if (autograd)
        say(s, "autograd", autograd,
            xprintf("would keep %s bytes per image of it%s%s%s", grouped(autograd),
                    readers ? ", for " : own_bytes_text(p->g->op[op].kind), readers ? readers : "",
                    readers ? " backward" : ""));
}

/* ---- training: backward ---- */

/* Where value i of a path, counted from its core or its stored tensor, comes from in backward. */
static const char *again_text(const Plan *p, const Spot *s, const Kernel *k, int i)
{
    if (s->part == PART_OUT) {
        const int stored = s->path->grad;
        const char *what = op_path(p, stored ? s->path->link[stored - 1].op : k->op);
        const char *through = i > stored ? links(p, s->path->link, stored, i) : NULL;
        return i == stored ? xprintf("%s, which is stored", what)
               : through   ? xprintf("recomputed from the stored %s, through %s", what, through)
                           : NULL;
    }
    const Tensor *nd = &p->tensor[s->path->tensor];
    const char *from = value_text(p, p->tensor, s->path, i);
    return i > 0         ? xprintf("recomputed from the stored %s", from)
           : nd->op == 0 ? "the input, read again"
                         : xprintf("%s, which is stored", from);
}

static void tell_backward(const Plan *p, Story *s)
{
    const int op = s->op;
    const Op *o = &p->g->op[op];
    const Need need = op_need(o);
    static const char *const what[] = {
        [NEED_SIGN] = "where its output is above zero", [NEED_OUTPUT] = "its output", [NEED_INPUT] = "its input"};

    if (o->kind == OP_LOSS || o->kind == OP_CONCAT)
        return;
    if (o->frozen)
        say(s, "frozen", -1,
            op_is_still(o)  ? "gamma and beta stay; it normalises by its running statistics, which stay, too: a scale "
                              "and a shift a channel"
            : o->input_grad ? "its weights stay: they have no gradient, and the optimiser keeps nothing of them"
                            : "its weights stay, and nothing before it learns: it has no backward");
    if (!o->output_grad)
        return;
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        const Spot spot = find_spot(k, op);
        if (!spot.part ||
            !(spot.part == PART_CORE || spot.part == PART_OUT ? k->has_backward : k->back_data || k->has_backward))
            continue;
        if (spot.part == PART_CORE) {
            const char *text = NULL;
            for (int w = 0; w < k->nin; w++)
                text = join(text, "; ", value_text(p, p->tensor, &k->in[w], k->in[w].n));
            if (k->learns)
                say(s, "backward", -1, xprintf("its weights' gradient reads its input: packed again from %s", text));
            if (!k->back_data)
                say(s, "backward", -1, "no gradient of its input: nothing before it learns");
            return;
        }
        if (spot.part != PART_OUT && spot.link < spot.path->grad)
            continue; /* recomputed there; its own backward is another kernel's */
        const int at = spot.link, stored = spot.path->grad;
        const char *text = NULL;
        if (need == NEED_NOTHING)
            text = o->kind == OP_DROP ? "its mask is drawn again from seed, step and place: nothing is kept"
                                      : "needs nothing of forward";
        else if (need == NEED_ROUTE)
            text =
                spot.part == PART_OUT && at < stored
                    ? "the winners' bytes that are stored say where the gradient goes"
                    : xprintf("finds the winners of its windows again: its input is %s", again_text(p, &spot, k, at));
        else if (spot.part == PART_OUT && need == NEED_SIGN && at + 1 < stored)
            text = xprintf("needs %s: read off the sign of the stored %s, as every stage between keeps signs where the "
                           "gradient is not zero",
                           what[need], op_path(p, spot.path->link[stored - 1].op));
        else
            text = xprintf("needs %s%s: %s", what[need],
                           op_is_batch_norm(o->kind) ? " (x - mean, for gamma's gradient and the norm's share)" : "",
                           again_text(p, &spot, k,
                                      need == NEED_INPUT                                          ? at
                                      : spot.part == PART_OUT && need == NEED_SIGN && at < stored ? stored
                                                                                                  : at + 1));
        say(s, "backward", -1, xprintf("in kernel %s; %s", k->name, text));
    }
}

/* ---- inference, bias, code ---- */

static void tell_inference(const Plan *p, Story *s)
{
    const int op = s->op;
    const Op *o = &p->g->op[op];

    if (o->kind == OP_LOSS || o->kind == OP_CONCAT)
        return;
    if (o->kind == OP_DROP) {
        say(s, "inference", -1, "gone: dropout does nothing at inference");
        return;
    }
    if (op_is_batch_norm(o->kind)) {
        const Norm *n = plan_norm(p, op);
        say(s, "inference", -1,
            n->stopped_by >= 0 ? xprintf("%s (%s)", n->inference, op_path(p, n->stopped_by)) : n->inference);
        return;
    }
    for (int i = 0; i < p->ninfer; i++) {
        const Kernel *k = &p->infer[i];
        const Spot spot = find_spot(k, op);
        if (spot.part == PART_CORE)
            say(s, "inference", -1,
                k->w->direct ? "the core reads its input as it lies: its producer left the halo that it asks for"
                             : "its input is packed first");
        else if (spot.part == PART_OUT)
            say(s, "inference", -1, xprintf("epilogue of %s", k->name));
        else if (spot.part)
            say(s, "inference", -1,
                xprintf("%s %s",
                        spot.part == PART_SKIP   ? "by the side, in"
                        : k->kind == KERNEL_PASS ? "a pass:"
                                                 : "prologue of",
                        k->name));
    }
}

static const Kernel *kernel_of(const Plan *p, int op)
{
    for (int i = 0; i < p->nkernel; i++)
        if (p->kernel[i].op == op && p->kernel[i].w)
            return &p->kernel[i];
    return NULL;
}

/* The forward core's tile; `winograd`: another way is taken. */
static void tell_core(const Plan *p, Story *s, const Core *c, bool winograd)
{
    const Tile *t = tile_main(c);
    const bool loops = tile_loops(c, t->rows);
    const int taps = c->ntap * (loops ? 1 : c->rows);
    const int64_t adds = (int64_t)taps * t->rows * t->cols * c->vectors;
    const Spec *spec = p->g->spec;
    const char *budget =
        spec->unroll == UNROLL_FULL ? "unroll: full, no budget"
        : spec->unroll == UNROLL_NONE
            ? "unroll: none, one register"
            : xprintf("budget %d: %s", spec->unroll ? spec->unroll : UNROLL_TILE,
                      c->tiles_refused ? xprintf("%d tiles that fit the registers were refused by it", c->tiles_refused)
                                       : "it refused none");

    say(s, "tile", -1,
        xprintf("%s%d x %d pixels x %d channels, %d of %s's %d registers hold sums; by the model %s cycles per image, "
                "the least of all tiles",
                winograd ? "of direct cores, were they used: " : "", t->rows, t->cols, c->vectors * LANES,
                t->rows * t->cols * c->vectors, p->target->name, p->target->registers, grouped((int64_t)c->cycles)));
    say(s, "unrolled", -1,
        xprintf(
            "%d tap%s%s, %s multiply-adds %s (%s); over %d x %d channels it loops", taps, taps == 1 ? "" : "s",
            !loops                        ? ""
            : spec->unroll == UNROLL_NONE ? xprintf(" of a row, %d rows are a loop", c->rows)
            : c->flat
                ? xprintf(" of a row, %d rows are a loop (a tile of one row leaves out those that meet padding alone)",
                          c->rows)
                : xprintf(" of a row, %d rows are a loop (a kernel of more than %d taps)", c->rows, UNROLL_TAPS),
            grouped(adds), loops ? "a tile for each row of the kernel" : "a tile", budget, c->blocks, c->lanes));
}

/* Of each pass, how it runs, and the cycles of both ways. */
static void tell_ways(Story *s, const Kernel *k)
{
    static const char *const name[] = {[PASS_FORWARD] = "forward", [PASS_DATA] = "data", [PASS_WEIGHTS] = "weights"};

    for (Pass i = PASS_FORWARD; i <= PASS_WEIGHTS; i++) {
        const double direct = kernel_direct_cycles(k, i), other = kernel_winograd_cycles(k, i);
        if (direct > 0 && other > 0)
            say(s, xprintf("%s by", name[i]), -1,
                xprintf("%s: by the models %s cycles per image so, %s %s",
                        kernel_winograd(k, i) ? "Winograd" : "direct cores",
                        grouped((int64_t)(kernel_winograd(k, i) ? other : direct)),
                        grouped((int64_t)(kernel_winograd(k, i) ? direct : other)),
                        kernel_winograd(k, i) ? "by direct cores" : "by Winograd"));
    }
}

static void tell_code(const Plan *p, Story *s)
{
    const Kernel *k = kernel_of(p, s->op);
    const Op *o = &p->g->op[s->op];

    if (!k)
        return;
    const Spec *spec = p->g->spec;
    if (o->layer_index >= 0 && spec->layer[o->layer_index].bias != BIAS_AUTO)
        say(s, "bias", -1, o->bias ? "kept: the spec says so" : "none: the spec says so");
    else if (o->bias_why)
        say(s, "bias", -1, o->bias_why);
    if (k->recurrent) {
        const struct cvy_cell *c = &k->recurrent->cell;
        const int vectors = c->nh - k->recurrent->resets;
        say(s, "steps", recurrent_kept_bytes(k), plan_words(p, k).steps);
        if (k->recurrent->nnorm)
            say(s, "norms", -1, plan_words(p, k).places);
        say(s, "runs", -1,
            xprintf("%d steps, one after the other: a product with the h before, %sand the cell. Of all steps "
                    "together: the "
                    "product with the input, the weights' gradients. Threads split %s, so that bytes do not "
                    "depend on them",
                    k->recurrent->steps, k->recurrent->resets ? "one with r h, " : "",
                    recurrent_meets(k) ? "the images, or, in a pass with bn, blocks of units of all images"
                                       : "the images"));
        say(s, "tile", -1,
            xprintf("%d rows x %d vectors of %d units in registers; backward %d x %d",
                    recurrent_rows(p->target, vectors), vectors, c->lanes, recurrent_rows(p->target, c->back_h),
                    c->back_h));
    } else if (k->kind == KERNEL_EMBED) {
        say(s, "runs", -1,
            xprintf(
                "of each token its row of %d numbers is copied; backward adds to the rows in the order of images and "
                "steps, a thread to %d columns of its own, so that bytes do not depend on threads",
                o->shape.c, LANES));
    } else if (k->rows) {
        say(s, "product", -1,
            "a matrix product over the whole batch, whose columns threads may share: each number is one sum in one "
            "order, so "
            "that bytes do not depend on threads");
    } else {
        tell_core(p, s, &k->w->forward, kernel_winograd(k, PASS_FORWARD) != NULL);
        tell_ways(s, k);
        if (k->conv->lanewise)
            say(s, "lanewise", -1,
                "its groups are no whole blocks of 16 channels: lane meets lane, nothing is broadcast");
        if (k->conv->ndata > 1)
            say(s, "backward", -1,
                xprintf("%d cores for its input's gradient: under the stride, input pixels fall into classes that "
                        "share their taps",
                        k->conv->ndata));
        if (k->learns)
            say(s, "weights", -1,
                xprintf(
                    "their gradient: %d x %d sums in registers, %s", k->conv->weight.nacc, k->conv->weight.vectors,
                    k->conv->weight.images == 1
                        ? "image by image"
                        : xprintf(
                              "%d images a walk, since one has too few pixels to pay for reading and writing the sums",
                              k->conv->weight.images)));
    }
    say(s, "scratch", 4 * k->scratch,
        xprintf("%s bytes per thread: packed input, packed gradient, images of windows", grouped(4 * k->scratch)));
    say(s, "pieces", -1,
        xprintf("%d, by a batch of %d, never by threads: partial sums are added in piece order", p->pieces,
                spec->train.batch));
}

/* ---- the whole ---- */

Story why_tell(const Plan *p, int op)
{
    Story s = {.op = op};
    int64_t *autograd = xalloc(sizeof *autograd * (size_t)p->g->nop);

    if (op == 0) {
        say(&s, "not stored", 0, "it is the caller's, and read again in backward");
        return s;
    }
    grad_autograd(p->g, autograd);
    tell_forward(p, &s);
    if (p->g->op[op].kind != OP_LOSS)
        tell_memory(p, &s, autograd[op]);
    tell_backward(p, &s);
    tell_inference(p, &s);
    tell_code(p, &s);
    return s;
}

void print_wrapped(const char *text, int indent, FILE *to)
{
    enum { WIDTH = 110 };
    int at = indent;

    for (const char *word = text; *word;) {
        const int n = (int)strcspn(word, " ");
        if (at > indent && at + 1 + n > WIDTH) {
            fprintf(to, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', to);
            at++;
        }
        fprintf(to, "%.*s", n, word);
        at += n;
        word += n;
        while (*word == ' ')
            word++;
    }
    fputc('\n', to);
}

/* Bytes an image that the plan keeps of what these ops make, and that autograd would. */
static void totals(const Plan *p, const int *ops, int n, int64_t *kept, int64_t *autograd)
{
    int64_t *by_op = xalloc(sizeof *by_op * (size_t)p->g->nop);

    grad_autograd(p->g, by_op);
    *kept = *autograd = 0;
    for (int i = 0; i < n; i++) {
        const Tensor *nd = tensor_storing(p, ops[i]);
        *autograd += by_op[ops[i]];
        *kept += nd && nd->kept ? 4 * blocked_floats(nd->shape[0]) : 0;
        *kept += nd && !nd->recomputed ? route_bytes(p, nd) : 0;
        const Kernel *k = kernel_of(p, ops[i]);
        *kept += k ? recurrent_kept_bytes(k) : 0;
    }
}

void why_print(const Plan *p, const char *name, const int *ops, int n, FILE *to)
{
    int64_t kept, autograd;

    totals(p, ops, n, &kept, &autograd);
    fprintf(to, "%s of %s, for %s\n", name, p->g->spec->name, p->target->name);
    for (int i = 0; i < n; i++) {
        const Op *o = &p->g->op[ops[i]];
        const Story s = why_tell(p, ops[i]);
        fprintf(to, "\n%s", o->path);
        fprintf(to, " (%s):", op_info[o->kind].name);
        for (int k = 0; k < o->nin; k++)
            fprintf(to, "%s %s", k ? "," : "", shape_text(p->g->op[o->ins[k]].shape));
        if (o->kind != OP_LOSS)
            fprintf(to, "%s %s", o->nin ? " ->" : "", shape_text(o->shape));
        if (op_readers(p, ops[i]) > 1)
            fprintf(to, ", read by %d ops", op_readers(p, ops[i]));
        fputc('\n', to);
        for (int f = 0; f < s.n; f++) {
            const bool same = f && strcmp(s.fact[f].about, s.fact[f - 1].about) == 0;
            fprintf(to, "  %-11s ", same ? "" : s.fact[f].about);
            print_wrapped(s.fact[f].text, 14, to);
        }
    }
    fprintf(to, "\nkept for backward: %s bytes per image; autograd would keep %s of the same stages\n", grouped(kept),
            grouped(autograd));
}

bool why_json(const Plan *p, const char *name, const int *ops, int n, FILE *to)
{
    int64_t kept, autograd;
    json_t *stages = json_array();

    totals(p, ops, n, &kept, &autograd);
    for (int i = 0; i < n; i++) {
        const Op *o = &p->g->op[ops[i]];
        const Story s = why_tell(p, ops[i]);
        json_t *facts = json_array();
        for (int f = 0; f < s.n; f++) {
            json_t *fact = json_pack("{s:s, s:s}", "about", s.fact[f].about, "text", s.fact[f].text);
            if (fact && s.fact[f].bytes >= 0)
                json_object_set_new(fact, "bytes", json_integer(s.fact[f].bytes));
            json_array_append_new(facts, fact);
        }
        json_array_append_new(stages,
                              json_pack("{s:s, s:s, s:[i, i, i], s:o}", "path", o->path, "op", op_info[o->kind].name,
                                        "output", o->shape.c, o->shape.h, o->shape.w, "facts", facts));
    }
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "network", p->g->spec->name, "target", p->target->name, "layer",
                  name, "kept_bytes", (json_int_t)kept, "autograd_bytes", (json_int_t)autograd, "stages", stages);
    return json_print(root, JSON_INDENT(2), to);
}
