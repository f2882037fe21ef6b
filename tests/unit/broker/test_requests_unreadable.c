/*
 * Blocks that the store cannot read, as RocksDB says it: keys from a first one on are
 * ES_E_CORRUPT, or ES_E_IO, to whoever asks for them or comes to them. Each request then
 * names the place where it cannot go on, within the words that a client shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "broker/store.h"
#include "shm/codec/store_key.h"
#include "tests/support/request_fixture.h"

enum {
    ITERATORS_MAX = 8,
    WORDS_SHOWN = 400 /* of a refusal, by the library */
};

/*
 * From this key of the family to its end. One request at a time looks at it, but its worker
 * frees its iterator behind the reply, while the test already prepares the next.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    enum es_status status; /* ES_OK: everything is readable */
    enum store_family family;
    struct es_key first;
    const struct store_iterator *iterators[ITERATORS_MAX]; /* those over the family */
} unreadable;

static bool is_at_or_behind(struct store_slice key, const struct es_key *first)
{
    size_t size = key.size < first->size ? key.size : first->size;
    int order = memcmp(key.bytes, first->bytes, size);

    return order > 0 || (order == 0 && key.size >= first->size);
}

/* How a read of the key fails; ES_OK: it does not. */
static enum es_status failure_of(enum store_family family, struct store_slice key)
{
    enum es_status status = ES_OK;

    pthread_mutex_lock(&lock);
    if (family == unreadable.family && is_at_or_behind(key, &unreadable.first)) {
        status = unreadable.status;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

enum es_status __real_store_get(struct store *store, const struct store_snapshot *snapshot,
                                enum store_family family, struct store_slice key,
                                struct store_buffer *value);
enum es_status __wrap_store_get(struct store *store, const struct store_snapshot *snapshot,
                                enum store_family family, struct store_slice key,
                                struct store_buffer *value);
enum es_status __real_store_get_many(struct store *store, const struct store_snapshot *snapshot,
                                     enum store_family family, const struct store_slice *keys,
                                     size_t key_count, store_visit_fn visit, void *context);
enum es_status __wrap_store_get_many(struct store *store, const struct store_snapshot *snapshot,
                                     enum store_family family, const struct store_slice *keys,
                                     size_t key_count, store_visit_fn visit, void *context);
enum es_status __real_store_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                         enum store_family family, const struct store_range *range,
                                         struct store_iterator **ret_iterator);
enum es_status __wrap_store_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                         enum store_family family, const struct store_range *range,
                                         struct store_iterator **ret_iterator);
void __real_store_iterator_free(struct store_iterator *iterator);
void __wrap_store_iterator_free(struct store_iterator *iterator);
bool __real_store_iterator_valid(const struct store_iterator *iterator);
bool __wrap_store_iterator_valid(const struct store_iterator *iterator);
enum es_status __real_store_iterator_status(const struct store_iterator *iterator);
enum es_status __wrap_store_iterator_status(const struct store_iterator *iterator);

enum es_status __wrap_store_get(struct store *store, const struct store_snapshot *snapshot,
                                enum store_family family, struct store_slice key,
                                struct store_buffer *value)
{
    enum es_status status = failure_of(family, key);

    return status != ES_OK ? status : __real_store_get(store, snapshot, family, key, value);
}

enum es_status __wrap_store_get_many(struct store *store, const struct store_snapshot *snapshot,
                                     enum store_family family, const struct store_slice *keys,
                                     size_t key_count, store_visit_fn visit, void *context)
{
    for (size_t i = 0; i < key_count; i++) {
        enum es_status status = failure_of(family, keys[i]);

        if (status != ES_OK) {
            return status;
        }
    }
    return __real_store_get_many(store, snapshot, family, keys, key_count, visit, context);
}

/* Puts 'iterator' where 'before' is among those over the family. */
static bool replace_iterator(const struct store_iterator *before,
                             const struct store_iterator *iterator)
{
    for (size_t i = 0; i < ITERATORS_MAX; i++) {
        if (unreadable.iterators[i] == before) {
            unreadable.iterators[i] = iterator;
            return true;
        }
    }
    return false;
}

