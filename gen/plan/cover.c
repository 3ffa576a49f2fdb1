/* cover.c - the register tiles of a core: those that cover an image in the fewest cycles.
 *
 * needs: a core with its taps and loops. sets: its tiles, bands, vectors, cycles.
 *
 * The cost model counts, for one step of the inner loop of a tile, fused multiply-adds (two a cycle), loads (two a
 * cycle) and the chain of dependent multiply-adds (four cycles), plus a constant for the loop; the cheapest sum over an
 * image wins. */
#include "cover.h"

#include <string.h>

static double max3(double a, double b, double c)
{
    const double m = a > b ? a : b;

    return m > c ? m : c;
}

/* Cycles of one inner step: `outputs` pixels (or accumulators a vector) times `vectors`. A vf of a narrow target is
 * several registers, each with its own instructions. Lanewise, a multiply-add has its x in memory, a whole vf. */
double tile_step_cycles(const Target *t, int outputs, int vectors, bool lanewise)
{
    const double parts = t->parts;
    const double fma = parts * outputs * vectors / 2;
    const double loads = ((lanewise ? parts : 1) * outputs + parts * vectors) / 2;

    return max3(fma, loads, 4) + 0.5;
}

/* In registers: the accumulators, the weights, the broadcast lane (avx512 with one weight takes it from memory). */
bool tile_fits(const Target *t, int outputs, int vectors)
{
    return t->parts * (outputs * vectors + vectors) + (vectors > 1 || t->parts > 1) <= t->parts * t->registers;
}

/* ---- the tiles of an image ---- */

enum {
    TILE_ROWS = 8,
    TILE_COLS = 32,
};

bool tile_loops(const Core *c, int rows)
{
    return c->rows > 1 && (rows == 1 || !c->flat);
}

static bool meets(int in, int64_t at)
{
    return in == 0 || (at >= 0 && at < in);
}

bool tile_meets_y(const Core *c, const Tap *tap, int row, int y)
{
    return meets(c->in_h, (int64_t)y * c->y_step + tap->at_y + (int64_t)row * c->row_step);
}

bool tile_meets_x(const Core *c, const Tap *tap, int x)
{
    return meets(c->in_w, (int64_t)x * c->x_step + tap->at_x);
}

Range met_range(int64_t at, int step, int in, int n)
{
    if (in == 0)
        return (Range){0, n};
    const int64_t from = at < 0 ? (-at + step - 1) / step : 0, to = at < in ? (in - at + step - 1) / step : 0;
    return from >= n || from >= to ? (Range){n, n} : (Range){(int)from, to < n ? (int)to : n};
}

/* Output rows that meet a pixel, no padding, with a tap in kernel row `row`; columns that do with a tap. */
Range rows_met(const Core *c, const Tap *tap, int row)
{
    return met_range(tap->at_y + (int64_t)row * c->row_step, c->y_step, c->in_h, c->h);
}

Range columns_met(const Core *c, const Tap *tap)
{
    return met_range(tap->at_x, c->x_step, c->in_w, c->w);
}

/* How many of [at, at + n) lie in [from, to). */
static int shared(int at, int n, int from, int to)
{
    const int a = at > from ? at : from, b = at + n < to ? at + n : to;

    return b > a ? b - a : 0;
}

/* Rows of output pixels that a core walks for a tap of kernel row `row`: bands of several rows with a loop over the
 * kernel's rows leave nothing out. */
static int64_t rows_walked(const Core *c, const Tap *tap, int row)
{
    const Range met = rows_met(c, tap, row);
    int64_t n = 0;

    for (int b = 0, from; b < c->nband; b++) {
        const Band *band = &c->band[b];
        if (band->rows > 1 && tile_loops(c, band->rows)) {
            n += band->to - band->from;
            continue;
        }
        for (from = band->from; b + 1 < c->nband && !(c->band[b + 1].rows > 1 && tile_loops(c, c->band[b + 1].rows));
             b++)
            ;
        n += shared(from, c->band[b].to - from, met.from, met.to);
    }
    return n;
}

