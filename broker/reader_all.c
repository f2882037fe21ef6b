#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/reader_state.h"

/* ---- by position ---- */

enum {
    PAGE_BYTES_ENOUGH = PAGE_BYTES_MAX / 8 * 7 /* not worth another look-up */
};

/* A page being made. */
struct page_work {
    uint64_t next;    /* position */
    uint64_t last;    /* of the snapshot */
    uint32_t wanted;  /* events that may still come */
    uint32_t commits; /* that may still be looked at */
    size_t bytes;     /* handed over so far */
    uint32_t emitted;
    bool full; /* the page takes no more */
    struct es_text filter;
};

/*
 * Fills the slab with up to 'count' matching events from work->next on. Returns
 * the position that follows the last one looked at.
 */
static enum es_status slab_collect(struct reader *reader, struct page_work *work, uint32_t count,
                                   uint64_t *ret_next)
{
    uint64_t position = work->next;
    bool room = true;

    slab_clear(reader->slab);
    while (room && position <= work->last && work->commits > 0) {
        const struct reader_run *run = NULL;
        enum es_status status = reader_commit_at(reader, position);
        uint64_t end = 0;

        if (status != ES_OK) {
            *ret_next = position;
            return status;
        }
        run = reader_run_at(reader, position);
        end = run->first_position + run->count;
        if (reader_filter_matches(work->filter, run->stream)) {
            while (position < end) {
                uint64_t sequence = run->first_sequence + (position - run->first_position);

                if (reader->slab->entry_count == count ||
                    !slab_add(reader->slab, run->stream, sequence, position,
                              reader->commit.time_us)) {
                    room = false;
                    break;
                }
                position++;
            }
        } else {
            position = end;
        }
        if (position > reader->commit.last_position) {
            work->commits--;
        }
    }
    *ret_next = position;
    return ES_OK;
}

/* Hands the slab over in position order, up to the first damaged event. */
static void slab_hand_over(struct reader *reader, struct page_work *work, uint64_t next,
                           bool *ret_damaged, reader_emit_fn emit, void *context)
{
    const struct reader_slab *slab = reader->slab;

    *ret_damaged = false;
    for (uint32_t i = 0; i < slab->entry_count; i++) {
        const struct slab_entry *entry = &slab->entries[i];

        if (entry->envelope == NULL) {
            *ret_damaged = true;
            work->next = entry->position;
            return;
        }
        if (!slab_emit(slab, entry, emit, context)) {
            work->full = true;
            work->next = entry->position;
            return;
        }
        work->emitted++;
        work->wanted--;
        work->bytes += entry->envelope_bytes;
    }
    work->next = next;
}

/* One round: collect, look up, hand over. Damage ends the page, or is it. */
static enum es_status page_round(struct reader *reader, struct page_work *work, reader_emit_fn emit,
                                 void *context)
{
    uint32_t count = slab_count_wanted(reader, PAGE_BYTES_MAX - work->bytes);
    uint32_t commits = work->commits;
    uint64_t next = 0;
    bool damaged = false;
    enum es_status status = ES_OK;
    enum es_status collected = ES_OK;

    count = count < work->wanted ? count : work->wanted;
    do { /* until it fits; one event always does */
        work->commits = commits;
        collected = slab_collect(reader, work, count, &next);
        if (collected != ES_OK && reader->slab->entry_count == 0) {
            work->next = next;
            return collected;
        }
        status = slab_fetch(reader);
        count = (count + 1) / 2;
    } while (status == ES_FULL);
    if (status != ES_OK) {
        return reader_unreadable(reader, status, "events from position %" PRIu64 " to %" PRIu64,
                                 work->next, next - 1);
    }
    slab_hand_over(reader, work, next, &damaged, emit, context);
    if (damaged && work->emitted == 0) {
        return ES_E_CORRUPT;
    }
    work->full = work->full || damaged || collected != ES_OK;
    return ES_OK;
}

enum es_status reader_all(struct reader *reader, uint64_t from, uint32_t count,
                          struct es_text filter, reader_emit_fn emit, void *context,
                          struct reader_page *ret_page)
{
    struct page_work work = {
        .next = from == 0 ? 1 : from,
        .last = reader->head.position,
        .wanted = count,
        .commits = READER_COMMITS_PER_PAGE_MAX,
        .filter = filter,
    };
    enum es_status status = ES_OK;

