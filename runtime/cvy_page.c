/* cvy_page.c - `NAME eval --report FILE.html`: what an evaluation found, as a page that needs nothing else.
 * SPDX-License-Identifier: 0BSD */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "cvy_private.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    PAGE_MATRIX = 64,      /* classes that a matrix is drawn of */
    PAGE_MISTAKES = 20,    /* pairs */
    MOST_PICTURE = 1 << 24 /* bytes of a picture */
};

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfaf7;--card:#fff;--ink:#1d2129;--soft:#626a76;--line:#e2dfd8;--bar:#5b4bc4;"
    "--right:91,75,196;--wrong:190,60,50}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14161b;--card:#1c1f26;--ink:#e5e7eb;--soft:#98a1ae;--line:#30343d;"
    "--bar:#a79cf7;--right:140,128,240;--wrong:235,110,100}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\n"
    "main{max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;"
    "margin:2.2rem 0 .6rem}p{margin:.2rem 0 .8rem;color:var(--soft)}\n"
    ".figures{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.figures div{background:var(--card);border:1px solid "
    "var(--line);border-radius:.6rem;padding:.6rem 1rem;min-width:8rem}.figures b{display:block;font-size:1.4rem}"
    ".figures span{color:var(--soft);font-size:.85rem}\n"
    ".wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.5rem}"
    "table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem .5rem;text-align:left;white-space:nowrap}"
    "th{color:var(--soft);font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    ".bar{display:inline-block;height:.7rem;background:var(--bar);border-radius:.2rem;vertical-align:middle}"
    ".track{width:9rem}.m td{text-align:center;min-width:2.2rem;border:1px solid var(--line)}"
    ".m th.v{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;max-height:9rem;overflow:hidden}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.8rem}.card{background:var(--"
    "card);"
    "border:1px solid var(--line);border-radius:.6rem;padding:.7rem;font-size:.85rem;overflow-wrap:anywhere}"
    ".card img{width:100%;image-rendering:pixelated;border-radius:.3rem;display:block;margin-bottom:.5rem}"
    ".card b{display:block}.card span{color:var(--soft)}\n";

/* ---- text and pictures into the page ---- */

static void put_html(FILE *to, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            putc(*text, to);
        }
}

static void put_base64(FILE *to, const unsigned char *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < n ? from[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            putc(i + k > n ? '=' : digits[v >> 6 * (3 - k) & 63], to);
    }
}

static unsigned char *put_u32(unsigned char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(v >> 8 * (3 - i));
    return to + 4;
}

/* A part of a PNG file after `to`: its length, kind, bytes and checksum. Where it ends. */
static unsigned char *put_chunk(unsigned char *to, const char *kind, const unsigned char *from, size_t n)
{
    put_u32(to, (uint32_t)n);
    memcpy(to + 4, kind, 4);
    if (n)
        memcpy(to + 8, from, n);
    return put_u32(to + 8 + n, (uint32_t)crc32(0, to + 4, (uInt)(n + 4)));
}

/* What a number of a row is as a pixel: a byte as it is; of floats the least is black, the greatest white. */
static unsigned char pixel(const struct cvy_data *d, size_t at, float least, float most)
{
    if (!d->number)
        return d->image[at];
    return most > least ? (unsigned char)(255 * ((d->number[at] - least) / (most - least)) + 0.5f) : 0;
}

