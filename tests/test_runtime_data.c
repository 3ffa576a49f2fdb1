/* test_runtime_data.c - the data of a training: IDX files, sets, the drawn figures; batches, what is done to their
 * images; and what is said about data that are not as they should be. */
#include "../runtime/cvy_private.h"
#include "../runtime/cvy_rng.h"
#include "fake_model.h"
#include "runtime_help.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* An IDX file: magic (0, 0, type, ndim), dims, then `bytes` items' bytes (byte i is i * 7 % 10 for labels, so that
 * every class comes). gz: compressed. */
static void write_idx(const char *path, int type, int ndim, const uint32_t *dim, size_t bytes, int gz)
{
    static unsigned char file[1 << 17];
    size_t n = 4;
    memset(file, 0, 4);
    file[2] = (unsigned char)type;
    file[3] = (unsigned char)ndim;
    for (int i = 0; i < ndim; i++) {
        for (int b = 3; b >= 0; b--)
            file[n++] = (unsigned char)(dim[i] >> 8 * b);
    }
    for (size_t i = 0; i < bytes; i++)
        file[n++] = (unsigned char)(i * 7 % 10);
    if (!gz) {
        spit(path, file, n);
        return;
    }
    gzFile f = gzopen(path, "wb");
    ck_assert_int_eq(gzwrite(f, file, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

#define DIMS(...) ((const uint32_t[]){__VA_ARGS__})

static void make_idx(void)
{
    mkdir("d", 0777);
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(100, 12, 12), 14400, 1);
    write_idx("d/train-labels-idx1-ubyte.gz", 8, 1, DIMS(100), 100, 1);
    write_idx("d/t10k-images-idx3-ubyte", 8, 3, DIMS(50, 12, 12), 7200, 0);
    write_idx("d/t10k-labels-idx1-ubyte", 8, 1, DIMS(50), 50, 0);
}

#define D_TRAIN "train --data d --no-save --epochs 1"
#define FOUR                                                                                                           \
    "  hint: a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "                   \
    "t10k-labels-idx1-ubyte (each may end in .gz) is named by --data DIR; a set of 'convoy data' by --data FILE\n"

START_TEST(idx_files)
{
    make_idx();
    RUNS(D_TRAIN);
    ck_assert_ptr_nonnull(
        strstr(out_text, "90 images to train, 10 held out of them to validate (--valid N), 50 to test, from d\n"));
    ck_assert_ptr_null(strstr(out_text, "SYNTHETIC"));
    struct cvy_data d;
    ck_assert(cvy_data_load(&d, &fake_model, "d", CVY_TEST_SPLIT, 0));
    ck_assert(d.n == 50 && d.image[144 * 3 + 5] == (144 * 3 + 5) * 7 % 10 && d.label[49] == 49 * 7 % 10);
    cvy_data_free(&d);
}
END_TEST

/* Of each class its share, the same for every training, in the order of the files; what is left is to train with. */
START_TEST(held_out)
{
    static const struct {
        double share;
        int held, of_class[3];
    } wanted[] = {
        {0.1, 30, {15, 10, 5}}, {0.25, 75, {38, 25, 12}}, {7, 7, {4, 2, 1}}, {299, 299, {149, 100, 50}}, {0, 0, {0}},
        {0.001, 0, {0}}};
    mkdir("d", 0777);
    write_idx("d/train-images-idx3-ubyte", 8, 3, DIMS(300, 12, 12), 43200, 0);
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(300), 300, 0);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct cvy_data train, valid;
        int held, of_class[10] = {0}, seen[300] = {0};
        ck_assert(cvy_data_load(&train, &fake_model, "d", CVY_TRAIN_SPLIT, 0));
        for (int k = 0; k < 300; k++)
            train.label[k] = k % 6 < 3 ? 0 : k % 6 < 5 ? 1 : 2;
        ck_assert(cvy_data_validation(&valid, &train, &fake_model, "d", wanted[i].share, &held));
        ck_assert_int_eq(valid.n, wanted[i].held);
        ck_assert_int_eq(train.n, 300 - valid.n);
        ck_assert_int_eq(held, valid.n > 0);
        for (int k = 0; k < valid.n; k++) {
            const int row = cvy_data_row(&valid, k);
            of_class[valid.label[row]]++;
            seen[row]++;
            ck_assert(k == 0 || row > cvy_data_row(&valid, k - 1));
        }
        for (int k = 0; k < train.n; k++)
            seen[cvy_data_row(&train, k)]++;
        for (int k = 0; k < 300; k++)
            ck_assert_int_eq(seen[k], 1);
        ck_assert_mem_eq(of_class, wanted[i].of_class, sizeof wanted[i].of_class);
        cvy_data_free(&valid);
        cvy_data_free(&train);
    }
    make_idx();
    fails("train --data d --valid 300", 1,
          "fake: error: --valid 300: there are 300 training images\n"
          "  hint: a share below 1 is one of the training images\n");
    fails("train --data d --valid 1.5", 2,
          "fake: error: --valid: '1.5' is not a share below 1 or whole number from 0 to 2147483647\n");
}
END_TEST

