/* Attacks by what a producer may write: its lane, the ring of its user, and their files. */
#include "tests/hostile/hostile.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/crc32c.h"
#include "shm/doorbell.h"
#include "shm/futex.h"

enum {
    SOUND_BEFORE = 20, /* events before each offence, which must not be touched by it */
    WRITES_PER_ROUND = 2000,
    BURST = 64
};

static void publish_some(struct hostile *h)
{
    for (uint64_t i = prng_below(&h->prng, SOUND_BEFORE); i > 0; i--) {
        (void)hostile_publish(h, (uint32_t)prng_below(&h->prng, 600), !prng_one_in(&h->prng, 4));
    }
}

static void write_randomly(struct hostile *h, const struct es_segment *segment)
{
    uint64_t words = segment->size / sizeof(uint64_t);
    _Atomic uint64_t *memory = segment->base;

    for (int i = 0; i < WRITES_PER_ROUND; i++) {
        uint64_t value = prng_one_in(&h->prng, 3) ? prng_below(&h->prng, 4) : prng_next(&h->prng);

        /* mostly where the words are that matter: the first page, and what follows it */
        atomic_store(&memory[prng_below(&h->prng, prng_one_in(&h->prng, 2) ? 64 : words)], value);
    }
    es_doorbell_ring(&h->ring);
}

static void scribble_lane(struct hostile *h)
{
    while (hostile_attach(h)) {
        publish_some(h);
        write_randomly(h, &h->lane_segment);
        atomic_store(&h->writer.file->published, h->writer.published + 1);
        es_doorbell_ring(&h->ring);
        hostile_await_cut_off(h);
        hostile_detach(h);
        h->rounds++;
    }
}

/* A header with the checksum right and something else wrong. */
static void forge_header(struct hostile *h)
{
    struct es_record_header header = {.length = ES_RECORD_HEADER_BYTES + 64,
                                      .incarnation = h->incarnation,
                                      .sequence = h->writer.published + 1};

    switch (prng_below(&h->prng, 8)) {
    case 0: header.length = (uint32_t)prng_next(&h->prng) | 1U << 30; break;
    case 1: header.length = (uint32_t)prng_below(&h->prng, ES_RECORD_HEADER_BYTES + 1); break;
    case 2: header.length = h->writer.record_bytes_max + 1; break;
    case 3: header.flags = ~ES_RECORD_FLAGS_USER & (uint32_t)prng_next(&h->prng); break;
    case 4: header.incarnation ^= 1 + prng_below(&h->prng, UINT32_MAX); break;
    case 5: header.sequence += 1 + prng_below(&h->prng, 1000); break;
    case 6: header.sequence -= 1 + prng_below(&h->prng, header.sequence); break;
    default: header.body_crc = (uint32_t)prng_next(&h->prng) | 1U; break;
    }
    header.header_crc = es_crc32c(0, &header, offsetof(struct es_record_header, header_crc));
    if (prng_one_in(&h->prng, 5)) {
        header.header_crc ^= 1U << prng_below(&h->prng, 32);
    }
    memset(h->writer.arena + h->writer.next_offset + sizeof header, 0, 64);
    memcpy(h->writer.arena + h->writer.next_offset, &header, sizeof header);
    atomic_store(&h->writer.file->published, h->writer.published + 1);
    (void)!es_ring_place(&h->ring, h->lane_index, h->writer.published + 1);
    es_doorbell_ring(&h->ring);
}

static void forge_headers(struct hostile *h)
{
    while (hostile_attach(h)) {
        publish_some(h);
        if (h->writer.arena_bytes - h->writer.next_offset > 256) {
            forge_header(h);
            hostile_await_cut_off(h);
        }
        hostile_detach(h);
        h->rounds++;
    }
}

static void publish_impossible_words(struct hostile *h)
{
    while (hostile_attach(h)) {
        static const uint64_t words[] = {UINT64_C(1) << 40, UINT64_C(1) << 63, 100000, 1U << 15};

        publish_some(h);
        atomic_store(&h->writer.file->published,
                     h->writer.published + words[prng_below(&h->prng, 4)]);
        es_doorbell_ring(&h->ring);
        hostile_await_cut_off(h);
        hostile_detach(h);
        h->rounds++;
    }
}

/* Sound records whose bodies are not transactions, or almost. Each is to be refused;
 * the lane need not be lost. */
