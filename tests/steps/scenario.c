#include "tests/steps/scenario.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "broker/lanes_state.h"
#include "shm/futex.h"
#include "tests/steps/claims.h"

#define SHARED_STREAM "test:main:L0:shared:M1"
#define SMALL_BYTES 48u
#define LARGE_BYTES 7000u

static const struct es_expected must_exist = {.kind = ES_EXPECTED_EXISTS};

/* ---- situations ---------------------------------------------------------- */

static void publish_and_place(struct world_producer *producer)
{
    world_publish(producer, NULL, NULL, SMALL_BYTES);
    world_require(world_place(producer) == ES_OK, "a ticket finds its place");
}

static void commit(struct world *world)
{
    world_broker_round(&world->broker);
    for (uint32_t i = 0; i < world->producer_count; i++) {
        if (world->producers[i].is_attached) {
            world_collect(&world->producers[i]);
        }
    }
}

/* Everybody has published before, so the ring is on another lap. */
static void warm_up(struct world *world)
{
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < world->producer_count; i++) {
            publish_and_place(&world->producers[i]);
            commit(world);
        }
    }
}

static void put_broker_to_sleep(struct world *world)
{
    const struct es_ring *rings[] = {&lanes_ring(world->broker.lanes, 0)->reader.ring};

    warm_up(world);
    es_doorbell_arm(&world->broker.doorbell, rings, 1);
}

static void fill_arena(struct world *world)
{
    struct es_lane_writer *writer = &world->producers[0].writer;

    while (writer->arena_bytes - writer->next_offset >= SMALL_BYTES + 512 + 32) {
        uint32_t to_end = writer->arena_bytes - writer->next_offset;

        world_publish(&world->producers[0], NULL, NULL, to_end > 8100 ? LARGE_BYTES : SMALL_BYTES);
        world_require(world_place(&world->producers[0]) == ES_OK, "a ticket finds its place");
        commit(world);
    }
    world_require(es_record_aligned(ES_RECORD_HEADER_BYTES + SMALL_BYTES + 512) >
                      writer->arena_bytes - writer->next_offset,
                  "the next record needs a pad");
}

/* Producer 1 died between its two compare-and-swaps. */
static void leave_tail_behind(struct world *world)
{
    struct world_producer *other = &world->producers[1];
    struct es_placement placement = {.lane_index = other->attachment.lane_index};

    warm_up(world);
    world_publish(other, NULL, NULL, SMALL_BYTES);
    placement.sequence = other->writer.published;
    while (!placement.is_placed) {
        world_require(es_ring_step(&other->ring, &placement) == ES_EMPTY, "a step");
    }
    other->is_dead = true;
}

/* The same, and the broker has freed that slot since. */
static void leave_tail_behind_a_freed_slot(struct world *world)
{
    leave_tail_behind(world);
    commit(world);
}

/* Tickets that come after their record was swept fill the ring. */
static void fill_ring_with_stale_tickets(struct world *world)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        world_publish(&world->producers[i], NULL, NULL, SMALL_BYTES);
    }
    for (uint32_t i = 0; i < 4; i++) {
        commit(world);
    }
    for (uint32_t i = 0; i < world->producer_count; i++) {
        world_require(world_place(&world->producers[i]) == ES_OK, "a ticket finds its place");
    }
}

static void publish_first(struct world *world)
{
    warm_up(world);
    publish_and_place(&world->producers[0]);
}

static void commit_meanwhile(struct world *world)
{
    world_broker_round(&world->broker);
}

static void publish_first_and_commit(struct world *world)
{
    publish_first(world);
    world_broker_round(&world->broker);
}

/* A lane is given out, and not yet mapped by its owner, who is made to come first. */
static void give_out_a_lane(struct world *world)
{
    warm_up(world);
    world->producers[1] = world->producers[0];
    memset(&world->producers[0], 0, sizeof world->producers[0]);
    world->producer_count = 2;
    world_require(world_give_out_lane(&world->broker, &world->producers[0].attachment) == ES_OK,
                  "a lane");
}

/* One is refused, for the stream does not exist; the other is stored, and makes it. */
static void publish_a_refused_and_a_good_one(struct world *world)
{
    warm_up(world);
    world_publish(&world->producers[0], SHARED_STREAM, &must_exist, SMALL_BYTES);
    world_require(world_place(&world->producers[0]) == ES_OK, "a ticket finds its place");
    world_publish(&world->producers[1], SHARED_STREAM, NULL, SMALL_BYTES);
    world_require(world_place(&world->producers[1]) == ES_OK, "a ticket finds its place");
}

