/* stfile.h - safetensors and .npy for the tests: small readers and writers of their own, so that the runtime's are
 * tested against something else. float32 and int64 alone. */
#ifndef STFILE_H
#define STFILE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct StTensor {
    char *name;
    int ndim;
    int64_t dim[8];
    int64_t n;  /* elements */
    float *f;   /* float32, or NULL */
    int64_t *i; /* int64, or NULL */
    bool used;  /* for the reader's own bookkeeping */
} StTensor;

typedef struct StFile {
    StTensor *tensor;
    int n;
} StFile;

/* NULL and a message on stderr where the file is not a whole and consistent safetensors file. */
StFile *st_read(const char *path);
StTensor *st_find(StFile *f, const char *name); /* NULL: not there */
/* An empty file to add to; the added tensors' data are zero. Ends the program where memory runs out. */
StFile *st_new(void);
StTensor *st_add(StFile *f, const char *name, bool is_float, int ndim, const int64_t *dim);
/* `metadata`: pairs of strings, NULL-terminated; or NULL. */
bool st_write(const StFile *f, const char *path, const char *const *metadata);
void st_free(StFile *f);

/* A C-order array as .npy, version 1.0: float32 where `f` is given, else int64. */
bool npy_write(const char *path, const float *f, const int64_t *i, int ndim, const int64_t *dim);
/* Reads a float32 .npy; the caller frees the array. NULL and a message where it is not one. */
float *npy_read(const char *path, int *ndim, int64_t dim[8]);

#endif