/* A set of rows of zeros, and of as many to choose by, or none. */
static void write_set(const char *path, int train, int valid)
{
    char header[512];
    int at = snprintf(header, sizeof header,
                      "{\"train.x\":{\"dtype\":\"U8\",\"shape\":[%d,1,12,12],\"data_offsets\":[0,%d]},"
                      "\"train.y\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
                      train, 144 * train, train, 144 * train, 152 * train);
    if (valid)
        at += snprintf(header + at, sizeof header - (size_t)at,
                       ",\"valid.x\":{\"dtype\":\"U8\",\"shape\":[%d,1,12,12],\"data_offsets\":[%d,%d]},"
                       "\"valid.y\":{\"dtype\":\"I64\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
                       valid, 152 * train, 152 * train + 144 * valid, valid, 152 * train + 144 * valid,
                       152 * (train + valid));
    snprintf(header + at, sizeof header - (size_t)at, "}");
    write_tensors(path, header, (size_t)(152 * (train + valid)));
}

/* A set's own rows to choose by are taken, all of them; where it has none, some of its training rows are. */
START_TEST(rows_of_a_set_to_validate_with)
{
    for (int own = 0; own < 2; own++) {
        struct cvy_data train, valid;
        int held;
        write_set("s", 20, own ? 5 : 0);
        ck_assert(cvy_data_load(&train, &fake_model, "s", CVY_TRAIN_SPLIT, 0));
        ck_assert_int_eq(train.n, 20);
        ck_assert(cvy_data_validation(&valid, &train, &fake_model, "s", 2, &held));
        ck_assert_int_eq(valid.n, own ? 5 : 2);
        ck_assert_int_eq(train.n, own ? 20 : 18);
        ck_assert_int_eq(held, !own);
        cvy_data_free(&valid);
        cvy_data_free(&train);
    }
}
END_TEST

/* Text up to the last line's beginning. */
static size_t but_the_last_line(const char *text)
{
    size_t n = strlen(text);
    while (n > 1 && text[n - 2] != '\n')
        n--;
    return n - 1;
}

/* The lines without how long epochs took: what stands after the last per cent or parenthesis. */
static void without_times(const char *text, char *to)
{
    for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        const char *last = end;
        while (strncmp(line, "epoch ", 6) == 0 && last > line && last[-1] != '%' && last[-1] != ')')
            last--;
        memcpy(to, line, (size_t)(last - line));
        to += last - line;
        *to++ = '\n';
    }
    *to = '\0';
}

/* Where the lines of the test begin. */
static size_t before_the_test(const char *text)
{
    const char *at = strstr(text, "\ntest loss ");
    ck_assert_ptr_nonnull(at);
    return (size_t)(at + 1 - text);
}

/* Nothing of the test set gets into a training: with its labels in another order all is the same but what is said of
 * the test, which comes last. */
