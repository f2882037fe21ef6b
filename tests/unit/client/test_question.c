/*
 * Questions: answered, late, broken off, or answered with nonsense. Every call that
 * asks is given replies that no honest broker sends; none of them may crash, hang or
 * believe them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shm/codec/pack.h"
#include "shm/codec/replies.h"
#include "tests/support/client_fixture.h"
#include "tests/support/prng.h"

#define STREAM "test:main:L0:orders:M1"

static void the_store_head_says_what_the_broker_says(void **state)
{
    struct client_fixture *f = *state;
    struct es_store_head head;

    (void)fake_broker_store(f->broker, STREAM, "payload");
    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    assert_int_equal(head.position, 1);
    assert_int_equal(head.epoch, FAKE_EPOCH);
    assert_int_equal(head.start_number, 1);
    assert_int_equal(head.store_id[15], 7);
}

static void a_refusal_carries_the_words_of_the_broker(void **state)
{
    struct client_fixture *f = *state;
    struct es_head head;

    assert_int_equal(es_head(f->connection, STREAM, &head), ES_E_INVALID);
    assert_string_equal(es_connection_error(f->connection),
                        "the fake broker does not know this verb");
}

static void without_an_answer_the_deadline_ends_it(void **state)
{
    struct client_fixture *f = *state;
    const struct es_connection_options options = {.run_dir = f->run_dir, .timeout_ns = 3000000};
    struct es_connection *hasty = NULL;
    struct es_store_head head = {.position = 77};

    assert_int_equal(es_connection_open(&options, &hasty), ES_OK);
    fake_broker_hold_requests(f->broker, true);
    assert_int_equal(es_store_head(hasty, &head), ES_E_UNREACHABLE);
    assert_int_equal(head.position, 77);
    assert_non_null(strstr(es_connection_error(hasty), "in time"));
    fake_broker_hold_requests(f->broker, false);
    /* The late answer to the first is not taken for that to the second. */
    (void)fake_broker_store(f->broker, STREAM, "payload");
    while (es_store_head(hasty, &head) != ES_OK) {
        assert_non_null(strstr(es_connection_error(hasty), "in time"));
    }
    assert_int_equal(head.position, 1);
    es_connection_close(hasty);
}

static void a_question_that_is_harmless_is_asked_again(void **state)
{
    struct client_fixture *f = *state;
    struct es_store_head head;

    fake_broker_break_requests(f->broker, 3);
    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    assert_int_equal(fake_broker_request_count(f->broker), 4);
}

static void one_that_is_not_is_unknown_when_the_connection_breaks(void **state)
{
    struct client_fixture *f = *state;
    uint64_t deleted = 0;

    fake_broker_break_requests(f->broker, 1);
    assert_int_equal(es_snapshot_delete(f->connection, STREAM, 1, NULL, &deleted), ES_E_UNKNOWN);
    assert_int_equal(fake_broker_request_count(f->broker), 1);
    assert_non_null(strstr(es_connection_error(f->connection), "may have been done"));
}

static void no_broker_is_told_at_once(void **state)
{
    struct client_fixture *f = *state;
    struct es_store_head head;

    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    fake_broker_stop(f->broker);
    f->broker = NULL;
    assert_int_equal(es_store_head(f->connection, &head), ES_E_UNREACHABLE);
    assert_non_null(strstr(es_connection_error(f->connection), "no broker is running there"));
    f->broker = fake_broker_start(f->run_dir, 2);
    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    assert_int_equal(head.start_number, 2);
}

static void *ask_many_times(void *context)
{
    struct client_fixture *f = context;

    for (uint32_t i = 0; i < 200; i++) {
        struct es_store_head head;

        assert_int_equal(es_store_head(f->connection, &head), ES_OK);
        assert_int_equal(head.epoch, FAKE_EPOCH);
    }
    return NULL;
}

static void several_threads_may_ask_over_one_connection(void **state)
{
    struct client_fixture *f = *state;
    pthread_t threads[4];

    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many_times, f), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(fake_broker_request_count(f->broker), 800);
}

static void what_is_too_large_to_ask_is_told_before(void **state)
{
    static uint8_t large[3u << 20];
    struct client_fixture *f = *state;

    assert_int_equal(es_snapshot_save(f->connection, STREAM, 1, 1, "", 1, large, sizeof large),
                     ES_E_TOO_LARGE);
    assert_int_equal(fake_broker_request_count(f->broker), 0);
}

/* ---- nonsense ----------------------------------------------------------- */

static bool visit_stream(void *context, const char *stream, const struct es_head *head)
{
    (void)head;
    assert_true(strlen(stream) <= ES_STREAM_BYTES_MAX);
    (*(uint32_t *)context)++;
    return true;
}

static bool visit_key(void *context, const char *key, uint64_t revision, const void *value,
                      size_t value_bytes)
{
    (void)revision;
    (void)value;
    (void)value_bytes;
    assert_true(strlen(key) >= 1);
    (*(uint32_t *)context)++;
    return true;
}

static bool visit_snapshot(void *context, const struct es_snapshot *snapshot)
{
    assert_true(strlen(snapshot->projection) <= ES_NAME_BYTES_MAX);
    (*(uint32_t *)context)++;
    return true;
}

static bool visit_status(void *context, const char *name, uint64_t number, const char *text)
{
    (void)number;
    (void)text;
    assert_true(strlen(name) >= 1);
    (*(uint32_t *)context)++;
    return true;
}

