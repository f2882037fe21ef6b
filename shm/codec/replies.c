#include "shm/codec/replies.h"

#include "shm/codec/receipt.h"

#include <assert.h>

#define HEADER_COUNT 3U /* version, status, position */
#define OWNER_COUNT 4U

void es_reply_begin(struct es_pack *pack, enum es_status status, uint64_t position,
                    uint32_t rest_count)
{
    es_pack_array(pack, HEADER_COUNT + rest_count);
    es_pack_uint(pack, ES_PROTOCOL_VERSION);
    es_pack_int(pack, (int64_t)status);
    es_pack_uint(pack, position);
}

void es_reply_refuse(struct es_pack *pack, enum es_status status, uint64_t position,
                     const char *message)
{
    struct es_text text = es_text_of(message);

    if (text.size > ES_REPLY_MESSAGE_MAX) {
        text.size = ES_REPLY_MESSAGE_MAX;
        while (text.size > 0 && ((uint8_t)text.data[text.size] & 0xC0U) == 0x80U) {
            text.size--; /* not inside a character */
        }
    }
    es_reply_begin(pack, status, position, 1);
    es_pack_str(pack, text);
}

void es_page_begin(struct es_page *page, void *buffer, size_t capacity, size_t size_max)
{
    assert(capacity >= ES_REPLY_OVERHEAD_MAX);
    es_pack_init(&page->pack, buffer, capacity);
    page->pack.at += ES_REPLY_HEADER_MAX;
    page->items = page->pack.at;
    page->size_max = size_max;
    page->item_count = 0;
    page->items_ended = false;
}

bool es_page_has_room(const struct es_page *page, uint64_t item_size)
{
    uint64_t size = es_pack_size(&page->pack) + item_size + ES_REPLY_OVERHEAD_MAX;
    uint64_t capacity = (uint64_t)(page->pack.end - page->pack.begin);

    if (page->pack.overflow || size > capacity) {
        return false;
    }
    return page->item_count == 0 || size <= page->size_max;
}

void es_page_count(struct es_page *page)
{
    assert(!page->items_ended);
    page->item_count++;
}

void es_page_end_items(struct es_page *page)
{
    page->items_ended = true;
}

enum es_status es_page_finish(struct es_page *page, uint64_t position, uint32_t rest_count,
                              struct es_bytes *ret_reply)
{
    uint8_t header[ES_REPLY_HEADER_MAX];
    struct es_pack pack;
    uint32_t header_size = 0;
    uint32_t size = 0;

    assert(page->items_ended);
    es_pack_init(&pack, header, sizeof header);
    es_reply_begin(&pack, ES_OK, position, 1 + rest_count);
    es_pack_array(&pack, page->item_count);
    enum es_status status = es_pack_finish(&pack, &header_size);
    assert(status == ES_OK);
    status = es_pack_finish(&page->pack, &size);
    if (status != ES_OK) {
        return status;
    }
    uint8_t *begin = page->items - header_size;
    memcpy(begin, header, header_size);
    *ret_reply = es_bytes_make(begin, (uint32_t)(page->pack.at - begin));
    return ES_OK;
}

enum es_status es_reply_read(struct es_bytes bytes, struct es_reply *ret_reply)
{
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes.data, bytes.size);
    uint32_t count = es_unpack_array_in(&unpack, 1, UINT32_MAX);
    uint64_t version = es_unpack_uint(&unpack);
    if (es_unpack_ok(&unpack) && version != ES_PROTOCOL_VERSION) {
        return ES_E_VERSION;
    }
    int64_t status = es_unpack_int(&unpack);
    uint64_t position = es_unpack_uint(&unpack);
    if (!es_unpack_ok(&unpack) || count < HEADER_COUNT || status < INT32_MIN ||
        status > INT32_MAX) {
        return ES_E_PROTOCOL;
    }
    ret_reply->status = (enum es_status)status;
    ret_reply->position = position;
    ret_reply->rest = unpack;
    ret_reply->rest_count = count - HEADER_COUNT;
    return ES_OK;
}

