/*
 * What the codec writes is what tests/golden holds: each stored value, key and
 * event, built here from its fields. Reading it back gives the fields again.
 */
#include "tests/support/codec_samples.h"
#include "tests/support/golden.h"

#include "shm/codec/head_record.h"
#include "shm/codec/last_record.h"
#include "shm/codec/log_body.h"
#include "shm/codec/receipt.h"
#include "shm/codec/store_key.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint8_t kept[GOLDEN_SIZE_MAX];
static uint8_t built[GOLDEN_SIZE_MAX];
static uint32_t size;

static void envelopes_are_as_kept(void **state)
{
    struct sample_event event;

    (void)state;
    sample_first(&event);
    golden_expect("envelope", "first", event.envelope, event.size);
    sample_second(&event);
    golden_expect("envelope", "second", event.envelope, event.size);
    sample_wide(&event);
    golden_expect("envelope", "wide", event.envelope, event.size);
    sample_stock_first(&event);
    golden_expect("envelope", "stock_first", event.envelope, event.size);
}

/* The hash in an envelope is that of the preimage which another program wrote out. */
static void hashes_are_those_of_the_kept_preimages(void **state)
{
    static const char *const names[][2] = {{"first", "first_preimage"}, {"wide", "wide_preimage"}};
    uint8_t hash[ES_HASH_SIZE];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t preimage_size = golden_read("envelope", names[i][1], kept);

        es_hash(kept, preimage_size, hash);
        size_t envelope_size = golden_read("envelope", names[i][0], kept);
        assert_memory_equal(hash, kept + envelope_size - ES_HASH_SIZE, ES_HASH_SIZE);
    }
}

static void a_kept_envelope_gives_back_its_fields(void **state)
{
    struct es_event_view view;
    size_t kept_size = golden_read("envelope", "wide", kept);
    char text[ES_STREAM_SIZE_MAX];

    (void)state;
    assert_int_equal(es_envelope_decode(kept, kept_size, &view), ES_OK);
    uint32_t text_size = es_stream_format(&view.event.stream, text);
    assert_true(es_text_equal(es_text_make(text, text_size), es_text_of(SAMPLE_WIDE)));
    assert_int_equal(view.event.tick, ES_TICK_MAX);
    assert_true(es_text_equal(view.event.type, es_text_of(SAMPLE_WIDE_TYPE)));
    assert_true(es_bytes_equal(view.event.payload, sample_wide_payload()));
    assert_memory_equal(view.event.previous_hash.data, sample_fill(0x5A), ES_HASH_SIZE);
    assert_ptr_equal(view.hash, kept + kept_size - ES_HASH_SIZE);
}

static void expect_key(const char *name, const struct es_key *key)
{
    golden_expect("key", name, key->bytes, key->size);
}

static void keys_are_as_kept(void **state)
{
    struct es_text orders = es_text_of(SAMPLE_ORDERS);
    struct es_key key;

    (void)state;
    es_key_event(orders, 258, &key);
    expect_key("event", &key);
    es_key_event(es_text_of(SAMPLE_WIDE), UINT64_MAX, &key);
    expect_key("event_wide", &key);
    es_key_head(orders, &key);
    expect_key("head", &key);
    es_key_pos(orders, 64, &key);
    expect_key("pos", &key);
    es_key_snapshot(orders, 300, 2, es_text_of(""), &key);
    expect_key("snapshot", &key);
    es_key_snapshot(orders, 300, 2, es_text_of("totals"), &key);
    expect_key("snapshot_named", &key);
    es_key_kv(es_text_of("settings"), es_text_of("a:key"), &key);
    expect_key("kv", &key);
    es_key_commit(3, 2, &key);
    expect_key("commit", &key);
    es_key_producer(es_text_of("importer"), &key);
    expect_key("producer", &key);
    es_key_producer_commit(es_text_of("importer"), 17, &key);
    expect_key("producer_commit", &key);
    es_key_consumer(es_text_of("tables"), &key);
    expect_key("consumer", &key);
    es_key_category(es_text_of("prod:main:L0:orders"), &key);
    expect_key("category", &key);
    es_key_store(&key);
    expect_key("store", &key);
    es_key_epochs(&key);
    expect_key("epochs", &key);
    es_key_last(&key);
    expect_key("last", &key);
    es_key_revision(&key);
    expect_key("revision", &key);
}

