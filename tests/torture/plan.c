#include "tests/torture/plan.h"

#include <stdio.h>
#include <string.h>

enum {
    HEADER_BYTES = 20,
    MAGIC = 0x54524F54 /* "TORT" */
};

uint64_t plan_random(uint64_t *state)
{
    uint64_t word = *state += UINT64_C(0x9E3779B97F4A7C15);

    word = (word ^ word >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    word = (word ^ word >> 27) * UINT64_C(0x94D049BB133111EB);
    return word ^ word >> 31;
}

static uint64_t seed_of(uint32_t client, uint64_t number, uint32_t index)
{
    return (uint64_t)client << 44 ^ number << 8 ^ index;
}

static uint32_t some(uint64_t *state, uint32_t count)
{
    return (uint32_t)(plan_random(state) % count);
}

static void add_append(struct plan *plan, uint32_t stream, uint32_t event_count)
{
    plan->appends[plan->append_count++] = (struct plan_append){stream, event_count};
    plan->event_count += event_count;
}

void plan_make(uint32_t client, uint64_t number, struct plan *ret_plan)
{
    uint64_t state = seed_of(client, number, 0xFF);
    bool is_resident = client < PLAN_VISITOR_FIRST;
    uint32_t shared = some(&state, PLAN_SHARED_STREAMS);
    uint32_t own = is_resident ? PLAN_SHARED_STREAMS + client : shared;
    uint32_t kind = some(&state, 16);

    *ret_plan = (struct plan){.client = client, .number = number};
    switch (kind) {
    case 0:
    case 1: /* two streams of two categories */
        add_append(ret_plan, shared, 1 + some(&state, 3));
        add_append(ret_plan, (shared + 1) % PLAN_SHARED_STREAMS, 1 + some(&state, 3));
        break;
    case 2: /* an event and a key, or the key alone */
        ret_plan->has_key = is_resident;
        add_append(ret_plan, shared, 1);
        break;
    case 3:
        ret_plan->has_key = is_resident;
        if (!is_resident) {
            add_append(ret_plan, shared, 2);
        }
        break;
    case 4:
        ret_plan->is_hopeless = true;
        add_append(ret_plan, shared, 1);
        break;
    case 5: /* all of it goes, or nothing: the second stream has no say */
        ret_plan->is_exact = is_resident;
        ret_plan->has_key = is_resident;
        add_append(ret_plan, own, 1);
        add_append(ret_plan, (shared + 2) % PLAN_SHARED_STREAMS, 1);
        break;
    case 6:
    case 7:
        ret_plan->is_exact = is_resident;
        add_append(ret_plan, kind == 6 ? own : shared, 1 + some(&state, 2));
        break;
    case 8: add_append(ret_plan, shared, PLAN_EVENTS_MAX); break;
    default: add_append(ret_plan, kind < 12 ? own : shared, 1); break;
    }
    ret_plan->key = some(&state, PLAN_KEYS);
}

/* Streams of the same remainder are of one category: ca0, ca1, cb2. */
void plan_stream_name(uint32_t stream, char ret_name[PLAN_NAME_BYTES])
{
    static const char *const domains[] = {"ca0", "ca1", "cb2"};

    snprintf(ret_name, PLAN_NAME_BYTES, "prod:main:L0:%s:M%u", domains[stream % 3], stream);
}

uint32_t plan_stream_find(const char *name)
{
    char same[PLAN_NAME_BYTES];
    const char *model = strrchr(name, 'M');
    unsigned stream = PLAN_STREAMS;

    if (model == NULL || sscanf(model, "M%u", &stream) != 1 || stream >= PLAN_STREAMS) {
        return PLAN_STREAMS;
    }
    plan_stream_name(stream, same);
    return strcmp(name, same) == 0 ? stream : PLAN_STREAMS;
}

const char *plan_filter_text(uint32_t filter)
{
    static const char *const texts[PLAN_FILTERS] = {NULL, "prod:main:L0:cb2", "prod:main:L0:ca*"};

    return texts[filter];
}

bool plan_filter_has(uint32_t filter, uint32_t stream)
{
    return filter == 0 || (filter == 1) == (stream % 3 == 2);
}

static void put(uint8_t *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;

    for (size_t i = size; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

size_t plan_payload(uint32_t client, uint64_t number, uint32_t index,
                    uint8_t ret_bytes[PLAN_PAYLOAD_BYTES_MAX])
{
    uint64_t state = seed_of(client, number, index);
    size_t size = HEADER_BYTES + some(&state, some(&state, 8) == 0 ? 1380 : 120);

    put(ret_bytes, MAGIC, 4);
    put(ret_bytes + 4, client, 4);
    put(ret_bytes + 8, number, 8);
    put(ret_bytes + 16, index, 4);
    for (size_t at = HEADER_BYTES; at < size; at += 8) {
        put(ret_bytes + at, plan_random(&state), size - at < 8 ? size - at : 8);
    }
    return size;
}

bool plan_payload_read(const void *bytes, size_t size, uint32_t *ret_client, uint64_t *ret_number,
                       uint32_t *ret_index)
{
    uint8_t same[PLAN_PAYLOAD_BYTES_MAX];
    const uint8_t *from = bytes;

    if (size < HEADER_BYTES || get(from, 4) != MAGIC) {
        return false;
    }
    *ret_client = (uint32_t)get(from + 4, 4);
    *ret_number = get(from + 8, 8);
    *ret_index = (uint32_t)get(from + 16, 4);
    return plan_payload(*ret_client, *ret_number, *ret_index, same) == size &&
           memcmp(bytes, same, size) == 0;
}

void plan_key_name(uint32_t client, uint32_t key, char ret_name[PLAN_NAME_BYTES])
{
    snprintf(ret_name, PLAN_NAME_BYTES, "c%u-%u", client, key);
}
