/* names.h - a table of names, each with a number: what would be a search through a list. */
#ifndef CONVOY_NAMES_H
#define CONVOY_NAMES_H

typedef struct Names {
    struct NameEntry *entry;
    int n, room;
} Names;

/* The number that goes with a name: 0 where the table has none, which is then put in. Good until the next call. The
 * name must stay. */
int *names_at(Names *t, const char *name);
int names_find(const Names *t, const char *name); /* the number, 0 where there is none; puts nothing in */
void names_clear(Names *t);                       /* forgets all names; keeps the room */

#endif
