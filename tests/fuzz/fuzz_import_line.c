/* Fuzzes the lines of an import, one after the other with one parser, as esctl reads them. */
#include <stdlib.h>
#include <string.h>

#include "tools/esctl/import_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is handed out lies in memory that is there: the sanitizer watches. */
static void touch(const struct import_line *line)
{
    volatile uint8_t last = 0;

    if (line->is_key) {
        last = (uint8_t)(strlen(line->name_space) + strlen(line->key));
        for (size_t i = 0; i < line->value_bytes; i++) {
            last = ((const uint8_t *)line->value)[i];
        }
        return;
    }
    last = (uint8_t)(strlen(line->stream) + strlen(line->event.type));
    for (size_t i = 0; i < line->event.payload_bytes; i++) {
        last = ((const uint8_t *)line->event.payload)[i];
    }
    for (size_t i = 0; i < line->expectation.hash_bytes; i++) {
        last = line->expectation.hash[i];
    }
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct import_parser parser;
    char error[PAYLOAD_ERROR_SIZE];

    import_parser_init(&parser);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t count = end == NULL ? size - at : (size_t)(end - data) - at;
        char *text = malloc(count + 1);
        struct import_line line;

        if (text == NULL) {
            break;
        }
        memcpy(text, data + at, count);
        text[count] = '\0';
        memset(&line, 0, sizeof line);
        if (import_parser_read(&parser, text, count, &line, error) == ES_OK) {
            touch(&line);
        } else if (memchr(error, '\0', sizeof error) == NULL || error[0] == '\0') {
            abort();
        }
        free(text);
        at += count + 1;
    }
    import_parser_deinit(&parser);
    return 0;
}
