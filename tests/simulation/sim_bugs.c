#include "tests/simulation/sim_bugs.h"

#include <string.h>

#include "broker/anchor.h"
#include "broker/apply.h"
#include "broker/committer.h"
#include "broker/epochs.h"
#include "broker/first_result.h"
#include "broker/producer_rules.h"
#include "broker/proof.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"

/* X(name, words) */
#define BUGS(X)                                                       \
    X(ACK_EARLY, "ack-before-log-write")                              \
    X(PAGE_EARLY, "control-page-before-log-write")                    \
    X(APPLY_EARLY, "apply-before-log-write")                          \
    X(NO_SYNC, "commit-not-synced")                                   \
    X(NOT_STAGED, "results-not-staged")                               \
    X(REFUSED_STORED, "refused-transaction-stored")                   \
    X(HEADS_KEPT, "heads-of-a-refused-transaction-kept")              \
    X(POSITION_GAP, "position-gap-after-a-refusal")                   \
    X(REUSED_EARLY, "segment-reused-before-its-flush")                \
    X(TAIL_TRUSTED, "unsynced-tail-trusted")                          \
    X(AHEAD_FORGOTTEN, "batches-ahead-of-the-control-page-forgotten") \
    X(ORDER_FORGOTTEN, "broken-order-forgotten-by-a-restart")         \
    X(EPOCH_KEPT, "same-epoch-after-a-loss")                          \
    X(NOT_SWEPT, "records-without-ticket-not-swept")                  \
    X(ANCHOR_IGNORED, "anchor-ignored")                               \
    X(NUMBER_TWICE, "number-stored-twice")                            \
    X(REPEAT_WRONG, "repeat-answered-otherwise")                      \
    X(NOT_FENCED, "former-owner-not-fenced")                          \
    X(SPACE_DENIED, "refused-for-want-of-space-that-there-is")        \
    X(OWNER_IGNORED, "request-taken-beside-a-live-owner")             \
    X(OWNER_KEPT, "owner-that-is-gone-kept")                          \
    X(STRANGER_TAKEN, "name-lent-to-another-user")                    \
    X(NOT_EMPTIED, "question-before-the-lane-is-emptied")             \
    X(TOLD_WRONG, "question-told-of-another-place")                   \
    X(MARK_IGNORED, "same-epoch-after-a-restore")                     \
    X(EPOCHS_FORGOTTEN, "former-epochs-forgotten")                    \
    X(EPOCH_LATE, "epoch-begins-a-position-late")                     \
    X(CHECKPOINT_TRUSTED, "checkpoint-not-judged")                    \
    X(RECEIPT_TRUSTED, "receipt-not-judged")

enum bug {
    BUG_NONE,
#define BUG_NAME(name, words) BUG_##name,
    BUGS(BUG_NAME)
#undef BUG_NAME
};

const char *const sim_bugs[] = {
#define BUG_WORDS(name, words) words,
    BUGS(BUG_WORDS)
#undef BUG_WORDS
        NULL};

static enum bug planted;
static struct lanes *lanes;        /* of the process */
static const struct batch *closed; /* the batch that is written next */
static struct store *store;
static bool is_replaying;
static bool has_refused;

void sim_bugs_plant(const char *name)
{
    planted = BUG_NONE;
    is_replaying = false;
    has_refused = false;
    for (int i = 0; sim_bugs[i] != NULL; i++) {
        if (strcmp(sim_bugs[i], name) == 0) {
            planted = (enum bug)(i + 1);
        }
    }
}

bool sim_bugs_skip_disk(void)
{
    return is_replaying && planted == BUG_TAIL_TRUSTED;
}

bool sim_bugs_hide_backup(void)
{
    return planted == BUG_MARK_IGNORED;
}

/* ---- what the bugs need to know ------------------------------------------------- */

void __real_lanes_fill_last(struct lanes *of, uint64_t batch_number, struct es_last *ret_last);
void __wrap_lanes_fill_last(struct lanes *of, uint64_t batch_number, struct es_last *ret_last);
void __wrap_lanes_fill_last(struct lanes *of, uint64_t batch_number, struct es_last *ret_last)
{
    lanes = of;
    __real_lanes_fill_last(of, batch_number, ret_last);
}

enum es_status __real_batch_close(struct batch *batch, struct heads *heads, uint64_t commit_number,
                                  uint64_t time_us, uint64_t epoch);
enum es_status __wrap_batch_close(struct batch *batch, struct heads *heads, uint64_t commit_number,
                                  uint64_t time_us, uint64_t epoch);
