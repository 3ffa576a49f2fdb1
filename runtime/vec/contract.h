/* contract.h - what a target's header offers, and what each of its functions means. Nothing that is emitted includes
 * this: tests/test_contract.c does, after the target's header. A function that is missing, or has another signature,
 * does not compile there, and what the others give is compared with plain C.
 *
 * A header defines the types `vf`, 16 floats, and `vu`, 16 unsigned integers of 32 bits. A function treats each lane
 * for itself, in float, rounded to nearest. A comparison with a NaN is false. A NaN in an operand of +, -, *, / or fma
 * comes out; what vf_round and vf_exp2_int make of one is anything.
 * SPDX-License-Identifier: 0BSD */

/* ---- memory ---- */
static vf vf_set(float x);            /* x in each lane */
static vf vf_load(const float *p);    /* 16 floats; p is aligned to 64 bytes */
static vf vf_loadu(const float *p);   /* p as floats are aligned */
static void vf_store(float *p, vf v); /* p is aligned to 64 bytes */

/* ---- arithmetic ---- */
static vf vf_add(vf x, vf y);
static vf vf_sub(vf x, vf y);
static vf vf_mul(vf x, vf y);
static vf vf_div(vf x, vf y);
static vf vf_fma(vf x, vf y, vf z); /* x * y + z, rounded once; on portable twice */
static vf vf_abs(vf v);
static vf vf_round(vf v);    /* to a whole number, halves to even; |v| < 2^22 */
static vf vf_exp2_int(vf n); /* 2^n; n whole, -126 .. 127 */

/* ---- choice: the result is a or b to the bit ---- */
static vf vf_max(vf x, vf y);                        /* x > y ? x : y. What may be a NaN stands second, and comes out */
static vf vf_min(vf x, vf y);                        /* x < y ? x : y */
static vf vf_if_positive(vf x, vf a, vf b);          /* x > 0 ? a : b */
static vf vf_unless_zero_or_below(vf x, vf a, vf b); /* x <= 0 ? b : a, so a where x is a NaN */
static vf vf_if_less(vf x, vf y, vf a, vf b);        /* x < y ? a : b */
static vf vf_if_equal(vf x, vf y, vf a);             /* x == y ? a : 0 */

/* ---- pools: the largest value so far, and the tap that it came from ---- */
static void vf_route(vf *m, vf *route, vf x, float t); /* where x > *m, or x is a NaN: *m = x, *route = t */
static void vf_store_route(uint8_t *p, vf route);      /* whole numbers, 0 .. 255, a byte each */
static vf vf_load_route(const uint8_t *p);             /* and back */

/* ---- sums ---- */
static void vf_add_to(double *d, vf v); /* adds each lane, as a double, to its own of 16 */

/* ---- whole numbers, modulo 2^32 ---- */
static vu vu_set(uint32_t x);
static vu vu_lanes(uint32_t first, uint32_t step); /* first, first + step, first + 2 step, ... */
static vu vu_add(vu x, vu y);
static vu vu_mul(vu x, vu y);
static vu vu_xor(vu x, vu y);
static vu vu_shift_xor(vu x, int n);        /* x ^ (x >> n), n = 1 .. 31 */
static vf vu_if_at_least(vu x, vu y, vf v); /* x >= y ? v : 0 */

/* ---- the machine ---- */
/* Also `enum { CVY_CHAINS }`: how many independent multiply-adds keep the processor busy and fit its registers, 3, 5 or
 * 10. `NAME bench` measures the peak with so many. */
static int cvy_supported(void); /* whether the processor has the instructions; needs none of them itself */

/* ---- what a target may do in its own way. It defines the macro then; general.h has the others' ---- */
static vf vf_keep_fma(vf x, vf y, vf sum); /* CVY_OWN_KEEP_FMA: vf_fma, whose sum stays in the register that it is in */
/* CVY_OWN_QUADS: four times four floats, aligned as floats are, one after the other */
static vf vf_load_quads(const float *p, const float *q, const float *r, const float *s);
/* CVY_OWN_TRANSPOSE: to[j * to_step + i] = from[i * step + j], i and j < 16; `to` and to_step as vf_store has them */
static void vf_transpose(const float *from, ptrdiff_t step, float *to, ptrdiff_t to_step);
static vf vf_from_double(const double *d); /* CVY_OWN_FROM_DOUBLE: 16 doubles, each rounded to a float */
/* CVY_OWN_VH: `vh`, a part of a vf that fits one register, in which transforms compute, and `enum { VH }`, its floats.
 * The functions are those of a vf. */
static vh vh_set(float x);
static vh vh_load(const float *p); /* p is aligned to the size of a vh */
static void vh_store(float *p, vh v);
static vh vh_add(vh x, vh y);
static vh vh_sub(vh x, vh y);
static vh vh_mul(vh x, vh y);
static vh vh_fma(vh x, vh y, vh z);
#if defined CVY_OWN_PERMUTE         /* there is no general form: lanes go through memory then */
static vp vp_load(const int *lane); /* for each lane the one that it takes, 0 .. 15, or -1: none, it becomes zero */
static vf vf_permute(vf v, vp p);
#endif
