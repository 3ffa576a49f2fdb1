/* advice.h - a network's block as other libraries write it. */
#ifndef CONVOY_ADVICE_H
#define CONVOY_ADVICE_H

#include "graph.h"

/* A function block(i, o, s), of channels in and out and a stride, in Python: the network's first conv layer with a
 * norm. */
typedef struct Advice {
    const char *layer; /* which; NULL: there is none, and nothing below */
    const char *torch;
    const char *fastai, *keras; /* NULL: that library's block does not say this */
} Advice;
Advice advice(const Graph *g);

#endif
