/* The cache where memory ends: uthash by itself would end the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "broker/cache.h"

static int fails_after = -1; /* so many allocations succeed; below 0: all */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool fails_now(void)
{
    return fails_after >= 0 && fails_after-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

static void an_entry_without_memory_is_refused_and_can_be_added_later(void **state)
{
    struct cache_entry *entry = NULL;
    struct cache *cache = NULL;
    int failures = 0;

    (void)state;
    for (int after = 0; after < 8; after++) {
        assert_int_equal(cache_new(1000, 8, &cache), ES_OK);
        for (uint32_t key = 0; key < 100; key++) { /* enough that its table grows, too */
            enum es_status status = ES_OK;

            fails_after = key % 10 == 0 ? after : -1;
            status = cache_add(cache, &key, sizeof key, 0, &entry);
            fails_after = -1;
            if (status != ES_OK) {
                failures++;
                assert_int_equal(status, ES_E_NO_MEMORY);
                assert_null(cache_find(cache, &key, sizeof key));
                assert_int_equal(cache_add(cache, &key, sizeof key, 0, &entry), ES_OK);
            }
        }
        for (uint32_t key = 0; key < 100; key++) {
            assert_non_null(cache_find(cache, &key, sizeof key));
        }
        cache_free(cache);
    }
    assert_true(failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_without_memory_is_refused_and_can_be_added_later),
    };

    return cmocka_run_group_tests_name("cache, without memory", tests, NULL, NULL);
}
