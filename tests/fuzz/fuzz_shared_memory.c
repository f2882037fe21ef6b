/* Fuzzes everything that a producer can reach: the input is a script that writes bytes
 * anywhere into a ring and a lane (and makes the checksums of headers right again)
 * while an honest producer publishes and a broker drains, commits and restarts. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shm/crc32c.h"
#include "shm/lane_reader.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"

#define SLOT_COUNT 8u
#define CREDIT_COUNT 4u
#define ARENA_BYTES ES_ARENA_BYTES_TINY
#define RING_ID 7
#define INCARNATION ((UINT64_C(2) << 32) | 9)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_ring ring;
    struct es_ring_reader tickets;
    struct es_lane_writer writer;
    struct es_lane_reader lane;
    uint64_t durable_cursor;
    uint64_t durable_sequence;
    uint32_t durable_offset;
};

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static struct es_segment zeroes(size_t size)
{
    void *base = aligned_alloc(ES_PAGE_BYTES, size);

    require(base != NULL);
    memset(base, 0, size);
    return (struct es_segment){.base = base, .size = size, .fd = -1};
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->ring_segment = zeroes(es_ring_bytes(SLOT_COUNT));
    w->lane_segment = zeroes(es_lane_bytes(ARENA_BYTES, CREDIT_COUNT));
    es_ring_format(&w->ring_segment, RING_ID, SLOT_COUNT);
    es_lane_format(&w->lane_segment, INCARNATION, ARENA_BYTES, CREDIT_COUNT);
    require(es_ring_attach(&w->ring, &w->ring_segment, RING_ID, SLOT_COUNT) == ES_OK);
    require(es_ring_reader_attach(&w->tickets, &w->ring_segment, RING_ID, SLOT_COUNT, 0) == ES_OK);
    require(es_lane_writer_attach(&w->writer, &w->lane_segment, INCARNATION, ARENA_BYTES,
                                  CREDIT_COUNT) == ES_OK);
    require(es_lane_reader_attach(&w->lane, &w->lane_segment, INCARNATION, ARENA_BYTES,
                                  CREDIT_COUNT, 0, 0) == ES_OK);
}

static void publish(struct world *w, uint32_t size)
{
    void *payload = NULL;
    uint64_t sequence = 0;

    if (es_lane_claim(&w->writer, size, &payload) == ES_OK) {
        memset(payload, (int)size, size);
        require(es_lane_publish(&w->writer, size, ES_RECORD_ORDERED, &sequence) == ES_OK);
        (void)!es_ring_place(&w->ring, 1, sequence);
    }
}

/* Takes what there is, by ticket or by sweep; a lane that was evicted stays so. */
static void drain(struct world *w)
{
    uint8_t *buffer = malloc(ARENA_BYTES / 8); /* exactly: the sanitizer watches its end */
    struct es_ticket ticket;
    struct es_record record;

    require(buffer != NULL);
    while (es_ring_take(&w->tickets, &ticket) == ES_OK) {
        require(ticket.lane_index < ES_LANE_COUNT_MAX);
    }
    require(w->tickets.cursor - w->tickets.freed <= SLOT_COUNT);
    for (uint32_t backlog = es_lane_backlog(&w->lane); backlog > 0; backlog--) {
        bool was_evicted = w->lane.evicted_why != NULL;
        uint64_t consumed = w->lane.consumed;
        enum es_status status = es_lane_next(&w->lane, buffer, ARENA_BYTES / 8, &record);

        require(status == ES_OK ? !was_evicted : w->lane.consumed == consumed);
        if (status != ES_OK) {
            break;
        }
        require(record.sequence == consumed + 1 && w->lane.consumed == consumed + 1);
        require(record.size >= 1 && record.size <= ARENA_BYTES / 8 - ES_RECORD_HEADER_BYTES);
        require((record.flags & ~ES_RECORD_FLAGS_USER) == 0);
        require(w->lane.next_offset < ARENA_BYTES);
        es_lane_stage(&w->lane, &(struct es_lane_result){.sequence = record.sequence});
    }
    free(buffer);
}

static void commit(struct world *w)
{
    struct es_lane_result result;

    w->durable_cursor = w->tickets.cursor;
    w->durable_sequence = w->lane.consumed;
    w->durable_offset = w->lane.next_offset;
    es_ring_free(&w->tickets, w->durable_cursor);
    es_lane_ack(&w->lane, w->durable_sequence);
    es_lane_wake(&w->lane);
    while (es_lane_collect(&w->writer, &result) == ES_OK) {
    }
}

static void restart(struct world *w)
{
    const char *why = w->lane.evicted_why;

    if (es_ring_reader_attach(&w->tickets, &w->ring_segment, RING_ID, SLOT_COUNT,
                              w->durable_cursor) == ES_OK) {
        require(w->tickets.cursor == w->durable_cursor);
    }
    if (es_lane_reader_attach(&w->lane, &w->lane_segment, INCARNATION, ARENA_BYTES, CREDIT_COUNT,
                              w->durable_sequence, w->durable_offset) != ES_OK) {
        w->durable_sequence = w->lane.acked; /* refused: the old view goes on */
    }
    if (why != NULL) {
        es_lane_evict(&w->lane, why);
    }
}

/* Makes the checksum of a header right, so that what it says is looked at. */
static void seal(struct world *w, uint32_t index)
{
    uint8_t *place = w->writer.arena + index % (ARENA_BYTES / 32) * 32;
    uint32_t crc = es_crc32c(0, place, offsetof(struct es_record_header, header_crc));

    memcpy(place + offsetof(struct es_record_header, header_crc), &crc, sizeof crc);
}

/* The record that the broker waits for, as a hostile producer would forge it: right
 * but for its length and flags. */
static void forge(struct world *w, uint32_t length, uint32_t flags)
{
    struct es_record_header header = {.length = length,
                                      .flags = flags,
                                      .incarnation = INCARNATION,
                                      .sequence = w->lane.consumed + 1};

    memcpy(w->writer.arena + w->lane.next_offset, &header, sizeof header);
    seal(w, w->lane.next_offset / 32);
    atomic_store(&w->writer.file->published, w->lane.consumed + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w;

    world_open(&w);
    for (size_t i = 0; i + 4 <= size; i += 4) { /* verb, place (2), value */
        uint32_t place = data[i + 1] | (uint32_t)data[i + 2] << 8;
        uint8_t value = data[i + 3];

        switch (data[i] % 10) {
        case 0: publish(&w, place % 480 + 1); break;
        case 1: drain(&w); break;
        case 2: commit(&w); break;
        case 3: restart(&w); break;
        case 4: ((uint8_t *)w.ring_segment.base)[place % w.ring_segment.size] = value; break;
        case 5: ((uint8_t *)w.lane_segment.base)[place % w.lane_segment.size] = value; break;
        case 6: w.writer.arena[place % ARENA_BYTES] = value; break;
        case 7: seal(&w, place); break;
        case 8: forge(&w, place, value); break;
        default: (void)!es_ring_place(&w.ring, value, place); break;
        }
    }
    drain(&w);
    commit(&w);
    free(w.ring_segment.base);
    free(w.lane_segment.base);
    return 0;
}
