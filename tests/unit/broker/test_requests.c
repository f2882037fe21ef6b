/*
 * The request workers over real sockets and a store that the broker's own
 * sequencer builds; a thread plays the commit thread. Replies are read as a
 * client reads them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/limits.h"
#include "broker/requests.h"
#include "shm/codec/envelope.h"
#include "shm/codec/replies.h"
#include "shm/codec/transaction.h"
#include "tests/support/prng.h"
#include "tests/support/sp_client.h"
#include "tests/support/store_builder.h"
#include "tests/support/temp_directory.h"

#include "broker/shims/nng_sendmsg.c"

#define ORDERS "prod:main:L0:orders:M1"
#define ORDER "prod:main:L0:order:M1"

struct fixture {
    struct store_builder builder;
    struct transport *transport;
    struct inbox *inbox;
    struct requests *requests;
    struct counters counters;
    struct counters request_counters;
    char directory[TEMP_DIRECTORY_BYTES_MAX];
    struct sp_client client;
    pthread_t committer;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    unsigned wakes;
    bool ends;
    bool holds; /* takes an append and answers it only at the end */
    uint8_t *request;
    uint8_t *reply_bytes; /* of the last reply */
    size_t reply_size;
    struct es_reply reply;
};

/* ---- the commit thread ---- */

static void wake(void *context)
{
    struct fixture *f = context;

    pthread_mutex_lock(&f->mutex);
    f->wakes++;
    pthread_cond_signal(&f->woken);
    pthread_mutex_unlock(&f->mutex);
}

static void *commit(void *context)
{
    struct fixture *f = context;

    pthread_mutex_lock(&f->mutex);
    while (!f->ends) {
        struct submission *submission = inbox_take(f->inbox);

        while (!f->ends && (submission == NULL || f->holds)) {
            pthread_cond_wait(&f->woken, &f->mutex);
            submission = submission == NULL ? inbox_take(f->inbox) : submission;
        }
        if (submission == NULL) {
            break;
        }
        store_builder_send(&f->builder, submission->transaction, submission->transaction_bytes);
        store_builder_commit(&f->builder);
        submission->result = f->builder.result;
        inbox_answer(f->inbox, submission);
    }
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

/* ---- fixture ---- */

static uint32_t two_lines_of_status(void *context, struct es_pack *pack)
{
    (void)context;
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of("durability"));
    es_pack_str(pack, es_text_of("fsync"));
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of("lanes"));
    es_pack_array(pack, 1);
    es_pack_str(pack, es_text_of("lane 0"));
    return 2;
}

static void open_sockets(struct fixture *f)
{
    char why[TRANSPORT_WHY_BYTES] = "";
    char requests_path[TEMP_DIRECTORY_BYTES_MAX + 32];
    char events_path[TEMP_DIRECTORY_BYTES_MAX + 32];
    struct transport_config config = {.requests_path = requests_path, .events_path = events_path};

    snprintf(requests_path, sizeof requests_path, "%s/requests.sock", f->directory);
    snprintf(events_path, sizeof events_path, "%s/events.sock", f->directory);
    assert_int_equal(transport_new(&config, why, &f->transport), ES_OK);
}

static void connect_client(struct fixture *f)
{
    char path[TEMP_DIRECTORY_BYTES_MAX + 32];

    snprintf(path, sizeof path, "%s/requests.sock", f->directory);
    assert_true(sp_connect(&f->client, path, SP_REQ));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct requests_config config = {
        .counters = &f->counters,
        .request_counters = &f->request_counters,
        .epoch = 77,
        .start_number = 5,
        .transaction_bytes_max = 1 << 20,
        .append_timeout_ns = 1000000000,
        .status = two_lines_of_status,
    };

    assert_non_null(f);
    temp_directory_make(f->directory);
    store_builder_open(&f->builder, NULL);
    f->request = malloc(REQUEST_BYTES_MAX);
    assert_non_null(f->request);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->woken, NULL);
    open_sockets(f);
    assert_int_equal(inbox_new(wake, f, &f->inbox), ES_OK);
    config.transport = f->transport;
    config.store = f->builder.store;
    config.inbox = f->inbox;
    memcpy(config.store_id, f->builder.store_id, ES_STORE_ID_SIZE);
    assert_int_equal(requests_new(&config, &f->requests), ES_OK);
    assert_int_equal(pthread_create(&f->committer, NULL, commit, f), 0);
    connect_client(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sp_close(&f->client);
    transport_stop(f->transport);
    inbox_close(f->inbox);
    requests_free(f->requests);
    pthread_mutex_lock(&f->mutex);
    f->ends = true;
    pthread_cond_signal(&f->woken);
    pthread_mutex_unlock(&f->mutex);
    pthread_join(f->committer, NULL);
    transport_free(f->transport);
    inbox_free(f->inbox);
    store_builder_close(&f->builder);
    pthread_cond_destroy(&f->woken);
    pthread_mutex_destroy(&f->mutex);
    temp_directory_remove(f->directory);
    free(f->request);
    free(f->reply_bytes);
    free(f);
    return 0;
}

