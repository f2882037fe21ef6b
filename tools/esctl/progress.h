/*
 * A line on the terminal that says how far a long verb is. It appears on stderr,
 * ten times a second, and only where that is a terminal. One thread.
 */
#ifndef ESCTL_PROGRESS_H
#define ESCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *verb; /* "imported" */
    bool is_shown;
    bool is_dirty; /* a line stands on the terminal */
    uint64_t start_ns;
    uint64_t next_ns;
};

void progress_start(struct progress *progress, const char *verb);

/* 'part' of 'whole' in any unit; 'whole' 0: unknown. */
void progress_show(struct progress *progress, uint64_t events, uint64_t part, uint64_t whole);

/* Takes the line away, so that something else can be printed. */
void progress_clear(struct progress *progress);

/* Since progress_start(); never 0. */
double progress_seconds(const struct progress *progress);

#endif