static int64_t output_products(const Core *c)
{
    int64_t n = 0, rows = 0;

    for (int i = 0; i < c->ntap; i++) {
        const Range met = columns_met(c, &c->tap[i]);
        if (i == 0 || c->tap[i].at_y != c->tap[i - 1].at_y) {
            rows = 0;
            for (int r = 0; r < c->rows; r++)
                rows += rows_walked(c, &c->tap[i], r);
        }
        n += rows * (met.to - met.from);
    }
    return n * c->blocks * c->lanes * c->out_blocks * LANES;
}

static int64_t weight_products(const Core *c)
{
    int64_t rows = 0, columns = 0;

    for (int r = 0; r < c->rows; r++) {
        const Range met = met_range(c->row_at + (int64_t)r * c->row_step, c->y_step, c->in_h, c->h);
        rows += met.to - met.from;
    }
    for (int i = 0; i < c->nacc; i++) {
        const Range met = columns_met(c, &c->acc[i]);
        columns += met.to - met.from;
    }
    return rows * columns * c->blocks * (c->lanes / c->step) * c->out_blocks * LANES;
}

int64_t core_products(const Core *c)
{
    return c->kind == CORE_WEIGHTS ? weight_products(c) : output_products(c);
}

/* ---- choosing them ----
 *
 * What a tile costs depends on how many of its rows and columns each tap meets. Taps stand in a grid, so that rows and
 * columns are counted apart: `taps` of all taps meet the output rows (columns) of a range. A place's columns are of one
 * kind with another's where as many taps meet each of the next TILE_COLS columns: then tiles from there on cost the
 * same, and one of a kind is looked at. */

typedef struct Met {
    Range at;
    int taps;
} Met;

typedef struct Mets {
    Met *item;
    int n, last;
} Mets;

/* By how many of a band's rows a tap meets: the number of such taps. */
typedef struct Rows {
    int64_t taps[TILE_ROWS + 1];
} Rows;

/* What choosing tiles looks at. */
typedef struct Cover {
    const Target *t;
    const Core *c;
    Mets y, x;
    int64_t taps; /* of all rows of the kernel */
    int *kind;    /* [x] */
    int *first;   /* the first x of a kind */
    int nkind;
    /* By rows that are met, [kind][cols - 1]: the sum over taps of an inner step's cycles, for `vectors`. */
    double *steps[TILE_ROWS + 1];
    double *cycles; /* [kind][cols - 1]: of a tile in the band at hand */
    int vectors, budget;
    double *column; /* [x]: of the best tiles from column x on */
    int *cols;      /* [x]: the width of the first of them */
} Cover;

/* Tables that choosing the tiles of one core needs and that of the next can have again: nothing is freed here. */
typedef enum Room {
    ROOM_KIND,
    ROOM_FIRST,
    ROOM_EDGE,
    ROOM_CYCLES,
    ROOM_COLUMN,
    ROOM_COLS,
    ROOM_BEST,
    ROOM_NOW,
    ROOM_HEIGHT,
    ROOM_STEPS,
    ROOMS = ROOM_STEPS + TILE_ROWS + 1
} Room;

static void *room(int which, size_t n, size_t size)
{
    static struct {
        void *at;
        size_t bytes;
    } rooms[ROOMS];

    if (rooms[which].bytes < n * size) {
        rooms[which].bytes = 2 * n * size;
        rooms[which].at = xalloc(rooms[which].bytes);
    }
    return rooms[which].at;
}

static void add_met(Mets *m, Range at)
{
    for (int i = 0; i < m->n; i++) { /* taps come in order: most often it is the one found last, or the one after */
        const int k = (m->last + i) % m->n;
        if (m->item[k].at.from == at.from && m->item[k].at.to == at.to) {
            m->item[k].taps++;
            m->last = k;
            return;
        }
    }
    m->last = m->n;
    *PUSH(m->item, m->n) = (Met){at, 1};
}

