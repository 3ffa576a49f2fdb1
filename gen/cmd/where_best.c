/* where_best.c - after the verdict: the network to keep, trained; what either order costs; its block in other
 * libraries.
 *
 * needs: a study's file and its folder, with the CSV.  sets: best.yaml, best.safetensors, and the page with them. */
#include "where_best.h"
#include "advice.h"
#include "diag.h"
#include "files.h"
#include "numbers.h"
#include "process.h"
#include "report.h"
#include "runtime.h"
#include "study_command.h"
#include "term.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COST_ROUNDS = 9 };
#define COST_SECONDS ".1"
#define CHEAPER .05 /* a difference in time that is worth a sentence */

/* ---- which network ---- */

/* The better one; where neither is, the first of the pair. */
static int kept(const Analysis *a)
{
    const Pair p = a->pair[0].pair;
    return a->pair[0].verdict.better > 0 ? p.b : p.a;
}

/* The rate that validation picked most often over the rounds; of equal ones the lowest. */
static double usual_rate(const Analysis *a, int variant)
{
    double best = a->variant[variant].centre;
    int most = 0;
    for (int i = 0; i < a->rounds.n; i++) {
        const Training *t = a->rounds.of[(size_t)i * (size_t)a->s->nvariant + (size_t)variant].run;
        int times = 0;
        for (int k = 0; t && k < a->rounds.n; k++) {
            const Training *u = a->rounds.of[(size_t)k * (size_t)a->s->nvariant + (size_t)variant].run;
            times += u && u->rate == t->rate;
        }
        if (times > most || (times == most && t && t->rate < best)) {
            most = times;
            best = t->rate;
        }
    }
    return best;
}

/* A variant's spec, with more that is set. */
static const Graph *variant_graph(const StudyFile *f, int v, const char *const *more, int nmore)
{
    const VariantSpec *of = &f->of[v];
    const char **set = xalloc((size_t)(of->nset + nmore) * sizeof *set);
    int status;
    for (int i = 0; i < of->nset; i++)
        set[i] = of->set[i];
    for (int i = 0; i < nmore; i++)
        set[of->nset + i] = more[i];
    const Options one = {.spec = of->spec, .set = set, .nset = of->nset + nmore};
    return load_graph(&one, &status);
}

static const char *best_text(const Graph *g, const Analysis *a, int v)
{
    return xprintf("# Written by convoy where: '%s', the rate that validation picked most often.\n%s",
                   a->s->variant[v].name, spec_text(g->spec));
}

/* ---- its weights ---- */

static const char *program_of(const StudyFile *f, const Options *o, const char *folder, int v)
{
    const Options spec = {.spec = f->of[v].spec, .set = f->of[v].set, .nset = f->of[v].nset},
                  one = {.out = xprintf("%s/build/%s", folder, f->study.variant[v].name)};
    int status, lock;
    const Plan *p = load_plan(&spec, o->target ? o->target : "native", false, &status);
    const char *path = p ? build_program(&one, p, NULL, &lock) : NULL;
    if (path)
        close(lock);
    return path;
}

static bool run(char *const argv[], const char *what, Buf *said)
{
    if (process_run(argv, said) == 0)
        return true;
    fprintf(stderr, "convoy: %s failed:\n%s", what, said->text ? said->text : "");
    return false;
}

