/* cvy_private.h - what the files of the runtime share. An emitted network's library part needs none of this; its
 * program (cvy_main) does. Functions that return int return 1 on success; on failure they have said why on stderr
 * (cvy_error) and return 0. SPDX-License-Identifier: 0BSD */
#ifndef CVY_PRIVATE_H
#define CVY_PRIVATE_H

#include "cvy_float.h"
#include "cvy_names.h"

#include "cvy_augment.h"
#include "cvy_model.h"
#include "cvy_losses.h"
#include "cvy_schedule.h"
#include "cvy_update.h"
#include "cvy_weights.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __GNUC__
#define CVY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CVY_PRINTF(fmt, args)
#endif

/* By the bits: whatever the flags say of a NaN, nobody takes these for constants. */
static inline uint64_t cvy_magnitude(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    return bits & UINT64_C(0x7fffffffffffffff);
}
static inline int cvy_finite(double v)
{
    return cvy_magnitude(v) < UINT64_C(0x7ff0000000000000);
}
static inline int cvy_nan(double v)
{
    return cvy_magnitude(v) > UINT64_C(0x7ff0000000000000);
}

/* ---- cvy_sys.c: errors, memory, standard streams
 * --------------------------------------------------------------------- */

extern const char *cvy_program; /* the first word of every message */
extern int cvy_line_open;       /* a progress line stands unfinished on the terminal */
/* "NAME: error: ..." and, where hint is not NULL, "  hint: ..." on stderr. */
void cvy_error(const char *hint, const char *fmt, ...) CVY_PRINTF(2, 3);
void cvy_warn(const char *fmt, ...) CVY_PRINTF(1, 2);
void cvy_note(const char *fmt, ...) CVY_PRINTF(1, 2);
extern int cvy_silent; /* above zero: none of them is printed */
/* Zeroed memory, freed by free(). NULL and a message where there is none or n * size overflows. */
void *cvy_alloc(size_t n, size_t size);
void *cvy_alloc_aligned(size_t bytes); /* 64-byte aligned, zeroed, in huge pages where that helps */
/* For the program's own JSON: cvy_json_watch at its start; then the text of what was made since the last, free(); NULL,
 * without a message, where memory was short at any point. */
void cvy_json_watch(void);
struct json_t;
/* The optimiser's numbers as members of o: numbers, true or false. 0 where memory is out. */
int cvy_json_hyper(struct json_t *o, const struct cvy_optimiser *of, const double hyper[CVY_HYPERS]);
int cvy_json_settings(struct json_t *o, const double setting[CVY_SETTINGS]); /* the same of cvy_settings */
char *cvy_json_text(const struct json_t *o, size_t flags);
/* Prints o on a line and gives it back; o may be NULL. 0, with a message: there was no memory for it. */
int cvy_json_print(struct json_t *o, size_t flags);
int cvy_json_starved(void); /* whether memory was short since it was asked last: what was read then lacks something */
char *cvy_format(const char *fmt, ...) CVY_PRINTF(1, 2); /* malloc'd; NULL and a message */
int cvy_processors(void);                                /* that this process may run on */
double cvy_seconds(void);                                /* of a clock that never steps */
int cvy_columns(void); /* COLUMNS of the environment, else of the terminal on stdout, else 80; 40 at the least */
/* Prints text that begins in column `at`, no wider than that: broken at blanks, it goes on after `hang` blanks.
 * Returns the column. */
int cvy_wrap(const char *text, int at, int hang);
extern int cvy_coloured; /* whether messages have colours: 1, 0, or -1: on a terminal (NO_COLOR honoured) */

/* A string out of a file, for people: what would steer a terminal or cannot be seen becomes \xNN or \uNNNN; cut to fit
 * `room`. */
const char *cvy_plain(const char *s, char *to, size_t room);
/* At a program's start: descriptors 0 to 2 that were closed refer to /dev/null, where reading and writing fail; a file
 * that may grow no further is an error of write. */
void cvy_start(void);
/* At its end: `status`, or 1 after a message where what was printed did not arrive. may_be_gone: nobody needs to read
 * it. */
int cvy_finish(int status, int may_be_gone);

/* ---- cvy_files.c: files that are whole or not there
 * ------------------------------------------------------------------ */

