/* test_runtime_identity.c - which weights a network takes: what a checkpoint says of its network, what of a training,
 * and what other programs' files need; and that a training's two files are taken together or not at all. */
#include "../runtime/cvy_private.h"
#include "fake_model.h"
#include "runtime_help.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY(from, to)                                                                                                 \
    ck_assert_int_eq(system("cp " from ".safetensors " to ".safetensors && cp " from ".state.safetensors " to          \
                            ".state.safetensors"),                                                                     \
                     0)

/* ---- lines ---- */

/* What compare says of a file with lines `a` in a network with lines `b`; "" where they are the same. */
static char *compared(const char *const *a, const char *const *b, int training)
{
    struct cvy_tensors f = {0};
    char *what;
    ck_assert(cvy_put_identity(&f, a));
    enum cvy_likeness like = cvy_identity_compare(&f, b, training, &what);
    ck_assert_int_eq(like, what ? CVY_DIFFERENT : CVY_SAME);
    cvy_tensors_free(&f);
    return what ? what : strdup("");
}

static void says(const char *const *a, const char *const *b, int training, const char *text)
{
    char *what = compared(a, b, training);
    ck_assert_str_eq(what, text);
    free(what);
}

#define NET(...) ((const char *const[]){__VA_ARGS__, NULL})
#define IN "input | input(mean=0.5, std=0.25)"
#define CONV "c/conv | conv(16, 3x3) | input | c.conv.weight"
#define FC "f | linear(10) | "

START_TEST(networks_compared)
{
    const char *const *cbr = NET(IN, CONV, "c/bn | bn(eps=1e-05) | c/conv | c.bn.weight c.bn.bias | momentum=0.1",
                                 "c/act | relu | c/bn", FC "c/act | f.weight f.bias", "loss | loss | f");
    const char *const *crb =
        NET(IN, CONV, "c/act | relu | c/conv", "c/bn | bn(eps=1e-05) | c/act | c.bn.weight c.bn.bias | momentum=0.1",
            FC "c/bn | f.weight f.bias", "loss | loss | f");
    says(cbr, cbr, 1, "");
    says(cbr, crb, 0, "\n  c: trained as conv-bn-relu, here conv-relu-bn");
    says(crb, cbr, 0, "\n  c: trained as conv-relu-bn, here conv-bn-relu");

    /* an argument; what concerns training alone; the input; an activation */
    says(cbr,
         NET(IN, CONV, "c/bn | bn(eps=0.001) | c/conv | c.bn.weight c.bn.bias | momentum=0.1", "c/act | relu | c/bn",
             FC "c/act | f.weight f.bias", "loss | loss | f"),
         0, "\n  c: trained with bn(eps=1e-05), here bn(eps=0.001)");
    const char *const *slow = NET(IN, CONV, "c/bn | bn(eps=1e-05) | c/conv | c.bn.weight c.bn.bias | momentum=0.01",
                                  "c/act | relu | c/bn", FC "c/act | f.weight f.bias", "loss | loss | f");
    says(cbr, slow, 0, "");
    says(cbr, slow, 1, "\n  c: trained with momentum=0.1, here momentum=0.01");
    says(NET("input | input(mean=0.1, std=1)", FC "input | f.weight", "loss | loss | f"),
         NET(IN, FC "input | f.weight", "loss | loss | f"), 0,
         "\n  input: trained with input(mean=0.1, std=1), here input(mean=0.5, std=0.25)");

    /* a dropout is none in inference, and one in training */
    const char *const *with =
        NET(IN, "d | drop(0.5) | input", FC "d | f.weight", "e/drop | drop(0.1) | f", "loss | loss | e/drop");
    const char *const *without = NET(IN, FC "input | f.weight", "loss | loss | f");
    says(with, without, 0, "");
    says(without, with, 0, "");
    says(with, without, 1,
         "\n  d: trained as drop, not there here\n  e: trained as drop, not there here\n  f: trained reading d, here "
         "input"
         "\n  loss: trained reading e, here f");
    says(without, with, 1,
         "\n  d: not there when it was trained, here drop\n  e: not there when it was trained, here drop"
         "\n  f: trained reading input, here d\n  loss: trained reading f, here e");

    /* a layer without parameters may have any name, and branches any order; one with parameters has the name of its
     * tensors */
    says(NET(IN, "p | maxpool(2) | input", FC "p | f.weight", "loss | loss | f"),
         NET(IN, "q | maxpool(2) | input", FC "q | f.weight", "loss | loss | f"), 0, "");
    says(NET(IN, "a | relu | input", "b | tanh | input", "s | add | a b", "loss | loss | s"),
         NET(IN, "b | tanh | input", "a | relu | input", "s | add | a b", "loss | loss | s"), 0, "");
    says(NET(IN, "a | relu | input", "b | tanh | input", "s | concat | a b", "loss | loss | s"),
         NET(IN, "a | relu | input", "b | tanh | input", "s | concat | b a", "loss | loss | s"), 0,
         "\n  s: trained reading a and b, here b and a");
    says(NET(IN, FC "input | f.weight", "loss | loss | f"), NET(IN, FC "input | f.weight f.bias", "loss | loss | f"), 0,
         "\n  f: trained with parameters f.weight, here f.weight f.bias");
}
END_TEST

