#include "tests/steps/world.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/apply.h"
#include "broker/batch_close.h"
#include "broker/lanes_take_over.h"
#include "broker/process.h"
#include "shm/codec/hash.h"
#include "shm/futex.h"

enum {
    ROUND_NS = 11000000, /* longer than SWEEP_INTERVAL_NS */
    MARK_BYTES = 17,
    BODY_BYTES_MAX = 1 << 20
};

static const uint8_t store_id[16] = {0x5e, 1};

/* The log that the scribe writes to; one world in a process. */
static struct world_log *open_log;

void world_require(bool is_true, const char *what)
{
    if (!is_true) {
        printf("    broken: %s\n", what);
        fflush(stdout);
        _exit(1);
    }
}

/* ---- what the broker's disk would do ------------------------------------- */

struct scribe_outcome __wrap_scribe_write(struct scribe *scribe, const struct batch *batch,
                                          const struct log_point *previous);
void __wrap_witness_note(struct witness *witness, uint64_t batch_number, uint64_t commit_number,
                         uint64_t position, const uint8_t *store_hash);

/* Written and synced in one step: what is between the two is tests/model/log.pml's. */
struct scribe_outcome __wrap_scribe_write(struct scribe *scribe, const struct batch *batch,
                                          const struct log_point *previous)
{
    struct iovec parts[LOG_BODY_PARTS_MAX];
    int part_count = batch_body(batch, parts);
    uint32_t index = open_log->count;
    uint32_t size = 0;

    (void)scribe;
    world_require(previous->batch_number == index && index < WORLD_BATCHES_MAX, "the log's order");
    for (int i = 0; i < part_count; i++) {
        world_require(size + parts[i].iov_len <= WORLD_BODY_BYTES, "a body fits");
        memcpy(open_log->bodies[index] + size, parts[i].iov_base, parts[i].iov_len);
        size += (uint32_t)parts[i].iov_len;
    }
    open_log->sizes[index] = size;
    open_log->count++;
    return (struct scribe_outcome){.status = ES_OK};
}

void __wrap_witness_note(struct witness *witness, uint64_t batch_number, uint64_t commit_number,
                         uint64_t position, const uint8_t *store_hash)
{
    (void)witness;
    (void)batch_number;
    (void)commit_number;
    (void)position;
    (void)store_hash;
}

static void publish_to_nobody(void *context, const struct publication *publication)
{
    (void)context;
    (void)publication;
}

static void wake_nobody(void *context)
{
    (void)context;
}

/* ---- starting ------------------------------------------------------------ */

static struct lanes_config lanes_config_of(const struct world *world, struct world_broker *broker,
                                           int directory_fd)
{
    struct lanes_config config = {
        .directory_fd = directory_fd, .group = ES_GROUP_NONE, .counters = &broker->counters};

    memcpy(config.identity.store_id, store_id, sizeof store_id);
    config.identity.geometry = world->geometry;
    config.identity.durability = ES_DURABILITY_FSYNC;
    config.identity.start_number = 1;
    config.identity.epoch = 1;
    config.identity.transaction_bytes_max = world->geometry.payload_bytes_max;
    return config;
}

static void replay(const struct world *world, struct world_broker *broker,
                   const struct lanes_remains *remains, struct es_last *ahead)
{
    struct store_batch *writes = NULL;
    const char *why = NULL;

    world_require(store_batch_new(&writes) == ES_OK, "memory");
    for (uint32_t i = 0; i < world->log->count; i++) {
        struct es_last last;

        world_require(batch_load(broker->batches[0], broker->heads, world->log->bodies[i],
                                 world->log->sizes[i], &broker->end, &last, &why) == ES_OK,
                      "the log's batches follow each other");
        world_require(apply_fill(broker->batches[0], writes) == ES_OK &&
                          store_apply(broker->store, writes, STORE_APPLY_REPLAY) == ES_OK,
                      "replay");
        heads_set_applied(broker->heads, broker->end.batch_number);
        if (remains->is_usable && last.batch_number > remains->head.batch_number) {
            es_last_note(ahead, &last);
        }
    }
    store_batch_free(writes);
}

static enum es_status open_lanes(struct world *world, struct world_broker *broker, int directory_fd)
{
    struct lanes_config config = lanes_config_of(world, broker, directory_fd);
    struct lanes_remains remains;
    struct es_control_head head;
    struct es_last ahead = {.ring_count = 0};

