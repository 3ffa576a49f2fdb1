/* curves.c - the curves of trainings: a panel for each kind of number, a colour for each run. */
#include "curves.h"
#include "runtime.h"
#include "files.h"
#include "layers.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_LOG = 1 << 28, /* bytes */
    LINES = 3,          /* of a run in a panel: train, valid, test */
    COLOURS = 8,
    WIDTH = 480,
    HEIGHT = 300, /* of a panel */
    LEFT = 58,
    RIGHT = 14,
    TOP = 34,
    BOTTOM = 34, /* of its frame */
    TICKS = 5,
    CHAR_WIDTH = 7,
    LEGEND = 20
};

static const struct Panel {
    const char *title;
    const char *key[LINES]; /* by line; NULL: none */
    bool percent;
} panels[] = {
    {"loss", {"train_loss", "valid_loss", "test_loss"}, false},
    {"accuracy, %", {"train_accuracy", "valid_accuracy", "test_accuracy"}, true},
    {"RMSE", {"train_rmse", "valid_rmse", "test_rmse"}, false},
    {"learning rate", {"lr", NULL, NULL}, false},
    {"gradient norm", {"gradient_norm", NULL, NULL}, false},
};
enum { PANELS = sizeof panels / sizeof *panels };
static const char *const line_words[LINES] = {"train", "valid", "test"};

typedef struct Line {
    double *x, *y; /* by epoch */
    int n;
} Line;

typedef struct Run {
    const char *name;
    Line line[PANELS][LINES];
    json_t *start;  /* its settings; NULL: not said */
    Layers *layers; /* NULL: it was made without --stats */
    double seconds;
    int epochs;
} Run;

struct Curves {
    Run *run;
    int n;
};

/* ---- reading ---- */

/* A number at an epoch; a later one takes the place of an earlier one, as after --resume. */
static void add(Line *l, double x, double y)
{
    while (l->n > 0 && l->x[l->n - 1] >= x)
        l->n--;
    int n = l->n;
    *PUSH(l->x, l->n) = x;
    *PUSH(l->y, n) = y;
}

static void take(Run *r, const json_t *o)
{
    const char *event = json_string_value(json_object_get(o, "event"));
    const json_t *epoch = json_object_get(o, "epoch");

    layers_take(&r->layers, o);
    if (event && strcmp(event, "start") == 0 && !r->start)
        r->start = json_deep_copy(o);
    if (!json_is_number(epoch))
        return;
    if (event && strcmp(event, "epoch") == 0) {
        r->seconds += json_number_value(json_object_get(o, "seconds"));
        r->epochs = (int)json_number_value(epoch);
    }
    for (int p = 0; p < PANELS; p++)
        for (int k = 0; k < LINES; k++) {
            const json_t *v = panels[p].key[k] ? json_object_get(o, panels[p].key[k]) : NULL;
            if (!json_is_number(v))
                continue;
            if (k == LINES - 1)
                r->line[p][k].n = 0; /* of tests, the last */
            add(&r->line[p][k], json_number_value(epoch), json_number_value(v) * (panels[p].percent ? 100 : 1));
        }
}

/* The lines of a log. The last one may be torn, where a training is under way or was killed. */
static bool read_run(Run *r, const char *path)
{
    size_t len;
    char *text = file_read(path, MOST_LOG, &len);

    if (!text) {
        cvy_error(NULL, "cannot read '%s': %s", path, strerror(errno));
        return false;
    }
    int number = 0;
    for (char *at = text, *next; at < text + len; at = next) {
        char *end = memchr(at, '\n', (size_t)(text + len - at));
        next = end ? end + 1 : text + len;
        json_t *o = json_loadb(at, (size_t)((end ? end : next) - at), JSON_REJECT_DUPLICATES, NULL);
        number++;
        if (json_is_object(o)) {
            take(r, o);
        } else if (end) {
            cvy_error("'NAME train --log FILE' writes logs, an object a line", "'%s', line %d: it is no JSON object",
                      path, number);
            json_decref(o);
            return false;
        } else {
            cvy_note("'%s' ends within a line, which is left out", path);
        }
        json_decref(o);
    }
    if (!r->epochs) {
        cvy_error("'NAME train --log FILE' writes logs", "'%s' holds no epoch", path);
        return false;
    }
    return true;
}

static const char *plain(const char *s)
{
    const size_t room = 6 * strlen(s) + 8;
    return cvy_plain(s, xalloc(room), room);
}

