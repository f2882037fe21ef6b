/*
 * What the codec puts on the wire is what tests/golden holds: transactions,
 * published messages, requests and attach messages, built here from their
 * fields and read back. Replies are in test_codec_golden_replies.c.
 */
#include "tests/support/codec_samples.h"
#include "tests/support/golden.h"

#include "shm/codec/attach.h"
#include "shm/codec/published.h"
#include "shm/codec/requests.h"
#include "shm/codec/store_key.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint8_t kept[GOLDEN_SIZE_MAX];
static uint8_t built[GOLDEN_SIZE_MAX];
static uint32_t size;

static void expect_packed(const char *file, const char *name, const struct es_pack *pack)
{
    assert_int_equal(es_pack_finish(pack, &size), ES_OK);
    golden_expect(file, name, pack->begin, size);
}

static uint32_t smallest_transaction(uint8_t *bytes, size_t capacity)
{
    struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(SAMPLE_STOCK), .event_count = 1},
    };
    struct es_append_event event = {.type = es_text_of("x")};
    struct es_pack pack;

    es_pack_init(&pack, bytes, capacity);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return size;
}

static void transactions_are_as_kept(void **state)
{
    (void)state;
    size = sample_transaction(built, sizeof built);
    golden_expect("transaction", "every_operation", built, size);
    size = smallest_transaction(built, sizeof built);
    golden_expect("transaction", "smallest", built, size);
}

static void a_kept_transaction_gives_back_its_operations(void **state)
{
    size_t kept_size = golden_read("transaction", "every_operation", kept);
    struct es_transaction_reader reader;
    struct es_operation operation;
    struct es_append_event event;
    bool found = true;

    (void)state;
    assert_int_equal(es_transaction_read(&reader, kept, kept_size), ES_REASON_NONE);
    assert_int_equal(reader.producer_sequence, 17);
    assert_int_equal(reader.operation_count, 13);
    assert_int_equal(es_transaction_read_operation(&reader, &operation, &found), ES_REASON_NONE);
    assert_int_equal(operation.as.append.expect.kind, ES_EXPECTED_NONE);
    assert_true(operation.as.append.expect_hash.given);
    assert_int_equal(operation.as.append.expect_hash.hash.size, 0);
    assert_true(es_text_equal(operation.as.append.parts.model, es_text_of("1042")));
    assert_int_equal(es_transaction_read_event(&reader, &event, &found), ES_REASON_NONE);
    assert_true(es_text_equal(event.type, es_text_of("Placed")));
    assert_null(event.expected_hash);
    /* the second event is left unread */
    assert_int_equal(es_transaction_read_operation(&reader, &operation, &found), ES_REASON_NONE);
    assert_int_equal(operation.as.append.expect.kind, ES_EXPECTED_EXISTS);
    assert_false(operation.as.append.expect_hash.given);
    assert_int_equal(es_transaction_read_operation(&reader, &operation, &found), ES_REASON_NONE);
    assert_int_equal(operation.as.append.expect.kind, ES_EXPECTED_EXACT);
    assert_int_equal(operation.as.append.expect.number, 70000);
    assert_memory_equal(operation.as.append.expect_hash.hash.data, sample_fill(0x33), ES_HASH_SIZE);
    for (uint32_t i = 3; i < 13; i++) {
        assert_int_equal(es_transaction_read_operation(&reader, &operation, &found),
                         ES_REASON_NONE);
        assert_true(found);
    }
    assert_false(operation.as.snapshot_delete.every_projection);
    assert_true(operation.as.snapshot_delete.every_tick);
    assert_int_equal(es_transaction_read_operation(&reader, &operation, &found), ES_REASON_NONE);
    assert_false(found);
}

static void published_events_are_as_kept(void **state)
{
    struct es_published_head head = {
        .epoch = SAMPLE_EPOCH, .first_position = 1, .last_position = 3, .event_count = 2};
    struct sample_event first;
    struct sample_event second;
    struct es_pack pack;

    (void)state;
    sample_first(&first);
    sample_second(&second);
    es_pack_init(&pack, built, sizeof built);
    es_published_begin(&pack, es_text_of("prod:main:L0:orders"), &head);
    es_published_add(&pack, &(struct es_published_event){
                                1, 1, SAMPLE_TIME_US, es_bytes_make(first.envelope, first.size)});
    es_published_add(&pack, &(struct es_published_event){
                                3, 2, SAMPLE_TIME_US, es_bytes_make(second.envelope, second.size)});
    expect_packed("published", "events", &pack);
}

