#include "libclient/pages.h"

#include <inttypes.h>
#include <string.h>

#include "shm/futex.h"

enum es_status es_pages_init(struct es_pages *pages, struct es_connection *connection,
                             const struct es_pages_options *options)
{
    const char *target = options->target != NULL ? options->target : "";

    memset(pages, 0, sizeof *pages);
    if (strlen(target) >= sizeof pages->target) {
        return es_fail(connection, ES_E_TOO_LARGE, "the name '%.60s...' has more than %u bytes",
                       target, ES_STREAM_BYTES_MAX);
    }
    memcpy(pages->target, target, strlen(target) + 1);
    pages->connection = connection;
    pages->is_stream = options->is_stream;
    pages->is_backwards = options->is_backwards;
    pages->is_verified = options->is_verified;
    pages->from = options->from;
    return es_question_acquire(connection, &pages->question);
}

static void drop_page(struct es_pages *pages)
{
    es_answer_free(&pages->page);
    pages->has_page = false;
    pages->events_left = 0;
}

void es_pages_deinit(struct es_pages *pages)
{
    drop_page(pages);
    es_question_release(pages->question);
    pages->question = NULL;
}

void es_pages_restart(struct es_pages *pages, uint64_t from)
{
    drop_page(pages);
    pages->is_asked = false;
    pages->is_head_asked = false;
    pages->from = from;
}

static enum es_status ask_page(struct es_pages *pages)
{
    struct es_request request = {.verb = ES_VERB_READ_ALL};
    enum es_status status;

    if (pages->is_stream) {
        request.verb = ES_VERB_READ_STREAM;
        request.as.read_stream.stream = es_text_of(pages->target);
        request.as.read_stream.from_sequence = pages->from;
        request.as.read_stream.count = ES_REQUEST_COUNT_MAX;
        request.as.read_stream.backwards = pages->is_backwards;
    } else {
        request.as.read_all.from_position = pages->from;
        request.as.read_all.count = ES_REQUEST_COUNT_MAX;
        request.as.read_all.category = es_text_of(pages->target);
    }
    status = es_question_send(pages->question, &request, 0, true);
    pages->is_asked = status == ES_OK;
    return status;
}

static enum es_status ask_head(struct es_pages *pages)
{
    enum es_status status = es_store_head_ask(pages->question);

    pages->is_asked = false;
    pages->is_head_asked = status == ES_OK;
    return status;
}

/* The broker at the other end of this connection: is it the one we were reading? */
static enum es_status judge_head(struct es_pages *pages, struct es_answer *answer)
{
    struct es_store_head head;
    enum es_status status = es_store_head_of(pages->connection, answer, &head);

    if (status != ES_OK) {
        return status;
    }
    if (pages->is_bound &&
        (memcmp(head.store_id, pages->head.store_id, sizeof head.store_id) != 0 ||
         head.epoch != pages->head.epoch)) {
        return es_fail(pages->connection, ES_REGRESSED,
                       "the broker in %s has another history than the one read so far (another "
                       "store, or data was lost or restored); read it again from the start",
                       pages->connection->run_dir);
    }
    if (head.position < pages->floor_position) {
        return es_fail(pages->connection, ES_REGRESSED,
                       "the store in %s ends at position %" PRIu64 ", before position %" PRIu64
                       ", which was seen already",
                       pages->connection->run_dir, head.position, pages->floor_position);
    }
    pages->head = head;
    pages->is_bound = true;
    pages->verified_pipe = answer->message.pipe_id;
    return ES_OK;
}

/* Finds what stands behind the events of a page, and asks for the next one. */
static enum es_status open_page(struct es_pages *pages, struct es_answer *answer)
{
    struct es_unpack behind = answer->reply.rest;
    uint64_t next;
    bool is_last;
    bool moves;

    (void)es_unpack_skip(&behind);
    is_last = es_unpack_bool(&behind);
    next = es_unpack_uint(&behind);
    moves = pages->is_backwards ? pages->from == 0 || next < pages->from : next > pages->from;
    if (!es_unpack_ok(&behind) || (!is_last && !moves)) {
        es_unpack_fail(&answer->reply.rest); /* or a page that leads nowhere */
    }
    pages->events_left = es_unpack_array(&answer->reply.rest);
    if (!es_unpack_ok(&answer->reply.rest)) {
        enum es_status status = es_answer_check(pages->connection, answer);

        pages->events_left = 0;
        es_answer_free(answer);
        return status;
    }
    pages->page = *answer;
    pages->unpack = answer->reply.rest;
    pages->has_page = true;
    pages->is_last = is_last;
    pages->consistent_position = answer->reply.position;
    if (moves) {
        pages->from = next;
    }
    if (!is_last) {
        (void)!ask_page(pages); /* where this fails, it is asked again after this page */
    }
    return ES_OK;
}

static enum es_status take_answer(struct es_pages *pages, struct es_answer *answer)
{
    bool was_head = pages->is_head_asked;
    enum es_status status;

    pages->is_asked = false;
    pages->is_head_asked = false;
    if (answer->reply.status != ES_OK) {
        status = answer->reply.status;
        es_answer_explain(pages->connection, answer);
        es_answer_free(answer);
        return status;
    }
    if (was_head) {
        status = judge_head(pages, answer);
        es_answer_free(answer);
        return status;
    }
    if (pages->is_verified && answer->message.pipe_id != pages->verified_pipe) {
        es_answer_free(answer);
        return ask_head(pages);
    }
    return open_page(pages, answer);
}

/* Gets the answer to whatever is asked, and deals with it. */
static enum es_status advance(struct es_pages *pages, int64_t deadline_ns)
{
    struct es_answer answer = {0};
    enum es_status status;

    if (deadline_ns == 0) {
        status = es_question_poll(pages->question, &answer);
    } else {
        status = es_question_wait(pages->question, deadline_ns, &answer);
    }
    if (status == ES_OK) {
        return take_answer(pages, &answer);
    }
    if (status == ES_EMPTY || status == ES_TIMEOUT) {
        return ES_TIMEOUT;
    }
    if (status != ES_INTERRUPTED) {
        pages->is_asked = false;
        pages->is_head_asked = false;
    }
    return status;
}

enum es_status es_pages_verify(struct es_pages *pages)
{
    enum es_status status = ask_head(pages);

    while (status == ES_OK && pages->is_head_asked) {
        status = advance(pages, ES_DEADLINE_NEVER);
    }
    return status;
}

static enum es_status read_event(struct es_pages *pages, struct es_published_event *ret_event)
{
    struct es_published_event event;

    es_event_item_read(&pages->unpack, &event);
    if (!es_unpack_ok(&pages->unpack)) {
        return es_fail(pages->connection, ES_E_PROTOCOL,
                       "the broker in %s sent a page that the protocol does not allow",
                       pages->connection->run_dir);
    }
    pages->events_left--;
    *ret_event = event;
    return ES_OK;
}

enum es_status es_pages_next(struct es_pages *pages, int64_t deadline_ns,
                             struct es_published_event *ret_event)
{
    for (;;) {
        enum es_status status = ES_OK;

        if (pages->events_left > 0) {
            return read_event(pages, ret_event);
        }
        if (pages->has_page) {
            bool was_last = pages->is_last;

            drop_page(pages);
            if (was_last) {
                return ES_EMPTY;
            }
        }
        if (!pages->is_asked && !pages->is_head_asked) {
            status = ask_page(pages);
        }
        if (status == ES_OK) {
            status = advance(pages, deadline_ns);
        }
        if (status != ES_OK) {
            return status;
        }
    }
}
