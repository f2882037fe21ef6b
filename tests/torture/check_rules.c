#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <eventspine.h>

#include "shm/codec/reason.h"
#include "tests/torture/check.h"

enum {
    TOLD_MAX = 20,
    RADIX = 256
};

void violation(struct torture *torture, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (++torture->violations <= TOLD_MAX && !torture->is_quiet) {
        printf("violation: %s\n", text);
    }
}

/* ---- the store by itself, and whose everything in it is ------------------- */

/* The stream of event 'index' of a plan; PLAN_STREAMS: it has no such event. */
static uint32_t stream_of(const struct plan *plan, uint32_t index)
{
    for (uint32_t i = 0; i < plan->append_count; i++) {
        if (index < plan->appends[i].event_count) {
            return plan->appends[i].stream;
        }
        index -= plan->appends[i].event_count;
    }
    return PLAN_STREAMS;
}

static void begin_deed(struct torture *torture, struct deed *deed, const struct stored *stored)
{
    struct account *account = &torture->accounts[stored->client];

    if (deed->stored_first != 0) {
        violation(torture, "position %" PRIu64 ": number %" PRIu64 " of client %u a second time",
                  stored->position, stored->number, stored->client);
    }
    if (stored->number <= account->last_stored) {
        violation(torture,
                  "position %" PRIu64 ": number %" PRIu64 " of client %u after its %" PRIu64,
                  stored->position, stored->number, stored->client, account->last_stored);
    }
    account->last_stored = stored->number;
    deed->stored_first = stored->position;
    deed->stored_first_sequence = stored->sequence;
    deed->stored_count = 0;
}

/* Events of one transaction lie together, all of them, in their order. */
static void check_event(struct torture *torture, const struct stored *stored,
                        const struct stored *before)
{
    struct deed *deed = stored->is_sound ? deed_of(torture, stored->client, stored->number) : NULL;
    struct plan plan;

    if (deed == NULL || deed->sent_ns == 0) {
        violation(torture, "position %" PRIu64 ": bytes that nobody sent", stored->position);
        return;
    }
    plan_make(stored->client, stored->number, &plan);
    if (stream_of(&plan, stored->index) != stored->stream) {
        violation(torture, "position %" PRIu64 ": in another stream than it was sent to",
                  stored->position);
    }
    if (stored->index == 0) {
        begin_deed(torture, deed, stored);
    } else if (before == NULL || before->client != stored->client ||
               before->number != stored->number || before->index + 1 != stored->index) {
        violation(torture, "position %" PRIu64 ": event %u of a transaction, without those before",
                  stored->position, stored->index);
    }
    deed->stored_count++;
    deed->stored_last = stored->position;
    deed->stored_last_sequence = stored->sequence;
    memcpy(deed->stored_hash, stored->hash, HASH_BYTES);
}

static void check_store(struct torture *torture)
{
    uint64_t sequences[PLAN_STREAMS + 1] = {0};
    uint32_t commit_number = 0;

    for (size_t i = 0; i < torture->stored.count; i++) {
        const struct stored *stored = &torture->stored.items[i];
        const struct deed *deed = NULL;

        if (stored->position != i + 1) {
            violation(torture, "position %" PRIu64 " where %zu should be", stored->position, i + 1);
        }
        if (stored->sequence != ++sequences[stored->stream]) {
            violation(torture,
                      "position %" PRIu64 ": sequence %" PRIu64 " where %" PRIu64 " should be",
                      stored->position, stored->sequence, sequences[stored->stream]);
            sequences[stored->stream] = stored->sequence;
        }
        check_event(torture, stored, i == 0 ? NULL : stored - 1);
        deed = stored->is_sound ? deed_of(torture, stored->client, stored->number) : NULL;
        if (deed != NULL && deed->done_ns != 0 && deed->status == ES_OK) {
            if ((int32_t)(deed->commit_number - commit_number) < 0) {
                violation(torture, "position %" PRIu64 ": commit %u after commit %u",
                          stored->position, deed->commit_number, commit_number);
            }
            commit_number = deed->commit_number;
        }
    }
}

/* ---- what was answered ----------------------------------------------------- */

