#include "tests/support/store_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "broker/apply.h"
#include "broker/batch_close.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

enum {
    BODY_BYTES_MAX = 8 << 20,
    TRANSACTION_BYTES_MAX = 4 << 20,
    UID = 1000
};

static void write_identity(struct store_builder *builder)
{
    struct es_store_identity identity = {.format_version = ES_STORE_FORMAT_VERSION};
    struct es_epochs epochs = {.count = 1, .entries = {{.epoch = 77, .first_position = 1}}};
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;

    memcpy(identity.store_id, builder->store_id, ES_STORE_ID_SIZE);
    assert_int_equal(es_store_identity_encode(&identity, value, sizeof value, &size), ES_OK);
    es_key_store(&key);
    assert_int_equal(store_batch_put(builder->writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(es_epochs_encode(&epochs, value, sizeof value, &size), ES_OK);
    es_key_epochs(&key);
    assert_int_equal(store_batch_put(builder->writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(store_apply(builder->store, builder->writes, STORE_APPLY_LIVE), ES_OK);
}

static void begin_batch(struct store_builder *builder)
{
    batch_begin(builder->batch, builder->batch_number + 1, builder->position + 1,
                builder->store_hash);
}

void store_builder_open(struct store_builder *builder, struct store *store)
{
    memset(builder, 0, sizeof *builder);
    builder->store = store;
    if (store == NULL) {
        assert_int_equal(store_memory_new(&builder->store), ES_OK);
    }
    memcpy(builder->store_id, "a store of tests", ES_STORE_ID_SIZE);
    builder->time_us = 1700000000000000;
    builder->transaction = malloc(TRANSACTION_BYTES_MAX);
    assert_non_null(builder->transaction);
    es_store_hash_genesis(builder->store_id, builder->store_hash);
    assert_int_equal(store_batch_new(&builder->writes), ES_OK);
    write_identity(builder);
    assert_int_equal(heads_new(builder->store, &builder->counters, 64, &builder->heads), ES_OK);
    assert_int_equal(sequencer_new(builder->store, builder->heads, &builder->sequencer), ES_OK);
    assert_int_equal(batch_new(BODY_BYTES_MAX, &builder->batch), ES_OK);
    begin_batch(builder);
}

void store_builder_close(struct store_builder *builder)
{
    batch_free(builder->batch);
    sequencer_free(builder->sequencer);
    heads_free(builder->heads);
    store_batch_free(builder->writes);
    store_free(builder->store);
    free(builder->transaction);
}

void store_builder_commit(struct store_builder *builder)
{
    struct batch *batch = builder->batch;

    batch->progress.ring_count = 0;
    batch->progress.lane_count = 0;
    assert_int_equal(
        batch_close(batch, builder->heads, builder->commit_number + 1, builder->time_us++, 77),
        ES_OK);
    assert_int_equal(apply_fill(batch, builder->writes), ES_OK);
    assert_int_equal(store_apply(builder->store, builder->writes, STORE_APPLY_LIVE), ES_OK);
    builder->batch_number = batch->number;
    if (batch->commit_number != 0) {
        builder->commit_number = batch->commit_number;
        builder->position = batch_last_position(batch);
        memcpy(builder->store_hash, batch->store_hash, ES_HASH_SIZE);
    }
    heads_set_applied(builder->heads, batch->number);
    if (batch->answer_count > 0) {
        builder->result = batch->answers[batch->answer_count - 1].result;
    }
    begin_batch(builder);
}

void store_builder_send(struct store_builder *builder, const void *bytes, uint32_t size)
{
    static struct submission nobody;
    const struct incoming incoming = {
        .transaction = bytes,
        .transaction_bytes = size,
        .uid = UID,
        .submission = &nobody,
        .producer = builder->producer,
    };
    enum es_status status = sequencer_add(builder->sequencer, builder->batch, &incoming);

    if (status == ES_FULL) {
        store_builder_commit(builder);
        status = sequencer_add(builder->sequencer, builder->batch, &incoming);
    }
    assert_int_equal(status, ES_OK);
    builder->result = builder->batch->answers[builder->batch->answer_count - 1].result;
}

void store_builder_named(struct store_builder *builder, const char *producer, uint64_t number,
                         const char *stream)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(stream), .event_count = 1},
    };
    const struct es_append_event event = {.type = es_text_of("happened"),
                                          .payload = es_bytes_make("\0\0\0\0", 4)};
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, builder->transaction, TRANSACTION_BYTES_MAX);
    es_transaction_write_begin(&pack, number, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    builder->producer = es_text_of(producer);
    store_builder_send(builder, builder->transaction, size);
    builder->producer = es_text_of("");
    assert_int_equal(builder->result.status, ES_OK);
}

static void send_operation(struct store_builder *builder, const struct es_operation *operation)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, builder->transaction, TRANSACTION_BYTES_MAX);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, operation);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    store_builder_send(builder, builder->transaction, size);
    assert_int_equal(builder->result.status, ES_OK);
}

