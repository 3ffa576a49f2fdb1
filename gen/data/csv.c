/* csv.c - tables as text: which character separates cells, whether there is a header, quotes, line ends, byte order
 * marks; what a cell holds. */
#include "csv.h"
#include "runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum {
    PART = 1 << 16,
    MOST_CELLS = 1 << 20,  /* of a row */
    MOST_TEXT = 256 << 20, /* bytes of a row */
    SNIFFED = 20,          /* rows */
};

static bool fail(const Csv *c, const char *why)
{
    cvy_error(NULL, "cannot read '%s': %s", c->path, why);
    return false;
}

/* ---- bytes ---- */

/* More bytes; false at the end, or after a message, which *bad says. */
static bool refill(Csv *c, bool *bad)
{
    const int n = gzread(c->file, c->part, PART);
    int code = 0;
    c->used = 0;
    c->have = n > 0 ? (size_t)n : 0;
    if (n > 0 && memchr(c->part, 0, (size_t)n)) {
        cvy_error("of UTF-16, as spreadsheets write it: iconv -f utf-16 -t utf-8",
                  "'%s' is no text in UTF-8: it holds bytes of zero", c->path);
        *bad = true;
    }
    if (n > 0)
        return !*bad;
    const char *why = gzerror(c->file, &code);
    if (n < 0 || (code != Z_OK && code != Z_STREAM_END)) {
        fail(c, code == Z_ERRNO ? strerror(errno) : code == Z_BUF_ERROR ? "it is truncated" : why);
        *bad = true;
    }
    return false;
}

static int peek(Csv *c, bool *bad)
{
    return c->used < c->have || refill(c, bad) ? c->part[c->used] : -1;
}

/* A byte order mark, where one stands here: some programs begin every line with it. */
static void skip_mark(Csv *c, bool *bad)
{
    if (c->have - c->used < 3) { /* all three bytes are looked at at once */
        memmove(c->part, c->part + c->used, c->have - c->used);
        c->have -= c->used;
        c->used = 0;
        const int n = gzread(c->file, c->part + c->have, (unsigned)(PART - c->have));
        c->have += n > 0 ? (size_t)n : 0;
        *bad = n < 0 && !fail(c, "it is damaged");
    }
    if (c->have - c->used >= 3 && memcmp(c->part + c->used, "\xef\xbb\xbf", 3) == 0)
        c->used += 3;
}

/* ---- rows ---- */

static bool add_byte(Csv *c, int byte)
{
    if (c->len == MOST_TEXT)
        return fail(c, xprintf("line %lld is longer than %d MB", (long long)c->line, MOST_TEXT >> 20));
    if (c->len == c->text_room) {
        const size_t room = c->text_room ? 2 * c->text_room : 4096;
        char *grown = realloc(c->text, room);
        if (!grown)
            out_of_memory(room);
        c->text = grown;
        c->text_room = room;
    }
    c->text[c->len++] = (char)byte;
    return true;
}

static bool begin_cell(Csv *c)
{
    if (c->n == MOST_CELLS)
        return fail(c, xprintf("line %lld has more than %d cells", (long long)c->line, MOST_CELLS));
    if (c->n == c->room) {
        const int room = c->room ? 2 * c->room : 64;
        size_t *start = realloc(c->start, (size_t)room * sizeof *start);
        char **cell = realloc(c->cell, (size_t)room * sizeof *cell);
        bool *quoted = realloc(c->quoted, (size_t)room * sizeof *quoted);
        if (!start || !cell || !quoted)
            out_of_memory((size_t)room * sizeof *cell);
        c->start = start;
        c->cell = cell;
        c->quoted = quoted;
        c->room = room;
    }
    c->start[c->n] = c->len;
    c->quoted[c->n++] = false;
    return true;
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t';
}

/* A cell between quotes, the first of which was read. Doubled quotes are one. */
static bool quoted_cell(Csv *c, bool *bad)
{
    c->quoted[c->n - 1] = true;
    for (;;) {
        int b = peek(c, bad);
        if (b < 0)
            return *bad ? false
                        : fail(c, xprintf("the quotes that line %lld opens are not closed", (long long)c->line));
        c->used++;
        if (b == '"') {
            if (peek(c, bad) != '"')
                return !*bad;
            c->used++;
        }
        c->next_line += b == '\n';
        if (!add_byte(c, b ? b : ' '))
            return false;
    }
}

