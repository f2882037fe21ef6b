/*
 * The read-only half of the start: is what lies in the data directory one whole
 * history? startup.c acts on the answer; `esctl verify --data` asks it too.
 *
 * Threads. One.
 */
#ifndef BROKER_STARTUP_CHECK_H
#define BROKER_STARTUP_CHECK_H

#include "broker/startup.h"

/* What was found. */
struct startup_finding {
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    struct anchor_state anchor;
    struct history_point flushed; /* the store holds everything up to it */
    struct history_point end;     /* the history ends here, the log's records included */
    struct log_ending ending;
    uint32_t records_crc32c; /* startup_note_record() of all records, in order */
};

/*
 * Records are checked, and applied, so many bytes of keys and values at a time: of a head
 * that they write again and again only the last is left, and events come in the order of
 * their keys.
 */
enum {
    STARTUP_GROUP_BYTES = 4 * 1024 * 1024
};

/* Goes on with a checksum of records: those that are applied shall be those that were checked. */
uint32_t startup_note_record(uint32_t records_crc32c, const struct log_record *record);

/* The history point of the batch that the log calls flushed, found in the store
 * by its store hash. ES_E_CORRUPT: the store does not hold it. */
ES_MUST_USE enum es_status startup_find_flushed(struct store *store,
                                                const struct log_origin *origin,
                                                struct history_point *ret_point,
                                                char why[DATA_WHY_BYTES]);

/*
 * Looks at log, store and anchor, all opened read-only, and at what is left of
 * the control page. 'options->look' is called once the store's id is known.
 * Statuses and 'why' as of startup_open().
 */
ES_MUST_USE enum es_status startup_check(struct data_directory *directory,
                                         const struct startup_options *options,
                                         const uint8_t *boot_id, struct counters *counters,
                                         struct lanes_remains *ret_remains,
                                         struct startup_finding *ret_finding,
                                         char why[DATA_WHY_BYTES]);

/* What whoever is refused does next. */
#define STARTUP_RESTORE_HINT                                                         \
    "if this is a plain copy of a store that was in use, make one with `esctl "      \
    "backup`; else `esctl recover --data` tells what is lost, and docs/recovery.md " \
    "what to do; nothing was changed"

/* Fills in 'why' and returns 'status'. */
__attribute__((format(printf, 3, 4))) enum es_status startup_explain(char why[DATA_WHY_BYTES],
                                                                     enum es_status status,
                                                                     const char *format, ...);

#endif