/* Sends bytes; whatever they are there must be a well-formed reply. */
static enum es_status ask_bytes(struct fixture *f, const void *bytes, size_t size)
{
    free(f->reply_bytes);
    f->reply_bytes = NULL;
    assert_true(sp_request(&f->client, bytes, size, &f->reply_bytes, &f->reply_size));
    assert_int_equal(
        es_reply_read(es_bytes_make(f->reply_bytes, (uint32_t)f->reply_size), &f->reply), ES_OK);
    return f->reply.status;
}

static enum es_status ask(struct fixture *f, const struct es_request *request)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, f->request, REQUEST_BYTES_MAX);
    es_request_encode(&pack, request);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return ask_bytes(f, f->request, size);
}

static void assert_message_has(const struct fixture *f, const char *words)
{
    struct es_text message = es_reply_message(&f->reply);

    assert_true(message.size > 0);
    assert_non_null(memmem(message.data, message.size, words, strlen(words)));
}

static void assert_reply_is_read(const struct fixture *f)
{
    assert_true(es_unpack_done(&f->reply.rest));
}

/* ---- hello, heads ---- */

static void hello_tells_the_store_and_the_limits(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_HELLO, .as.client_name = es_text_of("test")};
    struct es_hello hello;

    store_builder_append(&f->builder, ORDERS, 3, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(f->reply.position, 3);
    es_hello_read(&f->reply.rest, &hello);
    assert_reply_is_read(f);
    assert_memory_equal(hello.store_id, f->builder.store_id, ES_STORE_ID_SIZE);
    assert_memory_equal(hello.store_hash, f->builder.store_hash, ES_HASH_SIZE);
    assert_int_equal(hello.epoch, 77);
    assert_int_equal(hello.start_number, 5);
    assert_int_equal(hello.page_bytes_max, PAGE_BYTES_MAX);
    assert_int_equal(hello.transaction_bytes_max, 1 << 20);
}

static void heads_are_those_of_the_last_commit(void **state)
{
    struct fixture *f = *state;
    struct es_request head = {.verb = ES_VERB_HEAD, .as.stream = es_text_of(ORDERS)};
    struct es_request store_head = {.verb = ES_VERB_STORE_HEAD};
    struct es_stream_item item;
    struct es_store_head_item store;

    assert_int_equal(ask(f, &head), ES_NOT_FOUND);
    assert_message_has(f, ORDERS);
    store_builder_append(&f->builder, ORDER, 1, 10);
    store_builder_append(&f->builder, ORDERS, 3, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &head), ES_OK);
    es_head_item_read(&f->reply.rest, &item);
    assert_reply_is_read(f);
    assert_true(es_text_equal(item.stream, es_text_of(ORDERS)));
    assert_int_equal(item.sequence, 3);
    assert_int_equal(item.position, 4);
    assert_int_equal(item.first_sequence, 1);
    assert_int_equal(ask(f, &store_head), ES_OK);
    es_store_head_read(&f->reply.rest, &store);
    assert_reply_is_read(f);
    assert_int_equal(store.commit_number, 1);
    assert_memory_equal(store.store_hash, f->builder.store_hash, ES_HASH_SIZE);
}

