#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/check.h"

struct deed *deed_of(struct torture *torture, uint32_t client, uint64_t number)
{
    const struct account *account = client < CLIENTS_MAX ? &torture->accounts[client] : NULL;

    return account != NULL && number >= 1 && number <= account->count ? &account->deeds[number - 1]
                                                                      : NULL;
}

struct deed *deed_make(struct torture *torture, uint32_t client, uint64_t number)
{
    struct account *account = &torture->accounts[client % CLIENTS_MAX];

    if (client >= CLIENTS_MAX || number == 0) {
        fprintf(stderr, "a book of client %u, number %llu\n", client, (unsigned long long)number);
        exit(70);
    }
    if (number > account->capacity) {
        uint64_t capacity = number + number / 2 + 32;
        struct deed *deeds = realloc(account->deeds, capacity * sizeof *deeds);

        if (deeds == NULL) {
            exit(71);
        }
        memset(deeds + account->capacity, 0, (capacity - account->capacity) * sizeof *deeds);
        account->deeds = deeds;
        account->capacity = capacity;
    }
    account->count = number > account->count ? number : account->count;
    return &account->deeds[number - 1];
}

struct stored *stored_add(struct stored_list *list)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 1024;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (list->items == NULL) {
            exit(71);
        }
    }
    memset(&list->items[list->count], 0, sizeof list->items[0]);
    return &list->items[list->count++];
}

static void note_answer(struct torture *torture, const struct book_entry *entry)
{
    struct deed *deed = deed_make(torture, entry->client, entry->number);

    if (deed->sent_ns == 0 || deed->done_ns != 0) {
        violation(torture, "client %u, number %llu: an answer to nothing", entry->client,
                  (unsigned long long)entry->number);
    }
    deed->done_ns = entry->time_ns;
    deed->status = entry->status;
    deed->position = entry->position;
    deed->sequence = entry->sequence;
    deed->revision = entry->revision;
    deed->commit_number = entry->commit_number;
    memcpy(deed->hash, entry->hash, HASH_BYTES);
}

static void note_repeat(struct torture *torture, const struct book_entry *entry)
{
    struct deed *deed = deed_make(torture, entry->client, entry->number);

    deed->repeat_count++;
    if (deed->status != entry->status || deed->position != entry->position ||
        deed->sequence != entry->sequence || deed->revision != entry->revision ||
        deed->commit_number != entry->commit_number ||
        memcmp(deed->hash, entry->hash, HASH_BYTES) != 0) {
        deed->is_repeated = true;
    }
}

static void note_seen(struct torture *torture, const struct book_entry *entry)
{
    struct follower *follower = &torture->followers[entry->client % FOLLOWERS_MAX];
    struct stored *seen = stored_add(&follower->seen);

    seen->position = entry->position;
    seen->sequence = entry->sequence;
    seen->stream = (uint32_t)entry->number;
    memcpy(seen->hash, entry->hash, HASH_BYTES);
}

static void note_death(struct torture *torture, const struct book_entry *entry)
{
    torture->deaths =
        realloc(torture->deaths, (torture->death_count + 1) * sizeof torture->deaths[0]);
    if (torture->deaths == NULL) {
        exit(71);
    }
    torture->deaths[torture->death_count++] =
        (struct moment){.time_ns = entry->time_ns, .client = entry->client};
}

static void note_broker_death(struct torture *torture, const struct book_entry *entry)
{
    torture->broker_deaths =
        realloc(torture->broker_deaths, (torture->broker_death_count + 1) * sizeof(uint64_t));
    if (torture->broker_deaths == NULL) {
        exit(71);
    }
    torture->broker_deaths[torture->broker_death_count++] = entry->time_ns;
}

static void note(struct torture *torture, const struct book_entry *entry)
{
    struct deed *deed = NULL;

    switch ((enum book_kind)entry->kind) {
    case BOOK_SENT:
        deed = deed_make(torture, entry->client, entry->number);
        deed->sent_ns = entry->time_ns;
        deed->expected = entry->sequence;
        break;
    case BOOK_DONE: note_answer(torture, entry); break;
    case BOOK_NOT_SENT: deed_make(torture, entry->client, entry->number)->is_not_sent = true; break;
    case BOOK_REPEATED: note_repeat(torture, entry); break;
    case BOOK_FOLLOWS:
        torture->followers[entry->client % FOLLOWERS_MAX].is_open = true;
        torture->followers[entry->client % FOLLOWERS_MAX].filter = (uint32_t)entry->number;
        break;
    case BOOK_SEEN: note_seen(torture, entry); break;
    case BOOK_BROKEN:
        violation(torture, "client %u says at number %llu, position %llu: status %d", entry->client,
                  (unsigned long long)entry->number, (unsigned long long)entry->position,
                  entry->status);
        break;
    case BOOK_DIED: note_death(torture, entry); break;
    case BOOK_BROKER_DIED: note_broker_death(torture, entry); break;
    case BOOK_BROKER_READY: break;
    }
}

static void read_book(struct torture *torture, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct book_entry entry;

    if (file == NULL) {
        perror(path);
        exit(70);
    }
    while (fread(&entry, sizeof entry, 1, file) == 1 && entry.kind != 0) {
        note(torture, &entry);
    }
    fclose(file);
}

void books_read(struct torture *torture, const char *directory)
{
    DIR *listing = opendir(directory);
    const struct dirent *found = NULL;
    char path[4096];

    if (listing == NULL) {
        perror(directory);
        exit(70);
    }
    while ((found = readdir(listing)) != NULL) {
        size_t size = strlen(found->d_name);

        if (size > 5 && strcmp(found->d_name + size - 5, ".book") == 0) {
            snprintf(path, sizeof path, "%s/%s", directory, found->d_name);
            read_book(torture, path);
        }
    }
    closedir(listing);
}