enum es_status __wrap_store_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                         enum store_family family, const struct store_range *range,
                                         struct store_iterator **ret_iterator)
{
    enum es_status status = __real_store_iterator_new(store, snapshot, family, range, ret_iterator);

    pthread_mutex_lock(&lock);
    if (status == ES_OK && family == unreadable.family) {
        assert_true(replace_iterator(NULL, *ret_iterator));
    }
    pthread_mutex_unlock(&lock);
    return status;
}

void __wrap_store_iterator_free(struct store_iterator *iterator)
{
    pthread_mutex_lock(&lock);
    if (iterator != NULL) {
        (void)replace_iterator(iterator, NULL);
    }
    pthread_mutex_unlock(&lock);
    __real_store_iterator_free(iterator);
}

/* How an iterator fails where it stands; ES_OK: it does not. */
static enum es_status failure_at(const struct store_iterator *iterator)
{
    bool is_over_the_family = false;
    enum store_family family = STORE_EVENTS;

    pthread_mutex_lock(&lock);
    family = unreadable.family;
    for (size_t i = 0; i < ITERATORS_MAX; i++) {
        is_over_the_family = is_over_the_family || unreadable.iterators[i] == iterator;
    }
    pthread_mutex_unlock(&lock);
    return is_over_the_family && __real_store_iterator_valid(iterator)
               ? failure_of(family, store_iterator_key(iterator))
               : ES_OK;
}

bool __wrap_store_iterator_valid(const struct store_iterator *iterator)
{
    return failure_at(iterator) == ES_OK && __real_store_iterator_valid(iterator);
}

enum es_status __wrap_store_iterator_status(const struct store_iterator *iterator)
{
    enum es_status status = failure_at(iterator);

    return status != ES_OK ? status : __real_store_iterator_status(iterator);
}

/* ---- the store ---- */

static const enum es_status failures[] = {ES_E_CORRUPT, ES_E_IO};

/* A name as long as names get. */
static char long_stream[ES_STREAM_SIZE_MAX + 1];

static int set_up(void **state)
{
    struct request_fixture *f = NULL;
    int failed = request_fixture_set_up(state);

    if (failed != 0) {
        return failed;
    }
    f = *state;
    memset(&unreadable, 0, sizeof unreadable);
    (void)snprintf(long_stream, sizeof long_stream, "%0255d:%0255d:L0:%0255d:M%0255d", 1, 2, 3, 4);
    for (int i = 0; i < 3; i++) { /* commits of 1..5, 6..10 and 11..15 */
        store_builder_append(&f->builder, ORDERS, 3, 10);
        store_builder_append(&f->builder, ORDER, 1, 10);
        store_builder_append(&f->builder, long_stream, 1, 10);
        store_builder_commit(&f->builder);
    }
    store_builder_put(&f->builder, ES_KV_TRUTH, "ns", "k1", "v");
    store_builder_put(&f->builder, ES_KV_TRUTH, "ns", "k2", "v");
    store_builder_snapshot(&f->builder, ORDER, 1, 1, "", "state");
    store_builder_snapshot(&f->builder, ORDER, 2, 2, "", "state");
    store_builder_named(&f->builder, "a", 1, ORDER);
    store_builder_named(&f->builder, "b", 1, ORDER);
    store_builder_commit(&f->builder);
    return 0;
}

static int tear_down(void **state)
{
    unreadable.status = ES_OK;
    return request_fixture_tear_down(state);
}

static void damage(enum es_status status, enum store_family family, const struct es_key *first)
{
    pthread_mutex_lock(&lock);
    unreadable.status = status;
    unreadable.family = family;
    unreadable.first = *first;
    pthread_mutex_unlock(&lock);
}

/* The request is refused, and what a client shows of the words has these. */
static void assert_names(struct request_fixture *f, const struct es_request *request,
                         const char *place)
{
    char shown[WORDS_SHOWN + 1];
    struct es_text message = {NULL, 0};

    assert_int_equal(ask(f, request), unreadable.status);
    message = es_reply_message(&f->reply);
    (void)snprintf(shown, sizeof shown, "%.*s", (int)message.size, message.data);
    if (strstr(shown, place) == NULL) {
        fail_msg("'%s' is not in '%s'", place, shown);
    }
}

