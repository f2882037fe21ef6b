#include "tests/support/sequencer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/batch_close.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

#define NAME_SPACE "settings"

/* The history that fixture_commit() writes. */
static void write_epochs(struct sequencer_fixture *f)
{
    const struct es_epochs epochs = {.count = 1, .entries = {{7, 1}}};
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;

    es_key_epochs(&key);
    assert_int_equal(es_epochs_encode(&epochs, value, sizeof value, &size), ES_OK);
    assert_int_equal(store_batch_put(f->writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(store_apply(f->store, f->writes, STORE_APPLY_LIVE), ES_OK);
}

struct sequencer_fixture *sequencer_fixture_new(uint32_t stream_count_max, uint64_t body_bytes_max)
{
    struct sequencer_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(store_memory_new(&f->store), ES_OK);
    assert_int_equal(heads_new(f->store, &f->counters, stream_count_max, &f->heads), ES_OK);
    assert_int_equal(sequencer_new(f->store, f->heads, &f->sequencer), ES_OK);
    assert_int_equal(batch_new(body_bytes_max, &f->batch), ES_OK);
    assert_int_equal(store_batch_new(&f->writes), ES_OK);
    f->uid = 1000;
    write_epochs(f);
    batch_begin(f->batch, 1, 1, f->end.store_hash);
    return f;
}

void sequencer_fixture_free(struct sequencer_fixture *f)
{
    store_batch_free(f->writes);
    batch_free(f->batch);
    sequencer_free(f->sequencer);
    heads_free(f->heads);
    store_free(f->store);
    free(f);
}

int sequencer_fixture_setup(void **state)
{
    *state = sequencer_fixture_new(1000, 1 << 20);
    return 0;
}

int sequencer_fixture_teardown(void **state)
{
    sequencer_fixture_free(*state);
    return 0;
}

void tx_begin(struct sequencer_fixture *f, uint32_t operation_count)
{
    es_pack_init(&f->pack, f->bytes, sizeof f->bytes);
    es_transaction_write_begin(&f->pack, f->number, operation_count);
}

static struct es_expected expected_of(int64_t expected)
{
    switch (expected) {
    case TX_ANY: return (struct es_expected){.kind = ES_EXPECTED_ANY};
    case TX_NONE: return (struct es_expected){.kind = ES_EXPECTED_NONE};
    case TX_EXISTS: return (struct es_expected){.kind = ES_EXPECTED_EXISTS};
    default: return (struct es_expected){.kind = ES_EXPECTED_EXACT, .number = (uint64_t)expected};
    }
}

static void write_events(struct sequencer_fixture *f, uint32_t count, const uint8_t *event_hash)
{
    for (uint32_t i = 0; i < count; i++) {
        struct es_append_event event = {.tick = i + 1,
                                        .type = es_text_of("Happened"),
                                        .payload = es_bytes_make("payload", 7),
                                        .expected_hash = event_hash};

        es_transaction_write_event(&f->pack, &event);
    }
}

void tx_append(struct sequencer_fixture *f, const char *stream, int64_t expected,
               uint32_t event_count)
{
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};

    operation.as.append.stream = es_text_of(stream);
    operation.as.append.expect = expected_of(expected);
    operation.as.append.event_count = event_count;
    es_transaction_write_operation(&f->pack, &operation);
    write_events(f, event_count, NULL);
}

void tx_append_hash(struct sequencer_fixture *f, const char *stream, const uint8_t *hash,
                    uint32_t hash_bytes, uint32_t event_count, const uint8_t *event_hash)
{
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};

    operation.as.append.stream = es_text_of(stream);
    operation.as.append.expect_hash.given = hash != NULL;
    operation.as.append.expect_hash.hash = es_bytes_make(hash, hash_bytes);
    operation.as.append.event_count = event_count;
    es_transaction_write_operation(&f->pack, &operation);
    write_events(f, event_count, event_hash);
}

static void write_kv(struct sequencer_fixture *f, enum es_operation_kind kind, const char *key,
                     int64_t expected, const char *value)
{
    struct es_operation operation = {.kind = kind};

    operation.as.kv.family = ES_KV_TRUTH;
    operation.as.kv.name_space = es_text_of(NAME_SPACE);
    operation.as.kv.key = es_text_of(key);
    operation.as.kv.expect = expected_of(expected);
    operation.as.kv.value = es_bytes_make(value, (uint32_t)strlen(value));
    es_transaction_write_operation(&f->pack, &operation);
}

void tx_put(struct sequencer_fixture *f, const char *key, int64_t expected, const char *value)
{
    write_kv(f, ES_OPERATION_KV_PUT, key, expected, value);
}

void tx_delete(struct sequencer_fixture *f, const char *key, int64_t expected)
{
    write_kv(f, ES_OPERATION_KV_DELETE, key, expected, "");
}

