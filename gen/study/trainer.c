/* trainer.c - does a study's trainings: as many at a time as are asked for, one thread each, and after each one the CSV
 * is whole again.
 *
 * needs: a Study, its programs, its rows.  sets: trainings in the Study and in FOLDER/runs.csv. Killed at any moment,
 * what was in the CSV is there; what was running is done again, with the same result. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "plan_study.h"
#include "analyse.h"
#include "answers.h"
#include "files.h"
#include "numbers.h"
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { MOST_AT_ONCE = 256, MOST_LOG = 64 << 20 };

/* A training under way: its program trains, then looks at the test rows. */
typedef struct Slot {
    Job job;
    pid_t pid;                                         /* 0: free */
    enum { TRAINS, ANSWERS_HELD, ANSWERS_TEST } stage; /* the second only where the score is not in the log */
    const char *stem;                                  /* of its files in FOLDER/work */
    double began;
    Training t;
} Slot;

typedef struct Run {
    Study *s;
    const Runner *r;
    Slot slot[MOST_AT_ONCE];
    sigset_t waits, before;                /* what is waited for; the mask that children get */
    double seconds, epochs;                /* so far: of trainings that ended, and how many epochs they had */
    int rounds;                            /* that were whole when it was last said */
    bool terminal, takes_valid, in_rounds; /* in_rounds: a round has begun here */
} Run;

bool study_save(Study *s, const char *folder)
{
    const char *text = study_csv(s);
    return file_write(xprintf("%s/runs.csv", folder), text, strlen(text));
}

/* ---- files of trainings ---- */

static const char *work(const Run *run, const char *name)
{
    return xprintf("%s/%s/%s", run->r->folder, "work", name);
}

/* Makes the folder, or empties it: what a killed study left is of no use. */
static bool clear_work(const Run *run)
{
    const char *path = work(run, "");
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        cvy_error(NULL, "cannot make '%s': %s", path, strerror(errno));
        return false;
    }
    DIR *d = opendir(path);
    if (!d) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return false;
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return true;
}

static const char *seed_set(const Run *run, int64_t seed)
{
    return work(run, xprintf("seed-%lld.safetensors", (long long)seed));
}

static const char *test_set(const Run *run, int fold)
{
    return work(run, xprintf("test-%d.safetensors", fold));
}

static bool tests_ready(const Run *run)
{
    bool ok = true;
    for (int f = 0; f < pool_folds(run->r->pool) && ok; f++)
        ok = pool_test(run->r->pool, f, test_set(run, f));
    return ok;
}

static bool seed_ready(const Run *run, int64_t seed)
{
    const char *path = seed_set(run, seed);
    const PoolMark m = pool_mark();
    const bool ok = access(path, R_OK) == 0 || pool_cut(run->r->pool, run->r->valid, seed, path);
    pool_release(m);
    return ok;
}

static void remove_files(const Run *run, const Slot *slot)
{
    static const char *const ends[] = {".safetensors",
                                       ".state.safetensors",
                                       ".safetensors.lock",
                                       ".state.safetensors.lock",
                                       ".log",
                                       ".txt",
                                       ".answers",
                                       NULL};
    for (int i = 0; ends[i]; i++)
        unlink(work(run, xprintf("%s%s", slot->stem, ends[i])));
}

/* ---- processes ---- */

/* In the child: it dies with convoy, hears no Ctrl-C of its own, and writes into `to`. */
static void become(const Run *run, char *const argv[], const char *to, pid_t parent)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
#else
    (void)parent;
#endif
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &run->before, NULL);
    const int in = open("/dev/null", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(127);
    execv(argv[0], argv);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static bool start(const Run *run, Slot *slot, char *const argv[])
{
    const char *to = work(run, xprintf("%s.txt", slot->stem));
    const pid_t parent = getpid();
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0)
        become(run, argv, to, parent);
    if (pid < 0) {
        cvy_error(NULL, "cannot start a training: %s", strerror(errno));
        return false;
    }
    slot->pid = pid;
    return true;
}

