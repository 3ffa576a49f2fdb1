/* duplicates.c - rows that are equal, and images that are nearly so; groups get their numbers.
 *
 * needs: hash, near and group of every record, the rows in the spool. sets: Record.group, Import.same, Import.near. */
#include "import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NEAR_BITS = 8,       /* of 64 that may differ */
    NEAR_LEVELS = 4,     /* of 255 that pixels may differ by on average */
    COMPARED_A_ROW = 30, /* pairs whose pixels are compared, an image: flat images are all alike */
    COMPARED_LEAST = 20000,
};

static const Import *sorting;
static int sorting_word; /* of near: which 16 bits */

static int by_number(uint64_t a, uint64_t b, int i, int k)
{
    return a < b ? -1 : a > b ? 1 : i - k;
}

static int by_hash(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    return by_number(record(sorting, i)->hash, record(sorting, k)->hash, i, k);
}

static int by_group(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    return by_number(record(sorting, i)->group, record(sorting, k)->group, i, k);
}

static uint64_t word_of(int i)
{
    return record(sorting, i)->near >> sorting_word & 0xffff;
}

static int by_word(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    return by_number(word_of(i), word_of(k), i, k);
}

/* ---- sets of records that stay together ---- */

static int root_of(int *parent, int i)
{
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

static void join(int *parent, int a, int b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

static void count_pair(Import *m, Pairs *p, int a, int b)
{
    const Record *x = record(m, a), *y = record(m, b);
    p->count++;
    p->across_splits += x->given && y->given && x->split != y->split;
    p->across_classes += x->label != y->label;
    if (p->n < MOST_PAIRS)
        p->pair[p->n++] = (Pair){a < b ? a : b, a < b ? b : a};
}

static int sort_kept(Import *m, int *index, int (*compare)(const void *, const void *))
{
    int n = 0;
    for (int i = 0; i < m->n; i++)
        if (!record(m, i)->left_out)
            index[n++] = i;
    sorting = m;
    if (n)
        qsort(index, (size_t)n, sizeof *index, compare);
    return n;
}

/* Equal rows: those of one hash, compared. Each copy makes a pair with the first of its kind. */
static bool find_same(Import *m, int *index, int *parent)
{
    uint8_t *a = xmalloc(m->row_bytes), *b = xmalloc(m->row_bytes);
    const int n = sort_kept(m, index, by_hash);
    bool ok = true;
    for (int i = 0, first = 0; i < n && ok; i++) {
        if (i == 0 || record(m, index[i])->hash != record(m, index[first])->hash) {
            first = i;
            continue;
        }
        ok = goes_on() && spool_get(&m->rows, a, m->row_bytes, (uint64_t)index[first] * m->row_bytes) &&
             spool_get(&m->rows, b, m->row_bytes, (uint64_t)index[i] * m->row_bytes);
        if (!ok || memcmp(a, b, m->row_bytes) != 0)
            continue;
        m->same_images += i == first + 1 ? 2 : 1;
        count_pair(m, &m->same, index[first], index[i]);
        join(parent, index[first], index[i]);
    }
    free(a);
    free(b);
    return ok;
}

/* The mean difference of two images, in levels of 255. */
static double difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (uint64_t)abs(a[i] - b[i]);
    return (double)sum / (double)n;
}

/* Whether two near hashes share an earlier word: their pair was met there. */
static bool met_before(uint64_t a, uint64_t b)
{
    for (int w = 0; w < sorting_word; w += 16)
        if (((a ^ b) >> w & 0xffff) == 0)
            return true;
    return false;
}

/* Images whose hashes differ in at most 3 bits share one of four words of 16 bits, and most of those that differ in a
 * few more: sorted by each word in turn, they meet. What meets is compared, pixel by pixel. */
static bool find_near(Import *m, int *index)
{
    uint8_t *a = xmalloc(m->row_bytes), *b = xmalloc(m->row_bytes);
    int64_t left = COMPARED_LEAST + (int64_t)COMPARED_A_ROW * m->n, meetings = 100 * left;
    bool ok = true;
    for (sorting_word = 0; sorting_word < 64 && ok; sorting_word += 16) {
        const int n = sort_kept(m, index, by_word);
        for (int i = 0; i < n && ok; i++) {
            const uint64_t near = record(m, index[i])->near;
            bool have = false;
            for (int k = i + 1; k < n && ok && word_of(index[k]) == word_of(index[i]); k++) {
                const uint64_t other = record(m, index[k])->near;
                if (left == 0 || meetings-- <= 0) {
                    m->near_cut = true;
                    break;
                }
                if (__builtin_popcountll(near ^ other) > NEAR_BITS || met_before(near, other) ||
                    record(m, index[i])->hash == record(m, index[k])->hash)
                    continue;
                left--;
                ok = goes_on() && (have || spool_get(&m->rows, a, m->row_bytes, (uint64_t)index[i] * m->row_bytes)) &&
                     spool_get(&m->rows, b, m->row_bytes, (uint64_t)index[k] * m->row_bytes);
                have = true;
                if (ok && difference(a, b, m->row_bytes) <= NEAR_LEVELS)
                    count_pair(m, &m->near, index[i], index[k]);
            }
        }
    }
    free(a);
    free(b);
    return ok;
}

static int by_pair(const void *a, const void *b)
{
    const Pair *x = a, *y = b;
    return x->a != y->a ? (x->a < y->a ? -1 : 1) : x->b < y->b ? -1 : x->b > y->b;
}

static void sort_pairs(Pairs *p)
{
    if (p->n)
        qsort(p->pair, (size_t)p->n, sizeof *p->pair, by_pair);
}

bool duplicates_find(Import *m)
{
    const size_t bytes = ((size_t)m->n + 1) * sizeof(int);
    int *index = xmalloc(bytes), *parent = xmalloc(bytes);
    m->same.pair = xalloc(MOST_PAIRS * sizeof(Pair));
    m->near.pair = xalloc(MOST_PAIRS * sizeof(Pair));
    for (int i = 0; i < m->n; i++)
        parent[i] = i;
    const int n = sort_kept(m, index, by_group);
    for (int i = 1; i < n; i++)
        if (record(m, index[i])->group && record(m, index[i])->group == record(m, index[i - 1])->group)
            join(parent, index[i - 1], index[i]);
    bool ok = find_same(m, index, parent);
    if (ok && !m->floats && m->height >= 8 && m->width >= 9)
        ok = find_near(m, index);
    sort_pairs(&m->same);
    sort_pairs(&m->near);
    int groups = 0; /* a group's root is its first record, so that it has its number before the others ask for it */
    for (int i = 0; i < m->n && ok; i++) {
        if (record(m, i)->left_out)
            continue;
        const int root = root_of(parent, i);
        record(m, i)->group = root == i ? (uint64_t)groups++ : record(m, root)->group;
    }
    free(index);
    free(parent);
    return ok;
}
