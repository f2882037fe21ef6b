/* A lane, one rule at a time: records, pads, credits, results, restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/support/dies_writing.h"
#include "tests/support/one_lane.h"

static void pass_one(struct one_lane *f, uint32_t size)
{
    uint64_t sequence = one_lane_publish(f, size);

    one_lane_assert_next(f, sequence, size);
    one_lane_assert_no_next(f);
    one_lane_answer(f, sequence);
    one_lane_assert_collects(f, sequence);
}

static void every_size_passes_whole(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    for (uint32_t size = 1; size <= ONE_LANE_PAYLOAD_BYTES_MAX; size++) {
        pass_one(&f, size);
    }
    one_lane_close(&f);
}

/* Every place in the arena by every length: records that end exactly at the arena's
 * end, that leave exactly 32 bytes for a pad, or 64, and those that do not fit. */
static void every_size_passes_at_every_offset(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    for (uint32_t offset = 0; offset < ONE_LANE_ARENA_BYTES; offset += ES_RECORD_ALIGNMENT) {
        for (uint32_t size = 1; size <= ONE_LANE_PAYLOAD_BYTES_MAX; size += 31) {
            uint32_t span = es_record_aligned(ES_RECORD_HEADER_BYTES + size);
            uint32_t start = offset + span <= ONE_LANE_ARENA_BYTES ? offset : 0;

            f.writer.next_offset = f.reader.next_offset = offset;
            pass_one(&f, size);
            assert_int_equal(f.writer.next_offset, (start + span) % ONE_LANE_ARENA_BYTES);
            assert_int_equal(f.reader.next_offset, f.writer.next_offset);
            pass_one(&f, 1 + size % ONE_LANE_PAYLOAD_BYTES_MAX); /* and the one behind it */
        }
    }
    one_lane_close(&f);
}

static void a_record_that_ends_with_the_arena_needs_no_pad(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 16);
    for (uint32_t i = 0; i < 8; i++) {
        one_lane_publish(&f, ONE_LANE_PAYLOAD_BYTES_MAX); /* eight of an eighth */
    }
    assert_int_equal(f.writer.next_offset, 0); /* never arena_bytes */
    assert_int_equal(f.writer.used_bytes, ONE_LANE_ARENA_BYTES);
    assert_int_equal(es_lane_claim(&f.writer, 1, &(void *){NULL}), ES_FULL);
    for (uint64_t i = 1; i <= 8; i++) {
        one_lane_assert_next(&f, i, ONE_LANE_PAYLOAD_BYTES_MAX);
    }
    assert_int_equal(f.reader.next_offset, 0);
    one_lane_assert_no_next(&f);
    one_lane_close(&f);
}

static void a_pad_of_one_header_fits_before_the_end(void **state)
{
    struct one_lane f;
    struct es_record_header pad;

    (void)state;
    one_lane_open(&f, 16);
    f.writer.next_offset = f.reader.next_offset = ONE_LANE_ARENA_BYTES - 32;
    pass_one(&f, 1); /* 64 bytes */
    memcpy(&pad, f.writer.arena + ONE_LANE_ARENA_BYTES - 32, sizeof pad);
    assert_int_equal(pad.flags, ES_RECORD_PAD);
    assert_int_equal(pad.length, 32);
    assert_int_equal(pad.sequence, 1); /* consumes none: it carries its successor's */
    assert_int_equal(f.writer.next_offset, 64);
    one_lane_close(&f);
}

/* Whatever was collected, a lane with nothing in flight takes any legal record. */
static void an_empty_lane_is_never_full(void **state)
{
    struct one_lane f;
    void *payload;

    (void)state;
    one_lane_open(&f, 1);
    for (uint32_t offset = 0; offset < ONE_LANE_ARENA_BYTES; offset += ES_RECORD_ALIGNMENT) {
        f.writer.next_offset = offset;
        for (uint32_t size = 1; size <= ONE_LANE_PAYLOAD_BYTES_MAX; size++) {
            assert_int_equal(es_lane_claim(&f.writer, size, &payload), ES_OK);
        }
    }
    one_lane_close(&f);
}

