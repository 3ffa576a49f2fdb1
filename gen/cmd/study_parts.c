/* study_parts.c - one study on several machines: its screen on one, its rounds in parts, and the parts joined.
 *
 * A round, one seed of every variant, is one part's: what is compared was trained on one machine. All parts have the
 * study's code, so its target, too: others are refused as trainings of another study. */
#include "diag.h"
#include "files.h"
#include "process.h"
#include "read.h"
#include "runtime.h"
#include "study_command.h"
#include "target.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PARTS = 10000 };

bool part_read(StudyOptions *own)
{
    char *end;
    if (own->plan + own->look + own->screen + own->merge + (own->extend > 0) + (own->slurm > 0) + (own->part != NULL) >
        1) {
        fprintf(stderr, "convoy: --plan, --look, --extend, --screen, --part, --merge, --slurm: one at a time\n");
        return false;
    }
    if (!own->part)
        return true;
    const long part = strtol(own->part, &end, 10);
    const long parts = *end == '/' ? strtol(end + 1, &end, 10) : 0;
    if (*end || part < 1 || parts < part || parts > MOST_PARTS) {
        fprintf(stderr, "convoy: --part must be K/N, as 2/4: the second of four parts, not '%s'\n", own->part);
        return false;
    }
    own->of_part = (int)part;
    own->of_parts = (int)parts;
    return true;
}

const char *part_folder(const char *folder, const StudyOptions *own)
{
    return xprintf("%s/part-%d", folder, own->of_part);
}

/* ---- a part ---- */

/* Drops the trainings of rounds. */
static void keep_screen(Study *s)
{
    int n = 0;
    for (int i = 0; i < s->nrun; i++)
        if (s->run[i].role == ROLE_SCREEN)
            s->run[n++] = s->run[i];
    s->nrun = n;
}

static bool screen_left(const Study *s)
{
    int n, ready;
    const Job *left = jobs_left(s, &n, &ready);
    for (int i = 0; i < ready; i++)
        if (left[i].role == ROLE_SCREEN)
            return true;
    return false;
}

bool part_begin(Study *s, const char *folder, const char *part)
{
    const char *csv = xprintf("%s/runs.csv", folder);
    Study of_part = *s;
    if (!study_earlier(s, csv))
        return false;
    keep_screen(s);
    if (screen_left(s)) {
        fprintf(stderr,
                "convoy: the rates are not all found in '%s'\n  hint: the same command with --screen instead of --part "
                "comes first\n",
                csv);
        return false;
    }
    if (!study_earlier(&of_part, xprintf("%s/runs.csv", part)))
        return false;
    for (int i = 0; i < of_part.nrun; i++)
        if (of_part.run[i].role != ROLE_SCREEN)
            *PUSH(s->run, s->nrun) = of_part.run[i];
    return true;
}

/* ---- joining ---- */

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_outcome(const Training *a, const Training *b)
{
    return a->diverged == b->diverged && same_number(a->valid, b->valid) && same_number(a->test, b->test) &&
           a->correct == b->correct && a->rows == b->rows;
}

/* Trainings of a seed in a role. */
static int seed_trainings(const Study *s, Role role, int64_t seed)
{
    int n = 0;
    for (int i = 0; i < s->nrun; i++)
        n += s->run[i].role == role && s->run[i].seed == seed;
    return n;
}

static bool is_whole(const Study *s, Role role, int64_t seed)
{
    return seed_trainings(s, role, seed) == ROUND_RATES * (role == ROLE_LONG ? 2 : s->nvariant);
}

/* One training of a part: there already with the same outcome, or new. from, to: of which file, for people. */
static bool take(Study *s, int before, const Training *t, const char *from, const char *to)
{
    for (int i = 0; i < before; i++) {
        if (!same_training(&s->run[i], t))
            continue;
        if (same_outcome(&s->run[i], t))
            return true;
        fprintf(stderr,
                "convoy: '%s' and '%s' have different results for %s, seed %lld: one study, trained twice, has one\n",
                to, from, s->variant[t->variant].name, (long long)t->seed);
        return false;
    }
    const int there = seed_trainings(s, t->role, t->seed);
    if (there && t->role != ROLE_SCREEN) {
        int mine = 0;
        for (int i = before; i < s->nrun; i++)
            mine += s->run[i].role == t->role && s->run[i].seed == t->seed;
        if (mine < there) {
            fprintf(stderr,
                    "convoy: seed %lld is trained in part in '%s', in part in '%s'\n  hint: a round belongs to one "
                    "machine: remove its lines from one of them\n",
                    (long long)t->seed, to, from);
            return false;
        }
    }
    *PUSH(s->run, s->nrun) = *t;
    return true;
}

