#include "tests/corruption/reach.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/log.h"
#include "broker/offline_store.h"
#include "tests/corruption/places.h"
#include "tests/corruption/reads.h"

enum {
    /* Footer, list of metadata and properties of a table are read when it is opened, for
     * whichever unit that is. */
    TABLE_TAIL_BYTES = 8192,
    LATE_PAGE_EVENTS = 256
};

struct learning {
    const struct history *history;
    struct reach *reach;
};

static bool begin_unit(void *context, uint32_t unit)
{
    (void)context;
    reads_begin_unit(unit);
    return true;
}

static bool note_late(void *context, const struct reader_event *event)
{
    const struct learning *learning = context;
    uint32_t unit = 0;

    learning->reach->is_late[history_unit_of_position(event->position)] = 1;
    if (!history_unit_of_sequence(learning->history, event->stream, event->sequence, &unit)) {
        errx(2, "an event of a stream without a head");
    }
    learning->reach->is_late[unit] = 1;
    return true;
}

/* What lies behind the flushed batch comes from the commit log. */
static void learn_late(struct learning *learning, struct offline_store *offline)
{
    struct reader_page page = {.end = false};
    struct history_point flushed;
    struct reader *reader = NULL;
    char why[DATA_WHY_BYTES];
    enum es_status status =
        startup_find_flushed(offline->base, log_origin(offline->log), &flushed, why);

    if (status == ES_OK) {
        status = reader_new(offline->store, &reader);
    }
    if (status == ES_OK) {
        status = reader_begin(reader);
    }
    page.next = flushed.position + 1;
    while (status == ES_OK && !page.end && page.next <= learning->history->event_count) {
        status = reader_all(reader, page.next, LATE_PAGE_EVENTS, (struct es_text){"", 0}, note_late,
                            learning, &page);
    }
    if (status != ES_OK) {
        errx(2, "the store is not sound: %s", es_status_text(status));
    }
    reader_free(reader);
    for (uint32_t i = history_first_key_unit(learning->history); i < learning->reach->unit_count;
         i++) {
        learning->reach->is_late[i] = 1;
    }
}

static void learn_in_child(struct learning *learning, const struct directory_image *image,
                           const char *path, const char *touches)
{
    static struct offline_store offline;
    struct comparison found;
    const struct history_observer observer = {.wants = begin_unit, .is_cold = true};

    if (!reads_begin(image, path, touches)) {
        err(2, "%s", touches);
    }
    reads_begin_unit(learning->reach->unit_count); /* the check of the start */
    if (offline_store_open(path, &offline) != ES_OK || !offline.is_one_history) {
        errx(2, "the store is not sound: %s", offline.why);
    }
    history_compare(learning->history, offline.store, &observer, &found);
    if (!reads_end()) {
        err(2, "%s", touches);
    }
    if (found.errors + found.missing + found.wrong + found.mute > 0) {
        errx(2, "the sound store differs from itself: %s", found.what);
    }
    learn_late(learning, &offline);
    _exit(0);
}

static void *made(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        err(2, "calloc");
    }
    return memory;
}

/* The units of each page, in one row: counted, then filled in. */
static void load_touches(struct reach *reach, uint32_t page_count, const char *path)
{
    FILE *file = fopen(path, "re");
    struct reads_touch touch;
    uint64_t *next = made(page_count + 1, sizeof *next);
    uint64_t total = 0;

    if (file == NULL) {
        err(2, "%s", path);
    }
    reach->first_touch = made(page_count + 1, sizeof *reach->first_touch);
    while (fread(&touch, sizeof touch, 1, file) == 1) {
        reach->first_touch[touch.page + 1]++;
        total++;
    }
    for (uint32_t i = 0; i < page_count; i++) {
        reach->first_touch[i + 1] += reach->first_touch[i];
        next[i] = reach->first_touch[i];
    }
    reach->units = made(total + 1, sizeof *reach->units);
    rewind(file);
    while (fread(&touch, sizeof touch, 1, file) == 1) {
        reach->units[next[touch.page]++] = touch.unit;
    }
    free(next);
    fclose(file);
}

