/* winograd_check.c - a conv's three emitted cores by Winograd against the sums in double. test_winograd.sh compiles it
 * with the header of a shape: -DHEADER, -DCORE, -DCI -DCO -DH -DW -DPAD (padding), -DSTRIDE (1 or 2), -DIMAGES (taken
 * together), -DXR -DXC -DZR -DZC (rows and columns of the packed images), -DTOP (dz's in its own), -DFORWARD -DDATA
 * (the functions' names), -DTAPS_FORWARD -DTAPS_DATA where they take taps. The largest error of each pass must be
 * within 5e-5 of the largest magnitude of what it makes. -DFAULT spoils a number of each pass by 1e-4 of that: then it
 * must fail. Prints the three errors. */
#include HEADER

#include <stdio.h>
#include <stdlib.h>

#include "runtime/cvy_kernels.h"

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
enum {
    OH = (H + 2 * PAD - 3) / STRIDE + 1,
    OW = (W + 2 * PAD - 3) / STRIDE + 1,
    BI = (CI + 15) / 16,
    BO = (CO + 15) / 16
};
#if STRIDE == 2
#define WEIGHTS cvy_phases_weights
#define BACK cvy_phases_back
#else
#define WEIGHTS cvy_winograd_weights
#define BACK cvy_winograd_back
#endif

/* What a core gives, as a blocked tensor without a halo. */
struct take {
    float *to, *base;
    ptrdiff_t image, plane;
    int m, cols;
};
CVY_INLINE vf take_point(void *run, vf v, int y, int x)
{
    const struct take *const q = (const struct take *)run;
    vf_store(q->to + ((ptrdiff_t)y * q->cols + x) * 16, v);
    return v;
}
CVY_INLINE void take_begin(void *run, int c)
{
    struct take *const q = (struct take *)run;
    q->to = q->base + q->m * q->image + c / 16 * q->plane;
}
static int told_ahead; /* of how many tiles a core said that they come */
CVY_INLINE void take_ahead(const void *run, int y, int x)
{
    told_ahead += run && y % 4 == 0 && x % 4 == 0;
}
CVY_INLINE void take_image(void *run, int m)
{
    ((struct take *)run)->m = m;
}

static float *floats(ptrdiff_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, sizeof(float) * (size_t)(n + 16)) != 0)
        exit(2);
    memset(p, 0, sizeof(float) * (size_t)(n + 16));
    return p;
}

static uint32_t state = 1;
static float number(float low)
{
    state = state * 1664525u + 1013904223u;
    return low + (1 - low) * (float)(state >> 8) / 16777216.0f;
}

static ptrdiff_t at(int m, int blocks, int c, int rows, int cols, int y, int x)
{
    return ((((ptrdiff_t)m * blocks + c / 16) * rows + y) * cols + x) * 16 + c % 16;
}
static ptrdiff_t tap(int o, int i, int t)
{
    return (((ptrdiff_t)(o / 16) * BI + i / 16) * 9 + t) * 256 + i % 16 * 16 + o % 16;
}

struct error {
    double most, scale;
};
static void meet(struct error *e, double want, double got)
{
    const double d = fabs(want - got);
    e->most = d <= e->most ? e->most : d; /* a NaN counts */
    e->scale = fabs(want) > e->scale ? fabs(want) : e->scale;
}