Curves *curves_read(const char *const *path, int n)
{
    Curves *c = xalloc(sizeof *c);

    c->run = xalloc((size_t)n * sizeof *c->run);
    for (; c->n < n; c->n++) {
        const char *slash = strrchr(path[c->n], '/');
        Run *r = &c->run[c->n];
        r->name = plain(slash && slash[1] ? slash + 1 : path[c->n]);
        for (int i = 0; i < c->n; i++) /* two folders may have a log of one name */
            if (strcmp(c->run[i].name, r->name) == 0) {
                c->run[i].name = plain(path[i]);
                r->name = plain(path[c->n]);
            }
        if (!read_run(r, path[c->n]))
            return NULL;
    }
    return c;
}

/* ---- drawing ---- */

static const char style[] =
    ".axis{stroke:#c9c5bc;fill:none}.grid{stroke:#e8e5de}.t{fill:#626a76;font:12px system-ui,sans-serif}"
    ".h{fill:#1d2129;font:600 14px system-ui,sans-serif}.l{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".l0{stroke-width:1.3;stroke-dasharray:5 3}.bg{fill:#fff}.s{fill:#626a76;font:10px system-ui,sans-serif}"
    ".w{stroke-width:11}"
    ".c0{stroke:#5b4bc4}.c1{stroke:#c2571a}.c2{stroke:#1a7f5a}.c3{stroke:#b8336a}.c4{stroke:#1f78b4}.c5{stroke:#8a6d00}"
    ".c6{stroke:#6b6b6b}.c7{stroke:#7a3db8}"
    "@media(prefers-color-scheme:dark){.axis{stroke:#4a505c}.grid{stroke:#2c313a}.t,.s{fill:#98a1ae}.h{fill:#e5e7eb}"
    ".bg{fill:#1c1f26}.c0{stroke:#a79cf7}.c1{stroke:#f2a05e}.c2{stroke:#6fd1a5}.c3{stroke:#f089b4}.c4{stroke:#7dbdea}"
    ".c5{stroke:#e0c255}.c6{stroke:#b5b5b5}.c7{stroke:#c99cf0}}";

/* 1, 2 or 5 times a power of ten, so that `span` has about TICKS of it. */
static double tick_of(double span)
{
    const double least = span / TICKS, power = pow(10, floor(log10(least)));
    return least <= power ? power : least <= 2 * power ? 2 * power : least <= 5 * power ? 5 * power : 10 * power;
}

typedef struct Frame {
    double x0, x1, y0, y1;
} Frame;

static bool find_frame(const Curves *c, int p, Frame *f)
{
    bool any = false;

    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < LINES; k++) {
            const Line *l = &c->run[i].line[p][k];
            for (int j = 0; j < l->n; j++) {
                if (!any)
                    *f = (Frame){l->x[j], l->x[j], l->y[j], l->y[j]};
                any = true;
                f->x0 = fmin(f->x0, l->x[j]);
                f->x1 = fmax(f->x1, l->x[j]);
                f->y0 = fmin(f->y0, l->y[j]);
                f->y1 = fmax(f->y1, l->y[j]);
            }
        }
    if (!any)
        return false;
    if (f->x1 <= f->x0)
        f->x1 = f->x0 + 1;
    if (f->y1 - f->y0 <= 1e-12 * fabs(f->y1)) {
        const double more = f->y1 != 0 ? 0.1 * fabs(f->y1) : 1;
        f->y0 -= more;
        f->y1 += more;
    }
    const double tick = tick_of(f->y1 - f->y0);
    f->y0 = tick * floor(f->y0 / tick + 1e-9);
    f->y1 = tick * ceil(f->y1 / tick - 1e-9);
    return true;
}

static double at_x(const Frame *f, double x)
{
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const Frame *f, double y)
{
    return HEIGHT - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM);
}

static void put_ticks(Buf *to, const Frame *f)
{
    const double dy = tick_of(f->y1 - f->y0), dx = fmax(1, tick_of(f->x1 - f->x0));

    for (int i = 0; f->y0 + i * dy <= f->y1 + 1e-9 * dy; i++) {
        const double v = f->y0 + i * dy, y = at_y(f, v);
        buf_printf(to,
                   "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"t\" text-anchor=\"end\" x=\"%d\" "
                   "y=\"%.1f\">%.4g</text>\n",
                   LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, fabs(v) < 1e-9 * dy ? 0 : v);
    }
    for (double v = dx * ceil(f->x0 / dx); v <= f->x1 + 1e-9; v += dx)
        buf_printf(to, "<text class=\"t\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>\n", at_x(f, v),
                   HEIGHT - BOTTOM + 17, v);
}

