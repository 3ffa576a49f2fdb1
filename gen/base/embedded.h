/* embedded.h - the templates and the runtime, as they stood when the program was built (embed.c writes embedded.c). */
#ifndef CONVOY_EMBEDDED_H
#define CONVOY_EMBEDDED_H

#include <stddef.h>

struct Embedded {
    const char *name; /* "templates/core_conv.c", "runtime/cvy_model.h" */
    const char *text; /* NUL-terminated */
    size_t len;
};
extern const struct Embedded embedded[]; /* sorted by name */
extern const size_t nembedded;

#endif