static void find_met(Cover *v)
{
    const Core *c = v->c;

    for (int r = 0; r < c->rows; r++)
        for (int i = 0; i < c->ntap; i++) {
            add_met(&v->y, rows_met(c, &c->tap[i], r));
            add_met(&v->x, columns_met(c, &c->tap[i]));
        }
    v->taps = (int64_t)c->rows * c->ntap;
}

/* Columns of one kind: those far from where a range begins or ends, between the same two of them. Each other one is a
 * kind of its own. */
static void find_kinds(Cover *v)
{
    const int w = v->c->w;
    bool *edge = room(ROOM_EDGE, (size_t)w + 1, sizeof *edge);
    int next = w, same = -1; /* the nearest edge to the right; the kind of columns far from it */

    memset(edge, 0, (size_t)w + 1);
    for (int i = 0; i < v->x.n; i++)
        edge[v->x.item[i].at.from] = edge[v->x.item[i].at.to] = true;
    v->kind = room(ROOM_KIND, (size_t)w + 1, sizeof *v->kind);
    v->first = room(ROOM_FIRST, (size_t)w + 1, sizeof *v->first);
    for (int x = w - 1; x >= 0; x--) {
        if (next - x < TILE_COLS && next < w) {
            v->kind[x] = v->nkind++;
        } else {
            same = same < 0 ? v->nkind++ : same;
            v->kind[x] = same;
        }
        v->first[v->kind[x]] = x;
        if (edge[x])
            next = x, same = -1;
    }
    for (int r = 0; r <= TILE_ROWS; r++)
        v->steps[r] = room(ROOM_STEPS + r, (size_t)v->nkind * TILE_COLS, sizeof *v->steps[r]);
    v->cycles = room(ROOM_CYCLES, (size_t)v->nkind * TILE_COLS, sizeof *v->cycles);
}

/* Sets `steps`. Cycles are multiples of a half, so that sums of them are exact in any order. */
static void sum_steps(Cover *v)
{
    for (int k = 0; k < v->nkind; k++)
        for (int cols = 1; cols <= TILE_COLS; cols++) {
            int64_t met[TILE_COLS + 1] = {0};
            for (int i = 0; i < v->x.n; i++)
                met[shared(v->first[k], cols, v->x.item[i].at.from, v->x.item[i].at.to)] += v->x.item[i].taps;
            for (int rows = 1; rows <= TILE_ROWS; rows++) {
                double steps = 0;
                for (int n = 1; n <= cols; n++)
                    if (met[n])
                        steps += (double)met[n] * tile_step_cycles(v->t, rows * n, v->vectors, v->c->lanewise);
                v->steps[rows][k * TILE_COLS + cols - 1] = steps;
            }
        }
}

static Rows rows_at(const Cover *v, int y, int rows)
{
    Rows r = {{0}};

    if (rows > 1 && tile_loops(v->c, rows)) {
        r.taps[rows] = v->taps;
        return r;
    }
    for (int i = 0; i < v->y.n; i++)
        r.taps[shared(y, rows, v->y.item[i].at.from, v->y.item[i].at.to)] += v->y.item[i].taps;
    return r;
}

static bool tile_allowed(const Cover *v, int rows, int cols)
{
    const int64_t taps = (int64_t)v->c->ntap * (tile_loops(v->c, rows) ? 1 : v->c->rows);

    return tile_fits(v->t, rows * cols, v->vectors) &&
           (taps * rows * cols * v->vectors <= v->budget || (rows * cols * v->vectors == 1));
}

/* The widest tile of `rows` rows that is allowed; 0: none is. */
static int widest(const Cover *v, int rows)
{
    int cols = TILE_COLS;

    while (cols > 0 && !tile_allowed(v, rows, cols))
        cols--;
    return cols;
}

/* The cheapest tiles of `rows` rows along rows that are met as `met` says; the widest first where several cost the
 * same. */
