/* test_study.c - units of gen/study: statistics, the verdict, rows, the studies of specs/.
 *
 *     test_study TESTS */
#include "test_study.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    return run_tests("study", (TCase *[]){stats_tests(), decide_tests(), file_tests(argv[1]), pool_tests(), NULL});
}
