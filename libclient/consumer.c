/*
 * Consumers: history first, then what is published, joined without a gap or a
 * repeat. Two modes and one position:
 *
 *   reading  pages of the store from position + 1, up to its end; meanwhile what
 *            is published waits in the socket, and what does not fit is lost
 *   live     published messages, put in order by live.h, until it is in doubt
 *            whether one is missing; then reading, from position + 1
 *
 * Whatever is lost, late, repeated or damaged on its way is thus read from the
 * store. Which messages are in doubt is live.h's knowledge, whether the broker
 * still continues the same history pages.h's.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libclient/event_check.h"
#include "libclient/filter.h"
#include "libclient/live.h"
#include "libclient/pages.h"
#include "libclient/receipt.h"
#include "shm/futex.h"

struct es_consumer {
    struct es_guard guard;
    struct es_connection *connection; /* held */
    struct es_filter filter;
    struct es_pages pages;
    struct es_live live;
    struct es_links *links;
    struct es_socket *subscriber;
    int poll_fd; /* epoll over what the present mode waits for */
    bool is_reading;
    bool is_subscriber_polled; /* its descriptor is in poll_fd */
    int64_t heard_ns;          /* when the last message came */
    int64_t gone_ns;           /* since when the broker cannot be reached; 0: it can */
    int64_t retry_ns;          /* after a failure to reach it: not before; 0: at once */
    uint64_t live_events;
    uint64_t read_events;
    struct es_event_space space;
};

static void free_consumer(struct es_consumer *consumer)
{
    struct es_connection *connection = consumer->connection;

    if (consumer->poll_fd >= 0) {
        close(consumer->poll_fd);
    }
    es_socket_close(consumer->subscriber);
    es_pages_deinit(&consumer->pages);
    es_live_deinit(&consumer->live);
    es_links_free(consumer->links);
    es_handle_retire(consumer);
    es_connection_drop(connection);
}

/* ---- opening ------------------------------------------------------------ */

static enum es_status subscribe(struct es_consumer *consumer)
{
    struct es_connection *connection = consumer->connection;
    char path[ES_RUN_DIR_BYTES_MAX + sizeof "/events.sock"];
    enum es_status status = es_connection_greet(connection);

    if (status == ES_OK) {
        status = es_connection_probe(connection);
    }
    if (status != ES_OK) {
        return status;
    }
    (void)snprintf(path, sizeof path, "%s/events.sock", connection->run_dir);
    status = es_socket_open(ES_SOCKET_SUBSCRIBE, path, &consumer->subscriber);
    if (status == ES_OK) {
        status = es_socket_subscribe(consumer->subscriber, consumer->filter.topic,
                                     strlen(consumer->filter.topic));
    }
    if (status == ES_OK) {
        status = es_socket_subscribe(consumer->subscriber, ES_HEARTBEAT_TOPIC,
                                     strlen(ES_HEARTBEAT_TOPIC));
    }
    if (status != ES_OK) {
        return es_fail(connection, status, "cannot subscribe to %s: %s", path,
                       es_status_text(status));
    }
    return ES_OK;
}

/* Shows the broker what the caller has seen. */
static enum es_status present_checkpoint(struct es_consumer *consumer,
                                         const struct es_consumer_options *options)
{
    const struct es_store_head *head = &consumer->pages.head;
    struct es_request_hello claim = {.has_checkpoint = true, .epoch = options->epoch};

    if (options->epoch == 0 && options->store_id == NULL) {
        return ES_OK;
    }
    memcpy(claim.store_id, options->store_id != NULL ? options->store_id : head->store_id,
           sizeof claim.store_id);
    if (options->epoch == 0) {
        claim.epoch = head->epoch;
    }
    if (options->from_position > 1 && options->from_position != ES_LIVE) {
        claim.position = options->from_position - 1;
    }
    return es_claim_present(consumer->connection, &claim);
}

/* Where to begin, and whether the store continues what the caller has. */
static enum es_status choose_position(struct es_consumer *consumer,
                                      const struct es_consumer_options *options,
                                      uint64_t *ret_position)
{
    const struct es_store_head *head = &consumer->pages.head;
    uint64_t position = options->from_position > 0 ? options->from_position - 1 : 0;
    enum es_status status = present_checkpoint(consumer, options);

    if (status != ES_OK) {
        return status;
    }
    if (options->from_position == ES_LIVE) {
        position = head->position;
    }
    if (position > head->position) {
        return es_fail(consumer->connection, ES_REGRESSED,
                       "the store in %s ends at position %llu, before position %llu, which was "
                       "seen already",
                       consumer->connection->run_dir, (unsigned long long)head->position,
                       (unsigned long long)position);
    }
    *ret_position = position;
    return ES_OK;
}