/* ---- events ---- */

static void an_unreadable_event_is_named_by_its_position(void **state)
{
    struct request_fixture *f = *state;
    struct es_request all = {
        .verb = ES_VERB_READ_ALL,
        .as.read_all = {.from_position = 5, .count = 1, .category = es_text_of("")}};
    struct es_request stream = {
        .verb = ES_VERB_READ_STREAM,
        .as.read_stream = {.stream = es_text_of(long_stream), .from_sequence = 1, .count = 9}};
    struct es_request scan = {.verb = ES_VERB_SCAN,
                              .as.scan = {.stream_prefix = es_text_of(""), .count = 9}};
    struct es_key key;

    for (size_t i = 0; i < 2; i++) {
        es_key_event(es_text_of(long_stream), 1, &key);
        damage(failures[i], STORE_EVENTS, &key);
        assert_names(f, &all, "position 5");
        assert_names(f, &stream, failures[i] == ES_E_CORRUPT ? "position 5" : "events 1 to 3 of");
        assert_names(f, &scan, "the first event in the order of keys");
        es_key_event(es_text_of(ORDERS), 2, &key);
        damage(failures[i], STORE_EVENTS, &key);
        es_key_event(es_text_of(ORDERS), 1, &key);
        scan.as.scan.after_key = es_bytes_make(key.bytes, key.size);
        assert_names(f, &scan, "what follows event 1 of stream " ORDERS);
        scan.as.scan.after_key = es_bytes_make(NULL, 0);
    }
}

static void an_unreadable_commit_record_is_named_by_the_first_position_it_vouches_for(void **state)
{
    struct request_fixture *f = *state;
    struct es_request all = {
        .verb = ES_VERB_READ_ALL,
        .as.read_all = {.from_position = 6, .count = 9, .category = es_text_of("")}};
    struct es_request head = {.verb = ES_VERB_STORE_HEAD};
    struct es_key key;

    for (size_t i = 0; i < 2; i++) {
        for (uint64_t commit = 1; commit <= 3; commit++) {
            char place[64];

            (void)snprintf(place, sizeof place, "vouches for position %d ",
                           (int)(5 * (commit - 1) + 1));
            es_key_commit(5 * commit, commit, &key);
            damage(failures[i], STORE_COMMITS, &key);
            assert_names(f, &head, place);
            assert_names(f, &all, place);
        }
    }
}

static void an_unreadable_head_is_named_by_its_stream(void **state)
{
    struct request_fixture *f = *state;
    struct es_request head = {.verb = ES_VERB_HEAD, .as.stream = es_text_of(ORDER)};
    struct es_request stream = {
        .verb = ES_VERB_READ_STREAM,
        .as.read_stream = {.stream = es_text_of(ORDER), .from_sequence = 1, .count = 9}};
    struct es_request streams = {.verb = ES_VERB_STREAMS, .as.streams = {.count = 9}};
    struct es_key key;

    es_key_head(es_text_of(ORDER), &key);
    for (size_t i = 0; i < 2; i++) {
        damage(failures[i], STORE_STREAM_META, &key);
        assert_names(f, &head, "the head of stream " ORDER);
        assert_names(f, &stream, "the head of stream " ORDER);
        streams.as.streams.prefix = es_text_of("prod:");
        streams.as.streams.after = es_text_of("");
        assert_names(f, &streams, "the first stream that begins with 'prod:'");
        es_key_head(es_text_of(ORDERS), &unreadable.first);
        streams.as.streams.after = es_text_of(ORDER);
        assert_names(f, &streams, "the stream that follows " ORDER);
    }
}

/* ---- what is kept beside events ---- */

