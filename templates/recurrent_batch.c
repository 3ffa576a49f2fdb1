// bn with statistics over all rows of a batch: of W x of all steps or of each; and in the other places of each step, between whose parts all rows meet. `q` is a norm's
// record, `p` a pass of a step, `of` a part of one.

//$ define cell_batch_norm
//$ for q in h.batch
//$ emit q
//$ end
//$ end
//$ define cell_batch_one
/* bn of ${q.of}, of block j, over all rows of steps [t, end): a becomes xhat${q.also}. w: gamma, beta. The running statistics move, or, still, are what is taken. */
CVY_MAYBE void ${h.name}_${q.name}_batch(float *kept, const float *w, const struct cvy_cell_batch *norm, int n, int t, int end, int j)
{
    //$ if q.of_gates
    static const int gate[] = {${q.gates}};
    float *const sums = kept + ((ptrdiff_t)t * ${h.blocks} + j) * n * ${h.slots_16} + ${q.first_16};
    const ptrdiff_t sums_step = (ptrdiff_t)${h.blocks} * n * ${h.slots_16};
    //$ end
    const ptrdiff_t step = (ptrdiff_t)${h.blocks} * n * ${q.vectors_16}, running = (ptrdiff_t)${q.row} * ${q.channels};
    const double count = (double)n * (end - t), momentum = norm->momentum;
    float *const a = kept + (ptrdiff_t)${q.hat_at} * n + t * step + (ptrdiff_t)j * n * ${q.vectors_16}, *const by = norm->istd + ((ptrdiff_t)${q.own} * ${h.blocks} + j) * ${q.vectors_16};
    float *const running_mean = norm->mean + running, *const running_var = norm->var + running;
    float mean[${q.vectors_16}] = {0}, rest[${q.vectors_16}] = {0};
    double of[3][${q.vectors_16}] = {{0}}; /* sums of a, of (a - mean)^2, and of a - mean, which is what rounding left of it */
    vf from[${q.vectors}], part[${q.vectors}], left[${q.vectors}], scale[${q.vectors}];
    //$ if q.of_gates
    vf gamma[${q.vectors}], beta[${q.vectors}];
    //$ end

    for (int i = 0; i < 2 && !norm->still; i++) {
        int64_t added = 0;
        for (int v = 0; v < ${q.vectors}; v++)
            from[v] = vf_loadu(mean + v * 16), part[v] = left[v] = vf_zero();
        for (int s = 0; s < end - t; s++)
            for (int r = 0; r < n; r++) {
                for (int v = 0; v < ${q.vectors}; v++) {
                    const vf d = vf_sub(vf_load(a + s * step + (ptrdiff_t)r * ${q.vectors_16} + v * 16), from[v]);
                    part[v] = i ? vf_fma(d, d, part[v]) : vf_add(part[v], d);
                    left[v] = vf_add(left[v], d);
                }
                if (++added % CVY_SUM == 0)
                    for (int v = 0; v < ${q.vectors}; v++) {
                        vf_drain(of[i] + v * 16, &part[v]);
                        vf_drain(of[2] + v * 16, &left[v]);
                    }
            }
        for (int v = 0; v < ${q.vectors}; v++) {
            vf_drain(of[i] + v * 16, &part[v]);
            vf_drain(of[2] + v * 16, &left[v]);
        }
        for (int l = 0; l < ${q.vectors_16}; l++) {
            *(i ? &rest[l] : &mean[l]) = (float)(of[2][l] / count);
            of[2][l] = i ? of[2][l] / count : 0;
        }
    }
    for (int l = 0; l < ${q.vectors_16}; l++) {
        const int unit = j * 16 + l % 16, at = ${q.at};
        if (unit >= ${h.hidden}) {
            mean[l] = rest[l] = by[l] = 0;
            continue;
        }
        const double var = norm->still ? (double)running_var[at] : of[1][l] / count - of[2][l] * of[2][l];
        if (norm->still) {
            mean[l] = running_mean[at];
        } else {
            running_mean[at] = (float)((1 - momentum) * (double)running_mean[at] + momentum * (of[0][l] / count));
            running_var[at] = (float)((1 - momentum) * (double)running_var[at] + momentum * (var * count / (count > 1 ? count - 1 : 1)));
        }
        by[l] = (float)(1 / sqrt(var + ${q.eps}));
    }
    for (int v = 0; v < ${q.vectors}; v++) {
        from[v] = vf_loadu(mean + v * 16), left[v] = vf_loadu(rest + v * 16), scale[v] = vf_loadu(by + v * 16);
        //$ if q.of_gates
        gamma[v] = vf_load(w + j * ${q.vectors_16} + v * 16), beta[v] = vf_load(w + ${q.beta} + j * ${q.vectors_16} + v * 16);
        //$ end
    }
    for (int s = 0; s < end - t; s++)
        for (int r = 0; r < n; r++)
            for (int v = 0; v < ${q.vectors}; v++) {
                float *const at = a + s * step + (ptrdiff_t)r * ${q.vectors_16} + v * 16;
                vf x = vf_mul(vf_sub(vf_sub(vf_load(at), from[v]), left[v]), scale[v]);
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    x = vf_first(x, ${h.hidden_last}); /* units that are not there */
                //$ end
                vf_store(at, x);
                //$ if q.of_gates
                float *const to = sums + s * sums_step + (ptrdiff_t)r * ${h.slots_16} + v * 16;
                vf_store(to, vf_add(vf_load(to), vf_fma(gamma[v], x, beta[v])));
                //$ end
            }
    //$ if q.of_gates
    //$ else
    (void)w; /* whoever reads xhat applies it */
    //$ end
}
/* Backward of that, g being the gradient of what the norm made: ${q.becomes} the gradient of a. */
CVY_MAYBE void ${h.name}_${q.name}_batch_back(float *kept, ${q.given}const float *w, const struct cvy_cell_batch *norm, int n, int t, int end, int j)
{
    const ptrdiff_t step = (ptrdiff_t)${h.blocks} * n * ${q.vectors_16};
    const double count = (double)n * (end - t);
    float *const a = kept + (ptrdiff_t)${q.hat_at} * n + t * step + (ptrdiff_t)j * n * ${q.vectors_16};
    const float *const istd = norm->istd + ((ptrdiff_t)${q.own} * ${h.blocks} + j) * ${q.vectors_16};
    //$ if q.of_gates
    const float *const g = kept + ((ptrdiff_t)t * ${h.blocks} + j) * n * ${h.slots_16} + ${q.first_16};
    const ptrdiff_t g_step = (ptrdiff_t)${h.blocks} * n * ${h.slots_16};
    //$ else
    float *const g = dh + j * 16;
    const ptrdiff_t g_step = 0;
    //$ end
    double sums[2][${q.vectors_16}] = {{0}}; /* of g xhat, and of g */
    float one[${q.vectors_16}] = {0}, two[${q.vectors_16}] = {0};
    vf part[2][${q.vectors}];
    int64_t added = 0;

    for (int v = 0; v < ${q.vectors}; v++)
        part[0][v] = part[1][v] = vf_zero();
    for (int s = 0; s < end - t; s++)
        for (int r = 0; r < n; r++) {
            for (int v = 0; v < ${q.vectors}; v++) {
                const vf d = vf_load(g + s * g_step + (ptrdiff_t)r * ${q.g_row} + v * 16);
                part[0][v] = vf_fma(d, vf_load(a + s * step + (ptrdiff_t)r * ${q.vectors_16} + v * 16), part[0][v]);
                part[1][v] = vf_add(part[1][v], d);
            }
            if (++added % CVY_SUM == 0)
                for (int v = 0; v < ${q.vectors}; v++) {
                    vf_drain(sums[0] + v * 16, &part[0][v]);
                    vf_drain(sums[1] + v * 16, &part[1][v]);
                }
        }
    for (int v = 0; v < ${q.vectors}; v++) {
        vf_drain(sums[0] + v * 16, &part[0][v]);
        vf_drain(sums[1] + v * 16, &part[1][v]);
    }
    for (int l = 0; l < ${q.vectors_16}; l++) {
        norm->sums[j * ${q.vectors_16} + l] += sums[0][l];
        norm->sums[${q.beta} + j * ${q.vectors_16} + l] += sums[1][l];
        if (!norm->still) {
            two[l] = (float)(sums[0][l] / count);
            one[l] = (float)(sums[1][l] / count);
        }
    }
    for (int v = 0; v < ${q.vectors}; v++) {
        const vf mean = vf_loadu(one + v * 16), along = vf_loadu(two + v * 16), by = vf_mul(vf_load(w + j * ${q.vectors_16} + v * 16), vf_loadu(istd + v * 16));
        for (int s = 0; s < end - t; s++)
            for (int r = 0; r < n; r++) {
                float *const x = a + s * step + (ptrdiff_t)r * ${q.vectors_16} + v * 16;
                vf d = vf_load(g + s * g_step + (ptrdiff_t)r * ${q.g_row} + v * 16);
                d = vf_mul(by, vf_sub(vf_sub(d, mean), vf_mul(vf_load(x), along)));
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    d = vf_first(d, ${h.hidden_last});
                //$ end
                vf_store(${q.to_change}, d);
            }
    }
}

