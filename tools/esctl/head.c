/* esctl head: the last event of a stream, or where the store stands. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/json_out.h"

#include "shm/codec/hash.h"

#include <inttypes.h>

static const struct verb_syntax syntax = {
    .words_doc = "[STREAM]",
    .doc = "Prints the last sequence, hash and tick of STREAM, or the store's last position and "
           "its hash over the whole history. A stream that is not there: exit 1.",
    .word_count_min = 0,
    .word_count_max = 1,
};

static enum es_exit stream_head(const struct invocation *invocation, const char *stream)
{
    struct es_head head;
    struct json_out line;
    char hash[2 * ES_HASH_BYTES + 1] = {0};

    const enum es_status status = es_head(invocation->connection, stream, &head);
    if (status == ES_NOT_FOUND) {
        invocation_error("there is no stream %s: see `esctl streams`", stream);
        return ES_EXIT_NO;
    }
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    if (!invocation->json) {
        es_hex_encode(head.hash, ES_HASH_BYTES, hash);
        (void)printf("stream    %s\nsequence  %" PRIu64 "\nposition  %" PRIu64
                     "\ntick      %" PRIu64 "\nhash      %s\n",
                     stream, head.sequence, head.position, head.tick, hash);
        return ES_EXIT_OK;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "stream", stream);
    json_out_member_uint(&line, "sequence", head.sequence);
    json_out_member_hex(&line, "hash", head.hash, ES_HASH_BYTES);
    json_out_member_uint(&line, "tick", head.tick);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

static enum es_exit store_head(const struct invocation *invocation)
{
    struct es_store_head head;
    struct json_out line;
    char hash[2 * ES_HASH_BYTES + 1] = {0};
    char store_id[2 * ES_STORE_ID_BYTES + 1] = {0};

    const enum es_status status = es_store_head(invocation->connection, &head);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    if (!invocation->json) {
        es_hex_encode(head.store_hash, ES_HASH_BYTES, hash);
        es_hex_encode(head.store_id, ES_STORE_ID_BYTES, store_id);
        (void)printf("position    %" PRIu64 "\nstore hash  %s\nstore id    %s\nepoch       %" PRIu64
                     "\n",
                     head.position, hash, store_id, head.epoch);
        return ES_EXIT_OK;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_uint(&line, "position", head.position);
    json_out_member_hex(&line, "store_hash", head.store_hash, ES_HASH_BYTES);
    json_out_member_hex(&line, "store_id", head.store_id, ES_STORE_ID_BYTES);
    json_out_member_uint(&line, "epoch", head.epoch);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

enum es_exit verb_head(struct invocation *invocation)
{
    if (!invocation_parse(invocation, &syntax, NULL)) {
        return ES_EXIT_USAGE;
    }
    if (invocation->word_count == 1 && !argument_stream(invocation, invocation->words[0])) {
        return ES_EXIT_USAGE;
    }
    const enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    return invocation->word_count == 1 ? stream_head(invocation, invocation->words[0])
                                       : store_head(invocation);
}
