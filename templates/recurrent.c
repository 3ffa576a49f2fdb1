// Cores of recurrent layers: products over a step's rows in register tiles, and what a step does with them. `h` is the header's record, `t` a register tile.
// Of a step t, block j of 16 hidden units and row r (an image) the numbers that are kept stand at [t][j][r][slot][16].

//$ define cell_file
/* core_${h.name}.h - ${h.doc}
 * ${h.licence} */
#ifndef ${h.guard}
#define ${h.guard}

#include "runtime/cvy_vec.h"

/* x * w + sum. gcc would fold a load of weights into each, so that each is loaded several times, and move sums between registers. */
#ifndef cvy_cell_fma
#if defined CVY_KEEP_FMA
CVY_INLINE vh cvy_cell_keep(vh x, vh w, vh sum)
{
    CVY_KEEP_FMA(x, w, sum);
    return sum;
}
#define cvy_cell_fma cvy_cell_keep
#else
#define cvy_cell_fma vh_fma
#endif
#endif

//$ for t in h.tiles
//$ emit t
//$ end
//$ if h.normed
//$ emit h.total
//$ for q in h.norms
//$ emit q
//$ end
//$ end
//$ if h.lengths
/* How many steps row r has; the others are padding, which is never read but in products whose other side is zero. */
CVY_INLINE int ${h.name}_end(const int *length, int r)
{
    return length ? length[r] : ${h.steps};
}

//$ end
//$ emit h.point
//$ emit h.forward
//$ if h.train
//$ emit h.point_back
//$ emit h.backward
//$ emit h.weights
//$ end
#endif
//$ end

//$ define cell_tile
/* ${t.rows} rows, ${t.vectors} vectors: to[row][v] += sum over blocks b and k of x[row rs + b xb + k ks] w[b wb + k ws + v vs] */
CVY_INLINE void ${h.name}_tile_${t.rows}x${t.vectors}(const float *x, ptrdiff_t rs, ptrdiff_t ks, ptrdiff_t xb, const float *w, ptrdiff_t ws, ptrdiff_t vs,
    ptrdiff_t wb, int blocks, int len, int last, float *to, ptrdiff_t ts, ptrdiff_t tv)
{
    //$ for a in t.acc
    vh ${a.name} = vh_load(${a.at});
    //$ end

    for (int b = 0; b < blocks; b++, x += xb, w += wb) {
        const int n = b + 1 < blocks ? len : last;
        const float *xk = x, *wk = w;
        for (int k = 0; k < n; k++, xk += ks, wk += ws) {
            //$ for p in t.parts
            //$ for v in p.loads
            const vh ${v.name} = ${v.load};
            //$ end
            //$ for m in p.products
            ${m.acc} = ${h.fma}(${m.x}, ${m.w}, ${m.acc});
            //$ end
            //$ end
        }
    }
    //$ for a in t.acc
    vh_store(${a.at}, ${a.name});
    //$ end
    (void)rs, (void)vs, (void)ts, (void)tv; /* of one row, or of one vector, not all are read */
}
//$ end
//$ define cell_rows
CVY_MAYBE void ${h.name}_rows_${t.vectors}(int rows, const float *x, ptrdiff_t rs, ptrdiff_t ks, ptrdiff_t xb, const float *w, ptrdiff_t ws, ptrdiff_t vs,
    ptrdiff_t wb, int blocks, int len, int last, float *to, ptrdiff_t ts, ptrdiff_t tv)
{
    switch (rows) {
    //$ for s in t.sizes
    case ${s.rows}:
        ${h.name}_tile_${s.rows}x${t.vectors}(x, rs, ks, xb, w, ws, vs, wb, blocks, len, last, to, ts, tv);
        break;
    //$ end
    }
}
/* How many of `left` rows the next tile takes: the last two are of even size. */
CVY_INLINE int ${h.name}_some_${t.vectors}(int left)
{
    return ${t.some};
}

//$ end

// What a step does with the sums of a block of a row, s: [slots][16]. before: of the step before, NULL at the first.
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

// Norms in places of a step. `q` is a norm's record: what it reads, a, has ${q.vectors} numbers a unit, [block][row][vector][16], of row r here.
//$ define cell_total
/* the sum of the lanes */
CVY_INLINE float ${h.name}_total(vf v)
{
    float t[16];
    memcpy(t, &v, sizeof t);
    for (int w = 8; w; w /= 2)
        for (int l = 0; l < w; l++)
            t[l] += t[l + w];
    return t[0];
}

