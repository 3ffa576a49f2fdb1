/* test_runtime_files.c - what the runtime reads and writes besides data: checkpoints, .npy files; and what it says
 * about files that are not as they should be. */
#include "../runtime/cvy_private.h"
#include "../runtime/cvy_rng.h"
#include "fake_model.h"
#include "runtime_help.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- checkpoints ---- */

char good[1 << 16];
size_t good_bytes;

void make_good(void)
{
    RUNS("train --limit 16" SHORT);
    good_bytes = slurp("fake.safetensors", good, sizeof good);
}

void write_tensors(const char *path, const char *header, size_t bytes)
{
    static char file[1 << 17];
    size_t len = strlen(header);
    memset(file, 0, sizeof file);
    for (int i = 0; i < 8; i++)
        file[i] = (char)(len >> 8 * i);
    memcpy(file + 8, header, len);
    spit(path, file, 8 + len + bytes);
}

START_TEST(checkpoint_holds_what_pytorch_expects)
{
    make_good();
    struct cvy_tensors f;
    int64_t batches = 0;
    ck_assert(cvy_tensors_open(&f, "fake.safetensors"));
    ck_assert_int_eq(f.n, 5);
    ck_assert_str_eq(cvy_get_meta(&f, "format"), "pt");
    ck_assert_str_eq(cvy_get_meta(&f, "convoy"), "fake");
    ck_assert_str_eq(cvy_get_meta(&f, "mean"), "0.300000012");
    ck_assert_str_eq(cvy_get_meta(&f, "epoch"), "1");
    ck_assert_str_eq(f.entry[0].name, "bn.num_batches_tracked"); /* eight-byte numbers first: all is aligned */
    ck_assert_int_eq(f.entry[0].ndim, 0);
    ck_assert(cvy_read_i64(&f, "bn.num_batches_tracked", &batches) && batches == 16);
    ck_assert_uint_eq(f.data_at % 8, 0);
    cvy_tensors_free(&f);
    ck_assert(cvy_tensors_open(&f, "fake.state.safetensors"));
    ck_assert_int_eq(f.n, 7); /* the weights of the last step, too */
    ck_assert_str_eq(cvy_get_meta(&f, "step"), "16");
    cvy_tensors_free(&f);
}
END_TEST

START_TEST(truncated_checkpoints)
{
    make_good();
    for (size_t n = 0; n < good_bytes; n += n < 700 ? 13 : 997) {
        spit("cut.safetensors", good, n);
        ck_assert_int_eq(run("eval --weights cut.safetensors"), 1);
        ck_assert_msg(strncmp(err_text, "fake: error: 'cut.safetensors': ", 32) == 0, "%zu bytes: %s", n, err_text);
    }
    spit("cut.safetensors", good, good_bytes - 1);
    ck_assert_int_eq(run("eval --weights cut.safetensors"), 1);
    good[good_bytes] = 0;
    spit("cut.safetensors", good, good_bytes + 1);
    fails("eval --weights cut.safetensors", 1,
          "fake: error: 'cut.safetensors': 1 bytes at its end belong to no tensor\n"
          "  hint: it is damaged, or it is no safetensors file\n");
}
END_TEST

START_TEST(bits_flipped_in_the_header)
{
    make_good();
    size_t header = 8 + (unsigned char)good[0] + 256 * (size_t)(unsigned char)good[1];
    int kept = dup(2), null = open("/dev/null", O_WRONLY), refused = 0;
    dup2(null, 2);
    for (size_t i = 0; i < 8 * header; i++) {
        struct cvy_tensors f; /* read in this process: forks are slow, and a sanitizer sees it here, too */
        good[i / 8] ^= (char)(1 << i % 8);
        spit("flip.safetensors", good, good_bytes);
        good[i / 8] ^= (char)(1 << i % 8);
        refused += !cvy_tensors_open(&f, "flip.safetensors"); /* passes where only a name or metadata changed */
        cvy_tensors_free(&f);
    }
    dup2(kept, 2);
    close(kept);
    close(null);
    ck_assert_int_gt(refused, (int)header);
}
END_TEST

