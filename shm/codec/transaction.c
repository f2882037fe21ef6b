#include "shm/codec/transaction.h"

#include "shm/codec/hash.h"

#define VERSION 1U
#define TRANSACTION_COUNT 3U
#define EVENT_COUNT 4U

/* Elements of an operation, by kind. */
static const uint32_t operation_counts[] = {0, 5, 6, 5, 7, 4};

static void expected_write(struct es_pack *pack, const struct es_expected *expected)
{
    switch (expected->kind) {
    case ES_EXPECTED_ANY: es_pack_nil(pack); break;
    case ES_EXPECTED_NONE: es_pack_uint(pack, 0); break;
    case ES_EXPECTED_EXISTS: es_pack_int(pack, -1); break;
    case ES_EXPECTED_EXACT: es_pack_uint(pack, expected->number); break;
    }
}

void es_transaction_write_begin(struct es_pack *pack, uint64_t producer_sequence,
                                uint32_t operation_count)
{
    es_pack_array(pack, TRANSACTION_COUNT);
    es_pack_uint(pack, VERSION);
    es_pack_uint(pack, producer_sequence);
    es_pack_array(pack, operation_count);
}

static void append_write(struct es_pack *pack, const struct es_append_operation *append)
{
    es_pack_str(pack, append->stream);
    expected_write(pack, &append->expect);
    if (append->expect_hash.given) {
        es_pack_bin(pack, append->expect_hash.hash.data, append->expect_hash.hash.size);
    } else {
        es_pack_nil(pack);
    }
    es_pack_array(pack, append->event_count);
}

static void kv_write(struct es_pack *pack, const struct es_kv_operation *kv, bool is_put)
{
    es_pack_uint(pack, (uint64_t)kv->family);
    es_pack_str(pack, kv->name_space);
    es_pack_str(pack, kv->key);
    expected_write(pack, &kv->expect);
    if (is_put) {
        es_pack_bin(pack, kv->value.data, kv->value.size);
    }
}

static void snapshot_save_write(struct es_pack *pack, const struct es_snapshot_save_operation *save)
{
    es_pack_str(pack, save->stream);
    es_pack_uint(pack, save->tick);
    es_pack_uint(pack, save->sequence);
    es_pack_str(pack, save->projection);
    es_pack_uint(pack, save->version);
    es_pack_bin(pack, save->state.data, save->state.size);
}

static void snapshot_delete_write(struct es_pack *pack,
                                  const struct es_snapshot_delete_operation *deletion)
{
    es_pack_str(pack, deletion->stream);
    if (deletion->every_projection) {
        es_pack_nil(pack);
    } else {
        es_pack_str(pack, deletion->projection);
    }
    if (deletion->every_tick) {
        es_pack_nil(pack);
    } else {
        es_pack_uint(pack, deletion->tick);
    }
}

void es_transaction_write_operation(struct es_pack *pack, const struct es_operation *operation)
{
    es_pack_array(pack, operation_counts[operation->kind]);
    es_pack_uint(pack, (uint64_t)operation->kind);
    switch (operation->kind) {
    case ES_OPERATION_APPEND: append_write(pack, &operation->as.append); break;
    case ES_OPERATION_KV_PUT: kv_write(pack, &operation->as.kv, true); break;
    case ES_OPERATION_KV_DELETE: kv_write(pack, &operation->as.kv, false); break;
    case ES_OPERATION_SNAPSHOT_SAVE: snapshot_save_write(pack, &operation->as.snapshot_save); break;
    case ES_OPERATION_SNAPSHOT_DELETE:
        snapshot_delete_write(pack, &operation->as.snapshot_delete);
        break;
    }
}

void es_transaction_write_event_begin(struct es_pack *pack, uint64_t tick, struct es_text type,
                                      uint32_t payload_size)
{
    es_pack_array(pack, EVENT_COUNT);
    es_pack_uint(pack, tick);
    es_pack_str(pack, type);
    es_pack_bin_header(pack, payload_size);
}

void es_transaction_write_event_end(struct es_pack *pack, const uint8_t *expected_hash)
{
    if (expected_hash != NULL) {
        es_pack_bin(pack, expected_hash, ES_HASH_SIZE);
    } else {
        es_pack_nil(pack);
    }
}

