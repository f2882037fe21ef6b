#include "tests/steps/survivor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/steps/claims.h"
#include "tests/support/temp_directory.h"

enum {
    ROUNDS_MAX = 8 /* 11 ms each: what waits without a ticket is swept in the second */
};

/* At the kill: what is answered by then is in the log, or was refused for ever. */
static void note_what_was_answered(struct world *world)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        struct world_producer *producer = &world->producers[i];
        const struct es_lane_file *file = producer->writer.file;
        const struct es_lane_result *results = producer->writer.results;
        uint64_t acked = 0;

        if (!producer->is_attached) {
            continue;
        }
        acked = atomic_load(&file->acked);
        if (acked == 0) {
            continue;
        }
        for (uint32_t place = 0; place < world->geometry.credit_count; place++) {
            if (results[place].sequence == acked) {
                enum world_answer now = results[place].status == ES_OK ? ANSWER_OK : ANSWER_REFUSED;
                enum world_answer *answer = &producer->answers[acked - 1];

                world_require(*answer == ANSWER_UNKNOWN || *answer == now,
                              "an answer stays what it was");
                *answer = now;
                world_require(
                    now != ANSWER_OK ||
                        world_stored_count(world, producer->attachment.incarnation, acked) == 1,
                    "what is answered OK is in the log");
            }
        }
    }
}

static uint64_t published(const struct world_producer *producer)
{
    return atomic_load(&producer->writer.file->published);
}

/* Rounds until every lane is answered. */
static void run_until_answered(const struct world *world, struct world_broker *broker)
{
    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        bool is_waiting = false;

        world_broker_round(broker);
        for (uint32_t i = 0; i < world->producer_count; i++) {
            const struct world_producer *producer = &world->producers[i];

            if (producer->is_attached && !producer->is_dead) {
                is_waiting = is_waiting || es_lane_acked(&producer->writer) < published(producer);
            }
        }
        if (!is_waiting && round > 2) {
            return;
        }
    }
    world_require(false, "everything that is published is answered");
}

/* One more record of each living producer, through the ring. */
static void go_on(struct world *world, struct world_broker *broker)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        struct world_producer *producer = &world->producers[i];

        if (producer->is_attached && !producer->is_dead) {
            world_collect(producer);
            world_require(producer->writer.collected == published(producer), "all is answered");
            world_publish(producer, NULL, NULL, 32);
            world_require(world_place(producer) == ES_OK, "a ticket finds its place");
            world_broker_round(broker);
            world_collect(producer);
            world_require(producer->writer.collected == published(producer),
                          "a record with its ticket is answered at once");
            world_require(producer->answers[published(producer) - 1] ==
                              (producer->is_replaced ? ANSWER_REFUSED : ANSWER_OK),
                          "and is stored, unless somebody else has claimed the name");
        }
    }
}

/* Everything, from the first record on. */
static void check_all(const struct world *world)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        const struct world_producer *producer = &world->producers[i];
        uint64_t incarnation = producer->attachment.incarnation;
        uint64_t count = 0;

        if (!producer->is_attached) {
            continue;
        }
        count = published(producer);
        for (uint64_t sequence = 1; sequence <= count; sequence++) {
            enum world_answer answer = producer->answers[sequence - 1];
            uint32_t stored = world_stored_count(world, incarnation, sequence);

            /* of a dead one's the last answers are not known, and nothing was refused */
            world_require(answer != ANSWER_UNKNOWN || producer->is_dead, "all is answered");
            world_require(stored == (answer == ANSWER_REFUSED ? 0 : 1),
                          stored > 1 ? "nothing is stored twice"
                                     : "what is published is stored, what is refused is not");
        }
        world_require(world_stored_count(world, incarnation, count + 1) == 0,
                      "nothing is stored that was not published");
    }
}

static void check_rings(struct world_broker *broker)
{
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(broker->lanes, i);

        world_require(ring == NULL || ring->reader.voided_count == 0, "no position is voided");
    }
}

static void check_lanes_believed(const struct world *world, struct world_broker *broker)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        const struct world_producer *producer = &world->producers[i];
        const struct lane *lane = lanes_lane(broker->lanes, producer->attachment.lane_index);

        if (producer->is_attached && !producer->is_dead) {
            world_require(lane != NULL && lane->incarnation == producer->attachment.incarnation &&
                              lane->reader.evicted_why == NULL,
                          "a living producer keeps its lane");
        }
    }
}

/* Somebody new, where there is a lane left. */
static void welcome_another(struct world *world, struct world_broker *broker)
{
    struct world_producer *producer = &world->producers[world->producer_count];

    if (world->producer_count == world->geometry.lane_count) {
        return;
    }
    world_require(world_give_out_lane(broker, &producer->attachment) == ES_OK,
                  "a new producer gets a lane");
    world_producer_open(world, producer);
    world->producer_count++;
}

static void finish(struct world *world, struct world_broker *broker)
{
    claims_look(world, broker);
    welcome_another(world, broker);
    run_until_answered(world, broker);
    check_lanes_believed(world, broker);
    go_on(world, broker);
    claims_go_on(world, broker);
    check_all(world);
    check_rings(broker);
    temp_directory_remove(world->path);
    _exit(0);
}

/* The dead one's lane is taken back, and another process gets one and goes on with it. */
static void bury(struct world *world, struct world_broker *broker)
{
    struct world_producer *victim = &world->producers[0];

    victim->is_dead = true;
    if (victim->attachment.incarnation != 0) {
        lanes_owner_gone(broker->lanes, victim->attachment.lane_index,
                         victim->attachment.incarnation);
    }
    run_until_answered(world, broker);
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        const struct lane *lane = lanes_lane(broker->lanes, i);

        world_require(lane == NULL || lane->incarnation != victim->attachment.incarnation,
                      "a dead producer's lane is taken back");
    }
    check_all(world);
    memset(victim, 0, sizeof *victim);
    world_require(world_give_out_lane(broker, &victim->attachment) == ES_OK,
                  "another producer gets a lane");
    world_producer_open(world, victim);
}

void survivor_new_broker(const struct image *image)
{
    struct world *world = image->world;
    static struct world_broker broker;
    int directory_fd = image_lay_out(image);

    claims_forget();
    note_what_was_answered(world);
    world_require(world_broker_open(world, &broker, directory_fd) == ES_OK,
                  "a new broker can start");
    finish(world, &broker);
}

void survivor_same_broker(const struct image *image)
{
    struct world *world = image->world;

    (void)image_lay_out(image);
    claims_forget();
    note_what_was_answered(world);
    bury(world, &world->broker);
    finish(world, &world->broker);
}

void survivor_new_broker_without_producer(const struct image *image)
{
    struct world *world = image->world;
    static struct world_broker broker;
    int directory_fd = image_lay_out(image);

    claims_forget();
    note_what_was_answered(world);
    world_require(world_broker_open(world, &broker, directory_fd) == ES_OK,
                  "a new broker can start");
    bury(world, &broker);
    finish(world, &broker);
}
