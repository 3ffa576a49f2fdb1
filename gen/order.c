/* order.c - "conv-maxpool(3,2,1)-bn-act" -> stages, and back.
 *
 *   order = stage { "-" stage }        stage = word [ "(" arg { "," arg } ")" ]        arg = number | H "x" W
 *
 * needs: a scalar and what `act` stands for.  sets: stages with all arguments filled in, or collected errors. */
#include "spec.h"

#include <string.h>

enum {
    MAX_STAGES = 64,
    MAX_WINDOW = 4096
};

/* Words that people know from elsewhere. */
static const struct {
    const char *word, *ours;
} also_known[] = {
    {"batchnorm", "bn"},
    {"batch_norm", "bn"},
    {"groupnorm", "gn"},
    {"group_norm", "gn"},
    {"layernorm", "ln"},
    {"layer_norm", "ln"},
    {"instancenorm", "in"},
    {"instance_norm", "in"},
    {"dropout", "drop"},
    {"max_pool", "maxpool"},
    {"pool", "maxpool"},
    {"avg_pool", "avgpool"},
    {"average_pool", "avgpool"},
    {"gap", "global_avg_pool"},
    {"fc", "linear"},
    {"dense", "linear"},
    {"activation", "act"},
    {"swish", "silu"},
    {"hardswish", "hard_swish"},
    {"h_swish", "hard_swish"},
    {"hardsigmoid", "hard_sigmoid"},
    {"h_sigmoid", "hard_sigmoid"},
    {"lrelu", "leaky_relu"},
    {"convolution", "conv"},
    {"conv2d", "conv"},
    {"global_average", "global_avg_pool"},
};
/* Words of the language whose stages are yet to come. */
static const char *const planned[] = {"rms", "prelu", "upsample", "lrn", "add", "concat", NULL};

typedef struct Parse {
    const Node *node;
    const char *s; /* where we are */
    OpKind weight;
    Words words;
    bool bad;
} Parse;

static int chars(const char *from, const char *to)
{
    int n = 0;
    for (; from < to; from++)
        n += ((unsigned char)*from & 0xc0) != 0x80;
    return n;
}

static Mark mark_at(const Parse *p, const char *from, const char *to)
{
    Mark m = p->node->mark;
    m.col += chars(p->node->text, from) + (p->node->quoted ? 1 : 0);
    m.len = to > from ? chars(from, to) : 1;
    return m;
}

static void skip_space(Parse *p)
{
    while (*p->s == ' ')
        p->s++;
}

const char *order_word(const char *text)
{
    while (*text == ' ')
        text++;
    size_t n = strcspn(text, "(");
    while (n && text[n - 1] == ' ')
        n--;
    return xstrndup(text, n);
}

/* One argument: a number, or "3x1". False where it is neither. */
static bool read_arg(const char *s, double *real, int pair[2])
{
    const char *x = strchr(s, 'x');
    int64_t h, w;
    pair[0] = pair[1] = -1;
    if (x) {
        if (!text_int(xstrndup(s, (size_t)(x - s)), &h) || !text_int(x + 1, &w))
            return false;
    } else {
        if (!text_real(s, real))
            return false;
        if (!text_int(s, &h))
            return true;
        w = h;
    }
    if (h >= 0 && h <= MAX_WINDOW && w >= 0 && w <= MAX_WINDOW) {
        pair[0] = (int)h;
        pair[1] = (int)w;
    }
    return true;
}

static const char *const window_words[] = {"k", "stride", "padding"};

bool pool_check(const SpecStage *st)
{
    for (int d = 0; d < 2; d++)
        if (st->padding[d] > st->k[d] / 2) {
            diag_error(st->mark, "a larger padding would make windows that hold nothing but padding",
                       "the padding of %s must be at most half its window (%d), not %d", op_info[st->op].name,
                       st->k[d] / 2, st->padding[d]);
            return false;
        }
    return true;
}

