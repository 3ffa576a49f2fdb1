/* cvy_kernels.c - see cvy_kernels.h. SPDX-License-Identifier: 0BSD */
#include "cvy_kernels.h"

#include <math.h>
#include <string.h>

#if defined CVY_OPENBLAS
#include <cblas.h>
#endif

struct cvy_range cvy_piece(int p, int pieces, int n)
{
    struct cvy_range r;
    r.first = (int)((int64_t)n * p / pieces);
    r.end = (int)((int64_t)n * (p + 1) / pieces);
    return r;
}

/* ---- batch norm ---- */

/* Piece p's pivots, sums and squares. */
static double *cvy_stats_part(const struct cvy_stats *stats, int p)
{
    return stats->part + CVY_STATS_PART * (int64_t)p * stats->padded;
}

void cvy_stats_place(struct cvy_stats *stats, float *floats, double *doubles)
{
    const int64_t padded = stats->padded;

    stats->mean = floats + CVY_TAKEN_MEAN * padded;
    stats->back_x = floats + CVY_TAKEN_BACK_X * padded;
    stats->back_1 = floats + CVY_TAKEN_BACK_1 * padded;
    stats->part = doubles;
    stats->exact_mean = cvy_stats_part(stats, stats->pieces);
    stats->var = stats->exact_mean + stats->padded;
}

void cvy_stats_begin(const struct cvy_stats *stats, int piece)
{
    memset(cvy_stats_part(stats, piece), 0, sizeof(double) * CVY_STATS_PART * (size_t)stats->padded);
}

int cvy_stats_move(const struct cvy_stats *stats, int piece, int n, int i, int group, int area, int *fresh)
{
    const struct cvy_range range = cvy_piece(piece, stats->pieces, n);
    double *const part = cvy_stats_part(stats, piece), *const pivot = part + CVY_PART_PIVOT * stats->padded,
                  *const sum = part + CVY_PART_SUM * stats->padded,
                  *const square = part + CVY_PART_SQUARE * stats->padded;
    const int images = i + 1 - range.first, taken = i + 1 == range.end ? images : images / group * group;
    const double count = (double)taken * area;
    const int first = *fresh && taken == images;
    int far = 0;

    if (taken == 0 || (!first && (images & (images - 1)) != 0))
        return 0;
    for (int c = 0; c < stats->channels; c++) {
        const double to = (double)(float)(pivot[c] + sum[c] / count),
                     by = to - pivot[c]; /* a float: values are taken from it exactly so */
        far |= CVY_PIVOT_FAR(sum[c], square[c], count);
        square[c] -= by * (2 * sum[c] - count * by);
        sum[c] -= count * by;
        pivot[c] = to;
    }
    if (!first)
        return 0;
    *fresh = 0;
    if (!far)
        return 0;
    memset(sum, 0, sizeof(double) * (size_t)stats->padded);
    memset(square, 0, sizeof(double) * (size_t)stats->padded);
    return images;
}

void cvy_stats_merge(struct cvy_stats *stats, int n, int area)
{
    stats->count = (double)n * area;
    for (int c = 0; c < stats->channels; c++) {
        double count = 0, mean = 0, m2 = 0;
        for (int p = 0; p < stats->pieces; p++) {
            const struct cvy_range r = cvy_piece(p, stats->pieces, n);
            const double *part = cvy_stats_part(stats, p) + c;
            const double pivot = part[CVY_PART_PIVOT * stats->padded], sum = part[CVY_PART_SUM * stats->padded];
            const double k = (double)(r.end - r.first) * area;
            if (k == 0)
                continue;
            const double part_mean = pivot + sum / k;
            const double part_m2 = part[CVY_PART_SQUARE * stats->padded] - sum * sum / k;
            const double d = part_mean - mean;
            mean += d * k / (count + k);
            m2 += part_m2 + d * d * count * k / (count + k);
            count += k;
        }
        stats->exact_mean[c] = mean;
        stats->mean[c] = (float)mean;
        stats->var[c] = m2 < 0 ? 0 : m2 / count;
        stats->back_x[c] = stats->back_1[c] = 0;
    }
}

