/* check.c - convoy check SPEC: what is in a spec, for people, as JSON, or as a spec with everything filled in. */
#include "json.h"
#include "files.h"
#include "commands.h"
#include "plan.h"
#include "read.h"
#include "term.h"
#include "why.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The trained numbers of each op. */
static int64_t *count_weights(const Graph *g)
{
    int64_t *count = xalloc((size_t)g->nop * sizeof *count);
    for (int k = 0; k < g->nparam; k++) {
        const Param *p = &g->param[k];
        int64_t n = 1;
        for (int d = 0; d < p->ndim; d++)
            n *= p->dim[d];
        if (p->role < PARAM_MEAN)
            count[p->op] += n;
    }
    return count;
}

static const char *bytes_text(int64_t v)
{
    return v < 10240      ? xprintf("%lld bytes", (long long)v)
           : v < 10 << 20 ? xprintf("%.1f KiB", (double)v / 1024)
                          : xprintf("%.1f MiB", (double)v / (1 << 20));
}

static const char *shape_text(Shape s)
{
    return xprintf("%d x %d x %d", s.c, s.h, s.w);
}

/* "s2.1.conv2, s1.3.post": the layers that an op reads; NULL where it is the one before it alone. */
static const char *reads(const Graph *g, int i)
{
    const Op *op = &g->op[i];
    Buf b = {0};
    if (op->nin == 0 || (op->nin == 1 && op->in == i - 1))
        return NULL;
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, "%s%s", k ? ", " : "", g->op[op->ins[k]].layer);
    return b.text;
}

/* What stands in the column of stages. */
static const char *stages_text(const Graph *g, const Op *op)
{
    const SpecLayer *l = op->layer_index >= 0 ? &g->spec->layer[op->layer_index] : NULL;
    if (op->kind == OP_PAD)
        return op->stride[0] > 1 || op->stride[1] > 1 ? xprintf("pad, stride %dx%d", op->stride[0], op->stride[1])
                                                      : "pad";
    return !l ? "" : l->nstage ? order_text(l->stage, l->nstage, g->dims) : op_info[op->kind].name;
}

/* A line of the table. */
typedef struct Row {
    const char *name, *stages, *output, *weights;
    const char *notes; /* what stands after the columns: "no bias", what it reads */
} Row;

/* The ops of a layer, which stand together: the first is *i, and *i ends after the last. */
static Row layer_row(const Graph *g, const int64_t *count, int *i)
{
    const Op *first = &g->op[*i];
    const char *from = reads(g, *i);
    int64_t weights = 0;
    bool no_bias = false;
    int last = *i;
    for (; *i < g->nop && g->op[*i].layer_index == first->layer_index && g->op[*i].kind != OP_LOSS; ++*i) {
        const Op *op = &g->op[*i];
        weights += count[*i];
        last = *i;
        no_bias = no_bias || (op_has_param(op->kind, PARAM_BIAS) && !op->bias);
    }
    const bool frozen = first->layer_index >= 0 && weights && g->spec->layer[first->layer_index].frozen;
    return (Row){first->layer, stages_text(g, first), shape_text(g->op[last].shape), weights ? grouped(weights) : "-",
                 xprintf("%s%s%s%s", no_bias ? "  no bias" : "", frozen ? "  frozen" : "", from ? "  <- " : "",
                         from ? from : "")};
}

static int widest(int width, const char *text)
{
    const int n = (int)strlen(text);
    return n > width ? n : width;
}

/* How much of an order has room in `width` columns: it is cut after a dash, else where the room ends. */
static int cut_order(const char *order, int width)
{
    int cut = 0, depth = 0;
    if ((int)strlen(order) <= width)
        return (int)strlen(order);
    for (int i = 0; i < width; i++) {
        depth += (order[i] == '(') - (order[i] == ')');
        cut = order[i] == '-' && !depth ? i + 1 : cut;
    }
    return cut ? cut : width;
}

/* The table, as narrow as its texts and no wider than the terminal: names lose their middle, orders and notes go on
 * below. */
