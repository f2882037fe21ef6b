/* Fuzzes the requests of the REP socket, which any local process may send. */
#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recode_or_abort(recode_request, data, size, true);
    return 0;
}
