/*
 *   slot, 256 bytes at 0 and at 4096 of a file of 8192 bytes
 *     0 magic "ESANCHOR" | 8 format | 12 durability | 16 store_id
 *    32 boot_id | 48 epoch | 56 start_number | 64 batch_number
 *    72 commit_number | 80 position | 88 store_hash | 120 clean (0 or 1)
 *   124 zeros | 128 revision | 136 zeros | 252 CRC32C of 0..251
 */
#include "broker/anchor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "shm/codec/cursor.h"
#include "shm/crc32c.h"
#include "shm/probe.h"

enum {
    ANCHOR_FORMAT = 1,
    SLOT_COUNT = 2,
    SLOT_BYTES = 256,
    SLOT_STRIDE = ANCHOR_FILE_BYTES / SLOT_COUNT,
    CRC_OFFSET = SLOT_BYTES - 4
};

static const uint8_t magic[8] = {'E', 'S', 'A', 'N', 'C', 'H', 'O', 'R'};

struct anchor {
    struct disk_file *file;
    enum disk_access access;
    uint64_t revision; /* of the newest slot; its lowest bit names the slot */
};

static void slot_encode(const struct anchor_state *state, uint64_t revision,
                        uint8_t ret_slot[SLOT_BYTES])
{
    struct es_cursor cursor;

    es_cursor_init(&cursor, ret_slot, SLOT_BYTES);
    es_cursor_put_bytes(&cursor, magic, sizeof magic);
    es_cursor_put_u32(&cursor, ANCHOR_FORMAT);
    es_cursor_put_u32(&cursor, (uint32_t)state->durability);
    es_cursor_put_bytes(&cursor, state->store_id, ANCHOR_STORE_ID_BYTES);
    es_cursor_put_bytes(&cursor, state->boot_id, ANCHOR_BOOT_ID_BYTES);
    es_cursor_put_u64(&cursor, state->epoch);
    es_cursor_put_u64(&cursor, state->start_number);
    es_cursor_put_u64(&cursor, state->batch_number);
    es_cursor_put_u64(&cursor, state->commit_number);
    es_cursor_put_u64(&cursor, state->position);
    es_cursor_put_bytes(&cursor, state->store_hash, ANCHOR_HASH_BYTES);
    es_cursor_put_u32(&cursor, state->clean ? 1 : 0);
    es_cursor_put_u32(&cursor, 0);
    es_cursor_put_u64(&cursor, revision);
    es_cursor_put_zeros_to(&cursor, CRC_OFFSET);
    es_cursor_put_u32(&cursor, es_crc32c(0, ret_slot, CRC_OFFSET));
    assert(es_cursor_ok(&cursor));
}

static enum es_status slot_decode(const uint8_t slot[SLOT_BYTES], struct anchor_state *ret_state,
                                  uint64_t *ret_revision)
{
    struct anchor_state state;
    struct es_cursor cursor;
    struct es_cursor crc;
    uint32_t format = 0;
    uint32_t durability = 0;
    uint32_t clean = 0;

    es_cursor_init_read(&crc, slot + CRC_OFFSET, 4);
    if (memcmp(slot, magic, sizeof magic) != 0 ||
        es_cursor_get_u32(&crc) != es_crc32c(0, slot, CRC_OFFSET)) {
        return ES_E_CORRUPT;
    }
    es_cursor_init_read(&cursor, slot + sizeof magic, SLOT_BYTES - sizeof magic);
    format = es_cursor_get_u32(&cursor);
    if (format != ANCHOR_FORMAT) {
        return format > ANCHOR_FORMAT ? ES_E_VERSION : ES_E_CORRUPT;
    }
    memset(&state, 0, sizeof state);
    durability = es_cursor_get_u32(&cursor);
    es_cursor_get_bytes(&cursor, state.store_id, ANCHOR_STORE_ID_BYTES);
    es_cursor_get_bytes(&cursor, state.boot_id, ANCHOR_BOOT_ID_BYTES);
    state.epoch = es_cursor_get_u64(&cursor);
    state.start_number = es_cursor_get_u64(&cursor);
    state.batch_number = es_cursor_get_u64(&cursor);
    state.commit_number = es_cursor_get_u64(&cursor);
    state.position = es_cursor_get_u64(&cursor);
    es_cursor_get_bytes(&cursor, state.store_hash, ANCHOR_HASH_BYTES);
    clean = es_cursor_get_u32(&cursor);
    (void)es_cursor_get_u32(&cursor);
    *ret_revision = es_cursor_get_u64(&cursor);
    if (!es_cursor_ok(&cursor) || clean > 1 ||
        (durability != ANCHOR_FSYNC && durability != ANCHOR_OS)) {
        return ES_E_CORRUPT;
    }
    state.durability = (enum anchor_durability)durability;
    state.clean = clean == 1;
    *ret_state = state;
    return ES_OK;
}