void cvy_bn_place(struct cvy_bn *bn, float *floats, double *doubles)
{
    float **const array[CVY_BN_ARRAYS] = {
        [CVY_NORM_MEAN] = &bn->mean,  [CVY_NORM_SCALE] = &bn->scale, [CVY_NORM_SHIFT] = &bn->shift,
        [CVY_NORM_ISTD] = &bn->istd,  [CVY_NORM_OFF] = &bn->off,     [CVY_NORM_DGAMMA] = &bn->dgamma,
        [CVY_NORM_DBETA] = &bn->dbeta};

    for (int i = 0; i < CVY_BN_ARRAYS; i++)
        *array[i] = floats + (int64_t)i * bn->padded;
    bn->sums = doubles;
}

/* Piece p's sums. */
static double *cvy_bn_sums(const struct cvy_bn *bn, int p)
{
    return bn->sums + CVY_BN_SUMS * (int64_t)p * bn->padded;
}
/* Channel c's, of all pieces. */
static void cvy_bn_total(const struct cvy_bn *bn, int c, double *g, double *g_xhat)
{
    *g = *g_xhat = 0;
    for (int p = 0; p < bn->pieces; p++) {
        const double *sums = cvy_bn_sums(bn, p) + c;
        *g += sums[CVY_SUM_G * bn->padded];
        *g_xhat += sums[CVY_SUM_G_XHAT * bn->padded];
    }
}

void cvy_bn_begin_sums(const struct cvy_bn *bn, int piece)
{
    memset(cvy_bn_sums(bn, piece), 0, sizeof(double) * CVY_BN_SUMS * (size_t)bn->padded);
}

void cvy_bn_forward(const struct cvy_bn *bn, const struct cvy_stats *stats, int first)
{
    for (int i = 0; i < stats->channels; i++) {
        const int c = first + i;
        const double mean = stats->exact_mean[i], var = stats->var[i], count = stats->count;
        const double istd = 1 / sqrt(var + bn->eps), gamma = (double)bn->gamma[c];
        const double tail = mean - (double)stats->mean[i]; /* what the float lost matters where mean / sd is large */
        bn->mean[c] = stats->mean[i];
        bn->istd[c] = (float)istd;
        bn->off[c] = (float)(-tail * istd);
        bn->scale[c] = (float)(gamma * istd);
        bn->shift[c] = (float)((double)bn->beta[c] - tail * gamma * istd);
        bn->running_mean[c] = (float)((1 - bn->momentum) * (double)bn->running_mean[c] + bn->momentum * mean);
        bn->running_var[c] = (float)((1 - bn->momentum) * (double)bn->running_var[c] +
                                     bn->momentum * (count > 1 ? var * count / (count - 1) : var));
    }
    if (first == 0)
        ++*bn->batches;
}

void cvy_bn_still(const struct cvy_bn *bn)
{
    for (int c = 0; c < bn->channels; c++) {
        bn->mean[c] = bn->running_mean[c];
        bn->scale[c] = (float)((double)bn->gamma[c] / sqrt((double)bn->running_var[c] + bn->eps));
        bn->shift[c] = bn->beta[c];
    }
}

void cvy_bn_backward(const struct cvy_bn *bn)
{
    for (int c = 0; c < bn->channels; c++) {
        double g, gx;
        cvy_bn_total(bn, c, &g, &gx);
        bn->dbeta[c] = (float)g;
        bn->dgamma[c] = (float)gx;
    }
}

void cvy_bn_back(const struct cvy_bn *bn, struct cvy_stats *stats, int first)
{
    for (int i = 0; i < stats->channels; i++) {
        const int c = first + i;
        double g, gx;
        cvy_bn_total(bn, c, &g, &gx);
        const double scale = (double)bn->scale[c] / stats->count; /* xhat = (v - mean) istd + off */
        stats->back_x[i] += (float)(-scale * gx * (double)bn->istd[c]);
        stats->back_1[i] += (float)(-scale * (g + gx * (double)bn->off[c]));
    }
}

/* ---- image norms ---- */

