/* study_options.h - the options that `convoy study` and `convoy where` have beside the common ones. */
#ifndef CONVOY_STUDY_OPTIONS_H
#define CONVOY_STUDY_OPTIONS_H

#include <stdbool.h>

struct Study;

typedef struct StudyOptions {
    int report, plan, look, screen, merge;
    int jobs, extend, slurm; /* 0: not given */
    const char *part, *svg;  /* "2/4", a file; NULL: not given */
    int of_part, of_parts;   /* the same, read; 0: not given */
    /* Not on the command line: */
    double deadline;                           /* by cvy_seconds(); 0: none */
    bool first_look;                           /* the rates of the screen alone, and a report of them */
    bool interim;                              /* where a signal stops it: a report of the rounds so far */
    void (*rates_found)(const struct Study *); /* as a Runner's */
} StudyOptions;

typedef struct WhereOptions {
    double minutes, margin;
    const char *spec; /* NULL: one that fits */
    const char
        *variants;   /* "conv-bn-act,conv-act-bn": orders, of which the first two are the primary pair; NULL: these */
    int jobs, seeds; /* 0: not given */
    int quick, thorough;
} WhereOptions;

struct cvy_option;
enum { STUDY_OPTIONS = 20, WHERE_OPTIONS = 20 }; /* room */
void study_options(StudyOptions *o, struct cvy_option list[STUDY_OPTIONS]);
void where_options(WhereOptions *o, struct cvy_option list[WHERE_OPTIONS]);

#endif
