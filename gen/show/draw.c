/* draw.c - plan -> what a picture of it shows, and where.
 *
 * needs: a complete plan. sets: a Picture.
 *
 * Kernels stand in ranks from the input down, each at its longest distance from it. A kernel with one parent that leads
 * on (one that no other parent comes after) stands below it; several such children stand side by side, each with as
 * many columns as what follows it; where branches meet, the kernel stands in their middle. A wire goes straight down
 * where nothing stands in its way; one that skips kernels goes around them in a lane at their right, one lane for each
 * tensor. */
#include "draw.h"

#include <limits.h>
#include <string.h>

enum {
    MARGIN = 24,
    GAP = 30, /* between ranks, frames aside */
    LANE = 9,
    SKIP_INDENT = 28,
    TOP = 96,    /* title and legend */
    MIN_W = 640, /* of the title and the legend */
};

/* ---- what a box shows ---- */

static const char *op_kind(OpKind kind)
{
    switch (op_info[kind].cls) {
    case CLASS_WEIGHT:
        return "weight";
    case CLASS_BARRIER:
    case CLASS_IMAGE:
        return "norm";
    case CLASS_POINT:
        return kind == OP_DROP ? "drop" : "act";
    case CLASS_WINDOW:
        return "window";
    case CLASS_JOIN:
        return "join";
    case CLASS_LOSS:
        return "loss";
    default:
        return "input";
    }
}

static const char *pair_text(const int v[2])
{
    return v[0] == v[1] ? xprintf("%d", v[0]) : xprintf("%dx%d", v[0], v[1]);
}

/* A layer's name as it is called from another layer: without the groups that hold both, of what is left the last two
 * words. */
static const char *short_name(const char *layer, const char *from)
{
    size_t common = 0;

    for (size_t i = 0; layer[i] && layer[i] == from[i]; i++)
        common = layer[i] == '.' ? i + 1 : common;
    const char *name = layer + common, *end = strrchr(name, '.');
    while (end && end > name && end[-1] != '.')
        end--;
    return end ? end : name;
}

/* " pad 0:1 ceil": what is said of padding and windows where both ends are not alike. */
static const char *uneven_text(const Graph *g, const Op *o)
{
    const Sides padding = o->arg[ARG_PADDING].sides;
    Buf b = {0};

    buf_puts(&b, "");
    if (!sides_even(padding))
        buf_printf(&b, " pad %s", sides_text(padding, g->dims));
    for (int a = 0; a < OP_ARGS; a++)
        if (op_info[o->kind].arg[a].word && o->arg[a].count != (int)op_info[o->kind].arg[a].usual)
            buf_printf(&b, " %s", op_info[o->kind].arg[a].word);
    return b.text;
}

/* ", ln input" for a norm inside a recurrent op's steps. */
static const char *norms_text(const Op *o)
{
    Buf b = {0};

    buf_puts(&b, "");
    for (CellPlace p = PLACE_INPUT; p < PLACES; p++)
        if (op_place(o->kind, o->arg, p))
            buf_printf(&b, ", %s %s", op_info[op_place(o->kind, o->arg, p)->op].name, place_info[p].name);
    return b.text;
}

/* "conv 3x3 /2, 16 -> 32" */
static const char *weight_text(const Graph *g, const Op *o)
{
    const char *bias = o->bias ? " + bias" : "";

    if (op_is_recurrent(o->kind))
        return xprintf("%s%s %d \xe2\x86\x92 %d, %s%s%s", op_info[o->kind].name, o->reverse ? " reverse" : "",
                       g->op[o->in].shape.c, o->shape.c,
                       op_info[o->kind].arg[ARG_RETURN].words[o->arg[ARG_RETURN].count], bias, norms_text(o));
    if (o->kind == OP_EMBED)
        return xprintf("embed %d \xe2\x86\x92 %d", g->spec->tokens, o->shape.c);
    if (o->kind == OP_LINEAR)
        return xprintf("linear %d \xe2\x86\x92 %d%s", g->op[o->in].shape.c, o->shape.c, bias);
    return xprintf("conv %d\xc3\x97%d%s%s%s%s \xc2\xb7 %d \xe2\x86\x92 %d%s", o->kernel[0], o->kernel[1],
                   o->stride[0] * o->stride[1] > 1 ? xprintf(" /%s", pair_text(o->stride)) : "",
                   o->dilation[0] * o->dilation[1] > 1 ? xprintf(" dil. %s", pair_text(o->dilation)) : "",
                   uneven_text(g, o), o->groups > 1 ? xprintf(" g%d", o->groups) : "", g->op[o->in].shape.c, o->shape.c,
                   bias);
}

