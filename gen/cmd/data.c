/* data.c - `convoy data`: images, arrays and tables become a set. */
#include "commands.h"
#include "runtime.h"

#include <string.h>

int cmd_data(const Options *o)
{
    DataOptions data;
    struct cvy_option option[DATA_OPTIONS];
    data_options(&data, option);
    if (cvy_options_parse(o->nrest, o->rest, 0, "data", option) != 1)
        return EXIT_USAGE;
    if (o->out && prints(o)) {
        cvy_error("-o /dev/stdout, with --quiet", "-o -: a set goes into a file");
        return EXIT_USAGE;
    }
    data.out = o->out;
    data.html = o->html;
    data.json = o->json;
    data.quiet = o->quiet;
    return import_set(strcmp(o->spec, "-") == 0 ? "/dev/stdin" : o->spec, &data);
}
