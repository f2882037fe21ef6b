/* The broker's sockets against well-behaved, slow, rude and vanishing peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "broker/limits.h"
#include "tests/support/prng.h"
#include "tests/support/transport_fixture.h"

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void assert_good_client_is_served(struct transport_fixture *f)
{
    struct sp_client client;

    assert_true(sp_connect(&client, f->requests_path, SP_REQ));
    assert_served(&client, "good morning");
    assert_served(&client, "and again");
    sp_close(&client);
}

static void a_request_is_answered_and_names_its_user(void **state)
{
    assert_good_client_is_served(*state);
}

/* One such client stops a listener of nng 1.5.2 for ever (its issue 1518). */
static void clients_that_connect_and_close_do_not_stop_the_listeners(void **state)
{
    struct transport_fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        int fd = sp_connect_silently(i % 2 == 0 ? f->requests_path : f->events_path);

        assert_true(fd >= 0);
        close(fd);
    }
    assert_good_client_is_served(f);
}

/* Each leaves at another byte of the greeting, of a frame or of its request. */
static void clients_that_die_anywhere_harm_nobody(void **state)
{
    static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, SP_REQ, 0, 0};
    static const uint8_t frame[] = {1, 0, 0, 0, 0, 0, 0, 0, 12, 0x80, 0, 0, 1, 'a', 'b', 'c'};
    uint8_t stream[sizeof greeting + sizeof frame];
    struct transport_fixture *f = *state;

    memcpy(stream, greeting, sizeof greeting);
    memcpy(stream + sizeof greeting, frame, sizeof frame);
    for (size_t size = 0; size <= sizeof stream; size++) {
        int fd = sp_connect_silently(f->requests_path);

        assert_true(fd >= 0);
        assert_int_equal(send(fd, stream, size, MSG_NOSIGNAL), size);
        close(fd);
    }
    assert_good_client_is_served(f);
}

static void a_request_larger_than_the_limit_closes_its_connection_only(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client client;
    uint8_t *bytes = calloc(1, REQUEST_BYTES_MAX + 64);

    assert_non_null(bytes);
    bytes[0] = 0x80;
    assert_true(sp_connect(&client, f->requests_path, SP_REQ));
    (void)sp_send(&client, bytes, REQUEST_BYTES_MAX + 64);
    assert_true(sp_is_closed(&client));
    sp_close(&client);
    free(bytes);
    assert_good_client_is_served(f);
}

/* One worker, and far more requests than it may owe: whoever reads is served. */
static void a_client_that_takes_no_replies_does_not_hold_up_another(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client hog;
    uint8_t *request = calloc(1, 256 * 1024);

    assert_non_null(request);
    request[0] = 0x80;
    assert_true(sp_connect(&hog, f->requests_path, SP_REQ));
    for (uint8_t i = 0; i < 16; i++) {
        request[3] = i;
        /* once the hog's own pipe is full nng reads no more of it: do not block */
        if (send(hog.fd, (uint8_t[]){1, 0, 0, 0, 0, 0, 0x04, 0, 0}, 9, MSG_DONTWAIT) != 9 ||
            send(hog.fd, request, 256 * 1024, MSG_DONTWAIT) != 256 * 1024) {
            break;
        }
    }
    assert_good_client_is_served(f);
    sp_close(&hog);
    free(request);
    assert_good_client_is_served(f);
}

/* Streams that begin well and go wrong anywhere, in every way, to both sockets. */
static void strangers_that_send_anything_harm_nobody(void **state)
{
    static const uint8_t well[] = {0,    'S', 'P', 0, 0, SP_REQ, 0, 0,    /* greeting */
                                   1,    0,   0,   0, 0, 0,      0, 0, 8, /* a frame of 8 bytes */
                                   0x80, 0,   0,   1, 1, 2,      3, 4};
    struct transport_fixture *f = *state;
    struct prng prng;

    prng_begin(&prng, "strangers_that_send_anything_harm_nobody");
    for (int i = 0; i < 5000; i++) {
        uint8_t stream[4 * sizeof well];
        size_t size = 1 + prng_below(&prng, sizeof stream);
        int fd = sp_connect_silently(prng_one_in(&prng, 2) ? f->requests_path : f->events_path);

        if (fd < 0) {
            continue; /* so many are not taken down yet */
        }
        for (size_t at = 0; at < sizeof stream; at++) {
            stream[at] = well[at % sizeof well];
        }
        while (prng_one_in(&prng, 2)) {
            stream[prng_below(&prng, sizeof stream)] = (uint8_t)prng_next(&prng);
        }
        (void)send(fd, stream, size, MSG_NOSIGNAL);
        close(fd);
    }
    assert_good_client_is_served(f);
}

