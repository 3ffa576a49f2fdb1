/* levels.c - what differs, level by level.
 *
 * Everything here is looked up by name: b was built once more under a's names (diff/align.c). Rows are collected a
 * layer at a time; those that say the same of several layers are made one afterwards.
 *
 * needs: both sides whole, and the pairs of layers.  sets: level[] of those that are there. */
#include "cvy_private.h"
#include "diff.h"
#include "read.h"
#include "words.h"

#include <math.h>
#include <string.h>

const char *const level_names[] = {"spec", "graph", "plan", "infer", "cost", "c", NULL};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

void diff_note(const char ***list, int *n, const char *text)
{
    *PUSH(*list, *n) = text;
}

static void level_note(Diff *d, Level l, const char *text)
{
    diff_note(&d->level[l].note, &d->level[l].nnote, text);
}

/* ---- rows ---- */

static int pair_of(const Diff *d, const char *name, size_t len)
{
    char text[MAX_PATH_NAME + 32]; /* what is new has a number after its name */

    if (len >= sizeof text)
        return -1;
    memcpy(text, name, len);
    text[len] = '\0';
    return names_find(&d->pair_at, text) - 1;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

/* The layer that a dotted word begins with, the longest that there is: its pair and the length of its name. */
static int layer_of(const Diff *d, const char *word, size_t len, size_t *used)
{
    for (size_t n = len; n > 0; n--)
        if (n == len || word[n] == '.') {
            const int i = pair_of(d, word, n);
            if (i >= 0) {
                *used = n;
                return i;
            }
        }
    return -1;
}

/* A text without the names of the layer that it is about and of the one before, so that what is said of several layers
 * reads the same. owners: with words for which of the two it is, where that is all that differs. */
static const char *plain(const Diff *d, const char *where, const char *text, bool owners)
{
    size_t used;
    int last = -1;
    const int own = where ? layer_of(d, where, strlen(where), &used) : -1;
    Buf b = {0};

    if (!text || own < 0)
        return text;
    buf_puts(&b, "");
    for (const char *c = text; *c;) {
        size_t len = 0;
        while (is_word(c[len]))
            len++;
        const int i = len ? layer_of(d, c, len, &used) : -1;
        if (i >= 0 && (i == own || i == own - 1)) {
            if (used < len && owners && i != last)
                buf_puts(&b, i == own ? "its own " : "the layer before's ");
            last = i;
            if (used < len)
                buf_add(&b, c + used + 1, len - used - 1);
            else
                buf_puts(&b, i == own ? "its layer" : "the layer before");
            c += len;
        } else if (len) {
            buf_add(&b, c, len);
            c += len;
        } else {
            buf_add(&b, c++, 1);
        }
    }
    return b.text;
}

void diff_row(Diff *d, Level l, const char *key, const char *where, const char *a, const char *b, const char *why)
{
    DiffLevel *level = &d->level[l];

    if (same_text(a, b))
        return;
    const char *pa = plain(d, where, a, false), *pb = plain(d, where, b, false);
    if (same_text(pa, pb)) {
        pa = plain(d, where, a, true);
        pb = plain(d, where, b, true);
    }
    if (same_text(pa, pb)) {
        pa = a;
        pb = b;
    }
    for (int i = 0; where && i < level->nrow; i++) {
        DiffRow *r = &level->row[i];
        if (r->nwhere && strcmp(r->key, key) == 0 && same_text(r->plain_a, pa) && same_text(r->plain_b, pb) &&
            same_text(r->why, why)) {
            r->a = r->plain_a;
            r->b = r->plain_b;
            *PUSH(r->where, r->nwhere) = where;
            return;
        }
    }
    DiffRow *r = PUSH(level->row, level->nrow);
    *r = (DiffRow){.key = key, .a = a, .b = b, .why = why, .plain_a = pa, .plain_b = pb};
    if (where)
        *PUSH(r->where, r->nwhere) = where;
}

/* ---- spec ---- */

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

static void compare_facts(Diff *d, Level l, const char *where, const Facts *a, const Facts *b)
{
    for (int i = 0; i < a->n; i++)
        if (fact_of(b, a->fact[i].key) || !norms_own(a->fact[i].key))
            diff_row(d, l, a->fact[i].key, where, a->fact[i].text, fact_of(b, a->fact[i].key), NULL);
    for (int i = 0; i < b->n; i++)
        if (!fact_of(a, b->fact[i].key) && !norms_own(b->fact[i].key))
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
    fact(&f, "classes", xprintf("%d", s->classes));
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
    fact(&f, "train.schedule", schedule_names[t->schedule]);
    fact(&f, "train.warmup", real_text(t->warmup));
    for (int k = 0; k < CVY_SETTINGS; k++)
        fact(&f, xprintf("train.%s", cvy_settings[k].name), real_text(t->setting[k]));
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
        if (info->name)
            fact(&f, info->name,
                 info->kind == ARG_SIZE    ? pair_text(weight->arg[a].size)
                 : info->kind == ARG_SIDES ? sides_text(weight->arg[a].sides, 2)
                 : weight->arg[a].count    ? xprintf("%d", weight->arg[a].count)
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
static int other_half(const Diff *d, int i)
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

static void spec_level(Diff *d)
{
    const Spec *a = d->a.g->spec, *b = d->renamed->spec;
    const Facts fa = spec_facts(a), fb = spec_facts(d->b.g->spec);

    compare_facts(d, LEVEL_SPEC, NULL, &fa, &fb);
    renamed_layers(d);
    for (int i = 0; i < d->npair; i++) {
        const int x = d->pair[i][0], y = d->pair[i][1];
        const int other = x < 0 || y < 0 ? other_half(d, i) : -1;
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

/* ---- graph ---- */

const char *graph_op_text(const Graph *g, int i)
{
    return op_text(g->op[i].kind, g->op[i].arg, g->dims, false);
}

typedef struct Ops {
    const Graph *g;
    int first, n; /* a layer's */
} Ops;

static Ops ops_of(const Graph *g, const char *layer)
{
    Ops o = {g, 0, 0};

    for (int i = 1; i < g->nop - 1; i++)
        if (strcmp(g->op[i].layer, layer) == 0)
            o.first = o.n++ ? o.first : i;
    return o;
}

static const Op *op_at(const Ops *o, int i)
{
    return &o->g->op[o->first + i];
}

static const char *text_at(const Ops *o, int i)
{
    return graph_op_text(o->g, o->first + i);
}

static bool same_op_at(const Ops *x, int i, const Ops *y, int j)
{
    const Op *a = op_at(x, i), *b = op_at(y, j);

    return a->kind == b->kind && strcmp(text_at(x, i), text_at(y, j)) == 0;
}

static const char *ops_text(const Ops *o)
{
    Buf b = {0};

    for (int i = 0; i < o->n; i++)
        buf_printf(&b, "%s%s", i ? ", " : "", text_at(o, i));
    return b.text;
}

/* For each stage of x, which of y it is, by what it does and which of several such: -1: none. */
static void match_stages(const Ops *x, const Ops *y, int *to)
{
    for (int i = 0; i < x->n; i++) {
        int nth = 0;
        to[i] = -1;
        for (int k = 0; k < i; k++)
            nth += same_op_at(x, k, x, i);
        for (int j = 0; j < y->n && to[i] < 0; j++)
            if (same_op_at(y, j, x, i) && nth-- == 0)
                to[i] = j;
    }
}

/* "relu moved in front of bn": what changed sides with what. */
static const char *moves_text(const Ops *x, const Ops *y)
{
    int *to = xalloc(sizeof *to * (size_t)(x->n + 1)), *back = xalloc(sizeof *back * (size_t)(y->n + 1));
    Buf b = {0};

    match_stages(x, y, to);
    match_stages(y, x, back);
    for (int i = 0; i < x->n; i++)
        if (to[i] < 0)
            buf_printf(&b, "%s%s is gone", b.len ? "; " : "", text_at(x, i));
    for (int j = 0; j < y->n; j++)
        if (back[j] < 0)
            buf_printf(&b, "%s%s is new%s", b.len ? "; " : "", text_at(y, j),
                       j          ? xprintf(", after %s", text_at(y, j - 1))
                       : y->n > 1 ? xprintf(", in front of %s", text_at(y, 1))
                                  : "");
    /* the stage that crossed most is the one that moved; of a pair, the one that is no weight op */
    for (;;) {
        int most = 0, who = -1;
        for (int i = 0; i < x->n; i++) {
            int crossed = 0;
            for (int k = 0; k < x->n && to[i] >= 0; k++)
                crossed += to[k] >= 0 && ((k < i) != (to[k] < to[i]));
            crossed = crossed ? 4 * crossed + 2 * (op_info[op_at(x, i)->kind].cls != CLASS_WEIGHT) +
                                    !op_is_batch_norm(op_at(x, i)->kind)
                              : 0;
            if (crossed > most) {
                most = crossed;
                who = i;
            }
        }
        if (who < 0)
            return b.text;
        Buf front = {0}, behind = {0};
        for (int k = 0; k < x->n; k++)
            if (to[k] >= 0 && (k < who) != (to[k] < to[who])) {
                Buf *side = k < who ? &front : &behind;
                buf_printf(side, "%s%s", side->len ? " and " : "", text_at(x, k));
            }
        buf_printf(&b, "%s%s moved", b.len ? "; " : "", text_at(x, who));
        if (front.len)
            buf_printf(&b, " in front of %s", front.text);
        if (behind.len)
            buf_printf(&b, "%s after %s", front.len ? "," : "", behind.text);
        to[who] = -1;
    }
}

static const char *bias_text(const Op *op)
{
    return op->bias_why ? op->bias_why : op->bias ? "there, as the spec says" : "none, as the spec says";
}

static const Op *weight_op(const Ops *o)
{
    for (int i = 0; i < o->n; i++)
        if (op_info[op_at(o, i)->kind].cls == CLASS_WEIGHT)
            return op_at(o, i);
    return NULL;
}

static const char *shape_text(Shape s)
{
    return xprintf("%d x %d x %d", s.c, s.h, s.w);
}

static int64_t weights_of(const Ops *o)
{
    int64_t sum = 0;

    for (int i = 0; i < o->g->nparam; i++) {
        const Param *p = &o->g->param[i];
        int64_t n = 1;
        for (int k = 0; k < p->ndim; k++)
            n *= p->dim[k];
        if (p->role < PARAM_MEAN && p->op >= o->first && p->op < o->first + o->n)
            sum += n;
    }
    return sum;
}

/* A joint or first op reads what is not just the op before it. */
static const char *sources_text(const Ops *o)
{
    const Op *op = op_at(o, 0);
    Buf b = {0};

    if (op->nin == 1 && op->in == o->first - 1)
        return NULL;
    for (int k = 0; k < op->nin; k++)
        buf_printf(&b, "%s%s", k ? ", " : "", o->g->op[op->ins[k]].path);
    return b.text;
}

static const char *amount(double v)
{
    return number_text(v);
}

/* Stages that are the same words in both, but for arguments that keys give: a conv's window, a norm's eps. */
static void argument_rows(Diff *d, const char *name, const Ops *x, const Ops *y)
{
    const int dims =
        x->g->dims == y->g->dims ? x->g->dims : 2; /* else a length's and an image's 3 would read the same */

    for (int i = 0; i < x->n && i < y->n; i++) {
        const Op *a = op_at(x, i), *b = op_at(y, i);
        if (a->kind == b->kind && same_text(text_at(x, i), text_at(y, i)) && !op_same_args(a->kind, a->arg, b->arg))
            diff_row(d, LEVEL_GRAPH, "arguments", name, op_text(a->kind, a->arg, dims, true),
                     op_text(b->kind, b->arg, dims, true), NULL);
    }
}

static void graph_layer(Diff *d, const char *name)
{
    const Ops x = ops_of(d->a.g, name), y = ops_of(d->renamed, name);

    if (!x.n && !y.n)
        return; /* the identity: no op */
    if (!x.n || !y.n) {
        const Ops *o = x.n ? &x : &y;
        const char *line = xprintf("%s: %s, %s weights", ops_text(o), shape_text(op_at(o, o->n - 1)->shape),
                                   amount((double)weights_of(o)));
        diff_row(d, LEVEL_GRAPH, "layer", name, x.n ? line : NULL, y.n ? line : NULL, NULL);
        return;
    }
    diff_row(d, LEVEL_GRAPH, "stages", name, ops_text(&x), ops_text(&y), moves_text(&x, &y));
    argument_rows(d, name, &x, &y);
    const Op *wx = weight_op(&x), *wy = weight_op(&y);
    const bool bias = wx && wy && wx->bias != wy->bias;
    if (bias)
        diff_row(d, LEVEL_GRAPH, "bias", name, bias_text(wx), bias_text(wy), NULL);
    diff_row(d, LEVEL_GRAPH, "output", name, shape_text(op_at(&x, x.n - 1)->shape),
             shape_text(op_at(&y, y.n - 1)->shape), NULL);
    diff_row(d, LEVEL_GRAPH, "reads", name, sources_text(&x), sources_text(&y), NULL);
    if (!bias && same_text(ops_text(&x), ops_text(&y))) /* else that is why */
        diff_row(d, LEVEL_GRAPH, "weights", name, amount((double)weights_of(&x)), amount((double)weights_of(&y)), NULL);
}

static const char *input_text(const Graph *g)
{
    const Shape s = g->op[0].shape;

    return g->dims == 1 ? xprintf("%d x %d", s.c, s.w) : shape_text(s);
}

static void graph_level(Diff *d)
{
    diff_row(d, LEVEL_GRAPH, "input", NULL, input_text(d->a.g), input_text(d->renamed), NULL);
    diff_row(d, LEVEL_GRAPH, "classes", NULL, xprintf("%d", d->a.g->spec->classes),
             xprintf("%d", d->renamed->spec->classes), NULL);
    for (int i = 0; i < d->npair; i++)
        if (d->pair[i][0] >= 0 || other_half(d, i) < 0)
            graph_layer(d, d->name[i]);
}

/* ---- plan ---- */

static const Kernel *kernel_named(const Plan *p, const char *name)
{
    for (int i = 0; i < p->nkernel; i++)
        if (strcmp(p->kernel[i].name, name) == 0)
            return &p->kernel[i];
    return NULL;
}

/* A layer's pass, under whatever name, that the other side does not have under its own. */
static const Kernel *pass_of(const Plan *p, const Plan *other, const Kernel *like)
{
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        if (k->kind == KERNEL_PASS && strcmp(k->layer, like->layer) == 0 && !kernel_named(other, k->name))
            return k;
    }
    return NULL;
}

static const char *stored_text(const KernelWords *w, bool size)
{
    return size && w->stored_size ? xprintf("%s, %s", w->stored, w->stored_size) : w->stored;
}

static const char *kernel_line(const KernelWords *w)
{
    return xprintf("%s; before: %s%s%s%s%s", w->kind, w->before, w->after ? "; after: " : "", w->after ? w->after : "",
                   w->stored ? "; stored: " : "", w->stored ? stored_text(w, true) : "");
}

static void kernel_rows(Diff *d, const Kernel *x, const Kernel *y)
{
    const KernelWords a = x ? plan_words(d->a.p, x) : (KernelWords){0},
                      b = y ? plan_words(d->b.p, y) : (KernelWords){0};
    const Kernel *any = x ? x : y;
    const char *where = any->w ? any->layer : any->kind == KERNEL_LOSS ? "loss" : any->name;

    if (!x || !y) {
        diff_row(d, LEVEL_PLAN, "kernel", where, x ? kernel_line(&a) : NULL, y ? kernel_line(&b) : NULL, NULL);
        return;
    }
    if (strcmp(x->name, y->name) != 0)
        diff_row(d, LEVEL_PLAN, "name", where, x->name, y->name, NULL);
    diff_row(d, LEVEL_PLAN, "kind", where, a.kind, b.kind, NULL);
    diff_row(d, LEVEL_PLAN, "reads", where, a.reads, b.reads, NULL);
    diff_row(d, LEVEL_PLAN, "before", where, a.before, b.before, NULL);
    diff_row(d, LEVEL_PLAN, "after", where, a.after, b.after, NULL);
    const bool resized = !same_text(a.stored_size, b.stored_size);
    diff_row(d, LEVEL_PLAN, "stored", where, stored_text(&a, resized), stored_text(&b, resized),
             b.stored_why ? b.stored_why : a.stored_why);
    diff_row(d, LEVEL_PLAN, "tile", where, a.tile, b.tile, NULL);
}

/* Which kernels are byte-identical. */
static const char *identical(const Diff *d)
{
    const char *name = d->a.g->spec->name;
    int same = 0, all = 0, cores = 0, cores_same = 0;
    Buf differ = {0};

    for (int i = 0; i < d->level[LEVEL_C].nfile; i++) {
        const DiffFile *f = &d->level[LEVEL_C].file[i];
        if (strncmp(f->name, "core_", 5) == 0) {
            cores++;
            cores_same += f->in_a && f->in_b && !f->lines;
        }
    }
    for (int i = 0; i < d->a.p->nkernel; i++) {
        const char *file = xprintf("%s_%s.c", name, d->a.p->kernel[i].name);
        bool is = false;
        for (int k = 0; k < d->level[LEVEL_C].nfile; k++) {
            const DiffFile *f = &d->level[LEVEL_C].file[k];
            is |= strcmp(f->name, file) == 0 && f->in_a && f->in_b && !f->lines;
        }
        all++;
        same += is;
        if (!is)
            buf_printf(&differ, "%s%s", differ.len ? ", " : "", d->a.p->kernel[i].name);
    }
    if (same == all)
        return xprintf("byte-identical: all %d kernels", all);
    return xprintf("byte-identical: %d of %d kernels, %s cores (the loops, which know no order)%s%s", same, all,
                   cores_same == cores ? "all" : xprintf("%d of %d", cores_same, cores),
                   all - same <= 8 ? "; different: " : "", all - same <= 8 ? differ.text : "");
}

static void plan_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;
    bool *taken = xalloc((size_t)b->nkernel + 1);

    for (int i = 0; i < a->nkernel; i++) {
        const Kernel *x = &a->kernel[i], *y = kernel_named(b, x->name);
        if (!y && x->kind == KERNEL_PASS && (y = pass_of(b, a, x)) && taken[y - b->kernel])
            y = NULL;
        if (y)
            taken[y - b->kernel] = true;
        kernel_rows(d, x, y);
    }
    for (int i = 0; i < b->nkernel; i++)
        if (!taken[i])
            kernel_rows(d, NULL, &b->kernel[i]);
}

/* ---- inference ---- */

static const char *norm_place_text(const Plan *p, const char *path)
{
    for (int i = 0; i < p->nnorm; i++)
        if (strcmp(p->g->op[p->norm[i].op].path, path) == 0)
            return p->norm[i].inference ? p->norm[i].inference : "as it is";
    return NULL;
}

static void infer_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;

    for (int i = 0; i < a->nnorm; i++) {
        const char *path = a->g->op[a->norm[i].op].path;
        diff_row(d, LEVEL_INFER, "norm", path, norm_place_text(a, path), norm_place_text(b, path), NULL);
    }
    for (int i = 0; i < b->nnorm; i++) {
        const char *path = b->g->op[b->norm[i].op].path;
        if (!norm_place_text(a, path))
            diff_row(d, LEVEL_INFER, "norm", path, NULL, norm_place_text(b, path), NULL);
    }
    if (a->ninfer != b->ninfer)
        diff_row(d, LEVEL_INFER, "kernels", NULL, xprintf("%d", a->ninfer), xprintf("%d", b->ninfer), NULL);
}

/* ---- cost ---- */

const char *number_text(double v)
{
    const char *s = xprintf("%.0f", fabs(v));
    const size_t n = strlen(s);
    Buf b = {0};

    buf_puts(&b, v < 0 ? "-" : "");
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            buf_puts(&b, ",");
        buf_add(&b, &s[i], 1);
    }
    return b.text;
}

DiffCost *diff_cost(Diff *d, const char *name, const char *unit, bool known_a, double a, bool known_b, double b)
{
    DiffLevel *l = &d->level[LEVEL_COST];
    DiffCost *c = PUSH(l->cost, l->ncost);

    *c = (DiffCost){name, unit, known_a, known_b, a, b, NULL};
    return c;
}

bool cost_same(const DiffCost *c)
{
    return !c->note && c->known_a == c->known_b && c->a == c->b; // NOLINT: counts are whole numbers
}

const char *cost_change(const DiffCost *c)
{
    if (c->note)
        return c->note;
    if (!c->known_a || !c->known_b)
        return "";
    if (cost_same(c))
        return "same";
    if (c->a == 0)
        return "new";
    const double percent = 100 * (c->b - c->a) / c->a;
    return fabs(percent) >= 0.05 ? xprintf("%+.1f %%", percent)
                                 : xprintf("%s%s", c->b > c->a ? "+" : "", number_text(c->b - c->a));
}

static const OutFile *file_named(const OutDir *o, const char *name)
{
    for (int i = 0; i < o->n; i++)
        if (strcmp(o->file[i].name, name) == 0)
            return &o->file[i];
    return NULL;
}

static bool is_network_c(const char *name)
{
    const size_t n = strlen(name);

    return n > 2 && name[n - 2] == '.' && strchr("ch", name[n - 1]) && strncmp(name, "runtime/", 8) != 0;
}

static int64_t lines_of(const OutDir *o)
{
    int64_t n = 0;

    for (int i = 0; i < o->n; i++)
        for (size_t k = 0; is_network_c(o->file[i].name) && k < o->file[i].len; k++)
            n += o->file[i].text[k] == '\n';
    return n;
}

/* NAME.h: of a folder, the header that says how many bytes an arena has. */
static const char *header_of(const OutDir *o, const char **name)
{
    for (int i = 0; i < o->n; i++) {
        const char *at = strstr(o->file[i].text, "_ARENA_BYTES(batch, threads) \\\n"), *f = o->file[i].name;
        if (at && !strchr(f, '/') && strcmp(f + strlen(f) - 2, ".h") == 0) {
            *name = xstrndup(f, strlen(f) - 2);
            return o->file[i].text;
        }
    }
    return NULL;
}

typedef struct Arena {
    bool known;
    double fixed, train, image, thread;
} Arena;

/* The number after `before`, from *at on, which then stands after it; known becomes false where there is none. */
static double number_after(const char **at, const char *before, bool *known)
{
    const char *from = *at ? strstr(*at, before) : NULL;
    int64_t v = 0;

    if (from) {
        from += strlen(before);
        *at = from + strspn(from, "0123456789");
    }
    *known = from && *known && text_int(xstrndup(from, (size_t)(*at - from)), &v);
    return (double)v;
}

static Arena arena_of(const OutDir *o)
{
    const char *name, *at = header_of(o, &name);
    Arena a = {.known = at != NULL};

    number_after(&at, "_ARENA_BYTES(batch, threads) \\\n", &(bool){true});
    a.fixed = number_after(&at, "((size_t)", &a.known);
    a.train = number_after(&at, "+ ((batch) > 0 ? (size_t)", &a.known);
    a.image = number_after(&at, "+ (size_t)(batch) * ", &a.known);
    a.thread = number_after(&at, "+ (size_t)(threads) * ", &a.known);
    return a;
}

static void arena_costs(Diff *d)
{
    const Arena a = arena_of(&d->a.out), b = arena_of(&d->b.out);

    if (!a.known && !b.known)
        return;
    diff_cost(d, "arena, training: once", "bytes", a.known, a.fixed + a.train, b.known, b.fixed + b.train);
    diff_cost(d, "  and per image of the batch", "bytes", a.known, a.image, b.known, b.image);
    diff_cost(d, "  and a thread", "bytes", a.known, a.thread, b.known, b.thread);
    diff_cost(d, "arena, inference, one thread", "bytes", a.known, a.fixed + a.thread, b.known, b.fixed + b.thread);
}

static void text_costs(Diff *d)
{
    diff_cost(d, "files of C", "", true, 0, true, 0);
    DiffCost *c = &d->level[LEVEL_COST].cost[d->level[LEVEL_COST].ncost - 1];
    for (int i = 0; i < d->a.out.n; i++)
        c->a += is_network_c(d->a.out.file[i].name);
    for (int i = 0; i < d->b.out.n; i++)
        c->b += is_network_c(d->b.out.file[i].name);
    diff_cost(d, "lines of C", "", true, (double)lines_of(&d->a.out), true, (double)lines_of(&d->b.out));
}

static void cost_level(Diff *d)
{
    const Plan *a = d->a.p, *b = d->b.p;

    diff_cost(d, "parameters", "", true, (double)a->g->weights, true, (double)b->g->weights);
    diff_cost(d, "FLOPs forward, per image", "", true, (double)a->g->flops, true, (double)b->g->flops);
    diff_cost(d, "stored for backward, per image", "bytes", true, (double)a->stored_bytes, true,
              (double)b->stored_bytes);
    arena_costs(d);
    diff_cost(d, "kernels, training", "", true, a->nkernel, true, b->nkernel);
    diff_cost(d, "kernels, inference", "", true, a->ninfer, true, b->ninfer);
    text_costs(d);
}

/* ---- C ---- */

static void add_file(DiffLevel *l, const char *name, const OutFile *a, const OutFile *b)
{
    DiffFile *f = PUSH(l->file, l->nfile);

    *f = (DiffFile){.name = name, .in_a = a != NULL, .in_b = b != NULL};
    if (!a || !b || a->len != b->len || memcmp(a->text, b->text, a->len) != 0)
        f->lines = text_diff(a ? a->text : "", b ? b->text : "");
}

/* The files of both, in a's sequence, b's own after those that they stand after there. */
static void c_level(Diff *d)
{
    DiffLevel *l = &d->level[LEVEL_C];
    const OutDir *a = &d->a.out, *b = &d->b.out;
    int next = 0; /* of b */

    for (int i = 0; i < a->n; i++) {
        const OutFile *other = file_named(b, a->file[i].name);
        for (; other && next < b->n && &b->file[next] <= other; next++)
            if (!file_named(a, b->file[next].name))
                add_file(l, b->file[next].name, NULL, &b->file[next]);
        add_file(l, a->file[i].name, &a->file[i], other);
    }
    for (; next < b->n; next++)
        if (!file_named(a, b->file[next].name))
            add_file(l, b->file[next].name, NULL, &b->file[next]);
}

/* ---- all of it ---- */

bool level_same(const DiffLevel *l)
{
    for (int i = 0; i < l->nfile; i++)
        if (l->file[i].lines || l->file[i].in_a != l->file[i].in_b)
            return false;
    for (int i = 0; i < l->ncost; i++)
        if (!cost_same(&l->cost[i]) && !l->cost[i].note)
            return false;
    return l->nrow == 0;
}

bool diff_same(const Diff *d)
{
    for (int l = 0; l < LEVELS; l++)
        if (d->level[l].there && !level_same(&d->level[l]))
            return false;
    return true;
}

void diff_front(Diff *d)
{
    d->level[LEVEL_SPEC].there = d->level[LEVEL_GRAPH].there = true;
    spec_level(d);
    graph_level(d);
    if (level_same(&d->level[LEVEL_SPEC])) { /* only written otherwise: what is emitted states the hash of what it is */
        Spec *s = xalloc(sizeof *s);
        *s = *d->renamed->spec;
        s->tree = d->a.g->spec->tree;
        s->head = d->a.g->spec->head;
        Graph *g = xalloc(sizeof *g);
        *g = *d->renamed;
        g->spec = s;
        d->renamed = g;
    }
}

void diff_levels(Diff *d)
{
    for (int l = 0; l < LEVELS; l++)
        d->level[l].there = true;
    c_level(d);
    plan_level(d);
    if (!level_same(&d->level[LEVEL_C]))
        level_note(d, LEVEL_PLAN, identical(d));
    infer_level(d);
    cost_level(d);
}

/* ---- two folders: what their headers say ---- */

/* What stands between two words of a header, in plain characters; NULL where they are not there. */
static const char *between(const char *text, const char *before, const char *after)
{
    const char *at = text ? strstr(text, before) : NULL, *end = at ? strstr(at + strlen(before), after) : NULL;

    if (!end)
        return NULL;
    const char *said = xstrndup(at + strlen(before), (size_t)(end - at) - strlen(before));
    return cvy_plain(said, xalloc(8 * strlen(said) + 8), 8 * strlen(said) + 8);
}

/* A header may have been changed by hand: what is no whole number is not known. */
static double number_in(const char *text, bool *known)
{
    int64_t v = 0;

    *known = text && text_int(text, &v);
    return (double)v;
}

static void header_cost(Diff *d, const char *name, const char *unit, const char *a, const char *b)
{
    bool ka, kb;
    const double va = number_in(a, &ka), vb = number_in(b, &kb);

    if (ka || kb)
        diff_cost(d, name, unit, ka, va, kb, vb);
}

bool diff_emitted_from(const OutDir *out, const char *hash)
{
    const char *name, *text = header_of(out, &name);

    return !text || strstr(text, xprintf("with hash %s", hash));
}

void diff_folders(Diff *d)
{
    static const char *const said[][3] = {{"version", "emitted by convoy ", " from"},
                                          {"hash of the spec", "with hash ", ";"},
                                          {"order", "; order ", "; target"},
                                          {"target", "; target ", "\n"}};
    static const char *const costs[][4] = {{"parameters", "", "\n * ", " parameters"},
                                           {"FLOPs forward, per image", "", "parameters, ", " FLOPs"},
                                           {"stored for backward, per image", "bytes", "forward, ", " bytes"}};
    const char *name_a = NULL, *name_b = NULL;
    const char *a = header_of(&d->a.out, &name_a), *b = header_of(&d->b.out, &name_b);

    d->level[LEVEL_SPEC].there = d->level[LEVEL_COST].there = d->level[LEVEL_C].there = true;
    diff_row(d, LEVEL_SPEC, "name", NULL, name_a, name_b, NULL);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        diff_row(d, LEVEL_SPEC, said[i][0], NULL, between(a, said[i][1], said[i][2]),
                 between(b, said[i][1], said[i][2]), NULL);
    diff_row(d, LEVEL_SPEC, "network", NULL, between(a, " - ", "\n"), between(b, " - ", "\n"), NULL);
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++)
        header_cost(d, costs[i][0], costs[i][1], between(a ? strstr(a, "emitted by") : NULL, costs[i][2], costs[i][3]),
                    between(b ? strstr(b, "emitted by") : NULL, costs[i][2], costs[i][3]));
    arena_costs(d);
    text_costs(d);
    c_level(d);
}
