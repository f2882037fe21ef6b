#!/usr/bin/env python3
"""Every public call of libeventspine, and each allocation and system call in it failing once, with
each errno that it can plausibly have. Whatever fails: the call says so in words, the same call on
the same handle works when it is made again; nothing is said to be stored that is not, nothing is
stored twice; no descriptor, memory, mapping or lane is left behind; nobody dies and nobody hangs.

  test_client_calls.py [--seed S] [--seconds N | --count N | --all] [--only SUBJECT] [--negative]
  test_client_calls.py --trial SUBJECT NAME OFFSET OCCURRENCE ERRNO     one of them again
Subjects: plain (every call), restarts (the broker is killed twice meanwhile; its shared memory is
found again, or gone). exhaustion_client is the program that makes the calls."""
import argparse
import collections
import errno
import os
import pathlib
import random
import select
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(HERE), str(SOURCE / "tests" / "integration")]
from lib_faults import ERRNOS, Fault, Preload  # noqa: E402
from lib_protocol import Requests, unpack  # noqa: E402
from lib_trial import (  # noqa: E402
    PATIENCE_S, Broken, Broker, expect_code, make_root, remove_root, remove_shared_memory)

LANES_S = 5  # until a lane that was given back is free
LIBRARY = "libeventspine.so"
CLIENT = BUILD / "tests" / "exhaustion" / "exhaustion_client"
SUBJECTS = ("plain", "restarts")
LEFT = (64, 1)  # closed handles that the library keeps for a while, and its page for fork
FIXED = {"plain": 60, "restarts": 3}  # trials without a wish, as in ctest

# A mistake in the library, and where a call must fail to bring it to light: exhaustion.cmake.
PLANTED = {
    "unchecked_allocation": ("plain", "calloc", "died by SIGSEGV"),
    "descriptor_leak": ("plain", "mmap", "descriptors are left open"),
    "lane_kept": ("plain", "madvise", "lanes are left"),
    "memory_leak": ("plain", "epoll_create1", "left"),
    "connection_kept": ("plain", "calloc", "left"),
    "silent_failure": ("plain", "epoll_create1", "no word"),
    "sent_and_not_kept": ("restarts", "malloc", ""),
}


class World:
    """A broker, and the number of the next run beside it."""

    def __init__(self):
        self.root = make_root()
        self.number = 0
        self.broker = None
        self.start()

    def start(self):
        self.broker = Broker(self.root, "--durability", "os")
        if not self.broker.wait_ready():
            raise Broken(f"the broker does not start: {self.broker.said()}")

    def answer(self, word):
        """What the client asks for."""
        if word == "kill":
            self.broker.kill()
        elif word == "start-without-memory":
            remove_shared_memory(self.root)
            self.start()
        elif word == "start":
            self.start()
        elif word == "look":
            self.expect_no_lanes()
        else:
            raise Broken(f"it asks for {word}")

    def expect_no_lanes(self):
        until = time.monotonic() + LANES_S
        client = Requests(str(self.broker.run))
        count = None
        while count != 0:
            if time.monotonic() > until:
                raise Broken(f"{count} lanes are left")
            _, _, rest = client.ask(15)
            count = dict(map(tuple, rest[0]))["lanes_attached"]
        client.close()

    def close(self):
        if self.broker.is_alive():
            self.broker.kill()
        remove_root(self.root)


# ---- one run -------------------------------------------------------------------------------------