/* Leaves with answers due and half a request sent, as often as there may be connections: what a
 * killed client leaves behind must be gone, or nobody is served any more. */
static void clients_that_leave_with_answers_due_are_forgotten(void **state)
{
    struct transport_fixture *f = *state;
    uint8_t *request = calloc(1, 64 * 1024);

    assert_non_null(request);
    request[0] = 0x80;
    for (size_t i = 0; i < TRANSPORT_CONNECTIONS_MAX + 200; i++) {
        struct sp_client client;

        while (!sp_connect(&client, f->requests_path, SP_REQ)) { /* not all of them noticed yet */
            sched_yield();
        }
        assert_true(sp_send(&client, request, 64 * 1024));
        (void)send(client.fd, request, i % 64, MSG_DONTWAIT | MSG_NOSIGNAL);
        sp_close(&client);
    }
    for (bool served = false; !served;) {
        struct sp_client late;
        uint8_t *reply = NULL;
        size_t size = 0;

        if (sp_connect(&late, f->requests_path, SP_REQ)) {
            served = sp_request(&late, "in", 2, &reply, &size);
            sp_close(&late);
        }
        free(reply);
    }
    free(request);
}

/* Closing must not wait for what is under way: clients hammer meanwhile. */
static void stopping_does_not_wait_for_clients(void **state)
{
    struct transport_fixture *f = *state;

    for (int i = 0; i < 50; i++) {
        char why[TRANSPORT_WHY_BYTES] = "";
        char path[2][96];
        struct transport_config config = {.requests_path = path[0], .events_path = path[1]};
        struct transport *transport = NULL;
        struct sp_client client;
        struct sp_client subscriber;
        uint8_t bytes[4096] = {0x80};

        snprintf(path[0], sizeof path[0], "%s/r", f->directory);
        snprintf(path[1], sizeof path[1], "%s/e", f->directory);
        assert_int_equal(transport_new(&config, why, &transport), ES_OK);
        assert_true(sp_connect(&client, path[0], SP_REQ));
        assert_true(sp_connect(&subscriber, path[1], SP_SUB));
        (void)sp_send(&client, bytes, sizeof bytes);
        (void)send(client.fd, bytes, 5, MSG_NOSIGNAL);
        assert_int_equal(transport_publish(transport, bytes, sizeof bytes), ES_OK);
        transport_free(transport);
        sp_close(&client);
        sp_close(&subscriber);
    }
}

/* What is kept for a subscriber that does not read is the newest, each message whole. */
/* A raw REQ may send on before it is answered: each is answered, in order, one at a time. */
static void requests_sent_in_one_go_are_answered_in_order(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client client;

    assert_true(sp_connect(&client, f->requests_path, SP_REQ));
    for (uint8_t i = 0; i < 200; i++) {
        const uint8_t request[] = {0x80, 0, 0, i, 'n', i};

        assert_true(sp_send(&client, request, sizeof request));
    }
    for (uint8_t i = 0; i < 200; i++) {
        uint8_t *reply = NULL;
        size_t size = 0;

        assert_true(sp_receive(&client, &reply, &size));
        assert_int_equal(reply[3], i);
        assert_int_equal(reply[5], i);
        free(reply);
    }
    sp_close(&client);
}

/* It rests between its requests, others do not, and it may leave while it rests. */
static void who_broke_the_rules_is_answered_and_then_rests(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client rude;
    struct sp_client leaving;

    assert_true(sp_connect(&rude, f->requests_path, SP_REQ));
    for (int i = 0; i < 3; i++) {
        uint64_t begun_ns = 0;

        assert_true(sp_connect(&leaving, f->requests_path, SP_REQ));
        assert_served(&leaving, "and gone!");
        sp_close(&leaving);
        begun_ns = now_ns();
        assert_served(&rude, "wrong!");
        assert_good_client_is_served(f);
        assert_served(&rude, "again");
        assert_true(now_ns() - begun_ns >= TRANSPORT_REST_MS * UINT64_C(1000000));
        assert_served(&rude, "and again");
    }
    sp_close(&rude);
}

