/* override.c - --set conv3.order=conv-act-bn: puts a value into the tree, as if it stood in the file.
 *
 * needs: a tree.  sets: the value of one key, with marks that point into the option. A key is `act`, `train.lr`, or a
 * layer's name, given or counted, and a key of it; a layer in a group has a path, of all repeats (s2.conv1) or of one
 * (s2.2.conv1), which goes into the group's `only`. The value is read as YAML. */
#include "read.h"

#include <string.h>

/* The map of a layer's keys; makes it where the layer is written in a short form. NULL and an error where it cannot. */
static Node *layer_map(Node **item, Node *value, const Node *word, Mark at)
{
    Node *map = item_keys(value, word);
    if (!map) {
        diag_error2(at, word->mark, "the layer stands here", "write it there with keys: - maxpool: {k: 2}",
                    "'%.60s' has its arguments in the word, and takes no --set", word->text);
        return NULL;
    }
    if (map != value) {
        Node *outer = node_new(NODE_MAP, "", word->mark);
        node_put(outer, node_new(NODE_SCALAR, word->text, word->mark), map);
        *item = outer;
    }
    return map;
}

/* A path that is cut at its dots. */
typedef struct Path {
    const char *part[MAX_DEPTH];
    int n;
} Path;

static bool path_cut(const char *text, Path *p)
{
    p->n = 0;
    for (;; text++) {
        size_t len = strcspn(text, ".");
        if (p->n == MAX_DEPTH)
            return false;
        p->part[p->n++] = xstrndup(text, len);
        text += len;
        if (!*text)
            return true;
    }
}

/* "2.conv1": the parts from k on. */
static const char *path_text(const Path *p, int from, int to)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int k = from; k < to; k++)
        buf_printf(&b, "%s%s", k > from ? "." : "", p->part[k]);
    return b.text;
}

static bool all_digits(const char *s)
{
    return *s && s[strspn(s, "0123456789")] == '\0';
}

/* The list that part k of the path is looked for in, within a group; moves k after what names the list. */
static Node *list_in(Node *group, const Path *p, int *k)
{
    Node *concat = keys_get(group, "concat"), *list;
    int64_t b;
    if (strcmp(p->part[*k], "transition") == 0 && keys_get(group, "transition")) {
        list = keys_get(group, "transition");
        ++*k;
    } else if (concat) {
        const char *part = p->part[(*k)++];
        if (concat->kind != NODE_SEQ || part[0] != 'b' || !text_int(part + 1, &b) || b < 1 || b > concat->n)
            return NULL;
        list = concat->item[b - 1];
    } else {
        list = keys_get(group, keys_get(group, "residual") ? "residual" : "layers");
    }
    return list && list->kind == NODE_SEQ && *k < p->n ? list : NULL;
}

/* The item of a list that is called so; what its names are goes to `names`. */
static Node **find_item(Node *list, const char *name, Node **value, const Node **word, const char ***names, int *n)
{
    KindCount counts[64] = {{0}};
    for (int i = 0; i < list->n; i++) {
        const char *kind;
        if (!layer_kind(list->item[i], &kind, value, word))
            continue;
        const char *this = layer_name(kind, *value, counts, 64);
        if (strcmp(this, name) == 0)
            return &list->item[i];
        *PUSH(*names, *n) = this;
    }
    return NULL;
}

static Node *no_layer(const Path *p, int k, const char **names, int n, Mark at)
{
    if (!k)
        *PUSH(names, n) = "train";
    *PUSH(names, n) = NULL;
    const char *near = k < p->n ? diag_nearest(p->part[k], names) : NULL;
    diag_error(at,
               near ? xprintf("did you mean '%s%s%s'?", path_text(p, 0, k), k ? "." : "", near)
                    : "'convoy check SPEC' lists the layers' names",
               "no layer is called '%.60s'", path_text(p, 0, p->n));
    return NULL;
}

