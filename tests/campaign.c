/* campaign.c - random chains and graphs, and chosen ones, emitted, compiled, run, and compared with the reference
 * interpreter. Prints its seed and counts; makes a failing random spec smaller until nothing more can go. `campaign
 * --help` says the rest. */
#include "campaign.h"

#include "read.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool for_reading(const Options *o)
{
    return o->purpose && strcmp(o->purpose, "reading") == 0;
}

static void usage(FILE *to)
{
    fputs("usage: campaign [options] [random|graphs|sequences|specs|exact|matrix|all]\n"
          "\n"
          "  random  (default) random chains against the reference interpreter\n"
          "  graphs  random graphs: residual blocks, concats, groups in groups\n"
          "  sequences  random chains with recurrent layers\n"
          "  specs   random chains, graphs and sequences through the front end alone\n"
          "  exact   chosen ones: integers, constant channels, mean/sd = 1e4, short batches, arrangements of blocks\n"
          "  matrix  chosen ones (six, or --count) by compilers, optimisation, sanitizers, OpenMP and targets\n"
          "\n"
          "  --convoy PATH     the generator to test (default: convoy)\n"
          "  --count N         random chains, or graphs (default: 40)\n"
          "  --seed S          of the first; the others follow it (default: 1)\n"
          "  --jobs N          at a time (default: 2)\n"
          "  --cc \"CC FLAGS\"   the compiler for emitted code (default: one of five cases with gcc -O1, the "
          "others, and all with --short, with clang -O0)\n"
          "  --target T        native, avx512, avx2, portable (default: native; for reading: portable)\n"
          "  --for F           what the code is emitted for: speed, size, reading (default: speed)\n"
          "  --tries N         at making a failing one smaller (default: 160)\n"
          "  --only TEXT       of exact and matrix, those whose name holds TEXT\n"
          "  --first           end at the first failure\n"
          "  --short           of exact, those that no other one stands for\n"
          "  --keep DIR        keep every case's files in DIR; else they go, but for a failure's\n"
          "  --spec FILE       one spec instead of random ones; --n N images, --fill "
          "plain|integer|constant|outlier|nan|offset|far\n"
          "  --print-spec S    print the random chain of a seed and end\n"
          "  --print-graph S   the same of a graph\n"
          "  --print-sequence S  of a sequence\n",
          to);
}

/* ---- random chains ---- */

/* A case without numbers. Its own number chooses the compiler, and whether it runs with several threads, too. */
Case plain_case(const Options *o, uint64_t number, const char *dir)
{
    const Compiler *compiler = &o->compiler[number % (uint64_t)o->compilers];
    return (Case){.dir = dir,
                  .convoy = o->convoy,
                  .target = o->target,
                  .purpose = o->purpose,
                  .cc = compiler->cc,
                  .cflags = compiler->cflags,
                  .objects = compiler->objects,
                  .threads = number % 5 < 2,
                  .spec = xprintf("%s/spec.yaml", dir)};
}

/* The built folder of a tiny net, whose runtime the others take; NULL where it cannot be built, which the cases will
 * say. */
const char *shared_objects(const Options *o, const Case *like)
{
    static int number;
    const char *kept = getenv("CONVOY_RUNTIMES"), *dir = kept && *kept ? kept : xprintf("%s/runtimes", o->work);
    const char *log = xprintf("%s/runtime_%d", o->work, number++);
    const char *argv[] = {"sh",
                          BUILT_RUNTIME,
                          like->convoy,
                          dir,
                          like->target,
                          like->purpose ? like->purpose : "",
                          xprintf("CC=%s", like->cc),
                          xprintf("CFLAGS=%s", like->cflags),
                          like->env,
                          NULL};
    char path[PATH_MAX] = "";
    FILE *f = run_program(log, NULL, NULL, argv) == 0 ? fopen(log, "r") : NULL;
    bool read = f && fgets(path, sizeof path, f);
    path[strcspn(path, "\n")] = 0;
    if (f)
        fclose(f);
    return read ? realpath(path, NULL) : NULL;
}

