/* test_graph.c - from YAML to Graph: orders, shapes, biases, parameters, groups, overrides. */
#include "files.h"
#include "graph.h"
#include "read.h"
#include "test_help.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *tests; /* the folder */

static Node *tree_of(const char *text)
{
    static Source src;
    src = (Source){.path = "spec.yaml", .text = text, .len = strlen(text)};
    diag_source(&src);
    return yaml_parse(text, strlen(text), (Mark){1, 1, 1});
}

static Spec *spec_of(const char *text)
{
    Node *t = tree_of(text);
    Spec *s = t ? spec_read(t) : NULL;
    if (diag_flush(stderr))
        ck_abort_msg("the spec has errors: %s", text);
    return s;
}

static Graph *graph_of(const char *text)
{
    Graph *g = graph_build(spec_of(text));
    if (diag_flush(stderr))
        ck_abort_msg("the spec has errors: %s", text);
    grad_build(g);
    return g;
}

/* Layers of a net whose input and classes do not matter. */
static Graph *chain(const char *input, const char *layers)
{
    return graph_of(
        xprintf("{name: n1, input: %s, classes: 10, layers: [%s, global_avg_pool, linear: classes]}", input, layers));
}

static const Op *op_at(const Graph *g, const char *path)
{
    for (int i = 0; i < g->nop; i++)
        if (strcmp(g->op[i].path, path) == 0)
            return &g->op[i];
    ck_abort_msg("no op %s", path);
    return NULL;
}

static const Param *param_at(const Graph *g, const char *name)
{
    for (int i = 0; i < g->nparam; i++)
        if (strcmp(g->param[i].name, name) == 0)
            return &g->param[i];
    return NULL;
}

/* ---- orders ---------------------------------------------------------------------------------------------------- */

START_TEST(orders_read_back)
{
    static const char *const orders[][2] = {
        {"conv", "conv"},
        {"conv-bn-act", "conv-bn-tanh"},
        {" conv - bn - act ", "conv-bn-tanh"},
        {"bn-act-conv", "bn-tanh-conv"},
        {"drop(0.1)-bn-conv-act", "drop(0.1)-bn-conv-tanh"},
        {"conv-bn-act-bn", "conv-bn-tanh-bn"},
        {"conv-maxpool(3,2,1)-bn-act", "conv-maxpool(3,2,1)-bn-tanh"},
        {"conv-maxpool( 3 , 3 )-relu", "conv-maxpool(3)-relu"},
        {"conv-avgpool(1x2)-silu", "conv-avgpool(1x2)-silu"},
        {"conv-maxpool(3x1,1,1x0)", "conv-maxpool(3x1,1,1x0)"},
        {"leaky_relu-conv-leaky_relu(0.2)", "leaky_relu(0.01)-conv-leaky_relu(0.2)"},
        {"general_relu-conv-general_relu(0.1)", "relu-conv-leaky_relu(0.1)"},
        {"conv-general_relu(0.1, 0.4)-norm-general_relu(0,0,6)", "conv-general_relu(0.1,0.4)-bn-general_relu(0,0,6)"},
        {"conv-drop(1e-3)-sigmoid-flatten", "conv-drop(0.001)-sigmoid-flatten"},
    };
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        SpecStage *st;
        int n;
        Node node = {.kind = NODE_SCALAR, .text = orders[i][0], .mark = {1, 1, 1}};
        ck_assert(order_read(&node, OP_CONV, (Words){stage_usual(OP_TANH), stage_usual(OP_BN)}, &st, &n));
        ck_assert_str_eq(order_text(st, n, 2), orders[i][1]);
        node.text = orders[i][1];
        ck_assert(order_read(&node, OP_CONV, words_usual(), &st, &n));
        ck_assert_str_eq(order_text(st, n, 2), orders[i][1]);
    }
    ck_assert(!diag_flush(stderr));
}
END_TEST