//$ end

// Where a bn by step stands behind U h: the passes of a step, each over rows [from, to) and blocks of units [first, past).
//$ define cell_ahead
/* Step t: ${p.does}. */
CVY_MAYBE void ${h.name}_ahead_${p.number}(const float *w, float *kept, float *y, const struct cvy_cell_batch *norm, int n, int t, int from, int to, int first, int past)
{
    const float *const u = w + ${h.u_at};
    float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    const float *const before = t ? hs + (ptrdiff_t)(t - 1) * n * ${h.units} : NULL;
    //$ if h.resets
    float *const rh = kept + (ptrdiff_t)${h.rh_at} * n; /* [step][row][unit], as h */
    //$ end
    //$ for q in h.rooms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end

    //$ for of in p.parts
    //$ emit of
    //$ end
    (void)u, (void)cs, (void)before, (void)y, (void)norm, (void)from, (void)to, (void)first, (void)past; /* no pass reads all */
    //$ if h.resets
    (void)rh;
    //$ end
    //$ for q in h.rooms
    (void)${q.var};
    //$ end
}
//$ end
//$ define ahead_rows
for (int r = from; r < to; r++)
    //$ if of.of_gates
    ${h.name}_${of.name}(${of.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${of.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${of.packed_at},
        kept + (ptrdiff_t)${of.scale_at} * n + ((ptrdiff_t)t * n + r) * ${of.groups});
    //$ else
    ${h.name}_${of.name}(${of.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * 16, n, kept + (ptrdiff_t)${of.scale_at} * n + (ptrdiff_t)t * n + r);
    //$ end
//$ end
//$ define ahead_blocks
for (int j = first; j < past; j++)
    ${h.name}_${of.name}_batch(kept, w + ${of.packed_at}, norm + ${of.index}, n, t, t + 1, j);
//$ end
//$ define ahead_gates
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r;
        float *const c = cs + at * 16;
        const vf sum = ${h.name}_gates(kept + at * ${h.slots_16}, t ? c - (ptrdiff_t)${h.blocks_16} * n : NULL);
        vf_store(cell + at * 16, sum);
        vf_store(c, sum);
    }
//$ end
//$ define ahead_units
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r;
        //$ if h.cell
        const vf normed = vf_fma(vf_load(w + ${h.cell_w_one} + j * 16), vf_load(cell + at * 16), vf_load(w + ${h.cell_w_one} + ${h.units} + j * 16));
        //$ if h.carried
        vf_store(cs + at * 16, normed);
        //$ end
        vf v = vf_mul(vf_load(kept + at * ${h.slots_16} + 48), vf_tanh(normed));
        //$ else
        float *const c = cs + at * 16;
        vf v = ${h.name}_point(kept + at * ${h.slots_16}, t ? c - (ptrdiff_t)${h.blocks_16} * n : NULL, c, before ? before + (ptrdiff_t)r * ${h.units} + j * 16 : NULL);
        //$ end
        //$ if h.padded
        if (j == ${h.blocks} - 1)
            v = vf_first(v, ${h.hidden_last}); /* units that are not there */
        //$ end
        //$ if h.hidden_norm
        vf_store(hidden + at * 16, v);
        //$ else
        float *const h = hs + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, *const yr = y + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf_store(h, v);
        ${h.give}
        //$ end
    }
//$ end
//$ define ahead_hidden
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
        const float *const x = hidden + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * 16;
        float *const h = hs + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, *const yr = y + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf v = vf_fma(vf_load(w + ${h.hidden_w_one} + j * 16), vf_load(x), vf_load(w + ${h.hidden_w_one} + ${h.units} + j * 16));
        //$ if h.padded
        if (j == ${h.blocks} - 1)
            v = vf_first(v, ${h.hidden_last});
        //$ end
        vf_store(h, v);
        ${h.give}
    }
