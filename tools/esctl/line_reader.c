/* The lines of a file; see line_reader.h. */
#include "tools/esctl/line_reader.h"

#include "tools/esctl/stop_signal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_FIRST ((size_t)256 << 10)

void line_reader_init(struct line_reader *reader, int descriptor)
{
    *reader = (struct line_reader){.descriptor = descriptor};
}

void line_reader_deinit(struct line_reader *reader)
{
    free(reader->buffer);
    *reader = (struct line_reader){.descriptor = -1};
}

/* Makes room behind what is there: by moving it to the front, or by growing. */
static enum es_status make_room(struct line_reader *reader)
{
    if (reader->start > 0) {
        memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->searched -= reader->start;
        reader->start = 0;
    }
    if (reader->end < reader->capacity) {
        return ES_OK;
    }
    if (reader->capacity > LINE_BYTES_MAX) {
        return ES_E_TOO_LARGE;
    }
    const size_t capacity = reader->capacity == 0 ? CAPACITY_FIRST : 2 * reader->capacity;
    char *buffer = realloc(reader->buffer, capacity);
    if (buffer == NULL) {
        return ES_E_NO_MEMORY;
    }
    reader->buffer = buffer;
    reader->capacity = capacity;
    return ES_OK;
}

static enum es_status fill(struct line_reader *reader)
{
    const enum es_status status = make_room(reader);

    if (status != ES_OK) {
        return status;
    }
    if (!stop_wait_readable(reader->descriptor)) {
        return ES_INTERRUPTED;
    }
    const ssize_t count =
        read(reader->descriptor, reader->buffer + reader->end, reader->capacity - reader->end);
    if (count < 0) {
        return errno == EINTR ? ES_INTERRUPTED : ES_E_IO;
    }
    reader->at_end = count == 0;
    reader->end += (size_t)count;
    return ES_OK;
}

/* Hands out what lies before 'newline', and goes on after it. */
static enum es_status hand_out(struct line_reader *reader, size_t newline, char **ret_line,
                               size_t *ret_size)
{
    reader->line_number++;
    if (newline - reader->start > LINE_BYTES_MAX) {
        return ES_E_TOO_LARGE;
    }
    *ret_line = reader->buffer + reader->start;
    *ret_size = newline - reader->start;
    reader->start = newline < reader->end ? newline + 1 : newline;
    reader->searched = reader->start;
    return ES_OK;
}

enum es_status line_reader_next(struct line_reader *reader, char **ret_line, size_t *ret_size)
{
    for (;;) {
        const size_t left = reader->end - reader->searched;
        const char *newline =
            left == 0 ? NULL : memchr(reader->buffer + reader->searched, '\n', left);
        if (newline != NULL) {
            return hand_out(reader, (size_t)(newline - reader->buffer), ret_line, ret_size);
        }
        reader->searched = reader->end;
        if (reader->at_end) {
            return reader->start == reader->end ? ES_EMPTY
                                                : hand_out(reader, reader->end, ret_line, ret_size);
        }
        const enum es_status status = fill(reader);
        if (status != ES_OK) {
            reader->line_number += status == ES_E_TOO_LARGE ? 1 : 0;
            return status;
        }
    }
}
