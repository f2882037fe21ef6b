/*
 * Faults planted into what the checker has read, each so that nothing but the rule it
 * breaks can tell: positions, sequences and receipts are made whole again around it.
 */
#include <stdlib.h>
#include <string.h>

#include <eventspine.h>

#include "tests/torture/check.h"

enum plant {
    PLANT_LOST,
    PLANT_LOST_TAIL,
    PLANT_DOUBLED,
    PLANT_TORN,
    PLANT_SWAPPED,
    PLANT_REFUSED_STORED,
    PLANT_OTHER_BYTES,
    PLANT_OTHER_RECEIPT,
    PLANT_EXPECTATION,
    PLANT_STALE_KEY,
    PLANT_REPEAT,
    PLANT_SUBSCRIBER_GAP,
    PLANT_SUBSCRIBER_TWICE,
    PLANT_SUBSCRIBER_ORDER,
    PLANT_SUBSCRIBER_UNSYNCED
};

const char *plant_name(int plant)
{
    static const char *const names[PLANT_COUNT] = {
        [PLANT_LOST] = "an acknowledged transaction is lost",
        [PLANT_LOST_TAIL] = "the last acknowledged transaction is lost",
        [PLANT_DOUBLED] = "a transaction is stored twice",
        [PLANT_TORN] = "a transaction is stored in part",
        [PLANT_SWAPPED] = "one acknowledged before the other was sent, swapped",
        [PLANT_REFUSED_STORED] = "a refused transaction is stored",
        [PLANT_OTHER_BYTES] = "an event has other bytes",
        [PLANT_OTHER_RECEIPT] = "a receipt names another hash",
        [PLANT_EXPECTATION] = "stored, though its expectation did not hold",
        [PLANT_STALE_KEY] = "a key has an older value",
        [PLANT_REPEAT] = "a repeat is answered otherwise",
        [PLANT_SUBSCRIBER_GAP] = "a subscriber misses an event",
        [PLANT_SUBSCRIBER_TWICE] = "a subscriber is given an event twice",
        [PLANT_SUBSCRIBER_ORDER] = "a subscriber is given two in the wrong order",
        [PLANT_SUBSCRIBER_UNSYNCED] = "a subscriber was given what was never stored"};

    return names[plant];
}

/* Positions and sequences as if the list had always been so, and receipts with them. */
static void renumber(struct torture *torture)
{
    uint64_t sequences[PLAN_STREAMS + 1] = {0};

    for (size_t i = 0; i < torture->stored.count; i++) {
        struct stored *stored = &torture->stored.items[i];
        struct deed *deed = deed_of(torture, stored->client, stored->number);

        stored->position = i + 1;
        stored->sequence = ++sequences[stored->stream];
        if (deed != NULL && deed->done_ns != 0 && deed->status == ES_OK) {
            deed->position = stored->position;
            deed->sequence = stored->sequence;
        }
    }
    for (uint32_t i = 0; i < FOLLOWERS_MAX; i++) {
        torture->followers[i].is_open = false; /* they would tell by themselves */
    }
}

static size_t length_at(const struct torture *torture, size_t at)
{
    const struct stored *first = &torture->stored.items[at];
    size_t length = 1;

    while (at + length < torture->stored.count && first[length].client == first->client &&
           first[length].number == first->number) {
        length++;
    }
    return length;
}

/* The first acknowledged transaction at or after 'from', of 'length_min' events; count: none. */
static size_t find_acked(struct torture *torture, size_t from, size_t length_min)
{
    for (size_t at = from; at < torture->stored.count; at++) {
        const struct stored *stored = &torture->stored.items[at];
        const struct deed *deed = deed_of(torture, stored->client, stored->number);

        if (stored->index == 0 && deed != NULL && deed->done_ns != 0 && deed->status == ES_OK &&
            length_at(torture, at) >= length_min) {
            return at;
        }
    }
    return torture->stored.count;
}

static void remove_at(struct torture *torture, size_t at, size_t count)
{
    struct stored *items = torture->stored.items;

    memmove(items + at, items + at + count, (torture->stored.count - at - count) * sizeof *items);
    torture->stored.count -= count;
}

static bool lose(struct torture *torture, size_t from)
{
    size_t at = find_acked(torture, from, 1);

    if (at < torture->stored.count) {
        remove_at(torture, at, length_at(torture, at));
        renumber(torture);
        return true;
    }
    return false;
}

static bool lose_tail(struct torture *torture)
{
    size_t at = torture->stored.count;

    while (at > 0 && find_acked(torture, at - 1, 1) == torture->stored.count) {
        at--;
    }
    if (at > 0) {
        torture->stored.count = at - 1;
    }
    return at > 0;
}

static bool repeat_at(struct torture *torture, size_t at)
{
    size_t length = 0;

    if (at == torture->stored.count) {
        return false;
    }
    length = length_at(torture, at);
    for (size_t i = 0; i < length; i++) {
        struct stored copy = torture->stored.items[at + i];

        *stored_add(&torture->stored) = copy;
    }
    renumber(torture);
    return true;
}

static bool tear(struct torture *torture, size_t from)
{
    size_t at = find_acked(torture, from, 2);

    if (at < torture->stored.count) {
        remove_at(torture, at + length_at(torture, at) - 1, 1);
        renumber(torture);
        return true;
    }
    return false;
}

