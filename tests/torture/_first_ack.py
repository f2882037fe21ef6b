#!/usr/bin/env python3
"""How long a producer waits when the broker is killed on a large store with a full log: from the
start of the new process to the first acknowledgement. By hand: it takes minutes and a quiet machine.

  _first_ack.py [--gigabytes 1] [--times 5] [--directory /var/tmp]

The broker's flusher is held at a probe before the log knows of its flush; so the log fills up, until
nothing more is taken. Then the broker is killed: all of the log must be replayed."""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from lib_round import BUILD, ENTRY, HERE

DONE = 2
EVENTS_A_FILL = 400000


def bytes_below(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def start(command, hold_at=None):
    environment = dict(os.environ)
    if hold_at is not None:
        environment["LD_PRELOAD"] = str(HERE / "torture_kill_broker.so")
        environment["ES_HOLD_AT"] = hold_at
    begun_ns = time.monotonic_ns()
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    if not broker.stdout.readline().startswith(b"ready"):
        raise SystemExit(f"no broker: {broker.wait()}")
    return broker, begun_ns


def load(run, count):
    return subprocess.Popen([str(BUILD / "bin" / "esbench"), "append", "--run", str(run), "-n",
                             str(count), "-p", "2", "-w", "64", "-s", "256", "-u", "0", "-t", "60"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def is_full(run):
    """The log has no room, and waits for the flush that does not come."""
    status = subprocess.run([str(BUILD / "bin" / "esctl"), "--run", str(run), "status"],
                            check=False, capture_output=True, text=True).stdout
    return "commit_thread" in status


def answers(book):
    with open(book, "rb") as file:
        while True:
            entry = file.read(ENTRY.size)
            if len(entry) < ENTRY.size or ENTRY.unpack(entry)[0] == 0:
                return
            kind, _, _, time_ns, _, _, _, _, status, _ = ENTRY.unpack(entry)
            if kind == DONE and status == 0:
                yield time_ns


def measure(command, run, book):
    """Seconds to "ready", of these on a processor, and to the first acknowledgement."""
    broker, _ = start(command, "flush_store_flushed:1")
    loading = load(run, 100 * EVENTS_A_FILL)
    while not is_full(run):
        pass
    broker.kill()
    broker.wait()
    loading.kill()
    loading.wait()
    broker, begun_ns = start(command)
    ready_s = (time.monotonic_ns() - begun_ns) / 1e9
    used = pathlib.Path(f"/proc/{broker.pid}/stat").read_text(encoding="utf-8").split()
    used_s = (int(used[13]) + int(used[14])) / os.sysconf("SC_CLK_TCK")
    first_ns = None
    while first_ns is None:
        first_ns = next((one for one in answers(book) if one > begun_ns), None)
    broker.send_signal(signal.SIGTERM)
    broker.wait()
    return ready_s, used_s, (first_ns - begun_ns) / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--directory", default="/var/tmp")
    arguments = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir=arguments.directory))
    run = pathlib.Path(tempfile.mkdtemp(prefix="es-", dir="/dev/shm"))
    command = [str(BUILD / "bin" / "esbroker"), "--data", str(root / "data"), "--run", str(run)]
    broker, _ = start(command)
    while bytes_below(root / "data" / "rocksdb") < arguments.gigabytes * 1e9:
        if load(run, EVENTS_A_FILL).wait() != 0:
            raise SystemExit("esbench cannot fill the store")
    print(f"{bytes_below(root / 'data') / 1e9:.2f} GB of data", flush=True)
    broker.send_signal(signal.SIGTERM)
    broker.wait()
    book = root / "appender.book"
    client = subprocess.Popen([str(HERE / "torture_appender"), str(run), str(book), "1", "1", "50"])
    try:
        for _ in range(arguments.times):
            print("ready after %.3f s (%.2f s of processor time), first acknowledgement after %.3f s" %
                  measure(command, run, book), flush=True)
    finally:
        client.kill()
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


if __name__ == "__main__":
    main()