START_TEST(names_and_paths)
{
    Graph *g = chain("[3, 16, 16]",
                     "bn, conv: {out: 8, order: conv-bn-act-bn-tanh-bn}, conv: {out: 8, name: mid, order: conv}, "
                     "conv: {out: 8, order: drop(0.1)-conv-drop(0.2)}, act, maxpool(2), tanh");
    static const char *const paths[] = {
        "input",      "bn1",       "conv1.conv", "conv1.bn",         "conv1.act",      "conv1.bn2",
        "conv1.act2", "conv1.bn3", "mid.conv",   "conv3.drop",       "conv3.conv",     "conv3.drop2",
        "act1",       "maxpool1",  "act2",       "global_avg_pool1", "linear1.linear", "loss"};
    ck_assert_int_eq(g->nop, sizeof paths / sizeof *paths);
    for (int i = 0; i < g->nop; i++)
        ck_assert_str_eq(g->op[i].path, paths[i]);
    ck_assert_ptr_null(g->op[1].stage);
    ck_assert_str_eq(g->op[5].stage, "bn2");
    ck_assert_ptr_nonnull(param_at(g, "bn1.running_var"));
    ck_assert_ptr_nonnull(param_at(g, "conv1.bn3.num_batches_tracked"));
    ck_assert_ptr_nonnull(param_at(g, "mid.conv.bias"));
    ck_assert(g->op[1].input_grad == false); /* bn1 reads the input, which learns nothing */
    ck_assert(g->op[2].input_grad == true);  /* but bn1 does */
}
END_TEST

/* ---- the graph ------------------------------------------------------------------------------------------------- */