int main(void)
{
    const ptrdiff_t pixels = (ptrdiff_t)IMAGES * H * W * 16, outputs = (ptrdiff_t)IMAGES * OH * OW * 16;
    float *x = floats((ptrdiff_t)IMAGES * BI * XR * XC * 16), *z = floats((ptrdiff_t)IMAGES * BO * ZR * ZC * 16),
          *y = floats(outputs * BO), *dx = floats(pixels * BI), *w = floats(BI * BO * 9 * 256),
          *dw = floats(BI * BO * 9 * 256), *u = floats(BI * BO * 36 * 256), *back = floats(BI * BO * 36 * 256),
          *bias = floats(BO * 16), *work = floats(1 << 22);
    struct error e[3] = {{0, 0}, {0, 0}, {0, 0}};

    for (int m = 0; m < IMAGES; m++) {
        for (int c = 0; c < CI; c++)
            for (int i = 0; i < H * W; i++)
                x[at(m, BI, c, XR, XC, i / W + PAD, i % W + PAD)] = number(0); /* as after a relu: all of one sign */
        for (int c = 0; c < CO; c++)
            for (int i = 0; i < OH * OW; i++)
                z[at(m, BO, c, ZR, ZC, i / OW + TOP, i % OW + TOP)] = number(-1);
    }
    for (int o = 0; o < CO; o++) {
        bias[o] = number(-1);
        for (int i = 0; i < CI * 9; i++)
            w[tap(o, i / 9, i % 9)] = number(-1);
    }
    for (int b = 0; b < BO; b++) {
        WEIGHTS(w, u, b, BI);
#if defined TAPS_DATA
        cvy_transpose_block(w, back, b, BO, BI, 9);
#else
        BACK(w, back, b, BO, BI);
#endif
    }

    struct take forward = {NULL, y, (ptrdiff_t)BO * OH * OW * 16, (ptrdiff_t)OH * OW * 16, 0, OW};
    struct take data = {NULL, dx, (ptrdiff_t)BI * H * W * 16, (ptrdiff_t)H * W * 16, 0, W};
#if defined TAPS_FORWARD
    memcpy(u, w, sizeof(float) * BI * BO * 9 * 256);
#endif
    struct cvy_next next = {1, {x}, {1}};
    JOIN(CORE, FORWARD)
    (x, IMAGES, u, bias, work, &next, &forward, take_image, take_begin, take_ahead, cvy_first_ignored, take_point,
     cvy_end_nothing);
    if (told_ahead != IMAGES * BO * ((OH + 3) / 4) * ((OW + 3) / 4) || next.at[0] == x ||
        (next.at[0] - x) % (36 * VF)) {
        printf(" the core said of %d tiles that they come, and brought %td lines nearer\n", told_ahead,
               (next.at[0] - x) / VF);
        return 1;
    }
    JOIN(CORE, DATA)
    (z, IMAGES, back, NULL, work, NULL, &data, take_image, take_begin, take_ahead, cvy_first_ignored, take_point,
     cvy_end_nothing);
    memset(dw, 0xff, sizeof(float) * BI * BO * 9 * 256); /* NaN: the first call sets, the second adds */
    JOIN(CORE, weights)(x, z, dw, IMAGES, 1, work, NULL);
    JOIN(CORE, weights)(x, z, dw, IMAGES, 0, work, NULL);

    for (int m = 0; m < IMAGES; m++) {
        for (int o = 0; o < CO; o++)
            for (int p = 0; p < OH * OW; p++) {
                double sum = (double)bias[o];
                for (int i = 0; i < CI * 9; i++)
                    sum += (double)x[at(m, BI, i / 9, XR, XC, p / OW * STRIDE + i % 9 / 3, p % OW * STRIDE + i % 3)] *
                           (double)w[tap(o, i / 9, i % 9)];
                meet(&e[0], sum, (double)y[at(m, BO, o, OH, OW, p / OW, p % OW)]);
            }
        for (int c = 0; c < CI; c++)
            for (int p = 0; p < H * W; p++) {
                double sum = 0;
                for (int i = 0; i < CO * 9; i++) {
                    const int v = p / W + PAD - i % 9 / 3, h = p % W + PAD - i % 3; /* of dz, times the stride */
                    if (v >= 0 && v < OH * STRIDE && h >= 0 && h < OW * STRIDE && v % STRIDE == 0 && h % STRIDE == 0)
                        sum += (double)z[at(m, BO, i / 9, ZR, ZC, v / STRIDE + TOP, h / STRIDE + TOP)] *
                               (double)w[tap(i / 9, c, i % 9)];
                }
                meet(&e[1], sum, (double)dx[at(m, BI, c, H, W, p / W, p % W)]);
            }
    }
    for (int o = 0; o < CO; o++)
        for (int i = 0; i < CI * 9; i++) {
            double sum = 0;
            for (int p = 0; p < IMAGES * OH * OW; p++) {
                const int m = p / (OH * OW), v = p / OW % OH, h = p % OW;
                sum += (double)x[at(m, BI, i / 9, XR, XC, v * STRIDE + i % 9 / 3, h * STRIDE + i % 3)] *
                       (double)z[at(m, BO, o, ZR, ZC, v + TOP, h + TOP)];
            }
            meet(&e[2], 2 * sum, (double)dw[tap(o, i / 9, i % 9)]);
        }

    int wrong = 0;
    for (int p = 0; p < 3; p++) {
#if defined FAULT
        e[p].most += 1e-4 * e[p].scale;
#endif
        wrong |= !(e[p].most <= 5e-5 * e[p].scale);
        printf(" %.1e", e[p].most / e[p].scale);
    }
    printf("\n");
    return wrong;
}
