/* asm.c - the hot loops in a compiler's output.
 *
 * needs: x86 assembly in AT&T's form, made with -g, and the text of the core's header.
 * sets:  the innermost loops whose multiply-adds come from that header, and what is in them.
 *
 * An innermost loop is what stands between a label and the nearest jump back to it, with no other such pair inside.
 * Which loop of the header it is, its .loc lines say; that loop's text says how many multiply-adds and loads it must
 * have. */
#include "asm.h"

#include <stdlib.h>
#include <string.h>

/* ---- the header: functions, and blocks with multiply-adds ---- */

/* Lines first .. last of an innermost `for` with multiply-adds in it. */
typedef struct Block {
    int first, last;
    int steps; /* that the compiler is asked to make one: 2 after CVY_TWICE */
    int fma, loads, broadcasts;
    const char *function;
} Block;

typedef struct Header {
    Block *block;
    int n;
    const char **function; /* that each line is of, or NULL */
    int nlines;
} Header;

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool ends(const char *s, const char *with)
{
    const size_t n = strlen(s), m = strlen(with);

    return n >= m && strcmp(s + n - m, with) == 0;
}

static int times(const char *line, size_t len, const char *word)
{
    const size_t n = strlen(word);
    int count = 0;

    for (size_t i = 0; i + n <= len; i++)
        count += memcmp(line + i, word, n) == 0;
    return count;
}

/* The name before the first "(" of a line. */
static const char *name_before_bracket(const char *line)
{
    const char *end = strchr(line, '('), *start = end;

    while (start && start > line &&
           (start[-1] == '_' || (start[-1] | 32) >= 'a' || (start[-1] >= '0' && start[-1] <= '9')) && start[-1] != ' ')
        start--;
    return start ? xstrndup(start, (size_t)(end - start)) : NULL;
}

static Header read_header(const char *text)
{
    enum { DEEP = 64 };
    Header h = {0};
    Block open[DEEP];
    bool braces[DEEP];
    int depth = 0, number = 0, steps = 1;
    const char *function = NULL;

    for (const char *line = text; *line; number++) {
        const size_t len = strcspn(line, "\n");
        const char *at = line + strspn(line, " ");
        const bool opens = len && line[len - 1] == '{', loop = strncmp(at, "for (", 5) == 0;
        if (*line != ' ' && *line != '/' && *line != '#' && *line != '{' && *line != '}' && memchr(line, '(', len))
            function = name_before_bracket(line);
        *PUSH(h.function, h.nlines) = function;
        if (opens && depth < DEEP) {
            open[depth] = (Block){.first = number + 1, .steps = steps, .function = function};
            braces[depth++] = loop;
        }
        steps = begins(at, "CVY_TWICE") ? 2 : 1;
        const int fma = times(line, len, "vf_fma(") + times(line, len, "vf_keep_fma("),
                  loads = times(line, len, "vf_load("), sets = times(line, len, "vf_set(");
        for (int d = depth - 1; d >= 0 && (fma || loads || sets); d--) {
            if (!braces[d])
                continue;
            open[d].fma += fma, open[d].loads += loads, open[d].broadcasts += sets;
            break; /* the innermost loop alone */
        }
        if (*at == '}' && depth > 0) {
            depth--;
            open[depth].last = number + 1;
            if (open[depth].fma)
                *PUSH(h.block, h.n) = open[depth];
        }
        line += len + (line[len] == '\n');
    }
    return h;
}

/* ---- instructions ---- */

/* The instruction of a line: NULL for labels, directives, comments. */
static const char *instruction(const char *line)
{
    if (*line != '\t' && *line != ' ')
        return NULL;
    line += strspn(line, " \t");
    return *line >= 'a' && *line <= 'z' ? line : NULL;
}

static bool is_fma(const char *in, bool fused)
{
    const size_t n = strcspn(in, " \t");
    const bool packed = n > 2 && in[n - 2] == 'p' && in[n - 1] == 's';

    if (!packed)
        return false;
    return fused ? begins(in, "vfmadd") || begins(in, "vfnmadd") || begins(in, "vfmsub")
                 : begins(in, "mulps") || begins(in, "vmulps");
}

typedef struct Access {
    bool load, store, stack;
} Access;

