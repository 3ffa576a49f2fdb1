/* recurrent.c - recurrent ops: their core headers, and the lines of their kernels that call them.
 *
 * needs: a complete plan. sets: the text of core_<shape>.h; records of a layer's file and of the network's. */
#include "layer.h"

/* ---- the core ---- */

typedef struct Cell {
    const Kernel *k;
    const Op *o;
    const struct cvy_cell *c;
    const Target *target;
    Rec *h;
    bool stream;
} Cell;

/* A register tile: the side with fewer operands is in registers, the other's come one at a time. */
static void add_tile(const Cell *cell, int rows, int vectors)
{
    Rec *t = rec_add(cell->h, "tiles");

    rec_str(t, "template", "cell_tile");
    rec_int(t, "rows", rows);
    rec_int(t, "vectors", vectors);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            Rec *a = rec_add(t, "acc");
            rec_fmt(a, "name", "a%d_%d", r, v);
            rec_fmt(a, "at", "to%s%s", r ? xprintf(" + %d * ts", r) : "", v ? xprintf(" + %d * tv", v) : "");
        }
    const bool rows_first = rows <= vectors;
    Rec *part = rec_add(t, "parts");
    for (int i = 0; i < (rows_first ? rows : vectors); i++) {
        Rec *load = rec_add(part, "loads");
        rec_fmt(load, "name", rows_first ? "x%d" : "w%d", i);
        rec_fmt(load, "load", rows_first ? "vh_set(xk[%s])" : "vh_load(wk + %s)",
                i == 0 ? "0" : xprintf("%d * %s", i, rows_first ? "rs" : "vs"));
    }
    for (int i = 0; i < (rows_first ? vectors : rows); i++) {
        Rec *one = rec_add(t, "parts"), *load = rec_add(one, "loads");
        rec_fmt(load, "name", rows_first ? "w%d" : "x%d", i);
        rec_fmt(load, "load", rows_first ? "vh_load(wk + %s)" : "vh_set(xk[%s])",
                i == 0 ? "0" : xprintf("%d * %s", i, rows_first ? "vs" : "rs"));
        for (int j = 0; j < (rows_first ? rows : vectors); j++) {
            const int r = rows_first ? j : i, v = rows_first ? i : j;
            Rec *m = rec_add(one, "products");
            rec_fmt(m, "acc", "a%d_%d", r, v);
            rec_fmt(m, "x", "x%d", r);
            rec_fmt(m, "w", "w%d", v);
        }
    }
}

/* The tiles of so many vectors, and what chooses among them. */
static void add_tiles(const Cell *cell, int vectors)
{
    const int most = recurrent_rows(cell->target, vectors);

    for (int rows = 1; rows <= most; rows++)
        add_tile(cell, rows, vectors);
    Rec *t = rec_add(cell->h, "tiles");
    rec_str(t, "template", "cell_rows");
    rec_int(t, "vectors", vectors);
    rec_int(t, "most", most);
    rec_str(t, "some",
            most == 1 ? "left > 0"
                      : xprintf("left >= %d || left <= %d ? (left < %d ? left : %d) : (left + 1) / 2", 2 * most, most,
                                most, most));
    for (int rows = 1; rows <= most; rows++)
        rec_int(rec_add(t, "sizes"), "rows", rows);
}

static void add_all_tiles(const Cell *cell, bool train)
{
    const bool resets = cell->k->recurrent->resets; /* then U h is a product of two gates, and one of the third */
    const int nh = cell->c->nh, want[] = {cell->c->nx, nh - resets, resets ? 1 : nh, cell->c->back_h, cell->c->back_x};

    for (int i = 0; i < (train ? 5 : 3); i++) {
        bool there = false;
        for (int j = 0; j < i; j++)
            there |= want[j] == want[i];
        if (!there)
            add_tiles(cell, want[i]);
    }
}

/* Where step t reads, and, if all are returned, writes. */
static const char *element_text(const Op *o, int steps)
{
    return o->reverse ? xprintf("(%d - t)", steps - 1) : "t";
}

/* What is done with a step's h, v. */
static const char *give_text(int returns, int steps, const char *at, bool lengths)
{
    if (lengths && returns == RETURN_MEAN)
        return "v = t ? vf_add(vf_load(yr), v) : v;\n                "
               "vf_store(yr, t == end - 1 ? vf_div(v, vf_set((float)end)) : v);";
    if (lengths && returns == RETURN_LAST)
        return "if (t == end - 1)\n                    vf_store(yr, v);";
    switch (returns) {
    case RETURN_ALL:
        return xprintf("vf_store(yr + %s * 16, v);", at);
    case RETURN_MEAN:
        return xprintf("v = t ? vf_add(vf_load(yr), v) : v;\n                "
                       "vf_store(yr, t == %d ? vf_div(v, vf_set(%d.0f)) : v);",
                       steps - 1, steps);
    case RETURN_MAX:
        return "for (int l = 0; l < 16; l++) /* a NaN stays */\n                    "
               "if (t == 0 || (!(h[l] <= yr[l]) && yr[l] == yr[l]))\n                        yr[l] = h[l];";
    default:
        return xprintf("if (t == %d)\n                    vf_store(yr, v);", steps - 1);
    }
}

