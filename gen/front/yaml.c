/* yaml.c - file -> tree.
 *
 * needs: nothing.  sets: a tree of maps, sequences and scalars with the places where they stand; no aliases, anchors,
 * tags, duplicate keys or further documents; no deeper than MAX_DEPTH, no larger than MAX_SPEC_BYTES.
 *
 * The only file that knows libyaml. It reads events, so that hostile input ends where it begins to be hostile. */
#include "files.h"
#include "read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct Reader {
    yaml_parser_t yaml;
    yaml_event_t event;
    Mark base;
    const char *text;
    size_t len;
} Reader;

static Mark mark_of(const Reader *r, yaml_mark_t from, yaml_mark_t to)
{
    Mark m = {r->base.line, (int)from.column + 1, 1};
    if (r->base.line > 0)
        m.line += (int)from.line;
    else
        m.col += r->base.col - 1;
    if (to.line == from.line && to.column > from.column)
        m.len = (int)(to.column - from.column);
    return m;
}

/* The place of a byte: libyaml gives no more than that for text that is not UTF-8. */
static Mark mark_of_byte(const Reader *r, size_t offset)
{
    Mark m = {r->base.line, r->base.col, 1};
    for (size_t i = 0; i < offset && i < r->len; i++)
        if (((unsigned char)r->text[i] & 0xc0) != 0x80)
            mark_step(&m, r->text + i, r->text + r->len);
    return m;
}

static const char *hint_of(const Reader *r, Mark at)
{
    const char *line = r->text;
    if (r->base.line < 0)
        return NULL;
    for (int i = 1; i < at.line && line; i++)
        line = line_after(line);
    if (line && line[strspn(line, " ")] == '\t')
        return "YAML is indented with spaces, not with tabs";
    if (r->yaml.problem && strstr(r->yaml.problem, "mapping values are not allowed"))
        return "is the line indented as the one above? a value that holds ': ' needs quotes";
    if (r->yaml.problem && strstr(r->yaml.problem, "did not find expected"))
        return "look for a missing bracket, brace, quote or comma here or above";
    return NULL;
}

static void syntax_error(Reader *r)
{
    const char *problem = r->yaml.problem ? r->yaml.problem : "unreadable";
    if (r->yaml.error == YAML_MEMORY_ERROR) {
        out_of_memory(0);
    } else if (r->yaml.error == YAML_READER_ERROR) {
        diag_error(mark_of_byte(r, r->yaml.problem_offset), "a spec is text in UTF-8", "not valid YAML: %s", problem);
    } else {
        Mark at = mark_of(r, r->yaml.problem_mark, r->yaml.problem_mark);
        Mark from = mark_of(r, r->yaml.context_mark, r->yaml.context_mark);
        if (r->yaml.context && r->base.line > 0 && from.line < at.line)
            diag_error2(at, from, xprintf("%s that begins here", r->yaml.context), hint_of(r, at), "not valid YAML: %s",
                        problem);
        else
            diag_error(at, hint_of(r, at), "not valid YAML: %s", problem);
    }
}

static bool next(Reader *r)
{
    if (yaml_parser_parse(&r->yaml, &r->event))
        return true;
    syntax_error(r);
    memset(&r->event, 0, sizeof r->event);
    return false;
}

static Node *new_node(NodeKind kind, Mark mark)
{
    Node *n = xalloc(sizeof *n);
    n->kind = kind;
    n->mark = mark;
    n->text = "";
    return n;
}

static int by_text(const void *a, const void *b)
{
    const Node *x = *(Node *const *)a, *y = *(Node *const *)b;
    int c = strcmp(x->text, y->text);
    if (c)
        return c;
    if (x->mark.line != y->mark.line)
        return x->mark.line < y->mark.line ? -1 : 1;
    return x->mark.col - y->mark.col;
}

static bool check_duplicates(const Node *map)
{
    bool ok = true;
    if (map->n < 2)
        return true;
    Node **sorted = xalloc((size_t)map->n * sizeof *sorted);
    memcpy(sorted, map->key, (size_t)map->n * sizeof *sorted);
    qsort(sorted, (size_t)map->n, sizeof *sorted, by_text);
    for (int i = 1; i < map->n && ok; i++)
        if (strcmp(sorted[i - 1]->text, sorted[i]->text) == 0) {
            diag_error2(sorted[i]->mark, sorted[i - 1]->mark, "it stands here first", "remove one of the two",
                        "the key '%s' stands twice in one map", sorted[i]->text);
            ok = false;
        }
    return ok;
}

static Node *read_node(Reader *r, int depth);

/* The events up to the end of a sequence or map whose start was the last event. */
static bool read_items(Reader *r, Node *n, int depth)
{
    yaml_event_type_t end = n->kind == NODE_SEQ ? YAML_SEQUENCE_END_EVENT : YAML_MAPPING_END_EVENT;
    for (;;) {
        if (!next(r))
            return false;
        if (r->event.type == end) {
            if (r->event.end_mark.column > r->event.start_mark.column &&
                r->base.line + (int)r->event.end_mark.line == n->mark.line)
                n->mark.len = (int)r->event.end_mark.column + 1 - n->mark.col; /* [a, b] on one line: all of it */
            yaml_event_delete(&r->event);
            return n->kind == NODE_SEQ || check_duplicates(n);
        }
        Node *item = read_node(r, depth + 1);
        if (!item)
            return false;
        if (n->kind == NODE_MAP) {
            if (item->kind != NODE_SCALAR) {
                diag_error(item->mark, NULL, "a key must be a word");
                return false;
            }
            int k = n->n;
            *PUSH(n->key, k) = item;
            if (!next(r) || !(item = read_node(r, depth + 1)))
                return false;
        }
        *PUSH(n->item, n->n) = item;
    }
}

