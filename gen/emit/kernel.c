/* kernel.c - a kernel's file as records: its runs, and the functions that call them in order.
 *
 * needs: a complete plan. sets: the text of NAME_<layer>.c. */
#include "emit.h"
#include "names.h"

#include <string.h>

typedef struct File {
    const Plan *p;
    const Kernel *k;
    Rec *rec;
    bool infer; /* k is of inference */
    Buf *done;  /* what of image norms the function at hand has already */
} File;

static Rec *add(Rec *to, const char *list, const char *template)
{
    Rec *s = rec_add(to, list);

    rec_str(s, "template", template);
    return s;
}

static const char *symbol(const File *f, const char *verb)
{
    return xprintf("%s_%s_%s", f->p->g->spec->name, f->k->name, verb);
}

static Rec *add_function(const File *f, const char *list, const char *template, const char *name)
{
    Rec *r = add(f->rec, list, template);

    f->done->len = 0;
    buf_puts(f->done, "");

    rec_str(r, "name", name);
    rec_str(r, "type", kernel_struct(f->p, f->k));
    return r;
}

/* ---- images ---- */

static void mark(bool *used, int image)
{
    if (image >= 0)
        used[image] = true;
}

static void mark_chain(bool *used, const Chain *c)
{
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        const Place *place[] = {&r->from, &r->value, &r->to};
        for (int j = 0; j < 3; j++)
            if (place[j]->where == AT_IMAGE)
                mark(used, place[j]->image);
        for (int j = 0; j < r->nside; j++)
            if (r->side[j].from.where == AT_IMAGE)
                mark(used, r->side[j].from.image);
        mark(used, r->scatter_image);
    }
}

static void mark_before(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++)
        mark_chain(used, &k->before[i]);
}

static void mark_forward_work(bool *used, const Kernel *k)
{
    if (kernel_winograd(k, PASS_FORWARD))
        mark(used, k->conv->work);
}

static void mark_din(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++)
        mark_chain(used, &k->din[i]);
}

static void halo_line(Rec *to, const char *list, const Image *m, int copies)
{
    Rec *s = add(to, list, copies > 1 ? "image_halos" : "image_halo");

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
}

static void clear_line(Rec *to, const char *list, const char *name, int64_t floats)
{
    Rec *s = add(to, list, "image_clear");

    rec_str(s, "name", name);
    rec_int(s, "floats", floats);
}

static const char *describe_image(const Image *m)
{
    if (m->name && strcmp(m->name, "work") == 0)
        return "Winograd: tiles and products";
    return m->rows == m->shape.h && m->cols == m->shape.w
               ? describe_shape(m->shape)
               : xprintf("%s in %d x %d pixels", describe_shape(m->shape), m->rows, m->cols);
}

/* Declares the images that are used, and sets what of them no stage writes. Rows of matrices are declared in the loop
 * over images. */
static void declare_images(const Kernel *k, Rec *fn, const Image *image, int n, const bool *used, bool backward)
{
    const int together = !k->conv ? 1 : backward ? k->conv->weight.images : k->conv->winograd[PASS_FORWARD].images;

    for (int i = 0; i < n; i++) {
        const Image *m = &image[i];
        if (!used[i] || m->given)
            continue;
        const bool group = together > 1 && (i == k->w->x || i == k->w->dz);
        Rec *s = add(fn, m->row ? "body" : "scratch", m->row ? "image_row" : group ? "image_group" : "image_scratch");
        rec_str(s, "name", m->name);
        rec_str(s, "doc", describe_image(m));
        if (group) {
            rec_int(s, "copies", together);
            if (i == k->w->x) /* the packed input stands first among a kernel's images */
                rec_int(add(fn, "body", "member"), "group", together);
            Rec *member = add(fn, "body", "image_member");
            rec_str(member, "name", m->name);
            rec_int(member, "floats", m->floats);
        }
        if (m->row) {
            rec_str(s, "matrix",
                    i == k->w->x        ? (backward ? "mat_back_x" : "mat_x")
                    : i == k->linear->y ? "mat_y"
                    : i == k->w->dz     ? "mat_dz"
                                        : "mat_dx");
            rec_int(s, "floats", m->floats);
            if (m->shared)
                clear_line(fn, "body", m->name, m->floats);
            continue;
        }
        rec_int(s, "at", m->at);
        if (m->shared)
            clear_line(fn, "begin", group ? xprintf("%s_group", m->name) : m->name, m->floats * (group ? together : 1));
        else if (m->filled)
            halo_line(fn, "begin", m, group ? together : 1);
    }
}

/* ---- image norms ---- */

/* Whether the function at hand lacks `what` of an image norm; from then on it does not. */
static bool once(const File *f, const char *what)
{
    const char *key = xprintf("|%s|", what);

    if (strstr(f->done->text, key))
        return false;
    buf_puts(f->done, key);
    return true;
}

static const Tensor *own_node(const File *f)
{
    return f->k->node < 0 ? NULL : f->infer ? &f->p->infer_node[f->k->node] : &f->p->node[f->k->node];
}

static int64_t area_of(const Tensor *nd)
{
    const Shape s = nd->shape[nd->nlink];

    return (int64_t)s.h * s.w;
}

/* Channels of the kernel's node with the room that memory gave them. */
static int64_t node_room(const Tensor *nd)
{
    return blocks_of(nd->shape[nd->nlink].c) * LANES + LANES;
}

static const ImageNorm *image_norm(const File *f, int op)
{
    for (int i = 0; i < f->k->nimage_norm; i++)
        if (f->k->image_norm[i].op == op)
            return &f->k->image_norm[i];
    return NULL;
}

/* The fields of every line about an image norm: where one image's statistics lie, gamma and beta, and numbers. */
static void image_norm_numbers(const File *f, Rec *s, int op)
{
    const Op *o = &f->p->g->op[op];
    const int padded = plan_norm(f->p, op)->padded;
    const char *alias = plan_alias(f->k, op);

    rec_str(s, "norm", alias);
    rec_int(s, "channels", o->shape.c);
    rec_int(s, "groups", o->groups);
    rec_str(s, "sort", op_info[o->kind].norm->centred ? "gn" : "rms");
    rec_int(s, "padded", padded);
    rec_int(s, "area", (int64_t)o->shape.h * o->shape.w);
    rec_fmt(s, "eps", "%.17g", o->eps);
    if (f->infer) {
        const char *macro = affine_macro(f->p, op);
        rec_fmt(s, "stats", "%s_stats", alias);
        rec_fmt(s, "gamma", "f + %s", macro);
        rec_fmt(s, "beta", "f + %s + %d", macro, padded);
    } else {
        rec_fmt(s, "stats", "k->%s->kept + (int64_t)i * %d", alias, GROUP_KEPT * o->groups);
        rec_fmt(s, "gamma", "k->%s->norm.gamma", alias);
        rec_fmt(s, "beta", "k->%s->norm.beta", alias);
    }
}

