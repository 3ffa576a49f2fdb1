/* where.c - `convoy where`: batch norm before or after the activation, for somebody's own images in so many minutes. It
 * writes a study's file that fits images and time, and runs it.
 *
 * The file stays: the same command goes on with it, and so does `convoy study`. */
#include "files.h"
#include "numbers.h"
#include "read.h"
#include "runtime.h"
#include "stats.h"
#include "study_command.h"
#include "where_best.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOLDS = 5, LEAST_EPOCHS = 5, MOST_EPOCHS = 30, LEAST_ROWS_A_CLASS = 100, LEAST_SIDE = 4, PICK_ROWS = 2000 };
#define USED .85 /* of the time that is left after compiling */
/* The share of test rows that only one of two trainings gets right: before anything is known of the images, and of a
 * score (docs/study.md). */
#define DISAGREE .12
static double disagree(double score)
{
    return .8 * score * (1 - score);
}

/* Counted seeds, best first. Trainings a variant: five to find the rates, three a seed. */
static const int seeds_tried[] = {10, 5, 3, 0};
enum { LEAST_SEEDS = 3, MOST_SEEDS = 20 }; /* more than 10 only where there is time and 30 epochs are few enough */

void where_options(WhereOptions *o, struct cvy_option list[WHERE_OPTIONS])
{
    *o = (WhereOptions){.minutes = 10, .margin = .5};
    const struct cvy_option option[] = {
        {CVY_SECTION, "where", NULL, NULL, 0, 0, NULL, 0},
        {CVY_REAL, "--minutes", "N", &o->minutes, .001, 100000, "how many minutes it may take", 0},
        {CVY_REAL, "--margin", "X", &o->margin, .01, 50, "a difference that matters, in points", 0},
        {CVY_INT, "--seeds", "N", &o->seeds, 3, 1000, "counted ones, instead of as many as fit", 0},
        {CVY_FLAG, "--quick", NULL, &o->quick, 0, 0, "a first look: one seed, no verdict", 0},
        {CVY_FLAG, "--thorough", NULL, &o->thorough, 0, 0,
         "also: no bias, the norm first, no norm at all; a redundant bias as the null control", 0},
        {CVY_TEXT, "--variants", "A,B,...", &o->variants, 0, 0,
         "orders to compare, the first two above all [conv-bn-act,conv-act-bn]", 0},
        {CVY_TEXT, "--spec", "SPEC", &o->spec, 0, 0, "your network, instead of one that fits the images", 0},
        {CVY_INT, "--jobs", "N", &o->jobs, 1, 256, "trainings at a time, one thread each [processors]", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    memcpy(list, option, sizeof option);
}

/* ---- a network that fits ---- */

/* Four convs to 128 channels, as specs/fashion.yaml; larger images are halved more often. */
static const char *network_text(const Pool *p)
{
    int shape[3];
    Buf b = {0};
    pool_shape(p, shape);
    const int side = shape[1] < shape[2] ? shape[1] : shape[2];
    buf_printf(&b,
               "# Made by convoy where for these images.\nname: where\ninput: [%d, %d, %d]\nclasses: %d\norder: "
               "conv-bn-act\nact: relu\nlayers:\n",
               shape[0], shape[1], shape[2], pool_classes(p));
    for (int i = 0, out = 16, now = side; i < 4; i++, out *= 2) {
        const bool halve = i > 0 ? now > LEAST_SIDE : now > 48;
        buf_printf(&b, "  - conv: {out: %d, stride: %d}\n", out, halve ? 2 : 1);
        now = halve ? (now + 1) / 2 : now;
    }
    buf_printf(&b,
               "  - global_avg_pool\n  - linear: classes\ninit: kaiming_normal\ntrain: {batch: %d, optimizer: sgd, lr: "
               "0.2, momentum: 0.9, "
               "weight_decay: 5e-4, schedule: one-cycle, mean: %s, std: %s}\n",
               pool_rows(p) < 2000 ? 32 : 64, pool_meta(p, "mean"), pool_meta(p, "sd"));
    return b.text;
}

/* ---- what fits into the time ---- */

typedef struct Fit {
    int epochs, rows, seeds;
    bool look;      /* the rates of one seed alone are tried: more does not fit */
    bool nothing;   /* not even that fits */
    double minutes; /* that the fewest seeds and epochs would take */
} Fit;

/* What a plan must fit. */
typedef struct FitTo {
    int variants, rows, least, test_rows, at_once; /* least: rows */
    double seconds;
} FitTo;

/* Seconds of all trainings of a plan; of 0 seeds: those that find the rates. */
static double plan_seconds(const StudyTimes *t, int nvariant, int rows, int test_rows, int epochs, int seeds,
                           int at_once)
{
    double sum = 0;
    for (int v = 0; v < nvariant; v++) {
        const double steps = ceil(rows * .8 / t->batch), answered = (rows * .2 + PICK_ROWS + test_rows) / t->batch / 3;
        sum += (SCREEN_RATES + ROUND_RATES * seeds) * (2 * t->start[v] + t->step[v] * (steps * epochs + answered));
    }
    return sum / at_once;
}

/* As many epochs as fit, then as many rows as fit; false where the fewest of both do not. */
static bool fit_seeds(const StudyTimes *t, const FitTo *to, int seeds, Fit *f)
{
    f->epochs = MOST_EPOCHS;
    while (f->epochs > LEAST_EPOCHS &&
           plan_seconds(t, to->variants, to->rows, to->test_rows, f->epochs, seeds, to->at_once) > to->seconds)
        f->epochs--;
    f->rows = to->rows;
    while (f->rows > to->least &&
           plan_seconds(t, to->variants, f->rows, to->test_rows, f->epochs, seeds, to->at_once) > to->seconds)
        f->rows = f->rows - f->rows / 50 - 1 > to->least ? f->rows - f->rows / 50 - 1 : to->least;
    f->seeds = seeds ? seeds : LEAST_SEEDS;
    return plan_seconds(t, to->variants, f->rows, to->test_rows, f->epochs, seeds, to->at_once) <= to->seconds;
}

/* Where all rows and the most epochs leave time: more seeds. */
static Fit with_more_seeds(const StudyTimes *t, const FitTo *to, Fit f)
{
    while (f.epochs == MOST_EPOCHS && f.rows == to->rows && f.seeds < MOST_SEEDS &&
           plan_seconds(t, to->variants, f.rows, to->test_rows, f.epochs, f.seeds + 1, to->at_once) <= to->seconds)
        f.seeds++;
    return f;
}

static Fit fit(const StudyTimes *t, const FitTo *to, const WhereOptions *w)
{
    Fit f = {.rows = to->rows};
    const int fewest = w->seeds ? w->seeds : LEAST_SEEDS;
    f.minutes = plan_seconds(t, to->variants, to->least, to->test_rows, LEAST_EPOCHS, fewest, to->at_once) / USED / 60;
    if (w->seeds && !w->quick && fit_seeds(t, to, w->seeds, &f))
        return f;
    for (int i = 0; seeds_tried[i] && !w->seeds && !w->quick; i++)
        if (fit_seeds(t, to, seeds_tried[i], &f))
            return with_more_seeds(t, to, f);
    f.look = fit_seeds(t, to, 0, &f);
    f.nothing = !f.look;
    f.seeds = fewest;
    return f;
}

/* What the test rows and so many seeds can show: 100 sqrt(d / N) t / sqrt(n); of folds, as their intervals are. */
static double resolution(const Study *s, int seeds, double d)
{
    return half_width(100 * sqrt(d / score_rows(s)), seeds, .95, s->overlap);
}

static const char *resolution_text(const Study *s, int seeds, double d)
{
    return xprintf("With %d seeds and these %srows, differences below about %.2g points cannot be shown.", seeds,
                   s->overlap > 0 ? "" : "test ", resolution(s, seeds, d));
}

/* Once the screen shows how well these images can be answered. */
static void rates_found(const Study *s)
{
    double best = 0;
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].role == ROLE_SCREEN && !s->run[i].diverged)
            best = fmax(best, s->run[i].valid);
    if (best > 0 && best < 1)
        fprintf(stderr, "The rates are found. %s\n", resolution_text(s, seeds_planned(s), disagree(best)));
}