    lanes_look(directory_fd, &config, &remains);
    replay(world, broker, &remains, &ahead);
    if (remains.is_usable && remains.head.batch_number > broker->end.batch_number) {
        return ES_E_CORRUPT;
    }
    head = (struct es_control_head){.batch_number = broker->end.batch_number,
                                    .commit_number = broker->end.commit_number,
                                    .durable_position = broker->end.position};
    memcpy(head.store_hash, broker->end.store_hash, sizeof head.store_hash);
    config.identity.start_number =
        remains.is_usable ? remains.identity.start_number + 1 : config.identity.start_number;
    return remains.is_usable ? lanes_take_over(&config, &head, &ahead, &broker->lanes)
                             : lanes_new(&config, &head, &broker->lanes);
}

enum es_status world_broker_open(struct world *world, struct world_broker *broker, int directory_fd)
{
    struct drain_config drain = {.counters = &broker->counters,
                                 .record_bytes_max = world->geometry.record_bytes_max};
    struct committer_config committer = {
        .counters = &broker->counters, .publish = publish_to_nobody, .epoch = 1};
    enum es_status status = ES_OK;

    memset(broker, 0, sizeof *broker);
    broker->now_ns = es_monotonic_ns();
    es_store_hash_genesis(store_id, broker->end.store_hash);
    world_require(store_memory_new(&broker->store) == ES_OK &&
                      heads_new(broker->store, &broker->counters, 64, &broker->heads) == ES_OK &&
                      batch_new(BODY_BYTES_MAX, &broker->batches[0]) == ES_OK &&
                      batch_new(BODY_BYTES_MAX, &broker->batches[1]) == ES_OK &&
                      inbox_new(wake_nobody, NULL, &broker->inbox) == ES_OK,
                  "memory");
    status = open_lanes(world, broker, directory_fd);
    if (status != ES_OK) {
        return status;
    }
    world_require(sequencer_new(broker->store, broker->heads, &broker->sequencer) == ES_OK,
                  "memory");
    drain.lanes = committer.lanes = broker->lanes;
    drain.inbox = committer.inbox = broker->inbox;
    drain.sequencer = broker->sequencer;
    drain.heads = broker->heads;
    committer.store = broker->store;
    committer.heads = broker->heads;
    world_require(drain_new(&drain, &broker->drain) == ES_OK &&
                      committer_new(&committer, &broker->end, &broker->committer) == ES_OK,
                  "memory");
    lanes_set_state(broker->lanes, ES_BROKER_SERVING);
    return ES_OK;
}

void world_broker_round(struct world_broker *broker)
{
    const char *what = "";
    bool is_full = false;

    broker->now_ns += ROUND_NS;
    committer_begin_batch(broker->committer, broker->batches[0]);
    world_require(drain_fill(broker->drain, broker->batches[0], broker->now_ns, &is_full) == ES_OK,
                  "the drain goes on");
    if (drain_needs_commit(broker->drain, broker->batches[0])) {
        world_require(committer_commit(broker->committer, broker->batches[0], &what) == ES_OK,
                      "the committer goes on");
    }
    lanes_tidy(broker->lanes);
}

void world_make(struct world *world, uint32_t slot_count)
{
    memset(world, 0, sizeof *world);
    temp_directory_make(world->path);
    world->directory_fd = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    world->log =
        mmap(NULL, sizeof *world->log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    world_require(world->directory_fd >= 0 && world->log != MAP_FAILED, "a directory and memory");
    open_log = world->log;
    world_require(es_geometry_make(slot_count, ES_ARENA_BYTES_MIN, &world->geometry) == ES_OK,
                  "a geometry");
    world_require(world_broker_open(world, &world->broker, world->directory_fd) == ES_OK,
                  "a first start");
}

void world_remove(struct world *world)
{
    close(world->directory_fd);
    temp_directory_remove(world->path);
}

/* ---- producers ----------------------------------------------------------- */

void world_producer_open(struct world *world, struct world_producer *producer)
{
    const struct lanes_attachment *attachment = &producer->attachment;
    const struct es_geometry *geometry = &world->geometry;
    struct es_segment control_segment = ES_SEGMENT_NONE;
    struct es_control control;
    struct es_control_ring ring;

    world_require(es_segment_map(attachment->control_fd, es_control_bytes(), false,
                                 &control_segment) == ES_OK &&
                      es_control_attach(&control, &control_segment) == ES_OK &&
                      es_control_ring(&control, attachment->ring_index, &ring) == ES_OK,
                  "a producer attaches to the control page");
    es_segment_unmap(&control_segment);
    world_require(es_segment_map(attachment->ring_fd, es_ring_bytes(geometry->slot_count), true,
                                 &producer->ring_segment) == ES_OK &&
                      es_ring_attach(&producer->ring, &producer->ring_segment, ring.ring_id,
                                     geometry->slot_count) == ES_OK,
                  "a producer attaches to its ring");
    world_require(es_segment_map(attachment->lane_fd,
                                 es_lane_bytes(geometry->arena_bytes, geometry->credit_count), true,
                                 &producer->lane_segment) == ES_OK &&
                      es_lane_writer_attach(&producer->writer, &producer->lane_segment,
                                            attachment->incarnation, geometry->arena_bytes,
                                            geometry->credit_count) == ES_OK,
                  "a producer attaches to its lane");
    producer->writer.spin_count = 2;
    producer->writer.sleep_ns_max = 1000000;
    producer->is_attached = true;
}

enum es_status world_give_out_lane(struct world_broker *broker,
                                   struct lanes_attachment *ret_attachment)
{
    const struct lanes_applicant applicant = {.uid = geteuid(), .pid = getpid(), .name = "steps"};

    return lanes_attach(broker->lanes, &applicant, ret_attachment);
}

void world_attach(struct world *world, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct world_producer *producer = &world->producers[world->producer_count++];

        world_require(world_give_out_lane(&world->broker, &producer->attachment) == ES_OK,
                      "a lane for each producer");
        world_producer_open(world, producer);
    }
}

