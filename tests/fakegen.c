/* fakegen.c - a stand-in for the generator and for the programs that it emits, both in one: it "emits" a copy of itself
 * that traces and predicts with the reference interpreter shaken as float32 would. With FAULT=... in the environment it
 * does one thing wrong, so that a test can see the campaign notice (and pass where there is no fault). */
#include "interp.h"
#include "randspec.h"
#include "stfile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool fault(const char *what)
{
    const char *f = getenv("FAULT");
    return f && strcmp(f, what) == 0;
}

static void no(const char *what)
{
    fprintf(stderr, "fakegen: error: %s\n", what);
    exit(1);
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 2; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static double number(int argc, char **argv, const char *name)
{
    const char *v = option(argc, argv, name);
    return v ? atof(v) : 0;
}

static bool flag(int argc, char **argv, const char *name)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static void copy(const char *from, const char *to)
{
    char text[65536];
    size_t n;
    FILE *f = fopen(from, "rb"), *t = fopen(to, "wb");
    if (!f || !t)
        no("cannot copy");
    while ((n = fread(text, 1, sizeof text, f)) > 0)
        if (fwrite(text, 1, n, t) != n)
            no("cannot write");
    fclose(f);
    if (fclose(t) != 0)
        no("cannot write");
}

static Graph *load(const char *self)
{
    static Source src;
    const char *slash = strrchr(self, '/');
    const char *path = xprintf("%.*s/spec.yaml", slash ? (int)(slash - self) : 1, slash ? self : ".");
    Node *tree = yaml_read(path, &src);
    diag_source(&src);
    Spec *s = tree ? spec_read(tree) : NULL;
    Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        exit(1);
    return g;
}

static int gen(const char *spec, const char *dir)
{
    if (!dir || mkdir(dir, 0777) != 0)
        no("no folder");
    if (fault("gen"))
        no("told to");
    copy(spec, xprintf("%s/spec.yaml", dir));
    const char *program = xprintf("%s/%s", dir, load(xprintf("%s/x", dir))->spec->name);
    copy("/proc/self/exe", program);
    chmod(program, 0777);
    FILE *f = fopen(xprintf("%s/Makefile", dir), "w");
    if (!f || fputs(fault("make") ? "all:\n\tfalse\n" : "all:\n\ttrue\n", f) < 0 || fclose(f) != 0)
        no("no Makefile");
    if (fault("emission") && (f = fopen(xprintf("%s/now.h", dir), "w"))) {
        fprintf(f, "%ld %s\n", (long)getpid(), dir);
        fclose(f);
    }
    return 0;
}

static InterpOptimiser optimiser_of(const Graph *g)
{
    InterpOptimiser o = 0;
    while (strcmp(interp_words[o].name, g->spec->train.optimiser->name) != 0)
        o++;
    return o;
}

static Interp *open_weights(const Graph *g, const char *weights, const char *state, int n)
{
    StFile *w = st_read(weights), *s = state ? st_read(state) : NULL;
    Interp *ip = interp_new(g, n);
    ip->shake = 1;
    for (int i = 0; i < g->nparam; i++) {
        StTensor *t = w ? st_find(w, g->param[i].name) : NULL;
        if (!t)
            no("a tensor is missing");
        for (int64_t e = 0; e < t->n; e++)
            ip->param[i][e] = t->f ? (double)t->f[e] : (double)t->i[e];
        const char *const *buffer = interp_words[optimiser_of(g)].buffer;
        for (int k = 0; s && k < INTERP_BUFFERS && buffer[k]; k++) {
            StTensor *v = st_find(s, xprintf("%s.%s", buffer[k], g->param[i].name));
            for (int64_t e = 0; v && e < t->n; e++)
                ip->buffer[k][i][e] = (double)v->f[e];
        }
    }
    return ip;
}

static void put(StFile *to, const char *name, const double *v, int ndim, const int64_t *dim, bool whole)
{
    StTensor *t = st_add(to, name, !whole, ndim, dim);
    for (int64_t i = 0; i < t->n; i++)
        if (whole)
            t->i[i] = (int64_t)v[i];
        else
            t->f[i] = (float)v[i];
}

static void put_param(StFile *to, const char *prefix, const Param *p, const double *v)
{
    int64_t dim[4] = {p->dim[0], p->dim[1], p->dim[2], p->dim[3]};
    put(to, xprintf("%s%s", prefix, p->name), v, p->ndim, dim, p->role == PARAM_COUNT);
}

/* Images of a float32 .npy. */
static double *images(const char *path, int *n)
{
    int ndim;
    int64_t dim[8], size = 1;
    float *x = npy_read(path, &ndim, dim);
    if (!x || ndim != 4)
        no("no images");
    for (int d = 0; d < 4; d++)
        size *= dim[d];
    double *wide = xalloc((size_t)size * sizeof *wide + 1);
    for (int64_t i = 0; i < size; i++)
        wide[i] = (double)x[i];
    *n = (int)dim[0];
    return wide;
}

/* float32 values: likewise. */
static const double *values(const Graph *g, const char *path, int n)
{
    const int outputs = g->op[g->op[g->nop - 1].in].shape.c, all = n * outputs;
    float *v = xalloc((size_t)all * sizeof *v);
    double *wide = xalloc((size_t)all * sizeof *wide);
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, -4 * (long)all, SEEK_END) != 0 || fread(v, sizeof *v, (size_t)all, f) != (size_t)all)
        no("no values");
    fclose(f);
    for (int i = 0; i < all; i++)
        wide[i] = (double)v[i];
    return wide;
}

