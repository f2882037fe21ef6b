#!/usr/bin/env python3
"""A broker that may not have the memory that it wants, under large payloads: it goes on, refuses
with a status and words, or stops with an exit code and a message. What it acknowledged is there
after a start without the limit, with its bytes and once; what it refused is not.

  test_memory_limit.py [--seed S] [--all | --seconds N] [--negative]
Limits: of data and of address space (setrlimit), and memory.max of a cgroup (v2), for which it
takes root and a memory controller; where that is missing it says so and counts as not run."""
import argparse
import collections
import os
import pathlib
import random
import resource
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(HERE), str(SOURCE / "tests" / "integration")]
from lib_protocol import Requests, append, event, unpack  # noqa: E402
from lib_trial import Broken, Broker, expect_code, expect_said, make_root, remove_root  # noqa: E402

CODES = (0, 70, 71, 73, 74, 75)
OPTIONS = ("--lane-bytes", "4194304", "--log-segment-bytes", "8388608")
WRITERS = 4
APPENDS = 30  # of each writer
PAYLOAD_BYTES = 200 << 10
MIB = 1 << 20
# A part of what an idle broker has, from its start; so many MiB more than it has, once it is ready.
PARTS = (0.3, 0.6, 0.9)
ABOVE = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 256)
SHORT = (0.6, 2, 256)


# ---- limits --------------------------------------------------------------------------------------


class ResourceLimit:
    """setrlimit() of the broker alone."""

    def __init__(self, name, what, field):
        self.name, self.what, self.field = name, what, field

    def is_there(self):
        return True

    def used_bytes(self, broker):
        return field_of(broker, self.field)

    def enter(self, size):
        return lambda: size is not None and resource.setrlimit(self.what, (size, size))

    def tighten(self, broker, size):
        resource.prlimit(broker.process.pid, self.what, (size, size))

    def was_killed(self):
        return False

    def leave(self):
        pass


