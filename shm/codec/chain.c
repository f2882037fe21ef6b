#include "shm/codec/chain.h"

enum es_status es_chain_verify_hash(const struct es_event_view *view)
{
    uint8_t hash[ES_HASH_SIZE];

    es_event_hash(view, hash);
    return memcmp(hash, view->hash, ES_HASH_SIZE) == 0 ? ES_OK : ES_E_CORRUPT;
}

enum es_status es_chain_verify_link(const struct es_event_view *view, uint64_t sequence,
                                    struct es_bytes predecessor_hash)
{
    bool is_first = sequence == 1;
    bool has_previous = view->event.previous_hash.size > 0;

    if (sequence == 0 || has_previous == is_first) {
        return ES_E_CORRUPT;
    }
    return es_bytes_equal(view->event.previous_hash, predecessor_hash) ? ES_OK : ES_E_CORRUPT;
}
