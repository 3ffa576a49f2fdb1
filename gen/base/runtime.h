/* runtime.h - what the generator shares with the runtime: the one header through which it uses that. A test holds all
 * of gen/ to it; gen/meson.build lists the sources. So convoy and the programs that it emits cannot disagree. */
#ifndef CONVOY_RUNTIME_H
#define CONVOY_RUNTIME_H

#include "cvy_augment.h"   /* what is done to images before a training sees them */
#include "cvy_kernels.h"   /* the arithmetic of folding */
#include "cvy_losses.h"    /* losses: their names and keys, what their targets are */
#include "cvy_private.h"   /* checkpoints and sets, files, options of train, messages, numbers as text */
#include "cvy_recurrent.h" /* how weights of recurrent layers lie */
#include "cvy_rng.h"       /* random numbers: draws of weights, splits */
#include "cvy_schedule.h"  /* schedules of the learning rate */
#include "cvy_settings.h"  /* the numbers of a training, its keys and options */
#include "cvy_shared.h"    /* how many numbers norms keep */
#include "cvy_update.h"    /* optimisers: their names and numbers */

#endif
