#include "shm/control.h"

#include <string.h>

#include "shm/probe.h"

/* A reader that meets a writer this often has not met a broker. */
#define READ_TRY_COUNT_MAX 1000

static_assert(sizeof(((struct es_control_file_lane *)0)->name) == ES_PRODUCER_NAME_BYTES_MAX + 1,
              "holds every name");

/* ---- words: copied one by one, so that no reader sees half of one -------- */

static void words_store(_Atomic uint64_t *words, const void *from, size_t count)
{
    const uint8_t *bytes = from;

    for (size_t i = 0; i < count; i++) {
        uint64_t word;

        memcpy(&word, bytes + i * sizeof word, sizeof word);
        atomic_store_explicit(&words[i], word, memory_order_release);
    }
}

static void words_load(const _Atomic uint64_t *words, void *to, size_t count)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < count; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_acquire);

        memcpy(bytes + i * sizeof word, &word, sizeof word);
    }
}

static void store_u64(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static void store_u32(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static uint64_t load_u64(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static uint32_t load_u32(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* ---- the broker writes --------------------------------------------------- */

static void identity_store(struct es_control_file *file, const struct es_control_identity *identity)
{
    words_store(file->store_id, identity->store_id, 2);
    words_store(file->boot_id, identity->boot_id, 2);
    store_u64(&file->ring_id, identity->ring_id);
    store_u64(&file->epoch, identity->epoch);
    store_u32(&file->slot_count, identity->geometry.slot_count);
    store_u32(&file->lane_count, identity->geometry.lane_count);
    store_u32(&file->credit_count, identity->geometry.credit_count);
    store_u32(&file->arena_bytes, identity->geometry.arena_bytes);
    store_u32(&file->record_bytes_max, identity->geometry.record_bytes_max);
    store_u32(&file->transaction_bytes_max, identity->transaction_bytes_max);
    store_u32(&file->durability, identity->durability);
    store_u32(&file->broker_pid, identity->broker_pid);
    store_u64(&file->broker_start_time, identity->broker_start_time);
    /* last: whoever sees it sees the rest */
    store_u64(&file->start_number, identity->start_number);
    ES_PROBE(page_identity_set);
}

void es_control_format(struct es_control *control, struct es_segment *segment,
                       const struct es_control_identity *identity,
                       const struct es_control_head *head)
{
    struct es_control_file *file = segment->base;

    control->file = file;
    store_u32(&file->layout_id, ES_LAYOUT_ID);
    es_control_take_over(control, identity);
    es_control_set_head(control, head);
    store_u64(&file->magic, ES_CONTROL_MAGIC);
}

void es_control_take_over(struct es_control *control, const struct es_control_identity *identity)
{
    es_control_set_state(control, ES_BROKER_STARTING);
    ES_PROBE(page_state_starting);
    identity_store(control->file, identity);
}

void es_control_set_state(struct es_control *control, enum es_broker_state state)
{
    store_u32(&control->file->state, (uint32_t)state); /* [C3] */
}

void es_control_set_head(struct es_control *control, const struct es_control_head *head)
{
    struct es_control_file *file = control->file;
    uint64_t version = atomic_load_explicit(&file->head_version, memory_order_relaxed);
    struct es_control_file_head *spare = &file->heads[(version + 1) & 1];

    store_u64(&spare->batch_number, head->batch_number);
    store_u64(&spare->commit_number, head->commit_number);
    store_u64(&spare->durable_position, head->durable_position);
    words_store(spare->store_hash, head->store_hash, 4);
    ES_PROBE(page_head_half_set);
    store_u64(&file->head_version, version + 1); /* [C1] [C4] */
    ES_PROBE(page_head_set);
}

void es_control_set_ring(struct es_control *control, uint32_t index,
                         const struct es_control_ring *ring)
{
    struct es_control_file_ring *entry = &control->file->rings[index];

    store_u64(&entry->ring_id, 0);
    store_u64(&entry->cursor, ring->cursor);
    store_u32(&entry->uid, ring->uid);
    store_u64(&entry->ring_id, ring->ring_id); /* [C2] */
    ES_PROBE(page_ring_entry_set);
}

void es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor)
{
    store_u64(&control->file->rings[index].cursor, cursor); /* [C4] */
    ES_PROBE(page_cursor_set);
}

void es_control_name_lane(struct es_control *control, uint32_t index, const char *producer)
{
    struct es_control_file_lane *entry = &control->file->lanes[index];
    char name[ES_PRODUCER_NAME_BYTES_MAX + 1] = {0};
    size_t size = strnlen(producer, ES_PRODUCER_NAME_BYTES_MAX);

    memcpy(name, producer, size);
    store_u32(&entry->name_bytes, 0);
    words_store(entry->name, name, sizeof name / sizeof(uint64_t));
    store_u32(&entry->name_bytes, (uint32_t)size);
}

void es_control_set_lane(struct es_control *control, uint32_t index,
                         const struct es_control_lane *lane)
{
    struct es_control_file_lane *entry = &control->file->lanes[index];

    store_u64(&entry->incarnation, 0);
    ES_PROBE(page_lane_entry_cleared);
    store_u64(&entry->last_sequence, lane->last_sequence);
    store_u32(&entry->next_offset, lane->next_offset);
    store_u32(&entry->ring_index, lane->ring_index);
    store_u32(&entry->uid, lane->uid);
    store_u32(&entry->pid, lane->pid);
    store_u64(&entry->pid_start_time, lane->pid_start_time);
    store_u32(&entry->is_producer, lane->is_producer ? 1 : 0);
    es_control_name_lane(control, index, lane->producer);
    store_u64(&entry->incarnation, lane->incarnation); /* [C2] */
    ES_PROBE(page_lane_entry_set);
}

void es_control_advance_lane(struct es_control *control, uint32_t index, uint64_t last_sequence,
                             uint32_t next_offset)
{
    struct es_control_file_lane *entry = &control->file->lanes[index];

    store_u64(&entry->last_sequence, last_sequence); /* [C4] */
    ES_PROBE(page_lane_half_set);
    store_u32(&entry->next_offset, next_offset);
    ES_PROBE(page_lane_set);
}

/* ---- everybody reads ----------------------------------------------------- */

static void identity_load(const struct es_control_file *file,
                          struct es_control_identity *ret_identity)
{
    struct es_geometry *geometry = &ret_identity->geometry;

    memset(ret_identity, 0, sizeof *ret_identity);
    /* first: a reader that sees a new broker's sees all of its identity */
    ret_identity->start_number = load_u64(&file->start_number);
    words_load(file->store_id, ret_identity->store_id, 2);
    words_load(file->boot_id, ret_identity->boot_id, 2);
    ret_identity->ring_id = load_u64(&file->ring_id);
    ret_identity->epoch = load_u64(&file->epoch);
    geometry->slot_count = load_u32(&file->slot_count);
    geometry->lane_count = load_u32(&file->lane_count);
    geometry->credit_count = load_u32(&file->credit_count);
    geometry->arena_bytes = load_u32(&file->arena_bytes);
    geometry->record_bytes_max = load_u32(&file->record_bytes_max);
    geometry->payload_bytes_max = geometry->record_bytes_max - ES_RECORD_ALIGNMENT;
    ret_identity->transaction_bytes_max = load_u32(&file->transaction_bytes_max);
    ret_identity->durability = load_u32(&file->durability);
    ret_identity->broker_pid = load_u32(&file->broker_pid);
    ret_identity->broker_start_time = load_u64(&file->broker_start_time);
}

enum es_status es_control_attach(struct es_control *control, const struct es_segment *segment)
{
    struct es_control_file *file = segment->base;
    struct es_control_identity identity;
    struct es_geometry expected;

    if (segment->size != es_control_bytes() || load_u64(&file->magic) != ES_CONTROL_MAGIC) {
        return ES_E_CORRUPT;
    }
    if (load_u32(&file->layout_id) != ES_LAYOUT_ID) {
        return ES_E_VERSION;
    }
    identity_load(file, &identity);
    if (es_geometry_make(identity.geometry.slot_count, identity.geometry.arena_bytes, &expected) !=
            ES_OK ||
        memcmp(&expected, &identity.geometry, sizeof expected) != 0) {
        return ES_E_CORRUPT;
    }
    control->file = file;
    return ES_OK;
}

void es_control_identity(const struct es_control *control, struct es_control_identity *ret_identity)
{
    identity_load(control->file, ret_identity);
}

enum es_broker_state es_control_state(const struct es_control *control)
{
    return (enum es_broker_state)load_u32(&control->file->state); /* [C3] */
}

uint64_t es_control_start_number(const struct es_control *control)
{
    return load_u64(&control->file->start_number);
}

enum es_status es_control_head(const struct es_control *control, struct es_control_head *ret_head)
{
    const struct es_control_file *file = control->file;

    for (int i = 0; i < READ_TRY_COUNT_MAX; i++) {
        uint64_t version = load_u64(&file->head_version); /* [C1] */
        const struct es_control_file_head *current = &file->heads[version & 1];
        struct es_control_head head;

        head.batch_number = load_u64(&current->batch_number);
        head.commit_number = load_u64(&current->commit_number);
        head.durable_position = load_u64(&current->durable_position);
        words_load(current->store_hash, head.store_hash, 4);
        if (load_u64(&file->head_version) == version) {
            *ret_head = head;
            return ES_OK;
        }
    }
    return ES_E_BUSY;
}

enum es_status es_control_ring(const struct es_control *control, uint32_t index,
                               struct es_control_ring *ret_ring)
{
    const struct es_control_file_ring *entry;
    struct es_control_ring ring;

    if (index >= ES_RING_COUNT_MAX) {
        return ES_NOT_FOUND;
    }
    entry = &control->file->rings[index];
    ring.ring_id = load_u64(&entry->ring_id); /* [C2] */
    if (ring.ring_id == 0) {
        return ES_NOT_FOUND;
    }
    ring.cursor = load_u64(&entry->cursor);
    ring.uid = load_u32(&entry->uid);
    if (load_u64(&entry->ring_id) != ring.ring_id) {
        return ES_E_BUSY;
    }
    *ret_ring = ring;
    return ES_OK;
}

enum es_status es_control_lane(const struct es_control *control, uint32_t index,
                               struct es_control_lane *ret_lane)
{
    const struct es_control_file_lane *entry;
    struct es_control_lane lane;
    uint32_t name_bytes;

    if (index >= ES_LANE_COUNT_MAX) {
        return ES_NOT_FOUND;
    }
    entry = &control->file->lanes[index];
    memset(&lane, 0, sizeof lane);
    lane.incarnation = load_u64(&entry->incarnation); /* [C2] */
    if (lane.incarnation == 0) {
        return ES_NOT_FOUND;
    }
    lane.last_sequence = load_u64(&entry->last_sequence);
    lane.next_offset = load_u32(&entry->next_offset);
    lane.ring_index = load_u32(&entry->ring_index);
    lane.uid = load_u32(&entry->uid);
    lane.pid = load_u32(&entry->pid);
    lane.pid_start_time = load_u64(&entry->pid_start_time);
    lane.is_producer = load_u32(&entry->is_producer) == 1;
    name_bytes = load_u32(&entry->name_bytes);
    words_load(entry->name, lane.producer, sizeof lane.producer / sizeof(uint64_t));
    if (load_u64(&entry->incarnation) != lane.incarnation) {
        return ES_E_BUSY;
    }
    lane.producer[name_bytes <= ES_PRODUCER_NAME_BYTES_MAX ? name_bytes : 0] = '\0';
    *ret_lane = lane;
    return ES_OK;
}
