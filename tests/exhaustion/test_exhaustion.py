#!/usr/bin/env python3
"""What happens when something runs out: every place in broker and esctl where an allocation or a
system call can fail is made to fail once, with each errno that it can plausibly have. Whatever it
is, nobody is killed by a signal and nobody hangs; an exit code is a documented one and comes with
a message; and a start without the fault finds everything that was acknowledged.

  test_exhaustion.py [--seed S] [--seconds N | --count N | --all] [--only SUBJECT] [--negative]
  test_exhaustion.py --trial SUBJECT NAME OFFSET OCCURRENCE ERRNO     one of them again
Subjects: create, reopen (of the broker, with a small workload), append, kv, read, import, export,
verify, tail, status (of esctl), and the situations of lib_situations.py."""
import argparse
import collections
import errno
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(HERE), str(SOURCE / "tests" / "integration")]
import lib_situations  # noqa: E402
from lib_faults import ERRNOS, OCCURRENCES, Fault, Preload  # noqa: E402
from lib_trial import (  # noqa: E402
    Broken, Broker, CTL_CODES, ctl, expect_code, expect_said, make_root, remove_root,
    small_workload)

# ---- subjects ------------------------------------------------------------------------------------


def broker_trial(root, preload, is_new):
    """A broker under the fault: start, a little work, stop. Then without it: nothing is lost."""
    data = root / "data"
    acked = []
    if not is_new:
        shutil.copytree(TEMPLATES / "data", data)
        acked += TEMPLATES_ACKED
    broker = Broker(root, environment=preload.environment)
    if broker.wait_ready():
        acked += small_workload(broker, root)
    code = broker.stop()
    expect_code("the broker", code, (0, 70, 71, 73, 74, 75))
    if code != 0:
        expect_said("the broker", code, broker.said())
    after = Broker(root)
    if not after.wait_ready():
        raise Broken(f"the next start fails: {after.said()}")
    missing = set(acked) - set(after.payloads())
    code = after.stop()
    if missing:
        raise Broken(f"acknowledged and lost: {sorted(missing)[:3]}")
    expect_code("the next broker", code, (0,))


CTL_SUBJECTS = {
    "append": (["append", "t:m:L0:x:M1", "Tried", "--raw", "--payload", "{CONTENT}"], True),
    "kv": (["kv", "put", "space", "key", "{CONTENT}"], False),
    "read": (["read", "t:m:L0:x:M1", "--json"], False),
    "import": (["import", "{IMPORT}"], False),
    "export": (["export", "--output", "{OUT}"], False),
    "verify": (["verify"], False),
    "tail": (["tail", "--from", "1", "--count", "2"], False),
    "status": (["status"], False),
    "head": (["head", "t:m:L0:x:M1"], False),
    "inspect": (["inspect"], False),
    "snapshot": (["snapshot", "save", "t:m:L0:x:M1", "--file", "{IMPORT}", "--tick", "1",
                  "--sequence", "1"], False),
}


def ctl_trial(root, preload, subject):
    """esctl under the fault, beside a broker that is well."""
    words, is_append = CTL_SUBJECTS[subject]
    content = "content %016x" % random.getrandbits(64)
    (root / "import").write_text('{"stream":"t:m:L0:imported:M1","tick":1,"type":"A","payload":{}}\n'
                                 * 3)
    words = [word.replace("{CONTENT}", content).replace("{IMPORT}", str(root / "import"))
             .replace("{OUT}", str(root / "out")) for word in words]
    done = ctl(SHARED, words, preload.environment)
    expect_code(f"esctl {subject}", done.returncode, CTL_CODES)
    if done.returncode not in (0, 1):
        expect_said(f"esctl {subject}", done.returncode, done.stderr)
    if is_append and done.returncode == 0 and content not in SHARED.payloads():
        raise Broken("esctl said that it has appended, and it is not there")
    if not SHARED.is_alive():
        raise Broken(f"the broker ended: {SHARED.said()}")
    return done.returncode


def run_subject(subject, root, preload):
    """The exit code of esctl; None: it was a broker."""
    if subject in ("create", "reopen"):
        return broker_trial(root, preload, subject == "create")
    return ctl_trial(root, preload, subject)


# ---- choosing ------------------------------------------------------------------------------------


