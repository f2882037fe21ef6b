/* A line that says how far a verb is; see progress.h. */
#include "tools/esctl/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define INTERVAL_NS (NS_PER_SECOND / 10)

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *verb)
{
    const uint64_t now = now_ns();

    *progress = (struct progress){.verb = verb,
                                  .is_shown = isatty(STDERR_FILENO) == 1,
                                  .start_ns = now,
                                  .next_ns = now + INTERVAL_NS};
}

double progress_seconds(const struct progress *progress)
{
    const uint64_t passed = now_ns() - progress->start_ns;

    return (double)(passed > 0 ? passed : 1) / (double)NS_PER_SECOND;
}

void progress_show(struct progress *progress, uint64_t events, uint64_t part, uint64_t whole)
{
    if (!progress->is_shown || now_ns() < progress->next_ns) {
        return;
    }
    progress->next_ns = now_ns() + INTERVAL_NS;
    progress->is_dirty = true;
    (void)fprintf(stderr, "\r%s %" PRIu64 " events, %.0f/s", progress->verb, events,
                  (double)events / progress_seconds(progress));
    if (whole > 0) {
        (void)fprintf(stderr, ", %.0f %%", 100.0 * (double)part / (double)whole);
    }
    (void)fputs("\033[K", stderr);
    (void)fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (progress->is_dirty) {
        (void)fputs("\r\033[K", stderr);
        progress->is_dirty = false;
    }
}
