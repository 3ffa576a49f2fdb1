/* spec_fields.c - what the spec and the target say of a network, for every file's head and its data.
 *
 * needs: a checked graph. sets: fields of a record. */
#include "emit.h"

#include <string.h>

const char *emit_orders(const Graph *g)
{
    Buf b = {0};
    const char *layer = NULL;

    for (int i = 1; i + 1 < g->nop; i++) {
        const Op *o = &g->op[i];
        const bool same = layer && strcmp(layer, o->layer) == 0;
        buf_printf(&b, "%s%s", same ? "-" : layer ? " " : "", op_info[o->kind].name);
        layer = o->layer;
    }
    return b.text ? b.text : "";
}

const char *emit_hash(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return xprintf("%016llx", (unsigned long long)h);
}

const char *emit_spec_hash(const Spec *s)
{
    return emit_hash(spec_text(s));
}

char *emit_channel_list(const double *v, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", emit_float(v[i]));
    return b.text;
}

void emit_part(Rec *r, const char *name, const char *template)
{
    Rec *part = rec_new();

    rec_str(part, "template", template);
    rec_rec(r, name, part);
}

static const char *class_weights(const Spec *s)
{
    const double *w = s->train.class_weight;

    return w ? xprintf("(const float[]){%s}", emit_channel_list(w, s->classes)) : "NULL";
}

/* The numbers of a step of a training with one rate, those that are not 0. hyper: the optimiser's. */
static const char *step_text(const Spec *s, const char *hyper)
{
    const SpecTrain *t = &s->train;
    Buf b = {0};

    buf_printf(&b, ".lr = %s", emit_float(t->lr));
    if (t->weight_decay != 0)
        buf_printf(&b, ", .weight_decay = %s", emit_float(t->weight_decay));
    if (t->weight_decay != 0 && t->decay_all)
        buf_printf(&b, ", .weight_decay_other = %s", emit_float(t->weight_decay));
    buf_printf(&b, ", .hyper = {%s}, .seed = UINT64_C(%lld)", hyper, (long long)t->seed);
    if (t->setting[CVY_LABEL_SMOOTHING] != 0)
        buf_printf(&b, ", .label_smoothing = %s", emit_float(t->setting[CVY_LABEL_SMOOTHING]));
    if (t->class_weight)
        buf_printf(&b, ", .class_weight = %s", class_weights(s));
    return b.text;
}

const TargetWords emit_target[CVY_TARGETS] = {
    [CVY_CLASS] = {"const int *", "labels", "n labels, ints from 0 to classes - 1", "classes"},
    [CVY_VALUES] = {"const float *", "values", "n x outputs floats, what the answers should be", "outputs"},
    [CVY_INPUT] = {"const float *", "values", "x itself, which the answers should be", "outputs"},
};

