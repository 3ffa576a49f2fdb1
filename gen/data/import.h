/* import.h - one import under way: what its parts share. */
#ifndef CONVOY_IMPORT_H
#define CONVOY_IMPORT_H

#include "data.h"
#include "image.h"
#include "names.h"
#include "spool.h"

typedef enum Split { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST, SPLITS, SPLIT_OPEN = SPLITS } Split;
extern const char *const split_words[SPLITS]; /* "train", "valid", "test" */

/* A row of the set, or what may become one: all that is kept of it in memory. 64 bytes an image are what an import may
 * take: these 40, and two whole numbers while duplicates are looked for. */
typedef struct Record {
    uint64_t name;  /* in Import.names */
    uint64_t group; /* a hash of its group's name, 0: none; later the group's number */
    uint64_t hash;  /* of its numbers */
    uint64_t near;  /* of its coarse brightness: equal but for a few bits in near copies */
    int32_t label;  /* its class; the bits of its first number where the set is for regression; -1: none */
    uint8_t split;
    bool given;    /* the split is the source's */
    bool left_out; /* could not be read, or is beyond --max */
} Record;
enum { CHUNK = 4096 }; /* records are allocated so many at a time */

typedef enum NoteKind {
    NOTE_UNREADABLE, /* left out: cannot be read */
    NOTE_ODD,        /* left out, or taken, for another reason */
    NOTE_CELL,       /* of a table: refused, with line and column */
    NOTE_KINDS
} NoteKind;
typedef struct Note {
    NoteKind kind;
    const char *name, *text;
} Note;

/* Something that was found or decided, and the flag that decides otherwise (NULL: none). */
typedef struct Fact {
    const char *what, *text, *flag;
} Fact;

typedef struct Pair {
    int a, b;
} Pair;
/* Pairs of records; the first few are kept. */
enum { MOST_PAIRS = 1000 };
typedef struct Pairs {
    Pair *pair; /* MOST_PAIRS */
    int n;      /* kept */
    int64_t count, across_splits, across_classes;
} Pairs;

struct DataSource;
typedef struct Import {
    const char *src;   /* what is opened: what was typed, or a copy of what came through a pipe */
    const char *shown; /* for people, and in the names of rows */
    const DataOptions *o;
    const char *folder; /* where the set will lie, and spools do */
    const struct DataSource *source;
    void *state; /* the source's */

    Record **chunk;
    int nchunk, n;
    Texts names;

    const char **class_name;
    int nclass;
    Names class_table;    /* number + 1 by name */
    bool numeric_classes; /* sorted as numbers */
    bool regression;      /* labels are numbers, not classes */
    const char **target;  /* of regression: what its numbers are called; ntarget of a row */
    int ntarget;
    Spool targets; /* the numbers of record i at i * ntarget floats, where there are several */

    /* lengths: of record i at i * 4 bytes, where rows have them */
    Spool lengths;
    const char *length_name;       /* of a table: the column that holds them */
    int steps;                     /* that a row has room for; 0: there are no lengths */
    int32_t live;                  /* of them, of the row at hand */
    bool one_a_step;               /* a row came as one number a step: tokens, unless */
    bool no_tokens;                /* one of them is no whole number */
    int least_length, most_length; /* that there are; `all_steps`: their sum */
    int64_t all_steps;

    /* a row */
    bool images;                   /* image files, read by `recipe` */
    Recipe recipe;                 /* of image files */
    int channels, height, width;   /* of a row */
    bool floats;                   /* in the spool: float32, else bytes */
    bool whole;                    /* all floats so far are whole numbers from 0 to 255 */
    bool to_bytes;                 /* float32 in the spool, bytes in the set */
    const char **column;           /* of a table of features: their names, one of each number; NULL: none */
    Spool rows;                    /* row i at i * row_bytes */
    size_t row_bytes;              /* in the spool */
    double least, most;            /* of all numbers, as they came */
    double split_most[SPLITS + 1]; /* by the split that the source gives */

    int met[MET_KINDS];
    Note *note;
    int nnote;
    int64_t note_count[NOTE_KINDS];
    int64_t hidden;
    Fact *fact;
    int nfact;
    Pairs same, near;
    int64_t same_images; /* that have a copy */
    bool near_cut;       /* not all pairs were compared */

    double share[SPLITS];
    int *order; /* the rows of the set: train, valid, test */
    int count[SPLITS];
    double *mean, *sd; /* by channel, of the training rows: of byte / 255, or of the numbers */
    double bytes;      /* of the set */
    int *class_count;  /* by class, then split: report.c */
} Import;

