/* report.c - what was found, and what became of it: text, or JSON. */
#include "import.h"
#include "files.h"
#include "runtime.h"
#include "term.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHOWN = 10, /* notes of a kind, pairs */
    SHOWN_CLASSES = 40,
    HANG = 13, /* the column of what is said of a word */
};

static const char *const note_heads[NOTE_KINDS] = {"left out, because they cannot be read", "odd", "refused cells"};
static const char *const note_keys[NOTE_KINDS] = {"unreadable", "odd", "refused_cells"};

/* Of the rows that were read. */
static double mean_length(const Import *m)
{
    int n = 0;
    for (int i = 0; i < m->n; i++)
        n += !record(m, i)->left_out;
    return n ? (double)m->all_steps / n : 0;
}

static void count_classes(Import *m)
{
    int at = 0;
    m->class_count = xalloc(((size_t)m->nclass * SPLITS + 1) * sizeof *m->class_count);
    for (int s = 0; s < SPLITS; s++)
        for (int k = 0; k < m->count[s]; k++, at++)
            if (!m->regression)
                m->class_count[record(m, m->order[at])->label * SPLITS + s]++;
}

/* What makes a set of little use, in words. */
static void find_weaknesses(Import *m)
{
    int alone = 0, absent[SPLITS] = {0}, kept = m->count[0] + m->count[1] + m->count[2];
    const char *one = NULL;
    for (int c = 0; c < m->nclass && !m->regression; c++) {
        int rows = 0;
        for (int s = 0; s < SPLITS; s++) {
            rows += rows_of(m, c, s);
            absent[s] += m->count[s] && !rows_of(m, c, s);
        }
        alone += rows == 1;
        one = rows == 1 && !one ? m->class_name[c] : one;
    }
    if (alone)
        fact(m, "warning", NULL, "%d %s a single row, as '%s' has: it trains, and is not tested", alone,
             alone == 1 ? "class has" : "classes have", one);
    for (int s = 0; s < SPLITS; s++)
        if (absent[s])
            fact(m, "warning", NULL, "%d of %d classes %s no row in %s", absent[s], m->nclass,
                 absent[s] == 1 ? "has" : "have", split_words[s]);
    if (m->nclass == 1 && !m->regression)
        fact(m, "warning", NULL, "there is one class only, '%s': nothing can be learned from it", m->class_name[0]);
    if (!m->count[SPLIT_TRAIN])
        fact(m, "warning", NULL, "there is no row to train with");
    for (int c = 0; c < m->channels && m->channels * m->width * m->height > 1 && !tokens_are(m); c++)
        if (m->sd[c] == 0 && kept > 1) {
            fact(m, "warning", NULL, "%s %d%s%s never changes in training", m->column ? "column" : "channel", c + 1,
                 m->column ? ": " : "", m->column ? m->column[c] : "");
        }
}

/* ---- text ---- */

static void say(Buf *b, const char *what, const char *text)
{
    Buf line = {0};
    buf_printf(&line, "  %-*s %s", HANG - 3, what, text);
    term_wrap(b, line.text, HANG, term_columns(stdout, 100));
    buf_puts(b, "\n");
}

static const char *plain(const char *s)
{
    const size_t room = 10 * strlen(s) + 8;
    return cvy_plain(s, xalloc(room), room);
}

static void say_classes(const Import *m, Buf *b)
{
    int wide = 5;
    const int shown = m->nclass < SHOWN_CLASSES ? m->nclass : SHOWN_CLASSES;
    for (int c = 0; c < shown; c++) {
        const int n = (int)strlen(plain(m->class_name[c]));
        wide = n > wide ? n < 40 ? n : 40 : wide;
    }
    buf_printf(b, "\n  %-*s %9s %9s %9s\n", wide, m->regression ? "" : "class", "train", "valid", "test");
    for (int c = m->regression ? -1 : 0; c < (m->regression ? 0 : shown); c++)
        buf_printf(b, "  %-*s %9d %9d %9d\n", wide, c < 0 ? "rows" : plain(m->class_name[c]),
                   rows_of(m, c, SPLIT_TRAIN), rows_of(m, c, SPLIT_VALID), rows_of(m, c, SPLIT_TEST));
    if (m->nclass > shown && !m->regression)
        buf_printf(b, "  ... and %d more classes (--json has them all)\n", m->nclass - shown);
    if (!m->regression && m->nclass > 1)
        buf_printf(b, "  %-*s %9d %9d %9d\n", wide, "all", m->count[0], m->count[1], m->count[2]);
}

