/* cvy_vec.h - the vector of emitted kernels: `vf`, the 16 floats of one channel block at one pixel, and the stage
 * functions on it. Forward and backward call the same functions, so that a mask that is computed again equals the
 * first one to the bit.
 *
 * A network's layout header defines one of CVY_AVX512, CVY_AVX2, CVY_NEON, CVY_PORTABLE before this is included. The
 * first three use the instructions of that name; portable is strict C99. A fused multiply-add is always written as
 * vf_fma; contraction by the compiler is off in every emitted file. SPDX-License-Identifier: 0BSD */
#ifndef CVY_VEC_H
#define CVY_VEC_H

#include "cvy_float.h"
#include "cvy_shared.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vec/compiler.h"
#include "vec/target.h"
#include "vec/general.h"
#include "vec/lanes.h"
#include "vec/winograd.h"
#include "vec/phases.h"
#include "vec/walk.h"
#include "vec/acts.h"
#include "vec/norms.h"
#include "vec/dropout.h"

#endif
