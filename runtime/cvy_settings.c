/* cvy_settings.c - see cvy_settings.h. SPDX-License-Identifier: 0BSD */
#include "cvy_settings.h"

#include "cvy_float.h"

#include <math.h>

/* clang-format off */
const struct cvy_setting cvy_settings[CVY_SETTINGS] = {
    [CVY_VALID] = {"valid", "--valid", "N", CVY_SHARE_OR_COUNT, 0.1, 0, 2147483647,
        "held out of the training images to validate with: a share below 1, or how many; 0: none. A set with rows to validate with keeps its own"},
    [CVY_PATIENCE] = {"patience", "--patience", "N", CVY_WHOLE_NUMBER, 0, 0, 1000000,
        "stop after so many epochs without a better validation; 0: never"},
    [CVY_LABEL_SMOOTHING] = {"label_smoothing", "--label-smoothing", "X", CVY_ANY_REAL, 0, 0, 1,
        "the share of each label that all classes have together"},
    [CVY_CLIP] = {"clip", "--clip", "X", CVY_ANY_REAL, 0, 0, 1e9, "the gradient's norm is brought down to it; 0: it is left as it is"},
    [CVY_ACCUMULATE] = {"accumulate", "--accumulate", "N", CVY_WHOLE_NUMBER, 1, 1, 1000000,
        "an update for N batches, by the mean of their gradients; a batch norm still sees one batch"},
    [CVY_EMA] = {"ema", "--ema", "X", CVY_ANY_REAL, 0, 0, 1,
        "validate, test and save a moving average of the weights, of which an update keeps this share (0.999); 0: none"},
    [CVY_WARMUP_EPOCHS] = {"warmup_epochs", "--warmup-epochs", "X", CVY_ANY_REAL, 0, 0, 1000000,
        "the rate rises from a hundredth for so many epochs, before the schedule begins"},
    [CVY_WARMUP] = {"warmup", "--warmup", "X", CVY_ANY_REAL, 0.3, 0, 1, "of one-cycle: the share of steps in which the rate rises"},
    [CVY_STEP_SIZE] = {"step_size", "--step-size", "N", CVY_WHOLE_NUMBER, 10, 1, 1000000, "of step: epochs with the same rate"},
    [CVY_RATE_FACTOR] = {"gamma", "--gamma", "X", CVY_ANY_REAL, 0.1, 0, 1, "of step and plateau: what the rate is multiplied with"},
    [CVY_MIN_LR] = {"min_lr", "--min-lr", "X", CVY_ANY_REAL, 0, 0, 1000000, "of cosine, linear and plateau: the rate at the end, or the lowest"},
    [CVY_PLATEAU_EPOCHS] = {"plateau", "--plateau", "N", CVY_WHOLE_NUMBER, 10, 0, 1000000,
        "of plateau: epochs without a lower validation loss that it bears"},
};
/* clang-format on */

int cvy_setting_is(const struct cvy_setting *s, double v)
{
    return s->kind == CVY_ANY_REAL || (s->kind == CVY_SHARE_OR_COUNT && v < 1) || v == floor(v);
}
