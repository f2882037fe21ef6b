#include "broker/log_format.h"

#include <assert.h>
#include <string.h>

#include "shm/codec/cursor.h"
#include "shm/crc32c.h"

static const uint8_t segment_magic[8] = {'E', 'S', 'L', 'O', 'G', 'S', 'E', 'G'};
static const uint8_t record_magic[4] = {'E', 'S', 'R', 'C'};

enum {
    SLOT_CRC_OFFSET = LOG_HEADER_SLOT_BYTES - 4,
    RECORD_CRC_OFFSET = 44
};

bool log_geometry_is_valid(const struct log_geometry *geometry)
{
    return geometry->segment_count >= LOG_SEGMENT_COUNT_MIN &&
           geometry->segment_count <= LOG_SEGMENT_COUNT_MAX &&
           geometry->segment_bytes >= LOG_SEGMENT_BYTES_MIN &&
           geometry->segment_bytes <= LOG_SEGMENT_BYTES_MAX &&
           geometry->segment_bytes % LOG_HEADER_PAGE_BYTES == 0;
}

uint64_t log_record_stride(uint64_t body_bytes)
{
    uint64_t size = LOG_RECORD_HEADER_BYTES + body_bytes;

    return (size + LOG_RECORD_ALIGNMENT - 1) / LOG_RECORD_ALIGNMENT * LOG_RECORD_ALIGNMENT;
}

uint64_t log_body_bytes_max(const struct log_geometry *geometry)
{
    uint64_t quarter = (geometry->segment_bytes - LOG_HEADER_PAGE_BYTES) / 4;

    return quarter / LOG_RECORD_ALIGNMENT * LOG_RECORD_ALIGNMENT - LOG_RECORD_HEADER_BYTES;
}

void log_segment_header_encode(const struct log_segment_header *header,
                               uint8_t ret_slot[LOG_HEADER_SLOT_BYTES])
{
    struct es_cursor cursor;

    es_cursor_init(&cursor, ret_slot, LOG_HEADER_SLOT_BYTES);
    es_cursor_put_bytes(&cursor, segment_magic, sizeof segment_magic);
    es_cursor_put_u32(&cursor, LOG_FORMAT);
    es_cursor_put_u32(&cursor, header->geometry.segment_count);
    es_cursor_put_bytes(&cursor, header->identity.store_id, LOG_STORE_ID_BYTES);
    es_cursor_put_u64(&cursor, header->identity.epoch);
    es_cursor_put_u64(&cursor, header->identity.secret);
    es_cursor_put_u64(&cursor, header->geometry.segment_bytes);
    es_cursor_put_u64(&cursor, header->segment_number);
    es_cursor_put_u64(&cursor, header->first_batch);
    es_cursor_put_bytes(&cursor, header->previous_store_hash, LOG_HASH_BYTES);
    es_cursor_put_u64(&cursor, header->flushed.batch_number);
    es_cursor_put_bytes(&cursor, header->flushed.store_hash, LOG_HASH_BYTES);
    es_cursor_put_u64(&cursor, header->revision);
    es_cursor_put_u64(&cursor, header->books.number);
    es_cursor_put_u64(&cursor, header->books.bytes);
    es_cursor_put_zeros_to(&cursor, SLOT_CRC_OFFSET);
    es_cursor_put_u32(&cursor, es_crc32c(0, ret_slot, SLOT_CRC_OFFSET));
    assert(es_cursor_ok(&cursor));
}

