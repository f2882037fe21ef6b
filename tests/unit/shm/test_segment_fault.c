/* A holder of a shared file may truncate it under the broker at any time: the broker
 * goes on, knows whose file it was, and believes nothing that it read there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/fault.h"
#include "shm/lane_reader.h"
#include "shm/lane_writer.h"
#include "tests/support/temp_directory.h"

#define INCARNATION 5
#define CREDIT_COUNT 4u
#define ARENA_BYTES ES_ARENA_BYTES_TINY

struct fixture {
    char path[TEMP_DIRECTORY_BYTES_MAX];
    int fd;
    struct es_segment lane;
    struct es_lane_writer writer;
    struct es_lane_reader reader;
    uint32_t watch;
};

static int setup(void **state)
{
    static struct fixture f;

    temp_directory_make_tmpfs(f.path);
    f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(es_segment_create(f.fd, "lane", es_lane_bytes(ARENA_BYTES, CREDIT_COUNT), 0600,
                                       ES_GROUP_NONE, &f.lane),
                     ES_OK);
    es_lane_format(&f.lane, INCARNATION, ARENA_BYTES, CREDIT_COUNT);
    assert_int_equal(
        es_lane_writer_attach(&f.writer, &f.lane, INCARNATION, ARENA_BYTES, CREDIT_COUNT), ES_OK);
    assert_int_equal(
        es_lane_reader_attach(&f.reader, &f.lane, INCARNATION, ARENA_BYTES, CREDIT_COUNT, 0, 0),
        ES_OK);
    assert_int_equal(es_fault_watch(&f.lane, &f.watch), ES_OK);
    *state = &f;
    return 0;
}

/* In each test itself: cmocka has handlers of its own there. */
static struct fixture *begin(void **state)
{
    assert_int_equal(es_fault_install(), ES_OK);
    return *state;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    es_fault_forget(f->watch);
    es_segment_unmap(&f->lane);
    (void)close(f->fd);
    temp_directory_remove(f->path);
    return 0;
}

static void publish_one(struct fixture *f)
{
    void *payload = NULL;
    uint64_t sequence = 0;

    assert_int_equal(es_lane_claim(&f->writer, 10, &payload), ES_OK);
    memset(payload, 1, 10);
    assert_int_equal(es_lane_publish(&f->writer, 10, 0, &sequence), ES_OK);
}

static void a_truncated_arena_evicts_its_lane_and_nothing_else_happens(void **state)
{
    struct fixture *f = begin(state);
    struct es_record record;
    uint8_t buffer[ARENA_BYTES / 8];

    publish_one(f);
    publish_one(f);
    assert_int_equal(es_lane_next(&f->reader, buffer, sizeof buffer, &record), ES_OK);
    assert_false(es_fault_was_hit(f->watch));
    assert_int_equal(ftruncate(f->lane.fd, ES_PAGE_BYTES), 0); /* the header page stays */
    assert_int_equal(es_lane_next(&f->reader, buffer, sizeof buffer, &record), ES_E_CORRUPT);
    assert_true(es_fault_was_hit(f->watch));
    es_lane_stage(&f->reader, &(struct es_lane_result){.sequence = 1}); /* goes nowhere */
    es_lane_ack(&f->reader, 1);
    es_lane_wake(&f->reader);
}

static void a_file_that_is_all_gone_can_still_be_asked(void **state)
{
    struct fixture *f = begin(state);
    uint8_t buffer[ARENA_BYTES / 8];
    struct es_record record;

    publish_one(f);
    assert_int_equal(ftruncate(f->lane.fd, 0), 0);
    (void)es_lane_backlog(&f->reader);
    assert_true(es_fault_was_hit(f->watch));
    assert_false(es_lane_is_closed(&f->reader));
    assert_int_equal(es_lane_next(&f->reader, buffer, sizeof buffer, &record), ES_EMPTY);
    es_lane_ack(&f->reader, 0);
    es_lane_wake(&f->reader);
}

static void every_watched_range_is_told_from_the_others(void **state)
{
    struct fixture *f = begin(state);
    struct es_segment others[3] = {ES_SEGMENT_NONE, ES_SEGMENT_NONE, ES_SEGMENT_NONE};
    uint32_t watches[3];

    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            es_segment_create(f->fd, "other", ES_PAGE_BYTES, 0600, ES_GROUP_NONE, &others[i]),
            ES_OK);
        assert_int_equal(es_fault_watch(&others[i], &watches[i]), ES_OK);
    }
    assert_int_equal(ftruncate(others[1].fd, 0), 0);
    assert_int_equal(*(volatile uint8_t *)others[1].base, 0);
    assert_false(es_fault_was_hit(watches[0]));
    assert_true(es_fault_was_hit(watches[1]));
    assert_false(es_fault_was_hit(watches[2]));
    assert_false(es_fault_was_hit(f->watch));
    for (int i = 0; i < 3; i++) {
        es_fault_forget(watches[i]);
        es_segment_unmap(&others[i]);
    }
}

static void there_is_room_for_every_lane_and_ring_and_no_more(void **state)
{
    struct fixture *f = begin(state);
    uint32_t watches[ES_FAULT_RANGE_COUNT_MAX];
    uint32_t count = 0;

    while (es_fault_watch(&f->lane, &watches[count]) == ES_OK) {
        count++;
        assert_true(count < ES_FAULT_RANGE_COUNT_MAX);
    }
    assert_int_equal(count, ES_FAULT_RANGE_COUNT_MAX - 1); /* the fixture has one */
    assert_int_equal(es_fault_watch(&f->lane, &watches[count]), ES_E_LIMIT);
    for (uint32_t i = 0; i < count; i++) {
        es_fault_forget(watches[i]);
    }
}

/* A fault of our own must not be papered over. */
static void a_fault_anywhere_else_still_kills(void **state)
{
    struct fixture *f = begin(state);
    int status = 0;
    pid_t child;

    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct es_segment mine = ES_SEGMENT_NONE;

        es_fault_forget(f->watch); /* its addresses are free here, and may be reused */
        if (es_segment_create(f->fd, "mine", ES_PAGE_BYTES, 0600, ES_GROUP_NONE, &mine) != ES_OK ||
            ftruncate(mine.fd, 0) != 0) {
            _exit(1);
        }
        _exit(*(volatile uint8_t *)mine.base);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_truncated_arena_evicts_its_lane_and_nothing_else_happens,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_all_gone_can_still_be_asked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(every_watched_range_is_told_from_the_others, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(there_is_room_for_every_lane_and_ring_and_no_more, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_fault_anywhere_else_still_kills, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
