#include "broker/startup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/epochs.h"
#include "broker/process.h"
#include "broker/settle.h"
#include "broker/startup_check.h"
#include "broker/startup_epoch.h"
#include "broker/startup_replay.h"
#include "shm/codec/hash.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/probe.h"

static enum es_status open_store(struct startup *startup, const struct startup_options *options,
                                 enum store_mode mode, const struct log_geometry *geometry,
                                 char why[DATA_WHY_BYTES])
{
    char store_why_text[STORE_WHY_BYTES] = "";
    struct store_rocksdb_options rocksdb = {
        .directory = startup->directory.store_path,
        .logs_directory = startup->directory.store_logs_path,
        .mode = mode,
        .unflushed_bytes_max = geometry->segment_bytes * geometry->segment_count,
    };
    const struct log_books *books = startup->log == NULL ? NULL : &log_origin(startup->log)->books;

    enum es_status status = ES_OK;

    if (books != NULL) {
        rocksdb.books = (struct store_books){books->number, books->bytes};
    }
    status = options->in_memory ? store_memory_new(&startup->store)
                                : store_rocksdb_open(&rocksdb, store_why_text, &startup->store);
    if (status != ES_OK) {
        startup_explain(why, status, "cannot open the store in %s: %s",
                        startup->directory.store_path, store_why_text);
    }
    return status;
}

/* Whatever RocksDB notes from now on may be torn by a power cut: up to here it may not. */
static enum es_status note_books(struct startup *startup, char why[DATA_WHY_BYTES])
{
    struct store_books books;
    enum es_status status = store_books(startup->store, &books);

    if (status == ES_OK) {
        status = log_note_books(startup->log, &(struct log_books){books.number, books.bytes});
    }
    return status == ES_OK ? status
                           : startup_explain(why, status, "cannot note what %s holds: %s%s",
                                             startup->directory.store_path,
                                             store_why(startup->store), log_why(startup->log));
}

static enum es_status put_default(struct store_batch *writes, const struct es_key *key,
                                  const void *value, uint32_t size)
{
    return store_batch_put(writes, STORE_DEFAULT, (struct store_slice){key->bytes, key->size},
                           (struct store_slice){value, size});
}

/* Writes who the store is, and which history: not by way of the log, for there
 * is none yet, or it is about to begin anew. */
static enum es_status write_identity(struct startup *startup, const struct es_epochs *epochs)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    struct es_store_identity identity = {.format_version = ES_STORE_FORMAT_VERSION};
    struct store_batch *writes = NULL;
    struct es_key key;
    uint32_t size = 0;
    enum es_status status = store_batch_new(&writes);

    if (status != ES_OK) {
        return status;
    }
    memcpy(identity.store_id, startup->state.store_id, ES_STORE_ID_SIZE);
    status = es_store_identity_encode(&identity, value, sizeof value, &size);
    es_key_store(&key);
    if (status == ES_OK) {
        status = put_default(writes, &key, value, size);
    }
    if (status == ES_OK) {
        status = es_epochs_encode(epochs, value, sizeof value, &size);
    }
    es_key_epochs(&key);
    if (status == ES_OK) {
        status = put_default(writes, &key, value, size);
    }
    if (status == ES_OK) {
        status = store_apply(startup->store, writes, STORE_APPLY_REPLAY);
    }
    if (status == ES_OK) {
        status = store_flush_all(startup->store);
    }
    store_batch_free(writes);
    ES_PROBE(creation_identity_flushed);
    return status;
}

static enum es_status create_contents(struct startup *startup,
                                      const struct startup_options *options,
                                      char why[DATA_WHY_BYTES])
{
    struct data_directory *directory = &startup->directory;
    struct es_epochs epochs = {.count = 1, .entries = {{startup->state.epoch, 1}}};
    char log_why_text[LOG_WHY_BYTES] = "";
    struct log_identity identity = {.epoch = startup->state.epoch};
    struct log_point start = {.batch_number = 0};
    enum es_status status = open_store(startup, options, STORE_CREATE, &options->geometry, why);

    if (status != ES_OK) {
        return status;
    }
    status = write_identity(startup, &epochs);
    if (status == ES_OK) {
        status = data_directory_open_log(directory);
    }
    if (status == ES_OK) {
        epochs_random_bytes(&identity.secret, sizeof identity.secret);
        memcpy(identity.store_id, startup->state.store_id, sizeof identity.store_id);
        memcpy(start.store_hash, startup->state.store_hash, sizeof start.store_hash);
        status = log_create(directory->log_disk, &identity, &options->geometry, &start);
        ES_PROBE(creation_log_made);
    }
    if (status == ES_OK) {
        status = log_open(directory->log_disk, DISK_READ_WRITE, log_why_text, &startup->log);
    }
    if (status == ES_OK) {
        status =
            anchor_create(directory->disk, DATA_ANCHOR_NAME, &startup->state, &startup->anchor);
        ES_PROBE(creation_anchor_made);
    }
    if (status == ES_OK) {
        status = data_directory_end_creation(directory);
        ES_PROBE(creation_ended);
    }
    if (status != ES_OK) {
        startup_explain(why, status,
                        "cannot make a store in %s: %s (%s): make room, or name "
                        "another directory",
                        directory->path, es_status_text(status), strerror(errno));
    }
    return status;
}

