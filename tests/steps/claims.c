#include "tests/steps/claims.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "broker/inbox.h"

#define NAME "claimed"

static struct submission posted;
static struct errand errand;
static struct lanes_attachment attachment;
static struct world_log *log_of;
static bool is_posted;

static enum es_status make_lane(void *context, uint64_t *ret_incarnation)
{
    const struct world_broker *broker = context;
    const struct lanes_applicant applicant = {
        .uid = geteuid(), .pid = getpid(), .name = NAME, .is_producer = true};
    enum es_status status = lanes_attach(broker->lanes, &applicant, &attachment);

    *ret_incarnation = attachment.incarnation;
    return status;
}

void claims_post(struct world *world, struct world_broker *broker)
{
    memset(&posted, 0, sizeof posted);
    errand = (struct errand){.producer = es_text_of(NAME),
                             .uid = geteuid(),
                             .make_lane = make_lane,
                             .context = broker,
                             .take_over = true};
    posted.errand = &errand;
    log_of = world->log;
    is_posted = true;
}

void claims_forget(void)
{
    is_posted = false;
}

struct submission *__real_inbox_take(struct inbox *inbox);
struct submission *__wrap_inbox_take(struct inbox *inbox);
struct submission *__wrap_inbox_take(struct inbox *inbox)
{
    if (!is_posted) {
        return __real_inbox_take(inbox);
    }
    is_posted = false;
    return &posted;
}

void __real_inbox_answer(struct inbox *inbox, struct submission *submission);
void __wrap_inbox_answer(struct inbox *inbox, struct submission *submission);
void __wrap_inbox_answer(struct inbox *inbox, struct submission *submission)
{
    if (submission != &posted) {
        __real_inbox_answer(inbox, submission);
        return;
    }
    world_require(errand.status == ES_OK, "a claim with a take-over is granted");
    log_of->told_incarnation = attachment.incarnation;
    log_of->told_number = errand.last_number;
    atomic_signal_fence(memory_order_seq_cst); /* the rest is in memory before */
    log_of->told_count++;
}

struct world_producer *claims_open(struct world *world)
{
    struct world_producer *producer = &world->producers[world->producer_count++];

    world_require(world->producer_count <= WORLD_PRODUCERS_MAX, "room for a producer");
    producer->attachment = attachment;
    producer->is_named = true;
    producer->number = world->log->told_number;
    world_producer_open(world, producer);
    return producer;
}

/* ---- survivors -------------------------------------------------------------------- */

static struct world_producer *owner_before(struct world *world)
{
    for (uint32_t i = 0; i < world->producer_count; i++) {
        if (world->producers[i].is_named) {
            return &world->producers[i];
        }
    }
    return NULL;
}

void claims_look(struct world *world, struct world_broker *broker)
{
    const struct world_log *log = world->log;
    struct world_producer *before = owner_before(world);
    const struct producer_state *state = NULL;
    struct cache_entry *entry = NULL;
    bool was_told = log->told_count > (before != NULL ? 1U : 0U);

    world_require(heads_producer(broker->heads, es_text_of(NAME), &entry) == ES_OK, "a name");
    state = producer_state(entry);
    if (was_told) {
        world_require(state->exists && state->owner_incarnation == log->told_incarnation,
                      "who was told so owns the name");
        world_require(state->last_number == log->told_number, "and was told the last number");
    }
    if (before != NULL && state->owner_incarnation != before->attachment.incarnation) {
        before->is_replaced = true;
        world_require(state->last_number == before->number,
                      "what was published before a claim is stored before it");
    }
}

static void publish_one(struct world_producer *producer, struct world_broker *broker,
                        enum world_answer expected)
{
    uint64_t sequence = 0;

    world_publish(producer, NULL, NULL, 32);
    sequence = producer->writer.published;
    world_require(world_place(producer) == ES_OK, "a ticket finds its place");
    world_broker_round(broker);
    world_collect(producer);
    world_require(producer->answers[sequence - 1] == expected,
                  expected == ANSWER_OK ? "the owner's record is stored"
                                        : "a former owner's record is refused");
}

/* The name is claimed once more: told again, and then the one before is fenced for good. */
void claims_go_on(struct world *world, struct world_broker *broker)
{
    struct world_producer *before = owner_before(world);
    uint64_t last_number = 0;

    if (before == NULL && world->log->told_count == 0) {
        return; /* nobody has ever had to do with it */
    }
    if (before != NULL) {
        last_number = before->is_replaced ? before->number - 1 : before->number;
    }
    claims_post(world, broker);
    world_broker_round(broker);
    world_require(world->log->told_incarnation == attachment.incarnation, "a claim is answered");
    world_require(world->log->told_number == last_number,
                  "a claim is told the last number that is stored");
    publish_one(claims_open(world), broker, ANSWER_OK);
    if (before != NULL) {
        publish_one(before, broker, ANSWER_REFUSED);
    }
}
