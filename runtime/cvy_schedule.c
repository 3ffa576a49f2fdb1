/* cvy_schedule.c - see cvy_schedule.h. SPDX-License-Identifier: 0BSD */
#include "cvy_schedule.h"
#include "cvy_float.h"

#include <math.h>
#include <string.h>

static const double pi = 3.141592653589793;

static double falling_cosine(double from, double to, double share)
{
    return to + (from - to) / 2.0 * (1.0 + cos(pi * share));
}

static double constant(double lr, const double *setting, const struct cvy_moment *m)
{
    (void)setting;
    (void)m;
    return lr;
}

/* StepLR(step_size, gamma), stepped each epoch */
static double stairs(double lr, const double *setting, const struct cvy_moment *m)
{
    return lr * pow(setting[CVY_RATE_FACTOR], floor((double)(m->step / m->epoch) / setting[CVY_STEP_SIZE]));
}

/* CosineAnnealingLR(T_max=total, eta_min=min_lr) */
static double cosine(double lr, const double *setting, const struct cvy_moment *m)
{
    return falling_cosine(lr, setting[CVY_MIN_LR], (double)m->step / (double)m->total);
}

/* LinearLR(start_factor=1, end_factor=min_lr / lr, total_iters=total) */
static double linear(double lr, const double *setting, const struct cvy_moment *m)
{
    return lr + (setting[CVY_MIN_LR] - lr) * ((double)m->step / (double)m->total);
}

/* OneCycleLR(max_lr=lr, pct_start=warmup, total_steps=total): div_factor 25, final_div_factor 1e4 */
static double one_cycle(double lr, const double *setting, const struct cvy_moment *m)
{
    const double first = lr / 25.0, least = first / 1e4, s = (double)m->step, last = (double)m->total - 1.0;
    const double top = setting[CVY_WARMUP] * (double)m->total - 1.0;
    const int down = s > top;
    const double begin = down ? top : 0.0, end = down ? last : top;
    const double share = end > begin ? (s - begin) / (end - begin) : 1.0;

    return falling_cosine(down ? lr : first, down ? least : lr, share > 1.0 ? 1.0 : share);
}

/* ReduceLROnPlateau: cvy_plateau_take */
static double plateau(double lr, const double *setting, const struct cvy_moment *m)
{
    (void)setting;
    return lr * m->plateau;
}

/* clang-format off */
const struct cvy_schedule cvy_schedules[CVY_SCHEDULES + 1] = {
    [CVY_CONSTANT] = {"constant", "lr throughout", 0, constant},
    [CVY_STEP] = {"step", "times gamma after each step_size epochs", 0, stairs},
    [CVY_COSINE] = {"cosine", "down to min_lr along half a cosine", 1, cosine},
    [CVY_ONE_CYCLE] = {"one-cycle", "up to lr in a share of the steps (warmup), then down to nearly 0", 1, one_cycle},
    [CVY_LINEAR] = {"linear", "down to min_lr in a straight line", 1, linear},
    [CVY_PLATEAU] = {"plateau", "times gamma where validation gets no better for more than plateau epochs, down to min_lr", 0, plateau},
    {NULL, NULL, 0, NULL},
};
/* clang-format on */

int cvy_schedule_find(const char *name)
{
    for (int i = 0; i < CVY_SCHEDULES; i++)
        if (strcmp(cvy_schedules[i].name, name) == 0)
            return i;
    return -1;
}

/* Before it, where warmup_epochs says so: LinearLR(start_factor=0.01, total_iters=its steps); SequentialLR joins them.
 */
double cvy_rate(int schedule, double lr, const double *setting, const struct cvy_moment *m)
{
    const double start = 0.01;
    const int64_t steps = (int64_t)(setting[CVY_WARMUP_EPOCHS] * (double)m->epoch + 0.5);
    const int64_t rising = steps < m->total ? steps : m->total;
    struct cvy_moment then = *m;

    if (m->step < rising)
        return lr * (start + (1.0 - start) * (double)m->step / (double)rising);
    then.step -= rising;
    then.total -= rising;
    return cvy_schedules[schedule].rate(lr, setting, &then);
}

/* ReduceLROnPlateau(factor=gamma, patience=plateau, min_lr=min_lr): threshold 1e-4, relative; eps 1e-8 */
void cvy_plateau_take(struct cvy_plateau *p, double lr, const double *setting, double loss)
{
    const int first = p->scale == 0;

    if (first)
        p->scale = 1;
    if (first || loss < p->best * (1.0 - 1e-4)) {
        p->best = loss;
        p->bad = 0;
        return;
    }
    if ((double)++p->bad <= setting[CVY_PLATEAU_EPOCHS])
        return;
    const double now = lr * p->scale, lower = now * setting[CVY_RATE_FACTOR] > setting[CVY_MIN_LR]
                                                  ? now * setting[CVY_RATE_FACTOR]
                                                  : setting[CVY_MIN_LR];
    if (now - lower > 1e-8)
        p->scale = lower / lr;
    p->bad = 0;
}
