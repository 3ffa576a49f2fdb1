/* draw_fold.c - repeats of a group that are alike, one after the other, are drawn once.
 *
 * needs: a Picture with boxes, pills and wires, not placed. sets: its folds; takes the boxes of all but a fold's first
 * repeat out, and lets what reads them read that one's.
 *
 * Two repeats are alike where they have the same kernels with the same stages, storing as much, and read from each
 * other's places: all that a picture shows of them but names. */
#include "draw.h"
#include "words.h"

#include <stdlib.h>
#include <string.h>

/* The boxes of one repeat: from `first` on, n of them. */
typedef struct Repeat {
    const char *group;
    int number, first, n;
} Repeat;

/* The group whose repeat a layer is in, and which, at the nth name of its path that is a number. False: no more. */
static bool repeat_of(const char *layer, int nth, Repeat *r)
{
    for (const char *at = layer, *dot; (dot = strchr(at, '.')); at = dot + 1) {
        int64_t number;
        if (at == layer || !text_int(xstrndup(at, (size_t)(dot - at)), &number) || nth--)
            continue;
        *r = (Repeat){.group = xstrndup(layer, (size_t)(at - layer - 1)), .number = (int)number};
        return true;
    }
    return false;
}

/* All repeats, in the order of their first boxes. */
static Repeat *list_repeats(const Picture *pic, int *n)
{
    Repeat *list = NULL, r;

    for (int i = 1; i < pic->nbox; i++)
        for (int nth = 0; repeat_of(pic->box[i].kernel->layer, nth, &r); nth++) {
            int k = *n - 1;
            while (k >= 0 && (list[k].number != r.number || strcmp(list[k].group, r.group) != 0))
                k--;
            if (k < 0) {
                r.first = i;
                *PUSH(list, *n) = r;
                k = *n - 1;
            }
            list[k].n = i + 1 - list[k].first; /* they stand together: what stood between would not be alike */
        }
    return list;
}

static bool alike_tensors(const Plan *p, const Tensor *a, const Tensor *b)
{
    if (!a || !b)
        return a == b;
    const Shape s = a->shape[a->nlink], t = b->shape[b->nlink];
    return a->stored == b->stored && a->kept == b->kept && s.c == t.c && s.h == t.h && s.w == t.w &&
           plan_tensor_bytes(p, a) == plan_tensor_bytes(p, b);
}

/* Box i beside box i + n, whose ops come `ops` later. */
static bool alike(const Picture *pic, int i, int n, int ops)
{
    const Box *a = &pic->box[i], *b = &pic->box[i + n];
    bool same = a->kernel->kind == b->kernel->kind && a->npill == b->npill && a->nwire == b->nwire &&
                alike_tensors(pic->plan, a->tensor, b->tensor);

    for (int k = 0; same && k < a->npill; k++) {
        const Pill *x = &a->pill[k], *y = &b->pill[k];
        same = x->section == y->section && x->bytes == y->bytes && strcmp(x->what, y->what) == 0 &&
               (x->op < 0 ? y->op < 0 : y->op == x->op + ops);
    }
    for (int k = 0; same && k < a->nwire; k++) {
        const Wire *x = &pic->wire[a->wire + k], *y = &pic->wire[b->wire + k];
        same = y->from == x->from + n && x->row == y->row;
    }
    return same;
}

static bool alike_repeats(const Picture *pic, const Repeat *a, const Repeat *b)
{
    bool same = a->n == b->n && b->first == a->first + a->n && b->number == a->number + 1;

    for (int i = 0; same && i < a->n; i++)
        same = alike(pic, a->first + i, a->n, pic->box[b->first].kernel->op - pic->box[a->first].kernel->op);
    return same;
}

static const Repeat *find_repeat(const Repeat *list, int n, const char *group, int number)
{
    for (int i = 0; i < n; i++)
        if (list[i].number == number && strcmp(list[i].group, group) == 0)
            return &list[i];
    return NULL;
}

/* The longest rows of repeats that are alike. */
static void find_folds(Picture *pic, const Repeat *list, int n)
{
    for (int i = 0; i < n; i++) {
        const Repeat *before = find_repeat(list, n, list[i].group, list[i].number - 1), *last = &list[i], *next;
        if (before && alike_repeats(pic, before, last))
            continue; /* no first one */
        while ((next = find_repeat(list, n, last->group, last->number + 1)) && alike_repeats(pic, last, next))
            last = next;
        if (last != &list[i])
            *PUSH(pic->fold, pic->nfold) = (Fold){list[i].group, list[i].number, last->number};
    }
}

/* What both fold. */
static void common_folds(Picture *a, const Picture *b)
{
    int n = 0;

    for (int i = 0; i < a->nfold; i++)
        for (int k = 0; k < b->nfold; k++) {
            const Fold *x = &a->fold[i], *y = &b->fold[k];
            const int first = x->first > y->first ? x->first : y->first, last = x->last < y->last ? x->last : y->last;
            if (strcmp(x->group, y->group) == 0 && first < last) {
                a->fold[n++] = (Fold){x->group, first, last};
                break;
            }
        }
    a->nfold = n;
}

/* Takes out the boxes that `is` says stand for another one. */
static void take_out(Picture *pic, const int *is)
{
    Box *box = NULL;
    Wire *wire = NULL;
    int *at = xalloc(sizeof *at * (size_t)pic->nbox), nbox = 0, nwire = 0;

    for (int i = 0; i < pic->nbox; i++) {
        at[i] = nbox;
        if (is[i] != i)
            continue;
        Box b = pic->box[i];
        const int from = b.wire;
        b.wire = nwire;
        for (int k = 0; k < b.nwire; k++) {
            Wire w = pic->wire[from + k];
            bool known = false;
            w.from = at[is[w.from]];
            w.to = nbox;
            for (int j = b.wire; j < nwire; j++)
                known = known || wire[j].from == w.from;
            if (!known)
                *PUSH(wire, nwire) = w;
        }
        b.nwire = nwire - b.wire;
        *PUSH(box, nbox) = b;
    }
    pic->box = box, pic->nbox = nbox;
    pic->wire = wire, pic->nwire = nwire;
}

static void fold(Picture *pic, const Repeat *list, int n)
{
    int *is = xalloc(sizeof *is * (size_t)pic->nbox); /* the box that is drawn for it; itself: its own */

    for (int i = 0; i < pic->nbox; i++)
        is[i] = i;
    for (int f = 0; f < pic->nfold; f++) { /* groups stand before those inside them */
        const Repeat *kept = find_repeat(list, n, pic->fold[f].group, pic->fold[f].first);
        for (int r = pic->fold[f].first + 1; r <= pic->fold[f].last; r++) {
            const Repeat *gone = find_repeat(list, n, pic->fold[f].group, r);
            for (int i = 0; i < gone->n; i++)
                is[gone->first + i] = is[kept->first + i];
        }
    }
    for (int i = 0; i < pic->nbox; i++) /* what a box inside a repeat stands for may have gone with the repeat */
        while (is[is[i]] != is[i])
            is[i] = is[is[i]];
    take_out(pic, is);
}

void draw_fold(Picture *a, Picture *b)
{
    int na = 0, nb = 0;
    const Repeat *ra = list_repeats(a, &na), *rb = b ? list_repeats(b, &nb) : NULL;

    find_folds(a, ra, na);
    if (b) {
        find_folds(b, rb, nb);
        common_folds(a, b);
        common_folds(b, a);
        fold(b, rb, nb);
    }
    fold(a, ra, na);
}
