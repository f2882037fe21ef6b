/*
 * Verify against stores that the broker's own sequencer and apply have built:
 * it finds nothing in a sound one, and something after any one change to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/verify.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_key.h"
#include "tests/support/store_builder.h"

#define NO_BUDGET UINT64_C(0)
#define ALL_BUDGET (UINT64_MAX / 2)

enum {
    FINDINGS_MAX = 1000
};

struct fixture {
    struct store_builder builder;
    struct verify_progress total;
    uint64_t slices;
    struct verify_finding first; /* kind 0: none yet */
    char first_stream[64];
    bool prints;
    /* what to tamper with */
    enum store_family family;
    size_t entry; /* counted within the family */
    size_t at;    /* entries of the family met so far */
    size_t byte;  /* to flip; SIZE_MAX: leave the entry out */
    bool tampered;
    bool may_pass; /* nothing says what these bytes were */
    uint8_t value[1 << 16];
};

static void found(void *context, const struct verify_finding *finding)
{
    struct fixture *f = context;

    if (f->first.kind == 0) {
        f->first = *finding;
        snprintf(f->first_stream, sizeof f->first_stream, "%.*s", (int)finding->stream.size,
                 finding->stream.data);
    }
    if (f->prints) {
        print_message("  %d %.*s sequence %d position %d: %s\n", (int)finding->kind,
                      (int)finding->stream.size, finding->stream.data, (int)finding->sequence,
                      (int)finding->position, finding->message);
    }
}

/* Verifies the whole store in slices; what was found is in the fixture. */
static uint64_t verify_store(struct fixture *f, struct store *store, uint64_t budget_ns,
                             uint32_t findings_max)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;

    memset(&f->total, 0, sizeof f->total);
    memset(&f->first, 0, sizeof f->first);
    f->slices = 0;
    assert_int_equal(verify_new(store, f->builder.store_id, &verify), ES_OK);
    while (!progress.end) {
        assert_int_equal(
            verify_slice(verify, &cursor, budget_ns, findings_max, found, f, &progress), ES_OK);
        f->total.events_checked += progress.events_checked;
        f->total.commits_checked += progress.commits_checked;
        f->total.findings += progress.findings;
        f->slices++;
        assert_true(f->slices < 100000);
    }
    verify_free(verify);
    return f->total.findings;
}

