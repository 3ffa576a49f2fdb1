/* cvy_product.h - matrix products of linear layers.
 *
 * c [m][n] = op(a) op(b). A register tile is a few rows of c and a panel of its columns, whose sums stay in registers
 * while the loop over k runs. What it reads of b, a panel of columns and a part of k, is copied beforehand, so that it
 * lies side by side in the first cache for all rows. Each number of c is one sum in the order of k, whichever columns a
 * call is given: so threads may share them. SPDX-License-Identifier: 0BSD */
#ifndef CVY_PRODUCT_H
#define CVY_PRODUCT_H

#include "cvy_kernels.h"
#include "cvy_vec.h"

#if defined CVY_OPENBLAS
#define cvy_product cvy_gemm
#else

/* A register tile fills the register file: sums, a row of b, and what is broadcast. */
#if defined CVY_AVX512
enum { CVY_PRODUCT_ROWS = 8, CVY_PRODUCT_VECTORS = 2 };
#define CVY_PRODUCT_EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#else
enum { CVY_PRODUCT_ROWS = 6, CVY_PRODUCT_VECTORS = 1 };
#define CVY_PRODUCT_EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#endif
enum {
    CVY_PRODUCT_DEEP = 128,                      /* of k at a time */
    CVY_PRODUCT_WIDE = VF * CVY_PRODUCT_VECTORS, /* columns of a panel */
    CVY_PRODUCT_TALL = 96, /* rows of c at a time where a is transposed; whole tiles, whole blocks */
};

/* to [k][CVY_PRODUCT_WIDE] = 16 columns of op(b). */
static inline void cvy_product_pack(int trans, const float *b, ptrdiff_t ldb, int k, float *to)
{
    if (!trans) {
        for (; k > 0; k--, b += ldb, to += CVY_PRODUCT_WIDE)
            vf_store(to, vf_load(b));
        return;
    }
    for (; k >= VF; k -= VF, b += VF, to += VF * CVY_PRODUCT_WIDE)
        vf_transpose(b, ldb, to, CVY_PRODUCT_WIDE);
    for (; k > 0; k--, b++, to += CVY_PRODUCT_WIDE)
        for (int i = 0; i < VF; i++)
            to[i] = b[i * ldb];
}

/* Rows of c, of which there are `rows`, and `wide` columns = (adds: +=) a b. a[r][l] is a[r * row + l * step]; rows
 * that are not there are the last once more, and are not stored. */
CVY_KEEP void cvy_product_tile(const float *a, ptrdiff_t row, ptrdiff_t step, const float *b, int k, float *c,
                               ptrdiff_t ldc, int rows, int wide, int adds)
{
#define CVY_PRODUCT_BEGIN(r)                                                                                           \
    const float *const a##r = a + (r < rows ? r : rows - 1) * row;                                                     \
    vf x##r = vf_zero();
    CVY_PRODUCT_EACH(CVY_PRODUCT_BEGIN)
#if defined CVY_AVX512
#define CVY_PRODUCT_BEGIN_2(r) vf y##r = vf_zero();
    CVY_PRODUCT_EACH(CVY_PRODUCT_BEGIN_2)
#endif
    ptrdiff_t at = 0;
    for (int l = 0; l < k; l++, at += step, b += CVY_PRODUCT_WIDE) {
        const vf b0 = vf_load(b);
        vf s;
#if defined CVY_AVX512
        const vf b1 = vf_load(b + VF);
#define CVY_PRODUCT_STEP(r) s = vf_set(a##r[at]), x##r = vf_fma(s, b0, x##r), y##r = vf_fma(s, b1, y##r);
#else
#define CVY_PRODUCT_STEP(r) s = vf_set(a##r[at]), x##r = vf_fma(s, b0, x##r);
#endif
        CVY_PRODUCT_EACH(CVY_PRODUCT_STEP)
    }
#define CVY_PRODUCT_END(r)                                                                                             \
    if (r < rows)                                                                                                      \
        vf_store(c + r * ldc, adds ? vf_add(vf_load(c + r * ldc), x##r) : x##r);
    CVY_PRODUCT_EACH(CVY_PRODUCT_END)
#if defined CVY_AVX512
#define CVY_PRODUCT_END_2(r)                                                                                           \
    if (r < rows && wide > VF)                                                                                         \
        vf_store(c + r * ldc + VF, adds ? vf_add(vf_load(c + r * ldc + VF), y##r) : y##r);
    CVY_PRODUCT_EACH(CVY_PRODUCT_END_2)
#else
    (void)wide;
#endif
}

/* What cvy_gemm (cvy_kernels.h) is, in the vectors of the network. */
static inline void cvy_product(int trans_a, int trans_b, int m, int k, const float *a, ptrdiff_t lda, const float *b,
                               ptrdiff_t ldb, float *c, ptrdiff_t ldc, int from, int to)
{
    CVY_ALIGNED float panel[CVY_PRODUCT_WIDE * CVY_PRODUCT_DEEP], part[CVY_PRODUCT_TALL * CVY_PRODUCT_DEEP];
    const int tall = trans_a ? CVY_PRODUCT_TALL : m;

    for (int l = 0; l < k; l += CVY_PRODUCT_DEEP)
        for (int first = 0; first < m; first += tall) {
            const int deep = k - l < CVY_PRODUCT_DEEP ? k - l : CVY_PRODUCT_DEEP,
                      rows = m - first < tall ? m - first : tall;
            const float *from_a = a + first * lda + l;
            ptrdiff_t row = lda, step = 1;
            if (trans_a) { /* lines of a that lie a power of two apart would share a set of the cache */
                from_a = part, row = 1, step = CVY_PRODUCT_TALL;
                for (int i = 0; i < deep; i++)
                    for (int r = 0; r < rows; r += VF)
                        vf_store(part + i * step + r, vf_load(a + (l + i) * lda + first + r));
            }
            for (int j = from; j < to; j += CVY_PRODUCT_WIDE) {
                const int wide = to - j < CVY_PRODUCT_WIDE ? to - j : CVY_PRODUCT_WIDE;
                for (int v = 0; v < wide; v += VF)
                    cvy_product_pack(trans_b, trans_b ? b + (j + v) * ldb + l : b + l * ldb + j + v, ldb, deep,
                                     panel + v);
                for (int i = 0; i < rows; i += CVY_PRODUCT_ROWS)
                    cvy_product_tile(from_a + i * row, row, step, panel, deep, c + (first + i) * ldc + j, ldc,
                                     rows - i < CVY_PRODUCT_ROWS ? rows - i : CVY_PRODUCT_ROWS, wide, l > 0);
            }
        }
}

#endif
#endif
