/* test_contract.c - a target's functions against plain C, lane by lane: on special values and on many others. Compiled
 * once for each target (meson.build); skipped where the processor cannot run it.
 *
 * runtime/vec/contract.h declares what a target offers: a function that is missing, or has another signature, does not
 * compile here. */
#include "../runtime/cvy_vec.h"

#include "../runtime/vec/contract.h"

#include <float.h>
#include <stdio.h>

enum { ROUNDS = 4000 };

static uint32_t word(void)
{
    static uint32_t state = 1;

    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
}

/* Any float. One of two is special, so that pairs of these come up often. */
static float any(void)
{
    static const float special[] = {0,   -0.0f,   1,       -1,       0.5f,     -0.5f,     1.5f,   2.5f,
                                    NAN, FLT_MIN, FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, 1e-41f, 16777215.0f};
    const uint32_t w = word();

    return w & 1 ? special[w >> 8 & 15] : ldexpf((float)(int32_t)word(), (int)(w >> 8 & 31) - 40);
}

/* To a whole number: halves, and numbers below 2^22. */
static float small(void)
{
    const uint32_t w = word();

    return w & 1 ? (float)(int32_t)(w >> 8 & 255) - 127.5f : ldexpf((float)(int32_t)word(), -10);
}

static float exponent(void)
{
    return (float)(int32_t)(word() % 254) - 126;
}

static float byte(void)
{
    return (float)(word() & 255);
}

/* ---- functions of floats ---- */

/* What the target makes of 16 times four operands, and what one lane must be. */
#define FORM(name, got, want)                                                                                          \
    static vf got_##name(vf x, vf y, vf a, vf b)                                                                       \
    {                                                                                                                  \
        (void)x, (void)y, (void)a, (void)b;                                                                            \
        return got;                                                                                                    \
    }                                                                                                                  \
    static float want_##name(float x, float y, float a, float b)                                                       \
    {                                                                                                                  \
        (void)x, (void)y, (void)a, (void)b;                                                                            \
        return want;                                                                                                   \
    }

static float fused(float x, float y, float z)
{
#if defined CVY_PORTABLE
    return x * y + z;
#else
    return fmaf(x, y, z);
#endif
}

static float power_of_two(float n)
{
    return ldexpf(1, (int)n);
}

FORM(add, vf_add(x, y), x + y)
FORM(sub, vf_sub(x, y), x - y)
FORM(mul, vf_mul(x, y), x *y)
FORM(div, vf_div(x, y), x / y)
FORM(fma, vf_fma(x, y, a), fused(x, y, a))
FORM(keep_fma, vf_keep_fma(x, y, a), fused(x, y, a))
FORM(abs, vf_abs(x), fabsf(x))
FORM(max, vf_max(x, y), x > y ? x : y)
FORM(min, vf_min(x, y), x < y ? x : y)
FORM(if_positive, vf_if_positive(x, a, b), x > 0 ? a : b)
FORM(unless, vf_unless_zero_or_below(x, a, b), x <= 0 ? b : a)
FORM(if_less, vf_if_less(x, y, a, b), x < y ? a : b)
FORM(if_equal, vf_if_equal(x, y, a), x == y ? a : 0)
FORM(round, vf_round(x), rintf(x))
FORM(exp2_int, vf_exp2_int(x), power_of_two(x))

