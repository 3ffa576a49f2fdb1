/* test_runtime.c - the runtime with a network written by hand (fake_model.c): random numbers, schedules, and training
 * driven through the command line in child processes. Data are in test_runtime_data.c, other files in
 * test_runtime_files.c. */
#include "../runtime/cvy_private.h"
#include "../runtime/cvy_rng.h"
#include "fake_model.h"
#include "runtime_help.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- random numbers, schedules, layouts ---- */

START_TEST(philox_known_answers)
{
    /* kat_vectors of the authors' Random123 */
    static const uint32_t known[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
         0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        cvy_philox(known[i], known[i] + 4, out);
        ck_assert_mem_eq(out, known[i] + 6, sizeof out);
    }
}
END_TEST

START_TEST(normal_moments)
{
    double m = 0, v = 0, q = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double x = cvy_normal(7, cvy_name_hash("a"), (uint64_t)i);
        m += x / N;
        v += x * x / N;
        q += x * x * x * x / N;
    }
    ck_assert_double_eq_tol(m, 0, 0.01);
    ck_assert_double_eq_tol(v, 1, 0.02);
    ck_assert_double_eq_tol(q, 3, 0.1);
}
END_TEST

START_TEST(permutation)
{
    enum { N = 1000 };
    int a[N], b[N], c[N], seen[N] = {0}, kept = 0;
    cvy_permutation(a, N, 1, 0);
    cvy_permutation(b, N, 1, 0);
    ck_assert_mem_eq(a, b, sizeof a);
    cvy_permutation(b, N, 1, 1);
    cvy_permutation(c, N, 2, 0);
    ck_assert(memcmp(a, b, sizeof a) != 0 && memcmp(a, c, sizeof a) != 0);
    for (int i = 0; i < N; i++) {
        ck_assert(a[i] >= 0 && a[i] < N && !seen[a[i]]++);
        kept += a[i] == i;
    }
    ck_assert_int_lt(kept, 8); /* one on average */
    cvy_permutation(a, 1, 1, 0);
    ck_assert_int_eq(a[0], 0);
}
END_TEST

START_TEST(one_cycle)
{
    /* torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=.., pct_start=.., cycle_momentum=False) */
    double setting[CVY_SETTINGS] = {[CVY_STEP_SIZE] = 1};
    static const struct {
        int total;
        double warmup, lr[10];
    } known[] = {
        {10,
         0.3,
         {0.004, 0.052, 0.1, 0.0950484632013, 0.081174565395, 0.0611262021936, 0.0388741978064, 0.018825834605,
          0.00495193679865, 4e-07}},
        {7, 0.2, {0.004, 0.0971941777388, 0.081174565395, 0.0555984014123, 0.0283060998209, 0.00766415938343, 4e-07}},
        {3, 0.1, {0.0843121446451, 0.030196290914, 4e-07}},
        {5, 1.0, {0.004, 0.018058874503, 0.052, 0.085941125497, 0.1}},
    };
    for (int i = 0; i < 4; i++) {
        for (int s = 0; s < known[i].total; s++) {
            const struct cvy_moment m = {s, known[i].total, 1, 1};
            setting[CVY_WARMUP] = known[i].warmup;
            ck_assert_double_eq_tol(cvy_rate(CVY_ONE_CYCLE, 0.1, setting, &m), known[i].lr[s], 1e-12);
        }
    }
    for (int total = 1; total < 12; total++) { /* a phase of no length must not divide by zero */
        for (int s = 0; s < total * CVY_SCHEDULES * 6; s++) {
            const struct cvy_moment m = {s % total, total, 1, 1};
            setting[CVY_WARMUP] = s % 2 ? 1.0 / total : 0;
            setting[CVY_WARMUP_EPOCHS] = s / total / CVY_SCHEDULES;
            ck_assert(isfinite(cvy_rate(s / total % CVY_SCHEDULES, 0.1, setting, &m)));
        }
    }
}
END_TEST

