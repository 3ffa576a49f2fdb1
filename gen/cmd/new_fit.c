/* new_fit.c - `convoy new NAME --data SRC`: a spec for a set. How wide and deep its network is follows from the size of
 * a row and how many rows there are to train with; the spec says why in comments. */
#include "commands.h"
#include "runtime.h"
#include "data.h"

#include <string.h>

enum {
    FEW_ROWS = 2000,   /* below: a small network, which has less to remember them with */
    MANY_ROWS = 20000, /* from there on: a wide one */
    LEAST_SIDE = 6,    /* of the last layer's images, pixels */
    MOST_STAGES = 6,   /* halvings */
    SOME_STEPS = 2500, /* of a training: epochs are so many that it takes about as many steps */
    LEAST_EPOCHS = 10,
    MOST_EPOCHS = 60,
    SHOWN = 12 /* classes that a comment names */
};

static const char *thousands(int64_t n)
{
    return n >= 1000000 ? xprintf("%lld,%03d,%03d", (long long)(n / 1000000), (int)(n / 1000 % 1000), (int)(n % 1000))
           : n >= 1000  ? xprintf("%d,%03d", (int)(n / 1000), (int)(n % 1000))
                        : xprintf("%d", (int)n);
}

static const char *list(const double *v, int n)
{
    Buf b = {0};

    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s%.6g", i ? ", " : "[", v[i]);
    buf_puts(&b, "]");
    return b.text;
}

/* What the classes are called, or the numbers to learn, in a comment: a name may hold what would end it. */
static const char *name_list(const char *const *name, int n)
{
    Buf b = {0};
    char plain[64];

    for (int c = 0; c < n && c < SHOWN; c++)
        buf_printf(&b, "%s%s", c ? ", " : "", cvy_plain(name[c], plain, sizeof plain));
    if (n > SHOWN)
        buf_puts(&b, ", ...");
    return b.text;
}

/* What the last layer gives. */
static const char *last_word(const SetInfo *s)
{
    return s->nclass ? "classes" : "outputs";
}

static void put_features(Buf *b, const SetInfo *s)
{
    const int wide = s->rows[0] < FEW_ROWS ? 32 : s->rows[0] < MANY_ROWS ? 64 : 128;
    const bool deep = s->rows[0] >= FEW_ROWS;

    buf_printf(b,
               "act: relu\n\nlayers:\n"
               "  # Features have no neighbours, so each layer sees all of them. %s rows to train with: %s.\n"
               "  - linear: {out: %d, order: linear-act}\n",
               thousands(s->rows[0]),
               deep ? "enough for two layers between"
                    : "one narrow layer between, as a larger one would learn them by heart",
               wide);
    if (deep)
        buf_printf(b, "  - linear: {out: %d, order: linear-act}\n", wide);
    buf_printf(b, "  - linear: %s\n", last_word(s));
}

static void put_images(Buf *b, const SetInfo *s)
{
    const int side = s->height < s->width ? s->height : s->width, longest = s->height > s->width ? s->height : s->width;
    const bool few = s->rows[0] < FEW_ROWS, many = s->rows[0] >= MANY_ROWS;
    const int first = few ? 16 : 32, most = few ? 64 : many ? 256 : 128;
    int stages = 0, out = first, left = longest, small = side;

    while (stages < MOST_STAGES && (small + 1) / 2 >= LEAST_SIDE) {
        small = (small + 1) / 2;
        left = (left + 1) / 2;
        stages++;
    }
    const bool large = stages > 3; /* the first halvings without a layer at full size: that is where the time goes */
    buf_puts(b,
             "order: conv-bn-act          # of every conv block below\nact: relu\ninit: kaiming_normal\n\nlayers:\n");
    buf_printf(b, "  # %s rows to train with: %d channels first%s, %d at most.\n", thousands(s->rows[0]), first,
               few ? ", few, as a larger network would learn them by heart" : "", most);
    if (stages)
        buf_printf(
            b, "  # %d halving%s by stride 2: of %d x %d pixels %d x %d are left, where what lies far apart meets.\n",
            stages, stages == 1 ? "" : "s", s->height, s->width, s->height < s->width ? small : left,
            s->height < s->width ? left : small);
    if (large)
        buf_puts(b, "  # The images are large, so it begins by halving them: the layers at full size would take most "
                    "of the time.\n");
    for (int i = 0; i < stages || i == 0; i++) {
        const bool at_once = large && i < stages - 3;
        if (!at_once && (i == 0 || (large && i == stages - 3)))
            buf_printf(b, "  - conv: %d\n", out);
        out = out * 2 > most || at_once ? out : out * 2;
        if (stages)
            buf_printf(b, "  - conv: {out: %d, stride: 2}\n", out);
        if ((!few || !stages) && !at_once)
            buf_printf(b, "  - conv: %d\n", out);
    }
    buf_printf(b,
               "  - global_avg_pool           # a mean of each channel: few parameters, wherever it is in the image\n"
               "  - linear: %s\n",
               last_word(s));
}

const char *new_fitting(const char *name, const char *source, const SetInfo *s)
{
    Buf b = {0};
    const bool features = s->height == 1 && s->width == 1;
    const int batch = s->rows[0] < 500 ? 16 : 64;
    const int64_t steps = (s->rows[0] + batch - 1) / batch, want = SOME_STEPS / (steps ? steps : 1);
    const int epochs = want < LEAST_EPOCHS ? LEAST_EPOCHS : want > MOST_EPOCHS ? MOST_EPOCHS : (int)want;
    char plain[400];

    buf_printf(&b, "# yaml-language-server: $schema=spec.schema.json\n# For %s: %s rows to train with, ",
               cvy_plain(source, plain, sizeof plain), thousands(s->rows[0]));
    buf_printf(&b, "%s to choose by, %s to test.\n", thousands(s->rows[1]), thousands(s->rows[2]));
    if (features)
        buf_printf(&b, "name: %s\ninput: [%d]\n", name, s->channels);
    else
        buf_printf(&b, "name: %s\ninput: [%d, %d, %d]          # channels, height, width: the set's\n", name,
                   s->channels, s->height, s->width);
    if (s->nclass)
        buf_printf(&b, "classes: %d                  # %s\n\n", s->nclass, name_list(s->class_name, s->nclass));
    else
        buf_printf(&b, "outputs: %d                  # numbers to learn of each row%s%s\n\n", s->outputs,
                   s->target ? ": " : "", s->target ? name_list(s->target, s->outputs) : "");
    if (features)
        put_features(&b, s);
    else
        put_images(&b, s);
    buf_printf(&b,
               "\ntrain:\n"
               "  data: idx                 # --data names it\n"
               "  epochs: %-4d              # of %s steps: about %s in all\n"
               "  batch: %d\n"
               "%s  lr: %s\n"
               "  momentum: 0.9\n"
               "  weight_decay: 5e-4\n"
               "  schedule: one-cycle\n"
               "  # of the rows to train with, each channel: the network reads (x - mean) / std\n"
               "  mean: %s\n  std: %s\n",
               epochs, thousands(steps), thousands(steps * epochs), batch,
               s->nclass ? "" : "  loss: mse                 # the mean of (output - number)^2\n",
               !s->nclass ? "0.01"
               : features ? "0.05"
                          : "0.1",
               list(s->mean, s->channels), list(s->sd, s->channels));
    return b.text;
}
