/*
 * Every kind of store against a plain array: random batches, snapshots held across
 * them, ranges walked with changes of direction, flushes in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/prng.h"
#include "tests/support/store_fixture.h"

enum {
    KEYS = 60,
    SNAPSHOTS = 4,
    STEPS = 600,
    STEPS_OF_OVERLAY = 60,
    WALK = 30
};

/* The value of each key 0..KEYS-1, 0 for none. */
struct model {
    uint32_t values[KEYS];
};

struct held {
    struct store_snapshot *snapshot;
    struct model model;
};

static struct store_slice key_of(size_t index, char text[16])
{
    snprintf(text, 16, "k%02zu", index);
    return (struct store_slice){text, 3};
}

static void change(struct store_fixture *f, struct prng *prng, struct model *model, uint32_t step)
{
    uint64_t count = 1 + prng_below(prng, 12);
    char text[16];

    for (uint64_t i = 0; i < count; i++) {
        size_t index = (size_t)prng_below(prng, KEYS);
        uint32_t value = step * 16 + (uint32_t)i;

        if (prng_one_in(prng, 3)) {
            assert_int_equal(store_batch_delete(f->batch, STORE_KV, key_of(index, text)), ES_OK);
            model->values[index] = 0;
        } else {
            assert_int_equal(store_batch_put(f->batch, STORE_KV, key_of(index, text),
                                             (struct store_slice){&value, sizeof value}),
                             ES_OK);
            model->values[index] = value;
        }
    }
    fixture_apply(f);
}

/* The next index in a direction that has a value and lies in the range; KEYS: none. */
static size_t neighbour(const struct model *model, size_t from, bool inclusive, bool forward,
                        size_t first, size_t end)
{
    for (size_t i = 0; i <= KEYS; i++) {
        size_t distance = inclusive ? i : i + 1;
        size_t index = forward ? from + distance : from - distance;

        if ((!forward && distance > from) || index >= end || index < first) {
            if ((forward && index >= end) || (!forward && (distance > from || index < first))) {
                return KEYS;
            }
            continue;
        }
        if (model->values[index] != 0) {
            return index;
        }
    }
    return KEYS;
}

static void assert_stands_on(const struct store_iterator *iterator, const struct model *model,
                             size_t index)
{
    char text[16];

    assert_int_equal(store_iterator_status(iterator), ES_OK);
    assert_int_equal(store_iterator_valid(iterator), index < KEYS);
    if (index < KEYS) {
        assert_int_equal(store_iterator_key(iterator).size, 3);
        assert_memory_equal(store_iterator_key(iterator).bytes, key_of(index, text).bytes, 3);
        assert_int_equal(store_iterator_value(iterator).size, sizeof model->values[index]);
        assert_memory_equal(store_iterator_value(iterator).bytes, &model->values[index],
                            sizeof model->values[index]);
    }
}

/* Seeks and steps about in a random range. */
static void walk(struct store_fixture *f, struct prng *prng, const struct held *held)
{
    size_t first = (size_t)prng_below(prng, KEYS);
    size_t end = first + (size_t)prng_below(prng, KEYS + 1 - first);
    char first_text[16];
    char end_text[16];
    struct store_range range = {key_of(first, first_text), key_of(end, end_text)};
    struct store_iterator *iterator = NULL;
    size_t at = KEYS;

    assert_int_equal(store_iterator_new(f->store, held->snapshot, STORE_KV, &range, &iterator),
                     ES_OK);
    for (int i = 0; i < WALK; i++) {
        size_t target = (size_t)prng_below(prng, KEYS);
        uint64_t move = prng_below(prng, at < KEYS ? 10 : 4);
        char text[16];

        switch (move) {
        case 0:
            store_iterator_seek_first(iterator);
            at = neighbour(&held->model, first, true, true, first, end);
            break;
        case 1:
            store_iterator_seek_last(iterator);
            at = end == 0 ? KEYS : neighbour(&held->model, end - 1, true, false, first, end);
            break;
        case 2:
            store_iterator_seek(iterator, key_of(target, text));
            at = neighbour(&held->model, target < first ? first : target, true, true, first, end);
            break;
        case 3:
            store_iterator_seek_for_prev(iterator, key_of(target, text));
            target = target >= end ? end : target + 1;
            at = target == 0 ? KEYS : neighbour(&held->model, target - 1, true, false, first, end);
            break;
        default:
            (move % 2 == 0 ? store_iterator_next : store_iterator_prev)(iterator);
            at = neighbour(&held->model, at, false, move % 2 == 0, first, end);
            break;
        }
        assert_stands_on(iterator, &held->model, at);
    }
    store_iterator_free(iterator);
}

