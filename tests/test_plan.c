/* test_plan.c - the passes from Graph to C: what is stored and fused, tiles, memory, templates, the emitted text.
 *
 *   test_plan TESTS_DIR [rewrite]
 *
 * golden/<net>.emitted holds every file that convoy writes for golden/<net>.yaml, the runtime aside, for target portable. With
 * `rewrite` as the last argument they are written anew: look at the diff before you commit it. */
#define _GNU_SOURCE
#include "emit.h"
#include "spec.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char *tests;
static bool rewrite;

static Plan *plan_of_text(const char *text, const char *target)
{
    static Source src;

    src = (Source){"spec.yaml", text, strlen(text)};
    diag_source(&src);
    Node *t = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    Spec *s = t ? spec_read(t) : NULL;
    Graph *g = s ? graph_build(s) : NULL;
    if (diag_flush(stderr) || !g)
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    Plan *p = plan_build(g, target_find(target));
    if (diag_flush(stderr) || !p)
        ck_abort_msg("no plan: %s", text);
    return p;
}

static Plan *plan_of(const char *input, const char *layers, const char *target)
{
    return plan_of_text(xprintf("{name: n1, input: %s, classes: 10, layers: [%s, global_avg_pool, linear: classes], train: {batch: 8}}", input, layers),
                        target);
}

/* ---- fuse ---- */

/* Which tensor the span behind the first conv stores, how many kernels there are, routes, gradient slots. */
static const struct Case {
    const char *first, *second; /* orders of two convs */
    const char *stored;         /* path of the stage whose output is stored; "z" */
    int kernels, routes;
} stored_cases[] = {
    {"conv-bn-relu", "conv-bn-relu", "z", 4, 0},
    {"bn-relu-conv", "bn-relu-conv", "z", 5, 0}, /* the first norm's statistics are a pass over the input */
    {"conv-relu-bn", "conv-relu-bn", "conv1.act", 4, 0},
    {"conv-silu-bn", "conv-relu-bn", "z", 4, 0}, /* silu cannot be inverted */
    {"conv-tanh-bn", "conv-relu-bn", "conv1.act", 4, 0},
    {"conv-relu", "conv-relu", "conv1.act", 4, 0},
    {"conv-silu", "conv-relu", "z", 4, 0},
    {"conv", "conv", "z", 4, 0},
    {"conv-maxpool(2)-bn-relu", "conv-relu", "conv1.maxpool", 4, 1},
    {"conv-relu-maxpool(2)-bn", "conv-relu", "conv1.maxpool", 4, 1},
    {"conv-maxpool(3,1,1)-bn-relu", "conv-relu", "z", 4, 0}, /* as large as z, and a byte a window more */
    {"conv-avgpool(2)-relu-bn", "conv-relu", "conv1.act", 4, 0},
    {"conv-relu-avgpool(2)-bn", "conv-relu", "conv1.act", 4, 0}, /* the average hides signs */
    {"conv-drop(0.5)-bn-relu", "conv-relu", "conv1.drop", 4, 0},
    {"conv-relu-drop(0.5)-bn", "conv-relu", "conv1.drop", 4, 0},
    {"conv-bn-relu-bn", "conv-relu", "z", 5, 0},
    {"conv-relu-bn-tanh-bn", "conv-relu", "conv1.act", 5, 0},
    {"conv-bn", "bn-conv", "z", 5, 0},
    {"conv-relu-tanh-bn", "conv-relu", "conv1.act2", 4, 0},
    {"conv-sigmoid-relu-bn", "conv-relu", "conv1.act", 4, 0}, /* sigmoid's backward needs its own output */
};

START_TEST(stored_tensor)
{
    const struct Case *c = &stored_cases[_i];
    Plan *p = plan_of("[4, 12, 12]", xprintf("conv: {out: 8, order: '%s'}, conv: {out: 8, order: '%s'}", c->first, c->second), "portable");
    const Span *s = &p->span[1];
    const char *stored = s->stored ? p->g->op[s->op[s->stored - 1]].path : "z";

    ck_assert_msg(strcmp(stored, c->stored) == 0, "%s then %s stores %s, not %s", c->first, c->second, stored, c->stored);
    ck_assert_msg(p->nkernel == c->kernels, "%s then %s: %d kernels, not %d", c->first, c->second, p->nkernel, c->kernels);
    ck_assert_int_eq(s->nroute, c->routes);
}
END_TEST

