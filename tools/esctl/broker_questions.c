/* Questions that only esctl asks; see broker_questions.h. */
#include "tools/esctl/broker_questions.h"

#include "libclient/heads.h"
#include "libclient/question.h"

#include <string.h>

#define EXPORT_PAGE_COUNT 4096
#define SLICE_MS 100 /* so often a progress line moves, and well within any deadline */

/* Where the broker goes on with the next page: its bytes, not ours to understand. */
struct place {
    uint32_t size;
    uint8_t bytes[ES_VERIFY_CURSOR_MAX > ES_KEY_SIZE_MAX ? ES_VERIFY_CURSOR_MAX : ES_KEY_SIZE_MAX];
};

static void unpack_place(struct es_unpack *unpack, struct place *ret_place)
{
    const struct es_bytes bytes = es_unpack_bin(unpack, sizeof ret_place->bytes);

    ret_place->size = bytes.size;
    if (bytes.size > 0) {
        memcpy(ret_place->bytes, bytes.data, bytes.size);
    }
}

/* Copies a text with a zero after it; one that is too long fails the reading. */
static void terminate(struct es_unpack *unpack, struct es_text text, char *ret_text,
                      size_t capacity)
{
    if (text.size >= capacity) {
        es_unpack_fail(unpack);
        text.size = 0;
    }
    if (text.size > 0) {
        memcpy(ret_text, text.data, text.size);
    }
    ret_text[text.size] = '\0';
}

/* ------------------------------------------------------------------ keys -- */

struct key_listing {
    key_export_visitor *visit;
    void *context;
    bool is_over; /* the end, or the visitor has seen enough */
    struct place place;
};

static void visit_keys(struct es_unpack *unpack, struct key_listing *listing)
{
    char name_space[ES_NAME_BYTES_MAX + 1];
    char key[ES_KEY_BYTES_MAX + 1];
    const uint32_t count = es_unpack_array(unpack);

    for (uint32_t i = 0; i < count && !listing->is_over; i++) {
        struct es_kv_item item;
        es_kv_export_item_read(unpack, &item);
        if (!es_unpack_ok(unpack)) {
            return;
        }
        terminate(unpack, item.name_space, name_space, sizeof name_space);
        terminate(unpack, item.key, key, sizeof key);
        listing->is_over = !listing->visit(listing->context, name_space, key, item.revision,
                                           item.value.data, item.value.size);
    }
}

/* One page; '*listing' moves on. */
static enum es_status list_page(struct es_connection *connection, struct es_question *question,
                                struct key_listing *listing)
{
    const struct es_request request = {
        .verb = ES_VERB_KV_EXPORT,
        .as.kv_export = {.after_key = es_bytes_make(listing->place.bytes, listing->place.size),
                         .count = EXPORT_PAGE_COUNT}};
    const struct place before = listing->place;
    struct es_answer answer = {0};

    enum es_status status = es_question_ask(question, &request, 0, true, &answer);
    if (status != ES_OK) {
        return status;
    }
    visit_keys(&answer.reply.rest, listing);
    if (!listing->is_over) {
        listing->is_over = es_unpack_bool(&answer.reply.rest);
        unpack_place(&answer.reply.rest, &listing->place);
        /* A listing that does not move on would never end. */
        if (!listing->is_over && before.size == listing->place.size &&
            memcmp(before.bytes, listing->place.bytes, before.size) == 0) {
            es_unpack_fail(&answer.reply.rest);
        }
        status = es_answer_check(connection, &answer);
    }
    es_answer_free(&answer);
    return status;
}

enum es_status ask_key_export(struct es_connection *connection, key_export_visitor *visit,
                              void *context)
{
    struct key_listing listing = {.visit = visit, .context = context};
    struct es_question *question = NULL;

    enum es_status status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !listing.is_over) {
        status = list_page(connection, question, &listing);
    }
    es_question_release(question);
    return status;
}

/* ---------------------------------------------------------- verification -- */

struct verifying {
    damage_visitor *found;
    void *context;
    struct verification so_far;
    bool end;
    struct place place;
};

static void visit_finding(struct es_unpack *unpack, struct verifying *verifying)
{
    char stream[ES_STREAM_BYTES_MAX + 1];
    char message[ES_REPLY_MESSAGE_MAX + 1];
    struct es_finding finding;

    es_finding_read(unpack, &finding);
    if (!es_unpack_ok(unpack)) {
        return;
    }
    terminate(unpack, finding.stream, stream, sizeof stream);
    terminate(unpack, finding.message, message, sizeof message);
    const struct damage damage = {.kind = finding.kind,
                                  .stream = stream,
                                  .sequence = finding.sequence,
                                  .position = finding.position,
                                  .message = message};
    verifying->so_far.finding_count++;
    verifying->found(verifying->context, &damage);
}

static void visit_slice(struct es_unpack *unpack, struct verifying *verifying)
{
    unpack_place(unpack, &verifying->place);
    (void)es_unpack_uint(unpack); /* the phase: of no use to us */
    verifying->so_far.events_checked += es_unpack_uint(unpack);
    verifying->so_far.commits_checked += es_unpack_uint(unpack);
    verifying->end = es_unpack_bool(unpack);
    const uint32_t count = es_unpack_array(unpack);
    for (uint32_t i = 0; i < count && es_unpack_ok(unpack); i++) {
        visit_finding(unpack, verifying);
    }
}

static enum es_status verify_slice_online(struct es_connection *connection,
                                          struct es_question *question, struct verifying *verifying)
{
    const struct es_request request = {
        .verb = ES_VERB_VERIFY,
        .as.verify = {.cursor = es_bytes_make(verifying->place.bytes, verifying->place.size),
                      .budget_ms = SLICE_MS}};
    struct es_answer answer = {0};

    enum es_status status = es_question_ask(question, &request, 0, true, &answer);
    if (status == ES_OK) {
        visit_slice(&answer.reply.rest, verifying);
        status = es_answer_check(connection, &answer);
        es_answer_free(&answer);
    }
    return status;
}

enum es_status ask_verification(struct es_connection *connection, damage_visitor *found,
                                verification_watcher *watch, void *context,
                                struct verification *ret_result)
{
    struct verifying verifying = {.found = found, .context = context};
    struct es_question *question = NULL;

    enum es_status status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !verifying.end) {
        status = verify_slice_online(connection, question, &verifying);
        if (status == ES_OK && !watch(context, &verifying.so_far)) {
            status = ES_INTERRUPTED;
        }
    }
    es_question_release(question);
    *ret_result = verifying.so_far;
    return status;
}

/* ---------------------------------------------------------------- backup -- */

enum es_status ask_backup(struct es_connection *connection, const char *path,
                          struct es_store_head *ret_head)
{
    const struct es_request request = {.verb = ES_VERB_BACKUP, .as.backup = es_text_of(path)};
    struct es_question *question = NULL;
    struct es_answer answer = {0};

    enum es_status status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, &request, 0, false, &answer);
    if (status == ES_OK) {
        status = es_store_head_of(connection, &answer, ret_head);
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}
