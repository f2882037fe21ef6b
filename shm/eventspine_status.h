/*
 * The one status enum of Eventspine, shared by the library, the broker and the
 * tools. Installed beside eventspine.h, which includes it.
 *
 * Zero is done. A positive status is an expected answer that the direct caller
 * handles. A negative one is a failure: forward it unchanged. State and outputs
 * of a call change only when it returns ES_OK, unless its comment says more.
 */
#ifndef EVENTSPINE_STATUS_H
#define EVENTSPINE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ES_MUST_USE __attribute__((warn_unused_result))
#define ES_API __attribute__((visibility("default")))
#else
#define ES_MUST_USE
#define ES_API
#endif

enum es_status {
    ES_OK = 0,

    /* Expected answers. Nothing was stored, and asking again the same way is safe. */
    ES_CONFLICT = 1,        /* an expectation did not hold; the actual values come with it */
    ES_NOT_FOUND = 2,       /* no such stream, sequence, key, snapshot or position */
    ES_FULL = 3,            /* no room now: collect completions, then try again */
    ES_EMPTY = 4,           /* nothing there now: wait, then look again */
    ES_TIMEOUT = 5,         /* the deadline passed while waiting; nothing was lost */
    ES_INTERRUPTED = 6,     /* es_connection_interrupt() ended the wait */
    ES_REJECTED = 7,        /* certainly not stored; the reason says which rule was broken */
    ES_NOT_SERVING = 8,     /* the broker is starting, stopping or stopped: try again later */
    ES_PREVIOUS_FAILED = 9, /* an earlier ordered record of this producer was refused */
    ES_NO_SPACE = 10,       /* the broker's disk is below its reserve; reads go on */
    ES_TRUNCATED = 11,      /* the stream's beginning, up to here, was truncated away */
    ES_REGRESSED = 12,      /* the store is older than what this client has seen */
    ES_DIVERGED = 13,       /* the store has another history than this client has seen */
    ES_FENCED = 14,         /* another owner has taken over this producer name */

    /* Failures. */
    ES_E_INVALID = -1,      /* an argument breaks a documented rule */
    ES_E_NO_MEMORY = -2,    /* an allocation failed */
    ES_E_IO = -3,           /* a system call failed; errno is kept where the caller can use it */
    ES_E_CORRUPT = -4,      /* bytes that should be sound are damaged or malformed */
    ES_E_UNREACHABLE = -5,  /* no broker answers in this run directory */
    ES_E_UNKNOWN = -6,      /* the outcome cannot be known: ask before doing it again */
    ES_E_WRONG_THREAD = -7, /* the handle is in use by another thread */
    ES_E_FORKED = -8,       /* the handle belongs to the parent process */
    ES_E_CLOSED = -9,       /* the handle, or the other side, is closed */
    ES_E_VERSION = -10,     /* written by, or speaking, another version */
    ES_E_PERMISSION = -11,  /* the operating system or the broker says no */
    ES_E_TOO_LARGE = -12,   /* larger than the limit that the broker announces */
    ES_E_BUSY = -13,        /* somebody else holds it */
    ES_E_PROTOCOL = -14,    /* the other side sent what the protocol does not allow */
    ES_E_LIMIT = -15,       /* a bound on lanes, connections or handles is reached */
    ES_E_EXISTS = -16       /* it is there already, and may not be written again */
};

/* A short lower-case description in English; never NULL; static storage. */
ES_API const char *es_status_text(enum es_status status);

#ifdef __cplusplus
}
#endif

#endif
