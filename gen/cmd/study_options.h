/* study_options.h - the options that `convoy study` and `convoy where` have beside the common ones. */
#ifndef CONVOY_STUDY_OPTIONS_H
#define CONVOY_STUDY_OPTIONS_H

typedef struct StudyOptions {
    int report, plan, look, screen, merge;
    int jobs, extend, slurm; /* 0: not given */
    const char *part;        /* "2/4"; NULL: not given */
    int of_part, of_parts;   /* the same, read; 0: not given */
    double deadline;  /* by cvy_seconds(); 0: none. Not on the command line */
} StudyOptions;

typedef struct WhereOptions {
    double minutes, margin;
    const char *spec; /* NULL: one that fits */
    int jobs;
} WhereOptions;

struct cvy_option;
enum { STUDY_OPTIONS = 20, WHERE_OPTIONS = 20 }; /* room */
void study_options(StudyOptions *o, struct cvy_option list[STUDY_OPTIONS]);
void where_options(WhereOptions *o, struct cvy_option list[WHERE_OPTIONS]);

#endif
