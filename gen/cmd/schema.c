/* schema.c - convoy schema: the spec's language as a JSON schema (draft-07), for editors.
 *
 * Keys, types, ranges and words come from the tables (keytables.c), stages from the op table (op.c), names from
 * preset.c. What is written here is how an order, an item and a group are put together. The schema knows no shapes:
 * what it lets through may still be an error to `convoy check`; what it refuses is one (tests/test_schema.py). */
#include "files.h"
#include "commands.h"
#include "read.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER "[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?"
#define SIZE "[0-9]+(x[0-9]+)?"
#define SIDE "[0-9]+(:[0-9]+)?"
#define SIDES "(same|" SIDE "(x" SIDE ")?)"

static json_t *object(const char *key, json_t *value)
{
    json_t *o = json_object();
    if (!o || json_object_set_new(o, key, value) != 0) {
        fprintf(stderr, "convoy: out of memory\n");
        exit(EXIT_FAILED);
    }
    return o;
}

/* Adds a key; the object, so that calls nest. */
static json_t *with(json_t *o, const char *key, json_t *value)
{
    if (json_object_set_new(o, key, value) != 0) {
        fprintf(stderr, "convoy: out of memory\n");
        exit(EXIT_FAILED);
    }
    return o;
}

static json_t *ref(const char *def)
{
    return object("$ref", json_string(xprintf("#/definitions/%s", def)));
}

static json_t *type(const char *name)
{
    return object("type", json_string(name));
}

static json_t *pattern(const char *text)
{
    return with(type("string"), "pattern", json_string(text));
}

static json_t *any_of(json_t *a, json_t *b)
{
    return object("anyOf", json_pack("[o, o]", a, b));
}

static json_t *list_of(json_t *items, int least, int most)
{
    json_t *o = with(with(type("array"), "items", items), "minItems", json_integer(least));
    return most ? with(o, "maxItems", json_integer(most)) : o;
}

/* ---- values of the tables --------------------------------------------------------------------------------------- */

static json_t *words(const char *const *w)
{
    json_t *list = json_array();
    for (; *w; w++)
        json_array_append_new(list, strcmp(*w, "true") == 0    ? json_true()
                                    : strcmp(*w, "false") == 0 ? json_false()
                                                               : json_string(*w));
    return object("enum", list);
}

/* Bounds below 2^53 are the same in every JSON reader; the one above is left to the parser. */
static json_t *number(const KeyInfo *k, bool whole)
{
    json_t *o = type(whole ? "integer" : "number");
    with(o, k->above_lo ? "exclusiveMinimum" : "minimum", whole ? json_integer((json_int_t)k->lo) : json_real(k->lo));
    if (k->hi < 0x1p53)
        with(o, k->below_hi ? "exclusiveMaximum" : "maximum",
             whole ? json_integer((json_int_t)k->hi) : json_real(k->hi));
    return o;
}

static json_t *value(const KeyInfo *k)
{
    json_t *o = NULL;
    switch (k->type) {
    case KEY_DEF:
        return ref(k->def);
    case KEY_INT:
        o = number(k, true);
        break;
    case KEY_REAL:
        return number(k, false);
    case KEY_BOOL:
        return type("boolean");
    case KEY_WORD:
        return words(k->words);
    case KEY_SIZE:
        o = any_of(number(k, true), list_of(number(k, true), 2, 2));
        break;
    case KEY_SIDES:
        return object("anyOf", json_pack("[o, o, o, o]", number(k, true), list_of(number(k, true), 2, 2),
                                         list_of(number(k, true), 4, 4), object("const", json_string("same"))));
    case KEY_CHANNELS:
        o = any_of(number(k, false), list_of(number(k, false), 1, 0));
        break;
    }
    return k->words ? any_of(o, words(k->words)) : o;
}

/* What is shown as a key's default: a number, a truth, or a word. */
static json_t *fallback(const char *s)
{
    int64_t i;
    double v;
    return text_int(s, &i)           ? json_integer((json_int_t)i)
           : text_real(s, &v)        ? json_real(v)
           : strcmp(s, "false") == 0 ? json_false()
           : strcmp(s, "true") == 0  ? json_true()
                                     : json_string(s);
}

/* A map that holds keys of the table alone. */
static json_t *map_of(const KeyInfo *keys)
{
    json_t *properties = json_object();
    for (; keys->name; keys++) {
        if (keys->not_built)
            continue;
        /* beside a $ref, draft-07 reads nothing: hence allOf */
        json_t *v = value(keys);
        json_t *p = object("description", json_string(keys->help));
        if (keys->fallback)
            with(p, "default", fallback(keys->fallback));
        if (keys->type == KEY_DEF) {
            with(p, "allOf", json_pack("[o]", v));
        } else {
            json_object_update(p, v);
            json_decref(v);
        }
        with(properties, keys->name, p);
    }
    return with(with(type("object"), "properties", properties), "additionalProperties", json_false());
}

/* ---- orders ------------------------------------------------------------------------------------------------------ */

