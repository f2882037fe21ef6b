/*
 * A broker that a test holds in its hand: the sockets and the shared memory are
 * real, the store is a list of events in memory, and nothing happens by itself.
 * The test says what is stored, what of it is published and in which order, when a
 * record is answered and how, and what breaks. What the library does with a broker
 * that behaves is tested against esbroker.
 *
 * Failures of the fake itself abort. Threads: calls of one test thread.
 */
#ifndef TESTS_SUPPORT_FAKE_BROKER_H
#define TESTS_SUPPORT_FAKE_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/lane.h"

#define FAKE_EVENT_COUNT_MAX 4096u
#define FAKE_LANE_COUNT_MAX 8u
#define FAKE_SLOT_COUNT 64u /* unless the test says otherwise: four credits for each lane */
#define FAKE_EPOCH UINT64_C(0x1122334455667788)

struct fake_broker;

/* Serves in 'run_dir', which is on a tmpfs, as start 'start_number' of its store. */
struct fake_broker *fake_broker_start(const char *run_dir, uint64_t start_number);

/* Ends its threads and closes its sockets; the shared memory keeps its names. */
void fake_broker_stop(struct fake_broker *broker);

/* ---- store and requests ------------------------------------------------- */

/* Stores an event, chained as it should be; gives its position. */
uint64_t fake_broker_store(struct fake_broker *broker, const char *stream, const char *payload);

/* Another history: the epoch in all that is said from now on. */
void fake_broker_set_epoch(struct fake_broker *broker, uint64_t epoch);

/* Forgets every event beyond 'position'. */
void fake_broker_truncate(struct fake_broker *broker, uint64_t position);

/* Changes one byte of the stored envelope, 'from_end' bytes before its end. */
void fake_broker_damage(struct fake_broker *broker, uint64_t position, uint32_t from_end);

/* Leaves an event out of whatever is read or published. */
void fake_broker_hide(struct fake_broker *broker, uint64_t position);

/* Events in a page; the default is 10. */
void fake_broker_set_page(struct fake_broker *broker, uint32_t event_count);

/* Answers no request until called with false. */
void fake_broker_hold_requests(struct fake_broker *broker, bool is_held);

/* Breaks the connection of each of the next 'count' requests in place of an answer. */
void fake_broker_break_requests(struct fake_broker *broker, uint32_t count);

/* Answers every request with exactly these bytes; NULL: properly again. */
void fake_broker_answer_bytes(struct fake_broker *broker, const void *bytes, uint32_t size);

/* How many requests came, of whatever kind. */
uint64_t fake_broker_request_count(struct fake_broker *broker);

/* ---- publication -------------------------------------------------------- */

/* Waits until somebody has connected to the publisher. */
void fake_broker_await_subscriber(struct fake_broker *broker);

uint32_t fake_broker_subscriber_count(struct fake_broker *broker);

/* Publishes the events of 'category' within 'first'..'last' as one message. */
void fake_broker_publish(struct fake_broker *broker, const char *category, uint64_t first,
                         uint64_t last);

/* The same with one byte of its last envelope changed. */
void fake_broker_publish_damaged(struct fake_broker *broker, const char *category, uint64_t first,
                                 uint64_t last);

/* Sends a heartbeat that tells what changed since the one before. */
void fake_broker_heartbeat(struct fake_broker *broker);

/* Counts a heartbeat and sends none. */
void fake_broker_lose_heartbeat(struct fake_broker *broker);

/* ---- lanes -------------------------------------------------------------- */

/* Takes no record out of any lane until called with false. */
void fake_broker_hold_lanes(struct fake_broker *broker, bool is_held);

/* Answers 'count' records of each lane, though they are held. */
void fake_broker_answer_some(struct fake_broker *broker, uint32_t count);

/* Judges one transaction; 'result' is zero but for its sequence, the answer OK. */
typedef void fake_judge(void *context, const void *transaction, uint32_t size,
                        struct es_lane_result *result);
void fake_broker_set_judge(struct fake_broker *broker, fake_judge *judge, void *context);

/* Says on the control page that it has stopped, or serves. */
void fake_broker_set_stopped(struct fake_broker *broker, bool is_stopped);

/* Makes new shared memory: producers attached so far are never answered again. */
void fake_broker_renew_memory(struct fake_broker *broker);

/* Stores 'stored_count' records of each lane without answering them, then does the same. */
void fake_broker_lose_memory(struct fake_broker *broker, uint32_t stored_count);

/* Leaves who wants to attach without an answer until called with false. */
void fake_broker_hold_attach(struct fake_broker *broker, bool is_held);

/* Gives 'count' lanes to producers that are not told, as a broker that dies then. */
void fake_broker_lose_answers(struct fake_broker *broker, uint32_t count);

/* Whom it names as the process that owns a name; this one unless told otherwise. */
void fake_broker_set_owner_pid(struct fake_broker *broker, uint32_t pid);

/* Forgets what this name has stored beyond 'last_number'. */
void fake_broker_forget_numbers(struct fake_broker *broker, const char *name, uint64_t last_number);

/* How many transactions are stored under this name, and the number of the one stored at 'index'. */
uint32_t fake_broker_number_count(struct fake_broker *broker, const char *name);
uint64_t fake_broker_number(struct fake_broker *broker, const char *name, uint32_t index);

/* Makes new memory with rings of so many slots and arenas of so many bytes. */
void fake_broker_set_geometry(struct fake_broker *broker, uint32_t slot_count,
                              uint32_t arena_bytes);

/* Refuses to attach with this status; ES_OK: not any more. */
void fake_broker_refuse_attach(struct fake_broker *broker, enum es_status status);

/* Lanes given out since the start, and records taken out of them. */
uint64_t fake_broker_attach_count(struct fake_broker *broker);
uint64_t fake_broker_record_count(struct fake_broker *broker);

#endif
