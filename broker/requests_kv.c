#include <string.h>

#include "broker/request_worker.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"

static enum store_family family_of(enum es_kv_family family)
{
    return family == ES_KV_TRUTH ? STORE_KV : STORE_READ_MODELS;
}

/* Decodes and checks a value; ES_E_CORRUPT with words. */
static enum es_status value_read(struct request_worker *worker, struct es_text name_space,
                                 struct es_text key, struct store_slice bytes,
                                 struct es_kv_value *ret_value)
{
    struct es_kv_value value = {0};
    enum es_status status = es_kv_value_decode(bytes.bytes, bytes.size, &value);

    if (status == ES_OK) {
        status = es_kv_value_verify(&value);
    }
    if (status != ES_OK) {
        return request_say(worker, status, "the value of key %.*s in namespace %.*s is damaged",
                           (int)key.size, key.data, (int)name_space.size, name_space.data);
    }
    *ret_value = value;
    return ES_OK;
}

enum es_status request_kv_get(struct request_worker *worker, const struct es_request *request,
                              struct es_bytes *ret_reply)
{
    const struct es_request_kv_get *get = &request->as.kv_get;
    struct es_kv_value value = {0};
    struct es_pack pack;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_kv(get->name_space, get->key, &key);
    status =
        store_get(worker->config->store, reader_snapshot(worker->reader), family_of(get->family),
                  (struct store_slice){key.bytes, key.size}, &worker->value);
    if (status == ES_NOT_FOUND) {
        return request_say(worker, status, "there is no key %.*s in namespace %.*s",
                           (int)get->key.size, get->key.data, (int)get->name_space.size,
                           get->name_space.data);
    }
    if (status != ES_OK) {
        return request_say_unreadable(worker, status, "the value of key %.*s in namespace %.*s",
                                      (int)get->key.size, get->key.data, (int)get->name_space.size,
                                      get->name_space.data);
    }
    status = value_read(worker, get->name_space, get->key,
                        (struct store_slice){worker->value.bytes, worker->value.size}, &value);
    if (status == ES_OK) {
        status = request_reserve(worker, ES_REPLY_OVERHEAD_MAX + (size_t)value.value.size);
    }
    if (status != ES_OK) {
        return status;
    }
    request_reply_begin(worker, &pack, 2);
    es_pack_uint(&pack, value.revision);
    es_pack_bin(&pack, value.value.data, value.value.size);
    return request_reply_end(worker, &pack, ret_reply);
}

/* How one entry gets onto a page. */
typedef void (*item_write_fn)(struct es_pack *pack, const struct es_kv_item *item);

/* Adds the entry under the iterator. ES_FULL: the page takes no more. */
static enum es_status add_entry(struct request_worker *worker, struct es_page *page,
                                const struct store_iterator *iterator, item_write_fn write)
{
    struct store_slice key = store_iterator_key(iterator);
    struct es_kv_value value = {0};
    struct es_kv_item item;
    enum es_status status =
        es_key_kv_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &item.name_space, &item.key);

    if (status != ES_OK) {
        return status;
    }
    status = value_read(worker, item.name_space, item.key, store_iterator_value(iterator), &value);
    if (status != ES_OK) {
        return status;
    }
    item.revision = value.revision;
    item.value = value.value;
    if (!request_page_room(worker, page, (uint64_t)item.value.size + ES_KV_ITEM_OVERHEAD)) {
        return ES_FULL;
    }
    write(&page->pack, &item);
    es_page_count(page);
    return ES_OK;
}

/* Fills a page from the iterator, which is freed; whether it came to its end. */
static enum es_status fill_page(struct request_worker *worker, struct es_page *page,
                                struct store_iterator *iterator, uint32_t count,
                                item_write_fn write, struct es_key *ret_last, bool *ret_end)
{
    enum es_status status = ES_OK;

    request_page_begin(worker, page);
    ret_last->size = 0;
    while (status == ES_OK && page->item_count < count && store_iterator_valid(iterator)) {
        status = add_entry(worker, page, iterator, write);
        if (status == ES_OK) {
            struct store_slice key = store_iterator_key(iterator);

            memcpy(ret_last->bytes, key.bytes, key.size);
            ret_last->size = (uint32_t)key.size;
            store_iterator_next(iterator);
        }
    }
    if (status == ES_OK) {
        status = store_iterator_status(iterator);
    }
    *ret_end = status == ES_OK && !store_iterator_valid(iterator);
    store_iterator_free(iterator);
    es_page_end_items(page);
    return page->item_count > 0 ? ES_OK : status; /* the next page meets what ended this one */
}

/* Why a page is not even begun; 'after' is the key that it was to follow, size 0: none. */
static enum es_status stopped_after(struct request_worker *worker, enum es_status status,
                                    struct es_text name_space, struct es_text after)
{
    if (after.size > 0) {
        return request_say_unreadable(worker, status, "what follows key %.*s in namespace %.*s",
                                      (int)after.size, after.data, (int)name_space.size,
                                      name_space.data);
    }
    if (name_space.size > 0) {
        return request_say_unreadable(worker, status, "the first key in namespace %.*s",
                                      (int)name_space.size, name_space.data);
    }
    return request_say_unreadable(worker, status, "the first key of all");
}

enum es_status request_kv_list(struct request_worker *worker, const struct es_request *request,
                               struct es_bytes *ret_reply)
{
    const struct es_request_kv_list *list = &request->as.kv_list;
    struct store_iterator *iterator = NULL;
    struct es_key prefix;
    struct es_key after = {.size = 0};
    struct es_key last;
    struct es_page page;
    bool end = false;
    enum es_status status = ES_OK;

    es_key_kv_prefix(list->name_space, &prefix);
    if (list->after.size > 0) {
        es_key_kv(list->name_space, list->after, &after);
    }
    status =
        request_iterate(worker, family_of(list->family), es_bytes_make(prefix.bytes, prefix.size),
                        es_bytes_make(after.bytes, after.size), &iterator);
    if (status == ES_OK) {
        status = fill_page(worker, &page, iterator, list->count, es_kv_item_write, &last, &end);
    }
    if (status != ES_OK) {
        return stopped_after(worker, status, list->name_space, list->after);
    }
    es_pack_bool(&page.pack, end);
    return request_page_end(worker, &page, 1, ret_reply);
}

enum es_status request_kv_export(struct request_worker *worker, const struct es_request *request,
                                 struct es_bytes *ret_reply)
{
    const struct es_request_kv_export *export = &request->as.kv_export;
    struct store_iterator *iterator = NULL;
    struct es_key last;
    struct es_page page;
    bool end = false;
    enum es_status status =
        request_iterate(worker, STORE_KV, es_bytes_make("K:", 2), export->after_key, &iterator);

    if (status == ES_OK) {
        status =
            fill_page(worker, &page, iterator, export->count, es_kv_export_item_write, &last, &end);
    }
    if (status != ES_OK) {
        struct es_text name_space = {NULL, 0};
        struct es_text after = {NULL, 0};

        (void)!es_key_kv_parse(export->after_key, &name_space, &after);
        return stopped_after(worker, status, name_space, after);
    }
    es_pack_bool(&page.pack, end);
    es_pack_bin(&page.pack, last.size > 0 ? last.bytes : export->after_key.data,
                last.size > 0 ? last.size : export->after_key.size);
    return request_page_end(worker, &page, 2, ret_reply);
}
