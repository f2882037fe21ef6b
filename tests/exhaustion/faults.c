/*
 * A library to preload: makes one chosen call of one chosen place in the main program,
 * or in one of its libraries, fail once. It wraps allocation, and the libc functions
 * behind which system calls are; what RocksDB and libc call on their own account passes.
 *
 *   ES_FAULT_LOG=FILE   of LOG_BYTES zeros: gets each call that could have failed, and
 *                       how much of the memory that was asked for is not given back
 *   ES_FAULT_OBJECT=TEXT the library whose path holds this; else it is the main program
 *   ES_FAULT="NAME OFFSET OCCURRENCE ERRNO"   the one that fails: a function, where it is
 *                       called (the return address, from the start of the object), the
 *                       how manieth time (from 0), with what
 *   ES_FAULT_CLOCK=SEED the wall clock jumps, backwards and forwards, up to a day
 *
 * test_exhaustion.py and test_client_calls.py try one after the other. Threads: any.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    CALLS_MAX = 1 << 20,
    NAME_BYTES = 24
};

struct call {
    char name[NAME_BYTES];
    uint64_t offset;
};

struct call_log {
    _Atomic uint64_t count;
    _Atomic uint64_t hits;
    _Atomic uint64_t allocations; /* by object and program, and not freed by them */
    _Atomic uint64_t mappings;    /* mapped by them, and not unmapped by them */
    struct call calls[CALLS_MAX];
};

struct extent {
    uintptr_t begin;
    uintptr_t end;
};

static struct extent program;
static struct extent object; /* what is tried */
static struct call_log *call_log;
static struct call wanted;
static uint64_t wanted_occurrence;
static int wanted_errno;
static _Atomic uint64_t occurrences;
static _Atomic uint64_t clock_state; /* 0: the clock does not jump */
static _Atomic bool is_over;         /* nothing is logged or fails any more */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *bytes, size_t size);
extern void __libc_free(void *bytes);

/* Called by a program that is done with what is to be tried. */
void es_faults_end(void);
void es_faults_end(void)
{
    atomic_store(&is_over, true);
}

/* The program comes first, and has no name. */
static int look_at_object(struct dl_phdr_info *info, size_t size, void *context)
{
    const char *wanted_path = context;
    struct extent found = {.begin = info->dlpi_addr};

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
            found.end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
        }
    }
    if (program.end == 0) {
        program = found;
    }
    if (wanted_path != NULL && strstr(info->dlpi_name, wanted_path) == NULL) {
        return 0;
    }
    object = found;
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ES_FAULT_LOG");
    const char *fault = getenv("ES_FAULT");
    const char *clock_seed = getenv("ES_FAULT_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd >= 0) {
        void *base = mmap(NULL, sizeof *call_log, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        call_log = base == MAP_FAILED ? NULL : base;
        close(fd);
    }
    if (fault != NULL && sscanf(fault, "%23s %lu %lu %d", wanted.name, &wanted.offset,
                                &wanted_occurrence, &wanted_errno) != 4) {
        abort();
    }
    if (clock_seed != NULL) {
        atomic_store(&clock_state, strtoull(clock_seed, NULL, 10) | 1);
    }
    (void)dl_iterate_phdr(look_at_object, getenv("ES_FAULT_OBJECT"));
}

static bool is_in(struct extent extent, const void *where)
{
    return (uintptr_t)where >= extent.begin && (uintptr_t)where < extent.end;
}

/* Also the program's own: a function of the object that ends with free() may leave to
 * free() the return to its caller. */
static bool is_counted(const void *where)
{
    return call_log != NULL && (is_in(object, where) || is_in(program, where));
}

/* The errno with which this call is to fail, or 0. */
static int fault_at(const char *name, const void *where)
{
    uint64_t offset = (uintptr_t)where - object.begin;

    if (call_log == NULL || !is_in(object, where) || atomic_load(&is_over)) {
        return 0;
    }
    if (wanted_errno == 0) {
        uint64_t index = atomic_fetch_add(&call_log->count, 1);

        if (index < CALLS_MAX) {
            strncpy(call_log->calls[index].name, name, NAME_BYTES - 1);
            call_log->calls[index].offset = offset;
        }
        return 0;
    }
    if (offset != wanted.offset || strcmp(name, wanted.name) != 0 ||
        atomic_fetch_add(&occurrences, 1) != wanted_occurrence) {
        return 0;
    }
    atomic_fetch_add(&call_log->hits, 1);
    return wanted_errno;
}

