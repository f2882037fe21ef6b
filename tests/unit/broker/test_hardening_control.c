#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/admission.h"
#include "broker/control.h"
#include "broker/logger.h"
#include "shm/codec/attach.h"
#include "shm/codec/hash.h"
#include "shm/futex.h"
#include "tests/support/commit_parts.h"

/* A process with a connection of its own, that asks for a lane when told to. */
struct client {
    pid_t pid;
    int orders;  /* a byte: ask */
    int reports; /* a byte: connected; another: asked */
};

static struct {
    struct commit_parts parts;
    struct control *control;
    pthread_t thread;
    atomic_bool has_ended;
    char path[TEMP_DIRECTORY_BYTES_MAX + 16];
} f;

_Noreturn static void be_client(int orders, int reports)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct es_attach_request request = {.layout_id = ES_LAYOUT_ID, .client_name = es_text_of("c")};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;
    char byte = 0;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", f.path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        write(reports, "c", 1) != 1 || read(orders, &byte, 1) != 1 ||
        es_attach_request_encode(&request, bytes, sizeof bytes, &size) != ES_OK ||
        send(fd, bytes, size, 0) != (ssize_t)size || write(reports, "a", 1) != 1) {
        _exit(1);
    }
    for (;;) {
        pause();
    }
}

static void hear(const struct client *client, char wanted)
{
    char byte = 0;

    assert_int_equal(read(client->reports, &byte, 1), 1);
    assert_int_equal(byte, wanted);
}

/* Returns when it is connected. */
static struct client start_client(void)
{
    struct client client;
    int orders[2];
    int reports[2];

    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(reports), 0);
    client.pid = fork();
    assert_true(client.pid >= 0);
    if (client.pid == 0) {
        close(reports[0]);
        be_client(orders[0], reports[1]);
    }
    close(orders[0]);
    close(reports[1]);
    client.orders = orders[1];
    client.reports = reports[0];
    hear(&client, 'c');
    return client;
}

/* Returns when its question lies before the control thread. */
static void let_ask(const struct client *client)
{
    assert_int_equal(write(client->orders, "a", 1), 1);
    hear(client, 'a');
}

static void end_client(const struct client *client)
{
    kill(client->pid, SIGKILL);
    assert_int_equal(waitpid(client->pid, NULL, 0), client->pid);
    close(client->orders);
    close(client->reports);
}

static void *run_control(void *context)
{
    (void)context;
    control_run(f.control);
    atomic_store(&f.has_ended, true);
    return NULL;
}

/* What the control thread wants done; this test is the commit thread. NULL: it has ended. */
static struct submission *next_call(void)
{
    struct submission *submission = NULL;

    while (submission == NULL && !atomic_load(&f.has_ended)) {
        submission = inbox_take(f.parts.inbox);
        sched_yield();
    }
    return submission;
}

static void do_call(void)
{
    struct submission *call = next_call();

    assert_non_null(call);
    call->call(call->context);
    inbox_answer(f.parts.inbox, call);
}

static atomic_int refusals; /* so many calls find no room in the inbox */

enum es_status __real_inbox_call(struct inbox *inbox, void (*call)(void *context), void *context);
enum es_status __wrap_inbox_call(struct inbox *inbox, void (*call)(void *context), void *context);
enum es_status __wrap_inbox_call(struct inbox *inbox, void (*call)(void *context), void *context)
{
    if (atomic_load(&refusals) > 0) {
        return atomic_fetch_sub(&refusals, 1) % 2 == 0 ? ES_FULL : ES_E_NO_MEMORY;
    }
    return __real_inbox_call(inbox, call, context);
}

static atomic_bool refuses_accepts; /* this process has no descriptor left */
static atomic_int accepts_refused;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (atomic_load(&refuses_accepts)) {
        atomic_fetch_add(&accepts_refused, 1);
        errno = EMFILE;
        return -1;
    }
    return __real_accept4(fd, address, size, flags);
}

