#include "shm/codec/commit_record.h"

#include "shm/codec/pack.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define RECORD_COUNT 9U
#define HASHED_COUNT 8U
#define TRANSACTION_COUNT 6U
#define RUN_COUNT 4U
#define KV_COUNT 5U

/* The array header of the elements that the store hash covers. */
static const uint8_t HASHED_HEAD = 0x90U | HASHED_COUNT;

void es_store_hash_genesis(const uint8_t store_id[ES_STORE_ID_SIZE], uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_hash_state state;

    es_hash_begin(&state);
    es_hash_update(&state, "eventspine", 10);
    es_hash_update(&state, store_id, ES_STORE_ID_SIZE);
    es_hash_end(&state, ret_hash);
}

static void store_hash(struct es_bytes hashed, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_hash_state state;

    es_hash_begin(&state);
    es_hash_update(&state, &HASHED_HEAD, sizeof HASHED_HEAD);
    es_hash_update(&state, hashed.data, hashed.size);
    es_hash_end(&state, ret_hash);
}

uint64_t es_commit_size_max(const struct es_commit_record *record)
{
    const struct es_commit_run *run = record->runs;
    const struct es_commit_kv *kv = record->kvs;
    uint64_t size = 2 + 4 * 9 + 3 * 34 + 5;

    for (uint32_t i = 0; i < record->transaction_count; i++) {
        const struct es_commit_transaction *transaction = &record->transactions[i];

        size += 1 + 5 + 2 + transaction->producer.size + 9 + 18 + 5 + 5;
        for (uint32_t j = 0; j < transaction->run_count; j++, run++) {
            size += 1 + 3 + run->stream.size + 3 * 9;
        }
        for (uint32_t j = 0; j < transaction->kv_count; j++, kv++) {
            size += 1 + 1 + 2 + kv->name_space.size + 3 + kv->key.size + 9 + 34;
        }
    }
    return size;
}

static void run_write(struct es_pack *pack, const struct es_commit_run *run)
{
    es_pack_array(pack, RUN_COUNT);
    es_pack_str(pack, run->stream);
    es_pack_uint(pack, run->first_sequence);
    es_pack_uint(pack, run->count);
    es_pack_uint(pack, run->previous_position);
}

static void kv_write(struct es_pack *pack, const struct es_commit_kv *kv)
{
    es_pack_array(pack, KV_COUNT);
    es_pack_uint(pack, (uint64_t)kv->op);
    es_pack_str(pack, kv->name_space);
    es_pack_str(pack, kv->key);
    es_pack_uint(pack, kv->revision);
    es_pack_bin(pack, kv->value_hash, kv->op == ES_COMMIT_KV_PUT ? ES_HASH_SIZE : 0);
}

/* Everything of a transaction up to its runs. */
static void transaction_write(struct es_pack *pack, const struct es_commit_transaction *transaction)
{
    es_pack_array(pack, TRANSACTION_COUNT);
    es_pack_uint(pack, transaction->origin_uid);
    if (transaction->producer.size > 0) {
        es_pack_str(pack, transaction->producer);
    } else {
        es_pack_nil(pack);
    }
    es_pack_uint(pack, transaction->producer_sequence);
    if (transaction->has_content_hash) {
        es_pack_bin(pack, transaction->content_hash, ES_CONTENT_HASH_SIZE);
    } else {
        es_pack_nil(pack);
    }
}

static void transactions_write(struct es_pack *pack, const struct es_commit_record *record)
{
    const struct es_commit_run *run = record->runs;
    const struct es_commit_kv *kv = record->kvs;

    es_pack_array(pack, record->transaction_count);
    for (uint32_t i = 0; i < record->transaction_count; i++) {
        const struct es_commit_transaction *transaction = &record->transactions[i];

        transaction_write(pack, transaction);
        es_pack_array(pack, transaction->run_count);
        for (uint32_t j = 0; j < transaction->run_count; j++) {
            run_write(pack, run++);
        }
        es_pack_array(pack, transaction->kv_count);
        for (uint32_t j = 0; j < transaction->kv_count; j++) {
            kv_write(pack, kv++);
        }
    }
}

