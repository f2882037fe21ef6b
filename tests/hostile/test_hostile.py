#!/usr/bin/env python3
"""Hostile producers and peers against the real broker, with good clients beside them: two of the
same user and two of another, appending through the ring, and one by requests. Whatever the hostile
process writes, sends or takes, the broker lives, serves the others, takes the offending lane away,
keeps to its memory, and stores of the good clients exactly what they were told.

  test_hostile.py [--seed S] [--seconds N] [--only ATTACK] [--list]
  test_hostile.py --negative          the checker must see what is planted
  test_hostile.py --p99 [--seconds N] latencies of another user, beside a harmless spinner and each
                                      attack in turn
As root the clients run as users of their own; else all are of one user, and that is said."""
import argparse
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

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(SOURCE / "tests" / "integration"), str(SOURCE / "tests" / "crash")]
from lib_protocol import Requests, append, event  # noqa: E402
from test_kill_broker import Broken, Told, check_one  # noqa: E402

PATIENCE_S = 60
MEMORY_MIB_MAX = 700
GROUP = "nogroup"
EVIL_UID, GOOD_UID = 61002, 61001
# Whoever looks at memory that its own user takes away is ended by the system.
MAY_END_NEIGHBOURS = ("truncate-ring",)
FLIPS = ("change-after-check", "bad-bodies")
SPINNER = ["/bin/sh", "-c", "while :; do :; done"]
# In the place of an attack with two threads a harmless program with two.
SPINNERS_FOR = {"change-after-check": 2}
P99_ATTACKS = ("flood", "flood-of-tickets", "scribble-ring", "replay-tickets", "ring-the-bell",
               "forge-headers", "scribble-lane", "change-after-check", "attach-and-leave", "crowd",
               "half-messages", "malformed-requests", "giant-frames", "connect-then-close")


def become(uid):
    """For preexec_fn: that user, if that can be."""
    def act():
        if os.geteuid() == 0:
            import grp
            os.setgroups([])
            os.setgid(grp.getgrnam(GROUP).gr_gid)
            os.setuid(uid)
    return act


