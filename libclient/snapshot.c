/*
 * Snapshots: states of a projection, kept by the broker and bound to the event
 * they have seen last. The broker checks the binding; here they are only sent,
 * fetched and listed.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/asking.h"

#define LIST_PAGE_COUNT 1024u

/* Texts of a snapshot, terminated, valid while a visitor looks or until es_free(). */
struct snapshot_texts {
    char stream[ES_STREAM_BYTES_MAX + 1];
    char projection[ES_NAME_BYTES_MAX + 1];
};

/* Copies what was read; its texts point into 'texts'. Fails the reading if they are too long. */
static void read_snapshot(struct es_unpack *unpack, struct snapshot_texts *texts,
                          struct es_snapshot *ret_snapshot)
{
    struct es_snapshot_item item;

    es_snapshot_item_read(unpack, &item);
    if (!es_unpack_ok(unpack) || item.stream.size > ES_STREAM_BYTES_MAX ||
        item.projection.size > ES_NAME_BYTES_MAX) {
        es_unpack_fail(unpack);
        return;
    }
    memcpy(texts->stream, item.stream.data, item.stream.size);
    texts->stream[item.stream.size] = '\0';
    memcpy(texts->projection, item.projection.data, item.projection.size);
    texts->projection[item.projection.size] = '\0';
    *ret_snapshot = (struct es_snapshot){.stream = texts->stream,
                                         .projection = texts->projection,
                                         .tick = item.tick,
                                         .sequence = item.sequence,
                                         .version = item.version,
                                         .created_us = item.created_us,
                                         .state_bytes = item.state_size,
                                         .valid = item.valid};
    memcpy(ret_snapshot->hash, item.hash, ES_HASH_BYTES);
}

enum es_status es_snapshot_save(struct es_connection *connection, const char *stream, uint64_t tick,
                                uint64_t sequence, const char *projection, uint64_t version,
                                const void *state, size_t state_bytes)
{
    struct es_request request = {.verb = ES_VERB_SNAPSHOT_SAVE};
    struct es_request_snapshot_save *save = &request.as.snapshot_save;

    if (stream == NULL || (state == NULL && state_bytes > 0)) {
        return ES_E_INVALID;
    }
    save->stream = es_text_of(stream);
    save->tick = tick;
    save->sequence = sequence;
    save->projection = es_text_of(projection != NULL ? projection : "");
    save->version = version;
    save->state = es_bytes_make(state, (uint32_t)state_bytes); /* a larger one is refused below */
    /* Saved twice it is the same snapshot: its key is made of what was asked. */
    return es_ask(connection, &request, state_bytes, true, NULL, NULL);
}

/* Where a snapshot goes. */
struct wanted_snapshot {
    struct es_snapshot *ret_snapshot;
    void **ret_state;
};

/* State and texts in one piece of memory, which begins with the state. */
static enum es_status keep_loaded(struct es_connection *connection, struct es_answer *answer,
                                  void *context)
{
    const struct wanted_snapshot *wanted = context;
    struct snapshot_texts texts;
    struct es_snapshot snapshot = {.stream = NULL};
    struct es_bytes state;
    enum es_status status;
    char *memory;

    read_snapshot(&answer->reply.rest, &texts, &snapshot);
    state = es_unpack_bin(&answer->reply.rest, UINT32_MAX);
    status = es_answer_check(connection, answer);
    if (status != ES_OK) {
        return status;
    }
    memory = malloc(state.size + sizeof texts);
    if (memory == NULL) {
        return es_fail_no_memory(connection);
    }
    if (state.size > 0) {
        memcpy(memory, state.data, state.size);
    }
    memcpy(memory + state.size, &texts, sizeof texts);
    snapshot.stream = memory + state.size + offsetof(struct snapshot_texts, stream);
    snapshot.projection = memory + state.size + offsetof(struct snapshot_texts, projection);
    snapshot.state_bytes = state.size;
    *wanted->ret_snapshot = snapshot;
    *wanted->ret_state = memory;
    return ES_OK;
}