/* Builds the runtime for each compiler. */
static void share_objects(Options *o)
{
    for (int i = 0; i < o->compilers; i++) {
        Compiler *mine = &o->compiler[i];
        for (int k = 0; k < i && !mine->objects; k++)
            if (strcmp(mine->cc, o->compiler[k].cc) == 0 && strcmp(mine->cflags, o->compiler[k].cflags) == 0)
                mine->objects = o->compiler[k].objects;
        if (!mine->objects) {
            Case like = plain_case(o, (uint64_t)i, o->work);
            mine->objects = shared_objects(o, &like);
        }
    }
}

/* Integers must come out exactly, constant channels without noise, and NaN where it belongs: not by Winograd. Else in
 * turn. */
const char *winograd_for(Fill fill, uint64_t number)
{
    static const char *const use[] = {"on", "auto", "off"};
    return fill == FILL_PLAIN ? use[number % 3] : "off";
}

/* Whether a conv of kernel 1 and a norm stand in front of all else: where the fill is an offset, and the norm sees more
 * than one pixel. */
static bool begins_with_norm(const RandSpec *s, Fill fill)
{
    return fill == FILL_OFFSET && !s->tokens && s->input[1] * s->input[2] > 1;
}

/* In a sixth of the cases: layers that are frozen, the first ones or any; never all with weights. */
static const char *frozen(const char *text, uint64_t seed)
{
    Rng r = {seed ^ 0x66726f7au};
    Node *tree = yaml_parse(text, strlen(text), (Mark){1, 1, 1});
    Spec *s = tree ? spec_read(tree) : NULL;
    Graph *g = s ? graph_build(s) : NULL;
    Buf b = {0};

    diag_drop();
    const bool first = rng_chance(&r, 0.5);
    const int layers = g ? s->nlayer : 0, until = g ? rng_int(&r, 1, layers) : 0;
    bool *pick = xalloc((size_t)layers + 1);
    int left = 0, last = 0;
    for (int i = 0; i < layers; i++) {
        bool has = false;
        for (int k = 0; k < g->nop; k++)
            has |= g->op[k].layer_index == i && op_info[g->op[k].kind].param;
        pick[i] = has && (first ? i < until : rng_chance(&r, 0.4));
        left += has && !pick[i];
        last = pick[i] ? i : last;
    }
    pick[last] &= left > 0;
    for (int i = 0; i < layers; i++)
        if (pick[i])
            buf_printf(&b, "%s%s", b.len ? ", " : "", s->layer[i].name);
    return b.len ? xprintf(", freeze: [%s]", b.text) : "";
}

static void print_case(const RandSpec *s, const Case *c, uint64_t seed, FILE *f)
{
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);

    if (!memory)
        return;
    rs_print(s, memory);
    if (fclose(memory) != 0 || !text)
        return;
    char *layers = strstr(text, "\nlayers:\n");
    const int head = layers ? (int)(layers - text) + (int)strlen("\nlayers:\n") : 0;
    const bool values = c->fill == FILL_PLAIN && seed % 12 == 4; /* it learns numbers, by their squares */
    char *classes = strstr(text, "classes:");
    if (values && classes)
        memcpy(classes, "outputs:", strlen("outputs:"));
    fprintf(f, "%.*s", head, text);
    if (begins_with_norm(s, c->fill))
        fprintf(f, "  - conv: {name: offset, out: %d, kernel: 1, order: conv-bn}\n", s->input[0]);
    char *end = strrchr(text, '}');
    *end = '\0';
    fprintf(f, "%s%s%s}\nwinograd: %s\n", text + head, values ? ", loss: mse" : "",
            c->fill == FILL_PLAIN && seed % 6 == 1 ? frozen(xprintf("%s}\n", text), seed) : "",
            winograd_for(c->fill, seed / 6));
    free(text);
}

/* Whether a recurrent layer returns the largest step. Far from zero its units saturate: steps then differ by less than
 * float32's exp can tell, and which was taken the trace does not say. */
static bool returns_largest(const RandSpec *s)
{
    for (int i = 0; i < s->nlayer; i++)
        for (int k = 0; k < s->layer[i].nstage; k++)
            if (op_is_recurrent(s->layer[i].stage[k].op) && s->layer[i].stage[k].arg[ARG_RETURN].count == RETURN_MAX)
                return true;
    return false;
}

