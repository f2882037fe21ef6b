/*
 * A resident of the torture that has no shared memory: appends by request, one at a
 * time, until SIGTERM. A connection that breaks after the request was sent leaves its
 * fate unknown; the next number follows.
 *
 * asker RUN_DIR BOOK CLIENT SEED RATE
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/producer.h"
#include "libclient/question.h"
#include "tests/torture/ending.h"
#include "tests/torture/sender.h"

enum {
    BOOK_ENTRIES_MAX = 1 << 20,
    TRANSACTION_BYTES_MAX = 65536
};

#define TIMEOUT_NS UINT64_C(2000000000)

static void wait_a_little(void)
{
    (void)poll(NULL, 0, 1);
}

static uint32_t pack_transaction(const struct plan *plan, uint64_t expected, uint8_t *bytes)
{
    uint8_t payloads[PLAN_EVENTS_MAX][PLAN_PAYLOAD_BYTES_MAX];
    struct es_event_input events[PLAN_EVENTS_MAX];
    struct es_pack pack;
    char name[PLAN_NAME_BYTES];
    uint32_t first = 0;
    uint32_t size = 0;

    es_pack_init(&pack, bytes, TRANSACTION_BYTES_MAX);
    es_transaction_write_begin(&pack, 0, plan->append_count + (plan->has_key ? 1 : 0));
    for (uint32_t i = 0; i < plan->append_count; i++) {
        uint32_t count = plan->appends[i].event_count;
        struct es_expectation place;

        plan_stream_name(plan->appends[i].stream, name);
        sender_events(plan, first, count, payloads, events);
        es_append_pack(&pack, name,
                       sender_expect(i == 0 ? expected : BOOK_NOTHING_EXPECTED, &place), events,
                       count);
        first += count;
    }
    if (plan->has_key) {
        const struct es_key_change change = {.family = ES_KEYS,
                                             .name_space = PLAN_NAME_SPACE,
                                             .key = name,
                                             .expected_revision = ES_REVISION_ANY,
                                             .value = &plan->number,
                                             .value_bytes = sizeof plan->number};

        plan_key_name(plan->client, plan->key, name);
        es_key_change_pack(&pack, &change);
    }
    return es_pack_finish(&pack, &size) == ES_OK ? size : 0;
}

/* Notes what the reply says, also a refusal's. */
static void note_result(struct book *book, struct book_entry *entry, struct es_answer *answer,
                        uint64_t *known)
{
    struct es_wire_result result = {0};

    es_result_read(&answer->reply.rest, &result);
    entry->status = result.status;
    entry->sequence = result.stream_sequence;
    if (result.status == ES_OK) {
        entry->position = result.position;
        entry->revision = result.revision;
        entry->commit_number = (uint32_t)result.commit_number;
        memcpy(entry->hash, result.hash, sizeof entry->hash);
    } else {
        entry->commit_number = result.reason;
    }
    *known = entry->sequence;
    book_write(book, BOOK_DONE, entry);
}

static bool has_result(enum es_status status)
{
    return status == ES_OK || status == ES_CONFLICT || status == ES_REJECTED ||
           status == ES_NO_SPACE || status == ES_NOT_FOUND;
}

static void ask(struct es_connection *connection, struct book *book, const struct plan *plan,
                uint64_t *known)
{
    static uint8_t bytes[TRANSACTION_BYTES_MAX];
    struct es_request request = {.verb = ES_VERB_APPEND};
    struct book_entry entry = {.client = plan->client, .number = plan->number};
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status = ES_OK;
    uint32_t size = 0;

    entry.sequence = sender_expectation(plan, known);
    book_write(book, BOOK_SENT, &entry);
    size = pack_transaction(plan, entry.sequence, bytes);
    request.as.append.transaction = es_bytes_make(bytes, size);
    status = es_question_acquire(connection, &question);
    if (status == ES_OK) {
        status = es_question_send(question, &request, size, false);
        if (status == ES_OK) {
            status = es_question_wait(question, es_deadline_of(TIMEOUT_NS), &answer);
        }
        if (status == ES_OK && has_result(answer.reply.status)) {
            uint32_t last = plan->append_count == 0 ? 0 : plan->append_count - 1;

            last = answer.reply.status == ES_OK ? last : 0;
            note_result(book, &entry, &answer, &known[plan->appends[last].stream]);
        } else {
            wait_a_little(); /* unknown: no entry */
        }
        if (status == ES_OK) {
            es_answer_free(&answer);
        }
        es_question_release(question);
    }
}

int main(int argc, char **argv)
{
    static uint64_t known[PLAN_STREAMS];
    struct es_connection_options options = {.run_dir = argc == 6 ? argv[1] : NULL,
                                            .timeout_ns = TIMEOUT_NS};
    struct es_connection *connection = NULL;
    struct book book;
    uint32_t client = 0;
    uint64_t rate = 0;
    uint64_t begun_ns = book_now_ns();

    if (argc != 6) {
        return 64;
    }
    ending_listen();
    book_open(argv[2], BOOK_ENTRIES_MAX, &book);
    client = (uint32_t)strtoul(argv[3], NULL, 10);
    rate = strtoull(argv[5], NULL, 10);
    if (es_connection_open(&options, &connection) != ES_OK) {
        return 70;
    }
    for (uint64_t number = 1; !is_stopping; number++) {
        struct plan plan;

        while (!is_stopping && (book_now_ns() - begun_ns) / 1000 * rate < number * 1000000) {
            wait_a_little();
        }
        plan_make(client, number, &plan);
        ask(connection, &book, &plan, known);
    }
    es_connection_close(connection);
    return 0;
}