static const char *kind_label(const Graph *g, const Op *o)
{
    switch (o->kind) {
    case OP_CONV:
    case OP_LINEAR:
    case OP_RNN:
    case OP_GRU:
    case OP_LSTM:
    case OP_EMBED:
        return weight_text(g, o);
    case OP_MAXPOOL:
    case OP_AVGPOOL:
        return xprintf("%s %s%s%s", op_info[o->kind].name, pair_text(o->kernel),
                       memcmp(o->kernel, o->stride, sizeof o->kernel) ? xprintf(" /%s", pair_text(o->stride)) : "",
                       uneven_text(g, o));
    case OP_GLOBAL_AVG_POOL:
        return "global avg";
    case OP_PAD:
        return o->stride[0] * o->stride[1] > 1 ? xprintf("pad /%s", pair_text(o->stride)) : "pad";
    case OP_ADD:
        return "+";
    case OP_DROP:
        return xprintf("drop %g", o->value);
    case OP_LOSS:
        return g->spec->train.loss->help;
    default:
        return op_info[o->kind].name;
    }
}

static const char *op_label(const Graph *g, const Op *o)
{
    const char *text = kind_label(g, o);

    return o->frozen ? xprintf("%s, frozen", text) : text;
}

/* Its kind; with the layer's name before it where that is another's than the kernel's. */
static const char *pill_text(const Graph *g, const Kernel *k, int op)
{
    const Op *o = &g->op[op];
    const char *text = op_label(g, o), *layer = short_name(o->layer, k->layer);

    if (strcmp(o->layer, k->layer) == 0 || op_info[o->kind].cls == CLASS_JOIN || o->kind == OP_LOSS)
        return text;
    if (!o->stage)
        return strncmp(layer, op_info[o->kind].name, strlen(op_info[o->kind].name)) == 0 &&
                       strcmp(text, op_info[o->kind].name) == 0
                   ? layer
                   : text;
    return xprintf("%s.%s", layer, text);
}

static Pill *add_pill(const Picture *pic, Box *b, int op, Section section)
{
    const Graph *g = pic->plan->g;
    const Op *o = &g->op[op];
    Pill *q = PUSH(b->pill, b->npill);

    *q = (Pill){.op = op,
                .section = section,
                .what = op_label(g, o),
                .text = pill_text(g, b->kernel, op),
                .kind = op_kind(o->kind)};
    q->title = xprintf("%s: %dx%dx%d", o->path, o->shape.c, o->shape.h, o->shape.w);
    return q;
}

/* The links of a path, skip operands before their sum. */
static void add_links(const Picture *pic, Box *b, const Path *w, Section section)
{
    for (int i = 0; i < w->n; i++) {
        for (int s = 0; s < w->link[i].nskip; s++) {
            const Skip *skip = &w->link[i].skip[s];
            if (skip->pad >= 0)
                add_pill(pic, b, skip->pad, SECTION_SKIP);
            for (int j = 0; j < skip->path.n; j++)
                add_pill(pic, b, skip->path.link[j].op, SECTION_SKIP);
        }
        add_pill(pic, b, w->link[i].op, section);
    }
}

