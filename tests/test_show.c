/* test_show.c - a plan in words. */
#define _GNU_SOURCE
#include "plan_help.h"
#include "test_help.h"
#include "why.h"

#include <stdlib.h>
#include <string.h>

START_TEST(one_layer_in_words)
{
    Plan *p = plan_of("[4, 12, 12]", "conv: 8, conv: {out: 8, order: conv-act-bn}, conv: 8", "portable");
    char *text = NULL;
    size_t len = 0;
    int *ops;
    const int n = why_find(p->g, "conv2", &ops);

    ck_assert_int_eq(n, 3);
    FILE *f = open_memstream(&text, &len);
    why_print(p, "conv2", ops, n, f);
    fclose(f);
    ck_assert(strstr(text, "\nconv1.") == NULL);
    ck_assert(strstr(text, "\nconv2.conv (conv): 8x12x12 -> 8x12x12\n") != NULL);
    ck_assert(
        strstr(text, "  applied     prologue of kernel conv3, on registers, from what is stored of conv2.act\n") !=
        NULL); /* its norm is applied there */
    ck_assert(strstr(text, "  inference   a multiply-add in the epilogue of conv2") != NULL);
    free(text);
    ck_assert_int_eq(why_find(p->g, "conv", &ops), 0); /* no prefix of a word */
    ck_assert_str_eq(why_nearest(p->g, "covn2"), "conv2");
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("words");
    tcase_add_test(c, one_layer_in_words);
    return run_tests("show", (TCase *[]){c, NULL});
}
