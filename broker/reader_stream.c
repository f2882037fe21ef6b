#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/reader_state.h"

/* ---- where an event is ---- */

/* An event whose place is known, at or after the one that is sought. */
struct anchor {
    uint64_t sequence;
    uint64_t position;
};

/* The next 'Pos' at or after 'sequence', or the head where there is none yet. */
static enum es_status anchor_find(struct reader *reader, struct es_text stream, uint64_t sequence,
                                  const struct es_head_value *head, struct anchor *ret_anchor)
{
    uint64_t mark = (sequence - 1) / ES_POS_INTERVAL * ES_POS_INTERVAL + ES_POS_INTERVAL;
    struct anchor anchor = {.sequence = mark};
    struct es_key key;
    enum es_status status = ES_OK;

    if (mark > head->last_sequence) {
        *ret_anchor = (struct anchor){head->last_sequence, head->last_position};
        return ES_OK;
    }
    es_key_pos(stream, mark, &key);
    status = store_get(reader->store, reader->snapshot, STORE_STREAM_META,
                       (struct store_slice){key.bytes, key.size}, &reader->value);
    if (status == ES_OK) {
        status = es_pos_decode(reader->value.bytes, reader->value.size, &anchor.position);
    }
    if (status == ES_NOT_FOUND || status == ES_E_CORRUPT) {
        return reader_damage(reader, "the position of event %" PRIu64 " of stream %.*s is %s", mark,
                             (int)stream.size, stream.data,
                             status == ES_NOT_FOUND ? "missing" : "damaged");
    }
    *ret_anchor = anchor;
    return reader_unreadable(reader, status, "the position of event %" PRIu64 " of stream %.*s",
                             mark, (int)stream.size, stream.data);
}

/* The run that the anchor is in; its commit is the loaded one then. */
static enum es_status anchor_run(struct reader *reader, struct es_text stream,
                                 const struct anchor *anchor, const struct reader_run **ret_run)
{
    const struct reader_run *run = NULL;
    enum es_status status = ES_OK;

    if (anchor->position == 0 || anchor->position > reader->head.position) {
        return reader_damage(reader,
                             "event %" PRIu64 " of stream %.*s is said to be at position %" PRIu64
                             ", which does not exist",
                             anchor->sequence, (int)stream.size, stream.data, anchor->position);
    }
    status = reader_commit_at(reader, anchor->position);
    if (status != ES_OK) {
        return status;
    }
    run = reader_run_at(reader, anchor->position);
    if (!es_text_equal(run->stream, stream) ||
        run->first_sequence + (anchor->position - run->first_position) != anchor->sequence) {
        return reader_damage(reader,
                             "event %" PRIu64 " of stream %.*s is not at position %" PRIu64
                             ", where it is said to be",
                             anchor->sequence, (int)stream.size, stream.data, anchor->position);
    }
    *ret_run = run;
    return ES_OK;
}

/*
 * Walks from the anchor back to 'first' and writes the places of first..last
 * into the entries of the slab, which hold just these sequences.
 */
static enum es_status locate_range(struct reader *reader, struct es_text stream, uint64_t first,
                                   uint64_t last, const struct es_head_value *head,
                                   struct slab_entry *entries)
{
    struct anchor anchor = {0};
    enum es_status status = anchor_find(reader, stream, last, head, &anchor);

    while (status == ES_OK && anchor.sequence >= first) {
        const struct reader_run *run = NULL;
        uint64_t from = 0;
        uint64_t to = 0;

        status = anchor_run(reader, stream, &anchor, &run);
        if (status != ES_OK) {
            break;
        }
        assert(run != NULL);
        from = run->first_sequence > first ? run->first_sequence : first;
        to = anchor.sequence < last ? anchor.sequence : last;
        for (uint64_t sequence = from; sequence <= to; sequence++) {
            entries[sequence - first].position =
                run->first_position + (sequence - run->first_sequence);
            entries[sequence - first].time_us = reader->commit.time_us;
        }
        /* Sequences only fall, so this ends whatever the positions say. */
        anchor = (struct anchor){run->first_sequence - 1, run->previous_position};
    }
    return status;
}

/* Whether the stream has the sequence; the head is read on the way. */
static enum es_status sequence_check(struct reader *reader, struct es_text stream,
                                     uint64_t sequence, struct es_head_value *ret_head)
{
    enum es_status status = reader_stream_head(reader, stream, ret_head);

    if (status != ES_OK) {
        return status;
    }
    if (sequence == 0 || sequence > ret_head->last_sequence) {
        return ES_NOT_FOUND;
    }
    return sequence < ret_head->first_sequence ? ES_TRUNCATED : ES_OK;
}

enum es_status reader_locate(struct reader *reader, struct es_text stream, uint64_t sequence,
                             uint64_t *ret_position, uint64_t *ret_time_us)
{
    struct es_head_value head;
    struct slab_entry entry = {0};
    enum es_status status = sequence_check(reader, stream, sequence, &head);

    if (status == ES_OK) {
        status = locate_range(reader, stream, sequence, sequence, &head, &entry);
    }
    if (status == ES_OK) {
        *ret_position = entry.position;
        *ret_time_us = entry.time_us;
    }
    return status;
}

