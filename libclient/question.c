#include "libclient/question.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/futex.h"

#define MESSAGE_BYTES_SHOWN 400

enum question_state {
    QUESTION_IDLE = 0,
    QUESTION_UNSENT, /* waits for a connection */
    QUESTION_SENT
};

struct es_question {
    struct es_connection *connection;
    struct es_question *next_idle; /* under the connection's idle_lock */
    struct es_socket *sock;        /* NULL: not needed yet */
    enum question_state state;
    bool is_repeatable;
    int64_t deadline_ns; /* of the open question */
    int64_t probe_ns;    /* when to look whether there is a broker at all */
    size_t request_bytes;
    size_t capacity;
    uint8_t *request;
};

void es_answer_free(struct es_answer *answer)
{
    es_message_free(&answer->message);
}

static enum es_status not_allowed(const struct es_connection *connection)
{
    return es_fail(connection, ES_E_PROTOCOL,
                   "the broker in %s sent a reply that the protocol does not allow",
                   connection->run_dir);
}

enum es_status es_answer_check(const struct es_connection *connection,
                               const struct es_answer *answer)
{
    return es_unpack_ok(&answer->reply.rest) ? ES_OK : not_allowed(connection);
}

void es_answer_explain(const struct es_connection *connection, const struct es_answer *answer)
{
    struct es_text text = es_reply_message(&answer->reply);

    if (text.size == 0) {
        text = es_text_of(es_status_text(answer->reply.status));
    }
    (void)es_fail(connection, answer->reply.status, "%.*s",
                  text.size < MESSAGE_BYTES_SHOWN ? (int)text.size : MESSAGE_BYTES_SHOWN,
                  text.data);
}

static void discard(struct es_question *question)
{
    es_socket_close(question->sock);
    free(question->request);
    free(question);
}

void es_question_free_idle(struct es_connection *connection)
{
    struct es_question *question = connection->idle;

    connection->idle = NULL;
    connection->idle_count = 0;
    while (question != NULL) {
        struct es_question *next = question->next_idle;

        discard(question); /* idle ones hold no reference */
        question = next;
    }
}

enum es_status es_question_acquire(struct es_connection *connection,
                                   struct es_question **ret_question)
{
    struct es_question *question = NULL;
    enum es_status status = ES_OK;

    if (connection == NULL) {
        return ES_E_INVALID;
    }
    status = es_connection_hold(connection);
    if (status != ES_OK) {
        return status;
    }
    pthread_mutex_lock(&connection->idle_lock);
    question = connection->idle;
    if (question != NULL) {
        connection->idle = question->next_idle;
        connection->idle_count--;
    }
    pthread_mutex_unlock(&connection->idle_lock);
    if (question == NULL) {
        question = calloc(1, sizeof *question);
        if (question == NULL) {
            status = es_fail_no_memory(connection);
            es_connection_drop(connection);
            return status;
        }
        question->connection = connection;
    }
    *ret_question = question;
    return ES_OK;
}

void es_question_release(struct es_question *question)
{
    struct es_connection *connection = NULL;
    bool is_kept = false;

    if (question == NULL) {
        return;
    }
    connection = question->connection;
    if (question->state == QUESTION_SENT) { /* an answer that nobody wants need not come */
        es_socket_close(question->sock);
        question->sock = NULL;
    }
    question->state = QUESTION_IDLE;
    pthread_mutex_lock(&connection->idle_lock);
    if (connection->idle_count < ES_IDLE_QUESTION_COUNT_MAX) {
        question->next_idle = connection->idle;
        connection->idle = question;
        connection->idle_count++;
        is_kept = true;
    }
    pthread_mutex_unlock(&connection->idle_lock);
    if (!is_kept) {
        discard(question);
    }
    es_connection_drop(connection);
}

