#include "tests/exhaustion/story.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void story_init(struct story *story, const char *run_dir, const char *tag)
{
    static const char *const tails[STREAM_COUNT] = {"m:L0:one:M1", "m:L0:one:M2", "m:L1:two:M1",
                                                    "m:L1:two:M2"};

    memset(story, 0, sizeof *story);
    story->run_dir = run_dir;
    story->tag = tag;
    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        (void)snprintf(story->streams[i], TEXT_BYTES, "x%s:%s", tag, tails[i]);
    }
    (void)snprintf(story->filter, TEXT_BYTES, "x%s:*", tag);
}

void story_broken(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)printf("BROKEN ");
    (void)vprintf(format, arguments);
    (void)printf("\n");
    va_end(arguments);
    exit(STORY_BROKEN);
}

/* These are answers that need no words. */
static bool needs_words(enum es_status status)
{
    return status != ES_FULL && status != ES_EMPTY && status != ES_TIMEOUT &&
           status != ES_INTERRUPTED && status != ES_OK;
}

bool story_told(struct story *story, const char *call, enum es_status status,
                enum es_status expected)
{
    const char *text = es_connection_error(story->connection);
    int name_bytes = (int)strcspn(call, "(");
    bool is_new = strcmp(text, story->said) != 0;

    (void)snprintf(story->said, sizeof story->said, "%s", text);
    if (status == expected) {
        story->again = 0;
        return true;
    }
    (void)printf("F %.*s: %s: %s\n", name_bytes, call, es_status_text(status), text);
    if (status == ES_OK) {
        story_broken("%.*s should say: %s", name_bytes, call, es_status_text(expected));
    }
    if (++story->again > AGAIN_MAX) {
        story_broken("%.*s fails again, and again", name_bytes, call);
    }
    if (needs_words(status) && (text[0] == '\0' || (!is_new && story->again == 1))) {
        story_broken("%.*s says no word of why it failed", name_bytes, call);
    }
    return false;
}

void story_want(const char *word)
{
    char line[16];

    (void)printf("W %s\n", word);
    (void)fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) {
        exit(1);
    }
}

struct written *story_write(struct story *story, const char *stream)
{
    struct written *written = &story->written[story->written_count];

    REQUIRE(story->written_count < WRITTEN_MAX);
    (void)snprintf(written->payload, sizeof written->payload, "%s.%u", story->tag,
                   story->written_count);
    written->stream = stream;
    written->fate = 'N';
    story->written_count++;
    return written;
}

void story_settle(struct written *written, enum es_status status)
{
    written->fate = 'N';
    if (status == ES_OK) {
        written->fate = 'A';
    } else if (status == ES_E_UNKNOWN) {
        written->fate = 'U';
    }
}

static bool is_of(const struct written *written, const char *stream)
{
    return stream == NULL || strcmp(written->stream, stream) == 0;
}

uint32_t story_count(struct story *story, const char *stream)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < story->written_count; i++) {
        struct written *written = &story->written[i];

        written->is_seen = false;
        count += written->fate == 'A' && is_of(written, stream) ? 1 : 0;
    }
    return count;
}

void story_see(struct story *story, const struct es_event *event)
{
    for (uint32_t i = 0; i < story->written_count; i++) {
        struct written *written = &story->written[i];

        if (strlen(written->payload) != event->payload_bytes ||
            memcmp(written->payload, event->payload, event->payload_bytes) != 0) {
            continue;
        }
        if (strcmp(written->stream, event->stream) != 0 || written->fate == 'N') {
            story_broken("%s is read from %s, where it was never stored", written->payload,
                         event->stream);
        }
        if (written->is_seen) {
            story_broken("%s is read twice", written->payload);
        }
        written->is_seen = true;
        return;
    }
    story_broken("an event of %s is read that nobody wrote", event->stream);
}

uint32_t story_missing(const struct story *story)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < story->written_count; i++) {
        count += story->written[i].fate == 'A' && !story->written[i].is_seen ? 1 : 0;
    }
    return count;
}

void story_expect_all_seen(const struct story *story, const char *stream)
{
    for (uint32_t i = 0; i < story->written_count; i++) {
        const struct written *written = &story->written[i];

        if (written->fate == 'A' && !written->is_seen && is_of(written, stream)) {
            story_broken("%s was acknowledged, and is not read", written->payload);
        }
    }
}

void story_print_book(const struct story *story)
{
    for (uint32_t i = 0; i < story->written_count; i++) {
        const struct written *written = &story->written[i];

        (void)printf("%c %s %s\n", written->fate, written->stream, written->payload);
    }
}