void cvy_gn_back(const struct cvy_gn *gn, const double *sums, int area, int image, int piece)
{
    const struct cvy_bn *bn = &gn->norm;
    const int many = bn->channels / gn->groups;
    float *const kept = gn->kept + (int64_t)image * CVY_GN_KEPT * gn->groups;
    double *const total = cvy_bn_sums(bn, piece);
    const double *const of_g = sums + CVY_SUM_G * bn->padded, *const of_g_xhat = sums + CVY_SUM_G_XHAT * bn->padded;

    for (int g = 0; g < gn->groups; g++) {
        const double istd = (double)kept[CVY_KEPT_ISTD * gn->groups + g],
                     off = -(double)kept[CVY_KEPT_TAIL * gn->groups + g] * istd;
        double sum = 0, dot = 0;
        for (int c = g * many; c < (g + 1) * many; c++) {
            total[CVY_SUM_G * bn->padded + c] += of_g[c];
            total[CVY_SUM_G_XHAT * bn->padded + c] += of_g_xhat[c];
            sum += gn->not_centred ? 0 : (double)bn->gamma[c] * of_g[c];
            dot += (double)bn->gamma[c] * of_g_xhat[c];
        }
        const double scale = -istd / ((double)many * area); /* xhat = (v - mean) istd + off */
        kept[CVY_KEPT_BACK_X * gn->groups + g] = (float)(scale * istd * dot);
        kept[CVY_KEPT_BACK_1 * gn->groups + g] = (float)(scale * (sum + off * dot));
    }
}

void cvy_gn_take(const struct cvy_gn *gn, int image, int first, int room, float *to)
{
    const int many = gn->norm.channels / gn->groups;
    const float *const kept = gn->kept + (int64_t)image * CVY_GN_KEPT * gn->groups;

    if (first)
        memset(to, 0, sizeof(float) * CVY_TAKEN * (size_t)room);
    for (int c = 0; c < gn->norm.channels; c++) {
        const int g = c / many;
        const float mean = kept[CVY_KEPT_MEAN * gn->groups + g], back_x = kept[CVY_KEPT_BACK_X * gn->groups + g];
        if (first)
            to[CVY_TAKEN_MEAN * room + c] = mean;
        to[CVY_TAKEN_BACK_X * room + c] += back_x;
        to[CVY_TAKEN_BACK_1 * room + c] +=
            kept[CVY_KEPT_BACK_1 * gn->groups + g] + back_x * (to[CVY_TAKEN_MEAN * room + c] - mean);
    }
}

void cvy_bn_update(const struct cvy_net *net, const struct cvy_bn *bn, const struct cvy_step *step)
{
    cvy_update(net, bn->gamma - net->param, bn->padded, bn->dgamma, 0, 1, step, step->weight_decay_other);
    if (bn->beta)
        cvy_update(net, bn->beta - net->param, bn->padded, bn->dbeta, 0, 1, step, step->weight_decay_other);
}

/* ---- weights in other layouts ---- */

void cvy_transpose_block(const float *w, float *wt, int block_out, int blocks_out, int blocks_in, int taps)
{
    for (int bi = 0; bi < blocks_in; bi++)
        for (int t = 0; t < taps; t++) {
            const float *from = w + (((int64_t)block_out * blocks_in + bi) * taps + t) * 256;
            float *to = wt + (((int64_t)bi * blocks_out + block_out) * taps + t) * 256;
            for (int i = 0; i < 16; i++)
                for (int o = 0; o < 16; o++)
                    to[o * 16 + i] = from[i * 16 + o];
        }
}

void cvy_transpose_plain(const float *w, float *wt, int block_out, int channels, int taps)
{
    for (int t = 0; t < taps; t++)
        for (int i = 0; i < channels; i++)
            for (int o = 0; o < 16; o++)
                wt[(((int64_t)block_out * taps + t) * 16 + o) * 16 + i] =
                    w[(((int64_t)block_out * channels + i) * taps + t) * 16 + o];
}

void cvy_transpose_lanes(const float *w, float *wt, int block_out, int out, int group_in, int group_out, int taps)
{
    for (int l = 0; l < 16 && block_out * 16 + l < out; l++) {
        const int o = block_out * 16 + l, first = o / group_out * group_in; /* its group's first input channel */
        for (int i = 0; i < group_in; i++) {
            const float *from = w + ((int64_t)block_out * group_in + i) * taps * 16 + l;
            float *to = wt + ((int64_t)((first + i) / 16) * group_out + o % group_out) * taps * 16 + (first + i) % 16;
            for (int t = 0; t < taps; t++)
                to[t * 16] = from[t * 16];
        }
    }
}