void es_transaction_write_event(struct es_pack *pack, const struct es_append_event *event)
{
    es_transaction_write_event_begin(pack, event->tick, event->type, event->payload.size);
    es_pack_raw(pack, event->payload.data, event->payload.size);
    es_transaction_write_event_end(pack, event->expected_hash);
}

enum es_reason es_transaction_read(struct es_transaction_reader *reader, const void *bytes,
                                   size_t size)
{
    struct es_unpack *unpack = &reader->unpack;

    es_unpack_init(unpack, bytes, size);
    uint32_t count = es_unpack_array(unpack);
    uint64_t version = es_unpack_uint(unpack);
    if (es_unpack_ok(unpack) && version != VERSION) {
        return ES_REASON_VERSION;
    }
    reader->producer_sequence = es_unpack_uint(unpack);
    reader->content = es_bytes_make(unpack->at, (uint32_t)(unpack->end - unpack->at));
    reader->operation_count = es_unpack_array(unpack);
    reader->operations_left = reader->operation_count;
    reader->events_left = 0;
    if (!es_unpack_ok(unpack) || count != TRANSACTION_COUNT) {
        return ES_REASON_MALFORMED;
    }
    if (reader->operation_count == 0 || reader->operation_count > ES_OPERATION_COUNT_MAX) {
        return ES_REASON_OPERATION_COUNT;
    }
    return ES_REASON_NONE;
}

/* The first broken rule of two; reading must have succeeded for 'rule' to count. */
static enum es_reason judge(const struct es_unpack *unpack, enum es_reason earlier,
                            enum es_reason rule)
{
    if (earlier != ES_REASON_NONE) {
        return earlier;
    }
    return es_unpack_ok(unpack) ? rule : ES_REASON_MALFORMED;
}

static enum es_reason stream_read(struct es_unpack *unpack, struct es_text *ret_stream,
                                  struct es_stream_parts *ret_parts)
{
    *ret_stream = es_unpack_str(unpack, UINT32_MAX);
    return judge(unpack, ES_REASON_NONE, es_stream_parse(*ret_stream, ret_parts));
}

static enum es_reason tick_read(struct es_unpack *unpack, uint64_t *ret_tick)
{
    if (es_unpack_peek(unpack) == ES_MSGPACK_INT) {
        (void)es_unpack_int(unpack);
        return judge(unpack, ES_REASON_NONE, ES_REASON_TICK);
    }
    *ret_tick = es_unpack_uint(unpack);
    return judge(unpack, ES_REASON_NONE, *ret_tick > ES_TICK_MAX ? ES_REASON_TICK : ES_REASON_NONE);
}

/* nil, 0, N and, where 'may_exist' allows it, -1; 'rule' names the breach. */
static enum es_reason expected_read(struct es_unpack *unpack, bool may_exist, enum es_reason rule,
                                    struct es_expected *ret_expected)
{
    *ret_expected = (struct es_expected){.kind = ES_EXPECTED_ANY};
    if (es_unpack_try_nil(unpack)) {
        return ES_REASON_NONE;
    }
    if (es_unpack_peek(unpack) == ES_MSGPACK_INT) {
        bool is_exists = es_unpack_int(unpack) == -1 && may_exist;

        ret_expected->kind = ES_EXPECTED_EXISTS;
        return judge(unpack, ES_REASON_NONE, is_exists ? ES_REASON_NONE : rule);
    }
    ret_expected->number = es_unpack_uint(unpack);
    ret_expected->kind = ret_expected->number == 0 ? ES_EXPECTED_NONE : ES_EXPECTED_EXACT;
    return judge(unpack, ES_REASON_NONE, ES_REASON_NONE);
}

static enum es_reason append_read(struct es_unpack *unpack, struct es_append_operation *ret_append)
{
    enum es_reason reason = stream_read(unpack, &ret_append->stream, &ret_append->parts);

    if (reason == ES_REASON_NONE) {
        reason = expected_read(unpack, true, ES_REASON_EXPECTED_SEQUENCE, &ret_append->expect);
    }
    if (reason != ES_REASON_NONE) {
        return reason;
    }
    ret_append->expect_hash = (struct es_expected_hash){.given = !es_unpack_try_nil(unpack)};
    if (ret_append->expect_hash.given) {
        struct es_bytes hash = es_unpack_bin(unpack, UINT32_MAX);
        bool is_hash = hash.size == 0 || hash.size == ES_HASH_SIZE;

        ret_append->expect_hash.hash = hash;
        reason = judge(unpack, reason, is_hash ? ES_REASON_NONE : ES_REASON_EXPECTED_HASH);
    }
    ret_append->event_count = es_unpack_array(unpack);
    return judge(unpack, reason,
                 ret_append->event_count == 0 ? ES_REASON_EVENT_COUNT : ES_REASON_NONE);
}

