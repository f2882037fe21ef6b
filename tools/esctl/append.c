/* esctl append: one event to one stream, and what became of it. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/input_file.h"
#include "tools/esctl/payload_json.h"
#include "tools/esctl/receipt_file.h"

#include "shm/codec/hash.h"
#include "shm/codec/reason.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct append_options {
    const char *payload;
    const char *payload_file;
    const char *tick;
    const char *expect;
    const char *expect_hash;
    const char *receipt_out;
    char *producer; /* NAME, and the number after it once it is read; NULL: none */
    uint64_t number;
    bool take_over;
    bool allow_gaps;
    bool raw;
};

/* What is sent, and what is freed after it. */
struct append_request {
    struct es_event_input event;
    struct es_expectation expectation;
    uint8_t expected_hash[ES_HASH_BYTES];
    char *bytes; /* the payload as it was given */
    size_t byte_count;
    struct payload_scratch scratch;
};

enum {
    KEY_RAW = 0x100,
    KEY_EXPECT_HASH,
    KEY_PAYLOAD_FILE,
    KEY_RECEIPT_OUT,
    KEY_PRODUCER,
    KEY_TAKE_OVER,
    KEY_ALLOW_GAPS
};

static const struct argp_option options[] = {
    {"payload", 'p', "JSON", 0, "the payload; it becomes MessagePack", 0},
    {"payload-file", KEY_PAYLOAD_FILE, "FILE", 0, "the payload from FILE, - for standard input", 0},
    {"raw", KEY_RAW, NULL, 0, "keep the payload's bytes as they are", 0},
    {"tick", 'k', "N", 0, "logical time (default: now, in milliseconds; with --producer 0)", 0},
    {"expect", 'e', "WHAT", 0, "any, none, exists, or the stream's last SEQUENCE", 0},
    {"receipt-out", KEY_RECEIPT_OUT, "FILE", 0, "keep the receipt in FILE, - for standard output",
     0},
    {"expect-hash", KEY_EXPECT_HASH, "HEX", 0, "the stream's last hash; \"\": none yet", 0},
    {"producer", KEY_PRODUCER, "NAME:NUMBER", 0,
     "store it once: the same command again prints the first receipt", 0},
    {"take-over", KEY_TAKE_OVER, NULL, 0, "take the name from a living owner", 0},
    {"allow-gaps", KEY_ALLOW_GAPS, NULL, 0, "numbers before this one may be left out", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct append_options *given = context;

    (void)invocation;
    switch (key) {
    case 'p': given->payload = argument; break;
    case KEY_PAYLOAD_FILE: given->payload_file = argument; break;
    case KEY_RAW: given->raw = true; break;
    case 'k': given->tick = argument; break;
    case 'e': given->expect = argument; break;
    case KEY_RECEIPT_OUT: given->receipt_out = argument; break;
    case KEY_PRODUCER: given->producer = strdup(argument); return given->producer != NULL;
    case KEY_TAKE_OVER: given->take_over = true; break;
    case KEY_ALLOW_GAPS: given->allow_gaps = true; break;
    default: given->expect_hash = argument; break;
    }
    return true;
}

static const struct verb_syntax syntax = {
    .words_doc = "STREAM TYPE",
    .doc = "Appends one event of TYPE to STREAM (variant:branch:L0:domain:Mmodel) and waits until "
           "it is stored. Without a payload it is empty. An expectation that does not hold is a "
           "conflict: exit 1, nothing is stored. With --producer the event is stored once, however "
           "often and by whomever the command is repeated; other content under a number that is "
           "stored is refused: exit 65.",
    .options = options,
    .take = take,
    .word_count_min = 2,
    .word_count_max = 2,
};

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool read_expectation(const struct invocation *invocation,
                             const struct append_options *given, struct append_request *request)
{
    struct es_expectation *expectation = &request->expectation;

    if (given->expect_hash != NULL) {
        expectation->hash = request->expected_hash;
        if (!argument_hash(invocation, "--expect-hash", given->expect_hash, request->expected_hash,
                           &expectation->hash_bytes)) {
            return false;
        }
    }
    if (given->expect == NULL || strcmp(given->expect, "any") == 0) {
        expectation->kind = ES_EXPECT_ANY;
    } else if (strcmp(given->expect, "none") == 0 || strcmp(given->expect, "0") == 0) {
        expectation->kind = ES_EXPECT_NONE;
    } else if (strcmp(given->expect, "exists") == 0) {
        expectation->kind = ES_EXPECT_EXISTS;
    } else if (number_parse(given->expect, &expectation->sequence) &&
               expectation->sequence <= INT64_MAX) {
        expectation->kind = ES_EXPECT_SEQUENCE;
    } else {
        return invocation_usage_error(invocation,
                                      "--expect takes any, none, exists or a sequence, not \"%s\"",
                                      given->expect);
    }
    return true;
}

static bool read_options(struct invocation *invocation, struct append_options *given,
                         struct append_request *request)
{
    request->event.type = invocation->words[1];
    /* A repeat has to be the same, so the time of day is no part of it. */
    request->event.tick = given->producer != NULL ? 0 : now_ms();
    if (given->producer == NULL && (given->take_over || given->allow_gaps)) {
        return invocation_usage_error(invocation, "--take-over and --allow-gaps need --producer");
    }
    if (given->producer != NULL &&
        !argument_producer_number(invocation, given->producer, &given->number)) {
        return false;
    }
    if (!argument_stream(invocation, invocation->words[0])) {
        return false;
    }
    if (given->payload != NULL && given->payload_file != NULL) {
        return invocation_usage_error(invocation,
                                      "--payload and --payload-file exclude each other");
    }
    if (given->tick != NULL &&
        !argument_number(invocation, "--tick", given->tick, 0, INT64_MAX, &request->event.tick)) {
        return false;
    }
    return read_expectation(invocation, given, request);
}

/* JSON becomes MessagePack. */
static enum es_exit convert_payload(struct append_request *request)
{
    char error[PAYLOAD_ERROR_SIZE];
    json_t *json = NULL;

    enum es_status status =
        payload_json_parse(&request->scratch, request->bytes, request->byte_count, &json, error);
    if (status == ES_OK) {
        status = payload_json_pack(&request->scratch, json, request->byte_count, error);
        json_decref(json);
    }
    if (status == ES_E_CORRUPT) {
        invocation_error("the payload is not JSON (%s): mend it, or use --raw", error);
        return ES_EXIT_DATA;
    }
    if (status != ES_OK) {
        invocation_error("%s: make the payload smaller", es_status_text(status));
        return ES_EXIT_IO;
    }
    request->event.payload = request->scratch.packed;
    request->event.payload_bytes = request->scratch.packed_size;
    return ES_EXIT_OK;
}

static enum es_exit read_payload(const struct append_options *given, struct append_request *request)
{
    enum es_exit exit = ES_EXIT_OK;

    if (given->payload == NULL && given->payload_file == NULL) {
        return ES_EXIT_OK;
    }
    if (given->payload_file != NULL) {
        exit = input_file_read(given->payload_file, &request->bytes, &request->byte_count);
    } else {
        request->bytes = strdup(given->payload);
        request->byte_count = strlen(given->payload);
        if (request->bytes == NULL) {
            fprintf(stderr, "esctl: not enough memory\n");
            exit = ES_EXIT_TRY_AGAIN;
        }
    }
    if (exit != ES_EXIT_OK || !given->raw) {
        return exit != ES_EXIT_OK ? exit : convert_payload(request);
    }
    request->event.payload = request->bytes;
    request->event.payload_bytes = request->byte_count;
    return ES_EXIT_OK;
}

/* What did not hold, in the words of the command line: a sequence as a number. */
static void expected_json(struct json_out *line, const struct append_request *request,
                          const struct es_refusal *refusal)
{
    const struct es_expectation *expectation = &request->expectation;
    const bool sequence_holds = expectation->kind == ES_EXPECT_SEQUENCE &&
                                expectation->sequence == refusal->actual_sequence;

    json_out_name(line, "expected");
    if (expectation->kind == ES_EXPECT_SEQUENCE && (expectation->hash == NULL || !sequence_holds)) {
        json_out_uint(line, expectation->sequence);
    } else if (expectation->kind == ES_EXPECT_NONE ||
               (expectation->hash != NULL && expectation->hash_bytes == 0)) {
        json_out_string(line, "none", 4);
    } else if (expectation->kind == ES_EXPECT_EXISTS && refusal->actual_sequence == 0) {
        json_out_string(line, "exists", 6);
    } else {
        json_out_hex(line, expectation->hash, expectation->hash_bytes);
    }
}

static enum es_exit tell_conflict(const struct invocation *invocation,
                                  const struct append_request *request,
                                  const struct es_refusal *refusal)
{
    const char *stream = invocation->words[0];
    struct json_out line;

    if (!invocation->json) {
        invocation_error("conflict, %s (%s is at sequence %" PRIu64 "): read on and decide anew",
                         es_refusal_text(refusal), stream, refusal->actual_sequence);
        return ES_EXIT_NO;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "conflict");
    json_out_member_string(&line, "stream", stream);
    expected_json(&line, request, refusal);
    json_out_member_uint(&line, "actual_sequence", refusal->actual_sequence);
    json_out_member_hex(&line, "actual_hash", refusal->actual_hash,
                        refusal->actual_sequence == 0 ? 0 : ES_HASH_BYTES);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_NO);
}