static bool same_links(const Path *a, const Path *b)
{
    for (int i = 0; i < a->n && a->n == b->n; i++)
        if (a->link[i].op != b->link[i].op)
            return false;
    return a->n == b->n;
}

/* Paths that a concat joins: the stages after it, which all share, once; before it, each path's own. */
static void add_prologue(const Picture *pic, Box *b)
{
    const Kernel *k = b->kernel;
    const Section section = k->kind == KERNEL_PASS ? SECTION_PASS : SECTION_PROLOGUE;
    int common = k->nin > 1 ? k->in[0].n : 0;

    if (k->nin == 1) {
        add_links(pic, b, &k->in[0], section);
        return;
    }
    for (int i = 1; i < k->nin; i++) { /* so many links at the end are of one op on every path */
        int same = 0;
        while (same < common && same < k->in[i].n &&
               k->in[i].link[k->in[i].n - 1 - same].op == k->in[0].link[k->in[0].n - 1 - same].op)
            same++;
        common = same;
    }
    for (int i = 0; i < k->nin; i++) {
        Path own = k->in[i];
        bool known = false;
        for (int j = 0; j < i; j++)
            known = known || same_links(&k->in[i], &k->in[j]);
        own.n -= common;
        if (!known)
            add_links(pic, b, &own, section);
    }
    Pill *q = PUSH(b->pill, b->npill);
    *q = (Pill){.op = -2,
                .section = section,
                .what = "concat",
                .text = xprintf("concat of %d", k->nin),
                .title = "tensors joined by channels as they are read",
                .kind = "join"};
    for (int i = k->in[0].n - common; i < k->in[0].n; i++)
        add_pill(pic, b, k->in[0].link[i].op, section);
}

/* About as wide as its letters; UTF-8's later bytes are none. */
static int text_width(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n * LETTER / 10 + PILL_ENDS;
}

/* Pills in rows, in order; a section begins a row, skip operands stand apart. */
static void flow_pills(Box *b)
{
    const int left = BOX_CAPTION, right = BOX_W - BOX_PAD;
    int x = left, row = -1;

    for (int i = 0; i < b->npill; i++) {
        Pill *q = &b->pill[i];
        const int room = right - left - (q->section == SECTION_SKIP ? SKIP_INDENT : 0);
        q->w = q->section == SECTION_CORE ? right - left : text_width(q->text);
        q->w = q->w > room ? room : q->w;
        if (row < 0 || q->section != b->pill[i - 1].section || x + q->w > right) {
            row++;
            x = q->section == SECTION_SKIP ? left + SKIP_INDENT : left;
        }
        q->row = row;
        q->x = x;
        x += q->w + 5;
    }
    b->rows = row + 1;
}

static void add_statistics(const Picture *pic, Box *b, const char *what, const char *text, const char *over,
                           const int *norm, int n)
{
    const Graph *g = pic->plan->g;
    const char *norms = "";
    int64_t bytes = 0;

    for (int i = 0; i < n; i++) {
        norms = xprintf("%s%s%s", norms, i ? ", " : "", g->op[norm[i]].path);
        bytes += op_is_image_norm(g->op[norm[i]].kind) ? 4 * (int64_t)CVY_GN_STATS * g->op[norm[i]].groups : 0;
    }
    *PUSH(b->pill, b->npill) = (Pill){.op = -1,
                                      .section = b->kernel->kind == KERNEL_PASS ? SECTION_PASS : SECTION_EPILOGUE,
                                      .what = what,
                                      .text = text,
                                      .kind = "stats",
                                      .bytes = bytes,
                                      .title = xprintf("statistics over %s, for %s%s", over, norms,
                                                       bytes ? xprintf("; %lld bytes kept", (long long)bytes) : "")};
}

