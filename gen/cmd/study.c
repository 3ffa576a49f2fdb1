/* study.c - `convoy study`: trains the variants of a network, and says what that shows. */
#include "data.h"
#include "diag.h"
#include "emit.h"
#include "files.h"
#include "plan_study.h"
#include "process.h"
#include "report.h"
#include "runtime.h"
#include "study_command.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

void study_options(StudyOptions *o, struct cvy_option list[STUDY_OPTIONS])
{
    *o = (StudyOptions){0};
    const struct cvy_option option[] = {
        {CVY_SECTION, "study", NULL, NULL, 0, 0, NULL, 0},
        {CVY_FLAG, "--report", NULL, &o->report, 0, 0, "the report of a CSV alone: nothing is trained", 0},
        {CVY_TEXT, "--svg", "FILE", &o->svg, 0, 0, "of the report: every comparison in a picture", 0},
        {CVY_FLAG, "--plan", NULL, &o->plan, 0, 0,
         "how many trainings are left, and how long they take: nothing is trained", 0},
        {CVY_INT, "--jobs", "N", &o->jobs, 1, 256, "trainings at a time, one thread each [processors]", 0},
        {CVY_FLAG, "--look", NULL, &o->look, 0, 0, "the report so far, at 99.9 %; the CSV counts it", 0},
        {CVY_INT, "--extend", "N", &o->extend, 1, 10000,
         "N more seeds after the planned end, judged at 99.5 %; the CSV counts it", 0},
        {CVY_SECTION, "study on several machines", NULL, NULL, 0, 0, NULL, 0},
        {CVY_FLAG, "--screen", NULL, &o->screen, 0, 0, "find the rates, and stop", 0},
        {CVY_TEXT, "--part", "K/N", &o->part, 0, 0, "after that: every Nth round from the Kth on, in DIR/part-K", 0},
        {CVY_FLAG, "--merge", NULL, &o->merge, 0, 0, "join the whole rounds of DIR/part-*, and report", 0},
        {CVY_INT, "--slurm", "N", &o->slurm, 1, 10000, "write DIR/slurm.sh, which does all that in N parts", 0},
        {CVY_SECTION, NULL, NULL, NULL, 0, 0, NULL, 0},
    };
    memcpy(list, option, sizeof option);
}

/* ---- the report ---- */

const char *study_page(const char *csv)
{
    const char *slash = strrchr(csv, '/');
    return xprintf("%.*sreport.html", slash ? (int)(slash + 1 - csv) : 0, csv);
}

/* Whether the primary pair has an answer that stands: else the status is another. */
static bool is_verdict(const Analysis *a)
{
    static const bool stands[ANSWERS] = {[ANSWER_FAILED] = true, [ANSWER_SAME] = true,     [ANSWER_BETTER] = true,
                                         [ANSWER_EASY] = true,   [ANSWER_SLIGHTLY] = true, [ANSWER_EQUAL] = true};
    return !a->interim && !a->null_claimed && stands[a->pair[0].verdict.answer];
}

/* Prints the report, and writes the page. */
static int report(const Study *s, const char *csv, const Options *o, const char *svg)
{
    const Analysis *a = analyse(s);
    if (svg && !file_write(svg, report_svg(a), strlen(report_svg(a))))
        return EXIT_FAILED;
    const char *page = o->html ? o->html : study_page(csv);
    if (!o->json || o->html) {
        const char *text = report_html(a, NULL, 0);
        if (!file_write(page, text, strlen(text)))
            return EXIT_FAILED;
    }
    if (o->json) {
        printf("%s\n", report_json(a));
    } else {
        report_text(a, stdout);
        printf("\nThe page: %s\n", page);
    }
    return is_verdict(a) ? EXIT_OK : EXIT_UNCLEAR;
}

/* ---- programs ---- */

static uint32_t crc_text(uint32_t crc, const char *text, size_t n)
{
    return (uint32_t)crc32_z(crc, (const unsigned char *)text, n);
}