static Case random_case(const Options *o, const char *dir, const RandSpec *s, uint64_t seed)
{
    static const Fill fills[] = {FILL_PLAIN, FILL_PLAIN, FILL_PLAIN, FILL_INTEGER, FILL_PLAIN, FILL_INTEGER};
    Case c = plain_case(o, seed, dir);
    c.seed = seed;
    c.n = s->n;
    c.batch = s->batch;
    c.n_predict = s->n_predict;
    c.fill = seed % 24 == 20  ? FILL_OUTLIER
             : seed % 24 == 8 ? FILL_OFFSET
             : seed % 12 == 2 ? FILL_NAN
                              : fills[seed % 6];
    if ((c.fill == FILL_OUTLIER || c.fill == FILL_OFFSET) && returns_largest(s))
        c.fill = FILL_PLAIN;
    c.again = seed % 4 == 0;
    fresh_folder(dir);
    FILE *f = fopen(c.spec, "w");
    if (f)
        print_case(s, &c, seed, f);
    if (!f || ferror(f) || fclose(f) != 0) {
        fprintf(stderr, "campaign: %s: %s\n", c.spec, strerror(errno));
        exit(2);
    }
    return c;
}

/* A kind of random specs. */
typedef struct Kind {
    const char *name;
    RandSpec (*make)(uint64_t seed);
} Kind;
static const Kind chains = {"random", rs_random}, graphs = {"graphs", rs_graph}, sequences = {"sequences", rs_sequence};

/* Makes a failing spec smaller while it fails in the same way. */
static void shrink(const Options *o, const Kind *kind, uint64_t seed, Verdict v)
{
    char *dir = xprintf("%s/small_%s_%" PRIu64, o->work, kind->name, seed);
    char *best = xprintf("%s/smallest_%s_%" PRIu64, o->work, kind->name, seed);
    RandSpec s = kind->make(seed);
    Shape end;
    int tries = 0;
    bool any = true;
    for (int move = 0; any && tries < o->tries;) {
        RandSpec t = rs_shrink(&s, move++, &any);
        if (!any || memcmp(&t, &s, sizeof s) == 0 || !rs_valid(&t, &end))
            continue;
        Case c = random_case(o, dir, &t, seed);
        Slot slot = start_case(&c, 0);
        Verdict w = finish_case(&slot);
        tries++;
        if (w.outcome == v.outcome) {
            s = t;
            v = w;
            move = 0;
        }
    }
    remove_tree(dir);
    Case c = random_case(o, best, &s, seed);
    Slot slot = start_case(&c, 0);
    v = finish_case(&slot);
    printf("smallest after %d tries:\n", tries);
    say_failure(label_of(o, kind->name, seed, NULL), &c, &v);
    printf("  worst: %s\n", v.worst);
}

static bool random_specs(const Options *o, const Kind *kind)
{
    Case *c = calloc((size_t)o->count, sizeof *c);
    Verdict *v = calloc((size_t)o->count, sizeof *v);
    Label *label = calloc((size_t)o->count, sizeof *label);
    if (!c || !v || !label)
        return false;
    printf("%s: seeds %" PRIu64 " to %" PRIu64 ", target %s\n", kind->name, o->seed, o->seed + (uint64_t)o->count - 1,
           o->target);
    for (int i = 0; i < o->count; i++) {
        uint64_t seed = o->seed + (uint64_t)i;
        RandSpec s = kind->make(seed);
        c[i] = random_case(o, xprintf("%s/%s_%" PRIu64, o->work, kind->name, seed), &s, seed);
        label[i] = label_of(o, kind->name, seed, NULL);
    }
    Count k = all_cases(o, c, label, o->count, v);
    for (int i = 0, shown = 0; i < o->count && shown < 3 && o->tries > 0; i++)
        if (v[i].outcome != CASE_PASSED) {
            shown++;
            shrink(o, kind, o->seed + (uint64_t)i, v[i]);
        }
    return report_cases(kind->name, &k, true);
}

static bool random_chains(const Options *o)
{
    return random_specs(o, &chains);
}

static bool random_sequences(const Options *o)
{
    return random_specs(o, &sequences);
}

