/*
 * Directories that a test may fill and that vanish with it. Failures end the
 * test program: without its directory no test means anything.
 */
#ifndef TESTS_SUPPORT_TEMP_DIRECTORY_H
#define TESTS_SUPPORT_TEMP_DIRECTORY_H

#define TEMP_DIRECTORY_BYTES_MAX 256u

/* A new empty directory, mode 0700, below $TMPDIR or /tmp. */
void temp_directory_make(char path[TEMP_DIRECTORY_BYTES_MAX]);

/* The same on a tmpfs: below /dev/shm. */
void temp_directory_make_tmpfs(char path[TEMP_DIRECTORY_BYTES_MAX]);

/* Removes it with everything in it; follows no link. */
void temp_directory_remove(const char *path);

#endif