/* All n bytes, or fewer where the file ends; -1 and errno. Retried where a signal comes in between. */
int64_t cvy_fd_read(int fd, void *to, size_t n);
int cvy_fd_write(int fd, const void *data, size_t n); /* 0 and errno */
/* Opens for reading: a path that the user typed, through links, pipes too; a name out of a file, in its folder: a
 * regular file and no link. -1 and errno, which cvy_file_error puts into words. */
int cvy_open_typed(const char *path);
int cvy_open_named(int folder, const char *name);
const char *cvy_file_error(int error);
/* Whether none of the n files that are read, NULL among them or not, is the one that is to be written (NULL: none is).
 * 0 after a message. */
int cvy_spares(const char *to, const char *const *read, int n);

/* A file under construction: written beside its place under a name of its own and renamed by cvy_out_commit, so that
 * the old one stays until the new one is on the disk. It keeps the old one's mode; other hard links to the old one keep
 * the old contents. Something that is no regular file (a pipe, /dev/stdout) is written directly. */
#define CVY_TEMPORARY ".tmp."
struct cvy_out {
    char *path;       /* for messages */
    const char *name; /* where it goes, seen from `folder` */
    char *temp;       /* where it is until then; NULL: written directly, or renamed already */
    char *own_name;
    int folder, fd, hasty; /* hasty: not synced */
    char *room;            /* open where this is there */
    size_t used;
};
int cvy_out_open(struct cvy_out *out, const char *path); /* that the user typed: through links */
/* A name without a slash in an open folder; not synced, as a folder can be made anew. shown: for messages. */
int cvy_out_open_named(struct cvy_out *out, int folder, const char *name, const char *shown);
int cvy_out_write(struct cvy_out *out, const void *data, size_t bytes);
int cvy_out_finish(struct cvy_out *out); /* all of it is on the disk, and closed, under the temporary's name */
/* n files: all are on the disk before the first is renamed. Frees them in any case. */
int cvy_out_commit(struct cvy_out *out, int n);
void cvy_out_drop(
    struct cvy_out *out); /* removes what was written; frees `out`; harmless where it was not opened (zero) */
/* Removes the temporaries of `path` that a program left when it was killed, or that are this one's. */
void cvy_out_clean(const char *path);
/* Who may write a file: PATH.lock beside it (through links), held until it is dropped or the program ends, also when
 * that is killed. 0 and an error where another program holds it. Where `path` is a pipe, or there can be no lock, none
 * is taken. */
struct cvy_lock {
    int fd;
    char *path;
};
int cvy_lock_take(struct cvy_lock *l, const char *path);
void cvy_lock_drop(struct cvy_lock *l);

/* ---- cvy_number.c: numbers as text
 * ------------------------------------------------------------------------------------- */

/* Plain decimal, the whole text, within [lo, hi]: no blanks, no sign but '-', no hexadecimal, no nan. 0 where it is not
 * that, without a message; *out is left as it was. */
int cvy_parse_u64(const char *text, uint64_t lo, uint64_t hi, uint64_t *out);
int cvy_parse_i64(const char *text, int64_t lo, int64_t hi, int64_t *out);
int cvy_parse_real(const char *text, double lo, double hi, double *out);

/* ---- cvy_options.c: the command line --------------------------------------------------------------------------------
 */

enum cvy_option_kind {
    CVY_FLAG,
    CVY_UNFLAG,
    CVY_ON,
    CVY_OFF,
    CVY_INT,
    CVY_U64,
    CVY_REAL,
    CVY_WHOLE,
    CVY_SHARE,
    CVY_TEXT,
    CVY_SECTION
};
struct cvy_option {
    enum cvy_option_kind kind;
    const char *name; /* "--epochs"; a section's title; NULL ends the list */
    const char *arg;  /* "N" */
    void *value;      /* int (flags too), uint64_t, double (of REAL, WHOLE, SHARE; 1 of ON, 0 of OFF), const char * */
    double lo, hi;    /* of INT, REAL, WHOLE, SHARE */
    const char *help;
    int given;
};
/* Sets values from argv[from..argc). 0 after a message; -1 where --help was asked for. */
int cvy_options_parse(int argc, char **argv, int from, const char *command, struct cvy_option *option);
void cvy_options_help(const struct cvy_option *option); /* with the defaults that stand in the values */
int cvy_option_given(const struct cvy_option *option, const char *name);
/* The same of the one with this value. */
int cvy_option_sets(const struct cvy_option *option, const void *value);

