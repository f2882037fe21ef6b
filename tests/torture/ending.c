#include "tests/torture/ending.h"

#include <stddef.h>

volatile sig_atomic_t is_stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    is_stopping = 1;
}

void ending_listen(void)
{
    sigset_t asked;

    signal(SIGTERM, stop);
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &asked, NULL);
}
