#include "broker/broker_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/limits.h"

enum {
    LANE_TEXT_BYTES = 512,
    STATM_BYTES = 128,
    LINE_BYTES = 256
};

/* A picture taken on the commit thread, between two batches. */
struct picture {
    const struct broker_status *status;
    struct history_point end;
    uint32_t lane_count;
    char lanes[ES_LANE_COUNT_MAX][LANE_TEXT_BYTES];
};

static void add_lane(struct picture *picture, const struct lane *lane)
{
    snprintf(picture->lanes[picture->lane_count++], LANE_TEXT_BYTES,
             "lane %u: uid %u, pid %ld, %s, published %u waiting, answered %llu%s", lane->index,
             lane->uid, (long)lane->pid, lane->name[0] != '\0' ? lane->name : "unnamed",
             es_lane_backlog(&lane->reader), (unsigned long long)lane->reader.acked,
             lane->owner_gone ? ", its owner has ended" : "");
}

static void take_picture(void *context)
{
    struct picture *picture = context;

    picture->end = *committer_end(picture->status->committer);
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        const struct lane *lane = lanes_lane(picture->status->lanes, i);

        if (lane != NULL) {
            add_lane(picture, lane);
        }
    }
}

/* A line of /proc/self/status in bytes; 0 where it cannot be read. */
static uint64_t memory_bytes(const char *name)
{
    char line[LINE_BYTES];
    unsigned long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "re");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kilobytes = strtoull(line + strlen(name), NULL, 10);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kilobytes * 1024U;
}

static uint32_t pack_number(struct es_pack *pack, const char *name, uint64_t number)
{
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of(name));
    es_pack_uint(pack, number);
    return 1;
}

static uint32_t pack_text(struct es_pack *pack, const char *name, const char *text)
{
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of(name));
    es_pack_str(pack, es_text_of(text));
    return 1;
}

static uint32_t pack_lanes(struct es_pack *pack, const struct picture *picture)
{
    es_pack_array(pack, 2);
    es_pack_str(pack, es_text_of("lanes"));
    es_pack_array(pack, picture->lane_count);
    for (uint32_t i = 0; i < picture->lane_count; i++) {
        es_pack_str(pack, es_text_of(picture->lanes[i]));
    }
    return 1;
}

uint32_t broker_status_pack(void *context, struct es_pack *pack)
{
    const struct broker_status *status = context;
    struct picture *picture = calloc(1, sizeof *picture);
    struct es_control_head head;
    uint32_t count = 0;

    count += pack_text(pack, "durability", status->syncs_commits ? "fsync" : "os");
    count += pack_text(pack, "store", status->in_memory ? "memory" : "rocksdb");
    count += pack_number(pack, "memory_anonymous_bytes", memory_bytes("RssAnon:"));
    count += pack_number(pack, "memory_shared_bytes", memory_bytes("RssShmem:"));
    count += pack_number(pack, "memory_store_bytes", store_memory_bytes(status->store));
    if (picture == NULL) {
        return count;
    }
    picture->status = status;
    if (inbox_call_within(status->inbox, take_picture, picture, STATUS_WAIT_NS) == ES_OK) {
        count += pack_number(pack, "head_position", picture->end.position);
        count += pack_number(pack, "commit_number", picture->end.commit_number);
        count += pack_number(pack, "batch_number", picture->end.batch_number);
        count += pack_lanes(pack, picture);
    } else if (lanes_head(status->lanes, &head) == ES_OK) {
        count += pack_number(pack, "head_position", head.durable_position);
        count += pack_number(pack, "commit_number", head.commit_number);
        count += pack_number(pack, "batch_number", head.batch_number);
        count += pack_text(pack, "commit_thread", "waits");
    }
    free(picture);
    return count;
}