/* Many differences, and long ones: no more is said than fits on a screen, and what differs is in it. */
START_TEST(long_differences)
{
    enum { N = 300 };
    static char line[N][64], other[N][64], a_input[9000], b_input[9000];
    const char *a[N + 2] = {a_input}, *b[N + 2] = {b_input};
    size_t len = 0;
    len += (size_t)sprintf(a_input, "input | input(mean=");
    for (int i = 0; i < N; i++)
        len += (size_t)sprintf(a_input + len, "%s0.%d", i ? "," : "", 1000 + i);
    sprintf(a_input + len, ")");
    strcpy(b_input, a_input);
    strstr(b_input, "0.1250")[5] = '9';
    for (int i = 0; i < N; i++) {
        sprintf(line[i], "r%03d | relu | %s%.3d", i, i ? "r" : "input", i ? i - 1 : 0);
        if (i == 0)
            sprintf(line[i], "r000 | relu | input");
        strcpy(other[i], line[i]);
        if (i)
            memcpy(strstr(other[i], "relu"), "tanh", 4);
        a[i + 1] = line[i];
        b[i + 1] = other[i];
    }
    char *what = compared(a, b, 0);
    ck_assert_int_lt((int)strlen(what), 1500);
    ck_assert_ptr_nonnull(strstr(what, "\n  and 292 more"));
    ck_assert_ptr_nonnull(strstr(what, "0.1250"));
    ck_assert_ptr_nonnull(strstr(what, "0.1259"));
    free(what);
}
END_TEST

START_TEST(lines_that_are_none)
{
    static const char *const bad[] = {"",
                                      "\n",
                                      "a",
                                      "a | ",
                                      " | relu",
                                      "/x | relu",
                                      "a | relu | b",
                                      "a | relu | a",
                                      "a | relu\na | tanh",
                                      "a | drop(0.5)",
                                      "a | relu\n\nb | relu",
                                      "a | \x1b[31mrelu",
                                      "b | relu | a\na | relu"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cvy_tensors f = {.path = (char *)"w"};
        char *what;
        ck_assert(cvy_put_meta(&f, "network", "%s", bad[i]));
        cvy_silent++;
        ck_assert_msg(cvy_identity_compare(&f, NET("a | relu"), 0, &what) == CVY_UNREADABLE && !what, "'%s'", bad[i]);
        cvy_silent--;
        f.path = NULL;
        cvy_tensors_free(&f);
    }
}
END_TEST

/* ---- weights of another network ---- */

static const char *const relu_identity[] = {
    "input | input(mean=0.3, std=0.25)",
    "bn | bn(eps=1e-05) | input | bn.running_mean bn.running_var bn.num_batches_tracked | momentum=0.1",
    "fc/act | relu | input",
    "fc | linear(10) | fc/act | fc.weight fc.bias",
    "loss | loss | fc",
    NULL,
};
static const char *const drop_identity[] = {
    "input | input(mean=0.3, std=0.25)",
    "bn | bn(eps=1e-05) | input | bn.running_mean bn.running_var bn.num_batches_tracked | momentum=0.1",
    "d | drop(0.5) | input",
    "fc | linear(10) | d | fc.weight fc.bias",
    "loss | loss | fc",
    NULL,
};

