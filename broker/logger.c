#include "broker/logger.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 1024
};

static _Atomic int level_max = LOGGER_INFO;

void logger_set_level(enum logger_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

__attribute__((format(printf, 2, 0))) static void write_line(enum logger_level level,
                                                             const char *format, va_list arguments)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[LINE_BYTES_MAX];
    struct timespec now;
    struct tm utc;
    size_t used = 0;
    int written = 0;

    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed)) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    written = snprintf(line + used, sizeof line - used,
                       ".%03ldZ esbroker %s: ", now.tv_nsec / 1000000L, names[level]);
    used += (size_t)written;
    written = vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    if (written > 0) {
        used += (size_t)written;
    }
    if (used > sizeof line - 2) {
        used = sizeof line - 2;
    }
    line[used++] = '\n';
    written = (int)write(STDERR_FILENO, line, used); /* nobody to tell when it fails */
    (void)written;
}

#define DEFINE_LOG(name, level)               \
    void name(const char *format, ...)        \
    {                                         \
        va_list arguments;                    \
        va_start(arguments, format);          \
        write_line(level, format, arguments); \
        va_end(arguments);                    \
    }

DEFINE_LOG(log_error, LOGGER_ERROR)
DEFINE_LOG(log_warning, LOGGER_WARNING)
DEFINE_LOG(log_info, LOGGER_INFO)
DEFINE_LOG(log_debug, LOGGER_DEBUG)
