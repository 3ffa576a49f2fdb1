// The lines of stage functions: what a step of a pass over pixels is in C. `s` is the step.

//$ define fwd_norm
${s.let} vf_norm(v${s.in}, &q->${s.op});
//$ end
// An activation, by its name, with its arguments; first_lanes: 0 does not become 0, and padding channels must.
//$ define fwd_act
//$ if s.first_lanes
${s.let} vf_first(vf_${s.act}(v${s.in}${s.args}), ${s.channels} - ${s.c});
//$ else
${s.let} vf_${s.act}(v${s.in}${s.args});
//$ end
//$ end
//$ define fwd_drop
${s.let} vf_dropout(&q->${s.op}, v${s.in}, ${s.index}, ${s.below}, ${s.arg});
//$ end
//$ define mask
//$ if s.unread
(void)v${s.in};
//$ end
${s.let} vf_dropout(&q->${s.op}, vf_set(1.0f), ${s.index}, ${s.below}, 1.0f);
//$ end

//$ define back_act
${s.g} = vf_${s.act}_back(${s.g}, v${s.value}${s.args});
//$ end
//$ define back_drop
${s.g} = vf_dropout(&q->${s.op}, ${s.g}, ${s.index}, ${s.below}, ${s.arg});
//$ end
//$ define back_scale
${s.g} = vf_mul(${s.g}, q->${s.op}.scale);
//$ end
//$ define back_stats
//$ if s.valid
g = vf_first(vf_norm_back(g, v${s.in}, &q->${s.of}taken), ${s.valid} - ${s.c});
//$ else
g = vf_norm_back(g, v${s.in}, &q->${s.of}taken);
//$ end
//$ end
//$ define split
vf ${s.g} = g;
//$ end

//$ define fwd_add
${s.let} vf_add(v${s.in}, v${s.in2});
//$ end
// A join's other operand, read where the join is, and given its gradient there.
//$ define skip
${s.let} vf_load($[q->${s.name} + (${s.pixel}) * 16]);
//$ end
//$ define skip_nchw
${s.let} vf_gather($[q->${s.name} + (${s.pixel})], ${s.plane}, ${s.channels} - ${s.c});
//$ end
//$ define skip_pad
//$ if s.nchw
${s.let} vf_gather_lanes($[q->${s.name} + (${s.pixel})], ${s.area}, $[${s.c} - ${s.before}], ${s.channels});
//$ else
${s.let} vf_load_lanes($[q->${s.name} + (${s.pixel}) * 16], ${s.area}, $[${s.c} - ${s.before}], ${s.channels});
//$ end
//$ end
//$ define give
vf_store($[q->${s.name} + (${s.pixel}) * 16], ${s.g});
//$ end
//$ define give_add
vf_store($[q->${s.name} + (${s.pixel}) * 16], vf_add(vf_load($[q->${s.name} + (${s.pixel}) * 16]), ${s.g}));
//$ end
//$ define give_pad
vf_add_lanes($[q->${s.name} + (${s.pixel}) * 16], ${s.area}, $[${s.c} - ${s.before}], ${s.channels}, ${s.g});
//$ end

//$ define bias
${s.let} vf_add(${s.given}, q->bias);
//$ end
//$ define store
vf_store($[q->stored + (${s.index}) * 16], v${s.in});
//$ end
//$ define store_lanes
vf_store_lanes($[q->stored + (${s.index}) * 16], ${s.area}, ${s.channel}, ${s.end}, v${s.in});
//$ end
//$ define stats
//$ if s.valid
vf_stats_take_first(&q->${s.of}stats, v${s.in}, ${s.valid} - ${s.c});
//$ else
vf_stats_take(&q->${s.of}stats, v${s.in});
//$ end
//$ end
//$ define sums
vf_norm_take(&q->${s.op}, v${s.in}, ${s.g});
//$ end
//$ define bias_grad
vf_sum_take(&q->bias, g);
//$ end
//$ define to_blocked
vf_store($[q->to + (${s.pixel}) * 16], ${s.value});
//$ end
//$ define to_sum
vf_store($[q->to + (${s.pixel}) * 16], vf_add(vf_load($[q->to + (${s.pixel}) * 16]), ${s.value}));
//$ end
//$ define to_lanes
vf_store_lanes($[q->to + (${s.pixel}) * 16], ${s.area}, ${s.channel}, ${s.end}, ${s.value});
//$ end
//$ define add_lanes
vf_add_lanes($[q->to + (${s.pixel}) * 16], ${s.area}, ${s.channel}, ${s.end}, ${s.value});
//$ end
//$ define to_plain
vf_scatter($[q->to + (${s.pixel})], ${s.plane}, ${s.channels}, ${s.value});
//$ end
//$ define unused_place
(void)y, (void)x;
//$ end

