/*
 * The producers' names that handles of this process have, or have asked for. The broker
 * tells of an owner only which process it is; whether that is a handle that lives, or a
 * lane that nobody here ever heard of, is known here.
 *
 * Memory.  An entry is its attachment's, and stays where it is while it is listed.
 * Threads. Any, for all functions here. A child of fork begins with an empty list.
 */
#ifndef ES_CLIENT_OWNED_NAMES_H
#define ES_CLIENT_OWNED_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct es_owned_name {
    struct es_owned_name *next;
    const char *name;     /* lasts as long as the entry is listed; "": never listed */
    uint64_t incarnation; /* of the lane that owns the name; 0: no answer yet */
};

/* Lists 'name' as asked for. */
void es_owned_names_add(struct es_owned_name *entry, const char *name);

/* The answer: the lane that owns the name from now on. */
void es_owned_names_set(struct es_owned_name *entry, uint64_t incarnation);

/* Does nothing if it is not listed. */
void es_owned_names_remove(const struct es_owned_name *entry);

/* A handle of this process writes into that lane, or may be about to. */
bool es_owned_names_has(const char *name, uint64_t incarnation);

/* In a child of fork: its parent's handles are not its own. */
void es_owned_names_forget_process(void);

#endif
