/* cvy_options.c - the command line: a table of options, read and explained from the same rows.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"
#include "cvy_schedule.h"
#include "cvy_settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Edit distance; words of options are short. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    int row[MAX + 1], na = (int)strlen(a), nb = (int)strlen(b);
    if (na > MAX || nb > MAX)
        return MAX;
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[nb];
}

const char *cvy_nearest(const char *word, const char *const *list)
{
    const char *best = NULL;
    int least = 1 + (int)strlen(word) / 3;
    for (; *list; list++) {
        int d = distance(word, *list);
        if (d <= least && (!best || d < least)) {
            best = *list;
            least = d;
        }
    }
    return best;
}

static int set_value(struct cvy_option *o, const char *text)
{
    if (o->kind == CVY_TEXT) {
        if (!*text) {
            cvy_error(NULL, "%s: an empty %s", o->name, o->arg);
            return 0;
        }
        *(const char **)o->value = text;
        return 1;
    }
    if (o->kind == CVY_U64) {
        if (cvy_parse_u64(text, 0, UINT64_MAX, o->value))
            return 1;
        cvy_error(NULL, "%s: '%s' is not a whole number from 0 to 18446744073709551615", o->name, text);
        return 0;
    }
    if (o->kind == CVY_INT) {
        int64_t v;
        if (!cvy_parse_i64(text, (int64_t)o->lo, (int64_t)o->hi, &v)) {
            cvy_error(NULL, "%s: '%s' is not a whole number from %.10g to %.10g", o->name, text, o->lo, o->hi);
            return 0;
        }
        *(int *)o->value = (int)v;
        return 1;
    }
    static const char *const kinds[] = {
        [CVY_REAL] = "number", [CVY_WHOLE] = "whole number", [CVY_SHARE] = "share below 1 or whole number"};
    double v;
    if (!cvy_parse_real(text, -HUGE_VAL, HUGE_VAL, &v)) {
        cvy_error(NULL, "%s: '%s' is not a number", o->name, text);
        return 0;
    }
    const int broken = v != floor(v) && (o->kind == CVY_WHOLE || (o->kind == CVY_SHARE && v > 1));
    if (broken || !cvy_parse_real(text, o->lo, o->hi, o->value)) {
        cvy_error(NULL, "%s: '%s' is not a %s from %.10g to %.10g", o->name, text, kinds[o->kind], o->lo, o->hi);
        return 0;
    }
    return 1;
}

static int unknown_option(const char *word, const char *command, const struct cvy_option *option)
{
    const char *name[CVY_TRAIN_OPTIONS + 1];
    int n = 0;
    for (; option->name && n < CVY_TRAIN_OPTIONS - 1; option++) {
        if (option->kind != CVY_SECTION)
            name[n++] = option->name;
    }
    name[n++] = "--help";
    name[n] = NULL;
    const char *near = cvy_nearest(word, name);
    char *hint =
        near ? cvy_format("did you mean '%s'?", near) : cvy_format("'%s %s --help' lists them", cvy_program, command);
    cvy_error(hint, "%s: unknown %s '%s'", command, word[0] == '-' ? "option" : "argument", word);
    free(hint);
    return 0;
}

int cvy_options_parse(int argc, char **argv, int from, const char *command, struct cvy_option *option)
{
    for (int i = from; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return -1;
    }
    for (int i = from; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        struct cvy_option *o = option;
        while (o->name && (o->kind == CVY_SECTION || strlen(o->name) != len || memcmp(o->name, argv[i], len) != 0))
            o++;
        if (!o->name)
            return unknown_option(argv[i], command, option);
        const char *value = argv[i][len] ? argv[i] + len + 1 : NULL;
        if (o->kind <= CVY_OFF) {
            if (value) {
                cvy_error(NULL, "%s takes no value", o->name);
                return 0;
            }
            if (o->kind <= CVY_UNFLAG)
                *(int *)o->value = o->kind == CVY_FLAG;
            else
                *(double *)o->value = o->kind == CVY_ON;
        } else {
            if (!value && i + 1 < argc)
                value = argv[++i];
            if (!value) {
                cvy_error(NULL, "%s needs a value (%s)", o->name, o->arg);
                return 0;
            }
            if (!set_value(o, value))
                return 0;
        }
        o->given = 1;
    }
    return 1;
}

enum { HANG = 25 }; /* the column of what an option does */