START_TEST(layouts)
{
    /* (20, 2, 3, 1) in blocks of 16 of the first dimension */
    const struct cvy_layout at = {4, {20, 2, 3, 1}, {16, 1, 1, 1}, {96, 48, 16, 0}, {1, 0, 0, 0}, 5};
    float base[5 + 192], in[120], out[120];
    memset(base, 0, sizeof base);
    for (int i = 0; i < 120; i++)
        in[i] = (float)(i + 1);
    ck_assert_int_eq((int)cvy_layout_count(&at), 120);
    cvy_scatter(base, &at, in);
    ck_assert_float_eq(base[5], 1.0f);
    ck_assert_float_eq(base[5 + 96 + 3 + 48 + 2 * 16], in[19 * 6 + 3 + 2]);
    ck_assert_float_eq(base[5 + 96 + 4], 0.0f); /* channel 20 is padding */
    cvy_gather(base, &at, out);
    ck_assert_mem_eq(in, out, sizeof in);
}
END_TEST

START_TEST(batch_counts)
{
    ck_assert_int_eq((int)cvy_batches(100, 32, 1), 4);
    ck_assert_int_eq((int)cvy_batches(97, 32, 1), 4);
    ck_assert_int_eq((int)cvy_batches(97, 32, 2), 3);
    ck_assert_int_eq((int)cvy_batches(96, 32, 2), 3);
    ck_assert_int_eq((int)cvy_batches(5, 32, 2), 1);
    ck_assert_int_eq((int)cvy_batches(1, 32, 2), 0);
}
END_TEST

START_TEST(draws_are_keyed_by_name)
{
    struct cvy_run a, b;
    struct cvy_model m = fake_model;
    struct cvy_tensor t[2];
    float x[1440], y[1440];
    ck_assert(cvy_run_open(&a, &fake_model, 4, 1, 0));
    cvy_draw(a.model, a.net, 3);
    t[0] = fake_model.tensor[1]; /* another order, other neighbours: the same weights */
    t[1] = fake_model.tensor[0];
    m.tensor = t;
    m.ntensor = 2;
    ck_assert(cvy_run_open(&b, &m, 4, 1, 0));
    cvy_draw(b.model, b.net, 3);
    cvy_gather(a.net->param, &t[1].at, x);
    cvy_gather(b.net->param, &t[1].at, y);
    ck_assert_mem_eq(x, y, sizeof x);
    t[1].name = "fd.weight";
    cvy_draw(b.model, b.net, 3);
    cvy_gather(b.net->param, &t[1].at, y);
    ck_assert(memcmp(x, y, sizeof x) != 0);
    for (int i = 0; i < 1440; i++)
        ck_assert(fabsf(x[i]) <= 0.05f);
    cvy_run_close(&a);
    cvy_run_close(&b);
}
END_TEST

/* ---- training ---- */

START_TEST(learns_and_reports)
{
    RUNS("train --log log.jsonl");
    ck_assert_ptr_nonnull(strstr(out_text, "SYNTHETIC"));
    ck_assert_ptr_nonnull(strstr(out_text, "\nepoch 3/3  loss "));
    ck_assert_ptr_null(strchr(out_text, '\r'));
    ck_assert_double_ge(accuracy("eval --json"), 0.25);
    static char answers[1 << 20];
    const double whole = accuracy("eval --json --answers answers.csv");
    int row, class, answer, rows = 0, right = 0;
    answers[slurp("answers.csv", answers, sizeof answers)] = '\0';
    ck_assert_int_eq(strncmp(answers, "row,class,answer\n", 17), 0);
    for (const char *at = answers + 17; sscanf(at, "%d,%d,%d\n", &row, &class, &answer) == 3;
         at = strchr(at, '\n') + 1) {
        ck_assert_int_eq(row, rows);
        right += class == answer;
        rows++;
    }
    ck_assert_int_gt(rows, 0);
    ck_assert_double_eq_tol((double)right / rows, whole, 1e-9);

    static char log[1 << 16];
    int epochs = 0, tests = 0;
    log[slurp("log.jsonl", log, sizeof log)] = '\0';
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(o != NULL, "no JSON: %s", line);
        const char *event = json_string_value(json_object_get(o, "event"));
        if (strcmp(event, "start") == 0) {
            ck_assert_int_eq(epochs, 0);
            ck_assert_double_eq(json_number_value(json_object_get(o, "lr")), 0.05);
            ck_assert_str_eq(json_string_value(json_object_get(o, "schedule")), "one-cycle");
        } else if (strcmp(event, "test") == 0) {
            ck_assert_int_eq(epochs, 3);
            ck_assert(json_is_real(json_object_get(o, "test_accuracy")));
            tests++;
        } else {
            ck_assert_int_eq((int)json_integer_value(json_object_get(o, "epoch")), ++epochs);
            ck_assert_int_eq((int)json_integer_value(json_object_get(o, "step")), epochs * 313);
            ck_assert(json_is_real(json_object_get(o, "valid_accuracy")));
            ck_assert(json_is_real(json_object_get(o, "valid_loss")));
            ck_assert_ptr_null(json_object_get(o, "test_accuracy"));
        }
        json_decref(o);
    }
    ck_assert_int_eq(epochs, 3);
    ck_assert_int_eq(tests, 1);
}
END_TEST

