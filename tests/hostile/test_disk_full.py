#!/usr/bin/env python3
"""A disk that fills up. Below the reserve appends and puts are refused, reads, verify, status and
deletions go on, and appends return by themselves; and where the guard is defeated (another process
takes the last block at once) the broker stops with its exit code, or serves on, and everything that
was acknowledged is there after the next start.

  test_disk_full.py [--seed S] [--seconds N | --count N] [--negative]
Needs root, for file systems of its own in memory."""
import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.setdefault("ES_SOURCE_DIR", str(HERE.parents[1])))
BUILD = pathlib.Path(os.environ.setdefault("ES_BUILD_DIR", str(SOURCE / "build")))
sys.path[:0] = [str(SOURCE / "tests" / part) for part in ("integration", "crash", "exhaustion")]
from lib_trial import Broken, ctl, remove_root  # noqa: E402

PATIENCE_S = 120
EX_IOERR, NO_SPACE = 74, 75
FREE_WAITS = 600


class Disk:
    """A small file system, a broker on it, and a producer that appends without end."""

    def __init__(self, mebibytes, reserve_bytes):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="es-full-"))
        self.mount = self.root / "disk"
        self.run = self.root / "run"
        self.mount.mkdir()
        self.run.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs",
                        str(self.mount)], check=True, capture_output=True)
        self.errors = open(self.root / "errors", "w+", encoding="utf-8")
        self.reserve_bytes = reserve_bytes
        self.acked = {}
        self.refused = 0
        self.start()

    def start(self):
        self.broker = subprocess.Popen(
            [str(BUILD / "bin" / "esbroker"), "--data", str(self.mount / "data"), "--run",
             str(self.run), "--log-segment-bytes", "1048576", "--reserve-bytes",
             str(self.reserve_bytes)], stdout=subprocess.PIPE, stderr=self.errors, text=True)
        if not self.broker.stdout.readline().startswith("ready"):
            raise Broken(f"no start: {self.said()}")

    def said(self):
        self.errors.seek(0)
        return self.errors.read()[-1500:]

    def hammer(self, name):
        return subprocess.Popen([str(BUILD / "tests" / "crash" / "hammer"), str(self.run), name,
                                 f"prod:main:L0:full:M{name}", "free"], stdout=subprocess.PIPE,
                                text=True, bufsize=1 << 16)

    def listen(self, hammer, name, until):
        """Reads what the producer says until 'until' says enough of a line, or it has ended."""
        for line in hammer.stdout:
            words = line.split()
            if words[0] == "A" and len(words) == 5:
                self.acked[name, int(words[1])] = (int(words[2]), words[4])
            if until(words):
                return True
        return False

    def end(self, hammer):
        hammer.kill()
        hammer.wait()
        hammer.stdout.close()

    def stop(self):
        self.broker.send_signal(signal.SIGTERM)
        code = self.broker.wait(PATIENCE_S)
        self.broker.stdout.close()
        return code

    def check_stored(self):
        export = subprocess.Popen([str(BUILD / "bin" / "esctl"), "--run", str(self.run), "export",
                                   "--events-only"], stdout=subprocess.PIPE, text=True)
        stored = set()
        for line in export.stdout:
            position = line.split('"position":', 1)[1].split(",", 1)[0]
            digest = line.rsplit('"hash":"', 1)[1].split('"', 1)[0]
            stored.add((int(position), digest))
        if export.wait() != 0:
            raise Broken("the export fails")
        export.stdout.close()
        lost = set(self.acked.values()) - stored
        if lost:
            raise Broken(f"{len(lost)} acknowledged appends are lost: {sorted(lost)[:3]}")
        if ctl(self, ["verify"]).returncode != 0:
            raise Broken("verify finds damage")

    def clean_up(self):
        if self.broker.poll() is None:
            self.broker.kill()
            self.broker.wait()
        subprocess.run(["umount", "-l", str(self.mount)], check=False)
        remove_root(self.root)


def expect(disk, words, code, what):
    done = ctl(disk, words)
    if done.returncode != code:
        raise Broken(f"{what}: {done.returncode}, {done.stderr}{done.stdout[-200:]}")
    return done