#define HERE __builtin_return_address(0)

#define WRAP_AS(type, name, text, parameters, arguments, failure) \
    type name parameters;                                         \
    type name parameters                                          \
    {                                                             \
        static type(*real) parameters;                            \
        int error = fault_at(text, HERE);                         \
                                                                  \
        if (error != 0) {                                         \
            errno = error;                                        \
            return failure;                                       \
        }                                                         \
        if (real == NULL) {                                       \
            *(void **)&real = dlsym(RTLD_NEXT, #name);            \
        }                                                         \
        return real arguments;                                    \
    }

#define WRAP(type, name, parameters, arguments, failure) \
    WRAP_AS(type, name, #name, parameters, arguments, failure)

/* ---- memory -------------------------------------------------------------- */

static void *allocated(void *bytes, const void *where)
{
    if (bytes != NULL && is_counted(where)) {
        atomic_fetch_add(&call_log->allocations, 1);
    }
    return bytes;
}

void *malloc(size_t size)
{
    int error = fault_at("malloc", HERE);

    errno = error != 0 ? error : errno;
    return error != 0 ? NULL : allocated(__libc_malloc(size), HERE);
}

void *calloc(size_t count, size_t size)
{
    int error = fault_at("calloc", HERE);

    errno = error != 0 ? error : errno;
    return error != 0 ? NULL : allocated(__libc_calloc(count, size), HERE);
}

void *realloc(void *bytes, size_t size)
{
    int error = fault_at("realloc", HERE);
    bool is_new = bytes == NULL;

    if (error != 0) {
        errno = error;
        return NULL;
    }
    bytes = __libc_realloc(bytes, size);
    return is_new ? allocated(bytes, HERE) : bytes;
}

void free(void *bytes)
{
    if (bytes != NULL && is_counted(HERE)) {
        atomic_fetch_sub(&call_log->allocations, 1);
    }
    __libc_free(bytes);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    int error = fault_at("mmap", HERE);
    void *base = MAP_FAILED;

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "mmap");
    }
    if (error != 0) {
        errno = error;
        return MAP_FAILED;
    }
    base = real(at, size, protection, flags, fd, offset);
    if (base != MAP_FAILED && is_counted(HERE)) {
        atomic_fetch_add(&call_log->mappings, 1);
    }
    return base;
}

int munmap(void *at, size_t size)
{
    static int (*real)(void *, size_t);

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "munmap");
    }
    if (is_counted(HERE)) {
        atomic_fetch_sub(&call_log->mappings, 1);
    }
    return real(at, size);
}

WRAP(void *, reallocarray, (void *bytes, size_t count, size_t size), (bytes, count, size), NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(char *, strndup, (const char *text, size_t size), (text, size), NULL)
WRAP(FILE *, open_memstream, (char **bytes, size_t *size), (bytes, size), NULL)
WRAP(int, madvise, (void *at, size_t size, int advice), (at, size, advice), -1)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     (thread, attributes, run, argument), error)
WRAP_AS(int, __register_atfork, "pthread_atfork",
        (void (*prepare)(void), void (*parent)(void), void (*child)(void), void *caller),
        (prepare, parent, child, caller), error)

/* ---- files --------------------------------------------------------------- */

static mode_t mode_of(int flags, va_list rest)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, mode_t);
    int error = fault_at("open", HERE);
    mode_t mode = 0;
    va_list rest;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "open");
    }
    errno = error != 0 ? error : errno;
    return error != 0 ? -1 : real(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, mode_t);
    int error = fault_at("openat", HERE);
    mode_t mode = 0;
    va_list rest;

    va_start(rest, flags);
    mode = mode_of(flags, rest);
    va_end(rest);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "openat");
    }
    errno = error != 0 ? error : errno;
    return error != 0 ? -1 : real(directory, path, flags, mode);
}

WRAP_AS(int, __openat_2, "openat", (int directory, const char *path, int flags),
        (directory, path, flags), -1)
WRAP(FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL)
WRAP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
WRAP(DIR *, opendir, (const char *path), (path), NULL)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL)
WRAP(struct dirent *, readdir, (DIR * listing), (listing), NULL)
WRAP(ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size), -1)
WRAP(ssize_t, pread, (int fd, void *bytes, size_t size, off_t offset), (fd, bytes, size, offset),
     -1)
