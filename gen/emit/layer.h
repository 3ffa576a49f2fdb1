/* layer.h - what the files that print a layer's file share: lines.c, images.c, norms.c, calls.c, infer.c, trace.c,
 * kernel.c. */
#ifndef LAYER_H
#define LAYER_H

#include "emit.h"
#include "names.h"

/* What the passes of a file use, once their functions are emitted. */
typedef struct UsesOf {
    const PixelPass *pass;
    PassUses uses;
    const char *tag; /* what its code is called; NULL: by its own name */
} UsesOf;
typedef struct UsesTable {
    UsesOf *of;
    int n;
    Names joined; /* the texts of passes of concats' operands, and the numbers that they have */
} UsesTable;

typedef struct File {
    const Plan *p;
    const Kernel *k;
    Rec *rec;
    bool infer;  /* k is of inference */
    Names *done; /* what of image norms the function at hand has already */
    UsesTable *uses;
    Rec **forward; /* the function of a piece of forward, once there is one */
} File;

/* lines.c. */
const char *line_symbol(const File *f, const char *verb);
Rec *line_function(const File *f, const char *list, const char *template, const char *name);
void layer_passes(const File *f, const char *list, const Chain *c, const Image *image);
PassUses layer_uses(const File *f, const PixelPass *r);
/* What the code is called that does what a pass does. */
const char *layer_tag(const File *f, const PixelPass *r);
/* Calls a piece's function for each of them. */
void line_over_pieces(const File *f, Rec *kernel, Rec *piece);
void line_clear(Rec *to, const char *list, const char *name, int64_t floats);
Rec *line_halo(Rec *to, const char *list, const Image *m, int copies);
void line_scratch(Rec *fn, const char *template, const char *name, int64_t at, const char *doc);
const Tensor *layer_tensor(const File *f);

/* images.c. */
bool *images_none(const Kernel *k);
void images_mark(bool *used, int image);
void images_mark_chain(bool *used, const Chain *c);
void images_mark_before(bool *used, const Kernel *k);
void images_mark_work(bool *used, const Kernel *k);
void images_mark_din(bool *used, const Kernel *k);
const char *image_text(const Image *m);
/* Declares the images that are used, and sets what of them no stage writes. Rows of matrices are declared in the loop
 * over images. */
void images_declare(const Kernel *k, Rec *fn, const Image *image, int n, const bool *used, bool backward);

/* norms.c. */
/* Before a pass: what it needs of the image norms that it applies, or whose statistics and sums it takes. */
void norms_begin_pass(const File *f, Rec *fn, const PixelPass *r);
/* After an image's passes: the statistics that they took, and what became of the sums. */
void norms_end_image(const File *f, Rec *fn);
/* The fields by which a pass is given what it needs of image norms. */
void norms_image_fields(const File *f, const PixelPass *r, Buf *b);
/* The fields by which a pass that is given all is given its norms. */
void norms_given(const File *f, const PixelPass *r, bool given, Buf *b);
void norms_begin_stats(const File *f, Rec *fn);
/* After an image: its sums are drained, but where a core takes several. */
void norms_move_stats(const File *f, Rec *fn);
/* After forward's pieces: the statistics of the kernel's tensor, and what each norm over it makes of them. */
void norms_forward(const File *f, Rec *kernel);
void norms_begin_sums(const File *f, Rec *fn);
/* After backward's pieces: gradients and update of the norms whose sums the kernel took, and what they take away from
 * the gradients of the tensors under them. */
void norms_backward(const File *f, Rec *kernel);
bool norms_has_sums(const File *f);

/* calls.c. */
/* The fields by which a pass is given its images; `image` says what their numbers mean. */
const char *calls_init(const File *f, const PixelPass *r, const Image *image, bool several);
/* A pad gives to every stride-th pixel alone: where it is the first to give, the others are cleared. */
void clear_padded(const File *f, Rec *fn, const PixelPass *r);
void calls_chain(const File *f, Rec *fn, const Chain *c, const Image *image, int from);
void calls_before(const File *f, Rec *fn);
void calls_of_core(Rec *s, const char *core, const char *x, const char *w, const char *bias, const char *part);
Rec *calls_core(const File *f, Rec *fn, const PixelPass *r, const char *init);
/* Gathers image `from` into `to`, where there is such a one, for the other side of a lanewise conv. What its core reads
 * then. */
const char *calls_gather(const File *f, Rec *fn, const char *from, const Image *to, bool back);
const char *calls_gather_x(const File *f, Rec *fn);
const char *calls_core_name(const Kernel *k, const char *name);
/* Calls the core of a pass by Winograd with pass r: for each image, or for several once the last of them is packed. */
void calls_winograd(const File *f, Rec *fn, const PixelPass *r, const char *init, Pass pass, const char *x,
                    const char *w, const char *bias, bool next);
/* What the kernel's next `images` images are packed from, for the core of a pass by Winograd: a pointer to it. */
const char *calls_next(const File *f, Rec *fn, Pass pass, int images);
/* The forward core, with pass r; next: what the next images are packed from comes nearer. */
void calls_forward(const File *f, Rec *fn, const PixelPass *r, const Image *image, const char *x, const char *w,
                   const char *wu, const char *bias, bool next);
const char *calls_bias(const File *f);
/* The weights as the core of a pass reads them, made before it runs: kernels share the room. */
void calls_copy_weights(const File *f, Rec *fn, const char *list, Pass pass);

/* recurrent.c: of a recurrent op's kernel. Its cell, in the file; the lines of forward and backward between its rows;
 * the update; inference. */
void recurrent_cell(const File *f);
void recurrent_forward(const File *f, Rec *kernel);
void recurrent_backward(const File *f, Rec *kernel);
void recurrent_update(const File *f, Rec *kernel);
void recurrent_infer(const File *f, Rec *fn);

/* embed.c: the lines of embed's kernel between its rows. */
void embed_forward(const File *f, Rec *kernel);
void embed_backward(const File *f, Rec *kernel);
void embed_infer(const File *f, Rec *fn);

/* infer.c. */
void layer_infer(const File *f);

#endif
