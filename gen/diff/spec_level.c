/* spec_level.c - what differs in the specs.
 *
 * needs: the pairs of layers.  sets: level[LEVEL_SPEC]. */
#include "levels.h"
#include "places.h"

#include <string.h>

typedef struct Fact {
    const char *key, *text;
} Fact;
typedef struct Facts {
    Fact *fact;
    int n;
} Facts;

static void fact(Facts *f, const char *key, const char *text)
{
    *PUSH(f->fact, f->n) = (Fact){key, text};
}

static const char *fact_of(const Facts *f, const char *key)
{
    for (int i = 0; f && i < f->n; i++)
        if (strcmp(f->fact[i].key, key) == 0)
            return f->fact[i].text;
    return NULL;
}

/* What a layer has only where it has a norm: that it has one no more is said by its order. */
static bool norms_own(const char *key)
{
    return strcmp(key, "eps") == 0 || strcmp(key, "momentum") == 0;
}

/* The place inside a step, of gates or of units, in which a alone has a norm; PLACE_NONE: there is none, or several. */
static CellPlace lone_place(const Facts *a, const Facts *b, bool of_gates)
{
    CellPlace alone = PLACE_NONE;
    int n = 0;

    for (CellPlace p = PLACE_INPUT; p < PLACES; p++)
        if (place_info[p].of_gates == of_gates && fact_of(a, place_info[p].param) && !fact_of(b, place_info[p].param))
            alone = p, n++;
    return n == 1 ? alone : PLACE_NONE;
}

/* What it means that the norm of place a stands in place b. */
static const char *moved_text(CellPlace a, CellPlace b)
{
    const bool to_term = a == PLACE_SUM && b <= PLACE_RECURRENT, from_term = b == PLACE_SUM && a <= PLACE_RECURRENT;
    const CellPlace term = to_term ? b : a;
    const char *other = place_info[term == PLACE_INPUT ? PLACE_RECURRENT : PLACE_INPUT].of;

    if (to_term)
        return xprintf("from the sum to one of its terms: %s by itself, %s is added as it is", place_info[b].of, other);
    if (from_term)
        return xprintf("from %s, one term, to the sum: %s is normalised with it", place_info[a].of, other);
    return xprintf("of %s, not of %s", place_info[b].of, place_info[a].of);
}

static void compare_facts(Diff *d, Level l, const char *where, const Facts *a, const Facts *b)
{
    const bool gates = lone_place(a, b, true) && lone_place(b, a, true);
    const CellPlace from = lone_place(a, b, gates), to = lone_place(b, a, gates);
    const char *was = fact_of(a, place_info[from].param), *is = fact_of(b, place_info[to].param);
    const bool moved = from && to && strcmp(was, is) == 0;

    if (moved)
        diff_row(d, l, "norm moved", where, xprintf("%s in '%s'", was, place_info[from].name),
                 xprintf("%s in '%s'", is, place_info[to].name), moved_text(from, to));
    for (int i = 0; i < a->n; i++)
        if (moved && strcmp(a->fact[i].key, place_info[from].param) == 0)
            continue;
        else if (fact_of(b, a->fact[i].key) || !norms_own(a->fact[i].key))
            diff_row(d, l, a->fact[i].key, where, a->fact[i].text, fact_of(b, a->fact[i].key), NULL);
    for (int i = 0; i < b->n; i++)
        if (!fact_of(a, b->fact[i].key) && !norms_own(b->fact[i].key) &&
            !(moved && strcmp(b->fact[i].key, place_info[to].param) == 0))
            diff_row(d, l, b->fact[i].key, where, NULL, b->fact[i].text, NULL);
}

static const char *channels_text(const double *v, int n)
{
    Buf b = {0};

    for (int c = 0; c < n; c++)
        buf_printf(&b, "%s%s", c ? ", " : "", real_text(v[c]));
    return b.text;
}