static uint32_t crc_files(const OutDir *out)
{
    uint32_t crc = 0;
    for (int i = 0; i < out->n; i++) {
        crc = crc_text(crc, out->file[i].name, strlen(out->file[i].name) + 1);
        crc = crc_text(crc, out->file[i].text, out->file[i].len);
    }
    return crc;
}

/* The same of the C alone, without the spec's hash: two specs of one network have it in common. */
static uint32_t crc_network(const OutDir *out, const char *hash)
{
    uint32_t crc = 0;
    for (int i = 0; i < out->n; i++) {
        const char *from = out->file[i].text, *dot = strrchr(out->file[i].name, '.');
        if (dot && strcmp(dot, ".yaml") == 0)
            continue;
        for (const char *at; (at = strstr(from, hash)) != NULL; from = at + strlen(hash))
            crc = crc_text(crc, from, (size_t)(at - from));
        crc = crc_text(crc, from, strlen(from));
    }
    return crc;
}

static bool make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return true;
    fprintf(stderr, "convoy: cannot make the folder '%s': %s\n", path, strerror(errno));
    return false;
}

/* The variants' plans, and what their C is: nothing is written yet. */
typedef struct Emitted {
    const Plan **plan;
    uint32_t *crc, *network_crc;
    const char *network;
    int batch;
} Emitted;

/* What the first variant's spec says where the study does not, and that all fit the rows. */
static bool take_spec(Study *s, int v, const Plan *p)
{
    const SpecTrain *t = &p->g->spec->train;
    if (v == 0) {
        s->network = p->g->spec->name;
        s->target = p->target->name;
        s->epochs = s->epochs ? s->epochs : t->epochs > 0 ? t->epochs : 5;
        s->rate = s->rate > 0 ? s->rate : t->lr;
    }
    if (p->g->spec->train.loss->target != CVY_CLASS) {
        fprintf(stderr, "convoy: a study compares accuracies, and '%s' learns by %s\n", s->variant[v].name,
                p->g->spec->train.loss->help);
        return false;
    }
    if (p->g->spec->classes != s->classes) {
        fprintf(stderr, "convoy: '%s' learns %d classes, and the data have %d\n", s->variant[v].name,
                p->g->spec->classes, s->classes);
        return false;
    }
    return true;
}

/* Two variants of the same code say nothing of each other. */
static bool differs(const Study *s, const Emitted *e, int v)
{
    int first = 0;
    while (e->network_crc[first] != e->network_crc[v])
        first++;
    if (first == v)
        return true;
    fprintf(
        stderr,
        "convoy: error: '%s' and '%s' are one network: what they set in the spec changes nothing\n  hint: an order "
        "that names its norm or activation keeps it, whatever 'norm' or 'act' say; a layer's own order stays, too\n",
        s->variant[first].name, s->variant[v].name);
    return false;
}

static bool emit_variants(StudyFile *f, const Options *o, Emitted *to)
{
    Study *s = &f->study;
    to->plan = xalloc((size_t)s->nvariant * sizeof *to->plan);
    to->crc = xalloc((size_t)s->nvariant * sizeof *to->crc);
    to->network_crc = xalloc((size_t)s->nvariant * sizeof *to->crc);
    for (int v = 0; v < s->nvariant; v++) {
        Options one = {.spec = f->of[v].spec, .set = f->of[v].set, .nset = f->of[v].nset};
        int status;
        const Plan *p = load_plan(&one, o->target ? o->target : "native", false, &status);
        if (!p || !take_spec(s, v, p))
            return false;
        if (!emit_fits(p, PART_ALL)) {
            diag_flush(stderr);
            return false;
        }
        OutDir out = {0};
        emit_network(p, PART_ALL, &out);
        to->plan[v] = p;
        to->crc[v] = crc_files(&out);
        to->network_crc[v] = crc_network(&out, emit_spec_hash(p->g->spec));
        to->network = s->network;
        to->batch = p->g->spec->train.batch > 0 ? p->g->spec->train.batch : 64;
        if (!differs(s, to, v))
            return false;
    }
    return true;
}