static void say_notes(const Import *m, Buf *b)
{
    for (int kind = 0; kind < NOTE_KINDS; kind++) {
        int shown = 0;
        if (!m->note_count[kind])
            continue;
        buf_printf(b, "\n  %s: %" PRId64 "\n", note_heads[kind], m->note_count[kind]);
        for (int i = 0; i < m->nnote && shown < SHOWN; i++)
            if (m->note[i].kind == (NoteKind)kind && ++shown)
                buf_printf(b, "    %s: %s\n", m->note[i].name, m->note[i].text);
        if (m->note_count[kind] > shown)
            buf_printf(b, "    ... and %" PRId64 " more (--json and --html list them)\n", m->note_count[kind] - shown);
    }
}

static void say_pairs(Import *m, Buf *b, const Pairs *p)
{
    for (int i = 0; i < p->n && i < SHOWN / 2; i++) {
        const Record *x = record(m, p->pair[i].a), *y = record(m, p->pair[i].b);
        buf_printf(b, "    %s (%s), %s (%s)%s\n", record_name(m, p->pair[i].a), split_words[x->split],
                   record_name(m, p->pair[i].b), split_words[y->split], x->label != y->label ? ": of two classes" : "");
    }
    if (p->count > SHOWN / 2)
        buf_printf(b, "    ... and %" PRId64 " more pairs\n", p->count - SHOWN / 2);
}

static const char *across(const Pairs *p)
{
    Buf b = {0};
    buf_puts(&b, "");
    if (p->across_splits)
        buf_printf(&b, "; %" PRId64 " across the source's splits, which stay as they are: results on them are too good",
                   p->across_splits);
    if (p->across_classes)
        buf_printf(&b, "; %" PRId64 " across classes", p->across_classes);
    return b.text;
}

static void say_duplicates(Import *m, Buf *b)
{
    if (m->same.count) {
        buf_printf(b, "\n  equal to another: %" PRId64 " rows; copies are one group, in one split%s\n", m->same_images,
                   across(&m->same));
        say_pairs(m, b, &m->same);
    }
    if (m->near.count) {
        buf_printf(b, "\n  nearly equal (not grouped; --group does that): %" PRId64 " pairs%s\n", m->near.count,
                   across(&m->near));
        say_pairs(m, b, &m->near);
    }
    if (m->near_cut)
        buf_puts(b, "\n  so many images are alike that not all pairs were compared\n");
}

