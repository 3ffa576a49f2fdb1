// A layer's file: its stage functions in the written order, forward above backward, and the kernels that run them.
// `k` is the kernel's record.

//$ define layer_file
/* ${k.file} - ${k.doc}
//$ for l in k.notes
 * ${l.text}
//$ end
 * ${k.licence} */
#include "${k.net}_layout.h"

#include "runtime/cvy_vec.h"
//$ if k.product
#include "runtime/cvy_product.h"
//$ end
//$ if k.core
#include "core_${k.core}.h"
//$ end

//$ for c in k.cells
static const struct cvy_cell ${c.name} = ${c.values};

//$ end
//$ for r in k.passes
//$ emit r
//$ end
//$ for f in k.functions
//$ emit f
//$ end
//$ for r in k.infer_runs
//$ emit r
//$ end
//$ for f in k.infer_functions
//$ emit f
//$ end
//$ end

// The activations of all layers, for `trace`: no part of training.
//$ define trace_file
/* ${k.net}_trace.c - rebuilds every activation, stage by stage, for `trace`; no part of training. ${k.licence} */
#include "${k.net}_layout.h"

#include "runtime/cvy_vec.h"
//$ if k.product
#include "runtime/cvy_product.h"
//$ end
//$ for c in k.cores
#include "core_${c.name}.h"
//$ end

//$ for l in k.layers
//$ for r in l.passes
//$ emit r
//$ end
//$ for f in l.functions
//$ emit f
//$ end
//$ end
//$ end

// Lines of a kernel's body. `i` is the image, `at` where the kernel is.
//$ define image_scratch
float *const ${s.name} = $[scratch + ${s.at}]; /* ${s.doc} */
//$ end
//$ define image_group
float *const ${s.name}_group = $[scratch + ${s.at}]; /* ${s.doc}, ${s.copies} images */
//$ end
//$ define member
const int member = (i - range.first) % ${s.group}; /* of the images that the weights' gradient takes together */
//$ end
//$ define image_member
float *const ${s.name} = ${s.name}_group + member * ${s.floats};
//$ end
//$ define image_halos
for (int m = 0; m < ${s.copies}; m++)
    cvy_halo(${s.name}_group + m * ${s.floats}, ${s.blocks}, ${s.rows}, ${s.cols}, ${s.top}, ${s.left}, ${s.h}, ${s.w}, ${s.lanes}, ${s.fill});
//$ end
//$ define image_row
float *const ${s.name} = k->${s.matrix} + (int64_t)i * ${s.floats}; /* ${s.doc} */
//$ end
//$ define image_halo
//$ if s.of_all
if (part == 0)
    cvy_halo(${s.name}, ${s.blocks}, ${s.rows}, ${s.cols}, ${s.top}, ${s.left}, ${s.h}, ${s.w}, ${s.lanes}, ${s.fill});
