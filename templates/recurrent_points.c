// What a step does with the sums of a block of a row, s: [slots][16], and backward of that. before: of the step before, NULL at the first.
//$ define cell_point_rnn
/* ${h.does} */
CVY_INLINE vf ${h.name}_point(float *s, const float *c_before, float *c, const float *h_before)
{
    const vf h = vf_${h.act}(vf_load(s));
    (void)c_before, (void)c, (void)h_before;
    vf_store(s, h);
    return h;
}

//$ end
//$ define cell_point_back_rnn
/* Backward of that: g is the gradient of h; the slot becomes the gradient of its sum. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf g, float *carry, int last)
{
    (void)c_before, (void)c, (void)h_before, (void)carry, (void)last;
    vf_store(s, vf_${h.act}_back(g, vf_load(s)));
}

//$ end
//$ define cell_point_gru
/* ${h.does}. Slots: n r z, and U h + b' of n */
CVY_INLINE vf ${h.name}_point(float *s, const float *c_before, float *c, const float *h_before)
{
    const vf r = vf_sigmoid(vf_load(s + 16)), z = vf_sigmoid(vf_load(s + 32));
    const vf n = vf_tanh(vf_fma(r, vf_load(s + 48), vf_load(s)));
    (void)c_before, (void)c;
    vf_store(s, n);
    vf_store(s + 16, r);
    vf_store(s + 32, z);
    return h_before ? vf_fma(z, vf_sub(vf_load(h_before), n), n) : vf_sub(n, vf_mul(z, n));
}

//$ end
//$ define cell_point_back_gru
/* Backward of that: g is the gradient of h; the slots become the gradients of the sums. carry: what of g goes to the h before by itself. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf g, float *carry, int last)
{
    const vf n = vf_load(s), r = vf_load(s + 16), z = vf_load(s + 32), own = vf_load(s + 48);
    const vf before = h_before ? vf_load(h_before) : vf_zero();
    const vf dn = vf_tanh_back(vf_mul(g, vf_sub(vf_set(1.0f), z)), n);
    (void)c_before, (void)c, (void)last;
    vf_store(s, dn);
    vf_store(s + 16, vf_sigmoid_back(vf_mul(dn, own), r));
    vf_store(s + 32, vf_sigmoid_back(vf_mul(g, vf_sub(before, n)), z));
    vf_store(s + 48, vf_mul(dn, r));
    vf_store(carry, vf_mul(g, z));
}

//$ end
//$ define cell_point_gru_before
/* ${h.does}. Slots: n r z; r is there already, and U (r h) in the sum of n */
CVY_INLINE vf ${h.name}_point(float *s, const float *c_before, float *c, const float *h_before)
{
    const vf n = vf_tanh(vf_load(s)), z = vf_sigmoid(vf_load(s + 32));
    (void)c_before, (void)c;
    vf_store(s, n);
    vf_store(s + 32, z);
    return h_before ? vf_fma(z, vf_sub(vf_load(h_before), n), n) : vf_sub(n, vf_mul(z, n));
}

//$ end
//$ define cell_point_back_gru_before
/* Backward of that: g is the gradient of h; the slots of n and z become the gradients of their sums. carry: what of g goes to the h before by itself. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf g, float *carry, int last)
{
    const vf n = vf_load(s), z = vf_load(s + 32), before = h_before ? vf_load(h_before) : vf_zero();
    (void)c_before, (void)c, (void)last;
    vf_store(s, vf_tanh_back(vf_mul(g, vf_sub(vf_set(1.0f), z)), n));
    vf_store(s + 32, vf_sigmoid_back(vf_mul(g, vf_sub(before, n)), z));
    vf_store(carry, vf_mul(g, z));
}

//$ end
//$ define cell_point_lstm
/* ${h.does} */
CVY_INLINE vf ${h.name}_point(float *s, const float *c_before, float *c, const float *h_before)
{
    const vf i = vf_sigmoid(vf_load(s)), f = vf_sigmoid(vf_load(s + 16)), g = vf_tanh(vf_load(s + 32)), o = vf_sigmoid(vf_load(s + 48));
    const vf ig = vf_mul(i, g), sum = c_before ? vf_fma(f, vf_load(c_before), ig) : ig;
    (void)h_before;
    vf_store(s, i);
    vf_store(s + 16, f);
    vf_store(s + 32, g);
    vf_store(s + 48, o);
    vf_store(c, sum);
    return vf_mul(o, vf_tanh(sum));
}

//$ end
//$ define cell_point_back_lstm
/* Backward of that: g is the gradient of h; the slots become the gradients of the sums. carry: of c, from the step after and to the one before. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf g, float *carry, int last)
{
    const vf i = vf_load(s), f = vf_load(s + 16), j = vf_load(s + 32), o = vf_load(s + 48), y = vf_tanh(vf_load(c));
    const vf through = vf_tanh_back(vf_mul(g, o), y), dc = last ? through : vf_add(through, vf_load(carry));
    const vf before = c_before ? vf_load(c_before) : vf_zero();
    (void)h_before;
    vf_store(s, vf_sigmoid_back(vf_mul(dc, j), i));
    vf_store(s + 16, vf_sigmoid_back(vf_mul(dc, before), f));
    vf_store(s + 32, vf_tanh_back(vf_mul(dc, i), j));
    vf_store(s + 48, vf_sigmoid_back(vf_mul(g, y), o));
    vf_store(carry, vf_mul(dc, f));
}

//$ end

// The two parts of an lstm between which a norm of c stands: what it makes of the sums, and from the gradient of that, g, on.
//$ define cell_gates_lstm
/* ${h.does}: the c of it, before its norm */
CVY_INLINE vf ${h.name}_gates(float *s, const float *c_before)
{
    const vf i = vf_sigmoid(vf_load(s)), f = vf_sigmoid(vf_load(s + 16)), g = vf_tanh(vf_load(s + 32)), o = vf_sigmoid(vf_load(s + 48));
    vf_store(s, i);
    vf_store(s + 16, f);
    vf_store(s + 32, g);
    vf_store(s + 48, o);
    return c_before ? vf_fma(f, vf_load(c_before), vf_mul(i, g)) : vf_mul(i, g);
}

//$ end
//$ define cell_gates_back_lstm
/* Backward of that, of the gradient of c: the slots become the gradients of the sums, but that of o, which is there. carry: to the c before. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf dc, float *carry, int last)
{
    const vf i = vf_load(s), f = vf_load(s + 16), j = vf_load(s + 32), before = c_before ? vf_load(c_before) : vf_zero();
    (void)c, (void)h_before, (void)last;
    vf_store(s, vf_sigmoid_back(vf_mul(dc, j), i));
    vf_store(s + 16, vf_sigmoid_back(vf_mul(dc, before), f));
    vf_store(s + 32, vf_tanh_back(vf_mul(dc, i), j));
    vf_store(carry, vf_mul(dc, f));
}

//$ end
