#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "shm/codec/hash.h"
#include "shm/codec/store_key.h"
#include "tests/support/sequencer_fixture.h"

#define ORDERS "prod:main:L0:orders:M1"

/* "Needs to be the first of a batch" must not mean the transaction's own earlier
 * operations: such a one would be put off for ever, and everybody behind it. */
static void a_snapshot_deletion_does_not_wait_for_its_own_transaction(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;

    append_one(f, ORDERS, TX_ANY);
    tx_begin(f, 1);
    tx_snapshot(f, ORDERS, 1, 1, "old");
    tx_submit(f);
    fixture_commit(f);

    tx_begin(f, 4);
    tx_append(f, ORDERS, TX_ANY, 1);
    tx_snapshot(f, ORDERS, 2, 2, "saved and deleted");
    tx_snapshot_delete(f, ORDERS);
    tx_snapshot(f, ORDERS, 3, 2, "new");
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->status, ES_OK);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_SNAPSHOTS), 1);

    tx_begin(f, 2);
    tx_put(f, "rate", TX_ANY, "19");
    tx_snapshot_delete(f, ORDERS);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->status, ES_OK);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_SNAPSHOTS), 0);
}

/* Who is told that the disk is full has to be able to make room. */
static void below_the_reserve_deletions_go_on(void **state)
{
    struct sequencer_fixture *f = *state;

    append_one(f, ORDERS, TX_ANY);
    tx_begin(f, 2);
    tx_put(f, "rate", TX_ANY, "19");
    tx_snapshot(f, ORDERS, 1, 1, "old");
    tx_submit(f);
    fixture_commit(f);
    sequencer_set_no_space(f->sequencer, true);

    tx_begin(f, 2);
    tx_delete(f, "rate", TX_ANY);
    tx_put(f, "rate", TX_ANY, "20");
    assert_int_equal(tx_submit(f)->status, ES_NO_SPACE);
    tx_begin(f, 1);
    tx_snapshot(f, ORDERS, 2, 1, "new");
    assert_int_equal(tx_submit(f)->status, ES_NO_SPACE);
    tx_begin(f, 2);
    tx_delete(f, "rate", TX_ANY);
    tx_snapshot_delete(f, ORDERS);
    assert_int_equal(tx_submit(f)->status, ES_OK);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_SNAPSHOTS), 0);
    assert_false(stored_key(f, "rate", &(uint64_t){0}));
}

/* Other bytes than a value, as a flipped bit would leave them; nothing is cached any more. */
static void damage(struct sequencer_fixture *f, enum store_family family, const struct es_key *key)
{
    fixture_commit(f);
    store_batch_clear(f->writes);
    assert_int_equal(store_batch_put(f->writes, family, (struct store_slice){key->bytes, key->size},
                                     (struct store_slice){(const uint8_t *)"x", 1}),
                     ES_OK);
    assert_int_equal(store_apply(f->store, f->writes, STORE_APPLY_LIVE), ES_OK);
    heads_free(f->heads);
    sequencer_free(f->sequencer);
    assert_int_equal(heads_new(f->store, &f->counters, 10, &f->heads), ES_OK);
    heads_set_applied(f->heads, f->end.batch_number);
    assert_int_equal(sequencer_new(f->store, f->heads, &f->sequencer), ES_OK);
}

/* A broker that stopped at it would find the same record in its lane when it starts again. */
static void what_leads_to_a_damaged_head_or_key_is_refused_and_the_rest_is_served(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    struct es_key key;

    append_one(f, ORDERS, TX_ANY);
    es_key_head(es_text_of(ORDERS), &key);
    damage(f, STORE_STREAM_META, &key);
    result = append_one(f, ORDERS, TX_ANY);
    assert_int_equal(result->status, ES_REJECTED);
    assert_int_equal(result->reason, ES_REASON_DAMAGE);
    assert_int_equal(append_one(f, "prod:main:L0:orders:M2", TX_ANY)->position, 2);

    tx_begin(f, 1);
    tx_put(f, "a", TX_ANY, "1");
    assert_int_equal(tx_submit(f)->status, ES_OK);
    es_key_kv(es_text_of("settings"), es_text_of("a"), &key);
    damage(f, STORE_KV, &key);
    tx_begin(f, 2);
    tx_put(f, "b", TX_ANY, "1");
    tx_put(f, "a", TX_ANY, "2");
    result = tx_submit(f);
    assert_int_equal(result->status, ES_REJECTED);
    assert_int_equal(result->reason, ES_REASON_DAMAGE);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_KV), 1);
}

static void what_comes_under_a_damaged_name_is_told_so(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    struct es_key key;

    f->producer = "importer";
    f->number = 1;
    append_one(f, ORDERS, TX_ANY);
    es_key_producer(es_text_of("importer"), &key);
    damage(f, STORE_PRODUCERS, &key);
    result = append_one(f, ORDERS, TX_ANY);
    assert_int_equal(result->status, ES_E_CORRUPT);
    assert_int_equal(result->reason, ES_REASON_DAMAGE);
    f->producer = "another";
    assert_int_equal(append_one(f, ORDERS, TX_ANY)->position, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_snapshot_deletion_does_not_wait_for_its_own_transaction,
                                        sequencer_fixture_setup, sequencer_fixture_teardown),
        cmocka_unit_test_setup_teardown(below_the_reserve_deletions_go_on, sequencer_fixture_setup,
                                        sequencer_fixture_teardown),
        cmocka_unit_test_setup_teardown(
            what_leads_to_a_damaged_head_or_key_is_refused_and_the_rest_is_served,
            sequencer_fixture_setup, sequencer_fixture_teardown),
        cmocka_unit_test_setup_teardown(what_comes_under_a_damaged_name_is_told_so,
                                        sequencer_fixture_setup, sequencer_fixture_teardown),
    };

    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: sequencer", tests, NULL, NULL);
}
