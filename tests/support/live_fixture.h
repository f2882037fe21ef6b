/*
 * A store of three categories that holds nothing but positions, the messages that its
 * broker would publish, made by hand, and a live.h that they are pushed into. Failures
 * end the test.
 */
#ifndef TESTS_SUPPORT_LIVE_FIXTURE_H
#define TESTS_SUPPORT_LIVE_FIXTURE_H

#include "libclient/live.h"

#define LIVE_EPOCH UINT64_C(99)
#define LIVE_CATEGORIES 3u
#define LIVE_EVENTS_MAX 400u

extern const char *const live_categories[LIVE_CATEGORIES];

/* The store: position - 1 -> index of the category. */
struct live_history {
    uint8_t category_of[LIVE_EVENTS_MAX];
    uint64_t count;
    uint64_t told; /* head position of the last heartbeat */
    uint64_t heartbeat_number;
    uint64_t start_number;
    uint64_t epoch;
};

struct live_fixture {
    struct live_history history;
    struct es_filter filter;
    struct es_live live;
};

/* An empty store, and a consumer of what 'filter' wants of it. */
void live_open(struct live_fixture *f, const char *filter);

/* One more event. */
void live_store(struct live_fixture *f, uint32_t category);

/* The message of the category's events from 'first' to 'last'. */
struct es_message events_message(const struct live_history *history, uint32_t category,
                                 uint64_t first, uint64_t last);

/* A heartbeat that names what has changed since the one before, or says that it cannot. */
struct es_message heartbeat_message(struct live_history *history, bool is_changed_known);

void push_events(struct live_fixture *f, uint32_t category, uint64_t first, uint64_t last);
void push_heartbeat(struct live_fixture *f);

/* What comes next, and is taken. */
void expect_event(struct live_fixture *f, uint64_t position);
void expect_nothing(struct live_fixture *f);

#endif
