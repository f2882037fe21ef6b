#include "broker/pace.h"

#include "broker/limits.h"

static int64_t mean(int64_t before, int64_t now)
{
    return before == 0 ? now : (7 * before + now) / 8;
}

void pace_note_write(struct pace *pace, int64_t took_ns)
{
    pace->write_ns = mean(pace->write_ns, took_ns);
}

void pace_note_work(struct pace *pace, uint32_t event_count, int64_t took_ns)
{
    if (event_count > 0) {
        pace->event_ns = mean(pace->event_ns, took_ns / event_count);
    }
}

uint32_t pace_first_share(const struct pace *pace, uint32_t waiting)
{
    if (waiting < 2 * SCRIBE_EVENTS_MIN || (int64_t)waiting * pace->event_ns < pace->write_ns) {
        return waiting;
    }
    return waiting / 2;
}