/* What `esctl verify --receipt` takes. */
static void json_receipt(struct json_out *line, const struct es_receipt *receipt,
                         const char *stream)
{
    uint8_t bytes[ES_RECEIPT_BYTES_MAX];
    size_t size = 0;

    if (es_receipt_pack(receipt, stream, bytes, sizeof bytes, &size) == ES_OK) {
        json_out_name(line, "receipt");
        json_out_base64(line, bytes, size);
    }
}

static enum es_exit tell_stored(const struct invocation *invocation,
                                const struct append_options *given,
                                const struct es_receipt *receipt, bool is_repeated)
{
    char hash[2 * ES_HASH_BYTES + 1] = {0};
    struct json_out line;

    if (!invocation->json) {
        es_hex_encode(receipt->hash, ES_HASH_BYTES, hash);
        (void)printf("%s sequence %" PRIu64 " position %" PRIu64 " hash %s%s\n",
                     invocation->words[0], receipt->sequence, receipt->position, hash,
                     is_repeated ? " (stored before)" : "");
        return ES_EXIT_OK;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "ok");
    json_out_member_string(&line, "stream", invocation->words[0]);
    json_out_member_uint(&line, "sequence", receipt->sequence);
    json_out_member_uint(&line, "position", receipt->position);
    json_out_member_hex(&line, "hash", receipt->hash, ES_HASH_BYTES);
    json_receipt(&line, receipt, invocation->words[0]);
    if (given->producer != NULL) {
        json_out_member_string(&line, "producer", given->producer);
        json_out_member_uint(&line, "number", given->number);
        json_out_name(&line, "stored_before");
        json_out_bool(&line, is_repeated);
    }
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

/* A rule was broken; those of numbers have their own way out. */
static enum es_exit tell_rejected(const struct append_options *given, uint64_t last_number,
                                  const struct es_refusal *refusal)
{
    switch (refusal->reason) {
    case ES_REASON_PRODUCER_CONTENT:
        invocation_error("refused, %s:%" PRIu64 " is stored with other content: "
                         "`esctl producer %s --number %" PRIu64 "` shows it, nothing was stored",
                         given->producer, given->number, given->producer, given->number);
        break;
    case ES_REASON_PRODUCER_SKIPPED:
        invocation_error("refused, %s:%" PRIu64 " was left out, and numbers up to %" PRIu64
                         " are stored: go on behind them",
                         given->producer, given->number, last_number);
        break;
    case ES_REASON_PRODUCER_GAP:
        invocation_error("refused, the last number of %s is %" PRIu64
                         ": append what is between first, or leave it out with --allow-gaps",
                         given->producer, last_number);
        break;
    default: invocation_error("refused, %s: nothing was stored", es_refusal_text(refusal)); break;
    }
    return exit_of_status(ES_REJECTED);
}

static enum es_status append(const struct invocation *invocation,
                             const struct append_options *given,
                             const struct append_request *request, struct es_producer *producer,
                             struct es_outcome *ret_outcome)
{
    enum es_status status = ES_OK;

    if (given->producer != NULL) {
        status = es_producer_set_number(producer, given->number);
    }
    return status != ES_OK
               ? status
               : es_producer_append(producer, invocation->words[0], &request->expectation,
                                    &request->event, 1, invocation->timeout_ns, ret_outcome);
}

static enum es_exit send(struct invocation *invocation, const struct append_options *given,
                         const struct append_request *request)
{
    const struct es_producer_options producer_options = {.timeout_ns = invocation->timeout_ns,
                                                         .name = given->producer,
                                                         .take_over = given->take_over,
                                                         .allow_gaps = given->allow_gaps};
    struct es_producer *producer = NULL;
    struct es_outcome outcome = {0};
    enum es_exit exit = invocation_connect(invocation);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    enum es_status status = es_producer_open(invocation->connection, &producer_options, &producer);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    const uint64_t last_number = es_producer_last_number(producer);
    status = append(invocation, given, request, producer, &outcome);
    if (status == ES_OK) {
        exit = tell_stored(invocation, given, &outcome.receipt,
                           given->number != 0 && given->number <= last_number);
        if (exit == ES_EXIT_OK && given->receipt_out != NULL) {
            exit = receipt_file_write(given->receipt_out, &outcome.receipt, invocation->words[0]);
        }
    } else if (status == ES_CONFLICT) {
        exit = tell_conflict(invocation, request, &outcome.refusal);
    } else if (status == ES_REJECTED) {
        exit = tell_rejected(given, last_number, &outcome.refusal);
    } else {
        exit = invocation_failed(invocation, status);
    }
    es_producer_close(producer);
    return exit;
}

enum es_exit verb_append(struct invocation *invocation)
{
    struct append_options given = {0};
    struct append_request request = {0};
    enum es_exit exit = ES_EXIT_USAGE;

    payload_scratch_init(&request.scratch);
    if (invocation_parse(invocation, &syntax, &given) &&
        read_options(invocation, &given, &request)) {
        exit = read_payload(&given, &request);
        if (exit == ES_EXIT_OK) {
            exit = send(invocation, &given, &request);
        }
    }
    payload_scratch_deinit(&request.scratch);
    free(request.bytes);
    free(given.producer);
    return exit;
}
