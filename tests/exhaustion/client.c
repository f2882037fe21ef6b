/*
 * Every public call of libeventspine in one run, always the same: what faults.c makes
 * fail in it, one call after the other, is test_client_calls.py's to choose. Whatever
 * fails, the same call on the same handle must succeed when it is made again, and in
 * the end nothing is left: no descriptor, and no lane (the driver looks).
 *
 * exhaustion_client RUN_DIR TAG plain|restarts
 */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/exhaustion/story.h"

enum {
    RETIRED_COUNT = 64 /* closed handles whose memory the library keeps for a while */
};

static uint32_t count_descriptors(void)
{
    DIR *listing = opendir("/proc/self/fd");
    uint32_t count = 0;

    REQUIRE(listing != NULL);
    while (readdir(listing) != NULL) {
        count++;
    }
    closedir(listing);
    return count;
}

static void open_connection(struct story *story)
{
    const struct es_connection_options wanted = {
        .run_dir = story->run_dir, .client_name = "everything", .timeout_ns = PATIENCE_NS};
    const struct es_connection_options wrong = {.run_dir = story->run_dir, .client_name = "a:b"};

    REQUIRE(strncmp(es_version(), "eventspine ", strlen("eventspine ")) == 0);
    EXPECT(story, ES_E_INVALID, es_connection_open(&wrong, &story->connection));
    EXPECT(story, ES_OK, es_connection_open(&wanted, &story->connection));
    REQUIRE(strcmp(es_connection_run_dir(story->connection), story->run_dir) == 0);
    EXPECT(story, ES_OK, es_store_head(story->connection, &story->begin));
}

/* Puts handles without anything to them in place of those that were closed last, so
 * that what is kept is the same in every run. */
static void push_out_retired(const struct story *story)
{
    const struct es_connection_options wanted = {.run_dir = story->run_dir};
    void (*end)(void) = NULL;

    *(void **)&end = dlsym(RTLD_DEFAULT, "es_faults_end");
    if (end != NULL) {
        end();
    }
    for (uint32_t i = 0; i < RETIRED_COUNT; i++) {
        struct es_connection *connection = NULL;

        REQUIRE(es_connection_open(&wanted, &connection) == ES_OK);
        es_connection_close(connection);
    }
}

static void tell(struct story *story, const char *what)
{
    if (strcmp(what, "restarts") == 0) {
        chapter_restarts(story);
        return;
    }
    chapter_unnamed(story);
    chapter_transactions(story);
    chapter_keys(story);
    chapter_named(story);
    chapter_ownership(story);
    chapter_heads(story);
    chapter_readers(story);
    chapter_consumer(story);
    chapter_snapshots(story);
    chapter_receipts(story);
    chapter_interrupts(story);
}

int main(int argc, char **argv)
{
    static struct story story;
    uint32_t descriptors;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: %s RUN_DIR TAG plain|restarts\n", argv[0]);
        return 2;
    }
    story_init(&story, argv[1], argv[2]);
    descriptors = count_descriptors();
    open_connection(&story);
    tell(&story, argv[3]);
    es_connection_close(story.connection);
    push_out_retired(&story);
    if (count_descriptors() != descriptors) {
        story_broken("%u descriptors are left open", count_descriptors() - descriptors);
    }
    story_print_book(&story);
    story_want("look"); /* at the lanes, while this process lives */
    (void)printf("END\n");
    return 0;
}
