#include "shm/codec/last_record.h"

#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#include <assert.h>

#define VERSION 1U
#define ELEMENT_COUNT 5U

enum es_status es_last_encode(const struct es_last *last, void *ret_bytes, size_t capacity,
                              uint32_t *ret_size)
{
    struct es_pack pack;

    assert(last->ring_count <= ES_LAST_RING_COUNT_MAX);
    assert(last->lane_count <= ES_LAST_LANE_COUNT_MAX);
    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, last->batch_number);
    es_pack_uint(&pack, last->commit_number);
    es_pack_array(&pack, last->ring_count);
    for (uint32_t i = 0; i < last->ring_count; i++) {
        es_pack_array(&pack, 2);
        es_pack_uint(&pack, last->rings[i].ring_id);
        es_pack_uint(&pack, last->rings[i].cursor);
    }
    es_pack_array(&pack, last->lane_count);
    for (uint32_t i = 0; i < last->lane_count; i++) {
        es_pack_array(&pack, 3);
        es_pack_uint(&pack, last->lanes[i].incarnation);
        es_pack_uint(&pack, last->lanes[i].last_sequence);
        es_pack_uint(&pack, last->lanes[i].next_offset);
    }
    return es_pack_finish(&pack, ret_size);
}

/* Both lists: trailing elements of an entry are passed over. */
static void rings_read(struct es_unpack *unpack, struct es_last *ret_last)
{
    ret_last->ring_count = es_unpack_array_in(unpack, 0, ES_LAST_RING_COUNT_MAX);
    for (uint32_t i = 0; i < ret_last->ring_count && es_unpack_ok(unpack); i++) {
        uint32_t count = es_unpack_array_in(unpack, 2, UINT32_MAX);

        ret_last->rings[i].ring_id = es_unpack_uint(unpack);
        ret_last->rings[i].cursor = es_unpack_uint(unpack);
        es_unpack_skip_count(unpack, count - 2);
    }
}

static void lanes_read(struct es_unpack *unpack, struct es_last *ret_last)
{
    ret_last->lane_count = es_unpack_array_in(unpack, 0, ES_LAST_LANE_COUNT_MAX);
    for (uint32_t i = 0; i < ret_last->lane_count && es_unpack_ok(unpack); i++) {
        uint32_t count = es_unpack_array_in(unpack, 3, UINT32_MAX);

        ret_last->lanes[i].incarnation = es_unpack_uint(unpack);
        ret_last->lanes[i].last_sequence = es_unpack_uint(unpack);
        ret_last->lanes[i].next_offset = es_unpack_uint(unpack);
        es_unpack_skip_count(unpack, count - 3);
    }
}

enum es_status es_last_decode(const void *bytes, size_t size, struct es_last *ret_last)
{
    struct es_versioned value;
    struct es_last last;

    es_versioned_begin(&value, bytes, size, ELEMENT_COUNT, VERSION);
    last.batch_number = es_unpack_uint(&value.unpack);
    last.commit_number = es_unpack_uint(&value.unpack);
    rings_read(&value.unpack, &last);
    lanes_read(&value.unpack, &last);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        ret_last->batch_number = last.batch_number;
        ret_last->commit_number = last.commit_number;
        ret_last->ring_count = last.ring_count;
        ret_last->lane_count = last.lane_count;
        memcpy(ret_last->rings, last.rings, last.ring_count * sizeof last.rings[0]);
        memcpy(ret_last->lanes, last.lanes, last.lane_count * sizeof last.lanes[0]);
    }
    return status;
}

void es_last_note(struct es_last *ahead, const struct es_last *last)
{
    for (uint32_t i = 0; i < last->ring_count; i++) {
        uint32_t at = 0;

        while (at < ahead->ring_count && ahead->rings[at].ring_id != last->rings[i].ring_id) {
            at++;
        }
        if (at < ES_LAST_RING_COUNT_MAX) {
            ahead->rings[at] = last->rings[i];
            ahead->ring_count += at == ahead->ring_count;
        }
    }
    for (uint32_t i = 0; i < last->lane_count; i++) {
        uint32_t at = 0;

        while (at < ahead->lane_count &&
               ahead->lanes[at].incarnation != last->lanes[i].incarnation) {
            at++;
        }
        if (at < ES_LAST_LANE_COUNT_MAX) {
            ahead->lanes[at] = last->lanes[i];
            ahead->lane_count += at == ahead->lane_count;
        }
    }
}
