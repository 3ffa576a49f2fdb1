/* term.h - what a terminal is like: its width, whether it takes colours. */
#ifndef CONVOY_TERM_H
#define CONVOY_TERM_H

#include "base.h"

enum { TERM_USUAL = 80 };

/* Columns that a line may have: COLUMNS of the environment, else the terminal's, else `usual`. 40 at the least. */
int term_columns(FILE *to, int usual);
/* Whether text for `to` may be coloured: as term_colour_when() said; else on a terminal, where neither NO_COLOR nor
 * TERM=dumb speaks against it. */
bool term_colour(FILE *to);
void term_colour_when(const char *when); /* --color: "always", "never"; "auto" or NULL: see above */
/* The text in at most `columns` columns: lines break at spaces, and go on below `hang` spaces. */
void term_wrap(Buf *to, const char *text, int hang, int columns);
/* A help text: each of its lines wrapped; one that begins "  --word   text" goes on below the text. Printed to `to`. */
void term_help(FILE *to, const char *text);
/* A name in at most `width` characters: what is too much is left out in the middle. */
const char *term_shorten(const char *name, int width);

#endif
