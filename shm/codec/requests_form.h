/*
 * The form of each request: what requests_encode.c writes and requests_decode.c insists
 * on. For these two.
 */
#ifndef EVENTSPINE_CODEC_REQUESTS_FORM_H
#define EVENTSPINE_CODEC_REQUESTS_FORM_H

#include "shm/codec/requests.h"

#define ES_REQUEST_CHECKPOINT_COUNT 3U /* elements of a hello's checkpoint */

/* Elements of a request, the version and the verb included; those that may be left out
 * at the end come on top. */
static inline uint32_t es_request_count(enum es_verb verb)
{
    static const uint8_t counts[] = {0, 3, 4, 6, 5, 5, 3, 2, 5, 8, 5, 5, 5, 5, 6, 2, 4, 4, 4, 4, 3};

    return counts[verb];
}

#endif