/* Two neighbours of different clients, the first acknowledged before the second was sent. */
static bool swap(struct torture *torture)
{
    for (size_t at = find_acked(torture, 0, 1); at < torture->stored.count;
         at = find_acked(torture, at + 1, 1)) {
        struct stored *items = torture->stored.items;
        size_t length = length_at(torture, at);
        const struct stored *next = &items[at + length];
        struct stored saved[PLAN_EVENTS_MAX];
        size_t next_length = 0;

        if (at + length >= torture->stored.count || next->client == items[at].client ||
            deed_of(torture, next->client, next->number)->sent_ns <=
                deed_of(torture, items[at].client, items[at].number)->done_ns) {
            continue;
        }
        next_length = length_at(torture, at + length);
        memcpy(saved, items + at, length * sizeof *items);
        memmove(items + at, items + at + length, next_length * sizeof *items);
        memcpy(items + at + next_length, saved, length * sizeof *items);
        renumber(torture);
        return true;
    }
    return false;
}

/* At the end, as the last number of its client would be. */
static bool store_refused(struct torture *torture)
{
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        const struct account *account = &torture->accounts[client];

        for (uint64_t number = account->count; number > 0; number--) {
            const struct deed *deed = &account->deeds[number - 1];
            struct plan plan;

            plan_make(client, number, &plan);
            if (deed->done_ns != 0 && deed->status == ES_CONFLICT && plan.event_count == 1) {
                *stored_add(&torture->stored) = (struct stored){.number = number,
                                                                .client = client,
                                                                .stream = plan.appends[0].stream,
                                                                .is_sound = true};
                renumber(torture);
                return true;
            }
        }
    }
    return false;
}

static bool break_expectation(struct torture *torture)
{
    for (size_t i = 0; i < torture->stored.count; i++) {
        const struct stored *stored = &torture->stored.items[i];
        struct deed *deed = deed_of(torture, stored->client, stored->number);

        if (deed != NULL && deed->expected != BOOK_NOTHING_EXPECTED) {
            deed->expected += 7;
            return true;
        }
    }
    return false;
}

static bool age_key(struct torture *torture)
{
    for (uint32_t client = 0; client < PLAN_VISITOR_FIRST; client++) {
        for (uint32_t key = 0; key < PLAN_KEYS; key++) {
            if (torture->keys[client][key].number > 1) {
                torture->keys[client][key].number--;
                return true;
            }
        }
    }
    return false;
}

static bool break_answer(struct torture *torture, size_t from, int plant)
{
    size_t at = find_acked(torture, from, 1);
    struct deed *deed = NULL;

    if (at == torture->stored.count) {
        return false;
    }
    deed = deed_of(torture, torture->stored.items[at].client, torture->stored.items[at].number);
    if (plant == PLANT_REPEAT) {
        deed->is_repeated = true;
    } else {
        deed->hash[0] ^= 1;
    }
    return true;
}

static bool break_follower(struct torture *torture, uint64_t random, int plant)
{
    struct stored_list *seen = &torture->followers[random % 3].seen;
    size_t at = seen->count < 8 ? 0 : random / 3 % (seen->count - 4);
    struct stored copy;

    if (seen->count < 8) {
        return false;
    }
    copy = seen->items[at];
    switch (plant) {
    case PLANT_SUBSCRIBER_GAP:
        memmove(seen->items + at, seen->items + at + 1,
                (seen->count - at - 1) * sizeof seen->items[0]);
        seen->count--;
        break;
    case PLANT_SUBSCRIBER_TWICE:
        (void)stored_add(seen);
        memmove(seen->items + at + 1, seen->items + at,
                (seen->count - at - 1) * sizeof seen->items[0]);
        break;
    case PLANT_SUBSCRIBER_ORDER:
        seen->items[at] = seen->items[at + 1];
        seen->items[at + 1] = copy;
        break;
    default: seen->items[at].hash[0] ^= 1; break;
    }
    return true;
}

bool plant(struct torture *torture, int plant, uint64_t random)
{
    size_t from = torture->stored.count == 0 ? 0 : random % torture->stored.count / 2;

    switch ((enum plant)plant) {
    case PLANT_LOST: return lose(torture, from);
    case PLANT_LOST_TAIL: return lose_tail(torture);
    case PLANT_DOUBLED: return repeat_at(torture, find_acked(torture, from, 1));
    case PLANT_TORN: return tear(torture, from);
    case PLANT_SWAPPED: return swap(torture);
    case PLANT_REFUSED_STORED: return store_refused(torture);
    case PLANT_OTHER_BYTES: torture->stored.items[from].is_sound = false; return true;
    case PLANT_OTHER_RECEIPT:
    case PLANT_REPEAT: return break_answer(torture, from, plant);
    case PLANT_EXPECTATION: return break_expectation(torture);
    case PLANT_STALE_KEY: return age_key(torture);
    case PLANT_SUBSCRIBER_GAP:
    case PLANT_SUBSCRIBER_TWICE:
    case PLANT_SUBSCRIBER_ORDER:
    case PLANT_SUBSCRIBER_UNSYNCED: return break_follower(torture, random, plant);
    }
    return false;
}
