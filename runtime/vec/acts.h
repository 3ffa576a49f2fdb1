/* acts.h - activations, and their slopes times the gradient. Where v is not a number the result is none, as in PyTorch;
 * in backward, too.
 * SPDX-License-Identifier: 0BSD */

CVY_INLINE vf vf_relu(vf v) { return vf_max(vf_zero(), v); }
/* g, but zero where the relu's input (or output) was zero or below */
CVY_INLINE vf vf_relu_back(vf g, vf x) { return vf_unless_zero_or_below(x, g, vf_zero()); }
CVY_INLINE vf vf_leaky_relu(vf v, float slope) { return vf_if_positive(v, v, vf_mul(v, vf_set(slope))); }
CVY_INLINE vf vf_leaky_relu_back(vf g, vf x, float slope) { return vf_if_positive(x, g, vf_mul(g, vf_set(slope))); }

/* v = n ln 2 + r with |r| <= ln 2 / 2, v clamped to [-87, 88]; returns (e^r - 1) / r, Taylor to r^6, and 2^n */
CVY_INLINE vf vf_exp_parts(vf v, vf *r, vf *power)
{
    v = vf_min(vf_set(88.0f), vf_max(vf_set(-87.0f), v));
    const vf n = vf_round(vf_mul(v, vf_set(1.442695f)));
    *r = vf_fma(n, vf_set(-(355.0f / 512.0f)), v); /* ln 2 in two parts */
    *r = vf_fma(n, vf_set(2.12194440e-4f), *r);
    *power = vf_exp2_int(n);
    vf p = vf_set(1.0f / 5040);
    p = vf_fma(p, *r, vf_set(1.0f / 720));
    p = vf_fma(p, *r, vf_set(1.0f / 120));
    p = vf_fma(p, *r, vf_set(1.0f / 24));
    p = vf_fma(p, *r, vf_set(1.0f / 6));
    p = vf_fma(p, *r, vf_set(0.5f));
    return vf_fma(p, *r, vf_set(1.0f));
}
/* e^v, relative error below 2e-7 on [-87, 88] */
CVY_INLINE vf vf_exp(vf v)
{
    vf r, power;
    const vf p = vf_exp_parts(v, &r, &power);
    return vf_mul(vf_fma(p, r, vf_set(1.0f)), power);
}
/* e^v - 1, as accurate near zero, too */
CVY_INLINE vf vf_expm1(vf v)
{
    vf r, power;
    const vf p = vf_exp_parts(v, &r, &power);
    return vf_fma(vf_mul(p, r), power, vf_sub(power, vf_set(1.0f)));
}
/* ln(1 + u) for u in [0, 1]: 2 artanh(s) with s = u / (2 + u) <= 1/3, its series to s^15 */
CVY_INLINE vf vf_log1p(vf u)
{
    const vf s = vf_div(u, vf_add(u, vf_set(2.0f))), z = vf_mul(s, s);
    vf p = vf_set(2.0f / 15);
    p = vf_fma(p, z, vf_set(2.0f / 13));
    p = vf_fma(p, z, vf_set(2.0f / 11));
    p = vf_fma(p, z, vf_set(2.0f / 9));
    p = vf_fma(p, z, vf_set(2.0f / 7));
    p = vf_fma(p, z, vf_set(2.0f / 5));
    p = vf_fma(p, z, vf_set(2.0f / 3));
    p = vf_fma(p, z, vf_set(2.0f));
    return vf_mul(p, s);
}
CVY_INLINE vf vf_sigmoid(vf v) { return vf_div(vf_set(1), vf_add(vf_set(1), vf_exp(vf_sub(vf_zero(), v)))); }
CVY_INLINE vf vf_sigmoid_back(vf g, vf y) { return vf_mul(g, vf_mul(y, vf_sub(vf_set(1), y))); }
/* 1 - 2 / (e^2v + 1); near zero, where that cancels, v + v^3 p(v^2) (coefficients: Cephes tanhf) */
CVY_INLINE vf vf_tanh(vf v)
{
    const vf z = vf_mul(v, v), e = vf_exp(vf_add(v, v));
    const vf far = vf_sub(vf_set(1), vf_div(vf_set(2), vf_add(e, vf_set(1))));
    vf p = vf_set(-0.0057049887f);
    p = vf_fma(p, z, vf_set(0.020639088f));
    p = vf_fma(p, z, vf_set(-0.053739715f));
    p = vf_fma(p, z, vf_set(0.13331442f));
    p = vf_fma(p, z, vf_set(-0.3333328f));
    return vf_if_less(vf_abs(v), vf_set(0.625f), vf_fma(vf_mul(p, z), v, v), far);
}
CVY_INLINE vf vf_tanh_back(vf g, vf y) { return vf_mul(g, vf_sub(vf_set(1), vf_mul(y, y))); }
CVY_INLINE vf vf_silu(vf v) { return vf_mul(v, vf_sigmoid(v)); }
CVY_INLINE vf vf_silu_back(vf g, vf x)
{
    const vf s = vf_sigmoid(x);
    return vf_mul(g, vf_fma(vf_mul(x, s), vf_sub(vf_set(1), s), s)); /* s + x s (1 - s) */
}

