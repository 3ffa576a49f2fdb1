/* draw.c - `convoy draw`: the plan of a spec as a picture; with --diff, of two side by side. */
#include "files.h"
#include "commands.h"
#include "draw.h"

#include <string.h>

/* The plan of a spec, with the target and the overrides that the options have. */
static Picture *picture_of(const Options *o, const char *spec, int *status)
{
    Options of = *o;

    of.spec = spec;
    const Plan *p = load_plan(&of, o->target ? o->target : "native", false, status);
    return p ? draw_picture(p) : NULL;
}

/* A path without its folders. */
static const char *file_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int cmd_draw(const Options *o)
{
    int status;
    Picture *other = NULL, *picture = picture_of(o, o->spec, &status);
    Buf b = {0};

    if (!picture)
        return status;
    if (o->diff && !(other = picture_of(o, o->diff, &status)))
        return status;
    if (!o->all)
        draw_fold(picture, other);
    draw_place(picture);
    if (other) {
        draw_place(other);
        picture->file = file_of(o->spec);
        other->file = file_of(o->diff);
        draw_diff(picture, other);
    }
    draw_svg(picture, other, &b);
    if (prints(o)) {
        fwrite(b.text, 1, b.len, stdout);
        return EXIT_OK;
    }
    if (!file_write(o->out, b.text, b.len))
        return EXIT_FAILED;
    printf("wrote %s\n", o->out);
    return EXIT_OK;
}
