/* sheet.h - pictures in rows and columns, with words below each: a PNG. */
#ifndef CONVOY_SHEET_H
#define CONVOY_SHEET_H

#include "base.h"

enum { SHEET_LINES = 2 }; /* of words below a picture, at most */

typedef struct Sheet {
    int n, channels, height, width; /* pictures, and the shape of each */
    const float *x;                 /* n x channels x height x width: 0 is black, 1 white; of more than 3 channels the
                                       first 3 are drawn, of 2 the first */
    const char *(*words)[SHEET_LINES]; /* of each picture; what is no printable ASCII becomes '?' */
    int lines;                         /* how many of them there are */
} Sheet;
/* Small pictures are enlarged, by a whole number. False, with nothing in *png, where the sheet would be too large. */
bool sheet_draw(const Sheet *s, Buf *png);

/* font.c: the columns of a printable ASCII character, left to right; a column's lowest bit is its uppermost pixel. */
enum { FONT_WIDE = 5, FONT_HIGH = 7 };
const unsigned char *font_glyph(char c);

#endif
