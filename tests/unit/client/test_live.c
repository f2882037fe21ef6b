/*
 * live.h with messages made by hand: what is delivered when, and that whatever is
 * dropped, repeated or reordered on its way is noticed. A random walk checks the
 * one promise that counts: what is delivered is every wanted event, in order, once,
 * with reading wherever there is doubt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "libclient/live.h"
#include "tests/support/prng.h"

#define EPOCH UINT64_C(99)
#define CATEGORY_COUNT 3u
#define EVENT_COUNT 400u
#define MESSAGE_BYTES 4096u
#define MESSAGE_COUNT_MAX 2048u

static const char *const categories[CATEGORY_COUNT] = {"t:m:L0:alpha", "t:m:L0:beta",
                                                       "t:n:L0:gamma"};

static uint8_t messages[MESSAGE_COUNT_MAX][MESSAGE_BYTES];
static uint32_t message_count; /* of the test that runs */

/* The store: position - 1 -> index of the category. */
struct history {
    uint8_t category_of[EVENT_COUNT];
    uint64_t count;
    uint64_t told; /* head position of the last heartbeat */
    uint64_t heartbeat_number;
    uint64_t start_number;
    uint64_t epoch;
};

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

static struct es_message events_message(const struct history *history, uint32_t category,
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
    es_published_begin(&pack, es_text_of(categories[category]), &head);
    for (uint64_t at = first; at <= last; at++) {
        if (history->category_of[at - 1] == category) {
            const struct es_published_event event = {
                .position = at, .sequence = 1, .time_us = 1, .envelope = {.data = NULL}};

            es_published_add(&pack, &event);
        }
    }
    return as_message(&pack);
}

static struct es_message heartbeat_message(struct history *history, bool is_changed_known)
{
    struct es_category_position changed[CATEGORY_COUNT];
    struct es_heartbeat heartbeat = {.epoch = history->epoch,
                                     .start_number = history->start_number,
                                     .number = ++history->heartbeat_number,
                                     .head_position = history->count,
                                     .changed_known = is_changed_known};
    struct es_pack pack;

    for (uint32_t category = 0; category < CATEGORY_COUNT; category++) {
        uint64_t last = 0;

        for (uint64_t at = history->told + 1; at <= history->count; at++) {
            last = history->category_of[at - 1] == category ? at : last;
        }
        if (last != 0) {
            changed[heartbeat.changed_count].category = es_text_of(categories[category]);
            changed[heartbeat.changed_count++].last_position = last;
        }
    }
    history->told = history->count;
    es_pack_init(&pack, space_for_messages(), MESSAGE_BYTES);
    es_heartbeat_write(&pack, &heartbeat, changed);
    return as_message(&pack);
}

struct fixture {
    struct history history;
    struct es_filter filter;
    struct es_live live;
};

static void open_live(struct fixture *f, const char *filter)
{
    static const struct es_connection unused;

    memset(f, 0, sizeof *f);
    message_count = 0;
    f->history.epoch = EPOCH;
    f->history.start_number = 1;
    assert_int_equal(es_filter_parse(&unused, filter, &f->filter), ES_OK);
    assert_int_equal(es_live_init(&f->live, &f->filter, 0, EPOCH, 1), ES_OK);
}

static void store(struct fixture *f, uint32_t category)
{
    f->history.category_of[f->history.count++] = (uint8_t)category;
}

static void push_events(struct fixture *f, uint32_t category, uint64_t first, uint64_t last)
{
    struct es_message message = events_message(&f->history, category, first, last);

    es_live_push(&f->live, &message);
}

static void push_heartbeat(struct fixture *f)
{
    struct es_message message = heartbeat_message(&f->history, true);

    es_live_push(&f->live, &message);
}

static void expect_event(struct fixture *f, uint64_t position)
{
    struct es_published_event event;
    struct es_text topic;

    assert_int_equal(es_live_next(&f->live, &event, &topic), ES_OK);
    assert_int_equal(event.position, position);
    es_live_accept(&f->live, position);
}

static void expect_nothing(struct fixture *f)
{
    struct es_published_event event;
    struct es_text topic;

    assert_int_equal(es_live_next(&f->live, &event, &topic), ES_EMPTY);
}