static void check_receipt(struct torture *torture, uint32_t client, uint64_t number,
                          const struct plan *plan, const struct deed *deed)
{
    if (plan->event_count > 0 && deed->stored_first == 0) {
        violation(torture,
                  "number %" PRIu64 " of client %u was acknowledged at position %" PRIu64
                  ", and is lost",
                  number, client, deed->position);
        return;
    }
    if (deed->position != deed->stored_last || deed->sequence != deed->stored_last_sequence ||
        memcmp(deed->hash, deed->stored_hash, HASH_BYTES) != 0) {
        violation(torture,
                  "number %" PRIu64 " of client %u: the receipt says position %" PRIu64
                  ", sequence %" PRIu64 "; the store %" PRIu64 ", %" PRIu64,
                  number, client, deed->position, deed->sequence, deed->stored_last,
                  deed->stored_last_sequence);
    }
    if ((deed->revision != 0) != plan->has_key) {
        violation(torture, "number %" PRIu64 " of client %u: revision %" PRIu64, number, client,
                  deed->revision);
    }
}

static void check_deed(struct torture *torture, uint32_t client, uint64_t number,
                       const struct deed *deed)
{
    bool is_stored = deed->stored_first != 0;
    struct plan plan;

    plan_make(client, number, &plan);
    if (is_stored && deed->stored_count != plan.event_count) {
        violation(torture, "number %" PRIu64 " of client %u: %u of its %u events are there", number,
                  client, deed->stored_count, plan.event_count);
    }
    if (is_stored && deed->is_not_sent) {
        violation(torture, "number %" PRIu64 " of client %u was not sent, and is there", number,
                  client);
    }
    if (is_stored && deed->done_ns != 0 && deed->status > ES_OK) {
        violation(torture, "number %" PRIu64 " of client %u was refused (%d), and is there", number,
                  client, deed->status);
    }
    if (deed->done_ns != 0 && deed->status == ES_OK) {
        check_receipt(torture, client, number, &plan, deed);
    }
    if (deed->done_ns != 0 && deed->status == ES_REJECTED &&
        deed->commit_number == ES_REASON_PRODUCER_CONTENT) {
        violation(torture, "number %" PRIu64 " of client %u: another owner has used it", number,
                  client);
    }
    if (deed->is_repeated) {
        violation(torture, "number %" PRIu64 " of client %u was answered otherwise when repeated",
                  number, client);
    }
    if (deed->expected == BOOK_NOTHING_EXPECTED || deed->sent_ns == 0) {
        return;
    }
    if (is_stored && deed->stored_first_sequence != deed->expected + 1) {
        violation(torture,
                  "number %" PRIu64 " of client %u expected %" PRIu64
                  ", and is there as sequence %" PRIu64,
                  number, client, deed->expected, deed->stored_first_sequence);
    }
    if (deed->done_ns != 0 && deed->status == ES_CONFLICT && deed->sequence == deed->expected) {
        violation(torture, "number %" PRIu64 " of client %u: a conflict with what it expected",
                  number, client);
    }
}

/* The last value is that of the last put that is certain, or of one after it that may be. */
static void check_key(struct torture *torture, uint32_t client, uint32_t key)
{
    const struct account *account = &torture->accounts[client];
    const struct key_found *found = &torture->keys[client][key];
    uint64_t certain = 0;
    uint64_t revision = 0;
    bool is_possible = found->number == 0;

    for (uint64_t number = 1; number <= account->count; number++) {
        const struct deed *deed = &account->deeds[number - 1];
        struct plan plan;

        plan_make(client, number, &plan);
        if (!plan.has_key || plan.key != key || deed->sent_ns == 0 || deed->is_not_sent ||
            (deed->done_ns != 0 && deed->status > ES_OK)) {
            continue;
        }
        if ((deed->done_ns != 0 && deed->status == ES_OK) || deed->stored_first != 0) {
            if (deed->revision != 0 && deed->revision <= revision) {
                violation(torture,
                          "number %" PRIu64 " of client %u: revision %" PRIu64 " after %" PRIu64,
                          number, client, deed->revision, revision);
            }
            revision = deed->revision != 0 ? deed->revision : revision;
            certain = number;
            is_possible = found->number == number &&
                          (deed->revision == 0 || found->revision == deed->revision);
        } else if (found->number == number && plan.event_count == 0) {
            is_possible = true; /* unknown, and nothing else tells */
        }
    }
    if (!is_possible || (found->number == 0 && certain != 0)) {
        violation(torture,
                  "key %u of client %u holds number %" PRIu64 ", and %" PRIu64 " was the last", key,
                  client, found->number, certain);
    }
}

