/* interrupt.c - SIGINT, SIGTERM and SIGHUP while an import runs. */
#include "import.h"
#include "interrupt.h"

#include <signal.h>

static volatile sig_atomic_t seen;
static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
enum { CAUGHT = sizeof caught / sizeof *caught };
static struct sigaction before[CAUGHT];

static void on_signal(int number)
{
    seen = number;
}

void interrupt_begin(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&a.sa_mask);
    seen = 0;
    for (int i = 0; i < CAUGHT; i++) {
        sigaction(caught[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(caught[i], &a, NULL);
    }
}

int interrupt_end(void)
{
    for (int i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    return seen;
}

bool goes_on(void)
{
    return !seen;
}
