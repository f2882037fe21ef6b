/* The sending half of an import; see import_run.h. */
#include "tools/esctl/import_run.h"

#include "shm/codec/reason.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define OUTCOME_COUNT 64 /* taken at a time */

enum es_exit import_run_start(struct import_run *run, struct invocation *invocation,
                              const struct import_options *options)
{
    const struct es_producer_options producer_options = {.in_flight_max =
                                                             (uint32_t)options->in_flight_max,
                                                         .ordered = true,
                                                         .timeout_ns = invocation->timeout_ns,
                                                         .name = options->producer,
                                                         .take_over = options->take_over};

    memset(run, 0, sizeof *run);
    run->invocation = invocation;
    run->name = options->producer;
    const enum es_status status =
        es_producer_open(invocation->connection, &producer_options, &run->producer);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    run->stored = es_producer_last_number(run->producer);
    import_parser_init(&run->parser);
    stream_count_init(&run->streams);
    progress_start(&run->progress, "imported");
    return ES_EXIT_OK;
}

bool import_run_has_failed(const struct import_run *run)
{
    return run->failure != ES_OK;
}

void import_run_fail(struct import_run *run, uint64_t line_number, enum es_status status,
                     const char *text)
{
    if (run->failure != ES_OK && run->failed_line <= line_number) {
        return;
    }
    run->failure = status;
    run->failed_line = line_number;
    (void)snprintf(run->error, sizeof run->error, "%s", text);
}

bool import_run_has_line(struct import_run *run)
{
    run->number++;
    return run->number < run->stored;
}

void import_run_end_of_file(struct import_run *run, uint64_t last_line_number)
{
    char text[IMPORT_ERROR_SIZE];

    if (run->number < run->stored) {
        (void)snprintf(text, sizeof text,
                       "the file ends here, and %s has stored %" PRIu64 " lines: is it another "
                       "file, or cut off",
                       run->name, run->stored);
        import_run_fail(run, last_line_number + 1, ES_E_CORRUPT, text);
    }
}

/* The store knows less of the name than this run was told: its producer has ended, and says so
 * to whoever asks next. */
static bool has_regressed(struct import_run *run, uint64_t line_number)
{
    const enum es_status status = run->name != NULL ? es_producer_flush(run->producer, 0) : ES_OK;

    if (status == ES_REGRESSED) {
        import_run_fail(run, line_number, status, es_connection_error(run->invocation->connection));
    }
    return status == ES_REGRESSED;
}

/* Why the broker did not store a line, as a person wants to read it. */
static void note_refusal(struct import_run *run, uint64_t line_number,
                         const struct es_outcome *outcome)
{
    char text[IMPORT_ERROR_SIZE];

    if (outcome->status == ES_E_UNKNOWN && has_regressed(run, line_number)) {
        return;
    }
    if (outcome->refusal.reason == ES_REASON_PRODUCER_CONTENT) {
        (void)snprintf(text, sizeof text,
                       "%s has stored another line under number %" PRIu64 ": is it another file",
                       run->name, outcome->number);
    } else if (outcome->status == ES_E_CORRUPT) {
        import_run_fail(run, line_number, ES_E_IO,
                        "what is stored of it cannot be read: the store is damaged there");
        return;
    } else if (outcome->status == ES_CONFLICT) {
        (void)snprintf(text, sizeof text, "%s; the stream is at sequence %" PRIu64,
                       es_refusal_text(&outcome->refusal), outcome->refusal.actual_sequence);
    } else if (outcome->status > 0) {
        (void)snprintf(text, sizeof text, "%s", es_refusal_text(&outcome->refusal));
    } else {
        (void)snprintf(text, sizeof text, "%s", es_status_text(outcome->status));
    }
    import_run_fail(run, line_number, outcome->status, text);
}