static void check_accounts(struct torture *torture)
{
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        const struct account *account = &torture->accounts[client];

        for (uint64_t number = 1; number <= account->count; number++) {
            check_deed(torture, client, number, &account->deeds[number - 1]);
        }
        for (uint32_t key = 0; client < PLAN_VISITOR_FIRST && key < PLAN_KEYS; key++) {
            check_key(torture, client, key);
        }
    }
}

/* ---- before and after ------------------------------------------------------ */

/* By time, least byte first: linear. */
static void sort_by_time(struct moment *moments, struct moment *spare, size_t count)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t starts[RADIX + 1] = {0};

        for (size_t i = 0; i < count; i++) {
            starts[(moments[i].time_ns >> shift & (RADIX - 1)) + 1]++;
        }
        for (size_t i = 0; i < RADIX; i++) {
            starts[i + 1] += starts[i];
        }
        for (size_t i = 0; i < count; i++) {
            spare[starts[moments[i].time_ns >> shift & (RADIX - 1)]++] = moments[i];
        }
        memcpy(moments, spare, count * sizeof moments[0]);
    }
}

/* All sends of what is stored and all acknowledgements, by time. The caller frees them. */
static struct moment *moments_of(const struct torture *torture, size_t *ret_count)
{
    size_t deeds = 0;
    struct moment *moments = NULL;
    struct moment *spare = NULL;
    size_t count = 0;

    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        deeds += torture->accounts[client].count;
    }
    moments = calloc(2 * deeds + 1, sizeof *moments);
    spare = calloc(2 * deeds + 1, sizeof *spare);
    if (moments == NULL || spare == NULL) {
        exit(71);
    }
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        for (uint64_t i = 0; i < torture->accounts[client].count; i++) {
            const struct deed *deed = &torture->accounts[client].deeds[i];

            if (deed->stored_first != 0) {
                moments[count++] =
                    (struct moment){deed->sent_ns, deed->stored_first, client, false};
            }
            if (deed->done_ns != 0 && deed->status == ES_OK) {
                moments[count++] = (struct moment){deed->done_ns, deed->position, client, true};
            }
        }
    }
    sort_by_time(moments, spare, count);
    free(spare);
    *ret_count = count;
    return moments;
}

static void check_causality(struct torture *torture)
{
    size_t count = 0;
    struct moment *moments = moments_of(torture, &count);
    uint64_t acked = 0;
    uint32_t acked_client = 0;

    for (size_t i = 0; i < count; i++) {
        if (moments[i].is_ack) {
            acked_client = moments[i].position > acked ? moments[i].client : acked_client;
            acked = moments[i].position > acked ? moments[i].position : acked;
        } else if (moments[i].position <= acked) {
            violation(torture,
                      "client %u had position %" PRIu64
                      " acknowledged before client %u sent what is at %" PRIu64,
                      acked_client, acked, moments[i].client, moments[i].position);
        }
    }
    free(moments);
}

/* Once a name is taken over, nothing more of the owner before is stored. */
static void check_takeovers(struct torture *torture)
{
    uint64_t last = 0;

    for (uint32_t client = PLAN_TAKER_FIRST; client < PLAN_VISITOR_FIRST; client++) {
        const struct account *account = &torture->accounts[client];
        uint64_t before = last;

        for (uint64_t i = 0; i < account->count; i++) {
            const struct deed *deed = &account->deeds[i];

            if (deed->stored_first != 0 && deed->stored_first <= before) {
                violation(torture,
                          "position %" PRIu64 " is of owner %u of a name, and %" PRIu64
                          " of an owner before",
                          deed->stored_first, client, before);
            }
            last = deed->stored_last > last && deed->stored_first != 0 ? deed->stored_last : last;
        }
    }
}

/* ---- subscribers ------------------------------------------------------------ */