static double cover_columns(const Cover *v, int rows, const Rows *met)
{
    const Core *c = v->c;
    const int w = c->w, most = widest(v, rows);

    for (int k = 0; k < v->nkind; k++)
        for (int cols = 1; cols <= most; cols++) {
            double steps = 0;
            for (int n = 1; n <= rows; n++)
                if (met->taps[n])
                    steps += (double)met->taps[n] * v->steps[n][k * TILE_COLS + cols - 1];
            v->cycles[k * TILE_COLS + cols - 1] =
                (double)c->blocks * c->lanes * (v->taps ? steps / (double)v->taps : 0) +
                2.0 * rows * cols * v->vectors + 20;
        }
    v->column[w] = 0;
    for (int x = w - 1; x >= 0; x--) {
        const double *of = &v->cycles[v->kind[x] * TILE_COLS];
        v->column[x] = -1;
        for (int cols = w - x < most ? w - x : most; cols >= 1; cols--) {
            if (v->column[x + cols] < 0)
                continue;
            const double cycles = of[cols - 1] + v->column[x + cols];
            if (v->column[x] < 0 || cycles < v->column[x] * 0.999) {
                v->column[x] = cycles;
                v->cols[x] = cols;
            }
        }
    }
    return v->column[0];
}

/* What bands of so many rows cost, by how their rows are met. */
typedef struct Seen {
    Rows met;
    double cycles;
} Seen;

/* The cheapest bands of rows of the whole image; height[y]: of the first band from y on. */
static double cover_rows(const Cover *v, int *height)
{
    const int h = v->c->h;
    double *best = room(ROOM_BEST, (size_t)h + 1, sizeof *best);
    Seen *seen[TILE_ROWS + 1] = {NULL};
    int nseen[TILE_ROWS + 1] = {0}, at[TILE_ROWS + 1] = {0};

    best[h] = 0;
    for (int y = h - 1; y >= 0; y--) {
        best[y] = -1;
        for (int r = 1; r <= TILE_ROWS && y + r <= h; r++) {
            const Rows met = rows_at(v, y, r);
            int i = 0;
            if (nseen[r] && memcmp(&seen[r][at[r]].met, &met, sizeof met) == 0)
                i = at[r]; /* as the band before */
            while (i < nseen[r] && memcmp(&seen[r][i].met, &met, sizeof met) != 0)
                i++;
            if (i == nseen[r])
                *PUSH(seen[r], nseen[r]) = (Seen){met, cover_columns(v, r, &met)};
            at[r] = i;
            const double cost = seen[r][i].cycles;
            if (cost < 0 || best[y + r] < 0)
                continue;
            const double cycles = cost + best[y + r];
            if (best[y] < 0 ||
                cycles < best[y] * 0.9) { /* more rows are more text: a tile for each way to meet the padding */
                best[y] = cycles;
                height[y] = r;
            }
        }
    }
    return best[0];
}

/* Whether the taps meet `n` rows (columns) at a and at b alike, one by one. */
static bool met_alike(const Mets *m, int n, int a, int b)
{
    for (int i = 0; i < m->n; i++) {
        const Range at = m->item[i].at;
        if (a == b || (shared(a, n, at.from, at.to) == n && shared(b, n, at.from, at.to) == n))
            continue;
        for (int k = 0; k < n; k++)
            if (shared(a + k, 1, at.from, at.to) != shared(b + k, 1, at.from, at.to))
                return false;
    }
    return true;
}

/* Whether bands of `rows` rows at y and z meet the same rows of the kernel. */
static bool rows_alike(const Cover *v, int rows, int y, int z)
{
    return tile_loops(v->c, rows) || met_alike(&v->y, rows, y, z);
}

