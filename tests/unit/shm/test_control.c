/* The control page: what a reader sees is whole, at whatever instruction the broker
 * stopped; and a page that is not one of ours is not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "shm/control.h"
#include "tests/support/shared_memory.h"

struct fixture {
    struct es_segment segment;
    struct es_control control;
    struct es_control_identity identity;
};

/* A head whose parts all follow from its number, so that a mixture shows. */
static struct es_control_head head_of(uint64_t number)
{
    struct es_control_head head = {
        .batch_number = number, .commit_number = number * 3, .durable_position = number * 7};

    memset(head.store_hash, (int)(number % 251), sizeof head.store_hash);
    return head;
}

static void page_open(struct fixture *f)
{
    struct es_control_head head = head_of(5);

    memset(f, 0, sizeof *f);
    f->segment = shared_memory(es_control_bytes());
    memset(f->identity.store_id, 0x11, sizeof f->identity.store_id);
    memset(f->identity.boot_id, 0x22, sizeof f->identity.boot_id);
    f->identity.ring_id = 33;
    f->identity.start_number = 44;
    f->identity.epoch = 55;
    assert_int_equal(es_geometry_make(1024, 65536, &f->identity.geometry), ES_OK);
    f->identity.transaction_bytes_max = 8000;
    f->identity.durability = ES_DURABILITY_OS;
    f->identity.broker_pid = 66;
    f->identity.broker_start_time = 77;
    es_control_format(&f->control, &f->segment, &f->identity, &head);
}

static void page_close(struct fixture *f)
{
    es_segment_unmap(&f->segment);
}

static void a_page_says_what_it_was_given(void **state)
{
    struct fixture f;
    struct es_control reader;
    struct es_control_identity identity;
    struct es_control_head expected = head_of(5);
    struct es_control_head head;

    (void)state;
    page_open(&f);
    assert_int_equal(es_control_attach(&reader, &f.segment), ES_OK);
    es_control_identity(&reader, &identity);
    assert_memory_equal(&identity, &f.identity, sizeof identity);
    assert_int_equal(es_control_state(&reader), ES_BROKER_STARTING);
    assert_int_equal(es_control_head(&reader, &head), ES_OK);
    assert_memory_equal(&head, &expected, sizeof head);
    assert_int_equal(es_control_start_number(&reader), 44);
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        assert_int_equal(es_control_lane(&reader, i, &(struct es_control_lane){0}), ES_NOT_FOUND);
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        assert_int_equal(es_control_ring(&reader, i, &(struct es_control_ring){0}), ES_NOT_FOUND);
    }
    page_close(&f);
}

static void a_new_broker_changes_the_identity_and_keeps_the_rest(void **state)
{
    struct fixture f;
    struct es_control_identity identity;
    struct es_control_head head;
    struct es_control_lane lane = {.incarnation = 9, .last_sequence = 1};

    (void)state;
    page_open(&f);
    es_control_set_state(&f.control, ES_BROKER_SERVING);
    es_control_set_lane(&f.control, 3, &lane);
    f.identity.start_number = 45;
    f.identity.broker_pid = 67;
    es_control_take_over(&f.control, &f.identity);
    assert_int_equal(es_control_state(&f.control), ES_BROKER_STARTING);
    es_control_identity(&f.control, &identity);
    assert_memory_equal(&identity, &f.identity, sizeof identity);
    assert_int_equal(es_control_head(&f.control, &head), ES_OK);
    assert_int_equal(head.batch_number, 5);
    assert_int_equal(es_control_lane(&f.control, 3, &lane), ES_OK);
    page_close(&f);
}

