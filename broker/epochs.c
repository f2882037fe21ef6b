#include "broker/epochs.h"

#include <string.h>
#include <sys/random.h>

#include "shm/codec/store_key.h"

void epochs_random_bytes(void *ret_bytes, size_t size)
{
    while (getrandom(ret_bytes, size, 0) != (ssize_t)size) {
    }
}

uint64_t epochs_random(void)
{
    uint64_t epoch = 0;

    while (epoch == 0) {
        epochs_random_bytes(&epoch, sizeof epoch);
    }
    return epoch;
}

enum es_status epochs_load(struct store *store, const struct store_snapshot *snapshot,
                           struct es_epochs *ret_epochs)
{
    struct store_buffer value = {0};
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_epochs(&key);
    status = store_get(store, snapshot, STORE_DEFAULT, (struct store_slice){key.bytes, key.size},
                       &value);
    if (status == ES_OK) {
        status = es_epochs_decode(value.bytes, value.size, ret_epochs);
    }
    store_buffer_deinit(&value);
    return status == ES_NOT_FOUND ? ES_E_CORRUPT : status;
}

/*
 * The oldest that has no position of its own; if each has, the oldest. A machine that falls
 * again and again as it starts begins one with each start. The newest must stay: a control
 * page may be of it, and who was served under it last is told where the histories part.
 */
static uint32_t find_dispensable(const struct es_epochs *epochs, uint64_t first_position)
{
    for (uint32_t i = 0; i < epochs->count; i++) {
        uint64_t next_position =
            i + 1 < epochs->count ? epochs->entries[i + 1].first_position : first_position;

        if (epochs->entries[i].first_position == next_position) {
            return i;
        }
    }
    return 0;
}

void epochs_begin(struct es_epochs *epochs, uint64_t epoch, uint64_t first_position)
{
    /* One that began behind the cut keeps nothing of its own but what went before it, so
     * whoever was served under it is told where the histories part. */
    for (uint32_t i = epochs->count;
         i > 0 && epochs->entries[i - 1].first_position > first_position; i--) {
        epochs->entries[i - 1].first_position = first_position;
    }
    if (epochs->count == ES_EPOCH_COUNT_MAX) {
        uint32_t at = find_dispensable(epochs, first_position);

        epochs->count--;
        memmove(&epochs->entries[at], &epochs->entries[at + 1],
                (epochs->count - at) * sizeof epochs->entries[0]);
    }
    epochs->entries[epochs->count].epoch = epoch;
    epochs->entries[epochs->count].first_position = first_position;
    epochs->count++;
}

enum es_status epochs_find_end(const struct es_epochs *epochs, uint64_t epoch,
                               uint64_t head_position, uint64_t *ret_position)
{
    for (uint32_t i = 0; i < epochs->count; i++) {
        if (epochs->entries[i].epoch == epoch) {
            *ret_position =
                i + 1 < epochs->count ? epochs->entries[i + 1].first_position - 1 : head_position;
            return ES_OK;
        }
    }
    return ES_NOT_FOUND;
}
