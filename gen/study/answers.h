/* answers.h - which test rows a training answers right: a bit a row, as text of the CSV. */
#ifndef CONVOY_ANSWERS_H
#define CONVOY_ANSWERS_H

#include "base.h"

/* The bits of a file of `eval --answers` with that many rows, as base64 (RFC 4648) of bytes whose lowest bit is the
 * first row's. NULL after a message. */
const char *answers_of_file(const char *path, int64_t rows);
/* Sets right[i] to 1 or 0 for each row. False where the text is no such bits of `rows` rows. */
bool answers_read(const char *text, int64_t rows, unsigned char *right);

#endif
