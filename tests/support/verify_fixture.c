#include "tests/support/verify_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void verify_note(void *context, const struct verify_finding *finding)
{
    struct verify_fixture *f = context;

    if (f->first.kind == 0) {
        f->first = *finding;
        snprintf(f->first_stream, sizeof f->first_stream, "%.*s", (int)finding->stream.size,
                 finding->stream.data);
        snprintf(f->first_message, sizeof f->first_message, "%s", finding->message);
    }
    if (f->prints) {
        print_message("  %d %.*s sequence %d position %d: %s\n", (int)finding->kind,
                      (int)finding->stream.size, finding->stream.data, (int)finding->sequence,
                      (int)finding->position, finding->message);
    }
}

uint64_t verify_store(struct verify_fixture *f, struct store *store, uint64_t budget_ns,
                      uint32_t findings_max)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;

    memset(&f->total, 0, sizeof f->total);
    memset(&f->first, 0, sizeof f->first);
    f->slices = 0;
    assert_int_equal(verify_new(store, f->builder.store_id, &verify), ES_OK);
    while (!progress.end) {
        assert_int_equal(
            verify_slice(verify, &cursor, budget_ns, findings_max, verify_note, f, &progress),
            ES_OK);
        f->total.events_checked += progress.events_checked;
        f->total.commits_checked += progress.commits_checked;
        f->total.findings += progress.findings;
        f->slices++;
        assert_true(f->slices < 100000);
    }
    verify_free(verify);
    return f->total.findings;
}

void verify_build(struct store_builder *builder)
{
    store_builder_append(builder, "v:b:L0:c:M1", 1, 20);
    store_builder_append(builder, "v:b:L0:c:M2", 3, 20);
    store_builder_append(builder, "v:b:L0:c:M1", 2, 20);
    store_builder_append(builder, "v:b:L0:d:M1", 1, 20);
    store_builder_commit(builder);
    store_builder_append(builder, "v:b:L0:c:M1", 1, 20);
    store_builder_put(builder, ES_KV_TRUTH, "space", "first", "value one");
    store_builder_put(builder, ES_KV_TRUTH, "space", "second", "value two");
    store_builder_put(builder, ES_KV_DERIVED, "space", "model", "derived value");
    store_builder_commit(builder);
    store_builder_put(builder, ES_KV_TRUTH, "space", "second", "value three");
    store_builder_commit(builder);
    store_builder_put(builder, ES_KV_TRUTH, "space", "third", "gone");
    store_builder_commit(builder);
    store_builder_delete(builder, ES_KV_TRUTH, "space", "third");
    store_builder_snapshot(builder, "v:b:L0:c:M1", 70, 2, "", "a state");
    store_builder_snapshot(builder, "v:b:L0:c:M1", 80, 3, "sums", "another state");
    store_builder_commit(builder);
    for (uint32_t i = 0; i < 10; i++) {
        store_builder_append(builder, "v:b:L0:d:M1", 15, 5);
        store_builder_append(builder, "v:b:L0:d:M2", 1, 5);
        store_builder_commit(builder);
    }
}

int verify_set_up(void **state)
{
    struct verify_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    store_builder_open(&f->builder, NULL);
    *state = f;
    return 0;
}

int verify_tear_down(void **state)
{
    struct verify_fixture *f = *state;

    store_builder_close(&f->builder);
    free(f);
    return 0;
}
