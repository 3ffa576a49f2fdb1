/* target.h - the vectors of the target that is chosen. What convoy emits has one of these headers in this one's place.
 * SPDX-License-Identifier: 0BSD */

#if defined CVY_AVX512
#include "avx512.h"
#elif defined CVY_AVX2
#include "avx2.h"
#elif defined CVY_NEON
#include "neon.h"
#elif defined CVY_PORTABLE
#include "portable.h"
#else
#error "no target: define CVY_AVX512, CVY_AVX2, CVY_NEON or CVY_PORTABLE"
#endif
