/* cmd_todo.c - commands that are not built yet; each gets a file of its own. */
#include "commands.h"

static int todo(const char *name)
{
    fprintf(stderr, "convoy: '%s' is not built yet\n", name);
    return EXIT_USAGE;
}

int cmd_export(const Options *o)
{
    (void)o;
    return todo("export");
}
