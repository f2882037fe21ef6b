#include "libclient/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/error_text.h"
#include "libclient/question.h"
#include "shm/codec/names.h"
#include "shm/codec/receipt.h"
#include "shm/futex.h"

#define RESUME_TRY_COUNT 3u

static _Atomic uint64_t id_last;

/* Finds the run directory as all programs do, and checks that sockets fit into it. */
static enum es_status choose_run_dir(const char *wanted, char ret_run_dir[])
{
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    const char *tail = "";
    int size;

    if (wanted == NULL) {
        wanted = getenv("EVENTSPINE_RUN");
    }
    if (wanted == NULL || wanted[0] == '\0') {
        if (geteuid() == 0) {
            wanted = "/run/eventspine";
        } else if (runtime_dir != NULL && runtime_dir[0] != '\0') {
            wanted = runtime_dir;
            tail = "/eventspine";
        } else {
            es_error_set(0, "no run directory: name one, or set EVENTSPINE_RUN or "
                            "XDG_RUNTIME_DIR");
            return ES_E_INVALID;
        }
    }
    size = snprintf(ret_run_dir, ES_RUN_DIR_BYTES_MAX + 1, "%s%s", wanted, tail);
    if (size < 0 || (size_t)size > ES_RUN_DIR_BYTES_MAX) {
        es_error_set(0,
                     "the run directory %.100s... has a path too long for a socket in it: "
                     "at most %u bytes; choose a shorter one or link to it",
                     wanted, ES_RUN_DIR_BYTES_MAX);
        return ES_E_INVALID;
    }
    return ES_OK;
}

static enum es_status choose_client_name(const char *wanted, char ret_name[])
{
    const char *name = wanted != NULL ? wanted : program_invocation_short_name;

    if (es_name_check(es_text_of(name)) == ES_REASON_NONE) {
        memcpy(ret_name, name, strlen(name) + 1); /* the check bounds it */
        return ES_OK;
    }
    if (wanted != NULL) {
        es_error_set(0, "the client name '%.60s' is not a name: %s", wanted,
                     es_reason_text(es_name_check(es_text_of(name))));
        return ES_E_INVALID;
    }
    memcpy(ret_name, "client", sizeof "client");
    return ES_OK;
}

static enum es_status keep_receipt(struct es_connection *connection,
                                   const struct es_connection_options *wanted)
{
    struct es_receipt_fields fields;

    if (wanted->receipt == NULL) {
        return ES_OK;
    }
    if (wanted->receipt_bytes > sizeof connection->receipt ||
        es_receipt_decode(wanted->receipt, wanted->receipt_bytes, &fields) != ES_OK) {
        es_error_set(0, "the receipt to present is not one: give the bytes of es_receipt_pack()");
        return ES_E_INVALID;
    }
    memcpy(connection->receipt, wanted->receipt, wanted->receipt_bytes);
    connection->receipt_bytes = wanted->receipt_bytes;
    return ES_OK;
}

static void tear_down(struct es_connection *connection)
{
    es_question_free_idle(connection);
    pthread_mutex_destroy(&connection->idle_lock);
    if (connection->interrupt_fd >= 0) {
        close(connection->interrupt_fd);
    }
    es_handle_retire(connection);
}

enum es_status es_connection_open(const struct es_connection_options *options,
                                  struct es_connection **ret_connection)
{
    static const struct es_connection_options defaults = {0};
    const struct es_connection_options *wanted = options != NULL ? options : &defaults;
    struct es_connection *connection = NULL;
    enum es_status status;

    if (ret_connection == NULL) {
        return ES_E_INVALID;
    }
    status = es_guard_prepare();
    if (status == ES_OK) {
        connection = es_handle_new(sizeof *connection);
        status = connection != NULL ? ES_OK : ES_E_NO_MEMORY;
    }
    if (status != ES_OK) {
        es_error_set(0, "no connection: %s", es_status_text(status));
        return status;
    }
    connection->interrupt_fd = -1;
    connection->timeout_ns = wanted->timeout_ns != 0 ? wanted->timeout_ns : ES_TIMEOUT_DEFAULT_NS;
    status = choose_run_dir(wanted->run_dir, connection->run_dir);
    if (status == ES_OK) {
        status = choose_client_name(wanted->client_name, connection->client_name);
    }
    if (status == ES_OK) {
        status = keep_receipt(connection, wanted);
    }
    if (status == ES_OK) {
        connection->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (connection->interrupt_fd < 0) {
            es_error_set(0, "no eventfd: %s", strerror(errno));
            status = ES_E_IO;
        }
    }
    if (status != ES_OK) {
        free(connection);
        return status;
    }
    pthread_mutex_init(&connection->idle_lock, NULL);
    connection->id = atomic_fetch_add_explicit(&id_last, 1, memory_order_relaxed) + 1;
    atomic_init(&connection->reference_count, 1);
    es_guard_init(&connection->guard);
    *ret_connection = connection;
    return ES_OK;
}

void es_connection_close(struct es_connection *connection)
{
    if (connection != NULL && es_guard_close(&connection->guard)) {
        es_connection_drop(connection);
    }
}

enum es_status es_connection_hold(struct es_connection *connection)
{
    uint32_t count = atomic_load_explicit(&connection->reference_count, memory_order_relaxed);
    enum es_status status = es_guard_check(&connection->guard);

