/* fit.h - rows of an image, as a decoder gives them, become an image of the size that a recipe asks for. */
#ifndef CONVOY_FIT_H
#define CONVOY_FIT_H

#include "image.h"

typedef struct Fitter Fitter;
/* For an image of width x height pixels as it is stored, with an EXIF orientation (1 to 8), into `out`, channels x
 * height x width bytes of the recipe. To be ended by fitter_end. */
Fitter *fitter_begin(const Recipe *r, int width, int height, int orientation, uint8_t *out);
/* The next row from the top: width pixels of the recipe's channels. */
void fitter_row(Fitter *f, const uint8_t *row);
void fitter_end(Fitter *f);
bool fitter_resizes(const Fitter *f); /* whether the image had another size, or another shape */

#endif
