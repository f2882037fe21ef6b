/* Requests about named producers: appends under a name, a number's first answer, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "shm/codec/receipt.h"
#include "shm/codec/store_key.h"
#include "tests/support/request_fixture.h"

/* Appends 'count' events and a key under this number; the reply's result, if it has one. */
static enum es_status append(struct request_fixture *f, const char *producer, uint64_t number,
                             uint32_t count, struct es_wire_result *ret_result)
{
    static uint8_t bytes[4096];
    struct es_request request = {.verb = ES_VERB_APPEND};
    struct es_operation operation = {.kind = ES_OPERATION_KV_PUT};
    struct es_append_event event = {.tick = number, .type = es_text_of("Placed")};
    struct es_pack pack;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    es_pack_init(&pack, bytes, sizeof bytes);
    es_transaction_write_begin(&pack, number, count > 0 ? 2 : 1);
    operation.as.kv.name_space = es_text_of("n");
    operation.as.kv.key = es_text_of("k");
    es_transaction_write_operation(&pack, &operation);
    if (count > 0) {
        operation = (struct es_operation){.kind = ES_OPERATION_APPEND};
        operation.as.append.stream = es_text_of(ORDERS);
        operation.as.append.event_count = count;
        es_transaction_write_operation(&pack, &operation);
    }
    for (uint32_t i = 0; i < count; i++) {
        es_transaction_write_event(&pack, &event);
    }
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    request.as.append.transaction = es_bytes_make(bytes, size);
    request.as.append.producer = es_text_of(producer);
    status = ask(f, &request);
    if (ret_result != NULL) {
        es_result_read(&f->reply.rest, ret_result);
        assert_reply_is_read(f);
    }
    return status;
}

static enum es_status ask_producer(struct request_fixture *f, const char *name, uint64_t number,
                                   struct es_producer_reply *ret_reply)
{
    struct es_request request = {.verb = ES_VERB_PRODUCER,
                                 .as.producer = {es_text_of(name), number}};
    enum es_status status = ask(f, &request);

    if (status == ES_OK) {
        es_producer_reply_read(&f->reply.rest, ret_reply);
        assert_reply_is_read(f);
    }
    return status;
}

static void assert_same_result(const struct es_wire_result *a, const struct es_wire_result *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->stream_sequence, b->stream_sequence);
    assert_int_equal(a->position, b->position);
    assert_memory_equal(a->hash, b->hash, ES_HASH_SIZE);
    assert_int_equal(a->commit_number, b->commit_number);
    assert_memory_equal(a->store_hash, b->store_hash, ES_HASH_SIZE);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->tick, b->tick);
    assert_int_equal(a->time_us, b->time_us);
}

static void an_append_under_a_name_is_stored_once_and_answered_alike(void **state)
{
    struct request_fixture *f = *state;
    struct es_wire_result first;
    struct es_wire_result again;

    assert_int_equal(append(f, "importer", 1, 2, &first), ES_OK);
    assert_int_equal(append(f, "importer", 2, 1, NULL), ES_OK);
    assert_int_equal(append(f, "importer", 1, 2, &again), ES_OK);
    assert_same_result(&again, &first);
    assert_int_equal(first.position, 2);
    assert_int_equal(append(f, "importer", 1, 3, &again), ES_REJECTED);
    assert_int_equal(again.reason, ES_REASON_PRODUCER_CONTENT);
    assert_int_equal(append(f, "importer", 4, 1, &again), ES_REJECTED);
    assert_int_equal(again.reason, ES_REASON_PRODUCER_GAP);
    assert_int_equal(append(f, "importer", 0, 1, &again), ES_REJECTED);
    assert_int_equal(again.reason, ES_REASON_PRODUCER_NUMBER);
    assert_int_equal(f->builder.position, 3);
}

