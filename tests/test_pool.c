/* test_pool.c - a study's rows, dealt into folds: of a drawn set, what each seed trains with, picks by and tests with.
 */
#include "files.h"
#include "plan_study.h"
#include "runtime.h"
#include "test_study.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOLDS = 5, CLASSES = 3, ROWS = 331, VALID_AT = 200, TEST_AT = 251, LARGEST = 4 };

/* Row i is the four bytes of i; rows of a class are not side by side, and classes are of different size. */
static int label[ROWS], group[ROWS], ngroup;

static void draw_rows(void)
{
    uint32_t draw = 7;
    ngroup = 0;
    for (int i = 0, left = 0, one = 0; i < ROWS; i++, left--) {
        draw = draw * 1664525u + 1013904223u;
        if (left <= 0 || i == VALID_AT || i == TEST_AT) { /* a group is in one split, and of one class */
            left = 1 + (int)(draw >> 24) % LARGEST;
            one = (draw >> 16 & 255) < 120 ? 0 : (draw >> 16 & 255) < 200 ? 1 : 2;
            ngroup++;
        }
        label[i] = one;
        group[i] = ngroup - 1;
    }
}

static void put_split(FILE *to, int from, int end, int part)
{
    for (int i = from; i < end; i++) {
        const int64_t y = label[i];
        const int32_t g = group[i], x = i;
        const void *of[] = {&y, &g, &x};
        static const size_t size[] = {8, 4, 4};
        ck_assert_uint_eq(fwrite(of[part], size[part], 1, to), 1);
    }
}

/* The set; wrong_groups: of the test rows there are too few numbers. */
static void write_drawn(const char *path, bool groups, bool wrong_groups)
{
    static const char *const split[] = {"train", "valid", "test"};
    static const int at[] = {0, VALID_AT, TEST_AT, ROWS}, size[] = {8, 4, 4};
    Buf head = {0};
    int end = 0;
    buf_puts(
        &head,
        "{\"__metadata__\":{\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]\",\"mean\":\"[0]\",\"sd\":\"[1]\",\"recipe\":"
        "\"{\\\"split\\\":\\\"0.7/0.15/0.15\\\"}\"}");
    for (int part = 0; part < 3; part++)
        for (int s = 0; s < 3; s++) {
            static const char *const name[] = {"y\":{\"dtype\":\"I64\",\"shape\":[%d",
                                               "group\":{\"dtype\":\"I32\",\"shape\":[%d",
                                               "x\":{\"dtype\":\"U8\",\"shape\":[%d,1,2,2"};
            const int n = at[s + 1] - at[s];
            if (part == 1 && !groups)
                continue;
            buf_printf(&head, ",\"%s.", split[s]);
            buf_puts(&head,
                     xprintf(part == 1 && wrong_groups ? "group\":{\"dtype\":\"I32\",\"shape\":[%d,1" : name[part], n));
            buf_printf(&head, "],\"data_offsets\":[%d,%d]}", end, end + n * size[part]);
            end += n * size[part];
        }
    buf_puts(&head, "}");
    while (head.len % 8)
        buf_puts(&head, " ");
    FILE *to = fopen(path, "wb");
    ck_assert_ptr_nonnull(to);
    const uint64_t len = head.len;
    ck_assert_uint_eq(fwrite(&len, 8, 1, to), 1);
    ck_assert_uint_eq(fwrite(head.text, 1, head.len, to), head.len);
    for (int part = 0; part < 3; part++)
        for (int s = 0; s < 3; s++)
            if (part != 1 || groups)
                put_split(to, at[s], at[s + 1], part);
    ck_assert_int_eq(fclose(to), 0);
}

/* Marks the rows of a split of a written set; their labels are those of the drawn ones. How many there are. */
static int mark(const char *path, const char *split, bool in[ROWS])
{
    struct cvy_tensors t;
    size_t len;
    ck_assert(cvy_tensors_open(&t, path));
    const struct cvy_entry *x = cvy_tensors_find(&t, xprintf("%s.x", split)),
                           *y = cvy_tensors_find(&t, xprintf("%s.y", split));
    const char *bytes = file_read(path, 1 << 20, &len);
    ck_assert(x && y && bytes);
    const int n = (int)x->dim[0];
    for (int i = 0; i < n; i++) {
        int32_t row;
        int64_t said;
        memcpy(&row, bytes + t.data_at + x->begin + 4 * (size_t)i, 4);
        memcpy(&said, bytes + t.data_at + y->begin + 8 * (size_t)i, 8);
        ck_assert_msg(row >= 0 && row < ROWS && !in[row] && said == label[row], "row %d of %s, class %d", row, split,
                      (int)said);
        in[row] = true;
    }
    cvy_tensors_free(&t);
    return n;
}

