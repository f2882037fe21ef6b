#include "libclient/error_text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "libclient/limits.h"

struct error_slot {
    bool is_used;
    uint64_t connection_id;
    char text[ES_ERROR_TEXT_BYTES];
};

static _Thread_local struct error_slot slots[ES_ERROR_CONNECTION_COUNT];
static _Thread_local uint32_t slot_next;

static struct error_slot *find(uint64_t connection_id)
{
    for (uint32_t i = 0; i < ES_ERROR_CONNECTION_COUNT; i++) {
        if (slots[i].is_used && slots[i].connection_id == connection_id) {
            return &slots[i];
        }
    }
    return NULL;
}

void es_error_set(uint64_t connection_id, const char *format, ...)
{
    struct error_slot *slot = find(connection_id);
    va_list arguments;

    if (slot == NULL) {
        slot = &slots[slot_next++ % ES_ERROR_CONNECTION_COUNT];
        slot->is_used = true;
        slot->connection_id = connection_id;
    }
    va_start(arguments, format);
    (void)vsnprintf(slot->text, sizeof slot->text, format, arguments);
    va_end(arguments);
}

const char *es_error_get(uint64_t connection_id)
{
    const struct error_slot *slot = find(connection_id);

    return slot != NULL ? slot->text : "no error";
}
