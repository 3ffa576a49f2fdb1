/* plan_study.c - STUDY.yaml, and which trainings are left.
 *
 * needs: the file; or a Study.  sets: a StudyFile; the list of trainings, a function of the Study alone. */
#include "plan_study.h"
#include "analyse.h"
#include "read.h"

#include <math.h>
#include <string.h>

/* ---- the file ---- */

static const KeyInfo study_keys[] = {
    {.name = "name", .type = KEY_DEF, .help = "the study's name"},
    {.name = "spec", .type = KEY_DEF, .help = "the base spec"},
    {.name = "data", .type = KEY_DEF, .help = "a set, or what convoy data reads"},
    {.name = "variants", .type = KEY_DEF, .help = "by name: what each sets in the spec"},
    {.name = "primary", .type = KEY_DEF, .help = "the pair that is named before: [a, b]"},
    {.name = "compare", .type = KEY_DEF, .help = "other pairs"},
    {.name = "null", .type = KEY_DEF, .help = "pairs that are one function"},
    {.name = "positive", .type = KEY_DEF, .help = "pairs whose second must be better"},
    {.name = "margin", .type = KEY_REAL, .lo = 1e-6, .hi = 100, .help = "what matters, in points"},
    {.name = "seeds", .type = KEY_INT, .lo = 3, .hi = 10000, .help = "counted ones"},
    {.name = "screen", .type = KEY_INT, .lo = 1, .hi = 20, .help = "seeds that find the rates"},
    {.name = "long", .type = KEY_INT, .lo = 0, .hi = 10000, .help = "seeds of the primary pair at twice the epochs"},
    {.name = "epochs", .type = KEY_INT, .lo = 1, .hi = 100000, .help = "of each training"},
    {.name = "rate", .type = KEY_REAL, .lo = 1e-9, .hi = 1e3, .help = "the middle of the grid"},
    {.name = "factor", .type = KEY_REAL, .lo = 1.1, .hi = 10, .help = "from one rate to the next"},
    {.name = "rows",
     .type = KEY_INT,
     .lo = 1,
     .hi = 2147483647,
     .help = "at most so many to train with and to pick by"},
    {.name = "test_rows", .type = KEY_INT, .lo = 1, .hi = 2147483647, .help = "at most so many to test"},
    {.name = "pick_rows",
     .type = KEY_INT,
     .lo = 0,
     .hi = 2147483647,
     .help = "of the rows that are left out, so many to pick by, too"},
    {.name = "folds",
     .type = KEY_INT,
     .lo = 2,
     .hi = 20,
     .help = "all rows are dealt into so many; each seed tests with one"},
    {.name = "valid", .type = KEY_REAL, .lo = .01, .hi = .9, .help = "the share of them to pick by"},
    {0},
};

static const char *beside(const char *file, const char *path)
{
    const char *slash = strrchr(file, '/');
    return *path == '/' || !slash ? path : xprintf("%.*s/%s", (int)(slash - file), file, path);
}

/* A text that must be there. */
static const char *text_of(const Node *map, const char *key, const char *hint)
{
    const Node *n = keys_get(map, key);
    if (!n)
        diag_error(map->mark, hint, "'%s' is missing", key);
    else if (n->kind != NODE_SCALAR || !*n->text)
        diag_error(n->mark, hint, "'%s' must be a word", key);
    else
        return n->text;
    return NULL;
}

static int variant_of(const Study *s, const Node *n)
{
    const char *names[65] = {NULL};
    for (int i = 0; i < s->nvariant; i++) {
        names[i] = s->variant[i].name;
        if (n->kind == NODE_SCALAR && strcmp(names[i], n->text) == 0)
            return i;
    }
    diag_error(n->mark, diag_choices(n->text, names, NULL), "no variant is called '%.60s'",
               n->kind == NODE_SCALAR ? n->text : "");
    return -1;
}

static bool read_pair(Study *s, const Node *n, PairKind kind)
{
    if (n->kind != NODE_SEQ || n->n != 2) {
        diag_error(n->mark, "[before, after]", "a pair must be a list of two variants");
        return false;
    }
    const int a = variant_of(s, n->item[0]), b = variant_of(s, n->item[1]);
    if (a < 0 || b < 0)
        return false;
    if (a == b) {
        diag_error(n->mark, NULL, "a variant cannot be compared with itself: that is byte-equal");
        return false;
    }
    for (int i = 0; i < s->npair; i++)
        if (s->pair[i].a == a && s->pair[i].b == b) {
            diag_error(n->mark, NULL, "this pair was named before");
            return false;
        }
    *PUSH(s->pair, s->npair) = (Pair){a, b, kind};
    return true;
}