void cvy_options_help(const struct cvy_option *option)
{
    for (; option->name; option++) {
        if (option->kind == CVY_SECTION) {
            printf("\n%s\n", option->name);
            continue;
        }
        char left[64], value[512] = "";
        snprintf(left, sizeof left, "%s %s", option->name, option->arg ? option->arg : "");
        if (option->kind == CVY_INT && *(const int *)option->value)
            snprintf(value, sizeof value, " [%d]", *(const int *)option->value);
        else if (option->kind >= CVY_REAL && option->kind <= CVY_SHARE && *(const double *)option->value != 0)
            snprintf(value, sizeof value, " [%g]", *(const double *)option->value);
        else if (option->kind == CVY_TEXT && *(const char *const *)option->value)
            snprintf(value, sizeof value, " [%s]", *(const char *const *)option->value);
        cvy_wrap(value, cvy_wrap(option->help, printf("  %-22s ", left), HANG), HANG);
        putchar('\n');
    }
}

int cvy_option_given(const struct cvy_option *option, const char *name)
{
    for (; option->name; option++) {
        if (option->given && strcmp(option->name, name) == 0)
            return 1;
    }
    return 0;
}

int cvy_option_sets(const struct cvy_option *option, const void *value)
{
    int given = 0;
    for (; option->name; option++)
        given |= option->given && option->value == value;
    return given;
}

int cvy_hyper_options(const struct cvy_optimiser *o, double hyper[CVY_HYPERS], struct cvy_option *list)
{
    int n = 0;
    for (int k = 0; k < cvy_hypers(o); k++) {
        const struct cvy_hyper *h = &o->hyper[k];
        list[n++] = (struct cvy_option){
            h->off ? CVY_ON : CVY_REAL, h->option, h->off ? NULL : "X", &hyper[k], h->lo, h->hi, h->help, 0};
        if (h->off)
            list[n++] = (struct cvy_option){CVY_OFF, h->off, NULL, &hyper[k], 0, 0, "... not", 0};
    }
    return n;
}

/* The options of all optimisers, each once. */
static int all_hyper_options(double hyper[CVY_HYPERS], struct cvy_option *list)
{
    int n = 0;
    for (int i = 0; cvy_optimisers[i]; i++) {
        struct cvy_option own[CVY_HYPER_OPTIONS];
        for (int k = 0, m = cvy_hyper_options(cvy_optimisers[i], hyper, own); k < m; k++) {
            int there = 0;
            for (int j = 0; j < n; j++)
                there |= strcmp(list[j].name, own[k].name) == 0;
            if (!there)
                list[n++] = own[k];
        }
    }
    return n;
}