static void scratch_line(Rec *fn, const char *template, const char *name, int64_t at, const char *doc)
{
    Rec *s = add(fn, "scratch", template);

    rec_str(s, "name", name);
    rec_int(s, "at", at);
    rec_str(s, "doc", doc);
}

/* Before a run: what it needs of the image norms that it applies, or whose statistics and sums it takes. */
static void image_norms_begin(const File *f, Rec *fn, const Run *r)
{
    const Tensor *nd = own_node(f);

    if (r->image_stats && once(f, "statistics")) {
        scratch_line(fn, "scratch_doubles", "image_sums", f->k->image_stats, "pivots and sums of the image's channels");
        rec_int(add(fn, "body", "clear_image_sums"), "doubles", 3 * node_room(nd));
    }
    for (int i = 0; i < r->nstep; i++) {
        const Step *st = &r->step[i];
        const ImageNorm *n = st->op >= 0 ? image_norm(f, st->op) : NULL;
        if (st->kind == STEP_CORRECT_IMAGE && once(f, "back")) {
            scratch_line(fn, "image_scratch", "image_back", f->k->image_back, "what image norms take away");
            for (int j = 0; j < nd->nimage_norm; j++) {
                Rec *s = add(fn, "body", "image_take");
                image_norm_numbers(f, s, nd->image_norm[j]);
                rec_str(s, "first", j ? "0" : "1");
                rec_int(s, "room", node_room(nd));
            }
        }
        if (!n)
            continue;
        const char *alias = plan_alias(f->k, n->op), *path = f->p->g->op[n->op].path;
        if (once(f, xprintf("constants of %s", alias))) {
            scratch_line(fn, "image_scratch", xprintf("%s_of_image", alias), n->constants,
                         xprintf("%s: mean, scale, shift, istd, off", path));
            image_norm_numbers(f, add(fn, "body", "image_constants"), n->op);
        }
        if (st->kind == STEP_SUMS && once(f, xprintf("sums of %s", alias))) {
            scratch_line(fn, "scratch_doubles", xprintf("%s_gradient", alias), n->sums,
                         xprintf("%s: sums of the image's gradient", path));
            image_norm_numbers(f, add(fn, "body", "clear_image_gradient"), n->op);
        }
    }
}

/* Behind an image's runs: the statistics that they took, and what became of the sums. */
static void image_norms_end(const File *f, Rec *fn)
{
    const Tensor *nd = own_node(f);

    for (int i = 0; nd && i < nd->nimage_norm && strstr(f->done->text, "|statistics|"); i++) {
        Rec *s = add(fn, "body", "image_stats");
        image_norm_numbers(f, s, nd->image_norm[i]);
        rec_int(s, "room", node_room(nd));
    }
    for (int i = 0; i < f->k->nimage_norm; i++)
        if (strstr(f->done->text, xprintf("|sums of %s|", plan_alias(f->k, f->k->image_norm[i].op))))
            image_norm_numbers(f, add(fn, "body", "image_gradient"), f->k->image_norm[i].op);
}

/* The fields by which a run is given what it needs of image norms. */
static void image_norm_fields(const File *f, const Run *r, Buf *b)
{
    Buf had = {0};

    buf_puts(&had, "");
    if (r->image_stats)
        buf_puts(b, ", .image_sums = image_sums");
    for (int i = 0; i < r->nstep; i++) {
        const Step *st = &r->step[i];
        const ImageNorm *n = st->op >= 0 ? image_norm(f, st->op) : NULL;
        const char *alias = n ? plan_alias(f->k, n->op) : NULL, *key = xprintf("|%s|", alias ? alias : "");
        if (st->kind == STEP_CORRECT_IMAGE)
            buf_puts(b, ", .image_back = image_back");
        if (n && !strstr(had.text, key))
            buf_printf(b, ", .%s_of_image = %s_of_image", alias, alias);
        if (n && st->kind == STEP_SUMS)
            buf_printf(b, ", .%s_gradient = %s_gradient", alias, alias);
        buf_puts(&had, key);
    }
}

/* ---- calls of runs ---- */

/* The fields by which a run that is given all is given its norms. */
static void given_norms(const File *f, const Run *r, bool given, Buf *b)
{
    Buf had = {0};

    buf_puts(&had, "");
    for (int i = 0; i < r->nstep && given; i++) {
        const int op = r->step[i].op;
        const char *alias = op >= 0 && op_is_norm(f->p->g->op[op].kind) ? plan_alias(f->k, op) : NULL;
        if (!alias || strstr(had.text, xprintf("|%s|", alias)))
            continue;
        buf_printf(&had, "|%s|", alias);
        buf_printf(b, ", .%s_from = %s", alias,
                   f->infer ? xprintf("f + %s", affine_macro(f->p, op)) : xprintf("k->%s->mean", alias));
    }
}

/* A tensor's part of the image at hand. */
static const char *at_image(const Kernel *k, const Place *p)
{
    const int64_t floats = p->where == AT_X ? (int64_t)p->shape.c * p->shape.h * p->shape.w : blocked_floats(p->shape);

    return xprintf("k->%s + (int64_t)at.image * %lld", k->port[p->port].name, (long long)floats);
}

