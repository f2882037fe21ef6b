#include "tests/simulation/sim_damage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader.h"
#include "broker/store_backend.h"
#include "shm/codec/envelope.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_disks.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_store.h"
#include "tests/support/sim_disk.h"

enum {
    FLIPS_MAX = 8
};

/* A byte, and what it was; in the store the entries are shared, so that it must be put
 * back where it lies. */
struct flip {
    uint8_t *at;
    uint8_t was;
};

static struct flip flips[FLIPS_MAX];
static uint32_t flip_count;

static void flip(uint8_t *at)
{
    flips[flip_count++] = (struct flip){at, *at};
    *at = (uint8_t)(*at ^ (1U << sim_below(8)));
}

static void put_back(void)
{
    while (flip_count > 0) {
        flip_count--;
        *flips[flip_count].at = flips[flip_count].was;
    }
}

/* Where something was written: the rest is zeros, and there is too much of it. */
static void flip_file(struct disk *disk, const char *name)
{
    size_t size = 0;
    uint8_t *bytes = sim_disk_bytes(disk, name, &size);
    size_t at = 0;

    if (bytes == NULL) {
        return;
    }
    at = sim_below(size);
    for (size_t i = 0; i < size && bytes[at] == 0; i++) {
        at = at == 0 ? size - 1 : at - 1;
    }
    flip(&bytes[at]);
}

static void flip_log(void)
{
    char name[DISK_NAME_MAX];

    (void)snprintf(name, sizeof name, "segment-%02u", (unsigned)sim_below(sim.segment_count));
    for (uint64_t i = 1 + sim_below(3); i > 0; i--) {
        flip_file(sim_disks.log, name);
    }
    sim_fault(FAULT_FLIP_LOG);
}

/* An event or a commit record: what RocksDB would not have found itself. */
static void flip_store(void)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    enum store_family family = sim_one_in(2) ? STORE_EVENTS : STORE_COMMITS;
    uint64_t index = sim_below(sim_one_in(4) ? 8 : 200);

    if (store_iterator_new(sim_store_contents(), NULL, family, &all, &iterator) != ES_OK) {
        return;
    }
    store_iterator_seek_first(iterator);
    for (; index > 0 && store_iterator_valid(iterator); index--) {
        store_iterator_next(iterator);
    }
    if (!store_iterator_valid(iterator)) {
        store_iterator_seek_last(iterator);
    }
    if (store_iterator_valid(iterator)) {
        struct store_slice value = store_iterator_value(iterator);

        flip((uint8_t *)(uintptr_t)value.bytes + sim_below(value.size));
        sim_fault(FAULT_FLIP_STORE);
    }
    store_iterator_free(iterator);
}

/* ---- judging ---------------------------------------------------------------------- */

static bool check_event(void *context, const struct reader_event *event)
{
    uint64_t *next = context;
    uint32_t stream = op_stream_index(event->stream);
    struct es_event_view view;

    if (event->position != *next || stream == UINT32_MAX ||
        event->sequence > model.streams[stream].last_sequence ||
        model.streams[stream].positions[event->sequence] != event->position ||
        es_envelope_decode(event->envelope.data, event->envelope.size, &view) != ES_OK ||
        memcmp(view.hash, model.events[event->position].hash, ES_HASH_SIZE) != 0 ||
        event->time_us != model.events[event->position].time_us) {
        sim_violation("damage was served: position %" PRIu64, event->position);
    }
    (*next)++;
    return true;
}

/* Everything, as a client reads it: each event as it was, or an error. */
static void check_reading(struct store *store, uint64_t last_position)
{
    struct reader *reader = NULL;
    struct reader_page page = {.end = false, .next = 1};
    uint64_t next = 1;
    enum es_status status = reader_new(store, &reader);

    if (status == ES_OK) {
        status = reader_begin(reader);
    }
    while (status == ES_OK && !page.end) {
        next = page.next;
        status = reader_all(reader, page.next, 1000, es_text_of(""), check_event, &next, &page);
    }
    if (status == ES_OK && next != last_position + 1) {
        sim_violation("damage was not found: events are missing");
    }
    if (status != ES_OK && status != ES_E_CORRUPT && status != ES_E_VERSION) {
        sim_violation("damage was answered with %d", (int)status);
    }
    sim_trace(50, (uint64_t)status);
}

static void served(const struct startup *startup)
{
    uint64_t floor = model.anchored_commit;

    /* The record at the end that nobody vouches for is a torn one, if it is broken. */
    if (!model.machine_fell && model.paged_commit > floor) {
        floor = model.paged_commit;
    }
    if (startup->end.commit_number < floor) {
        sim_violation("damage was not found: commits %" PRIu64 " to %" PRIu64 " are missing",
                      startup->end.commit_number + 1, floor);
    }
    if (startup->end.commit_number <= model.commit_number) {
        check_reading(startup->store, startup->end.position);
    }
}

/* Starts on what is there, up to the point where shared memory would be touched. */
static void try_start(void)
{
    uint64_t changes = sim_disks_changes();

    sim_broker_try(served);
    while (sim.end == SIM_RUNNING) {
        if (!sim_fiber_step()) {
            sim_violation("a start on damage does not end");
        }
    }
    if (sim.end == SIM_NOT_STARTED && sim_disks_changes() != changes) {
        sim_violation("a start that was refused (%s) has changed something", sim_broker_why());
    }
    sim_fiber_end_all();
    sim_heap_reset(ZONE_BROKER);
}

void sim_damage_try(void)
{
    struct sim_disks originals;
    enum sim_end end = sim.end;
    struct store *overlay = NULL;
    struct store *contents = sim_store_contents();
    enum sim_zone zone = ZONE_HOST;

    if (sim_disks.is_creating || !sim_store_exists() || !model.is_begun) {
        return;
    }
    sim_faults_disarm(); /* one thing at a time */
    sim_disks_set_aside(&originals);
    switch (sim_below(3)) {
    case 0: flip_log(); break;
    case 1:
        flip_file(sim_disks.anchor, "anchor");
        sim_fault(FAULT_FLIP_ANCHOR);
        break;
    default: flip_store(); break;
    }
    zone = sim_heap_select(ZONE_WORLD);
    if (store_overlay_new(contents, &overlay) != ES_OK) {
        abort();
    }
    (void)sim_heap_select(zone);
    (void)sim_store_exchange(overlay);
    try_start();
    (void)sim_store_exchange(contents);
    store_free(overlay);
    put_back();
    sim_disks_put_back(&originals);
    sim.end = end;
}
