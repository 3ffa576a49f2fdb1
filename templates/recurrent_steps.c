// A pass over all steps: forward, and from the last step back.

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
//$ for q in x.tables
for (int t = 0; t < ${h.steps}; t++)
    for (int r = from; r < to; r++)
        ${h.name}_${q.name}(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.packed_at}${q.at_step});
//$ end
//$ end
// The products of a step with the h before it; of: which panels and blocks of units.
//$ define cell_products
//$ if of.clears
for (int j = first; j < past; j++)
    memset(${h.uh} + (((ptrdiff_t)t * ${h.blocks} + j) * n + from) * ${h.uh_16}, 0, sizeof(float) * ${h.uh_16} * (size_t)(to - from));
//$ end
for (int p = ${of.first_panel}; before && p < ${of.past_panel}; p++) /* U h */
    for (int r = from, m; r < to; r += m) {
        float *const s = ${h.uh} + (((ptrdiff_t)t * ${h.blocks} + p / ${h.parts}) * n + r) * ${h.uh_16} + ${h.uh_first} + p % ${h.parts} * ${h.lanes};
        m = ${h.name}_some_${h.step_nh}(to - r);
        ${h.name}_rows_${h.step_nh}(m, before + (ptrdiff_t)r * ${h.units}, ${h.units}, 1, 16, u${h.u_first} + (ptrdiff_t)p * ${h.u_panel}, ${h.u_k}, ${h.lanes}, ${h.u_k} * 16,
            ${h.blocks}, 16, ${h.hidden_last}, s, ${h.uh_16}, 16);
    }
//$ if h.resets
for (int j = ${of.first}; j < ${of.past}; j++)
    for (int r = from; r < to; r++) {
        float *const s = kept + (((ptrdiff_t)t * ${h.blocks} + j) * n + r) * ${h.slots_16} + 16;
        const vf reset = vf_sigmoid(vf_load(s));
        vf_store(s, reset);
        vf_store(rh + ((ptrdiff_t)t * n + r) * ${h.units} + j * 16, before ? vf_mul(reset, vf_load(before + (ptrdiff_t)r * ${h.units} + j * 16)) : vf_zero());
    }
for (int p = ${of.first_panel}; before && p < ${of.past_panel}; p++) /* U (r h), of n */
    for (int r = from, m; r < to; r += m) {
        float *const s = kept + (((ptrdiff_t)t * ${h.blocks} + p / ${h.parts}) * n + r) * ${h.slots_16} + p % ${h.parts} * ${h.lanes};
        m = ${h.name}_some_1(to - r);
        ${h.name}_rows_1(m, rh + ((ptrdiff_t)t * n + r) * ${h.units}, ${h.units}, 1, 16, u + (ptrdiff_t)p * ${h.u_panel}, ${h.u_k}, ${h.lanes}, ${h.u_k} * 16,
            ${h.blocks}, 16, ${h.hidden_last}, s, ${h.slots_16}, 16);
    }
