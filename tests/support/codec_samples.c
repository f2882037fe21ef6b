#include "tests/support/codec_samples.h"

#include "tests/support/golden.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ROTATING_COUNT 4

const uint8_t sample_store_id[ES_STORE_ID_SIZE] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
const uint8_t sample_payload[6] = {0x81, 0xA3, 'n', 'e', 't', 0x01};

static uint8_t *rotating(void)
{
    static uint8_t hashes[ROTATING_COUNT][ES_HASH_SIZE];
    static unsigned int next;

    return hashes[next++ % ROTATING_COUNT];
}

const uint8_t *sample_fill(uint8_t byte)
{
    uint8_t *hash = rotating();

    memset(hash, byte, ES_HASH_SIZE);
    return hash;
}

struct es_bytes sample_wide_payload(void)
{
    static uint8_t payload[300];

    for (unsigned int i = 0; i < sizeof payload; i++) {
        payload[i] = (uint8_t)(i % 251);
    }
    return es_bytes_make(payload, sizeof payload);
}

const uint8_t *sample_hash_of(struct es_bytes bytes)
{
    uint8_t *hash = rotating();

    es_hash(bytes.data, bytes.size, hash);
    return hash;
}

const uint8_t *sample_hash_of_text(const char *text)
{
    return sample_hash_of(sample_text_bytes(text));
}

struct es_bytes sample_text_bytes(const char *text)
{
    return es_bytes_make(text, (uint32_t)strlen(text));
}

struct es_event_fields sample_fields(const char *stream, uint64_t tick, const char *type,
                                     struct es_bytes payload, const uint8_t *previous_hash)
{
    struct es_event_fields fields = {
        .tick = tick,
        .type = es_text_of(type),
        .payload = payload,
        .previous_hash = es_bytes_make(previous_hash, previous_hash != NULL ? ES_HASH_SIZE : 0),
    };
    enum es_reason reason = es_stream_parse(es_text_of(stream), &fields.stream);

    assert(reason == ES_REASON_NONE);
    return fields;
}

static void encode(const struct es_event_fields *fields, struct sample_event *ret_event)
{
    enum es_status status = es_envelope_encode(
        fields, ret_event->envelope, sizeof ret_event->envelope, &ret_event->size, ret_event->hash);

    assert(status == ES_OK);
}

void sample_first(struct sample_event *ret_event)
{
    struct es_event_fields fields = sample_fields(
        SAMPLE_ORDERS, 7, "Placed", es_bytes_make(sample_payload, sizeof sample_payload), NULL);

    encode(&fields, ret_event);
}

void sample_second(struct sample_event *ret_event)
{
    struct sample_event first;

    sample_first(&first);
    struct es_event_fields fields =
        sample_fields(SAMPLE_ORDERS, 7, "Paid", es_bytes_make("", 0), first.hash);
    encode(&fields, ret_event);
}

void sample_wide(struct sample_event *ret_event)
{
    struct es_event_fields fields = sample_fields(SAMPLE_WIDE, ES_TICK_MAX, SAMPLE_WIDE_TYPE,
                                                  sample_wide_payload(), sample_fill(0x5A));

    encode(&fields, ret_event);
}

void sample_stock_first(struct sample_event *ret_event)
{
    struct es_event_fields fields =
        sample_fields(SAMPLE_STOCK, 300, "Received", sample_wide_payload(), NULL);

    encode(&fields, ret_event);
}

static void append(struct es_pack *pack, const char *stream, enum es_expected_kind kind,
                   uint64_t number, struct es_expected_hash hash, uint32_t event_count)
{
    struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(stream),
                      .expect = {.kind = kind, .number = number},
                      .expect_hash = hash,
                      .event_count = event_count},
    };

    es_transaction_write_operation(pack, &operation);
}

static void kv(struct es_pack *pack, enum es_operation_kind kind, enum es_kv_family family,
               const char *key, enum es_expected_kind expected, uint64_t number, const char *value)
{
    struct es_operation operation = {
        .kind = kind,
        .as.kv = {.family = family,
                  .name_space = es_text_of("settings"),
                  .key = es_text_of(key),
                  .expect = {.kind = expected, .number = number},
                  .value = sample_text_bytes(value)},
    };

    es_transaction_write_operation(pack, &operation);
}

