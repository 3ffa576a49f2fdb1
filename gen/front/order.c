/* order.c - "conv-maxpool(3,2,1)-bn-act" -> stages, and back.
 *
 *   order = stage { "-" stage }        stage = word [ "(" arg { "," arg } ")" ]        arg = number | H "x" W
 *
 * needs: a scalar and what `act` stands for.  sets: stages with all arguments filled in, or collected errors. */
#include "read.h"

#include <math.h>
#include <string.h>

enum { MAX_STAGES = 64 };

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
    if (p->node->implied)
        return m;
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

/* "1", "0:1": the padding before and after, of one direction. */
static bool read_side(const char *s, int *before, int *after)
{
    const char *colon = strchr(s, ':');
    int64_t b, a;
    if (!text_int(colon ? xstrndup(s, (size_t)(colon - s)) : s, &b))
        return false;
    if (!colon)
        a = b;
    else if (!text_int(colon + 1, &a))
        return false;
    *before = b >= 0 && b <= MAX_WINDOW ? (int)b : MAX_WINDOW + 1;
    *after = a >= 0 && a <= MAX_WINDOW ? (int)a : MAX_WINDOW + 1;
    return true;
}

/* "1", "1x2", "0:1x1:1", "same". False where it is none of these; a number that is too large stays so. */
static bool read_sides(const char *s, Sides *out)
{
    const char *x = strchr(s, 'x');
    if (strcmp(s, "same") == 0) {
        for (int d = 0; d < 2; d++)
            out->before[d] = out->after[d] = PADDING_SAME;
        return true;
    }
    return read_side(x ? xstrndup(s, (size_t)(x - s)) : s, &out->before[0], &out->after[0]) &&
           read_side(x ? x + 1 : s, &out->before[1], &out->after[1]);
}

static bool pool_check(SpecStage *st)
{
    const int *k = st->arg[ARG_KERNEL].size;
    const Sides padding = st->arg[ARG_PADDING].sides;
    if (sides_are_same(padding) && st->arg[ARG_CEIL].count) {
        diag_error(st->mark, "leave ceil_mode out", "padding: same of %s rounds up already", op_info[st->op].name);
        return false;
    }
    if (sides_are_same(padding) && st->op == OP_AVGPOOL)
        st->arg[ARG_COUNTED].count = 0;
    for (int d = 0; d < 2; d++) {
        const int most = padding.before[d] > padding.after[d] ? padding.before[d] : padding.after[d];
        if (most > k[d] / 2) {
            diag_error(st->mark, "a larger padding would make windows that hold nothing but padding",
                       "the padding of %s must be at most half its window (%d), not %d", op_info[st->op].name, k[d] / 2,
                       most);
            return false;
        }
    }
    return true;
}

static bool general_relu_check(SpecStage *st)
{
    const double leak = st->arg[ARG_LEAK].real, sub = st->arg[ARG_SUB].real, maxv = st->arg[ARG_MAXV].real;
    if (!(maxv > -sub)) {
        diag_error(st->mark, op_info[st->op].hint,
                   "the maxv of general_relu must be above minus its sub: all above zero would be %s", real_text(maxv));
        return false;
    }
    if (sub == 0 && maxv == INFINITY) {
        st->op = leak == 0 ? OP_RELU : OP_LEAKY_RELU;
        op_usual_args(st->op, st->arg);
        if (st->op == OP_LEAKY_RELU)
            st->arg[ARG_LEAK].real = leak;
    }
    return true;
}

bool stage_check(SpecStage *st)
{
    const OpInfo *info = &op_info[st->op];
    for (int i = 0; i < OP_ARGS; i++) {
        const ArgInfo *arg = &info->arg[i], *below = arg->above ? &info->arg[arg->above - 1] : NULL;
        if (below && !(st->arg[i].real > st->arg[arg->above - 1].real)) {
            diag_error(st->mark, info->hint, "the %s of %s must be above its %s, %s, not %s", arg->name, info->name,
                       below->name, real_text(st->arg[arg->above - 1].real), real_text(st->arg[i].real));
            return false;
        }
    }
    if (st->op == OP_MAXPOOL || st->op == OP_AVGPOOL)
        return pool_check(st);
    return st->op != OP_GENERAL_RELU || general_relu_check(st);
}