class World:
    """The broker, and everybody who talks to it."""

    def __init__(self, seed, lane_bytes=65536):
        self.random = random.Random(seed)
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="es-hostile-"))
        os.chmod(self.root, 0o755)
        self.run = self.root / "run"
        self.run.mkdir(mode=0o700)
        self.errors = open(self.root / "errors", "w+", encoding="utf-8")
        group = ["--group", GROUP] if os.geteuid() == 0 else []
        self.broker = subprocess.Popen(
            [str(BUILD / "bin" / "esbroker"), "--data", str(self.root / "data"), "--run",
             str(self.run), "--lane-bytes", str(lane_bytes), "--reserve-bytes", "0", "--log-level",
             "error", *group], stdout=subprocess.PIPE, stderr=self.errors, text=True)
        if not self.broker.stdout.readline().startswith("ready"):
            raise Broken("the broker did not start: " + self.said())
        self.hammers = {}
        self.started = []
        self.requests = Requests(str(self.run))
        self.request_count = 0
        self.memory_mib = 0

    def said(self):
        self.errors.seek(0)
        return self.errors.read()[-2000:]

    def start_hammer(self, uid):
        name = f"p{len(self.started)}"
        stream = f"prod:main:L0:good:M{len(self.started)}"
        order = self.random.choice(("ordered", "free"))
        path = self.root / name
        with open(path, "w", encoding="utf-8") as out:
            self.hammers[name] = subprocess.Popen(
                [str(BUILD / "tests" / "crash" / "hammer"), str(self.run), name, stream, order],
                stdout=out, stderr=self.errors, preexec_fn=become(uid))
        self.started.append((name, stream, order == "ordered", path, uid))

    def attack(self, name, seed, seconds):
        return subprocess.Popen(
            [str(BUILD / "tests" / "hostile" / "hostile"), str(self.run), name, str(seed),
             str(seconds)], stdout=subprocess.PIPE, text=True, preexec_fn=become(EVIL_UID))

    def look_after(self, attack):
        """The broker is alive, small, and serves old and new clients."""
        if self.broker.poll() is not None:
            raise Broken(f"the broker ended with {self.broker.returncode}: {self.said()}")
        status = pathlib.Path(f"/proc/{self.broker.pid}/status").read_text(encoding="utf-8")
        peak = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) // 1024
        self.memory_mib = max(self.memory_mib, peak)
        if peak > MEMORY_MIB_MAX:
            raise Broken(f"the broker has {peak} MiB")
        self.ask(self.requests)
        fresh = Requests(str(self.run))
        self.ask(fresh)
        fresh.close()
        done = subprocess.run([str(BUILD / "bin" / "esctl"), "--run", str(self.run), "append",
                               "prod:main:L0:fresh:M1", "A", "--timeout", "30"],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False,
                              preexec_fn=become(GOOD_UID))
        if done.returncode != 0:
            raise Broken(f"a new client of another user is not served: {done.stderr}")
        for name, hammer in list(self.hammers.items()):
            if hammer.poll() is not None:
                uid = next(one[4] for one in self.started if one[0] == name)
                if attack not in MAY_END_NEIGHBOURS or (uid == GOOD_UID and os.geteuid() == 0):
                    raise Broken(f"{name}, a good client of {uid}, ended with {hammer.returncode}")
                del self.hammers[name]
                self.start_hammer(uid)

    def ask(self, client):
        status, result = client.append([append("prod:main:L0:asked:M1", [event(1, "A", b"x")])])
        if status != 0 or result[0] != 0:
            raise Broken(f"an append by request is answered {status} {result}")
        self.request_count += 1

    def end(self):
        """What each good client was told, and what is stored."""
        for hammer in self.hammers.values():
            hammer.terminate()
        for name, hammer in self.hammers.items():
            if hammer.wait(PATIENCE_S) != 0:
                raise Broken(f"{name} ended with {hammer.returncode}")
        self.requests.close()
        export = subprocess.run([str(BUILD / "bin" / "esctl"), "--run", str(self.run), "export",
                                 "--events-only"], stdout=subprocess.PIPE, text=True,
                                timeout=PATIENCE_S, check=True).stdout.splitlines()
        self.broker.send_signal(signal.SIGTERM)
        if self.broker.wait(PATIENCE_S) != 0:
            raise Broken(f"the broker ended with {self.broker.returncode}: {self.said()}")
        subprocess.run([str(BUILD / "bin" / "esctl"), "verify", "--data", str(self.root / "data")],
                       stdout=subprocess.DEVNULL, timeout=10 * PATIENCE_S, check=True)
        told = []
        for name, stream, is_ordered, path, _ in self.started:
            text = path.read_text(encoding="utf-8")
            told.append(Told(name, stream, is_ordered, text[:text.rfind("\n") + 1].splitlines()))
        return told, [json.loads(line) for line in export]

    def clean_up(self):
        for process in [*self.hammers.values(), self.broker]:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.broker.stdout.close()
        self.errors.close()
        digest = 0xcbf29ce484222325  # FNV-1a, as shm/segment.c names the directory
        for byte in os.path.realpath(self.run).encode():
            digest = (digest ^ byte) * 0x100000001b3 % (1 << 64)
        shutil.rmtree(f"/dev/shm/eventspine-{digest:016x}", ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)


# ---- the checker ---------------------------------------------------------------------------------


def is_whole(payload):
    """As fill_payload() of hostile.c makes it."""
    try:
        _, number, size, filler = payload.split(b" ", 3)
        return filler == bytes([ord("a") + int(number) % 26]) * int(size)
    except ValueError:
        return False