/* Two black images, as numpy.save writes them */
static void write_images(const char *path)
{
    static char file[1 << 14] = "\x93NUMPY\x01";
    file[8] = 86;
    snprintf(file + 10, 87, "%-85s\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 12, 12), }");
    memset(file + 96, 0, 2 * 576);
    spit(path, file, 96 + 2 * 576);
}

#define OTHER                                                                                                          \
    "fake: error: 'fake.safetensors' was trained as another network:\n  fc: trained as linear, here relu-linear\n"     \
    "  hint: take the spec that it was trained with, or insist with --force\n"

START_TEST(another_network)
{
    make_good();
    fake_model.identity = relu_identity;
    write_images("x.npy");
    fails("eval", 1, OTHER);
    fails("predict --input x.npy -o y.npy", 1, OTHER);
    ck_assert_int_eq(access("y.npy", F_OK), -1);
    fails("train --resume", 1,
          "fake: error: 'fake.state.safetensors' was trained as another network:\n  fc: trained as linear, here "
          "relu-linear\n  hint: take the spec that it was trained with, or insist with --force\n");
    fails("train --init-from fake.safetensors --save new.safetensors" SHORT, 1, OTHER);
    RUNS("eval --force");
    ck_assert_ptr_nonnull(
        strstr(err_text,
               "warning: 'fake.safetensors' was trained as another network; --force takes it all the same:\n  fc: "));
    RUNS("predict --input x.npy -o y.npy --force");
    RUNS("train --init-from fake.safetensors --save new.safetensors --force --limit 2" SHORT);
    COPY("fake", "on");
    RUNS("train --resume --force --save on.safetensors");
    fake_model.identity = drop_identity; /* no difference but to a training */
    RUNS("eval");
    ck_assert_str_eq(err_text, "");
    RUNS("train --init-from fake.safetensors --save d.safetensors --limit 2" SHORT);
    fails("train --resume", 1,
          "fake: error: 'fake.state.safetensors' was trained as another network:\n  d: not there when it was trained, "
          "here "
          "drop\n"
          "  fc: trained reading input, here d\n  hint: take the spec that it was trained with, or insist with "
          "--force\n");
    fake_model.identity = NULL; /* a network that knows nothing of itself */
    RUNS("eval");
}
END_TEST

START_TEST(the_same_network)
{
    make_good();
    fake_model.train.batch = 16; /* how it is trained is no difference */
    fake_model.train.epochs = 9;
    fake_model.train.lr = 0.5;
    fake_model.train.seed = 77;
    fake_model.target = "another";
    fake_model.spec_hash = "1111";
    RUNS("eval");
    ck_assert_str_eq(err_text, "");
    RUNS("train --resume");
    ck_assert_ptr_nonnull(strstr(out_text, "3 epochs of 16 steps, batch 32, sgd, lr 0.05 one-cycle, momentum 0.9, "
                                           "nesterov, weight decay 0.0005, seed 1,"));
    fake_model.train.hyper[CVY_MOMENTUM] = 0.5; /* but the optimiser is */
    fails("train --resume --epochs 4", 1,
          "fake: error: the spec's optimiser was sgd(momentum=0.9, nesterov=0, weight_decay=0.0005, decay_all=0) when "
          "the training began and is "
          "sgd(momentum=0.5, nesterov=0, weight_decay=0.0005, decay_all=0) now\n"
          "  hint: its options give it anew; --force goes on as the training began\n");
    RUNS("train --resume --epochs 4 --force");
    ck_assert_ptr_nonnull(strstr(out_text, "momentum 0.9, nesterov, weight"));
    RUNS("train --resume --epochs 5 --momentum 0.5");
    ck_assert_ptr_nonnull(strstr(out_text, "momentum 0.5, "));
}
END_TEST