/* ---- single rules ------------------------------------------------------- */

static void one_category_is_delivered_as_it_comes(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, categories[0]);
    push_heartbeat(&f);
    store(&f, 0);
    store(&f, 1);
    store(&f, 0);
    push_events(&f, 0, 1, 3);
    expect_event(&f, 1);
    expect_event(&f, 3);
    expect_nothing(&f);
    assert_false(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void several_categories_are_delivered_in_position_order(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, "t:m:*");
    push_heartbeat(&f);
    store(&f, 2); /* not wanted */
    store(&f, 1);
    store(&f, 0);
    store(&f, 1);
    push_events(&f, 1, 2, 4);
    expect_nothing(&f); /* position 1 could be wanted and on its way */
    push_events(&f, 0, 3, 3);
    expect_nothing(&f);
    push_heartbeat(&f);
    expect_event(&f, 2);
    expect_event(&f, 3);
    expect_event(&f, 4);
    expect_nothing(&f);
    assert_int_equal(f.live.repairs, 0);
    es_live_deinit(&f.live);
}

static void the_very_next_position_needs_no_heartbeat(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, NULL);
    store(&f, 0);
    store(&f, 1);
    push_events(&f, 1, 2, 2);
    expect_nothing(&f);
    push_events(&f, 0, 1, 1);
    expect_event(&f, 1);
    expect_event(&f, 2);
    es_live_deinit(&f.live);
}

static void a_lost_message_is_seen_by_the_next_of_its_category(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, categories[0]);
    store(&f, 0);
    store(&f, 0);
    store(&f, 0);
    push_events(&f, 0, 1, 1);
    expect_event(&f, 1);
    push_events(&f, 0, 3, 3); /* 2 was lost */
    expect_nothing(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.repairs, 1);
    es_live_resume(&f.live, 1); /* not far enough: 2 is known to exist */
    assert_true(f.live.is_in_doubt);
    es_live_accept(&f.live, 2);
    es_live_resume(&f.live, 2);
    assert_false(f.live.is_in_doubt);
    expect_event(&f, 3);
    es_live_deinit(&f.live);
}

static void a_lost_last_message_is_seen_by_the_heartbeat(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, categories[0]);
    push_heartbeat(&f);
    store(&f, 0);
    push_heartbeat(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.doubt_position, 1);
    assert_int_equal(f.live.repairs, 1);
    es_live_deinit(&f.live);
}

static void what_is_lost_of_an_unwanted_category_is_no_matter(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, categories[0]);
    push_heartbeat(&f);
    store(&f, 1);
    push_heartbeat(&f);
    assert_false(f.live.is_in_doubt);
    expect_nothing(&f);
    assert_int_equal(f.live.position, 1); /* known to hold nothing wanted */
    es_live_deinit(&f.live);
}

