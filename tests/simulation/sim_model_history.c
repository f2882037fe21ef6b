#include "tests/simulation/sim_model.h"

#include <inttypes.h>
#include <string.h>

#include "shm/codec/hash.h"
#include "shm/codec/store_key.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_claims.h"
#include "tests/simulation/sim_commits.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_store.h"

uint64_t model_newest_commit(void)
{
    struct store *store = sim_store_contents();
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t position = 0;
    uint64_t number = 0;

    if (store_iterator_new(store, NULL, STORE_COMMITS, &all, &iterator) != ES_OK) {
        return 0;
    }
    store_iterator_seek_last(iterator);
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (es_key_commit_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &position, &number) !=
            ES_OK) {
            sim_violation("a key of the commits is malformed");
        }
    }
    store_iterator_free(iterator);
    return number;
}

void model_process_ended(bool machine_fell)
{
    if (model.is_begun && sim_broker_has_served()) {
        uint64_t newest = model_newest_commit();

        commits_read();
        model.readable_commit = newest > model.readable_commit ? newest : model.readable_commit;
        if (sim.durability == ANCHOR_FSYNC) {
            model.durable_commit = model.readable_commit;
        }
    }
    names_process_ended();
    model.machine_fell = model.machine_fell || (machine_fell && !model.is_clean);
}

void model_synced(uint64_t commit_number)
{
    if (commit_number > model.durable_commit) {
        model.durable_commit = commit_number;
    }
}

void model_anchored(uint64_t commit_number)
{
    model.anchored_commit = commit_number;
}

void model_paged(uint64_t commit_number)
{
    model.paged_commit = commit_number;
}

void model_stopped_cleanly(void)
{
    model.is_clean = true;
    model.durable_commit = model_newest_commit();
    model.readable_commit = model.durable_commit;
}

static void begin_model(const struct startup *startup)
{
    model.is_begun = true;
    model.epoch = startup->state.epoch;
    memcpy(model.store_id, startup->state.store_id, sizeof model.store_id);
    es_store_hash_genesis(model.store_id, model.store_hash);
}

/* The unsynced end is gone with the machine: what is left is read anew. */
static void cut_history(const struct startup *startup)
{
    uint32_t lane_count = model.lane_count;
    uint64_t stamp = model.stamp;
    bool is_restored = model.is_restored;

    for (uint32_t i = 0; i < op_count; i++) {
        struct op *op = &ops[i];

        op->is_lost = op->is_lost || op->is_stored;
        op->is_stored = false;
        for (uint32_t part = 0; part < op->part_count; part++) {
            op->parts[part].revision = 0;
        }
    }
    for (uint32_t i = 0; i < lane_count; i++) {
        model.lanes[i].stored_sequence = 0;
    }
    model_clear();
    model.lane_count = lane_count;
    model.machine_fell = true; /* until this start is over: it may begin again */
    model.is_read_anew = true;
    model.stamp = stamp;
    model.is_restored = is_restored;
    begin_model(startup);
    if (!is_restored) {
        sim_fault(FAULT_HISTORY_CUT);
    }
}

void model_restored(uint64_t commit_number, uint64_t epoch)
{
    model.is_restored = true;
    model.lost_epoch = epoch;
    model.readable_commit = commit_number;
    model.durable_commit = commit_number;
    model.anchored_commit = 0; /* what the copy's own anchor names is in the copy */
    model.paged_commit = 0;
}

/* Which histories there have been, for those who were told of one that is over. */
static void follow_epoch(const struct startup *startup)
{
    if (model.is_restored && startup->state.epoch == model.lost_epoch) {
        sim_violation("a copy was restored and the epoch is the same");
    }
    if (startup->state.epoch != model.epoch || !claims_know(startup->state.epoch)) {
        claims_new_epoch(startup->state.epoch, startup->end.position);
    }
    model.epoch = startup->state.epoch;
}

void model_started(const struct startup *startup)
{
    bool may_lose = (sim.durability == ANCHOR_OS && model.machine_fell) || model.is_restored;
    uint64_t lost_epoch = model.lost_epoch;
    uint64_t floor = may_lose ? model.durable_commit : model.readable_commit;

    sim.counts.starts++;
    if (!model.is_begun || memcmp(model.store_id, startup->state.store_id, ES_STORE_ID_SIZE) != 0) {
        if (model.readable_commit > 0) {
            sim_violation("a store with %" PRIu64 " commits was made anew", model.readable_commit);
        }
        bool machine_fell = model.machine_fell;

        model_clear();
        begin_model(startup);
        model.machine_fell = machine_fell;
    }
    if (startup->end.commit_number < floor) {
        sim_violation("commits %" PRIu64 " to %" PRIu64 " are lost", startup->end.commit_number + 1,
                      floor);
    }
    if (startup->state.epoch == model.epoch && startup->end.commit_number < model.commit_number) {
        sim_violation("history was lost and the epoch is the same");
    }
    if (startup->state.epoch != model.epoch && !may_lose) {
        sim_violation("a new epoch without a loss");
    }
    if (startup->end.commit_number < model.commit_number) {
        cut_history(startup);
    }
    model.lost_epoch = lost_epoch;
    follow_epoch(startup);
    commits_read();
    model.is_read_anew = false;
    if (model.commit_number != startup->end.commit_number ||
        model.position != startup->end.position ||
        memcmp(model.store_hash, startup->end.store_hash, ES_HASH_SIZE) != 0) {
        sim_violation("the start says commit %" PRIu64 ", the store holds %" PRIu64,
                      startup->end.commit_number, model.commit_number);
    }
    model.readable_commit = model.commit_number;
    model.durable_commit = model.commit_number; /* what a start has replayed it has flushed */
    model.is_clean = false;
    sim_trace(13, model.position);
}

void model_serving(void)
{
    model.is_restored = false;
    model.machine_fell = false;
}

void model_published(const struct publication *publication)
{
    commits_read();
    if (publication->commit_number != model.commit_number ||
        publication->head_position != model.position) {
        sim_violation("published commit %" PRIu64 ", the store holds %" PRIu64,
                      publication->commit_number, model.commit_number);
    }
    for (uint32_t i = 0; i < publication->event_count; i++) {
        const struct publication_event *event = &publication->events[i];
        uint32_t stream = op_stream_index(es_text_make(event->stream, event->stream_bytes));

        if (event->position != model.position - publication->event_count + 1 + i ||
            stream == UINT32_MAX ||
            model.streams[stream].positions[event->sequence] != event->position) {
            sim_violation("an event was published in a place where it is not stored");
        }
    }
    sim.counts.commits++;
    sim.counts.events += publication->event_count;
}
