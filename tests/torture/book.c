#include "tests/torture/book.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static_assert(sizeof(struct book_entry) == 64, "the driver writes them too");

void book_catch_up(struct book *book)
{
    while (book->count < book->capacity &&
           atomic_load_explicit(&book->entries[book->count].kind, memory_order_acquire) != 0) {
        book->count++;
    }
}

void book_open(const char *path, uint64_t capacity, struct book *ret_book)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    size_t bytes = capacity * sizeof(struct book_entry);
    void *base = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0) {
        base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (base == MAP_FAILED) {
        perror(path);
        exit(70);
    }
    close(fd);
    *ret_book = (struct book){.entries = base, .capacity = capacity};
    book_catch_up(ret_book);
}

void book_write(struct book *book, enum book_kind kind, const struct book_entry *entry)
{
    struct book_entry *place = &book->entries[book->count];

    if (book->count == book->capacity) {
        fprintf(stderr, "the book is full\n");
        exit(70);
    }
    place->client = entry->client;
    place->number = entry->number;
    place->time_ns = entry->time_ns != 0 ? entry->time_ns : book_now_ns();
    place->position = entry->position;
    place->sequence = entry->sequence;
    place->revision = entry->revision;
    for (size_t i = 0; i < sizeof place->hash; i++) {
        place->hash[i] = entry->hash[i];
    }
    place->status = entry->status;
    place->commit_number = entry->commit_number;
    atomic_store_explicit(&place->kind, (uint32_t)kind, memory_order_release);
    book->count++;
}

uint64_t book_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}
