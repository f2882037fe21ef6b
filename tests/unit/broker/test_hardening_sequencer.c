#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "shm/codec/hash.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_snapshot_deletion_does_not_wait_for_its_own_transaction,
                                        sequencer_fixture_setup, sequencer_fixture_teardown),
        cmocka_unit_test_setup_teardown(below_the_reserve_deletions_go_on, sequencer_fixture_setup,
                                        sequencer_fixture_teardown),
    };

    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: sequencer", tests, NULL, NULL);
}
