/* png.c - PNG files, by libpng: read row by row (interlaced ones as a whole, within limits), and written. */
#include "decode.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

static void on_error(png_structp png, png_const_charp text)
{
    Decode *d = png_get_error_ptr(png);
    decode_why(d, "%s", text);
    longjmp(d->stop, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    Decode *d = png_get_error_ptr(png);
    (void)text;
    d->met |= MET_WARNED;
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    Decode *d = png_get_io_ptr(png);
    if (fread(to, 1, n, d->from) != n)
        png_error(png, "it is truncated");
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t n)
{
    (void)png;
    return xmalloc(n);
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

/* What all that libpng is asked to convert to: 8 bits, grey or RGB, with alpha where there is any. */
static void ask_for_bytes(Decode *d, png_structp png, png_infop info)
{
    const int colour = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png);
        d->met |= MET_PALETTE;
    } else if (depth < 8) {
        png_set_expand_gray_1_2_4_to_8(png);
        d->met |= MET_SHALLOW;
    }
    if (png_get_valid(png, info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(png);
    if (depth == 16) {
        png_set_strip_16(png);
        d->met |= MET_DEEP;
    }
}

/* After the head: all rows. Errors leave by on_error. */
static void read_rows(Decode *d, png_structp png, png_infop info)
{
    static const Pixels kinds[] = {PIXELS_GREY, PIXELS_GREY_ALPHA, PIXELS_RGB, PIXELS_RGBA};
    const int height = (int)png_get_image_height(png, info);
    ask_for_bytes(d, png, info);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const size_t bytes = png_get_rowbytes(png, info), kept = passes > 1 ? (size_t)height : 1;
    const Pixels kind = kinds[png_get_channels(png, info) - 1];
    if (bytes > MOST_WHOLE / kept)
        png_error(png, "it is interlaced, and too large for that: such a file must fit into 192 MB of memory");
    d->buffer = xmalloc(bytes * kept);
    memset(d->buffer, 0, bytes * kept);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < height; y++) {
            uint8_t *row = d->buffer + (passes > 1 ? (size_t)y * bytes : 0);
            png_read_row(png, row, NULL);
            if (pass == passes - 1)
                decode_row(d, row, kind);
        }
    png_read_end(png, NULL);
}

static int orientation_of(png_structp png, png_infop info)
{
    png_bytep exif = NULL;
    png_uint_32 bytes = 0;
    return png_get_eXIf_1(png, info, &bytes, &exif) && exif ? exif_orientation(exif, bytes) : 1;
}

bool png_decode(Decode *d)
{
    png_structp png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, d, on_error, on_warning, NULL, on_malloc, on_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    volatile bool ok = false;
    if (!info)
        BUG("libpng is of another version than its header");
    if (setjmp(d->stop) == 0) {
        png_set_read_fn(png, d, on_read);
        png_set_user_limits(png, MOST_SIDE, MOST_SIDE);
        png_set_chunk_cache_max(png, 100);
        png_set_chunk_malloc_max(png, 8 << 20);
        png_read_info(png, info);
        const int colour = png_get_color_type(png, info);
        ok = decode_head(d, png_get_image_width(png, info), png_get_image_height(png, info), orientation_of(png, info),
                         colour == PNG_COLOR_TYPE_GRAY || colour == PNG_COLOR_TYPE_GRAY_ALPHA);
        if (ok && d->r)
            read_rows(d, png, info);
    } else {
        ok = false;
    }
    png_destroy_read_struct(&png, &info, NULL);
    return ok;
}

/* ---- writing ---- */

static void on_write(png_structp png, png_bytep from, size_t n)
{
    buf_add(png_get_io_ptr(png), (const char *)from, n);
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void on_write_error(png_structp png, png_const_charp text)
{
    (void)png;
    BUG("a picture cannot be made: %s", text);
}

void image_png(Buf *to, const uint8_t *pixels, int channels, int height, int width)
{
    png_structp png =
        png_create_write_struct_2(PNG_LIBPNG_VER_STRING, NULL, on_write_error, NULL, NULL, on_malloc, on_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        BUG("libpng is of another version than its header");
    png_set_write_fn(png, to, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    png_write_info(png, info);
    for (int y = 0; y < height; y++)
        png_write_row(png, pixels + (size_t)y * (size_t)width * (size_t)channels);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}