static enum es_status create(struct startup *startup, const struct startup_options *options,
                             char why[DATA_WHY_BYTES])
{
    enum es_status status = data_directory_begin_creation(&startup->directory, why);

    if (status != ES_OK) {
        return status;
    }
    epochs_random_bytes(startup->state.store_id, sizeof startup->state.store_id);
    startup->state.epoch = epochs_random();
    startup->state.durability = options->durability;
    memcpy(startup->state.boot_id, startup->boot_id, sizeof startup->boot_id);
    es_store_hash_genesis(startup->state.store_id, startup->state.store_hash);
    memcpy(startup->end.store_hash, startup->state.store_hash, ES_HASH_SIZE);
    return create_contents(startup, options, why);
}

static enum es_status begin_epoch(struct startup *startup)
{
    struct es_epochs epochs;
    enum es_status status = epochs_load(startup->store, NULL, &epochs);

    if (status != ES_OK) {
        return status;
    }
    startup->state.epoch = epochs_random();
    epochs_begin(&epochs, startup->state.epoch, startup->end.position + 1);
    return write_identity(startup, &epochs);
}

static enum es_status open_for_writing(struct startup *startup,
                                       const struct startup_options *options,
                                       const struct startup_finding *finding,
                                       struct counters *counters, char why[DATA_WHY_BYTES])
{
    struct data_directory *directory = &startup->directory;
    char log_why_text[LOG_WHY_BYTES] = "";
    enum es_status status = data_directory_open_log(directory);

    if (status == ES_OK) {
        status = log_open(directory->log_disk, DISK_READ_WRITE, log_why_text, &startup->log);
    }
    if (status == ES_OK) {
        status = anchor_open(directory->disk, DATA_ANCHOR_NAME, DISK_READ_WRITE, &startup->state,
                             &startup->anchor);
        ES_PROBE(start_log_opened);
    }
    if (status != ES_OK) {
        return startup_explain(why, status, "cannot open %s for writing: %s %s", directory->path,
                               es_status_text(status), log_why_text);
    }
    status =
        open_store(startup, options, STORE_READ_WRITE, &log_origin(startup->log)->geometry, why);
    if (status != ES_OK) {
        return status;
    }
    status = note_books(startup, why);
    if (status != ES_OK) {
        return status;
    }
    startup->end = finding->flushed;
    startup->state.epoch = finding->epoch; /* the anchor may be of an earlier one */
    ES_PROBE(start_store_opened);
    status = heads_new(startup->store, counters, HEADS_CACHED_MAX, &startup->heads);
    if (status != ES_OK) {
        return startup_explain(why, status, "not enough memory");
    }
    heads_set_applied(startup->heads, startup->end.batch_number);
    status = startup_replay(startup, finding, why);
    if (status == ES_OK &&
        startup_begins_epoch(&startup->directory, &startup->state, startup->boot_id)) {
        status = begin_epoch(startup);
    }
    return status;
}

/* The last step: from here on this start, and no other, continues the history. */
static enum es_status begin(struct startup *startup, const struct startup_options *options,
                            char why[DATA_WHY_BYTES])
{
    struct log_point point = {.batch_number = startup->end.batch_number};
    enum es_status status = ES_OK;

    memcpy(point.store_hash, startup->end.store_hash, LOG_HASH_BYTES);
    startup->state.start_number++;
    startup->state.clean = false;
    startup->state.durability = options->durability;
    startup->state.batch_number = startup->end.batch_number;
    startup->state.commit_number = startup->end.commit_number;
    startup->state.position = startup->end.position;
    memcpy(startup->state.boot_id, startup->boot_id, sizeof startup->boot_id);
    memcpy(startup->state.store_hash, startup->end.store_hash, ES_HASH_SIZE);
    /* A start that dies before log_begin() replays again what the control page has
     * not seen; one that dies behind it cannot, so the page must know by then. */
    if (options->take_over != NULL) {
        status = options->take_over(options->take_over_context, startup);
    }
    if (status != ES_OK) {
        return status;
    }
    ES_PROBE(start_memory_taken_over);
    status = note_books(startup, why);
    if (status != ES_OK) {
        return status;
    }
    status = log_begin(startup->log, startup->state.epoch, &point);
    if (status != ES_OK) {
        return startup_explain(why, status, "cannot begin a segment of the commit log: %s",
                               log_why(startup->log));
    }
    ES_PROBE(start_log_begun);
    status = anchor_write(startup->anchor, &startup->state);
    if (status != ES_OK) {
        return startup_explain(why, status, "cannot write the anchor of %s: %s",
                               startup->directory.path, strerror(errno));
    }
    ES_PROBE(start_anchor_written);
    /* Only now: a start that dies before begins a new epoch once more. */
    if (data_directory_end_restore(&startup->directory) != ES_OK) {
        return startup_explain(why, ES_E_IO, "cannot take the mark of a backup from %s: %s",
                               startup->directory.path, strerror(errno));
    }
    return ES_OK;
}