static bool start_training(const Run *run, Slot *slot, const Job *j)
{
    const Study *s = run->s;
    *slot = (Slot){.job = *j,
                   .began = cvy_seconds(),
                   .stem = xprintf("%s-%s-%lld-%d", s->variant[j->variant].name, role_names[j->role],
                                   (long long)j->seed, j->power)};
    slot->t = (Training){.variant = j->variant,
                         .epochs = job_epochs(s, j),
                         .role = j->role,
                         .seed = j->seed,
                         .rate = job_rate(s, j),
                         .valid = NAN,
                         .test = NAN,
                         .train_loss = NAN,
                         .test_loss = NAN};
    if (!seed_ready(run, j->seed))
        return false;
    char *argv[32] = {NULL};
    int n = 0;
    argv[n++] = xstrdup(run->r->program[j->variant]);
    argv[n++] = xstrdup("train");
    argv[n++] = xprintf("--data=%s", seed_set(run, j->seed));
    argv[n++] = xprintf("--seed=%lld", (long long)j->seed);
    argv[n++] = xprintf("--lr=%s", real_text(slot->t.rate));
    argv[n++] = xprintf("--epochs=%d", slot->t.epochs);
    argv[n++] = xprintf("--save=%s", work(run, xprintf("%s.safetensors", slot->stem)));
    argv[n++] = xprintf("--log=%s", work(run, xprintf("%s.log", slot->stem)));
    argv[n++] = xstrdup("--threads=1");
    argv[n++] = xstrdup("--quiet");
    if (run->takes_valid)
        argv[n++] = xstrdup("--valid=0"); /* what is held out is this set's own */
    return start(run, slot, argv);
}

/* Which rows are answered right is kept of what may count. */
static bool wants_answers(const Run *run, const Slot *slot)
{
    return keeps_answers(run->s) && slot->job.role != ROLE_SCREEN;
}

static const char *answers_file(const Run *run, const Slot *slot)
{
    return work(run, xprintf("%s.answers", slot->stem));
}

/* Its weights answer the rows that the seed holds out, or the test rows. */
static bool start_answering(const Run *run, Slot *slot, bool held)
{
    const char *rows = held ? seed_set(run, slot->job.seed) : test_set(run, pool_fold(run->r->pool, slot->job.seed));
    char *argv[] = {xstrdup(run->r->program[slot->job.variant]),
                    xstrdup("eval"),
                    xprintf("--weights=%s", work(run, xprintf("%s.safetensors", slot->stem))),
                    xprintf("--data=%s", rows),
                    xstrdup("--threads=1"),
                    xstrdup("--json"),
                    !held && wants_answers(run, slot) ? xprintf("--answers=%s", answers_file(run, slot)) : NULL,
                    NULL};
    slot->stage = held ? ANSWERS_HELD : ANSWERS_TEST;
    return start(run, slot, argv);
}

/* ---- what they say ---- */

static double member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool is_event(const json_t *o, const char *event)
{
    const char *said = json_string_value(json_object_get(o, "event"));
    return said && strcmp(said, event) == 0;
}

/* The last epoch of a training's log: its loss, and the score on the rows that were held out. */
static bool read_log(const Run *run, Slot *slot)
{
    size_t len;
    const char *path = work(run, xprintf("%s.log", slot->stem));
    char *text = file_read(path, MOST_LOG, &len);
    int epochs = 0;
    for (char *line = text, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
        const bool epoch = is_event(o, "epoch");
        epochs += epoch;
        if (epoch)
            slot->t.train_loss = member(o, "train_loss");
        if (epoch || is_event(o, "test"))
            slot->t.valid = member(o, "test_accuracy"); /* those that are held out are this set's rows to test */
        json_decref(o);
    }
    if (epochs == slot->t.epochs && slot->t.valid >= 0 && slot->t.valid <= 1)
        return true;
    cvy_error(NULL, "'%s' does not hold the %d epochs of a training", path, slot->t.epochs);
    return false;
}

/* The mean over the classes that have rows; NaN where it is not said. */
static double mean_recall(const json_t *classes)
{
    double sum = 0, there = 0;
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const json_t *c = json_array_get(classes, i);
        if (!(member(c, "images") > 0))
            continue;
        sum += member(c, "accuracy");
        there++;
    }
    return there > 0 ? sum / there : NAN;
}

