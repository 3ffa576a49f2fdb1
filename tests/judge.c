/* judge.c - see judge.h. Emits, compiles, fills, runs, and compares. Tolerance, of max |a - b| over a tensor:
 *     1e-4 * max(max |b|, 1e-3 * the largest magnitude of its kind)
 * kinds being activations, gradients, parameters, momentum, running statistics. Where float32 itself cannot do that
 * (the interpreter, shaken as rounding does, errs as much), NOISE times its error is allowed, and
 * counted. */
#include "judge.h"
#include "interp.h"
#include "randspec.h"
#include "stfile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOISE 8.0
/* Where channels are constant or far from zero, sums of large terms that cancel have partial sums far above any term,
 * which the shaken runs do not round: there a float32 program may err by more. So may it where a gradient is nothing
 * but such a sum (a shift in front of a norm, with a relu between that clips nothing): its true value is zero. */
#define NOISE_OF_CANCELLATION 32.0
#define CANCELLED 1e-9 /* of a tensor's largest value: what is smaller is a sum that cancels */
#define SURE                                                                                                           \
    1e-6 /* the magnitude of gradients, and of the loss, below which float64 is coarse: a network that is sure of a    \
            class has 1 - p of 1e-12 there, off by 2e-16 */
#define UNDERFLOW_OF_EXP                                                                                               \
    1e-33 /* float32's sigmoid ends at its smallest number, 1e-38: times a large value, that is not zero */
enum {
    SHAKEN = 4, /* runs of the interpreter that show float32's own noise */
    AGAIN = 3   /* so many times as many more, before a case is called wrong: a few draws may all be small */
};

/* A tensor of the reference, and of its shaken runs. */
#define OF(field)                                                                                                      \
    ip->field, (const double *const[SHAKEN])                                                                           \
    {                                                                                                                  \
        rough[0]->field, rough[1]->field, rough[2]->field, rough[3]->field                                             \
    }

const char *const outcome_name[] = {"passed",        "gen failed", "make failed", "the program failed",
                                    "wrong numbers", "crashed"};

/* ---- programs and files ---- */

int run_program(const char *log, const char *dir, const char *env, const char *const *argv)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        int to = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666), from = open("/dev/null", O_RDONLY);
        if (to < 0 || from < 0 || dup2(from, 0) < 0 || dup2(to, 1) < 0 || dup2(to, 2) < 0 || (dir && chdir(dir) != 0))
            _exit(126);
        if (env) {
            char *copy = strdup(env), *eq = copy ? strchr(copy, '=') : NULL;
            if (!eq)
                _exit(126);
            *eq = 0;
            setenv(copy, eq + 1, 1);
        }
        setenv("OMP_WAIT_POLICY", "passive", 0); /* more threads than processors should not spin */
        setenv("OMP_NUM_THREADS", "1", 0); /* cases run beside each other: one thread, but for what --threads asks */
        setenv("OPENBLAS_NUM_THREADS", "1", 0);
        alarm(300); /* a program that hangs */
        execvp(argv[0], (char *const *)argv);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void log_tail(const char *log, char *to, size_t size)
{
    to[0] = 0;
    FILE *f = fopen(log, "rb");
    if (!f)
        return;
    char text[4096];
    size_t n = fread(text, 1, sizeof text - 1, f); /* the first error is what tells */
    fclose(f);
    text[n] = 0;
    char *e = strstr(text, "error");
    while (e && e > text && e[-1] != '\n')
        e--;
    snprintf(to, size, "%.600s", e ? e : text);
}

bool same_files(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    bool same = f && g;
    while (same) {
        char x[65536], y[65536];
        size_t n = fread(x, 1, sizeof x, f), m = fread(y, 1, sizeof y, g);
        same = n == m && memcmp(x, y, n) == 0 && !ferror(f) && !ferror(g);
        if (n == 0)
            break;
    }
    if (f)
        fclose(f);
    if (g)
        fclose(g);
    return same;
}

/* ---- the numbers ---- */

typedef struct Numbers {
    float *x, *x_predict;
    int64_t *label;
    float *value; /* the same where the network learns values */
    double *wide; /* value */
    StFile *weights, *state;
    InterpStep step;
    int seed, at_step;
} Numbers;

static void *room(int64_t n, size_t size)
{
    void *p = n < 0 ? NULL : calloc((size_t)n + 1, size);
    if (!p) {
        fprintf(stderr, "campaign: out of memory\n");
        exit(2);
    }
    return p;
}

/* Integers whose mean is 1e4 times their deviation. */
static bool far_integers(Fill fill)
{
    return fill == FILL_OUTLIER || fill == FILL_OFFSET;
}

