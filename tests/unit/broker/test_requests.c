/* Administration, and whatever strangers send: each gets an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/support/prng.h"
#include "tests/support/request_fixture.h"

/* ---- administration ---- */

static void status_names_every_counter(void **state)
{
    struct request_fixture *f = *state;
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
    struct request_fixture *f = *state;
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

static void verify_tells_what_it_finds(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_VERIFY, .as.verify = {.budget_ms = 2000}};
    struct es_finding finding;

    store_builder_append(&f->builder, ORDERS, 2, 10);
    store_builder_commit(&f->builder);
    store_batch_clear(f->builder.writes);
    assert_int_equal(store_batch_put(f->builder.writes, STORE_READ_MODELS,
                                     (struct store_slice){"K:space:name", 12},
                                     (struct store_slice){"garbage", 7}),
                     ES_OK);
    assert_int_equal(store_apply(f->builder.store, f->builder.writes, STORE_APPLY_LIVE), ES_OK);
    request.as.verify.cursor = es_bytes_make("", 0);
    assert_int_equal(ask(f, &request), ES_OK);
    es_unpack_skip_count(&f->reply.rest, 4);
    assert_true(es_unpack_bool(&f->reply.rest));
    assert_int_equal(es_unpack_array(&f->reply.rest), 1);
    es_finding_read(&f->reply.rest, &finding);
    assert_reply_is_read(f);
    assert_int_equal(finding.kind, ES_FINDING_KEY);
    assert_non_null(memmem(finding.message.data, finding.message.size, "space:name", 10));
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
    struct request_fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ask_bytes(f, cases[i].bytes, cases[i].size), cases[i].status);
        if (cases[i].status != ES_OK) {
            assert_true(es_reply_message(&f->reply).size > 0);
        }
    }
    assert_int_equal(counter_get(&f->request_counters.requests_malformed), 10);
}

static uint32_t pack_some_request(struct request_fixture *f, struct prng *prng, uint8_t *bytes)
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
    default: request.as.hello.client_name = es_text_of("stranger"); break;
    }
    es_pack_init(&pack, bytes, 65536);
    es_request_encode(&pack, &request);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return size;
}

/* Thousands of requests with a few bytes wrong: each is answered, none is the last. */
static void damaged_requests_never_take_a_worker_down(void **state)
{
    struct request_fixture *f = *state;
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
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, request_fixture_set_up, request_fixture_tear_down)
        TEST(status_names_every_counter),
        TEST(verify_tells_what_it_finds),
        TEST(verify_goes_on_from_its_cursor_to_the_end),
        TEST(whatever_is_wrong_with_a_request_is_an_answer),
        TEST(damaged_requests_never_take_a_worker_down),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