static void publish_bad_bodies(struct hostile *h)
{
    while (hostile_attach(h)) {
        for (int i = 0; i < 500 && !hostile_is_over(h); i++) {
            uint32_t size = 1 + (uint32_t)prng_below(&h->prng, 300);
            uint64_t sequence = 0;
            void *place = NULL;

            hostile_collect(h);
            if (es_lane_claim(&h->writer, size, &place) == ES_OK) {
                static const uint8_t begin[] = {0x93, 1, 0, 0x91, 0x95, 1};

                prng_fill(&h->prng, place, size);
                memcpy(place, begin, size < sizeof begin ? size : prng_below(&h->prng, 7));
                (void)!es_lane_publish(&h->writer, size, 0, &sequence);
                (void)!es_ring_place(&h->ring, h->lane_index, sequence);
                es_doorbell_ring(&h->ring);
            }
        }
        hostile_detach(h);
        h->rounds++;
    }
}

static void scribble_ring(struct hostile *h)
{
    while (hostile_attach(h)) {
        for (int i = 0; i < 50 && !hostile_is_over(h); i++) {
            hostile_collect(h);
            publish_some(h);
            write_randomly(h, &h->ring_segment);
        }
        hostile_detach(h);
        h->rounds++;
    }
}

/* Erases tickets, puts back those of before, forges those of others. */
static void replay_tickets(struct hostile *h)
{
    static uint64_t kept[4096];

    while (hostile_attach(h)) {
        uint32_t slot_count = h->identity.geometry.slot_count;
        uint32_t count = slot_count < 4096 ? slot_count : 4096;

        for (int i = 0; i < 200 && !hostile_is_over(h); i++) {
            uint64_t tail = atomic_load(&h->ring.file->tail);

            hostile_collect(h);
            publish_some(h);
            for (uint32_t k = 0; k < count; k++) {
                _Atomic uint64_t *slot = &h->ring.file->slots[(tail + k) % slot_count];

                switch (i % 4) {
                case 0: kept[k] = atomic_load(slot); break;
                case 1: atomic_store(slot, kept[k]); break;
                case 2: atomic_store(slot, 0); break;
                default:
                    (void)!es_ring_place(&h->ring, (uint32_t)prng_below(&h->prng, 256),
                                         prng_next(&h->prng));
                }
            }
            es_doorbell_ring(&h->ring);
        }
        hostile_detach(h);
        h->rounds++;
    }
}

/* True: it is there again, as zeros. */
static bool take_memory_away(struct hostile *h, const struct es_segment *segment, bool all_of_it)
{
    off_t size = (off_t)segment->size;
    off_t left = all_of_it ? 0 : (off_t)prng_below(&h->prng, segment->size);

    (void)!ftruncate(segment->fd, left);
    return prng_one_in(&h->prng, 2) && ftruncate(segment->fd, size) == 0;
}

static void truncate_lane(struct hostile *h)
{
    while (hostile_attach(h)) {
        publish_some(h);
        if (take_memory_away(h, &h->lane_segment, true)) {
            atomic_store(&h->writer.file->published, h->writer.published + 1);
        }
        es_doorbell_ring(&h->ring);
        h->lane_segment.base = NULL; /* not looked at any more: it would be our own SIGBUS */
        hostile_await_cut_off(h);
        close(h->lane_segment.fd);
        h->lane_segment = ES_SEGMENT_NONE;
        hostile_detach(h);
        h->rounds++;
    }
}

static void punch_holes(struct hostile *h)
{
    while (hostile_attach(h)) {
        for (int i = 0; i < 20 && !hostile_is_over(h); i++) {
            const struct es_segment *segment =
                prng_one_in(&h->prng, 2) ? &h->lane_segment : &h->ring_segment;
            off_t at = (off_t)(prng_below(&h->prng, segment->size) / ES_PAGE_BYTES * ES_PAGE_BYTES);

            publish_some(h);
            (void)!fallocate(segment->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                             ES_PAGE_BYTES * (off_t)(1 + prng_below(&h->prng, 16)));
            es_doorbell_ring(&h->ring);
            hostile_collect(h);
        }
        hostile_detach(h);
        h->rounds++;
    }
}