#define NO_HEADER                                                                                                      \
    "  hint: it is damaged, or of another format: weights are saved as safetensors, under PyTorch's names, and "       \
    "'convoy data SRC' makes a set\n"

START_TEST(headers_that_lie)
{
    static const struct {
        const char *header, *text;
        size_t bytes;
    } bad[] = {
        {"[1]", "its header is not a JSON object", 0},
        {"{\"a\":1}", "tensor 'a' has no dtype, shape and data_offsets", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "tensor 'a' lies outside of the file", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "tensor 'a' lies outside of the file", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", "tensor 'a' lies outside of the file", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}",
         "tensor 'a' has 8 bytes, but its shape says 12", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}",
         "tensor 'a' has an impossible shape", 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "tensor 'a' has an impossible shape", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", "tensor 'a' has an impossible shape", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "tensor 'a' stands after bytes that belong to none", 8},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[4,8]}}",
         "tensor 'b' overlaps another", 8},
        {"{\"__metadata__\":{\"a\":1}}", "its metadata holds something that is no text", 0},
        {"{\"__metadata__\":7}", "its metadata is not a JSON object", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        write_tensors("bad", bad[i].header, bad[i].bytes);
        snprintf(text, sizeof text, "fake: error: 'bad': %s\n  hint: it is damaged, or it is no safetensors file\n",
                 bad[i].text);
        fails("eval --weights bad", 1, text);
    }
    write_tensors("bad", "{\"a\":{}, \"a\":{}}", 0);
    ck_assert_int_eq(run("eval --weights bad"), 1);
    ck_assert_ptr_nonnull(strstr(err_text, "its header is not JSON"));
    spit("bad", "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    fails("eval --weights bad", 1,
          "fake: error: 'bad' is no safetensors file: it does not begin with the length of a header\n" NO_HEADER);
    spit("bad", "name: net\n", 10); /* a text's first letters are a length of 18 digits */
    fails("eval --weights bad", 1,
          "fake: error: 'bad' is no safetensors file: it does not begin with the length of a header\n" NO_HEADER);
    spit("bad", "\xff\xff\0\0\0\0\0\0{}", 10);
    fails("eval --weights bad", 1,
          "fake: error: 'bad': its header claims 65535 bytes in a file of 10\n"
          "  hint: it is damaged, or it is no safetensors file\n");
    fails("eval --weights none", 1, "fake: error: cannot read 'none': No such file or directory\n");
    fails("eval --weights .", 1, "fake: error: cannot read '.': it is a folder\n");
}
END_TEST

