#include <inttypes.h>
#include <string.h>

#include "broker/stored_snapshot.h"
#include "broker/verify_state.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/last_record.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

static const struct es_text no_stream = {"", 0};

static bool is_key(struct es_bytes key, const struct es_key *expected)
{
    return es_bytes_equal(key, es_bytes_make(expected->bytes, expected->size));
}

/* ---- the family default ---- */

enum es_status verify_default_begin(struct verify *verify, struct es_bytes after)
{
    struct es_key key;
    enum es_status status = ES_OK;

    if (after.size > 0) {
        return ES_OK;
    }
    es_key_store(&key);
    status = verify_get(verify, STORE_DEFAULT, &key);
    if (status == ES_NOT_FOUND) {
        verify_report(verify, ES_FINDING_MISSING, no_stream, 0, 0,
                      "the store's identity is missing");
    }
    return status == ES_NOT_FOUND || status == ES_E_CORRUPT ? ES_OK : status;
}

static void check_category(struct verify *verify, struct es_text category, struct es_bytes value)
{
    const struct reader_run *run = NULL;
    const char *flaw = NULL;
    uint64_t position = 0;

    if (es_category_value_decode(value.data, value.size, &position) != ES_OK) {
        flaw = "is malformed";
    } else if (position == 0 || position > reader_head(verify->reader)->position) {
        flaw = "does not exist";
    } else if (reader_commit_at(verify->reader, position) != ES_OK) {
        flaw = "is in no sound commit record";
    } else {
        run = reader_run_at(verify->reader, position);
        if (!es_text_equal(es_stream_category(run->stream), category)) {
            flaw = "holds an event of another category";
        }
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_HEAD, no_stream, 0, position,
                      "the last position of category %.*s %s", (int)category.size, category.data,
                      flaw);
    }
}

static void check_identity(struct verify *verify, struct es_bytes value)
{
    struct es_store_identity identity;

    if (es_store_identity_decode(value.data, value.size, &identity) != ES_OK) {
        verify_report(verify, ES_FINDING_HEAD, no_stream, 0, 0,
                      "the store's identity is malformed");
    } else if (memcmp(identity.store_id, verify->store_id, ES_STORE_ID_SIZE) != 0) {
        verify_report(verify, ES_FINDING_HEAD, no_stream, 0, 0,
                      "the store's identity is that of another store");
    }
}

/* 'Last' tells of the newest batch: a commit it names must be there. */
static void check_last(struct verify *verify, struct es_bytes value)
{
    const struct reader_head *head = reader_head(verify->reader);
    struct es_last last;

    if (es_last_decode(value.data, value.size, &last) != ES_OK) {
        verify_report(verify, ES_FINDING_HEAD, no_stream, 0, head->position,
                      "the entry about the newest batch is malformed");
    } else if (last.commit_number > head->commit_number) {
        verify_report(verify, ES_FINDING_MISSING, no_stream, 0, head->position + 1,
                      "the newest batch made commit %" PRIu64 ", and the last there is %" PRIu64,
                      last.commit_number, head->commit_number);
    }
}

enum es_status verify_default_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value)
{
    struct es_epochs epochs;
    struct es_text category;
    struct es_key known;
    uint64_t revision = 0;

    if (es_key_category_parse(key, &category) == ES_OK) {
        check_category(verify, category, value);
    } else if (es_key_store(&known), is_key(key, &known)) {
        check_identity(verify, value);
    } else if (es_key_last(&known), is_key(key, &known)) {
        check_last(verify, value);
    } else if (es_key_epochs(&known), is_key(key, &known)) {
        if (es_epochs_decode(value.data, value.size, &epochs) != ES_OK) {
            verify_report(verify, ES_FINDING_HEAD, no_stream, 0, 0,
                          "the list of epochs is malformed");
        }
    } else if (es_key_revision(&known), is_key(key, &known)) {
        if (es_revision_value_decode(value.data, value.size, &revision) != ES_OK) {
            verify_report(verify, ES_FINDING_KEY, no_stream, 0, 0,
                          "the last key-value revision is malformed");
        }
    } /* a newer program may have more keys here */
    return ES_OK;
}

