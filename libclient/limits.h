/*
 * Every bound of the library in one place. The bounds that two processes must
 * agree on are in shm/layout.h and shm/codec/.
 */
#ifndef ES_CLIENT_LIMITS_H
#define ES_CLIENT_LIMITS_H

#include <stdint.h>

#define ES_MILLISECOND_NS INT64_C(1000000)
#define ES_SECOND_NS INT64_C(1000000000)

#define ES_TIMEOUT_DEFAULT_NS (UINT64_C(5) * 1000000000)
#define ES_RUN_DIR_BYTES_MAX 93u /* "/requests.sock" and a NUL still fit sun_path's 108 */
#define ES_CLIENT_NAME_BYTES_MAX 255u
#define ES_ERROR_TEXT_BYTES 512u
#define ES_ERROR_CONNECTION_COUNT 4u /* connections whose last error one thread remembers */
#define ES_RETIRED_HANDLE_COUNT 64u  /* closed handles that can still be told from open ones */

/* A socket whose queue is full is tried again; a control socket, for so long. */
#define ES_CONNECT_AGAIN_MS 2
#define ES_CONNECT_PATIENCE_NS ES_SECOND_NS

/* Questions. */
#define ES_REPLY_BYTES_MAX (64u << 20)
#define ES_IDLE_QUESTION_COUNT_MAX 8u
#define ES_RECONNECT_MIN_MS 20
#define ES_RECONNECT_MAX_MS 200
#define ES_CONNECT_SLICE_NS (20 * ES_MILLISECOND_NS) /* not connected: look whether a broker runs */
#define ES_REPLY_SLICE_NS (100 * ES_MILLISECOND_NS)  /* connected: look for a broken connection */

/* Producers. */
#define ES_LANE_SLICE_NS (100 * ES_MILLISECOND_NS) /* waited so long: is the memory still in use? */
#define ES_REATTACH_NS (20 * ES_MILLISECOND_NS)    /* between two tries of a lost producer */

/* Readers and consumers. */
#define ES_LINK_COUNT 65536u            /* streams whose last hash a reader remembers */
#define ES_LIVE_MESSAGE_COUNT_MAX 1024u /* that wait for their turn */
#define ES_LIVE_BYTES_MAX (32u << 20)
#define ES_SILENCE_NS (3 * ES_SECOND_NS) /* no message for so long: ask */
#define ES_RETRY_NS ES_SECOND_NS         /* between two tries to reach a broker that is gone */

#endif