enum es_status reader_event(struct reader *reader, struct es_text stream, uint64_t sequence,
                            bool with_position, struct reader_event *ret_event)
{
    struct es_head_value head;
    struct slab_entry entry = {0};
    struct es_event_view view;
    struct es_bytes envelope;
    struct es_key key;
    enum es_status status = sequence_check(reader, stream, sequence, &head);

    if (status == ES_OK && with_position) {
        status = locate_range(reader, stream, sequence, sequence, &head, &entry);
    }
    if (status != ES_OK) {
        return status;
    }
    es_key_event(stream, sequence, &key);
    status = store_get(reader->store, reader->snapshot, STORE_EVENTS,
                       (struct store_slice){key.bytes, key.size}, &reader->event);
    if (status == ES_NOT_FOUND || status == ES_E_CORRUPT) {
        return reader_damaged_event(reader, stream, sequence, entry.position,
                                    status == ES_NOT_FOUND ? "is missing" : "is unreadable");
    }
    if (status != ES_OK) {
        return reader_unreadable(reader, status, "event %" PRIu64 " of stream %.*s", sequence,
                                 (int)stream.size, stream.data);
    }
    envelope = es_bytes_make(reader->event.bytes, (uint32_t)reader->event.size);
    status = reader_check_event(reader, stream, sequence, entry.position, envelope, &view);
    if (status == ES_OK) {
        *ret_event = (struct reader_event){
            .stream = stream,
            .sequence = sequence,
            .position = entry.position,
            .time_us = entry.time_us,
            .envelope = envelope,
        };
    }
    return status;
}

/* ---- pages of a stream ---- */

/* Which sequences a page is to hold. */
struct span {
    uint64_t first;
    uint64_t last;
    bool backwards;
};

static struct span span_of(uint64_t from, uint64_t count, bool backwards,
                           const struct es_head_value *head)
{
    uint64_t available =
        backwards ? from - head->first_sequence + 1 : head->last_sequence - from + 1;

    count = count < available ? count : available;
    return (struct span){
        .first = backwards ? from - count + 1 : from,
        .last = backwards ? from : from + count - 1,
        .backwards = backwards,
    };
}

/* Looks the span up, without places yet. ES_FULL: it is too large. */
static enum es_status span_fetch(struct reader *reader, struct es_text stream,
                                 const struct span *span)
{
    slab_clear(reader->slab);
    for (uint64_t sequence = span->first; sequence <= span->last; sequence++) {
        if (!slab_add(reader->slab, stream, sequence, 0, 0)) {
            return ES_FULL;
        }
    }
    return ES_OK;
}

/*
 * Gives the events of the slab to 'emit' in the order asked for, up to the
 * first damaged one. ES_E_CORRUPT: that was the first of all.
 */
static enum es_status span_emit(struct reader *reader, const struct span *span,
                                const struct es_head_value *head, reader_emit_fn emit,
                                void *context, struct reader_page *page)
{
    const struct reader_slab *slab = reader->slab;
    uint32_t emitted = 0;

    for (; emitted < slab->entry_count; emitted++) {
        uint32_t index = span->backwards ? slab->entry_count - 1 - emitted : emitted;
        const struct slab_entry *entry = &slab->entries[index];

        if (entry->envelope == NULL) {
            if (emitted == 0) {
                return ES_E_CORRUPT;
            }
            break;
        }
        if (!slab_emit(slab, entry, emit, context)) {
            break;
        }
    }
    page->next = span->backwards ? span->last - emitted : span->first + emitted;
    page->end =
        span->backwards ? page->next < head->first_sequence : page->next > head->last_sequence;
    return ES_OK;
}

enum es_status reader_stream(struct reader *reader, struct es_text stream, uint64_t from_sequence,
                             uint32_t count, bool backwards, reader_emit_fn emit, void *context,
                             struct reader_page *ret_page)
{
    struct es_head_value head;
    uint32_t wanted = slab_count_wanted(reader, PAGE_BYTES_MAX);
    uint64_t from = from_sequence;
    struct span span;
    enum es_status status = reader_stream_head(reader, stream, &head);

    if (status != ES_OK) {
        return status;
    }
    if (backwards && (from == 0 || from > head.last_sequence)) {
        from = head.last_sequence;
    } else if (from == 0) {
        from = head.first_sequence;
    }
    if (from < head.first_sequence) {
        return ES_TRUNCATED;
    }
    if (from > head.last_sequence || count == 0) {
        *ret_page = (struct reader_page){.end = from > head.last_sequence, .next = from};
        return ES_OK;
    }
    wanted = wanted < count ? wanted : count;
    do { /* until it fits; one event always does */
        span = span_of(from, wanted, backwards, &head);
        status = span_fetch(reader, stream, &span);
        if (status == ES_OK) {
            status =
                locate_range(reader, stream, span.first, span.last, &head, reader->slab->entries);
        }
        if (status == ES_OK) {
            status = slab_fetch(reader);
            if (status == ES_E_IO) { /* whichever of them it was */
                (void)reader_unreadable(reader, status,
                                        "events %" PRIu64 " to %" PRIu64 " of stream %.*s",
                                        span.first, span.last, (int)stream.size, stream.data);
            }
        }
        wanted = (wanted + 1) / 2;
    } while (status == ES_FULL);
    if (status == ES_OK) {
        status = span_emit(reader, &span, &head, emit, context, ret_page);
    }
    return status;
}
