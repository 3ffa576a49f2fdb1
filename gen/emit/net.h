/* net.h - what the files that tie the layers together share: layout.c, place.c, infer_calls.c, net.c. */
#ifndef NET_H
#define NET_H

#include "emit.h"

typedef struct Net {
    const Plan *p;
    const Graph *g;
    Parts parts;
    const char *name, *NAME;
    Rec *rec;
    struct NetPlace *placing;
} Net;

/* What places kernels and norms, a part of them at a time: compilers take long over one long function. */
typedef struct NetPlace {
    Rec *part; /* of rec, where the next struct goes */
    int parts, structs;
} NetPlace;

/* layout.c. */
void net_offset(Rec *to, const char *list, const char *name, int64_t at, const char *doc);
/* "SMALL_CONV1_CONV_STORED", "SMALL_CONV1_CONV_ROUTE0" */
const char *slot_name(const Net *n, const Tensor *nd, int index, const char *what);
/* Where an image norm's statistics of each image lie. */
const char *kept_slot(const Net *n, int op);
const char *stored_slot(const Net *n, const Tensor *nd);
const char *matrix_slot(const Net *n, const Kernel *k, Matrix which);
void layout_params(const Net *n);
void layout_slots(const Net *n);
void layout_totals(const Net *n);
void layout_tensors(const Net *n);

/* place.c. */
void net_line(Rec *to, const char *list, const char *text);
void net_decl(Rec *k, const char *list, const char *text);
const char *norm_name(const Net *n, int op);
const char *stats_name(const Net *n, const Tensor *nd);
void place_kernel(const Net *n, const Kernel *k, Rec *r);
void place_norms(const Net *n);
/* Statistics of the tensors that norms read. */
void place_statistics(const Net *n);
void place_folds(const Net *n);

#endif
