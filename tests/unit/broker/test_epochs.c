/* The list of histories: where each ended, and what a new one does to the list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/epochs.h"

static void a_history_ends_where_the_next_one_began(void **state)
{
    struct es_epochs epochs = {.count = 0};
    uint64_t end = 99;

    (void)state;
    epochs_begin(&epochs, 7, 1);
    epochs_begin(&epochs, 8, 101);
    epochs_begin(&epochs, 9, 101); /* nothing was committed in between */
    assert_int_equal(epochs.count, 3);
    assert_int_equal(epochs_find_end(&epochs, 7, 150, &end), ES_OK);
    assert_int_equal(end, 100);
    assert_int_equal(epochs_find_end(&epochs, 8, 150, &end), ES_OK);
    assert_int_equal(end, 100);
    assert_int_equal(epochs_find_end(&epochs, 9, 150, &end), ES_OK);
    assert_int_equal(end, 150);
    assert_int_equal(epochs_find_end(&epochs, 10, 150, &end), ES_NOT_FOUND);
    assert_int_equal(end, 150);
}

/* A cut before an epoch's first position leaves nothing of its own, and everything that it
 * had taken over from the one before: who has seen more is told where the histories part,
 * and a control page of it is known to be of this store. */
static void an_epoch_that_was_cut_away_whole_ends_at_the_cut(void **state)
{
    struct es_epochs epochs = {.count = 0};
    uint64_t end = 0;

    (void)state;
    epochs_begin(&epochs, 7, 1);
    epochs_begin(&epochs, 8, 101);
    epochs_begin(&epochs, 9, 151);
    epochs_begin(&epochs, 10, 51);
    assert_int_equal(epochs.count, 4);
    for (uint64_t epoch = 7; epoch <= 9; epoch++) {
        assert_int_equal(epochs_find_end(&epochs, epoch, 60, &end), ES_OK);
        assert_int_equal(end, 50);
    }
    assert_int_equal(epochs_find_end(&epochs, 10, 60, &end), ES_OK);
    assert_int_equal(end, 60);
}

static void a_full_list_loses_its_oldest(void **state)
{
    struct es_epochs epochs = {.count = 0};
    uint64_t end = 0;

    (void)state;
    for (uint64_t i = 1; i <= ES_EPOCH_COUNT_MAX + 1; i++) {
        epochs_begin(&epochs, i, i * 10);
    }
    assert_int_equal(epochs.count, ES_EPOCH_COUNT_MAX);
    assert_int_equal(epochs_find_end(&epochs, 1, 9999, &end), ES_NOT_FOUND);
    assert_int_equal(epochs_find_end(&epochs, 2, 9999, &end), ES_OK);
    assert_int_equal(end, 29);
    assert_int_not_equal(epochs_random(), 0);
    assert_int_not_equal(epochs_random(), epochs_random());
}

/* A machine that falls again and again as it starts: what was served before is not forgotten. */
static void a_full_list_loses_those_without_a_position_first(void **state)
{
    struct es_epochs epochs = {.count = 0};
    uint64_t end = 0;

    (void)state;
    epochs_begin(&epochs, 1, 1);
    epochs_begin(&epochs, 2, 34);
    for (uint64_t i = 3; i <= 4 * ES_EPOCH_COUNT_MAX; i++) {
        epochs_begin(&epochs, i, 51);
        assert_int_equal(epochs_find_end(&epochs, i, 60, &end), ES_OK);
        assert_int_equal(end, 60);
    }
    assert_int_equal(epochs.count, ES_EPOCH_COUNT_MAX);
    assert_int_equal(epochs_find_end(&epochs, 1, 60, &end), ES_OK);
    assert_int_equal(end, 33);
    assert_int_equal(epochs_find_end(&epochs, 2, 60, &end), ES_OK);
    assert_int_equal(end, 50);
    assert_int_equal(epochs_find_end(&epochs, 3, 60, &end), ES_NOT_FOUND);
    assert_int_equal(epochs_find_end(&epochs, 4 * ES_EPOCH_COUNT_MAX - 1, 60, &end), ES_OK);
    assert_int_equal(end, 50);
}

/* epochs_begin() says so: whoever was served under it is told where the histories part. */
static void a_full_list_keeps_the_one_that_was_served_last(void **state)
{
    struct es_epochs epochs = {.count = 0};
    uint64_t end = 0;

    (void)state;
    for (uint64_t i = 1; i <= ES_EPOCH_COUNT_MAX; i++) {
        epochs_begin(&epochs, i, 1 + 10 * (i - 1));
    }
    epochs_begin(&epochs, 1000, 601); /* a recovery that cuts into the last two */
    assert_int_equal(epochs_find_end(&epochs, ES_EPOCH_COUNT_MAX, 700, &end), ES_OK);
    assert_int_equal(end, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_history_ends_where_the_next_one_began),
        cmocka_unit_test(an_epoch_that_was_cut_away_whole_ends_at_the_cut),
        cmocka_unit_test(a_full_list_loses_its_oldest),
        cmocka_unit_test(a_full_list_loses_those_without_a_position_first),
        cmocka_unit_test(a_full_list_keeps_the_one_that_was_served_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
