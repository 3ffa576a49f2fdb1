/* images.c - a kernel's images in scratch: which of them a function uses, and how it declares them.
 *
 * needs: a complete plan. sets: records of a layer's file. */
#include "layer.h"

#include <string.h>

/* ---- which are used ---- */

bool *images_none(const Kernel *k)
{
    return xalloc((size_t)k->nimage + 1);
}

void images_mark(bool *used, int image)
{
    if (image >= 0)
        used[image] = true;
}

void images_mark_chain(bool *used, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const PixelPass *r = &c->pass[i];
        const Place *place[] = {&r->from, &r->value, &r->to};
        for (int j = 0; j < 3; j++)
            if (place[j]->where == AT_IMAGE)
                images_mark(used, place[j]->image);
        for (int j = 0; j < r->nskip; j++)
            if (r->skip[j].from.where == AT_IMAGE)
                images_mark(used, r->skip[j].from.image);
        images_mark(used, r->scatter_image);
    }
}

void images_mark_before(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++)
        images_mark_chain(used, &k->before[i]);
}

void images_mark_work(bool *used, const Kernel *k)
{
    if (kernel_winograd(k, PASS_FORWARD))
        images_mark(used, k->conv->work);
}

void images_mark_din(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++)
        images_mark_chain(used, &k->din[i]);
}

/* ---- declarations ---- */

const char *image_text(const Image *m)
{
    if (m->name && strcmp(m->name, "work") == 0)
        return "Winograd: tiles and products";
    return m->rows == m->shape.h && m->cols == m->shape.w
               ? describe_shape(m->shape)
               : xprintf("%s in %d x %d pixels", describe_shape(m->shape), m->rows, m->cols);
}

/* Declares the images that are used, and sets what of them no stage writes. Rows of matrices are declared in the loop
 * over images. */
void images_declare(const Kernel *k, Rec *fn, const Image *image, int n, const bool *used, bool backward)
{
    const int together = !k->conv ? 1 : backward ? k->conv->weight.images : k->conv->winograd[PASS_FORWARD].images;
    bool numbered = false; /* the number of an image among them is declared */

    for (int i = 0; i < n; i++) {
        const Image *m = &image[i];
        if (!used[i] || m->given)
            continue;
        const bool group = together > 1 && (i == k->w->x || i == k->w->dz);
        Rec *s = line_add(fn, m->row ? "body" : "scratch",
                          m->row  ? "image_row"
                          : group ? "image_group"
                                  : "image_scratch");
        rec_str(s, "name", m->name);
        rec_str(s, "doc", image_text(m));
        if (group) {
            rec_int(s, "copies", together);
            if (!numbered)
                rec_int(line_add(fn, "body", "member"), "group", together);
            numbered = true;
            Rec *member = line_add(fn, "body", "image_member");
            rec_str(member, "name", m->name);
            rec_int(member, "floats", m->floats);
        }
        if (m->row) {
            rec_str(s, "matrix",
                    i == k->w->x      ? (backward ? "mat_back_x" : "mat_x")
                    : i == k->rows->y ? "mat_y"
                    : i == k->w->dz   ? "mat_dz"
                                      : "mat_dx");
            rec_int(s, "floats", m->floats);
            if (m->shared)
                line_clear(fn, "body", m->name, m->floats);
            continue;
        }
        rec_int(s, "at", m->at);
        if (m->shared)
            line_clear(fn, "begin", group ? xprintf("%s_group", m->name) : m->name, m->floats * (group ? together : 1));
        else if (m->filled)
            line_halo(fn, "begin", m, group ? together : 1);
    }
}
