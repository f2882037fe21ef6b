/* How many different streams; see stream_count.h. */
#include "tools/esctl/stream_count.h"

#include <stdlib.h>

#define SLOT_COUNT_FIRST 4096

void stream_count_init(struct stream_count *streams)
{
    *streams = (struct stream_count){0};
}

void stream_count_deinit(struct stream_count *streams)
{
    free(streams->slots);
    *streams = (struct stream_count){0};
}

/* FNV-1a, then a mix so that the low bits are good ones. */
uint64_t stream_count_key(const char *stream)
{
    uint64_t key = UINT64_C(0xCBF29CE484222325);

    for (; *stream != '\0'; stream++) {
        key = (key ^ (uint8_t)*stream) * UINT64_C(0x100000001B3);
    }
    key = (key ^ (key >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
    key ^= key >> 29;
    return key == 0 ? 1 : key;
}

/* The slot that holds 'key', or the free one where it belongs. */
static uint64_t *find(uint64_t *slots, size_t slot_count, uint64_t key)
{
    size_t index = key & (slot_count - 1);

    while (slots[index] != 0 && slots[index] != key) {
        index = (index + 1) & (slot_count - 1);
    }
    return &slots[index];
}

/* At most half full, always. False: no memory, or STREAM_COUNT_MAX is reached. */
static bool grow(struct stream_count *streams)
{
    const size_t slot_count = streams->slot_count == 0 ? SLOT_COUNT_FIRST : 2 * streams->slot_count;

    if (streams->count >= STREAM_COUNT_MAX) {
        return false;
    }
    uint64_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < streams->slot_count; i++) {
        if (streams->slots[i] != 0) {
            *find(slots, slot_count, streams->slots[i]) = streams->slots[i];
        }
    }
    free(streams->slots);
    streams->slots = slots;
    streams->slot_count = slot_count;
    return true;
}

void stream_count_add(struct stream_count *streams, uint64_t key)
{
    if (streams->count * 2 >= streams->slot_count && !streams->at_least && !grow(streams)) {
        streams->at_least = true;
    }
    if (streams->slot_count == 0) {
        return;
    }
    uint64_t *slot = find(streams->slots, streams->slot_count, key);
    if (*slot == 0 && !streams->at_least) {
        *slot = key;
        streams->count++;
    }
}
