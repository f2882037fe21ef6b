#include "shm/codec/versioned.h"

void es_versioned_begin(struct es_versioned *value, const void *bytes, size_t size,
                        uint32_t count_min, uint64_t version)
{
    es_unpack_init(&value->unpack, bytes, size);
    value->count = es_unpack_array_in(&value->unpack, 1, UINT32_MAX);
    value->count_min = count_min;
    value->first = value->unpack.at;
    uint64_t found = es_unpack_uint(&value->unpack);
    value->is_known = !es_unpack_ok(&value->unpack) || found == version;
    if (value->count < count_min) {
        es_unpack_fail(&value->unpack);
    }
}

enum es_status es_versioned_end(struct es_versioned *value)
{
    if (!value->is_known) {
        return ES_E_VERSION;
    }
    if (es_unpack_ok(&value->unpack)) {
        es_unpack_skip_count(&value->unpack, value->count - value->count_min);
    }
    return es_unpack_done(&value->unpack) ? ES_OK : ES_E_CORRUPT;
}
