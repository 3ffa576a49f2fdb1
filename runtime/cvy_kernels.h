/* cvy_kernels.h - the arithmetic around the emitted kernels that no shape or order changes: what happens at a batch
 * norm's barrier, folding, a matrix product. The update is cvy_update.h's, the loss cvy_losses.h's.
 * SPDX-License-Identifier: 0BSD */
#ifndef CVY_KERNELS_H
#define CVY_KERNELS_H

#include "cvy_float.h"
#include "cvy_names.h"

#include "cvy_losses.h"
#include "cvy_model.h"
#include "cvy_shared.h"
#include "cvy_update.h"

#if defined _OPENMP
#include <omp.h>
#define CVY_PRAGMA(x) _Pragma(#x)
/* Before a loop over pieces: each piece is done whole by one thread. Results do not depend on how many there are. */
#define CVY_PARALLEL(threads) CVY_PRAGMA(omp parallel for schedule(static) num_threads(threads))
#define CVY_PARALLEL_IF(threads, condition) CVY_PRAGMA(omp parallel for schedule(static) num_threads(threads) if(condition))
#define CVY_THREAD omp_get_thread_num()
/* Before a block that all of the threads do together, CVY_THREADS of them; at CVY_MEET each waits for the others. */
#define CVY_TOGETHER(threads) CVY_PRAGMA(omp parallel num_threads(threads))
#define CVY_THREADS omp_get_num_threads()
#define CVY_MEET(threads)                                                                                              \
    do {                                                                                                               \
        if ((threads) > 1) {                                                                                           \
            CVY_PRAGMA(omp barrier)                                                                                    \
        }                                                                                                              \
    } while (0)
#else
#define CVY_PARALLEL(threads)
#define CVY_PARALLEL_IF(threads, condition)
#define CVY_THREAD 0
#define CVY_TOGETHER(threads)
#define CVY_THREADS 1
#define CVY_MEET(threads) (void)(threads)
#endif

/* Images [first, end) of a batch of n are piece p of `pieces`: decided by the batch, never by the number of threads. */
struct cvy_range {
    int first, end;
};
struct cvy_range cvy_piece(int p, int pieces, int n);

/* Whether a network for images that trains on up to `most` of them, by that loss, can take a batch. */
static inline int cvy_batch_trains(const struct cvy_batch *b, int most, const struct cvy_loss *loss, int outputs)
{
    return b && b->x && b->target && b->n >= 1 && b->n <= most &&
           cvy_target_fits(loss->target, b->target, b->n, outputs);
}
static inline int cvy_batch_fits(const struct cvy_batch *b, int most, const struct cvy_loss *loss, int outputs)
{
    return cvy_batch_trains(b, most, loss, outputs) && !b->length;
}
/* Whether it can infer a batch, of any n, into y. */
static inline int cvy_batch_infers(const struct cvy_batch *b, const float *y)
{
    return b && !b->length && b->n >= 0 && (b->n == 0 || (b->x && y));
}

/* The same of a network whose samples may have lengths, from 1 to `steps`; none: each has all steps. */
static inline int cvy_lengths_fit(const struct cvy_batch *b, int steps)
{
    for (int i = 0; b->length && i < b->n; i++)
        if (b->length[i] < 1 || b->length[i] > steps)
            return 0;
    return 1;
}
static inline int cvy_sequences_fit(const struct cvy_batch *b, int most, const struct cvy_loss *loss, int outputs,
                                    int steps)
{
    return cvy_batch_trains(b, most, loss, outputs) && cvy_lengths_fit(b, steps);
}
static inline int cvy_sequences_infer(const struct cvy_batch *b, const float *y, int steps)
{
    return b && b->n >= 0 && (b->n == 0 || (b->x && y)) && cvy_lengths_fit(b, steps);
}

/* Where a kernel is: image `image` of the batch, in piece `piece`; fresh: the first image of the piece. */
struct cvy_at {
    int image, piece, fresh;
    const struct cvy_step *step;
};

/* Statistics of a tensor that batch norms read, in training. They belong to the tensor: all norms over it share them.
 * Arrays have room for `padded` channels (16 more than their blocks, as a stage may write past the last channel);
 * padding is zero. */