/* Every call that asks; the statuses go to 'statuses', of which there are eight. */
static void ask_everything(struct client_fixture *f, enum es_status *statuses, uint32_t *visits)
{
    struct es_store_head store_head;
    struct es_head head;
    struct es_snapshot snapshot;
    uint64_t revision;
    void *value = NULL;
    size_t value_bytes;

    statuses[0] = es_store_head(f->connection, &store_head);
    statuses[1] = es_head(f->connection, STREAM, &head);
    statuses[2] = es_streams(f->connection, "", visit_stream, visits);
    statuses[3] =
        es_key_get(f->connection, ES_KEYS, "space", "key", &revision, &value, &value_bytes);
    es_free(statuses[3] == ES_OK ? value : NULL);
    statuses[4] = es_keys(f->connection, ES_KEYS, "space", visit_key, visits);
    statuses[5] = es_snapshot_load(f->connection, STREAM, 1, "", &snapshot, &value);
    es_free(statuses[5] == ES_OK ? value : NULL);
    statuses[6] = es_snapshots(f->connection, "", visit_snapshot, visits);
    statuses[7] = es_broker_status(f->connection, visit_status, visits);
}

static void nonsense_in_place_of_an_answer_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t size;
    } answers[] = {
        {"", 0},
        {"\x94\x01\x00\x00\xc3", 5},
        {"\x94\x01\x00\x00\xdd\xff\xff\xff\xff", 9},
    };
    struct client_fixture *f = *state;

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        enum es_status statuses[8];
        uint32_t visits = 0;

        fake_broker_answer_bytes(f->broker, answers[i].bytes, answers[i].size);
        ask_everything(f, statuses, &visits);
        for (uint32_t at = 0; at < 8; at++) {
            assert_int_equal(statuses[at], ES_E_PROTOCOL);
        }
    }
    /* A stream whose hash has no byte. */
    fake_broker_answer_bytes(f->broker, "\x95\x01\x00\x00\x91\x95\xa1x\x01\xc4\x00\x01\x01\xc2",
                             14);
    assert_int_equal(es_streams(f->connection, "", visit_stream, NULL), ES_E_PROTOCOL);
}

/* A listing that says "there is more" and gives nothing, or the same again. */
static void a_listing_that_leads_nowhere_ends(void **state)
{
    struct client_fixture *f = *state;
    uint8_t bytes[512];
    struct es_pack pack;
    uint32_t visits = 0;

    es_pack_init(&pack, bytes, sizeof bytes);
    es_reply_begin(&pack, ES_OK, 1, 3);
    es_pack_array(&pack, 0);
    es_pack_bool(&pack, false);
    es_pack_bin(&pack, "", 0);
    fake_broker_answer_bytes(f->broker, bytes, (uint32_t)es_pack_size(&pack));
    assert_int_equal(es_streams(f->connection, "", visit_stream, &visits), ES_E_PROTOCOL);
    assert_int_equal(es_keys(f->connection, ES_KEYS, "s", visit_key, &visits), ES_E_PROTOCOL);
    assert_int_equal(es_snapshots(f->connection, "", visit_snapshot, &visits), ES_E_PROTOCOL);
    assert_int_equal(visits, 0);

    es_pack_init(&pack, bytes, sizeof bytes);
    es_reply_begin(&pack, ES_OK, 1, 2);
    es_pack_array(&pack, 1);
    es_pack_array(&pack, 3);
    es_pack_str(&pack, es_text_of("key"));
    es_pack_uint(&pack, 1);
    es_pack_bin(&pack, "v", 1);
    es_pack_bool(&pack, false);
    fake_broker_answer_bytes(f->broker, bytes, (uint32_t)es_pack_size(&pack));
    assert_int_equal(es_keys(f->connection, ES_KEYS, "s", visit_key, &visits), ES_E_PROTOCOL);
    assert_int_equal(visits, 1);
}

static void random_bytes_behind_a_sound_beginning_do_no_harm(void **state)
{
    struct client_fixture *f = *state;
    struct prng prng;

    prng_begin(&prng, "question");
    for (uint32_t round = 0; round < 300; round++) {
        uint8_t bytes[64] = {0x90 | 6, 0x01, 0x00, 0x01};
        uint32_t size = 4 + (uint32_t)prng_below(&prng, 60);
        enum es_status statuses[8];
        uint32_t visits = 0;

        prng_fill(&prng, bytes + 4, size - 4);
        if (prng_one_in(&prng, 2)) {
            bytes[4] = 0x91; /* something to look into */
        }
        fake_broker_answer_bytes(f->broker, bytes, size);
        ask_everything(f, statuses, &visits);
        assert_true(visits < 1000);
    }
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(the_store_head_says_what_the_broker_says),
        FIXED(a_refusal_carries_the_words_of_the_broker),
        FIXED(without_an_answer_the_deadline_ends_it),
        FIXED(a_question_that_is_harmless_is_asked_again),
        FIXED(one_that_is_not_is_unknown_when_the_connection_breaks),
        FIXED(no_broker_is_told_at_once),
        FIXED(several_threads_may_ask_over_one_connection),
        FIXED(what_is_too_large_to_ask_is_told_before),
        FIXED(nonsense_in_place_of_an_answer_is_refused),
        FIXED(a_listing_that_leads_nowhere_ends),
        FIXED(random_bytes_behind_a_sound_beginning_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