static void fill_box(const Picture *pic, Box *b)
{
    const Kernel *k = b->kernel;

    add_prologue(pic, b);
    if (k->kind != KERNEL_PASS)
        add_pill(pic, b, k->op, SECTION_CORE);
    if (recurrent_kept_bytes(k)) {
        Pill *core = &b->pill[b->npill - 1];
        core->bytes = recurrent_kept_bytes(k);
        core->title = xprintf("%s; its steps: %lld bytes kept", core->title, (long long)core->bytes);
    }
    if (k->w)
        add_links(pic, b, kernel_out(k), SECTION_EPILOGUE);
    if (b->tensor && b->tensor->nnorm)
        add_statistics(pic, b, "statistics", "mean, variance", "the batch", b->tensor->norm, b->tensor->nnorm);
    if (b->tensor && b->tensor->nimage_norm)
        add_statistics(pic, b, "statistics of the image", "mean, variance of the image", "each image",
                       b->tensor->image_norm, b->tensor->nimage_norm);
    flow_pills(b);
}

/* ---- boxes and wires ---- */

static int box_of_tensor(const Picture *pic, int tensor)
{
    const Plan *p = pic->plan;

    return tensor > 0 ? p->tensor[tensor].maker + 1
                      : p->kernel[0].tensor == 0; /* the input, or the pass that takes its statistics */
}

static void add_wire(Picture *pic, int from, int to, int row)
{
    for (int i = pic->nwire - 1; i >= 0 && pic->wire[i].to == to; i--)
        if (pic->wire[i].from == from)
            return;
    *PUSH(pic->wire, pic->nwire) = (Wire){.from = from, .to = to, .row = row};
}

static int row_of(const Box *b, int op)
{
    for (int i = 0; i < b->npill; i++)
        if (b->pill[i].op == op)
            return b->pill[i].row;
    return 0;
}

static void wire_skips(Picture *pic, int to, const Path *w)
{
    for (int i = 0; i < w->n; i++)
        for (int s = 0; s < w->link[i].nskip; s++) {
            const Skip *skip = &w->link[i].skip[s];
            const int first = skip->pad >= 0 ? skip->pad : skip->path.n ? skip->path.link[0].op : w->link[i].op;
            add_wire(pic, box_of_tensor(pic, skip->path.tensor), to, row_of(&pic->box[to], first));
        }
}

static void add_wires(Picture *pic, int to)
{
    const Kernel *k = pic->box[to].kernel;

    pic->box[to].wire = pic->nwire;
    for (int i = 0; i < k->nin; i++) {
        const int from = k->tensor == 0 ? 0 : box_of_tensor(pic, k->in[i].tensor);
        add_wire(pic, from, to, -1);
    }
    for (int i = 0; i < k->nin; i++)
        wire_skips(pic, to, &k->in[i]);
    wire_skips(pic, to, kernel_out(k));
    pic->box[to].nwire = pic->nwire - pic->box[to].wire;
}

/* Parent number k of box i. */
static int parent_of(const Picture *pic, int i, int k)
{
    return pic->wire[pic->box[i].wire + k].from;
}

/* ---- ranks and columns ---- */

static void rank_boxes(Picture *pic)
{
    for (int i = 1; i < pic->nbox; i++)
        for (int k = 0; k < pic->box[i].nwire; k++) {
            const int rank = pic->box[parent_of(pic, i, k)].rank;
            pic->box[i].rank = rank >= pic->box[i].rank ? rank + 1 : pic->box[i].rank;
        }
}

/* above[i * n + j]: j comes before i. */
static bool *ancestors(const Picture *pic)
{
    const int n = pic->nbox;
    bool *above = xalloc((size_t)n * (size_t)n);

    for (int i = 1; i < n; i++)
        for (int k = 0; k < pic->box[i].nwire; k++) {
            const size_t from = (size_t)parent_of(pic, i, k), row = (size_t)i * (size_t)n;
            above[row + from] = true;
            for (size_t j = 0; j < from; j++)
                above[row + j] |= above[from * (size_t)n + j];
        }
    return above;
}

