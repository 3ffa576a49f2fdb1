/* cvy_settings.h - the numbers of a training besides its optimiser's. Each is a row: keys of a spec, the schema,
 * options, what a state holds and what is printed follow from it. SPDX-License-Identifier: 0BSD */
#ifndef CVY_SETTINGS_H
#define CVY_SETTINGS_H

#include "cvy_names.h"

#include "cvy_model.h"

/* SHARE: below 1 a share, else a whole number. */
enum cvy_setting_kind { CVY_ANY_REAL, CVY_WHOLE_NUMBER, CVY_SHARE_OR_COUNT };

struct cvy_setting {
    const char *name;   /* the key of `train`, and of a state's metadata */
    const char *option; /* "--valid" */
    const char *arg;    /* of the option, for its help: "N" */
    enum cvy_setting_kind kind;
    double usual, lo, hi; /* where nobody says anything; the range, both included */
    const char *help;
};

extern const struct cvy_setting cvy_settings[CVY_SETTINGS]; /* by their places in cvy_train.setting */
/* Whether v is of that kind; its range is not asked for. */
int cvy_setting_is(const struct cvy_setting *s, double v);

#endif
