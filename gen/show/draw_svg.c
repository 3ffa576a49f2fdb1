/* draw_svg.c - a picture as SVG: one file that needs nothing else, light and dark as the reader has it.
 *
 * needs: a placed Picture, or two that draw_diff compared. sets: the text. Everything has data- attributes with the
 * plan's names. */
#include "draw.h"
#include "why.h"

#include <string.h>

static const char style[] =
    "svg{--bg:#fff;--text:#1d2330;--soft:#5d6675;--line:#8a93a3;--box:#f6f7f9;--edge:#c3c9d3;--frame:#5b7db8;--gone:#"
    "d3302f;--came:#17863f;--moved:#"
    "c77700;"
    "--weight:#cfe0ff;--norm:#fdeccc;--act:#d7eef4;--window:#c5efe3;--join:#ffd0e0;--drop:#e2e5ea;--loss:#ffcfca;--"
    "kept:#ffe79a;--keptedge:#a37f12;"
    "font:11px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "@media "
    "(prefers-color-scheme:dark){svg{--bg:#13161b;--text:#e8eaee;--soft:#a0a8b6;--line:#7c8595;--box:#1d2128;--edge:#"
    "3b424e;--frame:#7f9fd8;"
    "--gone:#ff6b66;--came:#4fcf7d;--moved:#ffb33e;--weight:#27437c;--norm:#4a3711;--act:#123c48;--window:#175446;--"
    "join:#6e2745;--drop:#3a404a;"
    "--loss:#71302b;--kept:#5d4a0c;--keptedge:#d3ab36}}\n"
    ".bg{fill:var(--bg)}text{fill:var(--text)}.soft{fill:var(--soft)}.title{font-size:17px;font-weight:600}.name{font-"
    "weight:600;font-size:12px}."
    "small{font-size:10px}\n"
    ".box{fill:var(--box);stroke:var(--edge)}.ghost .box{stroke-dasharray:4 "
    "3;fill:none}.pill{stroke:none}.pill.stats{fill:none;stroke:var(--frame);stroke-dasharray:3 2}\n"
    ".weight{fill:var(--weight)}.norm{fill:var(--norm)}.act{fill:var(--act)}.window{fill:var(--window)}.join{fill:var(-"
    "-join)}.drop{fill:var(--drop)}"
    ".loss{fill:var(--loss)}\n"
    ".disc{fill:none;stroke:var(--edge)}.kept .disc{fill:var(--kept);stroke:var(--keptedge)}.forward "
    ".disc{stroke-dasharray:4 3}.again "
    ".disc{fill:none;stroke:var(--keptedge);stroke-dasharray:4 3}.lid{fill:none;stroke:var(--edge)}.kept .lid,.again "
    ".lid{stroke:var(--keptedge)}\n"
    ".wire{fill:none;stroke:var(--line);stroke-width:1.3}.tip{fill:var(--line)}.frame{fill:var(--frame);fill-opacity:."
    "06;stroke:var(--frame);stroke-"
    "opacity:.45}.group{fill:var(--frame);font-weight:600}\n"
    ".same{opacity:.55}.gone .mark,.mark.gone{stroke:var(--gone)}.came .mark,.mark.came{stroke:var(--came)}.moved "
    ".mark,.changed "
    ".mark,.mark.moved{stroke:var(--moved)}"
    ".mark{stroke-width:2.4;stroke-dasharray:none}\n";

static const char *const change_class[] = {
    [SAME] = "same", [GONE] = "gone", [CAME] = "came", [MOVED] = "moved", [CHANGED] = "changed"};

/* ---- text ---- */

static const char *xml(const char *s)
{
    Buf b = {0};

    buf_puts(&b, "");
    for (; *s; s++)
        switch (*s) {
        case '<':
            buf_puts(&b, "&lt;");
            break;
        case '>':
            buf_puts(&b, "&gt;");
            break;
        case '&':
            buf_puts(&b, "&amp;");
            break;
        case '"':
            buf_puts(&b, "&quot;");
            break;
        default:
            buf_add(&b, s, 1);
        }
    return b.text;
}

static void put_text(Buf *to, int x, int y, const char *cls, const char *anchor, const char *s)
{
    buf_printf(to, "<text x=\"%d\" y=\"%d\"%s%s%s>%s</text>\n", x, y, *cls ? xprintf(" class=\"%s\"", cls) : "",
               *anchor ? " text-anchor=" : "", *anchor ? xprintf("\"%s\"", anchor) : "", xml(s));
}