/* Parents of box i that no other parent comes after. */
static int leading(const Picture *pic, const bool *above, int i, int *list)
{
    int n = 0;

    for (int k = 0; k < pic->box[i].nwire; k++) {
        const int from = parent_of(pic, i, k);
        bool last = true;
        for (int j = 0; j < pic->box[i].nwire && last; j++)
            last = !above[(size_t)parent_of(pic, i, j) * (size_t)pic->nbox + (size_t)from];
        if (last)
            list[n++] = from;
    }
    return n;
}

static int last_rank(const Picture *pic)
{
    int r = 0;

    for (int i = 0; i < pic->nbox; i++)
        r = pic->box[i].rank > r ? pic->box[i].rank : r;
    return r;
}

/* Boxes of a rank do not overlap: they are pushed apart, and stay about the same middle. */
static void spread_rank(Picture *pic, int rank)
{
    Box **list = NULL;
    int n = 0;
    double pushed = 0;

    for (int i = 0; i < pic->nbox; i++) {
        if (pic->box[i].rank != rank)
            continue;
        *PUSH(list, n) = &pic->box[i];
        for (int k = n - 1; k > 0 && list[k - 1]->column > list[k]->column; k--) {
            Box *b = list[k];
            list[k] = list[k - 1];
            list[k - 1] = b;
        }
    }
    for (int k = 1; k < n; k++)
        if (list[k]->column < list[k - 1]->column + 1) {
            pushed += list[k - 1]->column + 1 - list[k]->column;
            list[k]->column = list[k - 1]->column + 1;
        }
    for (int k = 0; k < n; k++)
        list[k]->column -= pushed / n;
}

static void place_columns(Picture *pic)
{
    const int n = pic->nbox;
    const bool *above = ancestors(pic);
    int *parent = xalloc(sizeof *parent * (size_t)n), *list = xalloc(sizeof *list * (size_t)(pic->nwire + 1));
    double *width = xalloc(sizeof *width * (size_t)n), *taken = xalloc(sizeof *taken * (size_t)n),
           *below = xalloc(sizeof *below * (size_t)n);

    for (int i = 0; i < n; i++)
        parent[i] = i && leading(pic, above, i, list) == 1 ? list[0] : -1;
    for (int i = n - 1; i >= 0; i--) { /* columns of what hangs below */
        width[i] = below[i] > 1 ? below[i] : 1;
        if (parent[i] >= 0)
            below[parent[i]] += width[i];
    }
    for (int i = 1; i < n; i++) {
        Box *b = &pic->box[i];
        if (parent[i] >= 0) {
            const int p = parent[i];
            b->column = pic->box[p].column - below[p] / 2 + taken[p] + width[i] / 2;
            taken[p] += width[i];
            continue;
        }
        const int m = leading(pic, above, i, list);
        for (int k = 0; k < m; k++)
            b->column += pic->box[list[k]].column / m;
    }
    for (int r = 0; r <= last_rank(pic); r++)
        spread_rank(pic, r);
}

/* ---- groups ---- */

static int depth_of(const char *layer)
{
    int n = 0;

    for (; *layer; layer++)
        n += *layer == '.';
    return n;
}

static bool in_group(const Box *b, const char *name)
{
    const size_t n = strlen(name);

    return b->kernel && strncmp(b->kernel->layer, name, n) == 0 && b->kernel->layer[n] == '.';
}

/* The fold that a group, "s1.2", stands for; NULL: it stands for itself. */
static const Fold *fold_of(const Picture *pic, const char *name)
{
    for (int i = 0; i < pic->nfold; i++)
        if (strcmp(xprintf("%s.%d", pic->fold[i].group, pic->fold[i].first), name) == 0)
            return &pic->fold[i];
    return NULL;
}

