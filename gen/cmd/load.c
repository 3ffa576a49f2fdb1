/* load.c - a command's SPEC, through the passes that it needs. */
#include "emit.h"
#include "commands.h"
#include "read.h"
#include "words.h"

#include <string.h>

static const char *const dumps[] = {"yaml", "spec", "graph", NULL};

static bool asked_for(const Options *o, int pass)
{
    return o->dump && strcmp(o->dump, dumps[pass]) == 0;
}

/* A pass's end: prints what it collected. True where the run stops here, with an error or with the dump. */
static bool stop_after(const Options *o, int pass, int *status)
{
    bool bad = diag_flush(stderr);
    *status = bad ? EXIT_FAILED : EXIT_OK;
    return bad || asked_for(o, pass);
}

Graph *load_graph(const Options *o, int *status)
{
    Source *source = xalloc(sizeof *source); /* one a spec: diff has two */

    Node *tree = yaml_read(o->spec, source);
    for (int i = 0; tree && i < o->nset; i++)
        yaml_override(tree, o->set[i], i);
    if (tree && o->purpose && strcmp(o->purpose, "size") == 0)
        yaml_override(tree, "unroll=none", o->nset);
    if (tree && asked_for(o, 0))
        yaml_dump(tree, stdout);
    if (stop_after(o, 0, status))
        return NULL;

    Spec *spec = spec_read(tree);
    if (spec)
        spec->whole = o->whole;
    if (spec && asked_for(o, 1))
        spec_dump(spec, stdout);
    if (stop_after(o, 1, status))
        return NULL;

    Graph *graph = graph_build(spec);
    if (graph)
        graph = grad_build(graph) ? graph : NULL;
    if (graph && asked_for(o, 2))
        graph_dump(graph, stdout);
    if (stop_after(o, 2, status))
        return NULL;
    return graph;
}

Plan *load_plan(const Options *o, const char *target, bool compact, int *status)
{
    const Target *t = target_find(target); /* options_read takes no other name */
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    *status = EXIT_FAILED;
    Plan *p = plan_build_as(g, t, !o->fold || strcmp(o->fold, "on") == 0, compact);
    if (diag_flush(stderr) || !p)
        return NULL;
    if (o->dump && strcmp(o->dump, "plan") == 0) {
        plan_dump(p, stdout);
        *status = EXIT_OK;
        return NULL;
    }
    return p;
}

bool dumps_plan(const Options *o, int *status)
{
    if (!o->dump || strcmp(o->dump, "plan") != 0)
        return false;
    load_plan(o, o->target ? o->target : "native", false, status);
    return true;
}

bool for_reading(const Options *o)
{
    return o->purpose && strcmp(o->purpose, "reading") == 0;
}

/* What has no meaning for reading; NULL: nothing was asked for. */
static const char *not_for_reading(const Options *o, const char **hint)
{
    if (o->target && strcmp(o->target, "portable") != 0) {
        *hint = "leave --target out";
        return xprintf(
            "--target %s goes with --for speed or size: for reading, the code is plain C99, which every processor runs",
            o->target);
    }
    if (o->fold && strcmp(o->fold, "off") != 0) {
        *hint = "leave --fold out; 'convoy plan SPEC --why LAYER --worked' shows the folding of a norm with numbers";
        return "--fold on goes with --for speed or size: for reading, norms are applied where they stand at inference, "
               "too";
    }
    return NULL;
}

Plain *load_plain(const Options *o, int *status)
{
    const char *hint, *wrong = not_for_reading(o, &hint);

    if (wrong) {
        fprintf(stderr, "convoy: %s\n  hint: %s\n", wrong, hint);
        *status = EXIT_USAGE;
        return NULL;
    }
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    Plain *p = plain_build(g);
    *status = EXIT_FAILED;
    if (diag_flush(stderr) || !p)
        return NULL;
    if (o->dump && strcmp(o->dump, "plan") == 0) {
        plain_dump(p, stdout);
        *status = EXIT_OK;
        return NULL;
    }
    return p;
}
