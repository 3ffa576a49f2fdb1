/* test_cores.c - the cores of a plan: tiles, taps, dilation, groups, Winograd, what is unrolled. */
#define _GNU_SOURCE
#include "graph.h"
#include "plan_help.h"
#include "read.h"

#include <stdlib.h>
#include <string.h>

/* ---- tile ---- */

static const char *const shapes[] = {"[1, 28, 28]", "[3, 7, 5]", "[17, 1, 1]", "[40, 13, 3]", "[5, 33, 2]"};

/* Every output pixel is in one tile, and what a tile leaves out is padding alone. */
static void check_core(const Target *t, const Core *c)
{
    int *times = xalloc(sizeof *times * (size_t)(c->h * c->w));

    ck_assert_int_eq(c->out_blocks % c->vectors, 0);
    for (int i = 0; i < c->nband; i++)
        for (int y = c->band[i].from; y < c->band[i].to; y += c->band[i].rows)
            for (int j = 0; j < c->band[i].nspan; j++) {
                const Span *s = &c->band[i].span[j];
                const Tile *tile = &c->tile[s->tile];
                ck_assert_int_eq(tile->rows, c->band[i].rows);
                ck_assert_int_le(tile->rows * tile->cols * c->vectors + c->vectors, t->registers);
                for (int x = s->from; x < s->to; x += tile->cols)
                    for (int p = 0; p < tile->rows * tile->cols; p++) {
                        const int py = p / tile->cols, px = p % tile->cols;
                        ck_assert(y + py < c->h && x + px < c->w);
                        times[(y + py) * c->w + x + px]++;
                        for (int k = 0; k < c->ntap; k++)
                            ck_assert_int_eq(tile_meets_x(c, &c->tap[k], x + px),
                                             tile_meets_x(c, &c->tap[k], tile->x + px));
                        for (int k = 0; k < c->ntap * c->rows && !tile_loops(c, tile->rows); k++)
                            ck_assert_int_eq(tile_meets_y(c, &c->tap[k % c->ntap], k / c->ntap, y + py),
                                             tile_meets_y(c, &c->tap[k % c->ntap], k / c->ntap, tile->y + py));
                    }
            }
    for (int i = 0; i < c->h * c->w; i++)
        ck_assert_int_eq(times[i], 1);
}

START_TEST(tiles_cover_the_image)
{
    const char *const conv[] = {"conv: 20", "conv: {out: 64, stride: 2}",
                                "conv: {out: 3, kernel: [1, 4], stride: [1, 3], padding: [2, 2]}",
                                "conv: {out: 96, kernel: 5}"};

    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        for (const Target *t = targets; t->name; t++) {
            Plan *p = plan_of(shapes[_i], xprintf("%s, %s", conv[i], conv[(i + 1) % 2]), t->name);
            for (int k = 0; k < p->nkernel; k++) {
                const Kernel *kernel = &p->kernel[k];
                if (!kernel->conv)
                    continue;
                check_core(t, &kernel->w->forward);
                int pixels = 0;
                for (int d = 0; d < kernel->conv->ndata; d++) {
                    check_core(t, &kernel->conv->data[d]);
                    pixels += kernel->conv->data[d].h * kernel->conv->data[d].w;
                }
                const Shape in = p->g->op[p->g->op[kernel->op].in].shape;
                if (kernel->back_data) /* the classes of backward-data cover each input pixel once */
                    ck_assert_int_eq(pixels, in.h * in.w);
            }
        }
}
END_TEST

/* ---- dilation, groups ---- */