static void check_follower(struct torture *torture, uint32_t index)
{
    const struct follower *follower = &torture->followers[index];
    size_t next = 0;

    for (size_t i = 0; i < torture->stored.count; i++) {
        const struct stored *stored = &torture->stored.items[i];
        const struct stored *seen = &follower->seen.items[next];

        if (!plan_filter_has(follower->filter, stored->stream)) {
            continue;
        }
        if (next == follower->seen.count || seen->position != stored->position ||
            seen->sequence != stored->sequence || seen->stream != stored->stream ||
            memcmp(seen->hash, stored->hash, HASH_BYTES) != 0) {
            violation(torture,
                      "subscriber %u: position %" PRIu64 " where %" PRIu64
                      " was to come, as its event %zu of %zu",
                      index, next == follower->seen.count ? 0 : seen->position, stored->position,
                      next + 1, follower->seen.count);
            return;
        }
        next++;
    }
    if (next < follower->seen.count) {
        violation(torture, "subscriber %u was given position %" PRIu64 ", which is not there",
                  index, follower->seen.items[next].position);
    }
}

void rules_check(struct torture *torture)
{
    check_store(torture);
    check_accounts(torture);
    check_causality(torture);
    check_takeovers(torture);
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        if (torture->followers[i].is_open) {
            check_follower(torture, i);
        }
    }
}

/* ---- the report -------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;

    return (first > second) - (first < second);
}

/* How long after a producer's end somebody else had the next acknowledgement. */
static void report_gaps(const struct torture *torture)
{
    size_t count = 0;
    struct moment *moments = moments_of(torture, &count);
    uint64_t *gaps = calloc(torture->death_count + 1, sizeof *gaps);
    size_t gap_count = 0;
    size_t at = 0;
    struct moment *spare = calloc(torture->death_count + 1, sizeof *spare);

    if (gaps == NULL || spare == NULL) {
        exit(71);
    }
    sort_by_time(torture->deaths, spare, torture->death_count);
    for (size_t i = 0; i < torture->death_count; i++) {
        size_t next = 0;

        while (at < count && moments[at].time_ns < torture->deaths[i].time_ns) {
            at++;
        }
        for (next = at; next < count && !(moments[next].is_ack &&
                                          moments[next].client != torture->deaths[i].client);) {
            next++;
        }
        if (next < count) {
            gaps[gap_count++] = moments[next].time_ns - torture->deaths[i].time_ns;
        }
    }
    if (gap_count > 0) {
        qsort(gaps, gap_count, sizeof *gaps, compare);
        printf("us_to_next_ack_p50 %" PRIu64 "\nus_to_next_ack_p99 %" PRIu64
               "\nus_to_next_ack_max %" PRIu64 "\n",
               gaps[gap_count / 2] / 1000, gaps[gap_count * 99 / 100] / 1000,
               gaps[gap_count - 1] / 1000);
    }
    free(spare);
    free(gaps);
    free(moments);
}

/* True: a broker died between the two times. */
static bool saw_death(const struct torture *torture, const struct deed *deed)
{
    size_t low = 0;
    size_t high = torture->broker_death_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (torture->broker_deaths[middle] < deed->sent_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < torture->broker_death_count && torture->broker_deaths[low] < deed->done_ns;
}

void rules_report(struct torture *torture)
{
    uint64_t sent = 0;
    uint64_t ok = 0;
    uint64_t refused = 0;
    uint64_t unknown = 0;
    uint64_t over_death = 0;
    uint64_t repeats = 0;
    size_t seen = 0;

    qsort(torture->broker_deaths, torture->broker_death_count, sizeof(uint64_t), compare);
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        for (uint64_t i = 0; i < torture->accounts[client].count; i++) {
            const struct deed *deed = &torture->accounts[client].deeds[i];
            bool is_ok = deed->done_ns != 0 && deed->status == ES_OK;

            sent += deed->sent_ns != 0 && !deed->is_not_sent;
            ok += is_ok;
            refused += deed->done_ns != 0 && deed->status > ES_OK;
            unknown += deed->sent_ns != 0 && !deed->is_not_sent &&
                       (deed->done_ns == 0 || deed->status < ES_OK);
            repeats += deed->repeat_count;
            over_death += is_ok && saw_death(torture, deed);
        }
    }
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        seen += torture->followers[i].seen.count;
    }
    printf("events %zu\nsent %" PRIu64 "\nok %" PRIu64 "\nrefused %" PRIu64 "\nunknown %" PRIu64
           "\nok_over_a_broker_death %" PRIu64 "\nrepeats %" PRIu64 "\nseen %zu\n",
           torture->stored.count, sent, ok, refused, unknown, over_death, repeats, seen);
    report_gaps(torture);
}