/* What y's gradient is to that of a step's h, g. */
static const char *given_text(int returns, int steps, const char *at, bool lengths)
{
    if (lengths && returns == RETURN_MEAN)
        return "g = vf_add(g, vf_div(vf_load(z), vf_set((float)end)));";
    switch (returns) {
    case RETURN_ALL:
        return xprintf("g = vf_add(g, vf_load(z + %s * 16));", at);
    case RETURN_MEAN:
        return xprintf("g = vf_add(g, vf_div(vf_load(z), vf_set(%d.0f)));", steps);
    case RETURN_MAX:
        return "g = vf_add(g, vf_if_equal(vf_set((float)t), vf_load(won + unit), vf_load(z)));";
    default:
        return "if (last)\n                    g = vf_add(g, vf_load(z));";
    }
}

static void put_sizes(const Cell *cell)
{
    const struct cvy_cell *c = cell->c;
    const RecurrentPart *p = cell->k->recurrent;
    const int64_t blocks = blocks_of(c->hidden), units = blocks * LANES, in_blocks = blocks_of(c->in), steps = p->steps;
    const bool all = cell->o->arg[ARG_RETURN].count == RETURN_ALL;
    const int64_t ut_k = c->back_h * c->lanes, wt_k = c->back_x * c->lanes;
    const struct {
        const char *name;
        int64_t value;
    } list[] = {{"steps", steps},
                {"in", c->in},
                {"hidden", c->hidden},
                {"slots", c->slots},
                {"nx", c->nx},
                {"nh", c->nh},
                {"step_nh", c->nh - p->resets},
                {"step_nh_16", (c->nh - p->resets) * LANES},
                {"resets", p->resets},
                {"rh_at", units * steps * (c->slots + p->state + 1)},
                {"drh_at", units * (cell->o->arg[ARG_RETURN].count == RETURN_MAX ? 3 : 2)},
                {"back_h", c->back_h},
                {"back_x", c->back_x},
                {"lanes", c->lanes},
                {"blocks", blocks},
                {"units", units},
                {"in_blocks", in_blocks},
                {"panels", units / c->lanes},
                {"parts", LANES / c->lanes},
                {"slots_16", c->slots * LANES},
                {"first_16", c->first * LANES},
                {"nx_16", c->nx * LANES},
                {"nh_16", c->nh * LANES},
                {"blocks_16", units},
                {"in_last", c->in - (in_blocks - 1) * LANES},
                {"hidden_last", c->hidden - (blocks - 1) * LANES},
                {"padded", c->hidden < units},
                {"x_row", in_blocks * steps * LANES},
                {"x_block", steps * LANES},
                {"y_row", units * (all ? steps : 1)},
                {"y_block", LANES * (all ? steps : 1)},
                {"w_k", c->nx * c->lanes},
                {"u_k", c->nh * c->lanes},
                {"w_panel", (int64_t)c->in * c->nx * c->lanes},
                {"u_panel", (int64_t)c->hidden * c->nh * c->lanes},
                {"u_at", units * c->in * c->nx},
                {"bias_at", units * ((int64_t)c->in * c->nx + (int64_t)c->hidden * c->nh)},
                {"c_at", units * steps * c->slots},
                {"h_at", units * steps * (c->slots + p->state)},
                {"ut_k", ut_k},
                {"ut_block", c->nh * LANES * ut_k},
                {"ut_panel", units * c->nh * ut_k},
                {"back_panels", units / ut_k},
                {"wt_at", units * units * c->nh},
                {"wt_k", wt_k},
                {"wt_block", c->nx * LANES * wt_k},
                {"wt_panel", units * c->nx * wt_k},
                {"x_panels", in_blocks * LANES / wt_k},
                {"x_vector", c->lanes == LANES ? steps * LANES : c->lanes},
                {"panel_grads", (c->in * (int64_t)c->nx + c->hidden * (int64_t)c->nh) * c->lanes}};

    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        rec_int(cell->h, list[i].name, list[i].value);
}

/* ---- norms in places ---- */

static const char *int_list(const int *v, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%d", i ? ", " : "", v[i]);
    return b.text;
}

/* The variable of a core that has what a norm reads, and then its xhat. */
static const char *norm_variable(CellPlace place)
{
    static const char *const name[] = {[PLACE_INPUT] = "wx",
                                       [PLACE_RECURRENT] = "uh",
                                       [PLACE_SUM] = "both",
                                       [PLACE_CELL] = "cell",
                                       [PLACE_HIDDEN] = "hidden"};

    return name[place];
}

/* Which row of a table of `rows` is step t's. */
static const char *row_text(int rows, int steps)
{
    return rows >= steps ? "t" : xprintf("(t < %d ? t : %d)", rows, rows - 1);
}

/* What is added to where a norm's weights are, of inference: those of the step. */
static const char *step_text(const Cell *cell, const CellNorm *m)
{
    const RecurrentPart *r = cell->k->recurrent;

    return !m || !m->rows ? ""
                          : xprintf(" + (ptrdiff_t)%s * %lld",
                                    cell->stream ? "done" : row_text(r->table_rows, r->steps), (long long)r->table_row);
}

/* The number of a bn among those of a kernel. */
static int batch_index(const Kernel *k, const CellNorm *m)
{
    int n = 0;

    for (const CellNorm *other = k->recurrent->norm; other < m; other++)
        n += place_is_bn(other->norm);
    return n;
}

