#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader_state.h"
#include "shm/codec/store_key.h"

/* Flattens the runs of all transactions; the texts point into commit->bytes. */
static enum es_status load_runs(struct reader_commit *commit, const struct es_commit_view *view)
{
    struct es_commit_transaction transaction;
    struct es_commit_run run;
    struct es_commit_walk walk;
    uint64_t position = 0;

    if (view->run_count > commit->run_capacity) {
        struct reader_run *runs = realloc(commit->runs, view->run_count * sizeof *runs);

        if (runs == NULL) {
            return ES_E_NO_MEMORY;
        }
        commit->runs = runs;
        commit->run_capacity = view->run_count;
    }
    commit->run_count = 0;
    es_commit_walk_begin(view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        while (es_commit_walk_run(&walk, &run, &position)) {
            assert(commit->run_count < view->run_count);
            commit->runs[commit->run_count++] = (struct reader_run){
                .stream = run.stream,
                .first_sequence = run.first_sequence,
                .count = run.count,
                .first_position = position,
                .previous_position = run.previous_position,
            };
        }
    }
    return ES_OK;
}

/* Takes over the record that the iterator stands on, which should hold 'position'. */
static enum es_status load(struct reader *reader, uint64_t position)
{
    struct reader_commit *commit = &reader->commit;
    struct store_slice key = store_iterator_key(reader->commits);
    struct store_slice value = store_iterator_value(reader->commits);
    struct es_commit_view view;
    uint64_t last_position = 0;
    uint64_t commit_number = 0;
    enum es_status status = ES_OK;

    commit->loaded = false;
    commit->under_iterator = true;
    if (value.size > commit->bytes.capacity) {
        uint8_t *bytes = realloc(commit->bytes.bytes, value.size);

        if (bytes == NULL) {
            return ES_E_NO_MEMORY;
        }
        commit->bytes.bytes = bytes;
        commit->bytes.capacity = value.size;
    }
    memcpy(commit->bytes.bytes, value.bytes, value.size);
    commit->bytes.size = value.size;
    if (es_key_commit_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &last_position,
                            &commit_number) != ES_OK ||
        es_commit_decode(commit->bytes.bytes, commit->bytes.size, &view) != ES_OK ||
        es_commit_verify_hash(&view) != ES_OK || view.commit_number != commit_number ||
        es_commit_last_position(&view) != last_position) {
        return reader_damage(reader, "the commit record that holds position %" PRIu64 " is damaged",
                             position);
    }
    if (position < view.first_position || position > last_position) {
        return reader_damage(reader, "no commit record holds position %" PRIu64, position);
    }
    commit->commit_number = commit_number;
    commit->first_position = view.first_position;
    commit->last_position = last_position;
    commit->time_us = view.time_us;
    status = load_runs(commit, &view);
    commit->loaded = status == ES_OK;
    return status;
}

/* True if the entry under the iterator ends before 'position'. */
static bool ends_before(const struct store_iterator *commits, uint64_t position)
{
    struct store_slice key = store_iterator_key(commits);
    uint64_t last_position = 0;
    uint64_t commit_number = 0;

    return es_key_commit_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &last_position,
                               &commit_number) == ES_OK &&
           last_position < position;
}

/* Puts the iterator on the first record that ends at or after 'position'. */
static void seek(struct reader *reader, uint64_t position)
{
    struct es_key key;

    if (reader->commit.under_iterator && reader->commit.loaded &&
        position == reader->commit.last_position + 1) {
        do { /* reading on: the next record, but for those of keys only */
            store_iterator_next(reader->commits);
        } while (store_iterator_valid(reader->commits) && ends_before(reader->commits, position));
        return;
    }
    es_key_commit_seek(position, &key);
    store_iterator_seek(reader->commits, (struct store_slice){key.bytes, key.size});
}

enum es_status reader_commit_at(struct reader *reader, uint64_t position)
{
    struct reader_commit *commit = &reader->commit;
    enum es_status status = ES_OK;

    assert(position >= 1);
    assert(position <= reader->head.position);
    if (commit->loaded && position >= commit->first_position && position <= commit->last_position) {
        return ES_OK;
    }
    status = reader_iterator(reader, STORE_COMMITS, &reader->commits);
    if (status != ES_OK) {
        return status;
    }
    seek(reader, position);
    if (store_iterator_valid(reader->commits)) {
        return load(reader, position);
    }
    commit->under_iterator = false;
    status = store_iterator_status(reader->commits);
    if (status == ES_OK || status == ES_E_CORRUPT) {
        status = reader_damage(reader, "the commit record that holds position %" PRIu64 " is %s",
                               position, status == ES_OK ? "missing" : "unreadable");
    }
    return reader_unreadable(reader, status, "the commit record that holds position %" PRIu64,
                             position);
}

const struct reader_run *reader_run_at(const struct reader *reader, uint64_t position)
{
    const struct reader_run *runs = reader->commit.runs;
    uint32_t low = 0;
    uint32_t high = reader->commit.run_count;

    assert(position >= reader->commit.first_position);
    assert(position <= reader->commit.last_position);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (runs[middle].first_position <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &runs[low];
}
