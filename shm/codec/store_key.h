/*
 * The store keys that do not begin with a stream.
 *
 *   kv, read_models  K:{namespace}:{key}
 *   commits          last position(8) + commit number(8): seeking p finds p's commit
 *   producers        P:{producer}              its owner and last sequence
 *                    P:{producer}: + last producer sequence in the commit(8)
 *   consumers        C:{consumer}
 *   default          Store, Epochs, Last, Revision, Category:{category}
 *
 * Names must be valid (names.h). Numbers are big-endian. Pure; any thread.
 */
#ifndef EVENTSPINE_CODEC_STORE_KEY_H
#define EVENTSPINE_CODEC_STORE_KEY_H

#include "shm/codec/stream_key.h"

#define ES_COMMIT_KEY_SIZE 16U

void es_key_kv(struct es_text name_space, struct es_text key, struct es_key *ret_key);
void es_key_kv_prefix(struct es_text name_space, struct es_key *ret_key);

void es_key_commit(uint64_t last_position, uint64_t commit_number, struct es_key *ret_key);

/* Seek to this key: the entry found is the commit that holds 'position', if any does. */
void es_key_commit_seek(uint64_t position, struct es_key *ret_key);

void es_key_producer(struct es_text producer, struct es_key *ret_key);
void es_key_producer_commit(struct es_text producer, uint64_t producer_sequence,
                            struct es_key *ret_key);
void es_key_consumer(struct es_text consumer, struct es_key *ret_key);

void es_key_store(struct es_key *ret_key);
void es_key_epochs(struct es_key *ret_key);
void es_key_last(struct es_key *ret_key);
void es_key_revision(struct es_key *ret_key); /* the last key-value revision given out */
void es_key_category(struct es_text category, struct es_key *ret_key);
void es_key_category_prefix(struct es_key *ret_key);

/*
 * Key readers. The views point into 'key'. ES_E_CORRUPT: not such a key;
 * outputs untouched.
 */
ES_MUST_USE enum es_status es_key_kv_parse(struct es_bytes key, struct es_text *ret_name_space,
                                           struct es_text *ret_key);
ES_MUST_USE enum es_status es_key_commit_parse(struct es_bytes key, uint64_t *ret_last_position,
                                               uint64_t *ret_commit_number);

/* '*ret_producer_sequence' is 0 for the entry of the producer itself. */
ES_MUST_USE enum es_status es_key_producer_parse(struct es_bytes key, struct es_text *ret_producer,
                                                 uint64_t *ret_producer_sequence);
ES_MUST_USE enum es_status es_key_consumer_parse(struct es_bytes key, struct es_text *ret_consumer);
ES_MUST_USE enum es_status es_key_category_parse(struct es_bytes key, struct es_text *ret_category);

#endif
