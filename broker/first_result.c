#include "broker/first_result.h"

#include <string.h>

#include "broker/epochs.h"
#include "shm/codec/chain.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/store_key.h"

struct finding {
    struct store *store;
    const struct store_snapshot *snapshot;
    struct es_text producer;
    uint64_t number;
    struct first_result *first;
    struct store_buffer record; /* of the commit */
    struct store_buffer value;
};

static enum es_status get(struct finding *finding, enum store_family family,
                          const struct es_key *key, struct store_buffer *value)
{
    return store_get(finding->store, finding->snapshot, family,
                     (struct store_slice){key->bytes, key->size}, value);
}

/* The same for what must be there. */
static enum es_status get_known(struct finding *finding, enum store_family family,
                                const struct es_key *key, struct store_buffer *value)
{
    enum es_status status = get(finding, family, key, value);

    return status == ES_NOT_FOUND ? ES_E_CORRUPT : status;
}

/* The key of the one commit that can hold the number. */
static enum es_status find_commit(struct finding *finding, struct es_key *ret_commit)
{
    uint8_t end[ES_KEY_SIZE_MAX];
    struct es_key key;
    struct store_range range;
    struct store_iterator *iterator = NULL;
    enum es_status status = ES_OK;

    es_key_producer_commit(finding->producer, finding->number, &key);
    range.first = (struct store_slice){key.bytes, key.size};
    range.end = (struct store_slice){
        end, store_prefix_end((struct store_slice){key.bytes, key.size - ES_NUMBER_KEY_SIZE}, end)};
    status =
        store_iterator_new(finding->store, finding->snapshot, STORE_PRODUCERS, &range, &iterator);
    if (status != ES_OK) {
        return status;
    }
    store_iterator_seek_first(iterator);
    if (store_iterator_valid(iterator)) {
        struct store_slice value = store_iterator_value(iterator);

        status = value.size == ES_COMMIT_KEY_SIZE ? ES_OK : ES_E_CORRUPT;
        if (status == ES_OK) {
            memcpy(ret_commit->bytes, value.bytes, ES_COMMIT_KEY_SIZE);
            ret_commit->size = ES_COMMIT_KEY_SIZE;
        }
    } else {
        status = store_iterator_status(iterator);
        status = status == ES_OK ? ES_NOT_FOUND : status;
    }
    store_iterator_free(iterator);
    return status;
}

/* In which history the commit was made: store_value.h, Epochs. */
static enum es_status find_epoch(struct finding *finding, uint64_t position, uint64_t *ret_epoch)
{
    struct es_epochs epochs;
    enum es_status status = epochs_load(finding->store, finding->snapshot, &epochs);

    if (status != ES_OK) {
        return status;
    }
    *ret_epoch = 0; /* older than those that are remembered */
    for (uint32_t i = 0; i < epochs.count && epochs.entries[i].first_position <= position; i++) {
        *ret_epoch = epochs.entries[i].epoch;
    }
    return ES_OK;
}

/* Hash and tick of the transaction's last event, which is sequence and position already. */
static enum es_status read_event(struct finding *finding, struct es_text stream)
{
    struct es_lane_result *result = &finding->first->result;
    struct es_event_view view;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_event(stream, result->stream_sequence, &key);
    status = get_known(finding, STORE_EVENTS, &key, &finding->value);
    if (status == ES_OK) {
        status = es_envelope_decode(finding->value.bytes, finding->value.size, &view);
    }
    if (status == ES_OK) {
        status = es_chain_verify_hash(&view);
    }
    if (status != ES_OK) {
        return status;
    }
    memcpy(result->hash, view.hash, ES_HASH_SIZE);
    result->tick = view.event.tick;
    finding->first->stream_bytes = stream.size;
    memcpy(finding->first->stream, stream.data, stream.size);
    return ES_OK;
}

/* The transaction that the walk stands on is the one: its last run and its last key. */
static enum es_status read_transaction(struct finding *finding, const struct es_commit_view *view,
                                       struct es_commit_walk *walk)
{
    struct es_lane_result *result = &finding->first->result;
    struct es_text stream = es_text_make("", 0);
    struct es_commit_run run;
    struct es_commit_kv kv;
    uint64_t first_position = 0;

    while (es_commit_walk_run(walk, &run, &first_position)) {
        stream = run.stream;
        result->stream_sequence = run.first_sequence + run.count - 1;
        result->position = first_position + run.count - 1;
    }
    while (es_commit_walk_kv(walk, &kv)) {
        result->revision = kv.revision;
    }
    result->status = ES_OK;
    result->commit_number = view->commit_number;
    result->time_us = view->time_us;
    memcpy(result->store_hash, view->store_hash, ES_HASH_SIZE);
    return stream.size > 0 ? read_event(finding, stream) : ES_OK;
}

static enum es_status read_commit(struct finding *finding, const struct es_key *commit)
{
    struct first_result *first = finding->first;
    struct es_commit_transaction transaction;
    struct es_commit_view view;
    struct es_commit_walk walk;
    enum es_status status = get_known(finding, STORE_COMMITS, commit, &finding->record);

    if (status == ES_OK) {
        status = es_commit_decode(finding->record.bytes, finding->record.size, &view);
    }
    if (status == ES_OK) {
        status = es_commit_verify_hash(&view);
    }
    if (status != ES_OK) {
        return status;
    }
    es_commit_walk_begin(&view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        if (transaction.producer_sequence != finding->number ||
            !es_text_equal(transaction.producer, finding->producer)) {
            continue;
        }
        memcpy(first->content_hash, transaction.content_hash, ES_CONTENT_HASH_SIZE);
        status = find_epoch(finding, view.first_position, &first->result.epoch);
        return status == ES_OK ? read_transaction(finding, &view, &walk) : status;
    }
    return ES_NOT_FOUND; /* passed over by a gap */
}

enum es_status first_result_find(struct store *store, const struct store_snapshot *snapshot,
                                 struct es_text producer, uint64_t number,
                                 struct first_result *ret_first)
{
    struct finding finding = {.store = store,
                              .snapshot = snapshot,
                              .producer = producer,
                              .number = number,
                              .first = ret_first};
    struct es_key commit;
    enum es_status status = ES_OK;

    memset(ret_first, 0, sizeof *ret_first);
    status = find_commit(&finding, &commit);
    if (status == ES_OK) {
        status = read_commit(&finding, &commit);
    }
    store_buffer_deinit(&finding.record);
    store_buffer_deinit(&finding.value);
    return status;
}
