/* runs.c - a study's CSV: a header of "# key: value" lines, then a line a training.
 *
 * needs: the file.  sets: a Study that is whole in itself, or errors that name its lines. */
#include "study.h"
#include "answers.h"
#include "diag.h"
#include "files.h"
#include "numbers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const role_names[] = {"screen", "count", "long", NULL};
const char *const pair_words[] = {"primary", "compare", "null", "positive", NULL};

static const char first_line[] = "# convoy study 1";
static const char columns[] = "variant,role,seed,epochs,rate,valid,test,train_loss,test_loss,diverged,correct,rows";
static const char with_answers[] = ",answers"; /* the last column, where any are kept */
enum {
    LEAST_COLUMNS = 12,
    COLUMNS,
    MOST_BYTES = 64 << 20,
    MOST_SEEDS = 1000000,
    MOST_VARIANTS = 64,
    MOST_PAIRS = 256,
};

bool study_name_ok(const char *name)
{
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-");
    return n > 0 && n <= 40 && !name[n];
}

bool scores_recall(const Study *s)
{
    return *s->score != '\0';
}

bool keeps_answers(const Study *s)
{
    return !scores_recall(s) && !(s->overlap > 0);
}

double score_rows(const Study *s)
{
    return scores_recall(s) ? s->effective : (double)s->rows;
}

int seeds_planned(const Study *s)
{
    int n = s->seeds;
    for (int i = 0; i < s->nextension; i++)
        n += s->extension[i];
    return n;
}

/* ---- the header ---- */

/* What is read now: the study, the line, and where the value stands in it. */
typedef struct Reader {
    Study *s;
    int line, columns; /* columns: of a row */
    const char *value;
    Mark at;
} Reader;

static bool bad(const Reader *r, const char *hint, const char *what)
{
    diag_error(r->at, hint, "%s: '%.60s'", what, r->value);
    return false;
}

static bool want_whole(const Reader *r, int64_t lo, int64_t hi, int64_t *to)
{
    int64_t v;
    if (!text_int(r->value, &v) || v < lo || v > hi)
        return bad(r, NULL, xprintf("no whole number from %lld to %lld", (long long)lo, (long long)hi));
    *to = v;
    return true;
}

static bool want_number(const Reader *r, double lo, double hi, double *to)
{
    double v;
    if (!text_real(r->value, &v) || !(v >= lo && v <= hi))
        return bad(r, NULL, xprintf("no number from %g to %g", lo, hi));
    *to = v;
    return true;
}

static int find_variant(const Study *s, const char *name)
{
    for (int i = 0; i < s->nvariant; i++)
        if (strcmp(s->variant[i].name, name) == 0)
            return i;
    return -1;
}

static bool read_variant(const Reader *r)
{
    Study *s = r->s;
    const char *equals = strstr(r->value, " = ");
    const char *name = equals ? xstrndup(r->value, (size_t)(equals - r->value)) : r->value;
    if (!study_name_ok(name))
        return bad(r, "# variant: before = order=conv-bn-act", "no name of a variant");
    if (find_variant(s, name) >= 0)
        return bad(r, NULL, "a variant's name that was given before");
    if (s->nvariant == MOST_VARIANTS)
        return bad(r, NULL, "one variant too many");
    *PUSH(s->variant, s->nvariant) = (Variant){name, equals ? equals + 3 : ""};
    return true;
}

static bool read_pair(const Reader *r, PairKind kind)
{
    Study *s = r->s;
    const char *space = strchr(r->value, ' ');
    const int a = space ? find_variant(s, xstrndup(r->value, (size_t)(space - r->value))) : -1;
    const int b = space ? find_variant(s, space + 1) : -1;
    if (a < 0 || b < 0 || a == b)
        return bad(r, "the variants stand above the pairs", "no two variants");
    if ((kind == PAIR_PRIMARY) != (s->npair == 0))
        return bad(r, NULL, s->npair ? "a second primary pair" : "the primary pair must stand before the others");
    if (s->npair == MOST_PAIRS)
        return bad(r, NULL, "one pair too many");
    *PUSH(s->pair, s->npair) = (Pair){a, b, kind};
    return true;
}