static bool read_pairs(Study *s, const Node *map)
{
    const Node *primary = keys_get(map, pair_words[PAIR_PRIMARY]);
    if (!primary) {
        diag_error(map->mark, "primary: [before, after]",
                   "the primary pair is missing: it must be named before anything is trained");
        return false;
    }
    bool ok = read_pair(s, primary, PAIR_PRIMARY);
    for (PairKind kind = PAIR_OTHER; kind < PAIR_KINDS; kind++) {
        const Node *list = keys_get(map, pair_words[kind]);
        if (!list)
            continue;
        if (list->kind != NODE_SEQ) {
            diag_error(list->mark, "[[before, after]]", "'%s' must be a list of pairs", pair_words[kind]);
            return false;
        }
        for (int i = 0; i < list->n; i++)
            ok = read_pair(s, list->item[i], kind) && ok;
    }
    return ok;
}

/* A variant's map as --set has it, but for `spec`, which stands for the study's. The values keep their spelling in
 * YAML. */
static bool read_variant(StudyFile *f, const char *path, const char *spec, const Node *key, const Node *map)
{
    Study *s = &f->study;
    VariantSpec of = {.spec = spec};
    Buf what = {0};
    buf_puts(&what, "");
    if (!study_name_ok(key->text)) {
        diag_error(key->mark, "letters, digits, _ . + -, 40 at the most", "no name of a variant: '%.60s'", key->text);
        return false;
    }
    if (map->kind != NODE_MAP && !text_is_null(map)) {
        diag_error(map->mark, "{order: conv-act-bn}", "a variant must be a map of what it sets in the spec");
        return false;
    }
    for (int i = 0; map->kind == NODE_MAP && i < map->n; i++) {
        const char *text = xprintf("%s=%s", map->key[i]->text, node_text(map->item[i]));
        buf_printf(&what, "%s%s", i ? ", " : "", text);
        if (strcmp(map->key[i]->text, "spec") != 0) {
            *PUSH(of.set, of.nset) = text;
            continue;
        }
        if (map->item[i]->kind != NODE_SCALAR || !*map->item[i]->text) {
            diag_error(map->item[i]->mark, "spec: ../fashion.yaml", "'spec' must be a word");
            return false;
        }
        of.spec = beside(path, map->item[i]->text);
    }
    int n = s->nvariant;
    *PUSH(f->of, n) = of;
    *PUSH(s->variant, s->nvariant) = (Variant){key->text, what.text};
    return true;
}

static bool read_variants(StudyFile *f, const char *path, const char *spec, const Node *map)
{
    const Node *v = keys_get(map, "variants");
    bool ok = true;
    if (!v || v->kind != NODE_MAP || v->n < 2 || v->n > 64) {
        diag_error(v ? v->mark : map->mark, "variants: {before: {order: conv-bn-act}, after: {order: conv-act-bn}}",
                   "'variants' must be a map of two to 64 variants");
        return false;
    }
    for (int i = 0; i < v->n; i++)
        ok = read_variant(f, path, spec, v->key[i], v->item[i]) && ok;
    return ok;
}

static void read_numbers(StudyFile *f, const Node *map)
{
    Study *s = &f->study;
    const char *of = "the study";
    key_real(study_keys, map, of, "margin", &s->margin);
    key_int(study_keys, map, of, "seeds", &s->seeds);
    key_int(study_keys, map, of, "screen", &s->screens);
    key_int(study_keys, map, of, "long", &s->longer);
    key_int(study_keys, map, of, "epochs", &s->epochs);
    key_real(study_keys, map, of, "rate", &s->rate);
    key_real(study_keys, map, of, "factor", &s->factor);
    key_int(study_keys, map, of, "rows", &f->take.rows);
    key_int(study_keys, map, of, "test_rows", &f->take.test_rows);
    key_int(study_keys, map, of, "pick_rows", &f->take.pick_rows);
    key_int(study_keys, map, of, "folds", &f->take.folds);
    key_real(study_keys, map, of, "valid", &f->valid);
}