/* ---- the study's file ---- */

static const char *yaml_word(const char *s)
{
    return scalar_text(node_new(NODE_SCALAR, s, (Mark){0}));
}

static const char *absolute(const char *path)
{
    char *full = realpath(path, NULL);
    const char *kept = xstrdup(full ? full : path);
    free(full);
    return kept;
}

static const char made_of[] = "# Made by convoy where of ";

static const char *first_line(const char *images)
{
    return xprintf("%s%s; convoy study goes on with it.\n", made_of, yaml_word(absolute(images)));
}

/* The variants, and the pairs of them. */
static void put_variants(Buf *to, const WhereOptions *w)
{
    if (!w->variants) {
        buf_puts(to, "variants:\n  before: {order: conv-bn-act}\n  after: {order: conv-act-bn}\n");
        if (w->thorough)
            buf_puts(to, "  after-no-bias: {order: conv-act-bn, bias: false}\n  first: {order: bn-conv-act}\n  none: "
                         "{order: conv-act}\n  redundant: {order: conv-bn-act, bias: true}\n");
        buf_puts(to, "primary: [before, after]\n");
        if (w->thorough)
            buf_puts(to, "compare: [[before, after-no-bias], [before, first]]\nnull: [[before, redundant]]\npositive: "
                         "[[none, before]]\n");
        return;
    }
    const char *first = NULL, *second = NULL;
    Buf others = {0};
    buf_puts(to, "variants:\n");
    for (const char *from = w->variants; *from;) {
        const size_t n = strcspn(from, ",");
        const char *word = xstrndup(from, n);
        buf_printf(to, "  %s: {order: %s}\n", yaml_word(word), yaml_word(word));
        if (!first)
            first = word;
        else if (!second)
            second = word;
        else
            buf_printf(&others, "%s[%s, %s]", others.len ? ", " : "", yaml_word(first), yaml_word(word));
        from += n + (from[n] == ',');
    }
    if (second)
        buf_printf(to, "primary: [%s, %s]\n", yaml_word(first), yaml_word(second));
    if (others.len)
        buf_printf(to, "compare: [%s]\n", others.text);
}

