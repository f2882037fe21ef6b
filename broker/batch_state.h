/*
 * The memory of a batch, shared by batch.c, which fills it, and batch_close.c, which
 * makes the log record of it, and by nobody else.
 */
#ifndef BROKER_BATCH_STATE_H
#define BROKER_BATCH_STATE_H

#include "broker/batch.h"
#include "shm/codec/pack.h"

enum {
    BATCH_BIN_HEADER_BYTES_MAX = 5
};

/* The arrays behind the views of struct batch, and where writing goes on. */
struct batch_memory {
    uint8_t *envelopes;
    size_t envelope_bytes;
    size_t capacity; /* of each region */
    struct es_pack operations;
    uint8_t *operation_region;
    uint8_t *record; /* the encoded commit record */
    uint8_t *begin;  /* of the body: up to the first envelope */
    size_t record_capacity;
    uint32_t begin_bytes;
    uint32_t operations_header_bytes;
    uint8_t operations_header[BATCH_BIN_HEADER_BYTES_MAX];
    uint8_t last[ES_LAST_SIZE_MAX];
};

#endif