static void a_missed_heartbeat_is_doubt(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, "t:m:*");
    push_heartbeat(&f);
    store(&f, 2);
    (void)heartbeat_message(&f.history, true); /* lost, and with it what it told */
    store(&f, 2);
    push_heartbeat(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.doubt_position, 2);
    es_live_resume(&f.live, 2);
    assert_false(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void a_heartbeat_that_tells_too_little_is_doubt(void **state)
{
    struct fixture f;
    struct es_message message;

    (void)state;
    open_live(&f, NULL);
    push_heartbeat(&f);
    store(&f, 0);
    message = heartbeat_message(&f.history, false);
    es_live_push(&f.live, &message);
    assert_true(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void another_start_or_epoch_is_suspicious(void **state)
{
    struct fixture f;

    (void)state;
    open_live(&f, NULL);
    push_heartbeat(&f);
    f.history.start_number = 2;
    f.history.heartbeat_number = 0;
    push_heartbeat(&f);
    assert_true(f.live.is_suspicious);
    assert_true(f.live.is_in_doubt);
    es_live_deinit(&f.live);

    open_live(&f, NULL);
    f.history.epoch = EPOCH + 1;
    store(&f, 0);
    push_events(&f, 0, 1, 1);
    assert_true(f.live.is_suspicious);
    expect_nothing(&f);
    es_live_deinit(&f.live);
}

static void a_repeated_or_older_heartbeat_changes_nothing(void **state)
{
    struct fixture f;
    struct es_message first;
    struct es_message again;

    (void)state;
    open_live(&f, categories[0]);
    first = heartbeat_message(&f.history, true);
    again = first;
    es_live_push(&f.live, &first);
    store(&f, 1);
    push_heartbeat(&f);
    es_live_push(&f.live, &again);
    assert_false(f.live.is_in_doubt);
    assert_int_equal(f.live.heartbeat_number, 2);
    es_live_deinit(&f.live);
}

static void bytes_that_cannot_be_read_are_doubt(void **state)
{
    static const char *const forged[] = {"", "S:", "H:", "S:t:m:L0:alpha:"};
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct es_message message = {.data = (const uint8_t *)forged[i],
                                     .size = strlen(forged[i]) + (i > 0 ? 1 : 0)};

        open_live(&f, NULL);
        es_live_push(&f.live, &message);
        assert_true(f.live.is_in_doubt);
        expect_nothing(&f);
        es_live_deinit(&f.live);
    }
}

static void too_much_that_waits_is_dropped_and_read_instead(void **state)
{
    struct fixture f;
    uint64_t last = 1;

    (void)state;
    open_live(&f, "t:m:*");
    store(&f, 2);
    for (uint32_t i = 0; i < EVENT_COUNT - 1; i++) {
        store(&f, 0);
    }
    f.live.bytes = ES_LIVE_BYTES_MAX - 1000; /* as if that much were waiting */
    while (!f.live.is_in_doubt) {
        last++;
        push_events(&f, 0, last, last);
    }
    assert_true(last > 2);
    assert_int_equal(f.live.count, 0);
    assert_int_equal(f.live.bytes, 0);
    assert_int_equal(f.live.doubt_position, last);
    es_live_deinit(&f.live);
}

/* ---- the promise -------------------------------------------------------- */

struct walk {
    struct fixture *f;
    struct prng *prng;
    uint64_t delivered[EVENT_COUNT];
    uint32_t delivered_count;
    uint64_t published; /* up to here events were handed to the publisher */
};

static bool is_wanted(const struct fixture *f, uint64_t position)
{
    return es_filter_wants_category(&f->filter,
                                    es_text_of(categories[f->history.category_of[position - 1]]));
}

/* What the consumer does when in doubt: reads from its position to the end. */
static void read_to_the_end(struct walk *w)
{
    struct fixture *f = w->f;
    uint64_t end = f->history.count;

    for (uint64_t at = f->live.position + 1; at <= end; at++) {
        if (is_wanted(f, at)) {
            w->delivered[w->delivered_count++] = at;
            es_live_accept(&f->live, at);
        }
    }
    es_live_resume(&f->live, end);
    assert_false(f->live.is_in_doubt);
}

static void deliver(struct walk *w)
{
    struct es_published_event event;
    struct es_text topic;

    for (;;) {
        if (w->f->live.is_in_doubt) {
            read_to_the_end(w);
        }
        if (es_live_next(&w->f->live, &event, &topic) == ES_OK) {
            w->delivered[w->delivered_count++] = event.position;
            es_live_accept(&w->f->live, event.position);
        } else if (!w->f->live.is_in_doubt) {
            return;
        }
    }
}

/* One commit: some events, a message for each category, each of which may be lost,
 * sent twice, or held back behind the next; then perhaps a heartbeat. */
static void commit(struct walk *w, struct es_message *held, bool *is_held)
{
    struct fixture *f = w->f;
    uint64_t first = f->history.count + 1;
    uint32_t count = 1 + (uint32_t)prng_below(w->prng, 4);

    for (uint32_t i = 0; i < count; i++) {
        store(f, (uint32_t)prng_below(w->prng, CATEGORY_COUNT));
    }
    for (uint32_t category = 0; category < CATEGORY_COUNT; category++) {
        bool is_there = false;

        for (uint64_t at = first; at <= f->history.count; at++) {
            is_there = is_there || f->history.category_of[at - 1] == category;
        }
        if (!is_there || !es_filter_wants_category(&f->filter, es_text_of(categories[category])) ||
            prng_one_in(w->prng, 10)) {
            continue;
        }
        if (!*is_held && prng_one_in(w->prng, 10)) {
            *held = events_message(&f->history, category, first, f->history.count);
            *is_held = true;
            continue;
        }
        push_events(f, category, first, f->history.count);
        if (prng_one_in(w->prng, 10)) {
            push_events(f, category, first, f->history.count);
        }
        deliver(w);
    }
    if (*is_held && prng_one_in(w->prng, 2)) {
        es_live_push(&f->live, held);
        *is_held = false;
    }
    if (prng_one_in(w->prng, 3)) {
        struct es_message message = heartbeat_message(&f->history, !prng_one_in(w->prng, 20));

        if (!prng_one_in(w->prng, 10)) {
            es_live_push(&f->live, &message);
        }
    }
    deliver(w);
}

static void whatever_happens_on_the_way_every_event_comes_once_and_in_order(void **state)
{
    static const char *const filters[] = {NULL, "t:m:L0:alpha", "t:m:*", "t:*"};
    struct prng prng;

    (void)state;
    prng_begin(&prng, "live");
    for (uint32_t round = 0; round < 400; round++) {
        struct fixture f;
        struct walk w = {.f = &f, .prng = &prng};
        struct es_message held = {0};
        bool is_held = false;
        uint32_t checked = 0;

        open_live(&f, filters[round % 4]);
        while (f.history.count + 4 < EVENT_COUNT / 4) {
            commit(&w, &held, &is_held);
        }
        push_heartbeat(&f); /* the last word: now everything must come */
        deliver(&w);
        for (uint64_t at = 1; at <= f.history.count; at++) {
            if (is_wanted(&f, at)) {
                assert_true(checked < w.delivered_count);
                assert_int_equal(w.delivered[checked], at);
                checked++;
            }
        }
        assert_int_equal(checked, w.delivered_count);
        assert_int_equal(f.live.position, f.history.count);
        es_live_deinit(&f.live);
    }
}

static void where_nothing_is_lost_nothing_is_repaired(void **state)
{
    static const char *const filters[] = {NULL, "t:m:L0:alpha", "t:m:*"};
    struct prng prng;

    (void)state;
    prng_begin(&prng, "live without loss");
    for (uint32_t round = 0; round < 300; round++) {
        struct fixture f;
        struct walk w = {.f = &f, .prng = &prng};

        open_live(&f, filters[round % 3]);
        push_heartbeat(&f);
        while (f.history.count < 90) {
            uint64_t first = f.history.count + 1;

            store(&f, (uint32_t)prng_below(&prng, CATEGORY_COUNT));
            store(&f, (uint32_t)prng_below(&prng, CATEGORY_COUNT));
            for (uint32_t category = 0; category < CATEGORY_COUNT; category++) {
                if ((f.history.category_of[first - 1] == category ||
                     f.history.category_of[first] == category) &&
                    es_filter_wants_category(&f.filter, es_text_of(categories[category]))) {
                    push_events(&f, category, first, first + 1);
                }
            }
            if (prng_one_in(&prng, 2)) {
                push_heartbeat(&f);
            }
            deliver(&w);
        }
        assert_int_equal(f.live.repairs, 0);
        es_live_deinit(&f.live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_category_is_delivered_as_it_comes),
        cmocka_unit_test(several_categories_are_delivered_in_position_order),
        cmocka_unit_test(the_very_next_position_needs_no_heartbeat),
        cmocka_unit_test(a_lost_message_is_seen_by_the_next_of_its_category),
        cmocka_unit_test(a_lost_last_message_is_seen_by_the_heartbeat),
        cmocka_unit_test(what_is_lost_of_an_unwanted_category_is_no_matter),
        cmocka_unit_test(a_missed_heartbeat_is_doubt),
        cmocka_unit_test(a_heartbeat_that_tells_too_little_is_doubt),
        cmocka_unit_test(another_start_or_epoch_is_suspicious),
        cmocka_unit_test(a_repeated_or_older_heartbeat_changes_nothing),
        cmocka_unit_test(bytes_that_cannot_be_read_are_doubt),
        cmocka_unit_test(too_much_that_waits_is_dropped_and_read_instead),
        cmocka_unit_test(whatever_happens_on_the_way_every_event_comes_once_and_in_order),
        cmocka_unit_test(where_nothing_is_lost_nothing_is_repaired),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