static void save(struct es_pack *pack, const char *projection, uint64_t version,
                 struct es_bytes state)
{
    struct es_operation operation = {
        .kind = ES_OPERATION_SNAPSHOT_SAVE,
        .as.snapshot_save = {.stream = es_text_of(SAMPLE_ORDERS),
                             .tick = 300,
                             .sequence = 2,
                             .projection = es_text_of(projection),
                             .version = version,
                             .state = state},
    };

    es_transaction_write_operation(pack, &operation);
}

static void snapshot_delete(struct es_pack *pack, const char *projection, bool every_tick,
                            uint64_t tick)
{
    struct es_operation operation = {
        .kind = ES_OPERATION_SNAPSHOT_DELETE,
        .as.snapshot_delete = {.stream = es_text_of(SAMPLE_ORDERS),
                               .every_projection = projection == NULL,
                               .projection = es_text_of(projection != NULL ? projection : ""),
                               .every_tick = every_tick,
                               .tick = tick},
    };

    es_transaction_write_operation(pack, &operation);
}

static void event(struct es_pack *pack, uint64_t tick, const char *type, struct es_bytes payload,
                  const uint8_t *expected_hash)
{
    struct es_append_event fields = {
        .tick = tick, .type = es_text_of(type), .payload = payload, .expected_hash = expected_hash};

    es_transaction_write_event(pack, &fields);
}

uint32_t sample_transaction(uint8_t *ret_bytes, size_t capacity)
{
    static const struct es_expected_hash no_hash = {.given = false};
    struct es_expected_hash genesis = {.given = true};
    struct es_expected_hash threes = {.given = true,
                                      .hash = es_bytes_make(sample_fill(0x33), ES_HASH_SIZE)};
    struct sample_event second;
    struct es_pack pack;
    uint32_t size = 0;

    sample_second(&second);
    es_pack_init(&pack, ret_bytes, capacity);
    es_transaction_write_begin(&pack, 17, 13);
    append(&pack, SAMPLE_ORDERS, ES_EXPECTED_NONE, 0, genesis, 2);
    event(&pack, 7, "Placed", es_bytes_make(sample_payload, sizeof sample_payload), NULL);
    event(&pack, 7, "Paid", es_bytes_make("", 0), second.hash);
    append(&pack, SAMPLE_STOCK, ES_EXPECTED_EXISTS, 0, no_hash, 1);
    event(&pack, 300, "Received", sample_wide_payload(), NULL);
    append(&pack, SAMPLE_STOCK, ES_EXPECTED_EXACT, 70000, threes, 1);
    event(&pack, 0, "x", es_bytes_make("", 0), NULL);
    kv(&pack, ES_OPERATION_KV_PUT, ES_KV_TRUTH, "a:key", ES_EXPECTED_ANY, 0, "value");
    kv(&pack, ES_OPERATION_KV_PUT, ES_KV_DERIVED, "a:key", ES_EXPECTED_EXACT, 4, "");
    kv(&pack, ES_OPERATION_KV_PUT, ES_KV_DERIVED, "ключ", ES_EXPECTED_NONE, 0, "value");
    kv(&pack, ES_OPERATION_KV_DELETE, ES_KV_TRUTH, "a:key", ES_EXPECTED_ANY, 0, "");
    kv(&pack, ES_OPERATION_KV_DELETE, ES_KV_DERIVED, "a:key", ES_EXPECTED_EXACT, 5, "");
    save(&pack, "", 0, sample_text_bytes("state"));
    save(&pack, "totals", 3, sample_wide_payload());
    snapshot_delete(&pack, NULL, true, 0);
    snapshot_delete(&pack, "", false, 300);
    snapshot_delete(&pack, "totals", true, 0);
    enum es_status status = es_pack_finish(&pack, &size);
    assert(status == ES_OK);
    return size;
}

