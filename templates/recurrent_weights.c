// Gradients of weights and biases: products over all steps, once the slots hold the gradients of sums.

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
