/* cvy_augment.c - see cvy_augment.h. SPDX-License-Identifier: 0BSD */
#include "cvy_augment.h"
#include "cvy_float.h"
#include "cvy_rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
const struct cvy_augment_word cvy_augment_words[CVY_AUGMENTS] = {
    [CVY_CROP]   = {"crop", "so many black pixels around the image, and a part of its size out of that", 1, 1, 1024, 1},
    [CVY_SHIFT]  = {"shift", "moved by up to this share of its height and width, black where nothing comes", 1, 0, 1, 0},
    [CVY_FLIP]   = {"flip", "left and right exchanged, every other time", 0, 1, 1, 1},
    [CVY_CUTOUT] = {"cutout", "a square of this side somewhere becomes the mean", 1, 1, 1024, 1},
    [CVY_MIXUP]  = {"mixup", "mixed with another image, which has a share drawn from Beta(a, a)", 1, 0, 1, 0},
};
/* clang-format on */

static int word_of(const char *name, size_t len)
{
    for (int i = 0; i < CVY_AUGMENTS; i++)
        if (strlen(cvy_augment_words[i].name) == len && memcmp(cvy_augment_words[i].name, name, len) == 0)
            return i;
    return -1;
}

/* One word of the list, in [text, end). */
static int read_word(struct cvy_augment *a, const char *text, const char *end, char *why, size_t room)
{
    const size_t len = (size_t)(end - text), name = strcspn(text, "(,") < len ? strcspn(text, "(,") : len;
    const int i = word_of(text, name);
    const int said = (int)(len < 40 ? len : 40);

    if (i < 0) {
        size_t at = (size_t)snprintf(why, room, "unknown augmentation '%.*s': it is one of", said, text);
        for (int k = 0; k < CVY_AUGMENTS && at < room; k++)
            at += (size_t)snprintf(why + at, room - at, "%s %s", k ? "," : "", cvy_augment_words[k].name);
        return 0;
    }
    const struct cvy_augment_word *w = &cvy_augment_words[i];
    double v = 1;
    char number[32] = "", *rest = number;
    if (a->by[i] != 0) {
        snprintf(why, room, "%s stands there twice", w->name);
        return 0;
    }
    if (w->takes && len > name + 2 && text[len - 1] == ')' && len - name - 2 < sizeof number) {
        memcpy(number, text + name + 1, len - name - 2);
        v = strspn(number, "0123456789.") == strlen(number) ? strtod(number, &rest) : 0;
    }
    const int fits = w->takes
                         ? rest != number && !*rest && v >= w->lo && v <= w->hi && v > 0 && (!w->whole || v == floor(v))
                         : len == name;
    if (!fits && w->takes)
        snprintf(why, room, "'%.*s': %s takes a %snumber from %.10g to %.10g, as %s(%s)", said, text, w->name,
                 w->whole ? "whole " : "", w->lo, w->hi, w->name, w->whole ? "4" : "0.1");
    else if (!fits)
        snprintf(why, room, "'%.*s': %s takes no number", said, text, w->name);
    a->by[i] = fits ? v : 0;
    return fits;
}

int cvy_augment_read(struct cvy_augment *a, const char *text, char *why, size_t room)
{
    memset(a, 0, sizeof *a);
    if (!*text || strcmp(text, "none") == 0)
        return 1;
    for (;;) {
        text += strspn(text, " ");
        const char *comma = text + strcspn(text, ","), *end = comma;
        while (end > text && end[-1] == ' ')
            end--;
        if (!read_word(a, text, end, why, room))
            return 0;
        if (!*comma)
            return 1;
        text = comma + 1;
    }
}