static bool read_text(const Reader *r, size_t at)
{
    *(const char **)((char *)r->s + at) = r->value;
    return true;
}

static bool read_int(const Reader *r, size_t at, int64_t lo, int64_t hi)
{
    int64_t v;
    if (!want_whole(r, lo, hi, &v))
        return false;
    *(int *)((char *)r->s + at) = (int)v;
    return true;
}

static bool read_more(const Reader *r, int **list, int *n)
{
    int64_t v;
    if (!want_whole(r, 0, MOST_SEEDS, &v))
        return false;
    *PUSH(*list, *n) = (int)v;
    return true;
}

typedef enum KeyKind { TEXT, WHOLE, REAL, ROWS, VARIANT, PAIR, EXTENSION, LOOK } KeyKind;
typedef struct Key {
    const char *name;
    KeyKind kind;
    bool optional;
    size_t at;
    double lo, hi; /* PAIR: lo is its kind */
} Key;
#define AT(field) offsetof(Study, field)
static const Key keys[] = {
    {"name", TEXT, false, AT(name), 0, 0},
    {"network", TEXT, true, AT(network), 0, 0},
    {"data", TEXT, true, AT(data), 0, 0},
    {"target", TEXT, true, AT(target), 0, 0},
    {"fingerprint", TEXT, true, AT(fingerprint), 0, 0},
    {"variant", VARIANT, false, 0, 0, 0},
    {"primary", PAIR, false, 0, PAIR_PRIMARY, 0},
    {"compare", PAIR, true, 0, PAIR_OTHER, 0},
    {"null", PAIR, true, 0, PAIR_NULL, 0},
    {"positive", PAIR, true, 0, PAIR_POSITIVE, 0},
    {"margin", REAL, false, AT(margin), 1e-6, 100},
    {"classes", WHOLE, false, AT(classes), 2, 1 << 16},
    {"largest class", REAL, false, AT(guessing), 0, 1},
    {"test rows", ROWS, false, AT(rows), 1, 2147483647},
    {"score", TEXT, true, AT(score), 0, 0},
    {"effective rows", REAL, true, AT(effective), 1, 2147483647},
    {"overlap", REAL, true, AT(overlap), 0, 10},
    {"epochs", WHOLE, false, AT(epochs), 1, 1000000},
    {"screen", WHOLE, false, AT(screens), 1, 100},
    {"seeds", WHOLE, false, AT(seeds), 1, MOST_SEEDS},
    {"long", WHOLE, true, AT(longer), 0, MOST_SEEDS},
    {"rate", REAL, false, AT(rate), 1e-12, 1e6},
    {"factor", REAL, false, AT(factor), 1.01, 100},
    {"extension", EXTENSION, true, 0, 0, 0},
    {"look", LOOK, true, 0, 0, 0},
};
enum { KEYS = sizeof keys / sizeof *keys };

static bool read_value(const Reader *r, const Key *k)
{
    switch (k->kind) {
    case TEXT:
        return read_text(r, k->at);
    case WHOLE:
        return read_int(r, k->at, (int64_t)k->lo, (int64_t)k->hi);
    case REAL:
        return want_number(r, k->lo, k->hi, (double *)(void *)((char *)r->s + k->at));
    case ROWS:
        return want_whole(r, (int64_t)k->lo, (int64_t)k->hi, (int64_t *)((char *)r->s + k->at));
    case VARIANT:
        return read_variant(r);
    case PAIR:
        return read_pair(r, (PairKind)k->lo);
    case EXTENSION:
        return read_more(r, &r->s->extension, &r->s->nextension);
    case LOOK:
        return read_more(r, &r->s->look, &r->s->nlook);
    }
    return false;
}

/* No control characters, and UTF-8. */
static bool is_text(const char *s)
{
    const char *end = s + strlen(s);
    for (int bytes; s < end; s += bytes) {
        const unsigned c = utf8_next(s, end, &bytes);
        if (c < 32 || c == 127 || c == 0xfffd)
            return false;
    }
    return true;
}