static const char *numbers_text(const double *v, int n)
{
    Buf b = {0};
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%.6g", i ? ", " : "[", v[i]);
    buf_puts(&b, "]");
    return b.text;
}

/* The lines of a spec that fit the set. */
static void say_spec(const Import *m, Buf *b)
{
    enum { FEW = 64 };
    buf_puts(b, "\n  in a spec:\n");
    if (tokens_are(m))
        buf_printf(b, "    input: {tokens: %.0f, length: %d, lengths: true}\n", m->most + 1, m->steps);
    else if (lengths_are(m))
        buf_printf(b, "    input: {features: %d, length: %d, lengths: true}\n", m->channels, m->steps);
    else if (m->height == 1 && m->width == 1)
        buf_printf(b, "    input: [%d]\n", m->channels);
    else
        buf_printf(b, "    input: [%d, %d, %d]\n", m->channels, m->height, m->width);
    if (!m->regression)
        buf_printf(b, "    classes: %d\n", m->nclass);
    else
        buf_printf(b, "    outputs: %d\n", m->ntarget);
    if ((m->channels <= FEW && !tokens_are(m)) || m->regression)
        buf_printf(b, "    train:\n%s", m->regression ? "      loss: mse\n" : "");
    if (m->channels <= FEW && !tokens_are(m)) {
        double *sd = xalloc((size_t)m->channels * sizeof *sd);
        for (int c = 0; c < m->channels; c++)
            sd[c] = m->sd[c] > 0 ? m->sd[c] : 1;
        buf_printf(b, "      mean: %s\n      std: %s\n", numbers_text(m->mean, m->channels),
                   numbers_text(sd, m->channels));
    }
}

/* What a row is. */
static const char *row_text(const Import *m)
{
    const char *const type = set_floats(m) ? "float32" : "bytes";
    if (tokens_are(m))
        return xprintf("up to %d tokens (%s), from %.6g to %.6g", m->steps, type, m->least, m->most);
    if (lengths_are(m))
        return xprintf("up to %d steps of %d numbers (%s), from %.6g to %.6g", m->steps, m->channels, type, m->least,
                       m->most);
    if (m->height == 1 && m->width == 1)
        return xprintf("%d numbers (%s), from %.6g to %.6g", m->channels, type, m->least, m->most);
    return xprintf("%d x %d x %d %s, from %.6g to %.6g", m->channels, m->height, m->width, type, m->least, m->most);
}

static void report_text(Import *m, Buf *b)
{
    buf_printf(b, "%s: %s\n\n", plain(m->shown), m->source->what);
    say(b, "rows",
        xprintf("%d: %d to train, %d to choose by (valid), %d to test", m->count[0] + m->count[1] + m->count[2],
                m->count[0], m->count[1], m->count[2]));
    say(b, "each", row_text(m));
    if (lengths_are(m))
        say(b, "length", xprintf("%d to %d steps, %.3g on average", m->least_length, m->most_length, mean_length(m)));
    for (int i = 0; i < m->nfact; i++)
        say(b, m->fact[i].what,
            m->fact[i].flag ? xprintf("%s [%s]", m->fact[i].text, m->fact[i].flag) : m->fact[i].text);
    for (int k = 0; k < MET_KINDS; k++)
        if (m->met[k])
            say(b, "images", xprintf("%d %s", m->met[k], met_words[k]));
    say_classes(m, b);
    say_notes(m, b);
    say_duplicates(m, b);
    say_spec(m, b);
    buf_printf(b, "\nwrote %s (%.1f MB)\n", plain(m->o->out), m->bytes / 1e6);
}

/* ---- JSON ---- */

static json_t *pairs_json(Import *m, const Pairs *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->n; i++) {
        const Record *x = record(m, p->pair[i].a), *y = record(m, p->pair[i].b);
        json_array_append_new(list, json_pack("{s:[s, s], s:[s, s], s:b}", "rows", record_name(m, p->pair[i].a),
                                              record_name(m, p->pair[i].b), "splits", split_words[x->split],
                                              split_words[y->split], "same_class", x->label == y->label));
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "pairs", (json_int_t)p->count, "across_splits",
                     (json_int_t)p->across_splits, "across_classes", (json_int_t)p->across_classes, "listed", list);
}

