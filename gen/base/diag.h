/* diag.h - errors that point at the user's line. */
#ifndef CONVOY_DIAG_H
#define CONVOY_DIAG_H

#include "base.h"

/* Where something stands in a spec: 1-based line and column, and how many characters to underline. line 0: nowhere. */
typedef struct Mark {
    int line, col, len;
} Mark;

typedef struct Source {
    const char *path; /* as the user typed it */
    const char *text; /* whole file, NUL-terminated, without other NULs */
    size_t len;
    const char **override; /* what --set changes in it: marks with line -1 - i refer to the i-th */
    int noverride;
} Source;

/* Collects an error; nothing is printed yet. `hint` may be NULL. */
void diag_error(Mark at, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As diag_error, with a second place shown below the first ("the other side stands here"). */
void diag_error2(Mark at, Mark other, const char *what_other, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void diag_warn(Mark at, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void diag_source(Source *s); /* the file that marks refer to from now on */
Source *diag_source_now(void);
bool diag_flush(FILE *to); /* prints what was collected in order of place; true if there was an error */
/* The name in `names` (NULL-terminated) that is nearest to `word`, or NULL when none is near. */
const char *diag_nearest(const char *word, const char *const *names);
/* A hint: the names where they are few, or `all` is NULL ("did you mean 'sgd'? (sgd, adam)", "one of ..."); else the
 * three nearest to `word` and `all`, the command that lists them: "did you mean 'relu' or 'selu'? 'convoy help acts'
 * lists them all". */
const char *diag_choices(const char *word, const char *const *names, const char *all);
void diag_override(int index, const char *text); /* the source's --set number `index` */
void diag_only_warn(void);                       /* errors that are collected now become warnings */
int diag_errors(void);                           /* how many errors are collected now */
void diag_drop(void);                            /* forgets what is collected */
/* The code point at s and the number of its bytes; a byte that is no UTF-8 counts as U+FFFD. s < end. */
unsigned utf8_next(const char *s, const char *end, int *bytes);
/* The line after the one that s is in, lines ending with LF, CR or CR LF; NULL where it is the last. */
const char *line_after(const char *s);

/* Moves a mark past the character at s: to the next line after a line break, as YAML 1.2 has it (LF, CR, CR LF). */
void mark_step(Mark *m, const char *s, const char *end);

#endif
