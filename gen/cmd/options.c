/* options.c - the command line: one table of options, which commands take by their bits. */
#include "commands.h"
#include "data.h"
#include "runtime.h"
#include "show_batch.h"
#include "study_options.h"
#include "target.h"
#include "term.h"

#include <stddef.h>
#include <string.h>

typedef struct Option {
    const char *name, *letter; /* "--target", "-o"; NULL where there is none */
    OptionSet bit;
    bool takes_value;
    size_t at;                 /* in Options: a const char * or a bool */
    const char *const *values; /* the only ones allowed; NULL: any */
} Option;

static const char *target_names[NTARGETS + 2] = {"native"}; /* and those of the table of targets */
static const char *const parts[] = {"infer", "train", "all", NULL};
static const char *const colours[] = {"auto", "always", "never", NULL};
static const char *const purposes[] = {"speed", "size", "reading", NULL};
static const char *const passes[] = {"yaml", "spec", "graph", "plan", NULL};

static const Option table[] = {
    {"--output", "-o", OPT_OUT, true, offsetof(Options, out), NULL},
    {"--target", NULL, OPT_TARGET, true, offsetof(Options, target), target_names},
    {"--parts", NULL, OPT_PARTS, true, offsetof(Options, parts), parts},
    {"--dump", "-d", OPT_DUMP, true, offsetof(Options, dump), passes},
    {"--weights", NULL, OPT_WEIGHTS, true, offsetof(Options, weights), NULL},
    {"--data", NULL, OPT_FROM, true, offsetof(Options, data), NULL},
    {"--preset", NULL, OPT_PRESET, true, offsetof(Options, preset), NULL},
    {"--why", NULL, OPT_WHY, true, offsetof(Options, why), NULL},
    {"--for", NULL, OPT_FOR, true, offsetof(Options, purpose), purposes},
    {"--worked", NULL, OPT_WORKED, false, offsetof(Options, worked), NULL},
    {"--channel", NULL, OPT_WORKED, true, offsetof(Options, channel), NULL},
    {"--diff", NULL, OPT_DIFF, true, offsetof(Options, diff), NULL},
    {"--set", NULL, OPT_SET, true, 0, NULL},
    {"--order", NULL, OPT_ORDER, true, 0, NULL},
    {"--fold", NULL, OPT_FOLD, true, offsetof(Options, fold), NULL},
    {"--level", NULL, OPT_LEVEL, true, offsetof(Options, level), NULL},
    {"--html", NULL, OPT_HTML, true, offsetof(Options, html), NULL},
    {"--color", NULL, OPT_COLOUR, true, offsetof(Options, colour), colours},
    {"--stat", NULL, OPT_LEVEL, false, offsetof(Options, stat), NULL},
    {"--compile", NULL, OPT_COMPILE, false, offsetof(Options, compile), NULL},
    {"--measure", NULL, OPT_COMPILE, false, offsetof(Options, measure), NULL},
    {"--all", NULL, OPT_ALL, false, offsetof(Options, all), NULL},
    {"--json", NULL, OPT_JSON, false, offsetof(Options, json), NULL},
    {"--write", NULL, OPT_WRITE, false, offsetof(Options, write), NULL},
    {"--quiet", "-q", OPT_QUIET, false, offsetof(Options, quiet), NULL},
    {"--depfile", NULL, OPT_DEPFILE, true, offsetof(Options, depfile), NULL},
    {"--force", NULL, OPT_FORCE, false, offsetof(Options, force), NULL},
    {"--single-file", NULL, OPT_SINGLE_FILE, false, offsetof(Options, single_file), NULL},
    {"--stream", NULL, OPT_SINGLE_FILE, false, offsetof(Options, stream), NULL},
};
enum { NOPTIONS = sizeof table / sizeof *table };

