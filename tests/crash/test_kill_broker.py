#!/usr/bin/env python3
"""A real broker, killed with SIGKILL again and again at random moments (while it serves, while it
starts, sometimes asked to stop instead) and started again on the same directories, while producers
append through the ring and are killed and replaced too. In the end everything that was acknowledged
must be there exactly once with its position, sequence, hash and bytes; nothing that was refused;
each producer's events in its own order and without holes; positions without gaps; and
`esctl verify` content.

  test_kill_broker.py [SECONDS]      ES_SEED=N repeats the choices of a run
Afterwards the checker itself is tried: losses, repeats and swaps planted into what it was given
must each be found."""
import base64
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ["ES_BUILD_DIR"])
BIN = BUILD / "bin"
HAMMER = str(BUILD / "tests" / "crash" / "hammer")
PRODUCERS = 4
PATIENCE_S = 120
SLOTS = (64, 256, 65536)
SEGMENT_BYTES = 256 * 1024


class Broken(Exception):
    """A promise is."""


def is_hopeless(number):
    return number % 5 == 4


def payloads(name, number):
    """The bytes of this append's events: as hammer.c makes them."""
    count = 3 if number % 7 == 3 else 1
    filler = b"x" * (number * 7919 % 1500)
    return [b"\xC1 %s %d %d " % (name.encode(), number, i) + filler for i in range(count)]


class Told:
    """What one producer has said."""

    def __init__(self, name, stream, is_ordered, lines):
        self.name = name
        self.stream = stream
        self.is_ordered = is_ordered
        self.acknowledged = {}
        self.refused = set()
        self.excused = set()  # unknown, or never sent
        self.resumed = [1]
        for line in lines:
            word, *rest = line.split()
            if word == "A":
                self.acknowledged[int(rest[0])] = (int(rest[1]), int(rest[2]), rest[3])
            elif word == "R":
                self.refused.add(int(rest[0]))
            elif word in "UF":
                self.excused.add(int(rest[0]))
            elif word == "O":
                self.resumed.append(int(rest[0]))

    def is_blocked(self, number):
        """Ordered: something before it, since the last resume, is refused for certain."""
        if not self.is_ordered:
            return False
        begin = max(at for at in self.resumed if at <= number)
        return any(is_hopeless(other) and other not in self.excused
                   for other in range(begin, number))


def check_one(told, stored):
    """'stored': of this producer's events, (number, index, position, sequence, hash, payload)."""
    appends = collections.OrderedDict()
    for number, index, position, sequence, digest, payload in stored:
        appends.setdefault(number, []).append((index, position, sequence, digest, payload))
    last = 0
    for number, events in appends.items():
        expected = payloads(told.name, number)
        where = f"{told.name}: append {number}"
        if number <= last:
            raise Broken(f"{where} is behind {last}: reordered or repeated")
        for missing in range(last + 1, number):
            if not (is_hopeless(missing) or missing in told.refused or missing in told.excused or
                    told.is_blocked(missing)):
                raise Broken(f"{where} is there, but {missing} before it is not")
        last = number
        if is_hopeless(number) or number in told.refused:
            raise Broken(f"{where} was refused, and is there")
        if told.is_blocked(number):
            raise Broken(f"{where} is there in spite of a refusal before it in its order")
        if [event[0] for event in events] != list(range(len(expected))):
            raise Broken(f"{where} is there in part or twice: {[event[:3] for event in events]}")
        if [event[4] for event in events] != expected:
            raise Broken(f"{where} has other bytes")
        if number in told.acknowledged and events[-1][1:4] != told.acknowledged[number]:
            raise Broken(f"{where} was acknowledged as {told.acknowledged[number]}, "
                         f"and is there as {events[-1][1:4]}")
    for number in told.acknowledged:
        if number not in appends:
            raise Broken(f"{told.name}: append {number} was acknowledged, and is lost")


