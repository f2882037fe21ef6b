#include "shm/codec/receipt.h"
#include "shm/codec/requests_form.h"

#define VERB_MAX ES_VERB_BACKUP
#define PREFIX_SIZE_MAX (ES_CATEGORY_SIZE_MAX + 1U) /* a category and its ':' or '*' */

/* A request being read: the first rule broken stays. */
struct reading {
    struct es_unpack unpack;
    enum es_reason reason;
    uint32_t optional_count; /* of the arguments at the end that may be left out: there are */
};

static void judge(struct reading *reading, enum es_reason rule)
{
    if (reading->reason == ES_REASON_NONE && es_unpack_ok(&reading->unpack)) {
        reading->reason = rule;
    }
}

static void require(struct reading *reading, bool holds)
{
    judge(reading, holds ? ES_REASON_NONE : ES_REASON_REQUEST_ARGUMENT);
}

static struct es_text stream_read(struct reading *reading)
{
    struct es_stream_parts parts;
    struct es_text stream = es_unpack_str(&reading->unpack, UINT32_MAX);

    judge(reading, es_stream_parse(stream, &parts));
    return stream;
}

/* A name, or "" where there may be none. */
static struct es_text name_read(struct reading *reading, bool may_be_empty)
{
    struct es_text name = es_unpack_str(&reading->unpack, UINT32_MAX);

    if (name.size > 0 || !may_be_empty) {
        judge(reading, es_name_check(name));
    }
    return name;
}

/* A text that is only compared with others, as a prefix or a place to go on from. */
static struct es_text bounded_read(struct reading *reading, uint32_t size_max)
{
    struct es_text text = es_unpack_str(&reading->unpack, UINT32_MAX);

    require(reading, text.size <= size_max && es_utf8_valid(text));
    return text;
}

static struct es_bytes bytes_read(struct reading *reading, uint32_t size_max)
{
    struct es_bytes bytes = es_unpack_bin(&reading->unpack, UINT32_MAX);

    require(reading, bytes.size <= size_max);
    return bytes;
}

static struct es_bytes key_read(struct reading *reading)
{
    return bytes_read(reading, ES_KEY_SIZE_MAX);
}

static uint32_t number_read(struct reading *reading, uint32_t min, uint32_t max)
{
    uint64_t number = es_unpack_uint(&reading->unpack);

    require(reading, number >= min && number <= max);
    return (uint32_t)number;
}

static uint32_t count_read(struct reading *reading)
{
    return number_read(reading, 1, ES_REQUEST_COUNT_MAX);
}

static uint64_t tick_read(struct reading *reading)
{
    uint64_t tick = es_unpack_uint(&reading->unpack);

    judge(reading, tick > ES_TICK_MAX ? ES_REASON_TICK : ES_REASON_NONE);
    return tick;
}

static enum es_kv_family family_read(struct reading *reading)
{
    uint64_t family = es_unpack_uint(&reading->unpack);

    judge(reading, family > ES_KV_DERIVED ? ES_REASON_FAMILY : ES_REASON_NONE);
    return family == ES_KV_DERIVED ? ES_KV_DERIVED : ES_KV_TRUTH;
}

static void read_requests_read(struct reading *reading, struct es_request *request)
{
    struct es_unpack *unpack = &reading->unpack;

    switch (request->verb) {
    case ES_VERB_READ_STREAM:
        request->as.read_stream.stream = stream_read(reading);
        request->as.read_stream.from_sequence = es_unpack_uint(unpack);
        request->as.read_stream.count = count_read(reading);
        request->as.read_stream.backwards = es_unpack_bool(unpack);
        break;
    case ES_VERB_READ_ALL:
        request->as.read_all.from_position = es_unpack_uint(unpack);
        request->as.read_all.count = count_read(reading);
        request->as.read_all.category = es_text_make("", 0);
        if (!es_unpack_try_nil(unpack)) {
            request->as.read_all.category = bounded_read(reading, PREFIX_SIZE_MAX);
            require(reading, request->as.read_all.category.size > 0);
        }
        break;
    case ES_VERB_SCAN:
        request->as.scan.after_key = key_read(reading);
        request->as.scan.stream_prefix = bounded_read(reading, ES_STREAM_SIZE_MAX);
        request->as.scan.count = count_read(reading);
        break;
    case ES_VERB_STREAMS:
        request->as.streams.prefix = bounded_read(reading, ES_STREAM_SIZE_MAX);
        request->as.streams.after = bounded_read(reading, ES_STREAM_SIZE_MAX);
        request->as.streams.count = count_read(reading);
        break;
    case ES_VERB_VERIFY:
        request->as.verify.cursor = bytes_read(reading, ES_VERIFY_CURSOR_MAX);
        request->as.verify.budget_ms = number_read(reading, 1, ES_REQUEST_BUDGET_MS_MAX);
        break;
    default: break;
    }
}