static void heads_and_positions_are_as_kept(void **state)
{
    struct es_head_value head = {
        .last_sequence = 2, .last_tick = 7, .first_sequence = 1, .last_position = 2};
    struct es_head_value truncated = {.last_sequence = 900,
                                      .last_tick = ES_TICK_MAX,
                                      .first_sequence = 400,
                                      .last_position = 70000,
                                      .flags = 1,
                                      .has_hash_before_first = true};
    struct sample_event second;
    struct es_head_value read;

    (void)state;
    sample_second(&second);
    memcpy(head.last_hash, second.hash, ES_HASH_SIZE);
    assert_int_equal(es_head_encode(&head, built, ES_HEAD_SIZE_MAX, &size), ES_OK);
    golden_expect("value", "head", built, size);
    memcpy(truncated.last_hash, sample_fill(0x11), ES_HASH_SIZE);
    memcpy(truncated.hash_before_first, sample_fill(0x22), ES_HASH_SIZE);
    assert_int_equal(es_head_encode(&truncated, built, ES_HEAD_SIZE_MAX, &size), ES_OK);
    golden_expect("value", "head_truncated", built, size);
    assert_int_equal(es_head_decode(built, size, &read), ES_OK);
    assert_int_equal(read.last_sequence, 900);
    assert_int_equal(read.first_sequence, 400);
    assert_int_equal(read.last_position, 70000);
    assert_true(read.has_hash_before_first);
    assert_memory_equal(read.hash_before_first, truncated.hash_before_first, ES_HASH_SIZE);
    assert_int_equal(es_pos_encode(65536, built, ES_POS_SIZE_MAX, &size), ES_OK);
    golden_expect("value", "pos", built, size);
}

static void keys_with_values_are_as_kept(void **state)
{
    struct es_kv_value value = {.revision = 5,
                                .value_hash = sample_hash_of_text("value"),
                                .value = sample_text_bytes("value")};
    struct es_kv_value read;

    (void)state;
    assert_int_equal(es_kv_value_encode(&value, built, sizeof built, &size), ES_OK);
    golden_expect("value", "kv", built, size);
    assert_int_equal(es_kv_value_decode(built, size, &read), ES_OK);
    assert_int_equal(read.revision, 5);
    assert_int_equal(es_kv_value_verify(&read), ES_OK);
    built[size - 1] ^= 1;
    assert_int_equal(es_kv_value_verify(&read), ES_E_CORRUPT);
}

static void snapshots_are_as_kept(void **state)
{
    struct sample_event second;
    struct es_snapshot_value read;

    (void)state;
    sample_second(&second);
    struct es_snapshot_value value = {.tick = 300,
                                      .sequence = 2,
                                      .event_hash = second.hash,
                                      .projection = es_text_of(""),
                                      .created_us = SAMPLE_TIME_US,
                                      .state_hash = sample_hash_of_text("state"),
                                      .state = sample_text_bytes("state")};
    assert_int_equal(es_snapshot_value_encode(&value, built, sizeof built, &size), ES_OK);
    golden_expect("value", "snapshot", built, size);
    value.projection = es_text_of("totals");
    value.version = 3;
    value.state = sample_wide_payload();
    value.state_hash = sample_hash_of(value.state);
    assert_int_equal(es_snapshot_value_encode(&value, built, sizeof built, &size), ES_OK);
    golden_expect("value", "snapshot_named", built, size);
    assert_int_equal(es_snapshot_value_decode(built, size, &read), ES_OK);
    assert_int_equal(read.tick, 300);
    assert_int_equal(read.sequence, 2);
    assert_int_equal(read.version, 3);
    assert_int_equal(es_snapshot_value_verify(&read), ES_OK);
    built[size - 1] ^= 1;
    assert_int_equal(es_snapshot_value_verify(&read), ES_E_CORRUPT);
}

static void producers_and_consumers_are_as_kept(void **state)
{
    struct es_producer_value producer = {
        .owner_incarnation = SAMPLE_INCARNATION, .last_sequence = 17, .owner_uid = 1000};
    struct es_consumer_value consumer = {.epoch = SAMPLE_EPOCH,
                                         .position = 3,
                                         .owner = es_text_of("host 7, pid 4711"),
                                         .updated_us = SAMPLE_TIME_US};
    struct es_producer_value producer_read;
    struct es_consumer_value consumer_read;

    (void)state;
    assert_int_equal(es_producer_value_encode(&producer, built, sizeof built, &size), ES_OK);
    golden_expect("value", "producer", built, size);
    assert_int_equal(es_producer_value_decode(built, size, &producer_read), ES_OK);
    assert_int_equal(producer_read.owner_incarnation, SAMPLE_INCARNATION);
    assert_int_equal(producer_read.owner_uid, 1000);
    assert_int_equal(es_consumer_value_encode(&consumer, built, sizeof built, &size), ES_OK);
    golden_expect("value", "consumer", built, size);
    assert_int_equal(es_consumer_value_decode(built, size, &consumer_read), ES_OK);
    assert_int_equal(consumer_read.epoch, SAMPLE_EPOCH);
    assert_int_equal(consumer_read.position, 3);
}

