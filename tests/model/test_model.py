#!/usr/bin/env python3
"""Every interleaving and every kill of the protocols, in small, by Spin.

    test_model.py               each model sound, each mutant caught; under a minute
    test_model.py --large       larger configurations: minutes to hours, gigabytes
    test_model.py --negative    the mutants alone
    test_model.py --only ring   one of ring, commit, log, sleep, names

Each model (*.pml, whose head says what it is and proves) is turned into a verifier by spin and gcc
and searched exhaustively: no hashing, no bit states. A search that did not end is a failure. A
mutant is a model built with -DMUTANT_X; it must be refused, and for the kind of reason given here.
--seed and --seconds are taken, as of all suites, and change nothing: nothing here is random."""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPTH_MAX = 100000
MEMORY_MB = 2000
LARGE_MEMORY_MB = 24000
SOUND, CYCLES, CAUGHT = "sound", "no cycles", "caught"
# How a mutant is refused: a state in which nothing moves and somebody is not done (Spin's word for it,
# or the assertion that Death makes when nothing moves); or an assertion named here in part.
STUCK = r"invalid end state|acked\[\w+\]==published|acked\[[01]\]=="
ASSERTION = "assertion violated"

# (model, defines): searched for assertions and invalid end states
SEARCHES = [
    ("ring", "RECORDS=1 KILLS=2"),
    ("ring", "RECORDS=2 KILLS=0 CREDITS=2"),
    ("ring", "RECORDS=1 KILLS=1 VARIANT_HELP_ONLY_ON_FULL_WITH_RAISE"),
    ("ring", "RECORDS=1 KILLS=1 VARIANT_NO_RAISE_WITH_HELP"),
    ("commit", "RECORDS=2 RECORDS_OF_OTHER=1 KILLS=1"),
    ("commit", "RECORDS=1 RECORDS_OF_OTHER=1 KILLS=2"),
    ("log", "BATCHES=4 DEATHS=2"),
    ("sleep", "KILLS=1"),
    ("names", "KILLS=1 DEATHS=1"),
]
LARGE_SEARCHES = [
    ("ring", "RECORDS=2 KILLS=2"),
    ("ring", "RECORDS=3 KILLS=1"),
    ("ring", "RECORDS=2 KILLS=1 CREDITS=2"),
    ("ring", "PRODUCERS=3 RECORDS=1 KILLS=1 SLOTS=4"),
    ("ring", "PRODUCERS=3 RECORDS=1 KILLS=2 SLOTS=2"),
    ("commit", "RECORDS=2 RECORDS_OF_OTHER=1 KILLS=3"),
    ("commit", "RECORDS=2 RECORDS_OF_OTHER=2 KILLS=2"),
    ("commit", "RECORDS=3 RECORDS_OF_OTHER=1 KILLS=2 CREDITS=1"),
    ("log", "BATCHES=7 DEATHS=1"),
    ("log", "BATCHES=5 DEATHS=3"),
    ("sleep", "KILLS=1 RECORDS=2 RECORDS_OF_MORTAL=2"),
    ("sleep", "KILLS=1 RECORDS=3"),
    ("names", "KILLS=2 DEATHS=2 LANES=4"),
    ("names", "NUMBERS=3 KILLS=1 DEATHS=1 LANES=4"),
]
# Waiting stands for looking again; so a graph without cycles and without invalid end states means
# that whatever the scheduler does, everybody gets to the end.
ACYCLIC = [
    ("ring", "RECORDS=1 KILLS=1"),
    ("commit", "RECORDS=1 RECORDS_OF_OTHER=1 KILLS=1"),
    ("log", "BATCHES=3 DEATHS=1"),
    ("names", "KILLS=1 DEATHS=0"),
]
MUTANTS = [
    ("ring", "RECORDS=1 KILLS=1", "HELP_ONLY_ON_FULL", STUCK),
    ("ring", "RECORDS=1 KILLS=1", "FREE_BEFORE_COMMIT", ASSERTION),
    ("ring", "RECORDS=1 KILLS=1", "ACK_BEFORE_COMMIT", ASSERTION),
    ("ring", "RECORDS=1 KILLS=1", "NO_REACK", STUCK),
    ("ring", "RECORDS=1 KILLS=1", "NO_SWEEP", STUCK),
    ("ring", "RECORDS=1 KILLS=1", "PUBLISH_BEFORE_WRITE", ASSERTION),
    ("commit", "KILLS=1", "ACK_BEFORE_COMMIT", ASSERTION),
    ("commit", "KILLS=1", "NO_REACK", STUCK),
    ("commit", "KILLS=1", "PAGE_BEFORE_WRITE", ASSERTION),
    ("commit", "KILLS=1", "REJECTION_NOT_DURABLE", r"got\[.*!=2"),
    ("commit", "KILLS=1", "APPLY_BEFORE_SYNC", ASSERTION),
    ("commit", "KILLS=1", "STAGE_AFTER_ACK", ASSERTION),
    ("commit", "KILLS=1", "LAST_IGNORED", ASSERTION),
    ("commit", "KILLS=1", "FLUSH_BEFORE_SETTLE", ASSERTION),
    ("log", "BATCHES=4 DEATHS=1", "REUSE_TOO_EARLY", ASSERTION),
    ("log", "BATCHES=4 DEATHS=1", "MARK_BEFORE_FLUSH", ASSERTION),
    ("log", "BATCHES=4 DEATHS=1", "NO_SYNC_AT_ROTATION", ASSERTION),
    ("log", "BATCHES=4 DEATHS=1", "APPLY_BEFORE_SYNC", ASSERTION),
    ("log", "BATCHES=4 DEATHS=2", "NO_SETTLE", ASSERTION),
    ("log", "BATCHES=4 DEATHS=1", "REUSED_SEGMENT_NUMBER", ASSERTION),
    ("sleep", "KILLS=1", "LOOK_BEFORE_ARMING", STUCK),
    ("sleep", "KILLS=1", "CLEAR_BEFORE_RINGING", STUCK),
    ("sleep", "KILLS=1", "CLEAR_ANY_SLEEP", STUCK),
    ("sleep", "KILLS=1", "CLEAR_THOUGH_NOBODY_WOKE", STUCK),
    ("sleep", "KILLS=1", "ACK_AFTER_LOOKING", STUCK),
    ("names", "KILLS=1 DEATHS=1", "TELL_BEFORE_DURABLE", ASSERTION),
    ("names", "KILLS=1 DEATHS=1", "CLAIM_BEFORE_EMPTIED", r"fenced_behind"),
    ("names", "KILLS=1 DEATHS=1", "NUMBER_BEFORE_EMPTIED", r"claim_number==last_log"),
    ("names", "KILLS=1 DEATHS=1", "FENCED_BY_TIME", ASSERTION),
    ("names", "KILLS=1 DEATHS=1", "OWNER_IN_MEMORY", ASSERTION),
    ("names", "KILLS=1 DEATHS=1", "INCARNATION_REUSED", ASSERTION),
    ("names", "KILLS=1 DEATHS=1", "REPEAT_STORED", r"receipt"),
    ("names", "KILLS=1 DEATHS=1", "REPEAT_ANSWERED_ANEW", r"receipt"),
]