/* The end of a cell: blanks around it are taken off, unless they stand in quotes. */
static bool end_cell(Csv *c)
{
    size_t *start = &c->start[c->n - 1];
    if (!c->quoted[c->n - 1]) {
        while (c->len > *start && is_blank(c->text[c->len - 1]))
            c->len--;
        while (*start < c->len && is_blank(c->text[*start]))
            ++*start;
    }
    return add_byte(c, '\0');
}

/* One row, an empty one too. */
static int read_row(Csv *c)
{
    bool bad = false;
    c->n = 0;
    c->len = 0;
    c->line = c->next_line;
    if (peek(c, &bad) < 0)
        return bad ? -1 : 0;
    skip_mark(c, &bad);
    if (!begin_cell(c))
        return -1;
    for (;;) {
        const int b = peek(c, &bad);
        if (bad)
            return -1;
        if (b >= 0)
            c->used++;
        if (b < 0 || b == '\n' || b == '\r') {
            if (b == '\r' && peek(c, &bad) == '\n')
                c->used++;
            c->next_line++;
            return !bad && end_cell(c) ? 1 : -1;
        }
        if (b == c->delimiter) {
            if (!end_cell(c) || !begin_cell(c))
                return -1;
        } else if (b == '"' && c->len == c->start[c->n - 1]) {
            if (!quoted_cell(c, &bad))
                return -1;
        } else if (!(is_blank(b) && c->len == c->start[c->n - 1]) && !add_byte(c, b ? b : ' ')) {
            return -1;
        }
    }
}

int csv_next(Csv *c)
{
    int got;
    do
        got = read_row(c);
    while (got > 0 && c->n == 1 && !c->quoted[0] && c->start[0] + 1 == c->len);
    for (int i = 0; i < c->n && got > 0; i++)
        c->cell[i] = c->text + c->start[i];
    return got;
}

/* ---- numbers ---- */

static bool is_one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(s, *words) == 0)
            return true;
    return false;
}

Cell csv_number(const char *cell, double *v)
{
    static const char *const missing[] = {"", "na", "n/a", "nan", "?", "null", "none", "-", "nil", NULL};
    static const char *const yes[] = {"true", NULL}, *const no[] = {"false", NULL};
    static const char *const large[] = {"inf", "-inf", "+inf", "infinity", "-infinity", NULL};
    const char *digits = *cell == '+' ? cell + 1 : cell;
    if (cvy_parse_real(digits, -1e300 * 1e8, 1e300 * 1e8, v))
        return *v > 3.4028234663852886e38 || *v < -3.4028234663852886e38 ? CELL_TOO_LARGE : CELL_NUMBER;
    if (is_one_of(cell, missing))
        return CELL_MISSING;
    *v = is_one_of(cell, yes);
    if (is_one_of(cell, yes) || is_one_of(cell, no))
        return CELL_NUMBER;
    if (is_one_of(cell, large))
        return CELL_TOO_LARGE;
    const size_t n = strspn(digits, "-0123456789"), comma = digits[n] == ',';
    if (n && comma && digits[n + 1] && !digits[n + 1 + strspn(digits + n + 1, "0123456789")])
        return CELL_COMMA;
    const size_t all = strspn(digits, "-+.0123456789eE"); /* a number by its looks, and beyond what a double holds */
    if (all && !digits[all] && (digits[0] == '-' || (digits[0] >= '0' && digits[0] <= '9')) && strpbrk(digits, "eE")) {
        char *end;
        (void)strtod(digits, &end);
        if (!*end)
            return CELL_TOO_LARGE;
    }
    return CELL_TEXT;
}

/* ---- opening ---- */

static bool open_file(Csv *c)
{
    if (c->file)
        gzclose(c->file);
    const int fd = cvy_open_typed(c->path);
    c->file = fd < 0 ? NULL : gzdopen(fd, "rb");
    c->have = c->used = 0;
    c->next_line = 1;
    return c->file || fail(c, strerror(errno));
}

