/*
 * Fuzzes shared memory under the broker's own drain, sequencer, committer and log: a
 * hostile producer writes words anywhere into its whole lane and the whole ring of its
 * user, while an honest one of that user publishes and the broker goes through rounds.
 * The honest one's every record is answered, stored once and in its order.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/lanes_state.h"
#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "tests/support/commit_parts.h"

#define STREAM "prod:main:L0:honest:M1"

enum {
    SLOTS = 256,
    SCRIPT_BYTES = 8, /* verb, place (3), value (4) */
    ROUND_NS = 20000000,
    ROUNDS_TO_END = 6
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct commit_parts parts;
    struct parts_producer honest;
    struct parts_producer hostile;
    uint64_t published;
    uint64_t answered;
    int64_t now_ns;
};

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void collect(struct world *w)
{
    struct es_lane_result result;

    while (es_lane_collect(&w->honest.writer, &result) == ES_OK) {
        require(result.status == ES_OK && result.sequence == ++w->answered);
    }
    while (es_lane_collect(&w->hostile.writer, &result) == ES_OK) {
    }
}

static void go_round(struct world *w)
{
    w->now_ns += ROUND_NS;
    require(commit_parts_round(&w->parts, w->now_ns) == ES_OK);
    lanes_check_faults(w->parts.lanes);
    lanes_tidy(w->parts.lanes);
    collect(w);
}

static void write_word(const struct es_segment *segment, uint32_t place, uint32_t value)
{
    static const uint64_t high[] = {0, UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 23};
    uint64_t *word = (uint64_t *)segment->base + place % (segment->size / sizeof(uint64_t));

    switch (value % 4) {
    case 0: *word = value / 4; break;
    case 1: *word += (value / 4) % 16; break;
    case 2: *word ^= UINT64_C(1) << (value / 4 % 64); break;
    default: *word = high[value / 4 % 4];
    }
}

static void step(struct world *w, const uint8_t *script)
{
    uint32_t place = script[1] | (uint32_t)script[2] << 8 | (uint32_t)script[3] << 16;
    uint32_t value = 0;

    memcpy(&value, script + 4, sizeof value);
    switch (script[0] % 8) {
    case 0:
    case 1: write_word(&w->hostile.lane_segment, place, value); break;
    case 2: write_word(&w->hostile.lane_segment, place % 512, value); break;
    case 3: write_word(&w->hostile.ring_segment, place, value); break;
    case 4:
        if (parts_publish(&w->honest, STREAM, PARTS_ANY, place, false) == ES_OK) {
            w->published++;
            if (value % 2 == 0) { /* a spoilt ring may have no place for it */
                (void)!es_ring_place(&w->honest.ring, w->honest.attachment.lane_index,
                                     w->published);
            }
        }
        break;
    case 5: (void)!parts_publish(&w->hostile, "evil:main:L0:x:M1", PARTS_ANY, value, false); break;
    case 6: (void)!es_ring_place(&w->hostile.ring, place % ES_LANE_COUNT_MAX, value); break;
    default: go_round(w);
    }
}

/* Takes both lanes back and makes the ring anew, so that inputs do not depend on
 * each other; the store stays, which only grows. */
static void tidy_up(struct world *w)
{
    struct lanes *lanes = w->parts.lanes;
    struct parts_producer *producers[] = {&w->honest, &w->hostile};

    for (int i = 0; i < 2; i++) {
        struct lane *lane = lanes_lane(lanes, producers[i]->attachment.lane_index);

        if (lane != NULL) {
            es_lane_evict(&lane->reader, "the input is over");
        }
        parts_detach(producers[i]);
    }
    lanes_tidy(lanes);
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open && lanes->rings[i].lane_count == 0) {
            lanes_give_up_ring(lanes, &lanes->rings[i]);
        }
    }
}

static struct world the_world;

/* RocksDB would be at work yet. */
static void close_world(void)
{
    commit_parts_remove(&the_world.parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = &the_world;

    if (w->parts.lanes == NULL) {
        es_hash_warm_up();
        logger_set_level(LOGGER_ERROR);
        commit_parts_make(&w->parts, SLOTS);
        require(atexit(close_world) == 0);
    }
    w->published = w->answered = 0;
    parts_attach(&w->parts, &w->honest);
    parts_attach(&w->parts, &w->hostile);
    for (size_t i = 0; i + SCRIPT_BYTES <= size; i += SCRIPT_BYTES) {
        step(w, data + i);
    }
    for (int i = 0; i < ROUNDS_TO_END; i++) {
        go_round(w);
    }
    require(w->answered == w->published);
    tidy_up(w);
    return 0;
}
