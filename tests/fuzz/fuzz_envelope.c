/* Fuzzes the envelope decoder. What it accepts is canonical: encoded again it is the same. */
#include "shm/codec/chain.h"

#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct es_event_view view;
    uint8_t hash[ES_HASH_SIZE];

    recode_or_abort(recode_envelope, data, size, true);
    if (es_envelope_decode(data, size, &view) == ES_OK) {
        es_event_hash(&view, hash);
        bool is_equal = memcmp(hash, view.hash, sizeof hash) == 0;
        if ((es_chain_verify_hash(&view) == ES_OK) != is_equal) {
            abort();
        }
    }
    return 0;
}
