#include "broker/store_rocksdb_settings.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPTIONS_FILE_BYTES_MAX = 256 * 1024,
    LINE_BYTES = 256
};

struct setting {
    const char *name;
    const char *value; /* as RocksDB writes it into its OPTIONS file */
};

static const struct setting database_settings[] = {
    /* Fail-stop: no write after an error, and none that resumes by itself. */
    {"paranoid_checks", "true"},
    {"max_bgerror_resume_count", "0"},
    /* The commit log is the WAL: a family is flushed when store_flush_begin() says so. */
    {"avoid_flush_during_shutdown", "true"},
    {"atomic_flush", "false"},
    {"db_write_buffer_size", "0"},
    {"max_total_wal_size", "0"},
    /* One applying thread beats RocksDB's own grouping. */
    {"allow_concurrent_memtable_write", "false"},
    {"enable_write_thread_adaptive_yield", "false"},
    {"enable_pipelined_write", "false"},
    {"unordered_write", "false"},
    /* Background work in small steps, so that it does not stall the log's fdatasync. */
    {"max_background_jobs", "2"},
    {"max_subcompactions", "1"},
    {"bytes_per_sync", "1048576"},
    {"avoid_unnecessary_blocking_io", "true"}, /* files are deleted by RocksDB's own threads */
    {"max_open_files", "512"},
    {"max_file_opening_threads", "2"}, /* 16 would begin for each family, twice in a start */
    {"skip_stats_update_on_db_open", "true"},
    {"stats_dump_period_sec", "0"},
    {"stats_persist_period_sec", "0"},
    {"max_log_file_size", "1048576"},
    {"keep_log_file_num", "4"},
    {"max_manifest_file_size", "16777216"},
    {"info_log_level", "WARN_LEVEL"},
};

static const struct setting family_settings[] = {
    {"max_write_buffer_number", "8"},
    {"min_write_buffer_number_to_merge", "1"},
    {"arena_block_size", "262144"},
    {"memtable_insert_with_hint_prefix_extractor", "nullptr"},
    {"force_consistency_checks", "true"},
    {"disable_auto_compactions", "true"}, /* until store_begin_merging() */
    {"level0_file_num_compaction_trigger", "4"},
    {"level0_slowdown_writes_trigger", "64"}, /* merging runs at a low priority: it may lag */
    {"level0_stop_writes_trigger", "128"},
    {"target_file_size_base", "16777216"},
    {"max_bytes_for_level_base", "268435456"},
    {"compression", "kLZ4Compression"},
    {"ttl", "0"}, /* old events stay where they are: rewriting them each month helps nobody */
};

static const struct setting table_settings[] = {
    {"checksum", "kXXH3"},
    {"format_version", "5"},
    {"block_size", "8192"},
    {"filter_policy", "bloomfilter"},
    {"whole_key_filtering", "true"},
    {"no_block_cache", "false"},
    {"cache_index_and_filter_blocks", "true"},
    {"pin_l0_filter_and_index_blocks_in_cache", "true"},
};

static_assert(SETTINGS_BLOCK_BYTES == 8192 && SETTINGS_TABLE_FORMAT == 5, "as in table_settings");

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void join(const struct setting *settings, size_t count, char string[SETTINGS_STRING_BYTES])
{
    size_t used = strlen(string);

    for (size_t i = 0; i < count; i++) {
        int added = snprintf(string + used, SETTINGS_STRING_BYTES - used, "%s=%s;",
                             settings[i].name, settings[i].value);

        assert(added > 0);
        used += (size_t)added;
        assert(used < SETTINGS_STRING_BYTES);
    }
}

void store_settings_database(char ret_string[SETTINGS_STRING_BYTES])
{
    ret_string[0] = '\0';
    join(database_settings, COUNT(database_settings), ret_string);
}

/* So large that a family never flushes by itself: what is unflushed is bounded by the log. */
static void write_buffer_value(uint64_t unflushed_bytes_max, char ret_value[LINE_BYTES])
{
    uint64_t bytes = 4 * unflushed_bytes_max;

    snprintf(ret_value, LINE_BYTES, "%" PRIu64, bytes < 64U << 20 ? 64U << 20 : bytes);
}

void store_settings_family(enum store_family family, uint64_t unflushed_bytes_max,
                           char ret_string[SETTINGS_STRING_BYTES])
{
    char value[LINE_BYTES];
    struct setting write_buffer = {"write_buffer_size", value};

    assert(family < STORE_FAMILY_COUNT);
    ret_string[0] = '\0';
    write_buffer_value(unflushed_bytes_max, value);
    join(&write_buffer, 1, ret_string);
    join(family_settings, COUNT(family_settings), ret_string);
}

