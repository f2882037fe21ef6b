#include "broker/store_tree.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"

struct entry {
    atomic_uint holds;
    size_t key_size;
    size_t value_size;
    uint8_t bytes[]; /* key, value */
};

struct store_tree_node {
    atomic_uint holds;
    uint32_t priority; /* follows from the key, so equal contents make equal trees */
    struct store_tree_node *left;
    struct store_tree_node *right;
    struct entry *entry;
};

/* FNV-1a with a final mix: only balance depends on it. */
static uint32_t priority_of(struct store_slice key)
{
    const uint8_t *bytes = key.bytes;
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3U;
    }
    hash ^= hash >> 29;
    hash *= 0xbf58476d1ce4e5b9U;
    return (uint32_t)(hash >> 32);
}

static struct entry *entry_new(struct store_slice key, struct store_slice value)
{
    struct entry *entry = malloc(sizeof *entry + key.size + value.size);

    if (entry == NULL) {
        return NULL;
    }
    atomic_init(&entry->holds, 1);
    entry->key_size = key.size;
    entry->value_size = value.size;
    memcpy(entry->bytes, key.bytes, key.size);
    if (value.size > 0) {
        memcpy(entry->bytes + key.size, value.bytes, value.size);
    }
    return entry;
}

/* [T1] The last release sees everything that was done under the other holds. */
static bool last_hold(atomic_uint *holds)
{
    return atomic_fetch_sub_explicit(holds, 1, memory_order_acq_rel) == 1;
}

static void entry_release(struct entry *entry)
{
    if (last_hold(&entry->holds)) {
        free(entry);
    }
}

struct store_tree_node *store_tree_hold(struct store_tree_node *root)
{
    if (root != NULL) {
        atomic_fetch_add_explicit(&root->holds, 1, memory_order_relaxed);
    }
    return root;
}

/* Recursion is as deep as the tree: some 2.5 log2(n). */
void store_tree_release(struct store_tree_node *root)
{
    if (root != NULL && last_hold(&root->holds)) {
        store_tree_release(root->left);
        store_tree_release(root->right);
        entry_release(root->entry);
        free(root);
    }
}

static struct store_tree_node *node_new(struct store_slice key, struct store_slice value)
{
    struct store_tree_node *node = malloc(sizeof *node);

    if (node == NULL) {
        return NULL;
    }
    node->entry = entry_new(key, value);
    if (node->entry == NULL) {
        free(node);
        return NULL;
    }
    atomic_init(&node->holds, 1);
    node->priority = priority_of(key);
    node->left = NULL;
    node->right = NULL;
    return node;
}

/* Trades a hold on 'node' for one on a node that nobody else holds; NULL: no memory. */
static struct store_tree_node *own(struct store_tree_node *node)
{
    struct store_tree_node *copy = NULL;

    assert(node != NULL);
    if (atomic_load_explicit(&node->holds, memory_order_acquire) == 1) { /* [T1] */
        return node;
    }
    copy = malloc(sizeof *copy);
    if (copy != NULL) {
        atomic_init(&copy->holds, 1);
        copy->priority = node->priority;
        copy->left = store_tree_hold(node->left);
        copy->right = store_tree_hold(node->right);
        copy->entry = node->entry;
        atomic_fetch_add_explicit(&copy->entry->holds, 1, memory_order_relaxed);
        store_tree_release(node);
    }
    return copy;
}

struct store_slice store_tree_key(const struct store_tree_node *node)
{
    return (struct store_slice){node->entry->bytes, node->entry->key_size};
}

struct store_slice store_tree_value(const struct store_tree_node *node)
{
    return (struct store_slice){node->entry->bytes + node->entry->key_size,
                                node->entry->value_size};
}

/* Splits 'root', whose hold it takes, around 'key', which is not in it. */
static enum es_status split(struct store_tree_node *root, struct store_slice key,
                            struct store_tree_node **ret_left, struct store_tree_node **ret_right)
{
    struct store_tree_node *owned = NULL;

    *ret_left = NULL;
    *ret_right = NULL;
    if (root == NULL) {
        return ES_OK;
    }
    owned = own(root);
    if (owned == NULL) {
        store_tree_release(root);
        return ES_E_NO_MEMORY;
    }
    if (store_slice_compare(store_tree_key(owned), key) < 0) {
        *ret_left = owned;
        return split(owned->right, key, &owned->right, ret_right);
    }
    *ret_right = owned;
    return split(owned->left, key, ret_left, &owned->left);
}