struct cvy_stats {
    int channels, padded, pieces;
    double count; /* values per channel in this batch */
    float *mean;
    float *back_x, *back_1;   /* backward: what the norms take away from the gradient is back_x (v - mean) + back_1 */
    double *part;             /* [pieces][CVY_STATS_PART][padded] */
    double *exact_mean, *var; /* the mean, and the biased variance */
};
/* Sets its arrays, CVY_STATS_FLOATS and CVY_STATS_DOUBLES of the arena. */
void cvy_stats_place(struct cvy_stats *stats, float *floats, double *doubles);
/* Clears a piece's sums before its kernel runs. */
void cvy_stats_begin(const struct cvy_stats *stats, int piece);
/* After image i of a piece's, of n images of `area` pixels, where sums are there of all of the piece or of a multiple
 * of `group`: after images 1, 2, 4, 8 ... the pivots become the mean so far. A pivot that came from the first images
 * (`fresh`) may be far from all others, and sums about it have lost digits: then the sums are cleared, `fresh` becomes
 * 0, and the answer is how many images must be taken again, from the piece's first. Otherwise 0. */
int cvy_stats_move(const struct cvy_stats *stats, int piece, int n, int i, int group, int area, int *fresh);
/* The barrier of the forward pass: merges the pieces (count, mean, M2; Chan, Golub & LeVeque 1979) over n images of
 * `area` pixels. */
void cvy_stats_merge(struct cvy_stats *stats, int n, int area);

/* One batch norm in training. Arrays of `padded` floats (channels rounded up to 16; padding is zero), in the arena. */
struct cvy_bn {
    int channels, padded, pieces;
    double eps, momentum;                             /* momentum: the weight of the new batch */
    float *gamma, *beta, *running_mean, *running_var; /* beta: NULL where the norm has none */
    float *mean, *scale, *shift;                      /* apply: (v - mean) * scale + shift */
    float *istd, *off;                                /* xhat = (v - mean) * istd + off */
    float *dgamma, *dbeta;
    double *sums; /* [pieces][CVY_BN_SUMS][padded] */
    int64_t *batches;
};
/* Sets its arrays, CVY_BN_FLOATS and CVY_BN_DOUBLES of the arena. */
void cvy_bn_place(struct cvy_bn *bn, float *floats, double *doubles);
void cvy_bn_begin_sums(const struct cvy_bn *bn, int piece);
/* Once the statistics of what it reads are merged: mean, scale, shift, istd, off, and the running statistics (unbiased
 * variance), of channels [first, first + stats->channels): after a concat a norm reads several tensors. */
void cvy_bn_forward(const struct cvy_bn *bn, const struct cvy_stats *stats, int first);
/* A frozen norm's mean, scale and shift, of its running statistics: before a step. */
void cvy_bn_still(const struct cvy_bn *bn);
/* The barrier of the backward pass: dgamma = sum(g xhat), dbeta = sum(g). */
void cvy_bn_backward(const struct cvy_bn *bn);
/* Adds what the norm takes away from the gradient of a tensor that it reads to the tensor's back_x and back_1. */
void cvy_bn_back(const struct cvy_bn *bn, struct cvy_stats *stats, int first);
/* Updates gamma, and beta where there is one. */
void cvy_bn_update(const struct cvy_net *net, const struct cvy_bn *bn, const struct cvy_step *step);

/* An image norm (gn, ln, in, rms) in training: group norm, whose groups of channels may be all of them, or each by
 * itself. Its gamma and beta, and their gradients, are a batch norm's. Of each image of the batch, `kept` holds
 * CVY_GN_KEPT floats per group: what cvy_gn_stats (cvy_vec.h) makes, and for backward what the norm takes away from the
 * gradient, back_x (v - mean) + back_1. */
struct cvy_gn {
    struct cvy_bn norm;
    int groups, not_centred; /* not_centred: no mean is taken away, and cvy_rms_stats made `kept` */
    float *kept;
};
/* Once an image's gradient is through the norm: sums = sum of g, sum of g * xhat, an array of norm.padded doubles a
 * channel each. They are added to the piece's, and make the image's back_x and back_1. `area`: pixels. */
