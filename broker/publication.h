/*
 * What the committer hands to the publisher once a commit is durable and
 * applied: views into the batch, valid only during the call.
 */
#ifndef BROKER_PUBLICATION_H
#define BROKER_PUBLICATION_H

#include <stdint.h>

struct publication_event {
    const char *stream; /* text, not NUL-terminated */
    uint32_t stream_bytes;
    uint32_t category_bytes; /* the category is the text's beginning */
    uint64_t position;
    uint64_t sequence;
    uint64_t previous_position_in_category; /* 0: the category's first event */
    const uint8_t *envelope;
    uint32_t envelope_bytes;
};

struct publication {
    uint64_t head_position; /* after this commit */
    uint64_t commit_number;
    uint64_t time_us;
    uint8_t store_hash[32];
    const struct publication_event *events; /* in position order; may be none */
    uint32_t event_count;
};

#endif