/* A frame for each group with two kernels or more, and for one that stands for several. */
static void find_frames(Picture *pic)
{
    for (int i = 1; i < pic->nbox; i++) {
        const char *layer = pic->box[i].kernel->layer;
        for (const char *dot = strchr(layer, '.'); dot; dot = strchr(dot + 1, '.')) {
            const char *name = xstrndup(layer, (size_t)(dot - layer));
            bool known = false;
            int members = 0;
            for (int f = 0; f < pic->nframe; f++)
                known = known || strcmp(pic->frame[f].name, name) == 0;
            for (int j = 1; j < pic->nbox; j++)
                members += in_group(&pic->box[j], name);
            const Fold *fold = fold_of(pic, name);
            if (!known && (members > 1 || fold))
                *PUSH(pic->frame, pic->nframe) = (Frame){.name = name, .fold = fold, .depth = depth_of(name)};
        }
    }
}

/* Ranks of the frames, and how many frames inside, and around, begin or end with each. */
static void measure_frames(Picture *pic)
{
    pic->begin = xalloc(sizeof *pic->begin * (size_t)(last_rank(pic) + 1));
    pic->end = xalloc(sizeof *pic->end * (size_t)(last_rank(pic) + 1));
    for (int f = 0; f < pic->nframe; f++) {
        Frame *fr = &pic->frame[f];
        fr->first = INT_MAX;
        for (int i = 1; i < pic->nbox; i++) {
            const int rank = pic->box[i].rank;
            if (!in_group(&pic->box[i], fr->name))
                continue;
            fr->first = rank < fr->first ? rank : fr->first;
            fr->last = rank > fr->last ? rank : fr->last;
        }
    }
    for (int f = 0; f < pic->nframe; f++) {
        Frame *fr = &pic->frame[f];
        int begin = 0, end = 0; /* frames around this one, and itself */
        for (int g = 0; g < pic->nframe; g++) {
            Frame *around = &pic->frame[g];
            const size_t n = strlen(around->name);
            if (strncmp(fr->name, around->name, n) != 0 || (fr->name[n] && fr->name[n] != '.'))
                continue;
            const int deeper = fr->depth - around->depth;
            begin += around->first == fr->first;
            end += around->last == fr->last;
            if (around->first == fr->first && deeper > around->above)
                around->above = deeper;
            if (around->last == fr->last && deeper > around->below)
                around->below = deeper;
        }
        pic->begin[fr->first] = begin > pic->begin[fr->first] ? begin : pic->begin[fr->first];
        pic->end[fr->last] = end > pic->end[fr->last] ? end : pic->end[fr->last];
    }
}

static int deepest(const Picture *pic)
{
    int d = 0;

    for (int f = 0; f < pic->nframe; f++)
        d = pic->frame[f].depth + 1 > d ? pic->frame[f].depth + 1 : d;
    return d;
}

/* ---- places ---- */

int draw_row_y(const Box *b, int row)
{
    return b->y + BOX_HEADER + row * ROW_H;
}

static int box_bottom(const Box *b)
{
    return b->tensor && (b->tensor->stored || !b->kernel) ? b->tensor_y + TENSOR_H : b->y + b->h;
}

static void place_rows(Picture *pic)
{
    const int last = last_rank(pic);
    int y = TOP;

    for (int r = 0; r <= last; r++) {
        int bottom = y;
        const int turn = y - 13;
        y += r ? pic->begin[r] * (FRAME_PAD + 8) : 0;
        for (int i = 0; i < pic->nbox; i++) {
            Box *b = &pic->box[i];
            if (b->rank != r)
                continue;
            b->y = y;
            b->elbow_y = turn;
            b->h = b->kernel ? BOX_HEADER + b->rows * ROW_H + (b->rows ? 4 : 0) : 0;
            b->tensor_y = b->y + b->h + (b->kernel ? 10 : 0);
            bottom = box_bottom(b) > bottom ? box_bottom(b) : bottom;
        }
        y = bottom + GAP + pic->end[r] * FRAME_PAD;
    }
    pic->h = y - GAP + MARGIN;
}

static bool covers(const Box *b, int x)
{
    return x > b->x - 6 && x < b->x + BOX_W + 6;
}

