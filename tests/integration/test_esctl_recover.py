"""recover: what is left of a damaged store is proven, kept and served; the rest is told, and kept
aside. Each kind of damage is done to a copy of one store, which is refused, looked at without a
byte changing, recovered, verified, served and compared with what had been exported before."""

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
from lib_esctl import ESCTL, STREAM, event_line, ndjson, run

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


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


def segments(data):
    return sorted(glob.glob(os.path.join(data, "log", "segment-*")))


def tables(data):
    return sorted(glob.glob(os.path.join(data, "rocksdb", "*.sst")))


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
        self.esctl(broker, "append", STREAM, "placed", "--receipt-out",
                   os.path.join(self.directory.name, "receipt"))
        self.receipt = os.path.join(self.directory.name, "receipt")
        self.esctl(broker, "snapshot", "save", STREAM, "--tick", "1", "--sequence", "1", "--file",
                   "-", stdin=b"state")
        self.events = self.esctl(broker, "export").splitlines()
        broker.process.send_signal(signal.SIGKILL)
        broker.process.wait()
        self.pristine = os.path.join(self.directory.name, "data")
        shutil.copytree(os.path.join(broker.directory.name, "data"), self.pristine)
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


class Recover(unittest.TestCase):
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

    def test_a_store_that_starts_needs_no_recovery(self):
        data = self.copy()
        pristine = digests(data)
        report = self.recover(data, "--accept-loss")
        self.assertEqual(report["status"], "whole")
        self.assertEqual(report["kept_position"], len(self.all_events))
        self.assertEqual(digests(data), pristine)

    def test_a_broken_record_in_the_middle_of_the_log(self):
        data = self.copy()
        path = newest_segment(data)
        flip(path, records(path)[-3][1] + 60)
        report = self.whole_way(data)
        self.assertLess(report["kept_position"], len(self.all_events))
        self.assertEqual(report["known_position"], len(self.all_events))
        self.assertTrue(report["lost_streams"] == [] or report["lost_positions"] > 0)

    def test_each_segment_deleted(self):
        for index in range(3):
            with self.subTest(segment=index):
                data = self.copy()
                os.unlink(segments(data)[index])
                self.whole_way(data)

    def test_the_whole_log_deleted(self):
        data = self.copy()
        shutil.rmtree(os.path.join(data, "log"))
        report = self.whole_way(data)
        self.assertGreater(report["kept_position"], 0)
        self.assertGreaterEqual(report["known_position"], report["kept_position"])

    def test_a_segment_header_zeroed(self):
        for index in range(3):
            with self.subTest(segment=index):
                data = self.copy()
                with open(segments(data)[index], "r+b") as file:
                    file.write(bytes(4096))
                self.whole_way(data)

    def test_the_anchor_missing_cut_or_damaged(self):
        for damage in ("missing", "cut", "zeroed"):
            with self.subTest(damage=damage):
                data = self.copy()
                path = os.path.join(data, "anchor")
                if damage == "missing":
                    os.unlink(path)
                elif damage == "cut":
                    os.truncate(path, 4096)
                else:
                    with open(path, "r+b") as file:
                        file.write(bytes(8192))
                report = self.whole_way(data)
                self.assertEqual(report["kept_position"], len(self.all_events))

    def test_the_list_of_rocksdbs_files_damaged(self):
        for damage in ("no CURRENT", "no MANIFEST", "cut MANIFEST", "CURRENT names nothing"):
            with self.subTest(damage=damage):
                data = self.copy()
                manifest = glob.glob(os.path.join(data, "rocksdb", "MANIFEST-*"))[0]
                current = os.path.join(data, "rocksdb", "CURRENT")
                if damage == "no CURRENT":
                    os.unlink(current)
                elif damage == "no MANIFEST":
                    os.unlink(manifest)
                elif damage == "cut MANIFEST":
                    os.truncate(manifest, 100)
                else:
                    with open(current, "wb") as file:
                        file.write(b"MANIFEST-999999\n")
                report = self.whole_way(data)
                self.assertEqual(report["kept_position"], len(self.all_events), report)

    def test_what_lost_commits_had_overwritten_is_deleted_by_a_commit(self):
        data = self.copy()
        self.assertEqual(self.start(data)[0], 0)  # and everything is in RocksDB
        # A damaged block of events, and the first of them ends what can be proven.
        path = max(tables(data), key=os.path.getsize)
        flip(path, os.path.getsize(path) // 2)
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen([ESBROKER, "--data", data, "--run", run_dir],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(process.stdout.readline().startswith(b"ready"))
            found = run("--run", run_dir, "verify")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        self.assertEqual(found.returncode, 65, found)
        looked = self.recover(data, code=65)
        self.assertEqual(looked["refusal"], "")
        self.assertRegex(looked["ends_because"], r"the event at position \d+ \(a:b:L0:c:M\d, "
                                                 r"sequence \d+\) is damaged")
        self.assertEqual(looked["known_position"], len(self.all_events))
        report = self.recover(data, "--accept-loss")
        self.assertIn({"namespace": "n", "key": "early"}, report["lost_keys"])
        self.assertEqual(report["lost_keys"], looked["lost_keys"])
        self.assertIn(STREAM, [entry["stream"] for entry in report["lost_streams"]])
        self.check_recovered(data, report)
        self.check_keys_and_producers(data)

    def check_keys_and_producers(self, data):
        """A lost value is not there, and a name goes on behind its last number that is kept."""
        with tempfile.TemporaryDirectory(prefix="es-") as run_dir:
            process = subprocess.Popen([ESBROKER, "--data", data, "--run", run_dir],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(process.stdout.readline().startswith(b"ready"))
            try:
                self.assertEqual(run("--run", run_dir, "kv", "get", "n", "early").returncode, 1)
                put = run("--run", run_dir, "kv", "put", "n", "early", "new")
                self.assertEqual(put.returncode, 0, put)
                lines = ndjson(*[event_line("a:b:L0:c:M%d" % (n % 7),
                                            payload={"n": n, "text": "x" * 40})
                                 for n in range(EVENTS // 3)])
                again = run("--run", run_dir, "import", "-", "--producer", "p0", stdin=lines)
                self.assertEqual(again.returncode, 0, again)
                exported = [json.loads(line) for line in only_events(
                    run("--run", run_dir, "export").stdout.splitlines())]
                numbers = [line["payload"]["n"] for line in exported
                           if line["stream"].startswith("a:b:L0:c:M")]
                self.assertEqual(len(numbers), len(set(numbers)))
                self.assertLessEqual(set(range(EVENTS // 3)), set(numbers))
                self.assertEqual(run("--run", run_dir, "verify").returncode, 0)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)

    def test_rocksdb_missing(self):
        data = self.copy()
        shutil.rmtree(os.path.join(data, "rocksdb"))
        # The log alone: if it goes back to the first batch all is there, else nothing is.
        self.assertEqual(self.start(data)[0], 65)
        pristine = digests(data)
        words = self.recover(data, code=65)
        if isinstance(words, str):
            self.assertIn("backup", words)
            self.assertIn("backup", self.recover(data, "--accept-loss", code=65))
            kept = digests(data)
            for path in list(kept):
                if path.endswith("/lock"):
                    del kept[path]
            pristine.pop(os.path.join(data, "lock"), None)
            self.assertEqual(kept, pristine)

    def test_each_table_deleted_cut_or_flipped(self):
        count = len(tables(self.store.pristine))
        self.assertGreater(count, 3)
        for index in range(count):
            for damage in ("deleted", "cut", "flipped")[:3 if index % 4 == 0 else 1]:
                with self.subTest(table=index, damage=damage):
                    data = self.copy()
                    path = tables(data)[index]
                    if damage == "deleted":
                        os.unlink(path)
                    elif damage == "cut":
                        os.truncate(path, os.path.getsize(path) // 2)
                    else:
                        flip(path, os.path.getsize(path) // 3)
                    if damage == "flipped" and self.start(data)[0] == 0:
                        continue  # what is damaged is told when it is read
                    result = run("--json", "recover", "--data", data)
                    if result.returncode == 0:  # a file that RocksDB had done with
                        self.assertEqual(self.start(data)[0], 0)
                        continue
                    self.assertEqual(result.returncode, 65, result)
                    if not result.stdout:
                        self.assertIn(b"backup", result.stderr)
                        continue
                    report = self.recover(data, "--accept-loss")
                    self.check_recovered(data, report)


if __name__ == "__main__":
    unittest.main()
