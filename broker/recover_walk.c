/*
 * A commit is proven if its record continues the chain of store hashes, and each event
 * that it counts is there, of its stream and sequence, and has a hash that is its own:
 * the record's events hash is over these, so none can be another. Values of keys are in
 * no hash chain but by their own hash, which the record names.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/recover_state.h"
#include "shm/codec/chain.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/codec/stream_key.h"

enum {
    PROGRESS_INTERVAL = 256
};

/* A producer's name in the commit at hand, with its last number there. */
struct named {
    struct es_text name; /* in the record's bytes */
    uint64_t last_number;
    uint32_t uid;
};

struct walk {
    struct recover_source *source;
    struct recover_finding *finding;
    struct store *pending;
    struct store_batch *pending_writes;
    struct store_buffer value;
    struct store_buffer envelopes;  /* packed, as the body holds them */
    struct store_buffer operations; /* likewise */
    struct store_buffer body;
    struct store_buffer names; /* of struct named */
    uint32_t envelope_count;
    uint32_t operation_count;
    struct es_hash_state events_hash;
};

/* Says why the history ends; returns ES_E_CORRUPT. */
__attribute__((format(printf, 2, 3))) static enum es_status end_here(struct walk *walk,
                                                                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(walk->finding->end_why, sizeof walk->finding->end_why, format, arguments);
    va_end(arguments);
    return ES_E_CORRUPT;
}

/* Room for 'bytes' more. */
static enum es_status grow(struct store_buffer *buffer, size_t bytes)
{
    size_t wanted = buffer->size + bytes;
    uint8_t *larger = NULL;

    if (wanted <= buffer->capacity) {
        return ES_OK;
    }
    wanted = wanted < 2 * buffer->capacity ? 2 * buffer->capacity : wanted;
    larger = realloc(buffer->bytes, wanted);
    if (larger == NULL) {
        return ES_E_NO_MEMORY;
    }
    buffer->bytes = larger;
    buffer->capacity = wanted;
    return ES_OK;
}

static void pack_at_end(struct store_buffer *buffer, struct es_pack *ret_pack)
{
    es_pack_init(ret_pack, buffer->bytes + buffer->size, buffer->capacity - buffer->size);
}

static enum es_status add_operation(struct walk *walk, const struct es_log_operation *operation,
                                    size_t value_bytes)
{
    struct es_pack pack;
    enum es_status status = grow(&walk->operations, value_bytes + ES_LOG_OPERATION_OVERHEAD);

    if (status == ES_OK) {
        pack_at_end(&walk->operations, &pack);
        es_log_body_operation(&pack, operation);
        walk->operations.size += es_pack_size(&pack);
        walk->operation_count++;
    }
    return status;
}

/* ---- events ---- */

static enum es_status take_event(struct walk *walk, const struct es_commit_run *run,
                                 uint64_t sequence, uint64_t position)
{
    struct es_event_view view;
    struct es_pack pack;
    struct es_key key;
    char text[ES_STREAM_SIZE_MAX];
    enum es_status status = ES_OK;

    es_key_event(run->stream, sequence, &key);
    status = store_get(walk->source->store, NULL, STORE_EVENTS,
                       (struct store_slice){key.bytes, key.size}, &walk->value);
    if (status == ES_E_NO_MEMORY) {
        return status;
    }
    if (status != ES_OK ||
        es_envelope_decode(walk->value.bytes, (uint32_t)walk->value.size, &view) != ES_OK ||
        es_chain_verify_hash(&view) != ES_OK ||
        !es_text_equal(es_text_make(text, es_stream_format(&view.event.stream, text)),
                       run->stream)) {
        return end_here(walk,
                        "the event at position %" PRIu64 " (%.*s, sequence %" PRIu64 ") is %s",
                        position, (int)run->stream.size, run->stream.data, sequence,
                        status == ES_NOT_FOUND ? "missing" : "damaged");
    }
    es_events_hash_add(&walk->events_hash, view.hash);
    status = grow(&walk->envelopes, walk->value.size + ES_LOG_ENVELOPE_OVERHEAD);
    if (status == ES_OK) {
        pack_at_end(&walk->envelopes, &pack);
        es_log_body_envelope(&pack, es_bytes_make(walk->value.bytes, (uint32_t)walk->value.size));
        walk->envelopes.size += es_pack_size(&pack);
        walk->envelope_count++;
    }
    return status;
}

