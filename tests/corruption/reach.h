/*
 * What a damage can touch: which units of a comparison (history.h) read of the pages that it
 * changes. It was seen once, on the sound store, read cold, unit by unit (reads.h). What no unit
 * in reach reads is the same bytes, read in the same way, as in the sound store.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_REACH_H
#define TESTS_CORRUPTION_REACH_H

#include "tests/corruption/damage.h"
#include "tests/corruption/history.h"

enum reach_kind {
    REACH_ALL,  /* nobody knows: everything is to be read */
    REACH_SOME, /* so many units, and the check of the start, which may refuse */
    REACH_PAGES /* so many units: pages of tables, that can be damaged together with others */
};

struct reach {
    uint32_t unit_count;
    uint32_t first_page[IMAGE_FILES_MAX + 1];
    uint64_t *first_touch; /* by page, into 'units', one more than there are pages */
    uint32_t *units;
    uint8_t *is_late; /* by unit: it reads what the commit log had and RocksDB had not */
};

/* Looks at the copy at 'path', in a child process; ends the program if it is not sound. */
void reach_learn(struct reach *reach, const struct directory_image *image,
                 const struct history *history, const char *path);

/* Sets the bytes of the units that 'damage' to 'image' touches, the others are 0; one more than
 * there are units: of the check of the start. */
enum reach_kind reach_of(const struct reach *reach, const struct directory_image *image,
                         const struct damage *damage, uint8_t *ret_units);

#endif