void store_builder_append(struct store_builder *builder, const char *stream, uint32_t count,
                          uint32_t payload_bytes)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(stream), .event_count = count},
    };
    uint8_t *payload = malloc(payload_bytes + 1);
    struct es_pack pack;
    uint32_t size = 0;

    assert_non_null(payload);
    es_pack_init(&pack, builder->transaction, TRANSACTION_BYTES_MAX);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    for (uint32_t i = 0; i < count; i++) {
        struct es_append_event event = {.tick = (builder->position + i + 1) * 10,
                                        .type = es_text_of("happened"),
                                        .payload = es_bytes_make(payload, payload_bytes)};

        memset(payload, (int)(builder->position + builder->batch->event_count + i) & 0xff,
               payload_bytes);
        es_transaction_write_event(&pack, &event);
    }
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    store_builder_send(builder, builder->transaction, size);
    assert_int_equal(builder->result.status, ES_OK);
    free(payload);
}

void store_builder_put(struct store_builder *builder, enum es_kv_family family,
                       const char *name_space, const char *key, const char *value)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_KV_PUT,
        .as.kv = {.family = family,
                  .name_space = es_text_of(name_space),
                  .key = es_text_of(key),
                  .value = es_bytes_make(value, (uint32_t)strlen(value))},
    };

    send_operation(builder, &operation);
}

void store_builder_delete(struct store_builder *builder, enum es_kv_family family,
                          const char *name_space, const char *key)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_KV_DELETE,
        .as.kv = {.family = family, .name_space = es_text_of(name_space), .key = es_text_of(key)},
    };

    send_operation(builder, &operation);
}

void store_builder_snapshot(struct store_builder *builder, const char *stream, uint64_t tick,
                            uint64_t sequence, const char *projection, const char *state)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_SNAPSHOT_SAVE,
        .as.snapshot_save = {.stream = es_text_of(stream),
                             .tick = tick,
                             .sequence = sequence,
                             .projection = es_text_of(projection),
                             .version = 1,
                             .state = es_bytes_make(state, (uint32_t)strlen(state))},
    };

    send_operation(builder, &operation);
}

struct store *store_copy(struct store *from, store_copy_fn look, void *context)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};
    struct store_batch *writes = NULL;
    struct store *copy = NULL;

    assert_int_equal(store_memory_new(&copy), ES_OK);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    for (int family = 0; family < STORE_FAMILY_COUNT; family++) {
        struct store_iterator *entries = NULL;

        assert_int_equal(
            store_iterator_new(from, NULL, (enum store_family)family, &everything, &entries),
            ES_OK);
        for (store_iterator_seek_first(entries); store_iterator_valid(entries);
             store_iterator_next(entries)) {
            struct store_slice key = store_iterator_key(entries);
            struct store_slice value = store_iterator_value(entries);

            if (look == NULL || look(context, (enum store_family)family, &key, &value)) {
                assert_int_equal(store_batch_put(writes, (enum store_family)family, key, value),
                                 ES_OK);
            }
        }
        assert_int_equal(store_iterator_status(entries), ES_OK);
        store_iterator_free(entries);
    }
    assert_int_equal(store_apply(copy, writes, STORE_APPLY_LIVE), ES_OK);
    store_batch_free(writes);
    return copy;
}
