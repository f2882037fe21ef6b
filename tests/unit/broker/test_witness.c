/*
 * The witness: told to be at once (--anchor sync), what it is told of is in the
 * anchor, and synced, when witness_note() returns. Without, only the end is certain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/witness.h"
#include "tests/support/sim_disk.h"

static const char name[] = "anchor";

struct fixture {
    struct disk *disk;
    struct anchor *anchor;
    struct witness *witness;
};

static void fail_test(const char *what, const char *why)
{
    fail_msg("%s: %s", what, why);
}

static void begin(struct fixture *f, bool is_at_once)
{
    const struct anchor_state state = {.start_number = 1, .durability = ANCHOR_FSYNC};
    struct witness_config config = {.failed = fail_test, .is_at_once = is_at_once};

    f->disk = sim_disk_new(1);
    assert_int_equal(anchor_create(f->disk, name, &state, &f->anchor), ES_OK);
    config.anchor = f->anchor;
    assert_int_equal(witness_new(&config, &state, &f->witness), ES_OK);
}

static void note(struct fixture *f, uint64_t number)
{
    uint8_t hash[ANCHOR_HASH_BYTES];

    memset(hash, (int)number, sizeof hash);
    witness_note(f->witness, number, number + 1, number + 2, hash);
}

static struct anchor_state written(struct fixture *f)
{
    struct anchor_state state;
    struct anchor *reader = NULL;

    assert_int_equal(anchor_open(f->disk, name, DISK_READ_ONLY, &state, &reader), ES_OK);
    anchor_free(reader);
    return state;
}

static void end(struct fixture *f)
{
    witness_free(f->witness);
    anchor_free(f->anchor);
    disk_free(f->disk);
}

static void at_once_every_commit_is_in_the_anchor_before_the_answer(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, true);
    for (uint64_t number = 1; number <= 20; number++) {
        note(&f, number);
        assert_int_equal(written(&f).batch_number, number);
        assert_int_equal(written(&f).commit_number, number + 1);
        assert_int_equal(written(&f).position, number + 2);
        assert_int_equal(written(&f).store_hash[0], number);
        assert_false(written(&f).clean);
    }
    end(&f);
}

static void the_last_commit_is_in_the_anchor_after_a_clean_stop(void **state)
{
    struct fixture f;

    (void)state;
    for (int is_at_once = 0; is_at_once < 2; is_at_once++) {
        begin(&f, is_at_once != 0);
        note(&f, 7);
        assert_int_equal(witness_stop_clean(f.witness), ES_OK);
        assert_int_equal(written(&f).batch_number, 7);
        assert_true(written(&f).clean);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once_every_commit_is_in_the_anchor_before_the_answer),
        cmocka_unit_test(the_last_commit_is_in_the_anchor_after_a_clean_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