static const char *study_text(const char *images, const char *name, const char *spec, const char *data,
                              const WhereOptions *w, int folds, const Fit *f)
{
    Buf b = {0};
    buf_printf(&b, "%sname: %s\nspec: %s\ndata: %s\n", first_line(images), name, yaml_word(spec), yaml_word(data));
    put_variants(&b, w);
    buf_printf(&b, "screen: 1\nmargin: %s\n", real_text(w->margin));
    if (folds)
        buf_printf(&b, "folds: %d\n", folds);
    if (f)
        buf_printf(&b, "seeds: %d\nepochs: %d\nrows: %d\npick_rows: %d\n", f->seeds, f->epochs, f->rows, PICK_ROWS);
    return b.text;
}

/* Whether a study that is there is of these images: another folder of the same name may be meant. */
static bool goes_on_with(const char *images, const char *folder, const char *file)
{
    enum { MOST = 1 << 20 };
    size_t len;
    const char *const text = file_read(file, MOST, &len), *const line = first_line(images);

    if (!text || strncmp(text, made_of, sizeof made_of - 1) != 0 || strncmp(text, line, strlen(line)) == 0)
        return true; /* what cannot be read is said by who reads all of it */
    const char *const other = text + sizeof made_of - 1, *const end = strstr(other, "; convoy study");
    cvy_error("-o DIR: a folder of its own; or remove that one", "'%s' is the study of other images: %.*s", folder,
              end ? (int)(end - other) : 0, other);
    return false;
}

