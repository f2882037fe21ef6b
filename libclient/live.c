#include "libclient/live.h"

#include <stdlib.h>
#include <string.h>

#include "shm/codec/stream_key.h"

enum es_status es_live_init(struct es_live *live, const struct es_filter *filter, uint64_t position,
                            uint64_t epoch, uint64_t start_number)
{
    memset(live, 0, sizeof *live);
    live->heap = calloc(ES_LIVE_MESSAGE_COUNT_MAX, sizeof live->heap[0]);
    if (live->heap == NULL) {
        return ES_E_NO_MEMORY;
    }
    live->filter = filter;
    live->position = position;
    live->complete_position = position;
    live->head_position = position;
    live->epoch = epoch;
    live->start_number = start_number;
    return ES_OK;
}

void es_live_deinit(struct es_live *live)
{
    for (uint32_t i = 0; i < live->count; i++) {
        es_message_free(&live->heap[i].message);
    }
    free(live->heap);
    live->heap = NULL;
    live->count = 0;
}

/* ---- the heap: the message with the lowest next position is at 0 -------- */

static void swap(struct es_live *live, uint32_t a, uint32_t b)
{
    struct es_live_message kept = live->heap[a];

    live->heap[a] = live->heap[b];
    live->heap[b] = kept;
}

static void sift_up(struct es_live *live, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;

        if (live->heap[parent].next.position <= live->heap[at].next.position) {
            return;
        }
        swap(live, parent, at);
        at = parent;
    }
}

static void sift_down(struct es_live *live, uint32_t at)
{
    for (;;) {
        uint32_t least = at;

        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < live->count; child++) {
            if (live->heap[child].next.position < live->heap[least].next.position) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        swap(live, least, at);
        at = least;
    }
}

static void remove_top(struct es_live *live)
{
    live->bytes -= live->heap[0].message.size;
    es_message_free(&live->heap[0].message);
    live->count--;
    live->heap[0] = live->heap[live->count];
    sift_down(live, 0);
}

/* ---- doubt -------------------------------------------------------------- */

static void doubt(struct es_live *live, uint64_t position)
{
    live->is_in_doubt = true;
    if (position > live->doubt_position) {
        live->doubt_position = position;
    }
}

/* A doubt that something was lost; one repair, however many signs of it come. */
void es_live_miss(struct es_live *live, uint64_t position)
{
    if (!live->is_in_doubt) {
        live->repairs++;
    }
    doubt(live, position);
}

static void drop_all(struct es_live *live)
{
    for (uint32_t i = 0; i < live->count; i++) {
        uint64_t last = live->heap[i].reader.head.last_position;

        es_live_miss(live, last);
        es_message_free(&live->heap[i].message);
    }
    live->count = 0;
    live->bytes = 0;
}

/* Last position that is known of a category: delivered, or waiting here. */
static uint64_t known_of(const struct es_live *live, struct es_text topic)
{
    uint64_t known = live->position;

    for (uint32_t i = 0; i < live->count; i++) {
        if (live->heap[i].reader.head.last_position > known &&
            es_text_equal(live->heap[i].topic, topic)) {
            known = live->heap[i].reader.head.last_position;
        }
    }
    return known;
}

/* ---- messages ----------------------------------------------------------- */

static void push_events(struct es_live *live, struct es_message *message, struct es_text topic,
                        struct es_bytes body)
{
    struct es_live_message entry = {.message = *message, .topic = topic};
    const struct es_published_head *head = &entry.reader.head;

    if (es_published_read(&entry.reader, body) != ES_OK ||
        es_published_next(&entry.reader, &entry.next) != ES_OK) {
        es_live_miss(live, live->position);
        es_message_free(message);
        return;
    }
    if (head->epoch != live->epoch) {
        live->is_suspicious = true;
        doubt(live, live->position);
        es_message_free(message);
        return;
    }
    if (head->last_position <= live->position) {
        es_message_free(message); /* known already, by reading */
        return;
    }
    if (head->last_position > live->head_position) {
        live->head_position = head->last_position;
    }
    if (head->previous_position > known_of(live, topic)) {
        es_live_miss(live, head->previous_position);
    }
    if (live->count == ES_LIVE_MESSAGE_COUNT_MAX ||
        live->bytes + message->size > ES_LIVE_BYTES_MAX) {
        drop_all(live);
        es_live_miss(live, head->last_position);
        es_message_free(message);
        return;
    }
    live->bytes += message->size;
    live->heap[live->count] = entry;
    sift_up(live, live->count++);
}

