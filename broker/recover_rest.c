/*
 * What is in no commit: snapshots of events that are kept, checkpoints that are not
 * beyond the end, owners of producers' names, derived values where nothing was lost.
 */
#include <inttypes.h>
#include <string.h>

#include "broker/epochs.h"
#include "broker/recover_target.h"
#include "broker/stored_snapshot.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

enum {
    BATCH_BYTES = 4 * 1024 * 1024
};

/* More than can have been given out by what is lost. */
#define LOST_REVISIONS (UINT64_C(1) << 32)

/* Copying one family. */
struct copying {
    struct recover_target *target;
    struct recover_finding *finding;
    struct reader *reader; /* over the new store */
    enum store_family family;
    uint64_t bytes; /* in target->writes */
};

typedef enum es_status take_fn(struct copying *copying, struct store_slice key,
                               struct store_slice value);

static enum es_status write_out(struct copying *copying)
{
    struct recover_target *target = copying->target;
    enum es_status status = store_apply(target->store, target->writes, STORE_APPLY_LIVE);

    store_batch_clear(target->writes);
    target->unflushed_bytes += copying->bytes;
    copying->bytes = 0;
    if (status == ES_OK && target->unflushed_bytes > 8 * (uint64_t)BATCH_BYTES) {
        target->unflushed_bytes = 0;
        status = store_flush_all(target->store);
    }
    return status;
}

static enum es_status put(struct copying *copying, struct store_slice key, struct store_slice value)
{
    enum es_status status = store_batch_put(copying->target->writes, copying->family, key, value);

    copying->bytes += key.size + value.size;
    return status == ES_OK && copying->bytes > BATCH_BYTES ? write_out(copying) : status;
}

static enum es_status put_key(struct copying *copying, const struct es_key *key, const void *value,
                              uint32_t size)
{
    return put(copying, (struct store_slice){key->bytes, key->size},
               (struct store_slice){value, size});
}

static enum es_status take_snapshot(struct copying *copying, struct store_slice key,
                                    struct store_slice value)
{
    struct stored_snapshot stored;

    return stored_snapshot_read(key, value, &stored) == ES_OK &&
                   stored_snapshot_flaw(copying->reader, &stored) == NULL
               ? put(copying, key, value)
               : ES_OK;
}

static enum es_status take_checkpoint(struct copying *copying, struct store_slice key,
                                      struct store_slice value)
{
    struct es_consumer_value entry;
    struct es_text consumer;

    return es_key_consumer_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &consumer) ==
                       ES_OK &&
                   es_consumer_value_decode(value.bytes, value.size, &entry) == ES_OK &&
                   entry.position <= copying->target->end.position
               ? put(copying, key, value)
               : ES_OK;
}

/* The highest number of 'producer' that is kept. */
static enum es_status last_number_of(struct copying *copying, struct es_text producer,
                                     uint64_t *ret_number)
{
    struct es_key first;
    struct es_key beyond;
    struct es_text name;
    struct store_iterator *iterator = NULL;
    struct store_range range;
    enum es_status status = ES_OK;

    es_key_producer_commit(producer, 0, &first);
    es_key_producer_commit(producer, UINT64_MAX, &beyond);
    range = (struct store_range){.first = {first.bytes, first.size},
                                 .end = {beyond.bytes, beyond.size}};
    *ret_number = 0;
    status = store_iterator_new(copying->target->store, NULL, STORE_PRODUCERS, &range, &iterator);
    if (status != ES_OK) {
        return status;
    }
    store_iterator_seek_last(iterator);
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        (void)!es_key_producer_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &name,
                                     ret_number);
    }
    status = store_iterator_status(iterator);
    store_iterator_free(iterator);
    return status;
}

/* Owners are copied; what they had committed is what is kept of it. */
static enum es_status take_producer(struct copying *copying, struct store_slice key,
                                    struct store_slice value)
{
    uint8_t bytes[ES_STORE_VALUE_SIZE_MAX];
    struct es_producer_value entry;
    struct es_text producer;
    uint64_t number = 0;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    if (es_key_producer_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &producer, &number) !=
            ES_OK ||
        number != 0 || es_producer_value_decode(value.bytes, value.size, &entry) != ES_OK) {
        return ES_OK;
    }
    status = last_number_of(copying, producer, &entry.last_sequence);
    if (status == ES_OK) {
        status = es_producer_value_encode(&entry, bytes, sizeof bytes, &size);
    }
    return status == ES_OK ? put(copying, key, (struct store_slice){bytes, size}) : status;
}

static bool is_sound_read_model(struct store_slice key, struct store_slice value)
{
    struct es_text name_space;
    struct es_kv_value entry;
    struct es_text name;

    return es_key_kv_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &name_space, &name) ==
               ES_OK &&
           es_kv_value_decode(value.bytes, value.size, &entry) == ES_OK &&
           es_kv_value_verify(&entry) == ES_OK;
}

static const struct {
    enum store_family family;
    take_fn *take;
} families[] = {
    {STORE_SNAPSHOTS, take_snapshot},
    {STORE_CONSUMERS, take_checkpoint},
    {STORE_PRODUCERS, take_producer},
};

/* What is derived is whole or worth nothing: a value that is missing, that is older than
 * another, or that knows of an event that is lost shows nowhere. */
static enum es_status keeps_read_models(struct copying *copying, bool *ret_keeps)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct recover_finding *finding = copying->finding;
    struct store_iterator *iterator = NULL;
    bool keeps = finding->is_whole && finding->rocksdb != RECOVER_ROCKSDB_LISTED;
    uint64_t count = 0;
    enum es_status status = store_iterator_new(copying->target->source->store, NULL,
                                               STORE_READ_MODELS, &all, &iterator);

    if (status != ES_OK) {
        return status;
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        keeps = keeps &&
                is_sound_read_model(store_iterator_key(iterator), store_iterator_value(iterator));
        count++;
    }
    keeps = keeps && store_iterator_status(iterator) == ES_OK;
    store_iterator_free(iterator);
    finding->dropped_read_models = keeps ? 0 : count;
    *ret_keeps = keeps;
    return ES_OK;
}