//$ else
cvy_halo(${s.name}, ${s.blocks}, ${s.rows}, ${s.cols}, ${s.top}, ${s.left}, ${s.h}, ${s.w}, ${s.lanes}, ${s.fill});
//$ end
//$ end
//$ define own_part
const struct cvy_part own = {${s.own}};
//$ end
//$ define image_clear
memset(${s.name}, 0, sizeof(float) * ${s.floats});
//$ end
// Image norms.
//$ define scratch_doubles
double *const ${s.name} = (double *)(void *)($[scratch + ${s.at}]); /* ${s.doc} */
//$ end
// `again`: whether the pivots are known.
//$ define clear_image_sums
memset(image_sums, 0, sizeof(double) * CVY_STATS_PART * ${s.room});
int again = 0;
//$ end
//$ define keep_batch_sums
memcpy(batch_sums, k->stats->part + CVY_STATS_PART * (int64_t)piece * ${s.room}, sizeof(double) * CVY_STATS_PART * ${s.room});
//$ end
//$ define take_image
take:;
//$ end
//$ define take_again
if (!again && cvy_pivots_far(image_sums, ${s.room}, ${s.channels}, ${s.area})) {
    again = 1;
    //$ if s.both
    memcpy(k->stats->part + CVY_STATS_PART * (int64_t)piece * ${s.room}, batch_sums, sizeof(double) * CVY_STATS_PART * ${s.room});
    //$ end
    goto take;
}
//$ end
//$ define clear_image_gradient
memset(${s.norm}_gradient, 0, sizeof(double) * CVY_BN_SUMS * ${s.padded});
//$ end
//$ define image_constants
cvy_gn_constants(${s.stats}, ${s.gamma}, ${s.beta}, ${s.channels}, ${s.groups}, ${s.padded}, ${s.norm}_of_image);
//$ end
//$ define image_stats
cvy_${s.sort}_stats(image_sums, ${s.room}, ${s.channels}, ${s.groups}, ${s.area}, ${s.eps}, ${s.stats});
//$ end
//$ define image_gradient
cvy_gn_back(k->${s.norm}, ${s.norm}_gradient, ${s.area}, i, piece);
//$ end
//$ define image_take
cvy_gn_take(k->${s.norm}, i, ${s.first}, ${s.room}, image_back);
//$ end
//$ define gather_lanes
cvy_gather_lanes(${s.from}, ${s.to}, ${s.area}, ${s.channels}, ${s.many}, ${s.few});
//$ end
//$ define call_pass
struct ${s.tag} ${s.var} = {${s.init}};
${s.tag}_pass(&${s.var}${s.own});
//$ end
//$ define call_core
struct ${s.tag} ${s.var} = {${s.init}};
//$ for c in s.cores
${c.core}(${c.x}, ${c.w}, ${c.bias}${c.part}, &${s.var}, ${s.begin}, ${s.first}, ${s.tag}_point, ${s.end});
//$ end
//$ end
//$ define call_winograd
//$ if s.group
if (member + 1 == ${s.group} || i + 1 == range.end) {
    struct ${s.tag} ${s.var} = {${s.init}};
    ${s.core}(${s.x}, member + 1, ${s.w}, ${s.bias}${s.part}, work, ${s.next}, &${s.var}, ${s.image}, ${s.begin}, ${s.ahead}, ${s.first}, ${s.tag}_point, ${s.end});
}
//$ else
struct ${s.tag} ${s.var} = {${s.init}};
${s.core}(${s.x}, 1, ${s.w}, ${s.bias}${s.part}, work, ${s.next}, &${s.var}, cvy_image_only, ${s.begin}, ${s.ahead}, ${s.first}, ${s.tag}_point, ${s.end});
//$ end
//$ end
// What the stages before a core read of the images that come next: tensors, and lines of each between two products.
//$ define next
struct cvy_next ${s.name} = {${s.tensors}, {${s.at}}, {${s.lines}}};
//$ end
//$ define images_at
struct cvy_at at_of[${s.group}];
//$ end
//$ define image_at
at_of[member] = at;
//$ end
//$ define call_weights
//$ if s.group
if (member + 1 == ${s.group} || i + 1 == range.end)
    ${s.core}(${s.x_group}, ${s.dz_group}, dw, member + 1, i < range.first + ${s.group}${s.work});
//$ else
${s.core}(${s.x}, ${s.dz}, dw, 1, at.fresh${s.work});
//$ end
//$ end
//$ define begin_piece_stats
int fresh = 1; /* no pivots yet */
cvy_stats_begin(k->stats, piece);
//$ end
//$ define move_stats
i -= cvy_stats_move(k->stats, piece, n, i, ${s.group}, ${s.area}, &fresh);
//$ end
//$ define begin_piece_sums
cvy_bn_begin_sums(${s.norm}, piece);
//$ end
//$ define begin_piece_weights
float *const dw = k->dw + (int64_t)piece * ${s.floats};
if (range.first == range.end)
    memset(dw, 0, sizeof(float) * ${s.floats}); /* else the first images set it */
//$ end
//$ define begin_piece_bias
memset(k->db + (int64_t)piece * ${s.padded}, 0, sizeof(double) * ${s.padded});
//$ end
//$ define gemv
cvy_product(0, 1, 1, ${s.channels}, xs, ${s.in}, k->w, ${s.in}, y, ${s.out}, 0, ${s.out});
//$ end
//$ define loss_image
loss += cvy_${s.loss}_image(logits, dlogits, ${s.classes}, ${s.padded}, k->${s.target_name}, i, scale, step, &score);
//$ end

// A loop over the images of one piece.
//$ define piece
//$ if f.scratch
static void ${f.name}(const struct ${f.type} *k, int n, int piece, const struct cvy_step *step, float *scratch)
//$ else
static void ${f.name}(const struct ${f.type} *k, int n, int piece, const struct cvy_step *step)
//$ end
{
    const struct cvy_range range = cvy_piece(piece, ${f.pieces}, n);
    //$ for s in f.scratch
    //$ emit s
    //$ end
    //$ for s in f.begin
    //$ emit s
    //$ end
    //$ if f.loss
    const float scale = 1.0f / (float)cvy_${f.loss}_weight(k->${f.target_name}, n, step);
    double loss = 0, score = 0;
    //$ end

    for (int i = range.first; i < range.end; i++) {
        //$ if f.finds_pivots
        const struct cvy_at at = {i, piece, fresh && i == range.first, step};
        //$ else
        const struct cvy_at at = {i, piece, i == range.first, step};
        //$ end
        //$ for s in f.start
        //$ emit s
        //$ end
        //$ for s in f.body
        //$ emit s
        //$ end
    }
    //$ if f.loss
    k->loss[piece] = loss;
    k->score[piece] = score;
    //$ end
}

