/* Verify finds something after any one change to a sound store, and names the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shm/codec/envelope.h"
#include "shm/codec/head_record.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "tests/support/verify_fixture.h"

/* ---- one change ---- */

/* Bytes whose change nothing in the store can tell: what is not hashed or told twice. */
static bool nothing_tells(const struct verify_fixture *f, struct store_slice key,
                          struct store_slice value)
{
    struct es_key known;

    if (f->family == STORE_SNAPSHOTS) { /* version and creation time */
        struct es_snapshot_value before;
        struct es_snapshot_value after;

        return es_snapshot_value_decode(value.bytes, value.size, &before) == ES_OK &&
               es_snapshot_value_decode(f->value, value.size, &after) == ES_OK &&
               (before.version != after.version || before.created_us != after.created_us);
    }
    if (f->family == STORE_READ_MODELS) { /* the revision: commits do not tell of derived values */
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
    struct verify_fixture *f = context;

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
static bool try_change(struct verify_fixture *f, enum store_family family, size_t entry,
                       size_t byte)
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
    struct verify_fixture *f = *state;
    size_t flipped = 0;

    verify_build(&f->builder);
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

/* Snapshots and derived values may be deleted by anybody; of the rest everything is missed. */
static void every_entry_left_out_is_missed(void **state)
{
    static const enum store_family families[] = {STORE_EVENTS, STORE_STREAM_META, STORE_COMMITS,
                                                 STORE_KV};
    struct verify_fixture *f = *state;
    size_t left_out = 0;

    verify_build(&f->builder);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        for (size_t entry = 0; try_change(f, families[i], entry, SIZE_MAX); entry++) {
            left_out++;
        }
    }
    assert_true(left_out > f->builder.position);
}

static bool rename_key(void *context, enum store_family family, struct store_slice *key,
                       struct store_slice *value)
{
    struct verify_fixture *f = context;

    (void)value;
    if (family == STORE_KV && f->at++ == f->entry) {
        memcpy(f->value, key->bytes, key->size);
        f->value[key->size - 1]++;
        key->bytes = f->value;
    }
    return true;
}

/* One key is missed, the other is a stray: both show, whichever is looked for. */
static void a_value_under_another_key_is_found(void **state)
{
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
    f->entry = 0;
    f->at = 0;
    copy = store_copy(f->builder.store, rename_key, f);
    assert_int_equal(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX), 2);
    assert_int_equal(f->first.kind, ES_FINDING_KEY);
    assert_non_null(strstr(f->first_message, "key space:first"));
    store_free(copy);
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

static void assert_removal_is_found(struct verify_fixture *f, struct removal removal)
{
    struct store *copy = store_copy(f->builder.store, remove_some, &removal);

    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    store_free(copy);
}

static void a_removed_stream_commit_or_tail_is_found(void **state)
{
    struct verify_fixture *f = *state;

    verify_build(&f->builder);
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
    struct verify_fixture *f = *state;

    verify_build(&f->builder);
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
    struct verify_fixture *f = context;

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
    struct verify_fixture *f = context;

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
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
    f->entry = 0; /* first of stream M1 */
    store_free(store_copy(f->builder.store, keep_event, f));
    f->at = 0;
    f->entry = 4; /* first of stream M2 */
    copy = store_copy(f->builder.store, swap_events, f);
    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    store_free(copy);
    f->entry = 2; /* third of stream M1 */
    f->at = 0;
    store_free(store_copy(f->builder.store, keep_event, f));
    f->at = 0;
    f->entry = 1; /* in the place of the second */
    copy = store_copy(f->builder.store, swap_events, f);
    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    assert_string_equal(f->first_message, "the event does not follow the event before it");
    store_free(copy);
}

/* The last event of stream M2 and its head, made anew with another payload: hash, link and head
 * are right, and yet it is not what the commit was made of. */
static bool forge_last(void *context, enum store_family family, struct store_slice *key,
                       struct store_slice *value)
{
    static uint8_t head_bytes[ES_HEAD_SIZE_MAX];
    struct verify_fixture *f = context;
    struct es_event_view view;
    struct es_head_value head;
    struct es_key wanted;
    uint32_t size = 0;