// Reading a value: ${s.what} declares or returns it; q->${s.from} points at the channel block.
//$ define read_blocked
${s.what} vf_load($[q->${s.from} + (${s.pixel}) * 16]);
//$ end
//$ define read_lanes
${s.what} vf_load_lanes($[q->${s.from} + (${s.pixel}) * 16], ${s.area}, ${s.channel}, ${s.end});
//$ end
//$ define read_nchw
${s.what} vf_gather($[q->${s.from} + (${s.pixel})], ${s.plane}, ${s.channels} - ${s.c});
//$ end
//$ define read_maxpool
const float *const p = $[q->${s.from} + (${s.pixel}) * 16];
//$ if s.several
vf best = vf_load(p), route = vf_zero();
//$ else
const vf best = vf_load(p);
//$ end
//$ for t in s.taps
vf_route(&best, &route, vf_load($[p + ${t.at}]), ${t.index});
//$ end
//$ if s.loop
/* ${s.count} taps: over the budget for unrolling */
//$ loop t 1 ${s.count} 1
    vf_route(&best, &route, vf_load($[p + t / ${s.across} * ${s.row} + t % ${s.across} * 16]), $[(float)t]);
//$ end
//$ end
//$ if s.keep
vf_store_route($[q->route + (${s.index}) * 16], ${s.won});
//$ end
//$ if s.what
${s.what} best;
//$ end
//$ end
//$ define read_avgpool
const float *const p = $[q->${s.from} + (${s.pixel}) * 16];
vf total = vf_load(p);
//$ for t in s.taps
total = vf_add(total, vf_load($[p + ${t.at}]));
//$ end
//$ if s.loop
/* ${s.count} taps: over the budget for unrolling */
//$ loop t 1 ${s.count} 1
    total = vf_add(total, vf_load($[p + t / ${s.across} * ${s.row} + t % ${s.across} * 16]));
//$ end
//$ end
${s.what} vf_mul(total, vf_set(${s.inverse}));
//$ end
//$ define read_global_avg_pool
vf total = vf_zero();
//$ loop i 0 ${s.plane} 1
    total = vf_add(total, vf_load($[q->${s.from} + i * 16]));
//$ end
${s.what} vf_mul(total, vf_set(${s.inverse}));
//$ end
//$ define read_flatten
${s.what} vf_flatten(q->${s.from}, ${s.plane}, ${s.c}, ${s.total});
//$ end

//$ define read_pad
${s.what} vf_load_lanes($[q->${s.from} + (${s.pixel}) * 16], ${s.area}, $[${s.c} - ${s.before}], ${s.channels});
//$ end