/* int64 labels: the numbers at the end of the file. */
static int *labels(const char *path, int n)
{
    int *label = xalloc((size_t)n * sizeof *label);
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, -8 * (long)n, SEEK_END) != 0)
        no("no labels");
    for (int i = 0; i < n; i++) {
        int64_t v;
        if (fread(&v, 8, 1, f) != 1)
            no("no labels");
        label[i] = (int)v;
    }
    fclose(f);
    return label;
}

/* What goes wrong after the forward pass. */
static void spoil(Interp *ip, OpKind kind, int64_t element, double by)
{
    for (int i = 0; i < ip->g->nop; i++)
        if (ip->g->op[i].kind == kind && element < ip->n * interp_image(ip->g, i)) {
            ip->out[i][element] += by;
            return;
        }
}

/* The largest magnitude of the first such op's output. */
static double top(const Interp *ip, OpKind kind)
{
    double most = 0;
    for (int i = 0; i < ip->g->nop; i++)
        for (int64_t e = 0; ip->g->op[i].kind == kind && e < ip->n * interp_image(ip->g, i); e++)
            most = fabs(ip->out[i][e]) > most ? fabs(ip->out[i][e]) : most;
    return most;
}

/* What batch norms make of statistics whose sums are float32's, and taken about 0. */
static void lose_pivots(Interp *ip)
{
    const Graph *g = ip->g;
    for (int i = 1; i < g->nop - 1; i++) {
        const Op *o = &g->op[i];
        const int64_t area = (int64_t)o->shape.h * o->shape.w, image = interp_image(g, i);
        for (int c = 0; op_is_batch_norm(o->kind) && c < o->shape.c; c++) {
            float sum = 0, squares = 0;
            for (int64_t e = 0; e < ip->n * area; e++) {
                const float v = (float)ip->out[o->in][e / area * image + c * area + e % area];
                sum += v;
                squares += v * v;
            }
            const double count = (double)(ip->n * area), mean = sum / count,
                         var = fmax(squares / count - mean * mean, 0);
            const double was = ip->istd[i][c], is = 1 / sqrt(var + o->eps);
            for (int64_t e = 0; e < ip->n * area; e++) {
                double *y = &ip->out[i][e / area * image + c * area + e % area];
                const double beta = ip->param[graph_param(g, i, PARAM_BETA)][c];
                *y = (*y - beta) * is / was + beta;
            }
        }
    }
}

static int *room_for_labels(int n)
{
    return xalloc((size_t)n * sizeof(int));
}

