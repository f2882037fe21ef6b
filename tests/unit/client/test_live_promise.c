/*
 * The one promise of live.h that counts, on random walks: what is delivered is every
 * wanted event, in order, once, with reading wherever there is doubt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/live_fixture.h"
#include "tests/support/prng.h"

struct walk {
    struct live_fixture *f;
    struct prng *prng;
    uint64_t delivered[LIVE_EVENTS_MAX];
    uint32_t delivered_count;
    uint64_t published; /* up to here events were handed to the publisher */
};

static bool is_wanted(const struct live_fixture *f, uint64_t position)
{
    return es_filter_wants_category(
        &f->filter, es_text_of(live_categories[f->history.category_of[position - 1]]));
}

/* What the consumer does when in doubt: reads from its position to the end. */
static void read_to_the_end(struct walk *w)
{
    struct live_fixture *f = w->f;
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
    struct live_fixture *f = w->f;
    uint64_t first = f->history.count + 1;
    uint32_t count = 1 + (uint32_t)prng_below(w->prng, 4);

    for (uint32_t i = 0; i < count; i++) {
        live_store(f, (uint32_t)prng_below(w->prng, LIVE_CATEGORIES));
    }
    for (uint32_t category = 0; category < LIVE_CATEGORIES; category++) {
        bool is_there = false;

        for (uint64_t at = first; at <= f->history.count; at++) {
            is_there = is_there || f->history.category_of[at - 1] == category;
        }
        if (!is_there ||
            !es_filter_wants_category(&f->filter, es_text_of(live_categories[category])) ||
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
        struct live_fixture f;
        struct walk w = {.f = &f, .prng = &prng};
        struct es_message held = {0};
        bool is_held = false;
        uint32_t checked = 0;

        live_open(&f, filters[round % 4]);
        while (f.history.count + 4 < LIVE_EVENTS_MAX / 4) {
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
        struct live_fixture f;
        struct walk w = {.f = &f, .prng = &prng};

        live_open(&f, filters[round % 3]);
        push_heartbeat(&f);
        while (f.history.count < 90) {
            uint64_t first = f.history.count + 1;

            live_store(&f, (uint32_t)prng_below(&prng, LIVE_CATEGORIES));
            live_store(&f, (uint32_t)prng_below(&prng, LIVE_CATEGORIES));
            for (uint32_t category = 0; category < LIVE_CATEGORIES; category++) {
                if ((f.history.category_of[first - 1] == category ||
                     f.history.category_of[first] == category) &&
                    es_filter_wants_category(&f.filter, es_text_of(live_categories[category]))) {
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
        cmocka_unit_test(whatever_happens_on_the_way_every_event_comes_once_and_in_order),
        cmocka_unit_test(where_nothing_is_lost_nothing_is_repaired),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