START_TEST(checkpoint_of_another_network)
{
    write_tensors(
        "other",
        "{\"__metadata__\":{\"convoy\":\"cousin\"},\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":["
        "0,24]},"
        "\"fc.bias\":{\"dtype\":\"U16\",\"shape\":[10],\"data_offsets\":[24,44]},\"x\":{\"dtype\":\"F32\",\"shape\":[],"
        "\"data_offsets\":[44,48]}}",
        48);
    fails("eval --weights other", 1,
          "fake: error: 'other' does not fit this network (2 missing, 1 unexpected, 2 of another shape or type):\n"
          "  'fc.weight' is F32 [2, 3]; the network has F32 [10, 144]\n"
          "  'fc.bias' is U16 [10]; the network has F32 [10]\n"
          "  missing: 'bn.running_mean'\n"
          "  missing: 'bn.running_var'\n"
          "  unexpected: 'x'\n"
          "  hint: the file's own word on it: a checkpoint of 'cousin'\n");
}
END_TEST

START_TEST(numbers_that_cannot_be)
{
    struct cvy_tensors f;
    float nan = NAN, minus = -1.0f;
    make_good();
    ck_assert(cvy_tensors_open(&f, "fake.safetensors"));
    for (int i = 0; i < f.n; i++) {
        size_t at = (size_t)(f.data_at + f.entry[i].begin);
        char kept[8];
        memcpy(kept, good + at, 8);
        if (strcmp(f.entry[i].name, "fc.bias") == 0) {
            memcpy(good + at + 12, &nan, 4);
            spit("bad", good, good_bytes);
            fails("eval --weights bad", 1,
                  "fake: error: 'bad': tensor 'fc.bias' holds a number that is not finite (element 3)\n");
            memset(good + at + 12, 0, 4);
        } else if (strcmp(f.entry[i].name, "bn.running_var") == 0) {
            memcpy(good + at, &minus, 4);
            spit("bad", good, good_bytes);
            fails("eval --weights bad", 1,
                  "fake: error: 'bad': tensor 'bn.running_var' is a variance and holds a number below zero (element "
                  "0)\n");
        } else if (f.entry[i].dtype == CVY_I64) {
            memset(good + at, 0xff, 8);
            spit("bad", good, good_bytes);
            fails("eval --weights bad", 1, "fake: error: 'bad': tensor 'bn.num_batches_tracked' counts -1 batches\n");
        }
        memcpy(good + at, kept, 8);
    }
    cvy_tensors_free(&f);
}
END_TEST

/* What a file calls its tensors must not reach the terminal as it is. */
START_TEST(names_that_steer_terminals)
{
    make_good();
    write_tensors("bad",
                  "{\"\\u001b[2J\\nfake: error\\u202e\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
    ck_assert_int_eq(run("eval --weights bad"), 1);
    ck_assert_ptr_nonnull(strstr(err_text, "unexpected: '\\x1B[2J\\x0Afake: error\\u202E'"));
    ck_assert_ptr_null(strchr(err_text, 27));
    write_tensors("bad", "{\"\\u001b[2J\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4);
    fails("eval --weights bad", 1,
          "fake: error: 'bad': tensor '\\x1B[2J' has 4 bytes, but its shape says 8\n"
          "  hint: it is damaged, or it is no safetensors file\n");
    write_tensors("bad", "{\"a\":\x1b}", 0);
    ck_assert_int_eq(run("eval --weights bad"), 1);
    ck_assert_ptr_null(strchr(err_text, 27));
    char plain[24];
    ck_assert_str_eq(cvy_plain("a\xc3\xa9\xff\xc2\x9bz", plain, 24), "a\xc3\xa9\\xFF\\u009Bz");
    ck_assert_str_eq(cvy_plain("0123456789abcdef", plain, 16), "0123456789ab...");
    ck_assert_str_eq(cvy_plain("0123456789abcde", plain, 16), "0123456789abcde");
}
END_TEST

START_TEST(weights_from_a_pipe)
{
    static char file[1 << 16];
    make_good();
    RUNS("eval --weights fake.safetensors --json --test-images 50");
    char *want = strdup(out_text);
    for (size_t cut = 0; cut < 3; cut++) {
        size_t n = slurp("fake.safetensors", file, sizeof file) - cut;
        int ends[2], old = dup(0);
        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_int_eq((int)write(ends[1], file, n), (int)n);
        close(ends[1]);
        dup2(ends[0], 0);
        close(ends[0]);
        int status = run("eval --weights /dev/stdin --json --test-images 50");
        dup2(old, 0);
        close(old);
        ck_assert_int_eq(status, cut != 0);
        ck_assert(cut ? strstr(err_text, "lies outside of the file") != NULL : strcmp(out_text, want) == 0);
    }
    free(want);
}
END_TEST

START_TEST(modes_and_links_stay)
{
    struct stat st;
    make_good();
    ck_assert_int_eq(chmod("fake.safetensors", 0600), 0);
    ck_assert_int_eq(rename("fake.state.safetensors", "elsewhere"), 0);
    ck_assert_int_eq(symlink("elsewhere", "fake.state.safetensors"), 0);
    RUNS("train --resume --epochs 2" SHORT);
    ck_assert(stat("fake.safetensors", &st) == 0 && (st.st_mode & 0777) == 0600);
    ck_assert(lstat("fake.state.safetensors", &st) == 0 && S_ISLNK(st.st_mode));
}
END_TEST

/* ---- .npy files, predict, trace ---- */

/* A version 1 file whose dictionary is given; data are `bytes` of `data`, or zeros where it is NULL. */
static void write_npy(const char *path, const char *dict, const void *data, size_t bytes)
{
    static char file[1 << 16];
    size_t len = strlen(dict) + 1;
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY\x01", 7);
    file[8] = (char)len;
    file[9] = (char)(len >> 8);
    snprintf(file + 10, sizeof file - 10, "%s\n", dict);
    if (data)
        memcpy(file + 10 + len, data, bytes);
    spit(path, file, 10 + len + bytes);
}

#define DICT(type, shape) "{'descr': '" type "', 'fortran_order': False, 'shape': " shape ", }"

START_TEST(predict_and_trace)
{
    float x[3 * 144], y[30], act[30], grad[1440], after[1440], before[1440], momentum[1440];
    uint8_t bytes[3 * 144];
    int64_t labels[3] = {4, 0, 9};
    make_good();
    for (int i = 0; i < 3 * 144; i++) {
        bytes[i] = (uint8_t)(i * 31);
        x[i] = ((float)bytes[i] / 255.0f - 0.3f) / 0.25f;
    }
    write_npy("x.npy", DICT("<f4", "(3, 1, 12, 12)"), x, sizeof x);
    write_npy("b.npy", DICT("|u1", "(3,1,12,12)"), bytes, sizeof bytes);
    write_npy("l.npy", DICT("<i8", "(3,)"), labels, sizeof labels);
    RUNS("predict --input x.npy -o y.npy");
    RUNS("predict --input b.npy -o z.npy");
    same_files("y.npy", "z.npy");
    struct cvy_npy a;
    ck_assert(cvy_npy_read(&a, "y.npy") && a.ndim == 2 && a.dim[0] == 3 && a.dim[1] == 10 && strcmp(a.type, "f4") == 0);
    memcpy(y, a.data, sizeof y);
    free(a.data);

    RUNS("trace --weights fake.safetensors --input x.npy --labels l.npy -o t.safetensors");
    RUNS("trace --weights fake.safetensors --state fake.state.safetensors --input x.npy --labels l.npy --momentum 0.5 "
         "--weight-decay 0.01 --lr 0.2 -o u.safetensors");
    struct cvy_tensors w, s, t, u;
    float loss, bias[10];
    int64_t batches;
    ck_assert(cvy_tensors_open(&w, "fake.safetensors") && cvy_tensors_open(&s, "fake.state.safetensors"));
    ck_assert(cvy_tensors_open(&t, "t.safetensors") && cvy_tensors_open(&u, "u.safetensors"));
    ck_assert_int_eq(t.n, 1 + 1 + 2 + 5 + 2);
    ck_assert(cvy_read_f32(&t, "loss", &loss, 1) && loss > 0);
    ck_assert(cvy_read_f32(&t, "act.fc", act, 30));
    ck_assert_mem_eq(act, y, sizeof y);
    ck_assert(cvy_read_i64(&t, "after.bn.num_batches_tracked", &batches) && batches == 17);
    ck_assert(cvy_read_f32(&w, "fc.weight", before, 1440) && cvy_read_f32(&t, "grad.fc.weight", grad, 1440));
    ck_assert(cvy_read_f32(&t, "after.fc.weight", after, 1440));
    for (int i = 0; i < 1440; i++)
        ck_assert_float_eq_tol(after[i], before[i] - 0.1f * grad[i], 1e-7f);
    ck_assert(cvy_read_f32(&s, "momentum.fc.weight", momentum, 1440) &&
              cvy_read_f32(&u, "after.fc.weight", after, 1440));
    for (int i = 0; i < 1440; i++)
        ck_assert_float_eq_tol(after[i], before[i] - 0.2f * (0.5f * momentum[i] + grad[i] + 0.01f * before[i]), 1e-6f);
    ck_assert(cvy_read_f32(&w, "fc.bias", before, 10) && cvy_read_f32(&u, "grad.fc.bias", grad, 10)); /* not decayed */
    ck_assert(cvy_read_f32(&s, "momentum.fc.bias", momentum, 10) && cvy_read_f32(&u, "after.fc.bias", bias, 10));
    for (int i = 0; i < 10; i++)
        ck_assert_float_eq_tol(bias[i], before[i] - 0.2f * (0.5f * momentum[i] + grad[i]), 1e-7f);
    cvy_tensors_free(&w);
    cvy_tensors_free(&s);
    cvy_tensors_free(&t);
    cvy_tensors_free(&u);
    fails("trace --weights fake.safetensors --input x.npy --labels l.npy -o /dev/full", 1,
          "fake: error: cannot write '/dev/full': No space left on device\n");
    fails("trace --weights fake.safetensors --input x.npy -o t", 2, "fake: error: trace: --labels is missing\n");
}
END_TEST

#define NPY "  hint: it must come from numpy.save\n"
#define PREDICT "predict --input x.npy -o y.npy"

START_TEST(npy_headers_that_end_early)
{
    static char file[10 + 65535];
    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00\xff\xff", 10);
    memcpy(file + 10, "{'fortran_order': False, 'shape': (1,), ", 40);
    memcpy(file + sizeof file - 9, "'descr':'", 9); /* a type that is cut off where the header ends */
    spit("x.npy", file, sizeof file);
    make_good();
    fails(PREDICT, 1, "fake: error: 'x.npy': its header has no descr, fortran_order and shape\n" NPY);
}
END_TEST

START_TEST(npy_files_that_are_wrong)
{
    make_good();
    fails(PREDICT, 1, "fake: error: cannot read 'x.npy': No such file or directory\n");
    spit("x.npy", "P5", 2);
    fails(PREDICT, 1, "fake: error: 'x.npy': no .npy file\n" NPY);
    spit("x.npy", "PK\3\4 and so on", 15);
    fails(PREDICT, 1,
          "fake: error: 'x.npy' is no .npy file but a zip archive, as .npz and .pt files are\n"
          "  hint: save the array alone: numpy.save('x.npy', x)\n");
    spit("x.npy", "\x93NUMPY\x01\x00\xff\xff{", 11);
    fails(PREDICT, 1, "fake: error: 'x.npy': its header is cut off or too long\n" NPY);
    write_npy("x.npy", "{'descr': '<f4'}", NULL, 0);
    fails(PREDICT, 1, "fake: error: 'x.npy': its header has no descr, fortran_order and shape\n" NPY);
    write_npy("x.npy", DICT(">f4", "(1, 1, 12, 12)"), NULL, 576);
    fails(PREDICT, 1,
          "fake: error: 'x.npy': numbers of a type that is not supported (float32, float64, uint8, int8, int32, int64; "
          "little-endian)\n  hint: numpy.save('x.npy', x.astype('float32'))\n");
    write_npy("x.npy", "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 12, 12), }", NULL, 576);
    fails(PREDICT, 1,
          "fake: error: 'x.npy': it is in Fortran order\n  hint: numpy.save('x.npy', numpy.ascontiguousarray(x))\n");
    write_npy("x.npy", DICT("<f4", "(1, 1, 12, 12)"), NULL, 575);
    fails(PREDICT, 1, "fake: error: 'x.npy': it ends before its shape says\n" NPY);
    write_npy("x.npy", DICT("<f4", "(1, 1, 12, 12)"), NULL, 577);
    fails(PREDICT, 1, "fake: error: 'x.npy': it is longer than its shape says\n" NPY);
    write_npy("x.npy", DICT("<f4", "(1, 99999999999999999999)"), NULL, 0);
    fails(PREDICT, 1, "fake: error: 'x.npy': an impossible shape\n" NPY);
    write_npy("x.npy", DICT("<f4", "(2147483647, 1, 12, 12)"), NULL, 576);
    fails(PREDICT, 1, "fake: error: 'x.npy': it ends before its shape says\n" NPY);
    write_npy("x.npy", DICT("<f4", "(1, -1)"), NULL, 0);
    fails(PREDICT, 1, "fake: error: 'x.npy': an impossible shape\n" NPY);
    write_npy("x.npy", DICT("<f4", "(12, 12)"), NULL, 576);
    fails(PREDICT, 1,
          "fake: error: 'x.npy' has shape [12, 12]; the network reads [n, 1, 12, 12]\n  hint: x.reshape(-1, 1, 12, "
          "12)\n");
    write_npy("x.npy", DICT("<f4", "(2, 12, 12)"), NULL, 1152);
    fails(PREDICT, 1,
          "fake: error: 'x.npy' has shape [2, 12, 12]; the network reads [n, 1, 12, 12]\n  hint: x.reshape(-1, 1, 12, "
          "12)\n");
    write_npy("x.npy", DICT("<f4", "(2, 12, 12, 1)"), NULL, 1152);
    fails(PREDICT, 1,
          "fake: error: 'x.npy' has shape [2, 12, 12, 1]; the network reads [n, 1, 12, 12]\n"
          "  hint: channels come before height and width: x.transpose(0, 3, 1, 2)\n");
    write_npy("x.npy", DICT("<f4", "(2, 1, 12, 13)"), NULL, 1248);
    fails(PREDICT, 1, "fake: error: 'x.npy' has shape [2, 1, 12, 13]; the network reads [n, 1, 12, 12]\n");
    write_npy("x.npy", DICT("<f4", "(0, 1, 12, 12)"), NULL, 0);
    fails(PREDICT, 1, "fake: error: 'x.npy' holds 0 images; 1 to 2147483647 can be read\n");
    write_npy("x.npy", DICT("<f8", "(1, 1, 12, 12)"), NULL, 1152);
    fails(PREDICT, 1,
          "fake: error: 'x.npy' holds numbers of type f8; images are float32, or uint8 from 0 to 255\n  hint: "
          "x.astype('float32')\n");
    float x[288] = {0};
    x[200] = INFINITY;
    write_npy("x.npy", DICT("<f4", "(2, 1, 12, 12)"), x, sizeof x);
    fails(PREDICT, 1, "fake: error: 'x.npy' holds a number that is not finite (image 1)\n");
    ck_assert_int_eq(access("y.npy", F_OK), -1);

    write_npy("x.npy", DICT("<f4", "(2, 1, 12, 12)"), NULL, sizeof x);
    int32_t labels[2] = {3, 10};
    write_npy("l.npy", DICT("<i4", "(2,)"), labels, sizeof labels);
    fails("trace --weights fake.safetensors --input x.npy --labels l.npy -o t", 1,
          "fake: error: 'l.npy': label 10 of item 1; the network has 10 classes (0 to 9)\n"
          "  hint: labels count from 0; are these counted from 1?\n");
    write_npy("l.npy", DICT("<i4", "(1,)"), labels, 4);
    fails("trace --weights fake.safetensors --input x.npy --labels l.npy -o t", 1,
          "fake: error: 'l.npy' has shape [1] of type i4; 2 labels (a whole number each) are wanted\n");
    write_npy("x.npy", DICT("<f4", "(1, 1, 12, 12)"), NULL, 576);
    fails("trace --weights fake.safetensors --input x.npy --labels l.npy -o t", 1,
          "fake: error: 'x.npy' holds 1 image: a norm of this network sees a single value then; 2 at least\n");
    fails("predict --input x.npy -o no/y.npy", 1, "fake: error: cannot write 'no/y.npy': No such file or directory\n");
}
END_TEST

void add_file_cases(Suite *suite)
{
    const struct {
        const char *name;
        const TTest *test[16];
    } cases[] = {
        {"checkpoints",
         {checkpoint_holds_what_pytorch_expects, truncated_checkpoints, bits_flipped_in_the_header, headers_that_lie,
          checkpoint_of_another_network, numbers_that_cannot_be, names_that_steer_terminals, weights_from_a_pipe,
          modes_and_links_stay}},
        {"arrays", {predict_and_trace, npy_headers_that_end_early, npy_files_that_are_wrong}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        add_cases(suite, cases[i].name, cases[i].test);
}