static void values_of_the_default_family_are_as_kept(void **state)
{
    struct es_store_identity identity = {.format_version = ES_STORE_FORMAT_VERSION};
    struct es_epochs epochs = {.count = 2, .entries = {{1, 1}, {SAMPLE_EPOCH, 3}}};
    struct es_last last = {.batch_number = 9,
                           .commit_number = 2,
                           .ring_count = 1,
                           .lane_count = 2,
                           .rings = {{SAMPLE_EPOCH, 70000}},
                           .lanes = {{SAMPLE_INCARNATION, 17, 4096}, {3ULL << 32 | 2, 5, 0}}};
    struct es_last empty = {.batch_number = 10, .commit_number = 2};
    uint64_t number = 0;

    (void)state;
    assert_int_equal(es_category_value_encode(3, built, sizeof built, &size), ES_OK);
    golden_expect("value", "category", built, size);
    assert_int_equal(es_category_value_decode(built, size, &number), ES_OK);
    assert_int_equal(number, 3);
    assert_int_equal(es_revision_value_encode(5, built, sizeof built, &size), ES_OK);
    golden_expect("value", "revision", built, size);
    assert_int_equal(es_revision_value_decode(built, size, &number), ES_OK);
    assert_int_equal(number, 5);
    memcpy(identity.store_id, sample_store_id, ES_STORE_ID_SIZE);
    assert_int_equal(es_store_identity_encode(&identity, built, sizeof built, &size), ES_OK);
    golden_expect("value", "store", built, size);
    assert_int_equal(es_epochs_encode(&epochs, built, sizeof built, &size), ES_OK);
    golden_expect("value", "epochs", built, size);
    assert_int_equal(es_last_encode(&last, built, sizeof built, &size), ES_OK);
    golden_expect("value", "last", built, size);
    assert_int_equal(es_last_encode(&empty, built, sizeof built, &size), ES_OK);
    golden_expect("value", "last_empty", built, size);
}

static void a_receipt_is_as_kept(void **state)
{
    struct es_receipt_fields receipt = {.epoch = SAMPLE_EPOCH,
                                        .stream = es_text_of(SAMPLE_ORDERS),
                                        .sequence = 2,
                                        .position = 2,
                                        .commit_number = 1};
    struct es_receipt_fields read;
    struct sample_event second;

    (void)state;
    sample_second(&second);
    memcpy(receipt.store_id, sample_store_id, ES_STORE_ID_SIZE);
    memcpy(receipt.event_hash, second.hash, ES_HASH_SIZE);
    (void)sample_commit(built, sizeof built, receipt.store_hash);
    assert_int_equal(es_receipt_encode(&receipt, built, ES_RECEIPT_SIZE_MAX, &size), ES_OK);
    golden_expect("value", "receipt", built, size);
    assert_int_equal(es_receipt_decode(built, size, &read), ES_OK);
    assert_int_equal(read.epoch, SAMPLE_EPOCH);
    assert_memory_equal(read.store_hash, receipt.store_hash, ES_HASH_SIZE);
}

static void commit_records_and_their_hashes_are_as_kept(void **state)
{
    uint8_t hash[ES_HASH_SIZE];
    uint8_t recomputed[ES_HASH_SIZE];

    (void)state;
    es_store_hash_genesis(sample_store_id, hash);
    golden_expect("commit", "genesis_store_hash", hash, ES_HASH_SIZE);
    size = sample_commit(built, sizeof built, hash);
    golden_expect("commit", "events_and_keys", built, size);
    es_hash(kept, golden_read("commit", "first_eight", kept), recomputed);
    assert_memory_equal(hash, recomputed, ES_HASH_SIZE);
    size = sample_commit_of_keys(built, sizeof built, hash);
    golden_expect("commit", "keys_only", built, size);
}

