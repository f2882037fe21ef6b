/*
 * Replies of every kind are what tests/golden holds, pages included, and give
 * back what was put into them.
 */
#include "tests/support/codec_samples.h"
#include "tests/support/golden.h"

#include "shm/codec/replies.h"
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

static void single_replies_are_as_kept(void **state)
{
    struct es_hello hello = {.epoch = SAMPLE_EPOCH,
                             .start_number = 3,
                             .transaction_bytes_max = 524288,
                             .page_bytes_max = ES_PAGE_BYTES_MAX,
                             .heartbeat_ms = 100};
    struct es_store_head_item store_head = {
        .epoch = SAMPLE_EPOCH, .commit_number = 2, .start_number = 3};
    struct es_wire_result conflict = {.status = ES_CONFLICT,
                                      .reason = ES_REASON_SEQUENCE_DIFFERS,
                                      .operation = 1,
                                      .stream_sequence = 2,
                                      .revision = 5};
    struct es_wire_result done = {.stream_sequence = 2,
                                  .position = 3,
                                  .has_hash = true,
                                  .commit_number = 1,
                                  .has_store_hash = true,
                                  .tick = 7,
                                  .time_us = SAMPLE_TIME_US};
    struct sample_event second;
    struct es_pack pack;

    (void)state;
    sample_second(&second);
    es_pack_init(&pack, built, sizeof built);
    es_reply_refuse(&pack, ES_NOT_FOUND, 3, "there is no such stream");
    expect_packed("reply", "refusal", &pack);
    memcpy(hello.store_id, sample_store_id, ES_STORE_ID_SIZE);
    memcpy(hello.store_hash, sample_fill(0x44), ES_HASH_SIZE);
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, ES_OK, 3, ES_HELLO_COUNT);
    es_hello_write(&pack, &hello);
    expect_packed("reply", "hello", &pack);
    memcpy(store_head.store_id, sample_store_id, ES_STORE_ID_SIZE);
    memcpy(store_head.store_hash, sample_fill(0x44), ES_HASH_SIZE);
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, ES_OK, 3, ES_STORE_HEAD_COUNT);
    es_store_head_write(&pack, &store_head);
    expect_packed("reply", "store_head", &pack);
    memcpy(done.hash, second.hash, ES_HASH_SIZE);
    memcpy(done.store_hash, sample_fill(0x44), ES_HASH_SIZE);
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, done.status, 3, 1);
    es_result_write(&pack, &done);
    expect_packed("reply", "result", &pack);
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, conflict.status, 3, 1);
    es_result_write(&pack, &conflict);
    expect_packed("reply", "result_conflict", &pack);
}

static void replies_about_producers_are_as_kept(void **state)
{
    struct es_producer_reply producer = {.last_number = 17,
                                         .owner_incarnation = 3ULL << 32 | 1,
                                         .owner_uid = 1000,
                                         .owner_pid = 4711,
                                         .owner_alive = true,
                                         .found = true,
                                         .result = {.stream_sequence = 2,
                                                    .position = 3,
                                                    .has_hash = true,
                                                    .commit_number = 1,
                                                    .has_store_hash = true,
                                                    .tick = 7,
                                                    .time_us = SAMPLE_TIME_US}};
    struct es_producer_reply missing = {.last_number = 17, .owner_incarnation = 3ULL << 32 | 1};
    static uint8_t receipt[GOLDEN_SIZE_MAX];
    struct es_producer_reply read;
    struct sample_event second;
    struct es_reply reply;
    struct es_pack pack;

    (void)state;
    sample_second(&second);
    memcpy(producer.result.hash, second.hash, ES_HASH_SIZE);
    memcpy(producer.result.store_hash, sample_fill(0x44), ES_HASH_SIZE);
    producer.receipt = es_bytes_make(receipt, (uint32_t)golden_read("value", "receipt", receipt));
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, ES_OK, 3, ES_PRODUCER_REPLY_COUNT);
    es_producer_reply_write(&pack, &producer);
    expect_packed("reply", "producer", &pack);
    assert_int_equal(es_reply_read(es_bytes_make(built, size), &reply), ES_OK);
    es_producer_reply_read(&reply.rest, &read);
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(read.last_number, 17);
    assert_int_equal(read.owner_pid, 4711);
    assert_true(read.owner_alive);
    assert_int_equal(read.receipt.size, producer.receipt.size);
    assert_int_equal(read.result.position, 3);

    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, ES_OK, 3, ES_PRODUCER_REPLY_COUNT);
    es_producer_reply_write(&pack, &missing);
    expect_packed("reply", "producer_not_found", &pack);
    assert_int_equal(es_reply_read(es_bytes_make(built, size), &reply), ES_OK);
    es_producer_reply_read(&reply.rest, &read);
    assert_true(es_unpack_done(&reply.rest));
    assert_false(read.found);
    assert_int_equal(read.receipt.size, 0);
}

