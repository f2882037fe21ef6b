#include "broker/store_rocksdb_footers.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/store_rocksdb_settings.h"

enum {
    FOOTER_BYTES = 53,
    VERSION_AT = 41,
    MAGIC_AT = 45,
    CHECKSUM_XXH3 = 4
};
#define MAGIC UINT64_C(0x88e241b785f4cff7) /* of a block-based table */

static bool is_misleading(const uint8_t *footer)
{
    uint64_t magic = 0;
    uint32_t version = 0;

    memcpy(&magic, footer + MAGIC_AT, sizeof magic);
    memcpy(&version, footer + VERSION_AT, sizeof version);
    return le64toh(magic) == MAGIC &&
           (le32toh(version) != SETTINGS_TABLE_FORMAT || footer[0] != CHECKSUM_XXH3);
}

/* False, and errno: it cannot be read. '*ret_is_there': it ends with a footer's bytes. */
static bool read_footer(int file, uint8_t footer[FOOTER_BYTES], bool *ret_is_there)
{
    struct stat about;
    ssize_t done = 0;

    *ret_is_there = false;
    if (fstat(file, &about) != 0) {
        return false;
    }
    if (!S_ISREG(about.st_mode) || about.st_size < FOOTER_BYTES) {
        return true;
    }
    do {
        done = pread(file, footer, FOOTER_BYTES, about.st_size - FOOTER_BYTES);
    } while (done < 0 && errno == EINTR);
    *ret_is_there = done == FOOTER_BYTES;
    return done >= 0;
}

bool footer_is_of_table(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && strcmp(dot, ".sst") == 0;
}

enum es_status footer_check(int directory, const char *name)
{
    uint8_t footer[FOOTER_BYTES];
    bool is_there = false;
    bool is_read = false;
    int file = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int error = 0;

    if (file < 0) {
        return errno == ENOENT ? ES_OK : ES_E_IO;
    }
    is_read = read_footer(file, footer, &is_there);
    error = errno;
    close(file);
    errno = error;
    if (!is_read) {
        return ES_E_IO;
    }
    return is_there && is_misleading(footer) ? ES_E_CORRUPT : ES_OK;
}

static enum es_status explain(enum es_status status, const char *name, char *why)
{
    if (status == ES_E_CORRUPT) {
        snprintf(why, STORE_WHY_BYTES,
                 "the footer of %.100s names a format or a checksum that no table here has", name);
    } else if (status != ES_OK) {
        snprintf(why, STORE_WHY_BYTES, "the footer of %.100s cannot be read: %s", name,
                 strerror(errno));
    }
    return status;
}

enum es_status footers_check(const char *directory, char *why)
{
    DIR *listing = opendir(directory);
    const struct dirent *entry = NULL;
    enum es_status status = ES_OK;

    if (listing == NULL) {
        snprintf(why, STORE_WHY_BYTES, "it cannot be listed: %s", strerror(errno));
        return ES_E_IO;
    }
    while (status == ES_OK) {
        errno = 0;
        entry = readdir(listing);
        if (entry == NULL) {
            break;
        }
        if (footer_is_of_table(entry->d_name)) {
            status = explain(footer_check(dirfd(listing), entry->d_name), entry->d_name, why);
        }
    }
    if (status == ES_OK && errno != 0) {
        snprintf(why, STORE_WHY_BYTES, "it cannot be listed: %s", strerror(errno));
        status = ES_E_IO;
    }
    closedir(listing);
    return status;
}