/* The fields by which a run is given its images; `image` says what their numbers mean. */
static const char *initialiser(const File *f, const Run *r, const Image *image, const char *head)
{
    const Kernel *k = f->k;
    const struct {
        const Place *place;
        const char *field;
    } list[] = {{&r->from, "from"}, {&r->value, "value"}, {&r->to, "to"}};
    const bool given = run_is_given(f->p, r);
    Buf b = {0};

    buf_puts(&b, given ? "" : head);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const Place *p = list[i].place;
        if (p->where == AT_IMAGE)
            buf_printf(&b, ", .%s_image = %s", list[i].field, p->image >= 0 ? image[p->image].name : "y");
        else if (p->where == AT_X && f->infer)
            buf_printf(&b, ", .%s_image = %s", list[i].field, k->port[p->port].name);
        else if (p->where != NOWHERE && given)
            buf_printf(&b, ", .%s_image = %s", list[i].field, at_image(k, p));
    }
    for (int i = 0; i < r->nside && (f->infer || given); i++) {
        const Place *p = &r->side[i].from;
        buf_printf(&b, ", .side%d_image = %s", i,
                   p->where == AT_IMAGE ? image[p->image].name
                   : f->infer           ? k->port[p->port].name
                                        : at_image(k, p));
    }
    if (r->scatter_image >= 0)
        buf_printf(&b, ", .scatter_image = %s", image[r->scatter_image].name);
    image_norm_fields(f, r, &b);
    given_norms(f, r, given, &b);
    return given ? b.text + 2 : b.text; /* without the first comma */
}

static const char *run_head(const File *f)
{
    return f->infer ? ".f = f" : ".k = k, .at = &at";
}

static const char *several_head(void)
{
    return ".k = k, .at = at_of, .images = at_of";
}

/* A pad gives to every stride-th pixel alone: where it is the first to give, the others are cleared. */
static void clear_padded(const File *f, Rec *fn, const Run *r)
{
    for (int i = 0; i < r->nstep; i++) {
        const Step *s = &r->step[i];
        if (s->kind != STEP_GIVE || s->op < 0 || s->adds)
            continue;
        const Tensor *nd = &f->p->node[f->k->port[s->in2].node];
        const int64_t floats = blocked_floats(nd->shape[nd->nlink]);
        clear_line(fn, "body", xprintf("k->%s_g + (int64_t)i * %lld", f->k->port[s->in2].name, (long long)floats),
                   floats);
    }
}

static void call_runs(const File *f, Rec *fn, const Chain *c, const Image *image, int from)
{
    for (int i = from; i < c->n; i++) {
        const Run *r = &c->run[i];
        if (r->scatter_image >= 0 && f->p->g->op[r->window].kind != OP_GLOBAL_AVG_POOL)
            clear_line(fn, "body", image[r->scatter_image].name, image[r->scatter_image].floats);
        clear_padded(f, fn, r);
        image_norms_begin(f, fn, r);
        Rec *s = add(fn, "body", "call_pass");
        rec_str(s, "tag", run_tag(f->k, r));
        rec_str(s, "var", r->name);
        rec_str(s, "init", initialiser(f, r, image, run_head(f)));
    }
}

static void call_before(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++)
        call_runs(f, fn, &f->k->before[i], f->k->image, 0);
}

static void core_call(Rec *s, const char *core, const char *x, const char *w, const char *bias)
{
    Rec *c = rec_add(s, "cores");

    rec_str(c, "core", core);
    rec_str(c, "x", x);
    rec_str(c, "w", w);
    rec_str(c, "bias", bias);
}

static Rec *call_core(const File *f, Rec *fn, const Run *r, const char *init)
{
    clear_padded(f, fn, r);
    image_norms_begin(f, fn, r);
    Rec *s = add(fn, "body", "call_core");

    rec_str(s, "tag", run_tag(f->k, r));
    rec_str(s, "var", r->name);
    rec_str(s, "init", init);
    rec_str(s, "end", run_end(f->k, r));
    return s;
}

static void add_runs(const File *f, const char *list, const Chain *c, const Image *image)
{
    for (int i = 0; i < c->n; i++)
        if (!c->run[i].shared)
            rec_push(f->rec, list, emit_run(f->p, f->k, &c->run[i], image, f->infer));
}

/* Runs of inference that some run of training's does the same as are that one: `train`'s, of the same place in the
 * chain. */
static void share_runs(const File *f, const Kernel *train)
{
    for (int i = 0; train && i < f->k->nin && i < train->nin; i++)
        for (int j = 0; j < f->k->before[i].n && j < train->before[i].n; j++) {
            Run *r = &f->k->before[i].run[j];
            const Run *same = &train->before[i].run[j];
            Buf own = {0}, other = {0};
            if (!run_is_given(f->p, r) || !run_is_given(f->p, same))
                continue;
            r->shared = same->name;
            template_expand("run", "r", emit_run(f->p, f->k, r, f->k->image, true), &own);
            template_expand("run", "r", emit_run(f->p, train, same, train->image, false), &other);
            if (strcmp(own.text, other.text) != 0)
                r->shared = NULL;
        }
}

static void over_pieces(const File *f, Rec *kernel, const char *piece)
{
    Rec *s = add(kernel, "body", "over_pieces");

    rec_str(s, "name", piece);
    rec_int(s, "pieces", f->p->pieces);
    rec_fmt(s, "stride", "%s_SCRATCH", upper(f->p->g->spec->name));
}

/* ---- norms ---- */

/* The kernel's node, where norms read it. */
static const Tensor *normed(const File *f)
{
    const Tensor *nd = f->k->node >= 0 ? &f->p->node[f->k->node] : NULL;

    return nd && nd->nnorm ? nd : NULL;
}

static void begin_stats(const File *f, Rec *fn)
{
    if (normed(f))
        add(fn, "begin", "begin_piece_stats");
}

/* Behind an image: its sums are drained, but where a core takes several. */
static void move_stats(const File *f, Rec *fn)
{
    const Tensor *nd = normed(f);

    if (!nd)
        return;
    Rec *s = add(fn, "body", "move_stats");
    rec_int(s, "group", f->k->conv ? f->k->conv->winograd[PASS_FORWARD].images : 1);
    rec_int(s, "area", area_of(nd));
}

/* Behind forward's pieces: the statistics of the kernel's node, and what each norm over it makes of them. */
static void norms_forward(const File *f, Rec *kernel)
{
    const Tensor *nd = normed(f);

    if (!nd)
        return;
    rec_int(add(kernel, "body", "merge_stats"), "area", area_of(nd));
    for (int i = 0; i < nd->nnorm; i++) {
        Rec *s = add(kernel, "body", "norm_forward");
        rec_str(s, "norm", plan_alias(f->k, nd->norm[i]));
        rec_int(s, "first", nd->norm_first[i]);
    }
}