static enum es_status encode(struct es_question *question, const struct es_request *request,
                             size_t value_bytes)
{
    size_t wanted = ES_REQUEST_OVERHEAD_MAX + value_bytes;
    struct es_pack pack;
    uint32_t size = 0;
    enum es_status status;

    if (value_bytes > ES_REQUEST_BYTES_MAX - ES_REQUEST_OVERHEAD_MAX) {
        return es_fail(question->connection, ES_E_TOO_LARGE,
                       "a request holds at most %u bytes, and this one would have %zu",
                       ES_REQUEST_BYTES_MAX, value_bytes);
    }
    if (wanted > question->capacity) {
        uint8_t *grown = realloc(question->request, wanted);

        if (grown == NULL) {
            return es_fail_no_memory(question->connection);
        }
        question->request = grown;
        question->capacity = wanted;
    }
    es_pack_init(&pack, question->request, question->capacity);
    es_request_encode(&pack, request);
    status = es_pack_finish(&pack, &size);
    if (status != ES_OK) {
        return es_fail(question->connection, status, "a name in the request is too long");
    }
    question->request_bytes = size;
    return ES_OK;
}

/* Opens the socket when it is first needed, and only if a broker is there: so a
 * program that finds none is told at once. */
static enum es_status ensure_socket(struct es_question *question)
{
    struct es_connection *connection = question->connection;
    char path[ES_RUN_DIR_BYTES_MAX + sizeof "/requests.sock"];
    enum es_status status;

    if (question->sock != NULL) {
        return ES_OK;
    }
    status = es_connection_probe(connection);
    if (status != ES_OK) {
        return status;
    }
    (void)snprintf(path, sizeof path, "%s/requests.sock", connection->run_dir);
    status = es_socket_open(ES_SOCKET_REQUEST, path, &question->sock);
    if (status != ES_OK) {
        return es_fail(connection, status, "no socket to ask on: %s", es_status_text(status));
    }
    return ES_OK;
}

static enum es_status over(struct es_question *question, enum es_status status)
{
    question->state = QUESTION_IDLE;
    return status;
}

static enum es_status read_answer(const struct es_question *question, struct es_answer *answer)
{
    struct es_bytes bytes = {0};
    enum es_status status = ES_E_PROTOCOL;

    if (answer->message.size <= UINT32_MAX) {
        bytes = es_bytes_make(answer->message.data, (uint32_t)answer->message.size);
        status = es_reply_read(bytes, &answer->reply);
    }
    if (status == ES_E_VERSION) {
        return es_fail(question->connection, status,
                       "the broker in %s speaks another version of the protocol: use the library "
                       "and the broker of one release",
                       question->connection->run_dir);
    }
    if (status == ES_OK &&
        (answer->reply.status < ES_E_EXISTS || answer->reply.status > ES_FENCED)) {
        status = ES_E_PROTOCOL;
    }
    return status == ES_OK ? ES_OK : not_allowed(question->connection);
}

static enum es_status poll_unsent(struct es_question *question)
{
    enum es_status status =
        es_socket_send(question->sock, question->request, question->request_bytes);
    int64_t now_ns;

    if (status == ES_OK) {
        question->state = QUESTION_SENT;
        return ES_OK;
    }
    if (status != ES_EMPTY) {
        return over(question, es_fail(question->connection, status, "cannot ask: %s",
                                      es_status_text(status)));
    }
    now_ns = es_monotonic_ns();
    if (now_ns >= question->probe_ns) {
        question->probe_ns = now_ns + ES_REPLY_SLICE_NS;
        status = es_connection_probe(question->connection);
        if (status != ES_OK) {
            return over(question, status);
        }
    }
    return ES_EMPTY;
}

enum es_status es_question_send(struct es_question *question, const struct es_request *request,
                                size_t value_bytes, bool is_repeatable)
{
    enum es_status status;

    question->state = QUESTION_IDLE;
    status = encode(question, request, value_bytes);
    if (status == ES_OK) {
        status = ensure_socket(question);
    }
    if (status != ES_OK) {
        return status;
    }
    question->is_repeatable = is_repeatable;
    question->state = QUESTION_UNSENT;
    question->deadline_ns = es_deadline_of(question->connection->timeout_ns);
    question->probe_ns = es_deadline_after_ns(ES_CONNECT_SLICE_NS);
    status = poll_unsent(question);
    return status == ES_EMPTY ? ES_OK : status;
}

