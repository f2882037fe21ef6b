/* Base64; see base64.h. */
#include "tools/esctl/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t size, char *ret_text)
{
    const uint8_t *at = bytes;

    for (; size >= 3; size -= 3, at += 3) {
        const uint32_t group = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        *ret_text++ = alphabet[group >> 18];
        *ret_text++ = alphabet[group >> 12 & 63];
        *ret_text++ = alphabet[group >> 6 & 63];
        *ret_text++ = alphabet[group & 63];
    }
    if (size > 0) {
        const uint32_t group = (uint32_t)at[0] << 16 | (size == 2 ? (uint32_t)at[1] << 8 : 0);
        *ret_text++ = alphabet[group >> 18];
        *ret_text++ = alphabet[group >> 12 & 63];
        *ret_text++ = '=';
        *ret_text++ = '=';
        if (size == 2) {
            ret_text[-2] = alphabet[group >> 6 & 63];
        }
    }
}

/* The value of one character, or 64 if it has none. */
static uint32_t value_of(char character)
{
    if (character >= 'A' && character <= 'Z') {
        return (uint32_t)(character - 'A');
    }
    if (character >= 'a' && character <= 'z') {
        return (uint32_t)(character - 'a') + 26;
    }
    if (character >= '0' && character <= '9') {
        return (uint32_t)(character - '0') + 52;
    }
    if (character == '+') {
        return 62;
    }
    return character == '/' ? 63 : 64;
}

bool base64_decode(const char *text, size_t size, uint8_t *ret_bytes, size_t *ret_size)
{
    uint8_t *at = ret_bytes;

    if (size % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < size; i += 4) {
        const bool last = i + 4 == size;
        const size_t pad = !last || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            const uint32_t value = j < 4 - pad ? value_of(text[i + j]) : 0;
            if (value > 63) {
                return false;
            }
            group = group << 6 | value;
        }
        /* Bits that no byte takes must be zero, or two texts would mean the same bytes. */
        if ((pad == 1 && (group & 0xFF) != 0) || (pad == 2 && (group & 0xFFFF) != 0)) {
            return false;
        }
        *at++ = (uint8_t)(group >> 16);
        if (pad < 2) {
            *at++ = (uint8_t)(group >> 8);
        }
        if (pad < 1) {
            *at++ = (uint8_t)group;
        }
    }
    *ret_size = (size_t)(at - ret_bytes);
    return true;
}
