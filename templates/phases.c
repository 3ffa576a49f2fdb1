// Winograd cores of a 3 x 3 conv of stride 2 (runtime/vec/phases.h has the transforms, and what the 81 products and 36 weights are). `h` is the
// header's record, `c` a core, `t` a register tile.

//$ define phases
//$ for t in c.tiles
/* ${t.doc}, at one of the 81 products */
CVY_KEEP void ${h.name}_${c.name}_${t.name}(const float *v, const float *u, float *m)
{
    //$ for a in t.acc
    vf ${a.name} = vf_zero();
    //$ end
    //$ loop b 0 ${c.blocks} 1 also v += ${c.v_block}, u += 256
        //$ if c.twice
        CVY_TWICE
        //$ end
        //$ loop l 0 ${c.lanes} 1
            const float *const vl = $[v + l], *const ul = $[u + l * 16];
            //$ for w in t.vectors
            const vf u${w.i} = vf_load($[ul + ${w.u}]);
            //$ end
            vf s;
            //$ for p in t.rows
            s = vf_set(vl[${p.v}]);
            //$ for a in p.acc
            ${a.name} = vf_fma(s, u${a.v}, ${a.name});
            //$ end
            //$ end
        //$ end
    //$ end
    //$ for a in t.acc
    vf_store($[m + ${a.m}], ${a.name});
    //$ end
}
//$ end
/* ${c.doc} */
CVY_INLINE void ${h.name}_${c.name}(const float *x, int images, const float *u, const float *bias,${c.part} float *work, struct cvy_next *next, void *pass,
    cvy_image *image, cvy_begin *begin, cvy_ahead *ahead, cvy_first *first, cvy_point *point, cvy_end *end)
{
    static const struct cvy_phases from = {${c.across}, ${c.tiles_image}, ${c.blocks}, ${c.x_image}, ${c.x_row}, ${c.x_col}, ${c.one_row}, ${c.one_col},
        ${c.x_block}, ${c.v_point}, ${c.v_block}};
    float *const m = $[work + ${c.m_at}];

    //$ if c.back
    (void)bias;
    //$ end
    //$ if c.parts
    const int first_step = cvy_part_from(${c.c_steps}, part.c, part.of_c), end_step = cvy_part_from(${c.c_steps}, part.c + 1, part.of_c);
    const int tiles = cvy_part_from($[images * ${c.tiles_image}], part.at + 1, part.of_at);
    for (int at = cvy_part_from($[images * ${c.tiles_image}], part.at, part.of_at); at < tiles; at += ${c.block}) {
        const int left = tiles - at, n = left < ${c.block} ? left : ${c.block};
    //$ else
    for (int at = 0; at < $[images * ${c.tiles_image}]; at += ${c.block}) {
        const int left = $[images * ${c.tiles_image} - at], n = left < ${c.block} ? left : ${c.block};
    //$ end
        cvy_phases_in(&from, $[x + ${c.x_origin}], at, n, work);
        //$ loop c ${c.c_from} ${c.c_to} ${c.c_step}
            const float *v = work;
            float *to = m;
            for (int p = 0; p < 36; p++) {
                //$ emit c.s
                const float *const up = $[u + c * (ptrdiff_t)${c.u_channel} + p * ${c.u_point}];
                for (int k = cvy_phases_of(p); k > 0; k--, v += ${c.v_point}, to += ${c.m_point}) {
                    int t = 0;
                    //$ if c.spans_alone
                    if (n <= ${c.tiles_image}) {
                        //$ for s in c.spans_alone
                        for (; t < n && t < ${s.to}; t += ${s.step})
                            ${h.name}_${c.name}_${s.name}(v + t * 16, up, to + t * 16);
                        //$ end
                        continue;
                    }
                    //$ end
                    //$ for s in c.spans
                    for (; t < n && t < ${s.to}; t += ${s.step})
                        ${h.name}_${c.name}_${s.name}(v + t * 16, up, to + t * 16);
                    //$ end
                }
            }
            for (int t = 0; t < n; t++) {
                const int tile = $[(at + t) % ${c.tiles_image}], y = $[tile / ${c.across} * ${c.side}], x0 = $[tile % ${c.across} * ${c.side}];
                const int rows = ${c.rows}, cols = ${c.cols};
                image(pass, $[(at + t) / ${c.tiles_image}]);
                //$ loop v 0 ${c.vectors} 1
                    CVY_ALIGNED float a[${c.side} * ${c.side} * 16];
                    //$ if c.back
                    cvy_phases_out_back($[m + (v * ${c.block} + t) * 16], ${c.m_point}, ${c.two_row}, ${c.two_col}, a);
                    //$ else
                    cvy_phases_out($[m + (v * ${c.block} + t) * 16], ${c.m_point}, bias ? $[bias + c + v * 16] : NULL, a);
                    //$ end
                    begin(pass, $[c + v * 16]);
                    first(pass, $[c + v * 16], vf_middle(vf_load(a), vf_load(a + ${c.middle} * 16), vf_load(a + 2 * ${c.middle} * 16)), y, x0);
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < cols; j++)
                            point(pass, vf_load(a + (${c.side} * i + j) * 16), y + i, x0 + j);
                    end(pass);
                //$ end
            }
        //$ end
    }
}