START_TEST(rotations_share_the_middle) /* conv-bn-relu and bn-relu-conv differ at the ends alone */
{
    Plan *a = plan_of("[4, 9, 9]", "conv: {out: 8, order: conv-bn-relu}, conv: {out: 8, order: conv-bn-relu}, conv: {out: 8, order: conv-bn-relu}", "portable");
    Plan *b = plan_of("[4, 9, 9]", "conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}, conv: {out: 8, order: bn-relu-conv}", "portable");

    for (int s = 1; s < 3; s++) {
        ck_assert_int_eq(a->span[s].stored, b->span[s].stored);
        ck_assert_int_eq(a->span[s].nop, b->span[s].nop);
        for (int i = 0; i < a->span[s].nop; i++)
            ck_assert_int_eq(a->g->op[a->span[s].op[i]].kind, b->g->op[b->span[s].op[i]].kind);
    }
}
END_TEST

/* What happens to a norm at inference. */
static const struct {
    const char *order, *starts;
} inference_cases[] = {
    {"conv-bn-relu", "folded into the weights"},
    {"conv-drop(0.1)-bn", "folded into the weights"},
    {"conv-relu-bn", "a multiply-add in the epilogue"},
    {"conv-maxpool(2)-bn", "a multiply-add in the epilogue"},
    {"bn-conv-relu", "a multiply-add in the prologue"},
};

START_TEST(norms_at_inference)
{
    Plan *p = plan_of("[4, 12, 12]", xprintf("conv: {out: 8, order: '%s'}", inference_cases[_i].order), "portable");

    ck_assert_int_eq(p->nnorm, 1);
    ck_assert_msg(strncmp(p->norm[0].inference, inference_cases[_i].starts, strlen(inference_cases[_i].starts)) == 0, "%s: %s",
                  inference_cases[_i].order, p->norm[0].inference);
}
END_TEST

START_TEST(one_layer_in_words)
{
    Plan *p = plan_of("[4, 12, 12]", "conv: 8, conv: {out: 8, order: conv-act-bn}, conv: 8", "portable");
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    plan_explain(p, "conv2", f);
    fclose(f);
    ck_assert(strstr(text, "\nconv1 (") == NULL);
    ck_assert(strstr(text, "\nconv2 (conv)") != NULL);
    ck_assert(strstr(text, "\nconv3 (conv)\n  before:    conv2.bn\n") != NULL); /* its norm is applied there */
    ck_assert(strstr(text, "conv2.bn     a multiply-add") != NULL);
    ck_assert(strstr(text, "conv1.bn     folded") == NULL);
    free(text);
}
END_TEST

START_TEST(bytes_stored) /* chains with one norm a block, channels multiples of 16: half of what autograd keeps, less a little */
{
    static const char *const order[] = {"conv-bn-relu", "conv-relu-bn"};
    Plan *p = plan_of("[3, 32, 32]", xprintf("conv: {out: 16, order: %s}, conv: {out: 32, stride: 2, order: %s}", order[_i], order[_i]), "avx512");

    /* 16x32x32 and 32x16x16 floats, and 10 logits in a block of 16 */
    ck_assert_int_eq(p->stored_bytes, 4 * (16 * 32 * 32 + 32 * 16 * 16 + 16));
}
END_TEST

/* ---- tile ---- */

static const char *const shapes[] = {"[1, 28, 28]", "[3, 7, 5]", "[17, 1, 1]", "[40, 13, 3]", "[5, 33, 2]"};

static void check_core(const Target *t, const Core *c)
{
    const int full = c->tile[0].rows * c->tile[0].cols;

    ck_assert_int_gt(full, 0);
    ck_assert_int_eq(c->out_blocks % c->vectors, 0);
    ck_assert_int_le(full * c->vectors + c->vectors, t->registers);
    ck_assert_int_eq(c->h % c->tile[0].rows, c->tile[2].rows);
    ck_assert_int_eq(c->w % c->tile[0].cols, c->tile[1].cols);
}

