#include "broker/proof.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/reader_state.h"

__attribute__((format(printf, 3, 4))) static enum es_status say(char why[PROOF_WHY_BYTES],
                                                                enum es_status status,
                                                                const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, PROOF_WHY_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

enum es_status proof_of_checkpoint(const struct proof *proof, const uint8_t *store_id,
                                   uint64_t epoch, uint64_t position, char why[PROOF_WHY_BYTES])
{
    const uint64_t head_position = reader_head(proof->reader)->position;
    uint64_t end = 0;

    if (memcmp(store_id, proof->store_id, ES_STORE_ID_SIZE) != 0) {
        return say(why, ES_DIVERGED, "this is another store than the one that was seen");
    }
    if (epochs_find_end(proof->epochs, epoch, head_position, &end) != ES_OK) {
        return say(why, ES_DIVERGED,
                   "this store has another history than the one that was seen up to position "
                   "%" PRIu64 ": it knows nothing of epoch %016" PRIx64,
                   position, epoch);
    }
    if (position <= end) {
        return ES_OK;
    }
    if (end < head_position || epoch != proof->epochs->entries[proof->epochs->count - 1].epoch) {
        return say(why, ES_REGRESSED,
                   "positions %" PRIu64 " to %" PRIu64 ", which were seen, are not in this store "
                   "any more: a new history began after position %" PRIu64,
                   end + 1, position, end);
    }
    return say(why, ES_REGRESSED,
               "the store ends at position %" PRIu64 ", and positions %" PRIu64 " to %" PRIu64
               " were seen already",
               head_position, head_position + 1, position);
}

/* Whether the commit at the receipt's position is the receipt's. */
static enum es_status compare_commit(const struct proof *proof,
                                     const struct es_receipt_fields *receipt,
                                     char why[PROOF_WHY_BYTES])
{
    const struct reader_commit *commit = &proof->reader->commit;
    const struct reader_run *run = NULL;
    struct es_commit_view view;
    enum es_status status = reader_commit_at(proof->reader, receipt->position);

    if (status == ES_OK) {
        status = es_commit_decode(commit->bytes.bytes, commit->bytes.size, &view);
    }
    if (status == ES_OK) {
        status = es_commit_verify_hash(&view);
    }
    if (status != ES_OK) {
        return say(why, status, "the commit of position %" PRIu64 " cannot be read: %s",
                   receipt->position, es_status_text(status));
    }
    run = reader_run_at(proof->reader, receipt->position);
    if (view.commit_number != receipt->commit_number ||
        memcmp(view.store_hash, receipt->store_hash, ES_HASH_SIZE) != 0 ||
        !es_text_equal(run->stream, receipt->stream) ||
        run->first_sequence + (receipt->position - run->first_position) != receipt->sequence) {
        return say(why, ES_DIVERGED,
                   "this store has another history than the receipt's, at position %" PRIu64
                   " or before",
                   receipt->position);
    }
    return ES_OK;
}

enum es_status proof_of_receipt(const struct proof *proof, const struct es_receipt_fields *receipt,
                                char why[PROOF_WHY_BYTES])
{
    struct reader_event event;
    struct es_event_view view;
    enum es_status status =
        proof_of_checkpoint(proof, receipt->store_id, receipt->epoch, receipt->position, why);

    if (status == ES_OK) {
        status = compare_commit(proof, receipt, why);
    }
    if (status != ES_OK) {
        return status;
    }
    status = reader_event(proof->reader, receipt->stream, receipt->sequence, false, &event);
    if (status == ES_OK) {
        status = es_envelope_decode(event.envelope.data, event.envelope.size, &view);
    }
    if (status != ES_OK) {
        return say(why, status == ES_NOT_FOUND ? ES_E_CORRUPT : status,
                   "the event at position %" PRIu64 " cannot be read: %s", receipt->position,
                   reader_why(proof->reader));
    }
    return memcmp(view.hash, receipt->event_hash, ES_HASH_SIZE) == 0
               ? ES_OK
               : say(why, ES_DIVERGED, "another event is at position %" PRIu64, receipt->position);
}