static void hold(struct store_fixture *f, struct held *held, const struct model *model)
{
    store_snapshot_free(f->store, held->snapshot);
    assert_int_equal(store_snapshot_new(f->store, &held->snapshot), ES_OK);
    held->model = *model;
}

/* What lies below an overlay counts as put; some of it will be deleted or covered. */
static void fill_base(struct store_fixture *f, struct prng *prng, struct model *model)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        char text[16];
        uint32_t value = 0x80000000U + i;

        if (prng_one_in(prng, 2)) {
            assert_int_equal(store_batch_put(f->batch, STORE_KV, key_of(i, text),
                                             (struct store_slice){&value, sizeof value}),
                             ES_OK);
            model->values[i] = value;
        }
    }
    assert_int_equal(store_apply(f->base, f->batch, STORE_APPLY_LIVE), ES_OK);
    store_batch_clear(f->batch);
}

static void a_store_reads_like_an_array_of_what_was_put(void **state)
{
    struct store_fixture *f = *state;
    struct held held[SNAPSHOTS] = {{NULL, {{0}}}};
    struct held latest = {NULL, {{0}}};
    struct prng prng;

    prng_begin(&prng, "test_store_model");
    if (f->kind == FIXTURE_OVERLAY) {
        fill_base(f, &prng, &latest.model);
    }
    /* Few steps over a base, or all of it is covered soon. */
    for (uint32_t step = 1; step <= (f->kind == FIXTURE_OVERLAY ? STEPS_OF_OVERLAY : STEPS);
         step++) {
        char text[16];
        size_t index = (size_t)prng_below(&prng, KEYS);

        change(f, &prng, &latest.model, step);
        if (prng_one_in(&prng, 8)) {
            hold(f, &held[prng_below(&prng, SNAPSHOTS)], &latest.model);
        }
        if (f->base == NULL && prng_one_in(&prng, 40)) {
            assert_int_equal(store_flush_all(f->store), ES_OK);
        }
        walk(f, &prng, &latest);
        if (held[step % SNAPSHOTS].snapshot != NULL) {
            walk(f, &prng, &held[step % SNAPSHOTS]);
        }
        assert_int_equal(fixture_get(f, NULL, STORE_KV, key_of(index, text).bytes) != NULL,
                         latest.model.values[index] != 0);
    }
    for (size_t i = 0; i < SNAPSHOTS; i++) {
        store_snapshot_free(f->store, held[i].snapshot);
    }
}

/* What a power cut leaves of a memory store: the last flush, and families that were early. */
static void a_power_cut_sets_a_memory_store_back_to_its_last_flush(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "k", "flushed");
    fixture_put(f, STORE_COMMITS, "c", "flushed");
    fixture_apply(f);
    assert_int_equal(store_flush_begin(f->store), ES_OK);
    assert_int_equal(store_flush_begin(f->store), ES_FULL);
    fixture_put(f, STORE_KV, "k", "later");
    fixture_put(f, STORE_COMMITS, "c", "later");
    fixture_apply(f);
    assert_int_equal(store_flush_wait(f->store), ES_OK);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "later");
    assert_int_equal(store_flush_begin(f->store), ES_OK); /* begun and never waited for */
    store_memory_power_cut(f->store, 1U << STORE_COMMITS);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "flushed");
    assert_string_equal(fixture_get(f, NULL, STORE_COMMITS, "c"), "later");
    assert_int_equal(store_flush_begin(f->store), ES_OK);
    assert_int_equal(store_checkpoint(f->store, "/nowhere"), ES_E_PERMISSION);
}

int main(void)
{
    static const char name[] = "a_store_reads_like_an_array_of_what_was_put";
    const struct CMUnitTest of_memory[] = {
        {"a_power_cut_sets_a_memory_store_back_to_its_last_flush",
         a_power_cut_sets_a_memory_store_back_to_its_last_flush, fixture_set_up, fixture_tear_down,
         fixture_kind(FIXTURE_MEMORY)},
    };
    int failed = 0;

    for (size_t kind = 0; kind < FIXTURE_KIND_COUNT; kind++) {
        const struct CMUnitTest tests[] = {
            {name, a_store_reads_like_an_array_of_what_was_put, fixture_set_up, fixture_tear_down,
             fixture_kind(kind)},
        };

        failed += cmocka_run_group_tests_name(fixture_kind_name(kind), tests, NULL, NULL);
    }
    return failed + cmocka_run_group_tests(of_memory, NULL, NULL);
}