WRAP(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size), -1)
WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t offset),
     (fd, bytes, size, offset), -1)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset),
     (fd, parts, count, offset), -1)
WRAP(int, fsync, (int fd), (fd), -1)
WRAP(int, fdatasync, (int fd), (fd), -1)
WRAP(int, fflush, (FILE * file), (file), EOF)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), -1)
WRAP(int, posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size), error)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
WRAP(int, mkdirat, (int directory, const char *path, mode_t mode), (directory, path, mode), -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
WRAP(int, renameat, (int from_at, const char *from, int to_at, const char *to),
     (from_at, from, to_at, to), -1)
WRAP(int, unlink, (const char *path), (path), -1)
WRAP(int, unlinkat, (int directory, const char *path, int flags), (directory, path, flags), -1)
WRAP(int, mkostemp, (char *path, int flags), (path, flags), -1)
WRAP(int, stat, (const char *path, struct stat *about), (path, about), -1)
WRAP(int, lstat, (const char *path, struct stat *about), (path, about), -1)
WRAP(int, fstat, (int fd, struct stat *about), (fd, about), -1)
WRAP(int, fstatfs, (int fd, struct statfs *about), (fd, about), -1)
WRAP(int, fstatvfs, (int fd, struct statvfs *about), (fd, about), -1)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(int, chown, (const char *path, uid_t user, gid_t group), (path, user, group), -1)
WRAP(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group), -1)
WRAP(int, flock, (int fd, int operation), (fd, operation), -1)
WRAP_AS(char *, __realpath_chk, "realpath", (const char *path, char *resolved, size_t size),
        (path, resolved, size), NULL)

int fcntl(int fd, int command, ...)
{
    static int (*real)(int, int, void *);
    int error = fault_at("fcntl", HERE);
    void *argument = NULL;
    va_list rest;

    va_start(rest, command);
    argument = va_arg(rest, void *);
    va_end(rest);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "fcntl");
    }
    errno = error != 0 ? error : errno;
    return error != 0 ? -1 : real(fd, command, argument);
}

/* ---- sockets, waiting and the rest --------------------------------------- */

WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1)
WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags),
     (fd, address, size, flags), -1)
WRAP(int, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size),
     -1)
WRAP(ssize_t, send, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags),
     -1)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(ssize_t, recv, (int fd, void *bytes, size_t size, int flags), (fd, bytes, size, flags), -1)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size), -1)
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size), -1)
WRAP(int, epoll_create1, (int flags), (flags), -1)
WRAP(int, epoll_ctl, (int fd, int operation, int other, struct epoll_event *event),
     (fd, operation, other, event), -1)
WRAP(int, epoll_wait, (int fd, struct epoll_event *events, int count, int timeout_ms),
     (fd, events, count, timeout_ms), -1)
WRAP(int, poll, (struct pollfd * look, nfds_t count, int timeout_ms), (look, count, timeout_ms), -1)
WRAP(int, ppoll,
     (struct pollfd * look, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
     (look, count, timeout, mask), -1)
WRAP(int, eventfd, (unsigned int value, int flags), (value, flags), -1)
WRAP(int, signalfd, (int fd, const sigset_t *signals, int flags), (fd, signals, flags), -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), -1)
WRAP(int, timerfd_settime,
     (int fd, int flags, const struct itimerspec *value, struct itimerspec *old),
     (fd, flags, value, old), -1)
WRAP(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left), -1)
WRAP(ssize_t, getrandom, (void *bytes, size_t size, unsigned int flags), (bytes, size, flags), -1)

/* The futex, and the descriptor of a process. */
long syscall(long number, ...)
{
    static long (*real)(long, long, long, long, long, long, long);
    int error = fault_at(number == SYS_futex ? "futex" : "syscall", HERE);
    long values[6];
    va_list rest;

    va_start(rest, number);
    for (int i = 0; i < 6; i++) {
        values[i] = va_arg(rest, long);
    }
    va_end(rest);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    }
    errno = error != 0 ? error : errno;
    return error != 0
               ? -1
               : real(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    static int (*real)(clockid_t, struct timespec *);
    uint64_t state = atomic_load(&clock_state);
    int result = 0;

    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    }
    result = real(clock, ret_time);
    if (state != 0 && clock == CLOCK_REALTIME) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        atomic_store(&clock_state, state | 1);
        ret_time->tv_sec += (time_t)(state >> 33) % 172800 - 86400;
    }
    return result;
}