/* At most n letters of a name, its end being what tells. */
static const char *clipped(const char *s, size_t n)
{
    size_t letters = 0;

    for (const char *c = s; *c; c++)
        letters += ((unsigned char)*c & 0xC0) != 0x80;
    if (letters <= n)
        return s;
    for (; *s && letters >= n; letters--) /* one letter less, with the bytes that belong to it */
        for (s++; ((unsigned char)*s & 0xC0) == 0x80;)
            s++;
    return xprintf("\xe2\x80\xa6%s", s);
}

/* ' class="a b"', b being how it fares, where there is another picture. */
static const char *classes(const char *a, Change change, bool diff)
{
    return diff ? xprintf("%s %s", a, change_class[change]) : a;
}

static const char *mark(Change change, bool diff)
{
    return diff && change != SAME ? " mark" : "";
}

/* ---- boxes ---- */

static const char *section_text(Section s)
{
    static const char *const text[] = {[SECTION_PROLOGUE] = "prologue",
                                       [SECTION_SKIP] = "side",
                                       [SECTION_CORE] = "core",
                                       [SECTION_EPILOGUE] = "epilogue",
                                       [SECTION_PASS] = "pass"};

    return text[s];
}

static void put_pill(const Picture *pic, const Box *b, int i, bool diff, Buf *to)
{
    const Pill *q = &b->pill[i];
    const int x = b->x + q->x, y = draw_row_y(b, q->row);

    if (i == 0 || q->section != b->pill[i - 1].section)
        put_text(to, b->x + BOX_CAPTION - 6, y + 13, diff ? "soft small same" : "soft small", "end",
                 section_text(q->section));
    buf_printf(to,
               "<g class=\"%s\" data-op=\"%s\" data-section=\"%s\"%s><title>%s</title><rect class=\"pill %s%s\" "
               "x=\"%d\" y=\"%d\" width=\"%d\" "
               "height=\"%d\" rx=\"%d\"/>",
               classes("stage", q->change, diff),
               q->op >= 0    ? xml(pic->plan->g->op[q->op].path)
               : q->op == -1 ? q->what
                             : "concat",
               section_text(q->section), q->bytes ? xprintf(" data-kept-bytes=\"%lld\"", (long long)q->bytes) : "",
               xml(q->title), q->kind, mark(q->change, diff), x, y, q->w, PILL_H,
               q->section == SECTION_CORE ? 4 : PILL_H / 2);
    put_text(to, x + q->w / 2, y + 13, "", "middle",
             clipped(q->text, (size_t)(((q->w - PILL_ENDS) * 10 + LETTER - 1) / LETTER)));
    buf_puts(to, "</g>\n");
}

static int64_t tensor_bytes(const Picture *pic, const Tensor *nd)
{
    int64_t bytes = 4 * blocked_floats(nd->shape[0]);

    for (int i = 0; i < nd->nroute; i++)
        bytes += blocked_floats(pic->plan->g->op[nd->route[i]].shape);
    return bytes;
}

static void put_disc(int x, int y, int w, int h, const char *cls, Buf *to)
{
    const int r = w / 2, up = 5;

    buf_printf(to,
               "<path class=\"disc%s\" d=\"M%d %da%d %d 0 0 1 %d 0v%da%d %d 0 0 1 -%d 0z\"/><path class=\"lid\" "
               "d=\"M%d %da%d %d 0 0 0 %d 0\"/>",
               cls, x, y + up, r, up, 2 * r, h - 2 * up, r, up, 2 * r, x, y + up, r, up, 2 * r);
}

static void put_tensor(const Picture *pic, const Box *b, bool diff, Buf *to)
{
    const Tensor *nd = b->tensor;
    const Shape s = nd->shape[0];
    const int64_t bytes = tensor_bytes(pic, nd);
    const int x = b->x + (BOX_W - TENSOR_W) / 2, y = b->tensor_y, middle = b->x + BOX_W / 2;
    const char *path = pic->plan->g->op[nd->stored_op].path;
    const char *kept = !b->kernel ? "input" : nd->kept ? "kept" : nd->recomputed ? "again" : "forward";

    buf_printf(to, "<g class=\"%s\" data-tensor=\"%s\" data-bytes=\"%lld\" data-kept=\"%s\"><title>%s</title>",
               classes(xprintf("tensor %s", kept), b->tensor_change, diff), xml(path),
               b->kernel ? (long long)bytes : 0LL, kept,
               !b->kernel       ? "the input: never stored, read again"
               : nd->kept       ? xml(xprintf("stored for backward: %s", nd->why))
               : nd->recomputed ? "made again for backward"
                                : "stored until the next kernel has read it");
    if (b->kernel)
        buf_printf(to, "<path class=\"wire\" d=\"M%d %dV%d\"/>", middle, b->y + b->h, y + 1);
    put_disc(x, y, TENSOR_W, TENSOR_H, mark(b->tensor_change, diff), to);
    put_text(to, middle, y + 23, "name", "middle", clipped(path, 23));
    put_text(to, middle, y + 35, "small", "middle",
             b->kernel ? xprintf("%d\xc3\x97%d\xc3\x97%d, %s bytes%s", s.c, s.h, s.w, grouped(bytes),
                                 nd->recomputed ? ", made again"
                                 : nd->kept     ? ""
                                                : ", not kept")
                       : xprintf("%d\xc3\x97%d\xc3\x97%d, read again", s.c, s.h, s.w));
    buf_puts(to, "</g>\n");
}

