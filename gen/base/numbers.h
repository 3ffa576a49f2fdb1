/* numbers.h - numbers as text. */
#ifndef CONVOY_NUMBERS_H
#define CONVOY_NUMBERS_H

#include "base.h"

/* Whole numbers and reals as YAML 1.2 writes them, decimal only, in any locale. False where s is none or overflows. */
bool text_int(const char *s, int64_t *out);
bool text_real(const char *s, double *out);
/* A number in the fewest digits that read back the same. */
const char *real_text(double v);

#endif