    if (status != ES_OK) {
        return status;
    }
    do {
        if (count == 0) {
            return ES_E_CLOSED;
        }
    } while (!atomic_compare_exchange_weak_explicit(&connection->reference_count, &count, count + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return ES_OK;
}

void es_connection_drop(struct es_connection *connection)
{
    /* acq_rel: whoever tears down has seen what all others did. */
    if (atomic_fetch_sub_explicit(&connection->reference_count, 1, memory_order_acq_rel) == 1) {
        tear_down(connection);
    }
}

void es_connection_interrupt(struct es_connection *connection)
{
    static const uint64_t one = 1;
    int errno_kept = errno; /* this may be a signal handler */

    if (connection == NULL || es_guard_check(&connection->guard) != ES_OK) {
        return;
    }
    if (atomic_exchange_explicit(&connection->interrupted, 1, memory_order_seq_cst) == 0) {
        (void)!write(connection->interrupt_fd, &one, sizeof one); /* cannot fail: it was 0 */
    }
    es_futex_wake(&connection->interrupted, false);
    errno = errno_kept;
}

void es_connection_resume(struct es_connection *connection)
{
    uint64_t count;

    if (connection == NULL || es_guard_check(&connection->guard) != ES_OK) {
        return;
    }
    for (uint32_t i = 0; i < RESUME_TRY_COUNT; i++) {
        if (read(connection->interrupt_fd, &count, sizeof count) >= 0 || errno == EAGAIN) {
            break; /* EAGAIN: it was not set */
        }
    }
    atomic_store_explicit(&connection->interrupted, 0, memory_order_seq_cst);
}

const char *es_connection_error(const struct es_connection *connection)
{
    return es_error_get(connection != NULL ? connection->id : 0);
}

const char *es_connection_run_dir(const struct es_connection *connection)
{
    return connection != NULL ? connection->run_dir : "";
}

enum es_status es_fail(const struct es_connection *connection, enum es_status status,
                       const char *format, ...)
{
    char text[ES_ERROR_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    es_error_set(connection->id, "%s", text);
    return status;
}

enum es_status es_fail_no_memory(const struct es_connection *connection)
{
    return es_fail(connection, ES_E_NO_MEMORY, "this process was refused memory that it asked for");
}

int64_t es_deadline_of(uint64_t timeout_ns)
{
    return timeout_ns > (uint64_t)INT64_MAX ? ES_DEADLINE_NEVER
                                            : es_deadline_after_ns((int64_t)timeout_ns);
}

enum es_status es_connection_wait(struct es_connection *connection, int fd, short events,
                                  int64_t deadline_ns)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events},
                            {.fd = connection->interrupt_fd, .events = POLLIN}};

    for (;;) {
        int64_t left_ns = deadline_ns - es_monotonic_ns();
        struct timespec timeout = {0};
        int count;

        if (left_ns > 0) {
            timeout.tv_sec = left_ns / ES_SECOND_NS;
            timeout.tv_nsec = left_ns % ES_SECOND_NS;
        }
        count = ppoll(fds, 2, deadline_ns == ES_DEADLINE_NEVER ? NULL : &timeout, NULL);
        if (count < 0 && errno != EINTR) {
            return es_fail(connection, ES_E_IO, "poll failed: %s", strerror(errno));
        }
        /* A signal handler may have interrupted the connection: the eventfd tells. */
        if (count < 0) {
            continue;
        }
        if (fds[1].revents != 0) {
            return ES_INTERRUPTED;
        }
        if (fds[0].revents != 0) {
            return ES_OK;
        }
        if (left_ns <= 0) {
            return ES_TIMEOUT;
        }
    }
}

/* EAGAIN: the broker's queue of connections is full, so there is a broker; a crowd of
 * others may be the reason, and it takes some of them in all the time. */
static int connect_patiently(const struct es_connection *connection, int fd,
                             const struct sockaddr_un *address, int64_t patience_ns)
{
    int64_t until_ns = es_monotonic_ns() + patience_ns;

    for (;;) {
        struct pollfd interrupt = {.fd = connection->interrupt_fd, .events = POLLIN};

        if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
            return 0;
        }
        if (errno != EAGAIN || es_monotonic_ns() >= until_ns) {
            return -1;
        }
        if (poll(&interrupt, 1, ES_CONNECT_AGAIN_MS) > 0) {
            errno = EAGAIN;
            return -1;
        }
    }
}

static enum es_status control_socket(const struct es_connection *connection, int64_t patience_ns,
                                     int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum es_status status;
    int fd;

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock",
                   connection->run_dir);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return es_fail(connection, errno == EMFILE || errno == ENFILE ? ES_E_LIMIT : ES_E_IO,
                       "no socket: %s", strerror(errno));
    }
    if (connect_patiently(connection, fd, &address, patience_ns) == 0) {
        *ret_fd = fd;
        return ES_OK;
    }
    if (errno == EACCES || errno == EPERM) {
        status = es_fail(connection, ES_E_PERMISSION,
                         "%s: permission denied: the broker serves another user; start it with "
                         "--group to let a group in",
                         address.sun_path);
    } else if (errno == EAGAIN) {
        status =
            es_fail(connection, ES_E_BUSY, "%s: the broker is busy; try again", address.sun_path);
    } else {
        status = es_fail(connection, ES_E_UNREACHABLE,
                         "%s: no broker is running there (%s); start one with esbroker --data "
                         "DIR --run %s, or name another run directory",
                         address.sun_path, strerror(errno), connection->run_dir);
    }
    close(fd);
    return status;
}

enum es_status es_connection_control_socket(const struct es_connection *connection, int *ret_fd)
{
    return control_socket(connection, ES_CONNECT_PATIENCE_NS, ret_fd);
}

enum es_status es_connection_probe(const struct es_connection *connection)
{
    int fd = -1;
    enum es_status status = control_socket(connection, 0, &fd);

    if (status == ES_OK) {
        close(fd);
    }
    return status == ES_E_UNREACHABLE || status == ES_E_PERMISSION ? status : ES_OK;
}
