/* build.c - the lists of C files for build systems, and the runtime's copy.
 *
 * needs: the network's name. sets: files, and records for Makefile, meson.build, CMakeLists.txt. */
#include "emit.h"

#include "embedded.h"

#include <string.h>

void emit_source(Rec *r, const char *list, const char *name)
{
    rec_str(rec_add(r, list), "source", name);
    rec_fmt(rec_add(r, "sources"), "object", "%.*s.o", (int)(strlen(name) - 2), name);
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static void add_file(OutDir *out, const char *name, const Buf *b)
{
    outdir_add(out, name, b->text, b->len);
}

/* The runtime's list of its names, begun with the network's. */
static void names_file(const char *net, const struct Embedded *list, OutDir *out)
{
    const char *NET = upper(net);
    Buf b = {0};

    buf_printf(&b, "/* The runtime's names in %s. */\n", net);
    buf_printf(&b, "#if defined CVY_NAMES_H && !defined CVY_NAMES_OF_%s\n", NET);
    buf_printf(&b, "#error \"two networks' folders in one translation unit: compile each network's files by "
                   "themselves\"\n#endif\n");
    buf_printf(&b, "#define CVY_NAMES_OF_%s\n#define CVY_NETWORK %s\n\n", NET, net);
    buf_add(&b, list->text, list->len);
    add_file(out, list->name, &b);
}

/* The runtime's part of a network without its program. */
static const char *const library[] = {"runtime/cvy_kernels.c", "runtime/cvy_losses.c", "runtime/cvy_update.c",
                                      "runtime/cvy_recurrent.c", NULL};

/* A part that goes along where some op is recurrent. */
static bool of_cells(const char *name)
{
    return strncmp(name, "runtime/cvy_recurrent.", 22) == 0;
}

bool emit_has_cells(const Graph *g)
{
    for (int i = 0; i < g->nop; i++)
        if (op_is_recurrent(g->op[i].kind))
            return true;
    return false;
}

static bool in_library(const char *name)
{
    for (int i = 0; library[i]; i++)
        if (strcmp(library[i], name) == 0)
            return true;
    return false;
}

/* Of runtime/vec the target's is in cvy_vec.h. */
void emit_runtime(Rec *r, const char *net, bool cells, const Target *t, OutDir *out)
{
    for (int i = 0; library[i]; i++)
        if (cells || !of_cells(library[i]))
            emit_source(r, "network", library[i]);
    emit_source(r, "program", "main.c");
    emit_source(r, "measured", xprintf("%s_bench.c", net));
    for (size_t i = 0; i < nembedded; i++) {
        const char *name = embedded[i].name;
        Buf vec = {0};
        if (strncmp(name, "runtime/", 8) != 0 || strncmp(name, "runtime/vec/", 12) == 0 || (of_cells(name) && !cells))
            continue;
        if (strcmp(name, "runtime/cvy_vec.h") == 0) {
            emit_vec(t, &vec);
            add_file(out, name, &vec);
        } else if (strcmp(name, "runtime/cvy_names.h") == 0) {
            names_file(net, &embedded[i], out);
        } else {
            outdir_add(out, name, embedded[i].text, embedded[i].len);
        }
        if (ends_with(name, ".c") && !in_library(name))
            emit_source(r, "program", name);
    }
}