static void entries_open_move_and_close(void **state)
{
    struct fixture f;
    struct es_control_lane lane = {.incarnation = UINT64_C(44) << 32 | 1,
                                   .ring_index = 2,
                                   .uid = 1000,
                                   .pid = 4242,
                                   .pid_start_time = 999,
                                   .is_producer = true,
                                   .producer = "billing"};
    struct es_control_ring ring = {.ring_id = 7, .cursor = 0, .uid = 1000};
    struct es_control_lane found_lane;
    struct es_control_ring found_ring;

    (void)state;
    page_open(&f);
    es_control_set_lane(&f.control, 255, &lane);
    es_control_set_ring(&f.control, 15, &ring);
    assert_int_equal(es_control_lane(&f.control, 255, &found_lane), ES_OK);
    assert_memory_equal(&found_lane, &lane, sizeof lane);
    es_control_advance_lane(&f.control, 255, 12, 640);
    es_control_set_cursor(&f.control, 15, 13);
    assert_int_equal(es_control_lane(&f.control, 255, &found_lane), ES_OK);
    assert_int_equal(found_lane.last_sequence, 12);
    assert_int_equal(found_lane.next_offset, 640);
    assert_true(found_lane.is_producer);
    assert_string_equal(found_lane.producer, "billing");
    assert_int_equal(es_control_ring(&f.control, 15, &found_ring), ES_OK);
    assert_int_equal(found_ring.cursor, 13);
    assert_int_equal(found_ring.uid, 1000);

    assert_int_equal(es_control_lane(&f.control, 256, &found_lane), ES_NOT_FOUND);
    assert_int_equal(es_control_ring(&f.control, 16, &found_ring), ES_NOT_FOUND);
    lane.incarnation = 0;
    ring.ring_id = 0;
    es_control_set_lane(&f.control, 255, &lane);
    es_control_set_ring(&f.control, 15, &ring);
    assert_int_equal(es_control_lane(&f.control, 255, &found_lane), ES_NOT_FOUND);
    assert_int_equal(es_control_ring(&f.control, 15, &found_ring), ES_NOT_FOUND);
    page_close(&f);
}

static void names_up_to_255_bytes_come_back(void **state)
{
    struct fixture f;
    struct es_control_lane lane = {.incarnation = 1};
    struct es_control_lane found;

    (void)state;
    page_open(&f);
    for (size_t size = 0; size <= ES_PRODUCER_NAME_BYTES_MAX; size++) {
        char name[ES_PRODUCER_NAME_BYTES_MAX + 1] = {0};

        memset(name, 'a' + (int)(size % 26), size);
        memcpy(lane.producer, name, sizeof name);
        es_control_set_lane(&f.control, 0, &lane);
        assert_int_equal(es_control_lane(&f.control, 0, &found), ES_OK);
        assert_string_equal(found.producer, name);
    }
    es_control_name_lane(&f.control, 0, "short");
    assert_int_equal(es_control_lane(&f.control, 0, &found), ES_OK);
    assert_string_equal(found.producer, "short");
    page_close(&f);
}

/* A broker killed while it writes a head has touched only the copy that nobody reads. */
static void a_broker_that_dies_while_it_writes_leaves_the_old_head(void **state)
{
    struct fixture f;
    struct es_control_head expected = head_of(6);
    struct es_control_head head;

    (void)state;
    page_open(&f);
    es_control_set_head(&f.control, &expected);
    for (size_t byte = 0; byte < sizeof(struct es_control_file_head); byte++) {
        uint64_t version = atomic_load(&f.control.file->head_version);

        memset((void *)&f.control.file->heads[(version + 1) & 1], 0xee, byte);
        assert_int_equal(es_control_head(&f.control, &head), ES_OK);
        assert_memory_equal(&head, &expected, sizeof head);
    }
    expected = head_of(7); /* and the next broker writes as if nothing had been */
    es_control_set_head(&f.control, &expected);
    assert_int_equal(es_control_head(&f.control, &head), ES_OK);
    assert_memory_equal(&head, &expected, sizeof head);
    page_close(&f);
}

struct writing {
    struct es_control *control;
    _Atomic uint32_t is_over;
};

static void *write_heads(void *context)
{
    struct writing *writing = context;

    for (uint64_t number = 6; atomic_load(&writing->is_over) == 0; number++) {
        struct es_control_head head = head_of(number);

        es_control_set_head(writing->control, &head);
    }
    return NULL;
}