static float *images(const Graph *g, const Case *c, Rng *r, int n)
{
    Shape s = g->op[0].shape;
    float *x = room(n * interp_image(g, 0), sizeof *x);
    if (g->spec->tokens) { /* tokens, whatever the fill; and, of one image, some that are none */
        for (int64_t i = 0; i < n * s.w; i++)
            x[i] = (float)rng_int(r, 0, g->spec->tokens - 1);
        for (int64_t k = c->fill == FILL_NAN ? rng_int(r, 1, 3) : 0, of = rng_int(r, 0, n - 1); k > 0; k--)
            x[of * s.w + rng_int(r, 0, s.w - 1)] =
                (float[]){NAN, -1, (float)g->spec->tokens, 0.5f, 1e30f}[rng_int(r, 0, 4)];
        return x;
    }
    int64_t plane = (int64_t)s.h * s.w;
    float fixed[64];
    for (int i = 0; i < 64; i++)
        fixed[i] = (float)rng_int(r, -3, 3);
    double scale = rng_chance(r, 0.8) ? 1 : rng_real(r, 0.01, 30);
    for (int64_t i = 0; i < n * interp_image(g, 0); i++)
        switch (c->fill) {
        case FILL_PLAIN:
        case FILL_NAN:
            x[i] = (float)(scale * rng_normal(r));
            break;
        case FILL_INTEGER:
            x[i] = (float)rng_int(r, -3, 3);
            break;
        case FILL_CONSTANT:
            x[i] = fixed[i / plane % s.c % 64];
            break;
        case FILL_OUTLIER:
        case FILL_OFFSET:
        case FILL_FAR:
            x[i] = (float)(10000 + rng_int(r, -1, 1));
            break;
        }
    for (int64_t k = c->fill == FILL_NAN ? rng_int(r, 1, 3) : 0, of = rng_int(r, 0, n - 1); k > 0; k--)
        x[of * interp_image(g, 0) + rng_int(r, 0, (int)interp_image(g, 0) - 1)] = NAN;
    if (c->fill == FILL_OUTLIER) { /* of each channel of the image */
        const int64_t of = rng_int(r, 0, 3) ? 0 : n - 1, some = rng_int(r, 1, 32);
        const int64_t length =
            (int64_t[]){some < plane ? some : plane, some < plane ? some : plane, 1, s.w, plane}[rng_int(r, 0, 4)];
        const int64_t from = rng_int(r, 0, 3) ? 0 : plane - length;
        for (int64_t k = 0; k < s.c; k++)
            for (int64_t i = from; i < from + length; i++)
                x[of * interp_image(g, 0) + k * plane + i] = (float)rng_int(r, -3, 3);
    }
    return x;
}

static float draw(const Param *p, const Case *c, Rng *r)
{
    bool whole = c->fill == FILL_INTEGER || c->fill == FILL_CONSTANT || far_integers(c->fill);
    switch (p->role) {
    case PARAM_WEIGHT:
    case PARAM_HIDDEN_WEIGHT: {
        if (whole)
            return (float)rng_int(r, -2, 2);
        if (c->fill == FILL_FAR && p->ndim > 2)
            return (float)rng_int(r, 1, 2);
        double fan_in = (double)interp_numel(p) / p->dim[0];
        return (float)(rng_normal(r) * sqrt(2 / fan_in));
    }
    case PARAM_BIAS:
    case PARAM_HIDDEN_BIAS:
        return whole || c->fill == FILL_FAR ? (float)rng_int(r, -2, 2) : (float)rng_normal(r) * 0.3f;
    case PARAM_GAMMA: {
        double sign = rng_chance(r, 0.15) ? 0 : rng_chance(r, 0.4) ? -1 : 1;
        return (float)(sign * rng_real(r, 0.3, 1.5));
    }
    case PARAM_BETA:
        return rng_chance(r, 0.2) ? 0 : (float)rng_normal(r) * 0.5f;
    case PARAM_MEAN:
        return (float)rng_normal(r);
    case PARAM_VAR:
        return (float)rng_real(r, 0.2, 3);
    case PARAM_COUNT:
        return 0;
    }
    return 0;
}

static Numbers make_numbers(const Graph *g, const Case *c)
{
    Rng r = {c->seed ^ 0x5bd1e995u};
    Numbers m = {.weights = st_new(), .state = st_new()};
    static const double lr[] = {0.01, 0.1, 0.5}, decay[] = {0, 5e-4, 0.1};
    m.step = (InterpStep){.lr = lr[rng_int(&r, 0, 2)], .weight_decay = decay[rng_int(&r, 0, 2)]};
    m.step.momentum = rng_chance(&r, 0.7) ? 0.9 : 0;
    m.step.nesterov = m.step.momentum > 0 && rng_chance(&r, 0.4);
    m.step.decay_all = rng_chance(&r, 0.3);
    m.step.beta1 = m.step.momentum;
    m.step.beta2 = m.step.nesterov ? 0.99 : 0.999;
    m.step.eps = m.step.decay_all ? 1e-3 : 1e-8;
    while (strcmp(interp_words[m.step.optimiser].name, g->spec->train.optimiser->name) != 0)
        if (++m.step.optimiser == INTERP_OPTIMISERS)
            BUG("no reference for the optimiser %s", g->spec->train.optimiser->name);
    m.seed = rng_int(&r, 0, 1000000);
    m.at_step = rng_int(&r, 0, 100000);
    m.step.before = m.at_step;
    m.x = images(g, c, &r, c->n);
    m.x_predict = images(g, c, &r, c->n_predict);
    m.label = room(c->n, sizeof *m.label);
    int classes = g->op[g->op[g->nop - 1].in].shape.c;
    for (int i = 0; i < c->n; i++)
        m.label[i] = rng_int(&r, 0, classes - 1);
    if (g->spec->train.loss->target == CVY_VALUES) {
        m.value = room((int64_t)c->n * classes, sizeof *m.value);
        m.wide = room((int64_t)c->n * classes, sizeof *m.wide);
        for (int i = 0; i < c->n * classes; i++)
            m.wide[i] = (double)(m.value[i] = (float)rng_normal(&r));
    }
    bool moving = m.step.momentum > 0 && rng_chance(&r, 0.7);
    const char *const *buffer = interp_words[m.step.optimiser].buffer;
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        int64_t dim[4] = {p->dim[0], p->dim[1], p->dim[2], p->dim[3]};
        StTensor *t = st_add(m.weights, p->name, p->role != PARAM_COUNT, p->ndim, dim);
        for (int64_t e = 0; e < t->n; e++)
            if (t->f)
                t->f[e] = draw(p, c, &r);
            else
                t->i[e] = rng_int(&r, 0, 5000);
        if (!moving || p->role > PARAM_BETA || g->op[p->op].frozen)
            continue;
        for (int k = 0; k < INTERP_BUFFERS && buffer[k]; k++) {
            StTensor *v = st_add(m.state, xprintf("%s.%s", buffer[k], p->name), true, p->ndim, dim);
            for (int64_t e = 0; e < v->n; e++)
                v->f[e] = k ? (float)rng_real(&r, 1e-4, 0.1) : (float)rng_normal(&r) * 0.1f; /* k: of squares */
        }
    }
    return m;
}