static void streams_are_listed_in_pages_whatever_their_length(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_STREAMS, .as.streams = {.count = 7}};
    char streams[3][64] = {"", "", ""};
    char after[64] = "";
    uint32_t found = 0;
    bool end = false;

    for (uint32_t i = 0; i < 40; i++) { /* M1 is the beginning of M10, ':' follows '!' */
        snprintf(streams[0], sizeof streams[0], "prod:main:L0:orders:M%u%s", i,
                 i % 3 == 0 ? "!" : "");
        for (uint32_t j = 0; j < 1 + i % 4 * 70; j++) {
            store_builder_append(&f->builder, streams[0], 1, 1);
        }
        store_builder_commit(&f->builder);
    }
    store_builder_append(&f->builder, ORDER, 1, 1);
    store_builder_commit(&f->builder);
    request.as.streams.prefix = es_text_of("prod:main:L0:orders:");
    while (!end) {
        uint32_t count = 0;

        request.as.streams.after = es_text_of(after);
        assert_int_equal(ask(f, &request), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        assert_true(count <= 7);
        for (uint32_t i = 0; i < count; i++) {
            struct es_stream_item item;

            es_stream_item_read(&f->reply.rest, &item);
            assert_true(es_unpack_ok(&f->reply.rest));
            snprintf(after, sizeof after, "%.*s", (int)item.stream.size, item.stream.data);
            found++;
        }
        end = es_unpack_bool(&f->reply.rest);
        assert_reply_is_read(f);
        assert_true(end || count == 7);
    }
    assert_int_equal(found, 40);
}

/* ---- reading ---- */

/* Counts the events of a page, which begin at 'position' if that is not 0. */
static uint32_t read_events(struct fixture *f, uint64_t position, bool *ret_end, uint64_t *ret_next)
{
    uint32_t count = es_unpack_array(&f->reply.rest);

    for (uint32_t i = 0; i < count; i++) {
        struct es_published_event event;
        struct es_event_view view;

        es_event_item_read(&f->reply.rest, &event);
        assert_true(es_unpack_ok(&f->reply.rest));
        assert_int_equal(es_envelope_decode(event.envelope.data, event.envelope.size, &view),
                         ES_OK);
        if (position != 0) {
            assert_int_equal(event.position, position + i);
        }
    }
    *ret_end = es_unpack_bool(&f->reply.rest);
    *ret_next = es_unpack_uint(&f->reply.rest);
    assert_reply_is_read(f);
    return count;
}

static void reading_all_comes_in_pages_within_the_limit(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_READ_ALL, .as.read_all = {.count = 65536}};
    uint64_t next = 1;
    uint32_t pages = 0;
    bool end = false;

    for (uint32_t i = 0; i < 3000; i++) {
        store_builder_append(&f->builder, i % 2 == 0 ? ORDER : ORDERS, 1, 300);
    }
    store_builder_commit(&f->builder);
    while (!end) {
        request.as.read_all.from_position = next;
        assert_int_equal(ask(f, &request), ES_OK);
        assert_int_equal(f->reply.position, 3000);
        assert_true(f->reply_size <= PAGE_BYTES_MAX);
        assert_true(read_events(f, next, &end, &next) > 0);
        pages++;
    }
    assert_int_equal(next, 3001);
    assert_true(pages >= 5);
    assert_true(pages <= 8); /* and the pages are well filled */
    request.as.read_all =
        (struct es_request_read_all){.count = 65536, .category = es_text_of("prod:main:L0:order")};
    assert_int_equal(ask(f, &request), ES_OK);
    (void)read_events(f, 0, &end, &next);
    request.as.read_all.from_position = 3001;
    request.as.read_all.category = es_text_make("", 0);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 0, &end, &next), 0);
    assert_true(end);
}

static void one_event_larger_than_a_page_is_a_page(void **state)
{
    struct fixture *f = *state;
    struct es_request all = {.verb = ES_VERB_READ_ALL, .as.read_all = {.count = 10}};
    struct es_request stream = {.verb = ES_VERB_READ_STREAM,
                                .as.read_stream = {.stream = es_text_of(ORDERS), .count = 10}};
    struct es_request scan = {.verb = ES_VERB_SCAN, .as.scan = {.count = 10}};
    uint64_t next = 0;
    bool end = false;

    store_builder_append(&f->builder, ORDERS, 1, 2 * PAGE_BYTES_MAX);
    store_builder_append(&f->builder, ORDERS, 1, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &all), ES_OK);
    assert_int_equal(read_events(f, 1, &end, &next), 1);
    assert_int_equal(next, 2);
    assert_int_equal(ask(f, &stream), ES_OK);
    assert_true(read_events(f, 1, &end, &next) == 1);
    assert_int_equal(ask(f, &scan), ES_OK);
    assert_int_equal(es_unpack_array(&f->reply.rest), 1);
}

