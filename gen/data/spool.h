/* spool.h - what is too large for memory lies in files without a name, beside the set that is being made: they are gone
 * when the program is, however it ends. */
#ifndef CONVOY_SPOOL_H
#define CONVOY_SPOOL_H

#include "base.h"

typedef struct Spool {
    int fd;
    const char *folder; /* for messages */
} Spool;
/* Where a file lies, as a folder: "." where the path has none. */
const char *folder_of(const char *path);
/* An empty file in a folder. False after a message. */
bool spool_open(Spool *s, const char *folder);
void spool_close(Spool *s);
/* All of it, or false after a message. */
bool spool_put(const Spool *s, const void *from, size_t bytes, uint64_t at);
bool spool_get(const Spool *s, void *to, size_t bytes, uint64_t at);

/* Texts that follow each other in a spool, each with its length. */
typedef struct Texts {
    Spool spool;
    uint64_t end;   /* where the next one goes */
    uint64_t saved; /* what is before that is in the file, the rest in `part` */
    char *part;
    size_t used;
} Texts;
bool texts_open(Texts *t, const char *folder);
void texts_close(Texts *t);
/* *at: where it is. */
bool texts_put(Texts *t, const char *text, size_t len, uint64_t *at);
/* The text at `at`, NUL-terminated, into `to`, which is grown; *len: without the NUL. */
bool texts_get(Texts *t, uint64_t at, Buf *to);

/* Texts sorted bytewise, in bounded memory: parts are sorted and put aside, then merged. */
typedef struct Sorter Sorter;
Sorter *sorter_begin(const char *folder); /* NULL after a message */
bool sorter_add(Sorter *s, const char *text, size_t len);
bool sorter_sort(Sorter *s);
/* The next text, NUL-terminated, valid until the next call; NULL at the end, or where *ok became false after a message.
 */
const char *sorter_next(Sorter *s, size_t *len, bool *ok);
void sorter_end(Sorter *s);

#endif
