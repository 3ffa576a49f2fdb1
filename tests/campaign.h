/* campaign.h - what the parts of the campaign share: campaign.c, campaign_cases.c, campaign_chosen.c. */
#ifndef CAMPAIGN_H
#define CAMPAIGN_H

#include "graph.h"
#include "judge.h"
#include "randspec.h"

#include <sys/types.h>

enum { MOST_JOBS = 16, MOST_TRIES = 160 };

/* A compiler, its flags, and a built folder of its own whose runtime's objects the cases take. */
typedef struct Compiler {
    const char *cc, *cflags, *objects;
} Compiler;

enum { MOST_COMPILERS = 5 };

typedef struct Options {
    const char *self; /* this program */
    const char *only;
    Compiler compiler[MOST_COMPILERS]; /* the cases take them in turn */
    int compilers;
    const char *convoy, *keep, *target, *purpose, *spec, *what, *work;
    int count, jobs, n, tries;
    bool first, brief;
    Fill fill;
    uint64_t seed;
} Options;

typedef struct Count {
    int passed, failed, noisy, exact;
    int64_t nan;
    int64_t tensors, flips;
    double kept, expected, variance, fold, ratio;
    char worst[128];
} Count;

typedef struct Slot {
    pid_t pid;
    int from, index;
} Slot;

/* What people read of a case: its name, and the command that runs it alone. */
typedef struct Label {
    char *name, *repeat;
} Label;

/* campaign_cases.c */
void remove_tree(const char *dir);
void fresh_folder(const char *dir);
Slot start_case(const Case *c, int index);
Verdict finish_case(Slot *s);
void count_case(Count *k, const Verdict *v);
bool report_cases(const char *what, Count *k, bool masks);
void print_file(const char *path);
Label label_of(const Options *o, const char *part, uint64_t seed, char *name);
void say_failure(Label label, const Case *c, const Verdict *v);
Count all_cases(const Options *o, const Case *c, const Label *label, int n, Verdict *v);

/* campaign_chosen.c */
bool chosen_networks(const Options *o); /* each of them; false: one failed */
bool by_compilers(const Options *o);    /* a few of them by each compiler and target */
bool have_compiler(const char *cc);

/* campaign.c */
bool for_reading(const Options *o);
Case plain_case(const Options *o, uint64_t number, const char *dir);
const char *shared_objects(const Options *o, const Case *like);
const char *winograd_for(Fill fill, uint64_t number);

#endif