/* "# key: value" */
static bool read_header(Reader *r, char *text, bool seen[KEYS])
{
    char *colon = strstr(text, ": ");
    const char *names[KEYS + 1] = {NULL};
    r->at = (Mark){r->line, 1, (int)strlen(text)};
    r->value = text;
    if (!is_text(text)) {
        diag_error(r->at, NULL, "the header is no text in UTF-8");
        return false;
    }
    if (strncmp(text, "# ", 2) != 0 || !colon)
        return bad(r, "# margin: 0.5", "no key and value");
    *colon = '\0';
    for (int i = 0; i < KEYS; i++) {
        names[i] = keys[i].name;
        if (strcmp(keys[i].name, text + 2) != 0)
            continue;
        r->value = colon + 2;
        r->at = (Mark){r->line, (int)(colon + 3 - text), (int)strlen(r->value)};
        if (seen[i] && keys[i].kind < VARIANT)
            return bad(r, NULL, xprintf("'%s' stands here twice", keys[i].name));
        seen[i] = true;
        return read_value(r, &keys[i]);
    }
    r->value = text + 2;
    return bad(r, diag_choices(text + 2, names, NULL), "an unknown key");
}

static bool header_whole(Reader *r, const bool seen[KEYS])
{
    Study *s = r->s;
    r->at = (Mark){r->line, 1, 1};
    for (int i = 0; i < KEYS; i++)
        if (!seen[i] && !keys[i].optional) {
            diag_error(r->at, NULL, "the header above has no '# %s: ...'", keys[i].name);
            return false;
        }
    if (!study_name_ok(s->name)) {
        r->value = s->name;
        return bad(r, "letters, digits, _ . + -", "no name of a study");
    }
    if (*s->score && strcmp(s->score, SCORE_RECALL) != 0) {
        r->value = s->score;
        return bad(r, SCORE_RECALL "; accuracy where the header says nothing", "an unknown score");
    }
    if (scores_recall(s) != (s->effective > 0)) {
        diag_error(r->at, NULL, "'# score: " SCORE_RECALL "' and '# effective rows: N' belong together");
        return false;
    }
    if (s->guessing < 1. / s->classes - 1e-9 || s->guessing >= 1) {
        diag_error(r->at, NULL, "the largest of %d classes cannot have a share of %g", s->classes, s->guessing);
        return false;
    }
    return true;
}

/* ---- rows ---- */

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

bool same_training(const Training *a, const Training *b)
{
    return a->variant == b->variant && a->role == b->role && a->seed == b->seed && near(a->rate, b->rate);
}

/* A number that a training which diverged may not have. */
static bool want_score(const Reader *r, bool may_miss, double hi, double *to)
{
    *to = NAN;
    return (may_miss && !*r->value) || want_number(r, 0, hi, to);
}

/* Columns 5 on: what came of it. */
static bool read_outcome(Reader *r, const char *const cell[COLUMNS], const Mark at[COLUMNS], Training *t)
{
    int64_t diverged = 0;
    const bool folded = r->s->overlap > 0; /* folds differ by a few rows */
#define CELL(k) (r->value = cell[k], r->at = at[k], (const Reader *)r)
    if (!want_whole(CELL(9), 0, 1, &diverged))
        return false;
    t->diverged = diverged != 0;
    if (!want_score(CELL(5), t->diverged, 1, &t->valid) || !want_score(CELL(6), t->diverged, 1, &t->test) ||
        !want_score(CELL(7), t->diverged, 1e30, &t->train_loss) ||
        !want_score(CELL(8), t->diverged, 1e30, &t->test_loss))
        return false;
    if (t->diverged && isnan(t->test)) {
        if (*cell[10] || *cell[11])
            return bad(CELL(*cell[10] ? 10 : 11), NULL, "a count of rows without a test score");
        return true;
    }
    if (!want_whole(CELL(11), folded ? 1 : r->s->rows, folded ? INT32_MAX : r->s->rows, &t->rows) ||
        !want_whole(CELL(10), 0, t->rows, &t->correct))
        return false;
    if (!scores_recall(r->s) && !(fabs(t->test * (double)t->rows - (double)t->correct) < .01))
        return bad(CELL(6), NULL,
                   xprintf("a test score that is not %lld of %lld rows", (long long)t->correct, (long long)t->rows));
    return true;
}