START_TEST(tiles_cover_the_image)
{
    const char *const conv[] = {"conv: 20", "conv: {out: 64, stride: 2}", "conv: {out: 3, kernel: [1, 4], stride: [1, 3], padding: [2, 2]}", "conv: {out: 96, kernel: 5}"};

    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        for (const Target *t = targets; t->name; t++) {
            Plan *p = plan_of(shapes[_i], xprintf("%s, %s", conv[i], conv[(i + 1) % 2]), t->name);
            for (int k = 0; k < p->nkernel; k++) {
                const Kernel *kernel = &p->kernel[k];
                if (kernel->kind != KERNEL_CONV)
                    continue;
                check_core(t, &kernel->forward);
                int pixels = 0;
                for (int d = 0; d < kernel->ndata; d++) {
                    check_core(t, &kernel->data[d]);
                    pixels += kernel->data[d].h * kernel->data[d].w;
                }
                const Shape in = p->g->op[p->g->op[kernel->op].in].shape;
                if (kernel->back_data) /* the classes of backward-data cover each input pixel once */
                    ck_assert_int_eq(pixels, in.h * in.w);
            }
        }
}
END_TEST

/* ---- dilation, groups ---- */

typedef struct Conv {
    int in, out, groups;
    Shape image; /* c is not read */
    int kernel[2], stride[2], padding[2], dilation[2];
} Conv;

/* The plan of `first` (a conv that gives c->in channels on the image) and c; its kernel 1 is c's. */
static Plan *plan_of_conv(const Conv *c, const char *target)
{
    static Source src;
    const char *text = xprintf("{name: n1, input: [%d, %d, %d], classes: 10, layers: [conv: {out: %d, kernel: 1, padding: 0}, conv: %d, global_avg_pool, linear: classes], train: {batch: 8}}",
                               c->in, c->image.h, c->image.w, c->in, c->out);

    src = (Source){"spec.yaml", text, strlen(text)};
    diag_source(&src);
    Spec *s = spec_read(yaml_parse(text, strlen(text), (Mark){1, 1, 1}));
    ck_assert(s != NULL);
    SpecLayer *l = &s->layer[1];
    for (int d = 0; d < 2; d++) {
        l->kernel[d] = c->kernel[d];
        l->stride[d] = c->stride[d];
        l->padding[d] = c->padding[d];
        l->dilation[d] = c->dilation[d];
    }
    l->groups = c->groups;
    Graph *g = graph_build(s);
    if (diag_flush(stderr) || !g)
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    Plan *p = plan_build(g, target_find(target));
    if (diag_flush(stderr) || !p)
        ck_abort_msg("no plan: %s", text);
    return p;
}

static const struct {
    int in, out, groups;
    bool lanewise, gathered, back_gathered;
    int64_t w, wt; /* floats, of 3 x 3 taps */
    const char *name;
} group_cases[] = {
    {32, 48, 1, false, false, false, 9 * 32 * 48, 9 * 32 * 48, "conv_32x6x6_48_k3x3_s1x1_p1x1"},
    {32, 96, 2, false, false, false, 9 * 16 * 96, 9 * 32 * 48, "conv_32x6x6_96_k3x3_s1x1_p1x1_g2"}, /* whole blocks */
    {96, 64, 2, false, false, false, 9 * 48 * 64, 9 * 96 * 32, "conv_96x6x6_64_k3x3_s1x1_p1x1_g2"},
    {40, 40, 40, true, false, false, 9 * 48, 9 * 48, "conv_40x6x6_40_k3x3_s1x1_p1x1_g40"}, /* depthwise: nothing to gather */
    {3, 3, 3, true, false, false, 9 * 16, 9 * 16, "conv_3x6x6_3_k3x3_s1x1_p1x1_g3"},
    {20, 40, 20, true, true, true, 9 * 48, 9 * 32 * 2, "conv_20x6x6_40_k3x3_s1x1_p1x1_g20"}, /* a multiplier */
    {9, 15, 3, true, true, true, 9 * 16 * 3, 9 * 16 * 5, "conv_9x6x6_15_k3x3_s1x1_p1x1_g3"},
    {64, 96, 4, true, true, true, 9 * 96 * 16, 9 * 64 * 24, "conv_64x6x6_96_k3x3_s1x1_p1x1_g4"}, /* 24 are no whole blocks */
};

