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
CVY_INLINE void ${h.name}_${c.name}_${t.name}(${t.parameters})
{
    //$ for v in t.vectors
    const vf bias${v.i} = bias ? vf_load($[bias + c + ${v.c}]) : vf_zero();
    //$ end
    //$ for a in t.acc
    vf ${a.name} = bias${a.v};
    //$ end

    //$ if t.taps
    //$ loop b 0 ${c.blocks} 1 also x += ${c.x_block}, w += ${c.w_block}
        //$ loop r ${t.row_from} ${t.row_to} 1
            //$ if t.walks_rows
            const float *const xr = $[x + r * ${c.x_row}], *const wr = $[w + r * ${c.w_row}];
            //$ end
            //$ for k in t.taps
            //$ if c.twice
            CVY_TWICE
            //$ end
            //$ loop l 0 ${c.lanes} 1 own
                //$ if c.apart
                const float *xt = $[${t.x} + ${k.x} + l], *wt = $[${t.w} + ${k.w} + l * 16];
                CVY_APART(xt);
                CVY_APART(wt);
                //$ else
                const float *const xt = $[${t.x} + ${k.x} + l], *const wt = $[${t.w} + ${k.w} + l * 16];
                //$ end
                //$ for v in t.vectors
                const vf w${v.i} = vf_load($[wt + ${v.w}]);
                //$ end
                vf s;
                //$ for p in k.pixels
                //$ if t.lanewise
                s = vf_load($[xt + ${p.x}]);
                //$ else
                s = vf_set(xt[${p.x}]);
                //$ end
                //$ for a in p.acc
                ${a.name} = vf_fma(s, w${a.v}, ${a.name});
                //$ end
                //$ end
            //$ end
            //$ end
        //$ end
    //$ end
    //$ end
    //$ if c.single
    //$ if t.first
    if (y == ${c.y0} && x0 == ${c.x0}) {
        begin(pass, c);
        first(pass, c, ${t.given}, y, x0);
    }
    //$ end
    //$ for v in t.vectors
    //$ for p in v.pixels
    point(pass, ${p.acc}, $[y + ${p.y}], $[x0 + ${p.x}]);
    //$ end
    //$ end
    //$ else
    //$ for v in t.vectors
    begin(pass, $[c + ${v.c}]);
    first(pass, $[c + ${v.c}], ${v.first}, y, x0);
    //$ for p in v.pixels
    point(pass, ${p.acc}, $[y + ${p.y}], $[x0 + ${p.x}]);
    //$ end
    end(pass);
    //$ end
    //$ end
}
//$ end
/* ${c.doc} */
CVY_INLINE void ${h.name}_${c.name}(const float *x, const float *w, const float *bias,${c.part} void *pass, cvy_begin *begin, cvy_first *first,
    cvy_point *point, cvy_end *end)
{
    //$ if c.group
    const float *const x_first = x;
    //$ end
    //$ if c.ignores_x
    (void)x, (void)w;
    //$ end
    //$ if c.parts
    const int first_step = cvy_part_from(${c.steps}, part.c, part.of_c), end_step = cvy_part_from(${c.steps}, part.c + 1, part.of_c);
    w = $[w + first_step * (ptrdiff_t)${c.w_step}];
    //$ end
    //$ loop c ${c.c_from} ${c.c_to} ${c.c_step} also w += ${c.w_step}
        //$ if c.parts
        //$ if c.single
        if (part.of_at > 1)
            begin(pass, c); /* else the first tile does */
        //$ end
        //$ end
        //$ if c.group
        x = $[x_first + c / ${c.group} * (ptrdiff_t)${c.x_group}];
        //$ end
        //$ for b in c.bands
        //$ if b.bounded
        //$ loop y ${b.from} ${b.to} ${b.step} own
            const int r0 = $[${c.row_from}], r1 = $[${c.row_to}];
            //$ for t in b.spans
            //$ emit t
            //$ end
            //$ if c.single
            end(pass);
            //$ end
        //$ end
        //$ else
        //$ loop y ${b.from} ${b.to} ${b.step}
            //$ for t in b.spans
            //$ emit t
            //$ end
            //$ if c.single
            end(pass);
            //$ end
        //$ end
        //$ end
        //$ end
    //$ end
}

