/* cvy_settings.c - see cvy_settings.h. SPDX-License-Identifier: 0BSD */
#include "cvy_settings.h"

#include "cvy_float.h"

#include <math.h>

/* clang-format off */
const struct cvy_setting cvy_settings[CVY_SETTINGS] = {
    [CVY_VALID] = {"valid", "--valid", "N", CVY_SHARE_OR_COUNT, 0.1, 0, 0, 2147483647,
        "held out of the training images to validate with: a share below 1, or how many; 0: none. A set with rows to validate with keeps its own"},
    [CVY_PATIENCE] = {"patience", "--patience", "N", CVY_WHOLE_NUMBER, 0, 0, 0, 1000000,
        "stop after so many epochs without a better validation; 0: never"},
};
/* clang-format on */

int cvy_setting_is(const struct cvy_setting *s, double v)
{
    return s->kind == CVY_ANY_REAL || (s->kind == CVY_SHARE_OR_COUNT && v < 1) || v == floor(v);
}
