/* unseen.c - characters of a spec that one does not see: odd spaces, marks of no width, line ends that only some
 * programs know.
 *
 * needs: the text of a spec.  sets: a text for libyaml, in which lines end where YAML 1.2 ends them; or an error for
 * each such character outside of comments. In a comment they do no harm. */
#include "read.h"

#include <string.h>

typedef enum Unseen { SPACE, NO_WIDTH, DIRECTION, LINE_END } Unseen;

static const struct {
    unsigned first, last;
    Unseen kind;
    const char *name;
} unseen[] = {
    {0x85, 0x85, LINE_END, "next line"},
    {0xa0, 0xa0, SPACE, "no-break space"},
    {0xad, 0xad, NO_WIDTH, "soft hyphen"},
    {0x61c, 0x61c, DIRECTION, "Arabic letter mark"},
    {0x1680, 0x1680, SPACE, "Ogham space mark"},
    {0x180e, 0x180e, NO_WIDTH, "Mongolian vowel separator"},
    {0x2000, 0x200a, SPACE, "a space of another width"},
    {0x200b, 0x200b, NO_WIDTH, "zero-width space"},
    {0x200c, 0x200c, NO_WIDTH, "zero-width non-joiner"},
    {0x200d, 0x200d, NO_WIDTH, "zero-width joiner"},
    {0x200e, 0x200e, DIRECTION, "left-to-right mark"},
    {0x200f, 0x200f, DIRECTION, "right-to-left mark"},
    {0x2028, 0x2028, LINE_END, "line separator"},
    {0x2029, 0x2029, LINE_END, "paragraph separator"},
    {0x202a, 0x202a, DIRECTION, "left-to-right embedding"},
    {0x202b, 0x202b, DIRECTION, "right-to-left embedding"},
    {0x202c, 0x202c, DIRECTION, "pop directional formatting"},
    {0x202d, 0x202d, DIRECTION, "left-to-right override"},
    {0x202e, 0x202e, DIRECTION, "right-to-left override"},
    {0x202f, 0x202f, SPACE, "narrow no-break space"},
    {0x205f, 0x205f, SPACE, "medium mathematical space"},
    {0x2060, 0x2060, NO_WIDTH, "word joiner"},
    {0x2061, 0x2064, NO_WIDTH, "an invisible operator"},
    {0x2066, 0x2066, DIRECTION, "left-to-right isolate"},
    {0x2067, 0x2067, DIRECTION, "right-to-left isolate"},
    {0x2068, 0x2068, DIRECTION, "first strong isolate"},
    {0x2069, 0x2069, DIRECTION, "pop directional isolate"},
    {0x206a, 0x206f, DIRECTION, "a control of shapes or direction"},
    {0x2800, 0x2800, SPACE, "blank Braille pattern"},
    {0x3000, 0x3000, SPACE, "ideographic space"},
    {0x3164, 0x3164, SPACE, "Hangul filler"},
    {0xfe00, 0xfe0f, NO_WIDTH, "variation selector"},
    {0xfeff, 0xfeff, NO_WIDTH, "byte order mark"},
    {0xe0000, 0xe007f, NO_WIDTH, "a tag character"},
};
enum { NUNSEEN = sizeof unseen / sizeof *unseen };

static const char *const mend[] = {
    [SPACE] = "write a plain space there",
    [NO_WIDTH] = "delete it: it has no width, but it counts",
    [DIRECTION] = "delete it: it makes text look other than it is",
    [LINE_END] = "YAML ends no line there: write a line feed, or delete it",
};

/* The row of a character, or -1. */
static int row_of(unsigned c)
{
    for (int i = 0; c >= unseen[0].first && i < NUNSEEN; i++)
        if (c >= unseen[i].first && c <= unseen[i].last)
            return i;
    return -1;
}

/* Where a reader of YAML is: enough of it to tell a comment from other text. */
typedef struct Place {
    bool comment, escaped;
    char quote;  /* the one that is open, or 0 */
    char before; /* the character before; a line feed at the start */
} Place;

static void step(Place *at, char c, char after)
{
    const bool begins = strchr(" \t\r\n", at->before) != NULL;
    if (at->comment) {
        at->comment = c != '\n' && c != '\r';
    } else if (at->escaped) {
        at->escaped = false;
    } else if (at->quote) {
        at->escaped = (at->quote == '"' && c == '\\') || (at->quote == '\'' && c == '\'' && after == '\'');
        if (c == at->quote && !at->escaped)
            at->quote = 0;
    } else if (c == '#') {
        at->comment = begins;
    } else if ((c == '"' || c == '\'') && (begins || strchr("[{,:", at->before))) {
        at->quote = c;
    }
    at->before = c;
}

const char *unseen_check(const char *text, size_t len, Mark base)
{
    Place at = {.before = '\n'};
    Mark m = {base.line, base.col, 1};
    char *plain = xstrndup(text, len);
    const int errors = diag_errors();
    unsigned last = 0;
    for (size_t i = 0; i < len;) {
        int n;
        const unsigned c = utf8_next(text + i, text + len, &n);
        const int row = row_of(c);
        if (row >= 0 && !at.comment && c != last) /* a run of them is said once */
            diag_error(m, mend[unseen[row].kind], "an invisible character: U+%04X %s", c, unseen[row].name);
        if (row >= 0 && at.comment &&
            unseen[row].kind == LINE_END) /* libyaml would end the comment: a character of as many bytes instead */
            memcpy(plain + i, n == 2 ? "\xc2\xb7" : "\xe2\x80\xa7", (size_t)n);
        last = c;
        for (int k = 0; k < n; k++, i++)
            step(&at, text[i], i + 1 < len ? text[i + 1] : '\0');
        mark_step(&m, text + i - n, text + len);
    }
    return diag_errors() > errors ? NULL : plain;
}