static uint32_t commit_encode(const struct es_commit_record *record, uint8_t *ret_bytes,
                              size_t capacity, uint8_t ret_hash[ES_HASH_SIZE])
{
    uint32_t size = 0;
    enum es_status status = es_commit_encode(record, ret_bytes, capacity, &size, ret_hash);

    assert(status == ES_OK);
    assert(size <= es_commit_size_max(record));
    return size;
}

uint32_t sample_commit(uint8_t *ret_bytes, size_t capacity, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_commit_transaction transactions[2] = {
        {.origin_uid = 1000, .run_count = 1},
        {.producer = es_text_of("importer"),
         .producer_sequence = 17,
         .has_content_hash = true,
         .run_count = 1,
         .kv_count = 2},
    };
    const struct es_commit_run runs[2] = {
        {.stream = es_text_of(SAMPLE_ORDERS), .first_sequence = 1, .count = 2},
        {.stream = es_text_of(SAMPLE_STOCK), .first_sequence = 1, .count = 1},
    };
    struct es_commit_kv kvs[2] = {
        {.op = ES_COMMIT_KV_PUT,
         .name_space = es_text_of("settings"),
         .key = es_text_of("a:key"),
         .revision = 5},
        {.op = ES_COMMIT_KV_DELETE,
         .name_space = es_text_of("settings"),
         .key = es_text_of("old"),
         .revision = 6},
    };
    struct es_commit_record record = {.commit_number = 1,
                                      .first_position = 1,
                                      .count = 3,
                                      .time_us = SAMPLE_TIME_US,
                                      .transactions = transactions,
                                      .runs = runs,
                                      .kvs = kvs,
                                      .transaction_count = 2};
    struct es_transaction_reader reader;
    struct es_hash_state state;
    struct sample_event sample;
    uint8_t transaction[2048];
    uint32_t size = sample_transaction(transaction, sizeof transaction);

    enum es_reason reason = es_transaction_read(&reader, transaction, size);
    assert(reason == ES_REASON_NONE);
    es_transaction_content_hash(&reader, transactions[1].content_hash);
    memcpy(kvs[0].value_hash, sample_hash_of_text("value"), ES_HASH_SIZE);
    es_store_hash_genesis(sample_store_id, record.previous_store_hash);
    es_events_hash_begin(&state);
    sample_first(&sample);
    es_events_hash_add(&state, sample.hash);
    sample_second(&sample);
    es_events_hash_add(&state, sample.hash);
    sample_stock_first(&sample);
    es_events_hash_add(&state, sample.hash);
    es_events_hash_end(&state, record.events_hash);
    return commit_encode(&record, ret_bytes, capacity, ret_hash);
}

uint32_t sample_commit_of_keys(uint8_t *ret_bytes, size_t capacity, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_commit_transaction transaction = {.origin_uid = 1000, .kv_count = 1};
    struct es_commit_kv kv_entry = {.op = ES_COMMIT_KV_PUT,
                                    .name_space = es_text_of("settings"),
                                    .key = es_text_of("a:key"),
                                    .revision = 7};
    struct es_commit_record record = {.commit_number = 2,
                                      .first_position = 4,
                                      .time_us = SAMPLE_TIME_US,
                                      .transactions = &transaction,
                                      .kvs = &kv_entry,
                                      .transaction_count = 1};
    struct es_hash_state state;

    (void)sample_commit(ret_bytes, capacity, record.previous_store_hash);
    memcpy(kv_entry.value_hash, sample_hash_of_text(""), ES_HASH_SIZE);
    es_events_hash_begin(&state);
    es_events_hash_end(&state, record.events_hash);
    return commit_encode(&record, ret_bytes, capacity, ret_hash);
}

void golden_expect(const char *file, const char *name, const void *bytes, size_t size)
{
    uint8_t kept[GOLDEN_SIZE_MAX];
    size_t kept_size = golden_read(file, name, kept);
    const uint8_t *built = bytes;
    size_t same = 0;

    while (same < kept_size && same < size && kept[same] == built[same]) {
        same++;
    }
    if (same != kept_size || same != size) {
        fprintf(stderr, "%s.golden: %s: %zu bytes built, %zu kept, different from byte %zu on\n",
                file, name, size, kept_size, same);
        exit(1);
    }
}
