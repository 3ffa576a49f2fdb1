/* json.c - see json.h. */
#include "json.h"

#include <stdlib.h>

bool json_print(json_t *value, size_t flags, FILE *to)
{
    char *text = value ? json_dumps(value, flags) : NULL;
    const bool ok = text != NULL;

    if (ok)
        fprintf(to, "%s\n", text);
    free(text);
    json_decref(value);
    return ok;
}
