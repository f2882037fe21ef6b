/*
 * Reads a value and writes it again, for each format of shm/codec. A canonical
 * format comes back as it went in; one that passes over trailing elements comes
 * back shorter if there were any. Golden tests, mutation tests and fuzz targets
 * share them.
 */
#ifndef TESTS_SUPPORT_RECODE_H
#define TESTS_SUPPORT_RECODE_H

#include "shm/eventspine_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * ES_OK: the bytes decode, and '*ret_size' bytes at 'ret_bytes' are the encoding
 * of what was read ('capacity' of at least 'size' always suffices). Else the status
 * of the decoder, which may be the number of an enum es_reason for a transaction.
 * Hashes that an encoder computes are replaced by those that were read.
 */
struct recoder {
    const char *file; /* of tests/golden */
    const char *name; /* of the value there, or NULL for all of the file */
    int (*recode)(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                  uint32_t *ret_size);
    bool is_exact; /* trailing elements are refused */
};

int recode_envelope(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size);
int recode_commit(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                  uint32_t *ret_size);
int recode_receipt(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                   uint32_t *ret_size);
int recode_last(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                uint32_t *ret_size);
int recode_head(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                uint32_t *ret_size);
int recode_pos(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
               uint32_t *ret_size);
int recode_kv_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size);
int recode_snapshot_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_producer_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_consumer_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_category_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_store_identity(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_epochs(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                  uint32_t *ret_size);

int recode_transaction(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                       uint32_t *ret_size);
int recode_log_body(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size);
int recode_published(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                     uint32_t *ret_size);
int recode_request(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                   uint32_t *ret_size);
int recode_attach_request(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size);
int recode_attach_reply(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                        uint32_t *ret_size);

/* Finds the recoder of a golden value; NULL: it has none. */
const struct recoder *recoder_find(const char *file, const char *name);

#endif
