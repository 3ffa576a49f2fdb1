/* core.c - a kernel's cores as records: loops, taps and register tiles of core_<shape>.h.
 *
 * needs: cores with tiles. sets: the header's text. The same shape gives the same text, whichever layer asks. */
#include "emit.h"
#include "expr.h"

enum {
    SUM_PIXELS = 32
}; /* pixels that are added up in float before their sum goes to double: CVY_SUM of runtime/vec/compiler.h */

static const char *tile_name(int number)
{
    return number ? xprintf("tile%d", number + 1) : "tile";
}

static bool tile_meets(const Core *c, const Tile *t, bool loops, const Tap *tap, int row, int y, int x)
{
    return (loops || tile_meets_y(c, tap, row, t->y + y)) && tile_meets_x(c, tap, t->x + x);
}

/* A tap, with the pixels of the tile for which it is no padding. */
static void add_tap_record(Rec *r, const Core *c, const Tile *t, bool loops, const Tap *tap, int row)
{
    Rec *k = rec_new();
    bool any = false;

    rec_int(k, "x", tap->x + row * c->x_row);
    rec_int(k, "w", tap->w + row * c->w_row);
    for (int y = 0; y < t->rows; y++)
        for (int x = 0; x < t->cols; x++) {
            if (!tile_meets(c, t, loops, tap, row, y, x))
                continue;
            Rec *p = rec_add(k, "pixels");
            rec_int(p, "x", y * c->x_y + x * c->x_x);
            for (int v = 0; v < c->vectors; v++) {
                Rec *a = rec_add(p, "acc");
                rec_fmt(a, "name", "a%d_%d", y * t->cols + x, v);
                rec_int(a, "v", v);
            }
            any = true;
        }
    if (any)
        rec_push(r, "taps", k);
}

/* Whether any pixel of the tile meets a tap. */
static bool tile_reads(const Core *c, const Tile *t)
{
    const bool loops = tile_loops(c, t->rows);

    for (int row = 0; row < (loops ? 1 : c->rows); row++)
        for (int i = 0; i < c->ntap * t->rows * t->cols; i++)
            if (tile_meets(c, t, loops, &c->tap[i % c->ntap], row, i / c->ntap / t->cols, i / c->ntap % t->cols))
                return true;
    return false;
}

/* What a tile calls, each with a type before it: of one vector the first tile begins its channels, and who walks the
 * row ends it. */
static const char *tile_callbacks(const Core *c, int number, const char *begin, const char *first, const char *point,
                                  const char *end)
{
    return c->vectors > 1 ? xprintf("%sbegin, %sfirst, %spoint, %send", begin, first, point, end)
           : number == 0  ? xprintf("%sbegin, %sfirst, %spoint", begin, first, point)
                          : xprintf("%spoint", point);
}

/* A value of the tile that begin is given: the middle one of three, so that none that is far from all others is taken
 * for a pivot. */
static char *tile_value(const Tile *t, int v)
{
    const int n = t->rows * t->cols;

    return n < 3 ? xprintf("a0_%d", v) : xprintf("vf_middle(a0_%d, a%d_%d, a%d_%d)", v, n / 2, v, n - 1, v);
}

