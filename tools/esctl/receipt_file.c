#include "tools/esctl/receipt_file.h"

#include "tools/esctl/base64.h"
#include "tools/esctl/input_file.h"
#include "tools/esctl/output_file.h"

#include "shm/codec/receipt.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The member "receipt" of a line of JSON. */
static bool take_json(const char *text, size_t size, struct receipt_bytes *ret_receipt)
{
    json_t *line = json_loadb(text, size, JSON_DISABLE_EOF_CHECK, NULL);
    json_t *member = json_object_get(line, "receipt");
    const char *value = json_string_value(member);
    const size_t value_size = json_string_length(member);
    bool taken = false;

    if (value != NULL && value_size / 4 * 3 <= sizeof ret_receipt->bytes) {
        taken = base64_decode(value, value_size, ret_receipt->bytes, &ret_receipt->size);
    }
    json_decref(line);
    return taken;
}

enum es_exit receipt_file_read(const char *path, struct receipt_bytes *ret_receipt)
{
    struct es_receipt_fields fields;
    char *bytes = NULL;
    size_t size = 0;
    bool is_read = false;
    const enum es_exit exit = input_file_read(path, &bytes, &size);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    if (size > 0 && bytes[0] == '{') {
        is_read = take_json(bytes, size, ret_receipt);
    } else if (size <= sizeof ret_receipt->bytes) {
        memcpy(ret_receipt->bytes, bytes, size);
        ret_receipt->size = size;
        is_read = true;
    }
    free(bytes);
    if (!is_read || es_receipt_decode(ret_receipt->bytes, ret_receipt->size, &fields) != ES_OK) {
        invocation_error("%s is no receipt: give what `esctl append --receipt-out` or `--json` "
                         "has written",
                         path);
        return ES_EXIT_DATA;
    }
    return ES_EXIT_OK;
}

enum es_exit receipt_file_write(const char *path, const struct es_receipt *receipt,
                                const char *stream)
{
    struct receipt_bytes packed;
    struct output_file file;
    enum es_exit exit = ES_EXIT_OK;

    if (es_receipt_pack(receipt, stream, packed.bytes, sizeof packed.bytes, &packed.size) !=
        ES_OK) {
        invocation_error("the broker sent a receipt that cannot be kept: see `esctl status`");
        return ES_EXIT_DATA;
    }
    exit = output_file_open(&file, path);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    (void)fwrite(packed.bytes, 1, packed.size, file.stream); /* finishing looks at its errors */
    return output_file_finish(&file);
}