//$ end
//$ define cell_norm
/* ${q.doc} of a row: a becomes xhat${q.also}. *scale: 1 / sqrt(variance + eps), of each group. */
CVY_MAYBE void ${h.name}_${q.name}(float *a, ${q.to}int n, ${q.weights}float *scale)
{
    const ptrdiff_t apart = (ptrdiff_t)n * ${q.vectors_16};

    for (int g = 0; g < ${q.groups}; g++, a += 16) {
        vf square = vf_zero();
        //$ if q.centred
        vf sum = vf_zero();
        for (int j = 0; j < ${h.blocks}; j++)
            for (int v = 0; v < ${q.per_group}; v++) {
                vf x = vf_load(a + j * apart + v * 16);
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    x = vf_first(x, ${h.hidden_last}); /* units that are not there */
                //$ end
                sum = vf_add(sum, x);
            }
        const vf mean = vf_set(${h.name}_total(sum) / ${q.count});
        //$ end
        for (int j = 0; j < ${h.blocks}; j++)
            for (int v = 0; v < ${q.per_group}; v++) {
                vf x = ${q.centre};
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    x = vf_first(x, ${h.hidden_last});
                //$ end
                vf_store(a + j * apart + v * 16, x);
                square = vf_fma(x, x, square);
            }
        const float istd = 1.0f / sqrtf(${h.name}_total(square) / ${q.count} + ${q.eps});
        const vf by = vf_set(istd);
        for (int j = 0; j < ${h.blocks}; j++)
            for (int v = 0; v < ${q.per_group}; v++) {
                const vf x = vf_mul(vf_load(a + j * apart + v * 16), by);
                vf_store(a + j * apart + v * 16, x);
                //$ if q.of_gates
                const float *const at = w + j * ${q.vectors_16} + (g + v) * 16;
                float *const to = s + (ptrdiff_t)j * n * ${h.slots_16} + ${q.first_16} + (g + v) * 16;
                vf_store(to, vf_add(vf_load(to), vf_fma(vf_load(at), x, vf_load(at + ${q.beta}))));
                //$ end
            }
        scale[g] = istd;
    }
}
//$ if h.train
/* Backward of that, g being the gradient of what the norm made: ${q.becomes} the gradient of a. sums += what gamma's gradient is summed of${q.and_beta}. */
CVY_MAYBE void ${h.name}_${q.name}_back(${q.changes}, int n, const float *w, const float *scale, float *sums)
{
    const ptrdiff_t apart = (ptrdiff_t)n * ${q.vectors_16}, apart_g = ${q.apart_g};

    for (int k = 0; k < ${q.groups}; k++, a += 16, g += 16, w += 16, sums += 16) {
        vf slope = vf_zero();
        //$ if q.centred
        vf sum = vf_zero();
        //$ end
        for (int j = 0; j < ${h.blocks}; j++)
            for (int v = 0; v < ${q.per_group}; v++) {
                const vf d = vf_load(g + j * apart_g + v * 16), x = vf_load(a + j * apart + v * 16), own = vf_mul(d, vf_load(w + j * ${q.vectors_16} + v * 16));
                float *const to = sums + j * ${q.vectors_16} + v * 16;
                //$ if q.centred
                sum = vf_add(sum, own);
                //$ end
                slope = vf_fma(own, x, slope);
                vf_store(to, vf_fma(d, x, vf_load(to)));
                //$ if q.of_gates
                //$ else
                vf_store(to + ${h.units}, vf_add(vf_load(to + ${h.units}), d));
                //$ end
            }
        //$ if q.centred
        const vf one = vf_set(${h.name}_total(sum) / ${q.count});
        //$ end
        const vf two = vf_set(${h.name}_total(slope) / ${q.count}), by = vf_set(scale[k]);
        for (int j = 0; j < ${h.blocks}; j++)
            for (int v = 0; v < ${q.per_group}; v++) {
                const vf x = vf_load(a + j * apart + v * 16), own = vf_mul(vf_load(g + j * apart_g + v * 16), vf_load(w + j * ${q.vectors_16} + v * 16));
                vf d = vf_mul(by, vf_sub(${q.centre_back}, vf_mul(x, two)));
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    d = vf_first(d, ${h.hidden_last});
                //$ end
                vf_store(${q.changed} + v * 16, d);
            }
    }
}
/* Such sums over all rows, in double: of the ${q.vectors} vectors that stand at `at` of a row's. */
CVY_MAYBE void ${h.name}_${q.name}_sums(const float *work, double *sum, int n, ptrdiff_t at)
{
    const float *const sums = work + (ptrdiff_t)${q.sums_at} * n + at;

    memset(sum, 0, sizeof(double) * ${q.vectors_16});
    for (int v = 0; v < ${q.vectors}; v++) {
        vf part = vf_zero();
        for (int r = 0; r < n; r++) {
            part = vf_add(part, vf_load(sums + (ptrdiff_t)r * ${q.sums} + v * 16));
            if ((r + 1) % CVY_SUM == 0)
                vf_drain(sum + v * 16, &part);
        }
        vf_drain(sum + v * 16, &part);
    }
}
//$ end

