/*
 * The store of the simulated machine, in place of RocksDB: the one in memory, which
 * loses what was not flushed when its process ends, family by family, and whose calls
 * pass sim_point().
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_STORE_H
#define TESTS_SIMULATION_SIM_STORE_H

#include <stdbool.h>

#include "broker/store.h"

/* A new and empty one; there is none on disk until it is opened for creation. */
void sim_store_make(void);
bool sim_store_exists(void);

/* The process that had it open has ended: what was not flushed is gone. */
void sim_store_lose_unflushed(void);

/* The contents, for whoever looks from outside; the world's. */
struct store *sim_store_contents(void);

/* A store of the world's memory takes its place for good. */
void sim_store_replace(struct store *other);

/* Puts other contents in its place until the former are put back. */
struct store *sim_store_exchange(struct store *contents);

#endif
