#include "broker/startup_epoch.h"

#include <inttypes.h>
#include <string.h>

#include "broker/epochs.h"

bool startup_begins_epoch(const struct data_directory *directory, const struct anchor_state *anchor,
                          const uint8_t *boot_id)
{
    return data_directory_has(directory, DATA_BACKUP_NAME) ||
           (anchor->durability == ANCHOR_OS && !anchor->clean &&
            memcmp(anchor->boot_id, boot_id, sizeof anchor->boot_id) != 0);
}

/* The hashes tell nothing: an original and what was restored from its backup are equal up to
 * the first commit after it. */
enum es_status startup_check_epoch(const struct data_directory *directory, struct store *store,
                                   const struct startup_finding *finding, const uint8_t *boot_id,
                                   char why[DATA_WHY_BYTES])
{
    struct es_epochs epochs;
    uint64_t newest = 0;
    uint64_t end = 0;
    enum es_status status = epochs_load(store, NULL, &epochs);

    if (status != ES_OK) {
        return startup_explain(
            why, status, "the list of epochs in %s cannot be read (%s): " STARTUP_RESTORE_HINT,
            directory->store_path, es_status_text(status));
    }
    if (startup_begins_epoch(directory, &finding->anchor, boot_id)) {
        return ES_OK;
    }
    newest = epochs.entries[epochs.count - 1].epoch;
    if (newest != finding->epoch) {
        return startup_explain(why, ES_E_CORRUPT,
                               "the commit log is of epoch %016" PRIx64 ", and rocksdb/ of epoch "
                               "%016" PRIx64 ": they are of an original and of what was restored "
                               "or recovered from it: " STARTUP_RESTORE_HINT,
                               finding->epoch, newest);
    }
    if (epochs_find_end(&epochs, finding->anchor.epoch, 0, &end) != ES_OK) {
        return startup_explain(why, ES_E_CORRUPT,
                               "the anchor is of epoch %016" PRIx64 ", which the store of epoch "
                               "%016" PRIx64 " has never had: they are of an original and of what "
                               "was restored or recovered from it: " STARTUP_RESTORE_HINT,
                               finding->anchor.epoch, newest);
    }
    return ES_OK;
}