/* Joins two trees, whose holds it takes; every key of 'left' is below those of 'right'. */
static enum es_status join(struct store_tree_node *left, struct store_tree_node *right,
                           struct store_tree_node **ret_root)
{
    struct store_tree_node *top = NULL;
    bool left_on_top = false;

    if (left == NULL || right == NULL) {
        *ret_root = left == NULL ? right : left;
        return ES_OK;
    }
    left_on_top = left->priority >= right->priority;
    top = own(left_on_top ? left : right);
    if (top == NULL) {
        store_tree_release(left);
        store_tree_release(right);
        *ret_root = NULL;
        return ES_E_NO_MEMORY;
    }
    *ret_root = top;
    if (left_on_top) {
        return join(top->right, right, &top->right);
    }
    return join(left, top->left, &top->left);
}

/* Puts 'node', whose hold it takes, where it belongs below '*at'. */
static enum es_status insert(struct store_tree_node **at, struct store_tree_node *node)
{
    struct store_tree_node *root = *at;
    int order = 0;

    if (root == NULL) {
        *at = node;
        return ES_OK;
    }
    order = store_slice_compare(store_tree_key(node), store_tree_key(root));
    if (order != 0 && node->priority > root->priority) {
        /* A node of this key would have this priority: it cannot be further down. */
        *at = node;
        return split(root, store_tree_key(node), &node->left, &node->right);
    }
    if (order == 0) {
        node->left = store_tree_hold(root->left);
        node->right = store_tree_hold(root->right);
        *at = node;
        store_tree_release(root);
        return ES_OK;
    }
    root = own(root);
    if (root == NULL) {
        store_tree_release(node);
        return ES_E_NO_MEMORY;
    }
    *at = root;
    return insert(order < 0 ? &root->left : &root->right, node);
}

enum es_status store_tree_put(struct store_tree_node **root, struct store_slice key,
                              struct store_slice value)
{
    struct store_tree_node *node = node_new(key, value);

    return node == NULL ? ES_E_NO_MEMORY : insert(root, node);
}

/* 'key' is below '*at'. */
static enum es_status erase(struct store_tree_node **at, struct store_slice key)
{
    struct store_tree_node *root = own(*at);
    struct store_tree_node *left = NULL;
    struct store_tree_node *right = NULL;
    int order = 0;

    if (root == NULL) {
        return ES_E_NO_MEMORY;
    }
    *at = root;
    order = store_slice_compare(key, store_tree_key(root));
    if (order != 0) {
        return erase(order < 0 ? &root->left : &root->right, key);
    }
    left = root->left;
    right = root->right;
    root->left = NULL;
    root->right = NULL;
    store_tree_release(root);
    return join(left, right, at);
}

enum es_status store_tree_delete(struct store_tree_node **root, struct store_slice key)
{
    return store_tree_find(*root, key) == NULL ? ES_OK : erase(root, key);
}

const struct store_tree_node *store_tree_at_or_after(const struct store_tree_node *root,
                                                     struct store_slice key, bool inclusive)
{
    const struct store_tree_node *found = NULL;

    while (root != NULL) {
        int order = store_slice_compare(store_tree_key(root), key);

        if (order > 0 || (order == 0 && inclusive)) {
            found = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}

const struct store_tree_node *store_tree_at_or_before(const struct store_tree_node *root,
                                                      struct store_slice key, bool inclusive)
{
    const struct store_tree_node *found = NULL;

    while (root != NULL) {
        int order = store_slice_compare(store_tree_key(root), key);

        if (order < 0 || (order == 0 && inclusive)) {
            found = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return found;
}

const struct store_tree_node *store_tree_last(const struct store_tree_node *root)
{
    while (root != NULL && root->right != NULL) {
        root = root->right;
    }
    return root;
}

const struct store_tree_node *store_tree_find(const struct store_tree_node *root,
                                              struct store_slice key)
{
    while (root != NULL) {
        int order = store_slice_compare(key, store_tree_key(root));

        if (order == 0) {
            return root;
        }
        root = order < 0 ? root->left : root->right;
    }
    return NULL;
}