static enum es_status take_run(struct walk *walk, const struct es_commit_run *run,
                               uint64_t first_position)
{
    enum es_status status = ES_OK;

    for (uint64_t i = 0; i < run->count && status == ES_OK; i++) {
        status = take_event(walk, run, run->first_sequence + i, first_position + i);
    }
    return status;
}

/* ---- keys ---- */

/* Whether the value that this change has put is the one stored, and sound. */
static enum es_status find_value(struct walk *walk, const struct es_commit_kv *kv,
                                 struct es_kv_value *ret_value, bool *ret_found)
{
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_kv(kv->name_space, kv->key, &key);
    status = store_get(walk->source->store, NULL, STORE_KV,
                       (struct store_slice){key.bytes, key.size}, &walk->value);
    *ret_found = status == ES_OK && kv->op == ES_COMMIT_KV_PUT &&
                 es_kv_value_decode(walk->value.bytes, walk->value.size, ret_value) == ES_OK &&
                 es_kv_value_verify(ret_value) == ES_OK && ret_value->revision == kv->revision &&
                 memcmp(ret_value->value_hash, kv->value_hash, ES_HASH_SIZE) == 0;
    return status == ES_E_NO_MEMORY ? status : ES_OK;
}

/* A key whose value is not there is pending until a later change of it. */
static enum es_status note_pending(struct walk *walk, const struct es_commit_kv *kv, bool found)
{
    const struct store_slice mark = {"", 1};
    struct es_key key;
    struct store_slice slice;
    enum es_status status = ES_OK;

    es_key_kv(kv->name_space, kv->key, &key);
    slice = (struct store_slice){key.bytes, key.size};
    store_batch_clear(walk->pending_writes);
    status = kv->op == ES_COMMIT_KV_PUT && !found
                 ? store_batch_put(walk->pending_writes, STORE_KV, slice, mark)
                 : store_batch_delete(walk->pending_writes, STORE_KV, slice);
    return status == ES_OK ? store_apply(walk->pending, walk->pending_writes, STORE_APPLY_LIVE)
                           : status;
}

/* Where the value is gone, or there was none, the operation is a deletion: it carries the
 * revision on. */
static enum es_status take_key(struct walk *walk, const struct es_commit_kv *kv)
{
    struct es_log_operation operation = {
        .kind = ES_LOG_KV_DELETE,
        .as.kv = {.family = ES_KV_TRUTH, .name_space = kv->name_space, .key = kv->key},
    };
    bool found = false;
    enum es_status status = find_value(walk, kv, &operation.as.kv.value, &found);

    if (status == ES_OK) {
        status = note_pending(walk, kv, found);
    }
    if (found) {
        operation.kind = ES_LOG_KV_PUT;
    } else {
        operation.as.kv.value = (struct es_kv_value){.revision = kv->revision};
    }
    return status == ES_OK ? add_operation(walk, &operation, operation.as.kv.value.value.size)
                           : status;
}

/* ---- producers ---- */

static enum es_status note_name(struct walk *walk, const struct es_commit_transaction *transaction)
{
    struct named *names = (struct named *)(void *)walk->names.bytes;
    size_t count = walk->names.size / sizeof *names;
    size_t at = 0;
    enum es_status status = ES_OK;

    while (at < count && !es_text_equal(names[at].name, transaction->producer)) {
        at++;
    }
    if (at == count) {
        status = grow(&walk->names, sizeof *names);
        if (status != ES_OK) {
            return status;
        }
        walk->names.size += sizeof *names;
        names = (struct named *)(void *)walk->names.bytes;
    }
    names[at] = (struct named){transaction->producer, transaction->producer_sequence,
                               transaction->origin_uid};
    return ES_OK;
}

