/* study_command.h - what `convoy study` and `convoy where` share. */
#ifndef CONVOY_STUDY_COMMAND_H
#define CONVOY_STUDY_COMMAND_H

#include "commands.h"
#include "plan_study.h"
#include "study_options.h"

struct cvy_lock;
/* Makes the folder, and takes its lock. False after a message, as in all that follows. */
bool study_folder(const char *folder, struct cvy_lock *lock);
void study_leave(const char *folder, struct cvy_lock *lock); /* drops the lock; a folder that is empty goes */
StudyFile *study_load(const char *path);
/* The set that data are, or become, in the folder. word: as the user wrote it, where it may be fashion-mnist. */
const char *study_set(const char *data, const char *word, const char *folder);

/* Of a variant: seconds of a training of one step, start and end included, and of each further step. */
typedef struct StudyTimes {
    double *start, *step;
    int batch;
} StudyTimes;
/* Emits, compiles and measures, by trainings that are thrown away. The study gets what specs and data say. */
bool study_time(StudyFile *f, const Options *o, const char *folder, Pool *pool, StudyTimes *to);
/* "DIR/report.html", beside the CSV. */
const char *study_page(const char *csv);
/* ---- study_earlier.c ---- */

/* The trainings, looks and extensions of a CSV, if it belongs to this study; none where there is no CSV. */
bool study_earlier(Study *s, const char *csv);

/* ---- study_parts.c: one study on several machines ---- */

/* "K/N", and that no two things are asked for at once. False after a message. */
bool part_read(StudyOptions *own);
/* Where a part works: FOLDER/part-K. */
const char *part_folder(const char *folder, const StudyOptions *own);
/* Into a part's study: the whole screen of FOLDER/runs.csv, and what the part has trained. */
bool part_begin(Study *s, const char *folder, const char *part);
/* Into the study: the whole rounds of all FOLDER/part-*. */
bool parts_merge(Study *s, const char *folder);
/* Writes FOLDER/slurm.sh, which hands the study to Slurm in so many parts, and says how to begin. */
bool slurm_write(const StudyFile *f, const Options *o, const StudyOptions *own, const char *folder);

/* Trains what is left, and reports. Returns the exit status. folder: the study's, of which a part has its own. */
int study_go(StudyFile *f, const Options *o, const StudyOptions *own, const char *folder);

#endif