/* An interpreter with the numbers loaded. */
static void load_param(Interp *ip, const Numbers *m, int i)
{
    const StTensor *t = &m->weights->tensor[i];
    for (int64_t e = 0; e < t->n; e++)
        ip->param[i][e] = t->f ? (double)t->f[e] : (double)t->i[e];
    const char *const *buffer = interp_words[m->step.optimiser].buffer;
    for (int k = 0; k < INTERP_BUFFERS && buffer[k] && ip->buffer[k][i]; k++) {
        const StTensor *v = st_find(m->state, xprintf("%s.%s", buffer[k], t->name));
        for (int64_t e = 0; e < t->n; e++)
            ip->buffer[k][i][e] = v ? (double)v->f[e] : 0;
    }
}

static void load_numbers(Interp *ip, const Graph *g, const Numbers *m)
{
    for (int i = 0; i < g->nparam; i++)
        load_param(ip, m, i);
}

static Interp *loaded(const Graph *g, const Numbers *m, int room_for)
{
    Interp *ip = interp_new(g, room_for);
    ip->value = m->wide;
    load_numbers(ip, g, m);
    return ip;
}

static double *widened(const float *x, int64_t n)
{
    double *d = room(n, sizeof *d);
    for (int64_t i = 0; i < n; i++)
        d[i] = (double)x[i];
    return d;
}

/* ---- comparing ---- */

static void __attribute__((format(printf, 3, 4))) wrong(Verdict *v, Outcome o, const char *fmt, ...)
{
    if (v->outcome != CASE_PASSED)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->what, sizeof v->what, fmt, ap);
    va_end(ap);
    v->outcome = o;
}

static double top(const double *v, int64_t n)
{
    double m = 0;
    for (int64_t i = 0; i < n; i++)
        m = fmax(m, fabs(v[i]));
    return m;
}

typedef struct Dims {
    int n;
    int64_t dim[4];
} Dims;

static Dims param_dims(const Param *p)
{
    return (Dims){p->ndim, {p->dim[0], p->dim[1], p->dim[2], p->dim[3]}};
}

static int64_t elements(const Dims *d)
{
    int64_t n = 1;
    for (int i = 0; i < d->n; i++)
        n *= d->dim[i];
    return n;
}

/* N x C x 1 x 1 may also be N x C, and N x C x 1 x L may be N x C x L. */
static bool same_dims(const StTensor *t, const Dims *d)
{
    bool flat = t->ndim == 2 && d->n == 4 && d->dim[2] == 1 && d->dim[3] == 1;
    bool line = t->ndim == 3 && d->n == 4 && d->dim[2] == 1;
    bool same = t->ndim == d->n || flat || line;
    for (int i = 0; same && i < t->ndim; i++)
        same = t->dim[i] == d->dim[line && i == 2 ? 3 : i];
    return same;
}

/* How closely: with float32's own noise as an excuse; without; and what a norm makes of exact inputs, whose variance
 * must be good to 1e-6. */
typedef enum Rigour { LOOSE, STRICT, CLOSE } Rigour;
static const double rigour[] = {[LOOSE] = 1e-4, [STRICT] = 1e-4, [CLOSE] = 2e-6};

/* One tensor: got against want; `rough` is the reference shaken as by rounding to float, whose error
 * excuses where that is allowed. */
