/* target.c - what code is emitted for. */
#include "target.h"

#include <string.h>

const Target targets[] = {
    [TARGET_AVX512] = {TARGET_AVX512, "avx512", "CVY_AVX512", "-mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma", 32,
                       1},
    [TARGET_AVX2] = {TARGET_AVX2, "avx2", "CVY_AVX2", "-mavx2 -mfma", 8, 2},
    [TARGET_NEON] = {TARGET_NEON, "neon", "CVY_NEON", "", 8, 4},
    [TARGET_PORTABLE] = {TARGET_PORTABLE, "portable", "CVY_PORTABLE", "", 8, 2},
    {0},
};

const Target *target_find(const char *name)
{
    if (strcmp(name, "native") == 0) {
#if defined __x86_64__ && defined __GNUC__
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
            return &targets[TARGET_AVX512];
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            return &targets[TARGET_AVX2];
#elif defined __aarch64__
        return &targets[TARGET_NEON];
#endif
        return &targets[TARGET_PORTABLE];
    }
    for (const Target *t = targets; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}
