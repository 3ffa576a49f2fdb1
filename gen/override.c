/* override.c - --set conv3.order=conv-act-bn: puts a value into the tree, as if it stood in the file.
 *
 * needs: a tree.  sets: the value of one key, with marks that point into the option. A key is `act`, `train.lr`, or a
 * layer's name, given or counted, and a key of it. The value is read as YAML. */
#include "spec.h"

#include <string.h>

Node *node_new(NodeKind kind, const char *text, Mark mark)
{
    Node *n = xalloc(sizeof *n);
    *n = (Node){.kind = kind, .mark = mark, .text = text};
    return n;
}

void node_put(Node *map, Node *key, Node *value)
{
    for (int i = 0; i < map->n; i++)
        if (strcmp(map->key[i]->text, key->text) == 0) {
            map->key[i] = key;
            map->item[i] = value;
            return;
        }
    int k = map->n; /* both arrays have their own copy: growing at a power of two needs n as PUSH sees it */
    Node **keys = xalloc((size_t)(k + 1) * sizeof *keys), **items = xalloc((size_t)(k + 1) * sizeof *items);
    for (int i = 0; i < k; i++) {
        keys[i] = map->key[i];
        items[i] = map->item[i];
    }
    keys[k] = key;
    items[k] = value;
    map->key = keys;
    map->item = items;
    map->n = k + 1;
}

const char *layer_short_key(const char *word)
{
    static const char *const keys[][2] = {{"conv", "out"},  {"linear", "out"},       {"drop", "p"},  {"maxpool", "k"},
                                          {"avgpool", "k"}, {"leaky_relu", "slope"}, {"act", "kind"}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i][0], word) == 0)
            return keys[i][1];
    return NULL;
}

Node *item_keys(Node *value, const Node *word)
{
    if (value && value->kind == NODE_MAP)
        return value;
    if (!value && strchr(word->text, '('))
        return NULL;
    Node *map = node_new(NODE_MAP, "", word->mark);
    const char *key = layer_short_key(word->text);
    if (value && !text_is_null(value) && key)
        node_put(map, node_new(NODE_SCALAR, key, value->mark), value);
    return map;
}

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

static Node *find_layer(Node *root, const char *name, Mark at)
{
    Node *layers = keys_get(root, "layers");
    KindCount counts[64] = {{0}};
    const char **names = xalloc(((size_t)(layers && layers->kind == NODE_SEQ ? layers->n : 0) + 2) * sizeof *names);
    int n = 0;
    names[n++] = "train";
    for (int i = 0; layers && layers->kind == NODE_SEQ && i < layers->n; i++) {
        const char *kind;
        Node *value;
        const Node *word;
        if (!layer_kind(layers->item[i], &kind, &value, &word))
            continue;
        const char *this = layer_name(kind, value, counts, 64);
        if (strcmp(this, name) == 0)
            return layer_map(&layers->item[i], value, word, at);
        names[n++] = this;
    }
    const char *near = diag_nearest(name, names);
    diag_error(at, near ? xprintf("did you mean '%s'?", near) : "'convoy check SPEC' lists the layers' names",
               "no layer is called '%.60s'", name);
    return NULL;
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
    Node *value =
        eq[1 + strspn(eq + 1, " \t\r\n")] ? yaml_parse(eq + 1, strlen(eq + 1), value_at) : node_new(NODE_SCALAR, "", value_at);
    if (!value)
        return false;
    if (root->kind != NODE_MAP)
        return true; /* spec.c says so */
    const char *dot = memchr(assignment, '.', len);
    Node *map = root;
    const char *key = assignment;
    if (dot) {
        const char *head = xstrndup(assignment, (size_t)(dot - assignment));
        Mark head_at = {-1 - index, 1, (int)(dot - assignment)};
        key = dot + 1;
        if (memchr(key, '.', (size_t)(eq - key))) {
            diag_error(at, "--set train.lr=0.05, --set conv3.order=conv-act-bn", "a key has two parts at most");
            return false;
        }
        if (strcmp(head, "train") == 0) {
            if (!keys_get(root, head)) {
                Node *made = node_new(NODE_MAP, "", head_at);
                node_put(root, node_new(NODE_SCALAR, head, head_at), made);
            }
            map = keys_get(root, head);
            if (map->kind != NODE_MAP)
                return true;
        } else if (!(map = find_layer(root, head, head_at))) {
            return false;
        }
    }
    Mark key_at = {-1 - index, (int)(key - assignment) + 1, (int)(eq - key)};
    node_put(map, node_new(NODE_SCALAR, xstrndup(key, (size_t)(eq - key)), key_at), value);
    return true;
}
