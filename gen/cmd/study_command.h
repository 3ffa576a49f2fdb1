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
/* Trains what is left, and reports. Returns the exit status. */
int study_go(StudyFile *f, const Options *o, const StudyOptions *own, const char *folder);

#endif
