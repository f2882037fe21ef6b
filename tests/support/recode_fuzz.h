/*
 * The one property that every fuzz target of the codec has: bytes are refused, or
 * what was read and written again is the same, or shorter by trailing elements.
 */
#ifndef TESTS_SUPPORT_RECODE_FUZZ_H
#define TESTS_SUPPORT_RECODE_FUZZ_H

#include "tests/support/recode.h"

#include <stdlib.h>
#include <string.h>

/* Stops the program, for the fuzzer to see, if 'recode' breaks its promise. */
static inline void recode_or_abort(int (*recode)(const uint8_t *, size_t, uint8_t *, size_t,
                                                 uint32_t *),
                                   const uint8_t *data, size_t size, bool is_exact)
{
    uint8_t *again = (uint8_t *)malloc(size > 0 ? size : 1);
    uint32_t again_size = 0;

    if (again == NULL) {
        return;
    }
    if (recode(data, size, again, size, &again_size) == 0 && (is_exact || again_size == size) &&
        (again_size != size || memcmp(again, data, size) != 0)) {
        abort();
    }
    free(again);
}

#endif