//$ end
// A step's units where a norm stands behind the gates.
//$ define cell_units
for (int r = from; r < to; r++) {
    //$ if h.lengths
    const int end = ${h.name}_end(length, r);
    for (int j = 0; j < ${h.blocks} && t >= end; j++) { /* padding */
        float *const yr = y + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf_store(hs + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, vf_zero());
        ${h.give_padding}
        (void)yr;
    }
    if (t >= end)
        continue;
    //$ end
    //$ if h.cell
    for (int j = 0; j < ${h.blocks}; j++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r;
        float *const c = cs + at * 16;
        const vf sum = ${h.name}_gates(kept + at * ${h.slots_16}, ${h.c_before});
        vf_store(cell + at * 16, sum);
        //$ if h.carried
        //$ else
        vf_store(c, sum);
        //$ end
    }
    ${h.name}_cell(cell + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, n, cell_scale + (ptrdiff_t)t * n + r);
    //$ end
    for (int j = 0; j < ${h.blocks}; j++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r;
        //$ if h.cell
        const vf normed = vf_fma(vf_load(w + ${h.cell_w} + j * 16), vf_load(cell + at * 16), vf_load(w + ${h.cell_w} + ${h.units} + j * 16));
        //$ if h.carried
        vf_store(cs + at * 16, normed);
        //$ end
        vf v = vf_mul(vf_load(kept + at * ${h.slots_16} + 48), vf_tanh(normed));
        //$ else
        float *const c = cs + at * 16;
        vf v = ${h.name}_point(kept + at * ${h.slots_16}, ${h.c_before}, c, before ? before + (ptrdiff_t)r * ${h.units} + j * 16 : NULL);
        //$ end
        //$ if h.padded
        if (j == ${h.blocks} - 1)
            v = vf_first(v, ${h.hidden_last}); /* units that are not there */
        //$ end
        //$ if h.hidden_norm
        vf_store(hidden + at * 16, v);
    }
    ${h.name}_hidden(hidden + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, n, hidden_scale + (ptrdiff_t)t * n + r);
    for (int j = 0; j < ${h.blocks}; j++) {
        const float *const x = hidden + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * 16;
        vf v = vf_fma(vf_load(w + ${h.hidden_w} + j * 16), vf_load(x), vf_load(w + ${h.hidden_w} + ${h.units} + j * 16));
        //$ if h.padded
        if (j == ${h.blocks} - 1)
            v = vf_first(v, ${h.hidden_last});
        //$ end
        //$ end
        float *const h = hs + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, *const yr = y + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf_store(h, v);
        ${h.give}
    }
}
//$ end
//$ define cell_units_back
for (int r = from; r < to; r++) {
    //$ if h.lengths
    const int end = ${h.name}_end(length, r), last = t == end - 1;
    if (t >= end)
        continue;
    //$ end
    float *const gs = dh + (ptrdiff_t)r * ${h.units};
    for (int j = 0; j < ${h.blocks}; j++) {
        const ptrdiff_t unit = (ptrdiff_t)r * ${h.units} + j * 16;
        const float *const z = dz + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf g = vf_load(dh + unit);
        ${h.given}
        vf_store(dh + unit, g);
    }
    //$ if h.hidden_norm
    ${h.name}_hidden_back(hidden + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, gs, n, w + ${h.hidden_w_back}, hidden_scale + (ptrdiff_t)t * n + r, hidden_sums + (ptrdiff_t)r * ${h.hidden_sums});
    //$ end
    //$ if h.cell
    for (int j = 0; j < ${h.blocks}; j++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r, unit = (ptrdiff_t)r * ${h.units} + j * 16;
        const vf y = vf_tanh(vf_fma(vf_load(w + ${h.cell_w_back} + j * 16), vf_load(cell + at * 16), vf_load(w + ${h.cell_w_back} + ${h.units} + j * 16)));
        float *const s = kept + at * ${h.slots_16};
        const vf g = vf_load(dh + unit), o = vf_load(s + 48);
        vf d = vf_tanh_back(vf_mul(g, o), y);
        //$ if h.carried
        d = last ? d : vf_add(d, vf_load(carry + unit));
        //$ end
        vf_store(s + 48, vf_sigmoid_back(vf_mul(g, y), o));
        vf_store(dh + unit, d);
    }
    ${h.name}_cell_back(cell + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, gs, n, w + ${h.cell_w_back}, cell_scale + (ptrdiff_t)t * n + r, cell_sums + (ptrdiff_t)r * ${h.cell_sums});
    //$ if h.carried
    //$ else
    for (int j = 0; j < ${h.blocks} && !last; j++)
        vf_store(gs + j * 16, vf_add(vf_load(gs + j * 16), vf_load(carry + (ptrdiff_t)r * ${h.units} + j * 16)));
    //$ end
    //$ end
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

// The product with the input of all steps; x: where it goes.
//$ define cell_of_x
/* W x and the biases, of all steps */
//$ for q in x.cleared
for (int t = 0; t < ${h.steps}; t++)
    for (int j = 0; j < ${h.blocks}; j++)
        memset(${q.var} + (((ptrdiff_t)t * ${h.blocks} + j) * n + from) * ${q.vectors_16}, 0, sizeof(float) * ${q.vectors_16} * (size_t)(to - from));
//$ end
for (int t = 0; t < ${h.steps}; t++)
    for (int j = 0; j < ${h.blocks}; j++)
        for (int r = from; r < to; r++)
            memcpy(kept + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${h.slots_16}, bias + j * ${h.slots_16}, sizeof(float) * ${h.slots_16});
for (int p = 0; p < ${h.panels}; p++)
    for (int t = 0; t < ${h.steps}; t++)
        for (int r = from, m; r < to; r += m) {
            float *const s = ${x.to} + (((ptrdiff_t)t * ${h.blocks} + p / ${h.parts}) * n + r) * ${x.to_16} + p % ${h.parts} * ${h.lanes};
            m = ${h.name}_some_${h.nx}(to - r);
            ${h.name}_rows_${h.nx}(m, x + (ptrdiff_t)r * ${h.x_row} + ${h.at} * 16, ${h.x_row}, 1, ${h.x_block}, w + (ptrdiff_t)p * ${h.w_panel}, ${h.w_k}, ${h.lanes}, ${h.w_k} * 16,
                ${h.in_blocks}, 16, ${h.in_last}, s, ${x.to_16}, 16);
        }
//$ for q in x.norms
for (int t = 0; t < ${h.steps}; t++)
    for (int r = from; r < to; r++)
        ${h.name}_${q.name}(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.packed_at},
            ${q.var}_scale + ((ptrdiff_t)t * n + r) * ${q.groups});
