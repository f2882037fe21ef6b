/*
 * The histories that a store has had. An epoch is a random number that names one:
 * a new one begins where data was lost and that was accepted, and where a backup
 * was restored. The list, key 'Epochs', says with which position each began; up to
 * there the histories are the same.
 *
 * Threads. Any; the store's reading calls.
 */
#ifndef BROKER_EPOCHS_H
#define BROKER_EPOCHS_H

#include "broker/store.h"
#include "shm/codec/store_value.h"

/* Bytes of randomness for identities. */
void epochs_random_bytes(void *ret_bytes, size_t size);

/* A new epoch: random, never 0. */
uint64_t epochs_random(void);

/* ES_E_CORRUPT: there is no list, or it is malformed. ES_E_IO, ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status epochs_load(struct store *store, const struct store_snapshot *snapshot,
                                       struct es_epochs *ret_epochs);

/*
 * Adds an epoch that begins with 'first_position'. Of those that began beyond it only
 * what they had taken over is left: they end there too. Of a full list one goes, the
 * oldest without a position of its own, or else the oldest: checkpoints of it are
 * answered as another history.
 */
void epochs_begin(struct es_epochs *epochs, uint64_t epoch, uint64_t first_position);

/*
 * The last position up to which the present history is the one of 'epoch', in a
 * store that ends at 'head_position'. ES_NOT_FOUND: the store never had it.
 */
ES_MUST_USE enum es_status epochs_find_end(const struct es_epochs *epochs, uint64_t epoch,
                                           uint64_t head_position, uint64_t *ret_position);

#endif
