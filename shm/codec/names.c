#include "shm/codec/names.h"

/* What one pass over a text finds. */
struct text_facts {
    bool is_utf8;
    bool has_colon;
    bool has_control;   /* U+0000..1F, U+007F..9F */
    bool has_separator; /* U+2028, U+2029: they end a line, too */
};

/*
 * Reads one multi-byte character at 'at'. Returns its size and sets its code
 * point, or returns 0 if it is not well-formed (Unicode, table 3-7).
 */
static uint32_t character_read(const uint8_t *at, uint32_t left, uint32_t *ret_code)
{
    static const uint32_t code_min[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t size = 0;
    uint32_t code = 0;

    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        size = 2;
        code = at[0] & 0x1FU;
    } else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        size = 3;
        code = at[0] & 0x0FU;
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        size = 4;
        code = at[0] & 0x07U;
    }
    if (size == 0 || size > left) {
        return 0;
    }
    for (uint32_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0U) != 0x80U) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3FU);
    }
    if (code < code_min[size] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
        return 0;
    }
    *ret_code = code;
    return size;
}

/* Whether of eight bytes each is printable ASCII and no colon: nothing is to be noted of them. */
static bool are_plain(const uint8_t *bytes)
{
    const uint64_t ones = 0x0101010101010101U;
    uint64_t word = 0;

    memcpy(&word, bytes, sizeof word);
    const uint64_t colon = word ^ (ones * ':');
    const uint64_t last = word ^ (ones * 0x7F);
    /* Each term has the top bit of a byte that is high, below 0x20, a colon, 0x7F; a borrow can
     * set more above it, and so only send plain bytes the long way. */
    return ((word | (word - ones * 0x20) | (colon - ones) | (last - ones)) & (ones * 0x80)) == 0;
}

static struct text_facts text_scan(struct es_text text)
{
    struct text_facts facts = {.is_utf8 = true};
    const uint8_t *bytes = (const uint8_t *)text.data;
    uint32_t offset = 0;

    while (offset < text.size) {
        if (text.size - offset >= sizeof(uint64_t) && are_plain(bytes + offset)) {
            offset += (uint32_t)sizeof(uint64_t);
            continue;
        }
        uint32_t code = bytes[offset];

        if (code < 0x80) {
            facts.has_colon |= code == ':';
            facts.has_control |= code < 0x20 || code == 0x7F;
            offset++;
            continue;
        }
        uint32_t size = character_read(bytes + offset, text.size - offset, &code);
        if (size == 0) {
            facts.is_utf8 = false;
            break;
        }
        facts.has_control |= code < 0xA0;
        facts.has_separator |= code == 0x2028 || code == 0x2029;
        offset += size;
    }
    return facts;
}

enum es_reason es_name_check(struct es_text name)
{
    if (name.size == 0) {
        return ES_REASON_NAME_EMPTY;
    }
    if (name.size > ES_NAME_SIZE_MAX) {
        return ES_REASON_NAME_TOO_LONG;
    }
    struct text_facts facts = text_scan(name);
    if (!facts.is_utf8) {
        return ES_REASON_NAME_NOT_UTF8;
    }
    if (facts.has_colon) {
        return ES_REASON_NAME_COLON;
    }
    if (facts.has_control) {
        return ES_REASON_NAME_CONTROL;
    }
    return name.data[0] == '$' ? ES_REASON_NAME_RESERVED : ES_REASON_NONE;
}

enum es_reason es_type_check(struct es_text type)
{
    if (type.size == 0 || type.size > ES_TYPE_SIZE_MAX) {
        return ES_REASON_TYPE_SIZE;
    }
    struct text_facts facts = text_scan(type);
    bool is_printable = facts.is_utf8 && !facts.has_control && !facts.has_separator;
    return is_printable ? ES_REASON_NONE : ES_REASON_TYPE_NOT_PRINTABLE;
}

enum es_reason es_key_text_check(struct es_text key)
{
    if (key.size == 0 || key.size > ES_KEY_TEXT_MAX) {
        return ES_REASON_KEY_SIZE;
    }
    struct text_facts facts = text_scan(key);
    return facts.is_utf8 && !facts.has_control ? ES_REASON_NONE : ES_REASON_KEY_TEXT;
}

bool es_utf8_valid(struct es_text text)
{
    return text_scan(text).is_utf8;
}

bool es_utf8_has_control(struct es_text text)
{
    return text_scan(text).has_control;
}
