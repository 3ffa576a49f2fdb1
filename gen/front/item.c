/* item.c - an item of `layers`: of which kind it is, what it is called, its keys. */
#include "read.h"

#include <string.h>

bool layer_kind(const Node *item, const char **kind, Node **value, const Node **word)
{
    const char *w;
    *value = NULL;
    if (item->kind == NODE_SCALAR) {
        *word = item;
        w = order_word(item->text);
    } else if (item->kind == NODE_MAP && item->n == 1) {
        *word = item->key[0];
        *value = item->item[0];
        w = item->key[0]->text;
    } else {
        return false;
    }
    OpKind op = op_find(w);
    *kind = strcmp(w, "act") == 0 ? "act" : op != OP_KINDS ? op_info[op].stage : w;
    return true;
}

const char *layer_name(const char *kind, const Node *value, KindCount *counts, int ncounts)
{
    int i = 0;
    while (i < ncounts - 1 && counts[i].kind && strcmp(counts[i].kind, kind) != 0)
        i++;
    counts[i].kind = kind;
    int ordinal = ++counts[i].n;
    const Node *name = value ? keys_get(value, "name") : NULL;
    return name && name->kind == NODE_SCALAR ? name->text : xprintf("%s%d", kind, ordinal);
}

void layer_bad_item(const Node *item)
{
    if (item->kind == NODE_MAP && item->n > 1) {
        OpKind op = op_find(item->key[0]->text);
        if (op != OP_KINDS && text_is_null(item->item[0]))
            diag_error(item->key[1]->mark,
                       xprintf("indent it below '%s', or write - %s: {%s: ...}", item->key[0]->text, item->key[0]->text,
                               item->key[1]->text),
                       "'%.60s' stands beside '%s', not inside it", item->key[1]->text, item->key[0]->text);
        else
            diag_error(item->key[1]->mark, "begin each layer with a dash of its own",
                       "a layer is one key, and this is a second: '%.60s'", item->key[1]->text);
    } else {
        diag_error(item->mark, "- conv: 16, - bn, - maxpool(2)", "a layer must be a word or a map of one key");
    }
}

const char *layer_short_key(const char *word)
{
    if (strcmp(word, "conv") == 0 || strcmp(word, "linear") == 0)
        return "out";
    const StageKeys *row = stage_keys_of(word);
    return row ? row->single : NULL;
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

static const char *const order_keys[] = {"order", "bn_1st", "adn", NULL};

bool spells_order(const char *key)
{
    return is_in(order_keys, key);
}