//$ end
//$ end
//$ define cell_of_steps
//$ if h.resets
float *const rh = kept + (ptrdiff_t)${h.rh_at} * n; /* [step][row][unit], as h */
//$ end
for (int t = 0; t < ${h.steps}; t++) {
    const float *const before = ${h.h_before};
    //$ for of in h.products
    //$ emit of
    //$ end
    //$ for q in h.step_norms
    for (int r = from; r < to; r++)
        ${h.name}_${q.name}(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.packed_at},
            ${q.var}_scale + ((ptrdiff_t)t * n + r) * ${q.groups});
    //$ end
    //$ for q in h.step_tables
    for (int r = from; r < to; r++)
        ${h.name}_${q.name}(${q.var} + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${q.vectors_16}, kept + ((ptrdiff_t)t * ${h.blocks} * n + r) * ${h.slots_16}, n, w + ${q.packed_at}${q.at_step});
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
    //$ for q in h.tables
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end
    //$ if h.counts
    const int done = (int)state[${h.count_at}]; /* steps, as far as they have statistics of their own */
    //$ end

    //$ for x in h.whole
    //$ emit x
    //$ end
    //$ emit h.of_steps
    //$ if h.stream
    //$ if h.counts
    state[${h.count_at}] = (float)(done + 1 < ${h.table_rows} ? done + 1 : done);
    //$ end
    memcpy(state, hs, sizeof(float) * ${h.units});
    //$ if h.has_c
    memcpy(state + ${h.units}, cs, sizeof(float) * ${h.units});
    //$ end
    //$ end
}
//$ if h.in_parts
/* The same in parts, between which rows meet: W x of all steps, ${h.parts_are}. */
CVY_MAYBE void ${h.name}_forward_x(const float *x, const float *w, float *kept, int n, int from, int to)
{
    const float *const bias = w + ${h.bias_at};
    //$ for q in h.gate_rooms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end
    //$ for q in h.input_norms
    float *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n;
    //$ end

    //$ for x in h.alone
    //$ emit x
    //$ end
}
//$ if h.meets
//$ else
CVY_MAYBE void ${h.name}_forward_steps(const float *w, float *kept, float *y, int n, int from, int to)
{
    const float *const u = w + ${h.u_at};
    float *const cs = kept + (ptrdiff_t)${h.c_at} * n, *const hs = kept + (ptrdiff_t)${h.h_at} * n;
    //$ for q in h.norms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n, *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n;
    //$ end

    //$ emit h.of_steps
}
//$ end
//$ if h.train
//$ emit h.of_batch
//$ end
//$ end

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
//$ define cell_products_back
for (int q = ${of.first_back}; !${h.final} && q < ${of.past_back}; q++)
    for (int r = from, m; r < to; r += m) {
        m = ${h.name}_some_${h.back_h}(to - r);
        ${h.name}_rows_${h.back_h}(m, ${h.uh} + ((ptrdiff_t)(t + 1) * ${h.blocks} * n + r) * ${h.uh_16} + ${h.uh_first}, ${h.uh_16}, 1, (ptrdiff_t)n * ${h.uh_16},
            w${h.ut_first} + (ptrdiff_t)q * ${h.ut_panel}, ${h.ut_k}, ${h.lanes}, ${h.ut_block}, ${h.blocks}, ${h.step_nh_16}, ${h.step_nh_16}, dh + (ptrdiff_t)r * ${h.units} + q * ${h.ut_k}, ${h.units}, ${h.lanes});
    }
//$ end
//$ define cell_reset_back
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
//$ define cell_input_back
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
        //$ for of in h.products_back
        //$ emit of
        //$ end
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
        //$ emit h.reset_back
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
    //$ if h.in_parts
    (void)dx; /* ${h.name}_backward_x does that */
    //$ else
    //$ emit h.of_input_back
    if (!dx)
        return;
    //$ emit h.of_back_x
    //$ end
}

//$ end
//$ define cell_backward_x
CVY_MAYBE void ${h.name}_backward_x(const float *w, float *kept, float *work, float *dx, int n, int from, int to)
{
    //$ for q in h.gate_rooms
    float *const ${q.var} = kept + (ptrdiff_t)${q.hat_at} * n;
    //$ end
    //$ if h.meets
    //$ for q in h.input_norms
    float *const ${q.var}_scale = kept + (ptrdiff_t)${q.scale_at} * n, *const ${q.var}_sums = work + (ptrdiff_t)${q.sums_at} * n;
    memset(${q.var}_sums + (ptrdiff_t)from * ${q.sums}, 0, sizeof(float) * ${q.sums} * (size_t)(to - from));
    //$ end
    //$ emit h.of_input_back
    //$ end
    (void)work;
    if (!dx)
        return;
    //$ emit h.of_back_x
    //$ for q in h.gate_rooms
    (void)${q.var};
    //$ end
}

//$ end