static void put_box(const Picture *pic, const Box *b, bool diff, Buf *to)
{
    static const char *const kind[] = {
        [KERNEL_CONV] = "conv",           [KERNEL_LINEAR] = "linear",
        [KERNEL_RECURRENT] = "recurrent", [KERNEL_EMBED] = "recurrent", /* it is drawn alike */
        [KERNEL_PASS] = "pass",           [KERNEL_LOSS] = "loss"};
    const Kernel *k = b->kernel;

    if (k) {
        buf_printf(to, "<g class=\"kernel%s\" data-kernel=\"%s\">\n", k->has_forward ? "" : " ghost", xml(k->name));
        buf_printf(to,
                   "<g class=\"%s\"><title>%s</title><rect class=\"box%s\" x=\"%d\" y=\"%d\" width=\"%d\" "
                   "height=\"%d\" rx=\"6\"/>",
                   classes("head", b->change, diff),
                   xml(xprintf("kernel %s: %s bytes of scratch a thread", k->name, grouped(4 * k->scratch))),
                   mark(b->change, diff), b->x, b->y, BOX_W, b->h);
        put_text(to, b->x + 10, b->y + 15, "name", "", clipped(k->name, k->has_forward ? 28 : 20));
        put_text(to, b->x + BOX_W - 10, b->y + 15, "soft small", "end",
                 !k->has_forward ? "in backward alone"
                 : k->runs_again ? xprintf("%s, runs again", kind[k->kind])
                                 : kind[k->kind]);
        buf_puts(to, "</g>\n");
        for (int i = 0; i < b->npill; i++)
            put_pill(pic, b, i, diff, to);
        buf_puts(to, "</g>\n");
    }
    if (b->tensor && (!k || (b->tensor->stored && k->tensor > 0)))
        put_tensor(pic, b, diff, to);
}

/* ---- wires and frames ---- */

static bool has_tensor(const Box *b)
{
    return b->tensor && (!b->kernel || (b->tensor->stored && b->kernel->tensor > 0));
}

static void put_wire(const Picture *pic, const Wire *w, Buf *to)
{
    const Box *a = &pic->box[w->from], *b = &pic->box[w->to];
    const int middle = a->x + BOX_W / 2, bottom = has_tensor(a) ? a->tensor_y + TENSOR_H : a->y + a->h;
    const int row = draw_row_y(b, w->row > 0 ? w->row : 0) + PILL_H / 2, into = b->x + BOX_W / 2;

    buf_printf(to, "<path class=\"wire\" marker-end=\"url(#tip)\" d=\"");
    if (w->bus) {
        const int side = has_tensor(a) ? a->x + (BOX_W + TENSOR_W) / 2 : a->x + BOX_W,
                  y = has_tensor(a) ? a->tensor_y + TENSOR_H / 2 : a->y + a->h / 2;
        if (w->below)
            buf_printf(to, "M%d %dV%dQ%d %d %d %d", middle, bottom, w->below - 5, middle, w->below, middle + 5,
                       w->below);
        else
            buf_printf(to, "M%d %d", side, y);
        const int turn = w->below ? w->below : y, out = w->above ? w->above : row, step = into > w->lane ? 5 : -5;
        buf_printf(to, "H%dQ%d %d %d %dV%dQ%d %d %d %dH", w->lane - 5, w->lane, turn, w->lane, turn + 5, out - 5,
                   w->lane, out, w->lane + step, out);
        if (w->above)
            buf_printf(to, "%dQ%d %d %d %dV%d", into - step, into, out, into, out + 5, b->y - 1);
        else
            buf_printf(to, "%d", b->x + BOX_W + 1);
    } else if (w->row >= 0) {
        const int step = b->x > middle ? 5 : -5;
        buf_printf(to, "M%d %dV%dQ%d %d %d %dH%d", middle, bottom, row - 5, middle, row, middle + step, row,
                   b->x > middle ? b->x - 1 : b->x + BOX_W + 1);
    } else if (middle == into) {
        buf_printf(to, "M%d %dV%d", middle, bottom, b->y - 1);
    } else {
        const int y = b->elbow_y, step = into > middle ? 5 : -5;
        buf_printf(to, "M%d %dV%dQ%d %d %d %dH%dQ%d %d %d %dV%d", middle, bottom, y - 5, middle, y, middle + step, y,
                   into - step, into, y, into, y + 5, b->y - 1);
    }
    buf_puts(to, "\"/>\n");
}