START_TEST(partly)
{
    static const char *const wider[] = {
        "input | input(mean=0.3, std=0.25)",
        "bn | bn(eps=0.001) | input | bn.running_mean bn.running_var bn.num_batches_tracked | momentum=0.1",
        "fc | linear(10) | input | fc.weight fc.bias",
        "loss | loss | fc",
        NULL,
    };
    float before, after;
    struct cvy_tensors f;
    make_good();
    ck_assert(cvy_tensors_open(&f, "fake.safetensors") && cvy_read_f32(&f, "bn.running_mean", &before, 1));
    cvy_tensors_free(&f);
    fake_model.identity = wider;
    struct cvy_run r;
    int64_t *batches;
    ck_assert(cvy_run_open(&r, &fake_model, 4, 1, 0));
    batches = r.net->batches;
    cvy_draw(r.model, r.net, 1);
    float drawn = r.net->param[5];
    cvy_silent++;
    ck_assert(cvy_load_partial(&r, "fake.safetensors", 0));
    ck_assert(r.net->running[0] == 0.0f && batches[0] == 0 && r.net->param[5] != drawn); /* bn drawn anew, fc taken */
    ck_assert(cvy_load_partial(&r, "fake.safetensors", 1));
    ck_assert(r.net->running[0] == before && batches[0] == 16);
    cvy_silent--;
    cvy_run_close(&r);
    RUNS("train --init-from fake.safetensors --init-partial --save new.safetensors --limit 1" SHORT);
    ck_assert_str_eq(err_text,
                     "fake: note: 'fake.safetensors': 1 of 2 ops with parameters are taken; drawn anew: bn\n");
    ck_assert(cvy_tensors_open(&f, "new.safetensors") && cvy_read_f32(&f, "bn.running_mean", &after, 1));
    cvy_tensors_free(&f);
    ck_assert(fabsf(after) < fabsf(before)); /* one step from zero */
    fake_model.identity = relu_identity;
    RUNS("train --init-from fake.safetensors --init-partial --save new.safetensors --force --limit 1" SHORT);
    ck_assert_ptr_nonnull(strstr(err_text, "2 of 2 ops with parameters are taken\n"));
    fails("train --init-partial" SHORT, 1,
          "fake: error: --init-partial needs a checkpoint to begin with\n  hint: --init-from W names it\n");
    write_tensors("nothing", "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    fails("train --init-from nothing --init-partial --save n.safetensors" SHORT, 1,
          "fake: error: 'nothing' has nothing that this network has, too\n");
}
END_TEST

/* ---- where a training may save ---- */

#define WAYS "\n  hint: --save OTHER keeps both, --force writes over it\n"

START_TEST(another_training_is_not_written_over)
{
    make_good();
    spit("fake.safetensors", "", 0);
    RUNS("train --limit 1" SHORT);
    ck_assert_ptr_null(strstr(err_text, "note"));
    RUNS("train --limit 1 --lr 0.01" SHORT); /* the same network and seed */
    ck_assert_str_eq(err_text,
                     "fake: note: 'fake.safetensors' holds a training up to step 1, which this one will write over: "
                     "--resume goes on with it, --save OTHER keeps both\n");
    RUNS("train --limit 1 --quiet" SHORT);
    ck_assert_str_eq(err_text, "");
    fails("train --seed 2" SHORT, 1,
          "fake: error: 'fake.safetensors', where the training would save, was trained with seed 1, and this training "
          "has 2" WAYS);
    RUNS("train --seed 2 --limit 1 --no-save" SHORT);
    RUNS("train --seed 2 --limit 1 --save two.safetensors" SHORT);
    fake_model.identity = relu_identity;
    fails("train" SHORT, 1,
          "fake: error: 'fake.safetensors', where the training would save, holds weights of another network:\n"
          "  fc: trained as linear, here relu-linear" WAYS);
    fake_model.identity = drop_identity;
    ck_assert_int_eq(run("train" SHORT), 1);
    RUNS("train --force --limit 1" SHORT);
    RUNS("train --limit 1" SHORT);
    spit("text", "a text that someone wrote", 25);
    fails("train --save text" SHORT, 1,
          "fake: error: 'text', where the training would save, is there and is no checkpoint that can be read" WAYS);
    write_tensors("torch", "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    fails("train --save torch" SHORT, 1,
          "fake: error: 'torch', where the training would save, holds weights that do not say of which network" WAYS);
    spit("empty", "", 0); /* there is nothing to lose */
    RUNS("train --save empty --limit 1" SHORT);
}
END_TEST

/* ---- other programs' files ---- */

/* Writes the tensors of fake.safetensors without metadata, floats as `type`, with `prefix` before each name, counts as
 * `count`
 * ("F32" and so on; NULL: not at all) in a list of `list` dimensions. */
