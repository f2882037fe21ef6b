#include "libclient/pages.h"

#include <inttypes.h>
#include <string.h>

#include "shm/futex.h"

#define ARGUMENT_OVERHEAD 64u

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
    return es_question_new(connection, &pages->question);
}

static void drop_page(struct es_pages *pages)
{
    es_reply_free(&pages->page);
    pages->has_page = false;
    pages->events_left = 0;
}

void es_pages_deinit(struct es_pages *pages)
{
    drop_page(pages);
    es_question_free(pages->question);
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
    struct es_pack *pack = NULL;
    enum es_status status = es_question_begin(
        pages->question, pages->is_stream ? ES_VERB_READ_STREAM : ES_VERB_READ_ALL,
        pages->is_stream ? 4 : 3, strlen(pages->target) + ARGUMENT_OVERHEAD, &pack);

    if (status != ES_OK) {
        return status;
    }
    if (pages->is_stream) {
        es_pack_str(pack, es_text_of(pages->target));
        es_pack_uint(pack, pages->from);
        es_pack_uint(pack, ES_PAGE_ITEM_COUNT_MAX);
        es_pack_bool(pack, pages->is_backwards);
    } else {
        es_pack_uint(pack, pages->from);
        es_pack_uint(pack, ES_PAGE_ITEM_COUNT_MAX);
        if (pages->target[0] == '\0') {
            es_pack_nil(pack);
        } else {
            es_pack_str(pack, es_text_of(pages->target));
        }
    }
    status = es_question_send(pages->question, true);
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
static enum es_status judge_head(struct es_pages *pages, struct es_reply *reply)
{
    struct es_store_head head;
    enum es_status status = es_store_head_read(pages->connection, reply, &head);

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
    pages->verified_pipe = reply->message.pipe_id;
    return ES_OK;
}

/* Finds what stands behind the events of a page, and asks for the next one. */
static enum es_status open_page(struct es_pages *pages, struct es_reply *reply)
{
    struct es_unpack behind = reply->unpack;
    uint64_t next;
    bool is_last;
    bool moves;

    (void)es_unpack_skip(&behind);
    is_last = es_unpack_bool(&behind);
    next = es_unpack_uint(&behind);
    moves = pages->is_backwards ? pages->from == 0 || next < pages->from : next > pages->from;
    if (!es_unpack_ok(&behind) || (!is_last && !moves)) {
        es_unpack_fail(&reply->unpack); /* or a page that leads nowhere */
    }
    pages->events_left = es_unpack_array(&reply->unpack);
    if (!es_unpack_ok(&reply->unpack)) {
        enum es_status status = es_reply_check(pages->connection, reply);

        pages->events_left = 0;
        es_reply_free(reply);
        return status;
    }
    pages->page = *reply;
    pages->unpack = reply->unpack;
    pages->has_page = true;
    pages->is_last = is_last;
    pages->consistent_position = reply->position;
    if (moves) {
        pages->from = next;
    }
    if (!is_last) {
        (void)!ask_page(pages); /* where this fails, it is asked again after this page */
    }
    return ES_OK;
}

static enum es_status take_reply(struct es_pages *pages, struct es_reply *reply)
{
    bool was_head = pages->is_head_asked;
    enum es_status status;

    pages->is_asked = false;
    pages->is_head_asked = false;
    if (reply->status != ES_OK) {
        status = reply->status;
        es_reply_explain(pages->connection, reply);
        es_reply_free(reply);
        return status;
    }
    if (was_head) {
        status = judge_head(pages, reply);
        es_reply_free(reply);
        return status;
    }
    if (pages->is_verified && reply->message.pipe_id != pages->verified_pipe) {
        es_reply_free(reply);
        return ask_head(pages);
    }
    return open_page(pages, reply);
}

/* Gets the answer to whatever is asked, and deals with it. */
static enum es_status advance(struct es_pages *pages, int64_t deadline_ns)
{
    struct es_reply reply = {0};
    enum es_status status;

    if (deadline_ns == 0) {
        status = es_question_poll(pages->question, &reply);
    } else {
        status = es_question_wait(pages->question, deadline_ns, &reply);
    }
    if (status == ES_OK) {
        return take_reply(pages, &reply);
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

    es_published_event_read(&pages->unpack, &event);
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
