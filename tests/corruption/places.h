/*
 * Places in the files of a store that a class of damage is about: stretches of bytes, so that
 * each byte of them has a number.
 *
 * Threads. One: what a function returns holds until the next of them is called.
 */
#ifndef TESTS_CORRUPTION_PLACES_H
#define TESTS_CORRUPTION_PLACES_H

#include <stdbool.h>

#include "tests/corruption/directory_image.h"

enum {
    PLACES_STRETCHES_MAX = 65536,
    PLACES_TAIL_BYTES = 64 * 1024
};

struct stretch {
    const struct image_file *file;
    uint64_t from;
    uint64_t size;
};

struct places {
    struct stretch all[PLACES_STRETCHES_MAX];
    uint32_t count;
    uint64_t bytes;
};

typedef const struct places *(*places_fn)(const struct directory_image *store);

const struct places *places_manifest(const struct directory_image *store);
const struct places *places_current(const struct directory_image *store);
const struct places *places_anchor(const struct directory_image *store);
const struct places *places_segment_headers(const struct directory_image *store);
const struct places *places_record_headers(const struct directory_image *store);
const struct places *places_sst_footers(const struct directory_image *store);

/* The last PLACES_TAIL_BYTES that were written into the log, in the newest segment and in
 * those before it. */
const struct places *places_log_tail(const struct directory_image *store);

/* What was written into the log before that. */
const struct places *places_log_rest(const struct directory_image *store);

/* The last PLACES_TAIL_BYTES of each file that RocksDB reads when it opens, and the anchor. */
const struct places *places_other_tails(const struct directory_image *store);

/* Files that RocksDB writes and no start asks for what is in them. */
bool places_is_unread(const char *name);
const struct places *places_unread(const struct directory_image *store);

/* One byte for each place where something begins: a record of the log, else a page. */
const struct places *places_boundaries(const struct directory_image *store);

const struct places *places_everywhere(const struct directory_image *store);

/* The file, and the place in it, of byte 'index' of all stretches. */
const struct image_file *places_find(const struct places *places, uint64_t index,
                                     uint64_t *ret_offset);

#endif
