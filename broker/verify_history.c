#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/verify_state.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"

enum {
    CHANGES_AT_FIRST = 4096,
    CHANGES_MAX = 1 << 20 /* 32 MiB: with more keys changed again later, nothing is told */
};

static const struct es_text no_stream = {"", 0};

/* ---- the set of changes that wait ---- */

void verify_history_begin(struct verify *verify)
{
    struct verify_history *history = &verify->history;

    if (history->changes != NULL) {
        memset(history->changes, 0, history->capacity * sizeof *history->changes);
    }
    history->whole = true;
    history->commit_number = reader_head(verify->reader)->commit_number;
    history->stored = 0;
    history->entries = 0;
    history->count = 0;
}

void verify_history_deinit(struct verify_history *history)
{
    free(history->changes);
    history->changes = NULL;
}

/* Where the key is, or would be; the table is never full. */
static uint32_t change_index(const struct verify_history *history, const uint8_t *key)
{
    uint32_t index = 0;

    memcpy(&index, key, sizeof index);
    index &= history->capacity - 1;
    while (history->changes[index].position != 0 &&
           memcmp(history->changes[index].key, key, VERIFY_FINGERPRINT_BYTES) != 0) {
        index = (index + 1) & (history->capacity - 1);
    }
    return index;
}

/* Makes room for one more; false: no memory, or too many. */
static bool history_grow(struct verify_history *history)
{
    struct verify_history larger = *history;

    if (history->capacity > 0 && history->count < history->capacity / 2) {
        return true;
    }
    larger.capacity = history->capacity == 0 ? CHANGES_AT_FIRST : 2 * history->capacity;
    if (larger.capacity > CHANGES_MAX) {
        return false;
    }
    larger.changes = calloc(larger.capacity, sizeof *larger.changes);
    if (larger.changes == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < history->capacity; i++) {
        if (history->changes[i].position != 0) {
            larger.changes[change_index(&larger, history->changes[i].key)] = history->changes[i];
        }
    }
    free(history->changes);
    *history = larger;
    return true;
}

static void change_add(struct verify_history *history, const struct verify_change *change)
{
    if (!history_grow(history)) {
        history->whole = false;
        return;
    }
    history->changes[change_index(history, change->key)] = *change;
    history->count++;
}

/* Takes the key out, and moves up those behind it that would not be found any more. */
static void change_remove(struct verify_history *history, const uint8_t *key)
{
    uint32_t mask = history->capacity - 1;
    uint32_t hole = 0;

    if (history->count == 0) {
        return;
    }
    hole = change_index(history, key);
    if (history->changes[hole].position == 0) {
        return;
    }
    history->changes[hole].position = 0;
    history->count--;
    for (uint32_t i = (hole + 1) & mask; history->changes[i].position != 0; i = (i + 1) & mask) {
        struct verify_change moved = history->changes[i];

        history->changes[i].position = 0;
        history->changes[change_index(history, moved.key)] = moved;
    }
}

/* ---- a change beside what is stored ---- */

static void key_fingerprint(const struct es_commit_kv *kv,
                            uint8_t ret_fingerprint[VERIFY_FINGERPRINT_BYTES])
{
    struct es_key key;

    es_key_kv(kv->name_space, kv->key, &key);
    verify_fingerprint(es_text_make((const char *)key.bytes, key.size), ret_fingerprint);
}

static void report_key(struct verify *verify, const struct es_commit_kv *kv, uint64_t position,
                       const char *what)
{
    verify_report(verify, ES_FINDING_KEY, no_stream, 0, position,
                  "key %.*s:%.*s, changed here with revision %" PRIu64 ", %s",
                  (int)kv->name_space.size, kv->name_space.data,
                  (int)(kv->key.size < 200 ? kv->key.size : 200), kv->key.data, kv->revision, what);
}

/* Whether this change is what is stored; what can be no later change is told at once. */
static bool is_stored(struct verify *verify, const struct es_commit_kv *kv, bool found,
                      uint64_t position)
{
    struct es_kv_value value;
    const char *flaw = NULL;
    bool stored = false;

    if (!found) {
        return kv->op == ES_COMMIT_KV_DELETE;
    }
    if (es_kv_value_decode(verify->value.bytes, verify->value.size, &value) != ES_OK) {
        return true; /* told when the family's turn comes */
    }
    if (value.revision < kv->revision) {
        flaw = "holds an older value";
        stored = true;
    } else if (value.revision == kv->revision) {
        flaw = kv->op == ES_COMMIT_KV_PUT &&
                       memcmp(value.value_hash, kv->value_hash, ES_HASH_SIZE) == 0
                   ? NULL
                   : "holds another value";
        stored = true;
        verify->history.stored++;
    }
    if (flaw != NULL) {
        report_key(verify, kv, position, flaw);
    }
    return stored;
}

enum es_status verify_history_note(struct verify *verify, const struct es_commit_kv *kv,
                                   const struct es_commit_view *commit)
{
    struct verify_change change = {
        .position = es_commit_last_position(commit) + 1, /* never 0: a store may begin with keys */
        .commit_number = commit->commit_number,
    };
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_kv(kv->name_space, kv->key, &key);
    status = verify_get(verify, STORE_KV, &key);
    if (status != ES_OK && status != ES_NOT_FOUND) {
        return status == ES_E_CORRUPT ? ES_OK : status;
    }
    key_fingerprint(kv, change.key);
    change_remove(&verify->history, change.key);
    if (!is_stored(verify, kv, status == ES_OK, commit->first_position)) {
        change_add(&verify->history, &change);
    }
    return ES_OK;
}

/* ---- the end: what no later change has answered ---- */

static void tell_unanswered(struct verify *verify, const struct verify_change *change)
{
    struct es_commit_transaction transaction;
    struct es_commit_view view;
    struct es_commit_walk walk;
    struct es_commit_kv kv;
    struct es_key key;

    es_key_commit(change->position - 1, change->commit_number, &key);
    if (verify_get(verify, STORE_COMMITS, &key) != ES_OK ||
        es_commit_decode(verify->value.bytes, verify->value.size, &view) != ES_OK) {
        return;
    }
    es_commit_walk_begin(&view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        while (es_commit_walk_kv(&walk, &kv)) {
            uint8_t fingerprint[VERIFY_FINGERPRINT_BYTES];

            key_fingerprint(&kv, fingerprint);
            if (memcmp(fingerprint, change->key, sizeof fingerprint) == 0) {
                report_key(verify, &kv, view.first_position,
                           "is not there, or holds what nobody put");
                return;
            }
        }
    }
}

enum es_status verify_commits_end(struct verify *verify)
{
    const struct verify_history *history = &verify->history;

    for (uint32_t i = 0; history->whole && i < history->capacity; i++) {
        if (history->changes[i].position != 0) {
            tell_unanswered(verify, &history->changes[i]);
        }
    }
    return ES_OK;
}
