#include "shm/lane_writer.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "shm/crc32c.h"
#include "shm/futex.h"
#include "shm/probe.h"

/* Looks at 'acked' between two looks at the interrupt word while spinning. */
#define SPINS_PER_INTERRUPT_CHECK 16u
#define LOOKS_PER_YIELD 32u

enum es_status es_lane_writer_attach(struct es_lane_writer *writer,
                                     const struct es_segment *segment, uint64_t incarnation,
                                     uint32_t arena_bytes, uint32_t credit_count)
{
    struct es_lane_file *file = segment->base;
    enum es_status status = es_lane_check(segment, incarnation, arena_bytes, credit_count);

    if (status != ES_OK) {
        return status;
    }
    if (atomic_load_explicit(&file->published, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&file->acked, memory_order_relaxed) != 0 ||
        atomic_load_explicit(&file->closed, memory_order_relaxed) != 0) {
        return ES_E_CORRUPT;
    }
    *writer = (struct es_lane_writer){
        .file = file,
        .results = (struct es_lane_result *)((uint8_t *)file + sizeof *file),
        .arena = (uint8_t *)file + es_lane_bytes(0, credit_count),
        .incarnation = incarnation,
        .arena_bytes = arena_bytes,
        .credit_count = credit_count,
        .record_bytes_max = arena_bytes / 8,
        .spin_count = ES_LANE_SPIN_COUNT_DEFAULT,
        .sleep_ns_max = ES_LANE_SLEEP_NS_MAX,
    };
    atomic_store_explicit(&file->attached, 1, memory_order_release); /* [L4] */
    return ES_OK;
}

enum es_status es_lane_claim(struct es_lane_writer *writer, uint32_t size, void **ret_payload)
{
    uint32_t to_end = writer->arena_bytes - writer->next_offset;
    uint32_t pad = 0;
    uint32_t span;

    if (size == 0) {
        return ES_E_INVALID;
    }
    if (size > writer->record_bytes_max - ES_RECORD_HEADER_BYTES) {
        return ES_E_TOO_LARGE;
    }
    span = es_record_aligned(ES_RECORD_HEADER_BYTES + size);
    if (span > to_end) {
        pad = to_end;
    }
    /* an empty lane always has room: pad and record are an eighth of the arena each */
    if (writer->published - writer->collected >= writer->credit_count ||
        pad + span > writer->arena_bytes - writer->used_bytes) {
        return ES_FULL;
    }
    writer->claimed_bytes = size;
    writer->claimed_pad = pad;
    *ret_payload = writer->arena + (pad == 0 ? writer->next_offset : 0) + ES_RECORD_HEADER_BYTES;
    return ES_OK;
}

static void header_write(uint8_t *place, struct es_record_header header)
{
    header.header_crc = es_crc32c(0, &header, offsetof(struct es_record_header, header_crc));
    memcpy(place, &header, sizeof header);
}

enum es_status es_lane_publish(struct es_lane_writer *writer, uint32_t size, uint32_t flags,
                               uint64_t *ret_sequence)
{
    uint64_t sequence = writer->published + 1;
    uint32_t offset = writer->next_offset;
    uint32_t span = es_record_aligned(ES_RECORD_HEADER_BYTES + size);

    if (size == 0 || size > writer->claimed_bytes || (flags & ~ES_RECORD_FLAGS_USER) != 0) {
        return ES_E_INVALID;
    }
    if (writer->claimed_pad != 0) {
        header_write(writer->arena + offset,
                     (struct es_record_header){.length = writer->claimed_pad,
                                               .flags = ES_RECORD_PAD,
                                               .incarnation = writer->incarnation,
                                               .sequence = sequence});
        offset = 0;
    }
    header_write(
        writer->arena + offset,
        (struct es_record_header){
            .length = ES_RECORD_HEADER_BYTES + size,
            .flags = flags,
            .incarnation = writer->incarnation,
            .sequence = sequence,
            .body_crc = es_crc32c(0, writer->arena + offset + ES_RECORD_HEADER_BYTES, size),
        });
    ES_PROBE(record_written);
    atomic_store_explicit(&writer->file->published, sequence, memory_order_release); /* [L1] */
    ES_PROBE(record_published);

    writer->published = sequence;
    writer->spans[(sequence - 1) % writer->credit_count] = writer->claimed_pad + span;
    writer->used_bytes += writer->claimed_pad + span;
    offset += span;
    writer->next_offset = offset == writer->arena_bytes ? 0 : offset;
    writer->claimed_bytes = 0;
    *ret_sequence = sequence;
    return ES_OK;
}

/* What 'acked' means, if it can be: it never lies beyond what was published. */
static uint64_t acked_bounded(const struct es_lane_writer *writer, uint64_t acked)
{
    return acked > writer->collected && acked <= writer->published ? acked : writer->collected;
}

uint64_t es_lane_acked(const struct es_lane_writer *writer)
{
    return acked_bounded(
        writer, atomic_load_explicit(&writer->file->acked, memory_order_acquire)); /* [L2] */
}

enum es_status es_lane_collect(struct es_lane_writer *writer, struct es_lane_result *ret_result)
{
    uint64_t sequence = writer->collected + 1;
    struct es_lane_result result;

    if (es_lane_acked(writer) < sequence) {
        return ES_EMPTY;
    }
    memcpy(&result, &writer->results[(sequence - 1) % writer->credit_count], sizeof result);
    if (result.sequence != sequence) {
        return ES_E_CORRUPT;
    }
    writer->collected = sequence;
    writer->used_bytes -= writer->spans[(sequence - 1) % writer->credit_count];
    ES_PROBE(result_collected);
    *ret_result = result;
    return ES_OK;
}

