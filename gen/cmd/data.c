/* data.c - `convoy data`: images, arrays and tables become a set; or it is drawn what a training sees of one. */
#include "commands.h"
#include "runtime.h"
#include "show_batch.h"

#include <string.h>

static int wrong(const char *hint, const char *what)
{
    cvy_error(hint, "%s", what);
    return EXIT_USAGE;
}

/* The options that were typed for an import which --show-batch needs first: all but those that are its own there. */
static void keep_import(const Options *o, const struct cvy_option *shows, Options *to)
{
    static const char *const shared[] = {"--seed", "--sheet"};

    for (int i = 0; i < o->nrest; i++) {
        const size_t len = strcspn(o->rest[i], "=");
        bool own = false;
        for (const struct cvy_option *k = shows; k->name; k++)
            own = own || (strlen(k->name) == len && memcmp(k->name, o->rest[i], len) == 0);
        for (size_t k = 0; k < sizeof shared / sizeof *shared; k++)
            own = own || (strlen(shared[k]) == len && memcmp(shared[k], o->rest[i], len) == 0);
        if (!own)
            *PUSH(to->import, to->nimport) = o->rest[i];
        else if (!o->rest[i][len]) /* its value is the next word */
            i++;
    }
}

int cmd_data(const Options *o)
{
    DataOptions data;
    ShowOptions shows;
    struct cvy_option option[OWN_OPTIONS] = {{0}};
    int n = 0;
    data_options(&data, option);
    while (option[n].name)
        n++;
    show_options(&shows, option + n);
    if (cvy_options_parse(o->nrest, o->rest, 0, "data", option) != 1)
        return EXIT_USAGE;
    if (shows.spec) {
        Options own = *o;
        keep_import(o, option + n, &own);
        return show_batch(&own, &shows, &data, cvy_option_given(option, "--seed"));
    }
    for (const struct cvy_option *k = option + n; k->name; k++)
        if (k->given)
            return wrong("--show-batch SPEC", xprintf("%s is of --show-batch", k->name));
    if (o->nset)
        return wrong("--show-batch SPEC", "--set is of --show-batch: a set has no spec");
    if (!o->spec)
        return wrong("convoy data --help", "SRC is missing");
    if (o->out && prints(o))
        return wrong("-o /dev/stdout, with --quiet", "-o -: a set goes into a file");
    data.out = o->out;
    data.html = o->html;
    data.json = o->json;
    data.quiet = o->quiet;
    return import_set(strcmp(o->spec, "-") == 0 ? "/dev/stdin" : o->spec, &data);
}