static bool wrong(const Command *c, const char *fmt, const char *what, const char *hint)
{
    fprintf(stderr, "convoy %s: ", c->name);
    fprintf(stderr, fmt, what);
    fprintf(stderr, "\n");
    term_help(stderr, xprintf("  usage:  convoy %s %s\n", c->name, c->usage));
    if (hint)
        fprintf(stderr, "  hint: %s\n", hint);
    return false;
}

static const char *choices_hint(const Command *c, const char *typed, const struct cvy_option *program,
                                const struct cvy_option *import)
{
    const char *names[NOPTIONS + 2 * OWN_OPTIONS + 2];
    int n = 0;
    for (int i = 0; i < NOPTIONS; i++)
        if (table[i].bit & (c->options | OPT_COLOUR))
            names[n++] = table[i].name;
    for (; program->name; program++)
        if (program->kind != CVY_SECTION)
            names[n++] = program->name;
    for (; import->name; import++)
        if (import->kind != CVY_SECTION)
            names[n++] = import->name;
    names[n++] = "--help";
    names[n] = NULL;
    return diag_choices(typed, names, xprintf("convoy %s --help", c->name));
}

void own_options(OptionSet options, struct cvy_option *list)
{
    static struct cvy_said said; /* where the values would go */
    static struct cvy_progress progress;
    static DataOptions data;
    static StudyOptions study;
    static WhereOptions where;
    static ShowOptions show;
    _Static_assert((int)OWN_OPTIONS >= (int)CVY_TRAIN_OPTIONS && (int)OWN_OPTIONS >= (int)DATA_OPTIONS,
                   "room for each list");
    memset(list, 0, OWN_OPTIONS * sizeof *list);
    if (options & OPT_REST)
        cvy_train_options(&said, &progress, NULL, list);
    else if (options & OPT_WHERE)
        where_options(&where, list);
    else if (options & OPT_DATA) {
        data_options(&data, list);
        while (list->name)
            list++;
        show_options(&show, list);
    } else if (options & OPT_STUDY)
        study_options(&study, list);
}

static const struct cvy_option *find_of_program(const char *arg, const struct cvy_option *o);

/* Whether the common table has it for the command. */
static bool is_common(OptionSet options, const char *name)
{
    for (int i = 0; i < NOPTIONS; i++)
        if (table[i].bit & options && strcmp(table[i].name, name) == 0)
            return true;
    return false;
}

void own_import_options(OptionSet options, const struct cvy_option *first, struct cvy_option *list)
{
    static DataOptions data;
    struct cvy_option all[DATA_OPTIONS];
    int n = 0;
    memset(list, 0, OWN_OPTIONS * sizeof *list);
    data_options(&data, all);
    for (int i = 0; options & OPT_IMPORT && all[i].name; i++)
        if (all[i].kind == CVY_SECTION || (!find_of_program(all[i].name, first) && !is_common(options, all[i].name)))
            list[n++] = all[i];
}

/* The option that `arg` is, and its value where that depends on it (--target=avx2, -oDIR). */
static const Option *find(const char *arg, const char **value)
{
    *value = NULL;
    for (int i = 0; i < NOPTIONS; i++) {
        size_t n = strlen(table[i].name);
        if (strncmp(arg, table[i].name, n) == 0 && (!arg[n] || arg[n] == '=')) {
            *value = arg[n] ? arg + n + 1 : NULL;
            return &table[i];
        }
        if (table[i].letter && arg[1] != '-' && strncmp(arg, table[i].letter, 2) == 0) {
            *value = arg[2] ? arg + 2 : NULL;
            return &table[i];
        }
    }
    return NULL;
}

/* The program's option that `arg` is, alone or with its value (--epochs=2). */
static const struct cvy_option *find_of_program(const char *arg, const struct cvy_option *o)
{
    const size_t len = strcspn(arg, "=");
    while (o->name && (o->kind == CVY_SECTION || strlen(o->name) != len || memcmp(o->name, arg, len) != 0))
        o++;
    return o->name ? o : NULL;
}

