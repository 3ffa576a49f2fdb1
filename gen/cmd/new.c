/* new.c - convoy new NAME: a spec to start from. */
#include "files.h"
#include "commands.h"
#include "process.h"
#include "read.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char text[] =
    "# yaml-language-server: $schema=spec.schema.json\n"
    "name: %s\n"
    "input: [1, 28, 28]          # channels, height, width\n"
    "classes: 10\n"
    "\n"
    "%s"
    "\n"
    "layers:\n"
    "  - conv: 16                # 16 outputs, kernel 3, stride 1, padding 1\n"
    "  - conv: {out: 32, stride: 2}\n"
    "  - conv: {out: 64, stride: 2}\n"
    "  - global_avg_pool\n"
    "  - linear: classes\n"
    "\n"
    "%s"
    "train:\n"
    "  data: shapes              # drawn by the runtime; or fashion-mnist, mnist, idx (your own, with --data)\n"
    "  epochs: 5\n"
    "  batch: 64\n"
    "  lr: 0.1\n"
    "  momentum: 0.9\n"
    "  weight_decay: 5e-4\n"
    "  schedule: one-cycle\n";

static const char own_blocks[] =
    "order: conv-bn-act          # of every conv block below; a block may have its own:\n"
    "                            #   - conv: {out: 64, stride: 2, order: conv-act-bn}\n"
    "act: relu                   # what 'act' stands for: relu, leaky_relu(0.1), elu, gelu, silu, tanh, ...\n";

/* What stands for the blocks: an order of their own, or a preset's. */
static bool put_text(Buf *to, const char *name, const char *preset)
{
    if (!preset) {
        buf_printf(to, text, name, own_blocks, "init: kaiming_normal\n");
        return true;
    }
    Source typed = {.path = "--preset", .text = preset, .len = strlen(preset)};
    Node node = {.kind = NODE_SCALAR, .text = preset, .mark = {1, 1, (int)strlen(preset)}};
    diag_source(&typed);
    const Preset *p = preset_find(&node);
    if (p && preset_cells(p))
        diag_error(node.mark, preset_cells(p), "preset '%s' is of recurrent layers, and stands in one", p->name);
    if (diag_flush(stderr))
        return false;
    buf_printf(to, text, name,
               xprintf("preset: %s\n# %s\n# 'convoy presets %s' says what it stands for; what stands here as well "
                       "counts instead.\n",
                       p->name, p->summary, p->name),
               "");
    return true;
}

/* A spec for what --data names: a set, or what an import makes of it, which a training then finds. */
static bool put_fitting(Buf *to, const Options *o, const char *name, bool quiet)
{
    static const int any[3];
    const char *set;
    SetInfo info;
    if (o->preset) {
        fprintf(stderr, "convoy: --preset and --data: one of them says which blocks the spec has\n");
        return false;
    }
    if (access(o->data, F_OK) != 0) {
        cvy_error(cvy_near_path(o->data, 0), "there is no '%s'", o->data);
        return false;
    }
    Options build = *o;
    build.out = NULL; /* the spec; the build folder is the usual one */
    if (import_once(&build, name, o->data, any, quiet, &set) != EXIT_OK || !set_info(&info, set))
        return false;
    if (info.lengths) {
        cvy_error("write input: {..., lengths: true}, as convoy data prints it, and recurrent layers",
                  "'%s' has a length of each row: convoy new writes no spec of such", o->data);
        return false;
    }
    if (set != o->data && !import_claim(&build, o->data, set, &info))
        return false;
    buf_puts(to, new_fitting(name, o->data, &info));
    return true;
}

/* Whether a training of the network would save its weights to this file, unless it is told otherwise. */
static bool is_saved_to(const char *data, const char *name)
{
    struct stat a, b;
    return stat(data, &a) == 0 && stat(xprintf("%s.safetensors", name), &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int cmd_new(const Options *o)
{
    const char *name;
    Source typed = {.path = "NAME", .text = o->spec, .len = strlen(o->spec)};
    Node node = {.kind = NODE_SCALAR, .text = o->spec, .mark = {1, 1, (int)strlen(o->spec)}};
    diag_source(&typed);
    want_name(&node, NAME_NET, &name);
    if (diag_flush(stderr))
        return EXIT_FAILED;
    const char *path = o->out ? o->out : xprintf("%s.yaml", name);
    const bool prints = strcmp(path, "-") == 0;
    if (!prints && access(path, F_OK) == 0) {
        fprintf(stderr, "convoy: %s is there already\n  hint: another name, or -o FILE\n", path);
        return EXIT_FAILED;
    }
    Buf b = {0};
    if (o->data ? !put_fitting(&b, o, name, prints) : !put_text(&b, name, o->preset))
        return EXIT_FAILED;
    if (prints)
        return fputs(b.text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_OK;
    if (!file_write(path, b.text, b.len))
        return EXIT_FAILED;
    const char *const data = o->data ? xprintf(" --data %s", shell_word(o->data)) : "";
    const char *const save =
        o->data && is_saved_to(o->data, name) ? xprintf(" --save %s-weights.safetensors", name) : "";
    printf("wrote %s\nnext:  convoy check %s\n       convoy train %s%s%s\n", path, path, path, data, save);
    printf("       convoy schema -o spec.schema.json    # an editor completes and checks the spec by it\n");
    return EXIT_OK;
}
