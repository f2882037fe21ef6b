#include "tests/support/commit_steps.h"

#include <string.h>

#include "broker/log.h"
#include "broker/store.h"
#include "shm/control.h"
#include "shm/lane_reader.h"
#include "shm/ring.h"

struct commit_watch commit_watch = {.broken = COMMIT_NO_STEP};

void commit_watch_reset(enum commit_step broken)
{
    memset(&commit_watch, 0, sizeof commit_watch);
    commit_watch.broken = broken;
}

/* False: the broker is dead by now. */
static bool step(enum commit_step which)
{
    if (commit_watch.count < sizeof commit_watch.calls / sizeof commit_watch.calls[0]) {
        commit_watch.calls[commit_watch.count++] = which;
    }
    if (commit_watch.goes_on) {
        return which != commit_watch.broken;
    }
    commit_watch.is_broken = commit_watch.is_broken || which == commit_watch.broken;
    return !commit_watch.is_broken;
}

enum es_status __real_log_append(struct log *log, const struct log_batch *batch, bool *begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *begun)
{
    return step(COMMIT_APPEND) ? __real_log_append(log, batch, begun) : ES_E_IO;
}

enum es_status __real_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log)
{
    return step(COMMIT_SYNC) ? __real_log_sync(log) : ES_E_IO;
}

enum es_status __real_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode);
enum es_status __wrap_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode);
enum es_status __wrap_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode)
{
    return step(COMMIT_APPLY) ? __real_store_apply(store, batch, mode) : ES_E_IO;
}

void __real_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor);
void __wrap_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor);
void __wrap_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor)
{
    if (step(COMMIT_CURSOR)) {
        __real_es_control_set_cursor(control, index, cursor);
    }
}

void __real_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset);
void __wrap_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset);
void __wrap_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset)
{
    if (step(COMMIT_ADVANCE)) {
        __real_es_control_advance_lane(control, index, last_sequence, next_offset);
    }
}

void __real_es_control_set_head(struct es_control *control, const struct es_control_head *head);
void __wrap_es_control_set_head(struct es_control *control, const struct es_control_head *head);
void __wrap_es_control_set_head(struct es_control *control, const struct es_control_head *head)
{
    if (step(COMMIT_HEAD)) {
        __real_es_control_set_head(control, head);
    }
}

void __real_es_ring_free(struct es_ring_reader *reader, uint64_t cursor);
void __wrap_es_ring_free(struct es_ring_reader *reader, uint64_t cursor);
void __wrap_es_ring_free(struct es_ring_reader *reader, uint64_t cursor)
{
    if (step(COMMIT_FREE)) {
        __real_es_ring_free(reader, cursor);
    }
}

void __real_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence);
void __wrap_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence);
void __wrap_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence)
{
    if (step(COMMIT_ACK)) {
        __real_es_lane_ack(reader, sequence);
    }
}

void __real_es_lane_wake(struct es_lane_reader *reader);
void __wrap_es_lane_wake(struct es_lane_reader *reader);
void __wrap_es_lane_wake(struct es_lane_reader *reader)
{
    if (step(COMMIT_WAKE)) {
        __real_es_lane_wake(reader);
    }
}
