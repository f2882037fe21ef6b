#include "shm/codec/pack.h"

#include <msgpack/pack_define.h>
#include <msgpack/sysdep.h>

#include <limits.h>

static inline int put(struct es_pack *pack, const void *bytes, size_t size)
{
    if (pack->overflow || size > (size_t)(pack->end - pack->at)) {
        pack->overflow = true;
        return -1;
    }
    if (size > 0) {
        memcpy(pack->at, bytes, size);
        pack->at += size;
    }
    return 0;
}

/* msgpack-c's templates, with put() where its packer would call through a pointer.
 * Only the shortest-form functions are used: never its _fix_* or _v4*. */
#undef msgpack_pack_inline_func
#undef msgpack_pack_user
#undef msgpack_pack_append_buffer
#undef msgpack_pack_inline_func_cint
#undef msgpack_pack_inline_func_fixint
#define msgpack_pack_inline_func(name) static inline int template##name
#define msgpack_pack_inline_func_cint(name) static inline int template##name
#define msgpack_pack_inline_func_fixint(name) static inline int template_fix##name
#define msgpack_pack_user struct es_pack *
#define msgpack_pack_append_buffer(user, buffer, size) return put(user, buffer, size)
#define msgpack_pack_ext template_ext /* the template of msgpack-c 6 calls it by this name */
#include <msgpack/timestamp.h>

#include <msgpack/pack_template.h>

void es_pack_init(struct es_pack *pack, void *buffer, size_t capacity)
{
    pack->begin = (uint8_t *)buffer;
    pack->at = pack->begin;
    pack->end = pack->begin + capacity;
    pack->overflow = false;
}

void es_pack_uint(struct es_pack *pack, uint64_t value)
{
    (void)template_uint64(pack, value);
}

void es_pack_int(struct es_pack *pack, int64_t value)
{
    (void)template_int64(pack, value);
}

void es_pack_nil(struct es_pack *pack)
{
    (void)template_nil(pack);
}

void es_pack_bool(struct es_pack *pack, bool value)
{
    (void)(value ? template_true(pack) : template_false(pack));
}

void es_pack_double(struct es_pack *pack, double value)
{
    (void)template_double(pack, value);
}

void es_pack_str(struct es_pack *pack, struct es_text text)
{
    (void)template_str(pack, text.size);
    (void)put(pack, text.data, text.size);
}

void es_pack_bin(struct es_pack *pack, const void *bytes, uint32_t size)
{
    (void)template_bin(pack, size);
    (void)put(pack, bytes, size);
}

void es_pack_bin_header(struct es_pack *pack, uint32_t size)
{
    (void)template_bin(pack, size);
}

void es_pack_array(struct es_pack *pack, uint32_t count)
{
    (void)template_array(pack, count);
}

void es_pack_map(struct es_pack *pack, uint32_t pair_count)
{
    (void)template_map(pack, pair_count);
}

void es_pack_raw(struct es_pack *pack, const void *bytes, size_t size)
{
    (void)put(pack, bytes, size);
}

size_t es_pack_size(const struct es_pack *pack)
{
    return (size_t)(pack->at - pack->begin);
}

enum es_status es_pack_finish(const struct es_pack *pack, uint32_t *ret_size)
{
    if (pack->overflow || es_pack_size(pack) > UINT32_MAX) {
        return ES_E_TOO_LARGE;
    }
    *ret_size = (uint32_t)es_pack_size(pack);
    return ES_OK;
}