/* The struct with a norm's gamma and beta and their gradients. */
static const char *norm_struct(const File *f, int op)
{
    return xprintf(op_is_image_norm(f->p->g->op[op].kind) ? "&k->%s->norm" : "k->%s", plan_alias(f->k, op));
}

/* Whether the norm of list[i] stands in the list before it: one that reads several nodes does. */
static bool norm_before(const NormSum *list, int i)
{
    for (int j = 0; j < i; j++)
        if (list[j].op == list[i].op)
            return true;
    return false;
}

static void begin_sums(const File *f, Rec *fn)
{
    NormSum *list;
    const int n = plan_sums(f->p, f->k, &list);

    for (int i = 0; i < n; i++) {
        if (!norm_before(list, i))
            rec_str(add(fn, "begin", "begin_piece_sums"), "norm", norm_struct(f, list[i].op));
    }
}

/* Behind backward's pieces: gradients and update of the norms whose sums the kernel took, and what they take away from
 * the gradients of the nodes under them. */
static void norms_backward(const File *f, Rec *kernel)
{
    NormSum *list;
    const int n = plan_sums(f->p, f->k, &list);

    for (int i = 0; i < n; i++) {
        if (norm_before(list, i))
            continue;
        const char *alias = plan_alias(f->k, list[i].op), *norm = norm_struct(f, list[i].op);
        rec_str(add(kernel, "body", "norm_backward"), "norm", norm);
        for (int j = i; j < n && !op_is_image_norm(f->p->g->op[list[i].op].kind); j++) {
            const Tensor *nd = &f->p->node[list[j].node];
            if (list[j].op != list[i].op || !nd->grad)
                continue;
            Rec *s = add(kernel, "body", "norm_back");
            rec_str(s, "norm", alias);
            rec_int(s, "first", list[j].first);
            rec_int(s, "area", area_of(nd));
            for (int m = 0; m < f->k->nport; m++)
                if (f->k->port[m].node == list[j].node)
                    rec_str(s, "port", f->k->port[m].name);
        }
        rec_str(add(kernel, "body", "norm_update"), "norm", norm);
    }
}

static bool has_sums(const File *f)
{
    NormSum *list;

    return plan_sums(f->p, f->k, &list) > 0;
}

static Rec *piece_function(const File *f, const char *name, const bool *used, bool backward)
{
    Rec *fn = add_function(f, "functions", "piece", xprintf("%s_%s", f->k->name, name));

    rec_int(fn, "pieces", f->p->pieces);
    if (used)
        declare_images(f->k, fn, f->k->image, f->k->nimage, used, backward);
    return fn;
}

static bool *used_images(const Kernel *k)
{
    return xalloc((size_t)k->nimage + 1);
}

/* ---- conv ---- */

/* Gathers image `from` into `to`, where there is such a one, for the other side of a lanewise conv. What its core reads
 * then. */
static const char *gather(const File *f, Rec *fn, const char *from, const Image *to, bool back)
{
    const Op *o = &f->p->g->op[f->k->op];
    const int in = f->p->g->op[o->in].shape.c, per_in = in / o->groups, per_out = o->shape.c / o->groups;

    if (!to)
        return from;
    Rec *s = add(fn, "body", "gather_lanes");
    rec_str(s, "from", from);
    rec_str(s, "to", to->name);
    rec_int(s, "area", (int64_t)to->rows * to->cols);
    rec_int(s, "channels", back ? in : o->shape.c);
    rec_int(s, "many", back ? per_in : per_out);
    rec_int(s, "few", back ? per_out : per_in);
    return to->name;
}

static const char *gather_x(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    return gather(f, fn, k->image[k->w->x].name, k->conv && k->conv->xg >= 0 ? &k->image[k->conv->xg] : NULL, false);
}

static const char *core_function(const Kernel *k, const char *name)
{
    return xprintf("%s_%s", k->w->core_name, name);
}

/* Calls the core of a pass by Winograd with run r: for each image, or for several once the last of them is packed. */
static void call_winograd(const File *f, Rec *fn, const Run *r, const char *init, Pass pass, const char *x,
                          const char *w, const char *bias)
{
    const Kernel *k = f->k;
    const int together = r->several ? k->conv->winograd[pass].images : 1;

    image_norms_begin(f, fn, r);
    clear_padded(f, fn, r);
    if (together > 1) {
        rec_int(add(fn, "begin", "images_at"), "group", together);
        add(fn, "body", "image_at");
    }
    Rec *s = add(fn, "body", "call_winograd");
    rec_str(s, "tag", run_tag(k, r));
    rec_str(s, "var", r->name);
    rec_str(s, "init", init);
    rec_str(s, "end", run_end(k, r));
    rec_str(s, "core", core_function(k, winograd_name(&k->conv->winograd[pass], pass)));
    rec_str(s, "x", together > 1 ? xprintf("%s_group", x) : x);
    rec_str(s, "w", w);
    rec_str(s, "bias", bias);
    rec_int(s, "group", together > 1 ? together : 0);
}

/* The forward core, with run r. */
static void call_forward(const File *f, Rec *fn, const Run *r, const Image *image, const char *x, const char *w,
                         const char *wu, const char *bias)
{
    const Winograd *winograd = kernel_winograd(f->k, PASS_FORWARD);
    const char *init = initialiser(f, r, image, winograd && r->several ? several_head() : run_head(f));

    if (winograd)
        call_winograd(f, fn, r, init, PASS_FORWARD, x, winograd->made ? w : wu, bias);
    else
        core_call(call_core(f, fn, r, init), core_function(f->k, "forward"), x, w, bias);
}

static const char *trained_bias(const File *f)
{
    return f->p->g->op[f->k->op].bias ? "k->bias" : "NULL";
}

