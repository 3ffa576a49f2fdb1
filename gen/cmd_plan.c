/* cmd_plan.c - `convoy plan`: the plan in words; of one layer with the reasons. */
#include "commands.h"
#include "why.h"

static int explain_layer(const Options *o, const Plan *p)
{
    int *ops;
    const int n = why_find(p->g, o->why, &ops);

    if (n == 0) {
        const char *near = why_nearest(p->g, o->why);
        fprintf(stderr, "convoy: plan: no layer is called '%.60s'\n%s", o->why, near ? xprintf("  hint: did you mean '%s'?\n", near) : "");
        return EXIT_FAILED;
    }
    if (!o->json) {
        why_print(p, o->why, ops, n, stdout);
        return EXIT_OK;
    }
    if (why_json(p, o->why, ops, n, stdout))
        return EXIT_OK;
    fputs("convoy: out of memory\n", stderr);
    return EXIT_FAILED;
}

int cmd_plan(const Options *o)
{
    int status;

    if (o->json && !o->why) {
        fputs("convoy plan: --json goes with --why LAYER\n", stderr);
        return EXIT_USAGE;
    }
    Plan *p = load_plan(o, o->target ? o->target : "native", &status);
    if (!p)
        return status;
    if (o->why)
        return explain_layer(o, p);
    plan_explain(p, stdout);
    return EXIT_OK;
}
