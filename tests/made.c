/* made.c - see made.h. A new row of the op table changes these; `test_front TESTS_DIR CONVOY rewrite` writes them anew.
 */
#include "made.h"
#include "acts.h"
#include "diag.h"
#include "numbers.h"

#include <string.h>

static const char *reads(Need need)
{
    return need == NEED_SIGN ? "the sign of its output" : need == NEED_OUTPUT ? "its output" : "its input";
}

static void put_table(Buf *to)
{
    buf_puts(to, "| word | arguments | what it makes of x | in PyTorch | in Keras | backward reads "
                 "|\n|---|---|---|---|---|---|\n");
    for (OpKind k = 0; k < OP_KINDS; k++) {
        const OpInfo *info = &op_info[k];
        if (!op_is_act(k))
            continue;
        buf_printf(to, "| `%s` | ", info->name);
        for (int i = 0; i < op_may_args(k); i++) {
            const ArgInfo *arg = &info->arg[op_arg_at(k, i)];
            buf_printf(to, "%s`%s`, %s to %s, else %s", i ? "; " : "", arg->name, real_text(arg->lo),
                       real_text(arg->hi), arg->usual <= arg->hi ? real_text(arg->usual) : "none");
        }
        buf_printf(to, " | %s | `%s` | %s | %s |\n", info->does, info->torch,
                   info->keras ? xprintf("`%s`", info->keras) : "", reads(info->need));
    }
}

static const char *const role_names[] = {
    [PARAM_GAMMA] = "gamma", [PARAM_BETA] = "beta", [PARAM_MEAN] = "running mean", [PARAM_VAR] = "running variance"};

static void put_norms(Buf *to)
{
    buf_puts(to, "| norm | its statistics are of | a number a channel | in PyTorch |\n|---|---|---|---|\n");
    for (OpKind k = 0; k < OP_KINDS; k++) {
        const NormInfo *norm = op_info[k].norm;
        int n = 0;
        if (!norm)
            continue;
        buf_printf(to, "| `%s` | %s | ", op_usage(k) ? op_usage(k) : op_info[k].name, norm->of);
        for (const ParamSlot *slot = op_info[k].param; slot->name; slot++)
            if (slot->role != PARAM_COUNT)
                buf_printf(to, "%s%s", n++ ? ", " : "", role_names[slot->role]);
        buf_printf(to, " | `%s`%s |\n", norm->torch,
                   norm->torch_1 ? xprintf("; where the image is 1 x 1, `%s`", norm->torch_1) : "");
    }
}

/* The words of all activations, with each list of arguments that tests try. */
static void each_word(Buf *to, void (*put)(Buf *to, const char *word, int nth))
{
    Arg arg[OP_ARGS];
    int nth = 0;

    for (OpKind k = 0; k < OP_KINDS; k++)
        for (int i = 0; op_is_act(k) && act_args(k, i, arg); i++)
            put(to, op_text(k, arg, 2, false), nth++);
}

static void put_python(Buf *to, const char *word, int nth)
{
    buf_printf(to, "%s\"%s\",%s", nth % 8 ? " " : "    ", word, nth % 8 == 7 ? "\n" : "");
}

static void put_list(Buf *to)
{
    each_word(to, put_python);
    if (to->text[to->len - 1] != '\n')
        buf_puts(to, "\n");
}

/* Each after a weight; with an odd number of channels, and after a norm, too. */
static void put_branch(Buf *to, const char *word, int nth)
{
    buf_printf(to, "        - [conv: {out: %d, kernel: 1, bias: true, order: \"conv-%s%s%s\"}]\n", 2 + nth % 4, word,
               nth % 3 == 2 ? "-bn-" : "", nth % 3 == 2 ? word : "");
}

static void put_branches(Buf *to)
{
    each_word(to, put_branch);
}

const Made made_parts[] = {
    {"docs/spec.md", "activations", put_table},
    {"docs/spec.md", "norms", put_norms},
    {"tests/torch_nan.py", "activations", put_list},
    {"tests/twin/every_act.yaml", "activations", put_branches},
    {"tests/reading_all.yaml", "activations", put_branches},
    {NULL, NULL, NULL},
};

const char *made_text(const Made *m, const char *text)
{
    const char *begin = strstr(text, xprintf("made: %s", m->name)), *first = begin ? line_after(begin) : NULL;
    const char *last = first ? strstr(first, "made: end") : NULL;
    Buf b = {0};

    if (!last)
        return NULL;
    while (last > first && last[-1] != '\n')
        last--;
    buf_add(&b, text, (size_t)(first - text));
    m->put(&b);
    buf_puts(&b, last);
    return b.text;
}