static Rec *tile_record(const Core *c, int number)
{
    const Tile *t = &c->tile[number];
    const bool loops = tile_loops(c, t->rows), bounded = loops && t->rows == 1,
               walks = bounded || (loops && c->rows > 1);
    const bool reads = tile_reads(c, t);
    Rec *r = rec_new();

    rec_str(r, "name", tile_name(number));
    rec_int(r, "lanewise", c->lanewise);
    rec_fmt(r, "doc", "%d x %d pixels x %d channels in registers", t->rows, t->cols, c->vectors * LANES);
    rec_str(r, "row_from", bounded ? "r0" : "0");
    if (bounded)
        rec_str(r, "row_to", "r1");
    else
        rec_int(r, "row_to", loops ? c->rows : 1);
    rec_int(r, "walks_rows", walks);
    rec_str(r, "x", walks ? "xr" : "x");
    rec_str(r, "w", walks ? "wr" : "w");
    rec_int(r, "first", number == 0); /* holds the first pixel */
    rec_str(r, "given", tile_value(t, 0));
    for (int v = 0; v < c->vectors; v++) {
        Rec *vec = rec_add(r, "vectors");
        rec_int(vec, "i", v);
        rec_int(vec, "c", v * LANES);
        rec_int(vec, "w", v * c->w_out);
        rec_str(vec, "first", tile_value(t, v));
        for (int y = 0; y < t->rows; y++)
            for (int x = 0; x < t->cols; x++) {
                Rec *p = rec_add(vec, "pixels");
                rec_fmt(p, "acc", "a%d_%d", y * t->cols + x, v);
                rec_int(p, "y", (int64_t)y * c->ystep);
                rec_int(p, "x", (int64_t)x * c->xstep);
            }
    }
    for (int i = 0; i < t->rows * t->cols; i++)
        for (int v = 0; v < c->vectors; v++) {
            Rec *a = rec_add(r, "acc");
            rec_fmt(a, "name", "a%d_%d", i, v);
            rec_int(a, "v", v);
        }
    for (int row = 0; row < (loops ? 1 : c->rows); row++)
        for (int i = 0; i < c->ntap; i++)
            add_tap_record(r, c, t, loops, &c->tap[i], row);
    rec_fmt(r, "parameters", "%sconst float *bias, int c, int y, int x0,%s void *pass,\n    %s",
            reads ? "const float *x, const float *w, " : "", reads && bounded ? " int r0, int r1," : "",
            tile_callbacks(c, number, "cvy_begin *", "cvy_first *", "cvy_point *", "cvy_end *"));
    return r;
}

/* Pixels of a row of tiles. */
static int row_pixels(const Band *b)
{
    int n = 0;

    for (int i = 0; i < b->nspan; i++)
        n += b->rows * (b->span[i].to - b->span[i].from);
    return n;
}

static void add_band(Rec *core, const Core *c, const Band *b, bool parts)
{
    const bool bounded = b->rows == 1 && tile_loops(c, 1);
    bool any = false;
    Rec *band = rec_add(core, "bands");

    if (parts) {
        const int turns = (b->to - b->from + b->rows - 1) / b->rows;
        rec_str(band, "from", expr("%d + cvy_part_from(%d, part.at, part.of_at) * %d", b->from, turns, b->rows));
        rec_str(band, "to", expr("%d + cvy_part_from(%d, part.at + 1, part.of_at) * %d", b->from, turns, b->rows));
    } else {
        rec_int(band, "from", b->from);
        rec_int(band, "to", b->to);
    }
    rec_int(band, "step", b->rows);
    for (int i = 0; i < b->nspan; i++) {
        const Span *t = &b->span[i];
        const int pixels = b->rows * c->tile[t->tile].cols, tiles = SUM_PIXELS > pixels ? SUM_PIXELS / pixels : 1,
                  drained = tiles * c->tile[t->tile].cols;
        Rec *s = rec_add(band, "spans");
        const bool reads = tile_reads(c, &c->tile[t->tile]);
        rec_str(s, "template", "span");
        rec_str(s, "name", tile_name(t->tile));
        rec_int(s, "reads", reads);
        if (c->vectors == 1 && row_pixels(b) > SUM_PIXELS && t->to - t->from >= drained) {
            rec_int(s, "drains", tiles == 1); /* each tile */
            rec_int(s, "drained", tiles == 1 ? 0 : drained);
            rec_int(s, "last", (t->from + drained - c->tile[t->tile].cols) % drained);
        }
        rec_int(s, "from", t->from);
        rec_int(s, "to", t->to);
        rec_int(s, "step", c->tile[t->tile].cols);
        rec_fmt(s, "arguments", "%spass, %s", reads && bounded ? "r0, r1, " : "",
                tile_callbacks(c, t->tile, "", "", "", ""));
        any |= reads;
    }
    rec_int(band, "bounded", bounded && any);
}

