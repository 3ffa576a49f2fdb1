/* expr.h - C expressions without the terms and factors that change nothing. */
#ifndef EXPR_H
#define EXPR_H

#include "base.h"

/* A variable whose value is known. */
typedef struct Known Known;
struct Known {
    const char *name;
    size_t len;
    int64_t value;
    const Known *outer;
};

/* An integer or pointer expression as one would write it: "(y * 1 + 0) * 16 + x * 0" is "y * 16". Names in `known` are
 * their values. It may have sums, products, casts to arithmetic types, calls, fields and subscripts; what else there is
 * is a bug of convoy. */
const char *expr_fold(const char *text, const Known *known);
/* The same of formatted text, with nothing known. */
const char *expr(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