/* Whether all that changed since the heartbeat before has arrived. */
static bool is_all_here(const struct es_live *live, const struct es_heartbeat *heartbeat,
                        const struct es_category_position *changed)
{
    if (!heartbeat->changed_known) {
        return false;
    }
    for (uint32_t i = 0; i < heartbeat->changed_count; i++) {
        char topic[ES_TOPIC_SIZE_MAX];
        struct es_text text = {.data = topic};

        if (changed[i].last_position <= live->position ||
            !es_filter_wants_category(live->filter, changed[i].category)) {
            continue;
        }
        text.size = es_category_topic(changed[i].category, topic);
        if (known_of(live, text) < changed[i].last_position) {
            return false;
        }
    }
    return true;
}

static void push_heartbeat(struct es_live *live, struct es_bytes body)
{
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];
    struct es_heartbeat heartbeat;
    bool is_same_start;
    bool is_next;

    if (es_heartbeat_read(body, &heartbeat, changed) != ES_OK) {
        es_live_miss(live, live->position);
        return;
    }
    is_same_start = heartbeat.start_number == live->start_number;
    if (is_same_start && live->has_heartbeat && heartbeat.number <= live->heartbeat_number) {
        return; /* nothing new */
    }
    is_next =
        is_same_start && live->has_heartbeat && heartbeat.number == live->heartbeat_number + 1;
    if (heartbeat.epoch != live->epoch || !is_same_start) {
        live->is_suspicious = true;
        doubt(live, live->position);
    }
    if (heartbeat.head_position > live->head_position) {
        live->head_position = heartbeat.head_position;
    }
    if (heartbeat.head_position > live->position && is_same_start && !live->has_heartbeat) {
        doubt(live, heartbeat.head_position); /* the first one: nothing was lost */
    } else if (heartbeat.head_position > live->position &&
               (live->is_in_doubt || !is_next || !is_all_here(live, &heartbeat, changed))) {
        es_live_miss(live, heartbeat.head_position);
    } else if (heartbeat.head_position > live->complete_position) {
        live->complete_position = heartbeat.head_position;
    }
    live->has_heartbeat = true;
    live->start_number = heartbeat.start_number;
    live->heartbeat_number = heartbeat.number;
}

void es_live_push(struct es_live *live, struct es_message *message)
{
    struct es_bytes body;
    struct es_text topic;

    if (message->size > UINT32_MAX ||
        es_published_split(es_bytes_make(message->data, (uint32_t)message->size), &topic, &body) !=
            ES_OK) {
        es_live_miss(live, live->position);
        es_message_free(message);
    } else if (es_text_equal(topic, es_text_of(ES_HEARTBEAT_TOPIC))) {
        push_heartbeat(live, body);
        es_message_free(message);
    } else {
        push_events(live, message, topic, body);
    }
}

/* ---- delivery ----------------------------------------------------------- */

/* Passes over what is known already. False: the message could not be read on. */
static bool skip_known(struct es_live *live)
{
    struct es_live_message *top = &live->heap[0];
    uint64_t last_position = top->reader.head.last_position;
    enum es_status status = ES_OK;

    while (status == ES_OK && top->next.position <= live->position) {
        status = es_published_next(&top->reader, &top->next);
    }
    if (status == ES_OK) {
        sift_down(live, 0);
        return true;
    }
    remove_top(live);
    if (status != ES_EMPTY) {
        es_live_miss(live, last_position);
        return false;
    }
    return true;
}

static bool may_deliver(const struct es_live *live, const struct es_live_message *top)
{
    if (top->next.position == live->position + 1) {
        return true;
    }
    if (live->filter->kind == ES_FILTER_CATEGORY) {
        return top->is_joined || top->reader.head.previous_position <= live->position ||
               top->next.position <= live->complete_position;
    }
    return live->filter->kind == ES_FILTER_PREFIX && top->next.position <= live->complete_position;
}

enum es_status es_live_next(struct es_live *live, struct es_published_event *ret_event,
                            struct es_text *ret_topic)
{
    while (!live->is_in_doubt) {
        struct es_live_message *top = &live->heap[0];

        if (live->count > 0 && top->next.position <= live->position) {
            if (!skip_known(live)) {
                return ES_EMPTY;
            }
            continue;
        }
        if (live->count > 0 && may_deliver(live, top)) {
            top->is_joined = true;
            *ret_event = top->next;
            *ret_topic = top->topic;
            return ES_OK;
        }
        if (live->complete_position <= live->position) {
            return ES_EMPTY;
        }
        /* Vouched for, and nothing wanted waits before it: with everything wanted,
         * a position that did not come is one that was lost all the same. */
        if (live->filter->kind == ES_FILTER_ALL) {
            es_live_miss(live, live->complete_position);
        } else {
            live->position = live->complete_position;
        }
    }
    return ES_EMPTY;
}

void es_live_accept(struct es_live *live, uint64_t position)
{
    if (position > live->position) {
        live->position = position;
    }
}

void es_live_resume(struct es_live *live, uint64_t position)
{
    es_live_accept(live, position);
    if (live->position >= live->doubt_position) {
        live->is_in_doubt = false;
    }
}