static const struct Form {
    const char *name;
    float (*from)(void);
    vf (*got)(vf x, vf y, vf a, vf b);
    float (*want)(float x, float y, float a, float b);
} forms[] = {
    {"vf_add", any, got_add, want_add},
    {"vf_sub", any, got_sub, want_sub},
    {"vf_mul", any, got_mul, want_mul},
    {"vf_div", any, got_div, want_div},
    {"vf_fma", any, got_fma, want_fma},
    {"vf_keep_fma", any, got_keep_fma, want_keep_fma},
    {"vf_abs", any, got_abs, want_abs},
    {"vf_max", any, got_max, want_max},
    {"vf_min", any, got_min, want_min},
    {"vf_if_positive", any, got_if_positive, want_if_positive},
    {"vf_unless_zero_or_below", any, got_unless, want_unless},
    {"vf_if_less", any, got_if_less, want_if_less},
    {"vf_if_equal", any, got_if_equal, want_if_equal},
    {"vf_round", small, got_round, want_round},
    {"vf_exp2_int", exponent, got_exp2_int, want_exp2_int},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* The same bits, but a zero of vf_round may have either sign; or both a NaN. */
static int same(float a, float b, int zeros)
{
    return (a != a && b != b) || (zeros && a == 0 && b == 0) || memcmp(&a, &b, sizeof a) == 0;
}

static int check_form(const struct Form *f)
{
    for (int n = 0; n < ROUNDS; n++) {
        CVY_ALIGNED float in[4][VF], got[VF];
        for (int i = 0; i < 4 * VF; i++)
            in[i / VF][i % VF] = f->from();
        vf_store(got, f->got(vf_load(in[0]), vf_loadu(in[1]), vf_load(in[2]), vf_load(in[3])));
        for (int l = 0; l < VF; l++) {
            const float want = f->want(in[0][l], in[1][l], in[2][l], in[3][l]);
            if (same(got[l], want, f->from == small))
                continue;
            printf("FAILED: %s of %a, %a, %a, %a in lane %d: %a, not %a\n", f->name, (double)in[0][l], (double)in[1][l],
                   (double)in[2][l], (double)in[3][l], l, (double)got[l], (double)want);
            return 1;
        }
    }
    return 0;
}

/* ---- the others, each by itself; what failed, or NULL ---- */

static const char *check_routes(void)
{
    for (int n = 0; n < ROUNDS; n++) {
        CVY_ALIGNED float m[VF], route[VF], x[VF], got_m[VF], got_route[VF];
        const float tap = byte();
        uint8_t bytes[VF];
        for (int l = 0; l < VF; l++)
            m[l] = any(), x[l] = any(), route[l] = byte();
        vf best = vf_load(m), from = vf_load(route);
        vf_route(&best, &from, vf_load(x), tap);
        vf_store(got_m, best);
        vf_store_route(bytes, from);
        vf_store(got_route, vf_load_route(bytes));
        for (int l = 0; l < VF; l++) {
            const int won = x[l] > m[l] || x[l] != x[l];
            if (!same(got_m[l], won ? x[l] : m[l], 0) || got_route[l] != (won ? tap : route[l]))
                return "vf_route, vf_store_route or vf_load_route";
        }
    }
    return NULL;
}

static const char *check_doubles(void)
{
    for (int n = 0; n < ROUNDS; n++) {
        double sum[VF], before[VF];
        float got[VF], v[VF];
        for (int l = 0; l < VF; l++)
            before[l] = sum[l] = ldexp((double)(int32_t)word() * 65537.0 + (double)word(), -40), v[l] = small();
        vf_store(got, vf_zero());
        vf_add_to(sum, vf_loadu(v));
        vf from = vf_from_double(before);
        memcpy(got, &from, sizeof got);
        for (int l = 0; l < VF; l++)
            if (sum[l] != before[l] + (double)v[l] || got[l] != (float)before[l])
                return "vf_add_to or vf_from_double";
    }
    return NULL;
}

static const char *check_whole_numbers(void)
{
    for (int n = 0; n < ROUNDS; n++) {
        const uint32_t first = word(), step = word(), a = word(), b = word(), at = word();
        const int by = 1 + (int)(word() % 31);
        const vu x = vu_lanes(first, step);
        const vu y = vu_xor(vu_shift_xor(vu_add(vu_mul(x, vu_set(a)), vu_set(b)), by), vu_set(at));
        CVY_ALIGNED float got[VF];
        uint32_t bits[VF];
        memcpy(bits, &y, sizeof bits);
        vf_store(got, vu_if_at_least(y, vu_set(b), vf_set(2)));
        for (int l = 0; l < VF; l++) {
            const uint32_t product = (first + (uint32_t)l * step) * a + b, want = product ^ product >> by ^ at;
            if (bits[l] != want || got[l] != (want >= b ? 2.0f : 0.0f))
                return "a function of a vu";
        }
    }
    return NULL;
}

static const char *check_quads(void)
{
    float from[4 * VF];
    for (int i = 0; i < 4 * VF; i++)
        from[i] = (float)i;
    for (int n = 0; n < ROUNDS; n++) {
        int at[4];
        float got[VF];
        for (int i = 0; i < 4; i++)
            at[i] = (int)(word() % (4 * VF - 3));
        const vf v = vf_load_quads(from + at[0], from + at[1], from + at[2], from + at[3]);
        memcpy(got, &v, sizeof got);
        for (int l = 0; l < VF; l++)
            if (got[l] != (float)(at[l / 4] + l % 4))
                return "vf_load_quads";
    }
    return NULL;
}

static const char *check_transpose(void)
{
    enum { STEP = 3 * VF + 1, TO_STEP = 2 * VF };
    static CVY_ALIGNED float from[VF * STEP], to[VF * TO_STEP];

    for (int i = 0; i < VF * STEP; i++)
        from[i] = any();
    for (int at = 0; at < 2 * VF; at++) {
        vf_transpose(from + at, STEP, to, TO_STEP);
        for (int i = 0; i < VF; i++)
            for (int j = 0; j < VF; j++)
                if (!same(to[j * TO_STEP + i], from[at + i * STEP + j], 0) || to[j * TO_STEP + VF + i] != 0)
                    return "vf_transpose";
    }
    return NULL;
}

static const char *check_parts(void)
{
    for (int n = 0; n < ROUNDS; n++) {
        CVY_ALIGNED float x[VF], y[VF], z[VF], got[VF];
        for (int l = 0; l < VF; l++)
            x[l] = any(), y[l] = any(), z[l] = any();
        for (int h = 0; h < VF; h += VH) {
            const vh a = vh_load(x + h), b = vh_load(y + h), c = vh_load(z + h);
            vh_store(got + h, vh_fma(vh_add(a, b), vh_sub(a, c), vh_mul(b, vh_set(3))));
        }
        for (int l = 0; l < VF; l++)
            if (!same(got[l], fused(x[l] + y[l], x[l] - z[l], y[l] * 3), 0))
                return "a function of a vh";
    }
    return NULL;
}

static const char *check_permute(void)
{
#if defined CVY_OWN_PERMUTE
    for (int n = 0; n < ROUNDS; n++) {
        int lane[VF];
        CVY_ALIGNED float x[VF], got[VF];
        for (int l = 0; l < VF; l++)
            x[l] = any(), lane[l] = (int)(word() % 17) - 1;
        vf_store(got, vf_permute(vf_load(x), vp_load(lane)));
        for (int l = 0; l < VF; l++)
            if (!same(got[l], lane[l] < 0 ? 0 : x[lane[l]], 0))
                return "vf_permute";
    }
#endif
    return NULL;
}

static const char *check_chains(void)
{
    return CVY_CHAINS == 3 || CVY_CHAINS == 5 || CVY_CHAINS == 10 ? NULL : "CVY_CHAINS is none of 3, 5, 10";
}

int main(void)
{
    static const char *(*const others[])(void) = {check_routes,    check_doubles, check_whole_numbers, check_quads,
                                                  check_transpose, check_parts,   check_permute,       check_chains};
    enum { OTHERS = sizeof others / sizeof *others };
    int failed = 0;

    if (!cvy_supported()) {
        printf("this processor cannot run it\n0 passed, 0 failed, %d skipped\n", FORMS + OTHERS);
        return 77;
    }
    for (int i = 0; i < FORMS; i++)
        failed += check_form(&forms[i]);
    for (int i = 0; i < OTHERS; i++) {
        const char *wrong = others[i]();
        if (wrong)
            printf("FAILED: %s\n", wrong);
        failed += wrong != NULL;
    }
    printf("%d passed, %d failed, 0 skipped\n", FORMS + OTHERS - failed, failed);
    return failed > 0;
}