static bool random_graphs(const Options *o)
{
    return random_specs(o, &graphs);
}

/* Every random spec is accepted, with the shape and the stages that randspec computes. */
static bool specs_of(const Options *o, const Kind *kind)
{
    int failed = 0;
    char *dir = xprintf("%s/specs", o->work);
    for (int i = 0; i < o->count; i++) {
        uint64_t seed = o->seed + (uint64_t)i;
        RandSpec s = kind->make(seed);
        Shape end;
        rs_valid(&s, &end);
        RsCount count = rs_count(&s);
        Case c = random_case(o, dir, &s, seed);
        if (begins_with_norm(&s, c.fill))
            count.op[OP_CONV]++, count.op[OP_BN]++;
        if (!accepted(c.spec, &end, &count)) {
            printf("FAILED %s, seed %" PRIu64 ": refused, or with other shapes or stages\n", kind->name, seed);
            print_file(c.spec);
            failed++;
        }
    }
    printf("specs, %s: %d passed, %d failed\n", kind->name, o->count - failed, failed);
    return failed == 0;
}

static bool specs(const Options *o)
{
    bool ok = specs_of(o, &chains);
    ok = specs_of(o, &graphs) && ok;
    return specs_of(o, &sequences) && ok;
}

static bool one_spec(const Options *o)
{
    Case c = plain_case(o, o->seed, xprintf("%s/one", o->work));
    c.threads = true;
    c.spec = realpath(o->spec, NULL);
    if (!c.spec) {
        fprintf(stderr, "campaign: %s: %s\n", o->spec, strerror(errno));
        return false;
    }
    c.seed = o->seed;
    c.n = o->n;
    c.n_predict = 5;
    c.fill = o->fill;
    Label label = {xprintf("%s", o->spec), xprintf("%s --convoy %s --spec %s --seed %" PRIu64 " --n %d", o->self,
                                                   o->convoy, c.spec, o->seed, o->n)};
    fresh_folder(c.dir);
    Verdict v;
    Count k = all_cases(o, &c, &label, 1, &v);
    return report_cases("one", &k, false);
}

/* ---- main ---- */

static int64_t number(const char *s, int64_t lo, int64_t hi)
{
    char *end;
    errno = 0;
    long long v = s ? strtoll(s, &end, 10) : 0;
    if (!s || end == s || *end || errno || v < lo || v > hi) {
        fprintf(stderr, "campaign: '%s' is no number from %" PRId64 " to %" PRId64 "\n", s ? s : "", lo, hi);
        exit(2);
    }
    return v;
}

static Fill fill_named(const char *s)
{
    static const char *const names[] = {"plain", "integer", "constant", "outlier", "nan", "offset", "far"};
    for (int i = 0; s && i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(s, names[i]) == 0)
            return (Fill)i;
    fprintf(stderr, "campaign: --fill is one of plain, integer, constant, outlier, nan, offset, far\n");
    exit(2);
}

/* A compiler's name and flags in one text, or NULL for those that are here. clang without optimisation takes half of
 * the time of gcc -O1, which has found more faults. */
static void choose_compilers(Options *o, const char *text)
{
    bool gcc = have_compiler("gcc"), clang = have_compiler("clang");
    char *cc = xprintf("%s", text ? text : gcc ? "gcc" : clang ? "clang" : "cc"), *flags = strchr(cc, ' ');
    if (flags)
        *flags++ = 0;
    if (o->brief && !text && clang)
        cc = xprintf("clang"), flags = xprintf("-O0");
    o->compilers = text || !gcc || !clang || o->brief ? 1 : MOST_COMPILERS;
    for (int i = 0; i < o->compilers; i++)
        o->compiler[i] =
            i == 0 ? (Compiler){.cc = cc, .cflags = flags ? flags : "-O1"} : (Compiler){.cc = "clang", .cflags = "-O0"};
}

