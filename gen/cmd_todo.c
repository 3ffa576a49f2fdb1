/* cmd_todo.c - commands that are not built yet; each gets a file of its own. */
#include "commands.h"

static int todo(const char *name)
{
    fprintf(stderr, "convoy: '%s' is not built yet\n", name);
    return EXIT_USAGE;
}

int cmd_gen(const Options *o)
{
    int status;
    if (!load_graph(o, &status))
        return status;
    return todo("gen");
}

int cmd_train(const Options *o)
{
    (void)o;
    return todo("train");
}

int cmd_plan(const Options *o)
{
    int status;
    if (!load_graph(o, &status))
        return status;
    return todo("plan");
}

int cmd_export(const Options *o)
{
    (void)o;
    return todo("export");
}