static const char *const set = "pool-set.safetensors", *const cut = "pool-cut.safetensors";

static void look(bool groups)
{
    bool tested[ROWS] = {false};
    int of_class[FOLDS][CLASSES] = {{0}}, fold_of[ROWS];
    Study s = {0};
    write_drawn(set, groups, false);
    Pool *p = pool_open(set, &(PoolTake){.folds = FOLDS});
    ck_assert_ptr_nonnull(p);
    pool_describe(p, &s);
    ck_assert_double_eq(s.overlap, .25);
    int least = ROWS;
    for (int seed = 1; seed <= 2 * FOLDS; seed++) {
        bool test[ROWS] = {false}, train[ROWS] = {false}, held[ROWS] = {false};
        const int fold = pool_fold(p, seed);
        ck_assert_int_eq(fold, seed % FOLDS);
        ck_assert(pool_test(p, fold, cut));
        const int ntest = mark(cut, "test", test);
        ck_assert_int_eq(ntest, pool_test_rows(p, seed));
        ck_assert(pool_cut(p, .2, seed, cut));
        mark(cut, "train", train);
        mark(cut, "test", held);
        least = ntest < least ? ntest : least;
        for (int i = 0; i < ROWS; i++) {
            ck_assert_msg(test[i] + train[i] + held[i] == 1, "seed %d, row %d", seed, i);
            if (!test[i] || seed > FOLDS)
                continue;
            ck_assert(!tested[i]);
            tested[i] = true;
            fold_of[i] = fold;
            of_class[fold][label[i]]++;
        }
    }
    ck_assert_int_eq(s.rows, least);
    for (int i = 0; i < ROWS; i++) {
        ck_assert(tested[i]);
        ck_assert(!groups || !i || group[i] != group[i - 1] || fold_of[i] == fold_of[i - 1]);
    }
    for (int c = 0; c < CLASSES; c++)
        for (int f = 1; f < FOLDS; f++)
            ck_assert_int_le(abs(of_class[f][c] - of_class[0][c]), groups ? LARGEST : 1);
    pool_close(p);
}

START_TEST(test_folds)
{
    draw_rows();
    look(false);
    look(true);
    ck_assert(pool_was_cut(set));
    unlink(set);
    unlink(cut);
}
END_TEST

/* At most so many rows to train with, of which none is tested with; what is left out is held out as far as is asked. */
START_TEST(test_fewer)
{
    draw_rows();
    write_drawn(set, true, false);
    Pool *p = pool_open(set, &(PoolTake){.folds = FOLDS, .rows = 100, .test_rows = 30, .pick_rows = 50});
    ck_assert_ptr_nonnull(p);
    for (int seed = 0; seed < FOLDS; seed++) {
        bool test[ROWS] = {false}, train[ROWS] = {false}, held[ROWS] = {false};
        ck_assert(pool_test(p, pool_fold(p, seed), cut) && mark(cut, "test", test));
        ck_assert(pool_cut(p, .2, seed, cut));
        const int ntrain = mark(cut, "train", train), nheld = mark(cut, "test", held);
        ck_assert_msg(abs(ntrain - 80) <= 2 && abs(nheld - 70) <= 2, "%d to train with, %d to pick by", ntrain, nheld);
        for (int i = 0; i < ROWS; i++)
            ck_assert_int_le(test[i] + train[i] + held[i], 1);
    }
    pool_close(p);
    unlink(set);
    unlink(cut);
}
END_TEST

START_TEST(test_wrong_groups)
{
    draw_rows();
    write_drawn(set, true, true);
    ck_assert_ptr_null(pool_open(set, &(PoolTake){.folds = FOLDS}));
    unlink(set);
}
END_TEST

TCase *pool_tests(void)
{
    TCase *t = tcase_create("rows");
    tcase_add_test(t, test_folds);
    tcase_add_test(t, test_fewer);
    tcase_add_test(t, test_wrong_groups);
    return t;
}