//$ end
//$ end
//$ define cell_of_steps
//$ if h.resets
float *const rh = kept + (ptrdiff_t)${h.rh_at} * n; /* [step][row][unit], as h */
//$ end
for (int t = 0; t < ${h.steps}; t++) {
    const float *const before = ${h.h_before};
    for (int p = 0; before && p < ${h.panels}; p++) /* U h */
        for (int r = from, m; r < to; r += m) {
            float *const s = ${h.uh} + (((ptrdiff_t)t * ${h.blocks} + p / ${h.parts}) * n + r) * ${h.uh_16} + ${h.uh_first} + p % ${h.parts} * ${h.lanes};
            m = ${h.name}_some_${h.step_nh}(to - r);
            ${h.name}_rows_${h.step_nh}(m, before + (ptrdiff_t)r * ${h.units}, ${h.units}, 1, 16, u${h.u_first} + (ptrdiff_t)p * ${h.u_panel}, ${h.u_k}, ${h.lanes}, ${h.u_k} * 16,
                ${h.blocks}, 16, ${h.hidden_last}, s, ${h.uh_16}, 16);
        }
    //$ if h.resets
    for (int j = 0; j < ${h.blocks}; j++)
        for (int r = from; r < to; r++) {
            float *const s = kept + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${h.slots_16} + 16;
            const vf reset = vf_sigmoid(vf_load(s));
            vf_store(s, reset);
            vf_store(rh + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, before ? vf_mul(reset, vf_load(before + (ptrdiff_t)r * ${h.units} + j * 16)) : vf_zero());
        }
    for (int p = 0; before && p < ${h.panels}; p++) /* U (r h), of n */
        for (int r = from, m; r < to; r += m) {
            float *const s = kept + (((ptrdiff_t)t * ${h.blocks} + p / ${h.parts}) * n + r) * ${h.slots_16} + p % ${h.parts} * ${h.lanes};
            m = ${h.name}_some_1(to - r);
            ${h.name}_rows_1(m, rh + ((ptrdiff_t)t * n + r) * ${h.units}, ${h.units}, 1, 16, u + (ptrdiff_t)p * ${h.u_panel}, ${h.u_k}, ${h.lanes}, ${h.u_k} * 16,
                ${h.blocks}, 16, ${h.hidden_last}, s, ${h.slots_16}, 16);
        }
    //$ end
    //$ for q in h.step_norms
    for (int r = from; r < to; r++)
        ${h.name}_${q.name}(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.packed_at},
            ${q.var}_scale + ((ptrdiff_t)t * n + r) * ${q.groups});
    //$ end
    //$ if h.unit_norms
    //$ emit h.walk
    //$ else
    for (int j = 0; j < ${h.blocks}; j++)
        for (int r = from; r < to; r++) {
            const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r;
            float *const h = hs + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, *const c = cs + at * 16, *const yr = y + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
            //$ if h.lengths
            const int end = ${h.name}_end(length, r);
            if (t >= end) { /* padding */
                vf_store(h, vf_zero());
                ${h.give_padding}
                continue;
            }
            //$ end
            vf v = ${h.name}_point(kept + at * ${h.slots_16}, ${h.c_before}, c, before ? before + (ptrdiff_t)r * ${h.units} + j * 16 : NULL);
            //$ if h.padded
            if (j == ${h.blocks} - 1)
                v = vf_first(v, ${h.hidden_last}); /* units that are not there */
            //$ end
            vf_store(h, v);
            ${h.give}
        }
    //$ end
}
//$ end

//$ define cell_forward
/* Rows [from, to) of n: all steps. x: rows of ${h.x_row} floats; w: as cvy_cell_pack has them; kept: what each step leaves; y: rows of ${h.y_row} floats.${h.state_doc} */
CVY_MAYBE void ${h.name}_forward(const float *x, const float *w, float *kept, float *y, int n, int from, int to${h.state}${h.length})
{
    const float *const u = w + ${h.u_at}, *const bias = w + ${h.bias_at};
    float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    //$ for q in h.norms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n, *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n;
    //$ end

    //$ for x in h.whole
    //$ emit x
    //$ end
    //$ emit h.of_steps
    //$ if h.stream
    memcpy(state, hs, sizeof(float) * ${h.units});
    //$ if h.has_c
    memcpy(state + ${h.units}, cs, sizeof(float) * ${h.units});
    //$ end
    //$ end
}
//$ for b in h.batch
/* The same in parts, between which rows meet: W x of all steps; its norm, ${h.name}_batch, by blocks; the steps. */
CVY_MAYBE void ${h.name}_forward_x(const float *x, const float *w, float *kept, int n, int from, int to)
{
    const float *const bias = w + ${h.bias_at};
    float *const wx = kept + (ptrdiff_t)${b.hat_at} * n;
    //$ for q in h.norms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end

    //$ for x in h.alone
    //$ emit x
    //$ end
}
CVY_MAYBE void ${h.name}_forward_steps(const float *w, float *kept, float *y, int n, int from, int to)
{
    const float *const u = w + ${h.u_at};
    float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    //$ for q in h.norms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n, *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n;
    //$ end

    //$ emit h.of_steps
}
/* bn of W x of block j, over all rows and steps: it becomes xhat, and gamma xhat + beta is added to the sums. w: gamma, beta; istd: [block][vector][16]. still: by
 * the running statistics, which else move. */