/* What the command line of `train` says, besides the numbers of a training (struct cvy_progress). */
struct cvy_said {
    const char *data, *schedule, *class_weights, *augment, *log_path, *save, *init_from;
    int threads, resume, quiet, no_save, no_eval, force, init_partial, stats, stats_updates;
    uint64_t limit; /* steps in all; 0: no limit */
};
struct cvy_progress;
enum { CVY_TRAIN_OPTIONS = 64 }; /* room */
/* The options of `train`, which set *s and *p. `convoy train` reads them by this table, too, before it compiles. o: the
 * network's optimiser; NULL where it is not known yet: the options of all. */
void cvy_train_options(struct cvy_said *s, struct cvy_progress *p, const struct cvy_optimiser *o,
                       struct cvy_option list[CVY_TRAIN_OPTIONS]);
enum { CVY_HYPER_OPTIONS = 2 * CVY_HYPERS }; /* room */
/* The options of an optimiser's numbers, which set hyper[]. Returns how many there are. */
int cvy_hyper_options(const struct cvy_optimiser *o, double hyper[CVY_HYPERS], struct cvy_option *list);
/* Whether what was said fits together, with an error where not; sets p's schedule. Before it is called *s and *p hold
 * the spec's settings, and then what was said. */
int cvy_train_fits(const struct cvy_said *s, struct cvy_progress *p, const struct cvy_optimiser *o);
/* The word of `list` (NULL-terminated) nearest to `word`, or NULL where none is near. */
const char *cvy_nearest(const char *word, const char *const *list);

/* ---- cvy_tensors.c: safetensors -------------------------------------------------------------------------------------
 */

enum cvy_dtype { CVY_F32, CVY_F64, CVY_F16, CVY_BF16, CVY_I64, CVY_I32, CVY_OTHER }; /* a writer's: F32 and I64 */
struct cvy_entry {
    char *name;
    enum cvy_dtype dtype;
    int ndim;
    int64_t dim[8];
    uint64_t begin, end; /* in the data that follows the header */
    void *data;          /* a writer's: owned */
    char word[16];       /* dtype as the file spells it */
};
struct cvy_tensors {
    char *path;
    struct cvy_entry *entry;
    int n, room;
    char **meta; /* key, value, key, value, ... */
    int nmeta;   /* strings in meta */
    int fd;      /* a reader's, which has a path */
    char *kept;  /* a reader's of a pipe: all that follows the header */
    uint64_t data_at;
};
/* Adds a tensor and returns room for its numbers (C order), or NULL after a message. */
float *cvy_put_f32(struct cvy_tensors *t, const char *name, int ndim, const int *dim);
int64_t *cvy_put_i64(struct cvy_tensors *t, const char *name); /* a scalar */
int cvy_put_meta(struct cvy_tensors *t, const char *key, const char *fmt, ...) CVY_PRINTF(3, 4);
const char *cvy_get_meta(const struct cvy_tensors *t, const char *key); /* NULL where it is not there */
int cvy_tensors_write(const struct cvy_tensors *t, struct cvy_out *out);
/* Opens a file and checks all of its header against its size. cvy_tensors_free in any case. */
int cvy_tensors_open(struct cvy_tensors *t, const char *path);
/* That the file's tensors are exactly those of `want` (whose data is not looked at), with their shapes. Floats may be
 * of any size, a count may be missing. Where all of the file's names begin with what PyTorch's wrappers put in front
 * ("module."), it is taken off. */
int cvy_tensors_match(struct cvy_tensors *t, const struct cvy_tensors *want);
void cvy_tensors_unwrap(struct cvy_tensors *t, const struct cvy_tensors *want); /* takes it off; match does so itself */
const struct cvy_entry *cvy_tensors_find(const struct cvy_tensors *t,
                                         const char *name); /* NULL where it is not there */
int cvy_entry_fits(const struct cvy_entry *e,
                   const struct cvy_entry *want); /* its shape, and a type that can be read as the other's */
/* Reads a tensor of n numbers, as float32 whatever they are; refuses numbers that are not finite. */
int cvy_read_f32(const struct cvy_tensors *t, const char *name, float *out, size_t n);
int cvy_read_i64(const struct cvy_tensors *t, const char *name, int64_t *out); /* a count; 0 where it is not there */
void cvy_tensors_free(struct cvy_tensors *t);

/* ---- cvy_identity.c: which network weights belong to
 * ------------------------------------------------------------------------ */

