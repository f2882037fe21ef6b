#include "broker/store_rocksdb_repair.h"

#include <stdio.h>
#include <string.h>

#include <rocksdb/c.h>

static enum es_status status_of(char *message, char why[STORE_WHY_BYTES])
{
    if (message == NULL) {
        return ES_OK;
    }
    snprintf(why, STORE_WHY_BYTES, "%s", message);
    rocksdb_free(message);
    return ES_E_CORRUPT;
}

/* Opens it once for writing: the families that no table names come into being. */
static enum es_status make_families(rocksdb_options_t *options, const char *directory,
                                    char why[STORE_WHY_BYTES])
{
    const rocksdb_options_t *each[STORE_FAMILY_COUNT];
    rocksdb_column_family_handle_t *families[STORE_FAMILY_COUNT];
    const char *names[STORE_FAMILY_COUNT];
    char *message = NULL;
    rocksdb_t *db = NULL;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        names[i] = store_family_name((enum store_family)i);
        each[i] = options;
    }
    db = rocksdb_open_column_families(options, directory, STORE_FAMILY_COUNT, names, each, families,
                                      &message);
    if (message != NULL) {
        return status_of(message, why);
    }
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        rocksdb_column_family_handle_destroy(families[i]);
    }
    rocksdb_close(db);
    return ES_OK;
}

enum es_status store_rocksdb_repair(const char *directory, char why[STORE_WHY_BYTES])
{
    rocksdb_options_t *options = rocksdb_options_create();
    char *message = NULL;
    enum es_status status = ES_OK;

    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_disable_auto_compactions(options, 1);
    rocksdb_repair_db(options, directory, &message);
    status = status_of(message, why);
    if (status == ES_OK) {
        status = make_families(options, directory, why);
    }
    rocksdb_options_destroy(options);
    return status;
}
