/* Integers beyond int64 in JSON text; see json_numbers.h. */
#include "tools/esctl/json_numbers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MARK_TEXT "9223372036854775807"
#define MARK_SIZE (sizeof MARK_TEXT - 1)
#define CAPACITY_FIRST 16

void json_numbers_init(struct json_numbers *numbers)
{
    *numbers = (struct json_numbers){0};
}

void json_numbers_deinit(struct json_numbers *numbers)
{
    free(numbers->notes);
    *numbers = (struct json_numbers){0};
}

const struct json_number *json_numbers_next(struct json_numbers *numbers)
{
    return numbers->next < numbers->count ? &numbers->notes[numbers->next++] : NULL;
}

/* The index after the string that begins at 'at', a quote; 'size' if it does not end. */
static size_t skip_string(const char *text, size_t size, size_t at)
{
    for (at++; at < size; at++) {
        if (text[at] == '\\') {
            at++;
        } else if (text[at] == '"') {
            return at + 1;
        }
    }
    return size;
}

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

/* What an integer of 'size' characters, a sign included, means. False: it fits int64
 * and is not the mark. The text goes on after it with something else than a digit. */
static bool needs_note(const char *text, size_t size, struct json_number *ret_note)
{
    const bool negative = text[0] == '-';
    uint64_t magnitude = 0;
    bool fits = true;

    for (size_t i = negative ? 1 : 0; i < size && fits; i++) {
        const uint64_t digit = (uint64_t)(text[i] - '0');
        fits = magnitude <= (UINT64_MAX - digit) / 10;
        magnitude = magnitude * 10 + digit;
    }
    if (fits && magnitude < (uint64_t)INT64_MAX) {
        return false;
    }
    if (fits && negative && magnitude <= (uint64_t)INT64_MAX + 1) {
        return false;
    }
    ret_note->is_float = negative || !fits;
    ret_note->integer = ret_note->is_float ? 0 : magnitude;
    ret_note->real = 0;
    return true;
}

/* The value of a token of digits: strtod() wants a terminated text. */
static enum es_status real_of(const char *text, size_t size, double *ret_real)
{
    char *copy = strndup(text, size);

    if (copy == NULL) {
        return ES_E_NO_MEMORY;
    }
    *ret_real = strtod(copy, NULL);
    free(copy);
    return ES_OK;
}

static enum es_status take_note(struct json_numbers *numbers, char *text, size_t size)
{
    struct json_number note = {0};

    if (!needs_note(text, size, &note)) {
        return ES_OK;
    }
    if (note.is_float && real_of(text, size, &note.real) != ES_OK) {
        return ES_E_NO_MEMORY;
    }
    if (numbers->count == numbers->capacity) {
        const size_t capacity = numbers->capacity == 0 ? CAPACITY_FIRST : 2 * numbers->capacity;
        struct json_number *notes = reallocarray(numbers->notes, capacity, sizeof *notes);
        if (notes == NULL) {
            return ES_E_NO_MEMORY;
        }
        numbers->notes = notes;
        numbers->capacity = capacity;
    }
    numbers->notes[numbers->count++] = note;
    assert(size >= MARK_SIZE);
    memcpy(text, MARK_TEXT, MARK_SIZE);
    memset(text + MARK_SIZE, ' ', size - MARK_SIZE);
    return ES_OK;
}

/* The index after the number that begins at 'at'; '*ret_integer' if it has neither
 * fraction nor exponent nor a leading zero, which the parser must refuse. */
static size_t skip_number(const char *text, size_t size, size_t at, bool *ret_integer)
{
    const size_t start = at;

    at += text[at] == '-' ? 1 : 0;
    const size_t first_digit = at;
    while (at < size && is_digit(text[at])) {
        at++;
    }
    *ret_integer = at > first_digit && text[first_digit] != '0';
    for (; at < size && (is_digit(text[at]) || (text[at] != '\0' && strchr(".eE+-", text[at])));
         at++) {
        *ret_integer = false;
    }
    return at > start ? at : start + 1;
}

enum es_status json_numbers_take(struct json_numbers *numbers, char *text, size_t size)
{
    enum es_status status = ES_OK;
    size_t at = 0;

    numbers->count = 0;
    numbers->next = 0;
    while (at < size && status == ES_OK) {
        if (text[at] == '"') {
            at = skip_string(text, size, at);
        } else if (text[at] == '-' || is_digit(text[at])) {
            bool integer = false;
            const size_t end = skip_number(text, size, at, &integer);
            if (integer && end - at >= MARK_SIZE) {
                status = take_note(numbers, text + at, end - at);
            }
            at = end;
        } else {
            at++;
        }
    }
    return status;
}
