/* commands.h - the program's commands and options. */
#ifndef CONVOY_COMMANDS_H
#define CONVOY_COMMANDS_H

#include "data.h"
#include "graph.h"

#include <stdint.h>

/* What a command line says. */
typedef struct Options {
    const char *spec;  /* SPEC, or NAME for `new` */
    const char *spec2; /* a second word: of diff; of asm, LAYER.PASS */
    const char **word; /* the words after SPEC, of OPT_WORDS */
    int nword;
    const char *out;    /* -o */
    const char *target; /* --target */
    const char *parts;  /* --parts */
    const char *dump;   /* -d */
    const char *weights;
    const char *why;    /* --why LAYER */
    const char *diff;   /* --diff SPEC */
    const char *preset; /* --preset */
    const char **set;   /* --set, as typed */
    int nset;
    const char **order; /* --order, as typed */
    int norder;
    const char *fold, *level, *html, *colour;
    const char *channel; /* --channel N */
    const char *purpose; /* --for */
    const char *depfile; /* --depfile */
    bool quiet, json, all, write, single_file, stream, force, stat, compile, measure, worked;
    char **rest; /* own options as typed; of `train`, which hands them to the program, all that stands after --, too */
    int nrest;
    char **import; /* options of an import, where they are not the command's own: of `train`, of `new` */
    int nimport;
    const char *data; /* --data, of `new` */
    int whole;        /* not typed: see Spec */
} Options;

/* Which options a command takes: one bit an option, or a few that belong together, for the table of commands. */
typedef uint64_t OptionSet;
#define OPTION(bit) (UINT64_C(1) << (bit))
#define OPT_OUT OPTION(0)
#define OPT_TARGET OPTION(1)
#define OPT_PARTS OPTION(2)
#define OPT_DUMP OPTION(3)
#define OPT_WEIGHTS OPTION(4)
#define OPT_WHY OPTION(5)
#define OPT_SET OPTION(6)
#define OPT_JSON OPTION(7)
#define OPT_WRITE OPTION(8)
#define OPT_SINGLE_FILE OPTION(9)
#define OPT_REST OPTION(10)  /* takes options that are none of its own, and what stands after -- */
#define OPT_SPEC2 OPTION(11) /* takes a second word */
#define OPT_ORDER OPTION(12)
#define OPT_FOLD OPTION(13)
#define OPT_LEVEL OPTION(14) /* and --stat */
#define OPT_FROM OPTION(15)  /* --data */
#define OPT_HTML OPTION(16)
#define OPT_COLOUR OPTION(17)  /* every command takes it */
#define OPT_COMPILE OPTION(18) /* and --measure */
#define OPT_WORDS OPTION(19)   /* takes any number of words after the first */
#define OPT_DIFF OPTION(20)
#define OPT_WORKED OPTION(21) /* and --channel */
#define OPT_FOR OPTION(22)
#define OPT_PRESET OPTION(23)
#define OPT_NO_WORD OPTION(24) /* the word may be left out */
#define OPT_FORCE OPTION(25)
#define OPT_QUIET OPTION(26)
#define OPT_DEPFILE OPTION(27)
#define OPT_ALL OPTION(28)
#define OPT_DATA OPTION(29)   /* takes the options of an import: in `rest`, */
#define OPT_IMPORT OPTION(30) /* or in `import`, those that are not the program's, too */
#define OPT_STUDY OPTION(31)  /* takes those of a study */
#define OPT_WHERE OPTION(32)  /* takes those of `where` */

/* Exit statuses of the program. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNCLEAR = 3 }; /* unclear: of a study, no verdict yet */

typedef struct Command {
    const char *name;
    const char *usage;   /* "SPEC -o DIR [--target T]" */
    const char *summary; /* a line */
    const char *help;    /* a page */
    OptionSet options;
    OptionSet needs;              /* options that must be given */
    const char *what;             /* the word it takes: "SPEC", "NAME"; NULL: none */
    int (*run)(const Options *o); /* returns the exit status */
    int trouble;                  /* its exit status where something fails */
} Command;