START_TEST(forms_of_groups)
{
    Plan *p = plan_of_conv(&(Conv){group_cases[_i].in, group_cases[_i].out, group_cases[_i].groups, {0, 6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, "avx2");
    const Kernel *k = &p->kernel[1];

    ck_assert_str_eq(k->core_name, group_cases[_i].name);
    ck_assert_int_eq(k->lanewise, group_cases[_i].lanewise);
    ck_assert_int_eq(k->xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(k->infer_xg >= 0, group_cases[_i].gathered);
    ck_assert_int_eq(k->zg >= 0, group_cases[_i].back_gathered);
    ck_assert_int_eq(k->w_floats, group_cases[_i].w);
    ck_assert_int_eq(k->wt_floats, group_cases[_i].wt);
    ck_assert(!k->plain || group_cases[_i].groups == 1);
    if (k->lanewise)
        ck_assert_int_eq(k->forward.vectors, 1);
    if (k->xg >= 0)
        ck_assert_int_eq(k->weight.images, 1);
}
END_TEST

/* Whatever a core reads lies in its image and in its weights, and it reads all of these. */
static void check_reach(const Core *c, const Image *x, int64_t w_floats)
{
    int64_t low = 0, high = 0, w_high = 0;

    if (c->ntap == 0)
        return; /* a class that no tap reaches */
    for (int i = 0; i < c->ntap; i++)
        for (int r = 0; r < c->rows; r += c->rows > 1 ? c->rows - 1 : 1)
            for (int y = 0; y < c->h; y += c->h > 1 ? c->h - 1 : 1)
                for (int q = 0; q < c->w; q += c->w > 1 ? c->w - 1 : 1) {
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
                    const Conv c = {channels[_i][0], channels[_i][1], channels[_i][2], {0, 17, 19}, {kernel, 3}, {stride, 5 - stride}, {padding, 2}, {dilation, 5 - dilation}};
                    const Kernel *k = &plan_of_conv(&c, "avx2")->kernel[1];
                    int pixels = 0;
                    check_reach(&k->forward, &k->image[k->xg >= 0 ? k->xg : k->x], k->w_floats);
                    for (int d = 0; d < k->ndata; d++) {
                        check_reach(&k->data[d], &k->image[k->zg >= 0 ? k->zg : k->dz], k->wt_floats);
                        pixels += k->data[d].h * k->data[d].w;
                    }
                    ck_assert_int_eq(pixels, 17 * 19);
                }
}
END_TEST

START_TEST(classes_of_a_dilated_conv) /* stride 2: with a dilation of 2 one class has every tap, with 3 they alternate */
{
    static const struct {
        int dilation, taps[2]; /* along one axis, of the even and the odd pixels */
    } want[] = {{1, {2, 1}}, {2, {3, 0}}, {3, {2, 1}}, {4, {3, 0}}};

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const int d = want[i].dilation;
        const Kernel *k = &plan_of_conv(&(Conv){16, 16, 1, {0, 1, 20}, {1, 3}, {1, 2}, {0, 2 * d}, {1, d}}, "portable")->kernel[1];
        ck_assert_int_eq(k->ndata, 2);
        ck_assert_int_eq(k->data[0].ntap, want[i].taps[0]);
        ck_assert_int_eq(k->data[1].ntap, want[i].taps[1]);
    }
    const char *name = plan_of_conv(&(Conv){16, 16, 1, {0, 9, 9}, {3, 3}, {1, 1}, {2, 3}, {2, 3}}, "portable")->kernel[1].core_name;
    ck_assert_str_eq(name, "conv_16x9x9_16_k3x3_s1x1_p2x3_d2x3");
}
END_TEST

START_TEST(weights_of_one_dimension) /* O, I / groups, K stands where O, I / groups, 1, K would */
{
    static const int channels[][3] = {{2, 20, 1}, {20, 17, 1}, {32, 64, 2}, {12, 12, 12}, {12, 8, 4}};

    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        Plan *p = plan_of_conv(&(Conv){channels[i][0], channels[i][1], channels[i][2], {0, 1, 20}, {1, 5}, {1, 1}, {0, 2}, {1, 1}}, "portable");
        const Kernel *k = &p->kernel[1];
        int64_t block[2][4], outer[2][4], inner[2][4];
        emit_param_layout(p, k->wparam, block[0], outer[0], inner[0]);
        Param *q = &p->g->param[k->wparam];
        ck_assert_int_eq(q->ndim, 4);
        q->ndim = 3, q->dim[2] = q->dim[3], q->dim[3] = 0;
        emit_param_layout(p, k->wparam, block[1], outer[1], inner[1]);
        for (int d = 0; d < 3; d++) {
            const int two = d == 2 ? 3 : d;
            ck_assert_int_eq(block[0][two], block[1][d]);
            ck_assert_int_eq(outer[0][two], outer[1][d]);
            ck_assert_int_eq(inner[0][two], inner[1][d]);
        }
    }
}
END_TEST

START_TEST(unroll_budget)
{
    static const char *const form = "{name: n1, input: [16, 8, 8], classes: 4, unroll: %s, layers: [conv: {out: 32, kernel: 5}, conv: 32, global_avg_pool, linear: classes]}";
    const Core *automatic = &plan_of_text(xprintf(form, "auto"), "avx512")->kernel[1].forward;
    const Core *small = &plan_of_text(xprintf(form, "60"), "avx512")->kernel[1].forward;
    const Core *full = &plan_of_text(xprintf(form, "full"), "portable")->kernel[1].forward;

    ck_assert_int_eq(automatic->ntap, 9);
    ck_assert_int_gt(automatic->tile[0].rows * automatic->tile[0].cols * automatic->vectors * automatic->ntap, 60);
    ck_assert_int_le(small->tile[0].rows * small->tile[0].cols * small->vectors * small->ntap, 60);
    ck_assert_int_eq(full->ntap, 9 * 16);
    ck_assert_int_eq(full->lanes, 1);
}
END_TEST

START_TEST(unroll_full_is_refused) /* 49 taps x 16 channels x 28 registers */
{
    Source src = {"spec.yaml", "{name: n1, input: [16, 28, 28], classes: 16, unroll: full, layers: [conv: {out: 32, kernel: 7}, global_avg_pool, linear: classes]}", 0};
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
    ck_assert_msg(strstr(text, "spec.yaml:1:54: error: unroll: full makes 21952 statements of one function of conv1; at most 20000 are made") != NULL, "%s", text);
    free(text);
}
END_TEST

/* ---- memory ---- */

START_TEST(stored_tensors_do_not_overlap)
{
    Plan *p = plan_of("[3, 16, 16]", "conv: {out: 20, order: conv-maxpool(2)-bn-act}, conv: {out: 7, order: conv-bn-act-bn}, conv: 33, drop(0.2), bn", "avx512");
    struct {
        int64_t at, end;
    } slot[64];
    int n = 0;

    for (int i = 0; i < p->nspan; i++) {
        const Span *s = &p->span[i];
        if (s->from_input)
            continue;
        const Shape t = s->shape[s->stored];
        slot[n].at = s->stored_slot;
        slot[n].end = slot[n].at + (int64_t)blocks_of(t.c) * LANES * t.h * t.w;
        n++;
        for (int r = 0; r < s->nroute; r++, n++) {
            const Shape w = p->g->op[s->route[r]].shape;
            slot[n].at = s->route_slot[r];
            slot[n].end = slot[n].at + (int64_t)blocks_of(w.c) * LANES * w.h * w.w / 4;
        }
    }
    ck_assert_int_eq(n, 5);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(slot[i].at % LANES, 0);
        ck_assert(slot[i].end <= p->image_floats);
        for (int j = 0; j < i; j++)
            ck_assert_msg(slot[i].end <= slot[j].at || slot[j].end <= slot[i].at, "slots %d and %d overlap", i, j);
    }
}
END_TEST