/* ---- snapshots ---- */

enum es_status verify_snapshots_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value)
{
    struct stored_snapshot stored;
    const char *flaw = NULL;

    if (stored_snapshot_read((struct store_slice){key.data, key.size},
                             (struct store_slice){value.data, value.size}, &stored) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "a key of the family snapshots is malformed");
        return ES_OK;
    }
    flaw = stored_snapshot_flaw(verify->reader, &stored);
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_SNAPSHOT, stored.stream,
                      stored.readable ? stored.value.sequence : stored.sequence, 0,
                      "the snapshot at tick %" PRIu64 " of projection '%.*s': %s", stored.tick,
                      (int)stored.projection.size, stored.projection.data, flaw);
    }
    return ES_OK;
}

/* ---- keys and values, of both families ---- */

enum es_status verify_values_begin(struct verify *verify, struct es_bytes after)
{
    struct es_key key;
    enum es_status status = ES_OK;

    (void)after;
    verify->last_revision = 0;
    es_key_revision(&key);
    status = verify_get(verify, STORE_DEFAULT, &key);
    if (status == ES_OK && es_revision_value_decode(verify->value.bytes, verify->value.size,
                                                    &verify->last_revision) != ES_OK) {
        verify->last_revision = UINT64_MAX; /* told already: not again for each key */
    }
    return status == ES_NOT_FOUND || status == ES_E_CORRUPT ? ES_OK : status;
}

enum es_status verify_values_entry(struct verify *verify, struct es_bytes key,
                                   struct es_bytes value)
{
    struct es_text name_space;
    struct es_text name;
    struct es_kv_value entry;
    const char *flaw = NULL;

    if (es_key_kv_parse(key, &name_space, &name) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "a key of a family of values is malformed");
        return ES_OK;
    }
    if (es_kv_value_decode(value.data, value.size, &entry) != ES_OK) {
        flaw = "is malformed";
    } else if (es_kv_value_verify(&entry) != ES_OK) {
        flaw = "does not match its hash";
    } else if (entry.revision > verify->last_revision) {
        flaw = "has a revision that was never given out";
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_KEY, no_stream, 0, 0, "the value of key %.*s:%.*s %s",
                      (int)name_space.size, name_space.data,
                      (int)(name.size < 200 ? name.size : 200), name.data, flaw);
    }
    return ES_OK;
}

enum es_status verify_truth_entry(struct verify *verify, struct es_bytes key, struct es_bytes value)
{
    verify->history.entries++;
    return verify_values_entry(verify, key, value);
}

enum es_status verify_truth_end(struct verify *verify)
{
    const struct verify_history *history = &verify->history;

    /* Without commits meanwhile each stored value was met once, as the change that put it. */
    if (history->whole && history->commit_number == reader_head(verify->reader)->commit_number &&
        history->entries > history->stored) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "%" PRIu64 " keys hold values that no commit has put",
                      history->entries - history->stored);
    }
    return ES_OK;
}

/* ---- consumers ---- */

enum es_status verify_consumers_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value)
{
    struct es_consumer_value entry;
    struct es_text consumer;
    const char *flaw = NULL;

    if (es_key_consumer_parse(key, &consumer) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "a key of the family consumers is malformed");
        return ES_OK;
    }
    if (es_consumer_value_decode(value.data, value.size, &entry) != ES_OK) {
        flaw = "is malformed";
    } else if (entry.position > reader_head(verify->reader)->position) {
        flaw = "lies beyond the last event";
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_MISSING, no_stream, 0, 0,
                      "the checkpoint of consumer %.*s %s", (int)consumer.size, consumer.data,
                      flaw);
    }
    return ES_OK;
}
