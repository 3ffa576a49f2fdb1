/* vec_acts.c - writes the header of which test_vec.c takes what it tests: each activation of the op table, with each
 * list of arguments that acts.c has of it, as a call of the runtime's functions. */
#include "acts.h"

#include <math.h>
#include <string.h>

static void put_args(OpKind kind, const Arg *arg)
{
    for (int k = 0; k < op_may_args(kind); k++) {
        const double v = arg[op_arg_at(kind, k)].real;
        if (isinf(v))
            printf(", FLT_MAX");
        else
            printf(", (float)%.9g", v);
    }
}

int main(void)
{
    Arg arg[OP_ARGS];

    printf("/* The activations of the op table: written by vec_acts.c. */\n");
    for (int pass = 0; pass < 2; pass++) {
        if (pass)
            printf("static const Case cases[] = {\n");
        for (OpKind k = 0; k < OP_KINDS; k++)
            for (int i = 0; op_is_act(k) && act_args(k, i, arg); i++) {
                if (pass) {
                    printf("    {\"%s\", (OpKind)%d, %d, run_%s_%d},\n", op_text(k, arg, 2, true), (int)k, i,
                           op_info[k].name, i);
                    continue;
                }
                printf("static void run_%s_%d(vf x, vf *y, vf *slope)\n{\n    *y = vf_%s(x", op_info[k].name, i,
                       op_info[k].name);
                put_args(k, arg);
                printf("), *slope = vf_%s_back(vf_set(1.0f), %s", op_info[k].name,
                       op_info[k].need == NEED_INPUT ? "x" : "*y");
                put_args(k, arg);
                printf(");\n}\n");
            }
        if (pass)
            printf("};\n");
    }
    return 0;
}