def check(told, events, request_count, flips):
    """'flips': some hostile process has changed its own records before it sealed them."""
    stored = collections.defaultdict(list)
    sequences = collections.Counter()
    asked = 0
    for expected, one in enumerate(events, 1):
        stream = one["stream"]
        sequences[stream] += 1
        if one["position"] != expected or one["sequence"] != sequences[stream]:
            raise Broken(f"position {expected} is {one['position']}, sequence {one['sequence']} of "
                         f"{stream}")
        payload = base64.b64decode(one.get("payload_base64", ""))
        if stream.startswith("prod:main:L0:good:"):
            name, number, index = payload.split(b" ", 4)[1:4]
            stored[stream].append((name.decode(), (int(number), int(index), expected,
                                                   one["sequence"], one["hash"], payload)))
        elif stream == "prod:main:L0:asked:M1":
            asked += 1
        elif stream != "prod:main:L0:fresh:M1" and not flips:
            if not stream.startswith("evil:") or not is_whole(payload):
                raise Broken(f"position {expected}: {stream} holds what nobody sealed: "
                             f"{payload[:60]}")
    for one in told:
        theirs = stored.pop(one.stream, [])
        if any(name != one.name for name, _ in theirs):
            raise Broken(f"{one.stream} holds events of others")
        check_one(one, [item for _, item in theirs])
    if stored:
        raise Broken(f"events of nobody: {list(stored)}")
    if asked != request_count:
        raise Broken(f"{request_count} appends by request were answered, {asked} are stored")


def plant(events, what, at):
    events = [dict(one) for one in events]
    chosen = [i for i, one in enumerate(events) if one["stream"].startswith("prod:main:L0:good:")
              and one["type"] == "Counted"]
    evil = [i for i, one in enumerate(events) if one["stream"].startswith("evil:")]
    index = chosen[int(at * len(chosen))]
    if what == "a loss":
        del events[index]
    elif what == "a repeat":
        events.insert(index, dict(events[index]))
    else:
        index = index if what == "other bytes" else evil[int(at * len(evil))]
        changed = bytearray(base64.b64decode(events[index]["payload_base64"]))
        changed[-1] ^= 1
        events[index]["payload_base64"] = base64.b64encode(bytes(changed)).decode()
    sequences = collections.Counter()
    for position, one in enumerate(events, 1):
        sequences[one["stream"]] += 1
        one.update(position=position, sequence=sequences[one["stream"]])
    return events


PLANTED = ("a loss", "a repeat", "other bytes", "bytes that nobody sealed")


def negative(seed):
    world = World(seed)
    missed = 0
    try:
        world.start_hammer(EVIL_UID)
        attack = world.attack("flood", seed, 1)
        attack.communicate(timeout=PATIENCE_S)
        world.look_after("flood")
        told, events = world.end()
        check(told, events, world.request_count, False)
        acked = {receipt[0] for one in told for receipt in one.acknowledged.values()}
        for what in PLANTED:
            begun = time.monotonic()
            try:
                check(told, plant(events, what, world.random.random()), world.request_count, False)
                print(f"negative: {what} is NOT noticed")
                missed += 1
            except Broken:
                print(f"negative: {what} among {len(acked)} acknowledged appends is noticed after "
                      f"{time.monotonic() - begun:.2f} s")
    finally:
        world.clean_up()
    return len(PLANTED) - missed, missed


# ---- the runs ------------------------------------------------------------------------------------


def list_attacks():
    return subprocess.run([str(BUILD / "tests" / "hostile" / "hostile"), "list"], text=True,
                          stdout=subprocess.PIPE, check=True).stdout.split()


def run_one(world, attack, seconds):
    seed = world.random.getrandbits(48)
    process = world.attack(attack, seed, max(1, round(seconds)))
    out, _ = process.communicate(timeout=PATIENCE_S + 10 * seconds)
    print(out.strip() or f"{attack} ended with {process.returncode}", flush=True)
    if process.returncode == 1:
        raise Broken(f"{attack}: a lane that had to be taken away was not")
    world.look_after(attack)