START_TEST(same_bytes_for_any_threads_and_runs)
{
    RUNS("train --epochs 1 --train-images 500 --test-images 100 --threads 1 --save a.safetensors");
    RUNS("train --epochs 1 --train-images 500 --test-images 100 --threads 3 --save b.safetensors --quiet");
    ck_assert_str_eq(out_text, "");
    same_files("a.safetensors", "b.safetensors");
    same_files("a.state.safetensors", "b.state.safetensors");
    RUNS("train --epochs 1 --train-images 500 --test-images 100 --seed 2 --save b.safetensors --force");
    static char x[1 << 16], y[1 << 16];
    size_t n = slurp("a.safetensors", x, sizeof x);
    ck_assert(n != slurp("b.safetensors", y, sizeof y) || memcmp(x, y, n) != 0);
}
END_TEST

START_TEST(resume_equals_uninterrupted)
{
    static const int stops[] = {1, 7, 15, 16, 17, 32, 47};
    RUNS("train --save whole.safetensors" SHORT);
    for (int i = 0; i < 7; i++) {
        char words[256];
        snprintf(words, sizeof words, "train --save part.safetensors --limit %d" SHORT, stops[i]);
        RUNS(words);
        RUNS("train --save part.safetensors --resume --limit 40");
        RUNS("train --save part.safetensors --resume");
        same_files("whole.safetensors", "part.safetensors");
        same_files("whole.state.safetensors", "part.state.safetensors");
    }
    RUNS("train --save part.safetensors --resume");
    ck_assert_ptr_nonnull(strstr(out_text, "all 3 epochs are done; --epochs N goes on"));
    RUNS("train --save part.safetensors --resume --epochs 4");
    ck_assert_ptr_nonnull(strstr(out_text, "epoch 4/4"));
}
END_TEST

/* A number in the log, of an event of that epoch (0: of any). */
static double logged(const char *path, const char *event, int epoch, const char *key)
{
    static char log[1 << 15];
    double v = -1;
    log[slurp(path, log, sizeof log - 1)] = '\0';
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL);
        if (strcmp(json_string_value(json_object_get(o, "event")), event) == 0 &&
            (!epoch || json_integer_value(json_object_get(o, "epoch")) == epoch))
            v = json_number_value(json_object_get(o, key));
        json_decref(o);
    }
    return v;
}

#define LONG " --lr 0.2 --schedule constant" SHORT