/* The arguments between parentheses, "3,2,1", into the stage. */
static bool set_args(SpecStage *st, const char *inside)
{
    const OpInfo *info = &op_info[st->op];
    double real[3] = {0};
    int pair[3][2];
    int n = 0;
    const char *usage = info->max_args ? xprintf("%s(%s)", info->name, info->args) : NULL;
    for (const char *a = inside; a;) {
        const char *comma = strchr(a, ',');
        size_t len = comma ? (size_t)(comma - a) : strlen(a);
        while (len && *a == ' ') {
            a++;
            len--;
        }
        while (len && a[len - 1] == ' ')
            len--;
        if (n == info->max_args) {
            diag_error(st->mark, usage, info->max_args ? "%s takes at most %d argument%s" : "%s takes no arguments",
                       info->name, info->max_args, info->max_args == 1 ? "" : "s");
            return false;
        }
        const char *text = xstrndup(a, len);
        if (!read_arg(text, &real[n], pair[n])) {
            diag_error(st->mark, usage, "'%.40s' is not a number in %s", text, info->name);
            return false;
        }
        bool whole = pair[n][0] >= 0;
        if (info->cls == CLASS_WINDOW && (!whole || (n < 2 && (pair[n][0] < 1 || pair[n][1] < 1)))) {
            diag_error(st->mark, usage, "the %s of %s must be from %d to %d, not %.40s", window_words[n], info->name,
                       n < 2 ? 1 : 0, MAX_WINDOW, text);
            return false;
        }
        if (info->cls == CLASS_WINDOW && size_dims == 1 && strchr(text, 'x')) {
            diag_error(st->mark, "where the input is [channels, length], a size is the one along the length",
                       "the %s of %s must be a number, not %.40s", window_words[n], info->name, text);
            return false;
        }
        if (info->cls == CLASS_WINDOW && size_dims == 1)
            pair[n][0] = n < 2 ? 1 : 0;
        if (info->cls != CLASS_WINDOW && strchr(text, 'x')) {
            diag_error(st->mark, usage, "'%.40s' is not a number in %s", text, info->name);
            return false;
        }
        n++;
        a = comma ? comma + 1 : NULL;
    }
    if (st->op == OP_MAXPOOL || st->op == OP_AVGPOOL) {
        for (int d = 0; d < 2; d++) {
            st->k[d] = pair[0][d];
            st->stride[d] = n > 1 ? pair[1][d] : pair[0][d];
            st->padding[d] = n > 2 ? pair[2][d] : 0;
        }
        return pool_check(st);
    }
    if (st->op == OP_DROP && !(real[0] >= 0 && real[0] < 1)) {
        diag_error(st->mark, "drop(0.5) drops half", "the rate of drop must be at least 0 and below 1, not %s",
                   real_text(real[0]));
        return false;
    }
    if (st->op == OP_GN && pair[0][0] < 0 && real[0] >= info->arg_least && real[0] <= info->arg_most) {
        diag_error(st->mark, usage, "the groups of gn must be a whole number, not %s", real_text(real[0]));
        return false;
    }
    if (op_takes_arg(st->op) && !(real[0] >= info->arg_least && real[0] <= info->arg_most)) {
        diag_error(st->mark, xprintf("%s(%s) is the usual one", info->name, real_text(info->arg)),
                   "the %s of %s must be from %s to %s, not %s", info->args, info->name, real_text(info->arg_least),
                   real_text(info->arg_most), real_text(real[0]));
        return false;
    }
    st->arg = real[0];
    return true;
}

const char *order_known_as(const char *word)
{
    for (size_t i = 0; i < sizeof also_known / sizeof *also_known; i++)
        if (strcmp(also_known[i].word, word) == 0)
            return xprintf("here it is called '%s'", also_known[i].ours);
    if (strcmp(word, "softmax") == 0 || strcmp(word, "loss") == 0 || strcmp(word, "cross_entropy") == 0)
        return "softmax cross-entropy of the last layer's output is the loss; it is not named";
    return NULL;
}