static void compare(Verdict *v, StFile *trace, const char *name, const double *want, const double *const *rough,
                    Dims dims, double kind, Rigour how)
{
    StTensor *t = st_find(trace, name);
    int64_t n = elements(&dims);
    double scale = fmax(top(want, n), 1e-3 * kind), tolerance = fmax(rigour[how] * scale, UNDERFLOW_OF_EXP), err = 0,
           noise = 0;
    int64_t at = 0;
    v->tensors++;
    if (!t || !same_dims(t, &dims)) {
        wrong(v, CASE_WRONG, "%s: %s", name, t ? "has another shape" : "is missing in the trace");
        return;
    }
    t->used = true;
    for (int64_t i = 0; i < n; i++) {
        if (v->nan_may && (v->nan_more || isnan(want[i])) && t->f && isnan(t->f[i])) {
            v->nan++;
            continue;
        }
        double d = fabs((t->f ? (double)t->f[i] : (double)t->i[i]) - want[i]);
        if (!(d <= err)) {
            err = d;
            at = i;
            if (isnan(d))
                break;
        }
        for (int r = 0; r < SHAKEN; r++)
            noise = fmax(noise, fabs(rough[r][i] - want[i]));
    }
    if (getenv("CAMPAIGN_VERBOSE"))
        printf("%-40s [%5lld] error %.3g, tolerance %.3g, rounding %.3g, largest %.6g\n", name, (long long)at, err,
               tolerance, noise, top(want, n));
    const double factor = fabs(want[at]) < CANCELLED * top(want, n) ? NOISE_OF_CANCELLATION : v->noise;
    if (err > tolerance && err <= factor * noise && how == LOOSE) {
        v->noisy++;
        return;
    }
    if (scale > 0 && err / tolerance > v->ratio) {
        v->ratio = err / tolerance;
        snprintf(v->worst, sizeof v->worst, "%s at %.3g of the tolerance", name, v->ratio);
    }
    if (err <= tolerance)
        return;
    wrong(v, CASE_WRONG, "%s[%lld of %lld]: got %.9g, want %.9g; error %.3g, tolerance %.3g (rounding alone: %.3g)",
          name, (long long)at, (long long)n, t->f ? (double)t->f[at] : (double)t->i[at], want[at], err, tolerance,
          noise);
}

/* How large an op's output can be where its inputs are integers and it keeps them so; infinite where it does not. */
static double integer_reach(const Graph *g, int i, const double *most)
{
    const Op *o = &g->op[i];
    int w = interp_find(g, i, PARAM_WEIGHT);
    double all = 0, largest = 0;
    for (int k = 0; k < o->nin; k++) {
        all += most[o->ins[k]];
        largest = fmax(largest, most[o->ins[k]]);
    }
    switch (o->kind) {
    case OP_EMBED:
        return largest < INFINITY ? 2 : INFINITY;
    case OP_CONV:
    case OP_LINEAR:
        return largest * 2 * (double)interp_numel(&g->param[w]) / g->param[w].dim[0] + 2;
    case OP_ADD:
        return all;
    case OP_RELU:
    case OP_RELU6:
    case OP_MAXPOOL:
    case OP_FLATTEN:
    case OP_PAD:
    case OP_CONCAT:
        return largest;
    default:
        return INFINITY;
    }
}

/* Integer fills: which ops' outputs are exact, as what only adds and multiplies small integers is, whatever the order
 * of the sums. An array of g->nop. */
static const bool *exact_ops(const Graph *g, Fill fill)
{
    double *most = room(g->nop, sizeof *most);
    bool *exact = room(g->nop, sizeof *exact);
    most[0] = fill == FILL_INTEGER ? 4 : far_integers(fill) ? 10001 : INFINITY;
    exact[0] = most[0] < 16777216;
    for (int i = 1; i < g->nop - 1; i++) {
        most[i] = integer_reach(g, i, most);
        exact[i] = most[i] < 16777216;
    }
    free(most);
    return exact;
}

static void compare_exact(Verdict *v, const Interp *ip, StFile *trace, const bool *exact)
{
    const Graph *g = ip->g;
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *o = &g->op[i];
        const StTensor *t = exact[i] ? st_find(trace, xprintf("act.%s", o->path)) : NULL;
        if (!t || t->n != ip->n * interp_image(g, i))
            continue; /* said elsewhere */
        v->exact++;
        for (int64_t e = 0; e < t->n; e++)
            if ((double)t->f[e] != ip->out[i][e]) {
                wrong(v, CASE_WRONG, "act.%s[%lld]: integers, so exact, but got %.9g for %.9g", o->path, (long long)e,
                      (double)t->f[e], ip->out[i][e]);
                return;
            }
    }
}

/* The masks of the run become the interpreter's; their ones are counted. */
static void take_masks(Verdict *v, Interp *ip, StFile *trace, int n, bool count)
{
    const Graph *g = ip->g;
    for (int i = 0; i < g->nop; i++) {
        if (!ip->mask[i])
            continue;
        int64_t size = n * interp_image(g, i);
        StTensor *t = st_find(trace, xprintf("mask.%s", g->op[i].path));
        if (!t && g->op[i].value > 0)
            wrong(v, CASE_WRONG, "mask.%s is missing in the trace", g->op[i].path);
        if (t && (t->n != size || !t->f)) {
            wrong(v, CASE_WRONG, "mask.%s has another size or type", g->op[i].path);
            t = NULL;
        }
        for (int64_t e = 0; e < size; e++) {
            double bit = t ? (double)t->f[e] : 1;
            if (bit != 0 && bit != 1)
                wrong(v, CASE_WRONG, "mask.%s[%lld] is %g", g->op[i].path, (long long)e, bit);
            ip->mask[i][e] = bit != 0;
            if (count)
                v->kept += bit;
        }
        if (t)
            t->used = true;
        if (count && t) {
            v->expected += (double)size * (1 - g->op[i].value);
            v->variance += (double)size * g->op[i].value * (1 - g->op[i].value);
        }
    }
}

static bool statistic(ParamRole r)
{
    return r == PARAM_MEAN || r == PARAM_VAR;
}

/* One training step of both interpreters. */
static void step(Interp *ip, const double *x, const int *label, int n, const InterpStep *s)
{
    interp_forward(ip, x, label, n, true);
    interp_backward(ip);
    interp_update(ip, s);
}

