# Bugs of the kind that steps.c is there to find, each planted in one file of the libraries.
es_planted(published_before_written shm/lane_writer.c
    "    if (writer->claimed_pad != 0) {"
    "    atomic_store_explicit(&writer->file->published, sequence, memory_order_release);
    if (writer->claimed_pad != 0) {")
es_planted(no_ack_after_restart shm/lane_reader.c
    "    es_lane_ack(reader, last_sequence);
" "")
# The broker's own care for the tail is taken away too: either would do.
es_planted(helping_only_on_full shm/ring.c
    "} else if (slot_laps_ahead(slot, lap) >= 0) {"
    "} else if (slot_is_full(slot) && slot_laps_ahead(slot, lap) == 0) {"
    "i < ring->slot_count && (int64_t)(tail - position) < 0; i++"
    "i < ring->slot_count && tail + position == UINT64_MAX; i++"
    "&tail, reader->cursor,"
    "&tail, tail,")
es_planted(acknowledged_before_logged broker/committer.c
    "    stage_results(batch);
"
    "    stage_results(batch);
    lanes_acknowledge(committer->config.lanes, &batch->progress);
")
es_planted(refusal_before_logged broker/committer.c
    "    stage_results(batch);
"
    "    stage_results(batch);
    if (batch->commit_number == 0) {
        lanes_acknowledge(committer->config.lanes, &batch->progress);
    }
")
es_planted(freed_before_logged broker/committer.c
    "    stage_results(batch);
"
    "    stage_results(batch);
    lanes_free_slots(committer->config.lanes, &batch->progress);
")
es_planted(page_before_logged broker/committer.c
    "    stage_results(batch);
"
    "    stage_results(batch);
    lanes_advance(committer->config.lanes, &batch->progress,
                  &(struct es_control_head){.batch_number = batch->number});
")
es_planted(head_before_lanes broker/lanes_progress.c
    "    for (uint32_t i = 0; i < last->ring_count; i++) {
        const struct lane_ring *ring = ring_of(lanes, last->rings[i].ring_id);
"
    "    es_control_set_head(&lanes->control, head);
    for (uint32_t i = 0; i < last->ring_count; i++) {
        const struct lane_ring *ring = ring_of(lanes, last->rings[i].ring_id);
")
es_planted(staged_after_acknowledged broker/committer.c
    "    stage_results(batch);
" ""
    "    lanes_acknowledge(lanes, &batch->progress);
"
    "    lanes_acknowledge(lanes, &batch->progress);
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        memcpy(&batch->answers[i].lane->reader.results[0], &batch->answers[i].result,
               sizeof batch->answers[i].result);
    }
    (void)stage_results;
")
es_planted(told_before_logged broker/committer.c
    "    stage_results(batch);
"
    "    stage_results(batch);
    answer_requests(committer, batch);
"
    "static void stage_results("
    "static void answer_requests(struct committer *committer, const struct batch *batch);
static void stage_results(")
es_planted(claimed_before_emptied broker/drain_names.c
    "    status = empty_owner(drain, batch);
"
    "    status = ES_OK;
    (void)empty_owner;
")
