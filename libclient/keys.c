/*
 * Keys: put and delete through the producer's lane, get and list by asking.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/producer.h"
#include "libclient/question.h"
#include "shm/codec/names.h"

#define KEY_CHANGE_OVERHEAD 64u /* array header, kind, family, revision, headers of texts and bin */
#define KEY_PAGE_COUNT 1024u

static enum es_kv_family family_of(enum es_key_family family)
{
    return family == ES_KEYS ? ES_KV_TRUTH : ES_KV_DERIVED;
}

enum es_status es_key_change_measure(const struct es_producer *producer,
                                     const struct es_key_change *change, uint64_t *ret_bytes_min,
                                     uint64_t *ret_bytes_max)
{
    uint64_t bytes;

    if (change->name_space == NULL || change->key == NULL ||
        (change->value == NULL && change->value_bytes > 0) ||
        (change->family != ES_KEYS && change->family != ES_READ_MODELS)) {
        return es_fail(producer->connection, ES_E_INVALID,
                       "nothing was sent: a key change needs a family, a namespace, a key and a "
                       "value");
    }
    bytes = strlen(change->name_space) + strlen(change->key);
    bytes += change->value_bytes < UINT32_MAX ? change->value_bytes : UINT32_MAX;
    *ret_bytes_min = bytes;
    *ret_bytes_max = bytes + KEY_CHANGE_OVERHEAD;
    return ES_OK;
}

void es_key_change_pack(struct es_pack *pack, const struct es_key_change *change)
{
    struct es_operation operation = {.kind = change->is_delete ? ES_OPERATION_KV_DELETE
                                                               : ES_OPERATION_KV_PUT};
    struct es_kv_operation *kv = &operation.as.kv;

    kv->family = family_of(change->family);
    kv->name_space = es_text_of(change->name_space);
    kv->key = es_text_of(change->key);
    if (change->expected_revision == ES_REVISION_ANY) {
        kv->expect.kind = ES_EXPECTED_ANY;
    } else if (change->expected_revision == 0) {
        kv->expect.kind = ES_EXPECTED_NONE;
    } else {
        kv->expect.kind = ES_EXPECTED_EXACT;
        kv->expect.number = change->expected_revision;
    }
    kv->value = es_bytes_make(change->value, (uint32_t)change->value_bytes);
    es_transaction_write_operation(pack, &operation);
}

static enum es_status change_key(struct es_producer *producer, const struct es_key_change *change,
                                 uint64_t timeout_ns, struct es_outcome *ret_outcome)
{
    struct es_pack pack;
    uint64_t bytes_min = 0;
    uint64_t bytes_max = 0;
    uint64_t ticket = 0;
    int64_t deadline_ns = 0;
    enum es_status status = es_producer_enter_to_wait(producer, timeout_ns, &deadline_ns);

    if (status != ES_OK) {
        return status;
    }
    status = es_key_change_measure(producer, change, &bytes_min, &bytes_max);
    if (status == ES_OK) {
        status =
            es_producer_claim(producer, bytes_min, ES_TRANSACTION_HEADER_MAX + bytes_max, &pack);
    }
    if (status == ES_OK) {
        es_transaction_write_begin(&pack, es_number_next(producer), 1);
        es_key_change_pack(&pack, change);
        status = es_producer_send(producer, &pack, &ticket);
    }
    if (status == ES_OK) {
        status = es_producer_settle(producer, ticket, deadline_ns, ret_outcome);
    }
    es_producer_leave(producer);
    return status;
}

enum es_status es_key_put(struct es_producer *producer, enum es_key_family family,
                          const char *name_space, const char *key, uint64_t expected_revision,
                          const void *value, size_t value_bytes, uint64_t timeout_ns,
                          struct es_outcome *ret_outcome)
{
    const struct es_key_change change = {.family = family,
                                         .name_space = name_space,
                                         .key = key,
                                         .expected_revision = expected_revision,
                                         .value = value,
                                         .value_bytes = value_bytes};

    return change_key(producer, &change, timeout_ns, ret_outcome);
}