/* `here` is cvy_model.identity; where it is NULL, nothing is known and nothing compared. */
enum cvy_likeness {
    CVY_SAME,
    CVY_DIFFERENT,
    CVY_UNSAID,
    CVY_UNREADABLE
}; /* UNSAID: the file does not say; UNREADABLE: after a message */
int cvy_put_identity(struct cvy_tensors *f, const char *const *here);
/* training: dropouts, too, and what concerns training alone. *what: of DIFFERENT, what differs, lines that each begin
 * with "\n  "; free(). */
enum cvy_likeness cvy_identity_compare(const struct cvy_tensors *f, const char *const *here, int training, char **what);
/* The same with messages: 1 where the weights may be taken, because they are of this network, do not say, or are
 * forced. */
int cvy_identity_check(const struct cvy_tensors *f, const char *const *here, int training, int force);
/* The same, not for training, unless it is done already; and cvy_tensors_match. A note says so where the file does not
 * say. */
enum cvy_taking { CVY_CHECKED, CVY_FORCED, CVY_COMPARED };
int cvy_identity_accept(struct cvy_tensors *f, const struct cvy_tensors *want, const char *const *here,
                        enum cvy_taking how);
/* same[i]: whether the op of here[i] is in the file's network under its name, with its inputs. SAME (both were read),
 * UNSAID or UNREADABLE. */
enum cvy_likeness cvy_identity_ops(const struct cvy_tensors *f, const char *const *here, char *same);
int cvy_identity_op_of(const char *const *here,
                       const char *tensor); /* the index in `here` of the op that has this tensor; -1: none */

/* ---- cvy_npy.c ------------------------------------------------------------------------------------------------------
 */

struct cvy_npy {
    char type[4]; /* "f4", "f8", "u1", "i4", "i8" */
    int ndim;
    int64_t dim[8], count;
    void *data; /* free() */
};
int cvy_npy_read(struct cvy_npy *a, const char *path);
/* float32 in C order; 2 to 4 axes, dim[0] x dim[1] x ... of them. */
int cvy_npy_write(const char *path, int ndim, const int64_t *dim, const float *data);
/* A file of images n x C x H x W that fit the model: float32 as they are, bytes scaled as in training. NaN and
 * infinities are an error unless nonfinite is 1. free(*x). */
/* lengths: a file of how many steps of each row count, or NULL: then *length is NULL, too, and all do. What stands
 * behind them is not looked at. */
int cvy_npy_sequences(const struct cvy_model *model, const char *path, const char *lengths, int nonfinite, float **x,
                      int **length, int *n);
int cvy_npy_labels(const struct cvy_model *model, const char *path, int **labels, int n);
/* n x outputs, or where there is one output n, float32. */
int cvy_npy_values(const struct cvy_model *model, const char *path, float **values, int n);

/* ---- cvy_where.c: where data are
 * ------------------------------------------------------------------------------------- */

enum cvy_split { CVY_TRAIN_SPLIT, CVY_VALID_SPLIT, CVY_TEST_SPLIT };
enum cvy_where {
    CVY_NOWHERE, /* why is said */
    CVY_DRAWN,
    CVY_FOLDER,
    CVY_SET
};
/* A word of `data:`, which `--data` takes, too, where the runtime knows where its images are. */
struct cvy_data_word {
    const char *name, *help;
    double mean, std; /* what images are normalised with where a spec does not say */
    int channels, height, width,
        classes;                  /* of its images, and how many classes they have; 0: as the network has them */
    enum cvy_where from;          /* CVY_DRAWN, CVY_FOLDER; CVY_NOWHERE: --data has to say it */
    const char *folder, *missing; /* CVY_FOLDER: the folder of a package; what to do where that is not there */
};
extern const struct cvy_data_word cvy_data_words[];          /* a NULL name ends them */
const struct cvy_data_word *cvy_data_word(const char *name); /* NULL: there is none */
extern const char cvy_four_files[];                          /* a hint: which files there should be */
extern const char cvy_from_zero[];                           /* a hint at a label that is `classes` */
/* `data`: the spec's word; `said`: --data's, NULL where it was not given. Sets *seed of drawn figures, or *folder,
 * which is there: of a set, its file. */
enum cvy_where cvy_data_where(const char *data, const char *said, uint64_t *seed, const char **folder);
/* The file of a split: DIR/train-images-idx3-ubyte, with variants of the name that are about. free(); NULL and a
 * message. */
