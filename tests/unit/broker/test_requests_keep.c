/* Requests that store something, and those about what is kept beside events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "tests/support/request_fixture.h"

/* ---- appends ---- */

static enum es_status ask_append(struct request_fixture *f, uint64_t expected,
                                 uint32_t payload_bytes, struct es_wire_result *ret_result)
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
    struct request_fixture *f = *state;
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
    struct request_fixture *f = *state;
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
    struct request_fixture *f = *state;
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
    struct request_fixture *f = *state;

    pthread_mutex_lock(&f->mutex);
    f->holds = true;
    pthread_mutex_unlock(&f->mutex);
    assert_int_equal(ask_append(f, 0, 10, NULL), ES_E_UNKNOWN);
    assert_message_has(f, "may or may not");
    inbox_close(f->inbox);
    assert_int_equal(ask_append(f, 0, 10, NULL), ES_NOT_SERVING);
}

/* ---- snapshots ---- */

static enum es_status save_snapshot(struct request_fixture *f, uint64_t tick, uint64_t sequence,
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
static uint64_t load_snapshot(struct request_fixture *f, uint64_t tick, const char *projection)
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

static uint32_t list_snapshots(struct request_fixture *f, const char *prefix)
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
    struct request_fixture *f = *state;
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
    struct request_fixture *f = *state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, request_fixture_set_up, request_fixture_tear_down)
        TEST(an_append_is_stored_and_the_next_read_sees_it),
        TEST(a_conflict_carries_what_is_really_there),
        TEST(an_append_that_can_never_fit_or_is_malformed_is_rejected),
        TEST(an_append_without_an_answer_in_time_is_unknown),
        TEST(snapshots_are_saved_found_at_a_tick_listed_and_deleted),
        TEST(keys_are_read_listed_and_exported_in_pages),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
