/*
 * Strict reading of what stands on the command line: whole texts only, no sign,
 * blank or trailing character that was not asked for, ranges checked. Each
 * function prints a usage error that names 'what' ("--from") and returns false;
 * its output is then untouched. One thread.
 */
#ifndef ESCTL_ARGUMENTS_H
#define ESCTL_ARGUMENTS_H

#include "tools/esctl/esctl.h"

/* A decimal number of 'min'..'max'. */
bool argument_number(const struct invocation *invocation, const char *what, const char *text,
                     uint64_t min, uint64_t max, uint64_t *ret_number);

/* Seconds with an optional fraction, 0.001 to 1,000,000, as nanoseconds. */
bool argument_seconds(const struct invocation *invocation, const char *what, const char *text,
                      uint64_t *ret_ns);

/* A hash as 64 hexadecimal digits, or "" with '*ret_size' 0. */
bool argument_hash(const struct invocation *invocation, const char *what, const char *text,
                   uint8_t ret_hash[ES_HASH_BYTES], size_t *ret_size);

/* A stream: variant:branch:L0:domain:Mmodel. */
bool argument_stream(const struct invocation *invocation, const char *text);

/* A category (variant:branch:L0:domain), or the beginning of one ending in '*'. */
bool argument_category(const struct invocation *invocation, const char *text);

/* The name of a producer. */
bool argument_producer(const struct invocation *invocation, const char *text);

/* NAME:NUMBER, a number of 1 to 2^64-1; the name is cut off in 'text'. */
bool argument_producer_number(const struct invocation *invocation, char *text,
                              uint64_t *ret_number);

/*
 * Digits only, the whole of 'text', no leading zeros but for "0", fits 64 bits:
 * also for the numbers inside data, where another message is due.
 */
bool number_parse(const char *text, uint64_t *ret_number);

#endif
