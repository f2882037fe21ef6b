/* SIGINT and SIGTERM as a wish to stop; see stop_signal.h. */
#include "tools/esctl/stop_signal.h"

#include <signal.h>

static volatile sig_atomic_t requested;
static struct es_connection *interrupted_connection;

static void on_signal(int number)
{
    (void)number;
    requested = 1;
    if (interrupted_connection != NULL) {
        es_connection_interrupt(interrupted_connection);
    }
}

void stop_signal_install(struct es_connection *connection)
{
    struct sigaction action = {.sa_handler = on_signal};

    interrupted_connection = connection;
    /* Without SA_RESTART a blocking read() ends; after the first signal the default is back. */
    action.sa_flags = (int)SA_RESETHAND;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool stop_requested(void)
{
    return requested != 0;
}
