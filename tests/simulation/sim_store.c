#include "tests/simulation/sim_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/store_backend.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_heap.h"

struct sim_store {
    struct store store;
    enum store_mode mode;
};

static struct store *contents;
static bool exists;
static bool is_exchanged; /* by an overlay, which cannot be flushed */

void sim_store_make(void)
{
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);

    contents = NULL;
    exists = false;
    if (store_memory_new(&contents) != ES_OK) {
        abort();
    }
    (void)sim_heap_select(zone);
}

bool sim_store_exists(void)
{
    return exists;
}

void sim_store_lose_unflushed(void)
{
    store_memory_power_cut(contents, 0);
}

struct store *sim_store_contents(void)
{
    return contents;
}

struct store *sim_store_exchange(struct store *other)
{
    struct store *former = contents;

    is_exchanged = !is_exchanged;
    contents = other;
    return former;
}

void sim_store_replace(struct store *other)
{
    contents = other; /* the former lies in the world's memory, and goes with it */
    exists = true;
}

static void sim_free(struct store *store)
{
    store_deinit(store);
    free(store);
}

static enum es_status refuse(struct store *store, enum es_status status)
{
    return store_fail(store, status, "simulated");
}

static bool has_commit(const struct store_batch *batch)
{
    for (size_t i = 0; i < store_batch_count(batch); i++) {
        if (store_batch_at(batch, i).family == STORE_COMMITS) {
            return true;
        }
    }
    return false;
}

/* Only where the log has synced all that is applied: not with durability 'os', nor in a
 * replay, nor behind a batch of refusals alone. */
static void flush_early(const struct store_batch *batch, enum store_apply_mode mode)
{
    if (mode == STORE_APPLY_LIVE && sim.durability == ANCHOR_FSYNC && !sim.is_checking &&
        sim_one_in(64) && has_commit(batch)) {
        store_memory_flush_early(
            contents, 1U << STORE_DEFAULT | (uint32_t)sim_below(1U << STORE_FAMILY_COUNT), false);
        sim_fault(FAULT_EARLY_FLUSH);
    }
}

static enum es_status sim_apply(struct store *store, const struct store_batch *batch,
                                enum store_apply_mode mode)
{
    enum sim_verdict verdict = sim_point(CALL_STORE_APPLY);
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);
    enum es_status status = ES_OK;

    if (((struct sim_store *)store)->mode == STORE_READ_ONLY) {
        status = ES_E_PERMISSION;
    } else if (verdict != VERDICT_FAIL || sim_one_in(2)) {
        status = contents->operations->apply(contents, batch, mode);
    }
    (void)sim_heap_select(zone);
    if (verdict == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    sim_trace(3, (uint64_t)status);
    flush_early(batch, mode);
    return verdict == VERDICT_FAIL ? refuse(store, ES_E_IO) : status;
}

/* What applying would answer: asked of a layer above, which is thrown away. */
static enum es_status sim_check_replay(struct store *store, const struct store_batch *batch)
{
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);
    struct store *layer = NULL;
    enum es_status status = store_overlay_new(contents, &layer);

    if (status == ES_OK) {
        status = store_apply(layer, batch, STORE_APPLY_REPLAY);
        store_free(layer);
    }
    (void)sim_heap_select(zone);
    return status == ES_OK ? status : refuse(store, status);
}

static enum es_status sim_flush_begin(struct store *store)
{
    (void)store;
    return is_exchanged ? ES_OK : contents->operations->flush_begin(contents);
}

/* One family after the other reaches the disk, the first before all others; nobody
 * knows in which order those come. */
static enum es_status sim_flush_wait(struct store *store)
{
    uint32_t left = (1U << STORE_FAMILY_COUNT) - 1;

    if (is_exchanged) {
        return ES_OK;
    }
    while (left != 0) {
        uint32_t family = (uint32_t)sim_below(STORE_FAMILY_COUNT);
        enum sim_verdict verdict = VERDICT_GO;

        if ((left & 1U) != 0) {
            family = STORE_DEFAULT;
        } else if ((left >> family & 1U) == 0) {
            family = (uint32_t)__builtin_ctz(left);
        }
        left &= ~(1U << family);
        if (family % 3 == 0) { /* every third is occasion enough */
            verdict = sim_point(CALL_STORE_FLUSH);
        }
        if (verdict == VERDICT_FAIL) {
            return refuse(store, ES_E_IO);
        }
        store_memory_flush_early(contents, 1U << family, true);
        if (verdict == VERDICT_KILL_AFTER) {
            sim_kill();
        }
    }
    return contents->operations->flush_wait(contents);
}

static enum es_status sim_checkpoint(struct store *store, const char *directory)
{
    (void)store;
    (void)directory;
    return ES_E_PERMISSION;
}

static uint64_t sim_memory_bytes(const struct store *store)
{
    (void)store;
    return 0;
}

static enum es_status sim_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot)
{
    (void)store;
    return contents->operations->snapshot_new(contents, ret_snapshot);
}

static void sim_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    (void)store;
    contents->operations->snapshot_free(contents, snapshot);
}

static enum es_status sim_get_many(struct store *store, const struct store_snapshot *snapshot,
                                   enum store_family family, const struct store_slice *keys,
                                   size_t key_count, store_visit_fn visit, void *context)
{
    if (sim_point(CALL_STORE_READ) == VERDICT_FAIL) {
        return refuse(store, ES_E_IO);
    }
    return contents->operations->get_many(contents, snapshot, family, keys, key_count, visit,
                                          context);
}

static enum es_status sim_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                       enum store_family family, const struct store_range *range,
                                       struct store_iterator **ret_iterator)
{
    (void)store;
    return contents->operations->iterator_new(contents, snapshot, family, range, ret_iterator);
}

static const struct store_operations sim_operations = {
    .free = sim_free,
    .apply = sim_apply,
    .check_replay = sim_check_replay,
    .flush_begin = sim_flush_begin,
    .flush_wait = sim_flush_wait,
    .checkpoint = sim_checkpoint,
    .memory_bytes = sim_memory_bytes,
    .snapshot_new = sim_snapshot_new,
    .snapshot_free = sim_snapshot_free,
    .get_many = sim_get_many,
    .iterator_new = sim_iterator_new,
};

enum es_status __wrap_store_rocksdb_open(const struct store_rocksdb_options *options, char *why,
                                         struct store **ret_store);
enum es_status __wrap_store_rocksdb_open(const struct store_rocksdb_options *options, char *why,
                                         struct store **ret_store)
{
    struct sim_store *store = NULL;
    enum sim_verdict verdict = sim_point(CALL_READ);

    if (verdict == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    (void)snprintf(why, STORE_WHY_BYTES, "simulated");
    if (verdict == VERDICT_FAIL) {
        return ES_E_IO;
    }
    if ((options->mode == STORE_CREATE) == exists) {
        return exists ? ES_E_EXISTS : ES_NOT_FOUND;
    }
    store = calloc(1, sizeof *store);
    store_init(&store->store, &sim_operations);
    store->mode = options->mode;
    exists = true;
    *ret_store = &store->store;
    return ES_OK;
}
