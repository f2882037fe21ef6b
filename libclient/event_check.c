#include "libclient/event_check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "shm/codec/chain.h"
#include "shm/codec/hash.h"

#define WAY_COUNT 4u

/* One stream's last event; sequence 0: not used. */
struct link {
    uint8_t name_hash[ES_CONTENT_HASH_SIZE];
    uint64_t sequence;
    uint64_t seen; /* when, by the count of events */
    uint8_t hash[ES_HASH_SIZE];
};

struct es_links {
    uint32_t set_mask;
    uint64_t seen_count;
    struct link links[]; /* WAY_COUNT for each set */
};

struct es_links *es_links_new(uint32_t stream_count)
{
    uint32_t set_count = 1;
    struct es_links *links;

    while (set_count * WAY_COUNT < stream_count) {
        set_count *= 2;
    }
    links = calloc(1, sizeof *links + sizeof links->links[0] * WAY_COUNT * set_count);
    if (links != NULL) {
        links->set_mask = set_count - 1;
    }
    return links;
}

void es_links_free(struct es_links *links)
{
    free(links);
}

/* The stream's link, or else the place for it: unused, or seen longest ago. */
static struct link *find(struct es_links *links, const uint8_t *name_hash, bool *ret_is_known)
{
    struct link *place;
    uint64_t set;

    memcpy(&set, name_hash, sizeof set);
    place = &links->links[(set & links->set_mask) * WAY_COUNT];
    *ret_is_known = false;
    for (uint32_t way = 0; way < WAY_COUNT; way++) {
        struct link *link = &links->links[(set & links->set_mask) * WAY_COUNT + way];

        if (link->sequence != 0 && memcmp(link->name_hash, name_hash, ES_CONTENT_HASH_SIZE) == 0) {
            *ret_is_known = true;
            return link;
        }
        if (link->seen < place->seen) {
            place = link;
        }
    }
    return place;
}

/* Checks the event against its stream's last one, and takes its place. NULL: sound. */
static const char *check_link(struct es_links *links, const struct es_event_view *view,
                              const struct es_event *event)
{
    uint8_t name_hash[ES_CONTENT_HASH_SIZE];
    bool is_known = false;
    struct link *link;

    es_hash_16(event->stream, strlen(event->stream), name_hash);
    link = find(links, name_hash, &is_known);
    if (is_known && event->sequence == link->sequence &&
        memcmp(view->hash, link->hash, sizeof link->hash) == 0) {
        return NULL; /* the same event again: what it came with was refused, not it */
    }
    if (is_known) {
        if (event->sequence != link->sequence + 1) {
            return "it does not follow the event before it in its stream: a sequence is missing";
        }
        if (es_chain_verify_link(view, event->sequence, es_bytes_make(link->hash, ES_HASH_SIZE)) !=
            ES_OK) {
            return "it names another predecessor than the event before it in its stream";
        }
    } else {
        memcpy(link->name_hash, name_hash, sizeof link->name_hash);
    }
    link->sequence = event->sequence;
    link->seen = ++links->seen_count;
    memcpy(link->hash, view->hash, sizeof link->hash);
    return NULL;
}

enum es_status es_event_damaged(const struct es_connection *connection,
                                const struct es_event *event, const char *why)
{
    return es_fail(connection, ES_E_CORRUPT,
                   "damage at position %" PRIu64 ", stream %.200s, sequence %" PRIu64
                   ": %s; esctl verify tells how far it goes",
                   event->position, event->stream, event->sequence, why);
}

static const char *check(struct es_links *links, const struct es_event_view *view,
                         const struct es_event *event)
{
    bool has_previous = view->event.previous_hash.size != 0;

    if (es_chain_verify_hash(view) != ES_OK) {
        return "its hash is not that of its content";
    }
    if (event->sequence == 0 || event->position == 0) {
        return "sequences and positions start at 1";
    }
    if (has_previous != (event->sequence > 1)) {
        return "only the first event of a stream has no predecessor";
    }
    return links != NULL ? check_link(links, view, event) : NULL;
}

enum es_status es_event_check(const struct es_connection *connection, struct es_links *links,
                              const struct es_published_event *found, struct es_event_space *space,
                              struct es_event *ret_event)
{
    struct es_event event = {.stream = "?",
                             .position = found->position,
                             .sequence = found->sequence,
                             .time_us = found->time_us};
    struct es_event_view view;
    enum es_status status = es_envelope_decode(found->envelope.data, found->envelope.size, &view);
    const char *why;

    if (status == ES_E_VERSION) {
        return es_fail(connection, status,
                       "the event at position %" PRIu64
                       " was written by a newer release: use its library",
                       found->position);
    }
    if (status != ES_OK) {
        return es_event_damaged(connection, &event, "its envelope cannot be read");
    }
    space->stream[es_stream_format(&view.event.stream, space->stream)] = '\0';
    memcpy(space->type, view.event.type.data, view.event.type.size);
    space->type[view.event.type.size] = '\0';
    event.stream = space->stream;
    event.type = space->type;
    event.payload = view.event.payload.data;
    event.payload_bytes = view.event.payload.size;
    event.tick = view.event.tick;
    event.previous_hash = view.event.previous_hash.size != 0 ? view.event.previous_hash.data : NULL;
    event.hash = view.hash;
    why = check(links, &view, &event);
    if (why != NULL) {
        return es_event_damaged(connection, &event, why);
    }
    *ret_event = event;
    return ES_OK;
}
