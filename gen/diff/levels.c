/* levels.c - what differs, level by level; and of two folders what their headers say.
 *
 * Everything here is looked up by name: b was built once more under a's names (diff/align.c).
 *
 * needs: both sides whole, and the pairs of layers.  sets: level[] of those that are there. */
#include "levels.h"
#include "runtime.h"

#include <string.h>

const char *const level_names[] = {"spec", "graph", "plan", "infer", "cost", "c", NULL};

/* ---- C ---- */

static void add_file(DiffLevel *l, const char *name, const OutFile *a, const OutFile *b)
{
    DiffFile *f = PUSH(l->file, l->nfile);

    *f = (DiffFile){.name = name, .in_a = a != NULL, .in_b = b != NULL};
    if (!a || !b || a->len != b->len || memcmp(a->text, b->text, a->len) != 0)
        f->lines = text_diff(a ? a->text : "", b ? b->text : "");
}

/* The files of both, in a's sequence, b's own after those that they stand after there. */
static void c_level(Diff *d)
{
    DiffLevel *l = &d->level[LEVEL_C];
    const OutDir *a = &d->a.out, *b = &d->b.out;
    int next = 0; /* of b */

    for (int i = 0; i < a->n; i++) {
        const OutFile *other = diff_file_named(b, a->file[i].name);
        for (; other && next < b->n && &b->file[next] <= other; next++)
            if (!diff_file_named(a, b->file[next].name))
                add_file(l, b->file[next].name, NULL, &b->file[next]);
        add_file(l, a->file[i].name, &a->file[i], other);
    }
    for (; next < b->n; next++)
        if (!diff_file_named(a, b->file[next].name))
            add_file(l, b->file[next].name, NULL, &b->file[next]);
}

/* ---- all of it ---- */

bool level_same(const DiffLevel *l)
{
    for (int i = 0; i < l->nfile; i++)
        if (l->file[i].lines || l->file[i].in_a != l->file[i].in_b)
            return false;
    for (int i = 0; i < l->ncost; i++)
        if (!cost_same(&l->cost[i]) && !l->cost[i].note)
            return false;
    return l->nrow == 0;
}

bool diff_same(const Diff *d)
{
    for (int l = 0; l < LEVELS; l++)
        if (d->level[l].there && !level_same(&d->level[l]))
            return false;
    return true;
}

void diff_front(Diff *d)
{
    d->level[LEVEL_SPEC].there = d->level[LEVEL_GRAPH].there = true;
    diff_spec_level(d);
    diff_graph_level(d);
    if (level_same(&d->level[LEVEL_SPEC])) { /* only written otherwise: what is emitted states the hash of what it is */
        Spec *s = xalloc(sizeof *s);
        *s = *d->renamed->spec;
        s->tree = d->a.g->spec->tree;
        s->head = d->a.g->spec->head;
        Graph *g = xalloc(sizeof *g);
        *g = *d->renamed;
        g->spec = s;
        d->renamed = g;
    }
}

void diff_levels(Diff *d)
{
    for (int l = 0; l < LEVELS; l++)
        d->level[l].there = true;
    c_level(d);
    diff_plan_level(d);
    if (!level_same(&d->level[LEVEL_C]))
        diff_level_note(d, LEVEL_PLAN, diff_identical(d));
    diff_infer_level(d);
    diff_cost_level(d);
}

/* ---- two folders: what their headers say ---- */

/* What stands between two words of a header, in plain characters; NULL where they are not there. */
static const char *between(const char *text, const char *before, const char *after)
{
    const char *at = text ? strstr(text, before) : NULL, *end = at ? strstr(at + strlen(before), after) : NULL;

    if (!end)
        return NULL;
    const char *said = xstrndup(at + strlen(before), (size_t)(end - at) - strlen(before));
    return cvy_plain(said, xalloc(8 * strlen(said) + 8), 8 * strlen(said) + 8);
}

/* A header may have been changed by hand: what is no whole number is not known. */
static double number_in(const char *text, bool *known)
{
    int64_t v = 0;

    *known = text && text_int(text, &v);
    return (double)v;
}

static void header_cost(Diff *d, const char *name, const char *unit, const char *a, const char *b)
{
    bool ka, kb;
    const double va = number_in(a, &ka), vb = number_in(b, &kb);

    if (ka || kb)
        diff_cost(d, name, unit, ka, va, kb, vb);
}

bool diff_emitted_from(const OutDir *out, const char *hash)
{
    const char *name, *text = diff_header_of(out, &name);

    return !text || strstr(text, xprintf("with hash %s", hash));
}

void diff_folders(Diff *d)
{
    static const char *const said[][3] = {{"version", "emitted by convoy ", " from"},
                                          {"hash of the spec", "with hash ", ";"},
                                          {"order", "; order ", "; target"},
                                          {"target", "; target ", "\n"}};
    static const char *const costs[][4] = {{"parameters", "", "\n * ", " parameters"},
                                           {"FLOPs forward, per image", "", "parameters, ", " FLOPs"},
                                           {"stored for backward, per image", "bytes", "forward, ", " bytes"}};
    const char *name_a = NULL, *name_b = NULL;
    const char *a = diff_header_of(&d->a.out, &name_a), *b = diff_header_of(&d->b.out, &name_b);

    d->level[LEVEL_SPEC].there = d->level[LEVEL_COST].there = d->level[LEVEL_C].there = true;
    diff_row(d, LEVEL_SPEC, "name", NULL, name_a, name_b, NULL);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        diff_row(d, LEVEL_SPEC, said[i][0], NULL, between(a, said[i][1], said[i][2]),
                 between(b, said[i][1], said[i][2]), NULL);
    diff_row(d, LEVEL_SPEC, "network", NULL, between(a, " - ", "\n"), between(b, " - ", "\n"), NULL);
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        header_cost(d, costs[i][0], costs[i][1], between(a ? strstr(a, "emitted by") : NULL, costs[i][2], costs[i][3]),
                    between(b ? strstr(b, "emitted by") : NULL, costs[i][2], costs[i][3]));
    diff_arena_costs(d);
    diff_text_costs(d);
    c_level(d);
}
