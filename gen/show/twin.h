/* twin.h - the network as a PyTorch module. */
#ifndef CONVOY_TWIN_H
#define CONVOY_TWIN_H

#include "graph.h"

/* The network as a PyTorch module with the same parameter names (Python source). */
void twin_write(const Graph *g, Buf *to);

#endif
