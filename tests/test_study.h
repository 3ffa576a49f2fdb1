/* test_study.h - the parts of the test of gen/study. */
#ifndef TEST_STUDY_H
#define TEST_STUDY_H

#include "test_help.h"

TCase *stats_tests(void);
TCase *decide_tests(void);
TCase *pool_tests(void);
TCase *file_tests(const char *tests); /* the folder of tests */

#endif
