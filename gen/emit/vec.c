/* vec.c - the vector header of a network: runtime/cvy_vec.h with the files that it includes from runtime/vec in their
 * places, and the target's own in that of vec/target.h.
 *
 * needs: a target. sets: the header's text. */
#include "emit.h"

#include "embedded.h"

#include <string.h>

#define INCLUDE "#include \""

/* What an include of these files means: its part of runtime/vec, or NULL where that is no part. */
static const struct Embedded *part_of(const Target *t, const char *line, const char *from)
{
    if (strncmp(line, INCLUDE, strlen(INCLUDE)) != 0)
        return NULL;
    const char *const name = line + strlen(INCLUDE), *const slash = strrchr(from, '/');
    const char *path = xprintf("%.*s/%.*s", (int)(slash - from), from, (int)strcspn(name, "\""), name);
    if (strncmp(path, "runtime/vec/", 12) != 0)
        return NULL;
    return embedded_find(strcmp(path, "runtime/vec/target.h") == 0 ? xprintf("runtime/vec/%s.h", t->name) : path);
}

static void add(const Target *t, const struct Embedded *file, Buf *to)
{
    for (const char *line = file->text, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        const struct Embedded *part = part_of(t, line, file->name);
        if (!part) {
            buf_add(to, line, (size_t)(next - line));
            continue;
        }
        add(t, part, to);
        buf_puts(to, "\n");
    }
}

void emit_vec(const Target *t, Buf *to)
{
    add(t, embedded_find("runtime/cvy_vec.h"), to);
}