/* A million looks while the broker writes without a pause. */
static void no_reader_sees_half_of_a_head(void **state)
{
    struct fixture f;
    struct writing writing;
    pthread_t thread;
    uint64_t last = 0;

    (void)state;
    page_open(&f);
    writing = (struct writing){.control = &f.control};
    assert_int_equal(pthread_create(&thread, NULL, write_heads, &writing), 0);
    for (uint32_t look = 0; look < 1000000; look++) {
        struct es_control_head head;
        struct es_control_head expected;

        if (es_control_head(&f.control, &head) != ES_OK) {
            continue; /* it changed a thousand times: look again */
        }
        expected = head_of(head.batch_number);
        if (memcmp(&head, &expected, sizeof head) != 0 || head.batch_number < last) {
            fail_msg("half of head %llu", (unsigned long long)head.batch_number);
        }
        last = head.batch_number;
    }
    atomic_store(&writing.is_over, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    page_close(&f);
}

static void a_page_that_is_not_ours_is_refused(void **state)
{
    struct fixture f;
    struct es_control control = {NULL};
    struct es_segment cut;

    (void)state;
    page_open(&f);
    cut = f.segment;
    cut.size -= ES_PAGE_BYTES;
    assert_int_equal(es_control_attach(&control, &cut), ES_E_CORRUPT);

    atomic_store(&f.control.file->slot_count, 1000); /* no power of two */
    assert_int_equal(es_control_attach(&control, &f.segment), ES_E_CORRUPT);
    atomic_store(&f.control.file->slot_count, 1024);
    atomic_store(&f.control.file->credit_count, 65); /* more than the ring can hold */
    assert_int_equal(es_control_attach(&control, &f.segment), ES_E_CORRUPT);
    atomic_store(&f.control.file->credit_count, 64);
    atomic_store(&f.control.file->arena_bytes, 100);
    assert_int_equal(es_control_attach(&control, &f.segment), ES_E_CORRUPT);
    atomic_store(&f.control.file->arena_bytes, 65536);
    assert_int_equal(es_control_attach(&control, &f.segment), ES_OK);

    control.file = NULL;
    atomic_store(&f.control.file->layout_id, ES_LAYOUT_ID + 1);
    assert_int_equal(es_control_attach(&control, &f.segment), ES_E_VERSION);
    atomic_store(&f.control.file->magic, ES_RING_MAGIC);
    assert_int_equal(es_control_attach(&control, &f.segment), ES_E_CORRUPT);
    assert_null(control.file);
    page_close(&f);
}

static void a_geometry_keeps_every_ring_from_filling(void **state)
{
    struct es_geometry geometry;

    (void)state;
    for (uint64_t slots = ES_SLOT_COUNT_MIN; slots <= ES_SLOT_COUNT_MAX; slots *= 2) {
        assert_int_equal(es_geometry_make(slots, 65536, &geometry), ES_OK);
        assert_true(geometry.credit_count >= 1);
        assert_true(geometry.credit_count <= ES_CREDIT_COUNT_MAX);
        assert_true(geometry.lane_count >= 1);
        assert_true(geometry.lane_count <= ES_LANE_COUNT_MAX);
        assert_true((uint64_t)geometry.lane_count * geometry.credit_count <= slots);
    }
    assert_int_equal(es_geometry_make(65536, 4 << 20, &geometry), ES_OK);
    assert_int_equal(geometry.credit_count, 256);
    assert_int_equal(geometry.lane_count, 256);
    assert_int_equal(geometry.record_bytes_max, 512 << 10);
    assert_int_equal(geometry.payload_bytes_max, (512 << 10) - 32);
}

static void settings_out_of_bounds_make_no_geometry(void **state)
{
    static const uint64_t slots[] = {0, 1, 3, 65535, 65537, UINT64_C(1) << 21, UINT64_MAX};
    static const uint64_t arenas[] = {
        0,         4096, 65535, 65537, (UINT64_C(32) << 20) + 4096, (UINT64_C(1) << 32) + 65536,
        UINT64_MAX};
    struct es_geometry geometry = {.slot_count = 99};

    (void)state;
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        assert_int_equal(es_geometry_make(slots[i], 65536, &geometry), ES_E_INVALID);
    }
    for (size_t i = 0; i < sizeof arenas / sizeof arenas[0]; i++) {
        assert_int_equal(es_geometry_make(1024, arenas[i], &geometry), ES_E_INVALID);
    }
    assert_int_equal(geometry.slot_count, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_says_what_it_was_given),
        cmocka_unit_test(a_new_broker_changes_the_identity_and_keeps_the_rest),
        cmocka_unit_test(entries_open_move_and_close),
        cmocka_unit_test(names_up_to_255_bytes_come_back),
        cmocka_unit_test(a_broker_that_dies_while_it_writes_leaves_the_old_head),
        cmocka_unit_test(no_reader_sees_half_of_a_head),
        cmocka_unit_test(a_page_that_is_not_ours_is_refused),
        cmocka_unit_test(a_geometry_keeps_every_ring_from_filling),
        cmocka_unit_test(settings_out_of_bounds_make_no_geometry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