/* A panel, WIDTH x HEIGHT. */
static void put_panel(const Curves *c, int p, const Frame *f, Buf *to)
{
    buf_printf(
        to, "<rect class=\"bg\" width=\"%d\" height=\"%d\" rx=\"8\"/><text class=\"h\" x=\"%d\" y=\"22\">%s</text>\n",
        WIDTH, HEIGHT, LEFT, panels[p].title);
    buf_printf(to, "<text class=\"t\" text-anchor=\"end\" x=\"%d\" y=\"22\">by epoch</text>\n", WIDTH - RIGHT);
    put_ticks(to, f);
    buf_printf(to, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < LINES; k++) {
            const Line *l = &c->run[i].line[p][k];
            if (l->n > 1) {
                buf_printf(to, "<path class=\"l l%d c%d\" d=\"", k, i % COLOURS);
                for (int j = 0; j < l->n; j++)
                    buf_printf(to, "%s%.1f %.1f", j ? "L" : "M", at_x(f, l->x[j]), at_y(f, l->y[j]));
                buf_puts(to, "\"/>\n");
            } else if (l->n == 1) {
                buf_printf(
                    to,
                    "<circle class=\"l c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>%s %s: %.6g</title></circle>\n",
                    i % COLOURS, at_x(f, l->x[0]), at_y(f, l->y[0]), k == LINES - 1 ? 5 : 2,
                    k == LINES - 1 ? "test of epoch" : line_words[k], xprintf("%g", l->x[0]), l->y[0]);
            }
        }
}

/* Which colour is which run, from y on; returns where it ends. */
static int put_legend(const Curves *c, Buf *to, int width, int y)
{
    int x = LEFT;

    for (int i = 0; i < c->n; i++) {
        const int long_enough = 40 + CHAR_WIDTH * (int)strlen(c->run[i].name);
        if (x > LEFT && x + long_enough > width) {
            x = LEFT;
            y += LEGEND;
        }
        buf_printf(to, "<path class=\"l c%d\" d=\"M%d %dh20\"/><text class=\"t\" x=\"%d\" y=\"%d\">", i % COLOURS, x, y,
                   x + 26, y + 4);
        put_escaped(to, c->run[i].name);
        buf_puts(to, "</text>\n");
        x += long_enough;
    }
    y += LEGEND;
    buf_printf(
        to,
        "<text class=\"t\" x=\"%d\" y=\"%d\">dashed: training; line: validation; circle: the test at the end</text>\n",
        LEFT, y + 4);
    return y + LEGEND;
}

void curves_svg(const Curves *c, Buf *to)
{
    enum { ACROSS = 2, GAP = 12 };
    const int width = ACROSS * WIDTH + (ACROSS + 1) * GAP;
    Buf body = {0};
    Frame f;
    int n = 0;

    const int top = put_legend(c, &body, width, GAP + 8);
    for (int p = 0; p < PANELS; p++)
        if (find_frame(c, p, &f)) {
            buf_printf(&body, "<g transform=\"translate(%d %d)\">\n", GAP + n % ACROSS * (WIDTH + GAP),
                       top + n / ACROSS * (HEIGHT + GAP));
            put_panel(c, p, &f, &body);
            buf_puts(&body, "</g>\n");
            n++;
        }
    int height = top + (n + ACROSS - 1) / ACROSS * (HEIGHT + GAP);
    for (int i = 0; i < c->n; i++) /* two beside each other, the next two below the taller one */
        for (int p = 0, tall = 0, at = height; p < layers_panels(c->run[i].layers); p++) {
            int own;
            buf_printf(&body, "<g transform=\"translate(%d %d)\">\n", GAP + p % ACROSS * (WIDTH + GAP), at);
            layers_panel(c->run[i].layers, p, c->run[i].name, i % COLOURS, WIDTH, &body, &own);
            buf_puts(&body, "</g>\n");
            tall = own > tall ? own : tall;
            height = at + tall + GAP;
            if (p % ACROSS == ACROSS - 1) {
                at = height;
                tall = 0;
            }
        }
    buf_printf(to,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n<style>%s"
               "@media(prefers-color-scheme:dark){.page{fill:#14161b}}.page{fill:#fbfaf7}</style>\n"
               "<rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n%s</svg>\n",
               width, height, width, height, style, body.text);
}