/* Padding, as an argument. */
static bool set_sides(SpecStage *st, int i, const char *text)
{
    const OpInfo *info = &op_info[st->op];
    const ArgInfo *arg = &info->arg[i];
    Sides s;
    if (!read_sides(text, &s)) {
        diag_error(st->mark, "a number, height x width, or before:after: 1, 1x0, 0:1, 0:1x1:1; or same",
                   "'%.40s' is no padding in %s", text, info->name);
        return false;
    }
    if (sides_are_same(s)) {
        st->arg[i].sides = s;
        return true;
    }
    for (int d = 0; d < 2; d++)
        if (s.before[d] > arg->hi || s.after[d] > arg->hi) {
            diag_error(st->mark, info->hint ? info->hint : op_usage(st->op),
                       "the %s of %s must be from 0 to %s, not %.40s", arg->name, info->name, real_text(arg->hi), text);
            return false;
        }
    if (size_dims == 1 && strchr(text, 'x')) {
        diag_error(st->mark, "where the input is [channels, length], a size is the one along the length",
                   "the %s of %s must be one number or two, 0:1, not %.40s", arg->name, info->name, text);
        return false;
    }
    if (size_dims == 1)
        s.before[0] = s.after[0] = 0;
    st->arg[i].sides = s;
    return true;
}

/* Sets the flag whose word that is. */
static bool set_flag(SpecStage *st, const char *word)
{
    const ArgInfo *arg = op_info[st->op].arg;
    for (int i = 0; i < OP_ARGS; i++)
        if (arg[i].word && strcmp(arg[i].word, word) == 0) {
            st->arg[i].count = arg[i].usual == 0;
            return true;
        }
    return false;
}

/* One argument, which `text` is, by its row. False and an error where it is none, or out of its range. */
static bool set_arg(SpecStage *st, int i, const char *text)
{
    const OpInfo *info = &op_info[st->op];
    const ArgInfo *arg = &info->arg[i];
    const char *hint = info->hint ? info->hint : op_usage(st->op);
    double real = 0;
    int pair[2];
    if (arg->kind == ARG_SIDES)
        return set_sides(st, i, text);
    if (!read_arg(text, &real, pair) || (arg->kind != ARG_SIZE && strchr(text, 'x'))) {
        diag_error(st->mark, op_usage(st->op), "'%.40s' is not a number in %s", text, info->name);
        return false;
    }
    if (arg->kind == ARG_SIZE) {
        if (!(pair[0] >= arg->lo && pair[0] <= arg->hi && pair[1] >= arg->lo && pair[1] <= arg->hi)) {
            diag_error(st->mark, hint, "the %s of %s must be from %s to %s, not %.40s", arg->name, info->name,
                       real_text(arg->lo), real_text(arg->hi), text);
            return false;
        }
        if (size_dims == 1 && strchr(text, 'x')) {
            diag_error(st->mark, "where the input is [channels, length], a size is the one along the length",
                       "the %s of %s must be a number, not %.40s", arg->name, info->name, text);
            return false;
        }
        st->arg[i] = (Arg){.size = {size_dims == 1 ? (int)arg->lo : pair[0], pair[1]}};
        return true;
    }
    const bool within = real >= arg->lo && real <= arg->hi && !(arg->below_hi && real == arg->hi);
    if (!within && arg->below_hi)
        diag_error(st->mark, hint, "the %s of %s must be at least %s and below %s, not %s", arg->name, info->name,
                   real_text(arg->lo), real_text(arg->hi), real_text(real));
    else if (!within)
        diag_error(st->mark, hint, "the %s of %s must be from %s to %s, not %s", arg->name, info->name,
                   real_text(arg->lo), real_text(arg->hi), real_text(real));
    else if (arg->kind == ARG_COUNT && real != floor(real))
        diag_error(st->mark, op_usage(st->op), "the %s of %s must be a whole number, not %s", arg->name, info->name,
                   real_text(real));
    else if (arg->kind == ARG_COUNT)
        st->arg[i] = (Arg){.count = (int)real};
    else
        st->arg[i] = (Arg){.real = real};
    return within && !(arg->kind == ARG_COUNT && real != floor(real));
}