static const char *arg_pattern(ArgKind kind)
{
    return kind == ARG_SIZE ? SIZE : kind == ARG_SIDES ? SIDES : NUMBER;
}

/* The words after a stage's numbers: "( *, *(ceil|inside))*" */
static const char *words_pattern(const OpInfo *info)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (int i = 0; i < OP_ARGS; i++)
        if (info->arg[i].word)
            buf_printf(&b, "%s%s", b.len ? "|" : "", info->arg[i].word);
    return b.len ? xprintf("( *, *(%s))*", b.text) : "";
}

/* A stage as a pattern: all stages but weight ops, or the ops of a kind. */
static const char *stage_pattern(bool (*kind)(OpKind))
{
    Buf b = {0};
    buf_puts(&b, kind ? "(" : "(act|norm");
    for (int k = 0; k < OP_KINDS; k++) {
        const OpInfo *info = &op_info[k];
        if (op_find(info->name) != (OpKind)k || (kind ? !kind((OpKind)k) : info->cls == CLASS_WEIGHT))
            continue;
        buf_printf(&b, "%s%s", b.text[b.len - 1] == '(' ? "" : "|", info->name);
        const int may = op_may_args((OpKind)k), must = op_must_args((OpKind)k);
        if (may) {
            for (int n = 0; n < may; n++)
                buf_printf(&b, "%s%s", n ? "( *, *" : " *[(] *", arg_pattern(info->arg[op_arg_at((OpKind)k, n)].kind));
            for (int n = 1; n < may; n++)
                buf_puts(&b, ")?");
            buf_printf(&b, "%s *[)]", words_pattern(info));
        }
        if (may && !must) /* leaky_relu, leaky_relu(0.1) */
            buf_printf(&b, "|%s", info->name);
    }
    buf_puts(&b, ")");
    return b.text;
}

/* An order around a weight op, as a word or a list of words. */
static json_t *order_of(const char *stage, const char *weight)
{
    const char *either = xprintf("(%s|%s)", stage, weight);
    return any_of(pattern(xprintf("^ *(%s *- *)*%s( *- *%s)* *$", stage, weight, stage)),
                  list_of(pattern(xprintf("^ *%s( *- *%s)* *$", either, either)), 1, 0));
}

/* ---- items ---------------------------------------------------------------------------------------------------------
 */

/* What may stand after "- drop:": a map of its keys, its one argument, or nothing. */
static json_t *bare(const StageKeys *row, bool needs)
{
    json_t *forms = json_pack("[o]", map_of(row->keys));
    if (needs)
        with(json_array_get(forms, 0), "required", json_pack("[s]", row->single));
    else
        json_array_append_new(forms, type("null"));
    if (row->single)
        json_array_append_new(forms, value(keys_find(row->keys, row->single)));
    return object("anyOf", forms);
}

static json_t *bare_of(const char *stage)
{
    OpKind op = op_find(stage);
    return bare(stage_keys_of(stage), op != OP_KINDS && op_must_args(op));
}

/* An item of layers: a bare stage as a word, or a map of one key. */
static json_t *item(const char *stage)
{
    json_t *one = json_object();
    with(one, "conv", ref("conv"));
    with(one, "linear", ref("linear"));
    with(one, "stage", ref("stage"));
    with(one, "act", bare_of("act"));
    with(one, "norm", bare_of("norm"));
    for (int k = 0; k < OP_KINDS; k++)
        if (op_find(op_info[k].name) == (OpKind)k && !op_is_block((OpKind)k))
            with(one, op_info[k].name, bare_of(op_info[k].name));
    json_t *map = with(with(type("object"), "properties", one), "additionalProperties", json_false());
    with(with(map, "minProperties", json_integer(1)), "maxProperties", json_integer(1));
    return any_of(pattern(xprintf("^ *(conv|linear|%s|%s) *$", stage, stage_pattern(op_is_alone))), map);
}

static json_t *required(const char *key)
{
    return object("required", json_pack("[s]", key));
}

/* One body; or none beside a preset, some of which have one. What belongs to a sum has one. */
static json_t *group(void)
{
    static const char *const of_sums[] = {"shortcut", "shortcut_from", "zero_gamma"};
    json_t *o = map_of(group_keys), *dependencies = json_object();
    json_t *one = json_pack("[o, o, o]", required("layers"), required("residual"), required("concat"));
    json_t *none = object("not", object("anyOf", json_deep_copy(one)));
    with(none, "required", json_pack("[s]", "preset"));
    with(o, "anyOf", json_pack("[o, o]", object("oneOf", one), none));
    for (int k = 0; k < 3; k++)
        with(dependencies, of_sums[k],
             any_of(required("residual"),
                    with(required("preset"), "not", any_of(required("layers"), required("concat")))));
    return with(o, "dependencies", dependencies);
}

/* A block's value: its keys, the number of its outputs, or nothing where its group has one. */
static json_t *block(const KeyInfo *keys)
{
    return object("anyOf", json_pack("[o, o, o]", map_of(keys), value(keys_find(keys, "out")), type("null")));
}

/* ---- the whole -----------------------------------------------------------------------------------------------------
 */