static char *transpose_call(const File *f)
{
    const Kernel *k = f->k;
    const Op *o = &f->p->g->op[k->op];
    const Shape in = f->p->g->op[o->in].shape;
    const int taps = o->kernel[0] * o->kernel[1], per_in = in.c / o->groups, per_out = o->shape.c / o->groups;

    if (k->conv->lanewise)
        return xprintf("lanes(k->w, k->copy, b, %d, %d, %d, %d)", o->shape.c, per_in, per_out, taps);
    if (o->groups > 1) {
        const long long group = (long long)per_in * per_out * taps;
        return xprintf("block(k->w + b / %d * INT64_C(%lld), k->copy + b / %d * INT64_C(%lld), b %% %d, %d, %d, %d)",
                       per_out / LANES, group, per_out / LANES, group, per_out / LANES, per_out / LANES, per_in / LANES,
                       taps);
    }
    return k->conv->plain
               ? xprintf("plain(k->w, k->copy, b, %d, %d)", in.c, taps)
               : xprintf("block(k->w, k->copy, b, %d, %d, %d)", blocks_of(o->shape.c), blocks_of(in.c), taps);
}

/* The weights as the core of a pass reads them, made before it runs: kernels share the room. */
static void copy_weights(const File *f, Rec *fn, const char *list, Pass pass)
{
    const Kernel *k = f->k;
    const Op *o = &f->p->g->op[k->op];
    const int out = blocks_of(o->shape.c), in = blocks_of(f->p->g->op[o->in].shape.c);

    if (pass == PASS_FORWARD ? !k->conv->wu_floats : !k->conv->wt_floats)
        return;
    Rec *s = add(fn, list, "copy_weights");
    rec_int(s, "blocks", out);
    if (!winograd_transformed(kernel_winograd(k, pass)))
        rec_fmt(s, "call", "cvy_transpose_%s", transpose_call(f));
    else if (pass == PASS_FORWARD)
        rec_fmt(s, "call", "cvy_winograd_weights(k->w, k->copy, b, %d)", in);
    else
        rec_fmt(s, "call", "cvy_winograd_back(k->w, k->copy, b, %d, %d)", out, in);
}

static void conv_forward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_before(used, k);
    mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    mark(used, k->conv->xg);
    mark_forward_work(used, k);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    begin_stats(f, fn);
    call_before(f, fn);
    const char *x = gather_x(f, fn);
    call_forward(f, fn, &k->w->after.run[0], k->image, x, "k->w", "k->copy", trained_bias(f));
    call_runs(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 1);
    image_norms_end(f, fn);
    move_stats(f, fn);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text",
            "forward: what is read, through the stages before the core; the core; the stages after it");
    copy_weights(f, kernel, "body", PASS_FORWARD);
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    norms_forward(f, kernel);
}

static void update_lines(const File *f, Rec *kernel)
{
    const Kernel *k = f->k;
    const int blocks = blocks_of(f->p->g->op[k->op].shape.c);
    const char *name = upper(f->p->g->spec->name);

    Rec *s = add(kernel, "body", k->conv ? "update_conv" : "update_linear");
    rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->w->wparam].name));
    rec_int(s, "floats", k->w->w_floats);
    if (k->conv) {
        rec_int(s, "blocks", blocks);
        rec_int(s, "block", k->w->w_floats / blocks);
        rec_int(s, "pieces", f->p->pieces);
    }
    if (k->w->bparam >= 0) {
        s = add(kernel, "body", "update_bias");
        rec_fmt(s, "at", "%s_%s", name, upper(f->p->g->param[k->w->bparam].name));
        rec_int(s, "padded", (int64_t)blocks * LANES);
        rec_int(s, "pieces", f->p->pieces);
    }
}

static void begin_weights(const File *f, Rec *fn)
{
    const Kernel *k = f->k;

    if (k->conv)
        rec_int(add(fn, "begin", "begin_piece_weights"), "floats", k->w->w_floats);
    if (k->w->bparam >= 0)
        rec_int(add(fn, "begin", "begin_piece_bias"), "padded", (int64_t)blocks_of(f->p->g->op[k->op].shape.c) * LANES);
}

static void backward_docs(const File *f, Rec *kernel)
{
    rec_fmt(rec_add(kernel, "docs"), "text", "backward: dz, through the stages after the core; dw; %s; update",
            f->k->back_data ? "dx, through the stages before it" : "dx is not needed");
}

static void conv_backward(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_before(used, k);
    mark_chain(used, kernel_chain(k, CHAIN_AGAIN));
    mark_chain(used, kernel_chain(k, CHAIN_DOUT));
    mark_din(used, k);
    mark(used, k->conv->xg);
    mark(used, k->conv->zg);
    if (kernel_winograd(k, PASS_DATA) || kernel_winograd(k, PASS_WEIGHTS))
        mark(used, k->conv->work);
    Rec *fn = piece_function(f, "backward_piece", used, true);
    begin_sums(f, fn);
    begin_weights(f, fn);
    call_runs(f, fn, kernel_chain(k, CHAIN_AGAIN), k->image, 0);
    call_runs(f, fn, kernel_chain(k, CHAIN_DOUT), k->image, 0);
    call_before(f, fn);
    const char *x = gather_x(f, fn);
    Rec *s = add(fn, "body", "call_weights");
    rec_str(s, "core", core_function(k, "weights"));
    rec_str(s, "x", x);
    rec_str(s, "dz", k->image[k->w->dz].name);
    rec_str(s, "work", kernel_winograd(k, PASS_WEIGHTS) ? ", work" : "");
    if (k->conv->weight.images > 1) {
        rec_int(s, "group", k->conv->weight.images);
        rec_fmt(s, "x_group", "%s_group", k->image[k->w->x].name);
        rec_fmt(s, "dz_group", "%s_group", k->image[k->w->dz].name);
    }
    if (k->back_data) {
        const char *z = gather(f, fn, k->image[k->w->dz].name, k->conv->zg >= 0 ? &k->image[k->conv->zg] : NULL, true);
        bool core = false;
        for (int i = 0; i < k->nin; i++) {
            const Chain *c = &k->din[i];
            const bool from_core = c->n && c->run[0].from.where == AT_CORE;
            if (from_core) {
                const bool winograd = kernel_winograd(k, PASS_DATA) != NULL;
                const char *init =
                    initialiser(f, &c->run[0], k->image, winograd && c->run[0].several ? several_head() : run_head(f));
                if (winograd)
                    call_winograd(f, fn, &c->run[0], init, PASS_DATA, z, "k->copy", "NULL");
                else
                    s = call_core(f, fn, &c->run[0], init);
                for (int j = 0; !winograd && j < k->conv->ndata; j++)
                    core_call(s, core_function(k, k->conv->data[j].name), z, "k->copy", "NULL");
                core = true;
            }
            call_runs(f, fn, c, k->image, from_core);
        }
        if (!core)
            BUG("%s does not run its core", k->name);
    }
    image_norms_end(f, fn);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    backward_docs(f, kernel);
    copy_weights(f, kernel, "body", PASS_DATA);
    over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
    norms_backward(f, kernel);
    update_lines(f, kernel);
}