START_TEST(the_best_is_kept)
{
    char words[256];
    fake_model.train.epochs = 12;
    RUNS("train --save w.safetensors --log l" LONG);
    int best = 1;
    for (int e = 2; e <= 12; e++) {
        const double a = logged("l", "epoch", e, "valid_accuracy"), b = logged("l", "epoch", best, "valid_accuracy");
        if (a > b || (a == b && logged("l", "epoch", e, "valid_loss") < logged("l", "epoch", best, "valid_loss")))
            best = e;
    }
    ck_assert(best > 1 && best < 12); /* else this tests nothing */
    ck_assert_int_eq((int)logged("l", "test", 0, "epoch"), best);
    snprintf(words, sizeof words,
             "saved w.safetensors of epoch %d, the best by validation (and w.state.safetensors, "
             "for --resume)\ntest loss ",
             best);
    ck_assert_ptr_nonnull(strstr(out_text, words));
    ck_assert_double_eq_tol(accuracy("eval --weights w.safetensors --json --test-images 100"),
                            logged("l", "test", 0, "test_accuracy"), 1e-9);
    /* as of a training that stops there; the state goes on from the last */
    snprintf(words, sizeof words, "train --save part.safetensors --limit %d" LONG, 16 * best);
    RUNS(words);
    same_files("part.safetensors", "w.safetensors");
    RUNS("train --save part.safetensors --resume");
    same_files("part.safetensors", "w.safetensors");
    same_files("part.state.safetensors", "w.state.safetensors");
    /* weights that are gone are not taken for the best */
    ck_assert_int_eq(unlink("part.safetensors"), 0);
    RUNS("train --save part.safetensors --resume --epochs 13");
    snprintf(words, sizeof words,
             "fake: warning: 'part.safetensors' no longer holds the weights of epoch %d, the best "
             "so far: the next epoch counts as the best again\n",
             best);
    ck_assert_str_eq(err_text, words);
    ck_assert_ptr_nonnull(strstr(out_text, "saved part.safetensors of epoch 13, the best"));
}
END_TEST

START_TEST(patience)
{
    fake_model.train.epochs = 1000;
    RUNS("train --save p.safetensors --patience 4" LONG);
    ck_assert_ptr_nonnull(
        strstr(out_text, ": 4 epochs without a better validation (--patience)\nsaved p.safetensors of "));
    const int stopped = atoi(strstr(out_text, "stopped after epoch ") + 20);
    ck_assert_int_eq(atoi(strstr(out_text, "saved p.safetensors of epoch ") + 29), stopped - 4);
    RUNS("train --save p.safetensors --resume");
    ck_assert_ptr_nonnull(strstr(out_text, "for want of a better validation; --patience 0 goes on\n"));
    ck_assert_ptr_null(strstr(out_text, "test loss"));
    RUNS("train --save p.safetensors --resume --patience 0 --epochs 50");
    ck_assert_ptr_nonnull(strstr(out_text, "epoch 50/50"));
}
END_TEST

START_TEST(no_validation)
{
    RUNS("train --save n.safetensors --valid 0" SHORT);
    ck_assert_ptr_null(strstr(out_text, "valid loss"));
    ck_assert_ptr_nonnull(strstr(out_text, "saved n.safetensors (and n.state.safetensors, for --resume)\ntest loss "));
    RUNS("train --save e.safetensors --no-eval" SHORT);
    ck_assert(!strstr(out_text, "valid loss") && !strstr(out_text, "test loss"));
    same_files("n.safetensors", "e.safetensors"); /* figures to validate with are drawn besides */
}
END_TEST

START_TEST(plateau)
{
    RUNS("train --epochs 12 --schedule plateau --plateau 0 --gamma 0.5 --min-lr 0.01 --lr 0.4 --log l" SHORT);
    const double lr = logged("l", "epoch", 12, "lr");
    ck_assert_msg(lr < 0.4 && lr >= 0.01, "%g", lr);
}
END_TEST

/* Whatever a training keeps of its schedule and its loss: stopped anywhere, it ends with the same bytes. */
START_TEST(resume_with_each_schedule)
{
    char words[512];
    for (int i = 0; i < CVY_SCHEDULES; i++) {
        const char *name = cvy_schedules[i].name;
        static const char more[] =
            " --epochs 6 --lr 0.1 --plateau 0 --step-size 2 --gamma 0.5 --warmup-epochs 1.5 --patience 9"
            " --augment crop(2),flip,cutout(3),shift(0.1) --label-smoothing 0.1 --clip 0.5 --accumulate 3 --ema 0.9 "
            "--class-weights 1,2,1,1,1,1,0.5,1,1,1" SHORT;
        snprintf(words, sizeof words, "train --force --save whole.safetensors --log l --schedule %s%s", name, more);
        RUNS(words);
        ck_assert_msg((strstr(err_text, "--patience may end the training before") != NULL) == cvy_schedules[i].falls,
                      "%s: %s", name, err_text);
        snprintf(words, sizeof words, "train --force --save part.safetensors --limit %d --schedule %s%s", 37 + i, name,
                 more);
        RUNS(words);
        RUNS("train --save part.safetensors --resume --limit 64");
        RUNS("train --save part.safetensors --resume");
        same_files("whole.safetensors", "part.safetensors");
        same_files("whole.state.safetensors", "part.state.safetensors");
    }
}
END_TEST