/* The arguments between parentheses, "3,2,1", into the stage. */
static bool set_args(SpecStage *st, const char *inside)
{
    const OpInfo *info = &op_info[st->op];
    const int most = op_may_args(st->op);
    int n = 0, flags = 0;
    for (const char *a = inside; a; n++) {
        const char *comma = strchr(a, ',');
        size_t len = comma ? (size_t)(comma - a) : strlen(a);
        while (len && *a == ' ') {
            a++;
            len--;
        }
        while (len && a[len - 1] == ' ')
            len--;
        const char *text = xstrndup(a, len);
        if (set_flag(st, text)) {
            flags++;
            n--;
            a = comma ? comma + 1 : NULL;
            continue;
        }
        if (flags) {
            diag_error(st->mark, op_usage(st->op), "the words of %s stand after its numbers", info->name);
            return false;
        }
        if (n == most) {
            diag_error(st->mark, op_usage(st->op), most ? "%s takes at most %d argument%s" : "%s takes no arguments",
                       info->name, most, most == 1 ? "" : "s");
            return false;
        }
        if (!set_arg(st, op_arg_at(st->op, n), text))
            return false;
        a = comma ? comma + 1 : NULL;
    }
    if (n < op_must_args(st->op)) {
        diag_error(st->mark, op_usage(st->op), "%s needs an argument", info->name);
        return false;
    }
    for (; n < most; n++) { /* what is as another, now that that is known */
        const int i = op_arg_at(st->op, n);
        st->arg[i] = op_usual(st->op, i, st->arg);
    }
    return stage_check(st);
}

static void unknown_word(const Parse *p, const char *word, Mark at)
{
    static const char all[] = "convoy help orders";
    const char *names[OP_KINDS + 3];
    int n = 0;
    names[n++] = "act";
    names[n++] = "norm";
    for (int k = 0; k < OP_KINDS; k++)
        if (op_find(op_info[k].name) == (OpKind)k && (op_info[k].cls != CLASS_WEIGHT || k == (int)p->weight))
            names[n++] = op_info[k].name;
    names[n] = NULL;
    if (known_later(word)) {
        diag_error(at, diag_choices(NULL, names, all), "the stage '%s' is not built yet", word);
        return;
    }
    const char *hint = *word && word[strspn(word, "NDA")] == '\0'
                           ? xprintf("MONAI's letters have a key of their own: adn: %s", word)
                           : known_word(word);
    diag_error(at, hint ? hint : diag_choices(word, names, all), "unknown stage '%.60s'", word);
}

/* One stage at p->s. Leaves p->s after it, and the stage in *st. */
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
        *st = p->words.act;
        st->mark = at;
        return true;
    }
    if (strcmp(word, "norm") == 0) {
        if (inside) {
            diag_error(at, "give them to the norm itself: norm: gn(8)", "norm takes no arguments");
            return false;
        }
        *st = p->words.norm;
        st->mark = at;
        return true;
    }
    OpKind op = op_find(word);
    if (op == OP_KINDS) {
        unknown_word(p, word, at);
        return false;
    }
    if (op_is_alone(op) && p->weight != OP_KINDS) {
        diag_error(at, op_info[op].hint, "'%s' is a layer of its own, and cannot stand in an order", word);
        return false;
    }
    *st = (SpecStage){.op = op, .mark = at};
    op_usual_args(op, st->arg);
    if (inside)
        return set_args(st, inside);
    if (op_must_args(op)) {
        diag_error(at, op_usage(op), "%s needs an argument", word);
        return false;
    }
    return stage_check(st);
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
                   "the order '%.60s' has no '%s'", order_source(p->node), kind);
        return false;
    }
    return true;
}

/* The stages of a word, after those that are there. */
static bool read_stages(Parse *p, SpecStage **stage, int *nstage)
{
    bool ok = true;
    for (p->s = p->node->text;;) {
        SpecStage st;
        if (*nstage == MAX_STAGES) {
            diag_error(p->node->mark, NULL, "an order may have %d stages at most", MAX_STAGES);
            p->bad = true;
            return false;
        }
        if (!read_stage(p, &st))
            ok = false;
        else if (st.op != OP_KINDS) /* norm: none */
            *PUSH(*stage, *nstage) = st;
        if (p->bad || !*p->s)
            return ok;
        p->s++; /* the dash */
    }
}

