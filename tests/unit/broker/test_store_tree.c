/*
 * The versioned tree under the memory store: against a plain array, with versions
 * held on to, and with every allocation failing once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/store_tree.h"
#include "tests/support/prng.h"

enum {
    KEYS = 64,
    VERSIONS = 8,
    STEPS = 20000
};

static int64_t allocations_left = -1; /* -1: no limit */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    if (allocations_left == 0) {
        return NULL;
    }
    allocations_left -= allocations_left > 0 ? 1 : 0;
    return __real_malloc(size);
}

/* What a tree should hold: the value of each key 0..KEYS-1, 0 for none. */
struct model {
    uint32_t values[KEYS];
};

static struct store_slice key_of(size_t index, char text[16])
{
    snprintf(text, 16, "key %03zu", index);
    return (struct store_slice){text, 7};
}

static void assert_is(const struct store_tree_node *root, const struct model *model)
{
    const struct store_tree_node *node = NULL;
    char text[16];
    size_t count = 0;

    for (size_t i = 0; i < KEYS; i++) {
        node = store_tree_find(root, key_of(i, text));
        assert_true((node != NULL) == (model->values[i] != 0));
        if (node != NULL) {
            assert_int_equal(store_tree_value(node).size, sizeof model->values[i]);
            assert_memory_equal(store_tree_value(node).bytes, &model->values[i],
                                sizeof model->values[i]);
            count++;
        }
    }
    /* And nothing else, in order, from both sides. */
    node = store_tree_at_or_after(root, (struct store_slice){NULL, 0}, true);
    for (; node != NULL; count--) {
        assert_true(count > 0);
        node = store_tree_at_or_after(root, store_tree_key(node), false);
    }
    assert_int_equal(count, 0);
}

static void neighbours_are_found_from_both_sides(void **state)
{
    struct store_tree_node *root = NULL;
    char text[16];

    (void)state;
    for (size_t i = 0; i < KEYS; i += 2) {
        assert_int_equal(store_tree_put(&root, key_of(i, text), (struct store_slice){"x", 1}),
                         ES_OK);
    }
    for (size_t i = 1; i + 1 < KEYS; i += 2) {
        char other[16];
        struct store_slice key = key_of(i, text);

        assert_memory_equal(store_tree_key(store_tree_at_or_after(root, key, true)).bytes,
                            key_of(i + 1, other).bytes, 7);
        assert_memory_equal(store_tree_key(store_tree_at_or_before(root, key, true)).bytes,
                            key_of(i - 1, other).bytes, 7);
        key = key_of(i + 1, text);
        assert_memory_equal(store_tree_key(store_tree_at_or_after(root, key, true)).bytes, text, 7);
        assert_memory_equal(store_tree_key(store_tree_at_or_before(root, key, false)).bytes,
                            key_of(i - 1, other).bytes, 7);
    }
    assert_memory_equal(store_tree_key(store_tree_last(root)).bytes, key_of(KEYS - 2, text).bytes,
                        7);
    assert_null(store_tree_last(NULL));
    store_tree_release(root);
}

static void versions_that_are_held_never_change(void **state)
{
    struct store_tree_node *roots[VERSIONS] = {NULL};
    struct model models[VERSIONS];
    struct prng prng;

    (void)state;
    memset(models, 0, sizeof models);
    prng_begin(&prng, "test_store_tree");
    for (uint32_t step = 1; step <= STEPS; step++) {
        size_t version = (size_t)prng_below(&prng, VERSIONS);
        size_t index = (size_t)prng_below(&prng, KEYS);
        char text[16];

        if (prng_one_in(&prng, 50)) {
            size_t other = (size_t)prng_below(&prng, VERSIONS);

            store_tree_hold(roots[other]);
            store_tree_release(roots[version]);
            roots[version] = roots[other];
            models[version] = models[other];
        } else if (prng_one_in(&prng, 3)) {
            assert_int_equal(store_tree_delete(&roots[version], key_of(index, text)), ES_OK);
            models[version].values[index] = 0;
        } else {
            struct store_slice value = {&step, sizeof step};

            assert_int_equal(store_tree_put(&roots[version], key_of(index, text), value), ES_OK);
            models[version].values[index] = step;
        }
        if (step % 16 == 0) {
            version = (size_t)prng_below(&prng, VERSIONS);
            assert_is(roots[version], &models[version]);
        }
    }
    for (size_t i = 0; i < VERSIONS; i++) {
        assert_is(roots[i], &models[i]);
        store_tree_release(roots[i]);
    }
}

/* Without memory a change is told to have failed, other versions are whole, nothing leaks. */
static void without_memory_only_the_version_that_changes_is_lost(void **state)
{
    struct store_tree_node *base = NULL;
    struct model model = {{0}};
    uint64_t failures = 0;
    char text[16];

    (void)state;
    for (uint32_t i = 0; i < KEYS; i += 2) {
        model.values[i] = i + 1;
        assert_int_equal(
            store_tree_put(&base, key_of(i, text), (struct store_slice){&model.values[i], 4}),
            ES_OK);
    }
    for (size_t i = 0; i < 2 * (size_t)KEYS; i++) {
        bool done = false;

        for (int64_t limit = 0; !done && limit < 64; limit++) {
            struct store_tree_node *changed = store_tree_hold(base);
            enum es_status status = ES_OK;

            allocations_left = limit;
            status = i % 2 == 0 ? store_tree_put(&changed, key_of(i / 2, text),
                                                 (struct store_slice){"new ", 4})
                                : store_tree_delete(&changed, key_of(i / 2, text));
            allocations_left = -1;
            assert_true(status == ES_OK || status == ES_E_NO_MEMORY);
            done = status == ES_OK;
            failures += done ? 0 : 1;
            store_tree_release(changed);
            assert_is(base, &model);
        }
        assert_true(done);
    }
    assert_true(failures > KEYS);
    store_tree_release(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_are_found_from_both_sides),
        cmocka_unit_test(versions_that_are_held_never_change),
        cmocka_unit_test(without_memory_only_the_version_that_changes_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
