/* csv.h - tables as text: rows of cells, read one at a time. */
#ifndef CONVOY_CSV_H
#define CONVOY_CSV_H

#include "base.h"

typedef struct Csv {
    const char *path;
    void *file; /* zlib's: gzipped or not */
    char delimiter;
    bool header; /* the first row holds names: it was read, into `name` */
    const char **name;
    int nname;
    int64_t line; /* of the row in `cell`; 1-based; a row with a line break in quotes has several */
    char **cell;  /* NUL-terminated, without quotes and blanks around */
    bool *quoted;
    int n, room;
    /* the reader's own */
    unsigned char *part;
    size_t have, used;
    char *text;
    size_t len, text_room;
    size_t *start;
    int64_t next_line;
    bool ended;
} Csv;
/* Opens a table, finds its delimiter and whether it has a header. False after a message. csv_close in any case. */
bool csv_open(Csv *c, const char *path);
/* The next row that is not empty: 1; 0 at the end; -1 after a message. */
int csv_next(Csv *c);
bool csv_rewind(Csv *c); /* to the first row after the header */
void csv_close(Csv *c);
/* The column that a person calls `word`: a name of the header, or a number from 1 on. -1 where there is none. */
int csv_column(const Csv *c, const char *word);

/* What a cell holds. */
typedef enum Cell { CELL_NUMBER, CELL_MISSING, CELL_TEXT, CELL_TOO_LARGE, CELL_COMMA } Cell;
/* True and False are 1 and 0; COMMA: a number with a decimal comma. */
Cell csv_number(const char *cell, double *v);

#endif