static bool answers_fit(const Reader *r, Training *t)
{
    unsigned char *right = xalloc((size_t)t->rows + 1);
    int64_t n = 0;
    if (!keeps_answers(r->s) || !t->rows || !answers_read(r->value, t->rows, right))
        return bad(r, NULL, "no answers of this row's test rows");
    for (int64_t i = 0; i < t->rows; i++)
        n += right[i];
    if (n != t->correct)
        return bad(r, NULL, xprintf("answers of which %lld are right, not %lld", (long long)n, (long long)t->correct));
    t->answers = r->value;
    return true;
}

static int role_epochs(const Study *s, Role role)
{
    return s->epochs * (role == ROLE_LONG ? 2 : 1);
}

static bool read_row(Reader *r, char *text)
{
    const char *cell[COLUMNS];
    Mark at[COLUMNS];
    int n = 0;
    int64_t epochs;
    Training t = {0};
    r->at = (Mark){r->line, 1, (int)strlen(text)};
    for (char *from = text;; n++) {
        const size_t len = strcspn(from, ",");
        const bool last = !from[len];
        if (n < COLUMNS) {
            cell[n] = from;
            at[n] = (Mark){r->line, (int)(from - text) + 1, len ? (int)len : 1};
        }
        from[len] = '\0';
        if (last)
            break;
        from += len + 1;
    }
    if (++n != r->columns) {
        diag_error(r->at, "the line was cut, or joined with another?", "%d columns, %d are needed", n, r->columns);
        return false;
    }
    t.variant = find_variant(r->s, CELL(0)->value);
    if (t.variant < 0)
        return bad(r, NULL, "a variant that the header does not name");
    (void)CELL(1);
    while (t.role < ROLES && strcmp(role_names[t.role], r->value) != 0)
        t.role++;
    if (t.role == ROLES)
        return bad(r, "screen, count or long", "an unknown role");
    const int planned = role_epochs(r->s, t.role);
    if (!want_whole(CELL(2), 0, INT64_MAX, &t.seed) || !want_whole(CELL(3), planned, planned, &epochs) ||
        !want_number(CELL(4), 1e-12, 1e9, &t.rate) || !read_outcome(r, cell, at, &t))
        return false;
    if (r->columns == COLUMNS && *cell[COLUMNS - 1] && !answers_fit(CELL(COLUMNS - 1), &t))
        return false;
    t.epochs = (int)epochs;
    *PUSH(r->s->run, r->s->nrun) = t;
    return true;
}
#undef CELL

/* ---- what rows must be together ---- */

static int compare_runs(const void *a, const void *b)
{
    const Training *s = a, *t = b;
    if (s->role != t->role)
        return s->role < t->role ? -1 : 1;
    if (s->seed != t->seed)
        return s->seed < t->seed ? -1 : 1;
    if (s->variant != t->variant)
        return s->variant < t->variant ? -1 : 1;
    return s->rate < t->rate ? -1 : s->rate > t->rate;
}

void study_sort(Study *s)
{
    if (s->nrun)
        qsort(s->run, (size_t)s->nrun, sizeof *s->run, compare_runs);
}

const Training *study_pick(const Training *of, int n)
{
    static const int order[ROUND_RATES] = {1, 0, 2};
    const Training *best = NULL;
    for (int k = 0; k < ROUND_RATES && n == ROUND_RATES; k++) {
        const Training *one = &of[order[k]];
        if (!one->diverged && (!best || one->valid > best->valid))
            best = one;
    }
    return best;
}

