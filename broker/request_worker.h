/*
 * What the families of requests share; nobody else includes it. A handler
 * answers one decoded request: ES_OK with a reply, or a status, which the worker
 * makes a refusal with request_say()'s words.
 *
 *   requests.c            workers, the table of verbs
 *   request_reply.c       buffers, pages, words
 *   requests_append.c     appends, and what else goes through the inbox
 *   requests_read.c       events by stream, position and key; heads, streams
 *   requests_snapshot.c   snapshots
 *   requests_kv.c         keys and values
 *   requests_producer.c   named producers
 *   requests_admin.c      status, verify
 *   requests_hello.c      hello, receipts and checkpoints
 *   requests_backup.c     backups
 */
#ifndef BROKER_REQUEST_WORKER_H
#define BROKER_REQUEST_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "broker/limits.h"
#include "broker/reader.h"
#include "broker/requests.h"
#include "broker/verify.h"
#include "shm/codec/replies.h"
#include "shm/codec/transaction.h"

enum {
    REQUEST_BUFFER_BYTES = PAGE_BYTES_MAX + 16 * 1024, /* a page; more only for one item */
    REQUEST_SCRATCH_BYTES = REQUEST_BYTES_MAX + 16 * 1024,
    REQUEST_MESSAGE_BYTES = 1024
};

struct request_worker {
    struct requests *requests;
    const struct requests_config *config;
    pthread_t thread;
    bool running;
    struct transport_worker *transport;
    struct reader *reader;
    uint8_t *buffer; /* of the reply */
    size_t buffer_bytes;
    uint8_t *scratch; /* a transaction, or findings; REQUEST_SCRATCH_BYTES, made when needed */
    struct store_buffer value;
    uint32_t uid;                        /* whose request it is */
    char message[REQUEST_MESSAGE_BYTES]; /* why not */
};

struct requests {
    struct requests_config config;
    struct request_worker workers[REQUEST_WORKERS];
    pthread_mutex_t verify_mutex; /* of the one verify: it remembers what its slices have seen */
    struct verify *verify;
};

typedef enum es_status (*request_handler_fn)(struct request_worker *worker,
                                             const struct es_request *request,
                                             struct es_bytes *ret_reply);

/* ---- replies ---- */

/* Sets the message of a refusal. Returns 'status'. */
__attribute__((format(printf, 3, 4))) enum es_status request_say(struct request_worker *worker,
                                                                 enum es_status status,
                                                                 const char *format, ...);

/* The same in the reader's words, if it has any. */
enum es_status request_say_reader(struct request_worker *worker, enum es_status status);

/*
 * The same for a failure of the store itself: ES_E_CORRUPT or ES_E_IO, unless a message
 * is there already. The words are what could not be read, with its key or place.
 */
__attribute__((format(printf, 3, 4))) enum es_status request_say_unreadable(
    struct request_worker *worker, enum es_status status, const char *format, ...);

/* Makes the buffer at least 'bytes' large; what it holds is lost if it grows. */
ES_MUST_USE enum es_status request_reserve(struct request_worker *worker, size_t bytes);

/* Where the reply is consistent with. */
uint64_t request_position(const struct request_worker *worker);

/* A reply of 'rest_count' elements after the position: begin, write to 'pack', end. */
void request_reply_begin(struct request_worker *worker, struct es_pack *pack, uint32_t rest_count);
ES_MUST_USE enum es_status request_reply_end(struct request_worker *worker,
                                             const struct es_pack *pack,
                                             struct es_bytes *ret_reply);

/* A page over the worker's buffer. */
void request_page_begin(struct request_worker *worker, struct es_page *page);

/* As es_page_has_room(), but a first item always has: the buffer grows. */
bool request_page_room(struct request_worker *worker, struct es_page *page, uint64_t item_bytes);

ES_MUST_USE enum es_status request_page_end(struct request_worker *worker, struct es_page *page,
                                            uint32_t rest_count, struct es_bytes *ret_reply);

/* ---- listing a family of the store ---- */

/*
 * An iterator over the keys that begin with 'prefix', standing after 'after' (a
 * whole key; size 0: on the first). To be freed.
 */
ES_MUST_USE enum es_status request_iterate(struct request_worker *worker, enum store_family family,
                                           struct es_bytes prefix, struct es_bytes after,
                                           struct store_iterator **ret_iterator);

/* ---- through the inbox ---- */

/* The transaction is in worker->scratch. ES_OK: 'ret_result' holds the answer. */
ES_MUST_USE enum es_status request_submit(struct request_worker *worker, const void *transaction,
                                          uint32_t size, uint32_t flags, struct es_text producer,
                                          struct es_lane_result *ret_result);

/* A result as it is on the wire. */
struct es_wire_result request_wire_result(const struct es_lane_result *result);

/* A writer over worker->scratch. */
ES_MUST_USE enum es_status request_scratch(struct request_worker *worker, struct es_pack *ret_pack);

/* ---- the handlers ---- */

enum es_status request_hello(struct request_worker *, const struct es_request *, struct es_bytes *);
enum es_status request_backup(struct request_worker *, const struct es_request *,
                              struct es_bytes *);
enum es_status request_status(struct request_worker *, const struct es_request *,
                              struct es_bytes *);
enum es_status request_verify(struct request_worker *, const struct es_request *,
                              struct es_bytes *);
enum es_status request_append(struct request_worker *, const struct es_request *,
                              struct es_bytes *);
enum es_status request_read_stream(struct request_worker *, const struct es_request *,
                                   struct es_bytes *);
enum es_status request_read_all(struct request_worker *, const struct es_request *,
                                struct es_bytes *);
enum es_status request_scan(struct request_worker *, const struct es_request *, struct es_bytes *);
enum es_status request_head(struct request_worker *, const struct es_request *, struct es_bytes *);
enum es_status request_store_head(struct request_worker *, const struct es_request *,
                                  struct es_bytes *);
enum es_status request_streams(struct request_worker *, const struct es_request *,
                               struct es_bytes *);
enum es_status request_snapshot_save(struct request_worker *, const struct es_request *,
                                     struct es_bytes *);
enum es_status request_snapshot_load(struct request_worker *, const struct es_request *,
                                     struct es_bytes *);
enum es_status request_snapshot_list(struct request_worker *, const struct es_request *,
                                     struct es_bytes *);
enum es_status request_snapshot_delete(struct request_worker *, const struct es_request *,
                                       struct es_bytes *);
enum es_status request_kv_get(struct request_worker *, const struct es_request *,
                              struct es_bytes *);
enum es_status request_kv_list(struct request_worker *, const struct es_request *,
                               struct es_bytes *);
enum es_status request_producer(struct request_worker *, const struct es_request *,
                                struct es_bytes *);
enum es_status request_producers(struct request_worker *, const struct es_request *,
                                 struct es_bytes *);
enum es_status request_kv_export(struct request_worker *, const struct es_request *,
                                 struct es_bytes *);

#endif