/* How rows were answered: the score; *o is what was said. Below 0 after a message. */
static double read_answers(const Run *run, const Slot *slot, json_t **o)
{
    size_t len;
    const char *path = work(run, xprintf("%s.txt", slot->stem));
    char *text = file_read(path, MOST_LOG, &len);
    *o = text ? json_loads(text, 0, NULL) : NULL;
    const double score = scores_recall(run->s) ? mean_recall(json_object_get(*o, "classes")) : member(*o, "accuracy");
    if (score >= 0 && score <= 1)
        return score;
    cvy_error(NULL, "'%s' does not say how rows were answered", path);
    return -1;
}

static bool read_held(const Run *run, Slot *slot)
{
    json_t *o;
    slot->t.valid = read_answers(run, slot, &o);
    json_decref(o);
    return slot->t.valid >= 0;
}

static bool read_test(const Run *run, Slot *slot)
{
    json_t *o;
    const int rows = pool_test_rows(run->r->pool, slot->job.seed);
    const double score = read_answers(run, slot, &o), accuracy = member(o, "accuracy"), images = member(o, "images");
    slot->t.test_loss = member(o, "loss");
    json_decref(o);
    if (score < 0)
        return false;
    if (!(accuracy >= 0 && accuracy <= 1) || images != (double)rows) {
        cvy_error(NULL, "'%s' was to answer %d test rows", slot->stem, rows);
        return false;
    }
    slot->t.rows = rows;
    slot->t.correct = llround(accuracy * images);
    if (wants_answers(run, slot) && !(slot->t.answers = answers_of_file(answers_file(run, slot), rows)))
        return false;
    slot->t.test = scores_recall(run->s) ? score : (double)slot->t.correct / images;
    return true;
}

/* Loss and weights that are not finite end a program with these words. */
static bool says_diverged(const Run *run, const Slot *slot)
{
    size_t len;
    const char *text = file_read(work(run, xprintf("%s.txt", slot->stem)), MOST_LOG, &len);
    return text && (strstr(text, "training stops") || strstr(text, "these weights overflow"));
}

static bool failed(const Run *run, const Slot *slot, int status)
{
    size_t len;
    const char *text = file_read(work(run, xprintf("%s.txt", slot->stem)), MOST_LOG, &len);
    fprintf(stderr, "convoy: a training failed (%s, seed %lld, rate %s): %s\n%s",
            run->s->variant[slot->job.variant].name, (long long)slot->job.seed, real_text(slot->t.rate),
            WIFSIGNALED(status) ? xprintf("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)))
                                : xprintf("status %d", WEXITSTATUS(status)),
            text ? text : "");
    return false;
}

/* ---- results ---- */

static bool note_time(const Run *run, const Slot *slot, double seconds)
{
    const char *path = xprintf("%s/times.csv", run->r->folder);
    FILE *f = fopen(path, "a");
    if (!f)
        return true; /* times decide nothing */
    fprintf(f, "%s,%s,%lld,%s,%d,%.3f\n", run->s->variant[slot->job.variant].name, role_names[slot->job.role],
            (long long)slot->job.seed, real_text(slot->t.rate), slot->t.epochs, seconds);
    fclose(f);
    return true;
}

static bool keep(Run *run, Slot *slot)
{
    const double seconds = cvy_seconds() - slot->began;
    *PUSH(run->s->run, run->s->nrun) = slot->t;
    const PoolMark m = pool_mark(); /* the text of a thousand trainings, a thousand times, is not kept */
    const bool saved = study_save(run->s, run->r->folder);
    pool_release(m);
    if (!saved)
        return false;
    run->seconds += seconds;
    run->epochs += slot->t.epochs;
    remove_files(run, slot);
    slot->pid = 0;
    return note_time(run, slot, seconds);
}

/* A program has ended. */
static bool ended(Run *run, Slot *slot, int status)
{
    if (status != 0) {
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || !says_diverged(run, slot))
            return failed(run, slot, status);
        slot->t.diverged = true;
        slot->t.valid = slot->t.train_loss = slot->t.test_loss = NAN;
        return keep(run, slot);
    }
    switch (slot->stage) {
    case TRAINS:
        if (!read_log(run, slot))
            return false;
        if (scores_recall(run->s) && slot->t.train_loss <= log(run->s->classes))
            return start_answering(run, slot, true);
        break;
    case ANSWERS_HELD:
        if (!read_held(run, slot))
            return false;
        break;
    case ANSWERS_TEST:
        return read_test(run, slot) && keep(run, slot);
    }
    slot->t.diverged = !(slot->t.train_loss <= log(run->s->classes)) || slot->t.valid <= run->s->guessing;
    return slot->t.diverged ? keep(run, slot) : start_answering(run, slot, false);
}