/* The whole rounds of a part. */
static bool merge_one(Study *s, const char *csv, const char *to)
{
    Study part = *s;
    part.run = NULL;
    part.nrun = 0;
    if (!study_earlier(&part, csv))
        return false;
    const int before = s->nrun;
    int left = 0;
    for (int i = 0; i < part.nrun; i++) {
        const Training *t = &part.run[i];
        const bool whole = t->role == ROLE_SCREEN || is_whole(&part, t->role, t->seed);
        left += !whole;
        if (whole && !take(s, before, t, csv, to))
            return false;
    }
    if (left)
        fprintf(stderr, "convoy: '%s': %d trainings of rounds that are not whole stay there\n", csv, left);
    return true;
}

bool parts_merge(Study *s, const char *folder)
{
    glob_t found = {0};
    Buf pattern = {0};
    for (const char *c = folder; *c; c++)
        buf_printf(&pattern, strchr("*?[]\\", *c) ? "\\%c" : "%c", *c);
    buf_puts(&pattern, "/part-*/runs.csv");
    const int failed = glob(pattern.text, 0, NULL, &found);
    if (failed || !found.gl_pathc) {
        fprintf(stderr, "convoy: there is no '%s/part-*/runs.csv' to join\n", folder);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < found.gl_pathc && ok; i++)
        ok = merge_one(s, xstrdup(found.gl_pathv[i]), xprintf("%s/runs.csv", folder));
    globfree(&found);
    return ok;
}

/* ---- Slurm ---- */

/* The program as one may call it from anywhere. */
static const char *own_path(void)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? xstrndup(path, (size_t)n) : "convoy";
}

static const char *full_path(const char *path)
{
    char *full = realpath(path, NULL);
    const char *kept = xstrdup(full ? full : path);
    free(full);
    return kept;
}

bool slurm_write(const StudyFile *f, const Options *o, const StudyOptions *own, const char *folder)
{
    const char *to = xprintf("%s/slurm.sh", folder), *target = o->target ? o->target : "native";
    const int jobs = own->jobs ? own->jobs : cvy_processors();
    if (strcmp(target, "native") == 0)
        target = target_find("native")->name; /* one for all machines: that of this one */
    Buf b = {0};
    buf_printf(&b,
               "#!/bin/sh\n"
               "# Written by convoy study: one job finds the rates, %d train the rounds, one joins them. Options to "
               "this script reach\n"
               "# each sbatch: sh %s --partition=long --time=8:00:00. All machines see this folder and have %s.\n"
               "set -eu\n"
               "convoy=%s\nstudy=%s\nfolder=%s\n",
               own->slurm, shell_word(to), target, shell_word(own_path()), shell_word(full_path(o->spec)),
               shell_word(full_path(folder)));
    buf_printf(&b,
               "job() { # NAME, options of sbatch\n"
               "    name=$1; shift\n"
               "    sbatch --parsable --job-name=\"$name\" --ntasks=1 --cpus-per-task=%d "
               "--output=\"$folder/slurm-%%x-%%j.txt\" \"$@\" \\\n"
               "        \"$folder/slurm-job.sh\"\n"
               "}\n"
               "cat >\"$folder/slurm-job.sh\" <<'END'\n"
               "#!/bin/sh\n"
               "set -eu\n"
               "case ${STEP:?} in\n"
               "    part) set -- --part \"$SLURM_ARRAY_TASK_ID/%d\" --jobs %d ;;\n"
               "    screen) set -- --screen --jobs %d ;;\n"
               "    *) set -- --merge ;;\n"
               "esac\n"
               "status=0\n"
               "\"$CONVOY\" study \"$STUDY\" -o \"$FOLDER\" --target %s \"$@\" || status=$?\n"
               "[ $status = 3 ] || exit $status # 3: a report without a verdict\n"
               "END\n",
               jobs, own->slurm, jobs, jobs, target);
    buf_printf(&b,
               "CONVOY=$convoy STUDY=$study FOLDER=$folder\n"
               "export CONVOY STUDY FOLDER STEP\n"
               "STEP=screen; screen=$(job %s-screen \"$@\")\n"
               "STEP=part; parts=$(job %s-part --array=1-%d --dependency=afterok:\"${screen%%%%;*}\" \"$@\")\n"
               "STEP=merge; merge=$(job %s-merge --dependency=afterok:\"${parts%%%%;*}\" \"$@\")\n"
               "echo \"screen ${screen%%%%;*}, parts ${parts%%%%;*}, merge ${merge%%%%;*}: the report will be "
               "$folder/report.html\"\n",
               f->study.name, f->study.name, own->slurm, f->study.name);
    if (!file_write(to, b.text, strlen(b.text)))
        return false;
    printf("%s: the screen, %d parts of %d processors, and joining them. Begin with: sh %s\n", to, own->slurm, jobs,
           shell_word(to));
    return true;
}