/* v above zero, alpha (e^v - 1) below */
CVY_INLINE vf vf_elu(vf v, float alpha)
{
    return vf_if_positive(v, v, vf_mul(vf_expm1(vf_min(vf_zero(), v)), vf_set(alpha)));
}
CVY_INLINE vf vf_elu_back(vf g, vf y, float alpha) { return vf_if_positive(y, g, vf_mul(g, vf_add(y, vf_set(alpha)))); }
/* Klambauer et al. 2017: elu of alpha 1.67326, times 1.05070 */
CVY_INLINE vf vf_selu(vf v)
{
    return vf_if_positive(v, vf_mul(v, vf_set(1.050701f)), vf_mul(vf_expm1(vf_min(vf_zero(), v)), vf_set(1.7580993f)));
}
CVY_INLINE vf vf_selu_back(vf g, vf y)
{
    return vf_mul(g, vf_if_positive(y, vf_set(1.050701f), vf_add(y, vf_set(1.7580993f))));
}
/* The normal distribution: its integral up to v, and *bell = e^(-v^2 / 2). For -|v| it is bell times a polynomial in
 * 1 / (1 + 0.35 |v|), a minimax fit whose relative error is below 4e-8 down to v = -13; so the tail is as accurate as
 * the middle. */
CVY_INLINE vf vf_normal(vf v, vf *bell)
{
    const vf t = vf_div(vf_set(1.0f), vf_fma(vf_abs(v), vf_set(0.35f), vf_set(1.0f)));
    *bell = vf_exp(vf_mul(vf_mul(v, v), vf_set(-0.5f)));
    vf p = vf_set(-0.02911512f);
    p = vf_fma(p, t, vf_set(0.14381891f));
    p = vf_fma(p, t, vf_set(-0.255392f));
    p = vf_fma(p, t, vf_set(0.15879764f));
    p = vf_fma(p, t, vf_set(-0.022844132f));
    p = vf_fma(p, t, vf_set(0.105392426f));
    p = vf_fma(p, t, vf_set(0.119863026f));
    p = vf_fma(p, t, vf_set(0.13985758f));
    p = vf_fma(p, t, vf_set(0.13962166f));
    const vf below = vf_mul(vf_mul(p, t), *bell);
    return vf_if_positive(v, vf_sub(vf_set(1.0f), below), below);
}
CVY_INLINE vf vf_gelu(vf v)
{
    vf bell;
    return vf_mul(v, vf_normal(v, &bell));
}
CVY_INLINE vf vf_gelu_back(vf g, vf x)
{
    vf bell;
    const vf below = vf_normal(x, &bell);
    return vf_mul(g, vf_fma(vf_mul(x, bell), vf_set(0.3989423f), below)); /* the integral + x the density */
}
/* v tanh(ln(1 + e^v)) = v n / (n + 2) with n = e^v (e^v + 2); past 20 it is v */
CVY_INLINE vf vf_mish(vf v)
{
    const vf e = vf_exp(vf_min(vf_set(20.0f), v)), n = vf_mul(e, vf_add(e, vf_set(2.0f)));
    return vf_mul(v, vf_div(n, vf_add(n, vf_set(2.0f))));
}
CVY_INLINE vf vf_mish_back(vf g, vf x)
{
    const vf e = vf_exp(vf_min(vf_set(20.0f), x)), n = vf_mul(e, vf_add(e, vf_set(2.0f))), m = vf_add(n, vf_set(2.0f));
    const vf slope =
        vf_div(vf_mul(vf_mul(vf_set(4.0f), e), vf_add(e, vf_set(1.0f))), vf_mul(m, m)); /* (1 - tanh^2) sigmoid */
    return vf_mul(g, vf_fma(x, slope, vf_div(n, m)));
}
/* ln(1 + e^v) */
CVY_INLINE vf vf_softplus(vf v) { return vf_add(vf_max(vf_zero(), v), vf_log1p(vf_exp(vf_sub(vf_zero(), vf_abs(v))))); }
CVY_INLINE vf vf_softplus_back(vf g, vf y)
{
    return vf_mul(g, vf_sub(vf_zero(), vf_expm1(vf_sub(vf_zero(), y))));
} /* sigmoid = 1 - e^-y */
CVY_INLINE vf vf_relu6(vf v) { return vf_min(vf_set(6.0f), vf_relu(v)); }
CVY_INLINE vf vf_relu6_back(vf g, vf y)
{
    return vf_if_positive(y, vf_if_less(y, vf_set(6.0f), g, vf_zero()), vf_zero());
}
/* (v + 3) / 6 between 0 and 1 */
CVY_INLINE vf vf_hard_sigmoid(vf v)
{
    return vf_min(vf_set(1.0f), vf_div(vf_relu(vf_add(v, vf_set(3.0f))), vf_set(6.0f)));
}
CVY_INLINE vf vf_hard_sigmoid_back(vf g, vf y)
{
    return vf_if_positive(y, vf_if_less(y, vf_set(1.0f), vf_mul(g, vf_set(1.0f / 6)), vf_zero()), vf_zero());
}
CVY_INLINE vf vf_hard_swish(vf v) { return vf_mul(v, vf_hard_sigmoid(v)); }
/* x / 3 + 1/2 between -3 and 3 */
CVY_INLINE vf vf_hard_swish_back(vf g, vf x)
{
    const vf inside = vf_mul(g, vf_fma(x, vf_set(1.0f / 3), vf_set(0.5f)));
    return vf_unless_zero_or_below(vf_sub(vf_set(3.0f), x),
                                   vf_unless_zero_or_below(vf_add(x, vf_set(3.0f)), inside, vf_zero()), g);
}
/* v, at least min, at most max */
CVY_INLINE vf vf_hard_tanh(vf v, float min, float max) { return vf_min(vf_set(max), vf_max(vf_set(min), v)); }
CVY_INLINE vf vf_hard_tanh_back(vf g, vf y, float min, float max)
{
    return vf_if_less(vf_set(min), y, vf_if_less(y, vf_set(max), g, vf_zero()), vf_zero());
}
/* leaky(v) - sub, at most maxv (FLT_MAX: there is none); the gradient passes where that is not above maxv */
CVY_INLINE vf vf_general_relu(vf v, float leak, float sub, float maxv)
{
    return vf_min(vf_set(maxv), vf_sub(vf_leaky_relu(v, leak), vf_set(sub)));
}
CVY_INLINE vf vf_general_relu_back(vf g, vf x, float leak, float sub, float maxv)
{
    const vf back = vf_leaky_relu_back(g, x, leak),
             above = vf_sub(vf_sub(vf_leaky_relu(x, leak), vf_set(sub)), vf_set(maxv));
    return maxv < 3.4e38f ? vf_unless_zero_or_below(above, vf_zero(), back) : back;
}