    es_key_event(es_text_of("v:b:L0:c:M2"), 3, &wanted);
    if (family == STORE_EVENTS && key->size == wanted.size &&
        memcmp(key->bytes, wanted.bytes, key->size) == 0) {
        assert_int_equal(es_envelope_decode(value->bytes, value->size, &view), ES_OK);
        view.event.payload = es_bytes_make("forged", 6);
        assert_int_equal(
            es_envelope_encode(&view.event, f->value, sizeof f->value, &size, f->forged_hash),
            ES_OK);
        *value = (struct store_slice){f->value, size};
    }
    es_key_head(es_text_of("v:b:L0:c:M2"), &wanted);
    if (family == STORE_STREAM_META && key->size == wanted.size &&
        memcmp(key->bytes, wanted.bytes, key->size) == 0) {
        assert_int_equal(es_head_decode(value->bytes, value->size, &head), ES_OK);
        memcpy(head.last_hash, f->forged_hash, ES_HASH_SIZE);
        assert_int_equal(es_head_encode(&head, head_bytes, sizeof head_bytes, &size), ES_OK);
        *value = (struct store_slice){head_bytes, size};
    }
    return true;
}

static void a_forged_event_that_is_sound_by_itself_is_found(void **state)
{
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
    copy = store_copy(f->builder.store, forge_last, f);
    assert_int_equal(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX), 1);
    assert_int_equal(f->first.kind, ES_FINDING_COMMIT);
    assert_string_equal(f->first_message, "commit 1 was made of other events");
    store_free(copy);
}

/* Another value under the same revision, with the hash that belongs to it. */
static bool forge_value(void *context, enum store_family family, struct store_slice *key,
                        struct store_slice *value)
{
    struct verify_fixture *f = context;
    struct es_kv_value forged;
    uint8_t hash[ES_HASH_SIZE];
    uint32_t size = 0;

    (void)key;
    if (family == STORE_KV && f->at++ == 0) {
        assert_int_equal(es_kv_value_decode(value->bytes, value->size, &forged), ES_OK);
        forged.value = es_bytes_make("forged", 6);
        es_hash("forged", 6, hash);
        forged.value_hash = hash;
        assert_int_equal(es_kv_value_encode(&forged, f->value, sizeof f->value, &size), ES_OK);
        *value = (struct store_slice){f->value, size};
    }
    return true;
}

static void a_forged_value_that_is_sound_by_itself_is_found(void **state)
{
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
    f->at = 0;
    copy = store_copy(f->builder.store, forge_value, f);
    assert_int_equal(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX), 1);
    assert_non_null(strstr(f->first_message, "key space:first"));
    assert_non_null(strstr(f->first_message, "holds another value"));
    store_free(copy);
}

static bool remove_last_commit(void *context, enum store_family family, struct store_slice *key,
                               struct store_slice *value)
{
    const struct verify_fixture *f = context;
    uint64_t position = 0;
    uint64_t commit_number = 0;

    (void)value;
    return family != STORE_COMMITS ||
           es_key_commit_parse(es_bytes_make(key->bytes, (uint32_t)key->size), &position,
                               &commit_number) != ES_OK ||
           commit_number != f->builder.commit_number;
}

/* Without events nothing else leads there. */
static void a_removed_last_commit_of_keys_only_is_found(void **state)
{
    struct verify_fixture *f = *state;
    struct store *copy = NULL;

    verify_build(&f->builder);
    store_builder_put(&f->builder, ES_KV_DERIVED, "space", "model", "later");
    store_builder_commit(&f->builder);
    copy = store_copy(f->builder.store, remove_last_commit, f);
    assert_true(verify_store(f, copy, ALL_BUDGET, FINDINGS_MAX) > 0);
    assert_int_equal(f->first.kind, ES_FINDING_MISSING);
    store_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, verify_set_up, verify_tear_down)
        TEST(every_flipped_byte_of_every_value_is_found),
        TEST(every_entry_left_out_is_missed),
        TEST(a_value_under_another_key_is_found),
        TEST(a_removed_stream_commit_or_tail_is_found),
        TEST(a_finding_names_stream_sequence_and_position),
        TEST(an_event_in_the_place_of_another_is_found),
        TEST(a_forged_event_that_is_sound_by_itself_is_found),
        TEST(a_forged_value_that_is_sound_by_itself_is_found),
        TEST(a_removed_last_commit_of_keys_only_is_found),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