/* The loop over output channels, `steps` times `step` of them; parts: of a thread's part. */
static void channel_loop(Rec *r, int steps, int step, bool parts)
{
    rec_int(r, "parts", parts);
    rec_str(r, "part", parts ? " struct cvy_part part," : "");
    rec_int(r, "c_step", step);
    rec_str(r, "c_from", parts ? xprintf("first_step * %d", step) : "0");
    rec_str(r, "c_to", parts ? xprintf("end_step * %d", step) : xprintf("%d", steps * step));
}

static Rec *core_record(const Core *c, bool parts)
{
    Rec *r = rec_new();

    rec_str(r, "template", "core");
    rec_str(r, "name", c->name);
    rec_fmt(r, "doc", "%s: %d x %d pixels x %d channels, every pixel given to point", c->name, c->h, c->w,
            c->out_blocks * LANES);
    rec_int(r, "blocks", c->blocks);
    rec_int(r, "x_block", c->x_block);
    rec_int(r, "w_block", c->w_block);
    rec_int(r, "group", (int64_t)c->share * LANES);
    rec_int(r, "x_group", c->x_group);
    rec_int(r, "rows", c->rows);
    rec_int(r, "x_row", c->x_row);
    rec_int(r, "w_row", c->w_row);
    rec_int(r, "lanes", c->lanes);
    rec_int(r, "twice", c->twice);
    rec_int(r, "apart",
            c->lanes == 1 && !c->lanewise); /* all taps stand one after the other, and meet the same pixels */
    channel_loop(r, c->out_blocks / c->vectors, c->vectors * LANES, parts);
    rec_int(r, "steps", c->out_blocks / c->vectors);
    rec_int(r, "w_step", c->vectors * c->w_out);
    rec_int(r, "x_y", c->x_y);
    rec_int(r, "x_x", c->x_x);
    rec_int(r, "x_origin", c->x_origin);
    rec_int(r, "y0", c->y0);
    rec_int(r, "x0", c->x0);
    rec_int(r, "ystep", c->ystep);
    rec_int(r, "xstep", c->xstep);
    rec_int(r, "single", c->vectors == 1);
    if (c->ntap && c->in_h) {
        rec_fmt(r, "row_from", "cvy_rows_from(y * %d + %d, %d, %d, %d)", c->y_step, c->tap[0].at_y, c->row_step,
                c->in_h, c->rows);
        rec_fmt(r, "row_to", "cvy_rows_to(y * %d + %d, %d, %d, %d)", c->y_step, c->tap[0].at_y, c->row_step, c->in_h,
                c->rows);
    } else {
        rec_str(r, "row_from", "0");
        rec_int(r, "row_to", c->rows);
    }
    for (int i = 0; i < c->ntile; i++)
        rec_push(r, "tiles", tile_record(c, i));
    bool reads = false;
    for (int i = 0; i < c->nband; i++) {
        add_band(r, c, &c->band[i], parts);
        for (int t = 0; t < c->band[i].nspan; t++)
            reads |= tile_reads(c, &c->tile[c->band[i].span[t].tile]);
    }
    if (!reads && !c->share)
        rec_int(r, "ignores_x", 1);
    return r;
}

static bool meet_alike(const Core *c, int x0, int x1)
{
    for (int i = 0; i < c->nacc; i++)
        if (tile_meets_x(c, &c->acc[i], x0) != tile_meets_x(c, &c->acc[i], x1))
            return false;
    return true;
}

/* A pixel of dz, `z` floats after zp, and the accumulators that it meets: those of the pixel at `x`. */
static void add_pixel(Rec *group, const Core *c, int x, int n)
{
    Rec *p = rec_add(group, "each");

    rec_str(p, "template", "weights_pixel");
    rec_int(p, "z", (int64_t)n * c->z_x);
    rec_int(p, "lanewise", c->lanewise);
    rec_int(p, "apart", c->apart);
    rec_str(p, "fma", c->kept ? "vf_keep_fma" : "vf_fma");
    for (int v = 0; v < c->vectors; v++) {
        Rec *vec = rec_add(p, "vector");
        rec_int(vec, "i", v);
        rec_int(vec, "z", v * c->z_block);
    }
    for (int i = 0; i < c->nacc; i++) {
        if (!tile_meets_x(c, &c->acc[i], x))
            continue;
        Rec *in = rec_add(p, "inputs");
        rec_int(in, "x", c->acc[i].x + n * c->x_x);
        for (int v = 0; v < c->vectors; v++) {
            Rec *a = rec_add(in, "acc");
            rec_fmt(a, "name", "a%d_%d", i, v);
            rec_int(a, "v", v);
        }
    }
}