/* In a child, for whoever looks at the ring afterwards dies, this process as well. */
static void truncate_ring(struct hostile *h)
{
    while (hostile_attach(h)) {
        int is_back = 0;
        pid_t child = fork();

        if (child == 0) {
            _exit(take_memory_away(h, &h->ring_segment, prng_one_in(&h->prng, 2)));
        }
        (void)waitpid(child, &is_back, 0);
        (void)prng_next(&h->prng); /* the child drew its numbers from a copy */
        h->ring_segment.base = NULL;
        if (is_back == 0) {
            hostile_await_cut_off(h);
        }
        close(h->ring_segment.fd);
        h->ring_segment = ES_SEGMENT_NONE;
        hostile_detach(h);
        h->rounds++;
    }
}

struct flipper {
    struct hostile *h;
    atomic_bool stops;
};

static void *flip(void *context)
{
    struct flipper *flipper = context;
    struct hostile *h = flipper->h;
    struct prng prng = {h->incarnation};

    while (!atomic_load(&flipper->stops)) {
        uint8_t *byte = h->writer.arena + prng_below(&prng, h->writer.arena_bytes / 16);
        uint8_t before = *(volatile uint8_t *)byte;

        *(volatile uint8_t *)byte = (uint8_t)(before ^ (1U << prng_below(&prng, 8)));
        if (prng_one_in(&prng, 2)) {
            *(volatile uint8_t *)byte = before;
        }
    }
    return NULL;
}

/* Records that change while the broker looks at them. */
static void change_between_check_and_use(struct hostile *h)
{
    while (hostile_attach(h)) {
        struct flipper flipper = {.h = h};
        pthread_t thread;

        if (pthread_create(&thread, NULL, flip, &flipper) != 0) {
            return;
        }
        for (int i = 0; i < 200 && !hostile_is_over(h); i++) {
            uint64_t number = h->number;

            hostile_collect(h);
            /* a byte may change before its checksum is made: those events are not claimed whole */
            (void)hostile_publish(h, 400, true);
            h->number = number + 1;
        }
        atomic_store(&flipper.stops, true);
        pthread_join(thread, NULL);
        hostile_detach(h);
        h->rounds++;
    }
}

static void flood(struct hostile *h)
{
    while (hostile_attach(h)) {
        while (!hostile_is_over(h)) {
            for (int i = 0; i < BURST; i++) {
                (void)hostile_publish(h, 16, true);
            }
            hostile_collect(h);
            h->rounds++;
        }
        hostile_detach(h);
    }
}

static void flood_of_tickets(struct hostile *h)
{
    while (hostile_attach(h)) {
        while (!hostile_is_over(h)) {
            for (int i = 0; i < BURST; i++) {
                (void)!es_ring_place(&h->ring, (uint32_t)prng_below(&h->prng, 256),
                                     prng_next(&h->prng));
            }
            es_doorbell_ring(&h->ring);
            h->rounds++;
        }
        hostile_detach(h);
    }
}

static void ring_the_bell(struct hostile *h)
{
    while (hostile_attach(h)) {
        while (!hostile_is_over(h)) {
            atomic_fetch_add(&h->ring.file->bell, 1);
            (void)es_futex_wake((const _Atomic uint32_t *)&h->ring.file->bell, true);
            atomic_store(&h->ring.file->tail, prng_next(&h->prng));
            h->rounds++;
        }
        hostile_detach(h);
    }
}

/* Dies at any moment, with everything open. */
static void die(struct hostile *h)
{
    while (!hostile_is_over(h)) {
        uint64_t after_ns = prng_below(&h->prng, 3000000);
        pid_t child = fork();

        if (child == 0) {
            h->number = prng_next(&h->prng) >> 8;
            if (hostile_attach(h)) {
                for (;;) {
                    (void)hostile_publish(h, 100, true);
                    hostile_collect(h);
                }
            }
            _exit(0);
        }
        (void)poll(NULL, 0, (int)(after_ns / 1000000));
        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
        h->rounds++;
    }
}

const struct attack memory_attacks[] = {
    {"scribble-lane", scribble_lane},
    {"forge-headers", forge_headers},
    {"impossible-published", publish_impossible_words},
    {"bad-bodies", publish_bad_bodies},
    {"scribble-ring", scribble_ring},
    {"replay-tickets", replay_tickets},
    {"truncate-lane", truncate_lane},
    {"punch-holes", punch_holes},
    {"truncate-ring", truncate_ring},
    {"change-after-check", change_between_check_and_use},
    {"flood", flood},
    {"flood-of-tickets", flood_of_tickets},
    {"ring-the-bell", ring_the_bell},
    {"die", die},
    {NULL, NULL},
};