/* Trains on the rows that a seed trains with and picks by, all together; the weights appear when they are whole. */
static bool train(const StudyFile *f, const Analysis *a, const char *program, double rate, const char *folder,
                  int threads)
{
    const char *set = xprintf("%s/best-rows.safetensors", folder), *made = xprintf("%s/best-now.safetensors", folder),
               *state = xprintf("%s/best-now.state.safetensors", folder), *data = study_set(f->data, f->data, folder);
    Pool *p = data ? pool_open(data, &f->take) : NULL;
    if (!p || !pool_whole(p, set))
        return false;
    char *argv[] = {xstrdup(program),
                    xstrdup("train"),
                    xprintf("--data=%s", set),
                    xstrdup("--seed=1"),
                    xprintf("--lr=%s", real_text(rate)),
                    xprintf("--epochs=%d", a->s->epochs),
                    xprintf("--save=%s", made),
                    xprintf("--threads=%d", threads),
                    xstrdup("--no-eval"),
                    xstrdup("--quiet"),
                    study_holds_out() ? xstrdup("--valid=0") : NULL,
                    NULL};
    Buf said = {0};
    bool ok = run(argv, "the training of the network to keep", &said);
    pool_close(p);
    if (ok && rename(made, xprintf("%s/best.safetensors", folder)) != 0) {
        cvy_error(NULL, "cannot rename '%s'", made);
        ok = false;
    }
    const char *const left[] = {set, made, state, xprintf("%s.lock", made), xprintf("%s.lock", state)};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        unlink(left[i]);
    return ok;
}

/* Whether the file holds that text. */
static bool holds(const char *path, const char *text)
{
    size_t n;
    const char *old = access(path, R_OK) == 0 ? file_read(path, 1 << 20, &n) : NULL;
    return old && n == strlen(text) && memcmp(old, text, n) == 0;
}

/* ---- cost ---- */

