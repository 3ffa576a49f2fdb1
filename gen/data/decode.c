/* decode.c - limits, pixels to the recipe's channels, EXIF orientation. */
#include "decode.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void decode_why(Decode *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(d->why, IMAGE_WHY, fmt, ap);
    va_end(ap);
}

bool decode_head(Decode *d, int64_t width, int64_t height, int orientation, bool grey)
{
    const bool swapped = orientation >= 5;
    if (width < 1 || height < 1 || width > MOST_SIDE || height > MOST_SIDE || width * height > MOST_PIXELS) {
        decode_why(d, "its header claims %" PRId64 " x %" PRId64 " pixels; %d at most are read", width, height,
                   MOST_PIXELS);
        return false;
    }
    d->width = (int)width;
    d->head = (ImageHead){(int)(swapped ? height : width), (int)(swapped ? width : height), grey};
    if (!d->r)
        return true;
    d->met |= orientation > 1 ? MET_TURNED : 0;
    d->met |= grey && d->r->channels == 3 ? MET_COLOURED : 0;
    d->met |= !grey && d->r->channels == 1 ? MET_GREYED : 0;
    d->fitter = fitter_begin(d->r, (int)width, (int)height, orientation, d->out);
    d->met |= fitter_resizes(d->fitter) ? MET_RESIZED : 0;
    d->line = xmalloc((size_t)width * (size_t)d->r->channels);
    return true;
}

/* a / 255, rounded, as Pillow does it. */
static unsigned by_255(unsigned a)
{
    a += 128;
    return (a + (a >> 8)) >> 8;
}

/* A value with transparency, over white. */
static unsigned over_white(unsigned v, unsigned alpha)
{
    return by_255(255 * (255 - alpha) + v * alpha);
}

/* The weights of red, green and blue in grey (ITU-R 601-2), in 65536ths, as Pillow has them. */
static uint8_t luma(unsigned r, unsigned g, unsigned b)
{
    return (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
}

void decode_row(Decode *d, const uint8_t *row, Pixels kind)
{
    static const int bytes[] = {
        [PIXELS_GREY] = 1, [PIXELS_GREY_ALPHA] = 2, [PIXELS_RGB] = 3, [PIXELS_RGBA] = 4, [PIXELS_CMYK] = 4};
    const bool grey = d->r->channels == 1;
    uint8_t *to = d->line;
    d->rows++;
    if ((kind == PIXELS_GREY && grey) || (kind == PIXELS_RGB && !grey)) {
        fitter_row(d->fitter, row);
        return;
    }
    for (int x = 0; x < d->width; x++, row += bytes[kind]) {
        unsigned r = row[0], g = r, b = r, alpha = 255;
        if (kind >= PIXELS_RGB) {
            g = row[1];
            b = row[2];
        }
        if (kind == PIXELS_GREY_ALPHA)
            alpha = row[1];
        else if (kind == PIXELS_RGBA)
            alpha = row[3];
        else if (kind == PIXELS_CMYK) { /* stored inverted, as Adobe does: 255 is no ink */
            const unsigned black = 255 - row[3];
            unsigned *const rgb[] = {&r, &g, &b};
            for (int i = 0; i < 3; i++) {
                const unsigned ink = by_255((255 - row[i]) * (255 - black));
                *rgb[i] = 255 - black > ink ? 255 - black - ink : 0;
            }
        }
        if (alpha < 255) {
            d->met |= MET_ALPHA;
            r = over_white(r, alpha);
            g = over_white(g, alpha);
            b = over_white(b, alpha);
        }
        if (grey) {
            *to++ = kind <= PIXELS_GREY_ALPHA ? (uint8_t)r : luma(r, g, b);
        } else {
            *to++ = (uint8_t)r;
            *to++ = (uint8_t)g;
            *to++ = (uint8_t)b;
        }
    }
    fitter_row(d->fitter, d->line);
}

/* ---- EXIF: a TIFF file without a picture ---- */

static unsigned exif_number(const uint8_t *p, int bytes, bool big)
{
    unsigned v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (unsigned)p[i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

int exif_orientation(const uint8_t *exif, size_t bytes)
{
    enum { ORIENTATION = 0x112, SHORT = 3, ENTRY = 12 };
    if (bytes >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        bytes -= 6;
    }
    if (bytes < 8 || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return 1;
    const bool big = exif[0] == 'M';
    const size_t at = exif_number(exif + 4, 4, big);
    if (at > bytes - 2)
        return 1;
    const size_t n = exif_number(exif + at, 2, big);
    for (size_t i = 0; i < n && (i + 1) * ENTRY <= bytes - at - 2; i++) {
        const uint8_t *e = exif + at + 2 + i * ENTRY;
        if (exif_number(e, 2, big) != ORIENTATION)
            continue;
        const unsigned v = exif_number(e + 8, 2, big);
        return exif_number(e + 2, 2, big) == SHORT && v >= 1 && v <= 8 ? (int)v : 1;
    }
    return 1;
}