static void a_stream_is_read_both_ways_and_refused_where_it_is_not(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_READ_STREAM,
                                 .as.read_stream = {.stream = es_text_of(ORDERS), .count = 4}};
    uint64_t next = 0;
    bool end = false;

    assert_int_equal(ask(f, &request), ES_NOT_FOUND);
    assert_message_has(f, "no stream");
    store_builder_append(&f->builder, ORDERS, 6, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 1, &end, &next), 4);
    assert_false(end);
    assert_int_equal(next, 5);
    request.as.read_stream.backwards = true;
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 0, &end, &next), 4);
    assert_int_equal(next, 2);
}

static void a_scan_goes_on_after_its_last_key(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_SCAN, .as.scan = {.count = 3}};
    uint8_t after[ES_KEY_SIZE_MAX];
    uint32_t found = 0;
    bool end = false;

    store_builder_append(&f->builder, ORDERS, 6, 10);
    store_builder_append(&f->builder, ORDER, 5, 10);
    store_builder_commit(&f->builder);
    request.as.scan.after_key = es_bytes_make(NULL, 0);
    while (!end) {
        struct es_bytes last;
        uint32_t count = 0;

        assert_int_equal(ask(f, &request), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        for (uint32_t i = 0; i < count; i++) {
            struct es_scan_item item;

            es_scan_item_read(&f->reply.rest, &item);
        }
        found += count;
        end = es_unpack_bool(&f->reply.rest);
        last = es_unpack_bin(&f->reply.rest, ES_KEY_SIZE_MAX);
        assert_reply_is_read(f);
        memcpy(after, last.data, last.size);
        request.as.scan.after_key = es_bytes_make(after, last.size);
    }
    assert_int_equal(found, 11);
}

/* ---- appends ---- */

static uint32_t pack_append(uint8_t *bytes, size_t capacity, uint64_t expected,
                            uint32_t payload_bytes)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(ORDERS),
                      .expect = {.kind = expected == 0 ? ES_EXPECTED_ANY : ES_EXPECTED_EXACT,
                                 .number = expected},
                      .event_count = 1},
    };
    uint8_t *payload = calloc(1, payload_bytes);
    struct es_append_event event = {
        .tick = 5, .type = es_text_of("t"), .payload = es_bytes_make(payload, payload_bytes)};
    struct es_pack pack;
    uint32_t size = 0;

    assert_non_null(payload);
    es_pack_init(&pack, bytes, capacity);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    free(payload);
    return size;
}

static enum es_status ask_append(struct fixture *f, uint64_t expected, uint32_t payload_bytes,
                                 struct es_wire_result *ret_result)
{
    uint8_t *bytes = malloc(REQUEST_BYTES_MAX);
    struct es_request request = {.verb = ES_VERB_APPEND};
    enum es_status status = ES_OK;

    assert_non_null(bytes);
    request.as.append.transaction =
        es_bytes_make(bytes, pack_append(bytes, REQUEST_BYTES_MAX, expected, payload_bytes));
    status = ask(f, &request);
    free(bytes);
    if (ret_result != NULL) {
        es_result_read(&f->reply.rest, ret_result);
        assert_reply_is_read(f);
        assert_int_equal(ret_result->status, status);
    }
    return status;
}

static void an_append_is_stored_and_the_next_read_sees_it(void **state)
{
    struct fixture *f = *state;
    struct es_request head = {.verb = ES_VERB_STORE_HEAD};
    struct es_wire_result result;

    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(ask_append(f, 0, 10, &result), ES_OK);
        assert_int_equal(result.position, i);
        assert_int_equal(result.stream_sequence, i);
        assert_int_equal(result.commit_number, i);
        assert_true(result.has_hash && result.has_store_hash);
        assert_int_equal(f->reply.position, i);
        assert_int_equal(ask(f, &head), ES_OK);
        assert_int_equal(f->reply.position, i);
    }
}

static void a_conflict_carries_what_is_really_there(void **state)
{
    struct fixture *f = *state;
    struct es_wire_result result;

    assert_int_equal(ask_append(f, 0, 10, &result), ES_OK);
    assert_int_equal(ask_append(f, 7, 10, &result), ES_CONFLICT);
    assert_int_equal(result.reason, ES_REASON_SEQUENCE_DIFFERS);
    assert_int_equal(result.stream_sequence, 1);
    assert_true(result.has_hash);
    assert_int_equal(f->reply.position, 1);
}