static int trace(int argc, char **argv)
{
    Graph *g = load(argv[0]);
    StFile *to = st_new();
    int n;
    double *x = images(option(argc, argv, "--input"), &n);
    Interp *ip = open_weights(g, option(argc, argv, "--weights"), option(argc, argv, "--state"), n);
    InterpStep s = {.lr = atof(option(argc, argv, "--lr")),
                    .optimiser = optimiser_of(g),
                    .momentum = number(argc, argv, "--momentum"),
                    .beta1 = number(argc, argv, "--beta1"),
                    .beta2 = number(argc, argv, "--beta2"),
                    .eps = number(argc, argv, "--eps"),
                    .before = (int64_t)number(argc, argv, "--step"),
                    .weight_decay = number(argc, argv, "--weight-decay"),
                    .nesterov = flag(argc, argv, "--nesterov"),
                    .decay_all = flag(argc, argv, "--decay-all")};
    Rng r = {strtoull(option(argc, argv, "--seed") ? option(argc, argv, "--seed") : "1", NULL, 10)};
    for (int i = 0; i < g->nop; i++)
        for (int64_t e = 0; ip->mask[i] && e < n * interp_image(g, i); e++)
            ip->mask[i][e] = rng_chance(&r, 1 - g->op[i].value * (fault("rate") ? 0.9 : 1));
    if (fault("decay"))
        s.decay_all = !s.decay_all;
    const bool learns_values = g->spec->train.loss->target == CVY_VALUES;
    ip->value = learns_values ? values(g, option(argc, argv, "--labels"), n) : NULL;
    interp_forward(ip, x, learns_values ? room_for_labels(n) : labels(option(argc, argv, "--labels"), n), n, true);
    if (fault("nan"))
        for (int64_t e = 0; e < n * interp_image(g, 1); e++)
            ip->out[1][e] = isnan(ip->out[1][e]) ? 0 : ip->out[1][e];
    if (fault("pivot"))
        lose_pivots(ip);
    if (fault("crash"))
        abort();
    if (fault("act"))
        spoil(ip, OP_CONV, 0, 1e-3 * ip->out[1][0] + 1e-3);
    if (fault("join")) {
        spoil(ip, OP_ADD, 0, 1e-3 * top(ip, OP_ADD));
        spoil(ip, OP_CONCAT, 0, 1e-3 * top(ip, OP_CONCAT));
    }
    if (fault("threads") && number(argc, argv, "--threads") == 5)
        spoil(ip, OP_BN, 0, 1e-6);
    put(to, "loss", &ip->loss, 0, NULL, false);
    for (int i = 1; i < g->nop - 1; i++) {
        Shape s4 = g->op[i].shape;
        int64_t size = n * interp_image(g, i), dim[4] = {n, s4.c, s4.h, s4.w};
        put(to, xprintf("act.%s", g->op[i].path), ip->out[i], 4, dim, false);
        for (int64_t e = 0; ip->mask[i] && e < size; e++)
            ip->dout[i][e] = ip->mask[i][e];
        if (ip->mask[i])
            put(to, xprintf("mask.%s", g->op[i].path), ip->dout[i], 4, dim, false);
    }
    interp_backward(ip);
    for (int i = 0; i < g->nparam; i++)
        if (ip->dparam[i]) {
            if (fault("grad") && g->param[i].role == PARAM_GAMMA)
                ip->dparam[i][0] *= 1.01;
            put_param(to, "grad.", &g->param[i], ip->dparam[i]);
        }
    if (fault("nesterov"))
        s.nesterov = false;
    interp_update(ip, &s);
    for (int i = 0; i < g->nparam; i++) {
        const Param *p = &g->param[i];
        if (fault("running") && p->role == PARAM_VAR)
            ip->param[i][0] *= 0.999;
        if (fault("count") && p->role == PARAM_COUNT)
            ip->param[i][0] += 1;
        put_param(to, "after.", p, ip->param[i]);
        if (ip->dparam[i])
            for (int k = 0; k < INTERP_BUFFERS && interp_words[s.optimiser].buffer[k]; k++)
                put_param(to, xprintf("after.%s.", interp_words[s.optimiser].buffer[k]), p, ip->buffer[k][i]);
    }
    if (fault("missing"))
        to->n--;
    return st_write(to, option(argc, argv, "-o"), NULL) ? 0 : 1;
}

static int predict(int argc, char **argv)
{
    Graph *g = load(argv[0]);
    int n, last = g->op[g->nop - 1].in, classes = g->op[last].shape.c;
    double *x = images(option(argc, argv, "--input"), &n);
    Interp *ip = open_weights(g, option(argc, argv, "--weights"), NULL, n);
    float *y = xalloc((size_t)n * (size_t)classes * sizeof *y);
    interp_forward(ip, x, NULL, n, fault("predict"));
    for (int i = 0; i < n * classes; i++)
        y[i] = (float)ip->out[last][i];
    return npy_write(option(argc, argv, "-o"), y, NULL, 2, (int64_t[]){n, classes}) ? 0 : 1;
}

static int info(const char *self)
{
    Graph *g = load(self);
    int least = 1;
    for (int i = 0; i < g->nop; i++)
        least = g->op[i].kind == OP_BN && !g->op[i].frozen && interp_image(g, i) == g->op[i].shape.c ? 2 : least;
    printf("{\"name\": \"%s\", \"min_batch\": %d}\n", g->spec->name, least);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "gen") == 0)
        return gen(argv[2], option(argc, argv, "-o"));
    if (argc > 2 && strcmp(argv[1], "trace") == 0)
        return trace(argc, argv);
    if (argc > 2 && strcmp(argv[1], "predict") == 0)
        return predict(argc, argv);
    if (argc > 1 && strcmp(argv[1], "info") == 0)
        return info(argv[0]);
    no("gen, trace, predict or info");
}