/* ---- the page ---- */

static void put_best(Buf *to, const Line *l, bool last)
{
    int best = 0;

    for (int j = 1; j < l->n; j++)
        best = last || l->y[j] > l->y[best] ? j : best;
    if (l->n)
        buf_printf(to, "<td class=n>%.2f %% <small>(epoch %g)</small>", l->y[best], l->x[best]);
    else
        buf_puts(to, "<td class=n>-");
}

static void put_setting(Buf *to, const Run *r, const char *key)
{
    const json_t *v = json_object_get(r->start, key);

    buf_puts(to, "<td>");
    if (json_is_string(v))
        put_escaped(to, plain(json_string_value(v)));
    else if (json_is_number(v))
        buf_printf(to, "%.10g", json_number_value(v));
    else
        buf_puts(to, "-");
}

static void put_table(const Curves *c, Buf *to)
{
    static const char *const settings[] = {"network", "optimizer", "lr", "schedule", "batch", "seed", NULL};
    enum { ACCURACY = 1 };

    buf_puts(to, "<div class=wide><table>\n<tr><th>log<th class=n>epochs<th class=n>best validation<th class=n>test<th "
                 "class=n>seconds");
    for (int k = 0; settings[k]; k++)
        buf_printf(to, "<th>%s", settings[k]);
    buf_puts(to, "</tr>\n");
    for (int i = 0; i < c->n; i++) {
        const Run *r = &c->run[i];
        buf_printf(to, "<tr><td><svg class=key viewBox=\"0 0 20 8\"><path class=\"l c%d\" d=\"M0 4h20\"/></svg> ",
                   i % COLOURS);
        put_escaped(to, r->name);
        buf_printf(to, "<td class=n>%d", r->epochs);
        put_best(to, &r->line[ACCURACY][1], false);
        put_best(to, &r->line[ACCURACY][2], true);
        buf_printf(to, "<td class=n>%.1f", r->seconds);
        for (int k = 0; settings[k]; k++)
            put_setting(to, r, settings[k]);
        buf_puts(to, "</tr>\n");
    }
    buf_puts(to, "</table></div>\n");
}

void curves_html(const Curves *c, Buf *to)
{
    Frame f;

    buf_printf(
        to,
        "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, "
        "initial-scale=1\">\n<title>trainings</title>\n<style>:root{color-scheme:light dark}"
        "body{margin:0;background:#fbfaf7;color:#1d2129;font:16px/1.5 system-ui,sans-serif}"
        "main{max-width:66rem;margin:0 auto;padding:1.2rem 1rem 3rem}h1{font-size:1.5rem;margin:0 0 1rem}"
        "p{color:#626a76}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;margin-bottom:1rem}"
        "td,th{padding:.25rem .8rem .25rem 0;text-align:left;white-space:nowrap}.n{text-align:right}th{color:#626a76}"
        ".key{width:20px;height:8px}.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%%,26rem),"
        "1fr));"
        "gap:.8rem}.panels svg{width:100%%;height:auto;display:block}"
        "@media(prefers-color-scheme:dark){body{background:#14161b;color:#e5e7eb}th,p{color:#98a1ae}}"
        "%s</style></head>\n<body><main>\n<h1>%d training%s</h1>\n",
        style, c->n, c->n == 1 ? "" : "s");
    put_table(c, to);
    buf_puts(to, "<p>Dashed: training; line: validation; circle: the test at the end.");
    for (int i = 0; i < c->n; i++)
        if (c->run[i].layers) {
            buf_puts(to, " Cells, of --stats: the darker, the larger; the number beside a row is the last one.");
            break;
        }
    buf_puts(to, "</p>\n<div class=panels>\n");
    for (int p = 0; p < PANELS; p++)
        if (find_frame(c, p, &f)) {
            buf_printf(to, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"%s\">\n", WIDTH, HEIGHT, panels[p].title);
            put_panel(c, p, &f, to);
            buf_puts(to, "</svg>\n");
        }
    for (int i = 0; i < c->n; i++)
        for (int p = 0; p < layers_panels(c->run[i].layers); p++) {
            Buf panel = {0};
            int height;
            layers_panel(c->run[i].layers, p, c->run[i].name, i % COLOURS, WIDTH, &panel, &height);
            buf_printf(to, "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"%s\">\n%s</svg>\n", WIDTH, height,
                       layers_title(c->run[i].layers, p), panel.text);
        }
    buf_puts(to, "</div>\n</main></body></html>\n");
}