static void a_published_message_gives_back_its_events(void **state)
{
    uint32_t kept_size = (uint32_t)golden_read("published", "events", kept);
    struct es_published_reader reader;
    struct es_published_event event;
    struct es_text topic;
    struct es_bytes body;

    (void)state;
    assert_int_equal(es_published_split(es_bytes_make(kept, kept_size), &topic, &body), ES_OK);
    assert_true(es_text_equal(topic, es_text_of("S:prod:main:L0:orders:")));
    assert_int_equal(es_published_read(&reader, body), ES_OK);
    assert_int_equal(reader.head.epoch, SAMPLE_EPOCH);
    assert_int_equal(reader.head.previous_position, 0);
    assert_int_equal(es_published_next(&reader, &event), ES_OK);
    assert_int_equal(event.position, 1);
    assert_int_equal(es_published_next(&reader, &event), ES_OK);
    assert_int_equal(event.position, 3);
    assert_int_equal(event.sequence, 2);
    golden_expect("envelope", "second", event.envelope.data, event.envelope.size);
    assert_int_equal(es_published_next(&reader, &event), ES_EMPTY);
    assert_int_equal(es_published_next(&reader, &event), ES_EMPTY);
}

static void heartbeats_are_as_kept(void **state)
{
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX] = {
        {es_text_of("prod:main:L0:orders"), 3},
        {es_text_of("prod:main:L0:stock"), 2},
    };
    struct es_heartbeat heartbeat = {.epoch = SAMPLE_EPOCH,
                                     .start_number = 3,
                                     .number = 70000,
                                     .head_position = 3,
                                     .changed_known = true,
                                     .changed_count = 2};
    struct es_heartbeat read;
    struct es_text topic;
    struct es_bytes body;
    struct es_pack pack;

    (void)state;
    memcpy(heartbeat.store_id, sample_store_id, ES_STORE_ID_SIZE);
    memcpy(heartbeat.store_hash, sample_fill(0x44), ES_HASH_SIZE);
    es_pack_init(&pack, built, sizeof built);
    es_heartbeat_write(&pack, &heartbeat, changed);
    expect_packed("published", "heartbeat", &pack);
    assert_int_equal(es_published_split(es_bytes_make(built, size), &topic, &body), ES_OK);
    assert_true(es_text_equal(topic, es_text_of("H:")));
    assert_int_equal(es_heartbeat_read(body, &read, changed), ES_OK);
    assert_int_equal(read.number, 70000);
    assert_int_equal(read.head_position, 3);
    assert_int_equal(changed[1].last_position, 2);
    heartbeat.changed_known = false;
    es_pack_init(&pack, built, sizeof built);
    es_heartbeat_write(&pack, &heartbeat, changed);
    expect_packed("published", "heartbeat_nil", &pack);
}

static void expect_request(const char *name, const struct es_request *request)
{
    struct es_pack pack;

    es_pack_init(&pack, built, sizeof built);
    es_request_encode(&pack, request);
    expect_packed("request", name, &pack);
}

static void requests_about_events_are_as_kept(void **state)
{
    struct es_text orders = es_text_of(SAMPLE_ORDERS);
    struct es_request request = {.verb = ES_VERB_HELLO,
                                 .as.hello.client_name = es_text_of("example")};
    uint8_t transaction[256];
    struct es_key key;

    (void)state;
    expect_request("hello", &request);
    request.verb = ES_VERB_APPEND;
    uint32_t transaction_size = smallest_transaction(transaction, sizeof transaction);
    request.as.append = (struct es_request_append){es_bytes_make(transaction, transaction_size),
                                                   ES_APPEND_ALLOW_GAP, es_text_of("")};
    expect_request("append", &request);
    request.verb = ES_VERB_READ_STREAM;
    request.as.read_stream = (struct es_request_read_stream){orders, 0, 65536, true};
    expect_request("read_stream", &request);
    request.verb = ES_VERB_READ_ALL;
    request.as.read_all = (struct es_request_read_all){1, 100, es_text_of("")};
    expect_request("read_all", &request);
    request.as.read_all =
        (struct es_request_read_all){70000, 1, es_text_of("prod:main:L0:orders:")};
    expect_request("read_all_category", &request);
    request.verb = ES_VERB_SCAN;
    request.as.scan = (struct es_request_scan){es_bytes_make("", 0), es_text_of("prod:"), 1000};
    expect_request("scan", &request);
    es_key_event(orders, 258, &key);
    request.as.scan =
        (struct es_request_scan){es_bytes_make(key.bytes, key.size), es_text_of(""), 1000};
    expect_request("scan_on", &request);
    request.verb = ES_VERB_HEAD;
    request.as.stream = orders;
    expect_request("head", &request);
    request.verb = ES_VERB_STORE_HEAD;
    expect_request("store_head", &request);
    request.verb = ES_VERB_STREAMS;
    request.as.streams = (struct es_request_streams){es_text_of("prod:main:"), orders, 10};
    expect_request("streams", &request);
    request.verb = ES_VERB_STATUS;
    expect_request("status", &request);
    request.verb = ES_VERB_VERIFY;
    request.as.verify = (struct es_request_verify){es_bytes_make("\1\2", 2), 1000};
    expect_request("verify", &request);
}

