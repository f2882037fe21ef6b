#include "broker/socket_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A connection to the listener at 'path', or -1: nobody listens there. */
static int listener_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(path) >= sizeof address.sun_path) {
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

enum es_status socket_file_clear(const char *path, char *why, size_t why_bytes)
{
    struct stat found;
    int listener = -1;

    if (lstat(path, &found) != 0) {
        return ES_OK;
    }
    if (!S_ISSOCK(found.st_mode)) {
        snprintf(why, why_bytes, "%.180s is there and is no socket: move it away", path);
        return ES_E_BUSY;
    }
    listener = listener_connect(path);
    if (listener >= 0) {
        close(listener);
        snprintf(why, why_bytes, "another process listens on %.180s: stop it", path);
        return ES_E_BUSY;
    }
    (void)unlink(path);
    return ES_OK;
}
