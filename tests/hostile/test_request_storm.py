#!/usr/bin/env python3
"""Eight clients ask the real broker at once for what makes it wait: numbers of named producers, each
sent twice at once so that one finds the other not yet applied, deletions of snapshots, which begin a
batch of their own, appends that fill a batch, questions about a name; beside producers that fill
batches through the ring. Each request gets one reply, and each reply says the truth.

  test_request_storm.py [--seed S] [--seconds N]
  test_request_storm.py --negative    a broker that is halted must be noticed"""
import argparse
import collections
import os
import pathlib
import random
import signal
import struct
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(SOURCE / "tests" / "integration"), str(HERE)]
from lib_protocol import Requests, append, event, pack, unpack  # noqa: E402
from test_hostile import GOOD_UID, Broken, World, check  # noqa: E402

CLIENTS = 8
LANE_BYTES = 4 << 20  # a transaction may be an eighth of it
OK, NOT_FOUND = 0, 2
APPEND, SAVE, DELETE, PRODUCER = 2, 9, 12, 18
PATIENCE_S = 30  # of a client, for one reply


class Asker:
    """One client with a name, a stream and a memory of its own."""

    def __init__(self, run, index, seed, until, patience_s=PATIENCE_S):
        self.run, self.until, self.patience_s = run, until, patience_s
        self.random = random.Random(seed * CLIENTS + index)
        self.name, self.stream = f"storm-{index}", f"prod:main:L0:storm:M{index}"
        self.number = self.sequence = 0
        self.saved = (NOT_FOUND,)  # how a deletion may be answered
        self.last = None  # the transaction of the last number, and its result
        self.answered = collections.Counter()
        self.worst_s = 0.0
        self.begun = threading.Event()  # something was answered
        self.problem = None
        self.thread = threading.Thread(target=self.act, daemon=True)

    def ask(self, what, verb, *arguments):
        begun = time.monotonic()
        status, _, rest = self.client.ask(verb, *arguments)
        self.worst_s = max(self.worst_s, time.monotonic() - begun)
        self.answered[what] += 1
        return status, rest

    def expect(self, holds, what, *facts):
        if not holds:
            raise Broken(f"{self.name}: {what}: {facts}")

    def ask_both(self, what, first, second):
        """One request on each of two connections, under way at once."""
        begun = time.monotonic()
        posted = []
        for client, request in ((self.client, first), (self.twin, second)):
            client.number = (client.number + 1) & 0x7FFFFFFF
            posted.append((client, struct.pack(">I", 0x80000000 | client.number)))
            client.send(posted[-1][1] + pack([1, *request]))
        replies = []
        for client, request_id in posted:
            reply = client.receive()
            self.expect(reply[:4] == request_id, "whose reply", reply[:4], request_id)
            _, status, _, *rest = unpack(reply[4:])
            replies.append((status, rest))
        self.worst_s = max(self.worst_s, time.monotonic() - begun)
        self.answered[what] += 1
        return replies

    def append_next(self, size, twice=False):
        transaction = pack([1, self.number + 1,
                            [append(self.stream, [event(self.sequence + 1, "Asked", b"x" * size)],
                                    self.sequence)]])
        if twice:  # whichever comes second waits until the first is applied
            request = APPEND, transaction, 0, self.name
            (status, rest), second = self.ask_both("append", request, request)
            self.expect(second == (status, rest), "the same at once", status, rest, second)
        else:
            status, rest = self.ask("append", APPEND, transaction, 0, self.name)
        self.expect(status == OK, "an append", status, rest)
        self.number, self.sequence = self.number + 1, self.sequence + 1
        self.expect(rest[0][3] == self.sequence, "its sequence", rest, self.sequence)
        self.last = transaction, rest[0]

    def repeat(self):
        """Its first result again, and nothing is stored."""
        status, rest = self.ask("repeat", APPEND, self.last[0], 0, self.name)
        self.expect(status == OK and rest[0] == self.last[1], "a repeat", status, rest, self.last)

    def question(self):
        status, rest = self.ask("question", PRODUCER, self.name, self.number)
        self.expect(status == OK and rest[0] == self.number and rest[2], "a question", status, rest)

    def save(self):
        status, rest = self.ask("save", SAVE, self.stream, self.sequence, self.sequence, "sums", 1,
                                b"state")
        self.expect(status == OK, "a snapshot", status, rest)
        self.saved = (OK,)

    def save_and_delete(self):
        """A deletion waits for what is saved before it, in a batch that is not applied."""
        replies = self.ask_both("save and delete", (SAVE, self.stream, self.sequence, self.sequence,
                                                    "sums", 1, b"state"),
                                (DELETE, self.stream, None, "sums"))
        self.expect(all(status in (OK, NOT_FOUND) for status, _ in replies), "both", replies)
        self.saved = (OK, NOT_FOUND)

    def delete(self):
        status, rest = self.ask("delete", DELETE, self.stream, None, "sums")
        self.expect(status in self.saved, "a deletion", status, rest)
        self.saved = (NOT_FOUND,)

    def act(self):
        try:
            self.client, self.twin = Requests(str(self.run)), Requests(str(self.run))
            for client in (self.client, self.twin):
                client.socket.settimeout(self.patience_s)
            self.append_next(10)
            self.begun.set()
            while time.monotonic() < self.until:
                kind = self.random.randrange(16)
                if kind == 0:
                    self.append_next(self.random.randrange(200_000, 450_000))
                elif kind < 4:
                    self.append_next(self.random.randrange(600))
                elif kind < 7:
                    self.append_next(self.random.randrange(600), twice=True)
                elif kind < 9:
                    self.repeat()
                elif kind < 10:
                    self.question()
                elif kind < 12:
                    self.save()
                elif kind < 14:
                    self.save_and_delete()
                else:
                    self.delete()
            self.client.close()
            self.twin.close()
        except (Broken, OSError, AssertionError, ValueError) as error:
            self.problem = f"{self.name}, after {dict(self.answered)}: {error!r}"


