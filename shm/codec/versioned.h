/*
 * What the small stored values have in common: an array whose first element is
 * a version, whose trailing elements are passed over, and with nothing after it.
 * Private to the codec.
 */
#ifndef EVENTSPINE_CODEC_VERSIONED_H
#define EVENTSPINE_CODEC_VERSIONED_H

#include "shm/codec/strict_msgpack.h"

/* An array that is being read. */
struct es_versioned {
    struct es_unpack unpack;
    const uint8_t *first; /* the encoded first element */
    uint32_t count;       /* elements there are */
    uint32_t count_min;   /* elements there must be */
    bool is_known;        /* false: an intact beginning of another version */
};

/*
 * Opens an array of at least 'count_min' elements and reads its version. Then
 * the caller reads the other count_min - 1 from 'unpack' and asks for the end.
 */
void es_versioned_begin(struct es_versioned *value, const void *bytes, size_t size,
                        uint32_t count_min, uint64_t version);

/* ES_E_VERSION: another version. ES_E_CORRUPT: any read failed, or bytes are left over. */
ES_MUST_USE enum es_status es_versioned_end(struct es_versioned *value);

#endif