//$ end

//$ define over_pieces
//$ loop p 0 ${s.pieces} 1 parallel k->net->threads
    //$ if s.piece.scratch
    ${s.piece.name}(k, n, $[p], step, $[k->scratch + (int64_t)CVY_THREAD * ${s.stride}]);
    //$ else
    ${s.piece.name}(k, n, $[p], step);
    //$ end
//$ end
//$ end
//$ define gemm
//$ if s.alone
cvy_product(${s.args}, 0, ${s.columns});
//$ else
//$ loop j 0 ${s.columns} ${s.part} parallel k->net->threads
    cvy_product(${s.args}, $[j], ${s.end});
//$ end
//$ end
//$ end
//$ define merge_stats
cvy_stats_merge(k->stats, n, ${s.area});
//$ end
//$ define norm_forward
cvy_bn_forward(k->${s.norm}, k->stats, ${s.first});
//$ end
//$ define norm_backward
cvy_bn_backward(${s.norm});
//$ end
//$ define norm_back
cvy_bn_back(k->${s.norm}, k->${s.port}_stats, ${s.first});
//$ end
//$ define norm_update
cvy_bn_update(k->net, ${s.norm}, step);
//$ end
//$ define update_weights
//$ loop b 0 ${s.blocks} 1 parallel k->net->threads
    cvy_update(k->net, $[${s.at} + b * (int64_t)${s.block}], ${s.block}, $[k->dw + b * (int64_t)${s.block}], ${s.floats}, ${s.pieces}, step, step->weight_decay);
//$ end
//$ end
//$ define update_bias
cvy_update_bias(k->net, ${s.at}, ${s.padded}, k->db, ${s.padded}, ${s.pieces}, step);
//$ end
// The weights in the layout that a core reads.
//$ define copy_weights
//$ loop b 0 ${s.blocks} 1 parallel k->net->threads
    $[${s.call}];
//$ end
//$ end

// A kernel: pieces in parallel, then what needs all of them.
//$ define kernel
//$ for d in f.docs
/* ${d.text} */
//$ end
//$ if f.ignores_n
void ${f.name}(const struct ${f.type} *k, const struct cvy_step *step)
//$ else
void ${f.name}(const struct ${f.type} *k, int n, const struct cvy_step *step)
//$ end
{
    //$ for s in f.body
    //$ emit s
    //$ end
}

//$ end
//$ define trace
/* Rebuilds this layer's activations from the stored tensors, stage by stage, and hands them out. */
void ${f.name}(const struct ${f.type} *k, int n, const struct cvy_step *step, float *out, cvy_sink sink, void *user)
{
    //$ if f.scratch
    float *const scratch = k->scratch;
    //$ end
    //$ for s in f.scratch
    //$ emit s
    //$ end
    //$ for s in f.begin
    //$ emit s
    //$ end

    for (int i = 0; i < n; i++) {
        const struct cvy_at at = {i, 0, 0, step};
        //$ for s in f.body
        //$ emit s
        //$ end
    }
    //$ for s in f.sinks
    //$ emit s
    //$ end
}

//$ end
//$ define trace_image
float *const ${s.name} = $[out + (int64_t)n * ${s.at} + (int64_t)i * ${s.floats}];
//$ end
//$ define sink
{
    struct cvy_layout at = {4, {0, ${s.c}, ${s.h}, ${s.w}}, {1, 16, 1, 1}, {${s.floats}, ${s.plane}, ${s.row}, 16}, {0, 1, 0, 0}, ${s.first}};
    at.dim[0] = n;
    sink(user, "${s.name}", $[out + (int64_t)n * ${s.at}], &at);
}
//$ end

//$ define infer
/* Inference: f holds the folded weights; out is what other kernels read. */
void ${f.name}(${f.parameters})
{
    //$ for s in f.scratch
    //$ emit s
    //$ end
    //$ for s in f.start
    //$ emit s
    //$ end
    //$ for s in f.body
    //$ emit s
    //$ end
}

//$ end
