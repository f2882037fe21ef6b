/*
 * Fuzzes the anchor file as a start finds it. What is taken for sound can be continued:
 * written and read again it is the same.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/anchor.h"
#include "tests/support/sim_disk.h"

enum {
    FILE_BYTES_MAX = 2 * ANCHOR_FILE_BYTES
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void make_file(struct disk *disk, const uint8_t *data, size_t size)
{
    struct disk_file *file = NULL;
    size_t file_bytes = 0;
    uint8_t *bytes = NULL;

    require(disk_create(disk, "anchor", 1, &file) == ES_OK);
    disk_close(file);
    sim_disk_resize(disk, "anchor", size);
    bytes = sim_disk_bytes(disk, "anchor", &file_bytes);
    if (size > 0) {
        memcpy(bytes, data, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk *disk = NULL;
    struct anchor *anchor = NULL;
    struct anchor_state state;
    struct anchor_state again;
    enum es_status status = ES_OK;

    if (size > FILE_BYTES_MAX) {
        return 0;
    }
    disk = sim_disk_new(1);
    make_file(disk, data, size);
    memset(&state, 0, sizeof state);
    memset(&again, 0, sizeof again);
    status = anchor_open(disk, "anchor", DISK_READ_WRITE, &state, &anchor);
    require(status == ES_OK || status == ES_E_CORRUPT || status == ES_E_VERSION);
    if (status == ES_OK) {
        state.batch_number++;
        require(anchor_write(anchor, &state) == ES_OK);
        anchor_free(anchor);
        require(anchor_open(disk, "anchor", DISK_READ_ONLY, &again, &anchor) == ES_OK);
        require(again.batch_number == state.batch_number && again.clean == state.clean &&
                again.position == state.position && again.durability == state.durability &&
                memcmp(again.store_hash, state.store_hash, sizeof state.store_hash) == 0);
        anchor_free(anchor);
    }
    disk_free(disk);
    return 0;
}
