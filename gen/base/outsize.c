/* outsize.c - how much is about to be written.
 *
 * needs: a folder under construction. */
#include "files.h"
#include "base.h"

enum { MUCH = 64 }; /* megabytes */

double outdir_bytes(const OutDir *o)
{
    double bytes = 0;

    for (int i = 0; i < o->n; i++)
        bytes += (double)o->file[i].len;
    return bytes;
}

void outdir_warn_size(const OutDir *o, const char *name, const char *less)
{
    const double bytes = outdir_bytes(o);

    if (bytes > MUCH * 1e6)
        fprintf(stderr, "convoy: warning: %s becomes %.0f MB of C, which takes long to compile\n  hint: %s\n", name,
                bytes / 1e6, less);
}
