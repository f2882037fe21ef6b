/*
 * The reader over damaged stores: an error that names the place, never other
 * bytes and never "not found"; and everything before the damage is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader.h"
#include "shm/codec/envelope.h"
#include "shm/codec/store_key.h"
#include "tests/support/store_builder.h"

enum {
    EVENTS = 200
};

#define BUSY "v:b:L0:c:M1"
#define QUIET "v:b:L0:c:M2"

/* One change of the store: what happens to the entry with this key. */
struct change {
    enum store_family family;
    struct es_key key;
    bool remove;
    size_t flip;               /* byte of the value */
    const char *replace_value; /* by that of another key of the family */
    size_t replace_size;
    bool met;
    uint8_t value[4096];
};

struct fixture {
    struct store_builder builder;
    struct store *damaged;
    struct reader *reader;
    uint64_t positions[64]; /* of what was emitted */
    uint32_t emitted;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    store_builder_open(&f->builder, NULL);
    /* positions 4 n + 1..3 are BUSY, 4 n + 4 is QUIET; commits of 12 */
    for (uint32_t i = 0; i < EVENTS / 4; i++) {
        store_builder_append(&f->builder, BUSY, 3, 30);
        store_builder_append(&f->builder, QUIET, 1, 30);
        if (i % 3 == 2) {
            store_builder_commit(&f->builder);
        }
    }
    store_builder_commit(&f->builder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    reader_free(f->reader);
    store_free(f->damaged);
    store_builder_close(&f->builder);
    free(f);
    return 0;
}

static bool apply_change(void *context, enum store_family family, struct store_slice *key,
                         struct store_slice *value)
{
    struct change *change = context;

    if (family != change->family || key->size != change->key.size ||
        memcmp(key->bytes, change->key.bytes, key->size) != 0) {
        return true;
    }
    change->met = true;
    if (change->remove) {
        return false;
    }
    if (change->replace_value != NULL) {
        *value = (struct store_slice){change->replace_value, change->replace_size};
        return true;
    }
    assert_true(value->size <= sizeof change->value && change->flip < value->size);
    memcpy(change->value, value->bytes, value->size);
    change->value[change->flip] ^= 0x04;
    value->bytes = change->value;
    return true;
}

/* Opens a reader on a copy with that change. */
static void damage(struct fixture *f, struct change *change)
{
    reader_free(f->reader);
    store_free(f->damaged);
    change->met = false;
    f->damaged = store_copy(f->builder.store, apply_change, change);
    assert_true(change->met);
    assert_int_equal(reader_new(f->damaged, &f->reader), ES_OK);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    f->emitted = 0;
}

static bool take(void *context, const struct reader_event *event)
{
    struct fixture *f = context;

    if (f->emitted == 64) {
        return false;
    }
    f->positions[f->emitted++] = event->position;
    return true;
}

/* Reading on from 'from' serves what is before 'damaged_at', then says what is wrong. */
static void assert_all_stops_at(struct fixture *f, uint64_t from, uint64_t damaged_at,
                                const char *words)
{
    struct reader_page page = {.next = from};
    char position[32];

    snprintf(position, sizeof position, "position %d", (int)damaged_at);
    while (page.next < damaged_at) {
        f->emitted = 0;
        assert_int_equal(reader_all(f->reader, page.next, 64, es_text_of(""), take, f, &page),
                         ES_OK);
        assert_true(f->emitted > 0);
        for (uint32_t i = 1; i < f->emitted; i++) {
            assert_int_equal(f->positions[i], f->positions[i - 1] + 1);
        }
        assert_int_equal(f->positions[f->emitted - 1] + 1, page.next);
        assert_false(page.end);
    }
    assert_int_equal(page.next, damaged_at);
    f->emitted = 0;
    assert_int_equal(reader_all(f->reader, page.next, 64, es_text_of(""), take, f, &page),
                     ES_E_CORRUPT);
    assert_int_equal(f->emitted, 0);
    assert_non_null(strstr(reader_why(f->reader), words));
    assert_non_null(strstr(reader_why(f->reader), position));
}

static void a_missing_event_is_damage_at_its_position(void **state)
{
    struct fixture *f = *state;
    struct change change = {.family = STORE_EVENTS, .remove = true};
    struct reader_page page;
    struct reader_event event;

    es_key_event(es_text_of(BUSY), 50, &change.key); /* position 66 */
    damage(f, &change);
    assert_all_stops_at(f, 1, 66, "event 50 of stream " BUSY);
    f->emitted = 0;
    assert_int_equal(reader_all(f->reader, 67, 64, es_text_of(""), take, f, &page), ES_OK);
    assert_int_equal(f->emitted, 64); /* what is beyond is there for whoever asks */
    assert_int_equal(reader_event(f->reader, es_text_of(BUSY), 50, false, &event), ES_E_CORRUPT);
    assert_int_equal(reader_event(f->reader, es_text_of(BUSY), 51, true, &event), ES_OK);
    f->emitted = 0;
    assert_int_equal(reader_stream(f->reader, es_text_of(BUSY), 45, 64, false, take, f, &page),
                     ES_OK);
    assert_int_equal(f->emitted, 5);
    assert_int_equal(page.next, 50);
    assert_false(page.end);
    assert_int_equal(reader_stream(f->reader, es_text_of(BUSY), 50, 64, false, take, f, &page),
                     ES_E_CORRUPT);
    f->emitted = 0;
    assert_int_equal(reader_stream(f->reader, es_text_of(BUSY), 53, 64, true, take, f, &page),
                     ES_OK);
    assert_int_equal(f->emitted, 3);
    assert_int_equal(page.next, 50);
}

static void a_flipped_byte_of_an_event_is_never_served(void **state)
{
    struct fixture *f = *state;

    for (size_t byte = 0; byte < 60; byte += 7) {
        struct change change = {.family = STORE_EVENTS, .flip = byte};

        es_key_event(es_text_of(QUIET), 7, &change.key); /* position 28 */
        damage(f, &change);
        assert_all_stops_at(f, 3, 28, "event 7 of stream " QUIET);
    }
}

static bool keep_value(void *context, enum store_family family, struct store_slice *key,
                       struct store_slice *value)
{
    struct change *change = context;

