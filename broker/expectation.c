#include "broker/expectation.h"

#include <string.h>

static enum es_reason sequence_reason(const struct es_expected *expect,
                                      const struct stream_state *state)
{
    switch (expect->kind) {
    case ES_EXPECTED_ANY: return ES_REASON_NONE;
    case ES_EXPECTED_NONE: return state->exists ? ES_REASON_STREAM_EXISTS : ES_REASON_NONE;
    case ES_EXPECTED_EXISTS: return state->exists ? ES_REASON_NONE : ES_REASON_STREAM_MISSING;
    case ES_EXPECTED_EXACT: break;
    }
    if (!state->exists) {
        return ES_REASON_STREAM_MISSING;
    }
    return state->head.last_sequence == expect->number ? ES_REASON_NONE
                                                       : ES_REASON_SEQUENCE_DIFFERS;
}

/* "Given and empty" means that the stream must not exist. */
static enum es_reason hash_reason(const struct es_expected_hash *expect,
                                  const struct stream_state *state)
{
    if (!expect->given) {
        return ES_REASON_NONE;
    }
    if (expect->hash.size == 0) {
        return state->exists ? ES_REASON_STREAM_EXISTS : ES_REASON_NONE;
    }
    if (!state->exists) {
        return ES_REASON_STREAM_MISSING;
    }
    return memcmp(expect->hash.data, state->head.last_hash, ES_HASH_SIZE) == 0
               ? ES_REASON_NONE
               : ES_REASON_HASH_DIFFERS;
}

enum es_reason expectation_of_stream(const struct es_append_operation *append,
                                     const struct stream_state *state)
{
    enum es_reason reason = sequence_reason(&append->expect, state);

    return reason != ES_REASON_NONE ? reason : hash_reason(&append->expect_hash, state);
}

enum es_reason expectation_of_key(const struct es_expected *expect, bool must_exist,
                                  const struct key_state *state)
{
    bool exists = state->revision != 0;

    if (must_exist && !exists) {
        return ES_REASON_KEY_MISSING;
    }
    switch (expect->kind) {
    case ES_EXPECTED_ANY: return ES_REASON_NONE;
    case ES_EXPECTED_NONE: return exists ? ES_REASON_KEY_EXISTS : ES_REASON_NONE;
    case ES_EXPECTED_EXISTS: return exists ? ES_REASON_NONE : ES_REASON_KEY_MISSING;
    case ES_EXPECTED_EXACT: break;
    }
    if (!exists) {
        return ES_REASON_KEY_MISSING;
    }
    return state->revision == expect->number ? ES_REASON_NONE : ES_REASON_REVISION_DIFFERS;
}
