/* When heartbeats are due, and that none of them hides a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/heartbeat.h"

#define MS UINT64_C(1000000)

enum {
    START_NS = 5000000
};

struct fixture {
    struct heartbeat heartbeat;
    uint8_t message[ES_HEARTBEAT_SIZE_MAX];
    struct es_heartbeat said;
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct es_heartbeat identity = {.epoch = 7, .start_number = 3, .head_position = 40};

    assert_non_null(f);
    memset(identity.store_id, 0x5a, sizeof identity.store_id);
    memset(identity.store_hash, 0x11, sizeof identity.store_hash);
    heartbeat_init(&f->heartbeat, &identity, START_NS);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* Takes the next heartbeat and reads it as a subscriber does. */
static void take(struct fixture *f, uint64_t now_ns)
{
    struct es_pack pack;
    struct es_text topic;
    struct es_bytes body;
    uint32_t size = 0;

    es_pack_init(&pack, f->message, sizeof f->message);
    heartbeat_take(&f->heartbeat, now_ns, &pack);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_int_equal(es_published_split(es_bytes_make(f->message, size), &topic, &body), ES_OK);
    assert_true(es_text_equal(topic, es_text_of(ES_HEARTBEAT_TOPIC)));
    assert_int_equal(es_heartbeat_read(body, &f->said, f->changed), ES_OK);
}

static void commit(struct fixture *f, const char *category, uint64_t position, bool at_once,
                   uint64_t now_ns)
{
    uint8_t hash[ES_HASH_SIZE];

    memset(hash, (int)(position & 0xff), sizeof hash);
    category_changes_note(&f->heartbeat.changes, es_text_of(category), position);
    heartbeat_commit(&f->heartbeat, position, hash, at_once, now_ns);
}

static void an_idle_store_beats_each_second_with_the_next_number(void **state)
{
    struct fixture *f = *state;

    for (uint64_t beat = 1; beat <= 3; beat++) {
        uint64_t due_ns = START_NS + beat * 1000 * MS;

        assert_int_equal(heartbeat_due_ns(&f->heartbeat), due_ns);
        take(f, due_ns);
        assert_int_equal(f->said.number, beat);
        assert_int_equal(f->said.start_number, 3);
        assert_int_equal(f->said.epoch, 7);
        assert_int_equal(f->said.head_position, 40);
        assert_true(f->said.changed_known);
        assert_int_equal(f->said.changed_count, 0);
    }
}

static void a_commit_is_told_100_ms_after_the_first_that_is_untold(void **state)
{
    struct fixture *f = *state;

    commit(f, "v:b:L0:a", 41, false, START_NS + 10 * MS);
    commit(f, "v:b:L0:a", 42, false, START_NS + 90 * MS);
    assert_int_equal(heartbeat_due_ns(&f->heartbeat), START_NS + 110 * MS);
    take(f, START_NS + 110 * MS);
    assert_int_equal(f->said.head_position, 42);
    assert_int_equal(f->said.changed_count, 1);
    assert_int_equal(f->changed[0].last_position, 42);
    assert_int_equal(heartbeat_due_ns(&f->heartbeat), START_NS + 1110 * MS);
}

static void a_commit_of_several_categories_is_told_at_once(void **state)
{
    struct fixture *f = *state;

    commit(f, "v:b:L0:a", 41, false, START_NS + 10 * MS);
    commit(f, "v:b:L0:b", 43, true, START_NS + 20 * MS);
    assert_int_equal(heartbeat_due_ns(&f->heartbeat), START_NS + 20 * MS);
    take(f, START_NS + 20 * MS);
    assert_int_equal(f->said.changed_count, 2);
    assert_int_equal(heartbeat_due_ns(&f->heartbeat), START_NS + 1020 * MS);
}

static void a_subscriber_gets_one_at_once_and_after_100_200_and_400_ms(void **state)
{
    static const uint64_t after_ms[] = {0, 100, 200, 400, 1400};
    struct fixture *f = *state;
    uint64_t now_ns = START_NS + 333 * MS;

    heartbeat_subscribed(&f->heartbeat, now_ns);
    for (size_t i = 0; i < sizeof after_ms / sizeof after_ms[0]; i++) {
        assert_int_equal(heartbeat_due_ns(&f->heartbeat), now_ns + after_ms[i] * MS);
        take(f, now_ns + after_ms[i] * MS);
    }
}

static void a_change_is_named_once_and_by_its_last_position(void **state)
{
    struct fixture *f = *state;

    commit(f, "v:b:L0:a", 41, false, START_NS);
    commit(f, "v:b:L0:b", 42, false, START_NS);
    commit(f, "v:b:L0:a", 43, false, START_NS);
    take(f, START_NS);
    assert_int_equal(f->said.changed_count, 2);
    assert_true(es_text_equal(f->changed[0].category, es_text_of("v:b:L0:a")));
    assert_int_equal(f->changed[0].last_position, 43);
    assert_int_equal(f->changed[1].last_position, 42);
    take(f, START_NS);
    assert_int_equal(f->said.changed_count, 0);
}

static void more_changes_than_fit_are_nil_and_not_a_part_of_them(void **state)
{
    struct fixture *f = *state;
    char category[32];

    for (uint64_t i = 0; i < HEARTBEAT_CATEGORIES_MAX; i++) {
        snprintf(category, sizeof category, "v:b:L%d:a", (int)i);
        commit(f, category, 41 + i, false, START_NS);
    }
    take(f, START_NS);
    assert_true(f->said.changed_known);
    assert_int_equal(f->said.changed_count, HEARTBEAT_CATEGORIES_MAX);
    for (uint64_t i = 0; i <= HEARTBEAT_CATEGORIES_MAX; i++) {
        snprintf(category, sizeof category, "v:b:L%d:a", (int)i);
        commit(f, category, 200 + i, false, START_NS);
    }
    take(f, START_NS);
    assert_false(f->said.changed_known);
    take(f, START_NS);
    assert_true(f->said.changed_known);
}

static void the_longest_categories_fit_into_one_heartbeat(void **state)
{
    struct fixture *f = *state;
    char category[ES_CATEGORY_SIZE_MAX + 1];

    for (uint64_t i = 0; i < HEARTBEAT_CATEGORIES_MAX; i++) {
        snprintf(category, sizeof category, "%0255d:%0255d:L2147483647:%0255d", 1, 2, (int)i);
        commit(f, category, UINT64_MAX - 100 + i, false, START_NS);
    }
    take(f, START_NS);
    assert_int_equal(f->said.changed_count, HEARTBEAT_CATEGORIES_MAX);
}

/* A dropped commit may be told after a newer one: the head must not go back. */
static void an_older_head_never_replaces_a_newer_one(void **state)
{
    struct fixture *f = *state;

    commit(f, "v:b:L0:a", 50, false, START_NS);
    commit(f, "v:b:L0:b", 45, false, START_NS);
    take(f, START_NS);
    assert_int_equal(f->said.head_position, 50);
    assert_int_equal(f->said.store_hash[0], 50);
    assert_int_equal(f->said.changed_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_idle_store_beats_each_second_with_the_next_number),
        TEST(a_commit_is_told_100_ms_after_the_first_that_is_untold),
        TEST(a_commit_of_several_categories_is_told_at_once),
        TEST(a_subscriber_gets_one_at_once_and_after_100_200_and_400_ms),
        TEST(a_change_is_named_once_and_by_its_last_position),
        TEST(more_changes_than_fit_are_nil_and_not_a_part_of_them),
        TEST(the_longest_categories_fit_into_one_heartbeat),
        TEST(an_older_head_never_replaces_a_newer_one),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
