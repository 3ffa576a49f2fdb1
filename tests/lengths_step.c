/* lengths_step.c - training steps and inference of an emitted recurrent network whose samples may have lengths, with
 * every number on stdout: a line a tensor. What stands at a step of a sample does not depend on how long the input is,
 * so that a network of length L, and one of length T whose samples all have length L, must print the same. Arguments: a
 * length a sample (0: the batch has none), what stands behind them ("nan", "inf", or a number), steps. Compiled with
 * -DHEADER='"NAME.h"' -DMODEL=NAME_model. */
#include HEADER

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 9 };

static void *aligned(size_t bytes)
{
    unsigned char *p = calloc(1, bytes + 64);

    return p ? p + (64 - (uintptr_t)p % 64) % 64 : NULL;
}

/* In [-1, 1), of what it is the number of. */
static float number(uint64_t of)
{
    uint64_t v = of * 6364136223846793005u + 1442695040888963407u;
    v = (v ^ v >> 29) * 0xbf58476d1ce4e5b9u;
    return (float)((double)(v >> 40) / (1 << 23) - 1);
}

/* Calls for each element of a tensor: sets it by the number `from`, or prints it. */
static void each(const struct cvy_layout *at, float *base, int sets, uint64_t from, float spread, float centre)
{
    int index[4] = {0}, d;

    do {
        int64_t where = at->offset;
        for (d = 0; d < at->ndim; d++)
            where += index[d] / at->block[d] * at->outer[d] + index[d] % at->block[d] * at->inner[d];
        if (sets)
            base[where] = centre + spread * number(from++);
        else
            printf(" %.9g", (double)base[where]);
        for (d = at->ndim - 1; d >= 0 && ++index[d] == at->dim[d]; d--)
            index[d] = 0;
    } while (d >= 0);
}

static void show(const struct cvy_model *m, const char *kind, float *param, float *running)
{
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const int statistic = t->role == CVY_RUNNING_MEAN || t->role == CVY_RUNNING_VAR;
        if (t->role == CVY_BATCHES || (statistic && !running))
            continue;
        printf("%s%s", kind, t->name);
        each(&t->at, statistic ? running : param, 0, 0, 0, 0);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    const struct cvy_model *const m = &MODEL;
    const int n = argc - 3, T = m->width;
    if (argc < 4 || n > MOST)
        return 2;
    int length[MOST], label[MOST], any = 0;
    const float pad = (float)strtod(argv[argc - 2], NULL);
    const struct cvy_step step = {.lr = 0.1f, .weight_decay = 1e-3f, .hyper = {0.9}, .seed = 7};
    const size_t image = (size_t)m->channels * (size_t)T, bytes = m->arena_bytes(n, 2);
    float *const x = aligned((size_t)n * image * sizeof *x), *const y =
                                                                 aligned((size_t)n * (size_t)m->classes * sizeof *y);
    float *const grad = aligned((size_t)m->param_floats * sizeof *grad);
    struct cvy_net *net = m->init(aligned(bytes), bytes, n, 2);
    if (!net || !x || !y || !grad)
        return 1;
    for (int i = 0; i < n; i++) {
        length[i] = atoi(argv[i + 1]);
        any |= length[i] != 0;
        label[i] = i % m->classes;
        for (int c = 0; c < m->channels; c++)
            for (int t = 0; t < T; t++) {
                const float v = number((uint64_t)(((i + 1) * 100 + c) * 100 + t));
                float *const at = &x[(size_t)i * image + (size_t)(c * T + t)];
                *at = m->tokens ? floorf((v + 1) / 2 * (float)m->tokens) : v;
                if (length[i] && t >= length[i])
                    *at = pad;
            }
    }
    for (int i = 0; i < m->ntensor; i++) {
        const struct cvy_tensor *t = &m->tensor[i];
        const int statistic = t->role == CVY_RUNNING_MEAN || t->role == CVY_RUNNING_VAR,
                  one = t->role == CVY_GAMMA || t->role == CVY_RUNNING_VAR;
        if (t->role != CVY_BATCHES)
            each(&t->at, statistic ? net->running : net->param, 1, (uint64_t)i * 100000, 0.4f, one ? 1 : 0);
    }
    const struct cvy_batch batch = {x, label, any ? length : NULL, n}, seen = {x, NULL, any ? length : NULL, n};
    for (int s = atoi(argv[argc - 1]); s > 0; s--) {
        net->grad = grad;
        printf("loss %.9g\n", m->forward(net, &batch, &step, NULL));
        if (m->backward(net, &batch, &step) != 0)
            return 1;
        show(m, "grad.", grad, NULL);
    }
    show(m, "after.", net->param, net->running);
    m->fold(net);
    printf("infer %d\n", m->infer(net, &seen, y));
    for (int i = 0; i < n; i++) {
        printf("logits");
        for (int k = 0; k < m->classes; k++)
            printf(" %.9g", (double)y[i * m->classes + k]);
        printf("\n");
    }
    return 0;
}