static void requests_about_snapshots_and_keys_are_as_kept(void **state)
{
    struct es_text orders = es_text_of(SAMPLE_ORDERS);
    struct es_text totals = es_text_of("totals");
    struct es_text settings = es_text_of("settings");
    struct es_request request = {.verb = ES_VERB_SNAPSHOT_SAVE};
    struct es_key key;

    (void)state;
    request.as.snapshot_save =
        (struct es_request_snapshot_save){orders, 300, 2, totals, 3, sample_text_bytes("state")};
    expect_request("snapshot_save", &request);
    request.verb = ES_VERB_SNAPSHOT_LOAD;
    request.as.snapshot_load =
        (struct es_request_snapshot_load){orders, false, 300, es_text_of("")};
    expect_request("snapshot_load", &request);
    request.as.snapshot_load = (struct es_request_snapshot_load){orders, true, 0, totals};
    expect_request("snapshot_load_newest", &request);
    request.verb = ES_VERB_SNAPSHOT_LIST;
    es_key_snapshot(orders, 300, 2, totals, &key);
    request.as.snapshot_list =
        (struct es_request_snapshot_list){es_text_of(""), es_bytes_make(key.bytes, key.size), 10};
    expect_request("snapshot_list", &request);
    request.verb = ES_VERB_SNAPSHOT_DELETE;
    request.as.snapshot_delete =
        (struct es_request_snapshot_delete){orders, false, 300, false, totals};
    expect_request("snapshot_delete", &request);
    request.as.snapshot_delete =
        (struct es_request_snapshot_delete){orders, true, 0, true, es_text_of("")};
    expect_request("snapshot_delete_all", &request);
    request.verb = ES_VERB_KV_GET;
    request.as.kv_get = (struct es_request_kv_get){ES_KV_TRUTH, settings, es_text_of("a:key")};
    expect_request("kv_get", &request);
    request.verb = ES_VERB_KV_LIST;
    request.as.kv_list = (struct es_request_kv_list){ES_KV_DERIVED, settings, es_text_of(""), 10};
    expect_request("kv_list", &request);
    request.verb = ES_VERB_KV_EXPORT;
    request.as.kv_export = (struct es_request_kv_export){es_bytes_make("", 0), 10};
    expect_request("kv_export", &request);
}

static void requests_about_producers_are_as_kept(void **state)
{
    struct es_text importer = es_text_of("importer");
    struct es_request request = {.verb = ES_VERB_APPEND};
    enum es_reason reason = ES_REASON_NONE;
    uint8_t transaction[256];
    uint32_t transaction_size = smallest_transaction(transaction, sizeof transaction);

    (void)state;
    request.as.append =
        (struct es_request_append){es_bytes_make(transaction, transaction_size), 0, importer};
    expect_request("append_named", &request);
    assert_int_equal(es_request_decode(es_bytes_make(built, size), &request, &reason), ES_OK);
    assert_true(es_text_equal(request.as.append.producer, importer));
    request.verb = ES_VERB_PRODUCER;
    request.as.producer = (struct es_request_producer){importer, 17};
    expect_request("producer", &request);
    assert_int_equal(es_request_decode(es_bytes_make(built, size), &request, &reason), ES_OK);
    assert_int_equal(request.as.producer.number, 17);
    request.verb = ES_VERB_PRODUCERS;
    request.as.producers = (struct es_request_producers){importer, 10};
    expect_request("producers", &request);
    assert_int_equal(es_request_decode(es_bytes_make(built, size), &request, &reason), ES_OK);
    assert_int_equal(request.as.producers.count, 10);
}

static void requests_about_what_was_seen_are_as_kept(void **state)
{
    struct es_request request = {.verb = ES_VERB_HELLO,
                                 .as.hello.client_name = es_text_of("example")};
    enum es_reason reason = ES_REASON_NONE;
    static uint8_t receipt[GOLDEN_SIZE_MAX];
    size_t receipt_bytes = golden_read("value", "receipt", receipt);

    (void)state;
    request.as.hello.epoch = SAMPLE_EPOCH;
    memcpy(request.as.hello.store_id, sample_store_id, ES_STORE_ID_SIZE);
    request.as.hello.has_checkpoint = true;
    request.as.hello.position = 70000;
    expect_request("hello_checkpoint", &request);
    assert_int_equal(es_request_decode(es_bytes_make(built, size), &request, &reason), ES_OK);
    assert_int_equal(request.as.hello.position, 70000);
    assert_int_equal(request.as.hello.receipt.size, 0);
    request.as.hello.receipt = es_bytes_make(receipt, (uint32_t)receipt_bytes);
    request.as.hello.position = 2;
    expect_request("hello_claims", &request);
    request.as.hello.has_checkpoint = false;
    expect_request("hello_receipt", &request);
    assert_int_equal(es_request_decode(es_bytes_make(built, size), &request, &reason), ES_OK);
    assert_false(request.as.hello.has_checkpoint);
    assert_memory_equal(request.as.hello.receipt.data, receipt, receipt_bytes);
    request.verb = ES_VERB_BACKUP;
    request.as.backup = es_text_of("/backups/monday");
    expect_request("backup", &request);
}

