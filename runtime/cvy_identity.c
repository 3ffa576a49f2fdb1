/* cvy_identity.c - which network a checkpoint's weights belong to. Its metadata hold a line for each op; a network
 * knows its own (cvy_model.identity). Both are compared in full, and what differs is said by layer. The generator's
 * export uses it, too. SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <stdlib.h>
#include <string.h>

/* An op, out of a line "PLACE | OP | INPUTS | PARAMETERS | TRAINING" whose last fields are left out where they are
 * empty. */
struct op_row {
    const char *place;    /* "conv2/bn", or "pool1" for a layer of one op: no other row has it */
    const char *op;       /* "bn(eps=1e-05)" */
    const char *params;   /* names, a blank between them */
    const char *training; /* what concerns training alone: "momentum=0.1" */
    int layer;            /* length of the layer's name in place */
    int drop;             /* a dropout: for inference it is not there */
    int last;             /* of its layer */
    int *in, nin;         /* rows that it reads */
};

struct network {
    char *text;
    struct op_row *row;
    int *in;    /* of all rows */
    int *index; /* rows by layer, and within a layer in their order */
    int n;
};

static void network_free(struct network *w)
{
    free(w->text);
    free(w->row);
    free(w->in);
    free(w->index);
    memset(w, 0, sizeof *w);
}

static int word_len(const char *op)
{
    return (int)strcspn(op, "( ");
}

/* ---- lines -> rows ---- */

/* Cuts the text at the first `mark`; returns what follows, or the empty end. */
static char *cut(char *text, const char *mark)
{
    char *at = strstr(text, mark);
    if (!at)
        return text + strlen(text);
    *at = '\0';
    return at + strlen(mark);
}

static const struct op_row *sorted_rows; /* of the qsort under way: the program has one thread here */

static int by_place(const void *a, const void *b)
{
    return strcmp(sorted_rows[*(const int *)a].place, sorted_rows[*(const int *)b].place);
}

static int layer_order(const struct op_row *a, const struct op_row *b)
{
    int n = a->layer < b->layer ? a->layer : b->layer, c = memcmp(a->place, b->place, (size_t)n);
    return c ? c : a->layer - b->layer;
}

static int by_layer(const void *a, const void *b)
{
    int i = *(const int *)a, j = *(const int *)b, c = layer_order(&sorted_rows[i], &sorted_rows[j]);
    return c ? c : i - j;
}

static void sort_by_layer(struct network *w)
{
    sorted_rows = w->row;
    qsort(w->index, (size_t)w->n, sizeof *w->index, by_layer);
    for (int i = 0; i < w->n; i++) {
        struct op_row *r = &w->row[w->index[i]];
        r->last = i + 1 == w->n || layer_order(r, &w->row[w->index[i + 1]]) != 0;
    }
}