def run_all(arguments):
    attacks = arguments.only or list_attacks()
    random.Random(arguments.seed).shuffle(attacks)
    world = World(arguments.seed)
    passed = failed = 0
    begun = time.monotonic()
    share = max(1.0, arguments.seconds / len(attacks))
    try:
        for uid in (EVIL_UID, EVIL_UID, GOOD_UID, GOOD_UID):
            world.start_hammer(uid)
        while passed == 0 or time.monotonic() - begun < arguments.seconds:
            for attack in attacks:
                run_one(world, attack, min(share, 10))
                passed += 1
        told, events = world.end()
        check(told, events, world.request_count, any(one in FLIPS for one in attacks))
        passed += 1
        print(f"{sum(len(one.acknowledged) for one in told)} appends of good clients acknowledged, "
              f"{len(events)} events stored, "
              f"{sum(one['stream'].startswith('evil:') for one in events)} of them hostile, "
              f"{world.request_count} by request; at most {world.memory_mib} MiB")
    except (Broken, subprocess.SubprocessError, OSError, AssertionError) as error:
        failed += 1
        print(f"FAILED: {error}\n{world.said()}\n  again: {sys.argv[0]} --seed {arguments.seed} "
              f"--seconds {arguments.seconds}")
    finally:
        world.clean_up()
    return passed, failed


def p99_beside(world, commands, seconds):
    others = [subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=become(EVIL_UID))
              for command in commands]
    good = subprocess.run([str(BUILD / "tests" / "hostile" / "hostile_latency"), str(world.run),
                           "prod:main:L0:timed:M1", str(seconds)], capture_output=True, text=True,
                          timeout=PATIENCE_S + 10 * seconds, check=True,
                          preexec_fn=become(GOOD_UID)).stdout.split()
    for other in others:
        other.kill()
        other.wait()
    return {name: int(value) for name, value in zip(good[::2], good[1::2])}


def measure(arguments):
    """Rounds of spinner and attack in turn, so that what else the machine does hits both."""
    if os.geteuid() != 0:
        print("NOT RUN: --p99 needs root, for a user of its own on each side")
        return 0, 0
    world = World(arguments.seed)
    print(f"{'attack':20} {'spinner p50':>12} {'p99':>8} {'attack p50':>12} {'p99':>8} {'ratio':>6}"
          "   (us, medians)")
    try:
        for attack in arguments.only or P99_ATTACKS:
            rounds = collections.defaultdict(list)
            for _ in range(3):
                hostile = [str(BUILD / "tests" / "hostile" / "hostile"), str(world.run), attack,
                           str(world.random.getrandbits(40)), "3600"]
                spinners = [SPINNER] * SPINNERS_FOR.get(attack, 1)
                for name, commands in (("spinner", spinners), ("attack", [hostile])):
                    found = p99_beside(world, commands, arguments.seconds)
                    rounds[name + " p50"].append(found["p50_us"])
                    rounds[name + " p99"].append(found["p99_us"])
            middle = {name: sorted(values)[1] for name, values in rounds.items()}
            print(f"{attack:20} {middle['spinner p50']:12} {middle['spinner p99']:8} "
                  f"{middle['attack p50']:12} {middle['attack p99']:8} "
                  f"{middle['attack p99'] / middle['spinner p99']:6.2f}", flush=True)
    finally:
        world.clean_up()
    return 1, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=7)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--only", action="append")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--p99", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}" + ("" if os.geteuid() == 0 else
                                      "; not root: all clients are of one user"), flush=True)
    if arguments.list:
        print("\n".join(list_attacks()))
        return 0
    if arguments.negative:
        passed, failed = negative(arguments.seed)
    elif arguments.p99:
        arguments.seconds = arguments.seconds or 2
        passed, failed = measure(arguments)
    else:
        arguments.seconds = 15 if arguments.seconds is None else arguments.seconds
        passed, failed = run_all(arguments)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
