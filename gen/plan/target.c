/* target.c - what code is emitted for: the rows. docs/porting.md says what a new one takes. */
#include "target.h"

#include <string.h>

static bool has_avx512(void)
{
#if defined __x86_64__ && defined __GNUC__
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#else
    return false;
#endif
}

static bool has_avx2(void)
{
#if defined __x86_64__ && defined __GNUC__
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_neon(void)
{
#if defined __aarch64__
    return true;
#else
    return false;
#endif
}

static bool any(void)
{
    return true;
}

/* portable: asm_parts are of gcc's and clang's own vectors of 16 bytes. */
const Target targets[NTARGETS + 1] = {
    {.name = "avx512",
     .macro = "CVY_AVX512",
     .flags = "-mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma",
     .standard = "c11",
     .here = has_avx512,
     .registers = 32,
     .parts = 1,
     .lanes = 16,
     .keeps = 2,
     .asm_parts = 1,
     .asm_fused = true},
    {.name = "avx2",
     .macro = "CVY_AVX2",
     .flags = "-mavx2 -mfma",
     .standard = "c11",
     .here = has_avx2,
     .registers = 8,
     .parts = 2,
     .lanes = 8,
     .keeps = 1,
     .asm_parts = 2,
     .asm_fused = true},
    {.name = "neon",
     .macro = "CVY_NEON",
     .flags = "",
     .standard = "c11",
     .here = has_neon,
     .registers = 8,
     .parts = 4,
     .lanes = 4},
    {.name = "portable",
     .macro = "CVY_PORTABLE",
     .flags = "",
     .standard = "c99",
     .here = any,
     .registers = 8,
     .parts = 2,
     .lanes = 16,
     .winograd_most = 3,
     .asm_parts = 4},
    {0},
};

const Target *target_find(const char *name)
{
    const bool native = strcmp(name, "native") == 0;

    for (const Target *t = targets; t->name; t++)
        if (native ? t->here() : strcmp(t->name, name) == 0)
            return t;
    return NULL;
}