char *cvy_data_file(const char *folder, enum cvy_split split, int images);
/* A hint where there is no `path`: "did you mean 'digits'?", of what lies beside it and, where `words`, of the words
 * that --data takes. free(); NULL where nothing is near. */
char *cvy_near_path(const char *path, int words);

/* ---- cvy_data.c, cvy_shapes.c, cvy_set.c: images and labels
 * --------------------------------------------------------------------- */

/* What a set says of itself that its weights say, too, so that what comes later is read as its rows were: metadata. */
enum cvy_origin { CVY_CLASSES, CVY_COLUMNS, CVY_RECIPE, CVY_TARGET_NAMES, CVY_ORIGINS };
extern const char *const cvy_origin_keys[CVY_ORIGINS];

struct cvy_data {
    const uint8_t *image; /* n x C x H x W bytes; or, where it is NULL, */
    const float *number;  /* as many float32 */
    int32_t *label;       /* of each; NULL where the network learns values, or its input */
    float *value;         /* `values` of each, where it learns those */
    int values;
    int32_t *length; /* of each, up to the network's width; NULL: it has all steps */
    int *row;        /* which of them the n are, with their labels; NULL: the first n */
    int n;
    size_t numbers;          /* of an image: C x H x W */
    char *what;              /* for people: where it came from */
    int synthetic, borrowed; /* borrowed: images and labels are another's */
    void *own, *map;         /* what image or number lies in: free()d, or unmapped */
    size_t map_bytes;
    char *origin[CVY_ORIGINS]; /* JSON; NULL: it is not known */
    const char *named;         /* the split of a set's file, `what`, that has the rows' names; NULL: none has */
};
/* where: a folder, a set, "shapes" or "shapes:SEED", "fashion-mnist", or NULL for the model's own data set. limit: at
 * most so many items, 0: all. */
int cvy_data_load(struct cvy_data *d, const struct cvy_model *model, const char *where, enum cvy_split split,
                  int limit);
/* How many there are, at most `limit` (0: all), by what files say of themselves: 0 where a set has no such split, -1
 * after a message. */
int cvy_data_count(const struct cvy_model *model, const char *where, enum cvy_split split, int limit);
/* What to validate with: the set's own rows, figures drawn besides, or, of `train` (which was loaded from there), as
 * many images of each class as its share, drawn by a seed of their own: these are then no longer in `train`, whose
 * memory *d shares. share: as CVY_VALID; *held: whether they were held out. n is 0 where there are none. */
int cvy_data_validation(struct cvy_data *d, struct cvy_data *train, const struct cvy_model *model, const char *where,
                        double share, int *held);
static inline int cvy_data_row(const struct cvy_data *d, int i)
{
    return d->row ? d->row[i] : i;
}
/* Whether number k of row i (as the file has them) stands behind the row's length. */
static inline int cvy_data_pads(const struct cvy_data *d, const struct cvy_model *m, int i, size_t k)
{
    return d->length && (int)(k % (size_t)m->width) >= d->length[i];
}
/* How many images there would be; -1 after a message. */
int cvy_shapes_count(const struct cvy_model *model, enum cvy_split split, int limit);
int cvy_shapes_make(struct cvy_data *d, const struct cvy_model *model, enum cvy_split split, int limit, uint64_t seed);
/* *n: how many rows there are; d: NULL where only that is asked for. A split that is not there is an error of `train`.
 */
int cvy_set_load(struct cvy_data *d, const struct cvy_model *model, const char *path, enum cvy_split split, int limit,
                 int *n);
/* Whether a number of what a network reads is one of its tokens; any, where it reads numbers. */
static inline int cvy_is_token(int tokens, double v)
{
    return !tokens || (v >= 0 && v < tokens && v == (double)(int)v);
}
/* Whether rows of c x h x w are what a model reads: its image, or as many tokens, however they lie. */
static inline int cvy_reads(const struct cvy_model *m, int64_t c, int64_t h, int64_t w)
{
    const int length = m->height == 1 && c == 1 && h == m->channels && w == m->width; /* (n, 1, channels, length) */
    if (m->tokens)
        return c >= 1 && h >= 1 && w >= 1 && c <= m->width && h <= m->width && w <= m->width && c * h <= m->width &&
               c * h * w == m->width;
    return length || (c == m->channels && h == m->height && w == m->width);
}
/* Whether rows of a source have classes. */
static inline int cvy_learns_classes(const struct cvy_model *m)
{
    return m->train.loss->target == CVY_CLASS;
}
/* What a row is called, fit to be shown: the file's name in a set, or its number; free(). */
char *cvy_data_name(const struct cvy_data *d, int row);
/* What each of the network's answers is called, a class or a number that it learns, fit to be shown: the data's names
 * where they have some, else their places. NULL after a message. */
