/*
 * Reading the commit log back: which segments hold the history after the
 * flushed batch, which records are sound, and whether what ends the history is
 * a torn tail or damage. It changes no byte: of a log opened for writing it
 * writes the last records again as they are (settle_tail()).
 *
 * The rule (DESIGN, Recovery): the first broken record ends the history, and is
 * damage if anything valid calls its batch, or a later one, synced. That can be
 * the header of a later segment (a segment is synced before the next begins), a
 * later record of the newest segment, or the caller's floor. Records of older
 * segments cannot vouch: what lay behind the end was void once a later segment
 * began there.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_state.h"
#include "shm/crc32c.h"
#include "shm/probe.h"

enum {
    WINDOW_BYTES = 1024 * 1024
};

/* A stretch of one file, read once and looked at many times. */
struct window {
    const struct log_file *file;
    uint64_t file_bytes;
    uint8_t *bytes;
    size_t capacity;
    uint64_t start;
    size_t size;
};

struct replay {
    struct log *log;
    struct window window;
    log_record_fn visit;
    void *context;
    uint64_t next_batch; /* the one that comes next in the history */
    struct log_ending ending;
};

static void window_select(struct window *window, const struct log_file *file)
{
    window->file = file;
    window->start = 0;
    window->size = 0;
}

/* '*ret_bytes' shows [offset, offset + size), which lies inside the file, until the next call. */
static enum es_status window_show(struct window *window, uint64_t offset, size_t size,
                                  const uint8_t **ret_bytes)
{
    enum es_status status = ES_OK;

    assert(offset + size <= window->file_bytes);
    if (offset < window->start || offset + size > window->start + window->size) {
        size_t want = size < WINDOW_BYTES ? WINDOW_BYTES : size;

        if (want > window->file_bytes - offset) {
            want = (size_t)(window->file_bytes - offset);
        }
        if (want > window->capacity) {
            uint8_t *larger = realloc(window->bytes, want);

            if (larger == NULL) {
                return ES_E_NO_MEMORY;
            }
            window->bytes = larger;
            window->capacity = want;
        }
        window->size = 0;
        status = disk_read(window->file->file, offset, window->bytes, want);
        if (status != ES_OK) {
            return status;
        }
        window->start = offset;
        window->size = want;
    }
    *ret_bytes = window->bytes + (offset - window->start);
    return ES_OK;
}

/*
 * The record header at 'offset', if a sound one of this log is there and its
 * body fits into the file. ES_EMPTY: none.
 */
static enum es_status header_at(struct replay *replay, uint64_t offset,
                                struct log_record_header *ret_header)
{
    const struct log_origin *origin = &replay->log->origin;
    const uint8_t *bytes = NULL;
    enum es_status status = ES_OK;

    if (offset + LOG_RECORD_HEADER_BYTES > replay->window.file_bytes) {
        return ES_EMPTY;
    }
    status = window_show(&replay->window, offset, LOG_RECORD_HEADER_BYTES, &bytes);
    if (status != ES_OK) {
        return status;
    }
    if (!log_record_header_decode(bytes, origin->identity.secret, ret_header) ||
        ret_header->body_bytes > log_body_bytes_max(&origin->geometry) ||
        offset + LOG_RECORD_HEADER_BYTES + ret_header->body_bytes > replay->window.file_bytes) {
        return ES_EMPTY;
    }
    return ES_OK;
}

/* The body behind a sound header. ES_EMPTY: it is broken. */
static enum es_status body_at(struct replay *replay, uint64_t offset,
                              const struct log_record_header *header, const uint8_t **ret_body)
{
    const uint8_t *body = NULL;
    enum es_status status =
        window_show(&replay->window, offset + LOG_RECORD_HEADER_BYTES, header->body_bytes, &body);

    if (status != ES_OK) {
        return status;
    }
    if (es_crc32c(0, body, header->body_bytes) != header->body_crc32c) {
        return ES_EMPTY;
    }
    *ret_body = body;
    return ES_OK;
}

/*
 * Searches a segment from '*offset' for its record of batch 'wanted': what lies
 * before is in RocksDB already, so a broken record there does no harm.
 * ES_EMPTY: it is not there; '*offset' is then behind the last record before it.
 */
static enum es_status find_batch(struct replay *replay, uint64_t segment_number, uint64_t wanted,
                                 uint64_t *offset)
{
    uint64_t behind = *offset;
    uint64_t at = *offset;

    while (at + LOG_RECORD_HEADER_BYTES <= replay->window.file_bytes) {
        struct log_record_header header;
        enum es_status status = header_at(replay, at, &header);

        if (status != ES_OK && status != ES_EMPTY) {
            return status;
        }
        if (status == ES_EMPTY || header.segment_number != segment_number) {
            at += LOG_RECORD_ALIGNMENT;
        } else if (header.batch_number == wanted) {
            *offset = at;
            return ES_OK;
        } else if (header.batch_number > wanted) {
            break;
        } else {
            at += log_record_stride(header.body_bytes);
            behind = at;
        }
    }
    *offset = behind;
    return ES_EMPTY;
}