/* The map that holds what a group says of one repeat's layer alone. */
static Node *only_map(Node *group, const char *path, Mark at)
{
    static const char *const word = "only";
    if (!keys_get(group, word))
        node_put(group, node_new(NODE_SCALAR, word, at), node_new(NODE_MAP, "", at));
    Node *only = keys_get(group, word);
    if (only->kind != NODE_MAP)
        return NULL; /* group.c says so */
    if (!keys_get(only, path))
        node_put(only, node_new(NODE_SCALAR, path, at), node_new(NODE_MAP, "", at));
    Node *map = keys_get(only, path);
    return map->kind == NODE_MAP ? map : NULL;
}

/* The map of the keys of the layer that a path leads to. NULL where it leads nowhere; the error may be left to spec.c.
 */
static Node *find_layer(Node *root, const Path *p, Mark at)
{
    Node *list = keys_get(root, "layers");
    for (int k = 0; list && list->kind == NODE_SEQ;) {
        const char **names = NULL;
        Node *value, *map;
        const Node *word;
        int n = 0;
        Node **item = find_item(list, p->part[k], &value, &word, &names, &n);
        if (!item)
            return no_layer(p, k, names, n, at);
        if (++k == p->n)
            return layer_map(item, value, word, at);
        if (strcmp(word->text, "stage") != 0 || !value || value->kind != NODE_MAP)
            return no_layer(p, p->n, NULL, 0, at);
        map = value;
        if (all_digits(p->part[k]))
            return only_map(map, path_text(p, k, p->n), at);
        if (!(list = list_in(map, p, &k)))
            return no_layer(p, p->n, NULL, 0, at);
    }
    return no_layer(p, 0, NULL, 0, at);
}

bool yaml_override(Node *root, const char *assignment, int index)
{
    diag_override(index, assignment);
    const char *eq = strchr(assignment, '=');
    size_t len = eq ? (size_t)(eq - assignment) : strlen(assignment);
    Mark at = {-1 - index, 1, (int)len};
    if (!eq || eq == assignment) {
        diag_error(at, "--set train.lr=0.05, --set conv3.order=conv-act-bn", "no key and value joined by '='");
        return false;
    }
    Mark value_at = {-1 - index, (int)len + 2, 1};
    Node *value = eq[1 + strspn(eq + 1, " \t\r\n")] ? yaml_parse(eq + 1, strlen(eq + 1), value_at)
                                                    : node_new(NODE_SCALAR, "", value_at);
    if (!value)
        return false;
    if (root->kind != NODE_MAP)
        return true;        /* spec.c says so */
    const char *dot = NULL; /* the last one in the key */
    for (size_t i = 0; i < len; i++)
        dot = assignment[i] == '.' ? assignment + i : dot;
    Node *map = root;
    const char *key = assignment;
    if (dot) {
        const char *head = xstrndup(assignment, (size_t)(dot - assignment));
        Mark head_at = {-1 - index, 1, (int)(dot - assignment)};
        Path path;
        key = dot + 1;
        if (!path_cut(head, &path)) {
            diag_error(head_at, NULL, "a path of more than %d parts", MAX_DEPTH);
            return false;
        }
        if (strcmp(head, "train") == 0) {
            if (!keys_get(root, head))
                node_put(root, node_new(NODE_SCALAR, head, head_at), node_new(NODE_MAP, "", head_at));
            map = keys_get(root, head);
            if (map->kind != NODE_MAP)
                return true;
        } else if (!(map = find_layer(root, &path, head_at))) {
            return !diag_errors();
        }
    }
    Mark key_at = {-1 - index, (int)(key - assignment) + 1, (int)(eq - key)};
    const char *name = xstrndup(key, (size_t)(eq - key));
    for (int i = map->n - 1; i >= 0 && spells_order(name); i--) /* whichever way the file says it */
        if (spells_order(map->key[i]->text))
            node_drop(map, map->key[i]->text);
    node_put(map, node_new(NODE_SCALAR, name, key_at), value);
    return true;
}
