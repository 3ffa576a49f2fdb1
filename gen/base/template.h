/* template.h - records, and templates that place them. The language stands at the head of template.c. */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include "base.h"

/* A record: named fields that are text, records or lists of records. Fields keep their order; setting one twice is a
 * bug. */
typedef struct Rec Rec;

Rec *rec_new(void);
void rec_str(Rec *r, const char *name, const char *value);
void rec_int(Rec *r, const char *name, int64_t value);
void rec_fmt(Rec *r, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool rec_has(const Rec *r, const char *name);
void rec_rec(Rec *r, const char *name, Rec *value);
Rec *rec_add(Rec *r, const char *list); /* a new record at the end of the list, which is made where there is none */
void rec_push(Rec *r, const char *list, Rec *item);

/* Adds the templates that `text` defines; `file` is its name in messages. Both must outlive them. Ends the program
 * where one is malformed: a bug of convoy. */
void template_read(const char *file, const char *text);
/* Reads the templates among the embedded files, once. */
void template_load(void);
/* Expands a named template with one record bound to `bound`, at the end of `to`. */
void template_expand(const char *name, const char *bound, Rec *r, Buf *to);

#endif