/* What the caller's poll() waits for; the subscriber only while we are live, or
 * it would be readable all the time that we read history. */
static enum es_status watch(struct es_consumer *consumer, int fd, bool is_wanted)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (epoll_ctl(consumer->poll_fd, is_wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event) != 0) {
        return es_fail(consumer->connection, ES_E_IO, "epoll: %s", strerror(errno));
    }
    return ES_OK;
}

static enum es_status watch_subscriber(struct es_consumer *consumer, bool is_wanted)
{
    enum es_status status = ES_OK;

    if (consumer->is_subscriber_polled != is_wanted) {
        status = watch(consumer, es_socket_fd(consumer->subscriber), is_wanted);
        consumer->is_subscriber_polled = is_wanted == (status == ES_OK);
    }
    return status;
}

static enum es_status start(struct es_consumer *consumer, const struct es_consumer_options *options)
{
    const struct es_pages_options paging = {.is_verified = true, .target = consumer->filter.text};
    uint64_t position = 0;
    enum es_status status = es_pages_init(&consumer->pages, consumer->connection, &paging);

    if (status == ES_OK) {
        status = subscribe(consumer); /* before history is read, so that the two overlap */
    }
    if (status == ES_OK) {
        status = es_pages_verify(&consumer->pages);
    }
    if (status == ES_OK) {
        status = choose_position(consumer, options, &position);
    }
    if (status == ES_OK) {
        status = es_live_init(&consumer->live, &consumer->filter, position,
                              consumer->pages.head.epoch, consumer->pages.head.start_number);
        if (status != ES_OK) {
            status = es_fail_no_memory(consumer->connection);
        }
    }
    if (status != ES_OK) {
        return status;
    }
    consumer->live.head_position = consumer->pages.head.position;
    consumer->is_reading = position < consumer->pages.head.position;
    es_pages_restart(&consumer->pages, position + 1);
    consumer->pages.floor_position = position;
    consumer->heard_ns = es_monotonic_ns();
    consumer->links = es_links_new(ES_LINK_COUNT);
    consumer->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (consumer->links == NULL) {
        return es_fail_no_memory(consumer->connection);
    }
    if (consumer->poll_fd < 0) {
        return es_fail(consumer->connection, ES_E_LIMIT, "no epoll: %s", strerror(errno));
    }
    status = watch(consumer, es_question_fd(consumer->pages.question), true);
    return status == ES_OK ? watch_subscriber(consumer, !consumer->is_reading) : status;
}

enum es_status es_consumer_open(struct es_connection *connection,
                                const struct es_consumer_options *options,
                                struct es_consumer **ret_consumer)
{
    static const struct es_consumer_options defaults = {0};
    const struct es_consumer_options *wanted = options != NULL ? options : &defaults;
    struct es_consumer *consumer = NULL;
    enum es_status status;

    if (connection == NULL || ret_consumer == NULL) {
        return ES_E_INVALID;
    }
    status = es_connection_hold(connection);
    if (status != ES_OK) {
        return status;
    }
    consumer = es_handle_new(sizeof *consumer);
    if (consumer == NULL) {
        status = es_fail_no_memory(connection);
        es_connection_drop(connection);
        return status;
    }
    consumer->connection = connection;
    consumer->poll_fd = -1;
    status = es_filter_parse(connection, wanted->filter, &consumer->filter);
    if (status == ES_OK) {
        status = start(consumer, wanted);
    }
    if (status != ES_OK) {
        free_consumer(consumer);
        return status;
    }
    es_guard_init(&consumer->guard);
    *ret_consumer = consumer;
    return ES_OK;
}

void es_consumer_close(struct es_consumer *consumer)
{
    if (consumer != NULL && es_guard_close(&consumer->guard)) {
        free_consumer(consumer);
    }
}

/* ---- reading ------------------------------------------------------------ */

