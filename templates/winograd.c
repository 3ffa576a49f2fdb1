// Winograd cores: a 3 x 3 conv of stride 1 by tiles of 4 x 4 outputs (runtime/vec/winograd.h has the transforms). `h` is the header's record,
// `c` a core, `t` a register tile.

//$ define winograd
//$ for t in c.tiles
/* ${t.doc}, at one of the 36 points */
CVY_KEEP void ${h.name}_${c.name}_${t.name}(const float *v, const float *u, float *m${c.adds_parameter})
{
    //$ for a in t.acc
    //$ if c.adds
    vf ${a.name} = adds ? vf_load($[m + ${a.m}]) : vf_zero();
    //$ else
    vf ${a.name} = vf_zero();
    //$ end
    //$ end
    //$ loop b 0 ${c.steps} 1 also v += ${c.v_block}, u += 256
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
/* The products of `n` tiles with the weights of ${c.c_step} channels at one of the 36 points. */
static inline void ${h.name}_${c.name}_products(const float *v, const float *u, float *m, int n${c.adds_parameter})
{
    int t = 0;
    //$ if c.spans_alone
    if (n <= ${c.tiles_image}) {
        //$ for s in c.spans_alone
        for (; t < n && t < ${s.to}; t += ${s.step})
            ${h.name}_${c.name}_${s.name}(v + t * 16, u, m + t * 16${c.adds_argument});
        //$ end
        return;
    }
    //$ end
    //$ for s in c.spans
    for (; t < n && t < ${s.to}; t += ${s.step})
        ${h.name}_${c.name}_${s.name}(v + t * 16, u, m + t * 16${c.adds_argument});
    //$ end
}
/* ${c.doc} */
CVY_INLINE void ${h.name}_${c.name}(const float *x, int images, const float *${c.weights}, const float *bias,${c.part} float *work, struct cvy_next *next, void *pass, cvy_image *image,
    cvy_begin *begin, cvy_ahead *ahead, cvy_first *first, cvy_point *point, cvy_end *end)
{
    static const struct cvy_tiles from = {${c.across}, ${c.tiles_image}, ${c.blocks}, ${c.x_image}, ${c.x_row}, ${c.x_block}, ${c.v_point}, ${c.v_block}};
    //$ if c.made
    float *const m = $[work + ${c.m_at}], *const u = $[work + ${c.u_at}];
    //$ else
    float *const m = $[work + ${c.m_at}];
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
        cvy_winograd_in(&from, $[x + ${c.x_origin}], at, n, work);
        //$ loop c ${c.c_from} ${c.c_to} ${c.c_step}
            //$ if c.made
            //$ loop b 0 ${c.blocks} ${c.made}
                const float *const taps = $[w + (c * (ptrdiff_t)${c.blocks} + b * 16) * 144];
                const float *const taps_next = ${c.next};
                //$ loop v 0 ${c.vectors} 1
                    cvy_winograd_points($[taps + v * ${c.taps_vector} + ${c.first_tap}], ${c.tap}, ${c.made}, $[u + v * ${c.u_vector}], ${c.u_point});
                //$ end
                for (int p = 0; p < 36; p++) {
                    //$ loop i 0 ${c.ahead} 1
                        CVY_PREFETCH($[taps_next + (p * ${c.ahead} + i) * 16]);
                    //$ end
                    //$ emit c.s
                    ${h.name}_${c.name}_products($[work + p * ${c.v_point} + b * ${c.v_block}], $[u + p * ${c.u_point}], $[m + p * ${c.m_point}], n${c.adds_value});
                }
            //$ end
            //$ else
            for (int p = 0; p < 36; p++) {
                //$ emit c.s
                ${h.name}_${c.name}_products($[work + p * ${c.v_point}], $[u + c * (ptrdiff_t)${c.u_channel} + p * ${c.u_point}], $[m + p * ${c.m_point}], n);
            }
            //$ end
            for (int t = 0; t < n; t++) {
                const int tile = $[(at + t) % ${c.tiles_image}], y = $[tile / ${c.across} * 4], x0 = $[tile % ${c.across} * 4];
                const int rows = ${c.rows}, cols = ${c.cols};
                image(pass, $[(at + t) / ${c.tiles_image}]);
                //$ loop v 0 ${c.vectors} 1
                    CVY_ALIGNED float a[16 * 16];
                    cvy_winograd_out($[m + (v * ${c.block} + t) * 16], ${c.m_point}, bias ? $[bias + c + v * 16] : NULL, a);
                    begin(pass, $[c + v * 16]);
                    first(pass, $[c + v * 16], vf_middle(vf_load(a), vf_load(a + 5 * 16), vf_load(a + 10 * 16)), y, x0);
                    for (int i = 0; i < rows; i++)
                        for (int j = 0; j < cols; j++)
                            point(pass, vf_load(a + (4 * i + j) * 16), y + i, x0 + j);
                    end(pass);
                //$ end
            }
        //$ end
    }
}

