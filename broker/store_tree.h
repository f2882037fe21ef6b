/*
 * An ordered map that keeps every version somebody still holds: a treap whose
 * nodes are shared between versions and copied on the way to a change. Holding
 * the root of a tree is a snapshot of it. For store_memory*.c.
 *
 * Threads. Trees are values: changing one never changes another, so any thread
 *          may read a root it holds. Reference counts are atomic.
 */
#ifndef BROKER_STORE_TREE_H
#define BROKER_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/store.h"

struct store_tree_node; /* NULL is the empty tree */

/* Another hold on a tree; returns it. */
struct store_tree_node *store_tree_hold(struct store_tree_node *root);

/* Ends a hold; NULL is legal. */
void store_tree_release(struct store_tree_node *root);

/*
 * Puts or deletes in '*root', which the caller holds; its hold moves to the new
 * version. Deleting what is not there is ES_OK. ES_E_NO_MEMORY: '*root' is a
 * tree with unknown contents that can only be released.
 */
ES_MUST_USE enum es_status store_tree_put(struct store_tree_node **root, struct store_slice key,
                                          struct store_slice value);
ES_MUST_USE enum es_status store_tree_delete(struct store_tree_node **root, struct store_slice key);

/* The nearest entry at, or if not 'inclusive' after (before), 'key'; NULL: none. */
const struct store_tree_node *store_tree_at_or_after(const struct store_tree_node *root,
                                                     struct store_slice key, bool inclusive);
const struct store_tree_node *store_tree_at_or_before(const struct store_tree_node *root,
                                                      struct store_slice key, bool inclusive);
const struct store_tree_node *store_tree_last(const struct store_tree_node *root);

/* The entry of exactly 'key'; NULL: none. */
const struct store_tree_node *store_tree_find(const struct store_tree_node *root,
                                              struct store_slice key);

/* They last as long as a tree that holds the entry. */
struct store_slice store_tree_key(const struct store_tree_node *node);
struct store_slice store_tree_value(const struct store_tree_node *node);

#endif
