/* faulty.c - one fault, named by FAULT, that a sanitizer must notice. Only a build with sanitizers has it. */
#include <limits.h>
#include <stdlib.h>

enum { past_the_end, overflow, leak };

int main(int argc, char **argv)
{
    (void)argv;
    int *p = malloc((size_t)argc * sizeof *p), answer = 0;
    if (!p)
        return 0;
    p[0] = INT_MAX;
    if (FAULT == past_the_end)
        answer = p[argc] == 7;
    if (FAULT == overflow)
        answer = p[0] + argc == 7;
    if (FAULT == leak)
        p = NULL;
    free(p);
    return answer == 2;
}
