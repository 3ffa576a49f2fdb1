/* fuse.h - what the files that turn paths into chains of passes over pixels share: packed.c, ports.c, pass_forward.c,
 * pass_backward.c, chains.c, naming.c, trace.c, infer.c, fuse.c. */
#ifndef FUSE_H
#define FUSE_H

#include "names.h"
#include "plan.h"

static const Place no_place = {.where = NOWHERE, .image = -1};

/* What a kernel has of a tensor. Good while `kernel` is the number of the kernel at hand. */
typedef struct Has {
    int kernel;
    int port, image; /* image: in which it is given to an inference kernel, or -1 */
} Has;

/* What is being built: of training, or of inference. */
typedef struct Fuse {
    Plan *p;
    const Graph *g;
    Kernel *k;
    Tensor *tensor;
    bool infer;
    int kernel;      /* a number for the kernel at hand, another one whenever it is another */
    Has *has;        /* by tensor */
    int nnamed[3];   /* ports called in, out, skip and a number */
    int *tensor_of;  /* training's tensor that is an op's output, or -1 */
    int *aliased;    /* by op: the number of the kernel in which it has an alias */
    int *image_norm; /* likewise, in which its norm is listed */
    Names alias;     /* of the kernel at hand: the number that a name ended with last */
    Names layer;     /* all layers' names in C */
} Fuse;

/* packed.c. An image with so many pixels of halo at each side. */
Image image_make(Shape shape, bool plain, int top, int left, int bottom, int right, const char *name);
/* The image that feeds window op: with the halo that its padding asks for. op -1: no halo. */
Image image_for_window(const Graph *g, Shape shape, int op, const char *name);
int image_add(Image **list, int *n, Image m);
Place image_place(int image, Shape shape);
/* The packed input of a weight op: with the halo that its padding asks for. */
Image packed_image(const Plan *p, int op);
/* An image of which paths write parts that begin no block: its padding channels must be cleared. */
void packed_shared(const Kernel *k, Image *m);

/* ports.c. From now on k is the kernel at hand. */
void fuse_begin(Fuse *f, Kernel *k);
/* What the kernel is given of a tensor; `name` ("in", "out", "skip") where it is not given anything of it yet. */
int fuse_port(Fuse *f, int tensor, const char *name);
/* Where what a tensor's readers begin at lies, as kernel k is given it. */
Place fuse_value(Fuse *f, int tensor, const char *name);
/* Where a tensor's gradient lies. */
Place fuse_gradient(Fuse *f, int tensor, const char *name);
Place place_part(Place p, int first);
/* Whether the kernel is the first in backward to give to the port's tensor, or adds to what others gave. */
bool fuse_gives(Fuse *f, int port);

/* pass_forward.c. */
Step *pass_step(PixelPass *r, StepKind kind, int op, int in, int out);
PixelPass *pass_add(Chain *c, const char *name, Shape shape, int first, int next);
void pass_point(const Fuse *f, PixelPass *r, const Link *l, int in, int out);
/* The skip operand's number in the pass. */
int pass_skip(Fuse *f, PixelPass *r, const Skip *skip);
/* The number of value i of a skip operand's path in this pass. It and those before it are computed if they are not at
 * hand. */
int pass_skip_value(Fuse *f, PixelPass *r, int skip, int i);
/* Link i of a path that is no window. */
void pass_link(Fuse *f, PixelPass *r, const Path *w, int i);

/* Values a .. b of a path. `name` and a number name its passes and images. */
typedef struct Forward {
    const char *name;
    const Path *path;
    int a, b;
    Place from;
    int store; /* value that is stored as the kernel's tensor, -1 */
    bool ends; /* value b is the kernel's tensor, of which norms take statistics */
    Place to;
    bool bias; /* the first value lacks the bias */
    bool keep_route;
} Forward;

void pass_forward(Fuse *f, Chain *c, Image **images, int *nimages, const Forward *fw);

/* pass_backward.c. */
bool tensor_has_norms(const Tensor *nd);
/* Whether backward follows a path: its tensor's gradient is wanted, or a norm stands on it. */
bool path_goes_back(const Fuse *f, const Path *w);

/* The gradient of value b of a path is taken back to value a. Values come from value `origin`, which lies at `stored`;
 * the passes of the forward chain `values` over the same links tell which images hold the windows' inputs. */
typedef struct Backward {
    const char *name;
    const Path *path;
    int a, b, origin;
    const Chain *values;
    Place stored;
    bool correct; /* value b is the kernel's tensor, and norms read that */
    Place from, to;
    bool adds, bias_grad;
} Backward;

void pass_backward(Fuse *f, Chain *c, Image **images, int *nimages, const Backward *b);

/* chains.c. */
/* The packed images of a weight op. */
void chain_images(Fuse *f);
/* What leads to the kernel's core, or what a pass makes. */
void chain_before(Fuse *f);
/* The same backwards. */
void chain_before_back(Fuse *f);
/* What the stages after a kernel's core do, up to its tensor. */
void chain_after(Fuse *f);
void chain_after_back(Fuse *f);

/* naming.c. */
const char *fuse_c_name(const char *path);
void fuse_name(Fuse *f);
/* Names for what the kernel's stages, and those that take statistics of its tensor, are given. */
void fuse_aliases(Fuse *f);

/* trace.c. */
typedef struct Trace {
    Fuse *f;
    int *image; /* of an op's output in the kernel at hand, -1 */
    int *set;   /* the ops that have one */
    int nset;
    bool *traced; /* handed out already, by a kernel before */
    int passes;
} Trace;

void trace_build(Trace *t);

/* infer.c. */
/* How the tensors of inference lie: as the first conv that reads one unchanged packs it, else without a halo. */
void infer_images(Plan *p);
void infer_kernel(Fuse *f);

#endif