/* The entry that the batch had for the name: whose it is now is known from the store. */
static enum es_status take_name(struct walk *walk, const struct named *named)
{
    struct es_log_operation operation = {
        .kind = ES_LOG_PRODUCER,
        .as.producer = {.producer = named->name, .value.owner_uid = named->uid},
    };
    struct es_producer_value entry;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_producer(named->name, &key);
    status = store_get(walk->source->store, NULL, STORE_PRODUCERS,
                       (struct store_slice){key.bytes, key.size}, &walk->value);
    if (status == ES_OK &&
        es_producer_value_decode(walk->value.bytes, walk->value.size, &entry) == ES_OK) {
        operation.as.producer.value = entry;
    }
    operation.as.producer.value.last_sequence = named->last_number;
    return status == ES_E_NO_MEMORY ? status : add_operation(walk, &operation, 0);
}

static enum es_status take_names(struct walk *walk)
{
    const struct named *names = (const struct named *)(void *)walk->names.bytes;
    enum es_status status = ES_OK;

    for (size_t i = 0; i < walk->names.size / sizeof *names && status == ES_OK; i++) {
        status = take_name(walk, &names[i]);
    }
    return status;
}

/* ---- commits ---- */

static enum es_status check_record(struct walk *walk, const struct es_commit_view *view)
{
    const struct history_point *end = &walk->finding->end;

    if (es_commit_verify_hash(view) != ES_OK) {
        return end_here(walk, "the record of commit %" PRIu64 " is damaged",
                        end->commit_number + 1);
    }
    if (view->commit_number != end->commit_number + 1 ||
        view->first_position != end->position + 1 ||
        memcmp(view->previous_store_hash, end->store_hash, ES_HASH_SIZE) != 0) {
        return end_here(walk, "the record of commit %" PRIu64 " is missing",
                        end->commit_number + 1);
    }
    return ES_OK;
}

static enum es_status take_contents(struct walk *walk, const struct es_commit_view *view)
{
    uint8_t events_hash[ES_HASH_SIZE];
    struct es_commit_transaction transaction;
    struct es_commit_walk commit;
    struct es_commit_run run;
    struct es_commit_kv kv;
    uint64_t position = 0;
    enum es_status status = ES_OK;

    walk->envelopes.size = walk->operations.size = walk->names.size = 0;
    walk->envelope_count = walk->operation_count = 0;
    es_events_hash_begin(&walk->events_hash);
    es_commit_walk_begin(view, &commit);
    while (status == ES_OK && es_commit_walk_transaction(&commit, &transaction)) {
        while (status == ES_OK && es_commit_walk_run(&commit, &run, &position)) {
            status = take_run(walk, &run, position);
        }
    }
    es_events_hash_end(&walk->events_hash, events_hash);
    if (status == ES_OK && memcmp(events_hash, view->events_hash, ES_HASH_SIZE) != 0) {
        status = end_here(walk, "the events of commit %" PRIu64 " are not those it was made of",
                          view->commit_number);
    }
    /* Only now: what is pending must be of proven commits. */
    es_commit_walk_begin(view, &commit);
    while (status == ES_OK && es_commit_walk_transaction(&commit, &transaction)) {
        while (status == ES_OK && es_commit_walk_kv(&commit, &kv)) {
            status = take_key(walk, &kv);
        }
        if (status == ES_OK && transaction.producer.size > 0) {
            status = note_name(walk, &transaction);
        }
    }
    return status == ES_OK ? take_names(walk) : status;
}