bool order_read(const Node *n, OpKind weight, Words words, SpecStage **stage, int *nstage)
{
    Parse p = {.node = n, .weight = weight, .words = words};
    bool ok = true;
    *stage = NULL;
    *nstage = 0;
    int parts = n->kind == NODE_SEQ ? n->n : 1;
    for (int i = 0; i < parts && !p.bad; i++) {
        p.node = n->kind == NODE_SEQ ? n->item[i] : n;
        if (p.node->kind != NODE_SCALAR || text_is_null(p.node)) {
            diag_error(p.node->mark, "stages joined by '-': conv-bn-act; or a list of them", "an order must be a word");
            return false;
        }
        ok = read_stages(&p, stage, nstage) && ok;
    }
    p.node = n;
    if (!parts) {
        diag_error(n->mark, "stages joined by '-': conv-bn-act; or a list of them", "the order has no stages");
        return false;
    }
    return ok && (weight == OP_KINDS || check_weight_ops(&p, *stage, *nstage));
}

SpecStage stage_usual(OpKind op)
{
    SpecStage st = {.op = op};
    op_usual_args(op, st.arg);
    return st;
}

Words words_usual(void)
{
    return (Words){stage_usual(OP_RELU), stage_usual(OP_BN)};
}

/* A word that stands for one stage of a kind; `what` names it, with its article. */
static bool read_word(const Node *n, const char *what, bool (*fits)(OpKind), const char *const *names, SpecStage *out)
{
    const char *kind = strchr(what, ' ') + 1, *all = xprintf("convoy help %ss", fits == op_is_act ? "act" : kind);
    if (n->kind != NODE_SCALAR || text_is_null(n)) {
        diag_error(n->mark, diag_choices(NULL, names, all), "%s must be a word", what);
        return false;
    }
    const char *word = order_word(n->text);
    OpKind op = op_find(word);
    if (op == OP_KINDS || !fits(op)) {
        const bool later = known_later(word);
        const char *known = known_word(word);
        diag_error(n->mark, known && op == OP_KINDS && !later ? known : diag_choices(later ? NULL : word, names, all),
                   later ? "the %s '%.60s' is not built yet" : "unknown %s '%.60s'", kind, word);
        return false;
    }
    SpecStage *st;
    int nst;
    if (!order_read(n, OP_KINDS, words_usual(), &st, &nst))
        return false;
    if (nst != 1) {
        diag_error(n->mark, diag_choices(NULL, names, all), "'%.60s' is an order, not %s", n->text, what);
        return false;
    }
    *out = st[0];
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

bool act_read(const Node *n, SpecStage *out)
{
    return read_word(n, "an activation", op_is_act, words_of(op_is_act, NULL), out);
}

bool norm_read(const Node *n, SpecStage *out)
{
    if (n->kind == NODE_SCALAR && !n->quoted && strcmp(n->text, "none") == 0) {
        *out = (SpecStage){.op = OP_KINDS};
        return true;
    }
    return read_word(n, "a norm", op_is_norm, words_of(op_is_norm, "none"), out);
}

const char *norm_text(const SpecStage *norm)
{
    return norm->op == OP_KINDS ? "none" : stage_text(norm, 2);
}

/* ---- back to text ---------------------------------------------------------------------------------------------- */

const char *stage_text(const SpecStage *s, int dims)
{
    return op_text(s->op, s->arg, dims, false);
}

const char *order_text(const SpecStage *s, int n, int dims)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? "-" : "", stage_text(&s[i], dims));
    return b.text;
}

const char *order_source(const Node *n)
{
    Buf b = {0};
    if (n->kind != NODE_SEQ)
        return n->text;
    buf_puts(&b, "");
    for (int i = 0; i < n->n; i++)
        buf_printf(&b, "%s%s", i ? "-" : "", n->item[i]->kind == NODE_SCALAR ? n->item[i]->text : "");
    return b.text;
}