void cvy_augment_write(const struct cvy_augment *a, char text[CVY_AUGMENT_TEXT])
{
    size_t at = 0;
    *text = '\0';
    for (int i = 0; i < CVY_AUGMENTS; i++) {
        const struct cvy_augment_word *w = &cvy_augment_words[i];
        if (a->by[i] != 0 && w->takes)
            at += (size_t)snprintf(text + at, CVY_AUGMENT_TEXT - at, "%s%s(%.9g)", at ? ", " : "", w->name, a->by[i]);
        else if (a->by[i] != 0)
            at += (size_t)snprintf(text + at, CVY_AUGMENT_TEXT - at, "%s%s", at ? ", " : "", w->name);
    }
}

int cvy_augments(const struct cvy_augment *a)
{
    int any = 0;
    for (int i = 0; i < CVY_AUGMENTS; i++)
        any |= a->by[i] != 0;
    return any;
}

int cvy_augments_pixels(const struct cvy_augment *a)
{
    struct cvy_augment rest = *a;
    rest.by[CVY_MIXUP] = 0;
    return cvy_augments(&rest);
}

/* Beta(a, a) by Joehnk's way, in logarithms, as u^(1/a) of a small a is no number any more: of two such powers whose
 * sum is at most 1, the share of one. For a up to 1 it takes two pairs at most in the mean. */
struct cvy_mix cvy_augment_mix(const struct cvy_augment *a, int n, uint64_t seed, uint64_t epoch, uint64_t image)
{
    enum { TRIES = 64 }; /* all of them fail once in 2^64 */
    const uint64_t stream = cvy_name_hash("convoy mixup") + epoch;
    struct cvy_mix mix = {0, 0.5f};
    uint32_t w[4];

    for (int k = 0; k < TRIES; k++) {
        cvy_draw4(seed, stream, image * (TRIES + 1) + (uint64_t)k, w);
        const double x = log(1 - cvy_unit(w[0], w[1])) / a->by[CVY_MIXUP],
                     y = log(1 - cvy_unit(w[2], w[3])) / a->by[CVY_MIXUP], most = x > y ? x : y,
                     sum = exp(x - most) + exp(y - most);
        if (most + log(sum) > 0)
            continue;
        mix.share = (float)(exp(x - most) / sum);
        break;
    }
    cvy_draw4(seed, stream, image * (TRIES + 1) + TRIES, w);
    mix.other = (int)((uint64_t)w[0] * (uint64_t)n >> 32);
    return mix;
}

/* A whole number from -by to by. */
static int spread(uint32_t word, int by)
{
    return (int)((uint64_t)word * (2 * (uint64_t)by + 1) >> 32) - by;
}

static int clamp(int v, int hi)
{
    return v < 0 ? 0 : v > hi ? hi : v;
}

struct cvy_view cvy_augment_draw(const struct cvy_augment *a, int height, int width, uint64_t seed, uint64_t epoch,
                                 uint64_t image)
{
    const uint64_t stream = cvy_name_hash("convoy augment") + epoch;
    const int crop = (int)a->by[CVY_CROP], side = (int)a->by[CVY_CUTOUT];
    struct cvy_view v = {0};
    uint32_t w[8];

    cvy_draw4(seed, stream, 2 * image, w);
    cvy_draw4(seed, stream, 2 * image + 1, w + 4);
    if (height > 1) /* an image of one dimension moves along its length */
        v.dy = spread(w[0], crop) + spread(w[2], (int)floor(a->by[CVY_SHIFT] * height + 0.5));
    if (width > 1)
        v.dx = spread(w[1], crop) + spread(w[3], (int)floor(a->by[CVY_SHIFT] * width + 0.5));
    v.flip = a->by[CVY_FLIP] != 0 && w[4] >> 31;
    if (side > 0) {
        const int y = (int)((uint64_t)w[5] * (uint64_t)height >> 32) - side / 2,
                  x = (int)((uint64_t)w[6] * (uint64_t)width >> 32) - side / 2;
        v.hole[0] = clamp(y, height);
        v.hole[1] = clamp(y + side, height);
        v.hole[2] = clamp(x, width);
        v.hole[3] = clamp(x + side, width);
    }
    return v;
}