START_TEST(test_labels_change_what_is_said_last)
{
    static char lines[2][1 << 12], log[2][1 << 12];
    make_idx();
    for (int i = 0; i < 2; i++) {
        char words[128];
        snprintf(words, sizeof words, "train --data d --epochs 4 --patience 3 --save w%d --log l%d", i, i);
        RUNS(words);
        without_times(out_text, lines[i]);
        log[i][slurp(i ? "l1" : "l0", log[i], sizeof log[i] - 1)] = '\0';
        unsigned char label[8 + 50];
        slurp("d/t10k-labels-idx1-ubyte", label, sizeof label + 1);
        for (int k = 8; k < 33; k++) {
            const unsigned char other = label[k];
            label[k] = label[8 + 57 - k];
            label[8 + 57 - k] = other;
        }
        spit("d/t10k-labels-idx1-ubyte", label, sizeof label);
    }
    same_files("w0", "w1");
    same_files("w0.state.safetensors", "w1.state.safetensors");
    char *name = strstr(lines[1], "saved w1 ");
    ck_assert(name && before_the_test(lines[0]) == before_the_test(lines[1]));
    name[7] = '0';
    name = strstr(name, "w1.state");
    name[1] = '0';
    const size_t n = before_the_test(lines[0]);
    ck_assert_msg(memcmp(lines[0], lines[1], n) == 0, "%s---\n%s", lines[0], lines[1]);
    ck_assert(strncmp(lines[0] + n, "test loss ", 10) == 0 && strcmp(lines[0] + n, lines[1] + n) != 0);
    for (int i = 0; i < 2; i++) {
        const size_t at = but_the_last_line(log[i]);
        ck_assert(strncmp(log[i] + at, "{\"event\":\"test\",", 16) == 0);
        log[i][at] = '\0';
        ck_assert_ptr_null(strstr(log[i], "test_loss"));
        ck_assert_ptr_null(strstr(log[i], "test_accuracy"));
    }
}
END_TEST

/* A network of one dimension, [9, 16], reads (n, 9, 16) beside (n, 9, 1, 16). */
START_TEST(idx_files_of_one_dimension)
{
    make_idx();
    struct cvy_model m = fake_model;
    m.channels = 9;
    m.height = 1;
    m.width = 16;
    for (int ndim = 3; ndim <= 4; ndim++) {
        struct cvy_data d;
        write_idx("d/t10k-images-idx3-ubyte", 8, ndim, ndim == 3 ? DIMS(50, 9, 16) : DIMS(50, 9, 1, 16), 7200, 0);
        ck_assert(cvy_data_load(&d, &m, "d", CVY_TEST_SPLIT, 0));
        ck_assert(d.n == 50 && d.numbers == 144 && d.image[144 * 3 + 5] == (144 * 3 + 5) * 7 % 10);
        cvy_data_free(&d);
    }
}
END_TEST

/* --data takes the words of `data:`; a folder that is called so goes before them. */
START_TEST(data_by_its_word)
{
    uint64_t seed;
    const char *folder = NULL;
    const int installed = access("/usr/share/datasets/fashion-mnist", F_OK) == 0;
    ck_assert(cvy_data_where("shapes", "fashion-mnist", &seed, &folder) == (installed ? CVY_FOLDER : CVY_NOWHERE));
    ck_assert_str_eq(folder, "/usr/share/datasets/fashion-mnist");
    ck_assert(cvy_data_where("idx", "shapes:7", &seed, &folder) == CVY_DRAWN && seed == 7);
    ck_assert(mkdir("fashion-mnist", 0777) == 0);
    ck_assert(cvy_data_where("shapes", "fashion-mnist", &seed, &folder) == CVY_FOLDER);
    ck_assert_str_eq(folder, "fashion-mnist");
    ck_assert(rmdir("fashion-mnist") == 0);
    ck_assert(cvy_data_where("shapes", "mnist", &seed, &folder) == CVY_NOWHERE);
}
END_TEST