static Options options(int argc, char **argv)
{
    const char *cc = NULL;
    Options o = {
        .self = argv[0], .convoy = "convoy", .count = 40, .jobs = 2, .seed = 1, .n = 3, .what = "random", .tries = 160};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--help") == 0) {
            usage(stdout);
            exit(0);
        }
        if (a[0] != '-') {
            o.what = a;
            continue;
        }
        if (strcmp(a, "--first") == 0 || strcmp(a, "--short") == 0) {
            *(a[2] == 'f' ? &o.first : &o.brief) = true;
            continue;
        }
        i++;
        if (!v) {
            fprintf(stderr, "campaign: %s wants a value; see campaign --help\n", a);
            exit(2);
        } else if (strcmp(a, "--convoy") == 0) {
            o.convoy = strchr(v, '/') ? realpath(v, NULL) : v;
        } else if (strcmp(a, "--count") == 0) {
            o.count = (int)number(v, 1, 100000);
        } else if (strcmp(a, "--seed") == 0) {
            o.seed = (uint64_t)number(v, 0, INT64_MAX);
        } else if (strcmp(a, "--jobs") == 0) {
            o.jobs = (int)number(v, 1, MOST_JOBS);
        } else if (strcmp(a, "--tries") == 0) {
            o.tries = (int)number(v, 0, 100000);
        } else if (strcmp(a, "--cc") == 0) {
            cc = v;
        } else if (strcmp(a, "--only") == 0) {
            o.only = v;
        } else if (strcmp(a, "--for") == 0) {
            o.purpose = v;
        } else if (strcmp(a, "--target") == 0) {
            o.target = v;
        } else if (strcmp(a, "--keep") == 0) {
            o.keep = v;
        } else if (strcmp(a, "--spec") == 0) {
            o.spec = v;
        } else if (strcmp(a, "--n") == 0) {
            o.n = (int)number(v, 1, 100000);
        } else if (strcmp(a, "--fill") == 0) {
            o.fill = fill_named(v);
        } else if (strcmp(a, "--print-spec") == 0 || strcmp(a, "--print-graph") == 0 ||
                   strcmp(a, "--print-sequence") == 0) {
            uint64_t seed = (uint64_t)number(v, 0, INT64_MAX);
            RandSpec s = a[9] == 'p' ? rs_random(seed) : a[9] == 'r' ? rs_graph(seed) : rs_sequence(seed);
            rs_print(&s, stdout);
            exit(fflush(stdout) == 0 ? 0 : 1);
        } else {
            fprintf(stderr, "campaign: unknown option %s; see campaign --help\n", a);
            exit(2);
        }
    }
    choose_compilers(&o, cc);
    if (!o.target) /* code for reading is the same for every processor, and takes no other */
        o.target = for_reading(&o) ? "portable" : "native";
    if (!o.convoy) {
        fprintf(stderr, "campaign: no such generator\n");
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    Options o = options(argc, argv);
    const char *tmp = getenv("TMPDIR");
    char *temporary = xprintf("%s/convoy-campaign-XXXXXX", tmp && *tmp ? tmp : P_tmpdir);
    if (o.keep) {
        if (mkdir(o.keep, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "campaign: %s: %s\n", o.keep, strerror(errno));
            return 2;
        }
        o.work = realpath(o.keep, NULL);
    } else {
        o.work = mkdtemp(temporary);
    }
    if (!o.work) {
        perror("campaign");
        return 2;
    }
    bool every = strcmp(o.what, "all") == 0, ok = true, known = every;
    if (o.spec) {
        ok = one_spec(&o);
        known = true;
    } else {
        static const struct {
            const char *name;
            bool (*run)(const Options *);
            bool compiles; /* with the compilers of the options */
        } part[] = {{"specs", specs, false},          {"random", random_chains, true},
                    {"graphs", random_graphs, true},  {"sequences", random_sequences, true},
                    {"exact", chosen_networks, true}, {"matrix", by_compilers, false}};
        for (size_t i = 0; i < sizeof part / sizeof *part; i++)
            if (every || strcmp(o.what, part[i].name) == 0) {
                known = true;
                if (part[i].compiles && !o.compiler[0].objects)
                    share_objects(&o);
                ok = part[i].run(&o) && ok;
            }
    }
    if (!known) {
        usage(stderr);
        return 2;
    }
    if (ok && !o.keep)
        remove_tree(o.work);
    return ok ? 0 : 1;
}