static Facts spec_facts(const Spec *s)
{
    const SpecTrain *t = &s->train;
    Facts f = {0};

    fact(&f, "name", s->name);
    fact(&f, "input", xprintf("%d x %d x %d", s->input[0], s->input[1], s->input[2]));
    fact(&f, "dimensions", xprintf("%d", s->dims));
    fact(&f, t->loss->target == CVY_CLASS ? "classes" : "outputs", xprintf("%d", s->classes));
    fact(&f, "train.loss", t->loss->help);
    fact(&f, "init", init_text(s));
    fact(&f, "unroll", unroll_text(s));
    fact(&f, "winograd", winograd_names[s->winograd]);
    fact(&f, "recompute", s->recompute ? xprintf("%d", s->recompute) : "none");
    fact(&f, "train.data", t->data);
    fact(&f, "train.epochs", xprintf("%d", t->epochs));
    fact(&f, "train.batch", xprintf("%d", t->batch));
    fact(&f, "train.lr", real_text(t->lr));
    fact(&f, "train.optimizer", t->optimiser->name);
    for (int k = 0; k < cvy_hypers(t->optimiser); k++)
        fact(&f, xprintf("train.%s", t->optimiser->hyper[k].name), hyper_text(t, k));
    fact(&f, "train.weight_decay", real_text(t->weight_decay));
    fact(&f, "train.decay", t->decay_all ? "all" : "weights");
    fact(&f, "train.schedule", cvy_schedules[t->schedule].name);
    for (int k = 0; k < CVY_SETTINGS; k++)
        fact(&f, xprintf("train.%s", cvy_settings[k].name), setting_text(k, t->setting[k]));
    fact(&f, "train.augment", cvy_augments(&t->augment) ? augment_text(t) : "none");
    fact(&f, "train.class_weights",
         t->balanced       ? "balanced"
         : t->class_weight ? channels_text(t->class_weight, s->classes)
                           : "all 1");
    fact(&f, "train.freeze", t->nfreeze ? freeze_text(t) : "none");
    fact(&f, "train.mean", channels_text(t->mean, s->input[0]));
    fact(&f, "train.std", channels_text(t->std, s->input[0]));
    fact(&f, "train.seed", xprintf("%lld", (long long)t->seed));
    return f;
}

static const char *pair_text(const int v[2])
{
    return v[0] == v[1] ? xprintf("%d", v[0]) : xprintf("%d x %d", v[0], v[1]);
}

/* What a layer reads, where that is not the layer before it alone. */
static const char *reads_text(const Spec *s, int layer)
{
    const SpecLayer *l = &s->layer[layer];
    Buf b = {0};

    if (l->nfrom <= 1 && l->from == layer - 1)
        return NULL;
    for (int i = 0; i < l->nfrom || (!l->nfrom && !i); i++) {
        const int from = l->nfrom ? l->froms[i] : l->from;
        buf_printf(&b, "%s%s", i ? ", " : "", from < 0 ? "the input" : s->layer[from].name);
    }
    return b.text;
}

static const char *layer_kind_text(const SpecLayer *l)
{
    static const char *const forms[] = {
        [FORM_STAGES] = "stages", [FORM_SHORTCUT] = "shortcut", [FORM_ADD] = "add", [FORM_CONCAT] = "concat"};

    return l->form > FORM_BARE ? forms[l->form] : NULL;
}

static Facts layer_facts(const Spec *s, int i)
{
    static const char *const shortcuts[] = {"identity", "pad", "where shapes differ", "always"};
    static const char *const biases[] = {"auto", "true", "false"};
    const SpecLayer *l = &s->layer[i];
    const SpecStage *weight = layer_weight(l), *norm = NULL;
    Facts f = {0};

    for (int k = 0; k < l->nstage && !norm; k++)
        norm = op_is_norm(l->stage[k].op) ? &l->stage[k] : NULL;
    if (l->nstage)
        fact(&f, l->form == FORM_BARE ? "stage" : "order", order_text(l->stage, l->nstage, s->dims));
    if (l->form == FORM_SHORTCUT)
        fact(&f, "shortcut", shortcuts[l->shortcut]);
    if (l->form == FORM_SHORTCUT && l->shortcut >= SHORTCUT_PAD)
        fact(&f, "shortcut_from", l->else_from == l->from ? "input" : "pre");
    if (l->form == FORM_BLOCK)
        fact(&f, "out", l->out ? xprintf("%d", l->out) : "as many as it reads");
    for (int a = 0; weight && a < OP_ARGS; a++) {
        const ArgInfo *info = &op_info[weight->op].arg[a];
        for (int q = PLACE_INPUT; info->kind == ARG_PLACES && q < PLACES; q++)
            if (op_place(weight->op, weight->arg, (CellPlace)q))
                fact(&f, place_info[q].param, place_norm_text(weight->op, weight->arg, (CellPlace)q));
        const Arg usual = info->name ? op_usual(weight->op, a, weight->arg) : (Arg){0};
        const bool is_usual =
            info->kind == ARG_REAL ? weight->arg[a].real == usual.real : weight->arg[a].count == usual.count;
        if (info->name && info->kind != ARG_PLACES && !(info->quiet && is_usual))
            fact(&f, info->name,
                 info->kind == ARG_SIZE     ? pair_text(weight->arg[a].size)
                 : info->kind == ARG_SIDES  ? sides_text(weight->arg[a].sides, 2)
                 : info->kind == ARG_REAL   ? real_text(weight->arg[a].real)
                 : info->kind == ARG_FLAG   ? (weight->arg[a].count ? "true" : "false")
                 : info->kind == ARG_CHOICE ? info->words[weight->arg[a].count]
                 : weight->arg[a].count     ? xprintf("%d", weight->arg[a].count)
                                            : "depthwise");
    }
    if (l->form == FORM_BLOCK)
        fact(&f, "bias", biases[l->bias]);
    if (norm) { /* a layer's keys are those of all its norms */
        fact(&f, "eps", real_text(norm->arg[ARG_EPS].real));
        for (int k = 0; k < l->nstage; k++)
            if (op_is_batch_norm(l->stage[k].op) && !fact_of(&f, "momentum"))
                fact(&f, "momentum", real_text(l->stage[k].arg[ARG_MOMENTUM].real));
    }
    if (l->zero_gamma)
        fact(&f, "zero_gamma", "true");
    if (l->segment)
        fact(&f, "segment", xprintf("%d", l->segment));
    return f;
}

