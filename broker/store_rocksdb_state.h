/*
 * The inside of a RocksDB store, shared by store_rocksdb.c (opening),
 * store_rocksdb_write.c and store_rocksdb_read.c, and by nobody else.
 */
#ifndef BROKER_STORE_ROCKSDB_STATE_H
#define BROKER_STORE_ROCKSDB_STATE_H

#include <stdbool.h>

#include "broker/store_backend.h"

struct store_growth;

enum {
    ROCKS_PATH_BYTES = 4096
};

struct rocks_store {
    struct store store;
    char directory[ROCKS_PATH_BYTES]; /* that RocksDB was opened on */
    char stand_in[ROCKS_PATH_BYTES];  /* store_rocksdb_books.h; "": none */
    struct rocksdb_t *db;
    struct rocksdb_column_family_handle_t *families[STORE_FAMILY_COUNT];
    struct rocksdb_env_t *env;
    struct rocksdb_cache_t *cache;
    struct rocksdb_readoptions_t *read_latest;
    struct rocksdb_readoptions_t *read_stream; /* iterators that stay in one stream */
    struct rocksdb_writeoptions_t *write_without_wal;
    struct rocksdb_flushoptions_t *flush_without_wait;
    struct rocksdb_writebatch_t *writes; /* the applying thread's, used again and again */
    struct store_growth *growth;
    bool read_only;
    bool flushing; /* under store.why_lock: from flush_begin to flush_wait */
};

struct rocks_store *store_rocks_of(const struct store *store);

/* What RocksDB's message means: NULL is ES_OK; another is kept for store_why() and freed. */
enum es_status store_rocks_status(struct rocks_store *rocks, char *message);

/* store_rocksdb_write.c */
enum es_status store_rocks_apply(struct store *store, const struct store_batch *batch,
                                 enum store_apply_mode mode);
enum es_status store_rocks_begin_merging(struct store *store);
enum es_status store_rocks_check_replay(struct store *store, const struct store_batch *batch);
enum es_status store_rocks_flush_begin(struct store *store);
enum es_status store_rocks_flush_wait(struct store *store);
enum es_status store_rocks_checkpoint(struct store *store, const char *directory);
uint64_t store_rocks_memory_bytes(const struct store *store);

/* store_rocksdb_read.c */
/*
 * New read options, the caller's. There are no range deletions here, and RocksDB must not
 * look for any: while it does, its iterators go forwards over a damaged block at the
 * beginning of a file without a word (to 8.6: facebook/rocksdb#11782).
 */
struct rocksdb_readoptions_t *store_rocks_read_options(void);

enum es_status store_rocks_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot);
void store_rocks_snapshot_free(struct store *store, struct store_snapshot *snapshot);
enum es_status store_rocks_get_many(struct store *store, const struct store_snapshot *snapshot,
                                    enum store_family family, const struct store_slice *keys,
                                    size_t key_count, store_visit_fn visit, void *context);
enum es_status store_rocks_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                        enum store_family family, const struct store_range *range,
                                        struct store_iterator **ret_iterator);

#endif
