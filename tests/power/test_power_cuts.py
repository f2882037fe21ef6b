#!/usr/bin/env python3
"""Power cuts at any write. A broker and two writers work on a disk (lib_disk.py) on which sectors that
no flush has reached survive at random; at random moments, between two requests to the disk, the disk
as a cut would leave it becomes an image, together with what the writers had been answered by then.
Each image is mounted, as after a reboot (new boot id, no shared memory), a broker is started on it,
and its export is checked against the writers' logs. Of some images the start itself is done on such a
disk, with a third writer, and cut again.

  test_power_cuts.py [--seed S] [--seconds N | --count IMAGES] [--negative] [--keep]

--negative: a broker whose syncs do nothing must be caught. --keep: leaves a bad image where it is.
Without root, /dev/fuse or loop devices it says so, and exits with 77."""
import argparse
import collections
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from lib_disk import (BUILD, PATIENCE_S, PROGRAMS, Broken, Mounted, PowerDisk,  # noqa: E402
                      read_line, run, try_the_disk, why_not)
from lib_history import Found, Log, check  # noqa: E402

ESBROKER = str(BUILD / "bin" / "esbroker")
ESCTL = str(BUILD / "bin" / "esctl")
KEEPS = (0, 25, 50, 75, 100)
SEGMENT_BYTES = 128 * 1024
IMAGES_PER_DISK = 40
DEFAULT_COUNT = 40
FAULTS = ("all", "log", "some")  # nosync.c
NEGATIVE_IMAGES_MAX = 60
EXIT_NOT_RUN = 77
# In a mount namespace of its own, with another boot id than this machine has.
REBOOTED = ["unshare", "-m", "sh", "-c",
            'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"']