static enum es_status poll_sent(struct es_question *question, struct es_answer *ret_answer)
{
    struct es_answer answer = {0};
    enum es_status status = es_socket_receive(question->sock, &answer.message);

    if (status == ES_EMPTY) {
        return ES_EMPTY;
    }
    if (status == ES_E_CLOSED && question->is_repeatable) {
        question->state = QUESTION_UNSENT;
        return ES_EMPTY;
    }
    if (status == ES_E_CLOSED) {
        return over(question, es_fail(question->connection, ES_E_UNKNOWN,
                                      "the connection to the broker in %s broke before it "
                                      "answered: what was asked for may have been done",
                                      question->connection->run_dir));
    }
    if (status != ES_OK) {
        return over(question,
                    es_fail(question->connection, status, "no answer: %s", es_status_text(status)));
    }
    status = read_answer(question, &answer);
    if (status == ES_OK) {
        *ret_answer = answer;
    } else {
        es_answer_free(&answer);
    }
    return over(question, status);
}

enum es_status es_question_poll(struct es_question *question, struct es_answer *ret_answer)
{
    enum es_status status = ES_EMPTY;

    if (question->state == QUESTION_IDLE) {
        return ES_E_INVALID;
    }
    if (question->state == QUESTION_UNSENT) {
        status = poll_unsent(question);
    }
    if (question->state == QUESTION_SENT) {
        status = poll_sent(question, ret_answer);
    }
    if (status == ES_EMPTY && es_monotonic_ns() >= question->deadline_ns) {
        status =
            es_fail(question->connection,
                    question->state == QUESTION_SENT && !question->is_repeatable ? ES_E_UNKNOWN
                                                                                 : ES_E_UNREACHABLE,
                    "the broker in %s did not answer in time; esctl status tells what it does",
                    question->connection->run_dir);
        return over(question, status);
    }
    return status;
}

enum es_status es_question_wait(struct es_question *question, int64_t deadline_ns,
                                struct es_answer *ret_answer)
{
    for (;;) {
        enum es_status status = es_question_poll(question, ret_answer);
        bool is_sent = question->state == QUESTION_SENT;
        int64_t now_ns = es_monotonic_ns();
        int64_t slice_ns = now_ns + (is_sent ? ES_REPLY_SLICE_NS : ES_CONNECT_SLICE_NS);

        if (status != ES_EMPTY) {
            return status;
        }
        if (now_ns >= deadline_ns) {
            return ES_TIMEOUT;
        }
        if (slice_ns > question->deadline_ns) {
            slice_ns = question->deadline_ns;
        }
        if (slice_ns > deadline_ns) {
            slice_ns = deadline_ns;
        }
        status = es_connection_wait(question->connection, es_socket_fd(question->sock), POLLIN,
                                    slice_ns);
        if (status != ES_OK && status != ES_TIMEOUT) {
            return status;
        }
    }
}

int es_question_fd(const struct es_question *question)
{
    return question->sock != NULL ? es_socket_fd(question->sock) : -1;
}

enum es_status es_question_ask(struct es_question *question, const struct es_request *request,
                               size_t value_bytes, bool is_repeatable, struct es_answer *ret_answer)
{
    struct es_answer answer = {0};
    enum es_status status = es_question_send(question, request, value_bytes, is_repeatable);

    if (status == ES_OK) {
        /* The question has its own deadline, so this wait ends without one. */
        status = es_question_wait(question, ES_DEADLINE_NEVER, &answer);
    }
    if (status != ES_OK) {
        return status;
    }
    if (answer.reply.status != ES_OK) {
        status = answer.reply.status;
        es_answer_explain(question->connection, &answer);
        es_answer_free(&answer);
        return status;
    }
    *ret_answer = answer;
    return ES_OK;
}
