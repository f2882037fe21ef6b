/* esctl streams: which streams there are, in key order, and how long they are. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/json_out.h"

#include <inttypes.h>

struct streams_options {
    uint64_t count_max;
};

struct listing {
    bool json;
    uint64_t left;
    struct json_out line;
    enum es_status status;
};

static const struct argp_option options[] = {
    {"count", 'n', "N", 0, "list no more than N streams", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct streams_options *given = context;

    (void)key;
    return argument_number(invocation, "--count", argument, 0, INT64_MAX, &given->count_max);
}

static const struct verb_syntax syntax = {
    .words_doc = "[PREFIX]",
    .doc = "Lists the streams whose name begins with PREFIX, one a line with its last sequence.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 1,
};

static bool show(void *context, const char *stream, const struct es_head *head)
{
    struct listing *listing = context;

    if (listing->left == 0) {
        return false;
    }
    listing->left--;
    if (listing->json) {
        json_out_reset(&listing->line);
        json_out_open(&listing->line, '{');
        json_out_member_string(&listing->line, "stream", stream);
        json_out_member_uint(&listing->line, "sequence", head->sequence);
        json_out_member_hex(&listing->line, "hash", head->hash, ES_HASH_BYTES);
        json_out_member_uint(&listing->line, "tick", head->tick);
        json_out_member_uint(&listing->line, "position", head->position);
        json_out_close(&listing->line, '}');
        listing->status = json_out_print(&listing->line, stdout);
    } else if (printf("%-48s  %" PRIu64 "\n", stream, head->sequence) < 0) {
        listing->status = ES_E_IO;
    }
    return listing->status == ES_OK && listing->left > 0;
}

enum es_exit verb_streams(struct invocation *invocation)
{
    struct streams_options given = {.count_max = UINT64_MAX};
    struct listing listing = {0};

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    listing.json = invocation->json;
    listing.left = given.count_max;
    json_out_init(&listing.line);
    const enum es_status status =
        es_streams(invocation->connection, invocation->word_count == 1 ? invocation->words[0] : "",
                   show, &listing);
    json_out_deinit(&listing.line);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    return listing.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}