static struct es_stream_item orders_item(const struct sample_event *second)
{
    return (struct es_stream_item){es_text_of(SAMPLE_ORDERS), 2, second->hash, 7, 3, 1};
}

static void head_replies_are_as_kept(void **state)
{
    struct sample_event second;
    struct es_pack pack;

    (void)state;
    sample_second(&second);
    struct es_stream_item head = orders_item(&second);
    es_pack_init(&pack, built, sizeof built);
    es_reply_begin(&pack, ES_OK, 3, 1);
    es_head_item_write(&pack, &head);
    expect_packed("reply", "head", &pack);
}

/* Ends a page's items; what follows is 'end' and, if any, a key. */
static void expect_page(const char *name, struct es_page *page, bool end, const struct es_key *key)
{
    struct es_bytes reply;

    es_page_end_items(page);
    es_pack_bool(&page->pack, end);
    if (key != NULL) {
        es_pack_bin(&page->pack, key->bytes, key->size);
    }
    assert_int_equal(es_page_finish(page, 3, key != NULL ? 2 : 1, &reply), ES_OK);
    golden_expect("reply", name, reply.data, reply.size);
}

static void begin_page(struct es_page *page)
{
    static uint8_t buffer[2 * ES_REPLY_OVERHEAD_MAX];

    es_page_begin(page, buffer, sizeof buffer, sizeof buffer);
}

static void pages_of_events_are_as_kept(void **state)
{
    struct sample_event first;
    struct sample_event second;
    struct es_bytes reply;
    struct es_page page;
    struct es_key key;

    (void)state;
    sample_first(&first);
    sample_second(&second);
    begin_page(&page);
    es_event_item_write(&page.pack,
                        &(struct es_published_event){1, 1, SAMPLE_TIME_US,
                                                     es_bytes_make(first.envelope, first.size)});
    es_page_count(&page);
    es_event_item_write(&page.pack,
                        &(struct es_published_event){3, 2, SAMPLE_TIME_US,
                                                     es_bytes_make(second.envelope, second.size)});
    es_page_count(&page);
    es_page_end_items(&page);
    es_pack_bool(&page.pack, true);
    es_pack_uint(&page.pack, 3);
    assert_int_equal(es_page_finish(&page, 3, 2, &reply), ES_OK);
    golden_expect("reply", "events", reply.data, reply.size);

    begin_page(&page);
    es_scan_item_write(&page.pack,
                       &(struct es_scan_item){258, es_bytes_make(first.envelope, first.size)});
    es_page_count(&page);
    es_key_event(es_text_of(SAMPLE_ORDERS), 258, &key);
    expect_page("scan", &page, true, &key);
}

static void pages_of_other_items_are_as_kept(void **state)
{
    struct es_text orders = es_text_of(SAMPLE_ORDERS);
    struct es_kv_item pair = {es_text_of("settings"), es_text_of("a:key"), 5,
                              sample_text_bytes("value")};
    struct sample_event second;
    struct es_page page;
    struct es_key key;

    (void)state;
    sample_second(&second);
    struct es_stream_item stream = orders_item(&second);
    begin_page(&page);
    for (int i = 0; i < 17; i++) {
        es_stream_item_write(&page.pack, &stream);
        es_page_count(&page);
    }
    expect_page("streams", &page, false, NULL);
    begin_page(&page);
    es_snapshot_item_write(&page.pack, &(struct es_snapshot_item){orders, 300, 2, second.hash,
                                                                  es_text_of("totals"), 3,
                                                                  SAMPLE_TIME_US, 300, false});
    es_page_count(&page);
    es_key_snapshot(orders, 300, 2, es_text_of("totals"), &key);
    expect_page("snapshots", &page, true, &key);
    begin_page(&page);
    es_kv_item_write(&page.pack, &pair);
    es_page_count(&page);
    expect_page("kv", &page, true, NULL);
    begin_page(&page);
    es_kv_export_item_write(&page.pack, &pair);
    es_page_count(&page);
    es_key_kv(pair.name_space, pair.key, &key);
    expect_page("kv_export", &page, true, &key);
    begin_page(&page);
    es_finding_write(&page.pack,
                     &(struct es_finding){ES_FINDING_EVENT, orders, 2, 3,
                                          es_text_of("the hash is not that of the event")});
    es_page_count(&page);
    expect_page("findings", &page, true, NULL);
    begin_page(&page);
    es_producer_item_write(
        &page.pack, &(struct es_producer_item){es_text_of("importer"), 17, 3ULL << 32 | 1, 1000});
    es_page_count(&page);
    expect_page("producers", &page, true, NULL);
}

