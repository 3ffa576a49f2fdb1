/* plan.c - `convoy plan`: the plan in words; of one layer with the reasons. */
#include "commands.h"
#include "plain.h"
#include "why.h"
#include "words.h"
#include "worked.h"

#include <stdlib.h>

static int no_memory(void)
{
    fputs("convoy: out of memory\n", stderr);
    return EXIT_FAILED;
}

/* Norms among ops, the channel checked for each of them. */
static int work_through(const Options *o, const Plan *p, const int *ops, int n)
{
    const Graph *g = p->g;
    const char *names = NULL;
    char *end;
    const long channel = o->channel ? strtol(o->channel, &end, 10) : 0;
    int norms = 0, named = 0;
    Weights w;

    for (int i = 0; i < g->nop; i++)
        if (op_is_batch_norm(g->op[i].kind) && named++ < 8)
            names = names ? xprintf("%s, %s", names, g->op[i].path) : g->op[i].path;
    for (int i = 0; i < n; i++)
        norms += op_is_batch_norm(g->op[ops[i]].kind);
    if (norms == 0) {
        fprintf(stderr, "convoy: plan: '%.60s' has no norm to follow\n  hint: %s\n", o->why,
                names ? xprintf("one of %s%s", names, named > 8 ? ", ..." : "") : "the network has none");
        return EXIT_FAILED;
    }
    for (int i = 0; i < n; i++) {
        const Op *op = &g->op[ops[i]];
        if (!op_is_batch_norm(op->kind) || !o->channel ||
            (*o->channel >= '0' && *o->channel <= '9' && !*end && channel < op->shape.c))
            continue;
        fprintf(stderr, "convoy: plan: no channel '%.20s': %s has channels 0 to %d\n", o->channel, op->path,
                op->shape.c - 1);
        return EXIT_FAILED;
    }
    if (!o->weights)
        weights_draw(p, &w);
    else if (!weights_read(p, o->weights, o->force, &w))
        return EXIT_FAILED;
    for (int i = 0, told = 0; i < n; i++) {
        if (!op_is_batch_norm(g->op[ops[i]].kind))
            continue;
        if (told++)
            putchar('\n');
        worked_print(p, ops[i], (int)channel, &w, o->weights, stdout);
    }
    return EXIT_OK;
}

static int no_layer(const Graph *g, const char *name)
{
    const char *near = why_nearest(g, name);

    fprintf(stderr, "convoy: plan: no layer is called '%.60s'\n%s", name,
            near ? xprintf("  hint: did you mean '%s'?\n", near) : "");
    return EXIT_FAILED;
}

static int explain_layer(const Options *o, const Plan *p)
{
    int *ops;
    const int n = why_find(p->g, o->why, &ops);

    if (n == 0)
        return no_layer(p->g, o->why);
    if (o->worked)
        return work_through(o, p, ops, n);
    if (!o->json) {
        why_print(p, o->why, ops, n, stdout);
        return EXIT_OK;
    }
    return why_json(p, o->why, ops, n, stdout) ? EXIT_OK : no_memory();
}

/* `--for reading`: the plain plan, or what of it a layer is. */
static int explain_plain(const Options *o)
{
    int status, *ops = NULL, n = 0;

    if (o->json || o->worked) {
        fprintf(stderr,
                "convoy plan: %s goes with --for speed or size: for reading, nothing is fused or folded that would "
                "need reasons\n"
                "  hint: leave --for out\n",
                o->json ? "--json" : "--worked");
        return EXIT_USAGE;
    }
    const Plain *p = load_plain(o, &status);
    if (!p)
        return status;
    if (o->why && (n = why_find(p->g, o->why, &ops)) == 0)
        return no_layer(p->g, o->why);
    plain_explain(p, ops, n, stdout);
    return EXIT_OK;
}

int cmd_plan(const Options *o)
{
    int status;

    const char *alone = !o->why && o->worked       ? "--worked goes with --why LAYER"
                        : !o->worked && o->channel ? "--channel goes with --worked"
                        : !o->worked && o->weights ? "--weights goes with --worked"
                        : o->worked && o->json     ? "--worked is words, not JSON"
                                                   : NULL;
    if (alone) {
        fprintf(stderr, "convoy plan: %s\n", alone);
        return EXIT_USAGE;
    }
    if (for_reading(o))
        return explain_plain(o);
    Plan *p = load_plan(o, o->target ? o->target : "native", false, &status);
    if (!p)
        return status;
    if (o->why)
        return explain_layer(o, p);
    if (o->json)
        return plan_json(p, stdout) ? EXIT_OK : no_memory();
    plan_explain(p, stdout);
    return EXIT_OK;
}
