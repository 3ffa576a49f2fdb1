/* tree.c - a YAML tree: making and changing nodes, and a node as text. */
#include "read.h"

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

void node_drop(Node *map, const char *key)
{
    int n = 0;
    for (int i = 0; i < map->n; i++)
        if (strcmp(map->key[i]->text, key) != 0) {
            map->key[n] = map->key[i];
            map->item[n++] = map->item[i];
        }
    map->n = n;
}

const char *scalar_text(const Node *n)
{
    bool plain = *n->text != '\0';
    for (const char *c = n->text; *c; c++)
        plain = plain && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                          strchr("_-+.()~/", *c));
    if (plain)
        return n->text;
    Buf b = {0};
    buf_puts(&b, "\"");
    for (const char *c = n->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            buf_printf(&b, "\\x%02x", (unsigned char)*c);
        else
            buf_printf(&b, strchr("\"\\", *c) ? "\\%c" : "%c", *c);
    buf_puts(&b, "\"");
    return b.text;
}

const char *node_text(const Node *n)
{
    Buf b = {0};
    if (n->kind == NODE_SCALAR)
        return scalar_text(n);
    buf_puts(&b, n->kind == NODE_SEQ ? "[" : "{");
    for (int i = 0; i < n->n; i++) {
        buf_puts(&b, i ? ", " : "");
        if (n->kind == NODE_MAP)
            buf_printf(&b, "%s: ", scalar_text(n->key[i]));
        buf_puts(&b, node_text(n->item[i]));
    }
    buf_puts(&b, n->kind == NODE_SEQ ? "]" : "}");
    return b.text;
}