/* Whether a line down at x from rank a to rank b meets no box in between. */
static bool is_free(const Picture *pic, int x, int a, int b)
{
    for (int i = 0; i < pic->nbox; i++)
        if (pic->box[i].rank > a && pic->box[i].rank < b && covers(&pic->box[i], x))
            return false;
    return true;
}

static void find_buses(Picture *pic)
{
    for (int w = 0; w < pic->nwire; w++) {
        Wire *e = &pic->wire[w];
        const Box *a = &pic->box[e->from], *b = &pic->box[e->to];
        const int x = a->x + BOX_W / 2;
        /* from above, straight; a skip operand from a column beside it */
        e->bus = e->row < 0 ? !is_free(pic, x, a->rank, b->rank) : covers(b, x) || !is_free(pic, x, a->rank, b->rank);
        if (e->bus && e->row < 0)
            e->row = 0;
    }
}

/* The last rank that the lane of each box reaches; -1: it has none. */
static int *lane_ends(const Picture *pic)
{
    int *end = xalloc(sizeof *end * (size_t)pic->nbox);

    for (int i = 0; i < pic->nbox; i++)
        end[i] = -1;
    for (int w = 0; w < pic->nwire; w++) {
        const Wire *e = &pic->wire[w];
        if (e->bus && pic->box[e->to].rank > end[e->from])
            end[e->from] = pic->box[e->to].rank;
    }
    return end;
}

static int most_lanes(const Picture *pic)
{
    const int *end = lane_ends(pic), last = last_rank(pic);
    int most = 0, alive = 0, *change = xalloc(sizeof *change * (size_t)(last + 2));

    for (int i = 0; i < pic->nbox; i++)
        if (end[i] >= 0) {
            change[pic->box[i].rank]++;
            change[end[i] + 1]--;
        }
    for (int r = 0; r <= last; r++) {
        alive += change[r];
        most = alive > most ? alive : most;
    }
    return most;
}

/* The first place from x on for the lane of box `from` down to rank `end`: no box and no other lane there. */
static int free_lane(const Picture *pic, const int *lane, int from, int end, int x)
{
    const int beside = 8 + (FRAME_PAD + 2) * deepest(pic);

    for (bool moved = true; moved;) {
        moved = false;
        for (int j = 0; j < pic->nbox; j++) {
            const Box *b = &pic->box[j];
            if (b->rank >= pic->box[from].rank && b->rank <= end && x > b->x - 8 && x < b->x + BOX_W + beside)
                x = b->x + BOX_W + beside, moved = true;
        }
        for (int j = from + 1; j < pic->nbox; j++) /* those placed before, alive with it */
            if (lane[j] && pic->box[j].rank <= end && lane[j] > x - LANE && lane[j] < x + LANE)
                x = lane[j] + LANE, moved = true;
    }
    return x;
}

/* Whether a box of b's rank stands between b and x at its right. */
static bool box_between(const Picture *pic, const Box *b, int x)
{
    for (int i = 0; i < pic->nbox; i++)
        if (pic->box[i].rank == b->rank && pic->box[i].x > b->x && pic->box[i].x < x)
            return true;
    return false;
}

static int elbow_of_rank(const Picture *pic, int rank)
{
    for (int i = 0; i < pic->nbox; i++)
        if (pic->box[i].rank == rank)
            return pic->box[i].elbow_y;
    BUG("no box of rank %d", rank);
}