static void write_mark(char mark[MARK_BYTES + 1], uint64_t incarnation, uint64_t sequence)
{
    snprintf(mark, MARK_BYTES + 1, "<%011" PRIx64 "-%03u>", incarnation & 0xFFFFFFFFFFFU,
             (unsigned)(sequence % 1000U));
}

void world_publish(struct world_producer *producer, const char *stream,
                   const struct es_expected *expect, uint32_t body_bytes)
{
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};
    static char body[8192];
    char own_stream[32];
    struct es_append_event event = {
        .tick = 1, .type = es_text_of("Counted"), .payload = es_bytes_make(body, body_bytes)};
    struct es_pack pack;
    void *payload = NULL;
    uint32_t size = 0;
    uint64_t sequence = producer->writer.published + 1;

    snprintf(own_stream, sizeof own_stream, "test:main:L0:lane:M%u",
             producer->attachment.lane_index);
    memset(body, '.', body_bytes);
    write_mark(body, producer->attachment.incarnation, sequence);
    operation.as.append.stream = es_text_of(stream != NULL ? stream : own_stream);
    operation.as.append.event_count = 1;
    if (expect != NULL) {
        operation.as.append.expect = *expect;
    }
    world_require(es_lane_claim(&producer->writer, body_bytes + 512, &payload) == ES_OK,
                  "there is room in the lane");
    es_pack_init(&pack, payload, body_bytes + 512);
    es_transaction_write_begin(&pack, producer->is_named ? ++producer->number : 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    world_require(es_pack_finish(&pack, &size) == ES_OK &&
                      es_lane_publish(&producer->writer, size,
                                      producer->is_named ? ES_RECORD_ORDERED : 0,
                                      &sequence) == ES_OK,
                  "a record is published");
}

enum es_status world_place(struct world_producer *producer)
{
    enum es_status status =
        es_ring_place(&producer->ring, producer->attachment.lane_index, producer->writer.published);

    es_doorbell_ring(&producer->ring);
    return status;
}

static void note_answer(struct world_producer *producer, const struct es_lane_result *result)
{
    enum world_answer *answer = &producer->answers[result->sequence - 1];
    enum world_answer now = result->status == ES_OK ? ANSWER_OK : ANSWER_REFUSED;
    world_require(*answer == ANSWER_UNKNOWN || *answer == now, "an answer stays what it was");
    *answer = now;
}

void world_collect(struct world_producer *producer)
{
    struct es_lane_result result;
    enum es_status status = ES_OK;

    while ((status = es_lane_collect(&producer->writer, &result)) == ES_OK) {
        note_answer(producer, &result);
    }
    world_require(status == ES_EMPTY, "an answer carries its sequence");
}

uint32_t world_stored_count(const struct world *world, uint64_t incarnation, uint64_t sequence)
{
    char mark[MARK_BYTES + 1];
    uint32_t count = 0;

    write_mark(mark, incarnation, sequence);
    for (uint32_t i = 0; i < world->log->count; i++) {
        const uint8_t *from = world->log->bodies[i];
        const uint8_t *end = from + world->log->sizes[i];

        while ((from = memmem(from, (size_t)(end - from), mark, MARK_BYTES)) != NULL) {
            count++;
            from++;
        }
    }
    return count;
}
