/* study_options.h - the options that `convoy study` has beside the common ones. */
#ifndef CONVOY_STUDY_OPTIONS_H
#define CONVOY_STUDY_OPTIONS_H

typedef struct StudyOptions {
    int report, plan, look;
    int jobs, extend; /* 0: not given */
} StudyOptions;

struct cvy_option;
enum { STUDY_OPTIONS = 20 }; /* room */
void study_options(StudyOptions *o, struct cvy_option list[STUDY_OPTIONS]);

#endif
