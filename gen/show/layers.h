/* layers.h - what layers did in a training, out of its log's lines of --stats: a panel for each kind of figure, a row
 * for each stage, parameter or norm, a column for each epoch. */
#ifndef CONVOY_LAYERS_H
#define CONVOY_LAYERS_H

#include "base.h"

#include <jansson.h>

typedef struct Layers Layers;
/* Takes in a line of a log; one that is no line of --stats does nothing. *l: NULL at first. A later line of an epoch
 * takes the place of an earlier one, and of what came after that. */
void layers_take(Layers **l, const json_t *line);
int layers_panels(const Layers *l); /* how many there are; NULL has none */
const char *layers_title(const Layers *l, int panel);
/* A panel `width` wide, for a run that is called so and has that colour (the class c0, c1, ...); *height: its own. */
void layers_panel(const Layers *l, int panel, const char *run, int colour, int width, Buf *to, int *height);

/* Text as XML has it. */
void put_escaped(Buf *to, const char *text);

#endif
