/*
 * Every bound of the broker that is not a setting, in one place. A bound that
 * two processes must agree on is in shm/ instead.
 */
#ifndef BROKER_LIMITS_H
#define BROKER_LIMITS_H

#define BATCH_EVENTS_MAX 4096u       /* events of one commit */
#define BATCH_TRANSACTIONS_MAX 4096u /* ring records and requests of one commit */
#define BATCH_OPERATIONS_MAX 4096u   /* key and snapshot operations of one commit */
#define BATCH_BYTES_MAX (4u << 20)   /* envelopes and values of one commit */

#define HEADS_CACHED_MAX 65536u     /* streams whose head is kept in memory */
#define CATEGORIES_CACHED_MAX 4096u /* categories whose last position is kept */
#define PRODUCERS_CACHED_MAX 512u   /* named producers whose owner and last number are kept */

#define STATUS_WAIT_NS 250000000 /* for the commit thread; then status says what it has */

#define DESCRIPTORS_MIN 1024u /* open files; fewer would not even do for RocksDB */

#define INBOX_WAITING_MAX 1024u /* requests and calls waiting for the commit thread */

#define PAGE_BYTES_MAX (256u << 10) /* one reply, unless a single item is larger */
#define PAGE_ITEMS_MAX 65536u
#define REQUEST_BYTES_MAX (2u << 20) /* one request */
#define REQUEST_WORKERS 2u
#define MESSAGE_BYTES_MAX (64u << 10) /* one published message, at least one event */
#define PUBLISHER_QUEUE_BYTES_MAX (16u << 20)

/* A user is reckoned with while a ticket of it waits and so long after a look at its ring;
 * where there are several such users, a batch takes so much of each. */
#define SHARED_FOR_NS 100000000
#define SHARE_RECORDS_MAX 16u
#define SHARE_TICKETS_MAX 1024u
#define SHARES_OF_BYTES 4u           /* and of its bytes one in so many, */
#define SHARE_BYTES_MAX (128u << 10) /* at most these, and a record; */
#define SHARE_REST_NS 1000000        /* then nothing of it for so long; */
#define SHARE_VAIN_TURNS_MAX 16u     /* nor after so many looks in a row without a record */

#define SWEEP_INTERVAL_NS 10000000u /* a lane published but without ticket for so long is swept */
#define SWEEP_LATE_NS 100000000     /* a sweep that has waited so long goes before the rings */
#define SCRIBE_EVENTS_MIN 8u /* batches of fewer events are written by the commit thread itself */
#define COMMIT_SPIN_NS 50000 /* the commit thread looks so long before it sleeps */
#define HOUSEKEEPING_INTERVAL_NS 50000000 /* closed lanes, free space */
#define STOP_DRAIN_NS 2000000000          /* a stop commits for so long at most */
#define ANCHOR_DELAY_NS 5000000u          /* from a commit to the write of the anchor */
#define OS_SYNC_INTERVAL_NS 1000000000u   /* durability os: from a commit to the sync of the log */
#define HEARTBEAT_BUSY_NS 100000000u      /* at most so long after a commit */
#define HEARTBEAT_IDLE_NS 1000000000u     /* and so long without one */
#define HEARTBEAT_CATEGORIES_MAX 64u

#endif
