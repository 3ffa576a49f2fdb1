/* campaign_cases.c - cases: each in a process of its own, several at a time; what came of them, in words. */
#include "campaign.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- folders ---- */

void remove_tree(const char *dir)
{
    const char *argv[] = {"rm", "-rf", "--", dir, NULL};
    run_program("/dev/null", NULL, NULL, argv);
}

void fresh_folder(const char *dir)
{
    remove_tree(dir);
    if (mkdir(dir, 0777) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", dir, strerror(errno));
        exit(2);
    }
}

/* ---- cases, each in a process of its own ---- */

/* Starts judging; the verdict comes through a pipe. */
Slot start_case(const Case *c, int index)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) {
        perror("campaign: pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid < 0) {
        perror("campaign: fork");
        exit(2);
    }
    if (pid == 0) {
        close(ends[0]);
        Verdict v = judge(c);
        fflush(stdout);
        _exit(write(ends[1], &v, sizeof v) == (ssize_t)sizeof v ? 0 : 1);
    }
    close(ends[1]);
    return (Slot){pid, ends[0], index};
}

Verdict finish_case(Slot *s)
{
    Verdict v;
    char *to = (char *)&v;
    size_t got = 0;
    ssize_t n;
    while (got < sizeof v && ((n = read(s->from, to + got, sizeof v - got)) > 0 || (n < 0 && errno == EINTR)))
        got += n > 0 ? (size_t)n : 0;
    close(s->from);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
    if (got != sizeof v)
        v = (Verdict){.outcome = CASE_CRASHED, .what = "the test itself crashed on it"};
    return v;
}

/* ---- reports ---- */

void count_case(Count *k, const Verdict *v)
{
    if (v->outcome == CASE_PASSED)
        k->passed++;
    else
        k->failed++;
    k->noisy += v->noisy;
    k->exact += v->exact;
    k->nan += v->nan;
    k->tensors += v->tensors;
    k->flips += v->flips;
    k->kept += v->kept;
    k->expected += v->expected;
    k->variance += v->variance;
    k->fold = fmax(k->fold, v->fold);
    if (v->ratio > k->ratio && v->outcome == CASE_PASSED) {
        k->ratio = v->ratio;
        memcpy(k->worst, v->worst, sizeof k->worst);
    }
}

/* The counts; false where something failed. Dropout's rates are judged where every case has masks of its own. */
bool report_cases(const char *what, Count *k, bool masks)
{
    bool drops = k->variance == 0 || !masks || fabs(k->kept - k->expected) <= 5 * sqrt(k->variance);
    printf("%s: %" PRId64 " tensors compared, %d of them exactly; %" PRId64
           " numbers NaN, as in the reference; nearest to its tolerance: %s\n",
           what, k->tensors, k->exact, k->nan, k->worst[0] ? k->worst : "none");
    printf("%s: %" PRId64
           " decisions at kinks taken from the float run; %d tensors beyond the tolerance within float32's own noise; "
           "folded inference within %.2g\n",
           what, k->flips, k->noisy, k->fold);
    if (k->variance > 0)
        printf("%s: dropout kept %.0f of an expected %.0f (%.1f sigma)%s\n", what, k->kept, k->expected,
               (k->kept - k->expected) / sqrt(k->variance), drops ? "" : ": FAILED");
    if (!drops)
        k->failed++;
    printf("%s: %d passed, %d failed\n", what, k->passed, k->failed);
    fflush(stdout);
    return k->failed == 0;
}

void print_file(const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        printf("    %s", line);
    if (f)
        fclose(f);
}

Label label_of(const Options *o, const char *part, uint64_t seed, char *name)
{
    const char *purpose = o->purpose ? xprintf(" --for %s", o->purpose) : "";
    const char *which = name ? xprintf("%s--only '%s'", o->brief ? "--short " : "", name)
                             : xprintf("--seed %" PRIu64 " --count 1", seed);
    return (Label){name ? name : xprintf("seed %" PRIu64, seed),
                   xprintf("%s --convoy %s%s %s %s", o->self, o->convoy, purpose, part, which)};
}

void say_failure(Label label, const Case *c, const Verdict *v)
{
    printf("FAILED %s (%s): %s\n", label.name, outcome_name[v->outcome], v->what);
    printf("  repeat: %s\n", label.repeat);
    printf("  n %d, numbers' seed %" PRIu64 ", target %s, %s %s; files: %s\n", c->n, c->seed, c->target, c->cc,
           c->cflags, c->dir);
    print_file(c->spec);
    fflush(stdout);
}

/* Judges cases, `jobs` at a time, each as soon as there is room; says what failed in their own order. label[i] names
 * them. With --first, none is begun after a failure. */
Count all_cases(const Options *o, const Case *c, const Label *label, int n, Verdict *v)
{
    Slot slot[MOST_JOBS] = {{0}};
    struct pollfd wait[MOST_JOBS];
    Count k = {0};
    bool *done = calloc((size_t)n + 1, sizeof *done);
    if (!done) {
        fprintf(stderr, "campaign: out of memory\n");
        exit(2);
    }
    for (int next = 0, said = 0; said < n && !(o->first && k.failed);) {
        for (int j = 0; j < o->jobs; j++) {
            if (!slot[j].pid && next < n) {
                slot[j] = start_case(&c[next], next);
                next++;
            }
            wait[j] = (struct pollfd){.fd = slot[j].pid ? slot[j].from : -1, .events = POLLIN};
        }
        if (poll(wait, (nfds_t)o->jobs, -1) < 0 && errno != EINTR)
            break;
        for (int j = 0; j < o->jobs; j++)
            if (slot[j].pid && wait[j].revents) {
                v[slot[j].index] = finish_case(&slot[j]);
                done[slot[j].index] = true;
            }
        for (; said < n && done[said]; said++) {
            count_case(&k, &v[said]);
            if (v[said].outcome != CASE_PASSED)
                say_failure(label[said], &c[said], &v[said]);
            else if (!o->keep)
                remove_tree(c[said].dir);
        }
    }
    for (int j = 0; j < o->jobs; j++)
        if (slot[j].pid)
            finish_case(&slot[j]);
    free(done);
    return k;
}