/* ---- templates ---- */

START_TEST(template_language)
{
    Rec *r = rec_new(), *inner = rec_new();
    Buf b = {0};

    template_read("//$ define t_all\n"
                  "a $x.n $x.name$x.n $$x.n\n"
                  "    //$ for i in x.list\n"
                  "    [$i.v_$x.n]\n"
                  "    //$ if i.last\n"
                  "    last\n"
                  "    //$ else\n"
                  "    more\n"
                  "    //$ end\n"
                  "    //$ end\n"
                  "//$ if x.none\n"
                  "never\n"
                  "//$ end\n"
                  "  //$ emit x.inner\n"
                  "//$ end\n"
                  "//$ define t_inner\n"
                  "one $inner.w\n"
                  "\n"
                  "  two\n"
                  "//$ end\n");
    rec_int(r, "n", 5);
    rec_str(r, "name", "N");
    rec_int(r, "none", 0);
    for (int i = 0; i < 2; i++) {
        Rec *e = rec_add(r, "list");
        rec_int(e, "v", i);
        rec_int(e, "v_long", 9); /* the longest field that fits wins, and this one does not fit */
        rec_int(e, "last", i);
    }
    rec_str(inner, "template", "t_inner");
    rec_str(inner, "w", "W");
    rec_rec(r, "inner", inner);
    template_expand("t_all", "x", r, &b);
    ck_assert_str_eq(b.text, "a 5 N5 $x.n\n    [0_5]\n    more\n    [1_5]\n    last\n  one W\n\n    two\n");
}
END_TEST