/* `n` pixels of a row of dz, x .. */
static void add_pixels(Rec *group, const Core *c, int x, int n)
{
    for (int i = 0; i < n; i++)
        add_pixel(group, c, x + i, i);
    rec_int(group, "x", n * c->x_x);
    rec_int(group, "z", n * c->z_x);
    rec_int(group, "goes_on", x + n < c->w);
}

/* A row of dz: loops of at most c->pixels at a time where as many meet the same accumulators; the others, between the
 * loops, one by one. */
static Rec *row_record(const Core *c)
{
    Rec *r = rec_new();
    int alone = 0; /* pixels before x that are in no loop */

    rec_str(r, "template", "weights_row");
    for (int x = 0, end; x < c->w; x = end) {
        for (end = x + 1; end < c->w && meet_alike(c, x, end); end++)
            ;
        const int all = end - x, step = c->w <= c->pixels ? all : all / ((all + c->pixels - 1) / c->pixels),
                  looped = all > step ? all / step * step : 0;
        if (looped) {
            if (alone)
                add_pixels(rec_add(r, "pixels"), c, x - alone, alone);
            Rec *loop = rec_add(r, "pixels");
            rec_int(loop, "loop", 1);
            rec_int(loop, "from", x);
            rec_int(loop, "to", x + looped);
            rec_int(loop, "step", step);
            add_pixels(loop, c, x, step);
            alone = 0;
        }
        alone += all - looped;
    }
    if (alone)
        add_pixels(rec_add(r, "pixels"), c, c->w - alone, alone);
    return r;
}

static Rec *weight_record(const Core *c)
{
    Rec *r = rec_new();

    rec_str(r, "template", "weights");
    rec_fmt(
        r, "doc",
        "weights: dw += the sum over `images` images of %d x %d pixels of x * dz, fresh: dw = it; %d x %d accumulators",
        c->h, c->w, c->nacc, c->vectors);
    rec_int(r, "group", c->share);
    rec_int(r, "x_group", c->x_group);
    rec_int(r, "x_image", c->x_image);
    rec_int(r, "z_image", c->z_image);
    rec_int(r, "out_blocks", c->out_blocks);
    rec_int(r, "vectors", c->vectors);
    rec_int(r, "z_block", c->z_block);
    rec_int(r, "w_out", c->w_out);
    rec_str(r, "fresh", c->band_rows < c->h ? "fresh && band == 0" : "fresh");
    rec_int(r, "band", c->band_rows);
    rec_int(r, "blocks", c->blocks);
    rec_int(r, "rows", c->rows);
    rec_int(r, "lanes", c->lanes);
    rec_int(r, "step", c->step);
    rec_int(r, "x_lane", c->x_lane);
    rec_int(r, "x_block", c->x_block);
    rec_int(r, "w_block", c->w_block);
    rec_int(r, "x_row", c->x_row);
    rec_int(r, "w_row", c->w_row);
    rec_int(r, "h", c->h);
    rec_int(r, "w", c->w);
    rec_int(r, "x_y", c->x_y);
    rec_int(r, "x_x", c->x_x);
    rec_int(r, "z_origin", c->z_origin);
    rec_int(r, "z_y", c->z_y);
    const char *from = "0", *to = xprintf("%d", c->h);
    if (c->in_h) {
        from = xprintf("cvy_rows_from(r * %d + %d, %d, %d, %d)", c->row_step, c->row_at, c->y_step, c->in_h, c->h);
        to = xprintf("cvy_rows_to(r * %d + %d, %d, %d, %d)", c->row_step, c->row_at, c->y_step, c->in_h, c->h);
    }
    rec_int(r, "bounds", c->in_h || c->band_rows < c->h); /* which rows of dz there are depends on where */
    rec_str(r, "y_from", c->band_rows < c->h ? (c->in_h ? xprintf("cvy_larger(%s, band)", from) : "band") : from);
    rec_str(r, "y_to", c->band_rows < c->h ? xprintf("cvy_smaller(%s, band + %d)", to, c->band_rows) : to);
    for (int i = 0; i < c->nacc; i++)
        for (int v = 0; v < c->vectors; v++) {
            Rec *a = rec_add(r, "acc");
            rec_fmt(a, "name", "a%d_%d", i, v);
            rec_int(a, "w", c->acc[i].w + v * c->w_out);
        }
    rec_rec(r, "row", row_record(c));
    return r;
}

