/*
 * The files of commit_parts.h in a user's hands: copied, put back, damaged; and what a start
 * that refuses them says.
 *
 * Any failure of the copying itself ends the test. Names are below the parts' root; "data" is
 * the data directory.
 */
#ifndef TESTS_SUPPORT_PARTS_FILES_H
#define TESTS_SUPPORT_PARTS_FILES_H

#include "tests/support/commit_parts.h"

#define PARTS_ORDERS "prod:main:L0:orders:M1"

enum {
    PARTS_PATH_BYTES = 512
};

void parts_path(const struct commit_parts *parts, const char *name,
                char ret_path[PARTS_PATH_BYTES]);

/* cp -a, over what is there. */
void parts_copy(const struct commit_parts *parts, const char *from, const char *to);

/* The control page, put by as "page" and put back. */
void parts_keep_page(const struct commit_parts *parts);
void parts_put_page_back(const struct commit_parts *parts);

/* Events of PARTS_ORDERS, each acknowledged. */
void parts_append(struct commit_parts *parts, struct parts_producer *producer, uint64_t count);

/* Refused with a status and a sentence; not one byte of the store is changed. */
void parts_assert_refused(struct commit_parts *parts, enum es_status wanted, const char *says);

#endif