/* Of bn. */
static void put_batch(const Cell *cell, const CellNorm *m, Rec *q)
{
    const bool gates = place_info[m->place].of_gates;
    const int hidden = cell->c->hidden;

    rec_str(q, "gates", gates ? int_list(recurrent_norm_gates(m, cell->c), m->vectors) : "");
    rec_int(q, "index", batch_index(cell->k, m));
    rec_str(q, "row", m->rows ? row_text(m->rows, cell->k->recurrent->steps) : "0");
    rec_str(q, "own", m->rows ? "t" : "0");
    rec_int(q, "channels", m->vectors * hidden);
    rec_str(q, "at", gates ? xprintf("gate[l / 16] * %d + unit", hidden) : "unit");
    rec_str(q, "at_step", step_text(cell, m));
    rec_str(q, "given", gates ? "" : "float *dh, ");
    rec_int(q, "g_row", gates ? cell->c->slots * LANES : blocks_of(hidden) * LANES);
    rec_str(q, "to_change", gates ? "x" : xprintf("g + (ptrdiff_t)r * %d", blocks_of(hidden) * LANES));
}

static Rec *norm_record(const Cell *cell, const CellNorm *m, const char *template)
{
    const bool gates = place_info[m->place].of_gates, centred = op_info[m->norm->op].norm->centred;
    const int per_group = m->groups ? m->vectors / m->groups : 0;
    const int64_t units = (int64_t)blocks_of(cell->c->hidden) * LANES;
    Rec *q = rec_new();

    rec_str(q, "template", template);
    rec_str(q, "name", place_info[m->place].name);
    rec_str(q, "var", norm_variable(m->place));
    rec_str(q, "of", place_info[m->place].of);
    rec_fmt(q, "doc", "%s of %s%s", op_info[m->norm->op].name, place_info[m->place].of,
            m->groups > 1 ? ", each gate by itself," : "");
    rec_str(q, "also", gates ? ", and gamma xhat + beta is added to the sums s" : "");
    rec_str(q, "to", gates ? "float *s, " : "");
    rec_str(q, "weights", gates ? "const float *w, " : "");
    rec_int(q, "of_gates", gates);
    rec_int(q, "centred", centred);
    rec_int(q, "vectors", m->vectors);
    rec_int(q, "vectors_16", m->vectors * LANES);
    rec_int(q, "first_16", m->first * LANES);
    rec_int(q, "groups", m->groups);
    rec_int(q, "per_group", per_group);
    rec_fmt(q, "count", "%d.0f", per_group * cell->c->hidden);
    rec_str(q, "eps", emit_float(m->norm->eps));
    rec_str(q, "centre", centred ? "vf_sub(vf_load(a + j * apart + v * 16), mean)" : "vf_load(a + j * apart + v * 16)");
    rec_str(q, "centre_back", centred ? "vf_sub(own, one)" : "own");
    rec_int(q, "beta", units * m->vectors);
    rec_str(q, "becomes", gates ? "a becomes" : "g becomes");
    rec_str(q, "and_beta", gates ? "" : ", and behind that beta's");
    rec_str(q, "changes", gates ? "float *a, const float *g" : "const float *a, float *g");
    rec_str(q, "apart_g", gates ? xprintf("(ptrdiff_t)n * %d", cell->c->slots * LANES) : "16");
    rec_str(q, "changed", gates ? "a + j * apart" : "g + j * apart_g");
    rec_int(q, "hat_at", m->hat_at);
    rec_int(q, "scale_at", m->scale_at);
    rec_int(q, "packed_at", m->packed_at);
    rec_int(q, "turned_at", m->turned_at);
    rec_int(q, "sums_at", m->sums_at);
    rec_int(q, "sums", m->sums);
    put_batch(cell, m, q);
    return q;
}

/* Where a product's sums go, and later their gradients are: `name`, as they are called in a pass, "of_" `name`, from
 * what is kept, and how far a row is from the next. */
static const CellNorm *product_to(const Cell *cell, const char *name, CellPlace own)
{
    const CellNorm *m = recurrent_norm(cell->k, own);

    if (!m)
        m = recurrent_norm(cell->k, PLACE_SUM);
    rec_str(cell->h, name, m ? norm_variable(m->place) : "kept");
    rec_str(cell->h, xprintf("of_%s", name), m ? xprintf("kept + (ptrdiff_t)%lld * n", (long long)m->hat_at) : "kept");
    rec_int(cell->h, xprintf("%s_16", name), (m ? m->vectors : cell->c->slots) * LANES);
    return m;
}

/* The products of a step, of all panels and units. */
static void put_products(const Cell *cell)
{
    const struct cvy_cell *c = cell->c;
    const int64_t blocks = blocks_of(c->hidden), wide = c->back_h * c->lanes;
    Rec *ahead = rec_add(cell->h, "products"), *back = rec_add(cell->h, "products_back");

    rec_str(ahead, "template", "cell_products");
    rec_int(ahead, "first_panel", 0);
    rec_int(ahead, "past_panel", blocks * LANES / c->lanes);
    rec_int(ahead, "first", 0);
    rec_int(ahead, "past", blocks);
    rec_str(back, "template", "cell_products_back");
    rec_int(back, "first_back", 0);
    rec_int(back, "past_back", blocks * LANES / wide);
}