static void kept_requests_give_back_their_arguments(void **state)
{
    enum es_reason reason = ES_REASON_NONE;
    struct es_request request;

    (void)state;
    size = (uint32_t)golden_read("request", "snapshot_save", kept);
    assert_int_equal(es_request_decode(es_bytes_make(kept, size), &request, &reason), ES_OK);
    assert_int_equal(request.verb, ES_VERB_SNAPSHOT_SAVE);
    assert_int_equal(request.as.snapshot_save.tick, 300);
    assert_int_equal(request.as.snapshot_save.sequence, 2);
    assert_int_equal(request.as.snapshot_save.version, 3);
    size = (uint32_t)golden_read("request", "read_stream", kept);
    assert_int_equal(es_request_decode(es_bytes_make(kept, size), &request, &reason), ES_OK);
    assert_int_equal(request.as.read_stream.from_sequence, 0);
    assert_int_equal(request.as.read_stream.count, 65536);
    assert_true(request.as.read_stream.backwards);
    size = (uint32_t)golden_read("request", "snapshot_load_newest", kept);
    assert_int_equal(es_request_decode(es_bytes_make(kept, size), &request, &reason), ES_OK);
    assert_true(request.as.snapshot_load.newest);
    size = (uint32_t)golden_read("request", "append", kept);
    assert_int_equal(es_request_decode(es_bytes_make(kept, size), &request, &reason), ES_OK);
    golden_expect("transaction", "smallest", request.as.append.transaction.data,
                  request.as.append.transaction.size);
}

static void attach_messages_are_as_kept(void **state)
{
    struct es_attach_request request = {.layout_id = 0x45530001,
                                        .client_name = es_text_of("example")};
    struct es_attach_reply reply = {.message = es_text_of(""),
                                    .lane_index = 3,
                                    .incarnation = 3ULL << 32 | 7,
                                    .ring_index = 1,
                                    .last_number = 17};
    struct es_attach_reply refusal = {.status = ES_E_LIMIT,
                                      .message = es_text_of("all 256 lanes are in use")};
    struct es_attach_reply read;

    (void)state;
    assert_int_equal(es_attach_request_encode(&request, built, ES_ATTACH_BYTES_MAX, &size), ES_OK);
    golden_expect("attach", "request", built, size);
    assert_int_equal(es_attach_request_decode(built, size, &request), ES_OK);
    assert_int_equal(request.layout_id, 0x45530001);
    assert_int_equal(request.producer.size, 0);
    request.producer = es_text_of("importer");
    request.take_over = true;
    assert_int_equal(es_attach_request_encode(&request, built, ES_ATTACH_BYTES_MAX, &size), ES_OK);
    golden_expect("attach", "request_named", built, size);
    assert_int_equal(es_attach_request_decode(built, size, &request), ES_OK);
    assert_true(es_text_equal(request.producer, es_text_of("importer")));
    assert_true(request.take_over);
    assert_int_equal(es_attach_reply_encode(&reply, built, ES_ATTACH_BYTES_MAX, &size), ES_OK);
    golden_expect("attach", "reply", built, size);
    assert_int_equal(es_attach_reply_decode(built, size, &read), ES_OK);
    assert_int_equal(read.lane_index, 3);
    assert_int_equal(read.ring_index, 1);
    assert_int_equal(read.last_number, 17);
    assert_int_equal(es_attach_reply_encode(&refusal, built, ES_ATTACH_BYTES_MAX, &size), ES_OK);
    golden_expect("attach", "refusal", built, size);
    assert_int_equal(es_attach_reply_decode(built, size, &read), ES_OK);
    assert_int_equal(read.status, ES_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_are_as_kept),
        cmocka_unit_test(a_kept_transaction_gives_back_its_operations),
        cmocka_unit_test(published_events_are_as_kept),
        cmocka_unit_test(a_published_message_gives_back_its_events),
        cmocka_unit_test(heartbeats_are_as_kept),
        cmocka_unit_test(requests_about_events_are_as_kept),
        cmocka_unit_test(requests_about_snapshots_and_keys_are_as_kept),
        cmocka_unit_test(requests_about_producers_are_as_kept),
        cmocka_unit_test(requests_about_what_was_seen_are_as_kept),
        cmocka_unit_test(kept_requests_give_back_their_arguments),
        cmocka_unit_test(attach_messages_are_as_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
