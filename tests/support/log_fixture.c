#include "tests/support/log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log_format.h"
#include "shm/codec/cursor.h"
#include "shm/crc32c.h"

enum {
    FIXTURE_SECRET = 0x5ec5e7
};

static const struct log_identity identity = {
    .store_id = "store under test", .epoch = FIXTURE_EPOCH, .secret = FIXTURE_SECRET};
static const struct log_geometry geometry = {.segment_count = FIXTURE_SEGMENT_COUNT,
                                             .segment_bytes = FIXTURE_SEGMENT_BYTES};

struct log_point fixture_point(uint64_t batch_number)
{
    struct log_point point = {.batch_number = batch_number};

    memset(point.store_hash, (int)(batch_number % 251), sizeof point.store_hash);
    return point;
}

static void fill_body(uint64_t batch_number, size_t size, uint8_t *ret_body)
{
    uint64_t word = batch_number * 0x9e3779b97f4a7c15U + size;

    for (size_t i = 0; i < size; i++) {
        word = word * 6364136223846793005U + 1442695040888963407U;
        ret_body[i] = (uint8_t)(word >> 56);
    }
}

void log_fixture_init(struct log_fixture *fixture, struct disk *disk)
{
    struct log_point start = fixture_point(0);

    fixture->disk = disk;
    fixture->log = NULL;
    fixture->last_batch = 0;
    assert_int_equal(log_create(disk, &identity, &geometry, &start), ES_OK);
}

void log_fixture_deinit(struct log_fixture *fixture)
{
    log_free(fixture->log);
    disk_free(fixture->disk);
    fixture->log = NULL;
    fixture->disk = NULL;
}

void log_fixture_die(struct log_fixture *fixture)
{
    log_free(fixture->log);
    fixture->log = NULL;
}

static enum es_status check_record(void *context, const struct log_record *record)
{
    struct log_fixture *fixture = context;

    assert_int_equal(record->batch_number, fixture->last_batch + 1);
    assert_true(record->durable_batch < record->batch_number);
    /* Not one of the same number from a history that was cut off. */
    assert_int_equal(record->body_bytes, fixture->sizes[record->batch_number]);
    fill_body(record->batch_number, record->body_bytes, fixture->body);
    assert_memory_equal(record->body, fixture->body, record->body_bytes);
    fixture->last_batch = record->batch_number;
    return ES_OK;
}

enum es_status log_fixture_replay(struct log_fixture *fixture, uint64_t durable_floor,
                                  struct log_ending *ret_ending)
{
    char why[LOG_WHY_BYTES] = "";
    const struct log_origin *origin = NULL;
    struct log_point flushed;
    enum es_status status = log_open(fixture->disk, DISK_READ_WRITE, why, &fixture->log);

    if (status != ES_OK) {
        assert_string_not_equal(why, "");
        return status;
    }
    origin = log_origin(fixture->log);
    assert_memory_equal(origin->identity.store_id, identity.store_id, LOG_STORE_ID_BYTES);
    flushed = fixture_point(origin->flushed.batch_number);
    assert_memory_equal(origin->flushed.store_hash, flushed.store_hash, LOG_HASH_BYTES);
    fixture->last_batch = origin->flushed.batch_number;
    status = log_replay(fixture->log, durable_floor, check_record, fixture, ret_ending);
    if (status == ES_OK) {
        assert_int_equal(ret_ending->last_batch, fixture->last_batch);
        assert_true((ret_ending->what[0] == '\0') == (ret_ending->verdict == LOG_CLEAN));
    }
    return status;
}

void log_fixture_start(struct log_fixture *fixture)
{
    struct log_ending ending;
    struct log_point end;

    assert_int_equal(log_fixture_replay(fixture, 0, &ending), ES_OK);
    assert_int_not_equal(ending.verdict, LOG_DAMAGED);
    end = fixture_point(fixture->last_batch);
    assert_int_equal(log_begin(fixture->log, FIXTURE_EPOCH, &end), ES_OK);
}

enum es_status log_fixture_append(struct log_fixture *fixture, size_t size, bool *ret_begun)
{
    struct log_batch batch = {
        .previous = fixture_point(fixture->last_batch), .parts = &fixture->part, .part_count = 1};
    enum es_status status = ES_OK;

    assert_true(size <= sizeof fixture->body);
    assert_true(fixture->last_batch + 1 < FIXTURE_BATCHES_MAX);
    fixture->sizes[fixture->last_batch + 1] = (uint32_t)size;
    fill_body(fixture->last_batch + 1, size, fixture->body);
    fixture->part = (struct iovec){fixture->body, size};
    status = log_append(fixture->log, &batch, ret_begun);
    if (status == ES_OK) {
        fixture->last_batch++;
    }
    return status;
}

void log_fixture_commit(struct log_fixture *fixture, size_t size)
{
    bool begun = false;

    assert_int_equal(log_fixture_append(fixture, size, &begun), ES_OK);
    assert_int_equal(log_sync(fixture->log), ES_OK);
    if (begun) {
        struct log_point before = fixture_point(fixture->last_batch - 1);

        assert_int_equal(log_mark_flushed(fixture->log, &before), ES_OK);
    }
}

size_t log_fixture_find(struct log_fixture *fixture, const char *name, uint64_t batch_number)
{
    size_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(fixture->disk, name, &size);
    struct log_record_header header;

    assert_non_null(bytes);
    for (size_t at = LOG_HEADER_PAGE_BYTES; at + LOG_RECORD_HEADER_BYTES <= size;
         at += LOG_RECORD_ALIGNMENT) {
        if (log_record_header_decode(bytes + at, FIXTURE_SECRET, &header) &&
            header.batch_number == batch_number) {
            return at;
        }
    }
    return 0;
}

void fixture_make_newer(uint8_t *page)
{
    struct es_cursor cursor;

    es_cursor_init(&cursor, page + 8, 4);
    es_cursor_put_u32(&cursor, LOG_FORMAT + 1);
    es_cursor_init(&cursor, page + LOG_HEADER_SLOT_BYTES - 4, 4);
    es_cursor_put_u32(&cursor, es_crc32c(0, page, LOG_HEADER_SLOT_BYTES - 4));
}

uint8_t *log_fixture_bytes(struct log_fixture *fixture, const char *name)
{
    size_t size = 0;
    uint8_t *bytes = sim_disk_bytes(fixture->disk, name, &size);

    assert_non_null(bytes);
    return bytes;
}

const char *log_fixture_file_with(struct log_fixture *fixture, uint64_t batch_number,
                                  size_t *ret_offset)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *ret_offset = log_fixture_find(fixture, names[i], batch_number);
        if (*ret_offset != 0) {
            return names[i];
        }
    }
    fail_msg("no file holds batch %d", (int)batch_number);
    return NULL;
}

struct log_ending log_fixture_judge(struct log_fixture *fixture, uint64_t durable_floor)
{
    struct log_ending ending;

    log_fixture_die(fixture);
    assert_int_equal(log_fixture_replay(fixture, durable_floor, &ending), ES_OK);
    log_fixture_die(fixture);
    return ending;
}

void log_fixture_commit_some(struct log_fixture *fixture, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        log_fixture_commit(fixture, size);
    }
}

int log_fixture_set_up(void **state)
{
    struct log_fixture *f = calloc(1, sizeof *f);

    log_fixture_init(f, sim_disk_new(3));
    log_fixture_start(f);
    *state = f;
    return 0;
}

int log_fixture_tear_down(void **state)
{
    log_fixture_deinit(*state);
    free(*state);
    return 0;
}
