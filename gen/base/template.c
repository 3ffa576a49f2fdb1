/* template.c - expands templates/: C files with directives in comments, each alone on a line that starts with //$
 *
 *     define NAME .. end   a template; what stands outside is for the reader
 *     for X in PATH .. end the lines once for each record of a list, bound to X
 *     if PATH .. [else ..] end   where the field exists and is neither empty nor 0
 *     emit PATH            the template that the record's field `template` names; the record keeps the name PATH's last part
 *                          has here, and the lines are indented as the directive is
 *
 * $x.field places a value: the longest bound name, then the longest field that fit; $$ is a dollar sign. There are no expressions: the plan
 * computes, templates place. */
#include "template.h"

#include "embedded.h"


#include <stdarg.h>
#include <string.h>

/* ---- records ---- */

typedef struct Field {
    const char *name;
    const char *text;
    Rec *rec;
    Rec **list;
    int n;
} Field;

struct Rec {
    Field *field;
    int n;
};

Rec *rec_new(void)
{
    return xalloc(sizeof(Rec));
}

static Field *find_field(const Rec *r, const char *name, size_t len)
{
    for (int i = 0; i < r->n; i++)
        if (strncmp(r->field[i].name, name, len) == 0 && r->field[i].name[len] == '\0')
            return &r->field[i];
    return NULL;
}

static Field *add_field(Rec *r, const char *name)
{
    if (find_field(r, name, strlen(name)))
        BUG("field %s set twice", name);
    Field *f = PUSH(r->field, r->n);
    *f = (Field){.name = name};
    return f;
}

void rec_str(Rec *r, const char *name, const char *value)
{
    add_field(r, name)->text = value;
}

void rec_int(Rec *r, const char *name, int64_t value)
{
    rec_str(r, name, xprintf("%lld", (long long)value));
}