START_TEST(loader_gives_every_item_once)
{
    make_idx();
    struct cvy_data d;
    ck_assert(cvy_data_load(&d, &fake_model, "d", CVY_TRAIN_SPLIT, 0));
    for (int i = 0; i < d.n; i++)
        ((uint8_t *)d.own)[i * 144] = (uint8_t)i; /* a mark */
    for (int first = 0; first <= 3; first += 3) {
        struct cvy_loader *l = cvy_loader_start(&d, &fake_model, 32, 1, 1, 5, 2, first, NULL);
        const struct cvy_batch *b;
        int order[100], seen = 0;
        cvy_permutation(order, 100, 5, 2);
        while ((b = cvy_loader_next(l)) != NULL) {
            for (int i = 0; i < b->n; i++) {
                int item = order[first * 32 + seen++];
                ck_assert_int_eq(((const int *)b->target)[i], d.label[item]);
                ck_assert_float_eq(b->x[i * 144], ((float)item / 255.0f - 0.3f) / 0.25f);
            }
        }
        ck_assert_int_eq(seen, 100 - 32 * first);
        cvy_loader_stop(l);
    }
    for (int taken = 0; taken < 4; taken++) { /* stopping early must not hang */
        struct cvy_loader *l = cvy_loader_start(&d, &fake_model, 10, 1, 1, 5, 2, 0, NULL);
        for (int i = 0; i < taken; i++)
            cvy_loader_next(l);
        cvy_loader_stop(l);
    }
    cvy_data_free(&d);
}
END_TEST

/* An image through a view, pixel by pixel, as cvy_augment.h has it. */
static void expect_view(const struct cvy_view *v, const uint8_t *in, const float *out)
{
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 12; x++) {
            const int fy = y + v->dy, fx = (v->flip ? 11 - x : x) + v->dx;
            const int hole = y >= v->hole[0] && y < v->hole[1] && x >= v->hole[2] && x < v->hole[3];
            const uint8_t byte = fy >= 0 && fy < 12 && fx >= 0 && fx < 12 ? in[fy * 12 + fx] : 0;
            ck_assert_float_eq(out[y * 12 + x], hole ? 0 : ((float)byte / 255.0f - 0.3f) / 0.25f);
        }
}

START_TEST(augmented)
{
    static const char *const lists[] = {"crop(4)", "flip", "cutout(5)", "shift(0.25)",
                                        "cutout(30), flip, crop(12), shift(1)"};
    make_idx();
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        struct cvy_data d;
        struct cvy_augment a;
        char why[200];
        int flips = 0, moved = 0, holes = 0, same = 0;
        ck_assert(cvy_augment_read(&a, lists[k], why, sizeof why));
        ck_assert(cvy_data_load(&d, &fake_model, "d", CVY_TRAIN_SPLIT, 0));
        for (uint64_t epoch = 0; epoch < 3; epoch++)
            for (int batch = 32; batch <= 50; batch += 18) { /* a function of the image, whatever the batch */
                struct cvy_loader *l = cvy_loader_start(&d, &fake_model, batch, 1, 1, 5, epoch, 0, &a);
                const struct cvy_batch *b;
                int order[100], seen = 0;
                cvy_permutation(order, 100, 5, epoch);
                while ((b = cvy_loader_next(l)) != NULL)
                    for (int i = 0; i < b->n; i++, seen++) {
                        const struct cvy_view v = cvy_augment_draw(&a, 12, 12, 5, epoch, (uint64_t)order[seen]);
                        const struct cvy_view next = cvy_augment_draw(&a, 12, 12, 5, epoch + 1, (uint64_t)order[seen]);
                        expect_view(&v, d.image + 144 * order[seen], b->x + 144 * i);
                        flips += v.flip;
                        moved += v.dx != 0 || v.dy != 0;
                        holes += v.hole[1] > v.hole[0];
                        same += memcmp(&v, &next, sizeof v) == 0;
                        ck_assert(abs(v.dx) <= (int)a.by[CVY_CROP] + (int)(12 * a.by[CVY_SHIFT] + 0.5));
                    }
                ck_assert_int_eq(seen, 100);
                cvy_loader_stop(l);
            }
        ck_assert(a.by[CVY_FLIP] != 0 ? flips > 200 && flips < 400 : flips == 0);
        ck_assert(a.by[CVY_CROP] + a.by[CVY_SHIFT] > 0 ? moved > 400 : moved == 0);
        ck_assert_int_eq(holes, a.by[CVY_CUTOUT] > 0 ? 600 : 0);
        ck_assert_int_lt(same, a.by[CVY_FLIP] != 0 && k == 1 ? 400 : 60);
        cvy_data_free(&d);
    }
}
END_TEST

