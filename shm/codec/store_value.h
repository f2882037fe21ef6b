/*
 * The small values of the families 'producers', 'consumers' and 'default'.
 *   P:{producer}             [1, owner_incarnation, last_sequence, owner_uid]
 *   P:{producer}: + number   the 16 bytes of the commit's key
 *   C:{consumer}             [1, epoch, position, owner, updated_us]
 *   Category:{category}      [1, last_position]
 *   Revision                 [1, last_revision]
 *   Store                    [format_version, store_id(bin 16)]
 *   Epochs                   [[epoch, first_position]...]
 * Trailing elements are passed over. Decoders leave their output untouched on
 * failure: ES_E_CORRUPT for bytes that are not such a value, ES_E_VERSION for
 * another leading number. Encoders say ES_E_TOO_LARGE if it does not fit into
 * 'capacity'; ES_STORE_VALUE_SIZE_MAX always does. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_STORE_VALUE_H
#define EVENTSPINE_CODEC_STORE_VALUE_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_STORE_VALUE_SIZE_MAX 1224U
#define ES_EPOCH_COUNT_MAX 64U /* histories one store can have had */
#define ES_STORE_FORMAT_VERSION 1U

struct es_producer_value {
    uint64_t owner_incarnation; /* of the lane that owns the name: the fencing token */
    uint64_t last_sequence;     /* 0: nothing was committed under the name yet */
    uint32_t owner_uid;         /* the first user of the name: it is theirs */
};

struct es_consumer_value {
    uint64_t epoch;
    uint64_t position;    /* the last one applied */
    struct es_text owner; /* free text of at most 255 bytes; decoded: a view */
    uint64_t updated_us;  /* microseconds since 1970 */
};

struct es_store_identity {
    uint64_t format_version;
    uint8_t store_id[ES_STORE_ID_SIZE];
};

struct es_epoch_entry {
    uint64_t epoch;
    uint64_t first_position; /* first position that belongs to it */
};

struct es_epochs {
    uint32_t count;
    struct es_epoch_entry entries[ES_EPOCH_COUNT_MAX]; /* oldest first */
};

ES_MUST_USE enum es_status es_producer_value_encode(const struct es_producer_value *value,
                                                    void *ret_bytes, size_t capacity,
                                                    uint32_t *ret_size);
ES_MUST_USE enum es_status es_producer_value_decode(const void *bytes, size_t size,
                                                    struct es_producer_value *ret_value);

ES_MUST_USE enum es_status es_consumer_value_encode(const struct es_consumer_value *value,
                                                    void *ret_bytes, size_t capacity,
                                                    uint32_t *ret_size);
ES_MUST_USE enum es_status es_consumer_value_decode(const void *bytes, size_t size,
                                                    struct es_consumer_value *ret_value);

ES_MUST_USE enum es_status es_category_value_encode(uint64_t last_position, void *ret_bytes,
                                                    size_t capacity, uint32_t *ret_size);
ES_MUST_USE enum es_status es_category_value_decode(const void *bytes, size_t size,
                                                    uint64_t *ret_last_position);

ES_MUST_USE enum es_status es_revision_value_encode(uint64_t last_revision, void *ret_bytes,
                                                    size_t capacity, uint32_t *ret_size);
ES_MUST_USE enum es_status es_revision_value_decode(const void *bytes, size_t size,
                                                    uint64_t *ret_last_revision);

ES_MUST_USE enum es_status es_store_identity_encode(const struct es_store_identity *identity,
                                                    void *ret_bytes, size_t capacity,
                                                    uint32_t *ret_size);

/* A newer format version decodes: refusing it, with a message, is the start-up's job. */
ES_MUST_USE enum es_status es_store_identity_decode(const void *bytes, size_t size,
                                                    struct es_store_identity *ret_identity);

/* ES_E_CORRUPT too if there are none, or more than ES_EPOCH_COUNT_MAX. */
ES_MUST_USE enum es_status es_epochs_encode(const struct es_epochs *epochs, void *ret_bytes,
                                            size_t capacity, uint32_t *ret_size);
ES_MUST_USE enum es_status es_epochs_decode(const void *bytes, size_t size,
                                            struct es_epochs *ret_epochs);

#endif
