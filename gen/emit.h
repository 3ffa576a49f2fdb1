/* emit.h - plan -> records for the templates. The emitter decides nothing: what it computes are offsets and names. */
#ifndef EMIT_H
#define EMIT_H

#include "plan.h"
#include "template.h"

#define EMITTED_LICENCE "SPDX-License-Identifier: 0BSD"

typedef enum Parts { PART_TRAIN = 1, PART_INFER = 2, PART_ALL = 3 } Parts;

/* Which arrays of a kernel's images a run's indices mean, and which slots its AT_SLOT ones do. */
typedef enum Phase { PHASE_BEFORE, PHASE_AFTER, PHASE_TRACE_BEFORE, PHASE_TRACE_AFTER, PHASE_INFER } Phase;

const Image *phase_images(const Kernel *k, Phase phase);
char *upper(const char *s);
char *emit_float(double v); /* a C float constant that reads back as the same float */
const char *kernel_struct(const Plan *p, const Kernel *k);  /* "fashion_conv2" */
const char *affine_macro(const Plan *p, int op);            /* "FASHION_CONV2_BN_AFFINE" */
const char *run_tag(const Kernel *k, const Run *r);         /* "conv2_in0" */
char *image_pixel(const Image *m, const char *y, const char *x); /* index of a content pixel in floats / 16 (plain: / 1) */
const char *describe_shape(Shape s);                        /* "32x14x14" */
const char *describe_stages(const Plan *p, const Run *r);

/* emit_net.c, for others: the network's orders, a hash of its spec, v[0 .. n) as C constants. */
const char *emit_orders(const Graph *g);
const char *emit_spec_hash(const Spec *s);
char *emit_channel_list(const double *v, int n);
/* Where a parameter's elements stand: struct cvy_layout's fields, its offset aside (that is plan.param_at). */
void emit_param_layout(const Plan *p, int param, int64_t block[4], int64_t outer[4], int64_t inner[4]);

/* emit_run.c: a run's record, for template `run`. */
Rec *emit_run(const Plan *p, const Kernel *k, const Run *r, Phase phase);
/* emit_core.c: a kernel's core header, for template `core_file`; a conv in words. */
char *describe_conv(const Plan *p, const Op *o);
void emit_core_file(const Plan *p, const Kernel *k, bool train, Buf *to);
/* emit_kernel.c: a kernel's file. */
void emit_layer_file(const Plan *p, const Kernel *k, Parts parts, Buf *to);
/* emit_net.c: everything else, and all of it. */
void emit_network(const Plan *p, Parts parts, OutDir *out);
/* emit_export.c: a trained network for inference alone. folded: plan.fold_floats numbers (weights_fold). */
void emit_export(const Plan *p, const float *folded, bool single, OutDir *out);

#endif