/* What of a family can be read is copied: a damaged block there costs what is in it. */
static enum es_status copy_family(struct copying *copying, enum store_family family, take_fn *take)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    enum es_status status = ES_OK;

    copying->family = family;
    status =
        store_iterator_new(copying->target->source->store, NULL, copying->family, &all, &iterator);
    if (status != ES_OK) {
        return status;
    }
    store_iterator_seek_first(iterator);
    while (status == ES_OK && store_iterator_valid(iterator)) {
        status = take(copying, store_iterator_key(iterator), store_iterator_value(iterator));
        store_iterator_next(iterator);
    }
    if (status == ES_OK && store_iterator_status(iterator) != ES_OK) {
        recover_note(copying->finding, "rocksdb: the rest of the family %s cannot be read",
                     store_family_name(copying->family));
    }
    store_iterator_free(iterator);
    return status == ES_OK ? write_out(copying) : status;
}

static enum es_status write_identity(struct copying *copying)
{
    const struct recover_target *target = copying->target;
    struct es_epochs epochs = target->source->epochs;
    struct es_store_identity identity = {.format_version = ES_STORE_FORMAT_VERSION};
    const struct es_last last = {.batch_number = target->end.batch_number,
                                 .commit_number = target->end.commit_number};
    uint8_t value[ES_LAST_SIZE_MAX];
    struct es_key key;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    copying->family = STORE_DEFAULT;
    memcpy(identity.store_id, copying->finding->store_id, sizeof identity.store_id);
    epochs_begin(&epochs, copying->finding->new_epoch, target->end.position + 1);
    es_key_store(&key);
    status = es_store_identity_encode(&identity, value, sizeof value, &size);
    status = status != ES_OK ? status : put_key(copying, &key, value, size);
    es_key_epochs(&key);
    status = status != ES_OK ? status : es_epochs_encode(&epochs, value, sizeof value, &size);
    status = status != ES_OK ? status : put_key(copying, &key, value, size);
    es_key_last(&key);
    status = status != ES_OK ? status : es_last_encode(&last, value, sizeof value, &size);
    status = status != ES_OK ? status : put_key(copying, &key, value, size);
    if (target->last_revision > 0) {
        es_key_revision(&key);
        status = status != ES_OK
                     ? status
                     : es_revision_value_encode(target->last_revision, value, sizeof value, &size);
        status = status != ES_OK ? status : put_key(copying, &key, value, size);
    }
    return status == ES_OK ? write_out(copying) : status;
}

static void raise_revision(struct recover_target *target, uint64_t revision)
{
    if (revision > target->last_revision) {
        target->last_revision = revision;
    }
}

/* What values have; the note of the last one may be older than they are. */
static enum es_status know_revisions_of(struct recover_target *target, enum store_family family)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct es_kv_value entry;
    enum es_status status =
        store_iterator_new(target->source->store, NULL, family, &all, &iterator);

    if (status != ES_OK) {
        return status;
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        struct store_slice value = store_iterator_value(iterator);

        if (es_kv_value_decode(value.bytes, value.size, &entry) == ES_OK) {
            raise_revision(target, entry.revision);
        }
    }
    store_iterator_free(iterator);
    return ES_OK;
}

enum es_status recover_target_know_revisions(struct recover_target *target,
                                             const struct recover_finding *finding)
{
    struct store_buffer value = {0};
    struct es_key key;
    uint64_t revision = 0;
    enum es_status status = know_revisions_of(target, STORE_KV);

    if (status == ES_OK) {
        status = know_revisions_of(target, STORE_READ_MODELS);
    }
    es_key_revision(&key);
    if (store_get(target->source->store, NULL, STORE_DEFAULT,
                  (struct store_slice){key.bytes, key.size}, &value) == ES_OK &&
        es_revision_value_decode(value.bytes, value.size, &revision) == ES_OK) {
        raise_revision(target, revision);
    }
    store_buffer_deinit(&value);
    if (!finding->is_whole && target->last_revision < UINT64_MAX - LOST_REVISIONS) {
        target->last_revision += LOST_REVISIONS;
    }
    return status;
}

enum es_status recover_target_copy_rest(struct recover_target *target,
                                        struct recover_finding *finding)
{
    struct copying copying = {.target = target, .finding = finding};
    bool keeps = false;
    enum es_status status = reader_new(target->store, &copying.reader);

    store_batch_clear(target->writes);
    if (status == ES_OK) {
        status = reader_begin(copying.reader);
    }
    for (size_t i = 0; i < sizeof families / sizeof families[0] && status == ES_OK; i++) {
        status = copy_family(&copying, families[i].family, families[i].take);
    }
    if (status == ES_OK) {
        status = keeps_read_models(&copying, &keeps);
    }
    if (status == ES_OK && keeps) {
        status = copy_family(&copying, STORE_READ_MODELS, put);
    }
    if (copying.reader != NULL) {
        reader_end(copying.reader);
    }
    reader_free(copying.reader);
    return status == ES_OK ? write_identity(&copying) : status;
}

void recover_target_finding(void *context, const struct verify_finding *finding)
{
    (void)startup_explain(context, ES_E_CORRUPT,
                          "what was made does not verify (%.*s, sequence %" PRIu64
                          ", position %" PRIu64 ": %s): restore a backup; nothing was changed",
                          (int)finding->stream.size, finding->stream.data, finding->sequence,
                          finding->position, finding->message);
}
