/* cost_level.c - what differs in costs.
 *
 * needs: both plans and what is emitted of them.  sets: level[LEVEL_COST]. */
#include "levels.h"

#include <math.h>
#include <string.h>

const char *number_text(double v)
{
    const char *s = xprintf("%.0f", fabs(v));
    const size_t n = strlen(s);
    Buf b = {0};

    buf_puts(&b, v < 0 ? "-" : "");
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            buf_puts(&b, ",");
        buf_add(&b, &s[i], 1);
    }
    return b.text;
}

DiffCost *diff_cost(Diff *d, const char *name, const char *unit, bool known_a, double a, bool known_b, double b)
{
    DiffLevel *l = &d->level[LEVEL_COST];
    DiffCost *c = PUSH(l->cost, l->ncost);

    *c = (DiffCost){name, unit, known_a, known_b, a, b, NULL};
    return c;
}

bool cost_same(const DiffCost *c)
{
    return !c->note && c->known_a == c->known_b && c->a == c->b; // NOLINT: counts are whole numbers
}

const char *cost_change(const DiffCost *c)
{
    if (c->note)
        return c->note;
    if (!c->known_a || !c->known_b)
        return "";
    if (cost_same(c))
        return "same";
    if (c->a == 0)
        return "new";
    const double percent = 100 * (c->b - c->a) / c->a;
    return fabs(percent) >= 0.05 ? xprintf("%+.1f %%", percent)
                                 : xprintf("%s%s", c->b > c->a ? "+" : "", number_text(c->b - c->a));
}

const OutFile *diff_file_named(const OutDir *o, const char *name)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->file[i].name, name) == 0)
            return &o->file[i];
    return NULL;
}

static bool is_network_c(const char *name)
{
    const size_t n = strlen(name);

    return n > 2 && name[n - 2] == '.' && strchr("ch", name[n - 1]) && strncmp(name, "runtime/", 8) != 0;
}

static int64_t lines_of(const OutDir *o)
{
    int64_t n = 0;

    for (int i = 0; i < o->n; i++)
        for (size_t k = 0; is_network_c(o->file[i].name) && k < o->file[i].len; k++)
            n += o->file[i].text[k] == '\n';
    return n;
}

static const char arena_macro[] = "_ARENA_BYTES(batch, threads) ";

/* NAME.h: of a folder, the header that says how many bytes an arena has. */
const char *diff_header_of(const OutDir *o, const char **name)
{
    for (int i = 0; i < o->n; i++) {
        const char *at = strstr(o->file[i].text, arena_macro), *f = o->file[i].name;
        if (at && !strchr(f, '/') && strcmp(f + strlen(f) - 2, ".h") == 0) {
            *name = xstrndup(f, strlen(f) - 2);
            return o->file[i].text;
        }
    }
    return NULL;
}

typedef struct ArenaBytes {
    bool known;
    double fixed, train, image, thread;
} ArenaBytes;

/* The number after `before` in a line; 0 where there is none: the sum leaves such a part out. */
static double number_after(const char *line, const char *before, bool *known)
{
    const char *from = strstr(line, before);
    int64_t v = 0;

    if (from) {
        from += strlen(before);
        *known &= text_int(xstrndup(from, strspn(from, "0123456789")), &v);
    }
    return (double)v;
}

/* The parts of the macro's sum, which stands on its line or on the next. */
static ArenaBytes arena_of_header(const OutDir *o)
{
    const char *name, *text = diff_header_of(o, &name), *at = text ? strstr(text, arena_macro) : NULL;
    ArenaBytes a = {.known = at != NULL};

    if (!at)
        return a;
    at += strlen(arena_macro);
    at += strncmp(at, "\\\n", 2) == 0 ? 2 : 0;
    const char *line = xstrndup(at, strcspn(at, "\n"));
    a.known = strstr(line, "((size_t)") != NULL;
    a.fixed = number_after(line, "((size_t)", &a.known);
    a.train = number_after(line, "+ ((batch) > 0 ? (size_t)", &a.known);
    a.image = number_after(line, "+ (size_t)(batch) * ", &a.known);
    a.thread = number_after(line, "+ (size_t)(threads) * ", &a.known);
    return a;
}

static ArenaBytes arena_of_plan(const Plan *p)
{
    const Arena *a = &p->arena;

    return (ArenaBytes){true, (double)arena_fixed_bytes(a, true), (double)arena_train_bytes(a), 4 * (double)a->image,
                        4 * (double)a->thread};
}

/* By the plans; of folders, which have none, by what their headers say. */
void diff_arena_costs(Diff *d)
{
    const ArenaBytes a = d->a.p ? arena_of_plan(d->a.p) : arena_of_header(&d->a.out),
                     b = d->b.p ? arena_of_plan(d->b.p) : arena_of_header(&d->b.out);

    if (!a.known && !b.known)
        return;
    diff_cost(d, "arena, training: once", "bytes", a.known, a.fixed + a.train, b.known, b.fixed + b.train);
    diff_cost(d, "  and per image of the batch", "bytes", a.known, a.image, b.known, b.image);
    diff_cost(d, "  and a thread", "bytes", a.known, a.thread, b.known, b.thread);
    diff_cost(d, "arena, inference, one thread", "bytes", a.known, a.fixed + a.thread, b.known, b.fixed + b.thread);
}

void diff_text_costs(Diff *d)
{
    diff_cost(d, "files of C", "", true, 0, true, 0);
    DiffCost *c = &d->level[LEVEL_COST].cost[d->level[LEVEL_COST].ncost - 1];
    for (int i = 0; i < d->a.out.n; i++)
        c->a += is_network_c(d->a.out.file[i].name);
    for (int i = 0; i < d->b.out.n; i++)
        c->b += is_network_c(d->b.out.file[i].name);
    diff_cost(d, "lines of C", "", true, (double)lines_of(&d->a.out), true, (double)lines_of(&d->b.out));
}

void diff_cost_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;

    diff_cost(d, "parameters", "", true, (double)a->g->weights, true, (double)b->g->weights);
    diff_cost(d, "FLOPs forward, per image", "", true, (double)a->g->flops, true, (double)b->g->flops);
    diff_cost(d, "stored for backward, per image", "bytes", true, (double)a->stored_bytes, true,
              (double)b->stored_bytes);
    diff_arena_costs(d);
    diff_cost(d, "kernels, training", "", true, a->nkernel, true, b->nkernel);
    diff_cost(d, "kernels, inference", "", true, a->ninfer, true, b->ninfer);
    diff_text_costs(d);
}