/* ---- the loop ---- */

static bool runs_now(const Run *run, const Job *j)
{
    for (int i = 0; i < run->r->at_once; i++) {
        const Job *k = &run->slot[i].job;
        if (run->slot[i].pid && k->variant == j->variant && k->power == j->power && k->role == j->role &&
            k->seed == j->seed)
            return true;
    }
    return false;
}

static int running(const Run *run)
{
    int n = 0;
    for (int i = 0; i < run->r->at_once; i++)
        n += run->slot[i].pid != 0;
    return n;
}

/* Sets of seeds that no training needs any more. */
static void drop_sets(const Run *run, const Job *left, int n, int64_t seed)
{
    for (int i = 0; i < n; i++)
        if (left[i].seed == seed)
            return;
    unlink(seed_set(run, seed));
}

static const char *clock_text(double seconds)
{
    const int s = seconds < 0 ? 0 : seconds > 3.5e6 ? 3500000 : (int)(seconds + .5);
    return xprintf("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

/* Whether it is to be done here. */
static bool is_mine(const Run *run, const Job *j)
{
    const Runner *r = run->r;
    return j->role == ROLE_SCREEN || (!r->screen && (!r->parts || job_round(run->s, j) % r->parts == r->part - 1));
}

static void show(Run *run, const Job *left, int n)
{
    double epochs = 0;
    int mine = 0;
    for (int i = 0; i < n; i++)
        if (is_mine(run, &left[i])) {
            epochs += job_epochs(run->s, &left[i]);
            mine++;
        }
    const int rounds = analyse(run->s)->rounds.n;
    const char *rest = run->epochs > 0
                           ? xprintf("about %s left", clock_text(run->seconds / run->epochs * epochs / run->r->at_once))
                           : "";
    if (run->terminal) {
        fprintf(stderr, "\r\033[K%d trainings done, %d to go, %d of %d rounds  %s", run->s->nrun, mine, rounds,
                seeds_planned(run->s), rest);
    } else if (rounds != run->rounds || mine == 0) {
        fprintf(stderr, "%d of %d rounds, %d trainings to go, %s\n", rounds, seeds_planned(run->s), mine, rest);
    }
    run->rounds = rounds;
}

/* Whether a training of that round has begun, or the round can still end in time. */
static bool in_time(const Run *run, const Job *j)
{
    const Study *s = run->s;
    if (run->r->deadline <= 0 || j->role == ROLE_SCREEN || run->epochs <= 0)
        return true;
    for (int i = 0; i < run->r->at_once; i++)
        if (run->slot[i].pid && run->slot[i].job.role == j->role && run->slot[i].job.seed == j->seed)
            return true;
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].role == j->role && s->run[i].seed == j->seed)
            return true;
    const double round = run->seconds / run->epochs * job_epochs(s, j) * s->nvariant * ROUND_RATES / run->r->at_once;
    return cvy_seconds() + round <= run->r->deadline;
}

/* What can begin now, at most as many as are free. */
static int next_jobs(const Run *run, Job *to)
{
    const PoolMark m = pool_mark();
    const int free_slots = run->r->at_once - running(run);
    int n, ready, taken = 0;
    const Job *left = jobs_left(run->s, &n, &ready);
    for (int i = 0; i < ready && taken < free_slots; i++) {
        if (runs_now(run, &left[i]) || !is_mine(run, &left[i]))
            continue;
        if (!in_time(run, &left[i]))
            break;
        to[taken++] = left[i];
    }
    pool_release(m);
    return taken;
}

