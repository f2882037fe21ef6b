/*
 * The commit record: where every event of a commit is, who wrote it, and that the
 * store hash covers all of it.
 */
#include "shm/codec/commit_record.h"
#include "shm/codec/pack.h"

#include "tests/support/codec_samples.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define A "prod:main:L0:orders:M1"
#define B "prod:main:L0:orders:M2"
#define C "prod:main:L0:stock:M1"

static uint8_t bytes[4096];
static uint32_t size;
static uint8_t hash[ES_HASH_SIZE];

/* Positions 100..109: A 5-7, B 1-2 | C 9-9, A 8-10, C 10-10; keys in between. */
static struct es_commit_transaction transactions[3];
static struct es_commit_run runs[5];
static struct es_commit_kv kvs[2];
static struct es_commit_record record;

static int fill_record(void **state)
{
    (void)state;
    runs[0] = (struct es_commit_run){es_text_of(A), 5, 3, 90};
    runs[1] = (struct es_commit_run){es_text_of(B), 1, 2, 0};
    runs[2] = (struct es_commit_run){es_text_of(C), 9, 1, 80};
    runs[3] = (struct es_commit_run){es_text_of(A), 8, 3, 102};
    runs[4] = (struct es_commit_run){es_text_of(C), 10, 1, 105};
    kvs[0] = (struct es_commit_kv){
        ES_COMMIT_KV_PUT, es_text_of("settings"), es_text_of("k"), 7, {1, 2, 3}};
    kvs[1] =
        (struct es_commit_kv){ES_COMMIT_KV_DELETE, es_text_of("settings"), es_text_of("l"), 8, {0}};
    transactions[0] = (struct es_commit_transaction){
        .origin_uid = 1000, .producer = es_text_of(""), .run_count = 2, .kv_count = 1};
    transactions[1] = (struct es_commit_transaction){
        .origin_uid = UINT32_MAX, .producer = es_text_of(""), .kv_count = 1};
    transactions[2] = (struct es_commit_transaction){.origin_uid = 0,
                                                     .producer = es_text_of("importer"),
                                                     .producer_sequence = 17,
                                                     .has_content_hash = true,
                                                     .content_hash = {9},
                                                     .run_count = 3};
    record = (struct es_commit_record){.commit_number = 12,
                                       .first_position = 100,
                                       .count = 10,
                                       .time_us = SAMPLE_TIME_US,
                                       .transactions = transactions,
                                       .runs = runs,
                                       .kvs = kvs,
                                       .transaction_count = 3};
    return 0;
}

static struct es_commit_view encode_and_decode(void)
{
    struct es_commit_view view;

    assert_int_equal(es_commit_encode(&record, bytes, sizeof bytes, &size, hash), ES_OK);
    assert_int_equal(es_commit_decode(bytes, size, &view), ES_OK);
    return view;
}

/* What a record with a broken field is: written as it is told, and refused when read. */
static enum es_status decode_changed(void)
{
    struct es_commit_view view;

    assert_int_equal(es_commit_encode(&record, bytes, sizeof bytes, &size, hash), ES_OK);
    return es_commit_decode(bytes, size, &view);
}

static void walking_gives_back_what_was_written(void **state)
{
    struct es_commit_view view = encode_and_decode();
    struct es_commit_transaction transaction;
    struct es_commit_walk walk;
    struct es_commit_run run;
    struct es_commit_kv kv;
    uint64_t position = 0;

    (void)state;
    assert_int_equal(view.commit_number, 12);
    assert_int_equal(view.time_us, SAMPLE_TIME_US);
    assert_int_equal(view.transaction_count, 3);
    assert_int_equal(view.run_count, 5);
    assert_int_equal(view.kv_count, 2);
    assert_memory_equal(view.store_hash, hash, ES_HASH_SIZE);
    assert_int_equal(es_commit_last_position(&view), 109);
    es_commit_walk_begin(&view, &walk);
    assert_false(es_commit_walk_run(&walk, &run, &position)); /* not inside a transaction yet */
    assert_true(es_commit_walk_transaction(&walk, &transaction));
    assert_int_equal(transaction.origin_uid, 1000);
    assert_int_equal(transaction.producer.size, 0);
    assert_true(es_commit_walk_run(&walk, &run, &position));
    assert_int_equal(position, 100);
    assert_int_equal(run.first_sequence, 5);
    assert_int_equal(run.previous_position, 90);
    assert_true(es_commit_walk_kv(&walk, &kv));
    assert_int_equal(kv.op, ES_COMMIT_KV_PUT);
    assert_memory_equal(kv.value_hash, kvs[0].value_hash, ES_HASH_SIZE);
    assert_false(es_commit_walk_kv(&walk, &kv));
    assert_true(es_commit_walk_transaction(&walk, &transaction)); /* B's run is not read */
    assert_int_equal(transaction.origin_uid, UINT32_MAX);
    assert_false(es_commit_walk_run(&walk, &run, &position));
    assert_true(es_commit_walk_transaction(&walk, &transaction));
    assert_true(es_text_equal(transaction.producer, es_text_of("importer")));
    assert_int_equal(transaction.producer_sequence, 17);
    assert_int_equal(transaction.content_hash[0], 9);
    assert_true(es_commit_walk_run(&walk, &run, &position));
    assert_int_equal(position, 105); /* B's two positions were counted all the same */
    assert_true(es_text_equal(run.stream, es_text_of(C)));
    assert_false(es_commit_walk_transaction(&walk, &transaction));
}