def below_the_reserve():
    disk = Disk(48, 24 << 20)
    try:
        expect(disk, ["kv", "put", "n", "k", "v"], 0, "a put while there is room")
        expect(disk, ["append", "t:m:L0:x:M1", "A"], 0, "an append while there is room")
        (disk.root / "state").write_text("1")
        expect(disk, ["snapshot", "save", "t:m:L0:x:M1", "--sequence", "1", "--tick", "1", "--file",
                      str(disk.root / "state")], 0, "a snapshot")
        filler = disk.mount / "filler"
        hammer = disk.hammer("p1")
        disk.listen(hammer, "p1", lambda words: words[0] == "A" and int(words[1]) > 500)
        with open(filler, "wb") as file:
            about = os.statvfs(disk.mount)
            os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - (12 << 20))
        if not disk.listen(hammer, "p1", lambda words: words[0] == "R" and words[2] == "10"):
            raise Broken("appends are not refused")
        disk.end(hammer)
        expect(disk, ["append", "t:m:L0:x:M1", "A"], NO_SPACE, "an append below the reserve")
        expect(disk, ["read", "t:m:L0:x:M1"], 0, "reading below the reserve")
        expect(disk, ["status"], 0, "status below the reserve")
        expect(disk, ["verify"], 0, "verify below the reserve")
        expect(disk, ["kv", "put", "n", "other", "v"], NO_SPACE, "a put below the reserve")
        expect(disk, ["kv", "delete", "n", "k"], 0, "deleting a key below the reserve")
        expect(disk, ["snapshot", "delete", "t:m:L0:x:M1", "--all"], 0,
               "deleting a snapshot below the reserve")
        filler.unlink()
        for _ in range(FREE_WAITS):
            if ctl(disk, ["append", "t:m:L0:x:M1", "A"]).returncode == 0:
                break
        else:
            raise Broken("appends do not return")
        if disk.stop() != 0:
            raise Broken(f"no clean end: {disk.said()}")
        disk.start()
        disk.check_stored()
        disk.stop()
    finally:
        disk.clean_up()


def guard_defeated(random_source):
    """How it ended: with its code, or not at all."""
    disk = Disk(random_source.choice((24, 40)), 0)
    try:
        hammer = disk.hammer("p1")
        enough = random_source.randrange(10, 30000)
        disk.listen(hammer, "p1", lambda words: words[0] == "A" and int(words[1]) > enough)
        with open(disk.mount / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        timer = threading.Timer(random_source.choice((0.5, 2)), hammer.kill)
        timer.start()
        disk.listen(hammer, "p1", lambda words: False)
        timer.join()
        disk.end(hammer)
        code = disk.broker.poll()
        if code is None:
            code = disk.stop()
        if code not in (0, EX_IOERR):
            raise Broken(f"the broker ended with {code}: {disk.said()}")
        os.unlink(disk.mount / "filler")
        disk.start()
        disk.check_stored()
        if disk.stop() != 0:
            raise Broken(f"no clean end: {disk.said()}")
        return code
    finally:
        disk.clean_up()


def negative():
    """A loss must be seen."""
    disk = Disk(48, 0)
    begun = time.monotonic()
    try:
        hammer = disk.hammer("p1")
        disk.listen(hammer, "p1", lambda words: words[0] == "A" and int(words[1]) > 100)
        disk.end(hammer)
        name = next(iter(disk.acked))
        disk.acked[name] = (disk.acked[name][0], "00" * 32)
        disk.check_stored()
    except Broken as error:
        print(f"negative: {error}: noticed after {time.monotonic() - begun:.2f} s")
        return 1, 0
    finally:
        disk.clean_up()
    print("negative: a loss is NOT noticed")
    return 0, 1


def run(arguments):
    random_source = random.Random(arguments.seed)
    passed = failed = 0
    ends = {}
    begun = time.monotonic()
    try:
        below_the_reserve()
        passed += 1
        while (passed <= arguments.count if arguments.count is not None else
               time.monotonic() - begun < arguments.seconds):
            code = guard_defeated(random_source)
            ends[code] = ends.get(code, 0) + 1
            passed += 1
    except (Broken, OSError, subprocess.SubprocessError) as error:
        failed += 1
        print(f"FAILED: {error}\n  again: {sys.argv[0]} --seed {arguments.seed} --count {passed}")
    print(f"exit codes where the guard was defeated: {ends}")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--negative", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    if os.geteuid() != 0:
        print("NOT RUN: mounting a file system of its own needs root\n0 passed, 0 failed")
        return 0
    passed, failed = negative() if arguments.negative else run(arguments)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