static void rewrite(const char *path, const char *type, const char *prefix, const char *count, int list)
{
    static unsigned char data[1 << 16];
    char header[4096] = "{";
    size_t at = 0, len = 1;
    struct cvy_tensors f;
    ck_assert(cvy_tensors_open(&f, "fake.safetensors"));
    for (int i = 0; i < f.n; i++) {
        const struct cvy_entry *e = &f.entry[i];
        size_t begin = at, n = 1;
        char shape[64] = "";
        if (e->dtype == CVY_I64 && !count)
            continue;
        for (int d = 0; d < e->ndim; d++) {
            n *= (size_t)e->dim[d];
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%d", d ? "," : "", (int)e->dim[d]);
        }
        if (e->dtype == CVY_I64) {
            int64_t v;
            ck_assert(cvy_read_i64(&f, e->name, &v));
            memcpy(data + at, &v, 8);
            at += strcmp(count, "I32") == 0 ? 4 : 8;
            snprintf(shape, sizeof shape, "%s", list ? "1" : "");
        } else {
            float *v = malloc(n * sizeof *v);
            ck_assert(cvy_read_f32(&f, e->name, v, n));
            for (size_t k = 0; k < n; k++) {
                double wide = (double)v[k];
                _Float16 half = (_Float16)v[k];
                if (strcmp(type, "F64") == 0)
                    memcpy(data + at, &wide, 8);
                else if (strcmp(type, "F16") == 0)
                    memcpy(data + at, &half, 2);
                else if (strcmp(type, "BF16") == 0)
                    memcpy(data + at, (char *)&v[k] + 2, 2);
                else
                    memcpy(data + at, &v[k], 4);
                at += strcmp(type, "F64") == 0 ? 8 : strcmp(type, "F32") == 0 ? 4 : 2;
            }
            free(v);
        }
        len +=
            (size_t)snprintf(header + len, sizeof header - len,
                             "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                             len > 1 ? "," : "", prefix, e->name, e->dtype == CVY_I64 ? count : type, shape, begin, at);
    }
    strcat(header, "}");
    cvy_tensors_free(&f);
    write_tensors(path, header, 0);
    FILE *to = fopen(path, "ab");
    ck_assert(to && fwrite(data, 1, at, to) == at && fclose(to) == 0);
}

/* The file's weights beside fake.safetensors': the largest difference as a share of the largest weight; its count in
 * *count. */
static double off_by(const char *path, int64_t *count)
{
    struct cvy_run a, b;
    double worst = 0, most = 0;
    cvy_silent++;
    ck_assert(cvy_run_open(&a, &fake_model, 4, 1, 0) && cvy_run_open(&b, &fake_model, 4, 1, 0));
    ck_assert(cvy_load_weights(&a, "fake.safetensors", CVY_CHECKED));
    ck_assert_msg(cvy_load_weights(&b, path, CVY_CHECKED), "'%s' is refused", path);
    cvy_silent--;
    for (int i = 0; i < fake_model.param_floats; i++) {
        worst = fmax(worst, fabs((double)a.net->param[i] - b.net->param[i]));
        most = fmax(most, fabs((double)a.net->param[i]));
    }
    *count = b.net->batches[0];
    cvy_run_close(&a);
    cvy_run_close(&b);
    return worst / most;
}

#define UNSAID "fake: note: 'w' does not say which network it was trained as: names and shapes alone are compared\n"

START_TEST(files_of_others)
{
    int64_t n;
    make_good();
    rewrite("w", "F32", "", "I64", 0);
    ck_assert(off_by("w", &n) == 0 && n == 16);
    RUNS("eval --weights w");
    ck_assert_str_eq(err_text, UNSAID);
    rewrite("w", "F64", "", "I64", 1);
    ck_assert(off_by("w", &n) == 0 && n == 16);
    rewrite("w", "F16", "", "I32", 0);
    double half = off_by("w", &n);
    ck_assert(half > 0 && half < 1.0 / 2048 && n == 16);
    rewrite("w", "BF16", "", "I64", 0);
    half = off_by("w", &n);
    ck_assert(half > 1e-4 && half < 1.0 / 128 && n == 16);
    rewrite("w", "F32", "module._orig_mod.", NULL, 0);
    ck_assert(off_by("w", &n) == 0 && n == 0);
    RUNS("eval --weights w");
    ck_assert_str_eq(err_text, "fake: note: 'w': all names begin with 'module.', which is taken off\n"
                               "fake: note: 'w': all names begin with '_orig_mod.', which is taken off\n"
                               "fake: note: 'w' has no num_batches_tracked: counted as zero\n" UNSAID);
    RUNS("train --init-from w --save n.safetensors --limit 1" SHORT);
    RUNS("train --init-from w --init-partial --save n.safetensors --limit 1" SHORT);
    ck_assert_ptr_nonnull(strstr(err_text, "2 of 2 ops with parameters are taken\n"));
}
END_TEST

START_TEST(halves)
{
    /* all binary16 but infinities and NaN, beside the compiler's own conversion */
    enum { N = 65536 };
    static uint16_t bits[N];
    static float got[N];
    char header[128];
    int n = 0;
    for (int i = 0; i < N; i++)
        if ((i >> 10 & 31) != 31)
            bits[n++] = (uint16_t)i;
    snprintf(header, sizeof header, "{\"h\":{\"dtype\":\"F16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", n, 2 * n);
    write_tensors("h", header, 0);
    FILE *to = fopen("h", "ab");
    ck_assert(to && fwrite(bits, 2, (size_t)n, to) == (size_t)n && fclose(to) == 0);
    struct cvy_tensors f;
    ck_assert(cvy_tensors_open(&f, "h") && cvy_read_f32(&f, "h", got, (size_t)n));
    cvy_tensors_free(&f);
    for (int i = 0; i < n; i++) {
        _Float16 h;
        memcpy(&h, &bits[i], 2);
        ck_assert(got[i] == (float)h && signbit(got[i]) == signbit((float)h));
    }
    write_tensors("h", "{\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 0);
    to = fopen("h", "ab");
    ck_assert(to && fwrite("\0\x7c", 1, 2, to) == 2 && fclose(to) == 0); /* infinity */
    cvy_silent++;
    ck_assert(cvy_tensors_open(&f, "h") && !cvy_read_f32(&f, "h", got, 1));
    cvy_tensors_free(&f);
    double large = 1e39;
    write_tensors("h", "{\"h\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 0);
    to = fopen("h", "ab");
    ck_assert(to && fwrite(&large, 8, 1, to) == 1 && fclose(to) == 0);
    ck_assert(cvy_tensors_open(&f, "h") && !cvy_read_f32(&f, "h", got, 1));
    cvy_silent--;
    cvy_tensors_free(&f);
}
END_TEST

START_TEST(formats_of_others)
{
    static const struct {
        const char bytes[13], *text; /* of the bytes 12 count */
    } other[] = {
        {"PK\3\4\0\0\0\0\0\0\0\0",
         "a zip archive, as PyTorch's .pt and .pth are\n  hint: save it as safetensors: safetensors.torch.save_file("},
        {"\x80\2\x8a\nl\xfc\x9c"
         "F\xf9 ",
         "a pickle, as old .pt and .pth files of PyTorch are\n  hint: save it as safetensors: "},
        {"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5, as Keras writes it\n  hint: "},
        {"\x93NUMPY\1\0v\0{'", "a NumPy array\n  hint: "},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char text[256];
        spit("w.pt", other[i].bytes, 12);
        ck_assert_int_eq(run("eval --weights w.pt"), 1);
        snprintf(text, sizeof text, "fake: error: 'w.pt' is no safetensors file but %s", other[i].text);
        ck_assert_msg(strncmp(err_text, text, strlen(text)) == 0, "%s", err_text);
    }
}
END_TEST

/* ---- a state and its weights ---- */

START_TEST(numbers_as_text)
{
    static const char *const whole[] = {"0", "7", "007", "18446744073709551615"};
    static const char *const no_whole[] = {
        "", " 1", "1 ", "+1", "-1", "1e3", "1.0", "0x1", "18446744073709551616", "99999999999999999999999", "1\n"};
    static const char *const real[] = {
        "0", "-0", "1.5", ".5", "5.", "1e3", "1E-3", "-2.5e+10", "4.9406564584124654e-324"};
    static const char *const no_real[] = {"",      "-",  ".",  "e3", "1e",    "1e+", "nan",   "inf", "-inf",
                                          "0x1p3", " 1", "1 ", "+1", "1e999", "1,5", "1.2.3", "--1"};
    uint64_t u;
    int64_t i;
    double d;
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++)
        ck_assert(cvy_parse_u64(whole[k], 0, UINT64_MAX, &u) && u == strtoull(whole[k], NULL, 10));
    for (size_t k = 0; k < sizeof no_whole / sizeof *no_whole; k++)
        ck_assert_msg(!cvy_parse_u64(no_whole[k], 0, UINT64_MAX, &u), "'%s'", no_whole[k]);
    for (size_t k = 0; k < sizeof real / sizeof *real; k++)
        ck_assert_msg(cvy_parse_real(real[k], -1e300, 1e300, &d) && d == strtod(real[k], NULL), "'%s'", real[k]);
    for (size_t k = 0; k < sizeof no_real / sizeof *no_real; k++)
        ck_assert_msg(!cvy_parse_real(no_real[k], -HUGE_VAL, HUGE_VAL, &d), "'%s'", no_real[k]);
    ck_assert(cvy_parse_i64("-5", -5, 5, &i) && i == -5 && !cvy_parse_i64("-6", -5, 5, &i) &&
              !cvy_parse_i64("6", -5, 5, &i));
    ck_assert(!cvy_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i) && !cvy_parse_i64("--1", -5, 5, &i));
    ck_assert(cvy_parse_u64("3", 3, 4, &u) && !cvy_parse_u64("2", 3, 4, &u) && !cvy_parse_u64("5", 3, 4, &u));
    ck_assert(cvy_parse_real("0.5", 0, 1, &d) && !cvy_parse_real("1.5", 0, 1, &d));
}
END_TEST

/* fake.state.safetensors with another value of a key in its metadata. */
static void set_in_state(const char *key, const char *value)
{
    struct cvy_tensors f, to = {0};
    struct cvy_out out;
    ck_assert(cvy_tensors_open(&f, "fake.state.safetensors"));
    for (int i = 0; i < f.nmeta; i += 2)
        ck_assert(cvy_put_meta(&to, f.meta[i], "%s", strcmp(f.meta[i], key) == 0 ? value : f.meta[i + 1]));
    for (int i = 0; i < f.n; i++) {
        const int dim[2] = {(int)f.entry[i].dim[0], (int)f.entry[i].dim[1]};
        if (f.entry[i].dtype == CVY_I64) {
            int64_t *count = cvy_put_i64(&to, f.entry[i].name);
            ck_assert(count && cvy_read_i64(&f, f.entry[i].name, count));
            continue;
        }
        float *v = cvy_put_f32(&to, f.entry[i].name, f.entry[i].ndim, dim);
        ck_assert(v && cvy_read_f32(&f, f.entry[i].name, v, (f.entry[i].end - f.entry[i].begin) / 4));
    }
    ck_assert(cvy_out_open(&out, "fake.state.safetensors") && cvy_tensors_write(&to, &out) && cvy_out_commit(&out, 1));
    cvy_tensors_free(&f);
    cvy_tensors_free(&to);
}

START_TEST(states_that_lie)
{
    static const char *const lie[][2] = {
        {"batch", "1e3"},
        {"batch", "0"},
        {"batch", " 32"},
        {"batch", "32 "},
        {"batch", "-32"},
        {"batch", "4294967328"},
        {"batch", "32.0"},
        {"batch", ""},
        {"seed", "-1"},
        {"seed", "18446744073709551616"},
        {"seed", "1e1"},
        {"train_images", "1e3"},
        {"test_images", "0x10"},
        {"step", "17"},
        {"step", "1e1"},
        {"epoch", "9"},
        {"step_in_epoch", "16"},
        {"step_in_epoch", "999999999999"},
        {"seen", "nan"},
        {"seen", "1"},
        {"seen", "0"},
        {"loss_sum", "inf"},
        {"correct_sum", "1e9"},
        {"lr", "1e7"},
        {"lr", "0x1p-4"},
        {"momentum", "-0.1"},
        {"epochs", "99999999999"},
        {"data_crc", "4294967296"},
        {"valid", "1.5"},
        {"valid", "0.2"},
        {"patience", "-1"},
        {"schedule", "cosin"},
        {"plateau.scale", "2"},
        {"class_weights", "1,2"},
        {"augment", "crap"},
        {"best_epoch", "2"},
        {"best_step", "11"},
        {"best_accuracy", "nan"},
        {"nesterov", "2"},
        {"optimiser", "adam"},
    };
    RUNS("train --limit 10" SHORT);
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++) {
        COPY("fake", "kept");
        set_in_state(lie[i][0], lie[i][1]);
        int status = run("train --resume --limit 12");
        ck_assert_msg(status == 1 && strncmp(err_text, "fake: error: ", 13) == 0, "%s=%s: %d, %s", lie[i][0], lie[i][1],
                      status, err_text);
        COPY("kept", "fake");
    }
    RUNS("train --resume --limit 12"); /* and the truth is taken */
}
END_TEST