//$ end

//$ define cell_behind
/* Backward of step t: ${p.does}. */
CVY_MAYBE void ${h.name}_behind_${p.number}(const float *dz, const float *w, float *kept, float *work, const struct cvy_cell_batch *norm, int n, int t, int from, int to, int first, int past)
{
    const float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    float *const dh = work, *const carry = work + (ptrdiff_t)n * ${h.units};
    const int last = t == ${h.steps} - 1;
    //$ if h.largest
    float *const won = carry + (ptrdiff_t)n * ${h.units}; /* the step whose h is the largest */
    //$ end
    //$ if h.resets
    float *const drh = work + (ptrdiff_t)n * ${h.drh_at};
    //$ end
    //$ for q in h.rooms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end

    //$ for of in p.parts
    //$ emit of
    //$ end
    (void)dz, (void)cs, (void)hs, (void)dh, (void)carry, (void)last, (void)norm, (void)from, (void)to, (void)first, (void)past; /* no pass reads all */
    //$ if h.largest
    (void)won;
    //$ end
    //$ if h.resets
    (void)drh;
    //$ end
    //$ for q in h.rooms
    (void)${q.var};
    //$ end
}
//$ end
//$ define behind_begin
for (int r = from; r < to; r++) {
    const ptrdiff_t unit = (ptrdiff_t)r * ${h.units} + first * 16;
    const size_t bytes = sizeof(float) * 16 * (size_t)(past - first);
    //$ if h.mixes
    if (!last)
        memcpy(dh + unit, carry + unit, bytes);
    else
    //$ end
        memset(dh + unit, 0, bytes);
    //$ if h.largest
    for (ptrdiff_t k = unit; last && k < (ptrdiff_t)r * ${h.units} + past * 16; k++) {
        float best = hs[k];
        int step = 0;
        for (int s = 1; s < ${h.steps}; s++) {
            const float v = hs[(ptrdiff_t)s * n * ${h.units} + k];
            if (!(v <= best) && best == best)
                best = v, step = s;
        }
        won[k] = (float)step;
    }
    //$ end
}
//$ emit h.of_products_back
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
        const ptrdiff_t unit = (ptrdiff_t)r * ${h.units} + j * 16;
        const float *const z = dz + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block};
        vf g = vf_load(dh + unit);
        ${h.given}
        vf_store(dh + unit, g);
        (void)z;
    }