static const char **compile_variants(const Study *s, const Emitted *e, const char *folder)
{
    const char **program = xalloc((size_t)s->nvariant * sizeof *program);
    if (!make_folder(xprintf("%s/build", folder)))
        return NULL;
    const Built first = {.dir = xprintf("%s/build/%s", folder, s->variant[0].name), .name = e->plan[0]->g->spec->name};
    for (int v = 0; v < s->nvariant; v++) {
        const Options one = {.out = xprintf("%s/build/%s", folder, s->variant[v].name)};
        int lock;
        program[v] = build_program(&one, e->plan[v], v ? &first : NULL, &lock);
        if (!program[v])
            return NULL;
        close(lock);
    }
    return program;
}

/* ---- data ---- */

static bool is_set(const char *path)
{
    const size_t n = strlen(path);
    static const char end[] = ".safetensors";
    return n >= sizeof end && strcmp(path + n - (sizeof end - 1), end) == 0;
}

const char *study_set(const char *data, const char *word, const char *folder)
{
    uint64_t seed;
    const char *from = data, *to = xprintf("%s/data.safetensors", folder);
    int number = 0;
    if (is_set(data))
        return data;
    if (access(to, R_OK) == 0)
        return to;
    if (strcmp(word, "fashion-mnist") == 0 && cvy_data_where("fashion-mnist", NULL, &seed, &from) != CVY_FOLDER)
        return NULL;
    const DataOptions import = {.out = to, .quiet = 1, .seed = 1};
    if (data_import(from, &import, &number))
        return to;
    if (number) {
        signal(number, SIG_DFL);
        raise(number);
    }
    return NULL;
}

static int whole_rounds(const Study *s)
{
    return analyse(s)->rounds.n;
}

/* --extend: only after the planned end, and only once in one go. */
static bool extend(Study *s, int by)
{
    int n, ready;
    jobs_left(s, &n, &ready);
    if (n) {
        fprintf(stderr, "convoy: %d trainings of what was planned are left: --extend comes after them\n", n);
        return false;
    }
    *PUSH(s->extension, s->nextension) = by;
    return true;
}

/* ---- how long ---- */

/* Seconds of a training of `steps` steps that is thrown away; below 0 where that fails, after a message. */
static double time_steps(const char *program, const char *set, int steps)
{
    char *argv[] = {xstrdup(program),
                    xstrdup("train"),
                    xprintf("--data=%s", set),
                    xstrdup("--threads=1"),
                    xprintf("--limit=%d", steps),
                    xstrdup("--no-save"),
                    xstrdup("--no-eval"),
                    xstrdup("--quiet"),
                    xprintf("--epochs=%d", steps),
                    study_holds_out() ? xstrdup("--valid=0") : NULL,
                    NULL};
    Buf said = {0};
    const double began = cvy_seconds();
    if (process_run(argv, &said) == 0)
        return cvy_seconds() - began;
    fprintf(stderr, "convoy: a training of %d steps failed:\n%s", steps, said.text ? said.text : "");
    return -1;
}

static bool measure(const Study *s, const char *const *program, const Pool *pool, double valid, const char *folder,
                    StudyTimes *to)
{
    const char *set = xprintf("%s/plan.safetensors", folder);
    bool ok = pool_cut(pool, valid, 0, set);
    to->step = xalloc((size_t)s->nvariant * sizeof *to->step);
    to->start = xalloc((size_t)s->nvariant * sizeof *to->start);
    for (int v = 0; v < s->nvariant && ok; v++) {
        const double more = time_steps(program[v], set, 21);
        to->start[v] = more < 0 ? -1 : time_steps(program[v], set, 1);
        to->step[v] = fmax(1e-6, (more - to->start[v]) / 20);
        ok = to->start[v] >= 0;
    }
    unlink(set);
    return ok;
}