char **cvy_answer_names(const struct cvy_data *d, const struct cvy_model *m);
void cvy_answer_names_free(char **name, int answers); /* NULL: nothing */
void cvy_data_free(struct cvy_data *d);
/* Of labels and images; `crc`: of what came before, 0. */
uint32_t cvy_data_crc(const struct cvy_data *d, uint32_t crc);
extern const char *const cvy_shape_names[]; /* by label, NULL-terminated */

/* ---- cvy_loader.c: batches, made ahead by a thread
 * -------------------------------------------------------------------- */

struct cvy_loader;
/* Batches of one pass over `d`, from batch number `first` on, in the order of cvy_permutation(seed, epoch), or in the
 * data's own where !shuffle; augment: NULL, or what is done to them. NULL after a message. */
struct cvy_loader *cvy_loader_start(const struct cvy_data *d, const struct cvy_model *model, int batch, int min_batch,
                                    int shuffle, uint64_t seed, uint64_t epoch, int64_t first,
                                    const struct cvy_augment *augment);
const struct cvy_batch *cvy_loader_next(struct cvy_loader *l); /* valid until the next call; NULL at the end */
/* What the batch that was given last is mixed of, for its step; it stays as long as the batch. */
void cvy_loader_mixed(const struct cvy_loader *loader, struct cvy_step *step);
void cvy_loader_stop(struct cvy_loader *l);
/* How many batches a pass has: a last short one counts unless it is shorter than min_batch. */
int64_t cvy_batches(int n, int batch, int min_batch);
void cvy_scale_table(const struct cvy_model *model, float *table); /* C x 256: what a byte becomes */

/* ---- cvy_state.c: an instance of the network, its checkpoints
 * ----------------------------------------------------------- */

struct cvy_run {
    const struct cvy_model *model;
    struct cvy_net *net;
    void *memory;
    float *grad;
    const struct cvy_data *rows; /* that it is trained with; NULL: none */
};
int cvy_run_open(struct cvy_run *r, const struct cvy_model *model, int batch, int threads, int with_grad);
void cvy_run_close(struct cvy_run *r);
int cvy_add_weights(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix); /* parameters and statistics */
/* What the optimiser keeps: "momentum.<parameter>" with `prefix` before it. */
int cvy_add_buffers(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix);
int cvy_add_grad(struct cvy_tensors *f, const struct cvy_run *r, const char *prefix);
int cvy_load_weights(struct cvy_run *r, const char *path, enum cvy_taking how);
/* The ops that the file has as this network does; the others stay as they are. Says which. force: those that its lines
 * tell apart, too. */
int cvy_load_partial(struct cvy_run *r, const char *path, int force);
/* That the file holds the optimiser's buffers of each parameter (and the weights), and nothing else. */
/* The ops with frozen parameters, "conv1.conv, conv1.bn"; "" where there are none. free(); NULL: out of memory. */
char *cvy_frozen_text(const struct cvy_model *m);
int cvy_match_state(const struct cvy_model *m, struct cvy_tensors *f, int with_weights);
int cvy_load_kept(struct cvy_run *r, const struct cvy_tensors *f, int with_weights); /* those */
/* The moving average of the weights in a state, under their names with this before them. */
#define CVY_EMA_PREFIX "ema."
int cvy_has_ema(const struct cvy_model *m, const struct cvy_tensors *f);
int cvy_load_ema(struct cvy_run *r, const struct cvy_tensors *f);
/* The buffers, and the step where it is said; weights that are there, too, stay in the file. */
int cvy_load_state(struct cvy_run *r, const char *path, int64_t *step);

/* A copy of the weights, in memory; zero at first. It does not move. */
struct cvy_kept {
    struct cvy_run run; /* whose tensors are the copy: for cvy_save, and what else only reads them */
    struct cvy_net net;
};
int cvy_keep(struct cvy_kept *k, const struct cvy_run *r); /* 0 after a message */
void cvy_put_back(const struct cvy_kept *k, const struct cvy_run *r);
void cvy_kept_free(struct cvy_kept *k);