StudyFile *study_file_read(const char *path)
{
    Source *source = xalloc(sizeof *source);
    const Node *tree = yaml_read(path, source);
    StudyFile *f = xalloc(sizeof *f);
    if (!tree || !keys_check(tree, "a study", study_keys))
        return NULL;
    *f = (StudyFile){.valid = .2, .study = {.margin = .5, .seeds = 10, .screens = 2, .factor = 2}};
    f->study.network = f->study.data = f->study.target = f->study.fingerprint = f->study.score = "";
    const char *spec = text_of(tree, "spec", "spec: ../fashion.yaml"),
               *data = text_of(tree, "data", "data: images.safetensors");
    f->study.name = text_of(tree, "name", "name: before-or-after");
    if (f->study.name && !study_name_ok(f->study.name))
        diag_error(keys_get(tree, "name")->mark, "letters, digits, _ . + -, 40 at the most", "no name of a study");
    read_numbers(f, tree);
    if (read_variants(f, path, spec ? beside(path, spec) : NULL, tree))
        read_pairs(&f->study, tree);
    if (diag_errors())
        return NULL;
    f->data = beside(path, data);
    f->study.data = data;
    return f;
}

/* ---- what is left ---- */

/* The first seed of a role; screening ones are not counted, so they are others. */
static int64_t first_seed(const Study *s, Role role)
{
    return role == ROLE_SCREEN ? 1 : 1 + s->screens;
}

static int role_seeds(const Study *s, Role role)
{
    return role == ROLE_SCREEN ? s->screens : role == ROLE_COUNT ? seeds_planned(s) : s->longer;
}

int job_round(const Study *s, const Job *j)
{
    return (int)(j->seed - first_seed(s, j->role));
}

double job_rate(const Study *s, const Job *j)
{
    return grid_rate(s, j->power);
}

int job_epochs(const Study *s, const Job *j)
{
    return s->epochs * (j->role == ROLE_LONG ? 2 : 1);
}

static bool is_done(const Study *s, const Job *j)
{
    const double rate = job_rate(s, j);
    for (int i = 0; i < s->nrun; i++) {
        const Training *t = &s->run[i];
        if (t->variant == j->variant && t->role == j->role && t->seed == j->seed && fabs(t->rate - rate) <= 1e-6 * rate)
            return true;
    }
    return false;
}

static void want(const Study *s, Job j, Job **list, int *n)
{
    if (!is_done(s, &j))
        *PUSH(*list, *n) = j;
}

/* A variant's screen as far as it has grown: true where it is whole and need not grow. */
static bool screen_jobs(const Study *s, int variant, Job **list, int *n)
{
    const int before = *n;
    int lo = -(SCREEN_RATES / 2), hi = SCREEN_RATES / 2, more = 1, edge;
    while (more) {
        for (int64_t seed = 1; seed <= s->screens; seed++)
            for (int p = lo; p <= hi; p++)
                want(s, (Job){variant, p, ROLE_SCREEN, seed}, list, n);
        if (*n > before)
            return false;
        screen_centre(s, variant, &more, &edge);
        lo -= more < 0;
        hi += more > 0;
        if (hi - lo > SCREEN_RATES + 2 * MOST_EXTENDED)
            BUG("a screen that does not end");
    }
    return true;
}

static void round_jobs(const Study *s, Role role, Job **list, int *n)
{
    for (int i = 0; i < role_seeds(s, role); i++)
        for (int v = 0; v < s->nvariant; v++) {
            int more, edge;
            if (role == ROLE_LONG && v != s->pair[0].a && v != s->pair[0].b)
                continue;
            const int centre = screen_centre(s, v, &more, &edge);
            for (int p = centre - 1; p <= centre + 1; p++)
                want(s, (Job){v, p, role, first_seed(s, role) + i}, list, n);
        }
}

Job *jobs_left(const Study *s, int *n, int *ready)
{
    Job *list = NULL;
    bool screened = true;
    *n = 0;
    for (int v = 0; v < s->nvariant; v++)
        screened = screen_jobs(s, v, &list, n) && screened;
    *ready = *n;
    round_jobs(s, ROLE_COUNT, &list, n);
    round_jobs(s, ROLE_LONG, &list, n);
    if (screened)
        *ready = *n;
    return list;
}