/* Each device on the way adds a word to the header; the last has its highest bit set. */
static void a_request_header_has_an_end_or_its_sender_is_closed(void **state)
{
    struct transport_fixture *f = *state;

    for (size_t size = 0; size <= 64; size++) {
        uint8_t *request = calloc(1, size + 1); /* of this very size: no byte beyond is read */
        struct sp_client client;

        assert_non_null(request);
        assert_true(sp_connect(&client, f->requests_path, SP_REQ));
        (void)sp_send(&client, request, size); /* it may be closed at the frame's header */
        assert_true(sp_is_closed(&client));
        sp_close(&client);
        if (size >= 4 && size <= 36) {
            uint8_t *reply = NULL;
            size_t reply_size = 0;

            request[(size - 4) / 4 * 4] = 0x80;
            assert_true(sp_connect(&client, f->requests_path, SP_REQ));
            assert_true(sp_send(&client, request, size));
            assert_true(sp_receive(&client, &reply, &reply_size));
            assert_int_equal(reply_size, size + sizeof(uint32_t));
            assert_memory_equal(reply, request, size);
            free(reply);
            sp_close(&client);
        }
        free(request);
    }
    assert_good_client_is_served(f);
}

static void a_slow_subscriber_loses_the_oldest_messages(void **state)
{
    /* so large that the socket takes parts of them */
    enum {
        MESSAGES = 1500,
        BYTES = 100000
    };
    static uint8_t message[BYTES];
    struct transport_fixture *f = *state;
    struct sp_client slow;
    uint32_t previous = 0;
    uint32_t number = 0;
    uint32_t holes = 0;

    assert_true(sp_connect(&slow, f->events_path, SP_SUB));
    while (transport_subscriber_count(f->transport) < 1) {
        sched_yield();
    }
    for (number = 1; number <= MESSAGES; number++) {
        memset(message, (int)(number & 0xff), sizeof message);
        memcpy(message, &number, sizeof number);
        assert_int_equal(transport_publish(f->transport, message, sizeof message), ES_OK);
    }
    for (number = 0; number < MESSAGES;) {
        uint8_t *bytes = NULL;
        size_t size = 0;

        assert_true(sp_receive(&slow, &bytes, &size));
        assert_int_equal(size, BYTES);
        memcpy(&number, bytes, sizeof number);
        assert_true(number > previous);
        assert_int_equal(bytes[size - 1], number & 0xff);
        holes += number > previous + 1 ? 1 : 0;
        previous = number;
        free(bytes);
    }
    assert_int_equal(holes, 1);
    sp_close(&slow);
}

static void every_subscriber_gets_each_message_whole_and_is_noticed(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client clients[3];
    uint8_t message[MESSAGE_BYTES_MAX];

    memset(message, 'x', sizeof message);
    for (size_t i = 0; i < 3; i++) {
        assert_true(sp_connect(&clients[i], f->events_path, SP_SUB));
    }
    while (atomic_load(&f->subscribed) < 3) {
        sched_yield();
    }
    assert_int_equal(transport_subscriber_count(f->transport), 3);
    assert_int_equal(transport_publish(f->transport, message, sizeof message), ES_OK);
    for (size_t i = 0; i < 3; i++) {
        uint8_t *bytes = NULL;
        size_t size = 0;

        assert_true(sp_receive(&clients[i], &bytes, &size));
        assert_int_equal(size, sizeof message);
        assert_memory_equal(bytes, message, size);
        free(bytes);
        sp_close(&clients[i]);
    }
    while (transport_subscriber_count(f->transport) > 0) {
        sched_yield();
    }
}

static void a_subscriber_that_does_not_read_never_blocks_the_publisher(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client sleeper;
    uint8_t message[4096] = {0};

    assert_true(sp_connect(&sleeper, f->events_path, SP_SUB));
    while (transport_subscriber_count(f->transport) < 1) {
        sched_yield();
    }
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(transport_publish(f->transport, message, sizeof message), ES_OK);
    }
    sp_close(&sleeper);
}