static void again(Interp *ip, const Graph *g, const Numbers *m, const double *x, const int *label, int n)
{
    load_numbers(ip, g, m);
    ip->moved = 0;
    step(ip, x, label, n, &m->step);
}

/* The update anew, of the gradients that the program had. What rounding made of those is judged by then; and where a
 * gradient is next to nothing, adam's first step makes much of it. */
static void update_by_trace(Interp *ip, const Graph *g, const Numbers *m, StFile *trace)
{
    for (int i = 0; i < g->nparam; i++) {
        const StTensor *t = ip->dparam[i] ? st_find(trace, xprintf("grad.%s", g->param[i].name)) : NULL;
        if (ip->dparam[i])
            load_param(ip, m, i);
        for (int64_t e = 0; t && t->f && t->n == interp_numel(&g->param[i]) && e < t->n; e++)
            ip->dparam[i][e] = (double)t->f[e];
    }
    interp_update(ip, &m->step);
}

/* A norm over exact values, some of which are far from the others. */
static bool close_norm(const Graph *g, const Case *c, const bool *exact, int op)
{
    return far_integers(c->fill) && op_is_norm(g->op[op].kind) && exact[g->op[op].in];
}

/* A conv's weights: their gradient sums products with the padding, too, in some cores and not in others; zero times NaN
 * is NaN. */
static bool meets_padding(const Graph *g, int param)
{
    return g->param[param].role == PARAM_WEIGHT && g->op[g->param[param].op].kind == OP_CONV;
}

/* first: of the seeds by which runs are shaken. */
static void compare_trace(Verdict *v, const Graph *g, const Case *c, const Numbers *m, StFile *trace, uint64_t first)
{
    Interp *ip = loaded(g, m, c->n), *rough[SHAKEN];
    double *x = widened(m->x, c->n * interp_image(g, 0));
    int *label = room(c->n, sizeof *label);
    for (int i = 0; i < c->n; i++)
        label[i] = (int)m->label[i];
    take_masks(v, ip, trace, c->n, true);
    ip->seen[0] = m->x;
    for (int i = 1; i < g->nop - 1; i++) {
        const StTensor *t = st_find(trace, xprintf("act.%s", g->op[i].path));
        if (t && t->f && t->n == c->n * interp_image(g, i))
            ip->seen[i] = t->f;
    }
    step(ip, x, label, c->n, &m->step);
    for (int r = 0; r < SHAKEN; r++) {
        rough[r] = loaded(g, m, c->n);
        rough[r]->shake = first + (uint64_t)r;
        take_masks(v, rough[r], trace, c->n, false);
        memcpy(rough[r]->seen, ip->seen, (size_t)g->nop * sizeof *ip->seen);
        step(rough[r], x, label, c->n, &m->step);
    }
    if (ip->far_flips >
        0) { /* where rounding moves what is decided on that far, the float run's side is taken after all */
        for (int i = 1; i < g->nop; i++)
            for (int r = 0; r < SHAKEN; r++)
                for (int64_t e = 0; e < c->n * interp_image(g, g->op[i].in); e++)
                    ip->slack[i] =
                        fmax(ip->slack[i], v->noise * fabs(rough[r]->out[g->op[i].in][e] - ip->out[g->op[i].in][e]));
        again(ip, g, m, x, label, c->n);
        for (int r = 0; r < SHAKEN; r++) {
            memcpy(rough[r]->slack, ip->slack, (size_t)g->nop * sizeof *ip->slack);
            again(rough[r], g, m, x, label, c->n);
        }
    }
    v->flips = ip->flips;

    double act = 0, grad = 0, param = 0, stat = 0, moment[INTERP_BUFFERS] = {0};
    for (int i = 1; i < g->nop - 1; i++)
        act = fmax(act, top(ip->out[i], c->n * interp_image(g, i)));
    for (int i = 0; i < g->nparam; i++) {
        int64_t n = interp_numel(&g->param[i]);
        if (statistic(g->param[i].role))
            stat = fmax(stat, top(ip->param[i], n));
        if (ip->dparam[i]) {
            param = fmax(param, top(ip->param[i], n));
            grad = fmax(grad, top(ip->dparam[i], n));
            for (int k = 0; k < INTERP_BUFFERS; k++)
                moment[k] = fmax(moment[k], top(ip->buffer[k][i], n));
        }
    }
    grad = fmax(grad, SURE);
    moment[0] = fmax(moment[0], SURE);
    const Rigour strict = c->fill == FILL_FAR || c->fill == FILL_CONSTANT
                              ? STRICT
                              : LOOSE; /* a norm's input is exact there, so no excuse */
    const bool *exact = exact_ops(g, c->fill);
    compare_exact(v, ip, trace, exact);
    for (int i = 1; i < g->nop - 1; i++)
        compare(v, trace, xprintf("act.%s", g->op[i].path), OF(out[i]),
                (Dims){4, {c->n, g->op[i].shape.c, g->op[i].shape.h, g->op[i].shape.w}}, act,
                close_norm(g, c, exact, i) ? CLOSE : strict);
    if (ip->far_flips > 0)
        wrong(v, CASE_WRONG, "%lld decisions of %s differ far from their kink", (long long)ip->far_flips,
              g->op[ip->far_op].path);
    compare(v, trace, "loss", &ip->loss,
            (const double *const[SHAKEN]){&rough[0]->loss, &rough[1]->loss, &rough[2]->loss, &rough[3]->loss},
            (Dims){0, {0}}, SURE, LOOSE);
    for (int i = g->nparam - 1; i >= 0; i--) /* the way that backward runs: the first wrong one tells most */
        if (ip->dparam[i]) {
            v->nan_more = meets_padding(g, i);
            compare(v, trace, xprintf("grad.%s", g->param[i].name), OF(dparam[i]), param_dims(&g->param[i]), grad,
                    LOOSE);
        }
    update_by_trace(ip, g, m, trace);
    for (int r = 0; r < SHAKEN; r++)
        update_by_trace(rough[r], g, m, trace);
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        v->nan_more = meets_padding(g, i);
        double kind = statistic(p->role) ? stat : ip->dparam[i] ? param : 0;
        compare(v, trace, xprintf("after.%s", p->name), OF(param[i]), param_dims(p), kind,
                !statistic(p->role)              ? LOOSE
                : close_norm(g, c, exact, p->op) ? CLOSE
                                                 : strict);
        const char *const *buffer = interp_words[m->step.optimiser].buffer;
        for (int k = 0; k < INTERP_BUFFERS && buffer[k]; k++) {
            const char *name = xprintf("after.%s.%s", buffer[k], p->name);
            StTensor *t = st_find(trace, name);
            if (ip->dparam[i] && (m->step.optimiser != INTERP_SGD || m->step.momentum > 0))
                compare(v, trace, name, OF(buffer[k][i]), param_dims(p), moment[k], LOOSE);
            else if (t)
                t->used = true; /* without momentum nobody reads it */
        }
    }
    for (int i = 0; i < trace->n; i++)
        if (!trace->tensor[i].used)
            wrong(v, CASE_WRONG, "%s: unexpected in the trace", trace->tensor[i].name);
    interp_free(ip);
    for (int r = 0; r < SHAKEN; r++)
        interp_free(rough[r]);
    free(x);
    free(label);
}

