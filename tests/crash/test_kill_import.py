#!/usr/bin/env python3
"""esctl import --producer, and the broker below it, killed with SIGKILL again and again at random
moments. Sometimes the broker's shared memory is removed with it, so that a living importer has to
attach anew and send again what was not answered. After each file the store must hold exactly its
lines, once and in their order, an import of it once more must add nothing, and `esctl verify` must
be content.

  test_kill_import.py [--seed S] [--seconds N] [--negative]
--negative imports without a name: the checker must find what that repeats."""
import argparse
import collections
import glob
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

BIN = pathlib.Path(os.environ["ES_BUILD_DIR"]) / "bin"
ESCTL = str(BIN / "esctl")
PATIENCE_S = 120
SEGMENT_BYTES = 256 * 1024
TRY_AGAIN = (69, 75)  # exit codes of an import that the same command finishes


class Broken(Exception):
    """A promise is."""


class Trial:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.counts = collections.Counter()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="es-import-", dir="/dev/shm"))
        self.data = self.root / "data"
        self.run_dir = self.root / "run"
        self.run_dir.mkdir(mode=0o700)
        self.broker = None
        self.importer = None

    def close(self):
        for process in (self.importer, self.broker):
            if process is not None:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
        shutil.rmtree(self.root)

    # -- what dies ------------------------------------------------------------

    def start_broker(self):
        if self.broker is not None:
            self.broker.stdout.close()
        slots = self.random.choice((64, 1024, 65536)) if not self.has_memory() else 65536
        self.broker = subprocess.Popen(
            [str(BIN / "esbroker"), "--data", str(self.data), "--run", str(self.run_dir),
             "--durability", "os", "--slots", str(slots),
             "--log-segment-bytes", str(SEGMENT_BYTES), "--lane-bytes", "65536"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.counts["broker starts"] += 1

    def has_memory(self):
        return (self.run_dir / "control").exists()

    def await_ready(self):
        line = self.broker.stdout.readline()
        if not line.startswith("ready") and self.broker.wait(PATIENCE_S) != -signal.SIGKILL:
            raise Broken(f"the broker does not start: {line!r}, exit {self.broker.returncode}")

    def kill_broker(self, with_memory):
        self.broker.kill()
        self.broker.wait(PATIENCE_S)
        self.counts["broker kills"] += 1
        if with_memory:
            for pattern in ("control", "ring-*", "lane-*"):
                for path in glob.glob(str(self.run_dir / pattern)):
                    os.unlink(path)
            self.counts["of them with the shared memory"] += 1

    def start_importer(self, path, name):
        command = [ESCTL, "--run", str(self.run_dir), "--timeout", str(PATIENCE_S), "import",
                   *(["--producer", name] if name else []), str(path)]
        self.importer = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, text=True)
        self.counts["importer starts"] += 1

    def importer_is_done(self):
        """True: the file is in the store. An import that says 'again' is begun again."""
        code = self.importer.poll()
        if code is None:
            return False
        errors = self.importer.stderr.read()
        self.importer.stderr.close()
        self.importer = None
        if code == 0:
            return True
        if "taken over" in errors:
            raise Broken(f"fenced, and nobody was there to do it: {errors}")
        if code != -signal.SIGKILL and code not in TRY_AGAIN:
            raise Broken(f"the import ends with {code}: {errors}")
        self.counts[f"importer ends with {code}"] += 1
        return False

    def let_live(self, seconds_max):
        """A moment of the broker's life; it may end by itself, which is a failure found later."""
        try:
            self.broker.wait(self.random.random() * seconds_max)
        except subprocess.TimeoutExpired:
            pass

    def disturb(self):
        """One of the two dies, or both, after a moment; a broker is started again at once."""
        self.let_live(self.random.choice((0.002, 0.02, 0.06, 0.2)))
        what = self.random.randrange(10)
        if what < 4 and self.importer is not None:
            self.importer.kill()
            self.counts["importer kills"] += 1
        if what >= 3:
            self.kill_broker(with_memory=what >= 7)
            self.start_broker()
            if self.random.random() < 0.3:  # also while it starts
                self.let_live(0.05)
                self.kill_broker(with_memory=False)
                self.start_broker()
            self.await_ready()

    # -- what must be ----------------------------------------------------------

    def esctl(self, *arguments):
        done = subprocess.run([ESCTL, "--run", str(self.run_dir), "--timeout", "60", *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise Broken(f"esctl {arguments}: {done.returncode}: {done.stderr}")
        return done.stdout

    def check(self, lines, position_before, name):
        exported = [json.loads(line) for line in self.esctl(
            "export", "--from", str(position_before + 1), "--events-only").splitlines()]
        told = [(line["stream"], line["type"], line["payload"]) for line in exported]
        wanted = [(line["stream"], line["type"], line["payload"])
                  for line in lines if "stream" in line]
        if told != wanted:
            at = next((i for i, pair in enumerate(zip(told, wanted)) if pair[0] != pair[1]),
                      min(len(told), len(wanted)))
            raise Broken(f"{name}: {len(told)} events are stored of {len(wanted)}, and event "
                         f"{at + 1} is {told[at:at + 1]!s:.80}, not {wanted[at:at + 1]!s:.80}")
        values = {json.loads(line)["key"]: json.loads(line)["value"] for line in
                  self.esctl("--json", "kv", "list", f"n-{name}").splitlines()}
        if values != {line["key"]: line["value"] for line in lines if "key" in line}:
            raise Broken(f"{name}: the keys are {values}")
        self.counts["events checked"] += len(told)


def make_lines(name, count, rng):
    lines = []
    for number in range(count):
        if rng.randrange(20) == 0:
            lines.append({"namespace": f"n-{name}", "key": f"k{number % 11}",
                          "value": str(number)})
        else:
            lines.append({"stream": f"test:main:L0:{name}:M{rng.randrange(9)}", "type": "line",
                          "payload": [number, "x" * rng.choice((0, 10, 300, 4000))]})
    return lines


def one_file(trial, round_number, named):
    name = f"file{round_number}"
    lines = make_lines(name, 2000, trial.random)
    path = trial.root / f"{name}.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = json.loads(trial.esctl("--json", "head"))["position"]
    done = False
    while not done:
        if trial.importer is None:
            trial.start_importer(path, name if named else None)
        if not trial.importer_is_done():
            if trial.importer is not None:
                trial.disturb()
        else:
            done = True
    trial.check(lines, before, name)
    trial.esctl("import", *(["--producer", name] if named else []), str(path))
    trial.check(lines, before, name)
    trial.counts["files"] += 1


def run(seed, seconds, named):
    trial = Trial(seed)
    end = time.monotonic() + seconds
    try:
        trial.start_broker()
        trial.await_ready()
        while trial.counts["files"] == 0 or time.monotonic() < end:
            one_file(trial, trial.counts["files"] + 1, named)
        trial.esctl("verify")
    finally:
        for kind, count in sorted(trial.counts.items()):
            print(f"{kind}: {count}")
        trial.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("ES_SEED", random.randrange(1 << 32))))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--negative", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    begin = time.monotonic()
    try:
        run(given.seed, given.seconds, named=not given.negative)
        found = None
    except Broken as broken:
        found = broken
        print(broken)
    if given.negative:
        print(f"without a name: {'found' if found else 'NOT found'} after "
              f"{time.monotonic() - begin:.1f} s")
        found = None if found else Broken("the checker has found nothing")
    passed, failed = (0, 1) if found else (1, 0)
    if failed:
        print(f"again: ES_BUILD_DIR={os.environ['ES_BUILD_DIR']} {sys.argv[0]} --seed {given.seed} "
              f"--seconds {given.seconds:g}{' --negative' if given.negative else ''}")
    print(f"{passed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
