/* test_study.c - units of gen/study: statistics, the verdict. */
#include "test_study.h"

int main(void)
{
    return run_tests("study", (TCase *[]){stats_tests(), decide_tests(), NULL});
}