static const struct {
    int in, out, groups;
    bool lanewise, gathered, back_gathered;
    int64_t w, wt; /* floats, of 3 x 3 taps */
    const char *name;
} group_cases[] = {
    {32, 48, 1, false, false, false, 9 * 32 * 48, 9 * 32 * 48, "conv_32x6x6_48_k3x3_s1x1_p1x1"},
    {32, 96, 2, false, false, false, 9 * 16 * 96, 9 * 32 * 48, "conv_32x6x6_96_k3x3_s1x1_p1x1_g2"}, /* whole blocks */
    {96, 64, 2, false, false, false, 9 * 48 * 64, 9 * 96 * 32, "conv_96x6x6_64_k3x3_s1x1_p1x1_g2"},
    {40, 40, 40, true, false, false, 9 * 48, 9 * 48,
     "conv_40x6x6_40_k3x3_s1x1_p1x1_g40"}, /* depthwise: nothing to gather */
    {3, 3, 3, true, false, false, 9 * 16, 9 * 16, "conv_3x6x6_3_k3x3_s1x1_p1x1_g3"},
    {20, 40, 20, true, true, true, 9 * 48, 9 * 32 * 2, "conv_20x6x6_40_k3x3_s1x1_p1x1_g20"}, /* a multiplier */
    {9, 15, 3, true, true, true, 9 * 16 * 3, 9 * 16 * 5, "conv_9x6x6_15_k3x3_s1x1_p1x1_g3"},
    {64, 96, 4, true, true, true, 9 * 96 * 16, 9 * 64 * 24,
     "conv_64x6x6_96_k3x3_s1x1_p1x1_g4"}, /* 24 are no whole blocks */
};