/* Reads argv[2..]. False and a message on stderr where it does not fit the command. */
bool options_read(const Command *c, int argc, char **argv, Options *o);

/* Of a command that prints where no -o is given: whether it does; -o - asks for it, too. */
bool prints(const Options *o);

/* Options that a command takes beside those of the common table, by its OPT_REST, OPT_DATA, OPT_STUDY or OPT_WHERE:
 * they stand in `rest` as they were typed. An empty list where there are none. */
struct cvy_option;
enum { OWN_OPTIONS = 64 }; /* room */
void own_options(OptionSet options, struct cvy_option *list);
/* The import's, by its OPT_IMPORT, but for those that the first list has. They stand in `import`. */
void own_import_options(OptionSet options, const struct cvy_option *first, struct cvy_option *list);

/* SPEC to a checked Graph with input_grad set, with --set and the dumps of -d yaml|spec|graph. NULL and *status where
 * there were errors (printed already), or where a dump was all that was asked for. */
Graph *load_graph(const Options *o, int *status);

/* The plan that options ask for, made for that target; NULL and *status where there is none, or where a dump was all.
 */
typedef struct Plan Plan;
/* Writes --depfile, where it was given: the target that make sees, and what it was made from (NULL-terminated). False
 * after a message. */
bool write_depfile(const Options *o, const char *target, const char *const *from);
Plan *load_plan(const Options *o, const char *target, bool compact, int *status);

/* For a command that needs no plan: whether -d plan was asked for, and was done; *status then. */
bool dumps_plan(const Options *o, int *status);

/* What --for asks for. */
bool for_reading(const Options *o);
/* The plan for reading; NULL and *status where there is none, after a message, or where a dump was all. */
typedef struct Plain Plain;
Plain *load_plain(const Options *o, int *status);

/* A build folder, and its network's name. */
typedef struct Built {
    const char *dir, *name;
} Built;
/* The network's program: emitted into the build folder (-o, or build-NAME here), compiled there with make. Its path;
 * NULL after a message. No other convoy changes what is there until *lock is closed; exec does that, too. like, where
 * not NULL: a build whose runtime need not be compiled again. */
const char *build_program(const Options *o, const Plan *p, const Built *like, int *lock);

/* ---- import.c: sets that are made on the way ---- */

/* Makes a set, and ends the program where a signal asked for it. An exit status. */
int import_set(const char *src, const DataOptions *data);
/* Where a command's import goes: beside its build folder. */
const char *import_path(const Options *o, const char *name);
/* *set: the set that `src` is, or that it becomes by the options of an import, for a network's input `want` (0: any).
 * It is made where it is not there, or not of what is there now. An exit status, after a message where it is not
 * EXIT_OK. */
int import_once(const Options *o, const char *name, const char *src, const int want[3], bool quiet, const char **set);
/* Writes down that a set that was made for any input is what an import for its own shape makes. */
bool import_claim(const Options *o, const char *src, const char *path, const SetInfo *info);
/* A spec that fits a set, as text; source: what it was made of. new_fit.c */
const char *new_fitting(const char *name, const char *source, const SetInfo *s);
/* The input that image files can be made for; zeros where it is none of theirs. */
void image_want(int channels, int height, int width, int want[3]);

int cmd_new(const Options *o);
int cmd_presets(const Options *o);
int cmd_schema(const Options *o);
int cmd_check(const Options *o);
int cmd_gen(const Options *o);
int cmd_train(const Options *o);
int cmd_predict(const Options *o);
int cmd_plot(const Options *o);
int cmd_plan(const Options *o);
int cmd_draw(const Options *o);
int cmd_twin(const Options *o);
int cmd_export(const Options *o);
int cmd_data(const Options *o);
int cmd_diff(const Options *o);
int cmd_study(const Options *o);
int cmd_where(const Options *o);
int cmd_asm(const Options *o);

#endif
