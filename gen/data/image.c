/* image.c - one image file becomes one row of a set; which kind of file it is, by its content. */
#include "image.h"
#include "decode.h"
#include "runtime.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const met_words[MET_KINDS] = {
    "turned upright, as their EXIF data say",
    "with transparency: laid over white",
    "of 16 bits a channel: the upper 8 are kept",
    "with a palette: its colours are taken",
    "of 1, 2 or 4 bits a pixel: spread over 0 to 255",
    "of another size: resized",
    "in printing inks (CMYK): turned into red, green and blue",
    "in colour: turned into grey",
    "grey: the same value as red, green and blue",
    "with an oddity that does no harm (bytes that belong to nothing, a bad note)",
    "damaged: the part that can be read is kept",
};

/* ---- what a file is ---- */

/* What begins so; NULL: anything. */
static const struct Kind {
    const char *begin;
    size_t len, at;
    const char *what;
    bool (*decode)(Decode *d);
} kinds[] = {
    {"\x89PNG\r\n\x1a\n", 8, 0, "a PNG file", png_decode},
    {"\xff\xd8\xff", 3, 0, "a JPEG file", jpeg_decode},
    {"GIF8", 4, 0, "a GIF file", NULL},
    {"WEBP", 4, 8, "a WebP file", NULL},
    {"BM", 2, 0, "a BMP file", NULL},
    {"II*\0", 4, 0, "a TIFF file", NULL},
    {"MM\0*", 4, 0, "a TIFF file", NULL},
    {"ftypavif", 8, 4, "an AVIF file", NULL},
    {"ftyphei", 7, 4, "a HEIC file", NULL},
    {"ftypmif1", 8, 4, "a HEIC file", NULL},
    {"\0\0\0\x0cjP  ", 8, 0, "a JPEG 2000 file", NULL},
    {"%PDF", 4, 0, "a PDF file", NULL},
    {"<svg", 4, 0, "an SVG file", NULL},
    {"<?xml", 5, 0, "an XML file", NULL},
    {"<!DOCTYPE", 9, 0, "a web page", NULL},
    {"<!doctype", 9, 0, "a web page", NULL},
    {"<html", 5, 0, "a web page", NULL},
    {"PK\3\4", 4, 0, "a zip archive", NULL},
};

/* The kind of an open file, which is then at its beginning again; NULL and why where it cannot be read. */
static const struct Kind *kind_of(FILE *from, char why[IMAGE_WHY])
{
    char head[16] = "";
    const size_t n = fread(head, 1, sizeof head, from);
    rewind(from);
    if (n == 0) {
        snprintf(why, IMAGE_WHY, "it is empty");
        return NULL;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct Kind *k = &kinds[i];
        if (n < k->at + k->len || memcmp(head + k->at, k->begin, k->len) != 0)
            continue;
        if (k->decode)
            return k;
        snprintf(why, IMAGE_WHY, "it is %s; PNG and JPEG are read", k->what);
        return NULL;
    }
    snprintf(why, IMAGE_WHY, "it is no image; PNG and JPEG are read");
    return NULL;
}

static bool decode(Decode *d)
{
    const struct Kind *k = kind_of(d->from, d->why);
    bool ok = k && k->decode(d);
    if (k && !ok && d->r && d->r->keep_truncated && d->rows > 0) {
        d->met |= MET_DAMAGED;
        ok = true;
    }
    if (d->fitter)
        fitter_end(d->fitter);
    free(d->line);
    free(d->buffer);
    return ok;
}

bool image_head(FILE *from, ImageHead *head, char why[IMAGE_WHY])
{
    Decode *d = xmalloc(sizeof *d);
    *d = (Decode){.from = from, .why = why};
    const bool ok = decode(d);
    *head = d->head;
    free(d);
    return ok;
}

bool image_import(const Recipe *r, FILE *from, uint8_t *row, unsigned *met, char why[IMAGE_WHY])
{
    Decode *d = xmalloc(sizeof *d);
    *d = (Decode){.from = from, .r = r, .out = row, .why = why};
    const bool ok = decode(d);
    *met = d->met;
    free(d);
    return ok;
}

/* ---- recipes ---- */

char *recipe_text(const Recipe *r)
{
    return xprintf("{\"channels\":%d,\"height\":%d,\"width\":%d,\"fit\":\"%s\",\"resize\":\"box\",\"alpha\":\"white\","
                   "\"truncated\":\"%s\"}",
                   r->channels, r->height, r->width, fit_words[r->fit], r->keep_truncated ? "keep" : "refuse");
}

/* A whole number of an object, within limits; false where it is not that. */
static bool whole(const json_t *o, const char *name, int most, int *out)
{
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > most)
        return false;
    *out = (int)json_integer_value(v);
    return true;
}

static bool says(const json_t *o, const char *name, const char *word)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s && strcmp(s, word) == 0;
}

bool recipe_read(Recipe *r, const char *text)
{
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    Recipe read = {0};
    int fit = 0;
    bool ok = whole(o, "channels", 3, &read.channels) && read.channels != 2 &&
              whole(o, "height", MOST_SIDE, &read.height) && whole(o, "width", MOST_SIDE, &read.width) &&
              says(o, "resize", "box") && says(o, "alpha", "white") &&
              (says(o, "truncated", "keep") || says(o, "truncated", "refuse"));
    while (ok && fit_words[fit] && !says(o, "fit", fit_words[fit]))
        fit++;
    ok = ok && fit_words[fit] && (int64_t)read.height * read.width <= MOST_PIXELS;
    if (ok) {
        read.fit = (Fit)fit;
        read.keep_truncated = says(o, "truncated", "keep");
        *r = read;
    }
    json_decref(o);
    return ok;
}
