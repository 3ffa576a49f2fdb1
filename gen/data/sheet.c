/* sheet.c - see sheet.h. */
#include "sheet.h"
#include "image.h"

#include <stdlib.h>
#include <string.h>

enum {
    GAP = 4,
    LEAST_SIDE = 96, /* smaller pictures are enlarged */
    USUAL_WIDTH = 1000,
    MOST_BYTES = 64 << 20,
    STEP = FONT_WIDE + 1,
    LINE = FONT_HIGH + 3,
};

typedef struct Canvas {
    uint8_t *pixel; /* height x width x 3 */
    int width, times;
} Canvas;

static void put_pixel(const Canvas *c, int y, int x, int channel, uint8_t v)
{
    c->pixel[((size_t)y * (size_t)c->width + (size_t)x) * 3 + (size_t)channel] = v;
}

static uint8_t to_byte(float v)
{
    return v >= 1 ? 255 : v > 0 ? (uint8_t)(255 * v + 0.5f) : 0; /* NaN: black */
}

static void put_picture(const Canvas *c, const Sheet *s, int number, int top, int left)
{
    const size_t plane = (size_t)s->height * (size_t)s->width;
    const float *const x = s->x + (size_t)number * plane * (size_t)s->channels;

    for (int i = 0; i < s->height * c->times; i++)
        for (int k = 0; k < s->width * c->times; k++)
            for (int channel = 0; channel < 3; channel++) {
                const size_t at = (size_t)(i / c->times) * (size_t)s->width + (size_t)(k / c->times);
                put_pixel(c, top + i, left + k, channel,
                          to_byte(x[(s->channels >= 3 ? (size_t)channel : 0) * plane + at]));
            }
}

/* Words in black, cut where they are wider than `room` pixels; a cut word ends in "..". */
static void put_words(const Canvas *c, const char *words, int top, int left, int room)
{
    const size_t fits = (size_t)(room / STEP), n = strlen(words);

    for (size_t i = 0; i < n && i < fits; i++) {
        const unsigned char *const glyph = font_glyph(n > fits && i + 2 >= fits ? '.' : words[i]);
        for (int x = 0; x < FONT_WIDE; x++)
            for (int y = 0; y < FONT_HIGH; y++)
                for (int channel = 0; channel < 3 && glyph[x] >> y & 1; channel++)
                    put_pixel(c, top + y, left + (int)i * STEP + x, channel, 0);
    }
}

bool sheet_draw(const Sheet *s, Buf *png)
{
    const int side = s->width > s->height ? s->width : s->height, times = side < LEAST_SIDE ? LEAST_SIDE / side : 1;
    const int64_t wide = (int64_t)s->width * times + GAP, high = (int64_t)s->height * times + GAP + s->lines * LINE;
    const int64_t usual = wide < USUAL_WIDTH ? USUAL_WIDTH / wide : 1, across = usual < s->n ? usual : s->n;
    const int64_t width = across * wide + GAP, height = (s->n + across - 1) / across * high + GAP;

    if (width > INT32_MAX / 3 || height > MOST_BYTES / (3 * width))
        return false;
    const Canvas c = {xmalloc((size_t)(width * height) * 3), (int)width, times};
    memset(c.pixel, 255, (size_t)(width * height) * 3);
    for (int i = 0; i < s->n; i++) {
        const int top = (int)(GAP + i / across * high), left = (int)(GAP + i % across * wide);
        put_picture(&c, s, i, top, left);
        for (int k = 0; k < s->lines; k++)
            if (s->words[i][k])
                put_words(&c, s->words[i][k], top + s->height * times + 2 + k * LINE, left, s->width * times);
    }
    image_png(png, c.pixel, 3, (int)height, (int)width);
    free(c.pixel);
    return true;
}