CVY_MAYBE void ${h.name}_batch(float *kept, const float *w, float *istd, float *running_mean, float *running_var, int still, int n, int j)
{
    static const int gate[] = {${b.gates}};
    const ptrdiff_t step = (ptrdiff_t)${h.blocks} * n * ${b.vectors_16}, slots_step = (ptrdiff_t)${h.blocks} * n * ${h.slots_16};
    const double count = (double)n * ${h.steps};

    for (int v = 0; v < ${b.vectors}; v++) {
        float *const a = kept + (ptrdiff_t)${b.hat_at} * n + (ptrdiff_t)j * n * ${b.vectors_16} + v * 16, *const s = kept + (ptrdiff_t)j * n * ${h.slots_16} + v * 16;
        float mean[16] = {0}, *const by = istd + (j * ${b.vectors} + v) * 16;
        double of[2][16] = {{0}}; /* sums of a, and of (a - mean)^2 */
        for (int i = 0; i < 2 && !still; i++) {
            const vf from = vf_loadu(mean);
            vf part = vf_zero();
            int64_t added = 0;
            for (int t = 0; t < ${h.steps}; t++)
                for (int r = 0; r < n; r++) {
                    const vf d = vf_sub(vf_load(a + t * step + (ptrdiff_t)r * ${b.vectors_16}), from);
                    part = i ? vf_fma(d, d, part) : vf_add(part, d);
                    if (++added % CVY_SUM == 0)
                        vf_drain(of[i], &part);
                }
            vf_drain(of[i], &part);
            for (int l = 0; l < 16 && i == 0; l++)
                mean[l] = (float)(of[0][l] / count);
        }
        for (int l = 0; l < 16; l++) {
            const int unit = j * 16 + l, at = gate[v] * ${h.hidden} + unit;
            if (unit >= ${h.hidden}) {
                mean[l] = by[l] = 0;
                continue;
            }
            const double var = still ? (double)running_var[at] : of[1][l] / count;
            if (still) {
                mean[l] = running_mean[at];
            } else {
                running_mean[at] = (float)((1 - ${b.momentum}) * (double)running_mean[at] + ${b.momentum} * (of[0][l] / count));
                running_var[at] = (float)((1 - ${b.momentum}) * (double)running_var[at] + ${b.momentum} * (of[1][l] / (count > 1 ? count - 1 : 1)));
            }
            by[l] = (float)(1 / sqrt(var + ${b.eps}));
        }
        const vf from = vf_loadu(mean), scale = vf_loadu(by), gamma = vf_load(w + (j * ${b.vectors} + v) * 16), beta = vf_load(w + ${b.beta} + (j * ${b.vectors} + v) * 16);
        for (int t = 0; t < ${h.steps}; t++)
            for (int r = 0; r < n; r++) {
                float *const at = a + t * step + (ptrdiff_t)r * ${b.vectors_16}, *const to = s + t * slots_step + (ptrdiff_t)r * ${h.slots_16};
                vf x = vf_mul(vf_sub(vf_load(at), from), scale);
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    x = vf_first(x, ${h.hidden_last}); /* units that are not there */
                //$ end
                vf_store(at, x);
                vf_store(to, vf_add(vf_load(to), vf_fma(gamma, x, beta)));
            }
    }
}
//$ if h.train
/* Backward of that, the slots being the gradients of sums: xhat becomes the gradient of W x. sums: of those, [vector][16], and of those times xhat. */
CVY_MAYBE void ${h.name}_batch_back(float *kept, const float *w, const float *istd, double *sums, int still, int n, int j)
{
    const ptrdiff_t step = (ptrdiff_t)${h.blocks} * n * ${b.vectors_16}, slots_step = (ptrdiff_t)${h.blocks} * n * ${h.slots_16};
    const double count = (double)n * ${h.steps};

    memset(sums, 0, sizeof(double) * 2 * ${b.vectors_16});
    for (int v = 0; v < ${b.vectors}; v++) {
        float *const a = kept + (ptrdiff_t)${b.hat_at} * n + (ptrdiff_t)j * n * ${b.vectors_16} + v * 16;
        const float *const s = kept + (ptrdiff_t)j * n * ${h.slots_16} + v * 16;
        float one[16] = {0}, two[16] = {0};
        vf part = vf_zero(), slope = vf_zero();
        int64_t added = 0;
        for (int t = 0; t < ${h.steps}; t++)
            for (int r = 0; r < n; r++) {
                const vf g = vf_load(s + t * slots_step + (ptrdiff_t)r * ${h.slots_16});
                part = vf_add(part, g);
                slope = vf_fma(g, vf_load(a + t * step + (ptrdiff_t)r * ${b.vectors_16}), slope);
                if (++added % CVY_SUM == 0) {
                    vf_drain(sums + v * 16, &part);
                    vf_drain(sums + ${b.vectors_16} + v * 16, &slope);
                }
            }
        vf_drain(sums + v * 16, &part);
        vf_drain(sums + ${b.vectors_16} + v * 16, &slope);
        for (int l = 0; l < 16 && !still; l++) {
            one[l] = (float)(sums[v * 16 + l] / count);
            two[l] = (float)(sums[${b.vectors_16} + v * 16 + l] / count);
        }
        const vf mean = vf_loadu(one), along = vf_loadu(two), by = vf_mul(vf_load(w + (j * ${b.vectors} + v) * 16), vf_loadu(istd + (j * ${b.vectors} + v) * 16));
        for (int t = 0; t < ${h.steps}; t++)
            for (int r = 0; r < n; r++) {
                float *const at = a + t * step + (ptrdiff_t)r * ${b.vectors_16};
                const vf g = vf_load(s + t * slots_step + (ptrdiff_t)r * ${h.slots_16});
                vf d = vf_mul(by, vf_sub(vf_sub(g, mean), vf_mul(vf_load(at), along)));
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    d = vf_first(d, ${h.hidden_last});
                //$ end
                vf_store(at, d);
            }
    }
}
//$ end
//$ end

//$ end

//$ define cell_point_back_rnn
/* Backward of that: g is the gradient of h; the slot becomes the gradient of its sum. */
CVY_INLINE void ${h.name}_point_back(float *s, const float *c_before, const float *c, const float *h_before, vf g, float *carry, int last)
{
    (void)c_before, (void)c, (void)h_before, (void)carry, (void)last;
    vf_store(s, vf_${h.act}_back(g, vf_load(s)));
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

//$ define cell_back_x
w += ${h.wt_at};
for (int r = from; r < to; r++)
    memset(dx + (ptrdiff_t)r * ${h.x_row}, 0, sizeof(float) * ${h.x_row});
for (int q = 0; q < ${h.x_panels}; q++)
    for (int t = 0; t < ${h.steps}; t++)
        for (int r = from, m; r < to; r += m) {
            m = ${h.name}_some_${h.back_x}(to - r);
            ${h.name}_rows_${h.back_x}(m, ${h.wx} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.wx_16}, ${h.wx_16}, 1, (ptrdiff_t)n * ${h.wx_16}, w + (ptrdiff_t)q * ${h.wt_panel},
                ${h.wt_k}, ${h.lanes}, ${h.wt_block}, ${h.blocks}, ${h.nx_16}, ${h.nx_16}, dx + (ptrdiff_t)r * ${h.x_row} + q * ${h.wt_k} / 16 * ${h.x_block} + ${h.at} * 16 + q * ${h.wt_k} % 16,
                ${h.x_row}, ${h.x_vector});
        }
