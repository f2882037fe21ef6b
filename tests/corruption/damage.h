/*
 * What can happen to the files of a store: classes of damage, each a numbered list
 * of single damages, so that any of them can be made again by class and number.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_DAMAGE_H
#define TESTS_CORRUPTION_DAMAGE_H

#include "tests/corruption/directory_image.h"
#include "tests/support/prng.h"

enum {
    DAMAGE_CHANGES_MAX = 32, /* of one class 2; of several damages together more */
    DAMAGE_WHAT_BYTES = 320,
    DAMAGE_OLDER_MAX = 8
};

/* The store, and older states of its whole directory. */
struct damage_base {
    struct directory_image store;
    struct directory_image older[DAMAGE_OLDER_MAX];
    uint32_t older_count;
};

struct damage {
    const struct directory_image *image;           /* what is copied */
    struct image_file changes[DAMAGE_CHANGES_MAX]; /* then made so; bytes NULL: deleted */
    size_t change_count;
    bool is_older_directory;
    char what[DAMAGE_WHAT_BYTES];
};

struct damage_class {
    const char *name;
    const char *title; /* for the table */
    /* How many there are; 0: as many as one likes, made of a random number. */
    uint64_t (*count)(const struct damage_base *base);
    /* Makes number 'index'; of a class without end, 'random' was seeded with it. */
    void (*make)(const struct damage_base *base, uint64_t index, struct prng *random,
                 struct damage *ret_damage);
};

extern const struct damage_class damage_classes[];
extern const uint32_t damage_class_count;

void damage_free(struct damage *damage);

#endif