static Access access_of(const char *in, bool frame)
{
    const size_t word = strcspn(in, " \t");
    const char *open = strchr(in + word, '('), *last = in + word;
    Access a = {0};
    int depth = 0;

    if (begins(in, "lea") || begins(in, "prefetch") || begins(in, "nop") || *in == 'j' || begins(in, "call"))
        return a;
    for (const char *c = in + word; *c; c++) { /* where the last operand begins */
        depth += (*c == '(') - (*c == ')');
        if (*c == ',' && depth == 0)
            last = c + 1;
    }
    if (!open)
        return a;
    const bool to = open > last && last > in + word; /* memory is the last operand, and not the only one */
    const bool compares = begins(in, "cmp") || begins(in, "test") || begins(in, "vcomi") || begins(in, "vucomi");
    const bool moves = begins(in, "mov") || begins(in, "vmov") || begins(in, "vextract") || begins(in, "set") ||
                       begins(in, "push") || begins(in, "pop");
    a.store = to && !compares;
    a.load = !to || compares || !moves;
    a.stack = strstr(open, "(%rsp") || (frame && strstr(open, "(%rbp"));
    return a;
}

/* ---- the assembly ---- */

typedef struct Reader {
    AsmText text;
    int header_file; /* number of the header in .loc lines; -1 */
    const Header *header;
    const char *prefix;
    const char *const *functions;
    int parts;
    bool fused;
} Reader;

/* "\t.file 5 "dir" "name"": the number where the last string ends with the header's name. */
static int file_number(const char *line, const char *header)
{
    if (!begins(line, "\t.file\t") && !begins(line, "\t.file "))
        return -1;
    char *rest;
    const long n = strtol(line + 7, &rest, 10);
    const char *found = strstr(rest, header);
    return rest != line + 7 && found && found[strlen(header)] == '"' && (found[-1] == '/' || found[-1] == '"') ? (int)n
                                                                                                               : -1;
}

/* "\t.loc 5 51 17": the line, where it is of the header. */
static int header_line(const Reader *r, const char *line)
{
    char *rest;

    if (!begins(line, "\t.loc"))
        return -1;
    const long file = strtol(line + 5, &rest, 10), number = strtol(rest, NULL, 10);
    return file == r->header_file ? (int)number : -1;
}

static const char *label(const char *line)
{
    const size_t n = strcspn(line, ":");

    return *line != '\t' && *line != ' ' && line[n] == ':' ? xstrndup(line, n) : NULL;
}

/* A symbol without what compilers hang on it (".isra.0", ".constprop.1"). */
static const char *symbol(const char *name)
{
    return xstrndup(name, strcspn(name, "."));
}

static bool wanted_function(const Reader *r, const char *name)
{
    const char *s = symbol(name);

    for (int i = 0; r->functions[i]; i++)
        if (ends(s, r->functions[i]))
            return true;
    return begins(s, r->prefix); /* the header's own, not inlined */
}

/* Fills in what is in a loop. False where it is none of the core's. */
static bool describe(const Reader *r, AsmLoop *l, bool frame)
{
    /* of each block: whether the loop names its first line (where a loop's own jump stands, or the next one begins),
     * and one inside */
    bool *named = xalloc((size_t)r->header->n + 1), *inside = xalloc((size_t)r->header->n + 1), any = false;
    const char *around = NULL;
    int first = 0, steps = 1;

    for (int i = l->from; i <= l->to; i++) {
        const char *in = instruction(r->text.line[i]);
        const int line = header_line(r, r->text.line[i]);
        if (line > 0 && line <= r->header->nlines && r->header->function[line - 1] &&
            begins(r->header->function[line - 1], r->prefix)) {
            around = around ? around : r->header->function[line - 1];
            first = first && first < line ? first : line;
        }
        for (int b = 0; b < r->header->n && line > 0; b++)
            if (r->header->block[b].first <= line && line <= r->header->block[b].last)
                *(line == r->header->block[b].first ? &named[b] : &inside[b]) = true;
        if (!in)
            continue;
        const Access a = access_of(in, frame);
        l->instructions++;
        l->fma += is_fma(in, r->fused);
        l->loads += a.load;
        l->stores += a.store;
        l->stack += a.stack;
        l->spills += a.stack && (strstr(in, "%xmm") || strstr(in, "%ymm") || strstr(in, "%zmm"));
    }
    for (int b = 0; b < r->header->n; b++)
        any |= inside[b];
    for (int b = 0; b < r->header->n; b++) {
        const Block *k = &r->header->block[b];
        if (!(any ? inside[b] : named[b]) || !begins(k->function, r->prefix))
            continue;
        l->core = l->core ? l->core : k->function;
        l->line = l->line ? l->line : k->first;
        l->want_fma += k->fma * r->parts;
        l->want_loads += k->loads * r->parts + k->broadcasts;
        steps = k->steps;
    }
    if (l->fma > l->want_fma) /* the compiler did as it was told: loops of many instructions it leaves alone */
        l->want_fma *= steps, l->want_loads *= steps;
    /* Inlined without a trace of its blocks: it is known by what stands around them, and not what it must have. */
    if (!l->core) {
        l->core = around;
        l->line = first;
    }
    return l->fma && l->core;
}