static enum es_reason kv_read(struct es_unpack *unpack, bool is_put, struct es_kv_operation *ret_kv)
{
    uint64_t family = es_unpack_uint(unpack);
    enum es_reason reason =
        judge(unpack, ES_REASON_NONE, family > ES_KV_DERIVED ? ES_REASON_FAMILY : ES_REASON_NONE);

    ret_kv->family = (enum es_kv_family)(family & 1);
    ret_kv->expect = (struct es_expected){.kind = ES_EXPECTED_ANY};
    ret_kv->name_space = es_unpack_str(unpack, UINT32_MAX);
    reason = judge(unpack, reason, es_name_check(ret_kv->name_space));
    ret_kv->key = es_unpack_str(unpack, UINT32_MAX);
    reason = judge(unpack, reason, es_key_text_check(ret_kv->key));
    if (reason == ES_REASON_NONE) {
        reason = expected_read(unpack, false, ES_REASON_REVISION, &ret_kv->expect);
    }
    if (!is_put && ret_kv->expect.kind == ES_EXPECTED_NONE) {
        reason = judge(unpack, reason, ES_REASON_REVISION); /* nothing there is nothing to delete */
    }
    ret_kv->value = is_put ? es_unpack_bin(unpack, UINT32_MAX) : es_bytes_make("", 0);
    return judge(unpack, reason, ES_REASON_NONE);
}

/* A projection's name, or "" for none. */
static enum es_reason projection_read(struct es_unpack *unpack, struct es_text *ret_projection)
{
    *ret_projection = es_unpack_str(unpack, UINT32_MAX);
    enum es_reason rule =
        ret_projection->size > 0 ? es_name_check(*ret_projection) : ES_REASON_NONE;
    return judge(unpack, ES_REASON_NONE, rule);
}

static enum es_reason snapshot_save_read(struct es_unpack *unpack,
                                         struct es_snapshot_save_operation *ret_save)
{
    struct es_stream_parts parts;
    enum es_reason reason = stream_read(unpack, &ret_save->stream, &parts);

    if (reason == ES_REASON_NONE) {
        reason = tick_read(unpack, &ret_save->tick);
    }
    if (reason == ES_REASON_NONE) {
        ret_save->sequence = es_unpack_uint(unpack);
        reason =
            judge(unpack, reason, ret_save->sequence == 0 ? ES_REASON_SEQUENCE : ES_REASON_NONE);
    }
    if (reason == ES_REASON_NONE) {
        reason = projection_read(unpack, &ret_save->projection);
    }
    if (reason == ES_REASON_NONE) {
        ret_save->version = es_unpack_uint(unpack);
        ret_save->state = es_unpack_bin(unpack, UINT32_MAX);
        reason = judge(unpack, reason, ES_REASON_NONE);
    }
    return reason;
}

static enum es_reason snapshot_delete_read(struct es_unpack *unpack,
                                           struct es_snapshot_delete_operation *ret_deletion)
{
    struct es_stream_parts parts;
    enum es_reason reason = stream_read(unpack, &ret_deletion->stream, &parts);

    ret_deletion->projection = es_text_make("", 0);
    ret_deletion->tick = 0;
    if (reason == ES_REASON_NONE) {
        ret_deletion->every_projection = es_unpack_try_nil(unpack);
        if (!ret_deletion->every_projection) {
            reason = projection_read(unpack, &ret_deletion->projection);
        }
    }
    if (reason == ES_REASON_NONE) {
        ret_deletion->every_tick = es_unpack_try_nil(unpack);
        if (!ret_deletion->every_tick) {
            reason = tick_read(unpack, &ret_deletion->tick);
        }
    }
    return reason;
}

/* One operation, up to the events of an append. */
static enum es_reason operation_read(struct es_unpack *unpack, struct es_operation *ret_operation)
{
    uint32_t count = es_unpack_array(unpack);
    uint64_t kind = es_unpack_uint(unpack);

