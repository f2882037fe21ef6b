#include <inttypes.h>
#include <string.h>

#include "broker/verify_state.h"

/* Makes 'stream' the current one and reads its head. */
static enum es_status stream_enter(struct verify *verify, struct es_text stream)
{
    enum es_status status = ES_OK;

    memcpy(verify->stream_before, stream.data, stream.size);
    verify->stream_before_bytes = stream.size;
    status = reader_stream_head(verify->reader, stream, &verify->head);
    verify->head_known = status == ES_OK;
    return status == ES_NOT_FOUND || status == ES_E_CORRUPT || status == ES_E_VERSION ? ES_OK
                                                                                      : status;
}

static struct es_text stream_current(const struct verify *verify)
{
    return es_text_make(verify->stream_before, verify->stream_before_bytes);
}

/* ---- events that are there and should not be ---- */

enum es_status verify_events_begin(struct verify *verify, struct es_bytes after)
{
    (void)after;
    verify->stream_before_bytes = 0;
    return ES_OK;
}

enum es_status verify_events_entry(struct verify *verify, struct es_bytes key,
                                   struct es_bytes value)
{
    struct es_text stream;
    uint64_t sequence = 0;
    enum es_status status = ES_OK;

    (void)value; /* its commit has it checked */
    if (es_key_event_parse(key, &stream, &sequence) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, es_text_make("", 0), 0, 0,
                      "a key of the family events is malformed");
        return ES_OK;
    }
    if (!es_text_equal(stream, stream_current(verify))) {
        status = stream_enter(verify, stream);
        if (status == ES_OK && !verify->head_known) {
            verify_report(verify, ES_FINDING_HEAD, stream, sequence, 0,
                          "the stream has events and no sound head");
        }
    }
    if (status == ES_OK && verify->head_known &&
        (sequence < verify->head.first_sequence || sequence > verify->head.last_sequence)) {
        verify_report(verify, ES_FINDING_EXTRA, stream, sequence, 0,
                      "the event lies outside of its stream, which has %" PRIu64 " to %" PRIu64,
                      verify->head.first_sequence, verify->head.last_sequence);
    }
    return status;
}

/* ---- heads and positions ---- */

/* The first sequence at or after 'sequence' whose position is written down. */
static uint64_t mark_at_or_after(uint64_t sequence)
{
    return (sequence + ES_POS_INTERVAL - 1) / ES_POS_INTERVAL * ES_POS_INTERVAL;
}

/* All positions up to 'sequence' should have been met. */
static void check_marks_before(struct verify *verify, uint64_t sequence)
{
    uint64_t last =
        sequence - 1 < verify->head.last_sequence ? sequence - 1 : verify->head.last_sequence;

    if (verify->head_known && verify->next_mark <= last) {
        verify_report(verify, ES_FINDING_MISSING, stream_current(verify), verify->next_mark, 0,
                      "the position of this event is not written down");
    }
}

enum es_status verify_streams_begin(struct verify *verify, struct es_bytes after)
{
    struct es_text stream;
    uint64_t sequence = 0;
    enum es_status status = ES_OK;

    verify->stream_before_bytes = 0;
    verify->head_known = false;
    if (after.size > 0 && (es_key_head_parse(after, &stream) == ES_OK ||
                           es_key_pos_parse(after, &stream, &sequence) == ES_OK)) {
        status = stream_enter(verify, stream);
        verify->next_mark = sequence > 0 ? sequence + ES_POS_INTERVAL
                                         : mark_at_or_after(verify->head.first_sequence);
    }
    return status;
}

/* The head's last event is there, where and what the head says. */
static void check_last_event(struct verify *verify, struct es_text stream)
{
    const struct es_head_value *head = &verify->head;
    const char *flaw = verify_place_flaw(verify, stream, head->last_sequence, head->last_position);
    struct reader_event event;
    struct es_event_view view;
    enum es_status status = ES_OK;

    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_HEAD, stream, head->last_sequence, head->last_position,
                      "the head %s", flaw);
    }
    status = reader_event(verify->reader, stream, head->last_sequence, false, &event);
    flaw = NULL;
    if (status != ES_OK ||
        es_envelope_decode(event.envelope.data, event.envelope.size, &view) != ES_OK) {
        flaw = "names a last event that is missing or damaged";
    } else if (memcmp(view.hash, head->last_hash, ES_HASH_SIZE) != 0) {
        flaw = "has another hash than its last event";
    } else if (view.event.tick != head->last_tick) {
        flaw = "has another tick than its last event";
    } else if (head->first_sequence > head->last_sequence) {
        flaw = "begins after its end";
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_HEAD, stream, head->last_sequence, head->last_position,
                      "the head %s", flaw);
    }
}

static enum es_status check_head(struct verify *verify, struct es_text stream,
                                 struct es_bytes value)
{
    enum es_status status = ES_OK;

    check_marks_before(verify, UINT64_MAX);
    memcpy(verify->stream_before, stream.data, stream.size);
    verify->stream_before_bytes = stream.size;
    status = es_head_decode(value.data, value.size, &verify->head);
    verify->head_known = status == ES_OK;
    if (!verify->head_known) {
        verify_report(verify, ES_FINDING_HEAD, stream, 0, 0, "the head is malformed");
        return ES_OK;
    }
    verify->next_mark = mark_at_or_after(verify->head.first_sequence);
    check_last_event(verify, stream);
    return ES_OK;
}

static enum es_status check_position(struct verify *verify, struct es_text stream,
                                     uint64_t sequence, struct es_bytes value)
{
    const char *flaw = NULL;
    uint64_t position = 0;
    enum es_status status = ES_OK;

    if (!es_text_equal(stream, stream_current(verify))) {
        check_marks_before(verify, UINT64_MAX);
        status = stream_enter(verify, stream);
        verify->next_mark = mark_at_or_after(1);
        if (!verify->head_known) {
            verify_report(verify, ES_FINDING_HEAD, stream, sequence, 0,
                          "the stream has positions and no sound head");
        }
    }
    if (es_pos_decode(value.data, value.size, &position) != ES_OK) {
        flaw = "is malformed";
    } else {
        flaw = verify_place_flaw(verify, stream, sequence, position);
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_HEAD, stream, sequence, position,
                      "the position written down for this event %s", flaw);
    }
    check_marks_before(verify, sequence);
    verify->next_mark = sequence + ES_POS_INTERVAL;
    return status;
}

enum es_status verify_streams_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value)
{
    struct es_text stream;
    uint64_t sequence = 0;

    if (es_key_head_parse(key, &stream) == ES_OK) {
        return check_head(verify, stream, value);
    }
    if (es_key_pos_parse(key, &stream, &sequence) == ES_OK && sequence > 0) {
        return check_position(verify, stream, sequence, value);
    }
    verify_report(verify, ES_FINDING_EXTRA, es_text_make("", 0), 0, 0,
                  "a key of the family stream_meta is neither a head nor a position");
    return ES_OK;
}

enum es_status verify_streams_end(struct verify *verify)
{
    check_marks_before(verify, UINT64_MAX);
    return ES_OK;
}
