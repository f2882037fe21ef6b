#include "broker/heartbeat.h"

#include <string.h>

static const uint64_t repeat_after_ns[HEARTBEAT_REPEATS] = {100000000u, 200000000u, 400000000u};

void heartbeat_init(struct heartbeat *heartbeat, const struct es_heartbeat *identity,
                    uint64_t now_ns)
{
    heartbeat->next = *identity;
    heartbeat->next.number = 1;
    category_changes_clear(&heartbeat->changes);
    heartbeat->commit_due_ns = UINT64_MAX;
    heartbeat->idle_due_ns = now_ns + HEARTBEAT_IDLE_NS;
    for (size_t i = 0; i < HEARTBEAT_REPEATS; i++) {
        heartbeat->repeat_due_ns[i] = UINT64_MAX;
    }
}

void heartbeat_commit(struct heartbeat *heartbeat, uint64_t head_position,
                      const uint8_t *store_hash, bool at_once, uint64_t now_ns)
{
    uint64_t due_ns = at_once ? now_ns : now_ns + HEARTBEAT_BUSY_NS;

    if (head_position >= heartbeat->next.head_position) {
        heartbeat->next.head_position = head_position;
        memcpy(heartbeat->next.store_hash, store_hash, ES_HASH_SIZE);
    }
    if (due_ns < heartbeat->commit_due_ns) {
        heartbeat->commit_due_ns = due_ns;
    }
}

void heartbeat_subscribed(struct heartbeat *heartbeat, uint64_t now_ns)
{
    heartbeat->idle_due_ns = now_ns;
    for (size_t i = 0; i < HEARTBEAT_REPEATS; i++) {
        heartbeat->repeat_due_ns[i] = now_ns + repeat_after_ns[i];
    }
}

uint64_t heartbeat_due_ns(const struct heartbeat *heartbeat)
{
    uint64_t due_ns = heartbeat->idle_due_ns;

    if (heartbeat->commit_due_ns < due_ns) {
        due_ns = heartbeat->commit_due_ns;
    }
    for (size_t i = 0; i < HEARTBEAT_REPEATS; i++) {
        if (heartbeat->repeat_due_ns[i] < due_ns) {
            due_ns = heartbeat->repeat_due_ns[i];
        }
    }
    return due_ns;
}

void heartbeat_take(struct heartbeat *heartbeat, uint64_t now_ns, struct es_pack *pack)
{
    heartbeat->next.changed_known = !heartbeat->changes.more;
    heartbeat->next.changed_count = heartbeat->changes.count;
    es_heartbeat_write(pack, &heartbeat->next, heartbeat->changes.entries);
    heartbeat->next.number++;
    category_changes_clear(&heartbeat->changes);
    heartbeat->commit_due_ns = UINT64_MAX;
    heartbeat->idle_due_ns = now_ns + HEARTBEAT_IDLE_NS;
    for (size_t i = 0; i < HEARTBEAT_REPEATS; i++) {
        if (heartbeat->repeat_due_ns[i] <= now_ns) {
            heartbeat->repeat_due_ns[i] = UINT64_MAX;
        }
    }
}
