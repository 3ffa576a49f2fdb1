/* cvy_losses.c - see cvy_losses.h. SPDX-License-Identifier: 0BSD */
#include "cvy_losses.h"

#include <math.h>
#include <stddef.h>

int cvy_target_fits(enum cvy_target kind, const void *target, int n, int outputs)
{
    const int *const label = target;
    int fit = kind == CVY_CLASS;

    for (int i = 0; fit && i < n; i++)
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
    for (int i = 0; i < n; i++)
        sum += (double)step->class_weight[labels[i]];
    return sum;
}

/* With (1 - s) w[label] for the label and s / classes w[i] for each class i, where s is the smoothing and w the weights
 * of classes: the sum over i of such a share times -log p[i]. */
static double weighed_loss(const float *logits, float *g, int classes, int label, double largest, double sum,
                           double scale, const struct cvy_step *step)
{
    const float *const w = step->class_weight;
    const double smooth = (double)step->label_smoothing / classes;
    const double own = (1 - (double)step->label_smoothing) * (w ? (double)w[label] : 1);
    double loss = own * (log(sum) - ((double)logits[label] - largest)), all = own;

    for (int i = 0; i < classes && smooth > 0; i++) {
        const double share = smooth * (w ? (double)w[i] : 1);
        all += share;
        loss += share * (log(sum) - ((double)logits[i] - largest));
    }
    for (int i = 0; i < classes; i++)
        g[i] = (float)((all * exp((double)logits[i] - largest) / sum - (i == label ? own : 0) -
                        smooth * (w ? (double)w[i] : 1)) *
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
    *score += best == label;
    if (step->class_weight || step->label_smoothing > 0)
        return weighed_loss(logits, g, classes, label, (double)logits[best], sum, (double)scale, step);
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

/* ---- the rows ---- */

const struct cvy_loss cvy_cross_entropy = {
    "cross_entropy",
    "softmax cross-entropy",
    CVY_CLASS,
    {"label_smoothing", "class_weights"},
    "torch.nn.functional.cross_entropy(net(x), labels)",
    cvy_cross_entropy_lost,
};

const struct cvy_loss *const cvy_losses[] = {&cvy_cross_entropy, NULL};
