/*
 * The two SP sockets of the fake broker, REP and PUB, served by one thread with
 * blocking calls: enough for the one honest client in the same process. What is
 * answered is the owner's to say. Failures abort.
 */
#ifndef TESTS_SUPPORT_FAKE_SOCKETS_H
#define TESTS_SUPPORT_FAKE_SOCKETS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_PEER_COUNT_MAX 64u

/* Answers a request into 'reply', and gives its size; SIZE_MAX: hang up instead. */
typedef size_t fake_answer(void *context, const void *request, size_t size, uint8_t *reply,
                           size_t reply_capacity);

struct fake_peer {
    int fd;
    bool is_subscriber;
};

struct fake_sockets {
    char run_dir[256];
    int listen_fds[2]; /* requests, events */
    pthread_t thread;
    _Atomic bool is_stopping;
    _Atomic uint32_t subscriber_count;
    fake_answer *answer;
    void *context;
    uint8_t *reply;
    uint8_t *request;
    pthread_mutex_t lock; /* the peers */
    struct fake_peer peers[FAKE_PEER_COUNT_MAX];
    uint32_t peer_count;
};

void fake_sockets_start(struct fake_sockets *sockets, const char *run_dir, fake_answer *answer,
                        void *context);

/* 'answer' must not be waiting for anybody any more. */
void fake_sockets_stop(struct fake_sockets *sockets);

/* Sends to every subscriber there is. */
void fake_sockets_publish(struct fake_sockets *sockets, const void *bytes, size_t size);

#endif
