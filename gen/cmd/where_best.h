/* where_best.h - what `convoy where` gives besides its verdict. */
#ifndef CONVOY_WHERE_BEST_H
#define CONVOY_WHERE_BEST_H

#include "commands.h"
#include "plan_study.h"

/* Once the planned rounds are whole: writes FOLDER/best.yaml, trains FOLDER/best.safetensors, times both orders, and
 * puts all that, with lines for other libraries, onto the page and, without --json, onto the terminal. Before: nothing.
 * False after a message. */
bool where_best(const StudyFile *f, const Options *o, const char *folder, int at_once);

#endif