static json_t *report_json(Import *m)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:[i, i, i], s:s, s:f, s:f, s:I}", "source", plain(m->shown), "kind",
                          m->source->what, "set", plain(m->o->out), "shape", m->channels, m->height, m->width, "type",
                          set_floats(m) ? "float32" : "uint8", "least", m->least, "most", m->most, "hidden",
                          (json_int_t)m->hidden);
    json_t *rows = json_object(), *classes = json_array(), *facts = json_array(), *met = json_array(),
           *notes = json_object();
    for (int s = 0; s < SPLITS; s++)
        json_object_set_new(rows, split_words[s], json_integer(m->count[s]));
    json_object_set_new(o, "rows", rows);
    for (int c = 0; c < m->nclass && !m->regression; c++)
        json_array_append_new(classes, json_pack("{s:s, s:i, s:i, s:i}", "name", plain(m->class_name[c]), "train",
                                                 rows_of(m, c, SPLIT_TRAIN), "valid", rows_of(m, c, SPLIT_VALID),
                                                 "test", rows_of(m, c, SPLIT_TEST)));
    json_object_set_new(o, "classes", classes);
    if (m->regression) {
        json_t *targets = json_array();
        for (int c = 0; c < m->ntarget; c++)
            json_array_append_new(targets, json_string(plain(m->target[c])));
        json_object_set_new(o, "targets", targets);
    }
    if (lengths_are(m))
        json_object_set_new(o, "lengths",
                            json_pack("{s:i, s:i, s:i, s:f, s:b}", "steps", m->steps, "least", m->least_length, "most",
                                      m->most_length, "mean", mean_length(m), "tokens", tokens_are(m)));
    json_t *mean = json_array(), *sd = json_array();
    for (int c = 0; c < m->channels; c++) {
        json_array_append_new(mean, json_real(m->mean[c]));
        json_array_append_new(sd, json_real(m->sd[c]));
    }
    json_object_set_new(o, "mean", mean);
    json_object_set_new(o, "sd", sd);
    for (int i = 0; i < m->nfact; i++)
        json_array_append_new(facts, json_pack("{s:s, s:s, s:s?}", "what", m->fact[i].what, "text", m->fact[i].text,
                                               "flag", m->fact[i].flag));
    json_object_set_new(o, "found", facts);
    for (int k = 0; k < MET_KINDS; k++)
        if (m->met[k])
            json_array_append_new(met, json_pack("{s:i, s:s}", "images", m->met[k], "what", met_words[k]));
    json_object_set_new(o, "met", met);
    for (int kind = 0; kind < NOTE_KINDS; kind++) {
        json_t *list = json_array();
        for (int i = 0; i < m->nnote; i++)
            if (m->note[i].kind == (NoteKind)kind)
                json_array_append_new(list, json_pack("{s:s, s:s}", "name", m->note[i].name, "why", m->note[i].text));
        json_object_set_new(notes, note_keys[kind],
                            json_pack("{s:I, s:o}", "count", (json_int_t)m->note_count[kind], "listed", list));
    }
    json_object_set_new(o, "notes", notes);
    json_object_set_new(o, "equal", pairs_json(m, &m->same));
    json_object_set_new(o, "near", pairs_json(m, &m->near));
    json_object_set_new(o, "all_pairs_compared", json_boolean(!m->near_cut));
    return o;
}

/* ---- all of it ---- */

static int by_note(const void *a, const void *b)
{
    const Note *x = a, *y = b;
    const int c = strcmp(x->name, y->name);
    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : c ? c : strcmp(x->text, y->text);
}

bool report_write(Import *m)
{
    Buf b = {0}, picture = {0}, page = {0};
    count_classes(m);
    find_weaknesses(m);
    if (m->nnote && m->images) /* a folder's entries come in the file system's order */
        qsort(m->note, (size_t)m->nnote, sizeof *m->note, by_note);
    if (m->o->sheet && (!sheet_png(m, &picture) || !file_write(m->o->sheet, picture.text, picture.len)))
        return false;
    if (m->o->html && (!page_html(m, &page) || !file_write(m->o->html, page.text, page.len)))
        return false;
    if (m->o->json) {
        json_t *o = report_json(m);
        char *text = json_dumps(o, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
        if (!text)
            BUG("the report cannot be made");
        puts(text);
        free(text);
        json_decref(o);
    } else if (!m->o->quiet) {
        report_text(m, &b);
        fwrite(b.text, 1, b.len, stdout);
    }
    return true;
}