void rec_fmt(Rec *r, const char *name, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        BUG("format %s", fmt);
    char *s = xalloc((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    rec_str(r, name, s);
}

void rec_rec(Rec *r, const char *name, Rec *value)
{
    add_field(r, name)->rec = value;
}

void rec_push(Rec *r, const char *list, Rec *item)
{
    Field *f = find_field(r, list, strlen(list));

    if (!f)
        f = add_field(r, list);
    *PUSH(f->list, f->n) = item;
}

Rec *rec_add(Rec *r, const char *list)
{
    Rec *item = rec_new();

    rec_push(r, list, item);
    return item;
}

/* ---- templates ---- */

typedef struct Line {
    const char *text;
    int len, indent;
    bool directive;
} Line;

typedef struct Template {
    const char *name;
    int from, to; /* lines */
} Template;

static Line *line;
static int nline;
static Template *templates;
static int ntemplate;

/* The words of a directive: up to 4. */
typedef struct Words {
    const char *word[4];
    int len[4], n;
} Words;

static Words split(const Line *l)
{
    Words w = {0};
    const char *p = l->text + l->indent + 3, *end = l->text + l->len;

    while (p < end && w.n < 4) {
        while (p < end && *p == ' ')
            p++;
        const char *start = p;
        while (p < end && *p != ' ')
            p++;
        if (p > start) {
            w.word[w.n] = start;
            w.len[w.n++] = (int)(p - start);
        }
    }
    return w;
}

static bool word_is(const Words *w, int i, const char *s)
{
    return i < w->n && (size_t)w->len[i] == strlen(s) && strncmp(w->word[i], s, strlen(s)) == 0;
}

static bool opens(const Words *w)
{
    return word_is(w, 0, "for") || word_is(w, 0, "if") || word_is(w, 0, "define");
}

static void add_lines(const char *text)
{
    while (*text) {
        const char *end = strchr(text, '\n');
        Line l = {.text = text, .len = (int)(end ? end - text : (ptrdiff_t)strlen(text))};
        while (l.indent < l.len && text[l.indent] == ' ')
            l.indent++;
        l.directive = l.len - l.indent >= 3 && strncmp(text + l.indent, "//$", 3) == 0;
        *PUSH(line, nline) = l;
        text += l.len + (end != NULL);
    }
}

/* The line of the `end` (or, with `otherwise`, the `else` of the same depth) that closes what line `at` opens. */
static int closing(int at, int *otherwise)
{
    int depth = 0;

    for (int i = at; i < nline; i++) {
        if (!line[i].directive)
            continue;
        const Words w = split(&line[i]);
        if (opens(&w))
            depth++;
        else if (word_is(&w, 0, "else") && depth == 1 && otherwise)
            *otherwise = i;
        else if (word_is(&w, 0, "end") && --depth == 0)
            return i;
    }
    BUG("template: '%.*s' is never closed", line[at].len, line[at].text);
}

void template_read(const char *text)
{
    int i = nline;

    add_lines(text);
    for (; i < nline; i++) {
        if (!line[i].directive)
            continue;
        const Words w = split(&line[i]);
        if (!word_is(&w, 0, "define") || w.n != 2)
            BUG("template: '%.*s' outside a definition", line[i].len, line[i].text);
        const int end = closing(i, NULL);
        *PUSH(templates, ntemplate) = (Template){xstrndup(w.word[1], (size_t)w.len[1]), i + 1, end};
        i = end;
    }
}

void template_load(void)
{
    static bool loaded;

    for (size_t i = 0; i < nembedded && !loaded; i++)
        if (strncmp(embedded[i].name, "templates/", 10) == 0)
            template_read(embedded[i].text);
    loaded = true;
}

/* ---- expansion ---- */

typedef struct Scope Scope;
struct Scope {
    const char *name;
    size_t len;
    Rec *rec;
    const Scope *outer;
};


/* The bound name that `s` starts with, the longest; NULL: none. */
static const Scope *find_bound(const Scope *scope, const char *s, bool exact, size_t len)
{
    const Scope *best = NULL;

    for (const Scope *b = scope; b; b = b->outer)
        if (strncmp(b->name, s, b->len) == 0 && (exact ? b->len == len : s[b->len] == '.') && (!best || b->len > best->len))
            best = b;
    return best;
}

/* PATH of a directive, x.field.field: its field, or with a bound name alone its record (in *rec). */
static Field *lookup(const Scope *scope, const char *path, int len, Rec **rec)
{
    const char *dot = memchr(path, '.', (size_t)len), *end = path + len;
    const Scope *b = find_bound(scope, path, true, (size_t)((dot ? dot : end) - path));

    if (!b)
        BUG("template: nothing is called '%.*s'", len, path);
    *rec = b->rec;
    Field *f = NULL;
    while (dot) {
        const char *name = dot + 1;
        dot = memchr(name, '.', (size_t)(end - name));
        f = find_field(*rec, name, (size_t)((dot ? dot : end) - name));
        if (!f)
            return NULL;
        *rec = f->rec;
        if (dot && !f->rec)
            BUG("template: '%.*s' is no record", len, path);
    }
    return f;
}

static void place_line(const Line *l, const Scope *scope, int indent, Buf *to)
{
    if (l->len > 0 || indent == 0)
        for (int i = 0; i < indent && l->len > 0; i++)
            buf_add(to, " ", 1);
    const char *p = l->text, *end = l->text + l->len;
    while (p < end) {
        const char *dollar = memchr(p, '$', (size_t)(end - p));
        if (!dollar) {
            buf_add(to, p, (size_t)(end - p));
            break;
        }
        buf_add(to, p, (size_t)(dollar - p));
        if (dollar + 1 < end && dollar[1] == '$') {
            buf_add(to, "$", 1);
            p = dollar + 2;
            continue;
        }
        const Scope *b = find_bound(scope, dollar + 1, false, 0);
        if (!b)
            BUG("template: '%.*s': nothing of that name is bound", (int)(end - dollar), dollar);
        const char *name = dollar + 1 + b->len + 1;
        const Field *best = NULL;
        for (int i = 0; i < b->rec->n; i++) {
            const Field *f = &b->rec->field[i];
            if (f->text && strncmp(f->name, name, strlen(f->name)) == 0 && (!best || strlen(f->name) > strlen(best->name)))
                best = f;
        }
        if (!best)
            BUG("template: '%.*s': no such field", (int)(end - dollar), dollar);
        buf_puts(to, best->text);
        p = name + strlen(best->name);
    }
    buf_add(to, "\n", 1);
}

static void expand(int from, int to_line, const Scope *scope, int indent, Buf *to);

static void expand_named(const char *name, const Scope *scope, int indent, Buf *to)
{
    for (int i = 0; i < ntemplate; i++)
        if (strcmp(templates[i].name, name) == 0) {
            expand(templates[i].from, templates[i].to, scope, indent, to);
            return;
        }
    BUG("no template is called '%s'", name);
}

static void expand(int from, int to_line, const Scope *scope, int indent, Buf *to)
{
    for (int i = from; i < to_line; i++) {
        if (!line[i].directive) {
            place_line(&line[i], scope, indent, to);
            continue;
        }
        const Words w = split(&line[i]);
        Rec *rec = NULL;
        if (word_is(&w, 0, "for") && w.n == 4 && word_is(&w, 2, "in")) {
            const int end = closing(i, NULL);
            const Field *f = lookup(scope, w.word[3], w.len[3], &rec);
            for (int j = 0; f && j < f->n; j++) {
                const Scope inner = {w.word[1], (size_t)w.len[1], f->list[j], scope};
                expand(i + 1, end, &inner, indent, to);
            }
            i = end;
        } else if (word_is(&w, 0, "if") && w.n == 2) {
            int otherwise = -1;
            const int end = closing(i, &otherwise);
            const Field *f = lookup(scope, w.word[1], w.len[1], &rec);
            const bool yes = f && (f->n > 0 || f->rec || (f->text && *f->text && strcmp(f->text, "0") != 0));
            if (yes)
                expand(i + 1, otherwise >= 0 ? otherwise : end, scope, indent, to);
            else if (otherwise >= 0)
                expand(otherwise + 1, end, scope, indent, to);
            i = end;
        } else if (word_is(&w, 0, "emit") && w.n == 2) {
            (void)lookup(scope, w.word[1], w.len[1], &rec);
            const Field *f = rec ? find_field(rec, "template", 8) : NULL;
            if (!f || !f->text)
                BUG("template: '%.*s' has no field 'template'", w.len[1], w.word[1]);
            const char *name = w.word[1];
            int len = w.len[1];
            for (const char *dot; (dot = memchr(name, '.', (size_t)len)) != NULL; name = dot + 1)
                len -= (int)(dot + 1 - name);
            const Scope inner = {name, (size_t)len, rec, scope};
            expand_named(f->text, &inner, indent + line[i].indent, to);
        } else {
            BUG("template: '%.*s' is no directive", line[i].len, line[i].text);
        }
    }
}

void template_expand(const char *name, const char *bound, Rec *r, Buf *to)
{
    const Scope scope = {bound, strlen(bound), r, NULL};

    expand_named(name, &scope, 0, to);
}
