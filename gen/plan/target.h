/* target.h - what code is emitted for: a row each, which all decisions that depend on a target read. */
#ifndef TARGET_H
#define TARGET_H

#include "graph.h"

typedef struct Target {
    const char *name;     /* as --target has it */
    const char *macro;    /* what a network's layout header defines: it chooses the header in runtime/vec */
    const char *flags;    /* of the compiler */
    const char *standard; /* of C: "c11" */
    bool (*here)(void);   /* whether this machine has it; `native` is the first that does */
    int registers;        /* vf that fit the register file */
    int parts;            /* registers that a vf takes */
    int lanes;            /* floats of a vh, the part of a vf that fits a register: VH of runtime/vec */
    int winograd_most;    /* rows times vectors of a Winograd tile at most; 0: what the register file has room for */
    int keeps;      /* a core for weights' gradients keeps its sums in registers from so many vectors on; 0: never */
    int asm_parts;  /* registers that a vf takes in the compiler's assembly; 0: convoy asm does not read it */
    bool asm_fused; /* it has fused multiply-adds */
} Target;
enum { NTARGETS = 4 };
extern const Target targets[NTARGETS + 1];   /* name NULL ends */
const Target *target_find(const char *name); /* "native" resolves to this machine's; NULL: unknown */

#endif