/* Answers of trainings that do not count are not kept: those at a rate that was not picked. */
static void drop_answers(Study *s)
{
    for (int i = 0, n; i < s->nrun; i += n) {
        Training *of = &s->run[i];
        for (n = 1;
             i + n < s->nrun && of[n].role == of->role && of[n].seed == of->seed && of[n].variant == of->variant;)
            n++;
        const Training *picked = study_pick(of, n);
        for (int k = 0; k < n; k++)
            if (of->role == ROLE_SCREEN || (n == ROUND_RATES && &of[k] != picked))
                of[k].answers = NULL;
    }
}

static bool has_answers(const Study *s)
{
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].answers)
            return true;
    return false;
}

static bool in_primary(const Study *s, int variant)
{
    return variant == s->pair[0].a || variant == s->pair[0].b;
}

/* Sorted: no training twice; no more seeds than are planned; the counted ones of a variant have three rates that stand
 * side by side. */
static bool rows_fit(const Study *s)
{
    const Mark nowhere = {0};
    int seeds = 0;
    for (int i = 0; i < s->nrun; i++)
        seeds += s->run[i].role == ROLE_COUNT &&
                 (i == 0 || s->run[i - 1].role != ROLE_COUNT || s->run[i - 1].seed != s->run[i].seed);
    if (seeds > seeds_planned(s)) {
        diag_error(nowhere, "# extension: N says that N seeds were added after the planned end",
                   "%d seeds are counted, %d were planned", seeds, seeds_planned(s));
        return false;
    }
    for (int i = 1; i < s->nrun; i++)
        if (same_training(&s->run[i - 1], &s->run[i])) {
            const Training *t = &s->run[i];
            diag_error(nowhere, NULL, "the training of %s, %s, seed %lld, rate %s stands there twice",
                       s->variant[t->variant].name, role_names[t->role], (long long)t->seed, real_text(t->rate));
            return false;
        }
    for (int v = 0; v < s->nvariant; v++)
        for (Role role = ROLE_COUNT; role < ROLES; role++) {
            double lo = INFINITY, hi = 0;
            for (int i = 0; i < s->nrun; i++) {
                const Training *t = &s->run[i];
                if (t->variant != v || t->role != role)
                    continue;
                lo = t->rate < lo ? t->rate : lo;
                hi = t->rate > hi ? t->rate : hi;
                if (role == ROLE_LONG && !in_primary(s, v)) {
                    diag_error(nowhere, NULL, "'%s' is not of the primary pair, and was trained long",
                               s->variant[v].name);
                    return false;
                }
            }
            if (hi > lo * pow(s->factor, ROUND_RATES - 1) * 1.000001) {
                diag_error(nowhere, "every seed of a variant is trained at the same three rates",
                           "'%s' was trained at rates from %s to %s, further apart than the header's factor allows",
                           s->variant[v].name, real_text(lo), real_text(hi));
                return false;
            }
        }
    return true;
}

static bool read_lines(Reader *r, char *text, size_t len)
{
    bool seen[KEYS] = {false}, in_rows = false;
    char *end;
    for (char *line = text; line < text + len; line = end + 1) {
        r->line++;
        r->at = (Mark){r->line, 1, 1};
        end = strchr(line, '\n');
        if (!end) {
            diag_error(r->at, "was it copied while it was written?", "the last line ends early");
            return false;
        }
        *end = '\0';
        if (r->line == 1) {
            r->value = line;
            if (strcmp(line, first_line) != 0)
                return bad(r, xprintf("a study's CSV begins with '%s'", first_line), "no study");
        } else if (!in_rows && *line == '#') {
            if (!read_header(r, line, seen))
                return false;
        } else if (!in_rows) {
            in_rows = true;
            r->value = line;
            if (!header_whole(r, seen))
                return false;
            const bool answers = strcmp(line, xprintf("%s%s", columns, with_answers)) == 0;
            if (!answers && strcmp(line, columns) != 0)
                return bad(r, columns, "no names of columns");
            r->columns = answers ? COLUMNS : LEAST_COLUMNS;
        } else if (!read_row(r, line)) {
            return false;
        }
    }
    r->at = (Mark){r->line ? r->line : 1, 1, 1};
    if (!in_rows)
        diag_error(r->at, NULL, "the file ends before its first row");
    return in_rows;
}