/* In how many of the first rows a character makes the same number of cells as in the first of them, more than one. */
static int agreement(Csv *c, char delimiter, int *cells)
{
    int agree = 0, got = 1;
    c->delimiter = delimiter;
    c->used = 0;
    const int silent = cvy_silent;
    cvy_silent = 1; /* quotes that do not close: with this delimiter */
    for (int i = 0; i < SNIFFED && got > 0 && c->used < c->have; i++) {
        const size_t left = c->have - c->used;
        if (i > 0 && left < PART / 2 && c->have == PART)
            break; /* the last of them may be cut */
        got = read_row(c);
        if (i == 0)
            *cells = c->n;
        agree += got > 0 && c->n == *cells && c->n > 1;
    }
    cvy_silent = silent;
    return agree;
}

static bool find_delimiter(Csv *c)
{
    static const char tried[] = ",;\t|";
    char best = ',';
    int most = 0, most_cells = 0;
    bool bad = false;
    for (int i = 0; tried[i]; i++) {
        int cells = 0;
        if (!open_file(c))
            return false;
        if (peek(c, &bad) < 0)
            return bad ? false : fail(c, "it is empty");
        const int n = agreement(c, tried[i], &cells);
        if (n > most || (n == most && n > 0 && cells > most_cells)) {
            most = n;
            most_cells = cells;
            best = tried[i];
        }
    }
    c->delimiter = best;
    return open_file(c);
}

bool csv_open(Csv *c, const char *path)
{
    *c = (Csv){.path = path, .part = xmalloc(PART)};
    if (!find_delimiter(c))
        return false;
    const int got = csv_next(c);
    if (got < 0)
        return false;
    if (got == 0)
        return fail(c, "it is empty");
    c->header = true; /* where no cell of the first row is a number */
    double v;
    for (int i = 0; i < c->n; i++)
        c->header = c->header && csv_number(c->cell[i], &v) != CELL_NUMBER && csv_number(c->cell[i], &v) != CELL_COMMA;
    /* MNIST as people pass it around has "label,1x1,1x2", and pandas names columns by numbers: one name will do where
     * the row after it has a number there */
    if (!c->header && csv_number(c->cell[0], &v) != CELL_NUMBER && c->n > 1) {
        char **first = xalloc((size_t)c->n * sizeof *first);
        const int n = c->n;
        for (int i = 0; i < n; i++)
            first[i] = xstrdup(c->cell[i]);
        if (csv_next(c) < 0)
            return false;
        c->header = c->n == n && csv_number(first[0], &v) == CELL_TEXT && csv_number(c->cell[0], &v) == CELL_NUMBER;
        bool counted = *first[0] == '\0'; /* ",0,1,2": an index column of pandas, and columns without names */
        for (int i = 1; i < n && counted; i++)
            counted = csv_number(first[i], &v) == CELL_NUMBER && v == i - 1;
        c->header = c->header || (c->n == n && counted);
        if (!open_file(c) || csv_next(c) < 0)
            return false;
    }
    if (c->header) {
        for (int i = 0; i < c->n; i++)
            *PUSH(c->name, c->nname) = xstrdup(c->cell[i]);
        return true;
    }
    c->nname = c->n;
    return open_file(c);
}

bool csv_rewind(Csv *c)
{
    return open_file(c) && (!c->header || csv_next(c) > 0);
}

void csv_close(Csv *c)
{
    if (c->file)
        gzclose(c->file);
    free(c->part);
    free(c->text);
    free(c->start);
    free(c->cell);
    free(c->quoted);
    *c = (Csv){0};
}

int csv_column(const Csv *c, const char *word)
{
    int64_t n;
    for (int i = 0; i < c->nname && c->header; i++)
        if (strcmp(c->name[i], word) == 0)
            return i;
    for (int i = 0; i < c->nname && c->header; i++)
        if (strcasecmp(c->name[i], word) == 0)
            return i;
    return cvy_parse_i64(word, 1, c->nname, &n) ? (int)n - 1 : -1;
}