START_TEST(shapes)
{
    static const struct {
        const char *input, *layer, *path;
        Shape out;
    } cases[] = {
        {"[3, 17, 32]", "conv: {out: 5}", "conv1.conv", {5, 17, 32}},
        {"[3, 17, 32]", "conv: {out: 5, stride: 2}", "conv1.conv", {5, 9, 16}},
        {"[3, 17, 32]", "conv: {out: 5, kernel: [3, 5], stride: [2, 3]}", "conv1.conv", {5, 9, 11}},
        {"[3, 17, 32]", "conv: {out: 5, kernel: 4}", "conv1.conv", {5, 18, 33}}, /* padding 2 */
        {"[3, 17, 32]", "conv: {out: 5, kernel: 4, padding: 0, stride: 5}", "conv1.conv", {5, 3, 6}},
        {"[3, 1, 1]", "conv: {out: 5, kernel: 1, padding: 0}", "conv1.conv", {5, 1, 1}},
        {"[3, 2, 2]", "conv: {out: 5, kernel: 7, padding: 5, stride: 9}", "conv1.conv", {5, 1, 1}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, maxpool(2)", "maxpool1", {5, 8, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, maxpool: {k: 3, stride: 2, padding: 1}", "maxpool1", {5, 9, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: conv}, avgpool: {k: [3, 1], stride: [1, 2]}", "avgpool1", {5, 15, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: \"conv-maxpool(3,2,1)-bn\"}", "conv1.bn", {5, 9, 16}},
        {"[3, 17, 32]", "conv: {out: 5, order: \"conv-maxpool(3,2,ceil)-bn\"}", "conv1.bn", {5, 8, 16}},
        {"[3, 5, 6]", "conv: {out: 5, order: conv}, \"maxpool(2,2,ceil)\"", "maxpool1", {5, 3, 3}},
        {"[3, 4, 4]",
         "conv: {out: 5, order: conv}, \"maxpool(2,2,1,ceil)\"",
         "maxpool1",
         {5, 3, 3}}, /* none begins after */
        {"[3, 2, 3]", "conv: {out: 5, order: conv}, \"maxpool(3,2,ceil)\"", "maxpool1", {5, 1, 1}},
        {"[3, 17, 32]", "conv: {out: 5, padding: [0, 3, 2, 1]}", "conv1.conv", {5, 18, 33}},
        {"[3, 16, 33]",
         "conv: {out: 5, order: conv}, avgpool: {k: 3, stride: 2, padding: same}",
         "avgpool1",
         {5, 8, 17}},
        {"[3, 4, 5]", "flatten", "flatten1", {60, 1, 1}},
        {"[3, 4, 5]", "flatten, linear: {out: 7, order: linear-bn-act}", "linear1.act", {7, 1, 1}},
        {"[3, 4, 5]", "global_avg_pool", "global_avg_pool1", {3, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Shape s = op_at(chain(cases[i].input, cases[i].layer), cases[i].path)->shape;
        ck_assert_msg(s.c == cases[i].out.c && s.h == cases[i].out.h && s.w == cases[i].out.w,
                      "%s on %s gives %d x %d x %d", cases[i].layer, cases[i].input, s.c, s.h, s.w);
    }
}
END_TEST

START_TEST(biases)
{
    static const struct {
        const char *layers;
        bool bias; /* of conv1 */
        const char *why;
    } cases[] = {
        {"conv: {out: 4, order: conv-bn-act}", false, "dropped: conv1.bn subtracts the mean, and the bias with it"},
        {"conv: {out: 4, order: conv-act-bn}", true, "kept: conv1.act stands before the next bn"},
        {"conv: {out: 4, order: bn-act-conv}", true, NULL},
        {"conv: {out: 4, order: conv-maxpool(2)-bn}", false, NULL},
        {"conv: {out: 4, order: \"conv-maxpool(3,2,1)-bn\"}", false, NULL},
        {"conv: {out: 4, order: conv-avgpool(2)-bn}", false, NULL},
        {"conv: {out: 4, order: \"conv-avgpool(3,2,1)-bn\"}", true, "kept: conv1.avgpool stands before the next bn"},
        {"conv: {out: 4, order: conv-drop(0.5)-bn}", true, NULL},
        {"conv: {out: 4, order: conv-global_avg_pool-bn}", false, NULL},
        {"conv: {out: 4, order: conv}, conv: {out: 4, order: bn-act-conv}", false, NULL},
        {"conv: {out: 4, order: conv}, bn", false, NULL},
        {"conv: {out: 4, order: conv}, maxpool(2), bn", false, NULL},
        {"conv: {out: 4, order: conv}, conv: {out: 4, order: conv-bn}", true,
         "kept: no bn follows before the next weights"},
        {"conv: {out: 4, order: conv-flatten-bn}", true, NULL},
        {"conv: {out: 4, order: conv-bn, bias: true}", true, NULL},
        {"conv: {out: 4, order: conv-act-bn, bias: false}", false, NULL},
        {"conv: {out: 4, order: conv, bias: auto}", true, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(chain("[3, 9, 9]", cases[i].layers), "conv1.conv");
        ck_assert_msg(op->bias == cases[i].bias, "%s: bias %d", cases[i].layers, op->bias);
        if (cases[i].why)
            ck_assert_str_eq(op->bias_why, cases[i].why);
        if (strstr(cases[i].layers, "bias: true") || strstr(cases[i].layers, "bias: false"))
            ck_assert_ptr_null(op->bias_why);
    }
}
END_TEST

START_TEST(parameters)
{
    static const char *const inits[] = {"pytorch", "kaiming_normal", "kaiming_uniform", "xavier_normal",
                                        "xavier_uniform"};
    const double fan_in = 3 * 3 * 5, fan_out = 8 * 3 * 5;
    const double value[] = {1 / sqrt(fan_in), sqrt(2 / fan_in), sqrt(6 / fan_in), sqrt(2 / (fan_in + fan_out)),
                            sqrt(6 / (fan_in + fan_out))};
    const int draw[] = {DRAW_UNIFORM, DRAW_NORMAL, DRAW_UNIFORM, DRAW_NORMAL, DRAW_UNIFORM};
    for (int i = 0; i < 5; i++) {
        Graph *g = graph_of(
            xprintf("{name: n1, input: [3, 8, 8], classes: 4, init: %s, layers: [conv: {out: 8, kernel: [3, 5], order: "
                    "conv-act-bn}, flatten, linear: classes]}",
                    inits[i]));
        const Param *w = param_at(g, "conv1.conv.weight"), *b = param_at(g, "conv1.conv.bias");
        ck_assert_int_eq(w->ndim, 4);
        ck_assert(w->dim[0] == 8 && w->dim[1] == 3 && w->dim[2] == 3 && w->dim[3] == 5);
        ck_assert_int_eq(w->draw, draw[i]);
        ck_assert_double_eq_tol(w->draw_value, value[i], 1e-15);
        ck_assert_int_eq(b->draw, i ? DRAW_CONST : DRAW_UNIFORM);
        ck_assert_double_eq_tol(b->draw_value, i ? 0 : value[0], 1e-15);
        const Param *l = param_at(g, "linear1.linear.weight");
        ck_assert(l->ndim == 2 && l->dim[0] == 4 && l->dim[1] == 8 * 8 * 8);
        ck_assert_double_eq(param_at(g, "conv1.bn.weight")->draw_value, 1);
        ck_assert_double_eq(param_at(g, "conv1.bn.bias")->draw_value, 0);
        ck_assert_double_eq(param_at(g, "conv1.bn.running_var")->draw_value, 1);
        ck_assert_int_eq(param_at(g, "conv1.bn.num_batches_tracked")->ndim, 0);
        ck_assert_int_eq(g->weights, 8 * 45 + 8 + 16 + 4 * 512 + 4);
        ck_assert_int_eq(g->flops, 2 * (8 * 45 * 64 + 4 * 512));
    }
}
END_TEST

/* Networks of other libraries have as many weights as is published of them. */
START_TEST(published_weights)
{
    static const struct {
        const char *spec;
        int64_t weights, buffers;                                 /* buffers: running means and variances */
    } nets[] = {{"squeezenet", 1235496, 0},                       /* torchvision's squeezenet1_1 */
                {"squeezenet1_0", 1248424, 0},                    /* and squeezenet1_0 */
                {"resnet18", 11689512, 9600},                     /* and resnet18 */
                {"mobilenet_keras", 4231976, 4253864 - 4231976}}; /* keras.applications.MobileNet */
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        size_t len;
        int64_t buffers = 0;
        const Graph *g = graph_of(file_read(xprintf("%s/../specs/%s.yaml", tests, nets[i].spec), 1 << 20, &len));
        for (int k = 0; k < g->nparam; k++)
            buffers += g->param[k].role == PARAM_MEAN || g->param[k].role == PARAM_VAR ? g->param[k].dim[0] : 0;
        ck_assert_int_eq(g->weights, nets[i].weights);
        ck_assert_int_eq(buffers, nets[i].buffers);
    }
}
END_TEST

/* What `same` comes to: Keras's sizes and paddings (TensorFlow's SAME), worked out by hand. */
START_TEST(same_padding)
{
    static const struct {
        int n, kernel, stride, dilation, out, before, after;
    } cases[] = {{224, 3, 2, 1, 112, 0, 1}, {225, 3, 2, 1, 113, 1, 1}, {8, 2, 1, 1, 8, 0, 1}, {8, 4, 1, 1, 8, 1, 2},
                 {7, 5, 3, 1, 3, 2, 2},     {9, 1, 2, 1, 5, 0, 0},     {9, 2, 4, 1, 3, 0, 1}, {10, 3, 1, 2, 10, 2, 2},
                 {5, 7, 2, 1, 3, 3, 3},     {6, 7, 4, 1, 2, 2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Graph *g =
            graph_of(xprintf("{name: n1, input: [3, %d, 40], classes: 4, layers: [conv: {out: 4, kernel: [%d, 3], "
                             "stride: [%d, 1], dilation: [%d, 1], padding: same}, global_avg_pool]}",
                             cases[i].n, cases[i].kernel, cases[i].stride, cases[i].dilation));
        ck_assert_int_eq(g->op[1].shape.h, cases[i].out);
        ck_assert_int_eq(g->op[1].shape.w, 40);
        ck_assert_int_eq(g->op[1].padding[0], cases[i].before);
        ck_assert_int_eq(g->op[1].after[0], cases[i].after);
    }
}
END_TEST

START_TEST(train_defaults)
{
    Spec *s = spec_of("{name: n1, input: [2, 4, 4], classes: 4, layers: [flatten, linear: 4]}");
    ck_assert_str_eq(s->train.data, "idx");
    ck_assert(s->train.epochs == 5 && s->train.batch == 64 && s->train.lr == 0.1 &&
              s->train.hyper[CVY_MOMENTUM] == 0.9);
    ck_assert(s->train.weight_decay == 5e-4 && s->train.schedule == CVY_ONE_CYCLE && !s->train.decay_all);
    ck_assert(s->train.mean[1] == 0.5 && s->train.std[1] == 0.25 && s->train.hyper[CVY_NESTEROV] == 0 &&
              s->init_conv.kind == INIT_PYTORCH && s->init_linear.kind == INIT_PYTORCH);
    s = spec_of("{name: n1, input: [2, 4, 4], classes: 4, layers: [flatten, linear: 4], train: {data: mnist, mean: [1, "
                "2], nesterov: true, "
                "decay: all, schedule: constant}}");
    ck_assert(s->train.mean[0] == 1 && s->train.mean[1] == 2 && s->train.std[0] == 0.3081 &&
              s->train.hyper[CVY_NESTEROV] == 1 && s->train.decay_all);
    ck_assert_int_eq(s->train.schedule, CVY_CONSTANT);
}
END_TEST

/* ---- groups ---------------------------------------------------------------------------------------------------- */

/* The paths of all ops, those that an op reads after it: "a b(a) c.add(b,a)". */
static const char *wiring(const Graph *g)
{
    Buf b = {0};
    for (int i = 1; i < g->nop - 1; i++) {
        buf_printf(&b, "%s%s", i > 1 ? " " : "", g->op[i].path);
        for (int k = 0; k < g->op[i].nin && (g->op[i].nin > 1 || g->op[i].in != i - 1); k++)
            buf_printf(&b, "%s%s", k ? "," : "<", g->op[g->op[i].ins[k]].path);
    }
    return b.text;
}

START_TEST(groups)
{
    static const struct {
        const char *stage, *wiring;
    } cases[] = {
        {"layers: [conv: {out: 4, order: conv}, relu]", "s.conv1.conv s.act1"},
        {"repeat: 2, layers: [relu]", "s.1.act1 s.2.act1"},
        {"residual: [relu]", "s.act1 s.add<s.act1,input"},
        {"residual: [relu], pre: bn, post: tanh-bn", "s.pre.bn s.act1 s.add<s.act1,input s.post.act s.post.bn"},
        {"residual: [relu], pre: bn, shortcut_from: pre", "s.pre.bn s.act1 s.add<s.act1,input"},
        {"residual: [relu], shortcut: {order: conv, always: true}",
         "s.shortcut.conv s.act1<input s.add<s.act1,s.shortcut.conv"},
        {"residual: [relu], pre: bn, shortcut_from: pre, shortcut: {order: conv, always: true}",
         "s.pre.bn s.shortcut.conv s.act1<s.pre.bn s.add<s.act1,s.shortcut.conv"},
        {"residual: [conv: {out: 5, order: conv}], shortcut: pad",
         "s.shortcut s.conv1.conv<input s.add<s.conv1.conv,s.shortcut"},
        {"concat: [[], [relu], [tanh, bn]]", "s.b2.act1 s.b3.act1<input s.b3.bn1 s.concat<input,s.b2.act1,s.b3.bn1"},
        {"concat: [[], []], transition: [relu]", "s.concat<input,input s.transition.act1"},
        {"residual: [stage: {repeat: 2, residual: [relu], shortcut: {order: conv, always: true}}], shortcut: {order: "
         "conv, always: true}",
         "s.shortcut.conv s.stage1.1.shortcut.conv<input s.stage1.1.act1<input "
         "s.stage1.1.add<s.stage1.1.act1,s.stage1.1.shortcut.conv "
         "s.stage1.2.shortcut.conv s.stage1.2.act1<s.stage1.1.add "
         "s.stage1.2.add<s.stage1.2.act1,s.stage1.2.shortcut.conv "
         "s.add<s.stage1.2.add,s.shortcut.conv"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = wiring(chain("[3, 8, 8]", xprintf("stage: {name: s, %s}", cases[i].stage)));
        ck_assert_str_eq(got, xprintf("%s global_avg_pool1 linear1.linear", cases[i].wiring));
    }
}
END_TEST

START_TEST(keys_of_groups)
{
    Graph *g =
        chain("[3, 16, 16]", "stage: {name: s, repeat: 2, out: 8, kernel: 5, stride: 2, shortcut: pad, residual: "
                             "[conv, conv: {kernel: 1, order: conv-bn}], zero_gamma: true}, stage: {name: m, "
                             "stride: 2, residual: [conv: {kernel: 1, out: 16}, conv: {groups: depthwise, stride: "
                             "group}, conv: {out: 8, kernel: 1, order: conv-bn}]}");
    const Op *pad = op_at(g, "s.1.shortcut");
    ck_assert(pad->kind == OP_PAD && pad->before == 2 && pad->stride[0] == 2 && pad->shape.c == 8 && pad->shape.h == 8);
    const Op *a = op_at(g, "s.1.conv1.conv"), *b = op_at(g, "s.2.conv1.conv"), *c = op_at(g, "s.1.conv2.conv");
    ck_assert(a->stride[0] == 2 && b->stride[0] == 1 && c->stride[0] == 1);
    ck_assert(a->kernel[0] == 5 && a->padding[0] == 2 && c->kernel[0] == 1 && c->shape.c == 8);
    ck_assert_double_eq(param_at(g, "s.1.conv1.bn.weight")->draw_value, 1);
    ck_assert_double_eq(param_at(g, "s.1.conv2.bn.weight")->draw_value, 0);
    ck_assert_double_eq(param_at(g, "s.2.conv2.bn.weight")->draw_value, 0);
    ck_assert_double_eq(param_at(g, "m.conv3.bn.weight")->draw_value, 1);
    const Op *d = op_at(g, "m.conv2.conv");
    ck_assert(op_at(g, "m.conv1.conv")->stride[0] == 1 && d->stride[0] == 2 && d->groups == 16 && d->shape.c == 16);
    const Param *w = param_at(g, "m.conv2.conv.weight");
    ck_assert(w->ndim == 4 && w->dim[0] == 16 && w->dim[1] == 1 && w->dim[2] == 3);
    ck_assert_double_eq_tol(w->draw_value, 1.0 / 3, 1e-12); /* fan_in: 1 x 3 x 3 */
    const Op *sc = op_at(g, "m.shortcut.conv");
    ck_assert(sc->kernel[0] == 1 && sc->padding[0] == 0 && sc->stride[0] == 2 && !sc->bias);
}
END_TEST

/* A shortcut whose pool strides already, as ResNet-D's, has a conv of stride 1; one whose pool does not, the stage's.
 */
START_TEST(pools_in_shortcuts)
{
    static const struct {
        const char *stage, *shortcut;
        int stride;
    } cases[] = {
        {"stride: 2, residual: [conv]", "avgpool(2)-conv-norm", 1},
        {"stride: 2, residual: [conv]", "'conv-maxpool(3,2,1)-norm'", 1},
        {"stride: 2, residual: [conv]", "'maxpool(3,1,1)-conv-norm'", 2},
        {"stride: 2, residual: [conv]", "conv-norm", 2},
        {"stride: [2, 1], residual: [conv]", "'avgpool(2x1)-conv'", 1},
        {"stride: 2, residual: [conv: {order: conv-maxpool(2)}]", "avgpool(2)-conv-norm", 2},
        {"residual: [conv: {order: conv-maxpool(2)}]", "avgpool(2)-conv-norm", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g = chain("[3, 16, 16]",
                         xprintf("stage: {name: s, out: 8, %s, shortcut: %s}", cases[i].stage, cases[i].shortcut));
        const Op *conv = op_at(g, "s.shortcut.conv"), *add = op_at(g, "s.add");
        ck_assert_msg(conv->stride[0] == cases[i].stride, "%s: %d", cases[i].shortcut, conv->stride[0]);
        ck_assert_int_eq(add->shape.c, 8);
    }
}
END_TEST

START_TEST(biases_through_joins)
{
    static const struct {
        const char *layers;
        bool bias; /* of s.conv1 */
        const char *why;
    } cases[] = {
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}], post: bn}", false,
         "dropped: s.post.bn subtracts the mean, and the bias with it"},
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}], post: act-bn}", true,
         "kept: s.post.act stands before the next bn"},
        {"stage: {name: s, residual: [conv: {out: 3, order: conv}]}", true,
         "kept: no bn follows before the next weights"},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {residual: [bn]}, bn", false, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {residual: [bn]}, act", true, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {concat: [[], [bn]]}, bn", false, NULL},
        {"stage: {name: s, layers: [conv: {out: 3, order: conv}]}, stage: {out: 5, shortcut: pad, residual: [conv: "
         "{order: bn-conv}]}, bn",
         false, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(chain("[3, 9, 9]", cases[i].layers), "s.conv1.conv");
        ck_assert_msg(op->bias == cases[i].bias, "%s: bias %d", cases[i].layers, op->bias);
        if (cases[i].why)
            ck_assert_str_eq(op->bias_why, cases[i].why);
    }
}
END_TEST

