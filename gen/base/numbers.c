/* numbers.c - numbers as text: as YAML 1.2 writes them, and in the fewest digits that read back the same. */
#include "numbers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *digits(const char *s)
{
    while (*s >= '0' && *s <= '9')
        s++;
    return s;
}

bool text_int(const char *s, int64_t *out)
{
    const char *d = s + (*s == '-' || *s == '+');
    const char *end = digits(d);
    if (end == d || *end || (d[0] == '0' && d[1])) /* 010 is eight to some and ten to others */
        return false;
    errno = 0;
    *out = strtoll(s, NULL, 10);
    return errno == 0;
}

bool text_real(const char *s, double *out)
{
    const char *d = s + (*s == '-' || *s == '+');
    const char *point = digits(d), *end = point;
    if (point - d > 1 && d[0] == '0')
        return false;
    if (*point == '.')
        end = digits(point + 1);
    if (end - d - (*point == '.') < 1)
        return false;
    if (*end == 'e' || *end == 'E') {
        const char *e = end + 1;
        e += *e == '-' || *e == '+';
        end = digits(e);
        if (end == e)
            return false;
    }
    if (*end)
        return false;
    *out = strtod(s, NULL); /* the program never leaves the C locale */
    return isfinite(*out);
}

const char *real_text(double v)
{
    char s[40];
    for (int p = 1; p <= 17; p++) {
        snprintf(s, sizeof s, "%.*g", p, v);
        if (strtod(s, NULL) == v)
            break;
    }
    char *e = strchr(s, 'e'); /* 1e-05 -> 1e-5, 1e+06 -> 1e6 */
    if (e) {
        char *from = e + 1, *to = e + 1;
        if (*from == '-')
            *to++ = *from;
        from += *from == '-' || *from == '+';
        while (*from == '0' && from[1])
            from++;
        memmove(to, from, strlen(from) + 1);
    }
    return xstrdup(s);
}
