#include "tests/simulation/sim_heap.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks have one of four sizes for each power of two; freed ones wait in a list for
 * the next of their size. */
enum {
    HEADER_BYTES = 16,
    CLASS_COUNT = 128,
    SMALLEST_SHIFT = 6
};

#define ZONE_BYTES ((size_t)1 << 31) /* of addresses; only what is touched is memory */

struct block {
    uint64_t class_index;
    struct block *next; /* while it is free; else not used */
};

struct zone {
    uint8_t *base;
    size_t used;
    struct block *free[CLASS_COUNT];
};

static struct zone zones[ZONE_COUNT];
static enum sim_zone selected = ZONE_HOST;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

enum sim_zone sim_heap_select(enum sim_zone zone)
{
    enum sim_zone before = selected;

    selected = zone;
    return before;
}

static void zone_open(struct zone *zone)
{
    void *base = mmap(NULL, ZONE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED) {
        perror("simulation: mmap");
        abort();
    }
    zone->base = base;
}

void sim_heap_reset(enum sim_zone zone)
{
    zones[zone].used = 0;
    memset(zones[zone].free, 0, sizeof zones[zone].free);
}

static struct zone *zone_of(const void *block)
{
    const uint8_t *at = block;

    for (int i = ZONE_WORLD; i < ZONE_COUNT; i++) {
        if (zones[i].base != NULL && at >= zones[i].base && at < zones[i].base + ZONE_BYTES) {
            return &zones[i];
        }
    }
    return NULL;
}

/* The class of the smallest blocks that hold 'bytes', header included. */
static uint64_t class_of(size_t bytes)
{
    unsigned shift = SMALLEST_SHIFT;

    if (bytes <= (size_t)1 << SMALLEST_SHIFT) {
        return 0;
    }
    shift = (unsigned)(63 - __builtin_clzll(bytes - 1)); /* 2^shift < bytes <= 2^(shift + 1) */
    return (shift - SMALLEST_SHIFT) * 4U + ((bytes - 1) >> (shift - 2)) - 3U;
}

static size_t class_bytes(uint64_t class_index)
{
    uint64_t shift = SMALLEST_SHIFT + (class_index - 1) / 4;
    uint64_t quarters = (class_index - 1) % 4 + 1;

    return class_index == 0 ? (size_t)1 << SMALLEST_SHIFT
                            : ((size_t)1 << shift) + (quarters << (shift - 2));
}

static void *allocate(struct zone *zone, size_t size)
{
    uint64_t class_index = class_of(size + HEADER_BYTES);
    struct block *block = zone->free[class_index];

    if (zone->base == NULL) {
        zone_open(zone);
    }
    if (block != NULL) {
        zone->free[class_index] = block->next;
    } else {
        size_t bytes = class_bytes(class_index);

        if (zone->used + bytes > ZONE_BYTES) {
            (void)fprintf(stderr, "simulation: out of simulated memory\n");
            abort();
        }
        block = (struct block *)(void *)(zone->base + zone->used);
        zone->used += bytes;
        block->class_index = class_index;
    }
    return (uint8_t *)block + HEADER_BYTES;
}

static struct block *block_of(void *memory)
{
    return (struct block *)(void *)((uint8_t *)memory - HEADER_BYTES);
}

void *__wrap_malloc(size_t size)
{
    return selected == ZONE_HOST ? __real_malloc(size) : allocate(&zones[selected], size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *memory = NULL;

    if (selected == ZONE_HOST) {
        return __real_calloc(count, size);
    }
    memory = allocate(&zones[selected], count * size);
    return memset(memory, 0, count * size);
}

void __wrap_free(void *memory)
{
    struct zone *zone = memory == NULL ? NULL : zone_of(memory);

    if (zone == NULL) {
        __real_free(memory);
    } else {
        struct block *block = block_of(memory);

        block->next = zone->free[block->class_index];
        zone->free[block->class_index] = block;
    }
}

void *__wrap_realloc(void *memory, size_t size)
{
    struct zone *zone = memory == NULL ? NULL : zone_of(memory);
    void *larger = NULL;
    size_t held = 0;

    if (memory == NULL) {
        return __wrap_malloc(size);
    }
    if (zone == NULL) {
        return __real_realloc(memory, size);
    }
    held = class_bytes(block_of(memory)->class_index) - HEADER_BYTES;
    if (size <= held) {
        return memory;
    }
    larger = allocate(zone, size);
    memcpy(larger, memory, held);
    __wrap_free(memory);
    return larger;
}
