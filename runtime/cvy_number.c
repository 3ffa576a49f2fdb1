/* cvy_number.c - numbers in options, metadata and headers: plain decimal text, all of it, within bounds, or nothing.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

int cvy_parse_u64(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    uint64_t v = 0;
    size_t n = digits(text);
    if (n == 0 || text[n])
        return 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return 0;
        v = 10 * v + digit;
    }
    if (v < lo || v > hi)
        return 0;
    *out = v;
    return 1;
}

int cvy_parse_i64(const char *text, int64_t lo, int64_t hi, int64_t *out)
{
    int minus = text[0] == '-';
    uint64_t v;
    if (!cvy_parse_u64(text + minus, 0, (uint64_t)INT64_MAX, &v))
        return 0;
    int64_t signed_v = minus ? -(int64_t)v : (int64_t)v;
    if (signed_v < lo || signed_v > hi)
        return 0;
    *out = signed_v;
    return 1;
}

/* [-] digits [. digits] [e [+-] digits], with a digit before or after the point. */
static int is_real(const char *s)
{
    s += *s == '-';
    size_t before = digits(s), behind = 0;
    s += before;
    if (*s == '.') {
        behind = digits(++s);
        s += behind;
    }
    if (before + behind == 0)
        return 0;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        size_t n = digits(s);
        if (n == 0)
            return 0;
        s += n;
    }
    return *s == '\0';
}

int cvy_parse_real(const char *text, double lo, double hi, double *out)
{
    double v = is_real(text) ? strtod(text, NULL) : HUGE_VAL;
    if (!(v >= lo && v <= hi && fabs(v) < HUGE_VAL))
        return 0;
    *out = v;
    return 1;
}