/* Whether convs may run by Winograd, whose sums of larger terms lose a digit. */
static bool winograd(const Graph *g)
{
    return g->spec->winograd != WINOGRAD_OFF;
}

/* What a norm is folded into is rounded once more, however exact the weights and their products are: with inputs far
 * from zero that is far more than the norm's own rounding. Each weight is moved by what rounding a multiple of it does.
 */
static void round_folded(Interp *ip, const Graph *g)
{
    const double scale = 1 / sqrt(2.);
    bool folds = false;
    for (int i = 0; i < g->nop; i++)
        folds |= op_is_batch_norm(g->op[i].kind);
    for (int i = 0; i < g->nparam && folds; i++)
        for (int64_t k = 0; g->param[i].role == PARAM_WEIGHT && k < interp_numel(&g->param[i]); k++)
            ip->param[i][k] = (double)(float)(ip->param[i][k] * scale) / scale;
}

/* Folded inference against the unfolded reference: 1e-5 of the output's largest magnitude, 1e-4 by Winograd. */
static void compare_predict(Verdict *v, const Graph *g, const Case *c, const Numbers *m, const char *path)
{
    int ndim;
    int64_t dim[8];
    float *y = npy_read(path, &ndim, dim);
    int last = g->op[g->nop - 1].in, classes = g->op[last].shape.c;
    if (!y || ndim != 2 || dim[0] != c->n_predict || dim[1] != classes) {
        wrong(v, CASE_WRONG, "predict wrote no %d x %d array of float32", c->n_predict, classes);
        free(y);
        return;
    }
    Interp *ip = loaded(g, m, c->n_predict), *rough = loaded(g, m, c->n_predict);
    double *x = widened(m->x_predict, c->n_predict * interp_image(g, 0)), err = 0, noise = 0;
    rough->shake = 1;
    round_folded(rough, g);
    interp_forward(ip, x, NULL, c->n_predict, false);
    interp_forward(rough, x, NULL, c->n_predict, false);
    int64_t n = (int64_t)c->n_predict * classes, at = 0;
    double scale = top(ip->out[last], n);
    for (int64_t i = 0; i < n; i++) {
        if (v->nan_may && isnan(ip->out[last][i]) && isnan(y[i])) {
            v->nan++;
            continue;
        }
        double d = fabs((double)y[i] - ip->out[last][i]);
        if (!(d <= err)) {
            err = d;
            at = i;
            if (isnan(d))
                break;
        }
        noise = fmax(noise, fabs(rough->out[last][i] - ip->out[last][i]));
    }
    const double tolerance = fmax((winograd(g) ? 1e-4 : 1e-5) * scale, UNDERFLOW_OF_EXP);
    v->fold = scale > UNDERFLOW_OF_EXP ? err / scale : err;
    if (!(err <= fmax(tolerance, v->noise * noise)))
        wrong(v, CASE_WRONG,
              "inference, logit %lld of image %lld: got %.9g, want %.9g; error %.3g, tolerance %.3g (rounding alone: "
              "%.3g)",
              (long long)(at % classes), (long long)(at / classes), (double)y[at], ip->out[last][at], err, tolerance,
              noise);
    else if (err > tolerance)
        v->noisy++;
    interp_free(ip);
    interp_free(rough);
    free(x);
    free(y);
}

/* ---- a case ---- */