static void put_frame(const Frame *f, Buf *to)
{
    const Fold *fold = f->fold;
    const char *text = !fold ? f->name
                             : xprintf("%s %s %s.%d, alike", f->name, fold->last == fold->first + 1 ? "and" : "to",
                                       fold->group, fold->last);

    buf_printf(to,
               "<g data-group=\"%s\"%s><rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"9\"/>",
               xml(f->name), fold ? xprintf(" data-last=\"%d\"", fold->last) : "", f->x, f->y, f->w, f->h);
    put_text(to, f->x + 8, f->y + 14, "group", "", clipped(text, 34));
    buf_puts(to, "</g>\n");
}

/* ---- the whole ---- */

static void put_picture(const Picture *pic, bool diff, Buf *to)
{
    const Plan *p = pic->plan;

    put_text(to, 24, 30, "title", "", pic->file ? xprintf("%s (%s)", p->g->spec->name, pic->file) : p->g->spec->name);
    put_text(to, 24, 48, "soft", "",
             xprintf("%d kernels for %s; kept for backward: %s bytes per image, where autograd would keep %s",
                     p->nkernel, p->target->name, grouped(p->stored_bytes), grouped(grad_autograd(p->g, NULL))));
    for (int i = 0; i < pic->nframe; i++)
        put_frame(&pic->frame[i], to);
    for (int i = 0; i < pic->nwire; i++)
        put_wire(pic, &pic->wire[i], to);
    for (int i = 0; i < pic->nbox; i++)
        put_box(pic, &pic->box[i], diff, to);
}

static void put_legend(bool diff, Buf *to)
{
    static const char *const kinds[][2] = {{"weight", "weights"}, {"norm", "norm"},     {"stats", "its statistics"},
                                           {"act", "activation"}, {"window", "window"}, {"join", "join"}};
    static const char *const changes[][2] = {{"gone", "gone"}, {"came", "came"}, {"moved", "moved, changed"}};
    int x = 24;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const int w = (int)strlen(kinds[i][1]) * 7 + 16;
        buf_printf(to, "<rect class=\"pill %s\" x=\"%d\" y=\"60\" width=\"%d\" height=\"18\" rx=\"9\"/>", kinds[i][0],
                   x, w);
        put_text(to, x + w / 2, 73, "", "middle", kinds[i][1]);
        x += w + 6;
    }
    buf_puts(to, "<g class=\"tensor kept\">");
    put_disc(x + 4, 58, 106, 24, "", to);
    put_text(to, x + 57, 77, "small", "middle", "kept for backward");
    buf_puts(to, "</g>\n");
    x += 122;
    for (size_t i = 0; diff && i < sizeof changes / sizeof *changes; i++) {
        const int w = (int)strlen(changes[i][1]) * 7 + 16;
        buf_printf(to,
                   "<rect class=\"pill mark %s\" fill=\"none\" x=\"%d\" y=\"60\" width=\"%d\" height=\"18\" rx=\"9\"/>",
                   changes[i][0], x, w);
        put_text(to, x + w / 2, 73, "", "middle", changes[i][1]);
        x += w + 8;
    }
}

void draw_svg(const Picture *a, const Picture *b, Buf *to)
{
    const int h = b && b->h > a->h ? b->h : a->h, w = b ? a->w + b->w : a->w;
    const char *title =
        b ? xprintf("%s beside %s", a->plan->g->spec->name, b->plan->g->spec->name) : a->plan->g->spec->name;

    buf_printf(to,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
               "role=\"img\">\n<title>%s, drawn by "
               "convoy</title>\n<style>%s</style>\n",
               w, h, w, h, xml(title), style);
    buf_puts(to, "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" "
                 "markerHeight=\"7\" orient=\"auto\"><path "
                 "class=\"tip\" d=\"M0 0.8L8 4L0 7.2z\"/></marker></defs>\n");
    buf_printf(to, "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", w, h);
    put_legend(b != NULL, to);
    put_picture(a, b != NULL, to);
    if (b) {
        buf_printf(to, "<g transform=\"translate(%d 0)\">\n", a->w);
        put_picture(b, true, to);
        buf_puts(to, "</g>\n");
    }
    buf_puts(to, "</svg>\n");
}
