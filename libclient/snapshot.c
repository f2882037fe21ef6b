/*
 * Snapshots: states of a projection, kept by the broker and bound to the event
 * they have seen last. The broker checks the binding; here they are only sent,
 * fetched and listed.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/question.h"
#include "shm/codec/names.h"
#include "shm/codec/stream_key.h"

#define LIST_PAGE_COUNT 1024u
#define ARGUMENT_OVERHEAD 64u /* headers and numbers of a request */

/* Texts of a snapshot, terminated, valid while a visitor looks or until es_free(). */
struct snapshot_texts {
    char stream[ES_STREAM_BYTES_MAX + 1];
    char projection[ES_NAME_BYTES_MAX + 1];
};

static void read_snapshot(struct es_unpack *unpack, struct snapshot_texts *texts,
                          struct es_snapshot *ret_snapshot)
{
    uint32_t elements = es_unpack_array_in(unpack, 9, UINT32_MAX);
    struct es_text stream = es_unpack_str(unpack, ES_STREAM_BYTES_MAX);
    struct es_text projection;

    memset(ret_snapshot, 0, sizeof *ret_snapshot);
    ret_snapshot->tick = es_unpack_uint(unpack);
    ret_snapshot->sequence = es_unpack_uint(unpack);
    es_unpack_bin_copy(unpack, ret_snapshot->hash, ES_HASH_BYTES);
    projection = es_unpack_str(unpack, ES_NAME_BYTES_MAX);
    ret_snapshot->version = es_unpack_uint(unpack);
    ret_snapshot->created_us = es_unpack_uint(unpack);
    ret_snapshot->state_bytes = es_unpack_uint(unpack);
    ret_snapshot->valid = es_unpack_bool(unpack);
    es_unpack_skip_count(unpack, elements - 9);
    if (!es_unpack_ok(unpack)) {
        return;
    }
    memcpy(texts->stream, stream.data, stream.size);
    texts->stream[stream.size] = '\0';
    memcpy(texts->projection, projection.data, projection.size);
    texts->projection[projection.size] = '\0';
    ret_snapshot->stream = texts->stream;
    ret_snapshot->projection = texts->projection;
}

enum es_status es_snapshot_save(struct es_connection *connection, const char *stream, uint64_t tick,
                                uint64_t sequence, const char *projection, uint64_t version,
                                const void *state, size_t state_bytes)
{
    struct es_question *question = NULL;
    struct es_pack *pack = NULL;
    struct es_reply reply = {0};
    enum es_status status;

    if (stream == NULL || (state == NULL && state_bytes > 0)) {
        return ES_E_INVALID;
    }
    projection = projection != NULL ? projection : "";
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = state_bytes > ES_REQUEST_BYTES_MAX
                 ? es_fail(connection, ES_E_TOO_LARGE,
                           "a snapshot's state has at most %u bytes, and this one has %zu",
                           ES_REQUEST_BYTES_MAX, state_bytes)
                 : es_question_begin(question, ES_VERB_SNAPSHOT_SAVE, 6,
                                     strlen(stream) + strlen(projection) + state_bytes +
                                         ARGUMENT_OVERHEAD,
                                     &pack);
    if (status == ES_OK) {
        es_pack_str(pack, es_text_of(stream));
        es_pack_uint(pack, tick);
        es_pack_uint(pack, sequence);
        es_pack_str(pack, es_text_of(projection));
        es_pack_uint(pack, version);
        es_pack_bin(pack, state, (uint32_t)state_bytes);
        /* Saved twice it is the same snapshot: its key is made of what was asked. */
        status = es_question_ask(question, true, &reply);
    }
    if (status == ES_OK) {
        es_reply_free(&reply);
    }
    es_question_release(question);
    return status;
}

/* Texts and state in one piece of memory, which begins with the state. */
static enum es_status keep_loaded(struct es_connection *connection, struct es_reply *reply,
                                  struct es_snapshot *ret_snapshot, void **ret_state)
{
    struct snapshot_texts texts;
    struct es_snapshot snapshot;
    struct snapshot_texts *kept;
    struct es_bytes state;
    enum es_status status;
    uint8_t *memory;

    read_snapshot(&reply->unpack, &texts, &snapshot);
    state = es_unpack_bin(&reply->unpack, UINT32_MAX);
    status = es_reply_check(connection, reply);
    if (status != ES_OK) {
        return status;
    }
    memory = malloc(state.size + sizeof texts);
    if (memory == NULL) {
        return ES_E_NO_MEMORY;
    }
    if (state.size > 0) {
        memcpy(memory, state.data, state.size);
    }
    memcpy(memory + state.size, &texts, sizeof texts);
    kept = (struct snapshot_texts *)(void *)(memory + state.size); /* only chars in it */
    snapshot.stream = kept->stream;
    snapshot.projection = kept->projection;
    snapshot.state_bytes = state.size;
    *ret_snapshot = snapshot;
    *ret_state = memory;
    return ES_OK;
}

