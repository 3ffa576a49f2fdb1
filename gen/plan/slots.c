/* slots.c - places slots: those that are alive at once apart, in as little memory as can be.
 *
 * needs: slots with sizes and lifetimes in steps. sets: their offsets. */
#include "slots.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

void slots_add(Slots *s, int64_t floats, int from, int to, int64_t *at)
{
    if (to < from)
        BUG("a slot lives from step %d to %d", from, to);
    *PUSH(s->item, s->n) = (Slot){(floats + LANES - 1) / LANES * LANES, at, from, to, 0, 0, s->n - 1};
}

/* The slot added last is alive a second time. */
void slots_again(Slots *s, int from, int to)
{
    Slot *a = &s->item[s->n - 1];

    if (to < from || from <= a->to)
        BUG("a slot lives again from step %d to %d", from, to);
    a->from2 = from;
    a->to2 = to;
}

static int steps_of(const Slots *s)
{
    int last = -1;

    for (int i = 0; i < s->n; i++) {
        const Slot *a = &s->item[i];
        last = a->to > last ? a->to : last;
        last = a->to2 > last ? a->to2 : last;
    }
    return last + 1;
}

/* What is alive at once, at most: what begins at a step is there with what has not ended before it. */
int64_t slots_bound(const Slots *s)
{
    const int steps = steps_of(s);
    int64_t most = 0, now = 0;
    int64_t *more =
        xalloc(sizeof *more * (size_t)(steps + 1)); /* by step: what begins, less what ended the step before */
    for (int i = 0; i < s->n; i++) {
        const Slot *a = &s->item[i];
        more[a->from] += a->floats;
        more[a->to + 1] -= a->floats;
        if (a->to2) {
            more[a->from2] += a->floats;
            more[a->to2 + 1] -= a->floats;
        }
    }
    for (int t = 0; t < steps; t++) {
        now += more[t];
        most = now > most ? now : most;
    }
    return most;
}

static int by_size(const void *a, const void *b)
{
    const Slot *x = a, *y = b;

    return x->floats != y->floats ? (x->floats < y->floats ? 1 : -1) : x->order - y->order;
}

static int by_length(const void *a, const void *b)
{
    const Slot *x = a, *y = b;
    const int m = x->to - x->from, n = y->to - y->from;

    return m != n ? n - m : by_size(a, b);
}

static int by_start(const void *a, const void *b)
{
    const Slot *x = a, *y = b;

    return x->from != y->from ? x->from - y->from : by_length(a, b);
}

/* A slot that has its place. One that lives once has a second life that ends before it begins. */
typedef struct Placed {
    int64_t at, end;
    int from, to, from2, to2;
} Placed;

static bool overlap(int from, int to, int from2, int to2)
{
    return from <= to2 && from2 <= to;
}

/* ---- few slots: a list ---- */

enum { FEW = 512 };

/* Whether both are alive at some step. */
static bool meet(const Placed *a, const Placed *b)
{
    return overlap(a->from, a->to, b->from, b->to) || overlap(a->from, a->to, b->from2, b->to2) ||
           overlap(a->from2, a->to2, b->from, b->to) || overlap(a->from2, a->to2, b->from2, b->to2);
}

/* In the order of their offsets. */
typedef struct List {
    Placed item[FEW];
    int n;
} List;

static int64_t free_in_list(const List *l, const Placed *a, int64_t floats)
{
    int64_t at = 0;

    for (int i = 0; i < l->n && l->item[i].at < at + floats; i++)
        if (l->item[i].end > at && meet(a, &l->item[i]))
            at = l->item[i].end;
    return at;
}

static void put_in_list(List *l, const Placed *a)
{
    int k = l->n++;

    for (; k > 0 && l->item[k - 1].at > a->at; k--)
        l->item[k] = l->item[k - 1];
    l->item[k] = *a;
}