static bool fill(Run *run)
{
    Job job[MOST_AT_ONCE];
    const int n = next_jobs(run, job);
    int slot = 0;
    for (int i = 0; i < n; i++) {
        if (job[i].role != ROLE_SCREEN && !run->in_rounds && run->r->rates_found)
            run->r->rates_found(run->s);
        run->in_rounds |= job[i].role != ROLE_SCREEN;
        while (run->slot[slot].pid)
            slot++;
        if (!start_training(run, &run->slot[slot], &job[i]))
            return false;
    }
    return true;
}

static bool reap(Run *run, bool *changed)
{
    for (int i = 0; i < run->r->at_once; i++) {
        Slot *slot = &run->slot[i];
        int status;
        if (!slot->pid || waitpid(slot->pid, &status, WNOHANG) != slot->pid)
            continue;
        slot->pid = -slot->pid; /* not there any more */
        if (!ended(run, slot, status))
            return false;
        if (slot->pid)
            continue; /* it tests now */
        *changed = true;
        const PoolMark m = pool_mark();
        int n, ready;
        const Job *left = jobs_left(run->s, &n, &ready);
        drop_sets(run, left, n, slot->job.seed);
        show(run, left, n);
        pool_release(m);
    }
    return true;
}

static void stop_all(Run *run)
{
    for (int i = 0; i < run->r->at_once; i++)
        if (run->slot[i].pid > 0) {
            kill(-run->slot[i].pid, SIGKILL);
            kill(run->slot[i].pid, SIGKILL);
        }
    for (int i = 0; i < run->r->at_once; i++)
        if (run->slot[i].pid > 0) {
            while (waitpid(run->slot[i].pid, NULL, 0) < 0 && errno == EINTR)
                ;
            run->slot[i].pid = 0;
        }
}

static int loop(Run *run, int *by_signal)
{
    bool changed = true;
    for (;;) {
        const struct timespec wait = {0, 200000000};
        if (changed && !fill(run))
            return -1;
        if (!running(run))
            return 1;
        changed = false;
        const int signal = sigtimedwait(&run->waits, NULL, &wait);
        if (signal > 0 && signal != SIGCHLD) {
            *by_signal = signal;
            return 0;
        }
        if (!reap(run, &changed))
            return -1;
    }
}

/* Whether this runtime holds rows out of those to train with, unless it is told not to. */
bool study_holds_out(void)
{
    struct cvy_said said = {0};
    struct cvy_progress p = {0};
    struct cvy_option option[CVY_TRAIN_OPTIONS];
    cvy_train_options(&said, &p, NULL, option);
    for (int i = 0; option[i].name; i++)
        if (strcmp(option[i].name, "--valid") == 0)
            return true;
    return false;
}

int study_run(Study *s, const Runner *r, int *by_signal)
{
    Run *run = xalloc(sizeof *run);
    run->s = s;
    run->r = r;
    run->rounds = -1;
    run->terminal = isatty(STDERR_FILENO);
    run->takes_valid = study_holds_out();
    if (r->at_once < 1 || r->at_once > MOST_AT_ONCE)
        BUG("%d trainings at once", r->at_once);
    if (!clear_work(run) || !tests_ready(run))
        return -1;
    if (setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0) {
        cvy_error(NULL, "the environment is full: %s", strerror(errno));
        return -1;
    }
    sigemptyset(&run->waits);
    sigaddset(&run->waits, SIGCHLD);
    sigaddset(&run->waits, SIGINT);
    sigaddset(&run->waits, SIGTERM);
    sigaddset(&run->waits, SIGHUP);
    sigprocmask(SIG_BLOCK, &run->waits, &run->before);
    const int result = loop(run, by_signal);
    stop_all(run);
    if (run->terminal)
        fputs("\r\033[K", stderr);
    clear_work(run);
    rmdir(work(run, ""));
    sigprocmask(SIG_SETMASK, &run->before, NULL);
    return result;
}