//$ end

// While products run, which hardly use memory, what is done to them later comes nearer: a part of the
// tiles at each point.
//$ define winograd_meanwhile
for (int s = p; ${s.when}s < $[n * ${s.vectors}]; s += 36) {
    const int t = $[s / ${s.vectors}], tile = $[(at + t) % ${s.tiles_image}];
    image(pass, $[(at + t) / ${s.tiles_image}]);
    begin(pass, $[c + s % ${s.vectors} * 16]);
    //$ loop y 0 ${s.side} 4
        //$ loop x 0 ${s.side} 4
            ahead(pass, $[tile / ${s.across} * ${s.side} + y], $[tile % ${s.across} * ${s.side} + x]);
        //$ end
    //$ end
}
cvy_next_nearer(next);
//$ end

//$ define winograd_weights
/* ${c.doc}, summed over n tiles at one of the 36 points */
CVY_KEEP void ${h.name}_weights_sum(const float *v, const float *z, float *m, int n)
{
    //$ for k in c.spans
    //$ loop l ${k.from} ${k.to} ${k.step} own
        const float *vt = $[v + l], *zt = z;
        float *const ml = $[m + l * 16];
        //$ for a in k.acc
        vf ${a.name} = vf_zero();
        //$ end
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
        //$ for a in k.acc
        vf_store($[ml + ${a.m}], ${a.name});
        //$ end
    //$ end
    //$ end
}
/* dw += the sum over `images` images of x * dz, ${c.block} tiles at a time; fresh: dw = it */
static inline void ${h.name}_weights(const float *x, const float *dz, float *dw, int images, int fresh, float *work, struct cvy_next *next)
{
    static const struct cvy_tiles from = {${c.across}, ${c.tiles_image}, ${c.blocks}, ${c.x_image}, ${c.x_row}, ${c.x_block}, ${c.v_point}, ${c.v_block}};
    static const struct cvy_tiles back = {${c.across}, ${c.tiles_image}, ${c.out_blocks}, ${c.z_image}, ${c.z_row}, ${c.z_block}, ${c.z_point}, ${c.v_block}};
    float *const z = $[work + ${c.z_at}], *const m = $[work + ${c.m_at}];

    for (int at = 0; at < $[images * ${c.tiles_image}]; at += ${c.block}) {
        const int left = $[images * ${c.tiles_image} - at], n = left < ${c.block} ? left : ${c.block};
        cvy_winograd_in(&from, x, at, n, work);
        cvy_winograd_spread(&back, $[dz + ${c.z_origin}], at, n, z);
        //$ loop c 0 ${c.out_blocks} ${c.vectors}
            //$ loop b 0 ${c.blocks} 1
                for (int p = 0; p < 36; p++) {
                    cvy_next_nearer(next);
                    ${h.name}_weights_sum($[work + p * ${c.v_point} + b * ${c.v_block}], $[z + p * ${c.z_point} + c * ${c.v_block}], m + p * 256, n);
                }
                //$ loop v 0 ${c.vectors} 1
                    cvy_winograd_taps($[m + v * ${c.m_vector}], $[dw + ((c + v) * (ptrdiff_t)${c.blocks} + b) * 2304], fresh && at == 0);
                //$ end
            //$ end
        //$ end
    }
}

//$ end