enum es_status es_commit_encode(const struct es_commit_record *record, void *ret_bytes,
                                size_t capacity, uint32_t *ret_size,
                                uint8_t ret_store_hash[ES_HASH_SIZE])
{
    uint8_t hash[ES_HASH_SIZE];
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, RECORD_COUNT);
    const uint8_t *hashed = pack.at;
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, record->commit_number);
    es_pack_uint(&pack, record->first_position);
    es_pack_uint(&pack, record->count);
    es_pack_uint(&pack, record->time_us);
    es_pack_bin(&pack, record->previous_store_hash, ES_HASH_SIZE);
    es_pack_bin(&pack, record->events_hash, ES_HASH_SIZE);
    transactions_write(&pack, record);
    if (pack.overflow || es_pack_size(&pack) > UINT32_MAX) {
        return ES_E_TOO_LARGE;
    }
    store_hash(es_bytes_make(hashed, (uint32_t)(pack.at - hashed)), hash);
    es_pack_bin(&pack, hash, ES_HASH_SIZE);
    enum es_status status = es_pack_finish(&pack, ret_size);
    if (status == ES_OK) {
        memcpy(ret_store_hash, hash, ES_HASH_SIZE);
    }
    return status;
}

/* Reads a run without judging it. */
static void run_read(struct es_unpack *unpack, struct es_commit_run *ret_run)
{
    uint32_t count = es_unpack_array_in(unpack, RUN_COUNT, UINT32_MAX);

    ret_run->stream = es_unpack_str(unpack, ES_STREAM_SIZE_MAX);
    ret_run->first_sequence = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    ret_run->count = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    ret_run->previous_position = es_unpack_uint(unpack);
    es_unpack_skip_count(unpack, count - RUN_COUNT);
}

static void kv_read(struct es_unpack *unpack, struct es_commit_kv *ret_kv)
{
    uint32_t count = es_unpack_array_in(unpack, KV_COUNT, UINT32_MAX);

    ret_kv->op =
        (enum es_commit_kv_op)es_unpack_uint_in(unpack, ES_COMMIT_KV_PUT, ES_COMMIT_KV_DELETE);
    ret_kv->name_space = es_unpack_str(unpack, ES_NAME_SIZE_MAX);
    ret_kv->key = es_unpack_str(unpack, ES_KEY_TEXT_MAX);
    ret_kv->revision = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    struct es_bytes hash = es_unpack_hash_or_empty(unpack);
    memset(ret_kv->value_hash, 0, ES_HASH_SIZE);
    if ((hash.size > 0) != (ret_kv->op == ES_COMMIT_KV_PUT)) {
        es_unpack_fail(unpack);
    } else if (hash.size > 0) {
        memcpy(ret_kv->value_hash, hash.data, ES_HASH_SIZE);
    }
    es_unpack_skip_count(unpack, count - KV_COUNT);
}

/* Reads a transaction and leaves '*ret_runs' and '*ret_kvs' at its first run and kv. */
static void transaction_read(struct es_unpack *unpack,
                             struct es_commit_transaction *ret_transaction,
                             struct es_unpack *ret_runs, struct es_unpack *ret_kvs)
{
    uint32_t count = es_unpack_array_in(unpack, TRANSACTION_COUNT, UINT32_MAX);

    ret_transaction->origin_uid = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_transaction->producer = es_text_make("", 0);
    if (!es_unpack_try_nil(unpack)) {
        ret_transaction->producer = es_unpack_str(unpack, ES_NAME_SIZE_MAX);
        if (es_name_check(ret_transaction->producer) != ES_REASON_NONE) {
            es_unpack_fail(unpack);
        }
    }
    ret_transaction->producer_sequence = es_unpack_uint(unpack);
    memset(ret_transaction->content_hash, 0, ES_CONTENT_HASH_SIZE);
    ret_transaction->has_content_hash = !es_unpack_try_nil(unpack);
    if (ret_transaction->has_content_hash) {
        es_unpack_bin_copy(unpack, ret_transaction->content_hash, ES_CONTENT_HASH_SIZE);
    }
    ret_transaction->run_count = es_unpack_array(unpack);
    *ret_runs = *unpack;
    es_unpack_skip_count(unpack, ret_transaction->run_count);
    ret_transaction->kv_count = es_unpack_array(unpack);
    *ret_kvs = *unpack;
    es_unpack_skip_count(unpack, ret_transaction->kv_count);
    es_unpack_skip_count(unpack, count - TRANSACTION_COUNT);
}