static void every_position_leads_to_its_event_and_back(void **state)
{
    static const struct {
        const char *stream;
        uint64_t sequence;
    } events[] = {{A, 5}, {A, 6}, {A, 7}, {B, 1}, {B, 2}, {C, 9}, {A, 8}, {A, 9}, {A, 10}, {C, 10}};
    struct es_commit_view view = encode_and_decode();
    struct es_text stream = es_text_of("?");
    uint64_t sequence = 42;
    uint64_t position = 42;

    (void)state;
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(es_commit_find_position(&view, 100 + i, &stream, &sequence), ES_OK);
        assert_true(es_text_equal(stream, es_text_of(events[i].stream)));
        assert_int_equal(sequence, events[i].sequence);
        assert_int_equal(es_commit_find_event(&view, stream, sequence, &position), ES_OK);
        assert_int_equal(position, 100 + i);
    }
    assert_int_equal(es_commit_find_position(&view, 99, &stream, &sequence), ES_NOT_FOUND);
    assert_int_equal(es_commit_find_position(&view, 110, &stream, &sequence), ES_NOT_FOUND);
    assert_int_equal(es_commit_find_position(&view, 0, &stream, &sequence), ES_NOT_FOUND);
    assert_int_equal(es_commit_find_event(&view, es_text_of(A), 4, &position), ES_NOT_FOUND);
    assert_int_equal(es_commit_find_event(&view, es_text_of(A), 11, &position), ES_NOT_FOUND);
    assert_int_equal(es_commit_find_event(&view, es_text_of("x"), 5, &position), ES_NOT_FOUND);
    assert_int_equal(sequence, 10);
    assert_int_equal(position, 109);
}

static void the_first_run_of_a_stream_leads_to_the_commit_before(void **state)
{
    struct es_commit_view view = encode_and_decode();
    struct es_commit_run run;
    uint64_t position = 0;

    (void)state;
    assert_int_equal(es_commit_find_run(&view, es_text_of(C), &run, &position), ES_OK);
    assert_int_equal(position, 105);
    assert_int_equal(run.previous_position, 80);
    assert_int_equal(es_commit_find_run(&view, es_text_of("x"), &run, &position), ES_NOT_FOUND);
}

static void a_commit_of_keys_only_has_no_position_of_its_own(void **state)
{
    struct es_commit_view view;
    struct es_text stream;
    uint64_t sequence = 0;

    (void)state;
    size = sample_commit_of_keys(bytes, sizeof bytes, hash);
    assert_int_equal(es_commit_decode(bytes, size, &view), ES_OK);
    assert_int_equal(view.count, 0);
    assert_int_equal(es_commit_last_position(&view), 3);
    assert_int_equal(es_commit_find_position(&view, 4, &stream, &sequence), ES_NOT_FOUND);
}

/* Any change of any bit is refused or makes another store hash. */
static void the_store_hash_covers_every_bit(void **state)
{
    struct es_commit_view view = encode_and_decode();
    uint32_t decodable = 0;

    (void)state;
    assert_int_equal(es_commit_verify_hash(&view), ES_OK);
    for (uint32_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (es_commit_decode(bytes, size, &view) == ES_OK) {
            assert_int_equal(es_commit_verify_hash(&view), ES_E_CORRUPT);
            decodable++;
        }
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(decodable > 8 * 100);
}

static void records_follow_from_the_genesis_hash(void **state)
{
    uint8_t genesis[ES_HASH_SIZE];
    struct es_commit_view first;
    struct es_commit_view second;
    uint8_t second_bytes[1024];
    uint8_t first_hash[ES_HASH_SIZE];

    (void)state;
    es_store_hash_genesis(sample_store_id, genesis);
    size = sample_commit(bytes, sizeof bytes, first_hash);
    assert_int_equal(es_commit_decode(bytes, size, &first), ES_OK);
    assert_memory_equal(first.previous_store_hash, genesis, ES_HASH_SIZE);
    size = sample_commit_of_keys(second_bytes, sizeof second_bytes, hash);
    assert_int_equal(es_commit_decode(second_bytes, size, &second), ES_OK);
    assert_memory_equal(second.previous_store_hash, first.store_hash, ES_HASH_SIZE);
}

static void numbers_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    record.count = 9;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    record.count = 11;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    record.count = 10;
    assert_int_equal(decode_changed(), ES_OK);
    record.commit_number = 0;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    record.commit_number = 12;
    record.first_position = 0;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    record.first_position = UINT64_MAX - 3; /* the runs would go past the end */
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    record.first_position = 100;
    runs[2].first_sequence = 0;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    runs[2].first_sequence = UINT64_MAX;
    assert_int_equal(decode_changed(), ES_OK);
    runs[0].first_sequence = UINT64_MAX - 1; /* three events do not fit */
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    runs[0].first_sequence = 5;
    runs[1].previous_position = 103; /* its own position */
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
}

