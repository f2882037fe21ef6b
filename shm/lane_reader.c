#include "shm/lane_reader.h"

#include <assert.h>
#include <string.h>

#include "shm/crc32c.h"
#include "shm/futex.h"
#include "shm/probe.h"

enum es_status es_lane_reader_attach(struct es_lane_reader *reader,
                                     const struct es_segment *segment, uint64_t incarnation,
                                     uint32_t arena_bytes, uint32_t credit_count,
                                     uint64_t last_sequence, uint32_t next_offset)
{
    struct es_lane_file *file = segment->base;
    enum es_status status = es_lane_check(segment, incarnation, arena_bytes, credit_count);
    uint64_t published;

    if (status != ES_OK) {
        return status;
    }
    if (next_offset >= arena_bytes || next_offset % ES_RECORD_ALIGNMENT != 0) {
        return ES_E_CORRUPT;
    }
    published = atomic_load_explicit(&file->published, memory_order_acquire); /* [L1] */
    if (published < last_sequence || published - last_sequence > credit_count) {
        return ES_E_CORRUPT;
    }
    *reader = (struct es_lane_reader){
        .file = file,
        .results = (struct es_lane_result *)((uint8_t *)file + sizeof *file),
        .arena = (const uint8_t *)file + es_lane_bytes(0, credit_count),
        .incarnation = incarnation,
        .consumed = last_sequence,
        .acked = last_sequence,
        .arena_bytes = arena_bytes,
        .credit_count = credit_count,
        .record_bytes_max = arena_bytes / 8,
        .next_offset = next_offset,
    };
    es_lane_ack(reader, last_sequence);
    es_lane_wake(reader);
    return ES_OK;
}

void es_lane_evict(struct es_lane_reader *reader, const char *why)
{
    if (reader->evicted_why == NULL) {
        reader->evicted_why = why;
    }
}

/* Copies a header word by word, each loaded once, so that what is checked is what
 * is used: a memcpy() might be compiled into two loads of one word. */
static struct es_record_header header_load(const struct es_lane_reader *reader, uint32_t offset)
{
    const _Atomic uint64_t *shared =
        (const _Atomic uint64_t *)(const void *)(reader->arena + offset);
    uint64_t words[sizeof(struct es_record_header) / sizeof(uint64_t)];
    struct es_record_header header;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        words[i] = atomic_load_explicit(&shared[i], memory_order_relaxed);
    }
    memcpy(&header, words, sizeof header);
    return header;
}

/* NULL: the header is whole and is the next one; else why it is not. */
static const char *header_judge(const struct es_lane_reader *reader,
                                const struct es_record_header *header, uint32_t offset)
{
    uint32_t to_end = reader->arena_bytes - offset;

    if (header->header_crc != es_crc32c(0, header, offsetof(struct es_record_header, header_crc))) {
        return "a record header fails its checksum";
    }
    if (header->incarnation != reader->incarnation) {
        return "a record is of another incarnation of the lane";
    }
    if (header->sequence != reader->consumed + 1) {
        return "a record is out of sequence";
    }
    if (header->flags == ES_RECORD_PAD) {
        return header->length == to_end ? NULL : "a pad does not end where the arena does";
    }
    if ((header->flags & ~ES_RECORD_FLAGS_USER) != 0) {
        return "a record has flags that do not exist";
    }
    if (header->length <= ES_RECORD_HEADER_BYTES || header->length > reader->record_bytes_max) {
        return "a record has an impossible length";
    }
    if (es_record_aligned(header->length) > to_end) {
        return "a record runs over the end of the arena";
    }
    return NULL;
}

/* Finds the next record's header, behind a pad or not: NULL, or why there is none. */
static const char *header_find(const struct es_lane_reader *reader,
                               struct es_record_header *ret_header, uint32_t *ret_offset)
{
    uint32_t offset = reader->next_offset;
    const char *why;

    *ret_header = header_load(reader, offset);
    why = header_judge(reader, ret_header, offset);
    if (why == NULL && ret_header->flags == ES_RECORD_PAD) {
        if (offset == 0) {
            return "a pad fills the whole arena";
        }
        offset = 0;
        *ret_header = header_load(reader, offset);
        why = header_judge(reader, ret_header, offset);
        if (why == NULL && ret_header->flags == ES_RECORD_PAD) {
            return "a pad follows a pad";
        }
    }
    *ret_offset = offset;
    return why;
}

static enum es_status evicted(struct es_lane_reader *reader, const char *why)
{
    es_lane_evict(reader, why);
    return ES_E_CORRUPT;
}

