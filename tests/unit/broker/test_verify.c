/* Verify of sound stores, in slices, while others change them; and what a slice tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/verify_fixture.h"

static void a_sound_store_has_no_findings_and_every_event_is_counted(void **state)
{
    struct verify_fixture *f = *state;

    f->prints = true;
    assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    verify_build(&f->builder);
    assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    assert_int_equal(f->total.events_checked, f->builder.position);
    assert_int_equal(f->total.commits_checked, f->builder.commit_number);
    assert_int_equal(f->slices, 1);
}

/* Goes through the store in the smallest slices, while it grows, with one verify or one for
 * each slice, as requests may. */
static void check_in_slices(struct verify_fixture *f, bool one_verify)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;
    uint64_t events = 0;
    uint64_t slices = 0;

    while (!progress.end) {
        if (verify == NULL) {
            assert_int_equal(verify_new(f->builder.store, f->builder.store_id, &verify), ES_OK);
        }
        assert_int_equal(
            verify_slice(verify, &cursor, NO_BUDGET, FINDINGS_MAX, verify_note, f, &progress),
            ES_OK);
        assert_int_equal(progress.findings, 0);
        events += progress.events_checked;
        if (slices++ < 10) {
            verify_build(&f->builder);
        }
        if (!one_verify) {
            verify_free(verify);
            verify = NULL;
        }
    }
    verify_free(verify);
    assert_true(slices > 20);
    assert_int_equal(events, f->builder.position);
}

static void slices_check_everything_once_while_the_store_grows(void **state)
{
    struct verify_fixture *f = *state;

    f->prints = true;
    for (int i = 0; i < 20; i++) {
        verify_build(&f->builder);
    }
    check_in_slices(f, false);
    check_in_slices(f, true);
}

/* So many that the table of changes that wait for a later one grows and closes up again. */
static void keys_changed_again_and_again_are_no_finding(void **state)
{
    struct verify_fixture *f = *state;
    char key[16];

    f->prints = true;
    for (uint32_t i = 0; i < 18000; i++) {
        snprintf(key, sizeof key, "k%u", i % 6000);
        if (i >= 12000 && i % 3 == 0) {
            store_builder_delete(&f->builder, ES_KV_TRUTH, "space", key);
        } else {
            store_builder_put(&f->builder, ES_KV_TRUTH, "space", key, "value");
        }
    }
    store_builder_commit(&f->builder);
    assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    assert_int_equal(verify_store(f, f->builder.store, NO_BUDGET, FINDINGS_MAX), 0);
}

/* Takes out one derived value and damages the one after it. */
static bool cut_and_damage(void *context, enum store_family family, struct store_slice *key,
                           struct store_slice *value)
{
    struct verify_fixture *f = context;

    (void)key;
    if (family != STORE_READ_MODELS) {
        return true;
    }
    f->at++;
    if (f->at == f->entry + 2) {
        memcpy(f->value, value->bytes, value->size);
        f->value[value->size - 1] ^= 1;
        value->bytes = f->value;
    }
    return f->at != f->entry + 1;
}

/* Between two slices anybody may delete the key that the cursor names. */
static void a_slice_goes_on_where_its_key_was(void **state)
{
    struct verify_fixture *f = *state;
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.phase = 0};
    struct verify *verify = NULL;
    struct store *copy = NULL;
    uint64_t findings = 0;

    for (uint32_t i = 0; i < 60; i++) {
        char key[16];

        snprintf(key, sizeof key, "k%02u", i);
        store_builder_put(&f->builder, ES_KV_DERIVED, "space", key, "value");
    }
    store_builder_commit(&f->builder);
    assert_int_equal(verify_new(f->builder.store, f->builder.store_id, &verify), ES_OK);
    while (progress.phase < 6 || memmem(cursor.bytes, cursor.size, "space", 5) == NULL) {
        assert_int_equal(verify_slice(verify, &cursor, NO_BUDGET, 10, verify_note, f, &progress),
                         ES_OK);
    }
    verify_free(verify);
    f->at = 0;
    f->entry = (size_t)(cursor.bytes[cursor.size - 2] - '0') * 10 +
               (size_t)(cursor.bytes[cursor.size - 1] - '0');
    copy = store_copy(f->builder.store, cut_and_damage, f);
    assert_int_equal(verify_new(copy, f->builder.store_id, &verify), ES_OK);
    while (!progress.end) {
        assert_int_equal(verify_slice(verify, &cursor, NO_BUDGET, 10, verify_note, f, &progress),
                         ES_OK);
        findings += progress.findings;
    }
    assert_int_equal(findings, 1);
    verify_free(verify);
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
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
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
    struct verify_fixture *f = *state;
    struct verify *verify = NULL;
    struct verify_progress progress;

    assert_int_equal(verify_new(f->builder.store, f->builder.store_id, &verify), ES_OK);
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct verify_cursor cursor = {.size = 4};

        memcpy(cursor.bytes, forged[i], 4);
        assert_int_equal(verify_slice(verify, &cursor, ALL_BUDGET, 10, verify_note, f, &progress),
                         ES_E_INVALID);
    }
    verify_free(verify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, verify_set_up, verify_tear_down)
        TEST(a_sound_store_has_no_findings_and_every_event_is_counted),
        TEST(slices_check_everything_once_while_the_store_grows),
        TEST(keys_changed_again_and_again_are_no_finding),
        TEST(a_slice_goes_on_where_its_key_was),
        TEST(findings_are_bounded_and_all_places_are_reached),
        TEST(a_cursor_that_is_not_one_is_refused),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
