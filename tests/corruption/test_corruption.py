#!/usr/bin/env python3
"""Damage of every kind to the files of a store, each tried by a start and a reading of everything
(corruption.c), and a sample of it by a real esbroker and `esctl export`. Stores are made by a broker
and killed, so that the log holds what RocksDB does not: one of 2,000 events for every bit and every
cut, one of 100,000 for random bits and pages.

  test_corruption.py [--seed S] [--seconds N] [--count N] [--class NAME] [--full] [--negative]

Without more a sample of each class on the small store, --seconds: as many as fit. --full: the whole
table, both stores (hours), or as much of it as fits; --store: of one of them alone. One trial of --whole
reads everything, the others what the damage can touch. --negative: checks are taken out of the broker,
or eyes out of the trial, and that must be caught."""
import argparse
import base64
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("ES_BUILD_DIR", SOURCE / "build"))
ESBROKER = str(BUILD / "bin" / "esbroker")
ESCTL = str(BUILD / "bin" / "esctl")
CORRUPTION = str(BUILD / "tests" / "corruption" / "corruption")
PATIENCE_S = 300
SMALL = {"events": 2000, "segment": 64 * 1024, "older": (500, 1000, 1500)}
LARGE = {"events": 100000, "segment": 256 * 1024, "older": (50000,)}
SMALL_CLASSES = ("manifest-bits", "current-bits", "anchor-bits", "segment-header-bits",
                 "record-header-bits", "sst-footer-bits", "log-cuts", "older-log-cuts", "file-cuts",
                 "unread-cuts", "boundary-cuts", "deleted-files", "swapped-files", "older-files", "older-directories")
LARGE_CLASSES = ("random-bits", "boundary-cuts", "zeroed-pages", "swapped-pages", "deleted-files",
                 "swapped-files", "older-files", "older-directories")
BLIND = (("anchor", "log-cuts", 1), ("replay", "zeroed-pages", 1), ("iterators", "zeroed-pages", 1),
         ("anchor", "log-cuts", 1000), ("replay", "zeroed-pages", 1000),
         ("iterators", "zeroed-pages", 1000), ("reads", "zeroed-pages", 2))
GOOD = ("refused", "read error", "verify", "harmless", "receipt")
DEFAULT_COUNT = 24


class Failed(Exception):
    """A step of the test's own."""