def check(all_told, lines):
    stored = collections.defaultdict(list)
    sequences = collections.Counter()
    for expected, line in enumerate(lines, 1):
        event = json.loads(line)
        if event["position"] != expected:
            raise Broken(f"position {event['position']} where {expected} should be")
        sequences[event["stream"]] += 1
        if event["sequence"] != sequences[event["stream"]]:
            raise Broken(f"position {expected}: sequence {event['sequence']} of {event['stream']}")
        payload = base64.b64decode(event["payload_base64"])
        try:
            name, number, index = payload.split(b" ", 4)[1:4]
            stored[name.decode()].append((int(number), int(index), event["position"],
                                          event["sequence"], event["hash"], payload))
        except ValueError as error:
            raise Broken(f"position {expected}: bytes of nobody ({error})") from error
    for told in all_told:
        check_one(told, stored.pop(told.name, []))
    if stored:
        raise Broken(f"events of nobody: {list(stored)}")


def plant(all_told, lines, what, random_source):
    """The same lines with one fault in them, positions and sequences made whole again."""
    events = [json.loads(line) for line in lines]
    acknowledged = sorted(receipt[0] for told in all_told for receipt in told.acknowledged.values())
    at = random_source.choice(acknowledged) - 1
    if what == "a loss":
        del events[at]
    elif what == "a lost tail":
        del events[acknowledged[-1] - 1:]
    elif what == "a repeat":
        events.insert(at, dict(events[at]))
    elif what == "a swap":
        other = next(i for i, event in enumerate(events)
                     if i > at and event["stream"] == events[at]["stream"]) if any(
                         event["stream"] == events[at]["stream"] for event in events[at + 1:]) else 0
        events[at], events[other] = events[other], events[at]
    elif what == "other bytes":
        changed = bytearray(base64.b64decode(events[at]["payload_base64"]))
        changed[-1] ^= 1
        events[at]["payload_base64"] = base64.b64encode(bytes(changed)).decode()
    elif what == "a refused one":
        told = next(told for told in all_told if told.refused)
        number = min(told.refused)
        events.append(dict(events[at], stream=told.stream, payload_base64=base64.b64encode(
            payloads(told.name, number)[0]).decode()))
    sequences = collections.Counter()
    for position, event in enumerate(events, 1):
        sequences[event["stream"]] += 1
        event.update(position=position, sequence=sequences[event["stream"]])
    return [json.dumps(event) for event in events]


FAULTS = ("a loss", "a lost tail", "a repeat", "a swap", "other bytes", "a refused one")


