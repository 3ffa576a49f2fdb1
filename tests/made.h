/* made.h - parts of docs and of tests' specs that are made from the op table. */
#ifndef MADE_H
#define MADE_H

#include "op.h"

/* A part of a file, between a line that holds "made: NAME" and one that holds "made: end"; and what stands there. */
typedef struct Made {
    const char *file; /* relative to the project's folder */
    const char *name;
    void (*put)(Buf *to);
} Made;
extern const Made made_parts[]; /* file NULL ends */

/* The file's text with that part as it is to be; NULL: there is no such part. */
const char *made_text(const Made *m, const char *text);

#endif