static enum es_status make_body(struct walk *walk, struct es_bytes record)
{
    struct es_last last = {.batch_number = walk->finding->end.batch_number + 1,
                           .commit_number = walk->finding->end.commit_number + 1};
    struct es_pack pack;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    walk->body.size = 0;
    status = grow(&walk->body, record.size + walk->envelopes.size + walk->operations.size +
                                   (size_t)ES_LOG_BODY_OVERHEAD);
    if (status != ES_OK) {
        return status;
    }
    pack_at_end(&walk->body, &pack);
    es_log_body_begin(&pack, record, walk->envelope_count);
    es_pack_raw(&pack, walk->envelopes.bytes, walk->envelopes.size);
    es_log_body_operations(&pack, walk->operation_count);
    es_pack_raw(&pack, walk->operations.bytes, walk->operations.size);
    es_log_body_last(&pack, &last);
    status = es_pack_finish(&pack, &size);
    walk->body.size = size;
    return status;
}

static enum es_status take_commit(struct walk *walk, struct store_slice value,
                                  recover_commit_fn visit, void *context)
{
    struct history_point *end = &walk->finding->end;
    struct recover_commit commit;
    enum es_status status = es_commit_decode(value.bytes, value.size, &commit.view);

    if (status == ES_E_VERSION) {
        return status;
    }
    if (status != ES_OK) {
        return end_here(walk, "the record of commit %" PRIu64 " is damaged",
                        end->commit_number + 1);
    }
    status = check_record(walk, &commit.view);
    if (status == ES_OK) {
        status = take_contents(walk, &commit.view);
    }
    if (status == ES_OK) {
        status = make_body(walk, es_bytes_make(value.bytes, (uint32_t)value.size));
    }
    if (status == ES_OK && visit != NULL) {
        commit.body = walk->body.bytes;
        commit.body_bytes = walk->body.size;
        status = visit(context, &commit);
    }
    if (status == ES_OK) {
        end->batch_number++;
        end->commit_number = commit.view.commit_number;
        end->position = es_commit_last_position(&commit.view);
        end->time_us = commit.view.time_us;
        memcpy(end->store_hash, commit.view.store_hash, ES_HASH_SIZE);
    }
    return status;
}

static enum es_status go(struct walk *walk, const struct recover_listener *listener,
                         recover_commit_fn visit, void *context)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    enum es_status status =
        store_iterator_new(walk->source->store, NULL, STORE_COMMITS, &all, &iterator);

    if (status != ES_OK) {
        return status;
    }
    store_iterator_seek_first(iterator);
    for (uint64_t i = 1; status == ES_OK && store_iterator_valid(iterator); i++) {
        status = take_commit(walk, store_iterator_value(iterator), visit, context);
        store_iterator_next(iterator);
        if (status == ES_OK && i % PROGRESS_INTERVAL == 0 && listener != NULL &&
            listener->progress != NULL &&
            !listener->progress(listener->context, walk->finding->end.position)) {
            status = ES_INTERRUPTED;
        }
    }
    if (status == ES_OK && store_iterator_status(iterator) != ES_OK) {
        status = end_here(walk, "the record of commit %" PRIu64 " cannot be read: %.200s",
                          walk->finding->end.commit_number + 1, store_why(walk->source->base));
    }
    store_iterator_free(iterator);
    return status;
}

enum es_status recover_walk(struct recover_source *source, struct recover_finding *finding,
                            struct store *pending, const struct recover_listener *listener,
                            recover_commit_fn visit, void *context)
{
    struct walk walk = {.source = source, .finding = finding, .pending = pending};
    enum es_status status = store_batch_new(&walk.pending_writes);

    memset(&finding->end, 0, sizeof finding->end);
    es_store_hash_genesis(finding->store_id, finding->end.store_hash);
    finding->end_why[0] = '\0';
    if (status == ES_OK) {
        status = go(&walk, listener, visit, context);
    }
    store_batch_free(walk.pending_writes);
    store_buffer_deinit(&walk.value);
    store_buffer_deinit(&walk.envelopes);
    store_buffer_deinit(&walk.operations);
    store_buffer_deinit(&walk.body);
    store_buffer_deinit(&walk.names);
    /* A gap is what was looked for; a failure of the visitor or of memory is not. */
    return status == ES_E_CORRUPT && finding->end_why[0] != '\0' ? ES_OK : status;
}
