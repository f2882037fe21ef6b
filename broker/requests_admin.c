#include <string.h>

#include "broker/request_worker.h"

enum {
    FINDINGS_MAX = 100,   /* of one slice: they fit into a page */
    BUDGET_MS_MAX = 2000, /* so that no client keeps a worker for long */
    NS_PER_MS = 1000000
};

/* ---- status ---- */

static void add_counter(struct es_page *page, const char *name, uint64_t value)
{
    es_pack_array(&page->pack, 2);
    es_pack_str(&page->pack, es_text_of(name));
    es_pack_uint(&page->pack, value);
    es_page_count(page);
}

enum es_status request_status(struct request_worker *worker, const struct es_request *request,
                              struct es_bytes *ret_reply)
{
    const struct requests_config *config = worker->config;
    struct es_page page;

    (void)request;
    request_page_begin(worker, &page);
#define COUNTER_ADD(name)                              \
    add_counter(&page, #name,                          \
                counter_get(&config->counters->name) + \
                    counter_get(&config->request_counters->name));
    COUNTERS(COUNTER_ADD)
#undef COUNTER_ADD
    if (config->status != NULL) {
        uint32_t count = config->status(config->status_context, &page.pack);

        for (uint32_t i = 0; i < count; i++) {
            es_page_count(&page);
        }
    }
    es_page_end_items(&page);
    return request_page_end(worker, &page, 0, ret_reply);
}

/* ---- verify ---- */

struct finding_list {
    struct es_pack pack;
    uint32_t count;
};

static void add_finding(void *context, const struct verify_finding *finding)
{
    struct finding_list *list = context;
    const struct es_finding item = {
        .kind = (uint32_t)finding->kind,
        .stream = finding->stream,
        .sequence = finding->sequence,
        .position = finding->position,
        .message = es_text_of(finding->message),
    };

    es_finding_write(&list->pack, &item);
    list->count++;
}

/* One client's slices follow each other in the one verify; a second client at the same time
 * gets one of its own for each slice, which finds less (verify_history.c). */
static enum es_status run_slice(struct request_worker *worker, struct verify_cursor *cursor,
                                uint64_t budget_ns, struct finding_list *found,
                                struct verify_progress *ret_progress)
{
    struct requests *requests = worker->requests;
    struct verify *verify = NULL;
    enum es_status status = ES_OK;

    if (pthread_mutex_trylock(&requests->verify_mutex) == 0) {
        status = verify_slice(requests->verify, cursor, budget_ns, FINDINGS_MAX, add_finding, found,
                              ret_progress);
        pthread_mutex_unlock(&requests->verify_mutex);
        return status;
    }
    status = verify_new(worker->config->store, worker->config->store_id, &verify);
    if (status == ES_OK) {
        status =
            verify_slice(verify, cursor, budget_ns, FINDINGS_MAX, add_finding, found, ret_progress);
        verify_free(verify);
    }
    return status;
}

enum es_status request_verify(struct request_worker *worker, const struct es_request *request,
                              struct es_bytes *ret_reply)
{
    const struct es_request_verify *verify = &request->as.verify;
    uint64_t budget_ms = verify->budget_ms < BUDGET_MS_MAX ? verify->budget_ms : BUDGET_MS_MAX;
    struct verify_cursor cursor = {.size = verify->cursor.size};
    struct verify_progress progress;
    struct finding_list found = {.count = 0};
    struct es_pack pack;
    enum es_status status = request_scratch(worker, &found.pack);

    if (status != ES_OK) {
        return status;
    }
    memcpy(cursor.bytes, verify->cursor.data, verify->cursor.size);
    status = run_slice(worker, &cursor, budget_ms * NS_PER_MS, &found, &progress);
    if (status != ES_OK) {
        return request_say(worker, status, "verify cannot go on: %s", es_status_text(status));
    }
    request_reply_begin(worker, &pack, 6);
    es_pack_bin(&pack, cursor.bytes, cursor.size);
    es_pack_uint(&pack, progress.phase);
    es_pack_uint(&pack, progress.events_checked);
    es_pack_uint(&pack, progress.commits_checked);
    es_pack_bool(&pack, progress.end);
    es_pack_array(&pack, found.count);
    es_pack_raw(&pack, worker->scratch, es_pack_size(&found.pack));
    return request_reply_end(worker, &pack, ret_reply);
}