/* The row of that place, by w->index sorted by place; -1: none. */
static int find_place(const struct network *w, const char *place)
{
    int lo = 0, hi = w->n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, c = strcmp(w->row[w->index[mid]].place, place);
        if (c == 0)
            return w->index[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* Its inputs become row numbers, each of an earlier row. The text is cut at its blanks. */
static int resolve_inputs(struct network *w, int i, char *inputs, int *nin)
{
    struct op_row *r = &w->row[i];
    r->in = w->in + *nin;
    while (*inputs) {
        char *next = cut(inputs, " ");
        int from = find_place(w, inputs);
        if (from < 0 || from >= i)
            return 0;
        r->in[r->nin++] = from;
        inputs = next;
    }
    *nin += r->nin;
    return 1;
}

/* 1: read; 0: the text is no list of ops; -1: out of memory, and said. Takes `text`. */
static int network_read(struct network *w, char *text)
{
    int lines = 1, words = 1, nin = 0, ok = 1;
    memset(w, 0, sizeof *w);
    w->text = text;
    for (const char *s = text; *s; s++) {
        lines += *s == '\n';
        words += *s == ' ' || *s == '\n';
        if ((unsigned char)*s < 32 && *s != '\n')
            return 0;
    }
    w->row = cvy_alloc((size_t)lines, sizeof *w->row);
    w->in = cvy_alloc((size_t)words, sizeof *w->in);
    w->index = cvy_alloc((size_t)lines, sizeof *w->index);
    char **inputs = cvy_alloc((size_t)lines, sizeof *inputs);
    if (!w->row || !w->in || !w->index || !inputs) {
        free(inputs);
        return -1;
    }
    for (char *line = text; *line && ok;) {
        struct op_row *r = &w->row[w->n];
        char *next = cut(line, "\n"), *op = cut(line, " | ");
        inputs[w->n] = cut(op, " | ");
        char *params = cut(inputs[w->n], " | ");
        r->training = cut(params, " | ");
        r->place = line;
        r->op = op;
        r->params = params;
        r->layer = (int)strcspn(line, "/");
        r->drop = word_len(op) == 4 && memcmp(op, "drop", 4) == 0;
        ok = r->layer > 0 && *op != '\0';
        w->index[w->n] = w->n;
        w->n++;
        line = next;
    }
    ok = ok && w->n > 0;
    sorted_rows = w->row;
    if (ok)
        qsort(w->index, (size_t)w->n, sizeof *w->index, by_place);
    for (int i = 1; i < w->n && ok; i++)
        ok = strcmp(w->row[w->index[i - 1]].place, w->row[w->index[i]].place) != 0;
    for (int i = 0; i < w->n && ok; i++)
        ok = resolve_inputs(w, i, inputs[i], &nin) && (!w->row[i].drop || w->row[i].nin == 1);
    if (ok)
        sort_by_layer(w);
    free(inputs);
    return ok;
}

/* Takes the dropouts out: who read one reads what it read. */
static void leave_out_drops(struct network *w)
{
    int n = 0;
    int *now = w->index; /* where a row went; sorted again below */
    for (int i = 0; i < w->n; i++) {
        struct op_row r = w->row[i];
        for (int k = 0; k < r.nin; k++)
            r.in[k] = now[r.in[k]];
        now[i] = r.drop ? r.in[0] : n;
        if (!r.drop)
            w->row[n++] = r;
    }
    w->n = n;
    for (int i = 0; i < n; i++)
        w->index[i] = i;
    sort_by_layer(w);
}

static char *joined(const char *const *line)
{
    size_t len = 1;
    for (int i = 0; line[i]; i++)
        len += strlen(line[i]) + 1;
    char *text = cvy_alloc(len, 1), *end = text;
    for (int i = 0; text && line[i]; i++) {
        size_t n = strlen(line[i]);
        if (i)
            *end++ = '\n';
        memcpy(end, line[i], n);
        end += n;
    }
    return text;
}

/* ---- what differs ---- */

struct report {
    char *text;
    int n, failed; /* differences; out of memory */
};

enum { SHOWN = 8, WIDTH = 90 };

static void add_line(struct report *r, char *line)
{
    if (!line || r->failed) {
        r->failed = 1;
    } else if (r->n++ < SHOWN) {
        char *longer = cvy_format("%s\n  %s", r->text ? r->text : "", line);
        free(r->text);
        r->text = longer;
        r->failed = !longer;
    }
    free(line);
}

/* Where two texts are too long for a line, what to skip of both, so that the place where they part is seen. */
static int skip_of(const char *a, const char *b)
{
    int same = 0;
    while (a[same] && a[same] == b[same])
        same++;
    return same > WIDTH / 2 && (strlen(a) > WIDTH || strlen(b) > WIDTH) ? same - WIDTH / 4 : 0;
}

static void differ(struct report *r, const struct op_row *at, const char *how, const char *there, const char *here)
{
    int skip = skip_of(there, here);
    const char *dots = skip ? "..." : "";
    add_line(r, cvy_format("%.*s: trained %s %s%.*s, here %s%.*s", at->layer, at->place, how, dots, WIDTH, there + skip,
                           dots, WIDTH, here + skip));
}

/* A layer's rows are index[from..to). */
static int layer_end(const struct network *w, int from)
{
    int to = from;
    while (to < w->n && layer_order(&w->row[w->index[from]], &w->row[w->index[to]]) == 0)
        to++;
    return to;
}

/* "conv-bn-relu" */
static char *order_of(const struct network *w, int from, int to)
{
    size_t len = 1;
    for (int i = from; i < to; i++)
        len += (size_t)word_len(w->row[w->index[i]].op) + 1;
    char *text = cvy_alloc(len, 1), *end = text;
    for (int i = from; text && i < to; i++) {
        const char *op = w->row[w->index[i]].op;
        if (i > from)
            *end++ = '-';
        memcpy(end, op, (size_t)word_len(op));
        end += word_len(op);
    }
    return text;
}

/* What it reads, "conv1 and input": a layer where that is the layer's end, so that a layer of another order differs,
 * and not its readers; a place where it is within a layer. */
static char *inputs_of(const struct network *w, const struct op_row *r)
{
    char *text = cvy_format("%s", r->nin ? "" : "nothing");
    for (int i = 0; i < r->nin && text; i++) {
        const struct op_row *from = &w->row[r->in[i]];
        const int whole = from->last && layer_order(from, r) != 0;
        char *longer =
            cvy_format("%s%s%.*s", text, i ? " and " : "", whole ? from->layer : (int)strlen(from->place), from->place);
        free(text);
        text = longer;
    }
    return text;
}

static void compare_ops(struct report *r, const struct network *a, const struct op_row *x, const struct network *b,
                        const struct op_row *y, int training)
{
    if (strcmp(x->op, y->op) != 0)
        differ(r, x, "with", x->op, y->op);
    char *there = inputs_of(a, x), *here = inputs_of(b, y);
    if (!there || !here)
        r->failed = 1;
    else if (strcmp(there, here) != 0)
        differ(r, x, "reading", there, here);
    free(there);
    free(here);
    if (strcmp(x->params, y->params) != 0)
        differ(r, x, "with parameters", *x->params ? x->params : "none", *y->params ? y->params : "none");
    if (training && strcmp(x->training, y->training) != 0)
        differ(r, x, "with", *x->training ? x->training : "nothing said", *y->training ? y->training : "nothing said");
}

static void compare_layers(struct report *r, const struct network *a, int i, int i_end, const struct network *b, int j,
                           int j_end, int training)
{
    const struct op_row *first = &a->row[a->index[i]];
    char *there = order_of(a, i, i_end), *here = order_of(b, j, j_end);
    if (!there || !here)
        r->failed = 1;
    else if (strcmp(there, here) != 0)
        differ(r, first, "as", there, here);
    else
        for (int k = 0; k < i_end - i; k++)
            compare_ops(r, a, &a->row[a->index[i + k]], b, &b->row[b->index[j + k]], training);
    free(there);
    free(here);
}

static void only_in(struct report *r, const struct network *w, int from, int to, const char *fmt)
{
    const struct op_row *first = &w->row[w->index[from]];
    char *order = order_of(w, from, to);
    if (order)
        add_line(r, cvy_format("%.*s: %s %.*s%s", first->layer, first->place,
                               fmt[0] == 't' ? "trained as" : "not there when it was trained, here", WIDTH, order,
                               fmt[0] == 't' ? ", not there here" : ""));
    else
        r->failed = 1;
    free(order);
}

/* Both lists of layers, sorted, side by side. */
static void compare_networks(struct report *r, const struct network *a, const struct network *b, int training)
{
    int i = 0, j = 0;
    while ((i < a->n || j < b->n) && !r->failed) {
        int c = i == a->n ? 1 : j == b->n ? -1 : layer_order(&a->row[a->index[i]], &b->row[b->index[j]]);
        int i_end = c <= 0 ? layer_end(a, i) : i, j_end = c >= 0 ? layer_end(b, j) : j;
        if (c == 0)
            compare_layers(r, a, i, i_end, b, j, j_end, training);
        else if (c < 0)
            only_in(r, a, i, i_end, "there");
        else
            only_in(r, b, j, j_end, "here");
        i = i_end;
        j = j_end;
    }
}

/* The same ops in the same order, wherever the layers without parameters have other names. */
static int same_rows(const struct network *a, const struct network *b, int training)
{
    if (a->n != b->n)
        return 0;
    for (int i = 0; i < a->n; i++) {
        const struct op_row *x = &a->row[i], *y = &b->row[i];
        if (strcmp(x->op, y->op) != 0 || x->nin != y->nin || strcmp(x->params, y->params) != 0 ||
            (training && strcmp(x->training, y->training) != 0))
            return 0;
        for (int k = 0; k < x->nin; k++)
            if (x->in[k] != y->in[k])
                return 0;
    }
    return 1;
}

/* ---- for others ---- */

static const char meta_key[] = "network";

int cvy_put_identity(struct cvy_tensors *f, const char *const *lines)
{
    char *text = lines ? joined(lines) : NULL;
    int ok = !lines || (text && cvy_put_meta(f, meta_key, "%s", text));
    free(text);
    return ok;
}

/* The file's network and this one. 1: both read; 0: the file does not say; -1 after a message. */
static int read_both(const struct cvy_tensors *f, const char *const *here, struct network *a, struct network *b)
{
    const char *said = cvy_get_meta(f, meta_key);
    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    if (!said || !here)
        return 0;
    char *text = cvy_format("%s", said), *own = joined(here);
    if (!text || !own) {
        free(text);
        free(own);
        return -1;
    }
    int read_a = network_read(a, text), read_b = network_read(b, own);
    if (read_a == 0)
        cvy_error("it is damaged, or a later version wrote it", "'%s': what it says of its network cannot be read",
                  f->path);
    if (read_b == 0)
        cvy_error(NULL, "this network's own description cannot be read: a bug");
    return read_a == 1 && read_b == 1 ? 1 : -1;
}

/* What differs, as lines that each begin with "\n  "; NULL where nothing does. 0: out of memory, and said. */
static int differences(struct network *a, struct network *b, int training, char **text)
{
    struct report r = {0};
    if (!training) {
        leave_out_drops(a);
        leave_out_drops(b);
    }
    if (!same_rows(a, b, training))
        compare_networks(&r, a, b, training);
    if (r.n > SHOWN && !r.failed) {
        char *longer = cvy_format("%s\n  and %d more", r.text, r.n - SHOWN);
        free(r.text);
        r.text = longer;
        r.failed = !longer;
    }
    if (r.failed) {
        free(r.text);
        r.text = NULL;
    }
    *text = r.text;
    return !r.failed;
}

enum cvy_likeness cvy_identity_compare(const struct cvy_tensors *f, const char *const *here, int training, char **what)
{
    struct network a, b;
    int read = read_both(f, here, &a, &b);
    enum cvy_likeness like = read < 0 ? CVY_UNREADABLE : CVY_UNSAID;
    *what = NULL;
    if (read > 0)
        like = !differences(&a, &b, training, what) ? CVY_UNREADABLE : *what ? CVY_DIFFERENT : CVY_SAME;
    network_free(&a);
    network_free(&b);
    return like;
}

int cvy_identity_check(const struct cvy_tensors *f, const char *const *here, int training, int force)
{
    char *what;
    enum cvy_likeness like = cvy_identity_compare(f, here, training, &what);
    if (like == CVY_DIFFERENT && force)
        cvy_warn("'%s' was trained as another network; --force takes it all the same:%s", f->path, what);
    else if (like == CVY_DIFFERENT)
        cvy_error("take the spec that it was trained with, or insist with --force",
                  "'%s' was trained as another network:%s", f->path, what);
    free(what);
    return like == CVY_SAME || like == CVY_UNSAID || (like == CVY_DIFFERENT && force);
}

int cvy_identity_accept(struct cvy_tensors *f, const struct cvy_tensors *want, const char *const *here,
                        enum cvy_taking how)
{
    if ((how != CVY_COMPARED && !cvy_identity_check(f, here, 0, how == CVY_FORCED)) || !cvy_tensors_match(f, want))
        return 0;
    if (here && !cvy_get_meta(f, meta_key))
        cvy_note("'%s' does not say which network it was trained as: names and shapes alone are compared", f->path);
    return 1;
}

/* ---- op by op ---- */

static const struct op_row *before_drops(const struct network *w, int i)
{
    while (w->row[i].drop)
        i = w->row[i].in[0];
    return &w->row[i];
}

static int same_op(const struct network *a, const struct op_row *x, const struct network *b, const struct op_row *y)
{
    int same = x->nin == y->nin && strcmp(x->op, y->op) == 0 && strcmp(x->params, y->params) == 0;
    for (int k = 0; k < x->nin && same; k++)
        same = strcmp(before_drops(a, x->in[k])->place, before_drops(b, y->in[k])->place) == 0;
    return same;
}

enum cvy_likeness cvy_identity_ops(const struct cvy_tensors *f, const char *const *here, char *same)
{
    struct network a, b;
    int read = read_both(f, here, &a, &b);
    if (read > 0) {
        sorted_rows = a.row;
        qsort(a.index, (size_t)a.n, sizeof *a.index, by_place);
    }
    for (int i = 0; read > 0 && i < b.n; i++) {
        int there = find_place(&a, b.row[i].place);
        same[i] = (char)(there >= 0 && same_op(&a, &a.row[there], &b, &b.row[i]));
    }
    network_free(&a);
    network_free(&b);
    return read > 0 ? CVY_SAME : read < 0 ? CVY_UNREADABLE : CVY_UNSAID;
}

int cvy_identity_op_of(const char *const *here, const char *tensor)
{
    const char *dot = strrchr(tensor, '.');
    size_t len = dot ? (size_t)(dot - tensor) : 0;
    for (int i = 0; here && here[i]; i++) {
        const char *place = here[i];
        size_t k = 0;
        while (k < len && (place[k] == tensor[k] || (place[k] == '/' && tensor[k] == '.')))
            k++;
        if (k == len && place[k] == ' ')
            return i;
    }
    return -1;
}
