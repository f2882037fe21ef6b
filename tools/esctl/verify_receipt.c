/* esctl verify --receipt: whether a store holds what a receipt proves. */
#include "tools/esctl/json_out.h"
#include "tools/esctl/receipt_file.h"
#include "tools/esctl/verify_offline.h"

#include "broker/offline_store.h"
#include "broker/proof.h"

#include <inttypes.h>

static const char *verdict_of(enum es_status status)
{
    switch (status) {
    case ES_OK: return "proven";
    case ES_REGRESSED: return "regressed";
    case ES_DIVERGED: return "diverged";
    case ES_E_CORRUPT: return "damaged";
    default: return NULL;
    }
}

/* 'message' tells why not. */
static enum es_exit tell(const struct invocation *invocation, enum es_status status,
                         const struct receipt_bytes *receipt, const char *message)
{
    const char *verdict = verdict_of(status);
    struct es_receipt_fields fields = {.position = 0};
    struct json_out line;

    if (verdict == NULL) {
        invocation_error("%s", message);
        return exit_of_status(status);
    }
    (void)!es_receipt_decode(receipt->bytes, receipt->size, &fields); /* it was read before */
    if (status != ES_OK) {
        invocation_error("%s, %s: see docs/recovery.md", verdict, message);
    }
    if (!invocation->json) {
        if (status == ES_OK) {
            (void)printf("proven: the store holds position %" PRIu64
                         " and the whole history before it, as the receipt says\n",
                         fields.position);
        }
        return exit_of_status(status);
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", verdict);
    json_out_name(&line, "stream");
    json_out_string(&line, fields.stream.data, fields.stream.size);
    json_out_member_uint(&line, "sequence", fields.sequence);
    json_out_member_uint(&line, "position", fields.position);
    json_out_member_uint(&line, "commit", fields.commit_number);
    if (status != ES_OK) {
        json_out_member_string(&line, "message", message);
    }
    json_out_close(&line, '}');
    return invocation_print(&line, exit_of_status(status));
}

static enum es_status judge_offline(struct offline_store *offline,
                                    const struct receipt_bytes *receipt, char why[PROOF_WHY_BYTES])
{
    struct es_receipt_fields fields;
    struct es_epochs epochs;
    struct proof proof = {.store_id = offline_store_id(offline), .epochs = &epochs};
    enum es_status status = es_receipt_decode(receipt->bytes, receipt->size, &fields);

    if (status == ES_OK) {
        status = epochs_load(offline->store, NULL, &epochs);
    }
    if (status == ES_OK) {
        status = reader_new(offline->store, &proof.reader);
    }
    if (status == ES_OK) {
        status = reader_begin(proof.reader);
    }
    if (status == ES_OK) {
        status = proof_of_receipt(&proof, &fields, why);
    } else {
        (void)snprintf(why, PROOF_WHY_BYTES, "the store cannot be read: %s",
                       es_status_text(status));
    }
    if (proof.reader != NULL) {
        reader_end(proof.reader);
    }
    reader_free(proof.reader);
    return status;
}

static enum es_exit verify_receipt_offline(struct invocation *invocation, const char *data_dir,
                                           const struct receipt_bytes *receipt)
{
    char why[PROOF_WHY_BYTES] = "";
    struct offline_store offline;
    enum es_exit exit = ES_EXIT_DATA;
    enum es_status status = offline_store_open(data_dir, &offline);

    if (status != ES_OK) {
        invocation_error("%s", offline.why);
        exit = verify_exit_of_opening(status);
    } else if (!offline.is_one_history) {
        invocation_error("%s", offline.why);
    } else {
        status = judge_offline(&offline, receipt, why);
        exit = tell(invocation, status, receipt, why);
    }
    offline_store_close(&offline);
    return exit;
}

enum es_exit verify_receipt(struct invocation *invocation, const char *receipt_path,
                            const char *data_dir)
{
    struct receipt_bytes receipt;
    enum es_status status;
    enum es_exit exit = receipt_file_read(receipt_path, &receipt);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    if (data_dir != NULL) {
        return verify_receipt_offline(invocation, data_dir, &receipt);
    }
    exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    status = es_receipt_check(invocation->connection, receipt.bytes, receipt.size);
    if (verdict_of(status) == NULL) {
        return invocation_failed(invocation, status);
    }
    return tell(invocation, status, &receipt, es_connection_error(invocation->connection));
}
