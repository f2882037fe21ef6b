/*
 * One run through the public calls of libeventspine, in which one thing may go wrong
 * once: the book of what was written and what became of it, and the judge of what each
 * call has to say. What is broken ends the program with STORY_BROKEN and a line.
 *
 * On stdout, for test_client_calls.py:
 *   F CALL: STATUS: TEXT      a call failed that was expected to succeed
 *   A STREAM PAYLOAD          acknowledged; N: certainly not stored; U: nobody knows
 *   K NAMESPACE KEY VALUE     what a key is left with
 *   W WORD                    asks for something, and waits for a line on stdin
 */
#ifndef TESTS_EXHAUSTION_STORY_H
#define TESTS_EXHAUSTION_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include <eventspine.h>

enum {
    STORY_BROKEN = 3,
    WRITTEN_MAX = 128,
    AGAIN_MAX = 2, /* a call may fail so often, for what went wrong once */
    TEXT_BYTES = 64
};

#define PATIENCE_NS UINT64_C(20000000000)
#define STREAM_COUNT 4u

struct written {
    const char *stream;
    char payload[TEXT_BYTES];
    char fate;    /* 'A', 'N' or 'U', as above */
    bool is_seen; /* by the reading that is under way */
};

struct story {
    const char *run_dir;
    const char *tag;
    struct es_connection *connection;
    char streams[STREAM_COUNT][TEXT_BYTES]; /* two categories, two streams each */
    char filter[TEXT_BYTES];                /* holds all of them */
    struct es_store_head begin;             /* before anything was written */
    uint32_t again;                         /* how often the present call has failed */
    char said[512];                         /* by the last call */
    struct written written[WRITTEN_MAX];
    uint32_t written_count;
};

void story_init(struct story *story, const char *run_dir, const char *tag);

/* Ends the program: a promise does not hold. */
_Noreturn void story_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* True: it came out as expected. Else it has failed, with words of its own, and may be
 * tried again: it has not failed too often. */
bool story_told(struct story *story, const char *call, enum es_status status,
                enum es_status expected);

/* The same call, on the same handle, until it comes out as expected. */
#define EXPECT(story, expected, call) \
    do {                              \
    } while (!story_told(story, #call, call, expected))

#define REQUIRE(condition)                                             \
    do {                                                               \
        if (!(condition)) {                                            \
            story_broken("%s:%d: %s", __FILE__, __LINE__, #condition); \
        }                                                              \
    } while (0)

/* Asks the driver for something, and waits until it is done. */
void story_want(const char *word);

/* ---- the book ------------------------------------------------------------ */

/* A payload that was never there before, not sent yet. */
struct written *story_write(struct story *story, const char *stream);

/* What became of it. */
void story_settle(struct written *written, enum es_status status);

/* How many of a stream (NULL: of all) are acknowledged, forgetting what was seen. */
uint32_t story_count(struct story *story, const char *stream);

/* An event was read. Broken if it was never written, is certainly not stored, or was
 * seen by this reading before. */
void story_see(struct story *story, const struct es_event *event);

/* How many that were acknowledged have not been seen. */
uint32_t story_missing(const struct story *story);

/* All that was acknowledged has been seen. */
void story_expect_all_seen(const struct story *story, const char *stream);

/* Prints it. */
void story_print_book(const struct story *story);

/* ---- the chapters -------------------------------------------------------- */

void chapter_unnamed(struct story *story);
void chapter_transactions(struct story *story);
void chapter_keys(struct story *story);
void chapter_named(struct story *story);
void chapter_ownership(struct story *story);
void chapter_restarts(struct story *story);
void chapter_heads(struct story *story);
void chapter_readers(struct story *story);
void chapter_consumer(struct story *story);
void chapter_snapshots(struct story *story);
void chapter_receipts(struct story *story);
void chapter_interrupts(struct story *story);

/* Appends one event and waits, with other payloads until one is acknowledged.
 * 'ret_receipt' may be NULL. */
void append_one(struct story *story, struct es_producer *producer, const char *stream,
                struct es_receipt *ret_receipt);

/* Follows until all that was acknowledged has come, each once. */
void follow_all(struct story *story, struct es_consumer *consumer);

/* Sends 'count' events without waiting, then takes their outcomes. */
void submit_some(struct story *story, struct es_producer *producer, const char *stream,
                 uint32_t count);
void collect_all(struct story *story, struct es_producer *producer);

#endif