/* ---- cvy_gradient.c: between a gradient and its update
 * --------------------------------------------------------------------------------- */

/* 1 where a parameter lies in arrays of param_floats, 0 where padding does, whose gradient may be anything; free(). */
unsigned char *cvy_gradient_places(const struct cvy_model *m);
double cvy_gradient_norm(const float *g, const unsigned char *real, int64_t n);
void cvy_gradient_add(float *sum, const float *g, int64_t n, int first);
void cvy_gradient_mean(float *sum, int64_t n, int batches); /* divides a sum over batches by their number */
/* Brings its norm down to `clip` (0: not), as clip_grad_norm_ of PyTorch does. Returns the norm before that. */
double cvy_gradient_clip(float *g, const unsigned char *real, int64_t n, double clip);
/* Updates all parameters by the optimiser. */
void cvy_gradient_take(const struct cvy_run *r, const float *g, const struct cvy_step *step);
/* Moves the average of weights and running statistics by 1 - decay towards those of now; the first time it becomes
 * them. Counts of batches are copied. 0 after a message. */
int cvy_average(struct cvy_kept *average, const struct cvy_run *r, double decay);

/* ---- cvy_figures.c: what layers do in an epoch, for --stats
 * ---------------------------------------------------------------------------- */

struct cvy_figures;
struct cvy_progress;
struct json_t;
/* For updates of `run`'s network, which stays where it is. NULL after a message. */
struct cvy_figures *cvy_figures_open(const struct cvy_run *run, const struct cvy_tracer *tracer);
void cvy_figures_close(struct cvy_figures *f); /* NULL is fine */
/* An update that is looked at, in this order: before its last batch's forward; between that and backward (0 after a
 * message); with its gradient, as net->grad has it, before clipping; and when the weights have moved. */
void cvy_figures_before(struct cvy_figures *f);
int cvy_figures_trace(struct cvy_figures *f, const struct cvy_batch *b, const struct cvy_step *step);
void cvy_figures_gradient(struct cvy_figures *f, const float *gradient);
void cvy_figures_after(struct cvy_figures *f);
/* The epoch's line of the log, and begins the next one. NULL where memory is out. */
struct json_t *cvy_figures_take(struct cvy_figures *f, const struct cvy_progress *p);

/* ---- cvy_checkpoint.c: a training's weights and state
 * ------------------------------------------------------------------------- */

char *cvy_state_path(const char *weights); /* "a.safetensors" -> "a.state.safetensors"; free() */

/* Where a training stands, and with which settings: what the state file's metadata holds. */
struct cvy_progress {
    int epochs, batch, decay_all, schedule, train_images, test_images;
    double lr, hyper[CVY_HYPERS], weight_decay, setting[CVY_SETTINGS];
    uint64_t seed;
    int64_t epoch, step, step_in_epoch; /* epochs done; steps done in all; and in the epoch under way */
    double loss_sum, correct_sum, seen; /* of the epoch under way */
    int64_t best_epoch, best_step;      /* the best by validation; 0: there is none yet */
    double best_loss, best_accuracy;
    struct cvy_plateau plateau;
    uint32_t data_crc; /* of the images to train and to validate with */
};
/* Settings of a training that are text. */
struct cvy_words {
    const char *class_weights, *augment; /* "" where there are none */
};
/* The state, and unless path is NULL the weights: `best` of p's best epoch; else, of this step, `ema` or where that is
 * NULL the run's own. words: metadata besides. */
int cvy_save(const struct cvy_run *r, const char *state, const struct cvy_progress *p, const char *path,
             const struct cvy_run *best, const struct cvy_run *ema, const struct cvy_words *words);
/* That a new training may save there: nothing is there, or weights of this network and seed, which a note says. force:
 * all but a set. */
int cvy_may_save(const struct cvy_model *m, const char *path, uint64_t seed, int quiet, int force);

/* A training to go on with: its state, read and checked, and open for its numbers. */
struct cvy_resume {
    struct cvy_tensors state;
    struct cvy_progress p;
};
/* weights: where it saved them; force: the state may be another network's. cvy_resume_close in any case. */
int cvy_resume_open(struct cvy_resume *r, const struct cvy_model *m, const char *weights, int force);
/* Loads the best weights so far, where p knows any. Where they are no longer there, p forgets them, with a warning. */
int cvy_resume_best(struct cvy_run *run, const struct cvy_resume *r, const char *weights, struct cvy_progress *p);
/* ema: the moving average, where the state has one. */
int cvy_resume_load(struct cvy_run *run, const struct cvy_resume *r, struct cvy_kept *ema);
void cvy_resume_close(struct cvy_resume *r);
/* The spec's optimiser in words: "sgd(momentum=0.9, ...)"; free(). The state's own word on it is its metadata's
 * "optimiser". */
