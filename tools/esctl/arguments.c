/* Strict reading of command line arguments; see arguments.h. */
#include "tools/esctl/arguments.h"

#include "shm/codec/hash.h"
#include "shm/codec/stream_key.h"

#include <inttypes.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define SECONDS_MAX UINT64_C(1000000)

bool number_parse(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        const uint64_t digit = (uint64_t)(*text - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

bool argument_number(const struct invocation *invocation, const char *what, const char *text,
                     uint64_t min, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (!number_parse(text, &number) || number < min || number > max) {
        return invocation_usage_error(
            invocation, "%s takes a whole number of %" PRIu64 " to %" PRIu64 ", not \"%s\"", what,
            min, max, text);
    }
    *ret_number = number;
    return true;
}

bool argument_seconds(const struct invocation *invocation, const char *what, const char *text,
                      uint64_t *ret_ns)
{
    const char *at = text;
    uint64_t seconds = 0;
    uint64_t fraction_ns = 0;

    for (; *at >= '0' && *at <= '9' && seconds <= SECONDS_MAX; at++) {
        seconds = seconds * 10 + (uint64_t)(*at - '0');
    }
    const bool has_digits = at != text;
    if (*at == '.' && has_digits) {
        at++;
        for (uint64_t unit = NS_PER_SECOND / 10; *at >= '0' && *at <= '9'; at++, unit /= 10) {
            fraction_ns += unit * (uint64_t)(*at - '0');
        }
    }
    const uint64_t ns = seconds * NS_PER_SECOND + fraction_ns;
    if (!has_digits || *at != '\0' || seconds > SECONDS_MAX || ns < NS_PER_SECOND / 1000) {
        return invocation_usage_error(invocation, "%s takes seconds, 0.001 to 1000000, not \"%s\"",
                                      what, text);
    }
    *ret_ns = ns;
    return true;
}

bool argument_hash(const struct invocation *invocation, const char *what, const char *text,
                   uint8_t ret_hash[ES_HASH_BYTES], size_t *ret_size)
{
    if (text[0] == '\0') {
        *ret_size = 0;
        return true;
    }
    if (!es_hex_decode(es_text_of(text), ret_hash, ES_HASH_BYTES)) {
        return invocation_usage_error(
            invocation, "%s takes 64 hexadecimal digits or nothing (\"\"), not \"%s\"", what, text);
    }
    *ret_size = ES_HASH_BYTES;
    return true;
}

bool argument_stream(const struct invocation *invocation, const char *text)
{
    struct es_stream_parts parts;
    const enum es_reason reason = es_stream_parse(es_text_of(text), &parts);

    if (reason != ES_REASON_NONE) {
        return invocation_usage_error(invocation, "\"%s\" is not a stream (%s)", text,
                                      es_reason_text(reason));
    }
    return true;
}

bool argument_category(const struct invocation *invocation, const char *text)
{
    const size_t size = strlen(text);

    if (size > 0 && text[size - 1] == '*') {
        return true;
    }
    const enum es_reason reason = es_category_check(es_text_of(text));
    if (reason != ES_REASON_NONE) {
        return invocation_usage_error(invocation, "\"%s\" is not a category (%s)", text,
                                      es_reason_text(reason));
    }
    return true;
}

bool argument_producer(const struct invocation *invocation, const char *text)
{
    const uint32_t reason = es_name_check(es_text_of(text));

    return reason == ES_REASON_NONE ||
           invocation_usage_error(invocation, "\"%s\" is not the name of a producer: %s", text,
                                  es_reason_text(reason));
}

bool argument_producer_number(const struct invocation *invocation, char *text, uint64_t *ret_number)
{
    char *colon = strrchr(text, ':');
    uint64_t number = 0;

    if (colon == NULL || !number_parse(colon + 1, &number) || number == 0) {
        return invocation_usage_error(
            invocation, "--producer takes NAME:NUMBER, the number from 1, not \"%s\"", text);
    }
    *colon = '\0';
    if (!argument_producer(invocation, text)) {
        return false;
    }
    *ret_number = number;
    return true;
}