void cvy_gn_back(const struct cvy_gn *gn, const double *sums, int area, int image, int piece);
/* Adds what the norm takes away from an image's gradient to `to`: mean, back_x, back_1, an array of `room` floats a
 * channel each; the first of several norms over one tensor sets them. */
void cvy_gn_take(const struct cvy_gn *gn, int image, int first, int room, float *to);

/* w [blocks_out][blocks_in][taps][16 in][16 out] -> wt [blocks_in][blocks_out][taps][16 out][16 in]; one block_out of
 * it. */
void cvy_transpose_block(const float *w, float *wt, int block_out, int blocks_out, int blocks_in, int taps);
/* The same where w is plain, [blocks_out][channels][taps][16 out] with at most 16 channels. */
void cvy_transpose_plain(const float *w, float *wt, int block_out, int channels, int taps);
/* Lanewise: w [blocks_out][in a group][taps][16 out] -> wt [blocks_in][out a group][taps][16 in]; one block_out of
 * `out` channels. */
void cvy_transpose_lanes(const float *w, float *wt, int block_out, int out, int group_in, int group_out, int taps);

/* Winograd F(4x4, 3x3): U = G w G^T (cvy_vec.h) of one block_out of w [blocks_out][blocks_in][9][16 in][16 out], u
 * being [blocks_out][36][blocks_in 16][16 out]. */
void cvy_winograd_weights(const float *w, float *u, int block_out, int blocks_in);
/* For backward-data, of the taps turned round: u [blocks_in][36][blocks_out 16][16 in]. */
void cvy_winograd_back(const float *w, float *u, int block_out, int blocks_out, int blocks_in);
/* The same by the phases of stride 2, 36 transformed weights, too. */
void cvy_phases_weights(const float *w, float *u, int block_out, int blocks_in);
void cvy_phases_back(const float *w, float *u, int block_out, int blocks_out, int blocks_in);

/* Columns [from, to) of c [m][..] = op(a) op(b), row-major with leading dimensions, over k. from, to and, but for a's,
 * the leading dimensions are multiples of 16, and b and c aligned to 64 bytes; of a transposed a, rows and their
 * number, too. By OpenBLAS, and only there where CVY_OPENBLAS is defined; else cvy_product.h has it. */
void cvy_gemm(int trans_a, int trans_b, int m, int k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,
              float *c, ptrdiff_t ldc, int from, int to);

/* A batch norm as the running statistics have it. Folding: y = s x + t with s = gamma / sqrt(var + eps), t = beta - s
 * mean. */
struct cvy_fold {
    const float *gamma, *beta, *mean, *var;
    double eps;
};
/* w' = s w and b' = s b + t for `nfold` norms in a row after a weight op: rows of 16 outputs, `rows` of them a block.
 * bias may be NULL. */
void cvy_fold_conv(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                   int64_t rows, float *w_out, float *bias_out);
/* The same, as cvy_winograd_weights, as cvy_phases_weights makes them. */
void cvy_fold_winograd(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                       int blocks_in, float *u_out, float *bias_out);
void cvy_fold_phases(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                     int blocks_in, float *u_out, float *bias_out);
/* Linear: w [out16][in16] -> [out16 / 16][in][16], folded. */
void cvy_fold_linear(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int out, int in,
                     float *w_out, float *bias_out);
/* A norm that is not folded, as vf_norm_load reads it: mean, scale = s and shift = beta, arrays of `padded` floats. */
void cvy_fold_affine(const struct cvy_fold *fold, int channels, float *to, int padded);

/* An image norm's gamma and beta (NULL: zeros), which nothing folds. */
void cvy_fold_image(const float *gamma, const float *beta, int channels, float *gamma_out, float *beta_out);

/* A stage's number for its dropout masks: a hash of its name. */
uint64_t cvy_stage(const char *name);
/* The key of one image's mask: word 0 in the low half, word 1 in the high half. */
uint64_t cvy_drop_key(uint64_t stage, const struct cvy_step *step, int image);

#endif
