#include "tests/support/parts_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker/first_result.h"
#include "shm/codec/envelope.h"
#include "shm/codec/store_key.h"

#define LATER_NS (INT64_C(1) << 40)

uint64_t named_claim(struct commit_parts *parts, struct parts_producer *producer, bool take_over)
{
    uint64_t last_number = 0;

    assert_int_equal(parts_claim(parts, producer, NAMED_PRODUCER, take_over, &last_number), ES_OK);
    return last_number;
}

void named_publish(struct parts_producer *producer, uint64_t number, bool with_ticket)
{
    assert_int_equal(parts_publish(producer, NAMED_STREAM, PARTS_ANY, number, with_ticket), ES_OK);
}

void named_settle(struct commit_parts *parts)
{
    for (int64_t i = 1; i <= 8; i++) {
        assert_int_equal(commit_parts_round(parts, i * LATER_NS), ES_OK);
    }
}

struct es_lane_result named_send(struct commit_parts *parts, struct parts_producer *producer,
                                 uint64_t number)
{
    named_publish(producer, number, true);
    named_settle(parts);
    return parts_collect(producer);
}

struct es_producer_value named_stored(struct commit_parts *parts)
{
    struct es_producer_value value = {.last_sequence = 0};
    struct store_buffer bytes = {0};
    struct es_key key;

    es_key_producer(es_text_of(NAMED_PRODUCER), &key);
    assert_int_equal(store_get(parts->startup.store, NULL, STORE_PRODUCERS,
                               (struct store_slice){key.bytes, key.size}, &bytes),
                     ES_OK);
    assert_int_equal(es_producer_value_decode(bytes.bytes, bytes.size, &value), ES_OK);
    store_buffer_deinit(&bytes);
    return value;
}

void named_assert_stored(struct commit_parts *parts, uint64_t last)
{
    struct store_buffer value = {0};
    struct first_result first;
    struct es_event_view view;
    struct es_key key;

    for (uint64_t number = 1; number <= last + 1; number++) {
        enum es_status wanted = number <= last ? ES_OK : ES_NOT_FOUND;

        es_key_event(es_text_of(NAMED_STREAM), number, &key);
        assert_int_equal(store_get(parts->startup.store, NULL, STORE_EVENTS,
                                   (struct store_slice){key.bytes, key.size}, &value),
                         wanted);
        assert_int_equal(first_result_find(parts->startup.store, NULL, es_text_of(NAMED_PRODUCER),
                                           number, &first),
                         wanted);
        if (wanted == ES_OK) {
            assert_int_equal(es_envelope_decode(value.bytes, value.size, &view), ES_OK);
            assert_int_equal(view.event.tick, number);
            assert_int_equal(first.result.position, number);
            assert_int_equal(first.result.stream_sequence, number);
        }
    }
    store_buffer_deinit(&value);
    assert_int_equal(named_stored(parts).last_sequence, last);
}
