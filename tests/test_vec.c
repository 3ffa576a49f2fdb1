/* test_vec.c - the activations of cvy_vec.h, and their backward, against double: a walk over the floats from -100 to
 * 100, and the edges. Then lanes that begin anywhere. Compiled once for each target (meson.build); skipped where the
 * processor cannot run it.
 *
 *   test_vec */
#define _GNU_SOURCE
#include "../runtime/cvy_vec.h"
#include "../runtime/cvy_shared.h"
#include "acts.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

/* An activation with arguments: the nth list of acts.c. Forward on 16 values, then back, with a gradient of 1: from the
 * output, or from the input, as the op table says. */
typedef struct Case {
    const char *name;
    OpKind kind;
    int nth;
    void (*run)(vf x, vf *y, vf *slope);
} Case;

#include "vec_acts.h"

enum { CASES = sizeof cases / sizeof *cases, TESTS = 2 * CASES + 3 };

/* What a case's functions are to give. */
typedef struct Want {
    const ActRule *rule;
    Arg arg[OP_ARGS];
    Pieces pieces;
} Want;

static Want wanted(const Case *c)
{
    Want w = {.rule = &act_rules[c->kind]};

    if (!w.rule->value || !act_args(c->kind, c->nth, w.arg)) {
        printf("FAILED: acts.c has no row for %s\n", c->name);
        exit(1);
    }
    for (int i = 0; i < op_may_args(c->kind); i++) /* as the runtime is given them */
        w.arg[op_arg_at(c->kind, i)].real = (double)(float)w.arg[op_arg_at(c->kind, i)].real;
    w.pieces = act_pieces(c->kind, w.arg);
    return w;
}

static double want(const Want *w, double x, bool slope)
{
    const ActAt at = {.arg = w->arg, .x = x, .piece = act_piece(&w->pieces, x)};

    return slope ? w->rule->slope(&at) : w->rule->value(&at);
}

static double slope_of_nan(const Want *w)
{
    const ActAt at = {.arg = w->arg, .x = NAN, .piece = w->pieces.of_nan};

    return at.piece == NO_PIECE ? NAN : w->rule->slope(&at);
}

/* The i-th float of the walk: spread over the exponents, both signs. */
static float walk(int i)
{
    static const float edges[] = {0, -3, 3, 6, -6, 1, -1, 20, -20, 87, -87, 88.5f, -88.5f, 100, -100, 1e4f};

    if (i < 16)
        return edges[i];
    return (float)((i % 2 ? 1 : -1) * pow(2, -30 + 36.6 * (i - 16) / 40000.0));
}

static int check(int which)
{
    const Case *c = &cases[which];
    const Want w = wanted(c);
    const ActLimits *most = &w.rule->limits;
    double worst = 0, worst_slope = 0;
    float where = 0, where_slope = 0;
    int bad = 0;

    for (int i = 0; i < 40000; i += VF) {
        float x[VF], y[VF], slope[VF];
        vf vy, vs;
        for (int l = 0; l < VF; l++)
            x[l] = walk(i + l);
        c->run(vf_loadu(x), &vy, &vs);
        memcpy(y, &vy, sizeof y);
        memcpy(slope, &vs, sizeof slope);
        for (int l = 0; l < VF; l++) {
            const double value = want(&w, (double)x[l], false);
            const double size = fabs(value) > most->floor ? fabs(value) : most->floor;
            const double off = fabs((double)y[l] - value) / size,
                         off_slope = fabs((double)slope[l] - want(&w, (double)x[l], true));
            if (!(off <= worst))
                worst = off, where = x[l];
            if (!(off_slope <= worst_slope) && x[l] != 3 && x[l] != -3)
                worst_slope = off_slope, where_slope = x[l];
            bad += (fabs(value) > 1e-36 && !(off <= most->value)) || !(off_slope <= most->slope);
        }
    }
    printf("%-28s value off by %.2g of itself (at %.9g), slope by %.2g (at %.9g): %s\n", c->name, worst, (double)where,
           worst_slope, (double)where_slope, bad ? "FAILED" : "ok");
    return bad > 0;
}

/* 0 stays 0 where the op table says that padding channels stay zero. */
static int check_zero(void)
{
    int bad = 0;

    for (int i = 0; i < CASES; i++) {
        const Want w = wanted(&cases[i]);
        const double at_zero = want(&w, 0, false);
        vf y, slope;
        float first;
        cases[i].run(vf_zero(), &y, &slope);
        memcpy(&first, &y, sizeof first);
        bad += at_zero == 0 && first != 0;
    }
    printf("zeros %s\n", bad ? "FAILED" : "ok");
    return bad > 0;
}