    if (family == change->family && key->size == change->key.size &&
        memcmp(key->bytes, change->key.bytes, key->size) == 0) {
        memcpy(change->value, value->bytes, value->size);
        change->replace_size = value->size;
    }
    return true;
}

/* Sound bytes, but of another event: their hash is right, their place is not. */
static void the_bytes_of_another_event_are_not_served_for_it(void **state)
{
    struct fixture *f = *state;
    struct change other = {.family = STORE_EVENTS};
    struct change change = {.family = STORE_EVENTS};
    struct reader_page page;

    es_key_event(es_text_of(BUSY), 7, &other.key);
    store_free(store_copy(f->builder.store, keep_value, &other));
    change.replace_value = (const char *)other.value;
    change.replace_size = other.replace_size;
    es_key_event(es_text_of(QUIET), 7, &change.key);
    damage(f, &change);
    assert_all_stops_at(f, 1, 28, "belongs to another stream");

    /* of the same stream: the chain shows it */
    es_key_event(es_text_of(BUSY), 20, &change.key);
    damage(f, &change);
    f->emitted = 0;
    assert_int_equal(reader_stream(f->reader, es_text_of(BUSY), 15, 64, false, take, f, &page),
                     ES_OK);
    assert_int_equal(page.next, 20);
}

static void a_missing_or_flipped_commit_record_is_damage_and_not_the_end(void **state)
{
    struct fixture *f = *state;
    struct change change = {.family = STORE_COMMITS, .remove = true};
    struct reader_page page;
    uint64_t position = 0;
    uint64_t time_us = 0;

    es_key_commit(60, 5, &change.key); /* positions 49..60 */
    damage(f, &change);
    assert_all_stops_at(f, 1, 49, "position 49");
    assert_int_equal(reader_all(f->reader, 55, 64, es_text_of(""), take, f, &page), ES_E_CORRUPT);
    assert_int_equal(reader_locate(f->reader, es_text_of(QUIET), 13, &position, &time_us),
                     ES_E_CORRUPT);
    change.remove = false;
    for (size_t byte = 0; byte < 100; byte += 9) {
        change.flip = byte;
        damage(f, &change);
        assert_all_stops_at(f, 40, 49, "the commit record that holds");
    }
}

static void a_wrong_position_entry_or_head_is_not_followed(void **state)
{
    struct fixture *f = *state;
    struct change change = {.family = STORE_STREAM_META, .flip = 1};
    uint64_t position = 0;
    uint64_t time_us = 0;

    es_key_pos(es_text_of(BUSY), 128, &change.key);
    damage(f, &change); /* position 170 became 174, where sequence 131 is */
    assert_int_equal(reader_locate(f->reader, es_text_of(BUSY), 100, &position, &time_us),
                     ES_E_CORRUPT);
    assert_non_null(strstr(reader_why(f->reader), "event 128 of stream " BUSY));
    change.remove = true;
    damage(f, &change);
    assert_int_equal(reader_locate(f->reader, es_text_of(BUSY), 100, &position, &time_us),
                     ES_E_CORRUPT);
    assert_int_equal(reader_locate(f->reader, es_text_of(BUSY), 129, &position, &time_us), ES_OK);
    change.remove = false;
    change.flip = 0;
    es_key_head(es_text_of(QUIET), &change.key);
    damage(f, &change);
    assert_int_equal(reader_locate(f->reader, es_text_of(QUIET), 10, &position, &time_us),
                     ES_E_CORRUPT);
    assert_non_null(strstr(reader_why(f->reader), "head of stream " QUIET));
}

static void a_damaged_last_commit_record_is_told_and_nothing_is_answered(void **state)
{
    struct fixture *f = *state;
    struct change change = {.family = STORE_COMMITS, .flip = 0};

    es_key_commit(f->builder.position, f->builder.commit_number, &change.key);
    f->damaged = store_copy(f->builder.store, apply_change, &change);
    assert_true(change.met);
    assert_int_equal(reader_new(f->damaged, &f->reader), ES_OK);
    assert_int_equal(reader_begin(f->reader), ES_E_CORRUPT);
    assert_null(reader_snapshot(f->reader));
    assert_non_null(strstr(reader_why(f->reader), "the last commit record"));
    assert_non_null(strstr(reader_why(f->reader), "vouches for position 193 "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_missing_event_is_damage_at_its_position),
        TEST(a_flipped_byte_of_an_event_is_never_served),
        TEST(the_bytes_of_another_event_are_not_served_for_it),
        TEST(a_missing_or_flipped_commit_record_is_damage_and_not_the_end),
        TEST(a_wrong_position_entry_or_head_is_not_followed),
        TEST(a_damaged_last_commit_record_is_told_and_nothing_is_answered),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
