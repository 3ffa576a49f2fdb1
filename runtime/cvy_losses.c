/* cvy_losses.c - see cvy_losses.h. SPDX-License-Identifier: 0BSD */
#include "cvy_losses.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>

int cvy_target_fits(enum cvy_target kind, const void *target, int n, int outputs)
{
    const int *const label = target;
    int fit = 1; /* whatever numbers are, they make sense */

    for (int i = 0; kind == CVY_CLASS && fit && i < n; i++)
        fit = label[i] >= 0 && label[i] < outputs;
    return fit;
}

int cvy_largest(const float *y, int n)
{
    int best = 0;

    for (int i = 1; i < n; i++)
        if (y[i] > y[best])
            best = i;
    return best;
}

/* ---- softmax cross-entropy ---- */

double cvy_cross_entropy_weight(const int *labels, int n, const struct cvy_step *step)
{
    double sum = 0;

    if (!step->class_weight)
        return n;
    for (int i = 0; i < n; i++) {
        const double share = step->other ? (double)step->share[i] : 1;
        sum += share * (double)step->class_weight[labels[i]];
        if (step->other)
            sum += (1 - share) * (double)step->class_weight[step->other[i]];
    }
    return sum;
}

/* What a row should be: a label; of a mixed one two, of which the first has the share. */
struct wanted {
    int label, other;
    double share;
};

/* With (1 - s) w[label] for the label and s / classes w[i] for each class i, where s is the smoothing and w the weights
 * of classes: the sum over i of such a share times -log p[i]. */
static double weighed_loss(const float *logits, float *g, int classes, struct wanted want, double largest, double sum,
                           double scale, const struct cvy_step *step)
{
    const int label = want.label, other = want.other;
    const float *const w = step->class_weight;
    const double smooth = (double)step->label_smoothing / classes;
    const double sharp = 1 - (double)step->label_smoothing, own = want.share * sharp * (w ? (double)w[label] : 1),
                 rest = (1 - want.share) * sharp * (w ? (double)w[other] : 1);
    double loss = own * (log(sum) - ((double)logits[label] - largest)), all = own + rest;

    if (rest > 0)
        loss += rest * (log(sum) - ((double)logits[other] - largest));

    for (int i = 0; i < classes && smooth > 0; i++) {
        const double share = smooth * (w ? (double)w[i] : 1);
        all += share;
        loss += share * (log(sum) - ((double)logits[i] - largest));
    }
    for (int i = 0; i < classes; i++)
        g[i] = (float)((all * exp((double)logits[i] - largest) / sum - (i == label ? own : 0) -
                        (i == other ? rest : 0) - smooth * (w ? (double)w[i] : 1)) *
                       scale);
    return loss;
}

double cvy_cross_entropy_image(const float *logits, float *g, int classes, int padded, const int *labels, int i,
                               float scale, const struct cvy_step *step, double *score)
{
    const int label = labels[i], best = cvy_largest(logits, classes);
    double sum = 0;

    for (int c = 0; c < classes; c++)
        sum += exp((double)logits[c] - (double)logits[best]);
    for (int c = classes; c < padded; c++)
        g[c] = 0;
    const struct wanted want = {label, step->other ? step->other[i] : label, step->other ? (double)step->share[i] : 1};
    *score += best == (want.share >= 0.5 ? want.label : want.other);
    if (step->class_weight || step->label_smoothing > 0 || step->other)
        return weighed_loss(logits, g, classes, want, (double)logits[best], sum, (double)scale, step);
    for (int c = 0; c < classes; c++)
        g[c] = (float)((exp((double)logits[c] - (double)logits[best]) / sum - (c == label)) * (double)scale);
    return log(sum) - ((double)logits[label] - (double)logits[best]);
}

static double cvy_cross_entropy_lost(const float *y, int outputs, const void *target, int i, int *hit)
{
    const int label = ((const int *)target)[i], best = cvy_largest(y, outputs);
    double sum = 0;

    for (int c = 0; c < outputs; c++)
        sum += exp((double)y[c] - (double)y[best]);
    *hit = best == label;
    return log(sum) - ((double)y[label] - (double)y[best]);
}

static double cvy_cross_entropy_guessing(const void *target, int n, int outputs)
{
    (void)target, (void)n;
    return log(outputs > 2 ? outputs : 2); /* all classes equally likely */
}

/* ---- mean squared error ---- */

double cvy_mse_weight(const float *values, int n, const struct cvy_step *step)
{
    (void)values, (void)step;
    return n;
}

double cvy_mse_image(const float *y, float *g, int outputs, int padded, const float *values, int i, float scale,
                     const struct cvy_step *step, double *score)
{
    const float *const want = values + (int64_t)i * outputs;
    double sum = 0;

    (void)step, (void)score;
    for (int c = 0; c < outputs; c++) {
        const double far = (double)y[c] - (double)want[c];
        sum += far * far;
        g[c] = (float)(2 * far / outputs * (double)scale);
    }
    for (int c = outputs; c < padded; c++)
        g[c] = 0;
    return sum / outputs;
}

static double cvy_mse_lost(const float *y, int outputs, const void *target, int i, int *hit)
{
    const float *const want = (const float *)target + (int64_t)i * outputs;
    double sum = 0;

    *hit = 0;
    for (int c = 0; c < outputs; c++)
        sum += ((double)y[c] - (double)want[c]) * ((double)y[c] - (double)want[c]);
    return sum / outputs;
}

/* Zeros everywhere; at least 1, as where the numbers are of that size. */
static double cvy_mse_guessing(const void *target, int n, int outputs)
{
    double sum = 0;

    for (int64_t k = 0; k < (int64_t)n * outputs; k++)
        sum += (double)((const float *)target)[k] * (double)((const float *)target)[k];
    sum /= (double)n * outputs;
    return sum > 1 ? sum : 1;
}

const float cvy_balanced[1] = {1};

/* ---- the rows ---- */

const struct cvy_loss cvy_cross_entropy = {
    "cross_entropy",
    "cross_entropy",
    "softmax cross-entropy",
    CVY_CLASS,
    {"label_smoothing", "class_weights"},
    "torch.nn.functional.cross_entropy(net(x), labels)",
    cvy_cross_entropy_lost,
    cvy_cross_entropy_guessing,
};
const struct cvy_loss cvy_mse = {
    "mse",
    "mse",
    "mean squared error",
    CVY_VALUES,
    {NULL},
    "torch.nn.functional.mse_loss(net(x), values)",
    cvy_mse_lost,
    cvy_mse_guessing,
};
const struct cvy_loss cvy_mse_of_input = {
    "mse_of_input",
    "mse",
    "mean squared error of the input",
    CVY_INPUT,
    {NULL},
    "torch.nn.functional.mse_loss(net(x), x.flatten(1))",
    cvy_mse_lost,
    cvy_mse_guessing,
};

const struct cvy_loss *const cvy_losses[] = {&cvy_cross_entropy, &cvy_mse, &cvy_mse_of_input, NULL};