class Finding:
    """What one search says of itself."""

    def __init__(self, text, took_s):
        def number(pattern):
            match = re.search(pattern, text)
            return int(float(match.group(1))) if match else -1

        self.states = number(r"(\d+(?:\.\d+e\+\d+)?) states, stored")
        self.depth = number(r"depth reached (\d+)")
        self.errors = number(r"errors: (\d+)")
        why = re.search(r"^pan:1: (.*)$", text, re.M)
        self.why = why.group(1) if why else ""
        self.is_complete = (
            self.errors == 0
            and "Search not completed" not in text
            and "max search depth too small" not in text
            and "out of memory" not in text
        )
        self.took_s = took_s
        self.text = text


def run(command, directory):
    done = subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def search(model, defines, kind, memory_mb):
    """Builds the verifier in a directory of its own, and runs it."""
    directory = tempfile.mkdtemp(prefix="eventspine-model-")
    try:
        options = [f"-D{define}" for define in defines.split()]
        code, text = run(["spin", "-a", *options, os.path.join(HERE, model + ".pml")], directory)
        if code != 0 or not os.path.exists(os.path.join(directory, "pan.c")):
            raise RuntimeError(f"spin refuses {model} {defines}:\n{text}")
        level = "-O1" if kind == CAUGHT else "-O2"
        what = "-DNP" if kind == CYCLES else "-DSAFETY"
        collapse = ["-DCOLLAPSE"] if memory_mb > MEMORY_MB else []
        compiler = ["gcc", "-w", level, what, *collapse, f"-DMEMLIM={memory_mb}"]
        code, text = run([*compiler, "-o", "pan", "pan.c"], directory)
        if code != 0:
            raise RuntimeError(f"gcc refuses {model} {defines}:\n{text}")
        begun = time.monotonic()
        _, text = run(["./pan", f"-m{DEPTH_MAX}", *(["-l"] if kind == CYCLES else [])], directory)
        return Finding(text, time.monotonic() - begun)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def judge(kind, finding, expected):
    """True: as it should be. And a sentence for the table."""
    counts = f"{finding.states:>9} states, depth {finding.depth:>4}, {finding.took_s:6.2f} s"
    if kind == CAUGHT:
        passed = finding.errors > 0 and re.search(expected, finding.why) is not None
        return passed, f"{counts}: {finding.why or 'NOT CAUGHT'}"
    return finding.is_complete, counts + (": complete" if finding.is_complete else ": FAILED\n" + finding.text)


def jobs(arguments):
    if not arguments.negative:
        for model, defines in LARGE_SEARCHES if arguments.large else SEARCHES:
            yield model, defines, SOUND, None
        for model, defines in ACYCLIC:
            yield model, defines, CYCLES, None
    for model, defines, mutant, expected in [] if arguments.large else MUTANTS:
        yield model, f"{defines} MUTANT_{mutant}", CAUGHT, expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--only", choices=("ring", "commit", "log", "sleep", "names"))
    parser.add_argument("--memory-mb", type=int, default=0, help="of one search; 2000, large 24000")
    parser.add_argument("--seed")
    parser.add_argument("--seconds")
    arguments = parser.parse_args()
    memory_mb = arguments.memory_mb or (LARGE_MEMORY_MB if arguments.large else MEMORY_MB)
    passed = failed = 0

    if shutil.which("spin") is None:
        print("spin is missing: ./tools/setup --tests gets it")
        print("0 passed, 1 failed")
        return 1
    wanted = [job for job in jobs(arguments) if arguments.only in (None, job[0])]
    with concurrent.futures.ThreadPoolExecutor(1 if arguments.large else 2) as pool:
        futures = [pool.submit(search, job[0], job[1], job[2], memory_mb) for job in wanted]
        for (model, defines, kind, expected), future in zip(wanted, futures):
            try:
                is_right, sentence = judge(kind, future.result(), expected)
            except RuntimeError as error:
                is_right, sentence = False, str(error)
            print(f"{'ok    ' if is_right else 'FAILED'} {kind:9} {model} {defines}: {sentence}", flush=True)
            passed += is_right
            failed += not is_right
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
