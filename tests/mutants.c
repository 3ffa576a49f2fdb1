/* mutants.c - convoy diff never says of two different networks that they are one.
 *
 * A random spec is changed a little, and diff compares the two. Whatever it claims is checked by the reference
 * interpreter, which trains both for two steps with the same numbers and then infers:
 *   - equal specs, equal graphs, one network that is cut otherwise: losses, gradients, running statistics and logits
 * are the same;
 *   - the same network except for a redundant bias: the same, whatever the bias is, and its gradient is zero; one
 * redundant bias of two different networks: its side is the same with and without;
 *   - a rotation: the stages that the note names are moved from the place that it names to the other, and then the two
 * are the same. Changes are of every kind: arguments, ops, their sequence, sizes, biases, names, where a layer ends.
 * Some leave the network what it is, so that claims are made at all: how many of each were made is printed, and must
 * not be none.
 *
 *     mutants [--count N] [--seed S] [--spec S] one seed alone, with both specs and what diff says */
#include "diff.h"
#include "interp.h"
#include "mutate.h"
#include "randspec.h"
#include "graph.h"
#include "read.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGES = 5, STEPS = 2 };

/* What became of the mutants; shared with the processes that try them. */
typedef struct Tally {
    int refused, differ, equal, one, cut, bias, some_bias, rotation, graph_alone;
    int failed;
    char what[400]; /* the last failure */
} Tally;
static Tally *tally;

static void fail(const char *what)
{
    tally->failed++;
    snprintf(tally->what, sizeof tally->what, "%s", what);
}

/* ---- specs ------------------------------------------------------------------------------------------------------- */

static Graph *graph_of(const char *text)
{
    Source *src = xalloc(sizeof *src);
    *src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(src);
    Node *tree = yaml_parse(text, src->len, (Mark){1, 1, 0});
    Spec *s = tree && !diag_errors() ? spec_read(tree) : NULL;
    Graph *g = s && !diag_errors() ? graph_build(s) : NULL;
    const bool ok = g && !diag_errors();
    diag_drop();
    return ok ? g : NULL;
}

static const char *printed(const RandSpec *s)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        exit(2);
    rs_print(s, f);
    fclose(f);
    return text;
}

/* ---- the interpreter's word -------------------------------------------------------------------------------------- */

/* Which parameter of a is which of b: the same role and shape, in order, biases that one alone has aside. */
typedef struct Match {
    int *of_b; /* a's number, or -1 */
    int extra; /* biases that one of them has */
    bool ok;
} Match;

