// Cores of embed: rows of a table, one for each token. `h` is the header's record. A row of the table has ${h.columns} floats; of an image x has the tokens,
// y [block of 16 channels][step][16].

//$ define table_file
/* core_${h.name}.h - ${h.doc}
 * ${h.licence} */
#ifndef ${h.guard}
#define ${h.guard}

#include "runtime/cvy_vec.h"

#include <math.h>

/* The row of token v; -1 where v is none. */
CVY_INLINE ptrdiff_t ${h.name}_row(float v)
{
    return v >= 0 && v < ${h.tokens} && (float)(int)v == v ? (int)v : -1;
}

/* Images [from, to): of each token its row; NaN of what is no token. */
CVY_MAYBE void ${h.name}_forward(const float *x, const float *w, float *y, int from, int to${h.length})
{
    for (int r = from; r < to; r++)
        for (int t = 0; t < ${h.steps}; t++) {
            const ptrdiff_t row = ${h.name}_row(x[(ptrdiff_t)r * ${h.steps} + t]);
            float *const yt = y + (ptrdiff_t)r * ${h.y_row} + t * 16;
            //$ if h.lengths
            if (length && t >= length[r]) { /* padding, whatever stands there */
                for (int j = 0; j < ${h.blocks}; j++)
                    vf_store(yt + j * ${h.y_block}, vf_zero());
                continue;
            }
            //$ end
            for (int j = 0; j < ${h.blocks}; j++) {
                vf v = row < 0 ? vf_set(NAN) : vf_load(w + row * ${h.columns} + j * 16);
                //$ if h.padded
                if (j == ${h.blocks} - 1)
                    v = vf_first(v, ${h.last}); /* channels that are not there */
                //$ end
                vf_store(yt + j * ${h.y_block}, v);
            }
        }
}
//$ if h.train

/* Adds to columns 16 j to 16 j + 15 of the table's gradient those of the rows that n images read, in their order. */
CVY_MAYBE void ${h.name}_weights(const float *x, const float *dz, float *dw, int n, int j${h.length})
{
    for (int r = 0; r < n; r++)
        for (int t = 0; t < ${h.end}; t++) {
            const ptrdiff_t row = ${h.name}_row(x[(ptrdiff_t)r * ${h.steps} + t]);
            float *const to = dw + row * ${h.columns} + j * 16;
            if (row >= 0)
                vf_store(to, vf_add(vf_load(to), vf_load(dz + (ptrdiff_t)r * ${h.y_row} + j * ${h.y_block} + t * 16)));
        }
}
//$ end

#endif
//$ end

// Lines of a kernel's body.
//$ define table_run
CVY_PARALLEL(k->net->threads)
for (int p = 0; p < k->net->threads; p++)
    ${s.core}_forward(k->mat_x, k->w, k->mat_y, (int)((int64_t)n * p / k->net->threads), (int)((int64_t)n * (p + 1) / k->net->threads)${s.length});
//$ end
//$ define table_grads
memset(k->dw, 0, sizeof(float) * ${s.floats});
//$ loop j 0 ${s.blocks} 1 parallel k->net->threads
    ${s.core}_weights(k->mat_back_x, k->mat_dz, k->dw, n, $[j]${s.length});
//$ end
//$ end
//$ define table_infer
${s.core}_forward(${s.x}, f + ${s.folded}, y, 0, 1${s.length});
//$ end