def run_client(world, subject, environment):
    """The lines that it has printed."""
    world.number += 1
    client = subprocess.Popen([str(CLIENT), str(world.broker.run), str(world.number), subject],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    lines, rest = [], b""
    try:
        while not rest.endswith(b"\0"):
            if not select.select([client.stdout], [], [], PATIENCE_S)[0]:
                raise Broken(f"the client hangs, after: {lines[-1:]}")
            found = os.read(client.stdout.fileno(), 65536)
            *whole, rest = (rest + (found or b"\n\0")).split(b"\n")
            lines += [line.decode() for line in whole if line]
            if whole and whole[-1].startswith(b"W "):
                world.answer(lines[-1][2:])
                client.stdin.write(b"done\n")
                client.stdin.flush()
        code = client.wait(PATIENCE_S)
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
        client.stdin.close()
        client.stdout.close()
    failed = [line for line in lines if line.startswith("F ")]
    expect_code(f"the client (after {failed})", code, (0, 3))
    if code != 0:
        raise Broken(f"{lines[-1] if lines else 'no word'}, after {failed}")
    return lines


def expect_book(world, lines):
    """What the client was told is what a client in another language finds."""
    book = collections.defaultdict(dict)
    keys = {}
    for line in lines:
        kind, *words = line.split(" ")
        if kind in "ANU":
            book[words[0]][words[1]] = kind
        elif kind == "K":
            keys[words[0], words[1]] = words[2]
    client = Requests(str(world.broker.run))
    for stream, fates in book.items():
        status, _, rest = client.ask(3, stream, 1, 1000, False)
        found = collections.Counter(unpack(item[3])[7].decode() for item in rest[0]) \
            if status == 0 else {}
        for payload, fate in fates.items():
            count = found.get(payload, 0)
            if count > 1 or (fate == "A" and count == 0) or (fate == "N" and count == 1):
                raise Broken(f"{payload} is stored {count} times, the client was told {fate}")
        if set(found) - set(fates):
            raise Broken(f"{stream} holds what nobody wrote: {set(found) - set(fates)}")
    for (space, key), value in keys.items():
        status, _, rest = client.ask(13, 0, space, key)
        if status != 0 or rest[1] != value.encode():
            raise Broken(f"the key {key} is not {value}")
    client.close()


def trial(world, subject, preload):
    lines = run_client(world, subject, preload.environment)
    if not world.broker.is_alive():
        raise Broken(f"the broker ended: {world.broker.said()}")
    expect_book(world, lines)
    left = preload.kept()
    if left != LEFT:
        raise Broken(f"left: {left[0] - LEFT[0]} allocations, {left[1] - LEFT[1]} mappings")


def list_faults(world, subject, library=None):
    """Each call of a run that could fail, as often as it is made, with each errno."""
    preload = Preload(world.root, library=LIBRARY, also=library)
    trial(world, subject, preload)
    calls, _ = preload.read()
    return [Fault(subject, name, offset, occurrence, error)
            for (name, offset), count in sorted(calls.items()) for occurrence in range(count)
            for error in ERRNOS[name]]


class Trials:
    """Tries faults, with a new broker after each that was not well."""

    def __init__(self):
        self.world = World()
        self.counts = collections.Counter()

    def attempt(self, fault, library=None):
        """None, or what is broken."""
        preload = Preload(self.world.root, fault, LIBRARY, library)
        try:
            trial(self.world, fault.subject, preload)
            self.counts[fault.subject] += 1
            self.counts["hits"] += preload.read()[1]
            return None
        except (Broken, subprocess.SubprocessError, OSError, AssertionError) as error:
            self.world.close()
            self.world = World()
            return str(error) or type(error).__name__


# ---- the parts of a test -------------------------------------------------------------------------


def negative(trials, seed):
    """Each planted mistake must be told; returns how many were not."""
    missed = 0
    for bug, (subject, name, words) in PLANTED.items():
        library = BUILD / "tests" / "exhaustion" / "planted" / bug / "libeventspine.so.0"
        begun = time.monotonic()
        faults = [fault for fault in list_faults(trials.world, subject, library)
                  if fault.name == name]
        random.Random(seed).shuffle(faults)
        for number, fault in enumerate(faults, 1):
            found = trials.attempt(fault, library)
            if found is not None:
                break
        if found is None or words not in found:
            print(f"negative: {bug} is NOT noticed in {len(faults)} trials: {found}")
            missed += 1
        else:
            print(f"negative: {bug} is noticed after {number} trials, "
                  f"{time.monotonic() - begun:.1f} s: {found[:150]}", flush=True)
    return missed


def each_place_first(faults):
    """One of every place and errno before any other of it."""
    seen = collections.Counter()

    def rank(fault):
        seen[fault.name, fault.offset, fault.error] += 1
        return seen[fault.name, fault.offset, fault.error]

    return sorted(faults, key=rank)


def choose(trials, arguments):
    chosen = []
    for subject in arguments.only or SUBJECTS:
        faults = list_faults(trials.world, subject)
        print(f"{subject}: {len(faults)} faults at "
              f"{len({fault.offset for fault in faults})} places", flush=True)
        random.Random(arguments.seed).shuffle(faults)
        if not arguments.all and arguments.seconds is None:
            faults = each_place_first(faults)[:arguments.count or FIXED[subject]]
        chosen += faults
    if arguments.seconds is not None:
        random.Random(arguments.seed).shuffle(chosen)
    return chosen


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=4)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None, help="of each subject")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", action="append", choices=SUBJECTS)
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--trial", nargs=5)
    return parser.parse_args()


def tell(fault, found):
    print(f"FAILED {fault.subject}: {fault.name} at 0x{fault.offset:x}, occurrence "
          f"{fault.occurrence}, {errno.errorcode[fault.error]}: {found}\n"
          f"  again: {sys.argv[0]} --trial {fault.subject} {fault.name} {fault.offset} "
          f"{fault.occurrence} {fault.error}", flush=True)


def main():
    arguments = parse()
    begun = time.monotonic()
    failed = 0
    print(f"seed {arguments.seed}", flush=True)
    trials = Trials()
    try:
        if arguments.negative:
            failed = negative(trials, arguments.seed)
            trials.counts = collections.Counter(negative=len(PLANTED) - failed)
        else:
            faults = choose(trials, arguments) if arguments.trial is None else [
                Fault(*arguments.trial[:2], *map(int, arguments.trial[2:]))]
            for fault in faults:
                if arguments.seconds is not None and time.monotonic() - begun > arguments.seconds:
                    break
                found = trials.attempt(fault)
                if found is not None:
                    tell(fault, found)
                    failed += 1
    finally:
        trials.world.close()
    print(", ".join(f"{what} {count}" for what, count in sorted(trials.counts.items())))
    print(f"{sum(trials.counts.values()) - trials.counts['hits']} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
