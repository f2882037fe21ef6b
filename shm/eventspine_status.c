#include "shm/eventspine_status.h"

const char *es_status_text(enum es_status status)
{
    switch (status) {
    case ES_OK: return "done";
    case ES_CONFLICT: return "conflict with what is stored";
    case ES_NOT_FOUND: return "not found";
    case ES_FULL: return "no room now";
    case ES_EMPTY: return "nothing there now";
    case ES_TIMEOUT: return "deadline passed";
    case ES_INTERRUPTED: return "interrupted";
    case ES_REJECTED: return "rejected";
    case ES_NOT_SERVING: return "the broker is not serving";
    case ES_PREVIOUS_FAILED: return "an earlier ordered record was refused";
    case ES_NO_SPACE: return "the store's disk is nearly full";
    case ES_TRUNCATED: return "truncated away";
    case ES_REGRESSED: return "the store is older than what was seen";
    case ES_DIVERGED: return "the store has another history";
    case ES_FENCED: return "another owner has taken over";
    case ES_E_INVALID: return "invalid argument";
    case ES_E_NO_MEMORY: return "out of memory";
    case ES_E_IO: return "input/output error";
    case ES_E_CORRUPT: return "damaged or malformed data";
    case ES_E_UNREACHABLE: return "no broker answers";
    case ES_E_UNKNOWN: return "outcome unknown";
    case ES_E_WRONG_THREAD: return "the handle is in use by another thread";
    case ES_E_FORKED: return "the handle belongs to the parent process";
    case ES_E_CLOSED: return "closed";
    case ES_E_VERSION: return "another version";
    case ES_E_PERMISSION: return "not permitted";
    case ES_E_TOO_LARGE: return "too large";
    case ES_E_BUSY: return "held by somebody else";
    case ES_E_PROTOCOL: return "protocol error";
    case ES_E_LIMIT: return "a limit is reached";
    case ES_E_EXISTS: return "it exists already";
    }
    return "unknown status";
}
