/* process.h - other programs. */
#ifndef PROCESS_H
#define PROCESS_H

#include "base.h"

bool process_exists(const char *command); /* can be found, on PATH or where it says */
const char *process_compiler(void);       /* that make will call, as far as its name goes */
/* A new folder for temporary files, TMPDIR/convoy-STEM-..., removed by process_folder_remove, or where the program
 * exits or a signal ends it before. One at a time. NULL after a message. */
const char *process_folder(const char *stem);
void process_folder_remove(void);
/* Runs a command with what it prints kept (its end, where that is long), not shown. Its wait status; -1 and errno where
 * it cannot be run. */
int process_run(char *const argv[], Buf *output);
const char *shell_word(const char *word); /* as a shell reads it, in quotes where it needs them */

#endif
