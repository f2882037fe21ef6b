#include "tests/corruption/blind.h"

#include <string.h>

#include <rocksdb/c.h>

#include "broker/anchor.h"
#include "broker/store.h"

static const char *chosen = "";

enum es_status __real_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor);
enum es_status __wrap_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor);
enum es_status __real_store_check_replay(struct store *store, const struct store_batch *batch);
enum es_status __wrap_store_check_replay(struct store *store, const struct store_batch *batch);
void __real_rocksdb_readoptions_set_ignore_range_deletions(rocksdb_readoptions_t *options,
                                                           unsigned char ignore);
void __wrap_rocksdb_readoptions_set_ignore_range_deletions(rocksdb_readoptions_t *options,
                                                           unsigned char ignore);

bool blind_choose(const char *check)
{
    chosen = check;
    return strcmp(check, "anchor") == 0 || strcmp(check, "replay") == 0 ||
           strcmp(check, "iterators") == 0 || strcmp(check, "reads") == 0;
}

bool blind_is(const char *check)
{
    return strcmp(chosen, check) == 0;
}

enum es_status __wrap_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor)
{
    enum es_status status = __real_anchor_open(disk, name, access, ret_state, ret_anchor);

    if (status == ES_OK && blind_is("anchor")) {
        ret_state->batch_number = 0;
        ret_state->commit_number = 0;
        ret_state->position = 0;
    }
    return status;
}

enum es_status __wrap_store_check_replay(struct store *store, const struct store_batch *batch)
{
    return blind_is("replay") ? ES_OK : __real_store_check_replay(store, batch);
}

void __wrap_rocksdb_readoptions_set_ignore_range_deletions(rocksdb_readoptions_t *options,
                                                           unsigned char ignore)
{
    __real_rocksdb_readoptions_set_ignore_range_deletions(options,
                                                          blind_is("iterators") ? 0 : ignore);
}
