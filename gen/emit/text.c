/* text.c - names and constants as C has them, and lines. */
#include "emit.h"
#include "expr.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

char *upper(const char *s)
{
    char *u = xstrdup(s);

    for (char *c = u; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return u;
}

char *emit_float(double v)
{
    const float f = (float)v;

    if (isinf(f))
        return xstrdup(f > 0 ? "INFINITY" : "-INFINITY");
    char *s = NULL;
    for (int digits = 1; digits <= 9 && !(s && strtof(s, NULL) == f); digits++)
        s = xprintf("%.*g", digits, (double)f);
    return xprintf("%s%sf", s, strpbrk(s, ".e") ? "" : ".0");
}

const char *emit_input_text(const Graph *g)
{
    return g->spec->tokens ? xprintf("%d tokens", g->op[0].shape.w) : describe_shape(g->op[0].shape);
}

const char *describe_shape(Shape s)
{
    return xprintf("%dx%dx%d", s.c, s.h, s.w);
}

const char *kernel_struct(const Plan *p, const Kernel *k)
{
    return xprintf("%s_%s", p->g->spec->name, k->name);
}

const char *affine_macro(const Plan *p, int op)
{
    return xprintf("%s_%s_AFFINE", upper(p->g->spec->name), upper(p->g->op[op].path));
}

const char *image_pixel(const Image *m, const char *y, const char *x)
{
    return expr("(%s + %d) * %d + (%s + %d)", y, m->top, m->cols, x, m->left);
}

Rec *line_add(Rec *to, const char *list, const char *template)
{
    Rec *s = rec_add(to, list);

    rec_str(s, "template", template);
    return s;
}
