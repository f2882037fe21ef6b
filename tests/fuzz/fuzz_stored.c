/*
 * Fuzzes the values that recovery and readers find in the store and in the commit
 * log: the first byte says which, the rest is the value.
 */
#include "tests/support/recode_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const recoders[])(const uint8_t *, size_t, uint8_t *, size_t, uint32_t *) = {
        recode_commit,
        recode_log_body,
        recode_last,
        recode_head,
        recode_pos,
        recode_kv_value,
        recode_snapshot_value,
        recode_producer_value,
        recode_consumer_value,
        recode_category_value,
        recode_store_identity,
        recode_epochs,
        recode_receipt,
        recode_attach_request,
        recode_attach_reply,
    };

    if (size > 0 && data[0] < sizeof recoders / sizeof recoders[0]) {
        recode_or_abort(recoders[data[0]], data + 1, size - 1, false);
    }
    return 0;
}
