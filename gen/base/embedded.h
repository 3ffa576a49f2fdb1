/* embedded.h - the templates and the runtime, as they stood when the program was built (embed.c writes embedded.c). */
#ifndef CONVOY_EMBEDDED_H
#define CONVOY_EMBEDDED_H

#include <stddef.h>

struct Embedded {
    const char *name; /* "templates/core.c", "runtime/vec/avx2.h" */
    const char *text; /* NUL-terminated */
    size_t len;
};
extern const struct Embedded embedded[]; /* sorted by name */
extern const size_t nembedded;
const struct Embedded *embedded_find(const char *name); /* that is not there: a bug */

#endif
