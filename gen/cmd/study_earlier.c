/* study_earlier.c - going on with a study: what its CSV holds already. */
#include "diag.h"
#include "study_command.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The header without what may change from one run to the next. */
static const char *fixed_header(const Study *s)
{
    Study bare = *s;
    bare.nrun = bare.nextension = bare.nlook = 0;
    return study_csv(&bare);
}

/* The first line of a that b does not have there. */
static const char *first_other(const char *a, const char *b)
{
    while (*a) {
        const size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (n != m || strncmp(a, b, n) != 0)
            return xstrndup(a, n);
        a += n + (a[n] != 0);
        b += m + (b[m] != 0);
    }
    return "";
}

bool study_earlier(Study *s, const char *csv)
{
    if (access(csv, F_OK) != 0)
        return true;
    const Study *old = study_read(csv);
    if (diag_flush(stderr) || !old)
        return false;
    const char *now = fixed_header(s), *before = fixed_header(old);
    if (strcmp(now, before) != 0) {
        const char *code = xstrndup(s->fingerprint, 8),
                   *why = xprintf("'%s' then, '%s' now", first_other(before, now), first_other(now, before));
        if (strcmp(old->fingerprint, s->fingerprint) != 0)
            why = strncmp(old->fingerprint, code, 8) != 0
                      ? "the specs, or the code that convoy makes of them, are others"
                      : "the data are others";
        fprintf(stderr,
                "convoy: '%s' holds trainings of another study: %s\n  hint: another folder for this one, or the file "
                "and the convoy that it was "
                "begun with\n",
                csv, why);
        return false;
    }
    s->run = old->run;
    s->nrun = old->nrun;
    s->extension = old->extension;
    s->nextension = old->nextension;
    s->look = old->look;
    s->nlook = old->nlook;
    return true;
}
