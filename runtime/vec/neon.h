/* neon.h - a vf in four registers of a 64-bit ARM processor. What each function means stands in convoy's
 * runtime/vec/contract.h. SPDX-License-Identifier: 0BSD */

#if !defined __aarch64__ || !defined __ARM_NEON
#error "this network was emitted for neon: compile it for a 64-bit ARM processor (or emit it for another target)"
#endif
#include <arm_neon.h>
typedef struct vf {
    float32x4_t a, b, c, d;
} vf;
typedef struct vu {
    uint32x4_t a, b, c, d;
} vu;

CVY_INLINE vf vf_four(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
    vf r;
    r.a = a;
    r.b = b;
    r.c = c;
    r.d = d;
    return r;
}
CVY_INLINE vu vu_four(uint32x4_t a, uint32x4_t b, uint32x4_t c, uint32x4_t d)
{
    vu r;
    r.a = a;
    r.b = b;
    r.c = c;
    r.d = d;
    return r;
}
#define CVY_FOUR(f, x, y) f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)
CVY_INLINE vf vf_set(float x)
{
    const float32x4_t s = vdupq_n_f32(x);
    return vf_four(s, s, s, s);
}
CVY_INLINE vf vf_load(const float *p)
{
    return vf_four(vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12));
}
CVY_INLINE vf vf_loadu(const float *p) { return vf_load(p); }
CVY_INLINE void vf_store(float *p, vf v)
{
    vst1q_f32(p, v.a), vst1q_f32(p + 4, v.b), vst1q_f32(p + 8, v.c), vst1q_f32(p + 12, v.d);
}
CVY_INLINE vf vf_add(vf x, vf y) { return vf_four(CVY_FOUR(vaddq_f32, x, y)); }
CVY_INLINE vf vf_sub(vf x, vf y) { return vf_four(CVY_FOUR(vsubq_f32, x, y)); }
CVY_INLINE vf vf_mul(vf x, vf y) { return vf_four(CVY_FOUR(vmulq_f32, x, y)); }
CVY_INLINE vf vf_div(vf x, vf y) { return vf_four(CVY_FOUR(vdivq_f32, x, y)); }
CVY_INLINE vf vf_fma(vf x, vf y, vf z)
{
    return vf_four(vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
                   vfmaq_f32(z.d, x.d, y.d));
}
/* x where m has ones, y where it has zeros */
CVY_INLINE vf vf_pick(vu m, vf x, vf y)
{
    return vf_four(vbslq_f32(m.a, x.a, y.a), vbslq_f32(m.b, x.b, y.b), vbslq_f32(m.c, x.c, y.c),
                   vbslq_f32(m.d, x.d, y.d));
}
/* Not vmaxq, which gives a NaN wherever one operand is one. */
CVY_INLINE vf vf_max(vf x, vf y) { return vf_pick(vu_four(CVY_FOUR(vcgtq_f32, x, y)), x, y); }
CVY_INLINE vf vf_min(vf x, vf y) { return vf_pick(vu_four(CVY_FOUR(vcltq_f32, x, y)), x, y); }
CVY_INLINE vf vf_if_positive(vf x, vf p, vf q)
{
    const vf zero = vf_set(0);
    return vf_pick(vu_four(CVY_FOUR(vcgtq_f32, x, zero)), p, q);
}
CVY_INLINE vf vf_unless_zero_or_below(vf x, vf p, vf q)
{
    const vf zero = vf_set(0);
    return vf_pick(vu_four(CVY_FOUR(vcleq_f32, x, zero)), q, p);
}
CVY_INLINE vf vf_if_less(vf x, vf y, vf p, vf q) { return vf_pick(vu_four(CVY_FOUR(vcltq_f32, x, y)), p, q); }
CVY_INLINE vf vf_if_equal(vf x, vf y, vf p) { return vf_pick(vu_four(CVY_FOUR(vceqq_f32, x, y)), p, vf_set(0)); }
CVY_INLINE vf vf_abs(vf v) { return vf_four(vabsq_f32(v.a), vabsq_f32(v.b), vabsq_f32(v.c), vabsq_f32(v.d)); }
CVY_INLINE void vf_route(vf *m, vf *route, vf x, float t)
{
    const vu over = vu_four(CVY_FOUR(vcgtq_f32, x, *m)), number = vu_four(CVY_FOUR(vceqq_f32, x, x));
    const vu won = vu_four(CVY_FOUR(vornq_u32, over, number));
    *m = vf_pick(won, x, *m);
    *route = vf_pick(won, vf_set(t), *route);
}
CVY_INLINE void vf_store_route(uint8_t *p, vf route)
{
    const uint16x8_t low = vcombine_u16(vmovn_u32(vcvtq_u32_f32(route.a)), vmovn_u32(vcvtq_u32_f32(route.b)));
    const uint16x8_t high = vcombine_u16(vmovn_u32(vcvtq_u32_f32(route.c)), vmovn_u32(vcvtq_u32_f32(route.d)));
    vst1q_u8(p, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}
CVY_INLINE vf vf_load_route(const uint8_t *p)
{
    const uint8x16_t b = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(b)), high = vmovl_u8(vget_high_u8(b));
    return vf_four(vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
                   vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(high))));
}
CVY_INLINE void vf_add_to_part(double *d, float32x4_t v)
{
    vst1q_f64(d, vaddq_f64(vld1q_f64(d), vcvt_f64_f32(vget_low_f32(v))));
    vst1q_f64(d + 2, vaddq_f64(vld1q_f64(d + 2), vcvt_high_f64_f32(v)));
}
CVY_INLINE void vf_add_to(double *d, vf v)
{
    vf_add_to_part(d, v.a), vf_add_to_part(d + 4, v.b), vf_add_to_part(d + 8, v.c), vf_add_to_part(d + 12, v.d);
}
CVY_INLINE float32x4_t vf_exp2_part(float32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
CVY_INLINE vf vf_exp2_int(vf n)
{
    return vf_four(vf_exp2_part(n.a), vf_exp2_part(n.b), vf_exp2_part(n.c), vf_exp2_part(n.d));
}
CVY_INLINE vf vf_round(vf v) { return vf_four(vrndnq_f32(v.a), vrndnq_f32(v.b), vrndnq_f32(v.c), vrndnq_f32(v.d)); }
CVY_INLINE vu vu_set(uint32_t x)
{
    const uint32x4_t s = vdupq_n_u32(x);
    return vu_four(s, s, s, s);
}
CVY_INLINE vu vu_add(vu x, vu y) { return vu_four(CVY_FOUR(vaddq_u32, x, y)); }
CVY_INLINE vu vu_mul(vu x, vu y) { return vu_four(CVY_FOUR(vmulq_u32, x, y)); }
CVY_INLINE vu vu_xor(vu x, vu y) { return vu_four(CVY_FOUR(veorq_u32, x, y)); }
CVY_INLINE vu vu_shift_xor(vu x, int n)
{
    const int32x4_t s = vdupq_n_s32(-n);
    return vu_xor(x, vu_four(vshlq_u32(x.a, s), vshlq_u32(x.b, s), vshlq_u32(x.c, s), vshlq_u32(x.d, s)));
}
CVY_INLINE vu vu_lanes(uint32_t first, uint32_t step)
{
    static const uint32_t lane[4] = {0, 1, 2, 3};
    const uint32x4_t a = vmlaq_n_u32(vdupq_n_u32(first), vld1q_u32(lane), step), four = vdupq_n_u32(4 * step);
    const uint32x4_t b = vaddq_u32(a, four), c = vaddq_u32(b, four);
    return vu_four(a, b, c, vaddq_u32(c, four));
}
CVY_INLINE vf vu_if_at_least(vu x, vu y, vf v) { return vf_pick(vu_four(CVY_FOUR(vcgeq_u32, x, y)), v, vf_set(0)); }

#define CVY_OWN_VH 1
enum { VH = 4 };
typedef float32x4_t vh;
CVY_INLINE vh vh_set(float x) { return vdupq_n_f32(x); }
CVY_INLINE vh vh_load(const float *p) { return vld1q_f32(p); }
CVY_INLINE void vh_store(float *p, vh v) { vst1q_f32(p, v); }
CVY_INLINE vh vh_add(vh a, vh b) { return vaddq_f32(a, b); }
CVY_INLINE vh vh_sub(vh a, vh b) { return vsubq_f32(a, b); }
CVY_INLINE vh vh_mul(vh a, vh b) { return vmulq_f32(a, b); }
CVY_INLINE vh vh_fma(vh a, vh b, vh c) { return vfmaq_f32(c, a, b); }

enum { CVY_CHAINS = 5 }; /* independent multiply-adds that keep the processor busy, and fit its registers */

/* Whether the processor has these instructions. Every 64-bit ARM has. */
CVY_INLINE int cvy_supported(void) { return 1; }
