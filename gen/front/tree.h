/* tree.h - a YAML file as a tree. */
#ifndef CONVOY_TREE_H
#define CONVOY_TREE_H

#include "diag.h"

typedef enum NodeKind { NODE_SCALAR, NODE_SEQ, NODE_MAP } NodeKind;
typedef struct Node Node;
struct Node {
    NodeKind kind;
    Mark mark;
    const char *text; /* scalar: its value */
    bool quoted;      /* scalar: written in quotes, so never a number, null or true/false */
    bool implied;     /* it does not stand in the file: a preset, or another spelling, stands for it, at its mark */
    int n;            /* items of a sequence, or pairs of a map */
    Node **key;       /* map: scalars */
    Node **item;      /* sequence: items; map: values */
};
/* Reads a file (at most MAX_SPEC_BYTES). NULL and a collected error where it cannot. needs: nothing; sets: a tree
 * without aliases, anchors, tags, duplicate keys, several documents; no deeper than MAX_DEPTH. */
Node *yaml_read(const char *path, Source *src);
/* Puts the value of an override "a.b=v" (from --set) where it belongs in the tree. layers are addressed by name. */
bool yaml_override(Node *root, const char *assignment, int index);

#endif