enum es_status es_lane_next(struct es_lane_reader *reader, void *buffer, uint32_t buffer_bytes,
                            struct es_record *ret_record)
{
    struct es_record_header header;
    uint64_t published;
    uint32_t offset;
    uint32_t size;
    const char *why;

    if (reader->evicted_why != NULL) {
        return ES_E_CORRUPT;
    }
    published = atomic_load_explicit(&reader->file->published, memory_order_acquire); /* [L1] */
    if (published == reader->consumed) {
        return ES_EMPTY;
    }
    if (published < reader->consumed || published - reader->acked > reader->credit_count) {
        return evicted(reader, "the published sequence is impossible");
    }
    why = header_find(reader, &header, &offset);
    if (why != NULL) {
        return evicted(reader, why);
    }
    size = header.length - ES_RECORD_HEADER_BYTES;
    if (size > buffer_bytes) {
        return ES_FULL;
    }
    memcpy(buffer, reader->arena + offset + ES_RECORD_HEADER_BYTES, size);
    /* from here on the copy counts; the compiler must not look at the arena again */
    __asm__ __volatile__("" : : "r"(buffer) : "memory");
    if (es_crc32c(0, buffer, size) != header.body_crc) {
        return evicted(reader, "a record's body fails its checksum");
    }
    offset += es_record_aligned(header.length);
    reader->consumed++;
    reader->next_offset = offset == reader->arena_bytes ? 0 : offset;
    *ret_record =
        (struct es_record){.sequence = reader->consumed, .flags = header.flags, .size = size};
    return ES_OK;
}

/* The result of 'sequence', if it is still in its place. */
static bool find_order(const struct es_lane_reader *reader, uint64_t sequence, uint32_t *ret_order)
{
    struct es_lane_result result;

    if (sequence == 0) {
        return false;
    }
    memcpy(&result, &reader->results[(sequence - 1) % reader->credit_count], sizeof result);
    __asm__ __volatile__("" : : "r"(&result) : "memory"); /* from here on the copy counts */
    *ret_order = result.order;
    return result.sequence == sequence;
}

bool es_lane_order_was_broken(const struct es_lane_reader *reader)
{
    uint32_t order = 0;

    if (find_order(reader, reader->consumed, &order)) {
        return (order & ES_LANE_ORDER_IS_BROKEN) != 0;
    }
    return find_order(reader, reader->consumed + 1, &order) &&
           (order & ES_LANE_ORDER_WAS_BROKEN) != 0;
}

uint32_t es_lane_backlog(const struct es_lane_reader *reader)
{
    uint64_t ahead;

    if (reader->evicted_why != NULL) {
        return 0;
    }
    ahead = atomic_load_explicit(&reader->file->published, memory_order_acquire) - /* [L1] */
            reader->consumed;
    return ahead <= reader->credit_count ? (uint32_t)ahead : 1;
}

bool es_lane_is_closed(const struct es_lane_reader *reader)
{
    return atomic_load_explicit(&reader->file->closed, memory_order_acquire) != 0; /* [L3] */
}

bool es_lane_is_attached(const struct es_lane_reader *reader)
{
    return atomic_load_explicit(&reader->file->attached, memory_order_acquire) != 0; /* [L4] */
}

void es_lane_stage(struct es_lane_reader *reader, const struct es_lane_result *result)
{
    assert(result->sequence > reader->acked);
    assert(result->sequence <= reader->consumed);

    memcpy(&reader->results[(result->sequence - 1) % reader->credit_count], result, sizeof *result);
}

void es_lane_ack(struct es_lane_reader *reader, uint64_t sequence)
{
    assert(sequence >= reader->acked);
    assert(sequence <= reader->consumed);

    reader->acked = sequence;
    atomic_store_explicit(&reader->file->acked, sequence, memory_order_seq_cst); /* [L2] [D1] */
    ES_PROBE(lane_acked);
}

void es_lane_wake(struct es_lane_reader *reader)
{
    struct es_lane_file *file = reader->file;
    uint32_t wait_number = atomic_load_explicit(&file->waiting, memory_order_seq_cst); /* [D1] */

    if (wait_number == 0 ||
        !es_futex_wake((const _Atomic uint32_t *)(const void *)&file->acked, true)) {
        return; /* not asleep yet, perhaps: then 'waiting' must stay for the next ack */
    }
    ES_PROBE(lane_woken);
    /* that sleep only: the producer may have begun its next one already */
    (void)atomic_compare_exchange_strong_explicit(&file->waiting, &wait_number, 0,
                                                  memory_order_relaxed, memory_order_relaxed);
}
