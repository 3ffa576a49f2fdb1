/* test_vec.c - the activations of cvy_vec.h, and their backward, against double: a walk over the floats from -100 to 100, and the edges. Then lanes
 * that begin anywhere.
 * Compiled once for each target (meson.build); skipped where the processor cannot run it.
 *
 *   test_vec */
#define _GNU_SOURCE
#include "../runtime/cvy_vec.h"

#include <float.h>
#include <stdio.h>

typedef struct Sample {
    double y, slope;
} Sample;

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static Sample elu(double x, double alpha)
{
    return x > 0 ? (Sample){x, 1} : (Sample){alpha * expm1(x), alpha * exp(x)};
}

static Sample want_elu(double x)
{
    return elu(x, 0.7f);
}

static Sample want_selu(double x)
{
    const Sample s = elu(x, 1.6732632423543772);

    return (Sample){1.0507009873554805 * s.y, 1.0507009873554805 * s.slope};
}

static Sample want_gelu(double x)
{
    const double below = 0.5 * erfc(-x / sqrt(2));

    return (Sample){x * below, below + x * exp(-x * x / 2) / sqrt(2 * acos(-1))};
}

static double log_1_exp(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static Sample want_mish(double x)
{
    const double t = tanh(log_1_exp(x));

    return (Sample){x * t, t + x * (1 - t * t) * sigmoid(x)};
}

static Sample want_softplus(double x)
{
    return (Sample){log_1_exp(x), sigmoid(x)};
}

static Sample want_relu(double x)
{
    return (Sample){x > 0 ? x : 0, x > 0};
}

static Sample want_leaky(double x)
{
    return (Sample){x > 0 ? x : 0.125 * x, x > 0 ? 1 : 0.125};
}

static Sample want_general_plain(double x)
{
    return (Sample){(x > 0 ? x : 0.125 * x) - 0.5, x > 0 ? 1 : 0.125};
}

static Sample want_general_relu(double x)
{
    const double y = (x > 0 ? x : 0.125 * x) - 0.5;
    return (Sample){y > 2.5 ? 2.5 : y, y > 2.5 ? 0 : x > 0 ? 1 : 0.125};
}

static Sample want_relu6(double x)
{
    return (Sample){x <= 0 ? 0 : x < 6 ? x : 6, x > 0 && x < 6};
}

static Sample want_hard_sigmoid(double x)
{
    return (Sample){x <= -3 ? 0 : x < 3 ? (x + 3) / 6 : 1, x > -3 && x < 3 ? 1.0 / 6 : 0};
}

static Sample want_hard_swish(double x)
{
    return x <= -3 ? (Sample){0, 0} : x < 3 ? (Sample){x * (x + 3) / 6, x / 3 + 0.5} : (Sample){x, 1};
}

static Sample want_sigmoid(double x)
{
    return (Sample){sigmoid(x), sigmoid(x) * sigmoid(-x)};
}

static Sample want_silu(double x)
{
    return (Sample){x * sigmoid(x), sigmoid(x) + x * sigmoid(x) * sigmoid(-x)};
}

static Sample want_tanh(double x)
{
    return (Sample){tanh(x), 1 - tanh(x) * tanh(x)};
}

/* How far off each may be, of its value, where that is above `floor`; the slope, of the largest slope. */
typedef struct Case {
    const char *name;
    Sample (*want)(double);
    double value, floor, slope;
    double slope_of_nan; /* where x is not a number: the gradient that PyTorch passes, NAN if it is none */
} Case;

enum { RELU, LEAKY, GENERAL_RELU_PLAIN, ELU, SELU, GELU, MISH, SOFTPLUS, RELU6, HARD_SIGMOID, HARD_SWISH, GENERAL_RELU, SIGMOID, SILU, TANH, CASES, TESTS = 2 * CASES + 3 };
static const Case cases[CASES] = {
    {"relu", want_relu, 0, 1, 0, 1},
    {"leaky_relu", want_leaky, 1e-7, 1, 0, 0.125},
    {"general_relu without a maximum", want_general_plain, 1e-7, 1, 0, 0.125},
    {"elu", want_elu, 3e-7, 1e-30, 3e-7, NAN},
    {"selu", want_selu, 4e-7, 1e-30, 4e-7, NAN},
    {"gelu", want_gelu, 7e-7, 1e-4, 4e-7, NAN},
    {"mish", want_mish, 6e-7, 1e-30, 6e-7, NAN},
    {"softplus", want_softplus, 4e-7, 1e-30, 3e-7, NAN},
    {"relu6", want_relu6, 0, 1, 0, 0},
    {"hard_sigmoid", want_hard_sigmoid, 1.3e-7, 1, 1.3e-7, 0},
    {"hard_swish", want_hard_swish, 2e-7, 1, 2e-7, NAN},
    {"general_relu", want_general_relu, 1.3e-7, 1, 1e-8, 0},
    {"sigmoid", want_sigmoid, 4e-7, 1e-30, 3e-7, NAN},
    {"silu", want_silu, 5e-7, 1e-30, 1.2e-6, NAN},
    {"tanh", want_tanh, 3e-7, 1e-30, 4e-7, NAN},
};

/* Forward on 16 values, then back, with a gradient of 1: from the output, or from the input, as the op table says. */
static void run(int which, vf x, vf *y, vf *slope)
{
    const vf one = vf_set(1.0f);

    switch (which) {
    case RELU:
        *y = vf_relu(x), *slope = vf_relu_back(one, *y);
        return;
    case LEAKY:
        *y = vf_leaky(x, 0.125f), *slope = vf_leaky_back(one, *y, 0.125f);
        return;
    case GENERAL_RELU_PLAIN:
        *y = vf_general_relu(x, 0.125f, 0.5f, FLT_MAX), *slope = vf_general_relu_back(one, x, 0.125f, 0.5f, FLT_MAX);
        return;
    case ELU:
        *y = vf_elu(x, 0.7f), *slope = vf_elu_back(one, *y, 0.7f);
        return;
    case SELU:
        *y = vf_selu(x), *slope = vf_selu_back(one, *y);
        return;
    case GELU:
        *y = vf_gelu(x), *slope = vf_gelu_back(one, x);
        return;
    case MISH:
        *y = vf_mish(x), *slope = vf_mish_back(one, x);
        return;
    case SOFTPLUS:
        *y = vf_softplus(x), *slope = vf_softplus_back(one, *y);
        return;
    case RELU6:
        *y = vf_relu6(x), *slope = vf_relu6_back(one, *y);
        return;
    case HARD_SIGMOID:
        *y = vf_hard_sigmoid(x), *slope = vf_hard_sigmoid_back(one, *y);
        return;
    case HARD_SWISH:
        *y = vf_hard_swish(x), *slope = vf_hard_swish_back(one, x);
        return;
    case GENERAL_RELU: /* at its most, 3, it still passes a gradient */
        *y = vf_general_relu(x, 0.125f, 0.5f, 2.5f), *slope = vf_general_relu_back(one, x, 0.125f, 0.5f, 2.5f);
        return;
    case SIGMOID:
        *y = vf_sigmoid(x), *slope = vf_sigmoid_back(one, *y);
        return;
    case SILU:
        *y = vf_silu(x), *slope = vf_silu_back(one, x);
        return;
    default:
        *y = vf_tanh(x), *slope = vf_tanh_back(one, *y);
    }
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
    double worst = 0, worst_slope = 0;
    float where = 0, where_slope = 0;
    int bad = 0;

    for (int i = 0; i < 40000; i += VF) {
        float x[VF], y[VF], slope[VF];
        vf vy, vs;
        for (int l = 0; l < VF; l++)
            x[l] = walk(i + l);
        run(which, vf_loadu(x), &vy, &vs);
        memcpy(y, &vy, sizeof y);
        memcpy(slope, &vs, sizeof slope);
        for (int l = 0; l < VF; l++) {
            const Sample w = c->want((double)x[l]);
            const double size = fabs(w.y) > c->floor ? fabs(w.y) : c->floor;
            const double off = fabs((double)y[l] - w.y) / size, off_slope = fabs((double)slope[l] - w.slope);
            if (!(off <= worst))
                worst = off, where = x[l];
            if (!(off_slope <= worst_slope) && x[l] != 3 && x[l] != -3)
                worst_slope = off_slope, where_slope = x[l];
            bad += (fabs(w.y) > 1e-36 && !(off <= c->value)) || !(off_slope <= c->slope);
        }
    }
    printf("%-12s value off by %.2g of itself (at %.9g), slope by %.2g (at %.9g): %s\n", c->name, worst, (double)where, worst_slope,
           (double)where_slope, bad ? "FAILED" : "ok");
    return bad > 0;
}

/* 0 stays 0 where the op table says that padding channels stay zero. */
static int check_zero(void)
{
    int bad = 0;

    for (int i = 0; i < CASES; i++) {
        const double at_zero = cases[i].want(0).y;
        vf y, slope;
        float first;
        run(i, vf_zero(), &y, &slope);
        memcpy(&first, &y, sizeof first);
        bad += at_zero == 0 && first != 0;
    }
    printf("zeros %s\n", bad ? "FAILED" : "ok");
    return bad > 0;
}

/* A NaN in some lanes, of either sign: a NaN comes out there and nowhere else; the slopes are PyTorch's, and a gradient that is none
 * is none behind it, but where PyTorch's is zero. */
static int check_nan(int which)
{
    const Case *c = &cases[which];
    float x[VF], y[VF], clean[VF], slope[VF];
    vf vy, vs;
    int bad = 0;

    for (int at = 0; at < VF; at++) {
        for (int l = 0; l < VF; l++)
            x[l] = 0.7f * (float)l - 5.0f;
        run(which, vf_loadu(x), &vy, &vs);
        memcpy(clean, &vy, sizeof clean);
        x[at] = NAN, x[(at + 5) % VF] = -NAN;
        run(which, vf_loadu(x), &vy, &vs);
        memcpy(y, &vy, sizeof y);
        memcpy(slope, &vs, sizeof slope);
        for (int l = 0; l < VF; l++)
            if (l != at && l != (at + 5) % VF)
                bad += y[l] != clean[l] || slope[l] != slope[l];
            else
                bad += y[l] == y[l] || (c->slope_of_nan == c->slope_of_nan ? (double)slope[l] != c->slope_of_nan : slope[l] == slope[l]);
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

#if defined CVY_AVX2 || defined CVY_AVX512
#if defined CVY_AVX512
    const int runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
#else
    const int runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    if (!runs) {
        printf("this processor cannot run it\n0 passed, 0 failed, %d skipped\n", TESTS);
        return 77;
    }
#endif
    for (int i = 0; i < CASES; i++)
        failed += check(i) + check_nan(i);
    failed += check_zero() + check_lanes() + check_nan_statistics();
    printf("%d passed, %d failed, 0 skipped\n", TESTS - failed, failed);
    return failed > 0;
}