class Torture:
    def __init__(self, root, seconds, seed):
        self.root = root
        self.random = random.Random(seed)
        self.seconds = seconds
        self.data = root / "data"
        # on tmpfs, so that shared memory lies in it and goes with it
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir="/dev/shm"))
        self.broker = None
        self.producers = []
        self.all_started = []
        self.counts = collections.Counter()
        self.errors = open(root / "errors", "w+", encoding="utf-8")
        durability = self.random.choice(("fsync", "os"))
        self.command = [str(BIN / "esbroker"), "--data", str(self.data), "--run", str(self.run),
                        "--slots", str(self.random.choice(SLOTS)), "--lane-bytes", "65536",
                        "--log-segment-bytes", str(SEGMENT_BYTES), "--reserve-bytes", "0",
                        "--log-level", "error", "--durability", durability]

    def start_broker(self, is_awaited):
        self.broker = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=self.errors,
                                       text=True)
        self.counts["starts"] += 1
        if is_awaited:
            line = self.broker.stdout.readline()
            if not line.startswith("ready"):
                raise Broken(f"the broker did not start: code {self.broker.wait(PATIENCE_S)}")

    def let_it_live(self, seconds):
        try:
            code = self.broker.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise Broken(f"the broker ended by itself with {code}")

    def end_broker(self, how):
        self.broker.send_signal(how)  # it may not even have got to block SIGTERM
        code = self.broker.wait(PATIENCE_S)
        self.broker.stdout.close()
        if code != 0 and code != -how:
            raise Broken(f"the broker ended by itself with {code}")

    def start_producer(self):
        number = len(self.all_started)
        name = f"p{number}"
        stream = f"prod:main:L0:kill{number % 3}:M{number % 6}"
        order = self.random.choice(("ordered", "free"))
        path = self.root / name
        with open(path, "w", encoding="utf-8") as out:
            process = subprocess.Popen([HAMMER, str(self.run), name, stream, order], stdout=out,
                                       stderr=self.errors)
        self.producers.append(process)
        self.all_started.append((name, stream, order == "ordered", path))

    def kill_a_producer(self):
        process = self.producers.pop(self.random.randrange(len(self.producers)))
        process.kill()
        process.wait(PATIENCE_S)
        self.counts["producers killed"] += 1
        self.start_producer()

    def go(self):
        until = time.monotonic() + self.seconds
        while len(self.producers) < PRODUCERS:
            self.start_producer()
        while time.monotonic() < until:
            self.start_broker(is_awaited=self.random.random() < 0.8)
            self.let_it_live(self.random.choice((0.02, 0.2, 0.8)) * self.random.random())
            while self.random.random() < 0.4:
                self.kill_a_producer()
            how = signal.SIGTERM if self.random.random() < 0.15 else signal.SIGKILL
            self.end_broker(how)
            self.counts[how.name] += 1
        self.start_broker(is_awaited=True)
        for process in self.producers:
            process.terminate()
        for process in self.producers:
            if process.wait(PATIENCE_S) != 0:
                raise Broken(f"a producer ended with {process.returncode}")

    def result(self):
        export = subprocess.run([str(BIN / "esctl"), "--run", str(self.run), "export",
                                 "--events-only"], stdout=subprocess.PIPE, text=True,
                                timeout=PATIENCE_S, check=True).stdout.splitlines()
        subprocess.run([str(BIN / "esctl"), "--run", str(self.run), "verify"], timeout=PATIENCE_S,
                       stdout=subprocess.DEVNULL, check=True)
        self.end_broker(signal.SIGTERM)
        subprocess.run([str(BIN / "esctl"), "verify", "--data", str(self.data)],
                       stdout=subprocess.DEVNULL, timeout=PATIENCE_S, check=True)
        told = []
        for name, stream, is_ordered, path in self.all_started:
            text = path.read_text(encoding="utf-8")
            told.append(Told(name, stream, is_ordered, text[:text.rfind("\n") + 1].splitlines()))
        return told, export

    def clean_up(self):
        for process in self.producers + [self.broker]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)
        shutil.rmtree(self.run, ignore_errors=True)
        self.errors.seek(0)
        return self.errors.read()


def try_the_checker(told, export, random_source):
    for what in FAULTS:
        try:
            check(told, plant(told, export, what, random_source))
        except Broken:
            continue
        raise Broken(f"the checker does not see {what}")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(os.environ.get("ES_SEED", "0"), 0) or random.SystemRandom().getrandbits(32)
    root = pathlib.Path(tempfile.mkdtemp(prefix="es-"))
    torture = Torture(root, seconds, seed)
    print(f"ES_SEED={seed} {' '.join(torture.command[5:])}", flush=True)
    try:
        torture.go()
        told, export = torture.result()
        check(told, export)
        try_the_checker(told, export, torture.random)
    except (Broken, subprocess.SubprocessError) as error:
        said = torture.clean_up()
        print(f"{error}\nkept: {root}\n{said[-4000:]}")
        return 1
    torture.clean_up()
    acknowledged = sum(len(one.acknowledged) for one in told)
    refused = sum(len(one.refused) for one in told)
    print(f"{len(export)} events, {acknowledged} appends acknowledged, {refused} refused, "
          f"{dict(torture.counts)}; {len(FAULTS)} planted faults found")
    shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