static void credits_bound_what_is_not_collected(void **state)
{
    struct one_lane f;
    void *payload;

    (void)state;
    one_lane_open(&f, 3);
    for (uint64_t i = 1; i <= 3; i++) {
        one_lane_publish(&f, 8);
    }
    assert_int_equal(es_lane_backlog(&f.reader), 3);
    assert_int_equal(es_lane_claim(&f.writer, 8, &payload), ES_FULL);
    for (uint64_t i = 1; i <= 3; i++) {
        one_lane_assert_next(&f, i, 8);
        one_lane_answer(&f, i);
    }
    assert_int_equal(es_lane_backlog(&f.reader), 0);
    /* answered is not enough: a result is not overwritten before it is collected */
    assert_int_equal(es_lane_claim(&f.writer, 8, &payload), ES_FULL);
    one_lane_assert_collects(&f, 1);
    one_lane_publish(&f, 8);
    assert_int_equal(es_lane_claim(&f.writer, 8, &payload), ES_FULL);
    one_lane_assert_collects(&f, 2);
    one_lane_assert_collects(&f, 3);
    one_lane_close(&f);
}

static void space_comes_back_by_collecting(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 64);
    for (uint32_t i = 0; i < 8; i++) {
        one_lane_publish(&f, ONE_LANE_PAYLOAD_BYTES_MAX - 100); /* spans of 416; pads at the end */
    }
    assert_int_equal(f.writer.used_bytes, 8 * 416);
    for (uint64_t i = 1; i <= 8; i++) {
        one_lane_assert_next(&f, i, ONE_LANE_PAYLOAD_BYTES_MAX - 100);
        one_lane_answer(&f, i);
    }
    for (uint64_t i = 1; i <= 8; i++) {
        one_lane_assert_collects(&f, i);
    }
    assert_int_equal(f.writer.used_bytes, 0);
    one_lane_close(&f);
}

static void a_claim_that_is_not_published_leaves_nothing(void **state)
{
    struct one_lane f;
    void *first = NULL;
    void *second = NULL;
    uint64_t sequence = 0;

    (void)state;
    one_lane_open(&f, 4);
    assert_int_equal(es_lane_publish(&f.writer, 1, 0, &sequence), ES_E_INVALID);
    assert_int_equal(es_lane_claim(&f.writer, 100, &first), ES_OK);
    memset(first, 0xff, 100);
    one_lane_assert_no_next(&f);
    assert_int_equal(es_lane_claim(&f.writer, 50, &second), ES_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(es_lane_publish(&f.writer, 51, 0, &sequence), ES_E_INVALID);
    assert_int_equal(es_lane_publish(&f.writer, 0, 0, &sequence), ES_E_INVALID);
    assert_int_equal(es_lane_publish(&f.writer, 50, ES_RECORD_PAD, &sequence), ES_E_INVALID);
    assert_int_equal(es_lane_publish(&f.writer, 50, 16, &sequence), ES_E_INVALID);
    assert_int_equal(sequence, 0);
    one_lane_assert_no_next(&f);
    one_lane_pattern(second, 20, 1); /* less than was claimed */
    assert_int_equal(es_lane_publish(&f.writer, 20, ES_RECORD_ORDERED, &sequence), ES_OK);
    one_lane_assert_next(&f, 1, 20);
    one_lane_close(&f);
}

static void sizes_out_of_bounds_are_refused(void **state)
{
    struct one_lane f;
    void *payload = NULL;

    (void)state;
    one_lane_open(&f, 4);
    assert_int_equal(es_lane_claim(&f.writer, 0, &payload), ES_E_INVALID);
    assert_int_equal(es_lane_claim(&f.writer, ONE_LANE_PAYLOAD_BYTES_MAX + 1, &payload),
                     ES_E_TOO_LARGE);
    assert_int_equal(es_lane_claim(&f.writer, UINT32_MAX, &payload), ES_E_TOO_LARGE);
    assert_null(payload);
    assert_int_equal(es_lane_claim(&f.writer, ONE_LANE_PAYLOAD_BYTES_MAX, &payload), ES_OK);
    one_lane_close(&f);
}

static void a_buffer_that_is_too_small_changes_nothing(void **state)
{
    struct one_lane f;
    struct es_record record = {.sequence = 99};

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 100);
    assert_int_equal(es_lane_next(&f.reader, f.buffer, 99, &record), ES_FULL);
    assert_int_equal(record.sequence, 99);
    one_lane_assert_next(&f, 1, 100);
    one_lane_close(&f);
}

static void publish_one(void *context)
{
    (void)one_lane_publish(context, 40);
}

static void stage_and_ack(void *context)
{
    one_lane_answer(context, 1);
}