/* Two categories, streams of one event and of hundreds, keys, snapshots. */
static void build(struct store_builder *builder)
{
    store_builder_append(builder, "v:b:L0:c:M1", 1, 20);
    store_builder_append(builder, "v:b:L0:c:M2", 3, 20);
    store_builder_append(builder, "v:b:L0:c:M1", 2, 20);
    store_builder_append(builder, "v:b:L0:d:M1", 1, 20);
    store_builder_commit(builder);
    store_builder_append(builder, "v:b:L0:c:M1", 1, 20);
    store_builder_put(builder, ES_KV_TRUTH, "space", "first", "value one");
    store_builder_put(builder, ES_KV_TRUTH, "space", "second", "value two");
    store_builder_put(builder, ES_KV_DERIVED, "space", "model", "derived value");
    store_builder_commit(builder);
    store_builder_put(builder, ES_KV_TRUTH, "space", "second", "value three");
    store_builder_commit(builder);
    store_builder_put(builder, ES_KV_TRUTH, "space", "third", "gone");
    store_builder_commit(builder);
    store_builder_delete(builder, ES_KV_TRUTH, "space", "third");
    store_builder_snapshot(builder, "v:b:L0:c:M1", 70, 2, "", "a state");
    store_builder_snapshot(builder, "v:b:L0:c:M1", 80, 3, "sums", "another state");
    store_builder_commit(builder);
    for (uint32_t i = 0; i < 10; i++) {
        store_builder_append(builder, "v:b:L0:d:M1", 15, 5);
        store_builder_append(builder, "v:b:L0:d:M2", 1, 5);
        store_builder_commit(builder);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    store_builder_open(&f->builder, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_builder_close(&f->builder);
    free(f);
    return 0;
}

static void a_sound_store_has_no_findings_and_every_event_is_counted(void **state)
{
    struct fixture *f = *state;

    f->prints = true;
    assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    build(&f->builder);
    assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    assert_int_equal(f->total.events_checked, f->builder.position);
    assert_int_equal(f->total.commits_checked, f->builder.commit_number);
    assert_int_equal(f->slices, 1);
}

/* A slice may end anywhere, and others append meanwhile. */
static void slices_check_everything_once_while_the_store_grows(void **state)
{
    struct fixture *f = *state;
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;
    uint64_t events = 0;
    uint64_t slices = 0;

    f->prints = true;
    for (int i = 0; i < 20; i++) {
        build(&f->builder);
    }
    while (!progress.end) { /* a new one for each slice, as for each request */
        assert_int_equal(verify_new(f->builder.store, f->builder.store_id, &verify), ES_OK);
        assert_int_equal(
            verify_slice(verify, &cursor, NO_BUDGET, FINDINGS_MAX, found, f, &progress), ES_OK);
        verify_free(verify);
        assert_int_equal(progress.findings, 0);
        events += progress.events_checked;
        if (slices++ < 10) {
            build(&f->builder);
        }
    }
    assert_true(slices > 20);
    assert_int_equal(events, f->builder.position);
}

/* ---- one change ---- */

/* Bytes whose change nothing in the store can tell: what is not hashed or told twice. */
static bool nothing_tells(const struct fixture *f, struct store_slice key, struct store_slice value)
{
    struct es_key known;

    if (f->family == STORE_SNAPSHOTS) { /* version and creation time */
        struct es_snapshot_value before;
        struct es_snapshot_value after;

        return es_snapshot_value_decode(value.bytes, value.size, &before) == ES_OK &&
               es_snapshot_value_decode(f->value, value.size, &after) == ES_OK &&
               (before.version != after.version || before.created_us != after.created_us);
    }
    if (f->family == STORE_KV || f->family == STORE_READ_MODELS) { /* a revision given out later */
        struct es_kv_value before;
        struct es_kv_value after;

        return es_kv_value_decode(value.bytes, value.size, &before) == ES_OK &&
               es_kv_value_decode(f->value, value.size, &after) == ES_OK &&
               before.revision != after.revision;
    }
    if (f->family == STORE_DEFAULT) { /* numbers of batches, lanes, epochs and revisions */
        es_key_last(&known);
        if (key.size == known.size && memcmp(key.bytes, known.bytes, key.size) == 0) {
            return true;
        }
        es_key_epochs(&known);
        if (key.size == known.size && memcmp(key.bytes, known.bytes, key.size) == 0) {
            return true;
        }
        es_key_revision(&known);
        if (key.size == known.size && memcmp(key.bytes, known.bytes, key.size) == 0) {
            return true;
        }
        es_key_store(&known); /* the format version is the start-up's affair */
        return key.size == known.size && memcmp(key.bytes, known.bytes, key.size) == 0 &&
               f->byte == 1;
    }
    if (f->family == STORE_STREAM_META) { /* the head's flags, for newer programs */
        struct es_head_value before;
        struct es_head_value after;

        return es_head_decode(value.bytes, value.size, &before) == ES_OK &&
               es_head_decode(f->value, value.size, &after) == ES_OK && before.flags != after.flags;
    }
    return false;
}

static bool tamper(void *context, enum store_family family, struct store_slice *key,
                   struct store_slice *value)
{
    struct fixture *f = context;

    if (family != f->family || f->at++ != f->entry) {
        return true;
    }
    f->tampered = f->byte == SIZE_MAX || f->byte < value->size;
    if (f->byte == SIZE_MAX) {
        return false;
    }
    assert_true(value->size <= sizeof f->value);
    memcpy(f->value, value->bytes, value->size);
    if (f->byte < value->size) {
        f->value[f->byte] ^= (uint8_t)(1U << (f->byte % 8));
        f->may_pass = nothing_tells(f, *key, *value);
        value->bytes = f->value;
    }
    return true;
}

/* Verifies a copy with one change; false: there is no such entry or byte. */
static bool try_change(struct fixture *f, enum store_family family, size_t entry, size_t byte)
{
    struct store *copy = NULL;
    uint64_t findings = 0;

    f->family = family;
    f->entry = entry;
    f->byte = byte;
    f->at = 0;
    f->tampered = false;
    f->may_pass = false;
    copy = store_copy(f->builder.store, tamper, f);
    if (f->tampered) {
        findings = verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX);
        if (findings == 0 && !f->may_pass) {
            print_message("not found: family %s, entry %zu, byte %zd\n", store_family_name(family),
                          entry, (ssize_t)byte);
        }
        assert_true(findings > 0 || f->may_pass);
    }
    store_free(copy);
    return f->tampered;
}

static void every_flipped_byte_of_every_value_is_found(void **state)
{
    struct fixture *f = *state;
    size_t flipped = 0;

    build(&f->builder);
    for (int family = 0; family < STORE_FAMILY_COUNT; family++) {
        bool more = true;

        /* each byte of some entries, one byte of the others */
        for (size_t entry = 0; more; entry++) {
            size_t step = entry < 8 || entry % 40 == 0 ? 1 : 29;

            more = false;
            for (size_t byte = entry % step; try_change(f, (enum store_family)family, entry, byte);
                 byte += step) {
                flipped++;
                more = true;
            }
        }
    }
    print_message("%zu bytes flipped\n", flipped);
    assert_true(flipped > 3000);
}

/* Values and snapshots may be deleted by anybody; of the rest everything is missed. */
static void every_entry_left_out_is_missed(void **state)
{
    static const enum store_family families[] = {STORE_EVENTS, STORE_STREAM_META, STORE_COMMITS};
    struct fixture *f = *state;
    size_t left_out = 0;

    build(&f->builder);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (size_t entry = 0; try_change(f, families[i], entry, SIZE_MAX); entry++) {
            left_out++;
        }
    }
    assert_true(left_out > f->builder.position);
}

