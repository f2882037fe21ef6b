/*
 * The checker: the books of all clients and everything that is in the store, side by
 * side. One pass over each, and a sort by time that is linear too.
 *
 *   check_books.c   reads the books            check_rules.c   says what must hold
 *   check_store.c   reads the store            check_plants.c  breaks it on purpose
 */
#ifndef TORTURE_CHECK_H
#define TORTURE_CHECK_H

#include <stddef.h>

#include "tests/torture/book.h"
#include "tests/torture/plan.h"

enum {
    CLIENTS_MAX = 1 << 16,
    FOLLOWERS_MAX = 16,
    HASH_BYTES = 8
};

/* What the client says of one of its transactions, and what the store says. */
struct deed {
    uint64_t sent_ns; /* 0: never announced */
    uint64_t done_ns; /* 0: no answer */
    uint64_t expected;
    uint64_t position; /* these as answered */
    uint64_t sequence;
    uint64_t revision;
    uint8_t hash[HASH_BYTES];
    int32_t status;
    uint32_t commit_number;
    bool is_not_sent;
    bool is_repeated; /* a repeat was answered otherwise than the first time */
    uint32_t repeat_count;
    uint32_t stored_count;
    uint64_t stored_first; /* position; 0: it is not in the store */
    uint64_t stored_last;
    uint64_t stored_first_sequence;
    uint64_t stored_last_sequence;
    uint8_t stored_hash[HASH_BYTES];
};

struct account {
    struct deed *deeds; /* by number, from 1 */
    uint64_t capacity;
    uint64_t count;
    uint64_t last_stored; /* number, while the store is walked */
};

/* One event of the store, or as a subscriber was given it. */
struct stored {
    uint64_t position;
    uint64_t sequence;
    uint64_t number;
    uint32_t client;
    uint32_t index;
    uint32_t stream;
    uint8_t hash[HASH_BYTES];
    bool is_sound; /* its bytes are those of the plan */
};

struct stored_list {
    struct stored *items;
    size_t count;
    size_t capacity;
};

struct follower {
    bool is_open;
    uint32_t filter;
    struct stored_list seen;
};

struct moment {
    uint64_t time_ns;
    uint64_t position; /* of a transaction */
    uint32_t client;
    bool is_ack;
};

struct key_found {
    uint64_t number; /* its value; 0: there is no such key */
    uint64_t revision;
};

struct torture {
    struct account accounts[CLIENTS_MAX];
    struct follower followers[FOLLOWERS_MAX];
    struct stored_list stored;
    struct key_found keys[PLAN_VISITOR_FIRST][PLAN_KEYS];
    struct moment *deaths; /* of producers */
    size_t death_count;
    uint64_t *broker_deaths; /* times */
    size_t broker_death_count;
    uint64_t violations;
    bool is_quiet; /* violations are counted, not told */
};

/* Counts a violation, and tells the first ones. */
__attribute__((format(printf, 2, 3))) void violation(struct torture *torture, const char *format,
                                                     ...);

/* NULL: no book has it. */
struct deed *deed_of(struct torture *torture, uint32_t client, uint64_t number);
/* As deed_of(), but makes room. Ends the program without memory, or with a client too many. */
struct deed *deed_make(struct torture *torture, uint32_t client, uint64_t number);

struct stored *stored_add(struct stored_list *list);

/* Ends the program if a book cannot be read. */
void books_read(struct torture *torture, const char *directory);

/* Ends the program if the store cannot be read. */
void store_read(struct torture *torture, const char *run_dir);

/* Everything that must hold. */
void rules_check(struct torture *torture);

/* What was counted, one "name number" a line. */
void rules_report(struct torture *torture);

enum {
    PLANT_COUNT = 15
};
const char *plant_name(int plant);

/* False: this run has nothing to plant it into. */
bool plant(struct torture *torture, int plant, uint64_t random);

#endif
