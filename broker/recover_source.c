#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/apply.h"
#include "broker/epochs.h"
#include "broker/file_tree.h"
#include "broker/recover_state.h"
#include "broker/store_rocksdb_footers.h"
#include "broker/store_rocksdb_repair.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

enum {
    CACHE_BYTES = 256 * 1024 * 1024
};

static void know(struct recover_finding *finding, uint64_t batch, uint64_t commit,
                 uint64_t position)
{
    if (batch > finding->known_batch) {
        finding->known_batch = batch;
    }
    if (commit > finding->known_commit) {
        finding->known_commit = commit;
    }
    if (position > finding->known_position) {
        finding->known_position = position;
    }
}

/* ---- RocksDB ---------------------------------------------------------------------- */

static enum es_status open_read_only(const struct recover_source *source, const char *directory,
                                     const char *logs, char why[STORE_WHY_BYTES],
                                     struct store **ret_store)
{
    const struct store_rocksdb_options options = {.directory = directory,
                                                  .logs_directory = logs,
                                                  .mode = STORE_READ_ONLY,
                                                  .cache_bytes = CACHE_BYTES};

    (void)source;
    return store_rocksdb_open(&options, why, ret_store);
}

/* Links every table file into 'to' that RocksDB can be let to read; the store's own files are
 * only ever read. */
static bool link_tables(const char *from, const char *to)
{
    char target[DATA_PATH_BYTES_MAX + 300];
    char link[DATA_PATH_BYTES_MAX + 300];
    const struct dirent *entry = NULL;
    DIR *listing = opendir(from);
    bool done = listing != NULL;

    while (done && (entry = readdir(listing)) != NULL) {
        if (!footer_is_of_table(entry->d_name) ||
            footer_check(dirfd(listing), entry->d_name) == ES_E_CORRUPT) {
            continue;
        }
        snprintf(target, sizeof target, "%s/%s", from, entry->d_name);
        snprintf(link, sizeof link, "%s/%s", to, entry->d_name);
        done = symlink(target, link) == 0;
    }
    if (listing != NULL) {
        closedir(listing);
    }
    return done;
}

/*
 * The files that list the tables are damaged. In a directory of its own, a list is
 * made from the tables: what it then holds, the walk proves or not.
 */
static void list_anew(struct recover_source *source, struct recover_finding *finding)
{
    const char *parent = getenv("TMPDIR");
    char why[STORE_WHY_BYTES] = "";
    char absolute[DATA_PATH_BYTES_MAX + 32];
    char *real = realpath(source->directory->store_path, NULL);
    enum es_status status = ES_E_IO;

    snprintf(absolute, sizeof absolute, "%s", real != NULL ? real : "");
    free(real);
    if (parent == NULL || parent[0] != '/' || strlen(parent) > sizeof source->scratch - 32) {
        parent = "/tmp";
    }
    snprintf(source->scratch, sizeof source->scratch, "%s/eventspine-recover-XXXXXX", parent);
    if (mkdtemp(source->scratch) == NULL) {
        source->scratch[0] = '\0';
        recover_note(finding, "no temporary directory in %s: %s", parent, strerror(errno));
    } else if (link_tables(absolute, source->scratch)) {
        status = store_rocksdb_repair(source->scratch, why);
    }
    if (status == ES_OK) {
        status = open_read_only(source, source->scratch, source->scratch, why, &source->base);
    }
    finding->rocksdb = status == ES_OK ? RECOVER_ROCKSDB_LISTED : RECOVER_ROCKSDB_GONE;
    if (status != ES_OK) {
        recover_note(finding, "RocksDB's files cannot be read at all: %s",
                     why[0] != '\0' ? why : es_status_text(status));
    }
}

static enum es_status open_base(struct recover_source *source, struct recover_finding *finding,
                                char why[DATA_WHY_BYTES])
{
    char store_why_text[STORE_WHY_BYTES] = "";
    enum es_status status =
        open_read_only(source, source->directory->store_path, source->directory->store_logs_path,
                       store_why_text, &source->base);

    if (status == ES_OK) {
        return ES_OK;
    }
    if (status == ES_E_VERSION || status == ES_E_BUSY || status == ES_E_NO_MEMORY) {
        return startup_explain(why, status, "the store in %s cannot be opened: %s",
                               source->directory->store_path, store_why_text);
    }
    recover_note(finding, "rocksdb: %s",
                 status == ES_NOT_FOUND ? "it is not there" : store_why_text);
    if (status == ES_NOT_FOUND) {
        finding->rocksdb = RECOVER_ROCKSDB_GONE;
    } else {
        list_anew(source, finding);
    }
    return finding->rocksdb == RECOVER_ROCKSDB_GONE ? store_memory_new(&source->base) : ES_OK;
}

/* ---- who it is ---------------------------------------------------------------------- */

static bool base_id(const struct recover_source *source, uint8_t *ret_id,
                    enum es_status *ret_status)
{
    struct store_buffer value = {0};
    struct es_store_identity identity;
    struct es_key key;
    bool found = false;

