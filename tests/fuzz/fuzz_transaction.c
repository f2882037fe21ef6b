/* Fuzzes the body of a ring record, which any process of the machine may write. */
#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recode_or_abort(recode_transaction, data, size, true);
    return 0;
}
