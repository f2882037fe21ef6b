#include "broker/startup_replay.h"

#include <inttypes.h>
#include <string.h>

#include "broker/apply.h"
#include "broker/epochs.h"
#include "shm/probe.h"

struct replaying {
    struct startup *startup;
    struct batch *batch;
    struct store_batch *writes;
    const struct startup_finding *checked; /* NULL: of a new store, whose log is empty */
    uint32_t records_crc32c;
    const char *why;
};

/* Several batches as one. What is applied lives in memory until the log's last record is read. */
static enum es_status apply_group(struct replaying *replaying)
{
    struct startup *startup = replaying->startup;
    enum es_status status = store_batch_order(replaying->writes, epochs_random());

    if (status == ES_OK && store_batch_count(replaying->writes) > 0) {
        status = store_apply(startup->store, replaying->writes,
                             replaying->checked == NULL ? STORE_APPLY_REPLAY : STORE_APPLY_CHECKED);
    }
    store_batch_clear(replaying->writes);
    if (status == ES_OK) {
        heads_set_applied(startup->heads, startup->end.batch_number);
    }
    return status;
}

static enum es_status replay_record(void *context, const struct log_record *record)
{
    struct replaying *replaying = context;
    struct startup *startup = replaying->startup;
    struct es_last last;
    enum es_status status = batch_load(replaying->batch, startup->heads, record->body,
                                       record->body_bytes, &startup->end, &last, &replaying->why);

    if (status == ES_OK) {
        status = apply_add(replaying->batch, replaying->writes);
    }
    if (status == ES_OK && store_batch_bytes(replaying->writes) >= STARTUP_GROUP_BYTES) {
        status = apply_group(replaying);
    }
    if (status != ES_OK) {
        return status;
    }
    replaying->records_crc32c = startup_note_record(replaying->records_crc32c, record);
    startup->replayed_batches++;
    ES_PROBE(start_record_replayed);
    if (startup->remains.is_usable && last.batch_number > startup->remains.head.batch_number) {
        es_last_note(&startup->ahead, &last);
    }
    return ES_OK;
}

/* The records that were applied are those that the check has seen: else its word is of others. */
static enum es_status end_replay(struct replaying *replaying)
{
    const struct startup_finding *checked = replaying->checked;
    const struct history_point *end = &replaying->startup->end;
    enum es_status status = apply_group(replaying);

    if (status == ES_OK && checked != NULL &&
        (replaying->records_crc32c != checked->records_crc32c ||
         end->batch_number != checked->end.batch_number ||
         memcmp(end->store_hash, checked->end.store_hash, sizeof end->store_hash) != 0)) {
        replaying->why = "it was read twice, and was not the same";
        status = ES_E_CORRUPT;
    }
    return status;
}

enum es_status startup_replay(struct startup *startup, const struct startup_finding *checked,
                              char why[DATA_WHY_BYTES])
{
    struct replaying replaying = {.startup = startup, .checked = checked};
    struct log_ending ending;
    enum es_status status =
        batch_new(log_body_bytes_max(&log_origin(startup->log)->geometry), &replaying.batch);

    if (status == ES_OK) {
        status = store_batch_new(&replaying.writes);
    }
    if (status == ES_OK) {
        status = log_replay(startup->log, 0, replay_record, &replaying, &ending);
    }
    if (status == ES_OK) {
        status = end_replay(&replaying);
    }
    if (status == ES_OK) {
        /* The page cache may hold what a sync that failed never wrote: from here
         * on nothing depends on the old segments any more. */
        ES_PROBE(start_log_replayed);
        status = store_flush_all(startup->store);
        ES_PROBE(start_store_flushed);
    }
    if (status != ES_OK) {
        startup_explain(why, status,
                        "replaying the commit log failed after batch %" PRIu64 ": %s%s%s",
                        startup->end.batch_number, es_status_text(status),
                        replaying.why != NULL ? ": " : store_why(startup->store),
                        replaying.why != NULL ? replaying.why : "");
    }
    batch_free(replaying.batch);
    store_batch_free(replaying.writes);
    return status;
}