START_TEST(forms_of_groups)
{
    Plan *p = plan_of_conv(
        &(Conv){
            group_cases[_i].in, group_cases[_i].out, group_cases[_i].groups, {0, 6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
        "avx2");
    const Kernel *k = &p->kernel[1];

    ck_assert_str_eq(k->w->core_name, group_cases[_i].name);
    ck_assert_str_eq(p->infer[1].w->core_name, group_cases[_i].name);
    ck_assert_int_eq(k->conv->lanewise, group_cases[_i].lanewise);
    ck_assert_int_eq(k->conv->xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(p->infer[1].op, k->op);
    ck_assert_int_eq(p->infer[1].conv->xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(k->conv->zg >= 0, group_cases[_i].back_gathered);
    ck_assert_int_eq(k->w->w_floats, group_cases[_i].w);
    ck_assert_int_eq(k->conv->wt_floats, group_cases[_i].wt);
    ck_assert(!k->conv->plain || group_cases[_i].groups == 1);
    if (k->conv->lanewise)
        ck_assert_int_eq(k->w->forward.vectors, 1);
    if (k->conv->xg >= 0)
        ck_assert_int_eq(k->conv->weight.images, 1);
}
END_TEST

/* Whatever a core reads lies in its image and in its weights, and it reads all of these. */
static void check_reach(const Core *c, const Image *x, int64_t w_floats)
{
    int64_t low = 0, high = 0, w_high = 0;

    if (c->ntap == 0)
        return; /* a class that no tap reaches */
    for (int i = 0; i < c->ntap; i++)
        for (int r = 0; r<c->rows; r += c->rows> 1 ? c->rows - 1 : 1)
            for (int y = 0; y<c->h; y += c->h> 1 ? c->h - 1 : 1)
                for (int q = 0; q<c->w; q += c->w> 1 ? c->w - 1 : 1) {
                    const int64_t at = c->x_origin + c->tap[i].x + r * c->x_row + y * c->x_y + q * c->x_x;
                    low = at < low ? at : low;
                    high = at > high ? at : high;
                    if (c->tap[i].w + r * c->w_row > w_high)
                        w_high = c->tap[i].w + r * c->w_row;
                }
    const int groups = c->share ? c->out_blocks / c->share : 1;
    ck_assert_int_ge(low, 0);
    ck_assert_int_lt(high, c->x_block);
    ck_assert_int_eq((groups - 1) * c->x_group + c->blocks * c->x_block, x->floats);
    ck_assert_int_eq(c->w_out * c->out_blocks, w_floats);
    ck_assert_int_lt(w_high, c->w_block);
}

START_TEST(cores_stay_in_their_images)
{
    static const int channels[][3] = {{20, 17, 1}, {32, 64, 2}, {12, 12, 12}, {6, 18, 6}, {12, 8, 4}};

    for (int kernel = 1; kernel <= 5; kernel += 2)
        for (int stride = 1; stride <= 4; stride++)
            for (int dilation = 1; dilation <= 4; dilation++)
                for (int padding = 0; padding <= 6; padding += 3) {
                    const Conv c = {channels[_i][0], channels[_i][1],      channels[_i][2], {0, 17, 19},
                                    {kernel, 3},     {stride, 5 - stride}, {padding, 2},    {dilation, 5 - dilation}};
                    const Plan *p = plan_of_conv(&c, "avx2");
                    const Kernel *k = &p->kernel[1], *infer = &p->infer[1];
                    int pixels = 0;
                    check_reach(&infer->w->forward, &infer->image[infer->conv->xg >= 0 ? infer->conv->xg : infer->w->x],
                                infer->w->w_floats);
                    check_reach(&k->w->forward, &k->image[k->conv->xg >= 0 ? k->conv->xg : k->w->x], k->w->w_floats);
                    for (int d = 0; d < k->conv->ndata; d++) {
                        check_reach(&k->conv->data[d], &k->image[k->conv->zg >= 0 ? k->conv->zg : k->w->dz],
                                    k->conv->wt_floats);
                        pixels += k->conv->data[d].h * k->conv->data[d].w;
                    }
                    ck_assert_int_eq(pixels, 17 * 19);
                }
}
END_TEST

START_TEST(
    classes_of_a_dilated_conv) /* stride 2: with a dilation of 2 one class has every tap, with 3 they alternate */
{
    static const struct {
        int dilation, taps[2]; /* along one axis, of the even and the odd pixels */
    } want[] = {{1, {2, 1}}, {2, {3, 0}}, {3, {2, 1}}, {4, {3, 0}}};

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const int d = want[i].dilation;
        const Kernel *k =
            &plan_of_conv(&(Conv){16, 16, 1, {0, 1, 20}, {1, 3}, {1, 2}, {0, 2 * d}, {1, d}}, "portable")->kernel[1];
        ck_assert_int_eq(k->conv->ndata, 2);
        ck_assert_int_eq(k->conv->data[0].ntap, want[i].taps[0]);
        ck_assert_int_eq(k->conv->data[1].ntap, want[i].taps[1]);
    }
    const char *name =
        plan_of_conv(&(Conv){16, 16, 1, {0, 9, 9}, {3, 3}, {1, 1}, {2, 3}, {2, 3}}, "portable")->kernel[1].w->core_name;
    ck_assert_str_eq(name, "conv_16x9x9_16_k3x3_s1x1_p2x3_d2x3");
}
END_TEST

/* ---- Winograd ---- */

/* The register tiles of `tiles` tiles are `rows` or one less. */
static void check_split(int rows, int full, int tiles)
{
    ck_assert_int_ge(rows, 1);
    ck_assert_int_eq(full % rows, 0);
    ck_assert_int_le(full, tiles);
    if (full < tiles)
        ck_assert(rows > 1 && (tiles - full) % (rows - 1) == 0);
}

/* What the tiles read, from `origin` on with `border` pixels past them, lies in their image, and they cover h x w
 * outputs. */
static void check_tiles(const Winograd *w, const Image *m, int64_t origin, int64_t row, int64_t block, int border,
                        int blocks)
{
    const int down = w->tiles / w->across;
    const int64_t last = origin + (4 * down - 1 + border) * row + (4 * w->across - 1 + border) * LANES;

    ck_assert_int_eq(w->tiles % w->across, 0);
    ck_assert_int_ge(4 * down, w->h);
    ck_assert_int_ge(4 * w->across, w->w);
    ck_assert_int_ge(origin, 0);
    ck_assert_int_lt(last, block);
    ck_assert_int_lt(origin % row / LANES + 4 * w->across - 1 + border, m->cols);
    ck_assert_int_eq(blocks * block, m->floats);
}

START_TEST(winograd_stays_in_its_images)
{
    static const int channels[][2] = {{4, 16}, {20, 33}, {64, 64}, {256, 128}},
                     sizes[][2] = {{3, 4}, {8, 8}, {7, 14}, {33, 30}};

    const Target *t = &targets[_i / 4];
    const size_t i = _i % 4;
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
        for (int padding = 0; padding < 5; padding += 1 + padding) {
            const Plan *p =
                plan_of_text(xprintf("{name: n1, input: [%d, %d, %d], classes: 10, winograd: on, layers: [conv: {out: "
                                     "%d, kernel: 1}, conv: {out: %d, padding: "
                                     "%d}, global_avg_pool, linear: classes], train: {batch: 32}}",
                                     channels[i][0], sizes[j][0], sizes[j][1], channels[i][0], channels[i][1], padding),
                             t->name);
            const Kernel *k = &p->kernel[1], *infer = &p->infer[1];
            const Image *x = &k->image[k->w->x], *dz = &k->image[k->w->dz], *xi = &infer->image[infer->w->x];
            const Winograd *w = k->conv->winograd, *alone = infer->conv->winograd;
            ck_assert(w[PASS_FORWARD].on && w[PASS_DATA].on && w[PASS_WEIGHTS].on && alone[PASS_FORWARD].on);
            ck_assert_int_eq(alone[PASS_FORWARD].images, 1);
            check_tiles(&alone[PASS_FORWARD], xi, alone[PASS_FORWARD].x_origin, alone[PASS_FORWARD].x_row,
                        alone[PASS_FORWARD].x_block, 2, w[PASS_FORWARD].blocks);
            check_tiles(&w[PASS_WEIGHTS], dz, w[PASS_WEIGHTS].z_origin, w[PASS_WEIGHTS].z_row, w[PASS_WEIGHTS].z_block,
                        0, w[PASS_WEIGHTS].out_blocks);
            for (Pass pass = PASS_FORWARD; pass <= PASS_WEIGHTS; pass++) {
                const Winograd *v = &w[pass];
                check_tiles(v, pass == PASS_DATA ? dz : x, v->x_origin, v->x_row, v->x_block, 2, v->blocks);
                check_split(v->rows, v->full, pass == PASS_WEIGHTS ? LANES : v->block);
                if (v->rows_alone)
                    check_split(v->rows_alone, v->full_alone, v->tiles);
                ck_assert_int_eq(v->out_blocks % v->vectors, 0);
                ck_assert_int_le(v->images, x->copies);
                ck_assert_int_le(v->work, k->image[k->conv->work].floats);
            }
            ck_assert_int_le(w[PASS_DATA].images, dz->copies);
            const int64_t taps = (int64_t)9 * blocks_of(channels[i][0]) * blocks_of(channels[i][1]) * 256;
            ck_assert_int_eq(k->conv->wu_floats, w[PASS_FORWARD].made ? 0 : 4 * taps);
            ck_assert_int_eq(k->conv->wt_floats, w[PASS_DATA].made ? taps : 4 * taps);
            ck_assert_int_eq(infer->w->fold_floats, alone[PASS_FORWARD].made ? taps : 4 * taps);
        }
}
END_TEST

/* Weights are transformed on the way where few tiles meet many channels, in training and at inference apart. */
START_TEST(winograd_weights_from_taps)
{
    static const struct {
        int channels, size, batch;
        bool made[3]; /* forward, backward-data, inference */
    } want[] = {
        {64, 32, 64, {false, false, false}},
        {512, 8, 8, {true, true, true}},
        {128, 8, 128, {false, false, false}},
        {64, 8, 1, {true, true, false}},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Plan *p =
            plan_of_text(xprintf("{name: n1, input: [16, %d, %d], classes: 10, layers: [conv: {out: %d, kernel: 1}, "
                                 "conv: %d, global_avg_pool, linear: classes], "
                                 "train: {batch: %d}}",
                                 want[i].size, want[i].size, want[i].channels, want[i].channels, want[i].batch),
                         "avx2");
        const Winograd *w[] = {&p->kernel[1].conv->winograd[PASS_FORWARD], &p->kernel[1].conv->winograd[PASS_DATA],
                               &p->infer[1].conv->winograd[PASS_FORWARD]};
        for (int j = 0; j < 3; j++) {
            ck_assert(w[j]->on);
            ck_assert_msg((w[j]->made > 0) == want[i].made[j], "%d channels at %d, %d: %d a time", want[i].channels,
                          want[i].size, j, w[j]->made);
            ck_assert_int_eq(w[j]->made ? w[j]->blocks % w[j]->made : 0, 0);
        }
    }
}
END_TEST

START_TEST(winograd_where_it_gains)
{
    static const struct {
        const char *conv, *use;
        bool on;
    } want[] = {
        {"conv: 64", "auto", true},
        {"conv: 64", "off", false},
        {"conv: {out: 64, stride: 2}", "on", true},
        {"conv: {out: 64, stride: 2}", "off", false},
        {"conv: {out: 64, stride: 3}", "on", false},
        {"conv: {out: 64, stride: [2, 1]}", "on", false},
        {"conv: {out: 64, stride: 2, groups: 2}", "on", false},
        {"conv: {out: 64, dilation: 2, padding: 2}", "on", false},
        {"conv: {out: 64, groups: 2}", "on", false},
        {"conv: {out: 64, kernel: 5}", "on", false},
        {"conv: {out: 64, kernel: [3, 1]}", "on", false},
    };

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Plan *p = plan_of_text(xprintf("{name: n1, input: [64, 16, 16], classes: 10, winograd: %s, layers: "
                                             "[conv: {out: 64, kernel: 1}, %s, global_avg_pool, "
                                             "linear: classes]}",
                                             want[i].use, want[i].conv),
                                     "avx2");
        const Kernel *k = &p->kernel[1];
        for (int pass = 0; pass < 3; pass++)
            ck_assert_int_eq(k->conv->winograd[pass].on, want[i].on);
    }
    /* a pixel a tile is sixteen times the work: not here; a first layer's image is plain */
    const Kernel *few = &plan_of_text("{name: n1, input: [16, 1, 1], classes: 10, layers: [conv: {out: 16, kernel: 1}, "
                                      "conv: 16, global_avg_pool, linear: classes]}",
                                      "avx2")
                             ->kernel[1];
    ck_assert(!few->conv->winograd[PASS_FORWARD].on && !few->conv->winograd[PASS_DATA].on &&
              !few->conv->winograd[PASS_WEIGHTS].on);
    const Kernel *first = &plan_of_text("{name: n1, input: [3, 32, 32], classes: 10, winograd: on, layers: [conv: 16, "
                                        "global_avg_pool, linear: classes]}",
                                        "avx2")
                               ->kernel[0];
    ck_assert(!first->conv->winograd[PASS_FORWARD].on && !first->conv->winograd[PASS_WEIGHTS].on);
}
END_TEST

/* Multiply-adds of a step of the largest tile, its taps unrolled. */
static int largest_tile(const Core *c)
{
    int n = 0;

    for (int i = 0; i < c->ntile; i++) {
        const int one =
            c->tile[i].rows * c->tile[i].cols * c->vectors * c->ntap * (tile_loops(c, c->tile[i].rows) ? 1 : c->rows);
        n = one > n ? one : n;
    }
    return n;
}

START_TEST(unroll_budget)
{
    static const char *const form = "{name: n1, input: [16, 8, 8], classes: 4, unroll: %s, layers: [conv: {out: 32, "
                                    "kernel: 5}, conv: 32, global_avg_pool, linear: classes]}";
    const Core *automatic = &plan_of_text(xprintf(form, "auto"), "avx512")->kernel[0].w->forward;
    const Core *small = &plan_of_text(xprintf(form, "60"), "avx512")->kernel[0].w->forward;
    const Core *full = &plan_of_text(xprintf(form, "full"), "portable")->kernel[1].w->forward;

    ck_assert_int_eq(automatic->ntap * automatic->rows, 25);
    ck_assert_int_gt(largest_tile(automatic), 60);
    ck_assert_int_le(largest_tile(small), 60);
    ck_assert_int_eq(full->ntap, 9 * 16);
    ck_assert_int_eq(full->rows, 1);
    ck_assert_int_eq(full->lanes, 1);
}
END_TEST

START_TEST(unroll_none) /* one register, one row of taps, loops around */
{
    static const char *const form =
        "{name: n1, input: [3, 8, 8], classes: 4, unroll: %s, layers: [conv: 32, conv: {out: 32, stride: 2}, conv: "
        "{out: 32, groups: 32}, global_avg_pool, linear: classes]}";
    Plan *p = plan_of_text(xprintf(form, "none"), "avx2"), *large = plan_of_text(xprintf(form, "auto"), "avx2");

    for (int i = 0; i < 3; i++) {
        const Core *c = &p->kernel[i].w->forward;
        ck_assert_int_eq(c->tile[0].rows * c->tile[0].cols * c->vectors, 1);
        ck_assert_int_eq(c->ntap, 3);
        ck_assert_int_eq(c->rows, 3);
        ck_assert_int_eq(c->ntile, 1); /* no edges */
        ck_assert_int_eq(p->kernel[i].conv->weight.vectors, 1);
        ck_assert_int_le(p->kernel[i].conv->weight.nacc, 3);
        ck_assert_int_gt(largest_tile(&large->kernel[i].w->forward), largest_tile(c));
        for (int d = 0; d < p->kernel[i].conv->ndata; d++)
            ck_assert_int_le(p->kernel[i].conv->data[d].ntap, 3);
    }
    ck_assert_int_eq(p->stored_bytes, large->stored_bytes); /* what is fused and stored is the same */
}
END_TEST

START_TEST(unroll_full_is_refused) /* 49 taps x 16 channels x 28 registers */
{
    Source src = {.path = "spec.yaml",
                  .text = "{name: n1, input: [16, 28, 28], classes: 16, unroll: full, layers: [conv: {out: 32, kernel: "
                          "7}, global_avg_pool, linear: classes]}"};
    char *text = NULL;
    size_t len = 0;

    src.len = strlen(src.text);
    diag_source(&src);
    Graph *g = graph_build(spec_read(yaml_parse(src.text, src.len, (Mark){1, 1, 1})));
    grad_build(g);
    plan_build(g, target_find("avx512"));
    FILE *f = open_memstream(&text, &len);
    ck_assert(diag_flush(f));
    fclose(f);
    ck_assert_msg(strstr(text, "spec.yaml:1:54: error: unroll: full makes 21952 statements of one function of conv1; "
                               "at most 20000 are made") != NULL,
                  "%s", text);
    free(text);
}
END_TEST

TCase *core_tests(void)
{
    TCase *c = tcase_create("cores");

    tcase_set_timeout(c, 60); /* of a busy machine */
    tcase_add_loop_test(c, tiles_cover_the_image, 0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(c, forms_of_groups, 0, sizeof group_cases / sizeof *group_cases);
    tcase_add_loop_test(c, cores_stay_in_their_images, 0, 5);
    tcase_add_test(c, classes_of_a_dilated_conv);
    tcase_add_loop_test(c, winograd_stays_in_its_images, 0, 4 * NTARGETS);
    tcase_add_test(c, winograd_where_it_gains);
    tcase_add_test(c, winograd_weights_from_taps);
    tcase_add_test(c, unroll_budget);
    tcase_add_test(c, unroll_none);
    tcase_add_test(c, unroll_full_is_refused);
    return c;
}