def storm(world, seed, seconds, patience_s=PATIENCE_S):
    until = time.monotonic() + seconds
    askers = [Asker(world.run, index, seed, until, patience_s) for index in range(CLIENTS)]
    for asker in askers:
        asker.thread.start()
    return askers


def await_all(askers):
    """What they were answered, by kind, and the longest wait."""
    answered = collections.Counter()
    for asker in askers:
        asker.thread.join()
        answered += asker.answered
    problems = [asker.problem for asker in askers if asker.problem]
    if problems:
        raise Broken("\n".join(problems))
    return answered, max(asker.worst_s for asker in askers)


def run(seed, seconds):
    world = World(seed, LANE_BYTES)
    passed = failed = 0
    try:
        for _ in range(3):
            world.start_hammer(GOOD_UID)
        answered, worst_s = await_all(storm(world, seed, seconds))
        passed += 1
        told, events = world.end()
        asked = [one for one in events if one["stream"].startswith("prod:main:L0:storm:")]
        if len(asked) != answered["append"]:
            raise Broken(f"{answered['append']} appends were answered, {len(asked)} are stored")
        check(told, events, 0, True)  # the storm's own are checked as they are answered
        passed += 1
        print(", ".join(f"{count} {kind}s" for kind, count in sorted(answered.items())) +
              f" answered, the slowest after {worst_s * 1000:.0f} ms; {len(events)} events stored")
    except (Broken, OSError, AssertionError) as error:
        failed += 1
        print(f"FAILED: {error}\n{world.said()}\n  again: {sys.argv[0]} --seed {seed} "
              f"--seconds {seconds}")
    finally:
        world.clean_up()
    return passed, failed


def negative(seed):
    world = World(seed, LANE_BYTES)
    begun = 0.0
    try:
        askers = storm(world, seed, 2, patience_s=1)
        askers[0].begun.wait(PATIENCE_S)
        begun = time.monotonic()
        world.broker.send_signal(signal.SIGSTOP)
        await_all(askers)
        print("negative: a broker that answers nothing is NOT noticed")
        return 0, 1
    except Broken:
        print(f"negative: a broker that answers nothing is noticed after "
              f"{time.monotonic() - begun:.2f} s")
        return 1, 0
    finally:
        world.broker.send_signal(signal.SIGCONT)
        world.clean_up()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=7)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--negative", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    passed, failed = (negative(arguments.seed) if arguments.negative else
                      run(arguments.seed, arguments.seconds))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