static bool take(const Command *c, const Option *opt, const char *value, Options *o)
{
    if (opt->values) {
        bool known = false;
        for (int i = 0; opt->values[i]; i++)
            known = known || strcmp(opt->values[i], value) == 0;
        if (!known)
            return wrong(c, xprintf("unknown value '%%.60s' of %s", opt->name), value,
                         diag_choices(value, opt->values, NULL));
    }
    if (opt->bit == OPT_SET)
        *PUSH(o->set, o->nset) = value;
    else if (opt->bit == OPT_ORDER)
        *PUSH(o->order, o->norder) = value;
    else
        *(const char **)((char *)o + opt->at) = value;
    return true;
}

bool options_read(const Command *c, int argc, char **argv, Options *o)
{
    for (int i = 0; i < NTARGETS; i++)
        target_names[i + 1] = targets[i].name;
    *o = (Options){0};
    OptionSet given = 0;
    struct cvy_option program[OWN_OPTIONS];
    struct cvy_option import[OWN_OPTIONS];
    own_options(c->options, program);
    own_import_options(c->options, program, import);
    for (int i = 2; i < argc; i++) {
        const char *arg = argv[i], *value;
        if (strcmp(arg, "--") == 0) {
            if (!(c->options & OPT_REST))
                return wrong(c, "nothing can stand after '%s' here", arg, NULL);
            while (++i < argc)
                *PUSH(o->rest, o->nrest) = argv[i];
            break;
        }
        if (arg[0] != '-' || !arg[1]) {
            if (o->spec && (c->options & OPT_WORDS)) {
                *PUSH(o->word, o->nword) = arg[1] ? arg : "/dev/stdin";
                continue;
            }
            if (!c->what || (o->spec && (o->spec2 || !(c->options & OPT_SPEC2))))
                return wrong(c, "one word too many: '%.60s'", arg, NULL);
            *(o->spec ? &o->spec2 : &o->spec) =
                c->options & (OPT_SET | OPT_WORDS) && !arg[1] && arg[0] == '-' ? "/dev/stdin" : arg;
            continue;
        }
        const Option *opt = find(arg, &value);
        const bool ours = opt && (opt->bit & (c->options | OPT_COLOUR));
        const struct cvy_option *theirs = ours ? NULL : find_of_program(arg, program);
        const bool imports = !ours && !theirs;
        theirs = imports ? find_of_program(arg, import) : theirs;
        if (theirs) {
            const bool takes = theirs->kind > CVY_OFF && !strchr(arg, '=');
            for (int k = 0; k <= (takes ? 1 : 0) && i + k < argc; k++)
                *(imports ? PUSH(o->import, o->nimport) : PUSH(o->rest, o->nrest)) = argv[i + k];
            i += takes && i + 1 < argc;
            continue;
        }
        if (!ours)
            return wrong(c, "unknown option '%.60s'", arg, choices_hint(c, arg, program, import));
        given |= opt->bit;
        if (!opt->takes_value) {
            if (value)
                return wrong(c, "%s takes no value", opt->name, NULL);
            *(bool *)((char *)o + opt->at) = true;
            continue;
        }
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value || !*value)
            return wrong(c, "%s needs a value", opt->name, opt->values ? diag_choices(NULL, opt->values, NULL) : NULL);
        if (!take(c, opt, value, o))
            return false;
    }
    if (!o->spec && !(c->options & OPT_NO_WORD))
        return wrong(c, "%s is missing", c->what, o->nrest ? "it stands before the options of the program" : NULL);
    for (int i = 0; i < NOPTIONS; i++)
        if (c->needs & table[i].bit & ~given)
            return wrong(c, "%s is missing", table[i].letter ? table[i].letter : table[i].name, NULL);
    return true;
}

bool prints(const Options *o)
{
    return !o->out || strcmp(o->out, "-") == 0;
}
