/* write.c - Spec -> YAML with names, orders and defaults filled in (check --write), and the dump of -d spec.
 *
 * needs: a Spec.  sets: nothing. What spec_write writes, spec_read reads back to the same Spec. */
#include "spec.h"

#include <string.h>

static const char *pair(const int v[2])
{
    return v[0] == v[1] ? xprintf("%d", v[0]) : xprintf("[%d, %d]", v[0], v[1]);
}

/* An order inside { }, where a comma would end it. */
static const char *quoted(const char *order)
{
    return strchr(order, ',') ? xprintf("\"%s\"", order) : order;
}

static bool has_bn(const SpecLayer *l)
{
    for (int i = 0; i < l->nstage; i++)
        if (l->stage[i].op == OP_BN)
            return true;
    return false;
}

static void write_layer(const SpecLayer *l, FILE *to)
{
    const SpecStage *st = &l->stage[0];
    if (l->bare) {
        bool act = strcmp(op_info[st->op].stage, "act") == 0;
        fprintf(to, "  - %s: {name: %s", act ? "act" : op_info[st->op].name, l->name);
        if (act)
            fprintf(to, ", kind: %s", stage_text(st));
        else if (st->op == OP_DROP)
            fprintf(to, ", p: %s", real_text(st->arg));
        else if (st->op == OP_MAXPOOL || st->op == OP_AVGPOOL)
            fprintf(to, ", k: %s, stride: %s, padding: %s", pair(st->k), pair(st->stride), pair(st->padding));
    } else {
        OpKind weight = OP_LINEAR;
        for (int i = 0; i < l->nstage; i++)
            if (op_info[l->stage[i].op].cls == CLASS_WEIGHT)
                weight = l->stage[i].op;
        fprintf(to, "  - %s: {name: %s, out: %d", op_info[weight].name, l->name, l->out);
        if (weight == OP_CONV)
            fprintf(to, ", kernel: %s, stride: %s, padding: %s", pair(l->kernel), pair(l->stride), pair(l->padding));
        fprintf(to, ", bias: %s, order: %s", bias_names[l->bias], quoted(order_text(l->stage, l->nstage)));
    }
    if (has_bn(l))
        fprintf(to, ", eps: %s, momentum: %s", real_text(l->eps), real_text(l->momentum));
    fprintf(to, "}\n");
}

static const char *channels(const double *v, int n)
{
    bool same = true;
    Buf b = {0};
    n = n < 64 ? n : 64;
    for (int c = 1; c < n; c++)
        same = same && v[c] == v[0];
    if (same)
        return real_text(v[0]);
    for (int c = 0; c < n; c++)
        buf_printf(&b, "%s%s", c ? ", " : "[", real_text(v[c]));
    buf_puts(&b, "]");
    return b.text;
}

static const char *unroll_text(const Spec *s)
{
    return s->unroll == UNROLL_AUTO ? "auto" : s->unroll == UNROLL_FULL ? "full" : xprintf("%d", s->unroll);
}

void spec_write(const Spec *s, FILE *to)
{
    const SpecTrain *t = &s->train;
    fprintf(to, "name: %s\ninput: [%d, %d, %d]\nclasses: %d\n%slayers:\n", s->name, s->input[0], s->input[1],
            s->input[2], s->classes, s->head);
    for (int i = 0; i < s->nlayer; i++)
        write_layer(&s->layer[i], to);
    fprintf(to, "init: %s\n", init_names[s->init]);
    fprintf(to, "unroll: %s\n", unroll_text(s));
    fprintf(to, "train:\n  data: %s\n  epochs: %d\n  batch: %d\n  optimizer: sgd\n", t->data, t->epochs, t->batch);
    fprintf(to, "  lr: %s\n  momentum: %s\n  nesterov: %s\n", real_text(t->lr), real_text(t->momentum),
            t->nesterov ? "true" : "false");
    fprintf(to, "  weight_decay: %s\n  decay: %s\n", real_text(t->weight_decay), t->decay_all ? "all" : "weights");
    fprintf(to, "  schedule: %s\n  warmup: %s\n", schedule_names[t->schedule], real_text(t->warmup));
    fprintf(to, "  mean: %s\n  std: %s\n  seed: %lld\n", channels(t->mean, s->input[0]), channels(t->std, s->input[0]),
            (long long)t->seed);
}

void spec_dump(const Spec *s, FILE *to)
{
    const SpecTrain *t = &s->train;
    fprintf(to, "spec %s: input %d x %d x %d, classes %d, init %s, unroll %s\n", s->name, s->input[0], s->input[1], s->input[2],
            s->classes, init_names[s->init], unroll_text(s));
    for (int i = 0; i < s->nlayer; i++) {
        const SpecLayer *l = &s->layer[i];
        fprintf(to, "%-16s %s", l->name, order_text(l->stage, l->nstage));
        if (!l->bare)
            fprintf(to, " out %d kernel %dx%d stride %dx%d padding %dx%d bias %s", l->out, l->kernel[0], l->kernel[1],
                    l->stride[0], l->stride[1], l->padding[0], l->padding[1], bias_names[l->bias]);
        if (has_bn(l))
            fprintf(to, " eps %s momentum %s", real_text(l->eps), real_text(l->momentum));
        fprintf(to, "%s\n", l->bare ? " (bare)" : "");
    }
    fprintf(to,
            "train: data %s epochs %d batch %d sgd lr %s momentum %s%s weight_decay %s of %s schedule %s warmup %s\n",
            t->data, t->epochs, t->batch, real_text(t->lr), real_text(t->momentum), t->nesterov ? " nesterov" : "",
            real_text(t->weight_decay), t->decay_all ? "all" : "weights", schedule_names[t->schedule],
            real_text(t->warmup));
    fprintf(to, "       mean %s std %s seed %lld\n", channels(t->mean, s->input[0]), channels(t->std, s->input[0]),
            (long long)t->seed);
}
