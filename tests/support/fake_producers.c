#include "tests/support/fake_producers.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/codec/reason.h"
#include "shm/codec/receipt.h"
#include "shm/codec/replies.h"
#include "shm/codec/transaction.h"
#include "tests/support/fake_broker_state.h"

struct fake_producer *fake_producers_find(struct fake_producers *producers, struct es_text name,
                                          bool makes)
{
    struct fake_producer *producer;

    for (uint32_t i = 0; i < producers->count; i++) {
        if (es_text_equal(es_text_of(producers->items[i].name), name)) {
            return &producers->items[i];
        }
    }
    if (!makes) {
        return NULL;
    }
    fake_require(producers->count < FAKE_PRODUCER_COUNT_MAX, "too many names");
    producer = &producers->items[producers->count++];
    memset(producer, 0, sizeof *producer);
    (void)snprintf(producer->name, sizeof producer->name, "%.*s", (int)name.size, name.data);
    return producer;
}

static const struct fake_stored_number *find_number(const struct fake_producer *producer,
                                                    uint64_t number)
{
    for (uint32_t i = 0; i < producer->stored_count; i++) {
        if (producer->stored[i].number == number) {
            return &producer->stored[i];
        }
    }
    return NULL;
}

static void read_transaction(const void *transaction, uint32_t size, uint64_t *ret_number,
                             uint8_t ret_hash[16])
{
    struct es_transaction_reader reader;

    fake_require(es_transaction_read(&reader, transaction, size) == ES_REASON_NONE,
                 "a record that is no transaction");
    *ret_number = reader.producer_sequence;
    es_transaction_content_hash(&reader, ret_hash);
}

bool fake_producer_admits(struct fake_producer *producer, uint64_t incarnation,
                          const void *transaction, const struct es_record *record,
                          struct es_lane_result *result, uint64_t *ret_number)
{
    const struct fake_stored_number *stored = NULL;
    uint8_t hash[16];
    uint64_t sequence = result->sequence;

    read_transaction(transaction, record->size, ret_number, hash);
    fake_require(*ret_number != 0, "a named producer's transaction without a number");
    fake_require((record->flags & ES_RECORD_ORDERED) != 0, "a named producer without ORDERED");
    result->status = ES_REJECTED;
    if (producer->owner_incarnation != incarnation) {
        result->status = ES_FENCED;
        result->reason = ES_REASON_PRODUCER_FENCED;
    } else if (*ret_number <= producer->last_number) {
        stored = find_number(producer, *ret_number);
        result->reason = ES_REASON_PRODUCER_SKIPPED;
        if (stored != NULL && memcmp(stored->content_hash, hash, sizeof hash) != 0) {
            result->reason = ES_REASON_PRODUCER_CONTENT;
        } else if (stored != NULL) {
            *result = stored->result;
            result->sequence = sequence;
        }
    } else if (*ret_number > producer->last_number + 1 &&
               (record->flags & ES_RECORD_ALLOW_GAP) == 0) {
        result->reason = ES_REASON_PRODUCER_GAP;
    } else {
        result->status = ES_OK;
        return true;
    }
    return false;
}

void fake_producer_store(struct fake_producer *producer, uint64_t number, const void *transaction,
                         uint32_t size, const struct es_lane_result *result)
{
    struct fake_stored_number *stored = &producer->stored[producer->stored_count];
    uint64_t unused = 0;

    fake_require(producer->stored_count < FAKE_NUMBER_COUNT_MAX, "too many numbers");
    fake_require(find_number(producer, number) == NULL, "a number is stored twice");
    producer->stored_count++;
    producer->last_number = number;
    stored->number = number;
    stored->result = *result;
    read_transaction(transaction, size, &unused, stored->content_hash);
}

/* ---- questions ----------------------------------------------------------- */

static void write_found(struct es_producer_reply *reply, const struct es_lane_result *result,
                        uint8_t bytes[ES_RECEIPT_SIZE_MAX])
{
    struct es_receipt_fields fields = {.epoch = FAKE_EPOCH,
                                       .stream = es_text_of("test:main:L0:orders:M1"),
                                       .sequence = result->stream_sequence,
                                       .position = result->position,
                                       .commit_number = result->commit_number};
    uint32_t size = 0;

    memset(fields.store_id, 7, sizeof fields.store_id);
    memcpy(fields.event_hash, result->hash, sizeof fields.event_hash);
    memcpy(fields.store_hash, result->store_hash, sizeof fields.store_hash);
    fake_require(es_receipt_encode(&fields, bytes, ES_RECEIPT_SIZE_MAX, &size) == ES_OK,
                 "no receipt");
    reply->found = true;
    reply->receipt = es_bytes_make(bytes, size);
    reply->result.position = result->position;
    reply->result.stream_sequence = result->stream_sequence;
    reply->result.commit_number = result->commit_number;
    reply->result.has_hash = true;
    memcpy(reply->result.hash, result->hash, sizeof reply->result.hash);
}

