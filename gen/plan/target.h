/* target.h - what code is emitted for. */
#ifndef TARGET_H
#define TARGET_H

#include "graph.h"

typedef enum TargetKind { TARGET_AVX512, TARGET_AVX2, TARGET_NEON, TARGET_PORTABLE } TargetKind;
typedef struct Target {
    TargetKind kind;
    const char *name, *macro, *flags;
    int registers; /* vf that fit the register file */
    int parts;     /* registers that a vf takes */
} Target;
extern const Target targets[];               /* by TargetKind; name NULL ends */
const Target *target_find(const char *name); /* "native" resolves to this machine's; NULL: unknown */

#endif