class MemoryGroup:
    """memory.max of a cgroup (v2) of its own: the kernel kills who needs more."""

    name = "memory.max"

    def __init__(self):
        self.directory = None

    def is_there(self):
        for line in pathlib.Path("/proc/self/mounts").read_text(encoding="ascii").splitlines():
            _, place, kind, *_ = line.split(" ")
            top = pathlib.Path(place)
            try:
                if kind == "cgroup2" and "memory" in (
                        top / "cgroup.controllers").read_text(encoding="ascii").split():
                    self.make(top)
                    return True
            except OSError:
                self.leave()
        print("NOT RUN: memory.max: no cgroup (v2) with a memory controller may be made here",
              flush=True)
        return False

    def make(self, top):
        (top / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
        directory = top / f"eventspine-test-{os.getpid()}"
        directory.mkdir()
        self.directory = directory
        (directory / "memory.swap.max").write_text("0", encoding="ascii")

    def used_bytes(self, broker):
        return field_of(broker, "RssAnon") + field_of(broker, "RssShmem")

    def tighten(self, broker, size):
        (self.directory / "memory.max").write_text(str(size), encoding="ascii")

    def enter(self, size):
        self.tighten(None, "max" if size is None else size)
        procs = str(self.directory / "cgroup.procs")

        def join():
            with open(procs, "w", encoding="ascii") as file:
                file.write("0")
        return join

    def was_killed(self):
        events = (self.directory / "memory.events").read_text(encoding="ascii")
        return dict(line.split() for line in events.splitlines()).get("oom_kill", "0") != "0"

    def leave(self):
        if self.directory is not None:
            self.directory.rmdir()
            self.directory = None


def field_of(broker, field):
    status = pathlib.Path(f"/proc/{broker.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines()
                if line.startswith(field + ":"))


# ---- load ----------------------------------------------------------------------------------------


def payload_of(writer, number):
    """Different bytes for each, and the same whenever it is asked for."""
    return random.Random(f"{writer} {number}").randbytes(64) * (PAYLOAD_BYTES // 64)


def stream_of(writer):
    return f"t:m:L0:large:M{writer}"


class Load:
    """Writers, each of a stream of its own, and a reader of everything beside them."""

    def __init__(self, broker):
        self.broker = broker
        self.fates = {}  # (writer, number): "A", "N"; not there: unknown, or never sent
        self.refusals = collections.Counter()
        self.broken = []

    def write(self, writer):
        client = Requests(str(self.broker.run))
        for number in range(APPENDS):
            one = event(number, "Large", payload_of(writer, number))
            status, result = client.append([append(stream_of(writer), [one])])
            if status == 0 and result[0] == 0:
                self.fates[writer, number] = "A"
            else:
                self.refuse(status, result)
                if status != -6:  # unknown
                    self.fates[writer, number] = "N"
        client.close()

    def read(self):
        client = Requests(str(self.broker.run))
        for _ in range(APPENDS):
            status, _, rest = client.ask(4, 1, 1000, None)
            if status != 0:
                self.refuse(status, rest[0])
        client.close()

    def refuse(self, status, words):
        self.refusals[status] += 1
        if not isinstance(words, (str, list)) or not words:
            self.broken.append(f"status {status} comes without words")

    def guarded(self, act, *arguments):
        try:
            act(*arguments)
        except (OSError, AssertionError):
            pass  # the connection broke: what was asked last is unknown
        except Exception as error:  # a thread must not hide it
            self.broken.append(f"{type(error).__name__}: {error}")

    def run(self):
        threads = [threading.Thread(target=self.guarded, args=(self.write, writer))
                   for writer in range(WRITERS)]
        threads.append(threading.Thread(target=self.guarded, args=(self.read,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.broken:
            raise Broken(self.broken[0])


def expect_stored(broker, fates):
    """Each event that is there is one that was written, once and with its bytes."""
    client = Requests(str(broker.run))
    for writer in range(WRITERS):
        numbers, at, is_end = [], 1, False
        while not is_end:
            status, _, rest = client.ask(3, stream_of(writer), at, 1000, False)
            if status == 2:
                break
            if status != 0:
                raise Broken(f"it cannot be read: {rest}")
            for item in rest[0]:
                envelope = unpack(item[3])
                numbers.append(envelope[5])
                if envelope[7] != payload_of(writer, envelope[5]):
                    raise Broken(f"event {numbers[-1]} of {writer} has other bytes")
            is_end, at = rest[1], rest[2]
        if len(numbers) != len(set(numbers)):
            raise Broken(f"stored twice: {max(numbers, key=numbers.count)} of {writer}")
        for number in range(APPENDS):
            fate = fates.get((writer, number))
            if (fate == "A") != (number in numbers) and fate is not None:
                raise Broken(f"event {number} of {writer}: told {fate}, and it is "
                             f"{'' if number in numbers else 'not '}there")
    client.close()


# ---- trials --------------------------------------------------------------------------------------


def measure(limit):
    """What an idle broker has of what is limited."""
    root = make_root()
    try:
        broker = Broker(root, *OPTIONS)
        broker.wait_ready()
        size = limit.used_bytes(broker)
        expect_code("the broker", broker.stop(), (0,))
        return size
    finally:
        remove_root(root)


def trial(limit, level, idle, counts):
    """What became of it: "went on", "refused", "stopped" or "did not start"."""
    root = make_root()
    load = Load(None)
    what = "did not start"
    try:
        size = int(level * idle) if isinstance(level, float) else None
        broker = Broker(root, *OPTIONS, before=limit.enter(size))
        if broker.wait_ready():
            if size is None:
                limit.tighten(broker, limit.used_bytes(broker) + level * MIB)
            load = Load(broker)
            load.run()
            what = "refused" if load.refusals else "went on"
            what = what if broker.is_alive() else "stopped"
        code = broker.stop()
        if not (code == -9 and limit.was_killed()):
            # 127: not even its libraries had room.
            expect_code("the broker", code, (*CODES, 127) if what == "did not start" else CODES)
        if code > 0:
            expect_said("the broker", code, broker.said())
        after = Broker(root, *OPTIONS)
        if not after.wait_ready():
            raise Broken(f"the next start fails: {after.said()}")
        expect_stored(after, load.fates)
        expect_code("the next broker", after.stop(), (0,))
    finally:
        remove_root(root)
    counts[what] += 1
    counts["acknowledged"] += sum(fate == "A" for fate in load.fates.values())
    return what


def try_limit(limit, levels, counts, until):
    """How many trials failed; one more if the limits limit nothing, or everything."""
    if not limit.is_there():
        counts["not run"] += 1
        return 0
    failed, seen = 0, set()
    try:
        idle = measure(limit)
        for level in levels:
            if time.monotonic() > until:
                return failed
            text = f"{limit.name}: " + (f"{level} of what it needs" if isinstance(level, float)
                                        else f"{level} MiB more than it has")
            try:
                what = trial(limit, level, idle, counts)
                seen.add(what)
                print(f"{text}: {what}", flush=True)
            except (Broken, subprocess.SubprocessError, OSError) as error:
                print(f"FAILED {text}: {error}", flush=True)
                failed += 1
    finally:
        limit.leave()
    if "went on" not in seen or len(seen) == 1:
        print(f"FAILED {limit.name}: it limits nothing, or everything: {seen}", flush=True)
        failed += 1
    return failed


def negative(counts):
    """Each of these must be told; returns how many were not."""
    root = make_root()
    missed = 0
    broker = Broker(root, *OPTIONS)
    load = Load(broker)
    try:
        broker.wait_ready()
        for what, act in (
                ("a loss", lambda: expect_stored(broker, {(0, 0): "A"})),
                ("nothing amiss", lambda: (load.run(), expect_stored(broker, load.fates))),
                ("a refused event that is there", lambda: expect_stored(
                    broker, {**load.fates, (0, 0): "N"})),
                ("an event twice", lambda: repeat(broker, load, payload_of(1, 0))),
                ("other bytes", lambda: repeat(broker, load, b"other")),
                ("a refusal without words", lambda: expect_words(load)),
                ("a death by signal", lambda: expect_code("it", -6, CODES))):
            noticed = None
            try:
                act()
            except Broken as error:
                noticed = error
            print(f"negative: {what} is {'NOT ' if noticed is None else ''}noticed: {noticed}")
            if (noticed is None) == (what == "nothing amiss"):
                counts["negative"] += 1
            else:
                missed += 1
    finally:
        broker.stop()
        remove_root(root)
    return missed


def repeat(broker, load, payload):
    client = Requests(str(broker.run))
    client.append([append(stream_of(1), [event(0, "Large", payload)])])
    client.close()
    expect_stored(broker, load.fates)


def expect_words(load):
    load.refuse(-2, "")
    if load.broken:
        raise Broken(load.broken[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=4)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--negative", action="store_true")
    arguments = parser.parse_args()
    counts = collections.Counter()
    failed = 0
    levels = PARTS + ABOVE if arguments.all or arguments.seconds else SHORT
    until = time.monotonic() + (arguments.seconds or 10 ** 9)
    print(f"seed {arguments.seed}", flush=True)
    if arguments.negative:
        failed = negative(counts)
    else:
        for limit in (ResourceLimit("data", resource.RLIMIT_DATA, "VmData"),
                      ResourceLimit("address space", resource.RLIMIT_AS, "VmSize"), MemoryGroup()):
            failed += try_limit(limit, levels, counts, until)
    acknowledged, not_run = counts.pop("acknowledged", 0), counts.pop("not run", 0)
    print(", ".join(f"{what} {count}" for what, count in sorted(counts.items())) +
          f"; {acknowledged} events acknowledged, and found; {not_run} not run")
    print(f"{sum(counts.values())} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