static void an_append_that_can_never_fit_or_is_malformed_is_rejected(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_APPEND};
    struct es_wire_result result;

    assert_int_equal(ask_append(f, 0, (1 << 20) + 1, &result), ES_REJECTED);
    assert_int_equal(result.reason, ES_REASON_TRANSACTION_SIZE);
    request.as.append.transaction = es_bytes_make("nonsense", 8);
    assert_int_equal(ask(f, &request), ES_REJECTED);
    request.as.append.transaction = es_bytes_make("", 0);
    assert_int_equal(ask(f, &request), ES_REJECTED);
    request.as.append.flags = 2;
    assert_int_equal(ask(f, &request), ES_E_INVALID);
    assert_int_equal(f->builder.position, 0);
}

static void an_append_without_an_answer_in_time_is_unknown(void **state)
{
    struct fixture *f = *state;

    pthread_mutex_lock(&f->mutex);
    f->holds = true;
    pthread_mutex_unlock(&f->mutex);
    assert_int_equal(ask_append(f, 0, 10, NULL), ES_E_UNKNOWN);
    assert_message_has(f, "may or may not");
    inbox_close(f->inbox);
    assert_int_equal(ask_append(f, 0, 10, NULL), ES_NOT_SERVING);
}

/* ---- snapshots ---- */

static enum es_status save_snapshot(struct fixture *f, uint64_t tick, uint64_t sequence,
                                    const char *projection, const char *bytes)
{
    const struct es_request request = {
        .verb = ES_VERB_SNAPSHOT_SAVE,
        .as.snapshot_save = {.stream = es_text_of(ORDERS),
                             .tick = tick,
                             .sequence = sequence,
                             .projection = es_text_of(projection),
                             .version = 3,
                             .state = es_bytes_make(bytes, (uint32_t)strlen(bytes))},
    };

    return ask(f, &request);
}

/* Loads and says which tick came; 0: none. */
static uint64_t load_snapshot(struct fixture *f, uint64_t tick, const char *projection)
{
    const struct es_request request = {
        .verb = ES_VERB_SNAPSHOT_LOAD,
        .as.snapshot_load = {.stream = es_text_of(ORDERS),
                             .newest = tick == 0,
                             .tick = tick,
                             .projection = es_text_of(projection)},
    };
    struct es_snapshot_item item;
    struct es_bytes bytes;

    if (ask(f, &request) == ES_NOT_FOUND) {
        assert_message_has(f, "no valid snapshot");
        return 0;
    }
    assert_int_equal(f->reply.status, ES_OK);
    es_snapshot_item_read(&f->reply.rest, &item);
    bytes = es_unpack_bin(&f->reply.rest, UINT32_MAX);
    assert_reply_is_read(f);
    assert_true(item.valid);
    assert_int_equal(item.state_size, bytes.size);
    assert_int_equal(item.version, 3);
    return item.tick;
}