/* A row of the data as a picture. 1: it is there, or the row is none; 0 after a message. */
static int put_picture(FILE *to, const struct cvy_model *m, const struct cvy_data *d, int item)
{
    const size_t h = (size_t)m->height, w = (size_t)m->width, colours = m->channels == 3 ? 3 : 1;
    const size_t bytes = h * (1 + w * colours), first = (size_t)item * d->numbers;
    if (m->height < 2 || m->width < 2 || bytes > MOST_PICTURE)
        return 1;
    uLongf packed = compressBound((uLong)bytes);
    unsigned char *raw = cvy_alloc(bytes, 1), *zip = cvy_alloc(packed, 1), *png = cvy_alloc((size_t)packed + 128, 1);
    int ok = raw && zip && png;
    float least = 0, most = 0;
    for (size_t i = 0; ok && d->number && i < d->numbers; i++) {
        const float v = d->number[first + i];
        least = i == 0 || v < least ? v : least;
        most = i == 0 || v > most ? v : most;
    }
    for (size_t y = 0; ok && y < h; y++)
        for (size_t x = 0; x < w; x++)
            for (size_t c = 0; c < colours; c++)
                raw[y * (1 + w * colours) + 1 + x * colours + c] = pixel(d, first + (c * h + y) * w + x, least, most);
    if (ok && compress2(zip, &packed, raw, (uLong)bytes, 9) != Z_OK) {
        cvy_error(NULL, "out of memory");
        ok = 0;
    }
    if (ok) {
        unsigned char head[13] = {0};
        put_u32(put_u32(head, (uint32_t)w), (uint32_t)h);
        head[8] = 8;
        head[9] = colours == 3 ? 2 : 0;
        memcpy(png, "\x89PNG\r\n\x1a\n", 8);
        unsigned char *end = put_chunk(png + 8, "IHDR", head, sizeof head);
        end = put_chunk(end, "IDAT", zip, packed);
        end = put_chunk(end, "IEND", NULL, 0);
        fputs("<img alt=\"\" src=\"data:image/png;base64,", to);
        put_base64(to, png, (size_t)(end - png));
        fputs("\">", to);
    }
    free(raw);
    free(zip);
    free(png);
    return ok;
}

/* ---- the page ---- */

static void put_figure(FILE *to, const char *value, const char *what)
{
    fprintf(to, "<div><b>%s</b><span>%s</span></div>\n", value, what);
}

static void put_classes(FILE *to, const struct cvy_report *p)
{
    fputs("<h2>By class</h2>\n<div class=wide><table>\n<tr><th>class<th class=n>images<th class=n>right<th></tr>\n",
          to);
    for (int c = 0; c < p->model->classes; c++) {
        fputs("<tr><td>", to);
        put_html(to, p->class_name[c]);
        fprintf(to, "<td class=n>%" PRId64, p->rows[c]);
        if (p->rows[c])
            fprintf(to, "<td class=n>%.2f %%<td class=track><span class=bar style=\"width:%.1f%%\"></span>",
                    100 * cvy_report_share(p, c), 100 * cvy_report_share(p, c));
        else
            fputs("<td class=n>none<td>", to);
        fputs("</tr>\n", to);
    }
    fputs("</table></div>\n", to);
}

static void put_outputs(FILE *to, const struct cvy_report *p)
{
    fputs("<h2>By output</h2>\n<div class=wide><table>\n<tr><th>output<th class=n>RMSE<th class=n>R2</tr>\n", to);
    for (int c = 0; c < p->model->classes; c++) {
        fputs("<tr><td>", to);
        put_html(to, p->class_name[c]);
        fprintf(to, "<td class=n>%.5g<td class=n>%.4f</tr>\n", sqrt(p->error[c] / p->data->n), cvy_report_r2(p, c));
    }
    fputs("</table></div>\n", to);
}

static void put_matrix(FILE *to, const struct cvy_report *p)
{
    const int n = p->model->classes;
    if (!p->matrix || n > PAGE_MATRIX)
        return;
    fputs("<h2>What is taken for what</h2>\n<p>A line for each class, a column for what the network takes it for.</p>\n"
          "<div class=wide><table class=m>\n<tr><th>",
          to);
    for (int c = 0; c < n; c++) {
        fputs("<th class=v>", to);
        put_html(to, p->class_name[c]);
    }
    fputs("</tr>\n", to);
    for (int c = 0; c < n; c++) {
        fputs("<tr><th>", to);
        put_html(to, p->class_name[c]);
        for (int e = 0; e < n; e++) {
            const int64_t count = p->matrix[(size_t)c * (size_t)n + (size_t)e];
            const double share = p->rows[c] ? (double)count / (double)p->rows[c] : 0;
            if (count)
                fprintf(to, "<td style=\"background:rgba(var(--%s),%.2f)\">%" PRId64, c == e ? "right" : "wrong",
                        c == e ? 0.08 + 0.4 * share : 0.12 + 0.68 * sqrt(share), count);
            else
                fputs("<td>", to);
        }
        fputs("</tr>\n", to);
    }
    fputs("</table></div>\n", to);
}

