#include "broker/verify.h"

#include <stdlib.h>

struct verify {
    struct store *store;
};

enum es_status verify_new(struct store *store, const uint8_t *store_id, struct verify **ret_verify)
{
    struct verify *verify = calloc(1, sizeof *verify);

    (void)store_id;
    if (verify == NULL) {
        return ES_E_NO_MEMORY;
    }
    verify->store = store;
    *ret_verify = verify;
    return ES_OK;
}

void verify_free(struct verify *verify)
{
    free(verify);
}

enum es_status verify_slice(struct verify *verify, struct verify_cursor *cursor, uint64_t budget_ns,
                            uint32_t findings_max, verify_found_fn found, void *context,
                            struct verify_progress *ret_progress)
{
    (void)verify;
    (void)cursor;
    (void)budget_ns;
    (void)findings_max;
    (void)found;
    (void)context;
    *ret_progress = (struct verify_progress){.end = true};
    return ES_E_INVALID;
}
