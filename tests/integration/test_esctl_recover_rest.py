"""What is in no commit, after an accepted loss: snapshots, read models, revisions of keys, names of
producers, epochs. One store whose second half lies in table files of its own, which are damaged."""

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from lib_esctl import ESCTL, STREAM, event_line, ndjson, run
from lib_recover import ESBROKER, flip, newest_segment, records

EARLY = 40
LATE = 30


class Broker:
    """One on a data directory, in a run directory that may be kept for the next one."""

    def __init__(self, data, run_dir):
        self.run_dir = run_dir
        self.process = subprocess.Popen(
            [ESBROKER, "--data", data, "--run", run_dir, "--log-segment-bytes", "65536"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.is_ready = self.process.stdout.readline().startswith(b"ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, how=signal.SIGTERM):
        """Exit code and words."""
        if self.is_ready:
            self.process.send_signal(how)
        err = self.process.communicate(timeout=60)[1]
        self.is_ready = False
        return self.process.returncode, err.decode()

    def esctl(self, *arguments, stdin=b"", code=0):
        result = run("--run", self.run_dir, "--json", *arguments, stdin=stdin)
        assert result.returncode == code, (arguments, result)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def one(self, *arguments, **options):
        return self.esctl(*arguments, **options)[0]


def lines_of(count):
    return ndjson(*[event_line("a:b:L0:c:M%d" % (n % 3), payload=n) for n in range(count)])


def event_tables(data):
    """The table files of the family events, the newest last."""
    found = []
    for path in glob.glob(os.path.join(data, "rocksdb", "*.sst")):
        with open(path, "rb") as file:
            content = file.read()
        if b":E:" in content:
            found.append(path)
    return sorted(found)


class Rest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="es-")
        cls.run_dir = os.path.join(cls.directory.name, "run")
        os.mkdir(cls.run_dir, 0o700)
        cls.data = os.path.join(cls.directory.name, "data")
        with Broker(cls.data, cls.run_dir) as broker:
            broker.esctl("import", "-", "--producer", "importer", stdin=lines_of(EARLY))
            broker.one("kv", "put", "n", "kept", "1")
            broker.one("kv", "put", "n", "changed", "1")
            cls.early_derived = broker.one("kv", "put", "n", "derived", "2", "--derived")
            cls.save(broker, "a:b:L0:c:M0", 1)
        with Broker(cls.data, cls.run_dir) as broker:  # a start flushes: tables of their own
            cls.kept = broker.one("head")["position"]
            broker.esctl("import", "-", "--producer", "importer", stdin=lines_of(EARLY + LATE))
            broker.one("append", STREAM, "placed", "--producer", "late:1")
            cls.save(broker, "a:b:L0:c:M0", EARLY // 3 + 3)
            cls.save(broker, STREAM, 1)
            broker.one("kv", "put", "n", "changed", "2")
            cls.last_put = broker.one("kv", "put", "n", "derived", "3", "--derived")
            cls.end = broker.one("head")["position"]
        with Broker(cls.data, cls.run_dir):
            pass

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    @staticmethod
    def save(broker, stream, sequence):
        broker.one("snapshot", "save", stream, "--tick", str(sequence), "--sequence",
                   str(sequence), "--file", "-", stdin=b"state")

    def copy(self):
        directory = tempfile.TemporaryDirectory(prefix="es-")
        self.addCleanup(directory.cleanup)
        data = os.path.join(directory.name, "data")
        shutil.copytree(self.data, data)
        run_dir = os.path.join(directory.name, "run")
        os.mkdir(run_dir, 0o700)
        return data, run_dir

    def recover(self, data, *options, code=0):
        result = run("--json", "recover", "--data", data, *options)
        self.assertEqual(result.returncode, code, result)
        return json.loads(result.stdout) if result.stdout else result.stderr.decode()

    def lose_the_late_half(self, data):
        tables = event_tables(data)
        self.assertGreaterEqual(len(tables), 2, tables)
        flip(tables[1], 20)  # that of the second start
        report = self.recover(data, "--accept-loss")
        self.assertEqual(report["status"], "recovered")
        self.assertEqual(report["kept_position"], self.kept)
        return report

    def snapshots(self, broker):
        return [(item["stream"], item["sequence"], item["valid"])
                for item in broker.esctl("snapshot", "list")]

    def test_snapshots_of_events_that_are_lost_go_with_them(self):
        data, run_dir = self.copy()
        self.lose_the_late_half(data)
        with Broker(data, run_dir) as broker:
            self.assertEqual(self.snapshots(broker), [("a:b:L0:c:M0", 1, True)])
            broker.esctl("verify")

    def test_read_models_go_where_anything_is_lost(self):
        data, run_dir = self.copy()
        report = self.lose_the_late_half(data)
        self.assertEqual(report["dropped_read_models"], 1)
        with Broker(data, run_dir) as broker:
            broker.esctl("kv", "get", "n", "derived", "--derived", code=1)
            self.assertEqual(broker.esctl("kv", "list", "n", "--derived"), [])

    def test_read_models_and_snapshots_stay_where_nothing_is_lost(self):
        data, run_dir = self.copy()
        os.unlink(os.path.join(data, "anchor"))
        report = self.recover(data, "--accept-loss")
        self.assertEqual((report["kept_position"], report["dropped_read_models"]), (self.end, 0))
        with Broker(data, run_dir) as broker:
            self.assertEqual(broker.one("kv", "get", "n", "derived", "--derived")["value"], "3")
            self.assertEqual(len(self.snapshots(broker)), 3)
            broker.esctl("verify")
            self.assertGreater(broker.one("kv", "put", "n", "more", "1")["revision"],
                               self.last_put["revision"])

    def test_revisions_that_lost_changes_had_are_not_given_out_again(self):
        """Not to the deletions of values that are lost, nor to whoever comes then."""
        data, run_dir = self.copy()
        report = self.lose_the_late_half(data)
        self.assertEqual(report["lost_keys"], [{"namespace": "n", "key": "changed"}])
        with Broker(data, run_dir) as broker:
            self.assertEqual(broker.one("kv", "get", "n", "kept")["value"], "1")
            broker.esctl("kv", "get", "n", "changed", code=1)
            put = broker.one("kv", "put", "n", "changed", "3")
            # The deletion has one, and that is a new one too.
            self.assertGreater(put["revision"], self.last_put["revision"] + 1)

    def test_a_lost_end_of_the_log_may_have_given_out_revisions(self):
        data, run_dir = self.copy()
        with Broker(data, run_dir) as broker:
            broker.one("kv", "put", "n", "lost", "1")
            last = broker.one("kv", "put", "n", "lost", "2")
            broker.end(signal.SIGKILL)
        path = newest_segment(data)
        flip(path, records(path)[0][1] + 60)
        report = self.recover(data, "--accept-loss")
        self.assertEqual(report["kept_position"], self.end)
        with Broker(data, run_dir) as broker:
            broker.esctl("kv", "get", "n", "lost", code=1)
            self.assertGreater(broker.one("kv", "put", "n", "lost", "3")["revision"],
                               last["revision"])

    def test_read_models_go_where_only_the_log_tells_of_a_loss(self):
        """The anchor is gone too, so nothing says how much there was."""
        data, run_dir = self.copy()
        shutil.rmtree(os.path.join(data, "log"))
        os.unlink(os.path.join(data, "anchor"))
        report = self.recover(data, "--accept-loss")
        self.assertEqual((report["kept_position"], report["dropped_read_models"]), (self.end, 1))
        self.assertIn("commit log", report["ends_because"])
        with Broker(data, run_dir) as broker:
            broker.esctl("kv", "get", "n", "derived", "--derived", code=1)

    def test_a_loss_from_before_the_present_epoch_began(self):
        """The broker in that run directory has served the epoch that is cut away whole."""
        data, run_dir = self.copy()
        backup = os.path.join(os.path.dirname(data), "backup")
        restored = os.path.join(os.path.dirname(data), "restored")
        receipts = [os.path.join(os.path.dirname(data), "receipt%d" % n) for n in range(2)]
        with Broker(data, run_dir) as broker:
            broker.one("append", STREAM, "placed", "--receipt-out", receipts[0])
            self.assertEqual(run("--run", run_dir, "backup", backup).returncode, 0)
        self.assertEqual(run("restore", backup, "--data", restored).returncode, 0)
        with Broker(restored, run_dir) as broker:
            broker.one("append", STREAM, "placed", "--receipt-out", receipts[1])
            broker.end(signal.SIGKILL)
        report = self.lose_the_late_half(restored)
        self.assertEqual(report["kept_position"], self.kept)
        with Broker(restored, run_dir) as broker:
            self.assertTrue(broker.is_ready)
            for receipt in receipts:
                result = run("--run", run_dir, "verify", "--receipt", receipt)
                self.assertEqual(result.returncode, 65, result)
                self.assertIn(b"after position %d" % self.kept, result.stdout + result.stderr)
                self.assertIn(b"regressed", result.stdout + result.stderr)

    def test_a_producer_whose_confirmed_numbers_are_lost_is_told(self):
        data, run_dir = self.copy()
        broker = Broker(data, run_dir)
        importer = subprocess.Popen(
            [ESCTL, "--run", run_dir, "import", "-", "--producer", "watched"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        importer.stdin.write(lines_of(5))
        importer.stdin.flush()
        while broker.one("head")["position"] < self.end + 5:
            pass
        broker.end(signal.SIGKILL)
        path = newest_segment(data)
        flip(path, records(path)[0][1] + 60)
        self.recover(data, "--accept-loss")
        with Broker(data, run_dir) as broker:
            out, err = importer.communicate(lines_of(1), timeout=60)
            self.assertEqual(importer.returncode, 65, (out, err))
            self.assertIn(b"has lost transactions of watched that it had confirmed", err)
            self.assertEqual(broker.one("head")["position"], self.end)
            # Its name goes on behind what is kept, and content is held against nothing that is lost.
            self.assertEqual(broker.one("append", STREAM, "placed", "--producer",
                                        "watched:1")["position"], self.end + 1)
            self.assertEqual(broker.one("append", STREAM, "placed", "--producer",
                                        "late:2")["position"], self.end + 2)


if __name__ == "__main__":
    unittest.main()