static bool all_zeros(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static void segment_fields_decode(struct es_cursor *cursor, struct log_segment_header *header)
{
    header->geometry.segment_count = es_cursor_get_u32(cursor);
    es_cursor_get_bytes(cursor, header->identity.store_id, LOG_STORE_ID_BYTES);
    header->identity.epoch = es_cursor_get_u64(cursor);
    header->identity.secret = es_cursor_get_u64(cursor);
    header->geometry.segment_bytes = es_cursor_get_u64(cursor);
    header->segment_number = es_cursor_get_u64(cursor);
    header->first_batch = es_cursor_get_u64(cursor);
    es_cursor_get_bytes(cursor, header->previous_store_hash, LOG_HASH_BYTES);
    header->flushed.batch_number = es_cursor_get_u64(cursor);
    es_cursor_get_bytes(cursor, header->flushed.store_hash, LOG_HASH_BYTES);
    header->revision = es_cursor_get_u64(cursor);
    header->books.number = es_cursor_get_u64(cursor);
    header->books.bytes = es_cursor_get_u64(cursor);
}

enum es_status log_segment_header_decode(const uint8_t slot[LOG_HEADER_SLOT_BYTES],
                                         struct log_segment_header *ret_header)
{
    struct log_segment_header header;
    struct es_cursor cursor;
    struct es_cursor crc;
    uint32_t format = 0;

    if (all_zeros(slot, LOG_HEADER_SLOT_BYTES)) {
        return ES_EMPTY;
    }
    es_cursor_init_read(&crc, slot + SLOT_CRC_OFFSET, 4);
    if (memcmp(slot, segment_magic, sizeof segment_magic) != 0 ||
        es_cursor_get_u32(&crc) != es_crc32c(0, slot, SLOT_CRC_OFFSET)) {
        return ES_E_CORRUPT;
    }
    es_cursor_init_read(&cursor, slot + sizeof segment_magic,
                        LOG_HEADER_SLOT_BYTES - sizeof segment_magic);
    format = es_cursor_get_u32(&cursor);
    if (format != LOG_FORMAT) {
        return format > LOG_FORMAT ? ES_E_VERSION : ES_E_CORRUPT;
    }
    memset(&header, 0, sizeof header);
    segment_fields_decode(&cursor, &header);
    if (!es_cursor_ok(&cursor) || !log_geometry_is_valid(&header.geometry) ||
        header.segment_number == 0 || header.first_batch == 0) {
        return ES_E_CORRUPT;
    }
    *ret_header = header;
    return ES_OK;
}

uint64_t log_header_slot_offset(uint64_t revision)
{
    return revision % LOG_HEADER_SLOT_COUNT * LOG_HEADER_SLOT_STRIDE;
}

enum es_status log_header_page_decode(const uint8_t page[LOG_HEADER_PAGE_BYTES],
                                      struct log_segment_header *ret_header)
{
    enum es_status result = ES_EMPTY;

    for (uint64_t i = 0; i < LOG_HEADER_SLOT_COUNT; i++) {
        struct log_segment_header header;
        enum es_status status =
            log_segment_header_decode(page + i * LOG_HEADER_SLOT_STRIDE, &header);

        if (status == ES_E_VERSION) {
            return status;
        }
        if (status == ES_OK && (result != ES_OK || header.revision > ret_header->revision)) {
            *ret_header = header;
            result = ES_OK;
        } else if (status == ES_E_CORRUPT && result == ES_EMPTY) {
            result = ES_E_CORRUPT;
        }
    }
    return result;
}

void log_record_header_encode(const struct log_record_header *header,
                              uint8_t ret_bytes[LOG_RECORD_HEADER_BYTES])
{
    struct es_cursor cursor;

    es_cursor_init(&cursor, ret_bytes, LOG_RECORD_HEADER_BYTES);
    es_cursor_put_bytes(&cursor, record_magic, sizeof record_magic);
    es_cursor_put_u32(&cursor, header->body_bytes);
    es_cursor_put_u64(&cursor, header->secret);
    es_cursor_put_u64(&cursor, header->segment_number);
    es_cursor_put_u64(&cursor, header->batch_number);
    es_cursor_put_u64(&cursor, header->durable_batch);
    es_cursor_put_u32(&cursor, header->body_crc32c);
    es_cursor_put_u32(&cursor, es_crc32c(0, ret_bytes, RECORD_CRC_OFFSET));
    assert(es_cursor_ok(&cursor));
}

bool log_record_header_decode(const uint8_t bytes[LOG_RECORD_HEADER_BYTES], uint64_t secret,
                              struct log_record_header *ret_header)
{
    struct log_record_header header;
    struct es_cursor cursor;
    uint32_t crc32c = 0;

    if (memcmp(bytes, record_magic, sizeof record_magic) != 0) {
        return false;
    }
    es_cursor_init_read(&cursor, bytes + sizeof record_magic,
                        LOG_RECORD_HEADER_BYTES - sizeof record_magic);
    header.body_bytes = es_cursor_get_u32(&cursor);
    header.secret = es_cursor_get_u64(&cursor);
    header.segment_number = es_cursor_get_u64(&cursor);
    header.batch_number = es_cursor_get_u64(&cursor);
    header.durable_batch = es_cursor_get_u64(&cursor);
    header.body_crc32c = es_cursor_get_u32(&cursor);
    crc32c = es_cursor_get_u32(&cursor);
    if (!es_cursor_ok(&cursor) || header.secret != secret ||
        crc32c != es_crc32c(0, bytes, RECORD_CRC_OFFSET)) {
        return false;
    }
    *ret_header = header;
    return true;
}
