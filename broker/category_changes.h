/*
 * Which categories changed, and up to which position: a bounded set. Beyond
 * HEARTBEAT_CATEGORIES_MAX it only knows that there were more, and says so.
 *
 * Threads. None of its own; the owner locks.
 */
#ifndef BROKER_CATEGORY_CHANGES_H
#define BROKER_CATEGORY_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/limits.h"
#include "shm/codec/published.h"

struct category_changes {
    bool more; /* than it has room for: the entries mean nothing */
    uint32_t count;
    struct es_category_position entries[HEARTBEAT_CATEGORIES_MAX]; /* views of 'texts' */
    char texts[HEARTBEAT_CATEGORIES_MAX][ES_CATEGORY_SIZE_MAX];
};

void category_changes_clear(struct category_changes *changes);

/* The category changed at 'position'; a smaller one than known changes nothing. */
void category_changes_note(struct category_changes *changes, struct es_text category,
                           uint64_t position);

#endif