/* ---- Winograd ---- */

/* G's six rows applied to three rows of 16 lanes: row p of G is 1, p, p^2 of the point p, divided by its distances from
 * the others. */
static inline void cvy_taps_points(const float *restrict x, const float *restrict y, const float *restrict z,
                                   float (*restrict to)[CVY_BLOCK])
{
    const float aa = 0.390625f, bb = 2.25f, a = 0.625f, b = 1.5f; /* the points +-5/8, +-3/2 */
    const float n0 = 1 / (aa * bb), na = 1 / (2 * aa * (aa - bb)), nb = 1 / (2 * bb * (bb - aa));

    for (int l = 0; l < CVY_BLOCK; l++) {
        const float even_a = na * (x[l] + aa * z[l]), odd_a = na * a * y[l], even_b = nb * (x[l] + bb * z[l]),
                    odd_b = nb * b * y[l];
        to[0][l] = n0 * x[l];
        to[1][l] = even_a + odd_a;
        to[2][l] = even_a - odd_a;
        to[3][l] = even_b + odd_b;
        to[4][l] = even_b - odd_b;
        to[5][l] = z[l];
    }
}

/* G g G^T for 16 lanes: g's taps are `tap` floats apart, the 36 points `point`. */
static void cvy_taps_lanes(const float *g, ptrdiff_t tap, float *u, int64_t point)
{
    float s[3][6][CVY_BLOCK], t[6][CVY_BLOCK];

    for (int j = 0; j < 3; j++)
        cvy_taps_points(g + j * tap, g + (3 + j) * tap, g + (6 + j) * tap, s[j]);
    for (int i = 0; i < 6; i++) {
        cvy_taps_points(s[0][i], s[1][i], s[2][i], t);
        for (int j = 0; j < 6; j++, u += point)
            memcpy(u, t[j], sizeof t[j]);
    }
}

/* One block of 16 x 16 channels, [9][16 in][16 out], into rows of 16 outputs. */
static void cvy_taps_block(const float *w, float *u, int64_t point)
{
    for (int i = 0; i < CVY_BLOCK; i++)
        cvy_taps_lanes(w + (ptrdiff_t)i * CVY_BLOCK, CVY_BLOCK * CVY_BLOCK, u + (ptrdiff_t)i * CVY_BLOCK, point);
}

/* By phases: the taps that two rows (columns) meet, 0 and 2, at the points +-1/2, +-5/4 and infinity; G's row of point
 * p is 1, p, divided by p's distances from the others. */
static inline void cvy_taps_five(const float *restrict x, const float *restrict y, float (*restrict to)[CVY_BLOCK])
{
    const float aa = 0.25f, bb = 1.5625f, a = 0.5f, b = 1.25f;
    const float na = 1 / (2 * a * (aa - bb)), nb = 1 / (2 * b * (bb - aa));

    for (int l = 0; l < CVY_BLOCK; l++) {
        const float x_a = na * x[l], y_a = na * a * y[l], x_b = nb * x[l], y_b = nb * b * y[l];
        to[0][l] = y_a + x_a;
        to[1][l] = y_a - x_a;
        to[2][l] = y_b + x_b;
        to[3][l] = y_b - x_b;
        to[4][l] = y[l];
    }
}

/* The 36 transformed weights, in the order of vec/phases.h, of one block of 16 x 16 channels. */
static void cvy_phases_block(const float *w, float *u, int64_t point)
{
    enum { TAP = CVY_BLOCK * CVY_BLOCK };
    float s[2][5][CVY_BLOCK], t[5][CVY_BLOCK];

    for (int i = 0; i < CVY_BLOCK; i++, w += CVY_BLOCK, u += CVY_BLOCK) {
        cvy_taps_five(w, w + 6 * TAP, s[0]);
        cvy_taps_five(w + 2 * TAP, w + 8 * TAP, s[1]);
        for (int p = 0; p < 5; p++) {
            cvy_taps_five(s[0][p], s[1][p], t);
            for (int q = 0; q < 5; q++)
                memcpy(u + (5 * p + q) * point, t[q], sizeof t[q]);
        }
        cvy_taps_five(w + TAP, w + 7 * TAP, s[0]);
        cvy_taps_five(w + 3 * TAP, w + 5 * TAP, s[1]);
        for (int p = 0; p < 5; p++) {
            memcpy(u + (25 + p) * point, s[0][p], sizeof s[0][p]);
            memcpy(u + (30 + p) * point, s[1][p], sizeof s[1][p]);
        }
        memcpy(u + 35 * point, w + 4 * TAP, sizeof(float) * CVY_BLOCK);
    }
}