/* ---- larger changes ---- */

struct removal {
    const char *prefix;     /* of keys, in any family; NULL: none */
    uint64_t from_position; /* commits that end there or later are left out; 0: none */
    uint64_t until_position;
};

static bool remove_some(void *context, enum store_family family, struct store_slice *key,
                        struct store_slice *value)
{
    const struct removal *removal = context;
    uint64_t last_position = 0;
    uint64_t commit_number = 0;

    (void)value;
    if (family == STORE_COMMITS && removal->from_position != 0 &&
        es_key_commit_parse(es_bytes_make(key->bytes, (uint32_t)key->size), &last_position,
                            &commit_number) == ES_OK) {
        return last_position < removal->from_position || last_position > removal->until_position;
    }
    return removal->prefix == NULL || key->size < strlen(removal->prefix) ||
           memcmp(key->bytes, removal->prefix, strlen(removal->prefix)) != 0;
}

static void assert_removal_is_found(struct fixture *f, struct removal removal)
{
    struct store *copy = store_copy(f->builder.store, remove_some, &removal);

    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    store_free(copy);
}

static void a_removed_stream_commit_or_tail_is_found(void **state)
{
    struct fixture *f = *state;

    build(&f->builder);
    assert_removal_is_found(f, (struct removal){.prefix = "S:v:b:L0:c:M1:"});
    assert_removal_is_found(f, (struct removal){.prefix = "S:v:b:L0:d:M2:"});
    assert_removal_is_found(f, (struct removal){.prefix = "Category:v:b:L0:d"});
    assert_removal_is_found(f, (struct removal){.prefix = "Revision"});
    assert_removal_is_found(f, (struct removal){.prefix = "Store"});
    assert_removal_is_found(f, (struct removal){.from_position = 100, .until_position = 120});
    assert_removal_is_found(f,
                            (struct removal){.from_position = 150, .until_position = UINT64_MAX});
    assert_removal_is_found(f, (struct removal){.from_position = 1, .until_position = 7});
}

