/*
 * Keys: put and delete through the producer's lane, get and list by asking.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/asking.h"
#include "libclient/producer.h"
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

/* Where a value goes, for the caller to free. */
struct wanted_value {
    uint64_t *ret_revision; /* NULL: not wanted */
    void **ret_value;
    size_t *ret_value_bytes;
};

static enum es_status copy_value(struct es_connection *connection, struct es_answer *answer,
                                 void *context)
{
    const struct wanted_value *wanted = context;
    uint64_t revision = es_unpack_uint(&answer->reply.rest);
    struct es_bytes value = es_unpack_bin(&answer->reply.rest, UINT32_MAX);
    enum es_status status = es_answer_check(connection, answer);
    void *copy;

    if (status != ES_OK) {
        return status;
    }
    copy = malloc(value.size + (size_t)1);
    if (copy == NULL) {
        return es_fail_no_memory(connection);
    }
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    if (wanted->ret_revision != NULL) {
        *wanted->ret_revision = revision;
    }
    *wanted->ret_value = copy;
    *wanted->ret_value_bytes = value.size;
    return ES_OK;
}

enum es_status es_key_get(struct es_connection *connection, enum es_key_family family,
                          const char *name_space, const char *key, uint64_t *ret_revision,
                          void **ret_value, size_t *ret_value_bytes)
{
    struct es_request request = {.verb = ES_VERB_KV_GET};
    struct wanted_value wanted = {ret_revision, ret_value, ret_value_bytes};

    if (name_space == NULL || key == NULL || ret_value == NULL || ret_value_bytes == NULL) {
        return ES_E_INVALID;
    }
    request.as.kv_get.family = family_of(family);
    request.as.kv_get.name_space = es_text_of(name_space);
    request.as.kv_get.key = es_text_of(key);
    return es_ask(connection, &request, 0, true, copy_value, &wanted);
}

struct visit {
    es_key_visitor *visit;
    void *context;
};

static bool visit_item(struct es_list *list, struct es_unpack *unpack, void *context)
{
    const struct visit *visit = context;
    struct es_kv_item item;

    es_kv_item_read(unpack, &item);
    if (!es_unpack_ok(unpack) || es_key_text_check(item.key) != ES_REASON_NONE ||
        !es_list_goes_on(list, item.key)) {
        es_unpack_fail(unpack);
        return true;
    }
    es_list_keep(list, item.key);
    return visit->visit(visit->context, list->after, item.revision, item.value.data,
                        item.value.size);
}

enum es_status es_keys(struct es_connection *connection, enum es_key_family family,
                       const char *name_space, es_key_visitor *visit, void *context)
{
    struct es_request request = {.verb = ES_VERB_KV_LIST};
    char after[ES_KEY_BYTES_MAX + 1] = "";
    struct visit visiting = {visit, context};
    struct es_list list = {.request = &request,
                           .request_after = &request.as.kv_list.after,
                           .after = after,
                           .visit_item = visit_item,
                           .context = &visiting};

    if (name_space == NULL || visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.kv_list.family = family_of(family);
    request.as.kv_list.name_space = es_text_of(name_space);
    request.as.kv_list.count = KEY_PAGE_COUNT;
    return es_ask_list(connection, &list);
}
