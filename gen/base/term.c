/* term.c - what a terminal is like: its width, whether it takes colours; and text that fits its width. */
#define _DEFAULT_SOURCE /* struct winsize */
#include "term.h"
#include "numbers.h"
#include "runtime.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LEAST = 40, MOST = 1000 };

static const char *colour_when = "auto";

int term_columns(FILE *to, int usual)
{
    const char *said = getenv("COLUMNS");
    struct winsize size;
    int64_t n;
    if (!said || !text_int(said, &n) || n < 1)
        n = ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual;
    return n < LEAST ? LEAST : n > MOST ? MOST : (int)n;
}

void term_colour_when(const char *when)
{
    colour_when = when ? when : "auto";
    cvy_coloured = strcmp(colour_when, "always") == 0 ? 1 : strcmp(colour_when, "never") == 0 ? 0 : -1;
}

bool term_colour(FILE *to)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if (strcmp(colour_when, "auto") != 0)
        return strcmp(colour_when, "always") == 0;
    return isatty(fileno(to)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

static void put_spaces(Buf *to, int n)
{
    while (n-- > 0)
        buf_puts(to, " ");
}

void term_wrap(Buf *to, const char *text, int hang, int columns)
{
    int at = 0;
    for (const char *s = text; *s;) {
        const int space = (int)strspn(s, " "), word = (int)strcspn(s + space, " ");
        if (at && word && hang < at + space && at + space + word > columns) {
            buf_puts(to, "\n");
            put_spaces(to, at = hang);
        } else {
            buf_add(to, s, (size_t)space);
            at += space;
        }
        buf_add(to, s + space, (size_t)word);
        at += word;
        s += space + word;
    }
}

/* Where a line goes on: below the text after a gap of two blanks or more, as of "  --word   text"; else where it
 * began. */
static int hang_of(const char *line, int columns)
{
    const int indent = (int)strspn(line, " ");
    const char *gap = strstr(line + indent, "  ");
    const int hang = gap ? (int)(gap - line) + (int)strspn(gap, " ") : indent;
    return hang <= columns / 2 ? hang : indent + 4; /* little room is left below it */
}

void term_help(FILE *to, const char *text)
{
    const int columns = term_columns(to, TERM_USUAL);
    Buf b = {0};
    while (*text) {
        const size_t len = strcspn(text, "\n");
        const char *line = xstrndup(text, len);
        term_wrap(&b, line, hang_of(line, columns), columns);
        text += len;
        if (*text)
            buf_add(&b, text++, 1);
    }
    if (b.len)
        fwrite(b.text, 1, b.len, to);
}

const char *term_shorten(const char *name, int width)
{
    const int len = (int)strlen(name), keep = width - 2;
    if (len <= width || keep < 2)
        return name;
    return xprintf("%.*s..%s", keep / 2, name, name + len - (keep - keep / 2));
}
