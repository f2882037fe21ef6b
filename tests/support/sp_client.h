/*
 * A stranger's client: speaks the SP framing of nng's ipc:// transport over a
 * plain Unix socket, so that a test can be slow, rude or gone at any byte. Only
 * REQ and SUB, one outstanding request.
 */
#ifndef TESTS_SUPPORT_SP_CLIENT_H
#define TESTS_SUPPORT_SP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sp_protocol {
    SP_SUB = 33,
    SP_REQ = 48
};

struct sp_client {
    int fd;
    uint32_t request_id;
};

/* Connects and greets; false if nobody greets back within ten seconds. */
bool sp_connect(struct sp_client *client, const char *path, enum sp_protocol protocol);

/* Connects without a word; -1 if nobody listens. */
int sp_connect_silently(const char *path);
void sp_close(struct sp_client *client);

/* One message as it is; false if the other side has closed. */
bool sp_send(struct sp_client *client, const void *bytes, size_t size);

/* The next message, to be freed; false if the connection ended or ten seconds passed. */
bool sp_receive(struct sp_client *client, uint8_t **ret_bytes, size_t *ret_size);

/* A request and its reply, without the SP header, to be freed. */
bool sp_request(struct sp_client *client, const void *bytes, size_t size, uint8_t **ret_reply,
                size_t *ret_size);

/* True once the other side has closed; waits ten seconds for it. */
bool sp_is_closed(struct sp_client *client);

#endif