/* ---- The OPTIONS file ------------------------------------------------------- */

/* The name of the newest "OPTIONS-<number>"; false: there is none. */
static bool find_newest(const char *directory, char ret_name[LINE_BYTES])
{
    uint64_t newest = 0;
    struct dirent *entry = NULL;
    DIR *listing = opendir(directory);

    if (listing == NULL) {
        return false;
    }
    for (;;) {
        uint64_t number = 0;

        errno = 0;
        entry = readdir(listing);
        if (entry == NULL) {
            newest = errno == 0 ? newest : 0; /* what cannot be listed may be newer */
            break;
        }
        if (sscanf(entry->d_name, "OPTIONS-%" SCNu64, &number) == 1 && number > newest &&
            strstr(entry->d_name, "dbtmp") == NULL) {
            newest = number;
            snprintf(ret_name, LINE_BYTES, "%s", entry->d_name);
        }
    }
    closedir(listing);
    return newest != 0;
}

/* The whole newest OPTIONS file as a string to be freed; NULL: it cannot be read. */
static char *read_newest(const char *directory)
{
    char name[LINE_BYTES];
    size_t used = 0;
    char *text = NULL;
    int at = -1;
    int file = -1;

    if (!find_newest(directory, name)) {
        return NULL;
    }
    at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    file = at < 0 ? -1 : openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    text = file < 0 ? NULL : calloc(1, OPTIONS_FILE_BYTES_MAX + 1);
    while (text != NULL && used < OPTIONS_FILE_BYTES_MAX) {
        ssize_t done = read(file, text + used, OPTIONS_FILE_BYTES_MAX - used);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) { /* half a file would be taken for other settings */
            free(text);
            text = NULL;
        }
        if (done <= 0) {
            break;
        }
        used += (size_t)done;
    }
    if (file >= 0) {
        close(file);
    }
    if (at >= 0) {
        close(at);
    }
    return text;
}

/* True if the section that begins with 'heading' has the line "  name=value". */
static bool is_set(const char *text, const char *heading, const struct setting *setting)
{
    char line[LINE_BYTES];
    const char *section = strstr(text, heading);
    const char *end = section == NULL ? NULL : strstr(section, "\n[");
    const char *found = NULL;

    snprintf(line, sizeof line, "\n  %s=%s\n", setting->name, setting->value);
    found = section == NULL ? NULL : strstr(section, line);
    return found != NULL && (end == NULL || found < end);
}

static enum es_status verify(const char *text, const char *heading, const struct setting *settings,
                             size_t count, char why[STORE_WHY_BYTES])
{
    for (size_t i = 0; i < count; i++) {
        if (!is_set(text, heading, &settings[i])) {
            snprintf(why, STORE_WHY_BYTES, "RocksDB does not follow %s=%s in %s", settings[i].name,
                     settings[i].value, heading);
            return ES_E_VERSION;
        }
    }
    return ES_OK;
}

static enum es_status verify_family(const char *text, enum store_family family,
                                    uint64_t unflushed_bytes_max, char why[STORE_WHY_BYTES])
{
    char value[LINE_BYTES];
    char heading[LINE_BYTES];
    struct setting write_buffer = {"write_buffer_size", value};
    enum es_status status = ES_OK;

    write_buffer_value(unflushed_bytes_max, value);
    snprintf(heading, sizeof heading, "[CFOptions \"%s\"]", store_family_name(family));
    status = verify(text, heading, &write_buffer, 1, why);
    if (status == ES_OK) {
        status = verify(text, heading, family_settings, COUNT(family_settings), why);
    }
    if (status == ES_OK) {
        snprintf(heading, sizeof heading, "[TableOptions/BlockBasedTable \"%s\"]",
                 store_family_name(family));
        status = verify(text, heading, table_settings, COUNT(table_settings), why);
    }
    return status;
}

enum es_status store_settings_verify(const char *directory, uint64_t unflushed_bytes_max,
                                     char why[STORE_WHY_BYTES])
{
    char *text = read_newest(directory);
    enum es_status status = ES_OK;

    if (text == NULL) {
        snprintf(why, STORE_WHY_BYTES, "RocksDB has left no readable OPTIONS file in %s",
                 directory);
        return ES_E_IO;
    }
    status = verify(text, "[DBOptions]", database_settings, COUNT(database_settings), why);
    for (int i = 0; i < STORE_FAMILY_COUNT && status == ES_OK; i++) {
        status = verify_family(text, (enum store_family)i, unflushed_bytes_max, why);
    }
    free(text);
    return status;
}
