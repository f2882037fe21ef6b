/*
 * MessagePack written as text, for tests of what strangers send:
 *   [1 -1 18446744073709551615 'text' b32 ~ true false]
 * is an array of integers, a string, a bin of 32 bytes 0x11, nil and booleans.
 * Arrays hold at most 15 elements.
 */
#ifndef TESTS_SUPPORT_NOTATION_H
#define TESTS_SUPPORT_NOTATION_H

#include <stddef.h>
#include <stdint.h>

/* Writes what 'text' says and returns its size. A mistake in it stops the program. */
uint32_t notation_write(const char *text, uint8_t *ret_bytes, size_t capacity);

#endif
