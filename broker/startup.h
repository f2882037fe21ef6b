/*
 * What must hold before the first answer: the commit log, the store, the anchor
 * and the control page of this boot are witnesses of one history, and any of
 * them that knows of more than the others can show is a reason to refuse. All of
 * this is judged read-only (startup_check.h); a refusal changes no byte. Only then is
 * the store opened for writing, the log replayed and flushed (startup_replay.h), and a
 * new segment begun.
 *
 * Threads. One, before all others.
 */
#ifndef BROKER_STARTUP_H
#define BROKER_STARTUP_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/anchor.h"
#include "broker/batch_load.h"
#include "broker/counters.h"
#include "broker/data_directory.h"
#include "broker/heads.h"
#include "broker/lanes_take_over.h"
#include "broker/log.h"
#include "broker/store.h"
#include "shm/codec/last_record.h"

struct startup;

struct startup_options {
    const char *data_path;
    bool in_memory; /* a store that ends with the process; tests and trials */
    enum anchor_durability durability;
    struct log_geometry geometry; /* of a new store */
    /* Looks at the control page of a former broker of this store and boot, for
     * lanes_look(); may be NULL where there is none to look at. */
    void (*look)(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains);
    void *look_context;
    /* Makes shared memory, or takes over what 'remains' and 'ahead' tell of: called
     * before the history goes on, for afterwards the log does not know 'ahead' any
     * more. 'startup' is as startup_open() will return it, but for the log, which is
     * not yet written to. The sentence on failure is the hook's own to give. May be
     * NULL where there is none. */
    enum es_status (*take_over)(void *context, const struct startup *startup);
    void *take_over_context;
};

/* A store that may be written, and where its history stands. */
struct startup {
    struct data_directory directory;
    struct store *store;
    struct log *log;
    struct anchor *anchor;
    struct heads *heads;
    struct anchor_state state; /* what the anchor holds now */
    struct history_point end;
    struct lanes_remains remains; /* is_usable: lanes_take_over() with 'ahead' */
    struct es_last ahead;
    uint64_t replayed_batches;
    uint8_t boot_id[ANCHOR_BOOT_ID_BYTES];
};

/*
 * Opens the store of options->data_path, or makes it. 'why' gets a sentence with
 * the way out on failure.
 *
 * ES_E_BUSY: another broker has it. ES_E_CORRUPT: damage, or a history shorter
 * than a witness tells; nothing was changed. ES_E_VERSION: written by a newer
 * program. ES_NO_SPACE, ES_E_PERMISSION, ES_E_IO, ES_E_NO_MEMORY: as they say.
 */
ES_MUST_USE enum es_status startup_open(const struct startup_options *options,
                                        struct counters *counters, struct startup *ret_startup,
                                        char why[DATA_WHY_BYTES]);

/* Closes everything as it is: a clean end is the caller's (broker.c). */
void startup_close(struct startup *startup);

#endif
