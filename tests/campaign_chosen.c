/* campaign_chosen.c - chosen networks, most of them with exact results; and a few of them by compilers and targets. */
#include "campaign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- chosen chains and graphs ---- */

typedef struct Chosen {
    const char *name;
    Fill fill;
    int n;
    const char *yaml;
} Chosen;

#define HEAD(shape, classes) "name: chain\ninput: " shape "\nclasses: " classes "\nlayers:\n"
#define TAIL "train: {data: shapes, batch: 6}\n"
/* Two residual blocks that keep the shape, and two of which the first has a stride and more channels. */
#define BLOCKS(keys)                                                                                                   \
    "  - conv: 8\n  - stage: {repeat: 2, out: 8, " keys "}\n  - stage: {repeat: 2, out: 18, stride: 2, " keys "}\n"
#define ENDING "  - global_avg_pool\n  - linear: classes\n" TAIL

static const Chosen exact[] = {
    {"integers through conv, relu, max-pool and linear", FILL_INTEGER, 5,
     HEAD("[3, 11, 9]",
          "7") "  - conv: {out: 20, order: conv-relu}\n  - conv: {out: 17, stride: 2, order: conv-maxpool(2)-relu}\n"
               "  - flatten\n  - linear: 19\n  - relu\n  - linear: classes\n" TAIL},
    {"integers through odd windows", FILL_INTEGER, 3,
     HEAD("[2, 13, 8]", "4") "  - conv: {out: 5, kernel: [2, 4], stride: [1, 3], padding: [1, 0], order: conv}\n"
                             "  - maxpool: {k: [3, 2], stride: [2, 1], padding: [1, 0]}\n  - conv: {out: 33, kernel: "
                             "1, stride: 2, order: relu-conv}\n"
                             "  - flatten\n  - linear: classes\n" TAIL},
    {"integers from 16 channels and more", FILL_INTEGER, 2,
     HEAD("[35, 6, 6]", "3") "  - conv: {out: 32, order: conv-relu}\n  - conv: {out: 16, kernel: 5, order: conv}\n"
                             "  - flatten\n  - linear: classes\n" TAIL},
    {"constant channels, conv-bn-relu", FILL_CONSTANT, 4,
     HEAD("[3, 7, 7]", "5") "  - conv: {out: 18, padding: 0, order: conv-bn-relu}\n  - conv: {out: 9, padding: 0, "
                            "order: conv-bn-relu}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"constant channels, conv-relu-bn", FILL_CONSTANT, 4,
     HEAD("[3, 7, 7]", "5") "  - conv: {out: 18, padding: 0, order: conv-relu-bn}\n  - conv: {out: 9, padding: 0, "
                            "order: conv-relu-bn}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"constant channels, a norm on the input", FILL_CONSTANT, 3,
     HEAD("[4, 5, 6]", "3") "  - bn\n  - conv: {out: 8, order: conv-bn-relu}\n  - global_avg_pool\n  - linear: "
                            "classes\n  - bn\n" TAIL},
    {"mean/sd = 1e4, conv-bn-relu", FILL_FAR, 6,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-bn-relu}\n  - conv: {out: 8, order: conv-bn-relu}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"mean/sd = 1e4, conv-relu-bn", FILL_FAR, 6,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-relu-bn}\n  - conv: {out: 8, order: conv-relu-bn}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"mean/sd = 1e4, 3x3 without padding, pooled before the norm", FILL_FAR, 6,
     HEAD("[1, 9, 8]", "4") "  - conv: {out: 3, padding: 0, order: conv-maxpool(2)-bn-relu}\n  - flatten\n  - linear: "
                            "classes\n" TAIL},
    {"mean/sd = 1e4, a norm on the input", FILL_FAR, 6,
     HEAD("[3, 5, 7]", "4") "  - bn\n  - conv: {out: 8, order: conv-relu-bn}\n  - flatten\n  - linear: classes\n" TAIL},
    {"constant channels, norms of images", FILL_CONSTANT, 4,
     HEAD("[3, 6, 6]", "4") "  - gn(3)\n  - conv: {out: 17, kernel: 1, order: in-conv-in-relu}\n  - conv: {out: 8, "
                            "order: conv-relu-gn(2)}\n"
                            "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"outliers, 3x3", FILL_OUTLIER, 3,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 3, order: conv-bn-relu, padding: 0}\n  - maxpool: 4\n" ENDING},
    {"outliers, a norm on the input", FILL_OUTLIER, 5, HEAD("[2, 96, 40]", "3") "  - bn\n  - maxpool: 4\n" ENDING},
    {"outliers, norms of images", FILL_OUTLIER, 4,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 4, kernel: 1, order: conv-in-relu}\n  - maxpool: 4\n" ENDING},
    {"outliers, a norm of groups", FILL_OUTLIER, 4,
     HEAD("[2, 96, 40]", "3") "  - conv: {out: 4, kernel: 1, order: conv-gn(2)-relu}\n  - maxpool: 4\n" ENDING},
    {"mean/sd = 1e4, norms of images", FILL_FAR, 4,
     HEAD("[2, 8, 8]",
          "4") "  - conv: {out: 17, kernel: 1, order: conv-in-relu}\n  - conv: {out: 8, order: conv-relu-ln}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"norms of images: in a row, several of a tensor, of joins, across blocks of 16, one image of six", FILL_PLAIN, 1,
     HEAD(
         "[3, 7, 6]",
         "4") "  - ln\n  - in\n  - conv: {out: 36, order: conv-gn(3)-relu-gn(2)}\n"
              "  - stage: {concat: [[bn], [gn(4)], [conv: {out: 4, order: in-conv-gelu}], [in]], post: "
              "\"gn(7)-act-maxpool(2)\"}\n"
              "  - stage: {repeat: 2, out: 18, norm: gn(6), residual: [conv, conv: {order: conv-norm}], post: ln-act}\n"
              "  - flatten\n  - linear: {out: 20, order: linear-ln-silu-gn(2)}\n  - linear: classes\n  - ln\n" TAIL},
    {"a short last batch: one image of six", FILL_PLAIN, 1,
     HEAD("[3, 8, 8]",
          "4") "  - conv: {out: 20, order: conv-bn-relu}\n  - conv: {out: 8, stride: 2, order: conv-relu-bn}\n"
               "  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"norms of images before and behind convs by Winograd", FILL_PLAIN, 5,
     HEAD("[3, 8, 8]", "4") "  - conv: {out: 8, order: conv-gn(4)-act-bn}\n  - conv: {out: 16, order: in-act-conv-bn}\n"
                            "  - conv: {out: 16, order: conv-bn-act-ln}\n" ENDING},
    {"a short last batch: two of six, hidden linears with norms", FILL_PLAIN, 2,
     HEAD("[3, 6, 6]",
          "4") "  - conv: {out: 20, order: bn-conv-relu}\n  - flatten\n  - linear: {out: 24, order: linear-bn-relu}\n"
               "  - linear: {out: 11, order: linear-relu-bn}\n  - linear: classes\n  - bn\n" TAIL},
    {"two norms in a block, silu before one", FILL_PLAIN, 6,
     HEAD("[3, 7, 9]", "5") "  - bn\n  - conv: {out: 18, order: conv-bn-silu-bn}\n  - conv: {out: 9, order: "
                            "bn-conv-silu-bn-drop(0.3)}\n"
                            "  - global_avg_pool\n  - linear: classes\n  - bn\n" TAIL},
    {"pool and dropout before the norm", FILL_PLAIN, 6,
     HEAD("[2, 10, 10]",
          "5") "  - conv: {out: 18, order: conv-maxpool(2)-bn-tanh}\n  - conv: {out: 9, order: drop(0.1)-bn-conv-act}\n"
               "  - conv: {out: 7, order: conv-avgpool(2)-bn-leaky_relu}\n  - flatten\n  - linear: classes\n" TAIL},
    /* graphs: the five arrangements of He et al. 2016, with their projections, and the others */
    {"residual, original", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, post: act, residual: [conv, conv: {order: conv-bn}]") ENDING},
    {"residual, norm after addition", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, post: bn-act, residual: [conv, conv: {order: conv}]") ENDING},
    {"residual, relu before addition", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: conv-bn-act, residual: [conv, conv]") ENDING},
    {"residual, relu-only pre-activation", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: act-conv-bn, residual: [conv, conv]") ENDING},
    {"residual, full pre-activation", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5") BLOCKS("order: bn-act-conv, residual: [conv, conv]") "  - bn\n  - act\n" ENDING},
    {"residual, full pre-activation, projections of the activated tensor", FILL_PLAIN, 5,
     HEAD("[3, 9, 7]", "5")
         BLOCKS("order: conv-bn-act, pre: bn-act, residual: [conv, conv: {order: conv}], shortcut: conv, "
                "shortcut_from: pre") "  - bn\n  - act\n" ENDING},
    {"residual, option A from 16 to 32: eight channels of zeros on either side", FILL_PLAIN, 4,
     HEAD("[3, 9, 8]", "4") "  - conv: 16\n  - stage: {repeat: 2, out: 32, stride: 2, shortcut: pad, post: act, "
                            "residual: [conv, conv: {order: conv-bn}]}\n" ENDING},
    {"residual, option A with odd differences, option C, gammas of zero", FILL_PLAIN, 4,
     HEAD("[5, 8, 9]",
          "4") "  - stage: {out: 10, stride: [1, 2], shortcut: pad, residual: [conv]}\n"
               "  - stage: {out: 17, stride: [2, 1], shortcut: pad, zero_gamma: true, residual: [conv, conv: "
               "{order: conv-bn}]}\n"
               "  - stage: {out: 17, repeat: 2, shortcut: {always: true, order: conv-bn}, residual: [conv]}\n" ENDING},
    {"residual, integers through pads and sums", FILL_INTEGER, 4,
     HEAD("[3, 8, 8]",
          "4") "  - conv: {out: 16, order: conv-relu}\n"
               "  - stage: {out: 21, kernel: 1, stride: 2, shortcut: pad, order: conv-relu, post: relu, residual: "
               "[conv, conv: {order: conv}]}\n"
               "  - flatten\n  - linear: classes\n" TAIL},
    {"a join's operands are pooled, and what follows pools", FILL_PLAIN, 5,
     HEAD("[4, 9, 9]",
          "4") "  - stage: {stride: 2, post: \"maxpool(2)\", residual: [conv: {out: 9, stride: 1}, maxpool: {k: 3, "
               "stride: 2, padding: 1}]}\n"
               "  - stage: {concat: [[avgpool: {k: 3, stride: 1, padding: 1}], [maxpool: {k: 3, stride: 1, padding: "
               "1}]], post: \"bn-avgpool(2)\"}\n" ENDING},
    {"DenseNet, growth of 12 from 16", FILL_PLAIN, 4,
     HEAD("[3, 8, 8]",
          "5") "  - conv: {out: 16, order: conv}\n"
               "  - stage: {repeat: 3, order: bn-act-conv, concat: [[], [conv: 12]], transition: [conv: {kernel: 1, "
               "out: 26}, avgpool(2)]}\n"
               "  - bn\n  - act\n" ENDING},
    {"DenseNet, odd channels and bottlenecks", FILL_PLAIN, 4,
     HEAD("[3, 7, 6]",
          "5") "  - stage: {repeat: 4, order: bn-act-conv, concat: [[], [conv: {kernel: 1, out: 7}, conv: 5]], "
               "post: drop(0.2)}\n"
               "  - bn\n  - act\n" ENDING},
    {"Inception, with a pooled branch", FILL_PLAIN, 4,
     HEAD("[5, 8, 8]",
          "5") "  - stage: {concat: [[conv: {kernel: 1, out: 16}], [conv: {kernel: 1, out: 7}, conv: 13], [conv: "
               "{kernel: 1, out: 3}, conv: {kernel: 5, out: 8}], [maxpool: {k: 3, stride: 1, padding: 1}, conv: "
               "{kernel: 1, out: 9}]]}\n"
               "  - stage: {stride: 2, concat: [[conv: 12], [conv: {out: 5, kernel: [1, 3]}, conv: {out: 5, kernel: "
               "[3, 1]}]]}\n" ENDING},
    {"integers through concats of concats, the input among them", FILL_INTEGER, 4,
     HEAD("[3, 6, 7]", "4") "  - stage: {order: conv-relu, concat: [[], [conv: 5], [stage: {concat: [[conv: 17], [], "
                            "[maxpool: {k: 3, stride: 1, padding: 1}]]}], []]}\n"
                            "  - stage: {order: conv, kernel: 1, concat: [[conv: 16], [relu, conv: 1]]}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"x + x, and the same tensor three times over", FILL_PLAIN, 4,
     HEAD("[3, 6, 7]", "4") "  - conv: 9\n  - stage: {residual: [stage: {residual: [drop(0)]}]}\n"
                            "  - stage: {concat: [[], [], []], post: bn}\n"
                            "  - stage: {residual: [maxpool: {k: 1, stride: 1}]}\n" ENDING},
    {"concats of more operands than have code of their own", FILL_PLAIN, 4,
     HEAD("[3, 6, 7]",
          "4") "  - conv: 5\n  - stage: {concat: [[], [conv: {out: 3, kernel: 1}], [], [], [], [], [], [], "
               "[], [], [], [], [], [], [], [], [], []]}\n"
               "  - conv: {out: 6, order: bn-act-conv}\n  - stage: {concat: [[], [], [], [], [], [], [], "
               "[], [], [], [], [], [], [], [], [], [tanh], []]}\n" ENDING},
    {"max-pools whose windows are one element", FILL_PLAIN, 5,
     HEAD("[3, 6, 7]",
          "4") "  - conv: 9\n  - stage: {residual: [maxpool: {k: 1, stride: 1}]}\n  - maxpool: {k: 1, stride: 2}\n"
               "  - conv: {out: 8, order: \"maxpool(1,1)-conv-maxpool(1,2)-bn-relu\"}\n" ENDING},
    {"two norms on one tensor, and a third reader", FILL_PLAIN, 4,
     HEAD("[3, 7, 7]",
          "4") "  - conv: {out: 11, order: conv}\n"
               "  - stage: {concat: [[bn, act], [bn: {eps: 1e-3}, tanh], [conv: 5]]}\n"
               "  - stage: {residual: [bn, conv: {out: 27, order: bn-act-conv}], shortcut: {always: true, order: "
               "bn-conv}}\n" ENDING},
    {"segments that are run again for backward", FILL_PLAIN, 4,
     "name: chain\ninput: [3, 8, 8]\nclasses: 4\nrecompute: 2\nlayers:\n"
     "  - conv: {out: 16, order: conv-bn-drop(0.2)-act}\n  - conv: {out: 16, order: \"conv-maxpool(2,1)-bn-act\"}\n"
     "  - stage: {name: s1, repeat: 4, out: 16, recompute: 2, shortcut: conv, order: bn-act-conv, residual: [conv, "
     "conv]}\n"
     "  - stage: {name: s2, repeat: 3, out: 32, stride: 2, shortcut: pad, residual: [conv, conv: {order: conv-bn}], "
     "post: act}\n"
     "  - stage: {name: d1, repeat: 3, order: bn-act-conv, recompute: 3, concat: [[], [conv: 5]]}\n"
     "  - conv: 16\n  - conv: 16\n  - global_avg_pool\n  - linear: classes\n" TAIL},
    {"depthwise and pointwise", FILL_PLAIN, 4,
     HEAD("[3, 9, 8]",
          "4") "  - conv: 17\n  - conv: {groups: depthwise}\n  - conv: {kernel: 1, out: 33}\n"
               "  - conv: {groups: depthwise, out: 66, stride: 2, kernel: 5}\n"
               "  - stage: {residual: [conv: {kernel: 1, out: 20}, conv: {groups: depthwise, dilation: 2, padding: "
               "2}, conv: {kernel: 1, out: 66, order: conv-bn}], post: act}\n" ENDING},
    {"integers through grouped, depthwise and dilated convs", FILL_INTEGER, 4,
     HEAD("[6, 9, 9]", "4") "  - conv: {out: 9, groups: 3, order: conv-relu}\n"
                            "  - conv: {groups: depthwise, dilation: [2, 1], order: conv-relu}\n"
                            "  - conv: {out: 36, groups: 9, stride: 2, dilation: 2, order: conv}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"integers through groups of whole blocks of 16, none of them first", FILL_INTEGER, 3,
     HEAD("[2, 7, 6]", "4") "  - conv: {out: 32, kernel: 1, order: conv-relu}\n  - conv: {out: 32, kernel: 1, groups: "
                            "2, order: conv-relu}\n"
                            "  - conv: {out: 64, groups: 2, stride: 2, kernel: 2, padding: 0, order: conv}\n"
                            "  - conv: {out: 64, kernel: [1, 3], padding: [0, 1], groups: 4, order: relu-conv}\n"
                            "  - flatten\n  - linear: classes\n" TAIL},
    {"groups of whole blocks of 16, dilated and by stride, in a residual and in a concat", FILL_PLAIN, 4,
     HEAD("[3, 8, 7]",
          "4") "  - conv: {out: 48, kernel: 1}\n  - conv: {out: 96, groups: 3, kernel: 1}\n"
               "  - stage: {stride: 2, shortcut: conv, residual: [conv: {out: 64, groups: 2, kernel: 5}, conv: {out: "
               "32, groups: 2, order: conv-bn}]}\n"
               "  - stage: {concat: [[], [conv: {out: 32, groups: 2, dilation: 2, padding: 2}]]}\n" ENDING},
    {"one dimension, groups of whole blocks of 16", FILL_INTEGER, 4,
     HEAD("[3, 19]", "4") "  - conv: {out: 32, order: conv-relu}\n  - conv: {out: 64, groups: 2, kernel: 1, stride: 2, "
                          "order: conv}\n"
                          "  - flatten\n  - linear: classes\n" TAIL},
    {"one dimension", FILL_PLAIN, 5,
     HEAD("[3, 29]",
          "4") "  - conv: {out: 17, kernel: 5, stride: 2}\n"
               "  - stage: {repeat: 2, out: 20, shortcut: pad, post: act, residual: [conv, conv: {order: conv-bn, "
               "dilation: 2, padding: 2}]}\n"
               "  - stage: {concat: [[], [conv: {groups: depthwise}], [maxpool: {k: 3, stride: 1, padding: 1}]], "
               "transition: [conv: {kernel: 1, out: 9}, avgpool(2)]}\n" ENDING},
    {"one dimension, integers", FILL_INTEGER, 5,
     HEAD("[5, 23]", "4") "  - conv: {out: 16, order: conv-relu}\n  - maxpool: {k: 3, stride: 2}\n"
                          "  - stage: {out: 19, stride: 2, shortcut: pad, order: conv, residual: [conv]}\n"
                          "  - flatten\n  - linear: classes\n" TAIL},
    {"sums and concats of features", FILL_PLAIN, 5,
     HEAD("[3, 5, 5]", "4") "  - conv: 8\n  - stage: {concat: [[global_avg_pool], [flatten, linear: 7]]}\n"
                            "  - stage: {residual: [linear: {out: 15, order: linear-bn-act}], post: bn-act}\n"
                            "  - stage: {residual: [linear: 21], shortcut: pad}\n  - linear: classes\n" TAIL},
    {"the logits are a sum", FILL_PLAIN, 4,
     HEAD("[3, 5, 5]", "4") "  - global_avg_pool\n  - stage: {residual: [linear: classes], shortcut: conv}\n" TAIL},
};
enum { EXACTS = sizeof exact / sizeof *exact };

/* Not with --short: others have their ops, their orders and their kinds of numbers; the last is the matrix'. */
static const char *const others[] = {"integers from 16 channels and more",
                                     "constant channels, conv-bn-relu",
                                     "constant channels, a norm on the input",
                                     "outliers, a norm on the input",
                                     "outliers, norms of images",
                                     "residual, full pre-activation",
                                     "depthwise and pointwise",
                                     "mean/sd = 1e4, conv-relu-bn",
                                     "mean/sd = 1e4, a norm on the input",
                                     "mean/sd = 1e4, norms of images",
                                     "a short last batch: one image of six",
                                     "residual, original",
                                     "residual, norm after addition",
                                     "residual, relu before addition",
                                     "residual, relu-only pre-activation",
                                     "residual, option A from 16 to 32: eight channels of zeros on either side",
                                     "DenseNet, growth of 12 from 16",
                                     "Inception, with a pooled branch",
                                     "integers through groups of whole blocks of 16, none of them first",
                                     "one dimension, groups of whole blocks of 16",
                                     "one dimension, integers",
                                     "pool and dropout before the norm"};

static bool another_has(const char *name)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    return false;
}

static Case chosen_case(const Options *o, const Chosen *w, const char *dir)
{
    Case c = plain_case(o, (uint64_t)(w - exact), dir);
    c.seed = o->seed + 12345;
    c.n = w->n;
    c.batch = 6; /* as the specs say */
    c.n_predict = 7;
    c.fill = w->fill;
    fresh_folder(dir);
    FILE *f = fopen(c.spec, "w");
    if (!f || fputs(w->yaml, f) < 0 ||
        fprintf(f, "winograd: %s\n", winograd_for(w->fill, (uint64_t)(w - exact) % 2 * 2)) < 0 || fclose(f) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", c.spec, strerror(errno));
        exit(2);
    }
    return c;
}

static bool wanted(const Options *o, const char *name)
{
    return !o->only || strstr(name, o->only);
}

bool chosen_networks(const Options *o)
{
    Case c[EXACTS];
    Label label[EXACTS];
    Verdict v[EXACTS];
    int n = 0;
    for (int i = 0; i < EXACTS; i++) {
        if (!wanted(o, exact[i].name) || (o->brief && another_has(exact[i].name)))
            continue;
        c[n] = chosen_case(o, &exact[i], xprintf("%s/exact_%d", o->work, i));
        c[n].again = i % 3 == 0;
        label[n++] = label_of(o, "exact", 0, xprintf("%s", exact[i].name));
    }
    Count k = all_cases(o, c, label, n, v);
    return report_cases("exact", &k, false);
}

/* ---- compilers and targets ---- */

/* Where one network alone is compiled, each compiler, target, setting of OpenMP and sanitizer occurs, and -O2 once:
 * with it the runtime takes three times as long. */
static const struct {
    const char *target, *cc, *cflags, *env;
    enum { ALWAYS, SEVERAL, ALONE } when; /* where there are several networks, or one */
} matrix[] = {
    {"native", "gcc", "-O0 -Wall -Wextra -Werror", NULL, SEVERAL},
    {"native", "gcc", "-O2 -Wall -Wextra -Werror", NULL, ALWAYS},
    {"native", "clang", "-O0 -Wall -Wextra -Werror", NULL, SEVERAL},
    {"native", "clang", "-O2 -Wall -Wextra -Werror", NULL, SEVERAL},
    {"native", "gcc", "-O2 -Wall -Wextra -Werror", "OPENMP=no", SEVERAL},
    {"native", "clang", "-O0 -Wall -Wextra -Werror", "OPENMP=no", ALONE},
    {"native", "clang", "-O2 -Wall -Wextra -Werror", "OPENMP=no", SEVERAL},
    {"native", "gcc", "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all", NULL, ALWAYS},
    {"portable", "gcc", "-O0 -std=c99 -pedantic -Wall -Wextra -Werror", NULL, ALONE},
    {"portable", "gcc", "-O2 -std=c99 -pedantic -Wall -Wextra -Werror", NULL, SEVERAL},
    {"portable", "clang", "-O2 -std=c99 -pedantic -Wall -Wextra -Werror", NULL, SEVERAL},
    {"portable", "gcc", "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all", NULL, SEVERAL},
};
enum { ROWS = sizeof matrix / sizeof *matrix };

bool have_compiler(const char *cc)
{
    const char *argv[] = {cc, "--version", NULL};
    return run_program("/dev/null", NULL, NULL, argv) == 0;
}

static const Chosen *chosen_named(const char *name)
{
    for (int i = 0; i < EXACTS; i++)
        if (strcmp(exact[i].name, name) == 0)
            return &exact[i];
    BUG("no chosen network is called '%s'", name);
}

bool by_compilers(const Options *o)
{
    static const char *const pick[] = {"pool and dropout before the norm",
                                       "a short last batch: two of six, hidden linears with norms",
                                       "residual, option A with odd differences, option C, gammas of zero",
                                       "two norms in a block, silu before one",
                                       "one dimension",
                                       "integers through conv, relu, max-pool and linear"};
    enum { PICKS = sizeof pick / sizeof *pick };
    Case c[ROWS * PICKS];
    Label label[ROWS * PICKS];
    bool gcc = have_compiler("gcc"), clang = have_compiler("clang");
    int n = 0;
    if (!gcc)
        printf("skipped: gcc missing\n");
    if (!clang)
        printf("skipped: clang missing\n");
    for (int r = 0; r < ROWS; r++) {
        const char *objects = NULL;
        for (int p = 0; p < PICKS && p < o->count && (strcmp(matrix[r].cc, "gcc") == 0 ? gcc : clang); p++) {
            const Chosen *w = chosen_named(pick[p]);
            const char *target = for_reading(o) ? o->target : matrix[r].target, *env = matrix[r].env;
            char *name = xprintf("%s %s%s%s, %s: %s", matrix[r].cc, matrix[r].cflags, env ? " " : "", env ? env : "",
                                 target, w->name);
            if (!wanted(o, name) || matrix[r].when == (o->count == 1 ? SEVERAL : ALONE))
                continue;
            c[n] = chosen_case(o, w, xprintf("%s/matrix_%d_%d", o->work, r, p));
            c[n].target = target;
            c[n].cc = matrix[r].cc;
            c[n].cflags = matrix[r].cflags;
            c[n].env = env;
            c[n].threads = true;
            if (!objects)
                objects = shared_objects(o, &c[n]);
            c[n].objects = objects;
            label[n] = label_of(o, "matrix", 0, name);
            n++;
        }
    }
    Verdict v[ROWS * PICKS];
    Count k = all_cases(o, c, label, n, v);
    return report_cases("matrix", &k, false);
}