static int setup(void **state)
{
    struct control_config config = {.socket_path = f.path};
    char why[CONTROL_WHY_BYTES] = "";

    (void)state;
    atomic_store(&f.has_ended, false);
    commit_parts_make(&f.parts, 1024);
    snprintf(f.path, sizeof f.path, "%s/c.sock", f.parts.root);
    config.inbox = f.parts.inbox;
    config.lanes = f.parts.lanes;
    assert_int_equal(control_new(&config, why, &f.control), ES_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    control_free(f.control);
    commit_parts_remove(&f.parts);
    return 0;
}

/* A lane is closed and its number given to another process; the first owner ends
 * just then. Word of its end must not be taken for the end of the second. */
static void the_end_of_a_former_owner_costs_nobody_his_lane(void **state)
{
    struct client former = start_client();
    struct client second = start_client();
    struct client other = start_client();
    struct submission *held = NULL;
    const struct lane *lane = NULL;

    (void)state;
    assert_int_equal(pthread_create(&f.thread, NULL, run_control, NULL), 0);
    let_ask(&former);
    do_call();
    let_ask(&other);
    held = next_call(); /* the control thread waits: what comes now is one round for it */
    held->call(held->context);

    lane = lanes_lane(f.parts.lanes, 0);
    assert_non_null(lane);
    lanes_owner_gone(f.parts.lanes, 0, lane->incarnation);
    lanes_tidy(f.parts.lanes);
    let_ask(&second);
    end_client(&former);
    inbox_answer(f.parts.inbox, held);
    do_call();
    lane = lanes_lane(f.parts.lanes, 0);
    assert_non_null(lane);
    assert_int_equal(lane->pid, second.pid);

    control_stop(f.control);
    while (!atomic_load(&f.has_ended)) {
        struct submission *call = next_call();

        if (call != NULL) {
            call->call(call->context);
            inbox_answer(f.parts.inbox, call);
        }
    }
    pthread_join(f.thread, NULL);
    assert_false(lane->owner_gone);
    end_client(&second);
    end_client(&other);
}

/* Nobody says twice that a process has ended. */
static void an_end_that_the_inbox_had_no_room_for_is_told_later(void **state)
{
    struct client client = start_client();
    const struct lane *lane = NULL;

    (void)state;
    assert_int_equal(pthread_create(&f.thread, NULL, run_control, NULL), 0);
    let_ask(&client);
    do_call();
    lane = lanes_lane(f.parts.lanes, 0);
    assert_non_null(lane);
    atomic_store(&refusals, 4);
    end_client(&client);
    do_call();
    assert_int_equal(atomic_load(&refusals), 0);
    assert_true(lane->owner_gone);
    control_stop(f.control);
    pthread_join(f.thread, NULL);
}

/* Nobody is connected whose descriptor could be had, and the socket stays readable. */
static void without_descriptors_the_thread_does_not_spin(void **state)
{
    const int64_t until_ns = es_deadline_after_ns(100 * INT64_C(1000000));
    struct client client;

    (void)state;
    atomic_store(&accepts_refused, 0);
    atomic_store(&refuses_accepts, true);
    client = start_client();
    assert_int_equal(pthread_create(&f.thread, NULL, run_control, NULL), 0);
    while (es_monotonic_ns() < until_ns) {
        sched_yield();
    }
    assert_in_range(atomic_load(&accepts_refused), 1, 2 * 100 / ADMISSION_REST_MS);
    atomic_store(&refuses_accepts, false);
    let_ask(&client);
    do_call();
    control_stop(f.control);
    pthread_join(f.thread, NULL);
    end_client(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_end_of_a_former_owner_costs_nobody_his_lane, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_end_that_the_inbox_had_no_room_for_is_told_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_descriptors_the_thread_does_not_spin, setup,
                                        teardown),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: control", tests, NULL, NULL);
}
