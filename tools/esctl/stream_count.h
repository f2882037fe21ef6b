/*
 * How many different streams an import has touched. It remembers a 64-bit hash a
 * stream and no more than STREAM_COUNT_MAX of them: an import of any length stays
 * in bounded memory, and from there on counts "at least". One thread.
 */
#ifndef ESCTL_STREAM_COUNT_H
#define ESCTL_STREAM_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_COUNT_MAX ((size_t)1 << 21) /* 32 MiB of memory */

struct stream_count {
    uint64_t *slots; /* 0: free */
    size_t slot_count;
    size_t count;
    bool at_least; /* there were more, or memory was short */
};

void stream_count_init(struct stream_count *streams);
void stream_count_deinit(struct stream_count *streams);

/* What stream_count_add() takes; never 0. */
uint64_t stream_count_key(const char *stream);

void stream_count_add(struct stream_count *streams, uint64_t key);

#endif
