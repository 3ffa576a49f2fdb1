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

// bn by step of gates, at inference: w has a scale and a shift of the step.
//$ define cell_affine
/* ${q.doc} of a row, by its running statistics: scale a + shift is added to the sums s. */
CVY_MAYBE void ${h.name}_${q.name}(const float *a, float *s, int n, const float *w)
{
    for (int j = 0; j < ${h.blocks}; j++)
        for (int v = 0; v < ${q.vectors}; v++) {
            const float *const at = w + j * ${q.vectors_16} + v * 16;
            float *const to = s + (ptrdiff_t)j * n * ${h.slots_16} + ${q.first_16} + v * 16;
            const vf x = vf_load(a + (ptrdiff_t)j * n * ${q.vectors_16} + v * 16);
            vf_store(to, vf_add(vf_load(to), vf_fma(vf_load(at), x, vf_load(at + ${q.beta}))));
        }
}

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
    //$ if h.cell_rows
    ${h.name}_cell(cell + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, n, cell_scale + (ptrdiff_t)t * n + r);
    //$ end
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
    //$ if h.hidden_rows
    ${h.name}_hidden(hidden + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, n, hidden_scale + (ptrdiff_t)t * n + r);
    //$ end
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
