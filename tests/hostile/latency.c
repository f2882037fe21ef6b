/*
 * A good client for test_hostile.py: appends one event at a time for so long, and waits
 * for each. Says "appends N p50_us N p99_us N max_us N failed N".
 *   latency RUN_DIR STREAM SECONDS
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <eventspine.h>

enum {
    SAMPLES_MAX = 1 << 20
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int compare(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    static uint32_t samples[SAMPLES_MAX];
    struct es_connection_options options = {.run_dir = argc == 4 ? argv[1] : NULL};
    struct es_event_input event = {.type = "Timed", .payload = "good", .payload_bytes = 4};
    struct es_connection *connection = NULL;
    struct es_producer *producer = NULL;
    uint64_t failed = 0;
    size_t count = 0;
    int64_t until_ns = 0;

    if (argc != 4 || es_connection_open(&options, &connection) != ES_OK ||
        es_producer_open(connection, NULL, &producer) != ES_OK) {
        fprintf(stderr, "latency RUN_DIR STREAM SECONDS: %s\n", es_connection_error(connection));
        return 1;
    }
    until_ns = now_ns() + (int64_t)(strtod(argv[3], NULL) * 1e9);
    while (now_ns() < until_ns && count < SAMPLES_MAX) {
        int64_t begun_ns = now_ns();

        event.tick++;
        if (es_producer_append(producer, argv[2], NULL, &event, 1, UINT64_C(5000000000), NULL) !=
            ES_OK) {
            failed++;
        }
        samples[count++] = (uint32_t)((now_ns() - begun_ns) / 1000);
        (void)poll(NULL, 0, 1);
    }
    es_producer_close(producer);
    es_connection_close(connection);
    qsort(samples, count, sizeof samples[0], compare);
    printf("appends %zu p50_us %u p99_us %u max_us %u failed %" PRIu64 "\n", count,
           samples[count / 2], samples[count * 99 / 100], samples[count - 1], failed);
    return 0;
}
