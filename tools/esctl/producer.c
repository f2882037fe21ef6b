/* esctl producer and producers: who numbers its transactions, and how far it is. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/json_out.h"

#include "shm/codec/hash.h"

#include <inttypes.h>

static const struct argp_option options[] = {
    {"number", 'n', "N", 0, "also what was stored under this number", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    uint64_t *number = context;

    (void)key;
    return argument_number(invocation, "--number", argument, 1, UINT64_MAX, number);
}

static const struct verb_syntax syntax = {
    .words_doc = "NAME",
    .doc = "Prints the last number that is stored for the producer NAME, who owns the name, and "
           "with --number the receipt of that number. A name nobody has used, or a number that is "
           "not stored: exit 1.",
    .options = options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

static const struct verb_syntax list_syntax = {
    .words_doc = "",
    .doc = "Lists the named producers, one a line with its last number, in the order of their "
           "names.",
    .word_count_min = 0,
    .word_count_max = 0,
};

static void json_of_receipt(struct json_out *line, const struct es_producer_info *info)
{
    const struct es_receipt *receipt = &info->receipt;

    json_out_name(line, "stored");
    json_out_open(line, '{');
    if (info->stream[0] != '\0') {
        json_out_member_string(line, "stream", info->stream);
        json_out_member_uint(line, "sequence", receipt->sequence);
        json_out_member_uint(line, "position", receipt->position);
        json_out_member_uint(line, "tick", receipt->tick);
        json_out_member_hex(line, "hash", receipt->hash, ES_HASH_BYTES);
    }
    if (receipt->revision > 0) {
        json_out_member_uint(line, "revision", receipt->revision);
    }
    json_out_member_uint(line, "commit_number", receipt->commit_number);
    json_out_member_uint(line, "time", receipt->time_us);
    json_out_close(line, '}');
}

static enum es_exit show_json(const struct es_producer_info *info, uint64_t number)
{
    struct json_out line;

    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "producer", info->name);
    json_out_member_uint(&line, "last_number", info->last_number);
    json_out_member_uint(&line, "owner_lane", info->owner_lane);
    json_out_member_uint(&line, "owner_uid", info->owner_uid);
    json_out_member_uint(&line, "owner_pid", info->owner_pid);
    json_out_name(&line, "owner_alive");
    json_out_bool(&line, info->owner_is_alive);
    if (number != 0) {
        json_out_member_uint(&line, "number", number);
    }
    if (info->is_found) {
        json_of_receipt(&line, info);
    }
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

static void show_receipt(const struct es_producer_info *info, uint64_t number)
{
    const struct es_receipt *receipt = &info->receipt;
    char hash[2 * ES_HASH_BYTES + 1] = {0};

    (void)printf("number       %" PRIu64 "\n", number);
    if (info->stream[0] != '\0') {
        es_hex_encode(receipt->hash, ES_HASH_BYTES, hash);
        (void)printf("stream       %s\nsequence     %" PRIu64 "\nposition     %" PRIu64
                     "\ntick         %" PRIu64 "\nhash         %s\n",
                     info->stream, receipt->sequence, receipt->position, receipt->tick, hash);
    }
    if (receipt->revision > 0) {
        (void)printf("revision     %" PRIu64 "\n", receipt->revision);
    }
    (void)printf("commit       %" PRIu64 "\n", receipt->commit_number);
}

static void show_text(const struct es_producer_info *info, uint64_t number)
{
    (void)printf("producer     %s\nlast number  %" PRIu64 "\nowner        uid %" PRIu32, info->name,
                 info->last_number, info->owner_uid);
    if (info->owner_is_alive) {
        (void)printf(", process %" PRIu32 "\n", info->owner_pid);
    } else {
        (void)printf(", not attached\n");
    }
    if (info->is_found) {
        show_receipt(info, number);
    }
}

enum es_exit verb_producer(struct invocation *invocation)
{
    struct es_producer_info info = {0};
    uint64_t number = 0;

    if (!invocation_parse(invocation, &syntax, &number) ||
        !argument_producer(invocation, invocation->words[0])) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_producer_ask(invocation->connection, invocation->words[0], number, &info);
    if (status == ES_NOT_FOUND) {
        invocation_error("nobody has used the name %s: see `esctl producers`",
                         invocation->words[0]);
        return ES_EXIT_NO;
    }
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    if (invocation->json) {
        exit = show_json(&info, number);
    } else {
        show_text(&info, number);
    }
    if (exit == ES_EXIT_OK && number != 0 && !info.is_found) {
        invocation_error("%s has stored nothing under number %" PRIu64
                         ": its last number is %" PRIu64,
                         info.name, number, info.last_number);
        exit = ES_EXIT_NO;
    }
    return exit;
}

/* ------------------------------------------------------------------- list -- */

struct listing {
    bool json;
    struct json_out line;
    enum es_status status;
};

static bool show_line(void *context, const struct es_producer_info *info)
{
    struct listing *listing = context;

    if (listing->json) {
        json_out_reset(&listing->line);
        json_out_open(&listing->line, '{');
        json_out_member_string(&listing->line, "producer", info->name);
        json_out_member_uint(&listing->line, "last_number", info->last_number);
        json_out_member_uint(&listing->line, "owner_lane", info->owner_lane);
        json_out_member_uint(&listing->line, "owner_uid", info->owner_uid);
        json_out_close(&listing->line, '}');
        listing->status = json_out_print(&listing->line, stdout);
    } else if (printf("%-48s  %" PRIu64 "\n", info->name, info->last_number) < 0) {
        listing->status = ES_E_IO;
    }
    return listing->status == ES_OK;
}

enum es_exit verb_producers(struct invocation *invocation)
{
    struct listing listing = {0};

    if (!invocation_parse(invocation, &list_syntax, NULL)) {
        return ES_EXIT_USAGE;
    }
    const enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    listing.json = invocation->json;
    json_out_init(&listing.line);
    const enum es_status status = es_producers(invocation->connection, show_line, &listing);
    json_out_deinit(&listing.line);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    return listing.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}