/* ---- many: a tree over time ----
 *
 * A node of the tree is a range of steps, its children are the halves of it. A life is the fewest nodes that make it
 * up. Each node knows which memory is taken all the time by slots whose lives have that node (`through`), and which is
 * taken at some time by those that have it or one below it (`within`). So what stands in the way of a life is what its
 * own nodes have within, and what those above them have through: a few lists, in which memory without gaps is one
 * entry. */
typedef struct Taken {
    int64_t from, to;
} Taken;

typedef struct Memory {
    Taken *item; /* in order, apart */
    int n, room;
} Memory;

typedef struct Stretch {
    Memory through, within;
} Stretch;

typedef struct Tree {
    Stretch *node; /* 1: all steps; the halves of i: 2 i and 2 i + 1 */
    int size;      /* steps, a power of two */
} Tree;

enum { LISTS = 4 * 32 * 2 }; /* that a query can meet: four a level, of two lives */

typedef struct Query {
    const Memory *list[LISTS];
    int n;
} Query;

/* The first entry that ends after `at`. */
static int taken_at(const Memory *m, int64_t at)
{
    int low = 0, high = m->n;

    while (low < high) {
        const int mid = (low + high) / 2;
        if (m->item[mid].to <= at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void take(Memory *m, Taken t)
{
    const int first = taken_at(m, t.from - 1); /* what ends where it begins becomes one with it */
    int last = first;

    for (; last < m->n && m->item[last].from <= t.to; last++) {
        t.from = m->item[last].from < t.from ? m->item[last].from : t.from;
        t.to = m->item[last].to > t.to ? m->item[last].to : t.to;
    }
    if (m->n == m->room) {
        const int room = m->room ? 2 * m->room : 4;
        m->item = xgrow(m->item, sizeof *m->item * (size_t)m->n, sizeof *m->item * (size_t)room);
        m->room = room;
    }
    memmove(&m->item[first + 1], &m->item[last], sizeof *m->item * (size_t)(m->n - last));
    m->item[first] = t;
    m->n += 1 - (last - first);
}

/* Steps from .. to take memory; node i is steps low .. high. */
static void take_in(Tree *t, int i, int low, int high, int from, int to, Taken memory)
{
    if (!overlap(low, high, from, to))
        return;
    take(&t->node[i].within, memory);
    if (from <= low && high <= to) {
        take(&t->node[i].through, memory);
        return;
    }
    const int mid = (low + high) / 2;
    take_in(t, 2 * i, low, mid, from, to, memory);
    take_in(t, 2 * i + 1, mid + 1, high, from, to, memory);
}

/* The lists of what is in the way of steps from .. to. */
static void ask(const Tree *t, int i, int low, int high, int from, int to, Query *q)
{
    if (!overlap(low, high, from, to))
        return;
    const bool all = from <= low && high <= to;
    const Memory *m = all ? &t->node[i].within : &t->node[i].through;
    if (m->n)
        q->list[q->n++] = m;
    if (all)
        return;
    const int mid = (low + high) / 2;
    ask(t, 2 * i, low, mid, from, to, q);
    ask(t, 2 * i + 1, mid + 1, high, from, to, q);
}

static int64_t free_in_tree(const Tree *t, const Placed *a, int64_t floats)
{
    Query q = {.n = 0};
    int64_t at = 0;

    ask(t, 1, 0, t->size - 1, a->from, a->to, &q);
    ask(t, 1, 0, t->size - 1, a->from2, a->to2, &q);
    for (int i = 0, quiet = 0; quiet < q.n; i = (i + 1) % q.n) { /* until no list has anything in the way */
        const Memory *m = q.list[i];
        const int64_t was = at;
        for (int k = taken_at(m, at); k < m->n && m->item[k].from < at + floats; k++)
            at = m->item[k].to;
        quiet = at == was ? quiet + 1 : 1;
    }
    return at;
}

static void put_in_tree(Tree *t, const Placed *a)
{
    take_in(t, 1, 0, t->size - 1, a->from, a->to, (Taken){a->at, a->end});
    take_in(t, 1, 0, t->size - 1, a->from2, a->to2, (Taken){a->at, a->end});
}

/* ---- places ---- */

/* What is placed already: in one of both. */
typedef struct Shelf {
    List *list;
    Tree *tree;
} Shelf;

static Shelf make_shelf(const Slots *s)
{
    Shelf shelf = {0};

    if (s->n <= FEW) {
        shelf.list = xalloc(sizeof *shelf.list);
        return shelf;
    }
    shelf.tree = xalloc(sizeof *shelf.tree);
    shelf.tree->size = 1;
    while (shelf.tree->size < steps_of(s))
        shelf.tree->size *= 2;
    shelf.tree->node = xalloc(sizeof *shelf.tree->node * 2 * (size_t)shelf.tree->size);
    return shelf;
}

static void clear(Shelf *s)
{
    if (s->list)
        s->list->n = 0;
    for (int i = 1; s->tree && i < 2 * s->tree->size; i++)
        s->tree->node[i].through.n = s->tree->node[i].within.n = 0;
}

/* Places every slot, in order, as low as those already placed and alive at the same time allow. Returns the top. */
static int64_t place_in_order(Slots *s, Shelf *shelf)
{
    int64_t top = 0;

    clear(shelf);
    for (int i = 0; i < s->n; i++) {
        const Slot *slot = &s->item[i];
        Placed a = {.from = slot->from,
                    .to = slot->to,
                    .from2 = slot->to2 ? slot->from2 : INT_MAX,
                    .to2 = slot->to2 ? slot->to2 : -1};
        a.at = shelf->list ? free_in_list(shelf->list, &a, slot->floats) : free_in_tree(shelf->tree, &a, slot->floats);
        a.end = a.at + slot->floats;
        if (shelf->list)
            put_in_list(shelf->list, &a);
        else
            put_in_tree(shelf->tree, &a);
        *slot->at = a.at;
        top = a.end > top ? a.end : top;
    }
    return top;
}

enum { TRIES = 20000, WORK = 10000000 };

/* Places all slots: of several orders the one that needs least; where that is more than is alive at once, orders near
 * it are tried, always the same ones. */
int64_t slots_place(Slots *s)
{
    static int (*const order[])(const void *, const void *) = {by_size, by_length, by_start};
    const int64_t bound = slots_bound(s);
    const size_t bytes = sizeof *s->item * (size_t)s->n;
    int64_t least = 0;
    int best = -1;

    if (s->n == 0)
        return 0;
    Shelf shelf = make_shelf(s);
    for (int i = 0; i < 3 && (best < 0 || least > bound); i++) {
        qsort(s->item, (size_t)s->n, sizeof *s->item, order[i]);
        const int64_t top = place_in_order(s, &shelf);
        if (best < 0 || top < least)
            least = top, best = i;
    }
    qsort(s->item, (size_t)s->n, sizeof *s->item, order[best]);
    Slot *kept = xalloc(bytes);
    memcpy(kept, s->item, bytes);
    uint32_t random = 1;
    for (int i = 0; i < TRIES && (int64_t)i * s->n * s->n < WORK && least > bound; i++) { /* one slot sooner */
        random = random * 1664525u + 1013904223u;
        const int from = (int)((random >> 8) % (uint32_t)s->n), to = (int)((random >> 20) % (uint32_t)(from + 1));
        const Slot moved = s->item[from];
        memmove(&s->item[to + 1], &s->item[to], sizeof moved * (size_t)(from - to));
        s->item[to] = moved;
        const int64_t top = place_in_order(s, &shelf);
        if (top <= least) {
            least = top;
            memcpy(kept, s->item, bytes);
        } else {
            memcpy(s->item, kept, bytes);
        }
    }
    memcpy(s->item, kept, bytes);
    return place_in_order(s, &shelf);
}
