/* template.c - expands templates/: C files with directives in comments, each alone on a line that starts with //$
 *
 *     define NAME .. end   a template; what stands outside is for the reader
 *     for X in PATH .. end the lines once for each record of a list, bound to X
 *     if PATH .. [else ..] end   where the field exists and is neither empty nor 0
 *     loop V FROM TO STEP [own] [parallel THREADS] [also TEXT] .. end   a loop in C over V, which stands in $[] alone.
 * One of one turn is its body, with V's value; own: in a block, since others here declare the same names. parallel: its
 * turns are shared among threads. also: what else is added after each turn emit PATH            the template that the
 * record's field `template` names; the record keeps the name PATH's last part has here, and the lines are indented as
 * the directive is
 *
 * ${x.field} places a field's text; a record may stand between, ${x.rec.field}. $[a + b * ${x.field}] places a C
 * expression whose constants are folded (expr.h). $${ is "${" itself, and so is a dollar sign without a brace. A field
 * that is not there is a bug of convoy, whose message names the template, the line and the field. Templates compute
 * nothing else: the plan does. */
#include "template.h"

#include "embedded.h"
#include "expr.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
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
    va_list ap;

    va_start(ap, fmt);
    char *s = xvprintf(fmt, ap);
    va_end(ap);
    rec_str(r, name, s);
}

bool rec_has(const Rec *r, const char *name)
{
    return find_field(r, name, strlen(name)) != NULL;
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
    const char *file;
    int number; /* in the file, from 1 */
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
    return word_is(w, 0, "for") || word_is(w, 0, "if") || word_is(w, 0, "loop") || word_is(w, 0, "define");
}

/* "template core (templates/core.c:24)", for messages; outside a definition the file and the line alone. */
static const char *place_of(const Line *l)
{
    const int at = (int)(l - line);

    for (int i = 0; i < ntemplate; i++)
        if (at >= templates[i].from && at < templates[i].to)
            return xprintf("template %s (%s:%d)", templates[i].name, l->file, l->number);
    return xprintf("%s:%d", l->file, l->number);
}

