/* image.h - one image file becomes one row of a set. All that a set does to an image follows from its recipe, so that
 * an image that comes later is read as those of the set were. */
#ifndef CONVOY_IMAGE_H
#define CONVOY_IMAGE_H

#include "base.h"

typedef enum Fit { FIT_CROP, FIT_PAD, FIT_SQUASH } Fit;
extern const char *const fit_words[]; /* by Fit, NULL-terminated */

/* How an image is read. A row is channels x height x width bytes: grey (1 channel), or red, green, blue. */
typedef struct Recipe {
    int channels, height, width;
    Fit fit;
    bool keep_truncated; /* what is there of a damaged file, instead of an error */
} Recipe;
/* As JSON text, and from it: false, and *recipe unchanged, where the text is no recipe. */
char *recipe_text(const Recipe *r);
bool recipe_read(Recipe *r, const char *text);

/* What a set, or weights that were trained with one, say of how its rows were made. */
typedef struct Origin {
    const char *length; /* of a table: the column that holds the rows' lengths; NULL: none does */
    const char *source; /* "a folder of images"; NULL: nothing is said */
    bool images;        /* rows are image files, read by: */
    Recipe recipe;
    const char **class_name; /* NULL where they are not said */
    int nclass;
    const char **target; /* what the numbers are called that were learnt; NULL where that is not said */
    int ntarget;
    const char **column; /* what features are called, of a table; the same */
    int ncolumn;
} Origin;
struct cvy_tensors;
/* From the metadata of an open file. False after a message: what stands there is damaged. */
bool origin_read(Origin *o, const struct cvy_tensors *f);

/* What a file says of itself, turned as its EXIF data say. */
typedef struct ImageHead {
    int width, height;
    bool grey;
} ImageHead;

/* What was met in a file and dealt with: bits. */
enum {
    MET_TURNED = 1 << 0,   /* EXIF orientation, applied */
    MET_ALPHA = 1 << 1,    /* transparency, laid over white */
    MET_DEEP = 1 << 2,     /* 16 bits a channel: the upper 8 are kept */
    MET_PALETTE = 1 << 3,  /* colours out of a palette */
    MET_SHALLOW = 1 << 4,  /* 1, 2 or 4 bits a pixel: spread over 0 to 255 */
    MET_RESIZED = 1 << 5,  /* another size than the set's */
    MET_CMYK = 1 << 6,     /* printing inks */
    MET_GREYED = 1 << 7,   /* colour that became grey */
    MET_COLOURED = 1 << 8, /* grey that became colour */
    MET_WARNED = 1 << 9,   /* odd, but whole */
    MET_DAMAGED = 1 << 10, /* not whole, and kept */
};
enum { MET_KINDS = 11 };
extern const char *const met_words[MET_KINDS]; /* by bit */

enum { IMAGE_WHY = 200 }; /* bytes for the reason why a file cannot be read */

/* Reads the head of an open file. False where it is no image that can be read; `why` says what it is instead. */
bool image_head(FILE *from, ImageHead *head, char why[IMAGE_WHY]);
/* Reads all of an open file into a row, and sets *met. Memory is bounded whatever the file says of itself. False with
 * `why`; the row is then undefined. */
bool image_import(const Recipe *r, FILE *from, uint8_t *row, unsigned *met, char why[IMAGE_WHY]);
/* A picture as a PNG file in memory, appended to `to`: channels 1 or 3, row after row, pixel after pixel. */
void image_png(Buf *to, const uint8_t *pixels, int channels, int height, int width);

#endif
