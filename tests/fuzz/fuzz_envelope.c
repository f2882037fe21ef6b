/* Fuzzes the envelope decoder. What it accepts is canonical: encoded again it is the same. */
#include "shm/codec/chain.h"

#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct es_event_view view;

    recode_or_abort(recode_envelope, data, size, true);
    if (es_envelope_decode(data, size, &view) == ES_OK) {
        (void)es_chain_verify_hash(&view);
    }
    return 0;
}
