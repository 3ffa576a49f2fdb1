/* jpeg.c - JPEG files, by libjpeg-turbo: read row by row; progressive ones within a limit of memory. */
#include "decode.h"

#include <jpeglib.h>
#include <jerror.h>
#include <stdlib.h>
#include <string.h>

typedef struct Jpeg {
    struct jpeg_decompress_struct c;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    Decode *d;
    bool damaged;
} Jpeg;

static Decode *decode_of(j_common_ptr c)
{
    return ((Jpeg *)c)->d;
}

static void on_error(j_common_ptr c)
{
    char text[JMSG_LENGTH_MAX];
    Decode *d = decode_of(c);
    if (c->err->msg_code == JERR_OUT_OF_MEMORY)
        out_of_memory((size_t)c->err->msg_parm.i[0]);
    c->err->format_message(c, text);
    decode_why(d, "%s",
               c->err->msg_code == JERR_NO_BACKING_STORE
                   ? "it is progressive, and too large for that: such a file must fit into 192 MB of memory"
                   : text);
    longjmp(d->stop, 1);
}

/* A warning: the library goes on with what it makes of the file. Bytes in front of a marker do no harm; where data are
 * wrong or missing, what follows in the image is. */
static void on_message(j_common_ptr c, int level)
{
    Jpeg *j = (Jpeg *)c;
    if (level >= 0)
        return;
    c->err->num_warnings++;
    j->d->met |= MET_WARNED;
    const int code = c->err->msg_code;
    if (j->damaged || (code != JWRN_JPEG_EOF && code != JWRN_HIT_MARKER && code != JWRN_HUFF_BAD_CODE &&
                       code != JWRN_MUST_RESYNC && code != JWRN_ARITH_BAD_CODE))
        return;
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    decode_why(j->d, "%s", code == JWRN_JPEG_EOF ? "it is truncated" : text);
    j->damaged = true;
}

static void on_progress(j_common_ptr c)
{
    if (((j_decompress_ptr)c)->input_scan_number > MOST_SCANS) {
        decode_why(decode_of(c), "it has more than %d scans", MOST_SCANS);
        longjmp(decode_of(c)->stop, 1);
    }
}

static int orientation_of(const struct jpeg_decompress_struct *c)
{
    for (jpeg_saved_marker_ptr m = c->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return exif_orientation(m->data, m->data_length);
    return 1;
}

static bool read_head(Decode *d, Jpeg *j)
{
    jpeg_stdio_src(&j->c, d->from);
    jpeg_save_markers(&j->c, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&j->c, TRUE);
    if (j->c.num_components != 1 && j->c.num_components != 3 && j->c.num_components != 4) {
        decode_why(d, "a JPEG file of %d channels", j->c.num_components);
        return false;
    }
    return decode_head(d, j->c.image_width, j->c.image_height, orientation_of(&j->c), j->c.num_components == 1);
}

static void read_rows(Decode *d, Jpeg *j)
{
    const int n = j->c.num_components;
    const Pixels kind = n == 1 ? PIXELS_GREY : n == 3 ? PIXELS_RGB : PIXELS_CMYK;
    j->c.out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    d->met |= n == 4 ? MET_CMYK : 0;
    jpeg_start_decompress(&j->c);
    d->buffer = xmalloc((size_t)j->c.output_width * (size_t)n);
    while (j->c.output_scanline < j->c.output_height) {
        JSAMPROW row = d->buffer;
        jpeg_read_scanlines(&j->c, &row, 1);
        decode_row(d, d->buffer, kind);
    }
    jpeg_finish_decompress(&j->c);
}

bool jpeg_decode(Decode *d)
{
    Jpeg j = {.d = d};
    volatile bool ok = false;
    j.c.err = jpeg_std_error(&j.errors);
    j.errors.error_exit = on_error;
    j.errors.emit_message = on_message;
    if (setjmp(d->stop) == 0) {
        jpeg_create_decompress(&j.c);
        j.c.mem->max_memory_to_use = MOST_WHOLE;
        j.progress.progress_monitor = on_progress;
        j.c.progress = &j.progress;
        ok = read_head(d, &j);
        if (ok && d->r)
            read_rows(d, &j);
    } else {
        ok = false;
    }
    jpeg_destroy_decompress(&j.c);
    if (ok && j.damaged) {
        d->met = (d->met & ~(unsigned)MET_WARNED) | MET_DAMAGED;
        ok = d->r && d->r->keep_truncated;
    }
    return ok;
}
