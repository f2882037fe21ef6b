#include "broker/heads.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/codec/stream_key.h"

enum {
    KEYS_CACHED_MAX = 16384
};

struct heads {
    struct store *store;
    struct counters *counters;
    struct cache *streams;
    struct cache *categories;
    struct cache *keys;
    struct cache *producers;
    uint64_t applied_batch;
    struct store_buffer value; /* scratch */
    struct es_key store_key;   /* scratch */
};

enum es_status heads_new(struct store *store, struct counters *counters, uint32_t stream_count_max,
                         struct heads **ret_heads)
{
    struct heads *heads = calloc(1, sizeof *heads);
    enum es_status status = ES_E_NO_MEMORY;

    if (heads == NULL) {
        return ES_E_NO_MEMORY;
    }
    heads->store = store;
    heads->counters = counters;
    status = cache_new(stream_count_max, sizeof(struct stream_state), &heads->streams);
    if (status == ES_OK) {
        status =
            cache_new(CATEGORIES_CACHED_MAX, sizeof(struct category_state), &heads->categories);
    }
    if (status == ES_OK) {
        status = cache_new(KEYS_CACHED_MAX, sizeof(struct key_state), &heads->keys);
    }
    if (status == ES_OK) {
        status = cache_new(PRODUCERS_CACHED_MAX, sizeof(struct producer_state), &heads->producers);
    }
    if (status != ES_OK) {
        heads_free(heads);
        return status;
    }
    *ret_heads = heads;
    return ES_OK;
}

void heads_free(struct heads *heads)
{
    if (heads != NULL) {
        cache_free(heads->streams);
        cache_free(heads->categories);
        cache_free(heads->keys);
        cache_free(heads->producers);
        store_buffer_deinit(&heads->value);
        free(heads);
    }
}

void heads_set_applied(struct heads *heads, uint64_t batch_number)
{
    assert(batch_number >= heads->applied_batch);
    heads->applied_batch = batch_number;
}

uint64_t heads_applied(const struct heads *heads)
{
    return heads->applied_batch;
}

/* Reads the value under heads->store_key into heads->value. */
static enum es_status read_store(struct heads *heads, enum store_family family)
{
    struct store_slice key = {.bytes = heads->store_key.bytes, .size = heads->store_key.size};

    counter_add(&heads->counters->heads_cache_misses, 1);
    return store_get(heads->store, NULL, family, key, &heads->value);
}

enum es_status heads_stream(struct heads *heads, struct es_text stream,
                            struct cache_entry **ret_entry)
{
    struct cache_entry *entry = cache_find(heads->streams, stream.data, stream.size);
    struct stream_state state = {.exists = false};
    enum es_status status = ES_OK;

    if (entry != NULL) {
        counter_add(&heads->counters->heads_cache_hits, 1);
        *ret_entry = entry;
        return ES_OK;
    }
    es_key_head(stream, &heads->store_key);
    status = read_store(heads, STORE_STREAM_META);
    if (status == ES_OK) {
        status = es_head_decode(heads->value.bytes, heads->value.size, &state.head);
        state.exists = true;
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    if (status == ES_OK) {
        status = cache_add(heads->streams, stream.data, stream.size, heads->applied_batch, &entry);
    }
    if (status != ES_OK) {
        return status;
    }
    *stream_state(entry) = state;
    *ret_entry = entry;
    return ES_OK;
}

enum es_status heads_category(struct heads *heads, struct es_text category,
                              struct cache_entry **ret_entry)
{
    struct cache_entry *entry = cache_find(heads->categories, category.data, category.size);
    struct category_state state = {.last_position = 0};
    enum es_status status = ES_OK;

    if (entry != NULL) {
        *ret_entry = entry;
        return ES_OK;
    }
    es_key_category(category, &heads->store_key);
    status = read_store(heads, STORE_DEFAULT);
    if (status == ES_OK) {
        status =
            es_category_value_decode(heads->value.bytes, heads->value.size, &state.last_position);
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    if (status == ES_OK) {
        status = cache_add(heads->categories, category.data, category.size, heads->applied_batch,
                           &entry);
    }
    if (status != ES_OK) {
        return status;
    }
    *category_state(entry) = state;
    *ret_entry = entry;
    return ES_OK;
}

enum es_status heads_key(struct heads *heads, enum es_kv_family family, struct es_text name_space,
                         struct es_text key, struct cache_entry **ret_entry)
{
    uint8_t cache_key[1 + ES_KEY_SIZE_MAX];
    uint32_t cache_key_bytes = 0;
    struct cache_entry *entry = NULL;
    struct key_state state = {.revision = 0};
    struct es_kv_value value = {.revision = 0};
    enum es_status status = ES_OK;

    es_key_kv(name_space, key, &heads->store_key);
    cache_key[0] = (uint8_t)family;
    memcpy(cache_key + 1, heads->store_key.bytes, heads->store_key.size);
    cache_key_bytes = heads->store_key.size + 1;
    entry = cache_find(heads->keys, cache_key, cache_key_bytes);
    if (entry != NULL) {
        *ret_entry = entry;
        return ES_OK;
    }
    status = read_store(heads, family == ES_KV_TRUTH ? STORE_KV : STORE_READ_MODELS);
    if (status == ES_OK) {
        status = es_kv_value_decode(heads->value.bytes, heads->value.size, &value);
        state.revision = value.revision;
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    if (status == ES_OK) {
        status = cache_add(heads->keys, cache_key, cache_key_bytes, heads->applied_batch, &entry);
    }
    if (status != ES_OK) {
        return status;
    }
    *key_state(entry) = state;
    *ret_entry = entry;
    return ES_OK;
}

enum es_status heads_producer(struct heads *heads, struct es_text producer,
                              struct cache_entry **ret_entry)
{
    struct cache_entry *entry = cache_find(heads->producers, producer.data, producer.size);
    struct producer_state state = {.exists = false};
    struct es_producer_value value;
    enum es_status status = ES_OK;

    if (entry != NULL) {
        *ret_entry = entry;
        return ES_OK;
    }
    es_key_producer(producer, &heads->store_key);
    status = read_store(heads, STORE_PRODUCERS);
    if (status == ES_OK) {
        status = es_producer_value_decode(heads->value.bytes, heads->value.size, &value);
        if (status == ES_OK) {
            state = (struct producer_state){.exists = true,
                                            .owner_uid = value.owner_uid,
                                            .owner_incarnation = value.owner_incarnation,
                                            .last_number = value.last_sequence};
        }
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    if (status == ES_OK) {
        status =
            cache_add(heads->producers, producer.data, producer.size, heads->applied_batch, &entry);
    }
    if (status != ES_OK) {
        return status;
    }
    *producer_state(entry) = state;
    *ret_entry = entry;
    return ES_OK;
}
