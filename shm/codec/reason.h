/*
 * Which rule was broken, or which expectation did not hold. A status says what
 * kind of answer it is (shm/eventspine_status.h); a reason says why. Reasons
 * travel in ring results and replies: numbers are never reused or changed.
 */
#ifndef EVENTSPINE_CODEC_REASON_H
#define EVENTSPINE_CODEC_REASON_H

#include <stdint.h>

enum es_reason {
    ES_REASON_NONE = 0,

    /* The bytes. */
    ES_REASON_MALFORMED = 1,        /* not the shape, or not MessagePack in shortest form */
    ES_REASON_VERSION = 2,          /* a leading number this program does not know */
    ES_REASON_TRAILING_BYTES = 3,   /* bytes after the end of the value */
    ES_REASON_OPERATION_KIND = 4,   /* no such operation */
    ES_REASON_OPERATION_COUNT = 5,  /* none, or more than ES_OPERATION_COUNT_MAX */
    ES_REASON_EVENT_COUNT = 6,      /* an append of no event */
    ES_REASON_TRANSACTION_SIZE = 7, /* larger than the broker's transaction_bytes_max */
    ES_REASON_PAYLOAD_SIZE = 8,     /* larger than a record or a request can carry */
    ES_REASON_RECORD = 9,           /* the header, length or checksum of a ring record */

    /* Names. */
    ES_REASON_STREAM_FORM = 20,  /* not variant:branch:L0:domain:Mmodel */
    ES_REASON_STREAM_LEVEL = 21, /* not 0..2^31-1, or written with leading zeros */
    ES_REASON_NAME_EMPTY = 22,
    ES_REASON_NAME_TOO_LONG = 23, /* more than 255 bytes */
    ES_REASON_NAME_NOT_UTF8 = 24,
    ES_REASON_NAME_COLON = 25,
    ES_REASON_NAME_CONTROL = 26,  /* a control character */
    ES_REASON_NAME_RESERVED = 27, /* begins with '$' */
    ES_REASON_TYPE_SIZE = 28,     /* not 1..255 bytes */
    ES_REASON_TYPE_NOT_PRINTABLE = 29,
    ES_REASON_KEY_SIZE = 30, /* not 1..1024 bytes */
    ES_REASON_KEY_TEXT = 31, /* not UTF-8, or with a control character */

    /* Numbers. */
    ES_REASON_TICK = 40, /* not 0..2^63-1 */
    ES_REASON_EXPECTED_SEQUENCE = 41,
    ES_REASON_EXPECTED_HASH = 42, /* neither empty nor 32 bytes */
    ES_REASON_FAMILY = 43,        /* neither kv nor read_models */
    ES_REASON_REVISION = 44,
    ES_REASON_SEQUENCE = 45, /* a sequence of 0, or past its end */

    /* Expectations that did not hold: status ES_CONFLICT, with the actual values. */
    ES_REASON_STREAM_EXISTS = 60,
    ES_REASON_STREAM_MISSING = 61,
    ES_REASON_SEQUENCE_DIFFERS = 62,
    ES_REASON_HASH_DIFFERS = 63,       /* the stream's head has another hash */
    ES_REASON_EVENT_HASH_DIFFERS = 64, /* the event itself came out with another hash */
    ES_REASON_KEY_EXISTS = 65,
    ES_REASON_KEY_MISSING = 66,
    ES_REASON_REVISION_DIFFERS = 67,
    ES_REASON_SNAPSHOT_EVENT = 68, /* names an event that is not there, or its tick differs */

    /* The state of the producer, the lane and the store. */
    ES_REASON_PRODUCER_SKIPPED = 80, /* number at or below the last one, but never committed */
    ES_REASON_PRODUCER_CONTENT = 81, /* this number was committed with other content */
    ES_REASON_PRODUCER_GAP = 82,     /* number past the next one, without ALLOW_GAP */
    ES_REASON_PRODUCER_UNNAMED = 83, /* a producer sequence from a lane without a name */
    ES_REASON_PRODUCER_FENCED = 84,  /* another lane owns the name now */
    ES_REASON_PREVIOUS_FAILED = 85,
    ES_REASON_DISK_RESERVE = 86,
    ES_REASON_LANE_EVICTED = 87,
    ES_REASON_NOT_SERVING = 88,
    ES_REASON_READ_ONLY = 89,
    ES_REASON_BATCH_LIMIT = 90,     /* does not fit into a batch of its own */
    ES_REASON_PRODUCER_NUMBER = 91, /* a named producer's transaction has no number */

    /* Requests. */
    ES_REASON_REQUEST_UNKNOWN = 100,  /* no such request */
    ES_REASON_REQUEST_ARGUMENT = 101, /* an argument outside its documented range */
    ES_REASON_EPOCH_UNKNOWN = 102,    /* a checkpoint of another history */
    ES_REASON_DAMAGE = 103            /* the stored bytes do not verify */
};

/*
 * A lower-case sentence in English that says which rule and, where it is fixed,
 * the bound; never NULL; static storage. 'reason' may be any number.
 */
const char *es_reason_text(uint32_t reason);

#endif