/* What a finding names is where the damage is. */
static void a_finding_names_stream_sequence_and_position(void **state)
{
    struct fixture *f = *state;

    build(&f->builder);
    /* events in key order: M1 1..4 of 'c', M2 1..3 */
    assert_true(try_change(f, STORE_EVENTS, 5, SIZE_MAX));
    assert_int_equal(f->first.kind, ES_FINDING_MISSING);
    assert_string_equal(f->first_stream, "v:b:L0:c:M2");
    assert_int_equal(f->first.sequence, 2);
    assert_int_equal(f->first.position, 3);
    assert_true(try_change(f, STORE_EVENTS, 2, 40));
    assert_int_equal(f->first.kind, ES_FINDING_EVENT);
    assert_string_equal(f->first_stream, "v:b:L0:c:M1");
    assert_int_equal(f->first.sequence, 3);
    assert_int_equal(f->first.position, 6);
}

static bool swap_events(void *context, enum store_family family, struct store_slice *key,
                        struct store_slice *value)
{
    struct fixture *f = context;

    (void)key;
    if (family == STORE_EVENTS && f->at++ == f->entry) { /* the bytes of another stream's event */
        value->bytes = f->value;
        value->size = f->byte;
    }
    return true;
}

static bool keep_event(void *context, enum store_family family, struct store_slice *key,
                       struct store_slice *value)
{
    struct fixture *f = context;

    (void)key;
    if (family == STORE_EVENTS && f->at++ == f->entry) {
        memcpy(f->value, value->bytes, value->size);
        f->byte = value->size;
    }
    return true;
}

/* Sound by itself, but not what the commit was made of. */
static void an_event_in_the_place_of_another_is_found(void **state)
{
    struct fixture *f = *state;
    struct store *copy = NULL;

    build(&f->builder);
    f->entry = 0; /* first of stream M1 */
    store_free(store_copy(f->builder.store, keep_event, f));
    f->at = 0;
    f->entry = 4; /* first of stream M2 */
    copy = store_copy(f->builder.store, swap_events, f);
    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    store_free(copy);
    f->at = 0;
    f->entry = 1; /* second of stream M1 itself */
    copy = store_copy(f->builder.store, swap_events, f);
    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    store_free(copy);
}

static bool only_heads(void *context, enum store_family family, struct store_slice *key,
                       struct store_slice *value)
{
    (void)context;
    (void)key;
    (void)value;
    return family != STORE_EVENTS;
}

/* However much is damaged, a slice tells so many findings and goes on later. */
static void findings_are_bounded_and_all_places_are_reached(void **state)
{
    struct fixture *f = *state;
    struct store *copy = NULL;

    build(&f->builder);
    copy = store_copy(f->builder.store, only_heads, NULL);
    assert_true(verify_store(f, copy, ALL_BUDGET, 10) > 20);
    assert_true(f->slices > 3);
    assert_int_equal(f->total.events_checked, f->builder.position);
    store_free(copy);
}

static void a_cursor_that_is_not_one_is_refused(void **state)
{
    static const uint8_t forged[][4] = {
        {0xc1, 0, 0, 0}, {0x93, 2, 0, 0xc4}, {0x93, 1, 99, 0xc4}, {0x93, 1, 0, 0xc4}};
    struct fixture *f = *state;
    struct verify *verify = NULL;
    struct verify_progress progress;

    assert_int_equal(verify_new(f->builder.store, f->builder.store_id, &verify), ES_OK);
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct verify_cursor cursor = {.size = 4};

        memcpy(cursor.bytes, forged[i], 4);
        assert_int_equal(verify_slice(verify, &cursor, ALL_BUDGET, 10, found, f, &progress),
                         ES_E_INVALID);
    }
    verify_free(verify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_sound_store_has_no_findings_and_every_event_is_counted),
        TEST(slices_check_everything_once_while_the_store_grows),
        TEST(every_flipped_byte_of_every_value_is_found),
        TEST(every_entry_left_out_is_missed),
        TEST(a_removed_stream_commit_or_tail_is_found),
        TEST(a_finding_names_stream_sequence_and_position),
        TEST(an_event_in_the_place_of_another_is_found),
        TEST(findings_are_bounded_and_all_places_are_reached),
        TEST(a_cursor_that_is_not_one_is_refused),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
