/*
 * What a client has seen of a store, shown to the broker: receipt.c asks, and the
 * broker answers ES_REGRESSED or ES_DIVERGED where its store does not continue it.
 *
 * Threads. Any.
 */
#ifndef ES_CLIENT_RECEIPT_H
#define ES_CLIENT_RECEIPT_H

#include "libclient/connection.h"
#include "shm/codec/requests.h"

/*
 * Asks whether the store holds the receipt and continues the checkpoint of 'claim';
 * its client_name is filled in here. Waits for the connection's timeout.
 *
 * ES_REGRESSED, ES_DIVERGED, ES_E_CORRUPT: the broker's answer, with its words as the
 * error text. ES_E_UNREACHABLE, ES_INTERRUPTED, ES_E_PROTOCOL.
 */
ES_MUST_USE enum es_status es_claim_present(struct es_connection *connection,
                                            const struct es_request_hello *claim);

/* Presents the receipt that the connection was opened with; ES_OK if there is none. */
ES_MUST_USE enum es_status es_connection_greet(struct es_connection *connection);

#endif