    es_key_store(&key);
    *ret_status = ES_OK;
    if (store_get(source->base, NULL, STORE_DEFAULT, (struct store_slice){key.bytes, key.size},
                  &value) == ES_OK &&
        es_store_identity_decode(value.bytes, value.size, &identity) == ES_OK) {
        found = true;
        memcpy(ret_id, identity.store_id, ES_STORE_ID_SIZE);
        if (identity.format_version > ES_STORE_FORMAT_VERSION) {
            *ret_status = ES_E_VERSION;
        }
    }
    store_buffer_deinit(&value);
    return found;
}

/* RocksDB's word counts before the log's, the log's before the anchor's. */
static enum es_status find_identity(struct recover_source *source, struct recover_finding *finding,
                                    char why[DATA_WHY_BYTES])
{
    enum es_status status = ES_OK;

    if (!base_id(source, finding->store_id, &status)) {
        if (source->log != NULL) {
            memcpy(finding->store_id, log_origin(source->log)->identity.store_id, ES_STORE_ID_SIZE);
        } else if (source->has_anchor) {
            memcpy(finding->store_id, source->anchor.store_id, ES_STORE_ID_SIZE);
        } else {
            return startup_explain(why, ES_E_CORRUPT,
                                   "nothing in %s can be read that says which store it is: "
                                   "restore a backup; nothing was changed",
                                   source->directory->path);
        }
    }
    if (status != ES_OK) {
        return startup_explain(why, status,
                               "the store was written by a newer Eventspine: use "
                               "that one; nothing was changed");
    }
    if (source->log != NULL && memcmp(log_origin(source->log)->identity.store_id, finding->store_id,
                                      ES_STORE_ID_SIZE) != 0) {
        recover_note(finding, "log: it belongs to another store, and is not used");
        log_free(source->log);
        source->log = NULL;
    }
    if (source->has_anchor &&
        memcmp(source->anchor.store_id, finding->store_id, ES_STORE_ID_SIZE) != 0) {
        recover_note(finding, "anchor: it belongs to another store, and is not used");
        source->has_anchor = false;
    }
    return ES_OK;
}

static void find_epoch(struct recover_source *source, struct recover_finding *finding)
{
    if (source->has_anchor) {
        finding->epoch = source->anchor.epoch;
        know(finding, source->anchor.batch_number, source->anchor.commit_number,
             source->anchor.position);
    }
    if (source->log != NULL) {
        finding->epoch = log_origin(source->log)->identity.epoch;
        know(finding, log_origin(source->log)->flushed.batch_number, 0, 0);
    }
    if (epochs_load(source->base, NULL, &source->epochs) != ES_OK) {
        source->epochs.count = 0;
    }
    if (source->epochs.count > 0 && finding->epoch == 0) {
        finding->epoch = source->epochs.entries[source->epochs.count - 1].epoch;
    } else if (source->epochs.count == 0 && finding->epoch != 0) {
        source->epochs.count = 1;
        source->epochs.entries[0] = (struct es_epoch_entry){finding->epoch, 1};
    }
}

/* ---- the log over it ------------------------------------------------------------------ */

/* What the newest commit that can be read says, proven or not. */
static void know_newest_commit(struct store *store, struct recover_finding *finding,
                               struct history_point *point)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct es_commit_view view;

    if (store_iterator_new(store, NULL, STORE_COMMITS, &all, &iterator) != ES_OK) {
        return;
    }
    store_iterator_seek_last(iterator);
    if (store_iterator_valid(iterator)) {
        struct store_slice value = store_iterator_value(iterator);

        if (es_commit_decode(value.bytes, value.size, &view) == ES_OK) {
            know(finding, 0, view.commit_number, es_commit_last_position(&view));
            point->commit_number = view.commit_number;
            point->position = es_commit_last_position(&view);
            point->time_us = view.time_us;
            memcpy(point->store_hash, view.store_hash, ES_HASH_SIZE);
        }
    }
    store_iterator_free(iterator);
}

/* The batch that RocksDB says it holds; 0: it does not say. */
static uint64_t base_batch(const struct recover_source *source)
{
    struct store_buffer value = {0};
    struct es_last last = {.batch_number = 0};
    struct es_key key;

    es_key_last(&key);
    if (store_get(source->base, NULL, STORE_DEFAULT, (struct store_slice){key.bytes, key.size},
                  &value) != ES_OK ||
        es_last_decode(value.bytes, value.size, &last) != ES_OK) {
        last.batch_number = 0;
    }
    store_buffer_deinit(&value);
    return last.batch_number;
}

static enum es_status apply_record(void *context, const struct log_record *record)
{
    struct recover_source *source = context;
    const char *why = NULL;
    struct es_last last;
    enum es_status status = batch_load(source->batch, source->heads, record->body,
                                       record->body_bytes, &source->point, &last, &why);

    if (status == ES_OK) {
        status = apply_fill(source->batch, source->writes);
    }
    if (status == ES_OK) {
        status = store_apply(source->store, source->writes, STORE_APPLY_REPLAY);
    }
    if (status == ES_OK) {
        heads_set_applied(source->heads, source->point.batch_number);
    }
    return status;
}

