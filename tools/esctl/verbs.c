/* The table of verbs: a new verb is a file of its own and a line here. */
#include "tools/esctl/esctl.h"

static const struct verb snapshot_verbs[] = {
    {"save", "keep a state, bound to an event of its stream", verb_snapshot_save, NULL},
    {"show", "the newest valid snapshot at or before a tick", verb_snapshot_show, NULL},
    {"list", "the snapshots of one stream or of many", verb_snapshot_list, NULL},
    {"delete", "remove snapshots of a stream", verb_snapshot_delete, NULL},
    {0},
};

static const struct verb kv_verbs[] = {
    {"put", "set a key, also only where its revision is the expected one", verb_kv_put, NULL},
    {"get", "print the value of a key", verb_kv_get, NULL},
    {"delete", "remove a key", verb_kv_delete, NULL},
    {"list", "the keys of a namespace with their values", verb_kv_list, NULL},
    {0},
};

const struct verb verb_table[] = {
    {"append", "append one event to a stream", verb_append, NULL},
    {"import", "append events and keys from NDJSON lines", verb_import, NULL},
    {"export", "write events and keys as NDJSON lines", verb_export, NULL},
    {"read", "read a stream, or the whole store", verb_read, NULL},
    {"tail", "follow what is committed, as it happens", verb_tail, NULL},
    {"head", "the last event of a stream, or of the store", verb_head, NULL},
    {"streams", "list streams with their last sequence", verb_streams, NULL},
    {"producer", "a named producer: last number, owner, receipts", verb_producer, NULL},
    {"producers", "list the named producers with their last number", verb_producers, NULL},
    {"snapshot", "save, show, list or delete snapshots", NULL, snapshot_verbs},
    {"kv", "put, get, delete or list keys and their values", NULL, kv_verbs},
    {"verify", "recompute every hash, chain, position and commit record", verb_verify, NULL},
    {"backup", "copy the running store into a new directory", verb_backup, NULL},
    {"restore", "make a new store from a backup", verb_restore, NULL},
    {"recover", "go on with what is left of a damaged store", verb_recover, NULL},
    {"status", "counters and settings of the broker", verb_status, NULL},
    {"inspect", "print the shared memory of a living or dead broker", verb_inspect, NULL},
    {0},
};
