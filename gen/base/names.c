/* names.c - a hash table of names: open addressing, at most half full. */
#include "names.h"

#include "base.h"

#include <string.h>

typedef struct NameEntry {
    const char *name; /* NULL: free */
    int value;
} NameEntry;

static uint64_t hash(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

static NameEntry *find(const Names *t, const char *name)
{
    size_t i = (size_t)hash(name) & (size_t)(t->room - 1);

    while (t->entry[i].name && strcmp(t->entry[i].name, name) != 0)
        i = (i + 1) & (size_t)(t->room - 1);
    return &t->entry[i];
}

static void grow(Names *t)
{
    const Names old = *t;

    t->room = old.room ? 2 * old.room : 16;
    t->entry = xalloc(sizeof *t->entry * (size_t)t->room);
    for (int i = 0; i < old.room; i++)
        if (old.entry[i].name)
            *find(t, old.entry[i].name) = old.entry[i];
}

int *names_at(Names *t, const char *name)
{
    if (2 * t->n >= t->room)
        grow(t);
    NameEntry *e = find(t, name);
    if (!e->name) {
        e->name = name;
        e->value = 0;
        t->n++;
    }
    return &e->value;
}

int names_find(const Names *t, const char *name)
{
    const NameEntry *e = t->room ? find(t, name) : NULL;

    return e && e->name ? e->value : 0;
}

void names_clear(Names *t)
{
    if (t->n)
        memset(t->entry, 0, sizeof *t->entry * (size_t)t->room);
    t->n = 0;
}