/* How one block of 16 x 16 channels, [9][16 in][16 out], becomes 36 rows of 16 outputs, `point` floats apart. */
typedef void cvy_taps_way(const float *w, float *u, int64_t point);

static void cvy_taps_forward(const float *w, float *u, int block_out, int blocks_in, cvy_taps_way *way)
{
    const int64_t point = (int64_t)blocks_in * CVY_BLOCK * CVY_BLOCK;

    for (int bi = 0; bi < blocks_in; bi++)
        way(w + ((int64_t)block_out * blocks_in + bi) * 9 * 256, u + block_out * 36 * point + bi * 256, point);
}

static void cvy_taps_back(const float *w, float *u, int block_out, int blocks_out, int blocks_in, cvy_taps_way *way)
{
    const int64_t point = (int64_t)blocks_out * CVY_BLOCK * CVY_BLOCK;

    for (int bi = 0; bi < blocks_in; bi++) {
        const float *from = w + ((int64_t)block_out * blocks_in + bi) * 9 * 256;
        float turned[9 * 256];
        for (int t = 0; t < 9; t++)
            for (int i = 0; i < CVY_BLOCK; i++)
                for (int o = 0; o < CVY_BLOCK; o++)
                    turned[(8 - t) * 256 + o * CVY_BLOCK + i] = from[t * 256 + i * CVY_BLOCK + o];
        way(turned, u + bi * 36 * point + block_out * 256, point);
    }
}

void cvy_winograd_weights(const float *w, float *u, int block_out, int blocks_in)
{
    cvy_taps_forward(w, u, block_out, blocks_in, cvy_taps_block);
}

void cvy_winograd_back(const float *w, float *u, int block_out, int blocks_out, int blocks_in)
{
    cvy_taps_back(w, u, block_out, blocks_out, blocks_in, cvy_taps_block);
}

void cvy_phases_weights(const float *w, float *u, int block_out, int blocks_in)
{
    cvy_taps_forward(w, u, block_out, blocks_in, cvy_phases_block);
}

void cvy_phases_back(const float *w, float *u, int block_out, int blocks_out, int blocks_in)
{
    cvy_taps_back(w, u, block_out, blocks_out, blocks_in, cvy_phases_block);
}

/* ---- matrix product ---- */

#if defined CVY_OPENBLAS
void cvy_gemm(int trans_a, int trans_b, int m, int k, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb,
              float *c, ptrdiff_t ldc, int from, int to)
{
    cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, m, to - from,
                k, 1.0f, a, (int)lda, b + (trans_b ? from * ldb : from), (int)ldb, 0.0f, c + from, (int)ldc);
}
#endif

/* ---- folding ---- */

/* The norms of `fold`, in order, as one s x + t for channel c, applied to s0 x + t0. */
static void cvy_fold_channel(const struct cvy_fold *fold, int nfold, int c, double *s, double *t)
{
    for (int i = 0; i < nfold; i++) {
        const double a = (double)fold[i].gamma[c] / sqrt((double)fold[i].var[c] + fold[i].eps);
        *s *= a;
        *t = a * (*t - (double)fold[i].mean[c]) + (double)fold[i].beta[c];
    }
}

/* Channels [first, first + 16) of `channels`: `rows` rows of them from w on. */
static void cvy_fold_block(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int first,
                           int channels, int64_t rows, float *w_out, float *bias_out)
{
    double s[CVY_BLOCK], t;

    for (int l = 0; l < CVY_BLOCK; l++) {
        const int c = first + l;
        s[l] = 1;
        t = bias && c < channels ? (double)bias[c] : 0;
        if (c < channels)
            cvy_fold_channel(fold, nfold, c, &s[l], &t);
        bias_out[c] = (float)t;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int l = 0; l < CVY_BLOCK; l++)
            w_out[r * CVY_BLOCK + l] = (float)((double)w[r * CVY_BLOCK + l] * s[l]);
}

