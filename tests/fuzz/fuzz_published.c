/* Fuzzes the messages of the PUB socket, as a subscriber reads them. */
#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recode_or_abort(recode_published, data, size, false);
    return 0;
}
