/*
 * Named producers: the numbers that commits hold, and the entries that lead to them.
 * Each is followed both ways, so that neither a lost entry nor one that leads
 * elsewhere passes.
 */
#include <inttypes.h>
#include <string.h>

#include "broker/verify_state.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

static const struct es_text no_stream = {"", 0};

/* The first number entry at or after 'number', on the slice's snapshot, is of 'commit'. */
static bool leads_back(struct store_iterator *iterator, struct es_text producer, uint64_t number,
                       const struct es_key *commit)
{
    struct store_slice value;
    struct es_text found;
    uint64_t found_number = 0;
    struct es_key key;

    es_key_producer_commit(producer, number, &key);
    store_iterator_seek(iterator, (struct store_slice){key.bytes, key.size});
    if (!store_iterator_valid(iterator)) {
        return false;
    }
    value = store_iterator_value(iterator);
    if (es_key_producer_parse(es_bytes_make(store_iterator_key(iterator).bytes,
                                            (uint32_t)store_iterator_key(iterator).size),
                              &found, &found_number) != ES_OK) {
        return false;
    }
    return es_text_equal(found, producer) && found_number >= number && value.size == commit->size &&
           memcmp(value.bytes, commit->bytes, commit->size) == 0;
}

enum es_status verify_numbers(struct verify *verify, const struct es_commit_view *commit)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct es_commit_transaction transaction;
    struct es_commit_walk walk;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_commit(es_commit_last_position(commit), commit->commit_number, &key);
    es_commit_walk_begin(commit, &walk);
    while (status == ES_OK && es_commit_walk_transaction(&walk, &transaction)) {
        if (transaction.producer.size == 0) {
            continue;
        }
        if (iterator == NULL) {
            status = store_iterator_new(verify->store, reader_snapshot(verify->reader),
                                        STORE_PRODUCERS, &all, &iterator);
        }
        if (status == ES_OK &&
            !leads_back(iterator, transaction.producer, transaction.producer_sequence, &key)) {
            verify_report(verify, ES_FINDING_PRODUCER, no_stream, transaction.producer_sequence, 0,
                          "producer %.*s: nothing leads from number %" PRIu64 " to commit %" PRIu64,
                          (int)transaction.producer.size, transaction.producer.data,
                          transaction.producer_sequence, commit->commit_number);
        }
    }
    store_iterator_free(iterator);
    return status;
}

/* NULL if the commit in verify->value holds 'number' as the producer's last in it. */
static const char *commit_flaw(const struct verify *verify, struct es_text producer,
                               uint64_t number)
{
    struct es_commit_transaction transaction;
    struct es_commit_view view;
    struct es_commit_walk walk;
    uint64_t last = 0;

    if (es_commit_decode(verify->value.bytes, verify->value.size, &view) != ES_OK) {
        return NULL; /* damage of the commit, and told as that */
    }
    es_commit_walk_begin(&view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        if (es_text_equal(transaction.producer, producer)) {
            last = transaction.producer_sequence;
        }
    }
    return last == number ? NULL : "the receipt names a commit that does not end with the number";
}

/* NULL if the producer's own entry says at least 'number'. */
static const char *entry_flaw(struct verify *verify, struct es_text producer, uint64_t number,
                              enum es_status *ret_status)
{
    struct es_producer_value entry;
    struct es_key key;

    es_key_producer(producer, &key);
    *ret_status = verify_get(verify, STORE_PRODUCERS, &key);
    if (*ret_status == ES_NOT_FOUND) {
        return "there is a receipt but no entry";
    }
    if (*ret_status != ES_OK ||
        es_producer_value_decode(verify->value.bytes, verify->value.size, &entry) != ES_OK) {
        return NULL; /* damage of the entry, and told as that */
    }
    return entry.last_sequence >= number ? NULL : "a number was committed beyond its last one";
}

static const char *number_flaw(struct verify *verify, struct es_text producer, uint64_t number,
                               struct es_bytes value, enum es_status *ret_status)
{
    struct es_key commit = {.size = ES_COMMIT_KEY_SIZE};
    const char *flaw = NULL;

    if (value.size != ES_COMMIT_KEY_SIZE) {
        return "the receipt is malformed";
    }
    memcpy(commit.bytes, value.data, value.size);
    *ret_status = verify_get(verify, STORE_COMMITS, &commit);
    if (*ret_status == ES_NOT_FOUND) {
        return "the receipt names a commit that is not there";
    }
    if (*ret_status != ES_OK) {
        return NULL;
    }
    flaw = commit_flaw(verify, producer, number);
    return flaw != NULL ? flaw : entry_flaw(verify, producer, number, ret_status);
}

/* The producer's own entry: its last number, if it has one, leads somewhere. */
static const char *last_flaw(struct verify *verify, struct es_text producer, struct es_bytes value,
                             enum es_status *ret_status)
{
    struct es_producer_value entry;
    struct es_key key;

    if (es_producer_value_decode(value.data, value.size, &entry) != ES_OK) {
        return "the entry is malformed";
    }
    if (entry.last_sequence == 0) {
        return NULL;
    }
    es_key_producer_commit(producer, entry.last_sequence, &key);
    *ret_status = verify_get(verify, STORE_PRODUCERS, &key);
    return *ret_status == ES_NOT_FOUND ? "nothing leads to its last number" : NULL;
}

enum es_status verify_producers_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value)
{
    struct es_text producer;
    uint64_t number = 0;
    const char *flaw = NULL;
    enum es_status status = ES_OK;

    if (es_key_producer_parse(key, &producer, &number) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "a key of the family producers is malformed");
        return ES_OK;
    }
    flaw = number == 0 ? last_flaw(verify, producer, value, &status)
                       : number_flaw(verify, producer, number, value, &status);
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_PRODUCER, no_stream, number, 0, "producer %.*s: %s",
                      (int)producer.size, producer.data, flaw);
    }
    return status == ES_NOT_FOUND || status == ES_E_CORRUPT ? ES_OK : status;
}