//$ end
//$ define cell_backward
/* Rows [from, to) of n, the last step first: what is kept of the slots becomes the gradient of their sums, and from that comes the gradient of x (dx NULL:
 * nobody wants it). dz: the gradient of y; w: as cvy_cell_turn has them; work: rows of room. */
CVY_MAYBE void ${h.name}_backward(const float *dz, const float *w, float *kept, float *work, float *dx, int n, int from, int to${h.length})
{
    const float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    float *const dh = work, *const carry = work + (ptrdiff_t)n * ${h.units};
    //$ if h.resets
    float *const drh = work + (ptrdiff_t)n * ${h.drh_at};
    //$ end
    //$ for q in h.norms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n, *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n, *const ${q.var}_sums = work + (ptrdiff_t)${q.sums_at} * n;
    //$ end
    //$ if h.largest
    float *const won = carry + (ptrdiff_t)n * ${h.units}; /* the step whose h is the largest */

    for (int r = from; r < to; r++)
        for (int k = 0; k < ${h.units}; k++) {
            const float *const unit = hs + (ptrdiff_t)r * ${h.units} + k;
            float best = unit[0];
            int step = 0;
            for (int t = 1; t < ${h.end}; t++) {
                const float v = unit[(ptrdiff_t)t * n * ${h.units}];
                if (!(v <= best) && best == best)
                    best = v, step = t;
            }
            won[(ptrdiff_t)r * ${h.units} + k] = (float)step;
        }
    //$ end
    //$ for q in h.norms
    memset(${q.var}_sums + (ptrdiff_t)from * ${q.sums}, 0, sizeof(float) * ${q.sums} * (size_t)(to - from));
    //$ end
    for (int t = ${h.steps} - 1; t >= 0; t--) {
        //$ if h.lengths
        const int final = t == ${h.steps} - 1;
        for (int r = from; r < to; r++) {
            //$ if h.mixes
            const int last = t >= ${h.name}_end(length, r) - 1;
            //$ end
            ${h.begin};
        }
        //$ else
        const int last = t == ${h.steps} - 1;
        for (int r = from; r < to; r++)
            ${h.begin};
        //$ end
        for (int q = 0; !${h.final} && q < ${h.back_panels}; q++)
            for (int r = from, m; r < to; r += m) {
                m = ${h.name}_some_${h.back_h}(to - r);
                ${h.name}_rows_${h.back_h}(m, ${h.uh} + ((ptrdiff_t)(t + 1) * ${h.blocks} * n + r) * ${h.uh_16} + ${h.uh_first}, ${h.uh_16}, 1, (ptrdiff_t)n * ${h.uh_16},
                    w${h.ut_first} + (ptrdiff_t)q * ${h.ut_panel}, ${h.ut_k}, ${h.lanes}, ${h.ut_block}, ${h.blocks}, ${h.step_nh_16}, ${h.step_nh_16}, dh + (ptrdiff_t)r * ${h.units} + q * ${h.ut_k}, ${h.units}, ${h.lanes});
            }
        //$ if h.unit_norms
        //$ emit h.walk_back
        //$ end
        for (int j = 0; j < ${h.blocks}; j++)
            for (int r = from; r < to; r++) {
                const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r, unit = (ptrdiff_t)r * ${h.units} + j * 16;
                //$ if h.lengths
                const int end = ${h.name}_end(length, r), last = t == end - 1;
                if (t >= end) { /* padding */
                    memset(kept + at * ${h.slots_16}, 0, sizeof(float) * ${h.slots_16});
                    continue;
                }
                //$ end
                //$ if h.unit_norms
                const float *const c = cs + at * 16;
                float *const s = kept + at * ${h.slots_16};
                const vf g = vf_load(dh + unit);
                //$ else
                const float *const c = cs + at * 16, *const z = dz + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
                float *const s = kept + at * ${h.slots_16};
                vf g = vf_load(dh + unit);
                ${h.given}
                //$ end
                ${h.name}_point_back(s, t ? c - (ptrdiff_t)${h.blocks_16} * n : NULL, c, t ? hs + (ptrdiff_t)(t - 1) * n * ${h.units} + unit : NULL, g, carry + unit, last);
                //$ if h.padded
                for (int k = 0; k < ${h.slots} && j == ${h.blocks} - 1; k++)
                    vf_store(s + k * 16, vf_first(vf_load(s + k * 16), ${h.hidden_last})); /* units that are not there */
                //$ end
            }
        //$ if h.resets
        for (int r = from; r < to; r++)
            memset(drh + (ptrdiff_t)r * ${h.units}, 0, sizeof(float) * ${h.units});
        for (int q = 0; q < ${h.back_panels}; q++) /* from n's sum through U to r h, and from there to r's sum and to h */
            for (int r = from, m; r < to; r += m) {
                m = ${h.name}_some_${h.back_h}(to - r);
                ${h.name}_rows_${h.back_h}(m, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, ${h.slots_16}, 1, (ptrdiff_t)n * ${h.slots_16},
                    w + (ptrdiff_t)q * ${h.ut_panel}, ${h.ut_k}, ${h.lanes}, ${h.ut_block}, ${h.blocks}, 16, 16, drh + (ptrdiff_t)r * ${h.units} + q * ${h.ut_k}, ${h.units}, ${h.lanes});
            }
        for (int j = 0; j < ${h.blocks}; j++)
            for (int r = from; r < to; r++) {
                const ptrdiff_t unit = (ptrdiff_t)r * ${h.units} + j * 16;
                float *const s = kept + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${h.slots_16} + 16;
                const vf reset = vf_load(s), d = vf_load(drh + unit), before = t ? vf_load(hs + (ptrdiff_t)(t - 1) * n * ${h.units} + unit) : vf_zero();
                vf_store(s, vf_sigmoid_back(vf_mul(d, before), reset));
                vf_store(carry + unit, vf_fma(d, reset, vf_load(carry + unit)));
            }
        //$ end
        //$ for q in h.step_norms
        for (int r = from; r < to; r++)
            //$ if h.lengths
            if (t >= ${h.name}_end(length, r))
                for (int j = 0; j < ${h.blocks}; j++)
                    memset(${q.var} + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${q.vectors_16}, 0, sizeof(float) * ${q.vectors_16});
            else
            //$ end
            ${h.name}_${q.name}_back(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16} + ${q.first_16}, n, w + ${q.turned_at},
                ${q.var}_scale + ((ptrdiff_t)t * n + r) * ${q.groups}, ${q.var}_sums + (ptrdiff_t)r * ${q.sums});
        //$ end
    }
    //$ for q in h.input_norms
    for (int t = 0; t < ${h.steps}; t++)
        for (int r = from; r < to; r++)
            //$ if h.lengths
            if (t >= ${h.name}_end(length, r))
                for (int j = 0; j < ${h.blocks}; j++)
                    memset(${q.var} + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${q.vectors_16}, 0, sizeof(float) * ${q.vectors_16});
            else
            //$ end
            ${h.name}_${q.name}_back(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.turned_at},
                ${q.var}_scale + ((ptrdiff_t)t * n + r) * ${q.groups}, ${q.var}_sums + (ptrdiff_t)r * ${q.sums});
    //$ end
    //$ if h.batch
    (void)dx; /* ${h.name}_backward_x does that */
    //$ else
    if (!dx)
        return;
    //$ emit h.of_back_x
    //$ end
}
//$ for b in h.batch
CVY_MAYBE void ${h.name}_backward_x(const float *w, const float *kept, float *dx, int n, int from, int to)
{
    const float *const wx = kept + (ptrdiff_t)${b.hat_at} * n;

    //$ emit h.of_back_x
}
//$ end

