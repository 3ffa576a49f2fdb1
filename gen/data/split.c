/* split.c - which rows train, which choose, which test; and in which order they stand.
 *
 * Groups stay together; equal rows are of one group. Class by class, the largest groups first and those of one size in
 * an order drawn from the seed, a group goes where most is missing of that class's share. What is left over by rounding
 * is carried to the next class, so that small classes do not all lose the same part. needs: groups, labels. sets:
 * Record.split, Import.order, Import.count. */
#include "import.h"
#include "runtime.h"

#include <stdlib.h>
#include <string.h>

static const Import *sorting;
static const int *sorting_index; /* open records by group; a segment is the records of one */

static uint64_t draw(const Import *m, const char *stream, uint64_t n)
{
    uint32_t w[4];
    cvy_draw4(m->o->seed, cvy_name_hash(stream), n, w);
    return (uint64_t)w[0] << 32 | w[1];
}

static int by_group(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    const uint64_t x = record(sorting, i)->group, y = record(sorting, k)->group;
    return x < y ? -1 : x > y ? 1 : i < k ? -1 : i > k;
}

static int segment_size(int at)
{
    int n = 1;
    while (sorting_index[at + n] >= 0 &&
           record(sorting, sorting_index[at + n])->group == record(sorting, sorting_index[at])->group)
        n++;
    return n;
}

static int class_at(int at)
{
    return sorting->regression ? 0 : record(sorting, sorting_index[at])->label;
}

static int by_class(const void *a, const void *b)
{
    const int i = *(const int *)a, k = *(const int *)b;
    if (class_at(i) != class_at(k))
        return class_at(i) < class_at(k) ? -1 : 1;
    const int n = segment_size(i), o = segment_size(k);
    if (n != o)
        return n > o ? -1 : 1;
    const uint64_t x = draw(sorting, "split", record(sorting, sorting_index[i])->group),
                   y = draw(sorting, "split", record(sorting, sorting_index[k])->group);
    return x < y ? -1 : x > y ? 1 : i < k ? -1 : i > k;
}

/* The segments [from, to) are of one class. */
static void split_class(Import *m, const int *index, const int *segment, int from, int to, double carry[SPLITS])
{
    double missing[SPLITS];
    int rows = 0;
    for (int i = from; i < to; i++)
        rows += segment_size(segment[i]);
    for (int s = 0; s < SPLITS; s++)
        missing[s] = rows * m->share[s] + carry[s];
    for (int i = from; i < to; i++) {
        const int n = segment_size(segment[i]);
        int most = SPLIT_TRAIN; /* a class that cannot be trained is of no use in the others */
        for (int s = 0; s < SPLITS && i > from; s++)
            if (m->share[s] > 0 && (missing[s] > missing[most] || m->share[most] == 0))
                most = s;
        for (int k = 0; k < n; k++)
            record(m, index[segment[i] + k])->split = (uint8_t)most;
        missing[most] -= n;
    }
    memcpy(carry, missing, sizeof missing);
}

/* Splits the open records: index[0..n), ended by -1. */
static void split_open(Import *m, int *index, int n)
{
    int *segment = xmalloc(((size_t)n + 1) * sizeof *segment), segments = 0;
    double carry[SPLITS] = {0};
    sorting = m;
    sorting_index = index;
    if (n)
        qsort(index, (size_t)n, sizeof *index, by_group);
    for (int at = 0; at < n; at += segment_size(at))
        segment[segments++] = at;
    if (segments)
        qsort(segment, (size_t)segments, sizeof *segment, by_class);
    for (int from = 0, to; from < segments; from = to) {
        for (to = from + 1; to < segments && class_at(segment[to]) == class_at(segment[from]);)
            to++;
        split_class(m, index, segment, from, to, carry);
    }
    free(segment);
}

/* --split's numbers, as shares that add up to 1. */
static bool read_shares(const char *text, double share[SPLITS])
{
    char part[SPLITS][32];
    int used = 0;
    double sum = 0;
    if (sscanf(text, "%31[0-9.]/%31[0-9.]/%31[0-9.]%n", part[0], part[1], part[2], &used) != 3 || text[used])
        return false;
    for (int s = 0; s < SPLITS; s++) {
        if (!cvy_parse_real(part[s], 0, 1e9, &share[s]))
            return false;
        sum += share[s];
    }
    for (int s = 0; s < SPLITS; s++)
        share[s] /= sum > 0 ? sum : 1;
    return share[SPLIT_TRAIN] > 0;
}

enum { MANY = 10000 };

bool split_make(Import *m)
{
    int open = 0, given[SPLITS] = {0}, kept = 0;
    for (int i = 0; i < m->n; i++) {
        const Record *r = record(m, i);
        if (r->left_out)
            continue;
        kept++;
        if (r->given)
            given[r->split]++;
        open += !r->given || r->split == SPLIT_TRAIN;
    }
    const char *shares = m->o->split ? m->o->split : kept < MANY ? "70/15/15" : "80/10/10";
    if (!read_shares(shares, m->share)) {
        cvy_error("three parts, for training, choosing and testing, as in --split 70/15/15; 0 leaves one out",
                  "--split: '%s' cannot be read", shares);
        return false;
    }
    /* Where the source has a split, it stays; only images to choose by are taken out of those to train with. */
    const bool any = given[0] || given[1] || given[2], take = !any || (given[SPLIT_TRAIN] && !given[SPLIT_VALID]);
    if (any) {
        if (given[SPLIT_TEST] || !m->o->split)
            m->share[SPLIT_TEST] = 0;
        const double sum = m->share[0] + m->share[1] + m->share[2];
        for (int s = 0; s < SPLITS; s++)
            m->share[s] /= sum;
        if (take)
            fact(m, "split", "--split T/V/E",
                 "as the source has it; of its training rows %.0f %% are set aside to choose by (valid)%s",
                 100 * m->share[SPLIT_VALID], m->share[SPLIT_TEST] > 0 ? ", and some to test" : "");
        else
            fact(m, "split", NULL, "as the source has it");
    } else {
        fact(m, "split", "--split T/V/E", "%s, each class alike, drawn from seed %llu%s", shares,
             (unsigned long long)m->o->seed,
             m->o->split   ? ""
             : kept < MANY ? " (under 10,000 rows)"
                           : " (10,000 rows or more)");
    }
    int *index = xmalloc(((size_t)m->n + 1) * sizeof *index), n = 0;
    for (int i = 0; i < m->n && take; i++)
        if (!record(m, i)->left_out && (!record(m, i)->given || record(m, i)->split == SPLIT_TRAIN))
            index[n++] = i;
    index[n] = -1;
    split_open(m, index, n);
    free(index);

    m->order = xmalloc(((size_t)m->n + 1) * sizeof *m->order);
    int *drawn = xmalloc(((size_t)m->n + 1) * sizeof *drawn), at = 0;
    if (!m->source->ordered)
        cvy_permutation(drawn, m->n, m->o->seed, cvy_name_hash("order"));
    for (int s = 0; s < SPLITS; s++) {
        for (int i = 0; i < m->n; i++) {
            const int k = m->source->ordered ? i : drawn[i];
            if (!record(m, k)->left_out && record(m, k)->split == s) {
                m->order[at++] = k;
                m->count[s]++;
            }
        }
    }
    free(drawn);
    return true;
}