static void print_plan(const Study *s, const Pool *pool, const StudyFile *f, const StudyTimes *t, int at_once)
{
    int n, ready;
    const Job *left = jobs_left(s, &n, &ready);
    const double steps = ceil(pool_rows(pool) * (1 - f->valid) / t->batch),
                 answered = (pool_rows(pool) * f->valid + (double)s->rows) / t->batch / 3;
    double seconds = 0;
    for (int i = 0; i < n; i++)
        seconds +=
            2 * t->start[left[i].variant] + t->step[left[i].variant] * (steps * job_epochs(s, &left[i]) + answered);
    printf("%s: %d variants, %s, %d rows to train with and pick by, %lld to test%s\n", s->name, s->nvariant, s->network,
           pool_rows(pool), (long long)s->rows, f->take.folds ? xprintf(" in each of %d folds", f->take.folds) : "");
    printf("screen: %d seed%s at %d rates around %g; then %d seeds at %d rates; %d at twice the epochs; %d epoch%s\n",
           s->screens, s->screens == 1 ? "" : "s", SCREEN_RATES, s->rate, seeds_planned(s), ROUND_RATES, s->longer,
           s->epochs, s->epochs == 1 ? "" : "s");
    printf("%d trainings are done, %d are left (more where a screen grows): about %.0f minutes, %d at a time\n",
           s->nrun, n, ceil(seconds / 60 / at_once), at_once);
}

/* ---- the command ---- */

/* What specs and data say, into the study; the variants' plans. */
static bool prepare(StudyFile *f, const Options *o, const Pool *pool, Emitted *emitted)
{
    Study *s = &f->study;
    uint32_t code = 0;
    pool_describe(pool, s);
    if (!emit_variants(f, o, emitted))
        return false;
    for (int v = 0; v < s->nvariant; v++)
        code = crc_text(code, (const char *)&emitted->crc[v], sizeof emitted->crc[v]);
    const PoolTake *t = &f->take;
    const char *rows =
        xprintf("%08x %d %d %g%s%s", pool_crc(pool), t->rows, t->test_rows, f->valid,
                t->pick_rows ? xprintf(" %d", t->pick_rows) : "", t->folds ? xprintf(" folds %d", t->folds) : "");
    s->fingerprint = xprintf("%08x-%08x", code, crc_text(0, rows, strlen(rows)));
    return true;
}

bool study_time(StudyFile *f, const Options *o, const char *folder, Pool *pool, StudyTimes *to)
{
    Emitted emitted = {0};
    const char **program = prepare(f, o, pool, &emitted) ? compile_variants(&f->study, &emitted, folder) : NULL;
    to->batch = emitted.batch;
    return program && measure(&f->study, program, pool, f->valid, folder, to);
}

/* The report so far, which the CSV counts. */
static int look(Study *s, const Options *o, const char *folder, const char *csv, const char *svg)
{
    int n, ready;
    jobs_left(s, &n, &ready);
    if (n)
        *PUSH(s->look, s->nlook) = whole_rounds(s);
    return n && !study_save(s, folder) ? EXIT_FAILED : report(s, csv, o, svg);
}

/* What there is of the study, and of this part of it. */
static bool begin(Study *s, const StudyOptions *own, const char *folder, const char *work)
{
    if (own->of_parts)
        return part_begin(s, folder, work);
    return study_earlier(s, xprintf("%s/runs.csv", work)) && (!own->merge || parts_merge(s, folder));
}

/* After the trainings: what is said of them. */
static int conclude(Study *s, const Options *o, const StudyOptions *own, const char *work)
{
    int n, ready;
    jobs_left(s, &n, &ready);
    if (own->of_parts) {
        printf("part %s: %d rounds are whole in %s; --merge joins the parts\n", own->part, whole_rounds(s), work);
        return EXIT_OK;
    }
    if (own->screen) {
        printf("the rates are found; %d trainings are left for the rounds\n", n);
        return EXIT_OK;
    }
    if (n && own->deadline > 0)
        fprintf(stderr, "convoy: the time is over, and %d trainings are left: the same command goes on\n", n);
    return report(s, xprintf("%s/runs.csv", work), o, own->svg);
}