static bool same_param(const Param *a, const Param *b)
{
    return a->role == b->role && a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

static Match match(const Graph *a, const Graph *b)
{
    Match m = {.of_b = xalloc((size_t)(b->nparam + 1) * sizeof(int))};
    int i = 0, k = 0;
    while (i < a->nparam || k < b->nparam) {
        if (i < a->nparam && k < b->nparam && same_param(&a->param[i], &b->param[k])) {
            m.of_b[k++] = i++;
        } else if (i < a->nparam && a->param[i].role == PARAM_BIAS) {
            i++, m.extra++;
        } else if (k < b->nparam && b->param[k].role == PARAM_BIAS) {
            m.of_b[k++] = -1, m.extra++;
        } else {
            return m;
        }
    }
    m.ok = memcmp(&a->op[0].shape, &b->op[0].shape, sizeof a->op[0].shape) == 0 && a->spec->classes == b->spec->classes;
    return m;
}

static double draw(ParamRole role, Rng *r, double fan_in)
{
    switch (role) {
    case PARAM_WEIGHT:
    case PARAM_HIDDEN_WEIGHT:
        return rng_normal(r) * sqrt(2 / fan_in);
    case PARAM_GAMMA:
        return (rng_chance(r, 0.3) ? -1 : 1) * rng_real(r, 0.4, 1.5);
    case PARAM_VAR:
        return 1;
    case PARAM_MEAN:
    case PARAM_COUNT:
        return 0;
    default:
        return rng_normal(r) * 0.5;
    }
}

/* Fills the parameters; number[p] says which draw is whose, -1: one of its own. */
static void fill(Interp *ip, const int *number, uint64_t seed)
{
    for (int p = 0; p < ip->g->nparam; p++) {
        const Param *param = &ip->g->param[p];
        const int64_t n = interp_numel(param);
        Rng r = {seed + 1000003u * (uint64_t)(number && number[p] < 0 ? 100000 + p : number ? number[p] : p)};
        for (int64_t e = 0; e < n; e++)
            ip->param[p][e] = draw(param->role, &r, (double)n / (param->ndim ? param->dim[0] : 1));
    }
}

static void images(const Interp *ip, uint64_t seed, double *x, int *label)
{
    Rng r = {seed};
    for (int64_t e = 0; e < IMAGES * interp_image(ip->g, 0); e++)
        x[e] = rng_normal(&r);
    for (int i = 0; i < IMAGES; i++)
        label[i] = rng_int(&r, 0, ip->g->spec->classes - 1);
    int nth = 0; /* dropout */
    for (int i = 0; i < ip->g->nop; i++)
        if (ip->mask[i]) {
            Rng own = {seed + 77u * (uint64_t)++nth};
            for (int64_t e = 0; e < IMAGES * interp_image(ip->g, i); e++)
                ip->mask[i][e] = rng_chance(&own, 1 - ip->g->op[i].value);
        }
}

/* Running statistics become the last batch's, so that they say what the network is, and not what they began with. */
static void settle_statistics(Interp *ip)
{
    for (int p = 0; p < ip->g->nparam; p++) {
        const Param *param = &ip->g->param[p];
        for (int64_t c = 0; c < interp_numel(param); c++)
            if (param->role == PARAM_MEAN)
                ip->param[p][c] = ip->mean[param->op][c];
            else if (param->role == PARAM_VAR)
                ip->param[p][c] = ip->var[param->op][c];
    }
}

/* Trains, and infers: loss[] of each step, gradients in dparam, the rest in param, logits in out. */
static void run(Interp *ip, uint64_t seed, double loss[STEPS])
{
    static const InterpStep step = {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01};
    double *x = xalloc((size_t)(IMAGES * interp_image(ip->g, 0)) * sizeof *x);
    int label[IMAGES];
    images(ip, seed, x, label);
    interp_forward(ip, x, label, IMAGES, true);
    settle_statistics(ip);
    for (int i = 0; i < STEPS; i++) {
        images(ip, seed + 1 + (uint64_t)i, x, label);
        interp_forward(ip, x, label, IMAGES, true);
        interp_backward(ip);
        interp_update(ip, &step);
        loss[i] = ip->loss;
    }
    images(ip, seed + 9, x, label);
    interp_forward(ip, x, NULL, IMAGES, false);
}

/* How far apart, relative to the larger of both, or to 1e-6 of `scale`, or 1e-4: where a norm sees one value, all
 * after it is rounding. */
static double distance(const double *a, const double *b, int64_t n, double scale)
{
    double most = fmax(1e-6 * scale, 1e-4), apart = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fmax(fabs(a[i]), fabs(b[i])));
        apart = fmax(apart, fabs(a[i] - b[i]));
        if (!(fabs(a[i] - b[i]) < INFINITY))
            return INFINITY;
    }
    return apart / most;
}

static double largest(const Interp *ip)
{
    double most = 0;
    for (int p = 0; p < ip->g->nparam; p++)
        for (int64_t e = 0; ip->dparam[p] && e < interp_numel(&ip->g->param[p]); e++)
            most = fmax(most, fabs(ip->dparam[p][e]));
    return most;
}

/* Whether a and b, with the same numbers, do the same; with `bias`, the one that has a bias more must do it whatever
 * that is. What differs is put into *why. */
