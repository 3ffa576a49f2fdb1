// Cores: a weight op on packed scratch. They know shapes and taps, never stages: what follows is given as functions.
// `h` is the header's record, `c` a core, `t` a register tile.

//$ define core_file
/* core_${h.name}.h - ${h.doc}
 * ${h.licence} */
#ifndef ${h.guard}
#define ${h.guard}

#include "runtime/cvy_vec.h"

//$ for c in h.cores
//$ emit c
//$ end
//$ for c in h.weights
//$ emit c
//$ end
#endif
//$ end

//$ define core
//$ for t in c.tiles
/* ${t.doc} */
CVY_INLINE void ${h.name}_${c.name}_${t.name}(const float *x, const float *w, const float *bias, int c, int y, int x0, ${t.parameters}
    cvy_begin *begin, cvy_point *point, cvy_end *end)
{
    //$ for v in t.vectors
    const vf bias${v.i} = bias ? vf_load(bias + c + ${v.c}) : vf_zero();
    //$ end
    //$ for a in t.acc
    vf ${a.name} = bias${a.v};
    //$ end

    //$ if t.taps
    for (int b = 0; b < ${c.blocks}; b++, x += ${c.x_block}, w += ${c.w_block})
        for (int r = ${t.row_from}; r < ${t.row_to}; r++) {
            const float *const xr = x + r * ${c.x_row}, *const wr = w + r * ${c.w_row};
            //$ for k in t.taps
            //$ if c.twice
            CVY_TWICE
            //$ end
            for (int l = 0; l < ${c.lanes}; l++) {
                //$ if c.apart
                const float *xt = xr + ${k.x} + l, *wt = wr + ${k.w} + l * 16;
                CVY_APART(xt);
                CVY_APART(wt);
                //$ else
                const float *const xt = xr + ${k.x} + l, *const wt = wr + ${k.w} + l * 16;
                //$ end
                //$ for v in t.vectors
                const vf w${v.i} = vf_load(wt + ${v.w});
                //$ end
                vf s;
                //$ for p in k.pixels
                //$ if t.lanewise
                s = vf_load(xt + ${p.x});
                //$ else
                s = vf_set(xt[${p.x}]);
                //$ end
                //$ for a in p.acc
                ${a.name} = vf_fma(s, w${a.v}, ${a.name});
                //$ end
                //$ end
            }
            //$ end
        }
    //$ else
    (void)x, (void)w${t.unused}; /* no tap reaches these pixels */
    //$ end
    //$ if c.single
    //$ if t.first
    if (y == ${c.y0} && x0 == ${c.x0})
        begin(run, c, ${t.given}, y, x0);
    (void)end; /* at the end of a row */
    //$ else
    (void)begin, (void)end; /* in the first tile, at the end of a row */
    //$ end
    //$ for v in t.vectors
    //$ for p in v.pixels
    point(run, ${p.acc}, y + ${p.y}, x0 + ${p.x});
    //$ end
    //$ end
    //$ else
    //$ for v in t.vectors
    begin(run, c + ${v.c}, ${v.first}, y, x0);
    //$ for p in v.pixels
    point(run, ${p.acc}, y + ${p.y}, x0 + ${p.x});
    //$ end
    end(run);
    //$ end
    //$ end
}
//$ end
/* ${c.doc} */
CVY_INLINE void ${h.name}_${c.name}(const float *x, const float *w, const float *bias, void *run, cvy_begin *begin, cvy_point *point,
    cvy_end *end)
{
    //$ if c.group
    const float *const first = x;
    //$ end
    for (int c = 0; c < ${c.channels}; c += ${c.c_step}, w += ${c.w_step}) {
        //$ if c.group
        x = first + c / ${c.group} * (ptrdiff_t)${c.x_group};
        //$ end
        //$ for b in c.bands
        for (int y = ${b.from}; y < ${b.to}; y += ${b.step}) {
            //$ if b.bounded
            const int r0 = ${c.row_from}, r1 = ${c.row_to};
            //$ end
            //$ for t in b.spans
            //$ if t.drained
            for (int i = ${t.from}; i < ${t.to}; i += ${t.step}) {
                ${h.name}_${c.name}_${t.name}(x + y * ${c.x_y} + i * ${c.x_x} + ${c.x_origin}, w, bias, c, ${c.y0} + y * ${c.ystep}, ${c.x0} + i * ${c.xstep},
                    ${t.bounds} begin, point, end);
                if (i % ${t.drained} == ${t.last})
                    end(run);
            }
            //$ else
            for (int i = ${t.from}; i < ${t.to}; i += ${t.step})
                ${h.name}_${c.name}_${t.name}(x + y * ${c.x_y} + i * ${c.x_x} + ${c.x_origin}, w, bias, c, ${c.y0} + y * ${c.ystep}, ${c.x0} + i * ${c.xstep},
                    ${t.bounds} begin, point, end);
            //$ end
            //$ end
            //$ if c.single
            end(run);
            //$ end
        }
        //$ end
    }
}

//$ end

//$ define weights
/* ${c.doc} */
static inline void ${h.name}_weights(const float *x, const float *dz, float *dw, int images, int fresh)
{
    //$ if c.bands
    for (int band = 0; band < ${c.h}; band += ${c.band})
    //$ end
    for (int c = 0; c < ${c.out_blocks}; c += ${c.vectors})
        for (int b = 0; b < ${c.blocks}; b++)
            for (int r = 0; r < ${c.rows}; r++) {
                const int y0 = ${c.y_from}, y1 = ${c.y_to};
                for (int l = 0; l < ${c.lanes}; l += ${c.step}) {
                    //$ if c.group
                    const float *const xb = x + c / ${c.group} * (ptrdiff_t)${c.x_group} + b * ${c.x_block} + r * ${c.x_row} + l * ${c.x_lane};
                    //$ else
                    const float *const xb = x + b * ${c.x_block} + r * ${c.x_row} + l;
                    //$ end
                    const float *const zb = dz + c * ${c.z_block} + ${c.z_origin};
                    float *const d = dw + c * ${c.w_out} + b * ${c.w_block} + r * ${c.w_row} + l * 16;
                    //$ for a in c.acc
                    vf ${a.name} = vf_zero();
                    //$ end
                    for (int m = 0; m < images; m++)
                        for (int y = y0; y < y1; y++) {
                            const float *xp = xb + m * ${c.x_image} + y * ${c.x_y}, *zp = zb + m * ${c.z_image} + y * ${c.z_y};
                            //$ for g in c.pixels
                            //$ if g.loop
                            for (int i = ${g.from}; i < ${g.to}; i += ${g.step}) {
                            //$ else
                            {
                            //$ end
                                //$ for p in g.each
                                {
                                    //$ if c.apart
                                    CVY_APART(xp);
                                    //$ end
                                    //$ for v in c.vector
                                    const vf z${v.i} = vf_load(zp + ${p.z} + ${v.z});
                                    //$ end
                                    vf s;
                                    //$ for q in p.inputs
                                    //$ if c.lanewise
                                    s = vf_load(xp + ${q.x});
                                    //$ else
                                    s = vf_set(xp[${q.x}]);
                                    //$ end
                                    //$ for a in q.acc
                                    ${a.name} = ${c.fma}(s, z${a.v}, ${a.name});
                                    //$ end
                                    //$ end
                                }
                                //$ end
                                xp += ${g.x}, zp += ${g.z};
                            }
                            //$ end
                        }
                    //$ for a in c.acc
                    vf_sum(d + ${a.w}, ${a.name}, ${c.fresh});
                    //$ end
                }
            }
}

//$ end