enum es_status es_snapshot_load(struct es_connection *connection, const char *stream, uint64_t tick,
                                const char *projection, struct es_snapshot *ret_snapshot,
                                void **ret_state)
{
    struct es_request request = {.verb = ES_VERB_SNAPSHOT_LOAD};
    struct wanted_snapshot wanted = {ret_snapshot, ret_state};

    if (stream == NULL || ret_snapshot == NULL || ret_state == NULL) {
        return ES_E_INVALID;
    }
    request.as.snapshot_load.stream = es_text_of(stream);
    request.as.snapshot_load.newest = tick == UINT64_MAX;
    request.as.snapshot_load.tick = tick;
    request.as.snapshot_load.projection = es_text_of(projection != NULL ? projection : "");
    return es_ask(connection, &request, 0, true, keep_loaded, &wanted);
}

/* A listing goes on behind the last store key of a page. */
struct listing {
    es_snapshot_visitor *visit;
    void *context;
    struct es_bytes *request_after;
    uint32_t after_bytes;
    uint8_t after[ES_KEY_SIZE_MAX];
};

static enum es_status visit_page(struct es_connection *connection, struct es_answer *answer,
                                 void *context, bool *ret_is_over)
{
    struct listing *listing = context;
    struct es_unpack *unpack = &answer->reply.rest;
    uint32_t count = es_unpack_array(unpack);
    struct es_bytes last;
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on; i++) {
        struct snapshot_texts texts;
        struct es_snapshot snapshot;

        read_snapshot(unpack, &texts, &snapshot);
        if (!es_unpack_ok(unpack)) {
            break;
        }
        goes_on = listing->visit(listing->context, &snapshot);
    }
    if (!goes_on) {
        *ret_is_over = true;
        return ES_OK;
    }
    *ret_is_over = es_unpack_bool(unpack);
    last = es_unpack_bin(unpack, ES_KEY_SIZE_MAX);
    if (!*ret_is_over &&
        es_bytes_equal(last, es_bytes_make(listing->after, listing->after_bytes))) {
        es_unpack_fail(unpack); /* a page that leads nowhere */
    }
    if (es_unpack_ok(unpack) && last.size > 0) {
        memcpy(listing->after, last.data, last.size);
        listing->after_bytes = last.size;
    }
    *listing->request_after = es_bytes_make(listing->after, listing->after_bytes);
    return es_answer_check(connection, answer);
}

enum es_status es_snapshots(struct es_connection *connection, const char *prefix,
                            es_snapshot_visitor *visit, void *context)
{
    struct es_request request = {.verb = ES_VERB_SNAPSHOT_LIST};
    struct listing listing = {
        .visit = visit, .context = context, .request_after = &request.as.snapshot_list.after_key};

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.snapshot_list.prefix = es_text_of(prefix != NULL ? prefix : "");
    request.as.snapshot_list.after_key = es_bytes_make(listing.after, 0);
    request.as.snapshot_list.count = LIST_PAGE_COUNT;
    return es_ask_pages(connection, &request, visit_page, &listing);
}

static enum es_status read_deleted(struct es_connection *connection, struct es_answer *answer,
                                   void *context)
{
    *(uint64_t *)context = es_unpack_uint(&answer->reply.rest);
    return es_answer_check(connection, answer);
}

enum es_status es_snapshot_delete(struct es_connection *connection, const char *stream,
                                  uint64_t tick, const char *projection, uint64_t *ret_deleted)
{
    struct es_request request = {.verb = ES_VERB_SNAPSHOT_DELETE};
    struct es_request_snapshot_delete *delete = &request.as.snapshot_delete;
    uint64_t deleted = 0;
    enum es_status status;

    if (stream == NULL) {
        return ES_E_INVALID;
    }
    delete->stream = es_text_of(stream);
    delete->every_tick = tick == UINT64_MAX;
    delete->tick = tick;
    delete->every_projection = projection == NULL;
    delete->projection = es_text_of(projection != NULL ? projection : "");
    /* A second time it would answer "none": so it is not asked again by itself. */
    status = es_ask(connection, &request, 0, false, read_deleted, &deleted);
    if (status == ES_OK && deleted == 0) {
        status = es_fail(connection, ES_NOT_FOUND, "%.200s has no such snapshot", stream);
    }
    if (status == ES_OK && ret_deleted != NULL) {
        *ret_deleted = deleted;
    }
    return status;
}