static void runs_whose_counts_wrap_around_are_refused(void **state)
{
    (void)state;
    runs[0].first_sequence = 1;
    runs[0].count = UINT64_MAX - 10;
    runs[1].count = 10 - runs[0].count - 5;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
}

static void broken_names_are_refused(void **state)
{
    (void)state;
    runs[0].stream = es_text_of("prod:main:L0:orders");
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    runs[0].stream = es_text_of(A);
    transactions[2].producer = es_text_of("$importer");
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    transactions[2].producer = es_text_of("importer");
    kvs[1].name_space = es_text_of("a:b");
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    kvs[1].name_space = es_text_of("settings");
    kvs[1].key = es_text_of("");
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    kvs[1].key = es_text_of("l");
    kvs[1].revision = 0;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    kvs[1].revision = 8;
    kvs[1].op = (enum es_commit_kv_op)3;
    assert_int_equal(decode_changed(), ES_E_CORRUPT);
    kvs[1].op = ES_COMMIT_KV_DELETE;
    assert_int_equal(decode_changed(), ES_OK);
}

static void another_version_is_told_from_damage(void **state)
{
    struct es_commit_view view = encode_and_decode();

    (void)state;
    bytes[1] = 2;
    assert_int_equal(es_commit_decode(bytes, size, &view), ES_E_VERSION);
    bytes[1] = 0xC0;
    assert_int_equal(es_commit_decode(bytes, size, &view), ES_E_CORRUPT);
    bytes[1] = 1;
    assert_int_equal(es_commit_decode(bytes, size + 1, &view), ES_E_CORRUPT);
    assert_int_equal(es_commit_decode(bytes, 0, &view), ES_E_CORRUPT);
}

/* [1, 2, 4, 0, time, h, h, [[1000, nil, 0, nil, [], [], new]], store_hash, new]: both "new"
 * elements are passed over; the one inside is hashed, for it is among the first eight. */
static void trailing_elements_are_passed_over_and_those_inside_are_hashed(void **state)
{
    struct es_commit_view view;
    struct es_pack pack;

    (void)state;
    es_pack_init(&pack, bytes, sizeof bytes);
    es_pack_array(&pack, 8);
    es_pack_raw(&pack, "\1\2\4\0\5", 5);
    es_pack_bin(&pack, sample_fill(1), ES_HASH_SIZE);
    es_pack_bin(&pack, sample_fill(2), ES_HASH_SIZE);
    es_pack_raw(&pack, "\x91\x97\x07\xC0\x00\xC0\x90\x90\xA3new", 12);
    es_hash(bytes, es_pack_size(&pack), hash);
    es_pack_bin(&pack, hash, ES_HASH_SIZE);
    es_pack_raw(&pack, "\x91\xA3new", 5);
    bytes[0] = 0x9A;
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_int_equal(es_commit_decode(bytes, size, &view), ES_OK);
    assert_int_equal(view.transaction_count, 1);
    assert_int_equal(es_commit_verify_hash(&view), ES_OK);
}

static void the_announced_size_suffices_and_less_is_told(void **state)
{
    uint64_t size_max = es_commit_size_max(&record);
    uint32_t untouched = 42;

    (void)state;
    assert_true(size_max <= sizeof bytes);
    assert_int_equal(es_commit_encode(&record, bytes, size_max, &size, hash), ES_OK);
    for (uint32_t capacity = 0; capacity < size; capacity++) {
        assert_int_equal(es_commit_encode(&record, bytes, capacity, &untouched, hash),
                         ES_E_TOO_LARGE);
        assert_int_equal(untouched, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(walking_gives_back_what_was_written, fill_record),
        cmocka_unit_test_setup(every_position_leads_to_its_event_and_back, fill_record),
        cmocka_unit_test_setup(the_first_run_of_a_stream_leads_to_the_commit_before, fill_record),
        cmocka_unit_test(a_commit_of_keys_only_has_no_position_of_its_own),
        cmocka_unit_test_setup(the_store_hash_covers_every_bit, fill_record),
        cmocka_unit_test(records_follow_from_the_genesis_hash),
        cmocka_unit_test_setup(numbers_that_contradict_each_other_are_refused, fill_record),
        cmocka_unit_test_setup(runs_whose_counts_wrap_around_are_refused, fill_record),
        cmocka_unit_test_setup(broken_names_are_refused, fill_record),
        cmocka_unit_test_setup(another_version_is_told_from_damage, fill_record),
        cmocka_unit_test(trailing_elements_are_passed_over_and_those_inside_are_hashed),
        cmocka_unit_test_setup(the_announced_size_suffices_and_less_is_told, fill_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
