#include "shm/codec/store_key.h"

#include "shm/codec/key_bytes.h"

static const struct es_text CATEGORY_TAG = {"Category:", 9};

/* 'tag' + 'name' */
static void named(const char *tag, struct es_text name, struct es_key *ret_key)
{
    ret_key->size = 0;
    es_key_add(ret_key, tag, (uint32_t)strlen(tag));
    es_key_add(ret_key, name.data, name.size);
}

void es_key_kv_prefix(struct es_text name_space, struct es_key *ret_key)
{
    named("K:", name_space, ret_key);
    es_key_add(ret_key, ":", 1);
}

void es_key_kv(struct es_text name_space, struct es_text key, struct es_key *ret_key)
{
    es_key_kv_prefix(name_space, ret_key);
    es_key_add(ret_key, key.data, key.size);
}

void es_key_commit(uint64_t last_position, uint64_t commit_number, struct es_key *ret_key)
{
    ret_key->size = 0;
    es_key_add_number(ret_key, last_position);
    es_key_add_number(ret_key, commit_number);
}

void es_key_commit_seek(uint64_t position, struct es_key *ret_key)
{
    es_key_commit(position, 0, ret_key);
}

void es_key_producer(struct es_text producer, struct es_key *ret_key)
{
    named("P:", producer, ret_key);
}

void es_key_producer_commit(struct es_text producer, uint64_t producer_sequence,
                            struct es_key *ret_key)
{
    named("P:", producer, ret_key);
    es_key_add(ret_key, ":", 1);
    es_key_add_number(ret_key, producer_sequence);
}

void es_key_consumer(struct es_text consumer, struct es_key *ret_key)
{
    named("C:", consumer, ret_key);
}

void es_key_store(struct es_key *ret_key)
{
    named("Store", es_text_make("", 0), ret_key);
}

void es_key_epochs(struct es_key *ret_key)
{
    named("Epochs", es_text_make("", 0), ret_key);
}

void es_key_last(struct es_key *ret_key)
{
    named("Last", es_text_make("", 0), ret_key);
}

void es_key_revision(struct es_key *ret_key)
{
    named("Revision", es_text_make("", 0), ret_key);
}

void es_key_category(struct es_text category, struct es_key *ret_key)
{
    named(CATEGORY_TAG.data, category, ret_key);
}

void es_key_category_prefix(struct es_key *ret_key)
{
    named(CATEGORY_TAG.data, es_text_make("", 0), ret_key);
}

/* What follows 'tag' in 'key'; false if the key does not begin with it. */
static bool after_tag(struct es_bytes key, struct es_text tag, struct es_text *ret_rest)
{
    struct es_text text = es_text_make((const char *)key.data, key.size);

    if (!es_text_starts_with(text, tag)) {
        return false;
    }
    *ret_rest = es_text_make(text.data + tag.size, text.size - tag.size);
    return true;
}

enum es_status es_key_kv_parse(struct es_bytes key, struct es_text *ret_name_space,
                               struct es_text *ret_key)
{
    struct es_text rest;

    if (!after_tag(key, es_text_make("K:", 2), &rest) || rest.size == 0) {
        return ES_E_CORRUPT;
    }
    const char *colon = (const char *)memchr(rest.data, ':', rest.size);
    if (colon == NULL) {
        return ES_E_CORRUPT;
    }
    struct es_text name_space = es_text_make(rest.data, (uint32_t)(colon - rest.data));
    struct es_text key_text = es_text_make(colon + 1, rest.size - name_space.size - 1);
    if (es_name_check(name_space) != ES_REASON_NONE ||
        es_key_text_check(key_text) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_name_space = name_space;
    *ret_key = key_text;
    return ES_OK;
}

enum es_status es_key_commit_parse(struct es_bytes key, uint64_t *ret_last_position,
                                   uint64_t *ret_commit_number)
{
    uint64_t last_position = 0;

    if (key.size != ES_COMMIT_KEY_SIZE ||
        es_number_key_decode(key.data, ES_NUMBER_KEY_SIZE, &last_position) != ES_OK ||
        es_number_key_decode(key.data + ES_NUMBER_KEY_SIZE, ES_NUMBER_KEY_SIZE,
                             ret_commit_number) != ES_OK) {
        return ES_E_CORRUPT;
    }
    *ret_last_position = last_position;
    return ES_OK;
}

enum es_status es_key_producer_parse(struct es_bytes key, struct es_text *ret_producer,
                                     uint64_t *ret_producer_sequence)
{
    struct es_text producer;
    uint64_t producer_sequence = 0;

    if (!after_tag(key, es_text_make("P:", 2), &producer) || producer.size == 0) {
        return ES_E_CORRUPT;
    }
    const char *colon = (const char *)memchr(producer.data, ':', producer.size);
    if (colon != NULL) {
        size_t number_size = (size_t)(producer.data + producer.size - (colon + 1));

        if (es_number_key_decode(colon + 1, number_size, &producer_sequence) != ES_OK ||
            producer_sequence == 0) {
            return ES_E_CORRUPT;
        }
        producer.size = (uint32_t)(colon - producer.data);
    }
    if (es_name_check(producer) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_producer = producer;
    *ret_producer_sequence = producer_sequence;
    return ES_OK;
}

enum es_status es_key_consumer_parse(struct es_bytes key, struct es_text *ret_consumer)
{
    struct es_text consumer;

    if (!after_tag(key, es_text_make("C:", 2), &consumer) ||
        es_name_check(consumer) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_consumer = consumer;
    return ES_OK;
}

enum es_status es_key_category_parse(struct es_bytes key, struct es_text *ret_category)
{
    struct es_text category;

    if (!after_tag(key, CATEGORY_TAG, &category) || es_category_check(category) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_category = category;
    return ES_OK;
}
