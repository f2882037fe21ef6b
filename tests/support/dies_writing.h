/*
 * Kills a child at its first write to some pages, and so at one exact instruction:
 * what it wrote before is what a process killed there would have left.
 */
#ifndef TESTS_SUPPORT_DIES_WRITING_H
#define TESTS_SUPPORT_DIES_WRITING_H

#include <stddef.h>

/*
 * Runs act(context) in a child that may not write to the 'size' bytes at 'pages' (whole
 * pages of memory that is shared with it, shared_memory.h), and asserts that it died
 * of trying.
 */
void dies_writing(void *pages, size_t size, void (*act)(void *context), void *context);

#endif
