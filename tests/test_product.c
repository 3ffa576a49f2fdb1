/* test_product.c - cvy_product against plain loops, on whole numbers, so that every order of a sum gives the same bits.
 * Compiled once for each target (meson.build); skipped where the processor cannot run it.
 *
 *   test_product */
#define _GNU_SOURCE
#include "../runtime/cvy_product.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 400, MOST = 340, FLOATS = MOST * MOST };

static float *a, *b, *c, *whole;

static int draw(int most)
{
    static uint32_t state = 1;

    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return 1 + (int)(state % (uint32_t)most);
}

static int blocks(int n)
{
    return (n + VF - 1) / VF * VF;
}

static float *room(void)
{
    float *p = aligned_alloc(64, sizeof *p * FLOATS);

    if (!p)
        exit(1);
    return p;
}

typedef struct Shape {
    int trans_a, trans_b, m, n, k, lda, ldb, ldc;
} Shape;

/* What is no part of a matrix, padding of a row among it, is NaN: it must not be read into a number of c. Columns of b
 * that fill up its last block are read, and give columns of c that nobody reads. */
static void fill(const Shape *s)
{
    for (int i = 0; i < FLOATS; i++)
        a[i] = b[i] = c[i] = whole[i] = NAN;
    for (int i = 0; i < s->m; i++)
        for (int l = 0; l < s->k; l++)
            a[s->trans_a ? l * s->lda + i : i * s->lda + l] = (float)(draw(17) - 9);
    for (int l = 0; l < s->k; l++)
        for (int j = 0; j < s->n; j++)
            b[s->trans_b ? j * s->ldb + l : l * s->ldb + j] = (float)(draw(17) - 9);
}

/* Whether c is the product, and nothing beside it was written. */
static int right(const Shape *s, const float *found)
{
    for (int i = 0; i * s->ldc + s->ldc <= FLOATS; i++)
        for (int j = 0; j < s->ldc; j++) {
            const float got = found[i * s->ldc + j];
            float want = 0;
            if (i < s->m && j >= s->n && j < blocks(s->n))
                continue;
            for (int l = 0; i < s->m && j < s->n && l < s->k; l++)
                want +=
                    a[s->trans_a ? l * s->lda + i : i * s->lda + l] * b[s->trans_b ? j * s->ldb + l : l * s->ldb + j];
            if (i < s->m && j < s->n ? got != want : got == got)
                return 0;
        }
    return 1;
}

int main(void)
{
    int failed = 0;

    if (!cvy_supported()) {
        printf("this processor cannot run it\n0 passed, 0 failed, %d skipped\n", ROUNDS);
        return 77;
    }
    a = room(), b = room(), c = room(), whole = room();
    for (int round = 0; round < ROUNDS && !failed; round++) {
        Shape s = {.trans_a = draw(2) - 1, .trans_b = draw(2) - 1, .m = draw(150), .n = draw(150), .k = draw(300)};
        if (s.trans_a)
            s.m = blocks(s.m); /* rows of a are whole blocks then */
        s.lda = s.trans_a ? blocks(s.m) + VF * (draw(3) - 1) : blocks(s.k);
        s.ldb = s.trans_b ? blocks(s.k) : blocks(s.n) + VF * (draw(3) - 1);
        s.ldc = blocks(s.n) + VF * (draw(3) - 1);
        fill(&s);
        cvy_product(s.trans_a, s.trans_b, s.m, s.k, a, s.lda, b, s.ldb, whole, s.ldc, 0, blocks(s.n));
        failed |= !right(&s, whole);
        for (int from = 0, to; from < blocks(s.n); from = to) { /* the same by parts */
            to = from + VF * draw(4);
            to = to < blocks(s.n) ? to : blocks(s.n);
            cvy_product(s.trans_a, s.trans_b, s.m, s.k, a, s.lda, b, s.ldb, c, s.ldc, from, to);
        }
        failed |= !right(&s, c);
        if (failed)
            printf("FAILED: trans_a %d, trans_b %d, %d x %d, k %d\n", s.trans_a, s.trans_b, s.m, s.n, s.k);
    }
    free(a), free(b), free(c), free(whole);
    printf("%d passed, %d failed, 0 skipped\n", ROUNDS - failed, failed);
    return failed;
}