static bool write_text(const char *path, const char *text)
{
    return file_write(path, text, strlen(text));
}

/* "where-emoji" of "sets/emoji.safetensors" */
static const char *name_of(const char *data)
{
    size_t n = strlen(data);
    while (n > 1 && data[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && data[from - 1] != '/')
        from--;
    char *name = xstrndup(data + from, n - from), *dot = strchr(name, '.');
    if (dot && dot > name)
        *dot = '\0';
    for (char *c = name; *c; c++)
        if (!study_name_ok(xprintf("%c", *c)))
            *c = '_';
    return xprintf("where-%.30s", *name && *name != '.' ? name : "data");
}

/* The same for programs: FOLDER/plan.json. */
static bool write_plan(const Study *s, const WhereOptions *w, const StudyTimes *t, const Fit *f, int at_once,
                       const char *folder)
{
    const int seeds = f->look ? 0 : f->seeds;
    json_t *variants = json_array();
    for (int v = 0; v < s->nvariant; v++)
        json_array_append_new(variants,
                              json_pack("{s:s, s:s, s:f, s:f}", "name", s->variant[v].name, "what", s->variant[v].what,
                                        "start_seconds", t->start[v], "step_seconds", t->step[v]));
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:i, s:I, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:o, s:o}", "data", s->data, "network",
        s->network, "target", s->target, "rows", f->rows, "test_rows", (json_int_t)s->rows, "classes", s->classes,
        "epochs", f->epochs, "seeds", seeds, "at_once", at_once, "minutes", w->minutes, "margin", w->margin,
        "about_minutes", plan_seconds(t, s->nvariant, f->rows, (int)s->rows, f->epochs, seeds, at_once) / 60,
        "cannot_show_below", seeds ? json_real(resolution(s, seeds, DISAGREE)) : json_null(), "variants", variants);
    char *text = o ? cvy_json_text(o, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(4)) : NULL;
    if (!text)
        BUG("a plan without JSON");
    json_decref(o);
    const bool ok = write_text(xprintf("%s/plan.json", folder), xprintf("%s\n", text));
    free(text);
    return ok;
}

/* What will be done, and what it can show. */
static void announce(const Study *s, const WhereOptions *w, const StudyTimes *t, const Fit *f, int at_once, FILE *to)
{
    const int seeds = f->look ? 0 : f->seeds;
    fprintf(to, "%d variants, %d trainings of %d epochs on %d rows, about %.0f minutes, %d at a time\n", s->nvariant,
            s->nvariant * (SCREEN_RATES + ROUND_RATES * seeds), f->epochs, f->rows,
            ceil(plan_seconds(t, s->nvariant, f->rows, (int)s->rows, f->epochs, seeds, at_once) / 60), at_once);
    if (f->look)
        fprintf(
            to,
            "A first look: one seed at %d rates, which cannot be a verdict. %d seeds would take about %.0f minutes: "
            "the same command with more --minutes%s goes on.\n",
            SCREEN_RATES, f->seeds,
            ceil(plan_seconds(t, s->nvariant, f->rows, (int)s->rows, f->epochs, f->seeds, at_once) / USED / 60),
            w->quick ? ", without --quick," : "");
    else
        fprintf(to, "%s\n", resolution_text(s, f->seeds, DISAGREE));
}

