#include "tests/support/parts_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    COMMAND_BYTES = 1024,
    DIGEST_BYTES = 256
};

void parts_path(const struct commit_parts *parts, const char *name, char ret_path[PARTS_PATH_BYTES])
{
    snprintf(ret_path, PARTS_PATH_BYTES, "%s/%s", parts->root, name);
}

static void copy(const char *from_directory, const char *from, const char *to_directory,
                 const char *to)
{
    char command[COMMAND_BYTES];
    FILE *pipe = NULL;

    snprintf(command, sizeof command, "rm -rf '%s/%s' && cp -a '%s/%s' '%s/%s'", to_directory, to,
             from_directory, from, to_directory, to);
    pipe = popen(command, "re");
    assert_non_null(pipe);
    assert_int_equal(pclose(pipe), 0);
}

void parts_copy(const struct commit_parts *parts, const char *from, const char *to)
{
    copy(parts->root, from, parts->root, to);
}

void parts_keep_page(const struct commit_parts *parts)
{
    copy(parts->segments, "control", parts->root, "page");
}

void parts_put_page_back(const struct commit_parts *parts)
{
    copy(parts->root, "page", parts->segments, "control");
}

void parts_append(struct commit_parts *parts, struct parts_producer *producer, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct es_lane_result result;

        assert_int_equal(parts_publish(producer, PARTS_ORDERS, PARTS_ANY, i, true), ES_OK);
        assert_int_equal(commit_parts_round(parts, 1), ES_OK);
        assert_int_equal(es_lane_collect(&producer->writer, &result), ES_OK);
        assert_int_equal(result.status, ES_OK);
    }
}

/* Of every byte below the data directory. */
static void digest(const struct commit_parts *parts, char ret_text[DIGEST_BYTES])
{
    char command[COMMAND_BYTES];
    FILE *pipe = NULL;

    snprintf(command, sizeof command,
             "cd '%s/data' && find log rocksdb anchor -type f | sort | xargs b2sum | b2sum",
             parts->root);
    pipe = popen(command, "re");
    assert_non_null(pipe);
    assert_non_null(fgets(ret_text, DIGEST_BYTES, pipe));
    assert_int_equal(pclose(pipe), 0);
}

void parts_assert_refused(struct commit_parts *parts, enum es_status wanted, const char *says)
{
    char before[DIGEST_BYTES];
    char after[DIGEST_BYTES];

    digest(parts, before);
    assert_int_equal(commit_parts_open(parts), wanted);
    digest(parts, after);
    assert_string_equal(before, after);
    if (strstr(parts->why, says) == NULL) {
        fail_msg("'%s' does not say '%s'", parts->why, says);
    }
}