void reach_learn(struct reach *reach, const struct directory_image *image,
                 const struct history *history, const char *path)
{
    struct learning learning = {history, reach};
    char touches[IMAGE_PATH_BYTES];
    int status = 0;
    pid_t child = -1;

    snprintf(touches, sizeof touches, "%.900s.touches", path);
    reach->unit_count = history_unit_count(history);
    reads_number_pages(image, reach->first_page);
    reach->is_late =
        mmap(NULL, reach->unit_count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reach->is_late == MAP_FAILED) {
        err(2, "mmap");
    }
    directory_image_copy(image, path);
    child = fork();
    if (child == 0) {
        learn_in_child(&learning, image, path, touches);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        errx(2, "what is read of the store cannot be learned");
    }
    directory_image_remove(path);
    load_touches(reach, reach->first_page[image->file_count], touches);
    unlink(touches);
}

static void add_pages(const struct reach *reach, uint32_t from, uint32_t end, uint8_t *units)
{
    for (uint64_t i = reach->first_touch[from]; i < reach->first_touch[end]; i++) {
        units[reach->units[i]] = 1;
    }
}

/* Of a table whose pages are others in place; in its tail: whoever reads of the table. */
static void add_changed_pages(const struct reach *reach, const struct image_file *file,
                              uint32_t index, const struct image_file *change, uint8_t *units,
                              enum reach_kind *kind)
{
    for (uint64_t at = 0; at < file->size; at += READS_PAGE_BYTES) {
        uint32_t page = reach->first_page[index] + (uint32_t)(at / READS_PAGE_BYTES);
        size_t size = file->size - at < READS_PAGE_BYTES ? file->size - at : READS_PAGE_BYTES;

        if (memcmp(file->bytes + at, change->bytes + at, size) == 0) {
            continue;
        }
        if (at + READS_PAGE_BYTES + TABLE_TAIL_BYTES > file->size) {
            add_pages(reach, reach->first_page[index], reach->first_page[index + 1], units);
            *kind = REACH_SOME;
            return;
        }
        add_pages(reach, page, page + 1, units);
    }
}

static enum reach_kind reach_of_change(const struct reach *reach,
                                       const struct directory_image *image,
                                       const struct image_file *change, uint8_t *units)
{
    const struct image_file *file = directory_image_find(image, change->name);
    const char *dot = strrchr(change->name, '.');
    enum reach_kind kind = REACH_PAGES;
    uint32_t index = file == NULL ? 0 : (uint32_t)(file - image->files);

    if (file == NULL) {
        return REACH_ALL;
    }
    if (strncmp(change->name, "log/", 4) == 0 || strcmp(change->name, "anchor") == 0) {
        for (uint32_t i = 0; i < reach->unit_count; i++) {
            units[i] |= reach->is_late[i];
        }
        return REACH_SOME;
    }
    if (places_is_unread(change->name)) {
        return REACH_SOME;
    }
    if (dot == NULL || strcmp(dot, ".sst") != 0) {
        return REACH_ALL;
    }
    if (change->bytes == NULL || change->size != file->size) {
        add_pages(reach, reach->first_page[index], reach->first_page[index + 1], units);
        return REACH_SOME;
    }
    add_changed_pages(reach, file, index, change, units, &kind);
    return kind;
}

enum reach_kind reach_of(const struct reach *reach, const struct directory_image *image,
                         const struct damage *damage, uint8_t *ret_units)
{
    enum reach_kind kind = damage->image == image ? REACH_PAGES : REACH_ALL;

    memset(ret_units, 0, reach->unit_count + 1);
    for (size_t i = 0; i < damage->change_count && kind != REACH_ALL; i++) {
        enum reach_kind one = reach_of_change(reach, image, &damage->changes[i], ret_units);

        kind = one < kind ? one : kind;
    }
    return kind == REACH_PAGES && ret_units[reach->unit_count] != 0 ? REACH_SOME : kind;
}
