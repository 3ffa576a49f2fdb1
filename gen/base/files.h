/* files.h - files that are whole or not there. */
#ifndef CONVOY_FILES_H
#define CONVOY_FILES_H

#include "base.h"

/* A folder under construction: files are collected in memory and written by outdir_commit, each to a temporary and
 * renamed. */
typedef struct OutFile {
    const char *name; /* relative, may hold "runtime/..." */
    const char *text;
    size_t len;
} OutFile;
typedef struct OutDir {
    OutFile *file;
    int n;
} OutDir;
void outdir_add(OutDir *o, const char *name, const char *text, size_t len);
/* Writes all files and a manifest; removes files that an earlier manifest lists and this one does not. Refuses a folder
 * that is not empty and has no manifest. Waits while another convoy works in the folder; lock, where not NULL, receives
 * a descriptor that keeps others waiting until it is closed. false and a message on stderr where something fails. */
bool outdir_commit(const OutDir *o, const char *dir, int *lock);
double outdir_bytes(const OutDir *o);
/* Before it is written: where it is more than 64 MB, a warning that says how it becomes less ("--set winograd=off makes
 * less"). */
void outdir_warn_size(const OutDir *o, const char *name, const char *less);
/* Reads the files that a folder's manifest lists. false and a message where convoy did not write it, or a file is not
 * there. */
bool outdir_read(OutDir *o, const char *dir);
/* Writes one file atomically (a temporary beside it, fsync, rename); through links, or into a pipe. False after a
 * message. */
bool file_write(const char *path, const char *text, size_t len);
char *file_read(const char *path, size_t max, size_t *len); /* NULL and errno where it cannot; EFBIG past max */
const char *file_read_once(const char *path, size_t max, size_t *len); /* the same; what comes from a pipe is kept */

#endif
