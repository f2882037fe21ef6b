/*
 * The lines of a file, one after the other, in memory that grows to the longest
 * line and no further than LINE_BYTES_MAX. It does not know what a line means.
 * One thread per reader.
 */
#ifndef ESCTL_LINE_READER_H
#define ESCTL_LINE_READER_H

#include <eventspine.h>

/* The largest payload (4 MiB) as JSON of nothing but escapes is 24 MiB. */
#define LINE_BYTES_MAX (UINT32_C(32) << 20)

struct line_reader {
    int descriptor;
    char *buffer;
    size_t capacity;
    size_t start; /* of what is not handed out yet */
    size_t end;
    size_t searched;      /* no newline before it, from 'start' on */
    bool at_end;          /* of the file */
    uint64_t line_number; /* of the line handed out last; the first is 1 */
};

/* 'descriptor' stays the caller's. */
void line_reader_init(struct line_reader *reader, int descriptor);
void line_reader_deinit(struct line_reader *reader);

/*
 * The next line without its newline; the caller may change it until the next call.
 *
 * ES_EMPTY: the end. ES_E_TOO_LARGE: the line is longer than LINE_BYTES_MAX.
 * ES_E_IO: reading failed, errno says why. ES_INTERRUPTED: stop_requested().
 */
ES_MUST_USE enum es_status line_reader_next(struct line_reader *reader, char **ret_line,
                                            size_t *ret_size);

#endif