static uint32_t list_snapshots(struct fixture *f, const char *prefix)
{
    struct es_request request = {
        .verb = ES_VERB_SNAPSHOT_LIST,
        .as.snapshot_list = {.prefix = es_text_of(prefix), .after_key = {NULL, 0}, .count = 2}};
    uint8_t after[ES_KEY_SIZE_MAX];
    uint32_t found = 0;
    bool end = false;

    while (!end) {
        uint32_t count = 0;
        struct es_bytes last;

        assert_int_equal(ask(f, &request), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        for (uint32_t i = 0; i < count; i++) {
            struct es_snapshot_item item;

            es_snapshot_item_read(&f->reply.rest, &item);
            assert_true(item.valid);
        }
        found += count;
        end = es_unpack_bool(&f->reply.rest);
        last = es_unpack_bin(&f->reply.rest, ES_KEY_SIZE_MAX);
        assert_reply_is_read(f);
        memcpy(after, last.data, last.size);
        request.as.snapshot_list.after_key = es_bytes_make(after, last.size);
    }
    return found;
}

static void snapshots_are_saved_found_at_a_tick_listed_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct es_request delete = {.verb = ES_VERB_SNAPSHOT_DELETE,
                                .as.snapshot_delete = {.stream = es_text_of(ORDERS),
                                                       .every_tick = true,
                                                       .projection = es_text_of("sums")}};
    struct es_snapshot_item item;

    store_builder_append(&f->builder, ORDERS, 9, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(save_snapshot(f, 10, 2, "", "first"), ES_OK);
    es_snapshot_item_read(&f->reply.rest, &item);
    assert_reply_is_read(f);
    assert_true(item.valid);
    assert_int_equal(item.sequence, 2);
    assert_int_equal(item.state_size, 5);
    assert_int_equal(save_snapshot(f, 20, 4, "", "second"), ES_OK);
    assert_int_equal(save_snapshot(f, 15, 3, "sums", "third"), ES_OK);
    assert_int_equal(save_snapshot(f, 25, 5, "sums", "fourth"), ES_OK);
    assert_int_equal(save_snapshot(f, 25, 10, "sums", "too far"), ES_NOT_FOUND);
    assert_int_equal(load_snapshot(f, 0, ""), 20);
    assert_int_equal(load_snapshot(f, 19, ""), 10);
    assert_int_equal(load_snapshot(f, 20, ""), 20);
    assert_int_equal(load_snapshot(f, 9, ""), 0);
    assert_int_equal(load_snapshot(f, 0, "sums"), 25);
    assert_int_equal(load_snapshot(f, 24, "sums"), 15);
    assert_int_equal(load_snapshot(f, 0, "other"), 0);
    assert_int_equal(list_snapshots(f, "prod:"), 4);
    assert_int_equal(list_snapshots(f, "test:"), 0);
    assert_int_equal(ask(f, &delete), ES_OK);
    assert_int_equal(es_unpack_uint(&f->reply.rest), 2);
    assert_int_equal(list_snapshots(f, ""), 2);
    assert_int_equal(ask(f, &delete), ES_NOT_FOUND);
}

/* ---- keys ---- */

static void keys_are_read_listed_and_exported_in_pages(void **state)
{
    struct fixture *f = *state;
    struct es_request get = {.verb = ES_VERB_KV_GET,
                             .as.kv_get = {.family = ES_KV_TRUTH,
                                           .name_space = es_text_of("n"),
                                           .key = es_text_of("key 7")}};
    struct es_request list = {
        .verb = ES_VERB_KV_LIST,
        .as.kv_list = {.family = ES_KV_TRUTH, .name_space = es_text_of("n"), .count = 8}};
    struct es_request export = {.verb = ES_VERB_KV_EXPORT, .as.kv_export = {.count = 65536}};
    char after[64] = "";
    uint32_t found = 0;
    bool end = false;

    for (uint32_t i = 0; i < 20; i++) {
        char key[32];

        snprintf(key, sizeof key, "key %u", i);
        store_builder_put(&f->builder, ES_KV_TRUTH, "n", key, "value");
        store_builder_put(&f->builder, ES_KV_TRUTH, "n2", key, "value");
        store_builder_put(&f->builder, ES_KV_DERIVED, "n", key, "value");
        store_builder_commit(&f->builder);
    }
    assert_int_equal(ask(f, &get), ES_OK);
    assert_int_equal(es_unpack_uint(&f->reply.rest), 7 * 3 + 1);
    assert_int_equal(es_unpack_bin(&f->reply.rest, 100).size, 5);
    get.as.kv_get.key = es_text_of("no such key");
    assert_int_equal(ask(f, &get), ES_NOT_FOUND);
    while (!end) {
        uint32_t count = 0;

        list.as.kv_list.after = es_text_of(after);
        assert_int_equal(ask(f, &list), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        for (uint32_t i = 0; i < count; i++) {
            struct es_kv_item item;

            es_kv_item_read(&f->reply.rest, &item);
            snprintf(after, sizeof after, "%.*s", (int)item.key.size, item.key.data);
        }
        found += count;
        end = es_unpack_bool(&f->reply.rest);
        assert_reply_is_read(f);
    }
    assert_int_equal(found, 20);
    export.as.kv_export.after_key = es_bytes_make(NULL, 0);
    assert_int_equal(ask(f, &export), ES_OK);
    assert_int_equal(es_unpack_array(&f->reply.rest), 40);
}

/* ---- administration ---- */

static void status_names_every_counter(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_STATUS};
    uint32_t count = 0;
    uint32_t expected = 2;

#define COUNT_ONE(name) expected++;
    COUNTERS(COUNT_ONE)
#undef COUNT_ONE
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(ask(f, &request), ES_OK);
    count = es_unpack_array(&f->reply.rest);
    assert_int_equal(count, expected);
    for (uint32_t i = 0; i < count; i++) {
        struct es_text name;

        assert_int_equal(es_unpack_array(&f->reply.rest), 2);
        name = es_unpack_str(&f->reply.rest, 100);
        if (es_text_equal(name, es_text_of("requests"))) {
            assert_int_equal(es_unpack_uint(&f->reply.rest), 2);
        } else {
            (void)es_unpack_skip(&f->reply.rest);
        }
    }
    assert_reply_is_read(f);
}

static void verify_goes_on_from_its_cursor_to_the_end(void **state)
{
    struct fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_VERIFY, .as.verify = {.budget_ms = 1}};
    uint8_t cursor[ES_VERIFY_CURSOR_MAX];
    uint64_t events = 0;
    bool end = false;

    for (uint32_t i = 0; i < 50; i++) {
        store_builder_append(&f->builder, ORDERS, 20, 10);
        store_builder_commit(&f->builder);
    }
    request.as.verify.cursor = es_bytes_make(cursor, 0);
    while (!end) {
        struct es_bytes next;

        assert_int_equal(ask(f, &request), ES_OK);
        next = es_unpack_bin(&f->reply.rest, ES_VERIFY_CURSOR_MAX);
        memcpy(cursor, next.data, next.size);
        request.as.verify.cursor = es_bytes_make(cursor, next.size);
        (void)es_unpack_uint(&f->reply.rest);
        events += es_unpack_uint(&f->reply.rest);
        (void)es_unpack_uint(&f->reply.rest);
        end = es_unpack_bool(&f->reply.rest);
        assert_int_equal(es_unpack_array(&f->reply.rest), 0);
        assert_reply_is_read(f);
    }
    assert_int_equal(events, 1000);
    request.as.verify.cursor = es_bytes_make("forged", 6);
    assert_int_equal(ask(f, &request), ES_E_INVALID);
}

