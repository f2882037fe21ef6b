/*
 * The broker's log for people: one line an entry on stderr, with time and level.
 * Not the commit log: that is log.h.
 *
 * Threads. Any; a line is one write(2).
 */
#ifndef BROKER_LOGGER_H
#define BROKER_LOGGER_H

enum logger_level {
    LOGGER_ERROR = 0,
    LOGGER_WARNING = 1,
    LOGGER_INFO = 2,
    LOGGER_DEBUG = 3
};

/* Lines above 'level' are dropped; LOGGER_INFO at the start. */
void logger_set_level(enum logger_level level);

#define LOGGER_FORMAT __attribute__((format(printf, 1, 2)))
LOGGER_FORMAT void log_error(const char *format, ...);
LOGGER_FORMAT void log_warning(const char *format, ...);
LOGGER_FORMAT void log_info(const char *format, ...);
LOGGER_FORMAT void log_debug(const char *format, ...);

#endif