static void publish_without_tickets(struct world *world)
{
    warm_up(world);
    for (uint32_t i = 0; i < world->producer_count; i++) {
        world_publish(&world->producers[i], NULL, NULL, SMALL_BYTES);
    }
    world_broker_round(&world->broker); /* sees it; the next one sweeps */
}

/* Refused now; and once somebody has made the stream, it would not be. */
static void publish_a_refused_one_without_ticket(struct world *world)
{
    warm_up(world);
    world_publish(&world->producers[0], SHARED_STREAM, &must_exist, SMALL_BYTES);
    world_broker_round(&world->broker);
}

static void make_the_stream(struct world *world)
{
    world_publish(&world->producers[1], SHARED_STREAM, NULL, SMALL_BYTES);
    world_require(world_place(&world->producers[1]) == ES_OK, "a ticket finds its place");
}

static void publish_both(struct world *world)
{
    warm_up(world);
    publish_and_place(&world->producers[0]);
    publish_and_place(&world->producers[1]);
}

/* A broker that died with a batch in the log, at several points of the rest. */
static struct batch *log_a_batch(struct world *world)
{
    struct world_broker *broker = &world->broker;
    struct batch *batch = broker->batches[0];
    struct log_point previous;
    bool is_full = false;

    publish_a_refused_and_a_good_one(world);
    broker->now_ns += 1;
    committer_begin_batch(broker->committer, batch);
    world_require(drain_fill(broker->drain, batch, broker->now_ns, &is_full) == ES_OK &&
                      committer_seal(broker->committer, batch, &previous) == ES_OK,
                  "a batch");
    (void)scribe_write(NULL, batch, &previous);
    return batch;
}

static void die_after_log(struct world *world)
{
    (void)log_a_batch(world);
}

static void die_inside_control_page(struct world *world)
{
    const struct es_last *last = &log_a_batch(world)->progress;
    const struct lane *lane =
        lanes_lane(world->broker.lanes, incarnation_index(last->lanes[0].incarnation));

    es_control_set_cursor(&world->broker.lanes->control, 0, last->rings[0].cursor);
    es_control_advance_lane(&world->broker.lanes->control, lane->index,
                            last->lanes[0].last_sequence, (uint32_t)last->lanes[0].next_offset);
}

static void die_inside_acknowledging(struct world *world)
{
    struct batch *batch = log_a_batch(world);
    struct es_control_head head = {.batch_number = batch->number,
                                   .commit_number = batch->commit_number,
                                   .durable_position = batch_last_position(batch)};

    memcpy(head.store_hash, batch->store_hash, sizeof head.store_hash);
    lanes_advance(world->broker.lanes, &batch->progress, &head);
    lanes_free_slots(world->broker.lanes, &batch->progress);
    es_lane_ack(&lanes_lane(world->broker.lanes, 0)->reader,
                batch->progress.lanes[0].last_sequence);
}

static void close_a_lane(struct world *world)
{
    warm_up(world);
    es_lane_close(&world->producers[0].writer);
    world->producers[0].is_attached = false;
}

/* A name that nobody has is claimed. */
static void claim_a_new_name(struct world *world)
{
    warm_up(world);
    claims_post(world, &world->broker);
}

/* Its owner has one record in the ring and one without a ticket when somebody claims it. */
static void claim_a_name_in_use(struct world *world)
{
    struct world_producer *owner = NULL;

    claim_a_new_name(world);
    world_broker_round(&world->broker);
    owner = claims_open(world);
    publish_and_place(owner);
    commit(world);
    publish_and_place(owner);
    world_publish(owner, NULL, NULL, SMALL_BYTES);
    claims_post(world, &world->broker);
}

/* ---- what is stepped ----------------------------------------------------- */

static void run_publish(struct world *world)
{
    world_publish(&world->producers[0], NULL, NULL, SMALL_BYTES);
    (void)world_place(&world->producers[0]);
}

static void run_wait(struct world *world)
{
    struct es_lane_writer *writer = &world->producers[0].writer;

    world_require(es_lane_wait(writer, writer->published, ES_DEADLINE_NEVER, NULL, 0) == ES_OK,
                  "a wait ends");
    world_collect(&world->producers[0]);
}

static void run_open(struct world *world)
{
    world_producer_open(world, &world->producers[0]);
}

static void run_close(struct world *world)
{
    es_lane_close(&world->producers[0].writer);
}