static enum es_status slot_write(struct anchor *anchor, const struct anchor_state *state)
{
    uint64_t revision = anchor->revision + 1;
    uint8_t slot[SLOT_BYTES];
    struct iovec part = {slot, sizeof slot};
    enum es_status status = ES_OK;

    slot_encode(state, revision, slot);
    status = disk_write(anchor->file, revision % SLOT_COUNT * SLOT_STRIDE, &part, 1);
    ES_PROBE(anchor_written);
    if (status == ES_OK) {
        status = disk_sync(anchor->file);
    }
    if (status == ES_OK) {
        anchor->revision = revision;
        ES_PROBE(anchor_synced);
    }
    return status;
}

static enum es_status slots_read(struct anchor *anchor, struct anchor_state *ret_state)
{
    bool found = false;
    uint64_t size = 0;
    enum es_status status = disk_size(anchor->file, &size);

    if (status == ES_OK && size != ANCHOR_FILE_BYTES) {
        status = ES_E_CORRUPT;
    }
    for (uint64_t i = 0; i < SLOT_COUNT && status == ES_OK; i++) {
        uint8_t slot[SLOT_BYTES];
        struct anchor_state state;
        uint64_t revision = 0;
        enum es_status judged = ES_OK;

        status = disk_read(anchor->file, i * SLOT_STRIDE, slot, sizeof slot);
        if (status != ES_OK) {
            return status;
        }
        judged = slot_decode(slot, &state, &revision);
        if (judged == ES_E_VERSION) {
            return judged;
        }
        if (judged == ES_OK && (!found || revision > anchor->revision)) {
            anchor->revision = revision;
            *ret_state = state;
            found = true;
        }
    }
    return status == ES_OK && !found ? ES_E_CORRUPT : status;
}

enum es_status anchor_create(struct disk *disk, const char *name, const struct anchor_state *state,
                             struct anchor **ret_anchor)
{
    struct anchor *anchor = calloc(1, sizeof *anchor);
    enum es_status status = ES_E_NO_MEMORY;

    if (anchor == NULL) {
        return status;
    }
    anchor->access = DISK_READ_WRITE;
    status = disk_create(disk, name, ANCHOR_FILE_BYTES, &anchor->file);
    if (status == ES_OK) {
        status = slot_write(anchor, state);
    }
    if (status == ES_OK) {
        status = disk_sync_directory(disk);
    }
    if (status == ES_OK) {
        *ret_anchor = anchor;
    } else {
        anchor_free(anchor);
    }
    return status;
}

enum es_status anchor_open(struct disk *disk, const char *name, enum disk_access access,
                           struct anchor_state *ret_state, struct anchor **ret_anchor)
{
    struct anchor *anchor = calloc(1, sizeof *anchor);
    struct anchor_state state;
    enum es_status status = ES_E_NO_MEMORY;

    if (anchor == NULL) {
        return status;
    }
    anchor->access = access;
    status = disk_open(disk, name, access, &anchor->file);
    if (status == ES_OK) {
        status = slots_read(anchor, &state);
    }
    if (status == ES_OK) {
        *ret_state = state;
        *ret_anchor = anchor;
    } else {
        anchor_free(anchor);
    }
    return status;
}

enum es_status anchor_write(struct anchor *anchor, const struct anchor_state *state)
{
    return anchor->access == DISK_READ_WRITE ? slot_write(anchor, state) : ES_E_PERMISSION;
}

void anchor_free(struct anchor *anchor)
{
    if (anchor != NULL) {
        disk_close(anchor->file);
        free(anchor);
    }
}
