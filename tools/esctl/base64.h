/*
 * Base64 of RFC 4648, section 4: the standard alphabet with padding, and nothing
 * looser. Pure functions; any thread.
 */
#ifndef ESCTL_BASE64_H
#define ESCTL_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that 'size' bytes become, without a terminator. */
static inline size_t base64_text_size(size_t size)
{
    return (size + 2) / 3 * 4;
}

/* Writes base64_text_size(size) characters; adds no terminator. */
void base64_encode(const void *bytes, size_t size, char *ret_text);

/*
 * Reads 'size' characters. 'ret_bytes' has room for size / 4 * 3 bytes. False:
 * not base64 in its one canonical spelling; what 'ret_bytes' holds is useless.
 */
bool base64_decode(const char *text, size_t size, uint8_t *ret_bytes, size_t *ret_size);

#endif