/* ---- linear ---- */

static void gemm_line(Rec *kernel, const char *args)
{
    rec_str(add(kernel, "body", "gemm"), "args", args);
}

static void linear_forward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->w->x].floats, out = k->image[k->linear->y].floats;
    bool *used = used_images(k);

    mark_before(used, k);
    Rec *fn = piece_function(f, "pack_piece", used, false);
    call_before(f, fn);
    memset(used, 0, (size_t)k->nimage);
    mark(used, k->linear->y);
    mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    fn = piece_function(f, "forward_piece", used, false);
    begin_stats(f, fn);
    call_runs(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 0);
    image_norms_end(f, fn);
    move_stats(f, fn);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text",
            "forward: what is read, through the stages before the product; the product; the stages after it");
    over_pieces(f, kernel, xprintf("%s_pack_piece", k->name));
    gemm_line(kernel, xprintf("0, 1, n, %lld, %lld, k->mat_x, %lld, k->w, %lld, k->mat_y, %lld", out, in, in, in, out));
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    norms_forward(f, kernel);
}

/* What windows on the ways read, once more. */
static void call_windows(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++) {
        const Chain *c = &f->k->before[i];
        const Chain but_last = {c->run, c->n - 1}; /* its result is stored already, or packed elsewhere */
        call_runs(f, fn, &but_last, f->k->image, 0);
    }
}

static void mark_windows(bool *used, const Kernel *k)
{
    for (int i = 0; i < k->nin; i++) {
        const Chain but_last = {k->before[i].run, k->before[i].n - 1};
        mark_chain(used, &but_last);
    }
}

static void call_din(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->nin; i++)
        call_runs(f, fn, &f->k->din[i], f->k->image, 0);
}

static void linear_backward(const File *f)
{
    const Kernel *k = f->k;
    const long long in = k->image[k->w->x].floats, out = k->image[k->w->dz].floats;
    bool *used = used_images(k);

    mark_before(used, k);
    mark_chain(used, kernel_chain(k, CHAIN_AGAIN));
    mark_chain(used, kernel_chain(k, CHAIN_DOUT));
    Rec *fn = piece_function(f, "unpack_piece", used, true);
    begin_weights(f, fn);
    begin_sums(f, fn); /* sides of the out way give here already */
    call_runs(f, fn, kernel_chain(k, CHAIN_AGAIN), k->image, 0);
    call_runs(f, fn, kernel_chain(k, CHAIN_DOUT), k->image, 0);
    call_before(f, fn);
    image_norms_end(f, fn);
    if (k->back_data) {
        memset(used, 0, (size_t)k->nimage);
        mark_din(used, k);
        mark_windows(used, k);
        fn = piece_function(f, "backward_piece", used, true);
        call_windows(f, fn);
        call_din(f, fn);
        image_norms_end(f, fn);
    }

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    backward_docs(f, kernel);
    over_pieces(f, kernel, xprintf("%s_unpack_piece", k->name));
    gemm_line(kernel,
              xprintf("1, 0, %lld, %lld, n, k->mat_dz, %lld, k->mat_back_x, %lld, k->dw, %lld", out, in, out, in, in));
    if (k->back_data) {
        gemm_line(kernel,
                  xprintf("0, 0, n, %lld, %lld, k->mat_dz, %lld, k->w, %lld, k->mat_dx, %lld", in, out, out, in, in));
        over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
    }
    norms_backward(f, kernel);
    update_lines(f, kernel);
}

/* ---- pass, loss ---- */

/* Where ways share blocks of what a pass stores, padding channels are nobody's: they are cleared. */
static void clear_stored(const File *f, Rec *fn)
{
    const Kernel *k = f->k;
    const Tensor *nd = &f->p->node[k->node];
    bool shared = false;

    for (int i = 0; i < k->nin && nd->stored && k->op > 0; i++) {
        const Run *r = &k->before[i].run[k->before[i].n - 1];
        const Place p = {.first = r->store_first, .total = r->store_total};
        shared |= plan_shifted(&p, r->shape.c);
    }
    if (shared)
        clear_line(fn, "body", xprintf("k->out + (int64_t)i * %lld", (long long)blocked_floats(nd->shape[0])),
                   blocked_floats(nd->shape[0]));
}

static void pass_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);
    Rec *fn, *kernel;

    if (k->has_forward) {
        mark_before(used, k);
        fn = piece_function(f, "forward_piece", used, false);
        begin_stats(f, fn);
        clear_stored(f, fn);
        call_before(f, fn);
        image_norms_end(f, fn);
        move_stats(f, fn);
        kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
        rec_str(rec_add(kernel, "docs"), "text", "forward");
        over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
        norms_forward(f, kernel);
    }
    if (!k->has_backward)
        return;
    memset(used, 0, (size_t)k->nimage);
    mark_din(used, k);
    mark_windows(used, k);
    fn = piece_function(f, "backward_piece", used, true);
    begin_sums(f, fn);
    call_windows(f, fn);
    call_din(f, fn);
    image_norms_end(f, fn);
    kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_str(rec_add(kernel, "docs"), "text", "backward");
    over_pieces(f, kernel, xprintf("%s_backward_piece", k->name));
    norms_backward(f, kernel);
    if (!has_sums(f))
        rec_int(kernel, "ignores_step", 1);
}

static void loss_kernel(const File *f)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);
    const int classes = k->image[k->loss->x].shape.c;

    mark_before(used, k);
    mark_din(used, k);
    mark(used, k->loss->dx);
    Rec *fn = piece_function(f, "forward_piece", used, false);
    rec_int(fn, "loss", 1);
    begin_sums(f, fn);
    call_before(f, fn);
    Rec *s = add(fn, "body", "loss_image");
    rec_int(s, "classes", classes);
    rec_int(s, "padded", (int64_t)blocks_of(classes) * LANES);
    call_din(f, fn);
    image_norms_end(f, fn);

    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "forward"));
    rec_str(rec_add(kernel, "docs"), "text", "the loss and its gradient");
    over_pieces(f, kernel, xprintf("%s_forward_piece", k->name));
    if (!has_sums(f))
        return;
    kernel = add_function(f, "functions", "kernel", symbol(f, "backward"));
    rec_str(rec_add(kernel, "docs"), "text",
            "the barrier of the norm before the loss, once the loss's own kernel has its sums");
    rec_int(kernel, "ignores_n", 1);
    norms_backward(f, kernel);
}