/* The tile of that size at (y, x): one that is there already and meets the same padding, or a new one. */
static int add_tile(const Cover *v, Core *c, int rows, int cols, int y, int x)
{
    for (int i = 0; i < c->ntile; i++) {
        const Tile *t = &c->tile[i];
        if (t->rows == rows && t->cols == cols && met_alike(&v->x, cols, x, t->x) && rows_alike(v, rows, y, t->y))
            return i;
    }
    *PUSH(c->tile, c->ntile) = (Tile){rows, cols, y, x};
    return c->ntile - 1;
}

static bool same_spans(const Band *a, const Band *b)
{
    bool same = a->rows == b->rows && a->nspan == b->nspan;

    for (int i = 0; i < a->nspan && same; i++)
        same =
            a->span[i].tile == b->span[i].tile && a->span[i].from == b->span[i].from && a->span[i].to == b->span[i].to;
    return same;
}

static void lay_band(const Cover *v, Core *c, Band *band)
{
    const Rows met = rows_at(v, band->from, band->rows);
    int was = -1, tile = 0; /* the column of the tile before */

    cover_columns(v, band->rows, &met);
    for (int x = 0; x < c->w; was = x, x += v->cols[x]) {
        if (was < 0 || v->kind[x] != v->kind[was] || v->cols[x] != v->cols[was])
            tile = add_tile(v, c, band->rows, v->cols[x], band->from, x);
        if (band->nspan && band->span[band->nspan - 1].tile == tile)
            band->span[band->nspan - 1].to += v->cols[x];
        else
            *PUSH(band->span, band->nspan) = (Span){tile, x, x + v->cols[x]};
    }
}

static void lay_tiles(const Cover *v, Core *c, const int *height)
{
    for (int y = 0; y < c->h; y += height[y]) {
        Band *last = c->nband ? &c->band[c->nband - 1] : NULL;
        const int rows = height[y], before = last ? last->to - rows : 0;
        if (last && last->rows == rows &&
            (rows > 1 ? rows_alike(v, rows, before, y) : met_alike(&v->y, 1, before, y))) { /* costs the same, too */
            last->to += rows;
            continue;
        }
        Band band = {.from = y, .to = y + height[y], .rows = height[y]};
        lay_band(v, c, &band);
        if (last && same_spans(last, &band))
            last->to = band.to;
        else
            *PUSH(c->band, c->nband) = band;
    }
}

const Tile *tile_main(const Core *c)
{
    int most = 0;
    int *pixels = xalloc(sizeof *pixels * (size_t)c->ntile);

    for (int b = 0; b < c->nband; b++)
        for (int s = 0; s < c->band[b].nspan; s++) {
            const Span *span = &c->band[b].span[s];
            pixels[span->tile] += (c->band[b].to - c->band[b].from) * (span->to - span->from);
            most = pixels[span->tile] > pixels[most] ? span->tile : most;
        }
    return &c->tile[most];
}

/* Whether the tiles of both cores are the same: all that choosing them looks at is. */
static bool covered_alike(const Core *a, const Core *b)
{
    const int x[] = {a->lanewise,   a->share, a->blocks, a->ntap,   a->rows,   a->row_step, a->flat, a->lanes,
                     a->out_blocks, a->h,     a->w,      a->y_step, a->x_step, a->in_h,     a->in_w};
    const int y[] = {b->lanewise,   b->share, b->blocks, b->ntap,   b->rows,   b->row_step, b->flat, b->lanes,
                     b->out_blocks, b->h,     b->w,      b->y_step, b->x_step, b->in_h,     b->in_w};

    if (memcmp(x, y, sizeof x) != 0)
        return false;
    for (int i = 0; i < a->ntap; i++)
        if (a->tap[i].at_y != b->tap[i].at_y || a->tap[i].at_x != b->tap[i].at_x)
            return false;
    return true;
}

/* A core whose tiles are chosen. Networks repeat layers: tiles are chosen once a kind. */
typedef struct Covered {
    const Target *t;
    int budget;
    Core core;
    struct Covered *next;
} Covered;