struct es_text es_reply_message(const struct es_reply *reply)
{
    struct es_unpack rest = reply->rest;

    if (reply->rest_count == 0) {
        return es_text_make("", 0);
    }
    return es_unpack_utf8(&rest, ES_REPLY_MESSAGE_MAX);
}

void es_hello_write(struct es_pack *pack, const struct es_hello *hello)
{
    es_pack_bin(pack, hello->store_id, ES_STORE_ID_SIZE);
    es_pack_uint(pack, hello->epoch);
    es_pack_uint(pack, hello->start_number);
    es_pack_bin(pack, hello->store_hash, ES_HASH_SIZE);
    es_pack_uint(pack, hello->durability);
    es_pack_uint(pack, hello->transaction_bytes_max);
    es_pack_uint(pack, hello->page_bytes_max);
    es_pack_uint(pack, hello->heartbeat_ms);
}

void es_hello_read(struct es_unpack *unpack, struct es_hello *ret_hello)
{
    es_unpack_bin_copy(unpack, ret_hello->store_id, ES_STORE_ID_SIZE);
    ret_hello->epoch = es_unpack_uint(unpack);
    ret_hello->start_number = es_unpack_uint(unpack);
    es_unpack_bin_copy(unpack, ret_hello->store_hash, ES_HASH_SIZE);
    ret_hello->durability = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_hello->transaction_bytes_max = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_hello->page_bytes_max = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_hello->heartbeat_ms = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
}

void es_store_head_write(struct es_pack *pack, const struct es_store_head_item *head)
{
    es_pack_bin(pack, head->store_hash, ES_HASH_SIZE);
    es_pack_bin(pack, head->store_id, ES_STORE_ID_SIZE);
    es_pack_uint(pack, head->epoch);
    es_pack_uint(pack, head->commit_number);
    es_pack_uint(pack, head->start_number);
}

void es_store_head_read(struct es_unpack *unpack, struct es_store_head_item *ret_head)
{
    es_unpack_bin_copy(unpack, ret_head->store_hash, ES_HASH_SIZE);
    es_unpack_bin_copy(unpack, ret_head->store_id, ES_STORE_ID_SIZE);
    ret_head->epoch = es_unpack_uint(unpack);
    ret_head->commit_number = es_unpack_uint(unpack);
    ret_head->start_number = es_unpack_uint(unpack);
}

void es_producer_reply_write(struct es_pack *pack, const struct es_producer_reply *reply)
{
    es_pack_uint(pack, reply->last_number);
    es_pack_array(pack, OWNER_COUNT);
    es_pack_uint(pack, reply->owner_incarnation);
    es_pack_uint(pack, reply->owner_uid);
    es_pack_uint(pack, reply->owner_pid);
    es_pack_bool(pack, reply->owner_alive);
    es_pack_bool(pack, reply->found);
    if (reply->receipt.size > 0) {
        es_pack_bin(pack, reply->receipt.data, reply->receipt.size);
    } else {
        es_pack_nil(pack);
    }
    if (reply->found) {
        es_result_write(pack, &reply->result);
    } else {
        es_pack_nil(pack);
    }
}

void es_producer_reply_read(struct es_unpack *unpack, struct es_producer_reply *ret_reply)
{
    *ret_reply = (struct es_producer_reply){.last_number = es_unpack_uint(unpack)};
    uint32_t count = es_unpack_array_in(unpack, OWNER_COUNT, UINT32_MAX);
    ret_reply->owner_incarnation = es_unpack_uint(unpack);
    ret_reply->owner_uid = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_reply->owner_pid = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    ret_reply->owner_alive = es_unpack_bool(unpack);
    es_unpack_skip_count(unpack, count - OWNER_COUNT);
    ret_reply->found = es_unpack_bool(unpack);
    if (!es_unpack_try_nil(unpack)) {
        ret_reply->receipt = es_unpack_bin(unpack, ES_RECEIPT_SIZE_MAX);
    }
    if (ret_reply->found) {
        es_result_read(unpack, &ret_reply->result);
    } else if (!es_unpack_try_nil(unpack)) {
        es_unpack_fail(unpack);
    }
}