static void take_outcome(struct import_run *run, const struct es_outcome *outcome)
{
    assert(run->pending_count > 0);
    const struct import_pending *line = &run->pending[run->pending_first];

    run->pending_first = (run->pending_first + 1) % IMPORT_IN_FLIGHT_MAX;
    run->pending_count--;
    if (outcome->status != ES_OK) {
        note_refusal(run, line->line_number, outcome);
        return;
    }
    run->last_line = line->line_number;
    if (line->is_repeat) {
        return;
    }
    if (line->stream_key == 0) {
        run->key_count++;
        return;
    }
    run->event_count++;
    run->last_position = outcome->receipt.position;
    stream_count_add(&run->streams, line->stream_key);
}

/* Waits for one outcome at least, within the deadline of an answer. */
static void collect(struct import_run *run, uint64_t timeout_ns)
{
    struct es_outcome outcomes[OUTCOME_COUNT];
    size_t count = 0;

    const enum es_status status =
        es_producer_poll(run->producer, outcomes, OUTCOME_COUNT, timeout_ns, &count);
    for (size_t i = 0; i < count && run->pending_count > 0; i++) {
        take_outcome(run, &outcomes[i]);
    }
    if (status != ES_OK && count == 0 && run->pending_count > 0) {
        /* No answer to the oldest line and all after it: nobody knows about them. */
        import_run_fail(run, run->pending[run->pending_first].line_number, ES_E_UNKNOWN,
                        es_status_text(status));
        run->pending_count = 0;
    }
}

static enum es_status submit_key(struct import_run *run, const struct import_line *line,
                                 uint64_t *ret_ticket)
{
    struct es_transaction *transaction = NULL;

    enum es_status status = es_transaction_begin(run->producer, &transaction);
    if (status != ES_OK) {
        return status;
    }
    status = es_transaction_put(transaction, ES_KEYS, line->name_space, line->key, ES_REVISION_ANY,
                                line->value, line->value_bytes);
    if (status != ES_OK) {
        es_transaction_abandon(transaction);
        return status;
    }
    status = es_transaction_submit(transaction, ret_ticket);
    if (status == ES_FULL) { /* the one status that leaves it open */
        es_transaction_abandon(transaction);
    }
    return status;
}

static enum es_status submit(struct import_run *run, const struct import_line *line)
{
    uint64_t ticket = 0;
    enum es_status status = ES_OK;

    if (run->name != NULL) {
        status = es_producer_set_number(run->producer, run->number);
    }
    if (status != ES_OK) {
        return status;
    }
    return line->is_key ? submit_key(run, line, &ticket)
                        : es_producer_submit(run->producer, line->stream, &line->expectation,
                                             &line->event, 1, &ticket);
}

void import_run_send(struct import_run *run, uint64_t line_number, const struct import_line *line)
{
    const uint64_t timeout_ns = run->invocation->timeout_ns;
    enum es_status status = ES_FULL;

    run->had_store_fields = run->had_store_fields || line->has_store_fields;
    while (status == ES_FULL && !import_run_has_failed(run)) {
        status = run->pending_count < IMPORT_IN_FLIGHT_MAX ? submit(run, line) : ES_FULL;
        if (status == ES_FULL) {
            collect(run, timeout_ns);
        }
    }
    if (status == ES_OK) {
        const size_t last = (run->pending_first + run->pending_count) % IMPORT_IN_FLIGHT_MAX;
        run->pending[last] =
            (struct import_pending){.line_number = line_number,
                                    .stream_key = line->is_key ? 0 : stream_count_key(line->stream),
                                    .is_repeat = run->number <= run->stored};
        run->pending_count++;
    } else if (status != ES_FULL) {
        import_run_fail(run, line_number, status, es_connection_error(run->invocation->connection));
    }
}

/* A line that is not stored because of what it holds: exit 65, whatever the reason. */
static enum es_exit exit_of_failure(enum es_status failure)
{
    switch (failure) {
    case ES_CONFLICT:
    case ES_NOT_FOUND:
    case ES_E_EXISTS:
    case ES_E_INVALID: return ES_EXIT_DATA;
    default: return exit_of_status(failure);
    }
}

/* What became of the failed line, in one word. */
static const char *failure_name(enum es_status failure)
{
    switch (failure) {
    case ES_OK: return "ok";
    case ES_E_CORRUPT: return "malformed";
    case ES_E_UNKNOWN: return "unknown";
    case ES_E_IO: return "unreadable";
    case ES_INTERRUPTED: return "interrupted";
    default: return failure > 0 || exit_of_failure(failure) == ES_EXIT_DATA ? "refused" : "failed";
    }
}

