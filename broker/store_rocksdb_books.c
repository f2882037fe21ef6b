/*
 * The books are a log of RocksDB's: blocks of 32 KiB with fragments of entries in them, each
 *   0 CRC32C, masked (u32) | 4 size (u16) | 6 type: 1 whole, 2 first, 3 middle, 4 last
 *   7 bytes, over which and the type the CRC is
 * A fragment does not cross a block; what is left of one that is too small for a header is
 * zeros.
 */
#include "broker/store_rocksdb_books.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/crc32c.h"

enum {
    BLOCK_BYTES = 32 * 1024,
    FRAGMENT_HEADER_BYTES = 7,
    TYPE_WHOLE = 1,
    TYPE_FIRST = 2,
    TYPE_MIDDLE = 3,
    TYPE_LAST = 4,
    BOOKS_BYTES_MAX = 1 << 30,
    /* New books begin with two entries for each family, synced before CURRENT names them; one
     * more may come first. What comes behind and was never told of is not needed. */
    FIRST_ENTRIES = 2 * STORE_FAMILY_COUNT + 1,
    NAME_BYTES = 64
};

static const uint32_t crc_mask = 0xa282ead8U;

static void name_of(uint64_t number, char ret_name[NAME_BYTES])
{
    snprintf(ret_name, NAME_BYTES, "MANIFEST-%06" PRIu64, number);
}

static int open_at(const char *directory, const char *name, int flags)
{
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = at < 0 ? -1 : openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC);

    if (at >= 0) {
        close(at);
    }
    return file;
}

/* ES_E_CORRUPT: it is missing, or names no MANIFEST. ES_E_IO: it cannot be read now. */
static enum es_status find_current(const char *directory, uint64_t *ret_number)
{
    char text[NAME_BYTES] = "";
    int file = open_at(directory, "CURRENT", O_RDONLY);
    ssize_t size = -1;

    if (file < 0) {
        return errno == ENOENT ? ES_E_CORRUPT : ES_E_IO;
    }
    do {
        size = read(file, text, sizeof text - 1);
    } while (size < 0 && errno == EINTR);
    close(file);
    if (size < 0) {
        return ES_E_IO;
    }
    return sscanf(text, "MANIFEST-%" SCNu64 "\n", ret_number) == 1 ? ES_OK : ES_E_CORRUPT;
}

enum es_status books_settle(const char *directory, struct store_books *ret_books)
{
    char name[NAME_BYTES];
    struct stat about;
    uint64_t number = 0;
    int file = -1;
    bool is_synced = false;
    enum es_status status = ES_OK;

    status = find_current(directory, &number);
    if (status != ES_OK) {
        return status;
    }
    name_of(number, name);
    file = open_at(directory, name, O_RDONLY);
    /* The size first: what is appended meanwhile is not claimed. */
    is_synced = file >= 0 && fstat(file, &about) == 0 && fdatasync(file) == 0;
    if (file >= 0) {
        close(file);
    }
    if (!is_synced) {
        return ES_E_IO;
    }
    *ret_books = (struct store_books){number, (uint64_t)about.st_size};
    return ES_OK;
}

/* The whole file, to be freed; NULL: it cannot be read. */
static uint8_t *read_books(const char *directory, uint64_t number, uint64_t *ret_size)
{
    char name[NAME_BYTES];
    struct stat about = {.st_size = 0};
    uint8_t *bytes = NULL;
    uint64_t done = 0;
    int file = -1;

    name_of(number, name);
    file = open_at(directory, name, O_RDONLY);
    if (file >= 0 && fstat(file, &about) == 0 && about.st_size <= BOOKS_BYTES_MAX) {
        bytes = malloc((size_t)about.st_size + 1);
    }
    while (bytes != NULL && done < (uint64_t)about.st_size) {
        ssize_t size = read(file, bytes + done, (uint64_t)about.st_size - done);

        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size <= 0) {
            free(bytes);
            bytes = NULL;
        } else {
            done += (uint64_t)size;
        }
    }
    if (file >= 0) {
        close(file);
    }
    *ret_size = done;
    return bytes;
}

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* The size of the sound fragment at 'at' with its header, 0: there is none. */
static uint64_t fragment_at(const uint8_t *bytes, uint64_t size, uint64_t at)
{
    uint64_t block_left = BLOCK_BYTES - at % BLOCK_BYTES;
    uint64_t length = 0;
    uint32_t crc = 0;

    if (size - at < FRAGMENT_HEADER_BYTES) {
        return 0;
    }
    length = FRAGMENT_HEADER_BYTES + ((uint64_t)bytes[at + 4] | (uint64_t)bytes[at + 5] << 8);
    if (length > block_left || length > size - at || bytes[at + 6] < TYPE_WHOLE ||
        bytes[at + 6] > TYPE_LAST) {
        return 0;
    }
    crc = es_crc32c(0, bytes + at + 6, length - 6);
    crc = ((crc >> 15) | (crc << 17)) + crc_mask;
    return crc == read_u32(bytes + at) ? length : 0;
}