/* A producer killed while it writes has published nothing; killed at the store that
 * publishes, its record is whole. */
static void publishing_comes_after_the_whole_record(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    dies_writing(f.writer.arena, ONE_LANE_ARENA_BYTES, publish_one, &f);
    assert_int_equal(atomic_load(&f.writer.file->published), 0);
    dies_writing(f.segment.base, ES_PAGE_BYTES, publish_one, &f);
    one_lane_assert_no_next(&f);
    atomic_store(&f.writer.file->published, 1); /* as that store would have left it */
    one_lane_assert_next(&f, 1, 40);
    one_lane_close(&f);
}

/* And the same the other way: an ack stands for a result that is there. */
static void acking_comes_after_the_whole_result(void **state)
{
    struct one_lane f;
    struct es_lane_result result;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 40);
    one_lane_assert_next(&f, 1, 40);
    dies_writing(f.writer.results, ES_PAGE_BYTES, stage_and_ack, &f);
    assert_int_equal(es_lane_acked(&f.writer), 0);
    dies_writing(f.segment.base, ES_PAGE_BYTES, stage_and_ack, &f);
    assert_int_equal(es_lane_collect(&f.writer, &result), ES_EMPTY);
    atomic_store(&f.writer.file->acked, 1);
    one_lane_assert_collects(&f, 1);
    one_lane_close(&f);
}

static void a_result_counts_only_once_it_is_acked(void **state)
{
    struct one_lane f;
    struct es_lane_result result = {.sequence = 1, .position = 10};
    struct es_lane_result collected = {.sequence = 99};

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    one_lane_assert_next(&f, 1, 1);
    es_lane_stage(&f.reader, &result);
    assert_int_equal(es_lane_acked(&f.writer), 0);
    assert_int_equal(es_lane_collect(&f.writer, &collected), ES_EMPTY);
    assert_int_equal(collected.sequence, 99);
    es_lane_ack(&f.reader, 1);
    assert_int_equal(es_lane_acked(&f.writer), 1);
    assert_int_equal(es_lane_collect(&f.writer, &collected), ES_OK);
    assert_int_equal(collected.position, 10);
    assert_int_equal(es_lane_collect(&f.writer, &collected), ES_EMPTY);
    one_lane_close(&f);
}

static void a_result_without_its_tag_is_damage(void **state)
{
    struct one_lane f;
    struct es_lane_result result;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    one_lane_assert_next(&f, 1, 1);
    es_lane_ack(&f.reader, 1); /* nothing was staged */
    assert_int_equal(es_lane_collect(&f.writer, &result), ES_E_CORRUPT);
    one_lane_close(&f);
}

static void an_impossible_acked_is_ignored(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    one_lane_publish(&f, 1);
    atomic_store(&f.writer.file->acked, 3);
    assert_int_equal(es_lane_acked(&f.writer), 0);
    atomic_store(&f.writer.file->acked, UINT64_MAX);
    assert_int_equal(es_lane_acked(&f.writer), 0);
    atomic_store(&f.writer.file->acked, 2);
    assert_int_equal(es_lane_acked(&f.writer), 2);
    one_lane_close(&f);
}

/* ---- restart, close, attach ---------------------------------------------- */

/* A new broker is told the durable last sequence and the offset behind it. What was
 * taken after that is delivered again, what was staged before it counts. */
static void a_new_broker_goes_on_where_the_old_one_was_durable(void **state)
{
    struct one_lane f;
    uint32_t offset;

    (void)state;
    one_lane_open(&f, 8);
    for (uint64_t i = 1; i <= 5; i++) {
        one_lane_publish(&f, 40);
    }
    one_lane_assert_next(&f, 1, 40);
    one_lane_assert_next(&f, 2, 40);
    offset = f.reader.next_offset;
    for (uint64_t i = 1; i <= 2; i++) {
        struct es_lane_result result = {.sequence = i, .position = i * 10, .hash = {1, 2, 3}};

        es_lane_stage(&f.reader, &result); /* staged, logged; killed before the ack */
    }
    one_lane_assert_next(&f, 3, 40);

    one_lane_attach_reader(&f, 2, offset, ES_OK);
    assert_int_equal(es_lane_acked(&f.writer), 2);
    one_lane_assert_collects(&f, 1);
    one_lane_assert_collects(&f, 2);
    for (uint64_t i = 3; i <= 5; i++) {
        one_lane_assert_next(&f, i, 40);
    }
    one_lane_assert_no_next(&f);
    one_lane_close(&f);
}