static void unknown_word(const Parse *p, const char *word, Mark at)
{
    const char *names[OP_KINDS + 3];
    int n = 0;
    names[n++] = "act";
    names[n++] = "norm";
    for (int k = 0; k < OP_KINDS; k++)
        if (op_find(op_info[k].name) == (OpKind)k &&
            (op_info[k].cls != CLASS_WEIGHT || k == (int)p->weight))
            names[n++] = op_info[k].name;
    names[n] = NULL;
    for (int i = 0; planned[i]; i++)
        if (strcmp(planned[i], word) == 0) {
            diag_error(at, diag_choices(NULL, names), "the stage '%s' is not built yet", word);
            return;
        }
    const char *hint = order_known_as(word);
    diag_error(at, hint ? hint : diag_choices(word, names), "unknown stage '%.60s'", word);
}

/* One stage at p->s. Leaves p->s behind it, and the stage in *st. */
static bool read_stage(Parse *p, SpecStage *st)
{
    skip_space(p);
    const char *from = p->s;
    size_t n = strcspn(from, "-(");
    p->s += n;
    while (n && from[n - 1] == ' ')
        n--;
    const char *word = xstrndup(from, n), *inside = NULL;
    if (*p->s == '(') {
        const char *close = strchr(p->s, ')');
        if (!close) {
            diag_error(mark_at(p, from, from + strlen(from)),
                       "inside { } a comma ends a value: put the order in quotes, \"conv-maxpool(3,2,1)-bn\"",
                       "'%.60s' has no closing parenthesis", from);
            p->bad = true;
            return false;
        }
        inside = xstrndup(p->s + 1, (size_t)(close - p->s - 1));
        p->s = close + 1;
        skip_space(p);
    }
    Mark at = mark_at(p, from, p->s > from + n ? p->s : from + n);
    if (*p->s && *p->s != '-') {
        diag_error(mark_at(p, p->s, p->s + 1), "stages are joined by '-': conv-bn-act", "a '-' is missing here");
        p->bad = true;
        return false;
    }
    if (!n) {
        diag_error(at, "stages are joined by single dashes: conv-bn-act", "a stage is missing here");
        return false;
    }
    if (strcmp(word, "act") == 0) {
        if (inside) {
            diag_error(at, "give them to the activation itself: act: leaky_relu(0.1)", "act takes no arguments");
            return false;
        }
        *st = (SpecStage){.op = p->words.act.op, .arg = p->words.act.arg, .mark = at};
        return true;
    }
    if (strcmp(word, "norm") == 0) {
        if (inside) {
            diag_error(at, "give them to the norm itself: norm: gn(8)", "norm takes no arguments");
            return false;
        }
        *st = (SpecStage){.op = p->words.norm.op, .arg = p->words.norm.arg, .mark = at};
        return true;
    }
    OpKind op = op_find(word);
    if (op == OP_KINDS) {
        unknown_word(p, word, at);
        return false;
    }
    *st = (SpecStage){.op = op, .mark = at};
    if (op_info[op].min_args && !inside) {
        diag_error(at, xprintf("%s(%s)", word, op_info[op].args), "%s needs an argument", word);
        return false;
    }
    st->arg = op_info[op].arg;
    return !inside || set_args(st, inside);
}

static bool check_weight_ops(const Parse *p, const SpecStage *st, int n)
{
    const char *kind = p->weight == OP_KINDS ? "" : op_info[p->weight].name;
    int first = -1;
    for (int i = 0; i < n; i++) {
        if (op_info[st[i].op].cls != CLASS_WEIGHT)
            continue;
        if (st[i].op != p->weight) {
            diag_error(st[i].mark, "a block has one weight op, its own; write another block for the other",
                       "'%s' cannot stand in the order of a %s block", op_info[st[i].op].name, kind);
            return false;
        }
        if (first >= 0) {
            diag_error2(st[i].mark, st[first].mark, "the first stands here",
                        "a block has one weight op; write another block for the second", "the order has a second '%s'",
                        kind);
            return false;
        }
        first = i;
    }
    if (first < 0) {
        diag_error(p->node->mark, xprintf("say where it stands among the stages: %s-bn-act", kind),
                   "the order '%.60s' has no '%s'", p->node->text, kind);
        return false;
    }
    return true;
}

