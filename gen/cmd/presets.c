/* presets.c - convoy presets [NAME]: the names that `preset:` knows, or what one of them stands for. */
#include "commands.h"
#include "read.h"

#include <string.h>

static int show_cells(const Preset *p)
{
    static const char *const cells[] = {"rnn", "gru", "lstm"};
    printf("%s: %s\n\n", p->name, p->summary);
    for (int k = 0; k < 3; k++)
        if (p->cell[k]) {
            printf("  - %s: {hidden: 64, preset: %s}\n\nis the same, in that layer, as\n\n", cells[k], p->name);
            preset_keys(p->cell[k], "  ", stdout);
            printf("\n");
        }
    printf("where the layer does not say it itself.\n");
    return EXIT_OK;
}

static int show(const Preset *p)
{
    if (preset_cells(p))
        return show_cells(p);
    printf("%s: %s\n\n  preset: %s\n\nis the same as\n\n", p->name, p->summary, p->name);
    preset_keys(p->keys, "  ", stdout);
    if (p->group) {
        printf("\nand in a residual group also, before those,\n\n");
        preset_keys(p->group, "  ", stdout);
    }
    printf("\nwhere the spec, the group or the block does not say it itself. init counts at the top alone.\n");
    return EXIT_OK;
}

int cmd_presets(const Options *o)
{
    if (o->spec) {
        Source typed = {.path = "NAME", .text = o->spec, .len = strlen(o->spec)};
        Node name = {.kind = NODE_SCALAR, .text = o->spec, .mark = {1, 1, (int)strlen(o->spec)}};
        diag_source(&typed);
        const Preset *p = preset_find(&name);
        return diag_flush(stderr) ? EXIT_FAILED : show(p);
    }
    for (const Preset *p = presets; p->name; p++)
        printf("%-33s %s\n", p->name, p->summary);
    printf("\nnext:  convoy presets NAME            what it stands for\n       convoy new mynet --preset NAME\n");
    return EXIT_OK;
}