void tx_snapshot(struct sequencer_fixture *f, const char *stream, uint64_t tick, uint64_t sequence,
                 const char *state)
{
    struct es_operation operation = {.kind = ES_OPERATION_SNAPSHOT_SAVE};

    operation.as.snapshot_save.stream = es_text_of(stream);
    operation.as.snapshot_save.tick = tick;
    operation.as.snapshot_save.sequence = sequence;
    operation.as.snapshot_save.state = es_bytes_make(state, (uint32_t)strlen(state));
    es_transaction_write_operation(&f->pack, &operation);
}

void tx_snapshot_delete(struct sequencer_fixture *f, const char *stream)
{
    struct es_operation operation = {.kind = ES_OPERATION_SNAPSHOT_DELETE};

    operation.as.snapshot_delete.stream = es_text_of(stream);
    operation.as.snapshot_delete.every_projection = true;
    operation.as.snapshot_delete.every_tick = true;
    es_transaction_write_operation(&f->pack, &operation);
}

enum es_status tx_add(struct sequencer_fixture *f, uint32_t flags,
                      const struct es_lane_result **ret_result)
{
    struct incoming incoming = {.transaction = f->bytes,
                                .flags = flags,
                                .uid = f->uid,
                                .order_broken = &f->order_broken,
                                .producer = es_text_of(f->producer != NULL ? f->producer : ""),
                                .incarnation = f->incarnation,
                                .owner_lives = f->owner_lives};
    enum es_status status = ES_OK;

    assert_int_equal(es_pack_finish(&f->pack, &incoming.transaction_bytes), ES_OK);
    status = sequencer_add(f->sequencer, f->batch, &incoming);
    if (status == ES_OK) {
        *ret_result = &f->batch->answers[f->batch->answer_count - 1].result;
    }
    return status;
}

const struct es_lane_result *tx_submit(struct sequencer_fixture *f)
{
    const struct es_lane_result *result = NULL;

    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    return result;
}

const struct es_lane_result *append_one(struct sequencer_fixture *f, const char *stream,
                                        int64_t expected)
{
    tx_begin(f, 1);
    tx_append(f, stream, expected, 1);
    return tx_submit(f);
}

void fixture_commit(struct sequencer_fixture *f)
{
    struct batch *batch = f->batch;

    batch->progress.ring_count = 0;
    batch->progress.lane_count = 0;
    assert_int_equal(batch_close(batch, f->heads, f->end.commit_number + 1, 1700000000000000U, 7),
                     ES_OK);
    assert_int_equal(apply_fill(batch, f->writes), ES_OK);
    assert_int_equal(store_apply(f->store, f->writes, STORE_APPLY_LIVE), ES_OK);
    heads_set_applied(f->heads, batch->number);
    f->end.batch_number = batch->number;
    if (batch->commit_number != 0) {
        f->end.commit_number = batch->commit_number;
        f->end.position = batch_last_position(batch);
        memcpy(f->end.store_hash, batch->store_hash, ES_HASH_SIZE);
    }
    batch_begin(batch, f->end.batch_number + 1, f->end.position + 1, f->end.store_hash);
}

static bool get(struct sequencer_fixture *f, enum store_family family, const struct es_key *key,
                struct store_buffer *value)
{
    enum es_status status =
        store_get(f->store, NULL, family, (struct store_slice){key->bytes, key->size}, value);

    assert_true(status == ES_OK || status == ES_NOT_FOUND);
    return status == ES_OK;
}

bool stored_head(struct sequencer_fixture *f, const char *stream, struct es_head_value *ret_head)
{
    struct store_buffer value = {0};
    struct es_key key;
    bool is_found = false;

    es_key_head(es_text_of(stream), &key);
    is_found = get(f, STORE_STREAM_META, &key, &value);
    if (is_found) {
        assert_int_equal(es_head_decode(value.bytes, value.size, ret_head), ES_OK);
    }
    store_buffer_deinit(&value);
    return is_found;
}

bool stored_event(struct sequencer_fixture *f, const char *stream, uint64_t sequence,
                  struct store_buffer *ret_envelope)
{
    struct es_key key;

    es_key_event(es_text_of(stream), sequence, &key);
    return get(f, STORE_EVENTS, &key, ret_envelope);
}

bool stored_key(struct sequencer_fixture *f, const char *key_text, uint64_t *ret_revision)
{
    struct store_buffer value = {0};
    struct es_kv_value decoded;
    struct es_key key;
    bool is_found = false;

    es_key_kv(es_text_of(NAME_SPACE), es_text_of(key_text), &key);
    is_found = get(f, STORE_KV, &key, &value);
    if (is_found) {
        assert_int_equal(es_kv_value_decode(value.bytes, value.size, &decoded), ES_OK);
        *ret_revision = decoded.revision;
    }
    store_buffer_deinit(&value);
    return is_found;
}

uint64_t stored_count(struct sequencer_fixture *f, enum store_family family)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t count = 0;

    assert_int_equal(store_iterator_new(f->store, NULL, family, &all, &iterator), ES_OK);
    store_iterator_seek_first(iterator);
    for (; store_iterator_valid(iterator); store_iterator_next(iterator)) {
        count++;
    }
    assert_int_equal(store_iterator_status(iterator), ES_OK);
    store_iterator_free(iterator);
    return count;
}
