#include "broker/stored_snapshot.h"

#include <string.h>

#include "shm/codec/envelope.h"

enum es_status stored_snapshot_read(struct store_slice key, struct store_slice value,
                                    struct stored_snapshot *ret_stored)
{
    struct stored_snapshot stored = {.readable = false};
    enum es_status status =
        es_key_snapshot_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &stored.stream,
                              &stored.tick, &stored.sequence, &stored.projection);

    if (status == ES_OK) {
        stored.readable = es_snapshot_value_decode(value.bytes, value.size, &stored.value) == ES_OK;
        *ret_stored = stored;
    }
    return status;
}

const char *stored_snapshot_flaw(struct reader *reader, const struct stored_snapshot *stored)
{
    const struct es_snapshot_value *value = &stored->value;
    struct reader_event event;
    struct es_event_view view;
    enum es_status status = ES_OK;

    if (!stored->readable) {
        return "its value is malformed";
    }
    if (value->tick != stored->tick || !es_text_equal(value->projection, stored->projection) ||
        (stored->projection.size > 0 && value->sequence != stored->sequence)) {
        return "key and value differ";
    }
    if (es_snapshot_value_verify(value) != ES_OK) {
        return "its state does not match its hash";
    }
    status = reader_event(reader, stored->stream, value->sequence, false, &event);
    if (status == ES_NOT_FOUND || status == ES_TRUNCATED) {
        return "the event it is bound to is not there";
    }
    if (status != ES_OK ||
        es_envelope_decode(event.envelope.data, event.envelope.size, &view) != ES_OK) {
        return "the event it is bound to is damaged";
    }
    return memcmp(view.hash, value->event_hash, ES_HASH_SIZE) == 0
               ? NULL
               : "the event it is bound to has another hash";
}
