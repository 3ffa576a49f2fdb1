/* cvy_losses.h - what a network learns by: a row each, and its functions (cvy_losses.c). What a batch's target holds,
 * the calls in emitted code, keys of `train` and what is said of it follow from the row. SPDX-License-Identifier: 0BSD
 */
#ifndef CVY_LOSSES_H
#define CVY_LOSSES_H

#include "cvy_float.h"
#include "cvy_names.h"

#include "cvy_model.h"

/* What cvy_batch.target has of each image. */
enum cvy_target {
    CVY_CLASS,  /* an int, 0 to outputs - 1 */
    CVY_VALUES, /* a float for each output */
    CVY_INPUT,  /* the same, being what the network reads: channels, rows and columns in their order */
    CVY_TARGETS
};

struct cvy_loss {
    const char *name; /* "cross_entropy"; its row is called cvy_NAME */
    /* Emitted code calls cvy_CODE_image and cvy_CODE_weight; for reading, CODE_forward and CODE_backward of the
     * template plain_CODE. */
    const char *code;
    const char *help; /* "softmax cross-entropy" */
    enum cvy_target target;
    const char *key[4]; /* keys of `train` that it alone has; NULL ends them */
    const char *torch;  /* the same in PyTorch, of net(x) and the target */
    /* Of image i, whose answers are y[outputs]: its loss, without the step's options. *hit: whether the score counts
     * it. */
    double (*lost)(const float *y, int outputs, const void *target, int i, int *hit);
    /* What a batch of n would lose by answers that know nothing: far above it a training has run away. */
    double (*guessing)(const void *target, int n, int outputs);
};

/* Whether what n images are said to be makes sense. */
int cvy_target_fits(enum cvy_target kind, const void *target, int n, int outputs);

extern const struct cvy_loss cvy_cross_entropy, cvy_mse, cvy_mse_of_input;
/* All of them, NULL at the end; the first is usual. */
extern const struct cvy_loss *const cvy_losses[];

/* Softmax cross-entropy of image i, PyTorch's, with the step's label_smoothing and class_weight: returns its loss,
 * writes its gradient times scale to g (padded floats), adds 1 to *score where the label has the largest logit. */
double cvy_cross_entropy_image(const float *logits, float *g, int classes, int padded, const int *labels, int i,
                               float scale, const struct cvy_step *step, double *score);
/* What the sum over a batch's images is divided by: n, or the weights of their labels. */
double cvy_cross_entropy_weight(const int *labels, int n, const struct cvy_step *step);
/* The mean over the outputs of (y - value)^2, PyTorch's mse_loss, of image i whose
 * values are values[i x outputs]; its gradient times scale goes to g (padded floats). *score stays as it is. */
double cvy_mse_image(const float *y, float *g, int outputs, int padded, const float *values, int i, float scale,
                     const struct cvy_step *step, double *score);
double cvy_mse_weight(const float *values, int n, const struct cvy_step *step); /* n */
/* The first largest of n. */
int cvy_largest(const float *y, int n);

#endif