enum es_status __wrap_batch_close(struct batch *batch, struct heads *heads, uint64_t commit_number,
                                  uint64_t time_us, uint64_t epoch)
{
    closed = batch;
    return __real_batch_close(batch, heads, commit_number, time_us, epoch);
}

enum es_status __real_committer_new(const struct committer_config *config,
                                    const struct history_point *end,
                                    struct committer **ret_committer);
enum es_status __wrap_committer_new(const struct committer_config *config,
                                    const struct history_point *end,
                                    struct committer **ret_committer);
enum es_status __wrap_committer_new(const struct committer_config *config,
                                    const struct history_point *end,
                                    struct committer **ret_committer)
{
    store = config->store;
    return __real_committer_new(config, end, ret_committer);
}

/* ---- too early, all of them just before the log write --------------------------- */

static void advance_early(void)
{
    struct es_control_head head = {.batch_number = closed->number,
                                   .commit_number = closed->commit_number,
                                   .durable_position = batch_last_position(closed)};

    memcpy(head.store_hash, closed->store_hash, sizeof head.store_hash);
    lanes_advance(lanes, &closed->progress, &head);
}

enum es_status __real_store_apply(struct store *to, const struct store_batch *batch,
                                  enum store_apply_mode mode);

static void apply_early(void)
{
    struct store_batch *writes = NULL;

    if (store_batch_new(&writes) != ES_OK || apply_fill(closed, writes) != ES_OK ||
        __real_store_apply(store, writes, STORE_APPLY_REPLAY) != ES_OK) {
        sim_trace(40, 1);
    }
    store_batch_free(writes);
}

enum es_status __real_log_append(struct log *log, const struct log_batch *batch, bool *ret_begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *ret_begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *ret_begun)
{
    switch (planted) {
    case BUG_ACK_EARLY: lanes_acknowledge(lanes, &closed->progress); break;
    case BUG_PAGE_EARLY: advance_early(); break;
    case BUG_APPLY_EARLY: apply_early(); break;
    default: break;
    }
    return __real_log_append(log, batch, ret_begun);
}

enum es_status __wrap_store_apply(struct store *to, const struct store_batch *batch,
                                  enum store_apply_mode mode);
enum es_status __wrap_store_apply(struct store *to, const struct store_batch *batch,
                                  enum store_apply_mode mode)
{
    return __real_store_apply(to, batch, planted == BUG_APPLY_EARLY ? STORE_APPLY_REPLAY : mode);
}

/* ---- left out ------------------------------------------------------------------- */

enum es_status __real_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log)
{
    uint64_t applied = model_newest_commit(); /* is in the log already */
    enum es_status status = planted == BUG_NO_SYNC ? ES_OK : __real_log_sync(log);

    if (status == ES_OK) {
        model_synced(applied);
    }
    return status;
}

void __real_es_lane_stage(struct es_lane_reader *reader, const struct es_lane_result *result);
void __wrap_es_lane_stage(struct es_lane_reader *reader, const struct es_lane_result *result);
void __wrap_es_lane_stage(struct es_lane_reader *reader, const struct es_lane_result *result)
{
    if (planted != BUG_NOT_STAGED || !sim_one_in(16)) {
        __real_es_lane_stage(reader, result);
    }
}

void __real_batch_rollback(struct batch *batch, const struct batch_mark *mark);
void __wrap_batch_rollback(struct batch *batch, const struct batch_mark *mark);
void __wrap_batch_rollback(struct batch *batch, const struct batch_mark *mark)
{
    has_refused = true;
    if (planted != BUG_REFUSED_STORED) {
        __real_batch_rollback(batch, mark);
    }
}

void __real_undo_rollback(struct undo *undo);
void __wrap_undo_rollback(struct undo *undo);
void __wrap_undo_rollback(struct undo *undo)
{
    if (planted != BUG_HEADS_KEPT && planted != BUG_REFUSED_STORED) {
        __real_undo_rollback(undo);
    }
}

enum es_status __real_store_flush_wait(struct store *of);
enum es_status __wrap_store_flush_wait(struct store *of);
enum es_status __wrap_store_flush_wait(struct store *of)
{
    return planted == BUG_REUSED_EARLY ? ES_OK : __real_store_flush_wait(of);
}

enum es_status __real_log_replay(struct log *log, uint64_t durable_floor, log_record_fn visit,
                                 void *context, struct log_ending *ret_ending);
enum es_status __wrap_log_replay(struct log *log, uint64_t durable_floor, log_record_fn visit,
                                 void *context, struct log_ending *ret_ending);
enum es_status __wrap_log_replay(struct log *log, uint64_t durable_floor, log_record_fn visit,
                                 void *context, struct log_ending *ret_ending)
{
    enum es_status status = ES_OK;

    is_replaying = true;
    status = __real_log_replay(log, durable_floor, visit, context, ret_ending);
    is_replaying = false;
    return status;
}

