/* data.c - `convoy data`: images, arrays and tables become a set. */
#include "commands.h"
#include "data.h"
#include "runtime.h"

#include <signal.h>

int cmd_data(const Options *o)
{
    DataOptions data;
    struct cvy_option option[DATA_OPTIONS];
    int number = 0;
    data_options(&data, option);
    if (cvy_options_parse(o->nrest, o->rest, 0, "data", option) != 1)
        return EXIT_USAGE;
    data.out = o->out;
    data.html = o->html;
    data.json = o->json;
    data.quiet = o->quiet;
    const bool ok = data_import(o->spec, &data, &number);
    if (number) { /* as if nobody had caught it */
        fprintf(stderr, "convoy: interrupted; no set was written\n");
        signal(number, SIG_DFL);
        raise(number);
    }
    return ok ? EXIT_OK : EXIT_FAILED;
}
