/*
 * The kept values of tests/golden: '#' lines are comments, a line of a name and a
 * size opens a value, indented lines of hexadecimal digits are its bytes.
 */
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#define GOLDEN_SIZE_MAX 4096

/*
 * Reads value 'name' of tests/golden/'file'.golden and returns its size, at most
 * GOLDEN_SIZE_MAX. A value that is not there stops the program with a message.
 */
size_t golden_read(const char *file, const char *name, uint8_t ret_bytes[GOLDEN_SIZE_MAX]);

/* Calls 'visit' with each value of tests/golden/'file'.golden, in its order. */
void golden_each(const char *file,
                 void (*visit)(void *context, const char *file, const char *name,
                               const uint8_t *bytes, size_t size),
                 void *context);

#endif
