/*
 * What a torn write, a flipped bit or a stranger makes of each kept value: the
 * decoder either refuses it or reads something that it would itself have written.
 * It never reads past the end: each attempt lies in an allocation of its exact
 * size, which AddressSanitizer watches.
 */
#include "tests/support/golden.h"
#include "tests/support/prng.h"
#include "tests/support/recode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RANDOM_CHANGES 200

static const char *const files[] = {"envelope",  "commit",  "value",  "transaction", "log",
                                    "published", "request", "attach", "reply"};

struct counts {
    struct prng prng;
    size_t values;
    size_t tried;
    size_t accepted;
};

/*
 * Decodes a copy of the bytes. If that succeeds, what is read and written again
 * is the same, or shorter by trailing elements, and then it reads as itself.
 */
static bool attempt(const struct recoder *recoder, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    uint8_t *again = malloc(size > 0 ? size : 1);
    uint8_t third[GOLDEN_SIZE_MAX];
    uint32_t again_size = 0;
    uint32_t third_size = 0;
    bool accepted = false;

    assert_non_null(copy);
    assert_non_null(again);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    if (recoder->recode(copy, size, again, size, &again_size) == 0) {
        accepted = true;
        if (recoder->is_exact || again_size == size) {
            assert_int_equal(again_size, size);
            assert_memory_equal(again, bytes, size);
        }
        assert_int_equal(recoder->recode(again, again_size, third, sizeof third, &third_size), 0);
        assert_int_equal(third_size, again_size);
        assert_memory_equal(third, again, again_size);
    }
    free(copy);
    free(again);
    return accepted;
}

static void visit_whole(void *context, const char *file, const char *name, const uint8_t *bytes,
                        size_t size)
{
    const struct recoder *recoder = recoder_find(file, name);
    struct counts *counts = context;

    if (recoder != NULL) {
        uint8_t again[GOLDEN_SIZE_MAX];
        uint32_t again_size = 0;

        assert_int_equal(recoder->recode(bytes, size, again, sizeof again, &again_size), 0);
        assert_int_equal(again_size, size);
        assert_memory_equal(again, bytes, size);
        counts->values++;
    }
}

static void visit_truncations(void *context, const char *file, const char *name,
                              const uint8_t *bytes, size_t size)
{
    const struct recoder *recoder = recoder_find(file, name);
    struct counts *counts = context;

    for (size_t cut = 0; recoder != NULL && cut < size; cut++) {
        counts->accepted += attempt(recoder, bytes, cut);
        counts->tried++;
    }
}

static void visit_flips(void *context, const char *file, const char *name, const uint8_t *bytes,
                        size_t size)
{
    const struct recoder *recoder = recoder_find(file, name);
    struct counts *counts = context;
    uint8_t changed[GOLDEN_SIZE_MAX];

    memcpy(changed, bytes, size);
    for (size_t bit = 0; recoder != NULL && bit < 8 * size; bit++) {
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        counts->accepted += attempt(recoder, changed, size);
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        counts->tried++;
    }
}

/* Several bytes changed, taken out, doubled or put in at once. */
static void visit_random_changes(void *context, const char *file, const char *name,
                                 const uint8_t *bytes, size_t size)
{
    const struct recoder *recoder = recoder_find(file, name);
    struct counts *counts = context;
    uint8_t changed[GOLDEN_SIZE_MAX + 64];

    for (int i = 0; recoder != NULL && i < RANDOM_CHANGES; i++) {
        size_t changed_size = size;

        memcpy(changed, bytes, size);
        for (uint64_t edits = 1 + prng_below(&counts->prng, 4); edits > 0; edits--) {
            size_t at = prng_below(&counts->prng, changed_size);
            size_t rest = changed_size - at;

            if (prng_one_in(&counts->prng, 3) && rest > 1) {
                memmove(changed + at, changed + at + 1, --changed_size - at);
            } else if (prng_one_in(&counts->prng, 3)) {
                memmove(changed + at + 1, changed + at, rest);
                changed_size++;
            } else {
                changed[at] = (uint8_t)prng_next(&counts->prng);
            }
        }
        counts->accepted += attempt(recoder, changed, changed_size);
        counts->tried++;
    }
}

static void each_file(struct counts *counts,
                      void (*visit)(void *, const char *, const char *, const uint8_t *, size_t))
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        golden_each(files[i], visit, counts);
    }
}

static void every_kept_value_decodes_to_itself(void **state)
{
    struct counts counts = {.values = 0};

    (void)state;
    each_file(&counts, visit_whole);
    assert_true(counts.values >= 45);
}

static void no_beginning_of_a_value_is_taken_for_a_value(void **state)
{
    struct counts counts = {.values = 0};

    (void)state;
    each_file(&counts, visit_truncations);
    assert_true(counts.tried > 5000);
    assert_int_equal(counts.accepted, 0);
}

static void a_flipped_bit_is_refused_or_gives_another_canonical_value(void **state)
{
    struct counts counts = {.values = 0};

    (void)state;
    each_file(&counts, visit_flips);
    assert_true(counts.tried > 40000);
    assert_true(counts.accepted > 0 && counts.accepted < counts.tried);
}

static void random_changes_are_refused_or_give_another_canonical_value(void **state)
{
    struct counts counts = {.values = 0};

    (void)state;
    prng_begin(&counts.prng, "random_changes_are_refused_or_give_another_canonical_value");
    each_file(&counts, visit_random_changes);
    assert_true(counts.accepted < counts.tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kept_value_decodes_to_itself),
        cmocka_unit_test(no_beginning_of_a_value_is_taken_for_a_value),
        cmocka_unit_test(a_flipped_bit_is_refused_or_gives_another_canonical_value),
        cmocka_unit_test(random_changes_are_refused_or_give_another_canonical_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
