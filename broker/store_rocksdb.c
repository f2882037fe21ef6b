/*
 * The store of store.h in RocksDB, without its WAL: the commit log in front of it
 * is what makes a batch durable (docs/adr/0002), so RocksDB writes files only
 * when it is told to flush. This file opens and closes it; store_rocksdb_write.c
 * and store_rocksdb_read.c use it. No other file includes RocksDB.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "broker/store_growth.h"
#include "broker/store_rocksdb_books.h"
#include "broker/store_rocksdb_footers.h"
#include "broker/store_rocksdb_settings.h"
#include "broker/store_rocksdb_state.h"

/* What is needed only while opening. */
struct opening {
    const struct store_rocksdb_options *asked;
    char *why; /* STORE_WHY_BYTES */
    struct rocks_store *rocks;
    rocksdb_options_t *base;
    rocksdb_options_t *database;
    rocksdb_options_t *families[STORE_FAMILY_COUNT];
};

struct rocks_store *store_rocks_of(const struct store *store)
{
    return (struct rocks_store *)store;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

enum es_status store_rocks_status(struct rocks_store *rocks, char *message)
{
    enum es_status status = ES_E_IO;

    if (message == NULL) {
        return ES_OK;
    }
    status = store_fail(&rocks->store, starts_with(message, "Corruption") ? ES_E_CORRUPT : ES_E_IO,
                        message);
    rocksdb_free(message);
    return status;
}

/* The same for a failure to open, which is told in '*why' since there is no store to ask. */
static enum es_status open_status(char *message, char *why)
{
    enum es_status status = ES_E_IO;

    if (message == NULL) {
        return ES_OK;
    }
    if (starts_with(message, "Corruption")) {
        status = ES_E_CORRUPT;
    } else if (strstr(message, "While lock file") != NULL ||
               strstr(message, "lock hold by") != NULL) {
        status = ES_E_BUSY;
    }
    snprintf(why, STORE_WHY_BYTES, "%s", message);
    rocksdb_free(message);
    return status;
}

static enum es_status refuse(char *why, enum es_status status, const char *what)
{
    snprintf(why, STORE_WHY_BYTES, "%s", what);
    return status;
}

/* ---- What is there ------------------------------------------------------------ */

struct directory {
    int error; /* 0, or why it cannot be read: that is not the same as empty */
    bool exists;
    bool has_current; /* RocksDB's file that names its MANIFEST */
    bool has_others;
};

static struct directory look_at(const char *path)
{
    struct directory found = {.exists = false};
    struct dirent *entry = NULL;
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = descriptor < 0 ? NULL : fdopendir(descriptor);

    if (listing == NULL) {
        found.error = errno == ENOENT ? 0 : errno;
        if (descriptor >= 0) {
            close(descriptor);
        }
        return found;
    }
    found.exists = true;
    for (;;) {
        errno = 0;
        entry = readdir(listing);
        if (entry == NULL) {
            found.error = errno;
            break;
        }
        if (strcmp(entry->d_name, "CURRENT") == 0) {
            found.has_current = true;
        } else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            found.has_others = true;
        }
    }
    closedir(listing);
    return found;
}

static enum es_status check_directory(const struct opening *opening)
{
    struct directory found = look_at(opening->asked->directory);

    if (found.error != 0) {
        return found.error == ENOTDIR
                   ? refuse(opening->why, ES_E_PERMISSION, "it is no directory, or a link to one")
                   : refuse(opening->why, ES_E_IO, strerror(found.error));
    }
    if (opening->asked->mode == STORE_CREATE) {
        return found.has_current || found.has_others
                   ? refuse(opening->why, ES_E_EXISTS, "the directory is not empty")
                   : ES_OK;
    }
    if (!found.exists || (!found.has_current && !found.has_others)) {
        return refuse(opening->why, ES_NOT_FOUND, "there is no store");
    }
    if (!found.has_current) {
        return refuse(opening->why, ES_E_CORRUPT, "RocksDB's file CURRENT is missing");
    }
    return ES_OK;
}

