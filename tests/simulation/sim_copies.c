#include "tests/simulation/sim_copies.h"

#include <stdlib.h>

#include "broker/store_backend.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_claims.h"
#include "tests/simulation/sim_disks.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_store.h"

static struct {
    bool is_made;
    struct sim_disks disks;
    struct store *contents;
    uint64_t commit_number;
    uint64_t epoch;
    struct claims claims;
} copy;

void sim_copies_clear(void)
{
    copy.is_made = false;
}

static void must(enum es_status status)
{
    if (status != ES_OK) {
        sim_violation("a store cannot be copied: %d", (int)status);
    }
}

static void copy_family(enum store_family family, struct store_batch *writes)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;

    must(store_iterator_new(sim_store_contents(), NULL, family, &all, &iterator));
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        must(store_batch_put(writes, family, store_iterator_key(iterator),
                             store_iterator_value(iterator)));
    }
    store_iterator_free(iterator);
}

static struct store *copy_contents(void)
{
    struct store *to = NULL;
    struct store_batch *writes = NULL;

    must(store_memory_new(&to));
    must(store_batch_new(&writes));
    for (int family = 0; family < STORE_FAMILY_COUNT; family++) {
        copy_family((enum store_family)family, writes);
    }
    must(store_apply(to, writes, STORE_APPLY_REPLAY));
    must(store_flush_all(to));
    store_batch_free(writes);
    return to;
}

void sim_copies_maybe_make(uint64_t epoch)
{
    enum sim_zone zone = ZONE_HOST;

    if (sim.is_checking || !sim_one_in(6)) {
        return;
    }
    zone = sim_heap_select(ZONE_WORLD);
    copy.contents = copy_contents();
    (void)sim_heap_select(zone);
    sim_disks_copy(&copy.disks);
    copy.commit_number = model.commit_number;
    copy.epoch = epoch;
    claims_save(&copy.claims);
    copy.is_made = true;
    sim_kind(KIND_COPY_MADE);
}

void sim_copies_maybe_restore(void)
{
    if (!copy.is_made || !sim_one_in(3)) {
        return;
    }
    copy.is_made = false;
    sim_store_replace(copy.contents);
    sim_disks_replace(&copy.disks);
    claims_restore(&copy.claims);
    model_restored(copy.commit_number, copy.epoch);
    sim_fault(FAULT_RESTORED);
}