/* Measures, and says what will be done before it is done. 0: the file is written; else an exit status. */
static int plan(const Options *o, const WhereOptions *w, const char *folder, const char *file, const char *name,
                double began, int at_once, bool *look)
{
    const char *set = study_set(o->spec, o->spec, folder);
    const int folds = set && pool_was_cut(set) ? FOLDS : 0;
    Pool *p = set ? pool_open(set, &(PoolTake){.folds = folds}) : NULL;
    if (!p)
        return EXIT_FAILED;
    int shape[3];
    pool_shape(p, shape);
    if (!w->spec && (shape[1] < LEAST_SIDE || shape[2] < LEAST_SIDE)) {
        fprintf(stderr,
                "convoy: the rows of '%s' are no images (%d x %d x %d)\n  hint: --spec SPEC: a network of yours, with "
                "convs\n",
                o->spec, shape[0], shape[1], shape[2]);
        return EXIT_FAILED;
    }
    const char *spec = w->spec ? absolute(w->spec) : "network.yaml", *data = absolute(set);
    if (!w->spec && !write_text(xprintf("%s/network.yaml", folder), network_text(p)))
        return EXIT_FAILED;
    StudyFile *f;
    StudyTimes times;
    if (!write_text(file, study_text(o->spec, name, spec, data, w, folds, NULL)) || !(f = study_load(file)) ||
        !study_time(f, o, folder, p, &times)) {
        unlink(file);
        return EXIT_FAILED;
    }
    const double left = w->minutes * 60 - (cvy_seconds() - began);
    FILE *to = o->json ? stderr : stdout;
    Study *s = &f->study;
    const int rows = pool_rows(p), least = LEAST_ROWS_A_CLASS * s->classes;
    const FitTo limit = {.variants = s->nvariant,
                         .rows = rows,
                         .least = rows < least ? rows : least,
                         .test_rows = (int)s->rows,
                         .at_once = at_once,
                         .seconds = USED * left};
    const Fit fits = fit(&times, &limit, w);
    fprintf(
        to,
        "%s: %d rows to train with and to choose by, %lld to test%s, %d classes; trained from scratch (a pretrained "
        "network's order is given: keep it)\n",
        o->spec, rows, (long long)s->rows,
        folds ? xprintf(", in each of %d folds (there are no test rows of their own)", folds) : "", s->classes);
    unlink(file);
    if (fits.nothing) {
        fprintf(to,
                "No verdict in the time that is left: %s of %d epochs would take about %.0f minutes here. "
                "Nothing was trained.\n",
                w->seeds ? xprintf("%d seeds", w->seeds) : "three seeds", LEAST_EPOCHS,
                ceil(fits.minutes + w->minutes - left / 60));
        return EXIT_UNCLEAR;
    }
    announce(s, w, &times, &fits, at_once, to);
    *look = fits.look;
    if (!write_plan(s, w, &times, &fits, at_once, folder))
        return EXIT_FAILED;
    fflush(to);
    pool_close(p);
    return write_text(file, study_text(o->spec, name, spec, data, w, folds, &fits)) ? EXIT_OK : EXIT_FAILED;
}

int cmd_where(const Options *o)
{
    WhereOptions w;
    struct cvy_option option[WHERE_OPTIONS];
    const double began = cvy_seconds();
    where_options(&w, option);
    if (cvy_options_parse(o->nrest, o->rest, 0, "where", option) != 1)
        return EXIT_USAGE;
    const char *name = name_of(o->spec), *folder = o->out ? o->out : name, *file = xprintf("%s/study.yaml", folder);
    const int at_once = w.jobs ? w.jobs : cvy_processors();
    struct cvy_lock lock;
    if (!study_folder(folder, &lock))
        return EXIT_FAILED;
    bool look = w.quick != 0;
    int status = access(file, F_OK) != 0               ? plan(o, &w, folder, file, name, began, at_once, &look)
                 : goes_on_with(o->spec, folder, file) ? EXIT_OK
                                                       : EXIT_FAILED;
    if (status == EXIT_OK) {
        StudyFile *f = study_load(file);
        const StudyOptions own = {.jobs = at_once,
                                  .first_look = look,
                                  .interim = true,
                                  .rates_found = rates_found,
                                  .deadline = look ? 0 : began + 60 * w.minutes};
        status = f ? study_go(f, o, &own, folder) : EXIT_FAILED;
        if ((status == EXIT_OK || status == EXIT_UNCLEAR) && !where_best(f, o, folder, at_once))
            status = EXIT_FAILED;
    }
    study_leave(folder, &lock);
    return status;
}