//$ end
// The register tiles of a row; a sum in float is drained before it has too many terms.
//$ define span
//$ loop i ${t.from} ${t.to} ${t.step}
    //$ if t.reads
    ${h.name}_${c.name}_${t.name}($[x + y * ${c.x_y} + i * ${c.x_x} + ${c.x_origin}], w, bias, $[c], $[${c.y0} + y * ${c.ystep}], $[${c.x0} + i * ${c.xstep}],
        ${t.arguments});
    //$ else
    ${h.name}_${c.name}_${t.name}(bias, $[c], $[${c.y0} + y * ${c.ystep}], $[${c.x0} + i * ${c.xstep}], ${t.arguments});
    //$ end
    //$ if t.drained
    if (i % ${t.drained} == ${t.last})
        end(pass);
    //$ end
    //$ if t.drains
    end(pass);
    //$ end
//$ end
//$ end

//$ define weights
/* ${c.doc} */
static inline void ${h.name}_weights(const float *x, const float *dz, float *dw, int images, int fresh)
{
    //$ loop band 0 ${c.h} ${c.band}
        //$ loop c 0 ${c.out_blocks} ${c.vectors}
            //$ loop b 0 ${c.blocks} 1
                //$ loop r 0 ${c.rows} 1
                    //$ if c.bounds
                    const int y0 = $[${c.y_from}], y1 = $[${c.y_to}];
                    //$ end
                    //$ loop l 0 ${c.lanes} ${c.step}
                        //$ if c.group
                        const float *const xb = $[x + c / ${c.group} * (ptrdiff_t)${c.x_group} + b * ${c.x_block} + r * ${c.x_row} + l * ${c.x_lane}];
                        //$ else
                        const float *const xb = $[x + b * ${c.x_block} + r * ${c.x_row} + l];
                        //$ end
                        const float *const zb = $[dz + c * ${c.z_block} + ${c.z_origin}];
                        float *const d = $[dw + c * ${c.w_out} + b * ${c.w_block} + r * ${c.w_row} + l * 16];
                        //$ for a in c.acc
                        vf ${a.name} = vf_zero();
                        //$ end
                        for (int m = 0; m < images; m++)
                            //$ if c.bounds
                            for (int y = y0; y < y1; y++) {
                                const float *xp = $[xb + m * ${c.x_image} + y * ${c.x_y}], *zp = $[zb + m * ${c.z_image} + y * ${c.z_y}];
                                //$ emit c.row
                            }
                            //$ else
                            //$ loop y 0 ${c.h} 1 own
                                const float *xp = $[xb + m * ${c.x_image} + y * ${c.x_y}], *zp = $[zb + m * ${c.z_image} + y * ${c.z_y}];
                                //$ emit c.row
                            //$ end
                            //$ end
                        //$ for a in c.acc
                        vf_sum($[d + ${a.w}], ${a.name}, ${c.fresh});
                        //$ end
                    //$ end
                //$ end
            //$ end
        //$ end
    //$ end
}

//$ end
// A row of dz.
//$ define weights_row
//$ for g in row.pixels
//$ if g.loop
//$ loop i ${g.from} ${g.to} ${g.step}
    //$ for p in g.each
    //$ emit p
    //$ end
    xp += ${g.x}, zp += ${g.z};
//$ end
//$ else
//$ for p in g.each
//$ emit p
//$ end
//$ if g.goes_on
xp += ${g.x}, zp += ${g.z};
//$ end
//$ end
//$ end
//$ end
// A pixel of it.
//$ define weights_pixel
{
    //$ if p.apart
    CVY_APART(xp);
    //$ end
    //$ for v in p.vector
    const vf z${v.i} = vf_load($[zp + ${p.z} + ${v.z}]);
    //$ end
    vf s;
    //$ for q in p.inputs
    //$ if p.lanewise
    s = vf_load($[xp + ${q.x}]);
    //$ else
    s = vf_set(xp[${q.x}]);
    //$ end
    //$ for a in q.acc
    ${a.name} = ${p.fma}(s, z${a.v}, ${a.name});
    //$ end
    //$ end
}
//$ end