    if (!es_unpack_ok(unpack)) {
        return ES_REASON_MALFORMED;
    }
    if (kind < ES_OPERATION_APPEND || kind > ES_OPERATION_SNAPSHOT_DELETE) {
        return ES_REASON_OPERATION_KIND;
    }
    if (count != operation_counts[kind]) {
        return ES_REASON_MALFORMED;
    }
    ret_operation->kind = (enum es_operation_kind)kind;
    switch (ret_operation->kind) {
    case ES_OPERATION_APPEND: return append_read(unpack, &ret_operation->as.append);
    case ES_OPERATION_KV_PUT: return kv_read(unpack, true, &ret_operation->as.kv);
    case ES_OPERATION_KV_DELETE: return kv_read(unpack, false, &ret_operation->as.kv);
    case ES_OPERATION_SNAPSHOT_SAVE:
        return snapshot_save_read(unpack, &ret_operation->as.snapshot_save);
    case ES_OPERATION_SNAPSHOT_DELETE:
        return snapshot_delete_read(unpack, &ret_operation->as.snapshot_delete);
    }
    return ES_REASON_OPERATION_KIND;
}

enum es_reason es_transaction_read_operation(struct es_transaction_reader *reader,
                                             struct es_operation *ret_operation, bool *ret_found)
{
    enum es_reason reason = ES_REASON_NONE;
    struct es_append_event event;
    bool found = true;

    while (reason == ES_REASON_NONE && reader->events_left > 0) {
        reason = es_transaction_read_event(reader, &event, &found);
    }
    if (reason != ES_REASON_NONE) {
        return reason;
    }
    if (reader->operations_left == 0) {
        *ret_found = false;
        return es_unpack_done(&reader->unpack) ? ES_REASON_NONE : ES_REASON_TRAILING_BYTES;
    }
    reason = operation_read(&reader->unpack, ret_operation);
    if (reason == ES_REASON_NONE) {
        reader->operations_left--;
        if (ret_operation->kind == ES_OPERATION_APPEND) {
            reader->events_left = ret_operation->as.append.event_count;
        }
        *ret_found = true;
    }
    return reason;
}

enum es_reason es_transaction_read_event(struct es_transaction_reader *reader,
                                         struct es_append_event *ret_event, bool *ret_found)
{
    struct es_unpack *unpack = &reader->unpack;

    if (reader->events_left == 0) {
        *ret_found = false;
        return ES_REASON_NONE;
    }
    (void)es_unpack_array_in(unpack, EVENT_COUNT, EVENT_COUNT);
    enum es_reason reason = tick_read(unpack, &ret_event->tick);
    ret_event->type = es_unpack_str(unpack, UINT32_MAX);
    reason = judge(unpack, reason, es_type_check(ret_event->type));
    ret_event->payload = es_unpack_bin(unpack, UINT32_MAX);
    ret_event->expected_hash =
        es_unpack_try_nil(unpack) ? NULL : es_unpack_bin_of(unpack, ES_HASH_SIZE);
    reason = judge(unpack, reason, ES_REASON_NONE);
    if (reason == ES_REASON_NONE) {
        reader->events_left--;
        *ret_found = true;
    }
    return reason;
}

enum es_reason es_transaction_check(const void *bytes, size_t size, uint32_t *ret_operation_index)
{
    struct es_transaction_reader reader;
    struct es_operation operation;
    bool found = true;
    enum es_reason reason = es_transaction_read(&reader, bytes, size);

    *ret_operation_index = 0;
    while (reason == ES_REASON_NONE && found) {
        /* Reading the next one reads the events of the one before. */
        reason = es_transaction_read_operation(&reader, &operation, &found);
        if (reason != ES_REASON_NONE && reader.operation_count > 0) {
            uint32_t read_count = reader.operation_count - reader.operations_left;
            bool in_events = reader.events_left > 0 && read_count > 0;

            *ret_operation_index = in_events ? read_count - 1 : read_count;
        }
    }
    return reason;
}

void es_transaction_content_hash(const struct es_transaction_reader *reader,
                                 uint8_t ret_hash[ES_CONTENT_HASH_SIZE])
{
    es_hash_16(reader->content.data, reader->content.size, ret_hash);
}
