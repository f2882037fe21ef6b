/* Questions that only esctl asks; see broker_questions.h. */
#include "tools/esctl/broker_questions.h"

#include "libclient/question.h"

#include <string.h>

#define EXPORT_KEY_BYTES_MAX 4096 /* of the broker's place in a listing */
#define EXPORT_PAGE_COUNT 65536
#define CURSOR_BYTES_MAX 4096
#define SLICE_MS 100 /* so often a progress line moves, and well within any deadline */
#define TEXT_BYTES_MAX 4096

/* A text of a reply with a zero after it. */
struct terminated_text {
    char text[TEXT_BYTES_MAX + 1];
};

static void unpack_text(struct es_unpack *unpack, struct terminated_text *ret_text)
{
    const struct es_text text = es_unpack_str(unpack, TEXT_BYTES_MAX);

    if (text.size > 0) {
        memcpy(ret_text->text, text.data, text.size);
    }
    ret_text->text[text.size] = '\0';
}

/* Where the broker goes on with the next page: its bytes, not ours to understand. */
struct place {
    uint32_t size;
    uint8_t bytes[CURSOR_BYTES_MAX];
};

static void unpack_place(struct es_unpack *unpack, struct place *ret_place)
{
    const struct es_bytes bytes = es_unpack_bin(unpack, sizeof ret_place->bytes);

    ret_place->size = bytes.size;
    if (bytes.size > 0) {
        memcpy(ret_place->bytes, bytes.data, bytes.size);
    }
}

/* Asks 'verb' with the arguments [place, number]. */
static enum es_status ask(struct es_question *question, enum es_verb verb,
                          const struct place *place, uint64_t number, struct es_reply *ret_reply)
{
    struct es_pack *pack = NULL;
    const enum es_status status =
        es_question_begin(question, verb, 2, (size_t)place->size + 32, &pack);

    if (status != ES_OK) {
        return status;
    }
    es_pack_bin(pack, place->bytes, place->size);
    es_pack_uint(pack, number);
    return es_question_ask(question, true, ret_reply);
}

/* ------------------------------------------------------------------ keys -- */

struct key_listing {
    key_export_visitor *visit;
    void *context;
    bool stopped;
    bool end;
    struct place place;
};

static void unpack_keys(struct es_unpack *unpack, struct key_listing *listing)
{
    struct terminated_text name_space;
    struct terminated_text key;
    const uint32_t count = es_unpack_array(unpack);

    for (uint32_t i = 0; i < count && es_unpack_ok(unpack) && !listing->stopped; i++) {
        (void)es_unpack_array_in(unpack, 4, 4);
        unpack_text(unpack, &name_space);
        unpack_text(unpack, &key);
        const uint64_t revision = es_unpack_uint(unpack);
        const struct es_bytes value = es_unpack_bin(unpack, UINT32_MAX);
        if (es_unpack_ok(unpack)) {
            listing->stopped = !listing->visit(listing->context, name_space.text, key.text,
                                               revision, value.data, value.size);
        }
    }
    if (!listing->stopped) {
        listing->end = es_unpack_bool(unpack);
        unpack_place(unpack, &listing->place);
    }
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
    while (status == ES_OK && !listing.end && !listing.stopped) {
        struct es_reply reply;
        status = ask(question, ES_VERB_KV_EXPORT, &listing.place, EXPORT_PAGE_COUNT, &reply);
        if (status == ES_OK) {
            unpack_keys(&reply.unpack, &listing);
            status = listing.stopped ? ES_OK : es_reply_check(connection, &reply);
            es_reply_free(&reply);
        }
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

static void unpack_finding(struct es_unpack *unpack, struct verifying *verifying)
{
    struct terminated_text stream;
    struct terminated_text message;
    struct damage damage = {.stream = stream.text, .message = message.text};

    const uint32_t element_count = es_unpack_array_in(unpack, 5, UINT32_MAX);
    damage.kind = es_unpack_uint(unpack);
    unpack_text(unpack, &stream);
    damage.sequence = es_unpack_uint(unpack);
    damage.position = es_unpack_uint(unpack);
    unpack_text(unpack, &message);
    if (es_unpack_ok(unpack)) {
        es_unpack_skip_count(unpack, element_count - 5);
        verifying->so_far.finding_count++;
        verifying->found(verifying->context, &damage);
    }
}

static void unpack_slice(struct es_unpack *unpack, struct verifying *verifying)
{
    unpack_place(unpack, &verifying->place);
    (void)es_unpack_uint(unpack); /* the phase: of no use to us */
    verifying->so_far.events_checked += es_unpack_uint(unpack);
    verifying->so_far.commits_checked += es_unpack_uint(unpack);
    verifying->end = es_unpack_bool(unpack);
    const uint32_t count = es_unpack_array(unpack);
    for (uint32_t i = 0; i < count && es_unpack_ok(unpack); i++) {
        unpack_finding(unpack, verifying);
    }
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
        struct es_reply reply;
        status = ask(question, ES_VERB_VERIFY, &verifying.place, SLICE_MS, &reply);
        if (status == ES_OK) {
            unpack_slice(&reply.unpack, &verifying);
            status = es_reply_check(connection, &reply);
            es_reply_free(&reply);
        }
        if (status == ES_OK && !watch(context, &verifying.so_far)) {
            status = ES_INTERRUPTED;
        }
    }
    es_question_release(question);
    *ret_result = verifying.so_far;
    return status;
}
