/*
 * What the last failed call of a thread has to say, per connection. Texts are
 * for people: they name the thing and the way out. Programs look at statuses.
 *
 * Each thread remembers the last text of ES_ERROR_CONNECTION_COUNT connections;
 * number 0 stands for "no connection": es_connection_open() itself.
 */
#ifndef ES_CLIENT_ERROR_TEXT_H
#define ES_CLIENT_ERROR_TEXT_H

#include <stdint.h>

/* Remembers a text, cut at ES_ERROR_TEXT_BYTES, for this thread. */
__attribute__((format(printf, 2, 3))) void es_error_set(uint64_t connection_id, const char *format,
                                                        ...);

/* The last one, or "no error"; valid until this thread's next es_error_set(). */
const char *es_error_get(uint64_t connection_id);

#endif