static void socket_files_have_the_modes_that_keep_others_out(void **state)
{
    struct transport_fixture *f = *state;
    struct transport_config config;
    struct stat found;
    char why[TRANSPORT_WHY_BYTES] = "";
    char path[2][96];
    struct transport *grouped = NULL;

    assert_int_equal(stat(f->requests_path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0700);
    assert_int_equal(stat(f->events_path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0700);
    snprintf(path[0], sizeof path[0], "%s/r", f->directory);
    snprintf(path[1], sizeof path[1], "%s/e", f->directory);
    config = (struct transport_config){.requests_path = path[0],
                                       .events_path = path[1],
                                       .group_given = true,
                                       .group_id = getegid()};
    assert_int_equal(transport_new(&config, why, &grouped), ES_OK);
    assert_int_equal(stat(path[0], &found), 0);
    assert_int_equal(found.st_mode & 07777, 0660);
    assert_int_equal(found.st_gid, getegid());
    transport_free(grouped);
}

static void a_path_too_long_taken_or_not_a_socket_is_refused_with_the_reason(void **state)
{
    struct transport_fixture *f = *state;
    struct transport_config config = transport_fixture_config(f);
    struct transport *second = NULL;
    char why[TRANSPORT_WHY_BYTES] = "";
    char longest[200];
    char plain[96];
    FILE *file = NULL;

    assert_int_equal(transport_new(&config, why, &second), ES_E_BUSY);
    assert_non_null(strstr(why, "listens on"));

    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    config.events_path = longest;
    assert_int_equal(transport_new(&config, why, &second), ES_E_TOO_LARGE);
    assert_non_null(strstr(why, "--run"));

    snprintf(plain, sizeof plain, "%s/plain", f->directory);
    file = fopen(plain, "w");
    assert_non_null(file);
    fclose(file);
    config.events_path = plain;
    assert_int_equal(transport_new(&config, why, &second), ES_E_BUSY);
    assert_non_null(strstr(why, "is no socket"));
    assert_null(second);
    unlink(plain);
    assert_good_client_is_served(f);
}

static void a_socket_file_left_by_a_killed_broker_is_replaced(void **state)
{
    struct transport_fixture *f = *state;
    struct transport_config config;
    struct transport *transport = NULL;
    char why[TRANSPORT_WHY_BYTES] = "";
    char path[2][96];

    for (int i = 0; i < 2; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        snprintf(path[i], sizeof path[i], "%s/%d", f->directory, i);
        memcpy(address.sun_path, path[i], strlen(path[i]));
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        close(fd);
    }
    config = (struct transport_config){.requests_path = path[0], .events_path = path[1]};
    assert_int_equal(transport_new(&config, why, &transport), ES_OK);
    transport_free(transport);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, transport_fixture_set_up, transport_fixture_tear_down)
        TEST(a_request_is_answered_and_names_its_user),
        TEST(clients_that_connect_and_close_do_not_stop_the_listeners),
        TEST(clients_that_die_anywhere_harm_nobody),
        TEST(a_request_larger_than_the_limit_closes_its_connection_only),
        TEST(a_client_that_takes_no_replies_does_not_hold_up_another),
        TEST(strangers_that_send_anything_harm_nobody),
        TEST(clients_that_leave_with_answers_due_are_forgotten),
        TEST(stopping_does_not_wait_for_clients),
        TEST(requests_sent_in_one_go_are_answered_in_order),
        TEST(who_broke_the_rules_is_answered_and_then_rests),
        TEST(a_request_header_has_an_end_or_its_sender_is_closed),
        TEST(a_slow_subscriber_loses_the_oldest_messages),
        TEST(every_subscriber_gets_each_message_whole_and_is_noticed),
        TEST(a_subscriber_that_does_not_read_never_blocks_the_publisher),
        TEST(socket_files_have_the_modes_that_keep_others_out),
        TEST(a_path_too_long_taken_or_not_a_socket_is_refused_with_the_reason),
        TEST(a_socket_file_left_by_a_killed_broker_is_replaced),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