START_TEST(floats_read_back)
{
    const double v[] = {0, 1, -2, 0.1, 1.0 / 3, 1e-30, 3.4e38, 16777217};

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        const char *s = emit_float(v[i]);
        ck_assert_msg((float)v[i] == strtof(s, NULL), "%s", s);
        ck_assert_msg(strpbrk(s, ".e") && s[strlen(s) - 1] == 'f', "%s is no float constant", s);
    }
}
END_TEST

/* ---- emitted text ---- */

static const char *const nets[] = {"tiny_cbr", "tiny_crb"};

static void emitted(const char *net, Buf *to)
{
    size_t len;
    const char *path = xprintf("%s/golden/%s.yaml", tests, net), *text = file_read(path, 1 << 20, &len);
    OutDir out = {0};

    ck_assert_msg(text != NULL, "%s cannot be read", path);
    emit_network(plan_of_text(text, "portable"), PART_ALL, &out);
    for (int i = 0; i < out.n; i++)
        if (strncmp(out.file[i].name, "runtime/", 8) != 0) {
            buf_printf(to, "======== %s\n", out.file[i].name);
            buf_add(to, out.file[i].text, out.file[i].len);
        }
}

START_TEST(golden_text)
{
    const char *path = xprintf("%s/golden/%s.emitted", tests, nets[_i]);
    Buf b = {0};
    size_t len = 0;

    emitted(nets[_i], &b);
    if (rewrite) {
        ck_assert(file_write(path, b.text, b.len));
        return;
    }
    const char *want = file_read(path, 1 << 24, &len);
    ck_assert_msg(want != NULL, "%s cannot be read", path);
    if (len == b.len && memcmp(want, b.text, len) == 0)
        return;
    int line = 1;
    for (size_t i = 0; i < len && i < b.len && want[i] == b.text[i]; i++)
        line += want[i] == '\n';
    ck_abort_msg("%s: line %d differs from what is emitted now", path, line);
}
END_TEST

START_TEST(same_spec_same_bytes)
{
    Buf a = {0}, b = {0};

    emitted(nets[_i], &a);
    emitted(nets[_i], &b);
    ck_assert_uint_eq(a.len, b.len);
    ck_assert(memcmp(a.text, b.text, a.len) == 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    tests = argv[1];
    rewrite = argc > 2 && strcmp(argv[2], "rewrite") == 0;
    Suite *s = suite_create("plan");
    TCase *c = tcase_create("all");
    tcase_add_loop_test(c, stored_tensor, 0, sizeof stored_cases / sizeof *stored_cases);
    tcase_add_test(c, rotations_share_the_middle);
    tcase_add_loop_test(c, norms_at_inference, 0, sizeof inference_cases / sizeof *inference_cases);
    tcase_add_test(c, one_layer_in_words);
    tcase_add_loop_test(c, bytes_stored, 0, 2);
    tcase_add_loop_test(c, tiles_cover_the_image, 0, sizeof shapes / sizeof *shapes);
    tcase_add_loop_test(c, forms_of_groups, 0, sizeof group_cases / sizeof *group_cases);
    tcase_add_loop_test(c, cores_stay_in_their_images, 0, 5);
    tcase_add_test(c, classes_of_a_dilated_conv);
    tcase_add_test(c, weights_of_one_dimension);
    tcase_add_test(c, unroll_budget);
    tcase_add_test(c, unroll_full_is_refused);
    tcase_add_test(c, stored_tensors_do_not_overlap);
    tcase_add_test(c, template_language);
    tcase_add_test(c, floats_read_back);
    tcase_add_loop_test(c, golden_text, 0, sizeof nets / sizeof *nets);
    tcase_add_loop_test(c, same_spec_same_bytes, 0, sizeof nets / sizeof *nets);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
