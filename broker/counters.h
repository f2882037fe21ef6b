/*
 * Every number the broker counts, named once: `esctl status` prints them under
 * these names, docs/counters.md explains them, and a test compares the two.
 *
 * Threads. Each counter is written by one thread with relaxed stores and may be
 *          read by all; together they are no consistent picture.
 */
#ifndef BROKER_COUNTERS_H
#define BROKER_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(name): written by the commit thread, but for those marked otherwise. */
#define COUNTERS(X)                                               \
    X(batches)                                                    \
    X(commits)                                                    \
    X(events)                                                     \
    X(event_bytes)                                                \
    X(transactions)                                               \
    X(refusals)                                                   \
    X(conflicts)                                                  \
    X(key_operations)                                             \
    X(batch_events_max)                                           \
    X(batch_bytes_max)                                            \
    X(log_bytes)                                                  \
    X(log_segments_begun)                                         \
    X(log_full_waits)                                             \
    X(sync_count)                                                 \
    X(sync_ns_total)                                              \
    X(sync_ns_max)                                                \
    X(apply_ns_total)                                             \
    X(ring_depth)                                                 \
    X(stale_tickets)                                              \
    X(sweeps)                                                     \
    X(lanes_attached)                                             \
    X(lanes_evicted)                                              \
    X(heads_cache_hits)                                           \
    X(heads_cache_misses)                                         \
    X(published_messages) /* publisher */                         \
    X(published_events)   /* publisher */                         \
    X(published_dropped)  /* publisher */                         \
    X(heartbeats)         /* publisher */                         \
    X(subscribers)        /* publisher */                         \
    X(requests)           /* request workers, added atomically */ \
    X(requests_malformed) /* request workers, added atomically */ \
    X(flushes)            /* flusher */                           \
    X(flush_ns_total)     /* flusher */

#define COUNTER_FIELD(name) _Atomic uint64_t name;
struct counters {
    COUNTERS(COUNTER_FIELD)
};
#undef COUNTER_FIELD

/* For the one thread that owns the counter. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

static inline void counter_raise(_Atomic uint64_t *counter, uint64_t value)
{
    if (value > atomic_load_explicit(counter, memory_order_relaxed)) {
        atomic_store_explicit(counter, value, memory_order_relaxed);
    }
}

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
