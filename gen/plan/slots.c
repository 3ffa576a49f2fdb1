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

/* Placed slots in the order of their offsets, so many at a time that a look at what they have in common most often
 * saves looking at each. */
enum { BLOCK = 64 };
typedef struct Block {
    Placed item[BLOCK];
    int n;
    int64_t end, gap;     /* the highest end; the largest gap between them */
    int from, to;         /* none is alive before or after */
    int all_from, all_to; /* all are alive in a life that has a step up to all_to and one from all_from on */
} Block;

typedef struct Shelf {
    Block **block; /* room for all that as many slots can need; those behind n are of an order tried before, or NULL */
    int n;
} Shelf;

static bool overlap(int from, int to, int from2, int to2)
{
    return from <= to2 && from2 <= to;
}

/* Whether both are alive at some step. */
static bool meet(const Placed *a, const Placed *b)
{
    return overlap(a->from, a->to, b->from, b->to) || overlap(a->from, a->to, b->from2, b->to2) ||
           overlap(a->from2, a->to2, b->from, b->to) || overlap(a->from2, a->to2, b->from2, b->to2);
}

static void sum_up(Block *b)
{
    const Placed *first = &b->item[0];

    b->end = first->end, b->gap = 0;
    b->from = b->all_from = first->from;
    b->to = b->all_to = first->to;
    for (int i = 0; i < b->n; i++) {
        const Placed *p = &b->item[i];
        b->gap = p->at - b->end > b->gap ? p->at - b->end : b->gap;
        b->end = p->end > b->end ? p->end : b->end;
        b->from = p->from < b->from ? p->from : b->from;
        b->to = p->to > b->to ? p->to : b->to;
        b->to = p->to2 > b->to ? p->to2 : b->to;
        b->all_from = p->from > b->all_from ? p->from : b->all_from;
        b->all_to = p->to < b->all_to ? p->to : b->all_to;
    }
}

/* The lowest offset at which `floats` are free while `a` is alive. */
static int64_t free_at(const Shelf *s, const Placed *a, int64_t floats)
{
    const int last = a->to2 > a->to ? a->to2 : a->to;
    int64_t at = 0;

    for (int i = 0; i < s->n; i++) {
        const Block *b = s->block[i];
        if (b->item[0].at >= at + floats)
            return at;
        if (!overlap(a->from, last, b->from, b->to))
            continue;
        if (b->gap < floats && overlap(a->from, a->to, b->all_from, b->all_to)) { /* each of them is in the way */
            at = b->end > at ? b->end : at;
            continue;
        }
        for (int k = 0; k < b->n; k++) {
            const Placed *p = &b->item[k];
            if (p->at >= at + floats)
                return at;
            if (p->end > at && meet(a, p))
                at = p->end;
        }
    }
    return at;
}

static Block *new_block(Shelf *s, int at)
{
    Block *b = s->block[s->n] ? s->block[s->n] : xalloc(sizeof *b);

    memmove(&s->block[at + 1], &s->block[at], sizeof *s->block * (size_t)(s->n++ - at));
    s->block[at] = b;
    b->n = 0;
    return b;
}

static void put(Shelf *s, Placed a)
{
    int low = 0, high = s->n; /* the last block that begins no higher, or the first */

    while (high - low > 1) {
        const int mid = (low + high) / 2;
        *(s->block[mid]->item[0].at <= a.at ? &low : &high) = mid;
    }
    Block *b = s->n ? s->block[low] : new_block(s, 0);
    if (b->n == BLOCK) {
        Block *half = new_block(s, low + 1);
        half->n = BLOCK / 2;
        b->n -= half->n;
        memcpy(half->item, &b->item[b->n], sizeof *half->item * (size_t)half->n);
        sum_up(b);
        sum_up(half);
        b = half->item[0].at <= a.at ? half : b;
    }
    int k = b->n++;
    for (; k > 0 && b->item[k - 1].at > a.at; k--)
        b->item[k] = b->item[k - 1];
    b->item[k] = a;
    sum_up(b);
}

/* Places every slot, in order, as low as those already placed and alive at the same time allow. Returns the top. */
static int64_t place_in_order(Slots *s, Shelf *shelf)
{
    int64_t top = 0;

    shelf->n = 0;
    for (int i = 0; i < s->n; i++) {
        const Slot *slot = &s->item[i];
        Placed a = {.from = slot->from,
                    .to = slot->to,
                    .from2 = slot->to2 ? slot->from2 : INT_MAX,
                    .to2 = slot->to2 ? slot->to2 : -1};
        a.at = free_at(shelf, &a, slot->floats);
        a.end = a.at + slot->floats;
        put(shelf, a);
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
    Shelf shelf = {.block = xalloc(sizeof *shelf.block * ((size_t)s->n / (BLOCK / 2) + 2))};
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
