/* levels.h - what the files that fill in the levels share: rows.c, spec_level.c, graph_level.c, plan_level.c,
 * cost_level.c, levels.c. */
#ifndef LEVELS_H
#define LEVELS_H

#include "diff.h"

/* rows.c */
bool diff_same_text(const char *a, const char *b); /* NULL equals NULL alone */
void diff_level_note(Diff *d, Level l, const char *text);

/* spec_level.c */
void diff_spec_level(Diff *d);
int diff_other_half(const Diff *d,
                    int i); /* the pair on whose other side a layer of pair i's name stands alone, too; -1 */

/* graph_level.c */
void diff_graph_level(Diff *d);

/* plan_level.c */
void diff_plan_level(Diff *d);
void diff_infer_level(Diff *d);
const char *diff_identical(const Diff *d); /* which kernels are byte-identical, for people */

/* cost_level.c */
void diff_cost_level(Diff *d);
void diff_arena_costs(Diff *d);                                    /* as the plans say, or of folders the headers */
void diff_text_costs(Diff *d);                                     /* files and lines */
const OutFile *diff_file_named(const OutDir *o, const char *name); /* NULL: there is none */
const char *diff_header_of(const OutDir *o, const char **name);    /* the text of the network's header; NULL: none */

#endif