static void a_reader_refuses_a_lane_that_cannot_be_as_told(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    for (uint64_t i = 1; i <= 3; i++) {
        one_lane_publish(&f, 1);
    }
    one_lane_attach_reader(&f, 0, ONE_LANE_ARENA_BYTES, ES_E_CORRUPT);
    one_lane_attach_reader(&f, 0, UINT32_MAX, ES_E_CORRUPT);
    one_lane_attach_reader(&f, 0, 16, ES_E_CORRUPT);
    one_lane_attach_reader(&f, 4, 0, ES_E_CORRUPT); /* more durable than was ever published */
    atomic_store(&f.writer.file->published, 5);
    one_lane_attach_reader(&f, 0, 0, ES_E_CORRUPT); /* more in flight than there are credits */
    atomic_store(&f.writer.file->published, 4);
    one_lane_attach_reader(&f, 0, 0, ES_OK);
    one_lane_close(&f);
}

static void another_lane_or_size_or_layout_is_not_attached_to(void **state)
{
    struct one_lane f;
    struct es_lane_writer writer = {.spin_count = 77};
    struct es_segment cut;

    (void)state;
    one_lane_open(&f, 4);
    cut = f.segment;
    cut.size -= ES_PAGE_BYTES;
    assert_int_equal(
        es_lane_writer_attach(&writer, &cut, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 4),
        ES_E_CORRUPT);
    assert_int_equal(es_lane_writer_attach(&writer, &f.segment, 1, ONE_LANE_ARENA_BYTES, 4),
                     ES_E_CORRUPT);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 5),
        ES_E_CORRUPT); /* the same number of pages */
    assert_int_equal(es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, 0, 4),
                     ES_E_CORRUPT);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 0),
        ES_E_CORRUPT);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 257),
        ES_E_CORRUPT);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 4),
        ES_OK);
    one_lane_publish(&f, 1);
    writer.spin_count = 77;
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 4),
        ES_E_CORRUPT); /* used before */
    atomic_store(&f.writer.file->layout_id, 1);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 4),
        ES_E_VERSION);
    atomic_store(&f.writer.file->magic, 1);
    assert_int_equal(
        es_lane_writer_attach(&writer, &f.segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, 4),
        ES_E_CORRUPT);
    one_lane_attach_reader(&f, 0, 0, ES_E_CORRUPT);
    assert_int_equal(writer.spin_count, 77);
    one_lane_close(&f);
}

static void closing_is_seen_after_everything_published(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 5);
    assert_false(es_lane_is_closed(&f.reader));
    es_lane_close(&f.writer);
    assert_true(es_lane_is_closed(&f.reader));
    assert_int_equal(es_lane_backlog(&f.reader), 1); /* still to be drained */
    one_lane_assert_next(&f, 1, 5);
    assert_int_equal(es_lane_backlog(&f.reader), 0);
    one_lane_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_passes_whole),
        cmocka_unit_test(every_size_passes_at_every_offset),
        cmocka_unit_test(a_record_that_ends_with_the_arena_needs_no_pad),
        cmocka_unit_test(a_pad_of_one_header_fits_before_the_end),
        cmocka_unit_test(an_empty_lane_is_never_full),
        cmocka_unit_test(credits_bound_what_is_not_collected),
        cmocka_unit_test(space_comes_back_by_collecting),
        cmocka_unit_test(a_claim_that_is_not_published_leaves_nothing),
        cmocka_unit_test(sizes_out_of_bounds_are_refused),
        cmocka_unit_test(a_buffer_that_is_too_small_changes_nothing),
        cmocka_unit_test(publishing_comes_after_the_whole_record),
        cmocka_unit_test(acking_comes_after_the_whole_result),
        cmocka_unit_test(a_result_counts_only_once_it_is_acked),
        cmocka_unit_test(a_result_without_its_tag_is_damage),
        cmocka_unit_test(an_impossible_acked_is_ignored),
        cmocka_unit_test(a_new_broker_goes_on_where_the_old_one_was_durable),
        cmocka_unit_test(a_reader_refuses_a_lane_that_cannot_be_as_told),
        cmocka_unit_test(another_lane_or_size_or_layout_is_not_attached_to),
        cmocka_unit_test(closing_is_seen_after_everything_published),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
