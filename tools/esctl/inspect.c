/*
 * esctl inspect: the shared memory of a living or dead broker, in words. It asks
 * nobody and changes nothing: it maps the files of the run directory read-only,
 * so it works where a broker hangs or has been killed, for the user who owns it.
 */
#include "tools/esctl/arguments.h"

#include "shm/codec/hash.h"
#include "shm/control.h"
#include "shm/lane.h"
#include "shm/ring.h"
#include "shm/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc =
        "Prints the control page, the rings and the lanes of the run directory, also of a broker "
        "that hangs or is dead. Changes nothing.",
    .word_count_min = 0,
    .word_count_max = 0,
};

/* What is mapped while looking. */
struct inspection {
    int directory_fd;
    struct es_segment control_segment;
    struct es_control control;
    struct es_control_identity identity;
};

static const char *state_text(enum es_broker_state state)
{
    switch (state) {
    case ES_BROKER_STARTING: return "starting";
    case ES_BROKER_SERVING: return "serving";
    case ES_BROKER_READ_ONLY: return "read-only (the disk is below its reserve)";
    case ES_BROKER_STOPPING: return "stopping";
    case ES_BROKER_STOPPED: return "stopped cleanly";
    }
    return "unknown";
}

/* What a PID is worth now: it may have been given to another process. */
static const char *life_text(uint32_t pid)
{
    if (kill((pid_t)pid, 0) == 0 || errno == EPERM) {
        return "there is such a process";
    }
    return "there is no such process";
}

static void print_control(const struct inspection *inspection)
{
    const struct es_control_identity *identity = &inspection->identity;
    struct es_control_head head;
    char hex[ES_HASH_HEX_SIZE + 1] = {0};

    es_hex_encode(identity->store_id, sizeof identity->store_id, hex);
    (void)printf("broker    pid %u (%s), start %" PRIu64 ", %s\n", identity->broker_pid,
                 life_text(identity->broker_pid), identity->start_number,
                 state_text(es_control_state(&inspection->control)));
    (void)printf("store     %s, epoch %" PRIu64 ", durability %s\n", hex, identity->epoch,
                 identity->durability == ES_DURABILITY_OS ? "os" : "fsync");
    (void)printf("memory    %u slots a ring, %u lanes a ring, %u bytes and %u credits a lane, "
                 "records of up to %u bytes\n",
                 identity->geometry.slot_count, identity->geometry.lane_count,
                 identity->geometry.arena_bytes, identity->geometry.credit_count,
                 identity->geometry.record_bytes_max);
    if (es_control_head(&inspection->control, &head) != ES_OK) {
        (void)printf("head      changes without end: no broker writes like that\n");
        return;
    }
    es_hex_encode(head.store_hash, sizeof head.store_hash, hex);
    (void)printf("head      batch %" PRIu64 ", commit %" PRIu64 ", position %" PRIu64 "\n"
                 "          store hash %s\n",
                 head.batch_number, head.commit_number, head.durable_position, hex);
}

static enum es_status map(const struct inspection *inspection, const char *name, size_t size,
                          struct es_segment *ret_segment)
{
    return es_segment_open(inspection->directory_fd, name, size, geteuid(), 0600, false,
                           ret_segment);
}

/* The slots from the broker's cursor on, as far as they mean something. */
static void print_slots(const struct es_ring_file *file, uint64_t cursor, uint32_t slot_count)
{
    const uint32_t lap_shift = (uint32_t)__builtin_ctz(slot_count);
    uint32_t full = 0;
    uint32_t waiting = 0;

    for (uint32_t i = 0; i < slot_count; i++) {
        const uint64_t slot = atomic_load_explicit(&file->slots[i], memory_order_acquire);

        full += (slot & es_slot_full(0, 0, 0)) != 0;
    }
    while (waiting < slot_count) {
        const uint64_t position = cursor + waiting;
        const uint64_t slot =
            atomic_load_explicit(&file->slots[position & (slot_count - 1)], memory_order_acquire);
        const uint64_t lap_of_full = es_slot_full(position >> lap_shift, 0, 0);

        if (slot >> 23 != lap_of_full >> 23) {
            break;
        }
        if (waiting < 8) {
            (void)printf("          position %" PRIu64 ": a ticket of lane %u, sequence ...%u\n",
                         position, (unsigned)(slot >> 15 & 0xFF), (unsigned)(slot & 0x7FFF));
        }
        waiting++;
    }
    (void)printf("          %u slots full, %u tickets wait\n", full, waiting);
}

