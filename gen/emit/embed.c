/* embed.c - tables of embeddings: their core headers, and the lines of their kernels that call them.
 *
 * needs: a complete plan. sets: the text of core_<shape>.h; records of a layer's file. */
#include "layer.h"

/* What the core's functions, and the lines that call them, are told of a table. */
static void put_sizes(const Plan *p, const Kernel *k, Rec *to)
{
    const Op *o = &p->g->op[k->op];
    const int64_t blocks = blocks_of(o->shape.c), steps = o->shape.w;

    rec_int(to, "tokens", p->g->spec->tokens);
    rec_int(to, "steps", steps);
    rec_int(to, "blocks", blocks);
    rec_int(to, "columns", blocks * LANES);
    rec_int(to, "y_row", blocks * steps * LANES);
    rec_int(to, "y_block", steps * LANES);
    rec_int(to, "padded", o->shape.c < blocks * LANES);
    rec_int(to, "last", o->shape.c - (blocks - 1) * LANES);
}

void emit_table_file(const Plan *p, const Kernel *k, bool train, Buf *to)
{
    const Op *o = &p->g->op[k->op];
    Rec *h = rec_new();

    rec_str(h, "name", k->w->core_name);
    rec_fmt(h, "guard", "CORE_%s_H", upper(k->w->core_name));
    rec_str(h, "licence", EMITTED_LICENCE);
    rec_fmt(h, "doc", "embed: %d of %d tokens -> %d numbers each", o->shape.w, p->g->spec->tokens, o->shape.c);
    rec_int(h, "train", train);
    put_sizes(p, k, h);
    rec_int(h, "lengths", o->lengths);
    rec_str(h, "length", o->lengths ? ", const int *length" : "");
    rec_str(h, "end", o->lengths ? xprintf("(length ? length[r] : %d)", o->shape.w) : xprintf("%d", o->shape.w));
    template_expand("table_file", "h", h, to);
}

static Rec *table_line(const File *f, Rec *to, const char *template)
{
    Rec *s = line_add(to, "body", template);

    rec_str(s, "core", f->k->w->core_name);
    rec_str(s, "length", f->p->g->op[f->k->op].lengths ? ", k->net->length" : "");
    put_sizes(f->p, f->k, s);
    return s;
}

void embed_forward(const File *f, Rec *kernel)
{
    table_line(f, kernel, "table_run");
}

void embed_backward(const File *f, Rec *kernel)
{
    if (f->k->learns)
        rec_int(table_line(f, kernel, "table_grads"), "floats", f->k->w->w_floats);
}

void embed_infer(const File *f, Rec *fn)
{
    Rec *s = line_add(fn, "body", "table_infer");

    rec_str(s, "core", f->k->w->core_name);
    rec_str(s, "length", f->p->g->op[f->k->op].lengths ? ", length" : "");
    rec_fmt(s, "folded", "%s_%s_FOLDED", upper(f->p->g->spec->name), upper(f->k->name));
    rec_str(s, "x", f->k->image[f->k->w->x].name);
}
