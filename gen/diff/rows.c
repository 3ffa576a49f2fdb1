/* rows.c - rows and notes of a level. Rows that say the same of several layers are one.
 *
 * needs: the pairs of layers.  sets: level[].row, .note. */
#include "levels.h"

#include <string.h>

bool diff_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

void diff_note(const char ***list, int *n, const char *text)
{
    *PUSH(*list, *n) = text;
}

void diff_level_note(Diff *d, Level l, const char *text)
{
    diff_note(&d->level[l].note, &d->level[l].nnote, text);
}

static int pair_of(const Diff *d, const char *name, size_t len)
{
    char text[MAX_PATH_NAME + 32]; /* what is new has a number after its name */

    if (len >= sizeof text)
        return -1;
    memcpy(text, name, len);
    text[len] = '\0';
    return names_find(&d->pair_at, text) - 1;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The layer that a dotted word begins with, the longest that there is: its pair and the length of its name. */
static int layer_of(const Diff *d, const char *word, size_t len, size_t *used)
{
    for (size_t n = len; n > 0; n--)
        if (n == len || word[n] == '.') {
            const int i = pair_of(d, word, n);
            if (i >= 0) {
                *used = n;
                return i;
            }
        }
    return -1;
}

/* A text without the names of the layer that it is about and of the one before, so that what is said of several layers
 * reads the same. owners: with words for which of the two it is, where that is all that differs. */
static const char *plain(const Diff *d, const char *where, const char *text, bool owners)
{
    size_t used;
    int last = -1;
    const int own = where ? layer_of(d, where, strlen(where), &used) : -1;
    Buf b = {0};

    if (!text || own < 0)
        return text;
    buf_puts(&b, "");
    for (const char *c = text; *c;) {
        size_t len = 0;
        while (is_word(c[len]))
            len++;
        const int i = len ? layer_of(d, c, len, &used) : -1;
        if (i >= 0 && (i == own || i == own - 1)) {
            if (used < len && owners && i != last)
                buf_puts(&b, i == own ? "its own " : "the layer before's ");
            last = i;
            if (used < len)
                buf_add(&b, c + used + 1, len - used - 1);
            else
                buf_puts(&b, i == own ? "its layer" : "the layer before");
            c += len;
        } else if (len) {
            buf_add(&b, c, len);
            c += len;
        } else {
            buf_add(&b, c++, 1);
        }
    }
    return b.text;
}

void diff_row(Diff *d, Level l, const char *key, const char *where, const char *a, const char *b, const char *why)
{
    DiffLevel *level = &d->level[l];

    if (diff_same_text(a, b))
        return;
    const char *pa = plain(d, where, a, false), *pb = plain(d, where, b, false);
    if (diff_same_text(pa, pb)) {
        pa = plain(d, where, a, true);
        pb = plain(d, where, b, true);
    }
    if (diff_same_text(pa, pb)) {
        pa = a;
        pb = b;
    }
    for (int i = 0; where && i < level->nrow; i++) {
        DiffRow *r = &level->row[i];
        if (r->nwhere && strcmp(r->key, key) == 0 && diff_same_text(r->plain_a, pa) && diff_same_text(r->plain_b, pb) &&
            diff_same_text(r->why, why)) {
            r->a = r->plain_a;
            r->b = r->plain_b;
            *PUSH(r->where, r->nwhere) = where;
            return;
        }
    }
    DiffRow *r = PUSH(level->row, level->nrow);
    *r = (DiffRow){.key = key, .a = a, .b = b, .why = why, .plain_a = pa, .plain_b = pb};
    if (where)
        *PUSH(r->where, r->nwhere) = where;
}
