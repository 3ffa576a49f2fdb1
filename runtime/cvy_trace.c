/* cvy_trace.c - `NAME trace`: one training step on a given batch, with everything that it computed in a file.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sink {
    struct cvy_tensors *to;
    int ok;
};

static void take(void *user, const char *name, const float *data, const struct cvy_layout *at)
{
    struct sink *s = user;
    float *out = s->ok ? cvy_put_f32(s->to, name, at->ndim, at->dim) : NULL;
    if (out)
        cvy_gather(data, at, out);
    s->ok = out != NULL;
}

static int run_step(struct cvy_run *r, const struct cvy_tracer *tracer, const struct cvy_batch *batch,
                    const struct cvy_step *step, struct cvy_tensors *to)
{
    const struct cvy_model *m = r->model;
    struct sink sink = {to, 1};
    size_t floats = tracer->trace_floats(batch->n);
    float *scratch = floats <= SIZE_MAX / sizeof(float) ? cvy_alloc_aligned(floats * sizeof(float)) : NULL;
    if (!scratch)
        return 0;
    float *loss = cvy_put_f32(to, "loss", 0, NULL);
    if (loss) {
        *loss = (float)m->forward(r->net, batch, step, NULL);
        sink.ok = tracer->trace(r->net, batch, step, scratch, take, &sink) == 0 && sink.ok;
        sink.ok = m->backward(r->net, batch, step) == 0 && sink.ok;
    }
    free(scratch);
    return loss && sink.ok && cvy_add_grad(to, r, "grad.") && cvy_add_weights(to, r, "after.") &&
           cvy_add_buffers(to, r, "after.");
}

int cvy_command_trace(int argc, char **argv, const struct cvy_model *m, const struct cvy_tracer *tracer)
{
    const char *weights = NULL, *state = NULL, *input = NULL, *label_path = NULL, *output = NULL, *lengths = NULL;
    int force = 0, threads = cvy_processors(), decay_all = 0, nonfinite = 0, n = 0, room = 1;
    double lr = 0.1, hyper[CVY_HYPERS] = {0}, weight_decay = 0;
    const struct cvy_optimiser *o = m->train.optimiser;
    uint64_t seed = m->train.seed, step_number = 0;
    struct cvy_option option[CVY_TRAIN_OPTIONS] = {
        {CVY_TEXT, "--weights", "W", &weights, 0, 0, "a checkpoint", 0},
        {CVY_FLAG, "--force", NULL, &force, 0, 0, "take weights that were trained as another network", 0},
        {CVY_TEXT, "--state", "S", &state, 0, 0, "its state: what the optimiser keeps, step (default: zeros, step 0)",
         0},
        {CVY_TEXT, "--input", "x.npy", &input, 0, 0, "the batch: n x C x H x W, float32", 0},
        {CVY_TEXT, "--lengths", "l.npy", &lengths, 0, 0,
         "n whole numbers: how many steps of each row count, where the network takes lengths (default: all)", 0},
        {CVY_FLAG, "--nonfinite", NULL, &nonfinite, 0, 0, "take images with NaN and infinities in them", 0},
        {CVY_TEXT, "--labels", "y.npy", &label_path, 0, 0,
         "n whole numbers; n x outputs float32 where the network learns values; none where it learns its input", 0},
        {CVY_TEXT, "-o", "T", &output, 0, 0, "the trace: a safetensors file", 0},
        {CVY_REAL, "--lr", "X", &lr, 0, 1e6, "learning rate", 0},
        {CVY_REAL, "--weight-decay", "X", &weight_decay, 0, 1e6, "of weights", 0},
        {CVY_FLAG, "--decay-all", NULL, &decay_all, 0, 0, "of norms and biases, too", 0},
        {CVY_U64, "--seed", "N", &seed, 0, 0, "of the dropout masks", 0},
        {CVY_U64, "--step", "N", &step_number, 0, 0, "of the dropout masks, and adam's (default: the state's, or 0)",
         0},
        {CVY_INT, "--batch", "N", &room, 1, 1 << 24,
         "open the network for batches of N (default: as many as there are images)", 0},
        {CVY_INT, "--threads", "N", &threads, 1, 1024, "the result is the same for any number", 0},
    };
    int own = 0;
    while (option[own].name)
        own++;
    for (int k = 0; k < cvy_hypers(o); k++)
        hyper[k] = o->hyper[k].torch;
    cvy_hyper_options(o, hyper, option + own);
    int parsed = cvy_options_parse(argc, argv, 2, "trace", option);
    if (parsed < 0) {
        const int at = printf("usage: %s trace ", m->name);
        cvy_wrap("--weights W [--state S] --input x.npy --labels y.npy -o T.safetensors [options]\n\n", at, 7);
        cvy_wrap("One training step on the given batch. Writes loss, act.<layer>.<stage>, mask.<layer>.<stage>, "
                 "grad.<parameter>, "
                 "after.<parameter>, after.<what the optimiser keeps>.<parameter>, after.<running statistic>.\n\n",
                 0, 0);
        cvy_options_help(option);
        return 0;
    }
    const int asks = m->train.loss->target != CVY_INPUT;
    if (parsed > 0 && (!weights || !input || (asks && !label_path) || !output)) {
        cvy_error(NULL, "trace: %s is missing",
                  !weights              ? "--weights"
                  : !input              ? "--input"
                  : asks && !label_path ? "--labels"
                                        : "-o");
        parsed = 0;
    }
    if (parsed == 0)
        return 2;
    struct cvy_run r = {0};
    struct cvy_tensors to = {0};
    struct cvy_out out;
    struct cvy_step step;
    int64_t state_step = 0;
    float *x = NULL;
    int *labels = NULL, *length = NULL;
    float *values = NULL;
    const enum cvy_target wants = m->train.loss->target;
    const char *const read[] = {weights, state, input, label_path, lengths};
    int ok = cvy_spares(output, read, 5) && cvy_npy_sequences(m, input, lengths, nonfinite, &x, &length, &n) &&
             (wants == CVY_INPUT    ? 1
              : wants == CVY_VALUES ? cvy_npy_values(m, label_path, &values, n)
                                    : cvy_npy_labels(m, label_path, &labels, n));
    if (ok && n < m->min_batch) {
        cvy_error(NULL, "'%s' holds %d image: a norm of this network sees a single value then; %d at least", input, n,
                  m->min_batch);
        ok = 0;
    }
    if (ok && cvy_option_given(option, "--batch") && room < n) {
        cvy_error(NULL, "'%s' holds %d images, and --batch has room for %d", input, n, room);
        ok = 0;
    }
    ok = ok && cvy_run_open(&r, m, room > n ? room : n, threads, 1) &&
         cvy_load_weights(&r, weights, force ? CVY_FORCED : CVY_CHECKED) &&
         (!state || cvy_load_state(&r, state, &state_step));
    if (ok) {
        memset(&step, 0, sizeof step);
        step.lr = (float)lr;
        memcpy(step.hyper, hyper, sizeof hyper);
        step.weight_decay = (float)weight_decay;
        step.weight_decay_other = decay_all ? (float)weight_decay : 0.0f;
        step.seed = seed;
        step.step = cvy_option_given(option, "--step") ? step_number : (uint64_t)state_step;
        const struct cvy_batch batch = {x, labels ? (const void *)labels : values ? values : x, length, n};
        ok = run_step(&r, tracer, &batch, &step, &to) && cvy_out_open(&out, output);
        if (ok && !cvy_tensors_write(&to, &out)) {
            cvy_out_drop(&out);
            ok = 0;
        } else if (ok) {
            ok = cvy_out_commit(&out, 1);
        }
    }
    cvy_tensors_free(&to);
    cvy_run_close(&r);
    free(x);
    free(length);
    free(labels);
    free(values);
    return !ok;
}