/* ---- trace ---- */

static const char *traced_name(int image)
{
    return xprintf("image%d", image);
}

static void trace_images(const File *f, Rec *fn, const Image *image)
{
    for (int i = 0; i < f->k->ntrace_image; i++) {
        const Image *m = &image[i];
        Rec *s = add(fn, "body", "trace_image");
        rec_str(s, "name", m->name);
        rec_int(s, "at", m->at);
        rec_int(s, "floats", m->floats);
        if (m->shared)
            clear_line(fn, "body", m->name, m->floats);
        else if (m->filled)
            halo_line(fn, "body", m, 1);
    }
}

static void trace_sinks(const File *f, Rec *fn)
{
    for (int i = 0; i < f->k->ntrace_image; i++) {
        const Image *m = &f->k->trace_image[i];
        if (!m->name)
            continue;
        Rec *s = add(fn, "sinks", "sink");
        rec_str(s, "name", strncmp(m->name, "mask.", 5) == 0 ? m->name : xprintf("act.%s", m->name));
        rec_int(s, "c", m->shape.c);
        rec_int(s, "h", m->shape.h);
        rec_int(s, "w", m->shape.w);
        rec_int(s, "floats", m->floats);
        rec_int(s, "plane", (int64_t)m->rows * m->cols * LANES);
        rec_int(s, "row", (int64_t)m->cols * LANES);
        rec_int(s, "first", ((int64_t)m->top * m->cols + m->left) * LANES);
        rec_int(s, "at", m->at);
    }
}

/* What the weight op reads, packed as in training: the images in scratch, rows too, one after the other. */
static void trace_core(const File *f, Rec *fn, const Run *r, const Image *image)
{
    const Kernel *k = f->k;
    bool *used = used_images(k);

    mark_before(used, k);
    mark(used, k->conv ? k->conv->xg : k->linear->y);
    mark_forward_work(used, k);
    for (int i = 0; i < k->nimage; i++) {
        const Image *m = &k->image[i];
        if (!used[i])
            continue;
        Rec *s = add(fn, "scratch", "image_scratch");
        rec_str(s, "name", m->name);
        rec_int(s, "at", m->row ? (i == k->w->x ? k->scratch : k->scratch + k->image[k->w->x].floats) : m->at);
        rec_str(s, "doc", describe_image(m));
        if (m->shared)
            clear_line(fn, "begin", m->name, m->floats);
        else if (m->filled)
            halo_line(fn, "begin", m, 1);
    }
    call_before(f, fn);
    if (k->conv) {
        const char *x = gather_x(f, fn);
        copy_weights(f, fn, "begin", PASS_FORWARD);
        call_forward(f, fn, r, image, x, "k->w", "k->copy", trained_bias(f));
    } else {
        Rec *s = add(fn, "body", "gemv");
        rec_int(s, "in", k->image[k->w->x].floats);
        rec_int(s, "out", k->image[k->linear->y].floats);
        const Chain one = {(Run *)r, 1};
        call_runs(f, fn, &one, image, 0);
    }
}

static bool hands_out(const Kernel *k)
{
    bool any = false;

    for (int i = 0; i < k->ntrace_image; i++)
        any |= k->trace_image[i].name != NULL;
    return any;
}

static void trace_function(const File *f)
{
    const Kernel *k = f->k;

    if (!hands_out(k))
        return;
    Image *image = xalloc(sizeof *image * (size_t)(k->ntrace_image + 1)); /* in C they are called by their number */
    for (int i = 0; i < k->ntrace_image; i++) {
        image[i] = k->trace_image[i];
        image[i].name = traced_name(i);
    }
    for (int i = 0; i < k->nin && k->trace_core >= 0; i++)
        add_runs(f, "runs", &k->before[i], k->image);
    add_runs(f, "runs", &k->trace, image);
    Rec *fn = add_function(f, "functions", "trace", symbol(f, "trace"));
    trace_images(f, fn, image);
    for (int i = 0; i < k->trace.n; i++) {
        const Chain one = {&k->trace.run[i], 1};
        if (i == k->trace_core)
            trace_core(f, fn, &k->trace.run[i], image);
        else
            call_runs(f, fn, &one, image, 0);
    }
    trace_sinks(f, fn);
}

void emit_trace_file(const Plan *p, Buf *to)
{
    Rec *rec = rec_new();
    Names cores = {0};

    rec_str(rec, "net", p->g->spec->name);
    rec_str(rec, "licence", EMITTED_LICENCE);
    for (int i = 0; i < p->nkernel; i++) {
        Kernel traced = p->kernel[i];
        const Kernel *k = &traced;
        Buf done = {0};
        traced.tag = xprintf("trace_%s", k->name); /* its own copies of runs that the layer's file has, too */
        const File file = {p, k, rec_add(rec, "layers"), false, &done};
        if (k->conv && k->trace_core >= 0 && ++*names_at(&cores, k->w->core_name) == 1)
            rec_str(rec_add(rec, "cores"), "name", k->w->core_name);
        trace_function(&file);
    }
    template_expand("trace_file", "k", rec, to);
}

/* ---- inference ---- */

const char *emit_infer_args(const Plan *p, const Kernel *k)
{
    Buf b = {0};

    for (int i = 0; i < k->nport; i++)
        if (k->port[i].node != k->node || k->node == 0)
            buf_printf(&b, ", const float *%s", k->port[i].name);
    for (int i = 0; i < k->nalias; i++) {
        const OpKind kind = p->g->op[k->alias[i].op].kind;
        bool applies = false;
        for (int j = 0; j < k->nimage_norm; j++)
            applies |= k->image_norm[j].op == k->alias[i].op;
        if (op_is_image_norm(kind))
            buf_printf(&b, ", %sfloat *%s_stats", applies ? "const " : "", k->alias[i].name);
    }
    return b.text ? b.text : "";
}