/* What a kill between the two renames of a save leaves: new weights beside an old state. */
START_TEST(half_renamed)
{
    RUNS("train --limit 16" SHORT);
    COPY("fake", "old");
    RUNS("train --resume --limit 32");
    COPY("fake", "new");
    RUNS("train --resume");
    COPY("fake", "end");
    COPY("old", "fake");
    ck_assert_int_eq(system("cp new.safetensors fake.safetensors; mv new.state.safetensors "
                            "fake.state.safetensors.tmp.999999.0"),
                     0);
    spit("fake.safetensors.tmp.999999.7", "half", 4); /* of an earlier kill; of nobody; and no temporary at all */
    spit("fake.state.safetensors.tmp.999999.7", "", 0);
    spit("fake.safetensors.tmp.mine", "kept", 4);
    mkdir("fake.safetensors.tmp.999999.8", 0777);
    RUNS("train --resume");
    ck_assert_ptr_nonnull(strstr(out_text, "resumed after epoch 1, step 16\n"));
    ck_assert_str_eq(err_text, "");
    same_files("end.safetensors", "fake.safetensors");
    same_files("end.state.safetensors", "fake.state.safetensors");
    ck_assert(access("fake.safetensors.tmp.999999.7", F_OK) != 0 &&
              access("fake.state.safetensors.tmp.999999.7", F_OK) != 0 &&
              access("fake.state.safetensors.tmp.999999.0", F_OK) != 0);
    ck_assert_int_eq(access("fake.safetensors.tmp.mine", F_OK), 0);
    rmdir("fake.safetensors.tmp.999999.8");
}
END_TEST