//$ end

//$ define cell_weights
/* Gradients of the weights of panel p, over all rows and steps, into `to`: [in][${h.nx}][${h.lanes}], [hidden][${h.nh}][${h.lanes}]. About 128 rows are added up before
 * their sum goes to memory. */
CVY_MAYBE void ${h.name}_weights(const float *x, const float *kept, float *to, int n, int p)
{
    const float *const hs = kept + (ptrdiff_t)${h.h_at} * n, *const s = ${h.of_wx} + (ptrdiff_t)(p / ${h.parts}) * n * ${h.wx_16} + p % ${h.parts} * ${h.lanes};
    const ptrdiff_t step = (ptrdiff_t)n * ${h.blocks} * ${h.wx_16};
    //$ if h.apart
    const float *const own = ${h.of_uh} + (ptrdiff_t)(p / ${h.parts}) * n * ${h.uh_16} + p % ${h.parts} * ${h.lanes};
    const ptrdiff_t own_step = (ptrdiff_t)n * ${h.blocks} * ${h.uh_16};
    //$ end
    //$ if h.resets
    const float *const rh = kept + (ptrdiff_t)${h.rh_at} * n;
    //$ end
    const int chunk = n < 128 ? 128 / n : 1;

    memset(to, 0, sizeof(float) * ${h.panel_grads});
    for (int t = 0; t < ${h.steps}; t += chunk) {
        const int some = ${h.steps} - t < chunk ? ${h.steps} - t : chunk, skip = t == 0; /* before the first step h is zero */
        for (int k = 0, m; k < ${h.in}; k += m) {
            const int left = ${h.in} - k < 16 - k % 16 ? ${h.in} - k : 16 - k % 16;
            m = ${h.name}_some_${h.nx}(left);
            ${h.name}_rows_${h.nx}(m, x + k / 16 * ${h.x_block} + ${h.at} * 16 + k % 16, 1, ${h.x_row}, ${h.at_step}, s + t * step, ${h.wx_16}, 16, step, some, n, n, to + (ptrdiff_t)k * ${h.w_k},
                ${h.w_k}, ${h.lanes});
        }
        for (int k = 0, m; k < ${h.hidden} && some > skip; k += m) {
            m = ${h.name}_some_${h.step_nh}(${h.hidden} - k);
            ${h.name}_rows_${h.step_nh}(m, hs + (ptrdiff_t)(t + skip - 1) * n * ${h.units} + k, 1, ${h.units}, (ptrdiff_t)n * ${h.units}, ${h.own} + (t + skip) * ${h.own_step} + ${h.uh_first}, ${h.uh_16}, 16,
                ${h.own_step}, some - skip, n, n, to${h.u_first} + ${h.in} * ${h.w_k} + (ptrdiff_t)k * ${h.u_k}, ${h.u_k}, ${h.lanes});
        }
        //$ if h.resets
        for (int k = 0, m; k < ${h.hidden} && some > skip; k += m) {
            m = ${h.name}_some_1(${h.hidden} - k);
            ${h.name}_rows_1(m, rh + (ptrdiff_t)(t + skip) * n * ${h.units} + k, 1, ${h.units}, (ptrdiff_t)n * ${h.units}, ${h.own} + (t + skip) * ${h.own_step}, ${h.slots_16}, 16,
                ${h.own_step}, some - skip, n, n, to + ${h.in} * ${h.w_k} + (ptrdiff_t)k * ${h.u_k}, ${h.u_k}, ${h.lanes});
        }
        //$ end
    }
}
/* Those of the biases of block j, in double. */
CVY_MAYBE void ${h.name}_biases(const float *kept, double *sum, int n, int j)
{
    memset(sum, 0, sizeof(double) * ${h.slots_16});
    for (int v = 0; v < ${h.slots}; v++) {
        vf part = vf_zero();
        int64_t added = 0;
        for (int t = 0; t < ${h.steps}; t++)
            for (int r = 0; r < n; r++) {
                part = vf_add(part, vf_load(kept + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${h.slots_16} + v * 16));
                if (++added % CVY_SUM == 0)
                    vf_drain(sum + v * 16, &part);
            }
        vf_drain(sum + v * 16, &part);
    }
}