static void vouch(struct replay *replay, uint64_t batch_number, const char *witness)
{
    if (batch_number > replay->ending.vouched_batch) {
        replay->ending.vouched_batch = batch_number;
        snprintf(replay->ending.what, sizeof replay->ending.what, "%s", witness);
    }
}

/*
 * Visits the records of the selected segment from '*offset' while they are
 * sound, in order and below 'end_batch'. ES_EMPTY: it met a record that is not;
 * '*offset' is there.
 */
static enum es_status visit_records(struct replay *replay, uint64_t segment_number,
                                    uint64_t end_batch, uint64_t *offset)
{
    while (replay->next_batch < end_batch) {
        struct log_record_header header;
        struct log_record record;
        enum es_status status = header_at(replay, *offset, &header);

        if (status == ES_OK && (header.segment_number != segment_number ||
                                header.batch_number != replay->next_batch)) {
            status = ES_EMPTY;
        }
        if (status == ES_OK) {
            status = body_at(replay, *offset, &header, &record.body);
        }
        if (status != ES_OK) {
            return status;
        }
        record.batch_number = header.batch_number;
        record.durable_batch = header.durable_batch;
        record.body_bytes = header.body_bytes;
        record.body_crc32c = header.body_crc32c;
        status = replay->visit(replay->context, &record);
        if (status != ES_OK) {
            return status;
        }
        vouch(replay, header.durable_batch, "a record of the commit log");
        replay->next_batch++;
        replay->ending.record_count++;
        replay->ending.record_bytes += header.body_bytes;
        *offset += log_record_stride(header.body_bytes);
    }
    return ES_OK;
}

/*
 * Behind the end, in the newest segment: records that can still be read tell
 * how far the log had been synced, and that the record at the end was begun.
 */
static enum es_status hear_later_records(struct replay *replay, uint64_t segment_number,
                                         uint64_t offset, bool *ret_begun)
{
    while (offset + LOG_RECORD_HEADER_BYTES <= replay->window.file_bytes) {
        struct log_record_header header;
        enum es_status status = header_at(replay, offset, &header);

        if (status != ES_OK && status != ES_EMPTY) {
            return status;
        }
        if (status == ES_OK && header.segment_number == segment_number &&
            header.batch_number >= replay->next_batch) {
            *ret_begun = true;
            vouch(replay, header.durable_batch, "a later record of the commit log");
        }
        offset += LOG_RECORD_ALIGNMENT;
    }
    return ES_OK;
}

/*
 * A record is written only after its segment's header is synced. So one of a
 * segment newer than its file's header means that the header was lost.
 */
static enum es_status check_first_records(struct replay *replay)
{
    struct log *log = replay->log;

    for (uint32_t i = 0; i < log->origin.geometry.segment_count; i++) {
        const struct log_file *file = &log->files[i];
        struct log_record_header header;
        enum es_status status = ES_OK;

        if (file->state == LOG_FILE_MISSING) {
            continue;
        }
        window_select(&replay->window, file);
        status = header_at(replay, LOG_HEADER_PAGE_BYTES, &header);
        if (status == ES_EMPTY) {
            continue;
        }
        if (status != ES_OK) {
            return status;
        }
        /* Without a valid header its number is 0, and any record is one too many. */
        if (header.segment_number > file->header.segment_number) {
            snprintf(log->defect, sizeof log->defect,
                     "segment-%02" PRIu32 " has lost the header of segment %" PRIu64, i,
                     header.segment_number);
        }
        if (header.segment_number > log->segment_max) {
            log->segment_max = header.segment_number;
        }
    }
    return ES_OK;
}

/* The valid file with the next segment number above 'number'; NULL after the newest. */
static const struct log_file *file_after(const struct log *log, uint64_t number)
{
    const struct log_file *next = NULL;

    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX; i++) {
        const struct log_file *file = &log->files[i];

        if (file->state == LOG_FILE_VALID && file->header.segment_number > number &&
            (next == NULL || file->header.segment_number < next->header.segment_number)) {
            next = file;
        }
    }
    return next;
}

/* The newest segment that begins at or before 'batch'; NULL: that batch's file is gone. */
static const struct log_file *file_holding(const struct log *log, uint64_t batch)
{
    const struct log_file *holding = NULL;
    const struct log_file *file = file_after(log, 0);

    while (file != NULL) {
        if (file->header.first_batch <= batch) {
            holding = file;
        }
        file = file_after(log, file->header.segment_number);
    }
    return holding;
}

/* Goes through the history, segment by segment. '*ret_begun': something is behind its end. */
static enum es_status replay_segments(struct replay *replay, bool *ret_begun)
{
    const struct log_file *file = file_holding(replay->log, replay->next_batch);
    enum es_status status = ES_OK;