/* Where the last whole entry ends before which everything is sound, and how many there are. */
static uint64_t whole_bytes(const uint8_t *bytes, uint64_t size, uint64_t *ret_entries)
{
    uint64_t whole = 0;
    uint64_t at = 0;
    bool is_inside = false; /* of an entry */

    while (at < size) {
        uint64_t block_left = BLOCK_BYTES - at % BLOCK_BYTES;
        uint64_t length = 0;

        if (block_left < FRAGMENT_HEADER_BYTES) {
            at += block_left;
            continue;
        }
        length = fragment_at(bytes, size, at);
        if (length == 0 ||
            is_inside != (bytes[at + 6] == TYPE_MIDDLE || bytes[at + 6] == TYPE_LAST)) {
            break;
        }
        is_inside = bytes[at + 6] == TYPE_FIRST || bytes[at + 6] == TYPE_MIDDLE;
        at += length;
        if (!is_inside) {
            whole = at;
            ++*ret_entries;
        }
    }
    return whole;
}

bool books_are_torn(const char *directory, const struct store_books *synced,
                    struct store_books *ret_whole)
{
    uint64_t number = 0;
    uint64_t size = 0;
    uint64_t whole = 0;
    uint64_t entries = 0;
    uint8_t *bytes = NULL;

    if (synced->number == 0 || synced->bytes == 0 || find_current(directory, &number) != ES_OK ||
        number < synced->number) {
        return false;
    }
    bytes = read_books(directory, number, &size);
    if (bytes == NULL) {
        return false;
    }
    whole = whole_bytes(bytes, size, &entries);
    free(bytes);
    *ret_whole = (struct store_books){number, whole};
    return whole < size &&
           (number == synced->number ? whole >= synced->bytes : entries >= FIRST_ENTRIES);
}

enum es_status books_cut(const char *directory, const struct store_books *whole)
{
    char name[NAME_BYTES];
    int file = -1;
    bool is_cut = false;

    name_of(whole->number, name);
    file = open_at(directory, name, O_RDWR);
    is_cut = file >= 0 && ftruncate(file, (off_t)whole->bytes) == 0 && fsync(file) == 0;
    if (file >= 0) {
        close(file);
    }
    return is_cut ? ES_OK : ES_E_IO;
}

/* The books themselves, so far. */
static bool copy_books(const char *directory, const struct store_books *whole, int to)
{
    char name[NAME_BYTES];
    uint64_t size = 0;
    uint8_t *bytes = read_books(directory, whole->number, &size);
    int file = -1;
    bool is_copied = false;

    name_of(whole->number, name);
    file = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    is_copied = bytes != NULL && size >= whole->bytes && file >= 0 &&
                write(file, bytes, whole->bytes) == (ssize_t)whole->bytes;
    if (file >= 0) {
        close(file);
    }
    free(bytes);
    return is_copied;
}

/* A link to everything but the books. */
static bool link_others(const char *directory, const struct store_books *whole, int to)
{
    char name[NAME_BYTES];
    char *absolute = realpath(directory, NULL);
    DIR *listing = absolute == NULL ? NULL : opendir(absolute);
    const struct dirent *entry = NULL;
    bool is_linked = listing != NULL;

    name_of(whole->number, name);
    while (is_linked && (entry = readdir(listing)) != NULL) {
        char target[PATH_MAX + NAME_MAX + 2];

        if (entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0) {
            snprintf(target, sizeof target, "%s/%s", absolute, entry->d_name);
            is_linked = symlinkat(target, to, entry->d_name) == 0;
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    free(absolute);
    return is_linked;
}

enum es_status books_stand_in(const char *directory, const struct store_books *whole,
                              const char *parent, char *ret_path, size_t size)
{
    int length = snprintf(ret_path, size, "%s/stand-in-XXXXXX", parent);
    bool is_made = false;
    int to = -1;

    if (length < 0 || (size_t)length >= size || mkdtemp(ret_path) == NULL) {
        ret_path[0] = '\0';
        return ES_E_IO;
    }
    to = open(ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    is_made = to >= 0 && copy_books(directory, whole, to) && link_others(directory, whole, to);
    if (to >= 0) {
        close(to);
    }
    if (!is_made) {
        books_stand_in_remove(ret_path);
        ret_path[0] = '\0';
    }
    return is_made ? ES_OK : ES_E_IO;
}

void books_stand_in_remove(const char *path)
{
    DIR *listing = opendir(path);
    const struct dirent *entry = NULL;

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        (void)unlinkat(dirfd(listing), entry->d_name, 0); /* links, and a copy of ours */
    }
    if (listing != NULL) {
        closedir(listing);
    }
    (void)rmdir(path);
}
