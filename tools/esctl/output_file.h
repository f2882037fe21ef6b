/*
 * Where a verb with --output writes: the standard output, or a file that appears
 * under its name only when it is whole. It is written beside its place under
 * another name, synced and renamed; what is not a regular file (a pipe, a device)
 * is written as it is. Errors are printed here. One thread.
 */
#ifndef ESCTL_OUTPUT_FILE_H
#define ESCTL_OUTPUT_FILE_H

#include "tools/esctl/esctl.h"

#include <stdio.h>

struct output_file {
    FILE *stream;
    const char *path; /* NULL: the standard output */
    char *temporary;  /* NULL: 'path' itself is written */
};

/* 'path' NULL or "-" is the standard output. ES_EXIT_CANNOT_CREATE. */
enum es_exit output_file_open(struct output_file *file, const char *path);

/* Ends it and puts it into its place. ES_EXIT_IO: it is not there, or not whole. */
enum es_exit output_file_finish(struct output_file *file);

/* Ends it without putting it into its place; nothing if it is finished. */
void output_file_abandon(struct output_file *file);

#endif
