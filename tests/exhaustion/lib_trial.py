"""What the trials of tests/exhaustion share: a broker that is not believed, esctl, expectations."""
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile

from lib_protocol import Requests, Subscription, append, event, unpack

BUILD = pathlib.Path(os.environ["ES_BUILD_DIR"])
PATIENCE_S = 60
CTL_CODES = (0, 1, 64, 65, 69, 73, 74, 75)
STREAM = "t:m:L0:x:M1"


class Broken(Exception):
    """A promise is."""


def expect_code(who, code, allowed):
    if code < 0:
        raise Broken(f"{who} died by {signal.Signals(-code).name}")
    if code not in allowed:
        raise Broken(f"{who} ended with {code}, which means nothing")


def expect_said(who, code, text):
    if not text.strip():
        raise Broken(f"{who} ended with {code} and said nothing")


def make_root():
    return pathlib.Path(tempfile.mkdtemp(prefix="es-exhaustion-"))


def remove_shared_memory(root):
    """Of the broker in root/run, as the end of the machine would."""
    digest = 0xcbf29ce484222325  # FNV-1a, as shm/segment.c names the directory
    for byte in os.path.realpath(root / "run").encode():
        digest = (digest ^ byte) * 0x100000001b3 % (1 << 64)
    shutil.rmtree(f"/dev/shm/eventspine-{digest:016x}", ignore_errors=True)
    shutil.rmtree(root / "run" / "shm", ignore_errors=True)


def remove_root(root):
    """With the shared memory of a broker that could not remove it."""
    remove_shared_memory(root)
    shutil.rmtree(root, ignore_errors=True)


class Broker:
    """esbroker in root/data and root/run, or where 'options' say."""

    def __init__(self, root, *options, environment=None, before=None):
        self.run = root / "run"
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.errors = root / "errors"
        with open(self.errors, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [str(BUILD / "bin" / "esbroker"), "--data", str(root / "data"), "--run",
                 str(self.run), "--log-segment-bytes", "262144", "--lane-bytes", "65536", "--slots",
                 "256", "--reserve-bytes", "0", *options],
                stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
                preexec_fn=before)

    def wait_ready(self):
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        if not readable:
            self.process.kill()
            raise Broken("the broker is neither ready nor gone")
        return self.process.stdout.readline().startswith("ready")

    def is_alive(self):
        return self.process.poll() is None

    def said(self):
        return self.errors.read_text(encoding="utf-8")[-1500:]

    def stop(self):
        """The exit code after SIGTERM."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise Broken("the broker hangs") from error
        finally:
            self.process.stdout.close()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def payloads(self):
        """The payloads of all events of STREAM, as texts."""
        client = Requests(str(self.run))
        found = []
        at, is_end = 1, False
        while not is_end:
            status, _, rest = client.ask(3, STREAM, at, 1000, False)
            if status != 0:
                break
            found += [unpack(item[3])[7].decode() for item in rest[0]]
            is_end, at = rest[1], rest[2]
        client.close()
        return found


def small_workload(broker, root):
    """Appends by request and by ring, keys, a snapshot, reading, a subscription, until all is done
    or the broker has gone. The payloads that were acknowledged."""
    acked = []
    try:
        subscription = Subscription(str(broker.run), "S:")
        client = Requests(str(broker.run))
        for number in range(3):
            payload = f"request {number} of {root.name}"
            status, result = client.append([append(STREAM, [event(1, "A", payload.encode())])])
            if status == 0 and result[0] == 0:
                acked.append(payload)
        client.append([[2, 0, "space", "key", None, b"value"]])
        client.ask(9, STREAM, 1, 1, "", 1, b"state")
        client.ask(8, "", "", 100)
        client.ask(15)
        client.close()
        subscription.close()
    except (OSError, AssertionError, ValueError):
        pass  # a connection that breaks says nothing
    for number in range(2):
        payload = f"ring {number} of {root.name}"
        if broker.is_alive():
            done = ctl(broker, ["append", STREAM, "A", "--payload", payload, "--raw"])
            if done.returncode == 0:
                acked.append(payload)
    return acked


def ctl(broker, words, environment=None, timeout_s=PATIENCE_S):
    try:
        return subprocess.run([str(BUILD / "bin" / "esctl"), "--run", str(broker.run), *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", env=environment,
                              timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise Broken(f"esctl {words[0]} hangs") from error
