/* twin.h - the network as a PyTorch module. */
#ifndef CONVOY_TWIN_H
#define CONVOY_TWIN_H

#include "graph.h"

/* The network as a PyTorch module with the same parameter names (Python source). */
void twin_write(const Graph *g, Buf *to);
/* The module that the row of a norm or an activation names. rank: of what it reads, with the batch; channels: of a
 * norm's input, a number or a name in Python. */
void twin_row(const Op *op, int rank, const char *channels, Buf *to);
/* Any text of the op's row, as that is written: its {NAME}s filled in. */
void twin_text(const char *text, const Op *op, int rank, const char *channels, Buf *to);

#endif