//$ end

// Lines of a kernel's body.
//$ define cell_pack
//$ loop p 0 ${s.panels} 1 parallel k->net->threads
    cvy_cell_pack(&${s.cell}, $[p], k->w, k->u, ${s.bias}, k->copy);
//$ end
//$ end
//$ define cell_turn
//$ loop p 0 ${s.panels} 1 parallel k->net->threads
    cvy_cell_turn(&${s.cell}, $[p], k->w, k->u, k->copy);
//$ end
//$ end
//$ define cell_run
CVY_PARALLEL(k->net->threads)
for (int p = 0; p < k->net->threads; p++)
    ${s.core}_${s.call}, n, (int)((int64_t)n * p / k->net->threads), (int)((int64_t)n * (p + 1) / k->net->threads)${s.length});
//$ end
//$ define cell_trim
for (int r = 0; r < n; r++) /* products are over all steps: what pads x becomes zero */
    for (int t = ${s.core}_end(k->net->length, r); t < ${s.steps}; t++)
        for (int b = 0; b < ${s.blocks}; b++)
            memset(k->mat_back_x + (int64_t)r * ${s.row} + b * ${s.block} + t * 16, 0, sizeof(float) * 16);
//$ end
//$ define cell_grads
//$ loop p 0 ${s.panels} 1 parallel k->net->threads
    {
        ${s.core}_weights(k->mat_back_x, k->mat_steps, $[k->dw + ${s.panels_at} + p * (int64_t)${s.panel}], n, $[p]);
        cvy_cell_unpack(&${s.cell}, $[p], $[k->dw + ${s.panels_at} + p * (int64_t)${s.panel}], k->dw, k->dw + ${s.du_at});
    }
//$ end
//$ if s.sums
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    {
        double sum[${s.slots_16}];
        ${s.core}_biases(k->mat_steps, sum, n, $[j]);
//$ if s.bias
        cvy_cell_biases(&${s.cell}, $[j], sum, k->dw + ${s.db_at}, k->dw + ${s.dc_at});
//$ end
//$ for b in s.betas
        cvy_cell_spread(&${s.cell}, $[j], ${b.vectors}, ${b.gates}, sum + ${b.first_16}, k->dw + ${b.at});
//$ end
    }
//$ end
//$ end
//$ end
//$ define cell_norm_weights
cvy_cell_norm(&${s.cell}, ${s.vectors}, ${s.gates}, k->${s.gamma}, ${s.beta}, k->copy + ${s.at}); /* of the norm in '${s.name}' */
//$ end
//$ define cell_norm_grads
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    {
        double sum[${s.vectors_16}];
        ${s.core}_${s.name}_sums(k->mat_work, sum, n, $[j * ${s.vectors_16}]);
        cvy_cell_spread(&${s.cell}, $[j], ${s.vectors}, ${s.gates}, sum, k->dw + ${s.gamma_at});
//$ if s.unit_beta
        ${s.core}_${s.name}_sums(k->mat_work, sum, n, $[j * 16 + ${s.units}]);
        cvy_cell_spread(&${s.cell}, $[j], 1, NULL, sum, k->dw + ${s.beta_at});
//$ end
    }
//$ end
//$ end
//$ define cell_batch
//$ if s.moves
++*k->norm_input_batches;
//$ end
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    ${s.core}_batch(k->mat_steps, k->copy + ${s.at}, k->norm_input_istd, k->norm_input_mean, k->norm_input_var, ${s.still}, n, $[j]);
//$ end
//$ end
//$ define cell_batch_back
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    {
        double sums[${s.vectors_16} * 2];
        ${s.core}_batch_back(k->mat_steps, k->copy + ${s.at}, k->norm_input_istd, sums, ${s.still}, n, $[j]);
//$ if s.learns
        cvy_cell_spread(&${s.cell}, $[j], ${s.vectors}, ${s.cell}.x_gate, sums + ${s.vectors_16}, k->dw + ${s.gamma_at});
//$ end
    }
//$ end
//$ end
//$ define cell_clear
memset(k->dw, 0, sizeof(float) * ${s.floats}); /* what stands behind the parameters, to fill a block */
//$ end
//$ define cell_update
cvy_update(k->net, ${s.at}, ${s.floats}, k->dw + ${s.from}, ${s.floats}, 1, step, step->${s.decay});
//$ end
//$ define cell_infer
${s.core}_forward(${s.x}, f + ${s.folded}, steps, y, 1, 0, 1${s.state}${s.length});
//$ end
//$ define cell_traced
const float *const y = k->mat_y + (int64_t)i * ${s.floats}; /* of forward, which has just run */
//$ end