/* Options that not every source takes. */
enum { SRC_IMAGES = 1, SRC_ARRAYS = 2, SRC_TABLE = 4, SRC_CIFAR = 8 };

/* Kinds of sources. */
typedef struct DataSource {
    const char *what;            /* "a folder of images" */
    bool (*is)(const char *src); /* whether SRC is one; says nothing */
    bool (*list)(Import *m);     /* every record with name, label and split; false after a message */
    /* Record i: 1; 0 where it is left out, which is noted; -1 after a message. Takes nothing of the pool but notes: it
     * is called for each row. */
    int (*row)(Import *m, int i, void *to);
    void (*end)(Import *m);
    bool ordered;   /* rows keep their order */
    bool groups;    /* it reads --group itself */
    unsigned takes; /* which options: SRC_ bits */
} DataSource;
extern const DataSource folder_source, idx_source, cifar_source, array_source, table_source;

Record *record(const Import *m, int i);
/* A new record with a name. NULL after a message. */
Record *record_add(Import *m, const char *name, size_t len);
/* Its name, NUL-terminated, fit to be shown, valid until the pool is released; "?" where it cannot be read. */
const char *record_name(Import *m, int i);
/* A class's number; it is new where the name is. -1 after a message: too many. */
int class_of(Import *m, const char *name);
void note(Import *m, NoteKind kind, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void fact(Import *m, const char *what, const char *flag, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Numbers to learn: what they are called, and those of record i. False after a message. */
void target_names(Import *m, const char **name, int n);
bool target_put(Import *m, int i, const float *v);

/* lengths.c - How many steps of a row count. lengths_begin: rows of so many numbers are sequences, [features, length]
 * where --shape says so, else one number a step. False after a message. Number k of a row is of step k modulo steps. */
enum { LENGTH_WHY = 120, MOST_TOKEN = 1 << 24 };
bool lengths_begin(Import *m, int64_t count);
bool lengths_are(const Import *m);
bool length_fits(const Import *m, double v, char why[LENGTH_WHY]);
bool length_put(Import *m, int i, double v);   /* false after a message */
bool length_get(Import *m, int i, int32_t *n); /* all steps where there are no lengths; the same */
bool length_pads(const Import *m, int64_t k);  /* whether number k of the row at hand is padding */
void lengths_look(Import *m, const void *row); /* at the row at hand */
void lengths_end(Import *m);                   /* after all rows */
bool tokens_are(const Import *m);              /* whether rows are tokens, as far as they tell */

/* Whether to go on: false after a signal asked for the end. */
bool goes_on(void);
uint64_t hash_of(const void *p, size_t bytes);
/* How many rows of a class (-1: all) a split has; of a class from the report on. */
int rows_of(const Import *m, int class, Split s);
/* 1 x side x side where so many numbers may be the pixels of a square image; the shape of --shape before that. False
 * where neither. A --shape that does not fit is an error: *bad. */
bool pixels_shape(const Import *m, int64_t count, int shape[3], bool *bad);

/* ---- the steps after reading ---- */
bool duplicates_find(Import *m);             /* duplicates.c: groups get their numbers; needs hash, near, group */
bool split_make(Import *m);                  /* split.c: needs groups and labels; sets split, order, count */
bool set_write(Import *m, const char *path); /* set.c: statistics, and the file */
bool report_write(Import *m);                /* report.c: text or JSON, on stdout; --sheet, --html */
bool sheet_png(Import *m, Buf *to);          /* page.c: pictures, a line for each class; false after a message */
bool page_html(Import *m, Buf *to);          /* page.c: what report_write says, with pictures */
/* set.c: record i as it is in the set, bytes or float32; `floats` has room for a row of them, where the spool has. */
bool row_get(Import *m, int i, void *to, float *floats);
bool set_floats(const Import *m); /* whether the set's rows are float32 */
int row_numbers(const Import *m); /* channels x height x width */

#endif