/* ---- Winograd ---- */

/* A register tile of `rows` broadcasts times the core's vectors; a broadcast's offset in v, a result's in m. */
static void winograd_tile(Rec *r, const char *list, const Winograd *w, int rows, int64_t v_step, int64_t m_step,
                          int64_t m_vector, const char *offset)
{
    for (int i = 0; i < rows; i++) {
        Rec *p = rec_add(r, list);
        rec_int(p, "v", i * v_step);
        for (int v = 0; v < w->vectors; v++) {
            Rec *a = rec_new();
            rec_fmt(a, "name", "a%d_%d", i, v);
            rec_int(a, "v", v);
            rec_int(a, offset, i * m_step + v * m_vector);
            rec_push(p, "acc", a);
            rec_push(r, "acc", a);
        }
    }
}

static void winograd_common(Rec *r, const Winograd *w)
{
    rec_int(r, "across", w->across);
    rec_int(r, "tiles_image", w->tiles);
    rec_int(r, "block", w->block);
    rec_int(r, "blocks", w->blocks);
    rec_int(r, "vectors", w->vectors);
    rec_int(r, "x_image", w->x_image);
    rec_int(r, "x_row", w->x_row);
    rec_int(r, "x_block", w->x_block);
    rec_int(r, "x_origin", w->x_origin);
    rec_int(r, "v_point", w->v_point);
    rec_int(r, "v_block", w->v_block);
    rec_int(r, "m_at", w->m_at);
    rec_int(r, "side", w->side);
    if (w->phases) {
        rec_int(r, "x_col", w->x_col);
        rec_int(r, "one_row", w->one_row);
        rec_int(r, "one_col", w->one_col);
    }
}

/* How many of the `side` rows (columns) of the tile that begins at `var` the image has. */
static const char *inside(const char *var, int size, int side)
{
    return size % side == 0 ? xprintf("%d", side)
                            : xprintf("%d - %s < %d ? %d - %s : %d", size, var, side, size, var, side);
}

/* The register tiles of `tiles` tiles: those of `rows` up to `full`, the others of a row less. */
static void winograd_spans(Rec *r, const char *list, int rows, int full, int tiles, bool *used)
{
    for (int i = 0; i < 2; i++) {
        const int to = i ? tiles : full;
        if (i && full == tiles)
            break;
        Rec *s = rec_add(r, list);
        rec_fmt(s, "name", "sum_%d", rows - i);
        rec_int(s, "to", to);
        rec_int(s, "step", rows - i);
        used[rows - i] = true;
    }
}

const char *winograd_name(const Winograd *w, Pass pass)
{
    return xprintf("%s%s", pass == PASS_DATA ? "data" : "forward", w->phases ? "_phases" : w->made ? "_from_taps" : "");
}

