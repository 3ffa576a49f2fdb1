/* new.c - convoy new NAME: a spec to start from. */
#include "files.h"
#include "commands.h"
#include "read.h"

#include <errno.h>
#include <string.h>
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
    if (diag_flush(stderr))
        return false;
    buf_printf(to, text, name,
               xprintf("preset: %s\n# %s\n# 'convoy presets %s' says what it stands for; what stands here as well "
                       "counts instead.\n",
                       p->name, p->summary, p->name),
               "");
    return true;
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
    Buf b = {0};
    if (!put_text(&b, name, o->preset))
        return EXIT_FAILED;
    if (o->out && strcmp(o->out, "-") == 0)
        return fputs(b.text, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_OK;
    const char *path = o->out ? o->out : xprintf("%s.yaml", name);
    if (access(path, F_OK) == 0) {
        fprintf(stderr, "convoy: %s is there already\n  hint: another name, or -o FILE\n", path);
        return EXIT_FAILED;
    }
    if (!file_write(path, b.text, b.len))
        return EXIT_FAILED;
    printf("wrote %s\nnext:  convoy check %s\n       convoy train %s\n", path, path, path);
    printf("       convoy schema -o spec.schema.json    # an editor completes and checks the spec by it\n");
    return EXIT_OK;
}
