/* tile.c - the shape of each core: which loops stay, which taps are unrolled, and the register tile.
 *
 * needs: kernels with their packed images.
 * sets:  forward, data, weight and inference cores, core names, padded weight sizes.
 *
 * The cost model counts, for one step of the inner loop of a tile, fused multiply-adds (two a cycle), loads (two a
 * cycle) and the chain of dependent multiply-adds (four cycles), plus a constant for the loop; the cheapest sum over an
 * image wins. */
#include "plan.h"

#include <limits.h>
#include <string.h>

static double max3(double a, double b, double c)
{
    const double m = a > b ? a : b;

    return m > c ? m : c;
}

/* Cycles of one inner step: `outputs` pixels (or accumulators a vector) times `vectors`. A vf of a narrow target is
 * several registers, each with its own instructions. Lanewise, a multiply-add has its x in memory, a whole vf. */
static double step_cycles(const Target *t, int outputs, int vectors, bool lanewise)
{
    const double parts = t->parts;
    const double fma = parts * outputs * vectors / 2;
    const double loads = ((lanewise ? parts : 1) * outputs + parts * vectors) / 2;

    return max3(fma, loads, 4) + 0.5;
}

/* In registers: the accumulators, the weights, the broadcast lane (avx512 with one weight takes it from memory). */
static bool fits(const Target *t, int outputs, int vectors)
{
    return t->parts * (outputs * vectors + vectors) + (vectors > 1 || t->parts > 1) <= t->parts * t->registers;
}

/* ---- the tiles of an image ---- */

