/* lines.c - records for lines and functions of a layer's file.
 *
 * needs: a complete plan. sets: records, for the templates. */
#include "layer.h"

const char *line_symbol(const File *f, const char *verb)
{
    return xprintf("%s_%s_%s", f->p->g->spec->name, f->k->name, verb);
}

Rec *line_function(const File *f, const char *list, const char *template, const char *name)
{
    Rec *r = line_add(f->rec, list, template);

    names_clear(f->done);
    rec_str(r, "name", name);
    rec_str(r, "type", kernel_struct(f->p, f->k));
    return r;
}

/* A pass of one of many operands of a concat: its code is printed where no pass before it has the same. */
static void joined_pass(const File *f, const char *list, UsesOf *of, const Image *image)
{
    PixelPass alike = *of->pass;
    Buf text = {0};

    alike.name = "joined";
    alike.shared = NULL;
    template_expand("pass", "r", emit_pixel_pass(f->p, f->k, &alike, image, f->infer, &of->uses), &text);
    int number = names_find(&f->uses->joined, text.text);
    const bool known = number > 0;
    if (!known) {
        int *at = names_at(&f->uses->joined, text.text);
        number = *at = f->uses->joined.n;
    }
    alike.name = xprintf("joined%d", number);
    of->tag = pass_tag(f->k, &alike);
    if (!known)
        rec_push(f->rec, list, emit_pixel_pass(f->p, f->k, &alike, image, f->infer, &of->uses));
}

void layer_passes(const File *f, const char *list, const Chain *c, const Image *image)
{
    for (int i = 0; i < c->n; i++) {
        UsesOf of = {.pass = &c->pass[i]};
        if (of.pass->joined) {
            joined_pass(f, list, &of, image);
        } else {
            Rec *r = emit_pixel_pass(f->p, f->k, of.pass, image, f->infer, &of.uses);
            if (!(f->k->shares && of.pass->shared))
                rec_push(f->rec, list, r);
        }
        *PUSH(f->uses->of, f->uses->n) = of;
    }
}

static const UsesOf *uses_of(const File *f, const PixelPass *r)
{
    for (int i = 0; i < f->uses->n; i++)
        if (f->uses->of[i].pass == r)
            return &f->uses->of[i];
    BUG("pass %s of %s is called, and not emitted", r->name, f->k->name);
}

PassUses layer_uses(const File *f, const PixelPass *r)
{
    return uses_of(f, r)->uses;
}

const char *layer_tag(const File *f, const PixelPass *r)
{
    const char *const tag = uses_of(f, r)->tag;

    return tag ? tag : pass_tag(f->k, r);
}

void line_over_pieces(const File *f, Rec *kernel, Rec *piece)
{
    Rec *s = line_add(kernel, "body", "over_pieces");

    rec_rec(s, "piece", piece);
    rec_int(s, "pieces", f->p->pieces);
    rec_fmt(s, "stride", "%s_SCRATCH", upper(f->p->g->spec->name));
}

void line_clear(Rec *to, const char *list, const char *name, int64_t floats)
{
    Rec *s = line_add(to, list, "image_clear");

    rec_str(s, "name", name);
    rec_int(s, "floats", floats);
}

Rec *line_halo(Rec *to, const char *list, const Image *m, int copies)
{
    Rec *s = line_add(to, list, copies > 1 ? "image_halos" : "image_halo");

    rec_str(s, "name", m->name);
    rec_int(s, "copies", copies);
    rec_int(s, "floats", m->floats);
    rec_int(s, "blocks", m->plain ? m->shape.c : blocks_of(m->shape.c));
    rec_int(s, "rows", m->rows);
    rec_int(s, "cols", m->cols);
    rec_int(s, "top", m->top);
    rec_int(s, "left", m->left);
    rec_int(s, "h", m->shape.h);
    rec_int(s, "w", m->shape.w);
    rec_int(s, "lanes", m->plain ? 1 : LANES);
    rec_str(s, "fill", m->minus_inf ? "-INFINITY" : "0.0f");
    return s;
}

void line_scratch(Rec *fn, const char *template, const char *name, int64_t at, const char *doc)
{
    Rec *s = line_add(fn, "scratch", template);

    rec_str(s, "name", name);
    rec_int(s, "at", at);
    rec_str(s, "doc", doc);
}

const Tensor *layer_tensor(const File *f)
{
    return f->k->tensor < 0 ? NULL : f->infer ? &f->p->infer_tensor[f->k->tensor] : &f->p->tensor[f->k->tensor];
}
