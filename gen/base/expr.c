/* expr.c - folds the constants of a C expression as it is printed.
 *
 *     sum      product, with + and - between
 *     product  factor, with *, / and % between
 *     factor   a cast or a sign before a factor; else an operand with subscripts, calls and fields behind it
 *     operand  a name, a number, a string, a sum in parentheses
 *
 * Terms that are 0 and factors that are 1 are left out, a product with 0 is 0, and what has constants alone is one.
 * Parentheses stay where they mean something, or say what is added up first. */
#include "expr.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef enum Level { LEVEL_SUM, LEVEL_PRODUCT, LEVEL_FACTOR } Level;

typedef struct Value {
    bool constant;
    int64_t number;
    const char *text; /* where it is no constant */
    Level level;      /* how tightly that text binds */
} Value;

typedef struct Reader {
    const char *all, *p;
    const Known *known;
} Reader;

static Value read_sum(Reader *r);

static Value number(int64_t n)
{
    return (Value){.constant = true, .number = n, .level = n < 0 ? LEVEL_SUM : LEVEL_FACTOR};
}

static Value text_value(const char *text, Level level)
{
    return (Value){.text = text, .level = level};
}

/* The value's text, in parentheses where what stands around it binds tighter. */
static const char *shown(Value v, Level around)
{
    const char *s = v.constant ? xprintf("%lld", (long long)v.number) : v.text;

    return v.level < around ? xprintf("(%s)", s) : s;
}

static char next(Reader *r)
{
    while (*r->p == ' ')
        r->p++;
    return *r->p;
}

static bool takes(Reader *r, char c)
{
    if (next(r) != c)
        return false;
    r->p++;
    return true;
}

static void expect(Reader *r, char c)
{
    if (!takes(r, c))
        BUG("'%s': '%c' is missing before '%s'", r->all, c, r->p);
}

static size_t name_length(const char *s)
{
    size_t n = 0;

    if (isalpha((unsigned char)*s) || *s == '_')
        while (isalnum((unsigned char)s[n]) || s[n] == '_')
            n++;
    return n;
}

/* A type in parentheses, which begins at p: its length with them, or 0. */
static size_t cast_length(const char *p)
{
    static const char *const types[] = {"int",  "int64_t", "ptrdiff_t", "size_t", "uint64_t",
                                        "long", "float",   "double",    NULL};
    const size_t n = name_length(p + 1);

    return n && p[1 + n] == ')' && is_in(types, xstrndup(p + 1, n)) ? n + 2 : 0;
}

/* A number that is an int in C; text where it is something else. */
static Value read_number(Reader *r)
{
    const char *from = r->p;
    char *end;

    errno = 0;
    const long long n = strtoll(from, &end, 10);
    if (errno == 0 && !isalnum((unsigned char)*end) && *end != '.') {
        r->p = end;
        return number(n);
    }
    while (isalnum((unsigned char)*r->p) || *r->p == '.' ||
           ((*r->p == '+' || *r->p == '-') && (r->p[-1] == 'e' || r->p[-1] == 'E')))
        r->p++;
    return text_value(xstrndup(from, (size_t)(r->p - from)), LEVEL_FACTOR);
}

static Value read_name(Reader *r)
{
    const char *from = r->p;
    const size_t n = name_length(from);

    r->p += n;
    for (const Known *k = r->known; k; k = k->outer)
        if (k->len == n && strncmp(k->name, from, n) == 0)
            return number(k->value);
    return text_value(xstrndup(from, n), LEVEL_FACTOR);
}

static Value read_operand(Reader *r)
{
    const char c = next(r);

    if (takes(r, '(')) {
        const Value v = read_sum(r);
        expect(r, ')');
        return v;
    }
    if (c == '"') {
        const char *from = r->p, *end = strchr(from + 1, '"');
        if (!end)
            BUG("'%s': a string is never closed", r->all);
        r->p = end + 1;
        return text_value(xstrndup(from, (size_t)(r->p - from)), LEVEL_FACTOR);
    }
    if (isdigit((unsigned char)c))
        return read_number(r);
    if (name_length(r->p) == 0)
        BUG("'%s': no operand before '%s'", r->all, r->p);
    return read_name(r);
}

/* What stands between brackets, folded argument by argument. */
static const char *read_list(Reader *r, char close)
{
    Buf b = {0};

    buf_puts(&b, "");
    while (next(r) != close) {
        buf_puts(&b, shown(read_sum(r), LEVEL_SUM));
        if (takes(r, ','))
            buf_puts(&b, ", ");
    }
    expect(r, close);
    return b.text;
}

