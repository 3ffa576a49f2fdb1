/* words.h - a plan in words. */
#ifndef WORDS_H
#define WORDS_H

#include "plan.h"

void plan_dump(const Plan *p, FILE *to);    /* -d plan: golden */
void plan_explain(const Plan *p, FILE *to); /* `convoy plan`: the kernels in words */

/* A kernel of training in words; NULL where there is nothing to say. */
typedef struct KernelWords {
    const char *kind, *reads, *before, *after, *stored, *stored_size, *stored_why, *steps, *places, *tile, *winograd,
        *bias, *frozen;
} KernelWords;
KernelWords plan_words(const Plan *p, const Kernel *k);
/* A step in those words, "conv2.bn", "store"; NULL: none is said of it. */
const char *plan_step_text(const Plan *p, const PixelPass *r, const Step *s);
int64_t plan_tensor_bytes(const Plan *p,
                          const Tensor *nd); /* of an image that it stores, winners of windows included */

/* "conv", "conv, 4 groups lane by lane" */
const char *kernel_kind_text(const Plan *p, const Kernel *k);
/* What a pass does: " through conv1.pool, conv1.relu, store". */
void pass_print_steps(const Plan *p, const PixelPass *r, FILE *to);

#endif
