/* Lines out of a descriptor: whatever the sizes of the reads, and never without a bound. */
#include "tools/esctl/line_reader.h"
#include "tools/esctl/stream_count.h"

#include "tests/support/prng.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* A descriptor whose file holds 'bytes'. */
static int file_of(const char *bytes, size_t size)
{
    const int descriptor = memfd_create("lines", MFD_CLOEXEC);

    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, bytes, size), (ssize_t)size);
    assert_int_equal(lseek(descriptor, 0, SEEK_SET), 0);
    return descriptor;
}

static void assert_line(struct line_reader *reader, const char *text, size_t size)
{
    char *line = NULL;
    size_t line_size = 0;

    assert_int_equal(line_reader_next(reader, &line, &line_size), ES_OK);
    assert_int_equal(line_size, size);
    assert_memory_equal(line, text, size);
}

static void assert_end(struct line_reader *reader, enum es_status status)
{
    char *line = NULL;
    size_t size = 0;

    assert_int_equal(line_reader_next(reader, &line, &size), status);
}

static void lines_keep_their_nul_and_the_last_needs_no_newline(void **state)
{
    struct line_reader reader;
    const int descriptor = file_of("one\n\nt\0o\nlast", 13);

    (void)state;
    line_reader_init(&reader, descriptor);
    assert_line(&reader, "one", 3);
    assert_line(&reader, "", 0);
    assert_line(&reader, "t\0o", 3);
    assert_int_equal(reader.line_number, 3);
    assert_line(&reader, "last", 4);
    assert_end(&reader, ES_EMPTY);
    assert_end(&reader, ES_EMPTY);
    line_reader_deinit(&reader);
    assert_int_equal(close(descriptor), 0);
}

struct writer {
    int descriptor;
    const char *bytes;
    size_t size;
    struct prng prng;
};

/* Writes in pieces of any size. */
static void *write_pieces(void *context)
{
    struct writer *writer = context;
    size_t written = 0;

    while (written < writer->size) {
        size_t piece = 1 + prng_below(&writer->prng, 70000);
        piece = piece < writer->size - written ? piece : writer->size - written;
        const ssize_t count = write(writer->descriptor, writer->bytes + written, piece);
        if (count <= 0) {
            break;
        }
        written += (size_t)count;
    }
    (void)close(writer->descriptor);
    return NULL;
}

static void lines_are_the_same_however_they_arrive(void **state)
{
    enum {
        LINE_COUNT = 300
    };
    struct writer writer = {0};
    struct line_reader reader;
    size_t sizes[LINE_COUNT];
    pthread_t thread;
    int ends[2];
    char *text = NULL;
    size_t at = 0;

    (void)state;
    prng_begin(&writer.prng, __func__);
    for (int i = 0; i < LINE_COUNT; i++) {
        sizes[i] = prng_below(&writer.prng, prng_one_in(&writer.prng, 50) ? 600000 : 900);
        writer.size += sizes[i] + 1;
    }
    text = malloc(writer.size);
    assert_non_null(text);
    memset(text, 'x', writer.size);
    for (int i = 0; i < LINE_COUNT; i++) {
        at += sizes[i];
        text[at++] = '\n';
    }
    assert_int_equal(pipe(ends), 0);
    writer.descriptor = ends[1];
    writer.bytes = text;
    assert_int_equal(pthread_create(&thread, NULL, write_pieces, &writer), 0);

    line_reader_init(&reader, ends[0]);
    at = 0;
    for (int i = 0; i < LINE_COUNT; i++) {
        assert_line(&reader, text + at, sizes[i]);
        at += sizes[i] + 1;
    }
    assert_end(&reader, ES_EMPTY);
    line_reader_deinit(&reader);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(close(ends[0]), 0);
    free(text);
}

static void a_line_without_an_end_is_refused_and_not_kept(void **state)
{
    struct line_reader reader;
    char *text = malloc(LINE_BYTES_MAX + 2);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', LINE_BYTES_MAX + 2);
    text[1] = '\n';
    text[LINE_BYTES_MAX + 1] = 'y';
    const int descriptor = file_of(text, LINE_BYTES_MAX + 2);
    line_reader_init(&reader, descriptor);
    assert_line(&reader, "x", 1);
    assert_line(&reader, text + 2, LINE_BYTES_MAX);
    line_reader_deinit(&reader);

    text[1] = 'x'; /* one line now, two bytes too long */
    assert_int_equal(pwrite(descriptor, text, LINE_BYTES_MAX + 2, 0), (ssize_t)LINE_BYTES_MAX + 2);
    assert_int_equal(lseek(descriptor, 0, SEEK_SET), 0);
    line_reader_init(&reader, descriptor);
    assert_end(&reader, ES_E_TOO_LARGE);
    assert_int_equal(reader.line_number, 1);
    assert_true(reader.capacity <= 2 * (size_t)LINE_BYTES_MAX);
    line_reader_deinit(&reader);
    assert_int_equal(close(descriptor), 0);
    free(text);
}

static void a_failing_read_is_told_with_its_errno(void **state)
{
    struct line_reader reader;

    (void)state;
    line_reader_init(&reader, -1);
    assert_end(&reader, ES_E_IO);
    assert_int_equal(errno, EBADF);
    line_reader_deinit(&reader);
}

/* Streams are counted exactly, however often they come. */
static void streams_are_counted_once_each(void **state)
{
    struct stream_count streams;
    char name[32];

    (void)state;
    stream_count_init(&streams);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50000; i++) {
            (void)snprintf(name, sizeof name, "a:b:L0:c:M%d", i);
            stream_count_add(&streams, stream_count_key(name));
        }
    }
    assert_int_equal(streams.count, 50000);
    assert_false(streams.at_least);
    stream_count_deinit(&streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_keep_their_nul_and_the_last_needs_no_newline),
        cmocka_unit_test(lines_are_the_same_however_they_arrive),
        cmocka_unit_test(a_line_without_an_end_is_refused_and_not_kept),
        cmocka_unit_test(a_failing_read_is_told_with_its_errno),
        cmocka_unit_test(streams_are_counted_once_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