static void run_round(struct world *world)
{
    world_broker_round(&world->broker);
}

/* As commit_loop.c: the second batch is in the log before the first is finished. */
static void run_two_batches(struct world *world)
{
    struct world_broker *broker = &world->broker;
    struct batch *first = broker->batches[0];
    struct batch *second = broker->batches[1];
    struct scribe_outcome outcomes[2];
    struct log_point previous;
    const char *what = "";
    bool is_full = false;

    committer_begin_batch(broker->committer, first);
    first->answer_count_max = 1;
    world_require(drain_fill(broker->drain, first, broker->now_ns, &is_full) == ES_OK &&
                      committer_seal(broker->committer, first, &previous) == ES_OK,
                  "the first batch is sealed");
    outcomes[0] = scribe_write(NULL, first, &previous);
    committer_begin_batch(broker->committer, second);
    world_require(drain_fill(broker->drain, second, broker->now_ns, &is_full) == ES_OK &&
                      committer_seal(broker->committer, second, &previous) == ES_OK,
                  "the second batch is sealed");
    outcomes[1] = scribe_write(NULL, second, &previous);
    world_require(committer_finish(broker->committer, first, &outcomes[0], &what) == ES_OK &&
                      committer_finish(broker->committer, second, &outcomes[1], &what) == ES_OK,
                  "both are finished");
}

static void run_restart(struct world *world)
{
    static struct world_broker next;

    world_require(world_broker_open(world, &next, world->directory_fd) == ES_OK,
                  "a new broker can start");
    world_broker_round(&next);
}

static void run_give_out_a_lane(struct world *world)
{
    struct lanes_attachment attachment;

    world_require(world_give_out_lane(&world->broker, &attachment) == ES_OK, "a lane");
}

static const struct scenario scenarios[] = {
    {"producer-publishes", false, false, 4, 2, warm_up, run_publish, NULL, 0},
    {"producer-rings", false, false, 2, 2, put_broker_to_sleep, run_publish, NULL, 0},
    {"producer-pads", false, false, 8, 2, fill_arena, run_publish, NULL, 0},
    {"producer-helps", false, false, 4, 3, leave_tail_behind, run_publish, NULL, 0},
    {"producer-helps-freed", false, false, 4, 3, leave_tail_behind_a_freed_slot, run_publish, NULL,
     0},
    {"producer-finds-full", false, false, 2, 2, fill_ring_with_stale_tickets, run_publish, NULL, 0},
    {"producer-collects", false, false, 2, 2, publish_first_and_commit, run_wait, NULL, 0},
    {"producer-sleeps", false, false, 2, 2, publish_first, run_wait, commit_meanwhile, 300},
    {"producer-attaches", false, false, 4, 1, give_out_a_lane, run_open, NULL, 0},
    {"producer-closes", false, false, 4, 2, warm_up, run_close, NULL, 0},
    {"broker-commits", true, false, 2, 2, publish_a_refused_and_a_good_one, run_round, NULL, 0},
    {"broker-sweeps", true, false, 4, 2, publish_without_tickets, run_round, NULL, 0},
    {"broker-refuses", true, false, 4, 2, publish_a_refused_one_without_ticket, run_round,
     make_the_stream, 0},
    {"broker-two-batches", true, false, 2, 2, publish_both, run_two_batches, NULL, 0},
    {"broker-restarts-after-log", true, false, 2, 2, die_after_log, run_restart, NULL, 0},
    {"broker-restarts-inside-page", true, false, 4, 2, die_inside_control_page, run_restart, NULL,
     0},
    {"broker-restarts-inside-acks", true, false, 2, 2, die_inside_acknowledging, run_restart, NULL,
     0},
    {"broker-makes-ring-and-lane", true, true, 4, 0, NULL, run_give_out_a_lane, NULL, 0},
    {"broker-gives-out-lane", true, true, 8, 2, warm_up, run_give_out_a_lane, NULL, 0},
    {"broker-gives-a-name", true, true, 16, 1, claim_a_new_name, run_round, NULL, 0},
    {"broker-moves-a-name", true, true, 64, 1, claim_a_name_in_use, run_round, NULL, 0},
    {"broker-takes-lane-back", true, true, 4, 2, close_a_lane, run_round, NULL, 0},
};

const struct scenario *scenario_after(const struct scenario *scenario)
{
    size_t index = scenario == NULL ? 0 : (size_t)(scenario - scenarios) + 1;

    return index < sizeof scenarios / sizeof scenarios[0] ? &scenarios[index] : NULL;
}