class Broker:
    def __init__(self, root, data, segment):
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=root))
        self.errors = open(self.run / "errors", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [ESBROKER, "--data", str(data), "--run", str(self.run), "--log-segment-bytes",
             str(segment), "--lane-bytes", "65536", "--reserve-bytes", "0", "--log-level", "error"],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.is_ready = self.process.stdout.readline().startswith("ready")

    def ask(self, *words, lines=None):
        return subprocess.run([ESCTL, "--run", str(self.run), "--timeout", "60", *words],
                              input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE_S, check=False)

    def must(self, *words, lines=None):
        done = self.ask(*words, lines=lines)
        if done.returncode != 0:
            raise Failed(f"esctl {words[0]}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def end(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.errors.seek(0)
        said = self.errors.read()
        self.errors.close()
        shutil.rmtree(self.run, ignore_errors=True)
        return code, said


def lines_of(first, end, seed):
    source = random.Random(f"{seed} {first}")
    for i in range(first, end):
        stream = f"prod:main:L0:cat{i % 3}:M{source.randrange(60)}"
        payload = base64.b64encode(source.randbytes(source.randrange(20, 300))).decode()
        yield json.dumps({"stream": stream, "type": "Happened", "tick": i,
                          "payload_base64": payload})
        if i % 10 == 0:
            yield json.dumps({"namespace": "ns", "key": f"k{i % 400}", "value": f"v{i}"})


def make_store(root, name, what, seed):
    """A store, killed; and what it was at earlier times, killed too."""
    data = root / name
    older = []
    first = 0
    for end in (*what["older"], what["events"]):
        broker = Broker(root, data, what["segment"])
        if not broker.is_ready:
            raise Failed(f"no start: {broker.end()}")
        broker.must("import", "--batch", "16", "-", lines="\n".join(lines_of(first, end, seed)) + "\n")
        streams = broker.must("streams").split()
        stream = next(word for word in streams if word.startswith("prod:"))
        broker.must("snapshot", "save", stream, "--sequence", "1", "--tick", str(end), "--file", "-",
                    lines="a state")
        broker.must("kv", "put", "--derived", "ns", f"d{end}", "derived")
        broker.must("append", "prod:main:L0:cat0:Mlast", "Kept", "--receipt-out",
                    str(root / f"{name}.receipt"))
        # A request that goes through the log, and the anchor knows it: nothing is on its way.
        broker.must("verify")
        broker.end()
        first = end
        if end != what["events"]:
            older.append(root / f"{name}-{end}")
            shutil.copytree(data, older[-1], symlinks=True)
    return data, older


def run_classes(store, older, classes, arguments, seconds=None, extra=()):
    command = [CORRUPTION, "--store", str(store), "--seed", str(arguments.seed), "--jobs",
               str(arguments.jobs), "--whole", str(arguments.whole), *extra]
    for directory in older:
        command += ["--older", str(directory)]
    for name in classes:
        command += ["--class", name]
    if seconds is not None:
        command += ["--seconds", str(seconds)]
    # Trials run in processes forked from this one: what it links is looked up once, not each time.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, LD_BIND_NOW="1"))
    columns = []
    good = bad = 0
    for line in process.stdout:
        print(line[:1500], end="" if len(line) <= 1500 else "\n", flush=True)
        if line.startswith("| damage"):
            columns = [word.strip() for word in line.strip().strip("|").split("|")]
        elif line.startswith("| "):
            row = dict(zip(columns, (word.strip() for word in line.strip().strip("|").split("|"))))
            numbers = {key: int(row[key]) for key in columns[2:]}
            good += sum(numbers[key] for key in GOOD)
            bad += sum(numbers[key] for key in columns[2:] if key not in GOOD)
    if process.wait() not in (0, 1):
        raise Failed(f"{command[0]} ended with {process.returncode}")
    return good, bad


def present_receipt(root, name, older):
    """A client's last receipt proves the store, and finds every older time of it."""
    receipt = str(root / f"{name}.receipt")
    good = bad = 0
    for directory, code in [(root / name, 0), *((directory, 65) for directory in older)]:
        done = subprocess.run([ESCTL, "verify", "--data", str(directory), "--receipt", receipt],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE_S, check=False)
        if done.returncode == code:
            good += 1
        else:
            bad += 1
            print(f"verify --receipt of {directory.name}: exit {done.returncode}: {done.stdout}")
    print(f"| the whole directory, by a kept receipt | {good + bad} trials | {bad} bad |")
    return good, bad


# ---- the real broker -------------------------------------------------------------------------------

def damage(data, source):
    """One damage of the kinds above, by hand."""
    files = sorted(path for path in data.rglob("*") if path.is_file() and path.stat().st_size > 0 and
                   "rocksdb-logs" not in path.parts and path.name != "lock")
    path = source.choice(files)
    content = bytearray(path.read_bytes())
    how = source.choice(("bit", "cut", "zeros", "gone"))
    at = source.randrange(len(content))
    if how == "bit":
        content[at] ^= 1 << source.randrange(8)
    elif how == "cut":
        del content[at:]
    elif how == "zeros":
        content[at:at + 4096] = bytes(len(content[at:at + 4096]))
    path.unlink()
    if how != "gone":
        path.write_bytes(content)
    return f"{path.relative_to(data)}: {how} at {at}"


def contents(data):
    return {path.relative_to(data): path.read_bytes() for path in data.rglob("*") if path.is_file()
            and "rocksdb-logs" not in path.parts and path.name != "lock"}


def names_place(said, written, export):
    """The error names what the export could not go on with: the event that would have been the
    next line, or the key before it."""
    if not written:
        return re.search(r"position \d", said)
    before = json.loads(written.splitlines()[-1])
    after = json.loads(export[len(written):].splitlines()[0])
    if "position" in after:
        return re.search(rf"position {after['position']}\b", said)
    if "key" in before:
        return f"key {before['key']} in namespace {before['namespace']}" in said
    return "the first key" in said


def try_real(root, store, segment, export, source):
    """'': nothing is lost in silence. Else what is."""
    data = root / "real"
    shutil.copytree(store, data)
    what = damage(data, source)
    before = contents(data)
    broker = Broker(root, data, segment)
    try:
        if not broker.is_ready:
            code, said = broker.end()
            if code not in (65, 74, 76) or "esbroker:" not in said:
                return f"{what}: exit {code}: {said[-500:]}"
            return "" if contents(data) == before else f"{what}: a refusal changed bytes: {said}"
        done = broker.ask("export")
        if done.returncode == 0:
            return "" if done.stdout == export else f"{what}: another export"
        if done.returncode != 65 or not export.startswith(done.stdout):
            return f"{what}: export: exit {done.returncode}: {done.stderr}"
        if not names_place(done.stderr, done.stdout, export):
            return f"{what}: an error without a place: {done.stderr}"
        return ""
    finally:
        if broker.process.returncode is None:
            broker.end()
        shutil.rmtree(data)


def real_broker(root, store, segment, count, seed):
    source = random.Random(seed)
    whole = root / "whole"
    shutil.copytree(store, whole)
    broker = Broker(root, whole, segment)
    export = broker.must("export")
    broker.end()
    shutil.rmtree(whole)
    bad = 0
    for number in range(count):
        wrong = try_real(root, store, segment, export, source)
        if wrong:
            bad += 1
            print(f"real broker, trial {number}: {wrong}")
    print(f"| by esbroker and esctl export | {count} trials | {bad} bad |")
    return count - bad, bad


# ---- the whole ---------------------------------------------------------------------------------------

def sample(root, arguments):
    store, older = make_store(root, "small", SMALL, arguments.seed)
    classes = arguments.classes or (*SMALL_CLASSES, "random-bits", "zeroed-pages", "swapped-pages")
    each = None if arguments.seconds is None else arguments.seconds / (len(classes) + 2)
    number = arguments.count or (DEFAULT_COUNT if each is None else 1000000)
    good, bad = run_classes(store, older, classes, arguments, each, ["--count", str(number)])
    for more, worse in (real_broker(root, store, SMALL["segment"], min(number, DEFAULT_COUNT),
                                    arguments.seed), present_receipt(root, "small", older)):
        good, bad = good + more, bad + worse
    return good, bad


def full_small(root, arguments, each):
    count = ["--count", str(arguments.count)] if arguments.count else []
    store, older = make_store(root, "small", SMALL, arguments.seed)
    print(f"\n{SMALL['events']} events:")
    good, bad = run_classes(store, older, arguments.classes or SMALL_CLASSES, arguments, each, count)
    more, worse = real_broker(root, store, SMALL["segment"], 200, arguments.seed)
    return good + more, bad + worse


def full_large(root, arguments, each):
    store, older = make_store(root, "large", LARGE, arguments.seed)
    print(f"\n{LARGE['events']} events:")
    good, bad = present_receipt(root, "large", older)
    rare = [name for name in arguments.classes or LARGE_CLASSES if name != "random-bits"]
    for classes, number in ((["random-bits"], 10000), (rare, 1000)):
        if classes and (not arguments.classes or set(classes) <= set(arguments.classes)):
            count = ["--count", str(arguments.count or number)]
            more, worse = run_classes(store, older, classes, arguments, each, count)
            good, bad = good + more, bad + worse
    return good, bad


def full(root, arguments):
    parts = [part for name, part in (("small", full_small), ("large", full_large))
             if arguments.store in (None, name)]
    classes = {"small": len(SMALL_CLASSES) + 2, "large": len(LARGE_CLASSES)}
    classes = len(arguments.classes) or classes.get(arguments.store, sum(classes.values()))
    each = None if arguments.seconds is None else arguments.seconds / classes
    good = bad = 0
    for part in parts:
        more, worse = part(root, arguments, each)
        good, bad = good + more, bad + worse
    return good, bad


def negative(root, arguments):
    """With a check taken out, what it finds is found by nobody, and the trials must say so."""
    store, older = make_store(root, "small", SMALL, arguments.seed)
    caught = missed = 0
    for blind, name, arguments.whole in BLIND:
        print(f"without the check '{blind}', everything read in one trial of {arguments.whole}:")
        bad = run_classes(store, older, [name], arguments, 60, ["--count", "200", "--blind", blind])[1]
        print(f"-> {'caught by ' + str(bad) + ' of 200 trials' if bad else 'NOT caught'}")
        caught += 1 if bad else 0
        missed += 0 if bad else 1
    return caught, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=lambda text: int(text, 0), default=5)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--class", dest="classes", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--whole", type=int, default=50)
    parser.add_argument("--store", choices=("small", "large"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--negative", action="store_true")
    arguments = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="es-corruption-", dir="/dev/shm"))
    print(f"seed {arguments.seed}", flush=True)
    try:
        run = negative if arguments.negative else full if arguments.full else sample
        good, bad = run(root, arguments)
    except (Failed, OSError, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}")
        good, bad = 0, 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"again: {sys.argv[0]} --seed {arguments.seed}{' --full' if arguments.full else ''}"
          f"{' --negative' if arguments.negative else ''}")
    print(f"{good} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