static void an_unreadable_key_is_named(void **state)
{
    struct request_fixture *f = *state;
    struct es_request get = {.verb = ES_VERB_KV_GET,
                             .as.kv_get = {.family = ES_KV_TRUTH,
                                           .name_space = es_text_of("ns"),
                                           .key = es_text_of("k2")}};
    struct es_request list = {
        .verb = ES_VERB_KV_LIST,
        .as.kv_list = {.family = ES_KV_TRUTH, .name_space = es_text_of("ns"), .count = 9}};
    struct es_request export = {.verb = ES_VERB_KV_EXPORT, .as.kv_export = {.count = 9}};
    struct es_key first;
    struct es_key second;

    es_key_kv(es_text_of("ns"), es_text_of("k1"), &first);
    es_key_kv(es_text_of("ns"), es_text_of("k2"), &second);
    for (size_t i = 0; i < 2; i++) {
        damage(failures[i], STORE_KV, &second);
        assert_names(f, &get, "key k2 in namespace ns");
        list.as.kv_list.after = es_text_of("k1");
        assert_names(f, &list, "what follows key k1 in namespace ns");
        export.as.kv_export.after_key = es_bytes_make(first.bytes, first.size);
        assert_names(f, &export, "what follows key k1 in namespace ns");
        damage(failures[i], STORE_KV, &first);
        list.as.kv_list.after = es_text_of("");
        assert_names(f, &list, "the first key in namespace ns");
        export.as.kv_export.after_key = es_bytes_make(NULL, 0);
        assert_names(f, &export, "the first key of all");
    }
}

static void an_unreadable_snapshot_is_named_by_its_stream(void **state)
{
    struct request_fixture *f = *state;
    struct es_request load = {.verb = ES_VERB_SNAPSHOT_LOAD,
                              .as.snapshot_load = {.stream = es_text_of(ORDER), .tick = 7}};
    struct es_request list = {.verb = ES_VERB_SNAPSHOT_LIST, .as.snapshot_list = {.count = 9}};
    struct es_key first;
    struct es_key second;

    es_key_snapshot(es_text_of(ORDER), 1, 1, es_text_of(""), &first);
    es_key_snapshot(es_text_of(ORDER), 2, 2, es_text_of(""), &second);
    for (size_t i = 0; i < 2; i++) {
        damage(failures[i], STORE_SNAPSHOTS, &second);
        load.as.snapshot_load.newest = false;
        assert_names(f, &load, "up to tick 7 of stream " ORDER);
        load.as.snapshot_load.newest = true;
        assert_names(f, &load, "the newest snapshot of stream " ORDER);
        list.as.snapshot_list.after_key = es_bytes_make(first.bytes, first.size);
        assert_names(f, &list, "the snapshot '' of tick 1 of stream " ORDER);
        damage(failures[i], STORE_SNAPSHOTS, &first);
        list.as.snapshot_list.after_key = es_bytes_make(NULL, 0);
        assert_names(f, &list, "the first snapshot");
    }
}

static void an_unreadable_producer_is_named_and_those_before_are_listed(void **state)
{
    struct request_fixture *f = *state;
    struct es_request one = {.verb = ES_VERB_PRODUCER, .as.producer = {.name = es_text_of("b")}};
    struct es_request list = {.verb = ES_VERB_PRODUCERS,
                              .as.producers = {.after = es_text_of(""), .count = 9}};
    struct es_producer_item item;
    struct es_key key;

    for (size_t i = 0; i < 2; i++) {
        es_key_producer(es_text_of("b"), &key);
        damage(failures[i], STORE_PRODUCERS, &key);
        assert_names(f, &one, "producer b");
        list.as.producers.after = es_text_of("");
        assert_int_equal(ask(f, &list), ES_OK);
        assert_int_equal(es_unpack_array(&f->reply.rest), 1);
        es_producer_item_read(&f->reply.rest, &item);
        assert_true(es_text_equal(item.name, es_text_of("a")));
        assert_false(es_unpack_bool(&f->reply.rest));
        assert_reply_is_read(f);
        list.as.producers.after = es_text_of("a");
        assert_names(f, &list, "the producer that follows a");
        es_key_producer(es_text_of("a"), &key);
        damage(failures[i], STORE_PRODUCERS, &key);
        list.as.producers.after = es_text_of("");
        assert_names(f, &list, "the first producer");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_unreadable_event_is_named_by_its_position),
        TEST(an_unreadable_commit_record_is_named_by_the_first_position_it_vouches_for),
        TEST(an_unreadable_head_is_named_by_its_stream),
        TEST(an_unreadable_key_is_named),
        TEST(an_unreadable_snapshot_is_named_by_its_stream),
        TEST(an_unreadable_producer_is_named_and_those_before_are_listed),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