enum es_status es_snapshot_load(struct es_connection *connection, const char *stream, uint64_t tick,
                                const char *projection, struct es_snapshot *ret_snapshot,
                                void **ret_state)
{
    struct es_question *question = NULL;
    struct es_pack *pack = NULL;
    struct es_reply reply = {0};
    enum es_status status;

    if (stream == NULL || ret_snapshot == NULL || ret_state == NULL) {
        return ES_E_INVALID;
    }
    projection = projection != NULL ? projection : "";
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_begin(question, ES_VERB_SNAPSHOT_LOAD, 3,
                               strlen(stream) + strlen(projection) + ARGUMENT_OVERHEAD, &pack);
    if (status == ES_OK) {
        es_pack_str(pack, es_text_of(stream));
        if (tick == UINT64_MAX) {
            es_pack_nil(pack);
        } else {
            es_pack_uint(pack, tick);
        }
        es_pack_str(pack, es_text_of(projection));
        status = es_question_ask(question, true, &reply);
    }
    if (status == ES_OK) {
        status = keep_loaded(connection, &reply, ret_snapshot, ret_state);
        es_reply_free(&reply);
    }
    es_question_release(question);
    return status;
}

/* The place where a listing goes on: the last store key of a page. */
struct list_cursor {
    uint32_t size;
    uint8_t key[ES_KEY_SIZE_MAX];
};

static enum es_status visit_page(struct es_connection *connection, struct es_reply *reply,
                                 es_snapshot_visitor *visit, void *context,
                                 struct list_cursor *after, bool *ret_is_over)
{
    struct es_unpack *unpack = &reply->unpack;
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
        goes_on = visit(context, &snapshot);
    }
    if (!goes_on) {
        *ret_is_over = true;
        return ES_OK;
    }
    *ret_is_over = es_unpack_bool(unpack);
    last = es_unpack_bin(unpack, ES_KEY_SIZE_MAX);
    if (!*ret_is_over && es_bytes_equal(last, es_bytes_make(after->key, after->size))) {
        es_unpack_fail(unpack); /* a page that leads nowhere */
    }
    if (es_unpack_ok(unpack) && last.size > 0) {
        memcpy(after->key, last.data, last.size);
        after->size = last.size;
    }
    return es_reply_check(connection, reply);
}

enum es_status es_snapshots(struct es_connection *connection, const char *prefix,
                            es_snapshot_visitor *visit, void *context)
{
    struct es_question *question = NULL;
    struct list_cursor after = {0};
    bool is_over = false;
    enum es_status status;

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    prefix = prefix != NULL ? prefix : "";
    status = es_question_acquire(connection, &question);
    while (status == ES_OK && !is_over) {
        struct es_reply reply = {0};
        struct es_pack *pack = NULL;

        status = es_question_begin(question, ES_VERB_SNAPSHOT_LIST, 3,
                                   strlen(prefix) + after.size + ARGUMENT_OVERHEAD, &pack);
        if (status == ES_OK) {
            es_pack_str(pack, es_text_of(prefix));
            es_pack_bin(pack, after.key, after.size);
            es_pack_uint(pack, LIST_PAGE_COUNT);
            status = es_question_ask(question, true, &reply);
        }
        if (status == ES_OK) {
            status = visit_page(connection, &reply, visit, context, &after, &is_over);
            es_reply_free(&reply);
        }
    }
    if (question != NULL) {
        es_question_release(question);
    }
    return status;
}

enum es_status es_snapshot_delete(struct es_connection *connection, const char *stream,
                                  uint64_t tick, const char *projection, uint64_t *ret_deleted)
{
    struct es_question *question = NULL;
    struct es_pack *pack = NULL;
    struct es_reply reply = {0};
    uint64_t deleted = 0;
    enum es_status status;

    if (stream == NULL) {
        return ES_E_INVALID;
    }
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_begin(
        question, ES_VERB_SNAPSHOT_DELETE, 3,
        strlen(stream) + (projection != NULL ? strlen(projection) : 0) + ARGUMENT_OVERHEAD, &pack);
    if (status == ES_OK) {
        es_pack_str(pack, es_text_of(stream));
        if (tick == UINT64_MAX) {
            es_pack_nil(pack);
        } else {
            es_pack_uint(pack, tick);
        }
        if (projection == NULL) {
            es_pack_nil(pack);
        } else {
            es_pack_str(pack, es_text_of(projection));
        }
        /* A second time it would answer "none": so it is not asked again by itself. */
        status = es_question_ask(question, false, &reply);
    }
    if (status == ES_OK) {
        deleted = es_unpack_uint(&reply.unpack);
        status = es_reply_check(connection, &reply);
        es_reply_free(&reply);
    }
    if (status == ES_OK && deleted == 0) {
        status = es_fail(connection, ES_NOT_FOUND, "%s has no such snapshot", stream);
    }
    if (status == ES_OK && ret_deleted != NULL) {
        *ret_deleted = deleted;
    }
    es_question_release(question);
    return status;
}
