/* diff.c - `convoy diff`: two networks, or one under two settings, or two emitted folders, and what differs.
 *
 * Exit status as diff has it: 0 the same, 1 different, 2 trouble. */
#include "commands.h"
#include "diff.h"
#include "emit.h"
#include "read.h"
#include "term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAME = 0, DIFFERENT = 1, TROUBLE = 2 };

/* How one side is asked for. */
typedef struct Setting {
    Options o;
    const char *label;
    bool fold;
} Setting;

static int usage(const char *what, const char *hint)
{
    fprintf(stderr, "convoy diff: %s\n%s", what, hint ? xprintf("  hint: %s\n", hint) : "");
    return TROUBLE;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void add_set(Setting *s, const char *assignment)
{
    const char **all = NULL;
    int n = 0;

    for (int i = 0; i < s->o.nset; i++)
        *PUSH(all, n) = s->o.set[i];
    *PUSH(all, n) = assignment;
    s->o.set = all;
    s->o.nset = n;
}

/* ---- the two sides' settings ---- */

/* "off,on", or one word for both. */
static bool read_fold(const char *text, Setting *a, Setting *b)
{
    static const char *const words[] = {"on", "off", "on,off", "off,on", NULL};
    int i = 0;

    while (words[i] && strcmp(words[i], text) != 0)
        i++;
    if (!words[i]) {
        fprintf(stderr, "convoy diff: unknown value '%.60s' of --fold\n  hint: %s\n", text,
                diag_choices(text, words, NULL));
        return false;
    }
    a->fold = strncmp(text, "on", 2) == 0;
    b->fold = strcmp(strchr(text, ',') ? strchr(text, ',') + 1 : text, "on") == 0;
    return true;
}

static void make_label(Setting *s, int common)
{
    Buf b = {0};

    buf_puts(&b, s->o.spec);
    for (int i = common; i < s->o.nset; i++)
        buf_printf(&b, "%s%s", i > common ? ", " : ": ", s->o.set[i]);
    s->label = b.text;
}

/* What A and B are. False and a message where the command line does not say it. */
static bool read_settings(const Options *o, Setting *a, Setting *b)
{
    const bool one = !o->spec2;
    const bool two_folds = o->fold && strchr(o->fold, ',');

    a->o = b->o = *o;
    a->o.dump = b->o.dump = NULL;
    a->fold = b->fold = true;
    if (o->norder > 2)
        return !usage("--order can be given twice at most", NULL);
    if (o->fold && !read_fold(o->fold, a, b))
        return false;
    if (!one) {
        b->o.spec = o->spec2;
        if (o->norder)
            return !usage("--order goes with one SPEC, which it changes", "--set order=... changes both");
    } else if (!o->norder && !o->nset && !two_folds) {
        return !usage("there is nothing to compare it with",
                      "a second SPEC; --set KEY=VALUE; --order A --order B; --fold off,on");
    } else if (!o->norder && !two_folds) {
        a->o.nset = 0; /* as it is, and with what --set says */
    }
    const int common = one && !o->norder && !two_folds ? 0 : o->nset;
    for (int i = 0; i < o->norder; i++)
        add_set(o->norder == 2 && i == 0 ? a : b, xprintf("order=%s", o->order[i]));
    make_label(a, one ? common : 0);
    make_label(b, one ? common : 0);
    if (a->fold != b->fold || !a->fold) {
        a->label = xprintf("%s, folding %s", a->label, a->fold ? "on" : "off");
        b->label = xprintf("%s, folding %s", b->label, b->fold ? "on" : "off");
    }
    return true;
}

/* ---- the two sides ---- */

static bool load_side(const Setting *s, DiffSide *side)
{
    int status;

    side->path = s->o.spec;
    side->label = s->label;
    side->g = load_graph(&s->o, &status);
    side->source = diag_source_now();
    if (side->g)
        side->text = spec_text(side->g->spec);
    return side->g != NULL;
}

static bool plan_side(const Setting *s, const Target *t, const Graph *g, DiffSide *side)
{
    diag_source(side->source);
    side->p = plan_build_as(g, t, s->fold, false);
    if (side->p)
        (void)emit_fits(side->p, PART_ALL);
    return !diag_flush(stderr) && side->p;
}

static bool load_networks(const Setting *a, const Setting *b, Diff *d)
{
    const char *name = a->o.target ? a->o.target : "native";
    const Target *t = target_find(name);

    if (!load_side(a, &d->a) || !load_side(b, &d->b))
        return false;
    diff_align(d);
    diff_front(d);
    if (!plan_side(a, t, d->a.g, &d->a) || !plan_side(b, t, d->renamed, &d->b))
        return false;
    emit_network(d->a.p, PART_ALL, &d->a.out);
    emit_network(d->b.p, PART_ALL, &d->b.out);
    return true;
}

/* ---- folders ---- */

/* NAME.yaml of a folder, which is taken out of `out`: the other files are what is compared. NULL: it has none. */
static const char *take_spec(OutDir *out, const char **name)
{
    for (int i = 0; i < out->n; i++) {
        const char *f = out->file[i].name, *dot = strrchr(f, '.');
        if (!dot || strcmp(dot, ".yaml") != 0 || strchr(f, '/'))
            continue;
        const char *text = out->file[i].text;
        *name = f;
        memmove(&out->file[i], &out->file[i + 1], sizeof out->file[0] * (size_t)(--out->n - i));
        return text;
    }
    return NULL;
}

/* The word after `option` in the line that tells how a folder is made; NULL: it is not there. */
static const char *told(const char *text, const char *option)
{
    const char *line = strstr(text, "\n# convoy gen "), *end = line ? strchr(line + 1, '\n') : NULL,
               *at = line ? strstr(line, option) : NULL;

    if (!at || !end || at > end)
        return NULL;
    at += strlen(option);
    return xstrndup(at, strcspn(at, " \n"));
}

/* How a folder's network is planned again. False: it cannot be, and nothing is said. */
static bool folder_setting(const Options *o, const char *dir, OutDir *out, Setting *s)
{
    const char *name, *text = take_spec(out, &name), *purpose = text ? told(text, " --for ") : NULL,
                      *fold = text ? told(text, " --fold ") : NULL;

    if (!text || (purpose && strcmp(purpose, "reading") == 0))
        return false;
    *s = (Setting){.o = *o, .label = dir, .fold = !fold || strcmp(fold, "off") != 0};
    s->o.spec = xprintf("%s/%s", dir, name);
    s->o.purpose = purpose;
    s->o.target = told(text, " --target ");
    s->o.fold = NULL;
    return s->o.target && target_find(s->o.target);
}

/* The files as they are, and, where both folders have the spec that they were emitted from, all that the specs tell. */
static bool load_folders(const Options *o, Diff *d)
{
    Setting a, b;

    d->a.path = d->a.label = o->spec;
    d->b.path = d->b.label = o->spec2;
    if (!outdir_read(&d->a.out, o->spec) || !outdir_read(&d->b.out, o->spec2))
        return false;
    const bool planned = folder_setting(o, o->spec, &d->a.out, &a), too = folder_setting(o, o->spec2, &d->b.out, &b);
    if (!planned || !too) {
        diff_folders(d);
        return true;
    }
    if (!load_side(&a, &d->a) || !load_side(&b, &d->b))
        return false;
    diff_align(d);
    diff_front(d);
    if (!plan_side(&a, target_find(a.o.target), d->a.g, &d->a) ||
        !plan_side(&b, target_find(b.o.target), d->renamed, &d->b))
        return false;
    d->a.path = o->spec, d->b.path = o->spec2;
    diff_levels(d);
    diff_recognise(d);
    for (int i = 0; i < 2; i++) {
        const DiffSide *side = i ? &d->b : &d->a;
        const Spec *s = side->g->spec;
        if (!diff_emitted_from(&side->out, emit_spec_hash(s)))
            *PUSH(d->note, d->nnote) =
                xprintf("The files of %s were emitted from another spec than its %s.yaml: only the C is what is there.",
                        side->label, s->name);
    }
    return true;
}

/* ---- what is shown ---- */

static int read_levels(const char *text)
{
    int bits = 0;

    if (!text)
        return (1 << LEVELS) - 1;
    for (const char *at = text;;) {
        const size_t n = strcspn(at, ",");
        const char *word = xstrndup(at, n);
        int l = 0;
        while (l < LEVELS && strcmp(level_names[l], word) != 0)
            l++;
        if (l == LEVELS) {
            fprintf(stderr, "convoy diff: unknown level '%.60s'\n  hint: %s\n", word,
                    diag_choices(word, level_names, NULL));
            return 0;
        }
        bits |= 1 << l;
        if (!at[n])
            return bits;
        at += n + 1;
    }
}

static bool show(const Options *o, const Diff *d, const DiffView *v)
{
    if (o->html) {
        Buf page = {0};
        diff_html(d, &page);
        if (!file_write(o->html, page.text, page.len))
            return false;
        printf("wrote %s\n", o->html);
        return true;
    }
    if (o->json) {
        if (!diff_json(d, stdout)) {
            fputs("convoy: out of memory\n", stderr);
            return false;
        }
        return true;
    }
    diff_print(d, v, stdout);
    return true;
}

int cmd_diff(const Options *o)
{
    Setting a, b;
    Diff diff = {0}, *d = &diff;
    const DiffView view = {.stat = o->stat, .colour = term_colour(stdout), .levels = read_levels(o->level)};
    const bool folders = is_folder(o->spec) && is_folder(o->spec2);

    if (!view.levels)
        return TROUBLE;
    if (!folders && (is_folder(o->spec) || is_folder(o->spec2)))
        return usage("a folder can be compared with a folder alone",
                     "give two specs, or two folders that convoy wrote");
    if (folders && (o->nset || o->norder || o->fold || o->target || o->compile || o->measure))
        return usage("two folders are compared as they are",
                     "--level, --stat, --json, --html and --color go with them");
    if (folders) {
        if (!load_folders(o, d))
            return TROUBLE;
    } else {
        if (!read_settings(o, &a, &b) || !load_networks(&a, &b, d))
            return TROUBLE;
        diff_levels(d);
        diff_recognise(d);
    }
    if ((o->compile || o->measure) && !diff_measure(d, o->compile, o->measure))
        return TROUBLE;
    for (int l = 0; l < LEVELS; l++)
        d->level[l].there = d->level[l].there && (view.levels & 1 << l);
    if (!show(o, d, &view) || fflush(stdout) != 0 || ferror(stdout))
        return TROUBLE;
    return diff_same(d) ? SAME : DIFFERENT;
}