static bool alike(const AsmLoop *a, const AsmLoop *b)
{
    return strcmp(a->core, b->core) == 0 && strcmp(a->function, b->function) == 0 &&
           a->instructions == b->instructions && a->fma == b->fma && a->loads == b->loads && a->stores == b->stores &&
           a->spills == b->spills && a->want_fma == b->want_fma;
}

static void add_loop(Reader *r, AsmLoop l)
{
    for (int i = 0; i < r->text.nloop; i++)
        if (alike(&r->text.loop[i], &l)) {
            r->text.loop[i].alike++;
            return;
        }
    l.alike = 1;
    *PUSH(r->text.loop, r->text.nloop) = l;
}

/* Lines [from, to) are a function. */
static void read_function(Reader *r, const char *name, int from, int to)
{
    struct Back {
        int label, jump;
    } *back = NULL;
    int nback = 0, nlabels = 0;
    struct {
        const char *name;
        int at;
    } *labels = NULL;
    bool frame = false;

    for (int i = from; i < to; i++) {
        const char *l = label(r->text.line[i]), *in = instruction(r->text.line[i]);
        if (l) {
            PUSH(labels, nlabels)->name = l;
            labels[nlabels - 1].at = i;
        }
        frame |= in && begins(in, "movq\t%rsp, %rbp");
        if (!in || *in != 'j')
            continue;
        const char *target = in + strcspn(in, " \t");
        target += strspn(target, " \t");
        const size_t n = strcspn(target, " \t");
        for (int k = nlabels - 1; k >= 0; k--)
            if (strlen(labels[k].name) == n && strncmp(labels[k].name, target, n) == 0) {
                *PUSH(back, nback) = (struct Back){labels[k].at, i};
                break;
            }
    }
    for (int i = 0; i < nback; i++) {
        bool innermost = true;
        for (int k = 0; k < nback; k++)
            innermost &= k == i || back[k].label < back[i].label || back[k].jump > back[i].jump;
        AsmLoop l = {.function = symbol(name), .from = back[i].label, .to = back[i].jump};
        if (innermost && describe(r, &l, frame))
            add_loop(r, l);
    }
}

static int by_fma(const void *a, const void *b)
{
    const AsmLoop *x = a, *y = b;

    if (!x->want_fma != !y->want_fma)
        return x->want_fma ? -1 : 1;
    return x->fma != y->fma ? y->fma - x->fma : x->alike != y->alike ? y->alike - x->alike : x->from - y->from;
}

AsmText asm_read(const char *text, const char *header_name, const char *header, const char *prefix,
                 const char *const *functions, int parts, bool fused)
{
    char *const assembly = xstrdup(text);
    const Header h = read_header(header);
    Reader r = {
        .header_file = -1, .header = &h, .prefix = prefix, .functions = functions, .parts = parts, .fused = fused};

    for (char *line = assembly; *line;) {
        const size_t n = strcspn(line, "\n");
        const bool more = line[n] == '\n';
        line[n] = '\0';
        line[strcspn(line, "#")] = '\0'; /* a comment */
        *PUSH(r.text.line, r.text.n) = line;
        const int number = file_number(line, header_name);
        r.header_file = number >= 0 ? number : r.header_file;
        line += n + more;
    }
    const char *name = NULL;
    int start = 0;
    for (int i = 0; i <= r.text.n; i++) {
        const char *l = i < r.text.n ? label(r.text.line[i]) : "";
        if (!l || begins(l, ".L"))
            continue;
        if (name && wanted_function(&r, name))
            read_function(&r, name, start, i);
        name = l;
        start = i;
    }
    qsort(r.text.loop, (size_t)r.text.nloop, sizeof *r.text.loop, by_fma);
    return r.text;
}
