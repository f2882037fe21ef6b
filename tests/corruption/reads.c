#include "tests/corruption/reads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "tests/corruption/blind.h"

enum {
    FD_PATH_BYTES = 64
};

static struct {
    const struct directory_image *image;
    char *path; /* as the kernel tells it */
    FILE *to;
    uint32_t first_page[IMAGE_FILES_MAX + 1];
    uint32_t *noted; /* by page: the last unit that touched it, + 1 */
    uint32_t unit;
    bool is_on;
    rocksdb_cache_t *cache; /* of the store opened last */
    size_t cache_bytes;
} reads;

rocksdb_cache_t *__real_rocksdb_cache_create_lru_opts(const rocksdb_lru_cache_options_t *options);
rocksdb_cache_t *__wrap_rocksdb_cache_create_lru_opts(const rocksdb_lru_cache_options_t *options);
/* By a name of its own here, for the C library's headers may have one of theirs inline. */
ssize_t reads_pread(int fd, void *bytes, size_t size, off_t offset) __asm__("pread")
    __attribute__((visibility("default")));

rocksdb_cache_t *__wrap_rocksdb_cache_create_lru_opts(const rocksdb_lru_cache_options_t *options)
{
    reads.cache = __real_rocksdb_cache_create_lru_opts(options);
    reads.cache_bytes = rocksdb_cache_get_capacity(reads.cache);
    return reads.cache;
}

/* The index of the file that is open, or the count of files. */
static uint32_t find_file(int fd)
{
    size_t prefix = strlen(reads.path);
    char link[FD_PATH_BYTES];
    char name[IMAGE_PATH_BYTES] = "";
    uint32_t i = 0;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, name, sizeof name - 1) < 0 || strncmp(name, reads.path, prefix) != 0 ||
        name[prefix] != '/') {
        return reads.image->file_count;
    }
    while (i < reads.image->file_count &&
           strcmp(reads.image->files[i].name, name + prefix + 1) != 0) {
        i++;
    }
    return i;
}

static void note(int fd, uint64_t offset, uint64_t size)
{
    uint32_t file = find_file(fd);

    if (file == reads.image->file_count || size == 0 || blind_is("reads")) {
        return;
    }
    for (uint64_t at = offset / READS_PAGE_BYTES; at <= (offset + size - 1) / READS_PAGE_BYTES;
         at++) {
        struct reads_touch touch = {reads.first_page[file] + (uint32_t)at, reads.unit};

        if (touch.page < reads.first_page[file + 1] && reads.noted[touch.page] != reads.unit + 1) {
            reads.noted[touch.page] = reads.unit + 1;
            (void)fwrite(&touch, sizeof touch, 1, reads.to);
        }
    }
}

ssize_t reads_pread(int fd, void *bytes, size_t size, off_t offset)
{
    ssize_t result = syscall(SYS_pread64, fd, bytes, size, offset);

    if (reads.is_on && result > 0) {
        note(fd, (uint64_t)offset, (uint64_t)result);
    }
    return result;
}

void reads_number_pages(const struct directory_image *image,
                        uint32_t ret_first[IMAGE_FILES_MAX + 1])
{
    ret_first[0] = 0;
    for (uint32_t i = 0; i < image->file_count; i++) {
        ret_first[i + 1] = ret_first[i] + (uint32_t)(image->files[i].size / READS_PAGE_BYTES + 1);
    }
}

bool reads_begin(const struct directory_image *image, const char *path, const char *to)
{
    reads.image = image;
    reads.path = realpath(path, NULL);
    reads_number_pages(image, reads.first_page);
    reads.noted = calloc(reads.first_page[image->file_count], sizeof *reads.noted);
    reads.to = fopen(to, "we");
    return reads.path != NULL && reads.noted != NULL && reads.to != NULL;
}

void reads_begin_unit(uint32_t unit)
{
    reads.unit = unit;
    reads.is_on = true;
    if (reads.cache != NULL) {
        rocksdb_cache_set_capacity(reads.cache, 0);
        rocksdb_cache_set_capacity(reads.cache, reads.cache_bytes);
    }
}

bool reads_end(void)
{
    reads.is_on = false;
    free(reads.noted);
    free(reads.path);
    reads.noted = NULL;
    reads.path = NULL;
    return ferror(reads.to) == 0 && fclose(reads.to) == 0;
}