/* From where the log is laid over RocksDB: its flushed batch, or what RocksDB holds. */
static void choose_point(struct recover_source *source, struct recover_finding *finding)
{
    char why[DATA_WHY_BYTES] = "";

    if (startup_find_flushed(source->base, log_origin(source->log), &source->point, why) == ES_OK) {
        return;
    }
    recover_note(finding,
                 "rocksdb: it does not hold batch %llu, which the log says was flushed "
                 "into it",
                 (unsigned long long)log_origin(source->log)->flushed.batch_number);
    memset(&source->point, 0, sizeof source->point);
    es_store_hash_genesis(finding->store_id, source->point.store_hash);
    know_newest_commit(source->base, finding, &source->point);
    source->point.batch_number = base_batch(source);
    log_rewind(source->log, source->point.batch_number);
}

static enum es_status lay_log_over(struct recover_source *source, struct recover_finding *finding)
{
    struct log_ending ending = {.vouched_batch = 0};
    enum es_status status =
        heads_new(source->store, &source->counters, HEADS_CACHED_MAX, &source->heads);

    if (status == ES_OK) {
        status = batch_new(log_body_bytes_max(&source->geometry), &source->batch);
    }
    if (status == ES_OK) {
        status = store_batch_new(&source->writes);
    }
    finding->is_log_damaged = source->log == NULL;
    if (status != ES_OK || source->log == NULL) {
        return status;
    }
    choose_point(source, finding);
    heads_set_applied(source->heads, source->point.batch_number);
    status = log_replay(source->log, finding->known_batch, apply_record, source, &ending);
    if (status == ES_E_NO_MEMORY) {
        return status;
    }
    if (status != ES_OK) {
        recover_note(finding, "log: it is damaged after batch %llu: %s",
                     (unsigned long long)source->point.batch_number, es_status_text(status));
    } else if (ending.verdict == LOG_DAMAGED) {
        recover_note(finding, "log: %s", ending.what);
    }
    finding->is_log_damaged = status != ES_OK || ending.verdict == LOG_DAMAGED;
    know(finding, ending.vouched_batch, 0, 0);
    return ES_OK;
}

/* ---- opening ----------------------------------------------------------------------------- */

static void open_log(struct recover_source *source, struct recover_finding *finding)
{
    char why[LOG_WHY_BYTES] = "";
    enum es_status status = data_directory_open_log(source->directory);

    if (status == ES_OK) {
        status = log_open(source->directory->log_disk, DISK_READ_ONLY, why, &source->log);
    }
    if (status != ES_OK) {
        source->log = NULL;
        recover_note(finding, "log: %s", why[0] != '\0' ? why : es_status_text(status));
    } else {
        source->geometry = log_origin(source->log)->geometry;
    }
}

static void open_anchor(struct recover_source *source, struct recover_finding *finding)
{
    struct anchor *anchor = NULL;
    enum es_status status = anchor_open(source->directory->disk, DATA_ANCHOR_NAME, DISK_READ_ONLY,
                                        &source->anchor, &anchor);

    source->has_anchor = status == ES_OK;
    if (status != ES_OK) {
        recover_note(finding, "anchor: %s",
                     status == ES_NOT_FOUND ? "it is not there" : es_status_text(status));
    }
    anchor_free(anchor);
}

enum es_status recover_source_open(struct recover_source *source, struct data_directory *directory,
                                   struct recover_finding *finding, char why[DATA_WHY_BYTES])
{
    struct history_point newest = {0};
    enum es_status status = ES_OK;

    memset(source, 0, sizeof *source);
    source->directory = directory;
    source->geometry = (struct log_geometry){LOG_SEGMENT_COUNT_DEFAULT, LOG_SEGMENT_BYTES_DEFAULT};
    open_anchor(source, finding);
    open_log(source, finding);
    status = open_base(source, finding, why);
    if (status == ES_OK) {
        status = find_identity(source, finding, why);
    }
    if (status != ES_OK) {
        return status;
    }
    find_epoch(source, finding);
    know(finding, base_batch(source), 0, 0);
    status = store_overlay_new(source->base, &source->store);
    if (status == ES_OK) {
        status = lay_log_over(source, finding);
    }
    if (status != ES_OK) {
        return startup_explain(why, status, "cannot look at what is left: %s",
                               es_status_text(status));
    }
    know_newest_commit(source->store, finding, &newest);
    return ES_OK;
}

static void remove_scratch(const struct recover_source *source)
{
    int fd = -1;
    const char *name = NULL;
    char why[FILE_TREE_WHY_BYTES];

    if (source->scratch[0] != '\0' &&
        file_tree_open_parent(source->scratch, &fd, &name, why) == ES_OK) {
        (void)!file_tree_remove(fd, name);
        close(fd);
    }
}

void recover_source_close(struct recover_source *source)
{
    store_batch_free(source->writes);
    batch_free(source->batch);
    heads_free(source->heads);
    store_free(source->store);
    store_free(source->base);
    log_free(source->log);
    if (source->directory != NULL) {
        disk_free(source->directory->log_disk);
        source->directory->log_disk = NULL;
    }
    remove_scratch(source);
}
