/* labels.h - --labels: a table that says which file is of which class. */
#ifndef CONVOY_LABELS_H
#define CONVOY_LABELS_H

#include "import.h"

typedef struct Labels Labels;
/* Reads the table; classes are added to m. NULL after a message. To be ended by labels_end. */
Labels *labels_read(Import *m);
/* The class of a file by its path below SRC, its name, or either without the ending; -1 where the table has none. */
int labels_find(Labels *l, const char *path);
void labels_end(Import *m, Labels *l); /* and what was not found is said */

#endif