START_TEST(logs)
{
    static char log[1 << 14];
    RUNS("train --seed 18446744073709551615 --limit 16 --log l" SHORT);
    log[slurp("l", log, sizeof log)] = '\0';
    ck_assert_ptr_nonnull(strstr(log, ",\"seed\":18446744073709551615}\n"));
    size_t whole = strlen(log);
    strcat(log, "{\"event\":\"epoch\",\"epo"); /* a program that was killed within a line */
    spit("l", log, strlen(log));
    RUNS("train --resume --log l --limit 32");
    char before[1 << 13];
    memcpy(before, log, whole);
    size_t n = slurp("l", log, sizeof log - 1);
    log[n] = '\0';
    ck_assert(n > whole && memcmp(before, log, whole) == 0 && strncmp(log + whole, "{\"event\":\"start\",", 17) == 0);
}
END_TEST

START_TEST(diverged)
{
    RUNS("train --limit 16" SHORT);
    COPY("fake", "old");
    ck_assert_int_eq(run("train --resume --lr 1000000 --schedule constant"), 1);
    ck_assert_msg(strstr(err_text, ", where guessing gives 2.3 at epoch 2, step ") &&
                      strstr(err_text, "(learning rate 1e+06): training stops\n"),
                  "%s", err_text);
    same_files("old.safetensors", "fake.safetensors");
    same_files("old.state.safetensors", "fake.state.safetensors");
}
END_TEST

void add_identity_cases(Suite *suite)
{
    const struct {
        const char *name;
        const TTest *test[16];
    } cases[] = {
        {"identity",
         {networks_compared, long_differences, lines_that_are_none, another_network, the_same_network, partly,
          another_training_is_not_written_over}},
        {"files of others", {files_of_others, halves, formats_of_others}},
        {"state", {numbers_as_text, states_that_lie, half_renamed, logs, diverged}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        add_cases(suite, cases[i].name, cases[i].test);
}
