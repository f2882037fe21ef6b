#include "tests/support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE_MAX 256

/* True for a line that opens the value 'name'. */
static int opens(const char *line, const char *name)
{
    size_t size = strlen(name);

    return strncmp(line, name, size) == 0 && line[size] == ' ';
}

/* The bytes of one line of digits, appended; returns how many. */
static size_t line_decode(const char *digits, uint8_t *to, size_t room)
{
    size_t count = 0;
    unsigned int byte = 0;
    int used = 0;

    while (count < room && sscanf(digits, "%2x%n", &byte, &used) == 1) {
        to[count++] = (uint8_t)byte;
        digits += used;
    }
    return count;
}

size_t golden_read(const char *file, const char *name, uint8_t ret_bytes[GOLDEN_SIZE_MAX])
{
    char path[512];
    char line[LINE_SIZE_MAX];
    size_t size = 0;
    long size_said = -1;

    (void)snprintf(path, sizeof path, "%s/tests/golden/%s.golden", ES_SOURCE_DIR, file);
    FILE *in = fopen(path, "r");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        if (size_said >= 0 && line[0] != ' ') {
            break;
        }
        if (size_said >= 0) {
            size += line_decode(line + 2, ret_bytes + size, GOLDEN_SIZE_MAX - size);
        } else if (opens(line, name)) {
            size_said = strtol(line + strlen(name), NULL, 10);
        }
    }
    if (in != NULL) {
        (void)fclose(in);
    }
    if (size_said < 0 || (size_t)size_said != size) {
        fprintf(stderr, "%s: no value %s, or not of its size\n", path, name);
        exit(1);
    }
    return size;
}

void golden_each(const char *file,
                 void (*visit)(void *context, const char *file, const char *name,
                               const uint8_t *bytes, size_t size),
                 void *context)
{
    char path[512];
    char line[LINE_SIZE_MAX];
    char name[LINE_SIZE_MAX];
    uint8_t bytes[GOLDEN_SIZE_MAX];

    (void)snprintf(path, sizeof path, "%s/tests/golden/%s.golden", ES_SOURCE_DIR, file);
    FILE *in = fopen(path, "r");
    while (in != NULL && fgets(line, sizeof line, in) != NULL) {
        if (line[0] != ' ' && line[0] != '#' && sscanf(line, "%255s", name) == 1) {
            visit(context, file, name, bytes, golden_read(file, name, bytes));
        }
    }
    if (in == NULL || fclose(in) != 0) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
}