void cvy_fold_conv(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                   int64_t rows, float *w_out, float *bias_out)
{
    for (int c = 0; c < channels; c += CVY_BLOCK)
        cvy_fold_block(w + c * rows, bias, fold, nfold, c, channels, rows, w_out + c * rows, bias_out);
}

static void cvy_fold_transformed(const float *w, const float *bias, const struct cvy_fold *fold, int nfold,
                                 int channels, int blocks_in, float *u_out, float *bias_out, cvy_taps_way *way)
{
    const int64_t point = (int64_t)blocks_in * CVY_BLOCK * CVY_BLOCK;

    for (int c = 0; c < channels; c += CVY_BLOCK, u_out += 36 * point)
        for (int bi = 0; bi < blocks_in; bi++, w += 9 * 256) {
            float folded[9 * 256];
            cvy_fold_block(w, bias, fold, nfold, c, channels, 9 * CVY_BLOCK, folded, bias_out);
            way(folded, u_out + bi * 256, point);
        }
}

void cvy_fold_winograd(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                       int blocks_in, float *u_out, float *bias_out)
{
    cvy_fold_transformed(w, bias, fold, nfold, channels, blocks_in, u_out, bias_out, cvy_taps_block);
}

void cvy_fold_phases(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int channels,
                     int blocks_in, float *u_out, float *bias_out)
{
    cvy_fold_transformed(w, bias, fold, nfold, channels, blocks_in, u_out, bias_out, cvy_phases_block);
}

void cvy_fold_linear(const float *w, const float *bias, const struct cvy_fold *fold, int nfold, int out, int in,
                     float *w_out, float *bias_out)
{
    const int64_t row = ((int64_t)in + 15) / 16 * 16;

    for (int c = 0; c < (out + 15) / 16 * 16; c++) {
        double s = 1, t = bias && c < out ? (double)bias[c] : 0;
        if (c < out)
            cvy_fold_channel(fold, nfold, c, &s, &t);
        bias_out[c] = (float)t;
        for (int64_t i = 0; i < row; i++)
            w_out[((c / 16) * row + i) * 16 + c % 16] = (float)((double)w[c * row + i] * s);
    }
}

void cvy_fold_affine(const struct cvy_fold *fold, int channels, float *to, int padded)
{
    for (int c = 0; c < (channels + 15) / 16 * 16; c++) {
        double s = c < channels, t = 0;
        if (c < channels)
            cvy_fold_channel(fold, 1, c, &s, &t);
        to[CVY_NORM_MEAN * padded + c] = c < channels ? fold->mean[c] : 0;
        to[CVY_NORM_SCALE * padded + c] = (float)s;
        to[CVY_NORM_SHIFT * padded + c] = c < channels ? fold->beta[c] : 0;
    }
}

void cvy_fold_image(const float *gamma, const float *beta, int channels, float *gamma_out, float *beta_out)
{
    const size_t padded = ((size_t)channels + 15) / 16 * 16;

    memset(gamma_out, 0, sizeof(float) * padded);
    memset(beta_out, 0, sizeof(float) * padded);
    memcpy(gamma_out, gamma, sizeof(float) * (size_t)channels);
    if (beta)
        memcpy(beta_out, beta, sizeof(float) * (size_t)channels);
}

/* ---- dropout ---- */

uint64_t cvy_stage(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static uint64_t cvy_mix64(uint64_t x) /* splitmix64's finaliser (Steele, Lea & Flood 2014) */
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t cvy_drop_key(uint64_t stage, const struct cvy_step *step, int image)
{
    uint64_t h = cvy_mix64(stage + 0x9e3779b97f4a7c15u);

    h = cvy_mix64(h ^ (step->seed + 0x9e3779b97f4a7c15u));
    h = cvy_mix64(h ^ (step->step + 0x9e3779b97f4a7c15u));
    return cvy_mix64(h ^ ((uint64_t)image + 0x9e3779b97f4a7c15u));
}