static json_t *preset_names(void)
{
    json_t *list = json_array();
    for (const Preset *p = presets; p->name; p++)
        json_array_append_new(list,
                              with(object("const", json_string(p->name)), "description", json_string(p->summary)));
    return object("oneOf", list);
}

static json_t *init_rule(void)
{
    Buf b = {0};
    buf_puts(&b, "^(");
    for (int i = 0; init_names[i]; i++)
        buf_printf(&b, "%s%s%s", i ? "|" : "", init_names[i],
                   strncmp(init_names[i], "kaiming", 7) == 0 ? "( *[(] *" NUMBER " *[)])?" : "");
    buf_puts(&b, ")$");
    return pattern(b.text);
}

static json_t *input(void)
{
    const KeyInfo side = {.lo = 1, .hi = MAX_SIDE};
    json_t *tokens = map_of(input_keys);
    with(tokens, "required", json_pack("[s]", "length"));
    with(tokens, "oneOf", json_pack("[{s:[s]}, {s:[s]}]", "required", "tokens", "required", "features"));
    return any_of(list_of(number(&side, true), 1, 3), tokens);
}

static json_t *definitions(void)
{
    const char *stage = stage_pattern(NULL), *acts = stage_pattern(op_is_act);
    const char *chain = xprintf("%s( *- *%s)*", stage, stage);
    json_t *d = object("name", with(pattern("^[a-z][a-z0-9]*(_[a-z0-9]+)*$"), "maxLength", json_integer(63)));
    with(d, "input", input());
    with(d, "preset", preset_names());
    with(d, "normKind", pattern(xprintf("^ *(none|%s) *$", stage_pattern(op_is_norm))));
    with(d, "activation", pattern(xprintf("^ *%s *$", acts)));
    with(d, "convOrder", order_of(stage, "conv"));
    with(d, "linearOrder", order_of(stage, "linear"));
    with(d, "stagesOrNone",
         any_of(pattern(xprintf("^ *(none|%s) *$", chain)), list_of(pattern(xprintf("^ *%s *$", chain)), 1, 0)));
    with(d, "adn", pattern("^(?!.*[aA].*[aA])(?!.*[dD].*[dD])(?!.*[nN].*[nN])[aAdDnN]+$"));
    with(d, "augment",
         any_of(list_of(pattern("^(crop\\([0-9.]+\\)|shift\\([0-9.]+\\)|flip|cutout\\([0-9.]+\\)|mixup\\([0-9.]+\\))$"),
                        0, 0),
                object("const", json_string("none"))));
    with(d, "freeze", any_of(list_of(type("string"), 0, 0), object("const", json_string("none"))));
    with(d, "initRule", init_rule());
    with(d, "init", any_of(ref("initRule"), map_of(init_keys)));
    with(d, "shortcut",
         object("anyOf", json_pack("[o, o, o]", object("enum", json_pack("[s, s]", "identity", "pad")),
                                   ref("convOrder"), map_of(shortcut_keys))));
    const char *norms = stage_pattern(op_is_norm);
    with(d, "placeKind", pattern(xprintf("^ *(none|norm|%s) *$", norms)));
    with(d, "placeNorm", any_of(ref("placeKind"), map_of(place_keys)));
    with(d, "betweenNorm", any_of(ref("placeKind"), map_of(between_keys)));
    with(d, "cellNorm", any_of(ref("placeKind"), map_of(norm_places_keys)));
    with(d, "conv", block(conv_keys));
    with(d, "linear", block(linear_keys));
    with(d, "stage", group());
    with(d, "only",
         with(type("object"), "additionalProperties",
              with(type("object"), "properties", object("preset", json_false()))));
    with(d, "item", item(stage));
    with(d, "layers", list_of(ref("item"), 1, MAX_LAYERS));
    with(d, "branches", list_of(list_of(ref("item"), 0, 0), 2, MAX_BRANCHES));
    with(d, "train", any_of(map_of(train_keys()), type("null")));
    return d;
}

int cmd_schema(const Options *o)
{
    json_t *root = object("$schema", json_string("http://json-schema.org/draft-07/schema#"));
    with(root, "title", json_string("convoy spec"));
    with(root, "description", json_string("A network and how it is trained; docs/spec.md is the manual."));
    json_t *top = map_of(top_keys);
    json_object_update(root, top);
    json_decref(top);
    with(root, "required", json_pack("[s, s, s]", "name", "input", "layers"));
    with(root, "oneOf", json_pack("[{s:[s]}, {s:[s]}]", "required", "classes", "required", "outputs"));
    with(root, "definitions", definitions());
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(root);
    if (!text) {
        fprintf(stderr, "convoy: out of memory\n");
        return EXIT_FAILED;
    }
    const char *all = xprintf("%s\n", text);
    free(text);
    if (prints(o))
        return fputs(all, stdout) < 0 ? EXIT_FAILED : EXIT_OK;
    if (!file_write(o->out, all, strlen(all)))
        return EXIT_FAILED;
    printf("wrote %s\n", o->out);
    return EXIT_OK;
}
