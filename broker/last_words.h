/*
 * The end of a broker by what C++ code below it cannot report: memory that RocksDB does
 * not get, a thread it cannot start. Without this an exception that nobody catches
 * would abort the process; with it the broker says what it was and stops with an exit
 * code, as at any failed write. What was written, the next start finds out.
 *
 * What it does not do: anything about our own assertions, which abort.
 */
#ifndef BROKER_LAST_WORDS_H
#define BROKER_LAST_WORDS_H

/* Call it once, before RocksDB is used. */
void last_words_install(void);

#endif