/* A whole layer on a line, for one that only one side has. */
static const char *layer_line(const Spec *s, int i)
{
    const SpecLayer *l = &s->layer[i];
    const Facts f = layer_facts(s, i);
    const char *kind = layer_kind_text(l);
    Buf b = {0};

    if (kind)
        buf_puts(&b, kind);
    for (int k = 0; k < f.n; k++) {
        const bool first = strcmp(f.fact[k].key, "order") == 0 || strcmp(f.fact[k].key, "stage") == 0;
        static const char *const usual[][2] = {{"kernel", "3"},     {"stride", "1"},  {"dilation", "1"},
                                               {"groups", "1"},     {"bias", "auto"}, {"eps", "1e-5"},
                                               {"momentum", "0.1"}, {"padding", "1"}};
        bool dull = false;
        for (size_t u = 0; u < sizeof usual / sizeof *usual; u++)
            dull |= strcmp(usual[u][0], f.fact[k].key) == 0 && strcmp(usual[u][1], f.fact[k].text) == 0;
        if (first)
            buf_printf(&b, "%s%s", b.len ? " " : "", f.fact[k].text);
        else if (!dull)
            buf_printf(&b, "%s%s %s", b.len ? ", " : "", f.fact[k].key, f.fact[k].text);
    }
    return b.text ? b.text : kind;
}

/* The pair on whose other side a layer of that name stands alone, too: it has moved. */
int diff_other_half(const Diff *d, int i)
{
    for (int k = 0; k < d->npair; k++)
        if (k != i && strcmp(d->name[k], d->name[i]) == 0)
            return k;
    return -1;
}

/* "after conv2", by the names of that side's layer before it. */
static const char *place_text(const Spec *s, int i)
{
    return i ? xprintf("after %s", s->layer[i - 1].name) : "first";
}

/* Which layers are called otherwise in b, as one row. */
static void renamed_layers(Diff *d)
{
    Buf a = {0}, b = {0};

    for (int i = 0; i < d->npair; i++)
        if (d->pair[i][0] >= 0 && d->pair[i][1] >= 0 && d->name_b[i]) {
            buf_printf(&a, "%s%s", a.len ? ", " : "", d->name[i]);
            buf_printf(&b, "%s%s", b.len ? ", " : "", d->name_b[i]);
        }
    if (!a.len)
        return;
    diff_row(d, LEVEL_SPEC, "names of layers", NULL, a.text, b.text,
             "they are what A's are, which give them their names from here on");
}

void diff_spec_level(Diff *d)
{
    const Spec *a = d->a.g->spec, *b = d->renamed->spec;
    const Facts fa = spec_facts(a), fb = spec_facts(d->b.g->spec);

    compare_facts(d, LEVEL_SPEC, NULL, &fa, &fb);
    renamed_layers(d);
    for (int i = 0; i < d->npair; i++) {
        const int x = d->pair[i][0], y = d->pair[i][1];
        const int other = x < 0 || y < 0 ? diff_other_half(d, i) : -1;
        if (other >= 0 && x < 0)
            continue; /* told at its place in a */
        if (other >= 0) {
            const int to = d->pair[other][1];
            diff_row(d, LEVEL_SPEC, "moved", d->name[i], place_text(a, x), place_text(b, to), layer_line(a, x));
            const Facts la = layer_facts(a, x), lb = layer_facts(b, to);
            compare_facts(d, LEVEL_SPEC, d->name[i], &la, &lb);
            continue;
        }
        if (x < 0 || y < 0) {
            diff_row(d, LEVEL_SPEC, "layer", d->name[i], x < 0 ? NULL : layer_line(a, x),
                     y < 0 ? NULL : layer_line(b, y), NULL);
            continue;
        }
        const Facts la = layer_facts(a, x), lb = layer_facts(b, y);
        compare_facts(d, LEVEL_SPEC, d->name[i], &la, &lb);
        if (!a->layer[x].in_group || !b->layer[y].in_group || d->npair == a->nlayer)
            diff_row(d, LEVEL_SPEC, "reads", d->name[i], reads_text(a, x), reads_text(b, y), NULL);
    }
}