char *cvy_optimiser_text(const struct cvy_train *t);

/* ---- cvy_report.c, cvy_page.c: what an evaluation found, by class and by sample
 * --------------------------------------- */

enum { CVY_TOP_K = 5, CVY_WORST = 24 };
struct cvy_worst {
    int item, class, taken_for; /* item: its row in the data */
    double loss;
    char *name; /* by cvy_report_names */
};
struct cvy_answer {
    int item, class, taken_for;
};
struct cvy_mistake {
    int class, taken_for;
    int64_t count;
};
struct cvy_report {
    const struct cvy_model *model;
    const struct cvy_data *data;
    char **class_name;                 /* or of the numbers that it learns */
    int64_t *rows, *right;             /* by class; NULL: it learns numbers */
    int64_t *matrix;                   /* class x what it is taken for; NULL: too many classes */
    int k;                             /* CVY_TOP_K, or fewer classes */
    int64_t in_top;                    /* rows whose class is among the first k */
    struct cvy_worst worst[CVY_WORST]; /* of the wrong ones, by loss; where it learns values, of all */
    int nworst;
    double *sum, *squares, *error; /* by output: of values, of their squares, of (answer - value)^2; NULL: of classes */
    struct cvy_answer *answer;     /* each row's, in their order; NULL: not kept */
    int nanswer;
};
/* What is borrowed stays until cvy_report_end, which is called in any case. */
int cvy_report_begin(struct cvy_report *p, const struct cvy_model *model, const struct cvy_data *data);
void cvy_report_end(struct cvy_report *p);
/* A row's logits. */
void cvy_report_row(struct cvy_report *p, int item, const float *y, int label, int best, double loss);
/* The same where the network learns values. */
void cvy_report_values(struct cvy_report *p, int item, const float *y, const float *want, double loss);
/* The share of the values' variance that answers explain, of output c, or of all together (-1); NAN where there is
 * none. */
double cvy_report_r2(const struct cvy_report *p, int c);
int cvy_report_names(struct cvy_report *p);                     /* looks up the names of the worst rows */
double cvy_report_share(const struct cvy_report *p, int class); /* that are right; 0 where there are none */
/* What is taken for another class, the most frequent first: n of them, free(). NULL after a message. */
struct cvy_mistake *cvy_report_mistakes(const struct cvy_report *p, int *n);
int cvy_report_print(struct cvy_report *p);
int cvy_report_json(struct cvy_report *p, struct json_t *o); /* members of o */
int cvy_report_page(struct cvy_report *p, const char *path, const char *weights, double loss);
/* Keeps each row's answer from now on, of a network that learns classes; writes them as CSV: row,class,answer, by
 * number. 0 after a message. */
int cvy_report_keep_answers(struct cvy_report *p);
int cvy_report_answers(const struct cvy_report *p, const char *path);

/* ---- the subcommands
 * ------------------------------------------------------------------------------------------------------ */

int cvy_command_train(int argc, char **argv, const struct cvy_model *model,
                      const struct cvy_tracer *tracer);                        /* cvy_train.c */
int cvy_command_lr_find(int argc, char **argv, const struct cvy_model *model); /* cvy_lr_find.c */
int cvy_command_eval(int argc, char **argv, const struct cvy_model *model);    /* cvy_infer.c */
int cvy_command_predict(int argc, char **argv, const struct cvy_model *model); /* cvy_infer.c */
int cvy_command_info(int argc, char **argv, const struct cvy_model *model);    /* cvy_info.c */
int cvy_command_bench(int argc, char **argv, const struct cvy_model *model,
                      const struct cvy_bench *bench); /* cvy_bench.c */
int cvy_command_trace(int argc, char **argv, const struct cvy_model *model,
                      const struct cvy_tracer *tracer); /* cvy_trace.c */

/* Loss and accuracy of the folded network on all of `d`; report: NULL, or what is to take in each row. */
struct cvy_report;
int cvy_evaluate(struct cvy_run *r, const struct cvy_data *d, double *loss, double *accuracy,
                 struct cvy_report *report);

#endif