static bool is_known(const char *name)
{
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        if (strcmp(name, store_family_name((enum store_family)i)) == 0) {
            return true;
        }
    }
    return false;
}

/* An existing store has exactly the families this program knows. */
static enum es_status check_families(const struct opening *opening)
{
    size_t count = 0;
    size_t known = 0;
    char *message = NULL;
    char **names = rocksdb_list_column_families(opening->database, opening->rocks->directory,
                                                &count, &message);

    if (message != NULL) {
        enum es_status status = open_status(message, opening->why);

        rocksdb_list_column_families_destroy(names, 0); /* an array even now */
        /* A MANIFEST that is gone or unreadable is damage: CURRENT names it. */
        return status == ES_E_IO ? ES_E_CORRUPT : status;
    }
    for (size_t i = 0; i < count; i++) {
        known += is_known(names[i]) ? 1 : 0;
    }
    rocksdb_list_column_families_destroy(names, count);
    if (known < count) {
        return refuse(opening->why, ES_E_VERSION, "the store has families of a newer program");
    }
    if (known < STORE_FAMILY_COUNT) {
        return refuse(opening->why, ES_E_CORRUPT, "a family of the store is missing");
    }
    return ES_OK;
}

/* ---- Options -------------------------------------------------------------------- */

static void set_table_options(struct rocks_store *rocks, rocksdb_options_t *options)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, rocks->cache);
    rocksdb_block_based_options_set_block_size(table, SETTINGS_BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, SETTINGS_TABLE_FORMAT);
    /* The policy becomes the table options' own. */
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(SETTINGS_BLOOM_BITS));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

/*
 * The prefix of an event key is its stream. With it in the filters, a look for a
 * stream's highest sequence passes over every file that has none of its events
 * (docs/adr/0001: with a million streams it takes a third of the time).
 */
static char *stream_transform(void *state, const char *key, size_t length, size_t *ret_length)
{
    (void)state;
    *ret_length = length - STORE_SEQUENCE_BYTES;
    return (char *)(uintptr_t)key;
}

static unsigned char stream_in_domain(void *state, const char *key, size_t length)
{
    (void)state;
    (void)key;
    return length > STORE_SEQUENCE_BYTES;
}

static unsigned char stream_in_range(void *state, const char *key, size_t length)
{
    (void)state;
    (void)key;
    return length > 0;
}

static const char *stream_name(void *state)
{
    (void)state;
    return SETTINGS_PREFIX_NAME;
}

static void nothing_to_free(void *state)
{
    (void)state;
}

static enum es_status make_options(struct opening *opening)
{
    const struct store_rocksdb_options *asked = opening->asked;
    char string[SETTINGS_STRING_BYTES];
    char *message = NULL;

    opening->base = rocksdb_options_create();
    opening->database = rocksdb_options_create();
    store_settings_database(string);
    rocksdb_get_options_from_string(opening->base, string, opening->database, &message);
    for (int i = 0; i < STORE_FAMILY_COUNT && message == NULL; i++) {
        opening->families[i] = rocksdb_options_create();
        store_settings_family((enum store_family)i, asked->unflushed_bytes_max, string);
        rocksdb_get_options_from_string(opening->base, string, opening->families[i], &message);
        set_table_options(opening->rocks, opening->families[i]);
    }
    if (message != NULL) {
        return open_status(message, opening->why);
    }
    /* The transform becomes the options' own. */
    rocksdb_options_set_prefix_extractor(
        opening->families[STORE_EVENTS],
        rocksdb_slicetransform_create(NULL, nothing_to_free, stream_transform, stream_in_domain,
                                      stream_in_range, stream_name));
    rocksdb_options_set_env(opening->database, opening->rocks->env);
    rocksdb_options_set_db_log_dir(opening->database, asked->logs_directory);
    rocksdb_options_set_create_if_missing(opening->database, asked->mode == STORE_CREATE);
    rocksdb_options_set_create_missing_column_families(opening->database,
                                                       asked->mode == STORE_CREATE);
    return ES_OK;
}