/* The node that the last event begins. Deletes the event. */
static Node *read_node(Reader *r, int depth)
{
    yaml_event_t *e = &r->event;
    Mark at = mark_of(r, e->start_mark, e->end_mark);
    const char *tag = NULL, *anchor = NULL;
    Node *n = NULL;

    switch (e->type) {
    case YAML_SCALAR_EVENT:
        n = new_node(NODE_SCALAR, at);
        n->text = xstrndup((const char *)e->data.scalar.value, e->data.scalar.length);
        n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        tag = (const char *)e->data.scalar.tag;
        anchor = (const char *)e->data.scalar.anchor;
        if (memchr(n->text, '\0', e->data.scalar.length)) {
            diag_error(at, NULL, "a value holds a NUL character");
            n = NULL;
        }
        break;
    case YAML_SEQUENCE_START_EVENT:
        n = new_node(NODE_SEQ, at);
        tag = (const char *)e->data.sequence_start.tag;
        anchor = (const char *)e->data.sequence_start.anchor;
        break;
    case YAML_MAPPING_START_EVENT:
        n = new_node(NODE_MAP, at);
        tag = (const char *)e->data.mapping_start.tag;
        anchor = (const char *)e->data.mapping_start.anchor;
        break;
    case YAML_ALIAS_EVENT:
        diag_error(at, "write the value out", "aliases (*%s) are not part of a spec",
                   (const char *)e->data.alias.anchor);
        break;
    default:
        BUG("libyaml event %d where a node begins", (int)e->type);
    }
    if (n && anchor) {
        diag_error(at, "write the value out where it is needed", "anchors (&%s) are not part of a spec", anchor);
        n = NULL;
    } else if (n && tag) {
        diag_error(at, "write the value without it", "tags (%s) are not part of a spec", tag);
        n = NULL;
    } else if (n && depth > MAX_DEPTH) {
        diag_error(at, NULL, "nested more than %d levels deep", MAX_DEPTH);
        n = NULL;
    }
    yaml_event_delete(e);
    if (n && n->kind != NODE_SCALAR && !read_items(r, n, depth))
        return NULL;
    return n;
}

static Node *read_document(Reader *r)
{
    Node *root = NULL;
    for (;;) {
        if (!next(r))
            return NULL;
        yaml_event_type_t type = r->event.type;
        Mark at = mark_of(r, r->event.start_mark, r->event.end_mark);
        if (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_END_EVENT) {
            yaml_event_delete(&r->event);
        } else if (type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&r->event);
            if (!root)
                diag_error((Mark){0}, "'convoy new NAME' writes a spec to start from", "the spec is empty");
            return root;
        } else if (type == YAML_DOCUMENT_START_EVENT) {
            yaml_event_delete(&r->event);
            if (root) {
                diag_error(at, "keep each network in a file of its own", "a second document begins here");
                return NULL;
            }
            if (!next(r) || !(root = read_node(r, 0)))
                return NULL;
        } else {
            BUG("libyaml event %d between documents", (int)type);
        }
    }
}

Node *yaml_parse(const char *text, size_t len, Mark base)
{
    Reader r = {.base = base, .text = unseen_check(text, len, base), .len = len};
    if (!r.text)
        return NULL;
    if (!yaml_parser_initialize(&r.yaml))
        out_of_memory(0);
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)r.text, len);
    Node *root = read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.yaml);
    return root;
}

Node *yaml_read(const char *path, Source *src)
{
    size_t len;
    *src = (Source){.path = path, .text = "", .len = 0};
    diag_source(src);
    const char *text = file_read_once(path, MAX_SPEC_BYTES, &len);
    if (!text) {
        if (errno == EFBIG)
            diag_error((Mark){0}, "is it a spec? one that unrolls is far shorter", "larger than %d bytes",
                       MAX_SPEC_BYTES);
        else
            diag_error((Mark){0}, errno == ENOENT ? "'convoy new NAME' writes a spec to start from" : NULL,
                       "cannot be read: %s", strerror(errno));
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        len -= 3;
    }
    const char *nul = memchr(text, '\0', len);
    *src = (Source){.path = path, .text = text, .len = nul ? (size_t)(nul - text) : len};
    if (nul) {
        Reader r = {.base = {1, 1, 1}, .text = text, .len = len};
        diag_error(mark_of_byte(&r, src->len), "a spec is text in UTF-8; is this some other file?",
                   "the file holds a NUL byte");
        return NULL;
    }
    return yaml_parse(text, len, (Mark){1, 1, 1});
}

static void dump_node(const Node *n, int indent, FILE *to)
{
    switch (n->kind) {
    case NODE_SCALAR:
        fprintf(to, "%s%s%s  @%d:%d\n", n->quoted ? "\"" : "", n->text, n->quoted ? "\"" : "", n->mark.line,
                n->mark.col);
        return;
    case NODE_SEQ:
        fprintf(to, "[%d]  @%d:%d\n", n->n, n->mark.line, n->mark.col);
        break;
    case NODE_MAP:
        fprintf(to, "{%d}  @%d:%d\n", n->n, n->mark.line, n->mark.col);
        break;
    }
    for (int i = 0; i < n->n; i++) {
        fprintf(to, "%*s", indent + 2, "");
        if (n->kind == NODE_MAP)
            fprintf(to, "%s: ", n->key[i]->text);
        else
            fprintf(to, "- ");
        dump_node(n->item[i], indent + 2, to);
    }
}

void yaml_dump(const Node *n, FILE *to)
{
    dump_node(n, 0, to);
}
