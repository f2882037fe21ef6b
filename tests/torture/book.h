/*
 * A client's own account of what it did and heard: entries of 64 bytes in a mapped
 * file, so that what was written stays when the writer is killed, at the price of
 * a store into memory. It judges nothing; check.h does.
 *
 * Order.   An entry counts once its kind is stored, last of all: the entries before
 *          the first one without a kind are whole.
 * Threads. One writer at a time. A child that was forked may write on where its
 *          parent was, and the parent after it (book_catch_up()).
 * Times.   CLOCK_MONOTONIC: one clock for all processes, so that "acknowledged
 *          before that was sent" can be said across them.
 */
#ifndef TORTURE_BOOK_H
#define TORTURE_BOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum book_kind {
    BOOK_SENT = 1,     /* about to send; 'sequence' is what is expected, or none */
    BOOK_DONE = 2,     /* what was answered */
    BOOK_NOT_SENT = 3, /* certainly never sent */
    BOOK_REPEATED = 4, /* what a repeat of a numbered transaction was answered */
    BOOK_FOLLOWS = 5,  /* a subscriber begins; 'number' is its filter */
    BOOK_SEEN = 6,     /* it was given an event */
    BOOK_BROKEN = 7,   /* a promise is broken before the eyes of the client */
    BOOK_DIED = 8,     /* a producer has been killed or has ended as planned; 'number' says how */
    BOOK_BROKER_DIED = 9,  /* written by the driver */
    BOOK_BROKER_READY = 10 /* written by the driver */
};

#define BOOK_NOTHING_EXPECTED UINT64_MAX

struct book_entry {
    _Atomic uint32_t kind;
    uint32_t client;
    uint64_t number; /* of the client's transaction: plan.h */
    uint64_t time_ns;
    uint64_t position;
    uint64_t sequence;
    uint64_t revision;
    uint8_t hash[8]; /* the first bytes of the event's hash */
    int32_t status;
    uint32_t commit_number; /* its low half; of a refusal the reason */
};

struct book {
    struct book_entry *entries;
    uint64_t capacity;
    uint64_t count;
};

/* Opens or makes the file; the book goes on behind what is there. Ends the program if
 * that fails: a test without its book is none. */
void book_open(const char *path, uint64_t capacity, struct book *ret_book);

/* Ends the program when the book is full. */
void book_write(struct book *book, enum book_kind kind, const struct book_entry *entry);

/* Counts what a child has written meanwhile. */
void book_catch_up(struct book *book);

uint64_t book_now_ns(void);

#endif