static void print_ring(const struct inspection *inspection, uint32_t index)
{
    const uint32_t slot_count = inspection->identity.geometry.slot_count;
    struct es_segment segment = ES_SEGMENT_NONE;
    struct es_control_ring ring;
    char name[32];

    if (es_control_ring(&inspection->control, index, &ring) != ES_OK) {
        return;
    }
    (void)printf("ring %-4u uid %u, cursor %" PRIu64 "\n", index, ring.uid, ring.cursor);
    (void)snprintf(name, sizeof name, "ring-%u", ring.uid);
    const enum es_status status = map(inspection, name, es_ring_bytes(slot_count), &segment);
    if (status != ES_OK) {
        (void)printf("          its file cannot be mapped: %s\n", es_status_text(status));
        return;
    }
    const struct es_ring_file *file = segment.base;
    (void)printf("          tail %" PRIu64 ", the broker is %s\n",
                 atomic_load_explicit(&file->tail, memory_order_acquire),
                 atomic_load_explicit(&file->sleeping, memory_order_acquire) != 0
                     ? "asleep"
                     : "awake or dead");
    print_slots(file, ring.cursor, slot_count);
    es_segment_unmap(&segment);
}

static void print_lane(const struct inspection *inspection, uint32_t index)
{
    const struct es_geometry *geometry = &inspection->identity.geometry;
    struct es_segment segment = ES_SEGMENT_NONE;
    struct es_control_lane lane;
    char name[32];

    if (es_control_lane(&inspection->control, index, &lane) != ES_OK) {
        return;
    }
    (void)printf("lane %-4u pid %u (%s), uid %u, ring %u, %s\n", index, lane.pid,
                 life_text(lane.pid), lane.uid, lane.ring_index,
                 lane.producer[0] != '\0' ? lane.producer : "unnamed");
    (void)printf("          committed up to sequence %" PRIu64 ", next record at byte %u\n",
                 lane.last_sequence, lane.next_offset);
    (void)snprintf(name, sizeof name, "lane-%u", index);
    const enum es_status status = map(
        inspection, name, es_lane_bytes(geometry->arena_bytes, geometry->credit_count), &segment);
    if (status != ES_OK) {
        (void)printf("          its file cannot be mapped: %s\n", es_status_text(status));
        return;
    }
    const struct es_lane_file *file = segment.base;
    (void)printf("          published %" PRIu64 ", answered %" PRIu64 "%s%s\n",
                 atomic_load_explicit(&file->published, memory_order_acquire),
                 atomic_load_explicit(&file->acked, memory_order_acquire),
                 atomic_load_explicit(&file->waiting, memory_order_acquire) != 0
                     ? ", the producer sleeps"
                     : "",
                 atomic_load_explicit(&file->closed, memory_order_acquire) != 0 ? ", closed" : "");
    es_segment_unmap(&segment);
}

static enum es_exit open_control(struct inspection *inspection, const char *run_dir)
{
    char path[ES_SEGMENT_PATH_BYTES_MAX];
    enum es_status status =
        es_segment_directory(run_dir, false, ES_GROUP_NONE, &inspection->directory_fd, path);

    if (status == ES_OK) {
        status = es_segment_open(inspection->directory_fd, "control", es_control_bytes(), geteuid(),
                                 0600, false, &inspection->control_segment);
    }
    if (status == ES_OK) {
        status = es_control_attach(&inspection->control, &inspection->control_segment);
    }
    if (status == ES_NOT_FOUND) {
        invocation_error("no broker has left shared memory for the run directory %s: name the one "
                         "of the broker with --run",
                         run_dir);
        return ES_EXIT_UNAVAILABLE;
    }
    if (status != ES_OK) {
        invocation_error("cannot look at the shared memory of %s (%s): run this as the user who "
                         "runs the broker, with the same version",
                         run_dir, es_status_text(status));
        return exit_of_status(status);
    }
    es_control_identity(&inspection->control, &inspection->identity);
    return ES_EXIT_OK;
}

enum es_exit verb_inspect(struct invocation *invocation)
{
    struct inspection inspection = {.directory_fd = -1, .control_segment = ES_SEGMENT_NONE};

    if (!invocation_parse(invocation, &syntax, NULL)) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    exit = open_control(&inspection, es_connection_run_dir(invocation->connection));
    if (exit == ES_EXIT_OK) {
        print_control(&inspection);
        for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
            print_ring(&inspection, i);
        }
        for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
            print_lane(&inspection, i);
        }
        es_segment_unmap(&inspection.control_segment);
    }
    if (inspection.directory_fd >= 0) {
        (void)close(inspection.directory_fd);
    }
    return exit;
}
