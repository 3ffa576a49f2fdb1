/* emit.h - plan -> records for the templates. The emitter decides nothing: what it computes are offsets and names. */
#ifndef EMIT_H
#define EMIT_H

#include "files.h"
#include "plain.h"
#include "plan.h"
#include "template.h"

#define EMITTED_LICENCE "SPDX-License-Identifier: 0BSD"

typedef enum Parts { PART_TRAIN = 1, PART_INFER = 2, PART_ALL = 3 } Parts;

/* text.c. */
char *upper(const char *s);
char *emit_float(double v); /* the shortest C constant that reads back as the same float */
const char *kernel_struct(const Plan *p, const Kernel *k); /* "fashion_conv2" */
const char *affine_macro(const Plan *p, int op);           /* "FASHION_CONV2_BN_AFFINE" */
const char *pass_tag(const Kernel *k, const PixelPass *r); /* "conv2_in0" */
const char *pass_first(const Kernel *k,
                       const PixelPass *r); /* what takes its pivots: "conv2_out0_first", or "cvy_first_ignored" */
const char *pass_end(const Kernel *k,
                     const PixelPass *r); /* what drains its sums: "conv2_in0_end", or "cvy_end_nothing" */
const char *image_pixel(const Image *m, const char *y,
                        const char *x);      /* index of a content pixel in floats / 16 (plain: / 1) */
const char *describe_shape(Shape s);         /* "32x14x14" */
const char *emit_input_text(const Graph *g); /* the same of the network's input; "16 tokens" */
/* formula.c: what a pass makes of x, or of the gradient dy; NULL where that is longer than a line. */
const char *pass_formula(const Plan *p, const PixelPass *r);

Rec *line_add(Rec *to, const char *list, const char *template); /* a line of a list, by its template */

/* spec_fields.c: the network's orders, a hash of its spec, v[0 .. n) as C constants. */
const char *emit_orders(const Graph *g);
const char *emit_hash(const char *text); /* 16 hexadecimal digits */
const char *emit_spec_hash(const Spec *s);
/* Another template as a part of the record's: `//$ emit n.<name>`. */
void emit_part(Rec *r, const char *name, const char *template);
char *emit_channel_list(const double *v, int n);
/* What the spec and the target say of a network, as fields of its record. */
/* What a loss's target is in C: "const int *", "labels"; of a whole batch, in words; what a network's outputs are. */
typedef struct TargetWords {
    const char *type, *name, *doc, *outputs;
} TargetWords;
extern const TargetWords emit_target[CVY_TARGETS];
void emit_spec_fields(Rec *r, const Graph *g, const Target *t);
/* Bytes of the arena: at all times, for training, for an image of the batch, for a thread; and their sum in C. */
void emit_arena(Rec *r, int64_t fixed, int64_t train, int64_t image, int64_t thread);
/* What the network computes, a line an op, NULL-terminated; see cvy_model.identity. */
void emit_identity(Rec *r, const Graph *g);
/* A row of the network's table of tensors: how it lies (struct cvy_layout), and its offset as C. */
void emit_tensor(Rec *to, const Param *q, bool frozen, const int64_t block[4], const int64_t outer[4],
                 const int64_t inner[4], const char *at);
/* A C file among those that build files list: of the library ("network"), of `NAME bench` ("measured"), or of the
 * "program". */
void emit_source(Rec *r, const char *list, const char *name);
/* The runtime's files, and the program's sources in the record. cells: with those of recurrent layers. */
void emit_runtime(Rec *r, const char *net, bool cells, const Target *t, OutDir *out);
bool emit_has_cells(const Graph *g); /* whether some op is recurrent */
/* vec.c: runtime/cvy_vec.h with its parts in it, of the targets this one alone. */
void emit_vec(const Target *t, Buf *to);
/* Where a parameter's elements stand: struct cvy_layout's fields, its offset aside (that is plan.param_at). */
void emit_param_layout(const Plan *p, int param, int64_t block[4], int64_t outer[4], int64_t inner[4]);