    while (status == ES_OK && !work.full && work.next <= work.last && work.wanted > 0 &&
           work.commits > 0 && work.bytes < PAGE_BYTES_ENOUGH) {
        status = page_round(reader, &work, emit, context);
    }
    if (status == ES_E_CORRUPT && work.emitted > 0) {
        status = ES_OK; /* the next page meets it at once */
    }
    if (status == ES_OK) {
        *ret_page = (struct reader_page){.end = work.next > work.last, .next = work.next};
    }
    return status;
}

/* ---- by key ---- */

/* Says where in the order of keys a scan that began behind the key 'after' cannot go on. */
static enum es_status scan_stopped(struct reader *reader, enum es_status status,
                                   struct es_bytes after)
{
    struct es_text stream;
    uint64_t sequence = 0;

    if (after.size == 0 || es_key_event_parse(after, &stream, &sequence) != ES_OK) {
        return reader_unreadable(reader, status, "the first event in the order of keys");
    }
    return reader_unreadable(reader, status,
                             "what follows event %" PRIu64 " of stream %.*s in the order of keys",
                             sequence, (int)stream.size, stream.data);
}

/* Hands over the event under the iterator. ES_FULL: the page takes no more. */
static enum es_status scan_one(struct reader *reader, struct store_iterator *events,
                               struct es_bytes after, reader_emit_fn emit, void *context,
                               struct es_key *ret_last_key)
{
    struct store_slice key = store_iterator_key(events);
    struct store_slice value = store_iterator_value(events);
    struct reader_event event = {.envelope = es_bytes_make(value.bytes, (uint32_t)value.size)};
    struct es_event_view view;
    enum es_status status = ES_OK;

    if (es_key_event_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &event.stream,
                           &event.sequence) != ES_OK) {
        return scan_stopped(reader, ES_E_CORRUPT, after);
    }
    status = reader_check_event(reader, event.stream, event.sequence, 0, event.envelope, &view);
    if (status == ES_OK && !emit(context, &event)) {
        return ES_FULL;
    }
    if (status == ES_OK) {
        memcpy(ret_last_key->bytes, key.bytes, key.size);
        ret_last_key->size = (uint32_t)key.size;
    }
    return status;
}

enum es_status reader_scan(struct reader *reader, struct es_bytes after_key, struct es_text prefix,
                           uint32_t count, reader_emit_fn emit, void *context,
                           struct es_key *ret_last_key, bool *ret_end)
{
    uint8_t first[2 + ES_STREAM_SIZE_MAX] = {'S', ':'};
    uint8_t end[2 + ES_STREAM_SIZE_MAX];
    struct store_range range = {.first = {first, prefix.size + 2u}};
    struct store_iterator *events = NULL;
    uint32_t taken = 0;
    enum es_status status = ES_OK;

    if (prefix.size > ES_STREAM_SIZE_MAX) {
        return ES_E_INVALID;
    }
    memcpy(first + 2, prefix.data, prefix.size);
    range.end = (struct store_slice){end, store_prefix_end(range.first, end)};
    status = store_iterator_new(reader->store, reader->snapshot, STORE_EVENTS, &range, &events);
    if (status != ES_OK) {
        return status;
    }
    ret_last_key->size = 0;
    if (after_key.size == 0) {
        store_iterator_seek_first(events);
    } else {
        struct store_slice after = {after_key.data, after_key.size};

        store_iterator_seek(events, after);
        if (store_iterator_valid(events)) {
            struct store_slice found = store_iterator_key(events);

            if (found.size == after.size && memcmp(found.bytes, after.bytes, after.size) == 0) {
                store_iterator_next(events);
            }
        }
    }
    for (; status == ES_OK && taken < count && store_iterator_valid(events); taken++) {
        status = scan_one(reader, events, after_key, emit, context, ret_last_key);
        if (status == ES_OK) {
            store_iterator_next(events);
        }
    }
    if (status == ES_OK) {
        status = scan_stopped(reader, store_iterator_status(events), after_key);
    }
    *ret_end = status == ES_OK && !store_iterator_valid(events);
    if (status == ES_FULL || (status == ES_E_CORRUPT && ret_last_key->size > 0)) {
        status = ES_OK; /* the next page begins there */
    }
    store_iterator_free(events);
    return status;
}
