/* Random sizes through a tiny arena, against a plain list of what was published:
 * a broker that takes, answers and restarts, a producer that collects as it likes.
 * The arena wraps around hundreds of thousands of times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/one_lane.h"
#include "tests/support/prng.h"

#define RECORD_COUNT 1200000u

struct world {
    struct one_lane lane;
    struct prng prng;
    uint32_t sizes[ES_CREDIT_COUNT_MAX]; /* of record s, modulo: the model */
    uint64_t durable_sequence;           /* what a restart would be told */
    uint32_t durable_offset;
    uint64_t bytes; /* that went through the arena, headers and fillings included */
};

static void publish_some(struct world *w)
{
    uint32_t size = 1 + (uint32_t)prng_below(&w->prng, ONE_LANE_PAYLOAD_BYTES_MAX);
    uint64_t in_flight = w->lane.writer.published - w->lane.writer.collected;
    void *payload = NULL;

    if (prng_one_in(&w->prng, 2)) {
        size = ONE_LANE_PAYLOAD_BYTES_MAX - (uint32_t)prng_below(&w->prng, 3);
    }
    if (es_lane_claim(&w->lane.writer, size, &payload) != ES_OK) {
        assert_true(in_flight > 0); /* an empty lane is never full */
        return;
    }
    assert_true(in_flight < w->lane.credit_count);
    w->sizes[w->lane.writer.published % w->lane.credit_count] = size;
    w->bytes += es_record_aligned(size + ES_RECORD_HEADER_BYTES);
    (void)one_lane_publish(&w->lane, size);
}

static void take_some(struct world *w)
{
    uint64_t sequence = w->lane.reader.consumed + 1;

    if (sequence > w->lane.writer.published) {
        one_lane_assert_no_next(&w->lane);
        return;
    }
    one_lane_assert_next(&w->lane, sequence, w->sizes[(sequence - 1) % w->lane.credit_count]);
}

/* Answers what was taken, as one batch; now and then the broker dies on the way. */
static void commit(struct world *w)
{
    uint64_t from = w->lane.reader.acked + 1;

    for (uint64_t s = from; s <= w->lane.reader.consumed; s++) {
        struct es_lane_result result = {.sequence = s, .position = s * 10, .hash = {1, 2, 3}};

        es_lane_stage(&w->lane.reader, &result);
    }
    if (prng_one_in(&w->prng, 50)) { /* staged, then killed before the log */
        one_lane_attach_reader(&w->lane, w->durable_sequence, w->durable_offset, ES_OK);
        return;
    }
    w->durable_sequence = w->lane.reader.consumed;
    w->durable_offset = w->lane.reader.next_offset;
    if (prng_one_in(&w->prng, 50)) { /* killed after the log, before the ack */
        one_lane_attach_reader(&w->lane, w->durable_sequence, w->durable_offset, ES_OK);
        return;
    }
    es_lane_ack(&w->lane.reader, w->durable_sequence);
    es_lane_wake(&w->lane.reader);
}

static void collect_some(struct world *w)
{
    struct es_lane_result result;

    if (w->lane.writer.collected == w->lane.reader.acked) {
        assert_int_equal(es_lane_collect(&w->lane.writer, &result), ES_EMPTY);
        return;
    }
    one_lane_assert_collects(&w->lane, w->lane.writer.collected + 1);
}

static void what_was_published_comes_out_whole_and_in_order(void **state)
{
    static const uint32_t credit_counts[] = {1, 2, 3, 7, 64};
    struct prng prng;
    uint64_t laps = 0;

    (void)state;
    prng_begin(&prng, "what_was_published");
    for (size_t i = 0; i < sizeof credit_counts / sizeof credit_counts[0]; i++) {
        struct world w = {.prng = {prng_next(&prng)}};

        one_lane_open(&w.lane, credit_counts[i]);
        while (w.lane.writer.published < RECORD_COUNT / 5) {
            switch (prng_below(&w.prng, 4)) {
            case 0: publish_some(&w); break;
            case 1: take_some(&w); break;
            case 2: commit(&w); break;
            default: collect_some(&w); break;
            }
            assert_true(w.lane.writer.used_bytes <= ONE_LANE_ARENA_BYTES);
        }
        laps += w.bytes / ONE_LANE_ARENA_BYTES;
        one_lane_close(&w.lane);
    }
    printf("the arena wrapped around %llu times\n", (unsigned long long)laps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_published_comes_out_whole_and_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
