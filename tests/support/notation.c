#include "tests/support/notation.h"

#include "shm/codec/pack.h"

#include <assert.h>
#include <stdlib.h>

static const char *value_write(struct es_pack *pack, const char *at);

static const char *blanks_skip(const char *at)
{
    return at + strspn(at, " \n");
}

static const char *array_write(struct es_pack *pack, const char *at)
{
    uint8_t *header = pack->at;
    uint8_t count = 0;

    es_pack_array(pack, 0);
    at = blanks_skip(at + 1);
    while (*at != ']') {
        at = blanks_skip(value_write(pack, at));
        count++;
    }
    assert(count <= 15);
    *header = (uint8_t)(0x90 | count);
    return at + 1;
}

static const char *text_write(struct es_pack *pack, const char *at)
{
    const char *end = strchr(at + 1, '\'');

    assert(end != NULL);
    es_pack_str(pack, es_text_make(at + 1, (uint32_t)(end - at - 1)));
    return end + 1;
}

static const char *bin_write(struct es_pack *pack, const char *at)
{
    char *end = NULL;
    uint32_t size = (uint32_t)strtoul(at + 1, &end, 10);

    es_pack_bin_header(pack, size);
    for (uint32_t i = 0; i < size; i++) {
        es_pack_raw(pack, "\x11", 1);
    }
    return end;
}

static const char *number_write(struct es_pack *pack, const char *at)
{
    char *end = NULL;

    if (*at == '-') {
        es_pack_int(pack, strtoll(at, &end, 10));
    } else {
        es_pack_uint(pack, strtoull(at, &end, 10));
    }
    assert(end != at);
    return end;
}

static const char *value_write(struct es_pack *pack, const char *at)
{
    switch (*at) {
    case '[': return array_write(pack, at);
    case '\'': return text_write(pack, at);
    case 'b': return bin_write(pack, at);
    case '~': es_pack_nil(pack); return at + 1;
    case 't': es_pack_bool(pack, true); return at + 4;
    case 'f': es_pack_bool(pack, false); return at + 5;
    default: return number_write(pack, at);
    }
}

uint32_t notation_write(const char *text, uint8_t *ret_bytes, size_t capacity)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, ret_bytes, capacity);
    const char *end = blanks_skip(value_write(&pack, blanks_skip(text)));
    enum es_status status = es_pack_finish(&pack, &size);
    assert(*end == 0);
    assert(status == ES_OK);
    return size;
}
