/*
 * The field values behind tests/golden, for C: what check.py there calls by the
 * same names. A test builds a value from them and compares it with the kept bytes.
 */
#ifndef TESTS_SUPPORT_CODEC_SAMPLES_H
#define TESTS_SUPPORT_CODEC_SAMPLES_H

#include "shm/codec/commit_record.h"
#include "shm/codec/envelope.h"
#include "shm/codec/transaction.h"

#define SAMPLE_ORDERS "prod:main:L0:orders:M1042"
#define SAMPLE_STOCK "prod:main:L0:stock:M7"
#define SAMPLE_WIDE "тест:main:L2147483647:заказы:Mmodel-ü"
#define SAMPLE_WIDE_TYPE "Заказ оплачен, проверен и отправлен"
#define SAMPLE_EPOCH 0x0123456789ABCDEFULL
#define SAMPLE_TIME_US 1700000000000000ULL
#define SAMPLE_INCARNATION (3ULL << 32 | 1)

extern const uint8_t sample_store_id[ES_STORE_ID_SIZE]; /* 00 01 .. 0f */
extern const uint8_t sample_payload[6];                 /* the map {"net": 1} */

/* 32 bytes of the same value; static, overwritten by the next call but three. */
const uint8_t *sample_fill(uint8_t byte);

/* 300 bytes, i mod 251; static. */
struct es_bytes sample_wide_payload(void);

/* BLAKE2b-256 of a text or of bytes; static, overwritten by the next call but three. */
const uint8_t *sample_hash_of(struct es_bytes bytes);
const uint8_t *sample_hash_of_text(const char *text);

struct es_bytes sample_text_bytes(const char *text);

/* An encoded event and its hash. */
struct sample_event {
    uint8_t envelope[1024];
    uint32_t size;
    uint8_t hash[ES_HASH_SIZE];
};

/* The fields of an event; 'previous_hash' NULL: none. */
struct es_event_fields sample_fields(const char *stream, uint64_t tick, const char *type,
                                     struct es_bytes payload, const uint8_t *previous_hash);

/* The events of the golden files. */
void sample_first(struct sample_event *ret_event);
void sample_second(struct sample_event *ret_event);
void sample_wide(struct sample_event *ret_event);
void sample_stock_first(struct sample_event *ret_event);

/* The transaction 'every_operation'; returns its size. */
uint32_t sample_transaction(uint8_t *ret_bytes, size_t capacity);

/* The commit records; return their sizes. */
uint32_t sample_commit(uint8_t *ret_bytes, size_t capacity, uint8_t ret_hash[ES_HASH_SIZE]);
uint32_t sample_commit_of_keys(uint8_t *ret_bytes, size_t capacity, uint8_t ret_hash[ES_HASH_SIZE]);

/* Stops the program unless 'size' bytes equal the golden value. */
void golden_expect(const char *file, const char *name, const void *bytes, size_t size);

#endif
