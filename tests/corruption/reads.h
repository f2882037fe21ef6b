/*
 * What RocksDB reads of the files of a store while one unit of a comparison goes on. For that
 * its reads come by here (pread() of this program is RocksDB's too), and its cache is emptied
 * before each unit.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_READS_H
#define TESTS_CORRUPTION_READS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/corruption/directory_image.h"

enum {
    READS_PAGE_BYTES = 4096
};

/* A page of a file, and a unit that has read of it. */
struct reads_touch {
    uint32_t page; /* counted over all files of the image in their order */
    uint32_t unit;
};

/* The number of the first page of each file, and behind the last how many there are. */
void reads_number_pages(const struct directory_image *image,
                        uint32_t ret_first[IMAGE_FILES_MAX + 1]);

/* From now on what is read of the copy of 'image' at 'path' is written to the file. */
bool reads_begin(const struct directory_image *image, const char *path, const char *to);
void reads_begin_unit(uint32_t unit);
bool reads_end(void);

#endif