//$ end

//$ define phases_weights
/* ${c.doc}, summed over n tiles at `many` of the 81 products, whose weights are one */
CVY_KEEP void ${h.name}_weights_sum(const float *v, const float *z, float *m, int n, int many)
{
    //$ for k in c.spans
    //$ loop l ${k.from} ${k.to} ${k.step} own
        const float *vp = $[v + l], *zp = z;
        float *const ml = $[m + l * 16];
        //$ for a in k.acc
        vf ${a.name} = vf_zero();
        //$ end
        for (int p = 0; p < many; p++, vp += ${c.v_point}, zp += ${c.z_point}) {
            const float *vt = vp, *zt = zp;
            CVY_TWICE
            for (int t = 0; t < n; t++, vt += 16, zt += 16) {
                //$ for w in c.vector
                const vf z${w.i} = vf_load($[zt + ${w.z}]);
                //$ end
                vf s;
                //$ for p in k.inputs
                s = vf_set(vt[${p.v}]);
                //$ for a in p.acc
                ${a.name} = vf_fma(s, z${a.v}, ${a.name});
                //$ end
                //$ end
            }
        }
        //$ for a in k.acc
        vf_store($[ml + ${a.m}], ${a.name});
        //$ end
    //$ end
    //$ end
}
/* dw += the sum over `images` images of x * dz, ${c.block} tiles at a time; fresh: dw = it */
static inline void ${h.name}_weights(const float *x, const float *dz, float *dw, int images, int fresh, float *work, struct cvy_next *next)
{
    static const struct cvy_phases from = {${c.across}, ${c.tiles_image}, ${c.blocks}, ${c.x_image}, ${c.x_row}, ${c.x_col}, ${c.one_row}, ${c.one_col},
        ${c.x_block}, ${c.v_point}, ${c.v_block}};
    static const struct cvy_phases back = {${c.across}, ${c.tiles_image}, ${c.out_blocks}, ${c.z_image}, ${c.z_row}, 16, 0, 0, ${c.z_block}, ${c.z_point},
        ${c.v_block}};
    float *const z = $[work + ${c.z_at}], *const m = $[work + ${c.m_at}];

    for (int at = 0; at < $[images * ${c.tiles_image}]; at += ${c.block}) {
        const int left = $[images * ${c.tiles_image} - at], n = left < ${c.block} ? left : ${c.block};
        cvy_phases_in(&from, x, at, n, work);
        cvy_phases_spread(&back, $[dz + ${c.z_origin}], at, n, z);
        //$ loop c 0 ${c.out_blocks} ${c.vectors}
            //$ loop b 0 ${c.blocks} 1
                const float *vp = $[work + b * ${c.v_block}], *zp = $[z + c * ${c.v_block}];
                for (int p = 0; p < 36; p++) {
                    const int many = cvy_phases_of(p);
                    cvy_next_nearer(next);
                    ${h.name}_weights_sum(vp, zp, m + p * 256, n, many);
                    vp += many * ${c.v_point}, zp += many * ${c.z_point};
                }
                //$ loop v 0 ${c.vectors} 1
                    cvy_phases_taps($[m + v * ${c.m_vector}], $[dw + ((c + v) * (ptrdiff_t)${c.blocks} + b) * 2304], fresh && at == 0);
                //$ end
            //$ end
        //$ end
    }
}

//$ end