static bool behave_same(const Graph *a, const Graph *b, bool bias, uint64_t seed, const char **why)
{
    static const double tolerance = 1e-7;
    const Match m = match(a, b);
    double la[STEPS], lb[STEPS];
    *why = "parameters or inputs";
    if (!m.ok || (m.extra && !bias))
        return false;
    Interp *x = interp_new(a, IMAGES), *y = interp_new(b, IMAGES);
    fill(x, NULL, seed);
    fill(y, m.of_b, seed);
    run(x, seed, la);
    run(y, seed, lb);
    const double scale = fmax(largest(x), largest(y));
    *why = distance(la, lb, STEPS, 1) > tolerance ? "losses" : NULL;
    for (int k = 0; k < b->nparam && !*why; k++) {
        const Param *p = &b->param[k];
        const int i = m.of_b[k];
        const int64_t n = interp_numel(p);
        if (i < 0) {
            double *zero = xalloc((size_t)n * sizeof *zero);
            *why = distance(y->dparam[k], zero, n, 1e6 * scale) > tolerance ? xprintf("the gradient of %s", p->name)
                                                                            : NULL;
            continue;
        }
        if (y->dparam[k] && distance(x->dparam[i], y->dparam[k], n, scale) > tolerance)
            *why = xprintf("the gradient of %s", p->name);
        else if (distance(x->param[i], y->param[k], n, 1e6) > tolerance &&
                 !(m.extra && p->role == PARAM_MEAN)) /* a mean holds the bias */
            *why = xprintf("%s after the steps", p->name);
    }
    const int logits = a->op[a->nop - 1].in, others = b->op[b->nop - 1].in;
    if (!*why && distance(x->out[logits], y->out[others], IMAGES * interp_image(a, logits), 1e6) > tolerance)
        *why = "inference";
    interp_free(x);
    interp_free(y);
    return !*why;
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static const char *note_with(const Diff *d, const char *begin)
{
    for (int i = 0; i < d->nnote; i++)
        if (strncmp(d->note[i], begin, strlen(begin)) == 0)
            return d->note[i];
    return NULL;
}

/* The same network, with that op's bias or without. */
static Graph *with_bias(const Graph *g, const char *path, bool bias)
{
    Spec *s = xalloc(sizeof *s);
    *s = *g->spec;
    s->layer = xalloc((size_t)s->nlayer * sizeof *s->layer);
    memcpy(s->layer, g->spec->layer, (size_t)s->nlayer * sizeof *s->layer);
    for (int i = 0; i < g->nop; i++)
        if (op_info[g->op[i].kind].cls == CLASS_WEIGHT && g->op[i].layer_index >= 0) /* what auto decided stays */
            s->layer[g->op[i].layer_index].bias =
                (strcmp(g->op[i].path, path) == 0 ? bias : g->op[i].bias) ? BIAS_TRUE : BIAS_FALSE;
    Graph *other = graph_build(s);
    diag_drop();
    return other;
}

/* "A bias that one of them has is redundant (a, b): ...": on the side that has it. */
static void check_biases(const Diff *d, const char *note, uint64_t seed)
{
    const char *at = strchr(note, '(') + 1, *end = strstr(at, "): ");
    while (at < end) {
        const size_t n = strcspn(at, ",)");
        const char *path = xstrndup(at, n), *why;
        for (int side = 0; side < 2; side++) {
            const Graph *g = side ? d->renamed : d->a.g;
            for (int i = 0; i < g->nop; i++)
                if (strcmp(g->op[i].path, path) == 0 && g->op[i].bias) {
                    const Graph *without = with_bias(g, path, false);
                    if (!without || !behave_same(without, g, true, seed, &why))
                        fail(xprintf("'%s': %s differs without %s.bias", note, without ? why : "all", path));
                }
        }
        at += n + 2;
    }
}

/* A chain as bare layers: op i of g for each of op[0..n). `bias`: whose biases, by path. */
static const char *chain_yaml(const Graph *g, const int *op, int n, const Graph *bias)
{
    static const char *const yes_no[] = {"false", "true"};
    Buf b = {0};
    const Shape in = g->op[0].shape;
    buf_printf(&b, "name: moved\ninput: [%d, %s%d]\n", in.c, g->dims == 1 ? "" : xprintf("%d, ", in.h), in.w);
    buf_printf(&b, "classes: %d\ntrain: {batch: %d}\nlayers:\n", g->spec->classes, g->spec->train.batch);
    for (int i = 0; i < n; i++) {
        const Op *o = &g->op[op[i]];
        bool has = false;
        for (int k = 0; k < bias->nop; k++)
            has |= strcmp(bias->op[k].path, o->path) == 0 && bias->op[k].bias;
        if (o->kind == OP_LINEAR) {
            buf_printf(&b, "  - linear: {out: %d, bias: %s, order: linear}\n", o->shape.c, yes_no[has]);
        } else if (o->kind == OP_CONV) {
            buf_printf(&b, "  - conv: {out: %d, bias: %s, order: conv, groups: %d", o->shape.c, yes_no[has], o->groups);
            const int *const v[] = {o->kernel, o->stride, o->dilation};
            static const char *const key[] = {"kernel", "stride", "dilation"};
            if (g->dims == 1)
                buf_printf(&b, ", padding: [%d, %d]", o->padding[1], o->after[1]);
            else
                buf_printf(&b, ", padding: [%d, %d, %d, %d]", o->padding[0], o->after[0], o->padding[1], o->after[1]);
            for (int k = 0; k < 3; k++)
                buf_printf(&b, ", %s: %s", key[k],
                           g->dims == 1 ? xprintf("%d", v[k][1]) : xprintf("[%d, %d]", v[k][0], v[k][1]));
            buf_puts(&b, "}\n");
        } else if (op_is_norm(o->kind)) {
            buf_printf(&b, "  - %s: {eps: %s", op_info[o->kind].name, real_text(o->eps));
            if (o->kind == OP_BN)
                buf_printf(&b, ", momentum: %s", real_text(o->momentum));
            if (o->kind == OP_GN)
                buf_printf(&b, ", groups: %d", o->groups);
            buf_puts(&b, "}\n");
        } else {
            buf_printf(&b, "  - \"%s\"\n", op_text(o->kind, o->arg, g->dims, false));
        }
    }
    return b.text;
}

/* The ops of a chain between two weight ops, by the path of the one after which it begins and of the one before which
 * it ends; NULL: the chain's ends. First op and how many. */
static bool find_gap(const Graph *g, const char *after, const char *before, int *first, int *n)
{
    *first = 1;
    for (int i = 1; after && i < g->nop; i++)
        if (strcmp(g->op[i].path, after) == 0)
            *first = i + 1;
    int end = *first;
    while (end < g->nop - 1 && op_info[g->op[end].kind].cls != CLASS_WEIGHT)
        end++;
    *n = end - *first;
    return before ? strcmp(g->op[end].path, before) == 0 : end == g->nop - 1;
}

/* "in front of X", "after X", "between X and Y"; what stands after it ends with `stop`. */
static bool read_place(const char *text, const char *stop, const char **after, const char **before)
{
    const char *end = strstr(text, stop);
    *after = *before = NULL;
    if (!end)
        return false;
    const char *all = xstrndup(text, (size_t)(end - text)), *and = strstr(all, " and ");
    if (strncmp(all, "in front of ", 12) == 0)
        *before = all + 12;
    else if (strncmp(all, "after ", 6) == 0)
        *after = all + 6;
    else if (strncmp(all, "between ", 8) == 0 && and) {
        *after = xstrndup(all + 8, (size_t)(and-all) - 8);
        *before = and+5;
    }
    return *after || *before;
}

static const char *run_text(const Graph *g, int first, int n)
{
    Buf b = {0};
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", graph_op_text(g, first + i));
    return n ? b.text : "";
}

/* Moves the stages that the note names, on the side that has them at the beginning, to where the other has them. */
static void check_rotation(const Diff *d, const char *note, uint64_t seed)
{
    const char *from = strstr(note, "in both; "), *stand = from ? strstr(from, " stand") : NULL;
    const char *place = stand ? strchr(stand + 1, ' ') + 1 : NULL, *and = NULL, *after, *before,
               *why = "the note is not read";
    bool in_b = false, ok = false;
    for (int side = 0; place && !and&&side < 2; side++) {
        and = strstr(place, side ? " in B, and " : " in A, and ");
        in_b = side == 1;
    }
    if (!and || !read_place(place, in_b ? " in B, and " : " in A, and ", &after, &before)) {
        fail(xprintf("'%s': the words are not understood", note));
        return;
    }
    const char *stages = xstrndup(from + 9, (size_t)(stand - from) - 9);
    const Graph *more = in_b ? d->renamed : d->a.g, *less = in_b ? d->a.g : d->renamed;
    const char *to_after, *to_before;
    int first, n, to, to_n;
    if (!find_gap(more, after, before, &first, &n) ||
        !read_place(and+11, in_b ? " in A." : " in B.", &to_after, &to_before) ||
        !find_gap(more, to_after, to_before, &to, &to_n)) {
        fail(xprintf("'%s': no such place", note));
        return;
    }
    const char *ends = note_with(d, DIFF_ENDS);
    for (int i = 1; i < more->nop; i++) /* biases that differ are named */
        for (int k = 1; k < less->nop; k++)
            if (strcmp(more->op[i].path, less->op[k].path) == 0 && more->op[i].bias != less->op[k].bias &&
                !(ends && strstr(ends, more->op[i].path)))
                fail(xprintf("'%s': the bias of %s differs, too", note, more->op[i].path));
    for (int at = first; at < first + n && !ok; at++)
        for (int many = 1; at + many <= first + n && !ok; many++) {
            if (strcmp(run_text(more, at, many), stages) != 0)
                continue;
            for (int into = to; into <= to + to_n && !ok; into++) {
                int op[RS_MOST_LAYERS * RS_MOST_STAGES], nop = 0;
                for (int i = 1; i < more->nop; i++) {
                    for (int k = 0; i == into && k < many; k++)
                        op[nop++] = at + k;
                    if (i < more->nop - 1 && (i < at || i >= at + many))
                        op[nop++] = i;
                }
                const Graph *moved = graph_of(chain_yaml(more, op, nop, less));
                why = "it is no network";
                ok = moved && behave_same(less, moved, false, seed, &why);
            }
        }
    if (!ok)
        fail(xprintf("'%s': moved, %s differ", note, why));
}

static Diff *compare(const Graph *a, const Graph *b)
{
    Diff *d = xalloc(sizeof *d);
    d->a = (DiffSide){.label = "a", .path = "/dev/null", .text = spec_text(a->spec), .g = a};
    d->b = (DiffSide){.label = "b", .path = "/dev/null", .text = spec_text(b->spec), .g = b};
    diff_align(d);
    diff_front(d);
    diff_recognise(d);
    return d;
}

static void check_claims(const char *text_a, const char *text_b, uint64_t seed, bool show)
{
    Graph *a = graph_of(text_a), *b = graph_of(text_b);
    const char *why = NULL;
    if (!a || !b) {
        tally->refused++;
        return;
    }
    grad_build(a);
    grad_build(b);
    const Diff *d = compare(a, b);
    const bool equal = behave_same(a, b, false, seed, &why);
    const char *bias = note_with(d, DIFF_BUT_FOR_BIAS), *some = note_with(d, DIFF_BIAS);
    const char *rotation = note_with(d, DIFF_ROTATION), *cut = note_with(d, DIFF_CUT);
    const bool same_spec = level_same(&d->level[LEVEL_SPEC]), same_graph = level_same(&d->level[LEVEL_GRAPH]);
    const bool one = same_spec || note_with(d, DIFF_EQUAL);
    if (show) {
        printf("%s\n---- beside\n\n%s\n---- %s%s\n", text_a, text_b,
               equal ? "the interpreter finds no difference" : "the interpreter: they differ in ", equal ? "" : why);
        diff_print(d, &(DiffView){.levels = 1 << LEVEL_SPEC | 1 << LEVEL_GRAPH}, stdout);
    }
    tally->equal += equal;
    tally->differ += !equal;
    tally->one += one;
    tally->cut += cut != NULL;
    tally->bias += bias != NULL;
    tally->some_bias += some != NULL;
    tally->rotation += rotation != NULL;
    tally->graph_alone += same_graph && !one;
    if ((one || cut || same_graph) && !equal)
        fail(xprintf("%s, and they differ: %s",
                     one   ? "the specs are called equal"
                     : cut ? "called one network"
                           : "the graphs are called the same",
                     why));
    if (bias && !behave_same(a, b, true, seed, &why))
        fail(xprintf("'%s', and they differ: %s", bias, why));
    if (bias || some)
        check_biases(d, bias ? bias : some, seed);
    if (rotation)
        check_rotation(d, rotation, seed);
}

/* Mutant `seed`: a random spec, and one to three changes, or what `check --write` makes of it. */
static void try(uint64_t seed, bool show)
{
    Rng r = {seed * 0x9e3779b97f4a7c15u + 5};
    RandSpec a = rng_chance(&r, 0.6) ? rs_random(seed) : rs_graph(seed);
    a.batch = IMAGES; /* images are few here */
    const bool own_biases = rng_chance(&r, 0.5);
    for (int i = 0; i < a.nlayer; i++) {
        a.layer[i].preset = 0; /* it would take orders over */
        a.layer[i].bias = own_biases ? a.layer[i].bias : 0;
    }
    a.preset = 0;
    RandSpec b = a;
    const int many = rng_chance(&r, 0.04) ? 0 : rng_chance(&r, 0.6) ? 1 : rng_int(&r, 2, 3);
    const bool turned = many && rng_chance(&r, 0.25);
    const char *text_a = printed(&a), *text_b = text_a;
    for (int tries = 0; many && tries < 40 && (strcmp(text_a, text_b) == 0 || !graph_of(text_b)); tries++) {
        b = a;
        if (turned)
            rs_carry(&r, &b);
        for (int i = turned; i < many; i++)
            rs_mutate(&r, &b);
        text_b = printed(&b);
    }
    if (!many) {
        const Graph *g = graph_of(text_a);
        text_b = g ? spec_text(g->spec) : text_b;
    }
    check_claims(text_a, text_b, seed, show);
}

/* In a process of its own, which may abort. */
static void try_apart(uint64_t seed)
{
    const int failed = tally->failed;
    int status;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) {
        perror("mutants: fork");
        exit(2);
    }
    if (pid == 0) {
        try(seed, false);
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fail(WIFSIGNALED(status) ? xprintf("signal %d", WTERMSIG(status)) : xprintf("status %d", status));
    if (tally->failed != failed)
        printf("FAILED: mutant %" PRIu64 ": %s\n  again: mutants --spec %" PRIu64 "\n", seed, tally->what, seed);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, only = 0;
    int count = 300;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--count") == 0)
            count = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--spec") == 0)
            only = strtoull(argv[i + 1], NULL, 10);
    }
    FILE *shared = tmpfile();
    if (!shared || ftruncate(fileno(shared), sizeof *tally) != 0 ||
        (tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(shared), 0)) == MAP_FAILED) {
        perror("mutants: a shared page");
        return 2;
    }
    if (count < 1) {
        fputs("usage: mutants [--count N] [--seed S] [--spec S]\n", stderr);
        return 2;
    }
    if (only) {
        try(only, true);
        printf("%s\n", tally->failed ? tally->what : "nothing wrong is claimed");
        return tally->failed > 0;
    }
    int bad = 0;
    for (int i = 0; i < count; i++) {
        const int failed = tally->failed;
        try_apart(seed + (uint64_t)i);
        bad += tally->failed != failed;
    }
    const Tally *t = tally;
    printf("mutants: %d pairs that differ, %d that do the same; %d changed specs were none\n", t->differ, t->equal,
           t->refused);
    printf("diff's claims: %d equal specs, %d equal graphs of others, %d networks cut otherwise, %d rotations, %d "
           "networks but for a bias, %d other redundant biases\n",
           t->one, t->graph_alone, t->cut, t->rotation, t->bias, t->some_bias);
    const int made[] = {t->one, t->graph_alone, t->cut, t->rotation, t->bias, t->some_bias, t->differ};
    for (size_t i = 0; count >= 300 && i < sizeof made / sizeof *made; i++)
        if (!made[i]) {
            printf("FAILED: a kind of claim was never made: nothing is tested\n");
            bad++;
        }
    printf("%d passed, %d failed\n", count - t->refused - bad, bad);
    return bad > 0;
}