bool order_read(const Node *n, OpKind weight, Words words, SpecStage **stage, int *nstage)
{
    Parse p = {.node = n, .weight = weight, .words = words};
    bool ok = true;
    *stage = NULL;
    *nstage = 0;
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, "stages joined by '-': conv-bn-act", "an order must be a word");
        return false;
    }
    for (p.s = n->text;;) {
        SpecStage st;
        if (!read_stage(&p, &st))
            ok = false;
        else if (st.op != OP_KINDS) /* norm: none */
            *PUSH(*stage, *nstage) = st;
        if (p.bad || !*p.s)
            break;
        if (*nstage == MAX_STAGES) {
            diag_error(n->mark, NULL, "an order may have %d stages at most", MAX_STAGES);
            return false;
        }
        p.s++; /* the dash */
    }
    return ok && (weight == OP_KINDS || check_weight_ops(&p, *stage, *nstage));
}

/* A word that stands for one stage of a kind; `what` names it, with its article. */
static bool read_word(const Node *n, const char *what, bool (*fits)(OpKind), const char *const *names, Act *out)
{
    const char *kind = strchr(what, ' ') + 1;
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, diag_choices(NULL, names), "%s must be a word", what);
        return false;
    }
    const char *word = order_word(n->text);
    OpKind op = op_find(word);
    if (op == OP_KINDS || !fits(op)) {
        bool later = false;
        for (int i = 0; planned[i]; i++)
            later = later || strcmp(planned[i], word) == 0;
        const char *known = order_known_as(word);
        diag_error(n->mark, known && op == OP_KINDS ? known : diag_choices(word, names),
                   later ? "the %s '%.60s' is not built yet" : "unknown %s '%.60s'", kind, word);
        return false;
    }
    SpecStage *st;
    int nst;
    if (!order_read(n, OP_KINDS, (Words){{OP_RELU, 0}, {OP_BN, 0}}, &st, &nst))
        return false;
    if (nst != 1) {
        diag_error(n->mark, diag_choices(NULL, names), "'%.60s' is an order, not %s", n->text, what);
        return false;
    }
    *out = (Act){st[0].op, st[0].arg};
    return true;
}

/* The ops of a kind; `also` NULL, or a word besides. */
static const char *const *words_of(bool (*fits)(OpKind), const char *also)
{
    const char **names = xalloc((OP_KINDS + 2) * sizeof *names);
    int n = 0;
    for (int k = 0; k < OP_KINDS; k++)
        if (fits((OpKind)k))
            names[n++] = op_info[k].name;
    names[n] = also;
    return names;
}

bool act_read(const Node *n, Act *out)
{
    return read_word(n, "an activation", op_is_act, words_of(op_is_act, NULL), out);
}

bool norm_read(const Node *n, Act *out)
{
    if (n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, "none") == 0) {
        *out = (Act){OP_KINDS, 0};
        return true;
    }
    return read_word(n, "a norm", op_is_norm, words_of(op_is_norm, "none"), out);
}

const char *norm_text(Act norm)
{
    return norm.op == OP_KINDS ? "none" : stage_text(&(SpecStage){.op = norm.op, .arg = norm.arg});
}

/* ---- back to text ---------------------------------------------------------------------------------------------- */

static const char *pair_text(const int v[2])
{
    return size_dims == 1 || v[0] == v[1] ? xprintf("%d", v[1]) : xprintf("%dx%d", v[0], v[1]);
}

bool pool_check(const SpecStage *s); /* padding against the window */
const char *stage_text(const SpecStage *s)
{
    const char *name = op_info[s->op].name;
    switch (s->op) {
    case OP_DROP:
        return xprintf("%s(%s)", name, real_text(s->arg));
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        if (s->padding[0] || s->padding[1])
            return xprintf("%s(%s,%s,%s)", name, pair_text(s->k), pair_text(s->stride), pair_text(s->padding));
        if (s->stride[0] != s->k[0] || s->stride[1] != s->k[1])
            return xprintf("%s(%s,%s)", name, pair_text(s->k), pair_text(s->stride));
        return xprintf("%s(%s)", name, pair_text(s->k));
    default:
        return op_takes_arg(s->op) ? xprintf("%s(%s)", name, real_text(s->arg)) : name;
    }
}

const char *order_text(const SpecStage *s, int n)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? "-" : "", stage_text(&s[i]));
    return b.text;
}