/* Sums of sums: as many paths as 2^1000. */
START_TEST(many_paths)
{
    Graph *g =
        chain("[3, 4, 4]", "conv: {out: 3, order: conv}, stage: {repeat: 1000, residual: [maxpool: {k: 3, stride: 1, "
                           "padding: 1}]}, bn");
    ck_assert(!op_at(g, "conv1.conv")->bias);
}
END_TEST

START_TEST(one_dimension)
{
    Graph *g =
        chain("[2, 100]", "conv: {out: 8, kernel: 5, stride: 2, order: \"conv-maxpool(3,2,1)-bn\"}, conv: {out: 8, "
                          "groups: 4, dilation: 3}, avgpool: {k: 4, stride: 2, padding: 1}, stage: {out: 16, stride: "
                          "2, shortcut: pad, residual: [conv]}");
    const Param *w = param_at(g, "conv1.conv.weight"), *v = param_at(g, "conv2.conv.weight");
    ck_assert_int_eq(g->dims, 1);
    ck_assert(w->ndim == 3 && w->dim[0] == 8 && w->dim[1] == 2 && w->dim[2] == 5);
    ck_assert(v->ndim == 3 && v->dim[0] == 8 && v->dim[1] == 2 && v->dim[2] == 3);
    static const struct {
        const char *path;
        int w;
    } cases[] = {{"conv1.conv", 50}, {"conv1.maxpool", 25},  {"conv2.conv", 25},
                 {"avgpool1", 12},   {"stage1.shortcut", 6}, {"stage1.add", 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Op *op = op_at(g, cases[i].path);
        ck_assert_msg(op->shape.h == 1 && op->shape.w == cases[i].w, "%s has a width of %d", op->path, op->shape.w);
    }
    g = graph_of("{name: n1, input: [7], classes: 3, layers: [linear: classes]}");
    ck_assert(g->dims == 2 && g->op[0].shape.c == 7 && g->op[0].shape.h == 1 && g->op[0].shape.w == 1);
}
END_TEST

START_TEST(recompute_segments)
{
    static const struct {
        const char *top, *layers, *segments; /* a digit an op, from the input to the loss */
    } cases[] = {
        {"none", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0000000"
         "0"},
        {"1", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0123000"
         "0"},
        {"2", "conv: {out: 4, order: conv}, relu, conv: {out: 4, order: conv}, tanh",
         "0112000"
         "0"},
        {"none", "stage: {repeat: 3, recompute: 2, layers: [conv: {out: 3, order: conv}, relu]}",
         "01111220"
         "00"},
        {"2", "stage: {repeat: 3, layers: [conv: {out: 3, order: conv}, relu]}",
         "01111220"
         "00"},
        {"2", "conv: {out: 3, order: conv}, stage: {recompute: none, layers: [relu]}, conv: {out: 3, order: conv}",
         "010200"
         "0"},
        {"1", "stage: {layers: [conv: {out: 3, order: conv}, flatten, linear: 3]}",
         "000000"
         "0"},
        {"none", "stage: {recompute: 1, residual: [conv: {out: 5, order: conv}], shortcut: conv}, relu",
         "011100"
         "00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Graph *g =
            graph_of(xprintf("{name: n1, input: [3, 8, 8], classes: 10, recompute: %s, layers: [%s, global_avg_pool, "
                             "linear: classes]}",
                             cases[i].top, cases[i].layers));
        Buf b = {0};
        for (int k = 0; k < g->nop; k++)
            buf_printf(&b, "%d", g->op[k].segment);
        ck_assert_str_eq(b.text, cases[i].segments);
    }
}
END_TEST

/* ---- --set ----------------------------------------------------------------------------------------------------- */

START_TEST(overrides)
{
    const char *text = "{name: n1, input: [3, 16, 16], classes: 10, layers: [conv: 4, conv: {out: 4, name: mid}, conv: "
                       "6, bn, drop: 0.5, "
                       "global_avg_pool, linear: classes]}";
    static const char *const sets[] = {"conv1.order=conv-maxpool(3,2,1)-bn-act",
                                       "mid.out=9",
                                       "conv3.stride=[1, 2]",
                                       "train.lr=0.5",
                                       "act=leaky_relu(0.3)",
                                       "bn1.eps=1e-3",
                                       "drop1.p=0.25",
                                       "conv1.out=7"};
    Node *t = tree_of(text);
    for (int i = 0; i < 8; i++)
        ck_assert(yaml_override(t, sets[i], i));
    Spec *s = spec_read(t);
    ck_assert(!diag_flush(stderr));
    ck_assert_str_eq(order_text(s->layer[0].stage, s->layer[0].nstage, 2), "conv-maxpool(3,2,1)-bn-leaky_relu(0.3)");
    ck_assert_int_eq(s->layer[0].out, 7);
    ck_assert_int_eq(s->layer[1].out, 9);
    ck_assert(layer_weight(&s->layer[2])->arg[ARG_STRIDE].size[0] == 1 &&
              layer_weight(&s->layer[2])->arg[ARG_STRIDE].size[1] == 2);
    ck_assert_double_eq(s->layer[3].stage[0].arg[ARG_EPS].real, 1e-3);
    ck_assert_double_eq(s->layer[4].stage[0].arg[0].real, 0.25);
    ck_assert_double_eq(s->train.lr, 0.5);
}
END_TEST

START_TEST(overrides_in_groups)
{
    const char *text =
        "{name: n1, input: [3, 16, 16], classes: 10, layers: [stage: {name: s, repeat: 3, out: 4, residual: "
        "[conv, conv: 4]}, stage: {name: m, concat: [[relu], [conv: 3, stage: {layers: [conv: 5]}]], "
        "transition: [conv: 2]}, global_avg_pool, linear: classes]}";
    static const char *const sets[][3] = {
        {"s.2.conv1.order=conv-act-bn", "s.2.conv1", "conv-relu-bn"},
        {"s.3.order=bn-act-conv", "s.3.conv2", "bn-tanh-conv"},
        {"s.conv2.act=tanh", "s.1.conv2", "conv-bn-tanh"},
        {"m.b2.conv1.order=conv", "m.b2.conv1", "conv"},
        {"m.b2.stage1.conv1.order=conv-silu", "m.b2.stage1.conv1", "conv-silu"},
        {"m.transition.conv1.order=conv-sigmoid", "m.transition.conv1", "conv-sigmoid"},
        {"s.2.conv2.act=silu", "s.2.conv2", "conv-bn-silu"},
        {"m.b1.act1.name=r", "m.b1.r", "relu"},
    };
    Node *t = tree_of(text);
    for (int i = 0; i < 8; i++)
        ck_assert(yaml_override(t, sets[i][0], i));
    Spec *s = spec_read(t);
    ck_assert(!diag_flush(stderr));
    for (int i = 0; i < 8; i++)
        for (int k = 0; k <= s->nlayer; k++) {
            ck_assert_msg(k < s->nlayer, "no layer %s", sets[i][1]);
            if (strcmp(s->layer[k].name, sets[i][1]) != 0)
                continue;
            ck_assert_str_eq(order_text(s->layer[k].stage, s->layer[k].nstage, s->dims), sets[i][2]);
            break;
        }
}
END_TEST

int main(int argc, char **argv)
{
    tests = argc > 1 ? argv[1] : ".";
    const TTest *const all[] = {
        orders_read_back,   names_and_paths,      shapes,       biases,        parameters,
        train_defaults,     published_weights,    same_padding, groups,        keys_of_groups,
        pools_in_shortcuts, biases_through_joins, many_paths,   one_dimension, recompute_segments,
        overrides,          overrides_in_groups};
    TCase *c = tcase_create("graph");

    tcase_set_timeout(c, 60); /* of a busy machine */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tcase_add_test(c, all[i]);
    return run_tests("graph", (TCase *[]){c, NULL});
}