static void add_lines(const char *file, const char *text)
{
    for (int number = 1; *text; number++) {
        const char *end = strchr(text, '\n');
        Line l = {
            .text = text, .len = (int)(end ? end - text : (ptrdiff_t)strlen(text)), .file = file, .number = number};
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
    BUG("%s: '%.*s' is never closed", place_of(&line[at]), line[at].len, line[at].text);
}

void template_read(const char *file, const char *text)
{
    int i = nline;

    add_lines(file, text);
    for (; i < nline; i++) {
        if (!line[i].directive)
            continue;
        const Words w = split(&line[i]);
        if (!word_is(&w, 0, "define") || w.n != 2)
            BUG("%s: '%.*s' outside a definition", place_of(&line[i]), line[i].len, line[i].text);
        const int end = closing(i, NULL);
        *PUSH(templates, ntemplate) = (Template){xstrndup(w.word[1], (size_t)w.len[1]), i + 1, end};
        i = end;
    }
}

const struct Embedded *embedded_find(const char *name)
{
    for (size_t i = 0; i < nembedded; i++)
        if (strcmp(embedded[i].name, name) == 0)
            return &embedded[i];
    BUG("no %s inside", name);
}

void template_load(void)
{
    static bool loaded;

    for (size_t i = 0; i < nembedded && !loaded; i++)
        if (strncmp(embedded[i].name, "templates/", 10) == 0)
            template_read(embedded[i].name, embedded[i].text);
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

/* PATH as it stands on line `l`, x.field.field: its field, or NULL; with a bound name alone, NULL and its record in
 * *rec. */
static Field *lookup(const Line *l, const Scope *scope, const char *path, int len, Rec **rec)
{
    const char *dot = memchr(path, '.', (size_t)len), *end = path + len;
    const size_t bound = (size_t)((dot ? dot : end) - path);
    const Scope *b = scope;

    while (b && (b->len != bound || strncmp(b->name, path, bound) != 0))
        b = b->outer;
    if (!b)
        BUG("%s: '%.*s': nothing is called '%.*s'", place_of(l), len, path, (int)bound, path);
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
            BUG("%s: '%.*s': '%.*s' is no record", place_of(l), len, path, (int)(dot - path), path);
    }
    return f;
}

/* The bracket that closes the one at `open`. */
static const char *close_of(const Line *l, const char *open)
{
    const char *end = l->text + l->len;
    int depth = 0;

    for (const char *p = open; p < end; p++) {
        depth += (*p == '[') - (*p == ']');
        if (depth == 0)
            return p;
    }
    BUG("%s: '%.*s' is never closed", place_of(l), (int)(end - open), open);
}

/* The text p .. end of line l, its fields and expressions placed. */
static void place_text(const Line *l, const char *p, const char *end, const Scope *scope, const Known *known, Buf *to)
{
    for (;;) {
        const char *field = p;
        while (field < end && !(field[0] == '$' && field + 1 < end && (field[1] == '{' || field[1] == '[')))
            field++;
        buf_add(to, p, (size_t)(field - p));
        if (field == end)
            return;
        if (field[1] == '[') {
            Buf b = {0};
            const char *close = close_of(l, field + 1);
            place_text(l, field + 2, close, scope, known, &b);
            buf_puts(to, expr_fold(b.text, known));
            p = close + 1;
            continue;
        }
        if (field > l->text && field[-1] == '$') {
            buf_add(to, "{", 1);
            p = field + 2;
            continue;
        }
        const char *path = field + 2, *close = memchr(path, '}', (size_t)(end - path));
        if (!close)
            BUG("%s: '%.*s' is never closed", place_of(l), (int)(end - field), field);
        Rec *rec;
        const Field *f = lookup(l, scope, path, (int)(close - path), &rec);
        if (!f || !f->text)
            BUG("%s: there is no field '%.*s'%s", place_of(l), (int)(close - path), path, f ? " that is text" : "");
        buf_puts(to, f->text);
        p = close + 1;
    }
}

static void put_indent(int indent, Buf *to)
{
    for (int i = 0; i < indent; i++)
        buf_add(to, " ", 1);
}

static void place_line(const Line *l, const Scope *scope, const Known *known, int indent, Buf *to)
{
    if (l->len > 0)
        put_indent(indent + l->indent, to);
    place_text(l, l->text + l->indent, l->text + l->len, scope, known, to);
    buf_add(to, "\n", 1);
}

static void expand(int from, int to_line, const Scope *scope, const Known *known, int indent, Buf *to);

static void expand_named(const char *name, const Scope *scope, const Known *known, int indent, Buf *to)
{
    for (int i = 0; i < ntemplate; i++)
        if (strcmp(templates[i].name, name) == 0) {
            expand(templates[i].from, templates[i].to, scope, known, indent, to);
            return;
        }
    BUG("no template is called '%s'", name);
}

/* ---- loops ---- */

typedef struct Loop {
    const char *name, *from, *to, *step, *threads, *also; /* the last two: NULL where there are none */
    bool own;
} Loop;

/* The next word at *p, its fields placed. */
static const char *loop_word(const Line *l, const char **p, const Scope *scope, const Known *known)
{
    const char *end = l->text + l->len, *start;
    Buf b = {0};

    while (*p < end && **p == ' ')
        ++*p;
    for (start = *p; *p < end && **p != ' '; ++*p)
        if ((*p)[0] == '$' && *p + 1 < end && (*p)[1] == '[')
            *p = close_of(l, *p + 1);
    buf_puts(&b, "");
    place_text(l, start, *p, scope, known, &b);
    return b.text;
}

static Loop read_loop(const Line *l, const Scope *scope, const Known *known)
{
    const char *p = l->text + l->indent + 3, *end = l->text + l->len;
    Loop loop = {0};

    loop_word(l, &p, scope, known); /* "loop" */
    loop.name = loop_word(l, &p, scope, known);
    loop.from = loop_word(l, &p, scope, known);
    loop.to = loop_word(l, &p, scope, known);
    loop.step = loop_word(l, &p, scope, known);
    for (const char *word; *(word = loop_word(l, &p, scope, known)) != '\0';) {
        if (strcmp(word, "own") == 0) {
            loop.own = true;
        } else if (strcmp(word, "parallel") == 0) {
            loop.threads = loop_word(l, &p, scope, known);
        } else if (strcmp(word, "also") == 0) {
            Buf b = {0};
            place_text(l, p, end, scope, known, &b);
            loop.also = b.text;
            p = end;
        } else {
            BUG("%s: '%s' says nothing of a loop", place_of(l), word);
        }
    }
    if (!*loop.step)
        BUG("%s: a loop has a variable, a beginning, an end and a step", place_of(l));
    return loop;
}

static bool is_number(const char *s, int64_t *n)
{
    char *end;

    *n = strtoll(s, &end, 10);
    return isdigit((unsigned char)*s) && *end == '\0';
}

/* Whether the body, whose lines have that indent, is one statement without names of its own. */
static bool is_one_statement(const char *body, int indent)
{
    int statements = 0;

    for (const char *l = body; *l; l = strchr(l, '\n') + 1) {
        const int deep = (int)strspn(l, " ");
        statements += deep <= indent && l[deep] != '}';
    }
    return statements == 1;
}

static void loop_of_turns(const Loop *loop, const char *body, int indent, Buf *to)
{
    const bool one = is_one_statement(body, indent + 4);
    int64_t step;

    if (loop->threads) {
        put_indent(indent, to);
        buf_printf(to, "CVY_PARALLEL(%s)\n", loop->threads);
    }
    put_indent(indent, to);
    buf_printf(to, "for (int %s = %s; %s < %s; ", loop->name, loop->from, loop->name, loop->to);
    if (is_number(loop->step, &step) && step == 1)
        buf_printf(to, "%s++", loop->name);
    else
        buf_printf(to, "%s += %s", loop->name, loop->step);
    buf_printf(to, "%s%s)%s\n%s", loop->also ? "," : "", loop->also ? loop->also : "", one ? "" : " {", body);
    if (!one) {
        put_indent(indent, to);
        buf_puts(to, "}\n");
    }
}

/* The lines from .. end within the loop of line `at`. */
static void expand_loop(int at, int end, const Scope *scope, const Known *known, int indent, Buf *to)
{
    const Line *l = &line[at];
    const Loop loop = read_loop(l, scope, known);
    int64_t from = 0, last = 0, step = 0;
    Buf body = {0};

    buf_puts(&body, "");
    if (!is_number(loop.from, &from) || !is_number(loop.to, &last) || !is_number(loop.step, &step) ||
        from + step < last) {
        expand(at + 1, end, scope, known, indent, &body);
        loop_of_turns(&loop, body.text, indent + l->indent, to);
        return;
    }
    const Known thread = {"CVY_THREAD", strlen("CVY_THREAD"), 0, known};
    const Known turn = {loop.name, strlen(loop.name), from, loop.threads ? &thread : known};
    if (!loop.own) {
        expand(at + 1, end, scope, &turn, indent - 4, to);
        return;
    }
    expand(at + 1, end, scope, &turn, indent, &body);
    put_indent(indent + l->indent, to);
    buf_puts(to, "{\n");
    buf_puts(to, body.text);
    put_indent(indent + l->indent, to);
    buf_puts(to, "}\n");
}

static void expand(int from, int to_line, const Scope *scope, const Known *known, int indent, Buf *to)
{
    for (int i = from; i < to_line; i++) {
        if (!line[i].directive) {
            place_line(&line[i], scope, known, indent, to);
            continue;
        }
        const Words w = split(&line[i]);
        Rec *rec = NULL;
        if (word_is(&w, 0, "for") && w.n == 4 && word_is(&w, 2, "in")) {
            const int end = closing(i, NULL);
            const Field *f = lookup(&line[i], scope, w.word[3], w.len[3], &rec);
            for (int j = 0; f && j < f->n; j++) {
                const Scope inner = {w.word[1], (size_t)w.len[1], f->list[j], scope};
                expand(i + 1, end, &inner, known, indent, to);
            }
            i = end;
        } else if (word_is(&w, 0, "if") && w.n == 2) {
            int otherwise = -1;
            const int end = closing(i, &otherwise);
            const Field *f = lookup(&line[i], scope, w.word[1], w.len[1], &rec);
            const bool yes = f && (f->n > 0 || f->rec || (f->text && *f->text && strcmp(f->text, "0") != 0));
            if (yes)
                expand(i + 1, otherwise >= 0 ? otherwise : end, scope, known, indent, to);
            else if (otherwise >= 0)
                expand(otherwise + 1, end, scope, known, indent, to);
            i = end;
        } else if (word_is(&w, 0, "loop")) {
            const int end = closing(i, NULL);
            expand_loop(i, end, scope, known, indent, to);
            i = end;
        } else if (word_is(&w, 0, "emit") && w.n == 2) {
            (void)lookup(&line[i], scope, w.word[1], w.len[1], &rec);
            const Field *f = rec ? find_field(rec, "template", 8) : NULL;
            if (!f || !f->text)
                BUG("%s: '%.*s' has no field 'template'", place_of(&line[i]), w.len[1], w.word[1]);
            const char *name = w.word[1];
            int len = w.len[1];
            for (const char *dot; (dot = memchr(name, '.', (size_t)len)) != NULL; name = dot + 1)
                len -= (int)(dot + 1 - name);
            const Scope inner = {name, (size_t)len, rec, scope};
            expand_named(f->text, &inner, known, indent + line[i].indent, to);
        } else {
            BUG("%s: '%.*s' is no directive", place_of(&line[i]), line[i].len, line[i].text);
        }
    }
}

void template_expand(const char *name, const char *bound, Rec *r, Buf *to)
{
    const Scope scope = {bound, strlen(bound), r, NULL};

    expand_named(name, &scope, NULL, 0, to);
}