START_TEST(mixed)
{
    static const double sizes[] = {0.05, 0.2, 1};
    make_idx();
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct cvy_data d;
        struct cvy_augment a = {.by = {[CVY_FLIP] = 1, [CVY_MIXUP] = sizes[k]}}, flip = {.by = {[CVY_FLIP] = 1}};
        double mean = 0, square = 0;
        enum { DRAWS = 20000 };
        for (int i = 0; i < DRAWS; i++) {
            const struct cvy_mix m = cvy_augment_mix(&a, 7, 5, 1, (uint64_t)i);
            ck_assert(m.share >= 0 && m.share <= 1 && m.other >= 0 && m.other < 7);
            mean += (double)m.share / DRAWS;
            square += (double)m.share * (double)m.share / DRAWS;
        }
        const double variance = 1 / (4 * (2 * sizes[k] + 1)); /* of Beta(a, a) */
        ck_assert_double_eq_tol(mean, 0.5, 4 * sqrt(variance / DRAWS));
        ck_assert_double_eq_tol(square - mean * mean, variance, 0.02 * variance);
        ck_assert(cvy_data_load(&d, &fake_model, "d", CVY_TRAIN_SPLIT, 0));
        for (int batch = 32; batch <= 50; batch += 18) { /* a function of the image, whatever the batch */
            struct cvy_loader *l = cvy_loader_start(&d, &fake_model, batch, 1, 1, 5, 2, 0, &a);
            struct cvy_loader *all =
                cvy_loader_start(&d, &fake_model, 100, 1, 0, 5, 2, 0, &flip); /* as they are mixed */
            const struct cvy_batch *plain = cvy_loader_next(all), *b;
            int order[100], seen = 0;
            cvy_permutation(order, 100, 5, 2);
            while ((b = cvy_loader_next(l)) != NULL) {
                struct cvy_step step;
                cvy_loader_mixed(l, &step);
                for (int i = 0; i < b->n; i++, seen++) {
                    const struct cvy_mix m = cvy_augment_mix(&a, 100, 5, 2, (uint64_t)order[seen]);
                    ck_assert_float_eq(step.share[i], m.share);
                    ck_assert_int_eq(step.other[i], d.label[m.other]);
                    ck_assert_int_eq(((const int *)b->target)[i], d.label[order[seen]]);
                    for (int p = 0; p < 144; p++)
                        ck_assert_float_eq_tol(b->x[144 * i + p],
                                               m.share * plain->x[144 * order[seen] + p] +
                                                   (1 - m.share) * plain->x[144 * m.other + p],
                                               1e-6f);
                }
            }
            ck_assert_int_eq(seen, 100);
            cvy_loader_stop(l);
            cvy_loader_stop(all);
        }
        cvy_data_free(&d);
    }
}
END_TEST

