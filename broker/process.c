#include "broker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/codec/hash.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* headers before Linux 6.5 */
#endif

enum {
    STAT_BYTES_MAX = 1024,
    START_TIME_FIELD = 22,
    FIELD_AFTER_NAME = 3
};

uint64_t process_start_time(pid_t pid)
{
    char path[32];
    char text[STAT_BYTES_MAX];
    char *at = NULL;
    ssize_t size = 0;
    int fd = -1;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    /* The name, field 2, is in parentheses and may hold anything, also ") ". */
    at = strrchr(text, ')');
    for (int field = FIELD_AFTER_NAME - 1; at != NULL && field < START_TIME_FIELD; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

int process_watch(pid_t pid, uint64_t start_time, bool *ret_gone)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    uint64_t found = 0;

    *ret_gone = fd < 0 && errno == ESRCH;
    if (fd < 0) {
        return -1;
    }
    /* Read after the descriptor is held: it is of the process that has the PID
     * now, and that one cannot be replaced any more. */
    found = process_start_time(pid);
    if (start_time != 0 && found != 0 && found != start_time) {
        close(fd);
        *ret_gone = true;
        return -1;
    }
    return fd;
}

int process_watch_peer(int socket, pid_t pid, uint64_t start_time, bool *ret_gone)
{
    int fd = -1;
    socklen_t size = sizeof fd;

    *ret_gone = false;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0 && fd >= 0) {
        return fd; /* close-on-exec from birth */
    }
    return process_watch(pid, start_time, ret_gone);
}

/* /proc/sys/kernel/random/boot_id: 32 digits and dashes. */
enum es_status process_boot_id(uint8_t ret_boot_id[PROCESS_BOOT_ID_BYTES])
{
    char text[40] = {0};
    char digits[2 * PROCESS_BOOT_ID_BYTES];
    size_t count = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0) {
        close(fd);
    }
    for (ssize_t i = 0; i < size && count < sizeof digits; i++) {
        if (text[i] != '-' && text[i] != '\n') {
            digits[count++] = text[i];
        }
    }
    return es_hex_decode(es_text_make(digits, (uint32_t)count), ret_boot_id, PROCESS_BOOT_ID_BYTES)
               ? ES_OK
               : ES_E_IO;
}
