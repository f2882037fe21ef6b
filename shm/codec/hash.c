#include "shm/codec/hash.h"

#include <assert.h>
#include <blake2.h>

static_assert(sizeof(blake2b_state) <= sizeof(struct es_hash_state), "libb2's state fits");
static_assert(_Alignof(blake2b_state) <= _Alignof(struct es_hash_state), "and is aligned");

/* libb2 fails only for digest sizes it does not know. */
static void expect_done(int result)
{
    assert(result == 0);
}

void es_hash_warm_up(void)
{
    struct es_hash_state state;
    uint8_t hash[ES_HASH_SIZE];

    es_hash_16("", 0, hash); /* the one-shot entry point */
    es_hash_begin(&state);
    es_hash_update(&state, "", 0);
    es_hash_end(&state, hash);
}

void es_hash(const void *bytes, size_t size, uint8_t ret_hash[ES_HASH_SIZE])
{
    expect_done(blake2b(ret_hash, bytes, NULL, ES_HASH_SIZE, size, 0));
}

void es_hash_begin(struct es_hash_state *state)
{
    expect_done(blake2b_init((blake2b_state *)state, ES_HASH_SIZE));
}

void es_hash_update(struct es_hash_state *state, const void *bytes, size_t size)
{
    if (size > 0) {
        expect_done(blake2b_update((blake2b_state *)state, (const uint8_t *)bytes, size));
    }
}

void es_hash_end(struct es_hash_state *state, uint8_t ret_hash[ES_HASH_SIZE])
{
    expect_done(blake2b_final((blake2b_state *)state, ret_hash, ES_HASH_SIZE));
}

void es_hash_16(const void *bytes, size_t size, uint8_t ret_hash[ES_CONTENT_HASH_SIZE])
{
    expect_done(blake2b(ret_hash, bytes, NULL, ES_CONTENT_HASH_SIZE, size, 0));
}

void es_hex_encode(const void *bytes, size_t size, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = (const uint8_t *)bytes;

    for (size_t i = 0; i < size; i++) {
        ret_hex[2 * i] = digits[in[i] >> 4];
        ret_hex[2 * i + 1] = digits[in[i] & 15];
    }
}

#define NO_DIGIT 0xFFU

static unsigned int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return (unsigned int)(digit - '0');
    }
    if (digit >= 'a' && digit <= 'f') {
        return (unsigned int)(digit - 'a' + 10);
    }
    if (digit >= 'A' && digit <= 'F') {
        return (unsigned int)(digit - 'A' + 10);
    }
    return NO_DIGIT;
}

bool es_hex_decode(struct es_text hex, void *ret_bytes, size_t size)
{
    uint8_t *out = (uint8_t *)ret_bytes;

    if (hex.size != 2 * size) {
        return false;
    }
    for (uint32_t i = 0; i < hex.size; i++) {
        if (digit_value(hex.data[i]) == NO_DIGIT) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(digit_value(hex.data[2 * i]) << 4 | digit_value(hex.data[2 * i + 1]));
    }
    return true;
}