static void print_rows(const Row *row, int n)
{
    const int columns = term_columns(stdout, TERM_USUAL);
    int name = 0, stages = 0, output = 0, weights = 0;
    for (int i = 0; i < n; i++) {
        name = widest(name, row[i].name);
        stages = widest(stages, row[i].stages);
        output = widest(output, row[i].output);
        weights = widest(weights, row[i].weights);
    }
    int room = columns - 2 - 1 - 2 - output - 2 - weights; /* for the first two columns */
    if (name + stages > room && name > room / 2)
        name = stages < room / 2 ? room - stages : room / 2;
    if (name + stages > room)
        stages = room - name < 10 ? 10 : room - name;
    for (int i = 0; i < n; i++) {
        const char *order = row[i].stages;
        int cut = cut_order(order, stages);
        Buf line = {0};
        buf_printf(&line, "  %-*s %-*.*s  %*s  %*s", name, term_shorten(row[i].name, name), stages, cut, order, output,
                   row[i].output, weights, row[i].weights);
        bool below = *row[i].notes && (int)(line.len + strlen(row[i].notes)) > columns;
        if (!below)
            buf_puts(&line, row[i].notes);
        for (order += cut; *order; order += cut)
            buf_printf(&line, "\n  %*s %.*s", name, "", cut = cut_order(order, stages), order);
        if (below) {
            buf_printf(&line, "\n  %*s", name - 1, "");
            term_wrap(&line, row[i].notes, name + 5, columns);
        }
        printf("%s\n", line.text);
    }
}

static void print_text(const Graph *g, const char *path)
{
    const SpecTrain *t = &g->spec->train;
    int64_t kept = grad_autograd(g, NULL), *count = count_weights(g);
    Row *row = NULL;
    int n = 0;
    *PUSH(row, n) = (Row){"layer", "stages", "output", "weights", ""};
    for (int i = 0; i < g->nop - 1;) {
        Row *next = PUSH(row, n);
        *next = layer_row(g, count, &i);
    }
    int64_t learning = 0;
    for (int i = 0; i < g->nop; i++)
        learning += op_learns(&g->op[i]) ? count[i] : 0;
    printf("%s: %s\n\n", path, g->spec->name);
    print_rows(row, n);
    term_help(
        stdout,
        xprintf("\n  weights   %s, drawn as %s%s\n"
                "  forward   %s FLOPs per image\n"
                "  training  %d epochs of batches of %d on %s, %s%s, lr %s, %s\n"
                "  memory    %s %s; op by op, backward would keep %s per image, %s per batch\n",
                grouped(g->weights), init_text(g->spec),
                learning < g->weights ? xprintf("; %s of them learn, the others are frozen", grouped(learning)) : "",
                grouped(g->flops), t->epochs, t->batch, t->data,
                t->loss->target == CVY_CLASS ? "" : xprintf("%s, ", t->loss->help), t->optimiser->name,
                real_text(t->lr), cvy_schedules[t->schedule].name, weights_kept_text(t->optimiser),
                bytes_text(weights_kept_bytes(t->optimiser, g->weights, learning)), bytes_text(kept),
                bytes_text(kept * t->batch)));
    term_help(stdout, xprintf("\nnext:  convoy plan %s   # what is fused, what is stored\n       convoy train %s\n",
                              path, path));
}

static json_t *json_pair(const int v[2])
{
    return json_pack("[i, i]", v[0], v[1]);
}

/* [height, width]; where the sides differ [top, bottom, left, right]. */
static json_t *json_sides(Sides s)
{
    return sides_even(s) ? json_pair(s.before)
                         : json_pack("[i, i, i, i]", s.before[0], s.after[0], s.before[1], s.after[1]);
}