//$ define load_route
const vf route = vf_load_route($[q->route + (${s.index}) * 16]);
//$ end
// Gradients back through a window: each input pixel's share is added to `scatter`.
//$ define scatter_maxpool
float *const to = $[q->scatter + (${s.pixel}) * 16];
//$ for t in s.taps
vf_store($[to + ${t.at}], vf_add(vf_load($[to + ${t.at}]), vf_if_equal(${s.won}, vf_set(${t.index}), g)));
//$ end
//$ if s.loop
for (int t = 0; t < ${s.count}; t++) { /* ${s.count} taps: over the budget for unrolling */
    float *const tap = $[to + t / ${s.across} * ${s.row} + t % ${s.across} * 16];
    vf_store(tap, vf_add(vf_load(tap), vf_if_equal(${s.won}, vf_set((float)t), g)));
}
//$ end
//$ end
//$ define scatter_avgpool
float *const to = $[q->scatter + (${s.pixel}) * 16];
g = vf_mul(g, vf_set(${s.inverse}));
//$ for t in s.taps
vf_store($[to + ${t.at}], vf_add(vf_load($[to + ${t.at}]), g));
//$ end
//$ if s.loop
for (int t = 0; t < ${s.count}; t++) { /* ${s.count} taps: over the budget for unrolling */
    float *const tap = $[to + t / ${s.across} * ${s.row} + t % ${s.across} * 16];
    vf_store(tap, vf_add(vf_load(tap), g));
}
//$ end
//$ end
//$ define scatter_global_avg_pool
g = vf_mul(g, vf_set(${s.inverse}));
//$ loop i 0 ${s.plane} 1
    vf_store($[q->scatter + i * 16], g);
//$ end
//$ end
//$ define scatter_flatten
vf_unflatten(q->scatter, ${s.plane}, ${s.c}, ${s.total}, g);
//$ end

//$ define scatter_pad
vf_add_lanes($[q->scatter + (${s.pixel}) * 16], ${s.area}, $[${s.c} - ${s.before}], ${s.channels}, g);
//$ end

// What a pass sets up for a channel block, and what it leaves behind.
//$ define begin_load
q->${s.name} = ${s.expr};
//$ end
//$ define begin_drop
const uint64_t key_${s.op} = cvy_drop_key(${s.k}->${s.op}, ${s.at}->step, ${s.at}->image);
q->${s.op}.lane = vf_drop_lanes(key_${s.op}, ${s.channel}, ${s.plane});
q->${s.op}.key = (uint32_t)(key_${s.op} >> 32);
//$ end
//$ define begin_constants
${s.load}(&q->${s.name}, ${s.from}, ${s.padded});
//$ end
//$ define begin_sums
vf_norm_begin(&q->${s.op}, ${s.sums}, ${s.padded});
//$ end
//$ define begin_bias_grad
vf_sum_begin(&q->bias, ${s.k}->db + (int64_t)${s.at}->piece * ${s.padded} + ${s.channel});
//$ end
//$ define begin_stats
vf_stats_start(&q->${s.of}stats, ${s.part}, ${s.padded}, ${s.when}, ${s.lanes}, ${s.tag}_point, q, ${s.first});
//$ end
// Of the batch and of the image at once: the first value is taken once.
//$ define begin_both_stats
vf_stats_begin(&q->stats, ${s.part}, ${s.padded});
vf_stats_begin(&q->image_stats, ${s.image_part}, ${s.padded});
if (${s.when}) {
    ${s.tag}_point(q, ${s.first}, 0, 0);
    if (${s.batch_lacks})
        vf_stats_first(&q->stats, ${s.lanes});
    if (!q->again)
        vf_stats_first(&q->image_stats, ${s.lanes});
}
vf_stats_pivot(&q->stats);
vf_stats_pivot(&q->image_stats);
//$ end

//$ define written_ahead
cvy_written_ahead($[q->${s.name} + (${s.pixel}) * 16], ${s.row});
//$ end

