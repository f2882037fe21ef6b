/*
 * The bytes of the commit log: segment headers and record headers, encoded and
 * judged. It reads no file and keeps no state: log_recovery.c and log_writer.c
 * move the bytes. Little-endian; tests/golden pins them.
 *
 * A segment file is a page of 4096 bytes with the header, then records, each
 * beginning at a multiple of 64. The page holds the header twice, in slots that
 * are written in turn, so that a torn write leaves the one before.
 *
 *   slot, 256 bytes at 0 and at 2048
 *     0 magic "ESLOGSEG" | 8 format | 12 segment_count | 16 store_id
 *    32 epoch | 40 secret | 48 segment_bytes | 56 segment_number
 *    64 first_batch | 72 previous_store_hash | 104 flushed_batch
 *   112 flushed_store_hash | 144 revision | 152 books_number
 *   160 books_bytes | 168 zeros | 252 CRC32C of 0..251
 *
 *   record header, 48 bytes, the body follows
 *     0 magic "ESRC" | 4 body_bytes | 8 secret | 16 segment_number
 *    24 batch_number | 32 durable_batch | 40 CRC32C of the body
 *    44 CRC32C of 0..43
 */
#ifndef BROKER_LOG_FORMAT_H
#define BROKER_LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log.h"

enum {
    LOG_FORMAT = 1,
    LOG_HEADER_PAGE_BYTES = 4096,
    LOG_HEADER_SLOT_COUNT = 2,
    LOG_HEADER_SLOT_BYTES = 256,
    LOG_HEADER_SLOT_STRIDE = LOG_HEADER_PAGE_BYTES / LOG_HEADER_SLOT_COUNT,
    LOG_RECORD_HEADER_BYTES = 48,
    LOG_RECORD_ALIGNMENT = 64
};

struct log_segment_header {
    struct log_identity identity;
    struct log_geometry geometry;
    uint64_t segment_number; /* 1, 2, 3 ... over the log's life, never reused */
    uint64_t first_batch;
    uint8_t previous_store_hash[LOG_HASH_BYTES]; /* after first_batch - 1 */
    struct log_point flushed;
    struct log_books books;
    uint64_t revision; /* of this file's header page, grows with each write */
};

struct log_record_header {
    uint32_t body_bytes;
    uint64_t secret;
    uint64_t segment_number;
    uint64_t batch_number;
    uint64_t durable_batch;
    uint32_t body_crc32c;
};

bool log_geometry_is_valid(const struct log_geometry *geometry);

/* Bytes that a record with such a body takes in its segment. */
uint64_t log_record_stride(uint64_t body_bytes);

void log_segment_header_encode(const struct log_segment_header *header,
                               uint8_t ret_slot[LOG_HEADER_SLOT_BYTES]);

/*
 * ES_EMPTY: all zeros, never written. ES_E_CORRUPT: not sound. ES_E_VERSION:
 * sound, and of a newer format.
 */
ES_MUST_USE enum es_status log_segment_header_decode(const uint8_t slot[LOG_HEADER_SLOT_BYTES],
                                                     struct log_segment_header *ret_header);

/*
 * The newest sound header of a page, by revision. ES_EMPTY: no slot was ever
 * written. ES_E_CORRUPT: one was, and none is sound. ES_E_VERSION as above.
 */
ES_MUST_USE enum es_status log_header_page_decode(const uint8_t page[LOG_HEADER_PAGE_BYTES],
                                                  struct log_segment_header *ret_header);

/* Where in the page a header of this revision belongs. */
uint64_t log_header_slot_offset(uint64_t revision);

void log_record_header_encode(const struct log_record_header *header,
                              uint8_t ret_bytes[LOG_RECORD_HEADER_BYTES]);

/* False: these bytes are no record header of the log with 'secret'. */
bool log_record_header_decode(const uint8_t bytes[LOG_RECORD_HEADER_BYTES], uint64_t secret,
                              struct log_record_header *ret_header);

#endif