def list_faults(subject):
    """Runs the subject without a fault, to learn each place that could fail."""
    root = make_root()
    try:
        preload = Preload(root)
        if run_subject(subject, root, preload) not in (None, 0):
            raise Broken(f"{subject} fails without a fault")
        calls, _ = preload.read()
    finally:
        remove_root(root)
    faults = []
    for (name, offset), count in sorted(calls.items()):
        if name == "fflush" and subject in ("create", "reopen", "tail"):
            continue  # of "ready": then nobody can know, and it serves; of stdout, which then says it
        for occurrence in sorted({at for at in (*OCCURRENCES, count - 1) if at < count}):
            faults += [Fault(subject, name, offset, occurrence, error) for error in ERRNOS[name]]
    return faults


def try_one(fault, counts):
    root = make_root()
    try:
        preload = Preload(root, fault)
        run_subject(fault.subject, root, preload)
        counts[fault.subject] += 1
        counts["hits"] += preload.read()[1]
        return True
    except (Broken, subprocess.SubprocessError, OSError, AssertionError) as error:
        print(f"FAILED {fault.subject}: {fault.name} at 0x{fault.offset:x}, occurrence "
              f"{fault.occurrence}, {errno.errorcode[fault.error]}: {error}\n"
              f"  again: {sys.argv[0]} --trial {fault.subject} {fault.name} {fault.offset} "
              f"{fault.occurrence} {fault.error}", flush=True)
        return False
    finally:
        remove_root(root)


def prepare():
    """A store to be copied and a broker to be asked, once."""
    global TEMPLATES, TEMPLATES_ACKED, SHARED
    TEMPLATES = make_root()
    broker = Broker(TEMPLATES)
    if not broker.wait_ready():
        raise Broken(f"no broker: {broker.said()}")
    TEMPLATES_ACKED = small_workload(broker, TEMPLATES)
    expect_code("the broker", broker.stop(), (0,))
    (TEMPLATES / "shared").mkdir()
    SHARED = Broker(TEMPLATES / "shared")
    if not SHARED.wait_ready():
        raise Broken(f"no broker: {SHARED.said()}")
    small_workload(SHARED, TEMPLATES)


def negative():
    """Each of these must be told; returns how many were not."""
    missed = 0
    for what, act in (
            ("a death by signal", lambda: expect_code("it", -6, (0, 74))),
            ("an exit code of no meaning", lambda: expect_code("it", 3, CTL_CODES)),
            ("a silent failure", lambda: expect_said("it", 74, "")),
            ("a loss", lose_an_event)):
        begun = time.monotonic()
        try:
            act()
            print(f"negative: {what} is NOT noticed")
            missed += 1
        except Broken:
            print(f"negative: {what} is noticed after {time.monotonic() - begun:.2f} s")
    return missed


def lose_an_event():
    """The template again, as though one event more had been acknowledged."""
    root = make_root()
    TEMPLATES_ACKED.append("never stored")
    try:
        broker_trial(root, Preload(root), False)
    finally:
        TEMPLATES_ACKED.pop()
        remove_root(root)


def choose(arguments, subjects):
    faults = [fault for subject in subjects for fault in list_faults(subject)]
    print(f"{len(faults)} faults: " + ", ".join(
        f"{subject} {sum(fault.subject == subject for fault in faults)}" for subject in subjects),
        flush=True)
    random.Random(arguments.seed).shuffle(faults)
    return faults if arguments.all else faults[:arguments.count]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=4)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", action="append")
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--trial", nargs=5)
    return parser.parse_args()


def main():
    arguments = parse()
    counts = collections.Counter()
    failed = 0
    begun = time.monotonic()
    seconds = arguments.seconds
    if seconds is None and arguments.count is None and not arguments.all:
        seconds = 40
    print(f"seed {arguments.seed}", flush=True)
    prepare()
    subjects = [subject for subject in ("create", "reopen", *CTL_SUBJECTS)
                if arguments.only is None or subject in arguments.only]
    try:
        if arguments.negative:
            failed = negative()
            counts["negative"] = 4 - failed
        elif arguments.trial:
            subject, name, *numbers = arguments.trial
            failed += not try_one(Fault(subject, name, *map(int, numbers)), counts)
        else:
            situations = lib_situations.chosen(arguments.only)
            for name, situation in situations:
                failed += not lib_situations.try_one(name, situation, arguments.seed, counts)
            for fault in choose(arguments, subjects):
                if seconds is not None and time.monotonic() - begun > seconds:
                    break
                failed += not try_one(fault, counts)
    finally:
        SHARED.stop()
        remove_root(TEMPLATES / "shared")
        remove_root(TEMPLATES)
    print(", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    passed = sum(counts.values()) - counts["hits"]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