START_TEST(interrupted_saves_and_resumes)
{
    RUNS("train --save whole.safetensors" SHORT);
    fake_signal_at = 20;
    fails("train --save part.safetensors" SHORT, 130,
          "fake: stopped by SIGINT after step 21; saved, --resume goes on from here\n");
    fake_signal_at = 40; /* beyond its first epoch's end, in the second program */
    fake_signal = SIGTERM;
    fails("train --save part.safetensors --resume", 143,
          "fake: stopped by SIGTERM after step 41; saved, --resume goes on from here\n");
    fake_signal_at = -1;
    RUNS("train --save part.safetensors --resume");
    same_files("whole.safetensors", "part.safetensors");
    same_files("whole.state.safetensors", "part.state.safetensors");
}
END_TEST

START_TEST(resume_refuses)
{
    fails("train --resume", 1,
          "fake: error: nothing to resume: no 'fake.state.safetensors'\n"
          "  hint: a training that was saved leaves it beside its weights; --save W names them\n");
    RUNS("train --limit 20" SHORT);
    fails("train --resume --batch 16", 1,
          "fake: error: --batch 16: the training to resume has 32\n"
          "  hint: leave it out, or start a new training with --init-from\n");
    fails("train --resume --data shapes:2", 1,
          "fake: error: the training to resume had other images than these (synthetic figures (seed 2))\n"
          "  hint: give the same --data, or start a new training with --init-from; --force goes on with these\n");
    fails("train --resume --valid 0", 1,
          "fake: error: --valid 0: the training to resume has 0.1\n"
          "  hint: leave it out, or start a new training with --init-from\n");
    fake_model.train.data = "idx";
    fails(
        "train --resume", 1,
        "fake: error: where is the data? (data: idx)\n"
        "  hint: a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        "t10k-labels-idx1-ubyte (each may end in .gz) is named by --data DIR; a set of 'convoy data' by --data FILE\n");
    fake_model.train.data = "shapes";
    RUNS("train --init-from fake.safetensors --save new.safetensors" SHORT);
    ck_assert_ptr_nonnull(strstr(out_text, "epoch 1/3"));
}
END_TEST

START_TEST(loss_that_is_not_finite)
{
    RUNS("train --limit 16" SHORT);
    ck_assert_int_eq(system("cp fake.safetensors old.safetensors"), 0);
    fake_break_at = 18;
    fails("train --resume", 1,
          "fake: error: the loss is not a number at epoch 2, step 3 (learning rate 0.0477231): training stops\n"
          "  hint: a smaller --lr, or --schedule one-cycle, may help; the last checkpoint is untouched\n");
    fake_break_at = -1;
    same_files("old.safetensors", "fake.safetensors");
}
END_TEST

START_TEST(full_disk_keeps_the_old_checkpoint)
{
    RUNS("train --limit 16" SHORT);
    ck_assert_int_eq(system("cp fake.safetensors old.safetensors; cp fake.state.safetensors old.state.safetensors"), 0);
    int before = files_here();
    file_limit = 4096; /* the weights are larger */
    ck_assert_int_eq(run("train --resume"), 1);
    ck_assert_ptr_nonnull(strstr(err_text, "fake: error: cannot write '"));
    ck_assert_ptr_nonnull(strstr(
        err_text, "fake.safetensors': File too large\n  hint: what stood there before is untouched\n"
                  "fake: warning: the checkpoint of step 32 was not written; --resume goes on from an earlier one\n"));
    same_files("old.safetensors", "fake.safetensors");
    same_files("old.state.safetensors", "fake.state.safetensors");
    ck_assert_int_eq(files_here(), before); /* no temporaries left */
    file_limit = 0;
    ck_assert_int_eq(run("train --log /dev/full --save full.safetensors" SHORT), 1);
    ck_assert_str_eq(
        err_text,
        "fake: error: cannot write '/dev/full': No space left on device\n  hint: training goes on without it\n");
    ck_assert_ptr_nonnull(strstr(out_text, "epoch 3/3"));
}
END_TEST

START_TEST(places_that_cannot_be_written)
{
    fails("train --save no/such/place.safetensors", 1,
          "fake: error: cannot write 'no/such/place.state.safetensors': No such file or directory\n");
    fails("train --log no/such/log", 1, "fake: error: cannot write 'no/such/log': No such file or directory\n");
    ck_assert_int_eq(mkdir("w.safetensors", 0777), 0);
    fails("train --save w.safetensors", 1, "fake: error: cannot write 'w.safetensors': it is a folder\n");
    RUNS("train --no-save --limit 2" SHORT);
    ck_assert_int_eq(access("fake.safetensors", F_OK), -1);
}
END_TEST

/* The line of --stats of an epoch in the log l; NULL: it has none. json_decref. */
static json_t *stats_of(int epoch)
{
    static char log[1 << 16];
    json_t *found = NULL;
    log[slurp("l", log, sizeof log)] = '\0';
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(o != NULL, "no JSON: %s", line);
        if (strcmp(json_string_value(json_object_get(o, "event")), "stats") == 0 &&
            json_integer_value(json_object_get(o, "epoch")) == epoch)
            found = json_incref(o);
        json_decref(o);
    }
    return found;
}