static void free_options(struct opening *opening)
{
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        if (opening->families[i] != NULL) {
            rocksdb_options_destroy(opening->families[i]);
        }
    }
    if (opening->database != NULL) {
        rocksdb_options_destroy(opening->database);
    }
    if (opening->base != NULL) {
        rocksdb_options_destroy(opening->base);
    }
}

/* ---- Opening and closing ---------------------------------------------------------- */

static enum es_status open_database(struct opening *opening)
{
    const struct store_rocksdb_options *asked = opening->asked;
    struct rocks_store *rocks = opening->rocks;
    const rocksdb_options_t *options[STORE_FAMILY_COUNT];
    const char *names[STORE_FAMILY_COUNT];
    char *message = NULL;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        names[i] = store_family_name((enum store_family)i);
        options[i] = opening->families[i];
    }
    if (asked->mode == STORE_READ_ONLY) {
        rocks->db = rocksdb_open_for_read_only_column_families(opening->database, rocks->directory,
                                                               STORE_FAMILY_COUNT, names, options,
                                                               rocks->families, 0, &message);
    } else {
        rocks->db =
            rocksdb_open_column_families(opening->database, rocks->directory, STORE_FAMILY_COUNT,
                                         names, options, rocks->families, &message);
    }
    if (message != NULL) {
        rocks->db = NULL;
        return open_status(message, opening->why);
    }
    /* Read-only writes no OPTIONS file. */
    return asked->mode == STORE_READ_ONLY
               ? ES_OK
               : store_settings_verify(asked->directory, asked->unflushed_bytes_max, opening->why);
}

static void rocks_free(struct store *store)
{
    struct rocks_store *rocks = store_rocks_of(store);

    if (rocks->db != NULL) {
        rocksdb_cancel_all_background_work(rocks->db, 1);
        for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
            rocksdb_column_family_handle_destroy(rocks->families[i]);
        }
        rocksdb_close(rocks->db);
    }
    rocksdb_writebatch_destroy(rocks->writes);
    rocksdb_flushoptions_destroy(rocks->flush_without_wait);
    rocksdb_writeoptions_destroy(rocks->write_without_wal);
    rocksdb_readoptions_destroy(rocks->read_stream);
    rocksdb_readoptions_destroy(rocks->read_latest);
    rocksdb_cache_destroy(rocks->cache);
    rocksdb_env_destroy(rocks->env);
    store_growth_free(rocks->growth);
    if (rocks->stand_in[0] != '\0') {
        books_stand_in_remove(rocks->stand_in);
    }
    store_deinit(store);
    free(rocks);
}

/* Few shards: by default there would be 64, each too small for the index of one
 * file, and the indexes of a store of many files would push each other out. */