static void answer_one(struct fake_producers *producers, struct es_unpack *request,
                       uint64_t position, fake_lane_is_alive *is_alive, void *context,
                       struct es_pack *reply)
{
    struct es_text name = es_unpack_str(request, 255);
    uint64_t number = es_unpack_uint(request);
    struct fake_producer *producer = fake_producers_find(producers, name, false);
    struct es_producer_reply answer = {.owner_uid = getuid()};
    const struct fake_stored_number *stored;
    uint8_t receipt[ES_RECEIPT_SIZE_MAX];

    fake_require(es_unpack_done(request), "a malformed question about a producer");
    if (producer == NULL) {
        es_reply_refuse(reply, ES_NOT_FOUND, position, "there is no producer of that name");
        return;
    }
    answer.last_number = producer->last_number;
    answer.owner_incarnation = producer->owner_incarnation;
    answer.owner_alive = is_alive(context, producer->owner_incarnation);
    answer.owner_pid = producers->owner_pid != 0 ? producers->owner_pid : (uint32_t)getpid();
    stored = find_number(producer, number);
    if (stored != NULL) {
        write_found(&answer, &stored->result, receipt);
    }
    es_reply_begin(reply, ES_OK, position, ES_PRODUCER_REPLY_COUNT);
    es_producer_reply_write(reply, &answer);
}

/* Two names a page; they lie in the order of their making, which tests keep in order. */
static void answer_list(struct fake_producers *producers, struct es_unpack *request,
                        uint64_t position, struct es_pack *reply)
{
    struct es_text after = es_unpack_str(request, 255);
    uint32_t first = 0;
    uint32_t count;

    fake_require(es_unpack_uint(request) > 0 && es_unpack_done(request), "a malformed listing");
    while (after.size > 0 && first < producers->count &&
           !es_text_equal(es_text_of(producers->items[first++].name), after)) {
    }
    count = producers->count - first < 2 ? producers->count - first : 2;
    es_reply_begin(reply, ES_OK, position, 2);
    es_pack_array(reply, count);
    for (uint32_t i = first; i < first + count; i++) {
        const struct fake_producer *producer = &producers->items[i];
        const struct es_producer_item item = {.name = es_text_of(producer->name),
                                              .last_number = producer->last_number,
                                              .owner_incarnation = producer->owner_incarnation,
                                              .uid = getuid()};

        es_producer_item_write(reply, &item);
    }
    es_pack_bool(reply, first + count == producers->count);
}

void fake_producers_answer(struct fake_producers *producers, uint64_t verb,
                           struct es_unpack *request, uint64_t position,
                           fake_lane_is_alive *is_alive, void *context, struct es_pack *reply)
{
    if (verb == ES_VERB_PRODUCER) {
        answer_one(producers, request, position, is_alive, context, reply);
    } else {
        answer_list(producers, request, position, reply);
    }
}

/* ---- the test's own questions --------------------------------------------- */

void fake_broker_set_owner_pid(struct fake_broker *broker, uint32_t pid)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    lanes->producers.owner_pid = pid;
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_forget_numbers(struct fake_broker *broker, const char *name, uint64_t last_number)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);
    struct fake_producer *producer;

    pthread_mutex_lock(&lanes->lock);
    producer = fake_producers_find(&lanes->producers, es_text_of(name), true);
    while (producer->stored_count > 0 &&
           producer->stored[producer->stored_count - 1].number > last_number) {
        producer->stored_count--;
    }
    producer->last_number = last_number;
    pthread_mutex_unlock(&lanes->lock);
}

uint32_t fake_broker_number_count(struct fake_broker *broker, const char *name)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);
    const struct fake_producer *producer;
    uint32_t count;

    pthread_mutex_lock(&lanes->lock);
    producer = fake_producers_find(&lanes->producers, es_text_of(name), false);
    count = producer != NULL ? producer->stored_count : 0;
    pthread_mutex_unlock(&lanes->lock);
    return count;
}

uint64_t fake_broker_number(struct fake_broker *broker, const char *name, uint32_t index)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);
    const struct fake_producer *producer;
    uint64_t number;

    pthread_mutex_lock(&lanes->lock);
    producer = fake_producers_find(&lanes->producers, es_text_of(name), false);
    fake_require(producer != NULL && index < producer->stored_count, "no such number");
    number = producer->stored[index].number;
    pthread_mutex_unlock(&lanes->lock);
    return number;
}