/* All eight kinds, in the order of the golden file. */
static void write_log_operations(struct es_pack *pack, const struct sample_event *second)
{
    struct es_text orders = es_text_of(SAMPLE_ORDERS);
    struct es_text settings = es_text_of("settings");
    struct es_log_operation operation = {.kind = ES_LOG_KV_PUT};

    operation.as.kv = (struct es_log_kv){
        ES_KV_TRUTH,
        settings,
        es_text_of("a:key"),
        {5, sample_hash_of_text("value"), sample_text_bytes("value")},
    };
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_KV_DELETE;
    operation.as.kv =
        (struct es_log_kv){ES_KV_DERIVED, settings, es_text_of("old"), {.revision = 6}};
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_SNAPSHOT_PUT;
    operation.as.snapshot = (struct es_log_snapshot){
        orders,
        {300, 2, second->hash, es_text_of("totals"), 3, SAMPLE_TIME_US,
         sample_hash_of_text("state"), sample_text_bytes("state")},
    };
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_SNAPSHOT_DELETE;
    operation.as.snapshot =
        (struct es_log_snapshot){orders, {.tick = 300, .projection = es_text_of("")}};
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_CHECKPOINT_PUT;
    operation.as.checkpoint = (struct es_log_checkpoint){
        es_text_of("tables"), {SAMPLE_EPOCH, 3, es_text_of("host 7, pid 4711"), SAMPLE_TIME_US}};
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_CHECKPOINT_DELETE;
    operation.as.checkpoint = (struct es_log_checkpoint){.consumer = es_text_of("old-tables")};
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_PRODUCER;
    operation.as.producer =
        (struct es_log_producer){es_text_of("importer"), {SAMPLE_INCARNATION, 17, 1000}};
    es_log_body_operation(pack, &operation);
    operation.kind = ES_LOG_EPOCH;
    operation.as.epoch = (struct es_epoch_entry){SAMPLE_EPOCH, 4};
    es_log_body_operation(pack, &operation);
}

static void bodies_of_log_records_are_as_kept(void **state)
{
    struct es_last last = {.batch_number = 9,
                           .commit_number = 2,
                           .ring_count = 1,
                           .lane_count = 2,
                           .rings = {{SAMPLE_EPOCH, 70000}},
                           .lanes = {{SAMPLE_INCARNATION, 17, 4096}, {3ULL << 32 | 2, 5, 0}}};
    struct es_last empty = {.batch_number = 10, .commit_number = 2};
    struct sample_event events[3];
    uint8_t commit[1024];
    uint8_t hash[ES_HASH_SIZE];
    struct es_pack pack;

    (void)state;
    sample_first(&events[0]);
    sample_second(&events[1]);
    sample_stock_first(&events[2]);
    uint32_t commit_size = sample_commit(commit, sizeof commit, hash);
    es_pack_init(&pack, built, sizeof built);
    es_log_body_begin(&pack, es_bytes_make(commit, commit_size), 3);
    for (size_t i = 0; i < 3; i++) {
        es_log_body_envelope(&pack, es_bytes_make(events[i].envelope, events[i].size));
    }
    es_log_body_operations(&pack, 8);
    write_log_operations(&pack, &events[1]);
    es_log_body_last(&pack, &last);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    golden_expect("log", "every_operation", built, size);

    es_pack_init(&pack, built, sizeof built);
    es_log_body_begin(&pack, es_bytes_make(NULL, 0), 0);
    es_log_body_operations(&pack, 0);
    es_log_body_last(&pack, &empty);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    golden_expect("log", "refusals_only", built, size);
}

static void a_kept_log_body_gives_back_its_parts(void **state)
{
    struct es_log_operation operation;
    struct es_log_body body;
    struct es_bytes envelope;
    uint32_t envelopes = 0;
    uint32_t kinds = 0;

    (void)state;
    size_t kept_size = golden_read("log", "every_operation", kept);
    assert_int_equal(es_log_body_decode(kept, kept_size, &body), ES_OK);
    golden_expect("commit", "events_and_keys", body.commit.data, body.commit.size);
    golden_expect("value", "last", body.last.data, body.last.size);
    while (es_log_body_next_envelope(&body, &envelope)) {
        envelopes++;
    }
    golden_expect("envelope", "stock_first", envelope.data, envelope.size);
    while (es_log_body_next_operation(&body, &operation)) {
        kinds |= 1U << operation.kind;
    }
    assert_int_equal(envelopes, 3);
    assert_int_equal(kinds, 0x1FE);
    assert_int_equal(operation.as.epoch.first_position, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes_are_as_kept),
        cmocka_unit_test(hashes_are_those_of_the_kept_preimages),
        cmocka_unit_test(a_kept_envelope_gives_back_its_fields),
        cmocka_unit_test(keys_are_as_kept),
        cmocka_unit_test(heads_and_positions_are_as_kept),
        cmocka_unit_test(keys_with_values_are_as_kept),
        cmocka_unit_test(snapshots_are_as_kept),
        cmocka_unit_test(producers_and_consumers_are_as_kept),
        cmocka_unit_test(values_of_the_default_family_are_as_kept),
        cmocka_unit_test(a_receipt_is_as_kept),
        cmocka_unit_test(commit_records_and_their_hashes_are_as_kept),
        cmocka_unit_test(bodies_of_log_records_are_as_kept),
        cmocka_unit_test(a_kept_log_body_gives_back_its_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
