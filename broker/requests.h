/*
 * The request workers: each takes a request of docs/protocol.md from the
 * transport, answers it from a snapshot of the store or by way of the inbox,
 * and never from the sequencer's caches, which run ahead of the disk. A reply
 * states the position it is consistent with: that of its snapshot.
 *
 * A request is bytes from a stranger: whatever is wrong with it is an answer
 * with a status and a message, and counted.
 *
 * Threads. REQUEST_WORKERS of its own; the functions below: one thread.
 */
#ifndef BROKER_REQUESTS_H
#define BROKER_REQUESTS_H

#include <stddef.h>
#include <stdint.h>

#include "broker/counters.h"
#include "broker/inbox.h"
#include "broker/store.h"
#include "broker/transport.h"

struct backup;
struct requests;
struct es_pack;

struct requests_config {
    struct transport *transport; /* all of these outlive the workers */
    struct store *store;
    struct inbox *inbox;
    const struct counters *counters;
    struct counters *request_counters; /* where 'requests' and 'requests_malformed' count */
    uint8_t store_id[16];
    uint64_t epoch;
    uint64_t start_number;
    uint32_t durability; /* 0 fsync, 1 os */
    uint32_t transaction_bytes_max;
    uint64_t append_timeout_ns; /* how long an append may wait for its commit; 0: 10 s */
    /*
     * Adds [name, value] pairs to the status reply, besides the counters, and
     * returns how many: shm/codec/pack.h, es_pack_array(pack, 2), name, value.
     * May be NULL. Called on a worker; use inbox_call() for what the commit
     * thread owns. At most REQUESTS_STATUS_BYTES_MAX.
     */
    uint32_t (*status)(void *context, struct es_pack *pack);
    void *status_context;
    struct backup *backup; /* NULL: this store cannot */
};

enum {
    REQUESTS_STATUS_BYTES_MAX = 192 * 1024
};

/* Starts the workers. */
ES_MUST_USE enum es_status requests_new(const struct requests_config *config,
                                        struct requests **ret_requests);

/*
 * Ends the workers once each has answered what it is at: transport_stop() and
 * inbox_close() first, or it may wait for the append timeout. Also twice.
 */
void requests_stop(struct requests *requests);

/* Stops first where needed. NULL is fine. */
void requests_free(struct requests *requests);

#endif