enum es_status es_key_delete(struct es_producer *producer, enum es_key_family family,
                             const char *name_space, const char *key, uint64_t expected_revision,
                             uint64_t timeout_ns, struct es_outcome *ret_outcome)
{
    const struct es_key_change change = {.family = family,
                                         .name_space = name_space,
                                         .key = key,
                                         .expected_revision = expected_revision,
                                         .is_delete = true};

    return change_key(producer, &change, timeout_ns, ret_outcome);
}

/* Copies the value out, for the caller to free. */
static enum es_status copy_value(struct es_connection *connection, struct es_answer *answer,
                                 uint64_t *ret_revision, void **ret_value, size_t *ret_value_bytes)
{
    uint64_t revision = es_unpack_uint(&answer->reply.rest);
    struct es_bytes value = es_unpack_bin(&answer->reply.rest, UINT32_MAX);
    enum es_status status = es_answer_check(connection, answer);
    void *copy;

    if (status != ES_OK) {
        return status;
    }
    copy = malloc(value.size + (size_t)1);
    if (copy == NULL) {
        return ES_E_NO_MEMORY;
    }
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    if (ret_revision != NULL) {
        *ret_revision = revision;
    }
    *ret_value = copy;
    *ret_value_bytes = value.size;
    return ES_OK;
}

enum es_status es_key_get(struct es_connection *connection, enum es_key_family family,
                          const char *name_space, const char *key, uint64_t *ret_revision,
                          void **ret_value, size_t *ret_value_bytes)
{
    struct es_request request = {.verb = ES_VERB_KV_GET};
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status;

    if (name_space == NULL || key == NULL || ret_value == NULL || ret_value_bytes == NULL) {
        return ES_E_INVALID;
    }
    request.as.kv_get.family = family_of(family);
    request.as.kv_get.name_space = es_text_of(name_space);
    request.as.kv_get.key = es_text_of(key);
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, &request, 0, true, &answer);
    if (status == ES_OK) {
        status = copy_value(connection, &answer, ret_revision, ret_value, ret_value_bytes);
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}

/* Keys come in order: a listing that does not move on would never end. */
static bool is_after(struct es_text key, const char *after)
{
    size_t after_bytes = strlen(after);
    size_t common = key.size < after_bytes ? key.size : after_bytes;
    int order = memcmp(key.data, after, common);

    return order > 0 || (order == 0 && key.size > after_bytes);
}

/* One page of a listing: visits its keys and remembers the last. */
static enum es_status visit_page(struct es_connection *connection, struct es_answer *answer,
                                 es_key_visitor *visit, void *context, char *after,
                                 bool *ret_is_over)
{
    struct es_unpack *unpack = &answer->reply.rest;
    uint32_t count = es_unpack_array(unpack);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on; i++) {
        struct es_kv_item item;

        es_kv_item_read(unpack, &item);
        if (!es_unpack_ok(unpack) || es_key_text_check(item.key) != ES_REASON_NONE ||
            !is_after(item.key, after)) {
            es_unpack_fail(unpack);
            break;
        }
        memcpy(after, item.key.data, item.key.size);
        after[item.key.size] = '\0';
        goes_on = visit(context, after, item.revision, item.value.data, item.value.size);
    }
    if (!goes_on) {
        *ret_is_over = true;
        return ES_OK;
    }
    *ret_is_over = es_unpack_bool(unpack);
    if (count == 0 && !*ret_is_over) {
        es_unpack_fail(unpack); /* a page that leads nowhere */
    }
    return es_answer_check(connection, answer);
}

enum es_status es_keys(struct es_connection *connection, enum es_key_family family,
                       const char *name_space, es_key_visitor *visit, void *context)
{
    struct es_request request = {.verb = ES_VERB_KV_LIST};
    char after[ES_KEY_BYTES_MAX + 1] = "";
    struct es_question *question = NULL;
    bool is_over = false;
    enum es_status status;

    if (name_space == NULL || visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.kv_list.family = family_of(family);
    request.as.kv_list.name_space = es_text_of(name_space);
    request.as.kv_list.count = KEY_PAGE_COUNT;
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !is_over) {
        struct es_answer answer = {0};

        request.as.kv_list.after = es_text_of(after);
        status = es_question_ask(question, &request, 0, true, &answer);
        if (status == ES_OK) {
            status = visit_page(connection, &answer, visit, context, after, &is_over);
            es_answer_free(&answer);
        }
    }
    es_question_release(question);
    return status;
}
