/* cmd_gen.c - `convoy gen`: spec -> plan -> a folder of C. */
#include "commands.h"
#include "emit.h"

#include <string.h>

Plan *load_plan(const Options *o, const char *target, int *status)
{
    *status = EXIT_FAILED;
    const Target *t = target_find(target);
    if (!t) {
        fprintf(stderr, "convoy: unknown target '%s' (native", target);
        for (const Target *k = targets; k->name; k++)
            fprintf(stderr, ", %s", k->name);
        fputs(")\n", stderr);
        *status = EXIT_USAGE;
        return NULL;
    }
    const Graph *g = load_graph(o, status);
    if (!g)
        return NULL;
    *status = EXIT_FAILED;
    Plan *p = plan_build_as(g, t, !o->fold || strcmp(o->fold, "on") == 0);
    if (diag_flush(stderr) || !p)
        return NULL;
    if (o->dump && strcmp(o->dump, "plan") == 0) {
        plan_dump(p, stdout);
        *status = EXIT_OK;
        return NULL;
    }
    return p;
}

static bool parts_of(const char *word, Parts *parts)
{
    if (!word || strcmp(word, "all") == 0)
        *parts = PART_ALL;
    else if (strcmp(word, "train") == 0)
        *parts = PART_ALL; /* training evaluates with the inference code */
    else if (strcmp(word, "infer") == 0)
        *parts = PART_INFER;
    else
        return false;
    return true;
}

int cmd_gen(const Options *o)
{
    Parts parts;
    int status;

    if (!parts_of(o->parts, &parts)) {
        fprintf(stderr, "convoy: unknown parts '%s' (all, infer, train)\n", o->parts);
        return EXIT_USAGE;
    }
    if (o->fold && strcmp(o->fold, "on") != 0 && strcmp(o->fold, "off") != 0) {
        fprintf(stderr, "convoy: unknown value '%s' of --fold (on, off)\n", o->fold);
        return EXIT_USAGE;
    }
    if (!o->out && !o->dump) {
        fputs("convoy: gen: -o DIR is missing: the folder that the C goes to\n", stderr);
        return EXIT_USAGE;
    }
    Plan *p = load_plan(o, o->target ? o->target : "native", &status);
    if (!p)
        return status;
    OutDir out = {0};
    emit_network(p, parts, &out);
    if (!outdir_commit(&out, o->out))
        return EXIT_FAILED;
    printf("%s: %d files for %s in %s. Next: make -C %s\n", p->g->spec->name, out.n, p->target->name, o->out, o->out);
    return EXIT_OK;
}
