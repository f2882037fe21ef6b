#include "shm/doorbell.h"

#include <assert.h>

#include "shm/futex.h"
#include "shm/probe.h"

static_assert(ES_RING_COUNT_MAX + 1 <= ES_FUTEX_WORD_COUNT_MAX, "all bells in one sleep");

void es_doorbell_arm(struct es_doorbell *doorbell, const struct es_ring *const *rings,
                     uint32_t ring_count)
{
    assert(ring_count <= ES_RING_COUNT_MAX);

    doorbell->ring_count = ring_count;
    doorbell->sleep_number++;
    if (doorbell->sleep_number == 0) {
        doorbell->sleep_number = 1;
    }
    for (uint32_t i = 0; i < ring_count; i++) {
        struct es_ring_file *file = rings[i]->file;

        /* the bell before 'sleeping': one that rings from here on ends the sleep */
        doorbell->rings[i] = file;
        doorbell->bells_seen[i] = atomic_load_explicit(&file->bell, memory_order_acquire);
        atomic_store_explicit(&file->sleeping, doorbell->sleep_number,
                              memory_order_seq_cst); /* [D1] */
    }
    atomic_store_explicit(&doorbell->is_sleeping, 1, memory_order_seq_cst); /* [D2] */
    doorbell->word_seen =
        atomic_load_explicit(&doorbell->word, memory_order_seq_cst); /* [D2] [R1] */
}

void es_doorbell_disarm(struct es_doorbell *doorbell)
{
    for (uint32_t i = 0; i < doorbell->ring_count; i++) {
        atomic_store_explicit(&doorbell->rings[i]->sleeping, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&doorbell->is_sleeping, 0, memory_order_relaxed);
    doorbell->ring_count = 0;
}

enum es_status es_doorbell_sleep(struct es_doorbell *doorbell, int64_t deadline_ns)
{
    struct es_futex_word words[ES_RING_COUNT_MAX + 1];
    uint32_t woken_word = 0;
    enum es_status status;

    words[0] = (struct es_futex_word){
        .word = &doorbell->word, .expected = doorbell->word_seen, .is_shared = false};
    for (uint32_t i = 0; i < doorbell->ring_count; i++) {
        words[i + 1] = (struct es_futex_word){.word = &doorbell->rings[i]->bell,
                                              .expected = doorbell->bells_seen[i],
                                              .is_shared = true};
    }
    status = es_futex_wait_any(words, doorbell->ring_count + 1, deadline_ns, &woken_word);
    doorbell->woken_index = woken_word - 1; /* none, where it was the broker's own word */
    es_doorbell_disarm(doorbell);
    return status;
}

bool es_doorbell_was_called(const struct es_doorbell *doorbell, uint32_t index)
{
    return index == doorbell->woken_index ||
           atomic_load_explicit(&doorbell->rings[index]->bell, memory_order_acquire) != /* [R2] */
               doorbell->bells_seen[index];
}

void es_doorbell_wake(struct es_doorbell *doorbell)
{
    (void)atomic_fetch_add_explicit(&doorbell->word, 1, memory_order_seq_cst);     /* [R1] [D2] */
    if (atomic_load_explicit(&doorbell->is_sleeping, memory_order_seq_cst) != 0) { /* [D2] */
        (void)es_futex_wake(&doorbell->word, false);
    }
}

void es_doorbell_ring(struct es_ring *ring)
{
    struct es_ring_file *file = ring->file;
    uint32_t sleep_number = atomic_load_explicit(&file->sleeping, memory_order_seq_cst); /* [D1] */

    if (sleep_number == 0) {
        return;
    }
    /* this order: whoever dies in between has rung, or leaves it to the next */
    (void)atomic_fetch_add_explicit(&file->bell, 1, memory_order_release); /* [R2] */
    ES_PROBE(bell_rung);
    (void)es_futex_wake(&file->bell, true);
    ES_PROBE(bell_woke);
    (void)atomic_compare_exchange_strong_explicit(&file->sleeping, &sleep_number, 0,
                                                  memory_order_relaxed, memory_order_relaxed);
}