    if (file == NULL) {
        const struct log_file *first = file_after(replay->log, 0);

        vouch(replay, first->header.first_batch - 1, "the first segment that is left");
        return ES_OK;
    }
    while (file != NULL) {
        uint64_t number = file->header.segment_number;
        const struct log_file *next = file_after(replay->log, number);
        uint64_t end_batch = next == NULL ? UINT64_MAX : next->header.first_batch;
        uint64_t offset = LOG_HEADER_PAGE_BYTES;

        window_select(&replay->window, file);
        status = find_batch(replay, number, replay->next_batch, &offset);
        if (status == ES_OK) {
            status = visit_records(replay, number, end_batch, &offset);
        }
        if (status != ES_OK && status != ES_EMPTY) {
            return status;
        }
        if (next == NULL) {
            return hear_later_records(replay, number, offset, ret_begun);
        }
        vouch(replay, end_batch - 1, "the header of a later segment");
        if (replay->next_batch < end_batch) {
            return ES_OK;
        }
        file = next;
    }
    return ES_OK;
}

/*
 * The records at the end that nothing vouches for may be in the page cache only,
 * and clean there if a sync has failed. Before the caller flushes them into
 * RocksDB they are written again, the same bytes, and synced: or a power cut in
 * between would leave RocksDB with what the log has lost.
 */
static enum es_status settle_tail(struct replay *replay)
{
    const struct log_file *file = &replay->log->files[replay->log->newest];
    uint64_t number = file->header.segment_number;
    uint64_t offset = LOG_HEADER_PAGE_BYTES;
    enum es_status status = ES_OK;

    window_select(&replay->window, file);
    status = find_batch(replay, number, replay->ending.vouched_batch + 1, &offset);
    for (uint64_t batch = replay->ending.vouched_batch + 1;
         status == ES_OK && batch < replay->next_batch; batch++) {
        struct log_record_header header;
        struct iovec part = {NULL, 0};
        const uint8_t *bytes = NULL;

        status = header_at(replay, offset, &header);
        if (status == ES_OK) {
            part.iov_len = LOG_RECORD_HEADER_BYTES + header.body_bytes;
            status = window_show(&replay->window, offset, part.iov_len, &bytes);
        }
        if (status == ES_OK) {
            part.iov_base = (void *)(uintptr_t)bytes;
            status = disk_write(file->file, offset, &part, 1);
            offset += log_record_stride(header.body_bytes);
            ES_PROBE(log_tail_rewritten);
        }
    }
    if (status == ES_OK) {
        status = disk_sync(file->file);
        ES_PROBE(log_tail_synced);
    }
    return status == ES_EMPTY ? ES_E_IO : status; /* it was there a moment ago */
}

static void judge(struct replay *replay, uint64_t durable_floor, bool begun)
{
    struct log_ending *ending = &replay->ending;
    char witness[LOG_WHY_BYTES / 2];

    ending->last_batch = replay->next_batch - 1;
    vouch(replay, durable_floor, "the control page, the anchor or RocksDB");
    snprintf(witness, sizeof witness, "%.*s", (int)sizeof witness - 1, ending->what);
    ending->what[0] = '\0';
    if (replay->log->defect[0] != '\0') {
        ending->verdict = LOG_DAMAGED;
        snprintf(ending->what, sizeof ending->what, "%s", replay->log->defect);
    } else if (ending->vouched_batch > ending->last_batch) {
        ending->verdict = LOG_DAMAGED;
        snprintf(ending->what, sizeof ending->what,
                 "batches %" PRIu64 " to %" PRIu64 " are lost: %s knows them to be synced",
                 ending->last_batch + 1, ending->vouched_batch, witness);
    } else if (begun) {
        ending->verdict = LOG_TORN;
        snprintf(ending->what, sizeof ending->what,
                 "the commit log ends in a torn record after batch %" PRIu64, ending->last_batch);
    } else {
        ending->verdict = LOG_CLEAN;
    }
}

enum es_status log_replay(struct log *log, uint64_t durable_floor, log_record_fn visit,
                          void *context, struct log_ending *ret_ending)
{
    struct replay replay = {
        .log = log,
        .window.file_bytes = log->origin.geometry.segment_bytes,
        .visit = visit,
        .context = context,
        .next_batch = log->origin.flushed.batch_number + 1,
        .ending.vouched_batch = log->origin.flushed.batch_number,
    };
    bool begun = false;
    enum es_status status = check_first_records(&replay);

    if (status == ES_OK) {
        status = replay_segments(&replay, &begun);
    }
    if (status == ES_OK && log->access == DISK_READ_WRITE &&
        replay.next_batch > replay.ending.vouched_batch + 1) {
        status = settle_tail(&replay);
    }
    free(replay.window.bytes);
    if (status != ES_OK) {
        return status;
    }
    judge(&replay, durable_floor, begun);
    log->replayed = true;
    *ret_ending = replay.ending;
    return ES_OK;
}