/* "first * 2", "first / 2" */
static const char *times(const char *what, int64_t by, int64_t over)
{
    return by > over   ? xprintf("%s * %lld", what, (long long)(by / over))
           : by < over ? xprintf("%s / %lld", what, (long long)(over / by))
                       : what;
}

static const char *part_text(StepPartKind kind, const CellNorm *norm)
{
    static const char *const text[] = {[PART_PRODUCT] = "U h",
                                       [PART_GATES] = "c",
                                       [PART_HIDDEN] = "h",
                                       [PART_BEGIN] = "the gradient of h",
                                       [PART_CELL] = "through o to what the norm of c made",
                                       [PART_RESET] = "through U (r h)",
                                       [PART_UNITS] = "the cell"};

    return kind == PART_NORM ? xprintf("%s of %s", op_info[norm->norm->op].name, place_info[norm->place].of)
                             : text[kind];
}

static Rec *part_record(const Cell *cell, StepPartKind kind, const CellNorm *m, bool back)
{
    static const char *const template[] = {
        [PART_PRODUCT] = "cell_products", [PART_GATES] = "ahead_gates", [PART_HIDDEN] = "ahead_hidden",
        [PART_BEGIN] = "behind_begin",    [PART_CELL] = "behind_cell",  [PART_RESET] = "cell_reset_back"};
    const struct cvy_cell *c = cell->c;
    const int slots = c->slots * LANES, blocks = blocks_of(c->hidden), wide = c->back_h * c->lanes;

    if (kind == PART_NORM) {
        Rec *q = norm_record(cell, m, xprintf("%s_%s", back ? "behind" : "ahead", m->rows ? "blocks" : "rows"));
        const bool gates = place_info[m->place].of_gates;
        rec_str(q, "give", gates ? "" : "dh, ");
        rec_str(q, "g_rows",
                gates ? xprintf("kept + ((ptrdiff_t)t * %d * n + r) * %d + %d", blocks, slots, m->first * LANES)
                      : xprintf("dh + (ptrdiff_t)r * %d", blocks * LANES));
        return q;
    }
    Rec *p = rec_new();
    rec_int(p, "clears", kind == PART_PRODUCT && recurrent_norm(cell->k, PLACE_RECURRENT));
    rec_str(p, "template", kind == PART_UNITS ? back ? "behind_units" : "ahead_units" : template[kind]);
    rec_str(p, "first_panel", times("first", LANES, c->lanes));
    rec_str(p, "past_panel", times("past", LANES, c->lanes));
    rec_str(p, "first", "first");
    rec_str(p, "past", "past");
    rec_str(p, "first_back", times("first", LANES, wide));
    rec_str(p, "past_back", times("past", LANES, wide));
    return p;
}

/* The passes of a step in which all images meet. */
static void put_passes(const Cell *cell)
{
    for (int back = 0; back < 2; back++) {
        StepPass pass[STEP_PASSES];
        const int n = recurrent_passes(cell->k, back, pass);
        for (int i = 0; i < n; i++) {
            Rec *p = rec_add(cell->h, back ? "behind" : "ahead");
            Buf does = {0};
            rec_str(p, "template", back ? "cell_behind" : "cell_ahead");
            rec_int(p, "number", i);
            for (int j = 0; j < pass[i].npart; j++) {
                rec_push(p, "parts", part_record(cell, pass[i].part[j].kind, pass[i].part[j].norm, back));
                buf_printf(&does, "%s%s",
                           j                   ? "; "
                           : pass[i].by_images ? "of some rows, "
                                               : "of some units, ",
                           part_text(pass[i].part[j].kind, pass[i].part[j].norm));
            }
            rec_str(p, "does", does.text);
        }
    }
}

