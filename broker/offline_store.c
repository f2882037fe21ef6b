#include "broker/offline_store.h"

#include <string.h>

#include "broker/apply.h"
#include "broker/batch_load.h"
#include "broker/process.h"

/* Everything is looked at once, some of it in another order than it lies. */
enum {
    CACHE_BYTES = 256 * 1024 * 1024
};

static enum es_status apply_record(void *context, const struct log_record *record)
{
    struct offline_store *offline = context;
    struct es_last last;
    const char *why = NULL;
    enum es_status status = batch_load(offline->batch, offline->heads, record->body,
                                       record->body_bytes, &offline->end, &last, &why);

    if (status == ES_OK) {
        status = apply_fill(offline->batch, offline->writes);
    }
    if (status == ES_OK) {
        status = store_apply(offline->overlay, offline->writes, STORE_APPLY_REPLAY);
    }
    if (status == ES_OK) {
        heads_set_applied(offline->heads, offline->end.batch_number);
    } else if (why != NULL) {
        (void)startup_explain(offline->why, status, "a record of the commit log: %s", why);
    }
    return status;
}

static enum es_status open_store(struct offline_store *offline, char why[DATA_WHY_BYTES])
{
    struct store_rocksdb_options options = {.directory = offline->directory.store_path,
                                            .logs_directory = offline->directory.store_logs_path,
                                            .mode = STORE_READ_ONLY,
                                            .cache_bytes = CACHE_BYTES};
    char store_why_text[STORE_WHY_BYTES] = "";
    char log_why_text[LOG_WHY_BYTES] = "";
    enum es_status status = data_directory_open_log(&offline->directory);

    if (status == ES_OK) {
        status = log_open(offline->directory.log_disk, DISK_READ_ONLY, log_why_text, &offline->log);
    }
    if (status != ES_OK) {
        return startup_explain(why, status, "the commit log in %s cannot be opened (%s)",
                               offline->directory.log_path, log_why_text);
    }
    options.books.number = log_origin(offline->log)->books.number;
    options.books.bytes = log_origin(offline->log)->books.bytes;
    status = store_rocksdb_open(&options, store_why_text, &offline->base);
    if (status != ES_OK) {
        return startup_explain(why, status, "the store in %s cannot be opened (%s)",
                               offline->directory.store_path, store_why_text);
    }
    return startup_find_flushed(offline->base, log_origin(offline->log), &offline->end, why);
}

/* Lays what the log holds beyond the store over it. */
static enum es_status lay_log_over(struct offline_store *offline)
{
    struct log_ending ending;
    enum es_status status = store_overlay_new(offline->base, &offline->overlay);

    if (status == ES_OK) {
        status = heads_new(offline->overlay, &offline->counters, HEADS_CACHED_MAX, &offline->heads);
    }
    if (status == ES_OK) {
        status =
            batch_new(log_body_bytes_max(&log_origin(offline->log)->geometry), &offline->batch);
    }
    if (status == ES_OK) {
        status = store_batch_new(&offline->writes);
    }
    if (status == ES_OK) {
        heads_set_applied(offline->heads, offline->end.batch_number);
        status = log_replay(offline->log, 0, apply_record, offline, &ending);
    }
    return status;
}

enum es_status offline_store_open(const char *path, struct offline_store *ret_offline)
{
    struct offline_store *offline = ret_offline;
    const struct startup_options options = {.data_path = path};
    uint8_t boot_id[ANCHOR_BOOT_ID_BYTES] = {0};
    char more[DATA_WHY_BYTES] = "";
    struct lanes_remains remains;
    enum es_status status = ES_OK;

    memset(offline, 0, sizeof *offline);
    status = data_directory_open(path, false, &offline->directory, offline->why);
    if (status != ES_OK) {
        return status;
    }
    if (process_boot_id(boot_id) != ES_OK) {
        return startup_explain(offline->why, ES_E_IO,
                               "cannot read the machine's boot id below /proc: mount /proc");
    }
    status = startup_check(&offline->directory, &options, boot_id, &offline->counters, &remains,
                           &offline->finding, offline->why);
    if (status != ES_OK && status != ES_E_CORRUPT) {
        return status;
    }
    offline->is_one_history = status == ES_OK;
    status = open_store(offline, offline->is_one_history ? offline->why : more);
    if (status == ES_OK && offline->is_one_history) {
        status = lay_log_over(offline);
    }
    if (status == ES_OK) {
        offline->store = offline->is_one_history ? offline->overlay : offline->base;
        return ES_OK;
    }
    if (!offline->is_one_history) {
        return ES_OK; /* nothing there to look at, and the damage is told */
    }
    offline->is_one_history = false;
    return status == ES_E_CORRUPT ? ES_OK : status;
}

const uint8_t *offline_store_id(const struct offline_store *offline)
{
    return log_origin(offline->log)->identity.store_id;
}

void offline_store_close(struct offline_store *offline)
{
    store_batch_free(offline->writes);
    batch_free(offline->batch);
    heads_free(offline->heads);
    store_free(offline->overlay);
    store_free(offline->base);
    log_free(offline->log);
    data_directory_close(&offline->directory);
}
