/* test_plan.c - the passes from Graph to Plan: what is stored and fused, cores, memory, costs.
 *
 *   test_plan TESTS_DIR */
#include "cost.h"
#include "plan_help.h"
#include "test_help.h"

const char *tests;

START_TEST(costs)
{
    static const char *const text = "{name: n1, input: [3, 8, 8], classes: 10, winograd: %s, layers: [conv: 16, conv: "
                                    "32, global_avg_pool, linear: classes], train: {batch: 8}}";
    const Plan *p = plan_of_text(xprintf(text, "off"), "portable"), *w = plan_of_text(xprintf(text, "on"), "portable");
    enum { X = 4 * 3 * 64, Z1 = 4 * 16 * 64, Z2 = 4 * 32 * 64, W1 = 4 * 27 * 16, W2 = 4 * 144 * 32 }; /* bytes */
    const double f1 = 2 * 27 * 16 * 64, f2 = 2 * 144 * 32 * 64, pieces = p->pieces;
    const struct {
        const char *kernel;
        Phase phase;
        double flops, image, step;
    } want[] = {
        {"conv1", PHASE_FORWARD, f1, X + Z1, W1},
        {"conv2", PHASE_FORWARD, f2, Z1 + Z2, W2},
        {"conv2", PHASE_BACKWARD, 2 * f2, 2 * Z2 + 2 * Z1,
         (2 * pieces + 4 + 2) * W2}, /* z2, g2, z1; gives g1; dw, w, momentum, wt */
        {"conv1", PHASE_BACKWARD, f1, 2 * Z1 + X, (2 * pieces + 4) * W1},
    };
    double forward = 0, inference = 0;

    ck_assert_double_eq_tol(plan_cost(w, kernel_of(w, "conv2"), PHASE_FORWARD).executed, f2 * 4 * 36 / (9 * 64),
                            0.5); /* 4 tiles of 36 products */
    ck_assert_double_eq_tol(plan_cost(w, kernel_of(w, "conv2"), PHASE_BACKWARD).executed, 2 * f2 * 4 * 36 / (9 * 64),
                            0.5);
    for (int back = 0; back < 2; back++) { /* the bound is that of the best way, whichever runs: Winograd's here, ... */
        const Phase phase = back ? PHASE_BACKWARD : PHASE_FORWARD;
        const double fewest = plan_cost(w, kernel_of(w, "conv2"), phase).executed;
        ck_assert_double_eq_tol(plan_cost(w, kernel_of(w, "conv2"), phase).fewest, fewest, 0.5);
        ck_assert_double_eq_tol(plan_cost(p, kernel_of(p, "conv2"), phase).fewest, fewest, 0.5);
        ck_assert_double_lt(fewest, plan_cost(p, kernel_of(p, "conv2"), phase).executed);
        const Cost first =
            plan_cost(w, kernel_of(w, "conv1"), phase); /* ... where there is one: not of three channels */
        ck_assert_double_eq_tol(first.fewest, first.executed, 0.5);
    }
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const Cost c = plan_cost(p, kernel_of(p, want[i].kernel), want[i].phase);
        ck_assert_double_eq_tol(c.useful, want[i].flops, 0.5);
        ck_assert_double_le(c.executed, want[i].flops); /* whole blocks, stride 1: nothing is added */
        ck_assert_double_ge(c.executed,
                            want[i].flops * 22 * 22 / (24 * 24)); /* at most the taps that meet padding are left out */
        ck_assert_double_eq_tol(c.image_bytes, want[i].image, 0.5);
        ck_assert_double_eq_tol(c.step_bytes, want[i].step, 0.5);
    }
    for (int i = 0; i < p->nkernel; i++)
        forward += plan_cost(p, &p->kernel[i], PHASE_FORWARD).useful;
    for (int i = 0; i < p->ninfer; i++)
        inference += plan_cost(p, &p->infer[i], PHASE_INFER).useful;
    ck_assert_double_eq_tol(forward, (double)p->g->flops, 0.5);
    ck_assert_double_eq_tol(inference, (double)p->g->flops, 0.5);
    const Cost head = plan_cost(p, kernel_of(p, "linear1"), PHASE_FORWARD);
    ck_assert_double_eq_tol(head.useful, 2 * 32 * 10, 0.5);
    ck_assert_double_eq_tol(head.executed, 2 * 32 * 16, 0.5); /* ten classes in a block of sixteen */
    ck_assert_double_eq_tol(head.image_bytes, Z2 + 4 * 2 * (32 + 16) + 4 * 16,
                            0.5); /* and the logits, which the loss reads */
}
END_TEST

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_plan TESTS_DIR (golden C: test_emit)\n");
        return 2;
    }
    tests = argv[1];
    TCase *c = tcase_create("costs");
    tcase_add_test(c, costs);
    return run_tests("plan", (TCase *[]){stored_tests(), core_tests(), memory_tests(), c, NULL});
}