static void snapshot_save_read(struct reading *reading, struct es_request_snapshot_save *ret_save)
{
    struct es_unpack *unpack = &reading->unpack;

    ret_save->stream = stream_read(reading);
    ret_save->tick = tick_read(reading);
    ret_save->sequence = es_unpack_uint(unpack);
    judge(reading, ret_save->sequence == 0 ? ES_REASON_SEQUENCE : ES_REASON_NONE);
    ret_save->projection = name_read(reading, true);
    ret_save->version = es_unpack_uint(unpack);
    ret_save->state = es_unpack_bin(unpack, UINT32_MAX);
}

static void snapshot_requests_read(struct reading *reading, struct es_request *request)
{
    struct es_unpack *unpack = &reading->unpack;

    switch (request->verb) {
    case ES_VERB_SNAPSHOT_SAVE: snapshot_save_read(reading, &request->as.snapshot_save); break;
    case ES_VERB_SNAPSHOT_LOAD:
        request->as.snapshot_load.stream = stream_read(reading);
        request->as.snapshot_load.newest = es_unpack_try_nil(unpack);
        request->as.snapshot_load.tick =
            request->as.snapshot_load.newest ? ES_TICK_MAX : tick_read(reading);
        request->as.snapshot_load.projection = name_read(reading, true);
        break;
    case ES_VERB_SNAPSHOT_LIST:
        request->as.snapshot_list.prefix = bounded_read(reading, ES_STREAM_SIZE_MAX);
        request->as.snapshot_list.after_key = key_read(reading);
        request->as.snapshot_list.count = count_read(reading);
        break;
    case ES_VERB_SNAPSHOT_DELETE:
        request->as.snapshot_delete.stream = stream_read(reading);
        request->as.snapshot_delete.every_tick = es_unpack_try_nil(unpack);
        request->as.snapshot_delete.tick =
            request->as.snapshot_delete.every_tick ? 0 : tick_read(reading);
        request->as.snapshot_delete.every_projection = es_unpack_try_nil(unpack);
        request->as.snapshot_delete.projection = request->as.snapshot_delete.every_projection
                                                     ? es_text_make("", 0)
                                                     : name_read(reading, true);
        break;
    default: break;
    }
}

static void kv_requests_read(struct reading *reading, struct es_request *request)
{
    switch (request->verb) {
    case ES_VERB_KV_GET:
        request->as.kv_get.family = family_read(reading);
        request->as.kv_get.name_space = name_read(reading, false);
        request->as.kv_get.key = es_unpack_str(&reading->unpack, UINT32_MAX);
        judge(reading, es_key_text_check(request->as.kv_get.key));
        break;
    case ES_VERB_KV_LIST:
        request->as.kv_list.family = family_read(reading);
        request->as.kv_list.name_space = name_read(reading, false);
        request->as.kv_list.after = bounded_read(reading, ES_KEY_TEXT_MAX);
        request->as.kv_list.count = count_read(reading);
        break;
    case ES_VERB_KV_EXPORT:
        request->as.kv_export.after_key = key_read(reading);
        request->as.kv_export.count = count_read(reading);
        break;
    default: break;
    }
}

static void hello_read(struct reading *reading, struct es_request_hello *ret_hello)
{
    struct es_unpack *unpack = &reading->unpack;

    *ret_hello = (struct es_request_hello){.has_checkpoint = false};
    ret_hello->client_name = bounded_read(reading, ES_CLIENT_NAME_MAX);
    require(reading, !es_utf8_has_control(ret_hello->client_name));
    /* What is not given is left out at the end, and nil before something that is. */
    if (reading->optional_count == 1 ||
        (reading->optional_count > 1 && !es_unpack_try_nil(unpack))) {
        ret_hello->receipt = bytes_read(reading, ES_RECEIPT_SIZE_MAX);
        require(reading, ret_hello->receipt.size > 0);
    }
    if (reading->optional_count > 1) {
        ret_hello->has_checkpoint = true;
        (void)es_unpack_array_in(unpack, ES_REQUEST_CHECKPOINT_COUNT, ES_REQUEST_CHECKPOINT_COUNT);
        es_unpack_bin_copy(unpack, ret_hello->store_id, ES_STORE_ID_SIZE);
        ret_hello->epoch = es_unpack_uint(unpack);
        ret_hello->position = es_unpack_uint(unpack);
    }
}

