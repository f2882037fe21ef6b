#include "tests/support/live_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define MESSAGE_BYTES 4096u
#define MESSAGE_COUNT_MAX 2048u

const char *const live_categories[LIVE_CATEGORIES] = {"t:m:L0:alpha", "t:m:L0:beta",
                                                      "t:n:L0:gamma"};

static uint8_t messages[MESSAGE_COUNT_MAX][MESSAGE_BYTES];
static uint32_t message_count; /* of the test that runs */

/* Memory is the test's own here, not nng's; 'owner' stays NULL so nothing frees it. */
static struct es_message as_message(struct es_pack *pack)
{
    struct es_message message = {0};
    uint32_t size = 0;

    assert_int_equal(es_pack_finish(pack, &size), ES_OK);
    message.data = pack->begin;
    message.size = size;
    return message;
}

static uint8_t *space_for_messages(void)
{
    assert_true(message_count < MESSAGE_COUNT_MAX);
    return messages[message_count++];
}

struct es_message events_message(const struct live_history *history, uint32_t category,
                                 uint64_t first, uint64_t last)
{
    struct es_published_head head = {.epoch = history->epoch};
    struct es_pack pack;

    es_pack_init(&pack, space_for_messages(), MESSAGE_BYTES);
    for (uint64_t at = 1; at <= last; at++) {
        if (history->category_of[at - 1] == category) {
            head.previous_position = at < first ? at : head.previous_position;
            head.first_position = at >= first && head.event_count == 0 ? at : head.first_position;
            head.last_position = at >= first ? at : head.last_position;
            head.event_count += at >= first ? 1 : 0;
        }
    }
    assert_true(head.event_count > 0);
    es_published_begin(&pack, es_text_of(live_categories[category]), &head);
    for (uint64_t at = first; at <= last; at++) {
        if (history->category_of[at - 1] == category) {
            const struct es_published_event event = {
                .position = at, .sequence = 1, .time_us = 1, .envelope = {.data = NULL}};

            es_published_add(&pack, &event);
        }
    }
    return as_message(&pack);
}

struct es_message heartbeat_message(struct live_history *history, bool is_changed_known)
{
    struct es_category_position changed[LIVE_CATEGORIES];
    struct es_heartbeat heartbeat = {.epoch = history->epoch,
                                     .start_number = history->start_number,
                                     .number = ++history->heartbeat_number,
                                     .head_position = history->count,
                                     .changed_known = is_changed_known};
    struct es_pack pack;

    for (uint32_t category = 0; category < LIVE_CATEGORIES; category++) {
        uint64_t last = 0;

        for (uint64_t at = history->told + 1; at <= history->count; at++) {
            last = history->category_of[at - 1] == category ? at : last;
        }
        if (last != 0) {
            changed[heartbeat.changed_count].category = es_text_of(live_categories[category]);
            changed[heartbeat.changed_count++].last_position = last;
        }
    }
    history->told = history->count;
    es_pack_init(&pack, space_for_messages(), MESSAGE_BYTES);
    es_heartbeat_write(&pack, &heartbeat, changed);
    return as_message(&pack);
}

void live_open(struct live_fixture *f, const char *filter)
{
    static const struct es_connection unused;

    memset(f, 0, sizeof *f);
    message_count = 0;
    f->history.epoch = LIVE_EPOCH;
    f->history.start_number = 1;
    assert_int_equal(es_filter_parse(&unused, filter, &f->filter), ES_OK);
    assert_int_equal(es_live_init(&f->live, &f->filter, 0, LIVE_EPOCH, 1), ES_OK);
}

void live_store(struct live_fixture *f, uint32_t category)
{
    f->history.category_of[f->history.count++] = (uint8_t)category;
}

void push_events(struct live_fixture *f, uint32_t category, uint64_t first, uint64_t last)
{
    struct es_message message = events_message(&f->history, category, first, last);

    es_live_push(&f->live, &message);
}

void push_heartbeat(struct live_fixture *f)
{
    struct es_message message = heartbeat_message(&f->history, true);

    es_live_push(&f->live, &message);
}

void expect_event(struct live_fixture *f, uint64_t position)
{
    struct es_published_event event;
    struct es_text topic;

    assert_int_equal(es_live_next(&f->live, &event, &topic), ES_OK);
    assert_int_equal(event.position, position);
    es_live_accept(&f->live, position);
}

void expect_nothing(struct live_fixture *f)
{
    struct es_published_event event;
    struct es_text topic;

    assert_int_equal(es_live_next(&f->live, &event, &topic), ES_EMPTY);
}
