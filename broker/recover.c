#include "broker/recover.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/file_tree.h"
#include "broker/process.h"
#include "broker/recover_state.h"
#include "shm/codec/head_record.h"
#include "shm/codec/store_key.h"
#include "shm/codec/stream_key.h"

void recover_note(struct recover_finding *finding, const char *format, ...)
{
    va_list arguments;

    if (finding->note_count == RECOVER_NOTES_MAX) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(finding->notes[finding->note_count++], RECOVER_NOTE_BYTES, format, arguments);
    va_end(arguments);
}

/* What a start would say; the control page knows of positions too. */
static enum es_status ask_start(struct data_directory *directory,
                                const struct recover_options *options,
                                struct recover_finding *finding, char why[DATA_WHY_BYTES])
{
    const struct startup_options startup = {
        .data_path = options->path, .look = options->look, .look_context = options->look_context};
    uint8_t boot_id[ANCHOR_BOOT_ID_BYTES] = {0};
    struct counters counters = {0};
    struct startup_finding found;
    struct lanes_remains remains;
    enum es_status status = process_boot_id(boot_id);

    if (status != ES_OK) {
        return startup_explain(why, status, "cannot read the machine's boot id below /proc");
    }
    status =
        startup_check(directory, &startup, boot_id, &counters, &remains, &found, finding->refusal);
    if (status != ES_OK && status != ES_E_CORRUPT) { /* not damage, but something that lacks */
        return startup_explain(why, status, "%s", finding->refusal);
    }
    finding->is_refused = status != ES_OK;
    if (remains.is_witness) {
        finding->known_batch = remains.head.batch_number;
        finding->known_commit = remains.head.commit_number;
        finding->known_position = remains.head.durable_position;
    }
    return ES_OK;
}

/* Streams whose head lies behind the end, as far as heads can be read. */
static enum es_status tell_lost_streams(const struct recover_source *source,
                                        struct recover_finding *finding,
                                        const struct recover_listener *listener)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    enum es_status status =
        store_iterator_new(source->store, NULL, STORE_STREAM_META, &all, &iterator);

    if (status != ES_OK) {
        return status;
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        struct store_slice key = store_iterator_key(iterator);
        struct store_slice value = store_iterator_value(iterator);
        struct es_head_value head;
        struct es_text stream;

        if (es_key_head_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &stream) != ES_OK ||
            es_head_decode(value.bytes, value.size, &head) != ES_OK ||
            head.last_position <= finding->end.position) {
            continue;
        }
        finding->lost_stream_count++;
        if (listener != NULL && listener->lost_stream != NULL) {
            listener->lost_stream(listener->context, stream, head.last_sequence,
                                  head.last_position);
        }
    }
    store_iterator_free(iterator);
    return ES_OK;
}

static void judge(struct recover_finding *finding)
{
    if (finding->end_why[0] == '\0' && finding->is_log_damaged) {
        snprintf(finding->end_why, sizeof finding->end_why,
                 "what the commit log may have held behind it cannot be read");
    }
    finding->is_whole = finding->end_why[0] == '\0' &&
                        finding->end.position >= finding->known_position &&
                        finding->end.commit_number >= finding->known_commit;
}

static uint64_t count_keys(struct store *pending, const struct recover_listener *listener);

/* Looks, and where there is a target makes the new store of what it finds. */
static enum es_status go(struct data_directory *directory, const struct recover_options *options,
                         bool makes, struct recover_finding *finding, char why[DATA_WHY_BYTES])
{
    struct recover_source source;
    struct recover_target *target = NULL;
    struct store *pending = NULL;
    enum es_status status = recover_source_open(&source, directory, finding, why);

    if (status == ES_OK) {
        status = store_memory_new(&pending);
    }
    if (status == ES_OK && makes) {
        status = recover_target_new(&source, &target, why);
    }
    if (status == ES_OK) {
        why[0] = '\0';
        status = recover_walk(&source, finding, pending, options->listener,
                              makes ? recover_target_add : NULL, target);
        if (status != ES_OK && why[0] == '\0') {
            (void)startup_explain(why, status,
                                  "going through the commits failed after position %" PRIu64 ": %s",
                                  finding->end.position, es_status_text(status));
        }
    }
    if (status == ES_OK) {
        judge(finding);
        status = tell_lost_streams(&source, finding, options->listener);
    }
    if (status == ES_OK && finding->end.commit_number == 0 && finding->known_commit > 0) {
        status = startup_explain(
            why, ES_E_CORRUPT,
            "nothing of the history in %s can be proven%s%s: restore a backup; "
            "nothing was changed",
            directory->path, finding->end_why[0] != '\0' ? ": " : "", finding->end_why);
    }
    if (status == ES_OK && makes) {
        status = recover_target_finish(target, finding, pending, options->listener, why);
    } else if (status == ES_OK) {
        finding->lost_key_count = count_keys(pending, options->listener);
    }
    recover_target_free(target);
    store_free(pending);
    recover_source_close(&source);
    if (makes && status != ES_OK) {
        (void)!file_tree_remove(directory->fd, RECOVERED_NAME); /* it takes room, and is no use */
    }
    return status;
}

