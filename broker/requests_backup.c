/* Backup: the broker writes, so only the owner of the store may ask for it. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "broker/backup.h"
#include "broker/logger.h"
#include "broker/request_worker.h"

enum es_status request_backup(struct request_worker *worker, const struct es_request *request,
                              struct es_bytes *ret_reply)
{
    const struct requests_config *config = worker->config;
    const struct es_text path = request->as.backup;
    char path_text[ES_BACKUP_PATH_MAX + 1];
    char why[FILE_TREE_WHY_BYTES] = "";
    struct es_store_head_item head = {.epoch = config->epoch, .start_number = config->start_number};
    struct history_point end;
    struct es_pack pack;
    enum es_status status = ES_OK;

    if (worker->uid != geteuid() && worker->uid != 0) {
        return request_say(worker, ES_E_PERMISSION,
                           "only the user that the broker runs as (uid %u) may make a backup",
                           geteuid());
    }
    if (config->backup == NULL) {
        return request_say(worker, ES_E_INVALID, "a store in memory has no backups");
    }
    memcpy(path_text, path.data, path.size);
    path_text[path.size] = '\0';
    status = backup_make(config->backup, path_text, &end, why);
    if (status != ES_OK) {
        log_warning("backup to %s: %s", path_text, why);
        return request_say(worker, status, "%s", why);
    }
    log_info("backup to %s: positions 1 to %" PRIu64, path_text, end.position);
    memcpy(head.store_hash, end.store_hash, sizeof head.store_hash);
    memcpy(head.store_id, config->store_id, sizeof head.store_id);
    head.commit_number = end.commit_number;
    es_pack_init(&pack, worker->buffer, worker->buffer_bytes);
    es_reply_begin(&pack, ES_OK, end.position, ES_STORE_HEAD_COUNT);
    es_store_head_write(&pack, &head);
    return request_reply_end(worker, &pack, ret_reply);
}