/* What --stats writes of whole networks is compared with PyTorch's (torch_stats.py). */
START_TEST(stats)
{
    int updates, images;
    double gap;
    const char *stage, *parameter, *norm;
    fails("train --stats" SHORT, 1,
          "fake: error: --stats needs the log that it writes to\n  hint: --log FILE names it\n");
    fails("train --stats --stats-updates 0 --log l" SHORT, 2,
          "fake: error: --stats-updates: '0' is not a whole number from 1 to 1000000000\n");
    RUNS("train --log l --save a.safetensors" SHORT);
    ck_assert_ptr_null(stats_of(1));
    RUNS("train --log l --stats --stats-updates 5 --save b.safetensors" SHORT);
    same_files("a.safetensors", "b.safetensors");
    for (int epoch = 1; epoch <= 3; epoch++) {
        json_t *o = stats_of(epoch);
        ck_assert_int_eq(json_unpack(o, "{s:i, s:i, s:[{s:s}], s:[{s:s}, {s:s}], s:[{s:s, s:f}]}", "updates", &updates,
                                     "images", &images, "stages", "stage", &stage, "parameters", "parameter",
                                     &parameter, "parameter", &norm, "norms", "norm", &norm, "mean_gap", &gap),
                         0);
        ck_assert_int_eq(updates, 5);
        ck_assert_int_eq(images, 4 * 32 + 500 % 32); /* the last batch is one of them */
        ck_assert_str_eq(stage, "fc");
        ck_assert_str_eq(parameter, "fc.weight");
        ck_assert_str_eq(norm, "bn"); /* which reads the network's input */
        ck_assert(gap > 0 && gap < 1);
        json_decref(o);
    }
    RUNS("train --log l --stats --limit 10 --save c.safetensors" SHORT); /* within an epoch: of what is left */
    RUNS("train --log l --stats --stats-updates 1000000000 --resume --save c.safetensors");
    same_files("a.safetensors", "c.safetensors");
    json_t *o = stats_of(1);
    ck_assert_int_eq(json_unpack(o, "{s:i}", "updates", &updates), 0);
    ck_assert_int_eq(updates, 16 - 10);
    json_decref(o);
}
END_TEST