static int put_mistakes(FILE *to, const struct cvy_report *p)
{
    int n;
    struct cvy_mistake *list = cvy_report_mistakes(p, &n);
    if (!list)
        return 0;
    if (n)
        fputs("<h2>The most frequent mistakes</h2>\n<div class=wide><table>\n<tr><th class=n>images<th>class<th>taken "
              "for</tr>\n",
              to);
    for (int i = 0; i < n && i < PAGE_MISTAKES; i++) {
        fprintf(to, "<tr><td class=n>%" PRId64 "<td>", list[i].count);
        put_html(to, p->class_name[list[i].class]);
        fputs("<td>", to);
        put_html(to, p->class_name[list[i].taken_for]);
        fputs("</tr>\n", to);
    }
    if (n)
        fputs("</table></div>\n", to);
    free(list);
    return 1;
}

static int put_worst(FILE *to, const struct cvy_report *p)
{
    int ok = 1;
    if (p->nworst)
        fprintf(to, "<h2>Predicted worst</h2>\n<p>%s</p>\n<div class=cards>\n",
                p->right ? "Wrong, and most sure of it." : "Of all rows, those with the largest loss.");
    for (int i = 0; ok && i < p->nworst; i++) {
        const struct cvy_worst *w = &p->worst[i];
        fputs("<div class=card>", to);
        ok = put_picture(to, p->model, p->data, w->item);
        fputs("<b>", to);
        put_html(to, w->name);
        fputs("</b>", to);
        if (!p->right) {
            fprintf(to, "<span>loss %.4g</span></div>\n", w->loss);
            continue;
        }
        put_html(to, p->class_name[w->class]);
        fputs(", taken for ", to);
        put_html(to, p->class_name[w->taken_for]);
        fputs("<br><span>", to);
        put_html(to, p->class_name[w->class]);
        fprintf(to, ": %.2g %%, loss %.3g</span></div>\n", 100 * exp(-w->loss), w->loss);
    }
    if (p->nworst)
        fputs("</div>\n", to);
    return ok;
}

static int put_page(FILE *to, const struct cvy_report *p, const char *weights, double loss)
{
    char text[64];
    int64_t right = 0;
    for (int c = 0; p->right && c < p->model->classes; c++)
        right += p->right[c];
    fputs("<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, "
          "initial-scale=1\">\n<title>",
          to);
    put_html(to, p->model->name);
    fprintf(to, ": evaluation</title>\n<style>%s</style></head>\n<body><main>\n<h1>", style);
    put_html(to, p->model->name);
    fputs("</h1>\n<p>", to);
    put_html(to, weights);
    fputs(" on ", to);
    put_html(to, p->data->what);
    fprintf(to, "%s</p>\n<div class=figures>\n", p->data->synthetic ? ": a synthetic set, not a benchmark" : "");
    if (!p->right) {
        snprintf(text, sizeof text, "%.4f", cvy_report_r2(p, -1));
        put_figure(to, text, "R2");
        snprintf(text, sizeof text, "%.5g", sqrt(loss));
        put_figure(to, text, "RMSE");
    } else {
        snprintf(text, sizeof text, "%.2f %%", 100.0 * (double)right / p->data->n);
        put_figure(to, text, "right");
    }
    if (p->right && p->k < p->model->classes) {
        char what[32];
        snprintf(text, sizeof text, "%.2f %%", 100.0 * (double)p->in_top / p->data->n);
        snprintf(what, sizeof what, "in the first %d", p->k);
        put_figure(to, text, what);
    }
    snprintf(text, sizeof text, "%.4f", loss);
    put_figure(to, text, "loss");
    snprintf(text, sizeof text, "%d", p->data->n);
    put_figure(to, text, "images");
    fputs("</div>\n", to);
    if (p->right) {
        put_matrix(to, p);
        put_classes(to, p);
    } else if (p->model->train.loss->target == CVY_VALUES) {
        put_outputs(to, p);
    }
    if ((p->right && !put_mistakes(to, p)) || !put_worst(to, p))
        return 0;
    fputs("</main></body></html>\n", to);
    return 1;
}

int cvy_report_page(struct cvy_report *p, const char *path, const char *weights, double loss)
{
    struct cvy_out out = {0};
    char *text = NULL;
    size_t len = 0;
    FILE *to = cvy_report_names(p) ? open_memstream(&text, &len) : NULL;
    int ok = to != NULL && put_page(to, p, weights, loss);
    if (to && (ferror(to) | fclose(to)) && ok) {
        cvy_error(NULL, "out of memory");
        ok = 0;
    }
    ok = ok && cvy_out_open(&out, path) && cvy_out_write(&out, text, len);
    if (ok)
        ok = cvy_out_commit(&out, 1);
    else
        cvy_out_drop(&out);
    free(text);
    return ok;
}