/* A run's own numbers and name, and that it fits where it stands. */
static bool run_is_sound(const struct es_commit_run *run, uint64_t position)
{
    struct es_stream_parts parts;

    return es_stream_parse(run->stream, &parts) == ES_REASON_NONE &&
           run->count - 1 <= UINT64_MAX - run->first_sequence &&
           run->count <= UINT64_MAX - position && run->previous_position < position;
}

/* Judges every run and kv of the record once, and counts them. */
static bool contents_are_sound(struct es_commit_view *view)
{
    struct es_commit_transaction transaction;
    struct es_commit_walk walk;
    struct es_commit_run run;
    struct es_commit_kv kv;
    uint64_t position = 0;

    view->run_count = 0;
    view->kv_count = 0;
    es_commit_walk_begin(view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        while (es_commit_walk_run(&walk, &run, &position)) {
            if (!run_is_sound(&run, position)) {
                return false;
            }
            view->run_count++;
        }
        while (es_commit_walk_kv(&walk, &kv)) {
            if (es_name_check(kv.name_space) != ES_REASON_NONE ||
                es_key_text_check(kv.key) != ES_REASON_NONE) {
                return false;
            }
            view->kv_count++;
        }
        if (!es_unpack_ok(&walk.runs) || !es_unpack_ok(&walk.kvs)) {
            return false;
        }
    }
    return es_unpack_ok(&walk.transactions) &&
           walk.position_next - view->first_position == view->count;
}

enum es_status es_commit_decode(const void *bytes, size_t size, struct es_commit_view *ret_view)
{
    struct es_commit_view view;
    struct es_versioned value;
    struct es_unpack *unpack = &value.unpack;

    es_versioned_begin(&value, bytes, size, RECORD_COUNT, VERSION);
    view.commit_number = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    view.first_position = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    view.count = es_unpack_uint_in(unpack, 0, UINT64_MAX);
    view.time_us = es_unpack_uint(unpack);
    view.previous_store_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    view.events_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    view.transaction_count = es_unpack_array(unpack);
    view.transactions = *unpack;
    es_unpack_skip_count(unpack, view.transaction_count);
    view.hashed = es_bytes_make(value.first, (uint32_t)(unpack->at - value.first));
    view.store_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK && !contents_are_sound(&view)) {
        status = ES_E_CORRUPT;
    }
    if (status == ES_OK) {
        *ret_view = view;
    }
    return status;
}

enum es_status es_commit_verify_hash(const struct es_commit_view *view)
{
    uint8_t hash[ES_HASH_SIZE];

    store_hash(view->hashed, hash);
    return memcmp(hash, view->store_hash, ES_HASH_SIZE) == 0 ? ES_OK : ES_E_CORRUPT;
}

uint64_t es_commit_last_position(const struct es_commit_view *view)
{
    return view->first_position + view->count - 1;
}

void es_commit_walk_begin(const struct es_commit_view *view, struct es_commit_walk *ret_walk)
{
    ret_walk->transactions = view->transactions;
    ret_walk->transactions_left = view->transaction_count;
    es_unpack_init(&ret_walk->runs, NULL, 0);
    es_unpack_init(&ret_walk->kvs, NULL, 0);
    ret_walk->runs_left = 0;
    ret_walk->kvs_left = 0;
    ret_walk->position_next = view->first_position;
}

bool es_commit_walk_transaction(struct es_commit_walk *walk,
                                struct es_commit_transaction *ret_transaction)
{
    struct es_commit_run run;
    uint64_t position = 0;

    while (es_commit_walk_run(walk, &run, &position)) {
        /* the runs that nobody read still take up positions */
    }
    if (walk->transactions_left == 0) {
        return false;
    }
    walk->transactions_left--;
    transaction_read(&walk->transactions, ret_transaction, &walk->runs, &walk->kvs);
    walk->runs_left = ret_transaction->run_count;
    walk->kvs_left = ret_transaction->kv_count;
    return es_unpack_ok(&walk->transactions);
}