static Rec *winograd_record(const Winograd *w, Pass pass, bool parts)
{
    const char *name = winograd_name(w, pass);
    Rec *r = rec_new();

    rec_str(r, "template", w->phases ? "phases" : "winograd");
    rec_str(r, "name", name);
    rec_fmt(r, "doc",
            "%s, by Winograd%s: %d x %d pixels x %d channels per image, every pixel given to point; %d tiles "
            "at a time%s",
            name, w->phases ? " of the stride's phases" : " F(4x4, 3x3)", w->h, w->w, w->out_blocks * LANES, w->block,
            w->made ? xprintf(", u made of %d channels at a time", w->made * LANES) : "");
    winograd_common(r, w);
    rec_int(r, "lanes", w->lanes);
    rec_int(r, "twice", w->twice);
    channel_loop(r, w->out_blocks / w->vectors, w->vectors * LANES, parts);
    rec_int(r, "c_steps", w->out_blocks / w->vectors);
    rec_int(r, "u_point", w->u_point);
    rec_int(r, "u_channel", (int64_t)36 * w->blocks * LANES);
    rec_int(r, "made", w->made);
    rec_int(r, "steps", w->made ? w->made : w->blocks);
    const bool adds = w->made && w->made < w->blocks; /* to m, all but the first */
    rec_int(r, "adds", adds);
    Rec *meanwhile = rec_new();
    rec_str(meanwhile, "template", "winograd_meanwhile");
    winograd_common(meanwhile, w);
    rec_str(meanwhile, "when", adds ? "b == 0 && " : "");
    rec_rec(r, "s", meanwhile);
    rec_str(r, "adds_parameter", adds ? ", int adds" : "");
    rec_str(r, "adds_argument", adds ? ", adds" : "");
    rec_str(r, "adds_value", adds ? ", b > 0" : "");
    rec_str(r, "weights", w->made ? "w" : "u");
    if (w->made) {
        const bool channels = w->out_blocks > w->vectors, blocks = w->blocks > w->made; /* whether others follow */
        rec_fmt(r, "next", "%s%s%s%s",
                channels ? xprintf("c + %d == %d", w->vectors * LANES, w->out_blocks * LANES) : "",
                channels && blocks ? " && " : "", blocks ? xprintf("b + %d == %d", w->made, w->blocks) : "",
                channels || blocks ? xprintf(" ? w : taps + %d", w->made * 9 * LANES * LANES) : "w");
        rec_int(r, "u_at", w->u_at);
        rec_int(r, "u_vector", 36 * w->u_point);
        rec_int(r, "taps_vector", (int64_t)9 * LANES * LANES * w->blocks);
        rec_int(r, "ahead",
                w->made * 4); /* rows of taps that are fetched at each of the 36 points: all of one vector */
        rec_int(r, "first_tap", pass == PASS_DATA ? 8 * LANES * LANES : 0); /* turned: from the last tap to the first */
        rec_int(r, "tap", pass == PASS_DATA ? -LANES * LANES : LANES * LANES);
    }
    rec_int(r, "m_point", w->m_point);
    rec_int(r, "middle", w->side + 1); /* pixels from one on a tile's diagonal to the next */
    rec_int(r, "back", w->phases && pass == PASS_DATA);
    rec_int(r, "two_row", w->two_row);
    rec_int(r, "two_col", w->two_col);
    rec_str(r, "rows", inside("y", w->h, w->side));
    rec_str(r, "cols", inside("x0", w->w, w->side));
    bool *used = xalloc((size_t)w->rows + (size_t)w->rows_alone + 1);
    winograd_spans(r, "spans", w->rows, w->full, w->block, used);
    if (w->rows_alone)
        winograd_spans(r, "spans_alone", w->rows_alone, w->full_alone, w->tiles, used);
    for (int rows = w->rows + w->rows_alone; rows > 0; rows--) {
        if (!used[rows])
            continue;
        Rec *t = rec_add(r, "tiles");
        rec_fmt(t, "doc", "%d tiles x %d channels in registers", rows, w->vectors * LANES);
        rec_fmt(t, "name", "sum_%d", rows);
        for (int v = 0; v < w->vectors; v++) {
            Rec *u = rec_add(t, "vectors");
            rec_int(u, "i", v);
            rec_int(u, "u", 36 * v * w->u_point);
        }
        winograd_tile(t, "rows", w, rows, LANES, LANES, w->v_block, "m");
    }
    return r;
}

