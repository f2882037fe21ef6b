/*
 * The negative controls of corruption.c: a broker from which one check is taken out, or trials
 * that see less. What that check finds must then be found by the trials.
 */
#ifndef TESTS_CORRUPTION_BLIND_H
#define TESTS_CORRUPTION_BLIND_H

#include <stdbool.h>

/*
 * anchor:    the anchor knows of no commit.
 * replay:    what the replay reads is not read before the store is open for writing.
 * iterators: RocksDB looks for range deletions, and passes over damage.
 * reads:     what is read of the files is not learned, so every damage seems to touch nothing.
 * False: no such check.
 */
bool blind_choose(const char *check);

/* True: that check is taken out. */
bool blind_is(const char *check);

#endif