START_TEST(augmentations_as_text)
{
    static const char *const wrong[][2] = {
        {"crap(4)", "unknown augmentation 'crap(4)': it is one of crop, shift, flip, cutout, mixup"},
        {"crop", "'crop': crop takes a whole number from 1 to 1024, as crop(4)"},
        {"crop(0)", "'crop(0)': crop takes a whole number from 1 to 1024, as crop(4)"},
        {"crop(1.5)", "'crop(1.5)': crop takes a whole number from 1 to 1024, as crop(4)"},
        {"crop(4", "'crop(4': crop takes a whole number from 1 to 1024, as crop(4)"},
        {"crop(-4)", "'crop(-4)': crop takes a whole number from 1 to 1024, as crop(4)"},
        {"shift(2)", "'shift(2)': shift takes a number from 0 to 1, as shift(0.1)"},
        {"flip(1)", "'flip(1)': flip takes no number"},
        {"flip, flip", "flip stands there twice"},
        {"flip,", "unknown augmentation '': it is one of crop, shift, flip, cutout, mixup"},
    };
    struct cvy_augment a;
    char why[200], text[CVY_AUGMENT_TEXT];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert(!cvy_augment_read(&a, wrong[i][0], why, sizeof why));
        ck_assert_str_eq(why, wrong[i][1]);
    }
    ck_assert(cvy_augment_read(&a, "cutout(8),flip , crop(4), shift(.1)", why, sizeof why));
    cvy_augment_write(&a, text);
    ck_assert_str_eq(text, "crop(4), shift(0.1), flip, cutout(8)");
    ck_assert(cvy_augment_read(&a, "none", why, sizeof why) && !cvy_augments(&a));
    fails("train --augment crap", 1,
          "fake: error: --augment: unknown augmentation 'crap': it is one of crop, shift, flip, cutout, mixup\n");
}
END_TEST

/* The header says enough to refuse a file: its items are not unpacked. Parts may follow each other, as from cat a.gz
 * b.gz. */
START_TEST(idx_files_in_parts)
{
    static char file[1 << 16];
    make_idx();
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(100, 28, 28), 0, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz' holds images of 1 x 28 x 28; the network 'fake' reads 1 x 12 x "
          "12\n");
    make_idx();
    gzFile in = gzopen("d/train-images-idx3-ubyte.gz", "rb");
    int n = gzread(in, file, sizeof file);
    ck_assert_int_eq(gzclose(in), Z_OK);
    const int cut[] = {0, 3, 16, 17, 5000, n};
    unlink("d/train-images-idx3-ubyte.gz");
    for (int i = 0; i < 5; i++) {
        gzFile out = gzopen("d/train-images-idx3-ubyte.gz", "ab");
        ck_assert_int_eq(gzwrite(out, file + cut[i], (unsigned)(cut[i + 1] - cut[i])), cut[i + 1] - cut[i]);
        ck_assert_int_eq(gzclose(out), Z_OK);
    }
    RUNS(D_TRAIN);
    n = (int)slurp("d/train-images-idx3-ubyte.gz", file, sizeof file);
    spit("d/train-images-idx3-ubyte.gz", file,
         (size_t)n - 3); /* all items are there, the end of what is packed is not */
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz': it is truncated: what is packed has no end\n  hint: fetch it "
          "again\n");
}
END_TEST