static bool is_interrupted(const _Atomic uint32_t *interrupt, uint32_t expected)
{
    return interrupt != NULL && atomic_load_explicit(interrupt, memory_order_acquire) != expected;
}

/* The low half of 'acked', which is what the kernel compares. */
static const _Atomic uint32_t *acked_futex_word(const struct es_lane_writer *writer)
{
    return (const _Atomic uint32_t *)(const void *)&writer->file->acked;
}

/* One sleep, unless 'sequence' is acked by the time the broker would wake us. */
static void sleep_once(struct es_lane_writer *writer, uint64_t sequence, int64_t deadline_ns,
                       const _Atomic uint32_t *interrupt, uint32_t interrupt_expected)
{
    struct es_lane_file *file = writer->file;
    int64_t bound_ns = es_deadline_after_ns(writer->sleep_ns_max);
    enum es_status status = ES_OK;
    uint64_t acked;

    writer->wait_number++;
    if (writer->wait_number == 0) {
        writer->wait_number = 1;
    }
    atomic_store_explicit(&file->waiting, writer->wait_number, memory_order_seq_cst); /* [D1] */
    ES_PROBE(wait_announced);
    acked = atomic_load_explicit(&file->acked, memory_order_seq_cst); /* [D1] */
    if (acked_bounded(writer, acked) < sequence) {
        const struct es_futex_word words[] = {
            {.word = acked_futex_word(writer), .expected = (uint32_t)acked, .is_shared = true},
            {.word = interrupt, .expected = interrupt_expected, .is_shared = false},
        };

        writer->sleep_count++;
        status = es_futex_wait(words, interrupt == NULL ? 1 : 2,
                               bound_ns < deadline_ns ? bound_ns : deadline_ns);
    }
    atomic_store_explicit(&file->waiting, 0, memory_order_relaxed);
    if (status == ES_TIMEOUT && es_lane_acked(writer) >= sequence) {
        writer->late_count++;
    }
}

/* A sleep and its wake cost about as much as a fast disk takes to sync: where the
 * answer is due sooner than that, it is cheaper to look again. True: it is there. */
static bool stay_awake(const struct es_lane_writer *writer, uint64_t sequence, int64_t begun_ns,
                       const _Atomic uint32_t *interrupt, uint32_t interrupt_expected)
{
    int64_t until_ns = begun_ns + 2 * writer->wait_ns;

    if (writer->wait_ns == 0 || writer->wait_ns > ES_LANE_STAY_NS_MAX) {
        return false;
    }
    while (es_monotonic_ns() < until_ns && !is_interrupted(interrupt, interrupt_expected)) {
        for (uint32_t look = 0; look < LOOKS_PER_YIELD; look++) {
            if (es_lane_acked(writer) >= sequence) {
                return true;
            }
            es_cpu_relax();
        }
        (void)sched_yield();
    }
    return false;
}

static void note_wait(struct es_lane_writer *writer, int64_t begun_ns)
{
    int64_t took_ns = es_monotonic_ns() - begun_ns;

    writer->wait_ns = writer->wait_ns == 0 ? took_ns : (7 * writer->wait_ns + took_ns) / 8;
}

enum es_status es_lane_wait(struct es_lane_writer *writer, uint64_t sequence, int64_t deadline_ns,
                            const _Atomic uint32_t *interrupt, uint32_t interrupt_expected)
{
    int64_t begun_ns = 0;

    if (sequence > writer->published) {
        return ES_E_INVALID;
    }
    for (uint32_t spin = 0; spin < writer->spin_count; spin++) {
        if (es_lane_acked(writer) >= sequence) {
            return ES_OK;
        }
        if (spin % SPINS_PER_INTERRUPT_CHECK == 0 &&
            is_interrupted(interrupt, interrupt_expected)) {
            return ES_INTERRUPTED;
        }
        es_cpu_relax();
    }
    begun_ns = es_monotonic_ns();
    if (deadline_ns > begun_ns + 2 * ES_LANE_STAY_NS_MAX &&
        stay_awake(writer, sequence, begun_ns, interrupt, interrupt_expected)) {
        note_wait(writer, begun_ns);
        return ES_OK;
    }
    for (;;) { /* each round sleeps, and the deadline ends it */
        if (es_lane_acked(writer) >= sequence) {
            note_wait(writer, begun_ns);
            return ES_OK;
        }
        if (is_interrupted(interrupt, interrupt_expected)) {
            return ES_INTERRUPTED;
        }
        if (deadline_ns != ES_DEADLINE_NEVER && es_monotonic_ns() >= deadline_ns) {
            return ES_TIMEOUT;
        }
        sleep_once(writer, sequence, deadline_ns, interrupt, interrupt_expected);
    }
}

void es_lane_interrupt(_Atomic uint32_t *interrupt)
{
    (void)atomic_fetch_add_explicit(interrupt, 1, memory_order_release);
    (void)es_futex_wake(interrupt, false);
}

void es_lane_close(struct es_lane_writer *writer)
{
    atomic_store_explicit(&writer->file->closed, 1, memory_order_release); /* [L3] */
    ES_PROBE(producer_lane_closed);
}

void es_lane_close_unmapped(int fd)
{
    const uint32_t closed = 1;

    (void)!pwrite(fd, &closed, sizeof closed, offsetof(struct es_lane_file, closed));
}