/* ---- strangers ---- */

static void whatever_is_wrong_with_a_request_is_an_answer(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum es_status status;
    } cases[] = {
        {"", 0, ES_E_INVALID},
        {"\xc1", 1, ES_E_INVALID},
        {"\x90", 1, ES_E_INVALID},
        {"\x92\x02\x07", 3, ES_E_VERSION},
        {"\x92\x01\x63", 3, ES_E_INVALID},
        {"\x92\x01\x00", 3, ES_E_INVALID},
        {"\x93\x01\x07\x01", 4, ES_E_INVALID},
        {"\x92\x01\x07\x00", 4, ES_E_INVALID},
        {"\x92\x01\x0f", 3, ES_OK},
        {"\xdd\xff\xff\xff\xff\x01\x07", 7, ES_E_INVALID},
        {"\x92\xcc\x01\x07", 4, ES_E_INVALID},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ask_bytes(f, cases[i].bytes, cases[i].size), cases[i].status);
        if (cases[i].status != ES_OK) {
            assert_true(es_reply_message(&f->reply).size > 0);
        }
    }
    assert_int_equal(counter_get(&f->request_counters.requests_malformed), 10);
}

static uint32_t pack_some_request(struct fixture *f, struct prng *prng, uint8_t *bytes)
{
    static const uint8_t some_key[20] = {'S', ':', 'x'};
    struct es_request request = {.verb = (enum es_verb)(1 + prng_below(prng, 17))};
    struct es_pack pack;
    uint32_t size = 0;

    (void)f;
    switch (request.verb) {
    case ES_VERB_APPEND:
        request.as.append.transaction =
            es_bytes_make(bytes + 65536, pack_append(bytes + 65536, 65536, 0, 20));
        break;
    case ES_VERB_READ_STREAM:
        request.as.read_stream = (struct es_request_read_stream){
            es_text_of(ORDERS), prng_below(prng, 20), 5, prng_one_in(prng, 2)};
        break;
    case ES_VERB_READ_ALL:
        request.as.read_all = (struct es_request_read_all){prng_below(prng, 20), 5,
                                                           es_text_of("prod:main:L0:orders")};
        break;
    case ES_VERB_SCAN:
        request.as.scan = (struct es_request_scan){es_bytes_make(some_key, 20), es_text_of("p"), 5};
        break;
    case ES_VERB_HEAD: request.as.stream = es_text_of(ORDERS); break;
    case ES_VERB_STREAMS:
        request.as.streams = (struct es_request_streams){es_text_of("p"), es_text_of(ORDER), 5};
        break;
    case ES_VERB_SNAPSHOT_SAVE:
        request.as.snapshot_save = (struct es_request_snapshot_save){
            es_text_of(ORDERS), 5, 1, es_text_of("p"), 1, es_bytes_make(some_key, 20)};
        break;
    case ES_VERB_SNAPSHOT_LOAD:
        request.as.snapshot_load =
            (struct es_request_snapshot_load){es_text_of(ORDERS), false, 7, es_text_of("p")};
        break;
    case ES_VERB_SNAPSHOT_LIST:
        request.as.snapshot_list =
            (struct es_request_snapshot_list){es_text_of("p"), es_bytes_make(some_key, 20), 5};
        break;
    case ES_VERB_SNAPSHOT_DELETE:
        request.as.snapshot_delete = (struct es_request_snapshot_delete){es_text_of(ORDERS), false,
                                                                         5, false, es_text_of("p")};
        break;
    case ES_VERB_KV_GET:
        request.as.kv_get =
            (struct es_request_kv_get){ES_KV_TRUTH, es_text_of("n"), es_text_of("k")};
        break;
    case ES_VERB_KV_LIST:
        request.as.kv_list =
            (struct es_request_kv_list){ES_KV_DERIVED, es_text_of("n"), es_text_of("k"), 5};
        break;
    case ES_VERB_VERIFY:
        request.as.verify = (struct es_request_verify){es_bytes_make(some_key, 20), 1};
        break;
    case ES_VERB_KV_EXPORT:
        request.as.kv_export = (struct es_request_kv_export){es_bytes_make(some_key, 20), 5};
        break;
    default: request.as.client_name = es_text_of("stranger"); break;
    }
    es_pack_init(&pack, bytes, 65536);
    es_request_encode(&pack, &request);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return size;
}