class Broker:
    """One, as after a boot of the machine."""

    def __init__(self, root, data, settings, environment=None):
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=root))
        boot_id = self.run / "boot_id"
        boot_id.write_text(f"{uuid.UUID(int=random.getrandbits(128))}\n")
        self.errors = open(self.run / "errors", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [*REBOOTED, str(boot_id), ESBROKER, "--data", str(data), "--run", str(self.run),
             "--log-segment-bytes", str(SEGMENT_BYTES), "--lane-bytes", "262144", "--slots", "256",
             "--reserve-bytes", "0", "--log-level", "error", *settings],
            stdout=subprocess.PIPE, stderr=self.errors, bufsize=0,
            env={**os.environ, **(environment or {})})

    def await_ready(self):
        line = read_line(self.process)
        if not line.startswith("ready"):
            raise Broken(f"no start: exit {self.process.wait(PATIENCE_S)}: {self.said()}")

    def said(self):
        self.errors.flush()
        return (self.run / "errors").read_text(encoding="utf-8", errors="replace")[-2000:]

    def ask(self, *words):
        done = subprocess.run([ESCTL, "--run", str(self.run), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise Broken(f"esctl {words[0]}: exit {done.returncode}: {done.stderr} {self.said()}")
        return done.stdout

    def epoch(self):
        lines = self.ask("head").splitlines()
        return next(line.split()[1] for line in lines if line.startswith("epoch"))

    def stop(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
            code = self.process.wait(PATIENCE_S)
            if how == signal.SIGTERM and code != 0:
                raise Broken(f"a clean stop: exit {code}: {self.said()}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.errors.close()
        shutil.rmtree(self.run, ignore_errors=True)


class Writer:
    def __init__(self, broker, name, log):
        self.name = name
        self.process = subprocess.Popen(
            [str(PROGRAMS / "power_writer"), str(broker.run), name, str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def go(self, count):
        self.process.stdin.write(f"{count}\n".encode())

    def await_done(self):
        if read_line(self.process) != "done":
            raise Broken(f"writer {self.name} ended: exit {self.process.wait(PATIENCE_S)}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()


class Suite:
    def __init__(self, root, seed, environment=None):
        self.root = root
        self.random = random.Random(seed)
        self.environment = environment
        self.closers = []
        self.counts = collections.Counter()
        self.table = collections.defaultdict(collections.Counter)
        self.image_number = 0

    def made(self, thing):
        self.closers.append(thing)
        return thing

    def drop(self, thing):
        self.closers.remove(thing)
        thing.close()

    def close(self):
        for thing in reversed(self.closers):
            try:
                thing.close()
            except (OSError, subprocess.SubprocessError) as error:
                print(f"cleaning up: {error}", file=sys.stderr)
        self.closers = []

    # ---- one image ---------------------------------------------------------------------------

    def look_at(self, image, logs, life, settings):
        """A boot from an image."""
        mounted = self.made(Mounted(image, self.root / "found"))
        mounted.mount()
        broker = self.made(Broker(self.root, mounted.where / "data", settings))
        broker.await_ready()
        found = Found(broker.ask("export").splitlines())
        lost = check(logs, found, life.is_os)
        broker.ask("verify")
        if life.epoch is not None and any(log.acknowledged for log in logs):
            is_same = broker.epoch() == life.epoch
            if is_same == life.is_os:
                raise Broken(f"durability {life.durability}: the epoch is "
                             f"{'still' if is_same else 'no longer'} {life.epoch}")
        broker.stop(self.random.choice((signal.SIGTERM, signal.SIGKILL)))
        self.drop(broker)
        run(ESCTL, "verify", "--data", str(mounted.where / "data"))
        self.drop(mounted)
        return found.head, lost

    def recover_and_cut(self, image, logs, settings, keep):
        """The start on the image, on such a disk again, and the cut of that."""
        disk = self.made(PowerDisk(self.root / "again", image))
        text = self.root / "c.log"
        text.write_text("")
        disk.watch(text)
        disk.mount()
        second = self.root / "second.image"
        disk.arm(self.random.randrange(1, 150), keep, self.random.choice((0, 20)),
                 self.random.getrandbits(60), second)
        broker = self.made(Broker(self.root, disk.where / "data", settings))
        broker.await_ready()
        writer = self.made(Writer(broker, "c", text))
        writer.go(self.random.randrange(1, 20))
        writer.await_done()
        cut = disk.cut()
        self.drop(writer)
        self.drop(broker)
        self.drop(disk)
        image.unlink()
        return second, logs + [Log("c", cut.texts[0])], cut

    def take(self, life, cut, image, stage, keep, settings):
        logs = [Log(name, text) for name, text in zip("ab", cut.texts)]
        if stage != "creation" and self.random.random() < 0.25:
            stage = "recovery"
            image, logs, second = self.recover_and_cut(image, logs, settings, keep)
            cut.unsynced += second.unsynced
        head, lost = self.look_at(image, logs, life, settings)
        image.unlink()
        row = self.table[keep]
        row["images"] += 1
        row[stage] += 1
        row[life.durability] += 1
        row[life.anchor] += 1
        row["sectors in the cache"] += cut.unsynced
        row["cuts with sectors in the cache"] += 1 if cut.unsynced > 0 else 0
        row["acknowledged"] += sum(len(log.acknowledged) for log in logs)
        row["events found"] += head
        row["lost, durability os"] += lost

    def next_image(self):
        self.image_number += 1
        return self.root / f"{self.image_number}.image"

    # ---- one disk ----------------------------------------------------------------------------

    def life(self, is_over):
        """A disk from its birth; ends when it has grown, or when 'is_over' says so."""
        life = Life(self.random)
        disk = self.made(PowerDisk(self.root / "disk"))
        paths = [self.root / "a.log", self.root / "b.log"]
        for path in paths:
            path.write_text("")
            disk.watch(path)
        disk.mount()
        image = self.next_image()
        keep = self.random.choice(KEEPS)
        stage_cut = self.random.random() < 0.5  # the making of the store is cut too
        if stage_cut:
            disk.arm(self.random.randrange(1, 250), keep, self.random.choice((0, 20)),
                     self.random.getrandbits(60), image)
        broker = self.made(Broker(self.root, disk.where / "data", life.settings, self.environment))
        broker.await_ready()
        if stage_cut:
            self.take(life, disk.cut(), image, "creation", keep, life.settings)
        life.epoch = broker.epoch()
        writers = [self.made(Writer(broker, name, path)) for name, path in zip("ab", paths)]
        for _ in range(IMAGES_PER_DISK):
            if is_over():
                break
            image = self.next_image()
            keep = KEEPS[self.image_number % len(KEEPS)]
            disk.arm(1 + int(2 ** (self.random.random() * 9)), keep, self.random.choice((0, 20)),
                     self.random.getrandbits(60), image)
            for writer in writers:
                writer.go(self.random.randrange(1, 100))
            for writer in writers:
                writer.await_done()
            self.take(life, disk.cut(), image, "serving", keep, life.settings)
        for writer in writers:
            self.drop(writer)
        broker.stop(signal.SIGTERM)
        self.drop(broker)
        self.drop(disk)
        self.counts["disks"] += 1

    def images(self):
        return sum(row["images"] for row in self.table.values())


class Life:
    """The settings of a store."""

    def __init__(self, source):
        self.durability = source.choice(("fsync", "fsync", "os"))
        self.anchor = source.choice(("soon", "sync")) if self.durability == "fsync" else "soon"
        self.settings = ["--durability", self.durability, "--anchor", self.anchor]
        self.is_os = self.durability == "os"
        self.epoch = None


COLUMNS = ("images", "creation", "serving", "recovery", "fsync", "os", "soon", "sync",
           "cuts with sectors in the cache", "sectors in the cache", "acknowledged", "events found",
           "lost, durability os")


def print_table(table):
    print("| keep rate | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for keep in KEEPS:
        print(f"| {keep} % | " + " | ".join(str(table[keep][name]) for name in COLUMNS) + " |")
    whole = sum(table.values(), collections.Counter())
    print("| all | " + " | ".join(str(whole[name]) for name in COLUMNS) + " |")


def negative(root, seed):
    """A broker that only says that it syncs is caught."""
    missed = 0
    for what in FAULTS:
        environment = {"LD_PRELOAD": str(PROGRAMS / "power_nosync.so"), "NOSYNC": what}
        suite = Suite(root, seed, environment)
        begun = time.monotonic()
        try:
            while suite.image_number < NEGATIVE_IMAGES_MAX:
                suite.life(lambda s=suite: s.image_number >= NEGATIVE_IMAGES_MAX)
            print(f"syncs of {what} do nothing: NOT caught by {suite.images()} images")
            missed += 1
        except Broken as error:
            print(f"syncs of {what} do nothing: caught by image {suite.image_number} after "
                  f"{time.monotonic() - begun:.1f} s: {str(error)[:200]}")
        finally:
            suite.close()
            for left in root.glob("*.image"):
                left.unlink()
    print(f"{len(FAULTS) - missed} passed, {missed} failed")
    return 1 if missed > 0 else 0


def campaign(root, arguments, seed):
    suite = Suite(root, seed)
    until = time.monotonic() + arguments.seconds if arguments.seconds else None
    begun = time.monotonic()

    def is_over():
        if until is not None:
            return time.monotonic() >= until
        return suite.images() >= arguments.count

    failed = 0
    try:
        try_the_disk(root)
        while not is_over():
            suite.life(is_over)
    except (Broken, OSError, subprocess.SubprocessError) as error:
        failed = 1
        print(f"FAILED at image {suite.image_number} of seed {seed}: {error}\n"
              f"again: {sys.argv[0]} --seed {seed} --count {suite.image_number + 1}")
        if arguments.keep:
            print(f"kept: {root}")
    finally:
        suite.close()
    seconds = time.monotonic() - begun
    print_table(suite.table)
    print(f"{suite.images()} images of {suite.counts['disks']} disks in {seconds:.0f} s, "
          f"{seconds / max(1, suite.images()):.2f} s an image")
    print(f"{suite.images()} passed, {failed} failed")
    return failed


def interrupted(number, frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=None)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT)
    parser.add_argument("--negative", action="store_true")
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    reason = why_not()
    if reason is not None:
        print(f"**** power cuts: NOT RUN: {reason} ****\n0 passed, 0 failed")
        return EXIT_NOT_RUN
    seed = arguments.seed if arguments.seed is not None else int(os.environ.get("ES_SEED", "4"), 0)
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, interrupted)
    root = pathlib.Path(tempfile.mkdtemp(prefix="es-power-", dir="/dev/shm"))
    code = 1
    try:
        code = negative(root, seed) if arguments.negative else campaign(root, arguments, seed)
    except KeyboardInterrupt:
        print("interrupted\n0 passed, 1 failed")
    if code == 0 or not arguments.keep:
        shutil.rmtree(root, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