static enum es_status begin_reading(struct es_consumer *consumer)
{
    if (consumer->live.is_suspicious) {
        consumer->pages.verified_pipe = 0; /* ask again whose history it is */
        consumer->live.is_suspicious = false;
    }
    es_pages_restart(&consumer->pages, consumer->live.position + 1);
    consumer->is_reading = true;
    return watch_subscriber(consumer, false);
}

/* The end of history: live from here, unless more is known to be there. */
static enum es_status end_reading(struct es_consumer *consumer)
{
    es_live_resume(&consumer->live, consumer->pages.consistent_position);
    consumer->pages.floor_position = consumer->live.position;
    consumer->heard_ns = es_monotonic_ns();
    if (consumer->live.is_in_doubt) {
        return begin_reading(consumer);
    }
    consumer->is_reading = false;
    return watch_subscriber(consumer, true);
}

static void accept_event(struct es_consumer *consumer, const struct es_event *event)
{
    es_live_accept(&consumer->live, event->position);
    consumer->pages.floor_position = consumer->live.position;
}

static enum es_status deliver_read(struct es_consumer *consumer,
                                   const struct es_published_event *found,
                                   struct es_event *ret_event)
{
    struct es_event event;
    enum es_status status =
        es_event_check(consumer->connection, consumer->links, found, &consumer->space, &event);

    if (status == ES_OK && event.position <= consumer->live.position) {
        status = es_event_damaged(consumer->connection, &event, "it is out of order");
    } else if (status == ES_OK && consumer->filter.kind == ES_FILTER_ALL &&
               event.position != consumer->live.position + 1) {
        status = es_event_damaged(consumer->connection, &event, "a position before it is missing");
    } else if (status == ES_OK &&
               !es_filter_wants_stream(&consumer->filter, es_text_of(event.stream))) {
        status =
            es_event_damaged(consumer->connection, &event, "it came though it is filtered out");
    }
    if (status != ES_OK) {
        /* The next call finds it again, in place of going past it. */
        es_pages_restart(&consumer->pages, consumer->live.position + 1);
        return status;
    }
    accept_event(consumer, &event);
    consumer->read_events++;
    *ret_event = event;
    return ES_OK;
}

/* After a failure to reach the broker: waits until it is time to try again. */
static enum es_status await_retry(struct es_consumer *consumer, int64_t deadline_ns)
{
    while (consumer->retry_ns != 0) {
        int64_t until_ns = consumer->retry_ns < deadline_ns ? consumer->retry_ns : deadline_ns;
        enum es_status status;

        if (es_monotonic_ns() >= consumer->retry_ns) {
            consumer->retry_ns = 0;
        } else if (deadline_ns == 0) {
            return ES_TIMEOUT;
        } else {
            status = es_connection_wait(consumer->connection, -1, 0, until_ns);
            if (status != ES_TIMEOUT || es_monotonic_ns() >= deadline_ns) {
                return status;
            }
        }
    }
    return ES_OK;
}

/* A broker that is away for a moment is waited for; one that stays away is told. */
static enum es_status not_reached(struct es_consumer *consumer)
{
    int64_t now_ns = es_monotonic_ns();

    if (consumer->gone_ns == 0) {
        consumer->gone_ns = now_ns;
    }
    if (now_ns - consumer->gone_ns < ES_SILENCE_NS) {
        consumer->retry_ns = now_ns + ES_RECONNECT_MAX_MS * ES_MILLISECOND_NS;
        return ES_EMPTY;
    }
    consumer->retry_ns = now_ns + ES_RETRY_NS;
    return ES_E_UNREACHABLE;
}

/* ES_OK: an event. ES_EMPTY: the mode may have changed, look again. ES_TIMEOUT. */
static enum es_status step_reading(struct es_consumer *consumer, int64_t deadline_ns,
                                   struct es_event *ret_event)
{
    struct es_published_event found;
    enum es_status status;

    status = await_retry(consumer, deadline_ns);
    if (status != ES_OK) {
        return status;
    }
    status = es_pages_next(&consumer->pages, deadline_ns, &found);
    if (status == ES_E_UNREACHABLE) {
        return not_reached(consumer);
    }
    if (status == ES_OK || status == ES_EMPTY) {
        consumer->gone_ns = 0;
    }
    if (status == ES_OK) {
        return deliver_read(consumer, &found, ret_event);
    }
    if (status == ES_EMPTY) {
        status = end_reading(consumer);
        return status == ES_OK ? ES_EMPTY : status;
    }
    return status;
}

/* ---- live --------------------------------------------------------------- */

