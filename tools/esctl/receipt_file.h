/*
 * Receipts that a user keeps in files: the bytes as the library makes them, or a line
 * of `esctl append --json`, which holds them as base64. Errors are printed here.
 * One thread.
 */
#ifndef ESCTL_RECEIPT_FILE_H
#define ESCTL_RECEIPT_FILE_H

#include "tools/esctl/esctl.h"

struct receipt_bytes {
    uint8_t bytes[ES_RECEIPT_BYTES_MAX];
    size_t size;
};

/* Reads it; "-" is the standard input. ES_EXIT_IO, ES_EXIT_DATA: it is no receipt. */
enum es_exit receipt_file_read(const char *path, struct receipt_bytes *ret_receipt);

/* Keeps the receipt of an append to 'stream', whole or not at all. */
enum es_exit receipt_file_write(const char *path, const struct es_receipt *receipt,
                                const char *stream);

/* esctl verify --receipt: against the running store, or with 'data_dir' offline. */
enum es_exit verify_receipt(struct invocation *invocation, const char *receipt_path,
                            const char *data_dir);

#endif
