"""A store to be damaged, and what must hold of each recovery of it."""

import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import lib_protocol
from lib_esctl import STREAM, event_line, ndjson, run

ESBROKER = os.path.join(os.environ["ES_BUILD_DIR"], "bin", "esbroker")
SEGMENT_BYTES = 65536
EVENTS = 900


def digests(directory):
    """Every file below a directory, and what it holds."""
    found = {}
    for place, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                found[os.path.join(place, name)] = hashlib.sha256(file.read()).hexdigest()
    return found


def flip(path, offset, bits=0x10):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ bits]))


def segments(data):
    return sorted(glob.glob(os.path.join(data, "log", "segment-*")))


def tables(data):
    """Those with something in them: a kill may leave one that was only just made."""
    return [path for path in sorted(glob.glob(os.path.join(data, "rocksdb", "*.sst")))
            if os.path.getsize(path) > 0]


def records(path):
    """Where the sound-looking records of a segment begin, with their batch numbers."""
    with open(path, "rb") as file:
        content = file.read()
    number = max(int.from_bytes(content[at + 56:at + 64], "little") for at in (0, 2048))
    found = []
    for at in range(4096, len(content) - 48, 64):
        if content[at:at + 4] == b"ESRC" and \
                int.from_bytes(content[at + 16:at + 24], "little") == number:
            found.append((int.from_bytes(content[at + 24:at + 32], "little"), at))
    return found


def newest_segment(data):
    return max(segments(data), key=lambda path: records(path)[-1:] or [(0, 0)])


class Store:
    """One store, killed with much of it in the log alone, and copies of it to be damaged."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="es-")
        broker = lib_protocol.Broker("--log-segment-bytes", str(SEGMENT_BYTES), "--durability",
                                     "fsync")
        self.esctl(broker, "kv", "put", "n", "early", "1")
        for part in range(3):
            self.esctl(broker, "import", "-", "--producer", "p%d" % part, stdin=ndjson(*[
                event_line("a:b:L0:c:M%d" % (n % 7), payload={"n": n, "text": "x" * 40})
                for n in range(part * EVENTS // 3, (part + 1) * EVENTS // 3)]))
            self.esctl(broker, "kv", "put", "n", "k%d" % part, "v%d" % part)
            self.esctl(broker, "kv", "put", "n", "early", "again%d" % part)
        broker.process.send_signal(signal.SIGKILL)
        broker.process.wait()
        broker.process.stdout.close()
        self.earlier = os.path.join(self.directory.name, "earlier")
        data = os.path.join(broker.directory.name, "data")
        shutil.copytree(data, self.earlier)
        broker.process = subprocess.Popen(
            [ESBROKER, "--data", data, "--run", broker.run_dir], stdout=subprocess.PIPE, text=True)
        assert broker.process.stdout.readline().startswith("ready")
        self.esctl(broker, "append", STREAM, "placed", "--receipt-out",
                   os.path.join(self.directory.name, "receipt"))
        self.receipt = os.path.join(self.directory.name, "receipt")
        self.esctl(broker, "snapshot", "save", STREAM, "--tick", "1", "--sequence", "1", "--file",
                   "-", stdin=b"state")
        self.events = self.esctl(broker, "export").splitlines()
        broker.process.send_signal(signal.SIGKILL)
        broker.process.wait()
        self.pristine = os.path.join(self.directory.name, "data")
        shutil.copytree(data, self.pristine)
        broker.process.stdout.close()
        broker.process = subprocess.Popen(  # whose end takes the shared memory away
            [ESBROKER, "--data", data, "--run", broker.run_dir], stdout=subprocess.PIPE, text=True)
        assert broker.process.stdout.readline().startswith("ready")
        broker.close()

    @staticmethod
    def esctl(broker, *arguments, stdin=b""):
        result = run("--run", broker.run_dir, *arguments, stdin=stdin)
        assert result.returncode == 0, (arguments, result)
        return result.stdout

    def copy(self):
        directory = tempfile.TemporaryDirectory(prefix="es-")
        data = os.path.join(directory.name, "data")
        shutil.copytree(self.pristine, data)
        return directory, data


def only_events(lines):
    return [line for line in lines if "stream" in json.loads(line)]


class RecoverCase(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.store = Store()
        cls.all_events = only_events(cls.store.events)

    @classmethod
    def tearDownClass(cls):
        cls.store.directory.cleanup()

    def copy(self):
        directory, data = self.store.copy()
        self.addCleanup(directory.cleanup)
        return data

    def start(self, data):
        """Exit code and words of a broker on it; 0: it serves, and was ended."""
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen(
                [ESBROKER, "--data", data, "--run", run_dir], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            if process.stdout.readline().startswith(b"ready"):
                process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
            return process.returncode, err.decode()

    def recover(self, data, *options, code=0):
        result = run("--json", "recover", "--data", data, *options)
        self.assertEqual(result.returncode, code, result)
        return json.loads(result.stdout) if result.stdout else result.stderr.decode()

    def check_recovered(self, data, report):
        """It verifies, is served, holds a prefix of what there was, and goes on."""
        result = run("verify", "--data", data)
        self.assertEqual(result.returncode, 0, result)
        kept = report["kept_position"]
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen([ESBROKER, "--data", data, "--run", run_dir],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(process.stdout.readline().startswith(b"ready"))
            try:
                head = json.loads(run("--run", run_dir, "--json", "head").stdout)
                self.assertGreaterEqual(head["position"], kept)
                events = only_events(run("--run", run_dir, "export").stdout.splitlines())
                self.assertEqual(events, self.all_events[:len(events)])
                self.assertEqual(len(events), kept)
                added = json.loads(run("--run", run_dir, "--json", "append", STREAM,
                                       "again").stdout)
                self.assertEqual(added["position"], kept + 1)
                proof = run("--run", run_dir, "verify", "--receipt", self.store.receipt)
                self.assertEqual(proof.returncode, 0 if kept == len(self.all_events) else 65, proof)
                verified = run("--run", run_dir, "verify")
                self.assertEqual(verified.returncode, 0, verified)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        return events

    def whole_way(self, data, refused=True):
        """Refused, looked at, recovered. Returns the report."""
        pristine = digests(data)
        if refused:
            code, words = self.start(data)
            self.assertEqual(code, 65, words)
            self.assertIn("esctl", words)
        changed = digests(data)
        changed.pop(os.path.join(data, "lock"), None)
        pristine.pop(os.path.join(data, "lock"), None)
        self.assertEqual(changed, pristine)
        looked = self.recover(data, code=65)
        self.assertEqual(looked["status"], "damaged")
        again = self.recover(data, "--dry-run", "--accept-loss", code=65)
        self.assertEqual(again, looked)
        changed = digests(data)
        changed.pop(os.path.join(data, "lock"), None)
        self.assertEqual(changed, pristine)
        report = self.recover(data, "--accept-loss")
        self.assertEqual(report["status"], "recovered")
        self.assertEqual(report["kept_position"], looked["kept_position"])
        self.assertNotEqual(report["new_epoch"], report["epoch"])
        aside = os.path.join(data, report["damaged_files"])
        moved = {os.path.join(data, os.path.relpath(path, aside)): digest
                 for path, digest in digests(aside).items()}
        with open(os.path.join(aside, "report.json"), "rb") as file:
            self.assertEqual(json.loads(file.read()), report)
        for path, digest in pristine.items():
            if "rocksdb-logs" not in path:
                self.assertEqual(moved[path], digest, path)
        self.check_recovered(data, report)
        return report
