/*
 * What `esctl status` shows beside the counters: settings, the head, the lanes
 * and whose they are, memory. docs/counters.md explains each name.
 *
 * Threads. A request worker; what the commit thread owns is asked for by
 *          inbox_call_within(): while that thread waits for the disk or for room in the
 *          log, status has an answer all the same, without the lanes.
 */
#ifndef BROKER_BROKER_STATUS_H
#define BROKER_BROKER_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/committer.h"
#include "broker/inbox.h"
#include "broker/lanes.h"
#include "broker/store.h"
#include "shm/codec/pack.h"

struct broker_status {
    struct inbox *inbox; /* all of these outlive it */
    struct lanes *lanes;
    struct store *store;
    struct committer *committer;
    bool syncs_commits;
    bool in_memory;
};

/* For struct requests_config: 'context' is a struct broker_status. */
uint32_t broker_status_pack(void *context, struct es_pack *pack);

#endif