enum {
    TILE_ROWS = 8,
    TILE_COLS = 32,
    LEAVE_OUT = 50, /* padding is left out of columns where it is a fiftieth of the work */
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

bool weight_meets_x(const WeightCore *c, const Tap *acc, int x)
{
    return meets(c->in_w, (int64_t)x * c->x_step + acc->at_x);
}

/* Of `n` pixels `step` apart, the first at `at`: those that lie in [0, in); all where `in` is 0. */
typedef struct Range {
    int from, to;
} Range;

static Range met_range(int64_t at, int step, int in, int n)
{
    if (in == 0)
        return (Range){0, n};
    const int64_t from = at < 0 ? (-at + step - 1) / step : 0, to = at < in ? (in - at + step - 1) / step : 0;
    return from >= n || from >= to ? (Range){n, n} : (Range){(int)from, to < n ? (int)to : n};
}

/* Output rows that meet a pixel, no padding, with a tap in kernel row `row`; columns that do with a tap. */
static Range rows_met(const Core *c, const Tap *tap, int row)
{
    return met_range(tap->at_y + (int64_t)row * c->row_step, c->y_step, c->in_h, c->h);
}

static Range columns_met(const Core *c, const Tap *tap)
{
    return met_range(tap->at_x, c->x_step, c->in_w, c->w);
}

static Range weight_columns_met(const WeightCore *c, const Tap *acc)
{
    return met_range(acc->at_x, c->x_step, c->in_w, c->w);
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

int64_t core_products(const Core *c)
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

int64_t weight_products(const WeightCore *c)
{
    int64_t rows = 0, columns = 0;

    for (int r = 0; r < c->rows; r++) {
        const Range met = met_range(c->row_at + (int64_t)r * c->row_step, c->y_step, c->in_h, c->h);
        rows += met.to - met.from;
    }
    for (int i = 0; i < c->nacc; i++) {
        const Range met = weight_columns_met(c, &c->acc[i]);
        columns += met.to - met.from;
    }
    return rows * columns * c->blocks * (c->lanes / c->step) * c->out_blocks * LANES;
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
    double *steps[TILE_ROWS + 1]; /* by rows that are met, [kind][cols - 1]: the sum over taps of an inner step's
                                     cycles, for `vectors` */
    double *cycles;               /* [kind][cols - 1]: of a tile in the band at hand */
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
    for (int i = 0; i < m->n; i++) { /* taps come in order: most often it is the one found last, or the one behind */
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
                        steps += (double)met[n] * step_cycles(v->t, rows * n, v->vectors, v->c->lanewise);
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

    return fits(v->t, rows * cols, v->vectors) &&
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
                c->tiles_refused += fits(t, rows * cols, v.vectors) && !tile_allowed(&v, rows, cols);
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

static void choose_tiles(const Target *t, Core *c, int budget)
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

/* Taps that meet padding alone are left out where that saves something: rows cost no text, columns cost tiles of their
 * own. */
static void leave_out(Core *c, int in_h, int in_w)
{
    int64_t y_missed = 0, x_missed = 0;

    if (c->lanes == 1) /* a tap is too little work */
        return;
    c->in_h = in_h, c->in_w = in_w;
    for (int i = 0; i < c->ntap; i++) {
        const Range x = columns_met(c, &c->tap[i]);
        x_missed += c->w - (x.to - x.from);
        for (int r = 0; r < c->rows; r++) {
            const Range y = rows_met(c, &c->tap[i], r);
            y_missed += c->h - (y.to - y.from);
        }
    }
    if (x_missed * LEAVE_OUT < (int64_t)c->ntap * c->w)
        c->in_w = 0;
    if (y_missed == 0)
        c->in_h = 0;
}

static void add_tap(Core *c, int64_t x, int64_t w, int at_y, int at_x)
{
    *PUSH(c->tap, c->ntap) = (Tap){x, w, at_y, at_x};
}

/* What `unroll:` asks for. full: the kernel's rows and the channels of a block are unrolled too. none (no taps): loops
 * over all but a kernel's row, around one register. */
typedef struct Unroll {
    int taps, budget;
    bool full;
} Unroll;

static Unroll unroll_of(const Spec *s)
{
    if (s->unroll == UNROLL_FULL)
        return (Unroll){INT_MAX, INT_MAX, true};
    if (s->unroll == UNROLL_NONE)
        return (Unroll){0, 1, false};
    return (Unroll){UNROLL_TAPS, s->unroll ? s->unroll : UNROLL_TILE, false};
}

/* The taps of all rows in one list, of all channels of a block, too. */
static void unroll_core(Core *c, bool channels)
{
    Tap *const tap = c->tap;
    const int n = c->ntap, lanes = channels ? c->lanes : 1;

    c->tap = NULL;
    c->ntap = 0;
    for (int r = 0; r < c->rows; r++)
        for (int i = 0; i < n; i++)
            for (int l = 0; l < lanes; l++)
                add_tap(c, tap[i].x + r * c->x_row + l, tap[i].w + r * c->w_row + (int64_t)l * LANES,
                        tap[i].at_y + r * c->row_step, tap[i].at_x);
    c->rows = 1;
    if (channels)
        c->lanes = 1;
}

static void finish_core(const Target *t, Core *c, Unroll u, int in_h, int in_w)
{
    c->flat = c->rows * c->ntap <= u.taps;
    if (u.taps)
        leave_out(c, in_h, in_w);
    if (u.full)
        unroll_core(c, true);
    else if (c->lanes == 1 && c->flat)
        unroll_core(c, false);
    choose_tiles(t, c, u.budget);
}

/* Refuses a core that `unroll: full` makes too large. */
static void check_size(const Plan *p, const Kernel *k, const Core *c)
{
    int64_t n = 0;

    for (int i = 0; i < c->ntile; i++) {
        const int64_t one = (int64_t)c->ntap * c->tile[i].rows * c->tile[i].cols * c->vectors;
        n = one > n ? one : n;
    }
    if (p->g->spec->unroll == UNROLL_FULL && n > UNROLL_LIMIT)
        diag_error(p->g->spec->unroll_mark, "unroll: auto, or a number of statements",
                   "unroll: full makes %lld statements of one function of %s; at most %d are made", (long long)n,
                   k->name, UNROLL_LIMIT);
}

/* ---- conv ---- */

/* Blocks (lanewise and plain: channels) that one output sums, of a side of `channels`. */
static int blocks_summed(const Kernel *k, const Op *o, int channels, bool plain)
{
    return k->conv->lanewise || plain ? channels / o->groups : blocks_of(channels / o->groups);
}

/* Which x the output blocks of a side of `channels` share. */
static int blocks_sharing(const Kernel *k, const Op *o, int channels)
{
    return k->conv->lanewise ? 1 : o->groups > 1 ? channels / o->groups / LANES : 0;
}

static void forward_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *xs, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->conv->lanewise ? LANES : LANES * LANES;

    c->name = "forward";
    c->lanewise = k->conv->lanewise;
    c->blocks = blocks_summed(k, o, in.c, xs->plain);
    c->x_block = (int64_t)xs->rows * xs->cols * lanes;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, o->shape.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = xs->plain || k->conv->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->out_blocks = blocks_of(o->shape.c);
    c->w_out = c->blocks * c->w_block;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->ystep = c->xstep = 1;
    c->y_step = o->stride[0], c->x_step = o->stride[1];
    c->row_step = o->dilation[0];
    c->x_row = (int64_t)o->dilation[0] * xs->cols * lanes;
    c->w_row = (int64_t)kw * per_w;
    c->rows = kh;
    if (xs->plain && in.c * kh * kw <= 3 * UNROLL_TAPS && u.taps) { /* plain and small: unroll the channels too */
        c->rows = 1;
        for (int p = 0; p < in.c; p++)
            for (int y = 0; y < kh; y++)
                for (int x = 0; x < kw; x++)
                    add_tap(c, p * c->x_block + y * c->x_row + (int64_t)x * o->dilation[1] * lanes,
                            p * c->w_block + y * c->w_row + (int64_t)x * per_w, 0, 0);
        c->blocks = 1;
    } else
        for (int x = 0; x < kw; x++)
            add_tap(c, (int64_t)x * o->dilation[1] * lanes, (int64_t)x * per_w, -o->padding[0],
                    x * o->dilation[1] - o->padding[1]);
    finish_core(t, c, u, in.h, in.w);
}

/* One class: the input pixels (a + stride[0] j, b + stride[1] i), which share their taps. dz's pixel for kernel
 * position p is j + (a + padding - p dilation) / stride. */
static void data_core(const Target *t, const Kernel *k, Core *c, const Op *o, Shape in, const Image *dz, int a, int b,
                      Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], sh = o->stride[0], sw = o->stride[1], dh = o->dilation[0],
              dw = o->dilation[1];
    const int per_w = k->conv->lanewise ? LANES : LANES * LANES;
    int *y = xalloc(sizeof *y * (size_t)kh), *x = xalloc(sizeof *x * (size_t)kw), ny = 0, nx = 0;

    for (int p = 0; p < kh; p++)
        if ((a + o->padding[0] - p * dh) % sh == 0)
            y[ny++] = p;
    for (int p = 0; p < kw; p++)
        if ((b + o->padding[1] - p * dw) % sw == 0)
            x[nx++] = p;
    c->name = sh * sw == 1 ? "data" : xprintf("data_%d_%d", a, b);
    c->lanewise = k->conv->lanewise;
    c->blocks = blocks_summed(k, o, o->shape.c, false);
    c->x_block = (int64_t)dz->rows * dz->cols * LANES;
    c->w_block = (int64_t)kh * kw * per_w;
    c->share = blocks_sharing(k, o, in.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->lanes = k->conv->lanewise ? 1 : c->blocks == 1 ? o->shape.c / o->groups : LANES;
    c->out_blocks = blocks_of(in.c);
    c->w_out = c->blocks * c->w_block;
    c->h = (in.h - a + sh - 1) / sh, c->w = (in.w - b + sw - 1) / sw;
    c->x_y = (int64_t)dz->cols * LANES;
    c->x_x = LANES;
    c->y0 = a, c->x0 = b, c->ystep = sh, c->xstep = sw;
    c->y_step = c->x_step = 1;
    c->rows = nx ? ny : 0;
    const int apart = ny > 1 ? y[1] - y[0] : sh; /* rows of the kernel that the class meets, all as far apart */
    c->row_step = -(apart * dh / sh);
    c->x_row = (int64_t)c->row_step * dz->cols * LANES;
    c->w_row = (int64_t)apart * kw * per_w;
    for (int j = 0; j < nx && ny > 0; j++) {
        const int at_y = (a + o->padding[0] - y[0] * dh) / sh, at_x = (b + o->padding[1] - x[j] * dw) / sw;
        add_tap(c, (((int64_t)at_y + dz->top) * dz->cols + at_x + dz->left) * LANES,
                ((int64_t)y[0] * kw + x[j]) * per_w, at_y, at_x);
    }
    finish_core(t, c, u, o->shape.h, o->shape.w);
}

/* How many rows of dz are walked together. A block of x is walked once for each row of the kernel and each step through
 * a block's channels; where that is often, and the block is larger than the first cache, the walks take bands of rows
 * that fit it. All bands are as many rows, but the last. */
static int band_rows(const WeightCore *c, int64_t x_row, Unroll u)
{
    const int64_t of_kernel = (c->rows - 1) * c->row_step + 1, row = c->y_step * x_row + c->z_y * c->vectors;
    const int64_t rows = (BAND_FLOATS - (of_kernel - c->y_step) * x_row) / row;

    if (u.taps == 0 || c->images > 1 || c->rows * (c->lanes / c->step) < 4 || rows >= c->h || rows * c->w < 32)
        return c->h;
    const int bands = (int)((c->h + rows - 1) / rows);
    return (c->h + bands - 1) / bands;
}

/* How many images a walk takes. Adding to dw costs a small image more than its pixels do; but what a walk reads (rows
 * of x that one row of the kernel meets, and dz) is read again for every step through a block's channels, and should
 * stay in the first cache. Weights that come from memory cost most. */
static int images_together(const WeightCore *c, const Op *o, const Image *xs, const Image *dz)
{
    const int64_t lanes = xs->plain ? 1 : LANES, pixels = (int64_t)c->h * c->w,
                  cols = (int64_t)(c->w - 1) * o->stride[1] + (int64_t)(o->kernel[1] - 1) * o->dilation[1] + 1;
    const int64_t rows =
        c->rows > 1 ? c->h : (int64_t)(c->h - 1) * o->stride[0] + (int64_t)(o->kernel[0] - 1) * o->dilation[0] + 1;
    const int64_t walk = rows * cols * lanes + pixels * c->vectors * LANES;
    const bool large = c->w_out * c->out_blocks > GROUP_WEIGHTS;
    int n = 1;

    while (n < 16 && n * pixels < GROUP_PIXELS && (n + 1) * (xs->floats + dz->floats) <= GROUP_FLOATS &&
           (large || (n + 1) * walk <= GROUP_WALK))
        n++;
    return n;
}

/* How many values of x a pixel has in common with the next one of its row. */
static int next_reads(const WeightCore *c)
{
    int n = 0;

    for (int i = 0; i < c->nacc; i++)
        for (int j = 0; j < c->nacc; j++)
            n += c->acc[j].x + c->x_x == c->acc[i].x;
    return n;
}

static void weight_core(const Target *t, const Kernel *k, WeightCore *c, const Op *o, Shape in, const Image *xs,
                        const Image *dz, Unroll u)
{
    const int kh = o->kernel[0], kw = o->kernel[1], lanes = xs->plain ? 1 : LANES;
    const int per_w = xs->plain || k->conv->lanewise ? LANES : LANES * LANES,
              limit = t->registers - (k->conv->lanewise ? 2 : 4);

    c->lanewise = k->conv->lanewise;
    c->out_blocks = blocks_of(o->shape.c);
    c->x_block = (int64_t)xs->rows * xs->cols * lanes;
    c->w_block = (int64_t)kh * kw * per_w;
    c->blocks = blocks_summed(k, o, in.c, xs->plain);
    c->share = blocks_sharing(k, o, o->shape.c);
    c->x_group = c->share ? c->blocks * c->x_block : 0;
    c->w_out = c->blocks * c->w_block;
    c->x_row = (int64_t)o->dilation[0] * xs->cols * lanes;
    c->w_row = (int64_t)kw * per_w;
    c->x_lane = 1;
    c->rows = kh;
    c->lanes = xs->plain || k->conv->lanewise ? 1 : c->blocks == 1 ? in.c / o->groups : LANES;
    c->h = o->shape.h, c->w = o->shape.w;
    c->x_y = (int64_t)o->stride[0] * xs->cols * lanes;
    c->x_x = (int64_t)o->stride[1] * lanes;
    c->z_origin = ((int64_t)dz->top * dz->cols + dz->left) * LANES;
    c->z_y = (int64_t)dz->cols * LANES;
    c->z_x = LANES;
    c->z_block = (int64_t)dz->rows * dz->cols * LANES;

    int planes = 1, tap_rows = 1;
    if ((xs->plain || k->conv->lanewise) && kh * kw <= limit && u.taps) { /* few channels: as many taps as fit */
        tap_rows = kh;
        planes = c->blocks * kh * kw <= limit ? c->blocks : 1;
    }
    int cols = kw;
    if (k->conv->lanewise && tap_rows == 1) { /* as much of a row as fits */
        c->lanes = kw;
        c->x_lane = (int64_t)o->dilation[1] * LANES;
        cols = 1;
    }
    const int taps = planes * tap_rows * cols;
    double best = -1;
    c->step = 1, c->vectors = 1;
    for (int s = 1; s <= c->lanes; s++)
        for (int v = 1; v <= 8 && v <= c->out_blocks; v++) {
            if (c->lanes % s || c->out_blocks % v || (c->share && c->share % v) || !fits(t, taps * s, v) ||
                (u.taps == 0 && s * v > 1))
                continue;
            const double cycles =
                (step_cycles(t, taps * s, v, k->conv->lanewise) + 20.0 / (c->h * c->w)) / (taps * s * v);
            if (best < 0 || cycles < best * 0.999) {
                best = cycles;
                c->step = s, c->vectors = v;
            }
        }
    for (int p = 0; p < planes; p++)
        for (int y = 0; y < tap_rows; y++)
            for (int x = 0; x < cols; x++)
                for (int s = 0; s < c->step; s++)
                    *PUSH(c->acc, c->nacc) =
                        (Tap){p * c->x_block +
                                  ((int64_t)y * o->dilation[0] * xs->cols + (int64_t)x * o->dilation[1]) * lanes +
                                  s * c->x_lane,
                              p * c->w_block + ((int64_t)y * kw + x) * per_w + s * LANES, 0,
                              x * o->dilation[1] - o->padding[1]};
    if (planes > 1)
        c->blocks = 1;
    if (tap_rows > 1)
        c->rows = 1;

    c->y_step = o->stride[0], c->x_step = o->stride[1];
    c->row_at = -o->padding[0], c->row_step = o->dilation[0];
    if (!xs->plain && !k->conv->lanewise && u.taps) {
        int64_t missed = 0;
        c->in_h = in.h, c->in_w = in.w;
        for (int i = 0; i < c->nacc; i++) {
            const Range met = weight_columns_met(c, &c->acc[i]);
            missed += c->w - (met.to - met.from);
        }
        if (missed * LEAVE_OUT < (int64_t)c->nacc * c->w)
            c->in_w = 0;
    }

    c->x_image = xs->floats;
    c->z_image = dz->floats;
    c->images = k->conv->xg < 0 ? images_together(c, o, xs, dz) : 1;
    c->band = band_rows(c, (int64_t)xs->cols * lanes, u);
    c->pixels = u.taps ? u.budget / (c->nacc * c->vectors) : 1;
    c->pixels = c->pixels < 1 ? 1 : c->pixels < UNROLL_PIXELS ? c->pixels : UNROLL_PIXELS;
    c->kept = !k->conv->lanewise && (t->kind == TARGET_AVX2 || (t->kind == TARGET_AVX512 && c->vectors > 1));
    c->apart = !c->kept || t->parts * (c->nacc + 1) * c->vectors + next_reads(c) > t->parts * t->registers;
}

/* ---- lanewise: images in which lane meets lane ---- */

/* `from` gathered for `channels` of the other side, each of which meets `few` of it. -1: it stands so already. */
static int gathered(Image **list, int *n, const Image *from, int channels, int few, const char *name)
{
    Image m = *from;

    m.name = name;
    m.filled = false; /* the halo is gathered with the rest */
    m.copies = 1;
    if (!mul_fits((int64_t)few * LANES * blocks_of(channels), (int64_t)m.rows * m.cols, &m.floats) ||
        m.floats > INT64_C(1) << 48)
        m.floats = INT64_C(1) << 48; /* memory refuses it */
    m.shape.c =
        (int)(few * (int64_t)LANES * blocks_of(channels) < INT32_MAX ? few * LANES * blocks_of(channels) : INT32_MAX);
    *PUSH(*list, *n) = m;
    return *n - 1;
}

static void gather_images(Kernel *k, const Op *o, Shape in)
{
    const int per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (!k->conv->lanewise || (per_in == 1 && per_out == 1))
        return;
    const Image xs = k->image[k->w->x];
    k->conv->xg = gathered(&k->image, &k->nimage, &xs, o->shape.c, per_in, "xg");
    k->image[k->conv->xg].given = false;
    if (!k->back_data || k->w->dz < 0)
        return;
    const Image dz = k->image[k->w->dz];
    k->conv->zg = gathered(&k->image, &k->nimage, &dz, in.c, per_out, "zg");
}

/* ---- linear at inference: a 1x1 conv on one pixel ---- */

static void linear_core(const Target *t, Core *c, int in, int out, Unroll u)
{
    c->name = "forward";
    c->blocks = blocks_of(in);
    c->x_block = LANES;
    c->w_block = LANES * LANES;
    c->rows = 1;
    c->lanes = c->blocks == 1 ? in : LANES;
    c->out_blocks = blocks_of(out);
    c->w_out = (int64_t)c->blocks * LANES * LANES;
    c->h = c->w = 1;
    c->ystep = c->xstep = 1;
    add_tap(c, 0, 0, 0, 0);
    finish_core(t, c, u, 0, 0);
}

static const char *core_name(const Kernel *k, const Op *o, Shape in)
{
    if (k->linear)
        return xprintf("linear_%d_%d", in.c, o->shape.c);
    const char *dilation =
        o->dilation[0] * o->dilation[1] > 1 ? xprintf("_d%dx%d", o->dilation[0], o->dilation[1]) : "";
    const char *groups = o->groups > 1 ? xprintf("_g%d", o->groups) : "";
    return xprintf("conv_%dx%dx%d_%d_k%dx%d_s%dx%d_p%dx%d%s%s%s", in.c, in.h, in.w, o->shape.c, o->kernel[0],
                   o->kernel[1], o->stride[0], o->stride[1], o->padding[0], o->padding[1], dilation, groups,
                   k->back_data ? "" : "_first");
}

/* Refuses `unroll: full` of a kernel whose taps alone are too many, before tiles are looked for. */
static Unroll unroll_allowed(const Plan *p, const Kernel *k, const Op *o, Shape in, Unroll u)
{
    const int per_in = in.c / o->groups, lanes = k->conv->lanewise ? 1 : per_in < LANES ? per_in : LANES;
    const int64_t taps = (int64_t)o->kernel[0] * o->kernel[1] * lanes;

    if (!u.full || taps <= UNROLL_LIMIT)
        return u;
    diag_error(p->g->spec->unroll_mark, "unroll: auto, or a number of statements",
               "unroll: full makes at least %lld statements of one function of %s; at most %d are made",
               (long long)taps, k->name, UNROLL_LIMIT);
    return (Unroll){UNROLL_TAPS, UNROLL_TILE, false};
}

static void conv_cores(Plan *p, Kernel *k, const Op *o, Shape in, Unroll u)
{
    k->conv->lanewise = plan_lanewise(p->g, o);
    u = unroll_allowed(p, k, o, in, u);
    gather_images(k, o, in);
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;
    const Image *xs = &k->image[k->conv->xg >= 0 ? k->conv->xg : k->w->x];
    k->w->w_floats = (int64_t)blocks_of(o->shape.c) * LANES * taps *
                     (k->conv->plain || k->conv->lanewise ? per_in : blocks_of(per_in) * LANES);
    k->w->fold_floats = k->w->w_floats;
    forward_core(p->target, k, &k->w->forward, o, in, xs, u);
    check_size(p, k, &k->w->forward);
    if (k->w->dz < 0) /* inference */
        return;
    weight_core(p->target, k, &k->conv->weight, o, in, xs, &k->image[k->w->dz], u);
    k->image[k->w->x].copies = k->image[k->w->dz].copies = k->conv->weight.images;
    if (!k->back_data)
        return;
    const Image *zs = &k->image[k->conv->zg >= 0 ? k->conv->zg : k->w->dz];
    k->conv->wt_floats =
        (int64_t)blocks_of(in.c) * LANES * taps * (k->conv->lanewise ? per_out : blocks_of(per_out) * LANES);
    for (int a = 0; a < o->stride[0] && a < in.h; a++)
        for (int b = 0; b < o->stride[1] && b < in.w; b++) {
            data_core(p->target, k, PUSH(k->conv->data, k->conv->ndata), o, in, zs, a, b, u);
            check_size(p, k, &k->conv->data[k->conv->ndata - 1]);
        }
}

static void kernel_cores(Plan *p, Kernel *k)
{
    const Op *o = &p->g->op[k->op];

    if (!k->w)
        return;
    const Shape in = p->g->op[o->in].shape;
    const Unroll u = unroll_of(p->g->spec);
    k->w->core_name = core_name(k, o, in);
    if (k->conv) {
        conv_cores(p, k, o, in, u);
        return;
    }
    k->w->w_floats = k->w->fold_floats = (int64_t)blocks_of(o->shape.c) * LANES * blocks_of(in.c) * LANES;
    linear_core(p->target, &k->w->forward, in.c, o->shape.c, u);
    check_size(p, k, &k->w->forward);
}

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
        choose_tiles(t, &c, UNROLL_TILE);
        return c.cycles;
    }
    for (int s = 1; s <= lanes; s++)
        for (int v = 1; v <= 8 && v <= c.out_blocks; v++) {
            if (lanes % s || c.out_blocks % v || !fits(t, 3 * s, v))
                continue;
            const double cycles = (step_cycles(t, 3 * s, v, false) * out.h * out.w + 20) * (9.0 / 3) * blocks *
                                  (lanes / (double)s) * (c.out_blocks / (double)v);
            best = best < 0 || cycles < best ? cycles : best;
        }
    return best;
}

void tile_build(Plan *p)
{
    for (int i = 0; i < p->nkernel; i++)
        kernel_cores(p, &p->kernel[i]);
    for (int i = 0; i < p->ninfer; i++) {
        Kernel *k = &p->infer[i];
        const Kernel *train = plan_kernel(p->kernel, p->nkernel, k->op);
        if (train) /* one header serves both */
            k->back_data = train->back_data;
        kernel_cores(p, k);
    }
}
