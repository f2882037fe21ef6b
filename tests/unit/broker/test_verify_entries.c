/* Verify follows the entries of consumers and producers, both ways, and knows each form of key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "tests/support/verify_fixture.h"

static void put_entry(struct verify_fixture *f, enum store_family family, const struct es_key *key,
                      const void *value, uint32_t size)
{
    store_batch_clear(f->builder.writes);
    assert_int_equal(store_batch_put(f->builder.writes, family,
                                     (struct store_slice){key->bytes, key->size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(store_apply(f->builder.store, f->builder.writes, STORE_APPLY_LIVE), ES_OK);
}

/* Puts the entry, and expects one finding of this kind with these words, or none. */
static void assert_entry(struct verify_fixture *f, enum store_family family,
                         const struct es_key *key, const void *value, uint32_t size,
                         enum es_finding_kind kind, const char *words)
{
    put_entry(f, family, key, value, size);
    if (words == NULL) {
        assert_int_equal(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX), 0);
    } else {
        assert_true(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX) >= 1);
        assert_int_equal(f->first.kind, kind);
        if (strstr(f->first_message, words) == NULL) {
            fail_msg("wanted \"%s\", found \"%s\"", words, f->first_message);
        }
    }
}

static void consumers_refer_to_what_is_there(void **state)
{
    struct verify_fixture *f = *state;
    struct es_consumer_value consumer = {.epoch = 77, .position = 3, .owner = es_text_of("me")};
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;

    verify_build(&f->builder);
    es_key_consumer(es_text_of("c"), &key);
    assert_int_equal(es_consumer_value_encode(&consumer, value, sizeof value, &size), ES_OK);
    assert_entry(f, STORE_CONSUMERS, &key, value, size, ES_FINDING_MISSING, NULL);
    consumer.position = 1000000;
    assert_int_equal(es_consumer_value_encode(&consumer, value, sizeof value, &size), ES_OK);
    assert_entry(f, STORE_CONSUMERS, &key, value, size, ES_FINDING_MISSING, "lies beyond");
    assert_entry(f, STORE_CONSUMERS, &key, "x", 1, ES_FINDING_MISSING, "is malformed");
}

/* Puts the producer's own entry, with this last number. */
static void assert_last_number(struct verify_fixture *f, const char *name, uint64_t number,
                               const char *words)
{
    const struct es_producer_value entry = {.last_sequence = number, .owner_uid = 1000};
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;

    es_key_producer(es_text_of(name), &key);
    assert_int_equal(es_producer_value_encode(&entry, value, sizeof value, &size), ES_OK);
    assert_entry(f, STORE_PRODUCERS, &key, value, size, ES_FINDING_PRODUCER, words);
}

/* Entries and commits of named producers are followed both ways: what leads nowhere or
 * elsewhere is found, and so is a number that nothing leads to. */
static void producers_lead_to_their_commits_and_back(void **state)
{
    struct verify_fixture *f = *state;
    uint64_t commit_before = 0;
    struct es_key commit;
    struct es_key key;

    verify_build(&f->builder);
    for (uint64_t number = 1; number <= 6; number++) {
        store_builder_named(&f->builder, "p", number, "v:b:L0:c:M1");
        store_builder_named(&f->builder, "q", number, "v:b:L0:c:M1");
        if (number % 2 == 0) {
            commit_before = f->builder.commit_number;
            store_builder_commit(&f->builder);
        }
    }
    assert_last_number(f, "p", 6, NULL);
    assert_last_number(f, "new", 0, NULL);
    assert_last_number(f, "p", 4, "beyond its last one");
    assert_last_number(f, "p", 7, "nothing leads to its last number");
    es_key_producer(es_text_of("p"), &key);
    assert_entry(f, STORE_PRODUCERS, &key, "x", 1, ES_FINDING_PRODUCER, "entry is malformed");
    assert_last_number(f, "p", 6, NULL);

    es_key_producer_commit(es_text_of("z"), 5, &key);
    es_key_commit(f->builder.position, f->builder.commit_number, &commit);
    assert_entry(f, STORE_PRODUCERS, &key, commit.bytes, commit.size, ES_FINDING_PRODUCER,
                 "does not end with the number");
    es_key_commit(f->builder.position + 1, f->builder.commit_number, &commit);
    assert_entry(f, STORE_PRODUCERS, &key, commit.bytes, commit.size, ES_FINDING_PRODUCER,
                 "a commit that is not there");
    assert_entry(f, STORE_PRODUCERS, &key, "x", 1, ES_FINDING_PRODUCER, "receipt is malformed");

    es_key_commit(f->builder.position - 4, commit_before, &commit);
    es_key_producer_commit(es_text_of("q"), 6, &key);
    assert_entry(f, STORE_PRODUCERS, &key, commit.bytes, commit.size, ES_FINDING_PRODUCER,
                 "nothing leads from number 5");
}

/* A key of no form that we know, in each family that has forms. */
static void malformed_keys_are_extra(void **state)
{
    static const enum store_family families[] = {STORE_COMMITS,  STORE_STREAM_META, STORE_SNAPSHOTS,
                                                 STORE_KV,       STORE_READ_MODELS, STORE_PRODUCERS,
                                                 STORE_CONSUMERS};
    const struct es_key key = {.size = 9, .bytes = "A:strange"};

    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct verify_fixture *f = NULL;

        verify_tear_down(state); /* a store of its own for each */
        verify_set_up(state);
        f = *state;
        verify_build(&f->builder);
        put_entry(f, families[i], &key, "x", 1);
        assert_true(verify_store(f, f->builder.store, ALL_BUDGET, FINDINGS_MAX) >= 1);
        assert_int_equal(f->first.kind, ES_FINDING_EXTRA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, verify_set_up, verify_tear_down)
        TEST(consumers_refer_to_what_is_there),
        TEST(producers_lead_to_their_commits_and_back),
        TEST(malformed_keys_are_extra),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