// A pass over pixels: what a core calls for each register that it finishes, or a walk over an image.
//$ define pass
/* ${r.doc} */
struct ${r.tag} {
    //$ for f in r.head
    ${f.decl};
    //$ end
    //$ for f in r.fields
    ${f.decl};
    //$ end
};
//$ emit r.r
//$ if r.walks
//$ if r.steps
/* Of a thread's part of the channels. */
static void ${r.tag}_pass(const struct ${r.tag} *given, struct cvy_part part)
{
    struct ${r.tag} pass = *given; /* a copy, so that it stays in registers */
    const int from = cvy_part_from(${r.steps}, part.c, part.of_c) * ${r.step}, to = cvy_part_from(${r.steps}, part.c + 1, part.of_c) * ${r.step};
    //$ if r.r.one
    cvy_walk_one_some(&pass, from, to, ${r.begin_name}, ${r.tag}_read, ${r.tag}_point, ${r.end_name});
    //$ else
    cvy_walk_some(&pass, from, to, ${r.h}, ${r.w}, ${r.begin_name}, ${r.tag}_read, ${r.tag}_point, ${r.end_name});
    //$ end
}
//$ else
static void ${r.tag}_pass(const struct ${r.tag} *given)
{
    struct ${r.tag} pass = *given; /* a copy, so that it stays in registers */
    //$ if r.r.one
    cvy_walk_one(&pass, ${r.padded}, ${r.begin_name}, ${r.tag}_read, ${r.tag}_point, ${r.end_name});
    //$ else
    cvy_walk(&pass, ${r.padded}, ${r.h}, ${r.w}, ${r.begin_name}, ${r.tag}_read, ${r.tag}_point, ${r.end_name});
    //$ end
}
//$ end
//$ end

//$ end
//$ define pass_functions
//$ if r.one
CVY_INLINE vf ${r.tag}_point(void *pass, vf ${r.input})
//$ else
CVY_INLINE vf ${r.tag}_point(void *pass, vf ${r.input}, int y, int x)
//$ end
{
    //$ if r.point_uses_q
    struct ${r.tag} *const q = (struct ${r.tag} *)pass;
    //$ else
    (void)pass;
    //$ end
    //$ for s in r.point
    //$ emit s
    //$ end
    return ${r.result};
}
//$ if r.read
//$ if r.one
CVY_INLINE vf ${r.tag}_read(const void *pass)
//$ else
CVY_INLINE vf ${r.tag}_read(const void *pass, int y, int x)
//$ end
{
    const struct ${r.tag} *const q = (const struct ${r.tag} *)pass;
    //$ if r.read_ignores_place
    (void)y, (void)x;
    //$ end
    //$ for s in r.read
    //$ emit s
    //$ end
}
//$ end
//$ if r.begins
CVY_INLINE void ${r.tag}_begin(void *pass, int c)
{
    struct ${r.tag} *const q = (struct ${r.tag} *)pass;
    //$ if r.keeps_c
    q->c = c;
    //$ end
    //$ if r.ignores_c
    (void)c;
    //$ end
    //$ if r.begin
    //$ for s in r.begin
    //$ emit s
    //$ end
    //$ end
}
//$ end
//$ if r.first
CVY_INLINE void ${r.tag}_first(void *pass, int c, vf first, int y, int x)
{
    struct ${r.tag} *const q = (struct ${r.tag} *)pass;
    //$ for s in r.first
    //$ emit s
    //$ end
}
//$ end
//$ if r.ahead
CVY_INLINE void ${r.tag}_ahead(const void *pass, int y, int x)
{
    const struct ${r.tag} *const q = (const struct ${r.tag} *)pass;
    //$ for s in r.ahead
    //$ emit s
    //$ end
}
//$ end
//$ if r.several
CVY_INLINE void ${r.tag}_image(void *pass, int m)
{
    struct ${r.tag} *const q = (struct ${r.tag} *)pass;
    q->at = q->images + m;
}
//$ end
//$ if r.end
//$ if r.end_one
//$ for s in r.end
CVY_INLINE void ${r.tag}_end(void *pass) { ${s.drain}(&((struct ${r.tag} *)pass)->${s.name}); }
//$ end
//$ else
CVY_INLINE void ${r.tag}_end(void *pass)
{
    struct ${r.tag} *const q = (struct ${r.tag} *)pass;
    //$ for s in r.end
    ${s.drain}(&q->${s.name});
    //$ end
}
//$ end
//$ end
//$ end