static void a_number_gives_back_its_receipt_and_result(void **state)
{
    struct request_fixture *f = *state;
    struct es_producer_reply reply;
    struct es_receipt_fields receipt;
    struct es_wire_result first;

    assert_int_equal(append(f, "importer", 1, 2, &first), ES_OK);
    assert_int_equal(append(f, "importer", 2, 0, NULL), ES_OK);
    assert_int_equal(ask_producer(f, "importer", 1, &reply), ES_OK);
    assert_int_equal(reply.last_number, 2);
    assert_true(reply.found);
    assert_same_result(&reply.result, &first);
    assert_int_equal(es_receipt_decode(reply.receipt.data, reply.receipt.size, &receipt), ES_OK);
    assert_true(es_text_equal(receipt.stream, es_text_of(ORDERS)));
    assert_int_equal(receipt.sequence, 2);
    assert_int_equal(receipt.position, 2);
    assert_int_equal(receipt.epoch, 77);
    assert_memory_equal(receipt.event_hash, first.hash, ES_HASH_SIZE);
    assert_memory_equal(receipt.store_hash, first.store_hash, ES_HASH_SIZE);

    assert_int_equal(ask_producer(f, "importer", 2, &reply), ES_OK); /* a key alone */
    assert_true(reply.found);
    assert_int_equal(reply.receipt.size, 0);
    assert_int_equal(reply.result.revision, 2);
    assert_int_equal(ask_producer(f, "importer", 3, &reply), ES_OK);
    assert_false(reply.found);
    assert_int_equal(ask_producer(f, "importer", 0, &reply), ES_OK);
    assert_false(reply.found);
    assert_int_equal(ask_producer(f, "importe", 1, &reply), ES_NOT_FOUND);
}

static void the_owner_is_told_as_the_lanes_know_it(void **state)
{
    struct request_fixture *f = *state;
    struct es_producer_reply reply;

    assert_int_equal(append(f, "importer", 1, 1, NULL), ES_OK);
    f->owner = (struct errand){.owner_incarnation = 5, .owner_pid = 4711, .owner_lives = true};
    assert_int_equal(ask_producer(f, "importer", 0, &reply), ES_OK);
    assert_int_equal(reply.owner_incarnation, 0); /* the store knows of no owner: told later */
    assert_int_equal(reply.owner_pid, 0);
    assert_false(reply.owner_alive);
}

/* Names in order, in pages, each once, whatever numbers lie between them. */
static void producers_are_listed_in_pages(void **state)
{
    struct request_fixture *f = *state;
    static const char *const names[] = {"a", "a!", "a-1", "ab", "b", "c"};
    struct es_request request = {.verb = ES_VERB_PRODUCERS};
    char after[16] = "";
    size_t listed = 0;
    bool end = false;

    for (size_t i = 0; i < 6; i++) {
        for (uint64_t number = 1; number <= 1 + i; number++) {
            store_builder_named(&f->builder, names[i], number, ORDERS);
            store_builder_commit(&f->builder);
        }
    }
    while (!end) {
        request.as.producers = (struct es_request_producers){es_text_of(after), 2};
        assert_int_equal(ask(f, &request), ES_OK);
        uint32_t count = es_unpack_array(&f->reply.rest);
        assert_true(count <= 2);
        for (uint32_t i = 0; i < count; i++) {
            struct es_producer_item item;

            es_producer_item_read(&f->reply.rest, &item);
            assert_true(es_text_equal(item.name, es_text_of(names[listed])));
            assert_int_equal(item.last_number, listed + 1);
            (void)snprintf(after, sizeof after, "%s", names[listed]);
            listed++;
        }
        end = es_unpack_bool(&f->reply.rest);
        assert_reply_is_read(f);
    }
    assert_int_equal(listed, 6);
}

static void damage_on_the_way_to_a_number_is_told(void **state)
{
    struct request_fixture *f = *state;
    struct es_producer_reply reply;
    struct es_key key;

    assert_int_equal(append(f, "importer", 1, 1, NULL), ES_OK);
    assert_int_equal(append(f, "importer", 2, 1, NULL), ES_OK);
    es_key_commit(1, 1, &key);
    store_batch_clear(f->builder.writes);
    assert_int_equal(store_batch_put(f->builder.writes, STORE_COMMITS,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){(const uint8_t *)"x", 1}),
                     ES_OK);
    assert_int_equal(store_apply(f->builder.store, f->builder.writes, STORE_APPLY_LIVE), ES_OK);
    assert_int_equal(ask_producer(f, "importer", 1, &reply), ES_E_CORRUPT);
    assert_message_has(f, "cannot be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, request_fixture_set_up, request_fixture_tear_down)
        TEST(an_append_under_a_name_is_stored_once_and_answered_alike),
        TEST(a_number_gives_back_its_receipt_and_result),
        TEST(the_owner_is_told_as_the_lanes_know_it),
        TEST(producers_are_listed_in_pages),
        TEST(damage_on_the_way_to_a_number_is_told),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