/* An absolute path: what it names is the broker's to judge. */
static struct es_text path_read(struct reading *reading)
{
    struct es_text path = bounded_read(reading, ES_BACKUP_PATH_MAX);

    require(reading, path.size > 1 && path.data[0] == '/' && !es_utf8_has_control(path));
    return path;
}

static void append_read(struct reading *reading, struct es_request_append *ret_append)
{
    ret_append->transaction = es_unpack_bin(&reading->unpack, UINT32_MAX);
    ret_append->flags = number_read(reading, 0, ES_APPEND_ALLOW_GAP);
    require(reading, ret_append->flags == 0 || ret_append->flags == ES_APPEND_ALLOW_GAP);
    ret_append->producer = es_text_make("", 0);
    if (reading->optional_count > 0) {
        ret_append->producer = name_read(reading, false);
    }
}

static void arguments_read(struct reading *reading, struct es_request *request)
{
    switch (request->verb) {
    case ES_VERB_HELLO: hello_read(reading, &request->as.hello); break;
    case ES_VERB_BACKUP: request->as.backup = path_read(reading); break;
    case ES_VERB_APPEND: append_read(reading, &request->as.append); break;
    case ES_VERB_HEAD: request->as.stream = stream_read(reading); break;
    case ES_VERB_STORE_HEAD:
    case ES_VERB_STATUS: break;
    case ES_VERB_READ_STREAM:
    case ES_VERB_READ_ALL:
    case ES_VERB_SCAN:
    case ES_VERB_STREAMS:
    case ES_VERB_VERIFY: read_requests_read(reading, request); break;
    case ES_VERB_SNAPSHOT_SAVE:
    case ES_VERB_SNAPSHOT_LOAD:
    case ES_VERB_SNAPSHOT_LIST:
    case ES_VERB_SNAPSHOT_DELETE: snapshot_requests_read(reading, request); break;
    case ES_VERB_KV_GET:
    case ES_VERB_KV_LIST:
    case ES_VERB_KV_EXPORT: kv_requests_read(reading, request); break;
    case ES_VERB_PRODUCER:
        request->as.producer.name = name_read(reading, false);
        request->as.producer.number = es_unpack_uint(&reading->unpack);
        break;
    case ES_VERB_PRODUCERS:
        request->as.producers.after = bounded_read(reading, ES_NAME_SIZE_MAX);
        request->as.producers.count = count_read(reading);
        break;
    }
}

/* What can be told of a request before its arguments are read. */
static enum es_reason frame_check(const struct es_unpack *unpack, uint64_t verb, uint32_t count,
                                  uint32_t *ret_optional_count)
{
    uint32_t optional_max = verb == ES_VERB_APPEND ? 1 : verb == ES_VERB_HELLO ? 2 : 0;
    uint32_t required = 0;

    if (!es_unpack_ok(unpack)) {
        return ES_REASON_MALFORMED;
    }
    if (verb == 0 || verb > VERB_MAX) {
        return ES_REASON_REQUEST_UNKNOWN;
    }
    required = es_request_count((enum es_verb)verb);
    if (count < required || count - required > optional_max) {
        return ES_REASON_MALFORMED;
    }
    *ret_optional_count = count - required;
    return ES_REASON_NONE;
}

enum es_status es_request_decode(struct es_bytes bytes, struct es_request *ret_request,
                                 enum es_reason *ret_reason)
{
    struct reading reading;
    struct es_request request;

    es_unpack_init(&reading.unpack, bytes.data, bytes.size);
    uint32_t count = es_unpack_array_in(&reading.unpack, 1, UINT32_MAX);
    uint64_t version = es_unpack_uint(&reading.unpack);
    if (es_unpack_ok(&reading.unpack) && version != ES_PROTOCOL_VERSION) {
        *ret_reason = ES_REASON_VERSION;
        return ES_E_VERSION;
    }
    uint64_t verb = es_unpack_uint(&reading.unpack);
    reading.reason = frame_check(&reading.unpack, verb, count, &reading.optional_count);
    if (reading.reason == ES_REASON_NONE) {
        request.verb = (enum es_verb)verb;
        arguments_read(&reading, &request);
    }
    if (reading.reason == ES_REASON_NONE && !es_unpack_ok(&reading.unpack)) {
        reading.reason = ES_REASON_MALFORMED;
    }
    if (reading.reason == ES_REASON_NONE && !es_unpack_done(&reading.unpack)) {
        reading.reason = ES_REASON_TRAILING_BYTES;
    }
    if (reading.reason != ES_REASON_NONE) {
        *ret_reason = reading.reason;
        return ES_E_INVALID;
    }
    *ret_request = request;
    return ES_OK;
}