/* A NaN in some lanes, of either sign: a NaN comes out there and nowhere else; the slopes are PyTorch's, and a gradient
 * that is none is none after it, but where PyTorch's is zero. */
static int check_nan(int which)
{
    const Case *c = &cases[which];
    const Want w = wanted(c);
    const double at_nan = slope_of_nan(&w);
    float x[VF], y[VF], clean[VF], slope[VF];
    vf vy, vs;
    int bad = 0;

    for (int at = 0; at < VF; at++) {
        for (int l = 0; l < VF; l++)
            x[l] = 0.7f * (float)l - 5.0f;
        c->run(vf_loadu(x), &vy, &vs);
        memcpy(clean, &vy, sizeof clean);
        x[at] = NAN, x[(at + 5) % VF] = -NAN;
        c->run(vf_loadu(x), &vy, &vs);
        memcpy(y, &vy, sizeof y);
        memcpy(slope, &vs, sizeof slope);
        for (int l = 0; l < VF; l++)
            if (l != at && l != (at + 5) % VF)
                bad += y[l] != clean[l] || slope[l] != slope[l];
            else
                bad += y[l] == y[l] || (at_nan == at_nan ? (double)slope[l] != at_nan : slope[l] == slope[l]);
    }
    if (bad)
        printf("FAILED: %s of NaN, %d lanes\n", c->name, bad);
    return bad > 0;
}

/* The statistics of an image norm are none where a sum is none. */
static int check_nan_statistics(void)
{
    const double sums[6] = {1, 2, NAN, 3, 5, NAN}; /* two channels: pivots, sums, squares */
    float stats[CVY_GN_STATS * 2];

    cvy_gn_stats(sums, 2, 2, 2, 4, 1e-5, stats);
    const int bad = stats[4] == stats[4] || stats[5] == stats[5];
    if (bad)
        printf("FAILED: statistics of NaN\n");
    return bad;
}

/* Loads, stores and sums of 16 channels from any `first` on, of `end`, against the definition: exact. */
static int check_lanes(void)
{
    enum { AREA = 3, BLOCKS = 3, N = BLOCKS * AREA * VF, PIXEL = 1 };
    static float image[N], after[2][N], lane[VF], got[VF];

    for (int i = 0; i < N; i++)
        image[i] = (float)(i + 1);
    for (int l = 0; l < VF; l++)
        lane[l] = (float)(1000 + l);
    for (int end = 0; end <= BLOCKS * VF; end++)
        for (int first = -2 * VF; first <= BLOCKS * VF; first++) {
            float *const p = image + PIXEL * VF;
            const vf v = vf_loadu(lane), loaded = vf_load_lanes(p, AREA, first, end);
            memcpy(got, &loaded, sizeof got);
            memcpy(after[0], image, sizeof image), memcpy(after[1], image, sizeof image);
            vf_store_lanes(after[0] + PIXEL * VF, AREA, first, end, v);
            vf_add_lanes(after[1] + PIXEL * VF, AREA, first, end, v);
            float want[2][N];
            memcpy(want[0], image, sizeof image), memcpy(want[1], image, sizeof image);
            int wrong = 0;
            for (int l = 0; l < VF; l++) {
                const int c = first + l, at = c < 0 || c >= end ? -1 : (c / VF * AREA + PIXEL) * VF + c % VF;
                wrong |= got[l] != (at < 0 ? 0 : image[at]);
                if (at >= 0)
                    want[0][at] = lane[l], want[1][at] += lane[l];
            }
            wrong |= memcmp(want, after, sizeof want) != 0;
            if (wrong) {
                printf("FAILED: lanes from %d, of %d\n", first, end);
                return 1;
            }
        }
    printf("lanes ok\n");
    return 0;
}

int main(void)
{
    int failed = 0;

    if (!cvy_supported()) {
        printf("this processor cannot run it\n0 passed, 0 failed, %d skipped\n", TESTS);
        return 77;
    }
    for (int i = 0; i < CASES; i++)
        failed += check(i) + check_nan(i);
    failed += check_zero() + check_lanes() + check_nan_statistics();
    printf("%d passed, %d failed, 0 skipped\n", TESTS - failed, failed);
    return failed > 0;
}
