/* lengths.c - a length a row: how many of its steps count. What stands behind them is padding: it is not looked at, and
 * becomes 0 in the set. */
#include "import.h"
#include "runtime.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool lengths_begin(Import *m, int64_t count)
{
    int shape[3] = {(int)count, 1, 1};
    bool bad = false;

    if (m->o->shape && !pixels_shape(m, count, shape, &bad))
        return false;
    m->channels = shape[0] * shape[1];
    m->height = 1;
    m->width = shape[2];
    m->one_a_step = m->width == 1;
    m->steps = m->one_a_step ? m->channels : m->width;
    m->least_length = INT32_MAX;
    return spool_open(&m->lengths, m->folder);
}

bool lengths_are(const Import *m)
{
    return m->steps > 0;
}

bool length_fits(const Import *m, double v, char why[LENGTH_WHY])
{
    char number[40];
    const bool fits = v >= 1 && v <= m->steps && v == floor(v);

    snprintf(number, sizeof number, "%.9g", v);
    if (!fits)
        snprintf(why, LENGTH_WHY, "its length is %s; a row has 1 to %d steps", number, m->steps);
    return fits;
}

bool length_put(Import *m, int i, double v)
{
    const int32_t n = (int32_t)v;

    return spool_put(&m->lengths, &n, sizeof n, (uint64_t)i * sizeof n);
}

bool length_get(Import *m, int i, int32_t *n)
{
    *n = m->steps;
    return !lengths_are(m) || spool_get(&m->lengths, n, sizeof *n, (uint64_t)i * sizeof *n);
}

bool length_pads(const Import *m, int64_t k)
{
    return lengths_are(m) && k % m->steps >= m->live;
}

void lengths_look(Import *m, const void *row)
{
    const int n = m->channels * m->height * m->width;

    m->least_length = m->live < m->least_length ? m->live : m->least_length;
    m->most_length = m->live > m->most_length ? m->live : m->most_length;
    m->all_steps += m->live;
    for (int k = 0; k < n && m->floats && !m->no_tokens; k++) {
        const double v = ((const float *)row)[k];
        m->no_tokens = v < 0 || v > MOST_TOKEN || v != floor(v);
    }
}

/* Rows of one number a step that are no whole ones are features, one a step, and no tokens. */
void lengths_end(Import *m)
{
    if (m->one_a_step && m->no_tokens) {
        m->width = m->channels;
        m->channels = 1;
    }
    if (m->most_length < m->steps)
        fact(m, "lengths", NULL, "no row has all of its %d steps", m->steps);
}

bool tokens_are(const Import *m)
{
    return lengths_are(m) && m->one_a_step && !m->no_tokens;
}
