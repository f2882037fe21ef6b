/* Producers are processes, killed with SIGKILL wherever they happen to be. Nothing
 * half-written is ever delivered, what they had published is, the others go on, and
 * the number of a dead one's lane can be given to the next at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/little_broker.h"
#include "tests/support/shared_memory.h"

#define PRODUCER_COUNT 3u
#define SLOT_COUNT 16u
#define CREDIT_COUNT 4u /* four lanes' worth: a dead one's tickets beside its successor's */
#define KILL_COUNT 400u

struct world {
    struct little_broker broker;
    struct es_segment shared; /* the position that the children have seen acked */
    pid_t children[PRODUCER_COUNT];
    struct prng prng;
};

static void child_run(struct world *w, uint32_t lane_index, uint64_t seed)
{
    static struct little_producer producer;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no child behind */
    little_producer_open(&producer, &w->broker, lane_index, w->shared.base, seed);
    for (;;) {
        little_producer_publish(&producer);
        if (prng_one_in(&producer.prng, 16)) {
            little_producer_finish(&producer);
        }
    }
}

static void child_start(struct world *w, uint32_t lane_index)
{
    uint64_t seed = prng_next(&w->prng);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        child_run(w, lane_index, seed);
    }
    w->children[lane_index] = child;
}

static void child_kill(struct world *w, uint32_t lane_index)
{
    int status = 0;

    assert_int_equal(kill(w->children[lane_index], SIGKILL), 0);
    assert_int_equal(waitpid(w->children[lane_index], &status, 0), w->children[lane_index]);
    assert_true(WIFSIGNALED(status)); /* and did not find a promise broken */
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* Lets everybody who lives get some records through, some rounds more at random. */
static void run_until_all_progress(struct world *w)
{
    uint64_t goals[PRODUCER_COUNT];
    uint64_t rounds = prng_below(&w->prng, 20);
    uint32_t behind = PRODUCER_COUNT;

    for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
        goals[i] = w->broker.lanes[i].durable_sequence + 1 + prng_below(&w->prng, 10);
    }
    while (behind > 0 || rounds > 0) {
        bool restart = prng_one_in(&w->prng, 50);

        if (!little_broker_round(&w->broker, 1 + (uint32_t)prng_below(&w->prng, 8), restart,
                                 &w->prng)) {
            little_broker_sleep(&w->broker);
        }
        behind = 0;
        for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
            behind += w->broker.lanes[i].durable_sequence < goals[i];
        }
        rounds -= rounds > 0;
    }
}

static void kills_at_any_instruction_harm_nobody_else(void **state)
{
    static struct world w;

    (void)state;
    memset(&w, 0, sizeof w);
    prng_begin(&w.prng, "kills");
    w.shared = shared_memory(ES_PAGE_BYTES);
    little_broker_open(&w.broker, PRODUCER_COUNT, SLOT_COUNT, CREDIT_COUNT);
    for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
        child_start(&w, i);
    }
    for (uint32_t kills = 0; kills < KILL_COUNT; kills++) {
        uint32_t victim = (uint32_t)prng_below(&w.prng, PRODUCER_COUNT);

        run_until_all_progress(&w);
        child_kill(&w, victim);
        little_broker_drain_dead(&w.broker, victim);
        assert_null(w.broker.lanes[victim].reader.evicted_why);
        little_broker_renew_lane(&w.broker, victim);
        child_start(&w, victim);
    }
    for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
        child_kill(&w, i);
    }
    printf("%u kills, %llu records, %llu restarts, %llu stale tickets\n", KILL_COUNT,
           (unsigned long long)w.broker.taken_count, (unsigned long long)w.broker.restart_count,
           (unsigned long long)w.broker.stale_count);
    assert_int_equal(w.broker.lost_bell_count, 0);
    assert_int_equal(w.broker.ring.voided_count, 0);
    little_broker_close(&w.broker);
    es_segment_unmap(&w.shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_at_any_instruction_harm_nobody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
