/* fake_model.c - see fake_model.h. Gradients of softmax cross-entropy by hand: dL/dz = (p - onehot) / n. */
#include "fake_model.h"
#include "../runtime/cvy_losses.h"
#include "../runtime/cvy_update.h"

#include <math.h>
#include <signal.h>
#include <string.h>

enum {
    SIDE = 12,
    D = SIDE * SIDE,
    K = 10,
    BLOCK = 16,
    WEIGHTS = D * BLOCK,
    FLOATS = WEIGHTS + BLOCK,
    RUNNING = 32,
    MAX_N = 512
};

struct fake_net {
    struct cvy_net net;
    int64_t batches[1];
    double dz[MAX_N][K];
    float param[FLOATS], state[FLOATS], running[RUNNING];
};

/* weight (K, D): class k of pixel d lies at d * 16 + k, in one block of 16 classes */
static const struct cvy_tensor tensors[] = {
    {"fc.weight",
     CVY_WEIGHT,
     {2, {K, D, 0, 0}, {BLOCK, 1, 1, 1}, {WEIGHTS, BLOCK, 0, 0}, {1, 0, 0, 0}, 0},
     CVY_UNIFORM,
     0.05f},
    {"fc.bias",
     CVY_BIAS,
     {1, {K, 0, 0, 0}, {BLOCK, 1, 1, 1}, {BLOCK, 0, 0, 0}, {1, 0, 0, 0}, WEIGHTS},
     CVY_CONST,
     0.0f},
    {"bn.running_mean",
     CVY_RUNNING_MEAN,
     {1, {1, 0, 0, 0}, {1, 1, 1, 1}, {1, 0, 0, 0}, {0, 0, 0, 0}, 0},
     CVY_CONST,
     0.0f},
    {"bn.running_var",
     CVY_RUNNING_VAR,
     {1, {1, 0, 0, 0}, {1, 1, 1, 1}, {1, 0, 0, 0}, {0, 0, 0, 0}, 16},
     CVY_CONST,
     1.0f},
    {"bn.num_batches_tracked", CVY_BATCHES, {0, {0}, {0}, {0}, {0}, 0}, CVY_CONST, 0.0f},
};

int fake_break_at = -1, fake_signal_at = -1, fake_signal = SIGINT;

static size_t arena_bytes(int batch, int threads)
{
    (void)threads;
    return batch > MAX_N ? 0 : sizeof(struct fake_net);
}

static struct cvy_net *init(void *memory, size_t bytes, int batch, int threads)
{
    struct fake_net *f = memory;
    if (bytes < sizeof *f || (uintptr_t)memory % 64)
        return NULL;
    memset(f, 0, sizeof *f);
    f->net.param = f->param;
    f->net.state = f->state;
    f->net.floats = FLOATS;
    f->net.optimiser = fake_model.train.optimiser;
    f->net.running = f->running;
    f->net.batches = f->batches;
    f->net.batch = batch;
    f->net.threads = threads;
    return &f->net;
}

static void logits(const struct cvy_net *net, const float *x, double z[K])
{
    for (int k = 0; k < K; k++)
        z[k] = net->param[WEIGHTS + k];
    for (int d = 0; d < D; d++) {
        for (int k = 0; k < K; k++)
            z[k] += (double)x[d] * net->param[d * BLOCK + k];
    }
}

static double forward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *step, double *score)
{
    struct fake_net *f = (struct fake_net *)net;
    const float *const x = batch->x;
    const int *const labels = batch->target;
    const int n = batch->n;
    double loss = 0, mean = 0, correct = 0;
    for (int i = 0; i < n; i++) {
        double z[K], sum = 0;
        int best = 0;
        logits(net, x + i * D, z);
        for (int k = 1; k < K; k++)
            best = z[k] > z[best] ? k : best;
        for (int k = 0; k < K; k++)
            sum += exp(z[k] - z[best]);
        for (int k = 0; k < K; k++)
            f->dz[i][k] = (exp(z[k] - z[best]) / sum - (k == labels[i])) / n;
        loss += log(sum) - (z[labels[i]] - z[best]);
        correct += best == labels[i];
        for (int d = 0; d < D; d++)
            mean += x[i * D + d] / (double)(n * D);
    }
    net->running[0] += 0.1f * ((float)mean - net->running[0]);
    net->batches[0]++;
    if (score)
        *score = correct;
    if (fake_signal_at == (int)step->step)
        raise(fake_signal);
    return fake_break_at == (int)step->step ? NAN : loss / n;
}

static void update(struct cvy_net *net, int at, double gradient, const struct cvy_step *s, float decay)
{
    if (net->grad)
        net->grad[at] = (float)gradient;
    if (s->hold)
        return;
    float g = (float)gradient + decay * net->param[at];
    float momentum = (float)s->hyper[CVY_MOMENTUM], m = net->state[at] = momentum * net->state[at] + g;
    net->param[at] -= s->lr * (s->hyper[CVY_NESTEROV] != 0 ? g + momentum * m : m);
}