//$ end
//$ define behind_rows
if (last)
    memset(work + (ptrdiff_t)${of.sums_at} * n + (ptrdiff_t)from * ${of.sums}, 0, sizeof(float) * ${of.sums} * (size_t)(to - from));
for (int r = from; r < to; r++)
    ${h.name}_${of.name}_back(${of.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${of.vectors_16}, ${of.g_rows}, n, w + ${of.turned_at},
        kept + (ptrdiff_t)${of.scale_at} * n + ((ptrdiff_t)t * n + r) * ${of.groups}, work + (ptrdiff_t)${of.sums_at} * n + (ptrdiff_t)r * ${of.sums});
//$ end
//$ define behind_blocks
for (int j = first; j < past; j++)
    ${h.name}_${of.name}_batch_back(kept, ${of.give}w + ${of.turned_at}, norm + ${of.index}, n, t, t + 1, j);
//$ end
//$ define behind_cell
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
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
//$ end
//$ define behind_units
for (int j = first; j < past; j++)
    for (int r = from; r < to; r++) {
        const ptrdiff_t at = ((ptrdiff_t)t * ${h.blocks} + j) * n + r, unit = (ptrdiff_t)r * ${h.units} + j * 16;
        const float *const c = cs + at * 16;
        float *const s = kept + at * ${h.slots_16};
        vf g = vf_load(dh + unit);
        //$ if h.cell
        //$ if h.carried
        //$ else
        g = last ? g : vf_add(g, vf_load(carry + unit));
        //$ end
        //$ end
        ${h.name}_point_back(s, t ? c - (ptrdiff_t)${h.blocks_16} * n : NULL, c, t ? hs + (ptrdiff_t)(t - 1) * n * ${h.units} + unit : NULL, g, carry + unit, last);
        //$ if h.padded
        for (int k = 0; k < ${h.slots} && j == ${h.blocks} - 1; k++)
            vf_store(s + k * 16, vf_first(vf_load(s + k * 16), ${h.hidden_last})); /* units that are not there */
        //$ end
    }
//$ end