static json_t *json_op(const Graph *g, const int64_t *count, int i)
{
    const Op *op = &g->op[i];
    json_t *o = json_pack("{s:s, s:s, s:s, s:[i, i, i], s:I}", "path", op->path, "layer", op->layer, "op",
                          op_info[op->kind].name, "output", op->shape.c, op->shape.h, op->shape.w, "weights",
                          (json_int_t)count[i]);
    json_t *inputs = json_array();
    for (int k = 0; k < op->nin; k++)
        json_array_append_new(inputs, json_string(g->op[op->ins[k]].path));
    json_object_set_new(o, "inputs", inputs);
    if (op->frozen)
        json_object_set_new(o, "frozen", json_true());
    if (op->segment)
        json_object_set_new(o, "segment", json_integer(op->segment));
    if (op->kind == OP_CONV)
        json_object_set_new(o, "dilation", json_pair(op->dilation));
    if (op->kind == OP_CONV || op_is_image_norm(op->kind))
        json_object_set_new(o, "groups", json_integer(op->groups));
    if (op->kind == OP_PAD) {
        json_object_set_new(o, "stride", json_pair(op->stride));
        json_object_set_new(o, "before", json_integer(op->before));
    }
    if (op->kind == OP_CONV || op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL) {
        json_object_set_new(o, "kernel", json_pair(op->kernel));
        json_object_set_new(o, "stride", json_pair(op->stride));
        json_object_set_new(o, "padding", json_sides(op->arg[ARG_PADDING].sides));
    }
    for (int a = 0; a < OP_ARGS; a++) { /* flags, where they are not as usual */
        const ArgInfo *arg = &op_info[op->kind].arg[a];
        if (arg->kind == ARG_FLAG && arg->name && op->arg[a].count != (int)arg->usual)
            json_object_set_new(o, arg->name, json_boolean(op->arg[a].count));
    }
    if (op_has_param(op->kind, PARAM_BIAS)) {
        json_object_set_new(o, "bias", json_boolean(op->bias));
        if (op->bias_why)
            json_object_set_new(o, "bias_why", json_string(op->bias_why));
    }
    if (op_is_norm(op->kind))
        json_object_set_new(o, "eps", json_real(op->eps));
    if (op_is_batch_norm(op->kind))
        json_object_set_new(o, "momentum", json_real(op->momentum));
    for (int k = 0; k < op_may_args(op->kind) && op_info[op->kind].cls == CLASS_POINT; k++) {
        const int a = op_arg_at(op->kind, k);
        json_object_set_new(o, op_info[op->kind].arg[a].name,
                            isinf(op->arg[a].real) ? json_null() : json_real(op->arg[a].real));
    }
    return o;
}

static int print_json(const Graph *g)
{
    json_t *ops = json_array();
    int64_t *count = count_weights(g);
    for (int i = 1; i < g->nop - 1; i++)
        json_array_append_new(ops, json_op(g, count, i));
    json_t *root = json_pack("{s:s, s:[i, i, i], s:i, s:I, s:I, s:I, s:o}", "name", g->spec->name, "input",
                             g->spec->input[0], g->spec->input[1], g->spec->input[2],
                             g->spec->train.loss->target == CVY_CLASS ? "classes" : "outputs", g->spec->classes,
                             "weights", (json_int_t)g->weights, "flops", (json_int_t)g->flops, "autograd_bytes",
                             (json_int_t)grad_autograd(g, NULL), "ops", ops);
    if (g->spec->tokens)
        json_object_set_new(root, "tokens", json_integer(g->spec->tokens));
    if (json_print(root, JSON_INDENT(2), stdout))
        return EXIT_OK;
    fprintf(stderr, "convoy: out of memory\n");
    return EXIT_FAILED;
}

static int write_spec(const Spec *s, const char *path)
{
    if (!path) {
        spec_write(s, stdout);
        return EXIT_OK;
    }
    const char *text = spec_text(s);
    const bool ok = file_write(path, text, strlen(text));
    if (ok)
        printf("wrote %s\n", path);
    return ok ? EXIT_OK : EXIT_FAILED;
}

int cmd_check(const Options *o)
{
    int status;
    if (o->out && !o->write) {
        fprintf(stderr, "convoy check: -o goes with --write\n");
        return EXIT_USAGE;
    }
    if (dumps_plan(o, &status))
        return status;
    Graph *g = load_graph(o, &status);
    if (!g)
        return status;
    if (o->write)
        return write_spec(g->spec, prints(o) ? NULL : o->out);
    if (!plan_fits(g)) /* the spec is right all the same, and 'twin' writes it */
        diag_only_warn();
    (void)diag_flush(stderr);
    if (o->json)
        return print_json(g);
    print_text(g, o->spec);
    return EXIT_OK;
}
