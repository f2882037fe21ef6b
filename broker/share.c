#include "broker/share.h"

#include "broker/limits.h"

static bool has_ticket(const struct lane_ring *ring)
{
    return ring->has_ticket || es_ring_has_ticket(&ring->reader);
}

static bool is_active(const struct lane_ring *ring, int64_t now_ns)
{
    return (ring->active_ns != 0 && now_ns - ring->active_ns < SHARED_FOR_NS) || has_ticket(ring);
}

bool share_is_ready(const struct lane_ring *ring, int64_t now_ns)
{
    return now_ns >= ring->rests_until_ns && has_ticket(ring);
}

int64_t share_rests_until(struct lanes *lanes, int64_t now_ns)
{
    int64_t until_ns = INT64_MAX;

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(lanes, i);

        if (ring != NULL && now_ns < ring->rests_until_ns && ring->rests_until_ns < until_ns) {
            until_ns = ring->rests_until_ns;
        }
    }
    return until_ns;
}

bool share_is_due(struct lanes *lanes, int64_t now_ns)
{
    uint32_t active_count = 0;

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(lanes, i);

        active_count += ring != NULL && is_active(ring, now_ns);
    }
    return active_count > 1;
}

void share_begin(struct share *share, struct lanes *lanes, const struct lane_ring *ring,
                 const struct batch *batch, int64_t now_ns)
{
    uint32_t bytes = batch->bytes_max / SHARES_OF_BYTES;

    share->is_limited = share_is_due(lanes, now_ns);
    /* One lap at most: a flood of stale tickets must not keep the batch waiting. */
    share->tickets_left = share->is_limited ? SHARE_TICKETS_MAX : ring->reader.ring.slot_count;
    share->answers_max = batch->answer_count + SHARE_RECORDS_MAX;
    share->bytes_max = batch->bytes + (bytes < SHARE_BYTES_MAX ? bytes : SHARE_BYTES_MAX);
}

bool share_has_room(const struct share *share, const struct batch *batch)
{
    return !share->is_limited ||
           (batch->answer_count < share->answers_max && batch->bytes < share->bytes_max);
}

static void rest(struct lane_ring *ring, int64_t now_ns)
{
    ring->rests_until_ns = now_ns + SHARE_REST_NS;
    ring->vain_turns = 0;
}

bool share_take_ticket(struct share *share, struct lane_ring *ring, const struct batch *batch,
                       int64_t now_ns)
{
    bool has_more = share->tickets_left > 0 && share_has_room(share, batch);

    if (has_more) {
        share->tickets_left--;
    } else if (share->is_limited) {
        rest(ring, now_ns);
    }
    return has_more;
}

void share_note_vain_turn(struct lanes *lanes, struct lane_ring *ring, int64_t now_ns)
{
    ring->active_ns = now_ns; /* to be reckoned with, though it gives nothing */
    ring->vain_turns++;
    if (ring->vain_turns >= SHARE_VAIN_TURNS_MAX && share_is_due(lanes, now_ns)) {
        rest(ring, now_ns);
    }
}
