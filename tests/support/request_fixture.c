#include "tests/support/request_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "shm/codec/transaction.h"

/* ---- the commit thread ---- */

static void wake(void *context)
{
    struct request_fixture *f = context;

    pthread_mutex_lock(&f->mutex);
    f->wakes++;
    pthread_cond_signal(&f->woken);
    pthread_mutex_unlock(&f->mutex);
}

static void *commit(void *context)
{
    struct request_fixture *f = context;

    pthread_mutex_lock(&f->mutex);
    while (!f->ends) {
        struct submission *submission = inbox_take(f->inbox);

        while (!f->ends && (submission == NULL || f->holds)) {
            pthread_cond_wait(&f->woken, &f->mutex);
            submission = submission == NULL ? inbox_take(f->inbox) : submission;
        }
        if (submission == NULL) {
            break;
        }
        if (submission->errand != NULL) { /* there are no lanes: who asks is told so */
            submission->errand->owner_incarnation = f->owner.owner_incarnation;
            submission->errand->owner_pid = f->owner.owner_pid;
            submission->errand->owner_lives = f->owner.owner_lives;
            inbox_answer(f->inbox, submission);
            continue;
        }
        f->builder.producer = submission_producer(submission);
        store_builder_send(&f->builder, submission->transaction, submission->transaction_bytes);
        f->builder.producer = es_text_of("");
        store_builder_commit(&f->builder);
        submission->result = f->builder.result;
        inbox_answer(f->inbox, submission);
    }
    pthread_mutex_unlock(&f->mutex);
    return NULL;
}

/* ---- the fixture ---- */

static uint32_t two_lines_of_status(void *context, struct es_pack *pack)
{
    (void)context;
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of("durability"));
    es_pack_str(pack, es_text_of("fsync"));
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of("lanes"));
    es_pack_array(pack, 1);
    es_pack_str(pack, es_text_of("lane 0"));
    return 2;
}

static void open_sockets(struct request_fixture *f)
{
    char why[TRANSPORT_WHY_BYTES] = "";
    char requests_path[TEMP_DIRECTORY_BYTES_MAX + 32];
    char events_path[TEMP_DIRECTORY_BYTES_MAX + 32];
    struct transport_config config = {.requests_path = requests_path, .events_path = events_path};

    snprintf(requests_path, sizeof requests_path, "%s/requests.sock", f->directory);
    snprintf(events_path, sizeof events_path, "%s/events.sock", f->directory);
    assert_int_equal(transport_new(&config, why, &f->transport), ES_OK);
}

static void connect_client(struct request_fixture *f)
{
    char path[TEMP_DIRECTORY_BYTES_MAX + 32];

    snprintf(path, sizeof path, "%s/requests.sock", f->directory);
    assert_true(sp_connect(&f->client, path, SP_REQ));
}

int request_fixture_set_up(void **state)
{
    struct request_fixture *f = calloc(1, sizeof *f);
    struct requests_config config = {
        .counters = &f->counters,
        .request_counters = &f->request_counters,
        .epoch = 77,
        .start_number = 5,
        .transaction_bytes_max = 1 << 20,
        .append_timeout_ns = 1000000000,
        .status = two_lines_of_status,
    };

    assert_non_null(f);
    temp_directory_make(f->directory);
    store_builder_open(&f->builder, NULL);
    f->request = malloc(REQUEST_BYTES_MAX);
    assert_non_null(f->request);
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->woken, NULL);
    open_sockets(f);
    assert_int_equal(inbox_new(wake, f, &f->inbox), ES_OK);
    config.transport = f->transport;
    config.store = f->builder.store;
    config.inbox = f->inbox;
    memcpy(config.store_id, f->builder.store_id, ES_STORE_ID_SIZE);
    assert_int_equal(requests_new(&config, &f->requests), ES_OK);
    assert_int_equal(pthread_create(&f->committer, NULL, commit, f), 0);
    connect_client(f);
    *state = f;
    return 0;
}

int request_fixture_tear_down(void **state)
{
    struct request_fixture *f = *state;

    sp_close(&f->client);
    transport_stop(f->transport);
    inbox_close(f->inbox);
    requests_free(f->requests);
    pthread_mutex_lock(&f->mutex);
    f->ends = true;
    pthread_cond_signal(&f->woken);
    pthread_mutex_unlock(&f->mutex);
    pthread_join(f->committer, NULL);
    transport_free(f->transport);
    inbox_free(f->inbox);
    store_builder_close(&f->builder);
    pthread_cond_destroy(&f->woken);
    pthread_mutex_destroy(&f->mutex);
    temp_directory_remove(f->directory);
    free(f->request);
    free(f->reply_bytes);
    free(f);
    return 0;
}

enum es_status ask_bytes(struct request_fixture *f, const void *bytes, size_t size)
{
    free(f->reply_bytes);
    f->reply_bytes = NULL;
    assert_true(sp_request(&f->client, bytes, size, &f->reply_bytes, &f->reply_size));
    assert_int_equal(
        es_reply_read(es_bytes_make(f->reply_bytes, (uint32_t)f->reply_size), &f->reply), ES_OK);
    return f->reply.status;
}

enum es_status ask(struct request_fixture *f, const struct es_request *request)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, f->request, REQUEST_BYTES_MAX);
    es_request_encode(&pack, request);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return ask_bytes(f, f->request, size);
}

void assert_message_has(const struct request_fixture *f, const char *words)
{
    struct es_text message = es_reply_message(&f->reply);

    assert_true(message.size > 0);
    assert_non_null(memmem(message.data, message.size, words, strlen(words)));
}

void assert_reply_is_read(const struct request_fixture *f)
{
    assert_true(es_unpack_done(&f->reply.rest));
}

uint32_t pack_append(uint8_t *bytes, size_t capacity, uint64_t expected, uint32_t payload_bytes)
{
    const struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(ORDERS),
                      .expect = {.kind = expected == 0 ? ES_EXPECTED_ANY : ES_EXPECTED_EXACT,
                                 .number = expected},
                      .event_count = 1},
    };
    uint8_t *payload = calloc(1, payload_bytes);
    struct es_append_event event = {
        .tick = 5, .type = es_text_of("t"), .payload = es_bytes_make(payload, payload_bytes)};
    struct es_pack pack;
    uint32_t size = 0;

    assert_non_null(payload);
    es_pack_init(&pack, bytes, capacity);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    free(payload);
    return size;
}