static Covered **covered_like(const Core *c)
{
    static Covered *list[256];
    unsigned h = 0;
    const int by[] = {c->blocks, c->ntap, c->lanes, c->out_blocks, c->h, c->w, c->y_step, c->x_step};

    for (size_t i = 0; i < sizeof by / sizeof *by; i++)
        h = (h ^ (unsigned)by[i]) * 16777619u;
    return &list[h >> 24];
}

static void search_tiles(const Target *t, Core *c, int budget)
{
    double best = -1;
    const size_t h = (size_t)c->h, w = (size_t)c->w;
    int *height = room(ROOM_HEIGHT, h, sizeof *height), *now = room(ROOM_NOW, h, sizeof *now);
    Cover v = {.t = t,
               .c = c,
               .budget = budget,
               .column = room(ROOM_COLUMN, w + 1, sizeof *v.column),
               .cols = room(ROOM_COLS, w + 1, sizeof *v.cols)};

    find_met(&v);
    find_kinds(&v);
    for (v.vectors = 1; v.vectors <= 8 && v.vectors <= c->out_blocks; v.vectors++) {
        if (c->out_blocks % v.vectors || (c->share && c->share % v.vectors))
            continue;
        for (int rows = 1; rows <= TILE_ROWS && rows <= c->h; rows++)
            for (int cols = 1; cols <= TILE_COLS && cols <= c->w; cols++)
                c->tiles_refused += tile_fits(t, rows * cols, v.vectors) && !tile_allowed(&v, rows, cols);
        sum_steps(&v);
        const double cycles = cover_rows(&v, now) * (c->out_blocks / v.vectors);
        if (cycles < 0 || (best >= 0 && cycles >= best * 0.98))
            continue;
        c->cycles = best = cycles;
        c->vectors = v.vectors;
        memcpy(height, now, sizeof *height * h);
    }
    v.vectors = c->vectors;
    sum_steps(&v);
    lay_tiles(&v, c, height);
}

void cover_choose(const Target *t, Core *c, int budget)
{
    Covered **list = covered_like(c);

    for (const Covered *k = *list; k; k = k->next)
        if (k->t == t && k->budget == budget && covered_alike(&k->core, c)) {
            c->tiles_refused = k->core.tiles_refused, c->cycles = k->core.cycles, c->vectors = k->core.vectors;
            c->tile = k->core.tile, c->ntile = k->core.ntile;
            c->band = k->core.band, c->nband = k->core.nband;
            return;
        }
    search_tiles(t, c, budget);
    Covered *k = xalloc(sizeof *k);
    *k = (Covered){t, budget, *c, *list};
    *list = k;
}

/* ---- a 3 x 3 conv, before there is a core ---- */

double tile_direct_cycles(const Target *t, Shape out, int in, bool weights)
{
    const int blocks = blocks_of(in), lanes = blocks == 1 ? in : LANES;
    Core c = {.blocks = blocks,
              .rows = 1,
              .lanes = lanes,
              .out_blocks = blocks_of(out.c),
              .h = out.h,
              .w = out.w,
              .y_step = 1,
              .x_step = 1,
              .in_h = out.h,
              .in_w = out.w};
    double best = -1;

    if (!weights) {
        for (int i = 0; i < 9; i++)
            *PUSH(c.tap, c.ntap) = (Tap){.at_y = i / 3 - 1, .at_x = i % 3 - 1};
        cover_choose(t, &c, UNROLL_TILE);
        return c.cycles;
    }
    for (int s = 1; s <= lanes; s++)
        for (int v = 1; v <= 8 && v <= c.out_blocks; v++) {
            if (lanes % s || c.out_blocks % v || !tile_fits(t, 3 * s, v))
                continue;
            const double cycles = (tile_step_cycles(t, 3 * s, v, false) * out.h * out.w + 20) * (9.0 / 3) * blocks *
                                  (lanes / (double)s) * (c.out_blocks / (double)v);
            best = best < 0 || cycles < best ? cycles : best;
        }
    return best;
}
