/* SIGINT and SIGTERM as a wish to stop; see stop_signal.h. */
#include "tools/esctl/stop_signal.h"

#include <errno.h>
#include <poll.h>
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

bool stop_wait_readable(int descriptor)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    sigset_t stops;
    sigset_t before;

    if (descriptor < 0) {
        return true; /* poll() would wait for ever; read() says what is wrong */
    }
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGINT);
    (void)sigaddset(&stops, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &stops, &before);
    while (requested == 0 && ppoll(&ready, 1, NULL, &before) < 0 && errno == EINTR) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return requested == 0;
}
