/* array.h - arrays of numbers in files, whoever wrote them: NumPy, IDX, CIFAR; and the rows of a set made of them. */
#ifndef CONVOY_ARRAY_H
#define CONVOY_ARRAY_H

#include "import.h"

enum { MOST_DIMS = 8 };

/* An array that lies in an open file, in C order but for the distance between its rows. */
typedef struct Array {
    const char *name; /* for people */
    int fd;
    uint64_t at, stride; /* of row 0; from row to row, in bytes */
    char kind; /* u, i: whole numbers; f: reals; b: truth values; S, U: text of one byte, of four bytes a character */
    int size;  /* bytes of an element */
    bool big;  /* big-endian */
    int ndim;
    int64_t dim[MOST_DIMS];
} Array;

/* Opened files and spools belong to the import's state, and are closed by arrays_end. */
int64_t array_numbers(const Array *a);                       /* of a row */
const char *array_shape(const Array *a);                     /* "(60000, 28, 28) uint8" */
bool array_get(const Array *a, int64_t row, void *to);       /* the bytes of a row; false after a message */
double array_number(const Array *a, const uint8_t *element); /* one element as a number */

/* Rows, labels, and which split they are of. */
typedef struct Part {
    Array x, y, length; /* length.name NULL: rows have none */
    Split split;        /* SPLIT_OPEN: none was given */
    int first;          /* record */
} Part;

typedef struct Arrays {
    Part *part;
    int n;
    int *fd; /* that are open */
    int nfd;
    bool nhwc;                      /* pixels lie channel by channel */
    const char *const *label_names; /* of y's numbers; NULL: the numbers are the names */
    int nlabel;
    uint8_t *row; /* as it lies */
} Arrays;
Arrays *arrays_begin(Import *m);
/* A file opened for reading; a pipe is copied into a spool first. -1 after a message; else *bytes. */
int arrays_open(Import *m, const char *path, uint64_t *bytes);
int arrays_spool(Import *m, Spool *s); /* an empty spool; -1 after a message */
/* After the parts are there: shapes are compared, labels read, records made. False after a message. */
bool arrays_list(Import *m);
int arrays_row(Import *m, int i, void *to);
void arrays_end(Import *m);

/* ---- npy.c, zip.c ---- */

/* The array whose .npy file begins at `at` of an open file and has so many bytes. False after a message. Where it is in
 * Fortran order it is copied into a spool, in C order. */
bool npy_open(Import *m, Array *a, int fd, uint64_t at, uint64_t bytes, const char *name);

typedef struct Member {
    const char *name;
    uint64_t at, packed, bytes; /* `at`: its local header */
    uint32_t crc;
    unsigned method;
} Member;
/* What a zip archive of `bytes` bytes holds. -1 after a message. */
int zip_list(int fd, uint64_t bytes, const char *path, Member **list);
/* Where its bytes lie: in the archive, or unpacked into a spool. -1 after a message. */
int zip_open(Import *m, int fd, uint64_t bytes, const char *path, const Member *member, uint64_t *at);

#endif