static int backward(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *s)
{
    const float *const x = batch->x;
    const int n = batch->n;
    struct fake_net *f = (struct fake_net *)net;
    for (int k = 0; k < K; k++) {
        double g = 0;
        for (int i = 0; i < n; i++)
            g += f->dz[i][k];
        update(net, WEIGHTS + k, g, s, s->weight_decay_other);
        for (int d = 0; d < D; d++) {
            g = 0;
            for (int i = 0; i < n; i++)
                g += f->dz[i][k] * x[i * D + d];
            update(net, d * BLOCK + k, g, s, s->weight_decay);
        }
    }
    return 0;
}

static size_t trace_floats(int n)
{
    return (size_t)n * BLOCK;
}

static int trace(struct cvy_net *net, const struct cvy_batch *batch, const struct cvy_step *s, float *scratch,
                 cvy_sink sink, void *user)
{
    const int n = batch->n;
    struct cvy_layout at = {4, {n, K, 1, 1}, {1, BLOCK, 1, 1}, {BLOCK, BLOCK, 1, 1}, {0, 1, 0, 0}, 0};
    (void)s;
    for (int i = 0; i < n; i++) {
        double z[K];
        logits(net, batch->x + i * D, z);
        for (int k = 0; k < BLOCK; k++)
            scratch[i * BLOCK + k] = k < K ? (float)z[k] : 0.0f;
    }
    sink(user, "act.fc", scratch, &at);
    return 0;
}

static int fold(struct cvy_net *net)
{
    (void)net;
    return 0;
}

static int infer(struct cvy_net *net, const struct cvy_batch *batch, float *y)
{
    for (int i = 0; i < batch->n; i++) {
        double z[K];
        logits(net, batch->x + i * D, z);
        for (int k = 0; k < K; k++)
            y[i * K + k] = (float)z[k];
    }
    return 0;
}

static const float mean[1] = {0.3f}, std[1] = {0.25f};

/* as a network of such layers would say it */
static const char *identity[] = {
    "input | input(mean=0.3, std=0.25)",
    "bn | bn(eps=1e-05) | input | bn.running_mean bn.running_var bn.num_batches_tracked | momentum=0.1",
    "fc | linear(10) | input | fc.weight fc.bias",
    "loss | loss | fc",
    NULL,
};

struct cvy_model fake_model = {
    .name = "fake",
    .order = "linear",
    .target = "test",
    .spec_hash = "0000",
    .channels = 1,
    .height = SIDE,
    .width = SIDE,
    .classes = K,
    .tensor = tensors,
    .ntensor = sizeof tensors / sizeof *tensors,
    .param_floats = FLOATS,
    .running_floats = RUNNING,
    .nbatches = 1,
    .stored_bytes = 0,
    .flops = 2 * D * K,
    .min_batch = 2,
    .train = {"shapes",
              3,
              32,
              &cvy_cross_entropy,
              &cvy_sgd,
              0.05,
              {0.9, 0},
              5e-4,
              0,
              "one-cycle",
              {0.1, 0, 0, 0, 1, 0, 0, 0.3, 10, 0.1, 0, 10},
              mean,
              std,
              1,
              NULL,
              ""},
    .arena_bytes = arena_bytes,
    .init = init,
    .forward = forward,
    .backward = backward,
    .fold = fold,
    .infer = infer,
    .identity = identity,
};

const struct cvy_tracer fake_tracer = {trace, trace_floats};

/* ---- bench: the step in two kernels, inference in one ---- */

static float bench_x[D];
static int bench_label[64];
static const struct cvy_batch bench_batch = {bench_x, bench_label, NULL, 1};

static void bench_forward(const struct cvy_bench_call *c)
{
    for (int i = 0; i < c->n; i++)
        forward(c->net, &bench_batch, c->step, NULL);
}

static void bench_backward(const struct cvy_bench_call *c)
{
    for (int i = 0; i < c->n; i++)
        backward(c->net, &bench_batch, c->step);
}

static void bench_infer(const struct cvy_bench_call *c)
{
    const struct cvy_batch one = {c->x + c->image * D, NULL, NULL, 1};
    float y[K];

    infer(c->net, &one, y);
}

static double peak(int threads, int64_t rounds, float *sink)
{
    float a = sink[0];

    for (int64_t i = 0; i < rounds; i++)
        a = a * 0.5f + 0.25f;
    sink[0] = a;
    return 2.0 * (double)rounds * threads;
}

static double stream(int threads, float *a, int64_t floats, int rounds)
{
    const int64_t third = floats / 3;

    (void)threads;
    for (int r = 0; r < rounds; r++)
        for (int64_t i = 0; i < third; i++)
            a[i] = a[third + i] + 0.5f * a[2 * third + i];
    return 12.0 * (double)third * rounds;
}

static const struct cvy_bench_kernel training[] = {
    {"linear.forward", 2 * D *K, 2 * D * 16, 2 * D * 12, 4 * D, 4 * FLOATS, bench_forward},
    {"linear.backward", 2 * D *K, 2 * D * 16, 2 * D * 12, 4 * D, 12 * FLOATS, bench_backward},
};
static const struct cvy_bench_kernel inference[] = {
    {"linear.infer", 2 * D *K, 2 * D * 16, 2 * D * 12, 4 * D, 4 * FLOATS, bench_infer}};

const struct cvy_bench fake_bench = {training, 2, inference, 1, peak, stream};
