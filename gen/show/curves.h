/* curves.h - the curves of trainings, out of their logs. */
#ifndef CONVOY_CURVES_H
#define CONVOY_CURVES_H

#include "base.h"

typedef struct Curves Curves;
/* The logs that `NAME train --log` wrote. NULL after a message. */
Curves *curves_read(const char *const *path, int n);
/* A picture (SVG), and a page that needs nothing else. */
void curves_svg(const Curves *c, Buf *to);
void curves_html(const Curves *c, Buf *to);

#endif