static rocksdb_cache_t *cache_new(uint64_t bytes)
{
    rocksdb_lru_cache_options_t *options = rocksdb_lru_cache_options_create();
    rocksdb_cache_t *cache = NULL;

    rocksdb_lru_cache_options_set_capacity(options, (size_t)bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(options, SETTINGS_CACHE_SHARD_BITS);
    cache = rocksdb_cache_create_lru_opts(options);
    rocksdb_lru_cache_options_destroy(options);
    return cache;
}

static enum es_status rocks_books(struct store *store, struct store_books *ret_books)
{
    enum es_status status = books_settle(store_rocks_of(store)->directory, ret_books);

    return status == ES_OK ? status
                           : store_fail(store, status, "RocksDB's MANIFEST cannot be synced");
}

static const struct store_operations rocks_operations = {
    .free = rocks_free,
    .apply = store_rocks_apply,
    .books = rocks_books,
    .begin_merging = store_rocks_begin_merging,
    .check_replay = store_rocks_check_replay,
    .flush_begin = store_rocks_flush_begin,
    .flush_wait = store_rocks_flush_wait,
    .checkpoint = store_rocks_checkpoint,
    .memory_bytes = store_rocks_memory_bytes,
    .snapshot_new = store_rocks_snapshot_new,
    .snapshot_free = store_rocks_snapshot_free,
    .get_many = store_rocks_get_many,
    .iterator_new = store_rocks_iterator_new,
};

static struct rocks_store *rocks_new(const struct store_rocksdb_options *asked)
{
    struct rocks_store *rocks = calloc(1, sizeof *rocks);
    uint64_t seed = 0;

    if (rocks == NULL) {
        return NULL;
    }
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed ||
        store_growth_new(seed, &rocks->growth) != ES_OK) {
        free(rocks);
        return NULL;
    }
    store_init(&rocks->store, &rocks_operations);
    rocks->read_only = asked->mode == STORE_READ_ONLY;
    rocks->cache =
        cache_new(asked->cache_bytes == 0 ? SETTINGS_CACHE_BYTES_DEFAULT : asked->cache_bytes);
    rocks->env = rocksdb_create_default_env();
    /* Merging files gives way to whoever commits; flushing, which the log waits for, does not. */
    rocksdb_env_lower_thread_pool_cpu_priority(rocks->env);
    rocks->read_latest = store_rocks_read_options();
    rocks->read_stream = store_rocks_read_options();
    rocksdb_readoptions_set_total_order_seek(rocks->read_stream, 0); /* files without it: skip */
    rocks->write_without_wal = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_without_wal, 1);
    rocks->flush_without_wait = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rocks->flush_without_wait, 0);
    rocks->writes = rocksdb_writebatch_create();
    return rocks;
}

/* Chooses what RocksDB is opened on, and takes away an entry that a power cut has torn. */
static enum es_status choose_directory(struct opening *opening)
{
    const struct store_rocksdb_options *asked = opening->asked;
    struct rocks_store *rocks = opening->rocks;
    struct store_books whole;
    enum es_status status = ES_OK;

    if (strlen(asked->directory) >= sizeof rocks->directory) {
        return refuse(opening->why, ES_E_TOO_LARGE, "the path is too long");
    }
    snprintf(rocks->directory, sizeof rocks->directory, "%s", asked->directory);
    if (asked->mode == STORE_CREATE || !books_are_torn(asked->directory, &asked->books, &whole)) {
        return ES_OK;
    }
    if (asked->mode == STORE_READ_WRITE) {
        status = books_cut(asked->directory, &whole);
    } else {
        status = books_stand_in(asked->directory, &whole, asked->logs_directory, rocks->stand_in,
                                sizeof rocks->stand_in);
        snprintf(rocks->directory, sizeof rocks->directory, "%s", rocks->stand_in);
    }
    return status == ES_OK ? status
                           : refuse(opening->why, status,
                                    "the end of RocksDB's MANIFEST is torn, and cannot be mended");
}

enum es_status store_rocksdb_open(const struct store_rocksdb_options *options, char *why,
                                  struct store **ret_store)
{
    struct opening opening = {.asked = options, .why = why};
    enum es_status status = check_directory(&opening);

    if (status == ES_OK && options->mode != STORE_CREATE) {
        status = footers_check(options->directory, why);
    }
    if (status != ES_OK) {
        return status;
    }
    opening.rocks = rocks_new(options);
    if (opening.rocks == NULL) {
        return refuse(why, ES_E_NO_MEMORY, "out of memory");
    }
    status = choose_directory(&opening);
    if (status == ES_OK) {
        status = make_options(&opening);
    }
    if (status == ES_OK && options->mode != STORE_CREATE) {
        status = check_families(&opening);
    }
    if (status == ES_OK) {
        status = open_database(&opening);
    }
    free_options(&opening);
    if (status != ES_OK) {
        rocks_free(&opening.rocks->store);
        return status;
    }
    *ret_store = &opening.rocks->store;
    return ES_OK;
}