static void infer_function(const File *f)
{
    const Kernel *k = f->k;
    const Plan *p = f->p;
    bool *used = used_images(k);

    for (int i = 0; i < k->nin; i++)
        add_runs(f, "infer_runs", &k->before[i], k->image);
    add_runs(f, "infer_runs", kernel_chain(k, CHAIN_AFTER), k->image);
    Rec *fn = add_function(f, "infer_functions", "infer", symbol(f, "infer"));
    rec_str(fn, "args", emit_infer_args(f->p, k));
    mark(used, kernel_input(k));
    mark(used, k->conv ? k->conv->xg : -1);
    mark_forward_work(used, k);
    mark_before(used, k);
    mark_chain(used, kernel_chain(k, CHAIN_AFTER));
    for (int i = 0; i < k->nimage; i++) {
        const Image *m = &k->image[i];
        if (!used[i])
            continue;
        if (!m->given) {
            Rec *s = add(fn, "scratch", "image_scratch");
            rec_str(s, "name", m->name);
            rec_int(s, "at", m->at);
            rec_str(s, "doc", describe_image(m));
        }
        if (m->given && i != k->result)
            continue; /* as its maker left it */
        if (m->shared)
            clear_line(fn, "body", m->name, m->floats);
        else if (m->filled)
            halo_line(fn, "body", m, 1);
    }
    call_before(f, fn);
    if (k->result < 0)
        rec_int(fn, "makes_nothing", 1);
    if (k->kind == KERNEL_PASS) {
        image_norms_end(f, fn);
        return;
    }
    const char *net = upper(p->g->spec->name), *name = upper(k->name);
    const char *x = gather_x(f, fn);
    const char *w = xprintf("f + %s_%s_FOLDED", net, name);
    call_forward(f, fn, &k->w->after.run[0], k->image, x, w, w, xprintf("f + %s_%s_FOLDED_BIAS", net, name));
    call_runs(f, fn, kernel_chain(k, CHAIN_AFTER), k->image, 1);
    image_norms_end(f, fn);
}

/* ---- the file ---- */

static const char *stored_name(const File *f, const Tensor *nd)
{
    return nd->op == 0 ? "the input" : f->p->g->op[nd->stored_op].path;
}

static void notes(const File *f)
{
    const Kernel *k = f->k;

    for (int i = 0; i < k->nport; i++) {
        const Tensor *root = &f->p->node[f->p->node[k->port[i].node].root];
        if (k->port[i].value)
            rec_fmt(rec_add(f->rec, "notes"), "text", "%s: %s, %s", k->port[i].name,
                    root->op == 0 ? "the input" : "a stored tensor", describe_shape(root->shape[0]));
    }
    if (k->node >= 0 && f->p->node[k->node].stored) {
        const Tensor *nd = &f->p->node[k->node];
        rec_fmt(rec_add(f->rec, "notes"), "text", "stores: %s, %s: %s", stored_name(f, nd),
                describe_shape(nd->shape[0]), nd->why);
    }
}

/* Forward once more, before the backward pass of its segment: what it stores is made again, norms stay as they are. */
static void again_function(const File *f)
{
    if (!f->k->runs_again)
        return;
    Rec *kernel = add_function(f, "functions", "kernel", symbol(f, "again"));

    rec_str(rec_add(kernel, "docs"), "text",
            "forward again, for backward: the same tensor, without the barriers of norms");
    if (f->k->conv)
        copy_weights(f, kernel, "body", PASS_FORWARD);
    over_pieces(f, kernel, xprintf("%s_forward_piece", f->k->name));
}

static void training_part(const File *f)
{
    const Kernel *k = f->k;

    notes(f);
    for (int i = 0; i < k->nin; i++) { /* a pass that stores nothing only walks windows again, in backward */
        const Chain c = {k->before[i].run, k->has_forward ? k->before[i].n : k->back_data ? k->before[i].n - 1 : 0};
        add_runs(f, "runs", &c, k->image);
    }
    add_runs(f, "runs", kernel_chain(k, CHAIN_AFTER), k->image);
    add_runs(f, "runs", kernel_chain(k, CHAIN_AGAIN), k->image);
    add_runs(f, "runs", kernel_chain(k, CHAIN_DOUT), k->image);
    for (int i = 0; i < k->nin; i++)
        add_runs(f, "runs", &k->din[i], k->image);
    switch (k->kind) {
    case KERNEL_CONV:
        conv_forward(f);
        conv_backward(f);
        break;
    case KERNEL_LINEAR:
        linear_forward(f);
        linear_backward(f);
        break;
    case KERNEL_PASS:
        pass_kernel(f);
        break;
    case KERNEL_LOSS:
        loss_kernel(f);
        break;
    }
    again_function(f);
}

const Kernel *emit_infer_kernel(const Plan *p, const Kernel *k)
{
    const Kernel *infer = plan_kernel(p->infer, p->ninfer, k->op);

    return infer && strcmp(infer->name, k->name) == 0 ? infer : NULL;
}

void emit_layer_file(const Plan *p, const Kernel *k, const Kernel *infer, Buf *to)
{
    const Kernel *any = k ? k : infer;
    const Op *o = &p->g->op[any->op];
    Buf done = {0};
    File file = {p, any, rec_new(), false, &done}, *f = &file;

    rec_str(f->rec, "net", p->g->spec->name);
    rec_str(f->rec, "licence", EMITTED_LICENCE);
    rec_fmt(f->rec, "file", "%s_%s.c", p->g->spec->name, any->name);
    if (any->conv)
        rec_str(f->rec, "doc", describe_conv(p, o));
    else if (any->linear)
        rec_fmt(f->rec, "doc", "linear: %d -> %d", p->g->op[o->in].shape.c, o->shape.c);
    else if (any->kind == KERNEL_PASS)
        rec_fmt(f->rec, "doc", "a pass: %s, %s, which no weight op makes as it stores", op_info[o->kind].name,
                describe_shape(o->shape));
    else
        rec_fmt(f->rec, "doc", "softmax cross-entropy of %d classes", any->image[any->loss->x].shape.c);
    if (any->conv || (any->linear && infer))
        rec_str(f->rec, "core", any->w->core_name);
    if (k)
        training_part(f);
    if (infer) {
        f->k = infer;
        f->infer = true;
        share_runs(f, k);
        infer_function(f);
    }
    template_expand("layer_file", "k", f->rec, to);
}