uint32_t __real_es_lane_backlog(const struct es_lane_reader *reader);
uint32_t __wrap_es_lane_backlog(const struct es_lane_reader *reader);
uint32_t __wrap_es_lane_backlog(const struct es_lane_reader *reader)
{
    return planted == BUG_NOT_SWEPT ? 0 : __real_es_lane_backlog(reader);
}

/* ---- forgotten, or wrong -------------------------------------------------------- */

void __real_batch_begin(struct batch *batch, uint64_t number, uint64_t first_position,
                        const uint8_t *previous_store_hash);
void __wrap_batch_begin(struct batch *batch, uint64_t number, uint64_t first_position,
                        const uint8_t *previous_store_hash);
void __wrap_batch_begin(struct batch *batch, uint64_t number, uint64_t first_position,
                        const uint8_t *previous_store_hash)
{
    __real_batch_begin(batch, number, first_position + (planted == BUG_POSITION_GAP && has_refused),
                       previous_store_hash);
}

enum es_status __real_lanes_take_over(const struct lanes_config *config,
                                      const struct es_control_head *head,
                                      const struct es_last *ahead, struct lanes **ret_lanes);
enum es_status __wrap_lanes_take_over(const struct lanes_config *config,
                                      const struct es_control_head *head,
                                      const struct es_last *ahead, struct lanes **ret_lanes);
enum es_status __wrap_lanes_take_over(const struct lanes_config *config,
                                      const struct es_control_head *head,
                                      const struct es_last *ahead, struct lanes **ret_lanes)
{
    static const struct es_last none = {.batch_number = 0};

    return __real_lanes_take_over(config, head, planted == BUG_AHEAD_FORGOTTEN ? &none : ahead,
                                  ret_lanes);
}

bool __real_es_lane_order_was_broken(const struct es_lane_reader *reader);
bool __wrap_es_lane_order_was_broken(const struct es_lane_reader *reader);
bool __wrap_es_lane_order_was_broken(const struct es_lane_reader *reader)
{
    return planted != BUG_ORDER_FORGOTTEN && __real_es_lane_order_was_broken(reader);
}

uint64_t __real_epochs_random(void);
uint64_t __wrap_epochs_random(void);
uint64_t __wrap_epochs_random(void)
{
    return planted == BUG_EPOCH_KEPT ? 7 : __real_epochs_random();
}

enum es_status __real_producer_rules_judge_number(struct store *in, struct heads *heads,
                                                  const struct incoming *incoming,
                                                  const struct es_transaction_reader *reader,
                                                  struct producer_verdict *verdict);
enum es_status __wrap_producer_rules_judge_number(struct store *in, struct heads *heads,
                                                  const struct incoming *incoming,
                                                  const struct es_transaction_reader *reader,
                                                  struct producer_verdict *verdict);
enum es_status __wrap_producer_rules_judge_number(struct store *in, struct heads *heads,
                                                  const struct incoming *incoming,
                                                  const struct es_transaction_reader *reader,
                                                  struct producer_verdict *verdict)
{
    enum es_status status =
        __real_producer_rules_judge_number(in, heads, incoming, reader, verdict);

    if (status == ES_OK && verdict->is_repeat) {
        verdict->is_repeat = planted != BUG_NUMBER_TWICE;
        verdict->result.time_us += planted == BUG_REPEAT_WRONG;
    }
    return status;
}

enum es_status __real_producer_rules_judge_owner(struct heads *heads,
                                                 const struct incoming *incoming,
                                                 struct producer_verdict *verdict);
enum es_status __wrap_producer_rules_judge_owner(struct heads *heads,
                                                 const struct incoming *incoming,
                                                 struct producer_verdict *verdict);
enum es_status __wrap_producer_rules_judge_owner(struct heads *heads,
                                                 const struct incoming *incoming,
                                                 struct producer_verdict *verdict)
{
    enum es_status status = __real_producer_rules_judge_owner(heads, incoming, verdict);

    if (status == ES_OK &&
        ((verdict->status == ES_FENCED && planted == BUG_NOT_FENCED) ||
         (verdict->status == ES_E_BUSY && planted == BUG_OWNER_IGNORED) ||
         (verdict->status == ES_E_PERMISSION && planted == BUG_STRANGER_TAKEN))) {
        verdict->status = ES_OK;
        verdict->reason = ES_REASON_NONE;
    }
    return status;
}