/* Thousands of requests with a few bytes wrong: each is answered, none is the last. */
static void damaged_requests_never_take_a_worker_down(void **state)
{
    struct fixture *f = *state;
    struct es_request store_head = {.verb = ES_VERB_STORE_HEAD};
    uint8_t *bytes = calloc(2, 65536);
    struct prng prng;

    assert_non_null(bytes);
    prng_begin(&prng, "damaged_requests_never_take_a_worker_down");
    store_builder_append(&f->builder, ORDERS, 9, 10);
    store_builder_append(&f->builder, ORDER, 9, 10);
    store_builder_put(&f->builder, ES_KV_TRUTH, "n", "k", "v");
    store_builder_commit(&f->builder);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t size = pack_some_request(f, &prng, bytes);

        while (prng_one_in(&prng, 2)) {
            bytes[prng_below(&prng, size)] = (uint8_t)prng_next(&prng);
        }
        if (prng_one_in(&prng, 8)) {
            size = (uint32_t)prng_below(&prng, size + 1);
        }
        (void)ask_bytes(f, bytes, size);
    }
    assert_int_equal(ask(f, &store_head), ES_OK);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(hello_tells_the_store_and_the_limits),
        TEST(heads_are_those_of_the_last_commit),
        TEST(streams_are_listed_in_pages_whatever_their_length),
        TEST(reading_all_comes_in_pages_within_the_limit),
        TEST(one_event_larger_than_a_page_is_a_page),
        TEST(a_stream_is_read_both_ways_and_refused_where_it_is_not),
        TEST(a_scan_goes_on_after_its_last_key),
        TEST(an_append_is_stored_and_the_next_read_sees_it),
        TEST(a_conflict_carries_what_is_really_there),
        TEST(an_append_that_can_never_fit_or_is_malformed_is_rejected),
        TEST(an_append_without_an_answer_in_time_is_unknown),
        TEST(snapshots_are_saved_found_at_a_tick_listed_and_deleted),
        TEST(keys_are_read_listed_and_exported_in_pages),
        TEST(status_names_every_counter),
        TEST(verify_goes_on_from_its_cursor_to_the_end),
        TEST(whatever_is_wrong_with_a_request_is_an_answer),
        TEST(damaged_requests_never_take_a_worker_down),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