static enum es_exit print_summary(const struct import_run *run, double seconds, enum es_exit exit)
{
    const double rate = (double)run->event_count / seconds;

    (void)printf("imported %" PRIu64 " events of %s%zu streams", run->event_count,
                 run->streams.at_least ? "at least " : "", run->streams.count);
    if (run->key_count > 0) {
        (void)printf(" and %" PRIu64 " keys", run->key_count);
    }
    (void)printf(" in %.3f seconds, %.0f events/s\n", seconds, rate);
    if (run->stored > 0) {
        (void)printf("%" PRIu64 " lines had been stored before by %s\n", run->stored, run->name);
    }
    if (run->had_store_fields) {
        (void)printf("positions, times and revisions of the file were not taken over: this store "
                     "has its own\n");
    }
    return exit;
}

static enum es_exit print_summary_json(const struct import_run *run, double seconds,
                                       enum es_exit exit)
{
    struct json_out line;

    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", failure_name(run->failure));
    json_out_member_uint(&line, "events", run->event_count);
    json_out_member_uint(&line, "streams", run->streams.count);
    json_out_member_uint(&line, "keys", run->key_count);
    json_out_member_fixed(&line, "seconds", seconds, 6);
    json_out_member_fixed(&line, "events_per_second", (double)run->event_count / seconds, 1);
    json_out_member_uint(&line, "last_line", run->last_line);
    json_out_member_uint(&line, "last_position", run->last_position);
    if (run->name != NULL) {
        json_out_member_string(&line, "producer", run->name);
        json_out_member_uint(&line, "stored_before", run->stored);
        json_out_member_uint(&line, "last_number", es_producer_last_number(run->producer));
    }
    json_out_name(&line, "own_positions_and_times");
    json_out_bool(&line, run->had_store_fields);
    if (run->failure != ES_OK) {
        json_out_member_uint(&line, "failed_line", run->failed_line);
        json_out_member_string(&line, "error", run->error);
    }
    json_out_close(&line, '}');
    return invocation_print(&line, exit);
}

static void print_failure(const struct import_run *run)
{
    const char *name = failure_name(run->failure);

    switch (run->failure) {
    case ES_E_UNKNOWN:
        if (run->name != NULL) {
            invocation_error("line %" PRIu64 ": no answer (%s): the same command again goes on "
                             "where the store is",
                             run->failed_line, run->error);
            break;
        }
        invocation_error("line %" PRIu64 ": no answer (%s), and none to the lines after it: "
                         "compare with `esctl head` before importing the rest",
                         run->failed_line, run->error);
        break;
    case ES_REGRESSED:
        invocation_error("line %" PRIu64 ": %s", run->failed_line, run->error);
        break;
    case ES_INTERRUPTED:
        invocation_error("interrupted: line %" PRIu64 " is the last one committed", run->last_line);
        break;
    default:
        invocation_error("line %" PRIu64 " %s: %s: everything before it is committed and nothing "
                         "after it",
                         run->failed_line, name, run->error);
        break;
    }
}

enum es_exit import_run_finish(struct import_run *run, bool interrupted)
{
    while (run->pending_count > 0) {
        collect(run, run->invocation->timeout_ns);
        progress_show(&run->progress, run->event_count, 0, 0);
    }
    if (interrupted) {
        import_run_fail(run, run->last_line + 1, ES_INTERRUPTED, "interrupted");
    }
    progress_clear(&run->progress);
    const double seconds = progress_seconds(&run->progress);
    const enum es_exit exit = run->invocation->json
                                  ? print_summary_json(run, seconds, exit_of_failure(run->failure))
                                  : print_summary(run, seconds, exit_of_failure(run->failure));
    if (run->failure != ES_OK) {
        print_failure(run);
    }
    es_producer_close(run->producer);
    import_parser_deinit(&run->parser);
    stream_count_deinit(&run->streams);
    return exit;
}