/* Lanes at the right of where they begin, none upon another. */
static void place_lanes(Picture *pic)
{
    int *lane = xalloc(sizeof *lane * (size_t)pic->nbox);
    const int *ends = lane_ends(pic);

    for (int i = pic->nbox - 1; i >= 0; i--) { /* short and late ones inside */
        const Box *a = &pic->box[i];
        const int end = ends[i];
        if (end < 0)
            continue;
        lane[i] = free_lane(pic, lane, i, end, a->x + BOX_W);
        for (int w = 0; w < pic->nwire; w++) {
            Wire *e = &pic->wire[w];
            if (!e->bus || e->from != i)
                continue;
            const Box *b = &pic->box[e->to];
            e->lane = lane[i];
            e->below = box_between(pic, a, lane[i]) ? elbow_of_rank(pic, a->rank + 1) : 0;
            e->above = b->x > lane[i] || box_between(pic, b, lane[i]) ? b->elbow_y : 0;
        }
        pic->w = lane[i] + MARGIN > pic->w ? lane[i] + MARGIN : pic->w;
    }
}

static void place_x(Picture *pic, int gutter)
{
    double least = 0;

    for (int i = 0; i < pic->nbox; i++)
        least = pic->box[i].column < least ? pic->box[i].column : least;
    pic->w = 0;
    for (int i = 0; i < pic->nbox; i++) {
        Box *b = &pic->box[i];
        b->x = MARGIN + (FRAME_PAD + 2) * deepest(pic) + (int)((b->column - least) * (BOX_W + gutter));
        const int right = b->x + BOX_W + (FRAME_PAD + 2) * deepest(pic) + MARGIN;
        pic->w = right > pic->w ? right : pic->w;
    }
}

static void place_frames(Picture *pic)
{
    const int deep = deepest(pic);

    for (int f = 0; f < pic->nframe; f++) {
        Frame *fr = &pic->frame[f];
        const int pad = (deep - fr->depth) * FRAME_PAD - 4;
        int left = pic->w, right = 0, top = pic->h, bottom = 0;
        for (int i = 1; i < pic->nbox; i++) {
            const Box *b = &pic->box[i];
            if (!in_group(b, fr->name))
                continue;
            left = b->x < left ? b->x : left;
            right = b->x + BOX_W > right ? b->x + BOX_W : right;
            top = b->y < top ? b->y : top;
            bottom = box_bottom(b) > bottom ? box_bottom(b) : bottom;
        }
        fr->x = left - pad;
        fr->w = right - left + 2 * pad;
        fr->y = top - (FRAME_PAD + 8) * (fr->above + 1) + 2;
        fr->h = bottom + 6 + FRAME_PAD * fr->below + 2 - fr->y;
    }
}

/* In the middle of a picture that is wide enough for the title. */
static void centre(Picture *pic)
{
    const int shift = pic->w < MIN_W ? (MIN_W - pic->w) / 2 : 0;

    for (int i = 0; i < pic->nbox; i++)
        pic->box[i].x += shift;
    for (int i = 0; i < pic->nwire; i++)
        pic->wire[i].lane += shift;
    for (int i = 0; i < pic->nframe; i++)
        pic->frame[i].x += shift;
    pic->w += 2 * shift;
}

Picture *draw_picture(const Plan *p)
{
    Picture *pic = xalloc(sizeof *pic);

    pic->plan = p;
    *PUSH(pic->box, pic->nbox) = (Box){.tensor = &p->tensor[0]};
    for (int i = 0; i < p->nkernel; i++) {
        const Kernel *k = &p->kernel[i];
        *PUSH(pic->box, pic->nbox) = (Box){.kernel = k, .tensor = k->tensor >= 0 ? &p->tensor[k->tensor] : NULL};
        fill_box(pic, &pic->box[pic->nbox - 1]);
    }
    for (int i = 1; i < pic->nbox; i++)
        add_wires(pic, i);
    return pic;
}

void draw_place(Picture *pic)
{
    rank_boxes(pic);
    place_columns(pic);
    find_frames(pic);
    measure_frames(pic);
    place_rows(pic);
    place_x(pic, 44 + 2 * (FRAME_PAD + 2) * deepest(pic));
    find_buses(pic);
    place_x(pic, 44 + 2 * (FRAME_PAD + 2) * deepest(pic) + LANE * most_lanes(pic));
    find_buses(pic);
    place_lanes(pic);
    place_frames(pic);
    centre(pic);
}
