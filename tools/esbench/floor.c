/*
 * esbench floor: what the disk alone takes for one commit. The bytes of one log record, of a commit
 * of --batch events, go into a file that was written before, as the commit log's segments are:
 * pwrite, fdatasync, the next place. No broker is slower than this by accident and none is faster.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/esbench/bare.h"
#include "tools/esbench/bench.h"
#include "tools/esbench/load.h"
#include "tools/esbench/temporary.h"

#define FILE_BYTES (32U << 20) /* a segment of the log */

/* A file of zeros that has its blocks, sizes and times on disk already. */
static int file_make(const char *directory, char *path, size_t capacity, int *ret_fd)
{
    static const unsigned char zeros[1U << 16];
    int bytes = snprintf(path, capacity, "%s/esbench-floor-XXXXXX", directory);
    int fd = -1;

    if (bytes > 0 && (size_t)bytes < capacity) {
        fd = mkostemp(path, O_CLOEXEC);
    }
    if (fd < 0) {
        return bench_fail(EX_CANTCREAT, "no file in %s (%s): name another --directory", directory,
                          strerror(errno));
    }
    for (uint32_t done = 0; done < FILE_BYTES; done += sizeof zeros) {
        if (pwrite(fd, zeros, sizeof zeros, (off_t)done) != (ssize_t)sizeof zeros) {
            (void)close(fd);
            (void)unlink(path);
            return bench_fail(EX_IOERR,
                              "cannot write %u bytes in %s (%s): name another --directory",
                              FILE_BYTES, directory, strerror(errno));
        }
    }
    if (fsync(fd) != 0) {
        (void)close(fd);
        (void)unlink(path);
        return bench_fail(EX_IOERR, "cannot sync in %s (%s): name another --directory", directory,
                          strerror(errno));
    }
    *ret_fd = fd;
    return EX_OK;
}

static int write_and_sync(const struct bench_options *options, int fd, const unsigned char *record,
                          uint32_t record_bytes, struct measurement *ret_measurement)
{
    uint64_t writes = (options->count + options->batch - 1) / options->batch;
    uint64_t begin_ns = bench_now_ns();
    uint32_t offset = 0;

    for (uint64_t i = 0; i < writes; i++) {
        uint64_t start_ns = bench_now_ns();

        if (offset > FILE_BYTES - record_bytes) {
            offset = 0;
        }
        if (bench_interrupted) {
            return bench_fail(EX_TEMPFAIL, "interrupted: measure again");
        }
        if (pwrite(fd, record, record_bytes, (off_t)offset) != (ssize_t)record_bytes ||
            fdatasync(fd) != 0) {
            return bench_fail(EX_IOERR, "cannot write in %s (%s): name another --directory",
                              options->directory, strerror(errno));
        }
        offset += record_bytes;
        histogram_add(&ret_measurement->latency, bench_now_ns() - start_ns);
    }
    ret_measurement->elapsed_ns = bench_now_ns() - begin_ns;
    ret_measurement->events = writes * options->batch;
    return EX_OK;
}

int floor_measure(const struct bench_options *options, struct measurement *ret_measurement)
{
    uint32_t record_bytes = 0;
    struct load load = {.pool = NULL};
    char path[TEMPORARY_PATH_BYTES];
    int fd = -1;
    int code = EX_OK;

    if (!bare_record_bytes(options, &record_bytes)) {
        return bench_fail(EX_OSERR, "no memory: use a smaller --size or --batch");
    }
    if (record_bytes > FILE_BYTES / 4) {
        return bench_fail(EX_USAGE, "--size times --batch exceeds what one log record holds: "
                                    "make one of them smaller");
    }
    if (!load_init(&load, record_bytes, 1)) {
        return bench_fail(EX_OSERR, "no memory: use a smaller --size or --batch");
    }
    code = file_make(options->directory, path, sizeof path, &fd);
    if (code == EX_OK) {
        code = write_and_sync(options, fd, load_payload(&load, 0), record_bytes, ret_measurement);
        (void)close(fd);
        (void)unlink(path);
    }
    load_deinit(&load);
    return code;
}
