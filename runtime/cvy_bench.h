/* cvy_bench.h - two loops that measure what the machine can do, in the instructions of the network's target: for `NAME
 * bench`. Included by NAME_bench.c alone. SPDX-License-Identifier: 0BSD */
#ifndef CVY_BENCH_H
#define CVY_BENCH_H

#include "cvy_kernels.h"
#include "cvy_vec.h"

/* Fused multiply-adds (portable: a multiplication and an addition) on as many independent vf as registers hold: no
 * memory. Their values differ from lane to lane, and all count: a compiler computes equal ones once, and unused ones
 * not at all. */
CVY_KEEP float cvy_peak_thread(int64_t rounds)
{
    const vf s = vf_set(0.5f), t = vf_set(0.25f);
    float from[10 * VF], out[VF], sum = 0;
    for (int k = 0; k < 10 * VF; k++)
        from[k] = 0.001f * (float)k;
    vf a = vf_loadu(from), b = vf_loadu(from + VF), c = vf_loadu(from + 2 * VF), d = vf_loadu(from + 3 * VF),
       e = vf_loadu(from + 4 * VF);
    vf f = vf_loadu(from + 5 * VF), g = vf_loadu(from + 6 * VF), h = vf_loadu(from + 7 * VF),
       i = vf_loadu(from + 8 * VF), j = vf_loadu(from + 9 * VF);

    for (int64_t n = 0; n < rounds; n++) {
        a = vf_fma(a, s, t), b = vf_fma(b, s, t), c = vf_fma(c, s, t);
        if (CVY_CHAINS >= 5)
            d = vf_fma(d, s, t), e = vf_fma(e, s, t);
        if (CVY_CHAINS >= 10)
            f = vf_fma(f, s, t), g = vf_fma(g, s, t), h = vf_fma(h, s, t), i = vf_fma(i, s, t), j = vf_fma(j, s, t);
    }
    if (CVY_CHAINS >= 10)
        a = vf_add(vf_add(vf_add(a, f), vf_add(g, h)), vf_add(i, j));
    a = vf_add(vf_add(vf_add(a, b), vf_add(c, d)), e);
    memcpy(out, &a, sizeof out);
    for (int k = 0; k < VF; k++)
        sum += out[k];
    return sum;
}

static double cvy_peak(int threads, int64_t rounds, float *sink)
{
    CVY_PARALLEL(threads)
    for (int p = 0; p < threads; p++)
        sink[p * VF] += cvy_peak_thread(rounds);
    return 2.0 * VF * CVY_CHAINS * (double)rounds * threads;
}

/* a = b + s c, a, b and c the thirds of the thread's part. */
static double cvy_stream(int threads, float *all, int64_t floats, int rounds)
{
    const int64_t third = floats / threads / 3 / VF * VF;

    CVY_PARALLEL(threads)
    for (int p = 0; p < threads; p++) {
        float *const a = all + p * 3 * third;
        const float *const b = a + third, *const c = a + 2 * third;
        const vf s = vf_set(0.5f);
        for (int r = 0; r < rounds; r++)
            for (int64_t i = 0; i < third; i += VF)
                vf_store(a + i, vf_fma(vf_load(c + i), s, vf_load(b + i)));
    }
    return 12.0 * (double)third * rounds * threads;
}

#endif