int study_go(StudyFile *f, const Options *o, const StudyOptions *own, const char *folder)
{
    Study *s = &f->study;
    const char *work = own->of_parts ? part_folder(folder, own) : folder, *csv = xprintf("%s/runs.csv", work),
               *set = study_set(f->data, s->data, folder);
    Pool *pool = set ? pool_open(set, &f->take) : NULL;
    Emitted emitted = {0};
    if (!pool || !prepare(f, o, pool, &emitted) || !begin(s, own, folder, work))
        return EXIT_FAILED;
    if (own->merge)
        return study_save(s, work) ? report(s, csv, o, own->svg) : EXIT_FAILED;
    if (own->look)
        return look(s, o, work, csv, own->svg);
    if (own->extend && !extend(s, own->extend))
        return EXIT_FAILED;
    const char **program = compile_variants(s, &emitted, work);
    if (!program)
        return EXIT_FAILED;
    const Runner runner = {.folder = work,
                           .program = program,
                           .pool = pool,
                           .valid = f->valid,
                           .at_once = own->jobs ? own->jobs : cvy_processors(),
                           .deadline = own->deadline,
                           .screen = own->screen || own->first_look,
                           .rates_found = own->rates_found,
                           .part = own->of_part,
                           .parts = own->of_parts};
    if (own->plan) {
        StudyTimes times = {.batch = emitted.batch};
        if (!measure(s, program, pool, f->valid, work, &times))
            return EXIT_FAILED;
        print_plan(s, pool, f, &times, runner.at_once);
        return EXIT_OK;
    }
    int by_signal = 0;
    if (!study_save(s, work)) /* that it can be written is tried before hours are spent */
        return EXIT_FAILED;
    const int done = study_run(s, &runner, &by_signal);
    pool_close(pool);
    if (done == 0) {
        fprintf(stderr, "convoy: stopped; %d trainings are kept, the same command goes on\n", s->nrun);
        if (own->interim && whole_rounds(s))
            look(s, o, work, csv, own->svg);
        return 128 + by_signal;
    }
    return done < 0 ? EXIT_FAILED : conclude(s, o, own, work);
}

StudyFile *study_load(const char *path)
{
    StudyFile *f = study_file_read(path);
    return diag_flush(stderr) ? NULL : f;
}

bool study_folder(const char *folder, struct cvy_lock *lock)
{
    return make_folder(folder) && cvy_lock_take(lock, xprintf("%s/runs.csv", folder));
}

void study_leave(const char *folder, struct cvy_lock *lock)
{
    cvy_lock_drop(lock);
    (void)rmdir(folder); /* where nothing came of it, it is empty */
}

int cmd_study(const Options *o)
{
    StudyOptions own;
    struct cvy_option option[STUDY_OPTIONS];
    study_options(&own, option);
    if (cvy_options_parse(o->nrest, o->rest, 0, "study", option) != 1)
        return EXIT_USAGE;
    if (own.report) {
        const Study *s = study_read(o->spec);
        return diag_flush(stderr) || !s ? EXIT_FAILED : report(s, o->spec, o, own.svg);
    }
    StudyFile *f = study_load(o->spec);
    if (!f)
        return EXIT_FAILED;
    const char *folder = o->out ? o->out : xprintf("study-%s", f->study.name);
    struct cvy_lock lock;
    if (!part_read(&own))
        return EXIT_USAGE;
    const char *work = own.of_parts ? part_folder(folder, &own) : folder;
    if (!study_folder(work, &lock))
        return EXIT_FAILED;
    int status = EXIT_FAILED;
    if (!own.slurm)
        status = study_go(f, o, &own, folder);
    else if (slurm_write(f, o, &own, folder))
        status = EXIT_OK;
    study_leave(work, &lock);
    return status;
}