/* Milliseconds of processor time of a step, or of inference of a batch, on one thread. Below 0 after a message. */
static double bench(const char *program, const char *what)
{
    char *argv[] = {xstrdup(program),
                    xstrdup("bench"),
                    xprintf("--what=%s", what),
                    xstrdup("--seconds=" COST_SECONDS),
                    xstrdup("--threads=1"),
                    xstrdup("--json"),
                    NULL};
    Buf said = {0};
    if (!run(argv, "bench", &said))
        return -1;
    json_t *o = json_loads(said.text, 0, NULL);
    const json_t *ms = json_object_get(o, "median_ms");
    const double v = json_is_number(ms) ? json_number_value(ms) : -1;
    json_decref(o);
    return v;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* One variant's time over the other's: quartiles of rounds in turn. */
typedef struct Ratio {
    double low, median, high;
} Ratio;

static bool time_pair(const char *a, const char *b, const char *what, Ratio *to)
{
    double ratio[COST_ROUNDS];
    for (int i = 0; i < COST_ROUNDS; i++) {
        const char *first = i % 2 ? b : a, *second = i % 2 ? a : b;
        const double x = bench(first, what), y = bench(second, what);
        if (x <= 0 || y <= 0)
            return false;
        ratio[i] = i % 2 ? x / y : y / x;
    }
    qsort(ratio, COST_ROUNDS, sizeof *ratio, by_value);
    *to = (Ratio){ratio[COST_ROUNDS / 4], ratio[COST_ROUNDS / 2], ratio[COST_ROUNDS - 1 - COST_ROUNDS / 4]};
    return true;
}

static const char *ratio_text(const Ratio *r)
{
    return xprintf("%.2f (quartiles %.2f, %.2f)", r->median, r->low, r->high);
}

/* 1: the second costs more, by more than 5 %, with every quartile on that side; -1: less; 0: no difference. */
static int dearer(const Ratio *r)
{
    return r->median > 1 + CHEAPER && r->low > 1 ? 1 : r->median < 1 / (1 + CHEAPER) && r->high < 1 ? -1 : 0;
}

static const char *cost_text(const Study *s, const Ratio *step, const Ratio *infer)
{
    const Pair p = s->pair[0];
    const char *a = s->variant[p.a].name, *b = s->variant[p.b].name;
    const int of_step = dearer(step), of_infer = dearer(infer);
    const char *says = !of_step && !of_infer ? "No difference in cost (5 % would be one)."
                                             : xprintf("%s is cheaper%s.", of_step + of_infer > 0 ? a : b,
                                                       of_step && of_infer ? ""
                                                       : of_step           ? " to train"
                                                                           : " to use");
    if (of_step * of_infer < 0)
        says = xprintf("%s is cheaper to train, %s to use.", of_step > 0 ? a : b, of_step > 0 ? b : a);
    return xprintf("Time of %s over that of %s, one thread, %d turns: a training step %s, inference %s. %s", b, a,
                   COST_ROUNDS, ratio_text(step), ratio_text(infer), says);
}

/* ---- what is said ---- */

static const char *keep_text(const Analysis *a, int v, double rate, const char *folder)
{
    const Study *s = a->s;
    return xprintf("%s: %s, rate %s, %d epochs, seed 1, trained with %s: %s/best.yaml and "
                   "%s/best.safetensors. Expect %.1f %%, the rounds' mean.",
                   a->pair[0].verdict.better ? "The better one" : "Neither is better, so the first", s->variant[v].what,
                   real_text(rate), s->epochs, s->overlap > 0 ? "all folds" : "all rows but the test rows", folder,
                   folder, a->variant[v].mean);
}

static const char *command_text(const char *to, const char *network)
{
    const char *folder = shell_word(to);
    return xprintf("convoy predict %s/best.yaml --weights %s/best.safetensors IMAGE...\n"
                   "convoy export %s/best.yaml --weights %s/best.safetensors -o %s-c  # C that needs libc alone\n"
                   "convoy twin %s/best.yaml -o %s.py  # the whole network as a PyTorch module\n",
                   folder, folder, folder, folder, network, folder, network);
}

static const char *advice_text(const Advice *x)
{
    Buf b = {0};
    buf_printf(&b, "# i, o: channels in and out; s: the stride\n# PyTorch\ndef block(i, o, s): return %s\n", x->torch);
    if (x->fastai)
        buf_printf(&b, "# fastai: beta begins at 1e-3, above at 0\ndef block(i, o, s): return %s\n", x->fastai);
    if (x->keras)
        buf_printf(&b, "# Keras\ndef block(i, o, s): return %s\n", x->keras);
    return b.text;
}

static void print_part(const PagePart *part)
{
    printf("\n%s\n", part->title);
    if (part->lines) {
        printf("%s", part->text);
        return;
    }
    Buf said = {0};
    term_wrap(&said, part->text, 0, term_columns(stdout, TERM_USUAL));
    printf("%s\n", said.text);
}

bool where_best(const StudyFile *f, const Options *o, const char *folder, int at_once)
{
    const char *csv = xprintf("%s/runs.csv", folder), *yaml = xprintf("%s/best.yaml", folder);
    const Study *s = study_read(csv);
    const Analysis *a = s ? analyse(s) : NULL;
    if (diag_flush(stderr) || !a)
        return false;
    if (a->interim || a->rounds.n < 3)
        return true;
    const int v = kept(a);
    const double rate = usual_rate(a, v);
    const char *more[] = {xprintf("train.lr=%s", real_text(rate)), xprintf("train.epochs=%d", s->epochs)};
    const Graph *g = variant_graph(f, v, more, 2);
    const char *first = program_of(f, o, folder, s->pair[0].a), *second = program_of(f, o, folder, s->pair[0].b);
    if (!g || !first || !second)
        return false;
    const char *text = best_text(g, a, v);
    if (!holds(yaml, text) || access(xprintf("%s/best.safetensors", folder), R_OK) != 0) {
        unlink(yaml); /* until there are weights for it */
        if (!train(f, a, v == s->pair[0].a ? first : second, rate, folder, at_once) ||
            !file_write(yaml, text, strlen(text)))
            return false;
    }
    Ratio step, infer;
    if (!time_pair(first, second, "train", &step) || !time_pair(first, second, "infer", &infer))
        return false;
    const Advice block = advice(g);
    const PagePart part[] = {
        {"The network to keep", keep_text(a, v, rate, folder), false},
        {"To use it", command_text(folder, g->spec->name), true},
        {"Cost", cost_text(s, &step, &infer), false},
        {xprintf("%s in other libraries", block.layer ? block.layer : ""), block.layer ? advice_text(&block) : "",
         true},
    };
    const int nparts = block.layer ? 4 : 3;
    for (int i = 0; i < nparts && !o->json; i++)
        print_part(&part[i]);
    const char *html = report_html(a, part, nparts);
    return file_write(o->html ? o->html : study_page(csv), html, strlen(html));
}
