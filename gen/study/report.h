/* report.h - an Analysis for people and programs. The same analysis, the same bytes. */
#ifndef CONVOY_REPORT_H
#define CONVOY_REPORT_H

#include "analyse.h"

/* The verdict in one sentence, with what stands before it: that it is interim, that a control failed. */
const char *headline(const Analysis *a);
/* How often somebody looked, and by which interval this is judged. */
const char *looks_text(const Analysis *a);
const char *score_text(const Study *s); /* "accuracy"; of classes of different size another one */
const char *rows_text(const Study *s);  /* "10000 test rows" */
/* The primary pair's other interval in a sentence: of folds for these very rows, of a fixed test set for other rows
 * like these. NULL where there is none. */
const char *scope_text(const Analysis *a);
/* The verdict in a few words that name who is better. */
const char *answer_text(const Study *s, const Comparison *c);
const char *pair_text(const Study *s, Pair p); /* "after - before" */
void report_text(const Analysis *a, FILE *to);
const char *report_json(const Analysis *a);
/* What a page says besides, below the verdict. */
typedef struct PagePart {
    const char *title, *text; /* text: a paragraph, or lines as they are */
    bool lines;
} PagePart;
/* Every comparison as a picture that needs nothing else. */
const char *report_svg(const Analysis *a);                                    /* page.c */
const char *report_html(const Analysis *a, const PagePart *part, int nparts); /* page.c */

#endif