/* "constant, step, ..." */
static const char *schedule_names(void)
{
    static char names[128];
    size_t at = 0;
    for (int i = 0; i < CVY_SCHEDULES; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", cvy_schedules[i].name);
    return names;
}

void cvy_train_options(struct cvy_said *s, struct cvy_progress *p, const struct cvy_optimiser *o,
                       struct cvy_option list[CVY_TRAIN_OPTIONS])
{
    const struct cvy_option first[] = {
        {CVY_SECTION, "data", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--data", "DATA", &s->data, 0, 0,
         "a set of 'convoy data'; a folder of four IDX files (.gz or not); fashion-mnist: Debian's; shapes[:SEED]: "
         "drawn "
         "figures",
         0},
        {CVY_INT, "--train-images", "N", &p->train_images, 1, 2147483647, "only the first N training images", 0},
        {CVY_INT, "--test-images", "N", &p->test_images, 1, 2147483647, "only the first N test images", 0},
        {CVY_SECTION, "training", NULL, NULL, 0, 0, NULL, 0},
        {CVY_INT, "--epochs", "N", &p->epochs, 1, 1000000, "passes over the training images", 0},
        {CVY_INT, "--batch", "N", &p->batch, 1, 1048576, "images per step", 0},
        {CVY_REAL, "--lr", "X", &p->lr, 0, 1e6, "learning rate; the highest where the schedule varies it", 0},
    };
    const struct cvy_option rest[] = {
        {CVY_REAL, "--weight-decay", "X", &p->weight_decay, 0, 1e6, "of weights; norms and biases are left out ...", 0},
        {CVY_FLAG, "--decay-all", NULL, &p->decay_all, 0, 0, "... unless this is given", 0},
        {CVY_TEXT, "--schedule", "S", &s->schedule, 0, 0, schedule_names(), 0},
        {CVY_TEXT, "--augment", "W,W,...", &s->augment, 0, 0,
         "what is done to training images: crop(4), shift(0.1), flip, cutout(8), mixup(0.2); none", 0},
        {CVY_TEXT, "--class-weights", "W,W,...", &s->class_weights, 0, 0,
         "what each class counts in the loss; balanced: the rarer, the more", 0},
        {CVY_U64, "--seed", "N", &p->seed, 0, 0, "of weights, shuffling, dropout", 0},
        {CVY_INT, "--threads", "N", &s->threads, 1, 1024, "the result is the same for any number", 0},
        {CVY_U64, "--limit", "N", &s->limit, 0, 0, "stop after step N (saved; --resume goes on)", 0},
        {CVY_SECTION, "files", NULL, NULL, 0, 0, NULL, 0},
        {CVY_TEXT, "--save", "W", &s->save, 0, 0, "checkpoint; its state lies beside it", 0},
        {CVY_FLAG, "--no-save", NULL, &s->no_save, 0, 0, "no checkpoint", 0},
        {CVY_FLAG, "--resume", NULL, &s->resume, 0, 0, "go on from the checkpoint, with its settings", 0},
        {CVY_TEXT, "--init-from", "W", &s->init_from, 0, 0, "begin with these weights, of the same network ...", 0},
        {CVY_FLAG, "--init-partial", NULL, &s->init_partial, 0, 0,
         "... or of another: what it has as this one; the rest is drawn", 0},
        {CVY_FLAG, "--force", NULL, &s->force, 0, 0, "take weights of another network; write over another training's",
         0},
        {CVY_TEXT, "--log", "FILE", &s->log_path, 0, 0, "JSON, a line per epoch (--resume appends)", 0},
        {CVY_FLAG, "--stats", NULL, &s->stats, 0, 0,
         "what layers do in an epoch goes to the log: activations, units that are never above zero, gradients, "
         "updates, norms ...",
         0},
        {CVY_INT, "--stats-updates", "N", &s->stats_updates, 1, 1000000000,
         "... seen in so many updates of it, evenly spread; 1000000000: in all", 0},
        {CVY_FLAG, "--no-eval", NULL, &s->no_eval, 0, 0, "no validation after an epoch, no test at the end", 0},
        {CVY_FLAG, "--quiet", NULL, &s->quiet, 0, 0, "print errors only", 0},
    };
    int n = sizeof first / sizeof *first;
    memset(list, 0, CVY_TRAIN_OPTIONS * sizeof *list); /* zero ends the list */
    memcpy(list, first, sizeof first);
    for (int i = 0; i < CVY_SETTINGS; i++) {
        static const enum cvy_option_kind kinds[] = {
            [CVY_ANY_REAL] = CVY_REAL, [CVY_WHOLE_NUMBER] = CVY_WHOLE, [CVY_SHARE_OR_COUNT] = CVY_SHARE};
        const struct cvy_setting *w = &cvy_settings[i];
        list[n++] = (struct cvy_option){kinds[w->kind], w->option, w->arg, &p->setting[i], w->lo, w->hi, w->help, 0};
    }
    n += o ? cvy_hyper_options(o, p->hyper, list + n) : all_hyper_options(p->hyper, list + n);
    memcpy(list + n, rest, sizeof rest);
}

/* That what a flag of the optimiser needs is there. */
static int numbers_fit(const struct cvy_optimiser *o, const struct cvy_progress *p)
{
    for (int k = 0; k < cvy_hypers(o); k++) {
        const struct cvy_hyper *h = &o->hyper[k];
        const int needs = h->needs ? cvy_hyper_find(o, h->needs) : k;
        if (p->hyper[k] == 0 || p->hyper[needs] != 0)
            continue;
        char *hint = cvy_format("%s %g, or %s", o->hyper[needs].option, o->hyper[needs].usual, h->off);
        cvy_error(hint, "%s needs a %s above zero", h->option, h->needs);
        free(hint);
        return 0;
    }
    return 1;
}

int cvy_train_fits(const struct cvy_said *s, struct cvy_progress *p, const struct cvy_optimiser *o)
{
    p->schedule = cvy_schedule_find(s->schedule);
    if (p->schedule < 0)
        cvy_error(schedule_names(), "--schedule: unknown schedule '%s'", s->schedule);
    else if (s->resume && s->init_from)
        cvy_error(NULL, "--resume goes on from the checkpoint, --init-from starts anew: one of them");
    else if (s->init_partial && !s->init_from)
        cvy_error("--init-from W names it", "--init-partial needs a checkpoint to begin with");
    else if (s->stats && !s->log_path)
        cvy_error("--log FILE names it", "--stats needs the log that it writes to");
    else if (s->resume && s->no_save)
        cvy_error("--save W names it", "--resume needs the checkpoint that --no-save leaves out");
    else
        return s->resume || numbers_fit(o, p);
    return 0;
}
