/*
 * Stands in for libFuzzer where there is none: gives each file of the directories
 * named as arguments to the fuzz target, so that what fuzzing once found stays a
 * test of every build. It looks for nothing new.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *in = fopen(path, "rb");
    struct stat status;
    uint8_t *data;
    size_t size;
    int result = 0;

    if (in == NULL || fstat(fileno(in), &status) != 0) {
        perror(path);
        result = 1;
        goto out;
    }
    /* An allocation of exactly the input's size lets AddressSanitizer see a read past it. */
    data = malloc(status.st_size > 0 ? (size_t)status.st_size : 1);
    if (data == NULL) {
        perror(path);
        result = 1;
        goto out;
    }
    size = fread(data, 1, (size_t)status.st_size, in);
    if (LLVMFuzzerTestOneInput(data, size) != 0) {
        fprintf(stderr, "%s: the target did not accept its input\n", path);
        result = 1;
    }
    free(data);
out:
    if (in != NULL) {
        fclose(in);
    }
    return result;
}

static int replay_directory(const char *directory, size_t *file_count)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    int result = 0;

    if (entries == NULL) {
        perror(directory);
        return 1;
    }
    while (result == 0 && (entry = readdir(entries)) != NULL) {
        char path[4096];

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        result = replay_file(path);
        ++*file_count;
    }
    closedir(entries);
    return result;
}

int main(int argument_count, char **arguments)
{
    size_t file_count = 0;
    int result = 0;

    for (int i = 1; i < argument_count && result == 0; i++) {
        result = replay_directory(arguments[i], &file_count);
    }
    printf("%zu inputs replayed\n", file_count);
    return result != 0 || file_count == 0;
}