static bool is_new(const struct startup *startup, const struct startup_options *options)
{
    const struct data_directory *directory = &startup->directory;

    return options->in_memory || data_directory_has(directory, DATA_CREATING_NAME) ||
           (!data_directory_has(directory, DATA_ANCHOR_NAME) &&
            !data_directory_has(directory, "log") && !data_directory_has(directory, "rocksdb"));
}

/*
 * The mark of a creation means that nothing was ever acknowledged, and all there is may go.
 * A store that has been started is none of these, however the mark came there.
 */
static enum es_status check_creation(const struct startup *startup, char why[DATA_WHY_BYTES])
{
    const struct data_directory *directory = &startup->directory;
    struct anchor_state state = {.start_number = 0};
    struct anchor *anchor = NULL;

    if (!data_directory_has(directory, DATA_CREATING_NAME) ||
        !data_directory_has(directory, DATA_ANCHOR_NAME) ||
        anchor_open(directory->disk, DATA_ANCHOR_NAME, DISK_READ_ONLY, &state, &anchor) != ES_OK) {
        return ES_OK;
    }
    anchor_free(anchor);
    return state.start_number == 0
               ? ES_OK
               : startup_explain(why, ES_E_CORRUPT,
                                 "the mark %s/" DATA_CREATING_NAME " says that no store was ever "
                                 "finished there, but there is one that was started %" PRIu64
                                 " times: remove the mark to keep it; nothing was changed",
                                 directory->path, state.start_number);
}

enum es_status startup_open(const struct startup_options *options, struct counters *counters,
                            struct startup *ret_startup, char why[DATA_WHY_BYTES])
{
    struct startup *startup = ret_startup;
    struct startup_finding finding;
    enum es_status status = ES_OK;

    memset(startup, 0, sizeof *startup);
    if (process_boot_id(startup->boot_id) != ES_OK) {
        return startup_explain(why, ES_E_IO,
                               "cannot read the machine's boot id below /proc: "
                               "mount /proc");
    }
    status = data_directory_open(options->data_path, true, &startup->directory, why);
    if (status != ES_OK) {
        return status;
    }
    ES_PROBE(start_data_locked);
    if (data_directory_has(&startup->directory, DATA_RECOVERING_NAME)) {
        status = startup_explain(why, ES_E_CORRUPT,
                                 "a recovery of %s was cut short: run `esctl recover --data %s "
                                 "--accept-loss` again, which goes on where it was",
                                 options->data_path, options->data_path);
    } else if (options->in_memory && data_directory_has(&startup->directory, "rocksdb")) {
        status = startup_explain(why, ES_E_EXISTS,
                                 "%s holds a store on disk: name another "
                                 "directory for --store memory",
                                 options->data_path);
    } else if (is_new(startup, options)) {
        status = check_creation(startup, why);
        if (status == ES_OK) {
            status = create(startup, options, why);
        }
        if (status == ES_OK) {
            status = heads_new(startup->store, counters, HEADS_CACHED_MAX, &startup->heads);
        }
        if (status == ES_OK) {
            status = startup_replay(startup, NULL, why);
        }
    } else {
        status = settle(&startup->directory, why);
        if (status == ES_OK) {
            status = startup_check(&startup->directory, options, startup->boot_id, counters,
                                   &startup->remains, &finding, why);
        }
        ES_PROBE(start_checked);
        if (status == ES_OK) {
            status = open_for_writing(startup, options, &finding, counters, why);
        }
    }
    if (status == ES_OK) {
        status = begin(startup, options, why);
    }
    if (status != ES_OK) {
        startup_close(startup);
    }
    return status;
}

void startup_close(struct startup *startup)
{
    heads_free(startup->heads);
    anchor_free(startup->anchor);
    log_free(startup->log);
    store_free(startup->store);
    data_directory_close(&startup->directory);
    startup->heads = NULL;
    startup->anchor = NULL;
    startup->log = NULL;
    startup->store = NULL;
}