/* A reply's items as 'read' makes them from 'kept', one after the other. */
static struct es_reply open_reply(const char *name)
{
    struct es_reply reply;

    size = (uint32_t)golden_read("reply", name, kept);
    assert_int_equal(es_reply_read(es_bytes_make(kept, size), &reply), ES_OK);
    assert_int_equal(reply.position, 3);
    return reply;
}

static void kept_replies_give_back_their_fields(void **state)
{
    struct es_reply reply = open_reply("refusal");
    struct es_store_head_item store_head;
    struct es_wire_result result;
    struct es_stream_item stream;
    struct es_hello hello;

    (void)state;
    assert_int_equal(reply.status, ES_NOT_FOUND);
    assert_true(es_text_equal(es_reply_message(&reply), es_text_of("there is no such stream")));
    reply = open_reply("hello");
    assert_int_equal(reply.rest_count, ES_HELLO_COUNT);
    es_hello_read(&reply.rest, &hello);
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(hello.heartbeat_ms, 100);
    reply = open_reply("store_head");
    es_store_head_read(&reply.rest, &store_head);
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(store_head.commit_number, 2);
    reply = open_reply("result_conflict");
    es_result_read(&reply.rest, &result);
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(result.reason, ES_REASON_SEQUENCE_DIFFERS);
    assert_false(result.has_hash);
    assert_int_equal(result.revision, 5);
    reply = open_reply("head");
    es_head_item_read(&reply.rest, &stream);
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(stream.first_sequence, 1);
    reply = open_reply("streams");
    assert_int_equal(es_unpack_array(&reply.rest), 17);
    for (int i = 0; i < 17; i++) {
        es_stream_item_read(&reply.rest, &stream);
    }
    assert_false(es_unpack_bool(&reply.rest));
    assert_true(es_unpack_done(&reply.rest));
    assert_int_equal(stream.position, 3);
}

static void kept_pages_give_back_their_items(void **state)
{
    struct es_reply reply = open_reply("events");
    struct es_published_event event;
    struct es_snapshot_item snapshot;
    struct es_finding finding;
    struct es_producer_item producer;
    struct es_scan_item scan;
    struct es_kv_item pair;

    (void)state;
    assert_int_equal(es_unpack_array(&reply.rest), 2);
    es_event_item_read(&reply.rest, &event);
    es_event_item_read(&reply.rest, &event);
    assert_int_equal(event.position, 3);
    reply = open_reply("snapshots");
    (void)es_unpack_array(&reply.rest);
    es_snapshot_item_read(&reply.rest, &snapshot);
    assert_true(es_unpack_ok(&reply.rest));
    assert_int_equal(snapshot.state_size, 300);
    assert_false(snapshot.valid);
    reply = open_reply("kv");
    (void)es_unpack_array(&reply.rest);
    es_kv_item_read(&reply.rest, &pair);
    assert_int_equal(pair.revision, 5);
    reply = open_reply("kv_export");
    (void)es_unpack_array(&reply.rest);
    es_kv_export_item_read(&reply.rest, &pair);
    assert_true(es_text_equal(pair.name_space, es_text_of("settings")));
    reply = open_reply("scan");
    (void)es_unpack_array(&reply.rest);
    es_scan_item_read(&reply.rest, &scan);
    assert_int_equal(scan.sequence, 258);
    reply = open_reply("findings");
    (void)es_unpack_array(&reply.rest);
    es_finding_read(&reply.rest, &finding);
    assert_true(es_unpack_ok(&reply.rest));
    assert_int_equal(finding.kind, ES_FINDING_EVENT);
    struct es_reply producers = open_reply("producers");
    (void)es_unpack_array(&producers.rest);
    es_producer_item_read(&producers.rest, &producer);
    assert_true(es_unpack_ok(&producers.rest));
    assert_int_equal(producer.last_number, 17);
    assert_int_equal(producer.uid, 1000);
    assert_int_equal(finding.sequence, 2);
    assert_int_equal(finding.position, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_replies_are_as_kept),
        cmocka_unit_test(head_replies_are_as_kept),
        cmocka_unit_test(replies_about_producers_are_as_kept),
        cmocka_unit_test(pages_of_events_are_as_kept),
        cmocka_unit_test(pages_of_other_items_are_as_kept),
        cmocka_unit_test(kept_replies_give_back_their_fields),
        cmocka_unit_test(kept_pages_give_back_their_items),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