START_TEST(options)
{
    fails("train --epoch 3", 2, "fake: error: train: unknown option '--epoch'\n  hint: did you mean '--epochs'?\n");
    fails("train fashion", 2,
          "fake: error: train: unknown argument 'fashion'\n  hint: 'fake train --help' lists them\n");
    fails("train --epochs", 2, "fake: error: --epochs needs a value (N)\n");
    fails("train --epochs 0", 2, "fake: error: --epochs: '0' is not a whole number from 1 to 1000000\n");
    fails("train --epochs 1.5", 2, "fake: error: --epochs: '1.5' is not a whole number from 1 to 1000000\n");
    fails("train --lr nan", 2, "fake: error: --lr: 'nan' is not a number\n");
    fails("train --lr 0x1p3", 2, "fake: error: --lr: '0x1p3' is not a number\n");
    fails("train --lr -1", 2, "fake: error: --lr: '-1' is not a number from 0 to 1000000\n");
    fails("train --seed -1", 2, "fake: error: --seed: '-1' is not a whole number from 0 to 18446744073709551615\n");
    fails("train --seed 18446744073709551616", 2,
          "fake: error: --seed: '18446744073709551616' is not a whole number from 0 to 18446744073709551615\n");
    fails("train --quiet=1", 2, "fake: error: --quiet takes no value\n");
    fails("train --schedule cosin", 1,
          "fake: error: --schedule: unknown schedule 'cosin'\n"
          "  hint: constant, step, cosine, one-cycle, linear, plateau\n");
    fails("train --class-weights 1,2,3", 1,
          "fake: error: --class-weights: '1,2,3' is not 'balanced', nor 10 numbers from 0 to 1000000 with commas "
          "between them\n");
    fails("train --class-weights 1,2,3,4,5,6,7,8,9,ten", 1,
          "fake: error: --class-weights: '1,2,3,4,5,6,7,8,9,ten' is not 'balanced', nor 10 numbers from 0 to 1000000 "
          "with commas "
          "between them\n");
    fails("train --schedule plateau --valid 0", 1,
          "fake: error: --schedule plateau goes by the validation, and there is none\n"
          "  hint: --valid N holds images out\n");
    fails("train --label-smoothing 1.5", 2, "fake: error: --label-smoothing: '1.5' is not a number from 0 to 1\n");
    fails("train --step-size 0", 2, "fake: error: --step-size: '0' is not a whole number from 1 to 1000000\n");
    fails("train --batch 1", 1,
          "fake: error: --batch 1: a norm of this network sees a single value then; 2 at least\n");
    fails("train --batch 1000 --threads 2", 1,
          "fake: error: batch 1000 on 2 threads needs more memory than can be addressed\n  hint: a smaller --batch\n");
    fails("trian", 2, "fake: error: unknown command 'trian'\n  hint: did you mean 'train'?\n");
    static const char *const commands[] = {"train", "eval", "predict", "info", "bench", "trace"};
    for (int columns = 70; columns <= 100; columns += 10) { /* help is as wide as COLUMNS says */
        char said[8];
        snprintf(said, sizeof said, "%d", columns);
        setenv("COLUMNS", said, 1);
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
            char line[64];
            snprintf(line, sizeof line, "%s --help", commands[i]);
            ck_assert_int_eq(run(line), 0);
            for (const char *at = out_text; *at; at += strcspn(at, "\n"), at += *at == '\n')
                ck_assert_msg((int)strcspn(at, "\n") <= columns, "%s, %d columns: %.*s", line, columns,
                              (int)strcspn(at, "\n"), at);
        }
    }
    unsetenv("COLUMNS");
    ck_assert_int_eq(run("train --help"), 0);
    ck_assert_ptr_nonnull(strstr(out_text, "--epochs N             passes over the training images [3]\n"));
    RUNS("--help");
    RUNS("train --lr=0.1 --limit=1" SHORT);
    RUNS("info");
    ck_assert_ptr_nonnull(strstr(out_text, "parameters    1450\n"));
    RUNS("info --json");
    json_t *o = json_loads(out_text, 0, NULL);
    ck_assert_int_eq((int)json_integer_value(json_object_get(o, "parameters")), 1450);
    ck_assert_uint_eq(json_array_size(json_object_get(o, "tensors")), 5);
    const json_t *train = json_object_get(o, "train");
    ck_assert_int_eq((int)json_integer_value(json_object_get(train, "epochs")), 3);
    ck_assert_uint_eq(json_array_size(json_object_get(train, "std")), 1);
    json_decref(o);
}
END_TEST

static double real_of(const json_t *o, const char *name)
{
    ck_assert_msg(json_is_number(json_object_get(o, name)), "no number '%s' in %s", name, out_text);
    return json_number_value(json_object_get(o, name));
}

/* What is printed follows from what was measured: the fake's kernels tell 2 x 144 x 10 useful FLOPs per image, 16 for
 * each 10 executed, and 12 the fewest, of which the bound is made. */
