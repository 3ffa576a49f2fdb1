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
//$ for q in h.affines
//$ emit q
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
//$ if h.meets
//$ for p in h.ahead
//$ emit p
//$ end
//$ for p in h.behind
//$ emit p
//$ end
//$ else
//$ emit h.backward
//$ end
//$ if h.in_parts
//$ emit h.backward_x
//$ end
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
//$ define cell_norms
const struct cvy_cell_batch norm[] = {${s.list}};
//$ end
//$ define cell_count
++*k->${s.name}_batches;
//$ end
//$ define cell_walk
for (int t = 0; t < ${s.steps}; t++) {
//$ for p in s.passes
    CVY_PARALLEL(k->net->threads)
    //$ if p.by_images
    for (int p = 0; p < k->net->threads; p++)
        ${s.core}_${p.call}, (int)((int64_t)n * p / k->net->threads), (int)((int64_t)n * (p + 1) / k->net->threads), 0, ${s.blocks});
    //$ else
    for (int j = 0; j < ${s.blocks}; j += ${s.group})
        ${s.core}_${p.call}, 0, n, j, j + ${s.group});
    //$ end
//$ end
}
//$ end
//$ define cell_walk_back
for (int t = ${s.steps} - 1; t >= 0; t--) {
//$ for p in s.passes
    CVY_PARALLEL(k->net->threads)
    //$ if p.by_images
    for (int p = 0; p < k->net->threads; p++)
        ${s.core}_${p.call}, (int)((int64_t)n * p / k->net->threads), (int)((int64_t)n * (p + 1) / k->net->threads), 0, ${s.blocks});
    //$ else
    for (int j = 0; j < ${s.blocks}; j += ${s.group})
        ${s.core}_${p.call}, 0, n, j, j + ${s.group});
    //$ end
//$ end
}
//$ end
//$ define cell_sums
memset(k->${s.name}_sums, 0, sizeof(double) * ${s.numbers});
//$ end
//$ define cell_batch_grads
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    {
        cvy_cell_spread(&${s.cell}, $[j], ${s.vectors}, ${s.gates}, k->${s.name}_sums + $[j * ${s.vectors_16}], k->dw + ${s.gamma_at});
//$ if s.unit_beta
        cvy_cell_spread(&${s.cell}, $[j], 1, NULL, k->${s.name}_sums + $[j * 16 + ${s.units}], k->dw + ${s.beta_at});
//$ end
    }
//$ end
//$ end
//$ define cell_batch
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
//$ if s.by_step
    for (int t = 0; t < ${s.steps}; t++)
        ${s.core}_input_batch${s.back}(k->mat_steps, k->copy + ${s.at}, norm + ${s.index}, n, t, t + 1, $[j]);
//$ else
    ${s.core}_input_batch${s.back}(k->mat_steps, k->copy + ${s.at}, norm + ${s.index}, n, 0, ${s.steps}, $[j]);
//$ end
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
