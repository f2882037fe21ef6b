#include "broker/outgoing.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Events of one category are chained by index, first to last. */
struct outgoing_event {
    uint64_t position;
    uint64_t sequence;
    uint64_t previous_position_in_category;
    struct es_text category; /* of a chain's first event; size 0 elsewhere */
    struct es_bytes envelope;
    uint32_t next; /* index of the category's next event; 0: none */
};

/*
 * The category's previous event, as an index into this commit, or -1: it is in
 * an earlier commit, or there is none. Positions of a commit have no gaps, so
 * the previous position is all that is needed.
 */
static int64_t previous_index(const struct publication *publication, uint32_t index)
{
    const struct publication_event *event = &publication->events[index];
    uint64_t first = publication->events[0].position;
    uint64_t previous = event->previous_position_in_category;

    assert(event->position == first + index);
    assert(previous < event->position);
    return previous >= first ? (int64_t)(previous - first) : -1;
}

static struct es_text category_of(const struct publication_event *event)
{
    assert(event->category_bytes > 0);
    assert(event->category_bytes <= event->stream_bytes);
    return es_text_make(event->stream, event->category_bytes);
}

uint32_t outgoing_note_changes(const struct publication *publication,
                               struct category_changes *changes)
{
    bool followed[BATCH_EVENTS_MAX] = {false};
    uint32_t category_count = 0;

    assert(publication->event_count <= BATCH_EVENTS_MAX);
    for (uint32_t i = publication->event_count; i-- > 0;) {
        int64_t previous = previous_index(publication, i);

        if (previous >= 0) {
            followed[previous] = true;
        } else {
            category_count++;
        }
        if (!followed[i]) {
            category_changes_note(changes, category_of(&publication->events[i]),
                                  publication->events[i].position);
        }
    }
    return category_count;
}

static size_t copy_bytes(const struct publication *publication)
{
    size_t bytes =
        sizeof(struct outgoing) + (size_t)publication->event_count * sizeof(struct outgoing_event);

    for (uint32_t i = 0; i < publication->event_count; i++) {
        bytes += publication->events[i].envelope_bytes;
        if (previous_index(publication, i) < 0) {
            bytes += publication->events[i].category_bytes;
        }
    }
    return bytes;
}

static uint8_t *bytes_append(uint8_t *at, const void *bytes, uint32_t size)
{
    memcpy(at, bytes, size);
    return at + size;
}

struct outgoing *outgoing_copy(const struct publication *publication)
{
    size_t bytes = copy_bytes(publication);
    struct outgoing *outgoing = malloc(bytes);
    uint8_t *at = NULL;

    if (outgoing == NULL) {
        return NULL;
    }
    *outgoing = (struct outgoing){
        .head_position = publication->head_position,
        .time_us = publication->time_us,
        .bytes = bytes,
        .event_count = publication->event_count,
        .events = (struct outgoing_event *)(void *)(outgoing + 1),
    };
    memcpy(outgoing->store_hash, publication->store_hash, ES_HASH_SIZE);
    at = (uint8_t *)(outgoing->events + publication->event_count);
    for (uint32_t i = 0; i < publication->event_count; i++) {
        const struct publication_event *event = &publication->events[i];
        int64_t previous = previous_index(publication, i);

        outgoing->events[i] = (struct outgoing_event){
            .position = event->position,
            .sequence = event->sequence,
            .previous_position_in_category = event->previous_position_in_category,
            .envelope = es_bytes_make(at, event->envelope_bytes),
        };
        at = bytes_append(at, event->envelope, event->envelope_bytes);
        if (previous >= 0) {
            outgoing->events[previous].next = i;
        } else {
            outgoing->events[i].category = es_text_make((const char *)at, event->category_bytes);
            at = bytes_append(at, category_of(event).data, event->category_bytes);
            outgoing->category_count++;
        }
    }
    return outgoing;
}

void outgoing_note_copy(const struct outgoing *outgoing, struct category_changes *changes)
{
    for (uint32_t i = 0; i < outgoing->event_count; i++) {
        const struct outgoing_event *event = &outgoing->events[i];

        if (event->category.size > 0) {
            while (event->next != 0) {
                event = &outgoing->events[event->next];
            }
            category_changes_note(changes, outgoing->events[i].category, event->position);
        }
    }
}

void outgoing_buffer_deinit(struct outgoing_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct outgoing_buffer){0};
}

static bool buffer_reserve(struct outgoing_buffer *buffer, size_t capacity)
{
    if (buffer->capacity < capacity) {
        uint8_t *bytes = realloc(buffer->bytes, capacity);

        if (bytes == NULL) {
            return false;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return true;
}

/* How many events from 'first' on fit into one message, and its size at most. */
static uint32_t message_extent(const struct outgoing *outgoing, uint32_t first, size_t bytes_max,
                               struct es_published_head *head, size_t *ret_size_max)
{
    const struct outgoing_event *event = &outgoing->events[first];
    size_t size = ES_PUBLISHED_HEADER_MAX;
    uint32_t index = first;

    head->previous_position = event->previous_position_in_category;
    head->first_position = event->position;
    head->event_count = 0;
    do {
        size += ES_PUBLISHED_EVENT_OVERHEAD + event->envelope.size;
        head->last_position = event->position;
        head->event_count++;
        index = event->next;
        event = &outgoing->events[index];
    } while (index != 0 && size + ES_PUBLISHED_EVENT_OVERHEAD + event->envelope.size <= bytes_max);
    *ret_size_max = size;
    return index;
}

/* Writes the message that begins at 'first'; false if something did not fit. */
static bool message_write(const struct outgoing *outgoing, uint32_t first, struct es_text category,
                          const struct es_published_head *head, struct outgoing_buffer *buffer,
                          uint32_t *ret_size)
{
    const struct outgoing_event *event = &outgoing->events[first];
    struct es_pack pack;

    es_pack_init(&pack, buffer->bytes, buffer->capacity);
    es_published_begin(&pack, category, head);
    for (uint32_t i = 0; i < head->event_count; i++) {
        const struct es_published_event published = {
            .position = event->position,
            .sequence = event->sequence,
            .time_us = outgoing->time_us,
            .envelope = event->envelope,
        };

        es_published_add(&pack, &published);
        event = &outgoing->events[event->next];
    }
    return es_pack_finish(&pack, ret_size) == ES_OK;
}

enum es_status outgoing_send(const struct outgoing *outgoing, uint64_t epoch, size_t bytes_max,
                             struct outgoing_buffer *buffer, outgoing_send_fn send, void *context)
{
    for (uint32_t i = 0; i < outgoing->event_count; i++) {
        struct es_text category = outgoing->events[i].category;
        uint32_t first = i;

        while (category.size > 0) {
            struct es_published_head head = {.epoch = epoch};
            size_t size_max = 0;
            uint32_t size = 0;
            uint32_t next = message_extent(outgoing, first, bytes_max, &head, &size_max);

            if (!buffer_reserve(buffer, size_max)) {
                return ES_E_NO_MEMORY;
            }
            if (!message_write(outgoing, first, category, &head, buffer, &size)) {
                return ES_E_NO_MEMORY;
            }
            send(context, buffer->bytes, size, head.event_count);
            first = next;
            if (next == 0) {
                category.size = 0;
            }
        }
    }
    return ES_OK;
}
