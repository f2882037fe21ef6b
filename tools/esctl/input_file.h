/*
 * Files that are taken whole (payloads, states, values) or line by line (an
 * import), "-" being the standard input. Errors are printed here. One thread.
 */
#ifndef ESCTL_INPUT_FILE_H
#define ESCTL_INPUT_FILE_H

#include "tools/esctl/esctl.h"

/* No record holds more than this (32 MiB of arena make 4 MiB of record). */
#define INPUT_BYTES_MAX ((size_t)32 << 20)

/* '*ret_descriptor' is the caller's to close. ES_EXIT_IO: it cannot be opened. */
enum es_exit input_file_open(const char *path, int *ret_descriptor);

/*
 * Reads it whole. '*ret_bytes' is the caller's, to be freed; a zero byte follows it.
 * ES_EXIT_IO: it cannot be read. ES_EXIT_DATA: it is larger than INPUT_BYTES_MAX.
 */
enum es_exit input_file_read(const char *path, char **ret_bytes, size_t *ret_size);

#endif
