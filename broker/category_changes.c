#include "broker/category_changes.h"

#include <assert.h>

void category_changes_clear(struct category_changes *changes)
{
    changes->more = false;
    changes->count = 0;
}

void category_changes_note(struct category_changes *changes, struct es_text category,
                           uint64_t position)
{
    uint32_t index = 0;

    assert(category.size <= ES_CATEGORY_SIZE_MAX);
    while (index < changes->count && !es_text_equal(changes->entries[index].category, category)) {
        index++;
    }
    if (index == HEARTBEAT_CATEGORIES_MAX) {
        changes->more = true;
    } else if (index == changes->count) {
        memcpy(changes->texts[index], category.data, category.size);
        changes->entries[index] = (struct es_category_position){
            .category = es_text_make(changes->texts[index], category.size),
            .last_position = position,
        };
        changes->count++;
    } else if (changes->entries[index].last_position < position) {
        changes->entries[index].last_position = position;
    }
}
