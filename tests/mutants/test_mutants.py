#!/usr/bin/env python3
"""Breaks the code on purpose, one mutant at a time, and sees that a test fails.

A suite that cannot fail proves nothing. Each mutant is one replacement in one file, the kind of
mistake that the suite named beside it exists to find. The tree is copied, the tests are built and
must pass; then each mutant is built and one of its tests must fail. A mutant whose text no longer
stands in the source exactly once is an error: the table must follow the code.

  tests/mutants/test_mutants.py [NAME...]    only these
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("ES_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
TEST_SECONDS_MAX = 120

# (name, file, text, replacement, tests of which one must fail)
MUTANTS = [
    ("ack before the log write", "broker/committer.c",
     "    stage_results(batch);\n",
     "    stage_results(batch);\n"
     "    lanes_acknowledge(committer->config.lanes, &batch->progress);\n",
     ["test_commit_path"]),
    ("publish before the log write", "broker/committer.c",
     "    stage_results(batch);\n",
     "    stage_results(batch);\n    publish(committer, batch);\n",
     ["test_commit_path"]),
    ("slots freed before the control page", "broker/committer.c",
     "    write_control_page(committer, batch);\n    lanes_free_slots(lanes, &batch->progress);\n",
     "    lanes_free_slots(lanes, &batch->progress);\n    write_control_page(committer, batch);\n",
     ["test_commit_path"]),
    ("control page before the log write", "broker/committer.c",
     "    stage_results(batch);\n",
     "    stage_results(batch);\n    write_control_page(committer, batch);\n",
     ["test_commit_path"]),
    ("apply before the log write", "broker/committer.c",
     "    stage_results(batch);\n",
     "    stage_results(batch);\n    (void)apply(committer, batch);\n",
     ["test_commit_path"]),
    ("a refusal answered before it is written", "broker/committer.c",
     "    stage_results(batch);\n",
     "    stage_results(batch);\n    if (batch->commit_number == 0) {\n"
     "        lanes_acknowledge(committer->config.lanes, &batch->progress);\n    }\n",
     ["test_commit_path"]),
    ("results not staged", "broker/committer.c",
     "    stage_results(batch);\n", "",
     ["test_commit_path"]),
    ("a batch finished whose write failed", "broker/committer.c",
     "    enum es_status status = outcome->status;\n",
     "    enum es_status status = ES_OK;\n",
     ["test_commit_path"]),
    ("a commit that is not synced", "broker/scribe.c",
     "    status = log_sync(scribe->config.log);\n", "    status = ES_OK;\n",
     ["test_commit_path"]),
    ("the store cut after the segment's first batch", "broker/committer.c",
     "    struct log_point point = {.batch_number = committer->end.batch_number};\n",
     "    struct log_point point = {.batch_number = committer->end.batch_number + 1};\n",
     ["test_commit_path"]),
    ("no replay ahead of the control page", "broker/startup_replay.c",
     "        es_last_note(&startup->ahead, &last);\n", "",
     ["test_commit_path"]),
    ("a conflict uses up a sequence", "broker/sequencer.c",
     "    if (verdict.batch_full || verdict.status != ES_OK) {\n        take_back",
     "    if (verdict.batch_full) {\n        take_back",
     ["test_sequencer"]),
    ("a failing last operation leaves earlier heads", "broker/sequencer.c",
     "    undo_rollback(sequencer->undo);\n", "",
     ["test_sequencer"]),
    ("a failing transaction keeps its revisions", "broker/sequencer.c",
     "        sequencer->last_revision = revision;\n", "",
     ["test_sequencer"]),
    ("expectations against the store alone", "broker/sequencer_operations.c",
     "    reason = expectation_of_stream(append, stream_state(entry));\n",
     "    reason = stream_state(entry)->run_batch == batch->number\n"
     "                 ? ES_REASON_NONE\n"
     "                 : expectation_of_stream(append, stream_state(entry));\n",
     ["test_sequencer"]),
    ("a commit of keys overwrites another's record", "broker/apply.c",
     "es_key_commit(batch_last_position(batch), batch->commit_number, &key)",
     "es_key_commit(batch_last_position(batch), 1, &key)",
     ["test_sequencer"]),
    ("an entry evicted before its batch is applied", "broker/cache.c",
     "!oldest->used && oldest->changed_batch <= applied_batch",
     "!oldest->used && (oldest->changed_batch <= applied_batch || true)",
     ["test_sequencer"]),
    ("a claim answered before it is durable", "broker/drain_names.c",
     "    if (status == ES_OK) {\n        waiting->submission = NULL;\n    }\n    return status;\n",
     "    if (status == ES_OK) {\n        batch->answers[batch->answer_count - 1].submission = NULL;\n"
     "        inbox_answer(drain->config.inbox, waiting->submission);\n"
     "        waiting->submission = NULL;\n    }\n    return status;\n",
     ["test_named_commit_path"]),
    ("the former owner's lane is not emptied before a claim", "broker/drain_names.c",
     "owner->reader.consumed < drain->waiting.until) {", "false) {",
     ["test_named_commit_path"]),
    ("a claim forgets that it waits for a full batch", "broker/drain.c",
     "    if (status == ES_OK) {\n        status = drain_go_on_waiting(drain, batch);\n    }\n    if",
     "    if",
     ["test_named_commit_path"]),
    ("the owner is in memory alone", "broker/batch_close.c",
     "{state->owner_incarnation, state->last_number, state->owner_uid}",
     "{1, state->last_number, state->owner_uid}",
     ["test_named_sequencer", "test_named_commit_path"]),
    ("the former owner is not fenced", "broker/producer_rules.c",
     "!state->exists || state->owner_incarnation != incoming->incarnation",
     "!state->exists",
     ["test_named_sequencer"]),
    ("a live owner loses its name unasked", "broker/drain_names.c",
     "errand->owner_lives && !errand->take_over", "false",
     ["test_named_commit_path"]),
    ("a recovered lane has no name", "broker/lanes.c",
     "    lane->is_producer = entry->is_producer;\n",
     "    lane->is_producer = entry->is_producer && entry->last_sequence == 0;\n",
     ["test_named_commit_path"]),
    ("a refusal consumes the number", "broker/sequencer.c",
     "    } else if (verdict.producer != NULL) {\n",
     "    }\n    if (verdict.producer != NULL && !verdict.batch_full) {\n",
     ["test_named_sequencer"]),
    ("the answer of the wrong run", "broker/first_result.c",
     "        result->position = first_position + run.count - 1;\n",
     "        result->position = first_position + run.count - 1;\n        break;\n",
     ["test_named_sequencer"]),
    ("the answer of another number of the commit", "broker/first_result.c",
     "if (transaction.producer_sequence != finding->number ||\n",
     "if (transaction.producer_sequence > finding->number ||\n",
     ["test_named_sequencer"]),
    ("a repeat does not wait for what is not applied", "broker/producer_rules.c",
     "verdict->entry->changed_batch > heads_applied(heads)", "false",
     ["test_named_sequencer"]),
    ("other content passes as a repeat", "broker/producer_rules.c",
     "memcmp(first.content_hash, verdict->content_hash, ES_CONTENT_HASH_SIZE) != 0", "false",
     ["test_named_sequencer"]),
    ("any user may use a name", "broker/producer_rules.c",
     "!state->exists || state->owner_uid == uid ||", "true ||",
     ["test_named_sequencer"]),
    ("every number of a commit gets an entry", "broker/apply.c",
     "transaction.producer_sequence == named->entry.value.last_sequence", "true",
     ["test_named_sequencer", "test_verify_entries"]),
    ("recovery forgets where numbers lead", "broker/batch_load.c",
     "transaction.producer.size > 0 ? 1 : 0", "0",
     ["test_named_commit_path"]),
    ("a lane that nobody heard of keeps the name", "broker/lanes_take_over.c",
     "    if (entry.is_producer && lanes_is", "    if (false && lanes_is",
     ["test_named_commit_path"]),
    ("a lane that nobody heard of is written all the same", "broker/lanes_take_over.c",
     "        es_lane_evict(&lane->reader, \"its owner never heard of it\");\n",
     "        lane->owner_gone = true;\n",
     ["test_named_commit_path"]),
    ("an owner that has not written yet loses its name", "broker/lanes_state.h",
     "!es_lane_is_attached(&lane->reader) &&", "true &&",
     ["test_named_commit_path"]),
    ("names are claimed below the reserve", "broker/drain_names.c",
     "} else if (sequencer_has_no_space(drain->config.sequencer)) {", "} else if (false) {",
     ["test_named_commit_path"]),
    ("damage that an append leads to stops the broker", "broker/sequencer_operations.c",
     "if (status == ES_E_CORRUPT) { /* damage", "if (false) { /* damage",
     ["test_hardening_sequencer"]),
    ("damage under a number costs the lane", "libclient/flight.c",
     "(result->status == ES_E_CORRUPT && result->reason == ES_REASON_DAMAGE)", "false",
     ["test_lost_lane"]),
    ("verify does not look where numbers lead", "broker/verify_commits.c",
     "        status = verify_numbers(verify, view);\n", "",
     ["test_verify_entries"]),
    ("ordered lanes forget a refusal", "broker/sequencer.c",
     "        *incoming->order_broken = true;\n", "",
     ["test_sequencer"]),
    ("an older history is served", "broker/startup_check.c",
     "    uint64_t floor = checking->finding->anchor.batch_number;\n",
     "    uint64_t floor = 0;\n",
     ["test_startup"]),
    ("the control page is no witness", "broker/startup_check.c",
     "    if (checking->remains->is_witness && checking->remains->head.batch_number > floor) {\n",
     "    if (false) {\n",
     ["test_startup"]),
    ("the flushed batch is not looked for", "broker/startup_check.c",
     "    if (status != ES_OK || !is_found) {\n", "    if (status != ES_OK) {\n",
     ["test_startup"]),
    ("helping only on FULL", "shm/ring.c",
     "        } else if (slot_laps_ahead(slot, lap) >= 0) {\n",
     "        } else if (slot_laps_ahead(slot, lap) == 0) {\n",
     ["test_ring", "test_ring_interleaved", "test_ring_killed"]),
    ("slots freed before the tail is raised", "shm/ring.c",
     "    tail_raise(&reader->ring, cursor);\n    for (; reader->freed",
     "    for (; reader->freed",
     ["test_ring", "test_ring_interleaved"]),
    ("an offset wrong after the pad", "shm/lane_writer.c",
     "    writer->used_bytes += writer->claimed_pad + span;\n",
     "    writer->used_bytes += span;\n",
     ["test_lane", "test_lane_model"]),
    ("the end of the arena is not its beginning", "shm/lane_reader.c",
     "    reader->next_offset = offset == reader->arena_bytes ? 0 : offset;\n",
     "    reader->next_offset = offset;\n",
     ["test_lane", "test_lane_model"]),
    ("a segment reused before it is flushed", "broker/log_writer.c",
     "    if (last_batch_of(log, index) <= log->flushed.batch_number) {\n",
     "    if (true) {\n",
     ["test_log"]),
    ("the previous hash is not hashed", "shm/codec/envelope.c",
     "    es_pack_bin(&pack, fields->previous_hash.data, fields->previous_hash.size);\n",
     "    es_pack_bin(&pack, fields->previous_hash.data, 0);\n",
     ["test_codec_envelope"]),
    ("a previous hash of another stream is accepted", "shm/codec/chain.c",
     "    return es_bytes_equal(view->event.previous_hash, predecessor_hash) ? ES_OK : ES_E_CORRUPT;\n",
     "    return view->event.previous_hash.size == predecessor_hash.size ? ES_OK : ES_E_CORRUPT;\n",
     ["test_codec_envelope"]),
    ("a run of several events breaks the category's chain", "broker/batch_close.c",
     "        state->last_position = run->first_position + batch->commit_runs[i].count - 1;\n",
     "        state->last_position = run->first_position;\n",
     ["test_commit_path"]),
    ("who had a share does not rest", "broker/share.c",
     "ring->rests_until_ns = now_ns + SHARE_REST_NS;", "ring->rests_until_ns = now_ns;",
     ["test_drain_share"]),
    ("the end of a rest is not waited for", "broker/share.c",
     "            until_ns = ring->rests_until_ns;\n", "            until_ns = INT64_MAX;\n",
     ["test_drain_share"]),
    ("a table's footer is not looked at", "broker/store_rocksdb_footers.c",
     "    return is_there && is_misleading(footer) ? ES_E_CORRUPT : ES_OK;\n", "    return ES_OK;\n",
     ["test_store_rocksdb_refusals"]),
    ("a full list of epochs loses one that has positions", "broker/epochs.c",
     "            return i;\n", "            return 0;\n", ["test_epochs"]),
    ("a ring may be looked at in vain for ever", "broker/share.c",
     "    ring->vain_turns++;\n", "", ["test_drain_share", "test_hardening_commit_loop"]),
    ("a bell without tickets is no turn", "broker/commit_loop.c",
     "        note_vain_bells(loop, listened, ring_count);\n", "        (void)note_vain_bells;\n",
     ["test_hardening_commit_loop"]),
    ("a record in between is no reason to look again", "broker/drain.c",
     "    lane->ring->vain_turns = 0;\n", "", ["test_drain_share"]),
    ("a ring that rests is work", "broker/share.c",
     "return now_ns >= ring->rests_until_ns && has_ticket(ring);", "return has_ticket(ring);",
     ["test_drain_share"]),
    ("a sweep takes a lane past the rest of its ring", "broker/drain.c",
     "if (!share_has_room(&share, batch)) {", "if (false) {", ["test_drain_share"]),
    ("without descriptors a door is asked again and again", "broker/control.c",
     "bool lacks_descriptors = accept_error == EMFILE || accept_error == ENFILE;",
     "bool lacks_descriptors = false;", ["test_hardening_control"]),
    ("a listening socket is not opened again", "broker/admission.c",
     "if (now_ns >= admission->rests_until_ns && set_events(admission, EPOLL_CTL_MOD, EPOLLIN)) {",
     "if (now_ns >= admission->rests_until_ns) {", ["test_admission"]),
    ("each ticket of a lane that is cut off tells of it", "broker/drain.c",
     "if (lane->reader.evicted_why != NULL) {", "if (lane->reader.evicted_why == drain->config.lanes) {",
     ["test_commit_path"]),
    ("a lane that nobody heard of is read on", "broker/lanes_take_over.c",
     'es_lane_evict(&lane->reader, "its owner never heard of it");', "lane->owner_gone = true;",
     ["test_named_commit_path"]),
]


class Failure(Exception):
    pass


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)


def copy_tree(target):
    names = subprocess.run(["git", "-C", SOURCE, "ls-files", "-z"], stdout=subprocess.PIPE,
                           check=False).stdout.split(b"\0")
    if names == [b""]:
        shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("build*", ".git"))
        return
    for name in filter(None, names):
        path = pathlib.Path(os.fsdecode(name))
        if (SOURCE / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / path, target / path)


def build(directory, targets):
    built = run(["cmake", "--build", directory, "--target", *targets, "-j", "2"])
    return built.returncode == 0, built.stdout


def test_fails(directory, test, environment):
    """Whether the test fails: by its exit code, a signal, or by not ending."""
    program = next(directory.rglob(test), None)
    if program is None:
        raise Failure(f"there is no test {test}")
    try:
        return run([program], env=environment, timeout=TEST_SECONDS_MAX).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def plant(tree, mutant):
    name, path, text, replacement, _ = mutant
    source = tree / path
    original = source.read_text()
    if original.count(text) != 1:
        raise Failure(f"{name}: its text stands {original.count(text)} times in {path}")
    source.write_text(original.replace(text, replacement))
    return source, original


def check(tree, directory, mutant, environment):
    name, _, _, _, tests = mutant
    source, original = plant(tree, mutant)
    begun = time.monotonic()
    try:
        # Warnings about what is now unused are no concern here: the build has no -Werror.
        is_built, output = build(directory, tests)
        if not is_built:
            raise Failure(f"{name}: does not build\n{output[-2000:]}")
        for test in tests:
            if test_fails(directory, test, environment):
                print(f"caught   {name} by {test} in {time.monotonic() - begun:.1f} s", flush=True)
                return True
    finally:
        source.write_text(original)
    print(f"SURVIVED {name}: none of {', '.join(tests)} fails", flush=True)
    return False


def main():
    wanted = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant[0] in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as root:
        tree = pathlib.Path(root) / "tree"
        directory = pathlib.Path(root) / "build"
        environment = dict(os.environ, ES_SOURCE_DIR=str(tree), ES_BUILD_DIR=str(directory))
        copy_tree(tree)
        configured = run(["cmake", "-S", tree, "-B", directory, "-DES_WERROR=OFF", "-G", "Ninja"])
        if configured.returncode != 0:
            raise Failure(configured.stdout)
        tests = sorted({test for mutant in wanted for test in mutant[4]})
        is_built, output = build(directory, tests)
        if not is_built:
            raise Failure(output[-4000:])
        for test in tests:
            if test_fails(directory, test, environment):
                raise Failure(f"{test} fails before anything is broken")
        results = [check(tree, directory, mutant, environment) for mutant in wanted]
    print(f"{sum(results)} mutants caught, {len(results) - sum(results)} survived")
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(failure)
        sys.exit(1)
