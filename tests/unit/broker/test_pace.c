#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker/limits.h"
#include "broker/pace.h"

static struct pace pace_of(int64_t write_ns, int64_t event_ns)
{
    struct pace pace = {0};

    for (int i = 0; i < 100; i++) {
        pace_note_write(&pace, write_ns);
        pace_note_work(&pace, 64, 64 * event_ns);
    }
    return pace;
}

static void half_goes_first_where_the_work_outlasts_the_write(void **state)
{
    struct pace pace = pace_of(80000, 4000);

    (void)state;
    assert_int_equal(pace_first_share(&pace, 64), 32);
    assert_int_equal(pace_first_share(&pace, 1000), 500);
}

static void a_slow_disk_gets_everything_at_once(void **state)
{
    struct pace pace = pace_of(4000000, 4000);

    (void)state;
    assert_int_equal(pace_first_share(&pace, 64), 64);
    assert_int_equal(pace_first_share(&pace, 2000), 1000); /* but not if it is that much */
}

static void a_few_are_never_divided(void **state)
{
    struct pace pace = pace_of(1, 1000000);

    (void)state;
    for (uint32_t waiting = 0; waiting < 2 * SCRIBE_EVENTS_MIN; waiting++) {
        assert_int_equal(pace_first_share(&pace, waiting), waiting);
    }
}

static void nothing_is_divided_before_anything_was_measured(void **state)
{
    struct pace pace = {0};

    (void)state;
    pace_note_write(&pace, 80000);
    pace_note_work(&pace, 0, 5000); /* a batch without events says nothing */
    assert_int_equal(pace_first_share(&pace, 64), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_goes_first_where_the_work_outlasts_the_write),
        cmocka_unit_test(a_slow_disk_gets_everything_at_once),
        cmocka_unit_test(a_few_are_never_divided),
        cmocka_unit_test(nothing_is_divided_before_anything_was_measured),
    };

    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