void emit_spec_fields(Rec *r, const Graph *g, const Target *t)
{
    const Spec *s = g->spec;
    const SpecTrain *train = &s->train;
    const Shape in = g->op[0].shape;

    rec_str(r, "name", s->name);
    rec_str(r, "NAME", upper(s->name));
    rec_str(r, "licence", EMITTED_LICENCE);
    emit_part(r, "part_api", "api");
    rec_str(r, "version", CONVOY_VERSION);
    rec_str(r, "hash", emit_spec_hash(s));
    rec_str(r, "order", emit_orders(g));
    rec_str(r, "target", t->name);
    rec_str(r, "flags", *t->flags ? xprintf(" (%s)", t->flags) : "");
    rec_str(r, "make_flags", t->flags);
    rec_str(r, "macro", t->macro);
    rec_str(r, "standard", xprintf("-std=%s", t->standard));
    rec_str(r, "c_std", t->standard);
    rec_str(r, "cmake_std", t->standard + 1);
    rec_fmt(r, "title", "a network for training and inference: %s -> %d %s", emit_input_text(g), s->classes,
            emit_target[train->loss->target].outputs);
    rec_str(r, "shape", emit_input_text(g));
    rec_int(r, "c", in.c);
    if (g->spec->tokens)
        rec_int(r, "tokens", g->spec->tokens);
    rec_int(r, "h", in.h);
    rec_int(r, "w", in.w);
    rec_int(r, "classes", s->classes);
    rec_str(r, "mean", emit_channel_list(train->mean, in.c));
    rec_str(r, "std", emit_channel_list(train->std, in.c));
    rec_str(r, "input_doc",
            s->tokens
                ? xprintf("A token is a whole number from 0 to %d, as a float; of anything else the answers are NaN",
                          s->tokens - 1)
                : xprintf("x = (byte / 255 - mean) / std, mean %s, std %s", emit_channel_list(train->mean, in.c),
                          emit_channel_list(train->std, in.c)));
    rec_str(r, "data", train->data);
    rec_int(r, "epochs", train->epochs);
    rec_int(r, "batch", train->batch);
    rec_str(r, "lr", real_text(train->lr));
    rec_str(r, "loss", train->loss->name);
    rec_str(r, "loss_code", train->loss->code);
    rec_str(r, "target_type", emit_target[train->loss->target].type);
    rec_str(r, "target_name", emit_target[train->loss->target].name);
    const bool classes = train->loss->target == CVY_CLASS;
    rec_str(r, "their_target",
            classes                             ? "their classes"
            : train->loss->target == CVY_VALUES ? "the numbers to learn of each"
                                                : "in values the same");
    rec_str(r, "example_type", classes ? "int *" : "float *");
    rec_str(r, "answers", classes ? "logits" : "numbers");
    rec_str(r, "no_target", classes ? "a label that is no class," : "");
    rec_str(r, "score_doc", classes ? "how many had the right class on top" : "0");
    rec_str(r, "outputs", emit_target[train->loss->target].outputs);
    rec_str(r, "target_doc", emit_target[train->loss->target].doc);
    rec_str(r, "optimiser", train->optimiser->name);
    Buf hyper = {0};
    int hypers = CVY_HYPERS;
    while (hypers > 1 && train->hyper[hypers - 1] == 0)
        hypers--;
    for (int k = 0; k < hypers; k++)
        buf_printf(&hyper, "%s%s", k ? ", " : "", real_text(train->hyper[k]));
    rec_str(r, "hyper", hyper.text);
    rec_str(r, "step", step_text(s, hyper.text));
    rec_str(r, "weight_decay", real_text(train->weight_decay));
    rec_int(r, "decay_all", train->decay_all);
    rec_str(r, "schedule", cvy_schedules[train->schedule].name);
    rec_str(r, "augment", augment_text(train));
    rec_str(r, "class_weight", train->balanced ? "cvy_balanced" : class_weights(s));
    rec_int(r, "weighs_classes", train->balanced || train->class_weight);
    emit_part(r, "part_step", "step");
    emit_part(r, "part_train_step", "train_step");
    emit_part(r, "part_train_section", "train_section");
    rec_int(r, "seed", train->seed);
    Buf setting = {0};
    for (int k = 0; k < CVY_SETTINGS; k++)
        buf_printf(&setting, "%s%s", k ? ", " : "", setting_text(k, train->setting[k]));
    rec_str(r, "setting", setting.text);
}

void emit_arena(Rec *r, int64_t fixed, int64_t train, int64_t image, int64_t thread)
{
    Buf b = {0};

    rec_int(r, "fixed_bytes", fixed);
    rec_int(r, "train_bytes", train);
    rec_int(r, "image_bytes", image);
    rec_int(r, "thread_bytes", thread);
    buf_printf(&b, "((size_t)%lld", (long long)fixed);
    if (train)
        buf_printf(&b, " + ((batch) > 0 ? (size_t)%lld : 0)", (long long)train);
    if (image)
        buf_printf(&b, " + (size_t)(batch) * %lld", (long long)image);
    if (thread)
        buf_printf(&b, " + (size_t)(threads) * %lld", (long long)thread);
    buf_puts(&b, ")");
    rec_str(r, "arena", b.text);
}

void emit_identity(Rec *r, const Graph *g)
{
    const char *const *lines = identity_lines(g);

    for (int i = 0; lines[i]; i++)
        rec_str(rec_add(r, "identity"), "line", lines[i]);
}