START_TEST(idx_files_that_are_wrong)
{
    fails(D_TRAIN, 1, "fake: error: there is no folder and no set 'd' (data: shapes)\n" FOUR);
    make_idx();
    fails("train --no-save --data fashion-mnst", 1,
          "fake: error: there is no folder and no set 'fashion-mnst' (data: shapes)\n"
          "  hint: did you mean 'fashion-mnist'?\n");
    fails("train --no-save --data d/train-label-idx1-ubyte.gz//", 1,
          "fake: error: there is no folder and no set 'd/train-label-idx1-ubyte.gz//' (data: shapes)\n"
          "  hint: did you mean 'd/train-labels-idx1-ubyte.gz'?\n");
    unlink("d/train-labels-idx1-ubyte.gz");
    fails(D_TRAIN, 1, "fake: error: there is no 'd/train-labels-idx1-ubyte' (or .gz)\n" FOUR);
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(101), 101, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz' holds 100 images, but 'd/train-labels-idx1-ubyte' 101 labels\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(100), 99, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte' is truncated: 100 bytes promised, 99 there\n  hint: fetch it "
          "again\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(100), 101, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte': bytes follow after the last item that its header counts\n"
          "  hint: fetch it again\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(2147483648u), 100, 0);
    fails(
        D_TRAIN, 1,
        "fake: error: 'd/train-labels-idx1-ubyte': its header claims 2147483648 items; 1 to 2147483647 can be read\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(2147483647u), 100, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz' holds 100 images, but 'd/train-labels-idx1-ubyte' 2147483647 "
          "labels\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 3, DIMS(100, 12, 12), 14400, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte': it holds images (3 dimensions), but labels belong here\n"
          "  hint: are two files swapped?\n");
    write_idx("d/train-labels-idx1-ubyte", 13, 1, DIMS(100), 400, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte': it holds 32-bit floats (type 0x0d); labels are unsigned bytes "
          "(type 0x08)\n"
          "  hint: write them as bytes, from 0 to one less than classes\n");
    write_idx("d/train-labels-idx1-ubyte", 7, 1, DIMS(100), 400, 0);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte': it holds numbers of no IDX type (type 0x07); labels are unsigned "
          "bytes (type 0x08)\n"
          "  hint: write them as bytes, from 0 to one less than classes\n");
    spit("d/train-labels-idx1-ubyte", "no", 2);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte' is truncated: 4 bytes promised, 2 there\n  hint: fetch it again\n");
    spit("d/train-labels-idx1-ubyte", "some text", 9);
    fails(D_TRAIN, 1, "fake: error: 'd/train-labels-idx1-ubyte': no IDX file\n" FOUR);

    make_idx();
    unlink("d/train-labels-idx1-ubyte");
    write_idx("d/train-images-idx3-ubyte.gz", 8, 1, DIMS(100), 100, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz': it holds labels (1 dimension), but images belong here\n"
          "  hint: are two files swapped?\n");
    write_idx("d/train-images-idx3-ubyte.gz", 13, 3, DIMS(100, 12, 12), 4 * 14400, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz': it holds 32-bit floats (type 0x0d); images are unsigned bytes "
          "(type 0x08)\n"
          "  hint: write them as bytes from 0 to 255; a pixel is (byte / 255 - mean) / std, with mean and std of "
          "train\n");
    write_idx("d/train-images-idx3-ubyte.gz", 8, 2, DIMS(100, 144), 14400, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz': it holds a table (2 dimensions), but images belong here\n"
          "  hint: images have 3 dimensions (n, height, width) or 4 (n, channels, height, width)\n");
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(100, 28, 28), 78400, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz' holds images of 1 x 28 x 28; the network 'fake' reads 1 x 12 x "
          "12\n");
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(100, 4294967295u, 4294967295u), 100, 1);
    fails(D_TRAIN, 1, "fake: error: 'd/train-images-idx3-ubyte.gz': its header claims images of an impossible size\n");
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(2147483647u, 46340, 46340), 100, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-images-idx3-ubyte.gz' holds images of 1 x 46340 x 46340; the network 'fake' reads 1 x "
          "12 x 12\n");
    write_idx("d/train-labels-idx1-ubyte", 8, 1, DIMS(2147483647u), 100, 0); /* what is promised is not believed */
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(2147483647u, 12, 12), 100, 1);
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte' is truncated: 2147483647 bytes promised, 100 there\n  hint: fetch "
          "it again\n");
    unlink("d/train-labels-idx1-ubyte");

    make_idx();
    fake_model.classes = 9;
    fails(D_TRAIN, 1,
          "fake: error: 'd/train-labels-idx1-ubyte.gz': label 9 of item 7; the network has 9 classes (0 to 8)\n"
          "  hint: labels count from 0; are these counted from 1?\n");
    fake_model.classes = 10;
    static char gz[1 << 16];
    size_t n = slurp("d/train-labels-idx1-ubyte.gz", gz, sizeof gz);
    spit("d/train-labels-idx1-ubyte.gz", gz, n - 9);
    ck_assert_int_eq(run(D_TRAIN), 1);
    ck_assert_ptr_nonnull(strstr(err_text, "'d/train-labels-idx1-ubyte.gz'"));
    gz[n - 6] ^= 1; /* its checksum */
    spit("d/train-labels-idx1-ubyte.gz", gz, n);
    fails(D_TRAIN, 1, "fake: error: cannot read 'd/train-labels-idx1-ubyte.gz': incorrect data check\n");
    write_idx("d/train-labels-idx1-ubyte.gz", 8, 1, DIMS(1), 1, 1);
    write_idx("d/train-images-idx3-ubyte.gz", 8, 3, DIMS(1, 12, 12), 144, 1);
    fails(D_TRAIN, 1, "fake: error: 1 training images are too few: a batch has 2 at least\n");
}
END_TEST

