/* The histogram of esbench: what its figures may be wrong by, and that merging loses nothing. The
 * source is included, for the program has no library to link. */
#include "tools/esbench/histogram.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int new_histograms(void **state)
{
    *state = calloc(2, sizeof(struct histogram));
    return *state == NULL ? -1 : 0;
}

static int free_histograms(void **state)
{
    free(*state);
    return 0;
}

static void an_empty_histogram_has_only_zeros(void **state)
{
    const struct histogram *histogram = *state;

    assert_int_equal(histogram_percentile(histogram, 0), 0);
    assert_int_equal(histogram_percentile(histogram, 500000), 0);
    assert_int_equal(histogram_percentile(histogram, 1000000), 0);
}

static void small_values_are_exact(void **state)
{
    struct histogram *histogram = *state;

    for (uint64_t value = 1; value <= 100; value++) {
        histogram_add(histogram, value);
    }
    assert_int_equal(histogram_percentile(histogram, 0), 1);
    assert_int_equal(histogram_percentile(histogram, 10000), 1);
    assert_int_equal(histogram_percentile(histogram, 500000), 50);
    assert_int_equal(histogram_percentile(histogram, 990000), 99);
    assert_int_equal(histogram_percentile(histogram, 999000), 100);
    assert_int_equal(histogram_percentile(histogram, 1000000), 100);
}

/* Whatever was measured, the figure shown for it is not below it, and above by at most 1/128. */
static void every_value_comes_back_at_most_a_128th_too_high(void **state)
{
    struct histogram *histogram = *state;

    for (unsigned shift = 0; shift < 40; shift++) {
        for (uint64_t offset = 0; offset < 3; offset++) {
            uint64_t value = (1ULL << shift) + offset * ((1ULL << shift) / 3);
            uint64_t shown = 0;

            memset(histogram, 0, sizeof *histogram);
            histogram_add(histogram, value);
            histogram_add(histogram, HISTOGRAM_VALUE_MAX);
            shown = histogram_percentile(histogram, 500000);
            assert_true(shown >= value);
            assert_true(shown - value <= value / 128);
        }
    }
}

static void what_is_too_large_is_counted_in_the_last_bucket(void **state)
{
    struct histogram *histogram = *state;

    histogram_add(histogram, UINT64_MAX);
    histogram_add(histogram, HISTOGRAM_VALUE_MAX + 1);
    assert_int_equal(histogram->buckets[HISTOGRAM_BUCKET_COUNT - 1], 2);
    assert_true(histogram->maximum == UINT64_MAX);
}

static void percentiles_never_fall_and_end_at_the_maximum(void **state)
{
    struct histogram *histogram = *state;
    uint64_t before = 0;
    uint64_t seed = 1;

    for (int i = 0; i < 10000; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        histogram_add(histogram, (seed >> 33) >> (i % 30));
    }
    for (uint32_t parts = 0; parts <= 1000000; parts += 1000) {
        uint64_t value = histogram_percentile(histogram, parts);

        assert_true(value >= before);
        before = value;
    }
    assert_true(before == histogram->maximum);
}

static void merging_is_adding_everything_to_one(void **state)
{
    struct histogram *parts = *state;
    struct histogram *whole = calloc(1, sizeof *whole);

    assert_non_null(whole);
    for (uint64_t value = 0; value < 5000; value++) {
        histogram_add(&parts[value % 2], value * value);
        histogram_add(whole, value * value);
    }
    histogram_merge(&parts[0], &parts[1]);
    assert_memory_equal(&parts[0], whole, sizeof *whole);
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_histogram_has_only_zeros, new_histograms,
                                        free_histograms),
        cmocka_unit_test_setup_teardown(small_values_are_exact, new_histograms, free_histograms),
        cmocka_unit_test_setup_teardown(every_value_comes_back_at_most_a_128th_too_high,
                                        new_histograms, free_histograms),
        cmocka_unit_test_setup_teardown(what_is_too_large_is_counted_in_the_last_bucket,
                                        new_histograms, free_histograms),
        cmocka_unit_test_setup_teardown(percentiles_never_fall_and_end_at_the_maximum,
                                        new_histograms, free_histograms),
        cmocka_unit_test_setup_teardown(merging_is_adding_everything_to_one, new_histograms,
                                        free_histograms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