START_TEST(bench)
{
    RUNS("bench --json --kernels --seconds 0.05 --threads 1 --batch 20");
    json_t *o = json_loads(out_text, 0, NULL);
    ck_assert_ptr_nonnull(o);
    ck_assert_str_eq(json_string_value(json_object_get(o, "what")), "train");
    ck_assert(real_of(o, "min_ms") > 0 && real_of(o, "min_ms") <= real_of(o, "median_ms") &&
              real_of(o, "median_ms") <= real_of(o, "max_ms"));
    ck_assert(real_of(o, "steps") >= 3);
    ck_assert_double_eq_tol(real_of(o, "images_per_second") * real_of(o, "median_ms"), 20e3, 1);
    const json_t *list = json_object_get(o, "kernels");
    ck_assert_uint_eq(json_array_size(list), 2);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 1), "name")), "linear.backward");
    for (size_t i = 0; i < 2; i++) {
        const json_t *k = json_array_get(list, i);
        const double ms = real_of(k, "median_ms"), gflops = 20 * 2.0 * 144 * 10 / ms / 1e6;
        const double compute = 20 * 2.0 * 144 * 12 / real_of(o, "peak_gflops") / 1e6,
                     memory = real_of(k, "bytes") / real_of(o, "stream_gbytes") / 1e6;
        ck_assert(real_of(k, "min_ms") <= ms && ms <= real_of(k, "max_ms"));
        ck_assert_double_eq_tol(real_of(k, "useful_gflops") / gflops, 1, 1e-6);
        ck_assert_double_eq_tol(real_of(k, "executed_gflops") / gflops, 1.6, 1e-6);
        ck_assert_double_eq_tol(real_of(k, "share_of_peak") * real_of(o, "peak_gflops") / gflops, 1, 1e-6);
        ck_assert_double_eq_tol(real_of(k, "bytes"), 20 * 4 * 144 + (i ? 12 : 4) * (double)fake_model.param_floats,
                                1e-6);
        ck_assert_double_eq_tol(real_of(k, "bound_ms") / fmax(compute, memory), 1, 1e-6);
        ck_assert_str_eq(json_string_value(json_object_get(k, "bound")), compute > memory ? "compute" : "memory");
    }
    json_decref(o);
    RUNS("bench --json --seconds 0.01 --threads 1 --what infer --batch 1"); /* the step alone: nothing else is measured
                                                                             */
    ck_assert_ptr_nonnull(strstr(out_text, "\"what\":\"infer\",\"batch\":1,\"threads\":1,"));
    ck_assert_ptr_null(strstr(out_text, "kernels"));
    ck_assert_int_eq(strchr(out_text, '\n')[1], '\0');
    RUNS("bench --seconds 0.01 --threads 1");
    ck_assert_ptr_nonnull(strstr(out_text, "\n  linear.forward "));
    ck_assert_ptr_nonnull(strstr(out_text, "\n  all "));
    fails("bench --what speed", 2,
          "fake: error: bench: --what speed: there is no such thing\n  hint: train or infer\n");
    fails("bench --batch 1", 1, "fake: error: bench: --batch 1: this network trains on batches of at least 2\n");
    ck_assert_int_eq(files_here(), 2); /* stdout.txt, stderr.txt: it writes nothing */
}
END_TEST

int main(void)
{
    const struct {
        const char *name;
        const TTest *test[20];
    } cases[] = {
        {"numbers",
         {philox_known_answers, normal_moments, permutation, one_cycle, layouts, batch_counts,
          draws_are_keyed_by_name}},
        {"training",
         {learns_and_reports, same_bytes_for_any_threads_and_runs, resume_equals_uninterrupted, the_best_is_kept,
          patience, no_validation, plateau, resume_with_each_schedule, interrupted_saves_and_resumes, resume_refuses,
          loss_that_is_not_finite, full_disk_keeps_the_old_checkpoint, places_that_cannot_be_written, stats, options,
          bench}},
    };
    Suite *suite = suite_create("runtime");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        add_cases(suite, cases[i].name, cases[i].test);
    add_data_cases(suite);
    add_file_cases(suite);
    add_identity_cases(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
