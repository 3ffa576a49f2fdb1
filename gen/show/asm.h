/* asm.h - what a compiler made of an emitted core. */
#ifndef CONVOY_ASM_H
#define CONVOY_ASM_H

#include "graph.h"

/* An innermost loop with multiply-adds, and the loop of the core's header that it comes from. */
typedef struct AsmLoop {
    const char *function; /* in the assembly */
    const char *core;     /* function of the header */
    int line;             /* in the header: where the loop begins */
    int from, to;         /* lines of the assembly, the label and the jump among them */
    int instructions, fma, loads, stores;
    int stack, spills;        /* instructions that read or write the stack; those of vectors among them */
    int want_fma, want_loads; /* of the header's text, of two steps where the compiler made one of them; 0: not known */
    int alike;                /* so many loops of the same header function have the same counts */
} AsmLoop;

typedef struct AsmText {
    const char **line;
    int n;
    AsmLoop
        *loop; /* by multiply-adds, the most first, those last whose text is not known; loops that are alike are one */
    int nloop;
} AsmText;

/* Reads x86 assembly (AT&T) that was made with -g. header: the core's text, whose functions begin with `prefix` where
 * they are of the pass that is asked for; functions: how symbols end that run it, NULL-terminated; parts: registers of
 * a vf; fused: whether the target has fused multiply-adds, else a multiplication counts as one. */
AsmText asm_read(const char *text, const char *header_name, const char *header, const char *prefix,
                 const char *const *functions, int parts, bool fused);

#endif