static Graph *load(const char *spec)
{
    static Source src;
    Node *tree = yaml_read(spec, &src);
    diag_source(&src);
    Spec *s = tree ? spec_read(tree) : NULL;
    Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        return NULL;
    graph_check(g);
    return g;
}

/* Joins and pads aside, as randspec counts. */
static bool counts_as(const Graph *g, RsCount want)
{
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *op = &g->op[i];
        if (op->kind == OP_ADD || op->kind == OP_CONCAT || op->kind == OP_PAD)
            continue;
        want.op[op->kind]--;
        want.args -= rs_sum_args(op->kind, op->arg);
    }
    bool same = fabs(want.args) < 1e-6;
    for (int k = 0; k < OP_KINDS; k++)
        same = same && want.op[k] == 0;
    return same;
}

bool accepted(const char *spec, const Shape *logits, const RsCount *count)
{
    Graph *g = load(spec);
    if (!g)
        return false;
    Shape s = g->op[g->op[g->nop - 1].in].shape;
    return s.c == logits->c && s.h == logits->h && s.w == logits->w && counts_as(g, *count);
}

/* A second emission, elsewhere and in another locale and time zone, must have the same bytes. */
static void emit_again(Verdict *v, const Case *c, const char *first)
{
    const char *again = xprintf("%s/again", c->dir), *log = xprintf("%s/again.log", c->dir);
    const char *env[] = {"env",
                         "LC_ALL=de_DE.UTF-8",
                         "LANG=tr_TR.UTF-8",
                         "TZ=Asia/Kathmandu",
                         "COLUMNS=20",
                         c->convoy,
                         "gen",
                         c->spec,
                         "-o",
                         again,
                         "--target",
                         c->target,
                         c->purpose ? "--for" : NULL,
                         c->purpose,
                         NULL};
    const char *diff[] = {"diff", "-r", first, again, NULL};
    if (run_program(log, "/", NULL, env) != 0)
        wrong(v, CASE_GEN, "gen fails in another folder and locale");
    else if (run_program(log, NULL, NULL, diff) != 0) {
        char tail[700];
        log_tail(log, tail, sizeof tail);
        wrong(v, CASE_WRONG, "emission differs between two runs:\n%s", tail);
    }
}

/* Runs the program with the arguments after the first, which names it; false and the verdict where it fails. */
static bool program(Verdict *v, const Case *c, const char *what, const char *const *argv)
{
    const char *log = xprintf("%s/%s.log", c->dir, what);
    int status = run_program(log, NULL, NULL, argv);
    if (status != 0) {
        char tail[700];
        log_tail(log, tail, sizeof tail);
        wrong(v, CASE_RUN, "%s: status %d\n%s", what, status, tail);
    }
    return status == 0;
}

static bool build(Verdict *v, const Case *c, const char *net)
{
    char tail[700];
    const char *log = xprintf("%s/gen.log", c->dir);
    const char *gen[] = {c->convoy,  "gen", c->spec, "-o", net, "--target", c->target, c->purpose ? "--for" : NULL,
                         c->purpose, NULL};
    int status = run_program(log, NULL, NULL, gen);
    if (status != 0) {
        log_tail(log, tail, sizeof tail);
        wrong(v, CASE_GEN, "convoy gen: status %d\n%s", status, tail);
        return false;
    }
    if (c->again)
        emit_again(v, c, net);
    /* The runtime is the same in every folder: its objects are made once (built_runtime.sh), and with them the
     * Makefile's questions answered (has this compiler OpenMP, is OpenBLAS here). The network's own files are compiled
     * as one, which takes a third of the time; without c->objects each is compiled by itself, as users do. */
    static const char *const script =
        "net=$1 objects=$2; shift 2\n"
        "cd \"$net\" || exit 1\n"
        "if [ -n \"$objects\" ] && diff -rq -x '*.o' -x 'cvy_recurrent.*' runtime \"$objects/runtime\" >/dev/null; "
        "then\n"
        "    name=$(echo *_layout.h); name=${name%_layout.h}\n" /* NAME_net.c first: it reads more of the layout than
                                                                   the others do */
        "    printf '#include \"%s\"\\n' ${name}_net.c $(ls *_*.c | grep -vx ${name}_net.c) main.c >together.c\n"
        "    [ ! -f runtime/cvy_recurrent.c ] || echo '#include \"runtime/cvy_recurrent.c\"' >>together.c\n" /* of few
                                                                   networks: not in the shared one */
        "    found() { grep -q -e \"$1\" \"$objects/make.log\" && echo yes || echo no; }\n"
        "    set -- \"OPENMP=$(found -fopenmp)\" \"OPENBLAS=$(found -lopenblas)\" \"$@\"\n"
        "    set -- \"$@\" OBJECTS=together.o LDFLAGS=\"$(echo \"$objects\"/runtime/*.o)\"\n"
        "fi\n"
        "make \"$@\"\n";
    log = xprintf("%s/make.log", c->dir);
    const char *make[] = {"sh",
                          "-c",
                          script,
                          "build",
                          net,
                          c->objects ? c->objects : "",
                          xprintf("CC=%s", c->cc),
                          xprintf("CFLAGS=%s", c->cflags),
                          c->env,
                          NULL};
    status = run_program(log, NULL, NULL, make);
    if (status != 0) {
        log_tail(log, tail, sizeof tail);
        wrong(v, CASE_MAKE, "make: status %d\n%s", status, tail);
    }
    return status == 0;
}

