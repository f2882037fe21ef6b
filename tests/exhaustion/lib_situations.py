"""Situations of tests/exhaustion in which something is scarce for a while, not just once."""
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time

from lib_trial import (
    BUILD, CTL_CODES, STREAM, Broken, Broker, ctl, expect_code, expect_said, make_root, remove_root,
    small_workload)

CODES = (0, 70, 73, 74, 75)
SPINNERS = 8
KIB = 1024


def limit(what, soft, hard=None):
    return lambda: resource.setrlimit(what, (soft, soft if hard is None else hard))


def start_and_stop(root, counts, label, before=None, options=(), environment=None):
    """One start under a condition: it serves and keeps what it acknowledges, or says why not."""
    broker = Broker(root, *options, before=before, environment=environment)
    acked = small_workload(broker, root) if broker.wait_ready() else []
    served = broker.is_alive()
    code = broker.stop()
    expect_code(f"the broker ({label})", code, CODES)
    if code != 0:
        expect_said(f"the broker ({label})", code, broker.said())
    after = Broker(root)
    if not after.wait_ready():
        raise Broken(f"{label}: the next start fails: {after.said()}")
    missing = set(acked) - set(after.payloads())
    after.stop()
    if missing:
        raise Broken(f"{label}: acknowledged and lost: {missing}")
    counts[label] += 1
    return served and code == 0


def few_descriptors(root, counts, random_source):
    """64 descriptors are too few, and it says so; clients do with 16, or say what is missing."""
    broker = Broker(root, before=limit(resource.RLIMIT_NOFILE, 64))
    if broker.wait_ready():
        raise Broken("64 descriptors cannot be enough")
    expect_code("the broker", broker.stop(), (73,))
    if "ulimit" not in broker.said():
        raise Broken(f"no word of the limit: {broker.said()}")
    counts["few_descriptors"] += 1
    broker = Broker(root)
    broker.wait_ready()
    small_workload(broker, root)
    for count in range(3, 17):
        for words in (["append", STREAM, "A"], ["read", STREAM], ["tail", "--count", "1", "--from",
                                                                  "1"], ["verify"]):
            done = subprocess.run(
                [str(BUILD / "bin" / "esctl"), "--run", str(broker.run), *words],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                preexec_fn=limit(resource.RLIMIT_NOFILE, count))
            if count == 3 and done.returncode == 127:
                continue  # not even its libraries can be opened
            expect_code(f"esctl {words[0]} with {count} descriptors", done.returncode,
                        (*CTL_CODES, 127))
            if done.returncode > 1:
                expect_said(f"esctl {words[0]}", done.returncode, done.stderr)
            counts["few_descriptors"] += 1
    expect_code("the broker", broker.stop(), (0,))


def full_tmpfs(root, counts, random_source):
    """Shared memory ends at each point: of the control page, of a ring, of a lane."""
    for size_kib in (4, 8, 64, 72, 76, 80, 88, 96, 112, 128, 160, 192, 256, 400):
        run = root / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=700", "tmpfs",
                           str(run)], capture_output=True, check=False).returncode != 0:
            print("NOT RUN: full_tmpfs needs the right to mount a tmpfs", flush=True)
            return
        try:
            broker = Broker(root)
            if broker.wait_ready():
                done = [ctl(broker, ["append", STREAM, "A", "--payload", "1"])
                        for _ in range(3)]
                for one in done:
                    expect_code("esctl append", one.returncode, CTL_CODES)
                    if one.returncode > 1:
                        expect_said("esctl append", one.returncode, one.stderr)
                if not broker.is_alive():
                    raise Broken(f"the broker ended: {broker.said()}")
                if ctl(broker, ["status"]).returncode != 0:
                    raise Broken("a broker without room for a lane does not answer")
            code = broker.stop()
            expect_code(f"the broker in {size_kib} KiB", code, CODES)
            if code != 0 and "shared memory" not in broker.said() and code != 73:
                raise Broken(f"it does not say what is full: {broker.said()}")
        finally:
            subprocess.run(["umount", "-l", str(run)], check=False)
        counts["full_tmpfs"] += 1


def little_memory(root, counts, random_source):
    """An address space too small, at each size up to one that is enough."""
    for mebibytes in range(100, 1000, 60):
        bytes_max = (mebibytes + random_source.randrange(50)) << 20
        shutil.rmtree(root / "data", ignore_errors=True)
        start_and_stop(root, counts, "little_memory", before=limit(resource.RLIMIT_AS, bytes_max))


def jumping_clock(root, counts, random_source):
    """The wall clock jumps at each look: times never go backwards, nothing waits for them."""
    environment = dict(os.environ, ES_FAULT_CLOCK=str(random_source.getrandbits(32)),
                       LD_PRELOAD=str(BUILD / "tests" / "exhaustion" / "faults.so"))
    for _ in range(3):
        if not start_and_stop(root, counts, "jumping_clock", environment=environment):
            raise Broken("a clock that jumps stops the broker")
    broker = Broker(root)
    broker.wait_ready()
    lines = ctl(broker, ["export", "--events-only"]).stdout.splitlines()
    broker.stop()
    times = [json.loads(line)["time"] for line in lines]
    if times != sorted(times) or len(times) < 9:
        raise Broken(f"the times of {len(times)} events go backwards")


def one_core(root, counts, random_source):
    """One core, and eight others that spin on it: appends go on."""
    core = {min(os.sched_getaffinity(0))}
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                 preexec_fn=lambda: os.sched_setaffinity(0, core))
                for _ in range(SPINNERS)]
    try:
        broker = Broker(root, before=lambda: os.sched_setaffinity(0, core))
        if not broker.wait_ready():
            raise Broken(f"it does not start beside {SPINNERS} spinners: {broker.said()}")
        hammer = subprocess.Popen(
            [str(BUILD / "tests" / "crash" / "hammer"), str(broker.run), "p1", STREAM, "free"],
            stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, core))
        until = time.monotonic() + 60
        acknowledged = 0
        while acknowledged < 100:
            acknowledged += hammer.stdout.readline().startswith("A ")
            if time.monotonic() > until:
                raise Broken("no progress: less than 100 appends in a minute")
        hammer.kill()
        hammer.wait()
        hammer.stdout.close()
        expect_code("the broker", broker.stop(), (0,))
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    counts["one_core"] += 1


SITUATIONS = {
    "few_descriptors": few_descriptors, "full_tmpfs": full_tmpfs, "little_memory": little_memory,
    "jumping_clock": jumping_clock, "one_core": one_core,
}


def chosen(only):
    return [(name, act) for name, act in SITUATIONS.items() if only is None or name in only]


def try_one(name, act, seed, counts):
    root = make_root()
    try:
        act(root, counts, random.Random(seed))
        return True
    except (Broken, subprocess.SubprocessError, OSError, AssertionError) as error:
        print(f"FAILED {name}: {error}\n  again: {sys.argv[0]} --only {name} --seed {seed} "
              "--count 0", flush=True)
        return False
    finally:
        remove_root(root)