Study *study_read(const char *path)
{
    size_t len;
    Source *source = xalloc(sizeof *source);
    *source = (Source){.path = path, .text = ""};
    diag_source(source);
    char *text = file_read(path, MOST_BYTES, &len);
    if (!text) {
        diag_error((Mark){0}, NULL, errno == EFBIG ? "larger than %s" : "cannot be read: %s",
                   errno == EFBIG ? "64 MB" : strerror(errno));
        return NULL;
    }
    *source = (Source){.path = path, .text = xstrndup(text, len), .len = strlen(text)};
    Reader r = {.s = xalloc(sizeof(Study))};
    r.s->network = r.s->data = r.s->target = r.s->fingerprint = r.s->score = "";
    if (strlen(text) != len) {
        diag_error((Mark){0}, NULL, "the file holds a NUL byte");
        return NULL;
    }
    if (!read_lines(&r, text, len))
        return NULL;
    study_sort(r.s);
    return rows_fit(r.s) ? r.s : NULL;
}

/* ---- writing ---- */

static void put_key(Buf *to, const Study *s, const Key *k)
{
    const char *at = (const char *)s + k->at;
    switch (k->kind) {
    case TEXT:
        if (**(const char *const *)at)
            buf_printf(to, "# %s: %s\n", k->name, *(const char *const *)at);
        break;
    case WHOLE:
        if (*(const int *)at || !k->optional)
            buf_printf(to, "# %s: %d\n", k->name, *(const int *)at);
        break;
    case ROWS:
        buf_printf(to, "# %s: %lld\n", k->name, (long long)*(const int64_t *)at);
        break;
    case REAL:
        if (*(const double *)(const void *)at != 0 || !k->optional)
            buf_printf(to, "# %s: %s\n", k->name, real_text(*(const double *)(const void *)at));
        break;
    case VARIANT:
        for (int i = 0; i < s->nvariant; i++)
            buf_printf(to, "# variant: %s%s%s\n", s->variant[i].name, *s->variant[i].what ? " = " : "",
                       s->variant[i].what);
        break;
    case PAIR:
        for (int i = 0; i < s->npair; i++)
            if ((double)s->pair[i].kind == k->lo)
                buf_printf(to, "# %s: %s %s\n", k->name, s->variant[s->pair[i].a].name, s->variant[s->pair[i].b].name);
        break;
    case EXTENSION:
        for (int i = 0; i < s->nextension; i++)
            buf_printf(to, "# extension: %d\n", s->extension[i]);
        break;
    case LOOK:
        for (int i = 0; i < s->nlook; i++)
            buf_printf(to, "# look: %d\n", s->look[i]);
        break;
    }
}

static void put_number(Buf *to, double v)
{
    buf_printf(to, ",%s", isnan(v) ? "" : real_text(v));
}

const char *study_csv(Study *s)
{
    Buf b = {0};
    study_sort(s);
    drop_answers(s);
    const bool answers = has_answers(s);
    buf_printf(&b, "%s\n", first_line);
    for (int i = 0; i < KEYS; i++)
        put_key(&b, s, &keys[i]);
    buf_printf(&b, "%s%s\n", columns, answers ? with_answers : "");
    for (int i = 0; i < s->nrun; i++) {
        const Training *t = &s->run[i];
        buf_printf(&b, "%s,%s,%lld,%d,%s", s->variant[t->variant].name, role_names[t->role], (long long)t->seed,
                   t->epochs, real_text(t->rate));
        put_number(&b, t->valid);
        put_number(&b, t->test);
        put_number(&b, t->train_loss);
        put_number(&b, t->test_loss);
        buf_printf(&b, ",%d", t->diverged);
        if (t->rows)
            buf_printf(&b, ",%lld,%lld", (long long)t->correct, (long long)t->rows);
        else
            buf_puts(&b, ",,");
        buf_printf(&b, "%s%s\n", answers ? "," : "", t->answers ? t->answers : "");
    }
    return b.text;
}
