/*
 * Segments without files: anonymous memory that fork() shares with children, as
 * if both had mapped one file. es_segment_unmap() gives it back.
 */
#ifndef TESTS_SUPPORT_SHARED_MEMORY_H
#define TESTS_SUPPORT_SHARED_MEMORY_H

#include <stddef.h>

#include "shm/segment.h"

/* 'size' zero bytes; ends the test program if there are none. */
struct es_segment shared_memory(size_t size);

#endif
