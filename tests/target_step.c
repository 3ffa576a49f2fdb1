/* target_step.c - one training step and inference of an emitted network, with every number that they made on stdout: a
 * line a tensor, "name v v v ...". It is linked with the network's library part alone, so that a cross compiler needs
 * no library, and its weights and images are the same for every target. Arguments: numbers of the images' elements that
 * are a NaN; then the weights ("before.name"), the images ("x") and inference with them ("answers") come first. Or
 * "shake=SEED": each weight and image element is moved by up to 2^-23 of itself, which shows float32's own noise.
 * Compiled with -DHEADER='"NAME.h"' -DMODEL=NAME_model -DTRACER=NAME_tracer -DSUPPORTED=NAME_supported. */
#include HEADER

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 5 };

static void *aligned(size_t bytes)
{
    unsigned char *p = calloc(1, bytes + 64);

    return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;
}

/* Uniform in [-1, 1), of a generator with state. */
static float draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 40) / (1 << 23) - 1);
}

/* Calls f for each element of a tensor, in C order. */
static void each(const struct cvy_layout *at, float *base, void (*f)(float *, void *), void *user)
{
    int index[4] = {0};

    for (;;) {
        int64_t where = at->offset;
        for (int d = 0; d < at->ndim; d++)
            where += index[d] / at->block[d] * at->outer[d] + index[d] % at->block[d] * at->inner[d];
        f(base + where, user);
        int d = at->ndim - 1;
        while (d >= 0 && ++index[d] == at->dim[d])
            index[d--] = 0;
        if (d < 0)
            return;
    }
}

struct filling {
    uint64_t state;
    float centre, spread;
    uint64_t *shaken; /* NULL: nothing is */
};

static void fill(float *v, void *user)
{
    struct filling *f = user;

    *v = f->centre + f->spread * draw(&f->state);
    if (f->shaken)
        *v = (float)((double)*v * (1 + 0x1p-23 * (double)draw(f->shaken)));
}

static void show(float *v, void *user)
{
    (void)user;
    printf(" %.9g", (double)*v);
}

static void print_layout(const char *kind, const char *name, const struct cvy_layout *at, float *base)
{
    printf("%s%s", kind, name);
    each(at, base, show, NULL);
    printf("\n");
}

static void sink(void *user, const char *name, const float *data, const struct cvy_layout *at)
{
    (void)user;
    print_layout("", name, at, (float *)data);
}

static void parameters(const struct cvy_model *m, struct cvy_net *net, const char *kind, float *trained)
{
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const int statistic = t->role == CVY_RUNNING_MEAN || t->role == CVY_RUNNING_VAR;
        if (t->role != CVY_BATCHES && (trained == net->param || !statistic))
            print_layout(kind, t->name, &t->at, statistic ? net->running : trained);
    }
}

static void logits(const char *name, const struct cvy_model *m, struct cvy_net *net, const float *x, float *y)
{
    m->fold(net);
    m->infer(net, &(struct cvy_batch){x, NULL, NULL, BATCH}, y);
    printf("%s", name);
    for (int i = 0; i < BATCH * m->classes; i++)
        printf(" %.9g", (double)y[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    const struct cvy_model *const m = &MODEL;
    struct cvy_step step = {.lr = 0.1f, .weight_decay = 1e-3f, .hyper = {0.9}, .seed = 7};
    const char shake[] = "shake=";
    uint64_t seed = argc == 2 && strncmp(argv[1], shake, sizeof shake - 1) == 0
                        ? strtoull(argv[1] + sizeof shake - 1, NULL, 10)
                        : 0,
             *const shaken = seed ? &seed : NULL;
    struct filling images = {1, 0, 1.5f, shaken};
    const size_t image = (size_t)m->channels * (size_t)m->height * (size_t)m->width, bytes = m->arena_bytes(BATCH, 1);
    float *const x = aligned(BATCH * image * sizeof *x), *const y = aligned(BATCH * (size_t)m->classes * sizeof *y);
    float *const scratch = aligned(TRACER.trace_floats(BATCH) * sizeof *scratch), *const grad =
                                                                                      aligned((size_t)m->param_floats *
                                                                                              sizeof *grad);
    struct cvy_net *net = m->init(aligned(bytes), bytes, BATCH, 1);
    int labels[BATCH];
    const struct cvy_batch batch = {x, labels, NULL, BATCH};

    if (!SUPPORTED()) {
        printf("unsupported%s\n", net ? ", but initialised" : "");
        return 3;
    }
    if (!net || !x || !y || !scratch || !grad)
        return 1;
    for (size_t i = 0; i < BATCH * image; i++)
        fill(&x[i], &images);
    for (size_t i = 0; i < BATCH * image && m->tokens; i++)
        x[i] = (float)(i * 7 % (size_t)m->tokens);
    for (int i = 0; i < BATCH; i++)
        labels[i] = i % m->classes;
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const int statistic = t->role == CVY_RUNNING_MEAN || t->role == CVY_RUNNING_VAR;
        struct filling f = {(uint64_t)i + 2, t->role == CVY_GAMMA || t->role == CVY_RUNNING_VAR ? 1 : 0,
                            t->role == CVY_WEIGHT ? 2 * t->value : 0.3f, shaken};
        if (t->role != CVY_BATCHES)
            each(&t->at, statistic ? net->running : net->param, fill, &f);
    }
    for (int i = 1; i < argc && !shaken; i++) {
        const unsigned long at = strtoul(argv[i], NULL, 10);
        if (at >= BATCH * image)
            return 1;
        x[at] = NAN;
    }
    if (argc > 1 && !shaken) {
        parameters(m, net, "before.", net->param);
        printf("x");
        for (size_t i = 0; i < BATCH * image; i++)
            show(&x[i], NULL);
        printf("\n");
        logits("answers", m, net, x, y);
    }
    net->grad = grad;
    printf("loss %.9g\n", m->forward(net, &batch, &step, NULL));
    if (TRACER.trace(net, &batch, &step, scratch, sink, NULL) != 0 || m->backward(net, &batch, &step) != 0)
        return 1;
    parameters(m, net, "after.", net->param);
    parameters(m, net, "grad.", grad);
    logits("logits", m, net, x, y);
    return 0;
}