static void put_norms(const Cell *cell)
{
    const RecurrentPart *r = cell->k->recurrent;
    const CellNorm *wx = product_to(cell, "wx", PLACE_INPUT), *uh = product_to(cell, "uh", PLACE_RECURRENT),
                   *c = recurrent_norm(cell->k, PLACE_CELL), *hidden = recurrent_norm(cell->k, PLACE_HIDDEN);
    Rec *h = cell->h;

    rec_int(h, "uh_first", uh ? 0 : r->resets ? LANES : cell->c->first * LANES);
    rec_str(h, "u_first", r->resets ? xprintf(" + %d", cell->c->lanes) : "");
    rec_str(h, "ut_first", r->resets ? xprintf(" + %d", LANES * cell->c->back_h * cell->c->lanes) : "");
    rec_int(h, "apart", wx != uh);
    rec_str(h, "own", wx != uh ? "own" : "s");
    rec_str(h, "own_step", wx != uh ? "own_step" : "step");
    rec_int(h, "cell", c != NULL);
    rec_int(h, "cell_rows", c && !c->rows);
    rec_int(h, "carried", c && c->norm->carried);
    rec_int(h, "hidden_norm", hidden != NULL);
    rec_int(h, "hidden_rows", hidden && !hidden->rows);
    rec_int(h, "unit_norms", c || hidden);
    for (int i = 0; i < 2; i++) {
        const CellNorm *m = i ? hidden : c;
        const char *name = i ? "hidden" : "cell";
        rec_fmt(h, xprintf("%s_w", name), "%lld%s", (long long)(m ? m->packed_at : 0), step_text(cell, m));
        rec_int(h, xprintf("%s_w_one", name), m ? m->packed_at : 0);
        rec_int(h, xprintf("%s_w_back", name), m ? m->turned_at : 0);
        rec_int(h, xprintf("%s_sums", name), m ? m->sums : 0);
    }
    static const char *const parts[][2] = {{"total", "cell_total"},
                                           {"walk", "cell_units"},
                                           {"walk_back", "cell_units_back"},
                                           {"of_steps", "cell_of_steps"},
                                           {"of_back_x", "cell_back_x"},
                                           {"of_input_back", "cell_input_back"},
                                           {"of_products_back", "cell_products_back"},
                                           {"reset_back", "cell_reset_back"},
                                           {"backward_x", "cell_backward_x"},
                                           {"of_batch", "cell_batch_norm"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        emit_part(h, parts[i][0], parts[i][1]);
    const CellNorm *batch = recurrent_batch(cell->k);
    const bool meets = recurrent_meets(cell->k), in_parts = meets || (wx && place_is_bn(wx->norm)),
               apart = wx && wx != batch;
    Rec *whole = rec_add(h, "whole"), *alone = in_parts ? rec_add(h, "alone") : rec_new();
    rec_str(whole, "template", "cell_of_x");
    rec_str(whole, "to", apart ? norm_variable(wx->place) : "kept");
    rec_int(whole, "to_16", (apart ? wx->vectors : cell->c->slots) * LANES);
    rec_str(alone, "template", "cell_of_x");
    rec_str(alone, "to", wx ? norm_variable(wx->place) : "kept");
    rec_int(alone, "to_16", (wx ? wx->vectors : cell->c->slots) * LANES);
    rec_int(h, "meets", meets);
    rec_int(h, "in_parts", in_parts);
    rec_str(h, "parts_are",
            meets ? "and the passes of each step"
                  : xprintf("its norm, %s_input_batch, by blocks, the steps", cell->k->w->core_name));
    for (int i = 0; i < r->nnorm; i++) {
        const CellNorm *m = &r->norm[i];
        const bool of_gates = place_info[m->place].of_gates, input = m->place == PLACE_INPUT, bn = place_is_bn(m->norm),
                   rows = !bn, table = m->rows > 0,
                   cleared = of_gates && !(meets && m->place == PLACE_RECURRENT); /* else in each step */
        const struct {
            const char *name;
            bool in;
        } lists[] = {{"norms", rows},
                     {"normed", rows},
                     {"gate_rooms", cleared},
                     {"input_norms", rows && input},
                     {"step_norms", rows && of_gates && !input},
                     {"tables", table},
                     {"step_tables", table && of_gates && !input},
                     {"rooms", true}};
        Rec *q = norm_record(cell, m, table ? "cell_affine" : "cell_norm");
        for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
            if (lists[l].in)
                rec_push(h, lists[l].name, q);
        if (table && of_gates)
            rec_push(h, "affines", q);
        if (bn)
            rec_push(h, "batch", norm_record(cell, m, "cell_batch_one"));
        if (of_gates && m != batch)
            rec_push(whole, "cleared", q);
        if (cleared)
            rec_push(alone, "cleared", q);
        if (rows && input)
            rec_push(whole, "norms", q);
        if (rows && input)
            rec_push(alone, "norms", q);
        if (table && input)
            rec_push(whole, "tables", q);
    }
    put_products(cell);
    if (meets)
        put_passes(cell);
}

/* What a step has of the one before: of a stream's only step, the state that its caller keeps: h, and c behind it. */
static void put_state(const Plan *p, const Kernel *k, Rec *h)
{
    const int units = blocks_of(k->recurrent->cell.hidden) * LANES;

    rec_int(h, "stream", p->stream);
    rec_int(h, "has_c", k->recurrent->state);
    rec_str(h, "state", p->stream ? ", float *state" : "");
    rec_int(h, "counts", p->stream && k->recurrent->table_rows);
    rec_int(h, "count_at", (int64_t)units * (1 + k->recurrent->state));
    rec_int(h, "table_rows", k->recurrent->table_rows);
    rec_str(h, "state_doc", p->stream ? " state: h of the step before, and its c; then of this one." : "");
    rec_str(h, "h_before", p->stream ? "state" : xprintf("t ? hs + (ptrdiff_t)(t - 1) * n * %d : NULL", units));
    rec_str(h, "c_before",
            !p->stream            ? xprintf("t ? c - (ptrdiff_t)%d * n : NULL", units)
            : k->recurrent->state ? xprintf("state + %d + j * 16", units)
                                  : "NULL");
}

int64_t emit_state_floats(const Kernel *k)
{
    return k->recurrent ? (int64_t)blocks_of(k->recurrent->cell.hidden) * LANES * (1 + k->recurrent->state) +
                              (k->recurrent->table_rows ? LANES : 0)
                        : 0;
}

void emit_cell_file(const Plan *p, const Kernel *k, bool train, Buf *to)
{
    const Op *o = &p->g->op[k->op];
    const OpInfo *info = &op_info[o->kind];
    const int returns = o->arg[ARG_RETURN].count, steps = k->recurrent->steps;
    const bool lengths = p->g->op[o->in].lengths;
    const Cell cell = {k, o, &k->recurrent->cell, p->target, rec_new(), p->stream};
    Rec *h = cell.h;

    rec_str(h, "name", k->w->core_name);
    rec_fmt(h, "guard", "CORE_%s_H", upper(k->w->core_name));
    rec_str(h, "licence", EMITTED_LICENCE);
    rec_fmt(h, "doc", "%s: %d features, %d steps%s -> %d, %s", info->name, k->recurrent->cell.in, steps,
            o->reverse ? " from the last on" : "", o->shape.c, info->arg[ARG_RETURN].words[returns]);
    rec_str(h, "does", op_cell_does(o->kind, o->arg));
    rec_str(h, "act", op_cell_is_relu(o->kind, o->arg) ? "relu" : "tanh");
    rec_str(h, "fma", "cvy_cell_fma");
    rec_int(h, "train", train);
    rec_int(h, "largest", returns == RETURN_MAX);
    const char *at = element_text(o, steps);
    rec_str(h, "at", at);
    rec_int(h, "at_step", o->reverse ? -LANES : LANES);
    rec_str(h, "give", give_text(returns, steps, at, lengths));
    rec_str(h, "given", given_text(returns, steps, at, lengths));
    rec_int(h, "lengths", lengths);
    rec_int(h, "mixes", info->cell->mixes);
    rec_str(h, "length", lengths ? ", const int *length" : "");
    rec_str(h, "end", lengths ? xprintf("%s_end(length, r)", k->w->core_name) : xprintf("%d", steps));
    rec_str(h, "final", lengths ? "final" : "last");
    rec_str(h, "give_padding", returns == RETURN_ALL ? "vf_store(yr + t * 16, vf_zero());" : "");
    put_state(p, k, h);
    const char *clear = xprintf("memset(dh + (ptrdiff_t)r * %d, 0, sizeof(float) * %d)", blocks_of(o->shape.c) * LANES,
                                blocks_of(o->shape.c) * LANES);
    rec_str(h, "begin",
            !info->cell->mixes
                ? clear
                : xprintf("last ? (void)%s\n                 : (void)memcpy(dh + (ptrdiff_t)r * %d, carry + "
                          "(ptrdiff_t)r * %d, sizeof(float) * %d)",
                          clear, blocks_of(o->shape.c) * LANES, blocks_of(o->shape.c) * LANES,
                          blocks_of(o->shape.c) * LANES));
    put_sizes(&cell);
    put_norms(&cell);
    const char *part = recurrent_norm(k, PLACE_CELL) ? "gates" : "point",
               *before = k->recurrent->resets ? "_before" : "";
    add_all_tiles(&cell, train);
    emit_part(h, "point", xprintf("cell_%s_%s%s", part, info->name, before));
    emit_part(h, "forward", "cell_forward");
    emit_part(h, "point_back", xprintf("cell_%s_back_%s%s", part, info->name, before));
    emit_part(h, "backward", "cell_backward");
    emit_part(h, "weights", "cell_weights");
    template_expand("cell_file", "h", h, to);
}

/* ---- lines of a kernel ---- */

const char *emit_cell(const struct cvy_cell *c)
{
    return xprintf("{%d, %d, %d, %d, %d, %d, %d, {%s}, {%s}, %d, %d}", c->in, c->hidden, c->slots, c->nx, c->nh,
                   c->first, c->lanes, int_list(c->x_gate, c->nx), int_list(c->h_gate, c->nh), c->back_h, c->back_x);
}

const char *emit_cell_gates(const Kernel *k, const CellNorm *m)
{
    const int *gates = recurrent_norm_gates(m, &k->recurrent->cell);

    return !gates ? "NULL" : xprintf("%s_cell.%c_gate", k->name, gates == k->recurrent->cell.h_gate ? 'h' : 'x');
}

const char *emit_cell_param(const Param *q)
{
    static const char *const name[] = {[PARAM_GAMMA] = "gamma",
                                       [PARAM_BETA] = "beta",
                                       [PARAM_MEAN] = "mean",
                                       [PARAM_VAR] = "var",
                                       [PARAM_COUNT] = "batches"};

    return xprintf("%s_%s", place_info[q->place].param, name[q->role]);
}

static bool has_lengths(const File *f)
{
    return f->p->g->op[f->p->g->op[f->k->op].in].lengths;
}

/* A line that names the kernel's cell, and its core. */
static Rec *cell_line(const File *f, Rec *to, const char *list, const char *template)
{
    Rec *s = line_add(to, list, template);

    rec_fmt(s, "cell", "%s_cell", f->k->name);
    rec_str(s, "core", f->k->w->core_name);
    rec_str(s, "length", has_lengths(f) ? ", k->net->length" : "");
    return s;
}

void recurrent_cell(const File *f)
{
    Rec *r = rec_add(f->rec, "cells");

    rec_fmt(r, "name", "%s_cell", f->k->name);
    rec_str(r, "values", emit_cell(&f->k->recurrent->cell));
}

static int64_t units(const Kernel *k)
{
    return (int64_t)blocks_of(k->recurrent->cell.hidden) * LANES;
}

/* gamma and beta of norms in places, for a pass. */
static void norm_weights(const File *f, Rec *kernel, bool back)
{
    const Kernel *k = f->k;

    for (int i = 0; i < k->recurrent->nnorm; i++) {
        const CellNorm *m = &k->recurrent->norm[i];
        Rec *s = cell_line(f, kernel, "body", "cell_norm_weights");
        rec_int(s, "vectors", m->vectors);
        rec_str(s, "gates", emit_cell_gates(k, m));
        rec_str(s, "gamma", emit_cell_param(&f->p->g->param[m->gamma]));
        rec_str(s, "beta", m->beta < 0 ? "NULL" : xprintf("k->%s", emit_cell_param(&f->p->g->param[m->beta])));
        rec_int(s, "at", back ? m->turned_at : m->packed_at);
        rec_str(s, "name", place_info[m->place].name);
    }
}

/* What kernels of bn in places are handed: where their statistics are. */
static void batch_norms(const File *f, Rec *kernel)
{
    const RecurrentPart *r = f->k->recurrent;
    Buf b = {0};

    for (int i = 0; i < r->nnorm; i++)
        if (place_is_bn(r->norm[i].norm)) {
            const char *name = place_info[r->norm[i].place].param;
            buf_printf(&b, "%s{k->%s_istd, k->%s_mean, k->%s_var, k->%s_sums, %s, %d}", b.len ? ", " : "", name, name,
                       name, name, real_text(r->norm[i].norm->momentum), f->p->g->op[f->k->op].frozen);
        }
    rec_str(line_add(kernel, "body", "cell_norms"), "list", b.text);
}

/* bn of W x, of all steps or of each, by blocks of units. */
static void input_batch(const File *f, Rec *kernel, const CellNorm *m, bool back)
{
    Rec *s = cell_line(f, kernel, "body", "cell_batch");

    rec_int(s, "index", batch_index(f->k, m));
    rec_str(s, "back", back ? "_back" : "");
    rec_int(s, "by_step", m->rows > 0);
    rec_int(s, "steps", f->k->recurrent->steps);
    rec_int(s, "blocks", units(f->k) / LANES);
    rec_int(s, "at", back ? m->turned_at : m->packed_at);
}

/* The steps, one after the other, of all images. */
static void step_passes(const File *f, Rec *kernel, bool back)
{
    const Kernel *k = f->k;
    StepPass pass[STEP_PASSES];
    const int n = recurrent_passes(k, back, pass);
    Rec *s = cell_line(f, kernel, "body", back ? "cell_walk_back" : "cell_walk");

    rec_int(s, "steps", k->recurrent->steps);
    rec_int(s, "blocks", units(k) / LANES);
    rec_int(s, "group", recurrent_group(k));
    for (int i = 0; i < n; i++) {
        Rec *p = rec_add(s, "passes");
        rec_fmt(p, "call", "%s_%d(%sk->copy, k->mat_steps, %s, norm, n, t", back ? "behind" : "ahead", i,
                back ? "k->mat_dz, " : "", back ? "k->mat_work" : "k->mat_y");
        rec_int(p, "by_images", pass[i].by_images);
    }
}

void recurrent_forward(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;
    Rec *s = cell_line(f, kernel, "body", "cell_pack");

    rec_int(s, "panels", units(k) / k->recurrent->cell.lanes);
    rec_str(s, "bias", k->w->bparam >= 0 ? "k->bias, k->hidden_bias" : "NULL, NULL");
    norm_weights(f, kernel, false);
    const CellNorm *input = recurrent_norm(k, PLACE_INPUT);
    const bool meets = recurrent_meets(k), batch = input && place_is_bn(input->norm);
    if (meets || batch)
        batch_norms(f, kernel);
    for (int i = 0; i < k->recurrent->nnorm && !f->p->g->op[k->op].frozen; i++)
        if (place_is_bn(k->recurrent->norm[i].norm))
            rec_str(line_add(kernel, "body", "cell_count"), "name", place_info[k->recurrent->norm[i].place].param);
    s = cell_line(f, kernel, "body", "cell_run");
    rec_str(s, "call",
            meets || batch ? "forward_x(k->mat_x, k->copy, k->mat_steps"
                           : "forward(k->mat_x, k->copy, k->mat_steps, k->mat_y");
    if (batch)
        input_batch(f, kernel, input, false);
    if (meets)
        step_passes(f, kernel, false);
    else if (batch)
        rec_str(cell_line(f, kernel, "body", "cell_run"), "call", "forward_steps(k->copy, k->mat_steps, k->mat_y");
}

static void weight_gradients(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;
    const RecurrentPart *r = k->recurrent;
    const struct cvy_cell *c = &r->cell;
    const bool bias = k->w->bparam >= 0;

    Rec *s = cell_line(f, kernel, "body", "cell_grads");
    rec_int(s, "panels", units(k) / c->lanes);
    rec_int(s, "panel", ((int64_t)c->in * c->nx + (int64_t)c->hidden * c->nh) * c->lanes);
    rec_int(s, "panels_at", r->panels_at);
    rec_int(s, "du_at", r->grad_at[1]);
    rec_int(s, "bias", bias);
    for (int i = 0; i < r->nnorm; i++) {
        const CellNorm *m = &r->norm[i];
        if (!place_info[m->place].of_gates || m->beta < 0)
            continue;
        Rec *b = rec_add(s, "betas"); /* they are added to sums, as biases are */
        rec_int(b, "vectors", m->vectors);
        rec_str(b, "gates", emit_cell_gates(k, m));
        rec_int(b, "first_16", m->first * LANES);
        rec_int(b, "at", m->beta_at);
    }
    rec_int(s, "sums", bias || rec_has(s, "betas"));
    rec_int(s, "blocks", units(k) / LANES);
    rec_int(s, "slots_16", c->slots * LANES);
    rec_int(s, "db_at", r->grad_at[2]);
    rec_int(s, "dc_at", r->grad_at[3]);
    for (int i = 0; i < r->nnorm; i++) {
        const CellNorm *m = &r->norm[i];
        s = cell_line(f, kernel, "body", place_is_bn(m->norm) ? "cell_batch_grads" : "cell_norm_grads");
        rec_str(s, "name", place_is_bn(m->norm) ? place_info[m->place].param : place_info[m->place].name);
        rec_int(s, "blocks", units(k) / LANES);
        rec_int(s, "units", units(k));
        rec_int(s, "vectors", m->vectors);
        rec_int(s, "vectors_16", m->vectors * LANES);
        rec_str(s, "gates", emit_cell_gates(k, m));
        rec_int(s, "gamma_at", m->gamma_at);
        rec_int(s, "unit_beta", !place_info[m->place].of_gates && m->beta >= 0);
        rec_int(s, "beta_at", m->beta_at);
    }
}

void recurrent_backward(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;
    const RecurrentPart *r = k->recurrent;
    const CellNorm *input = recurrent_norm(k, PLACE_INPUT);
    const bool meets = recurrent_meets(k), batch = input && place_is_bn(input->norm);
    const struct cvy_cell *c = &r->cell;
    const char *dx = k->back_data ? "k->mat_dx" : "NULL";
    Rec *s = cell_line(f, kernel, "body", "cell_turn");

    rec_int(s, "panels",
            units(k) / (c->back_h * c->lanes) +
                (k->back_data ? (int64_t)blocks_of(c->in) * LANES / (c->back_x * c->lanes) : 0));
    norm_weights(f, kernel, true);
    if (meets || batch)
        batch_norms(f, kernel);
    for (int i = 0; i < r->nnorm; i++)
        if (place_is_bn(r->norm[i].norm)) {
            s = line_add(kernel, "body", "cell_sums");
            rec_str(s, "name", place_info[r->norm[i].place].param);
            rec_int(s, "numbers", 2 * r->norm[i].vectors * units(k));
        }
    if (meets)
        step_passes(f, kernel, true);
    else
        rec_fmt(cell_line(f, kernel, "body", "cell_run"), "call",
                "backward(k->mat_dz, k->copy, k->mat_steps, k->mat_work, %s", batch ? "NULL" : dx);
    if (k->learns)
        rec_int(line_add(kernel, "body", "cell_clear"), "floats", r->panels_at);
    if (batch)
        input_batch(f, kernel, input, true);
    if ((meets && input && !batch) || ((meets || batch) && k->back_data))
        rec_fmt(cell_line(f, kernel, "body", "cell_run"), "call", "backward_x(k->copy, k->mat_steps, k->mat_work, %s",
                dx);
    if (k->learns && has_lengths(f)) {
        const int64_t block = (int64_t)k->recurrent->steps * LANES, blocks = blocks_of(c->in);
        s = cell_line(f, kernel, "body", "cell_trim");
        rec_int(s, "steps", k->recurrent->steps);
        rec_int(s, "blocks", blocks);
        rec_int(s, "block", block);
        rec_int(s, "row", block * blocks);
    }
    if (k->learns)
        weight_gradients(f, kernel);
}

static void update_line(const File *f, Rec *kernel, int param, int64_t from, bool decays)
{
    const Param *q = &f->p->g->param[param];
    int64_t floats = q->ndim > 1 ? (int64_t)q->dim[0] * q->dim[1] : q->dim[0];
    Rec *s = line_add(kernel, "body", "cell_update");

    floats = (floats + LANES - 1) / LANES * LANES;
    rec_fmt(s, "at", "%s_%s", upper(f->p->g->spec->name), upper(q->name));
    rec_int(s, "from", from);
    rec_int(s, "floats", floats);
    rec_str(s, "decay", decays ? "weight_decay" : "weight_decay_other");
}

void recurrent_update(const File *f, Rec *kernel)
{
    static const ParamRole role[] = {PARAM_WEIGHT, PARAM_HIDDEN_WEIGHT, PARAM_BIAS, PARAM_HIDDEN_BIAS};
    const Kernel *k = f->k;
    const RecurrentPart *r = k->recurrent;

    for (int i = 0; i < (k->w->bparam >= 0 ? 4 : 2); i++)
        update_line(f, kernel, graph_param(f->p->g, k->op, role[i]), r->grad_at[i], i < 2);
    for (int i = 0; i < r->nnorm; i++) {
        update_line(f, kernel, r->norm[i].gamma, r->norm[i].gamma_at, false);
        if (r->norm[i].beta >= 0)
            update_line(f, kernel, r->norm[i].beta, r->norm[i].beta_at, false);
    }
}

void recurrent_infer(const File *f, Rec *fn)
{
    Rec *s = line_add(fn, "body", "cell_infer");

    rec_str(s, "core", f->k->w->core_name);
    rec_str(s, "length", has_lengths(f) ? ", length" : "");

    rec_fmt(s, "folded", "%s_%s_FOLDED", upper(f->p->g->spec->name), upper(f->k->name));
    rec_str(s, "x", f->k->image[f->k->w->x].name);
    rec_str(s, "state", f->p->stream ? ", state" : "");
}