/* What a kernel of inference is given: its weights, the images and which of them, the thread's part. */
typedef struct InferArgs {
    const char *folded, *x, *image, *scratch, *length; /* length: of the image at hand, or NULL */
    int64_t state;                                     /* of a stream: where the kernel's part of it begins */
    const char *own; /* a part of an image's work is asked for: the thread's own part; NULL: all of the work */
} InferArgs;
/* Inference: a kernel's call; offsets in the thread's part; what is the result there. */
const char *emit_infer_call(const Plan *p, const Kernel *k, InferArgs args);
void emit_infer_line(const Plan *p, int kernel, const char *folded, Rec *line);
void emit_infer_places(const Plan *p, Rec *rec, const char *list);
const char *emit_infer_result(const Plan *p);

/* What a pass's functions name of what it may be given, and whether it has a function that begins channels, one by
 * which what it writes comes nearer. */
typedef struct PassUses {
    bool kernel, at, folded, value, begins, ahead;
} PassUses;
/* pixel_pass.c: a pass's record, for template `pass`. image: what its places' numbers mean. */
Rec *emit_pixel_pass(const Plan *p, const Kernel *k, const PixelPass *r, const Image *image, bool infer,
                     PassUses *uses);
/* core.c: a kernel's core header, for template `core_file`; a conv in words. */
char *describe_conv(const Plan *p, const Op *o);
/* What the function of a core by Winograd is called, after the core's name. */
const char *winograd_name(const Winograd *w, Pass pass);
void emit_core_file(const Plan *p, const Kernel *k, const Kernel *infer, bool train, Buf *to);
/* recurrent.c: the same of a recurrent op; a cell's initialiser in C. */
void emit_cell_file(const Plan *p, const Kernel *k, bool train, Buf *to);
const char *emit_cell(const struct cvy_cell *c);
int64_t emit_state_floats(const Kernel *k); /* what a stream keeps of a kernel: floats; 0: nothing */
/* Which gates a norm in a place of a kernel is of: "lstm1_cell.x_gate"; "NULL": of none. */
const char *emit_cell_gates(const Kernel *k, const CellNorm *m);
const char *emit_cell_param(const Param *q); /* what a parameter of such a norm is called in a kernel */
void emit_fixed(Rec *to, const Graph *g);    /* layout.c: what of tensors begins with a value of its own */
void emit_table_file(const Plan *p, const Kernel *k, bool train, Buf *to); /* embed.c: the same of embed */
/* Whether a kernel's function of that phase is told how many images there are: after the loss only norms are left. */
bool emit_takes_n(const Kernel *k, Phase phase);
/* kernel.c: the file of kernel k of training and its like of inference; either may be NULL. */
void emit_layer_file(const Plan *p, const Kernel *k, const Kernel *infer, Buf *to);
/* NAME_trace.c: what rebuilds the activations of all kernels, stage by stage. */
void emit_trace_file(const Plan *p, Buf *to);
const Kernel *emit_infer_kernel(const Plan *p, const Kernel *k); /* inference's kernel of that name, or NULL */
/* Whether that kernel reads folded weights, and whether it applies norm op; its function's parameters. */
bool emit_infer_folded(const Plan *p, const Kernel *k);
bool emit_infer_applies(const Kernel *k, int op);
const char *emit_infer_parameters(const Plan *p, const Kernel *k);
bool emit_infer_lengths(const Plan *p, const Kernel *k); /* whether it is given the length of the image at hand */
/* size.c: bytes of C, about: of layers' files, and of cores that layers share. What is the most for one layer. */
enum { EMIT_MOST = 64 << 20 };
typedef struct EmitSize {
    int64_t layers, cores, most_bytes;
    const Kernel *most;
} EmitSize;
EmitSize emit_size(const Plan *p, Parts parts);
/* Whether that is at most EMIT_MOST; else an error at a line, with the key that changes it. */
bool emit_fits(const Plan *p, Parts parts);
/* net.c: everything else, and all of it. */
void emit_network(const Plan *p, Parts parts, OutDir *out);
/* plain.c: all of it for reading: a function an op and direction, and a list of their calls. */
void emit_plain(const Plain *p, Parts parts, OutDir *out);
/* export.c: a trained network for inference alone. folded: plan.fold_floats numbers (weights_fold). */
void emit_export(const Plan *p, const float *folded, bool single, OutDir *out);

#endif
