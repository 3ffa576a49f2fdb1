/* origin.c - what a set, or weights that were trained with one, say of how its rows were made: their metadata. */
#include "image.h"
#include "runtime.h"

#include <jansson.h>
#include <stdlib.h>

static bool damaged(const struct cvy_tensors *f, enum cvy_origin key)
{
    cvy_error("make it again", "'%s': its metadata has no valid '%s'", f->path, cvy_origin_keys[key]);
    return false;
}

/* Metadata that are JSON; NULL where there are none, or no valid ones: *bad. */
static json_t *meta_json(const struct cvy_tensors *f, enum cvy_origin key, bool *bad)
{
    const char *text = cvy_get_meta(f, cvy_origin_keys[key]);
    json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    *bad = text && !o;
    return o;
}

/* A list of names, none of them where it is not said. */
static bool read_names(const struct cvy_tensors *f, enum cvy_origin key, const char ***name, int *n)
{
    bool bad;
    json_t *list = meta_json(f, key, &bad);
    *n = (int)json_array_size(list);
    bad = bad || (list && !*n);
    if (*n)
        *name = xalloc((size_t)*n * sizeof **name);
    for (int c = 0; c < *n && !bad; c++) {
        const char *text = json_string_value(json_array_get(list, (size_t)c));
        (*name)[c] = text ? xstrdup(text) : NULL;
        bad = !text;
    }
    json_decref(list);
    return !bad || damaged(f, key);
}

static bool read_recipe(Origin *o, const struct cvy_tensors *f)
{
    bool bad;
    json_t *recipe = meta_json(f, CVY_RECIPE, &bad), *image = json_object_get(recipe, "image");
    const char *source = json_string_value(json_object_get(recipe, "source"));
    bad = bad || (recipe && !source);
    const char *length = json_string_value(json_object_get(recipe, "length"));
    o->source = source ? xstrdup(source) : NULL;
    o->length = length ? xstrdup(length) : NULL;
    o->images = image != NULL;
    if (image && !bad) {
        char *text = json_dumps(image, JSON_COMPACT);
        bad = !text || !recipe_read(&o->recipe, text);
        free(text);
    }
    json_decref(recipe);
    return !bad || damaged(f, CVY_RECIPE);
}

bool origin_read(Origin *o, const struct cvy_tensors *f)
{
    *o = (Origin){0};
    return read_names(f, CVY_CLASSES, &o->class_name, &o->nclass) &&
           read_names(f, CVY_TARGET_NAMES, &o->target, &o->ntarget) &&
           read_names(f, CVY_COLUMNS, &o->column, &o->ncolumn) && read_recipe(o, f);
}
