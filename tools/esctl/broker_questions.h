/*
 * Questions that only esctl asks, and that the public library therefore does not
 * have: all keys of family kv (verb 17), a verification (16), a backup (20). They go
 * through the library's own question.h; docs/protocol.md describes them.
 *
 * Texts end with a zero and last, as the bytes do, until the callback returns.
 * Statuses are those of es_keys(); the error text is the connection's. One thread.
 */
#ifndef ESCTL_BROKER_QUESTIONS_H
#define ESCTL_BROKER_QUESTIONS_H

#include <eventspine.h>

/* One key; false stops the listing. */
typedef bool key_export_visitor(void *context, const char *name_space, const char *key,
                                uint64_t revision, const void *value, size_t value_bytes);

ES_MUST_USE enum es_status ask_key_export(struct es_connection *connection,
                                          key_export_visitor *visit, void *context);

/* What a verification has done so far. */
struct verification {
    uint64_t events_checked;
    uint64_t commits_checked;
    uint64_t finding_count;
};

/* Something damaged or missing. 'stream' "" and numbers 0 where they mean nothing. */
struct damage {
    uint64_t kind; /* enum es_finding_kind of shm/codec/replies.h */
    const char *stream;
    uint64_t sequence;
    uint64_t position;
    const char *message;
};

typedef void damage_visitor(void *context, const struct damage *damage);

/* After each slice; false: stop, as if interrupted. */
typedef bool verification_watcher(void *context, const struct verification *so_far);

/* Slice by slice to the end. ES_INTERRUPTED: the watcher said so. */
ES_MUST_USE enum es_status ask_verification(struct es_connection *connection, damage_visitor *found,
                                            verification_watcher *watch, void *context,
                                            struct verification *ret_result);

/* A backup of the running store into the directory 'path' (verb 20): where it ends.
 * ES_E_EXISTS, ES_E_PERMISSION, ES_E_BUSY, ES_NO_SPACE: in the broker's words. */
ES_MUST_USE enum es_status ask_backup(struct es_connection *connection, const char *path,
                                      struct es_store_head *ret_head);

#endif
