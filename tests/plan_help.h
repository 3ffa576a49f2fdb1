/* plan_help.h - plans of small networks, and what stands in a plan by its name. A spec with errors fails the test. */
#ifndef PLAN_HELP_H
#define PLAN_HELP_H

#include "plan.h"

#include <check.h>

Plan *plan_of_text(const char *text, const char *target);
/* Layers with a head after them, for a batch of 8. */
Plan *plan_of(const char *input, const char *layers, const char *target);
/* A residual net: `stem`, stages of `repeat` blocks with 16, 32, ... channels, `tail`. */
Plan *residual_net(const char *order, const char *keys, const char *stem, int stages, int repeat, const char *tail);

typedef struct Conv {
    int in, out, groups;
    Shape image; /* c is not read */
    int kernel[2], stride[2], padding[2], dilation[2];
} Conv;
/* The plan of `first` (a conv that gives c->in channels on the image) and c; its kernel 1 is c's. */
Plan *plan_of_conv(const Conv *c, const char *target);

/* A kernel, of training or inference, by its name, and a stored tensor by the path of its op; NULL: there is none. */
const Kernel *kernel_of(const Plan *p, const char *name);
const Kernel *infer_of(const Plan *p, const char *name);
const Tensor *tensor_of(const Plan *p, const char *path);
/* The tensor that a kernel stores. */
const Tensor *made_by(const Plan *p, const char *kernel);
/* Path of the op whose output a tensor stores; "z": it is its own weight op's. */
const char *stored_by(const Plan *p, const Tensor *nd);

/* Gradients: one tensor per stored tensor; statistics: of each channel that norms read, once. */
void check_gradients(const Plan *p);
void check_statistics(const Plan *p);

/* The five arrangements of He et al. 2016, figure 4, and more of them with other shortcuts. */
struct Arrangement {
    const char *name, *order, *keys, *stem, *tail;
    double most;                               /* of what autograd keeps */
    const char *tensors, *kernels, *inference; /* of one block of 16 channels, and one of 32 after it */
};
extern const struct Arrangement arrangements[];
extern const int narrangement;

/* The parts of test_plan. `tests` is the folder tests/. */
extern const char *tests;
TCase *stored_tests(void);
TCase *core_tests(void);
TCase *memory_tests(void);

#endif