static Value read_factor(Reader *r)
{
    const char c = next(r);
    const size_t cast = c == '(' ? cast_length(r->p) : 0;

    if (cast) {
        const char *type = xstrndup(r->p, cast);
        r->p += cast;
        const Value v = read_factor(r);
        return v.constant && v.number == 0 ? v
                                           : text_value(xprintf("%s%s", type, shown(v, LEVEL_FACTOR)), LEVEL_FACTOR);
    }
    if (c == '-' || c == '&' || c == '*') {
        r->p++;
        const Value v = read_factor(r);
        return c == '-' && v.constant ? number(-v.number)
                                      : text_value(xprintf("%c%s", c, shown(v, LEVEL_FACTOR)), LEVEL_FACTOR);
    }
    Value v = read_operand(r);
    for (;;) {
        const char *before = r->p;
        const char after = next(r);
        if (after == '[') {
            r->p++;
            v = text_value(xprintf("%s[%s]", shown(v, LEVEL_FACTOR), read_list(r, ']')), LEVEL_FACTOR);
        } else if (after == '(' && before == r->p) {
            r->p++;
            v = text_value(xprintf("%s(%s)", shown(v, LEVEL_FACTOR), read_list(r, ')')), LEVEL_FACTOR);
        } else if (after == '.' || (after == '-' && r->p[1] == '>')) {
            const size_t dots = after == '.' ? 1 : 2, n = name_length(r->p + dots);
            v = text_value(xprintf("%s%s", shown(v, LEVEL_FACTOR), xstrndup(r->p, dots + n)), LEVEL_FACTOR);
            r->p += dots + n;
        } else {
            return v;
        }
    }
}

static Value multiply(Value a, char sign, Value b)
{
    int64_t n = 0;

    if (a.constant && a.number == 0)
        return a;
    if (b.constant && b.number == 1 && sign != '%')
        return a;
    if (b.constant && b.number == 1)
        return number(0);
    if (sign == '*') {
        if (b.constant && b.number == 0)
            return b;
        if (a.constant && a.number == 1)
            return b;
        if (a.constant && b.constant && mul_fits(a.number, b.number, &n))
            return number(n);
    }
    if (sign != '*' && a.constant && b.constant && b.number != 0)
        return number(sign == '/' ? a.number / b.number : a.number % b.number);
    return text_value(xprintf("%s %c %s", shown(a, LEVEL_PRODUCT), sign, shown(b, LEVEL_FACTOR)), LEVEL_PRODUCT);
}

static Value read_product(Reader *r)
{
    Value v = read_factor(r);

    for (char sign; (sign = next(r)) == '*' || sign == '/' || sign == '%';) {
        r->p++;
        v = multiply(v, sign, read_factor(r));
    }
    return v;
}

typedef struct Term {
    Value value;
    char sign;
} Term;

static Value print_sum(const Term *term, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++) {
        const Value v = term[i].value;
        const bool minus = v.constant ? v.number < 0 : term[i].sign == '-';
        if (i)
            buf_printf(&b, " %c ", minus ? '-' : '+');
        else if (minus)
            buf_puts(&b, "-");
        buf_puts(&b, shown(v.constant && minus ? number(-v.number) : v, i || minus ? LEVEL_PRODUCT : LEVEL_SUM));
    }
    return text_value(b.text, LEVEL_SUM);
}

/* All constants become one, where the first of them stands; the terms keep their order, and what is added up first. */
static Value read_sum(Reader *r)
{
    Term *term = NULL;
    int n = 0, at = -1; /* at: which is the constant */
    char sign = '+';

    for (;;) {
        Value v = read_product(r);
        if (v.constant && sign == '-')
            v = number(-v.number);
        if (v.constant && at >= 0)
            term[at].value = number(term[at].value.number + v.number);
        else if (!v.constant || v.number != 0)
            *PUSH(term, n) = (Term){v, sign};
        if (v.constant && v.number != 0 && at < 0)
            at = n - 1;
        sign = next(r);
        if (sign != '+' && (sign != '-' || r->p[1] == '>'))
            break;
        r->p++;
    }
    if (at >= 0 && term[at].value.number == 0) {
        memmove(term + at, term + at + 1, sizeof *term * (size_t)(n - at - 1));
        n--;
    }
    if (n == 0)
        return number(0);
    return n == 1 && (term[0].value.constant || term[0].sign == '+') ? term[0].value : print_sum(term, n);
}

const char *expr_fold(const char *text, const Known *known)
{
    Reader r = {text, text, known};
    const Value v = read_sum(&r);

    if (next(&r) != '\0')
        BUG("'%s': not understood from '%s'", text, r.p);
    return shown(v, LEVEL_SUM);
}

const char *expr(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *s = xvprintf(fmt, ap);
    va_end(ap);
    return expr_fold(s, NULL);
}