Verdict judge(const Case *c)
{
    Verdict v = {.outcome = CASE_PASSED,
                 .noise = c->fill == FILL_FAR || c->fill == FILL_CONSTANT || far_integers(c->fill)
                              ? NOISE_OF_CANCELLATION
                              : NOISE,
                 .nan_may = c->fill == FILL_NAN};
    Graph *g = load(c->spec);
    if (!g) {
        wrong(&v, CASE_GEN, "the spec is refused: %s", c->spec);
        return v;
    }
    const char *net = xprintf("%s/net", c->dir);
    if (!build(&v, c, net))
        return v;
    Numbers m = make_numbers(g, c);
    Shape s = g->op[0].shape;
    const char *w = xprintf("%s/w.safetensors", c->dir), *state = xprintf("%s/state.safetensors", c->dir);
    const char *x = xprintf("%s/x.npy", c->dir), *label = xprintf("%s/labels.npy", c->dir),
               *xp = xprintf("%s/xp.npy", c->dir);
    const char *y = xprintf("%s/y.npy", c->dir), *bin = xprintf("%s/%s", net, g->spec->name);
    const char *meta[] = {"step", xprintf("%d", m.at_step), "epoch", "0", "seed", xprintf("%d", m.seed), NULL};
    if (!st_write(m.weights, w, NULL) || (m.state->n && !st_write(m.state, state, meta)) ||
        !npy_write(x, m.x, NULL, 4, (int64_t[]){c->n, s.c, s.h, s.w}) ||
        !npy_write(label, m.value, m.value ? NULL : m.label, m.value ? 2 : 1,
                   (int64_t[]){c->n, g->op[g->op[g->nop - 1].in].shape.c}) ||
        !npy_write(xp, m.x_predict, NULL, 4, (int64_t[]){c->n_predict, s.c, s.h, s.w})) {
        wrong(&v, CASE_RUN, "the numbers cannot be written");
        return v;
    }
    static const char *const threads[] = {"1", "2", "5"};
    const int runs = c->threads ? 3 : 1;
    const char *out[3];
    for (int i = 0; i < runs; i++) {
        out[i] = xprintf("%s/t%s.safetensors", c->dir, threads[i]);
        const char *argv[40] = {bin,
                                "trace",
                                "--weights",
                                w,
                                "--input",
                                x,
                                "--labels",
                                label,
                                "--threads",
                                threads[i],
                                "-o",
                                out[i],
                                "--lr",
                                xprintf("%.9g", m.step.lr),
                                "--weight-decay",
                                xprintf("%.9g", m.step.weight_decay),
                                "--seed",
                                xprintf("%d", m.seed),
                                "--step",
                                xprintf("%d", m.at_step)};
        int n = 20;
        const bool sgd = m.step.optimiser == INTERP_SGD;
        const struct {
            const char *name;
            double value;
            bool given;
        } of[] = {{"--momentum", m.step.momentum, sgd},
                  {"--beta1", m.step.beta1, !sgd},
                  {"--beta2", m.step.beta2, !sgd},
                  {"--eps", m.step.eps, !sgd}};
        for (size_t k = 0; k < sizeof of / sizeof *of; k++)
            if (of[k].given) {
                argv[n++] = of[k].name;
                argv[n++] = xprintf("%.9g", of[k].value);
            }
        if (c->batch > c->n) {
            argv[n++] = "--batch";
            argv[n++] = xprintf("%d", c->batch);
        }
        if (c->fill == FILL_NAN)
            argv[n++] = "--nonfinite";
        if (sgd && m.step.nesterov)
            argv[n++] = "--nesterov";
        if (m.step.decay_all)
            argv[n++] = "--decay-all";
        if (m.state->n) {
            argv[n++] = "--state";
            argv[n++] = state;
        }
        if (!program(&v, c, "trace", argv))
            return v;
    }
    StFile *trace = st_read(out[0]);
    if (!trace) {
        wrong(&v, CASE_RUN, "the trace cannot be read");
        return v;
    }
    const Verdict before = v;
    compare_trace(&v, g, c, &m, trace, 1);
    for (int i = 1; i <= AGAIN && v.outcome == CASE_WRONG; i++) {
        Verdict other = before;
        compare_trace(&other, g, c, &m, trace, 1 + (uint64_t)(SHAKEN * i));
        v = other.outcome == CASE_WRONG ? v : other;
    }
    for (int i = 1; i < runs; i++)
        if (!same_files(out[0], out[i]))
            wrong(&v, CASE_WRONG, "the traces of 1 and %s threads differ", threads[i]);
    for (int i = 0; i < runs; i++) {
        out[i] = i ? xprintf("%s/y%s.npy", c->dir, threads[i]) : y;
        const char *predict[] = {bin,
                                 "predict",
                                 "--weights",
                                 w,
                                 "--input",
                                 xp,
                                 "-o",
                                 out[i],
                                 "--threads",
                                 threads[i],
                                 c->fill == FILL_NAN ? "--nonfinite" : NULL,
                                 NULL};
        if (!program(&v, c, "predict", predict))
            return v;
        if (i && !same_files(y, out[i]))
            wrong(&v, CASE_WRONG, "the predictions of 1 and %s threads differ", threads[i]);
    }
    compare_predict(&v, g, c, &m, y);
    st_free(trace);
    return v;
}