bool es_commit_walk_run(struct es_commit_walk *walk, struct es_commit_run *ret_run,
                        uint64_t *ret_first_position)
{
    if (walk->runs_left == 0) {
        return false;
    }
    walk->runs_left--;
    run_read(&walk->runs, ret_run);
    *ret_first_position = walk->position_next;
    walk->position_next += ret_run->count;
    return es_unpack_ok(&walk->runs);
}

bool es_commit_walk_kv(struct es_commit_walk *walk, struct es_commit_kv *ret_kv)
{
    if (walk->kvs_left == 0) {
        return false;
    }
    walk->kvs_left--;
    kv_read(&walk->kvs, ret_kv);
    return es_unpack_ok(&walk->kvs);
}

/* Walks to the first run that 'wanted' accepts. */
struct run_query {
    struct es_text stream;
    uint64_t number; /* a position or a sequence */
};

static enum es_status find(const struct es_commit_view *view,
                           bool (*wanted)(const struct run_query *, const struct es_commit_run *,
                                          uint64_t first_position),
                           const struct run_query *query, struct es_commit_run *ret_run,
                           uint64_t *ret_first_position)
{
    struct es_commit_transaction transaction;
    struct es_commit_walk walk;
    struct es_commit_run run;
    uint64_t position = 0;

    es_commit_walk_begin(view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        while (es_commit_walk_run(&walk, &run, &position)) {
            if (wanted(query, &run, position)) {
                *ret_run = run;
                *ret_first_position = position;
                return ES_OK;
            }
        }
    }
    return ES_NOT_FOUND;
}

static bool holds_position(const struct run_query *query, const struct es_commit_run *run,
                           uint64_t first_position)
{
    return query->number >= first_position && query->number - first_position < run->count;
}

static bool holds_event(const struct run_query *query, const struct es_commit_run *run,
                        uint64_t first_position)
{
    (void)first_position;
    return query->number >= run->first_sequence &&
           query->number - run->first_sequence < run->count &&
           es_text_equal(query->stream, run->stream);
}

static bool is_of_stream(const struct run_query *query, const struct es_commit_run *run,
                         uint64_t first_position)
{
    (void)first_position;
    return es_text_equal(query->stream, run->stream);
}

enum es_status es_commit_find_position(const struct es_commit_view *view, uint64_t position,
                                       struct es_text *ret_stream, uint64_t *ret_sequence)
{
    struct run_query query = {.number = position};
    struct es_commit_run run;
    uint64_t first_position = 0;
    enum es_status status = find(view, holds_position, &query, &run, &first_position);

    if (status == ES_OK) {
        *ret_stream = run.stream;
        *ret_sequence = run.first_sequence + (position - first_position);
    }
    return status;
}

enum es_status es_commit_find_event(const struct es_commit_view *view, struct es_text stream,
                                    uint64_t sequence, uint64_t *ret_position)
{
    struct run_query query = {.stream = stream, .number = sequence};
    struct es_commit_run run;
    uint64_t first_position = 0;
    enum es_status status = find(view, holds_event, &query, &run, &first_position);

    if (status == ES_OK) {
        *ret_position = first_position + (sequence - run.first_sequence);
    }
    return status;
}

enum es_status es_commit_find_run(const struct es_commit_view *view, struct es_text stream,
                                  struct es_commit_run *ret_run, uint64_t *ret_first_position)
{
    struct run_query query = {.stream = stream};

    return find(view, is_of_stream, &query, ret_run, ret_first_position);
}

void es_events_hash_begin(struct es_hash_state *state)
{
    es_hash_begin(state);
}

void es_events_hash_add(struct es_hash_state *state, const uint8_t hash[ES_HASH_SIZE])
{
    es_hash_update(state, hash, ES_HASH_SIZE);
}

void es_events_hash_end(struct es_hash_state *state, uint8_t ret_hash[ES_HASH_SIZE])
{
    es_hash_end(state, ret_hash);
}