void __real_lanes_owner_gone(struct lanes *of, uint32_t index, uint64_t incarnation);
void __wrap_lanes_owner_gone(struct lanes *of, uint32_t index, uint64_t incarnation);
void __wrap_lanes_owner_gone(struct lanes *of, uint32_t index, uint64_t incarnation)
{
    if (planted != BUG_OWNER_KEPT) {
        __real_lanes_owner_gone(of, index, incarnation);
    }
}

/* Asked twice for each name: who it is, and for what it had published. */
struct lane *__real_lanes_find(struct lanes *of, uint64_t incarnation);
struct lane *__wrap_lanes_find(struct lanes *of, uint64_t incarnation);
struct lane *__wrap_lanes_find(struct lanes *of, uint64_t incarnation)
{
    static uint64_t asked;
    bool is_again = incarnation == asked;

    asked = is_again ? 0 : incarnation;
    return planted == BUG_NOT_EMPTIED && is_again ? NULL : __real_lanes_find(of, incarnation);
}

enum es_status __real_first_result_find(struct store *in, const struct store_snapshot *snapshot,
                                        struct es_text producer, uint64_t number,
                                        struct first_result *ret_first);
enum es_status __wrap_first_result_find(struct store *in, const struct store_snapshot *snapshot,
                                        struct es_text producer, uint64_t number,
                                        struct first_result *ret_first);
enum es_status __wrap_first_result_find(struct store *in, const struct store_snapshot *snapshot,
                                        struct es_text producer, uint64_t number,
                                        struct first_result *ret_first)
{
    enum es_status status = __real_first_result_find(in, snapshot, producer, number, ret_first);

    /* The sequencer has no snapshot. */
    ret_first->result.position += planted == BUG_TOLD_WRONG && snapshot != NULL;
    return status;
}

void __real_epochs_begin(struct es_epochs *epochs, uint64_t epoch, uint64_t first_position);
void __wrap_epochs_begin(struct es_epochs *epochs, uint64_t epoch, uint64_t first_position);
void __wrap_epochs_begin(struct es_epochs *epochs, uint64_t epoch, uint64_t first_position)
{
    epochs->count = planted == BUG_EPOCHS_FORGOTTEN ? 0 : epochs->count;
    __real_epochs_begin(epochs, epoch, first_position + (planted == BUG_EPOCH_LATE));
}

enum es_status __real_proof_of_checkpoint(const struct proof *proof, const uint8_t *store_id,
                                          uint64_t epoch, uint64_t position, char *why);
enum es_status __wrap_proof_of_checkpoint(const struct proof *proof, const uint8_t *store_id,
                                          uint64_t epoch, uint64_t position, char *why);
enum es_status __wrap_proof_of_checkpoint(const struct proof *proof, const uint8_t *store_id,
                                          uint64_t epoch, uint64_t position, char *why)
{
    return planted == BUG_CHECKPOINT_TRUSTED
               ? ES_OK
               : __real_proof_of_checkpoint(proof, store_id, epoch, position, why);
}

enum es_status __real_proof_of_receipt(const struct proof *proof,
                                       const struct es_receipt_fields *receipt, char *why);
enum es_status __wrap_proof_of_receipt(const struct proof *proof,
                                       const struct es_receipt_fields *receipt, char *why);
enum es_status __wrap_proof_of_receipt(const struct proof *proof,
                                       const struct es_receipt_fields *receipt, char *why)
{
    return planted == BUG_RECEIPT_TRUSTED ? ES_OK : __real_proof_of_receipt(proof, receipt, why);
}

void __real_sequencer_set_no_space(struct sequencer *sequencer, bool no_space);
void __wrap_sequencer_set_no_space(struct sequencer *sequencer, bool no_space);
void __wrap_sequencer_set_no_space(struct sequencer *sequencer, bool no_space)
{
    __real_sequencer_set_no_space(sequencer, no_space || planted == BUG_SPACE_DENIED);
}

enum es_status __real_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor);
enum es_status __wrap_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor);
enum es_status __wrap_anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                  struct anchor_state *ret_state, struct anchor **ret_anchor)
{
    enum es_status status = __real_anchor_open(disk, name, access, ret_state, ret_anchor);

    if (status == ES_OK && planted == BUG_ANCHOR_IGNORED) {
        ret_state->batch_number = 0;
        ret_state->commit_number = 0;
        ret_state->position = 0;
    }
    return status;
}

enum es_status __real_anchor_write(struct anchor *anchor, const struct anchor_state *state);
enum es_status __wrap_anchor_write(struct anchor *anchor, const struct anchor_state *state);
enum es_status __wrap_anchor_write(struct anchor *anchor, const struct anchor_state *state)
{
    enum es_status status = __real_anchor_write(anchor, state);

    if (status == ES_OK) {
        model_anchored(state->commit_number);
    }
    return status;
}