START_TEST(data_that_is_not_installed)
{
    struct stat st;
    fake_model.train.data = "mnist";
    fails("train --no-save", 1, "fake: error: where is the data? (data: mnist)\n" FOUR);
    fake_model.train.data = "fashion-mnist";
    if (stat("/usr/share/datasets/fashion-mnist", &st) != 0)
        fails("train --no-save", 1,
              "fake: error: fashion-mnist is not in '/usr/share/datasets/fashion-mnist'\n"
              "  hint: apt-get install dataset-fashion-mnist, or name the folder of its four files with --data DIR; "
              "--data shapes trains on drawn figures instead\n");
    else
        fails("train --no-save", 1,
              "fake: error: '/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz' holds images of 1 x 28 x "
              "28; the "
              "network 'fake' reads 1 x 12 x 12\n");
    fake_model.train.data = "shapes";
}
END_TEST

START_TEST(figures)
{
    struct cvy_data a, b;
    struct cvy_model m = fake_model;
    int count[10] = {0};
    ck_assert(cvy_data_load(&a, &m, NULL, CVY_TRAIN_SPLIT, 0) && a.n == 10000 && a.synthetic);
    ck_assert(cvy_data_load(&b, &m, "shapes", CVY_TEST_SPLIT, 0) && b.n == 2000);
    ck_assert(memcmp(a.image, b.image, 144 * 10) != 0);
    cvy_data_free(&b);
    ck_assert(cvy_data_load(&b, &m, "shapes:2", CVY_TRAIN_SPLIT, 10));
    ck_assert(memcmp(a.image, b.image, 144 * 10) != 0);
    for (int i = 0; i < a.n; i++)
        count[a.label[i]]++;
    for (int k = 0; k < 10; k++)
        ck_assert(count[k] > 800 && count[k] < 1200);
    cvy_data_free(&b);
    ck_assert(cvy_data_load(&b, &m, NULL, CVY_TRAIN_SPLIT, 50)); /* an item does not depend on how many there are */
    ck_assert_mem_eq(a.image, b.image, 50 * 144);
    cvy_data_free(&a);
    cvy_data_free(&b);
    m.channels = 3;
    m.height = 8;
    m.width = 21;
    m.classes = 4;
    ck_assert(cvy_data_load(&a, &m, NULL, CVY_TRAIN_SPLIT, 100) && a.numbers == 3 * 8 * 21);
    for (int i = 0; i < a.n; i++)
        ck_assert_int_lt(a.label[i], 4);
    cvy_data_free(&a);
    fake_model.width = 7;
    fails("train --no-save", 1, "fake: error: figures need images of 8 x 8 or more; the network 'fake' reads 12 x 7\n");
    fake_model.width = 12;
    fails("train --no-save --data shapes:x", 1,
          "fake: error: there is no folder and no set 'shapes:x' (data: shapes)\n  hint: did you mean 'shapes'?\n");
}
END_TEST

void add_data_cases(Suite *suite)
{
    const TTest *const cases[] = {idx_files,
                                  held_out,
                                  rows_of_a_set_to_validate_with,
                                  augmented,
                                  mixed,
                                  augmentations_as_text,
                                  test_labels_change_what_is_said_last,
                                  idx_files_in_parts,
                                  idx_files_of_one_dimension,
                                  data_by_its_word,
                                  loader_gives_every_item_once,
                                  idx_files_that_are_wrong,
                                  data_that_is_not_installed,
                                  figures,
                                  NULL};
    add_cases(suite, "data", cases);
}
