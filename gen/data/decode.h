/* decode.h - what the decoders of PNG and JPEG share: limits, pixels to the recipe's channels, EXIF orientation. */
#ifndef CONVOY_DECODE_H
#define CONVOY_DECODE_H

#include "fit.h"

#include <setjmp.h>

enum {
    MOST_SIDE = 1 << 20,     /* pixels */
    MOST_PIXELS = 178956970, /* as Pillow: more is taken for an attack */
    MOST_WHOLE = 192 << 20,  /* bytes of an image that a decoder must hold as a whole */
    MOST_SCANS = 200         /* of a progressive JPEG file: each costs as much time as a whole image */
};

typedef enum Pixels { PIXELS_GREY, PIXELS_GREY_ALPHA, PIXELS_RGB, PIXELS_RGBA, PIXELS_CMYK } Pixels;

/* One file under way. A decoder leaves by `stop` where the library finds the file damaged, `why` being set. */
typedef struct Decode {
    FILE *from;
    const Recipe *r; /* NULL: the head alone */
    uint8_t *out;
    ImageHead head;
    unsigned met;
    char *why; /* IMAGE_WHY bytes */
    Fitter *fitter;
    uint8_t *line;   /* a row in the recipe's channels */
    uint8_t *buffer; /* the decoder's own */
    int width, rows; /* as stored; rows that came */
    jmp_buf stop;
} Decode;

__attribute__((format(printf, 2, 3))) void decode_why(Decode *d, const char *fmt, ...);
/* What the file says of itself is known. False, and why, where it is too large. */
bool decode_head(Decode *d, int64_t width, int64_t height, int orientation, bool grey);
/* The next row from the top, in the file's pixels. */
void decode_row(Decode *d, const uint8_t *row, Pixels kind);
/* The orientation (1 to 8) in EXIF data, with or without "Exif\0\0" in front; 1 where there is none that makes sense.
 */
int exif_orientation(const uint8_t *exif, size_t bytes);

bool png_decode(Decode *d);
bool jpeg_decode(Decode *d);

#endif