/* An event from publication. What is wrong with it may be the message's fault
 * alone: then the store has it right, and reading decides. */
static enum es_status deliver_live(struct es_consumer *consumer,
                                   const struct es_published_event *found, struct es_text topic,
                                   struct es_event *ret_event)
{
    struct es_text category = es_text_make(topic.data + 2, topic.size - 2);
    struct es_event event;

    if (es_event_check(consumer->connection, consumer->links, found, &consumer->space, &event) !=
            ES_OK ||
        !es_text_starts_with(es_text_of(event.stream), category)) {
        es_live_miss(&consumer->live, found->position);
        return ES_EMPTY;
    }
    accept_event(consumer, &event);
    consumer->live_events++;
    *ret_event = event;
    return ES_OK;
}

static enum es_status step_live(struct es_consumer *consumer, int64_t deadline_ns,
                                struct es_event *ret_event)
{
    struct es_published_event found;
    struct es_message message = {0};
    struct es_text topic;
    enum es_status status = es_live_next(&consumer->live, &found, &topic);
    int64_t silence_ns;

    if (status == ES_OK) {
        return deliver_live(consumer, &found, topic, ret_event);
    }
    if (consumer->live.is_in_doubt) {
        status = begin_reading(consumer);
        return status == ES_OK ? ES_EMPTY : status;
    }
    status = es_socket_receive(consumer->subscriber, &message);
    if (status == ES_OK) {
        consumer->heard_ns = es_monotonic_ns();
        es_live_push(&consumer->live, &message);
        return ES_EMPTY;
    }
    if (status != ES_EMPTY) {
        return es_fail(consumer->connection, status, "cannot receive from %s/events.sock: %s",
                       consumer->connection->run_dir, es_status_text(status));
    }
    /* Nothing: not even a heartbeat for long? Then the store knows. */
    silence_ns = consumer->heard_ns + ES_SILENCE_NS;
    if (es_monotonic_ns() >= silence_ns) {
        status = begin_reading(consumer);
        return status == ES_OK ? ES_EMPTY : status;
    }
    if (deadline_ns == 0) {
        return ES_TIMEOUT;
    }
    status = es_connection_wait(consumer->connection, es_socket_fd(consumer->subscriber), POLLIN,
                                silence_ns < deadline_ns ? silence_ns : deadline_ns);
    return status == ES_OK || (status == ES_TIMEOUT && silence_ns < deadline_ns) ? ES_EMPTY
                                                                                 : status;
}

/* ---- the public calls --------------------------------------------------- */

static enum es_status next_entered(struct es_consumer *consumer, uint64_t timeout_ns,
                                   struct es_event *ret_event)
{
    int64_t deadline_ns = timeout_ns == 0 ? 0 : es_deadline_of(timeout_ns);
    enum es_status status = ES_EMPTY;

    /* Not only while waiting: a consumer that always finds an event ends too. */
    if (timeout_ns != 0 &&
        atomic_load_explicit(&consumer->connection->interrupted, memory_order_relaxed) != 0) {
        return ES_INTERRUPTED;
    }
    while (status == ES_EMPTY) {
        status = consumer->is_reading ? step_reading(consumer, deadline_ns, ret_event)
                                      : step_live(consumer, deadline_ns, ret_event);
    }
    return status;
}

enum es_status es_consumer_next(struct es_consumer *consumer, uint64_t timeout_ns,
                                struct es_event *ret_event)
{
    enum es_status status;

    if (consumer == NULL || ret_event == NULL) {
        return ES_E_INVALID;
    }
    status = es_guard_enter(&consumer->guard);
    if (status == ES_OK) {
        status = next_entered(consumer, timeout_ns, ret_event);
        es_guard_leave(&consumer->guard);
    }
    return status;
}

int es_consumer_fd(const struct es_consumer *consumer)
{
    return consumer != NULL ? consumer->poll_fd : -1;
}

void es_consumer_state(const struct es_consumer *consumer, struct es_consumer_state *ret_state)
{
    if (consumer == NULL || ret_state == NULL) {
        return;
    }
    ret_state->position = consumer->live.position;
    ret_state->head_position = consumer->live.head_position;
    ret_state->epoch = consumer->pages.head.epoch;
    ret_state->repairs = consumer->live.repairs;
    ret_state->live_events = consumer->live_events;
    ret_state->read_events = consumer->read_events;
}