static uint64_t count_keys(struct store *pending, const struct recover_listener *listener)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t count = 0;

    if (store_iterator_new(pending, NULL, STORE_KV, &all, &iterator) != ES_OK) {
        return 0;
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        struct store_slice key = store_iterator_key(iterator);
        struct es_text name_space;
        struct es_text name;

        count++;
        if (listener != NULL && listener->lost_key != NULL &&
            es_key_kv_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &name_space, &name) ==
                ES_OK) {
            listener->lost_key(listener->context, name_space, name);
        }
    }
    store_iterator_free(iterator);
    return count;
}

/* Opened as a reader first: for a writer a directory that is not there is made. */
static enum es_status open_directory(const struct recover_options *options, bool is_writer,
                                     struct data_directory *ret_directory, char why[DATA_WHY_BYTES])
{
    enum es_status status = data_directory_open(options->path, false, ret_directory, why);

    if (status == ES_OK && is_writer) {
        data_directory_close(ret_directory);
        status = data_directory_open(options->path, true, ret_directory, why);
    }
    return status;
}

static bool holds_store(const struct data_directory *directory)
{
    return !data_directory_has(directory, DATA_CREATING_NAME) &&
           (data_directory_has(directory, DATA_ANCHOR_NAME) ||
            data_directory_has(directory, "log") || data_directory_has(directory, "rocksdb"));
}

static enum es_status run(const struct recover_options *options, bool makes,
                          struct recover_finding *finding, char why[DATA_WHY_BYTES])
{
    struct data_directory directory;
    enum es_status status = open_directory(options, makes, &directory, why);

    memset(finding, 0, sizeof *finding);
    if (status != ES_OK) {
        return status;
    }
    if (data_directory_has(&directory, DATA_RECOVERING_NAME)) {
        status = startup_explain(why, ES_E_CORRUPT,
                                 "a recovery of %s was cut short: run `esctl recover --data %s "
                                 "--accept-loss` again, which goes on where it was",
                                 options->path, options->path);
    } else if (!holds_store(&directory)) {
        status = startup_explain(why, ES_NOT_FOUND,
                                 "there is no store in %s: name its data directory", options->path);
    }
    if (status == ES_OK) {
        status = ask_start(&directory, options, finding, why);
    }
    if (status == ES_OK) {
        status = go(&directory, options, makes, finding, why);
    }
    if (status == ES_OK && makes) {
        status = recover_swap_begin(&directory, finding, options->listener, why);
    }
    data_directory_close(&directory);
    return status;
}

enum es_status recover_look(const struct recover_options *options,
                            struct recover_finding *ret_finding, char why[DATA_WHY_BYTES])
{
    return run(options, false, ret_finding, why);
}

enum es_status recover_make(const struct recover_options *options,
                            struct recover_finding *ret_finding, char why[DATA_WHY_BYTES])
{
    return run(options, true, ret_finding, why);
}

enum es_status recover_go_on(const struct recover_options *options,
                             struct recover_finding *ret_finding, char why[DATA_WHY_BYTES])
{
    struct data_directory directory;
    enum es_status status = open_directory(options, false, &directory, why);
    bool has_mark = status == ES_OK && data_directory_has(&directory, DATA_RECOVERING_NAME);

    memset(ret_finding, 0, sizeof *ret_finding);
    if (status != ES_OK) {
        return status;
    }
    data_directory_close(&directory);
    if (!has_mark) {
        return ES_EMPTY;
    }
    status = open_directory(options, true, &directory, why);
    if (status == ES_OK) {
        status = recover_swap_go_on(&directory, ret_finding, why);
        data_directory_close(&directory);
    }
    return status;
}