static Rec *winograd_weight_record(const Winograd *w)
{
    Rec *r = rec_new();

    rec_str(r, "template", w->phases ? "phases_weights" : "winograd_weights");
    rec_fmt(r, "doc", "weights: 16 input x %d output channels, %d x %d vectors in registers", w->vectors * LANES,
            w->rows, w->vectors);
    winograd_common(r, w);
    rec_int(r, "out_blocks", w->out_blocks);
    rec_int(r, "z_image", w->z_image);
    rec_int(r, "z_row", w->z_row);
    rec_int(r, "z_block", w->z_block);
    rec_int(r, "z_origin", w->z_origin);
    rec_int(r, "z_point", w->z_point);
    rec_int(r, "z_at", w->z_at);
    rec_int(r, "m_vector", (int64_t)36 * LANES * LANES);
    for (int v = 0; v < w->vectors; v++) {
        Rec *z = rec_add(r, "vector");
        rec_int(z, "i", v);
        rec_int(z, "z", v * w->v_block);
    }
    for (int i = 0; i < (w->full == LANES ? 1 : 2); i++) {
        Rec *s = rec_add(r, "spans");
        rec_int(s, "from", i ? w->full : 0);
        rec_int(s, "to", i ? LANES : w->full);
        rec_int(s, "step", w->rows - i);
        winograd_tile(s, "inputs", w, w->rows - i, 1, LANES, (int64_t)36 * LANES * LANES, "m");
    }
    return r;
}

char *describe_conv(const Plan *p, const Op *o)
{
    Buf b = {0};

    buf_printf(&b, "conv %dx%d, stride %dx%d, padding %s", o->kernel[0], o->kernel[1], o->stride[0], o->stride[1],
               sides_whole(o->arg[ARG_PADDING].sides));
    if (o->dilation[0] * o->dilation[1] > 1)
        buf_printf(&b, ", dilation %dx%d", o->dilation[0], o->dilation[1]);
    if (o->groups > 1)
        buf_printf(&b, ", %d groups%s", o->groups, plan_lanewise(p->g, o) ? " (lane by lane)" : "");
    buf_printf(&b, ": %s -> %s", describe_shape(p->g->op[o->in].shape), describe_shape(o->shape));
    return b.text;
}

void emit_core_file(const Plan *p, const Kernel *k, const Kernel *infer, bool train, Buf *to)
{
    const Op *o = &p->g->op[k->op];
    const char *name = k->w->core_name;
    Rec *h = rec_new();

    if (k->recurrent) {
        emit_cell_file(p, k, train, to);
        return;
    }
    if (k->kind == KERNEL_EMBED) {
        emit_table_file(p, k, train, to);
        return;
    }

    rec_str(h, "name", name);
    rec_fmt(h, "guard", "CORE_%s_H", upper(name));
    rec_str(h, "licence", EMITTED_LICENCE);
    if (o->kind == OP_CONV)
        rec_str(h, "doc", describe_conv(p, o));
    else
        rec_fmt(h, "doc", "linear: %d -> %d, one image", p->g->op[o->in].shape.c, o->shape.c);
    const Winograd *forward = kernel_winograd(k, PASS_FORWARD), *data = kernel_winograd(k, PASS_DATA),
                   *weights = kernel_winograd(k, PASS_WEIGHTS),
                   *alone = infer ? kernel_winograd(infer, PASS_FORWARD) : NULL;
    rec_push(h, "cores",
             forward ? winograd_record(forward, PASS_FORWARD, p->splits) : core_record(&k->w->forward, p->splits));
    if (forward && alone && forward->made != alone->made)
        rec_push(h, "cores", winograd_record(alone, PASS_FORWARD, p->splits));
    else if (forward && infer && !alone)
        rec_push(h, "cores", core_record(&infer->w->forward, p->splits));
    if (train && data)
        rec_push(h, "cores", winograd_record(data, PASS_DATA, false));
    for (int i = 0; train && k->conv && !data && i < k->conv->ndata; i++)
        rec_push(h, "cores", core_record(&k->conv->data[i], false));
    if (train && k->conv && k->learns)
        rec_push(h, "weights", weights ? winograd_weight_record(weights) : weight_record(&k->conv->weight));
    template_expand("core_file", "h", h, to);
}
