/*
 * A commit log over a simulated disk, for tests: batches whose bodies and store
 * hashes follow from their numbers, so that a replay can be checked without
 * keeping what was written.
 */
#ifndef TESTS_SUPPORT_LOG_FIXTURE_H
#define TESTS_SUPPORT_LOG_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/log.h"
#include "tests/support/sim_disk.h"

enum {
    FIXTURE_SEGMENT_BYTES = 64 * 1024,
    FIXTURE_SEGMENT_COUNT = 3,
    FIXTURE_EPOCH = 77,
    FIXTURE_BATCHES_MAX = 16384
};

struct log_fixture {
    struct disk *disk;
    struct log *log;
    uint64_t last_batch; /* appended, or found by the last replay */
    uint8_t body[FIXTURE_SEGMENT_BYTES];
    struct iovec part;
    uint32_t sizes[FIXTURE_BATCHES_MAX]; /* of the body last appended under each number */
};

/* The state after a batch: what a store hash is in these tests. */
struct log_point fixture_point(uint64_t batch_number);

/* Makes the log's files on 'disk', which the fixture then owns. */
void log_fixture_init(struct log_fixture *fixture, struct disk *disk);
void log_fixture_deinit(struct log_fixture *fixture);

/* Of cmocka: '*state' is a fixture on a simulated disk, ready to append. */
int log_fixture_set_up(void **state);
int log_fixture_tear_down(void **state);

/* Closes the log without a word to the disk: the process is gone. */
void log_fixture_die(struct log_fixture *fixture);

/* log_open() and log_replay(); every visited record is checked. */
enum es_status log_fixture_replay(struct log_fixture *fixture, uint64_t durable_floor,
                                  struct log_ending *ret_ending);

/* The same, expected to end well, then log_begin(): ready to append. */
void log_fixture_start(struct log_fixture *fixture);

/* Appends the next batch with a body of 'size' bytes. */
enum es_status log_fixture_append(struct log_fixture *fixture, size_t size, bool *ret_begun);

/* Appends, syncs, and marks all before as flushed whenever a segment begins. */
void log_fixture_commit(struct log_fixture *fixture, size_t size);

/* Offset of the record of 'batch_number' in a file, 0 if it is not there. */
size_t log_fixture_find(struct log_fixture *fixture, const char *name, uint64_t batch_number);

/* Makes the first header slot of a page one of the next format, and sound. */
void fixture_make_newer(uint8_t *page);

/* The bytes of a file, to be damaged. */
uint8_t *log_fixture_bytes(struct log_fixture *fixture, const char *name);

/* The file that holds the record of 'batch_number', and where; the start file is segment-01. */
const char *log_fixture_file_with(struct log_fixture *fixture, uint64_t batch_number,
                                  size_t *ret_offset);

/* Replays with 'durable_floor' and closes the log again. */
struct log_ending log_fixture_judge(struct log_fixture *fixture, uint64_t durable_floor);

/* 'count' commits of 'size' bytes. */
void log_fixture_commit_some(struct log_fixture *fixture, int count, size_t size);

#endif
